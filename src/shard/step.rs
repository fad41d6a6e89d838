//! The core of a shard: stages stepped one by one, the last one first, without blocking and without reading a clock.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::committer::Told;
use super::cut::{Cut, LOOK_AGAIN_US, Layout};
use super::launch::Event;
use super::outlet::Outlets;
use super::side::SideOutlet;
use super::stage::{KeyedStage, Progress, SourceStage};
use super::writer::RejectedItem;
use crate::config::BadRecordAction;
use crate::exchange::LaneSender;
use crate::io::{Bell, Step, Storage, Task};
use crate::metric::ShardMetrics;
use crate::mutant::{self, Mutant};
use crate::operator::Network;
use crate::record::{BadRecord, Barrier};
use crate::snapshot::{Counts, PartInfo, Store};
use crate::source::SourceError;
use crate::time::Now;

/// How many batches a keyed stage may move before the stage before it gets its turn.
const BATCHES_A_TURN: usize = 4;

/// How many steps of a busy shard go by before it tells again how much its operators keep.
const STEPS_A_GAUGE: u32 = 32;

/// One replica of the pipeline.
pub struct Shard {
    /// Its number.
    pub number: usize,
    /// The stage that reads.
    pub source: SourceStage,
    /// The stages behind exchanges, in the order of the data.
    pub stages: Vec<KeyedStage>,
    /// The ends of side streams.
    pub sides: Vec<SideOutlet>,
    /// Bad records on their way to the quarantine.
    pub quarantine: LaneSender<RejectedItem>,
    /// What happens to bad records.
    pub bad_record: BadRecordAction,
    /// What it has done.
    pub metrics: Arc<ShardMetrics>,
    /// What each stage has told besides its rows, `[stage]`.
    pub counts: Vec<Counts>,
    /// How many steps there have been since it has told how much its operators keep.
    pub steps_ungauged: u32,
    /// How its snapshots are written.
    pub snapshots: Snapshots,
    /// The epoch that is ending.
    pub cut: Option<Cut>,
    /// The way to the control plane.
    pub events: Sender<Event>,
    /// What the control plane is told with the first step.
    pub first_words: Option<Event>,
    /// Set once the lanes of bad records and side streams have been ended.
    pub ended_unordered: bool,
    /// Set once the shard has ended.
    pub ended: bool,
    /// What the control plane is told once the quarantine's lane is clear.
    pub last_words: Option<Event>,
}

/// How a shard's part of a snapshot is written.
pub struct Snapshots {
    /// Where files are.
    pub storage: Arc<dyn Storage>,
    /// The snapshots.
    pub store: Store,
    /// The id of the run.
    pub run: String,
    /// How many shards there are.
    pub shards: usize,
    /// What is written.
    pub layout: Layout,
    /// The way to the committer, and what wakes it.
    pub committer: (Sender<Told>, Arc<Bell>),
}

impl Task for Shard {
    fn step(&mut self, now: Now) -> Step {
        if self.ended {
            return self.finish();
        }
        if let Some(event) = self.first_words.take() {
            // The control plane is gone only when the process ends.
            drop(self.events.send(event));
        }
        match self.try_step(now) {
            Ok(Progress::Moved | Progress::Barrier(_)) => {
                self.steps_ungauged += 1;
                if self.steps_ungauged >= STEPS_A_GAUGE {
                    self.gauge();
                }
                Step::Again
            }
            Ok(Progress::Idle(until_us)) => {
                self.gauge();
                Step::Wait(until_us)
            }
            Ok(Progress::Done) => {
                self.gauge();
                let stages = self.stages.iter_mut().map(|stage| &mut stage.outlets);
                let mut outlets = std::iter::once(&mut self.source.outlets).chain(stages);
                let latencies_us = outlets.find_map(Outlets::latencies_us);
                self.end(Event::ShardEnded { shard: self.number, latencies_us })
            }
            Err(Failure::Source(error)) => self.end(Event::SourceFailed(error)),
            Err(Failure::Bad(record)) => self.end(Event::BadRecord(record)),
        }
    }
}

