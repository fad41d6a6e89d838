//! The machine's own hiccups: how much later than it asked for a thread wakes up that does nothing but sleep.
//!
//! What shows here no program on this machine could have avoided in that time, be it the kernel's scheduler, a hypervisor or
//! the other threads of the pipeline that is measured. The idea is jHiccup's (Gil Tene): a sleep of a millisecond over and
//! over, and where one took n milliseconds too long, those that should have begun meanwhile count as well.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::io::Clock;

/// How long each sleep is to be, microseconds.
const SLEEP_US: u64 = 1000;

/// Listens for hiccups on a thread of its own.
pub struct Hiccups {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Histogram<u64>>,
}

impl Hiccups {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn start() -> io::Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let thread = thread::Builder::new().name("hiccups".to_owned()).spawn(move || {
            let clock = Clock::start();
            let mut late_us = Histogram::new(3).expect("three digits are possible");
            while !stopped.load(Ordering::Relaxed) {
                let before_us = clock.now().monotonic_us;
                thread::sleep(Duration::from_micros(SLEEP_US));
                let slept_us = clock.now().monotonic_us - before_us;
                note(&mut late_us, slept_us.saturating_sub(SLEEP_US));
            }
            late_us
        })?;
        Ok(Self { stop, thread })
    }

    /// How late the thread woke up, microseconds.
    #[must_use]
    pub fn stop(self) -> Histogram<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the thread only sleeps and counts")
    }
}

fn note(late_us: &mut Histogram<u64>, by_us: u64) {
    late_us.record_correct(by_us, SLEEP_US).expect("the histogram grows by itself");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_hiccup_counts_for_all_who_would_have_met_it() {
        let mut late_us = Histogram::new(3).unwrap();
        note(&mut late_us, 50);
        note(&mut late_us, 3500);
        assert_eq!((late_us.len(), late_us.min(), late_us.max()), (4, 50, 3501));
    }

    #[test]
    fn every_sleep_is_counted() {
        let hiccups = Hiccups::start().unwrap();
        thread::sleep(Duration::from_millis(5));
        assert!(!hiccups.stop().is_empty());
    }
}
