//! The keyed operator behind a `top` over windows: rows are kept by window, and the first of each partition come out
//! once the watermark has passed the window's end. What is sent is final, and so is what comes: no row is taken back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::datatypes::TimestampMillisecondType;
use arrow::row::Rows;

use super::format::RowFormat;
use super::partition::{Kept, Limit, Observer, Partition, Ranked, tree_bytes};
use super::table::RowTable;
use super::view::{PARTITIONS_AT_ONCE, Place, View};
use crate::operator::late::Lateness;
use crate::operator::payload::Payload;
use crate::operator::queue::Queue;
use crate::operator::saved::{Clock, StateKey};
use crate::operator::work::{Work, position_of};
use crate::operator::{Captured, Context, Operator, StateSize, StateTable};
use crate::record::{Batch, BlockEnd, Schema};
use crate::state::{Groups, Pages, is_same_key};
use crate::time::SegmentClock;
use crate::window::Windows;

/// Which windows a row belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Assign {
    /// That whose end is in the column at this position.
    Column(usize),
    /// Those that hold its event time.
    Time(Windows),
}

/// What every shard builds its operator from.
#[derive(Clone)]
pub(super) struct Spec {
    pub format: RowFormat,
    /// Positions of the key columns in the input.
    pub keys: Vec<usize>,
    pub key: StateKey,
    pub limit: Limit,
    pub ranked: bool,
    pub assign: Assign,
    /// What happens to late rows.
    pub late: Lateness,
    /// The columns of a row.
    pub input: Schema,
    pub output: Schema,
}

/// The tables of the state: the rows, and what the shard has one of.
const ROWS: usize = 0;
const CLOCK: usize = 1;

const CLOCK_TABLE: Clock<2> = Clock::new(["watermark_ms", "arrivals"]);

/// The running form.
pub(super) struct Windowed {
    spec: Spec,
    payload: Payload,
    /// Open windows by their end.
    windows: BTreeMap<i64, Window>,
    arrivals: u64,
    kept: Kept,
    table: RowTable,
    view: Option<View>,
    queue: Queue,
    /// What is worked off, and the order of each of its rows.
    work: Option<(Work, Rows)>,
    firing: Option<Firing>,
}

/// The partitions of a window.
#[derive(Default)]
struct Window {
    groups: Groups,
    partitions: Pages<Partition>,
}

/// Windows that have fired at the end of a block, and how far they have been sent out.
struct Firing {
    number: u64,
    end: BlockEnd,
    /// By their end, the first one last.
    due: Vec<(i64, Window)>,
    partition: usize,
    /// How many rows of the partition have been sent, and the order and rank of the last.
    sent: u32,
    last: Option<(Vec<u8>, u32)>,
}

/// The windows that a row belongs to and that have not fired.
#[derive(Default)]
struct Open {
    /// Their ends, ascending.
    ends_ms: Vec<i64>,
    /// The times of rows, and the watermark, for which they are the same: mostly also those of the next row.
    of: Option<(Range<i64>, i64)>,
}

/// Where the row before belonged, and the first bytes of the order behind which no row of that partition is taken.
struct Before<'a> {
    window: i64,
    hash: u64,
    key: &'a [u8],
    bound: Option<u64>,
}

impl Before<'_> {
    /// Whether a row of this place and order is certainly not among the first.
    fn rejects(&self, window: i64, hash: u64, key: &[u8], order: &[u8]) -> bool {
        let is_same = (self.window, self.hash) == (window, hash) && is_same_key(self.key, key);
        is_same && self.bound.zip(head(order)).is_some_and(|(bound, head)| head > bound)
    }
}

/// The first bytes of an order, which compare as it does where they differ; none of one that is shorter.
fn head(order: &[u8]) -> Option<u64> {
    order.first_chunk().map(|first| u64::from_be_bytes(*first))
}

/// A row that may be one of the first of its partition in a window.
struct Candidate {
    row: usize,
    /// Its place among the rows of the batch that are candidates.
    index: usize,
    /// The end of the window.
    window: i64,
    group: u32,
}

/// Tells a view which rows of a partition go.
struct Telling<'a> {
    place: Place,
    kept: &'a mut Kept,
    view: Option<&'a mut View>,
}

impl Observer for Telling<'_> {
    fn enter(&mut self, _: &Ranked) {}

    fn leave(&mut self, _: &Ranked, _: u32) {}

    fn forget(&mut self, row: Ranked) {
        if let Some(view) = &mut self.view {
            view.keep(self.place, &row, 0);
        }
        self.kept.forget(row);
    }
}

