//! The order of rows as bytes that compare as the rows do.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, Float64Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::row::{RowConverter, Rows, SortField};

use crate::record::{Batch, Schema};

/// Writes the order of rows.
#[derive(Clone)]
pub(super) struct RowFormat {
    converter: Arc<RowConverter>,
    /// Positions of the columns that rows are ordered by.
    columns: Vec<usize>,
}

impl RowFormat {
    /// Of rows of this schema, by these columns.
    pub fn new(schema: &Schema, terms: &[(usize, SortOptions)]) -> Self {
        let field = |(column, options): &(usize, SortOptions)| {
            SortField::new_with_options(schema.columns()[*column].data_type.arrow(), *options)
        };
        let converter = RowConverter::new(terms.iter().map(field).collect());
        let converter = Arc::new(converter.expect("types that have an order have a row format"));
        Self { converter, columns: terms.iter().map(|(column, _)| *column).collect() }
    }

    /// The order of these rows of a batch.
    pub fn orders(&self, batch: &Batch, rows: Range<usize>) -> Rows {
        let column = |index: &usize| comparable(batch.rows.column(*index).slice(rows.start, rows.len()));
        let columns: Vec<ArrayRef> = self.columns.iter().map(column).collect();
        self.converter.convert_columns(&columns).expect("the columns have the types of the schema")
    }
}

/// Doubles with one zero and one NaN, which is above all numbers.
fn comparable(column: ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => {
            let one = |value: f32| if value.is_nan() { f32::NAN } else { value + 0.0 };
            let column: Float32Array = column.as_primitive::<Float32Type>().unary(one);
            Arc::new(column)
        }
        DataType::Float64 => {
            let one = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
            let column: Float64Array = column.as_primitive::<Float64Type>().unary(one);
            Arc::new(column)
        }
        _ => column,
    }
}
