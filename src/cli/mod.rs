//! The command line: one file a verb.

mod bench;
mod check;
mod completions;
mod exit;
mod explain;
mod generate;
mod list;
mod load;
mod locate;
mod plan;
mod quarantine;
mod rows;
mod run;
#[cfg(feature = "simulation")]
mod simulate;
mod snapshot;
mod state;
mod table;

use clap::{Parser, Subcommand};

pub use exit::Exit;

/// Runs stream pipelines described in one YAML file.
///
/// A pipeline reads events (files, standard input, generators), filters, transforms and aggregates them in event time
/// on one pinned thread per core, and writes the results.
#[derive(Debug, Parser)]
#[command(name = "millstream", version, max_term_width = 110, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "\
First steps:
  millstream run pipelines/quickstart.yaml      see a pipeline run, without any input
  millstream check my-pipeline.yaml             find every mistake in a file, without running it
  millstream list                               what sources, steps, functions and sinks there are

Exit codes: 0 done or drained; 1 a check failed; 2 usage; 65 too many bad records, or a damaged snapshot; 69 a source or sink is not to be had;
70 a bug; 71 state has outgrown run.memory; 74 disk I/O; 75 another instance is running; 78 the pipeline file is wrong.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a pipeline until its input ends or it is stopped (SIGINT or SIGTERM drain it).
    Run(run::Arguments),
    /// Tell everything that is wrong with pipeline files, without running them.
    Check(check::Arguments),
    /// Show what would run: defaults, columns, stages, guarantees.
    Explain(explain::Arguments),
    /// Tell what an edited file keeps of the last snapshot, and whether a run would go on from it.
    Plan(plan::Arguments),
    /// Measure a pipeline on this machine: the sustained rate, latencies, state per key, the pauses of snapshots.
    Bench(bench::Arguments),
    /// List, show and replay the bad records that runs have kept.
    Quarantine(quarantine::Arguments),
    /// Make test data.
    Gen(generate::Arguments),
    /// List sources, steps, aggregates, functions and sinks.
    List(list::Arguments),
    /// Look after the snapshots of a pipeline: list, show, verify, prune.
    Snapshot(snapshot::Arguments),
    /// Look into the state that a snapshot keeps: its rows, and what has changed between two snapshots.
    State(state::Arguments),
    /// Run whole machines on a modelled disk, with crashes and restarts.
    #[cfg(feature = "simulation")]
    #[command(hide = true)]
    Simulate(simulate::Arguments),
    /// Write a completion script for a shell to standard output.
    Completions(completions::Arguments),
}

/// Does what the command line asks for.
#[must_use]
pub fn main() -> Exit {
    let cli = Cli::parse();
    // Thousands of simulated runs that fail would drown everything else.
    #[cfg(feature = "simulation")]
    if let Verb::Simulate(arguments) = &cli.verb {
        return simulate::main(arguments);
    }
    crate::ops::logs::start();
    match cli.verb {
        Verb::Run(arguments) => run::main(&arguments),
        Verb::Check(arguments) => check::main(&arguments),
        Verb::Explain(arguments) => explain::main(&arguments),
        Verb::Plan(arguments) => plan::main(&arguments),
        Verb::Bench(arguments) => bench::main(&arguments),
        Verb::Quarantine(arguments) => quarantine::main(&arguments),
        Verb::Gen(arguments) => generate::main(arguments),
        Verb::List(arguments) => list::main(&arguments),
        Verb::Snapshot(arguments) => snapshot::main(&arguments),
        Verb::State(arguments) => state::main(&arguments),
        #[cfg(feature = "simulation")]
        Verb::Simulate(arguments) => simulate::main(&arguments),
        Verb::Completions(arguments) => completions::main(&arguments),
    }
}

/// Writes a line to stderr. Where that is gone or full the line is lost: what a run comes to does not depend on who
/// listens.
fn say(line: impl std::fmt::Display) {
    use std::io::Write;
    drop(writeln!(std::io::stderr(), "{line}"));
}
