//! The keyed operator behind `aggregate`: one set of groups per open window, fired when the watermark passes its end.
//!
//! Whether a row is late is decided for each row by the watermark that the rows before it in its split have made
//! ([`SegmentClock::watermark_ms`]); windows fire at the ends of blocks. So neither depends on how the input was cut
//! into blocks or on how many shards read it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, TimestampMillisecondArray,
};

use super::{Build, Context, Operator};
use crate::aggregate::{Accumulator, Call, accumulator};
use crate::record::{Batch, BlockEnd, EventTimes, KeyCodec, Schema, Segment};
use crate::state::Groups;
use crate::time::{SegmentClock, WATERMARK_MAX, WATERMARK_MIN};
use crate::window::Tumbling;

/// One aggregate call: its accumulator and where its arguments are in the input.
#[derive(Clone, Debug)]
pub(super) struct Aggregate {
    pub call: Call,
    pub arguments: Vec<usize>,
    pub filter: Option<usize>,
}

/// What every shard builds its operator from.
#[derive(Clone)]
pub(super) struct Spec {
    /// Positions of the key columns in the input.
    pub keys: Vec<usize>,
    pub codec: KeyCodec,
    pub window: Tumbling,
    pub aggregates: Vec<Aggregate>,
    /// The keys, the window's start and end, one column per aggregate.
    pub output: Schema,
}

pub(super) fn build(spec: Spec, description: String) -> Build {
    Build::new(description, move || Box::new(WindowAggregate::new(spec.clone())))
}

struct WindowAggregate {
    spec: Spec,
    /// Open windows by their start.
    windows: BTreeMap<i64, Window>,
    work: Option<Work>,
    firing: Option<Firing>,
    /// Block ends that have been passed and not yet sent on.
    ends: Vec<Segment>,
    watermark_ms: i64,
    empty: RecordBatch,
}

/// The groups of one window.
struct Window {
    groups: Groups,
    accumulators: Vec<Box<dyn Accumulator>>,
}

/// A batch of input and how far it has been worked off.
struct Work {
    batch: Batch,
    columns: Columns,
    segment: usize,
    row: usize,
}

/// The parts of a batch that groups are made of.
struct Columns {
    key_bytes: Vec<u8>,
    key_ends: Vec<u32>,
    arguments: Vec<Vec<ArrayRef>>,
    filters: Vec<Option<BooleanArray>>,
}

/// Windows that have fired at the end of a block, and how far they have been sent out.
struct Firing {
    number: u64,
    end: Segment,
    /// In ascending order of their start; the last is worked off first.
    due: Vec<(i64, Window)>,
    sent: usize,
}

impl WindowAggregate {
    fn new(spec: Spec) -> Self {
        let empty = RecordBatch::new_empty(spec.output.arrow().clone());
        Self {
            spec,
            windows: BTreeMap::new(),
            work: None,
            firing: None,
            ends: Vec::new(),
            watermark_ms: WATERMARK_MIN,
            empty,
        }
    }

    /// Works the batch off up to the end of the first block that makes a window fire. Returns whether anything is left.
    fn advance(&mut self, context: &mut Context) -> bool {
        let Some(mut work) = self.work.take() else { return false };
        let mut pending = Pending::default();
        while let Some(segment) = work.batch.segments.get(work.segment).copied() {
            let clock = work.batch.clocks[work.segment];
            let rows = work.row..work.row + segment.rows as usize;
            self.assign(&work.batch, rows.clone(), &clock, &mut pending, context);
            work.segment += 1;
            work.row = rows.end;
            let Some(end) = segment.end else { continue };
            if let Some(after_ms) = clock.after_ms {
                self.watermark_ms = self.watermark_ms.max(after_ms);
            }
            let passed = self.pass(segment.number, &end);
            if clock.after_ms.is_some() && self.is_due(&pending) {
                self.apply(&work.columns, &work.batch, &mut pending);
                let due = self.take_due();
                self.firing = Some(Firing { number: segment.number, end: passed, due, sent: 0 });
                self.work = Some(work);
                return true;
            }
            self.ends.push(passed);
        }
        self.apply(&work.columns, &work.batch, &mut pending);
        true
    }