/// What there is to do for the snapshot of an epoch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    Nothing,
    /// It waits for the disk, or for a stage.
    Waiting,
    Busy,
}

/// When a shard that waits for the disk looks again.
fn look_again(writing: Writing, now: Now) -> Option<u64> {
    (writing != Writing::Nothing).then(|| now.monotonic_us + LOOK_AGAIN_US)
}

/// Why a shard cannot go on.
enum Failure {
    Source(SourceError),
    Bad(BadRecord),
}

impl Shard {
    fn try_step(&mut self, now: Now) -> Result<Progress, Failure> {
        let mut moved = self.quarantine.offer();
        for side in &mut self.sides {
            moved |= side.offer();
        }
        // Rows of side streams that find no room hold the shard; but what its stages have sent goes on, because others
        // may need it to come to the barrier for which the writer waits.
        if !self.sides.iter().all(SideOutlet::is_clear) {
            moved |= self.source.outlets.offer();
            for stage in &mut self.stages {
                moved |= stage.outlets.offer();
            }
            let writing = self.write_cut();
            moved |= !moved && self.settle();
            return Ok(if moved { Progress::Moved } else { Progress::Idle(look_again(writing, now)) });
        }
        let (mut done, mut wake_us) = (true, None);
        let mut reached: Option<(usize, Barrier)> = None;
        for (index, stage) in self.stages.iter_mut().enumerate().rev() {
            for _ in 0..BATCHES_A_TURN {
                let progress = stage.step(now, &self.metrics);
                moved |= progress == Progress::Moved;
                done &= progress == Progress::Done;
                if let Progress::Barrier(barrier) = progress {
                    reached = Some((index + 1, barrier));
                }
                if progress != Progress::Moved {
                    break;
                }
            }
            // What the other stages tell belongs on the side of the barrier on which they are.
            if let Some((stage, barrier)) = reached {
                self.report(now)?;
                self.reach(stage, barrier, now);
                return Ok(Progress::Moved);
            }
        }
        // Bad records that find no room hold the source back: nothing is lost, and nothing is kept without bound.
        if self.quarantine.is_clear() {
            match self.source.step(now, &self.metrics).map_err(Failure::Source)? {
                Progress::Moved => (moved, done) = (true, false),
                Progress::Idle(until_us) => (wake_us, done) = (until_us, false),
                Progress::Barrier(barrier) => {
                    self.report(now)?;
                    self.reach(0, barrier, now);
                    return Ok(Progress::Moved);
                }
                Progress::Done => {}
            }
        } else {
            // What it has sent goes on, because others may need it to come to the barrier for which the writer waits.
            moved |= self.source.outlets.offer();
            done = false;
        }
        self.report(now)?;
        if self.stages.is_empty() && self.source.is_over() {
            self.end_unordered();
        }
        let writing = self.write_cut();
        moved |= !moved && self.settle();
        let clear = self.quarantine.is_clear() && self.sides.iter().all(SideOutlet::is_clear);
        Ok(match (moved, done && clear && writing == Writing::Nothing) {
            (_, true) => Progress::Done,
            (true, false) => Progress::Moved,
            (false, false) if writing == Writing::Busy => Progress::Moved,
            (false, false) => {
                let again_us = look_again(writing, now);
                Progress::Idle(wake_us.into_iter().chain(again_us).min())
            }
        })
    }

    /// Sends what the stages have held back while there was more to come. Returns whether there was anything.
    fn settle(&mut self) -> bool {
        let mut settled = self.source.outlets.settle();
        for stage in &mut self.stages {
            settled |= stage.outlets.settle();
        }
        settled
    }

