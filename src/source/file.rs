//! `file`: one file, or all that match a pattern, read in interleaved chunks.
//!
//! Chunk k of the input goes to shard k mod n. The files of a pattern take turns, chunk by chunk in the order of their
//! names, and each is a split of its own: a file that is behind in event time holds the watermark back, so none of its
//! rows is late because another file was read faster.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use memchr::memchr;
use rustix::fs::{Advice, fadvise};

use super::chunk::{BLOCKS_PER_CHUNK, CHUNK_BYTES, RECORD_BYTES_MAX, first_record, too_long};
use super::{Content, Extent, Gate, Kind, Opened, Opening, Piece, Polled, Reader, Source, SourceError};
use crate::error::Problems;
use crate::record::BadRecord;
use crate::time::Now;
use crate::yaml::{Fields, Key, Node};

/// The entry in the registry.
pub(super) const KIND: Kind = Kind {
    name: "file",
    summary: "reads a file, or all files that match a pattern, to their end",
    example: "file: { path: logs/*.ndjson }",
    parse,
};

/// How much is read behind a chunk at once, in the hope that its last record ends there, bytes.
const BEHIND_BYTES: usize = 8 << 10;
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

    fn describe(&self) -> String {
        format!("file {} (bounded; every run reads it from the start)", self.path)
    }

    fn open(&self, opening: &Opening) -> Result<Opened, SourceError> {
        let files: Arc<[Input]> =
            matches(&self.path)?.into_iter().map(Input::of).collect::<Result<_, _>>()?;
        let shards = opening.bells.len() as u64;
        let readers = (0..shards).map(|shard| {
            let reader = FileReader {
                files: files.clone(),
                schedule: Schedule::new(files.clone()),
                shard,
                shards,
                open: Vec::new(),
                spare: Vec::new(),
                gate: opening.stop.gate(usize::try_from(shard).expect("a shard")),
                next: None,
            };
            Box::new(reader) as Box<dyn Reader + Send>
        });
        Ok(Opened {
            readers: readers.collect(),
            splits: files.iter().map(|file| file.path.clone()).collect(),
            extent: Some(Extent::Bytes(files.iter().map(|file| file.bytes).sum())),
            first: (0..shards).map(|shard| shard * BLOCKS_PER_CHUNK).collect(),
            position: Box::new(|_| Ok(serde_json::Value::Null)),
        })
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

/// A file and its size when the run started: what is appended later is not read.
#[derive(Debug)]
struct Input {
    path: Arc<str>,
    bytes: u64,
}

impl Input {
    fn of(path: String) -> Result<Self, SourceError> {
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(source) => return Err(SourceError::Open { path, source }),
        };
        if !metadata.is_file() {
            return Err(SourceError::NotAFile(path));
        }
        // Opened once here, so that a file that may not be read is told before anything starts.
        match File::open(&path) {
            Ok(_) => Ok(Self { bytes: metadata.len(), path: path.into() }),
            Err(source) => Err(SourceError::Open { path, source }),
        }
    }

    /// How many chunks there are; an empty file has one, empty, which ends its split.
    fn chunks(&self) -> u64 {
        self.bytes.div_ceil(CHUNK_BYTES as u64).max(1)
    }
}

/// The chunks of all files in their order: in each round one chunk of every file that has one left.
struct Schedule {
    files: Arc<[Input]>,
    /// The number of the chunk that comes next.
    chunk: u64,
    file: usize,
    round: u64,
    rounds: u64,
}

impl Schedule {
    fn new(files: Arc<[Input]>) -> Self {
        let rounds = files.iter().map(Input::chunks).max().unwrap_or(0);
        Self { files, chunk: 0, file: 0, round: 0, rounds }
    }
}

impl Iterator for Schedule {
    /// The chunk's number, its file, and which of the file's chunks it is.
    type Item = (u64, usize, u64);

    fn next(&mut self) -> Option<Self::Item> {
        while self.round < self.rounds {
            if self.file == self.files.len() {
                self.file = 0;
                self.round += 1;
                continue;
            }
            let file = self.file;
            self.file += 1;
            if self.round < self.files[file].chunks() {
                self.chunk += 1;
                return Some((self.chunk - 1, file, self.round));
            }
        }
        None
    }
}

struct FileReader {
    files: Arc<[Input]>,
    schedule: Schedule,
    shard: u64,
    shards: u64,
    /// The files in use, the latest last.
    open: Vec<(usize, File)>,
    spare: Vec<Vec<u8>>,
    gate: Gate,
    /// The shard's next chunk, where it has been looked up and not been read yet.
    next: Option<(u64, usize, u64)>,
}

