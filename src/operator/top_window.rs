//! The keyed operator behind a `top` over windows: rows are kept by window, and the first of each partition come out
//! once the watermark has passed the window's end. What is sent is final.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, TimestampMillisecondArray, UInt32Array};
use arrow::datatypes::TimestampMillisecondType;

use super::keys::Keys;
use super::queue::Queue;
use super::top_format::RowFormat;
use super::top_partition::{Limit, Observer, Partition, Ranked};
use super::top_payload::{Payload, batch_of};
use super::{Context, Operator, SideRows, StateSize};
use crate::record::{Batch, BlockEnd, KeyCodec, Schema};
use crate::state::{Groups, Pages};
use crate::window::Tumbling;

/// Which windows a row belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Assign {
    /// That whose end is in the column at this position.
    Column(usize),
    /// Those that hold its event time.
    Time(Tumbling),
}

/// What every shard builds its operator from.
#[derive(Clone)]
pub(super) struct Spec {
    pub format: RowFormat,
    /// Positions of the key columns in the input.
    pub keys: Vec<usize>,
    pub codec: KeyCodec,
    pub limit: Limit,
    pub ranked: bool,
    pub assign: Assign,
    /// The side stream that late rows go to.
    pub late: Option<Arc<str>>,
    /// The columns of a row.
    pub input: Schema,
    pub output: Schema,
}

/// The running form.
pub(super) struct Windowed {
    spec: Spec,
    payload: Payload,
    /// Open windows by their end and start.
    windows: BTreeMap<(i64, i64), Window>,
    arrivals: u64,
    kept: Kept,
    queue: Queue,
    work: Option<Work>,
    firing: Option<Firing>,
}

struct Work {
    batch: Batch,
    keys: Keys,
    segment: usize,
    row: usize,
}

/// The partitions of a window.
#[derive(Default)]
struct Window {
    groups: Groups,
    partitions: Pages<Partition>,
    /// By group the rows that are kept behind the first.
    rests: Pages<BTreeSet<Ranked>>,
}

/// Windows that have fired at the end of a block, and how far they have been sent out.
struct Firing {
    number: u64,
    end: BlockEnd,
    /// By end and start, the first one last.
    due: Vec<((i64, i64), Window)>,
    partition: usize,
    /// How many rows of the partition have been sent, and the order and rank of the last.
    sent: u32,
    last: Option<(Vec<u8>, u32)>,
}

/// A row that may be one of the first of its partition in a window.
struct Candidate {
    row: usize,
    /// Its place among the rows of the batch that are candidates.
    index: usize,
    window: (i64, i64),
    group: u32,
}

#[derive(Default)]
struct Kept {
    rows: usize,
    bytes: usize,
}

impl Observer for Kept {
    fn enter(&mut self, _: &Ranked) {}

    fn leave(&mut self, _: &Ranked, _: u32) {}

    fn forget(&mut self, row: Ranked) {
        self.rows -= 1;
        self.bytes -= row.heap_bytes();
    }
}

