//! Power cuts: output and state lie on a disk that forgets what was not synced; its power goes at any instant, and the
//! run goes on from what is left.

use std::time::Duration;

use fastrand::Rng;

use super::history::{Ended, History, Run, Subject, seed, times};
use super::mount::Mounted;
use super::pipelines::{self, Pipeline};
use super::scene::skipped;

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

/// Cuts the power under a run and brings it back; how the run ended.
fn cut(disk: &Mounted, history: &mut History, run: &mut Run, random: &mut Rng) -> Ended {
    // A machine that is off does nothing; or the program hears that its disk has gone, and has a moment to react.
    let is_frozen = random.bool();
    let moment = Duration::from_millis(30).mul_f64(random.f64());
    disk.cut_power(is_frozen);
    if is_frozen {
        run.begin_kill();
        disk.release();
    } else {
        run.until(moment, |_| false);
    }
    let ended = run.kill();
    let seed = random.u64(..);
    disk.power_up(&mut Rng::with_seed(seed));
    history.note(if is_frozen { "power cut" } else { "power cut, with errors" });
    ended
}

/// Cuts the power of a pipeline so many times, in as many histories as that takes.
fn check(pipeline: Pipeline, count: u64) {
    if disk().is_none() {
        return;
    }
    let subject = Subject::new(pipeline);
    let (mut cuts, mut resumed) = (0, 0);
    for seed in seed().. {
        if cuts >= count {
            break;
        }
        let mut random = Rng::with_seed(seed);
        // A new one for each history, so that numbers of files are as small as they can be.
        let disk = disk().expect("there was one just now");
        let mut history = subject.history(Some(&disk.path("")), seed);
        let in_all = random.u64(1..=8).min(count - cuts);
        let mut cut_here = 0;
        let ended = loop {
            let mut run = history.start_anyhow(&mut random);
            // The disk is slower than one of the machine's own, by a factor that the draw covers.
            let after = (subject.undisturbed * 2).mul_f64(random.f64());
            let status = if cut_here < in_all { run.until(after, |_| false) } else { None };
            let is_last = cut_here >= in_all;
            let ended = if is_last || status.is_some() { run.wait() } else { Ended::default() };
            history.note(&format!("after {after:?}"));
            // The end is durable as well: what a run that is complete has left survives a cut.
            let found = cut(&disk, &mut history, &mut run, &mut random);
            cut_here += 1;
            cuts += 1;
            let ended = if is_last || status.is_some() { ended } else { found };
            resumed += u64::from(ended.has_resumed());
            if history.is_complete(&ended) {
                break ended;
            }
            assert!(!is_last, "{:?} {:?}; {}", ended.code, ended.signal, history.told());
            // Killed, or it has heard of the disk's errors: nothing else.
            assert!(ended.code.is_none_or(|code| code == 74), "{:?}; {}", ended.code, history.told());
        };
        history.check(&subject, &ended);
    }
    assert!(resumed * 5 > count, "{}: after {cuts} cuts only {resumed} runs went on", pipeline.name);
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
