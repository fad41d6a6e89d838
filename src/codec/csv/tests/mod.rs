//! Tests of the codec as a whole: tables of meanings, and random texts and rows held against a second implementation.

mod differential;
mod meaning;
mod round_trip;

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::{CsvDecoder, CsvEncoder, Dialect, HeaderReader, header_line};
use crate::codec::json::{JsonDecoder, JsonEncoder};
use crate::codec::{Decode, Encode, Rejected};
use crate::record::{Column, Schema, parse_type};

/// A schema from names and types.
fn schema(columns: &[(&str, &str)]) -> Schema {
    let columns = columns.iter().map(|(name, data_type)| {
        let (data_type, nullable) = parse_type(data_type).expect(data_type);
        Column::new(*name, data_type, nullable)
    });
    Schema::new(columns.collect())
}

/// Decodes a text whose first line is a header where the dialect has one.
fn decode(dialect: &Dialect, columns: &Schema, text: &[u8]) -> (RecordBatch, Vec<Rejected>) {
    let mut decoder = CsvDecoder::new(dialect, columns, columns);
    let mut body = 0;
    if dialect.header {
        let reader = HeaderReader::new(dialect, columns);
        let (header, behind) = reader.read(text, true).expect("a header").expect("a line");
        decoder.begin(&Arc::new(header));
        body = behind;
    }
    let (mut spans, mut rejected) = (Vec::new(), Vec::new());
    decoder.frame(&text[body..], &mut spans);
    let rows = decoder.decode(&text[body..], &spans, &mut rejected);
    assert_eq!(rows.num_rows() + rejected.len(), spans.len());
    assert!(rejected.windows(2).all(|pair| pair[0].record < pair[1].record), "{rejected:?}");
    rows.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
    (rows, rejected)
}

/// Encodes rows, behind a header where the dialect has one.
fn encode(dialect: &Dialect, columns: &Schema, rows: &RecordBatch) -> Vec<u8> {
    let mut out = header_line(dialect, columns);
    CsvEncoder::new(dialect, columns).encode(rows, &mut out);
    out
}

/// The rows as JSON, to be looked at.
fn json(columns: &Schema, rows: &RecordBatch) -> String {
    let mut out = Vec::new();
    JsonEncoder::new(columns).encode(rows, &mut out);
    String::from_utf8(out).unwrap()
}

/// The rows of JSON objects, one a line, all of which are good.
fn of_json(columns: &Schema, text: &str) -> RecordBatch {
    let (rows, rejected) = parse_json(columns, text);
    assert!(rejected.is_empty(), "{rejected:?}");
    rows
}

/// The rows of JSON objects, one a line.
fn parse_json(columns: &Schema, text: &str) -> (RecordBatch, Vec<Rejected>) {
    let mut decoder = JsonDecoder::exact(columns);
    let (mut spans, mut rejected) = (Vec::new(), Vec::new());
    decoder.frame(text.as_bytes(), &mut spans);
    let rows = decoder.decode(text.as_bytes(), &spans, &mut rejected);
    (rows, rejected)
}
