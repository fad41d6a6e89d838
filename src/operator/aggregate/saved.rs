//! How the groups of an aggregate lie in a table of a snapshot.
//!
//! A row of a group has the key's columns, then columns of the operator's own (when its slice begins, whether it was
//! sent), then the states of the aggregates, each under the name that the step gives to its result.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field};

use super::tally::Tally;
use crate::operator::saved::{SavedKeys, StateKey, rows_of};
use crate::operator::{Captured, StateTable};
use crate::record::{KeyCodec, Schema};

/// The place of the groups among an operator's tables.
pub(super) const GROUPS: usize = 0;
/// The place of what a shard has one of among an operator's tables.
pub(super) const CLOCK: usize = 1;

/// The table of an operator's groups.
pub(super) struct GroupTable {
    table: StateTable,
    key: StateKey,
    /// How many columns there are before those of the aggregates' states.
    before_states: usize,
}

impl GroupTable {
    /// The table of groups by the first columns of `output`, with columns of the operator's `own`; `names` are those of
    /// the aggregates' results.
    pub fn new(codec: &KeyCodec, output: &Schema, own: Vec<Field>, names: &[String], tally: &Tally) -> Self {
        let keys = output.columns().iter().take(codec.columns()).map(|column| column.name.clone());
        let key = StateKey::new(keys, codec.clone());
        let before_states = key.len() + own.len();
        let states = names.iter().zip(tally.saved()).flat_map(|(name, parts)| {
            parts.into_iter().map(move |part| {
                let name =
                    if part.name().is_empty() { name.clone() } else { format!("{name}.{}", part.name()) };
                part.with_name(name)
            })
        });
        let table = key.table("groups", own.into_iter().chain(states));
        Self { table, key, before_states }
    }

    /// The table as the operator declares it.
    pub fn declare(&self) -> StateTable {
        self.table.clone()
    }

    /// The rows of these groups; `own` are the operator's own columns of them.
    pub fn save(
        &self,
        tally: &Tally,
        numbers: &[u32],
        own: impl IntoIterator<Item = ArrayRef>,
    ) -> RecordBatch {
        let mut columns = tally.keys(&self.key.codec, numbers);
        columns.extend(own);
        columns.extend(tally.save(numbers));
        rows_of(&self.table, columns, numbers.len())
    }

    /// Makes a group of every row, whether or not there is one of its key; their numbers.
    pub fn load(&self, tally: &mut Tally, rows: &RecordBatch) -> Vec<u32> {
        let numbers = self.key.read(rows).insert(&mut tally.groups);
        tally.resize();
        tally.load(&numbers, &rows.columns()[self.before_states..]);
        numbers
    }

    /// The keys of such rows.
    pub fn keys(&self, rows: &RecordBatch) -> SavedKeys {
        self.key.read(rows)
    }

    /// The operator's own column at this place of such rows.
    pub fn own<'a>(&self, rows: &'a RecordBatch, place: usize) -> &'a ArrayRef {
        rows.column(self.key.len() + place)
    }
}

/// Rows of the table of groups.
pub(super) fn of_groups(rows: RecordBatch) -> Captured {
    Captured { table: GROUPS, rows }
}

/// A column that says whether something is so.
pub(super) fn flag_field(name: &str) -> Field {
    Field::new(name, DataType::Boolean, false)
}

/// Flags as a column.
pub(super) fn flag_column(flags: impl IntoIterator<Item = bool>) -> ArrayRef {
    Arc::new(BooleanArray::from(flags.into_iter().collect::<BooleanBuffer>()))
}

/// The flags of a saved column.
pub(super) fn flags(column: &ArrayRef) -> &BooleanBuffer {
    column.as_boolean().values()
}
