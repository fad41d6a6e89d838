//! The machine's clocks, read here and nowhere else.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::time::Now;

/// Reads the clocks; copies share one start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    start_wall_us: i64,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start_wall_us = i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX);
        Self { start: Instant::now(), start_wall_us }
    }

    /// The time now. Wall time is the start's plus what has passed: it does not jump with the system's clock.
    #[must_use]
    pub fn now(&self) -> Now {
        let monotonic_us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let wall_us = self.start_wall_us.saturating_add_unsigned(monotonic_us);
        Now { monotonic_us, wall_us }
    }
}
