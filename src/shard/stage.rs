//! The stages of a shard: the first reads, the others take from an inbox.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::outlet::{Outlet, Outlets};
use super::rejects::Rejects;
use crate::exchange::{Inbox, Taken, Watermarks};
use crate::metric::{ShardMetrics, WatermarkReport};
use crate::operator::Network;
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
    pub network: Network,
    /// Output of numbers that have not ended yet: see [`crate::exchange`] on why it is not sent. `[exit]`
    held: Vec<VecDeque<Batch>>,
    /// A barrier that the stage has come to and has not sent yet, because output before it waits for room.
    barrier: Option<Barrier>,
    /// The ends of the stage.
    pub outlets: Outlets,
}

impl KeyedStage {
    /// A stage.
    #[must_use]
    pub fn new(inbox: Inbox, network: Network, outlets: Vec<Outlet>) -> Self {
        let held = outlets.iter().map(|_| VecDeque::new()).collect();
        Self { inbox, network, held, barrier: None, outlets: Outlets::new(outlets) }
    }

    /// Moves at most one batch.
    pub fn step(&mut self, now: Now, metrics: &ShardMetrics) -> Progress {
        self.network.context.wall_ms = now.wall_ms();
        let offered = self.outlets.offer();
        let blocked = if offered { Progress::Moved } else { Progress::Idle(None) };
        if !self.outlets.takes_output() {
            return blocked;
        }
        for exit in 0..self.held.len() {
            if let Some(batch) = self.held[exit].pop_front().and_then(|batch| self.release(exit, batch)) {
                self.outlets.send(exit, batch, now, metrics);
                return Progress::Moved;
            }
        }
        if let Some((exit, batch)) = self.network.pull() {
            if !self.held[exit].is_empty() {
                self.held[exit].push_back(batch);
            } else if let Some(batch) = self.release(exit, batch) {
                self.outlets.send(exit, batch, now, metrics);
            }
            return Progress::Moved;
        }
        if !self.outlets.is_clear() {
            return blocked;
        }
        if let Some(barrier) = self.barrier.take() {
            debug_assert!(
                self.held.iter().all(VecDeque::is_empty),
                "every number before a barrier has ended"
            );
            self.outlets.send_barrier(barrier);
            return Progress::Barrier(barrier);
        }
        match self.inbox.take() {
            Taken::Batch(port, batch) => {
                self.network.push(port, batch);
                Progress::Moved
            }
            Taken::Interleaved(input) => {
                self.network.push_interleaved(input);
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
    fn release(&mut self, exit: usize, batch: Batch) -> Option<Batch> {
        let waits = |segment: &Segment| segment.rows > 0 && !self.inbox.has_ended(segment.number);
        let Some(first) = batch.segments.iter().position(waits) else { return Some(batch) };
        let (ended, rest) = batch.split_at(first);
        self.held[exit].push_front(rest);
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

    /// What it waits for, in words.
    #[cfg(any(test, feature = "simulation"))]
    pub fn waits_for(&self) -> String {
        let room = self.outlets.waits_for();
        let barrier = if self.barrier.is_some() { "behind a barrier, " } else { "" };
        let held = self.held.iter().flatten().flat_map(|batch| &batch.segments);
        let held: Vec<u64> = held.map(|segment| segment.number).collect();
        format!("{room}{barrier}held {held:?}, {}", self.inbox.waits_for())
    }
}

/// The stage that reads: all sources, which take turns.
pub struct SourceStage {
    feeds: Vec<Feed>,
    /// The source whose piece is worked off.
    current: usize,
    /// The operators, with an entry for each source.
    pub network: Network,
    /// The ends of the stage.
    pub outlets: Outlets,
    ended: Ended,
    /// Buffers of pieces that have been worked off, while rows may still point into them, each with its source.
    retired: Vec<(usize, Arc<Vec<u8>>)>,
    /// Records that could not be decoded, and go to quarantine.
    pub rejected: Vec<BadRecord>,
    /// Streams of those that do not.
    rejects: Vec<Rejects>,
    /// How many have gone into these since it was asked.
    pub routed: u64,
}

/// One source on a shard.
pub struct Feed {
    reader: Box<dyn Reader>,
    ingest: Ingest,
    /// The first of its splits among those of all sources.
    first_split: u32,
    /// A batch of no rows as its streams take them.
    empty: Batch,
    reading: Reading,
    /// The stream that its bad records go to, among those of the stage; none where that is the quarantine.
    rejects: Option<usize>,
}

/// Whether a source is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Its next piece begins with this number.
    From(u64),
    /// It has come to a barrier, and goes on with this number once all have.
    At(Barrier, u64),
    /// There is no more.
    Ended,
}

impl Feed {
    /// A source whose first piece begins with block `number`, and whose splits begin with `first_split` among those of all
    /// sources. `empty` are no rows of what the streams take of it, which have event times where it is `timed`.
    #[must_use]
    pub fn new(
        reader: Box<dyn Reader>,
        ingest: Ingest,
        first_split: usize,
        number: u64,
        empty: RecordBatch,
        timed: bool,
    ) -> Self {
        let first_split = u32::try_from(first_split).expect("fewer than 4 G splits");
        let (empty, reading) = (last_batch(empty, timed), Reading::From(number));
        Self { reader, ingest, first_split, empty, reading, rejects: None }
    }

    /// The same where bad records go to this stream of the stage.
    #[must_use]
    pub fn rejecting_to(self, rejects: Option<usize>) -> Self {
        Self { rejects, ..self }
    }

    /// The number of its next piece; none where it is at a barrier, or at its end.
    fn next(&self) -> Option<u64> {
        match self.reading {
            Reading::From(next) => Some(next),
            Reading::At(..) | Reading::Ended => None,
        }
    }

    /// The number below which it brings nothing any more.
    fn open(&self) -> u64 {
        match self.reading {
            Reading::From(next) | Reading::At(_, next) => next,
            Reading::Ended => u64::MAX,
        }
    }
}

/// How far the sources have come to their end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    No,
    /// There is no more input.
    Read,
    /// The operators have been told.
    Told,
    /// They have made the last that they make; the outlets may still have to find room for it.
    Gone,
}

impl SourceStage {
    /// A stage over these sources, of which there is at least one.
    #[must_use]
    pub fn new(feeds: Vec<Feed>, rejects: Vec<Rejects>, network: Network, outlets: Vec<Outlet>) -> Self {
        let (retired, rejected) = (Vec::new(), Vec::new());
        let outlets = Outlets::new(outlets);
        Self { feeds, current: 0, network, outlets, ended: Ended::No, retired, rejected, rejects, routed: 0 }
    }

    /// Moves at most one batch.
    ///
    /// # Errors
    ///
    /// If the input cannot be read any further.
    pub fn step(&mut self, now: Now, metrics: &ShardMetrics) -> Result<Progress, SourceError> {
        self.network.context.wall_ms = now.wall_ms();
        let offered = self.outlets.offer();
        let blocked = if offered { Progress::Moved } else { Progress::Idle(None) };
        if !self.outlets.takes_output() {
            return Ok(blocked);
        }
        if let Some((exit, batch)) = self.network.pull() {
            self.outlets.send(exit, batch, now, metrics);
            return Ok(Progress::Moved);
        }
        if !self.outlets.is_clear() {
            return Ok(blocked);
        }
        if self.ended == Ended::Told {
            self.ended = Ended::Gone;
            return Ok(Progress::Moved);
        }
        self.recycle();
        if let Some((batch, buffer)) = self.next_batch() {
            self.retired.extend(buffer.map(|buffer| (self.current, buffer)));
            self.push(batch, now);
            return Ok(Progress::Moved);
        }
        match self.ended {
            // What has just gone may be for a later stage of this shard, which has had its turn.
            Ended::Gone if offered => return Ok(Progress::Moved),
            Ended::Told | Ended::Gone => return Ok(Progress::Done),
            Ended::Read => {
                for source in 0..self.feeds.len() {
                    self.network.push(source, self.feeds[source].empty.clone());
                }
                for rejects in &self.rejects {
                    self.network.push(rejects.entry, rejects.last());
                }
                self.ended = Ended::Told;
                return Ok(Progress::Moved);
            }
            Ended::No => {}
        }
        Ok(match self.read(now, metrics)? {
            Progress::Idle(_) if offered => Progress::Moved,
            progress => progress,
        })
    }

    /// Reads of the source whose turn it is.
    fn read(&mut self, now: Now, metrics: &ShardMetrics) -> Result<Progress, SourceError> {
        let turn =
            self.feeds.iter().enumerate().filter_map(|(source, feed)| Some((feed.next()?, source))).min();
        let Some((next, source)) = turn else { return Ok(self.pass()) };
        match self.feeds[source].reader.poll(now)? {
            Polled::Piece(mut piece) => {
                metrics.bytes_in.add(piece.bytes);
                let feed = &mut self.feeds[source];
                feed.reading = Reading::From(piece.next);
                piece.split += feed.first_split;
                // Behind the piece comes that of whichever source has the next turn.
                piece.next = self.feeds.iter().map(Feed::open).min().unwrap_or(piece.next);
                let records = self.feeds[source].ingest.begin(piece);
                self.current = source;
                metrics.rows_in.add(records as u64);
                Ok(Progress::Moved)
            }
            Polled::Wait(until_us) => Ok(Progress::Idle(until_us)),
            Polled::Barrier(barrier) => {
                self.feeds[source].reading = Reading::At(barrier, next);
                Ok(Progress::Moved)
            }
            Polled::End => {
                self.feeds[source].reading = Reading::Ended;
                Ok(Progress::Moved)
            }
        }
    }

    /// Passes the barrier that all sources have come to which have not ended; or notes that all have.
    fn pass(&mut self) -> Progress {
        let mut passed = None;
        for feed in &mut self.feeds {
            if let Reading::At(barrier, next) = feed.reading {
                feed.reading = Reading::From(next);
                passed = passed.or(Some(barrier));
            }
        }
        let Some(mut barrier) = passed else {
            self.ended = Ended::Read;
            return Progress::Moved;
        };
        if self.feeds.len() > 1 {
            // Each source has pieces of its own.
            barrier.piece = 0;
        }
        self.outlets.send_barrier(barrier);
        Progress::Barrier(barrier)
    }

    /// The next batch of the source that is worked off, and its buffer once that is.
    fn next_batch(&mut self) -> Option<(Batch, Option<Arc<Vec<u8>>>)> {
        let Feed { ingest, rejects, .. } = &mut self.feeds[self.current];
        let Some(rejects) = *rejects else { return ingest.next(&mut self.rejected) };
        let records = self.rejects[rejects].take();
        let before = records.len();
        let next = ingest.next(records);
        self.routed += (records.len() - before) as u64;
        next
    }

    /// Hands in a batch of the source that is worked off. The streams of the others learn which blocks have ended.
    fn push(&mut self, batch: Batch, now: Now) {
        for rejects in &mut self.rejects {
            if let Some(batch) = rejects.of_blocks(&batch.segments, now.wall_ms()) {
                self.network.push(rejects.entry, batch);
            }
        }
        for (source, feed) in self.feeds.iter().enumerate().filter(|(source, _)| *source != self.current) {
            let ends = batch.segments.iter().filter(|segment| segment.end.is_some());
            let segments: Vec<Segment> = ends.map(|segment| Segment { rows: 0, ..*segment }).collect();
            if !segments.is_empty() {
                self.network.push(source, Batch { segments, ..feed.empty.clone() });
            }
        }
        self.network.push(self.current, batch);
    }

    /// Whether there is no more input, so that no barrier comes any more and all is before those that others have sent.
    pub fn has_read_all(&self) -> bool {
        self.ended != Ended::No || self.feeds.iter().all(|feed| feed.reading == Reading::Ended)
    }

    /// Whether it has made the last that it makes: no bad record and no row of a side stream comes from it any more.
    pub fn is_over(&self) -> bool {
        self.ended == Ended::Gone
    }

    /// What it waits for, in words.
    #[cfg(any(test, feature = "simulation"))]
    pub fn waits_for(&self) -> String {
        let room = self.outlets.waits_for();
        format!("{room}{}", if self.has_read_all() { "has read all" } else { "reads" })
    }

    /// Gives the readers back the buffers that no row points into any more.
    fn recycle(&mut self) {
        for (source, buffer) in std::mem::take(&mut self.retired) {
            match Arc::try_unwrap(buffer) {
                Ok(buffer) => self.feeds[source].reader.recycle(buffer),
                Err(still_used) => self.retired.push((source, still_used)),
            }
        }
    }
}
