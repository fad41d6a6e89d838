//! A record on its way to the quarantine.

use std::sync::Arc;

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
