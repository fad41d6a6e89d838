//! The records of one chunk of a file, whole: also what reaches beyond the chunk's end.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;

use memchr::memchr;
use rustix::io::{ReadWriteFlags, preadv2};

use super::schedule::Input;
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
    /// The records that start in `start..end`, positions in the file.
    pub fn find(&mut self, start: u64, end: u64) -> Result<Found, SourceError> {
        let chunk_end = usize::try_from(end - self.from).expect("chunks are small");
        self.fill(chunk_end + BEHIND_BYTES)?;
        let before = usize::try_from(start.saturating_sub(1) - self.from).expect("fewer than 16 bytes");
        let first = match &self.input.heading {
            // A first line may be longer than a chunk.
            Some(heading) if start < heading.body => {
                usize::try_from(heading.body - self.from).ok().filter(|first| *first < chunk_end)
            }
            _ => first_record(&self.buffer[before..self.filled], start == 0, chunk_end - before)
                .map(|first| before + first),
        };
        let Some(first) = first else {
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
            self.fill(self.filled + (self.filled - chunk_end).max(BEHIND_BYTES))?;
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
