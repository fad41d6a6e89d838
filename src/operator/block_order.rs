//! Brings the rows of each block into an order of time, the latest first, where they arrive in none.
//!
//! A step that decides row by row what is late would otherwise depend on how the shards' rows of one block happened to
//! follow one another: an early row joins a session only if the rows between have joined it before. Rows of a block meet
//! the same watermark, so any order is as right as another; with the latest first every row finds what it can join.
//!
//! It keeps no state: at a barrier every block before it has ended.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef, Int64Array, UInt32Array, UInt64Array};
use arrow::compute::{concat, concat_batches};

use super::{Build, Context, Operator};
use crate::record::{Batch, EventTimes, Segment};
use crate::time::SegmentClock;

/// The operator, which keeps the rows of a block until it ends.
pub(super) fn build() -> Build {
    Build::new("take the rows of each block by their time", || Box::new(BlockOrder::default()))
}

#[derive(Default)]
struct BlockOrder {
    /// Batches of the block that has not ended.
    open: Vec<Batch>,
    ready: VecDeque<Batch>,
}

impl BlockOrder {
    /// Sends the rows of the block that ends with this segment.
    fn send(&mut self, end: Segment, clock: SegmentClock) {
        let mut batches = std::mem::take(&mut self.open);
        let mut batch = match batches.len() {
            1 => batches.remove(0),
            _ => concatenated(&batches),
        };
        let times = &batch.times.as_ref().expect("the step was resolved with event time").at_ms;
        let mut order: Vec<u32> = (0..).take(times.len()).collect();
        order.sort_by_key(|row| std::cmp::Reverse(times.value(*row as usize)));
        let rows = u32::try_from(order.len()).expect("a block is far below 4 G rows");
        batch.clocks.clear();
        batch = batch.take(&UInt32Array::from(order), vec![Segment { rows, ..end }]);
        batch.clocks = vec![clock];
        self.ready.push_back(batch);
    }
}

/// Several batches of one block as one.
fn concatenated(batches: &[Batch]) -> Batch {
    let rows = concat_batches(&batches[0].rows.schema(), batches.iter().map(|batch| &batch.rows))
        .expect("the batches of a lane have one schema");
    let one = |arrays: Vec<&dyn Array>| -> ArrayRef { concat(&arrays).expect("the arrays have one type") };
    let at_ms =
        one(batches.iter().filter_map(|batch| Some(&batch.times.as_ref()?.at_ms as &dyn Array)).collect());
    let hashes = one(batches.iter().filter_map(|batch| Some(batch.hashes.as_ref()? as &dyn Array)).collect());
    let mut batch = Batch::of_rows(rows, 0);
    batch.times = Some(EventTimes { at_ms: Int64Array::from(at_ms.to_data()), seen_ms: None });
    batch.hashes = Some(UInt64Array::from(hashes.to_data()));
    batch
}

impl Operator for BlockOrder {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        let mut rest = batch;
        while let Some(ending) = rest.segments.iter().position(|segment| segment.end.is_some()) {
            let (segment, clock) = (rest.segments[ending], rest.clocks[ending]);
            let clocks = rest.clocks.split_off(ending + 1);
            let (block, behind) = rest.split_at(ending + 1);
            self.open.push(block);
            self.send(segment, clock);
            rest = Batch { clocks, ..behind };
        }
        if !rest.is_empty() {
            self.open.push(rest);
        }
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, RecordBatch};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::record::{BlockEnd, Column, Schema, SqlType};
    use crate::time::WATERMARK_MAX;

    fn batch(times: &[i64], segments: &[(u32, u64, bool)]) -> Batch {
        let schema = Schema::new(vec![Column::new("n", SqlType::BigInt, false)]);
        let column: ArrayRef = std::sync::Arc::new(Int64Array::from(times.to_vec()));
        let mut batch =
            Batch::of_rows(RecordBatch::try_new(schema.arrow().clone(), vec![column]).unwrap(), 0);
        batch.times = Some(EventTimes { at_ms: times.to_vec().into(), seen_ms: None });
        batch.hashes = Some(times.iter().map(|time| time.cast_unsigned()).collect::<Vec<u64>>().into());
        let end = |number| BlockEnd { through: number, max_time_ms: 0, finished: false, idle: false };
        let segment = |(rows, number, ends): &(u32, u64, bool)| Segment {
            rows: *rows,
            number: *number,
            split: 0,
            end: ends.then(|| end(*number)),
        };
        batch.segments = segments.iter().map(segment).collect();
        let clock =
            SegmentClock { others_ms: WATERMARK_MAX, split_max_ms: 0, out_of_order_ms: 0, after_ms: None };
        batch.clocks = vec![clock; segments.len()];
        batch
    }

    #[test]
    fn a_block_comes_when_it_has_ended_the_latest_row_first() {
        let mut order = BlockOrder::default();
        let mut context = Context::default();
        let mut seen = Vec::new();
        let batches = [
            batch(&[3, 9], &[(2, 1, false)]),
            batch(&[7, 1, 2], &[(1, 1, true), (0, 2, true), (2, 4, false)]),
            batch(&[5], &[(1, 4, true)]),
        ];
        for batch in batches {
            order.push(batch, &mut context);
            while let Some(batch) = order.pull(&mut context) {
                let rows = batch.rows.column(0).as_primitive::<Int64Type>().values().to_vec();
                let hashes = batch.hashes.as_ref().unwrap().values().to_vec();
                assert!(rows.iter().zip(hashes).all(|(row, hash)| row.cast_unsigned() == hash));
                assert_eq!((batch.segments.len(), batch.clocks.len()), (1, 1));
                seen.push((batch.segments[0].number, batch.segments[0].end.is_some(), rows));
            }
        }
        assert_eq!(seen, [(1, true, vec![9, 7, 3]), (2, true, vec![]), (4, true, vec![5, 2, 1])]);
    }
}
