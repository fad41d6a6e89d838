//! What a keyed operator sends: rows and block ends, in the order of the input, with the watermark behind the step.

use std::collections::VecDeque;

use arrow::array::{Int8Array, Int64Array, RecordBatch};

use crate::record::{Batch, BlockEnd, EventTimes, Schema, Segment};
use crate::time::{SegmentClock, WATERMARK_MAX, WATERMARK_MIN};

/// The event time of a row and the watermark that the rows before it have made, milliseconds.
pub(super) fn time_and_watermark_ms(batch: &Batch, row: usize, clock: &SegmentClock) -> (i64, i64) {
    let times = batch.times.as_ref().expect("the step was resolved with event time");
    let seen_ms = times.seen_ms.as_ref().map_or(i64::MIN, |seen| seen.value(row));
    (times.at_ms.value(row), clock.watermark_ms(seen_ms))
}

/// Output that is ready, in order.
pub(super) struct Queue {
    ready: VecDeque<Batch>,
    /// Block ends behind the rows that are ready.
    ends: Vec<Segment>,
    watermark_ms: i64,
    timed: bool,
    empty: RecordBatch,
}

impl Queue {
    /// An empty queue of rows of this schema; `timed` says whether rows have event times.
    pub fn new(schema: &Schema, timed: bool) -> Self {
        let empty = RecordBatch::new_empty(schema.arrow().clone());
        let (ready, ends) = (VecDeque::new(), Vec::new());
        Self { ready, ends, watermark_ms: WATERMARK_MIN, timed, empty }
    }

    /// The watermark at the block end passed last, milliseconds.
    pub fn watermark_ms(&self) -> i64 {
        self.watermark_ms
    }

    /// Adds rows caused by block `number`. The times are those of the rows; without them the queue is not timed.
    pub fn rows(
        &mut self,
        number: u64,
        rows: &RecordBatch,
        weights: Option<&Int8Array>,
        at_ms: Option<&[i64]>,
    ) {
        let mut from = 0;
        while from < rows.num_rows() {
            let count = Batch::ROWS_MAX.min(rows.num_rows() - from);
            let mut batch = Batch::of_rows(rows.slice(from, count), number);
            batch.weights = weights.map(|weights| weights.slice(from, count));
            let times = |at_ms: &[i64]| Int64Array::from(at_ms[from..from + count].to_vec());
            batch.times = at_ms.map(|at_ms| EventTimes { at_ms: times(at_ms), seen_ms: None });
            self.batch(batch);
            from += count;
        }
    }

    /// Adds rows with their segments, of which those that end their block have been made by [`Queue::end_of`].
    pub fn batch(&mut self, mut batch: Batch) {
        debug_assert_eq!(batch.times.is_some(), self.timed, "all rows have times, or none has");
        let mut segments = std::mem::take(&mut self.ends);
        segments.append(&mut batch.segments);
        self.ready.push_back(Batch { segments, ..batch });
    }

    /// Adds ends without rows, made by [`Queue::end_of`].
    pub fn ends(&mut self, mut segments: Vec<Segment>) {
        self.ends.append(&mut segments);
    }

    /// Moves the watermark to that at the end of a block; whether it moved.
    pub fn advance(&mut self, clock: &SegmentClock) -> bool {
        let before_ms = self.watermark_ms;
        self.watermark_ms = clock.after_ms.map_or(before_ms, |after_ms| after_ms.max(before_ms));
        self.watermark_ms > before_ms
    }

    /// Moves the watermark, which never goes back.
    pub fn advance_to(&mut self, watermark_ms: i64) {
        self.watermark_ms = self.watermark_ms.max(watermark_ms);
    }

    /// Ends block `number`, behind the rows added so far.
    pub fn end(&mut self, number: u64, end: &BlockEnd) {
        let end = Some(self.end_of(number, end));
        self.ends.push(Segment { rows: 0, number, split: 0, end });
    }

    /// The end of block `number` behind the step, with the watermark as it is now.
    pub fn end_of(&self, number: u64, end: &BlockEnd) -> BlockEnd {
        let through = if end.through == Segment::LAST { Segment::LAST } else { number };
        let finished = self.watermark_ms == WATERMARK_MAX;
        BlockEnd { through, max_time_ms: self.watermark_ms, finished, idle: false }
    }

    /// Whether nothing is ready but ends.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// The next batch.
    pub fn pull(&mut self) -> Option<Batch> {
        if let Some(batch) = self.ready.pop_front() {
            return Some(batch);
        }
        if self.ends.is_empty() {
            return None;
        }
        let mut batch = Batch::of_rows(self.empty.clone(), 0);
        let none = || EventTimes { at_ms: Int64Array::from(Vec::<i64>::new()), seen_ms: None };
        batch.times = self.timed.then(none);
        batch.segments = std::mem::take(&mut self.ends);
        Some(batch)
    }
}
