//! One core: its stages, how they are stepped, and how a machine of them is launched and drained.
//!
//! [`launch()`] builds the shards and the writer from a plan and starts their threads; [`step`] is the synchronous core
//! of a shard; [`writer`] takes the shards' output in the order of the input; [`committer`] commits it, epoch by epoch.

mod assemble;
mod committer;
mod cut;
mod encode;
mod gather;
mod launch;
mod measure;
mod outlet;
mod quarantine;
mod recovery;
mod rejects;
mod restore;
mod side;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod stage;
mod stall;
mod step;
mod writer;

pub use committer::{Identity, Rhythm, SnapshotReport};
pub use launch::{Event, LaunchError, Recovery, Running, Settings, launch};

pub use measure::{Load, Passed, StepTimes};
pub use quarantine::QuarantineError;
pub use recovery::{RecoveryError, Wish, recover};
pub use writer::WriterError;
