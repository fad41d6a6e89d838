//! One run of the pipeline under a load: started afresh, measured for a while once it is warm, and drained.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::error::BenchError;
use super::hiccup::Hiccups;
use super::process;
use crate::io::{Clock, Disk, Mode, Storage, survive_file_size_limit};
use crate::ops::progress::totals;
use crate::ops::signals;
use crate::ops::state_dir::{StateDir, StateDirError};
use crate::ops::states::{StateTotal, outgrown, state_totals};
use crate::plan::Plan;
use crate::shard::{
    Event, Identity, Load, Passed, Rhythm, Running, Settings, SnapshotReport, StepTimes, Wish, WriterError,
    launch, recover,
};
use crate::snapshot::{Access, Counts, Store};
use crate::source::Extent;

/// How often the run is looked after.
const TICK: Duration = Duration::from_millis(10);
/// How long the pieces of the period may take to be written behind its end, besides half the period, microseconds.
const GRACE_US: u64 = 1_000_000;
/// In how many steps the count of records has to rise at least where there is no rate, or the measuring goes on for up to so
/// many times as long.
const STEPS_MIN: u64 = 4;
const PATIENCE: u64 = 10;
/// How long a run that is given up gets to end, microseconds.
const ABORT_US: u64 = 10_000_000;

/// What all runs of a benchmark have in common.
pub struct Session<'a> {
    /// What is run.
    pub plan: &'a Plan,
    /// How many shards.
    pub shards: usize,
    /// The CPUs they are pinned to, in turn.
    pub cpus: Vec<usize>,
    /// What hosts them.
    pub mode: Mode,
    /// The time between two snapshots, microseconds.
    pub snapshot_every_us: u64,
    /// Tells of signals.
    pub signals: Receiver<Event>,
}

/// What is asked of a run.
#[derive(Clone, Debug)]
pub struct Demand {
    /// How much a second, in the unit of the input's extent; none for as fast as it is taken.
    pub rate: Option<f64>,
    /// The bytes of a chunk of input, where the source reads bytes.
    pub chunk_bytes: usize,
    /// When the first record is due where there is a rate, microseconds behind the start: a run may be up by then.
    pub begin_us: u64,
    /// How long it goes from there before it is measured, from the first record that is read where there is no rate.
    pub warm_us: u64,
    /// How long it is measured.
    pub measured_us: u64,
}

impl Demand {
    /// What is measured of a run that goes from `begin_us` on.
    pub fn period_us(&self, begin_us: u64) -> Range<u64> {
        let from_us = begin_us + self.warm_us;
        from_us..from_us + self.measured_us
    }
}

/// What came of a run.
pub struct Run {
    /// When a record was seen to have been read, microseconds behind the start; none where none was.
    pub first_us: Option<u64>,
    /// What of it was measured, microseconds behind the start.
    pub period_us: Range<u64>,
    /// What happened in that time.
    pub counts: Counts,
    /// The time that the process spent on CPUs meanwhile, microseconds.
    pub cpu_us: u64,
    /// Everything since the start.
    pub total: Counts,
    /// How large the input is, where that is known.
    pub extent: Option<Extent>,
    /// When the input came to its end, microseconds behind the start, where it did.
    pub ended_us: Option<u64>,
    /// The pieces of the input whose output was written, where there is a rate.
    pub passed: Vec<Passed>,
    /// Whether those were all that were due in the period.
    pub complete: bool,
    /// What the steps kept when the measuring ended.
    pub states: Vec<StateTotal>,
    /// The snapshots committed until then.
    pub snapshots: Vec<SnapshotReport>,
    /// Why a snapshot was not taken, if one was not.
    pub snapshot_failed: Option<String>,
    /// How long the steps of the shards took.
    pub steps: StepTimes,
    /// How late a sleeping thread woke up meanwhile, microseconds.
    pub hiccups_us: Histogram<u64>,
    /// The most memory of the process during the run, bytes.
    pub memory_peak_bytes: u64,
}

