//! Whole machines stepped in one thread, in an order that a seed draws, with rings of one slot: nothing comes to a
//! standstill, and the output is that of an undisturbed run.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

use super::assemble::{Capacity, assemble};
use super::committer::{Identity, Rhythm};
use super::launch::{Event, Settings};
use super::writer::Verdict;
use crate::config;
use crate::io::{Disk, Mode, Step, Storage, Task};
use crate::plan::{Plan, plan};
use crate::snapshot::Store;
use crate::time::Now;
use crate::yaml::NoEnvironment;

/// What the pipelines have in common.
const SOURCE: &str = "
millstream: 1
name: simulated
source:
  file: { path: INPUT }
  format: json
  schema: { key: STRING, amount: DOUBLE, n: BIGINT, at: TIMESTAMP(3) NOT NULL }
  event_time: { column: at, out_of_order: 200ms }
steps:
  - filter: 10 / n >= 0
";

/// Two exchanges, a filter that rejects rows, bad records, rows out of order, and output of every stage's size.
const WINDOWS: &str = "
  - aggregate: { name: per_key, by: key, window: { tumbling: 1s }, select: { total: SUM(amount), rows: COUNT(*) } }
  - set: { group: SUBSTRING(key FROM 2 FOR 1) }
  - aggregate: { name: per_group, by: group, window: { tumbling: 2s }, select: { total: SUM(total), keys: COUNT(*), rows: SUM(rows) } }
sink:
  file: { path: OUTPUT }
  format: json
";

/// Rows that are taken back through two exchanges, netted at the end, and a side stream of late rows.
const FINAL: &str = "
  - aggregate: { name: per_key, by: key, window: { tumbling: 1s }, late: { to: too_late }, select: { rows: COUNT(*) } }
  - aggregate: { name: running, by: { group: SUBSTRING(key FROM 2 FOR 1) }, select: { windows: COUNT(*), rows: SUM(rows) } }
sink:
  file: { path: OUTPUT, changelog: final }
  format: json
sinks:
  late: { from: too_late, file: { path: SIDE }, format: json }
";

/// Rows that are taken back in the middle of blocks, exchanged once more and netted at the blocks' ends.
const UPSERT: &str = "
  - aggregate: { name: running, by: key, select: { rows: COUNT(*), most: MAX(n) } }
sink:
  file: { path: OUTPUT, changelog: upsert, upsert_by: rows }
  format: json
";

/// Rows of a key once, ranked while they come: the rows that are there in the end.
const TOP: &str = "
  - dedupe: { name: once, by: [key, n], within: 2s }
  - top: { name: best, per: { group: SUBSTRING(key FROM 2 FOR 1) }, n: 3, order: n DESC, rank: place }
sink:
  file: { path: OUTPUT, changelog: final }
  format: json
";

/// Every change of a key, sent in the middle of blocks.
const DEBEZIUM: &str = "
  - aggregate: { name: running, by: key, select: { rows: COUNT(*), most: MAX(n) } }
sink:
  file: { path: OUTPUT, changelog: debezium }
  format: json
";

/// A file of several chunks.
fn write_input(path: &Path) {
    let mut random = fastrand::Rng::with_seed(11);
    let mut text = String::new();
    for row in 0..30_000_i64 {
        let at_ms = row + random.i64(-900..1);
        let at_ms = at_ms.max(0);
        let (key, n) = (random.u32(0..300), random.i64(0..200));
        let amount = random.f64() * 1000.0;
        let pad = "x".repeat(random.usize(0..80));
        writeln!(
            text,
            r#"{{"key":"k{key}","amount":{amount},"n":{n},"at":"2026-01-01T00:00:{:02}.{:03}","pad":"{pad}"}}"#,
            at_ms / 1000 % 60,
            at_ms % 1000
        )
        .unwrap();
        if row % 1000 == 7 {
            text.push_str("{\"broken\n");
        }
    }
    std::fs::write(path, text).unwrap();
}

fn planned(folder: &Path, steps: &str) -> Plan {
    let text = (SOURCE.trim_end().to_owned() + steps)
        .replace("INPUT", &folder.join("in.ndjson").display().to_string())
        .replace("SIDE", &folder.join("side.ndjson").display().to_string())
        .replace("OUTPUT", &folder.join("out.ndjson").display().to_string());
    let read = config::read("simulated.yaml", text.as_bytes(), &[], &NoEnvironment);
    let mut problems = read.problems;
    let planned = plan(&read.pipeline.unwrap(), &mut problems);
    planned.unwrap_or_else(|| panic!("{:?}", problems.all()))
}

