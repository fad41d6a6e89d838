//! The keyed operator behind `over`: rows wait for the watermark, then each gets the aggregates of its frame.
//!
//! Whether a row is late is decided for each row by the watermark that the rows before it in its split have made; rows
//! that have come due are sent at the ends of blocks. So neither depends on how the input was cut into blocks or on how
//! many shards read it.

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{concat, take};

use super::frame::{Extent, Frames, Plan, Round};
use super::saved::{CLOCK, CLOCK_TABLE, FRAMES, KEYS, SavedFrames, Tables, WAITING};
use crate::aggregate::{Accumulator, accumulator};
use crate::operator::aggregate::tally::Aggregate;
use crate::operator::key_bytes::KeyBytes;
use crate::operator::late::Lateness;
use crate::operator::queue::Queue;
use crate::operator::saved::{Early, StateKey};
use crate::operator::waiting::{Due, Waiting};
use crate::operator::{Build, Captured, Context, Operator, StateSize, StateTable};
use crate::record::{Batch, BlockEnd, Schema};
use crate::state::{Groups, Timers};

/// What every shard builds its operator from.
#[derive(Clone)]
pub(super) struct Spec {
    pub extent: Extent,
    /// The rows with what the step has made of them: its input's columns, keys, arguments, filters.
    pub prepared: Schema,
    /// How many of the prepared columns are the input's.
    pub columns: usize,
    /// Positions of the key columns in the prepared rows.
    pub keys: Vec<usize>,
    pub key: StateKey,
    /// Positions of the columns that the aggregates read.
    pub read: Vec<usize>,
    /// Their arguments and filters are places in `read`.
    pub aggregates: Vec<Aggregate>,
    /// What their results are called where their states are saved.
    pub names: Vec<String>,
    /// Whether the order of arrival is defined; else rows of equal time are put into the order of their columns.
    pub ordered: bool,
    pub late: Lateness,
    /// The input's columns, then one column per aggregate.
    pub output: Schema,
}

pub(super) fn build(spec: Spec, description: String) -> Build {
    Build::new(description, move || Box::new(Over::new(spec.clone())))
}

struct Over {
    spec: Spec,
    waiting: Waiting,
    groups: Groups,
    frames: Frames,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// When to look whether a key's frame has become empty; none where frames never do.
    expiry: Option<Timers>,
    tables: Tables,
    /// What a view has captured of the keys before it was asked for, and of their frames.
    early: Early,
    saved_frames: SavedFrames,
    work: Option<Work>,
    /// The end of a block that has made rows due.
    firing: Option<(u64, BlockEnd)>,
    queue: Queue,
}

/// A batch of input and how far it has been worked off.
struct Work {
    batch: Batch,
    segment: usize,
    row: usize,
}

impl Over {
    fn new(spec: Spec) -> Self {
        let fields = spec.prepared.arrow().fields();
        let read: Vec<_> = spec.read.iter().map(|index| fields[*index].data_type().clone()).collect();
        let expiry = match spec.extent {
            Extent::Range(range_ms) => Some(Timers::new(range_ms)),
            Extent::All | Extent::Rows(_) => None,
        };
        let accumulators: Vec<_> =
            spec.aggregates.iter().map(|aggregate| accumulator(&aggregate.call)).collect();
        Self {
            tables: Tables::new(&spec, &accumulators),
            early: Early::default(),
            saved_frames: SavedFrames::default(),
            waiting: Waiting::new(spec.prepared.arrow().clone()),
            groups: Groups::default(),
            frames: Frames::new(spec.extent, &read),
            accumulators,
            expiry,
            work: None,
            firing: None,
            queue: Queue::new(&spec.output, true),
            spec,
        }
    }

    /// Works the batch off up to the end of the first block that makes rows due; false where there is none.
    fn advance(&mut self, context: &mut Context) -> bool {
        let Some(mut work) = self.work.take() else { return false };
        while let Some(segment) = work.batch.segments.get(work.segment).copied() {
            let clock = work.batch.clocks[work.segment];
            let rows = work.row..work.row + segment.rows as usize;
            let watermark_ms = self.queue.watermark_ms();
            self.waiting.take_in(&work.batch, rows.clone(), &clock, watermark_ms, &self.spec.late, context);
            work.segment += 1;
            work.row = rows.end;
            let Some(end) = segment.end else { continue };
            if self.queue.advance(&clock) {
                self.firing = Some((segment.number, end));
                self.work = Some(work);
                return true;
            }
            self.queue.end(segment.number, &end);
        }
        false
    }

