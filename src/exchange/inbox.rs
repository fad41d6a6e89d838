//! A receiver's end of an exchange: its lanes merged in the order of the input, with the watermark folded in.

use super::{LaneReceiver, Order, Parcel, Watermarks};
use crate::metric::WatermarkReport;
use crate::record::{Barrier, Batch, Segment};

/// The lanes into one shard from every producer, `[producer]`.
pub struct Inbox {
    lanes: Vec<LaneReceiver<Parcel>>,
    /// Per lane what is left of the batch taken last: its rows before `from` are gone.
    heads: Vec<Option<Batch>>,
    order: Order,
    watermarks: Watermarks,
    /// A barrier that some lane has come to, and others may not have.
    ahead: Option<Barrier>,
    /// The epoch that ended last for the stage.
    epoch: u64,
    /// What the stage is working on, to be sent back to its maker afterwards.
    lent: Option<(usize, Batch)>,
}

/// What [`Inbox::take`] yields.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "taken apart at once, never stored")]
pub enum Taken {
    /// Rows and block ends that are next in order, with their clocks.
    Batch(Batch),
    /// Everything before the barrier has been taken, and nothing behind it.
    Barrier(Barrier),
    /// The lane whose turn it is has nothing yet.
    Empty,
    /// Every lane has ended.
    Finished,
}

impl Inbox {
    /// An inbox over these lanes; `first` is each lane's first number.
    #[must_use]
    pub fn new(lanes: Vec<LaneReceiver<Parcel>>, first: Vec<u64>, watermarks: Watermarks) -> Self {
        assert_eq!(lanes.len(), first.len(), "every lane has a first number");
        let heads = lanes.iter().map(|_| None).collect();
        Self { lanes, heads, order: Order::new(first), watermarks, ahead: None, epoch: 0, lent: None }
    }

    /// The watermark, and what it rests on.
    #[must_use]
    pub fn report(&self) -> WatermarkReport {
        self.watermarks.report()
    }

    /// The watermarks of its splits.
    #[must_use]
    pub fn watermarks(&self) -> &Watermarks {
        &self.watermarks
    }

    /// What it waits for, in words.
    #[cfg(any(test, feature = "simulation"))]
    #[must_use]
    pub fn waits_for(&self) -> String {
        let heads: Vec<bool> = self.heads.iter().map(Option::is_some).collect();
        format!("{:?}, heads {heads:?}, ahead {:?}", self.order, self.ahead)
    }

    /// Whether every lane has ended `number` as far as batches have been taken.
    #[must_use]
    pub fn has_ended(&self, number: u64) -> bool {
        self.order.complete(number)
    }

    /// The next batch in order. The stage must be done with the batch before: it goes back to its maker.
    pub fn take(&mut self) -> Taken {
        if let Some((lane, batch)) = self.lent.take() {
            self.lanes[lane].give_back(Parcel::Batch(batch));
        }
        loop {
            if let Some(barrier) = self.ahead.take_if(|barrier| self.order.has_reached(barrier.number)) {
                self.epoch = barrier.epoch;
                return Taken::Barrier(barrier);
            }
            let Some(lane) = self.order.turn() else { return Taken::Finished };
            let head = match self.heads[lane].take() {
                Some(head) => head,
                None => match self.lanes[lane].take() {
                    Some(Parcel::Batch(head)) => head,
                    Some(Parcel::Barrier(barrier)) => {
                        // A lane may come to it after all lanes, itself included, have ended all numbers before it.
                        if barrier.epoch > self.epoch {
                            self.order.passed(lane, barrier.number);
                            self.ahead = Some(barrier);
                        }
                        continue;
                    }
                    None => return Taken::Empty,
                },
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
