//! A pipeline goes from one number of shards to the next, more of them than this machine has cores: each process ends
//! behind a snapshot of its own, killed or drained, and the next goes on from that.

use fastrand::Rng;
use rustix::process::Signal;

use super::history::{Ended, History, Subject, names, seed, times};
use super::pipelines::{self, Pipeline};
use super::scene::LIMIT;

/// How many shards the processes have that are ended before their time; the last has one.
const SHARDS: [usize; 5] = [1, 2, 3, 7, 4];

/// The points behind a commit at which a run is killed: by itself, as nothing from outside is quick enough to be sure
/// that it is in the middle of its input.
const POINTS: [&str; 4] = ["epoch-committed", "output-committed", "snapshot-hidden", "snapshots-pruned"];

/// The variable that names the point.
const CRASH_AT: &str = "MILLSTREAM_CRASH_AT";

/// How many shards the newest snapshot is of.
fn shards_of_newest(history: &History) -> usize {
    let newest = history.snapshots().pop().expect("there is one");
    let files = names(&history.state.join("snapshots").join(newest));
    files.iter().filter(|name| name.starts_with("shard-")).count()
}

/// Whether the newest snapshot says that the input is complete, or there is none any more.
fn is_through(history: &History) -> bool {
    let folder = history.state.join("snapshots");
    let newest = names(&folder).into_iter().rfind(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let is_older = newest.is_some() && newest != history.snapshots().pop();
    is_older || newest.is_none()
}

/// Has a run drain as soon as it has a snapshot of its own.
fn drain(history: &mut History, shards: usize, io: &str) -> Ended {
    let mut run = history.start(shards, io, &[]);
    let before = history.snapshots().pop();
    run.until(LIMIT, |_| {
        let newest = history.snapshots().pop();
        newest.is_some() && newest != before
    });
    run.signal(Signal::TERM);
    history.note("drained");
    run.wait()
}

/// Runs one series; whether no process but the last has come to its end.
fn series(subject: &Subject, seed: u64) -> bool {
    let mut random = Rng::with_seed(seed);
    // Where there is memory to write to: a disk that is slow to sync leaves time for few snapshots.
    let place =
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a scratch directory");
    let mut history = subject.history(Some(place.path()), seed);
    // A run that drains reads on for a while, so at most one of them does.
    let drained = random.usize(..2 * SHARDS.len());
    for (number, shards) in SHARDS.into_iter().enumerate() {
        let io = if random.bool() { "auto" } else { "threads" };
        let ended = if number == drained {
            drain(&mut history, shards, io)
        } else {
            let point = POINTS[random.usize(..POINTS.len())];
            let mut command = history.command("run", &["--cores", &shards.to_string(), "--io", io]);
            command.env(CRASH_AT, format!("{point}:1"));
            history.start_as(command, &format!("--cores {shards} --io {io}, until {point}"), &[]).wait()
        };
        assert!(ended.code.is_none_or(|code| code == 0), "{:?}; {}", ended.code, history.told());
        if is_through(&history) {
            // As quick as that only where the machine has taken no snapshots for a while.
            let ended = if number == drained { ended } else { history.start(1, io, &[]).wait() };
            history.check_written(subject, &ended);
            return false;
        }
        assert_eq!(shards_of_newest(&history), shards, "{}", history.told());
        assert!(ended.has_resumed() == (number > 0), "{}", history.told());
    }
    let ended = history.start(1, "auto", &[]).wait();
    assert!(ended.has_resumed(), "{}", history.told());
    history.check(subject, &ended);
    true
}

fn check(pipeline: Pipeline, count: u64) {
    let subject = Subject::long(pipeline);
    let (mut complete, mut tried) = (0, 0);
    for seed in seed().. {
        if complete == count {
            break;
        }
        complete += u64::from(series(&subject, seed));
        tried += 1;
        assert!(
            tried <= 10 * count,
            "{complete} of {tried} series were not through before they came to 1 again"
        );
    }
}

/// The share of one pipeline in 12 series.
fn share() -> u64 {
    times(12).div_ceil(6)
}

#[test]
fn windows_go_from_1_to_2_to_3_to_7_to_4_to_1_shards() {
    check(pipelines::WINDOWS, share());
}

#[test]
fn sessions_go_from_1_to_2_to_3_to_7_to_4_to_1_shards() {
    check(pipelines::SESSIONS, share());
}

#[test]
fn a_changelog_goes_from_1_to_2_to_3_to_7_to_4_to_1_shards() {
    check(pipelines::CHANGES, share());
}

#[test]
fn two_keyed_steps_go_from_1_to_2_to_3_to_7_to_4_to_1_shards() {
    check(pipelines::LEADERS, share());
}

#[test]
fn dedupe_goes_from_1_to_2_to_3_to_7_to_4_to_1_shards() {
    check(pipelines::ONCE, share());
}

#[test]
fn a_graph_goes_from_1_to_2_to_3_to_7_to_4_to_1_shards() {
    check(pipelines::PAIRS, share());
}
