//! The suite in the small, and every failure that it has found, by name.

use super::*;
use crate::mutant::{self, Mutant};

/// How many seeds run in the tests of every commit: about a minute of one core without optimisation; many more by `simulate`.
const SEEDS: u64 = 800;

pub(super) fn world() -> World {
    World::new(tempfile::tempdir().unwrap().keep()).unwrap()
}

/// Runs a case that is told as JSON.
fn check(case: &str) {
    let case: Case = serde_json::from_str(case).unwrap();
    assert_eq!(world().run(&case, &[]).map(|_| ()), Ok(()));
}

#[test]
fn no_seed_loses_or_doubles_anything() {
    let mut world = world();
    for seed in 0..SEEDS {
        let case = Case::draw(seed);
        if let Err(what) = world.run(&case, &[]) {
            let case = serde_json::to_string(&case).unwrap();
            panic!("seed {seed}: {what}\n{case}");
        }
    }
    assert_eq!(world.coverage.missing(), [""; 0]);
}

#[test]
fn every_mutant_is_noticed() {
    let mut world = world();
    let mut survivors = Vec::new();
    for mutant in MUTANTS {
        let mut seeds = 0..mutant.seeds_max;
        if !seeds.any(|seed| mutant.run(&mut world, &Case::draw(seed)).is_err()) {
            survivors.push(mutant.name);
        }
    }
    assert_eq!(survivors, [""; 0]);
}

#[test]
fn a_seed_does_the_same_whenever_it_runs() {
    let mut world = world();
    for seed in 0..60 {
        let case = Case::draw(seed);
        let (one, other) = (world.run(&case, &[]), world.run(&case, &[]));
        assert!(one == other && one.is_ok(), "seed {seed}: {one:?} and {other:?}");
        let told = serde_json::to_string(&case).unwrap();
        assert_eq!(serde_json::from_str::<Case>(&told).unwrap(), case);
    }
}

#[test]
fn a_failing_case_is_made_smaller() {
    let mut world = world();
    let mut fails = |case: &Case| {
        mutant::choose(Some(Mutant::StateNotRestored));
        let failed = world.run(case, &[]).is_err();
        mutant::choose(None);
        failed
    };
    let case = (0..10_000).map(Case::draw).find(|case| fails(case)).unwrap();
    let smaller = shrink(case.clone(), &mut fails);
    assert!(fails(&smaller));
    assert!(
        smaller.lives.len() == 2 && smaller.lives.iter().all(|life| life.faults.is_empty()),
        "{smaller:?}"
    );
}

/// Rows of a number were sent to one shard before the others knew that the number before it had ended.
#[test]
fn every_lane_learns_that_a_number_has_ended_before_rows_of_the_next_fill_one() {
    check(
        r#"{"seed":185,"pipeline":"session","input":{"seed":5,"rows":100,"files":1,"chunk_bytes":240},"keep":2,"power_cut_at_end":false,"lives":[{"shards":3,"lanes":1,"weights":[1],"snapshot_every_us":null,"step_us":50,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":null,"power_cut":false}]}"#,
    );
}

/// Several files do not become visible at one instant, so that a failure between two of them showed some of them, and
/// the next run wrote them once more.
#[test]
fn several_files_become_visible_by_a_manifest() {
    check(
        r#"{"seed":56,"pipeline":"files","input":{"seed":1,"rows":80,"files":1,"chunk_bytes":480},"keep":3,"power_cut_at_end":false,"lives":[{"shards":1,"lanes":4,"weights":[1],"snapshot_every_us":null,"step_us":1,"wakes_for_nothing":true,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[{"operation":52,"kind":"Full","for_good":false}],"full":null,"crash":{"Step":2069},"power_cut":false},{"shards":1,"lanes":4,"weights":[1],"snapshot_every_us":null,"step_us":1,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":null,"power_cut":false}]}"#,
    );
}

/// A run that was killed had made the folder of the output and had not come to its sync, and the next took it for durable.
#[test]
fn a_folder_that_a_killed_run_has_made_is_synced_by_the_next() {
    check(
        r#"{"seed":56,"pipeline":"files","input":{"seed":1,"rows":160,"files":1,"chunk_bytes":480},"keep":3,"power_cut_at_end":true,"lives":[{"shards":1,"lanes":1,"weights":[1,30,1,4],"snapshot_every_us":200,"step_us":1,"wakes_for_nothing":false,"slow_polls":3,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":{"Step":186},"power_cut":false},{"shards":1,"lanes":1,"weights":[4,1,4,1],"snapshot_every_us":200,"step_us":1,"wakes_for_nothing":true,"slow_polls":2,"requests":[],"drain":null,"abort":null,"faults":[{"operation":52,"kind":"Full","for_good":false}],"full":null,"crash":{"Step":2069},"power_cut":false},{"shards":3,"lanes":1,"weights":[30,30,4,4,1,4],"snapshot_every_us":200,"step_us":1,"wakes_for_nothing":true,"slow_polls":2,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":null,"power_cut":false}]}"#,
    );
}

