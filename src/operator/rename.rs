//! `rename`: gives columns other names.

use super::drop::exists;
use super::project::{self, Output};
use super::{Flow, Resolved, Step, Verb};
use crate::error::{Place, Problem, Problems};
use crate::yaml::Key;

/// The entry in the registry.
pub(super) const VERB: Verb = Verb {
    name: "rename",
    summary: "gives columns other names: old name → new name",
    example: "rename: { price: cents }",
    parse: |node, _, problems| {
        let entries = node.map().unwrap_or_default();
        let mut names = Vec::new();
        for (old, new) in entries {
            match new.expression() {
                Some(text) => names.push((old.clone(), text.to_owned(), new.at)),
                None => problems.error(new.at, format!("the new name is text, not {}", new.kind())),
            }
        }
        if entries.is_empty() {
            problems.push(
                Problem::error(
                    node.at,
                    format!("`rename` takes a map of old names to new ones, not {}", node.kind()),
                )
                .help("write rename: { old: new }"),
            );
        }
        (!names.is_empty()).then(|| Box::new(Declared { names }) as Box<dyn Step>)
    },
};

#[derive(Debug)]
struct Declared {
    names: Vec<(Key, String, Place)>,
}

impl Step for Declared {
    fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved> {
        let mut complete = true;
        for (old, _, _) in &self.names {
            complete &= exists(&old.text, old.at, input, problems);
        }
        let renamed = |name: &str| {
            let found = self.names.iter().find(|(old, _, _)| old.text == name);
            found.map_or_else(|| name.to_owned(), |(_, new, _)| new.clone())
        };
        let columns = input.schema.columns().iter().enumerate();
        let outputs: Vec<(String, Output)> =
            columns.map(|(index, column)| (renamed(&column.name), Output::Column(index))).collect();
        for (_, new, at) in &self.names {
            if outputs.iter().filter(|(name, _)| name == new).count() > 1 {
                problems.error(*at, format!("there is already a column `{new}`"));
                complete = false;
            }
        }
        let pairs = self.names.iter().map(|(old, new, _)| format!("{} to {new}", old.text));
        let description = format!("rename {}", pairs.collect::<Vec<_>>().join(", "));
        complete.then(|| project::resolve("rename", description, input, outputs))
    }
}

#[cfg(test)]
mod tests {
    use super::super::verify::check;

    #[test]
    fn names_change_and_may_be_swapped() {
        check(
            "rename: { price: cents }",
            &[r#"{"price":1,"channel":"a"}"#],
            &[r#"{"cents":1,"channel":"a"}"#],
        );
        check(
            "rename: { price: channel, channel: price }",
            &[r#"{"price":1,"channel":"a"}"#],
            &[r#"{"channel":1,"price":"a"}"#],
        );
    }
}
