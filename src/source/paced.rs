//! Sources that make their rows by number: dealt to shards in pieces, flat out or in real time.

use std::sync::Arc;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::cuts::{Gate, Pass};
use super::numbering::Numbering;
use super::supply::{Mark, Pace};
use super::{Content, Extent, HEARTBEAT_MS, Opened, Opening, Piece, Polled, Reader, Resume, SourceError};
use crate::record::{BadRecord, Barrier, Batch};
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

impl Rows {
    /// How many rows a piece has. Paced rows come in pieces of a millisecond, so that none waits longer than that for
    /// the others of its piece.
    fn per_piece(&self) -> u64 {
        self.rate.map_or(Batch::ROWS_MAX as u64, |rate| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "clamped to what a batch holds"
            )]
            let per_ms = (rate / 1000.0).clamp(1.0, Batch::ROWS_MAX as f64) as u64;
            per_ms
        })
    }

    /// How many rows are in the pieces before `piece`.
    fn before(&self, piece: u64) -> u64 {
        piece.saturating_mul(self.per_piece()).min(self.total.unwrap_or(u64::MAX))
    }
}

/// The position of a source that makes its rows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    /// How many rows are before the barrier.
    rows: u64,
    /// How many rows a piece had.
    rows_per_piece: u64,
    /// The event time of row 0, microseconds since 1970, where the source makes it.
    start_us: Option<i64>,
}

impl Recorded {
    fn of(resume: &Resume) -> Result<Self, SourceError> {
        serde_json::from_value(resume.position.clone())
            .map_err(|error| SourceError::Position(error.to_string()))
    }

    /// The piece that the rows behind these begin with, which the barrier called `piece`.
    fn piece(&self, piece: u64, rows: &Rows) -> Result<u64, SourceError> {
        let per_piece = rows.per_piece();
        if per_piece == self.rows_per_piece {
            return Ok(piece);
        }
        if self.rows.is_multiple_of(per_piece) || rows.total.is_some_and(|total| self.rows >= total) {
            return Ok(self.rows.div_ceil(per_piece));
        }
        Err(SourceError::Rate { rows: self.rows, before: self.rows_per_piece, now: per_piece })
    }
}

/// The event time of row 0 in the run that is gone on with, microseconds since 1970; none at the beginning.
///
/// # Errors
///
/// If the position is none of such a source.
pub(super) fn resumed_start_us(opening: &Opening) -> Result<Option<i64>, SourceError> {
    let Some(resume) = &opening.resume else { return Ok(None) };
    Ok(Recorded::of(resume)?.start_us)
}

/// One reader per shard over the rows that `make` makes; `start_us` is the event time of row 0 where the source makes
/// it.
///
/// # Errors
///
/// If it cannot be gone on from the position.
pub(super) fn open(
    source: &str,
    rows: Rows,
    start_us: Option<i64>,
    make: &Make,
    opening: &Opening,
) -> Result<Opened, SourceError> {
    let (rows, begin_us) = match &opening.supply {
        Some(supply) => (Rows { total: None, rate: supply.rate }, supply.begin_us),
        None => (rows, opening.start.monotonic_us),
    };
    // Where a silence is to be filled, a piece has numbers before its own for empty ones.
    let blocks = if opening.heartbeat && rows.rate.is_some() { BLOCKS_PER_PIECE } else { 1 };
    let numbering = Numbering::of(opening, blocks);
    let numbering = match &opening.resume {
        Some(resume) => numbering.beginning_with(Recorded::of(resume)?.piece(resume.barrier.piece, &rows)?),
        None => numbering,
    };
    let shards = opening.bells.len();
    let readers = (0..shards).map(|shard| {
        let reader = RowReader {
            source: source.into(),
            make: make.clone(),
            rows,
            shards: shards as u64,
            numbering,
            next: numbering.first_piece(shard, shards),
            start_us: begin_us,
            gate: opening.gate(shard, numbering),
            pace: opening.supply.as_ref().and_then(|supply| supply.pace(shard)),
            beats: 0,
            beat_us: opening.start.monotonic_us,
            empty: RecordBatch::new_empty(opening.columns.arrow().clone()),
        };
        Box::new(reader) as Box<dyn Reader + Send>
    });
    let position = move |barrier: Barrier| {
        let recorded =
            Recorded { rows: rows.before(barrier.piece), rows_per_piece: rows.per_piece(), start_us };
        Ok(serde_json::to_value(recorded).expect("numbers are JSON"))
    };
    Ok(Opened {
        readers: readers.collect(),
        splits: vec![source.into()],
        extent: rows.total.map(Extent::Rows),
        done: rows.before(numbering.start()),
        numbering,
        position: Box::new(position),
    })
}

