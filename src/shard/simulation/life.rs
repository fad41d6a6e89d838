//! One process of a case: what the machine goes on from is looked for, the machine is put together and stepped by one
//! thread in a drawn order, the control plane is played, until the run has come to its end or to nothing.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Waker};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::case::{Case, Crash, DiskFault, FaultKind, Life};
use super::coverage::Coverage;
use crate::io::{Bell, Fault, Lasting, Mode, ModelDisk, Step, Storage, Task};
use crate::metric::ShardMetrics;
use crate::plan::Plan;
use crate::shard::assemble::{Capacity, Machine, Parts, Recipe, assemble};
use crate::shard::committer::{Identity, Rhythm};
use crate::shard::launch::{Event, Settings};
use crate::shard::recovery::{Wish, recover};
use crate::shard::step::Shard;
use crate::shard::writer::{Verdict, Writer};
use crate::snapshot::{Access, Counts, Store};
use crate::time::Now;

/// Where state is kept on the modelled disk.
pub(super) const STATE: &str = "/state";
/// After how many failures in a row the run stops.
const FAILURES_MAX: u32 = 3;
/// More steps than this are a run that never ends.
const STEPS_MAX: u64 = 400_000;

/// How a process has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself: everything is written, or kept in a last snapshot.
    Done,
    /// The run before had come to its end, which was seen only now.
    Completed,
    /// It was stopped at once, as it was asked to.
    Aborted,
    /// It has failed.
    Failed(String),
    /// In the middle.
    Crashed,
}

/// What a process has come to.
#[derive(Debug)]
pub(super) struct LifeReport {
    /// How it has ended.
    pub end: End,
    /// What it has counted, with what was before.
    pub counts: Counts,
    /// The file of bad records.
    pub quarantine: PathBuf,
    /// Whether it has committed an epoch or gone on from one.
    pub committed: bool,
    /// What it did, for those who count.
    pub process: Process,
    /// A hash of what was stepped when.
    pub hash: u64,
}

/// What a process of a case did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// How many shards the snapshot was of from which it went on; none where it began afresh or did not begin.
    pub resumed_from_shards: Option<usize>,
    /// How many epochs it has committed.
    pub commits: u64,
    /// How many operations the disk has done for it.
    pub operations: u64,
    /// What it has counted, with what was before.
    pub counts: Counts,
}

/// What lasts from one process to the next.
pub(super) struct Machines<'a> {
    /// What is run.
    pub plan: &'a Plan,
    /// What is written to.
    pub disk: ModelDisk,
    /// The order of things.
    pub random: fastrand::Rng,
    /// The time, which goes on between processes.
    pub now: Now,
    /// What has happened.
    pub coverage: &'a mut Coverage,
}