impl Open {
    /// Finds the windows of a row that meets this watermark.
    fn find(&mut self, assign: &Assign, work: &Work, row: usize, watermark_ms: i64) {
        match assign {
            Assign::Column(column) => {
                let column = work.batch.rows.column(*column).as_primitive::<TimestampMillisecondType>();
                let end_ms = column.is_valid(row).then(|| column.value(row));
                self.ends_ms.clear();
                self.ends_ms.extend(end_ms.filter(|end_ms| !has_fired(*end_ms, watermark_ms)));
            }
            Assign::Time(windows) => {
                let at_ms = work.at_ms(row);
                if self
                    .of
                    .as_ref()
                    .is_some_and(|(span, watermark)| span.contains(&at_ms) && *watermark == watermark_ms)
                {
                    return;
                }
                self.of = None;
                self.ends_ms.clear();
                let Some(slice) = windows.slice_of(at_ms) else { return };
                let (start_ms, end_ms) = windows.slice_span_ms(slice);
                self.of = Some((start_ms..end_ms, watermark_ms));
                // A window has fired where its end is not above this.
                let fired_ms = watermark_ms.saturating_add(1);
                let next = |end_ms: &i64| windows.next_end_ms(slice, *end_ms);
                self.ends_ms.extend(std::iter::successors(windows.next_end_ms(slice, fired_ms), next));
            }
        }
    }
}

/// Whether the window that ends at `end_ms` has fired at this watermark.
fn has_fired(end_ms: i64, watermark_ms: i64) -> bool {
    end_ms.saturating_sub(1) <= watermark_ms
}

impl Windowed {
    /// A shard's operator.
    pub fn new(spec: Spec) -> Self {
        let payload = Payload::new(&spec.input);
        Self {
            table: RowTable::new(&spec.key, &spec.format, &payload, true, false),
            view: None,
            payload,
            windows: BTreeMap::new(),
            arrivals: 0,
            kept: Kept::default(),
            queue: Queue::new(&spec.output, true),
            work: None,
            firing: None,
            spec,
        }
    }

    /// Works off one segment, or sends out some rows of windows that have fired; whether there was anything to do.
    fn advance(&mut self, context: &mut Context) -> bool {
        if self.firing.is_some() {
            self.fire();
            return true;
        }
        let Some((mut work, orders)) = self.work.take() else { return false };
        let Some((segment, clock, rows)) = work.next() else { return false };
        self.apply(&work, &orders, &clock, rows, context);
        if let Some(end) = segment.end {
            self.queue.advance(&clock);
            let (number, due) = (segment.number, self.take_due());
            self.firing = Some(Firing { number, end, due, partition: 0, sent: 0, last: None });
        }
        self.work = Some((work, orders));
        true
    }

    fn apply(
        &mut self,
        work: &Work,
        orders: &Rows,
        clock: &SegmentClock,
        rows: Range<usize>,
        context: &mut Context,
    ) {
        let mut late = Vec::new();
        let candidates = self.candidates(work, clock, rows, orders, &mut late);
        self.spec.late.tell(&work.batch, late, context);
        if candidates.is_empty() {
            return;
        }
        if let Some(view) = &mut self.view {
            for Candidate { window: end_ms, group, .. } in &candidates {
                let window = self.windows.get_mut(end_ms).expect("opened for the candidate");
                window.keep_view(*end_ms, *group, view);
            }
        }
        let mut positions: Vec<u32> = Vec::with_capacity(candidates.len());
        for candidate in &candidates {
            if candidate.index == positions.len() {
                positions.push(position_of(candidate.row));
            }
        }
        let payloads = self.payload.encode(&work.batch, &positions);
        for Candidate { row, index, window: end_ms, group } in candidates {
            let order = orders.row(row);
            let Self { spec, windows, arrivals, kept, view, .. } = self;
            let ranked = Ranked::new(order.data(), payloads.row(index), *arrivals, spec.limit.by_arrival);
            let window = windows.get_mut(&end_ms).expect("opened for the candidate");
            let partition = &mut window.partitions[group as usize];
            *arrivals += 1;
            kept.add(&ranked);
            let mut telling = Telling { place: (end_ms, group), kept, view: view.as_mut() };
            partition.insert(ranked, &spec.limit, None, &mut telling);
        }
    }

