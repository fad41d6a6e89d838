//! A component: a map whose one key names it.

use crate::error::{Place, Problem, Problems};
use crate::yaml::{Fields, Key, Node, Value};

/// A source, sink or format: what it is, and its options, which it reads itself.
#[derive(Clone, Debug)]
pub struct Component {
    /// Its name.
    pub kind: Key,
    /// Its options; nothing where it was named without any.
    pub options: Node,
}

impl Component {
    /// The component among the entries that nobody took from `fields`, which belong to `what` ("source", "sink").
    /// Entries that are near misses of other options are left for [`Fields::finish`] to report.
    pub(super) fn of_rest<'a>(
        fields: &mut Fields<'a>,
        what: &str,
        examples: &str,
        problems: &mut Problems,
    ) -> Option<Self> {
        let candidates: Vec<&'a (Key, Node)> =
            fields.rest().filter(|(key, _)| fields.meant(&key.text).is_none()).collect();
        let Some(((kind, options), others)) = candidates.split_first() else {
            if !fields.is_broken() {
                let what = format!("`{what}` does not say what it is: one key names the component");
                let help = format!("add for instance {examples}");
                problems.push(Problem::error(fields.at(), what).help(help));
            }
            return None;
        };
        for (other, _) in others {
            let what = format!("`{what}` is one component: `{}` stands beside `{}`", other.text, kind.text);
            let help = format!("if `{}` is an option of `{}`, indent it under it", other.text, kind.text);
            problems.push(Problem::error(other.at, what).help(help));
        }
        for (key, _) in candidates {
            fields.know(&key.text);
        }
        Some(Self { kind: kind.clone(), options: options.clone() })
    }

    /// Whether the value is bare text where options and a component belong (`sink: stdout`), which is reported.
    pub(super) fn is_bare(node: &Node, what: &str, problems: &mut Problems) -> bool {
        let Some(text) = node.expression().filter(|_| !node.is_null()) else { return false };
        problems.push(
            Problem::error(
                node.at,
                format!("`{what}` takes a map, whose one key names the component, not text"),
            )
            .help(format!("write for instance `{what}: {{ {text}: }}`")),
        );
        true
    }

    /// The component a value names: `json`, or `json: { … }`.
    pub(super) fn of_value(node: &Node, what: &str, problems: &mut Problems) -> Option<Self> {
        let help = format!("write `{what}: json` or `{what}: {{ json: {{ … }} }}`");
        if let Value::Map(entries) = &node.value {
            let [(kind, options)] = entries.as_slice() else {
                let at = entries.get(1).map_or(node.at, |(key, _)| key.at);
                problems.push(Problem::error(at, format!("`{what}` has one key, its name")).help(help));
                return None;
            };
            return Some(Self { kind: kind.clone(), options: options.clone() });
        }
        // The raw text: what a component is can as little come from a variable as a key can.
        let Some(text) = node.expression().filter(|_| !node.is_null()) else {
            let what = format!("`{what}` takes a name, not {}", node.kind());
            problems.push(Problem::error(node.at, what).help(help));
            return None;
        };
        Some(Self {
            kind: Key { text: text.to_owned(), at: node.at },
            options: Node::nothing(Place { start: node.at.end, ..node.at }),
        })
    }
}
