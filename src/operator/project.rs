//! The running form of every step that makes columns of columns: `select`, `set`, `drop`, `rename`.

use arrow::array::{ArrayRef, RecordBatch};

use super::expression::evaluate_all;
use super::{Build, Changelog, Context, Flow, Operator, Part, Resolved, WindowColumns, column_expression};
use crate::expr::Expr;
use crate::record::{Batch, Column, Paths, Schema};

/// Where a column of the output comes from.
#[derive(Clone, Debug)]
pub(super) enum Output {
    /// The input's column at this position.
    Column(usize),
    /// An expression.
    Expression(Expr),
}

/// The step that makes these columns, whose names are unique.
pub(super) fn resolve(
    step: &'static str,
    description: String,
    input: &Flow,
    outputs: Vec<(String, Output)>,
) -> Resolved {
    let schema = schema_of(&outputs, &input.schema);
    let names: Vec<String> = input.schema.columns().iter().map(|column| column.name.clone()).collect();
    let needs = outputs.clone();
    let part = part(step, description, input.schema.clone(), schema.clone(), outputs);
    Resolved {
        output: flow_of(&needs, schema, input),
        side: Vec::new(),
        parts: vec![part],
        required: Box::new(move |output| required(&needs, &names, output)),
    }
}

/// The columns that these outputs make of an input.
pub(super) fn schema_of(outputs: &[(String, Output)], input: &Schema) -> Schema {
    let columns = outputs.iter().map(|(name, output)| match output {
        Output::Column(index) => Column { name: name.clone(), ..input.columns()[*index].clone() },
        Output::Expression(expression) => column_expression(name, expression),
    });
    Schema::new(columns.collect())
}

/// The rows that these outputs make: the columns of their window and of their key under their new names.
fn flow_of(outputs: &[(String, Output)], schema: Schema, input: &Flow) -> Flow {
    let renamed = |old: &String| {
        let found = outputs.iter().find(|(_, output)| match output {
            Output::Column(index) => input.schema.columns()[*index].name == *old,
            Output::Expression(expression) => expression.as_column() == Some(old),
        });
        found.map(|(name, _)| name.clone())
    };
    let window = input.window.as_ref().map(|window| WindowColumns {
        start: window.start.as_ref().and_then(renamed),
        end: window.end.as_ref().and_then(renamed),
    });
    let changelog = input.changelog.as_ref().map(|changelog| Changelog {
        key: changelog.key.as_ref().and_then(|key| key.iter().map(renamed).collect()),
    });
    // A column may go on under several names.
    let holds_time = |times: &[String], output: &Output| match output {
        Output::Column(index) => times.contains(&input.schema.columns()[*index].name),
        Output::Expression(expression) => {
            expression.as_column().is_some_and(|name| times.iter().any(|time| time == name))
        }
    };
    let time_columns = input.time_columns.as_ref().map(|times| {
        let kept = outputs.iter().filter(|(_, output)| holds_time(times, output));
        kept.map(|(name, _)| name.clone()).collect()
    });
    Flow { schema, time_columns, window, changelog, ..input.clone() }
}

/// Only the operator that turns `input` into `output` by these outputs.
pub(super) fn part(
    step: &'static str,
    description: String,
    input: Schema,
    output: Schema,
    outputs: Vec<(String, Output)>,
) -> Part {
    let outputs: Vec<Output> = outputs.into_iter().map(|(_, output)| output).collect();
    let reads_clock = outputs.iter().filter_map(Output::expression).any(Expr::uses_clock);
    let build = Build::new(description, move || {
        Box::new(Project {
            step,
            input: input.clone(),
            output: output.clone(),
            empty: RecordBatch::new_empty(output.arrow().clone()),
            outputs: outputs.clone(),
            ready: None,
        })
    });
    Part::Operator(Build { reads_clock, ..build })
}

/// Every expression's columns, because an expression that fails sends its row to quarantine even where nobody uses
/// its result; a column that is passed on only where it is used.
fn required(outputs: &[(String, Output)], names: &[String], used: &Paths) -> Paths {
    let mut needed = used.map_columns(|column| {
        outputs.iter().find_map(|(name, output)| match output {
            Output::Column(index) if name == column => Some(names[*index].clone()),
            _ => None,
        })
    });
    for (_, output) in outputs {
        if let Output::Expression(expression) = output {
            needed.extend(expression.paths());
        }
    }
    needed
}

struct Project {
    step: &'static str,
    input: Schema,
    output: Schema,
    outputs: Vec<Output>,
    /// No rows: block ends pass without them.
    empty: RecordBatch,
    ready: Option<Batch>,
}

impl Operator for Project {
    fn push(&mut self, batch: Batch, context: &mut Context) {
        if batch.is_empty() {
            self.ready = Some(batch.with_rows(self.empty.clone()));
            return;
        }
        let expressions: Vec<&Expr> = self.outputs.iter().filter_map(Output::expression).collect();
        let (batch, results) = evaluate_all(&expressions, self.step, &self.input, batch, context);
        let mut results = results.into_iter();
        let columns = self.outputs.iter().map(|output| match output {
            Output::Column(index) => batch.rows.column(*index).clone(),
            Output::Expression(_) => results.next().expect("one result per expression"),
        });
        let columns: Vec<ArrayRef> = columns.collect();
        let rows = self.output.rows(columns, batch.len());
        self.ready = Some(batch.with_rows(rows));
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        self.ready.take()
    }
}

impl Output {
    fn expression(&self) -> Option<&Expr> {
        match self {
            Self::Expression(expression) => Some(expression),
            Self::Column(_) => None,
        }
    }
}
