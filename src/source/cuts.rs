//! How readers end an epoch together: at one block number for all, so that what was read before is the beginning of the
//! input, without gaps. A stop is the end of a last epoch.
//!
//! Before it reads, a reader publishes how far it will have read, then looks at the limit. Whoever asks for the cut sets
//! the limit to the furthest that is published, then once more to the furthest published by then, and only then lets the
//! readers cut there. Why that is sound:
//!
//! - A reader that read without a limit had published before the limit was first set, so the second look includes what
//!   it reads. One that read below the first limit is below the second as well: what the first look saw is never taken
//!   back, since only a reader is refused whose publication the first look did not see.
//! - A reader that was refused withdraws what it published and looks again when the cut stands. The second look may
//!   have seen what it withdrew; then the limit is behind that, and it is read.
//! - Nobody waits for a reader, so it does not matter that one may be held up by a full ring.
//!
//! Limits alternate between two places: the one in use, and the next, which is free of a limit while the readers are
//! between two cuts. A reader looks at the place behind the cut it passed last, and the next cut is asked for only after
//! every reader has passed the one before, so a reader never sees the limit of another cut than its own.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::numbering::Numbering;
use crate::record::Barrier;

/// Where the control plane asks for the ends of epochs, and the readers see it.
#[derive(Clone, Debug)]
pub struct Cuts(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What each reader has published.
    readers: Vec<Published>,
    /// The limits of cuts with an even and with an odd count.
    places: [Place; 2],
    /// How many cuts have been asked for; a cut's limit stands before it is counted.
    count: AtomicU64,
    abandoned: AtomicBool,
}

#[derive(Debug)]
struct Published {
    /// The number behind the last block it has read or is about to read.
    read_to: AtomicU64,
    /// How many cuts it has passed; [`GONE`] once it reads nothing more, and where there is no reader.
    passed: AtomicU64,
}

#[derive(Debug)]
struct Place {
    /// Blocks from here on are behind the cut.
    limit: AtomicU64,
    epoch: AtomicU64,
    last: AtomicBool,
}

/// The mark of a reader that has ended.
const GONE: u64 = u64::MAX;
/// The limit of a place without one.
const NONE: u64 = u64::MAX;

impl Cuts {
    /// No cut yet, for so many readers: one of each source on every shard.
    #[must_use]
    pub fn new(readers: usize) -> Self {
        let published = || Published { read_to: AtomicU64::new(0), passed: AtomicU64::new(GONE) };
        let place =
            || Place { limit: AtomicU64::new(NONE), epoch: AtomicU64::new(0), last: AtomicBool::new(false) };
        Self(Arc::new(Shared {
            readers: (0..readers).map(|_| published()).collect(),
            places: [place(), place()],
            count: AtomicU64::new(0),
            abandoned: AtomicBool::new(false),
        }))
    }

    /// Asks every reader to end `epoch` at one number, and with `last` to read nothing behind it. Returns whether it is
    /// on its way: not while the cut before is still to be passed by a reader, nor after the last, nor where every
    /// reader has ended. Called by one thread, which rings the shards' bells afterwards.
    ///
    /// A reader that reaches the end of its input first passes no cut any more, so a receiver takes a lane that has
    /// ended for one that has cut.
    #[must_use]
    pub fn request(&self, epoch: u64, last: bool) -> bool {
        let shared = &*self.0;
        let count = shared.count.load(Ordering::Acquire);
        if self.is_pending() || self.has_ended() || shared.last_asked_for(count) {
            return false;
        }
        shared.announce(count + 1, epoch, last);
        for _ in 0..2 {
            shared.limit(count + 1, shared.furthest());
        }
        shared.release(count + 1);
        true
    }

