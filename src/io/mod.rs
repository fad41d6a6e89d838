//! The one door to threads, io_uring and clocks: everything above is synchronous and takes the time as an argument.
//!
//! A [`Task`] is stepped by a host until it is done. The host is a glommio executor on a thread of its own
//! ([`Mode::Uring`]) or a plain thread ([`Mode::Threads`]); the task cannot tell which.

mod bell;
mod clock;
mod cpu;
mod glommio_host;
mod probe;
mod thread_host;

use std::sync::Arc;
use std::thread::JoinHandle;

pub use bell::Bell;
pub use clock::Clock;
pub use cpu::{available_cpus, pin_to};
pub use probe::probe_io_uring;

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

/// How long an idle host spins before it parks, microseconds: shorter than a wake costs it is worse than none.
const SPIN_US: u64 = 50;

/// Steps until the task has nothing to do and has gone on having nothing for [`SPIN_US`]; then arms the bell and looks
/// once more. [`Step::Wait`] means: sleep now. A task that names a time is at rest until then and is not spun for: one
/// that is woken every millisecond would burn a twentieth of its core.
fn step_or_sleep<T: Task>(task: &mut T, clock: &Clock, bell: &Bell) -> Step {
    let first = task.step(clock.now());
    let Step::Wait(until_us) = first else { return first };
    let spin_us = if until_us.is_some() { 0 } else { SPIN_US };
    let spin_until = clock.now().monotonic_us + spin_us;
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
            return step;
        }
        std::hint::spin_loop();
    }
}
