//! Snapshots: what is written at the end of an epoch, and how a run goes on from it.
//!
//! ```text
//! <state>/LOCK                       held for the process's life
//! <state>/snapshots/0000000042.tmp/  being written: never read
//! <state>/snapshots/0000000042/      committed: shard-000 … shard-n, MANIFEST
//! <state>/quarantine/                bad records
//! ```

mod manifest;

pub use manifest::{
    BarrierText, Counts, FORMAT, Fingerprint, KEY_HASH, Manifest, OperatorText, PartSummary, QuarantineExtent,
};
