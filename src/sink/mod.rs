//! Where rows go out: what a file declares ([`Sink`]) and what takes its output.
//!
//! A sink of bytes is written by one thread, which takes the shards' encoded rows in the order of the input
//! ([`Output`]); a sink of rows runs on every shard ([`RowSink`]). A new sink is a file here, its `mod` line, and an
//! entry in [`SINKS`].
//!
//! An output is written epoch by epoch. [`Output::stage`] ends one; its sync job makes durable what was written, then the
//! epoch is committed with the output's position in its manifest, then the commit job makes visible what belongs to it.
//! After a crash [`Kind::recover`] does once more what a commit job would have done, and the output is opened where the
//! last committed epoch left it ([`Opening::resume`]).

mod blackhole;
mod changes;
mod discard;
mod file;
mod files;
mod folder;
mod progress;
mod stdout;
#[cfg(test)]
mod verify;

use std::fmt;
use std::io;
use std::sync::Arc;

use arrow::array::RecordBatch;
pub use changes::{ChangeForm, Changes};
pub use discard::{Nothing, discarding};
pub use files::{PartitionBy, Partitioned};
use hdrhistogram::Histogram;

use crate::codec::Format;
use crate::error::Problems;
use crate::io::Storage;
use crate::record::Schema;
use crate::time::Now;
use crate::yaml::{Key, Node};

/// What a file declares as its sink.
pub trait Sink: fmt::Debug {
    /// Checks the sink against the rows it gets. Problems are reported.
    fn check(&self, _rows: &Schema, _problems: &mut Problems) {}

    /// How it writes rows that may be taken back; none where the file does not say.
    fn changes(&self) -> Option<&Changes> {
        None
    }

    /// Whether it takes rows that may be taken back although nothing says how they are written.
    fn takes_changes(&self) -> bool {
        false
    }

    /// What it writes to, where no other sink of the pipeline may write: a path, `stdout`.
    fn target(&self) -> Option<String> {
        None
    }

    /// What it writes and what it guarantees, for `explain`.
    fn describe(&self) -> String;

    /// What a crash does to what it writes, in one sentence for `explain`.
    fn guarantee(&self) -> &'static str {
        "at least once: after a crash, rows since the last snapshot are written again"
    }

    /// How the rows of this schema are divided, where the output is written in partitions ([`Output::write_to`]).
    fn partition(&self, _rows: &Schema) -> Option<PartitionBy> {
        None
    }

    /// How it runs over rows of this schema.
    fn form(&self, rows: &Schema) -> Form;
}

/// Opens the output of a sink of bytes.
pub type OpenOutput = Box<dyn FnOnce(&Opening) -> Result<Box<dyn Output + Send>, SinkError> + Send>;

/// How a sink runs.
pub enum Form {
    /// Encoded rows, written by one thread to what this opens.
    Bytes(OpenOutput),
    /// Rows, taken on every shard by what this builds.
    Rows(Box<dyn Fn() -> Box<dyn RowSink + Send>>),
}

/// Takes the bytes of a run, epoch by epoch.
pub trait Output {
    /// Appends bytes; may keep some back.
    ///
    /// # Errors
    ///
    /// If they cannot be written; the run ends.
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError>;

    /// Appends bytes to one of the partitions of a sink that has some ([`Sink::partition`]); may keep some back.
    ///
    /// # Errors
    ///
    /// As [`Output::write`].
    fn write_to(&mut self, _partition: &str, bytes: &[u8]) -> Result<(), SinkError> {
        self.write(bytes)
    }

    /// Tells the time, for outputs that depend on it; called now and then, and before each [`Output::stage`].
    fn tell_time(&mut self, _now: Now) {}

    /// Passes on what was kept back; called when there is nothing more to write for now.
    ///
    /// # Errors
    ///
    /// As [`Output::write`].
    fn flush(&mut self) -> Result<(), SinkError>;

    /// Ends an epoch behind what was written so far, and passes that on. `last` says that this run writes nothing any more:
    /// the input is complete, or the run is drained, and then another run may go on from here.
    ///
    /// # Errors
    ///
    /// As [`Output::write`].
    fn stage(&mut self, last: bool) -> Result<Staged, SinkError>;

