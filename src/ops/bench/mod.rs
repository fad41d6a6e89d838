//! `bench`: how much a pipeline takes on this machine, and how long its records take.
//!
//! A benchmark runs the pipeline several times, each time afresh, with its own source and steps: as fast as it goes, which is
//! its capacity; then open loop, at rates from [`SHARE_TRIED_FIRST`] of the capacity downwards, until one holds without the lag
//! growing; then open loop at shares of that rate, where latencies are recorded. [`session`] is one run, [`lateness`] what is
//! worked out of it, [`report`] what is found; [`text`] and [`plot`] show it.

mod error;
mod hiccup;
mod lateness;
mod plot;
mod process;
mod report;
mod scratch;
mod session;
mod text;

pub use error::BenchError;
pub use plot::plot;
pub use report::Report;
pub use scratch::Scratch;
pub use session::Session;
pub use text::text;

use self::lateness::{Lag, latencies_us, per_second, written_per_second};
use self::report::{Attempt, Capacity, Level, Percentiles, Snapshots, State, Steps, Sustained, ms};
use self::session::{Demand, Run};
use crate::io::Mode;
use crate::metric::size_text;
use crate::ops::progress::grouped;
use crate::source::{CHUNK_BYTES, Extent};

/// The share of the capacity that is tried first: nothing is left for hiccups at all of it.
const SHARE_TRIED_FIRST: f64 = 0.9;
/// What the next rate that is tried is of the last one, and of what that one came to, at most; and of the last one at least:
/// that nothing was written for a while says little of the pipeline.
const NEXT_OF_TRIED: f64 = 0.95;
const NEXT_OF_WRITTEN: f64 = 0.98;
const NEXT_OF_TRIED_MIN: f64 = 0.5;
/// How many rates are tried.
const ATTEMPTS_MAX: usize = 12;
/// The shares of the sustained rate at which latencies are recorded.
const LEVELS: [f64; 2] = [0.5, 0.8];
/// A run is warm after a quarter of the time that is measured, and after this at the latest, microseconds.
const WARM_US_MAX: u64 = 1_000_000;
/// How long a run has to come up before its first record is due, microseconds, and at most.
const BEGIN_US_MIN: u64 = 50_000;
const BEGIN_US_MAX: u64 = 2_000_000;
/// An input that was read faster than this says nothing of how large one that lasts would be, microseconds.
const EXTRAPOLATED_US_MIN: u64 = 50_000;
/// How many chunks of a file are due a second, so that no record waits long for the others of its chunk.
const CHUNKS_PER_SECOND: f64 = 1000.0;
/// The bytes of a chunk at least: one of its blocks, of which it has 16, should hold a record.
const CHUNK_BYTES_MIN: usize = 4 << 10;

/// A benchmark of a pipeline.
pub struct Bench<'a> {
    session: Session<'a>,
    scratch: Scratch,
    /// How long a run goes before it is measured, and how long it is measured, microseconds.
    warm_us: u64,
    measured_us: u64,
    /// Hears how far it is.
    say: &'a dyn Fn(String),
    notes: Vec<String>,
}

impl<'a> Bench<'a> {
    /// A benchmark that measures `measured_us` of each run; `say` hears how far it is.
    #[must_use]
    pub fn new(session: Session<'a>, scratch: Scratch, measured_us: u64, say: &'a dyn Fn(String)) -> Self {
        let warm_us = (measured_us / 4).min(WARM_US_MAX);
        Self { session, scratch, warm_us, measured_us, say, notes: Vec::new() }
    }

