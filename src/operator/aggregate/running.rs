//! The keyed operator behind `aggregate` without a window: the results so far, as a changelog.
//!
//! A run of rows is applied at once; what its groups were before it and are behind it makes the changelog rows. A run
//! ends where a block ends, or, where every change is wanted, before a second row of a group.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

use super::changes::changes;
use super::saved::{CLOCK, GROUPS, GroupTable, flag_column, flag_field, flags, of_groups};
use super::tally::{Aggregate, Inputs, Tally};
use crate::operator::finale::Finale;
use crate::operator::key_bytes::KeyBytes;
use crate::operator::queue::Queue;
use crate::operator::saved::{
    Clock, Early, number_column, number_field, numbers, time_column, time_field, times_ms,
};
use crate::operator::work::position_of;
use crate::operator::{Build, Captured, Context, Operator, Sends, StateSize, StateTable};
use crate::record::{Batch, KeyCodec, Schema, Segment};
use crate::state::{Bits, Pages, Timers};
use crate::time::WATERMARK_MAX;

/// What every shard builds its operator from.
#[derive(Clone)]
pub(super) struct Spec {
    /// Positions of the key columns in the input.
    pub keys: Vec<usize>,
    pub codec: KeyCodec,
    pub aggregates: Vec<Aggregate>,
    /// What the results of the aggregates are called.
    pub names: Vec<String>,
    /// The keys, one column per aggregate.
    pub output: Schema,
    /// For how long, in event time, a group without a row is kept, milliseconds; none for ever.
    pub ttl_ms: Option<i64>,
    /// Whether the input takes rows back.
    pub retracts: bool,
    /// Whether rows have event times.
    pub timed: bool,
    pub sends: Sends,
}

pub(super) fn build(spec: Spec, description: String, state: &str) -> Build {
    Build::new(description, move || Box::new(Running::new(spec.clone()))).keeping(state)
}

/// The watermark at the barrier.
const CLOCK_TABLE: Clock<1> = Clock::new(["watermark_ms"]);

struct Running {
    spec: Spec,
    table: GroupTable,
    tally: Tally,
    /// How many rows each group has; only where rows are taken back.
    counts: Pages<i64>,
    /// Bit by bit, which groups have been sent.
    sent: Bits,
    /// For each group 1 + its place among those that the present run has touched; 0 for others.
    places: Pages<u32>,
    /// The latest event time of each group, milliseconds, `i64::MAX` for a number without one; only with a ttl.
    latest_ms: Pages<i64>,
    timers: Timers,
    run: Run,
    finale: Finale,
    queue: Queue,
    /// What has been captured of a view and not been handed out.
    early: Early,
}

/// The rows between two times at which changes are sent.
#[derive(Default)]
struct Run {
    /// The groups touched, in order, with the event time of the last row of each.
    touched: Vec<u32>,
    at_ms: Vec<i64>,
    /// How many of them have been looked at before their first row was applied, and what they were.
    looked_at: usize,
    old: Vec<RecordBatch>,
    /// For each of those whether it had been sent.
    was_sent: Vec<bool>,
    /// Rows to be added, and their groups.
    added: (Vec<u32>, Vec<u32>),
    /// Rows to be taken back, and their groups.
    taken: (Vec<u32>, Vec<u32>),
}

impl Running {
    fn new(spec: Spec) -> Self {
        let tally = Tally::new(&spec.aggregates);
        let mut own = vec![flag_field("sent")];
        own.extend(spec.retracts.then(|| number_field("rows")));
        own.extend(spec.ttl_ms.map(|_| time_field("latest")));
        Self {
            table: GroupTable::new(&spec.codec, &spec.output, own, &spec.names, &tally),
            tally,
            counts: Pages::default(),
            sent: Bits::default(),
            places: Pages::default(),
            latest_ms: Pages::default(),
            timers: Timers::new(spec.ttl_ms.unwrap_or(0)),
            run: Run::default(),
            finale: Finale::new(spec.sends),
            queue: Queue::new(&spec.output, spec.timed),
            early: Early::default(),
            spec,
        }
    }

