//! Disorder within bounds: a seeded permutation of event numbers inside consecutive blocks.

use super::random::draw;

/// The order in which events are emitted: event numbers permuted inside consecutive blocks of a window's length, so
/// that no event moves as far as the window. Any position can be asked for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shuffle {
    key: u64,
    window: u64,
    events: u64,
}

impl Shuffle {
    /// The order of `events` events (`u64::MAX` for a stream without end); a `window` of 0 or 1 leaves them in order.
    #[must_use]
    pub fn new(seed: u64, window: u64, events: u64) -> Self {
        // Apart from the keys of the events themselves.
        Self { key: draw(seed, u64::MAX / 3), window: window.max(1), events }
    }

    /// The number of the event at a position. Positions behind the last event are mapped to themselves.
    #[must_use]
    pub fn order(&self, position: u64) -> u64 {
        if self.window == 1 || position >= self.events {
            return position;
        }
        let block = position / self.window;
        let start = block * self.window;
        let length = self.window.min(self.events - start);
        start + permute(draw(self.key, block), position - start, length)
    }
}

/// Permutes `0..length`: rounds of invertible steps on just enough bits, walked on until the value is inside. Fewer
/// than two walks on average.
fn permute(key: u64, value: u64, length: u64) -> u64 {
    let bits = u64::BITS - (length - 1).leading_zeros();
    if bits == 0 {
        return value;
    }
    let mask = u64::MAX >> (u64::BITS - bits);
    let shift = (bits / 2).max(1);
    let mut permuted = value;
    loop {
        for round in 0..4 {
            let constant = draw(key, round);
            permuted = permuted.wrapping_mul(constant | 1).wrapping_add(constant >> 32) & mask;
            permuted ^= permuted >> shift;
        }
        if permuted < length {
            return permuted;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_permutation_within_the_window() {
        let check = |window: u64, events: u64| {
            let shuffle = Shuffle::new(5, window, events);
            let order: Vec<u64> = (0..events).map(|position| shuffle.order(position)).collect();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert!(sorted.iter().copied().eq(0..events), "window {window}: not a permutation");
            let furthest = (0..).zip(&order).map(|(position, event)| event.abs_diff(position)).max();
            assert!(furthest.unwrap_or(0) < window.max(1), "window {window}: moved {furthest:?}");
            let moved = (0..).zip(&order).filter(|(position, event)| position != *event).count();
            assert_eq!(moved > 0, window > 1 && events > 1, "window {window}, {events} events");
        };
        for window in [0, 1, 2, 3, 7, 100, 1000, 1024, 5000] {
            for events in [0, 1, 1000, 1001, 4097] {
                check(window, events);
            }
        }
    }

    #[test]
    fn blocks_and_seeds_differ() {
        let offsets = |seed: u64, block: u64| -> Vec<u64> {
            let shuffle = Shuffle::new(seed, 64, u64::MAX);
            (0..64).map(|position| shuffle.order(block * 64 + position) - block * 64).collect()
        };
        assert_ne!(offsets(1, 0), offsets(1, 1));
        assert_ne!(offsets(1, 0), offsets(2, 0));
        assert_eq!(offsets(1, 9), offsets(1, 9));
    }

    #[test]
    fn the_last_positions_there_are_can_be_asked_for() {
        let shuffle = Shuffle::new(1, u64::MAX, u64::MAX);
        assert!(shuffle.order(u64::MAX - 1) < u64::MAX);
        assert_eq!(shuffle.order(u64::MAX), u64::MAX);
    }
}
