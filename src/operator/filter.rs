//! `filter`: keeps the rows for which an expression is TRUE.

use arrow::array::AsArray;

use super::expression::evaluate_all;
use super::{Build, Context, Flow, Operator, Part, Resolved, Step, Verb};
use crate::error::{Problem, Problems};
use crate::expr::{Expr, compile_at};
use crate::record::{Batch, Schema, SqlType};
use crate::yaml::Node;

/// The entry in the registry.
pub(super) const VERB: Verb = Verb {
    name: "filter",
    summary: "keeps the rows for which the expression is TRUE (NULL is not)",
    example: "filter: price > 100 AND channel IS NOT NULL",
    parse: |node, _, _| Some(Box::new(Declared { condition: node.clone() })),
};

#[derive(Debug)]
struct Declared {
    condition: Node,
}

impl Step for Declared {
    fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved> {
        let Some(condition) = compile_condition(&self.condition, &input.schema, problems) else {
            // Whatever is wrong with it, the columns stay as they are: the steps behind it can be checked.
            return Some(Resolved {
                output: input.clone(),
                parts: Vec::new(),
                side: Vec::new(),
                required: Box::new(Clone::clone),
            });
        };
        let paths = condition.paths().to_vec();
        let description = format!("filter {}", self.condition.expression().unwrap_or_default());
        let schema = input.schema.clone();
        let reads_clock = condition.uses_clock();
        let build = Build::new(description, move || {
            Box::new(Filter { condition: condition.clone(), schema: schema.clone(), ready: None })
        });
        Some(Resolved {
            output: input.clone(),
            side: Vec::new(),
            parts: vec![Part::Operator(Build { reads_clock, ..build })],
            required: Box::new(move |output| {
                let mut needed = output.clone();
                needed.extend(&paths);
                needed
            }),
        })
    }
}

fn compile_condition(node: &Node, schema: &Schema, problems: &mut Problems) -> Option<Expr> {
    let condition = compile_at(node, schema, problems)?;
    match condition.data_type() {
        SqlType::Boolean => Some(condition),
        other => {
            problems.push(
                Problem::error(node.at, format!("a filter needs a BOOLEAN, and this is {other}"))
                    .help("compare it with something, for instance with = or IS NOT NULL"),
            );
            None
        }
    }
}

struct Filter {
    condition: Expr,
    schema: Schema,
    ready: Option<Batch>,
}

impl Operator for Filter {
    fn push(&mut self, batch: Batch, context: &mut Context) {
        let (batch, results) = evaluate_all(&[&self.condition], "filter", &self.schema, batch, context);
        self.ready = Some(batch.filter(results[0].as_boolean()));
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        self.ready.take()
    }
}

#[cfg(test)]
mod tests {
    use super::super::verify::check;

    #[test]
    fn null_is_not_true() {
        check(
            "filter: price > 1",
            &[r#"{"price":1}"#, r#"{"price":null}"#, r#"{"price":2}"#],
            &[r#"{"price":2}"#],
        );
    }

    #[test]
    fn a_row_that_fails_is_rejected_alone() {
        check(
            "filter: 10 / price > 1",
            &[r#"{"price":0}"#, r#"{"price":5}"#],
            &[r#"{"price":5}"#, "rejected: division by zero"],
        );
    }
}
