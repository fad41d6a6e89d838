//! `top` and `dedupe` against models that keep all rows and look at all of them for every answer, over random rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int8Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{Int64Type, TimestampMillisecondType};

use crate::exchange::{Partition, Watermarks};
use crate::operator::verify::{Cut, Output, block, flow_of, resolve_step, run, run_cut};
use crate::operator::{Changelog, Context, Operator, Part, StateSize};
use crate::operator::{Flow, Resolved, Sends};
use crate::record::{Batch, Column, Schema, SqlType};
use crate::time::WATERMARK_MAX;

/// What the harness's source allows, milliseconds.
const OUT_OF_ORDER_MS: i64 = 1000;

/// One row of the input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    key: Option<String>,
    price: Option<i64>,
    id: i64,
    at_ms: i64,
}

/// A row of the output with what has been added to it.
type Made = (Row, Vec<i64>);

fn schema() -> Schema {
    Schema::new(vec![
        Column::new("user", SqlType::String, true),
        Column::new("price", SqlType::BigInt, true),
        Column::new("id", SqlType::BigInt, true),
        Column::new("at", SqlType::Timestamp(3), true),
    ])
}

fn batch_of(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.key.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.price).collect::<Int64Array>()),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.at_ms))),
    ];
    RecordBatch::try_new(schema().arrow().clone(), columns).unwrap()
}

fn rows_of(batch: &RecordBatch) -> Vec<Made> {
    let times = |index: usize| batch.column(index).as_primitive::<TimestampMillisecondType>();
    let one = |row: usize| {
        let (keys, prices) =
            (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
        let made = Row {
            key: keys.is_valid(row).then(|| keys.value(row).to_owned()),
            price: prices.is_valid(row).then(|| prices.value(row)),
            id: batch.column(2).as_primitive::<Int64Type>().value(row),
            at_ms: times(3).value(row),
        };
        let added =
            (4..batch.num_columns()).map(|index| match batch.column(index).as_primitive_opt::<Int64Type>() {
                Some(column) => column.value(row),
                None => times(index).value(row),
            });
        (made, added.collect())
    };
    (0..batch.num_rows()).map(one).collect()
}

/// What the output comes to, checking on the way that nothing is taken back that is not there.
fn fold(output: &Output, what: &str) -> BTreeMap<Made, i64> {
    let mut rows = BTreeMap::new();
    for batch in &output.batches {
        for (index, row) in rows_of(&batch.rows).into_iter().enumerate() {
            let weight = batch.weights.as_ref().map_or(1, |weights| i64::from(weights.value(index)));
            let count = rows.entry(row).or_insert(0);
            *count += weight;
            assert!(*count >= 0, "{what}: taken back before it was there");
        }
    }
    rows.retain(|_, count| *count != 0);
    rows
}

fn counted(rows: impl IntoIterator<Item = Made>) -> BTreeMap<Made, i64> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row).or_insert(0) += 1;
    }
    counts
}

/// The rows in blocks of this many, with the weight of each.
fn blocks(rows: &[(Row, i8)], per_block: usize, changelog: bool) -> Vec<Batch> {
    let chunks: Vec<&[(Row, i8)]> = rows.chunks(per_block).collect();
    let last = chunks.len() - 1;
    let batches = chunks.iter().enumerate().map(|(number, chunk)| {
        let plain: Vec<Row> = chunk.iter().map(|(row, _)| row.clone()).collect();
        let mut batch = block(&schema(), batch_of(&plain), number as u64, number == last);
        let weights = || Int8Array::from_iter_values(chunk.iter().map(|(_, weight)| *weight));
        batch.weights = changelog.then(weights);
        batch
    });
    batches.collect()
}

/// Random rows of few keys and prices, mostly in order.
fn random_rows(random: &mut fastrand::Rng, ids: bool) -> Vec<Row> {
    let count = random.usize(1..60);
    let (keys, prices) = (random.u8(1..5), random.i64(1..12));
    let mut rows = Vec::with_capacity(count);
    for index in 0..count {
        let key = random.u8(0..keys);
        let price = random.i64(0..=prices);
        let time_ms = i64::try_from(index).unwrap() * 200;
        rows.push(Row {
            key: (key > 0).then(|| "k".repeat(usize::from(key) * 9)),
            price: (price > 0).then_some(price),
            id: if ids { i64::try_from(index).unwrap() } else { random.i64(0..3) },
            at_ms: if ids { time_ms + random.i64(0..2600) } else { time_ms / 1000 * 1000 },
        });
    }
    rows
}