impl Reader for FileReader {
    fn poll(&mut self, _: Now) -> Result<Polled, SourceError> {
        let (shard, shards) = (self.shard, self.shards);
        self.next = self.next.or_else(|| self.schedule.find(|(chunk, _, _)| chunk % shards == shard));
        match self.next {
            Some((chunk, _, _)) if self.gate.is_over(chunk) => Ok(Polled::End),
            Some((chunk, _, _)) if !self.gate.enter(chunk) => Ok(Polled::Wait(None)),
            Some((chunk, file, part)) => {
                self.next = None;
                self.read(chunk, file, part).map(Polled::Piece)
            }
            None => Ok(Polled::End),
        }
    }

    fn recycle(&mut self, buffer: Vec<u8>) {
        // A buffer that grew for one long record is not kept.
        if buffer.capacity() <= 4 * CHUNK_BYTES {
            self.spare.push(buffer);
        }
    }
}

impl FileReader {
    fn read(&mut self, chunk: u64, file: usize, part: u64) -> Result<Piece, SourceError> {
        let files = self.files.clone();
        let input = &files[file];
        let start = part * CHUNK_BYTES as u64;
        let end = input.bytes.min(start + CHUNK_BYTES as u64);
        let from = start.saturating_sub(1);
        let mut buffer = self.spare.pop().unwrap_or_default();
        let handle = self.handle(file)?;
        let mut records = Records { handle, input, from, buffer: &mut buffer, filled: 0 };
        let found = records.find(start, end)?;
        let rejected = records.rejected(&found);
        // The kernel reads ahead what this shard reads next while it decodes what it has; a refusal costs nothing.
        let ahead = start + self.shards * CHUNK_BYTES as u64;
        if self.files.len() == 1 && ahead < input.bytes {
            let _ = fadvise(self.handle(file)?, ahead, NonZeroU64::new(CHUNK_BYTES as u64), Advice::WillNeed);
        }
        Ok(Piece {
            number: chunk * BLOCKS_PER_CHUNK,
            next: (chunk + self.shards) * BLOCKS_PER_CHUNK,
            split: u32::try_from(file).expect("fewer than 4 G files"),
            finished: part + 1 == input.chunks(),
            idle: false,
            source: input.path.clone(),
            content: Content::Bytes {
                position: from + found.start as u64,
                range: found.start..found.cut,
                buffer: Arc::new(buffer),
                start,
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
            let path = &self.files[file].path;
            let opened =
                File::open(&**path).map_err(|source| SourceError::Open { path: path.to_string(), source })?;
            self.open.push((file, opened));
        }
        Ok(&self.open.last().expect("just pushed").1)
    }
}

/// Where the records of a chunk are in its buffer.
struct Found {
    start: usize,
    end: usize,
    /// Where a record begins that is too long; `end` where there is none.
    cut: usize,
}

/// Reads on until the last record of a chunk is whole.
struct Records<'a> {
    handle: &'a File,
    input: &'a Input,
    /// The position of `buffer[0]` in the file.
    from: u64,
    buffer: &'a mut Vec<u8>,
    /// How much of the buffer has been read.
    filled: usize,
}

impl Records<'_> {
    fn find(&mut self, start: u64, end: u64) -> Result<Found, SourceError> {
        let chunk_end = usize::try_from(end - self.from).expect("chunks are small");
        self.fill(chunk_end + BEHIND_BYTES)?;
        let Some(first) = first_record(&self.buffer[..self.filled], start == 0, chunk_end) else {
            return Ok(Found { start: chunk_end, end: chunk_end, cut: chunk_end });
        };
        // The last record is the one that holds the chunk's last byte.
        let mut searched = chunk_end.saturating_sub(1).max(first);
        loop {
            if let Some(newline) = memchr(b'\n', &self.buffer[searched..self.filled]) {
                let end = searched + newline + 1;
                return Ok(Found { start: first, end, cut: end });
            }
            searched = self.filled;
            if self.from + self.filled as u64 >= self.input.bytes {
                return Ok(Found { start: first, end: self.filled, cut: self.filled });
            }
            let before = self.buffer[first..chunk_end].iter().rposition(|byte| *byte == b'\n');
            let last = before.map_or(first, |at| first + at + 1);
            if self.filled - last > RECORD_BYTES_MAX {
                return Ok(Found { start: first, end: self.filled, cut: last });
            }
            self.fill(self.filled * 2)?;
        }
    }

