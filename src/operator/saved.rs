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
use crate::record::{KeyCodec, SLOTS, slot_of_hash};
use crate::state::Groups;

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
        let keys = KeyBytes::of_columns(columns, rows.num_rows(), &self.codec);
        let hashes = (0..keys.len()).map(|row| KeyCodec::hash(keys.key(row))).collect();
        SavedKeys { keys, hashes }
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
    hashes: Vec<u64>,
}

impl SavedKeys {
    /// The number of each row's key among these groups, which get those that are missing; `[row]`.
    pub fn number(&self, groups: &mut Groups) -> Vec<u32> {
        self.numbers(|hash, key| groups.number(hash, key))
    }

    /// The number of a new group for each row, whether or not there is one of its key; `[row]`.
    pub fn insert(&self, groups: &mut Groups) -> Vec<u32> {
        self.numbers(|hash, key| groups.insert(hash, key))
    }

    /// Numbers in the order of slots, so that neighbours go into one table: in any other order each of many keys would miss
    /// the cache.
    fn numbers(&self, mut number: impl FnMut(u64, &[u8]) -> u32) -> Vec<u32> {
        let mut numbers = vec![0; self.hashes.len()];
        let sorted = BySlot::of(self);
        let mut start = 0;
        for (row, hash, end) in sorted.keys {
            numbers[row as usize] = number(hash, &sorted.bytes[start..end as usize]);
            start = end as usize;
        }
        numbers
    }

    /// The hash and the bytes of a row's key.
    pub fn key(&self, row: usize) -> (u64, &[u8]) {
        (self.hashes[row], self.keys.key(row))
    }
}

/// Keys in the order of their slots.
struct BySlot {
    /// Row, hash, and where the key ends in `bytes`.
    keys: Vec<(u32, u64, u32)>,
    bytes: Vec<u8>,
}

impl BySlot {
    /// Sorts by counting (Knuth, "The Art of Computer Programming", volume 3, algorithm D of section 5.2).
    fn of(saved: &SavedKeys) -> Self {
        // For each slot how many keys of how many bytes come before it.
        let mut places = vec![(0_u32, 0_u32); SLOTS as usize + 1];
        for row in 0..saved.hashes.len() {
            let (hash, key) = saved.key(row);
            let place = &mut places[slot_of_hash(hash) as usize + 1];
            place.0 += 1;
            place.1 += u32::try_from(key.len()).expect("the keys of one portion are below 4 GiB");
        }
        for slot in 1..places.len() {
            let before = places[slot - 1];
            places[slot].0 += before.0;
            places[slot].1 += before.1;
        }
        let (count, length) = places[SLOTS as usize];
        let mut sorted = Self { keys: vec![(0, 0, 0); count as usize], bytes: vec![0; length as usize] };
        for row in 0..count {
            let (hash, key) = saved.key(row as usize);
            let (place, start) = &mut places[slot_of_hash(hash) as usize];
            let end = *start as usize + key.len();
            sorted.bytes[*start as usize..end].copy_from_slice(key);
            *start += u32::try_from(key.len()).expect("counted before");
            sorted.keys[*place as usize] = (row, hash, *start);
            *place += 1;
        }
        sorted
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
