//! `explode`: one row per element of an array (SQL's UNNEST). A row whose array is empty or NULL makes no row.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};

use super::drop::{exists, unknown_column};
use super::{Build, Context, Flow, Operator, Part, Resolved, Step, Verb};
use crate::error::{Place, Problem, Problems};
use crate::record::{Batch, Column, Schema, Segment, SqlType};
use crate::yaml::{Fields, Node};

/// The entry in the registry.
pub(super) const VERB: Verb = Verb {
    name: "explode",
    summary: "makes one row per element of an array (UNNEST); the element takes the array's place, or the name given with `as`",
    example: "explode: { column: tags, as: tag }",
    parse,
};

fn parse(node: &Node, _: Place, problems: &mut Problems) -> Option<Box<dyn Step>> {
    if let Some(name) = node.expression() {
        return Some(Box::new(Declared { column: name.to_owned(), at: node.at, renamed: None }));
    }
    let mut fields = Fields::of(node, "explode", problems);
    let column = fields.required("column", problems);
    let renamed = fields.text("as", problems).map(str::to_owned);
    fields.finish(problems);
    let column = column?;
    let name = column.expression()?;
    Some(Box::new(Declared { column: name.to_owned(), at: column.at, renamed }))
}

#[derive(Debug)]
struct Declared {
    column: String,
    at: Place,
    renamed: Option<String>,
}

impl Step for Declared {
    fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved> {
        let unpruned = Flow { pruned: false, ..input.clone() };
        if !exists(&self.column, self.at, &unpruned, problems) {
            return None;
        }
        let Some(index) = input.schema.index_of(&self.column) else {
            problems.push(unknown_column(&self.column, self.at, &input.schema));
            return None;
        };
        let array = &input.schema.columns()[index];
        let SqlType::Array(element, nullable) = &array.data_type else {
            problems.push(
                Problem::error(self.at, format!("`{}` is {}, not an ARRAY", self.column, array.data_type))
                    .help("explode takes a column of type ARRAY<…>"),
            );
            return None;
        };
        let name = self.renamed.clone().unwrap_or_else(|| self.column.clone());
        if name != self.column && input.schema.index_of(&name).is_some() {
            problems.error(self.at, format!("there is already a column `{name}`"));
            return None;
        }
        let mut columns = input.schema.columns().to_vec();
        columns[index] = Column::new(name.clone(), (**element).clone(), *nullable);
        let schema = Schema::new(columns);
        let output = Flow { schema: schema.clone(), ..input.clone() };
        let build = Build::new(format!("explode {}", self.column), move || {
            Box::new(Explode { column: index, schema: schema.clone(), ready: VecDeque::new() })
        });
        let column = self.column.clone();
        Some(Resolved {
            output,
            parts: vec![Part::Operator(build)],
            required: Box::new(move |used| {
                let mut needed = used.map_columns(|used| (used != name).then(|| used.to_owned()));
                needed.insert(vec![column.clone()]);
                needed
            }),
        })
    }
}

struct Explode {
    column: usize,
    schema: Schema,
    ready: VecDeque<Batch>,
}

impl Operator for Explode {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        let lists = batch.rows.column(self.column).as_list::<i32>();
        let offsets = lists.value_offsets();
        let mut piece = Piece::default();
        let mut row = 0_usize;
        for segment in &batch.segments {
            let mut open = Segment { rows: 0, end: None, ..*segment };
            for _ in 0..segment.rows {
                let elements = if lists.is_null(row) { 0..0 } else { offsets[row]..offsets[row + 1] };
                for element in elements {
                    piece.rows.push(u32::try_from(row).expect("a batch is far below 4 G rows"));
                    piece.elements.push(u32::try_from(element).expect("offsets are not negative"));
                    open.rows += 1;
                    if piece.rows.len() == Batch::ROWS_MAX {
                        piece.segments.push(open);
                        open.rows = 0;
                        let full = std::mem::take(&mut piece);
                        self.ready.push_back(full.batch(&batch, lists.values(), self.column, &self.schema));
                    }
                }
                row += 1;
            }
            piece.segments.push(Segment { end: segment.end, ..open });
        }
        self.ready.push_back(piece.batch(&batch, lists.values(), self.column, &self.schema));
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        self.ready.pop_front()
    }
}

/// The rows of one batch of output: which row of the input each repeats, and which element it gets.
#[derive(Default)]
struct Piece {
    rows: Vec<u32>,
    elements: Vec<u32>,
    segments: Vec<Segment>,
}

impl Piece {
    fn batch(self, input: &Batch, values: &ArrayRef, column: usize, schema: &Schema) -> Batch {
        let element = arrow::compute::take(values, &UInt32Array::from(self.elements), None)
            .expect("elements are inside the array");
        let repeated = input.take(&UInt32Array::from(self.rows), self.segments);
        let mut columns = repeated.rows.columns().to_vec();
        columns[column] = element;
        let rows =
            RecordBatch::try_new(schema.arrow().clone(), columns).expect("the element has the array's type");
        repeated.with_rows(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::super::verify::check;

    #[test]
    fn one_row_per_element() {
        check(
            "explode: { column: tags, as: tag }",
            &[
                r#"{"price":1,"tags":["a","b"]}"#,
                r#"{"price":2,"tags":[]}"#,
                r#"{"price":3,"tags":null}"#,
                r#"{"price":4,"tags":[null]}"#,
            ],
            &[r#"{"price":1,"tag":"a"}"#, r#"{"price":1,"tag":"b"}"#, r#"{"price":4,"tag":null}"#],
        );
    }

    #[test]
    fn more_elements_than_a_batch_holds() {
        let tags: Vec<String> = (0..5000).map(|n| format!("\"{n}\"")).collect();
        let input = format!(r#"{{"price":1,"tags":[{}]}}"#, tags.join(","));
        let expect: Vec<String> = (0..5000).map(|n| format!(r#"{{"price":1,"tags":"{n}"}}"#)).collect();
        check("explode: tags", &[&input], &expect.iter().map(String::as_str).collect::<Vec<_>>());
    }
}
