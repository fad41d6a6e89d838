//! What a record costs at each station of its way, on one thread: decoded, computed with, handed over, counted, written.
//!
//! Bids of Nexmark, 1024 to a batch. Each station's result is checked once before it is timed. Whole pipelines are
//! measured by `scripts/bench`.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StructArray};
use arrow::datatypes::{Int64Type, TimestampMillisecondType};
use criterion::{Criterion, Throughput};
use millstream::codec::framing::frame_lines;
use millstream::codec::json::{JsonDecoder, JsonEncoder, Level};
use millstream::codec::{Decode, Encode};
use millstream::exchange::{Inbox, Outbox, Partition, Taken, Watermarks, mesh};
use millstream::expr::compile;
use millstream::io::Bell;
use millstream::operator::verify::{flow_of, resolve_step};
use millstream::operator::{Build, Network, Part};
use millstream::record::{
    Batch, BlockEnd, Column, EventTimes, KeyCodec, Schema, Segment, SqlType, parse_type,
};
use millstream::source::nexmark::write::{Clock, Options, write_events};
use millstream::time::Now;

const ROWS: usize = Batch::ROWS_MAX;
const THREE_COLUMNS: &str = "ROW<auction BIGINT, price BIGINT, dateTime TIMESTAMP(3)>";
const SEVEN_COLUMNS: &str = "ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, dateTime TIMESTAMP(3), extra STRING>";

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    decode(&mut criterion);
    compute(&mut criterion);
    exchange(&mut criterion);
    aggregate(&mut criterion);
    write(&mut criterion);
    criterion.final_summary();
}

/// The first bids of the stream, as `gen nexmark` writes them.
fn bids() -> Vec<u8> {
    let options = Options { events: 2 * ROWS as u64, ..Options::default() };
    let (mut now, mut sleep_us, mut text) = (Now::default, |_| (), Vec::new());
    let mut clock = Clock { now: &mut now, sleep_us: &mut sleep_us };
    write_events(&options, &mut clock, &mut text).expect("memory takes everything");
    let is_bid = |line: &&[u8]| line.starts_with(b"{\"event_type\":2");
    text.split_inclusive(|byte| *byte == b'\n').filter(is_bid).take(ROWS).flatten().copied().collect()
}

fn schema_of(columns: &[(&str, &str)]) -> Schema {
    let columns = columns.iter().map(|(name, text)| {
        let (data_type, nullable) = parse_type(text).expect("a type");
        Column::new(*name, data_type, nullable)
    });
    Schema::new(columns.collect())
}

fn decoded(schema: &Schema, text: &[u8]) -> RecordBatch {
    let (mut spans, mut rejected) = (Vec::new(), Vec::new());
    frame_lines(text, &mut spans);
    let rows = JsonDecoder::new(schema).decode(text, &spans, &mut rejected);
    assert_eq!((rows.num_rows(), rejected.len()), (ROWS, 0));
    rows
}

/// The bids' own columns at the top, with `dateTime` as `at`.
fn flat_bids() -> (Schema, RecordBatch) {
    let rows = decoded(&schema_of(&[("bid", SEVEN_COLUMNS)]), &bids());
    let bid: &StructArray = rows.column(0).as_struct();
    let schema = schema_of(&[
        ("auction", "BIGINT"),
        ("bidder", "BIGINT"),
        ("price", "BIGINT"),
        ("channel", "STRING"),
        ("url", "STRING"),
        ("at", "TIMESTAMP(3)"),
        ("extra", "STRING"),
    ]);
    let rows =
        RecordBatch::try_new(schema.arrow().clone(), bid.columns().to_vec()).expect("the bids' columns");
    (schema, rows)
}

