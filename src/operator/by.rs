//! The keys of a step: what `by` (or `per`) says, and the expressions it comes to.

use crate::error::{Problem, Problems};
use crate::expr::{Expr, compile_at};
use crate::record::{KeyCodec, Schema};
use crate::yaml::{Key, Node};

/// The keys of a step as they are written: names and expressions.
#[derive(Clone, Debug, Default)]
pub(super) struct By {
    entries: Vec<(Key, Node)>,
}

/// The keys of a step over its input.
#[derive(Clone)]
pub(super) struct Keys {
    pub columns: Vec<(String, Expr)>,
    pub codec: KeyCodec,
}

impl By {
    /// Reads `by: a`, `by: [a, b.c]` or `by: { name: expression }`; a path is named after its last part.
    pub fn parse(by: &Node, problems: &mut Problems) -> Self {
        Self { entries: keys(by, problems) }
    }

    /// The names of the keys, with their places.
    pub fn names(&self) -> impl Iterator<Item = &Key> {
        self.entries.iter().map(|(key, _)| key)
    }

    /// The keys over these columns.
    pub fn resolve(&self, schema: &Schema, problems: &mut Problems) -> Option<Keys> {
        let compiled: Vec<Option<(String, Expr)>> = self
            .entries
            .iter()
            .map(|(key, node)| Some((key.text.clone(), compile_at(node, schema, problems)?)))
            .collect();
        let columns = compiled.into_iter().collect::<Option<Vec<_>>>()?;
        match KeyCodec::new(columns.iter().map(|(_, key)| key.data_type().clone()).collect()) {
            Ok(codec) => Some(Keys { columns, codec }),
            Err(nested) => {
                let wrong = columns.iter().position(|(_, key)| *key.data_type() == nested);
                let (_, node) = &self.entries[wrong.unwrap_or(0)];
                problems.push(
                    Problem::error(node.at, format!("{nested} cannot be a key"))
                        .help("group by its keys, for instance m['key'], or by its elements"),
                );
                None
            }
        }
    }
}

impl Keys {
    /// The names for people: `a, b`, or that there is one group of all rows.
    pub fn describe(&self) -> String {
        if self.columns.is_empty() {
            return "one global group".to_owned();
        }
        self.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// `by: a`, `by: [a, b.c]` or `by: { name: expression }`; a path is named after its last part.
fn keys(by: &Node, problems: &mut Problems) -> Vec<(Key, Node)> {
    if let Some(entries) = by.map() {
        return entries.to_vec();
    }
    let items: Vec<&Node> = by.list().map_or_else(|| vec![by], |items| items.iter().collect());
    let mut keys = Vec::new();
    for item in items {
        let is_path = |text: &str| {
            text.split('.').all(|part| {
                part.chars().all(|c| c.is_alphanumeric() || c == '_')
                    && !part.starts_with(|c: char| c.is_ascii_digit())
            })
        };
        match item.expression() {
            Some(text) if is_path(text) => {
                let name = text.rsplit('.').next().unwrap_or(text);
                keys.push((Key { text: name.to_owned(), at: item.at }, item.clone()));
            }
            Some(text) => problems.push(
                Problem::error(item.at, "a key that is an expression needs a name")
                    .help(format!("write by: {{ name: \"{text}\" }}")),
            ),
            None => problems.error(item.at, format!("`by` takes columns, not {}", item.kind())),
        }
    }
    keys
}
