//! Rows that are kept as bytes and sent again, and the changes that are to be sent of them.

use arrow::array::{ArrayRef, Int8Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Field;
use arrow::row::Rows;

use super::queue::Queue;
use super::row_bytes::RowBytes;
use crate::record::{Batch, Schema, Segment};

/// Writes rows of one schema as bytes, and reads them.
pub(super) struct Payload {
    /// None for rows without columns, which the row format does not count.
    codec: Option<RowBytes>,
    columns: usize,
}

/// Some rows as bytes.
pub(super) struct Encoded {
    rows: Option<Rows>,
}

impl Payload {
    /// The form of rows that begin with the columns of this schema.
    pub fn new(schema: &Schema) -> Self {
        let columns = schema.columns().len();
        Self { codec: (columns > 0).then(|| RowBytes::new(schema)), columns }
    }

    /// These rows of a batch.
    pub fn encode(&self, batch: &Batch, rows: &[u32]) -> Encoded {
        let columns = &batch.rows.columns()[..self.columns];
        let encode = |codec: &RowBytes| {
            if rows.len() == batch.len() {
                return codec.write(columns);
            }
            let positions = UInt32Array::from(rows.to_vec());
            let take = |column: &ArrayRef| take(column, &positions, None).expect("the rows are of the batch");
            codec.write(&columns.iter().map(take).collect::<Vec<_>>())
        };
        Encoded { rows: self.codec.as_ref().map(encode) }
    }

    /// The columns of these rows.
    pub fn decode<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Vec<ArrayRef> {
        self.codec.as_ref().map_or_else(Vec::new, |codec| codec.columns(rows))
    }

    /// The column in which rows are saved; none for rows without columns.
    pub fn saved(&self) -> Option<Field> {
        self.codec.as_ref().map(RowBytes::saved)
    }

    /// These rows in the column in which they are saved.
    pub fn save<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Option<ArrayRef> {
        self.codec.as_ref().map(|codec| codec.save(rows))
    }

    /// The rows that were saved in this column of a table.
    pub fn load(&self, rows: &RecordBatch, column: usize) -> Encoded {
        Encoded { rows: self.codec.as_ref().map(|codec| codec.load(rows.column(column))) }
    }
}

impl Encoded {
    /// The bytes of a row.
    pub fn row(&self, row: usize) -> &[u8] {
        self.rows.as_ref().map_or(&[], |rows| rows.row(row).data())
    }
}

/// Changelog rows that are to be sent, with the rank of each.
#[derive(Default)]
pub(super) struct Changes {
    bytes: Vec<u8>,
    entries: Vec<Change>,
}

#[derive(Clone, Copy)]
struct Change {
    group: u32,
    rank: u32,
    weight: i8,
    start: usize,
    end: usize,
    at_ms: i64,
}

impl Changes {
    /// Adds a row of a group.
    pub fn push(&mut self, group: u32, rank: u32, weight: i8, row: &[u8], at_ms: i64) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(row);
        self.entries.push(Change { group, rank, weight, start, end: self.bytes.len(), at_ms });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes out what cancels among those added behind the first `from`, and orders the rest: by group and rank, what
    /// is taken back before what is inserted.
    pub fn net(&mut self, from: usize) {
        let Self { bytes, entries } = self;
        let row = |change: &Change| &bytes[change.start..change.end];
        entries[from..]
            .sort_by(|a, b| (a.group, a.rank, row(a), a.weight).cmp(&(b.group, b.rank, row(b), b.weight)));
        let mut kept: Vec<Change> = Vec::with_capacity(entries.len() - from);
        let same = |a: &Change, b: &Change| (a.group, a.rank, row(a)) == (b.group, b.rank, row(b));
        for run in entries[from..].chunk_by(same) {
            let weight: i32 = run.iter().map(|change| i32::from(change.weight)).sum();
            let at_ms = run.iter().map(|change| change.at_ms).max().unwrap_or(i64::MIN);
            let unit = if weight < 0 { -1 } else { 1 };
            let change = Change { weight: unit, at_ms, ..run[0] };
            kept.extend((0..weight.unsigned_abs()).map(|_| change));
        }
        kept.sort_by_key(|change| (change.group, change.rank, change.weight));
        entries.truncate(from);
        entries.append(&mut kept);
    }

    /// Hands all of them over as changelog rows that block `number` has caused: the row's columns, then its rank if
    /// `ranked`.
    pub fn send(
        &mut self,
        payload: &Payload,
        output: &Schema,
        ranked: bool,
        timed: bool,
        number: u64,
        queue: &mut Queue,
    ) {
        let weights = Int8Array::from_iter_values(self.entries.iter().map(|change| change.weight));
        self.hand_over(payload, output, ranked, timed, number, Some(&weights), queue);
    }

    /// Hands all of them over as rows that stay, behind the last block.
    pub fn send_settled(
        &mut self,
        payload: &Payload,
        output: &Schema,
        ranked: bool,
        timed: bool,
        queue: &mut Queue,
    ) {
        self.hand_over(payload, output, ranked, timed, Segment::LAST, None, queue);
    }

    #[expect(clippy::too_many_arguments, reason = "what two ways of sending have in common")]
    fn hand_over(
        &mut self,
        payload: &Payload,
        output: &Schema,
        ranked: bool,
        timed: bool,
        number: u64,
        weights: Option<&Int8Array>,
        queue: &mut Queue,
    ) {
        if self.entries.is_empty() {
            return;
        }
        let rows = self.entries.iter().map(|change| &self.bytes[change.start..change.end]);
        let mut columns = payload.decode(rows);
        if ranked {
            let ranks = self.entries.iter().map(|change| i64::from(change.rank));
            columns.push(std::sync::Arc::new(arrow::array::Int64Array::from_iter_values(ranks)));
        }
        let rows = output.rows(columns, self.entries.len());
        let at_ms: Option<Vec<i64>> = timed.then(|| self.entries.iter().map(|change| change.at_ms).collect());
        queue.rows(number, &rows, weights, at_ms.as_deref());
        self.entries.clear();
        self.bytes.clear();
    }

    /// Forgets those added behind the first `count`.
    pub fn truncate(&mut self, count: usize) {
        if let Some(first) = self.entries.get(count) {
            self.bytes.truncate(first.start);
            self.entries.truncate(count);
        }
    }

    /// The heap bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Change>()
    }
}
