//! Where the snapshots of a pipeline are, for the verbs that look into them. Nothing is locked or written: they work
//! beside a run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::load::show;
use super::{Exit, say};
use crate::config;
use crate::io::{Disk, Mode};
use crate::ops::state_dir::StateDir;
use crate::snapshot::{Access, Snapshot, SnapshotError, Store};
use crate::yaml::ProcessEnvironment;

/// Which state directory.
#[derive(Debug, Args)]
pub(super) struct StateDirectory {
    /// The pipeline file, or a state directory.
    #[arg(value_name = "FILE")]
    file: String,
    /// Where state is kept; without it what the file says, $STATE_DIRECTORY or .millstream/NAME.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<String>,
    /// Replace a value of the file, e.g. `run.state_dir=/var/lib/spend`.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,
}

impl StateDirectory {
    /// Its path. What is wrong is told.
    pub fn locate(&self) -> Result<PathBuf, Exit> {
        if Path::new(&self.file).is_dir() {
            if self.state_dir.is_some() || !self.overrides.is_empty() {
                let what = format!(
                    "{} is a state directory: --state-dir and --set go with a pipeline file",
                    self.file
                );
                return Err(fail(Exit::Config, what));
            }
            return Ok(PathBuf::from(&self.file));
        }
        let bytes = std::fs::read(&self.file).map_err(|error| {
            fail(Exit::Config, format!("failed to read the pipeline {}: {error}", self.file))
        })?;
        let read = config::read(&self.file, &bytes, &self.overrides, &ProcessEnvironment);
        // A file that has become wrong still names the state that is there.
        let Some(pipeline) = read.pipeline else {
            show(&read.documents, &read.problems);
            return Err(Exit::Config);
        };
        let service = std::env::var("STATE_DIRECTORY").ok();
        let given = self.state_dir.as_deref().or(pipeline.run.state_dir.as_deref());
        Ok(StateDir::locate(given, service.as_deref(), &pipeline.name.value))
    }

    /// Its snapshots.
    pub fn store(&self) -> Result<Store, Exit> {
        Ok(Store::new(Arc::new(Disk::new(Mode::Threads)), &self.locate()?))
    }
}

/// Opens a committed snapshot: the one of this epoch, or the newest.
pub(super) fn open(store: &Store, epoch: Option<u64>) -> Result<Snapshot, Exit> {
    let mut tried = None;
    loop {
        let newest = store.newest().map_err(|error| refuse(&error))?.map(|committed| committed.epoch);
        let Some(epoch) = epoch.or(newest) else {
            return Err(fail(Exit::Failed, format!("there is no snapshot in {}", store.folder().display())));
        };
        match store.open(epoch, Access::Mapped) {
            // A run beside this may have pruned it.
            Err(_) if tried.is_none_or(|tried| tried < epoch) => tried = Some(epoch),
            Err(error) => return Err(unopened(store, epoch, &error)),
            Ok(snapshot) => return Ok(snapshot),
        }
    }
}

/// Tells why a snapshot cannot be opened.
fn unopened(store: &Store, epoch: u64, error: &SnapshotError) -> Exit {
    let Ok(committed) = store.list() else { return refuse(error) };
    if committed.iter().any(|committed| committed.epoch == epoch) {
        return refuse(error);
    }
    let epochs: Vec<String> = committed.iter().map(|committed| committed.epoch.to_string()).collect();
    let there = if epochs.is_empty() { "none".to_owned() } else { epochs.join(", ") };
    fail(
        Exit::Failed,
        format!("there is no snapshot {epoch} in {}; there are: {there}", store.folder().display()),
    )
}

/// Tells an error and what to do about it.
pub(super) fn refuse(error: &SnapshotError) -> Exit {
    say(format_args!("error: {error}\n  help: {}", error.help()));
    match error {
        SnapshotError::Io { .. } => Exit::Disk,
        _ => Exit::BadData,
    }
}

pub(super) fn fail(exit: Exit, what: impl std::fmt::Display) -> Exit {
    say(format_args!("error: {what}"));
    exit
}
