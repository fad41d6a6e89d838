//! The key of `top` and `dedupe`, and the columns computed for such a step before its rows are exchanged.
//!
//! Both pass whole rows on, so their keys make no columns of the output: what is no column already is computed behind
//! the input's columns, and left out again by the operator.

use super::project::{self, Output};
use super::{Flow, Part};
use crate::error::{Place, Problem, Problems};
use crate::expr::{Expr, compile_at};
use crate::record::{KeyCodec, Paths, Schema, SqlType};
use crate::yaml::{Fields, Node};

/// The option `per` or `by` as it is written; empty where all rows are of one partition.
#[derive(Debug)]
pub(super) struct KeyNodes {
    items: Vec<Node>,
}

/// A key whose expressions are compiled.
pub(super) struct ResolvedKey {
    /// One for each part.
    pub expressions: Vec<Expr>,
    /// How its bytes are written.
    pub codec: KeyCodec,
}

impl KeyNodes {
    /// No key.
    pub fn none() -> Self {
        Self { items: Vec::new() }
    }

    /// Reads an expression, a list of them, or a map of names to them. None is returned only after a problem.
    pub fn read(option: &str, node: &Node, problems: &mut Problems) -> Option<Self> {
        let items: Vec<Node> = match (node.map(), node.list()) {
            (Some(entries), _) => entries.iter().map(|(_, value)| value.clone()).collect(),
            (_, Some(items)) => items.to_vec(),
            _ => vec![node.clone()],
        };
        let mut complete = true;
        if items.is_empty() {
            problems.error(node.at, format!("`{option}` names at least one column"));
            complete = false;
        }
        for item in items.iter().filter(|item| item.expression().is_none()) {
            problems.error(item.at, format!("`{option}` takes columns and expressions, not {}", item.kind()));
            complete = false;
        }
        complete.then_some(Self { items })
    }

    /// The key over these columns; none after a problem.
    pub fn resolve(&self, schema: &Schema, problems: &mut Problems) -> Option<ResolvedKey> {
        let compiled: Vec<Option<Expr>> =
            self.items.iter().map(|item| compile_at(item, schema, problems)).collect();
        let expressions: Vec<Expr> = compiled.into_iter().collect::<Option<_>>()?;
        let types: Vec<SqlType> = expressions.iter().map(|key| key.data_type().clone()).collect();
        match KeyCodec::new(types) {
            Ok(codec) => Some(ResolvedKey { expressions, codec }),
            Err(data_type) => {
                let wrong = expressions.iter().position(|key| *key.data_type() == data_type);
                problems.push(
                    Problem::error(self.items[wrong?].at, format!("{data_type} cannot be a key"))
                        .help("name its fields or elements"),
                );
                None
            }
        }
    }

    /// ` per a, b` for a description; nothing without a key.
    pub fn describe(&self, word: &str) -> String {
        let texts: Vec<&str> = self.items.iter().filter_map(Node::expression).collect();
        if texts.is_empty() { String::new() } else { format!(" {word} {}", texts.join(", ")) }
    }
}

impl ResolvedKey {
    /// The columns it is made of; none where a part of it is no column.
    pub fn columns(&self) -> Option<Vec<String>> {
        self.expressions.iter().map(|key| key.as_column().map(str::to_owned)).collect()
    }
}

/// The name of the state a step keeps: its `name`, else its verb, with a warning.
pub(super) fn state_name(fields: &mut Fields, verb: &str, at: Place, problems: &mut Problems) -> String {
    let name = fields.text("name", problems);
    if name.is_none() {
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
        let columns = input.columns().iter().enumerate();
        let outputs = columns.map(|(index, column)| (column.name.clone(), Output::Column(index))).collect();
        Self { input: input.clone(), outputs, needs: Paths::default() }
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
