//! `streams`: what happens to records between the sources and the sinks, where a pipeline is more than one chain.

use super::steps::{self, Steps};
use crate::error::{Place, Problem, Problems};
use crate::yaml::{Fields, Key, Node, Reading, Spanned, Value};

/// Rows from one stream or several, and what happens to them.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Its name; in line form that of the key `steps`.
    pub name: Key,
    /// What it takes.
    pub from: Inputs,
    /// What happens to the rows, in order.
    pub steps: Steps,
}

/// What a stream or a sink takes.
#[derive(Clone, Debug)]
pub enum Inputs {
    /// The rows of these, of which there is at least one, all together.
    All(Vec<Spanned<String>>),
    /// The rows of these, each under another name, for a step that tells them apart.
    Named(Vec<(Key, Spanned<String>)>),
}

impl Inputs {
    /// What is taken, in the order of the page.
    pub fn names(&self) -> impl Iterator<Item = &Spanned<String>> {
        let (all, named) = match self {
            Self::All(all) => (all.as_slice(), [].as_slice()),
            Self::Named(named) => ([].as_slice(), named.as_slice()),
        };
        all.iter().chain(named.iter().map(|(_, from)| from))
    }

    /// One stream.
    pub(super) fn one(name: &str, at: Place) -> Self {
        Self::All(vec![Spanned { value: name.to_owned(), at }])
    }
}

/// Reads `streams`.
pub(super) fn read(node: &Node, problems: &mut Problems) -> Vec<Stream> {
    let example = "write for instance paid: { from: payments, steps: [ { filter: status = 'paid' } ] }";
    let Some(entries) = node.map() else {
        if !node.is_null() {
            let what = format!("`streams` takes a map of names to streams, not {}", node.kind());
            problems.push(Problem::error(node.at, what).help(example));
        }
        return Vec::new();
    };
    entries.iter().filter_map(|(name, node)| read_stream(name, node, problems)).collect()
}

fn read_stream(name: &Key, node: &Node, problems: &mut Problems) -> Option<Stream> {
    let what = format!("streams.{}", name.text);
    let mut fields = Fields::under(name, node, &what, problems);
    let from = read_from(&mut fields, problems);
    let steps = fields.take("steps").map_or_else(Steps::none, |node| steps::read(node, problems));
    fields.finish(problems);
    Some(Stream { name: name.clone(), from: from?, steps })
}

/// Reads `from`: a name, a list of names, or a map of short names to names.
pub(super) fn read_from(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Inputs> {
    let node = fields.required("from", problems)?;
    let mut name_of = |node: &Node| match node.read(problems) {
        Reading::Text(text) => Some(Spanned { value: text.to_owned(), at: node.at }),
        // A name that is only known where the pipeline runs: nothing can be said of what it leads to.
        Reading::Withheld => None,
        Reading::NotText => {
            let what = format!("`from` takes the name of a source or a stream, not {}", node.kind());
            problems.push(Problem::error(node.at, what).help("several are a list: `from: [a, b]`"));
            None
        }
    };
    let empty = match &node.value {
        Value::List(items) if !items.is_empty() => {
            return items.iter().map(name_of).collect::<Option<_>>().map(Inputs::All);
        }
        Value::Map(entries) if !entries.is_empty() => {
            let named = entries.iter().map(|(key, node)| Some((key.clone(), name_of(node)?)));
            return named.collect::<Option<_>>().map(Inputs::Named);
        }
        Value::List(_) | Value::Map(_) => true,
        Value::Scalar(_) => false,
    };
    if empty {
        problems.push(Problem::error(node.at, "`from` names nothing").help("name a source or a stream"));
        return None;
    }
    name_of(node).map(|name| Inputs::All(vec![name]))
}
