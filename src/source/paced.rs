//! Sources that make their rows by number: dealt to shards in pieces, flat out or in real time.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::{Content, Extent, Gate, HEARTBEAT_MS, Opened, Opening, Piece, Polled, Reader, SourceError};
use crate::record::{BadRecord, Batch};
use crate::time::Now;

/// Makes the rows `from..from + count` of a source at a time, and says which of them could not be made.
pub(super) type Make = Arc<dyn Fn(u64, usize, Now) -> (RecordBatch, Vec<BadRecord>) + Send + Sync>;

/// How many block numbers a piece has where silences are filled: enough for a day between two rows.
const BLOCKS_PER_PIECE: u64 = 1 << 20;

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
    // Where a silence is to be filled, a piece has numbers before its own for empty ones.
    let blocks = if opening.heartbeat && rows.rate.is_some() { BLOCKS_PER_PIECE } else { 1 };
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
            blocks,
            beats: 0,
            beat_us: opening.start.monotonic_us,
            empty: RecordBatch::new_empty(opening.columns.arrow().clone()),
        };
        Box::new(reader) as Box<dyn Reader + Send>
    });
    Opened {
        readers: readers.collect(),
        splits: vec![source.into()],
        extent: rows.total.map(Extent::Rows),
        first: (0..shards).map(|shard| shard * blocks).collect(),
        position: Box::new(|_| Ok(serde_json::Value::Null)),
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
    /// How many block numbers a piece has: all but the last are for empty pieces sent while it is waited for.
    blocks: u64,
    /// How many of them have been sent before the next piece, and when something was sent last.
    beats: u64,
    beat_us: u64,
    empty: RecordBatch,
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
                return Ok(self.wait(now, due_us, rate));
            }
        }
        if !self.gate.enter(self.next) {
            return Ok(Polled::Wait(None));
        }
        let (rows, rejected) = (self.make)(from, usize::try_from(count).expect("a piece is one batch"), now);
        let number = self.next * self.blocks + self.beats;
        self.next += self.shards;
        (self.beats, self.beat_us) = (0, now.monotonic_us);
        Ok(Polled::Piece(Piece {
            number,
            next: self.next * self.blocks,
            split: 0,
            finished: left == count,
            idle: false,
            source: self.source.clone(),
            content: Content::Rows(rows),
            rejected,
            bytes: 0,
            arrived_ms: None,
        }))
    }
}

impl RowReader {
    /// Waits until the next piece is due. Where the silence is to be filled, the shard whose piece is the next of all
    /// sends an empty one from time to time: what another sent would only wait for that shard's turn.
    fn wait(&mut self, now: Now, due_us: u64, rate: f64) -> Polled {
        let before = (self.next * self.per_piece).checked_sub(1);
        let turn_us = before.map_or(0, |row| self.start_us + due_after_us(row, rate));
        if self.blocks == 1 || self.beats + 1 == self.blocks {
            return Polled::Wait(Some(due_us));
        }
        let beat_us = turn_us.max(self.beat_us) + HEARTBEAT_MS * 1000;
        if now.monotonic_us < beat_us {
            return Polled::Wait(Some(due_us.min(beat_us)));
        }
        let number = self.next * self.blocks + self.beats;
        self.beats += 1;
        self.beat_us = now.monotonic_us;
        Polled::Piece(Piece {
            number,
            next: number + 1,
            split: 0,
            finished: false,
            idle: false,
            source: self.source.clone(),
            content: Content::Rows(self.empty.clone()),
            rejected: Vec::new(),
            bytes: 0,
            arrived_ms: None,
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Schema;
    use crate::source::Stop;

    /// The numbers that the readers of two shards end, stepped through time, as (time in ms, shard, from, through, rows).
    fn paced(heartbeat: bool, rate: f64, until_ms: u64) -> Vec<(u64, usize, u64, u64, usize)> {
        let schema = Schema::new(vec![]);
        let opening = Opening {
            columns: schema.clone(),
            bells: vec![Arc::default(), Arc::default()],
            stop: Stop::new(2),
            start: Now::default(),
            idle_after_ms: None,
            heartbeat,
            chunk_bytes: crate::source::CHUNK_BYTES,
            resume: None,
        };
        let make: Make = Arc::new(move |_, count, _| (schema.rows(vec![], count), Vec::new()));
        let mut opened = open("test", Rows { total: None, rate: Some(rate) }, &make, &opening);
        let mut pieces = Vec::new();
        for ms in (0..until_ms).step_by(10) {
            let now = Now { monotonic_us: ms * 1000, wall_us: 0 };
            for (shard, reader) in opened.readers.iter_mut().enumerate() {
                while let Polled::Piece(piece) = reader.poll(now).unwrap() {
                    let Content::Rows(rows) = piece.content else { panic!("rows") };
                    pieces.push((ms, shard, piece.number, piece.next - 1, rows.num_rows()));
                }
            }
        }
        pieces
    }

    #[test]
    fn a_silence_is_filled_where_it_is_asked_for() {
        assert_eq!(paced(false, 4.0, 600), [(0, 0, 0, 1, 1), (250, 1, 1, 2, 1), (500, 0, 2, 3, 1)]);
        let w = BLOCKS_PER_PIECE;
        let expect = [
            (0, 0, 0, 2 * w - 1, 1),
            (100, 1, w, w, 0),
            (200, 1, w + 1, w + 1, 0),
            (250, 1, w + 2, 3 * w - 1, 1),
            (350, 0, 2 * w, 2 * w, 0),
            (450, 0, 2 * w + 1, 2 * w + 1, 0),
            (500, 0, 2 * w + 2, 4 * w - 1, 1),
        ];
        assert_eq!(paced(true, 4.0, 600), expect);
        // Rows that are not silent for that long are as they were.
        assert!(paced(true, 100.0, 600).iter().all(|(_, _, _, _, rows)| *rows == 1));
    }
}
