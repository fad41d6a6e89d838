//! The one door to threads, io_uring and clocks: everything above is synchronous and takes the time as an argument.
//!
//! A [`Task`] is stepped by a host until it is done. The host is a glommio executor on a thread of its own
//! ([`Mode::Uring`]) or a plain thread ([`Mode::Threads`]); the task cannot tell which.

mod bell;
mod blocks;
mod clock;
mod cpu;
mod disk;
mod glommio_host;
mod map;
#[cfg(any(test, feature = "simulation"))]
mod model;
mod probe;
mod storage;
mod thread_host;

use std::sync::Arc;
use std::thread::JoinHandle;

pub use bell::Bell;
pub use clock::Clock;
pub use cpu::{available_cpus, pin_to};
pub use disk::{Disk, survive_file_size_limit};
pub use map::map_file;
#[cfg(any(test, feature = "simulation"))]
pub use model::{Fault, Ignored, Lasting, ModelDisk};
pub use probe::probe_io_uring;
pub use storage::{ALIGNMENT, BLOCK_BYTES, BlockFile, FileKind, Found, Open, Storage, StoredFile, folder_of};

use crate::time::Now;

/// What hosts the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A glommio executor on io_uring.
    Uring,
    /// A plain thread.
    Threads,
}

/// What a step of a task came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is more to do.
    Again,
    /// Nothing to do until the bell rings, or until this time of [`Now::monotonic_us`].
    Wait(Option<u64>),
    /// The task has ended.
    Done,
}

/// Something that is stepped until it is done.
pub trait Task {
    /// Does a bounded amount of work without blocking.
    fn step(&mut self, now: Now) -> Step;
}

/// Where and how a task runs.
pub struct Placement {
    /// The thread's name, at most 15 bytes as the kernel keeps it.
    pub name: String,
    /// The CPU to pin the thread to, if any.
    pub cpu: Option<usize>,
    /// What wakes the task.
    pub bell: Arc<Bell>,
}

/// Starts a thread that builds a task (tasks need not move between threads) and hosts it until it is done.
///
/// # Errors
///
/// If the thread or its executor cannot be started.
pub fn host<T: Task + 'static>(
    mode: Mode,
    placement: Placement,
    clock: Clock,
    build: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    match mode {
        Mode::Uring => glommio_host::start(placement, clock, build),
        Mode::Threads => thread_host::start(placement, clock, build),
    }
}

/// How long an idle host spins before it parks, microseconds: about what it costs to be woken.
const SPIN_US: u64 = 50;

/// Decides for a host whether spinning before it parks pays: it does where the next work comes sooner than a wake takes.
/// A paced or idle pipeline, whose work comes later than that, parks at once.
struct Idle {
    /// When the host parked last, microseconds.
    parked_us: u64,
    /// Whether the last parking was so long that spinning through it would not have paid.
    long: bool,
    /// Whether the thread is not pinned.
    shares_cpu: bool,
}

impl Idle {
    /// A thread that has no CPU to itself never spins: it would take time from one that has work.
    fn new(placement: &Placement) -> Self {
        Self { parked_us: 0, long: false, shares_cpu: placement.cpu.is_none() }
    }

    /// Steps until the task has nothing to do and, where that pays, has gone on having nothing for [`SPIN_US`]; then
    /// arms the bell and looks once more. [`Step::Wait`] means: sleep now.
    fn step<T: Task>(&mut self, task: &mut T, clock: &Clock, bell: &Bell) -> Step {
        let now = clock.now();
        let first = task.step(now);
        let Step::Wait(until_us) = first else { return first };
        // A task that names a time is at rest until then.
        let spins = !self.shares_cpu && !self.long && until_us.is_none();
        let spin_until = now.monotonic_us + if spins { SPIN_US } else { 0 };
        loop {
            let now = clock.now();
            let last = now.monotonic_us >= spin_until;
            if last {
                bell.arm();
            }
            let step = task.step(now);
            if !matches!(step, Step::Wait(_)) {
                bell.disarm();
                return step;
            }
            if last {
                self.parked_us = now.monotonic_us;
                return step;
            }
            std::hint::spin_loop();
        }
    }

    /// The host is awake again.
    fn woke(&mut self, clock: &Clock) {
        self.long = clock.now().monotonic_us - self.parked_us > 2 * SPIN_US;
    }
}
