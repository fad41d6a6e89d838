//! The keyed operator behind `dedupe` that keeps the last row of each key within a time: a row that no period of its
//! key covers opens one, and the last row of a period comes out once the watermark has passed its end.
//!
//! Whether a period has ended is decided for each row by the watermark it meets, so what comes out does not depend on how
//! the input was cut into blocks; it comes out at the end of the block. A row so late that its period has ended when it
//! opens comes out by itself. Periods of a key do not overlap: one that opens before another ends where that begins.
//!
//! A row comes out later than it came in, by less than the length of a period: the watermark behind the step is held
//! back by as much, so that no row is late behind the step that was not late before it.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::operator::payload::Payload;
use crate::operator::queue::Queue;
use crate::operator::work::{Work, position_of};
use crate::operator::{Context, Operator, StateSize};
use crate::record::{Batch, KeyCodec, Schema};
use crate::state::{Groups, Pages};
use crate::time::{SegmentClock, WATERMARK_MAX, WATERMARK_MIN};

/// What every shard builds its operator from.
#[derive(Clone)]
pub(super) struct Spec {
    /// Positions of the key columns in the input.
    pub keys: Vec<usize>,
    pub codec: KeyCodec,
    /// The length of a period, milliseconds.
    pub within_ms: i64,
    /// Whether the later of two rows of one time is the last; else that with the greater columns.
    pub by_arrival: bool,
    /// The columns of a row.
    pub input: Schema,
}

/// The running form.
pub(super) struct LastWithin {
    spec: Spec,
    payload: Payload,
    groups: Groups,
    /// By group its open periods, which do not overlap, in order.
    periods: Pages<Vec<Period>>,
    /// Open periods by their end, with their group.
    closing: BTreeSet<(i64, u32)>,
    /// Rows of periods that have ended in the block at hand.
    ended: Vec<Period>,
    row_bytes: usize,
    watermark_ms: i64,
    queue: Queue,
    work: Option<Work>,
}

struct Period {
    start_ms: i64,
    /// Exclusive.
    end_ms: i64,
    /// The last row so far and its time.
    at_ms: i64,
    row: Box<[u8]>,
}

/// Where a row belongs in the periods of its key.
enum Found {
    /// Into the period at this index.
    Period(usize),
    /// Into a new one at this index.
    New(usize),
}

impl LastWithin {
    /// A shard's operator.
    pub fn new(spec: Spec) -> Self {
        Self {
            payload: Payload::new(&spec.input),
            groups: Groups::default(),
            periods: Pages::default(),
            closing: BTreeSet::new(),
            ended: Vec::new(),
            row_bytes: 0,
            watermark_ms: WATERMARK_MIN,
            queue: Queue::new(&spec.input, true),
            work: None,
            spec,
        }
    }

    /// Works off one segment; whether there was one.
    fn advance(&mut self) -> bool {
        let Some(mut work) = self.work.take() else { return false };
        let Some((segment, clock, rows)) = work.next() else { return false };
        self.apply(&work, &clock, rows);
        if let Some(end) = segment.end {
            self.watermark_ms = self.watermark_ms.max(clock.after_ms.unwrap_or(WATERMARK_MIN));
            self.close(segment.number);
            let held_back = |after_ms: i64| {
                if after_ms == WATERMARK_MAX {
                    after_ms
                } else {
                    after_ms.saturating_sub(self.spec.within_ms)
                }
            };
            let clock = SegmentClock { after_ms: clock.after_ms.map(held_back), ..clock };
            self.queue.advance(&clock);
            self.queue.end(segment.number, &end);
        }
        self.work = Some(work);
        true
    }