    /// Notes that a stage has come to a barrier. Once all have, so have the side streams and the quarantine.
    fn reach(&mut self, stage: usize, barrier: Barrier, now: Now) {
        let stages = self.stages.len() + 1;
        if self.cut.is_none() {
            let Snapshots { storage, store, run, shards, layout, .. } = &self.snapshots;
            let file = || {
                let info = PartInfo {
                    run: run.clone(),
                    epoch: barrier.epoch,
                    shard: u32::try_from(self.number).expect("few shards"),
                    shards: u32::try_from(*shards).expect("few shards"),
                };
                Ok((storage.open_blocks(&store.part(barrier.epoch, self.number))?, info))
            };
            self.cut = Some(Cut::new(barrier, stages, self.number, layout, file));
        }
        let has_read_all = stage > 0 && self.source.has_read_all();
        if has_read_all && self.cut.as_ref().is_some_and(|cut| !cut.has_reached(0)) {
            self.reach(0, barrier, now);
        }
        let counts = self.counts_of(stage);
        let cut = self.cut.as_mut().expect("just made");
        let (network, watermarks) = match stage.checked_sub(1) {
            None => (&mut self.source.network, None),
            Some(keyed) => {
                let stage = &mut self.stages[keyed];
                let watermarks = stage.watermarks().save();
                (&mut stage.network, Some(watermarks))
            }
        };
        cut.reach(stage, network, &counts, watermarks);
        if !cut.is_complete() {
            return;
        }
        let (rejected, side) = (std::mem::take(&mut cut.rejected), std::mem::take(&mut cut.side));
        self.quarantine.send(RejectedItem::Barrier(barrier));
        self.sides.iter_mut().for_each(|side| side.send_barrier(barrier));
        for record in rejected {
            self.quarantine.send(RejectedItem::Record(record));
        }
        for rows in side {
            self.sides.iter_mut().for_each(|side| side.send(&rows, now));
        }
    }

    /// What a stage has counted so far.
    fn counts_of(&self, stage: usize) -> Counts {
        let mut counts = self.counts[stage];
        if stage == 0 {
            counts.rows_in = self.metrics.rows_in.get();
            counts.bytes_in = self.metrics.bytes_in.get();
        }
        counts.rows_out = match stage.checked_sub(1) {
            None => self.source.outlets.rows(),
            Some(keyed) => self.stages[keyed].outlets.rows(),
        };
        counts
    }

    /// Writes some of the epoch that is ending.
    fn write_cut(&mut self) -> Writing {
        let Some(cut) = &mut self.cut else { return Writing::Nothing };
        let (source, stages) = (&mut self.source.network, &mut self.stages);
        let outcome = cut.step(source, stages, &self.snapshots.layout);
        let Some(outcome) = outcome.filter(|_| cut.is_complete()) else {
            return if cut.is_busy() { Writing::Busy } else { Writing::Waiting };
        };
        let told = Told::Part { shard: self.number, barrier: cut.barrier, outcome };
        self.cut = None;
        self.tell(told);
        Writing::Nothing
    }

    fn tell(&self, told: Told) {
        // The committer is gone only when the process ends.
        drop(self.snapshots.committer.0.send(told));
        self.snapshots.committer.1.ring();
    }

    /// Tells how much the operators keep and where the watermark stands, if anything can have changed since it was told last.
    fn gauge(&mut self) {
        if std::mem::take(&mut self.steps_ungauged) == 0 {
            return;
        }
        if let Some(first) = self.stages.first() {
            self.metrics.watermark.set(&first.report());
        }
        let states = self.networks().flat_map(Network::states);
        for (gauge, state) in self.metrics.states.iter().zip(states) {
            gauge.set(state.entries as u64, state.bytes as u64, state.next_close_ms);
        }
    }

