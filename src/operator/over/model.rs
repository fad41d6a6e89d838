//! Random rows through `over` and through a model of it that looks at every row anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{Float64Type, Int64Type};

use super::frame::Extent;
use crate::exchange::{Partition, Watermarks};
use crate::operator::verify::{Cut, block, flow_of, resolve_step, run, run_cut};
use crate::operator::{Build, Context, Flow, Network, Part, Resolved};
use crate::record::{Batch, Column, Schema, SqlType};

/// The disorder that the harness's source allows, milliseconds.
const OUT_OF_ORDER_MS: i64 = 1000;

#[derive(Clone, Debug, PartialEq)]
struct Row {
    key: Option<u8>,
    at_ms: i64,
    price: Option<i64>,
    ratio: f64,
    id: i64,
}

/// What the step adds, in the order of [`SELECT`].
type Added = (Option<i64>, i64, i64, Option<i64>, f64, f64, i64, i64);

const SELECT: &str = "{ s: SUM(price), n: COUNT(*), odd: COUNT(price) FILTER (WHERE MOD(price, 2) = 1), low: MIN(price), high: MAX(ratio), r: SUM(ratio), d: COUNT(DISTINCT price), first: FIRST_VALUE(id) }";

fn schema() -> Schema {
    Schema::new(vec![
        Column::new("user", SqlType::String, true),
        Column::new("at", SqlType::Timestamp(3), true),
        Column::new("price", SqlType::BigInt, true),
        Column::new("ratio", SqlType::Double, true),
        Column::new("id", SqlType::BigInt, true),
    ])
}

fn rows_of(rows: &[Row]) -> RecordBatch {
    let users: StringArray = rows.iter().map(|row| row.key.map(|key| format!("user {key}"))).collect();
    let times: TimestampMillisecondArray = rows.iter().map(|row| Some(row.at_ms)).collect();
    let prices: Int64Array = rows.iter().map(|row| row.price).collect();
    let ratios: Float64Array = rows.iter().map(|row| Some(row.ratio)).collect();
    let ids: Int64Array = rows.iter().map(|row| Some(row.id)).collect();
    let columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(users), Arc::new(times), Arc::new(prices), Arc::new(ratios), Arc::new(ids)];
    RecordBatch::try_new(schema().arrow().clone(), columns).expect("the columns of the schema")
}

/// What the rows come to, by id, and how many are late.
fn model(rows: &[Row], extent: Extent, ordered: bool) -> (BTreeMap<i64, Added>, u64) {
    let (mut timely, mut seen_ms, mut late) = (Vec::new(), i64::MIN, 0);
    for row in rows {
        if seen_ms > i64::MIN && row.at_ms <= seen_ms - OUT_OF_ORDER_MS {
            late += 1;
        } else {
            timely.push(row.clone());
        }
        seen_ms = seen_ms.max(row.at_ms);
    }
    if ordered {
        timely.sort_by_key(|row| row.at_ms);
    } else {
        let key = |row: &Row| (row.at_ms, row.key.map(|key| format!("user {key}")), row.price);
        timely.sort_by(|a, b| key(a).cmp(&key(b)).then(a.ratio.total_cmp(&b.ratio)).then(a.id.cmp(&b.id)));
    }
    let added = timely.iter().enumerate().map(|(index, row)| {
        let same_key = |other: &&Row| other.key == row.key;
        let frame: Vec<&Row> = match extent {
            Extent::All => timely.iter().filter(same_key).filter(|other| other.at_ms <= row.at_ms).collect(),
            Extent::Rows(most) => {
                let mut frame: Vec<&Row> =
                    timely[..=index].iter().rev().filter(same_key).take(most).collect();
                frame.reverse();
                frame
            }
            Extent::Range(range_ms) => {
                let inside = |other: &&Row| (row.at_ms - range_ms..=row.at_ms).contains(&other.at_ms);
                timely.iter().filter(same_key).filter(inside).collect()
            }
        };
        (row.id, aggregates(&frame))
    });
    (added.collect(), late)
}

fn aggregates(frame: &[&Row]) -> Added {
    let prices: Vec<i64> = frame.iter().filter_map(|row| row.price).collect();
    let odd = prices.iter().filter(|price| *price % 2 == 1).count();
    let highest = frame.iter().map(|row| row.ratio).fold(f64::NEG_INFINITY, f64::max);
    (
        (!prices.is_empty()).then(|| prices.iter().sum()),
        frame.len().cast_signed() as i64,
        odd.cast_signed() as i64,
        prices.iter().min().copied(),
        highest,
        // Quarters: sums of them are exact in any order.
        frame.iter().map(|row| row.ratio).sum(),
        prices.iter().collect::<BTreeSet<_>>().len().cast_signed() as i64,
        frame[0].id,
    )
}

/// The output by id, and the ids of one key in the order they came out, checked to be that of time.
fn found(batches: &[Batch]) -> BTreeMap<i64, Added> {
    let mut found = BTreeMap::new();
    for batch in batches {
        let integers = |column: usize| batch.rows.column(column).as_primitive::<Int64Type>();
        let doubles = |column: usize| batch.rows.column(column).as_primitive::<Float64Type>();
        let times = batch.times.as_ref().expect("rows have event times");
        assert_eq!(
            times.at_ms.values(),
            batch.rows.column(1).as_primitive::<arrow::datatypes::TimestampMillisecondType>().values(),
            "the event time is the row's own"
        );
        for row in 0..batch.len() {
            let optional = |column: usize| integers(column).iter().nth(row).expect("as many values as rows");
            let added = (
                optional(5),
                integers(6).value(row),
                integers(7).value(row),
                optional(8),
                doubles(9).value(row),
                doubles(10).value(row),
                integers(11).value(row),
                integers(12).value(row),
            );
            let twice = found.insert(integers(4).value(row), added);
            assert_eq!(twice, None, "a row comes out once");
        }
    }
    found
}