    /// Measures everything; takes some four times as long as is measured of each run, and longer where the first rate does not
    /// hold.
    ///
    /// # Errors
    ///
    /// If the pipeline cannot be run or fails, or there is not enough input to measure anything by.
    pub fn measure(mut self, sinks_discarded: bool) -> Result<Report, BenchError> {
        self.set_snapshots();
        let demand = Demand {
            rate: None,
            begin_us: 0,
            chunk_bytes: CHUNK_BYTES,
            warm_us: self.warm_us,
            measured_us: self.measured_us,
        };
        let run = self.run("capacity", &demand)?;
        let input = self.input(&run)?;
        let capacity = capacity(&run);
        (self.say)(format!("capacity: {} rows/s", rounded(capacity.rows_per_second)));
        let state = run.states.iter().map(State::of).collect();
        let memory_peak_bytes = run.memory_peak_bytes;
        self.note_losses(&run);
        let sustained = self.sustained(&capacity, &input)?;
        let mut latency = Vec::new();
        for share in LEVELS {
            latency.push(self.level(share, &sustained, &input)?);
        }
        Ok(Report {
            version: env!("CARGO_PKG_VERSION"),
            pipeline: self.session.plan.name.clone(),
            shards: self.session.shards,
            host: match self.session.mode {
                Mode::Uring => "io_uring",
                Mode::Threads => "threads",
            },
            sinks_discarded,
            snapshot_every_seconds: ms(self.session.snapshot_every_us) / 1000.0,
            warm_up_seconds: ms(self.warm_us) / 1000.0,
            measured_seconds: ms(self.measured_us) / 1000.0,
            capacity,
            sustained,
            latency,
            state,
            memory_peak_bytes,
            notes: self.notes,
        })
    }

    /// Sees to it that at least one snapshot falls into what is measured.
    fn set_snapshots(&mut self) {
        let every_us = &mut self.session.snapshot_every_us;
        let measured_us = self.measured_us;
        if *every_us > measured_us {
            let declared_us = std::mem::replace(every_us, measured_us / 2);
            self.notes.push(format!(
                "snapshots every {} s rather than every {} s as the file has it, so that some are taken in what is measured",
                seconds(measured_us / 2),
                seconds(declared_us)
            ));
        }
    }

    /// Runs the pipeline.
    fn run(&mut self, what: &str, demand: &Demand) -> Result<Run, BenchError> {
        (self.say)(format!("{what}: running for {} s …", seconds(demand.warm_us + demand.measured_us)));
        let run = self.session.run(self.scratch.next_run(), demand)?;
        if let Some(why) = &run.snapshot_failed {
            self.notes.push(format!("a snapshot was not taken ({what}): {why}"));
        }
        Ok(run)
    }

    /// What the input is like; where it has an end, no more of each run is measured than it is long enough for.
    fn input(&mut self, run: &Run) -> Result<Input, BenchError> {
        let left_us = run.period_us.end - run.period_us.start;
        if run.ended_us.is_some() && left_us < self.measured_us {
            let read_us =
                run.ended_us.zip(run.first_us).map_or(0, |(ended_us, first_us)| ended_us - first_us);
            if left_us < self.measured_us / 2 {
                return Err(self.too_small(run, read_us));
            }
            self.notes.push(format!(
                "the input was read in {} s, so {} s of each run are measured rather than {} s",
                seconds(read_us),
                seconds(left_us),
                seconds(self.measured_us)
            ));
            self.measured_us = left_us;
        }
        if run.counts.rows_in == 0 {
            return Err(BenchError::Small(
                "too few records were read in the time that is measured: a shard takes up to 1 MiB of a file at once\n  help: let it measure for longer, with --for"
                    .to_owned(),
            ));
        }
        let bytes = matches!(run.extent, Some(Extent::Bytes(_)));
        if bytes {
            self.notes.push(
                "files are paced by bytes, at the size of the mean record; what is not in the page cache is read from the disk while it is measured"
                    .to_owned(),
            );
        }
        #[expect(clippy::cast_precision_loss, reason = "a mean has no more digits than a double")]
        let mean = run.total.bytes_in as f64 / run.total.rows_in.max(1) as f64;
        let begin_us = (2 * run.first_us.unwrap_or(0)).clamp(BEGIN_US_MIN, BEGIN_US_MAX);
        Ok(Input { bytes_per_row: bytes.then_some(mean), begin_us })
    }

