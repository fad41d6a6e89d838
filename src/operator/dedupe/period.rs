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

use arrow::array::RecordBatch;

use crate::operator::payload::Payload;
use crate::operator::queue::Queue;
use crate::operator::saved::{Clock, Early, StateKey, rows_of, time_column, time_field, times_ms};
use crate::operator::work::{Work, position_of};
use crate::operator::{Captured, Context, Operator, StateSize, StateTable};
use crate::record::{Batch, Schema};
use crate::state::{Groups, Pages};
use crate::time::{SegmentClock, WATERMARK_MAX, WATERMARK_MIN};

/// What every shard builds its operator from.
#[derive(Clone)]
pub(super) struct Spec {
    /// Positions of the key columns in the input.
    pub keys: Vec<usize>,
    pub key: StateKey,
    /// The length of a period, milliseconds.
    pub within_ms: i64,
    /// Whether the later of two rows of one time is the last; else that with the greater columns.
    pub by_arrival: bool,
    /// The columns of a row.
    pub input: Schema,
}

/// The tables of the state: the open periods of the keys with their last rows, and the watermarks before and behind the
/// step.
const KEYS: usize = 0;
const CLOCK: usize = 1;

const CLOCK_TABLE: Clock<2> = Clock::new(["watermark_ms", "held_back_ms"]);

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
    table: StateTable,
    early: Early,
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
        let payload = Payload::new(&spec.input);
        let columns = ["start", "end", "at"].map(time_field).into_iter().chain(payload.saved());
        Self {
            table: spec.key.table("periods", columns),
            early: Early::default(),
            payload,
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
        if self.groups.has_view() {
            let known = work.known(&self.groups, rows.clone());
            self.keep_view(&known);
        }
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
            self.keep_view(&[group]);
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

    /// Saves those of these groups that a view still has to capture, before they change.
    fn keep_view(&mut self, groups: &[u32]) {
        if !self.groups.has_view() {
            return;
        }
        for groups in self.groups.take_uncaptured(groups).chunks(Batch::ROWS_MAX) {
            self.early.push(KEYS, self.save(groups));
        }
    }

    /// The periods of these groups.
    fn save(&self, groups: &[u32]) -> RecordBatch {
        let periods = |group: &u32| {
            let key = self.groups.key(*group);
            self.periods[*group as usize].iter().map(move |period| (key, period))
        };
        let periods: Vec<(&[u8], &Period)> = groups.iter().flat_map(periods).collect();
        let mut columns = self.spec.key.columns(periods.iter().map(|(key, _)| *key));
        columns.push(time_column(periods.iter().map(|(_, period)| period.start_ms)));
        columns.push(time_column(periods.iter().map(|(_, period)| period.end_ms)));
        columns.push(time_column(periods.iter().map(|(_, period)| period.at_ms)));
        columns.extend(self.payload.save(periods.iter().map(|(_, period)| &*period.row)));
        rows_of(&self.table, columns, periods.len())
    }

    fn load(&mut self, rows: &RecordBatch) {
        let (groups, first) = (self.spec.key.read(rows).number(&mut self.groups), self.spec.key.len());
        self.periods.resize(self.groups.capacity());
        let [starts, ends, times] = [0, 1, 2].map(|column| times_ms(rows.column(first + column)));
        let payloads = self.payload.load(rows, first + 3);
        for (row, group) in groups.into_iter().enumerate() {
            let bytes = payloads.row(row);
            self.row_bytes += bytes.len();
            self.closing.insert((ends[row], group));
            let periods = &mut self.periods[group as usize];
            let place = periods.partition_point(|period| period.start_ms < starts[row]);
            let (start_ms, end_ms, at_ms) = (starts[row], ends[row], times[row]);
            periods.insert(place, Period { start_ms, end_ms, at_ms, row: bytes.into() });
        }
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
        self.work = Some(Work::new(batch, &self.spec.keys, &self.spec.key.codec));
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
            bytes: self.groups.bytes() + periods + self.row_bytes + self.early.bytes(),
            next_close_ms: self.closing.first().map(|(end_ms, _)| *end_ms),
        }
    }

    fn tables(&self) -> Vec<StateTable> {
        vec![self.table.clone(), CLOCK_TABLE.table()]
    }

    fn begin_view(&mut self) {
        self.groups.begin_view();
        self.early.push(CLOCK, CLOCK_TABLE.row([self.watermark_ms, self.queue.watermark_ms()]));
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
        if table == KEYS {
            return self.load(rows);
        }
        let [watermark_ms, held_back_ms] = CLOCK_TABLE.read(rows);
        self.watermark_ms = self.watermark_ms.max(watermark_ms);
        self.queue.advance_to(held_back_ms);
    }
}