fn decode(criterion: &mut Criterion) {
    let text = bids();
    let mut spans = Vec::new();
    frame_lines(&text, &mut spans);
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(ROWS as u64));
    for (name, columns) in [("3 columns", THREE_COLUMNS), ("7 columns", SEVEN_COLUMNS)] {
        let schema = schema_of(&[("event_type", "INT NOT NULL"), ("bid", columns)]);
        let rows = decoded(&schema, &text);
        let prices = rows.column(1).as_struct().column_by_name("price").expect("a column").clone();
        let told: i64 = text
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
            .filter_map(|bid| bid["bid"]["price"].as_i64())
            .sum();
        assert_eq!(prices.as_primitive::<Int64Type>().values().iter().sum::<i64>(), told);
        let levels = Level::available()
            .into_iter()
            .map(|level| (format!("{name}, {}", level.name()), JsonDecoder::with_level(&schema, level)));
        let exact = (format!("{name}, parsed whole"), JsonDecoder::exact(&schema));
        let mut rejected = Vec::new();
        for (name, mut decoder) in levels.chain([exact]) {
            group.bench_function(name, |bencher| {
                bencher.iter(|| decoder.decode(black_box(&text), &spans, &mut rejected));
            });
        }
        assert!(rejected.is_empty());
    }
}

fn compute(criterion: &mut Criterion) {
    let (schema, rows) = flat_bids();
    let prices = rows.column(2).as_primitive::<Int64Type>().values().clone();
    let auctions = rows.column(0).as_primitive::<Int64Type>().values().clone();
    let mut group = criterion.benchmark_group("expression");
    group.throughput(Throughput::Elements(ROWS as u64));

    let euro = compile("0.908 * price", &schema).expect("an expression");
    let values = euro.evaluate_at(&rows, 0).values;
    let thousandths = values.as_primitive::<arrow::datatypes::Decimal128Type>();
    assert!(thousandths.values().iter().zip(&prices).all(|(euro, price)| *euro == i128::from(*price) * 908));
    group.bench_function("0.908 * price", |bencher| bencher.iter(|| euro.evaluate_at(black_box(&rows), 0)));

    let some = compile("MOD(auction, 123) = 0", &schema).expect("an expression");
    let batch = Batch::of_rows(rows.clone(), 0);
    let expect = auctions.iter().filter(|auction| *auction % 123 == 0).count();
    assert_eq!(batch.filter(some.evaluate_at(&rows, 0).values.as_boolean()).len(), expect);
    group.bench_function("filter MOD(auction, 123) = 0", |bencher| {
        bencher.iter(|| batch.filter(some.evaluate_at(black_box(&rows), 0).values.as_boolean()));
    });
}

/// Two shards in one thread: both split their batches and take what is theirs.
struct Mesh {
    outboxes: Vec<Outbox>,
    inboxes: Vec<Inbox>,
    batch: Batch,
    next: u64,
}

impl Mesh {
    fn new(rows: RecordBatch) -> Self {
        let bells = [Arc::<Bell>::default(), Arc::default()];
        let (sending, receiving) = mesh(8, &bells, &bells);
        let codec = KeyCodec::new(vec![SqlType::BigInt]).expect("integers are keys");
        let partition = || Partition::new(codec.clone(), vec![0]);
        let outboxes = sending.into_iter().map(|lanes| Outbox::new(lanes, partition())).collect();
        let inbox = |lanes| Inbox::new(vec![lanes], vec![vec![0, 1]], Watermarks::new(1, 0));
        let inboxes = receiving.into_iter().map(inbox).collect();
        Self { outboxes, inboxes, batch: Batch::of_rows(rows, 0), next: 0 }
    }

    /// Hands one batch of each shard over; how many rows each shard got.
    fn step(&mut self) -> [usize; 2] {
        for outbox in &mut self.outboxes {
            let mut batch = self.batch.clone();
            let end = BlockEnd { through: self.next + 1, max_time_ms: 0, finished: false, idle: false };
            batch.segments[0] = Segment { number: self.next, end: Some(end), ..batch.segments[0] };
            outbox.send(batch);
            outbox.offer();
            self.next += 1;
        }
        let mut taken = [0; 2];
        for (inbox, taken) in self.inboxes.iter_mut().zip(&mut taken) {
            while let Taken::Batch(_, batch) = inbox.take() {
                *taken += batch.len();
            }
        }
        taken
    }
}

