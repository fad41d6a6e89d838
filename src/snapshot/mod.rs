//! Snapshots: what is written at the end of an epoch, and how a run goes on from it.
//!
//! ```text
//! <state>/LOCK                       held for the process's life
//! <state>/snapshots/0000000042.tmp/  being written: never read
//! <state>/snapshots/0000000042.gone/ being removed: never read
//! <state>/snapshots/0000000042/      committed: shard-000 … shard-n, MANIFEST
//! <state>/quarantine/                bad records
//! ```
//!
//! The way of an epoch: [`Store::begin`] makes the folder; on every shard a [`PartWriter`] takes the rows of the operators'
//! views and writes the shard's part ([`part`] has the format); when all parts and the sinks' staged output are durable,
//! [`Store::commit`] writes the [`Manifest`], makes it durable, and gives the folder its name. The return of the sync behind
//! that is the commit. An error before the rename leaves the epoch undone, and the next one may come; behind it nobody
//! knows, and the run stops. [`Store::prune`] removes what is old.
//!
//! The way back: [`Store::prepare`] removes what a crash has left; [`Store::newest`] has the manifest to go on from, and
//! [`Store::list`] those of all that are kept; [`Snapshot::open`] checks the parts, and [`Snapshot::rows_for`] hands a shard
//! the rows that it owns now, on any number of shards, checking every block on the way. A file that is not as it was
//! written is never passed over: what is behind it may already be in a sink.

mod columns;
mod error;
mod layout;
mod load;
mod manifest;
mod part;
mod payload;
mod read;
mod store;
#[cfg(test)]
mod tests;

pub use columns::sql_type;
pub use error::{Location, SnapshotError};
pub use load::{Access, Snapshot, columns, type_name};
pub use manifest::{
    BarrierText, ComponentText, Counts, FORMAT, Fingerprint, KEY_HASH, Manifest, PartSummary,
    QuarantineExtent, StateText, StepText,
};
pub use part::{PartInfo, PartWriter, part_name};
pub use read::{Part, SavedState, SavedTable};
pub use store::{CommitError, Committed, Store, snapshot_name};
