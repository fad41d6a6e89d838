//! `explode`: one row per element of an array (SQL's UNNEST). A row whose array is empty or NULL makes no row.

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, UInt32Array};

use super::drop::{exists, unknown_column};
use super::work::position_of;
use super::{Build, Changelog, Context, Flow, Operator, Part, Resolved, Step, Verb};
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
    if let Some(column) = column.filter(|column| column.expression().is_none()) {
        problems.push(
            Problem::error(column.at, format!("`column` takes the name of a column, not {}", column.kind()))
                .help("write for instance explode: { column: tags }"),
        );
    }
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
        // One row becomes several: what was unique is not any more.
        let changelog = input.changelog.as_ref().map(|_| Changelog { key: None });
        let output = Flow { schema: schema.clone(), changelog, ..input.clone() };
        let build = Build::new(format!("explode {}", self.column), move || {
            Box::new(Explode { column: index, schema: schema.clone(), work: None })
        });
        let column = self.column.clone();
        Some(Resolved {
            output,
            side: Vec::new(),
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
    work: Option<Work>,
}

/// The bytes that one batch of output may repeat, so that no column outgrows its offsets.
const REPEATED_BYTES_MAX: usize = 64 << 20;
/// Rows of a batch are measured one by one only where the largest possible one, repeated, could exceed this.
const UNMEASURED_BYTES_MAX: usize = 1 << 30;

/// A batch of input and how far it has been worked off.
struct Work {
    lists: ListArray,
    /// The input without the arrays, which are not to be repeated.
    rest: Batch,
    measured: bool,
    segment: usize,
    /// How many rows of the segment, and how many elements of the row behind them, are done.
    rows_done: u32,
    elements_done: i32,
    row: usize,
}

impl Operator for Explode {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        let lists = batch.rows.column(self.column).as_list::<i32>().clone();
        let others: Vec<usize> =
            (0..batch.rows.num_columns()).filter(|index| *index != self.column).collect();
        let rows = batch.rows.project(&others).expect("the columns are there");
        let bytes: usize = rows.columns().iter().map(arrow::array::Array::get_buffer_memory_size).sum();
        let measured = bytes.saturating_mul(Batch::ROWS_MAX) > UNMEASURED_BYTES_MAX;
        let rest = batch.with_rows(rows);
        self.work = Some(Work { lists, rest, measured, segment: 0, rows_done: 0, elements_done: 0, row: 0 });
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        let mut work = self.work.take()?;
        let (piece, is_last) = work.next();
        let batch = piece.batch(&work, self.column, &self.schema);
        if !is_last {
            self.work = Some(work);
        }
        Some(batch)
    }
}

impl Work {
    /// The next rows of output, and whether they are the last.
    fn next(&mut self) -> (Piece, bool) {
        let mut piece = Piece::default();
        while let Some(segment) = self.rest.segments.get(self.segment).copied() {
            let before = piece.rows.len();
            let mut full = false;
            while self.rows_done < segment.rows && !full {
                full = !self.take_row(&mut piece);
            }
            let rows = u32::try_from(piece.rows.len() - before).expect("a batch is far below 4 G rows");
            if full {
                piece.segments.push(Segment { rows, end: None, ..segment });
                return (piece, false);
            }
            piece.segments.push(Segment { rows, ..segment });
            self.segment += 1;
            self.rows_done = 0;
        }
        (piece, true)
    }

    /// Adds the elements of the current row; false if the piece is full before they are all in.
    fn take_row(&mut self, piece: &mut Piece) -> bool {
        let offsets = self.lists.value_offsets();
        let end = offsets[self.row + 1];
        let mut element = offsets[self.row] + self.elements_done;
        if self.lists.is_valid(self.row) && element < end {
            let bytes = if self.measured { row_bytes(&self.rest.rows, self.row) } else { 0 };
            while element < end {
                let full = piece.rows.len() == Batch::ROWS_MAX
                    || piece.bytes.saturating_add(bytes) > REPEATED_BYTES_MAX && !piece.rows.is_empty();
                if full {
                    self.elements_done = element - offsets[self.row];
                    return false;
                }
                piece.bytes = piece.bytes.saturating_add(bytes);
                piece.rows.push(position_of(self.row));
                piece.elements.push(u32::try_from(element).expect("offsets are not negative"));
                element += 1;
            }
        }
        self.elements_done = 0;
        self.row += 1;
        self.rows_done += 1;
        true
    }
}

/// How many bytes a row has, about.
fn row_bytes(rows: &RecordBatch, row: usize) -> usize {
    let bytes = |column: &ArrayRef| column.slice(row, 1).to_data().get_slice_memory_size().unwrap_or(0);
    rows.columns().iter().map(bytes).sum()
}

/// The rows of one batch of output: which row of the input each repeats, and which element it gets.
#[derive(Default)]
struct Piece {
    rows: Vec<u32>,
    elements: Vec<u32>,
    bytes: usize,
    segments: Vec<Segment>,
}

impl Piece {
    fn batch(self, work: &Work, column: usize, schema: &Schema) -> Batch {
        let element = arrow::compute::take(work.lists.values(), &UInt32Array::from(self.elements), None)
            .expect("elements are inside the array");
        let repeated = work.rest.take(&UInt32Array::from(self.rows), self.segments);
        let mut columns = repeated.rows.columns().to_vec();
        columns.insert(column, element);
        let rows =
            RecordBatch::try_new(schema.arrow().clone(), columns).expect("the element has the array's type");
        repeated.with_rows(rows)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;
    use arrow::datatypes::Int32Type;

    use super::super::verify::{check, flow_of, resolve_step};
    use super::*;
    use crate::record::parse_type;

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

    #[test]
    fn batches_are_cut_by_rows_and_by_bytes_as_they_are_pulled() {
        let schema = Schema::new(
            [("text", "STRING"), ("tags", "ARRAY<INT>")]
                .map(|(name, text)| Column::new(name, parse_type(text).unwrap().0, true))
                .to_vec(),
        );
        let pulled = |text_bytes: usize, elements: i32| -> Vec<usize> {
            let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(text_bytes)]));
            let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some((0..elements).map(Some))]);
            let rows = RecordBatch::try_new(schema.arrow().clone(), vec![text, Arc::new(lists)]).unwrap();
            let build = operator_of("explode: tags", &schema);
            let mut context = Context::default();
            let mut explode = (build.build)();
            explode.push(Batch::of_rows(rows, 0), &mut context);
            std::iter::from_fn(|| explode.pull(&mut context)).map(|batch| batch.len()).collect()
        };
        let most = i32::try_from(Batch::ROWS_MAX).unwrap();
        assert_eq!(pulled(10, 2 * most + 2), [Batch::ROWS_MAX, Batch::ROWS_MAX, 2]);
        assert_eq!(pulled(10, most), [Batch::ROWS_MAX]);
        // Three gigabytes in one column would be more than its offsets can count.
        let batches = pulled(3 << 20, 1024);
        assert!(batches.iter().all(|rows| (1..=21).contains(rows)), "{batches:?}");
        assert_eq!(batches.iter().sum::<usize>(), 1024);
    }

    fn operator_of(step: &str, schema: &Schema) -> Build {
        match resolve_step(step, &flow_of(schema)).parts.remove(0) {
            Part::Operator(build) => build,
            Part::Exchange { .. } => panic!("explode is one operator"),
        }
    }
}
