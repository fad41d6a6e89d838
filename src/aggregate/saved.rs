//! The columns in which states of groups are saved: names that several aggregates share, and lists.
//!
//! All are of types that a column of the language can have, so that what reads those can show a state. They are a
//! format on disk: what is changed here cannot read older snapshots.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};

/// A column of states, NULL where a group has none. The name is empty where it says all, or most.
pub(super) fn column(name: impl Into<String>, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// The column that tells how many values a group has.
pub(super) fn count_column() -> Field {
    Field::new("count", DataType::Int64, false)
}

/// The name of a part of what is called `name`, which may be nothing.
pub(super) fn part(name: &str, part: &str) -> String {
    if name.is_empty() { part.to_owned() } else { format!("{name}_{part}") }
}

/// These columns, and that of the count behind them.
pub(super) fn with_count(mut columns: Vec<Field>) -> Vec<Field> {
    columns.push(count_column());
    columns
}

/// These columns, and behind them the counts, 0 where there is no state.
pub(super) fn with_counts<'a>(
    mut columns: Vec<ArrayRef>,
    counts: impl Iterator<Item = Option<&'a i64>>,
) -> Vec<ArrayRef> {
    let counts = counts.map(|count| count.copied().unwrap_or(0));
    columns.push(Arc::new(Int64Array::from_iter_values(counts)));
    columns
}

/// How many values the groups have: the last of the columns.
///
/// # Panics
///
/// If it is not that of [`count_column`].
pub(super) fn counts(columns: &[ArrayRef]) -> &Int64Array {
    columns.last().expect("states have columns").as_primitive::<Int64Type>()
}

/// The type of lists of such elements, as an ARRAY has it.
pub(super) fn list_type(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", element, true)))
}

/// The type of a value with how often it is there.
pub(super) fn counted_type(value: DataType) -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("value", value, true),
        Field::new("count", DataType::Int64, true),
    ]))
}

/// Values with how often each is there.
pub(super) fn counted(values: ArrayRef, counts: Vec<i64>) -> ArrayRef {
    let DataType::Struct(fields) = counted_type(values.data_type().clone()) else {
        unreachable!("a value with its count is a ROW")
    };
    let rows = counts.len();
    let columns = vec![values, Arc::new(Int64Array::from(counts)) as ArrayRef];
    let built = StructArray::try_new_with_length(fields, columns, None, rows);
    Arc::new(built.expect("as many values as counts"))
}

/// Lists of so many elements each, NULL where there is no length; the elements of all lists lie one behind the other.
pub(super) fn lists(lengths: impl Iterator<Item = Option<usize>> + Clone, elements: ArrayRef) -> ArrayRef {
    let offsets = OffsetBuffer::from_lengths(lengths.clone().map(Option::unwrap_or_default));
    let nulls: NullBuffer = lengths.map(|length| length.is_some()).collect();
    let DataType::List(field) = list_type(elements.data_type().clone()) else {
        unreachable!("a list is an ARRAY")
    };
    Arc::new(ListArray::new(field, offsets, elements, Some(nulls)))
}

/// The elements of all rows of a column of lists, and where those of each row are.
pub(super) fn elements(column: &ArrayRef) -> (ArrayRef, impl Iterator<Item = Range<usize>> + '_) {
    let column = column.as_list::<i32>();
    let offsets = column.value_offsets();
    let place = |offset: &i32| usize::try_from(*offset).expect("an offset is no less than 0");
    // A slice of a column still holds the elements of all its rows.
    let (first, last) = (offsets.first().map_or(0, place), offsets.last().map_or(0, place));
    let ranges = offsets.windows(2).map(move |ends| place(&ends[0]) - first..place(&ends[1]) - first);
    (column.values().slice(first, last - first), ranges)
}

/// The values and the counts that [`counted`] has put together.
pub(super) fn values_and_counts(elements: &ArrayRef) -> (&ArrayRef, &Int64Array) {
    let elements = elements.as_struct();
    (elements.column(0), elements.column(1).as_primitive::<Int64Type>())
}