    /// Sends the next rows that have come due, or ends the block; false where no block is ending.
    fn fire(&mut self) -> bool {
        let Some((number, end)) = self.firing else { return false };
        let watermark_ms = self.queue.watermark_ms();
        if let Some(due) = self.waiting.take_due(watermark_ms) {
            let due = if self.spec.ordered { due } else { due.break_ties(self.spec.columns) };
            let rows = self.results(&due);
            self.queue.rows(number, &rows, None, Some(&due.times));
        } else {
            self.expire(watermark_ms);
            self.queue.end(number, &end);
            self.firing = None;
        }
        true
    }

    /// The rows with the results of their aggregates.
    fn results(&mut self, due: &Due) -> RecordBatch {
        let groups = self.number(due);
        self.keep_view(&groups);
        let read: Vec<ArrayRef> =
            self.spec.read.iter().map(|index| due.rows.column(*index).clone()).collect();
        let plan = self.frames.pass(&read, &due.times, &groups, self.groups.capacity());
        let places = UInt32Array::from(plan.results.clone());
        let mut columns = due.rows.columns()[..self.spec.columns].to_vec();
        for (accumulator, aggregate) in self.accumulators.iter_mut().zip(&self.spec.aggregates) {
            accumulator.resize(self.groups.capacity());
            let results = accumulate(accumulator.as_mut(), aggregate, &plan);
            columns.push(take(&results, &places, None).expect("every row has a result"));
        }
        self.spec.output.rows(columns, groups.len())
    }

    /// The groups of the rows' keys.
    fn number(&mut self, due: &Due) -> Vec<u32> {
        let keys = KeyBytes::of(&Batch::of_rows(due.rows.clone(), 0), &self.spec.keys, &self.spec.key.codec);
        let mut groups = Vec::with_capacity(due.times.len());
        for (row, time_ms) in due.times.iter().enumerate() {
            let before = self.groups.len();
            let group = self.groups.number(due.hashes.value(row), keys.key(row));
            if let (Some(expiry), Extent::Range(range_ms)) = (&mut self.expiry, self.spec.extent)
                && self.groups.len() > before
            {
                expiry.set(time_ms.saturating_add(range_ms), group);
            }
            groups.push(group);
        }
        groups
    }

    /// Drops the keys whose rows are all too old for any row still to come.
    fn expire(&mut self, watermark_ms: i64) {
        let (Some(expiry), Extent::Range(range_ms)) = (&mut self.expiry, self.spec.extent) else { return };
        let mut dropped = Vec::new();
        for group in expiry.due(watermark_ms) {
            // Every row to come is later than the watermark.
            let last_ms = self.frames.newest_ms(group).saturating_add(range_ms);
            if last_ms <= watermark_ms {
                dropped.push(group);
            } else {
                expiry.set(last_ms, group);
            }
        }
        if dropped.is_empty() {
            return;
        }
        self.keep_view(&dropped);
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.clear(&dropped));
        for group in dropped {
            self.frames.clear(group);
            self.groups.remove(group);
        }
    }

    /// Saves those of these groups that a view still has to capture, before they change.
    fn keep_view(&mut self, groups: &[u32]) {
        if self.groups.has_view() {
            let groups = self.groups.take_uncaptured(groups);
            self.save(&groups);
        }
    }

    /// Saves groups: the states of their aggregates, and copies of their frames, which are read in portions.
    fn save(&mut self, groups: &[u32]) {
        for groups in groups.chunks(Batch::ROWS_MAX) {
            let keys = groups.iter().map(|group| self.groups.key(*group));
            self.early.push(KEYS, self.tables.keys(keys, groups, &self.accumulators));
        }
        for group in groups {
            if let Some(frame) = self.frames.copy(*group) {
                self.saved_frames.push(self.groups.key(*group), frame);
            }
        }
    }

    /// The next groups of a view, with about so many rows in their frames.
    fn scan(&mut self, rows: usize) -> Vec<u32> {
        let (mut groups, mut entries) = (Vec::new(), 0);
        while entries < rows
            && let Some(group) = self.groups.scan(1).pop()
        {
            groups.push(group);
            entries += 1 + self.frames.rows(group);
        }
        groups
    }

    /// The groups of saved rows.
    fn groups_of(&mut self, rows: &RecordBatch) -> Vec<u32> {
        let keys = self.tables.keys_of(rows);
        let number = |row| {
            let (hash, key) = keys.key(row);
            self.groups.number(hash, key)
        };
        (0..rows.num_rows()).map(number).collect()
    }
}

