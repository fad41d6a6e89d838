//! What a benchmark has found, as it is written as JSON.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::lateness::Lag;
use crate::ops::states::StateTotal;
use crate::shard::SnapshotReport;

/// What a benchmark has found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version of the program.
    pub version: &'static str,
    /// The pipeline's name.
    pub pipeline: String,
    /// How many shards.
    pub shards: usize,
    /// What hosts them: `io_uring` or `threads`.
    pub host: &'static str,
    /// Whether the sinks were replaced by ones that drop what they get.
    pub sinks_discarded: bool,
    /// The time between two snapshots.
    pub snapshot_every_seconds: f64,
    /// How long a run goes before it is measured.
    pub warm_up_seconds: f64,
    /// How long it is measured.
    pub measured_seconds: f64,
    /// What it takes at most.
    pub capacity: Capacity,
    /// What it takes for good.
    pub sustained: Sustained,
    /// How long records take, at shares of the sustained rate.
    pub latency: Vec<Level>,
    /// What the steps kept at the end of the measurement of the capacity, in which the most records were read.
    pub state: Vec<State>,
    /// The most memory of the process in that run, bytes.
    pub memory_peak_bytes: u64,
    /// What whoever reads the figures should know.
    pub notes: Vec<String>,
}

/// How many records are taken where there are always more.
#[derive(Clone, Debug, Serialize)]
pub struct Capacity {
    /// Records a second.
    pub rows_per_second: f64,
    /// Bytes a second, where the source reads bytes.
    pub bytes_per_second: Option<f64>,
    /// How many records were read in the measured time.
    pub rows: u64,
    /// How many rows were handed to the sink meanwhile.
    pub rows_out: u64,
    /// The measured time.
    pub seconds: f64,
    /// The time that the process spent on CPUs for a million records.
    pub cpu_seconds_per_million_rows: f64,
}

/// The highest rate that was tried at which the lag does not grow.
#[derive(Clone, Debug, Serialize)]
pub struct Sustained {
    /// Records a second.
    pub rows_per_second: f64,
    /// Its share of the capacity.
    pub share_of_capacity: f64,
    /// All rates that were tried, from the highest; the last one held.
    pub attempts: Vec<Attempt>,
}

/// A rate that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// Records a second that were due.
    pub rows_per_second: f64,
    /// Records a second whose output was written.
    pub written_per_second: f64,
    /// The lag in the middle of the measured time, milliseconds; none where nothing was written.
    pub lag_middle_ms: Option<f64>,
    /// The lag at its end.
    pub lag_end_ms: Option<f64>,
    /// Whether it did not grow.
    pub held: bool,
}

impl Attempt {
    /// An attempt that came to this lag.
    #[must_use]
    pub fn new(rows_per_second: f64, written_per_second: f64, lag: Option<Lag>, held: bool) -> Self {
        Self {
            rows_per_second,
            written_per_second,
            lag_middle_ms: lag.map(|lag| ms(lag.middle_us)),
            lag_end_ms: lag.map(|lag| ms(lag.end_us)),
            held,
        }
    }
}

/// How long records take at a rate.
#[derive(Clone, Debug, Serialize)]
pub struct Level {
    /// The share of the sustained rate.
    pub share_of_sustained: f64,
    /// Records a second.
    pub rows_per_second: f64,
    /// The time that the process spent on CPUs for a million records.
    pub cpu_seconds_per_million_rows: f64,
    /// From the intended time of each record until all output that its piece has caused is written.
    pub latency_ms: Percentiles,
    /// How late a thread woke up meanwhile that only sleeps: what the machine alone does.
    pub hiccup_ms: Percentiles,
    /// Whether all that was due was written in time; if not, the latencies are those of what was.
    pub complete: bool,
    /// The snapshots committed meanwhile.
    pub snapshots: Snapshots,
    /// How long the steps of a shard took.
    pub steps: Steps,
}

/// Snapshots committed while it was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshots {
    /// How many.
    pub count: usize,
    /// The bytes of the largest.
    pub bytes_max: u64,
    /// The longest time from the request to the commit, milliseconds.
    pub duration_ms_max: f64,
}

