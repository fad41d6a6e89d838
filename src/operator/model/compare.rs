//! Runs a case through the harness and compares what comes out with what has to.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int8Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Int64Type, TimestampMillisecondType};

use super::super::verify::{self, Output, block, flow_of, resolve_step, run_cut};
use super::super::{Changelog, Flow, Resolved, Sends};
use super::case::{Case, Row};
use super::reference::{Change, Outcome, Value, expect};
use super::step::{Kind, Step, Window};
use crate::record::{Batch, Column, Schema, SqlType};

/// The columns of the input.
const COLUMNS: [&str; 4] = ["id", "user", "price", "at"];

/// A step that is ready to run.
pub(super) struct Machine {
    pub(super) step: Step,
    schema: Schema,
    resolved: Resolved,
}

impl Machine {
    pub(super) fn new(step: Step) -> Self {
        let types = [SqlType::BigInt, SqlType::String, SqlType::BigInt, SqlType::Timestamp(3)];
        let columns = COLUMNS.iter().zip(types).map(|(name, data_type)| Column::new(*name, data_type, true));
        let schema = Schema::new(columns.collect());
        let changelog = (step.kind == Kind::Retracting).then_some(Changelog { key: None });
        let input = Flow {
            changelog,
            sends: if step.every_change { Sends::EachChange } else { Sends::BlockChanges },
            ..flow_of(&schema)
        };
        let resolved = resolve_step(&step.to_string(), &input);
        Self { step, schema, resolved }
    }

    /// The rows of a block as a source would make them.
    fn batch(&self, rows: &[Row], number: u64, last: bool) -> Batch {
        let columns: [ArrayRef; 4] = [
            Arc::new(rows.iter().map(|row| row.id).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.user).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| row.price).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| Some(row.at_ms)).collect::<TimestampMillisecondArray>()),
        ];
        let columns = RecordBatch::try_new(self.schema.arrow().clone(), columns.to_vec());
        let mut batch = block(&self.schema, columns.expect("the columns of the schema"), number, last);
        if self.step.kind == Kind::Retracting {
            batch.weights = Some(rows.iter().map(|row| row.weight).collect::<Vec<_>>().into());
        }
        batch
    }

    /// What the step makes of the case, and what each machine makes where it is cut.
    fn run(&self, case: &Case) -> Vec<Output> {
        let last = case.blocks.len() - 1;
        let blocks = case.blocks.iter().enumerate();
        let blocks = blocks.map(|(number, rows)| self.batch(rows, number as u64, number == last));
        let (blocks, rows_per_batch) = (blocks.collect::<Vec<_>>(), 1 + case.blocks[0].len() % 5);
        let mut outputs = vec![verify::run(&self.resolved, case.shards, rows_per_batch, &blocks)];
        if !case.cuts.is_empty() {
            let seed = blocks.len() as u64;
            outputs.extend(run_cut(&self.resolved, case.shards, rows_per_batch, &blocks, &case.cuts, seed));
        }
        outputs
    }
}

/// What a case was about.
pub(super) struct Seen {
    /// How many rows came out.
    pub(super) rows: usize,
    /// How many rows were late.
    pub(super) late: usize,
}

/// Compares what the step makes of the case with what it has to make.
///
/// # Errors
///
/// The difference, as text.
pub(super) fn compare(machine: &Machine, case: &Case) -> Result<Seen, String> {
    let step = &machine.step;
    let outputs = catch_unwind(AssertUnwindSafe(|| machine.run(case)));
    let outputs = outputs.map_err(|cause| format!("panic: {}\n", message(cause.as_ref())))?;
    let expect = expect(step, case);
    let expected = comparable(step, expect.changes.clone());
    for (run, output) in outputs.iter().enumerate() {
        compare_output(machine, case, output, &expect, &expected).map_err(|difference| match run {
            0 => difference,
            cut => format!("machine {cut}: {difference}"),
        })?;
    }
    Ok(Seen { rows: expected.len(), late: expect.late.len() })
}

fn compare_output(
    machine: &Machine,
    case: &Case,
    output: &Output,
    expect: &Outcome,
    expected: &Vec<Change>,
) -> Result<(), String> {
    let step = &machine.step;
    let last = case.blocks.len() as u64 - 1;
    let changes: Vec<Change> = output.batches.iter().flat_map(|batch| changes(batch, last)).collect();
    if let Some(change) = taken_back_too_early(&changes) {
        return Err(format!("takes back what is not there: {}\n{}", change.line(), lines(&changes)));
    }
    if step.corrects() != machine.resolved.output.changelog.is_some() {
        return Err("the step's output is a changelog where it must not be, or is not where it must\n".into());
    }
    let actual = comparable(step, changes);
    same("rows", expected, &actual, |changes| lines(changes))?;
    same("how many are late", &(expect.late.len() as u64), &output.late, |count| format!("{count}\n"))?;
    same("rejected rows", &Vec::new(), &output.rejected, |messages| messages.join("\n"))?;
    let late = expect.late.iter().filter(|_| step.late_to).map(|row| row.values(&COLUMNS)).collect();
    same("rows of late_rows", &sorted(late), &sorted(side(output)?), |rows| {
        rows.iter().map(|values| format!("  {}\n", text(values))).collect()
    })
}

