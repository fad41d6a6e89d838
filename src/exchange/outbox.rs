//! A producer's end of an exchange: one lane to every shard, with what does not fit kept per lane.

use super::{LaneSender, Parcel, Partition};
use crate::record::{Barrier, Batch, Segment};

/// The lanes from one shard to every receiver, `[receiver]`.
pub struct Outbox {
    lanes: Vec<LaneSender<Parcel>>,
    partition: Partition,
    /// The number that each lane has been told is open, and so nothing below it comes any more, `[receiver]`.
    open: Vec<u64>,
}

impl Outbox {
    /// An outbox over these lanes.
    #[must_use]
    pub fn new(lanes: Vec<LaneSender<Parcel>>, partition: Partition) -> Self {
        let open = vec![0; lanes.len()];
        Self { lanes, partition, open }
    }

    /// Whether the stage may make another batch: nothing waits for room.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.lanes.iter().all(LaneSender::is_clear)
    }

    /// Offers what waits to every lane by itself. Returns whether anything went.
    pub fn offer(&mut self) -> bool {
        let mut sent = false;
        for lane in &mut self.lanes {
            sent |= lane.offer();
        }
        sent
    }

    /// Hands each row to the lane of the shard that owns its key, and every block end to all lanes. Lanes without a row
    /// of a number that goes on learn that the numbers below it have ended, as the others do from its rows.
    pub fn send(&mut self, batch: Batch) {
        for lane in &mut self.lanes {
            // Batches that come back are freed here, where they were allocated.
            while lane.take_used().is_some() {}
        }
        let going_on = batch.segments.last().filter(|last| last.end.is_none()).copied();
        let shares = self.partition.split(batch, self.lanes.len());
        for ((lane, open), mut share) in self.lanes.iter_mut().zip(&mut self.open).zip(shares) {
            if let Some(last) = going_on.filter(|last| *open < last.number) {
                *open = last.number;
                if share.segments.last().is_none_or(|segment| segment.number < last.number) {
                    share.segments.push(Segment { rows: 0, ..last });
                }
            }
            if !share.segments.is_empty() {
                lane.send(Parcel::Batch(share));
            }
        }
    }

    /// Ends an epoch on all lanes.
    pub fn send_barrier(&mut self, barrier: Barrier) {
        for lane in &mut self.lanes {
            lane.send(Parcel::Barrier(barrier));
        }
    }
}
