//! The writer: takes what the shards have encoded in the order of the input, and their bad records, epoch by epoch.
//!
//! At a barrier the sink's output, each side stream's and the quarantine are staged, each at the place where its lanes
//! have come to it; once all are, the committer gets them. In the end it gets the outputs themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::Sender;

use super::committer::{Ending, Told};
use super::gather::{Gathered, Taken};
use super::launch::Event;
use super::measure::Meter;
use super::outlet::Block;
use super::quarantine::{Quarantine, QuarantineError};
use super::side::SideEncoded;
use super::stall::Busy;
use crate::crash::point;
use crate::exchange::{LaneReceiver, Order};
use crate::io::{Bell, Step, Task};
use crate::record::{BadRecord, Barrier};
use crate::sink::{Output, SinkError, Staged};
use crate::time::Now;

/// How many blocks are written before the task yields.
const BLOCKS_A_STEP: usize = 16;

/// Writes for all shards.
#[expect(clippy::struct_excessive_bools, reason = "each says by itself how far the end of the run has come")]
pub struct Writer {
    /// The outputs of sinks and the lanes into them; none of a sink that takes rows on the shards.
    pub encoded: Vec<Encoded>,
    /// Tells a benchmark what has been written.
    pub meter: Option<Meter>,
    /// The outputs of side streams.
    pub sides: Vec<SideEncoded>,
    /// Bad records of all shards.
    pub rejected: Gathered<RejectedItem>,
    /// Where they go.
    pub quarantine: Quarantine,
    /// Which output is being called: those of the sinks, then those of side streams.
    pub busy: Arc<Busy>,
    /// What becomes of the output.
    pub verdict: Arc<Verdict>,
    /// The way to the control plane.
    pub events: Sender<Event>,
    /// The way to the committer, and what wakes it.
    pub committer: (Sender<Told>, Arc<Bell>),
    /// What has been staged of the epoch that is ending.
    pub staging: Option<Staging>,
    /// Set behind the last epoch of a run that is drained: nothing is kept there any more.
    pub closed: bool,
    /// Whether something was written and not yet flushed.
    pub dirty: bool,
    /// Set once everything is written and the control plane has been told.
    pub told: bool,
    /// Set once the writer has ended.
    pub ended: bool,
}

/// What a shard sends to the quarantine.
pub enum RejectedItem {
    /// A bad record.
    Record(BadRecord),
    /// An epoch ends for the lane.
    Barrier(Barrier),
    /// The lane ends.
    End,
}

/// An epoch whose end has come to some of the outputs.
pub struct Staging {
    barrier: Barrier,
    outputs: Vec<(Arc<str>, Staged)>,
    quarantine: Option<super::quarantine::QuarantineStaged>,
}

/// What the control plane has decided about the output, and which epoch is to be the last.
#[derive(Debug, Default)]
pub struct Verdict {
    decided: AtomicU8,
    last_epoch: std::sync::atomic::AtomicU64,
}

impl Verdict {
    /// It becomes visible.
    pub const COMMIT: u8 = 1;
    /// It is given up.
    pub const ABANDON: u8 = 2;

    /// Decides; the caller rings the writer's bell.
    pub fn decide(&self, verdict: u8) {
        self.decided.store(verdict, Ordering::Release);
    }

    fn is(&self, verdict: u8) -> bool {
        self.decided.load(Ordering::Acquire) == verdict
    }

    /// Nothing will be written behind this epoch, which has not been asked for yet.
    pub fn end_with(&self, epoch: u64) {
        self.last_epoch.store(epoch, Ordering::Release);
    }

    fn ends_with(&self, epoch: u64) -> bool {
        self.last_epoch.load(Ordering::Acquire) == epoch
    }
}

/// Encoded rows from every shard, merged in the order of the input.
pub struct Encoded {
    /// The sink's name.
    name: Arc<str>,
    lanes: Vec<LaneReceiver<Block>>,
    /// A block per lane that was taken and has to wait for its turn.
    heads: Vec<Option<Block>>,
    order: Order,
    /// A barrier that some lane has come to, and others may not have.
    ahead: Option<Barrier>,
    /// The epoch that ended last.
    epoch: u64,
    /// Set behind the last epoch of a run that is drained: what its end makes there is made again by the run that goes on.
    closed: bool,
    output: Box<dyn Output + Send>,
}

/// What a step of [`Encoded`] came to.
enum Progress {
    Moved,
    Barrier(Barrier),
    Nothing,
}

/// Why the writer cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// The sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The quarantine.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// The last snapshot, without which what was written cannot be committed.
    #[error("{0}")]
    Snapshot(String),
}

