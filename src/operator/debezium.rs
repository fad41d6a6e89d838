//! The last operator of a sink with `changelog: debezium`: every change as an object of its own, as Flink's
//! `debezium-json` writes it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, RecordBatch, StringArray, StructArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::Fields;

use super::{Build, Context, Operator};
use crate::record::{Batch, Column, Schema, SqlType};

/// The columns of changes of rows of `schema`: `before`, `after`, `op`.
#[must_use]
pub fn debezium_schema(schema: &Schema) -> Schema {
    let row = || SqlType::Row(schema.columns().to_vec());
    Schema::new(vec![
        Column::new("before", row(), true),
        Column::new("after", row(), true),
        Column::new("op", SqlType::String, false),
    ])
}

/// Makes rows of `schema` into their changes: `op` is `c` with the row as `after`, or `d` with the row as `before`.
#[must_use]
pub fn debezium(schema: &Schema) -> Build {
    let fields = schema.arrow().fields().clone();
    let output = debezium_schema(schema);
    Build::new("write every change: {before, after, op}", move || {
        Box::new(Debezium { fields: fields.clone(), output: output.clone(), ready: None })
    })
}

struct Debezium {
    fields: Fields,
    output: Schema,
    ready: Option<Batch>,
}

impl Operator for Debezium {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        let inserts = match &batch.weights {
            Some(weights) => inserts(weights),
            None => BooleanBuffer::new_set(batch.len()),
        };
        let row = |there: BooleanBuffer| -> ArrayRef {
            let (fields, columns) = (self.fields.clone(), batch.rows.columns().to_vec());
            let (length, nulls) = (batch.len(), Some(NullBuffer::new(there)));
            let array = StructArray::try_new_with_length(fields, columns, nulls, length);
            Arc::new(array.expect("the columns of the schema"))
        };
        let op: StringArray = inserts.iter().map(|insert| Some(if insert { "c" } else { "d" })).collect();
        let columns = vec![row(!&inserts), row(inserts), Arc::new(op) as ArrayRef];
        let rows = RecordBatch::try_new(self.output.arrow().clone(), columns).expect("columns of one length");
        self.ready = Some(Batch { weights: None, ..batch }.with_rows(rows));
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        self.ready.take()
    }
}

/// Which rows are inserted.
fn inserts(weights: &Int8Array) -> BooleanBuffer {
    weights.values().iter().map(|weight| *weight > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::super::feed::{Feed, check_build};
    use super::*;

    #[test]
    fn every_change_is_an_object() {
        let build = |schema: &Schema| (debezium(schema), debezium_schema(schema));
        let feed = [
            Feed::Rows(1, &[r#"+{"channel":"a","price":1}"#, r#"-{"channel":"a","price":1}"#]),
            Feed::End(1),
            Feed::Rows(2, &[r#"+{"channel":null,"price":2}"#]),
        ];
        let expect = [
            r#"1 {"before":null,"after":{"channel":"a","price":1},"op":"c"}"#,
            r#"1 {"before":{"channel":"a","price":1},"after":null,"op":"d"}"#,
            "end 1",
            r#"2 {"before":null,"after":{"channel":null,"price":2},"op":"c"}"#,
        ];
        check_build(build, &feed, &expect);
        check_build(
            build,
            &[Feed::Rows(1, &[r#"{"price":1}"#])],
            &[r#"1 {"before":null,"after":{"price":1},"op":"c"}"#],
        );
    }
}
