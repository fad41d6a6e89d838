//! Snapshots: what is written at the end of an epoch, and how a run goes on from it.
//!
//! ```text
//! <state>/LOCK                       held for the process's life
//! <state>/snapshots/0000000042.tmp/  being written: never read
//! <state>/snapshots/0000000042/      committed: shard-000 … shard-n, MANIFEST
//! <state>/quarantine/                bad records
//! ```

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
pub use load::{Access, Snapshot, columns};
pub use manifest::{
    BarrierText, ComponentText, Counts, FORMAT, Fingerprint, KEY_HASH, Manifest, PartSummary,
    QuarantineExtent, StateText, StepText,
};
pub use part::{PartInfo, PartWriter, part_name};
pub use read::{Part, SavedState, SavedTable};
pub use store::{CommitError, Committed, Store, snapshot_name};