/// Inserts the rows, and takes some of them back.
fn with_retractions(random: &mut fastrand::Rng, rows: Vec<Row>) -> Vec<(Row, i8)> {
    let (mut changes, mut there): (Vec<(Row, i8)>, Vec<Row>) = (Vec::new(), Vec::new());
    for row in rows {
        changes.push((row.clone(), 1));
        there.push(row);
        while !there.is_empty() && random.u8(..) < 90 {
            changes.push((there.swap_remove(random.usize(0..there.len())), -1));
        }
    }
    changes
}

fn by_key(rows: impl IntoIterator<Item = Row>) -> BTreeMap<Option<String>, Vec<Row>> {
    let mut partitions: BTreeMap<_, Vec<Row>> = BTreeMap::new();
    for row in rows {
        partitions.entry(row.key.clone()).or_default().push(row);
    }
    partitions
}

/// Runs the step on one to three shards, sending every change or not; on one of these numbers cut at barriers, too.
fn every_way(
    random: &mut fastrand::Rng,
    step: &str,
    rows: &[(Row, i8)],
    per_block: usize,
    changelog: bool,
    check: impl Fn(&Resolved, Output, &str),
) {
    for every_change in [true, false] {
        let changelog_of = changelog.then_some(Changelog { key: None });
        let flow = Flow {
            changelog: changelog_of,
            sends: if every_change { Sends::EachChange } else { Sends::BlockChanges },
            ..flow_of(&schema())
        };
        let resolved = resolve_step(step, &flow);
        let (blocks, per_batch) = (blocks(rows, per_block, changelog), 1 + rows.len() % 3);
        for shards in 1..=3 {
            let what = format!(
                "{step}, every change {every_change}, {shards} shards, blocks of {per_block}, {rows:?}"
            );
            check(&resolved, run(&resolved, shards, per_batch, &blocks), &what);
        }
        if random.bool() {
            continue;
        }
        let shards = random.usize(1..=3);
        let mut cuts = Vec::new();
        for block in 1..blocks.len() {
            if random.u8(..) < 60 && cuts.len() < 3 {
                cuts.push(Cut { block, shards: random.usize(1..=3) });
            }
        }
        let what = format!(
            "{step}, every change {every_change}, {shards} shards, blocks of {per_block}, {cuts:?}, {rows:?}"
        );
        for output in run_cut(&resolved, shards, per_batch, &blocks, &cuts, random.u64(..)) {
            check(&resolved, output, &what);
        }
    }
}

/// A `top` by price.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the step, and all combinations are tried"
)]
struct Top {
    n: usize,
    ties: bool,
    descending: bool,
    ranked: bool,
    keyed: bool,
}

impl Top {
    fn random(random: &mut fastrand::Rng) -> Self {
        Self {
            n: random.usize(1..5),
            ties: random.bool(),
            descending: random.bool(),
            ranked: random.bool(),
            keyed: random.bool(),
        }
    }

    fn step(&self, rest: &str) -> String {
        let per = if self.keyed { "per: user, " } else { "" };
        let ties = if self.ties { ", ties: keep" } else { "" };
        let rank = if self.ranked { ", rank: r" } else { "" };
        let direction = if self.descending { " DESC" } else { "" };
        format!("top: {{ name: t, n: {}, {per}order: price{direction}{ties}{rank}{rest} }}", self.n)
    }

    /// The first rows of every partition of these rows, which are in order of arrival, each with its rank.
    fn first(&self, rows: Vec<Row>, by_arrival: bool) -> Vec<(Row, Option<i64>)> {
        let partitions = if self.keyed { by_key(rows) } else { BTreeMap::from([(None, rows)]) };
        let first = partitions.into_values().flat_map(|rows| self.first_of(rows, by_arrival));
        first.map(|(row, rank)| (row, self.ranked.then_some(rank))).collect()
    }

