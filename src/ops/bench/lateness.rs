//! From the times at which pieces of the input were due and written to latencies, and to whether a pipeline keeps up.

use std::ops::Range;

use hdrhistogram::Histogram;

use crate::shard::Passed;

/// The records of a piece, whose times are spread evenly, are counted at so many of those times at most.
const TIMES_PER_PIECE: u64 = 256;

/// The lag may grow by this share of the time that passes, and by this much in all, microseconds: less is what a scheduler
/// does to any program.
const GROWTH_MAX: f64 = 0.01;
const GROWTH_MIN_US: u64 = 5000;

/// How long each record of the pieces that were due in the period took from its intended time until all output that its piece
/// has caused was written, microseconds.
#[must_use]
pub fn latencies_us(passed: &[Passed], period_us: &Range<u64>) -> Histogram<u64> {
    let mut latencies_us = Histogram::new(3).expect("three digits are possible");
    for piece in passed.iter().filter(|piece| is_in(piece, period_us)) {
        let times = piece.records.min(TIMES_PER_PIECE);
        for time in 0..times {
            // The times between the first and the last, each standing for as many records as the others, or one more.
            let due_us = piece.first_us + (piece.last_us - piece.first_us) * time / (times - 1).max(1);
            let records = (time + 1) * piece.records / times - time * piece.records / times;
            let latency_us = piece.written_us.saturating_sub(due_us);
            latencies_us.record_n(latency_us, records).expect("the histogram grows by itself");
        }
    }
    latencies_us
}

/// Whether all of a piece was due in the period.
fn is_in(piece: &Passed, period_us: &Range<u64>) -> bool {
    piece.first_us >= period_us.start && piece.last_us < period_us.end
}

/// How many records a second had their output written in the period.
#[must_use]
pub fn written_per_second(passed: &[Passed], period_us: &Range<u64>) -> f64 {
    let written = passed.iter().filter(|piece| period_us.contains(&piece.written_us));
    per_second(written.map(|piece| piece.records).sum(), period_us.end - period_us.start)
}

/// `count` in so many microseconds, a second.
#[must_use]
pub fn per_second(count: u64, elapsed_us: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate has no more digits than a double")]
    let per_second = count as f64 * 1e6 / elapsed_us.max(1) as f64;
    per_second
}

/// How far behind a pipeline was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// In the second quarter of the period: the median over its pieces, from when the last record of each was due until its
    /// output was written, microseconds.
    pub middle_us: u64,
    /// The same in the last quarter.
    pub end_us: u64,
}

impl Lag {
    /// How the pieces of the period lagged; none where there are none in one of the quarters.
    #[must_use]
    pub fn of(passed: &[Passed], period_us: &Range<u64>) -> Option<Self> {
        let quarter_us = (period_us.end - period_us.start) / 4;
        let middle = period_us.start + quarter_us..period_us.start + 2 * quarter_us;
        let end = period_us.start + 3 * quarter_us..period_us.end;
        Some(Self { middle_us: median_us(passed, &middle)?, end_us: median_us(passed, &end)? })
    }

    /// Whether it does not grow, over a period of this length.
    #[must_use]
    pub fn holds(&self, period_us: u64) -> bool {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a hundredth of a period"
        )]
        let growth_us = (period_us as f64 / 2.0 * GROWTH_MAX) as u64;
        self.end_us <= self.middle_us + growth_us.max(GROWTH_MIN_US)
    }
}

fn median_us(passed: &[Passed], due_us: &Range<u64>) -> Option<u64> {
    let due = passed.iter().filter(|piece| due_us.contains(&piece.last_us));
    let mut lags: Vec<u64> = due.map(|piece| piece.written_us.saturating_sub(piece.last_us)).collect();
    lags.sort_unstable();
    lags.get(lags.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(records: u64, first_us: u64, last_us: u64, written_us: u64) -> Passed {
        Passed { records, first_us, last_us, written_us }
    }

    #[test]
    fn every_record_counts_from_its_own_time() {
        let check = |pieces: &[Passed], expect: (u64, u64, u64, u64)| {
            let found = latencies_us(pieces, &(1000..2000));
            let median = found.value_at_quantile(0.5);
            assert_eq!((found.len(), found.min(), median, found.max()), expect, "{pieces:?}");
        };
        check(&[piece(1, 1000, 1000, 1007)], (1, 7, 7, 7));
        check(&[piece(5, 1000, 1400, 1500)], (5, 100, 300, 500));
        // Waiting in line counts: it was due long before it was taken.
        check(&[piece(2, 1000, 1001, 1501)], (2, 500, 500, 501));
        // Of many records some stand for others.
        check(&[piece(1000, 1000, 1999, 1999)], (1000, 0, 498, 999));
        // Only what was due in the period counts, whenever it was written.
        check(&[piece(1, 999, 1000, 1500), piece(1, 1999, 2000, 2001)], (0, 0, 0, 0));
        check(&[piece(1, 1990, 1999, 2999)], (1, 1009, 1009, 1009));
    }

    #[test]
    fn a_lag_that_grows_does_not_hold() {
        // 4 s, with a piece every millisecond that is `lag(time)` behind.
        let check = |lag: &dyn Fn(u64) -> u64, expect: bool| {
            let pieces: Vec<Passed> =
                (0..4000).map(|ms| ms * 1000).map(|us| piece(1, us, us, us + lag(us))).collect();
            let found = Lag::of(&pieces, &(0..4_000_000)).unwrap();
            assert_eq!(found.holds(4_000_000), expect, "{found:?}");
        };
        check(&|_| 500, true);
        check(&|_| 400_000, true);
        // 0.5 %, 5 %.
        check(&|us| us / 200, true);
        check(&|us| us / 20, false);
        // Catching up, and a hiccup at the end.
        check(&|us| 1_000_000 - us / 8, true);
        check(&|us| if us > 3_900_000 { 500_000 } else { 100 }, true);
        assert_eq!(Lag::of(&[], &(0..4_000_000)), None);
    }

    #[test]
    fn what_is_written_in_the_period_makes_the_rate() {
        let pieces = [piece(5, 0, 0, 999), piece(7, 0, 0, 1000), piece(9, 0, 0, 2000)];
        assert!((written_per_second(&pieces, &(1000..2000)) - 7000.0).abs() < 1e-9);
    }
}
