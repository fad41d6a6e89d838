//! The stages of a shard: the first reads, the others take from an inbox.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::outlet::Outlet;
use crate::exchange::{Inbox, Taken, Watermarks};
use crate::metric::{ShardMetrics, WatermarkReport};
use crate::operator::Chain;
use crate::record::{BadRecord, Barrier, Batch, Segment};
use crate::source::{Ingest, Polled, Reader, SourceError, last_batch};
use crate::time::Now;

/// What a step of a stage came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Something moved.
    Moved,
    /// Nothing to do until the bell rings or this time of [`Now::monotonic_us`].
    Idle(Option<u64>),
    /// An epoch has ended: the stage has sent all before the barrier, and it, and has taken nothing behind it.
    Barrier(Barrier),
    /// All is sent.
    Done,
}

/// A stage behind an exchange.
pub struct KeyedStage {
    inbox: Inbox,
    /// The operators.
    pub chain: Chain,
    /// Output of numbers that have not ended yet: see [`crate::exchange`] on why it is not sent.
    held: VecDeque<Batch>,
    /// A barrier that the stage has come to and has not sent yet, because output before it waits for room.
    barrier: Option<Barrier>,
    outlet: Outlet,
}

impl KeyedStage {
    /// A stage.
    #[must_use]
    pub fn new(inbox: Inbox, chain: Chain, outlet: Outlet) -> Self {
        Self { inbox, chain, held: VecDeque::new(), barrier: None, outlet }
    }

    /// Moves at most one batch.
    pub fn step(&mut self, now: Now, metrics: &ShardMetrics) -> Progress {
        self.chain.context.wall_ms = now.wall_ms();
        let offered = self.outlet.offer();
        if !self.outlet.is_clear() {
            return if offered { Progress::Moved } else { Progress::Idle(None) };
        }
        if let Some(batch) = self.held.pop_front().and_then(|batch| self.release(batch)) {
            self.outlet.send(batch, now, metrics);
            return Progress::Moved;
        }
        if let Some(batch) = self.chain.pull() {
            if !self.held.is_empty() {
                self.held.push_back(batch);
            } else if let Some(batch) = self.release(batch) {
                self.outlet.send(batch, now, metrics);
            }
            return Progress::Moved;
        }
        if let Some(barrier) = self.barrier.take() {
            debug_assert!(self.held.is_empty(), "every number before a barrier has ended");
            self.outlet.send_barrier(barrier);
            return Progress::Barrier(barrier);
        }
        match self.inbox.take() {
            Taken::Batch(batch) => {
                self.chain.push(batch);
                Progress::Moved
            }
            Taken::Barrier(barrier) => {
                self.barrier = Some(barrier);
                Progress::Moved
            }
            Taken::Empty | Taken::Finished if offered => Progress::Moved,
            Taken::Empty => Progress::Idle(None),
            Taken::Finished => Progress::Done,
        }
    }

    /// The part of the batch whose numbers have ended; the rest becomes the first that is held.
    fn release(&mut self, batch: Batch) -> Option<Batch> {
        let waits = |segment: &Segment| segment.rows > 0 && !self.inbox.has_ended(segment.number);
        let Some(first) = batch.segments.iter().position(waits) else { return Some(batch) };
        let (ended, rest) = batch.split_at(first);
        self.held.push_front(rest);
        (!ended.segments.is_empty()).then_some(ended)
    }

    /// The watermark the stage works by, and what it rests on.
    pub fn report(&self) -> WatermarkReport {
        self.inbox.report()
    }

    /// The watermarks of the splits it takes.
    pub fn watermarks(&self) -> &Watermarks {
        self.inbox.watermarks()
    }

    /// The end of the stage.
    pub fn outlet(&mut self) -> &mut Outlet {
        &mut self.outlet
    }

    /// What it waits for, in words.
    #[cfg(any(test, feature = "simulation"))]
    pub fn waits_for(&self) -> String {
        let room = self.outlet.waits_for();
        let barrier = if self.barrier.is_some() { "behind a barrier, " } else { "" };
        let held: Vec<u64> = self.held.iter().flat_map(|batch| &batch.segments).map(|of| of.number).collect();
        format!("{room}{barrier}held {held:?}, {}", self.inbox.waits_for())
    }
}

