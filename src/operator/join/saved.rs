//! The state of a join as tables: for each side its rows by key.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field};

use super::rows::Place;
use super::side::{Entry, Keeping, Side};
use crate::operator::StateTable;
use crate::operator::saved::{
    StateKey, number_column, number_field, numbers, rows_of, time_column, time_field, times_ms,
};
use crate::state::Groups;

/// The tables of the two sides. Their rows have the key, the row, and as far as these are kept its time, how many partners it
/// has, and whether it takes back a row that has not come.
pub(super) fn tables(key: &StateKey, keeping: &[Keeping; 2]) -> [StateTable; 2] {
    let of = |side: usize| {
        let keeping = &keeping[side];
        let row = Field::new("row", DataType::Struct(keeping.schema.arrow().fields().clone()), false);
        let time = keeping.for_ms.map(|_| time_field("at"));
        let partners = keeping.counts.then(|| number_field("partners"));
        let owed = keeping.changelog.then(|| Field::new("owed", DataType::Boolean, false));
        key.table(["first", "second"][side], [Some(row), time, partners, owed].into_iter().flatten())
    };
    [of(0), of(1)]
}

/// These rows of a side as rows of its table.
pub(super) fn rows(
    table: &StateTable,
    key: &StateKey,
    groups: &Groups,
    side: &Side,
    numbers: &[u32],
) -> RecordBatch {
    let keeping = side.keeping();
    let entries = || numbers.iter().map(|number| side.entry(*number));
    let mut columns = key.columns(entries().map(|entry| groups.key(entry.group)));
    let places: Vec<Place> = numbers.iter().map(|number| Place::Kept(*number)).collect();
    let fields = side.rows().gather(&places, &[], 0..side.rows().columns());
    let fields = fields.expect("rows of a few pages fit into a column");
    let row = StructArray::try_new_with_length(
        keeping.schema.arrow().fields().clone(),
        fields,
        None,
        numbers.len(),
    );
    columns.push(Arc::new(row.expect("rows are kept in their columns")));
    if keeping.for_ms.is_some() {
        columns.push(time_column(entries().map(|entry| entry.at_ms)));
    }
    if keeping.counts {
        columns.push(number_column(entries().map(|entry| i64::from(entry.partners))));
    }
    if keeping.changelog {
        let owed: Vec<bool> = entries().map(|entry| entry.owed).collect();
        columns.push(Arc::new(BooleanArray::from(owed)));
    }
    rows_of(table, columns, numbers.len())
}

/// Rows that were saved.
pub(super) struct SavedRows {
    /// Their columns.
    pub columns: Vec<ArrayRef>,
    /// What was kept beside them, `[row]`.
    pub entries: Vec<Entry>,
}

/// Reads rows of the table of a side; their keys get groups.
pub(super) fn read(rows: &RecordBatch, key: &StateKey, keeping: &Keeping, groups: &mut Groups) -> SavedRows {
    let numbered = key.read(rows).number(groups);
    let mut columns = rows.columns()[key.len()..].iter();
    let mut next = || columns.next().expect("rows have the columns of their table");
    let kept = next().as_struct().columns().to_vec();
    let times = keeping.for_ms.map(|_| times_ms(next()));
    let partners = keeping.counts.then(|| numbers(next()));
    let owed = keeping.changelog.then(|| next().as_boolean());
    let entries = numbered.into_iter().enumerate().map(|(row, group)| Entry {
        group,
        at_ms: times.map_or(0, |times| times[row]),
        partners: partners.map_or(0, |partners| i32::try_from(partners[row]).unwrap_or(i32::MAX)),
        owed: owed.is_some_and(|owed| owed.is_valid(row) && owed.value(row)),
    });
    SavedRows { columns: kept, entries: entries.collect() }
}
