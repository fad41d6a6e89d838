//! `quarantine`: the bad records that runs of a pipeline have kept: counted, shown, and given back to be read again.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::json;

use super::load::{load, show};
use super::{Exit, say};
use crate::ops::state_dir::StateDir;
use crate::yaml::ProcessEnvironment;

/// Arguments of `quarantine`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Count the bad records of each run, by error and source.
    List(List),
    /// Show bad records with their place and the reason, the newest last.
    Show(Show),
    /// Write the bad records' bytes as they were read, one record a line, oldest first, so that they can be read again.
    Replay(Replay),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    place: Place,
    /// How the counts are written: for people, or as one JSON object a run.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filter: Filter,
    /// At most so many, the newest.
    #[arg(long, value_name = "RECORDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// How records are written: for people, or as one JSON object a record with all of its bytes.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Args)]
struct Replay {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filter: Filter,
    /// A new file to write to, rather than standard output.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// Where the quarantine is.
#[derive(Debug, Args)]
struct Place {
    /// The pipeline file.
    #[arg(value_name = "FILE")]
    file: String,
    /// Where state and quarantine are kept; without it as for `run`.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<String>,
    /// Replace a value of the file, as for `run`.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,
}

/// Which records are meant.
#[derive(Debug, Args)]
struct Filter {
    /// Only records with this error, such as decode, evaluate or `event_time`; may be given several times.
    #[arg(long, value_name = "ERROR")]
    error: Vec<String>,
    /// Only records of this source, a file's path or stdin; may be given several times.
    #[arg(long, value_name = "SOURCE")]
    source: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// How much of a record is shown to people, characters.
const SHOWN_MAX: usize = 400;

pub(super) fn main(arguments: &Arguments) -> Exit {
    let done = match &arguments.what {
        What::List(list) => list.run(),
        What::Show(show) => show.run(),
        What::Replay(replay) => replay.run(),
    };
    match done {
        Ok(()) => Exit::Done,
        Err((exit, error)) => {
            if !error.is_empty() {
                say(format_args!("error: {error}"));
            }
            exit
        }
    }
}

type Failure = (Exit, String);

impl Place {
    /// The files of the quarantine, the oldest first; says so where there is none.
    fn runs(&self) -> Result<Vec<Kept>, Failure> {
        let loaded =
            load(&self.file, &self.overrides, &ProcessEnvironment).map_err(|error| (Exit::Config, error))?;
        let Some(plan) = loaded.plan else {
            show(&loaded.documents, &loaded.problems);
            return Err((Exit::Config, String::new()));
        };
        let service = std::env::var("STATE_DIRECTORY").ok();
        let given = self.state_dir.as_deref().or(plan.state_dir.as_deref());
        let folder = StateDir::locate(given, service.as_deref(), &plan.name).join("quarantine");
        let runs = runs(&folder).map_err(|source| {
            (Exit::Disk, format!("failed to list the quarantine {}: {source}", folder.display()))
        })?;
        if runs.is_empty() {
            say(format_args!("nothing is in the quarantine {}", folder.display()));
        }
        Ok(runs)
    }
}

/// A file of the quarantine, as long as it was when it was found: a run that reads what is replayed may put it into
/// quarantine again, at the end of the same file.
struct Kept {
    path: PathBuf,
    bytes: u64,
}

/// The files in the folder, in the order of the runs.
fn runs(folder: &Path) -> io::Result<Vec<Kept>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut runs = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let metadata = fs::metadata(&path)?;
        if metadata.is_file() && path.extension().is_some_and(|extension| extension == "ndjson") {
            runs.push(Kept { path, bytes: metadata.len() });
        }
    }
    // Names are times, with as many digits behind the second as there are before the Z.
    runs.sort_by_cached_key(|run| {
        let name = run.path.file_stem().unwrap_or_default().to_string_lossy();
        name.strip_suffix('Z').unwrap_or(&name).to_owned()
    });
    Ok(runs)
}

/// A record of the quarantine.
#[derive(Debug, Deserialize)]
struct Record {
    raw: String,
    raw_encoding: Option<String>,
    source: String,
    position: u64,
    error: String,
    message: String,
    at: String,
}

