//! The keyed operator behind `dedupe` that keeps the first row of each key: it passes at once, unchanged.

use std::ops::Range;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;

use crate::operator::queue::Queue;
use crate::operator::saved::{Clock, Early, StateKey, rows_of, time_column, time_field, times_ms};
use crate::operator::work::{Work, position_of};
use crate::operator::{Captured, Context, Operator, StateSize, StateTable};
use crate::record::{Batch, Schema};
use crate::state::{Groups, Pages, Timers};

/// What every shard builds its operator from.
#[derive(Clone)]
pub(super) struct Spec {
    /// Positions of the key columns in the input.
    pub keys: Vec<usize>,
    pub key: StateKey,
    /// How long rows behind the first are dropped, milliseconds of event time; none for ever.
    pub within_ms: Option<i64>,
    pub timed: bool,
    /// The columns of a row.
    pub input: Schema,
}

/// The tables of the state: the keys with the time of their first row, and the watermark.
const KEYS: usize = 0;
const CLOCK: usize = 1;

const CLOCK_TABLE: Clock<1> = Clock::new(["watermark_ms"]);

/// The running form.
pub(super) struct First {
    spec: Spec,
    groups: Groups,
    /// By group the time of its first row; empty where keys are kept for ever.
    times_ms: Pages<i64>,
    /// One timer for each group: it is looked at when the first of its rows may have expired.
    timers: Timers,
    table: StateTable,
    early: Early,
    queue: Queue,
    work: Option<Work>,
}

impl First {
    /// A shard's operator.
    pub fn new(spec: Spec) -> Self {
        Self {
            groups: Groups::default(),
            times_ms: Pages::default(),
            timers: Timers::new(spec.within_ms.unwrap_or(1)),
            table: spec.key.table("keys", spec.within_ms.map(|_| time_field("first_at"))),
            early: Early::default(),
            queue: Queue::new(&spec.input, spec.timed),
            work: None,
            spec,
        }
    }

    /// Works off one segment; whether there was one.
    fn advance(&mut self) -> bool {
        let Some(mut work) = self.work.take() else { return false };
        let Some((segment, clock, rows)) = work.next() else { return false };
        if self.groups.has_view() && self.spec.within_ms.is_some() {
            let known = work.known(&self.groups, rows.clone());
            self.keep_view(&known);
        }
        let kept: Vec<u32> = match self.spec.within_ms {
            Some(within_ms) => rows
                .clone()
                .filter(|row| self.passes_within(&work, *row, within_ms))
                .map(position_of)
                .collect(),
            None => rows.clone().filter(|row| self.passes(&work, *row)).map(position_of).collect(),
        };
        self.send(&work.batch, segment.number, &rows, kept);
        if let Some(end) = segment.end {
            if self.queue.advance(&clock) {
                self.expire();
            }
            self.queue.end(segment.number, &end);
        }
        self.work = Some(work);
        true
    }

    /// Whether the row is the first of its key.
    fn passes(&mut self, work: &Work, row: usize) -> bool {
        let (hash, key) = work.key(row);
        let before = self.groups.len();
        self.groups.number(hash, key);
        self.groups.len() > before
    }

    /// Whether the row is the first of its key, or so far behind the first that it is the next first.
    fn passes_within(&mut self, work: &Work, row: usize, within_ms: i64) -> bool {
        let (hash, key) = work.key(row);
        let at_ms = work.at_ms(row);
        if let Some(group) = self.groups.find(hash, key) {
            let first_ms = &mut self.times_ms[group as usize];
            let passes = at_ms >= first_ms.saturating_add(within_ms);
            if passes {
                *first_ms = at_ms;
            }
            return passes;
        }
        let group = self.groups.insert(hash, key);
        if self.times_ms.len() < self.groups.capacity() {
            self.times_ms.resize(self.groups.capacity());
        }
        self.times_ms[group as usize] = at_ms;
        self.timers.set(at_ms.saturating_add(within_ms), group);
        true
    }

    /// Forgets the keys whose first row the watermark has left behind.
    fn expire(&mut self) {
        let Some(within_ms) = self.spec.within_ms else { return };
        let watermark_ms = self.queue.watermark_ms();
        let mut expired = Vec::new();
        for group in self.timers.due(watermark_ms) {
            let expires_ms = self.times_ms[group as usize].saturating_add(within_ms);
            if expires_ms <= watermark_ms {
                expired.push(group);
            } else {
                self.timers.set(expires_ms, group);
            }
        }
        self.keep_view(&expired);
        for group in expired {
            self.groups.remove(group);
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
        let mut columns = self.spec.key.columns(groups.iter().map(|group| self.groups.key(*group)));
        if self.spec.within_ms.is_some() {
            columns.push(time_column(groups.iter().map(|group| self.times_ms[*group as usize])));
        }
        rows_of(&self.table, columns, groups.len())
    }

    fn load(&mut self, rows: &RecordBatch) {
        let groups = self.spec.key.read(rows).number(&mut self.groups);
        if self.spec.within_ms.is_some() {
            self.times_ms.resize(self.groups.capacity());
            for (group, at_ms) in groups.iter().zip(times_ms(rows.column(self.spec.key.len()))) {
                self.times_ms[*group as usize] = *at_ms;
            }
        }
    }

    fn send(&mut self, batch: &Batch, number: u64, rows: &Range<usize>, kept: Vec<u32>) {
        if kept.is_empty() {
            return;
        }
        let columns = &batch.rows.columns()[..self.spec.input.columns().len()];
        let at_ms = batch.times.as_ref().map(|times| &times.at_ms);
        let at_ms: Option<Vec<i64>> =
            at_ms.map(|at_ms| kept.iter().map(|row| at_ms.value(*row as usize)).collect());
        let count = kept.len();
        let columns: Vec<ArrayRef> = if count == rows.len() {
            columns.iter().map(|column| column.slice(rows.start, count)).collect()
        } else {
            let positions = UInt32Array::from(kept);
            let take = |column: &ArrayRef| take(column, &positions, None).expect("the rows are of the batch");
            columns.iter().map(take).collect()
        };
        let rows = self.spec.input.rows(columns, count);
        self.queue.rows(number, &rows, None, at_ms.as_deref());
    }
}

impl Operator for First {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        self.work = Some(Work::new(batch, &self.spec.keys, &self.spec.key.codec));
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        while self.queue.is_empty() && self.advance() {}
        self.queue.pull()
    }

    fn state(&self) -> StateSize {
        let kept = self.times_ms.bytes() + self.timers.bytes() + self.early.bytes();
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

    fn restored(&mut self) {
        let Some(within_ms) = self.spec.within_ms else { return };
        for group in self.groups.numbers() {
            self.timers.set(self.times_ms[group as usize].saturating_add(within_ms), group);
        }
    }
}
