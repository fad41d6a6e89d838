//! `set`: adds columns or replaces them where they stand.

use super::project::{self, Output};
use super::select::named_expressions;
use super::{Flow, Resolved, Step, Verb};
use crate::error::Problems;
use crate::expr::compile_at;
use crate::yaml::{Key, Node};

/// The entry in the registry.
pub(super) const VERB: Verb = Verb {
    name: "set",
    summary: "adds columns, or replaces them where they stand; all expressions see the row as it was",
    example: "set: { channel: UPPER(channel), euro: 0.908 * price }",
    parse: |node, _, problems| {
        let entries = named_expressions(node, "set", problems)?;
        Some(Box::new(Declared { entries }))
    },
};

#[derive(Debug)]
struct Declared {
    entries: Vec<(Key, Node)>,
}

impl Step for Declared {
    fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved> {
        let columns = input.schema.columns().iter().enumerate();
        let mut outputs: Vec<(String, Output)> =
            columns.map(|(index, column)| (column.name.clone(), Output::Column(index))).collect();
        let mut complete = true;
        for (key, node) in &self.entries {
            let Some(expression) = compile_at(node, &input.schema, problems) else {
                complete = false;
                continue;
            };
            let output = Output::Expression(expression);
            match outputs.iter_mut().find(|(name, _)| *name == key.text) {
                Some((_, replaced)) => *replaced = output,
                None => outputs.push((key.text.clone(), output)),
            }
        }
        let assignments = self
            .entries
            .iter()
            .map(|(key, node)| format!("{} = {}", key.text, node.expression().unwrap_or_default()));
        let description = format!("set {}", assignments.collect::<Vec<_>>().join(", "));
        complete.then(|| project::resolve("set", description, input, outputs))
    }
}

#[cfg(test)]
mod tests {
    use super::super::verify::check;

    #[test]
    fn columns_are_replaced_in_place_from_the_row_as_it_was() {
        check(
            "set: { price: price + 1, before: price }",
            &[r#"{"price":1,"channel":"a"}"#],
            &[r#"{"price":2,"channel":"a","before":1}"#],
        );
    }
}
