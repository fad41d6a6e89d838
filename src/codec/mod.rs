//! Bytes to records and back. A codec knows no transport: it is handed the bytes of a chunk and where its records are.
//!
//! A new format is a folder here, its `mod` line, a variant of [`Format`] and an entry in [`FORMATS`].

pub mod csv;
mod format;
pub mod framing;
pub mod json;

use std::sync::Arc;

use arrow::array::RecordBatch;
pub use format::{FORMATS, Format, Kind, Way, kind};

use csv::Header;

/// Decodes records into columns; one per shard, called once per batch.
pub trait Decode {
    /// Takes what the first line of a split says of its records; called before those of each piece of a split that has
    /// such a line.
    fn begin(&mut self, _header: &Arc<Header>) {}

    /// Pushes to `spans` where the records of `bytes` are, in order, as [`crate::record::Origin::span`] has it.
    fn frame(&self, bytes: &[u8], spans: &mut Vec<u64>) {
        framing::frame_lines(bytes, spans);
    }

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

/// Where a span is: its offset and its end.
fn ends(span: u64) -> (usize, usize) {
    let (offset, length) = ((span >> 32) as usize, (span & 0xffff_ffff) as usize);
    (offset, offset + length)
}