    /// NULL is the least price.
    fn first_of(&self, mut rows: Vec<Row>, by_arrival: bool) -> Vec<(Row, i64)> {
        let compare = |a: &Row, b: &Row| {
            let order = a.price.cmp(&b.price);
            if self.descending { order.reverse() } else { order }
        };
        if !by_arrival {
            rows.sort();
        }
        rows.sort_by(compare);
        let ranked = rows.iter().enumerate().map(|(index, row)| {
            let better = rows.iter().filter(|other| compare(other, row).is_lt()).count();
            (row.clone(), if self.ties { better } else { index })
        });
        let kept = ranked.filter(|(_, before)| *before < self.n);
        kept.map(|(row, before)| (row, i64::try_from(before).unwrap() + 1)).collect()
    }
}

#[test]
fn running_tops_come_to_the_first_rows() {
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..300 {
        let top = Top::random(&mut random);
        let changelog = random.bool();
        let rows = random_rows(&mut random, !changelog);
        let changes: Vec<(Row, i8)> = if changelog {
            with_retractions(&mut random, rows)
        } else {
            rows.into_iter().map(|row| (row, 1)).collect()
        };
        let mut there: Vec<Row> = Vec::new();
        for (row, weight) in &changes {
            if *weight > 0 {
                there.push(row.clone());
            } else {
                there.remove(there.iter().position(|other| other == row).unwrap());
            }
        }
        let first = top.first(there, !changelog);
        let expect = counted(first.into_iter().map(|(row, rank)| (row, rank.into_iter().collect())));
        let step = top.step("");
        let per_block = random.usize(1..20);
        every_way(&mut random, &step, &changes, per_block, changelog, |_, output, what| {
            assert_eq!(fold(&output, what), expect, "{what}");
        });
    }
}

#[test]
fn what_is_sent_between_block_ends_is_netted() {
    let mut random = fastrand::Rng::with_seed(12);
    for _ in 0..200 {
        let top = Top::random(&mut random);
        let rows = random_rows(&mut random, false);
        let changes = with_retractions(&mut random, rows);
        let step = top.step("");
        let flow = Flow {
            changelog: Some(Changelog { key: None }),
            sends: Sends::BlockChanges,
            ..flow_of(&schema())
        };
        let resolved = resolve_step(&step, &flow);
        let output = run(&resolved, 1, usize::MAX, &blocks(&changes, random.usize(1..20), true));
        let mut signs: BTreeMap<(u64, Made), i8> = BTreeMap::new();
        for batch in &output.batches {
            let numbers =
                batch.segments.iter().flat_map(|segment| vec![segment.number; segment.rows as usize]);
            let weights = batch.weights.iter().flat_map(|weights| weights.values().to_vec());
            for ((row, number), weight) in rows_of(&batch.rows).into_iter().zip(numbers).zip(weights) {
                let sign = *signs.entry((number, row)).or_insert(weight);
                assert_eq!(sign, weight, "{step}: a row goes and comes back in one block, {changes:?}");
            }
        }
    }
}

/// The watermark that each row meets, and which rows a block of this many ends behind that moves the watermark, with the
/// watermark then.
fn watermarks(rows: &[Row], per_block: usize) -> (Vec<i64>, Vec<Option<i64>>) {
    let (mut met, mut after, mut seen, mut passed) = (Vec::new(), Vec::new(), i64::MIN, i64::MIN);
    for (index, row) in rows.iter().enumerate() {
        met.push(if seen == i64::MIN { i64::MIN } else { seen - OUT_OF_ORDER_MS });
        seen = seen.max(row.at_ms);
        let last = index + 1 == rows.len();
        let ends = last || (index + 1) % per_block == 0;
        let then = if last { WATERMARK_MAX } else { seen - OUT_OF_ORDER_MS };
        let moves = ends && then > passed;
        passed = if moves { then } else { passed };
        after.push(moves.then_some(then));
    }
    (met, after)
}

/// The windows that hold a time, found by trying all.
fn windows_of(at_ms: i64, kind: &str, size_ms: i64, every_ms: i64) -> Vec<(i64, i64)> {
    let step_ms = if kind == "cumulative" { size_ms } else { every_ms };
    let starts = (-5000 / step_ms - 1..=at_ms / step_ms).map(|number| number * step_ms);
    let spans = starts.flat_map(|start_ms| match kind {
        "cumulative" => (1..=size_ms / every_ms).map(|n| (start_ms, start_ms + n * every_ms)).collect(),
        _ => vec![(start_ms, start_ms + size_ms)],
    });
    spans.filter(|(start_ms, end_ms)| (*start_ms..*end_ms).contains(&at_ms)).collect()
}

