//! `run`: a pipeline from its start to its end, watched by the control plane.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;

use super::load::{load, show};
use super::{Exit, say};
use crate::crash;
use crate::io::{Clock, Disk, Mode, Storage, available_cpus, probe_io_uring, survive_file_size_limit};
use crate::ops::breaker::Breaker;
use crate::ops::closing::Closing;
use crate::ops::notify::notify;
use crate::ops::progress::{Progress, grouped, latency_table, routed, summary, totals};
use crate::ops::signals;
use crate::ops::state_dir::{StateDir, StateDirError};
use crate::ops::states::{StateTotal, outgrown, state_summary, state_totals};
use crate::plan::Plan;
use crate::shard::{
    Event, Identity, LaunchError, QuarantineError, RecoveryError, Rhythm, Running, Settings, SnapshotReport,
    Wish, WriterError, launch, recover,
};
use crate::sink::SinkError;
use crate::snapshot::{Access, Counts, Manifest, SnapshotError, Store};
use crate::table::TableError;
use crate::yaml::ProcessEnvironment;

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The pipeline file.
    #[arg(value_name = "FILE")]
    file: String,
    /// How many shards; without it one per available core.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    cores: Option<u16>,
    /// Where state and quarantine are kept; without it $STATE_DIRECTORY or .millstream/NAME.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<String>,
    /// Replace a value of the file, e.g. source.file.path=in.ndjson.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,
    /// Forget the snapshots there are and start anew.
    #[arg(long)]
    fresh: bool,
    /// Go on from this snapshot (see `snapshot list`) and forget those behind it.
    #[arg(long, value_name = "SNAPSHOT", conflicts_with = "fresh")]
    from: Option<u64>,
    /// Go on although the file has changed in a way that loses state or changes what it means (see `plan`).
    #[arg(long)]
    accept_changes: bool,
    /// What hosts the shards: io_uring (through glommio) or plain threads; auto falls back with a warning.
    #[arg(long, value_enum, default_value = "auto")]
    io: Io,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Io {
    Auto,
    Uring,
    Threads,
}

/// How often the control plane looks after the shards.
const TICK: Duration = Duration::from_millis(100);
/// After which time an output is said to take nothing, microseconds.
const STALL_US: u64 = 3_000_000;
/// How long the writer gets to take unfinished output back.
const ABORT_TICKS: u32 = 100;
/// The same after a second signal, which asks to stop at once: the writer may be held up by whoever reads its output.
const ABORT_TICKS_SIGNAL: u32 = 10;

pub(super) fn main(arguments: &Arguments) -> Exit {
    if crash::is_list_asked_for() {
        for name in crash::POINTS {
            say(name);
        }
        return Exit::Done;
    }
    let loaded = match load(&arguments.file, &arguments.overrides, &ProcessEnvironment) {
        Ok(loaded) => loaded,
        Err(error) => return fail(Exit::Config, &error),
    };
    show(&loaded.documents, &loaded.problems);
    let Some(plan) = loaded.plan else { return Exit::Config };
    // Started before the shards, so that the summary's time is the whole of theirs.
    let clock = Clock::start();
    match start(arguments, &plan) {
        Ok(Started::Running { running, state_dir, recovered }) => {
            let exit = Watch::new(running, &plan, recovered, clock).watch();
            state_dir.ended();
            exit
        }
        Ok(Started::Completed) => Exit::Done,
        Err((exit, error)) => fail(exit, &error),
    }
}

fn fail(exit: Exit, error: &str) -> Exit {
    say(format_args!("error: {error}"));
    exit
}

/// What there is once a run has been started.
#[expect(clippy::large_enum_variant, reason = "made once and taken apart at once")]
enum Started {
    Running {
        running: Running,
        state_dir: StateDir,
        /// The manifest of the snapshot from which it goes on.
        recovered: Option<Manifest>,
    },
    /// The run before had come to its end, and its output has now been made visible.
    Completed,
}

