//! A column whose values each are a JSON text of their own, for formats that keep objects in texts.

use arrow::array::ArrayRef;

use super::column::Column;
use super::exact::{Parser, Record};
use crate::record::SqlType;

/// A column made of JSON texts.
pub(in crate::codec) struct JsonTexts {
    parser: Parser,
    column: Column,
    rows: usize,
}

impl JsonTexts {
    /// A column of this type.
    pub(in crate::codec) fn new(data_type: &SqlType) -> Self {
        // Whether NULL is allowed is said with each value.
        Self { parser: Parser::new(), column: Column::new("", data_type, true), rows: 0 }
    }

    /// Adds the value that a text stands for.
    ///
    /// # Errors
    ///
    /// What is wrong with it, to follow the column's name: the row is there then, and its value is of no account.
    pub(in crate::codec) fn push(&mut self, text: &str, nullable: bool) -> Result<(), String> {
        if !nullable && text.trim() == "null" {
            self.push_null();
            return Err(" is NOT NULL and null".to_owned());
        }
        self.rows += 1;
        let column = &mut self.column;
        let pushed = self.parser.record(text.as_bytes(), |record| column.push(record, Record::root()));
        let told = match pushed {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(mismatch)) => mismatch.behind_name(),
            Err(reason) => format!(": {reason}"),
        };
        self.column.complete(self.rows);
        Err(told)
    }

    /// Adds a NULL.
    pub(in crate::codec) fn push_null(&mut self) {
        self.column.push_null();
        self.rows += 1;
    }

    /// The values so far; the next batch starts anew.
    pub(in crate::codec) fn finish(&mut self) -> ArrayRef {
        self.rows = 0;
        self.column.finish()
    }
}
