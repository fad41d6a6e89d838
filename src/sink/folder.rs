//! Folders that output goes to, and which names in them are not durable yet.

use std::io;
use std::path::{Path, PathBuf};

use super::SinkError;
use crate::io::{Storage, folder_of};

/// Makes a folder and those above it. Yields the folders that have new names in them, to be synced: also the one above a
/// folder that is there already, because a run that was killed may have made it and not have come to its sync.
pub(super) fn make(storage: &dyn Storage, folder: &Path) -> Result<Vec<PathBuf>, SinkError> {
    let failed = |source| SinkError::Create { path: folder.display().to_string(), source };
    let mut changed = vec![folder_of(folder)];
    let mut missing = folder.to_owned();
    while storage.look(&missing).map_err(failed)?.is_none() {
        let above = folder_of(&missing);
        if above == missing {
            break;
        }
        changed.push(folder_of(&above));
        missing = above;
    }
    storage.create_output_folder(folder).map_err(failed)?;
    Ok(changed)
}

/// Names that stages have made, each with the stage it belongs to.
#[derive(Debug, Default)]
pub(super) struct NewNames(Vec<(u64, PathBuf)>);

impl NewNames {
    /// Folders have new names in them since a stage.
    pub(super) fn add(&mut self, stage: u64, folders: impl IntoIterator<Item = PathBuf>) {
        for folder in folders {
            if !self.0.iter().any(|(at, known)| *at == stage && *known == folder) {
                self.0.push((stage, folder));
            }
        }
    }

    /// The folders whose names are not durable where all is up to the stage `synced`.
    pub(super) fn unsynced(&mut self, synced: u64) -> Vec<PathBuf> {
        self.0.retain(|(stage, _)| *stage > synced);
        let mut folders: Vec<PathBuf> = self.0.iter().map(|(_, folder)| folder.clone()).collect();
        folders.sort();
        folders.dedup();
        folders
    }
}

/// Makes the names in folders durable. A folder that may not be read cannot be synced; what is in it was there before.
pub(super) fn sync(storage: &dyn Storage, folders: &[PathBuf]) -> Result<(), SinkError> {
    for folder in folders {
        let failed = |source| SinkError::Write { path: folder.display().to_string(), source };
        sync_one(storage, folder).map_err(failed)?;
    }
    Ok(())
}

fn sync_one(storage: &dyn Storage, folder: &Path) -> io::Result<()> {
    match storage.sync_folder(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// Removes a file that may be gone already.
pub(super) fn remove(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    match storage.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes a file that may be gone already, so that it is gone after a power cut too.
pub(super) fn remove_durably(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    remove(storage, path)?;
    sync_one(storage, &folder_of(path))
}
