//! The harness every operator goes through: the same rows whole, row by row and in blocks of three; on one to three
//! shards; through rings that hold one batch, so that the outbox is full most of the time.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::TimestampMillisecondType;

use super::{Build, Chain, Flow, Part, Resolved, verb};
use crate::codec::framing::frame_lines;
use crate::codec::json::{JsonDecoder, JsonEncoder};
use crate::codec::{Decode, Encode};
use crate::error::Problems;
use crate::exchange::{Inbox, Outbox, Partition, Taken, Watermarks, mesh};
use crate::io::Bell;
use crate::record::{Batch, BlockEnd, Column, EventTimes, Schema, Segment, SqlType, parse_type};
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
];

/// The input that the examples of the verbs are written for.
#[must_use]
pub fn example_schema() -> Schema {
    schema_of(COLUMNS.iter().map(|(name, _)| *name))
}

fn schema_of<'a>(names: impl Iterator<Item = &'a str>) -> Schema {
    let columns = names.map(|name| {
        let (_, text) = COLUMNS.iter().find(|(column, _)| *column == name).expect("a column of the harness");
        let (data_type, nullable) = parse_type(text).expect("a type");
        Column::new(name, data_type, nullable)
    });
    Schema::new(columns.collect())
}

/// The step's options in a text of the form `verb: options`, resolved against `schema`.
///
/// # Panics
///
/// If the text is not a step or does not resolve.
#[must_use]
pub fn resolve_step(text: &str, schema: &Schema) -> Resolved {
    let mut problems = Problems::new();
    let root = parse(0, text, &mut problems).unwrap_or_else(|| panic!("{:?}", problems.all()));
    let (key, options): &(_, Node) = &root.map().expect("a step is a map")[0];
    let step = (verb(&key.text).expect("a verb").parse)(options, key.at, &mut problems);
    let step = step.unwrap_or_else(|| panic!("{:?}", problems.all()));
    let event_time = schema.column("at").map(|_| SqlType::Timestamp(3));
    let flow = Flow { schema: schema.clone(), event_time, ordered: true, pruned: false };
    step.resolve(&flow, &mut problems).unwrap_or_else(|| panic!("{:?}", problems.all()))
}

/// Runs the step over these JSON records, in every way the harness knows, and compares its output: rows as JSON, then
/// `rejected: reason` for each rejected row and `late: n`. On one shard the order counts, on several it does not.
///
/// # Panics
///
/// If any way of running gives anything else.
pub fn check(step: &str, input: &[&str], expect: &[&str]) {
    let first: serde_json::Value = serde_json::from_str(input[0]).expect("the first record is JSON");
    let names: Vec<String> = serde_json::Map::keys(first.as_object().expect("an object")).cloned().collect();
    let mut ordered: Vec<&String> = names.iter().collect();
    ordered.sort_by_key(|name| input[0].find(&format!("\"{name}\"")));
    let schema = schema_of(ordered.into_iter().map(String::as_str));
    let resolved = resolve_step(step, &schema);
    for rows_per_block in [usize::MAX, 1, 3] {
        for shards in 1..=3 {
            let blocks = blocks(&schema, input, rows_per_block);
            let mut output = Machine::new(&resolved, shards).run(blocks);
            let mut expect: Vec<String> = expect.iter().map(|&line| line.to_owned()).collect();
            if shards > 1 || rows_per_block == 1 {
                output.sort();
                expect.sort();
            }
            assert_eq!(output, expect, "{step}: {shards} shards, blocks of {rows_per_block} rows");
        }
    }
}

/// The records as batches of one block each, as a source would make them.
fn blocks(schema: &Schema, input: &[&str], rows_per_block: usize) -> Vec<Batch> {
    let chunks: Vec<&[&str]> = input.chunks(rows_per_block.min(input.len())).collect();
    let last = chunks.len() - 1;
    let batches = chunks.iter().enumerate().map(|(number, records)| {
        let text = records.join("\n");
        let mut spans = Vec::new();
        frame_lines(text.as_bytes(), &mut spans);
        let mut rejected = Vec::new();
        let rows = JsonDecoder::new(schema).decode(text.as_bytes(), &spans, &mut rejected);
        assert!(rejected.is_empty(), "the harness is given good records: {rejected:?}");
        let mut batch = Batch::of_rows(rows, number as u64);
        let max_time_ms = stamp_times(&mut batch, schema);
        let end = BlockEnd { through: number as u64, max_time_ms, finished: number == last };
        batch.segments[0].end = Some(end);
        batch
    });
    batches.collect()
}