    /// Whether a reader has still to pass the cut that was asked for last.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        let count = self.0.count.load(Ordering::Acquire);
        self.0.readers.iter().any(|reader| reader.passed.load(Ordering::Acquire) < count)
    }

    /// Whether no reader reads any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.readers.iter().all(|reader| reader.passed.load(Ordering::Acquire) == GONE)
    }

    /// Has every reader end wherever it is. What was read is then not the beginning of the input, so nothing of it may
    /// become visible.
    pub fn abandon(&self) {
        self.0.abandoned.store(true, Ordering::Release);
    }

    /// What a reader passes, which reads from where `numbering` begins.
    #[must_use]
    pub(super) fn gate(&self, reader: usize, numbering: Numbering) -> Gate {
        let place = reader;
        let reader = &self.0.readers[place];
        reader.read_to.store(numbering.start_number(), Ordering::SeqCst);
        reader.passed.store(0, Ordering::Release);
        Gate { cuts: self.clone(), place, numbering, passed: 0, ended: false }
    }
}

impl Shared {
    fn place(&self, count: u64) -> &Place {
        &self.places[usize::from(count % 2 == 1)]
    }

    fn last_asked_for(&self, count: u64) -> bool {
        count > 0 && self.place(count).last.load(Ordering::Relaxed)
    }

    /// Writes down what the cut `count` is, and clears the place of the one behind it: all have passed the cut that it
    /// was used for, and look at the other now.
    fn announce(&self, count: u64, epoch: u64, last: bool) {
        self.place(count + 1).limit.store(NONE, Ordering::SeqCst);
        let place = self.place(count);
        place.epoch.store(epoch, Ordering::Relaxed);
        place.last.store(last, Ordering::Relaxed);
    }

    /// The number behind all that a reader has read or is about to read.
    fn furthest(&self) -> u64 {
        self.readers.iter().map(|reader| reader.read_to.load(Ordering::SeqCst)).max().unwrap_or(0)
    }

    fn limit(&self, count: u64, number: u64) {
        self.place(count).limit.store(number, Ordering::SeqCst);
    }

    /// Lets the readers cut.
    fn release(&self, count: u64) {
        self.count.store(count, Ordering::Release);
    }
}

/// What a reader passes before it reads; it counts as ended once its gate is dropped.
#[derive(Debug)]
pub(super) struct Gate {
    cuts: Cuts,
    /// The reader's.
    place: usize,
    numbering: Numbering,
    /// How many cuts have been passed.
    passed: u64,
    ended: bool,
}

/// What a reader does at its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// It reads what it asked for.
    Read,
    /// It asks again when its bell has rung: a cut is being made.
    Wait,
    /// It says that an epoch ends here, then asks again.
    Barrier(Barrier),
    /// It reads nothing more.
    End,
}

impl Gate {
    /// Whether the blocks of these numbers may be read now, which the caller then does. They are behind all that were
    /// read before.
    pub fn pass(&mut self, blocks: Range<u64>) -> Pass {
        match self.publish(&blocks) {
            Ok(before) => self.decide(&blocks, before),
            Err(pass) => pass,
        }
    }

    /// Publishes that `blocks` will have been read. Yields what was published before, or what to do where that is known
    /// already.
    fn publish(&mut self, blocks: &Range<u64>) -> Result<u64, Pass> {
        if self.is_over() {
            return Err(self.close());
        }
        // Blocks that begin before the limit and end behind it have been refused in a smaller part before; nothing of
        // them has been read, so they are behind the cut.
        let is_asked = self.is_asked();
        if is_asked && blocks.end > self.limit() {
            return Err(self.cut());
        }
        let before = self.read_to().swap(blocks.end, Ordering::SeqCst);
        if is_asked { Err(Pass::Read) } else { Ok(before) }
    }

    /// Whether `blocks`, which have been published, may be read; if not, what was published `before` is again.
    fn decide(&mut self, blocks: &Range<u64>, before: u64) -> Pass {
        if blocks.end <= self.limit() {
            return Pass::Read;
        }
        self.read_to().store(before, Ordering::SeqCst);
        Pass::Wait
    }

