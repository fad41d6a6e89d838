//! The keyed operator behind `aggregate` over count windows: every n rows of a key are one result.

use arrow::array::RecordBatch;

use super::saved::{CLOCK, GROUPS, GroupTable, of_groups};
use super::tally::{Aggregate, Inputs, Tally};
use crate::operator::key_bytes::KeyBytes;
use crate::operator::queue::Queue;
use crate::operator::saved::{Clock, Early, number_column, number_field, numbers};
use crate::operator::work::position_of;
use crate::operator::{Build, Captured, Context, Operator, StateSize, StateTable};
use crate::record::{Batch, KeyCodec, Schema};
use crate::state::Pages;

/// What every shard builds its operator from.
#[derive(Clone)]
pub(super) struct Spec {
    /// Positions of the key columns in the input.
    pub keys: Vec<usize>,
    pub codec: KeyCodec,
    /// How many rows make a window.
    pub rows: u64,
    pub aggregates: Vec<Aggregate>,
    /// What the results of the aggregates are called.
    pub names: Vec<String>,
    /// The keys, one column per aggregate.
    pub output: Schema,
    /// Whether rows have event times.
    pub timed: bool,
}

pub(super) fn build(spec: Spec, description: String, state: &str) -> Build {
    Build::new(description, move || Box::new(Counted::new(spec.clone()))).keeping(state)
}

/// The watermark at the barrier.
const CLOCK_TABLE: Clock<1> = Clock::new(["watermark_ms"]);

struct Counted {
    spec: Spec,
    table: GroupTable,
    tally: Tally,
    /// How many rows the open window of each group has.
    counts: Pages<u64>,
    run: Run,
    queue: Queue,
    /// What has been captured of a view and not been handed out.
    early: Early,
}

/// Rows that are not yet added, up to the first of a group whose window they have filled.
#[derive(Default)]
struct Run {
    rows: Vec<u32>,
    groups: Vec<u32>,
    /// Groups whose window is full, and the event time of the row that filled it.
    full: Vec<u32>,
    at_ms: Vec<i64>,
}

impl Counted {
    fn new(spec: Spec) -> Self {
        let queue = Queue::new(&spec.output, spec.timed);
        let tally = Tally::new(&spec.aggregates);
        let own = vec![number_field("rows")];
        let table = GroupTable::new(&spec.codec, &spec.output, own, &spec.names, &tally);
        let (counts, run, early) = (Pages::default(), Run::default(), Early::default());
        Self { spec, table, tally, counts, run, queue, early }
    }

    /// Adds one row to the window of its key.
    fn take(&mut self, batch: &Batch, keys: &KeyBytes, inputs: &Inputs, row: usize, number: u64) {
        let hash = batch.hashes.as_ref().expect("an exchange has hashed the keys").value(row);
        let mut group = self.tally.groups.number(hash, keys.key(row));
        self.counts.resize(self.tally.groups.capacity());
        if self.counts[group as usize] == self.spec.rows {
            self.send(inputs, number);
            group = self.tally.groups.number(hash, keys.key(row));
        }
        self.run.rows.push(position_of(row));
        self.run.groups.push(group);
        self.counts[group as usize] += 1;
        if self.counts[group as usize] == self.spec.rows {
            self.run.full.push(group);
            self.run.at_ms.push(batch.times.as_ref().map_or(0, |times| times.at_ms.value(row)));
        }
    }

    /// Adds the rows of the run, sends the windows that are full, and forgets them.
    fn send(&mut self, inputs: &Inputs, number: u64) {
        let run = std::mem::take(&mut self.run);
        self.tally.resize();
        self.tally.add(&run.rows, &run.groups, inputs);
        if run.full.is_empty() {
            return;
        }
        let rows = self.results(&run.full);
        self.queue.rows(number, &rows, None, self.spec.timed.then_some(&run.at_ms));
        self.tally.remove(&run.full);
        run.full.iter().for_each(|group| self.counts[*group as usize] = 0);
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
        let counts = groups.iter().map(|group| self.counts[*group as usize].cast_signed());
        self.table.save(&self.tally, groups, [number_column(counts)])
    }

    fn results(&self, groups: &[u32]) -> RecordBatch {
        let mut columns = self.tally.keys(&self.spec.codec, groups);
        columns.extend(self.tally.results(groups));
        self.spec.output.rows(columns, groups.len())
    }
}

impl Operator for Counted {
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
            for row in rows {
                self.take(&batch, &keys, &inputs, row, segment.number);
            }
            self.send(&inputs, segment.number);
            let Some(end) = segment.end else { continue };
            self.queue.advance(clock);
            self.queue.end(segment.number, &end);
        }
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        self.queue.pull()
    }

    fn state(&self) -> StateSize {
        let bytes = self.tally.bytes() + self.counts.bytes() + self.early.bytes();
        StateSize { entries: self.tally.groups.len(), bytes, next_close_ms: None }
    }

    fn tables(&self) -> Vec<StateTable> {
        vec![self.table.declare(), CLOCK_TABLE.table()]
    }

    fn begin_view(&mut self) {
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
            return;
        }
        let groups = self.table.load(&mut self.tally, rows);
        self.counts.resize(self.tally.groups.capacity());
        let counts = numbers(self.table.own(rows, 0));
        for (group, count) in groups.iter().zip(counts) {
            self.counts[*group as usize] = count.cast_unsigned();
        }
    }
}
