//! The state of `pattern` as tables: the rows that wait for the watermark, the rows that may belong to a match, and the
//! watermark. What searches have come to is found again from the rows.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;

use super::search::{Row, Search};
use crate::operator::StateTable;
use crate::operator::payload::Payload;
use crate::operator::saved::{
    Clock, StateKey, number_column, number_field, numbers, rows_of, time_column, time_field, times_ms,
};
use crate::operator::waiting_table::WaitingTable;
use crate::record::Schema;
use crate::state::Groups;

/// The rows that wait.
pub(super) const WAITING: usize = 0;
/// The rows that may belong to a match.
pub(super) const ROWS: usize = 1;
/// What the shard has one of.
pub(super) const CLOCK: usize = 2;

/// What the shard has one of: its watermark.
pub(super) const CLOCK_TABLE: Clock<1> = Clock::new(["watermark_ms"]);

/// A match may begin with the row.
const OPEN: i64 = 1;
/// A condition over the row has failed.
const REJECTED: i64 = 2;

/// The tables.
pub(super) struct Tables {
    key: StateKey,
    pub waiting: WaitingTable,
    rows: StateTable,
}

/// Saved rows that have been read, by the number of their key: place, row, whether a match may begin with it.
pub(super) type Loaded = BTreeMap<u32, Vec<(i64, Row, bool)>>;

impl Tables {
    /// The tables of an operator with this key at the positions `keys` of the prepared rows, whose first `columns` are
    /// the input's.
    pub fn new(key: &StateKey, keys: &[usize], prepared: &Schema, columns: usize, payload: &Payload) -> Self {
        let state =
            [number_field("place"), time_field("at"), number_field("conditions"), number_field("begins")];
        Self {
            key: key.clone(),
            waiting: WaitingTable::new(key, keys, prepared, columns),
            rows: key.table("rows", state.into_iter().chain(payload.saved())),
        }
    }

    /// All of them, in the order of their numbers.
    pub fn all(&self) -> Vec<StateTable> {
        vec![self.waiting.table().clone(), self.rows.clone(), CLOCK_TABLE.table()]
    }

    /// Rows of searches, each with its key and its number.
    pub fn rows(&self, rows: &[(&[u8], u64, &Search)], payload: &Payload) -> RecordBatch {
        let each = || rows.iter().map(|(_, number, search)| (*number, search.row(*number)));
        let mut columns = self.key.columns(rows.iter().map(|(key, _, _)| *key));
        columns.push(number_column(each().map(|(number, _)| number.cast_signed())));
        columns.push(time_column(each().map(|(_, row)| row.at_ms)));
        columns.push(number_column(each().map(|(_, row)| row.holds.cast_signed())));
        columns.push(number_column(rows.iter().map(|(_, number, search)| {
            let open = if search.is_open(*number) { OPEN } else { 0 };
            open | if search.row(*number).rejected { REJECTED } else { 0 }
        })));
        columns.extend(payload.save(each().map(|(_, row)| &*row.bytes)));
        rows_of(&self.rows, columns, rows.len())
    }

    /// Reads saved rows of searches.
    pub fn read(&self, rows: &RecordBatch, payload: &Payload, groups: &mut Groups, loaded: &mut Loaded) {
        let keys = self.key.read(rows).number(groups);
        let first = self.key.len();
        let (places, times) = (numbers(rows.column(first)), times_ms(rows.column(first + 1)));
        let (holds, begins) = (numbers(rows.column(first + 2)), numbers(rows.column(first + 3)));
        let bytes = (first + 4 < rows.num_columns()).then(|| payload.load(rows, first + 4));
        for (index, group) in keys.into_iter().enumerate() {
            let row = Row {
                at_ms: times[index],
                holds: holds[index].cast_unsigned(),
                rejected: begins[index] & REJECTED != 0,
                bytes: bytes.as_ref().map_or(&[][..], |bytes| bytes.row(index)).into(),
                states: 0,
            };
            loaded.entry(group).or_default().push((places[index], row, begins[index] & OPEN != 0));
        }
    }

    /// The keys of saved rows that wait: their hashes.
    pub fn hashes(&self, rows: &RecordBatch) -> Vec<u64> {
        let keys = self.key.read(rows);
        (0..rows.num_rows()).map(|row| keys.key(row).0).collect()
    }
}
