//! What the steps with keys have in common: the name of their state, and for those that pass whole rows on (`over`,
//! `top`, `dedupe`, `throttle`) the columns they work with.
//!
//! What such a step needs besides its input's columns is computed behind them before the rows are exchanged, and left
//! out again by the operator.

use super::project::{self, Output};
use super::{Flow, Part};
use crate::error::{Place, Problem, Problems};
use crate::expr::Expr;
use crate::record::{Paths, Schema};
use crate::yaml::Fields;

/// The name of the state a step keeps: its `name`, else its verb, with a warning.
pub(super) fn state_name(fields: &mut Fields, verb: &str, at: Place, problems: &mut Problems) -> String {
    let name = fields.text("name", problems);
    if name.is_none() && !fields.is_broken() {
        problems.push(
            Problem::warning(at, "this step keeps state and has no name")
                .help("add `name: …`: the name is the state's identity when the file is edited"),
        );
    }
    name.unwrap_or(verb).to_owned()
}

/// The input's columns, and what a step needs besides them.
pub(super) struct Prepared {
    input: Schema,
    outputs: Vec<(String, Output)>,
    needs: Paths,
}

impl Prepared {
    /// The input's columns.
    pub fn new(input: &Schema) -> Self {
        Self { input: input.clone(), outputs: all_columns(input), needs: Paths::default() }
    }

    /// Counts what an expression reads of the input as needed, though its values are no column; what it reads besides
    /// is left out.
    pub fn need(&mut self, expression: &Expr) {
        let paths = expression.paths();
        self.needs.extend(paths.iter().filter(|path| self.input.column(&path[0]).is_some()));
    }

    /// The position of the column that holds the expression's values.
    pub fn column(&mut self, expression: &Expr) -> usize {
        self.needs.extend(expression.paths());
        if let Some(index) = expression.as_column().and_then(|name| self.input.index_of(name)) {
            return index;
        }
        let name = format!("${}", self.outputs.len());
        self.outputs.push((name, Output::Expression(expression.clone())));
        self.outputs.len() - 1
    }

    /// The columns as they are prepared.
    pub fn schema(&self) -> Schema {
        project::schema_of(&self.outputs, &self.input)
    }

    /// The operator that computes what is no column; none where everything is one.
    pub fn part(&self, step: &'static str, what: &str) -> Option<Part> {
        (self.outputs.len() > self.input.columns().len()).then(|| {
            let outputs = self.outputs.clone();
            project::part(step, format!("evaluate {what}"), self.input.clone(), self.schema(), outputs)
        })
    }

    /// What of the input is needed for these columns of the output, which passes the input's columns on.
    pub fn required(self, needs_all: bool) -> Box<dyn Fn(&Paths) -> Paths> {
        let passed: Vec<String> = self.input.columns().iter().map(|column| column.name.clone()).collect();
        let (input, needs) = (self.input, self.needs);
        Box::new(move |used| {
            if needs_all {
                return Paths::all(&input);
            }
            let pass = |name: &str| passed.iter().any(|column| column == name).then(|| name.to_owned());
            let mut needed = used.map_columns(pass);
            needed.extend(needs.iter());
            needed
        })
    }
}

/// All columns of a schema as they are.
pub(super) fn all_columns(schema: &Schema) -> Vec<(String, Output)> {
    let columns = schema.columns().iter().enumerate();
    columns.map(|(index, column)| (column.name.clone(), Output::Column(index))).collect()
}

/// Warns of a step whose result depends on the order in which rows arrive, where that order is not defined.
pub(super) fn warn_of_order(input: &Flow, step: &str, at: Place, problems: &mut Problems) {
    if !input.ordered && !input.pruned {
        problems.push(
            Problem::warning(
                at,
                format!("`{step}` depends on the order of its rows, which is not defined behind another step with a key"),
            )
            .help("what it yields may differ with the number of cores; put it before that step"),
        );
    }
}
