//! Which chunk of which file comes when.

use std::sync::Arc;

use super::position::Identity;
use super::quotes::Quotes;
use crate::codec::csv::Header;

/// A file as it was when the run started: what is appended later is not read.
#[derive(Clone, Debug)]
pub(super) struct Input {
    /// Its path, which is its name as a split.
    pub path: Arc<str>,
    /// How many bytes of it are read.
    pub bytes: u64,
    /// By what it is told from another file of its name; none where it has been read to its end and is gone.
    pub identity: Option<Identity>,
    /// Its first line, where that is no record.
    pub heading: Option<Heading>,
    /// Up to where it has been read before, bytes, and whether that is inside of quotes, where quotes are minded.
    pub begun: Option<(u64, bool)>,
}

/// The first line of a file, which says what its records are.
#[derive(Clone, Debug)]
pub(super) struct Heading {
    /// What it says.
    pub header: Arc<Header>,
    /// Where the first record begins, bytes.
    pub body: u64,
}

/// All files of a run, in the order of their names.
#[derive(Debug)]
pub(super) struct Inputs {
    /// The files.
    pub files: Vec<Input>,
    /// The bytes of a chunk, above 0.
    pub chunk_bytes: u64,
    /// Which chunks begin inside of quotes, where newlines there end no record.
    pub quotes: Option<Quotes>,
}

impl Inputs {
    /// How many chunks a file has; an empty one has one, empty, which ends its split.
    pub fn chunks(&self, file: usize) -> u64 {
        self.files[file].bytes.div_ceil(self.chunk_bytes).max(1)
    }

    /// How many chunks the longest file has: in each round one chunk of every file that has one left comes.
    fn rounds(&self) -> u64 {
        (0..self.files.len()).map(|file| self.chunks(file)).max().unwrap_or(0)
    }

    /// How many chunks come in the first `rounds` rounds.
    fn chunks_in(&self, rounds: u64) -> u64 {
        (0..self.files.len()).map(|file| self.chunks(file).min(rounds)).sum()
    }

    /// How many bytes of each file are in the chunks before `chunk`, `[file]`.
    pub fn read_before(&self, chunk: u64) -> Vec<u64> {
        let place = self.place(chunk);
        let read = |file: usize| {
            let chunks = place.round + u64::from(file < place.file);
            self.files[file].bytes.min(chunks.saturating_mul(self.chunk_bytes))
        };
        (0..self.files.len()).map(read).collect()
    }

    /// Where the schedule is when `chunk` is next.
    fn place(&self, chunk: u64) -> Place {
        // The last round before which no more chunks come than are before this one.
        let (mut round, mut behind) = (0, self.rounds() + 1);
        while round + 1 < behind {
            let middle = round + (behind - round) / 2;
            if self.chunks_in(middle) <= chunk {
                round = middle;
            } else {
                behind = middle;
            }
        }
        let mut left = chunk.saturating_sub(self.chunks_in(round));
        let mut file = 0;
        while left > 0 && file < self.files.len() {
            left -= u64::from(round < self.chunks(file));
            file += 1;
        }
        Place { chunk, file, round }
    }
}

/// A place in the order of chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// The number of the chunk that comes next.
    chunk: u64,
    /// The file that has its turn, and in which round.
    file: usize,
    round: u64,
}

/// The chunks of all files in their order: in each round one chunk of every file that has one left.
pub(super) struct Schedule {
    inputs: Arc<Inputs>,
    rounds: u64,
    place: Place,
}

impl Schedule {
    /// The chunks from number `chunk` on.
    pub fn from(inputs: Arc<Inputs>, chunk: u64) -> Self {
        Self { rounds: inputs.rounds(), place: inputs.place(chunk), inputs }
    }
}

/// The chunk's number, its file, and which of the file's chunks it is.
pub(super) type Turn = (u64, usize, u64);

impl Iterator for Schedule {
    type Item = Turn;

    fn next(&mut self) -> Option<Turn> {
        let place = &mut self.place;
        while place.round < self.rounds {
            if place.file == self.inputs.files.len() {
                place.file = 0;
                place.round += 1;
                continue;
            }
            let file = place.file;
            place.file += 1;
            if place.round < self.inputs.chunks(file) {
                place.chunk += 1;
                return Some((place.chunk - 1, file, place.round));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(bytes: impl IntoIterator<Item = u64>) -> Arc<Inputs> {
        let files = bytes.into_iter().map(|bytes| Input {
            path: "f".into(),
            bytes,
            identity: None,
            heading: None,
            begun: None,
        });
        Arc::new(Inputs { files: files.collect(), chunk_bytes: 10, quotes: None })
    }

    #[test]
    fn files_take_turns() {
        let order: Vec<Turn> = Schedule::from(inputs([21, 0, 10]), 0).collect();
        assert_eq!(order, [(0, 0, 0), (1, 1, 0), (2, 2, 0), (3, 0, 1), (4, 0, 2)]);
    }

    #[test]
    fn the_schedule_begins_anywhere() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let files = random.usize(1..6);
            let inputs = inputs((0..files).map(|_| random.u64(..60)).collect::<Vec<_>>());
            let all: Vec<Turn> = Schedule::from(inputs.clone(), 0).collect();
            for chunk in 0..=all.len() {
                let rest: Vec<Turn> = Schedule::from(inputs.clone(), chunk as u64).collect();
                assert_eq!(rest, all[chunk..], "{inputs:?}");
                let mut read = vec![0; files];
                for (_, file, part) in &all[..chunk] {
                    read[*file] = inputs.files[*file].bytes.min((part + 1) * 10);
                }
                assert_eq!(inputs.read_before(chunk as u64), read, "{inputs:?} before {chunk}");
            }
        }
    }
}
