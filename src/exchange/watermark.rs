//! The watermark of a stage: the least over the active splits, each the highest event time seen less the disorder
//! allowed.

use crate::record::{Batch, BlockEnd, Segment};
use crate::time::{SegmentClock, WATERMARK_MAX, WATERMARK_MIN, watermark_of};

/// Folds the ends of blocks, in their order, into one watermark.
#[derive(Clone, Debug)]
pub struct Watermarks {
    out_of_order_ms: i64,
    splits: Vec<Split>,
    current_ms: i64,
}

#[derive(Clone, Copy, Debug)]
struct Split {
    max_ms: i64,
    finished: bool,
}

impl Watermarks {
    /// `splits` splits, none of which has begun.
    #[must_use]
    pub fn new(splits: usize, out_of_order_ms: i64) -> Self {
        let split = Split { max_ms: i64::MIN, finished: false };
        Self { out_of_order_ms, splits: vec![split; splits], current_ms: WATERMARK_MIN }
    }

    /// The watermark now, milliseconds.
    #[must_use]
    pub fn current_ms(&self) -> i64 {
        self.current_ms
    }

    /// Gives every segment of `batch` its clock, folding the block ends as they come.
    pub fn stamp(&mut self, batch: &mut Batch) {
        batch.clocks.clear();
        for segment in &batch.segments {
            batch.clocks.push(self.pass(segment));
        }
    }

    fn pass(&mut self, segment: &Segment) -> SegmentClock {
        let index = segment.split as usize;
        let clock = SegmentClock {
            others_ms: self.least_ms(Some(index)),
            split_max_ms: self.splits.get(index).map_or(i64::MIN, |split| split.max_ms),
            out_of_order_ms: self.out_of_order_ms,
            after_ms: None,
        };
        let after_ms = segment.end.and_then(|end| self.advance(index, &end));
        SegmentClock { after_ms, ..clock }
    }

    /// Folds one block's end; the new watermark where it moved.
    fn advance(&mut self, index: usize, end: &BlockEnd) -> Option<i64> {
        let split = self.splits.get_mut(index)?;
        split.max_ms = split.max_ms.max(end.max_time_ms);
        split.finished |= end.finished;
        let now_ms = self.least_ms(None);
        (now_ms > self.current_ms).then(|| {
            self.current_ms = now_ms;
            now_ms
        })
    }

    fn least_ms(&self, except: Option<usize>) -> i64 {
        let active =
            self.splits.iter().enumerate().filter(|(index, split)| Some(*index) != except && !split.finished);
        active
            .map(|(_, split)| watermark_of(split.max_ms, self.out_of_order_ms))
            .min()
            .unwrap_or(WATERMARK_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(marks: &mut Watermarks, split: u32, max_time_ms: i64, finished: bool) -> Option<i64> {
        let end = Some(BlockEnd { through: 0, max_time_ms, finished });
        marks.pass(&Segment { rows: 0, number: 0, split, end }).after_ms
    }

    #[test]
    fn the_slowest_active_split_holds_the_rest_back() {
        let mut marks = Watermarks::new(2, 4);
        assert_eq!(pass(&mut marks, 0, 100, false), None);
        assert_eq!(pass(&mut marks, 1, 50, false), Some(46));
        assert_eq!(pass(&mut marks, 0, 90, false), None);
        assert_eq!(pass(&mut marks, 1, 50, true), Some(96));
        assert_eq!(pass(&mut marks, 0, i64::MIN, true), Some(WATERMARK_MAX));
    }

    #[test]
    fn a_row_meets_the_watermark_of_the_rows_before_it() {
        let mut marks = Watermarks::new(1, 4);
        pass(&mut marks, 0, 100, false);
        let clock = marks.pass(&Segment { rows: 2, number: 1, split: 0, end: None });
        assert_eq!(clock.watermark_ms(i64::MIN), 96);
        assert_eq!(clock.watermark_ms(120), 116);
        assert_eq!(Watermarks::new(1, 4).current_ms(), WATERMARK_MIN);
    }
}
