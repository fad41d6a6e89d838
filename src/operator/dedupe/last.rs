//! The keyed operator behind `dedupe` that keeps the last row of each key so far: a changelog.

use std::ops::Range;

use arrow::array::RecordBatch;

use crate::operator::finale::Finale;
use crate::operator::payload::{Changes, Payload};
use crate::operator::queue::Queue;
use crate::operator::saved::{Clock, Early, StateKey, rows_of, time_column, time_field, times_ms};
use crate::operator::work::{Work, position_of};
use crate::operator::{Captured, Context, Operator, Sends, StateSize, StateTable};
use crate::record::{Batch, Schema, Segment};
use crate::state::{Groups, Pages};

/// What every shard builds its operator from.
#[derive(Clone)]
pub(super) struct Spec {
    /// Positions of the key columns in the input.
    pub keys: Vec<usize>,
    pub key: StateKey,
    pub timed: bool,
    /// Whether the later of two rows of one time is the last; else that with the greater columns.
    pub by_arrival: bool,
    pub sends: Sends,
    /// The columns of a row.
    pub input: Schema,
}

/// The tables of the state: the keys with their last row and its time, and the watermark.
const KEYS: usize = 0;
const CLOCK: usize = 1;

const CLOCK_TABLE: Clock<1> = Clock::new(["watermark_ms"]);

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
    table: StateTable,
    early: Early,
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
        let payload = Payload::new(&spec.input);
        let columns = payload.saved().into_iter().chain(spec.timed.then(|| time_field("at")));
        Self {
            table: spec.key.table("keys", columns),
            early: Early::default(),
            payload,
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
        self.keep_view(&groups);
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

    /// Saves those of these groups that a view still has to capture, before they change.
    fn keep_view(&mut self, groups: &[u32]) {
        if !self.groups.has_view() {
            return;
        }
        for groups in self.groups.take_uncaptured(groups).chunks(Batch::ROWS_MAX) {
            self.early.push(KEYS, self.save(groups));
        }
    }

    fn save(&self, groups: &[u32]) -> RecordBatch {
        let rows = groups.iter().map(|group| &self.rows[*group as usize]);
        let mut columns = self.spec.key.columns(groups.iter().map(|group| self.groups.key(*group)));
        let bytes = rows.clone().map(|row| row.bytes.as_deref().expect("a key has a row"));
        columns.extend(self.payload.save(bytes));
        columns.extend(self.spec.timed.then(|| time_column(rows.map(|row| row.at_ms))));
        rows_of(&self.table, columns, groups.len())
    }

    fn load(&mut self, rows: &RecordBatch) {
        let (groups, column) = (self.spec.key.read(rows).number(&mut self.groups), self.spec.key.len());
        self.rows.resize(self.groups.capacity());
        let payloads = self.payload.load(rows, column);
        let at_ms = self.spec.timed.then(|| times_ms(rows.columns().last().expect("the times are last")));
        for (row, group) in groups.into_iter().enumerate() {
            let bytes: Box<[u8]> = payloads.row(row).into();
            self.row_bytes += bytes.len();
            let at_ms = at_ms.map_or(0, |at_ms| at_ms[row]);
            self.rows[group as usize] = Row { bytes: Some(bytes), at_ms, changed: false };
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
        self.work = Some(Work::new(batch, &self.spec.keys, &self.spec.key.codec));
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        while self.queue.is_empty() && (self.finish() || self.advance()) {}
        self.queue.pull()
    }

    fn state(&self) -> StateSize {
        let kept = self.rows.bytes() + self.row_bytes + self.changes.bytes() + self.early.bytes();
        StateSize { entries: self.groups.len(), bytes: self.groups.bytes() + kept, next_close_ms: None }
    }

    fn tables(&self) -> Vec<StateTable> {
        vec![self.table.clone(), CLOCK_TABLE.table()]
    }

    fn begin_view(&mut self) {
        self.groups.begin_view();
        self.early.push(CLOCK, CLOCK_TABLE.row([self.queue.watermark_ms()]));
    }

    fn capture(&mut self, rows: usize) -> Option<Captured> {
        if let Some(captured) = self.early.next(rows) {
            return Some(captured);
        }
        let groups = self.groups.scan(rows);
        (!groups.is_empty()).then(|| Captured { table: KEYS, rows: self.save(&groups) })
    }

    fn end_view(&mut self) {
        self.groups.end_view();
        self.early.clear();
    }

    fn restore(&mut self, table: usize, rows: &RecordBatch) {
        match table {
            KEYS => self.load(rows),
            _ => self.queue.advance_to(CLOCK_TABLE.read(rows)[0]),
        }
    }
}
