//! What the tests of sources share.

use std::sync::Arc;

use super::{CHUNK_BYTES, Cuts, Opening, Resume, Turn};
use crate::record::Schema;
use crate::time::Now;

/// An opening for so many shards, of no columns.
pub fn opening(shards: usize, resume: Option<Resume>) -> Opening {
    Opening {
        columns: Schema::new(vec![]),
        bells: (0..shards).map(|_| Arc::default()).collect(),
        cuts: Cuts::new(shards),
        turn: Turn::ALONE,
        start: Now::default(),
        idle_after_ms: None,
        heartbeat: false,
        chunk_bytes: CHUNK_BYTES,
        header: None,
        quote: None,
        resume,
        supply: None,
    }
}
