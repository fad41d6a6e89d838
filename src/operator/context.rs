//! What an operator tells besides its rows: rows it had to reject, rows that came too late.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};

use crate::codec::Encode;
use crate::codec::json::JsonEncoder;
use crate::record::{BadRecord, Batch, Schema};

/// Collects what happens beside the rows; the shard empties it after every step.
#[derive(Debug, Default)]
pub struct Context {
    /// The time of the step, milliseconds of wall time; set by the shard before it steps a stage.
    pub wall_ms: i64,
    /// Rows that go to quarantine.
    pub rejected: Vec<BadRecord>,
    /// How many rows came too late for their window.
    pub late: u64,
    /// How many rows a `throttle` has dropped.
    pub throttled: u64,
    /// Rows that leave the pipeline by a side stream, to be taken by the shard.
    pub side: Vec<SideRows>,
}

/// Rows for a side stream.
#[derive(Clone, Debug)]
pub struct SideRows {
    /// The stream's name.
    pub stream: Arc<str>,
    /// The rows, in the schema that the step has declared for the stream.
    pub rows: RecordBatch,
    /// Their event times, milliseconds; none where rows have none.
    pub at_ms: Option<Int64Array>,
    /// For each row which segment it was in of the batch that the operator took last; ascending.
    pub segments: Vec<usize>,
}

impl Context {
    /// Sends a row to quarantine: with its raw bytes where they are known, else as JSON.
    pub fn reject(&mut self, step: &str, schema: &Schema, batch: &Batch, row: usize, message: String) {
        let (source, position, raw) = if let Some(origin) = &batch.origin {
            let (position, raw) = origin.raw(row);
            (origin.source.clone(), position, raw.to_vec())
        } else {
            let mut text = Vec::new();
            JsonEncoder::new(schema).encode(&batch.rows.slice(row, 1), &mut text);
            text.truncate(text.trim_ascii_end().len());
            (Arc::from(step), 0, text)
        };
        self.rejected.push(BadRecord { source, position, error: "evaluate", message, raw });
    }
}
