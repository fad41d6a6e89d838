//! What a snapshot says of a file, and what runs that have ended have left to do.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::{SinkError, folder};
use crate::io::{Open, Storage, folder_of};

/// What a snapshot says of the output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Position {
    /// Written under a temporary name.
    Renamed {
        /// Where it appears.
        path: PathBuf,
        /// Its name until then.
        temporary: PathBuf,
        /// How often it has had its own name before, at the ends of runs that were drained.
        drained: u64,
        /// Its length, bytes.
        bytes: u64,
        /// Whether it is complete, and so has its own name.
        finished: bool,
    },
    /// Written where it is.
    InPlace {
        /// Where.
        path: PathBuf,
        /// Its length, bytes.
        bytes: u64,
        /// What tells it apart from another file of its name.
        inode: Option<u64>,
        /// What an unfinished run would have to be taken back by; of no use once this is committed.
        undo: PathBuf,
        /// The run that wrote it.
        run: String,
    },
    /// A pipe or a device, which cannot be cut.
    AsItIs {
        /// Where.
        path: PathBuf,
    },
}

/// Reads the position of a manifest.
pub(super) fn read(position: &serde_json::Value) -> Result<Position, SinkError> {
    Position::deserialize(position).map_err(|error| SinkError::Changed {
        path: "a file".to_owned(),
        what: format!("what the snapshot says of it cannot be read: {error}"),
        help: "go on with the version and the pipeline that took it, or start afresh with --fresh",
    })
}

/// The name beside `path` under which its owner keeps something: the same for every run of that owner, so that a run
/// that was killed leaves nothing behind for good.
pub(super) fn beside(path: &Path, owner: &str, ending: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{owner}.{ending}"));
    path.with_file_name(name)
}

/// The temporary name of `path`. No two stretches between drains have the same, so that what an earlier one has left to
/// do is never done to a later one.
pub(super) fn temporary(path: &Path, owner: &str, drained: u64) -> PathBuf {
    match drained {
        0 => beside(path, owner, "tmp"),
        _ => beside(path, owner, &format!("{drained}.tmp")),
    }
}

/// Removes the temporary files of an owner beside `path`, except the one that is kept: runs that were killed have left
/// them.
pub(super) fn sweep(storage: &dyn Storage, path: &Path, owner: &str, kept: &Path) -> io::Result<()> {
    let all = beside(path, owner, "");
    let begins = all.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = folder_of(path);
    for name in storage.list(&folder)? {
        let Some(rest) = name.strip_prefix(&begins) else { continue };
        let number = rest.strip_suffix(".tmp").map(str::parse::<u64>);
        let is_left = rest == "tmp" || number.is_some_and(|number| number.is_ok());
        let left = folder.join(&name);
        if is_left && left != kept {
            folder::remove(storage, &left)?;
        }
    }
    Ok(())
}

/// See [`super::super::Sink::recover`].
pub(super) fn recover(storage: &dyn Storage, position: &serde_json::Value) -> Result<(), SinkError> {
    match read(position)? {
        Position::Renamed { path, temporary, bytes, finished: true, .. } => {
            let failed = |source| SinkError::Write { path: path.display().to_string(), source };
            if storage.look(&temporary).map_err(failed)?.is_some() {
                return rename(storage, &temporary, &path, bytes);
            }
            if storage.look(&path).map_err(failed)?.is_none() {
                // It has been there: only by its renaming does the temporary name go.
                tracing::warn!(path = %path.display(), "the complete output of the last run has been moved or removed");
                return Ok(());
            }
            // The run that gave it this name may have been killed before the name was durable.
            storage.sync_folder(&folder_of(&path)).map_err(failed)
        }
        Position::Renamed { .. } | Position::AsItIs { .. } => Ok(()),
        Position::InPlace { path, undo, run, .. } => {
            let of_run = Undo::read(storage, &undo)?.is_some_and(|undo| undo.run == run);
            if of_run { forget(storage, &undo, &path) } else { Ok(()) }
        }
    }
}

/// Gives a complete file its own name; may be done twice.
pub(super) fn rename(
    storage: &dyn Storage,
    temporary: &Path,
    path: &Path,
    bytes: u64,
) -> Result<(), SinkError> {
    let failed = |source| SinkError::Write { path: path.display().to_string(), source };
    match storage.rename(temporary, path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let found = storage.look(path).map_err(failed)?;
            if found.is_none_or(|found| found.length != bytes) {
                return Err(SinkError::Changed {
                    path: path.display().to_string(),
                    what: format!("its temporary file {} has been removed", temporary.display()),
                    help: "run the pipeline afresh with --fresh",
                });
            }
        }
        Err(error) => return Err(failed(error)),
    }
    // The name itself is durable once the folder is.
    storage.sync_folder(&folder_of(path)).map_err(failed)
}

/// What a file that is written in place was like before a run, kept beside it until the first snapshot is committed: a
/// run that is killed before that is taken back by the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Undo {
    /// The run.
    pub run: String,
    /// The file's length, bytes; none where there was no file.
    pub bytes: Option<u64>,
    /// What tells the file apart.
    pub inode: Option<u64>,
}

impl Undo {
    /// What is kept at `path`; none where nothing is, or something that is no such note.
    pub(super) fn read(storage: &dyn Storage, path: &Path) -> Result<Option<Self>, SinkError> {
        match storage.read(path) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SinkError::Read { path: path.display().to_string(), source }),
        }
    }

    /// Keeps it at `path`, durably, in the place of what a run that was killed has left there: until it is whole, that one
    /// holds.
    pub(super) fn keep(&self, storage: &dyn Storage, path: &Path) -> io::Result<()> {
        let unfinished = path.with_extension("undo-new");
        let mut file = storage.open(&unfinished, Open::Truncated)?;
        file.write_all(&serde_json::to_vec(self).expect("text and numbers are JSON"))?;
        file.sync()?;
        storage.rename(&unfinished, path)?;
        storage.sync_folder(&folder_of(path))
    }
}

/// Removes what would take a run back, durably.
pub(super) fn forget(storage: &dyn Storage, undo: &Path, path: &Path) -> Result<(), SinkError> {
    folder::remove_durably(storage, undo)
        .map_err(|source| SinkError::Write { path: path.display().to_string(), source })
}
