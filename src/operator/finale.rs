//! What a running step sends where only the rows that are there in the end are wanted: nothing until the input is
//! complete, and then the rows of its groups, which stay.
//!
//! So neither the step nor the sink keeps what was sent before, and nothing is sent to be taken back.

use super::queue::Queue;
use crate::record::{Batch, BlockEnd, Segment};
use crate::time::WATERMARK_MAX;

/// The groups whose rows are on their way out behind the last block.
pub(super) struct Finale {
    end: BlockEnd,
    groups: Vec<u32>,
    sent: usize,
}

impl Finale {
    /// The finale of these groups, where the segment ends input that is complete; a drain has none.
    pub fn begin(segment: &Segment, queue: &Queue, groups: impl FnOnce() -> Vec<u32>) -> Option<Self> {
        let end = segment.end.filter(|_| segment.number == Segment::LAST)?;
        (queue.watermark_ms() == WATERMARK_MAX).then(|| Self { end, groups: groups(), sent: 0 })
    }

    /// The next groups to send; none once all are out.
    pub fn next(&mut self) -> Option<&[u32]> {
        let from = self.sent;
        self.sent = self.groups.len().min(from + Batch::ROWS_MAX);
        (from < self.sent).then(|| &self.groups[from..self.sent])
    }

    /// The end of the lane, to be sent behind the last group.
    pub fn end(&self) -> &BlockEnd {
        &self.end
    }
}
