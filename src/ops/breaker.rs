//! The breaker: too many bad records in a stretch of time stop the pipeline.

use crate::yaml::Rate;

/// A stretch is judged before its end only once it has so many records, so that a few bad ones at the start of a good
/// input do not stop it.
const RECORDS_MIN: u64 = 10_000;

/// Counts records in stretches of `stop_above`'s time, one after the other.
#[derive(Debug)]
pub struct Breaker {
    limit: Rate,
    started_us: u64,
    /// Records and bad ones before this stretch.
    before: (u64, u64),
}

impl Breaker {
    /// A breaker that begins now.
    #[must_use]
    pub fn new(limit: Rate, now_us: u64) -> Self {
        Self { limit, started_us: now_us, before: (0, 0) }
    }

    /// Whether the pipeline is to stop: given all records and all bad ones so far, the time, and whether the input has
    /// ended, which ends the stretch.
    pub fn trips(&mut self, records: u64, bad: u64, now_us: u64, ended: bool) -> bool {
        let (records_here, bad_here) = (records - self.before.0, bad - self.before.1);
        let over = now_us - self.started_us >= self.limit.per_ms.unsigned_abs() * 1000;
        #[expect(clippy::cast_precision_loss, reason = "counts above 2^53 are out of reach")]
        let (all, bad_count) = (records_here as f64, bad_here as f64);
        let above = bad_count > if self.limit.percent { all * self.limit.count } else { self.limit.count };
        let judged = over || ended || !self.limit.percent || records_here >= RECORDS_MIN;
        if over {
            self.started_us = now_us;
            self.before = (records, bad);
        }
        judged && above
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: Rate = Rate { count: 0.05, percent: true, per_ms: 60_000 };

    #[test]
    fn a_share_is_judged_over_many_records_or_at_the_end() {
        let mut breaker = Breaker::new(SHARE, 0);
        assert!(!breaker.trips(10, 9, 1, false));
        assert!(breaker.trips(10, 9, 1, true));
        assert!(breaker.trips(20_000, 1001, 1, false));
        assert!(!breaker.trips(20_000, 1000, 1, true));
    }

    #[test]
    fn every_stretch_is_judged_by_itself() {
        let mut breaker = Breaker::new(SHARE, 0);
        assert!(!breaker.trips(100, 5, 60_000_000, false));
        assert!(breaker.trips(150, 50, 120_000_000, false));
        let mut count = Breaker::new(Rate { count: 3.0, percent: false, per_ms: 1000 }, 0);
        assert!(!count.trips(3, 3, 10, false));
        assert!(count.trips(4, 4, 20, false));
    }
}
