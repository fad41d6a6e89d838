//! State as tables: the keys of a step as columns, what a shard has one of, and what a view has captured early.
//!
//! An operator with state by key has a table whose rows begin with the key's columns, and one without a key, the
//! [`Clock`], for the numbers that a shard has one of. While a view is captured, what is about to change is saved at
//! once and kept as [`Early`].

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, TimestampMillisecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType};

use super::by::Keys;
use super::key_bytes::KeyBytes;
use super::{Captured, StateTable};
use crate::record::{KeyCodec, slot_of_hash};

/// The key of a step's state: what its columns are called, and how its bytes are written.
#[derive(Clone, Debug)]
pub(super) struct StateKey {
    names: Arc<[String]>,
    /// How the key's bytes are written.
    pub codec: KeyCodec,
}

impl StateKey {
    /// The key made of columns of these names.
    pub fn new(names: impl IntoIterator<Item = String>, codec: KeyCodec) -> Self {
        Self { names: names.into_iter().collect(), codec }
    }

    /// How many columns it has.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The table of rows that begin with the key's columns and go on with these.
    pub fn table(&self, name: &'static str, state: impl IntoIterator<Item = Field>) -> StateTable {
        let types = self.codec.decode(std::iter::empty());
        let keys = self.names.iter().zip(types);
        let keys = keys.map(|(name, column)| Field::new(name, column.data_type().clone(), true));
        StateTable { name, schema: schema_of(keys.chain(state)), key: Some(self.codec.clone()) }
    }

    /// The columns of these keys.
    pub fn columns<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Vec<ArrayRef> {
        self.codec.decode(keys)
    }

    /// The keys of saved rows.
    pub fn read(&self, rows: &RecordBatch) -> SavedKeys {
        let columns = &rows.columns()[..self.len()];
        SavedKeys { keys: KeyBytes::of_columns(columns, rows.num_rows(), &self.codec) }
    }
}

impl From<&Keys> for StateKey {
    fn from(keys: &Keys) -> Self {
        Self::new(keys.columns.iter().map(|(name, _)| name.clone()), keys.codec.clone())
    }
}

/// The keys of rows that are restored.
pub(super) struct SavedKeys {
    keys: KeyBytes,
}

impl SavedKeys {
    /// The rows in the order of their slots.
    pub fn by_slot(&self) -> Vec<u32> {
        let rows = self.keys.len();
        let slots: Vec<u32> = (0..rows).map(|row| slot_of_hash(self.key(row).0)).collect();
        let mut order: Vec<u32> = (0..).take(rows).collect();
        order.sort_by_key(|row| slots[*row as usize]);
        order
    }

    /// The hash and the bytes of a row's key.
    pub fn key(&self, row: usize) -> (u64, &[u8]) {
        let key = self.keys.key(row);
        (KeyCodec::hash(key), key)
    }
}

/// These columns under names that differ: a state's column may be called as one of the user's.
fn schema_of(fields: impl Iterator<Item = Field>) -> SchemaRef {
    let mut unique: Vec<Field> = Vec::new();
    for field in fields {
        let mut name = field.name().clone();
        while unique.iter().any(|other| *other.name() == name) {
            name.push('_');
        }
        unique.push(field.with_name(name));
    }
    Arc::new(Schema::new(unique))
}

/// Rows of a table, `count` of them.
pub(super) fn rows_of(table: &StateTable, columns: Vec<ArrayRef>, count: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(table.schema.clone(), columns, &options)
        .expect("the columns are made as the table has them")
}

/// A column of whole numbers.
pub(super) fn number_field(name: &str) -> Field {
    Field::new(name, DataType::Int64, false)
}

/// A column of times, milliseconds.
pub(super) fn time_field(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, None), false)
}

/// Whole numbers as a column.
pub(super) fn number_column(numbers: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(numbers))
}

/// Times as a column, milliseconds.
pub(super) fn time_column(times_ms: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(times_ms))
}

/// The whole numbers of a saved column.
pub(super) fn numbers(column: &ArrayRef) -> &[i64] {
    column.as_primitive::<Int64Type>().values()
}

/// The times of a saved column, milliseconds.
pub(super) fn times_ms(column: &ArrayRef) -> &[i64] {
    column.as_primitive::<TimestampMillisecondType>().values()
}

