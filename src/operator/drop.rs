//! `drop`: leaves columns out.

use super::project::{self, Output};
use super::{Flow, Resolved, Step, Verb};
use crate::error::{Place, Problem, Problems};
use crate::record::Schema;

/// The entry in the registry.
pub(super) const VERB: Verb = Verb {
    name: "drop",
    summary: "leaves columns out",
    example: "drop: [channel]",
    parse: |node, _, problems| {
        let names = node.list().map_or_else(|| vec![node], |items| items.iter().collect());
        let mut columns = Vec::new();
        for item in &names {
            match item.expression() {
                Some(name) => columns.push((name.to_owned(), item.at)),
                None => {
                    problems.error(item.at, format!("`drop` takes names of columns, not {}", item.kind()));
                }
            }
        }
        if names.is_empty() {
            problems.push(
                Problem::error(node.at, "`drop` names no column").help("write for instance drop: [channel]"),
            );
        }
        (!columns.is_empty()).then(|| Box::new(Declared { columns }) as Box<dyn Step>)
    },
};

#[derive(Debug)]
struct Declared {
    columns: Vec<(String, Place)>,
}

impl Step for Declared {
    fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved> {
        let mut complete = true;
        for (name, at) in &self.columns {
            complete &= exists(name, *at, input, problems);
        }
        let kept = input.schema.columns().iter().enumerate();
        let kept = kept.filter(|(_, column)| self.columns.iter().all(|(name, _)| *name != column.name));
        let outputs: Vec<(String, Output)> =
            kept.map(|(index, column)| (column.name.clone(), Output::Column(index))).collect();
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        complete.then(|| project::resolve("drop", format!("drop {}", names.join(", ")), input, outputs))
    }
}

/// Whether the input has the column; a problem where it should and has not.
pub(super) fn exists(name: &str, at: Place, input: &Flow, problems: &mut Problems) -> bool {
    if input.schema.index_of(name).is_some() || input.pruned {
        return true;
    }
    problems.push(unknown_column(name, at, &input.schema));
    false
}

/// The problem of a column that is not there.
pub(super) fn unknown_column(name: &str, at: Place, schema: &Schema) -> Problem {
    let names = schema.columns().iter().map(|column| column.name.as_str());
    Problem::error(at, format!("there is no column `{name}`")).suggest(name, names, "the columns here are")
}

#[cfg(test)]
mod tests {
    use super::super::verify::check;

    #[test]
    fn columns_go() {
        check("drop: [channel]", &[r#"{"price":1,"channel":"a"}"#], &[r#"{"price":1}"#]);
        check("drop: channel", &[r#"{"price":1,"channel":"a"}"#], &[r#"{"price":1}"#]);
    }
}
