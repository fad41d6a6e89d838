//! A set of rows in columns, with what each row carries besides its columns: its event time, where its bytes came
//! from, and which block of the input caused it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Int8Array, Int64Array, PrimitiveArray,
    RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array,
};
use arrow::compute::{FilterBuilder, cast, concat, take};
use arrow::datatypes::{DataType, Int8Type, Int64Type, TimeUnit, UInt64Type};

use crate::time::SegmentClock;

/// Rows in columns, at most [`Batch::ROWS_MAX`] of them when a stage makes them.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The columns the user sees.
    pub rows: RecordBatch,
    /// What each row does to the rows before it: +1 inserts it, −1 takes an equal one back. None where all insert.
    pub weights: Option<Int8Array>,
    /// The rows' event times; none where the pipeline declares no event time.
    pub times: Option<EventTimes>,
    /// Where the rows' bytes came from; none once rows have been made by a step rather than read.
    pub origin: Option<Origin>,
    /// The key hash of each row; set between an exchange and the keyed step behind it.
    pub hashes: Option<UInt64Array>,
    /// Which blocks the rows belong to, in order; the segments' rows add up to the batch's.
    pub segments: Vec<Segment>,
    /// The watermark's state for each segment; filled by the inbox of a keyed stage, empty elsewhere.
    pub clocks: Vec<SegmentClock>,
}

/// The event times of a batch's rows.
#[derive(Clone, Debug)]
pub struct EventTimes {
    /// Milliseconds since 1970-01-01T00:00:00Z (or without a zone), one per row, never NULL.
    pub at_ms: Int64Array,
    /// For each row the highest event time of the rows before it in the same block (`i64::MIN` where there is none);
    /// left out where no row is behind another of its block. It makes lateness depend on the input alone.
    pub seen_ms: Option<Int64Array>,
}

/// Where the bytes of a batch's rows are.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The source as its user knows it: a path, `stdin`.
    pub source: Arc<str>,
    /// The position in the source of the byte that spans count from, bytes.
    pub base: u64,
    /// The bytes the rows were decoded from.
    pub bytes: Arc<Vec<u8>>,
    /// The byte of `bytes` that spans count from.
    pub from: usize,
    /// One per row: its offset behind `from` in the upper half, its length in the lower half.
    pub spans: UInt64Array,
}

impl EventTimes {
    /// Timestamps of any unit as milliseconds, rounded down; NULL stays NULL.
    #[must_use]
    pub fn milliseconds(values: &dyn Array) -> Int64Array {
        let integers = cast(values, &DataType::Int64).expect("a timestamp is an integer");
        let integers = integers.as_primitive::<Int64Type>();
        match values.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, _) => integers.unary(|value| value.div_euclid(1000)),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                integers.unary(|value| value.div_euclid(1_000_000))
            }
            _ => integers.clone(),
        }
    }
}

impl Origin {
    /// A row's span as [`Origin::spans`] keeps it.
    #[must_use]
    pub fn span(offset: u32, length: u32) -> u64 {
        u64::from(offset) << 32 | u64::from(length)
    }

    /// The bytes of a row and their position in the source.
    #[must_use]
    pub fn raw(&self, row: usize) -> (u64, &[u8]) {
        let span = self.spans.value(row);
        let (offset, length) = ((span >> 32) as usize, (span & 0xffff_ffff) as usize);
        (self.base + offset as u64, &self.bytes[self.from + offset..][..length])
    }
}

/// A run of a batch's rows that one block of the input caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// How many rows.
    pub rows: u32,
    /// The block's number.
    pub number: u64,
    /// The input split the block belongs to; 0 behind an exchange that follows a keyed step.
    pub split: u32,
    /// Set where the block ends behind these rows.
    pub end: Option<BlockEnd>,
}

/// The end of a block on one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEnd {
    /// This producer sends nothing more of any number up to and including this one.
    pub through: u64,
    /// The highest event time in the block, or behind a keyed step its watermark; `i64::MIN` for none.
    pub max_time_ms: i64,
    /// Whether the split ends here.
    pub finished: bool,
    /// Whether the split has been silent for so long that it holds nobody back until its next record.
    pub idle: bool,
}

impl Segment {
    /// The number of the segment that ends a lane: above every block's.
    pub const LAST: u64 = u64::MAX - 1;

