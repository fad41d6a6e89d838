//! A plan as text: what is read, what runs in which stage, what is kept, what is guaranteed.

use std::fmt::Write as _;

use super::Plan;
use crate::config::BadRecordAction;
use crate::record::Schema;

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
    writeln!(out, "  reads only: {}", columns(&plan.columns))?;
    match &plan.time {
        Some(time) => {
            let future =
                time.max_future_ms.map_or("off (the input is not live)".to_owned(), |ms| format!("{ms}ms"));
            writeln!(
                out,
                "  event time: {}, out_of_order {}ms, idle_after {}ms (a single or bounded input holds nothing back), max_future {future}",
                time.expression.data_type(),
                time.out_of_order_ms,
                time.idle_after_ms
            )?;
        }
        None => writeln!(out, "  event time: none declared")?,
    }
    let bad = match (plan.bad_record.action, plan.bad_record.stop_above) {
        (BadRecordAction::Fail, _) => "the first one stops the run".to_owned(),
        (BadRecordAction::Quarantine, None) => "kept in quarantine".to_owned(),
        (BadRecordAction::Quarantine, Some(rate)) if rate.percent => {
            format!("kept in quarantine; more than {}% in {}ms stop the run", rate.count * 100.0, rate.per_ms)
        }
        (BadRecordAction::Quarantine, Some(rate)) => {
            format!("kept in quarantine; more than {} in {}ms stop the run", rate.count, rate.per_ms)
        }
    };
    writeln!(out, "  bad records: {bad} (at most {} bytes are kept)", plan.bad_record.limit_bytes)?;
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
    writeln!(out, "  rows: {}", columns(&plan.output))?;
    let cores = plan.cores.map_or("one per available core".to_owned(), |cores| cores.to_string());
    let memory = plan.memory_bytes.map_or("no limit".to_owned(), |bytes| {
        format!("at most {bytes} bytes, above which the run stops with exit code 71")
    });
    writeln!(
        out,
        "run      shards: {cores}; memory for state: {memory}; time zone: UTC; snapshots: none in this version, a run starts afresh"
    )
}

fn columns(schema: &Schema) -> String {
    let columns = schema.columns().iter().map(|column| {
        let null = if column.nullable { "" } else { " NOT NULL" };
        format!("{} {}{null}", column.name, column.data_type)
    });
    let columns: Vec<String> = columns.collect();
    if columns.is_empty() { "no columns".to_owned() } else { columns.join(", ") }
}
