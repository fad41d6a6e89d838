//! Rows that come too late for their window: counted, and sent to a side stream where the file names one.

use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::compute::take;

use crate::operator::{Context, SideRows};
use crate::record::{Batch, Schema};

/// What a windowed step does about late rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Lateness {
    /// For how long a window that has fired still takes rows, milliseconds.
    pub allow_ms: i64,
    /// Where rows go that are later.
    pub side: Option<Side>,
}

/// A side stream of late rows.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub stream: Arc<str>,
    /// Where the columns of the stream are in the operator's input.
    pub columns: Vec<usize>,
    pub schema: Schema,
}

impl Side {
    /// The side stream of an operator whose input begins with the columns of the stream.
    pub fn of_whole_rows(stream: &str, schema: &Schema) -> Self {
        Self { stream: stream.into(), columns: (0..schema.columns().len()).collect(), schema: schema.clone() }
    }
}

impl Lateness {
    /// Counts these rows of a batch, and sends them where late rows go.
    pub fn tell(&self, batch: &Batch, late: Vec<u32>, context: &mut Context) {
        if late.is_empty() {
            return;
        }
        context.late += late.len() as u64;
        let Some(side) = &self.side else { return };
        let late = UInt32Array::from(late);
        let columns = side.columns.iter().map(|index| {
            take(batch.rows.column(*index), &late, None).expect("the positions are inside the batch")
        });
        let rows = side.schema.rows(columns.collect(), late.len());
        context.side.push(SideRows { stream: side.stream.clone(), rows });
    }
}
