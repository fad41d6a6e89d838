//! Where records come in: what a file declares ([`Source`]) and what a shard reads ([`Reader`]).
//!
//! Input arrives in [`Piece`]s, numbered over the whole input: piece k goes to shard k mod n, and its blocks have
//! ascending numbers. A new source is a file here, its `mod` line, and an entry in [`SOURCES`].

mod chunk;
mod cuts;
mod ends;
mod error;
mod file;
mod generator;
mod ingest;
pub mod nexmark;
mod nexmark_source;
mod numbering;
mod paced;
mod several;
mod stdin;
mod supply;
#[cfg(test)]
mod testing;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;

pub use chunk::CHUNK_BYTES;
pub use cuts::Cuts;
pub use error::SourceError;
pub use ingest::{Ingest, TimeOf, last_batch};
pub use several::{Inputs, Turn, open_all};
pub use supply::{Mark, Supply};

use cuts::Gate;
use numbering::Numbering;

use crate::codec::csv::{Header, HeaderReader};
use crate::error::Problems;
use crate::io::Bell;
use crate::record::{BadRecord, Barrier, Schema};
use crate::time::Now;
use crate::yaml::{Key, Node};

/// What a file declares as its source.
pub trait Source: fmt::Debug {
    /// The columns the source makes by itself; none where it yields bytes, which need a format and a schema.
    fn schema(&self) -> Option<Schema> {
        None
    }

    /// The event time of a source that knows it: an expression over its columns, and the disorder in milliseconds.
    fn event_time(&self) -> Option<(&'static str, i64)> {
        None
    }

    /// Whether records arrive as they happen, so that one can be from the future.
    fn is_live(&self) -> bool {
        false
    }

    /// Whether its records come to an end by themselves.
    fn is_bounded(&self) -> bool {
        !self.is_live()
    }

    /// Whether its records can be had again after a crash.
    fn replays(&self) -> bool {
        true
    }

    /// Whether it supplies its records as a benchmark asks for them ([`Opening::supply`]).
    fn can_supply(&self) -> bool {
        false
    }

    /// Whether it reads what a sink writes to ([`crate::sink::Sink::target`]).
    fn reads(&self, _target: &str) -> bool {
        false
    }

    /// What it reads and what can be had again after a crash, for `explain`.
    fn describe(&self) -> String;

    /// Prepares one reader per shard. Called once per run.
    ///
    /// # Errors
    ///
    /// If the input cannot be had.
    fn open(&self, opening: &Opening) -> Result<Opened, SourceError>;
}

/// What a source needs to know to be opened.
pub struct Opening {
    /// The columns that are used, of a source that makes columns.
    pub columns: Schema,
    /// What wakes each shard, `[shard]`.
    pub bells: Vec<Arc<Bell>>,
    /// Asks the readers to end epochs, and to stop.
    pub cuts: Cuts,
    /// Which of the pipeline's sources it is.
    pub turn: Turn,
    /// When the run started.
    pub start: Now,
    /// After which time without a record a live split says that it is idle, milliseconds; none where nobody asks.
    pub idle_after_ms: Option<i64>,
    /// Whether a source with nothing to read sends an empty piece at least every [`HEARTBEAT_MS`], because a step's
    /// output is due at times of the wall clock.
    pub heartbeat: bool,
    /// How many bytes a chunk has, where the source reads bytes.
    pub chunk_bytes: usize,
    /// What reads the first line of each split, where that is no record.
    pub header: Option<HeaderReader>,
    /// The quote between two of which a newline ends no record; none where every newline ends one.
    pub quote: Option<u8>,
    /// Where to go on; none at the beginning.
    pub resume: Option<Resume>,
    /// How a benchmark has the records come: then those that are made by number do not end. None where they come as
    /// declared; a source is asked only where it can do so ([`Source::can_supply`]).
    pub supply: Option<Supply>,
}

impl Opening {
    /// What the source's reader on a shard passes, which reads from where `numbering` begins.
    fn gate(&self, shard: usize, numbering: Numbering) -> Gate {
        self.cuts.gate(shard * self.turn.of + self.turn.place, numbering)
    }
}

