//! A case: everything that is drawn for one run of the simulation. It is plain data, so that a failure can be told,
//! repeated and made smaller.

use serde::{Deserialize, Serialize};

use super::input::{INPUTS, Input};
use super::pipelines::PIPELINES;

/// How many lives there are at most before the last, in which nothing goes wrong.
const LIVES_MAX: usize = 5;

/// One run of the simulation: a pipeline that is started, disturbed and started again until it has come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Draws what is not said here: the order of steps, what a crash leaves.
    pub seed: u64,
    /// The name of the pipeline.
    pub pipeline: String,
    /// What it reads.
    pub input: Input,
    /// How many snapshots are kept.
    pub keep: usize,
    /// Whether the power goes once more when the run has come to its end.
    pub power_cut_at_end: bool,
    /// One process after the other; nothing goes wrong in the last.
    pub lives: Vec<Life>,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Life {
    /// How many shards.
    pub shards: usize,
    /// How much the lanes hold.
    pub lanes: usize,
    /// How often each task has its turn: the control plane, the writer, the committer, then the shards.
    pub weights: Vec<u32>,
    /// The time between snapshots, microseconds of virtual time; none for none but on request.
    pub snapshot_every_us: Option<u64>,
    /// How long a step takes at most, microseconds of virtual time.
    pub step_us: u64,
    /// Whether tasks are sometimes stepped that sleep.
    pub wakes_for_nothing: bool,
    /// How slow blocks of snapshots are, in polls; none for not at all, and in order.
    pub slow_polls: Option<u32>,
    /// The steps at which a snapshot is asked for.
    pub requests: Vec<u64>,
    /// The step at which the run is asked to drain.
    pub drain: Option<u64>,
    /// The step at which it is stopped at once.
    pub abort: Option<u64>,
    /// What goes wrong on the disk.
    pub faults: Vec<DiskFault>,
    /// How many bytes the disk holds besides what is there, and the step at which there is room again.
    pub full: Option<(usize, u64)>,
    /// Where the process ends before its time.
    pub crash: Option<Crash>,
    /// Whether the power goes when the process has ended, so that the disk forgets what was not synced.
    pub power_cut: bool,
}

/// A fault of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskFault {
    /// At which operation of the life, counted from 1.
    pub operation: u64,
    /// How it fails.
    pub kind: FaultKind,
    /// Whether all later ones fail, too.
    pub for_good: bool,
}

/// How operations of the disk fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultKind {
    /// EIO.
    Io,
    /// ENOSPC.
    Full,
    /// EINTR.
    Interrupted,
    /// Half of a write.
    Short,
}

/// Where a process ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Crash {
    /// Between two steps.
    Step(u64),
    /// In an operation of the disk, counted from 1.
    Operation(u64),
    /// Between two steps, so many steps after its first commit.
    Commit(u64),
}

impl Case {
    /// The case of a seed. What can go wrong is drawn for the whole case first, so that some cases have much of one thing.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let pipeline = PIPELINES[random.usize(..PIPELINES.len())].name.to_owned();
        let input = INPUTS[random.usize(..INPUTS.len())];
        let swarm = Swarm::draw(&mut random);
        let lives = random.usize(1..=LIVES_MAX);
        let mut lives: Vec<Life> = (0..lives).map(|_| swarm.life(&mut random)).collect();
        lives.push(Life { weights: vec![1], ..swarm.life(&mut random).undisturbed() });
        Self { seed, pipeline, input, keep: random.usize(1..4), power_cut_at_end: random.bool(), lives }
    }
}

impl Life {
    /// The same in which nothing goes wrong.
    #[must_use]
    pub fn undisturbed(self) -> Self {
        Self {
            drain: None,
            abort: None,
            faults: Vec::new(),
            full: None,
            crash: None,
            power_cut: false,
            ..self
        }
    }

    /// Whether something is to go wrong that may make it fail.
    #[must_use]
    pub fn may_fail(&self) -> bool {
        self.faults.iter().any(|fault| fault.kind != FaultKind::Short) || self.full.is_some()
    }
}

/// Which things go wrong in a case, and how often.
#[expect(clippy::struct_excessive_bools, reason = "each stands for a thing that is on or off")]
struct Swarm {
    faults: bool,
    full: bool,
    drains: bool,
    aborts: bool,
    requests: bool,
    slow: bool,
    crashes_in_operations: bool,
    power_cuts: bool,
    /// One of all lives may be long.
    steps_max: u64,
    operations_max: u64,
    every_us: u64,
    step_us: u64,
    lanes: usize,
    shards: usize,
    starves: bool,
}

impl Swarm {
    fn draw(random: &mut fastrand::Rng) -> Self {
        let mut one_in = |n: u32| random.u32(..n) == 0;
        let (faults, full, drains, aborts) = (one_in(3), one_in(8), one_in(3), one_in(8));
        let (requests, slow, crashes_in_operations) = (one_in(3), one_in(2), one_in(2));
        let (power_cuts, starves) = (!one_in(4), one_in(2));
        Self {
            faults,
            full,
            drains,
            aborts,
            requests,
            slow,
            crashes_in_operations,
            power_cuts,
            steps_max: [60, 300, 1000, 3000][random.usize(..4)],
            operations_max: [30, 100, 300][random.usize(..3)],
            every_us: [50, 200, 1000, 5000][random.usize(..4)],
            step_us: [1, 10, 50][random.usize(..3)],
            lanes: [1, 1, 2, 4][random.usize(..4)],
            shards: random.usize(1..=5),
            starves,
        }
    }

    fn life(&self, random: &mut fastrand::Rng) -> Life {
        let shards = if random.bool() { self.shards } else { random.usize(1..=5) };
        let often = |random: &mut fastrand::Rng| [1, 1, 4, 30][random.usize(..4)];
        let weights = (0..shards + 3).map(|_| if self.starves { often(random) } else { 1 }).collect();
        let crash = match random.u8(..8) {
            0 => None,
            _ if self.crashes_in_operations => Some(Crash::Operation(random.u64(1..=self.operations_max))),
            _ => Some(Crash::Step(random.u64(1..=self.steps_max))),
        };
        let at = |random: &mut fastrand::Rng, on: bool| {
            (on && random.bool()).then(|| random.u64(1..=self.steps_max))
        };
        let (drain, abort) = (at(random, self.drains), at(random, self.aborts));
        let requests = (0..random.u32(..4)).filter_map(|_| at(random, self.requests)).collect();
        let faults = if self.faults { random.u32(..4) } else { 0 };
        let full = self.full && random.bool();
        Life {
            shards,
            lanes: self.lanes,
            weights,
            snapshot_every_us: (random.u8(..8) > 0).then_some(self.every_us),
            step_us: self.step_us,
            wakes_for_nothing: random.bool(),
            slow_polls: self.slow.then(|| random.u32(..6)),
            requests,
            drain,
            abort,
            faults: (0..faults).map(|_| self.fault(random)).collect(),
            full: full.then(|| (random.usize(..40_000), random.u64(1..=self.steps_max * 2))),
            crash,
            power_cut: self.power_cuts && random.u8(..4) > 0,
        }
    }

    fn fault(&self, random: &mut fastrand::Rng) -> DiskFault {
        let kinds = [FaultKind::Io, FaultKind::Full, FaultKind::Interrupted, FaultKind::Short];
        DiskFault {
            operation: random.u64(1..=self.operations_max),
            kind: kinds[random.usize(..kinds.len())],
            for_good: random.u8(..6) == 0,
        }
    }
}