/// The stage that reads.
pub struct SourceStage {
    reader: Box<dyn Reader>,
    ingest: Ingest,
    /// The operators.
    pub chain: Chain,
    outlet: Outlet,
    /// Rows of the source's columns, none of them.
    empty: RecordBatch,
    timed: bool,
    ended: Ended,
    /// Buffers of pieces that have been worked off, while rows may still point into them.
    retired: Vec<Arc<Vec<u8>>>,
    /// Records that could not be decoded.
    pub rejected: Vec<BadRecord>,
}

/// How far a source has come to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    No,
    /// There is no more input.
    Read,
    /// The operators have been told.
    Told,
    /// They have made the last that they make; the outlet may still have to find room for it.
    Gone,
}

impl SourceStage {
    /// A stage.
    #[must_use]
    pub fn new(
        reader: Box<dyn Reader>,
        ingest: Ingest,
        chain: Chain,
        outlet: Outlet,
        empty: RecordBatch,
        timed: bool,
    ) -> Self {
        let (retired, rejected) = (Vec::new(), Vec::new());
        Self { reader, ingest, chain, outlet, empty, timed, ended: Ended::No, retired, rejected }
    }

    /// Moves at most one batch.
    ///
    /// # Errors
    ///
    /// If the input cannot be read any further.
    pub fn step(&mut self, now: Now, metrics: &ShardMetrics) -> Result<Progress, SourceError> {
        self.chain.context.wall_ms = now.wall_ms();
        let offered = self.outlet.offer();
        if !self.outlet.is_clear() {
            return Ok(if offered { Progress::Moved } else { Progress::Idle(None) });
        }
        if let Some(batch) = self.chain.pull() {
            let is_last = batch.segments.last().is_some_and(|last| last.number == Segment::LAST);
            self.outlet.send(batch, now, metrics);
            if is_last {
                self.ended = Ended::Gone;
            }
            return Ok(Progress::Moved);
        }
        self.recycle();
        if let Some((batch, buffer)) = self.ingest.next(&mut self.rejected) {
            self.retired.extend(buffer);
            self.chain.push(batch);
            return Ok(Progress::Moved);
        }
        match self.ended {
            // What has just gone may be for a later stage of this shard, which has had its turn.
            Ended::Told | Ended::Gone if offered => return Ok(Progress::Moved),
            Ended::Told | Ended::Gone => return Ok(Progress::Done),
            Ended::Read => {
                self.chain.push(last_batch(self.empty.clone(), self.timed));
                self.ended = Ended::Told;
                return Ok(Progress::Moved);
            }
            Ended::No => {}
        }
        match self.reader.poll(now)? {
            Polled::Piece(piece) => {
                metrics.bytes_in.add(piece.bytes);
                let records = self.ingest.begin(piece);
                metrics.rows_in.add(records as u64);
                Ok(Progress::Moved)
            }
            Polled::Wait(until_us) if !offered => Ok(Progress::Idle(until_us)),
            Polled::Wait(_) => Ok(Progress::Moved),
            Polled::Barrier(barrier) => {
                self.outlet.send_barrier(barrier);
                Ok(Progress::Barrier(barrier))
            }
            Polled::End => {
                self.ended = Ended::Read;
                Ok(Progress::Moved)
            }
        }
    }

    /// Whether there is no more input, so that no barrier comes any more and all is before those that others have sent.
    pub fn has_read_all(&self) -> bool {
        self.ended != Ended::No
    }

    /// Whether it has made the last that it makes: no bad record and no row of a side stream comes from it any more.
    pub fn is_over(&self) -> bool {
        self.ended == Ended::Gone
    }

    /// What it waits for, in words.
    #[cfg(any(test, feature = "simulation"))]
    pub fn waits_for(&self) -> String {
        let room = self.outlet.waits_for();
        format!("{room}{}", if self.has_read_all() { "has read all" } else { "reads" })
    }

    /// Gives the reader back the buffers that no row points into any more.
    fn recycle(&mut self) {
        for buffer in std::mem::take(&mut self.retired) {
            match Arc::try_unwrap(buffer) {
                Ok(buffer) => self.reader.recycle(buffer),
                Err(still_used) => self.retired.push(still_used),
            }
        }
    }

    /// The end of the stage.
    pub fn outlet(&mut self) -> &mut Outlet {
        &mut self.outlet
    }
}
