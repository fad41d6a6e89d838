//! The folder of snapshots: what is committed, and how an epoch is committed, abandoned and pruned.
//!
//! A snapshot is written in `0000000042.tmp`, and the name `0000000042` is what makes it count. Once a rename or the sync
//! behind it has failed nobody knows what is on disk; so errors before and after that are told apart
//! ([`CommitError`]). No sync is repeated, and nothing is written over.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::SnapshotError;
use super::load::{Access, Snapshot};
use super::manifest::Manifest;
use super::part::part_name;
use crate::crash::point;
use crate::io::{Open, Storage, folder_of};
use crate::mutant::{self, Mutant};

/// The folder of snapshots in a state directory.
const FOLDER: &str = "snapshots";
/// The name of a manifest.
pub(super) const MANIFEST: &str = "MANIFEST";
/// What the name of a snapshot that is being written ends with.
const WRITING: &str = ".tmp";
/// What the name of a snapshot that is being removed ends with.
const REMOVING: &str = ".gone";

/// The snapshots of a state directory.
#[derive(Clone, Debug)]
pub struct Store {
    storage: Arc<dyn Storage>,
    folder: PathBuf,
}

/// A snapshot that is committed.
#[derive(Debug)]
pub struct Committed {
    /// The epoch, by its name.
    pub epoch: u64,
    /// Its folder.
    pub folder: PathBuf,
    /// Its manifest, or what is wrong with it.
    pub manifest: Result<Manifest, SnapshotError>,
}

