//! Power cuts: output and state lie on a disk that forgets what was not synced; its power goes at any instant, and the
//! run goes on from what is left.

use std::time::Duration;

use fastrand::Rng;

use super::history::{Ended, History, Subject, seed, times};
use super::mount::{Faults, Mounted};
use super::pipelines::{self, Pipeline};
use super::scene::{LIMIT, skipped};

/// A disk that forgets, unless this machine cannot have one.
pub fn disk() -> Option<Mounted> {
    match Mounted::new() {
        Ok(mounted) => Some(mounted),
        Err(why) => {
            skipped(&format!("no disk was made to forget: {why}"));
            None
        }
    }
}

/// How many operations an undisturbed run asks of its disk.
fn operations(subject: &Subject) -> u64 {
    let disk = disk().expect("there was one just now");
    let mut history = subject.history(Some(&disk.path("")), 0);
    let ended = history.start(2, "auto", &[]).wait();
    history.check(subject, &ended);
    disk.count()
}

/// Has a run lose its power before any of the next `operations` on its disk; how it ended, and whether before that.
fn cut(disk: &Mounted, history: &mut History, operations: u64, random: &mut Rng) -> (Ended, bool) {
    // A machine that is off does nothing; or the program hears that its disk has gone, and has a moment to react.
    let (number, is_frozen) = (random.u64(1..=operations), random.bool());
    let moment = Duration::from_millis(30).mul_f64(random.f64());
    disk.set_faults(Faults { cut: Some((number, is_frozen)), ..Faults::default() });
    let mut run = history.start_anyhow(random);
    let ended_before = run.until(LIMIT, |_| !disk.is_on()).is_some() && disk.is_on();
    disk.set_faults(Faults::default());
    if ended_before {
        history.note(&format!("it ends before operation {number}"));
        return (run.wait(), true);
    }
    history.note(&format!("power cut at operation {number}{}", if is_frozen { "" } else { ", with errors" }));
    if is_frozen {
        run.begin_kill();
        disk.release();
    } else {
        run.until(moment, |_| false);
    }
    (run.kill(), false)
}

/// Cuts the power of a pipeline so many times, in as many histories as that takes.
fn check(pipeline: Pipeline, count: u64) {
    if disk().is_none() {
        return;
    }
    let subject = Subject::new(pipeline);
    let operations = operations(&subject);
    let (mut cuts, mut resumed) = (0, 0);
    for seed in seed().. {
        if cuts >= count {
            break;
        }
        let mut random = Rng::with_seed(seed);
        let disk = disk().expect("there was one just now");
        let mut history = subject.history(Some(&disk.path("")), seed);
        let ended = loop {
            let (ended, is_before) = cut(&disk, &mut history, operations, &mut random);
            resumed += u64::from(ended.has_resumed());
            if is_before {
                assert_eq!(ended.code, Some(0), "{:?}; {}", ended.signal, history.told());
                let litter = history.litter();
                assert!(litter.is_empty(), "litter: {litter:?}; {}", history.told());
                disk.cut_power(false);
            }
            cuts += 1;
            // The end is durable as well: what a run that is complete has left survives a cut.
            disk.power_up(&mut Rng::with_seed(random.u64(..)));
            // So is one that was cut off when it had done all but end and tidy up.
            if ended.code == Some(0) || history.has_all(&subject) {
                break Ended { code: Some(0), ..ended };
            }
            // Killed, or it has heard of the disk's errors: nothing else.
            assert!(ended.code.is_none_or(|code| code == 74), "{:?}; {}", ended.code, history.told());
        };
        history.check_written(&subject, &ended);
    }
    assert!(resumed * 4 > count, "{}: after {cuts} cuts only {resumed} runs went on", pipeline.name);
}

/// The share of one pipeline in 100 cuts.
fn share() -> u64 {
    times(100).div_ceil(5)
}

#[test]
fn windows_with_late_rows_survive_power_cuts() {
    check(pipelines::WINDOWS, share());
}

#[test]
fn a_changelog_survives_power_cuts() {
    check(pipelines::CHANGES, share());
}

#[test]
fn sessions_survive_power_cuts() {
    check(pipelines::SESSIONS, share());
}

#[test]
fn dedupe_into_an_appended_file_survives_power_cuts() {
    check(pipelines::ONCE, share());
}

#[test]
fn many_files_survive_power_cuts() {
    check(pipelines::PARTS, share());
}
