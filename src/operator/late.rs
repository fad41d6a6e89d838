//! Rows that come too late for their window: counted, and sent to a side stream where the file names one.

use std::sync::Arc;

use arrow::array::{AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Int64Type;

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
    pub fn tell(&self, batch: &Batch, mut late: Vec<u32>, context: &mut Context) {
        if late.is_empty() {
            return;
        }
        context.late += late.len() as u64;
        let Some(side) = &self.side else { return };
        late.sort_unstable();
        let segments = segments_of(batch, &late);
        let late = UInt32Array::from(late);
        let columns = side.columns.iter().map(|index| {
            take(batch.rows.column(*index), &late, None).expect("the positions are inside the batch")
        });
        let rows = side.schema.rows(columns.collect(), late.len());
        let at_ms = batch.times.as_ref().map(|times| {
            let at_ms = take(&times.at_ms, &late, None).expect("the positions are inside the batch");
            at_ms.as_primitive::<Int64Type>().clone()
        });
        context.side.push(SideRows { stream: side.stream.clone(), rows, at_ms, segments });
    }
}

/// The segment that each of these rows of a batch is in; the rows are in the order of the batch.
fn segments_of(batch: &Batch, rows: &[u32]) -> Vec<usize> {
    let (mut segment, mut behind) = (0, batch.segments.first().map_or(0, |first| first.rows));
    let of = |row: &u32| {
        while *row >= behind {
            segment += 1;
            behind += batch.segments[segment].rows;
        }
        segment
    };
    rows.iter().map(of).collect()
}
