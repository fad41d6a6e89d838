//! What a run goes on from: the newest snapshot, another that the user names, or nothing.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::launch::Recovery;
use crate::crash::point;
use crate::io::Storage;
use crate::mutant::{self, Mutant};
use crate::plan::{Plan, Upgrade};
use crate::sink::{self, SinkError};
use crate::snapshot::{Access, Manifest, SnapshotError, Store};

/// What the user wants to go on from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Nothing.
    pub fresh: bool,
    /// The snapshot of this epoch, and none behind it.
    pub from: Option<u64>,
    /// Whether changes of the pipeline that lose state are accepted.
    pub accept_changes: bool,
    /// Whether the last run has not come to an orderly end: then one that is complete was not told of.
    pub interrupted: bool,
}

/// What there is to go on from.
pub struct Found {
    /// The id of the run.
    pub run: String,
    /// The number of its next epoch.
    pub first_epoch: u64,
    /// The snapshot; none where the run starts afresh.
    pub recovery: Option<Recovery>,
    /// Whether the run before had come to its end; its output is visible now, and nothing is left to do.
    pub completed: bool,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Why a run cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A snapshot cannot be used.
    #[error("{0}\n  help: {help}", help = .0.help())]
    Snapshot(#[from] SnapshotError),
    /// What a snapshot has committed cannot be made visible.
    #[error("what snapshot {epoch} has committed cannot be made visible: {error}")]
    Sink {
        /// Which.
        epoch: u64,
        /// Why.
        error: SinkError,
    },
    /// The folder of the snapshots cannot be used.
    #[error("failed to use {path}: {error}", path = .path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The snapshot that was asked for is not there.
    #[error("there is no snapshot {wanted}; there are: {there}")]
    Missing {
        /// Which.
        wanted: u64,
        /// Those that are there.
        there: String,
    },
    /// The pipeline has changed in a way that does not fit.
    #[error("{0}")]
    Changed(String),
}

/// Looks for what a run goes on from, makes visible what was committed, and removes what a crash has left. Called with the
/// state directory locked.
///
/// # Errors
///
/// If there is something that cannot be used; then nothing has been lost.
pub fn recover(
    plan: &Plan,
    storage: &dyn Storage,
    store: &Store,
    access: Access,
    wish: Wish,
) -> Result<Found, RecoveryError> {
    store.prepare().map_err(|error| RecoveryError::Folder { path: store.folder().to_owned(), error })?;
    point("folder-prepared");
    let mut committed = store.list()?;
    let epochs: Vec<u64> = committed.iter().map(|snapshot| snapshot.epoch).collect();
    let newest = epochs.last().copied().unwrap_or(0);
    let failed = |error| RecoveryError::Folder { path: store.folder().to_owned(), error };
    let afresh = |notes| Found { run: new_run(), first_epoch: 1, recovery: None, completed: false, notes };
    if wish.fresh {
        store.remove(&epochs).map_err(failed)?;
        return Ok(afresh(Vec::new()));
    }
    let chosen = match wish.from {
        Some(wanted) if !epochs.contains(&wanted) => {
            let there: Vec<String> = epochs.iter().map(u64::to_string).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            return Err(RecoveryError::Missing { wanted, there });
        }
        Some(wanted) => wanted,
        None if epochs.is_empty() => return Ok(afresh(Vec::new())),
        None => newest,
    };
    let later = committed.split_off(epochs.partition_point(|epoch| *epoch <= chosen));
    let manifests = committed.into_iter().map(|snapshot| snapshot.manifest);
    let manifests: Vec<Manifest> = manifests.collect::<Result<_, _>>()?;
    let manifest = manifests.last().expect("the chosen one is there").clone();
    if manifest.finished && !wish.interrupted {
        store.remove(&epochs).map_err(failed)?;
        return Ok(afresh(Vec::new()));
    }
    if manifest.pipeline != plan.name {
        return Err(RecoveryError::Changed(format!(
            "the state directory belongs to the pipeline `{}`, not to `{}`: give this one another (--state-dir)",
            manifest.pipeline, plan.name
        )));
    }
    roll_forward(storage, &manifests)?;
    point("rolled-forward");
    let at = &manifest.at;
    if manifest.finished {
        // It stays: the next run knows by it, and by the orderly end of this one, that it starts afresh.
        store.prune(1).map_err(failed)?;
        let note = format!(
            "note: the run before had come to its end ({at}), and its output is visible now; run again to start afresh"
        );
        return Ok(Found { completed: true, ..afresh(vec![note]) });
    }
    let upgrade = Upgrade::of(&manifest.fingerprint, &plan.fingerprint);
    if let Some(refused) = upgrade.refused().filter(|_| !wish.accept_changes || upgrade.is_refused_for_good())
    {
        return Err(RecoveryError::Changed(refused));
    }
    let snapshot = Arc::new(store.open(chosen, access)?);
    let later: Vec<u64> = later.iter().map(|snapshot| snapshot.epoch).collect();
    store.remove(&later).map_err(failed)?;
    let mut notes = upgrade.notes();
    notes.push(format!(
        "going on from snapshot {chosen} of {at}, behind {} records read",
        manifest.counts.rows_in
    ));
    Ok(Found {
        run: manifest.run.clone(),
        first_epoch: newest + 1,
        recovery: Some(Recovery {
            manifest,
            snapshot,
            kept: upgrade.kept(),
            outputs_kept: upgrade.outputs_kept(),
        }),
        completed: false,
        notes,
    })
}

/// Makes visible what every snapshot up to the chosen one has committed, whatever sinks the file has now.
fn roll_forward(storage: &dyn Storage, manifests: &[Manifest]) -> Result<(), RecoveryError> {
    for manifest in manifests.iter().filter(|_| !mutant::is(Mutant::NothingRolledForward)) {
        for (name, position) in &manifest.outputs {
            let kind = manifest.fingerprint.sinks.get(name).and_then(|was| sink::kind(&was.kind));
            let Some(kind) = kind else { continue };
            (kind.recover)(storage, position).map_err(|error| {
                let epoch = manifest.barrier.epoch;
                RecoveryError::Sink { epoch, error }
            })?;
        }
    }
    Ok(())
}

/// An id that no other run has.
fn new_run() -> String {
    use std::hash::{BuildHasher, Hasher};
    let draw = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", draw(), draw())
}