/// Sets the batch's event times from the column `at`; its highest time.
fn stamp_times(batch: &mut Batch, schema: &Schema) -> i64 {
    let Some(index) = schema.index_of("at") else { return i64::MIN };
    let at_ms: Vec<i64> =
        batch.rows.column(index).as_primitive::<TimestampMillisecondType>().values().to_vec();
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

/// A step on some shards in one thread.
struct Machine {
    sources: Vec<Chain>,
    outboxes: Vec<Option<Outbox>>,
    keyed: Vec<Option<(Inbox, Chain)>>,
    encoder: JsonEncoder,
    output: Vec<String>,
}

impl Machine {
    fn new(resolved: &Resolved, shards: usize) -> Self {
        let position = resolved.parts.iter().position(|part| matches!(part, Part::Exchange { .. }));
        let before = &resolved.parts[..position.unwrap_or(resolved.parts.len())];
        let sources = (0..shards).map(|_| Chain::new(operators(before))).collect();
        let mut outboxes: Vec<Option<Outbox>> = (0..shards).map(|_| None).collect();
        let mut keyed: Vec<Option<(Inbox, Chain)>> = (0..shards).map(|_| None).collect();
        if let Some(position) = position
            && let Part::Exchange { columns, codec } = &resolved.parts[position]
        {
            let bells: Vec<Arc<Bell>> = (0..shards).map(|_| Arc::default()).collect();
            let (sending, receiving) = mesh(1, &bells, &bells);
            for (slot, lanes) in outboxes.iter_mut().zip(sending) {
                *slot = Some(Outbox::new(lanes, Partition::new(codec.clone(), columns.clone())));
            }
            let first: Vec<u64> = (0..shards as u64).collect();
            for (slot, lanes) in keyed.iter_mut().zip(receiving) {
                let inbox = Inbox::new(lanes, first.clone(), Watermarks::new(1, OUT_OF_ORDER_MS));
                *slot = Some((inbox, Chain::new(operators(&resolved.parts[position + 1..]))));
            }
        }
        let encoder = JsonEncoder::new(&resolved.output.schema);
        Self { sources, outboxes, keyed, encoder, output: Vec::new() }
    }

    /// Block k is read by shard k mod n, as files are.
    fn run(mut self, blocks: Vec<Batch>) -> Vec<String> {
        let shards = self.sources.len();
        let mut inputs: Vec<VecDeque<Batch>> = (0..shards).map(|_| VecDeque::new()).collect();
        let empty = blocks[0].slice(0, 0, vec![Segment::last()]);
        for (number, mut block) in blocks.into_iter().enumerate() {
            // The lane sends nothing below the shard's next block.
            if let Some(end) = &mut block.segments[0].end {
                end.through = (number + shards - 1) as u64;
            }
            inputs[number % shards].push_back(block);
        }
        for input in &mut inputs {
            input.push_back(empty.clone());
        }
        let mut idle_rounds = 0;
        while idle_rounds < 3 {
            let mut moved = false;
            for (shard, input) in inputs.iter_mut().enumerate() {
                moved |= self.step_keyed(shard);
                moved |= self.step_source(shard, input);
            }
            idle_rounds = if moved { 0 } else { idle_rounds + 1 };
        }
        assert!(inputs.iter().all(VecDeque::is_empty), "the mesh has come to a standstill with input left");
        let contexts = self.sources.iter().chain(self.keyed.iter().flatten().map(|(_, chain)| chain));
        let mut late = 0;
        for chain in contexts {
            let rejected = chain.context.rejected.iter();
            self.output.extend(rejected.map(|bad| format!("rejected: {}", bad.message)));
            late += chain.context.late;
        }
        if late > 0 {
            self.output.push(format!("late: {late}"));
        }
        self.output
    }

    fn step_source(&mut self, shard: usize, input: &mut VecDeque<Batch>) -> bool {
        let mut outbox = self.outboxes[shard].as_mut();
        let offered = outbox.as_mut().is_some_and(|outbox| outbox.offer());
        if outbox.as_ref().is_some_and(|outbox| !outbox.is_clear()) {
            return offered;
        }
        let chain = &mut self.sources[shard];
        let made = chain.pull().or_else(|| {
            chain.push(input.pop_front()?);
            chain.pull()
        });
        match (made, outbox) {
            (Some(batch), Some(outbox)) => outbox.send(batch),
            (Some(batch), None) => collect(&mut self.encoder, &batch, &mut self.output),
            (None, _) => return offered || !input.is_empty(),
        }
        true
    }

    fn step_keyed(&mut self, shard: usize) -> bool {
        let Some((inbox, chain)) = &mut self.keyed[shard] else { return false };
        let made = chain.pull().or_else(|| match inbox.take() {
            Taken::Batch(batch) => {
                chain.push(batch);
                chain.pull()
            }
            Taken::Empty | Taken::Finished => None,
        });
        let Some(batch) = made else { return false };
        collect(&mut self.encoder, &batch, &mut self.output);
        true
    }
}

fn operators(parts: &[Part]) -> impl Iterator<Item = &Build> {
    parts.iter().map(|part| match part {
        Part::Operator(build) => build,
        Part::Exchange { .. } => unreachable!("a step has at most one exchange"),
    })
}

fn collect(encoder: &mut JsonEncoder, batch: &Batch, output: &mut Vec<String>) {
    let counted: usize = batch.segments.iter().map(|segment| segment.rows as usize).sum();
    assert_eq!(counted, batch.len(), "segments add up to the batch");
    let mut text = Vec::new();
    encoder.encode(&batch.rows, &mut text);
    output.extend(String::from_utf8(text).expect("JSON is UTF-8").lines().map(str::to_owned));
}

#[cfg(test)]
mod tests {
    use super::super::VERBS;
    use super::*;

    #[test]
    fn the_example_of_every_verb_resolves() {
        for verb in VERBS {
            let resolved = resolve_step(verb.example, &example_schema());
            assert!(!resolved.parts.is_empty(), "{}", verb.name);
        }
    }
}
