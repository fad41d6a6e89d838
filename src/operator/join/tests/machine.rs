//! A join on some shards in one thread, cut into batches at random, and at barriers.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Int8Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{Int64Type, TimestampMillisecondType};

use crate::error::Problems;
use crate::operator::join::{ResolvedJoin, parse_join};
use crate::operator::key_bytes::KeyBytes;
use crate::operator::work::position_of;
use crate::operator::{Captured, Changelog, Context, Flow, Operator, Part};
use crate::record::{
    Batch, BlockEnd, Column, EventTimes, Interleaved, KeyCodec, Schema, Segment, SqlType, shard_of_slot,
    slot_of_hash,
};
use crate::time::SegmentClock;

/// A row of either input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub k: Option<i64>,
    pub v: i64,
    /// None only where nothing depends on it.
    pub at: Option<i64>,
}

/// A row with its weight.
pub type Change = (Row, i8);

/// What comes between two ends: rows of the first input, then those of the second, and the watermark behind them.
#[derive(Clone, Debug, Default)]
pub struct Block {
    pub rows: [Vec<Change>; 2],
    pub after_ms: Option<i64>,
}

/// A row of output: of each side the row, none where that is NULL or not there.
pub type Made = [Option<Row>; 2];

/// What has been made: rows with what they weigh in all.
pub type Net = BTreeMap<Made, i64>;

/// What comes out of one shard.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// By block number, in order: rows, weights, times.
    pub rows: Vec<(u64, Made, i8, Option<i64>)>,
    /// The watermarks at the ends of blocks, `[end]`.
    pub ends: Vec<(u64, i64)>,
    /// Why rows were rejected.
    pub rejected: Vec<String>,
}

pub fn schema() -> Schema {
    Schema::new(vec![
        Column::new("k", SqlType::BigInt, true),
        Column::new("v", SqlType::BigInt, false),
        Column::new("text", SqlType::String, true),
        Column::new("at", SqlType::Timestamp(3), true),
    ])
}

/// The join of these options over two inputs `a` and `b`, or its problems.
pub fn resolve(options: &str, changelog: [bool; 2]) -> Result<ResolvedJoin, Vec<String>> {
    let mut problems = Problems::new();
    let node = crate::yaml::parse(0, options, &mut problems).unwrap();
    let flow = |changes: bool| Flow {
        changelog: changes.then_some(Changelog { key: None }),
        ..Flow::of_source(schema(), Some(SqlType::Timestamp(3)))
    };
    let flows = changelog.map(flow);
    let join = parse_join(&node, node.at, &mut problems);
    let resolved = join.and_then(|join| join.resolve([("a", &flows[0]), ("b", &flows[1])], &mut problems));
    let told = || problems.all().iter().map(|problem| problem.what.clone()).collect();
    assert_eq!(resolved.is_none(), problems.has_errors(), "{options}: {:?}", problems.all());
    resolved.ok_or_else(told)
}

fn batch_of(rows: &[Change], segments: Vec<Segment>, clocks: Vec<SegmentClock>) -> Batch {
    let column = |of: fn(&Row) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(|(row, _)| of(row)).collect::<Int64Array>())
    };
    let texts: StringArray = rows.iter().map(|(row, _)| Some(format!("{} of {:?}", row.v, row.k))).collect();
    let at: TimestampMillisecondArray = rows.iter().map(|(row, _)| row.at).collect();
    let columns: Vec<ArrayRef> =
        vec![column(|row| row.k), column(|row| Some(row.v)), Arc::new(texts), Arc::new(at)];
    let mut batch = Batch::of_rows(schema().rows(columns, rows.len()), 0);
    let times: Vec<i64> = rows.iter().map(|(row, _)| row.at.unwrap_or(0)).collect();
    batch.times = Some(EventTimes { at_ms: times.into(), seen_ms: None });
    batch.weights = Some(Int8Array::from(rows.iter().map(|(_, weight)| *weight).collect::<Vec<i8>>()));
    batch.segments = segments;
    batch.clocks = clocks;
    batch
}