fn start(arguments: &Arguments, plan: &Plan) -> Result<Started, (Exit, String)> {
    let bug = |error: std::io::Error| (Exit::Bug, error.to_string());
    // Before there is a state directory by which others see that it runs: who asks for a snapshot must not end it.
    let signals = signals::catch_requests().map_err(bug)?;
    let mode = mode(arguments.io)?;
    let service = std::env::var("STATE_DIRECTORY").ok();
    let given = arguments.state_dir.as_deref().or(plan.state_dir.as_deref());
    let state_dir =
        StateDir::open(StateDir::locate(given, service.as_deref(), &plan.name)).map_err(|error| {
            let exit = if matches!(error, StateDirError::Locked { .. }) { Exit::Busy } else { Exit::Disk };
            (exit, error.to_string())
        })?;
    let cpus = available_cpus();
    let shards = arguments.cores.map(usize::from).or(plan.cores).unwrap_or(cpus.len());
    let storage: Arc<dyn Storage> = Arc::new(Disk::new(mode));
    let store = Store::new(storage.clone(), state_dir.path());
    let wish = Wish {
        fresh: arguments.fresh,
        from: arguments.from,
        accept_changes: arguments.accept_changes,
        interrupted: state_dir.was_interrupted(),
    };
    let found = recover(plan, storage.as_ref(), &store, Access::Mapped, wish)
        .map_err(|error| (exit_of(&error), error.to_string()))?;
    for note in &found.notes {
        say(note);
    }
    if found.completed {
        state_dir.ended();
        return Ok(Started::Completed);
    }
    let quarantine = match found.recovery.as_ref().and_then(|recovery| recovery.manifest.quarantine.as_ref())
    {
        Some(extent) => state_dir.quarantine_file(&extent.file),
        None => state_dir.quarantine(Clock::start().now().wall_us),
    };
    let begun = state_dir.begin(&quarantine, found.recovery.is_none());
    begun.map_err(|error| (Exit::Disk, format!("failed to use the state directory: {error}")))?;
    let recovered = found.recovery.as_ref().map(|recovery| recovery.manifest.clone());
    let snapshot = plan.snapshot;
    let settings = Settings {
        shards,
        cpus,
        mode,
        quarantine,
        storage,
        owner: state_dir.owner(),
        store,
        identity: Identity {
            pipeline: plan.name.clone(),
            run: found.run,
            fingerprint: plan.fingerprint.clone(),
        },
        rhythm: Rhythm {
            every_us: Some(snapshot.every_ms.unsigned_abs().saturating_mul(1000)),
            keep: snapshot.keep,
            failures_max: snapshot.max_failures,
        },
        first_epoch: found.first_epoch,
        recovery: found.recovery,
        load: None,
    };
    // A write beyond a limit on the size of files is then an error of that write.
    survive_file_size_limit().map_err(bug)?;
    // Before anything is opened, so that no signal ends the process with an unfinished output beside it.
    signals.catch_ends().map_err(bug)?;
    let running = launch(plan, &settings).map_err(|error| match &error {
        LaunchError::Source(_) | LaunchError::Table(TableError::Read { .. }) => {
            (Exit::Unavailable, error.to_string())
        }
        LaunchError::Table(TableError::Content { .. }) => (Exit::BadData, error.to_string()),
        LaunchError::Sink(_) | LaunchError::Quarantine(QuarantineError::Write { .. }) => {
            (Exit::Disk, error.to_string())
        }
        LaunchError::Quarantine(_) | LaunchError::Snapshot(_) => (Exit::BadData, error.to_string()),
        LaunchError::Thread(_) => (Exit::Unavailable, format!("{error}; try fewer --cores or --io threads")),
    })?;
    signals.forward(running.tell.clone()).map_err(bug)?;
    notify("READY=1");
    Ok(Started::Running { running, state_dir, recovered })
}

