//! `simulate`: runs the simulation of whole machines; only in builds with the feature `simulation`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::Args;

use super::{Exit, say};
use crate::shard::simulation::{Case, Coverage, MUTANTS, Mutation, World, shrink};

/// Arguments of `simulate`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run the mutants instead: with each, one step of the protocol left out, until that is noticed.
    #[arg(long)]
    mutants: bool,
    /// Only the mutants whose names contain this.
    #[arg(long, requires = "mutants")]
    only: Option<String>,
    /// Repeat this case.
    #[arg(long, value_name = "JSON")]
    case: Option<String>,
    /// Show what a failing case has come to without making it smaller.
    #[arg(long)]
    no_shrink: bool,
    /// How many threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

pub(super) fn main(arguments: &Arguments) -> Exit {
    if let Some(text) = &arguments.case {
        let case = match serde_json::from_str(text) {
            Ok(case) => case,
            Err(error) => {
                say(format_args!("error: this is no case: {error}"));
                return Exit::Config;
            }
        };
        return repeat(&case);
    }
    if arguments.mutants { mutants(arguments) } else { seeds(arguments) }
}

fn world(thread: usize) -> World {
    let name = format!("millstream-simulation-{:010}-{thread:02}", std::process::id());
    World::new(std::env::temp_dir().join(name)).expect("the folder for temporary files can be written to")
}

fn repeat(case: &Case) -> Exit {
    match world(0).run(case, &[]) {
        Ok(passed) => {
            say(format_args!("passed: {passed:?}"));
            Exit::Done
        }
        Err(what) => {
            say(format_args!("failed: {what}"));
            Exit::Failed
        }
    }
}

/// Runs seeds on all threads.
fn seeds(arguments: &Arguments) -> Exit {
    let started = Instant::now();
    let (next, lives) = (AtomicU64::new(arguments.from), AtomicU64::new(0));
    let failed = AtomicBool::new(false);
    let end = arguments.from + arguments.seeds;
    let work = |thread: usize| {
        let mut world = world(thread);
        while !failed.load(Ordering::Acquire) {
            let seed = next.fetch_add(1, Ordering::AcqRel);
            if seed >= end {
                break;
            }
            match world.run(&Case::draw(seed), &[]) {
                Ok(passed) => drop(lives.fetch_add(passed.processes.len() as u64, Ordering::AcqRel)),
                Err(what) => {
                    if !failed.swap(true, Ordering::AcqRel) {
                        tell_failure(&mut world, seed, &what, arguments.no_shrink);
                    }
                }
            }
        }
        std::mem::take(&mut world.coverage)
    };
    let mut coverage = Coverage::default();
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            (0..arguments.threads.max(1)).map(|thread| scope.spawn(move || work(thread))).collect();
        for thread in threads {
            coverage.add(&thread.join().expect("panics of cases are caught"));
        }
    });
    for (what, count) in coverage.counts() {
        say(format_args!("{count:>10}  {what}"));
    }
    let seeds = next.load(Ordering::Acquire).min(end) - arguments.from;
    let seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate = seeds as f64 / seconds * 60.0;
    let lives = lives.load(Ordering::Acquire);
    say(format_args!("{seeds} seeds, {lives} processes, {seconds:.1} s, {rate:.0} seeds a minute"));
    if failed.load(Ordering::Acquire) {
        return Exit::Failed;
    }
    let missing = coverage.missing();
    if seeds >= 2000 && !missing.is_empty() {
        say(format_args!("error: never happened: {}", missing.join(", ")));
        return Exit::Failed;
    }
    Exit::Done
}

fn tell_failure(world: &mut World, seed: u64, what: &str, no_shrink: bool) {
    say(format_args!("seed {seed} failed: {what}"));
    let case = Case::draw(seed);
    let case = if no_shrink {
        case
    } else {
        shrink(case, |case| world.run(case, &[]).is_err_and(|found| is_alike(&found, what)))
    };
    let what = world.run(&case, &[]).err().unwrap_or_default();
    let text = serde_json::to_string(&case).expect("a case is plain data");
    say(format_args!(
        "the smallest case found fails with: {what}\nrepeat it: millstream simulate --case '{text}'"
    ));
}

/// Whether two failures are of one kind: they say the same up to the first number or name, the process left out.
fn is_alike(one: &str, other: &str) -> bool {
    let kind = |what: &str| {
        let what = what
            .split_once(": ")
            .filter(|(first, _)| first.starts_with("process "))
            .map_or(what, |(_, rest)| rest);
        let letters =
            what.chars().take_while(|c| c.is_ascii_alphabetic() || *c == ' ' || *c == ':' || *c == '\'');
        letters.take(40).collect::<String>()
    };
    kind(one) == kind(other)
}

/// Runs every mutant until it is noticed.
fn mutants(arguments: &Arguments) -> Exit {
    let chosen: Vec<&Mutation> = MUTANTS
        .iter()
        .filter(|mutant| arguments.only.as_ref().is_none_or(|only| mutant.name.contains(only.as_str())))
        .collect();
    let (next, survived) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = |thread: usize| {
        let mut world = world(thread);
        while let Some(mutant) =
            usize::try_from(next.fetch_add(1, Ordering::AcqRel)).ok().and_then(|number| chosen.get(number))
        {
            let mut seeds = arguments.from..arguments.from + mutant.seeds_max;
            let noticed = seeds
                .find_map(|seed| mutant.run(&mut world, &Case::draw(seed)).err().map(|what| (seed, what)));
            match noticed {
                Some((seed, what)) => {
                    say(format_args!("{}: noticed with seed {seed}: {what}", mutant.name));
                }
                None => {
                    survived.store(true, Ordering::Release);
                    say(format_args!("{}: SURVIVED {} seeds", mutant.name, mutant.seeds_max));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let work = &work;
        for thread in 0..arguments.threads.max(1) {
            scope.spawn(move || work(thread));
        }
    });
    if survived.load(Ordering::Acquire) { Exit::Failed } else { Exit::Done }
}