fn exchange(criterion: &mut Criterion) {
    let (_, rows) = flat_bids();
    let mut mesh = Mesh::new(rows);
    // What is taken in one step may have been sent in the one before.
    let mut both = [0; 2];
    for _ in 0..10 {
        let taken = mesh.step();
        both = [both[0] + taken[0], both[1] + taken[1]];
    }
    assert!(both[0] > 0 && both[1] > 0 && both[0] + both[1] > 18 * ROWS, "{both:?}");
    let mut group = criterion.benchmark_group("exchange");
    group.throughput(Throughput::Elements(2 * ROWS as u64));
    group.bench_function("2 shards, batches of 1024 rows", |bencher| bencher.iter(|| mesh.step()));
}

fn operators(parts: &[Part]) -> impl Iterator<Item = &Build> {
    parts.iter().filter_map(|part| match part {
        Part::Operator(build) => Some(build),
        Part::Exchange { .. } => None,
    })
}

fn aggregate(criterion: &mut Criterion) {
    let (schema, rows) = flat_bids();
    let step = "aggregate: { name: bids, by: auction, window: { tumbling: 10s }, select: { num: COUNT(*), highest: MAX(price) } }";
    let resolved = resolve_step(step, &flow_of(&schema));
    let place = resolved.parts.iter().position(|part| matches!(part, Part::Exchange { .. }));
    let (before, behind) = resolved.parts.split_at(place.expect("an aggregate by key has an exchange"));
    let Part::Exchange { columns, codec } = &behind[0] else { unreachable!("split there") };

    // As the rows reach the keyed operator: with their times and key hashes, stamped with the watermark.
    let mut batch = Batch::of_rows(rows, 0);
    let at = batch.rows.column(5).as_primitive::<TimestampMillisecondType>().values().to_vec();
    batch.times = Some(EventTimes { at_ms: Int64Array::from(at), seen_ms: None });
    let mut head = Network::chain(operators(before));
    head.push(0, batch);
    let (_, keyed) = head.pull().expect("one batch for one batch");
    let mut batch = Partition::new(codec.clone(), columns.clone()).split(keyed, 1).remove(0);
    let mut watermarks = Watermarks::new(1, 0);
    watermarks.stamp(&mut batch);

    let mut chain = Network::chain(operators(behind));
    chain.push(0, batch.clone());
    assert!(chain.pull().is_none_or(|(_, output)| output.is_empty()), "the window is open");
    assert_eq!(windowed(&mut chain, &batch, &mut watermarks), i64::try_from(ROWS).expect("small"));

    let mut chain = Network::chain(operators(behind));
    let mut group = criterion.benchmark_group("aggregate");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("COUNT(*), MAX(price) by auction, one open window", |bencher| {
        bencher.iter(|| {
            chain.push(0, batch.clone());
            while let Some((_, output)) = chain.pull() {
                black_box(output);
            }
        });
    });
}

/// Ends the input; the sum of the counts that come out.
fn windowed(chain: &mut Network, like: &Batch, watermarks: &mut Watermarks) -> i64 {
    let end = BlockEnd { through: 0, max_time_ms: i64::MIN, finished: true, idle: false };
    let last = Segment { rows: 0, number: 0, split: 0, end: Some(end) };
    let mut batch = like.slice(0, 0, vec![last]);
    watermarks.stamp(&mut batch);
    chain.push(0, batch);
    let mut counted = 0;
    while let Some((_, output)) = chain.pull() {
        let counts: ArrayRef = output.rows.column_by_name("num").expect("a column").clone();
        counted += counts.as_primitive::<Int64Type>().values().iter().sum::<i64>();
    }
    counted
}

fn write(criterion: &mut Criterion) {
    let (schema, rows) = flat_bids();
    let (mut encoder, mut text) = (JsonEncoder::new(&schema), Vec::new());
    encoder.encode(&rows, &mut text);
    assert_eq!(decoded(&schema, &text), rows, "what was written reads the same");
    let mut group = criterion.benchmark_group("write");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("7 columns", |bencher| {
        bencher.iter(|| {
            text.clear();
            encoder.encode(black_box(&rows), &mut text);
        });
    });
}