/// Nobody knew whether an epoch was committed, and its unfinished output was removed; then it was.
#[test]
fn what_may_have_been_committed_is_kept() {
    check(
        r#"{"seed":851,"pipeline":"files","input":{"seed":1,"rows":15,"files":1,"chunk_bytes":480},"keep":2,"power_cut_at_end":false,"lives":[{"shards":2,"lanes":4,"weights":[1],"snapshot_every_us":200,"step_us":50,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":{"Operation":14},"power_cut":false},{"shards":2,"lanes":1,"weights":[1],"snapshot_every_us":200,"step_us":50,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[{"operation":72,"kind":"Full","for_good":false}],"full":null,"crash":{"Operation":92},"power_cut":false},{"shards":1,"lanes":4,"weights":[1],"snapshot_every_us":null,"step_us":50,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":null,"power_cut":false}]}"#,
    );
}

/// The first bad record came behind a snapshot, and the run was killed: the file it was put into had no durable name.
#[test]
fn a_quarantine_that_a_killed_run_has_made_is_synced_with_its_name() {
    check(
        r#"{"seed":117,"pipeline":"top","input":{"seed":3,"rows":11,"files":1,"chunk_bytes":640},"keep":2,"power_cut_at_end":true,"lives":[{"shards":1,"lanes":4,"weights":[1],"snapshot_every_us":null,"step_us":50,"wakes_for_nothing":false,"slow_polls":null,"requests":[7],"drain":null,"abort":null,"faults":[],"full":null,"crash":{"Operation":36},"power_cut":false},{"shards":1,"lanes":4,"weights":[1],"snapshot_every_us":null,"step_us":50,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":null,"power_cut":false}]}"#,
    );
}

/// What a drained run wrote behind its last snapshot, when its windows were flushed, was in the file that it made visible.
#[test]
fn nothing_is_written_behind_the_last_snapshot_of_a_drain() {
    check(
        r#"{"seed":489,"pipeline":"top","input":{"seed":5,"rows":18,"files":1,"chunk_bytes":240},"keep":3,"power_cut_at_end":false,"lives":[{"shards":2,"lanes":1,"weights":[1],"snapshot_every_us":null,"step_us":1,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":47,"abort":null,"faults":[],"full":null,"crash":{"Operation":273},"power_cut":false},{"shards":1,"lanes":4,"weights":[1],"snapshot_every_us":null,"step_us":1,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":null,"power_cut":false}]}"#,
    );
}

/// A run that failed removed its output and then the note of how to take it back; a power cut brought the first of them back.
#[test]
fn an_output_is_durably_gone_before_the_note_that_takes_it_back() {
    check(
        r#"{"seed":24841,"pipeline":"append","input":{"seed":5,"rows":100,"files":1,"chunk_bytes":240},"keep":1,"power_cut_at_end":false,"lives":[{"shards":3,"lanes":2,"weights":[1],"snapshot_every_us":null,"step_us":1,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[{"operation":27,"kind":"Io","for_good":false}],"full":null,"crash":{"Step":633},"power_cut":true},{"shards":1,"lanes":4,"weights":[1],"snapshot_every_us":null,"step_us":1,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":null,"power_cut":false}]}"#,
    );
}

/// The note of how to take a killed run back was overwritten by the next run, and that was killed before the new one was
/// whole.
#[test]
fn a_note_that_takes_output_back_is_replaced_at_once() {
    for case in [
        r#"{"seed":40287,"pipeline":"append","input":{"seed":1,"rows":80,"files":1,"chunk_bytes":480},"keep":2,"power_cut_at_end":false,"lives":[{"shards":5,"lanes":4,"weights":[1,30,4,4,30,1,1,4],"snapshot_every_us":null,"step_us":50,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":{"Operation":19},"power_cut":false},{"shards":3,"lanes":4,"weights":[4,1,1,4,1,30],"snapshot_every_us":null,"step_us":50,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":{"Operation":26},"power_cut":false},{"shards":1,"lanes":4,"weights":[1],"snapshot_every_us":null,"step_us":50,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":{"Operation":15},"power_cut":false},{"shards":1,"lanes":4,"weights":[1],"snapshot_every_us":null,"step_us":50,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":{"Operation":9},"power_cut":true},{"shards":1,"lanes":4,"weights":[1],"snapshot_every_us":null,"step_us":50,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":null,"power_cut":false}]}"#,
        r#"{"seed":162113,"pipeline":"append","input":{"seed":4,"rows":320,"files":1,"chunk_bytes":2400},"keep":1,"power_cut_at_end":false,"lives":[{"shards":4,"lanes":2,"weights":[1],"snapshot_every_us":null,"step_us":1,"wakes_for_nothing":true,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":{"Step":103},"power_cut":true},{"shards":4,"lanes":2,"weights":[1],"snapshot_every_us":null,"step_us":1,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":{"Step":151},"power_cut":false},{"shards":1,"lanes":4,"weights":[1],"snapshot_every_us":null,"step_us":1,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[{"operation":15,"kind":"Interrupted","for_good":false}],"full":null,"crash":{"Step":552},"power_cut":true},{"shards":1,"lanes":4,"weights":[1],"snapshot_every_us":null,"step_us":1,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":null,"power_cut":false}]}"#,
    ] {
        check(case);
    }
}

