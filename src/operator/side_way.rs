//! A side stream that goes on in its stage: rows that leave an operator beside its output, put into the blocks in which
//! they came to it.
//!
//! Whatever comes behind it needs to know which blocks have ended, as behind any operator. So the ends of the blocks that the
//! operator takes are passed on, with the operator's watermark, once it has made all that it makes of a batch.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat, concat_batches, take, take_record_batch};

use super::network::SideWiring;
use super::{SideRows, work};
use crate::record::{Batch, BlockEnd, EventTimes, Segment};
use crate::time::{WATERMARK_MAX, WATERMARK_MIN};

/// One of them on one shard.
pub(super) struct SideWay {
    /// The place of the operator.
    pub operator: usize,
    stream: Arc<str>,
    pub targets: Vec<super::Target>,
    empty: RecordBatch,
    /// The segments of the batch that the operator works off, as they are passed on; none behind it.
    segments: Option<Vec<Segment>>,
    timed: bool,
    /// What has left it of that batch.
    rows: Vec<SideRows>,
    /// The watermark at the end of the last block, milliseconds.
    watermark_ms: i64,
}

impl SideWay {
    pub fn new(wiring: &SideWiring) -> Self {
        Self {
            operator: wiring.operator,
            stream: wiring.stream.clone(),
            targets: wiring.targets.clone(),
            empty: RecordBatch::new_empty(wiring.schema.arrow().clone()),
            segments: None,
            timed: false,
            rows: Vec::new(),
            watermark_ms: WATERMARK_MIN,
        }
    }

    /// The operator takes a batch.
    pub fn begin(&mut self, batch: &Batch) {
        debug_assert!(self.segments.is_none(), "it has made all of the batch before");
        debug_assert_eq!(batch.clocks.len(), batch.segments.len(), "an inbox has set the clocks");
        let segments = batch.segments.iter().zip(&batch.clocks).map(|(segment, clock)| {
            let end = segment.end.map(|end| {
                self.watermark_ms = clock.after_ms.map_or(self.watermark_ms, |ms| ms.max(self.watermark_ms));
                let last = end.through == Segment::LAST;
                BlockEnd {
                    through: if last { Segment::LAST } else { segment.number },
                    max_time_ms: self.watermark_ms,
                    finished: self.watermark_ms == WATERMARK_MAX,
                    idle: false,
                }
            });
            Segment { rows: 0, number: segment.number, split: 0, end }
        });
        self.segments = Some(segments.collect());
        self.timed = batch.times.is_some();
    }

    /// What has left the operator of the batch, in its blocks; none where there is neither a row nor the end of a block.
    fn finish(&mut self) -> Option<Batch> {
        let mut segments = self.segments.take()?;
        let parts = std::mem::take(&mut self.rows);
        for segment in parts.iter().flat_map(|part| &part.segments) {
            segments[*segment].rows += 1;
        }
        segments.retain(|segment| segment.rows > 0 || segment.end.is_some());
        if segments.is_empty() {
            return None;
        }
        let (rows, at_ms) = match parts.as_slice() {
            [] => (self.empty.clone(), no_times()),
            [part] => (part.rows.clone(), part.at_ms.clone().unwrap_or_else(no_times)),
            parts => self.joined(parts),
        };
        let mut batch = Batch::of_rows(rows, 0);
        batch.times = self.timed.then_some(EventTimes { at_ms, seen_ms: None });
        batch.segments = segments;
        Some(batch)
    }

    /// Rows of several tellings in the order of their segments.
    fn joined(&self, parts: &[SideRows]) -> (RecordBatch, Int64Array) {
        let all: Vec<usize> = parts.iter().flat_map(|part| part.segments.iter().copied()).collect();
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by_key(|row| all[*row]);
        let order: UInt32Array = order.into_iter().map(work::position_of).collect::<Vec<_>>().into();
        let rows = concat_batches(&self.empty.schema(), parts.iter().map(|part| &part.rows));
        let rows = rows.and_then(|rows| take_record_batch(&rows, &order)).expect("rows of one stream");
        let times: Vec<&dyn arrow::array::Array> =
            parts.iter().filter_map(|part| part.at_ms.as_ref()).map(|at_ms| at_ms as _).collect();
        if times.is_empty() {
            return (rows, no_times());
        }
        let times = concat(&times).and_then(|times| take(&times, &order, None)).expect("a time for each row");
        (rows, times.to_data().into())
    }
}

/// Takes note of what an operator has told beside its output.
pub(super) fn collect(sides: &mut [SideWay], operator: usize, told: &[SideRows]) {
    for side in sides.iter_mut().filter(|side| side.operator == operator) {
        side.rows.extend(told.iter().filter(|rows| rows.stream == side.stream).cloned());
    }
}

/// The first of an operator's side streams that has something to hand on, and that.
pub(super) fn take_side(sides: &mut [SideWay], operator: usize) -> Option<(usize, Batch)> {
    let of_operator = sides.iter_mut().enumerate().filter(|(_, side)| side.operator == operator);
    of_operator.into_iter().find_map(|(place, side)| Some((place, side.finish()?)))
}

fn no_times() -> Int64Array {
    Vec::<i64>::new().into()
}
