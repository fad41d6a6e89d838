//! `kill -9` at any instant, and signals that ask for less.

use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;

use super::history::{Ended, History, Run, Subject, seed, times};
use super::pipelines::{self, Pipeline};
use super::scene::LIMIT;

/// What is done to a run, after a time that is drawn as well.
#[derive(Clone, Copy, Debug)]
enum Disturbance {
    /// Killed at any instant of a run.
    Kill,
    /// Killed while it starts or recovers.
    KillEarly,
    /// Killed near the commit of a snapshot.
    KillAtSnapshot,
    /// Asked to drain.
    Drain,
    /// Asked to drain, and killed while it does.
    DrainAndKill,
    /// Asked for a snapshot, and killed soon after.
    AskAndKill,
}

/// Draws what is done to a run and does it; how it ended.
fn disturb(history: &mut History, run: &mut Run, undisturbed: Duration, random: &mut Rng) -> Ended {
    let disturbance = match random.u8(..12) {
        0..3 => Disturbance::Kill,
        3..4 => Disturbance::KillEarly,
        4..9 => Disturbance::KillAtSnapshot,
        9 => Disturbance::Drain,
        10 => Disturbance::DrainAndKill,
        _ => Disturbance::AskAndKill,
    };
    let within = |limit: Duration, random: &mut Rng| limit.mul_f64(random.f64());
    let after = match disturbance {
        Disturbance::KillEarly => within(undisturbed / 8, random),
        _ => within(undisturbed, random),
    };
    let soon = within(Duration::from_millis(8), random);
    history.note(&format!("{disturbance:?} after {after:?}, {soon:?}"));
    match disturbance {
        Disturbance::Kill | Disturbance::KillEarly => {
            run.until(after, |_| false);
        }
        Disturbance::KillAtSnapshot => {
            // The newest one of several, as old ones go.
            let (mut newest, mut wanted) = (history.snapshots().pop(), random.u8(1..6));
            run.until(LIMIT, |_| {
                let now = history.snapshots().pop();
                wanted -= u8::from(now.is_some() && now != newest);
                newest = now.or(newest.take());
                wanted == 0
            });
            run.until(soon, |_| false);
        }
        Disturbance::Drain | Disturbance::DrainAndKill => {
            run.until(after, |_| false);
            run.signal(Signal::TERM);
            if matches!(disturbance, Disturbance::Drain) {
                return run.wait();
            }
            run.until(soon, |_| false);
        }
        Disturbance::AskAndKill => {
            run.until(after, |_| false);
            run.signal(Signal::USR1);
            run.until(soon, |_| false);
        }
    }
    run.kill()
}

/// Whether a run that was disturbed ended as it may.
fn is_as_it_may(ended: &Ended) -> bool {
    let by_signal = [Signal::KILL, Signal::TERM, Signal::USR1].map(Signal::as_raw);
    // Before it has set its handlers, any signal ends a program.
    ended.code == Some(0) || ended.signal.is_some_and(|signal| by_signal.contains(&signal))
}

/// Disturbs a pipeline so many times, in as many histories as that takes.
fn check(pipeline: Pipeline, count: u64) {
    let subject = Subject::new(pipeline);
    let (mut stopped, mut resumed) = (0, 0);
    for seed in seed().. {
        if stopped >= count {
            break;
        }
        let mut random = Rng::with_seed(seed);
        let mut history = subject.history(None, seed);
        let stops = random.u64(1..=8).min(count - stopped);
        let (mut ended, mut disturbed) = (None, 0);
        while ended.is_none() {
            let mut run = history.start_anyhow(&mut random);
            let found = if disturbed < stops {
                disturb(&mut history, &mut run, subject.undisturbed, &mut random)
            } else {
                run.wait()
            };
            assert!(is_as_it_may(&found), "{:?} {:?}; {}", found.code, found.signal, history.told());
            resumed += u64::from(found.has_resumed());
            if history.is_complete(&found) {
                ended = Some(found);
            } else if history.has_all(&subject) {
                // It was killed when it had done all but end and tidy up: nothing is left to go on from.
                history.check_written(&subject, &Ended { code: Some(0), ..found });
                stopped += 1;
                break;
            } else {
                disturbed += 1;
                stopped += 1;
            }
        }
        if let Some(ended) = ended {
            history.check(&subject, &ended);
        }
    }
    // How many depends on how fast the machine's disk is.
    assert!(resumed > 0, "{}: none of {stopped} runs was gone on from", pipeline.name);
}

/// The share of one of all pipelines in 110 disturbances.
fn share() -> u64 {
    times(110).div_ceil(pipelines::ALL.len() as u64)
}

macro_rules! kills {
    ($($name:ident: $pipeline:ident;)*) => {
        $(
            #[test]
            fn $name() {
                check(pipelines::$pipeline, share());
            }
        )*
    };
}

kills! {
    windows_with_late_rows_survive_kills: WINDOWS;
    a_running_aggregate_survives_kills: RUNNING;
    a_changelog_survives_kills: CHANGES;
    sessions_survive_kills: SESSIONS;
    two_keyed_steps_survive_kills: LEADERS;
    dedupe_into_an_appended_file_survives_kills: ONCE;
    a_range_of_rows_survives_kills: LATELY;
    a_copy_survives_kills: COPY;
    many_files_survive_kills: PARTS;
    a_graph_with_an_interval_join_and_a_lookup_survives_kills: PAIRS;
    a_join_of_a_changelog_survives_kills: SETTLED;
}
