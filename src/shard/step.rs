//! The core of a shard: stages stepped one by one, the last one first, without blocking and without reading a clock.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::launch::Event;
use super::outlet::Outlet;
use super::side::SideOutlet;
use super::stage::{KeyedStage, Progress, SourceStage};
use crate::config::BadRecordAction;
use crate::exchange::LaneSender;
use crate::io::{Step, Task};
use crate::metric::ShardMetrics;
use crate::operator::Chain;
use crate::record::BadRecord;
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
    /// Bad records on their way to the quarantine; none ends the lane.
    pub quarantine: LaneSender<Option<BadRecord>>,
    /// What happens to bad records.
    pub bad_record: BadRecordAction,
    /// What it has done.
    pub metrics: Arc<ShardMetrics>,
    /// How many steps there have been since it has told how much its operators keep.
    pub steps_ungauged: u32,
    /// The way to the control plane.
    pub events: Sender<Event>,
    /// Set once the shard has ended.
    pub ended: bool,
    /// What the control plane is told once the quarantine's lane is clear.
    pub last_words: Option<Event>,
}

impl Task for Shard {
    fn step(&mut self, now: Now) -> Step {
        if self.ended {
            return self.finish();
        }
        match self.try_step(now) {
            Ok(Progress::Moved) => {
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
                let latencies_us = match self.last_outlet() {
                    Outlet::Rows(sink) => sink.latencies_us(),
                    _ => None,
                };
                self.end(Event::ShardEnded { shard: self.number, latencies_us })
            }
            Err(Failure::Source(error)) => self.end(Event::SourceFailed(error)),
            Err(Failure::Bad(record)) => self.end(Event::BadRecord(record)),
        }
    }
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
        // Rows of side streams that find no room hold the shard: the writer takes them whatever else it waits for.
        if !self.sides.iter().all(SideOutlet::is_clear) {
            return Ok(if moved { Progress::Moved } else { Progress::Idle(None) });
        }
        let (mut done, mut wake_us) = (true, None);
        for stage in self.stages.iter_mut().rev() {
            for _ in 0..BATCHES_A_TURN {
                let progress = stage.step(now, &self.metrics);
                moved |= progress == Progress::Moved;
                done &= progress == Progress::Done;
                if progress != Progress::Moved {
                    break;
                }
            }
        }
        // Bad records that find no room hold the source back: nothing is lost, and nothing is kept without bound.
        if self.quarantine.is_clear() {
            match self.source.step(now, &self.metrics).map_err(Failure::Source)? {
                Progress::Moved => (moved, done) = (true, false),
                Progress::Idle(until_us) => (wake_us, done) = (until_us, false),
                Progress::Done => {}
            }
        } else {
            done = false;
        }
        self.report(now)?;
        moved |= !moved && self.last_outlet().settle();
        let clear = self.quarantine.is_clear() && self.sides.iter().all(SideOutlet::is_clear);
        Ok(match (moved, done && clear) {
            (_, true) => Progress::Done,
            (true, false) => Progress::Moved,
            (false, false) => Progress::Idle(wake_us),
        })
    }

    /// Tells how much the operators keep and where the watermark stands, if anything can have changed since it was told last.
    fn gauge(&mut self) {
        if std::mem::take(&mut self.steps_ungauged) == 0 {
            return;
        }
        if let Some(first) = self.stages.first() {
            self.metrics.watermark.set(&first.watermarks());
        }
        let chains = std::iter::once(&self.source.chain).chain(self.stages.iter().map(|stage| &stage.chain));
        let states = chains.flat_map(Chain::states);
        for (gauge, state) in self.metrics.states.iter().zip(states) {
            gauge.set(state.entries as u64, state.bytes as u64, state.next_close_ms);
        }
    }

    /// Passes on what the stages tell besides their rows.
    fn report(&mut self, now: Now) -> Result<(), Failure> {
        let mut rejected = std::mem::take(&mut self.source.rejected);
        let chains = std::iter::once(&mut self.source.chain)
            .chain(self.stages.iter_mut().map(|stage| &mut stage.chain));
        for Chain { context, .. } in chains {
            rejected.append(&mut context.rejected);
            self.metrics.late.add(std::mem::take(&mut context.late));
            self.metrics.throttled.add(std::mem::take(&mut context.throttled));
            for rows in context.side.drain(..) {
                for side in &mut self.sides {
                    side.send(&rows, now);
                }
            }
        }
        self.metrics.rejected.add(rejected.len() as u64);
        for record in rejected {
            if self.bad_record == BadRecordAction::Fail {
                return Err(Failure::Bad(record));
            }
            self.quarantine.send(Some(record));
        }
        Ok(())
    }

    fn last_outlet(&mut self) -> &mut Outlet {
        match self.stages.last_mut() {
            Some(stage) => stage.outlet(),
            None => self.source.outlet(),
        }
    }

    /// Ends the shard: the quarantine's lane is closed, and then the control plane is told.
    fn end(&mut self, event: Event) -> Step {
        self.ended = true;
        self.last_words = Some(event);
        self.quarantine.send(None);
        self.sides.iter_mut().for_each(SideOutlet::end);
        self.finish()
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