impl Record {
    /// Its bytes as they were read.
    fn bytes(self) -> Result<Vec<u8>, String> {
        match self.raw_encoding.as_deref() {
            None => Ok(self.raw.into_bytes()),
            Some("base64") => STANDARD.decode(&self.raw).map_err(|error| format!("no base64: {error}")),
            Some(other) => Err(format!("the unknown encoding {other}")),
        }
    }
}

impl Filter {
    fn takes(&self, record: &Record) -> bool {
        let among = |wanted: &[String], found: &String| wanted.is_empty() || wanted.contains(found);
        among(&self.error, &record.error) && among(&self.source, &record.source)
    }
}

impl Kept {
    /// Hands over each record with its line, in order. A line that cannot be read is told and left out; one without an
    /// end, which is being written or was when a run was killed, is left out.
    fn each(&self, mut take: impl FnMut(Record, &[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        let failed = |source| (Exit::Disk, format!("failed to read {}: {source}", self.path.display()));
        let mut lines = BufReader::new(File::open(&self.path).map_err(failed)?.take(self.bytes));
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            lines.read_until(b'\n', &mut line).map_err(failed)?;
            if line.pop() != Some(b'\n') {
                break;
            }
            match serde_json::from_slice(&line) {
                Ok(record) => take(record, &line)?,
                Err(error) => say(format_args!(
                    "warning: {}:{number} is left out: it is no record of a quarantine: {error}",
                    self.path.display()
                )),
            }
        }
        Ok(())
    }
}

impl List {
    fn run(&self) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        for run in self.place.runs()? {
            let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
            let mut times: Option<(String, String)> = None;
            run.each(|record, _| {
                *counts.entry((record.error, record.source)).or_default() += 1;
                let first = times.take().map_or_else(|| record.at.clone(), |(first, _)| first);
                times = Some((first, record.at));
                Ok(())
            })?;
            let written = match self.format {
                Format::Text => list_text(&run, &counts, times.as_ref(), &mut out),
                Format::Json => list_json(&run, &counts, times.as_ref(), &mut out),
            };
            if is_done(written, "standard output")? {
                break;
            }
        }
        Ok(())
    }
}

type Counts = BTreeMap<(String, String), u64>;
type Times<'a> = Option<&'a (String, String)>;

fn list_text(run: &Kept, counts: &Counts, times: Times, out: &mut dyn Write) -> io::Result<()> {
    let records: u64 = counts.values().sum();
    let span = times.map(|(first, last)| format!(", {} to {}", plain(first), plain(last)));
    let bytes = run.bytes;
    writeln!(out, "{}: {}, {bytes} bytes{}", run.path.display(), counted(records), span.unwrap_or_default())?;
    for ((error, source), records) in counts {
        writeln!(out, "  {records:>8}  {:<10}  {}", plain(error), plain(source))?;
    }
    Ok(())
}

fn list_json(run: &Kept, counts: &Counts, times: Times, out: &mut dyn Write) -> io::Result<()> {
    let each = counts
        .iter()
        .map(|((error, source), records)| json!({ "error": error, "source": source, "records": records }));
    let line = json!({
        "file": run.path.display().to_string(),
        "bytes": run.bytes,
        "records": counts.values().sum::<u64>(),
        "first": times.map(|(first, _)| first),
        "last": times.map(|(_, last)| last),
        "counts": each.collect::<Vec<_>>(),
    });
    writeln!(out, "{line}")
}

impl Show {
    fn run(&self) -> Result<(), Failure> {
        let limit = self.limit as usize;
        let mut newest: VecDeque<Vec<u8>> = VecDeque::new();
        for run in self.place.runs()? {
            run.each(|record, line| {
                if self.filter.takes(&record) {
                    if newest.len() == limit {
                        newest.pop_front();
                    }
                    newest.push_back(match self.format {
                        Format::Text => text(record).into_bytes(),
                        Format::Json => [line, b"\n"].concat(),
                    });
                }
                Ok(())
            })?;
        }
        let mut out = io::stdout().lock();
        is_done(newest.iter().try_for_each(|shown| out.write_all(shown)), "standard output").map(|_| ())
    }
}

