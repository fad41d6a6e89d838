//! The keyed operator behind `aggregate` over fixed windows: tumbling, sliding, cumulative.
//!
//! Whether a row is late is decided for each row by the watermark that the rows before it in its split have made
//! ([`SegmentClock::watermark_ms`]); windows fire at the ends of blocks, and earlier only where a row comes that is
//! behind a window which has fired by then but belongs into a later one. So the output does not depend on how the input
//! was cut into blocks or on how many shards read it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, RecordBatch, TimestampMillisecondArray};

use super::ahead::Ahead;
use super::changes::changes;
use super::saved::CLOCK;
use super::slice_view::SliceTable;
use super::slices::{Run, Slices};
use super::tally::{Aggregate, Tally};
use super::work::{RowClock, Work};
use crate::operator::late::Lateness;
use crate::operator::queue::Queue;
use crate::operator::saved::{Clock, numbers};
use crate::operator::work::position_of;
use crate::operator::{Build, Captured, Context, Operator, StateSize, StateTable};
use crate::record::{Batch, BlockEnd, KeyCodec, Schema};
use crate::state::Groups;
use crate::time::{SegmentClock, WATERMARK_MIN};
use crate::window::Windows;

/// What every shard builds its operator from.
#[derive(Clone)]
pub(super) struct Spec {
    /// Positions of the key columns in the input.
    pub keys: Vec<usize>,
    pub codec: KeyCodec,
    pub windows: Windows,
    pub aggregates: Vec<Aggregate>,
    /// What the results of the aggregates are called.
    pub names: Vec<String>,
    /// The keys, the window's start and end, one column per aggregate.
    pub output: Schema,
    pub lateness: Lateness,
    /// Whether rows count at the time at which they are seen, not at their event time.
    pub by_wall_clock: bool,
    /// Whether each row's correction is sent.
    pub every_change: bool,
}

pub(super) fn build(spec: Spec, description: String, state: &str) -> Build {
    let by_wall_clock = spec.by_wall_clock;
    let build = Build::new(description, move || Box::new(Sliced::new(spec.clone())));
    Build { by_wall_clock, ..build.keeping(state) }
}

/// The watermark at the barrier, up to where windows have been fired, and the wall clock where rows go by it.
const CLOCK_TABLE: Clock<3> = Clock::new(["watermark_ms", "fired_ms", "wall_ms"]);

struct Sliced {
    spec: Spec,
    slices: Slices,
    /// All windows that end here or before have fired.
    fired_ms: i64,
    clock: RowClock,
    work: Option<Work>,
    firing: Option<Firing>,
    corrections: BTreeMap<i64, Correction>,
    queue: Queue,
    /// Keys whose windows were fired further than this shard's where they were before a restart.
    ahead: Ahead,
}

/// Windows that are being fired.
struct Firing {
    number: u64,
    /// Those whose last millisecond is here or before.
    until_ms: i64,
    /// The end of the block at which they fire; none in the middle of one.
    end: Option<BlockEnd>,
    current: Option<Emission>,
}

/// A window's rows on their way out.
struct Emission {
    end_ms: i64,
    rows: Rows,
    numbers: Vec<u32>,
    sent: usize,
}

enum Rows {
    /// Merged for this window, or the window's only slice.
    Own(Tally),
    /// Still needed by later windows.
    Shared(Run),
}

/// A fired window that late rows have changed: its keys, and what was sent of them.
#[derive(Default)]
struct Correction {
    keys: Groups,
    old: Option<Tally>,
}

/// Rows that are assigned to slices and not yet added.
struct Pending {
    slices: Vec<(i64, Vec<u32>)>,
    /// How many rows a slice may get.
    rows_max: usize,
    /// The least end of a window that has not fired and has rows, be they pending or added; none where there is none.
    next_end_ms: Option<i64>,
}

/// The slice of the row before, so that neighbours need no division.
#[derive(Clone, Copy)]
struct Place {
    slice: i64,
    from_ms: i64,
    behind_ms: i64,
    /// The end of the first window of the slice that has not fired; none if all have.
    next_end_ms: Option<i64>,
    last_end_ms: i64,
}

/// What becomes of a row.
enum Fate {
    Slice(i64),
    Late,
    /// In no window.
    Outside,
    /// First windows have to fire, up to this watermark.
    FireFirst(i64),
}

