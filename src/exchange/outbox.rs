//! A producer's end of an exchange: one lane to every shard, with what does not fit kept per lane.

use super::{LaneSender, Parcel, Partition};
use crate::record::{Barrier, Batch, Segment};

/// The lanes from one shard to every receiver, `[receiver]`.
pub struct Outbox {
    lanes: Vec<Lane>,
    partition: Partition,
    /// No rows, once there has been a batch.
    empty: Option<Batch>,
}

struct Lane {
    sender: LaneSender<Parcel>,
    /// The number that it has been told is open, and so nothing below it comes any more.
    open: u64,
    /// Ends of blocks that it has not been told, and of how many batches.
    held: Vec<Segment>,
    batches_held: usize,
}

/// For how many batches without a row for it a lane is not told of the ends of blocks, while the shard is busy: a batch
/// costs either end some time, however small it is.
pub(super) const BATCHES_HELD_MAX: usize = 8;

impl Outbox {
    /// An outbox over these lanes.
    #[must_use]
    pub fn new(lanes: Vec<LaneSender<Parcel>>, partition: Partition) -> Self {
        let lane = |sender| Lane { sender, open: 0, held: Vec::new(), batches_held: 0 };
        Self { lanes: lanes.into_iter().map(lane).collect(), partition, empty: None }
    }

    /// Whether the stage may make another batch: nothing waits for room.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.lanes.iter().all(|lane| lane.sender.is_clear())
    }

    /// Offers what waits to every lane by itself. Returns whether anything went.
    pub fn offer(&mut self) -> bool {
        let mut sent = false;
        for lane in &mut self.lanes {
            sent |= lane.sender.offer();
        }
        sent
    }

    /// Hands each row to the lane of the shard that owns its key, and every block end to all lanes. Lanes without a row
    /// of a number that goes on learn that the numbers below it have ended, as the others do from its rows. Lanes without
    /// any row learn it a little later: with the next row, after [`BATCHES_HELD_MAX`] batches, or by [`Outbox::settle`].
    pub fn send(&mut self, batch: Batch) {
        for lane in &mut self.lanes {
            // Batches that come back are freed here, where they were allocated.
            while lane.sender.take_used().is_some() {}
        }
        let empty = self.empty.get_or_insert_with(|| Partition::nothing_of(&batch));
        let last = batch.segments.last().copied();
        let going_on = last.filter(|last| last.end.is_none());
        let is_last = last.is_some_and(|last| last.number == Segment::LAST);
        let shares = if batch.is_empty() {
            vec![batch; self.lanes.len()]
        } else {
            self.partition.split(batch, self.lanes.len())
        };
        for (lane, mut share) in self.lanes.iter_mut().zip(shares) {
            if let Some(last) = going_on.filter(|last| lane.open < last.number) {
                lane.open = last.number;
                if share.segments.last().is_none_or(|segment| segment.number < last.number) {
                    share.segments.push(Segment { rows: 0, ..last });
                }
            }
            lane.send(share, empty, is_last);
        }
    }

    /// Tells the lanes what they have not been told, because the shard has nothing else to do. Returns whether there was
    /// anything.
    pub fn settle(&mut self) -> bool {
        let Some(empty) = &self.empty else { return false };
        let mut told = false;
        for lane in &mut self.lanes {
            told |= lane.tell(empty);
        }
        told
    }

    /// Ends an epoch on all lanes.
    pub fn send_barrier(&mut self, barrier: Barrier) {
        self.settle();
        for lane in &mut self.lanes {
            lane.sender.send(Parcel::Barrier(barrier));
        }
    }
}

impl Lane {
    /// Sends a share behind what is held, or holds its segments where it has no rows.
    fn send(&mut self, mut share: Batch, empty: &Batch, is_last: bool) {
        if share.segments.is_empty() {
            return;
        }
        if !share.is_empty() {
            if !self.held.is_empty() {
                self.held.append(&mut share.segments);
                share.segments = std::mem::take(&mut self.held);
            }
            self.batches_held = 0;
            self.sender.send(Parcel::Batch(share));
            return;
        }
        self.held.append(&mut share.segments);
        self.batches_held += 1;
        if self.batches_held >= BATCHES_HELD_MAX || is_last {
            self.tell(empty);
        }
    }

    /// Sends what is held. Returns whether there was anything.
    fn tell(&mut self, empty: &Batch) -> bool {
        if self.held.is_empty() {
            return false;
        }
        self.batches_held = 0;
        let segments = std::mem::take(&mut self.held);
        self.sender.send(Parcel::Batch(Batch { segments, ..empty.clone() }));
        true
    }
}
