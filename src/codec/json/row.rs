//! The columns of an object, filled a row at a time.

use arrow::array::ArrayRef;
use simd_json::value::tape::Node;

use super::column::Column;
use super::exact::{Place, Record, Value};
use super::fields::Fields;
use super::scalar;
use crate::record::Column as Declared;

/// Why a value does not fit its column; boxed, for results without one are returned for every value.
#[derive(Debug)]
pub(super) struct Mismatch(Box<Parts>);

#[derive(Debug)]
struct Parts {
    /// The column, dotted; empty for the record itself.
    path: String,
    /// What is wrong, to follow the path.
    what: String,
}

impl Mismatch {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(Box::new(Parts { path: String::new(), what: what.into() }))
    }

    /// The same one level up: `part` is a name or an index.
    pub(super) fn below(mut self, part: &str) -> Self {
        let path = &mut self.0.path;
        let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        *path = format!("{part}{dot}{path}");
        self
    }

    /// The mismatch in words that follow the name of a column, in which the path is.
    pub(super) fn behind_name(&self) -> String {
        let Parts { path, what } = &*self.0;
        if path.is_empty() { what.clone() } else { format!(", at `{path}`{what}") }
    }

    /// The mismatch in words.
    pub(super) fn reason(&self) -> String {
        let Parts { path, what } = &*self.0;
        if path.is_empty() { format!("the record{what}") } else { format!("column `{path}`{what}") }
    }
}

/// Whether a value went into its column. On an error parts of the row may be there already: see [`Row::complete`].
pub(super) type Pushed = Result<(), Mismatch>;

/// The columns of an object: the record's own, or a ROW's.
pub(super) struct Row {
    fields: Fields,
    columns: Vec<Column>,
    /// For each column where its value is on the tape; 0 where it is missing.
    positions: Vec<usize>,
}

impl Row {
    pub(super) fn new(columns: &[Declared]) -> Self {
        Self {
            fields: Fields::new(columns.iter().map(|column| column.name.as_str())),
            columns: columns
                .iter()
                .map(|column| Column::new(&column.name, &column.data_type, column.nullable))
                .collect(),
            positions: vec![0; columns.len()],
        }
    }

    /// Adds the record as a row.
    pub(super) fn push_root(&mut self, record: &Record<'_>) -> Pushed {
        match record.node(Record::root()) {
            Node::Object { len, .. } => self.push(record, 0, len),
            _ => Err(Mismatch::new(format!(
                " is not a JSON object but {}",
                scalar::describe(record, Record::root())
            ))),
        }
    }

    /// Adds the object at a position of the tape as a row; `len` is how many keys it has.
    pub(super) fn push(&mut self, record: &Record<'_>, object: usize, len: usize) -> Pushed {
        self.positions.fill(0);
        let mut previous = Fields::start();
        let mut position = object + 1;
        for _ in 0..len {
            if let Some(column) = self.fields.column(&mut previous, record.key(position).as_bytes()) {
                self.positions[column] = position + 1;
            }
            position = record.behind(position + 1);
        }
        for (column, position) in self.columns.iter_mut().zip(&self.positions) {
            let pushed = match *position {
                0 => column.push_missing(),
                position => {
                    let place = Place::Behind(record.key(position - 1));
                    column.push(record, Value { position, place })
                }
            };
            pushed.map_err(|mismatch| mismatch.below(&column.name))?;
        }
        Ok(())
    }

    pub(super) fn push_null(&mut self) {
        self.columns.iter_mut().for_each(Column::push_null);
    }

    /// Makes every column `rows` long after a row that ended half-way.
    pub(super) fn complete(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.complete(rows));
    }

    pub(super) fn longest(&self) -> usize {
        self.columns.iter().map(Column::longest).max().unwrap_or(0)
    }

    /// The columns built so far; the next batch starts anew.
    pub(super) fn finish(&mut self) -> Vec<ArrayRef> {
        self.columns.iter_mut().map(Column::finish).collect()
    }
}
