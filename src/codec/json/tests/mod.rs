//! Tests of the codec as a whole: tables of meanings, and random records.

mod decoding;
mod differential;
mod encoding;
mod equivalence;

use arrow::array::RecordBatch;

use super::{JsonDecoder, JsonEncoder};
use crate::codec::framing::frame_lines;
use crate::codec::{Decode, Encode, Rejected};
use crate::record::{Column, Origin, Schema, parse_type};

/// A schema from names and types.
fn schema(columns: &[(&str, &str)]) -> Schema {
    let columns = columns.iter().map(|(name, data_type)| {
        let (data_type, nullable) = parse_type(data_type).expect(data_type);
        Column::new(*name, data_type, nullable)
    });
    Schema::new(columns.collect())
}

/// Decodes lines.
fn decode_lines(decoder: &mut JsonDecoder, text: &str) -> (RecordBatch, Vec<Rejected>) {
    let mut spans = Vec::new();
    frame_lines(text.as_bytes(), &mut spans);
    let mut rejected = Vec::new();
    let rows = decoder.decode(text.as_bytes(), &spans, &mut rejected);
    (rows, rejected)
}

/// Decodes one record, whatever bytes it has.
fn decode_one(decoder: &mut JsonDecoder, bytes: &[u8]) -> Result<RecordBatch, String> {
    let mut rejected = Vec::new();
    let span = Origin::span(0, u32::try_from(bytes.len()).unwrap());
    let rows = decoder.decode(bytes, &[span], &mut rejected);
    assert_eq!(rows.num_rows() + rejected.len(), 1);
    rows.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
    match rejected.pop() {
        Some(rejected) => Err(rejected.reason),
        None => Ok(rows),
    }
}

/// Encodes rows.
fn encode(schema: &Schema, rows: &RecordBatch) -> String {
    let mut out = Vec::new();
    JsonEncoder::new(schema).encode(rows, &mut out);
    String::from_utf8(out).unwrap()
}