    /// Passes on what the stages tell besides their rows. What a stage tells behind a barrier waits until all stages have
    /// come to it; there is no more of it than of rows between the stages.
    fn report(&mut self, now: Now) -> Result<(), Failure> {
        let Self { source, stages, sides, quarantine, counts, metrics, cut, bad_record, .. } = self;
        let mut source_rejected = std::mem::take(&mut source.rejected);
        metrics.routed.add(std::mem::take(&mut source.routed));
        let networks =
            std::iter::once(&mut source.network).chain(stages.iter_mut().map(|stage| &mut stage.network));
        for (stage, Network { context, .. }) in networks.enumerate() {
            let mut rejected = std::mem::take(&mut context.rejected);
            rejected.append(&mut source_rejected);
            let (late, throttled) =
                (std::mem::take(&mut context.late), std::mem::take(&mut context.throttled));
            counts[stage].late += late;
            counts[stage].throttled += throttled;
            counts[stage].rejected += rejected.len() as u64;
            metrics.late.add(late);
            metrics.throttled.add(throttled);
            metrics.rejected.add(rejected.len() as u64);
            if *bad_record == BadRecordAction::Fail
                && let Some(first) = rejected.drain(..).next()
            {
                return Err(Failure::Bad(first));
            }
            let mut behind = cut.as_mut().filter(|cut| cut.has_reached(stage) && !cut.is_complete());
            match behind.as_mut().filter(|_| !mutant::is(Mutant::BadRecordsNotDeferred)) {
                Some(cut) => cut.rejected.append(&mut rejected),
                None => {
                    for record in rejected {
                        quarantine.send(RejectedItem::Record(record));
                    }
                }
            }
            match behind.filter(|_| !mutant::is(Mutant::SideRowsNotDeferred)) {
                Some(cut) => cut.side.append(&mut context.side),
                None => {
                    for rows in context.side.drain(..) {
                        for side in &mut *sides {
                            side.send(&rows, now);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The operators of each stage.
    pub fn networks(&self) -> impl Iterator<Item = &Network> {
        std::iter::once(&self.source.network).chain(self.stages.iter().map(|stage| &stage.network))
    }

    /// The operators of a stage.
    pub fn network(&mut self, stage: usize) -> &mut Network {
        match stage.checked_sub(1) {
            None => &mut self.source.network,
            Some(keyed) => &mut self.stages[keyed].network,
        }
    }

    /// What it waits for, in words.
    #[cfg(any(test, feature = "simulation"))]
    pub fn waits_for(&self) -> String {
        let stages = self.stages.iter().map(KeyedStage::waits_for).collect::<Vec<_>>().join(", ");
        let sides = self.sides.iter().filter(|side| !side.is_clear()).count();
        format!(
            "(quarantine {}, {sides} sides full, source {}, stages [{stages}], cut {:?})",
            if self.quarantine.is_clear() { "clear" } else { "full" },
            self.source.waits_for(),
            self.cut.as_ref().map(|cut| cut.barrier),
        )
    }

    /// Ends the shard before it has begun.
    pub fn fail(&mut self, what: String) {
        self.end(Event::NotRestored(what));
    }

    /// Ends the shard: the quarantine's lane is closed, and then the control plane is told.
    fn end(&mut self, event: Event) -> Step {
        self.ended = true;
        let counts = (0..=self.stages.len()).map(|stage| self.counts_of(stage));
        let counts = counts.fold(Counts::default(), |sum, counts| sum.plus(&counts));
        self.tell(Told::Gone { shard: self.number, counts });
        self.last_words = Some(event);
        self.end_unordered();
        self.finish()
    }

    /// Ends the lanes that are not taken in the order of the input. A source that is over passes no barrier any more, and
    /// its last rows have their turn behind those of all others: these lanes must not wait for that, because without a
    /// barrier or an end of theirs the writer takes nothing that others have sent behind the barrier.
    fn end_unordered(&mut self) {
        if !std::mem::replace(&mut self.ended_unordered, true) {
            self.quarantine.send(RejectedItem::End);
            self.sides.iter_mut().for_each(SideOutlet::end);
        }
    }

    /// Stays until the lane has taken all bad records and its end: the writer waits for them, and what a shard that is
    /// gone had not handed over would be lost.
    fn finish(&mut self) -> Step {
        self.quarantine.offer();
        for side in &mut self.sides {
            side.offer();
        }
        if !self.quarantine.is_clear() || !self.sides.iter().all(SideOutlet::is_clear) {
            return Step::Wait(None);
        }
        if let Some(event) = self.last_words.take() {
            // The control plane is gone only when the process ends.
            drop(self.events.send(event));
        }
        Step::Done
    }
}
