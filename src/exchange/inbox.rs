//! A receiver's end of an exchange: its lanes merged in the order of the input, with the watermark folded in.

use super::{LaneReceiver, Order, Watermarks};
use crate::metric::WatermarkReport;
use crate::record::{Batch, Segment};

/// The lanes into one shard from every producer, `[producer]`.
pub struct Inbox {
    lanes: Vec<LaneReceiver<Batch>>,
    /// Per lane what is left of the batch taken last: its rows before `from` are gone.
    heads: Vec<Option<Batch>>,
    order: Order,
    watermarks: Watermarks,
    /// What the stage is working on, to be sent back to its maker afterwards.
    lent: Option<(usize, Batch)>,
}

/// What [`Inbox::take`] yields.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "taken apart at once, never stored")]
pub enum Taken {
    /// Rows and block ends that are next in order, with their clocks.
    Batch(Batch),
    /// The lane whose turn it is has nothing yet.
    Empty,
    /// Every lane has ended.
    Finished,
}

impl Inbox {
    /// An inbox over these lanes; `first` is each lane's first number.
    #[must_use]
    pub fn new(lanes: Vec<LaneReceiver<Batch>>, first: Vec<u64>, watermarks: Watermarks) -> Self {
        assert_eq!(lanes.len(), first.len(), "every lane has a first number");
        let heads = lanes.iter().map(|_| None).collect();
        Self { lanes, heads, order: Order::new(first), watermarks, lent: None }
    }

    /// The watermark, and what it rests on.
    #[must_use]
    pub fn watermarks(&self) -> WatermarkReport {
        self.watermarks.report()
    }

    /// Whether every lane has ended `number` as far as batches have been taken.
    #[must_use]
    pub fn has_ended(&self, number: u64) -> bool {
        self.order.complete(number)
    }

    /// The next batch in order. The stage must be done with the batch before: it goes back to its maker.
    pub fn take(&mut self) -> Taken {
        if let Some((lane, batch)) = self.lent.take() {
            self.lanes[lane].give_back(batch);
        }
        loop {
            let Some(lane) = self.order.turn() else { return Taken::Finished };
            let Some(head) = self.heads[lane].take().or_else(|| self.lanes[lane].take()) else {
                return Taken::Empty;
            };
            if let Some(batch) = self.take_due(lane, head) {
                return Taken::Batch(batch);
            }
        }
    }

    /// The part of `head` that is due now; the rest stays as the lane's head. None if the lane must wait its turn.
    fn take_due(&mut self, lane: usize, head: Batch) -> Option<Batch> {
        self.order.reached(lane, head.segments.first().map_or(0, |segment| segment.number));
        let mut due: Vec<Segment> = Vec::with_capacity(head.segments.len());
        for segment in &head.segments {
            if !self.order.allows(lane, segment.number) {
                break;
            }
            if let Some(end) = segment.end {
                self.order.ended(lane, end.through);
            }
            // A number ends for the stage when its last lane has ended it.
            let end = segment.end.filter(|_| self.order.complete(segment.number));
            due.push(Segment { end, ..*segment });
        }
        if due.is_empty() {
            self.heads[lane] = Some(head);
            return None;
        }
        let rows: usize = due.iter().map(|segment| segment.rows as usize).sum();
        let mut batch = if due.len() == head.segments.len() {
            self.lent = Some((lane, head.clone()));
            Batch { segments: due, ..head }
        } else {
            let rest = head.segments[due.len()..].to_vec();
            self.heads[lane] = Some(head.slice(rows, head.len() - rows, rest));
            head.slice(0, rows, due)
        };
        self.watermarks.stamp(&mut batch);
        Some(batch)
    }
}