impl Session<'_> {
    /// Runs the pipeline with its state in `folder`.
    ///
    /// # Errors
    ///
    /// If it cannot be run, fails, or is stopped by a signal.
    pub fn run(&self, folder: PathBuf, demand: &Demand) -> Result<Run, BenchError> {
        let scratch =
            |path: &std::path::Path, error| BenchError::Scratch { path: path.display().to_string(), error };
        let state_dir = StateDir::open(folder.clone()).map_err(|error| match error {
            StateDirError::Io { path, source } => BenchError::Scratch { path, error: source },
            StateDirError::Locked { .. } => BenchError::Bug("the scratch directory is in use"),
        })?;
        let storage: Arc<dyn Storage> = Arc::new(Disk::new(self.mode));
        let store = Store::new(storage.clone(), state_dir.path());
        let wish = Wish { fresh: true, ..Wish::default() };
        let found = recover(self.plan, storage.as_ref(), &store, Access::Mapped, wish)?;
        let quarantine = state_dir.quarantine(Clock::start().now().wall_us);
        state_dir.begin(&quarantine, true).map_err(|error| scratch(&folder, error))?;
        let ((passed, pieces), (steps, step_times)) = (channel(), channel());
        let settings = Settings {
            shards: self.shards,
            cpus: self.cpus.clone(),
            mode: self.mode,
            quarantine,
            storage,
            owner: state_dir.owner(),
            store,
            identity: Identity {
                pipeline: self.plan.name.clone(),
                run: found.run,
                fingerprint: self.plan.fingerprint.clone(),
            },
            rhythm: Rhythm {
                every_us: Some(self.snapshot_every_us),
                keep: self.plan.snapshot.keep,
                failures_max: self.plan.snapshot.max_failures,
            },
            first_epoch: found.first_epoch,
            recovery: None,
            load: Some(Load {
                rate: demand.rate,
                begin_us: demand.begin_us,
                chunk_bytes: demand.chunk_bytes,
                period_us: demand.period_us(demand.begin_us),
                passed,
                steps,
            }),
        };
        survive_file_size_limit().map_err(BenchError::Thread)?;
        process::forget_memory_peak();
        let running = launch(self.plan, &settings)?;
        // The ways on which it is told what was measured end with the machine.
        drop(settings);
        let mut watch = Watch::new(self, demand, &running, pieces);
        let outcome = watch.watch(&running);
        let mut run = watch.end(&running, outcome)?;
        if !running.join() {
            return Err(BenchError::Bug("a thread has panicked"));
        }
        for times in step_times.try_iter() {
            for (all, of_shard) in
                [(&mut run.steps.during_us, times.during_us), (&mut run.steps.between_us, times.between_us)]
            {
                all.add(&of_shard).expect("the histogram grows by itself");
            }
        }
        state_dir.ended();
        drop(state_dir);
        std::fs::remove_dir_all(&folder).map_err(|error| scratch(&folder, error))?;
        Ok(run)
    }
}

/// What had happened at a time.
struct Reading {
    at_us: u64,
    counts: Counts,
    cpu_us: u64,
}

impl Reading {
    fn take(at_us: u64, running: &Running) -> Self {
        Self { at_us, counts: totals(&running.metrics), cpu_us: process::cpu_us() }
    }
}

/// Looks after a run.
struct Watch<'a> {
    session: &'a Session<'a>,
    demand: &'a Demand,
    clock: Clock,
    /// The names of the gauges of state.
    names: Vec<Arc<str>>,
    pieces: Receiver<Passed>,
    passed: Vec<Passed>,
    first_us: Option<u64>,
    /// How many records have been seen to have been read.
    rows_seen: u64,
    begin: Option<Reading>,
    /// When more records had been read in the period last.
    latest: Option<Reading>,
    /// How many times that was seen.
    steps: u64,
    end: Option<Reading>,
    hiccups: Option<Hiccups>,
    hiccups_us: Option<Histogram<u64>>,
    states: Vec<StateTotal>,
    snapshots: Vec<SnapshotReport>,
    snapshot_failed: Option<String>,
    ended_us: Option<u64>,
    drains: bool,
    complete: bool,
    /// Why the run has failed, and when it was given up.
    failed: Option<(BenchError, u64)>,
}