/// So many records, in words.
fn counted(records: u64) -> String {
    format!("{records} record{}", if records == 1 { "" } else { "s" })
}

/// A record for people: where and why in one line, its beginning in the next.
fn text(record: Record) -> String {
    let origin = format!("{}  {} byte {}", record.at, record.source, record.position);
    let reason = format!("{}: {}", record.error, record.message);
    let head = format!("{}\n  {}\n", plain(&origin), plain(&reason));
    let bytes = match record.bytes() {
        Ok(bytes) if bytes.is_empty() => return format!("{head}  (its bytes are not known)\n"),
        Ok(bytes) => bytes,
        Err(what) => return format!("{head}  ({what})\n"),
    };
    let raw = plain(&String::from_utf8_lossy(&bytes));
    match raw.char_indices().nth(SHOWN_MAX) {
        None => format!("{head}  {raw}\n"),
        Some((end, _)) => format!("{head}  {}… ({} bytes in all)\n", &raw[..end], bytes.len()),
    }
}

/// The text with control characters spelled out: what came from outside does not steer a terminal.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

impl Replay {
    fn run(&self) -> Result<(), Failure> {
        let runs = self.place.runs()?;
        let Some(path) = &self.to else {
            return self.write(&runs, &mut io::stdout().lock(), "standard output");
        };
        let to = path.display().to_string();
        let failed = |source: io::Error| (Exit::Disk, format!("failed to write {to}: {source}"));
        let file = File::create_new(path).map_err(failed)?;
        self.write(&runs, &mut &file, &to)?;
        file.sync_all().map_err(failed)
    }

    /// Writes the bytes of all that are meant to `out`, and says what could not be written.
    fn write(&self, runs: &[Kept], out: &mut dyn Write, to: &str) -> Result<(), Failure> {
        let mut out = BufWriter::new(out);
        let (mut written, mut cut, mut unknown) = (0_u64, 0_u64, 0_u64);
        let mut hung_up = false;
        for run in runs {
            run.each(|record, _| {
                if hung_up || !self.filter.takes(&record) {
                    return Ok(());
                }
                // Of a record that is too long only the beginning has been kept.
                if record.error == "too_long" {
                    cut += 1;
                    return Ok(());
                }
                match record.bytes() {
                    Ok(bytes) if !bytes.is_empty() && !bytes.contains(&b'\n') => {
                        written += 1;
                        let line = out.write_all(&bytes).and_then(|()| out.write_all(b"\n"));
                        hung_up = is_done(line, to)?;
                    }
                    _ => unknown += 1,
                }
                Ok(())
            })?;
        }
        hung_up |= is_done(out.flush(), to)?;
        if hung_up {
            return Ok(());
        }
        say(format_args!("{} written to {to}", counted(written)));
        if cut > 0 {
            let cut = counted(cut);
            say(format_args!("warning: {cut} left out: too long, and only the beginning has been kept"));
        }
        if unknown > 0 {
            let unknown = counted(unknown);
            say(format_args!("warning: {unknown} left out: no bytes that could be read again as a line"));
        }
        Ok(())
    }
}

/// Whether whoever reads what is written to `to` has seen enough.
fn is_done(written: io::Result<()>, to: &str) -> Result<bool, Failure> {
    match written {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        Err(error) => Err((Exit::Disk, format!("failed to write {to}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_from_outside_does_not_steer_a_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\r\tü\u{9b}"), "a\\u{1b}[31mb\\r\\tü\\u{9b}");
    }

    #[test]
    fn runs_are_in_the_order_of_time() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "2026-01-01T00-00-01Z",
            "2026-01-01T00-00-01.45Z",
            "2026-01-01T00-00-01.5Z",
            "2026-01-01T00-00-02Z",
        ];
        for name in names.iter().rev() {
            fs::write(folder.path().join(format!("{name}.ndjson")), "").unwrap();
        }
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        let found = runs(folder.path()).unwrap();
        let stems: Vec<_> = found.iter().map(|run| run.path.file_stem().unwrap().to_owned()).collect();
        assert_eq!(stems, names);
        assert!(runs(&folder.path().join("none")).unwrap().is_empty());
    }
}