impl Sliced {
    fn new(spec: Spec) -> Self {
        let corrects = spec.lateness.allow_ms > 0;
        // Where a slice goes with the first window that fires, what is there has not been fired.
        let by_shard = spec.by_wall_clock && (spec.windows.slices() > 1 || corrects);
        let Spec { windows, codec, output, names, aggregates, .. } = &spec;
        let table = SliceTable::new(*windows, codec, output, names, aggregates, by_shard);
        let slices = Slices::new(aggregates.clone(), windows.slices(), corrects, table);
        let queue = Queue::new(&spec.output, true);
        Self {
            clock: RowClock::new(spec.by_wall_clock),
            spec,
            slices,
            fired_ms: WATERMARK_MIN,
            work: None,
            firing: None,
            corrections: BTreeMap::new(),
            queue,
            ahead: Ahead::default(),
        }
    }

    /// Works the batch off until something has to be fired. Returns whether there was anything to do.
    fn advance(&mut self, context: &mut Context) -> bool {
        let Some(mut work) = self.work.take() else { return false };
        let mut pending =
            Pending { slices: Vec::new(), rows_max: work.batch.len(), next_end_ms: self.next_end_ms() };
        let mut place = None;
        while let Some((segment, clock)) = work.segment() {
            while let Some(row) = work.next_row() {
                match self.fate(&work, &clock, &mut place) {
                    Fate::Slice(slice) => {
                        let corrects = self.spec.lateness.allow_ms > 0
                            && self.prepare_correction(slice, &work, &mut pending, segment.number, &clock);
                        pending.push(slice, row, place.and_then(|place: Place| place.next_end_ms));
                        if corrects && self.spec.every_change {
                            self.apply(&work, &mut pending);
                            self.correct(segment.number);
                        }
                    }
                    Fate::Late => work.late.push(row),
                    Fate::Outside => {}
                    Fate::FireFirst(until_ms) => {
                        self.apply(&work, &mut pending);
                        self.firing =
                            Some(Firing { number: segment.number, until_ms, end: None, current: None });
                        self.work = Some(work);
                        return true;
                    }
                }
                work.row += 1;
            }
            work.leave_segment();
            let Some(end) = segment.end else { continue };
            let until_ms = self.clock.end_block(&clock, &mut self.queue);
            let is_due = pending.next_end_ms.is_some_and(|end_ms| end_ms - 1 <= until_ms);
            if is_due || !self.corrections.is_empty() {
                self.apply(&work, &mut pending);
                self.firing =
                    Some(Firing { number: segment.number, until_ms, end: Some(end), current: None });
                self.work = Some(work);
                return true;
            }
            self.fired_ms = self.fired_ms.max(until_ms.saturating_add(1));
            // What was the slice's next window still is, unless it has been passed.
            place = place.filter(|place| place.next_end_ms.is_some_and(|end_ms| end_ms > self.fired_ms));
            self.queue.end(segment.number, &end);
        }
        self.apply(&work, &mut pending);
        self.spec.lateness.tell(&work.batch, std::mem::take(&mut work.late), context);
        true
    }

    fn fate(&self, work: &Work, clock: &SegmentClock, place: &mut Option<Place>) -> Fate {
        let (time_ms, watermark_ms) = self.clock.row_ms(work, clock);
        let known = place.filter(|place| place.from_ms <= time_ms && time_ms < place.behind_ms);
        let Some(found) = known.or_else(|| self.place_of(time_ms)) else { return Fate::Outside };
        *place = Some(found);
        let allow_ms = self.spec.lateness.allow_ms;
        if found.last_end_ms.saturating_sub(1).saturating_add(allow_ms) <= watermark_ms {
            return Fate::Late;
        }
        match found.next_end_ms {
            Some(next_ms) if next_ms - 1 <= watermark_ms => Fate::FireFirst(watermark_ms),
            _ => Fate::Slice(found.slice),
        }
    }

    fn place_of(&self, time_ms: i64) -> Option<Place> {
        let windows = &self.spec.windows;
        let slice = windows.slice_of(time_ms)?;
        let (from_ms, behind_ms) = windows.slice_span_ms(slice);
        let next_end_ms = windows.next_end_ms(slice, self.fired_ms);
        Some(Place { slice, from_ms, behind_ms, next_end_ms, last_end_ms: windows.last_end_ms(slice) })
    }

    /// The end of the next window that has not fired and has rows.
    fn next_end_ms(&self) -> Option<i64> {
        self.slices.numbers().find_map(|slice| self.spec.windows.next_end_ms(slice, self.fired_ms))
    }

    /// Adds the pending rows to their slices.
    fn apply(&mut self, work: &Work, pending: &mut Pending) {
        for (slice, rows) in pending.slices.drain(..) {
            self.slices.add(slice, &rows, |row| work.key(row), &work.inputs);
        }
    }