    /// What there is to do for a reader that has nothing to read yet; `next` is the number of the block it waits for.
    pub fn look(&mut self, next: u64) -> Option<Pass> {
        if self.is_over() {
            return Some(self.close());
        }
        (self.is_asked() && next >= self.limit()).then(|| self.cut())
    }

    /// What there is to do for a reader at the end of its input.
    pub fn finish(&mut self) -> Pass {
        if !self.is_over() && self.is_asked() { self.cut() } else { self.close() }
    }

    /// The limit of the next cut; [`NONE`] as long as nobody asks for one.
    fn limit(&self) -> u64 {
        self.cuts.0.place(self.passed + 1).limit.load(Ordering::SeqCst)
    }

    fn read_to(&self) -> &AtomicU64 {
        &self.cuts.0.readers[self.place].read_to
    }

    /// Whether a cut has been asked for that is not passed yet.
    fn is_asked(&self) -> bool {
        self.cuts.0.count.load(Ordering::Acquire) > self.passed
    }

    fn is_over(&self) -> bool {
        self.ended || self.cuts.0.abandoned.load(Ordering::Acquire)
    }

    /// Passes the cut that has been asked for.
    fn cut(&mut self) -> Pass {
        self.passed += 1;
        let shared = &self.cuts.0;
        let place = shared.place(self.passed);
        self.ended = place.last.load(Ordering::Relaxed);
        let number = place.limit.load(Ordering::SeqCst);
        let epoch = place.epoch.load(Ordering::Relaxed);
        // The limit may be one that a reader withdrew; the next is not to be before it.
        self.read_to().fetch_max(number, Ordering::SeqCst);
        shared.readers[self.place].passed.store(self.passed, Ordering::Release);
        Pass::Barrier(Barrier { epoch, number, piece: self.numbering.piece(number) })
    }

    fn close(&mut self) -> Pass {
        self.ended = true;
        self.cuts.0.readers[self.place].passed.store(GONE, Ordering::Release);
        Pass::End
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCKS: u64 = 4;

    /// What a reader did.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Did {
        Read(Range<u64>),
        Cut(Barrier),
    }

    /// A reader of every `shards`-th piece below `pieces`, which sometimes reads a block of a piece before the rest.
    struct Model {
        gate: Gate,
        random: fastrand::Rng,
        shards: u64,
        piece: u64,
        pieces: u64,
        begun: u64,
        /// What has been published and not been decided yet.
        published: Option<(Range<u64>, bool, u64)>,
        did: Vec<Did>,
    }

    impl Model {
        fn new(
            cuts: &Cuts,
            shard: usize,
            shards: usize,
            numbering: Numbering,
            pieces: u64,
            seed: u64,
        ) -> Self {
            let random = fastrand::Rng::with_seed(seed);
            let piece = numbering.first_piece(shard, shards);
            let gate = cuts.gate(shard, numbering);
            Self {
                gate,
                random,
                shards: shards as u64,
                piece,
                pieces,
                begun: 0,
                published: None,
                did: Vec::new(),
            }
        }

        /// Polls once, or with `halves` half a time; false at the end.
        fn step(&mut self, halves: bool) -> bool {
            if let Some((blocks, part, before)) = self.published.take() {
                let pass = self.gate.decide(&blocks, before);
                return self.done(pass, blocks, part);
            }
            let number = self.gate.numbering.number(self.piece);
            let from = number + self.begun;
            let part = self.begun + 1 < BLOCKS && self.random.u8(..4) == 0;
            let blocks = if part { from..from + 1 } else { from..number + BLOCKS };
            let pass = if self.piece >= self.pieces {
                self.gate.finish()
            } else if self.random.u8(..4) == 0 {
                self.gate.look(from).unwrap_or(Pass::Wait)
            } else if halves {
                match self.gate.publish(&blocks) {
                    Err(pass) => pass,
                    Ok(before) => {
                        self.published = Some((blocks, part, before));
                        return true;
                    }
                }
            } else {
                self.gate.pass(blocks.clone())
            };
            self.done(pass, blocks, part)
        }

