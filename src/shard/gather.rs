//! Lanes whose items are taken as they come, whatever their order, but epoch by epoch.

use crate::exchange::LaneReceiver;
use crate::mutant::{self, Mutant};
use crate::record::Barrier;

/// What an item was.
pub enum Taken {
    /// Something to be taken.
    Item,
    /// An epoch ends for its lane.
    Barrier(Barrier),
    /// Its lane ends.
    End,
}

/// Lanes of all shards that have not ended.
pub struct Gathered<T> {
    lanes: Vec<Lane<T>>,
}

struct Lane<T> {
    receiver: LaneReceiver<T>,
    /// The barrier that the lane has come to: what is behind it waits for the other lanes.
    at: Option<Barrier>,
}

impl<T> Gathered<T> {
    /// All of these lanes.
    #[must_use]
    pub fn new(lanes: Vec<LaneReceiver<T>>) -> Self {
        Self { lanes: lanes.into_iter().map(|receiver| Lane { receiver, at: None }).collect() }
    }

    /// Hands what has arrived to `each`, as far as no lane has come to a barrier. Returns whether there was anything.
    ///
    /// # Errors
    ///
    /// The first error of `each`.
    pub fn take<E>(&mut self, mut each: impl FnMut(&T) -> Result<Taken, E>) -> Result<bool, E> {
        let mut moved = false;
        let mut failure = None;
        self.lanes.retain_mut(|lane| {
            let aligns = !mutant::is(Mutant::AlignmentOfSides);
            while (lane.at.is_none() || !aligns) && failure.is_none() {
                let Some(item) = lane.receiver.take() else { break };
                moved = true;
                match each(&item) {
                    Ok(Taken::Item) => lane.receiver.give_back(item),
                    Ok(Taken::Barrier(barrier)) => lane.at = Some(barrier),
                    Ok(Taken::End) => return false,
                    Err(error) => failure = Some(error),
                }
            }
            true
        });
        failure.map_or(Ok(moved), Err)
    }

    /// The barrier that all lanes which have not ended have come to; they go on behind it.
    pub fn barrier(&mut self) -> Option<Barrier> {
        let barrier = self.lanes.first()?.at?;
        if self.lanes.iter().any(|lane| lane.at.is_none()) {
            return None;
        }
        self.lanes.iter_mut().for_each(|lane| lane.at = None);
        Some(barrier)
    }

    /// The epoch that each lane which has not ended waits at the end of.
    #[cfg(any(test, feature = "simulation"))]
    pub fn epochs(&self) -> impl Iterator<Item = Option<u64>> {
        self.lanes.iter().map(|lane| lane.at.map(|barrier| barrier.epoch))
    }

    /// Whether every lane has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.lanes.is_empty()
    }
}
