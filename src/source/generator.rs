//! `generator`: rows made of expressions over their number, for trying things out and for load tests.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
};
use arrow::compute::filter_record_batch;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::paced::{self, Make, Rows};
use super::{Kind, Opened, Opening, Source, SourceError};
use crate::error::{Problem, Problems};
use crate::expr::{Expr, compile_at};
use crate::record::text::parse_timestamp;
use crate::record::{BadRecord, Column, Schema, SqlType};
use crate::time::Now;
use crate::yaml::{Fields, Key, Node};

/// The entry in the registry.
pub(super) const KIND: Kind = Kind {
    name: "generator",
    summary: "makes rows of expressions over n (the row's number from 0), at (its time) and u1, u2, u3 (random, in [0, 1))",
    example: "generator: { rows: 1000, rate: 100 per 1s, columns: { user: \"CONCAT('u', CAST(n % 50 AS STRING))\" } }",
    parse,
};

/// 2026-01-01T00:00:00Z: where time starts that is not the present.
const START_US: i64 = 1_767_225_600_000_000;
/// The event time between rows that are made as fast as they are taken, microseconds.
const STEP_US: i64 = 1000;

#[derive(Debug)]
struct Declared {
    rows: Rows,
    seed: u64,
    /// The event time of row 0; none for the start of the run.
    start_us: Option<i64>,
    /// The event time between two rows; none for what the rate makes it.
    step_us: Option<i64>,
    columns: Vec<(String, Expr)>,
}

