//! `bench`: how much a pipeline takes on this machine, and how long its records take.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use clap::Args;

use super::load::{load, show};
use super::run::{Io, mode};
use super::{Exit, say};
use crate::io::available_cpus;
use crate::ops::bench::{Bench, BenchError, Report, Scratch, Session, plot, text};
use crate::ops::signals;
use crate::ops::state_dir::StateDir;
use crate::plan::{Plan, SideOutput, SinkOutput};
use crate::shard::{LaunchError, QuarantineError, WriterError};
use crate::sink::discarding;
use crate::yaml::{ProcessEnvironment, parse_duration_ms};

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// The pipeline file; its source supplies the records.
    #[arg(value_name = "FILE")]
    file: String,
    /// How much of each run is measured, e.g. 500ms, 10s or 1m.
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    measured_us: u64,
    /// How many shards; without it one per available core.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    cores: Option<u16>,
    /// Where the runs keep their state, in a folder that goes with the benchmark; without it beside the pipeline's own.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<String>,
    /// Replace a value of the file, e.g. source.file.path=in.ndjson.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,
    /// Write to the sinks of the file, several times, rather than drop what they get.
    #[arg(long)]
    keep_sinks: bool,
    /// Write the report as JSON to this file too, or to standard output (-) instead of the text.
    #[arg(long, value_name = "PATH")]
    json: Option<String>,
    /// Draw the percentiles of the latencies into this file.
    #[arg(long, value_name = "PATH.svg", value_parser = svg)]
    plot: Option<PathBuf>,
    /// What hosts the shards: io_uring (through glommio) or plain threads; auto falls back with a warning.
    #[arg(long, value_enum, default_value = "auto")]
    io: Io,
}

const AFTER_HELP: &str = "\
The pipeline runs at least four times, each time afresh: as fast as it goes (its capacity); then at a fixed rate, whatever becomes
of it, from 90 % of the capacity downwards until one holds without the lag growing (sustained); then at 50 % and at 80 % of that
rate, where latencies are recorded from each record's intended time. Generators make their records without end, a file is read
once in each run and has to be long enough; either hands over what came in the last millisecond. Event times are those of the
input, whatever the rate.";

fn duration(text: &str) -> Result<u64, String> {
    let us = parse_duration_ms(text).and_then(|ms| u64::try_from(ms).ok()?.checked_mul(1000));
    match us {
        Some(us) if (100_000..=86_400_000_000).contains(&us) => Ok(us),
        Some(_) => Err("from 100ms to 1d".to_owned()),
        None => Err("a duration needs a number and a unit; write for instance 500ms, 10s or 1m".to_owned()),
    }
}

fn svg(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("svg") => Ok(path),
        _ => Err("the picture is an SVG: give it a name that ends in .svg".to_owned()),
    }
}

pub(super) fn main(arguments: &Arguments) -> Exit {
    let loaded = match load(&arguments.file, &arguments.overrides, &ProcessEnvironment) {
        Ok(loaded) => loaded,
        Err(error) => return fail(Exit::Config, &error),
    };
    show(&loaded.documents, &loaded.problems);
    let Some(plan) = loaded.plan else { return Exit::Config };
    let files =
        [arguments.json.as_deref().filter(|path| *path != "-").map(Path::new), arguments.plot.as_deref()];
    // What takes minutes is not to fail in the end for want of a folder.
    for path in files.into_iter().flatten() {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) {
            return fail(Exit::Disk, &format!("there is no folder for {}", path.display()));
        }
    }
    match measure(arguments, plan) {
        Ok(report) => tell(arguments, &report),
        Err((exit, error)) => fail(exit, &error),
    }
}

fn fail(exit: Exit, error: &str) -> Exit {
    say(format_args!("error: {error}"));
    exit
}

