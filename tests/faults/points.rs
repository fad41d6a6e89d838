//! Crashes at the named points of the protocol, each of them at several of the times it is reached. The names come from
//! the program itself, so that a new point is tried from the day it is there.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::history::{Subject, seed, times};
use super::pipelines::{self, Pipeline};

/// The variable that names the point.
const CRASH_AT: &str = "MILLSTREAM_CRASH_AT";

/// The names of all points.
fn points(subject: &Subject) -> BTreeSet<String> {
    let mut history = subject.history(None, 0);
    let mut command = history.command("run", &[]);
    command.env(CRASH_AT, "list");
    let output = command.output().expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8")
        + &history.start_as(command, "list", &[]).wait().stderr;
    let is_name =
        |line: &&str| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    text.lines().map(str::trim).filter(is_name).map(str::to_owned).collect()
}

/// Crashes at a point so many times, each in a history of its own; whether it was reached at all.
fn crash_at(subject: &Subject, point: &str, count: u64) -> bool {
    let mut is_reached = false;
    for round in 0..count {
        let seed = seed() + round;
        let mut random = Rng::with_seed(seed);
        let mut history = subject.history(None, seed);
        // The first time it is reached, the second, and others.
        let nth = if round < 2 { round + 1 } else { random.u64(1..=12) };
        let (cores, io) = (random.usize(1..=4), if random.bool() { "auto" } else { "threads" });
        let mut crashes = 0;
        let ended = loop {
            let mut command = history.command("run", &["--cores", &cores.to_string(), "--io", io]);
            let what = format!("{CRASH_AT}={point}:{nth} --cores {cores} --io {io}");
            command.env(CRASH_AT, format!("{point}:{nth}"));
            let ended = history.start_as(command, &what, &[]).wait();
            if ended.code.is_some() {
                break ended;
            }
            is_reached = true;
            crashes += 1;
            // Once more at the same point, then on other cores to the end.
            if crashes == 2 {
                break history.start_anyhow(&mut random).wait();
            }
        };
        history.check(subject, &ended);
    }
    is_reached
}

/// The same in a run that goes on from a snapshot.
fn crash_in_recovery(subject: &Subject, point: &str) -> bool {
    let mut random = Rng::with_seed(seed());
    let mut history = subject.interrupted(seed());
    let mut command = history.command("run", &["--cores", "2"]);
    command.env(CRASH_AT, format!("{point}:1"));
    let crashed = history.start_as(command, &format!("{CRASH_AT}={point}:1"), &[]).wait();
    let is_reached = crashed.code.is_none();
    let ended = if is_reached { history.start_anyhow(&mut random).wait() } else { crashed };
    history.check(subject, &ended);
    is_reached
}

fn check(pipeline: Pipeline, count: u64) {
    let subject = Subject::new(pipeline);
    let points = points(&subject);
    assert!(points.len() >= 5, "the program names its points: {points:?}");
    let reached = |point: &&String| {
        let is_reached = crash_at(&subject, point, count);
        crash_in_recovery(&subject, point) || is_reached
    };
    let missed: Vec<&String> = points.iter().filter(|point| !reached(point)).collect();
    assert!(missed.is_empty(), "{}: no run comes to {missed:?}", pipeline.name);
}

#[test]
fn windows_survive_crashes_at_every_point() {
    check(pipelines::WINDOWS, times(2));
}

#[test]
fn an_appended_file_survives_crashes_at_every_point() {
    check(pipelines::ONCE, times(2));
}
