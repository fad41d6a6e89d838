//! In which order a receiver takes its lanes: by (block number, lane).

use std::ops::Range;

/// The state of an ordered merge of lanes, each of which ends its numbers in ascending order.
#[derive(Clone, Debug)]
pub struct Order {
    /// Per lane the least number it may still send something of; `u64::MAX` once it has ended them all.
    next: Vec<u64>,
}

impl Order {
    /// Lanes whose first numbers are `first`, one per lane.
    #[must_use]
    pub fn new(first: Vec<u64>) -> Self {
        assert!(!first.is_empty(), "a receiver has at least one lane");
        Self { next: first }
    }

    /// The lane whose turn it is; none once all lanes have ended.
    #[must_use]
    pub fn turn(&self) -> Option<usize> {
        let (lane, next) = self.next.iter().enumerate().min_by_key(|(lane, next)| (**next, *lane))?;
        (*next != u64::MAX).then_some(lane)
    }

    /// Notes that `lane` sends nothing more below `number`.
    pub fn reached(&mut self, lane: usize, number: u64) {
        debug_assert!(number >= self.next[lane], "a lane's numbers ascend");
        self.next[lane] = self.next[lane].max(number);
    }

    /// Notes that `lane` sends nothing more up to and including `number`; `u64::MAX` ends the lane.
    pub fn ended(&mut self, lane: usize, number: u64) {
        self.reached(lane, number.saturating_add(1));
    }

    /// Below which number what `lane` sent may be taken now.
    #[must_use]
    pub fn allows_below(&self, lane: usize) -> u64 {
        // A lane before it goes first with the same number.
        let before = self.next[..lane].iter().copied();
        let behind = self.next[lane + 1..].iter().map(|next| next.saturating_add(1));
        before.chain(behind).min().unwrap_or(u64::MAX)
    }

    /// The least number that one of these lanes other than `lane` has not ended; `u64::MAX` where all have ended all.
    #[must_use]
    pub fn others_open(&self, lane: usize, lanes: Range<usize>) -> u64 {
        let others = lanes.filter(|other| *other != lane);
        others.map(|other| self.next[other]).min().unwrap_or(u64::MAX)
    }

    /// Whether no lane sends anything more below `number`.
    #[must_use]
    pub fn has_reached(&self, number: u64) -> bool {
        self.next.iter().all(|next| *next >= number)
    }

    /// Notes that all that `lane` has sent is below `number` and all that follows is not.
    pub fn passed(&mut self, lane: usize, number: u64) {
        self.next[lane] = self.next[lane].max(number);
    }

    /// Whether every lane has ended `number`.
    #[must_use]
    pub fn complete(&self, number: u64) -> bool {
        self.next.iter().all(|next| *next > number || *next == u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_by_number_then_lane() {
        let mut order = Order::new(vec![0, 16]);
        assert_eq!(order.turn(), Some(0));
        order.ended(0, 31);
        assert_eq!(order.turn(), Some(1));
        assert_eq!((order.allows_below(1), order.allows_below(0)), (32, 17));
        assert_eq!(
            (order.others_open(1, 0..2), order.others_open(0, 0..2), order.others_open(0, 0..1)),
            (32, 16, u64::MAX)
        );
        order.ended(1, 47);
        assert_eq!(order.turn(), Some(0));
        order.ended(0, u64::MAX);
        assert_eq!(order.turn(), Some(1));
        order.ended(1, u64::MAX);
        assert_eq!(order.turn(), None);
    }

    #[test]
    fn a_number_is_complete_when_all_lanes_have_ended_it() {
        let mut order = Order::new(vec![0, 0]);
        assert_eq!((order.allows_below(0), order.allows_below(1)), (1, 0));
        order.ended(0, 3);
        assert!(!order.complete(3));
        assert_eq!((order.allows_below(1), order.allows_below(0)), (4, 1));
        order.ended(1, 3);
        assert!(order.complete(3) && !order.complete(4));
    }
}