        fn done(&mut self, pass: Pass, blocks: Range<u64>, part: bool) -> bool {
            match pass {
                Pass::Read => {
                    self.did.push(Did::Read(blocks));
                    if part {
                        self.begun += 1;
                    } else {
                        (self.piece, self.begun) = (self.piece + self.shards, 0);
                    }
                }
                Pass::Wait => {}
                Pass::Barrier(barrier) => {
                    self.did.push(Did::Cut(barrier));
                    let number = self.gate.numbering.number(self.piece);
                    self.begun = self.begun.max(barrier.number.saturating_sub(number));
                }
                Pass::End => return false,
            }
            true
        }
    }

    /// Every reader has cut where the others have, and all pieces before a cut have been read before it.
    fn check(did: &[Vec<Did>], start: Numbering) {
        let cuts = |did: &Vec<Did>| -> Vec<Barrier> {
            did.iter()
                .filter_map(|did| if let Did::Cut(barrier) = did { Some(*barrier) } else { None })
                .collect()
        };
        let longest = did.iter().map(cuts).max_by_key(Vec::len).unwrap();
        for did in did {
            let own = cuts(did);
            assert_eq!(own, longest[..own.len()]);
            let mut at = 0;
            for did in did {
                match did {
                    Did::Read(blocks) => {
                        assert!(blocks.start >= at, "{did:?} behind {at}");
                        let next = longest.iter().map(|barrier| barrier.number).find(|number| *number > at);
                        // Only a reader that has ended before reads nothing of what is before a cut.
                        assert!(
                            next.is_none_or(|next| blocks.end <= next || blocks.start >= next),
                            "{did:?}"
                        );
                        at = at.max(blocks.start);
                    }
                    Did::Cut(barrier) => {
                        assert!(barrier.number >= at);
                        at = barrier.number;
                    }
                }
            }
        }
        for (index, barrier) in longest.iter().enumerate() {
            let mut pieces: Vec<u64> = Vec::new();
            for did in did {
                let end = did.iter().position(|did| *did == Did::Cut(*barrier));
                let before = &did[..end.unwrap_or(did.len())];
                pieces.extend(before.iter().filter_map(|did| match did {
                    Did::Read(blocks)
                        if (blocks.end - start.number(start.start())).is_multiple_of(BLOCKS) =>
                    {
                        Some(start.piece(blocks.start))
                    }
                    _ => None,
                }));
            }
            pieces.sort_unstable();
            assert!(
                pieces.iter().copied().eq(start.start()..barrier.piece),
                "cut {index}: {pieces:?} {barrier:?}"
            );
        }
    }

    fn numbering(piece: u64) -> Numbering {
        let resume = crate::source::Resume {
            barrier: Barrier { epoch: 1, number: piece * BLOCKS + 3, piece },
            position: serde_json::Value::Null,
        };
        Numbering::of(&crate::source::testing::opening(1, Some(resume)), BLOCKS)
    }

    /// Readers and the one who asks, each a step at a time, in any order.
    #[test]
    fn no_order_of_steps_leaves_a_gap() {
        let mut random = fastrand::Rng::with_seed(6);
        for round in 0..20_000 {
            let shards = random.usize(1..4);
            let start = numbering(random.u64(..5));
            let pieces = start.start() + random.u64(..12);
            let cuts = Cuts::new(shards);
            let model = |shard| Model::new(&cuts, shard, shards, start, pieces, round * 8 + shard as u64);
            let mut models: Vec<Model> = (0..shards).map(model).collect();
            let mut live: Vec<usize> = (0..shards).collect();
            let (mut count, mut asking, mut furthest) = (0, 0, 0);
            while !live.is_empty() {
                if random.usize(..=live.len()) > 0 {
                    let at = random.usize(..live.len());
                    if !models[live[at]].step(true) {
                        live.swap_remove(at);
                    }
                    continue;
                }
                match asking {
                    0 if count == 2 || cuts.is_pending() => continue,
                    0 => cuts.0.announce(count + 1, count, false),
                    1 | 3 => furthest = cuts.0.furthest(),
                    2 | 4 => cuts.0.limit(count + 1, furthest),
                    _ => cuts.0.release(count + 1),
                }
                count += u64::from(asking == 5);
                asking = (asking + 1) % 6;
            }
            let did: Vec<Vec<Did>> = models.into_iter().map(|model| model.did).collect();
            check(&did, start);
        }
    }

