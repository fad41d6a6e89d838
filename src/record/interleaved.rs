//! What has come by several ports, as a batch of each, and in which order.

use super::Batch;

/// Batches that came together, and how their segments take turns.
#[derive(Clone, Debug)]
pub struct Interleaved {
    /// The batches, each with the port by which it came, with segments and clocks. Several may have one port.
    pub batches: Vec<(usize, Batch)>,
    /// Runs of segments in their order: the place of a batch, and how many of its segments are next.
    pub turns: Vec<(usize, usize)>,
}

impl Interleaved {
    /// A batch that came by itself.
    #[must_use]
    pub fn one(port: usize, batch: Batch) -> Self {
        let turns = vec![(0, batch.segments.len())];
        Self { batches: vec![(port, batch)], turns }
    }
}
