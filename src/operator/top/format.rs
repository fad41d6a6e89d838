//! The order of rows as bytes that compare as the rows do.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, Float64Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type};
use arrow::row::{RowConverter, Rows, SortField};

use crate::record::{Batch, Schema};

/// Writes the order of rows.
#[derive(Clone)]
pub(super) struct RowFormat {
    converter: Arc<RowConverter>,
    /// Positions of the columns that rows are ordered by, and their types.
    columns: Vec<(usize, DataType)>,
    /// How many of the columns are the row's own; those behind them have been computed.
    own: usize,
}

impl RowFormat {
    /// Of rows of this schema, by these columns; the first `own` columns are the row's own.
    pub fn new(schema: &Schema, own: usize, terms: &[(usize, SortOptions)]) -> Self {
        let data_type = |column: usize| schema.columns()[column].data_type.arrow();
        let field = |(column, options): &(usize, SortOptions)| {
            SortField::new_with_options(data_type(*column), *options)
        };
        let converter = RowConverter::new(terms.iter().map(field).collect());
        let converter = Arc::new(converter.expect("types that have an order have a row format"));
        let columns = terms.iter().map(|(column, _)| (*column, data_type(*column))).collect();
        Self { converter, columns, own }
    }

    /// The order of the rows of a batch.
    pub fn orders(&self, batch: &Batch) -> Rows {
        let column = |(index, _): &(usize, DataType)| comparable(batch.rows.column(*index).clone());
        let columns: Vec<ArrayRef> = self.columns.iter().map(column).collect();
        self.converter.convert_columns(&columns).expect("the columns have the types of the schema")
    }

    /// The columns in which orders are saved: what is none of the row's own columns.
    pub fn saved(&self) -> impl Iterator<Item = Field> {
        let numbered = (1..).zip(&self.columns).filter(|(_, (column, _))| *column >= self.own);
        numbered
            .map(|(number, (_, data_type))| Field::new(format!("order_{number}"), data_type.clone(), true))
    }

    /// These orders in the columns in which they are saved.
    pub fn save<'a>(&self, orders: impl Iterator<Item = &'a [u8]>) -> Vec<ArrayRef> {
        if self.columns.iter().all(|(column, _)| *column < self.own) {
            return Vec::new();
        }
        let (parser, orders) = (self.converter.parser(), orders.collect::<Vec<_>>());
        let columns = self.converter.convert_rows(orders.iter().map(|order| parser.parse(order)));
        let columns = columns.expect("what was written can be read").into_iter().zip(&self.columns);
        columns.filter(|(_, (column, _))| *column >= self.own).map(|(values, _)| values).collect()
    }

    /// The orders of rows of these columns of their own, and the columns in which the rest was saved.
    pub fn load(&self, own: &[ArrayRef], saved: &[ArrayRef]) -> Rows {
        let mut saved = saved.iter();
        let column = |(column, _): &(usize, DataType)| {
            let values = if *column < self.own { own.get(*column) } else { saved.next() };
            comparable(values.expect("every column has been saved").clone())
        };
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