    fn too_small(&self, run: &Run, read_us: u64) -> BenchError {
        let needed_us = self.warm_us + self.measured_us;
        let size = match run.extent {
            // What takes no time to be read says nothing of what a second of it would be.
            Some(Extent::Bytes(_)) if read_us >= EXTRAPOLATED_US_MIN => {
                let bytes = u128::from(run.total.bytes_in) * u128::from(needed_us) / u128::from(read_us);
                format!(", of about {}", size_text(u64::try_from(bytes).unwrap_or(u64::MAX)))
            }
            _ => String::new(),
        };
        BenchError::Small(format!(
            "the input is too small to measure: it was read in {} s, and {} s of it are needed\n  help: take a larger one{size}, or a shorter --for",
            seconds(read_us),
            seconds(needed_us)
        ))
    }

    /// Notes what was not processed as it should be.
    fn note_losses(&mut self, run: &Run) {
        let total = &run.total;
        for (rows, what) in [
            (total.rejected, "were bad and went to quarantine"),
            (total.late, "came too late for their windows"),
            (total.throttled, "were dropped by `throttle`"),
        ] {
            if rows > 0 {
                self.notes.push(format!("{} of {} records {what}", grouped(rows), grouped(total.rows_in)));
            }
        }
    }

    /// Looks for a rate that holds.
    fn sustained(&mut self, capacity: &Capacity, input: &Input) -> Result<Sustained, BenchError> {
        let half_us = self.measured_us / 2;
        let mut rate = capacity.rows_per_second * SHARE_TRIED_FIRST;
        let mut attempts: Vec<Attempt> = Vec::new();
        while attempts.len() < ATTEMPTS_MAX {
            let what = format!("sustained, {} rows/s", rounded(rate));
            let demand = input.demand(rate, self.warm_us, half_us);
            let period_us = demand.period_us(demand.begin_us);
            let run = self.run(&what, &demand)?;
            let lag = Lag::of(&run.passed, &period_us);
            let held = run.complete && lag.is_some_and(|lag| lag.holds(half_us));
            let written = written_per_second(&run.passed, &period_us);
            attempts.push(Attempt::new(rate, written, lag, held));
            if held {
                let share_of_capacity = rate / capacity.rows_per_second;
                return Ok(Sustained { rows_per_second: rate, share_of_capacity, attempts });
            }
            (self.say)(format!("{what}: the lag grew, {} rows/s were written", rounded(written)));
            rate = next_rate(rate, written);
        }
        Err(BenchError::Unsustained(format!(
            "no rate was found at which the lag does not grow; the last that was tried is {} rows/s, and the capacity {} rows/s\n  help: see that nothing else runs on this machine, or let it measure for longer, with --for",
            rounded(attempts.last().map_or(0.0, |attempt| attempt.rows_per_second)),
            rounded(capacity.rows_per_second)
        )))
    }

    /// Records latencies at a share of the sustained rate.
    fn level(&mut self, share: f64, sustained: &Sustained, input: &Input) -> Result<Level, BenchError> {
        let rate = sustained.rows_per_second * share;
        let what = format!("latency at {:.0}%, {} rows/s", share * 100.0, rounded(rate));
        let demand = input.demand(rate, self.warm_us, self.measured_us);
        let period_us = demand.period_us(demand.begin_us);
        let run = self.run(&what, &demand)?;
        let none = || {
            BenchError::Small(format!(
                "no record was written in the time that is measured ({what})\n  help: let it measure for longer, with --for"
            ))
        };
        let latency_ms = Percentiles::of(&latencies_us(&run.passed, &period_us)).ok_or_else(none)?;
        let hiccup_ms = Percentiles::of(&run.hiccups_us).ok_or_else(none)?;
        if !run.complete {
            self.notes.push(format!(
                "{what}: not all records that were due were written in time, so that the latencies are too low"
            ));
        }
        Ok(Level {
            share_of_sustained: share,
            rows_per_second: rate,
            cpu_seconds_per_million_rows: cpu_us_per_row(&run),
            latency_ms,
            hiccup_ms,
            complete: run.complete,
            snapshots: Snapshots::of(&run.snapshots),
            steps: Steps {
                during_snapshot_ms: Percentiles::of(&run.steps.during_us),
                between_snapshots_ms: Percentiles::of(&run.steps.between_us),
            },
        })
    }
}

