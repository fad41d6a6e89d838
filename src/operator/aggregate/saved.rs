//! How the state of an aggregate lies in the tables of a snapshot: one row per group, and one row of the shard's times.
//!
//! A row of a group has the key's columns, then columns of the operator's own (when its slice begins, whether it was
//! sent), then the states of the aggregates, each under the name that the step gives to its result.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, TimestampMillisecondArray,
};
use arrow::datatypes::{
    DataType, Field, Int64Type, Schema as ArrowSchema, SchemaRef, TimeUnit, TimestampMillisecondType,
};

use super::tally::Tally;
use crate::operator::key_bytes::KeyBytes;
use crate::operator::{Captured, StateTable};
use crate::record::{KeyCodec, Schema};
use crate::time::WATERMARK_MIN;

/// The place of the groups among an operator's tables.
pub(super) const GROUPS: usize = 0;
/// The place of the shard's times among an operator's tables.
pub(super) const CLOCK: usize = 1;

/// The table of an operator's groups.
pub(super) struct GroupTable {
    schema: SchemaRef,
    codec: KeyCodec,
    /// How many columns there are before those of the aggregates' states.
    before_states: usize,
}

impl GroupTable {
    /// The table of groups by the first columns of `output`, with columns of the operator's `own`; `names` are those of
    /// the aggregates' results.
    pub fn new(codec: &KeyCodec, output: &Schema, own: Vec<Field>, names: &[String], tally: &Tally) -> Self {
        let keys = output.arrow().fields().iter().take(codec.columns()).map(|field| field.as_ref().clone());
        let mut fields: Vec<Field> = keys.chain(own).collect();
        let before_states = fields.len();
        for (name, parts) in names.iter().zip(tally.saved()) {
            fields.extend(parts.into_iter().map(|part| {
                let name =
                    if part.name().is_empty() { name.clone() } else { format!("{name}.{}", part.name()) };
                part.with_name(name)
            }));
        }
        let schema = Arc::new(ArrowSchema::new(each_name_once(fields)));
        Self { schema, codec: codec.clone(), before_states }
    }

    /// The table as the operator declares it.
    pub fn declare(&self) -> StateTable {
        StateTable { name: "groups", schema: self.schema.clone(), key: Some(self.codec.clone()) }
    }

    /// The rows of these groups; `own` are the operator's own columns of them.
    pub fn save(&self, tally: &Tally, numbers: &[u32], own: impl IntoIterator<Item = ArrayRef>) -> RecordBatch {
        let mut columns = tally.keys(&self.codec, numbers);
        columns.extend(own);
        columns.extend(tally.save(numbers));
        rows_of(&self.schema, columns, numbers.len())
    }

    /// Makes a group of every row, whether or not there is one of its key; their numbers.
    pub fn load(&self, tally: &mut Tally, rows: &RecordBatch) -> Vec<u32> {
        let keys = self.keys(rows);
        let insert = |row| tally.groups.insert(KeyCodec::hash(keys.key(row)), keys.key(row));
        let numbers: Vec<u32> = (0..rows.num_rows()).map(insert).collect();
        tally.resize();
        tally.load(&numbers, &rows.columns()[self.before_states..]);
        numbers
    }

    /// The keys of such rows.
    pub fn keys(&self, rows: &RecordBatch) -> KeyBytes {
        KeyBytes::of_columns(&rows.columns()[..self.codec.columns()], rows.num_rows(), &self.codec)
    }

    /// The operator's own column at this place of such rows.
    pub fn own<'a>(&self, rows: &'a RecordBatch, place: usize) -> &'a ArrayRef {
        rows.column(self.codec.columns() + place)
    }
}

/// A column of booleans of the operator's own.
pub(super) fn boolean(name: &str) -> Field {
    Field::new(name, DataType::Boolean, true)
}

/// A column of whole numbers of the operator's own.
pub(super) fn whole_number(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

/// A column of times of the operator's own.
pub(super) fn timestamp(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, None), true)
}

/// Times as a column.
pub(super) fn times(at_ms: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(at_ms))
}

/// Whether each of them is so, as a column.
pub(super) fn booleans(are: impl IntoIterator<Item = bool>) -> ArrayRef {
    Arc::new(are.into_iter().map(Some).collect::<BooleanArray>())
}

/// The times in a column, milliseconds.
pub(super) fn read_times(column: &ArrayRef) -> &[i64] {
    column.as_primitive::<TimestampMillisecondType>().values()
}

/// The whole numbers in a column.
pub(super) fn read_whole_numbers(column: &ArrayRef) -> &[i64] {
    column.as_primitive::<Int64Type>().values()
}

/// The table of a shard's times of these names: one row per shard. None of a step's results depends on more than these
/// and its groups.
pub(super) fn clock_table(names: &[&str]) -> StateTable {
    let schema = Arc::new(ArrowSchema::new(names.iter().map(|name| timestamp(name)).collect::<Vec<_>>()));
    StateTable { name: "clock", schema, key: None }
}

/// A shard's row of such a table, milliseconds; [`WATERMARK_MIN`] is NULL.
pub(super) fn clock_row(names: &[&str], at_ms: &[i64]) -> Captured {
    let column = |at_ms: &i64| -> ArrayRef {
        Arc::new(TimestampMillisecondArray::from(vec![(*at_ms != WATERMARK_MIN).then_some(*at_ms)]))
    };
    let columns = at_ms.iter().map(column).collect();
    Captured { table: CLOCK, rows: rows_of(&clock_table(names).schema, columns, 1) }
}

/// The times of all shards in one column of such a table, milliseconds.
pub(super) fn clock_times(rows: &RecordBatch, column: usize) -> impl Iterator<Item = i64> + '_ {
    let times = rows.column(column).as_primitive::<TimestampMillisecondType>();
    (0..times.len()).map(|row| if times.is_null(row) { WATERMARK_MIN } else { times.value(row) })
}

fn rows_of(schema: &SchemaRef, columns: Vec<ArrayRef>, count: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .expect("the columns are made as the table has them")
}

/// The fields, with a stroke behind those names that others before them have.
fn each_name_once(fields: Vec<Field>) -> Vec<Field> {
    let mut taken = BTreeSet::new();
    let mut once = |field: Field| {
        let mut name = field.name().clone();
        while !taken.insert(name.clone()) {
            name.push('\'');
        }
        field.with_name(name)
    };
    fields.into_iter().map(&mut once).collect()
}