fn measure(arguments: &Arguments, mut plan: Plan) -> Result<Report, (Exit, String)> {
    let told = |error: BenchError| (exit_of(&error), error.to_string());
    if let Some(input) = plan.sources.iter().find(|input| !input.source.can_supply()) {
        return Err(told(BenchError::Input(input.source.describe())));
    }
    if arguments.keep_sinks {
        let sinks = plan.sinks.iter().map(|output| &output.sink);
        let mut targets = plan.sides.iter().map(|side| &side.sink).chain(sinks);
        if targets.any(|sink| sink.target().as_deref() == Some("stdout")) {
            return Err(told(BenchError::Stdout));
        }
    } else {
        plan.sinks = plan
            .sinks
            .into_iter()
            .map(|output| SinkOutput { sink: discarding(output.sink), ..output })
            .collect();
        plan.sides =
            plan.sides.into_iter().map(|side| SideOutput { sink: discarding(side.sink), ..side }).collect();
    }
    let mode = mode(arguments.io)?;
    let service = std::env::var("STATE_DIRECTORY").ok();
    let state_dir = StateDir::locate(plan.state_dir.as_deref(), service.as_deref(), &plan.name);
    let scratch =
        Scratch::make(arguments.state_dir.as_deref(), &state_dir, std::process::id()).map_err(told)?;
    let bug = |error: std::io::Error| (Exit::Bug, error.to_string());
    let (tell, signals) = channel();
    signals::catch().map_err(bug)?.forward(tell).map_err(bug)?;
    let cpus = available_cpus();
    let session = Session {
        shards: arguments.cores.map(usize::from).or(plan.cores).unwrap_or(cpus.len()),
        cpus,
        mode,
        snapshot_every_us: plan.snapshot.every_ms.unsigned_abs().saturating_mul(1000),
        signals,
        plan: &plan,
    };
    let bench = Bench::new(session, scratch, arguments.measured_us, &|line| say(line));
    bench.measure(!arguments.keep_sinks).map_err(told)
}

/// How a benchmark ends that comes to nothing.
fn exit_of(error: &BenchError) -> Exit {
    match error {
        BenchError::Input(_) | BenchError::Stdout => Exit::Config,
        BenchError::Small(_) | BenchError::Unsustained(_) => Exit::Failed,
        BenchError::Source(_)
        | BenchError::Launch(LaunchError::Source(_) | LaunchError::Table(_) | LaunchError::Thread(_)) => {
            Exit::Unavailable
        }
        BenchError::BadRecord(_)
        | BenchError::Writer(WriterError::Quarantine(QuarantineError::Full { .. })) => Exit::BadData,
        BenchError::Memory(_) => Exit::Memory,
        BenchError::Signal(signal) => Exit::Signal(*signal),
        BenchError::Thread(_) | BenchError::Bug(_) => Exit::Bug,
        BenchError::Scratch { .. }
        | BenchError::Launch(_)
        | BenchError::Recovery(_)
        | BenchError::Writer(_)
        | BenchError::Snapshot(_) => Exit::Disk,
    }
}

/// Writes the report to where it is wanted.
fn tell(arguments: &Arguments, report: &Report) -> Exit {
    let json = || serde_json::to_string_pretty(report).expect("numbers and texts are JSON") + "\n";
    let shown = match arguments.json.as_deref() {
        Some("-") => json(),
        _ => text(report),
    };
    // Where nobody reads it any more, nobody misses it.
    drop(std::io::stdout().lock().write_all(shown.as_bytes()));
    let json = arguments.json.as_deref().filter(|path| *path != "-").map(|path| (Path::new(path), json()));
    let plot = arguments.plot.as_deref().map(|path| (path, plot(report)));
    for (path, content) in json.into_iter().chain(plot) {
        if let Err(error) = std::fs::write(path, content) {
            return fail(Exit::Disk, &format!("failed to write {}: {error}", path.display()));
        }
    }
    Exit::Done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_checked() {
        for (text, expect) in [
            ("100ms", Some(100_000)),
            ("1m30s", Some(90_000_000)),
            ("99ms", None),
            ("2d", None),
            ("10", None),
            ("-1s", None),
        ] {
            assert_eq!(duration(text).ok(), expect, "{text}");
        }
        assert!(svg("a/b.svg").is_ok() && svg("b.png").is_err() && svg("svg").is_err());
    }
}
