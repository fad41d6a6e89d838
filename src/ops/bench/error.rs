//! Why a benchmark comes to nothing.

use std::io;

use crate::shard::{LaunchError, RecoveryError, WriterError};
use crate::source::SourceError;

/// Why a benchmark comes to nothing. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The input cannot be had several times, at rates of the benchmark's own.
    #[error(
        "this source cannot be measured: {0}; a benchmark reads its input several times, at rates of its own\n  help: save some input to a file, and measure the pipeline with a `file` source"
    )]
    Input(String),
    /// The sink and the report want the same place.
    #[error("the sink writes to stdout, where the report goes\n  help: run without --keep-sinks")]
    Stdout,
    /// There is not enough input.
    #[error("{0}")]
    Small(String),
    /// No rate was found at which the pipeline keeps up.
    #[error("{0}")]
    Unsustained(String),
    /// The scratch directory cannot be used.
    #[error("failed to use the scratch directory {path}: {error}")]
    Scratch {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A run cannot be started.
    #[error("failed to start a run: {0}")]
    Launch(#[from] LaunchError),
    /// The scratch directory is not as it should be.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The input cannot be read.
    #[error("failed to read the input: {0}")]
    Source(SourceError),
    /// A record is bad, and the pipeline wants none.
    #[error("{0}")]
    BadRecord(String),
    /// The output cannot be written.
    #[error(transparent)]
    Writer(WriterError),
    /// No snapshot can be taken.
    #[error("no snapshot can be taken: {0}")]
    Snapshot(String),
    /// State has outgrown the limit.
    #[error("{0}")]
    Memory(String),
    /// A signal has come.
    #[error("stopped by a signal")]
    Signal(i32),
    /// A thread cannot be started.
    #[error("failed to start a thread: {0}")]
    Thread(io::Error),
    /// A bug.
    #[error("{0}: this is a bug, please report it")]
    Bug(&'static str),
}
