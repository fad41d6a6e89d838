//! `select`: the whole new row, name by name; `*` keeps the rest.

use super::project::{self, Output};
use super::{Flow, Resolved, Step, Verb};
use crate::error::{Problem, Problems};
use crate::expr::compile_at;
use crate::yaml::{Key, Node};

/// The entry in the registry.
pub(super) const VERB: Verb = Verb {
    name: "select",
    summary: "makes the whole new row: name → expression; \"*\" keeps all columns that are not named",
    example: "select: { channel: UPPER(channel), euro: 0.908 * price }",
    parse: |node, _, problems| {
        let entries = named_expressions(node, "select", problems)?;
        Some(Box::new(Declared { entries }))
    },
};

/// The map of names to expressions that a step takes.
pub(super) fn named_expressions(
    node: &Node,
    verb: &str,
    problems: &mut Problems,
) -> Option<Vec<(Key, Node)>> {
    match node.map() {
        Some(entries) if !entries.is_empty() => Some(entries.to_vec()),
        found => {
            let found = if found.is_some() { "an empty one" } else { node.kind() };
            problems.push(
                Problem::error(node.at, format!("`{verb}` takes a map of names to expressions, not {found}"))
                    .help(format!("write for instance {verb}: {{ total: price * amount }}")),
            );
            None
        }
    }
}

#[derive(Debug)]
struct Declared {
    entries: Vec<(Key, Node)>,
}

impl Step for Declared {
    fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved> {
        let mut outputs: Vec<(String, Output)> = Vec::new();
        let mut complete = true;
        let named = |name: &str| self.entries.iter().any(|(key, _)| key.text == name);
        for (key, node) in &self.entries {
            if key.text == "*" {
                complete &= expect_nothing(key, node, problems);
                let rest =
                    input.schema.columns().iter().enumerate().filter(|(_, column)| !named(&column.name));
                outputs.extend(rest.map(|(index, column)| (column.name.clone(), Output::Column(index))));
                continue;
            }
            match compile_at(node, &input.schema, problems) {
                Some(expression) => outputs.push((key.text.clone(), Output::Expression(expression))),
                None => complete = false,
            }
        }
        complete.then(|| project::resolve("select", self.description(), input, outputs))
    }
}

impl Declared {
    fn description(&self) -> String {
        let entries = self.entries.iter().map(|(key, node)| match node.expression() {
            Some(text) if text == key.text => text.to_owned(),
            Some(text) if key.text != "*" => format!("{text} AS {}", key.text),
            _ => key.text.clone(),
        });
        format!("select {}", entries.collect::<Vec<_>>().join(", "))
    }
}

/// `*` is written without an expression, as `"*":` or `"*": "*"`.
fn expect_nothing(key: &Key, node: &Node, problems: &mut Problems) -> bool {
    let nothing = node.is_null() || node.expression() == Some("*");
    if !nothing {
        problems.push(Problem::error(node.at, "`*` takes no expression").help("write \"*\":"));
    }
    debug_assert_eq!(key.text, "*");
    nothing
}

#[cfg(test)]
mod tests {
    use super::super::verify::check;

    #[test]
    fn names_and_the_rest() {
        check(
            "select: { double: price * 2, '*': }",
            &[r#"{"price":3,"channel":"a"}"#],
            &[r#"{"double":6,"price":3,"channel":"a"}"#],
        );
        check("select: { price: price + 1 }", &[r#"{"price":1}"#], &[r#"{"price":2}"#]);
    }
}
