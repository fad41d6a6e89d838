//! `file`: one file, or all that match a pattern, read in interleaved chunks.
//!
//! Chunk k of the input goes to shard k mod n. The files of a pattern take turns, chunk by chunk in the order of their
//! names, and each is a split of its own: a file that is behind in event time holds the watermark back, so none of its
//! rows is late because another file was read faster.

mod heading;
mod position;
mod quotes;
mod records;
mod schedule;

use std::fs::File;
use std::num::NonZeroU64;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, fadvise};

use self::quotes::Quotes;
use self::records::{BEHIND_BYTES, Found, Records, reading_starts};
use self::schedule::{Inputs, Schedule, Turn};
use super::chunk::{BLOCKS_PER_CHUNK, block_bytes};
use super::cuts::{Gate, Pass};
use super::numbering::Numbering;
use super::supply::{Mark, Pace, lines};
use super::{Content, Extent, Kind, Opened, Opening, Piece, Polled, Reader, Source, SourceError};
use crate::error::Problems;
use crate::time::Now;
use crate::yaml::{Fields, Key, Node};

/// The entry in the registry.
pub(super) const KIND: Kind = Kind {
    name: "file",
    summary: "reads a file, or all files that match a pattern, to their end",
    example: "file: { path: logs/*.ndjson }",
    parse,
};

/// How many files a shard keeps open.
const OPEN_MAX: usize = 64;

#[derive(Debug)]
struct Declared {
    path: String,
}

fn parse(key: &Key, node: &Node, problems: &mut Problems) -> Option<Box<dyn Source>> {
    let mut fields = Fields::under(key, node, "source.file", problems);
    let path = fields.required_text("path", problems).map(str::to_owned);
    fields.finish(problems);
    Some(Box::new(Declared { path: path? }))
}

impl Source for Declared {
    fn reads(&self, target: &str) -> bool {
        // `./in` is `in`; what a device takes is not what it gives.
        let parts = Path::new(&self.path).components().filter(|part| *part != Component::CurDir);
        let path = parts.collect::<PathBuf>().display().to_string();
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::default() };
        let matches = glob::Pattern::new(&path).is_ok_and(|pattern| pattern.matches_with(target, options));
        (matches || path == target) && !target.starts_with("/dev/")
    }

    fn can_supply(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        format!("file {} (bounded; read again from the last snapshot after a crash)", self.path)
    }

    fn open(&self, opening: &Opening) -> Result<Opened, SourceError> {
        let mut inputs = self.inputs(opening)?;
        if let Some(reader) = &opening.header {
            inputs.files.iter_mut().try_for_each(|input| heading::read(input, reader))?;
        }
        inputs.quotes = opening.quote.map(|quote| Quotes::new(quote, &inputs));
        let inputs = Arc::new(inputs);
        let shards = opening.bells.len();
        let numbering = Numbering::of(opening, BLOCKS_PER_CHUNK);
        let readers = (0..shards).map(|shard| {
            let reader = FileReader {
                inputs: inputs.clone(),
                schedule: Schedule::from(inputs.clone(), numbering.start()),
                shard: shard as u64,
                shards: shards as u64,
                open: Vec::new(),
                spare: Vec::new(),
                numbering,
                gate: opening.gate(shard, numbering),
                next: None,
                pace: opening.supply.as_ref().and_then(|supply| supply.pace(shard)),
                due_us: None,
                advised: CHUNKS_ADVISED,
            };
            Box::new(reader) as Box<dyn Reader + Send>
        });
        Ok(Opened {
            readers: readers.collect(),
            splits: inputs.files.iter().map(|file| file.path.clone()).collect(),
            extent: Some(Extent::Bytes(inputs.files.iter().map(|file| file.bytes).sum())),
            done: inputs.read_before(numbering.start()).iter().sum(),
            numbering,
            position: position::teller(inputs),
        })
    }
}

