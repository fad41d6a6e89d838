//! Why no window closes: where the watermark stands, and which input holds it back.

use std::sync::Arc;

use arrow::datatypes::TimeUnit;

use super::progress::grouped;
use super::states::StateTotal;
use crate::metric::{ShardMetrics, WatermarkReport};
use crate::record::SqlType;
use crate::record::text::{TimestampStyle, write_timestamp};
use crate::source::TimeOf;
use crate::time::{WATERMARK_MAX, WATERMARK_MIN, duration_text};

/// For how long no open window may close before the progress line says why, microseconds.
const LONG_US: u64 = 10_000_000;

/// Watches the windows of a run.
#[derive(Debug)]
pub struct Closing {
    splits: Vec<Arc<str>>,
    out_of_order_ms: i64,
    idle_after_ms: i64,
    /// Whether event times are instants rather than local times.
    zoned: bool,
    /// The end of the window that closes next, and since when it has been that one, microseconds of the run.
    next: Option<(i64, u64)>,
}

impl Closing {
    /// A watch over the windows of an input with these splits and this event time.
    #[must_use]
    pub fn new(splits: &[Arc<str>], time: &TimeOf) -> Self {
        Self {
            splits: splits.to_vec(),
            out_of_order_ms: time.out_of_order_ms,
            idle_after_ms: time.idle_after_ms,
            zoned: matches!(time.expression.data_type(), SqlType::TimestampLtz(_)),
            next: None,
        }
    }

    /// Looks at what is open after `elapsed_us` of the run. Returns why nothing has closed, where that is long ago.
    pub fn look(
        &mut self,
        totals: &[StateTotal],
        metrics: &[Arc<ShardMetrics>],
        elapsed_us: u64,
    ) -> Option<String> {
        let next_ms = next_close_ms(totals);
        self.next = match (self.next, next_ms) {
            (Some((before_ms, since_us)), Some(now_ms)) if now_ms <= before_ms => Some((now_ms, since_us)),
            (_, now_ms) => now_ms.map(|now_ms| (now_ms, elapsed_us)),
        };
        let (_, since_us) = self.next?;
        let for_us = elapsed_us.saturating_sub(since_us);
        (for_us >= LONG_US).then(|| {
            let seconds = i64::try_from(for_us / 1_000_000).unwrap_or(i64::MAX);
            format!("no window has closed for {seconds}s: {}", self.stands(metrics, next_ms))
        })
    }

    /// What has not been written at the end of a run, and why; none where all windows have closed. `drained` says that
    /// the input was not read to its end, `silent` that nothing at all has come out.
    #[must_use]
    pub fn open(
        &self,
        totals: &[StateTotal],
        metrics: &[Arc<ShardMetrics>],
        drained: bool,
        silent: bool,
    ) -> Option<String> {
        let open = totals.iter().filter(|total| total.next_close_ms.is_some());
        let open: Vec<String> =
            open.map(|total| format!("`{}` ({})", total.name, grouped(total.entries))).collect();
        let next_ms = next_close_ms(totals);
        if open.is_empty() {
            let nothing = drained && silent && !totals.is_empty();
            return nothing.then(|| format!("nothing was written: {}", self.stands(metrics, next_ms)));
        }
        let end = if drained { "; the end of the input, which closes all, was not reached" } else { "" };
        Some(format!(
            "windows that had not closed were not written, of {}: {}{end}",
            open.join(", "),
            self.stands(metrics, next_ms)
        ))
    }

    /// Where the watermark stands, in words.
    fn stands(&self, metrics: &[Arc<ShardMetrics>], next_close_ms: Option<i64>) -> String {
        let reports = metrics.iter().map(|shard| shard.watermark.get());
        let Some(report) = reports.min_by_key(|report| report.watermark_ms) else { return String::new() };
        let mut text = self.watermark(&report);
        if let Some(next_ms) = next_close_ms {
            text.push_str("; the next window closes at ");
            text.push_str(&self.time(next_ms));
        }
        text
    }

    fn watermark(&self, report: &WatermarkReport) -> String {
        let unknown: Arc<str> = "an input".into();
        let name = |split: usize| self.splits.get(split).unwrap_or(&unknown);
        let at = match report.watermark_ms {
            WATERMARK_MAX => return "the input has ended".to_owned(),
            WATERMARK_MIN => "there is no watermark yet".to_owned(),
            at_ms => format!("the watermark stands at {}", self.time(at_ms)),
        };
        let one = self.splits.len() == 1;
        match report.held_by {
            _ if report.empty == self.splits.len() as u64 => {
                "no record with an event time has come yet".to_owned()
            }
            Some(split) if report.newest_ms == i64::MIN => {
                format!("{at}, held back by {}, of which no record has come yet", name(split))
            }
            Some(split) => {
                let newest = self.time(report.newest_ms);
                let disorder = duration_text(self.out_of_order_ms);
                let who = if one { "behind" } else { "held back by" };
                let others = self.others(report);
                format!(
                    "{at}, {who} {} (newest record {newest}, out_of_order {disorder}{others})",
                    name(split)
                )
            }
            None => {
                let idle_after = duration_text(self.idle_after_ms);
                let what = if one { "the input has" } else { "all inputs have ended or" };
                format!("{at} until the next record: {what} been silent for {idle_after} (idle_after)")
            }
        }
    }