    /// Sorts the rows of a segment into windows and partitions, without those that cannot be among the first and
    /// without the late ones.
    fn candidates(
        &mut self,
        work: &Work,
        clock: &SegmentClock,
        rows: Range<usize>,
        orders: &Rows,
        late: &mut Vec<u32>,
    ) -> Vec<Candidate> {
        let limit = &self.spec.limit;
        let (mut candidates, mut open, mut index) = (Vec::new(), Open::default(), 0);
        // Mostly there are few partitions, or one.
        let mut before: Option<Before> = None;
        for row in rows {
            open.find(&self.spec.assign, work, row, work.watermark_ms(row, clock));
            if open.ends_ms.is_empty() {
                late.push(position_of(row));
                continue;
            }
            let (hash, key) = work.key(row);
            let order = orders.row(row);
            let found = candidates.len();
            for end_ms in &open.ends_ms {
                if before.as_ref().is_some_and(|before| before.rejects(*end_ms, hash, key, order.data())) {
                    continue;
                }
                let window = self.windows.entry(*end_ms).or_default();
                let group = window.group(hash, key);
                let partition = &window.partitions[group as usize];
                before =
                    Some(Before { window: *end_ms, hash, key, bound: partition.last(limit).and_then(head) });
                if partition.admits(order.data(), limit) {
                    candidates.push(Candidate { row, index, window: *end_ms, group });
                }
            }
            index += usize::from(candidates.len() > found);
        }
        candidates
    }

    /// Removes the windows that the watermark has passed, the first one last.
    fn take_due(&mut self) -> Vec<(i64, Window)> {
        let mut due = Vec::new();
        while let Some(entry) = self.windows.first_entry() {
            if !has_fired(*entry.key(), self.queue.watermark_ms()) {
                break;
            }
            due.push(entry.remove_entry());
        }
        due.reverse();
        due
    }

    /// Sends the next rows of the windows that have fired; once all are out, the end of the block.
    fn fire(&mut self) {
        let Some(firing) = &mut self.firing else { return };
        let Some((end_ms, window)) = firing.due.last_mut() else {
            self.queue.end(firing.number, &firing.end);
            self.firing = None;
            return;
        };
        let (end_ms, number) = (*end_ms, firing.number);
        let (mut rows, mut ranks): (Vec<Ranked>, Vec<i64>) = (Vec::new(), Vec::new());
        while rows.len() < Batch::ROWS_MAX && firing.partition < window.partitions.len() {
            let place = (end_ms, position_of(firing.partition));
            if let Some(view) = self.view.as_mut().filter(|_| firing.sent == 0) {
                window.keep_view(end_ms, place.1, view);
            }
            let Some(row) = window.partitions[firing.partition].pop_first() else {
                if let Some(view) = &mut self.view {
                    view.leave(place);
                }
                (firing.partition, firing.sent, firing.last) = (firing.partition + 1, 0, None);
                continue;
            };
            if let Some(view) = &mut self.view {
                view.keep(place, &row, 0);
            }
            firing.sent += 1;
            let rank = match &firing.last {
                Some((order, rank)) if self.spec.limit.ties && *order == row.order() => *rank,
                _ => firing.sent,
            };
            if self.spec.limit.ties {
                firing.last = Some((row.order().to_vec(), rank));
            }
            ranks.push(i64::from(rank));
            rows.push(row);
        }
        if firing.partition == window.partitions.len() {
            firing.due.pop();
            firing.partition = 0;
        }
        self.send(number, end_ms, rows, ranks);
    }

    fn load(&mut self, rows: &RecordBatch) {
        let saved = self.table.read(&self.payload, rows);
        for row in 0..rows.num_rows() {
            let (hash, key) = saved.key(row);
            let window = self.windows.entry(saved.window_ms(row)).or_default();
            let group = window.group(hash, key);
            let (row, _) = saved.row(row, self.spec.limit.by_arrival);
            self.kept.add(&row);
            window.partitions[group as usize].insert(row, &self.spec.limit, None, &mut self.kept);
        }
    }

    fn send(&mut self, number: u64, end_ms: i64, rows: Vec<Ranked>, ranks: Vec<i64>) {
        let count = rows.len();
        if count == 0 {
            return;
        }
        let mut columns = self.payload.decode(rows.iter().map(Ranked::payload));
        if let Assign::Time(windows) = self.spec.assign {
            for time_ms in [windows.start_ms(end_ms), end_ms] {
                let data_type = self.spec.output.arrow().field(columns.len()).data_type().clone();
                let times = TimestampMillisecondArray::from(vec![time_ms; count]).with_data_type(data_type);
                columns.push(Arc::new(times) as ArrayRef);
            }
        }
        if self.spec.ranked {
            columns.push(Arc::new(Int64Array::from(ranks)));
        }
        let batch = self.spec.output.rows(columns, count);
        self.queue.rows(number, &batch, None, Some(&vec![end_ms.saturating_sub(1); count]));
        for row in rows {
            self.kept.forget(row);
        }
    }
}

