//! Corrections: what rows were before and what they are now, as changelog rows.

use arrow::array::{Array, ArrayRef, Int8Array, RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::compute::kernels::cmp::not_distinct;

use crate::record::Schema;

/// Changelog rows of the change from `old` to `new`: for each pair of positions the old row taken back, then the new
/// one inserted; neither where they are equal. Yields the rows, their weights, and for each the index of its pair.
pub(super) fn changes(
    schema: &Schema,
    old: &RecordBatch,
    new: &RecordBatch,
    pairs: &[(Option<usize>, Option<usize>)],
) -> (RecordBatch, Int8Array, Vec<usize>) {
    let both = concat_batches(schema.arrow(), [old, new]).expect("old and new rows have one schema");
    let is_equal = equal_rows(old, new, pairs);
    let (mut positions, mut weights, mut causes) = (Vec::new(), Vec::new(), Vec::new());
    for (index, (before, after)) in pairs.iter().enumerate().filter(|(index, _)| !is_equal[*index]) {
        let after = after.map(|after| (after + old.num_rows(), 1_i8));
        for (position, weight) in before.map(|before| (before, -1)).into_iter().chain(after) {
            positions.push(u32::try_from(position).expect("the changes of a block are far below 4 G"));
            weights.push(weight);
            causes.push(index);
        }
    }
    let positions = UInt32Array::from(positions);
    let columns = both.columns().iter().map(|column| {
        arrow::compute::take(column, &positions, None).expect("the positions are inside the batch")
    });
    let rows = schema.rows(columns.collect(), positions.len());
    (rows, Int8Array::from(weights), causes)
}

/// Whether the rows of each pair are there both and equal.
fn equal_rows(old: &RecordBatch, new: &RecordBatch, pairs: &[(Option<usize>, Option<usize>)]) -> Vec<bool> {
    let mut is_equal: Vec<bool> = pairs.iter().map(|(old, new)| old.is_some() && new.is_some()).collect();
    let both: Vec<(usize, usize, usize)> =
        pairs.iter().enumerate().filter_map(|(index, (old, new))| Some((index, (*old)?, (*new)?))).collect();
    if both.is_empty() {
        return is_equal;
    }
    let position =
        |position: usize| u32::try_from(position).expect("the changes of a block are far below 4 G");
    let before = UInt32Array::from_iter_values(both.iter().map(|(_, old, _)| position(*old)));
    let after = UInt32Array::from_iter_values(both.iter().map(|(_, _, new)| position(*new)));
    for (old, new) in old.columns().iter().zip(new.columns()) {
        let column = |array: &ArrayRef, positions: &UInt32Array| {
            arrow::compute::take(array, positions, None).expect("the positions are inside the batch")
        };
        let (old, new) = (column(old, &before), column(new, &after));
        for (row, (index, _, _)) in both.iter().enumerate() {
            is_equal[*index] &= old.is_null(row) == new.is_null(row);
        }
        match not_distinct(&old, &new) {
            Ok(same) => {
                for (row, (index, _, _)) in both.iter().enumerate() {
                    is_equal[*index] &= same.value(row);
                }
            }
            // Nested values have no such kernel.
            Err(_) => {
                for (row, (index, _, _)) in both.iter().enumerate() {
                    is_equal[*index] &= old.slice(row, 1).to_data() == new.slice(row, 1).to_data();
                }
            }
        }
    }
    is_equal
}
