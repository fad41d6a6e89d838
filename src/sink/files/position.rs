//! What a snapshot says of the files, and what runs that have ended have left to do.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::{SinkError, folder};
use super::levels::LEVELS_MAX;
use crate::io::{FileKind, Storage};

/// What a snapshot says of the output.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// The folder of all.
    pub root: PathBuf,
    /// Whose the temporary names are.
    pub owner: String,
    /// Which run the names are of.
    pub run: String,
    /// The number of the next file.
    pub next: u64,
    /// Files that are written on.
    pub open: Vec<OpenFile>,
    /// Complete files that may not have their own names yet.
    pub complete: Vec<CompleteFile>,
}

/// A file that is being written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenFile {
    /// Its partition's name, with `/` between the levels; empty where there are none.
    pub partition: String,
    /// The name it will have.
    pub name: String,
    /// Its length, bytes.
    pub bytes: u64,
    /// When it was begun, milliseconds after 1970-01-01T00:00:00Z.
    pub since_ms: i64,
}

/// A file to which nothing is added.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CompleteFile {
    /// Its partition's name, with `/` between the levels; empty where there are none.
    pub partition: String,
    /// Its own name.
    pub name: String,
    /// Its length, bytes.
    pub bytes: u64,
}

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Its folder.
    pub folder: PathBuf,
    /// Its own name.
    pub name: String,
    /// Whose it is until then.
    pub owner: String,
}

impl Place {
    /// Its path once it is visible.
    pub(super) fn visible(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// Its path until then: hidden, and with an ending that readers of `*.ndjson` pass over.
    pub(super) fn temporary(&self) -> PathBuf {
        self.folder.join(format!(".{}{}", self.name, ending(&self.owner)))
    }
}

/// How the temporary names of an owner end.
fn ending(owner: &str) -> String {
    format!(".{owner}.tmp")
}

impl Position {
    /// Reads the position of a manifest.
    pub(super) fn read(position: &serde_json::Value) -> Result<Self, SinkError> {
        Self::deserialize(position).map_err(|error| SinkError::Changed {
            path: "a folder of files".to_owned(),
            what: format!("what the snapshot says of it cannot be read: {error}"),
            help: "go on with the version and the pipeline that took it, or start afresh with --fresh",
        })
    }

    /// Where the file of this name in a partition is.
    pub(super) fn place(&self, partition: &str, name: &str) -> Place {
        Place { folder: self.root.join(partition), name: name.to_owned(), owner: self.owner.clone() }
    }
}

/// See [`super::super::Sink::recover`].
pub(super) fn recover(storage: &dyn Storage, position: &serde_json::Value) -> Result<(), SinkError> {
    let position = Position::read(position)?;
    let mut changed = BTreeSet::new();
    for file in &position.complete {
        let place = position.place(&file.partition, &file.name);
        let temporary = place.temporary();
        let failed = |source| SinkError::Write { path: temporary.display().to_string(), source };
        // One that has its own name may have been taken away by whoever reads them; if not, the name may not be durable.
        let Some(found) = storage.look(&temporary).map_err(failed)? else {
            if storage.look(&place.visible()).map_err(failed)?.is_some() {
                changed.insert(place.folder);
            }
            continue;
        };
        if found.length != file.bytes {
            return Err(wrong_length(&temporary, found.length, file.bytes));
        }
        storage.rename(&temporary, &place.visible()).map_err(failed)?;
        changed.insert(place.folder);
    }
    folder::sync(storage, &changed.into_iter().collect::<Vec<_>>())
}

/// The error of a file whose length is not what a snapshot says.
pub(super) fn wrong_length(path: &Path, length: u64, bytes: u64) -> SinkError {
    SinkError::Changed {
        path: path.display().to_string(),
        what: format!("it has {length} bytes, and at the last snapshot it had {bytes}"),
        help: "put it back, or start afresh with --fresh",
    }
}

/// Removes the temporary files of an owner that are not among `kept`: runs that were killed have left them.
pub(super) fn sweep(
    storage: &dyn Storage,
    root: &Path,
    owner: &str,
    kept: &BTreeSet<PathBuf>,
) -> io::Result<()> {
    let ending = ending(owner);
    let is_left = |name: &str| name.starts_with('.') && name.ends_with(&ending);
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((within, depth)) = folders.pop() {
        for name in storage.list(&within)? {
            let path = within.join(&name);
            if is_left(&name) {
                if !kept.contains(&path) {
                    folder::remove(storage, &path)?;
                }
            } else if may_hold_partitions(&within, depth, &name)
                && storage.look(&path)?.is_some_and(|found| found.kind == FileKind::Folder)
            {
                folders.push((path, depth + 1));
            }
        }
    }
    Ok(())
}

/// Whether a name, so many levels below the root, may be that of a folder of ours: any may at the top, and further down
/// there are only folders `name=value` in one another. What others have put there may be large.
fn may_hold_partitions(within: &Path, depth: usize, name: &str) -> bool {
    let is_named = |name: &str| name.contains('=');
    let within = within.file_name().and_then(|name| name.to_str());
    depth == 0 || depth < LEVELS_MAX && is_named(name) && within.is_some_and(is_named)
}
