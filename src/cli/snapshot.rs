//! `snapshot`: what is committed, whether it is whole, and what may go.

use std::io::{self, Write};

use arrow::datatypes::FieldRef;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::locate::{StateDirectory, fail, open, refuse};
use super::table::Table;
use super::{Exit, say};
use crate::metric::size_text;
use crate::ops::state_dir::{StateDir, StateDirError};
use crate::snapshot::{
    Access, Committed, Manifest, SavedState, SavedTable, Snapshot, Store, columns, type_name,
};

/// Arguments of `snapshot`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the committed snapshots, the oldest first.
    List {
        #[command(flatten)]
        directory: StateDirectory,
        /// How they are told.
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Show what a snapshot is: its place in the input, watermarks, outputs, counts, states.
    Show {
        #[command(flatten)]
        directory: StateDirectory,
        /// Which one, by its epoch; without it the newest.
        #[arg(long, value_name = "N")]
        snapshot: Option<u64>,
        /// How it is told.
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Read every byte of the snapshots, and tell whether they are as they were written.
    Verify {
        #[command(flatten)]
        directory: StateDirectory,
        /// Only one, by its epoch; without it all.
        #[arg(long, value_name = "N")]
        snapshot: Option<u64>,
    },
    /// Remove the oldest snapshots. Refused while the pipeline runs, which does so by itself.
    Prune {
        #[command(flatten)]
        directory: StateDirectory,
        /// How many of the newest stay.
        #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..))]
        keep: u16,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn main(arguments: &Arguments) -> Exit {
    let done = match &arguments.verb {
        Verb::List { directory, format } => directory.store().and_then(|store| list(&store, *format)),
        Verb::Show { directory, snapshot, format } => {
            directory.store().and_then(|store| show(&store, *snapshot, *format))
        }
        Verb::Verify { directory, snapshot } => directory.store().and_then(|store| verify(&store, *snapshot)),
        Verb::Prune { directory, keep } => prune(directory, usize::from(*keep)),
    };
    done.err().unwrap_or(Exit::Done)
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) {
    drop(io::stdout().lock().write_all(text.as_bytes()));
}

/// The rows and the bytes of a snapshot's parts.
fn extent(manifest: &Manifest) -> (u64, u64) {
    let rows = manifest.shards.iter().flat_map(|part| part.rows.values()).sum();
    (rows, manifest.shards.iter().map(|part| part.bytes).sum())
}

fn list(store: &Store, format: Format) -> Result<(), Exit> {
    let all = store.list().map_err(|error| refuse(&error))?;
    let damaged = all.iter().filter_map(|committed| committed.manifest.as_ref().err()).next_back();
    match format {
        Format::Json => print(&(Value::from(all.iter().map(listed).collect::<Vec<_>>()).to_string() + "\n")),
        Format::Text if all.is_empty() => say(format_args!("no snapshots in {}", store.folder().display())),
        Format::Text => {
            let headline = ["snapshot", "at", "shards", "rows", "size", "note"];
            let mut table = Table::new(io::stdout().lock(), headline.map(str::to_owned).into());
            for Committed { epoch, manifest, .. } in &all {
                let cells = match manifest {
                    Ok(manifest) => {
                        let (rows, bytes) = extent(manifest);
                        let note = if manifest.finished { "the input is complete" } else { "" };
                        let shards = manifest.shards.len().to_string();
                        vec![
                            epoch.to_string(),
                            manifest.at.clone(),
                            shards,
                            rows.to_string(),
                            size_text(bytes),
                            note.to_owned(),
                        ]
                    }
                    Err(error) => {
                        let unknown = || "?".to_owned();
                        vec![epoch.to_string(), unknown(), unknown(), unknown(), unknown(), error.to_string()]
                    }
                };
                drop(table.line(cells));
            }
            drop(table.end());
        }
    }
    damaged.map_or(Ok(()), |error| Err(refuse(error)))
}

fn listed(committed: &Committed) -> Value {
    let epoch = committed.epoch;
    match &committed.manifest {
        Ok(manifest) => {
            let (rows, bytes) = extent(manifest);
            let (at, finished, shards) = (&manifest.at, manifest.finished, manifest.shards.len());
            json!({ "snapshot": epoch, "at": at, "finished": finished, "shards": shards, "rows": rows, "bytes": bytes })
        }
        Err(error) => json!({ "snapshot": epoch, "error": error.to_string() }),
    }
}

fn show(store: &Store, epoch: Option<u64>, format: Format) -> Result<(), Exit> {
    let opened = open(store, epoch);
    let manifest = match &opened {
        Ok(snapshot) => snapshot.manifest().clone(),
        // Where a part is damaged its manifest still tells what it was.
        Err(exit) => {
            let all = store.list().unwrap_or_default();
            let asked = all.into_iter().rfind(|committed| epoch.is_none_or(|epoch| epoch == committed.epoch));
            asked.and_then(|committed| committed.manifest.ok()).ok_or(*exit)?
        }
    };
    let states = opened.as_ref().map(Snapshot::states).unwrap_or_default();
    match format {
        Format::Json => print(&format!("{:#}\n", shown(&manifest, &states))),
        Format::Text => print(&description(&manifest, &states)),
    }
    opened.map(drop)
}

/// The manifest, and the states with what their tables have.
fn shown(manifest: &Manifest, states: &[SavedState]) -> Value {
    let table = |table: &SavedTable| {
        let column = |field: &FieldRef| json!({ "name": field.name(), "type": type_name(field.data_type()) });
        let columns: Vec<Value> = table.schema.fields().iter().map(column).collect();
        json!({ "name": table.name, "key": table.key, "rows": table.rows, "bytes": table.bytes, "columns": columns })
    };
    let states = states.iter().map(
        |state| json!({ "name": state.name, "tables": state.tables.iter().map(table).collect::<Vec<_>>() }),
    );
    json!({ "manifest": manifest, "states": states.collect::<Vec<_>>() })
}

fn description(manifest: &Manifest, states: &[SavedState]) -> String {
    let counts = &manifest.counts;
    let (rows, bytes) = extent(manifest);
    let mut lines =
        vec![format!("snapshot {} of the pipeline `{}`", manifest.barrier.epoch, manifest.pipeline)];
    let mut line = |name: &str, value: String| lines.push(format!("  {name:<12}{value}"));
    line("at", manifest.at.clone());
    line("run", manifest.run.clone());
    line("input", if manifest.finished { "complete" } else { "goes on from here" }.to_owned());
    line("position", format!("piece {}, block number {}", manifest.barrier.piece, manifest.barrier.number));
    line("source", manifest.source.to_string());
    for (exchange, watermarks) in manifest.watermarks.iter().enumerate() {
        line(if exchange == 0 { "watermarks" } else { "" }, watermarks.to_string());
    }
    for (sink, position) in &manifest.outputs {
        line("output", format!("{sink}: {position}"));
    }
    if let Some(quarantine) = &manifest.quarantine {
        let size = size_text(quarantine.bytes);
        line("quarantine", format!("{} records, {size}, in {}", quarantine.records, quarantine.file));
    }
    line("in", format!("{} rows, {}", counts.rows_in, size_text(counts.bytes_in)));
    let others = [("rejected", counts.rejected), ("late", counts.late), ("throttled", counts.throttled)];
    let others =
        others.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!(", {count} {name}"));
    line("out", format!("{} rows{}", counts.rows_out, others.collect::<String>()));
    line("state", format!("{rows} rows, {} in {} files", size_text(bytes), manifest.shards.len()));
    for state in states {
        for table in &state.tables {
            let key = match table.key {
                Some(1) => "; its key is the first column".to_owned(),
                Some(count) => format!("; its key is the first {count} columns"),
                None => String::new(),
            };
            let size = size_text(table.bytes);
            lines.push(format!("    {}/{}: {} rows, {size}{key}", state.name, table.name, table.rows));
            lines.push(format!("      {}", columns(&table.schema)));
        }
    }
    lines.join("\n") + "\n"
}

fn verify(store: &Store, only: Option<u64>) -> Result<(), Exit> {
    if let Some(epoch) = only {
        let snapshot = open(store, Some(epoch))?;
        snapshot.verify().map_err(|error| refuse(&error))?;
        print(&whole(&snapshot));
        return Ok(());
    }
    let mut worst = None;
    let all = store.list().map_err(|error| refuse(&error))?;
    if all.is_empty() {
        say(format_args!("no snapshots in {}", store.folder().display()));
    }
    for Committed { epoch, folder, .. } in all {
        let checked =
            store.open(epoch, Access::Mapped).and_then(|snapshot| snapshot.verify().map(|()| snapshot));
        match checked {
            Ok(snapshot) => print(&whole(&snapshot)),
            // A run beside this has pruned it meanwhile.
            Err(_) if !folder.exists() => {}
            Err(error) => worst = Some(refuse(&error)),
        }
    }
    worst.map_or(Ok(()), Err)
}

fn whole(snapshot: &Snapshot) -> String {
    let (rows, bytes) = extent(snapshot.manifest());
    let files = snapshot.parts().len();
    let epoch = snapshot.manifest().barrier.epoch;
    format!("snapshot {epoch}: whole; {rows} rows, {} in {files} files\n", size_text(bytes))
}

fn prune(directory: &StateDirectory, keep: usize) -> Result<(), Exit> {
    let (path, store) = (directory.locate()?, directory.store()?);
    if !store.folder().is_dir() {
        return Err(fail(Exit::Failed, format!("there are no snapshots in {}", path.display())));
    }
    let lock = StateDir::open(path).map_err(|error| {
        let exit = if matches!(error, StateDirError::Locked { .. }) { Exit::Busy } else { Exit::Disk };
        fail(exit, error)
    })?;
    let newest = store.newest().map_err(|error| refuse(&error))?;
    if let Some(Committed { epoch, .. }) = newest {
        let checked = store.open(epoch, Access::Mapped).and_then(|snapshot| snapshot.verify());
        checked.map_err(|error| {
            say("nothing is removed: the newest snapshot is not whole, and an older one may be needed");
            refuse(&error)
        })?;
    }
    let removed = store.prune(keep).map_err(|error| fail(Exit::Disk, format!("failed to prune: {error}")))?;
    drop(lock);
    let removed: Vec<String> = removed.iter().map(u64::to_string).collect();
    match removed.len() {
        0 => print("nothing to remove\n"),
        _ => print(&format!("removed: {}\n", removed.join(", "))),
    }
    Ok(())
}
