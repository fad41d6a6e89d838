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
    /// Its first line does not name the columns as it should.
    #[error("{path}: {what}")]
    Header {
        /// Which input.
        path: String,
        /// What is wrong.
        what: String,
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
    /// Has been given to another file while it was read.
    #[error("{path} was replaced by another file while it was read")]
    Replaced {
        /// Which file.
        path: String,
    },
    /// Is not there any more.
    #[error("{path} is gone, and a part of it is still to be read: put it back, or begin anew with --fresh")]
    Missing {
        /// Which file.
        path: String,
    },
    /// Is shorter than when the run started that is gone on with.
    #[error(
        "{path} was {how}: it has {found} bytes, and had {expected} when the run began that this one goes on with; put the file back as it was, or begin anew with --fresh"
    )]
    Shorter {
        /// Which file.
        path: String,
        /// Its length then, bytes.
        expected: u64,
        /// Its length now, bytes.
        found: u64,
        /// What happened to it.
        how: &'static str,
    },
    /// Does not hold what has been read from it.
    #[error(
        "{path} was {how} since the snapshot: {what} are not what was read; put the file back as it was, or begin anew with --fresh"
    )]
    Changed {
        /// Which file.
        path: String,
        /// Where it differs.
        what: String,
        /// What happened to it.
        how: &'static str,
    },
    /// A snapshot's position does not fit the source.
    #[error("the snapshot's position of the input cannot be gone on from ({0}); begin anew with --fresh")]
    Position(String),
    /// A rate at which the rows of a snapshot are no whole number of pieces.
    #[error(
        "{rows} rows have been made in pieces of {before}, which at the rate declared now come in pieces of {now}: go on with the rate as it was, or begin anew with --fresh"
    )]
    Rate {
        /// How many rows are before the snapshot.
        rows: u64,
        /// How many rows a piece had.
        before: u64,
        /// How many it has now.
        now: u64,
    },
}