impl Window {
    /// The number of a partition.
    fn group(&mut self, hash: u64, key: &[u8]) -> u32 {
        let group = self.groups.number(hash, key);
        if self.partitions.len() < self.groups.capacity() {
            self.partitions.resize(self.groups.capacity());
        }
        group
    }

    /// Captures a partition if a view has still to, before it changes.
    fn keep_view(&mut self, end_ms: i64, group: u32, view: &mut View) {
        for group in self.groups.take_uncaptured(&[group]) {
            self.capture(end_ms, group, view);
        }
    }

    /// Captures the next partitions; whether there were any of a view.
    fn scan(&mut self, end_ms: i64, view: &mut View) -> bool {
        let groups = self.groups.scan(PARTITIONS_AT_ONCE);
        for group in &groups {
            self.capture(end_ms, *group, view);
        }
        !groups.is_empty()
    }

    fn capture(&self, end_ms: i64, group: u32, view: &mut View) {
        view.capture((end_ms, group), self.groups.key(group), (&self.partitions[group as usize], None));
    }

    fn bytes(&self) -> usize {
        self.groups.bytes() + self.partitions.bytes()
    }
}

impl Operator for Windowed {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        let orders = self.spec.format.orders(&batch);
        self.work = Some((Work::new(batch, &self.spec.keys, &self.spec.key.codec), orders));
    }

    fn pull(&mut self, context: &mut Context) -> Option<Batch> {
        while self.queue.is_empty() && self.advance(context) {}
        self.queue.pull()
    }

    fn state(&self) -> StateSize {
        let windows: usize = self.windows.values().map(Window::bytes).sum();
        let partitions: usize = self.windows.values().map(|window| window.groups.len()).sum();
        let view = self.view.as_ref().map_or(0, View::bytes);
        StateSize {
            entries: self.kept.rows,
            bytes: windows + tree_bytes(partitions, self.kept.rows) + self.kept.bytes + view,
            next_close_ms: self.windows.first_key_value().map(|(end_ms, _)| *end_ms),
        }
    }

    fn tables(&self) -> Vec<StateTable> {
        vec![self.table.table.clone(), CLOCK_TABLE.table()]
    }

    fn begin_view(&mut self) {
        let clock = [self.queue.watermark_ms(), self.arrivals.cast_signed()];
        self.view = Some(View::new(CLOCK_TABLE.row(clock), self.arrivals));
        self.windows.values_mut().for_each(|window| window.groups.begin_view());
    }

    fn capture(&mut self, rows: usize) -> Option<Captured> {
        let Self { windows, firing, view, table, payload, .. } = self;
        let capturing = view.as_mut()?;
        if let Some(rows) = capturing.take_clock() {
            return Some(Captured { table: CLOCK, rows });
        }
        loop {
            // A window that is on its way out is captured as the others are: what of it has been sent was saved before.
            let due = firing
                .iter_mut()
                .flat_map(|firing| &mut firing.due)
                .map(|(end_ms, window)| (&*end_ms, window));
            let mut uncaptured =
                windows.iter_mut().chain(due).filter(|(_, window)| window.groups.has_view()).peekable();
            let mut is_last = true;
            while let Some((end_ms, window)) = uncaptured.peek_mut() {
                is_last = false;
                if capturing.has(rows) {
                    break;
                }
                if !window.scan(**end_ms, capturing) {
                    uncaptured.next();
                }
            }
            let partition = |(end_ms, group): Place| {
                let due = || {
                    firing
                        .as_ref()?
                        .due
                        .iter()
                        .find(|(due_ms, _)| *due_ms == end_ms)
                        .map(|(_, window)| window)
                };
                let window =
                    windows.get(&end_ms).or_else(due).expect("a window is there while rows of it are");
                (&window.partitions[group as usize], None)
            };
            let taken = capturing.take(rows, partition);
            if !taken.is_empty() {
                return Some(Captured { table: ROWS, rows: table.write(payload, &taken) });
            }
            if is_last {
                *view = None;
                return None;
            }
        }
    }

    fn end_view(&mut self) {
        self.windows.values_mut().for_each(|window| window.groups.end_view());
        if let Some(firing) = &mut self.firing {
            firing.due.iter_mut().for_each(|(_, window)| window.groups.end_view());
        }
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