/// How a run ends that cannot go on from what there is.
fn exit_of(error: &RecoveryError) -> Exit {
    match error {
        RecoveryError::Snapshot(SnapshotError::Io { .. }) => Exit::Disk,
        RecoveryError::Snapshot(_) => Exit::BadData,
        RecoveryError::Sink { .. } | RecoveryError::Folder { .. } => Exit::Disk,
        RecoveryError::Missing { .. } => Exit::Failed,
        RecoveryError::Changed(_) => Exit::Config,
    }
}

/// What hosts the shards; the exit code and the error where that is not to be had.
pub(super) fn mode(io: Io) -> Result<Mode, (Exit, String)> {
    if io == Io::Threads {
        return Ok(Mode::Threads);
    }
    match (probe_io_uring(), io) {
        (Ok(()), _) => Ok(Mode::Uring),
        (Err(cause), Io::Uring) => Err((Exit::Unavailable, format!("{cause}; run with --io threads"))),
        (Err(cause), _) => {
            say(format_args!("warning: {cause}; running on plain threads (--io threads)"));
            Ok(Mode::Threads)
        }
    }
}

/// The control plane of a run.
struct Watch<'a> {
    running: Running,
    plan: &'a Plan,
    /// The names of the gauges of state.
    states: Vec<Arc<str>>,
    clock: Clock,
    progress: Progress,
    /// Watches the windows, where there is event time.
    closing: Option<Closing>,
    breaker: Option<Breaker>,
    latencies_us: Option<Histogram<u64>>,
    /// The manifest of the snapshot from which the run goes on.
    recovered: Option<Manifest>,
    /// How many shards have taken what it holds of their keys.
    restored: usize,
    /// The snapshot that was committed last.
    snapshot: Option<SnapshotReport>,
    /// Set once a signal, or state that has grown too large, has asked for a drain.
    draining: bool,
    /// Since when the output was stalled of which it was said.
    stall_told_us: Option<u64>,
    /// Why the run ends although its input does not.
    ending: Option<(Exit, String)>,
    /// Why the run has failed.
    failed: Option<(Exit, String)>,
    quarantine: Option<PathBuf>,
}

impl<'a> Watch<'a> {
    fn new(running: Running, plan: &'a Plan, recovered: Option<Manifest>, clock: Clock) -> Self {
        let breaker = plan.bad_record.stop_above.map(|limit| Breaker::new(limit, clock.now().monotonic_us));
        let progress = Progress::new(running.extent);
        let closing = plan.time().map(|time| Closing::new(&running.splits, time));
        Self {
            running,
            plan,
            states: plan.states().cloned().collect(),
            clock,
            progress,
            closing,
            breaker,
            latencies_us: None,
            recovered,
            restored: 0,
            snapshot: None,
            draining: false,
            stall_told_us: None,
            ending: None,
            failed: None,
            quarantine: None,
        }
    }

