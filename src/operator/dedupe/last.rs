//! The keyed operator behind `dedupe` that keeps the last row of each key so far: a changelog.

use std::ops::Range;

use crate::operator::finale::Finale;
use crate::operator::payload::{Changes, Payload};
use crate::operator::queue::Queue;
use crate::operator::work::{Work, position_of};
use crate::operator::{Context, Operator, Sends, StateSize};
use crate::record::{Batch, KeyCodec, Schema, Segment};
use crate::state::{Groups, Pages};

/// What every shard builds its operator from.
#[derive(Clone)]
pub(super) struct Spec {
    /// Positions of the key columns in the input.
    pub keys: Vec<usize>,
    pub codec: KeyCodec,
    pub timed: bool,
    /// Whether the later of two rows of one time is the last; else that with the greater columns.
    pub by_arrival: bool,
    pub sends: Sends,
    /// The columns of a row.
    pub input: Schema,
}

/// The running form.
pub(super) struct Last {
    spec: Spec,
    payload: Payload,
    groups: Groups,
    rows: Pages<Row>,
    row_bytes: usize,
    changes: Changes,
    /// The keys whose row has changed since the last block end.
    changed: Vec<Changed>,
    /// The block that has not ended yet.
    number: u64,
    finale: Finale,
    queue: Queue,
    work: Option<Work>,
}

/// The last row of a key.
#[derive(Default)]
struct Row {
    /// None where the key is new.
    bytes: Option<Box<[u8]>>,
    at_ms: i64,
    changed: bool,
}

/// A key with the row that was sent of it, if one was.
struct Changed {
    group: u32,
    sent: Option<Box<[u8]>>,
}

impl Last {
    /// A shard's operator.
    pub fn new(spec: Spec) -> Self {
        Self {
            payload: Payload::new(&spec.input),
            groups: Groups::default(),
            rows: Pages::default(),
            row_bytes: 0,
            changes: Changes::default(),
            changed: Vec::new(),
            number: 0,
            finale: Finale::new(spec.sends),
            queue: Queue::new(&spec.input, spec.timed),
            work: None,
            spec,
        }
    }

    /// Works off one segment; whether there was one.
    fn advance(&mut self) -> bool {
        let Some(mut work) = self.work.take() else { return false };
        let Some((segment, clock, rows)) = work.next() else { return false };
        if segment.number != self.number {
            self.flush();
            self.number = segment.number;
        }
        self.apply(&work, rows);
        if segment.end.is_some() || self.spec.sends == Sends::EachChange {
            self.flush();
        }
        if let Some(end) = segment.end {
            self.queue.advance(&clock);
            self.finale.end_block(segment.number, end, &mut self.queue, || self.groups.numbers());
        }
        self.work = Some(work);
        true
    }

    fn apply(&mut self, work: &Work, rows: Range<usize>) {
        let (mut positions, mut groups) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for row in rows {
            let (hash, key) = work.key(row);
            let group = self.groups.number(hash, key);
            if self.rows.len() < self.groups.capacity() {
                self.rows.resize(self.groups.capacity());
            }
            let kept = &self.rows[group as usize];
            if kept.bytes.is_none() || work.at_ms(row) >= kept.at_ms {
                positions.push(position_of(row));
                groups.push(group);
            }
        }
        let payloads = self.payload.encode(&work.batch, &positions);
        for (index, (row, group)) in positions.into_iter().zip(groups).enumerate() {
            self.replace(group, payloads.row(index), work.at_ms(row as usize));
        }
    }

    /// Makes this the last row of its key, unless that is later.
    fn replace(&mut self, group: u32, bytes: &[u8], at_ms: i64) {
        let row = &mut self.rows[group as usize];
        if let Some(kept) = &row.bytes {
            let tied = at_ms == row.at_ms && self.spec.timed && !self.spec.by_arrival;
            if at_ms < row.at_ms || tied && *bytes < **kept {
                return;
            }
        }
        row.at_ms = at_ms;
        if row.bytes.as_deref() == Some(bytes) {
            return;
        }
        self.row_bytes += bytes.len();
        let before = row.bytes.replace(bytes.into());
        self.row_bytes -= before.as_ref().map_or(0, |before| before.len());
        if self.spec.sends == Sends::FinalRows {
            return;
        }
        if self.spec.sends == Sends::EachChange {
            if let Some(before) = before {
                self.changes.push(group, 0, -1, &before, at_ms);
            }
            self.changes.push(group, 0, 1, bytes, at_ms);
        } else if !std::mem::replace(&mut row.changed, true) {
            self.changed.push(Changed { group, sent: before });
        }
    }

    /// Sends the next of the rows that are there in the end; whether there was anything to do.
    fn finish(&mut self) -> bool {
        let Some(groups) = self.finale.next(&mut self.queue) else { return false };
        let rows = groups.iter().map(|group| &self.rows[*group as usize]);
        let at_ms: Vec<i64> = rows.clone().map(|row| row.at_ms).collect();
        let bytes = rows.map(|row| row.bytes.as_deref().expect("a key has a row"));
        let rows = self.spec.input.rows(self.payload.decode(bytes), groups.len());
        self.queue.rows(Segment::LAST, &rows, None, self.spec.timed.then_some(&at_ms));
        true
    }

    /// Sends what the present block has changed so far.
    fn flush(&mut self) {
        for Changed { group, sent } in std::mem::take(&mut self.changed) {
            let row = &mut self.rows[group as usize];
            row.changed = false;
            if sent == row.bytes {
                continue;
            }
            if let Some(sent) = sent {
                self.changes.push(group, 0, -1, &sent, row.at_ms);
            }
            let bytes = row.bytes.as_deref().expect("a key that has changed has a row");
            self.changes.push(group, 0, 1, bytes, row.at_ms);
        }
        self.changes.send(
            &self.payload,
            &self.spec.input,
            false,
            self.spec.timed,
            self.number,
            &mut self.queue,
        );
    }
}

impl Operator for Last {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        self.work = Some(Work::new(batch, &self.spec.keys, &self.spec.codec));
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        while self.queue.is_empty() && (self.finish() || self.advance()) {}
        self.queue.pull()
    }

    fn state(&self) -> StateSize {
        let bytes = self.groups.bytes() + self.rows.bytes() + self.row_bytes + self.changes.bytes();
        StateSize { entries: self.groups.len(), bytes, next_close_ms: None }
    }
}