impl Snapshots {
    /// What they came to.
    #[must_use]
    pub fn of(reports: &[SnapshotReport]) -> Self {
        Self {
            count: reports.len(),
            bytes_max: reports.iter().map(|report| report.bytes).max().unwrap_or(0),
            duration_ms_max: ms(reports.iter().map(|report| report.duration_us).max().unwrap_or(0)),
        }
    }
}

/// How long the steps of all shards took in which something moved: a step is the time for which a shard does not look at
/// what comes next, so the pause that a snapshot makes is in the longest of them.
#[derive(Clone, Debug, Serialize)]
pub struct Steps {
    /// While the shard captured or wrote its part of a snapshot; none where there was no such step.
    pub during_snapshot_ms: Option<Percentiles>,
    /// All others.
    pub between_snapshots_ms: Option<Percentiles>,
}

/// Percentiles of a time, milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Percentiles {
    /// How many there are.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// The 50th percentile.
    pub p50: f64,
    /// The 90th.
    pub p90: f64,
    /// The 99th.
    pub p99: f64,
    /// The 99.9th.
    pub p99_9: f64,
    /// The 99.99th.
    pub p99_99: f64,
    /// The longest.
    pub max: f64,
    /// Percentile and time, ascending, for a plot; no further than there are enough of them.
    pub curve: Vec<(f64, f64)>,
}

/// How many points of a curve there are for each further nine.
const POINTS_PER_NINE: u32 = 20;
/// The last percentile of a curve is 99.999.
const NINES_MAX: f64 = 5.0;

impl Percentiles {
    /// The percentiles of times in microseconds; none where there are none.
    #[must_use]
    pub fn of(times_us: &Histogram<u64>) -> Option<Self> {
        let at = |quantile: f64| ms(times_us.value_at_quantile(quantile));
        (!times_us.is_empty()).then(|| Self {
            count: times_us.len(),
            mean: times_us.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: ms(times_us.max()),
            curve: curve(times_us),
        })
    }
}

/// From the median on, evenly by the number of nines, to where only one of all is beyond.
fn curve(times_us: &Histogram<u64>) -> Vec<(f64, f64)> {
    #[expect(clippy::cast_precision_loss, reason = "only its order of magnitude matters")]
    let nines_max = (times_us.len() as f64).log10().min(NINES_MAX);
    let begin = 2.0_f64.log10();
    let nines = (0..).map(|point| begin + f64::from(point) / f64::from(POINTS_PER_NINE));
    let nines = nines.take_while(|nines| *nines < nines_max).chain((nines_max > begin).then_some(nines_max));
    nines
        .map(|nines| {
            let quantile = 1.0 - 10.0_f64.powf(-nines);
            (quantile * 100.0, ms(times_us.value_at_quantile(quantile)))
        })
        .collect()
}

/// What a step keeps.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    /// Its name.
    pub name: String,
    /// Its entries: one a key, and a window where there are windows.
    pub entries: u64,
    /// What they take, bytes.
    pub bytes: u64,
    /// The same for each, the key's own bytes included; none where there are none.
    pub bytes_per_entry: Option<f64>,
}

impl State {
    /// What a step keeps on all shards.
    #[must_use]
    pub fn of(total: &StateTotal) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a mean has no more digits than a double")]
        let mean = total.bytes as f64 / total.entries as f64;
        Self {
            name: total.name.to_string(),
            entries: total.entries,
            bytes: total.bytes,
            bytes_per_entry: (total.entries > 0).then_some(mean),
        }
    }
}

/// Microseconds in milliseconds.
#[must_use]
pub fn ms(us: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a duration of 2^53 microseconds is not measured")]
    let ms = us as f64 / 1000.0;
    ms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_as_far_as_there_are_values() {
        let mut times_us = Histogram::new(3).unwrap();
        assert!(Percentiles::of(&times_us).is_none());
        times_us.record(7).unwrap();
        assert_eq!(Percentiles::of(&times_us).unwrap().curve, []);
        for us in 1..=1000 {
            times_us.record(us * 1000).unwrap();
        }
        let found = Percentiles::of(&times_us).unwrap();
        let (first, last) = (found.curve[0], found.curve[found.curve.len() - 1]);
        assert!((first.0 - 50.0).abs() < 1e-9 && (last.0 - 99.9).abs() < 1e-3, "{first:?} {last:?}");
        assert!(found.curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{:?}", found.curve);
        assert!(found.p50 <= found.p90 && found.p99_99 <= found.max, "{found:?}");
    }
}
