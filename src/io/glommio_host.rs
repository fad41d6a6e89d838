//! Hosts a task on a glommio executor. The only module that names glommio, which has had no release since 0.9.0.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use glommio::timer::Timer;
use glommio::{LocalExecutorBuilder, Placement as Cpu};

use super::{Bell, Clock, Idle, Placement, Step, Task};

/// Memory that the executor registers with io_uring, bytes: shards do their bulk I/O elsewhere, and what is registered
/// counts against the limit on locked memory.
const IO_MEMORY_BYTES: usize = 64 * 1024;

pub(super) fn start<T: Task + 'static>(
    placement: Placement,
    clock: Clock,
    build: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let idle = Idle::new(&placement);
    let (started, outcome) = std::sync::mpsc::sync_channel(1);
    let handle = thread::Builder::new().name(placement.name.clone()).spawn(move || {
        // Pinned by our own hand: glommio takes a refusal for an error, and does not know ids outside its topology.
        super::cpu::pin_or_warn(placement.cpu);
        let executor =
            LocalExecutorBuilder::new(Cpu::Unbound).name(&placement.name).io_memory(IO_MEMORY_BYTES).make();
        match executor {
            Ok(executor) => {
                drop(started.send(Ok(())));
                executor.run(async move { run(&mut build(), &clock, &placement.bell, idle).await });
            }
            Err(error) => drop(started.send(Err(std::io::Error::other(error.to_string())))),
        }
    })?;
    match outcome.recv() {
        Ok(Ok(())) => Ok(handle),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(std::io::Error::other("the shard's thread ended before its executor had started")),
    }
}

async fn run<T: Task>(task: &mut T, clock: &Clock, bell: &Bell, mut idle: Idle) {
    loop {
        match idle.step(task, clock, bell) {
            Step::Again => glommio::yield_if_needed().await,
            Step::Wait(until_us) => {
                let wait =
                    until_us.map(|us| Duration::from_micros(us.saturating_sub(clock.now().monotonic_us)));
                park(bell, wait).await;
                bell.disarm();
                idle.woke(clock);
            }
            Step::Done => return,
        }
    }
}

/// Sleeps until the bell rings or the time is over.
async fn park(bell: &Bell, wait: Option<Duration>) {
    let Some(wait) = wait else { return poll_fn(|context| bell.poll_rung(context)).await };
    let mut timer = pin!(Timer::new(wait));
    poll_fn(|context| match bell.poll_rung(context) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => timer.as_mut().poll(context).map(drop),
    })
    .await;
}