/// The rate that is tried after one at which so many rows a second were written.
fn next_rate(tried: f64, written: f64) -> f64 {
    (written * NEXT_OF_WRITTEN).clamp(tried * NEXT_OF_TRIED_MIN, tried * NEXT_OF_TRIED)
}

/// What is known of the input.
struct Input {
    /// The mean, where the source reads bytes.
    bytes_per_row: Option<f64>,
    /// How long a run takes until it reads, with as much again, microseconds.
    begin_us: u64,
}

impl Input {
    /// A run at so many rows a second.
    fn demand(&self, rows_per_second: f64, warm_us: u64, measured_us: u64) -> Demand {
        let rate = rows_per_second * self.bytes_per_row.unwrap_or(1.0);
        let chunk_bytes = self.bytes_per_row.map_or(CHUNK_BYTES, |_| chunk_bytes(rate));
        Demand { rate: Some(rate), begin_us: self.begin_us, chunk_bytes, warm_us, measured_us }
    }
}

/// The chunks in which so many bytes a second are read.
fn chunk_bytes(bytes_per_second: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    let chunk = (bytes_per_second / CHUNKS_PER_SECOND) as usize;
    chunk.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES)
}

fn capacity(run: &Run) -> Capacity {
    let rows = run.counts.rows_in;
    let measured_us = run.period_us.end - run.period_us.start;
    let bytes = run.counts.bytes_in;
    Capacity {
        rows_per_second: per_second(rows, measured_us),
        bytes_per_second: (bytes > 0).then(|| per_second(bytes, measured_us)),
        rows,
        rows_out: run.counts.rows_out,
        seconds: ms(measured_us) / 1000.0,
        cpu_seconds_per_million_rows: cpu_us_per_row(run),
    }
}

/// The time that the process spent on CPUs for each row, microseconds: seconds for a million.
fn cpu_us_per_row(run: &Run) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a mean has no more digits than a double")]
    let cpu_us_per_row = run.cpu_us as f64 / run.counts.rows_in.max(1) as f64;
    cpu_us_per_row
}

/// A rate without its fraction.
fn rounded(rate: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are above 0")]
    let whole = rate.round() as u64;
    grouped(whole)
}

/// Microseconds as seconds, with as many digits as matter.
fn seconds(us: u64) -> String {
    let text = format!("{:.3}", ms(us) / 1000.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_the_digits_that_matter() {
        for (us, expect) in [(10_000_000, "10"), (1_250_000, "1.25"), (499_600, "0.5"), (0, "0")] {
            assert_eq!(seconds(us), expect);
        }
    }

    #[test]
    fn the_next_rate_is_lower_and_not_by_too_much() {
        for (written, expect) in [(2000.0, 950.0), (990.0, 950.0), (900.0, 882.0), (0.0, 500.0)] {
            assert!((next_rate(1000.0, written) - expect).abs() < 1e-9, "{written}");
        }
    }

    #[test]
    fn chunks_are_a_millisecond_long() {
        for (rate, expect) in [(1.0, CHUNK_BYTES_MIN), (1e8, 100_000), (1e12, CHUNK_BYTES)] {
            assert_eq!(chunk_bytes(rate), expect, "{rate}");
        }
    }
}
