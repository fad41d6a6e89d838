//! The keyed operator behind a running `top`: every row that comes may change which rows are the first of its
//! partition, and what changes is sent as a changelog.
//!
//! Rows that cannot become one of the first are found by comparing their order alone, before anything else of them is
//! looked at.

use std::collections::BTreeSet;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::row::Rows;

use super::format::RowFormat;
use super::partition::{Kept, Limit, Observer, Partition, Position, Ranked, tree_bytes};
use super::table::RowTable;
use super::view::{PARTITIONS_AT_ONCE, View};
use crate::operator::finale::Finale;
use crate::operator::payload::{Changes, Payload};
use crate::operator::queue::Queue;
use crate::operator::saved::{Clock, StateKey};
use crate::operator::work::{Work, position_of};
use crate::operator::{Captured, Context, Operator, Sends, StateSize, StateTable};
use crate::record::{Batch, Schema};
use crate::state::{Groups, Pages};

/// What every shard builds its operator from.
#[derive(Clone)]
pub(super) struct Spec {
    pub format: RowFormat,
    /// Positions of the key columns in the input.
    pub keys: Vec<usize>,
    pub key: StateKey,
    pub limit: Limit,
    pub ranked: bool,
    pub sends: Sends,
    pub timed: bool,
    /// The columns of a row.
    pub input: Schema,
    pub output: Schema,
}

/// The tables of the state: the rows, and what the shard has one of.
const ROWS: usize = 0;
const CLOCK: usize = 1;

const CLOCK_TABLE: Clock<2> = Clock::new(["watermark_ms", "arrivals"]);

/// The running form.
pub(super) struct Running {
    spec: Spec,
    payload: Payload,
    groups: Groups,
    partitions: Pages<Partition>,
    /// By group the rows that are kept behind the first.
    rests: Pages<BTreeSet<Ranked>>,
    /// How many rows have come.
    arrivals: u64,
    kept: Kept,
    changes: Changes,
    /// The partitions whose ranks have to be told, and from where.
    changed: Vec<Changed>,
    /// Partitions that may have no rows left.
    emptied: Vec<u32>,
    /// The block that has not ended yet.
    number: u64,
    finale: Finale,
    table: RowTable,
    view: Option<View>,
    queue: Queue,
    /// What is worked off, and the order of each of its rows.
    work: Option<(Work, Rows)>,
}

struct Changed {
    group: u32,
    from: Position,
    at_ms: i64,
}

/// What one row does to the first rows of its partition.
struct Telling<'a> {
    group: u32,
    at_ms: i64,
    ranked: bool,
    /// Where the first change is.
    from: Option<Position>,
    kept: &'a mut Kept,
    changes: &'a mut Changes,
    view: Option<&'a mut View>,
}

impl Observer for Telling<'_> {
    fn enter(&mut self, row: &Ranked) {
        let position = Position::of(row);
        self.from = Some(self.from.map_or(position, |from| from.min(position)));
        if !self.ranked {
            self.changes.push(self.group, 0, 1, row.payload(), self.at_ms);
        }
    }

    fn leave(&mut self, row: &Ranked, sent: u32) {
        if let Some(view) = &mut self.view {
            view.keep((0, self.group), row, sent);
        }
        let position = Position::of(row);
        self.from = Some(self.from.map_or(position, |from| from.min(position)));
        if !self.ranked || sent > 0 {
            self.changes.push(self.group, sent, -1, row.payload(), self.at_ms);
        }
    }

    fn forget(&mut self, row: Ranked) {
        if let Some(view) = &mut self.view {
            view.keep((0, self.group), &row, 0);
        }
        self.kept.forget(row);
    }
}

impl Running {
    /// A shard's operator.
    pub fn new(spec: Spec) -> Self {
        let queue = Queue::new(&spec.output, spec.timed);
        let payload = Payload::new(&spec.input);
        Self {
            table: RowTable::new(&spec.key, &spec.format, &payload, false, spec.ranked),
            view: None,
            payload,
            groups: Groups::default(),
            partitions: Pages::default(),
            rests: Pages::default(),
            arrivals: 0,
            kept: Kept::default(),
            changes: Changes::default(),
            changed: Vec::new(),
            emptied: Vec::new(),
            number: 0,
            finale: Finale::new(spec.sends),
            queue,
            work: None,
            spec,
        }
    }

    /// Works off one segment; whether there was one.
    fn advance(&mut self) -> bool {
        let Some((mut work, orders)) = self.work.take() else { return false };
        let Some((segment, clock, rows)) = work.next() else { return false };
        if segment.number != self.number {
            self.flush();
            self.number = segment.number;
        }
        self.apply(&work, &orders, rows);
        if segment.end.is_some() || self.spec.sends == Sends::EachChange {
            self.flush();
        }
        if let Some(end) = segment.end {
            self.queue.advance(&clock);
            self.finale.end_block(segment.number, end, &mut self.queue, || self.groups.numbers());
        }
        self.work = Some((work, orders));
        true
    }