    #[test]
    fn threads_cut_at_one_piece_without_gaps() {
        let mut random = fastrand::Rng::with_seed(5);
        for round in 0..400 {
            let shards = random.usize(1..5);
            let start = numbering(random.u64(..9));
            let pieces = start.start() + if random.bool() { 20_000 } else { random.u64(..500) };
            let cuts = Cuts::new(shards);
            let models: Vec<_> = (0..shards)
                .map(|shard| Model::new(&cuts, shard, shards, start, pieces, round * 8 + shard as u64))
                .collect();
            let threads: Vec<_> = models
                .into_iter()
                .map(|mut model| {
                    std::thread::spawn(move || {
                        while model.step(false) {
                            if model.random.u8(..64) == 0 {
                                std::thread::yield_now();
                            }
                        }
                        drop(model.gate);
                        model.did
                    })
                })
                .collect();
            let mut epoch = 7;
            for left in (0..random.u32(1..6)).rev() {
                for _ in 0..random.u32(0..5_000) {
                    std::hint::spin_loop();
                }
                while !cuts.request(epoch, left == 0) && !cuts.has_ended() {
                    std::thread::yield_now();
                }
                epoch += random.u64(1..4);
            }
            let did: Vec<Vec<Did>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            check(&did, start);
        }
    }

    #[test]
    fn cuts_come_one_after_the_other() {
        let cuts = Cuts::new(2);
        assert!(cuts.has_ended() && !cuts.request(1, false), "nobody reads yet");
        let start = numbering(0);
        let (mut first, mut second) = (cuts.gate(0, start), cuts.gate(1, start));
        assert_eq!(first.pass(3..7), Pass::Read);
        assert!(cuts.request(5, false) && cuts.is_pending());
        assert_eq!(
            (first.pass(11..15), second.look(3)),
            (Pass::Barrier(Barrier { epoch: 5, number: 7, piece: 1 }), None)
        );
        assert!(!cuts.request(6, false), "one reader has not cut yet");
        assert_eq!(second.pass(7..11), Pass::Barrier(Barrier { epoch: 5, number: 7, piece: 1 }));
        assert!(!cuts.is_pending());
        assert_eq!((second.pass(7..11), first.pass(11..15)), (Pass::Read, Pass::Read));
        assert!(cuts.request(9, true));
        let last = Pass::Barrier(Barrier { epoch: 9, number: 15, piece: 3 });
        assert_eq!((first.finish(), first.finish(), second.look(15)), (last, Pass::End, Some(last)));
        assert!(!cuts.is_pending() && !cuts.request(10, false), "it was the last");
        assert_eq!(second.pass(15..19), Pass::End);
        assert!(cuts.has_ended());
    }

    #[test]
    fn a_reader_that_has_ended_passes_no_cut() {
        let cuts = Cuts::new(2);
        let (mut first, mut second) = (cuts.gate(0, numbering(0)), cuts.gate(1, numbering(0)));
        assert_eq!((first.pass(3..7), first.finish()), (Pass::Read, Pass::End));
        assert!(cuts.request(1, false));
        assert_eq!(second.finish(), Pass::Barrier(Barrier { epoch: 1, number: 7, piece: 1 }));
        assert!(!cuts.is_pending());
        cuts.abandon();
        assert_eq!((second.pass(7..11), second.look(7)), (Pass::End, Some(Pass::End)));
    }
}
