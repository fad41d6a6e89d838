//! Sources that make their rows by number: dealt to shards in pieces, flat out or in real time.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::{Content, Extent, Gate, Opened, Opening, Piece, Polled, Reader, SourceError};
use crate::record::{BadRecord, Batch};
use crate::time::Now;

/// Makes the rows `from..from + count` of a source at a time, and says which of them could not be made.
pub(super) type Make = Arc<dyn Fn(u64, usize, Now) -> (RecordBatch, Vec<BadRecord>) + Send + Sync>;

/// How many rows there are, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// None for rows without end.
    pub total: Option<u64>,
    /// Rows a second, in real time; none for as fast as they are taken.
    pub rate: Option<f64>,
}

/// One reader per shard over the rows that `make` makes.
pub(super) fn open(source: &str, rows: Rows, make: &Make, opening: &Opening) -> Opened {
    let shards = opening.bells.len() as u64;
    // Paced rows come in pieces of a millisecond, so that none waits longer than that for the others of its piece.
    let per_piece = rows.rate.map_or(Batch::ROWS_MAX as u64, |rate| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "clamped to what a batch holds"
        )]
        let per_ms = (rate / 1000.0).clamp(1.0, Batch::ROWS_MAX as f64) as u64;
        per_ms
    });
    let readers = (0..shards).map(|shard| {
        let reader = RowReader {
            source: source.into(),
            make: make.clone(),
            rows,
            per_piece,
            shards,
            next: shard,
            start_us: opening.start.monotonic_us,
            gate: opening.stop.gate(usize::try_from(shard).expect("a shard")),
        };
        Box::new(reader) as Box<dyn Reader + Send>
    });
    Opened {
        readers: readers.collect(),
        splits: 1,
        extent: rows.total.map(Extent::Rows),
        first: (0..shards).collect(),
    }
}

struct RowReader {
    source: Arc<str>,
    make: Make,
    rows: Rows,
    per_piece: u64,
    shards: u64,
    /// The number of the shard's next piece.
    next: u64,
    start_us: u64,
    gate: Gate,
}

impl Reader for RowReader {
    fn poll(&mut self, now: Now) -> Result<Polled, SourceError> {
        let from = self.next.saturating_mul(self.per_piece);
        let left = self.rows.total.map_or(u64::MAX, |total| total.saturating_sub(from));
        // Even no rows at all are one piece, which ends the split.
        if self.gate.is_over(self.next) || (left == 0 && self.next > 0) {
            return Ok(Polled::End);
        }
        let count = left.min(self.per_piece);
        if let Some(rate) = self.rows.rate {
            let due_us = self.start_us + due_after_us(from + count.saturating_sub(1), rate);
            if now.monotonic_us < due_us {
                return Ok(Polled::Wait(Some(due_us)));
            }
        }
        if !self.gate.enter(self.next) {
            return Ok(Polled::Wait(None));
        }
        let (rows, rejected) = (self.make)(from, usize::try_from(count).expect("a piece is one batch"), now);
        let number = self.next;
        self.next += self.shards;
        Ok(Polled::Piece(Piece {
            number,
            next: self.next,
            split: 0,
            finished: left == count,
            source: self.source.clone(),
            content: Content::Rows(rows),
            rejected,
            bytes: 0,
            arrived_ms: None,
        }))
    }
}

/// When row `number` is due, microseconds after the start.
pub(super) fn due_after_us(number: u64, rate: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a microsecond more or less after 2^53 rows does not matter, and the cast saturates"
    )]
    let due_us = (number as f64 * 1e6 / rate) as u64;
    due_us
}