    /// Works off the rows of one segment.
    fn take(&mut self, batch: &Batch, keys: &KeyBytes, inputs: &Inputs, rows: Range<usize>, number: u64) {
        let hashes = batch.hashes.as_ref().expect("an exchange has hashed the keys");
        for row in rows {
            let mut group = self.group(hashes.value(row), keys.key(row));
            if self.spec.sends == Sends::EachChange && self.places[group as usize] != 0 {
                self.apply(inputs);
                self.send(number);
                // The group may just have been deleted.
                group = self.group(hashes.value(row), keys.key(row));
            }
            self.touch(batch, row, group);
        }
    }

    /// The group of a key; a new one is empty.
    fn group(&mut self, hash: u64, key: &[u8]) -> u32 {
        if let Some(group) = self.tally.groups.find(hash, key) {
            return group;
        }
        let group = self.tally.groups.insert(hash, key);
        self.resize();
        if self.spec.ttl_ms.is_some() {
            self.latest_ms[group as usize] = i64::MIN;
        }
        group
    }

    /// Makes room for all groups there are.
    fn resize(&mut self) {
        let capacity = self.tally.groups.capacity();
        self.tally.resize();
        self.places.resize(capacity);
        if self.spec.retracts {
            self.counts.resize(capacity);
        }
        if self.spec.ttl_ms.is_some() {
            self.latest_ms.resize(capacity);
        }
    }

    /// Adds a row to the run.
    fn touch(&mut self, batch: &Batch, row: usize, group: u32) {
        let at_ms = batch.times.as_ref().map_or(0, |times| times.at_ms.value(row));
        let place = &mut self.places[group as usize];
        if *place == 0 {
            self.run.touched.push(group);
            self.run.at_ms.push(at_ms);
            *place = u32::try_from(self.run.touched.len()).expect("a block is far below 4 G rows");
        } else {
            self.run.at_ms[*place as usize - 1] = at_ms;
        }
        let retracts = batch.weights.as_ref().is_some_and(|weights| weights.value(row) < 0);
        if self.spec.retracts {
            let count = &mut self.counts[group as usize];
            // What is taken back and is not there went with the ttl of its group.
            if retracts && *count == 0 {
                return;
            }
            *count += if retracts { -1 } else { 1 };
        }
        if let Some(ttl_ms) = self.spec.ttl_ms {
            let latest_ms = &mut self.latest_ms[group as usize];
            if *latest_ms == i64::MIN {
                self.timers.set(at_ms.saturating_add(ttl_ms), group);
            }
            *latest_ms = at_ms.max(*latest_ms);
        }
        let (rows, groups) = if retracts { &mut self.run.taken } else { &mut self.run.added };
        rows.push(position_of(row));
        groups.push(group);
    }

    /// Applies the rows of the run, behind a look at what the groups were that it touches.
    fn apply(&mut self, inputs: &Inputs) {
        let new = &self.run.touched[self.run.looked_at..];
        if !new.is_empty() && self.spec.sends != Sends::FinalRows {
            self.run.was_sent.extend(new.iter().map(|group| self.sent.get(*group)));
            self.run.old.push(self.results(new));
            self.run.looked_at = self.run.touched.len();
        }
        // What is added first cannot be missing when it is taken back.
        let (rows, groups) = &mut self.run.added;
        self.tally.add(rows, groups, inputs);
        rows.clear();
        groups.clear();
        let (rows, groups) = &mut self.run.taken;
        if !rows.is_empty() {
            self.tally.retract(rows, groups, inputs);
            rows.clear();
            groups.clear();
        }
    }

