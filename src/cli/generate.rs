//! `gen`: test data.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{Exit, say};
use crate::io::Clock;
use crate::record::text::parse_timestamp;
use crate::source::nexmark::write::{self, Options, WriteError, write_events, write_file};
use crate::source::nexmark::{Config, Form, side_table};

/// Arguments of `gen`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The events of the Nexmark benchmark as NDJSON: the same seed gives the same events.
    Nexmark(Nexmark),
}

#[derive(Debug, Args)]
struct Nexmark {
    /// How many events; without it they never end.
    #[arg(long)]
    events: Option<u64>,
    /// Which stream of events.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Events per second of event time (and of real time with --pace).
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    tps: u64,
    /// The file, or - for standard output.
    #[arg(long, short, default_value = "-")]
    out: String,
    /// Also write the table of 10,000 rows that q13 looks bids up in, as CSV; with --events 0 only that.
    #[arg(long, value_name = "FILE")]
    side: Option<String>,
    /// How events are laid out: one branch a kind, or all fields at the top.
    #[arg(long, value_enum, default_value = "nested")]
    form: Layout,
    /// Shuffle events inside consecutive blocks of so many.
    #[arg(long, default_value_t = 0, value_name = "EVENTS")]
    shuffle: u64,
    /// Write each event at its time rather than at once.
    #[arg(long)]
    pace: bool,
    /// The event time of the first event: a time such as 2015-07-15T00:00:00, or now.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Layout {
    Nested,
    Flat,
}

pub(super) fn main(arguments: Arguments) -> Exit {
    let What::Nexmark(nexmark) = arguments.what;
    let options = match options(&nexmark) {
        Ok(options) => options,
        Err(error) => {
            say(format_args!("error: {error}"));
            return Exit::Config;
        }
    };
    if let Some(path) = &nexmark.side
        && let Err(error) = std::fs::write(path, side_table())
    {
        say(format_args!("error: failed to write the table {path}: {error}"));
        return Exit::Disk;
    }
    let clock = Clock::start();
    let mut clock = write::Clock {
        now: &mut || clock.now(),
        sleep_us: &mut |us| thread::sleep(Duration::from_micros(us)),
    };
    let written = if nexmark.out == "-" {
        write_events(&options, &mut clock, &mut io::stdout().lock())
    } else {
        write_file(&options, &mut clock, Path::new(&nexmark.out))
    };
    match written {
        Ok(_) => Exit::Done,
        // The reader has seen enough.
        Err(WriteError::Sink(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            say(format_args!("error: failed to {error}{cause}"));
            Exit::Disk
        }
    }
}

fn options(nexmark: &Nexmark) -> Result<Options, String> {
    let start_now = nexmark.start.as_deref() == Some("now");
    let mut config = Config { seed: nexmark.seed, events_per_second: nexmark.tps, ..Config::default() };
    if let Some(start) = nexmark.start.as_deref().filter(|_| !start_now) {
        let parsed = parse_timestamp(start).map_err(|error| format!("--start {start}: {error}"))?;
        let zone = i64::from(parsed.zone.unwrap_or(0));
        config.start_ms = (parsed.seconds - zone) * 1000 + i64::from(parsed.nanos / 1_000_000);
    }
    let form = match nexmark.form {
        Layout::Nested => Form::Nested,
        Layout::Flat => Form::Flat,
    };
    let events = nexmark.events.unwrap_or(u64::MAX);
    Ok(Options { config, events, form, shuffle: nexmark.shuffle, pace: nexmark.pace, start_now })
}
