//! A pipeline goes from one number of shards to the next, behind a snapshot each time: what comes out in the end is what
//! one shard writes that nothing disturbs.

use super::case::Crash;
use super::input::Input;
use super::pipelines::{PIPELINES, Pipeline};
use super::tests::world;
use super::*;

/// How many shards the processes have, one after the other.
const SHARDS: [usize; 6] = [1, 2, 3, 7, 4, 1];

/// How many series there are of each pipeline.
const SERIES: u64 = 10;

/// So long that no process but the last comes to its end.
const INPUT: Input = Input { seed: 7, rows: 600, files: 2, chunk_bytes: 240 };

/// How a process ends before its time: each of them behind a snapshot of its own, from which the next goes on.
#[derive(Clone, Copy, Debug)]
enum End {
    Killed,
    PowerCut,
    Drained,
}

fn life(shards: usize, end: Option<End>, random: &mut fastrand::Rng) -> Life {
    let drain = matches!(end, Some(End::Drained)).then(|| random.u64(60..200));
    let crash = matches!(end, Some(End::Killed | End::PowerCut)).then(|| Crash::Commit(random.u64(0..60)));
    Life {
        shards,
        lanes: random.usize(1..4),
        weights: (0..shards + 3).map(|_| if random.u8(..4) == 0 { 4 } else { 1 }).collect(),
        snapshot_every_us: Some(random.u64(20..60)),
        step_us: 2,
        wakes_for_nothing: random.bool(),
        slow_polls: random.bool().then(|| random.u32(..4)),
        requests: Vec::new(),
        drain,
        abort: None,
        faults: Vec::new(),
        full: None,
        crash,
        power_cut: matches!(end, Some(End::PowerCut)),
    }
}

fn case(pipeline: &str, seed: u64) -> Case {
    let mut random = fastrand::Rng::with_seed(seed);
    let ends = [End::Killed, End::PowerCut, End::Drained];
    let lives = SHARDS.iter().enumerate().map(|(number, shards)| {
        let end = (number + 1 < SHARDS.len()).then(|| ends[random.usize(..ends.len())]);
        life(*shards, end, &mut random)
    });
    let lives = lives.collect();
    Case { seed, pipeline: pipeline.to_owned(), input: INPUT, keep: 2, power_cut_at_end: true, lives }
}

#[test]
fn keyed_state_goes_from_1_to_2_to_3_to_7_to_4_to_1_shards() {
    let mut world = world();
    // What has no state has nothing to move.
    let has_state = |pipeline: &&Pipeline| {
        let pipeline = pipeline.name;
        !["stateless", "files", "folders", "csv", "lookup"].contains(&pipeline)
    };
    for pipeline in PIPELINES.iter().filter(has_state) {
        for seed in 0..SERIES {
            let case = case(pipeline.name, seed);
            let told = || serde_json::to_string(&case).expect("plain data");
            let passed = world.run(&case, &[]).unwrap_or_else(|what| panic!("{what}\n{}", told()));
            let from: Vec<_> = passed.processes.iter().map(|process| process.resumed_from_shards).collect();
            let before = SHARDS[..SHARDS.len() - 1].iter().copied().map(Some);
            let expect: Vec<_> = std::iter::once(None).chain(before).collect();
            assert_eq!(from, expect, "{}", told());
        }
    }
}
