//! `blackhole`: drops rows, and measures how long they took where it is told when each began.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use hdrhistogram::Histogram;

use super::{Form, Kind, RowSink, Sink};
use crate::error::{Place, Problem, Problems, nearest};
use crate::record::{Schema, SqlType};
use crate::time::Now;
use crate::yaml::{Fields, Key, Node};

/// The entry in the registry.
pub(super) const KIND: Kind = Kind {
    name: "blackhole",
    summary: "drops all rows; with latency_from it measures the time from a TIMESTAMP_LTZ column to the sink",
    example: "blackhole: { latency_from: at }",
    takes_format: false,
    recover: |_, _| Ok(()),
    parse,
};

#[derive(Debug)]
struct Declared {
    latency_from: Option<(String, Place)>,
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of the registry")]
fn parse(key: &Key, node: &Node, problems: &mut Problems) -> Option<Box<dyn Sink>> {
    let mut fields = Fields::under(key, node, "sink.blackhole", problems);
    let at = fields.take("latency_from").map(|node| node.at);
    let column = fields.text("latency_from", problems).map(str::to_owned);
    fields.finish(problems);
    Some(Box::new(Declared { latency_from: column.zip(at) }))
}

impl Sink for Declared {
    fn check(&self, rows: &Schema, problems: &mut Problems) {
        let Some((name, at)) = &self.latency_from else { return };
        match rows.column(name) {
            Some(column) if matches!(column.data_type, SqlType::TimestampLtz(_)) => {}
            Some(column) => problems.push(
                Problem::error(
                    *at,
                    format!("`{name}` is {}, and latency is measured from a TIMESTAMP_LTZ", column.data_type),
                )
                .help("CAST it in a `set` step"),
            ),
            None => {
                let names = rows.columns().iter().map(|column| column.name.as_str());
                let problem = Problem::error(*at, format!("there is no column `{name}`"));
                problems.push(match nearest(name, names) {
                    Some(near) => problem.help(format!("did you mean `{near}`?")),
                    None => problem,
                });
            }
        }
    }

    fn takes_changes(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        "blackhole (drops all rows)".to_owned()
    }

    fn guarantee(&self) -> &'static str {
        "nothing is written, so nothing is guaranteed"
    }

    fn form(&self, rows: &Schema) -> Form {
        let column = self.latency_from.as_ref().and_then(|(name, _)| rows.index_of(name));
        Form::Rows(Box::new(move || Box::new(Blackhole { column, latencies_us: recorder() })))
    }
}

struct Blackhole {
    column: Option<usize>,
    latencies_us: Histogram<u64>,
}

/// Three digits of precision; grows with the longest latency.
fn recorder() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are possible")
}

impl RowSink for Blackhole {
    fn write(&mut self, rows: &RecordBatch, now: Now) {
        let Some(column) = self.column else { return };
        let values = rows.column(column);
        let factor = match values.data_type() {
            DataType::Timestamp(TimeUnit::Nanosecond, _) => -1000,
            DataType::Timestamp(TimeUnit::Microsecond, _) => 1,
            _ => 1000,
        };
        let integers = cast(values, &DataType::Int64).expect("a timestamp is an integer");
        for began in integers.as_primitive::<Int64Type>().iter().flatten() {
            let began_us = if factor < 0 { began.div_euclid(-factor) } else { began.saturating_mul(factor) };
            let latency_us = u64::try_from(now.wall_us.saturating_sub(began_us)).unwrap_or(0);
            self.latencies_us.record(latency_us).expect("the histogram grows by itself");
        }
    }

    fn latencies_us(&mut self) -> Option<Histogram<u64>> {
        self.column.map(|_| std::mem::replace(&mut self.latencies_us, recorder()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::TimestampMillisecondArray;

    use super::*;
    use crate::record::Column;

    #[test]
    fn latency_is_measured_from_the_column() {
        let schema = Schema::new(vec![Column::new("at", SqlType::TimestampLtz(3), true)]);
        let times = TimestampMillisecondArray::from(vec![Some(5), None, Some(7)]).with_timezone("+00:00");
        let rows = RecordBatch::try_new(schema.arrow().clone(), vec![Arc::new(times)]).unwrap();
        let mut sink = Blackhole { column: Some(0), latencies_us: recorder() };
        sink.write(&rows, Now { monotonic_us: 0, wall_us: 8000 });
        let latencies = sink.latencies_us().unwrap();
        assert_eq!((latencies.len(), latencies.min(), latencies.max()), (2, 1000, 3001));
    }
}
