//! Hosts a task on a plain thread.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use super::{Bell, Clock, Idle, Placement, Step, Task};

pub(super) fn start<T: Task + 'static>(
    placement: Placement,
    clock: Clock,
    build: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let idle = Idle::new(&placement);
    thread::Builder::new().name(placement.name).spawn(move || {
        super::cpu::pin_or_warn(placement.cpu);
        run(&mut build(), &clock, &placement.bell, idle);
    })
}

fn run<T: Task>(task: &mut T, clock: &Clock, bell: &Bell, mut idle: Idle) {
    loop {
        match idle.step(task, clock, bell) {
            Step::Again => {}
            Step::Wait(until_us) => {
                let wait =
                    until_us.map(|us| Duration::from_micros(us.saturating_sub(clock.now().monotonic_us)));
                park(bell, wait);
                bell.disarm();
                idle.woke(clock);
            }
            Step::Done => return,
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Sleeps until the bell rings or the time is over; may return early.
fn park(bell: &Bell, wait: Option<Duration>) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut rung = pin!(std::future::poll_fn(|context| bell.poll_rung(context)));
    if let Poll::Ready(()) = rung.as_mut().poll(&mut Context::from_waker(&waker)) {
        return;
    }
    match wait {
        Some(wait) => thread::park_timeout(wait),
        None => thread::park(),
    }
}
