//! `plan`: what an edited pipeline would keep of its last snapshot.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::load::{load, show};
use super::locate::{fail, refuse};
use super::table::Table;
use super::{Exit, say};
use crate::io::{Disk, Mode};
use crate::ops::state_dir::StateDir;
use crate::plan::{Change, Plan, Upgrade};
use crate::snapshot::{Manifest, Store};
use crate::yaml::ProcessEnvironment;

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The pipeline file.
    #[arg(value_name = "FILE")]
    file: String,
    /// Where state is kept; without it what the file says, $STATE_DIRECTORY or .millstream/NAME.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<String>,
    /// Replace a value of the file, e.g. source.file.path=in.ndjson.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,
    /// How it is told.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn main(arguments: &Arguments) -> Exit {
    let loaded = match load(&arguments.file, &arguments.overrides, &ProcessEnvironment) {
        Ok(loaded) => loaded,
        Err(error) => return fail(Exit::Config, error),
    };
    show(&loaded.documents, &loaded.problems);
    let Some(plan) = loaded.plan else { return Exit::Config };
    let service = std::env::var("STATE_DIRECTORY").ok();
    let given = arguments.state_dir.as_deref().or(plan.state_dir.as_deref());
    let directory = StateDir::locate(given, service.as_deref(), &plan.name);
    let newest = Store::new(Arc::new(Disk::new(Mode::Threads)), &directory).newest();
    let manifest = newest.and_then(|newest| newest.map(|committed| committed.manifest).transpose());
    let manifest = match manifest {
        Ok(manifest) => manifest,
        Err(error) => return refuse(&error),
    };
    let verdict = Verdict::of(&plan, manifest, &directory);
    match arguments.format {
        Format::Json => print(&format!("{}\n", verdict.json())),
        Format::Text => verdict.show(),
    }
    if verdict.refused.is_some() { Exit::Failed } else { Exit::Done }
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) {
    drop(io::stdout().lock().write_all(text.as_bytes()));
}

/// What `run` would do.
struct Verdict {
    /// In one sentence.
    what: String,
    /// The newest snapshot.
    manifest: Option<Manifest>,
    /// What it keeps, where it goes on from the snapshot or could.
    upgrade: Option<Upgrade>,
    /// Why it would not start.
    refused: Option<String>,
}

impl Verdict {
    fn of(plan: &Plan, manifest: Option<Manifest>, directory: &Path) -> Self {
        let Some(manifest) = manifest else {
            let what = format!("there is no snapshot in {}: a run starts afresh", directory.display());
            return Self { what, manifest: None, upgrade: None, refused: None };
        };
        let epoch = manifest.barrier.epoch;
        if manifest.pipeline != plan.name {
            let refused = format!(
                "the state directory {} belongs to the pipeline `{}`, not to `{}`: give this one another (--state-dir)",
                directory.display(),
                manifest.pipeline,
                plan.name
            );
            let what = "a run is refused".to_owned();
            return Self { what, manifest: Some(manifest), upgrade: None, refused: Some(refused) };
        }
        if manifest.finished {
            let what = format!(
                "snapshot {epoch} is the end of a run whose input was complete: the next run makes its output visible, the one behind it starts afresh"
            );
            return Self { what, manifest: Some(manifest), upgrade: None, refused: None };
        }
        let upgrade = Upgrade::of(&manifest.fingerprint, &plan.fingerprint);
        let refused = upgrade.refused();
        let (at, rows) = (&manifest.at, manifest.counts.rows_in);
        let goes_on = if refused.is_none() { "goes on" } else { "does not go on" };
        let what = format!("a run {goes_on} from snapshot {epoch} of {at}, behind {rows} records read");
        Self { what, manifest: Some(manifest), upgrade: Some(upgrade), refused }
    }

    fn show(&self) {
        if let Some(upgrade) = &self.upgrade {
            let mut table =
                Table::new(io::stdout().lock(), ["fate", "of", "change"].map(str::to_owned).into());
            for change in upgrade.states().iter().chain(upgrade.outputs()) {
                let word = change.fate.word().to_owned();
                drop(table.line(vec![word, change.subject.clone(), change.what.clone()]));
            }
            drop(table.end());
            for note in upgrade.other_notes() {
                print(&format!("note: {note}\n"));
            }
        }
        print(&format!("{}\n", self.what));
        if let Some(refused) = &self.refused {
            say(format_args!("error: {refused}"));
        }
    }

    fn json(&self) -> Value {
        let told =
            |change: &Change| json!({ "name": change.name, "fate": change.fate.word(), "what": change.what });
        let all = |changes: fn(&Upgrade) -> &[Change]| {
            let changes = self.upgrade.as_ref().map_or(&[][..], changes);
            changes.iter().map(told).collect::<Vec<_>>()
        };
        json!({
            "snapshot": self.manifest.as_ref().map(|manifest| manifest.barrier.epoch),
            "at": self.manifest.as_ref().map(|manifest| &manifest.at),
            "finished": self.manifest.as_ref().is_some_and(|manifest| manifest.finished),
            "states": all(Upgrade::states),
            "outputs": all(Upgrade::outputs),
            "notes": self.upgrade.as_ref().map_or(&[][..], Upgrade::other_notes),
            "refused": self.refused,
        })
    }
}