    /// The end of a block as it is sent on: with the watermark behind this step.
    fn pass(&self, number: u64, end: &BlockEnd) -> Segment {
        let through = if end.through == Segment::LAST { Segment::LAST } else { number };
        let finished = self.watermark_ms == WATERMARK_MAX;
        let end = Some(BlockEnd { through, max_time_ms: self.watermark_ms, finished, idle: false });
        Segment { rows: 0, number, split: 0, end }
    }

    /// Sorts rows into windows; late rows are counted and dropped.
    fn assign(
        &self,
        batch: &Batch,
        rows: Range<usize>,
        clock: &SegmentClock,
        pending: &mut Pending,
        context: &mut Context,
    ) {
        if rows.is_empty() {
            return;
        }
        let times = batch.times.as_ref().expect("a windowed step was resolved with event time");
        let seen_ms = times.seen_ms.as_ref().map(|seen| seen.values().as_ref());
        let base_ms = clock.watermark_ms(i64::MIN);
        for row in rows {
            let watermark_ms = seen_ms.map_or(base_ms, |seen| clock.watermark_ms(seen[row]));
            match self.spec.window.start_ms(times.at_ms.value(row)) {
                Some(start_ms) if !self.spec.window.has_fired(start_ms, watermark_ms) => {
                    pending.push(start_ms, row);
                }
                _ => context.late += 1,
            }
        }
    }

    /// Whether the watermark has passed the first window, open or pending.
    fn is_due(&self, pending: &Pending) -> bool {
        let open = self.windows.keys().next().copied();
        let first = open.into_iter().chain(pending.windows.keys().copied()).min();
        first.is_some_and(|start_ms| self.spec.window.has_fired(start_ms, self.watermark_ms))
    }

    /// Adds the pending rows to their groups.
    fn apply(&mut self, columns: &Columns, batch: &Batch, pending: &mut Pending) {
        let hashes = batch.hashes.as_ref().expect("an exchange has hashed the keys");
        for (start_ms, rows) in std::mem::take(&mut pending.windows) {
            let window = self.windows.entry(start_ms).or_insert_with(|| Window::new(&self.spec.aggregates));
            let numbers = rows.iter().map(|row| {
                let row = *row as usize;
                window.groups.number(hashes.value(row), columns.key(row))
            });
            let numbers: Vec<u32> = numbers.collect();
            let calls = columns.arguments.iter().zip(&columns.filters);
            for (accumulator, (arguments, filter)) in window.accumulators.iter_mut().zip(calls) {
                accumulator.resize(window.groups.len());
                accumulator.add(&rows, &numbers, arguments, filter.as_ref());
            }
        }
    }

    /// Removes the windows that the watermark has passed, the first one last.
    fn take_due(&mut self) -> Vec<(i64, Window)> {
        let mut due = Vec::new();
        while let Some(entry) = self.windows.first_entry() {
            if !self.spec.window.has_fired(*entry.key(), self.watermark_ms) {
                break;
            }
            let (start_ms, window) = entry.remove_entry();
            due.push((start_ms, window));
        }
        due.reverse();
        due
    }

    /// The next rows of the windows that have fired; none, with the block ended, once all are out.
    fn fire(&mut self) -> Option<Batch> {
        let firing = self.firing.as_mut()?;
        let Some((start_ms, window)) = firing.due.last() else {
            self.ends.push(firing.end);
            self.firing = None;
            return None;
        };
        let range = firing.sent..window.groups.len().min(firing.sent + Batch::ROWS_MAX);
        let rows = results(&self.spec, *start_ms, window, range.clone());
        firing.sent = range.end;
        if range.end == window.groups.len() {
            firing.due.pop();
            firing.sent = 0;
        }
        let last_ms = self.spec.window.end_ms(rows.1) - 1;
        let mut batch = Batch::of_rows(rows.0, firing.number);
        batch.times = Some(EventTimes { at_ms: Int64Array::from(vec![last_ms; batch.len()]), seen_ms: None });
        let mut segments = std::mem::take(&mut self.ends);
        segments.append(&mut batch.segments);
        batch.segments = segments;
        Some(batch)
    }
}