    /// The rows of a segment that may change anything, with their groups.
    fn candidates(&mut self, work: &Work, rows: Range<usize>, orders: &Rows) -> Vec<(u32, u32)> {
        let mut candidates = Vec::new();
        for row in rows {
            let (hash, key) = work.key(row);
            let group = self.groups.number(hash, key);
            if self.partitions.len() < self.groups.capacity() {
                self.partitions.resize(self.groups.capacity());
                if self.spec.limit.keeps_all {
                    self.rests.resize(self.groups.capacity());
                }
            }
            let partition = &self.partitions[group as usize];
            if self.spec.limit.keeps_all || partition.admits(orders.row(row).data(), &self.spec.limit) {
                candidates.push((position_of(row), group));
            }
        }
        candidates
    }

    fn apply(&mut self, work: &Work, orders: &Rows, rows: Range<usize>) {
        let candidates = self.candidates(work, rows, orders);
        if candidates.is_empty() {
            return;
        }
        self.keep_view(candidates.iter().map(|(_, group)| *group));
        let positions: Vec<u32> = candidates.iter().map(|(row, _)| *row).collect();
        let payloads = self.payload.encode(&work.batch, &positions);
        for (index, (row, group)) in candidates.into_iter().enumerate() {
            let row = row as usize;
            let at_ms = work.at_ms(row);
            let taken_back = work.batch.weights.as_ref().is_some_and(|weights| weights.value(row) < 0);
            let order = orders.row(row);
            self.change(order.data(), payloads.row(index), group, at_ms, taken_back);
        }
        self.release();
    }

    /// Inserts a row into its partition, or takes an equal one back.
    fn change(&mut self, order: &[u8], payload: &[u8], group: u32, at_ms: i64, taken_back: bool) {
        let Self { spec, partitions, rests, kept, changes, view, .. } = self;
        let limit = &spec.limit;
        let before = changes.len();
        let partition = &mut partitions[group as usize];
        let rest = limit.keeps_all.then(|| &mut rests[group as usize]);
        let (ranked, view) = (spec.ranked, view.as_mut());
        let mut telling = Telling { group, at_ms, ranked, from: None, kept, changes, view };
        if taken_back {
            let row = Ranked::new(order, payload, u64::MAX, limit.by_arrival);
            let rest = rest.expect("rows are taken back only of a changelog, all of which is kept");
            partition.remove(&row, limit, rest, &mut telling);
        } else {
            let row = Ranked::new(order, payload, self.arrivals, limit.by_arrival);
            self.arrivals += 1;
            telling.kept.add(&row);
            partition.insert(row, limit, rest, &mut telling);
        }
        if spec.sends == Sends::FinalRows {
            changes.truncate(before);
        } else if let Some(from) = telling.from {
            match (spec.ranked, spec.sends == Sends::EachChange) {
                (true, false) => self.note(group, from, at_ms),
                (true, true) => self.rank(group, from, at_ms),
                (false, _) => {}
            }
            if self.spec.sends == Sends::EachChange {
                self.changes.net(before);
            }
        }
        if self.partitions[group as usize].is_empty() {
            self.emptied.push(group);
        }
    }

    /// Remembers that ranks have changed.
    fn note(&mut self, group: u32, from: Position, at_ms: i64) {
        let changed = &mut self.partitions[group as usize].changed;
        if *changed == 0 {
            self.changed.push(Changed { group, from, at_ms });
            *changed = u32::try_from(self.changed.len()).expect("a block is far below 4 G rows");
            return;
        }
        let known = &mut self.changed[*changed as usize - 1];
        known.from = known.from.min(from);
        known.at_ms = known.at_ms.max(at_ms);
    }

    /// Tells the rows of a partition whose rank has changed.
    fn rank(&mut self, group: u32, from: Position, at_ms: i64) {
        let (changes, view) = (&mut self.changes, &mut self.view);
        self.partitions[group as usize].rank(&from, &self.spec.limit, |row, sent, rank| {
            if let Some(view) = view {
                view.keep((0, group), row, sent);
            }
            if sent > 0 {
                changes.push(group, sent, -1, row.payload(), at_ms);
            }
            changes.push(group, rank, 1, row.payload(), at_ms);
        });
    }

    /// Forgets the partitions that have no rows left; only when no row at hand has been given a group.
    fn release(&mut self) {
        self.emptied.sort_unstable();
        self.emptied.dedup();
        for group in std::mem::take(&mut self.emptied) {
            let partition = &self.partitions[group as usize];
            if partition.is_empty() && partition.changed == 0 {
                if let Some(view) = &mut self.view {
                    view.leave((0, group));
                }
                self.groups.remove(group);
            } else if partition.is_empty() {
                // Looked at again once its changes have been told.
                self.emptied.push(group);
            }
        }
    }