impl Encoded {
    /// Lanes whose first numbers are `first`, to the sink of this name.
    #[must_use]
    pub fn new(
        name: Arc<str>,
        lanes: Vec<LaneReceiver<Block>>,
        first: Vec<u64>,
        output: Box<dyn Output + Send>,
    ) -> Self {
        let heads = lanes.iter().map(|_| None).collect();
        Self { name, lanes, heads, order: Order::new(first), ahead: None, epoch: 0, closed: false, output }
    }

    /// The sink's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Gives the output up before anything was written; `committed` tells whether it goes on from a snapshot.
    pub fn abandon(self, committed: bool) {
        self.output.abandon(committed);
    }

    /// Writes the next block; nothing if the lane whose turn it is has none.
    fn step(&mut self) -> Result<Progress, SinkError> {
        if let Some(barrier) = self.ahead.take_if(|barrier| self.order.has_reached(barrier.number)) {
            self.epoch = barrier.epoch;
            return Ok(Progress::Barrier(barrier));
        }
        let Some(lane) = self.order.turn() else { return Ok(Progress::Nothing) };
        let Some(block) = self.heads[lane].take().or_else(|| self.lanes[lane].take()) else {
            return Ok(Progress::Nothing);
        };
        if let Some(barrier) = block.barrier {
            // A lane may come to it after all lanes, itself included, have ended all numbers before it.
            if barrier.epoch > self.epoch {
                self.order.passed(lane, barrier.number);
                self.ahead = Some(barrier);
            }
            self.lanes[lane].give_back(block);
            return Ok(Progress::Moved);
        }
        self.order.reached(lane, block.number);
        if self.order.turn() != Some(lane) {
            self.heads[lane] = Some(block);
            return Ok(Progress::Moved);
        }
        if let Some(through) = block.through {
            self.order.ended(lane, through.max(block.number.saturating_sub(1)));
        }
        if !self.closed {
            block.records.write_to(self.output.as_mut())?;
        }
        self.lanes[lane].give_back(block);
        Ok(Progress::Moved)
    }

    fn is_done(&self) -> bool {
        self.order.turn().is_none()
    }
}

#[cfg(any(test, feature = "simulation"))]
impl Writer {
    /// What it waits for, in words.
    pub fn waits_for(&self) -> String {
        let rejected: Vec<_> = self.rejected.epochs().collect();
        let outputs = self.encoded.iter().map(|encoded| {
            let Encoded { name, heads, order, ahead, epoch, .. } = encoded;
            let heads: Vec<_> = heads.iter().map(|head| head.as_ref().map(|block| block.number)).collect();
            format!(", {name}: {order:?}, heads {heads:?}, ahead {ahead:?}, epoch {epoch}")
        });
        format!("(quarantine at {rejected:?}{})", outputs.collect::<String>())
    }
}

impl Task for Writer {
    fn step(&mut self, now: Now) -> Step {
        if self.ended {
            return Step::Done;
        }
        if self.verdict.is(Verdict::ABANDON) {
            // Bad records are kept whatever becomes of the output: they may be why the run has failed.
            return match self.take_rejected(now) {
                Ok(_) => self.end(Ending::Abandoned),
                Err(error) => self.end(Ending::Failed(error.into())),
            };
        }
        match self.try_step(now) {
            Ok(Step::Done) if self.verdict.is(Verdict::COMMIT) => self.end(Ending::Written),
            Ok(Step::Done) => {
                if !std::mem::replace(&mut self.told, true) {
                    drop(self.events.send(Event::Written));
                }
                Step::Wait(None)
            }
            Ok(step) => step,
            Err(error) => self.end(Ending::Failed(error)),
        }
    }
}

