//! The harness every operator goes through: the same rows whole, row by row and in blocks of three, each block in one
//! batch and cut into several; on one to three shards; through rings that hold one batch, so that the outbox is full most
//! of the time; and, where the step keeps state, with a barrier behind every block, at which another machine goes on from
//! what was captured of the one before ([`run_cut`]).

mod cut;
mod machine;
mod tables;

use std::collections::BTreeMap;

pub use cut::{Cut, run_cut};
pub use machine::{Output, run};

use arrow::array::{AsArray, Int8Array, Int64Array, RecordBatch};
use arrow::datatypes::TimestampMillisecondType;

use super::{Changelog, Flow, Resolved, Sends, WindowColumns, verb};
use crate::codec::framing::frame_lines;
use crate::codec::json::{JsonDecoder, JsonEncoder};
use crate::codec::{Decode, Encode};
use crate::error::Problems;
use crate::record::{Batch, BlockEnd, Column, EventTimes, Schema, SqlType, parse_type};
use crate::yaml::{Node, parse};

/// The disorder that the harness's source allows, milliseconds.
const OUT_OF_ORDER_MS: i64 = 1000;

/// The columns that examples and tests of steps use.
const COLUMNS: &[(&str, &str)] = &[
    ("price", "BIGINT"),
    ("channel", "STRING"),
    ("amount", "DECIMAL(12, 2)"),
    ("ratio", "DOUBLE"),
    ("tags", "ARRAY<STRING>"),
    ("ok", "BOOLEAN"),
    ("at", "TIMESTAMP(3)"),
    ("id", "BIGINT"),
    ("user", "STRING"),
    ("window_start", "TIMESTAMP(3)"),
    ("window_end", "TIMESTAMP(3)"),
];

/// The input that the examples of the verbs are written for.
#[must_use]
pub fn example_schema() -> Schema {
    schema_of(COLUMNS.iter().map(|(name, _)| *name).filter(|name| !name.starts_with("window_")))
}

fn schema_of<'a>(names: impl Iterator<Item = &'a str>) -> Schema {
    let columns = names.map(|name| {
        let (_, text) = COLUMNS.iter().find(|(column, _)| *column == name).expect("a column of the harness");
        let (data_type, nullable) = parse_type(text).expect("a type");
        Column::new(name, data_type, nullable)
    });
    Schema::new(columns.collect())
}

/// The step in a text of the form `verb: options`, resolved against the rows before it.
///
/// # Panics
///
/// If the text is not a step or does not resolve.
#[must_use]
pub fn resolve_step(text: &str, input: &Flow) -> Resolved {
    let mut problems = Problems::new();
    let root = parse(0, text, &mut problems).unwrap_or_else(|| panic!("{:?}", problems.all()));
    let (key, options): &(_, Node) = &root.map().expect("a step is a map")[0];
    let step = (verb(&key.text).expect("a verb").parse)(options, key.at, &mut problems);
    let step = step.unwrap_or_else(|| panic!("{:?}", problems.all()));
    step.resolve(input, &mut problems).unwrap_or_else(|| panic!("{:?}", problems.all()))
}

/// The rows of the harness: in event time where there is a column `at`, in windows where there is `window_end`, with the
/// tables of the harness beside them.
#[must_use]
pub fn flow_of(schema: &Schema) -> Flow {
    let timed = schema.column("at").or(schema.column("window_end"));
    let window = schema.column("window_end").map(|_| WindowColumns {
        start: schema.column("window_start").map(|column| column.name.clone()),
        end: Some("window_end".to_owned()),
    });
    let tables = tables::tables();
    Flow { window, tables, ..Flow::of_source(schema.clone(), timed.map(|_| SqlType::Timestamp(3))) }
}