/// The results of all rounds, one behind the other.
fn accumulate(accumulator: &mut dyn Accumulator, aggregate: &Aggregate, plan: &Plan) -> ArrayRef {
    let arguments: Vec<ArrayRef> =
        aggregate.arguments.iter().map(|place| plan.columns[*place].clone()).collect();
    let filter: Option<BooleanArray> = aggregate.filter.map(|place| plan.columns[place].as_boolean().clone());
    let results = plan.rounds.iter().map(|round: &Round| {
        if !round.emptied.is_empty() {
            accumulator.clear(&round.emptied);
        }
        if !round.leaving.is_empty() {
            accumulator.retract(&round.leaving, &round.leaving_groups, &arguments, filter.as_ref());
        }
        accumulator.add(&round.entering, &round.entering_groups, &arguments, filter.as_ref());
        accumulator.finish(&round.groups)
    });
    let results: Vec<ArrayRef> = results.collect();
    let results: Vec<_> = results.iter().map(AsRef::as_ref).collect();
    concat(&results).expect("results have one type and are not more than rows")
}

impl Operator for Over {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        debug_assert!(self.work.is_none(), "the batch before is worked off");
        debug_assert_eq!(batch.clocks.len(), batch.segments.len(), "an inbox has set the clocks");
        self.work = Some(Work { batch, segment: 0, row: 0 });
    }

    fn pull(&mut self, context: &mut Context) -> Option<Batch> {
        while self.queue.is_empty() && (self.fire() || self.advance(context)) {}
        self.queue.pull()
    }

    fn state(&self) -> StateSize {
        let accumulators: usize = self.accumulators.iter().map(|accumulator| accumulator.bytes()).sum();
        StateSize {
            entries: self.waiting.len() + self.groups.len(),
            bytes: self.waiting.bytes()
                + self.frames.bytes()
                + self.groups.bytes()
                + self.expiry.as_ref().map_or(0, Timers::bytes)
                + accumulators
                + self.early.bytes()
                + self.saved_frames.bytes(),
            next_close_ms: self.waiting.next_ms().map(|next_ms| next_ms.saturating_add(1)),
        }
    }

    fn tables(&self) -> Vec<StateTable> {
        self.tables.all()
    }

    fn begin_view(&mut self) {
        self.groups.begin_view();
        self.waiting.begin_view(self.queue.watermark_ms());
        self.early.push(CLOCK, CLOCK_TABLE.row([self.queue.watermark_ms()]));
    }

    fn capture(&mut self, rows: usize) -> Option<Captured> {
        loop {
            if let Some(captured) = self.early.next(rows) {
                return Some(captured);
            }
            if let Some(rows) = self.tables.frames(&mut self.saved_frames, &self.frames, rows) {
                return Some(Captured { table: FRAMES, rows });
            }
            let groups = self.scan(rows);
            if groups.is_empty() {
                break;
            }
            self.save(&groups);
        }
        let picks = self.waiting.capture(rows)?;
        Some(Captured { table: WAITING, rows: self.tables.waiting.rows(&picks) })
    }

    fn end_view(&mut self) {
        self.groups.end_view();
        self.waiting.end_view();
        self.early.clear();
        self.saved_frames.clear();
    }

    fn restore(&mut self, table: usize, rows: &RecordBatch) {
        match table {
            WAITING => {
                let keys = self.tables.keys_of(rows);
                let hashes = (0..rows.num_rows()).map(|row| keys.key(row).0).collect();
                let (columns, times, arrivals) = self.tables.waiting.read(rows);
                self.waiting.load(columns, times, hashes, arrivals);
            }
            KEYS => {
                let groups = self.groups_of(rows);
                let capacity = self.groups.capacity();
                self.accumulators.iter_mut().for_each(|accumulator| accumulator.resize(capacity));
                self.tables.read_keys(rows, &groups, &mut self.accumulators);
            }
            FRAMES => {
                let groups = self.groups_of(rows);
                let capacity = self.groups.capacity();
                self.tables.read_frames(rows, &groups, &mut self.frames, capacity);
            }
            _ => self.queue.advance_to(CLOCK_TABLE.read(rows)[0]),
        }
    }

    fn restored(&mut self) {
        self.waiting.loaded();
        self.frames.loaded();
        let (Some(expiry), Extent::Range(range_ms)) = (&mut self.expiry, self.spec.extent) else { return };
        for group in self.groups.numbers() {
            expiry.set(self.frames.newest_ms(group).saturating_add(range_ms), group);
        }
    }
}