impl Declared {
    /// The files to be read: those that are there, or those of the snapshot that is gone on from.
    fn inputs(&self, opening: &Opening) -> Result<Inputs, SourceError> {
        let Some(resume) = &opening.resume else {
            let files =
                matches(&self.path)?.iter().map(|path| position::input(path)).collect::<Result<_, _>>()?;
            return Ok(Inputs { files, chunk_bytes: opening.chunk_bytes.max(1) as u64, quotes: None });
        };
        let inputs = position::resume(resume)?;
        // Where nothing can be found any more, nothing is new.
        position::tell_new(&matches(&self.path).unwrap_or_default(), &inputs);
        Ok(inputs)
    }
}

/// The files a path names, sorted: itself if there is such a file, else the matches of the pattern.
fn matches(path: &str) -> Result<Vec<String>, SourceError> {
    if !path.contains(['*', '?', '[']) || Path::new(path).is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let found = glob::glob(path).map_err(|error| SourceError::Pattern(path.to_owned(), error.to_string()))?;
    let mut paths = Vec::new();
    for entry in found {
        let entry = entry.map_err(|error| SourceError::Open {
            path: error.path().display().to_string(),
            source: error.into(),
        })?;
        if entry.is_file() {
            paths.push(entry.display().to_string());
        }
    }
    paths.sort();
    if paths.is_empty() { Err(SourceError::NoMatch(path.to_owned())) } else { Ok(paths) }
}

struct FileReader {
    inputs: Arc<Inputs>,
    schedule: Schedule,
    shard: u64,
    shards: u64,
    /// The files in use, the latest last.
    open: Vec<(usize, File)>,
    spare: Vec<Vec<u8>>,
    numbering: Numbering,
    gate: Gate,
    /// The shard's next chunk, where it has been looked up and not been read yet.
    next: Option<Turn>,
    /// When the chunks of a benchmark are due, and when the next one is, where that has been worked out.
    pace: Option<Pace>,
    due_us: Option<u64>,
    /// For how many more chunks the kernel is told what is read next.
    advised: u32,
}

/// For how many chunks the kernel is told what is read next, each time one was not in memory.
const CHUNKS_ADVISED: u32 = 64;

impl Reader for FileReader {
    fn poll(&mut self, now: Now) -> Result<Polled, SourceError> {
        let (shard, shards) = (self.shard, self.shards);
        self.next = self.next.or_else(|| self.schedule.find(|(chunk, _, _)| chunk % shards == shard));
        let due_us = self.due_us().filter(|due_us| now.monotonic_us < *due_us);
        let pass = match self.next {
            Some((chunk, _, _)) if due_us.is_some() => match self.gate.look(self.numbering.number(chunk)) {
                Some(pass) => pass,
                None => return Ok(Polled::Wait(due_us)),
            },
            Some((chunk, _, _)) => self.gate.pass(self.numbering.numbers(chunk)),
            None => self.gate.finish(),
        };
        match (pass, self.next) {
            (Pass::Read, Some(turn)) => {
                self.next = None;
                let piece = self.read(turn)?;
                self.mark(turn, &piece);
                Ok(Polled::Piece(piece))
            }
            (Pass::Wait, _) => Ok(Polled::Wait(None)),
            (Pass::Barrier(barrier), _) => Ok(Polled::Barrier(barrier)),
            (Pass::End | Pass::Read, _) => Ok(Polled::End),
        }
    }

    fn recycle(&mut self, buffer: Vec<u8>) {
        // A buffer that grew for one long record is not kept.
        if (buffer.capacity() as u64) <= 4 * self.inputs.chunk_bytes.max(BEHIND_BYTES as u64) {
            self.spare.push(buffer);
        }
    }
}

impl FileReader {
    /// When the last byte of the next chunk is due, where that is set.
    fn due_us(&mut self) -> Option<u64> {
        let (Some(pace), Some((chunk, _, _))) = (&self.pace, self.next) else { return None };
        let due_us = || pace.due_us(self.inputs.read_before(chunk + 1).iter().sum());
        Some(*self.due_us.get_or_insert_with(due_us))
    }