    fn apply(&mut self, work: &Work, clock: &SegmentClock, rows: Range<usize>) {
        let positions: Vec<u32> = rows.clone().map(position_of).collect();
        let payloads = self.payload.encode(&work.batch, &positions);
        for (index, row) in rows.enumerate() {
            let (hash, key) = work.key(row);
            let group = self.groups.number(hash, key);
            if self.periods.len() < self.groups.capacity() {
                self.periods.resize(self.groups.capacity());
            }
            self.end(group, work.watermark_ms(row, clock));
            let (at_ms, payload) = (work.at_ms(row), payloads.row(index));
            match find(&self.periods[group as usize], at_ms) {
                Found::Period(period) => self.replace(group, period, payload, at_ms),
                Found::New(position) => self.open(group, position, payload, at_ms),
            }
        }
    }

    /// Ends the periods of a key that the watermark has passed.
    fn end(&mut self, group: u32, watermark_ms: i64) {
        let periods = &mut self.periods[group as usize];
        let count = periods.partition_point(|period| period.end_ms - 1 <= watermark_ms);
        for period in periods.drain(..count) {
            self.closing.remove(&(period.end_ms, group));
            self.ended.push(period);
        }
    }

    /// Makes this the last row of a period, unless that is later.
    fn replace(&mut self, group: u32, index: usize, payload: &[u8], at_ms: i64) {
        let period = &mut self.periods[group as usize][index];
        let tied = at_ms == period.at_ms && !self.spec.by_arrival;
        if at_ms < period.at_ms || tied && *payload < *period.row {
            return;
        }
        self.row_bytes = self.row_bytes + payload.len() - period.row.len();
        period.at_ms = at_ms;
        period.row = payload.into();
    }

    /// Opens a period, the next before that at `index`.
    fn open(&mut self, group: u32, index: usize, payload: &[u8], at_ms: i64) {
        let periods = &mut self.periods[group as usize];
        let end_ms = at_ms.saturating_add(self.spec.within_ms);
        let end_ms = periods.get(index).map_or(end_ms, |next| end_ms.min(next.start_ms));
        periods.insert(index, Period { start_ms: at_ms, end_ms, at_ms, row: payload.into() });
        self.row_bytes += payload.len();
        self.closing.insert((end_ms, group));
    }

    /// Sends the last rows of the periods that the watermark has passed.
    fn close(&mut self, number: u64) {
        while let Some(&(end_ms, group)) = self.closing.first() {
            if end_ms - 1 > self.watermark_ms {
                break;
            }
            self.end(group, self.watermark_ms);
            let periods = &mut self.periods[group as usize];
            if periods.is_empty() {
                *periods = Vec::new();
                self.groups.remove(group);
            }
        }
        let mut closed = std::mem::take(&mut self.ended);
        closed.sort_by_key(|period| period.end_ms);
        if closed.is_empty() {
            return;
        }
        self.row_bytes -= closed.iter().map(|period| period.row.len()).sum::<usize>();
        let columns = self.payload.decode(closed.iter().map(|period| period.row.as_ref()));
        let rows = self.spec.input.rows(columns, closed.len());
        let at_ms: Vec<i64> = closed.iter().map(|period| period.at_ms).collect();
        self.queue.rows(number, &rows, None, Some(&at_ms));
    }
}

fn find(periods: &[Period], at_ms: i64) -> Found {
    let behind = periods.partition_point(|period| period.start_ms <= at_ms);
    match behind.checked_sub(1) {
        Some(index) if at_ms < periods[index].end_ms => Found::Period(index),
        _ => Found::New(behind),
    }
}

impl Operator for LastWithin {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        self.work = Some(Work::new(batch, &self.spec.keys, &self.spec.codec));
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        while self.queue.is_empty() && self.advance() {}
        self.queue.pull()
    }

    fn state(&self) -> StateSize {
        let entry = size_of::<Period>() + 2 * size_of::<(i64, u32)>();
        let periods = self.periods.bytes() + self.closing.len() * entry;
        StateSize {
            entries: self.closing.len(),
            bytes: self.groups.bytes() + periods + self.row_bytes,
            next_close_ms: self.closing.first().map(|(end_ms, _)| *end_ms),
        }
    }
}