    /// Sends what the run has changed.
    fn send(&mut self, number: u64) {
        let run = std::mem::take(&mut self.run);
        if run.touched.is_empty() {
            return;
        }
        if self.spec.sends == Sends::FinalRows {
            return self.settle(&run.touched);
        }
        let is_there = |group: &u32| !self.spec.retracts || self.counts[*group as usize] > 0;
        let there: Vec<u32> = run.touched.iter().copied().filter(|group| is_there(group)).collect();
        let gone: Vec<u32> = run.touched.iter().copied().filter(|group| !is_there(group)).collect();
        let schema = self.spec.output.arrow();
        let old = concat_batches(schema, &run.old).expect("old rows have one schema");
        let mut rows_there = 0..;
        let pairs = run.touched.iter().zip(&run.was_sent).enumerate().map(|(index, (group, was_sent))| {
            let after = is_there(group).then(|| rows_there.next().expect("without end"));
            (was_sent.then_some(index), after)
        });
        let pairs: Vec<(Option<usize>, Option<usize>)> = pairs.collect();
        let (rows, weights, causes) = changes(&self.spec.output, &old, &self.results(&there), &pairs);
        let at_ms: Vec<i64> = causes.iter().map(|cause| run.at_ms[*cause]).collect();
        self.queue.rows(number, &rows, Some(&weights), self.spec.timed.then_some(&at_ms));
        for group in &there {
            self.sent.set(*group);
        }
        for group in &run.touched {
            self.places[*group as usize] = 0;
        }
        self.forget(&gone);
    }

    /// Forgets those of the groups touched that have no rows left; the others are sent in the end.
    fn settle(&mut self, touched: &[u32]) {
        let is_gone = |group: &u32| self.spec.retracts && self.counts[*group as usize] == 0;
        let gone: Vec<u32> = touched.iter().copied().filter(is_gone).collect();
        for group in touched {
            self.places[*group as usize] = 0;
        }
        self.forget(&gone);
    }

    /// Sends rows that stay.
    fn send_settled(&mut self, number: u64, groups: &[u32]) {
        let rows = self.results(groups);
        let at_ms = vec![self.queue.watermark_ms(); groups.len()];
        self.queue.rows(number, &rows, None, self.spec.timed.then_some(&at_ms));
    }

    /// Sends the next of the rows that are there in the end; whether there was anything to do.
    fn finish(&mut self) -> bool {
        let Some(groups) = self.finale.next(&mut self.queue) else { return false };
        self.send_settled(Segment::LAST, &groups);
        true
    }

    /// Forgets groups that nothing is sent of any more.
    fn forget(&mut self, groups: &[u32]) {
        self.tally.remove(groups);
        for group in groups {
            self.sent.clear(*group);
            if self.spec.retracts {
                self.counts[*group as usize] = 0;
            }
            if self.spec.ttl_ms.is_some() {
                self.latest_ms[*group as usize] = i64::MAX;
            }
        }
    }

    /// Forgets the groups that have had no row for as long as they are kept.
    fn expire(&mut self, ttl_ms: i64, number: u64) {
        let watermark_ms = self.queue.watermark_ms();
        let due = self.timers.due(watermark_ms);
        self.capture_first(&due);
        for group in due {
            let expiry_ms = self.latest_ms[group as usize].saturating_add(ttl_ms);
            if expiry_ms <= watermark_ms {
                if self.spec.sends == Sends::FinalRows {
                    // Nothing will take its row back.
                    self.send_settled(number, &[group]);
                }
                self.forget(&[group]);
            } else if expiry_ms != i64::MAX {
                self.timers.set(expiry_ms, group);
            }
        }
    }

    /// Captures groups of a view that are about to change.
    fn capture_first(&mut self, groups: &[u32]) {
        let groups = self.tally.groups.take_uncaptured(groups);
        if !groups.is_empty() {
            let rows = self.saved(&groups);
            self.early.push(GROUPS, rows);
        }
    }

    fn saved(&self, groups: &[u32]) -> RecordBatch {
        let mut own = vec![flag_column(groups.iter().map(|group| self.sent.get(*group)))];
        if self.spec.retracts {
            let counts = groups.iter().map(|group| self.counts[*group as usize]);
            own.push(number_column(counts));
        }
        if self.spec.ttl_ms.is_some() {
            own.push(time_column(groups.iter().map(|group| self.latest_ms[*group as usize])));
        }
        self.table.save(&self.tally, groups, own)
    }

