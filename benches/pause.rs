//! How long a batch takes while the state is written beside it: percentiles over batches of 1024 rows with random keys,
//! counted and summed by key, without a snapshot and during snapshots, on one thread.
//!
//! ```sh
//! cargo bench --bench pause                # 1,000,000 keys, 10 snapshots
//! PAUSE_KEYS=4000000 cargo bench --bench pause
//! ```
//!
//! What is captured is checked: every key once in each snapshot, as it was when the snapshot began.

use std::path::Path;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use hdrhistogram::Histogram;
use millstream::exchange::{Partition, Watermarks};
use millstream::io::{Disk, Mode, Storage, probe_io_uring};
use millstream::operator::verify::{flow_of, resolve_step};
use millstream::operator::{Build, Flow, Network, Part, StateTable};
use millstream::record::{Batch, BlockEnd, Column, Schema, SqlType};
use millstream::snapshot::{PartInfo, PartWriter};

const ROWS: usize = Batch::ROWS_MAX;
/// As many entries as a shard captures in a step.
const ENTRIES: usize = 1024;
const STEP: &str = "aggregate: { name: sums, by: id, select: { num: COUNT(*), total: SUM(price) } }";

fn main() {
    // Run by `cargo test`, only the check counts.
    let checks_only = std::env::args().any(|argument| argument == "--test") || cfg!(debug_assertions);
    let asked = std::env::var("PAUSE_KEYS").ok().and_then(|keys| keys.parse().ok());
    let keys: i64 = asked.unwrap_or(if checks_only { 20_000 } else { 1_000_000 });
    let snapshots = if checks_only { 2 } else { 10 };
    let mode = if probe_io_uring().is_ok() { Mode::Uring } else { Mode::Threads };
    let folder = tempfile::tempdir().expect("a scratch directory");
    let mut shard = Shard::new();
    for first in (0..keys).step_by(ROWS) {
        let ids: Vec<i64> = (first..keys.min(first + i64::try_from(ROWS).expect("small"))).collect();
        shard.work(&ids);
    }
    let mut random = fastrand::Rng::with_seed(1);
    let mut ids = || -> Vec<i64> { (0..ROWS).map(|_| random.i64(0..keys)).collect() };
    let (mut alone, mut beside) = (histogram(), histogram());
    let mut written = Vec::new();
    for number in 0..snapshots {
        let path = folder.path().join(format!("part-{number}"));
        let before = shard.rows;
        let (mut batches, began) = (0, Instant::now());
        let summary = shard.snapshot(
            mode,
            &path,
            || {
                batches += 1;
                ids()
            },
            &mut beside,
        );
        assert_eq!(summary.rows, u64::try_from(keys).expect("positive"), "every key once");
        assert_eq!(summary.counted, before, "as it was when the snapshot began");
        written.push((began.elapsed(), batches, summary.bytes));
        // As many batches without one.
        for _ in 0..batches {
            let ids = ids();
            record(&mut alone, || shard.work(&ids));
        }
    }
    println!("{keys} keys, {} batches of {ROWS} rows each way, {mode:?}", alone.len());
    println!("{:>28} {:>8} {:>8} {:>8} {:>8}", "microseconds a batch", "p50", "p99", "p99.9", "max");
    for (name, histogram) in [("without a snapshot", &alone), ("during a snapshot", &beside)] {
        let at = |quantile| histogram.value_at_quantile(quantile);
        println!("{name:>28} {:>8} {:>8} {:>8} {:>8}", at(0.5), at(0.99), at(0.999), histogram.max());
    }
    written.sort();
    let (elapsed, batches, bytes) = written[written.len() / 2];
    println!("a snapshot: {bytes} bytes in {} ms, {batches} batches meanwhile (median)", elapsed.as_millis());
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits")
}

fn record(histogram: &mut Histogram<u64>, work: impl FnOnce()) {
    let began = Instant::now();
    work();
    let micros = u64::try_from(began.elapsed().as_micros()).expect("short");
    histogram.record(micros).expect("the histogram grows by itself");
}

