//! The rows of a `top` as a table: the key, the end of the window, what the order computes besides columns, the row's own
//! columns, its place in the order of arrival, and the rank under which it was sent.

use std::rc::Rc;

use arrow::array::{AsArray, RecordBatch};
use arrow::row::Rows;

use super::format::RowFormat;
use super::partition::Ranked;
use crate::operator::StateTable;
use crate::operator::payload::{Encoded, Payload};
use crate::operator::saved::{
    SavedKeys, StateKey, number_column, number_field, numbers, rows_of, time_column, time_field, times_ms,
};

/// A row that has been captured.
#[derive(Clone)]
pub(super) struct SavedRow {
    /// The bytes of its partition's key.
    pub key: Rc<[u8]>,
    /// The end of its window, milliseconds; anything where rows belong to none.
    pub window_ms: i64,
    pub row: Ranked,
    /// The rank under which it was sent; 0 for none.
    pub sent: u32,
}

/// Writes rows into the table and reads them.
pub(super) struct RowTable {
    key: StateKey,
    format: RowFormat,
    /// Whether rows belong to windows.
    windowed: bool,
    /// Whether rows are sent under ranks.
    ranked: bool,
    /// The table.
    pub table: StateTable,
}

/// Saved rows that are read.
pub(super) struct SavedRows<'a> {
    keys: SavedKeys,
    orders: Rows,
    payloads: Encoded,
    windows_ms: Option<&'a [i64]>,
    arrivals: &'a [i64],
    sent: Option<&'a [i64]>,
}

impl RowTable {
    /// The table of rows of this payload.
    pub fn new(key: &StateKey, format: &RowFormat, payload: &Payload, windowed: bool, ranked: bool) -> Self {
        let window = windowed.then(|| time_field("window_end"));
        let place = std::iter::once(number_field("arrival")).chain(ranked.then(|| number_field("sent_rank")));
        let state = window.into_iter().chain(format.saved()).chain(payload.saved()).chain(place);
        let table = key.table("rows", state);
        Self { key: key.clone(), format: format.clone(), windowed, ranked, table }
    }

    /// These rows in the columns of the table.
    pub fn write(&self, payload: &Payload, rows: &[SavedRow]) -> RecordBatch {
        let mut columns = self.key.columns(rows.iter().map(|row| &*row.key));
        columns.extend(self.windowed.then(|| time_column(rows.iter().map(|row| row.window_ms))));
        columns.extend(self.format.save(rows.iter().map(|row| row.row.order())));
        columns.extend(payload.save(rows.iter().map(|row| row.row.payload())));
        columns.push(number_column(rows.iter().map(|row| row.row.arrival().cast_signed())));
        columns.extend(self.ranked.then(|| number_column(rows.iter().map(|row| i64::from(row.sent)))));
        rows_of(&self.table, columns, rows.len())
    }

    /// The rows that these columns of the table hold.
    pub fn read<'a>(&self, payload: &Payload, rows: &'a RecordBatch) -> SavedRows<'a> {
        let columns = rows.columns();
        let (window, mut next) = (self.key.len(), self.key.len() + usize::from(self.windowed));
        let computed = &columns[next..next + self.format.saved().count()];
        next += computed.len();
        let own = payload.saved().map(|_| columns[next].as_struct().columns()).unwrap_or_default();
        let payloads = payload.load(rows, next);
        next += usize::from(payload.saved().is_some());
        SavedRows {
            keys: self.key.read(rows),
            orders: self.format.load(own, computed),
            payloads,
            windows_ms: self.windowed.then(|| times_ms(&columns[window])),
            arrivals: numbers(&columns[next]),
            sent: self.ranked.then(|| numbers(&columns[next + 1])),
        }
    }
}

impl SavedRows<'_> {
    /// The hash and the bytes of the key of a row.
    pub fn key(&self, row: usize) -> (u64, &[u8]) {
        self.keys.key(row)
    }

    /// The end of the window of a row, milliseconds; 0 where rows belong to none.
    pub fn window_ms(&self, row: usize) -> i64 {
        self.windows_ms.map_or(0, |windows_ms| windows_ms[row])
    }

    /// A row, and the rank under which it was sent.
    pub fn row(&self, row: usize, by_arrival: bool) -> (Ranked, u32) {
        let arrival = self.arrivals[row].cast_unsigned();
        let ranked = Ranked::new(self.orders.row(row).data(), self.payloads.row(row), arrival, by_arrival);
        let sent = self.sent.map_or(0, |sent| u32::try_from(sent[row]).unwrap_or(0));
        (ranked, sent)
    }
}
