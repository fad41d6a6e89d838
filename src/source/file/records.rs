//! The records of one chunk of a file, whole: also what reaches beyond the chunk's end.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;

use memchr::memchr;
use rustix::io::{ReadWriteFlags, preadv2};

use super::schedule::Input;
use crate::codec::framing::Quoted;
use crate::record::BadRecord;
use crate::source::SourceError;
use crate::source::chunk::{RECORD_BYTES_MAX, first_record, too_long};

/// How much is read behind a chunk at first, in the hope that its last record ends there, bytes.
pub(super) const BEHIND_BYTES: usize = 4 << 10;

/// Where reading begins for a chunk that starts at `start`: with the byte before it, or up to 15 earlier.
///
/// x86 copies a page with `rep movsb` at a third of its speed where the destination's address is 1 to 15 more than the
/// source's, by what is left of them on division by 4,096. Allocations and these positions are multiples of 16, so that
/// remainders are too.
pub(super) fn reading_starts(start: u64) -> u64 {
    start.saturating_sub(1) & !15
}

/// Where the records of a chunk are in its buffer.
pub(super) struct Found {
    /// Where the first begins.
    pub start: usize,
    /// Behind the last.
    pub end: usize,
    /// Where a record begins that is too long; `end` where there is none.
    pub cut: usize,
    /// Whether the chunk ends inside of quotes, where that counts.
    pub ends_inside: Option<bool>,
}

/// Reads on until the last record of a chunk is whole.
pub(super) struct Records<'a> {
    /// The file.
    pub handle: &'a File,
    /// What is to be read of it.
    pub input: &'a Input,
    /// The position of `buffer[0]` in the file.
    pub from: u64,
    /// What has been read.
    pub buffer: &'a mut Vec<u8>,
    /// How much of the buffer has been read.
    pub filled: usize,
    /// Whether some of it was not in memory yet.
    pub waited: bool,
}

impl Records<'_> {
    /// The records that start in `start..end`, positions in the file; `begins` is how the first of them is, where newlines
    /// in quotes end no record.
    pub fn find(&mut self, start: u64, end: u64, begins: Option<Quoted>) -> Result<Found, SourceError> {
        let chunk_end = usize::try_from(end - self.from).expect("chunks are small");
        self.fill(chunk_end + BEHIND_BYTES)?;
        let mut ends = begins.map(|begins| self.ends(start, chunk_end, begins));
        let ends_inside = ends.map(|ends| ends.inside);
        let Some(first) = self.first(start, chunk_end, begins) else {
            return Ok(Found { start: chunk_end, end: chunk_end, cut: chunk_end, ends_inside });
        };
        let found = |end, cut| Found { start: first, end, cut, ends_inside };
        // The last record is the one that holds the chunk's last byte. How quotes are is known behind that, and before it
        // where it is none.
        let last = chunk_end.saturating_sub(1);
        let is_newline = self.buffer.get(last) == Some(&b'\n');
        let mut searched = if ends.is_none() || is_newline { last } else { chunk_end }.max(first);
        loop {
            let rest = &self.buffer[searched..self.filled];
            let newline = match &mut ends {
                Some(ends) => ends.record_end(rest),
                None => memchr(b'\n', rest),
            };
            if let Some(newline) = newline {
                let end = searched + newline + 1;
                return Ok(found(end, end));
            }
            searched = self.filled;
            if self.from + self.filled as u64 >= self.input.bytes {
                return Ok(found(self.filled, self.filled));
            }
            let last = self.last(first, chunk_end, begins);
            if self.filled - last > RECORD_BYTES_MAX {
                return Ok(found(self.filled, last));
            }
            self.fill(self.filled + (self.filled - chunk_end).max(BEHIND_BYTES))?;
        }
    }

    /// Where the first record of a chunk begins in the buffer.
    fn first(&self, start: u64, chunk_end: usize, begins: Option<Quoted>) -> Option<usize> {
        if let Some(heading) = self.input.heading.as_ref().filter(|heading| start < heading.body) {
            // A first line may be longer than a chunk.
            return usize::try_from(heading.body - self.from).ok().filter(|first| *first < chunk_end);
        }
        let before = usize::try_from(start.saturating_sub(1) - self.from).expect("fewer than 16 bytes");
        match begins.filter(|_| start > 0) {
            Some(begins) if !begins.inside && self.buffer[before] == b'\n' => Some(before + 1),
            Some(mut begins) => {
                let newline = begins.record_end(&self.buffer[before + 1..chunk_end])?;
                Some(before + newline + 2).filter(|first| *first < chunk_end)
            }
            None => first_record(&self.buffer[before..self.filled], start == 0, chunk_end - before)
                .map(|first| before + first),
        }
    }

    /// How the end of a chunk is that begins so.
    fn ends(&self, start: u64, chunk_end: usize, begins: Quoted) -> Quoted {
        // The first line has been read as a whole.
        let body = self.input.heading.as_ref().map_or(0, |heading| heading.body);
        let counted = usize::try_from(start.max(body) - self.from).unwrap_or(chunk_end).min(chunk_end);
        let mut ends = begins;
        ends.pass(&self.buffer[counted..chunk_end]);
        ends
    }

    /// Where the last record of a chunk begins, of which `first` is where the first does.
    fn last(&self, first: usize, chunk_end: usize, begins: Option<Quoted>) -> usize {
        let Some(Quoted { quote, .. }) = begins else {
            let newline = self.buffer[first..chunk_end].iter().rposition(|byte| *byte == b'\n');
            return newline.map_or(first, |at| first + at + 1);
        };
        let (mut last, mut quoted) = (first, Quoted::outside(quote));
        while let Some(newline) = quoted.record_end(&self.buffer[last..chunk_end]) {
            last += newline + 1;
        }
        last
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
            match read_at(self.handle, &mut self.buffer[self.filled..bytes], position, &mut self.waited) {
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

    /// The record of `found` that is too long, if there is one.
    pub fn rejected(&self, found: &Found) -> Vec<BadRecord> {
        if found.cut == found.end {
            return Vec::new();
        }
        let position = self.from + found.cut as u64;
        vec![too_long(&self.input.path, position, &self.buffer[found.cut..found.end])]
    }
}

/// Reads at a position. Sets `waited` where what is there was not in memory, or the file system does not tell.
fn read_at(file: &File, into: &mut [u8], position: u64, waited: &mut bool) -> io::Result<usize> {
    let at_once = preadv2(file, &mut [IoSliceMut::new(into)], position, ReadWriteFlags::NOWAIT);
    match at_once {
        Ok(count) if count > 0 => Ok(count),
        _ => {
            *waited = true;
            file.read_at(into, position)
        }
    }
}
