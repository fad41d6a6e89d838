//! How readers stop together: at one piece of the input, so that what was read is its beginning, without gaps.
//!
//! Before it reads a piece, a reader publishes how far it will have read, then looks at the limit. Whoever asks for the
//! stop sets the limit to the furthest that is published, and once more to the furthest published by then: a reader
//! that saw no limit had published before, so the second look includes its piece; and one that was refused in between
//! looks again. Nobody waits for a reader, so it does not matter that one may be held up by a full ring.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A request to stop reading, raised once and seen by all readers.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Halt>);

#[derive(Debug)]
struct Halt {
    /// Per shard the piece behind the last it has read or is about to read.
    read_to: Vec<AtomicU64>,
    /// Pieces from here on are not read.
    limit: AtomicU64,
    /// Set once the limit stands.
    raised: AtomicBool,
}

impl Stop {
    /// No request yet, for so many shards.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        let read_to = (0..shards).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Halt { read_to, limit: AtomicU64::new(u64::MAX), raised: AtomicBool::new(false) }))
    }

    /// Asks every reader to stop; the caller rings the shards' bells afterwards.
    pub fn raise(&self) {
        if self.is_raised() {
            return;
        }
        let furthest = || self.0.read_to.iter().map(|read_to| read_to.load(Ordering::SeqCst)).max();
        for _ in 0..2 {
            self.0.limit.store(furthest().unwrap_or(0), Ordering::SeqCst);
        }
        self.0.raised.store(true, Ordering::Release);
    }

    /// Whether reading should stop.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::Acquire)
    }

    /// The view of one shard's reader.
    #[must_use]
    pub fn gate(&self, shard: usize) -> Gate {
        Gate { stop: self.clone(), shard }
    }
}

/// What a reader passes before each piece.
#[derive(Debug)]
pub struct Gate {
    stop: Stop,
    shard: usize,
}

impl Gate {
    /// Whether the input ends before `piece`.
    #[must_use]
    pub fn is_over(&self, piece: u64) -> bool {
        self.stop.is_raised() && piece >= self.stop.0.limit.load(Ordering::SeqCst)
    }

    /// Whether `piece` may be read now, which the caller then does. Where it may not, the bell will ring once it is
    /// known whether the input ends before it.
    #[must_use]
    pub fn enter(&self, piece: u64) -> bool {
        let halt = &self.stop.0;
        let read_to = &halt.read_to[self.shard];
        let before = read_to.load(Ordering::Relaxed);
        read_to.store(piece + 1, Ordering::SeqCst);
        let may = piece < halt.limit.load(Ordering::SeqCst);
        if !may {
            read_to.store(before, Ordering::SeqCst);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_stop_before_one_piece_without_gaps() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..500 {
            let shards = random.usize(1..5);
            let stop = Stop::new(shards);
            let threads: Vec<_> = (0..shards)
                .map(|shard| {
                    let gate = stop.gate(shard);
                    std::thread::spawn(move || {
                        let mut read = Vec::new();
                        let mut piece = shard as u64;
                        while !gate.is_over(piece) {
                            if gate.enter(piece) {
                                read.push(piece);
                                piece += shards as u64;
                            }
                        }
                        read
                    })
                })
                .collect();
            for _ in 0..random.u32(0..20_000) {
                std::hint::spin_loop();
            }
            stop.raise();
            let mut read: Vec<u64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            read.sort_unstable();
            assert!(read.iter().copied().eq(0..read.len() as u64), "{read:?}");
        }
    }
}