/// Where a source goes on after a restart, on any number of shards.
#[derive(Clone, Debug)]
pub struct Resume {
    /// The epoch that ended here.
    pub barrier: Barrier,
    /// What [`Opened::position`] said.
    pub position: serde_json::Value,
}

/// How often a silent source sends an empty piece where it is asked to, milliseconds.
pub const HEARTBEAT_MS: u64 = 100;

/// An opened source.
pub struct Opened {
    /// One per shard, `[shard]`.
    pub readers: Vec<Box<dyn Reader + Send>>,
    /// The input's splits as the user knows them: each keeps its own watermark.
    pub splits: Vec<Arc<str>>,
    /// How large the input is, where that is known.
    pub extent: Option<Extent>,
    /// How much of it had been read where this run goes on, in the unit of the extent.
    pub done: u64,
    /// How its blocks are numbered.
    numbering: Numbering,
    /// What a snapshot keeps of the input as a whole besides the barrier, so that it is known again: which files, how
    /// long, and what is in them before the barrier.
    pub position: Position,
}

/// Tells the position of an input at a barrier, off the shards.
pub type Position = Box<dyn Fn(Barrier) -> Result<serde_json::Value, SourceError> + Send>;

/// How large an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// In bytes.
    Bytes(u64),
    /// In rows.
    Rows(u64),
}

/// Reads one shard's share of an input.
pub trait Reader {
    /// The next piece, without waiting for one that is not there yet.
    ///
    /// # Errors
    ///
    /// If the input cannot be read any further; the run ends.
    fn poll(&mut self, now: Now) -> Result<Polled, SourceError>;

    /// Takes back the buffer of a piece that has been worked off.
    fn recycle(&mut self, _buffer: Vec<u8>) {}
}

/// What [`Reader::poll`] found.
pub enum Polled {
    /// A piece.
    Piece(Piece),
    /// Nothing yet: look again when the bell rings, or at this time of [`Now::monotonic_us`].
    Wait(Option<u64>),
    /// An epoch ends behind what was read so far.
    Barrier(Barrier),
    /// Nothing more.
    End,
}

/// A stretch of the input that one shard works off.
pub struct Piece {
    /// The number of its first block.
    pub number: u64,
    /// The number of the first block of the shard's next piece.
    pub next: u64,
    /// The split it belongs to.
    pub split: u32,
    /// Whether the split ends with it.
    pub finished: bool,
    /// Whether it has no record and says that the split has been silent for long.
    pub idle: bool,
    /// The source as its user knows it.
    pub source: Arc<str>,
    /// What is in it.
    pub content: Content,
    /// Records that could not even be taken apart.
    pub rejected: Vec<BadRecord>,
    /// How many bytes of the input it covers.
    pub bytes: u64,
    /// When its records arrived, milliseconds of wall time; none where the input is not live.
    pub arrived_ms: Option<i64>,
}

/// The content of a [`Piece`].
pub enum Content {
    /// Whole records, to be framed and decoded.
    Bytes {
        /// The buffer they are in.
        buffer: Arc<Vec<u8>>,
        /// Which part of it.
        range: Range<usize>,
        /// The position in the source of the start of `range`, bytes.
        position: u64,
        /// The position in the source at which the piece's first block starts.
        start: u64,
        /// How many bytes each of its blocks has, except the last, which has the rest.
        block_bytes: u64,
        /// What the first line of its split says, where there is one that is no record.
        header: Option<Arc<Header>>,
    },
    /// Rows, all of one block.
    Rows(RecordBatch),
}

/// A kind of source.
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// What it reads, in one sentence.
    pub summary: &'static str,
    /// A component that uses it, as YAML.
    pub example: &'static str,
    /// Reads its options. None is returned only after a problem, or where an option cannot be known.
    pub parse: fn(&Key, &Node, &mut Problems) -> Option<Box<dyn Source>>,
}

/// All kinds of sources.
pub static SOURCES: &[Kind] = &[file::KIND, stdin::KIND, generator::KIND, nexmark_source::KIND];

/// The kind of this name.
#[must_use]
pub fn kind(name: &str) -> Option<&'static Kind> {
    SOURCES.iter().find(|kind| kind.name == name)
}
