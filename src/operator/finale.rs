//! What a running step sends where only the rows that are there in the end are wanted: nothing until the input is
//! complete, and then the rows of its groups, which stay.
//!
//! So neither the step nor the sink keeps what was sent before, and nothing is sent to be taken back. There is nothing of
//! it in a snapshot: every barrier is before the end.

use super::Sends;
use super::queue::Queue;
use crate::record::{Batch, BlockEnd, Segment};
use crate::time::WATERMARK_MAX;

/// The end of a running step's output.
pub(super) struct Finale {
    sends: Sends,
    rest: Option<Rest>,
}

/// The groups whose rows are on their way out behind the last block, and the end behind them.
struct Rest {
    end: BlockEnd,
    groups: Vec<u32>,
    sent: usize,
}

impl Finale {
    /// The finale of a step that sends this.
    pub fn new(sends: Sends) -> Self {
        Self { sends, rest: None }
    }

    /// Ends a block behind what it has made; where it ends input that is complete, and only final rows are wanted, the
    /// groups are sent first. A drain sends none.
    pub fn end_block(
        &mut self,
        number: u64,
        end: BlockEnd,
        queue: &mut Queue,
        groups: impl FnOnce() -> Vec<u32>,
    ) {
        let is_complete = number == Segment::LAST && queue.watermark_ms() == WATERMARK_MAX;
        if self.sends == Sends::FinalRows && is_complete {
            self.rest = Some(Rest { end, groups: groups(), sent: 0 });
        } else {
            queue.end(number, &end);
        }
    }

    /// The next groups to send, as rows of block [`Segment::LAST`]; none where none are left.
    pub fn next(&mut self, queue: &mut Queue) -> Option<Vec<u32>> {
        let rest = self.rest.as_mut()?;
        let from = rest.sent;
        rest.sent = rest.groups.len().min(from + Batch::ROWS_MAX);
        if from == rest.sent {
            queue.end(Segment::LAST, &rest.end);
            self.rest = None;
            return None;
        }
        Some(rest.groups[from..rest.sent].to_vec())
    }
}
