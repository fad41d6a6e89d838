//! What moves through the lanes of an exchange.

use crate::record::{Barrier, Batch};

/// An item of a lane.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are batches")]
pub enum Parcel {
    /// Rows and block ends.
    Batch(Batch),
    /// An epoch ends for this lane.
    Barrier(Barrier),
}