/// Runs the step over these JSON records, in every way the harness knows, and compares its output: rows as JSON (with
/// `+` or `-` before them where they are changelog rows), then `stream: {…}` for each row of a side stream,
/// `rejected: reason` for each rejected row and `late: n`. On one shard the order counts, on several it does not.
/// Records that begin with `+` or `-` make the input a changelog. Where the output is a changelog, what it comes to has
/// to be the same when only the changes between block ends are sent, or only the rows that are there in the end.
///
/// # Panics
///
/// If any way of running gives anything else.
pub fn check(step: &str, input: &[&str], expect: &[&str]) {
    let records: Vec<&str> = input.iter().map(|record| record.trim_start_matches(['+', '-'])).collect();
    let first: serde_json::Value = serde_json::from_str(records[0]).expect("the first record is JSON");
    let names: Vec<String> = serde_json::Map::keys(first.as_object().expect("an object")).cloned().collect();
    let mut ordered: Vec<&String> = names.iter().collect();
    ordered.sort_by_key(|name| records[0].find(&format!("\"{name}\"")));
    let schema = schema_of(ordered.into_iter().map(String::as_str));
    let weights: Option<Vec<i8>> = input[0]
        .starts_with(['+', '-'])
        .then(|| input.iter().map(|record| if record.starts_with('-') { -1 } else { 1 }).collect());
    let changelog = weights.as_ref().map(|_| Changelog { key: None });
    let flow = Flow { changelog, ..flow_of(&schema) };
    let resolved = resolve_step(step, &flow);
    let netted = resolve_step(step, &Flow { sends: Sends::BlockChanges, ..flow.clone() });
    let settled = resolve_step(step, &Flow { sends: Sends::FinalRows, ..flow });
    for (rows_per_block, rows_per_batch) in
        [(usize::MAX, usize::MAX), (1, 1), (3, usize::MAX), (usize::MAX, 1), (3, 2)]
    {
        for shards in 1..=3 {
            let blocks = blocks(&schema, &records, weights.as_deref(), rows_per_block);
            let run = |resolved| lines(resolved, run(resolved, shards, rows_per_batch, &blocks));
            let cut = |resolved| lines_cut(resolved, shards, rows_per_batch, &blocks);
            let mut output = run(&resolved);
            let mut expect: Vec<String> = expect.iter().map(|&line| line.to_owned()).collect();
            let what = format!(
                "{step}: {shards} shards, blocks of {rows_per_block} rows, batches of {rows_per_batch}"
            );
            if resolved.output.changelog.is_some() {
                for (resolved, sends) in
                    [(&netted, "changes between block ends"), (&settled, "rows in the end")]
                {
                    assert_eq!(fold(&run(resolved)), fold(&expect), "{what}, {sends}");
                    for (machine, output) in cut(resolved).iter().enumerate() {
                        assert_eq!(fold(output), fold(&expect), "{what}, {sends}, cut, machine {machine}");
                    }
                }
            }
            if shards > 1 || rows_per_block == 1 {
                output.sort();
                expect.sort();
            }
            assert_eq!(output, expect, "{what}");
            expect.sort();
            for (machine, mut output) in cut(&resolved).into_iter().enumerate() {
                output.sort();
                assert_eq!(output, expect, "{what}, cut behind every block, machine {machine}");
            }
        }
    }
}

/// What each machine of a run that is cut behind every block has made, together with those before it.
fn lines_cut(
    resolved: &Resolved,
    shards: usize,
    rows_per_batch: usize,
    blocks: &[Batch],
) -> Vec<Vec<String>> {
    let cuts = (1..blocks.len()).map(|block| Cut { block, shards: 1 + (shards + block) % 3 });
    let cuts: Vec<Cut> = cuts.collect();
    let outputs = run_cut(resolved, shards, rows_per_batch, blocks, &cuts, blocks.len() as u64);
    outputs.into_iter().map(|output| lines(resolved, output)).collect()
}

/// What lines come to: changelog rows that take each other back are gone.
fn fold(lines: &[String]) -> BTreeMap<&str, i64> {
    let mut counts = BTreeMap::new();
    for line in lines {
        let (row, weight) = match line.split_at_checked(1) {
            Some(("-", row)) => (row, -1),
            Some(("+", row)) => (row, 1),
            _ => (line.as_str(), 1),
        };
        *counts.entry(row).or_insert(0) += weight;
    }
    counts.retain(|_, count| *count != 0);
    counts
}

/// The output as [`check`] shows it.
fn lines(resolved: &Resolved, output: Output) -> Vec<String> {
    let mut encoder = JsonEncoder::new(&resolved.output.schema);
    let mut lines = Vec::new();
    for batch in &output.batches {
        let rows = json_lines(&mut encoder, &batch.rows);
        let sign = |row: usize| match (&batch.weights, &resolved.output.changelog) {
            (Some(weights), Some(_)) if weights.value(row) < 0 => "-",
            (_, Some(_)) => "+",
            (None, None) => "",
            (Some(_), None) => panic!("weights where there is no changelog"),
        };
        lines.extend(rows.iter().enumerate().map(|(row, line)| format!("{}{line}", sign(row))));
    }
    for side in &output.side {
        let stream = resolved.side.iter().find(|stream| *stream.name == *side.stream).expect("declared");
        let rows = json_lines(&mut JsonEncoder::new(&stream.schema), &side.rows);
        lines.extend(rows.iter().map(|line| format!("{}: {line}", stream.name)));
    }
    lines.extend(output.rejected.iter().map(|message| format!("rejected: {message}")));
    if output.late > 0 {
        lines.push(format!("late: {}", output.late));
    }
    lines
}

fn json_lines(encoder: &mut JsonEncoder, rows: &RecordBatch) -> Vec<String> {
    let mut text = Vec::new();
    encoder.encode(rows, &mut text);
    String::from_utf8(text).expect("JSON is UTF-8").lines().map(str::to_owned).collect()
}

