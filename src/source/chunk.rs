//! Bytes in chunks: which records belong to which chunk.
//!
//! A chunk owns the records that start in it. Its reader finds the first by the newline before it and reads on behind
//! its end to the end of the last, so chunks need no word from one another.

use std::sync::Arc;

use memchr::memchr;

use crate::record::BadRecord;

/// The bytes of a chunk, where nobody asks for chunks of another size: so few that it stays in a core's own cache from when
/// it is read until it is decoded.
pub const CHUNK_BYTES: usize = 512 << 10;
/// How many blocks a chunk has at most: the watermark advances at block ends.
pub const BLOCKS_PER_CHUNK: u64 = 16;
/// The least bytes of a block of a chunk that has as many: each block costs every shard behind an exchange some time. Which
/// rows are late behind a second exchange depends on where blocks end, so that this is part of what a pipeline means.
const BLOCK_BYTES_MIN: usize = 64 << 10;
/// Longer records are not kept in memory: they go to quarantine, cut.
pub const RECORD_BYTES_MAX: usize = 64 << 20;
/// How much of a record that is too long the quarantine keeps, bytes.
pub const TOO_LONG_KEPT: usize = 64 << 10;

/// The byte order mark that some programs put in front of UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// How many bytes at the start of an input are a byte order mark.
#[must_use]
pub fn mark_bytes(input: &[u8]) -> usize {
    if input.starts_with(BOM) { BOM.len() } else { 0 }
}

/// Where the first record of a chunk starts in `bytes`, which begin one byte before the chunk (or with it, for the
/// first chunk of the input). None if no record starts before `end`, the chunk's end in `bytes`.
#[must_use]
pub fn first_record(bytes: &[u8], is_first: bool, end: usize) -> Option<usize> {
    if is_first {
        return Some(mark_bytes(bytes));
    }
    let start = memchr(b'\n', &bytes[..end])? + 1;
    (start < end).then_some(start)
}

/// The bytes of each block of a chunk of `chunk_bytes` bytes, at least 1.
#[must_use]
pub fn block_bytes(chunk_bytes: usize) -> u64 {
    let even = (chunk_bytes as u64 / BLOCKS_PER_CHUNK).max(1);
    if chunk_bytes < BLOCK_BYTES_MIN { even } else { even.max(BLOCK_BYTES_MIN as u64) }
}

/// The number of the block that a record belongs to, by the distance of its start from the start of the piece.
#[must_use]
pub fn block_of(number: u64, distance: u64, block_bytes: u64) -> u64 {
    number + (distance / block_bytes).min(BLOCKS_PER_CHUNK - 1)
}

/// A record that is longer than can be kept, with its beginning.
#[must_use]
pub fn too_long(source: &Arc<str>, position: u64, begun: &[u8]) -> BadRecord {
    let message = format!(
        "the record is longer than {} MiB; its first {} KiB are kept here",
        RECORD_BYTES_MAX >> 20,
        TOO_LONG_KEPT >> 10
    );
    let raw = begun[..begun.len().min(TOO_LONG_KEPT)].to_vec();
    BadRecord { source: source.clone(), position, error: "too_long", message, raw }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_record_of_a_chunk() {
        for (bytes, is_first, end, expect) in [
            ("abc\ndef\n", true, 8, Some(0)),
            ("\u{feff}abc", true, 6, Some(3)),
            ("c\ndef\n", false, 5, Some(2)),
            ("\ndef\n", false, 5, Some(1)),
            ("cdefgh", false, 5, None),
            ("cdefg\nh", false, 5, None),
            ("cdef\nh", false, 5, None),
            ("cdef\nh", false, 6, Some(5)),
        ] {
            assert_eq!(first_record(bytes.as_bytes(), is_first, end), expect, "{bytes:?} {end}");
        }
    }

    #[test]
    fn the_last_block_takes_what_lies_behind_it() {
        let block = block_bytes(CHUNK_BYTES);
        assert_eq!(block_of(32, 0, block), 32);
        assert_eq!(block_of(32, block, block), 33);
        assert_eq!(block, BLOCK_BYTES_MIN as u64);
        assert_eq!(block_of(32, CHUNK_BYTES as u64 - 1, block), 39);
        assert_eq!(block_of(32, 300 * CHUNK_BYTES as u64, block), 47);
        assert_eq!(block_of(32, 5, block_bytes(7)), 37);
    }
}