/// The keyed stage of one shard.
struct Shard {
    schema: Schema,
    head: Network,
    partition: Partition,
    watermarks: Watermarks,
    keyed: Network,
    tables: Vec<StateTable>,
    /// How many rows it has had.
    rows: i64,
    number: u64,
}

/// What was written.
struct Written {
    rows: u64,
    counted: i64,
    bytes: u64,
}

impl Shard {
    fn new() -> Self {
        let schema = Schema::new(vec![
            Column::new("id", SqlType::BigInt, false),
            Column::new("price", SqlType::BigInt, false),
        ]);
        let flow = Flow { sends: millstream::operator::Sends::FinalRows, ..flow_of(&schema) };
        let resolved = resolve_step(STEP, &flow);
        let place = resolved.parts.iter().position(|part| matches!(part, Part::Exchange { .. }));
        let (before, behind) = resolved.parts.split_at(place.expect("an aggregate by key has an exchange"));
        let Part::Exchange { columns, codec } = &behind[0] else { unreachable!("split there") };
        let keyed = Network::chain(operators(behind));
        Self {
            head: Network::chain(operators(before)),
            partition: Partition::new(codec.clone(), columns.clone()),
            watermarks: Watermarks::new(1, 0),
            tables: keyed.tables().remove(0),
            keyed,
            schema,
            rows: 0,
            number: 0,
        }
    }

    /// Takes a batch of rows of these keys.
    fn work(&mut self, ids: &[i64]) {
        let columns: Vec<ArrayRef> = vec![
            std::sync::Arc::new(Int64Array::from(ids.to_vec())),
            std::sync::Arc::new(Int64Array::from(vec![7; ids.len()])),
        ];
        let mut block = Batch::of_rows(self.schema.rows(columns, ids.len()), self.number);
        block.segments[0].end =
            Some(BlockEnd { through: self.number, max_time_ms: i64::MIN, finished: false, idle: false });
        self.head.push(0, block);
        self.number += 1;
        let (_, mut batch) = self.head.pull().expect("one batch for one batch");
        batch = self.partition.split(batch, 1).remove(0);
        self.watermarks.stamp(&mut batch);
        self.keyed.push(0, batch);
        while self.keyed.pull().is_some() {}
        while self.head.pull().is_some() {}
        self.rows += i64::try_from(ids.len()).expect("small");
    }

    /// Writes the state while batches go on coming.
    fn snapshot(
        &mut self,
        mode: Mode,
        path: &Path,
        mut ids: impl FnMut() -> Vec<i64>,
        times: &mut Histogram<u64>,
    ) -> Written {
        let file = Disk::new(mode).open_blocks(path).expect("a file in the scratch directory");
        let info = PartInfo { run: "pause".to_owned(), epoch: 1, shard: 0, shards: 1 };
        let mut part = PartWriter::new(file, info, vec![("sums".to_owned(), self.tables.clone())]);
        let (mut rows, mut counted, mut captured) = (0, 0, false);
        let mut has_begun = false;
        loop {
            let ids = ids();
            let mut durable = false;
            let mut portion = None;
            record(times, || {
                if !std::mem::replace(&mut has_begun, true) {
                    self.keyed.begin_view();
                }
                self.work(&ids);
                durable = part.poll().expect("the scratch directory has room");
                if !captured && part.is_clear() {
                    match self.keyed.capture(ENTRIES) {
                        Some((_, next)) => {
                            part.add(0, next.table, &next.rows);
                            portion = Some(next);
                        }
                        None => {
                            captured = true;
                            part.finish();
                        }
                    }
                }
            });
            if let Some(portion) = portion.filter(|portion| self.tables[portion.table].key.is_some()) {
                rows += portion.rows.num_rows() as u64;
                let counts = portion.rows.column_by_name("num").expect("named after its select column");
                counted += counts.as_primitive::<Int64Type>().values().iter().sum::<i64>();
            }
            if durable {
                return Written { rows, counted, bytes: part.summary().bytes };
            }
            if captured {
                // The disk has its turn.
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }
}

fn operators(parts: &[Part]) -> impl Iterator<Item = &Build> {
    parts.iter().filter_map(|part| match part {
        Part::Operator(build) => Some(build),
        Part::Exchange { .. } => None,
    })
}
