//! `route`: rows go the way of the first case that holds. It ends a stream, whose rows then are those of its cases, so it is
//! no verb like the others: it has no one output.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute::kernels::cmp::eq;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef, UInt32Type};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::expression::evaluate_all;
use super::{Build, Context, Operator};
use crate::expr::Expr;
use crate::record::{Batch, Schema};

/// The number of the rows of no case.
const NO_CASE: u32 = u32::MAX;

/// Finds for each row of `schema` the first of these conditions that is TRUE: its number stands in a column of its own
/// behind the others, for [`case`] to choose by. A row for which one fails goes to quarantine, as in a filter.
#[must_use]
pub fn route(schema: &Schema, conditions: Vec<Expr>) -> Build {
    let reads_clock = conditions.iter().any(Expr::uses_clock);
    let schema = schema.clone();
    let fields = schema.arrow().fields().iter().cloned();
    let number = Arc::new(Field::new("", DataType::UInt32, false));
    let numbered: SchemaRef = Arc::new(ArrowSchema::new(fields.chain([number]).collect::<Vec<_>>()));
    let build = Build::new("route to the first case that holds", move || {
        let (schema, conditions, numbered) = (schema.clone(), conditions.clone(), numbered.clone());
        Box::new(Route { schema, conditions, numbered, ready: None })
    });
    Build { reads_clock, ..build }
}

/// Chooses the rows of the case of this number, or those of no case, behind [`route`] over rows of `schema`. `name` is the
/// case's.
#[must_use]
pub fn case(schema: &Schema, name: &str, number: Option<usize>) -> Build {
    let schema = schema.arrow().clone();
    let number = number.map_or(NO_CASE, |number| u32::try_from(number).expect("few cases"));
    Build::new(format!("case {name}"), move || Box::new(Case { schema: schema.clone(), number, ready: None }))
}

struct Route {
    schema: Schema,
    conditions: Vec<Expr>,
    numbered: SchemaRef,
    ready: Option<Batch>,
}

impl Operator for Route {
    fn push(&mut self, batch: Batch, context: &mut Context) {
        let conditions: Vec<&Expr> = self.conditions.iter().collect();
        let (batch, results) = evaluate_all(&conditions, "route", &self.schema, batch, context);
        let mut numbers = vec![NO_CASE; batch.len()];
        // The first case that holds is written last.
        for (number, holds) in results.iter().enumerate().rev() {
            let number = u32::try_from(number).expect("few cases");
            for (row, holds) in holds.as_boolean().iter().enumerate() {
                if holds == Some(true) {
                    numbers[row] = number;
                }
            }
        }
        let mut columns = batch.rows.columns().to_vec();
        columns.push(Arc::new(UInt32Array::from(numbers)) as ArrayRef);
        let rows = with_columns(&self.numbered, columns, batch.len());
        self.ready = Some(batch.with_rows(rows));
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        self.ready.take()
    }
}

struct Case {
    schema: SchemaRef,
    number: u32,
    ready: Option<Batch>,
}

impl Operator for Case {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        let (numbers, columns) = batch.rows.columns().split_last().expect("the number of the case is there");
        let numbers = numbers.as_primitive::<UInt32Type>();
        let chosen: BooleanArray =
            eq(numbers, &UInt32Array::new_scalar(self.number)).expect("numbers can be compared");
        let rows = with_columns(&self.schema, columns.to_vec(), batch.len());
        self.ready = Some(batch.with_rows(rows).filter(&chosen));
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        self.ready.take()
    }
}

fn with_columns(schema: &SchemaRef, columns: Vec<ArrayRef>, count: usize) -> RecordBatch {
    debug_assert!(columns.iter().all(|column| column.len() == count));
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).expect("columns of the schema")
}