struct RowReader {
    source: Arc<str>,
    make: Make,
    rows: Rows,
    shards: u64,
    /// All but the last number of a piece are for empty pieces sent while it is waited for.
    numbering: Numbering,
    /// The number of the shard's next piece.
    next: u64,
    start_us: u64,
    gate: Gate,
    /// Marks the pieces of a benchmark.
    pace: Option<Pace>,
    /// How many of the next piece's numbers have been sent before it, and when something was sent last.
    beats: u64,
    beat_us: u64,
    empty: RecordBatch,
}

impl Reader for RowReader {
    fn poll(&mut self, now: Now) -> Result<Polled, SourceError> {
        let from = self.rows.before(self.next);
        let left = self.rows.total.map_or(u64::MAX, |total| total - from);
        // Even no rows at all are one piece, which ends the split.
        if left == 0 && self.next > 0 {
            let pass = self.gate.finish();
            return Ok(self.told(pass));
        }
        let count = left.min(self.rows.per_piece());
        if let Some(rate) = self.rows.rate {
            let due_us = self.due_us(from + count.saturating_sub(1), rate);
            if now.monotonic_us < due_us {
                return Ok(self.wait(now, due_us, rate));
            }
        }
        let number = self.number();
        let pass = self.gate.pass(number..self.numbering.numbers(self.next).end);
        if pass != Pass::Read {
            return Ok(self.told(pass));
        }
        let (rows, rejected) = (self.make)(from, usize::try_from(count).expect("a piece is one batch"), now);
        if let Some(pace) = self.pace.as_ref().filter(|_| count > 0) {
            pace.mark(Mark {
                last: self.numbering.numbers(self.next).end - 1,
                records: count,
                first_us: pace.due_us(from),
                last_us: pace.due_us(from + count - 1),
            });
        }
        self.next += self.shards;
        (self.beats, self.beat_us) = (0, now.monotonic_us);
        Ok(Polled::Piece(Piece {
            number,
            next: self.number(),
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
    /// The first number that has not been sent.
    fn number(&self) -> u64 {
        self.numbering.number(self.next).saturating_add(self.beats)
    }

    /// When row `number` is due, of [`Now::monotonic_us`]. The first row of this run is due at once: what a restart
    /// takes is not caught up with.
    fn due_us(&self, number: u64, rate: f64) -> u64 {
        let first = self.rows.before(self.numbering.start());
        self.start_us + due_after_us(number, rate).saturating_sub(due_after_us(first, rate))
    }

    /// What the gate said, where it is not to read.
    fn told(&mut self, pass: Pass) -> Polled {
        match pass {
            Pass::Read | Pass::Wait => Polled::Wait(None),
            Pass::Barrier(barrier) => {
                // Numbers before the cut that were not used are left out.
                let number = self.numbering.number(self.next);
                self.beats = self.beats.max(barrier.number.saturating_sub(number));
                Polled::Barrier(barrier)
            }
            Pass::End => Polled::End,
        }
    }

    /// Waits until the next piece is due. Where the silence is to be filled, the shard whose piece is the next of all
    /// sends an empty one from time to time: what another sent would only wait for that shard's turn.
    fn wait(&mut self, now: Now, due_us: u64, rate: f64) -> Polled {
        let number = self.number();
        if let Some(pass) = self.gate.look(number) {
            return self.told(pass);
        }
        let before = self.rows.before(self.next).checked_sub(1);
        let turn_us = before.map_or(0, |row| self.due_us(row, rate));
        if self.beats + 1 >= self.numbering.blocks() {
            return Polled::Wait(Some(due_us));
        }
        let beat_us = turn_us.max(self.beat_us) + HEARTBEAT_MS * 1000;
        if now.monotonic_us < beat_us {
            return Polled::Wait(Some(due_us.min(beat_us)));
        }
        let pass = self.gate.pass(number..number + 1);
        if pass != Pass::Read {
            return self.told(pass);
        }
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
mod tests;