fn parse(key: &Key, node: &Node, problems: &mut Problems) -> Option<Box<dyn Source>> {
    let mut fields = Fields::under(key, node, "source.generator", problems);
    let total = fields.whole("rows", 0, u64::MAX, problems);
    let rate = fields.take("rate").and_then(|node| Some((node, crate::yaml::rate(node, problems)?)));
    let seed = fields.whole("seed", 0, u64::MAX, problems).unwrap_or(1);
    let start_us = fields.take("start").and_then(|node| {
        let wrong = || {
            Problem::error(node.at, "`start` takes a time with a zone")
                .help("write for instance 2026-01-01T00:00:00Z")
        };
        node.read_as(problems, parse_start_us, wrong)
    });
    let step_ms = fields.duration_ms("step", problems);
    let columns = fields.take("columns").map_or_else(|| Some(Vec::new()), |node| columns(node, problems));
    fields.finish(problems);
    let rate = match rate {
        Some((node, rate)) if rate.percent || rate.count <= 0.0 => {
            problems.push(
                Problem::error(node.at, "`rate` is a number of rows above 0")
                    .help("write for instance 100 per 1s"),
            );
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a duration of more than 2^53 ms is not meant")]
        Some((_, rate)) => Some(rate.count * 1000.0 / rate.per_ms as f64),
        None => None,
    };
    let step_us = step_ms.map(|ms| ms.saturating_mul(1000));
    Some(Box::new(Declared { rows: Rows { total, rate }, seed, start_us, step_us, columns: columns? }))
}

fn parse_start_us(text: &str) -> Option<i64> {
    let parsed = parse_timestamp(text).ok()?;
    let zone = i64::from(parsed.zone?);
    (parsed.seconds - zone).checked_mul(1_000_000)?.checked_add(i64::from(parsed.nanos / 1000))
}

fn columns(node: &Node, problems: &mut Problems) -> Option<Vec<(String, Expr)>> {
    let Some(entries) = node.map() else {
        problems
            .error(node.at, format!("`columns` takes a map of names to expressions, not {}", node.kind()));
        return None;
    };
    let scope = base_schema();
    let compiled =
        entries.iter().map(|(key, node)| Some((key.text.clone(), compile_at(node, &scope, problems)?)));
    compiled.collect::<Vec<_>>().into_iter().collect()
}

/// What the expressions see.
fn base_schema() -> Schema {
    let mut columns =
        vec![Column::new("n", SqlType::BigInt, false), Column::new("at", SqlType::TimestampLtz(6), false)];
    columns.extend(["u1", "u2", "u3"].map(|name| Column::new(name, SqlType::Double, false)));
    Schema::new(columns)
}

impl Source for Declared {
    fn schema(&self) -> Option<Schema> {
        let base = base_schema();
        let always = if self.columns.is_empty() { 2 } else { 0 };
        let mut columns = base.columns()[..always].to_vec();
        if !self.columns.is_empty() && self.columns.iter().all(|(name, _)| name != "at") {
            columns.push(base.columns()[1].clone());
        }
        let declared = self.columns.iter();
        columns.extend(declared.map(|(name, expression)| {
            Column::new(name.clone(), expression.data_type().clone(), expression.nullable())
        }));
        Some(Schema::new(columns))
    }

    fn event_time(&self) -> Option<(&'static str, i64)> {
        let own = self.columns.iter().find(|(name, _)| name == "at");
        let usable = own
            .is_none_or(|(_, at)| matches!(at.data_type(), SqlType::Timestamp(_) | SqlType::TimestampLtz(_)));
        usable.then_some(("at", 0))
    }

    fn is_bounded(&self) -> bool {
        self.rows.total.is_some()
    }

    fn can_supply(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let total = self.rows.total.map_or("without end".to_owned(), |total| format!("{total} rows"));
        let rate =
            self.rows.rate.map_or("as fast as they are taken".to_owned(), |rate| format!("{rate} a second"));
        format!(
            "generator ({total}, {rate}; the same rows for the same seed, made again from the last snapshot after a crash)"
        )
    }

    fn open(&self, opening: &Opening) -> Result<Opened, SourceError> {
        let default_us = if self.rows.rate.is_some() { opening.start.wall_us } else { START_US };
        let start_us = self.start_us.or(paced::resumed_start_us(opening)?).unwrap_or(default_us);
        let recipe = Recipe {
            seed: self.seed,
            start_us,
            step_us: self.step_us,
            rate: self.rows.rate,
            columns: self.columns.clone(),
            base: base_schema(),
            output: opening.columns.clone(),
        };
        let make: Make = Arc::new(move |from, count, now| recipe.rows(from, count, now));
        paced::open("generator", self.rows, Some(start_us), &make, opening)
    }
}

/// Everything that rows are made from.
struct Recipe {
    seed: u64,
    start_us: i64,
    step_us: Option<i64>,
    rate: Option<f64>,
    columns: Vec<(String, Expr)>,
    base: Schema,
    /// The columns that are used.
    output: Schema,
}

impl Recipe {
    fn rows(&self, from: u64, count: usize, now: Now) -> (RecordBatch, Vec<BadRecord>) {
        let base = self.base_rows(from, count);
        let mut failed: Vec<(u32, String)> = Vec::new();
        let columns = self.output.columns().iter().map(|column| -> ArrayRef {
            match self.columns.iter().find(|(name, _)| *name == column.name) {
                Some((_, expression)) => {
                    let mut evaluated = expression.evaluate_at(&base, now.wall_ms());
                    failed.append(&mut evaluated.failed);
                    evaluated.values
                }
                None => {
                    base.column_by_name(&column.name).expect("a column the generator makes itself").clone()
                }
            }
        });
        let columns: Vec<ArrayRef> = columns.collect();
        let rows = self.output.rows(columns, count);
        if failed.is_empty() {
            return (rows, Vec::new());
        }
        let good: BooleanArray =
            (0..count).map(|row| Some(failed.iter().all(|(bad, _)| *bad as usize != row))).collect();
        let rejected = failed.into_iter().map(|(row, message)| {
            let position = from + u64::from(row);
            let raw = format!("{{\"n\":{position}}}").into_bytes();
            BadRecord { source: "generator".into(), position, error: "evaluate", message, raw }
        });
        (filter_record_batch(&rows, &good).expect("one flag per row"), rejected.collect())
    }

    fn base_rows(&self, from: u64, count: usize) -> RecordBatch {
        let numbers = || from..from + count as u64;
        let n: Int64Array = numbers().map(u64::cast_signed).collect();
        let at = TimestampMicrosecondArray::from_iter_values(numbers().map(|number| self.time_us(number)));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(n), Arc::new(at.with_timezone("+00:00"))];
        for stream in 1..=3 {
            let random: Float64Array = numbers().map(|number| random(self.seed, stream, number)).collect();
            columns.push(Arc::new(random));
        }
        RecordBatch::try_new(self.base.arrow().clone(), columns).expect("the columns of the base schema")
    }

    fn time_us(&self, number: u64) -> i64 {
        let after_us = match (self.step_us, self.rate) {
            (Some(step_us), _) => step_us.saturating_mul(number.cast_signed()),
            (None, Some(rate)) => paced::due_after_us(number, rate).cast_signed(),
            (None, None) => STEP_US.saturating_mul(number.cast_signed()),
        };
        self.start_us.saturating_add(after_us)
    }
}

/// A number in [0, 1) that depends on the seed, the column and the row alone.
fn random(seed: u64, stream: u64, number: u64) -> f64 {
    let bits = xxh3_64_with_seed(&number.to_le_bytes(), seed.wrapping_mul(4).wrapping_add(stream));
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let fraction = (bits >> 11) as f64 / (1_u64 << 53) as f64;
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_are_spread_and_repeatable() {
        let mean = (0..10_000).map(|n| random(1, 1, n)).sum::<f64>() / 10_000.0;
        assert!((0.48..0.52).contains(&mean), "{mean}");
        assert_eq!(random(1, 1, 5).to_bits(), random(1, 1, 5).to_bits());
        assert_ne!(random(1, 1, 5).to_bits(), random(1, 2, 5).to_bits());
    }

    #[test]
    fn starts_need_a_zone() {
        assert_eq!(parse_start_us("2026-01-01T00:00:00Z"), Some(START_US));
        assert_eq!(parse_start_us("2026-01-01T01:00:00+01:00"), Some(START_US));
        assert_eq!(parse_start_us("2026-01-01T00:00:00"), None);
    }
}