impl<'a> Watch<'a> {
    fn new(
        session: &'a Session<'a>,
        demand: &'a Demand,
        running: &Running,
        pieces: Receiver<Passed>,
    ) -> Self {
        Self {
            session,
            demand,
            clock: running.clock,
            names: session.plan.states().cloned().collect(),
            pieces,
            passed: Vec::new(),
            first_us: None,
            rows_seen: 0,
            begin: None,
            latest: None,
            steps: 0,
            end: None,
            hiccups: None,
            hiccups_us: None,
            states: Vec::new(),
            snapshots: Vec::new(),
            snapshot_failed: None,
            ended_us: None,
            drains: false,
            complete: false,
            failed: None,
        }
    }

    /// Looks after it until it has ended; what the writer says then, if anything.
    fn watch(&mut self, running: &Running) -> Option<Result<(), WriterError>> {
        loop {
            match running.events.recv_timeout(TICK) {
                Ok(Event::Ended { outcome, .. }) => return outcome,
                Ok(event) => self.hear(event, running),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.fail(BenchError::Bug("all threads have ended"), running);
                    return None;
                }
            }
            let now_us = self.clock.now().monotonic_us;
            match &self.failed {
                Some((_, since_us)) if now_us > since_us + ABORT_US => return None,
                Some(_) => {}
                None => self.look(now_us, running),
            }
        }
    }

    fn hear(&mut self, event: Event, running: &Running) {
        match event {
            Event::SourceFailed(error) => self.fail(BenchError::Source(error), running),
            Event::BadRecord(record) => {
                let what = format!(
                    "bad record in {} at byte {}: {} (bad_record: fail stops at the first one)",
                    record.source, record.position, record.message
                );
                self.fail(BenchError::BadRecord(what), running);
            }
            Event::Written => {
                if !self.drains {
                    let now_us = self.clock.now().monotonic_us;
                    self.ended_us = Some(now_us);
                    if self.begin.is_some() && self.end.is_none() {
                        self.finish(now_us, running);
                    }
                }
                running.commit();
            }
            Event::Snapshot(report) if !self.drains => self.snapshots.push(report),
            Event::SnapshotFailed { what, fatal: true, .. } => self.fail(BenchError::Snapshot(what), running),
            Event::SnapshotFailed { what, .. } => self.snapshot_failed = Some(what),
            Event::NotRestored(_) => self.fail(BenchError::Bug("a fresh run restores nothing"), running),
            Event::ShardEnded { .. }
            | Event::Restored
            | Event::Snapshot(_)
            | Event::Signal(_)
            | Event::Ended { .. } => {}
        }
    }

    /// Begins and ends the measuring when it is time, and the run when all that was due in between is written.
    fn look(&mut self, now_us: u64, running: &Running) {
        self.passed.extend(self.pieces.try_iter());
        if let Some(Event::Signal(signal)) = self.session.signals.try_iter().find(is_stop) {
            return self.fail(BenchError::Signal(signal), running);
        }
        let paced = self.demand.rate.is_some();
        let rows = totals(&running.metrics).rows_in;
        let more = std::mem::replace(&mut self.rows_seen, rows) != rows;
        if more {
            self.first_us.get_or_insert(now_us);
        }
        let begin_us = if paced { Some(self.demand.begin_us) } else { self.first_us };
        let Some(Range { start, end }) = begin_us.map(|begin_us| self.demand.period_us(begin_us)) else {
            return;
        };
        // Records are counted by the piece: without a rate it is measured from the beginning of one to that of another.
        if self.begin.is_none() && now_us >= start && (paced || more) {
            match Hiccups::start() {
                Ok(hiccups) => self.hiccups = Some(hiccups),
                Err(error) => return self.fail(BenchError::Thread(error), running),
            }
            self.begin = Some(Reading::take(now_us, running));
        }
        if self.begin.is_some() && self.end.is_none() {
            if let Some(what) = self.outgrown(running) {
                return self.fail(BenchError::Memory(what), running);
            }
            if more {
                self.latest = Some(Reading::take(now_us, running));
                self.steps += 1;
            }
            let enough = paced || self.steps > STEPS_MIN || now_us >= end + (end - start) * PATIENCE;
            if now_us >= end && enough {
                self.finish(now_us, running);
            }
        }
        if self.end.is_none() || self.drains || self.ended_us.is_some() {
            return;
        }
        self.complete =
            self.demand.rate.is_none() || self.passed.last().is_some_and(|last| last.last_us >= end);
        if self.complete || now_us >= end + (end - start) / 2 + GRACE_US {
            self.drains = true;
            running.drain();
        }
    }

    fn outgrown(&self, running: &Running) -> Option<String> {
        let limit_bytes = self.session.plan.memory_bytes?;
        outgrown(&state_totals(&self.names, &running.metrics), limit_bytes)
    }

    /// Ends the measuring.
    fn finish(&mut self, now_us: u64, running: &Running) {
        let latest = self.latest.take().filter(|_| self.demand.rate.is_none());
        self.end = Some(latest.unwrap_or_else(|| Reading::take(now_us, running)));
        self.hiccups_us = self.hiccups.take().map(Hiccups::stop);
        self.states = state_totals(&self.names, &running.metrics);
    }

    fn fail(&mut self, error: BenchError, running: &Running) {
        if self.failed.is_none() {
            self.failed = Some((error, self.clock.now().monotonic_us));
            running.abort();
        }
    }

    /// What was measured.
    fn end(mut self, running: &Running, outcome: Option<Result<(), WriterError>>) -> Result<Run, BenchError> {
        if let Some(hiccups) = self.hiccups.take() {
            drop(hiccups.stop());
        }
        if let Some((error, _)) = self.failed {
            return Err(error);
        }
        match outcome {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(BenchError::Writer(error)),
            None => return Err(BenchError::Bug("the output was taken back, and nobody asked for it")),
        }
        self.passed.extend(self.pieces.try_iter());
        let total = totals(&running.metrics);
        let none = || Reading { at_us: 0, counts: Counts::default(), cpu_us: 0 };
        let (begin, end) = (self.begin.unwrap_or_else(none), self.end.unwrap_or_else(none));
        Ok(Run {
            first_us: self.first_us,
            period_us: begin.at_us..end.at_us.max(begin.at_us),
            counts: difference(&end.counts, &begin.counts),
            cpu_us: end.cpu_us.saturating_sub(begin.cpu_us),
            total,
            extent: running.extent,
            ended_us: self.ended_us,
            passed: self.passed,
            complete: self.complete || self.ended_us.is_some(),
            states: self.states,
            snapshots: self.snapshots,
            snapshot_failed: self.snapshot_failed,
            steps: StepTimes::default(),
            hiccups_us: self.hiccups_us.unwrap_or_else(|| StepTimes::default().between_us),
            memory_peak_bytes: process::memory_peak_bytes(),
        })
    }
}

/// Whether it is a signal that stops the benchmark.
fn is_stop(event: &Event) -> bool {
    matches!(event, Event::Signal(signal) if *signal != signals::SNAPSHOT)
}

fn difference(after: &Counts, before: &Counts) -> Counts {
    Counts {
        rows_in: after.rows_in.saturating_sub(before.rows_in),
        rows_out: after.rows_out.saturating_sub(before.rows_out),
        bytes_in: after.bytes_in.saturating_sub(before.bytes_in),
        rejected: after.rejected.saturating_sub(before.rejected),
        late: after.late.saturating_sub(before.late),
        throttled: after.throttled.saturating_sub(before.throttled),
    }
}