    /// Reads until `bytes` of the buffer are filled or the file ends.
    fn fill(&mut self, bytes: usize) -> Result<(), SourceError> {
        let left = self.input.bytes - self.from;
        let bytes = bytes.min(usize::try_from(left).unwrap_or(usize::MAX));
        if self.buffer.len() < bytes {
            self.buffer.resize(bytes, 0);
        }
        while self.filled < bytes {
            let position = self.from + self.filled as u64;
            let path = || self.input.path.to_string();
            match self.handle.read_at(&mut self.buffer[self.filled..bytes], position) {
                Ok(0) => {
                    let (expected, found) = (self.input.bytes, position);
                    return Err(SourceError::Truncated { path: path(), expected, found });
                }
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(SourceError::Read { path: path(), position, source }),
            }
        }
        Ok(())
    }

    fn rejected(&self, found: &Found) -> Vec<BadRecord> {
        if found.cut == found.end {
            return Vec::new();
        }
        let position = self.from + found.cut as u64;
        vec![too_long(&self.input.path, position, &self.buffer[found.cut..found.end])]
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::Stop;
    use super::super::chunk::TOO_LONG_KEPT;
    use super::*;
    use crate::record::Schema;

    /// Reads `content` with `shards` readers; the records in the order of their chunks.
    fn read(content: &[u8], shards: usize) -> (Vec<Vec<u8>>, Vec<BadRecord>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let declared = Declared { path: file.path().display().to_string() };
        let opening = Opening {
            columns: Schema::new(vec![]),
            bells: (0..shards).map(|_| Arc::default()).collect(),
            stop: Stop::new(shards),
            start: Now::default(),
            idle_after_ms: None,
            heartbeat: false,
            chunk_bytes: crate::source::CHUNK_BYTES,
            resume: None,
        };
        let mut opened = declared.open(&opening).unwrap();
        let (mut pieces, mut rejected) = (Vec::new(), Vec::new());
        for reader in &mut opened.readers {
            while let Polled::Piece(piece) = reader.poll(Now::default()).unwrap() {
                let Content::Bytes { buffer, range, position, .. } = piece.content else { panic!("bytes") };
                let records = buffer[range].to_vec();
                assert!(content[usize::try_from(position).unwrap()..].starts_with(&records));
                pieces.push((piece.number, records));
                rejected.extend(piece.rejected);
                reader.recycle(Arc::try_unwrap(buffer).unwrap());
            }
        }
        pieces.sort();
        (pieces.into_iter().map(|(_, bytes)| bytes).collect(), rejected)
    }

    #[test]
    fn every_record_is_read_once_in_order_whatever_the_number_of_shards() {
        let mut random = fastrand::Rng::with_seed(3);
        for longest in [5, 300, 70_000, 3 * CHUNK_BYTES] {
            let mut content = Vec::new();
            while content.len() < 3 * CHUNK_BYTES + 12_345 {
                content.resize(content.len() + random.usize(..longest), b'x');
                content.push(b'\n');
            }
            for cut in [content.len(), content.len() - 1, CHUNK_BYTES, CHUNK_BYTES + 1, CHUNK_BYTES - 1] {
                let content = &content[..cut];
                for shards in [1, 2, 3, 8] {
                    let (pieces, rejected) = read(content, shards);
                    assert!(rejected.is_empty());
                    assert!(pieces.concat() == content, "longest {longest}, cut {cut}, {shards} shards");
                }
            }
        }
    }

    #[test]
    fn an_empty_file_has_one_empty_piece() {
        assert_eq!(read(b"", 2).0, [b""]);
        assert_eq!(read(b"\xef\xbb\xbfa\n", 1).0, [b"a\n"]);
    }

    #[test]
    fn a_record_beyond_all_bounds_is_rejected_and_the_rest_is_read() {
        let mut content = b"before\n".to_vec();
        content.resize(content.len() + RECORD_BYTES_MAX + 2 * CHUNK_BYTES, b'x');
        content.extend_from_slice(b"\nafter\n");
        let (pieces, rejected) = read(&content, 2);
        assert_eq!(pieces.concat(), b"before\nafter\n");
        assert_eq!((rejected.len(), rejected[0].position, rejected[0].raw.len()), (1, 7, TOO_LONG_KEPT));
    }

    #[test]
    fn files_take_turns() {
        let chunk = CHUNK_BYTES as u64;
        let files: Arc<[Input]> =
            [2 * chunk + 1, 0, chunk].into_iter().map(|bytes| Input { path: "f".into(), bytes }).collect();
        let order: Vec<_> = Schedule::new(files).collect();
        assert_eq!(order, [(0, 0, 0), (1, 1, 0), (2, 2, 0), (3, 0, 1), (4, 0, 2)]);
    }
}