    /// The end of a lane.
    #[must_use]
    pub fn last() -> Self {
        let end = BlockEnd { through: Self::LAST, max_time_ms: i64::MIN, finished: false, idle: false };
        Self { rows: 0, number: Self::LAST, split: 0, end: Some(end) }
    }
}

impl Batch {
    /// The most rows a stage puts into one batch.
    pub const ROWS_MAX: usize = 2048;

    /// A batch of plain rows: one unfinished segment of block `number`, no times, no origin.
    #[must_use]
    pub fn of_rows(rows: RecordBatch, number: u64) -> Self {
        let count = u32::try_from(rows.num_rows()).expect("a batch is far below 4 G rows");
        let segments = vec![Segment { rows: count, number, split: 0, end: None }];
        Self { rows, weights: None, times: None, origin: None, hashes: None, segments, clocks: Vec::new() }
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there are no rows (there may still be block ends).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows for which `keep` is true and not NULL; block ends stay.
    #[must_use]
    pub fn filter(&self, keep: &BooleanArray) -> Self {
        debug_assert_eq!(keep.len(), self.len());
        let keep = &match keep.nulls() {
            Some(_) => arrow::compute::prep_null_mask_filter(keep),
            None => keep.clone(),
        };
        let kept = keep.true_count();
        if kept == self.len() {
            return self.clone();
        }
        let mut start = 0;
        let segments = self.segments.iter().map(|segment| {
            let rows = keep.values().slice(start, segment.rows as usize).count_set_bits();
            start += segment.rows as usize;
            Segment { rows: u32::try_from(rows).expect("not more than before"), ..*segment }
        });
        let segments = segments.collect();
        let chosen = FilterBuilder::new(keep).optimize().build();
        self.map_columns(kept, segments, |array| {
            chosen.filter(array).expect("the mask is as long as the column")
        })
    }

    /// The rows at these positions in this order, with segments counted anew by the caller.
    #[must_use]
    pub fn take(&self, rows: &UInt32Array, segments: Vec<Segment>) -> Self {
        debug_assert_eq!(rows.len(), segments.iter().map(|segment| segment.rows as usize).sum::<usize>());
        self.map_columns(rows.len(), segments, |array| {
            take(array, rows, None).expect("the positions are inside the batch")
        })
    }

    /// The rows `from..from + count`, with these segments; nothing is copied.
    #[must_use]
    pub fn slice(&self, from: usize, count: usize, segments: Vec<Segment>) -> Self {
        self.map_columns(count, segments, |array| array.slice(from, count))
    }

    /// The rows of these batches, of which there is at least one, one behind the other; all have the same columns and
    /// come from an exchange, so without origins.
    ///
    /// # Panics
    ///
    /// If there is none, or their columns differ.
    #[must_use]
    pub fn concat(mut batches: Vec<Self>) -> Self {
        if batches.len() == 1 {
            return batches.remove(0);
        }
        let batches = batches.as_slice();
        let (first, count) = (&batches[0], batches.iter().map(Self::len).sum());
        let joined = |arrays: Vec<&dyn Array>| concat(&arrays).expect("columns of one type");
        let columns = (0..first.rows.num_columns())
            .map(|index| joined(batches.iter().map(|batch| batch.rows.column(index).as_ref()).collect()));
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let rows = RecordBatch::try_new_with_options(first.rows.schema(), columns.collect(), &options)
            .expect("columns keep their types and have one length");
        let weights = batches.iter().any(|batch| batch.weights.is_some()).then(|| {
            let inserts = |batch: &Self| Int8Array::from_value(1, batch.len());
            joined_values(batches, |batch| batch.weights.clone().unwrap_or_else(|| inserts(batch)))
        });
        let times = first.times.is_some().then(|| {
            let times = |batch: &Self| batch.times.clone().expect("all have times, or none has");
            let is_seen = |batch: &Self| times(batch).seen_ms.is_some();
            let nothing = |batch: &Self| Int64Array::from_value(i64::MIN, batch.len());
            let seen_ms = |batch: &Self| times(batch).seen_ms.unwrap_or_else(|| nothing(batch));
            EventTimes {
                at_ms: joined_values(batches, |batch| times(batch).at_ms),
                seen_ms: batches.iter().any(is_seen).then(|| joined_values(batches, seen_ms)),
            }
        });
        let hashes = |batch: &Self| batch.hashes.clone().expect("all have hashes, or none has");
        let hashes = first.hashes.is_some().then(|| joined_values(batches, hashes));
        let segments = batches.iter().flat_map(|batch| &batch.segments).copied().collect();
        let clocks = batches.iter().flat_map(|batch| &batch.clocks).copied().collect();
        Self { rows, weights, times, origin: None, hashes, segments, clocks }
    }

    /// The segments before `segment` and the rest; nothing is copied.
    #[must_use]
    pub fn split_at(self, segment: usize) -> (Self, Self) {
        let (before, behind) = self.segments.split_at(segment);
        let rows: usize = before.iter().map(|segment| segment.rows as usize).sum();
        let (before, behind) = (before.to_vec(), behind.to_vec());
        (self.slice(0, rows, before), self.slice(rows, self.len() - rows, behind))
    }

    /// The same rows with other columns.
    #[must_use]
    pub fn with_rows(self, rows: RecordBatch) -> Self {
        debug_assert_eq!(rows.num_rows(), self.len());
        Self { rows, ..self }
    }

    /// Every per-row column through `apply`; the result has `count` rows.
    fn map_columns(
        &self,
        count: usize,
        segments: Vec<Segment>,
        apply: impl Fn(&dyn Array) -> ArrayRef,
    ) -> Self {
        let columns: Vec<ArrayRef> =
            self.rows.columns().iter().map(|column| apply(column.as_ref())).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let rows = RecordBatch::try_new_with_options(self.rows.schema(), columns, &options)
            .expect("columns keep their types and have one length");
        let int64 = |array: &Int64Array| apply(array).as_primitive::<Int64Type>().clone();
        let uint64 = |array: &UInt64Array| apply(array).as_primitive::<UInt64Type>().clone();
        let weights = self.weights.as_ref().map(|weights| apply(weights).as_primitive::<Int8Type>().clone());
        let times = self.times.as_ref().map(|times| EventTimes {
            at_ms: int64(&times.at_ms),
            seen_ms: times.seen_ms.as_ref().map(int64),
        });
        let origin =
            self.origin.as_ref().map(|origin| Origin { spans: uint64(&origin.spans), ..origin.clone() });
        let hashes = self.hashes.as_ref().map(uint64);
        let clocks = if segments.len() == self.clocks.len() { self.clocks.clone() } else { Vec::new() };
        Self { rows, weights, times, origin, hashes, segments, clocks }
    }
}

/// A column without NULLs that every batch has, one behind the other.
fn joined_values<T: ArrowPrimitiveType>(
    batches: &[Batch],
    column: impl Fn(&Batch) -> PrimitiveArray<T>,
) -> PrimitiveArray<T> {
    let mut values = Vec::with_capacity(batches.iter().map(Batch::len).sum());
    for batch in batches {
        values.extend_from_slice(column(batch).values());
    }
    PrimitiveArray::new(values.into(), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Column, Schema, SqlType};

    fn batch() -> Batch {
        let schema = Schema::new(vec![Column::new("n", SqlType::BigInt, false)]);
        let column: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 2, 3, 4]));
        let mut batch =
            Batch::of_rows(RecordBatch::try_new(schema.arrow().clone(), vec![column]).unwrap(), 7);
        batch.times = Some(EventTimes { at_ms: vec![10, 11, 12, 13, 14].into(), seen_ms: None });
        let end = Some(BlockEnd { through: 7, max_time_ms: 12, finished: false, idle: false });
        batch.segments = vec![
            Segment { rows: 3, number: 7, split: 0, end },
            Segment { rows: 2, number: 8, split: 0, end: None },
        ];
        batch
    }

    #[test]
    fn a_filter_keeps_block_ends_and_counts_anew() {
        let kept =
            batch().filter(&BooleanArray::from(vec![Some(false), None, Some(false), Some(true), Some(true)]));
        assert_eq!(kept.rows.column(0).as_primitive::<Int64Type>().values(), &[3, 4]);
        assert_eq!(kept.times.unwrap().at_ms.values(), &[13, 14]);
        assert_eq!(kept.segments.iter().map(|s| s.rows).collect::<Vec<_>>(), [0, 2]);
        assert!(kept.segments[0].end.is_some());
    }

    #[test]
    fn a_batch_without_columns_still_counts_rows() {
        let schema = Schema::new(vec![]);
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let rows = RecordBatch::try_new_with_options(schema.arrow().clone(), vec![], &options).unwrap();
        let kept = Batch::of_rows(rows, 0).filter(&BooleanArray::from(vec![true, false, true]));
        assert_eq!(kept.len(), 2);
    }
}
