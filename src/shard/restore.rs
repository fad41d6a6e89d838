//! What a shard takes of a snapshot: the rows of its keys, in portions that its steps can put in order.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat_batches;

use super::cut::Layout;
use super::launch::Recovery;
use super::step::Shard;
use crate::crash::point;
use crate::mutant::{self, Mutant};
use crate::snapshot::SnapshotError;

/// Saved rows of one table, collected: the steps bring the rows of a large portion into an order in which their keys are
/// quick to put in place.
#[derive(Default)]
struct Portion {
    state: usize,
    table: usize,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Portion {
    /// As many rows are handed over at once, and no more bytes than a column may have.
    const ROWS: usize = 1 << 19;
    const BYTES: usize = 128 << 20;

    /// Adds rows; what has to be handed over first.
    fn add(&mut self, state: usize, table: usize, rows: &RecordBatch) -> Option<(usize, usize, RecordBatch)> {
        let bytes = rows.columns().iter().map(bytes_of).sum::<usize>();
        let fits = (self.state, self.table) == (state, table)
            && self.rows < Self::ROWS
            && self.bytes + bytes < Self::BYTES;
        let full = if fits { None } else { self.take() };
        (self.state, self.table) = (state, table);
        self.rows += rows.num_rows();
        self.bytes += bytes;
        self.batches.push(rows.clone());
        full
    }

    /// All rows.
    fn take(&mut self) -> Option<(usize, usize, RecordBatch)> {
        let batches = std::mem::take(&mut self.batches);
        (self.rows, self.bytes) = (0, 0);
        let rows = match batches.as_slice() {
            [] => return None,
            [only] => only.clone(),
            [first, ..] => {
                concat_batches(first.schema_ref(), &batches).expect("the rows of a table have one schema")
            }
        };
        Some((self.state, self.table, rows))
    }
}

/// Hands a shard what its keys had in a snapshot.
///
/// # Errors
///
/// If a block is not as it was written, or a table has other columns.
pub fn restore(shard: &mut Shard, recovery: &Recovery) -> Result<(), SnapshotError> {
    let (number, shards) = (shard.number, shard.snapshots.shards);
    let Layout { states, first } = shard.snapshots.layout.clone();
    let kept: Vec<usize> =
        (0..states.len()).filter(|state| recovery.kept.contains(&states[*state].0)).collect();
    let wanted: Vec<_> = kept.iter().map(|state| states[*state].clone()).collect();
    let mut hand_over = |state: usize, table: usize, rows: &RecordBatch| {
        let state = kept[state];
        let stage = first.iter().rposition(|first| *first <= state).expect("the first stage begins with 0");
        if !mutant::is(Mutant::StateNotRestored) {
            shard.network(stage).restore(state - first[stage], table, rows);
        }
    };
    let mut portion = Portion::default();
    recovery.snapshot.rows_for(number, shards, &wanted, |state, table, rows| {
        if let Some((state, table, rows)) = portion.add(state, table, rows) {
            hand_over(state, table, &rows);
        }
    })?;
    if let Some((state, table, rows)) = portion.take() {
        hand_over(state, table, &rows);
    }
    if !mutant::is(Mutant::NotToldRestored) {
        (0..first.len()).for_each(|stage| shard.network(stage).restored());
    }
    point("shard-restored");
    Ok(())
}

/// The bytes of a column's own rows: what it lies in may be as large as the snapshot.
fn bytes_of(column: &ArrayRef) -> usize {
    column.to_data().get_slice_memory_size().unwrap_or_default()
}