/// The records as batches of one block each, as a source would make them.
fn blocks(schema: &Schema, input: &[&str], weights: Option<&[i8]>, rows_per_block: usize) -> Vec<Batch> {
    let rows_per_block = rows_per_block.min(input.len());
    let chunks: Vec<&[&str]> = input.chunks(rows_per_block).collect();
    let last = chunks.len() - 1;
    let batches = chunks.iter().enumerate().map(|(number, records)| {
        let text = records.join("\n");
        let mut spans = Vec::new();
        frame_lines(text.as_bytes(), &mut spans);
        let mut rejected = Vec::new();
        let rows = JsonDecoder::new(schema).decode(text.as_bytes(), &spans, &mut rejected);
        assert!(rejected.is_empty(), "the harness is given good records: {rejected:?}");
        let mut batch = block(schema, rows, number as u64, number == last);
        let from = number * rows_per_block;
        batch.weights = weights.map(|weights| Int8Array::from(weights[from..from + batch.len()].to_vec()));
        batch
    });
    batches.collect()
}

/// One block of input, of the harness's event time: the column `at`, else the last millisecond before `window_end`.
#[must_use]
pub fn block(schema: &Schema, rows: RecordBatch, number: u64, last: bool) -> Batch {
    let mut batch = Batch::of_rows(rows, number);
    let max_time_ms = stamp_times(&mut batch, schema);
    batch.segments[0].end = Some(BlockEnd { through: number, max_time_ms, finished: last, idle: false });
    batch
}

/// Sets the batch's event times; the highest of them.
fn stamp_times(batch: &mut Batch, schema: &Schema) -> i64 {
    let end = schema.index_of("window_end").map(|index| (index, 1));
    let Some((index, before)) = schema.index_of("at").map(|index| (index, 0)).or(end) else {
        return i64::MIN;
    };
    let times = batch.rows.column(index).as_primitive::<TimestampMillisecondType>().values();
    let at_ms: Vec<i64> = times.iter().map(|time| time - before).collect();
    let mut seen = i64::MIN;
    let before = at_ms.iter().map(|at| {
        let before = seen;
        seen = seen.max(*at);
        before
    });
    let seen_ms: Vec<i64> = before.collect();
    batch.times =
        Some(EventTimes { at_ms: Int64Array::from(at_ms), seen_ms: Some(Int64Array::from(seen_ms)) });
    seen
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Part, VERBS};
    use super::*;

    #[test]
    fn the_example_of_every_verb_resolves() {
        for verb in VERBS {
            let resolved = resolve_step(verb.example, &flow_of(&example_schema()));
            assert!(!resolved.parts.is_empty(), "{}", verb.name);
        }
    }

    /// Checks that those operators of a step have tables that keep state, and no others; yields the columns of each.
    fn tables(text: &str) -> Vec<String> {
        let resolved = resolve_step(text, &flow_of(&example_schema()));
        let mut shown = Vec::new();
        for part in &resolved.parts {
            let Part::Operator(build) = part else { continue };
            let tables = (build.build)().tables();
            assert_eq!(build.state.is_some(), !tables.is_empty(), "{text}: {}", build.description);
            for table in tables {
                let names: Vec<&str> =
                    table.schema.fields().iter().map(|field| field.name().as_str()).collect();
                let unique: BTreeSet<&&str> = names.iter().collect();
                assert_eq!(unique.len(), names.len(), "{text}: {names:?}");
                assert!(table.key.as_ref().is_none_or(|key| key.columns() <= names.len()), "{text}");
                shown.push(format!("{}: {}", table.name, names.join(", ")));
            }
        }
        shown
    }

    #[test]
    fn what_keeps_state_has_tables() {
        for verb in VERBS {
            tables(verb.example);
        }
        let check = |text: &str, expect: &[&str]| assert_eq!(tables(text), expect, "{text}");
        check("filter: price > 1", &[]);
        check(
            "aggregate: { name: s, by: [channel, user], window: { sliding: 4s, every: 2s }, select: { n: COUNT(*), share: COUNT(*) / COUNT(price) } }",
            &["groups: channel, user, slice_start, n, $1", "clock: watermark_ms, fired_ms, wall_ms"],
        );
        check(
            "aggregate: { name: s, window: { cumulative: 4s, every: 2s, time: processing }, select: { n: COUNT(*) } }",
            &["groups: slice_start, fired, n", "clock: watermark_ms, fired_ms, wall_ms"],
        );
        check(
            "aggregate: { name: s, by: channel, window: { session: 2s }, select: { sent: COUNT(*) } }",
            &["groups: channel, session_start, session_end, sent, sent_", "clock: watermark_ms, wall_ms"],
        );
        check(
            "aggregate: { name: s, by: { rows: channel }, window: { rows: 3 }, select: { n: COUNT(*) } }",
            &["groups: rows, rows_, n", "clock: watermark_ms"],
        );
        check(
            "aggregate: { name: s, by: channel, ttl: 5s, select: { n: COUNT(*) } }",
            &["groups: channel, sent, latest, n", "clock: watermark_ms"],
        );
    }
}
