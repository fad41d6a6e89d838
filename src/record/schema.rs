//! The columns of a batch: names, types, and whether NULL is allowed.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, FieldRef, Schema as ArrowSchema, SchemaRef};

use super::SqlType;

/// A named column, or a field of a ROW.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    /// Its name; case matters.
    pub name: String,
    /// Its type.
    pub data_type: SqlType,
    /// Whether it may be NULL.
    pub nullable: bool,
}

impl Column {
    /// A column.
    #[must_use]
    pub fn new(name: impl Into<String>, data_type: SqlType, nullable: bool) -> Self {
        Self { name: name.into(), data_type, nullable }
    }

    /// The Arrow field that carries it. Arrow is always told that NULL may occur: whether it may is ours to check.
    #[must_use]
    pub fn field(&self) -> FieldRef {
        Arc::new(Field::new(&self.name, self.data_type.arrow(), true))
    }
}

/// The columns of a batch, in order, with their Arrow form made once.
#[derive(Clone, Debug)]
pub struct Schema {
    columns: Arc<[Column]>,
    arrow: SchemaRef,
}

impl Schema {
    /// A schema of these columns.
    #[must_use]
    pub fn new(columns: Vec<Column>) -> Self {
        let fields: Vec<FieldRef> = columns.iter().map(Column::field).collect();
        Self { columns: columns.into(), arrow: Arc::new(ArrowSchema::new(fields)) }
    }

    /// The columns in order.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The Arrow form, shared by all batches of this schema.
    #[must_use]
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// Rows of these columns, `count` of them: with no columns there is no other way to know.
    ///
    /// # Panics
    ///
    /// If the columns are not those of the schema, or not of this length.
    #[must_use]
    pub fn rows(&self, columns: Vec<ArrayRef>, count: usize) -> RecordBatch {
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(self.arrow.clone(), columns, &options)
            .expect("the columns are made as the schema has them")
    }

    /// The position of a column.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The column of a name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.columns == other.columns
    }
}
