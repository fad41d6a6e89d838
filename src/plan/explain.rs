//! A plan as text: what is read, what runs in which stage, what is kept, what is guaranteed.

use std::fmt::Write as _;

use super::Plan;
use crate::codec::{Format, Way};
use crate::config::{BadRecordAction, Snapshot};
use crate::metric::size_text;
use crate::record::Schema;
use crate::sink::{Form, Sink};
use crate::source::TimeOf;
use crate::time::duration_text;

/// The plan for a person.
#[must_use]
pub fn explain(plan: &Plan) -> String {
    let mut text = String::new();
    write(plan, &mut text).expect("a string takes everything");
    text
}

fn write(plan: &Plan, out: &mut String) -> std::fmt::Result {
    writeln!(out, "pipeline {}", plan.name)?;
    writeln!(out, "source   {}", plan.source.describe())?;
    if let Some(format) = &plan.format {
        writeln!(out, "  format: {}", format.describe(Way::In))?;
    }
    writeln!(out, "  reads only: {}", columns(&plan.columns))?;
    match &plan.time {
        Some(time) => {
            let future = time.max_future_ms.map_or("off (the input is not live)".to_owned(), duration_text);
            writeln!(
                out,
                "  event time: {}, out_of_order {}, idle_after {}, max_future {future}",
                time.expression.data_type(),
                duration_text(time.out_of_order_ms),
                duration_text(time.idle_after_ms)
            )?;
            writeln!(out, "  a window of event time closes {}", when_windows_close(plan, time))?;
        }
        None => writeln!(out, "  event time: none declared")?,
    }
    let bad = match (plan.bad_record.action, plan.bad_record.stop_above) {
        (BadRecordAction::Fail, _) => "the first one stops the run".to_owned(),
        (BadRecordAction::Quarantine, None) => "kept in quarantine".to_owned(),
        (BadRecordAction::Quarantine, Some(rate)) if rate.percent => {
            format!(
                "kept in quarantine; more than {}% in {} stop the run",
                rate.count * 100.0,
                duration_text(rate.per_ms)
            )
        }
        (BadRecordAction::Quarantine, Some(rate)) => {
            format!(
                "kept in quarantine; more than {} in {} stop the run",
                rate.count,
                duration_text(rate.per_ms)
            )
        }
    };
    writeln!(out, "  bad records: {bad} (at most {} of them)", size_text(plan.bad_record.limit_bytes))?;
    for (number, stage) in plan.stages.iter().enumerate() {
        writeln!(out, "stage {number}  on every shard")?;
        for operator in &stage.operators {
            match &operator.state {
                Some(name) => writeln!(out, "  {} (keeps state `{name}`)", operator.description)?,
                None => writeln!(out, "  {}", operator.description)?,
            }
        }
        if let Some(exchange) = &stage.exchange {
            let to = if exchange.columns.is_empty() {
                "the shard that owns the one group"
            } else {
                "the shard that owns its key"
            };
            writeln!(out, "exchange  every row to {to}")?;
        }
    }
    writeln!(out, "sink     {}", plan.sink.describe())?;
    write_format(plan.sink.as_ref(), &plan.sink_format, &plan.output, out)?;
    writeln!(out, "  rows: {}", columns(&plan.output))?;
    writeln!(out, "  guarantee: {}", plan.sink.guarantee())?;
    for side in &plan.sides {
        writeln!(out, "side     {} to {}", side.stream, side.sink.describe())?;
        write_format(side.sink.as_ref(), &side.format, &side.schema, out)?;
        writeln!(out, "  rows: {}", columns(&side.schema))?;
        writeln!(out, "  guarantee: {}", side.sink.guarantee())?;
    }
    let cores = plan.cores.map_or("one per available core".to_owned(), |cores| cores.to_string());
    let memory = plan.memory_bytes.map_or("no limit".to_owned(), |bytes| {
        format!("at most {}, above which the run stops with exit code 71", size_text(bytes))
    });
    let Snapshot { every_ms, keep, max_failures } = plan.snapshot;
    let every = duration_text(every_ms);
    writeln!(
        out,
        "run      shards: {cores}; memory for state: {memory}; time zone: UTC; snapshots: one every {every}, of which the last {keep} are kept; {max_failures} that fail in a row stop the run"
    )
}

/// How a sink of bytes writes rows.
fn write_format(sink: &dyn Sink, format: &Format, rows: &Schema, out: &mut String) -> std::fmt::Result {
    match sink.form(rows) {
        Form::Bytes(_) => writeln!(out, "  format: {}", format.describe(Way::Out)),
        Form::Rows(_) => Ok(()),
    }
}

/// When a window closes, with the pipeline's own numbers.
fn when_windows_close(plan: &Plan, time: &TimeOf) -> String {
    let record = match time.out_of_order_ms {
        0 => "a record at its end or later".to_owned(),
        ms => format!("a record {} or more behind its end", duration_text(ms)),
    };
    if plan.source.is_live() {
        format!(
            "once {record} has come, from every input that was not silent for {}; where all are silent none closes; the \
             end of the input closes all, a drain closes none",
            duration_text(time.idle_after_ms)
        )
    } else {
        format!(
            "once every input that has not ended has had {record}; the end of the input closes all, a drain closes none"
        )
    }
}

fn columns(schema: &Schema) -> String {
    let columns = schema.columns().iter().map(|column| {
        let null = if column.nullable { "" } else { " NOT NULL" };
        format!("{} {}{null}", column.name, column.data_type)
    });
    let columns: Vec<String> = columns.collect();
    if columns.is_empty() { "no columns".to_owned() } else { columns.join(", ") }
}
