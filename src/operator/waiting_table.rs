//! The rows that wait for the watermark, as a table of an operator's state.
//!
//! A row's own columns lie in one column of rows, so that they may be called as they are; what has been computed of it
//! besides, and is no key, follows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, Fields};

use super::StateTable;
use super::saved::{
    StateKey, number_column, number_field, numbers, rows_of, time_column, time_field, times_ms,
};
use super::waiting::Picks;
use crate::record::Schema;

/// The table, and what is where in it.
pub(super) struct WaitingTable {
    /// Positions of the key columns in the prepared rows.
    keys: Vec<usize>,
    /// The fields of a row of the input; none where it has no columns.
    own: Option<Fields>,
    /// How many of the prepared columns are the input's.
    columns: usize,
    /// How many columns are prepared.
    prepared: usize,
    /// Positions of prepared columns that are neither the row's own nor a key's.
    computed: Vec<usize>,
    table: StateTable,
}

impl WaitingTable {
    /// The table of rows of these prepared columns, of which the first `columns` are the input's and those at the
    /// positions `keys` make the key.
    pub fn new(key: &StateKey, keys: &[usize], prepared: &Schema, columns: usize) -> Self {
        let fields = prepared.arrow().fields();
        let own = (columns > 0).then(|| fields.iter().take(columns).cloned().collect::<Fields>());
        let computed: Vec<usize> = (columns..fields.len()).filter(|index| !keys.contains(index)).collect();
        let row = own.as_ref().map(|own| Field::new("row", DataType::Struct(own.clone()), false));
        let waiting = [time_field("at"), number_field("arrival")].into_iter().chain(row);
        let behind = computed.iter().map(|index| fields[*index].as_ref().clone());
        let table = key.table("waiting", waiting.chain(behind));
        Self { keys: keys.to_vec(), own, columns, prepared: fields.len(), computed, table }
    }

    /// The table.
    pub fn table(&self) -> &StateTable {
        &self.table
    }

    /// These rows in the table's columns.
    pub fn rows(&self, picks: &Picks) -> RecordBatch {
        let columns = &picks.columns;
        let mut saved: Vec<ArrayRef> = self.keys.iter().map(|index| columns[*index].clone()).collect();
        saved.push(time_column(picks.times.values().iter().copied()));
        saved.push(number_column(picks.numbers.iter().map(|number| number.cast_signed())));
        saved.extend(self.own.as_ref().map(|own| {
            let row = StructArray::new(own.clone(), columns[..self.columns].to_vec(), None);
            Arc::new(row) as ArrayRef
        }));
        saved.extend(self.computed.iter().map(|index| columns[*index].clone()));
        rows_of(&self.table, saved, picks.numbers.len())
    }

    /// The prepared columns of saved rows, their times (milliseconds) and their places in the order of arrival.
    pub fn read<'a>(&self, rows: &'a RecordBatch) -> (Vec<ArrayRef>, &'a [i64], &'a [i64]) {
        let first = self.keys.len();
        let behind = first + 2 + usize::from(self.own.is_some());
        let own = self.own.as_ref().map(|_| rows.column(first + 2).as_struct());
        let prepared = (0..self.prepared).map(|index| {
            let own = own.filter(|_| index < self.columns).map(|own| own.column(index));
            let key = || self.keys.iter().position(|key| *key == index).map(|key| rows.column(key));
            let computed = || self.computed.iter().position(|computed| *computed == index);
            let column = own.or_else(key).or_else(|| computed().map(|place| rows.column(behind + place)));
            column.expect("every column has been saved").clone()
        });
        (prepared.collect(), times_ms(rows.column(first)), numbers(rows.column(first + 1)))
    }
}