    /// How many inputs do not take part, where some do not.
    fn others(&self, report: &WatermarkReport) -> String {
        let all = self.splits.len();
        match (report.finished, report.idle) {
            (0, 0) => String::new(),
            (ended, 0) => format!("; of {all} inputs {ended} have ended"),
            (0, idle) => format!("; of {all} inputs {idle} are silent"),
            (ended, idle) => format!("; of {all} inputs {ended} have ended and {idle} are silent"),
        }
    }

    fn time(&self, time_ms: i64) -> String {
        let mut text = time_text(time_ms);
        if self.zoned {
            text.push('Z');
        }
        text
    }
}

fn next_close_ms(totals: &[StateTotal]) -> Option<i64> {
    totals.iter().filter_map(|total| total.next_close_ms).min()
}

/// A time without its zone, as output has it.
pub(super) fn time_text(time_ms: i64) -> String {
    let mut text = Vec::new();
    write_timestamp(time_ms, TimeUnit::Millisecond, TimestampStyle::Iso, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closing(splits: &[&str]) -> Closing {
        Closing {
            splits: splits.iter().map(|&name| name.into()).collect(),
            out_of_order_ms: 5000,
            idle_after_ms: 30_000,
            zoned: true,
            next: None,
        }
    }

    fn metrics(report: WatermarkReport) -> Vec<Arc<ShardMetrics>> {
        let metrics: Vec<Arc<ShardMetrics>> = vec![Arc::default(), Arc::default()];
        metrics[0].watermark.set(&report);
        metrics[1].watermark.set(&WatermarkReport { watermark_ms: WATERMARK_MAX, ..report });
        metrics
    }

    const REPORT: WatermarkReport = WatermarkReport {
        watermark_ms: 7000,
        held_by: Some(1),
        newest_ms: 12_000,
        empty: 0,
        idle: 0,
        finished: 0,
    };

    #[test]
    fn the_reason_is_told() {
        let check = |splits: &[&str], report: WatermarkReport, expect: &str| {
            assert_eq!(closing(splits).stands(&metrics(report), None), expect);
        };
        let begun = WatermarkReport { watermark_ms: WATERMARK_MIN, newest_ms: i64::MIN, ..REPORT };
        check(
            &["a", "b"],
            REPORT,
            "the watermark stands at 1970-01-01T00:00:07Z, held back by b (newest record 1970-01-01T00:00:12Z, out_of_order 5s)",
        );
        check(
            &["a", "b", "c", "d"],
            WatermarkReport { finished: 2, idle: 1, ..REPORT },
            "the watermark stands at 1970-01-01T00:00:07Z, held back by b (newest record 1970-01-01T00:00:12Z, out_of_order 5s; of 4 inputs 2 have ended and 1 are silent)",
        );
        check(
            &["stdin"],
            WatermarkReport { held_by: Some(0), ..REPORT },
            "the watermark stands at 1970-01-01T00:00:07Z, behind stdin (newest record 1970-01-01T00:00:12Z, out_of_order 5s)",
        );
        check(
            &["a", "b"],
            WatermarkReport { empty: 1, ..begun },
            "there is no watermark yet, held back by b, of which no record has come yet",
        );
        check(
            &["a", "b"],
            WatermarkReport { empty: 2, ..begun },
            "no record with an event time has come yet",
        );
        check(
            &["stdin"],
            WatermarkReport { held_by: None, idle: 1, ..REPORT },
            "the watermark stands at 1970-01-01T00:00:07Z until the next record: the input has been silent for 30s (idle_after)",
        );
    }

    #[test]
    fn it_is_told_where_nothing_closes_for_long() {
        let totals = |next_close_ms| {
            [StateTotal { name: "w".into(), entries: 1200, next_close_ms, ..StateTotal::default() }]
        };
        let metrics = metrics(REPORT);
        let mut closing = closing(&["a", "b"]);
        assert_eq!(closing.look(&totals(Some(10_000)), &metrics, 0), None);
        assert_eq!(closing.look(&totals(Some(20_000)), &metrics, 9_000_000), None, "one has closed");
        assert_eq!(closing.look(&totals(Some(20_000)), &metrics, 18_000_000), None);
        let told = closing.look(&totals(Some(20_000)), &metrics, 21_000_000).expect("it is long ago");
        assert!(told.starts_with("no window has closed for 12s: the watermark stands at "), "{told}");
        assert!(told.ends_with("; the next window closes at 1970-01-01T00:00:20Z"), "{told}");
        assert_eq!(closing.look(&totals(None), &metrics, 60_000_000), None, "nothing is open");
        let left = closing.open(&totals(Some(20_000)), &metrics, true, false).expect("a window is open");
        assert!(left.starts_with("windows that had not closed were not written, of `w` (1,200): "), "{left}");
        assert_eq!(closing.open(&totals(None), &metrics, true, false), None);
    }
}