fn same<T: PartialEq>(what: &str, expect: &T, actual: &T, text: impl Fn(&T) -> String) -> Result<(), String> {
    if expect == actual {
        return Ok(());
    }
    Err(format!("{what}: expected\n{}actual\n{}", text(expect), text(actual)))
}

fn message(cause: &(dyn Any + Send)) -> String {
    let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// The changes as far as they are given: for windows that are corrected only what they come to.
fn comparable(step: &Step, mut changes: Vec<Change>) -> Vec<Change> {
    match step.window {
        // One key after the other, its changes in their order.
        Window::None | Window::Rows { .. } => {
            changes.sort_by(|a, b| a.values[..step.by.len()].cmp(&b.values[..step.by.len()]));
            if !step.every_change {
                for change in &mut changes {
                    change.at_ms = 0;
                }
            }
            changes
        }
        _ if step.corrects() => {
            let mut counts: BTreeMap<(Vec<Value>, i64), i64> = BTreeMap::new();
            for change in changes {
                *counts.entry((change.values, change.at_ms)).or_default() += i64::from(change.weight);
            }
            let rest = counts.into_iter().filter(|(_, count)| *count != 0).map(|((values, at_ms), count)| {
                Change { values, weight: i8::try_from(count).expect("a few"), at_ms, block: 0 }
            });
            rest.collect()
        }
        _ => {
            changes.sort_unstable();
            changes
        }
    }
}

/// The first row that takes back a row that is not there.
fn taken_back_too_early(changes: &[Change]) -> Option<&Change> {
    let mut counts: BTreeMap<&[Value], i64> = BTreeMap::new();
    changes.iter().find(|change| {
        let count = counts.entry(&change.values).or_default();
        *count += i64::from(change.weight);
        *count < 0
    })
}

/// The rows of a batch of output; those behind the last block count as the last block's.
fn changes(batch: &Batch, last: u64) -> Vec<Change> {
    let weights = batch.weights.clone().unwrap_or_else(|| Int8Array::from(vec![1; batch.len()]));
    let times = &batch.times.as_ref().expect("event time follows rows").at_ms;
    let blocks = batch
        .segments
        .iter()
        .flat_map(|segment| std::iter::repeat_n(segment.number.min(last), segment.rows as usize));
    let rows = rows(&batch.rows).into_iter().zip(blocks).enumerate();
    let changes = rows.map(|(row, (values, block))| Change {
        values,
        weight: weights.value(row),
        at_ms: times.value(row),
        block,
    });
    changes.collect()
}

/// The rows of the stream of late rows.
fn side(output: &Output) -> Result<Vec<Vec<Value>>, String> {
    if let Some(other) = output.side.iter().find(|side| &*side.stream != "late_rows") {
        return Err(format!("rows of a stream {}\n", other.stream));
    }
    Ok(output.side.iter().flat_map(|side| rows(&side.rows)).collect())
}

fn rows(batch: &RecordBatch) -> Vec<Vec<Value>> {
    let row = |row: usize| batch.columns().iter().map(|column| value(column, row)).collect();
    (0..batch.num_rows()).map(row).collect()
}

fn value(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Int64 => Value::Integer(column.as_primitive::<Int64Type>().value(row)),
        DataType::Timestamp(..) => {
            Value::Integer(column.as_primitive::<TimestampMillisecondType>().value(row))
        }
        DataType::Utf8 => Value::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::List(_) => {
            let values = column.as_list::<i32>().value(row);
            Value::List((0..values.len()).map(|index| value(&values, index)).collect())
        }
        other => panic!("no aggregate of the model yields {other}"),
    }
}

fn sorted(mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    rows.sort_unstable();
    rows
}

fn lines(changes: &[Change]) -> String {
    changes.iter().map(|change| format!("  {}\n", change.line())).collect()
}

fn text(values: &[Value]) -> String {
    let value = |value: &Value| match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::List(values) => format!("[{}]", self::text(values)),
    };
    values.iter().map(value).collect::<Vec<_>>().join(", ")
}

impl Change {
    fn line(&self) -> String {
        let Self { values, weight, at_ms, block } = self;
        format!("{weight:+} ({}) at {at_ms} ms, block {block}", text(values))
    }
}