/// One join on several shards.
pub struct Machine<'a> {
    resolved: &'a ResolvedJoin,
    pub operators: Vec<Box<dyn Operator>>,
    pub outputs: Vec<Output>,
}

impl<'a> Machine<'a> {
    pub fn new(resolved: &'a ResolvedJoin, shards: usize) -> Self {
        let operators = (0..shards).map(|_| (resolved.build.build)()).collect();
        Self { resolved, operators, outputs: vec![Output::default(); shards] }
    }

    fn codec(&self) -> &KeyCodec {
        match self.resolved.before[0].last() {
            Some(Part::Exchange { codec, .. }) => codec,
            _ => unreachable!("the last part is the exchange"),
        }
    }

    /// Takes rows through what stands before the join; yields them with the hash of each.
    fn before(&self, port: usize, batch: Batch) -> Batch {
        let mut batch = batch;
        for part in &self.resolved.before[port] {
            match part {
                Part::Operator(build) => {
                    let mut operator = (build.build)();
                    let mut context = Context::default();
                    operator.push(batch, &mut context);
                    batch = operator.pull(&mut context).unwrap();
                }
                Part::Exchange { columns, codec } => {
                    let keys = KeyBytes::of(&batch, columns, codec);
                    let hashes: Vec<u64> = (0..keys.len()).map(|row| KeyCodec::hash(keys.key(row))).collect();
                    batch.hashes = Some(hashes.into());
                }
            }
        }
        batch
    }

    fn shard_of(&self, port: usize, row: &Change) -> usize {
        let segment = Segment { rows: 1, number: 0, split: 0, end: None };
        let batch = self.before(port, batch_of(&[*row], vec![segment], Vec::new()));
        shard_of_slot(slot_of_hash(batch.hashes.unwrap().value(0)), self.operators.len())
    }

    /// Works these blocks off, the first of which has this number, in batches cut at random. `between` is called whenever
    /// an operator has yielded something, and when it has nothing more to yield.
    pub fn feed(
        &mut self,
        first: usize,
        blocks: &[Block],
        random: &mut fastrand::Rng,
        between: &mut dyn FnMut(usize, &mut dyn Operator),
    ) {
        for shard in 0..self.operators.len() {
            // Runs of rows and ends, each of one port.
            let mut pieces: Vec<(usize, Vec<Change>, Segment, Option<i64>)> = Vec::new();
            for (index, block) in blocks.iter().enumerate() {
                let number = (first + index) as u64;
                for port in [0, 1] {
                    let mut rows: &[Change] = &block.rows[port]
                        .iter()
                        .filter(|row| self.shard_of(port, row) == shard)
                        .copied()
                        .collect::<Vec<_>>();
                    while !rows.is_empty() {
                        let (now, behind) = rows.split_at(random.usize(1..=rows.len()));
                        let segment = Segment { rows: position_of(now.len()), number, split: 0, end: None };
                        pieces.push((port, now.to_vec(), segment, None));
                        rows = behind;
                    }
                }
                let end = BlockEnd { through: number, max_time_ms: 0, finished: false, idle: false };
                let segment = Segment { rows: 0, number, split: 0, end: Some(end) };
                pieces.push((random.usize(0..2), Vec::new(), segment, block.after_ms));
            }
            let mut pieces = pieces.into_iter().peekable();
            let mut together = Interleaved { batches: Vec::new(), turns: Vec::new() };
            while let Some((port, mut rows, segment, after_ms)) = pieces.next() {
                let clock = |after_ms| SegmentClock {
                    others_ms: i64::MAX,
                    split_max_ms: i64::MIN,
                    out_of_order_ms: 0,
                    after_ms,
                };
                let (mut segments, mut clocks) = (vec![segment], vec![clock(after_ms)]);
                while pieces.peek().is_some_and(|piece| piece.0 == port) && random.u8(0..3) > 0 {
                    let (_, more, segment, after_ms) = pieces.next().unwrap();
                    rows.extend(more);
                    segments.push(segment);
                    clocks.push(clock(after_ms));
                }
                let batch = self.before(port, batch_of(&rows, segments, clocks));
                // Several turns come together, those of a port as one batch or as several.
                let known =
                    together.batches.iter().position(|(other, _)| *other == port && random.u8(0..4) > 0);
                let place = known.unwrap_or(together.batches.len());
                together.turns.push((place, batch.segments.len()));
                match together.batches.get_mut(place) {
                    Some((_, before)) => *before = Batch::concat(vec![before.clone(), batch]),
                    None => together.batches.push((port, batch)),
                }
                if pieces.peek().is_some() && random.u8(0..3) > 0 {
                    continue;
                }
                let now = Interleaved { batches: Vec::new(), turns: Vec::new() };
                self.step(shard, std::mem::replace(&mut together, now), between);
            }
        }
    }

