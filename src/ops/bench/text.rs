//! What a benchmark has found, for people: aligned, with units.

use std::fmt::Write as _;

use super::report::{Level, Percentiles, Report, Steps};
use super::rounded;
use crate::metric::size_text;
use crate::ops::progress::grouped;

/// The report as lines of text.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut lines = Lines(String::new());
    lines.head(report);
    lines.rates(report);
    lines.latency(&report.latency);
    lines.snapshots(&report.latency);
    lines.state(report);
    for note in &report.notes {
        lines.line(format_args!("note: {note}"));
    }
    lines.0
}

struct Lines(String);

impl Lines {
    fn line(&mut self, line: impl std::fmt::Display) {
        writeln!(self.0, "{line}").expect("a string takes everything");
    }

    fn head(&mut self, report: &Report) {
        let shards = if report.shards == 1 { "shard" } else { "shards" };
        let sinks = if report.sinks_discarded { "output dropped" } else { "output kept" };
        self.line(format_args!(
            "{}: {} {shards} on {}, {sinks}, a snapshot every {} s; {:.3} s measured after {:.3} s of warming up",
            report.pipeline,
            report.shards,
            report.host,
            report.snapshot_every_seconds,
            report.measured_seconds,
            report.warm_up_seconds
        ));
        self.line("");
    }

    fn rates(&mut self, report: &Report) {
        let (capacity, sustained) = (&report.capacity, &report.sustained);
        let bytes = capacity.bytes_per_second.map(|bytes| format!(", {:.0} MB/s", bytes / 1e6));
        self.line(format_args!(
            "capacity   {:>13} rows/s   {:.3} CPU-s per million rows{}",
            rounded(capacity.rows_per_second),
            capacity.cpu_seconds_per_million_rows,
            bytes.unwrap_or_default()
        ));
        let held = sustained.attempts.last();
        let lag = held.and_then(|held| held.lag_middle_ms.zip(held.lag_end_ms));
        let lag =
            lag.map(|(middle, end)| format!(", lag {middle:.1} ms in the middle, {end:.1} ms at the end"));
        self.line(format_args!(
            "sustained  {:>13} rows/s   {:.0}% of the capacity, open loop{}",
            rounded(sustained.rows_per_second),
            sustained.share_of_capacity * 100.0,
            lag.unwrap_or_default()
        ));
        for attempt in sustained.attempts.iter().filter(|attempt| !attempt.held) {
            self.line(format_args!(
                "  not      {:>13} rows/s   {} rows/s were written",
                rounded(attempt.rows_per_second),
                rounded(attempt.written_per_second)
            ));
        }
    }

    fn latency(&mut self, levels: &[Level]) {
        self.line("");
        self.line("latency, ms: from a record's intended time until all output that its piece has caused is written");
        self.heading("rows/s");
        for level in levels {
            let name = format!("{:.0}% of sustained", level.share_of_sustained * 100.0);
            self.percentiles(&name, &rounded(level.rows_per_second), &level.latency_ms);
            self.percentiles("  hiccups", "", &level.hiccup_ms);
        }
        self.line("  (hiccups: how late a thread wakes up meanwhile that only sleeps 1 ms at a time, on CPUs shared with the pipeline)");
    }

    fn snapshots(&mut self, levels: &[Level]) {
        self.line("");
        self.line("steps of a shard, ms: how long it does not look at what comes next; a snapshot's pause is in the longest");
        self.heading("steps");
        for level in levels {
            let Steps { during_snapshot_ms, between_snapshots_ms } = &level.steps;
            let name = |when: &str| format!("{:.0}% {when}", level.share_of_sustained * 100.0);
            for (when, steps) in
                [("between snapshots", between_snapshots_ms), ("during snapshots", during_snapshot_ms)]
            {
                match steps {
                    Some(steps) => self.percentiles(&name(when), &grouped(steps.count), steps),
                    None => self.line(format_args!("  {:<22} {:>13}", name(when), "none")),
                }
            }
            let snapshots = &level.snapshots;
            if snapshots.count > 0 {
                self.line(format_args!(
                    "    snapshots committed: {}, the largest {}, the longest {:.1} ms from request to commit",
                    snapshots.count,
                    size_text(snapshots.bytes_max),
                    snapshots.duration_ms_max
                ));
            }
        }
    }

    fn heading(&mut self, first: &str) {
        self.line(format_args!(
            "  {:<22} {first:>13} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "", "p50", "p90", "p99", "p99.9", "p99.99", "max"
        ));
    }

    fn percentiles(&mut self, name: &str, first: &str, of: &Percentiles) {
        self.line(format_args!(
            "  {name:<22} {first:>13} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>9.3}",
            of.p50, of.p90, of.p99, of.p99_9, of.p99_99, of.max
        ));
    }

    fn state(&mut self, report: &Report) {
        self.line("");
        if !report.state.is_empty() {
            self.line(format_args!(
                "{:<24} {:>13} {:>13} {:>15}",
                "state", "entries", "size", "bytes an entry"
            ));
        }
        for state in &report.state {
            let mean = state.bytes_per_entry.map_or("-".to_owned(), |mean| format!("{mean:.1}"));
            self.line(format_args!(
                "  {:<22} {:>13} {:>13} {mean:>15}",
                state.name,
                grouped(state.entries),
                size_text(state.bytes)
            ));
        }
        self.line(format_args!("peak memory of the process {:>25}", size_text(report.memory_peak_bytes)));
    }
}