    /// Marks the chunk that has just been read, where chunks have a time.
    fn mark(&mut self, (chunk, _, _): Turn, piece: &Piece) {
        let (Some(pace), Some(last_us)) = (&self.pace, self.due_us.take()) else { return };
        let records = match &piece.content {
            Content::Bytes { buffer, range, .. } => lines(&buffer[range.clone()]),
            Content::Rows(rows) => rows.num_rows() as u64,
        };
        pace.mark(Mark {
            last: self.numbering.numbers(chunk).end - 1,
            records,
            first_us: pace.due_us(self.inputs.read_before(chunk).iter().sum()),
            last_us,
        });
    }

    fn read(&mut self, (chunk, file, part): Turn) -> Result<Piece, SourceError> {
        let inputs = self.inputs.clone();
        let (input, chunk_bytes) = (&inputs.files[file], inputs.chunk_bytes);
        let start = part * chunk_bytes;
        let end = input.bytes.min(start + chunk_bytes);
        let from = reading_starts(start);
        let mut buffer = self.spare.pop().unwrap_or_default();
        let (found, rejected) = if input.bytes == 0 {
            (Found { start: 0, end: 0, cut: 0, ends_inside: None }, Vec::new())
        } else {
            let handle = self.handle(file)?;
            let quotes = inputs.quotes.as_ref();
            let begins = quotes.map(|quotes| quotes.find(handle, input, file, part)).transpose()?;
            let mut records = Records { handle, input, from, buffer: &mut buffer, filled: 0, waited: false };
            let found = records.find(start, end, begins)?;
            if let (Some(quotes), Some(inside)) = (quotes, found.ends_inside) {
                quotes.tell(file, part + 1, inside);
            }
            let rejected = records.rejected(&found);
            if records.waited {
                self.advised = CHUNKS_ADVISED;
            }
            (found, rejected)
        };
        // The kernel reads ahead what this shard reads next while it decodes what it has; a refusal costs nothing. What
        // is in memory anyway is not asked for: to find that out costs the kernel as much as some operators do.
        let ahead = start + self.shards * chunk_bytes;
        if self.advised > 0 && inputs.files.len() == 1 && ahead < input.bytes {
            self.advised -= 1;
            let _ = fadvise(self.handle(file)?, ahead, NonZeroU64::new(chunk_bytes), Advice::WillNeed);
        }
        let chunk_bytes = usize::try_from(chunk_bytes).expect("a chunk fits in memory");
        Ok(Piece {
            number: self.numbering.number(chunk),
            next: self.numbering.number(chunk + self.shards),
            split: u32::try_from(file).expect("fewer than 4 G files"),
            finished: part + 1 == inputs.chunks(file),
            idle: false,
            source: input.path.clone(),
            content: Content::Bytes {
                position: from + found.start as u64,
                range: found.start..found.cut,
                buffer: Arc::new(buffer),
                start,
                block_bytes: block_bytes(chunk_bytes),
                header: input.heading.as_ref().map(|heading| heading.header.clone()),
            },
            rejected,
            bytes: end - start,
            arrived_ms: None,
        })
    }

    fn handle(&mut self, file: usize) -> Result<&File, SourceError> {
        if let Some(position) = self.open.iter().position(|(index, _)| *index == file) {
            let used = self.open.remove(position);
            self.open.push(used);
        } else {
            if self.open.len() == OPEN_MAX {
                self.open.remove(0);
            }
            let path = &self.inputs.files[file].path;
            let opened =
                File::open(&**path).map_err(|source| SourceError::Open { path: path.to_string(), source })?;
            self.open.push((file, opened));
        }
        Ok(&self.open.last().expect("just pushed").1)
    }
}

#[cfg(test)]
mod tests;
