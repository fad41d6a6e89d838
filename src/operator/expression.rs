//! Expressions of a step: evaluated with failing rows set aside.

use arrow::array::{ArrayRef, BooleanArray};

use super::Context;
use crate::expr::{Evaluated, Expr};
use crate::record::{Batch, Column, Schema};

/// The column that an expression makes.
#[must_use]
pub fn column_expression(name: &str, expression: &Expr) -> Column {
    Column::new(name, expression.data_type().clone(), expression.nullable())
}

/// Evaluates `expressions` over a batch. Rows for which one fails go to quarantine and are taken out of the batch and
/// of all results.
pub(super) fn evaluate_all(
    expressions: &[&Expr],
    step: &str,
    schema: &Schema,
    batch: Batch,
    context: &mut Context,
) -> (Batch, Vec<ArrayRef>) {
    let evaluate = |expression: &&Expr| expression.evaluate_at(&batch.rows, context.wall_ms);
    let evaluated: Vec<Evaluated> = expressions.iter().map(evaluate).collect();
    if evaluated.iter().all(|result| result.failed.is_empty()) {
        return (batch, evaluated.into_iter().map(|result| result.values).collect());
    }
    let mut keep = vec![true; batch.len()];
    for result in &evaluated {
        for (row, message) in &result.failed {
            let row = *row as usize;
            if std::mem::replace(&mut keep[row], false) {
                context.reject(step, schema, &batch, row, message.clone());
            }
        }
    }
    let keep = BooleanArray::from(keep);
    let kept = |result: Evaluated| {
        arrow::compute::filter(&result.values, &keep).expect("a result has one value per row")
    };
    (batch.filter(&keep), evaluated.into_iter().map(kept).collect())
}
