//! Whole machines stepped in one thread, in an order that a seed draws, with rings of one slot: nothing comes to a
//! standstill, and the output is that of an undisturbed run.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::mpsc::channel;

use super::assemble::{Capacity, assemble};
use super::launch::{Event, Settings};
use super::writer::Verdict;
use crate::config;
use crate::io::{Mode, Step, Task};
use crate::plan::{Plan, plan};
use crate::time::Now;
use crate::yaml::NoEnvironment;

/// Two exchanges, a filter that rejects rows, bad records, rows out of order, and output of every stage's size.
const PIPELINE: &str = "
millstream: 1
name: simulated
source:
  file: { path: INPUT }
  format: json
  schema: { key: STRING, amount: DOUBLE, n: BIGINT, at: TIMESTAMP(3) NOT NULL }
  event_time: { column: at, out_of_order: 200ms }
steps:
  - filter: 10 / n >= 0
  - aggregate: { name: per_key, by: key, window: { tumbling: 1s }, select: { total: SUM(amount), rows: COUNT(*) } }
  - set: { group: SUBSTRING(key FROM 2 FOR 1) }
  - aggregate: { name: per_group, by: group, window: { tumbling: 2s }, select: { total: SUM(total), keys: COUNT(*), rows: SUM(rows) } }
sink:
  file: { path: OUTPUT }
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

fn planned(folder: &Path) -> Plan {
    let text = PIPELINE
        .replace("INPUT", &folder.join("in.ndjson").display().to_string())
        .replace("OUTPUT", &folder.join("out.ndjson").display().to_string());
    let read = config::read("simulated.yaml", text.as_bytes(), &[], &NoEnvironment);
    let mut problems = read.problems;
    let planned = plan(&read.pipeline.unwrap(), &mut problems);
    planned.unwrap_or_else(|| panic!("{:?}", problems.all()))
}

/// Runs the pipeline on `shards` shards, stepped in an order drawn from `seed`; sorted output, bad records, late rows.
fn run(folder: &Path, shards: usize, slots: usize, seed: u64) -> (Vec<String>, u64, u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let plan = planned(folder);
    let settings = Settings {
        shards,
        cpus: Vec::new(),
        mode: Mode::Threads,
        quarantine: folder.join("quarantine.ndjson"),
    };
    let capacity = Capacity { batches: slots, blocks: slots, rejected: slots };
    let (tell, events) = channel();
    let machine = assemble(&plan, &settings, &capacity, Now::default(), &tell).unwrap();
    let recipe = machine.recipe;
    let mut shards: Vec<_> = machine.parts.into_iter().map(|parts| recipe.build(parts)).collect();
    let mut writer = machine.writer;
    // Swarm: some tasks are starved for this run, so that the others run into full rings.
    let weights: Vec<u32> = (0..=shards.len()).map(|_| [1, 1, 5, 50][random.usize(0..4)]).collect();
    let mut idle_in_a_row = 0;
    loop {
        let task = pick(&weights, &mut random);
        let step = match shards.get_mut(task) {
            Some(shard) => shard.step(Now::default()),
            None => writer.step(Now::default()),
        };
        for event in events.try_iter() {
            match event {
                Event::Written => machine.verdict.decide(Verdict::COMMIT),
                Event::ShardEnded { .. } => {}
                Event::WriterEnded { outcome, .. } => {
                    outcome.expect("not abandoned").expect("the output is written");
                    let late = machine.metrics.iter().map(|shard| shard.late.get()).sum();
                    let rejected = machine.metrics.iter().map(|shard| shard.rejected.get()).sum();
                    let text = std::fs::read_to_string(folder.join("out.ndjson")).unwrap();
                    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                    lines.sort();
                    return (lines, rejected, late);
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

#[test]
fn no_order_of_steps_changes_the_output_or_stops_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    write_input(&folder.path().join("in.ndjson"));
    let expect = run(folder.path(), 1, 16, 0);
    assert!(expect.0.len() > 10 && expect.1 > 100 && expect.2 > 10, "{expect:?}");
    for seed in 1..=24 {
        let shards = [1, 2, 3, 5, 8][usize::try_from(seed % 5).unwrap()];
        assert_eq!(run(folder.path(), shards, 1, seed), expect, "seed {seed}, {shards} shards");
    }
}