/// The table of what a shard has one of: numbers that only grow. Each shard saves a row of its own; where they differ,
/// every shard goes on with the greatest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock<const COUNT: usize> {
    names: [&'static str; COUNT],
}

impl<const COUNT: usize> Clock<COUNT> {
    /// A table with columns of these names.
    pub const fn new(names: [&'static str; COUNT]) -> Self {
        Self { names }
    }

    /// The table.
    pub fn table(&self) -> StateTable {
        StateTable { name: "clock", schema: schema_of(self.names.map(number_field).into_iter()), key: None }
    }

    /// The row of a shard.
    pub fn row(&self, values: [i64; COUNT]) -> RecordBatch {
        let columns = values.map(|value| number_column([value])).to_vec();
        rows_of(&self.table(), columns, 1)
    }

    /// The greatest of each of the columns of saved rows.
    pub fn read(&self, rows: &RecordBatch) -> [i64; COUNT] {
        debug_assert_eq!(rows.num_columns(), self.names.len(), "rows have the columns of their table");
        std::array::from_fn(|index| numbers(rows.column(index)).iter().copied().max().unwrap_or(i64::MIN))
    }
}

/// What a view has captured before it was asked for, in order.
#[derive(Default)]
pub(super) struct Early {
    captured: VecDeque<Captured>,
    bytes: usize,
}

impl Early {
    /// Keeps rows of a table until they are asked for.
    pub fn push(&mut self, table: usize, rows: RecordBatch) {
        if rows.num_rows() > 0 {
            self.bytes += rows.get_array_memory_size();
            self.captured.push_back(Captured { table, rows });
        }
    }

    /// The next rows of one table, in batches as they were captured until there are about `rows`; none where none are
    /// left.
    pub fn next(&mut self, rows: usize) -> Option<Captured> {
        let first = self.pop()?;
        let (table, mut count, mut batches) = (first.table, first.rows.num_rows(), vec![first.rows]);
        while count < rows && self.captured.front().is_some_and(|next| next.table == table) {
            let Some(next) = self.pop() else { break };
            count += next.rows.num_rows();
            batches.push(next.rows);
        }
        if let [_] = batches.as_slice() {
            return Some(Captured { table, rows: batches.swap_remove(0) });
        }
        let rows = concat_batches(&batches[0].schema(), &batches).expect("rows of one table have one schema");
        Some(Captured { table, rows })
    }

    fn pop(&mut self) -> Option<Captured> {
        let captured = self.captured.pop_front()?;
        self.bytes -= captured.rows.get_array_memory_size();
        Some(captured)
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The heap bytes held, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SqlType;

    #[test]
    fn the_columns_of_a_table_have_names_of_their_own() {
        let codec = KeyCodec::new(vec![SqlType::BigInt, SqlType::String, SqlType::BigInt]).unwrap();
        let key = StateKey::new(["row", "user", "row"].map(str::to_owned), codec);
        let table = key.table("keys", [number_field("user"), time_field("at"), number_field("row_")]);
        let names: Vec<&String> = table.schema.fields().iter().map(|field| field.name()).collect();
        assert_eq!(names, ["row", "user", "row_", "user_", "at", "row__"]);
        assert_eq!(table.key.is_some(), key.len() == 3);
    }

    #[test]
    fn of_what_shards_have_one_of_the_greatest_counts() {
        let clock = Clock::new(["watermark_ms", "arrivals"]);
        let rows = concat_batches(&clock.table().schema, &[clock.row([i64::MIN, 7]), clock.row([-3, 5])]);
        assert_eq!(clock.read(&rows.unwrap()), [-3, 7]);
    }

    #[test]
    fn what_was_captured_early_comes_in_portions_of_one_table() {
        let (one, other) = (Clock::new(["a"]), Clock::new(["b"]));
        let mut early = Early::default();
        for value in 0..4 {
            early.push(0, one.row([value]));
        }
        early.push(1, other.row([4]));
        early.push(1, RecordBatch::new_empty(other.table().schema));
        assert!(early.bytes() > 0);
        let mut found = Vec::new();
        while let Some(captured) = early.next(3) {
            found.push((captured.table, numbers(captured.rows.column(0)).to_vec()));
        }
        assert_eq!(found, [(0, vec![0, 1, 2]), (0, vec![3]), (1, vec![4])]);
        assert_eq!(early.bytes(), 0);
    }
}