fn random_rows(random: &mut fastrand::Rng, count: usize) -> Vec<Row> {
    let (keys, disorder_ms) = (random.u8(1..6), random.i64(1..1600));
    let step_ms = random.i64(1..400);
    let mut at_ms = 1_000_000;
    let row = |id: usize| {
        at_ms += if random.u8(..) < 8 { random.i64(0..9000) } else { random.i64(0..step_ms) };
        // Few distinct times, so that there are peers.
        let at_ms = (at_ms - random.i64(0..disorder_ms)) / 20 * 20;
        Row {
            key: Some(random.u8(0..keys)).filter(|key| *key > 0),
            at_ms,
            price: (random.u8(..) > 30).then(|| random.i64(0..100)),
            ratio: f64::from(random.i16(-400..400)) / 4.0,
            id: id.cast_signed() as i64,
        }
    };
    (0..count).map(row).collect()
}

fn blocks_of(rows: &[Row], random: &mut fastrand::Rng) -> Vec<Batch> {
    let (mut blocks, mut from) = (Vec::new(), 0);
    while from < rows.len() {
        let count = random.usize(1..=20).min(rows.len() - from);
        let last = from + count == rows.len();
        blocks.push(block(&schema(), rows_of(&rows[from..from + count]), blocks.len() as u64, last));
        from += count;
    }
    blocks
}

fn step_of(extent: Extent, ordered: bool) -> Resolved {
    let frame = match extent {
        Extent::All => String::new(),
        Extent::Rows(rows) => format!("rows: {rows}, "),
        Extent::Range(range_ms) => format!("range: {range_ms}ms, "),
    };
    let flow = Flow { ordered, ..flow_of(&schema()) };
    resolve_step(&format!("over: {{ name: o, by: user, {frame}select: {SELECT} }}"), &flow)
}

#[test]
fn every_row_gets_the_aggregates_of_its_frame() {
    let mut random = fastrand::Rng::with_seed(11);
    for case in 0..1500 {
        let extent = match case % 3 {
            0 => Extent::All,
            1 => Extent::Rows(random.usize(1..8)),
            _ => Extent::Range(random.i64(0..40) * 50),
        };
        let ordered = case % 4 != 0;
        let count = random.usize(1..80);
        let rows = random_rows(&mut random, count);
        let (expect, late) = model(&rows, extent, ordered);
        let resolved = step_of(extent, ordered);
        let (shards, per_batch, blocks) = (1 + case % 3, 1 + case % 5, blocks_of(&rows, &mut random));
        let output = run(&resolved, shards, per_batch, &blocks);
        assert_eq!(output.late, late, "case {case}, {extent:?}: {rows:?}");
        assert_eq!(found(&output.batches), expect, "case {case}, {extent:?}: {rows:?}");
        if random.bool() {
            continue;
        }
        let mut cuts = Vec::new();
        for block in 1..blocks.len() {
            if random.u8(..) < 100 && cuts.len() < 3 {
                cuts.push(Cut { block, shards: random.usize(1..=3) });
            }
        }
        for output in run_cut(&resolved, shards, per_batch, &blocks, &cuts, random.u64(..)) {
            assert_eq!(output.late, late, "case {case}, {extent:?}, cut at {cuts:?}: {rows:?}");
            assert_eq!(found(&output.batches), expect, "case {case}, {extent:?}, cut at {cuts:?}: {rows:?}");
        }
    }
}

#[test]
fn a_key_whose_frame_is_empty_is_dropped() {
    let resolved = step_of(Extent::Range(5000), true);
    let [Part::Operator(_), Part::Exchange { columns, codec }, Part::Operator(build), ..] =
        resolved.parts.as_slice()
    else {
        panic!("a projection, an exchange, the operator")
    };
    let (mut operator, mut context) = ((build.build)(), Context::default());
    let mut prepare = Network::chain([first_of(&resolved)]);
    let mut partition = Partition::new(codec.clone(), columns.clone());
    let mut watermarks = Watermarks::new(1, OUT_OF_ORDER_MS);
    // Times of rows, each of a key of its own, and how many rows and keys are kept behind them.
    let steps: [(&[i64], usize); 6] =
        [(&[0, 10], 2), (&[1000], 3), (&[5999], 4), (&[6010], 3), (&[7100], 3), (&[90_000, 90_001], 2)];
    for (number, (times, kept)) in steps.iter().enumerate() {
        let row = |at_ms: &i64| Row {
            key: u8::try_from(at_ms % 251).ok(),
            at_ms: *at_ms,
            price: Some(1),
            ratio: 1.0,
            id: *at_ms,
        };
        let rows: Vec<Row> = times.iter().map(row).collect();
        prepare.push(0, block(&schema(), rows_of(&rows), number as u64, false));
        let (_, prepared) = prepare.pull().expect("a projection yields what it is given");
        let mut batch = partition.split(prepared, 1).remove(0);
        watermarks.stamp(&mut batch);
        operator.push(batch, &mut context);
        while operator.pull(&mut context).is_some() {}
        assert_eq!(operator.state().entries, *kept, "behind {times:?}");
        assert!(operator.state().bytes > 0);
    }
}

fn first_of(resolved: &Resolved) -> &Build {
    match &resolved.parts[0] {
        Part::Operator(build) => build,
        Part::Exchange { .. } => panic!("an argument is evaluated first"),
    }
}
