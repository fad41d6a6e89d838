//! Whole rows as bytes and back, in Arrow's row format: how operators keep rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field};
use arrow::row::{RowConverter, Rows, SortField};

use crate::record::Schema;

/// Writes rows of one schema as bytes that are equal exactly where the rows are, and reads them again.
pub(super) struct RowBytes {
    schema: Schema,
    converter: RowConverter,
}

impl RowBytes {
    /// A codec of rows of this schema, which has at least one column.
    pub fn new(schema: &Schema) -> Self {
        let fields = schema.arrow().fields().iter().map(|field| SortField::new(field.data_type().clone()));
        let converter = RowConverter::new(fields.collect()).expect("every type of a column can be written");
        Self { schema: schema.clone(), converter }
    }

    /// The bytes of rows of these columns.
    pub fn write(&self, columns: &[ArrayRef]) -> Rows {
        self.converter.convert_columns(columns).expect("the rows are of the codec's schema")
    }

    /// The columns of rows that [`RowBytes::write`] has written.
    pub fn columns<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Vec<ArrayRef> {
        let parser = self.converter.parser();
        let rows: Vec<&[u8]> = rows.collect();
        let parsed = rows.iter().map(|row| parser.parse(row));
        self.converter.convert_rows(parsed).expect("what was written can be read")
    }

    /// The same as a batch of rows.
    pub fn read<'a>(&self, rows: impl ExactSizeIterator<Item = &'a [u8]>) -> RecordBatch {
        let count = rows.len();
        self.schema.rows(self.columns(rows), count)
    }

    /// The column in which rows are saved: one of rows, so that their columns may be called as they are.
    pub fn saved(&self) -> Field {
        Field::new("row", DataType::Struct(self.schema.arrow().fields().clone()), false)
    }

    /// These rows in the column in which they are saved.
    pub fn save<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> ArrayRef {
        Arc::new(StructArray::new(self.schema.arrow().fields().clone(), self.columns(rows), None))
    }

    /// The bytes of rows that were saved in this column: those that they had.
    pub fn load(&self, column: &ArrayRef) -> Rows {
        self.write(column.as_struct().columns())
    }
}