impl Assign {
    /// The windows of a row, as (end, start), in ascending order.
    fn windows(self, batch: &Batch, row: usize, windows: &mut Vec<(i64, i64)>) {
        windows.clear();
        match self {
            Self::Column(column) => {
                let ends = batch.rows.column(column).as_primitive::<TimestampMillisecondType>();
                if ends.is_valid(row) {
                    windows.push((ends.value(row), i64::MIN));
                }
            }
            Self::Time(tumbling) => {
                let times = batch.times.as_ref().expect("a window was resolved with event time");
                let start_ms = tumbling.start_ms(times.at_ms.value(row));
                windows.extend(start_ms.map(|start_ms| (tumbling.end_ms(start_ms), start_ms)));
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
        Self {
            payload: Payload::new(&spec.input),
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
        let Some(mut work) = self.work.take() else { return false };
        let Some(segment) = work.batch.segments.get(work.segment).copied() else { return false };
        let clock = work.batch.clocks[work.segment];
        let rows = work.row..work.row + segment.rows as usize;
        self.apply(&work, rows.clone(), context);
        if let Some(end) = segment.end {
            self.queue.advance(&clock);
            self.firing = Some(Firing {
                number: segment.number,
                end,
                due: self.take_due(),
                partition: 0,
                sent: 0,
                last: None,
            });
        }
        work.segment += 1;
        work.row = rows.end;
        self.work = Some(work);
        true
    }

    fn apply(&mut self, work: &Work, rows: Range<usize>, context: &mut Context) {
        if rows.is_empty() {
            return;
        }
        let orders = self.spec.format.orders(&work.batch, rows.clone());
        let candidates = self.candidates(work, rows.clone(), &orders, context);
        let mut positions: Vec<u32> = Vec::with_capacity(candidates.len());
        for candidate in &candidates {
            if candidate.index == positions.len() {
                positions.push(position_of(candidate.row));
            }
        }
        let payloads = self.payload.encode(&work.batch, &positions);
        for Candidate { row, index, window, group } in candidates {
            let taken_back = work.batch.weights.as_ref().is_some_and(|weights| weights.value(row) < 0);
            let arrival = if taken_back { u64::MAX } else { self.arrivals };
            let order = orders.row(row - rows.start);
            let limit = &self.spec.limit;
            let ranked = Ranked::new(order.data(), payloads.row(index), arrival, limit.by_arrival);
            let window = self.windows.get_mut(&window).expect("opened for the candidate");
            let partition = &mut window.partitions[group as usize];
            let rest = limit.keeps_all.then(|| &mut window.rests[group as usize]);
            if taken_back {
                let rest = rest.expect("rows are taken back only of a changelog, all of which is kept");
                partition.remove(&ranked, limit, rest, &mut self.kept);
                continue;
            }
            self.arrivals += 1;
            self.kept.rows += 1;
            self.kept.bytes += ranked.heap_bytes();
            partition.insert(ranked, limit, rest, &mut self.kept);
        }
    }

    /// Sorts the rows of a segment into windows and partitions, without those that cannot be among the first. Late rows
    /// are counted, and sent to the side stream.
    fn candidates(
        &mut self,
        work: &Work,
        rows: Range<usize>,
        orders: &arrow::row::Rows,
        context: &mut Context,
    ) -> Vec<Candidate> {
        let batch = &work.batch;
        let clock = &batch.clocks[work.segment];
        let hashes = batch.hashes.as_ref().expect("an exchange has hashed the keys");
        let seen_ms = batch.times.as_ref().and_then(|times| times.seen_ms.as_ref());
        let (mut candidates, mut late, mut windows) =
            (Vec::with_capacity(rows.len()), Vec::new(), Vec::new());
        let mut index = 0;
        for (position, row) in rows.enumerate() {
            let watermark_ms = clock.watermark_ms(seen_ms.map_or(i64::MIN, |seen| seen.value(row)));
            self.spec.assign.windows(batch, row, &mut windows);
            windows.retain(|(end_ms, _)| !has_fired(*end_ms, watermark_ms));
            if windows.is_empty() {
                late.push(position_of(row));
                continue;
            }
            let before = candidates.len();
            for key in &windows {
                let window = self.windows.entry(*key).or_default();
                let group = window.group(hashes.value(row), work.keys.key(row), &self.spec.limit);
                let order = orders.row(position);
                if self.spec.limit.keeps_all
                    || window.partitions[group as usize].admits(order.data(), &self.spec.limit)
                {
                    candidates.push(Candidate { row, index, window: *key, group });
                }
            }
            index += usize::from(candidates.len() > before);
        }
        self.tell_late(batch, late, context);
        candidates
    }

    fn tell_late(&self, batch: &Batch, late: Vec<u32>, context: &mut Context) {
        if late.is_empty() {
            return;
        }
        context.late += late.len() as u64;
        if let Some(stream) = &self.spec.late {
            let count = late.len();
            let positions = UInt32Array::from(late);
            let columns = &batch.rows.columns()[..self.spec.input.columns().len()];
            let take = |column| arrow::compute::take(column, &positions, None);
            let columns = columns.iter().map(|column| take(column).expect("the rows are of the batch"));
            let rows = batch_of(&self.spec.input, columns.collect(), count);
            context.side.push(SideRows { stream: stream.clone(), rows });
        }
    }

    /// Removes the windows that the watermark has passed, the first one last.
    fn take_due(&mut self) -> Vec<((i64, i64), Window)> {
        let mut due = Vec::new();
        while let Some(entry) = self.windows.first_entry() {
            if !has_fired(entry.key().0, self.queue.watermark_ms()) {
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
        let Some((times, window)) = firing.due.last_mut() else {
            self.queue.end(firing.number, &firing.end);
            self.firing = None;
            return;
        };
        let ((end_ms, start_ms), number) = (*times, firing.number);
        let (mut rows, mut ranks): (Vec<Ranked>, Vec<i64>) = (Vec::new(), Vec::new());
        while rows.len() < Batch::ROWS_MAX && firing.partition < window.partitions.len() {
            let Some(row) = window.partitions[firing.partition].pop_first() else {
                if let Some(rest) = self.spec.limit.keeps_all.then(|| &mut window.rests[firing.partition]) {
                    std::mem::take(rest).into_iter().for_each(|row| self.kept.forget(row));
                }
                (firing.partition, firing.sent, firing.last) = (firing.partition + 1, 0, None);
                continue;
            };
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
        self.send(number, end_ms, start_ms, rows, ranks);
    }

    fn send(&mut self, number: u64, end_ms: i64, start_ms: i64, rows: Vec<Ranked>, ranks: Vec<i64>) {
        let count = rows.len();
        if count == 0 {
            return;
        }
        let mut columns = self.payload.decode(rows.iter().map(Ranked::payload));
        if let Assign::Time(_) = self.spec.assign {
            for time_ms in [start_ms, end_ms] {
                let data_type = self.spec.output.arrow().field(columns.len()).data_type().clone();
                let times = TimestampMillisecondArray::from(vec![time_ms; count]).with_data_type(data_type);
                columns.push(Arc::new(times) as ArrayRef);
            }
        }
        if self.spec.ranked {
            columns.push(Arc::new(Int64Array::from(ranks)));
        }
        let batch = batch_of(&self.spec.output, columns, count);
        self.queue.rows(number, &batch, None, Some(&vec![end_ms.saturating_sub(1); count]));
        rows.into_iter().for_each(|row| self.kept.forget(row));
    }
}

fn position_of(row: usize) -> u32 {
    u32::try_from(row).expect("a batch is far below 4 G rows")
}

impl Window {
    /// The number of a partition.
    fn group(&mut self, hash: u64, key: &[u8], limit: &Limit) -> u32 {
        let group = self.groups.number(hash, key);
        if self.partitions.len() < self.groups.capacity() {
            self.partitions.resize(self.groups.capacity());
            if limit.keeps_all {
                self.rests.resize(self.groups.capacity());
            }
        }
        group
    }

    fn bytes(&self) -> usize {
        self.groups.bytes() + self.partitions.bytes() + self.rests.bytes()
    }
}

impl Operator for Windowed {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        let keys = Keys::of(&batch, &self.spec.keys, &self.spec.codec);
        self.work = Some(Work { batch, keys, segment: 0, row: 0 });
    }

    fn pull(&mut self, context: &mut Context) -> Option<Batch> {
        while self.queue.is_empty() && self.advance(context) {}
        self.queue.pull()
    }

    fn state(&self) -> StateSize {
        let windows: usize = self.windows.values().map(Window::bytes).sum();
        let entry = size_of::<(Ranked, u32)>() * 4 / 3;
        StateSize {
            entries: self.kept.rows,
            bytes: windows + self.kept.rows * entry + self.kept.bytes,
            next_close_ms: self.windows.first_key_value().map(|((end_ms, _), _)| *end_ms),
        }
    }
}
