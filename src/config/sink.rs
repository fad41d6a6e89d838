//! `sink`: a component, and the format it writes.

use super::Component;
use super::stream::{self, Inputs};
use crate::error::{Place, Problem, Problems};
use crate::yaml::{Fields, Key, Node};

/// Where records go.
#[derive(Clone, Debug)]
pub struct Sink {
    /// What it is, with its own options.
    pub component: Component,
    /// The place of the key `sink`.
    pub at: Place,
    /// All that is written under it.
    pub written: Node,
    /// How records become bytes, where the file says it.
    pub format: Option<Component>,
}

/// A sink and what it takes: an entry of `sinks`, or `sink`.
#[derive(Clone, Debug)]
pub struct NamedSink {
    /// Its name in the file.
    pub name: Key,
    /// The streams it takes.
    pub from: Inputs,
    /// What it is.
    pub sink: Sink,
}

/// Reads `sinks`.
pub(super) fn read_named(node: &Node, problems: &mut Problems) -> Vec<NamedSink> {
    let help = "write for instance late: { from: late_rows, file: { path: … }, format: json }";
    let Some(entries) = node.map() else {
        if !node.is_null() {
            let what = format!("`sinks` takes a map of names to sinks, not {}", node.kind());
            problems.push(Problem::error(node.at, what).help(help));
        }
        return Vec::new();
    };
    entries.iter().filter_map(|(name, node)| read_one(name, node, problems)).collect()
}

fn read_one(name: &Key, node: &Node, problems: &mut Problems) -> Option<NamedSink> {
    let what = format!("sinks.{}", name.text);
    if Component::is_bare(node, &what, problems) {
        return None;
    }
    let mut fields = Fields::under(name, node, &what, problems);
    let from = stream::read_from(&mut fields, problems);
    let sink = rest(&mut fields, name, node, &what, problems);
    fields.finish(problems);
    let from = match from? {
        Inputs::Named(named) => {
            problems.push(
                Problem::error(
                    named[0].0.at,
                    "a sink takes streams as they are, without names of its own for them",
                )
                .help("write a list: `from: [a, b]`"),
            );
            return None;
        }
        from @ Inputs::All(_) => from,
    };
    Some(NamedSink { name: name.clone(), from, sink: sink? })
}

/// Reads `sink`; None without a component, which is reported.
pub(super) fn read(key: &Key, node: &Node, problems: &mut Problems) -> Option<Sink> {
    if Component::is_bare(node, "sink", problems) {
        return None;
    }
    let mut fields = Fields::under(key, node, "sink", problems);
    let from = "the sink takes what the last step yields; sinks of side streams stand under `sinks`";
    fields.not_yet("from", from, problems);
    let sink = rest(&mut fields, key, node, "sink", problems);
    fields.finish(problems);
    sink
}

/// What every sink has: its component and its format.
fn rest(
    fields: &mut Fields<'_>,
    key: &Key,
    node: &Node,
    what: &str,
    problems: &mut Problems,
) -> Option<Sink> {
    let format = fields.take("format").and_then(|node| Component::of_value(node, "format", problems));
    fields.not_yet("compression", "the output is not compressed in this version", problems);
    let component = Component::of_rest(fields, what, "`file: { path: … }` or `stdout:`", problems)?;
    Some(Sink { component, at: key.at, written: node.clone(), format })
}
