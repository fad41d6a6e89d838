//! Pieces of input to batches: framed, decoded, stamped with event time, cut into blocks.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch, UInt64Array};

use super::chunk::block_of;
use super::{Content, Piece};
use crate::codec::{Decode, Rejected};
use crate::expr::Expr;
use crate::record::{BadRecord, Batch, BlockEnd, EventTimes, Origin, Projection, Segment};

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
    kept: Option<Projection>,
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
    /// An ingest that decodes with `decoder` (none where pieces bring rows), and leaves out what only the event time is
    /// made from.
    #[must_use]
    pub fn new(decoder: Option<Box<dyn Decode>>, time: Option<TimeOf>, kept: Option<Projection>) -> Self {
        Self { decoder, time, kept, current: None, spans: Vec::new(), failed: Vec::new() }
    }

    /// Takes a piece, after [`Ingest::next`] has returned none. Returns how many records it has.
    pub fn begin(&mut self, piece: Piece) -> usize {
        debug_assert!(self.current.is_none(), "the piece before is worked off");
        self.spans.clear();
        let records = match &piece.content {
            Content::Bytes { buffer, range, header, .. } => {
                let decoder = self.decoder.as_mut().expect("a source of bytes has a decoder");
                if let Some(header) = header {
                    decoder.begin(header);
                }
                decoder.frame(&buffer[range.clone()], &mut self.spans);
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
        if let Some(kept) = &self.kept {
            batch.rows = kept.apply(&batch.rows);
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
    let latest_ms =
        piece.arrived_ms.zip(time.max_future_ms).map(|(arrived, ahead)| arrived.saturating_add(ahead));
    let is_ahead = |at_ms: &i64| latest_ms.is_some_and(|latest| *at_ms > latest);
    let some_ahead = latest_ms.is_some() && times.values().iter().any(is_ahead);
    if evaluated.failed.is_empty() && times.null_count() == 0 && !some_ahead {
        return Batch { times: Some(EventTimes { at_ms: times, seen_ms: None }), ..batch };
    }
    let mut reasons: Vec<Option<(&'static str, String)>> = vec![None; batch.len()];
    for (row, message) in evaluated.failed {
        reasons[row as usize] = Some(("event_time", message));
    }
    for (row, reason) in reasons.iter_mut().enumerate().filter(|(_, reason)| reason.is_none()) {
        if times.is_null(row) {
            *reason = Some(("event_time", "the event time is NULL".to_owned()));
        } else if is_ahead(&times.value(row)) {
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
        let reached_ms = self.block_max_ms;
        let at_ms = batch.times.as_ref().map(|times| times.at_ms.clone());
        let (mut row, mut first, mut behind) = (0, 0, false);
        batch.segments.clear();
        while row < batch.len() {
            let (block, end) = self.run_of(batch, row);
            if block != self.block {
                batch.segments.push(self.segment(first..row, Some(block - 1), false));
                first = row;
                self.block = block;
                self.block_max_ms = i64::MIN;
            }
            for at_ms in at_ms.iter().flat_map(|at_ms| &at_ms.values()[row..end]) {
                // One more: a session that ends where this row begins may be over although the row is not late.
                behind |= self.block_max_ms != i64::MIN
                    && self.block_max_ms.saturating_sub(*at_ms) >= late_after_ms.saturating_sub(1);
                self.block_max_ms = self.block_max_ms.max(*at_ms);
            }
            row = end;
        }
        batch.segments.push(self.segment(first..row, None, false));
        if let Some(times) = batch.times.as_mut().filter(|_| behind) {
            times.seen_ms = Some(seen_before(&times.at_ms, &batch.segments, reached_ms));
        }
    }

    /// The block of a row, and the first row behind it that may be of another.
    fn run_of(&self, batch: &Batch, row: usize) -> (u64, usize) {
        let (Content::Bytes { position, start, block_bytes, .. }, Some(origin)) =
            (&self.piece.content, &batch.origin)
        else {
            return (self.block, batch.len());
        };
        let distance = |span: &u64| position - start + (span >> 32);
        let spans = &origin.spans.values()[row..];
        let block = block_of(self.piece.number, distance(&spans[0]), *block_bytes);
        let same = |span: &u64| block_of(self.piece.number, distance(span), *block_bytes) == block;
        (block, row + spans.partition_point(same))
    }

    /// Ends the piece behind the batch's last row.
    fn end(&self, batch: &mut Batch) {
        let last = batch.segments.pop().expect("a batch of the ingest has a segment");
        let end = self.segment(0..0, Some(self.piece.next - 1), self.piece.finished).end;
        batch.segments.push(Segment { end, ..last });
    }

    fn segment(&self, rows: Range<usize>, through: Option<u64>, finished: bool) -> Segment {
        let rows = u32::try_from(rows.len()).expect("a batch is far below 4 G rows");
        let idle = self.piece.idle;
        let end = through.map(|through| BlockEnd { through, max_time_ms: self.block_max_ms, finished, idle });
        Segment { rows, number: self.block, split: self.piece.split, end }
    }
}

/// For each row the highest event time of the rows before it in its block, milliseconds; `reached_ms` is that of the rows
/// of the first block that are in batches before.
fn seen_before(at_ms: &Int64Array, segments: &[Segment], reached_ms: i64) -> Int64Array {
    let mut seen_ms = Vec::with_capacity(at_ms.len());
    let mut reached_ms = reached_ms;
    for segment in segments {
        for _ in 0..segment.rows {
            let at_ms = at_ms.value(seen_ms.len());
            seen_ms.push(reached_ms);
            reached_ms = reached_ms.max(at_ms);
        }
        reached_ms = i64::MIN;
    }
    Int64Array::from(seen_ms)
}

/// A batch of no rows that ends the shard's lanes.
#[must_use]
pub fn last_batch(rows: RecordBatch, timed: bool) -> Batch {
    let mut batch = Batch::of_rows(rows, Segment::LAST);
    batch.times = timed.then(|| EventTimes { at_ms: Int64Array::from(Vec::<i64>::new()), seen_ms: None });
    batch.segments = vec![Segment::last()];
    batch
}
