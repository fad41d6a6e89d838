//! Bytes to records and back. A codec knows no transport: it is handed the bytes of a chunk and where its records are.

pub mod framing;
pub mod json;

use arrow::array::RecordBatch;

/// Decodes records into columns; one per shard, called once per batch.
pub trait Decode {
    /// Decodes the records of `bytes` at `spans` (offset in the upper half, length in the lower half of each) into
    /// columns of the decoder's schema, one row per good record in the records' order. A record that cannot be decoded
    /// makes no row and is pushed to `rejected`, in order.
    fn decode(&mut self, bytes: &[u8], spans: &[u64], rejected: &mut Vec<Rejected>) -> RecordBatch;
}

/// A record that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Index into the spans handed to [`Decode::decode`].
    pub record: u32,
    /// What is wrong with it, for a person: which column, what was found, what was expected.
    pub reason: String,
}

/// Encodes rows into bytes; one per shard, called once per batch.
pub trait Encode {
    /// Appends the rows, framed, to `out`.
    fn encode(&mut self, rows: &RecordBatch, out: &mut Vec<u8>);
}
