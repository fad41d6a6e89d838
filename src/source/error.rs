//! Why an input cannot be read.

use std::io;

/// Written to follow "failed to read the input:".
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A pattern without a match.
    #[error("no file matches `{0}`")]
    NoMatch(String),
    /// Not a pattern.
    #[error("`{0}` is not a file pattern: {1}")]
    Pattern(String, String),
    /// Cannot be opened.
    #[error("failed to open {path}: {source}")]
    Open {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A directory, a pipe, a device.
    #[error("{0} is not a regular file; to read from a pipe, use the source `stdin`")]
    NotAFile(String),
    /// Cannot be read.
    #[error("failed to read {path} at byte {position}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Where.
        position: u64,
        /// Why.
        source: io::Error,
    },
    /// Has become shorter.
    #[error(
        "{path} became shorter while it was read: it had {expected} bytes at the start and now ends at {found}"
    )]
    Truncated {
        /// Which file.
        path: String,
        /// Its size when it was opened.
        expected: u64,
        /// Where it ended.
        found: u64,
    },
}
