//! A step on some shards in one thread.

use std::collections::VecDeque;
use std::sync::Arc;

use super::OUT_OF_ORDER_MS;
use crate::exchange::{Inbox, Outbox, Partition, Taken, Watermarks, mesh};
use crate::io::Bell;
use crate::operator::{Build, Network, Part, Resolved, SideRows};
use crate::record::{Batch, Segment};

/// Runs the step over these blocks on `shards` shards, in batches of at most `rows_per_batch` rows.
///
/// # Panics
///
/// If the mesh comes to a standstill, or an operator breaks a rule that all of them keep.
#[must_use]
pub fn run(resolved: &Resolved, shards: usize, rows_per_batch: usize, blocks: &[Batch]) -> Output {
    let mut machine = Machine::new(resolved, shards, 0, watermarks());
    machine.feed(blocks, rows_per_batch, &mut |_, _| {});
    machine.finish(&blocks[0], &mut |_, _| {})
}

/// What a step has made of its input.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// The rows, in batches as they came out.
    pub batches: Vec<Batch>,
    /// The rows of side streams.
    pub side: Vec<SideRows>,
    /// Why rows were rejected.
    pub rejected: Vec<String>,
    /// How many rows were late.
    pub late: u64,
}

/// The watermarks of the harness's source before its first block.
pub(super) fn watermarks() -> Watermarks {
    Watermarks::new(1, OUT_OF_ORDER_MS)
}

/// Called after each step of a shard's keyed stage, with the shard.
pub(super) type Between<'a> = &'a mut dyn FnMut(usize, &mut Network);

/// The step's operators on every shard, and the exchange between them where it has one.
pub(super) struct Machine {
    sources: Vec<Network>,
    outboxes: Vec<Option<Outbox>>,
    keyed: Vec<Option<(Inbox, Network)>>,
    /// What has come out so far.
    pub output: Output,
}

impl Machine {
    /// A machine whose first block is number `first`, which the blocks before have left at these watermarks.
    pub fn new(resolved: &Resolved, shards: usize, first: u64, watermarks: Watermarks) -> Self {
        let position = resolved.parts.iter().position(|part| matches!(part, Part::Exchange { .. }));
        let before = &resolved.parts[..position.unwrap_or(resolved.parts.len())];
        let sources = (0..shards).map(|_| Network::chain(operators(before))).collect();
        let mut outboxes: Vec<Option<Outbox>> = (0..shards).map(|_| None).collect();
        let mut keyed: Vec<Option<(Inbox, Network)>> = (0..shards).map(|_| None).collect();
        if let Some(position) = position
            && let Part::Exchange { columns, codec } = &resolved.parts[position]
        {
            let bells: Vec<Arc<Bell>> = (0..shards).map(|_| Arc::default()).collect();
            let (sending, receiving) = mesh(1, &bells, &bells);
            for (slot, lanes) in outboxes.iter_mut().zip(sending) {
                *slot = Some(Outbox::new(lanes, Partition::new(codec.clone(), columns.clone())));
            }
            let mut lanes_first = vec![0; shards];
            for number in first..first + shards as u64 {
                lanes_first[shard_of(number, shards)] = number;
            }
            for (slot, lanes) in keyed.iter_mut().zip(receiving) {
                let inbox = Inbox::new(vec![lanes], vec![lanes_first.clone()], watermarks.clone());
                *slot = Some((inbox, Network::chain(operators(&resolved.parts[position + 1..]))));
            }
        }
        Self { sources, outboxes, keyed, output: Output::default() }
    }

    /// The keyed stages, `[shard]`; none where the step has no exchange.
    pub fn stages(&mut self) -> impl Iterator<Item = &mut Network> {
        self.keyed.iter_mut().flatten().map(|(_, chain)| chain)
    }

    /// Works the next blocks off until nothing moves. Block k is read by shard k mod n, as files are.
    pub fn feed(&mut self, blocks: &[Batch], rows_per_batch: usize, between: Between) {
        let shards = self.sources.len();
        let mut inputs: Vec<VecDeque<Batch>> = (0..shards).map(|_| VecDeque::new()).collect();
        for block in blocks {
            let mut block = block.clone();
            let number = block.segments[0].number;
            // The lane sends nothing below the shard's next block.
            if let Some(end) = &mut block.segments[0].end {
                end.through = number + shards as u64 - 1;
            }
            inputs[shard_of(number, shards)].extend(in_batches(&block, rows_per_batch));
        }
        self.work_off(&mut inputs, between);
    }

