//! Progress on a terminal, and the summary at the end of a run.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::sync::Arc;

use hdrhistogram::Histogram;

use super::closing::time_text;
use crate::metric::ShardMetrics;
use crate::snapshot::Counts;
use crate::source::Extent;
use crate::time::{WATERMARK_MAX, WATERMARK_MIN};

/// The sums over all shards.
#[must_use]
pub fn totals(metrics: &[Arc<ShardMetrics>]) -> Counts {
    let counts = metrics.iter().map(|shard| Counts {
        rows_in: shard.rows_in.get(),
        rows_out: shard.rows_out.get(),
        bytes_in: shard.bytes_in.get(),
        rejected: shard.rejected.get(),
        late: shard.late.get(),
        throttled: shard.throttled.get(),
    });
    counts.fold(Counts::default(), |sum, counts| sum.plus(&counts))
}

/// How many records could not be read and went into streams, over all shards.
#[must_use]
pub fn routed(metrics: &[Arc<ShardMetrics>]) -> u64 {
    metrics.iter().map(|shard| shard.routed.get()).sum()
}

/// A line on the terminal that is written over and over.
pub struct Progress {
    shown: bool,
    extent: Option<Extent>,
}

impl Progress {
    /// Shown only where stderr is a terminal.
    #[must_use]
    pub fn new(extent: Option<Extent>) -> Self {
        Self { shown: std::io::stderr().is_terminal(), extent }
    }

    /// Shows how far the run is after `elapsed_us`, and what holds its windows up where something does.
    pub fn show(&self, metrics: &[Arc<ShardMetrics>], elapsed_us: u64, held_up: Option<&str>) {
        if self.shown {
            let mut line = progress_line(totals(metrics), self.extent, least_watermark(metrics), elapsed_us);
            if let Some(held_up) = held_up {
                push(&mut line, held_up);
            }
            // A terminal that is gone is no reason to stop.
            drop(write!(std::io::stderr(), "\r\x1b[K{line}"));
        }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.shown {
            drop(write!(std::io::stderr(), "\r\x1b[K"));
        }
    }
}

fn least_watermark(metrics: &[Arc<ShardMetrics>]) -> i64 {
    metrics.iter().map(|shard| shard.watermark.get().watermark_ms).min().unwrap_or(WATERMARK_MIN)
}

fn progress_line(totals: Counts, extent: Option<Extent>, watermark_ms: i64, elapsed_us: u64) -> String {
    let mut line = format!("{} rows", grouped(totals.rows_in));
    push(&mut line, &format!("{} rows/s", grouped(per_second(totals.rows_in, elapsed_us))));
    let (done, all) = match extent {
        Some(Extent::Bytes(all)) => (totals.bytes_in, all),
        Some(Extent::Rows(all)) => (totals.rows_in, all),
        None => (0, 0),
    };
    if let Some(percent) = done.saturating_mul(100).checked_div(all) {
        push(&mut line, &format!("{percent}%"));
        if let Some(left_us) = elapsed_us.saturating_mul(all.saturating_sub(done)).checked_div(done) {
            push(&mut line, &format!("ETA {}s", left_us.div_ceil(1_000_000)));
        }
    }
    if watermark_ms != WATERMARK_MIN && watermark_ms != WATERMARK_MAX {
        push(&mut line, &format!("watermark {}", time_text(watermark_ms)));
    }
    if totals.rejected > 0 {
        push(&mut line, &format!("{} quarantined", grouped(totals.rejected)));
    }
    line
}

fn push(line: &mut String, part: &str) {
    line.push_str(" · ");
    line.push_str(part);
}

fn per_second(count: u64, elapsed_us: u64) -> u64 {
    u64::try_from(u128::from(count) * 1_000_000 / u128::from(elapsed_us.max(1))).unwrap_or(u64::MAX)
}

/// `1234567` as `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What a run came to, for stderr.
#[must_use]
pub fn summary(metrics: &[Arc<ShardMetrics>], elapsed_us: u64, quarantine: Option<&str>) -> String {
    let totals = totals(metrics);
    let seconds = format!("{}.{:03}", elapsed_us / 1_000_000, elapsed_us / 1000 % 1000);
    let more = |count, what| if count == 0 { String::new() } else { format!(", {} {what}", grouped(count)) };
    let throttled = more(totals.throttled, "throttled") + &more(routed(metrics), "bad records in streams");
    let mut text = format!(
        "{} rows in, {} out, {} quarantined, {} late{throttled}; {seconds} s, {} rows/s\n",
        grouped(totals.rows_in),
        grouped(totals.rows_out),
        grouped(totals.rejected),
        grouped(totals.late),
        grouped(per_second(totals.rows_in, elapsed_us)),
    );
    let shares = metrics.iter().enumerate().map(|(number, shard)| {
        let percent = (shard.rows_in.get() * 100).checked_div(totals.rows_in).unwrap_or(0);
        format!("shard {number} {percent}%")
    });
    let shares: Vec<String> = shares.collect();
    writeln!(text, "read by {}", shares.join(", ")).expect("a string takes everything");
    if let Some(path) = quarantine {
        writeln!(text, "bad records are in {path}").expect("a string takes everything");
    }
    text
}

/// The percentiles of a latency, microseconds, for stderr.
#[must_use]
pub fn latency_table(latencies_us: &Histogram<u64>) -> String {
    let mut text =
        format!("latency of {} rows, from the intended time to the sink\n", grouped(latencies_us.len()));
    for (name, quantile) in
        [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)]
    {
        let latency_us = latencies_us.value_at_quantile(quantile);
        writeln!(text, "  {name:<7} {:>6}.{:03} ms", latency_us / 1000, latency_us % 1000)
            .expect("a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_the_run_is() {
        let totals = Counts { rows_in: 1_234_567, bytes_in: 50, rejected: 2, ..Counts::default() };
        let line = progress_line(totals, Some(Extent::Bytes(200)), 1500, 2_000_000);
        assert_eq!(
            line,
            "1,234,567 rows · 617,283 rows/s · 25% · ETA 6s · watermark 1970-01-01T00:00:01.5 · 2 quarantined"
        );
        assert_eq!(progress_line(Counts::default(), None, WATERMARK_MIN, 0), "0 rows · 0 rows/s");
    }

    #[test]
    fn the_summary_tells_shares() {
        let metrics: Vec<Arc<ShardMetrics>> = vec![Arc::default(), Arc::default()];
        metrics[0].rows_in.add(3);
        metrics[1].rows_in.add(1);
        metrics[1].late.add(1);
        let text = summary(&metrics, 1_500_000, Some("q.ndjson"));
        assert_eq!(
            text,
            "4 rows in, 0 out, 0 quarantined, 1 late; 1.500 s, 2 rows/s\nread by shard 0 75%, shard 1 25%\nbad records are in q.ndjson\n"
        );
    }
}
