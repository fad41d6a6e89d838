//! A batch that a windowed operator works off row by row, and the time that its rows count at.

use super::tally::{Aggregate, Inputs};
use crate::operator::key_bytes::KeyBytes;
use crate::operator::queue::{Queue, time_and_watermark_ms};
use crate::operator::work::position_of;
use crate::record::{Batch, KeyCodec, Segment};
use crate::time::{SegmentClock, WATERMARK_MAX, WATERMARK_MIN};

/// The batch, and how far it has been worked off.
pub(super) struct Work {
    pub batch: Batch,
    pub inputs: Inputs,
    /// The next row.
    pub row: usize,
    /// Rows found to be late.
    pub late: Vec<u32>,
    keys: KeyBytes,
    segment: usize,
    /// The first row behind the segment.
    behind: usize,
}

impl Work {
    /// A batch behind an exchange by the columns at these positions.
    pub fn new(batch: Batch, columns: &[usize], codec: &KeyCodec, aggregates: &[Aggregate]) -> Self {
        debug_assert_eq!(batch.clocks.len(), batch.segments.len(), "an inbox has set the clocks");
        let keys = KeyBytes::of(&batch, columns, codec);
        let inputs = Inputs::of(&batch, aggregates);
        let behind = batch.segments.first().map_or(0, |first| first.rows as usize);
        Self { batch, inputs, row: 0, late: Vec::new(), keys, segment: 0, behind }
    }

    /// The segment that is worked off, with its clock; none behind the last.
    pub fn segment(&self) -> Option<(Segment, SegmentClock)> {
        Some((*self.batch.segments.get(self.segment)?, self.batch.clocks[self.segment]))
    }

    /// The next row of the segment; none behind its last.
    pub fn next_row(&self) -> Option<u32> {
        (self.row < self.behind).then(|| position_of(self.row))
    }

    /// Goes on to the next segment.
    pub fn leave_segment(&mut self) {
        self.segment += 1;
        self.behind += self.batch.segments.get(self.segment).map_or(0, |next| next.rows as usize);
    }

    /// The hashes and the bytes of the keys of all rows.
    pub fn keys(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.keys.of_rows(&self.batch)
    }

    /// The hash and the bytes of a row's key.
    pub fn key(&self, row: u32) -> (u64, &[u8]) {
        let hashes = self.batch.hashes.as_ref().expect("an exchange has hashed the keys");
        (hashes.value(row as usize), self.keys.key(row as usize))
    }
}

/// The time that rows count at: their event time, or the wall clock's.
#[derive(Clone, Copy)]
pub(super) enum RowClock {
    Event,
    /// Milliseconds; never goes back, although the clock may be set back.
    Wall(i64),
}

impl RowClock {
    pub fn new(by_wall_clock: bool) -> Self {
        if by_wall_clock { Self::Wall(WATERMARK_MIN) } else { Self::Event }
    }

    /// Takes note of the wall clock.
    pub fn see(&mut self, now_ms: i64) {
        if let Self::Wall(wall_ms) = self {
            *wall_ms = now_ms.max(*wall_ms);
        }
    }

    /// The latest time of the wall clock taken note of, milliseconds; [`WATERMARK_MIN`] where it plays no part.
    pub fn wall_ms(&self) -> i64 {
        match self {
            Self::Event => WATERMARK_MIN,
            Self::Wall(wall_ms) => *wall_ms,
        }
    }

    /// The time of the next row and the watermark that it meets, milliseconds.
    pub fn row_ms(&self, work: &Work, clock: &SegmentClock) -> (i64, i64) {
        match self {
            Self::Event => time_and_watermark_ms(&work.batch, work.row, clock),
            Self::Wall(wall_ms) => (*wall_ms, WATERMARK_MIN),
        }
    }

    /// Moves the step's watermark to that at the end of a block, milliseconds, and yields it.
    pub fn end_block(&self, clock: &SegmentClock, queue: &mut Queue) -> i64 {
        match self {
            Self::Wall(wall_ms) if clock.after_ms != Some(WATERMARK_MAX) => {
                queue.advance_to(wall_ms.saturating_sub(1));
            }
            _ => {
                queue.advance(clock);
            }
        }
        queue.watermark_ms()
    }
}