impl Machines<'_> {
    /// The snapshots.
    pub fn store(&self) -> Store {
        Store::new(Arc::new(self.disk.clone()), STATE.as_ref())
    }

    /// Runs one process.
    ///
    /// # Errors
    ///
    /// What must never happen: in words.
    pub fn live(&mut self, case: &Case, number: usize) -> Result<LifeReport, String> {
        let life = &case.lives[number];
        self.now.wall_us += 1_000_000;
        self.disk.slow(life.slow_polls);
        self.disk.limit(life.full.map(|(bytes, _)| self.disk.used_bytes() + bytes));
        for DiskFault { operation, kind, for_good } in &life.faults {
            let lasting = if *for_good { Lasting::ForGood } else { Lasting::Once };
            self.disk.fail_operation(*operation, fault(*kind), lasting);
        }
        if let Some(Crash::Operation(operation)) = life.crash {
            self.disk.fail_operation(operation, Fault::Crash, Lasting::ForGood);
        }
        let (fired, before) = (self.disk.fired().len(), self.disk.operations());
        let outcome = self.start_and_run(case, number);
        for fault in &self.disk.fired()[fired..] {
            self.coverage.note(match fault {
                Fault::Io => "faults: EIO",
                Fault::Full => "faults: ENOSPC",
                Fault::Interrupted => "faults: EINTR",
                Fault::Short => "faults: short write",
                Fault::Crash => "crashes in operations",
            });
        }
        let mut report = outcome?;
        report.process.operations = self.disk.operations() - before;
        report.process.counts = report.counts;
        // The process is gone, whatever its memory held: nothing more comes from it.
        self.disk.stop();
        if life.power_cut {
            self.coverage.note("power cuts");
            self.disk.crash(&mut self.random);
        } else {
            self.disk.kill(&mut self.random);
        }
        self.disk.limit(None);
        Ok(report)
    }

    fn start_and_run(&mut self, case: &Case, number: usize) -> Result<LifeReport, String> {
        let life = &case.lives[number];
        let storage: Arc<dyn Storage> = Arc::new(self.disk.clone());
        let store = self.store();
        let quarantine = PathBuf::from(format!("{STATE}/quarantine/{:020}.ndjson", self.now.wall_us));
        let mut report = LifeReport {
            end: End::Crashed,
            counts: Counts::default(),
            quarantine,
            committed: false,
            process: Process::default(),
            hash: 0,
        };
        let found = match recover(
            self.plan,
            storage.as_ref(),
            &store,
            Access::Read,
            Wish { interrupted: true, ..Wish::default() },
        ) {
            Ok(found) => found,
            Err(error) => {
                report.end = self.not_started(error.to_string());
                return Ok(report);
            }
        };
        if self.disk.is_crashed() {
            return Ok(report);
        }
        if found.completed {
            self.coverage.note("ends seen by the next process");
            report.end = End::Completed;
            return Ok(report);
        }
        self.coverage.note(if found.recovery.is_some() {
            "restarts from a snapshot"
        } else {
            "fresh starts"
        });
        // The id of a run is drawn by the process; here it is the seed's.
        let run = if found.recovery.is_some() { found.run } else { format!("{:032x}", self.random.u128(..)) };
        if let Some(recovery) = &found.recovery {
            report.committed = true;
            report.process.resumed_from_shards = Some(recovery.manifest.shards.len());
            report.counts = recovery.manifest.counts;
            if recovery.manifest.shards.len() != life.shards {
                self.coverage.note("restarts on another number of shards");
            }
            if let Some(extent) = &recovery.manifest.quarantine {
                report.quarantine = PathBuf::from(format!("{STATE}/quarantine/{}", extent.file));
            }
        }
        let settings = Settings {
            shards: life.shards,
            cpus: Vec::new(),
            mode: Mode::Threads,
            quarantine: report.quarantine.clone(),
            storage,
            owner: "simulated".to_owned(),
            store,
            identity: Identity {
                pipeline: self.plan.name.clone(),
                run,
                fingerprint: self.plan.fingerprint.clone(),
            },
            rhythm: Rhythm { every_us: life.snapshot_every_us, keep: case.keep, failures_max: FAILURES_MAX },
            first_epoch: found.first_epoch,
            recovery: found.recovery,
            load: None,
        };
        let capacity = Capacity {
            batches: life.lanes,
            blocks: life.lanes,
            rejected: life.lanes,
            chunk_bytes: case.input.chunk_bytes,
        };
        let (tell, events) = channel();
        let machine = match assemble(self.plan, &settings, &capacity, self.now, &tell) {
            Ok(machine) => machine,
            Err(error) => {
                report.end = self.not_started(error.to_string());
                return Ok(report);
            }
        };
        let mut running = Running::new(machine, events, life);
        let outcome = running.run(self);
        let counts = running.metrics.iter().map(|shard| counts(shard));
        report.counts = counts.fold(report.counts, |sum, counts| sum.plus(&counts));
        report.hash = running.hash;
        report.committed |= running.commits > 0;
        report.process.commits = running.commits;
        let crashed = self.disk.is_crashed();
        // What is dropped with the machine does nothing any more: in a process that ends, nothing is dropped.
        self.disk.stop();
        drop(running);
        report.end = if crashed { End::Crashed } else { outcome? };
        Ok(report)
    }

    fn not_started(&mut self, error: String) -> End {
        if self.disk.is_crashed() {
            return End::Crashed;
        }
        self.coverage.note("failed starts");
        End::Failed(error)
    }
}

fn fault(kind: FaultKind) -> Fault {
    match kind {
        FaultKind::Io => Fault::Io,
        FaultKind::Full => Fault::Full,
        FaultKind::Interrupted => Fault::Interrupted,
        FaultKind::Short => Fault::Short,
    }
}

fn counts(shard: &ShardMetrics) -> Counts {
    Counts {
        rows_in: shard.rows_in.get(),
        rows_out: shard.rows_out.get(),
        bytes_in: shard.bytes_in.get(),
        rejected: shard.rejected.get(),
        late: shard.late.get(),
        throttled: shard.throttled.get(),
    }
}

/// A machine at work.
struct Running<'a> {
    life: &'a Life,
    tasks: Vec<Worker>,
    events: Receiver<Event>,
    /// What the control plane has not heard yet.
    heard: VecDeque<Event>,
    metrics: Vec<Arc<ShardMetrics>>,
    controls: Controls,
    hash: u64,
    /// The number of the step.
    steps: u64,
    commits: u64,
    /// At which step the first epoch was committed.
    first_commit: Option<u64>,
    /// Why the run was stopped at once.
    failed: Option<String>,
    aborted: bool,
}