#[test]
fn windowed_tops_are_the_first_rows_of_each_window() {
    let mut random = fastrand::Rng::with_seed(13);
    for _ in 0..150 {
        let top = Top::random(&mut random);
        let rows = random_rows(&mut random, true);
        let per_block = random.usize(1..20);
        let (met, _) = watermarks(&rows, per_block);
        let every_ms = random.i64(300..4000);
        let (kind, size_ms) = match random.u8(0..3) {
            0 => ("tumbling", every_ms),
            1 => ("sliding", random.i64(1..5000)),
            _ => ("cumulative", every_ms * random.i64(1..4)),
        };
        let (mut windows, mut late): (BTreeMap<(i64, i64), Vec<Row>>, u64) = (BTreeMap::new(), 0);
        for (row, watermark_ms) in rows.iter().zip(&met) {
            let holding = windows_of(row.at_ms, kind, size_ms, every_ms);
            let open: Vec<_> = holding.into_iter().filter(|(_, end_ms)| end_ms - 1 > *watermark_ms).collect();
            late += u64::from(open.is_empty());
            for window in open {
                windows.entry(window).or_default().push(row.clone());
            }
        }
        let mut expect = Vec::new();
        for ((start_ms, end_ms), rows) in windows {
            for (row, rank) in top.first(rows, true) {
                let mut added = vec![start_ms, end_ms];
                added.extend(rank);
                expect.push((row, added));
            }
        }
        let expect = counted(expect);
        let every = if kind == "tumbling" { String::new() } else { format!(", every: {every_ms}ms") };
        let rest = format!(", window: {{ {kind}: {size_ms}ms{every} }}");
        let step = top.step(&rest);
        let changes: Vec<(Row, i8)> = rows.into_iter().map(|row| (row, 1)).collect();
        every_way(&mut random, &step, &changes, per_block, false, |_, output, what| {
            assert_eq!(fold(&output, what), expect, "{what}");
            assert_eq!(output.late, late, "{what}");
        });
    }
}

/// The rows that a `dedupe` keeps of each key, after the definition.
fn deduped(rows: &[Row], within_ms: Option<i64>, last: bool, per_block: usize) -> Vec<Row> {
    let (met, after) = watermarks(rows, per_block);
    let mut out = Vec::new();
    for key in by_key(rows.to_vec()).into_keys() {
        // Start, end and row of each open period; for the first row that passed, only the start counts.
        let mut open: Vec<(i64, i64, Row)> = Vec::new();
        for ((row, met_ms), after_ms) in rows.iter().zip(&met).zip(&after) {
            if row.key == key && last {
                let ended = |end_ms: i64| within_ms.is_some() && end_ms - 1 <= *met_ms;
                out.extend(open.extract_if(.., |(_, end_ms, _)| ended(*end_ms)).map(|(_, _, row)| row));
                let found = open.iter_mut().find(|(start_ms, end_ms, _)| {
                    within_ms.is_none() || (*start_ms..*end_ms).contains(&row.at_ms)
                });
                match found {
                    Some((_, _, kept)) if kept.at_ms <= row.at_ms => *kept = row.clone(),
                    Some(_) => {}
                    None => {
                        let next =
                            open.iter().map(|period| period.0).filter(|start_ms| *start_ms > row.at_ms).min();
                        let end_ms = row.at_ms + within_ms.unwrap_or(0);
                        open.push((
                            row.at_ms,
                            next.map_or(end_ms, |next_ms| next_ms.min(end_ms)),
                            row.clone(),
                        ));
                    }
                }
            }
            if row.key == key && !last {
                match open.first_mut() {
                    Some((start_ms, ..))
                        if within_ms.is_none_or(|within_ms| row.at_ms < *start_ms + within_ms) => {}
                    found => {
                        let passed = (row.at_ms, 0, row.clone());
                        out.push(row.clone());
                        match found {
                            Some(first) => *first = passed,
                            None => open.push(passed),
                        }
                    }
                }
            }
            if let (false, Some(within_ms), Some(after_ms)) = (last, within_ms, after_ms) {
                open.retain(|(start_ms, ..)| start_ms + within_ms > *after_ms);
            }
        }
        if last {
            out.extend(open.into_iter().map(|(_, _, row)| row));
        }
    }
    out
}

