//! The writer: takes what the shards have encoded in the order of the input, and their bad records.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::Sender;

use super::launch::Event;
use super::outlet::Block;
use super::quarantine::{Quarantine, QuarantineError};
use super::side::SideEncoded;
use crate::exchange::{LaneReceiver, Order};
use crate::io::{Step, Task};
use crate::record::BadRecord;
use crate::sink::{Output, SinkError};
use crate::time::Now;

/// How many blocks are written before the task yields.
const BLOCKS_A_STEP: usize = 16;

/// Writes for all shards.
pub struct Writer {
    /// The sink's output and the lanes into it; none where rows are taken on the shards.
    pub encoded: Option<Encoded>,
    /// The outputs of side streams.
    pub sides: Vec<SideEncoded>,
    /// Bad records, `[shard]`.
    pub rejected: Vec<LaneReceiver<Option<BadRecord>>>,
    /// Where they go.
    pub quarantine: Quarantine,
    /// What becomes of the output.
    pub verdict: Arc<Verdict>,
    /// The way to the control plane.
    pub events: Sender<Event>,
    /// Whether something was written and not yet flushed.
    pub dirty: bool,
    /// Set once everything is written and the control plane has been told.
    pub told: bool,
    /// Set once the writer has ended.
    pub ended: bool,
}

/// What the control plane has decided about the output, once it is written.
#[derive(Debug, Default)]
pub struct Verdict(AtomicU8);

impl Verdict {
    /// It becomes visible.
    pub const COMMIT: u8 = 1;
    /// It is taken back.
    pub const ABANDON: u8 = 2;

    /// Decides; the caller rings the writer's bell.
    pub fn decide(&self, verdict: u8) {
        self.0.store(verdict, Ordering::Release);
    }

    fn is(&self, verdict: u8) -> bool {
        self.0.load(Ordering::Acquire) == verdict
    }
}

/// Encoded rows from every shard, merged in the order of the input.
pub struct Encoded {
    lanes: Vec<LaneReceiver<Block>>,
    /// A block per lane that was taken and has to wait for its turn.
    heads: Vec<Option<Block>>,
    order: Order,
    output: Box<dyn Output + Send>,
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
}

impl Encoded {
    /// Lanes whose first numbers are `first`, `[shard]`.
    #[must_use]
    pub fn new(lanes: Vec<LaneReceiver<Block>>, first: Vec<u64>, output: Box<dyn Output + Send>) -> Self {
        let heads = lanes.iter().map(|_| None).collect();
        Self { lanes, heads, order: Order::new(first), output }
    }

    /// Writes the next block; false if the lane whose turn it is has none.
    fn step(&mut self) -> Result<bool, SinkError> {
        let Some(lane) = self.order.turn() else { return Ok(false) };
        let Some(block) = self.heads[lane].take().or_else(|| self.lanes[lane].take()) else {
            return Ok(false);
        };
        self.order.reached(lane, block.number);
        if self.order.turn() != Some(lane) {
            self.heads[lane] = Some(block);
            return Ok(true);
        }
        if let Some(through) = block.through {
            self.order.ended(lane, through.max(block.number.saturating_sub(1)));
        }
        if !block.bytes.is_empty() {
            self.output.write(&block.bytes)?;
        }
        self.lanes[lane].give_back(block);
        Ok(true)
    }

    fn is_done(&self) -> bool {
        self.order.turn().is_none()
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
                Ok(_) => self.end(None),
                Err(error) => self.end(Some(Err(error.into()))),
            };
        }
        match self.try_step(now) {
            Ok(Step::Done) if self.verdict.is(Verdict::COMMIT) => self.end(Some(Ok(()))),
            Ok(Step::Done) => {
                if !std::mem::replace(&mut self.told, true) {
                    drop(self.events.send(Event::Written));
                }
                Step::Wait(None)
            }
            Ok(step) => step,
            Err(error) => self.end(Some(Err(error))),
        }
    }
}

impl Writer {
    fn try_step(&mut self, now: Now) -> Result<Step, WriterError> {
        let mut moved = false;
        if let Some(encoded) = &mut self.encoded {
            for _ in 0..BLOCKS_A_STEP {
                if !encoded.step()? {
                    break;
                }
                moved = true;
            }
        }
        for side in &mut self.sides {
            moved |= side.step()?;
        }
        moved |= self.take_rejected(now)?;
        if moved {
            self.dirty = true;
            return Ok(Step::Again);
        }
        if std::mem::take(&mut self.dirty) {
            self.quarantine.flush()?;
            if let Some(encoded) = &mut self.encoded {
                encoded.output.flush()?;
            }
            for side in &mut self.sides {
                side.flush()?;
            }
            return Ok(Step::Again);
        }
        let sides_done = self.sides.iter().all(SideEncoded::is_done);
        let done =
            sides_done && self.rejected.is_empty() && self.encoded.as_ref().is_none_or(Encoded::is_done);
        Ok(if done { Step::Done } else { Step::Wait(None) })
    }

    /// Keeps the bad records that have arrived. Returns whether there were any.
    fn take_rejected(&mut self, now: Now) -> Result<bool, QuarantineError> {
        let mut moved = false;
        let mut open = Vec::with_capacity(self.rejected.len());
        for mut lane in std::mem::take(&mut self.rejected) {
            let mut ended = false;
            while let Some(item) = lane.take() {
                moved = true;
                match item {
                    Some(record) => self.quarantine.keep(&record, now.wall_us)?,
                    None => ended = true,
                }
            }
            if !ended {
                open.push(lane);
            }
        }
        self.rejected = open;
        Ok(moved)
    }

    /// Makes the output visible, or takes it back, and tells the control plane.
    fn end(&mut self, outcome: Option<Result<(), WriterError>>) -> Step {
        self.ended = true;
        let flushed = self.quarantine.flush().map_err(WriterError::from);
        let sides = std::mem::take(&mut self.sides).into_iter().map(SideEncoded::into_output);
        // The main output last: where it is visible, all is.
        let outputs: Vec<_> = sides.chain(self.encoded.take().map(|encoded| encoded.output)).collect();
        let outcome = match outcome {
            Some(Ok(())) => Some(commit_all(outputs).map_err(WriterError::from).and(flushed)),
            other => {
                for output in outputs {
                    output.abandon(false);
                }
                other
            }
        };
        let quarantine: Option<PathBuf> = self.quarantine.path().map(ToOwned::to_owned);
        drop(self.events.send(Event::WriterEnded { outcome, quarantine }));
        Step::Done
    }
}

/// Makes all outputs visible; those behind one that fails are taken back.
fn commit_all(outputs: Vec<Box<dyn Output + Send>>) -> Result<(), SinkError> {
    let mut outputs = outputs.into_iter();
    for mut output in outputs.by_ref() {
        let staged = output.stage(true);
        let committed = staged.and_then(|staged| (staged.sync)().and_then(|()| (staged.commit)()));
        if let Err(error) = committed {
            for output in outputs {
                output.abandon(false);
            }
            return Err(error);
        }
    }
    Ok(())
}
