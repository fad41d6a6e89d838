//! Pieces of input to batches: framed, decoded, stamped with event time, cut into blocks.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch, UInt64Array};

use super::chunk::block_of;
use super::{Content, Piece};
use crate::codec::framing::frame_lines;
use crate::codec::{Decode, Rejected};
use crate::expr::Expr;
use crate::record::{BadRecord, Batch, BlockEnd, EventTimes, Origin, Segment};

/// Where the event time of a source's records comes from.
#[derive(Clone, Debug)]
pub struct TimeOf {
    /// An expression over the source's columns that yields a timestamp.
    pub expression: Expr,
    /// How far rows may be out of order, milliseconds.
    pub out_of_order_ms: i64,
    /// After which time a silent live split no longer holds the others back, milliseconds.
    pub idle_after_ms: i64,
    /// How far ahead of its arrival a live record may be, milliseconds; none where that does not matter.
    pub max_future_ms: Option<i64>,
}

/// Turns the pieces of one shard into batches.
pub struct Ingest {
    decoder: Option<Box<dyn Decode>>,
    time: Option<TimeOf>,
    current: Option<Current>,
    /// The records of the current piece.
    spans: Vec<u64>,
    failed: Vec<Rejected>,
}

/// The piece that is worked off.
struct Current {
    piece: Piece,
    /// How many records it has, and how many of them have been decoded.
    records: usize,
    done: usize,
    per_batch: usize,
    /// The block of the last row, and the highest event time in it so far.
    block: u64,
    block_max_ms: i64,
}

impl Ingest {
    /// An ingest that decodes with `decoder` (none where pieces bring rows).
    #[must_use]
    pub fn new(decoder: Option<Box<dyn Decode>>, time: Option<TimeOf>) -> Self {
        Self { decoder, time, current: None, spans: Vec::new(), failed: Vec::new() }
    }

    /// Takes a piece, after [`Ingest::next`] has returned none. Returns how many records it has.
    pub fn begin(&mut self, piece: Piece) -> usize {
        debug_assert!(self.current.is_none(), "the piece before is worked off");
        self.spans.clear();
        let records = match &piece.content {
            Content::Bytes { buffer, range, .. } => {
                frame_lines(&buffer[range.clone()], &mut self.spans);
                self.spans.len()
            }
            Content::Rows(rows) => rows.num_rows(),
        };
        // Batches of one size, rather than full ones and a rest.
        let per_batch = records.div_ceil(records.div_ceil(Batch::ROWS_MAX).max(1));
        let total = records + piece.rejected.len();
        let block = piece.number;
        self.current = Some(Current { piece, records, done: 0, per_batch, block, block_max_ms: i64::MIN });
        total
    }

    /// The next batch of the piece, and the piece's buffer once that is worked off. Records that are no good go to
    /// `rejected`.
    pub fn next(&mut self, rejected: &mut Vec<BadRecord>) -> Option<(Batch, Option<Arc<Vec<u8>>>)> {
        let mut current = self.current.take()?;
        rejected.append(&mut current.piece.rejected);
        let mut batch = self.decode(&mut current, rejected);
        let mut late_after_ms = 0;
        if let Some(time) = &self.time {
            batch = stamp(batch, time, &current.piece, rejected);
            late_after_ms = time.out_of_order_ms;
        }
        current.cut(&mut batch, late_after_ms);
        if current.done < current.records {
            self.current = Some(current);
            return Some((batch, None));
        }
        current.end(&mut batch);
        match current.piece.content {
            Content::Bytes { buffer, .. } => Some((batch, Some(buffer))),
            Content::Rows(_) => Some((batch, None)),
        }
    }

    /// The next rows.
    fn decode(&mut self, current: &mut Current, rejected: &mut Vec<BadRecord>) -> Batch {
        let from = current.done;
        let count = current.per_batch.min(current.records - from);
        current.done += count;
        match &current.piece.content {
            Content::Rows(rows) => Batch::of_rows(rows.slice(from, count), current.block),
            Content::Bytes { buffer, range, position, .. } => {
                let spans = &self.spans[from..from + count];
                let decoder = self.decoder.as_mut().expect("a source of bytes has a decoder");
                self.failed.clear();
                let rows = decoder.decode(&buffer[range.clone()], spans, &mut self.failed);
                let origin = Origin {
                    source: current.piece.source.clone(),
                    base: *position,
                    bytes: buffer.clone(),
                    from: range.start,
                    spans: spans.to_vec().into(),
                };
                let mut batch = Batch::of_rows(rows, current.block);
                batch.origin = Some(set_aside(origin, &self.failed, rejected));
                batch
            }
        }
    }
}

/// Sends the records that could not be decoded to `rejected`; the origin of the others.
fn set_aside(origin: Origin, failed: &[Rejected], rejected: &mut Vec<BadRecord>) -> Origin {
    if failed.is_empty() {
        return origin;
    }
    let mut keep = vec![true; origin.spans.len()];
    for failure in failed {
        let row = failure.record as usize;
        keep[row] = false;
        rejected.push(bad_record(&origin, row, "decode", failure.reason.clone()));
    }
    let kept = origin.spans.values().iter().zip(keep).filter(|(_, keep)| *keep).map(|(span, _)| *span);
    let spans = UInt64Array::from_iter_values(kept);
    Origin { spans, ..origin }
}

