//! The key of the steps that pass whole rows on and look at each key by itself: `over`, `throttle`, `sample`.
//!
//! Unlike the groups of `aggregate`, such a key makes no column, so an expression needs no name.

use super::project::Output;
use crate::error::{Place, Problem, Problems};
use crate::expr::{Expr, compile_at};
use crate::record::{KeyCodec, Paths, Schema};
use crate::yaml::{Fields, Node};

/// The option `by` as it is written; without it all rows have one key.
#[derive(Debug)]
pub(super) struct By {
    items: Vec<Node>,
}

/// A key whose expressions are compiled.
#[derive(Clone)]
pub(super) struct Key {
    /// One for each part.
    pub expressions: Vec<Expr>,
    /// How its bytes are written.
    pub codec: KeyCodec,
}

impl By {
    /// Takes `by`: an expression, or a list of them. None is returned only after a problem.
    pub fn take(fields: &mut Fields, problems: &mut Problems) -> Option<Self> {
        let Some(node) = fields.take("by") else { return Some(Self { items: Vec::new() }) };
        if let Some(((name, value), rest)) = node.map().and_then(<[_]>::split_first) {
            let text = value.expression().unwrap_or(&name.text);
            let text = if rest.is_empty() { format!("\"{text}\"") } else { format!("[\"{text}\", …]") };
            problems.push(
                Problem::error(name.at, "a key needs no name here: it makes no column")
                    .help(format!("write by: {text}")),
            );
            return None;
        }
        let items = node.list().map_or_else(|| vec![node.clone()], <[Node]>::to_vec);
        let mut complete = true;
        for item in items.iter().filter(|item| item.expression().is_none()) {
            problems.error(item.at, format!("`by` takes columns and expressions, not {}", item.kind()));
            complete = false;
        }
        complete.then_some(Self { items })
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Where the key stands; `step` where there is none.
    pub fn at(&self, step: Place) -> Place {
        self.items.first().map_or(step, |item| item.at)
    }

    /// The key over these columns; none after a problem.
    pub fn resolve(&self, schema: &Schema, problems: &mut Problems) -> Option<Key> {
        let compiled: Vec<Option<Expr>> =
            self.items.iter().map(|item| compile_at(item, schema, problems)).collect();
        let expressions: Vec<Expr> = compiled.into_iter().collect::<Option<_>>()?;
        let types = expressions.iter().map(|expression| expression.data_type().clone()).collect();
        match KeyCodec::new(types) {
            Ok(codec) => Some(Key { expressions, codec }),
            Err(data_type) => {
                let wrong = expressions.iter().position(|expression| *expression.data_type() == data_type);
                problems.push(
                    Problem::error(self.items[wrong?].at, format!("{data_type} cannot be a key"))
                        .help("name its fields or elements"),
                );
                None
            }
        }
    }

    /// ` by a, b` for a description; nothing without a key.
    pub fn describe(&self) -> String {
        let texts: Vec<&str> = self.items.iter().filter_map(Node::expression).collect();
        if texts.is_empty() { String::new() } else { format!(" by {}", texts.join(", ")) }
    }
}

impl Key {
    /// The positions of the key's columns in `outputs`, which hold the columns of `schema` in their order; what is not
    /// a column yet becomes one behind them.
    pub fn prepare(&self, schema: &Schema, outputs: &mut Vec<(String, Output)>) -> Vec<usize> {
        let position = |(part, expression): (usize, &Expr)| {
            position_of(expression, format!("$key{part}"), schema, outputs)
        };
        self.expressions.iter().enumerate().map(position).collect()
    }

    /// Adds the columns that the key is made of.
    pub fn add_paths(&self, needed: &mut Paths) {
        for expression in &self.expressions {
            needed.extend(expression.paths());
        }
    }
}

/// All columns of a schema as they are.
pub(super) fn all_columns(schema: &Schema) -> Vec<(String, Output)> {
    let columns = schema.columns().iter().enumerate();
    columns.map(|(index, column)| (column.name.clone(), Output::Column(index))).collect()
}

/// The position of an expression in `outputs`, which begin with the columns of `schema`: that of the column it is, or
/// of a new one of this name.
pub(super) fn position_of(
    expression: &Expr,
    name: String,
    schema: &Schema,
    outputs: &mut Vec<(String, Output)>,
) -> usize {
    if let Some(index) = expression.as_column().and_then(|column| schema.index_of(column)) {
        return index;
    }
    outputs.push((name, Output::Expression(expression.clone())));
    outputs.len() - 1
}