/// A run was killed when it had taken a snapshot's name away and had not come to its sync; the next removed the files, and a
/// power cut brought the name back.
#[test]
fn a_snapshot_loses_its_name_for_good_before_its_files() {
    check(
        r#"{"seed":245250,"pipeline":"stateless","input":{"seed":1,"rows":160,"files":1,"chunk_bytes":480},"keep":3,"power_cut_at_end":false,"lives":[{"shards":1,"lanes":4,"weights":[1,4,1,30],"snapshot_every_us":200,"step_us":50,"wakes_for_nothing":true,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":{"Operation":100},"power_cut":false},{"shards":1,"lanes":4,"weights":[1],"snapshot_every_us":null,"step_us":50,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":{"Operation":4},"power_cut":true},{"shards":1,"lanes":4,"weights":[1],"snapshot_every_us":null,"step_us":50,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":null,"power_cut":false}]}"#,
    );
}

/// A shard that had come to the end of its input could not say so, because its last rows had no turn yet; for that the writer
/// took no bad records that another had sent behind a barrier; and that one read on only once they had been taken.
#[test]
fn bad_records_behind_a_barrier_do_not_hold_up_what_others_need_to_end() {
    check(
        r#"{"seed":272809,"pipeline":"files","input":{"seed":4,"rows":320,"files":1,"chunk_bytes":2400},"keep":2,"power_cut_at_end":false,"lives":[{"shards":4,"lanes":4,"weights":[1],"snapshot_every_us":null,"step_us":10,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":{"Step":41},"power_cut":true},{"shards":4,"lanes":1,"weights":[1],"snapshot_every_us":200,"step_us":10,"wakes_for_nothing":true,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":null,"power_cut":false}]}"#,
    );
}

/// The end of the run was staged before the sync of the epoch before it failed, and was then made durable by a sync of its
/// own, which had nothing left to write: the run said that it was done, and the power cut showed zeros among the bad records.
#[test]
fn a_sync_behind_one_that_failed_does_not_make_the_end_of_the_quarantine_durable() {
    check(
        r#"{"seed":821309,"pipeline":"upsert","input":{"seed":1,"rows":160,"files":1,"chunk_bytes":480},"keep":1,"power_cut_at_end":false,"lives":[{"shards":4,"lanes":1,"weights":[4,4,1,30,1,1,1],"snapshot_every_us":1000,"step_us":50,"wakes_for_nothing":false,"slow_polls":0,"requests":[],"drain":null,"abort":null,"faults":[{"operation":184,"kind":"Full","for_good":false}],"full":null,"crash":null,"power_cut":true},{"shards":1,"lanes":4,"weights":[1],"snapshot_every_us":null,"step_us":50,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":null,"power_cut":false}]}"#,
    );
}

/// A portion was captured in the middle of a batch, when a row had left the ring of its key and was still to be let go: the scan
/// passed over it, and it was in no snapshot.
#[test]
fn a_row_that_leaves_a_join_while_it_is_captured_is_in_the_snapshot() {
    check(
        r#"{"seed":6000209,"pipeline":"interval left join","input":{"seed":2,"rows":120,"files":1,"chunk_bytes":1600},"keep":2,"power_cut_at_end":false,"lives":[{"shards":2,"lanes":4,"weights":[1],"snapshot_every_us":200,"step_us":10,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":{"Operation":70},"power_cut":false},{"shards":1,"lanes":4,"weights":[1],"snapshot_every_us":null,"step_us":10,"wakes_for_nothing":false,"slow_polls":null,"requests":[],"drain":null,"abort":null,"faults":[],"full":null,"crash":null,"power_cut":false}]}"#,
    );
}
