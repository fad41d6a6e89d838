//! Every operation of the disk fails once, in every way: of one small case of a pipeline all operations are counted, and
//! then the case is run again with each of them failing, alone or with all behind it; in a run that starts afresh on a
//! fast disk, and in one that goes on from a snapshot on a slow one. The process that met the fault is followed by one in
//! which nothing goes wrong, once with the power cut in between and once without. Nothing is drawn but the order of steps.
//!
//! The pipelines are those that use the disk in a way of their own. The others of the simulation keep other rows in the
//! same parts and write others through the same sinks.

use super::case::{Crash, DiskFault, FaultKind};
use super::input::Input;
use super::pipelines::text_of;
use super::tests::world;
use super::*;

/// So small that a run asks its disk for few operations, and so cut up that there are snapshots in its middle. It has late
/// rows and a bad one.
const INPUT: Input = Input { seed: 26, rows: 48, files: 1, chunk_bytes: 160 };

const KINDS: [FaultKind; 4] = [FaultKind::Io, FaultKind::Full, FaultKind::Interrupted, FaultKind::Short];

/// A process in which nothing goes wrong, with snapshots.
fn life(shards: usize, slow_polls: Option<u32>) -> Life {
    Life {
        shards,
        lanes: 1,
        weights: vec![1],
        snapshot_every_us: Some(30),
        step_us: 1,
        wakes_for_nothing: false,
        slow_polls,
        requests: Vec::new(),
        drain: None,
        abort: None,
        faults: Vec::new(),
        full: None,
        crash: None,
        power_cut: false,
    }
}

fn faults(world: &World) -> u64 {
    world.coverage.counts().filter(|(what, _)| what.starts_with("faults: ")).map(|(_, count)| count).sum()
}

/// Runs the case of some processes; how many of them there were.
fn run(world: &mut World, pipeline: &str, lives: &[&[Life]]) -> Vec<Process> {
    let (pipeline, lives) = (pipeline.to_owned(), lives.concat());
    let case = Case { seed: 1, pipeline, input: INPUT, keep: 2, power_cut_at_end: true, lives };
    match world.run(&case, &[]) {
        Ok(passed) => passed.processes,
        Err(what) => panic!("{what}\n{}", serde_json::to_string(&case).expect("plain data")),
    }
}

/// Walks through all operations of a process behind others.
fn walk(world: &mut World, pipeline: &str, before: &[Life], walked: &Life) -> u64 {
    let last = [life(1, None)];
    let all = |world: &mut World, walked| run(world, pipeline, &[before, &[walked], &last]);
    let undisturbed = all(world, walked.clone());
    let process = undisturbed[before.len()];
    assert_eq!(undisturbed.len(), before.len() + 1, "{pipeline}: {undisturbed:?}");
    // What is left of the input behind a snapshot may be too little for another.
    let is_resumed = process.resumed_from_shards.is_some();
    assert!(is_resumed != before.is_empty() && (is_resumed || process.commits > 0), "{undisturbed:?}");
    let counts = process.counts;
    let has_late = counts.late > 0 || !text_of(pipeline).contains("too_late");
    assert!(counts.rejected > 0 && has_late, "{pipeline}: {undisturbed:?}");
    let mut runs = 0;
    for operation in 1..=process.operations {
        for (kind, for_good) in KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
            let fault = DiskFault { operation, kind, for_good };
            let disturbed = |power_cut| Life { faults: vec![fault], power_cut, ..walked.clone() };
            let met = faults(world);
            let processes = all(world, disturbed(true));
            assert!(faults(world) > met, "{pipeline}: {fault:?} has not come");
            runs += 1;
            // Where it came to its end all the same, the power cut behind that was all that was left to try.
            if processes.len() > undisturbed.len() {
                all(world, disturbed(false));
                runs += 1;
            }
        }
    }
    runs
}

fn check(pipeline: &str) {
    let mut world = world();
    let fresh = walk(&mut world, pipeline, &[], &life(2, None));
    let crashed = Life { crash: Some(Crash::Commit(1)), ..life(2, None) };
    let resumed = walk(&mut world, pipeline, &[crashed], &life(3, Some(3)));
    println!("{pipeline}: {fresh} runs afresh, {resumed} from a snapshot");
    for what in ["failed processes", "failed starts", "snapshots abandoned", "restarts from a snapshot"] {
        assert!(world.coverage.counts().any(|(found, _)| found == what), "{pipeline}: {what}");
    }
}

macro_rules! walks {
    ($($name:ident: $pipeline:literal;)*) => {
        $(
            #[test]
            fn $name() {
                check($pipeline);
            }
        )*
    };
}

walks! {
    any_operation_may_fail_under_a_pipeline_without_state: "stateless";
    any_operation_may_fail_under_windows_with_late_rows: "tumbling";
    any_operation_may_fail_under_rows_that_are_written_at_the_end: "final";
    any_operation_may_fail_under_an_appended_file: "append";
    any_operation_may_fail_under_a_changelog_in_files: "debezium";
    any_operation_may_fail_under_partitions: "files";
    any_operation_may_fail_under_two_outputs_of_files: "files of windows";
}