/// Why an epoch is not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// It is not, and what was written of it is removed or will be: the next epoch may come.
    #[error("failed to write the snapshot {epoch} at {path}: {source}", path = .path.display())]
    Abandoned {
        /// Which epoch.
        epoch: u64,
        /// What could not be written.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody knows: only what is on disk at the next start tells.
    #[error("failed to commit the snapshot {epoch} at {path}, and whether it is committed is not known: {source}", path = .path.display())]
    Unknown {
        /// Which epoch.
        epoch: u64,
        /// What failed.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The name of a snapshot's folder.
#[must_use]
pub fn snapshot_name(epoch: u64) -> String {
    format!("{epoch:010}")
}

impl Store {
    /// The snapshots of the state directory `state`. Nothing is touched.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, state: &Path) -> Self {
        Self { storage, folder: state.join(FOLDER) }
    }

    /// Where they are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All committed snapshots with their manifests, the oldest first; a manifest that is wrong is told.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Committed>, SnapshotError> {
        Ok(self.epochs()?.into_iter().map(|epoch| self.committed(epoch)).collect())
    }

    /// The newest committed snapshot; none where there is none. One with a manifest that is wrong is never passed over.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub fn newest(&self) -> Result<Option<Committed>, SnapshotError> {
        Ok(self.epochs()?.pop().map(|epoch| self.committed(epoch)))
    }

    /// Opens a committed snapshot.
    ///
    /// # Errors
    ///
    /// If its manifest or one of its parts is not as it was written.
    pub fn open(&self, epoch: u64, access: Access) -> Result<Snapshot, SnapshotError> {
        let Committed { folder, manifest, .. } = self.committed(epoch);
        Snapshot::open(self.storage.as_ref(), &folder, manifest?, access)
    }

    /// The epochs that are committed, ascending.
    fn epochs(&self) -> Result<Vec<u64>, SnapshotError> {
        let names =
            self.storage.list(&self.folder).map_err(|error| SnapshotError::io(&self.folder, error))?;
        let mut epochs: Vec<u64> = names.iter().filter_map(|name| epoch_of(name)).collect();
        epochs.sort_unstable();
        Ok(epochs)
    }

    fn committed(&self, epoch: u64) -> Committed {
        let folder = self.folder.join(snapshot_name(epoch));
        let manifest = self.manifest(&folder, epoch);
        Committed { epoch, folder, manifest }
    }

    fn manifest(&self, folder: &Path, epoch: u64) -> Result<Manifest, SnapshotError> {
        let path = folder.join(MANIFEST);
        let text = self.storage.read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => SnapshotError::missing(&path),
            _ => SnapshotError::io(&path, source),
        })?;
        let manifest = Manifest::parse(&path, &text)?;
        if manifest.barrier.epoch != epoch {
            let what = format!("it is of epoch {}, under the name of epoch {epoch}", manifest.barrier.epoch);
            return Err(SnapshotError::foreign(&path, what));
        }
        Ok(manifest)
    }

    /// Makes the folder of snapshots durable, and removes what a crash has left of snapshots that were being written or
    /// removed. Called once, before the first [`Store::begin`], by the one who holds the lock.
    ///
    /// # Errors
    ///
    /// Of the file system.
    pub fn prepare(&self) -> io::Result<()> {
        self.storage.create_folder(&self.folder)?;
        // A run that was killed may not have come to this: a snapshot whose files go before its name has gone for good would
        // be half of one after a power cut.
        self.storage.sync_folder(&self.folder)?;
        for name in self.storage.list(&self.folder)? {
            if !mutant::is(Mutant::LitterNotRemoved)
                && [WRITING, REMOVING]
                    .iter()
                    .any(|ending| name.strip_suffix(ending).and_then(epoch_of).is_some())
            {
                self.storage.remove_folder(&self.folder.join(name))?;
            }
        }
        self.storage.sync_folder(&self.folder)?;
        let state = folder_of(&self.folder);
        self.storage.sync_folder(&state)?;
        self.storage.sync_folder(&folder_of(&state))
    }

    /// Makes the folder in which an epoch's parts are written.
    ///
    /// # Errors
    ///
    /// Of the file system; also if there is anything of this epoch already.
    pub fn begin(&self, epoch: u64) -> Result<PathBuf, CommitError> {
        let folder = self.writing(epoch);
        let make = || {
            let names = self.storage.list(&self.folder)?;
            if names.iter().any(|name| name.split('.').next().and_then(epoch_of) == Some(epoch)) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            self.storage.create_folder(&folder)
        };
        make().map_err(|source| CommitError::Abandoned { epoch, path: folder.clone(), source })?;
        Ok(folder)
    }

    /// Commits an epoch whose parts are durable: writes the manifest and gives the folder its name. When this returns
    /// the epoch is committed.
    ///
    /// # Errors
    ///
    /// If it is not, or if nobody knows.
    pub fn commit(&self, manifest: &Manifest) -> Result<PathBuf, CommitError> {
        let epoch = manifest.barrier.epoch;
        let (writing, committed) = (self.writing(epoch), self.folder.join(snapshot_name(epoch)));
        let path = writing.join(MANIFEST);
        let write = || {
            let mut file = self.storage.open(&path, Open::New)?;
            file.write_all(manifest.text().as_bytes())?;
            point("manifest-written");
            file.sync()?;
            point("manifest-synced");
            self.storage.sync_folder(&writing)?;
            point("folder-synced");
            if self.storage.list(&self.folder)?.contains(&snapshot_name(epoch)) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            Ok(())
        };
        if let Err(source) = write() {
            self.abandon(epoch);
            return Err(CommitError::Abandoned { epoch, path, source });
        }
        let name = || {
            self.storage.rename(&writing, &committed)?;
            point("folder-renamed");
            self.storage.sync_folder(&self.folder)
        };
        name().map_err(|source| CommitError::Unknown { epoch, path: committed.clone(), source })?;
        point("epoch-committed");
        Ok(committed)
    }

    /// Gives up an epoch that is not committed. What cannot be removed now is removed at the next start.
    pub fn abandon(&self, epoch: u64) {
        drop(self.storage.remove_folder(&self.writing(epoch)));
    }

    /// Removes all committed snapshots but the newest `keep`, of which there is at least one, the oldest first; yields
    /// their epochs.
    ///
    /// # Errors
    ///
    /// Of the file system. What is left is whole.
    pub fn prune(&self, keep: usize) -> io::Result<Vec<u64>> {
        let epochs = self.epochs().map_err(|error| io::Error::other(error.to_string()))?;
        let old = &epochs[..epochs.len().saturating_sub(keep.max(1))];
        self.remove(old)?;
        Ok(old.to_vec())
    }

    /// Removes committed snapshots, in this order.
    ///
    /// # Errors
    ///
    /// Of the file system. What is left is whole.
    pub fn remove(&self, epochs: &[u64]) -> io::Result<()> {
        for epoch in epochs {
            // It loses its name before it loses its files, so that no half of one is ever taken for a snapshot.
            let name = snapshot_name(*epoch);
            let gone = self.folder.join(format!("{name}{REMOVING}"));
            self.storage.remove_folder(&gone)?;
            self.storage.rename(&self.folder.join(name), &gone)?;
            self.storage.sync_folder(&self.folder)?;
            point("snapshot-hidden");
            self.storage.remove_folder(&gone)?;
        }
        Ok(())
    }

    /// The path of a shard's part of an epoch that is being written.
    #[must_use]
    pub fn part(&self, epoch: u64, shard: usize) -> PathBuf {
        self.writing(epoch).join(part_name(shard))
    }

    fn writing(&self, epoch: u64) -> PathBuf {
        self.folder.join(format!("{}{WRITING}", snapshot_name(epoch)))
    }
}

/// The epoch of which this is the name of a committed snapshot.
fn epoch_of(name: &str) -> Option<u64> {
    let digits = name.len() >= 10 && name.bytes().all(|byte| byte.is_ascii_digit());
    let epoch = name.parse().ok().filter(|_| digits)?;
    (snapshot_name(epoch) == name).then_some(epoch)
}
