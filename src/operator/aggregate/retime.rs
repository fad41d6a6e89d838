//! Gives rows the time of an expression, for windows over another time than that of the source.

use arrow::array::{Array, BooleanArray};

use crate::expr::Expr;
use crate::operator::expression::evaluate_all;
use crate::operator::{Build, Context, Operator};
use crate::record::{Batch, EventTimes, Schema};

pub(super) fn build(expression: Expr, schema: Schema, description: String) -> Build {
    Build::new(description, move || {
        Box::new(Retime { expression: expression.clone(), schema: schema.clone(), ready: None })
    })
}

struct Retime {
    expression: Expr,
    schema: Schema,
    ready: Option<Batch>,
}

impl Operator for Retime {
    fn push(&mut self, batch: Batch, context: &mut Context) {
        let (batch, results) = evaluate_all(&[&self.expression], "aggregate", &self.schema, batch, context);
        let times = EventTimes::milliseconds(&results[0]);
        let seen_ms = batch.times.as_ref().and_then(|times| times.seen_ms.clone());
        for row in (0..batch.len()).filter(|row| times.is_null(*row)) {
            let message = "the time that the window goes by is NULL".to_owned();
            context.reject("aggregate", &self.schema, &batch, row, message);
        }
        let keep: BooleanArray = (0..batch.len()).map(|row| Some(times.is_valid(row))).collect();
        let at_ms = times.iter().map(|time| time.or(Some(0))).collect();
        self.ready = Some(Batch { times: Some(EventTimes { at_ms, seen_ms }), ..batch }.filter(&keep));
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        self.ready.take()
    }
}
