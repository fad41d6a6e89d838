//! A plan as text: what is read, what runs in which stage, what is kept, what is guaranteed.

use std::fmt::Write as _;

use super::{Exchange, Exit, Input, Plan, SourceInput, Stage};
use crate::codec::{Format, Way};
use crate::config::{BadRecordAction, Snapshot};
use crate::metric::size_text;
use crate::operator::{Build, Target};
use crate::record::Schema;
use crate::sink::{Form, Sink};
use crate::source::{Source, TimeOf};
use crate::table::Table;
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
    for input in &plan.sources {
        let rejects = input.rejects.map(|entry| plan.rejects[entry - plan.sources.len()].as_ref());
        write_source(input, rejects, plan.is_chain(), out)?;
    }
    for table in &plan.tables {
        write_table(table, out)?;
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
        write_stage(plan, number, stage, out)?;
    }
    for output in &plan.sinks {
        let name = if plan.is_chain() { String::new() } else { format!("{}: ", output.name) };
        writeln!(out, "sink     {name}{}", output.sink.describe())?;
        write_format(output.sink.as_ref(), &output.format, &output.schema, out)?;
        writeln!(out, "  rows: {}", columns(&output.schema))?;
        writeln!(out, "  guarantee: {}", output.sink.guarantee())?;
    }
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

/// The operators of a stage and where their rows go: in a graph each behind what it takes its rows from.
fn write_stage(plan: &Plan, number: usize, stage: &Stage, out: &mut String) -> std::fmt::Result {
    if !plan.is_chain() {
        for (entry, targets) in stage.wiring.entries.iter().enumerate() {
            match stage.inputs.get(entry) {
                None => match plan.sources.get(entry) {
                    Some(source) => writeln!(out, "  from source {}", source.name)?,
                    None => writeln!(out, "  from bad records {}", plan.rejects[entry - plan.sources.len()])?,
                },
                Some(input) => writeln!(out, "  from stage {}", input.stage)?,
            }
            // What all entries lead to stands once, behind the last of them.
            if number == 0 || entry + 1 == stage.wiring.entries.len() {
                write_targets(plan, (number, stage), targets, "    ", out)?;
            }
        }
        return Ok(());
    }
    for operator in stage.wiring.builds() {
        writeln!(out, "  {}", operator_text(operator))?;
    }
    for exit in &stage.exits {
        if let Exit::Exchange(exchange) = exit {
            writeln!(out, "exchange  {}", exchange_text(exchange))?;
        }
    }
    Ok(())
}

/// What rows go through behind a point of a stage: what comes next below it, and where they fork each way with a sign of
/// its own.
fn write_targets(
    plan: &Plan,
    (number, stage): (usize, &Stage),
    targets: &[Target],
    indent: &str,
    out: &mut String,
) -> std::fmt::Result {
    for target in targets {
        let (sign, deeper) =
            if targets.len() > 1 { ("- ", format!("{indent}  ")) } else { ("", indent.to_owned()) };
        match target {
            Target::Operator(place, _) => {
                let (build, behind) = &stage.wiring.operators[*place];
                writeln!(out, "{indent}{sign}{}", operator_text(build))?;
                write_sides(plan, (number, stage), *place, &deeper, out)?;
                write_targets(plan, (number, stage), behind, &deeper, out)?;
            }
            Target::Exit(exit) => match &stage.exits[*exit] {
                Exit::Sink(sink) => writeln!(out, "{indent}{sign}to sink {}", plan.sinks[*sink].name)?,
                Exit::Exchange(exchange) => {
                    let to = plan.taker(Input { stage: number, exit: *exit });
                    let to = to.map_or_else(String::new, |(to, _)| format!("to stage {to}, "));
                    writeln!(out, "{indent}{sign}{to}{}", exchange_text(exchange))?;
                }
            },
        }
    }
    Ok(())
}

/// The side streams of the operator at this place that go on in the stage.
fn write_sides(
    plan: &Plan,
    (number, stage): (usize, &Stage),
    operator: usize,
    indent: &str,
    out: &mut String,
) -> std::fmt::Result {
    for side in stage.wiring.sides.iter().filter(|side| side.operator == operator) {
        writeln!(out, "{indent}- side stream {}", side.stream)?;
        write_targets(plan, (number, stage), &side.targets, &format!("{indent}  "), out)?;
    }
    Ok(())
}

fn operator_text(operator: &Build) -> String {
    match &operator.state {
        Some(name) => format!("{} (keeps state `{name}`)", operator.description),
        None => operator.description.clone(),
    }
}

fn exchange_text(exchange: &Exchange) -> &'static str {
    if exchange.columns.is_empty() {
        "every row to the shard that owns the one group"
    } else {
        "every row to the shard that owns its key"
    }
}

/// A source, and the stream of its bad records: with its name where it is not the only one.
fn write_source(
    input: &SourceInput,
    rejects: Option<&str>,
    is_alone: bool,
    out: &mut String,
) -> std::fmt::Result {
    let SourceInput { name, source, format, columns: read, time, .. } = input;
    let name = if is_alone { String::new() } else { format!("{name}: ") };
    writeln!(out, "source   {name}{}", source.describe())?;
    if let Some(format) = format {
        writeln!(out, "  format: {}", format.describe(Way::In))?;
    }
    writeln!(out, "  reads only: {}", columns(read))?;
    if let Some(stream) = rejects {
        writeln!(out, "  bad records: into the stream {stream}")?;
    }
    let Some(time) = time else { return writeln!(out, "  event time: none declared") };
    let future = time.max_future_ms.map_or("off (the input is not live)".to_owned(), duration_text);
    writeln!(
        out,
        "  event time: {}, out_of_order {}, idle_after {}, max_future {future}",
        time.expression.data_type(),
        duration_text(time.out_of_order_ms),
        duration_text(time.idle_after_ms)
    )?;
    writeln!(out, "  a window of event time closes {}", when_windows_close(source.as_ref(), time))
}

/// A table that rows are looked up in.
fn write_table(table: &Table, out: &mut String) -> std::fmt::Result {
    let again = if table.watch { "when the run starts and when it changes" } else { "when the run starts" };
    writeln!(out, "table    {}: file {}, read {again}", table.name, table.path)?;
    writeln!(out, "  format: {}", table.format.describe(Way::In))?;
    writeln!(out, "  columns: {}", columns(&table.schema))?;
    let versions = table.versions.map(|column| &table.schema.columns()[column].name);
    let versions = versions.map_or(String::new(), |from| format!(", in versions that hold from `{from}` on"));
    writeln!(out, "  key: {}{versions}", table.key_names().join(", "))
}

/// How a sink of bytes writes rows.
fn write_format(sink: &dyn Sink, format: &Format, rows: &Schema, out: &mut String) -> std::fmt::Result {
    match sink.form(rows) {
        Form::Bytes(_) => writeln!(out, "  format: {}", format.describe(Way::Out)),
        Form::Rows(_) => Ok(()),
    }
}

/// When a window closes, with the source's own numbers.
fn when_windows_close(source: &dyn Source, time: &TimeOf) -> String {
    let record = match time.out_of_order_ms {
        0 => "a record at its end or later".to_owned(),
        ms => format!("a record {} or more behind its end", duration_text(ms)),
    };
    if source.is_live() {
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