/// The sorted output, the sorted side stream, how many records were bad and how many rows late.
#[derive(Debug, PartialEq)]
struct Outcome {
    lines: Vec<String>,
    side: Vec<String>,
    rejected: u64,
    late: u64,
}

/// The lines of a file, sorted; none where there is none.
fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Runs the pipeline on `shards` shards, stepped in an order drawn from `seed`.
fn run(folder: &Path, steps: &str, shards: usize, slots: usize, seed: u64) -> Outcome {
    let mut random = fastrand::Rng::with_seed(seed);
    let plan = planned(folder, steps);
    let storage: Arc<dyn Storage> = Arc::new(Disk::new(Mode::Threads));
    let settings = Settings {
        shards,
        cpus: Vec::new(),
        mode: Mode::Threads,
        quarantine: folder.join("quarantine.ndjson"),
        storage: storage.clone(),
        store: Store::new(storage, folder),
        owner: "simulation".to_owned(),
        identity: Identity {
            pipeline: plan.name.clone(),
            run: "simulation".to_owned(),
            fingerprint: plan.fingerprint.clone(),
        },
        rhythm: Rhythm { every_us: None, keep: 3, failures_max: 3 },
        first_epoch: 1,
        recovery: None,
    };
    let capacity =
        Capacity { batches: slots, blocks: slots, rejected: slots, chunk_bytes: crate::source::CHUNK_BYTES };
    let (tell, events) = channel();
    let machine = assemble(&plan, &settings, &capacity, Now::default(), &tell).unwrap();
    let recipe = machine.recipe;
    let mut shards: Vec<_> = machine.parts.into_iter().map(|parts| recipe.build(parts)).collect();
    let mut writer = machine.writer;
    let mut committer = machine.committer;
    // Swarm: some tasks are starved for this run, so that the others run into full rings.
    let weights: Vec<u32> = (0..shards.len() + 2).map(|_| [1, 1, 5, 50][random.usize(0..4)]).collect();
    let mut idle_in_a_row = 0;
    loop {
        let task = pick(&weights, &mut random);
        let writes = task == shards.len();
        let step = match shards.get_mut(task) {
            Some(shard) => shard.step(Now::default()),
            None if writes => writer.step(Now::default()),
            None => committer.step(Now::default()),
        };
        for event in events.try_iter() {
            match event {
                Event::Written => machine.verdict.decide(Verdict::COMMIT),
                Event::ShardEnded { .. } => {}
                Event::Ended { outcome, .. } => {
                    outcome.expect("not abandoned").expect("the output is written");
                    let late = machine.metrics.iter().map(|shard| shard.late.get()).sum();
                    let rejected = machine.metrics.iter().map(|shard| shard.rejected.get()).sum();
                    let (lines, side) =
                        (lines(&folder.join("out.ndjson")), lines(&folder.join("side.ndjson")));
                    return Outcome { lines, side, rejected, late };
                }
                other => panic!("{other:?}"),
            }
        }
        idle_in_a_row = if step == Step::Again { 0 } else { idle_in_a_row + 1 };
        assert!(idle_in_a_row < 100_000, "seed {seed}: the machine has come to a standstill");
    }
}

fn pick(weights: &[u32], random: &mut fastrand::Rng) -> usize {
    let mut drawn = random.u32(0..weights.iter().sum());
    weights
        .iter()
        .position(|weight| {
            let found = drawn < *weight;
            drawn = drawn.wrapping_sub(*weight);
            found
        })
        .expect("drawn below the sum")
}

fn check(steps: &str, late: u64, has_side: bool, seeds: u64) {
    let folder = tempfile::tempdir().unwrap();
    write_input(&folder.path().join("in.ndjson"));
    let expect = run(folder.path(), steps, 1, 16, 0);
    assert!(expect.lines.len() > 5 && expect.rejected > 100 && expect.late >= late, "{expect:?}");
    assert_eq!(expect.side.len() as u64, if has_side { expect.late } else { 0 });
    for seed in 1..=seeds {
        let shards = [1, 2, 3, 5, 8][usize::try_from(seed % 5).unwrap()];
        assert!(run(folder.path(), steps, shards, 1, seed) == expect, "seed {seed}, {shards} shards");
    }
}

#[test]
fn no_order_of_steps_changes_the_output_or_stops_the_machine() {
    check(WINDOWS, 10, false, 24);
}

#[test]
fn no_order_of_steps_changes_what_a_changelog_comes_to() {
    check(FINAL, 10, true, 10);
    check(UPSERT, 0, false, 10);
    check(DEBEZIUM, 0, false, 10);
    check(TOP, 0, false, 10);
}
