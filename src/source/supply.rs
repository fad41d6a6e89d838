//! How a benchmark has a source supply its records: as many as it can take, or at a rate whatever becomes of them.
//!
//! The rate is that of an open loop: what is at place k of the input is due at the beginning plus k by the rate, also where the
//! pipeline is behind. Every piece is marked with the times at which its records were due, so that whoever sees what they
//! came to can tell how long they took.

use std::sync::mpsc::Sender;

use memchr::memchr_iter;

use super::paced::due_after_us;

/// How the records of a benchmark come.
#[derive(Clone, Debug)]
pub struct Supply {
    /// How much a second, in the unit of the input's extent, rows where it has none; none for as fast as it is taken.
    pub rate: Option<f64>,
    /// When the first record is due where there is a rate, of [`crate::time::Now::monotonic_us`].
    pub begin_us: u64,
    /// Where the marks of each shard's pieces go where there is a rate, `[shard]`.
    pub marks: Vec<Sender<Mark>>,
}

/// A piece of the input that a shard has begun to read, and when its records were due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The last block number of the piece.
    pub last: u64,
    /// How many records it has.
    pub records: u64,
    /// When its first record was due, of [`crate::time::Now::monotonic_us`].
    pub first_us: u64,
    /// When its last record was due; those between them are spread evenly.
    pub last_us: u64,
}

/// When the pieces of one shard are due.
#[derive(Debug)]
pub(super) struct Pace {
    rate: f64,
    begin_us: u64,
    marks: Sender<Mark>,
}

impl Supply {
    /// The pace of one shard's pieces; none where they are taken as fast as they can be.
    pub(super) fn pace(&self, shard: usize) -> Option<Pace> {
        Some(Pace { rate: self.rate?, begin_us: self.begin_us, marks: self.marks[shard].clone() })
    }
}

impl Pace {
    /// When what comes behind `amount` of the input is due.
    pub fn due_us(&self, amount: u64) -> u64 {
        self.begin_us.saturating_add(due_after_us(amount, self.rate))
    }

    /// Marks a piece; called before the shard gets it.
    pub fn mark(&self, mark: Mark) {
        // Where nobody measures any more, the run is being ended.
        let _ = self.marks.send(mark);
    }
}

/// How many lines there are in whole lines of which the last may lack its end.
pub(super) fn lines(bytes: &[u8]) -> u64 {
    let ends = memchr_iter(b'\n', bytes).count() as u64;
    ends + u64::from(bytes.last().is_some_and(|last| *last != b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_whole() {
        for (text, expect) in [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("\n\n", 2)] {
            assert_eq!(lines(text.as_bytes()), expect, "{text:?}");
        }
    }
}
