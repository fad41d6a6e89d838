//! The key bytes of a batch's rows.

use arrow::array::ArrayRef;

use crate::record::{Batch, KeyCodec};

/// One key per row, as [`KeyCodec`] writes it.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyBytes {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl KeyBytes {
    /// The keys of the rows of `batch`, made of the columns at these positions.
    pub fn of(batch: &Batch, columns: &[usize], codec: &KeyCodec) -> Self {
        let columns: Vec<ArrayRef> = columns.iter().map(|index| batch.rows.column(*index).clone()).collect();
        Self::of_columns(&columns, batch.len(), codec)
    }

    /// The keys of so many rows, made of these columns.
    pub fn of_columns(columns: &[ArrayRef], rows: usize, codec: &KeyCodec) -> Self {
        let mut keys = Self { bytes: Vec::new(), ends: Vec::with_capacity(rows) };
        codec.encode(columns, rows, &mut keys.bytes, &mut keys.ends);
        keys
    }

    /// The hash and the key of every row of the batch that they are of.
    pub fn of_rows<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = (u64, &'a [u8])> {
        let hashes = batch.hashes.as_ref().expect("an exchange has hashed the keys").values();
        hashes.iter().enumerate().map(|(row, hash)| (*hash, self.key(row)))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The key of a row.
    pub fn key(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] as usize };
        &self.bytes[start..self.ends[row] as usize]
    }
}