/// What the control plane holds of a machine.
struct Controls {
    cuts: crate::source::Cuts,
    verdict: Arc<Verdict>,
    requests: Arc<crate::shard::committer::Requests>,
    bells: Vec<Arc<Bell>>,
    writer_bell: Arc<Bell>,
    committer_bell: Arc<Bell>,
}

/// A task and what its host knows of it.
struct Worker {
    role: Role,
    bell: Arc<Bell>,
    step: Step,
    /// Whether it has nothing to do and listens for its bell, and looks once more before it sleeps, as all hosts do.
    looks_again: bool,
    weight: u32,
}

enum Role {
    Control,
    Unbuilt(Option<Box<Parts>>, Arc<Recipe>),
    Task(Box<dyn Task>),
    Shard(Box<Shard>),
    Writer(Box<Writer>),
}

impl Worker {
    fn is_awake(&self, now: Now) -> bool {
        match self.step {
            Step::Again => true,
            Step::Done => false,
            Step::Wait(until_us) => {
                self.looks_again
                    || until_us.is_some_and(|until_us| until_us <= now.monotonic_us)
                    || self.bell.poll_rung(&mut Context::from_waker(Waker::noop())).is_ready()
            }
        }
    }

    /// Steps the task.
    fn step(&mut self, now: Now) {
        if !self.looks_again {
            self.bell.disarm();
        }
        if let Role::Unbuilt(parts, recipe) = &mut self.role {
            let parts = parts.take().expect("a shard is built once");
            let shard: Shard = recipe.build(*parts);
            self.role = Role::Shard(Box::new(shard));
            return;
        }
        self.step = match &mut self.role {
            Role::Task(task) => task.step(now),
            Role::Shard(shard) => shard.step(now),
            Role::Writer(writer) => writer.step(now),
            Role::Control | Role::Unbuilt(..) => return,
        };
        let was_last_look = std::mem::take(&mut self.looks_again);
        if !matches!(self.step, Step::Wait(_)) {
            self.bell.disarm();
        } else if !was_last_look {
            self.bell.arm();
            self.looks_again = true;
        }
    }
}

impl<'a> Running<'a> {
    fn new(machine: Machine, events: Receiver<Event>, life: &'a Life) -> Self {
        let mut tasks = Vec::new();
        let mut add = |role, bell: &Arc<Bell>| {
            let weight = life.weights.get(tasks.len()).copied().unwrap_or(1).max(1);
            tasks.push(Worker { role, bell: bell.clone(), step: Step::Again, looks_again: false, weight });
        };
        add(Role::Control, &Arc::default());
        add(Role::Writer(Box::new(machine.writer)), &machine.writer_bell);
        add(Role::Task(Box::new(machine.committer)), &machine.committer_bell);
        for (parts, bell) in machine.parts.into_iter().zip(&machine.bells) {
            add(Role::Unbuilt(Some(Box::new(parts)), machine.recipe.clone()), bell);
        }
        Self {
            life,
            tasks,
            events,
            heard: VecDeque::new(),
            metrics: machine.metrics,
            controls: Controls {
                cuts: machine.cuts,
                verdict: machine.verdict,
                requests: machine.requests,
                bells: machine.bells,
                writer_bell: machine.writer_bell,
                committer_bell: machine.committer_bell,
            },
            hash: 0,
            steps: 0,
            commits: 0,
            first_commit: None,
            failed: None,
            aborted: false,
        }
    }