    /// Ends the input, and yields all output. `like` is any batch of the input's columns.
    pub fn finish(mut self, like: &Batch, between: Between) -> Output {
        let last = like.slice(0, 0, vec![Segment::last()]);
        let mut inputs: Vec<VecDeque<Batch>> = self.sources.iter().map(|_| [last.clone()].into()).collect();
        self.work_off(&mut inputs, between);
        self.output
    }

    fn work_off(&mut self, inputs: &mut [VecDeque<Batch>], between: Between) {
        let mut idle_rounds = 0;
        while idle_rounds < 3 {
            let mut moved = false;
            for (shard, input) in inputs.iter_mut().enumerate() {
                moved |= self.step_keyed(shard);
                if let Some((_, chain)) = &mut self.keyed[shard] {
                    between(shard, chain);
                }
                moved |= self.step_source(shard, input);
            }
            idle_rounds = if moved { 0 } else { idle_rounds + 1 };
        }
        assert!(inputs.iter().all(VecDeque::is_empty), "the mesh has come to a standstill with input left");
        let keyed = self.keyed.iter_mut().flatten().map(|(_, chain)| chain);
        for chain in self.sources.iter_mut().chain(keyed) {
            self.output.rejected.extend(chain.context.rejected.drain(..).map(|bad| bad.message));
            self.output.side.append(&mut chain.context.side);
            self.output.late += std::mem::take(&mut chain.context.late);
        }
    }

    fn step_source(&mut self, shard: usize, input: &mut VecDeque<Batch>) -> bool {
        let mut outbox = self.outboxes[shard].as_mut();
        let offered = outbox.as_mut().is_some_and(|outbox| outbox.offer());
        if let Some(outbox) = outbox.as_mut().filter(|outbox| !outbox.is_clear()) {
            return offered || outbox.settle();
        }
        let chain = &mut self.sources[shard];
        let made = chain.pull().or_else(|| {
            chain.push(0, input.pop_front()?);
            chain.pull()
        });
        match (made, outbox) {
            (Some((_, batch)), Some(outbox)) => outbox.send(batch),
            (Some((_, batch)), None) => self.output.collect(batch),
            (None, Some(outbox)) if input.is_empty() => return offered || outbox.settle(),
            (None, _) => return offered || !input.is_empty(),
        }
        true
    }

    fn step_keyed(&mut self, shard: usize) -> bool {
        let Some((inbox, chain)) = &mut self.keyed[shard] else { return false };
        let made = chain.pull().or_else(|| match inbox.take() {
            Taken::Batch(port, batch) => {
                chain.push(port, batch);
                chain.pull()
            }
            Taken::Interleaved(_) => unreachable!("there is one port"),
            Taken::Barrier(_) | Taken::Empty | Taken::Finished => None,
        });
        let Some((_, batch)) = made else { return false };
        self.output.collect(batch);
        true
    }
}

/// The shard that reads a block.
fn shard_of(number: u64, shards: usize) -> usize {
    usize::try_from(number % shards as u64).expect("there are few shards")
}

/// A block in batches of at most so many rows; the last of them ends it.
fn in_batches(block: &Batch, rows_per_batch: usize) -> Vec<Batch> {
    let (segment, rows) = (block.segments[0], block.len());
    let starts = (0..rows.max(1)).step_by(rows_per_batch.min(rows.max(1)));
    let batches = starts.map(|from| {
        let count = rows_per_batch.min(rows - from);
        let end = segment.end.filter(|_| from + count == rows);
        let rows = u32::try_from(count).expect("a block of the harness is small");
        block.slice(from, count, vec![Segment { rows, end, ..segment }])
    });
    batches.collect()
}

fn operators(parts: &[Part]) -> impl Iterator<Item = &Build> {
    parts.iter().map(|part| match part {
        Part::Operator(build) => build,
        Part::Exchange { .. } => unreachable!("a step has at most one exchange"),
    })
}

impl Output {
    fn collect(&mut self, batch: Batch) {
        let counted: usize = batch.segments.iter().map(|segment| segment.rows as usize).sum();
        assert_eq!(counted, batch.len(), "segments add up to the batch");
        let numbers = batch.segments.iter().map(|segment| segment.number);
        assert!(numbers.is_sorted(), "numbers ascend");
        self.batches.push(batch);
    }
}
