//! `sink`: a component, and the format it writes.

use super::Component;
use crate::error::{Place, Problems};
use crate::yaml::{Fields, Key, Node};

/// Where records go.
#[derive(Clone, Debug)]
pub struct Sink {
    /// What it is, with its own options.
    pub component: Component,
    /// The place of the key `sink`.
    pub at: Place,
    /// How records become bytes, where the file says it.
    pub format: Option<Component>,
}

/// Reads `sink`; None without a component, which is reported.
pub(super) fn read(key: &Key, node: &Node, problems: &mut Problems) -> Option<Sink> {
    if Component::is_bare(node, "sink", problems) {
        return None;
    }
    let mut fields = Fields::under(key, node, "sink", problems);
    let format = fields.take("format").and_then(|node| Component::of_value(node, "format", problems));
    fields.not_yet("from", "this version reads a chain: the sink takes what the last step yields", problems);
    fields.not_yet("compression", "the output is not compressed in this version", problems);
    let component = Component::of_rest(&mut fields, "sink", "`file: { path: … }` or `stdout:`", problems);
    fields.finish(problems);
    Some(Sink { component: component?, at: key.at, format })
}