    /// Steps the machine to its end.
    fn run(&mut self, machines: &mut Machines<'_>) -> Result<End, String> {
        loop {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Err(format!(
                    "the run does not come to its end: {} commits, {}",
                    self.commits,
                    self.sleeping()
                ));
            }
            if machines.disk.is_crashed() {
                return Ok(End::Crashed);
            }
            if self.is_to_crash() {
                machines.coverage.note("crashes between steps");
                return Ok(End::Crashed);
            }
            self.ask(machines);
            let task = self.pick(machines)?;
            if task == 0 {
                if let Some(end) = self.hear(machines)? {
                    return Ok(end);
                }
            } else {
                self.tasks[task].step(machines.now);
            }
            self.heard.extend(self.events.try_iter());
            self.tasks[0].step = if self.heard.is_empty() { Step::Wait(None) } else { Step::Again };
            self.tasks[0].bell.arm();
            machines.now.monotonic_us += machines.random.u64(..=self.life.step_us);
            machines.now.wall_us += 1;
            let step = format!("{task} {:?} {}", self.tasks[task].step, self.heard.len());
            self.hash = xxh3_64_with_seed(step.as_bytes(), self.hash);
        }
    }

    /// Whether the process ends before this step.
    fn is_to_crash(&self) -> bool {
        match (self.life.crash, self.first_commit) {
            (Some(Crash::Step(step)), _) => step == self.steps,
            (Some(Crash::Commit(steps)), Some(first)) => self.steps >= first + steps,
            _ => false,
        }
    }

    /// Asks for what the case wants at this step.
    fn ask(&mut self, machines: &mut Machines<'_>) {
        let (life, steps) = (self.life, self.steps);
        if life.requests.contains(&steps) {
            machines.coverage.note("snapshots asked for");
            self.controls.requests.snapshot();
            self.controls.committer_bell.ring();
        }
        if life.drain == Some(steps) {
            machines.coverage.note("drains");
            self.controls.requests.drain();
            self.controls.committer_bell.ring();
        }
        if life.abort == Some(steps) {
            machines.coverage.note("stops at once");
            self.aborted = true;
            self.controls.abort();
        }
        if life.full.is_some_and(|(_, until)| until == steps) {
            machines.coverage.note("full disks with room again");
            machines.disk.limit(None);
        }
    }

    /// The task that is stepped next. Where all sleep, the time passes until one wakes.
    fn pick(&mut self, machines: &mut Machines<'_>) -> Result<usize, String> {
        if self.life.wakes_for_nothing && machines.random.u8(..16) == 0 {
            let task = machines.random.usize(1..self.tasks.len());
            if self.tasks[task].step != Step::Done {
                return Ok(task);
            }
        }
        loop {
            let awake = |worker: &Worker| if worker.is_awake(machines.now) { worker.weight } else { 0 };
            let weights: Vec<u32> = self.tasks.iter().map(awake).collect();
            let sum: u32 = weights.iter().sum();
            if sum > 0 {
                let mut drawn = machines.random.u32(..sum);
                let found = weights.iter().position(|weight| {
                    let found = drawn < *weight;
                    drawn = drawn.wrapping_sub(*weight);
                    found
                });
                return Ok(found.expect("drawn below the sum"));
            }
            let next_us = self.tasks.iter().filter_map(|worker| match worker.step {
                Step::Wait(until_us) => until_us,
                _ => None,
            });
            let Some(next_us) = next_us.min() else {
                return Err(format!("everything sleeps and nothing wakes it: {}", self.sleeping()));
            };
            machines.now.monotonic_us = next_us;
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Err("the run waits for ever".to_owned());
            }
        }
    }

    /// What everything waits for.
    fn sleeping(&self) -> String {
        let told = self.tasks.iter().enumerate().skip(1).map(|(task, worker)| match &worker.role {
            Role::Shard(shard) => format!("task {task} {:?} {}", worker.step, shard.waits_for()),
            Role::Writer(writer) => format!("task {task} {:?} {}", worker.step, writer.waits_for()),
            _ => format!("task {task} {:?}", worker.step),
        });
        told.collect::<Vec<_>>().join("; ")
    }

    /// The control plane hears one event. Yields how the process has ended, once it has.
    fn hear(&mut self, machines: &mut Machines<'_>) -> Result<Option<End>, String> {
        let Some(event) = self.heard.pop_front() else { return Ok(None) };
        match event {
            Event::ShardEnded { .. } | Event::Restored | Event::Signal(_) => {}
            Event::Written => {
                if self.failed.is_none() && !self.aborted {
                    self.controls.verdict.decide(Verdict::COMMIT);
                    self.controls.writer_bell.ring();
                }
            }
            Event::Snapshot(_) => {
                machines.coverage.note("commits");
                self.commits += 1;
                self.first_commit.get_or_insert(self.steps);
            }
            Event::SnapshotFailed { what, fatal, .. } => {
                if !self.life.may_fail() {
                    return Err(format!("a snapshot has failed although nothing went wrong: {what}"));
                }
                machines.coverage.note(if fatal { "failed for good" } else { "snapshots abandoned" });
                if fatal {
                    self.fail(what);
                }
            }
            Event::NotRestored(what) => self.fail(what),
            Event::SourceFailed(error) => return Err(format!("the input cannot be read: {error}")),
            Event::BadRecord(record) => return Err(format!("a bad record has ended the run: {record:?}")),
            Event::Ended { outcome, .. } => {
                let end = match (outcome, self.failed.take()) {
                    (_, Some(what)) => End::Failed(what),
                    (Some(Ok(())), None) => End::Done,
                    (Some(Err(error)), None) => End::Failed(error.to_string()),
                    (None, None) if self.aborted => End::Aborted,
                    (None, None) => End::Failed("it was given up for no reason".to_owned()),
                };
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    fn fail(&mut self, what: String) {
        if self.failed.is_none() {
            self.failed = Some(what);
            self.controls.abort();
        }
    }
}

impl Controls {
    /// As the control plane does it.
    fn abort(&self) {
        self.cuts.abandon();
        self.bells.iter().for_each(|bell| bell.ring());
        self.verdict.decide(Verdict::ABANDON);
        self.writer_bell.ring();
    }
}