    fn step(&mut self, shard: usize, input: Interleaved, between: &mut dyn FnMut(usize, &mut dyn Operator)) {
        let (operator, output) = (&mut self.operators[shard], &mut self.outputs[shard]);
        let mut context = Context::default();
        operator.push_interleaved(input, &mut context);
        while let Some(batch) = operator.pull(&mut context) {
            assert!(batch.len() <= Batch::ROWS_MAX);
            let mut row = 0;
            for segment in &batch.segments {
                for row in row..row + segment.rows as usize {
                    let weight = batch.weights.as_ref().map_or(1, |weights| weights.value(row));
                    let at_ms = batch.times.as_ref().map(|times| times.at_ms.value(row));
                    output.rows.push((segment.number, made(&batch.rows, row), weight, at_ms));
                }
                row += segment.rows as usize;
                if let Some(end) = segment.end {
                    output.ends.push((segment.number, end.max_time_ms));
                }
            }
            assert_eq!(row, batch.len());
            between(shard, operator.as_mut());
        }
        between(shard, operator.as_mut());
        output.rejected.extend(context.rejected.drain(..).map(|bad| bad.message));
    }

    /// Restores what was captured.
    pub fn restore(&mut self, captured: &[Captured], random: &mut fastrand::Rng) {
        let tables = self.operators[0].tables();
        let codec = self.codec().clone();
        let shards = self.operators.len();
        let mut captured: Vec<&Captured> = captured.iter().collect();
        random.shuffle(&mut captured);
        for Captured { table, rows } in captured {
            assert_eq!(rows.schema(), tables[*table].schema);
            for shard in 0..shards {
                let kept = if tables[*table].key.is_some() {
                    let keys =
                        KeyBytes::of_columns(&rows.columns()[..codec.columns()], rows.num_rows(), &codec);
                    let is_ours = |row: usize| {
                        Some(shard_of_slot(slot_of_hash(KeyCodec::hash(keys.key(row))), shards) == shard)
                    };
                    let mask = (0..rows.num_rows()).map(is_ours).collect();
                    arrow::compute::filter_record_batch(rows, &mask).unwrap()
                } else {
                    rows.clone()
                };
                self.operators[shard].restore(*table, &kept);
            }
        }
        self.operators.iter_mut().for_each(|operator| operator.restored());
    }

    /// What has been made through a block.
    pub fn net(&self, through: u64) -> Net {
        let mut net = Net::new();
        let rows = self.outputs.iter().flat_map(|output| &output.rows);
        for (_, made, weight, _) in rows.filter(|(number, ..)| *number <= through) {
            *net.entry(*made).or_default() += i64::from(*weight);
        }
        net.retain(|_, weight| *weight != 0);
        net
    }
}

/// A row of output.
fn made(rows: &RecordBatch, row: usize) -> Made {
    let side = |name: &str| {
        let side = rows.column_by_name(name)?.as_struct();
        if arrow::array::Array::is_null(side, row) {
            return None;
        }
        let integer = |column: usize| {
            let column = side.column(column).as_primitive::<Int64Type>();
            arrow::array::Array::is_valid(column, row).then(|| column.value(row))
        };
        let at = side.column(3).as_primitive::<TimestampMillisecondType>();
        let at = arrow::array::Array::is_valid(at, row).then(|| at.value(row));
        let (k, v) = (integer(0), integer(1).unwrap());
        assert_eq!(side.column(2).as_string::<i32>().value(row), format!("{v} of {k:?}"));
        Some(Row { k, v, at })
    };
    ["a", "b"].map(side)
}
