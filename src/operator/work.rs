//! A batch that a keyed operator works off, a segment at a time.

use std::ops::Range;

use super::key_bytes::KeyBytes;
use super::queue::time_and_watermark_ms;
use crate::record::{Batch, KeyCodec, Segment};
use crate::state::Groups;
use crate::time::SegmentClock;

/// A row's position in its batch, as Arrow's kernels count.
pub(super) fn position_of(row: usize) -> u32 {
    u32::try_from(row).expect("a batch is far below 4 G rows")
}

/// The batch, its keys, and how far it has been worked off.
pub(super) struct Work {
    /// The rows.
    pub batch: Batch,
    keys: KeyBytes,
    segment: usize,
    row: usize,
}

impl Work {
    /// A batch behind an exchange by the columns at these positions.
    pub fn new(batch: Batch, columns: &[usize], codec: &KeyCodec) -> Self {
        debug_assert_eq!(batch.clocks.len(), batch.segments.len(), "an inbox has set the clocks");
        let keys = KeyBytes::of(&batch, columns, codec);
        Self { batch, keys, segment: 0, row: 0 }
    }

    /// The next segment with its clock and its rows.
    pub fn next(&mut self) -> Option<(Segment, SegmentClock, Range<usize>)> {
        let segment = *self.batch.segments.get(self.segment)?;
        let clock = self.batch.clocks[self.segment];
        let rows = self.row..self.row + segment.rows as usize;
        self.segment += 1;
        self.row = rows.end;
        Some((segment, clock, rows))
    }

    /// The hash and the bytes of a row's key.
    pub fn key(&self, row: usize) -> (u64, &[u8]) {
        let hashes = self.batch.hashes.as_ref().expect("an exchange has hashed the keys");
        (hashes.value(row), self.keys.key(row))
    }

    /// The groups that there are of the keys of these rows, one for each row whose key has one.
    pub fn known(&self, groups: &Groups, rows: Range<usize>) -> Vec<u32> {
        let find = |row| {
            let (hash, key) = self.key(row);
            groups.find(hash, key)
        };
        rows.filter_map(find).collect()
    }

    /// The event time of a row, milliseconds; the same for all where there is none.
    pub fn at_ms(&self, row: usize) -> i64 {
        self.batch.times.as_ref().map_or(0, |times| times.at_ms.value(row))
    }

    /// The watermark that a row meets.
    pub fn watermark_ms(&self, row: usize, clock: &SegmentClock) -> i64 {
        time_and_watermark_ms(&self.batch, row, clock).1
    }
}