fn bad_record(origin: &Origin, row: usize, error: &'static str, message: String) -> BadRecord {
    let (position, raw) = origin.raw(row);
    BadRecord { source: origin.source.clone(), position, error, message, raw: raw.to_vec() }
}

/// Sets the batch's event times; rows without a usable one are taken out and sent to `rejected`.
fn stamp(batch: Batch, time: &TimeOf, piece: &Piece, rejected: &mut Vec<BadRecord>) -> Batch {
    // Event time never comes from the clock: such an expression is refused where it is declared.
    let evaluated = time.expression.evaluate_at(&batch.rows, 0);
    let times = EventTimes::milliseconds(&evaluated.values);
    let mut reasons: Vec<Option<(&'static str, String)>> = vec![None; batch.len()];
    for (row, message) in evaluated.failed {
        reasons[row as usize] = Some(("event_time", message));
    }
    let latest_ms =
        piece.arrived_ms.zip(time.max_future_ms).map(|(arrived, ahead)| arrived.saturating_add(ahead));
    for (row, reason) in reasons.iter_mut().enumerate().filter(|(_, reason)| reason.is_none()) {
        if times.is_null(row) {
            *reason = Some(("event_time", "the event time is NULL".to_owned()));
        } else if latest_ms.is_some_and(|latest| times.value(row) > latest) {
            let message = "the event time is further ahead of the record's arrival than max_future allows";
            *reason = Some(("future", message.to_owned()));
        }
    }
    let keep: BooleanArray = reasons.iter().map(|reason| Some(reason.is_none())).collect();
    for (row, reason) in reasons.into_iter().enumerate() {
        let Some((error, message)) = reason else { continue };
        rejected.push(match &batch.origin {
            Some(origin) => bad_record(origin, row, error, message),
            None => BadRecord { source: piece.source.clone(), position: 0, error, message, raw: Vec::new() },
        });
    }
    let at_ms: Int64Array =
        if times.null_count() == 0 { times } else { times.iter().map(|at| at.or(Some(0))).collect() };
    Batch { times: Some(EventTimes { at_ms, seen_ms: None }), ..batch }.filter(&keep)
}

impl Current {
    /// Cuts the batch's rows into the piece's blocks. Where rows are so far behind the rows before them in their block
    /// that this alone may make them late, attaches what those had reached.
    fn cut(&mut self, batch: &mut Batch, late_after_ms: i64) {
        let at_ms = batch.times.as_ref().map(|times| times.at_ms.clone());
        let mut segments = Vec::new();
        let mut rows = 0;
        let mut seen_ms = Vec::with_capacity(if at_ms.is_some() { batch.len() } else { 0 });
        let mut behind = false;
        for row in 0..batch.len() {
            let block = self.block_of(batch, row);
            if block != self.block {
                segments.push(self.segment(rows, Some(block - 1), false));
                rows = 0;
                self.block = block;
                self.block_max_ms = i64::MIN;
            }
            rows += 1;
            if let Some(at_ms) = &at_ms {
                let at = at_ms.value(row);
                seen_ms.push(self.block_max_ms);
                // One more: a session that ends where this row begins may be over although the row is not late.
                behind |= self.block_max_ms != i64::MIN
                    && self.block_max_ms.saturating_sub(at) >= late_after_ms.saturating_sub(1);
                self.block_max_ms = self.block_max_ms.max(at);
            }
        }
        segments.push(self.segment(rows, None, false));
        batch.segments = segments;
        if let Some(times) = &mut batch.times {
            times.seen_ms = behind.then(|| Int64Array::from(seen_ms));
        }
    }

    fn block_of(&self, batch: &Batch, row: usize) -> u64 {
        match (&self.piece.content, &batch.origin) {
            (Content::Bytes { position, start, block_bytes, .. }, Some(origin)) => {
                let distance = position - start + (origin.spans.value(row) >> 32);
                block_of(self.piece.number, distance, *block_bytes)
            }
            _ => self.block,
        }
    }

    /// Ends the piece behind the batch's last row.
    fn end(&self, batch: &mut Batch) {
        let last = batch.segments.pop().expect("a batch of the ingest has a segment");
        batch.segments.push(self.segment(last.rows, Some(self.piece.next - 1), self.piece.finished));
    }

    fn segment(&self, rows: u32, through: Option<u64>, finished: bool) -> Segment {
        let idle = self.piece.idle;
        let end = through.map(|through| BlockEnd { through, max_time_ms: self.block_max_ms, finished, idle });
        Segment { rows, number: self.block, split: self.piece.split, end }
    }
}

/// A batch of no rows that ends the shard's lanes.
#[must_use]
pub fn last_batch(rows: RecordBatch, timed: bool) -> Batch {
    let mut batch = Batch::of_rows(rows, Segment::LAST);
    batch.times = timed.then(|| EventTimes { at_ms: Int64Array::from(Vec::<i64>::new()), seen_ms: None });
    batch.segments = vec![Segment::last()];
    batch
}