    /// Notes what was sent of the key of the next row for the windows that have fired and that the row will change.
    /// Returns whether there are any.
    fn prepare_correction(
        &mut self,
        slice: i64,
        work: &Work,
        pending: &mut Pending,
        number: u64,
        clock: &SegmentClock,
    ) -> bool {
        let watermark_ms = self.clock.row_ms(work, clock).1;
        let mut closed_ms = watermark_ms.saturating_sub(self.spec.lateness.allow_ms).saturating_add(1);
        if self.corrections.first_key_value().is_some_and(|(end_ms, _)| *end_ms <= closed_ms) {
            // Earlier rows of the block came in time to correct a window, and this one does not.
            self.apply(work, pending);
            self.correct(number);
        }
        let (hash, key) = work.key(position_of(work.row));
        let mut found = false;
        while let Some(end_ms) = self.spec.windows.next_end_ms(slice, closed_ms) {
            if end_ms > self.fired_ms {
                break;
            }
            closed_ms = end_ms;
            found = true;
            let correction = self.corrections.entry(end_ms).or_default();
            if correction.keys.find(hash, key).is_some() {
                continue;
            }
            correction.keys.insert(hash, key);
            let (first, behind) = self.spec.windows.slices_of(end_ms);
            let runs = self.slices.cover(first, behind);
            let old = correction.old.get_or_insert_with(|| Tally::new(&self.spec.aggregates));
            for run in &runs {
                old.merge_key(self.slices.tally(*run), hash, key);
            }
        }
        found
    }

    /// Sends what has changed of windows that have fired.
    fn correct(&mut self, number: u64) {
        for (end_ms, correction) in std::mem::take(&mut self.corrections) {
            let (first, behind) = self.spec.windows.slices_of(end_ms);
            let runs = self.slices.cover(first, behind);
            let (old, mut new) =
                (correction.old.expect("set with the first key"), Tally::new(&self.spec.aggregates));
            let keys = (0..correction.keys.capacity()).map(|key| {
                let key = correction.keys.key(u32::try_from(key).expect("the keys of a block are few"));
                (KeyCodec::hash(key), key)
            });
            let pairs = keys.map(|(hash, key)| {
                for run in &runs {
                    new.merge_key(self.slices.tally(*run), hash, key);
                }
                let place = |tally: &Tally| tally.groups.find(hash, key).map(|number| number as usize);
                (place(&old), place(&new))
            });
            let pairs: Vec<_> = pairs.collect();
            let rows = |tally: &Tally| results(&self.spec, end_ms, tally, &tally.groups.numbers());
            let (old, new) = (rows(&old), rows(&new));
            let (rows, weights, _) = changes(&self.spec.output, &old, &new, &pairs);
            self.send(number, end_ms, &rows, Some(&weights));
        }
    }

    fn send(&mut self, number: u64, end_ms: i64, rows: &RecordBatch, weights: Option<&Int8Array>) {
        self.queue.rows(number, rows, weights, Some(&vec![end_ms - 1; rows.num_rows()]));
    }

    /// The next rows of the windows that are due; false once none is.
    fn fire(&mut self) -> bool {
        let Some(mut firing) = self.firing.take() else { return false };
        self.correct(firing.number);
        let due = |end_ms: &i64| end_ms - 1 <= firing.until_ms;
        let current =
            firing.current.take().or_else(|| self.next_end_ms().filter(due).map(|end| self.emission(end)));
        let Some(mut emission) = current else {
            self.retire(firing.until_ms);
            if let Some(end) = firing.end {
                self.queue.end(firing.number, &end);
            }
            return true;
        };
        let until = emission.numbers.len().min(emission.sent + Batch::ROWS_MAX);
        let tally = match &emission.rows {
            Rows::Own(tally) => tally,
            Rows::Shared(run) => self.slices.tally(*run),
        };
        let rows = results(&self.spec, emission.end_ms, tally, &emission.numbers[emission.sent..until]);
        self.send(firing.number, emission.end_ms, &rows, None);
        emission.sent = until;
        firing.current = (until < emission.numbers.len()).then_some(emission);
        self.firing = Some(firing);
        true
    }

