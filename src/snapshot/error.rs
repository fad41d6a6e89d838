//! What can be wrong with a snapshot: where, what, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a snapshot cannot be read. The text follows "error: ".
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system refuses.
    #[error("failed to read {path}: {source}", path = .path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not as it was written.
    #[error("{path} is damaged: {what} ({place})", path = .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// Where in the file.
        place: Location,
    },
    /// The file is whole, and belongs to something else.
    #[error("{path} does not belong here: {what}", path = .path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// Where it belongs.
        what: String,
    },
    /// The file has a form that this version does not know.
    #[error("{path} was written by another version of this program: {what}", path = .path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// What is not known.
        what: String,
    },
    /// What was saved is not what is asked for.
    #[error("the state `{state}` cannot be restored: {what}")]
    Changed {
        /// The name of the state.
        state: String,
        /// In what they differ.
        what: String,
    },
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// The file as a whole.
    Whole,
    /// A byte of it.
    Offset(u64),
    /// A block, and the byte at which it begins.
    Block(usize, u64),
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole => write!(f, "the whole file"),
            Self::Offset(offset) => write!(f, "at byte {offset}"),
            Self::Block(number, offset) => write!(f, "block {number} at byte {offset}"),
        }
    }
}

impl SnapshotError {
    /// A file that is not as it was written.
    pub(super) fn damaged(path: &Path, place: Location, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into(), place }
    }

    /// A file that should be there.
    pub(super) fn missing(path: &Path) -> Self {
        Self::damaged(path, Location::Whole, "it is missing")
    }

    /// A whole file that belongs to something else.
    pub(super) fn foreign(path: &Path, what: impl Into<String>) -> Self {
        Self::Foreign { path: path.to_owned(), what: what.into() }
    }

    /// A file of a form that is not known.
    pub(super) fn newer(path: &Path, what: impl Into<String>) -> Self {
        Self::Newer { path: path.to_owned(), what: what.into() }
    }

    /// A file that cannot be read at all.
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    /// What to do about it, in one sentence.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Io { .. } => "make the file readable, and start again",
            Self::Damaged { .. } | Self::Foreign { .. } => {
                "sinks may have committed what follows from it, so nothing older is taken by itself: put the file back from a copy, go on from an older snapshot with `run --from N` (see `snapshot list`), or begin anew with `run --fresh`"
            }
            Self::Newer { .. } => "run it with the version that wrote it, or begin anew with `run --fresh`",
            Self::Changed { .. } => {
                "take back what was changed in the step, give it another name so that it begins without state, or begin anew with `run --fresh`"
            }
        }
    }
}