#[test]
fn dedupe_keeps_what_its_definition_says() {
    let mut random = fastrand::Rng::with_seed(14);
    for _ in 0..400 {
        let rows = random_rows(&mut random, true);
        let per_block = random.usize(1..20);
        let (last, within_ms) = (random.bool(), random.bool().then(|| random.i64(1..4000)));
        let expect = deduped(&rows, within_ms, last, per_block);
        let expect = counted(expect.into_iter().map(|row| (row, Vec::new())));
        let within = within_ms.map_or(String::new(), |within_ms| format!(", within: {within_ms}ms"));
        let keep = if last { "last" } else { "first" };
        let step = format!("dedupe: {{ name: d, by: user, keep: {keep}{within} }}");
        let changes: Vec<(Row, i8)> = rows.into_iter().map(|row| (row, 1)).collect();
        every_way(&mut random, &step, &changes, per_block, false, |_, output, what| {
            assert_eq!(fold(&output, what), expect, "{what}");
        });
    }
}

/// What the step's operator keeps after each of these blocks, on one shard.
fn kept(resolved: &Resolved, blocks: Vec<Batch>) -> Vec<StateSize> {
    let mut exchange = None;
    let mut operators: Vec<Box<dyn Operator>> = Vec::new();
    for part in &resolved.parts {
        match part {
            Part::Exchange { columns, codec } => {
                exchange = Some(Partition::new(codec.clone(), columns.clone()));
            }
            Part::Operator(build) => operators.push((build.build)()),
        }
    }
    let (mut exchange, mut watermarks) = (exchange.unwrap(), Watermarks::new(1, OUT_OF_ORDER_MS));
    let (mut operator, mut context) = (operators.pop().unwrap(), Context::default());
    let sizes = blocks.into_iter().map(|block| {
        let mut batch = exchange.split(block, 1).remove(0);
        watermarks.stamp(&mut batch);
        operator.push(batch, &mut context);
        while operator.pull(&mut context).is_some() {}
        operator.state()
    });
    sizes.collect()
}

#[test]
fn what_is_no_longer_needed_is_forgotten() {
    let mut random = fastrand::Rng::with_seed(15);
    for step in [
        "top: { name: t, n: 2, per: user, order: price, window: { sliding: 3s, every: 1s } }",
        "dedupe: { name: d, by: id, within: 2s }",
        "dedupe: { name: d, by: id, within: 2s, keep: last }",
    ] {
        let rows: Vec<(Row, i8)> =
            (0..50).flat_map(|_| random_rows(&mut random, true)).map(|row| (row, 1)).collect();
        let sizes = kept(&resolve_step(step, &flow_of(&schema())), blocks(&rows, 5, false));
        assert!(sizes[0].entries > 0 && sizes[0].bytes > 0, "{step}");
        assert_eq!(sizes.last().map(|size| (size.entries, size.next_close_ms)), Some((0, None)), "{step}");
    }
    let mut rows: Vec<(Row, i8)> = random_rows(&mut random, true).into_iter().map(|row| (row, 1)).collect();
    rows.extend(rows.clone().into_iter().map(|(row, _)| (row, -1)));
    let flow = Flow { changelog: Some(Changelog { key: None }), ..flow_of(&schema()) };
    let step = "top: { name: t, n: 2, per: id, order: price, rank: r }";
    let sizes = kept(&resolve_step(step, &flow), blocks(&rows, rows.len() / 2, true));
    assert_eq!(sizes.iter().map(|size| size.entries).collect::<Vec<_>>(), [rows.len() / 2, 0]);
}

#[test]
fn a_row_of_many_small_partitions_costs_little_more_than_its_bytes() {
    let row =
        |number: i64| Row { key: None, price: Some(number * 7 % 1000), id: number % 5000, at_ms: number };
    let rows: Vec<(Row, i8)> = (0..50_000).map(|number| (row(number), 1)).collect();
    let step = "top: { name: t, n: 10, per: id, order: price DESC, rank: r }";
    let sizes = kept(&resolve_step(step, &flow_of(&schema())), blocks(&rows, 1000, false));
    let last = sizes.last().unwrap();
    assert_eq!(last.entries, 50_000);
    // The order is 9 bytes, its place in the order of arrival 8, the columns 28.
    let per_row = last.bytes / last.entries;
    assert!((45 + 40..45 + 90).contains(&per_row), "{per_row}");
}
