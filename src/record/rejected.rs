//! A record on its way to the quarantine, or into a stream.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use base64::Engine;

use super::{Column, Schema, SqlType};

/// A record that could not be decoded or evaluated: its bytes, where they came from, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// The source as its user knows it: a path, `stdin`, or the step that made the row.
    pub source: Arc<str>,
    /// The position in the source, bytes; 0 for rows that a step made.
    pub position: u64,
    /// What failed: `decode`, `event_time`, `evaluate`, `too_long`, `future`.
    pub error: &'static str,
    /// What is wrong, for a person.
    pub message: String,
    /// The record as it was read; for rows that a step made, the row as JSON.
    pub raw: Vec<u8>,
}

impl BadRecord {
    /// The columns of a stream of bad records; what they say is what a line of the quarantine says.
    #[must_use]
    pub fn schema() -> Schema {
        let text = |name: &str, nullable| Column::new(name, SqlType::String, nullable);
        Schema::new(vec![
            text("raw", false),
            text("raw_encoding", true),
            text("source", false),
            Column::new("position", SqlType::BigInt, false),
            text("error", false),
            text("message", false),
            Column::new("at", SqlType::TimestampLtz(3), false),
        ])
    }

    /// The records as rows of [`BadRecord::schema`]; `wall_ms` is the time.
    #[must_use]
    pub fn rows(records: &[Self], wall_ms: i64) -> RecordBatch {
        let texts = |text: &dyn Fn(&Self) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(records.iter().map(text)))
        };
        let raw = texts(&|record| record.raw_text().0.into_owned());
        let encodings: StringArray = records.iter().map(|record| record.raw_text().1).collect();
        let position = |record: &Self| i64::try_from(record.position).unwrap_or(i64::MAX);
        let at = TimestampMillisecondArray::from(vec![wall_ms; records.len()]).with_timezone("+00:00");
        let columns: Vec<ArrayRef> = vec![
            raw,
            Arc::new(encodings),
            texts(&|record| record.source.to_string()),
            Arc::new(records.iter().map(position).collect::<Int64Array>()),
            texts(&|record| record.error.to_owned()),
            texts(&|record| record.message.clone()),
            Arc::new(at),
        ];
        Self::schema().rows(columns, records.len())
    }

    /// The record as text and how it is encoded, where it is not UTF-8: base64.
    #[must_use]
    pub fn raw_text(&self) -> (Cow<'_, str>, Option<&'static str>) {
        match std::str::from_utf8(&self.raw) {
            Ok(text) => (text.into(), None),
            Err(_) => (base64::engine::general_purpose::STANDARD.encode(&self.raw).into(), Some("base64")),
        }
    }
}