    /// Begins to send the window that ends at `end_ms`.
    fn emission(&mut self, end_ms: i64) -> Emission {
        self.fired_ms = end_ms;
        let (first, behind) = self.spec.windows.slices_of(end_ms);
        let runs = self.slices.cover(first, behind);
        let is_last =
            |slice| self.spec.windows.last_end_ms(slice) == end_ms && self.spec.lateness.allow_ms == 0;
        let rows = match runs.as_slice() {
            [(0, slice)] if is_last(*slice) => {
                self.slices.take(*slice).map_or(Rows::Shared((0, *slice)), Rows::Own)
            }
            [run] => Rows::Shared(*run),
            runs => Rows::Own(self.slices.merge(runs)),
        };
        let groups = match &rows {
            Rows::Own(tally) => &tally.groups,
            Rows::Shared(run) => &self.slices.tally(*run).groups,
        };
        let numbers = self.ahead.without_fired(end_ms, groups);
        Emission { end_ms, rows, numbers, sent: 0 }
    }

    /// Notes that all windows have fired that are due at this watermark, and drops what no window needs any more.
    fn retire(&mut self, watermark_ms: i64) {
        self.fired_ms = self.fired_ms.max(watermark_ms.saturating_add(1));
        let allow_ms = self.spec.lateness.allow_ms;
        while let Some(slice) = self.slices.first() {
            if self.spec.windows.last_end_ms(slice).saturating_sub(1).saturating_add(allow_ms) > watermark_ms
            {
                break;
            }
            self.slices.drop_slice(slice);
        }
    }
}

/// The rows of these groups of the window that ends at `end_ms`.
fn results(spec: &Spec, end_ms: i64, tally: &Tally, numbers: &[u32]) -> RecordBatch {
    let mut columns = tally.keys(&spec.codec, numbers);
    for time_ms in [spec.windows.start_ms(end_ms), end_ms] {
        let data_type = spec.output.arrow().field(columns.len()).data_type().clone();
        let times = TimestampMillisecondArray::from(vec![time_ms; numbers.len()]).with_data_type(data_type);
        columns.push(Arc::new(times) as ArrayRef);
    }
    columns.extend(tally.results(numbers));
    spec.output.rows(columns, numbers.len())
}

impl Pending {
    /// Adds a row to a slice, whose next window that has not fired ends at `next_end_ms`.
    fn push(&mut self, slice: i64, row: u32, next_end_ms: Option<i64>) {
        if let Some((_, rows)) = self.slices.iter_mut().rev().find(|(known, _)| *known == slice) {
            return rows.push(row);
        }
        let mut rows = Vec::with_capacity(self.rows_max);
        rows.push(row);
        self.slices.push((slice, rows));
        self.next_end_ms = self.next_end_ms.into_iter().chain(next_end_ms).min();
    }
}

impl Operator for Sliced {
    fn push(&mut self, batch: Batch, context: &mut Context) {
        debug_assert!(self.work.is_none(), "the batch before is worked off");
        self.clock.see(context.wall_ms);
        let Spec { keys, codec, aggregates, .. } = &self.spec;
        self.work = Some(Work::new(batch, keys, codec, aggregates));
    }

    fn pull(&mut self, context: &mut Context) -> Option<Batch> {
        while self.queue.is_empty() && (self.fire() || self.advance(context)) {}
        self.queue.pull()
    }

    fn state(&self) -> StateSize {
        let (entries, bytes) = self.slices.size();
        StateSize { entries, bytes, next_close_ms: self.next_end_ms() }
    }

    fn tables(&self) -> Vec<StateTable> {
        vec![self.slices.table().groups().declare(), CLOCK_TABLE.table()]
    }

    fn begin_view(&mut self) {
        debug_assert!(self.work.is_none() && self.firing.is_none(), "a view begins between batches");
        debug_assert!(self.corrections.is_empty(), "a view begins between blocks");
        let clock = CLOCK_TABLE.row([self.queue.watermark_ms(), self.fired_ms, self.clock.wall_ms()]);
        self.slices.begin_view(self.fired_ms, clock);
    }

    fn capture(&mut self, rows: usize) -> Option<Captured> {
        self.slices.capture(rows)
    }

    fn end_view(&mut self) {
        self.slices.end_view();
    }

    fn restore(&mut self, table: usize, rows: &RecordBatch) {
        if table == CLOCK {
            let [watermark_ms, _, wall_ms] = CLOCK_TABLE.read(rows);
            self.queue.advance_to(watermark_ms);
            self.clock.see(wall_ms);
            self.ahead.shards_fired_ms.extend(numbers(rows.column(1)));
        } else {
            self.slices.restore(rows);
            if let Some(fired_ms) = self.slices.table().fired_ms(rows) {
                self.ahead.note(&self.slices.table().groups().keys(rows), fired_ms);
            }
        }
    }

    fn restored(&mut self) {
        // By the wall clock each shard fires for itself: what one has not fired is still there.
        self.fired_ms = self.ahead.start();
    }
}
