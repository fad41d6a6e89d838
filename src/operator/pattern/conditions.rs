//! Evaluates the conditions that need no earlier row, for all rows of a batch at once, in the stage before the exchange:
//! there a row for which one fails still knows its record's raw bytes.

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter;

use super::view::Inner;
use crate::expr::{Evaluated, Expr};
use crate::operator::{Build, Context, Operator, Part};
use crate::record::{Batch, Column, Schema, SqlType};

/// A condition over a row by itself.
#[derive(Clone)]
pub(super) struct Known {
    /// The variable's name.
    pub name: String,
    pub condition: Expr,
    /// What it reads.
    pub inner: Inner,
}

/// The rows with a column for each of these conditions behind the others.
pub(super) fn schema_of(input: &Schema, conditions: &[Known]) -> Schema {
    let behind = conditions.iter().map(|known| Column::new(&known.name, SqlType::Boolean, true));
    Schema::new(input.columns().iter().cloned().chain(behind).collect())
}

/// The operator; none where there is no condition.
pub(super) fn part(input: &Schema, conditions: Vec<Known>) -> Option<Part> {
    if conditions.is_empty() {
        return None;
    }
    let names: Vec<&str> = conditions.iter().map(|known| known.name.as_str()).collect();
    let description = format!("evaluate the conditions of {}", names.join(", "));
    let (input, output) = (input.clone(), schema_of(input, &conditions));
    Some(Part::Operator(Build::new(description, move || {
        Box::new(Evaluate {
            input: input.clone(),
            empty: RecordBatch::new_empty(output.arrow().clone()),
            output: output.clone(),
            conditions: conditions.clone(),
            ready: None,
        })
    })))
}

struct Evaluate {
    input: Schema,
    output: Schema,
    /// No rows: block ends pass without them.
    empty: RecordBatch,
    conditions: Vec<Known>,
    ready: Option<Batch>,
}

impl Evaluate {
    /// The batch with the conditions' columns; without the rows for which one fails, which go to quarantine.
    fn evaluate(&self, batch: Batch, context: &mut Context) -> Batch {
        let evaluate = |known: &Known| {
            let rows = known.inner.rows(batch.rows.columns(), batch.len());
            known.condition.evaluate_at(&rows, context.wall_ms)
        };
        let evaluated: Vec<Evaluated> = self.conditions.iter().map(evaluate).collect();
        let mut keep = vec![true; batch.len()];
        for (row, why) in evaluated.iter().flat_map(|result| &result.failed) {
            let row = *row as usize;
            if std::mem::replace(&mut keep[row], false) {
                context.reject("pattern", &self.input, &batch, row, why.clone());
            }
        }
        let mut results: Vec<ArrayRef> = evaluated.into_iter().map(|result| result.values).collect();
        let mut kept = batch;
        if keep.contains(&false) {
            let keep = BooleanArray::from(keep);
            for result in &mut results {
                *result = filter(result, &keep).expect("a result has one value per row");
            }
            kept = kept.filter(&keep);
        }
        let columns = kept.rows.columns().iter().cloned().chain(results).collect();
        let rows = self.output.rows(columns, kept.len());
        kept.with_rows(rows)
    }
}

impl Operator for Evaluate {
    fn push(&mut self, batch: Batch, context: &mut Context) {
        self.ready = Some(if batch.is_empty() {
            batch.with_rows(self.empty.clone())
        } else {
            self.evaluate(batch, context)
        });
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        self.ready.take()
    }
}