    /// Takes saved groups.
    fn load(&mut self, rows: &RecordBatch) {
        let groups = self.table.load(&mut self.tally, rows);
        self.resize();
        let sent = flags(self.table.own(rows, 0));
        for (_, group) in groups.iter().enumerate().filter(|(row, _)| sent.value(*row)) {
            self.sent.set(*group);
        }
        let mut place = 1;
        if self.spec.retracts {
            let counts = numbers(self.table.own(rows, place));
            for (group, count) in groups.iter().zip(counts) {
                self.counts[*group as usize] = *count;
            }
            place += 1;
        }
        if let Some(ttl_ms) = self.spec.ttl_ms {
            let latest_ms = times_ms(self.table.own(rows, place));
            for (group, latest_ms) in groups.iter().zip(latest_ms) {
                self.latest_ms[*group as usize] = *latest_ms;
                self.timers.set(latest_ms.saturating_add(ttl_ms), *group);
            }
        }
    }

    fn results(&self, groups: &[u32]) -> RecordBatch {
        let mut columns = self.tally.keys(&self.spec.codec, groups);
        columns.extend(self.tally.results(groups));
        self.spec.output.rows(columns, groups.len())
    }
}

impl Operator for Running {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        let keys = KeyBytes::of(&batch, &self.spec.keys, &self.spec.codec);
        let inputs = Inputs::of(&batch, &self.spec.aggregates);
        if self.tally.groups.has_view() {
            self.capture_first(&self.tally.groups_of(keys.of_rows(&batch)));
        }
        let mut from = 0;
        for (segment, clock) in batch.segments.iter().zip(&batch.clocks) {
            let rows = from..from + segment.rows as usize;
            from = rows.end;
            self.take(&batch, &keys, &inputs, rows, segment.number);
            let Some(end) = segment.end else { continue };
            self.apply(&inputs);
            self.send(segment.number);
            self.queue.advance(clock);
            if let Some(ttl_ms) = self.spec.ttl_ms
                && self.queue.watermark_ms() != WATERMARK_MAX
            {
                self.expire(ttl_ms, segment.number);
            }
            self.finale.end_block(segment.number, end, &mut self.queue, || self.tally.groups.numbers());
        }
        self.apply(&inputs);
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        while self.queue.is_empty() && self.finish() {}
        self.queue.pull()
    }

    fn state(&self) -> StateSize {
        let own = [self.counts.bytes(), self.sent.bytes(), self.places.bytes(), self.latest_ms.bytes()];
        let bytes = self.tally.bytes() + self.timers.bytes() + self.early.bytes() + own.iter().sum::<usize>();
        StateSize { entries: self.tally.groups.len(), bytes, next_close_ms: None }
    }

    fn tables(&self) -> Vec<StateTable> {
        vec![self.table.declare(), CLOCK_TABLE.table()]
    }

    fn begin_view(&mut self) {
        debug_assert!(self.run.touched.is_empty(), "a view begins between blocks");
        self.tally.groups.begin_view();
        self.early.clear();
        self.early.push(CLOCK, CLOCK_TABLE.row([self.queue.watermark_ms()]));
    }

    fn capture(&mut self, rows: usize) -> Option<Captured> {
        self.early.next(rows).or_else(|| {
            let groups = self.tally.groups.scan(rows);
            (!groups.is_empty()).then(|| of_groups(self.saved(&groups)))
        })
    }

    fn end_view(&mut self) {
        self.tally.groups.end_view();
        self.early.clear();
    }

    fn restore(&mut self, table: usize, rows: &RecordBatch) {
        if table == CLOCK {
            let [watermark_ms] = CLOCK_TABLE.read(rows);
            self.queue.advance_to(watermark_ms);
        } else {
            self.load(rows);
        }
    }
}