    /// Sends the next of the rows that are there in the end; whether there was anything to do.
    fn finish(&mut self) -> bool {
        let Some(groups) = self.finale.next(&mut self.queue) else { return false };
        let at_ms = self.queue.watermark_ms();
        self.keep_view(groups.iter().copied());
        for group in groups {
            self.rank(group, Position::FIRST, at_ms);
        }
        let Spec { output, ranked, timed, .. } = &self.spec;
        self.changes.send_settled(&self.payload, output, *ranked, *timed, &mut self.queue);
        true
    }

    /// Captures those of these partitions that a view has still to capture, before they change.
    fn keep_view(&mut self, groups: impl Iterator<Item = u32>) {
        let Some(view) = &mut self.view else { return };
        let groups: Vec<u32> = groups.collect();
        for group in self.groups.take_uncaptured(&groups) {
            let rows = (&self.partitions[group as usize], self.rests.get(group as usize));
            view.capture((0, group), self.groups.key(group), rows);
        }
    }

    fn load(&mut self, rows: &RecordBatch) {
        let saved = self.table.read(&self.payload, rows);
        let Self { spec, groups, partitions, rests, kept, .. } = self;
        for row in 0..rows.num_rows() {
            let (hash, key) = saved.key(row);
            let group = groups.number(hash, key);
            partitions.resize(groups.capacity());
            if spec.limit.keeps_all {
                rests.resize(groups.capacity());
            }
            let (row, sent) = saved.row(row, spec.limit.by_arrival);
            let rest = spec.limit.keeps_all.then(|| &mut rests[group as usize]);
            kept.add(&row);
            partitions[group as usize].insert_sent(row, sent, &spec.limit, rest, kept);
        }
    }

    /// Sends what the present block has changed so far.
    fn flush(&mut self) {
        if self.spec.sends != Sends::EachChange {
            for Changed { group, from, at_ms } in std::mem::take(&mut self.changed) {
                self.rank(group, from, at_ms);
                self.partitions[group as usize].changed = 0;
            }
            self.changes.net(0);
            self.release();
        }
        let Spec { output, ranked, timed, .. } = &self.spec;
        self.changes.send(&self.payload, output, *ranked, *timed, self.number, &mut self.queue);
    }
}

impl Operator for Running {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        let orders = self.spec.format.orders(&batch);
        self.work = Some((Work::new(batch, &self.spec.keys, &self.spec.key.codec), orders));
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        while self.queue.is_empty() && (self.finish() || self.advance()) {}
        self.queue.pull()
    }

    fn state(&self) -> StateSize {
        let partitions = self.partitions.bytes() + self.rests.bytes();
        let bytes = self.groups.bytes()
            + partitions
            + tree_bytes(self.groups.len(), self.kept.rows)
            + self.kept.bytes
            + self.view.as_ref().map_or(0, View::bytes);
        StateSize { entries: self.kept.rows, bytes: bytes + self.changes.bytes(), next_close_ms: None }
    }

    fn tables(&self) -> Vec<StateTable> {
        vec![self.table.table.clone(), CLOCK_TABLE.table()]
    }

    fn begin_view(&mut self) {
        let clock = [self.queue.watermark_ms(), self.arrivals.cast_signed()];
        self.view = Some(View::new(CLOCK_TABLE.row(clock), self.arrivals));
        self.groups.begin_view();
    }

    fn capture(&mut self, rows: usize) -> Option<Captured> {
        let Self { groups, partitions, rests, view, table, payload, .. } = self;
        let capturing = view.as_mut()?;
        if let Some(rows) = capturing.take_clock() {
            return Some(Captured { table: CLOCK, rows });
        }
        let find = |group: u32| (&partitions[group as usize], rests.get(group as usize));
        loop {
            while !capturing.has(rows) && groups.has_view() {
                for group in groups.scan(PARTITIONS_AT_ONCE) {
                    capturing.capture((0, group), groups.key(group), find(group));
                }
            }
            let taken = capturing.take(rows, |(_, group)| find(group));
            if !taken.is_empty() {
                return Some(Captured { table: ROWS, rows: table.write(payload, &taken) });
            }
            if !groups.has_view() {
                *view = None;
                return None;
            }
        }
    }

    fn end_view(&mut self) {
        self.groups.end_view();
        self.view = None;
    }

    fn restore(&mut self, table: usize, rows: &RecordBatch) {
        if table == ROWS {
            return self.load(rows);
        }
        let [watermark_ms, arrivals] = CLOCK_TABLE.read(rows);
        self.queue.advance_to(watermark_ms);
        self.arrivals = self.arrivals.max(arrivals.max(0).cast_unsigned());
    }
}