impl Writer {
    fn try_step(&mut self, now: Now) -> Result<Step, WriterError> {
        let mut moved = self.take_encoded(now)?;
        for side in 0..self.sides.len() {
            let _calling = self.busy.with(self.encoded.len() + side, now.monotonic_us);
            moved |= self.sides[side].step()?;
            if let Some(barrier) = self.sides[side].barrier() {
                let staged = self.sides[side].stage(self.verdict.ends_with(barrier.epoch), now)?;
                let name = self.sides[side].name.clone();
                self.staging(barrier).outputs.push((name, staged));
                moved = true;
            }
        }
        moved |= self.take_rejected(now)?;
        if let Some(barrier) = self.rejected.barrier() {
            let staged = self.quarantine.stage()?;
            self.closed = self.verdict.ends_with(barrier.epoch);
            self.staging(barrier).quarantine = Some(staged);
            moved = true;
        }
        self.tell_staged();
        if moved {
            self.dirty = true;
            return Ok(Step::Again);
        }
        if std::mem::take(&mut self.dirty) {
            self.quarantine.flush()?;
            for (place, encoded) in self.encoded.iter_mut().enumerate() {
                let _calling = self.busy.with(place, now.monotonic_us);
                encoded.output.flush()?;
            }
            for (place, side) in self.sides.iter_mut().enumerate() {
                let _calling = self.busy.with(self.encoded.len() + place, now.monotonic_us);
                side.flush()?;
            }
            return Ok(Step::Again);
        }
        let sides_done = self.sides.iter().all(SideEncoded::is_done);
        let done = sides_done && self.rejected.is_done() && self.encoded.iter().all(Encoded::is_done);
        Ok(if done { Step::Done } else { Step::Wait(None) })
    }

    /// Writes some of what has arrived for the sinks. Returns whether there was anything.
    fn take_encoded(&mut self, now: Now) -> Result<bool, WriterError> {
        if let Some(meter) = &mut self.meter {
            meter.tell(now);
        }
        let mut moved = false;
        for sink in 0..self.encoded.len() {
            moved |= self.take_encoded_of(sink, now)?;
        }
        if let Some(meter) = self.meter.as_mut().filter(|_| moved) {
            meter.look(self.encoded.iter().map(|encoded| &encoded.order));
        }
        Ok(moved)
    }

    fn take_encoded_of(&mut self, sink: usize, now: Now) -> Result<bool, WriterError> {
        let _calling = self.busy.with(sink, now.monotonic_us);
        let encoded = &mut self.encoded[sink];
        let mut moved = false;
        for _ in 0..BLOCKS_A_STEP {
            match encoded.step()? {
                Progress::Moved => moved = true,
                Progress::Nothing => break,
                Progress::Barrier(barrier) => {
                    encoded.output.tell_time(now);
                    encoded.closed = self.verdict.ends_with(barrier.epoch);
                    let staged = (encoded.name.clone(), encoded.output.stage(encoded.closed)?);
                    self.staging(barrier).outputs.push(staged);
                    return Ok(true);
                }
            }
        }
        Ok(moved)
    }

    /// What has been staged of the epoch that ends at this barrier.
    fn staging(&mut self, barrier: Barrier) -> &mut Staging {
        let staging =
            self.staging.get_or_insert_with(|| Staging { barrier, outputs: Vec::new(), quarantine: None });
        debug_assert_eq!(staging.barrier, barrier, "one epoch ends at a time");
        staging
    }

    /// Tells the committer of an epoch that has been staged whole.
    fn tell_staged(&mut self) {
        let expected = self.sides.len() + self.encoded.len();
        let complete =
            |staging: &mut Staging| staging.outputs.len() == expected && staging.quarantine.is_some();
        let Some(Staging { barrier, outputs, quarantine }) = self.staging.take_if(complete) else { return };
        let quarantine = quarantine.expect("just seen");
        point("epoch-staged");
        self.tell(Told::Staged { barrier, outputs, quarantine });
    }

    fn tell(&mut self, told: Told) {
        // The committer is gone only when the process ends.
        drop(self.committer.0.send(told));
        self.committer.1.ring();
    }

    /// Keeps the bad records that have arrived. Returns whether there were any.
    fn take_rejected(&mut self, now: Now) -> Result<bool, QuarantineError> {
        let (quarantine, closed) = (&mut self.quarantine, self.closed);
        self.rejected.take(|item| match item {
            RejectedItem::Record(_) if closed => Ok(Taken::Item),
            RejectedItem::Record(record) => quarantine.keep(record, now.wall_us).map(|()| Taken::Item),
            RejectedItem::Barrier(barrier) => Ok(Taken::Barrier(*barrier)),
            RejectedItem::End => Ok(Taken::End),
        })
    }

    /// Hands everything to the committer.
    fn end(&mut self, ending: Ending) -> Step {
        self.ended = true;
        let sides = std::mem::take(&mut self.sides).into_iter();
        let sides = sides.map(|side| (side.name.clone(), side.into_output()));
        // Those of sinks last: where the last is visible, all are.
        let encoded = std::mem::take(&mut self.encoded).into_iter();
        let outputs: Vec<_> = sides.chain(encoded.map(|encoded| (encoded.name, encoded.output))).collect();
        let quarantine = self.quarantine.stage();
        self.tell(Told::Ended { ending, outputs, quarantine });
        Step::Done
    }
}