/// The rows of some groups of a window, and the window's start.
fn results(spec: &Spec, start_ms: i64, window: &Window, range: Range<usize>) -> (RecordBatch, i64) {
    let count = range.len();
    let mut columns = spec
        .codec
        .decode(range.clone().map(|group| window.groups.key(u32::try_from(group).expect("32 bits"))));
    for time_ms in [start_ms, spec.window.end_ms(start_ms)] {
        let position = columns.len();
        let data_type = spec.output.arrow().field(position).data_type().clone();
        let times = TimestampMillisecondArray::from(vec![time_ms; count]).with_data_type(data_type);
        columns.push(Arc::new(times));
    }
    let groups: Vec<u32> =
        range.map(|group| u32::try_from(group).expect("groups are numbered in 32 bits")).collect();
    columns.extend(window.accumulators.iter().map(|accumulator| accumulator.finish(&groups)));
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let rows = RecordBatch::try_new_with_options(spec.output.arrow().clone(), columns, &options)
        .expect("aggregates yield the types they were resolved to");
    (rows, start_ms)
}

impl Operator for WindowAggregate {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        debug_assert!(self.work.is_none(), "the batch before is worked off");
        debug_assert_eq!(batch.clocks.len(), batch.segments.len(), "an inbox has set the clocks");
        let columns = Columns::of(&batch, &self.spec);
        self.work = Some(Work { batch, columns, segment: 0, row: 0 });
    }

    fn pull(&mut self, context: &mut Context) -> Option<Batch> {
        loop {
            if let Some(batch) = self.fire() {
                return Some(batch);
            }
            if !self.advance(context) {
                break;
            }
        }
        if self.ends.is_empty() {
            return None;
        }
        let mut batch = Batch::of_rows(self.empty.clone(), 0);
        batch.times = Some(EventTimes { at_ms: Int64Array::from(Vec::<i64>::new()), seen_ms: None });
        batch.segments = std::mem::take(&mut self.ends);
        Some(batch)
    }
}

impl Window {
    fn new(aggregates: &[Aggregate]) -> Self {
        let accumulators = aggregates.iter().map(|aggregate| accumulator(&aggregate.call)).collect();
        Self { groups: Groups::default(), accumulators }
    }
}

impl Columns {
    fn of(batch: &Batch, spec: &Spec) -> Self {
        let column = |index: &usize| batch.rows.column(*index).clone();
        let keys: Vec<ArrayRef> = spec.keys.iter().map(column).collect();
        let (mut key_bytes, mut key_ends) = (Vec::new(), Vec::with_capacity(batch.len()));
        spec.codec.encode(&keys, batch.len(), &mut key_bytes, &mut key_ends);
        let arguments =
            spec.aggregates.iter().map(|aggregate| aggregate.arguments.iter().map(column).collect());
        let filters = spec
            .aggregates
            .iter()
            .map(|aggregate| aggregate.filter.map(|index| batch.rows.column(index).as_boolean().clone()));
        Self { key_bytes, key_ends, arguments: arguments.collect(), filters: filters.collect() }
    }

    fn key(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.key_ends[row - 1] as usize };
        &self.key_bytes[start..self.key_ends[row] as usize]
    }
}

/// Rows that are assigned to windows and not yet added to groups.
#[derive(Default)]
struct Pending {
    windows: BTreeMap<i64, Vec<u32>>,
}

impl Pending {
    fn push(&mut self, start_ms: i64, row: usize) {
        let row = u32::try_from(row).expect("a batch is far below 4 G rows");
        self.windows.entry(start_ms).or_default().push(row);
    }
}