    /// Gives the output up. Where no epoch has been committed it is as before the run; else what the last committed epoch
    /// needs to go on stays (`committed`).
    fn abandon(self: Box<Self>, committed: bool);
}

/// What an epoch has written to an output.
pub struct Staged {
    /// What the manifest of the epoch says of the output: what it needs to go on from here ([`Opening::resume`]), and to
    /// be committed once more ([`Kind::recover`]).
    pub position: serde_json::Value,
    /// Makes it durable; before the epoch is committed.
    pub sync: Job,
    /// Makes it visible; once the epoch is committed. May be done twice.
    pub commit: Job,
    /// Whether the commit is one step, which a crash cannot leave half done: then a run that has committed nothing before may
    /// end with it, without a manifest.
    pub is_one_step: bool,
}

/// Something to be done once, on another thread.
pub type Job = Box<dyn FnOnce() -> Result<(), SinkError> + Send>;

/// What a sink of bytes is opened with.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Where files are.
    pub storage: Arc<dyn Storage>,
    /// The position in the manifest of the epoch from which the run goes on; none where it starts afresh.
    pub resume: Option<serde_json::Value>,
    /// Who writes.
    pub author: Author,
    /// What stands once at the beginning of every file that is begun, and of every stream, before the rows.
    pub head: Vec<u8>,
    /// How the names of files end that are named here, without the dot.
    pub extension: &'static str,
}

impl Opening {
    /// The same for rows of a format.
    #[must_use]
    pub fn of(self, format: &Format, rows: &Schema) -> Self {
        Self { head: format.head(rows), extension: format.extension(), ..self }
    }
}

/// Who writes an output: what tells its unfinished files apart from those of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The same for all runs that use one state directory, and for no others: what one of them has left behind, the next
    /// may remove. Letters and digits.
    pub owner: String,
    /// Drawn at a fresh start and kept by the runs that go on from it. Letters and digits.
    pub run: String,
}

/// Takes the rows of one shard.
pub trait RowSink {
    /// Takes a batch of rows.
    fn write(&mut self, rows: &RecordBatch, now: Now);

    /// The latencies it has measured, microseconds.
    fn latencies_us(&mut self) -> Option<Histogram<u64>> {
        None
    }
}

/// Why output cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Cannot be made.
    #[error("failed to create {path}: {source}")]
    Create {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Cannot be written.
    #[error("failed to write {path}: {source}")]
    Write {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// What earlier runs have left cannot be read.
    #[error("failed to read {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Somebody else is writing there.
    #[error("another run is writing to {0}; wait for it, or write to another file")]
    Taken(String),
    /// It is not as the last snapshot has left it.
    #[error("cannot go on with {path}: {what}; {help}")]
    Changed {
        /// Which file.
        path: String,
        /// What is not as it was.
        what: String,
        /// What to do.
        help: &'static str,
    },
    /// It could not be made durable, and nobody knows which part of it is.
    #[error("{0} could not be made durable: start again, to go on from the last snapshot")]
    Unsynced(String),
    /// Its reader is gone: the end of the output for good, and no failure of this program.
    #[error("nobody reads {0} any more")]
    Closed(String),
}

/// A kind of sink.
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// A component that uses it, as YAML.
    pub example: &'static str,
    /// Whether it writes bytes and so needs a format.
    pub takes_format: bool,
    /// Makes what a committed epoch has staged visible, where a crash may have come between, by the position that its
    /// manifest has. Called for every committed epoch that is known, the oldest first, before the sink is opened; what has
    /// been done already is no error. An error is a reason not to start.
    pub recover: fn(&dyn Storage, &serde_json::Value) -> Result<(), SinkError>,
    /// Reads its options. None is returned only after a problem, or where an option cannot be known.
    pub parse: fn(&Key, &Node, &mut Problems) -> Option<Box<dyn Sink>>,
}

/// All kinds of sinks.
pub static SINKS: &[Kind] = &[file::KIND, files::KIND, stdout::KIND, blackhole::KIND];

/// The kind of this name.
#[must_use]
pub fn kind(name: &str) -> Option<&'static Kind> {
    SINKS.iter().find(|kind| kind.name == name)
}