    fn watch(mut self) -> Exit {
        let mut ticks_since_abort = 0;
        loop {
            match self.running.events.recv_timeout(TICK) {
                Ok(Event::Ended { outcome, quarantine, drained }) => {
                    self.quarantine = quarantine;
                    self.draining &= drained;
                    return self.end(outcome);
                }
                Ok(event) => self.hear(event),
                Err(RecvTimeoutError::Timeout) => self.tick(),
                Err(RecvTimeoutError::Disconnected) => {
                    self.fail(Exit::Bug, "all threads have ended".to_owned());
                }
            }
            if let Some((exit, _)) = &self.failed {
                let ticks_max =
                    if matches!(exit, Exit::Signal(_)) { ABORT_TICKS_SIGNAL } else { ABORT_TICKS };
                ticks_since_abort += 1;
                if ticks_since_abort > ticks_max {
                    return self.end(None);
                }
            }
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::ShardEnded { latencies_us, .. } => self.merge(latencies_us),
            Event::SourceFailed(error) => {
                self.fail(Exit::Unavailable, format!("failed to read the input: {error}"));
            }
            Event::BadRecord(record) => {
                let raw = String::from_utf8_lossy(&record.raw).chars().take(200).collect::<String>();
                let (source, position) = (&record.source, record.position);
                let what = format!(
                    "bad record in {source} at byte {position}: {}\n  {raw}\n  (bad_record: fail stops at the first one)",
                    record.message
                );
                self.fail(Exit::BadData, what);
            }
            Event::Written => {
                self.judge(true);
                if self.failed.is_none() {
                    self.running.commit();
                }
            }
            Event::Restored => self.note_restored(),
            Event::NotRestored(what) => self.fail(Exit::BadData, what),
            Event::Snapshot(report) => {
                tracing::debug!(
                    epoch = report.epoch,
                    bytes = report.bytes,
                    microseconds = report.duration_us,
                    "snapshot committed"
                );
                self.snapshot = Some(report);
            }
            Event::SnapshotFailed { epoch, what, fatal } => {
                self.progress.clear();
                say(format_args!("warning: snapshot {epoch} was not taken: {what}"));
                if fatal {
                    self.fail(Exit::Disk, format!("no snapshot can be taken: {what}"));
                }
            }
            Event::Signal(signal) if signal == signals::SNAPSHOT => self.running.snapshot(),
            Event::Signal(signal) if self.draining => {
                self.fail(Exit::Signal(signal), "stopped at once by a second signal".to_owned());
            }
            Event::Signal(_) => self.drain(),
            Event::Ended { .. } => unreachable!("heard by the caller"),
        }
    }

    /// Tells how long it took to take what the snapshot holds, once all shards have.
    fn note_restored(&mut self) {
        self.restored += 1;
        let Some(recovered) = self.recovered.as_ref().filter(|_| self.restored == self.running.metrics.len())
        else {
            return;
        };
        let bytes: u64 = recovered.shards.iter().map(|part| part.bytes).sum();
        let elapsed_ms = self.clock.now().monotonic_us / 1000;
        tracing::info!(bytes, elapsed_ms, "restored");
    }

    fn drain(&mut self) {
        self.draining = true;
        notify("STOPPING=1");
        self.running.drain();
    }

    fn merge(&mut self, latencies_us: Option<Histogram<u64>>) {
        let Some(latencies_us) = latencies_us else { return };
        match &mut self.latencies_us {
            Some(all) => all.add(&latencies_us).expect("the histogram grows by itself"),
            None => self.latencies_us = Some(latencies_us),
        }
    }

    fn tick(&mut self) {
        if self.running.has_panicked() {
            self.fail(
                Exit::Bug,
                "a thread has panicked: this is a bug, please report it with the message above".to_owned(),
            );
        }
        self.judge(false);
        self.limit_memory();
        self.note_stall();
        let (totals, elapsed_us) = (self.totals(), self.clock.now().monotonic_us);
        let look = |closing: &mut Closing| closing.look(&totals, &self.running.metrics, elapsed_us);
        let held_up = self.closing.as_mut().and_then(look);
        self.progress.show(&self.running.metrics, elapsed_us, held_up.as_deref());
    }

    /// Says once of an output that takes nothing for long: everything waits for it, and nobody else could tell why.
    fn note_stall(&mut self) {
        let Some((name, since_us)) = self.running.stalled(STALL_US) else { return };
        if self.stall_told_us.replace(since_us) != Some(since_us) {
            say(format_args!(
                "note: the sink `{name}` has taken nothing for {} s, and all others wait for it: see whether its reader or its disk is held up",
                STALL_US / 1_000_000
            ));
        }
    }

    /// Stops the run if too many records are bad.
    fn judge(&mut self, ended: bool) {
        let Some(breaker) = &mut self.breaker else { return };
        let totals = totals(&self.running.metrics);
        let bad = totals.rejected + routed(&self.running.metrics);
        if breaker.trips(totals.rows_in, bad, self.clock.now().monotonic_us, ended) {
            let what = format!(
                "too many bad records: {bad} of {} (bad_record.stop_above); the output was taken back",
                totals.rows_in
            );
            self.fail(Exit::BadData, what);
        }
    }

    fn totals(&self) -> Vec<StateTotal> {
        state_totals(&self.states, &self.running.metrics)
    }

    /// Stops the run if the steps keep more than they may.
    fn limit_memory(&mut self) {
        let Some(limit_bytes) = self.plan.memory_bytes else { return };
        if let Some(what) = outgrown(&self.totals(), limit_bytes).filter(|_| !self.draining) {
            // What has been read is kept in a last snapshot, from which a run with more memory goes on.
            self.ending = Some((Exit::Memory, what));
            self.drain();
        }
    }

    fn fail(&mut self, exit: Exit, what: String) {
        if self.failed.is_none() {
            self.failed = Some((exit, what));
            self.running.abort();
        }
    }

    fn end(mut self, outcome: Option<Result<(), WriterError>>) -> Exit {
        self.progress.clear();
        if matches!((&outcome, &self.failed), (Some(Ok(())), Some((Exit::Signal(_), _)))) {
            // The second signal came when the output was already becoming visible: the run has succeeded.
            self.failed = None;
        }
        if let Some(Err(error)) = outcome {
            let exit = match &error {
                WriterError::Sink(SinkError::Closed(_)) => Exit::Done,
                WriterError::Quarantine(QuarantineError::Full { .. }) => Exit::BadData,
                _ => Exit::Disk,
            };
            self.failed.get_or_insert((exit, error.to_string()));
        }
        let quarantine = self.quarantine.take().map(|path| path.display().to_string());
        let elapsed_us = self.clock.now().monotonic_us;
        say(summary(&self.running.metrics, elapsed_us, quarantine.as_deref()).trim_end());
        let kept = self.totals();
        let states = state_summary(&kept);
        if !states.is_empty() {
            say(states.trim_end());
        }
        if let Some(latencies_us) = &self.latencies_us {
            say(latency_table(latencies_us).trim_end());
        }
        if let Some(recovered) = &self.recovered {
            let Counts { rows_in, rows_out, rejected, late, .. } =
                recovered.counts.plus(&totals(&self.running.metrics));
            say(format_args!(
                "with what was before snapshot {}: {} rows in, {} out, {} quarantined, {} late",
                recovered.barrier.epoch,
                grouped(rows_in),
                grouped(rows_out),
                grouped(rejected),
                grouped(late)
            ));
        }
        let epoch = self.recovered.as_ref().map(|recovered| recovered.barrier.epoch);
        let resumes = self.snapshot.as_ref().map(|report| report.epoch).or(epoch);
        if let Some((exit, what)) = self.failed {
            let word = if exit == Exit::Done { "note" } else { "error" };
            say(format_args!("{word}: {what}"));
            if let Some(epoch) = resumes.filter(|_| exit != Exit::Done) {
                say(format_args!(
                    "note: nothing is lost: the next run goes on from snapshot {epoch} (or starts anew with --fresh)"
                ));
            }
            return exit;
        }
        if let Some(epoch) = resumes.filter(|_| self.draining) {
            say(format_args!(
                "drained: what was read is written and kept in snapshot {epoch}, from which the next run goes on"
            ));
        }
        let holds = |name: &str| self.plan.sinks.iter().any(|sink| sink.held_in.as_deref() == Some(name));
        let held = kept.iter().filter(|total| holds(&total.name));
        for held in held.filter(|held| self.draining && held.entries > 0) {
            say(format_args!(
                "note: the sink writes final rows, and the input was not read to its end: {} rows that can still be taken back are kept, and are written once a run has read the rest",
                held.entries
            ));
        }
        let silent = totals(&self.running.metrics).rows_out == 0;
        let open = |closing: &Closing| closing.open(&kept, &self.running.metrics, self.draining, silent);
        if let Some(open) = self.closing.as_ref().and_then(open) {
            say(format_args!("note: {open}"));
        }
        if let Some((exit, what)) = self.ending {
            say(format_args!("error: {what}"));
            return exit;
        }
        Exit::Done
    }
}
