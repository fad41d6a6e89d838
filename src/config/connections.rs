//! `connections`: options that several sources and sinks share, written once.
//!
//! `kafka: { use: main, topic: orders }` is read as if the options of the connection `main` stood beside `topic`.

use std::collections::BTreeSet;

use super::include::place;
use crate::error::{Problem, Problems};
use crate::yaml::{Documents, Fields, Key, Node, Value};

/// The key of the file.
const KEY: &str = "connections";

/// The option that names a connection.
const USE: &str = "use";

/// The keys beside a component that are none.
const NO_COMPONENT: [&str; 8] =
    ["format", "schema", "event_time", "bad_record", "compression", "from", "key", "versions"];

/// An entry of `connections`.
struct Connection {
    name: Key,
    /// What may use it.
    kind: Key,
    options: Vec<(Key, Node)>,
}

/// Reads `connections` of a file and puts their options where components use them.
pub(super) fn apply(root: &mut Node, documents: &Documents, problems: &mut Problems) {
    let written = root.map().and_then(|entries| entries.iter().find(|(key, _)| key.text == KEY));
    let (connections, all_read) = match written {
        Some((_, node)) => read(node, problems),
        None => (Vec::new(), true),
    };
    let mut merge = Merge { connections, all_read, used: BTreeSet::new(), documents, problems };
    let Value::Map(entries) = &mut root.value else { return };
    for (key, node) in entries {
        match key.text.as_str() {
            "source" | "sink" => merge.component(node),
            "sources" | "sinks" | "tables" => {
                let Value::Map(named) = &mut node.value else { continue };
                for (_, node) in named {
                    merge.component(node);
                }
            }
            _ => {}
        }
    }
    merge.warn();
}

/// The connections, and whether all that are written could be read.
fn read(node: &Node, problems: &mut Problems) -> (Vec<Connection>, bool) {
    let Some(entries) = node.map() else {
        if !node.is_null() {
            let what = format!("`connections` takes a map of names to connections, not {}", node.kind());
            problems.push(Problem::error(node.at, what).help(EXAMPLE));
        }
        return (Vec::new(), node.is_null());
    };
    let read: Vec<Connection> =
        entries.iter().filter_map(|(name, node)| read_one(name, node, problems)).collect();
    let all_read = read.len() == entries.len();
    (read, all_read)
}

/// An example of a connection.
const EXAMPLE: &str = "write for instance main: { file: { path: orders.ndjson } }";

fn read_one(name: &Key, node: &Node, problems: &mut Problems) -> Option<Connection> {
    let what = format!("connections.{}", name.text);
    let [(kind, options)] = node.map().unwrap_or_default() else {
        let at = node.map().and_then(|entries| entries.get(1)).map_or(name.at, |(key, _)| key.at);
        let what = format!("`{what}` has one key, which says what it connects to");
        problems.push(Problem::error(at, what).help(EXAMPLE));
        return None;
    };
    let what = format!("{what}.{}", kind.text);
    // The options themselves are checked where they are used: only the component knows them.
    let fields = Fields::under(kind, options, &what, problems);
    if fields.is_broken() {
        return None;
    }
    if let Some((key, _)) = options.map().unwrap_or_default().iter().find(|(key, _)| key.text == USE) {
        problems.push(
            Problem::error(key.at, "a connection uses no other")
                .help("write its options here; sources, sinks and tables name it with `use`"),
        );
        return None;
    }
    let options = options.map().unwrap_or_default().to_vec();
    Some(Connection { name: name.clone(), kind: kind.clone(), options })
}

struct Merge<'a> {
    connections: Vec<Connection>,
    /// Whether a name that is not there is missing.
    all_read: bool,
    used: BTreeSet<String>,
    documents: &'a Documents,
    problems: &'a mut Problems,
}

impl Merge<'_> {
    /// Puts the options of a connection beside those of the component of a source, a sink or a table, if it uses one.
    fn component(&mut self, node: &mut Node) {
        let Value::Map(entries) = &mut node.value else { return };
        for (kind, options) in
            entries.iter_mut().filter(|(key, _)| !NO_COMPONENT.contains(&key.text.as_str()))
        {
            let Value::Map(own) = &mut options.value else { continue };
            let Some(index) = own.iter().position(|(key, _)| key.text == USE) else { continue };
            let (key, named) = own.remove(index);
            if self.merge(kind, &key, &named, own).is_none() {
                *options = Node::withheld(options.at);
            }
        }
    }

    /// Puts the options of the connection that is named beside these; none where they are not known, which has been
    /// reported.
    fn merge(&mut self, kind: &Key, key: &Key, named: &Node, own: &mut Vec<(Key, Node)>) -> Option<()> {
        // The raw text: what is connected to can as little come from a variable as a key can.
        let Some(name) = named.expression().filter(|_| !named.is_null()) else {
            let what = format!("`use` takes the name of a connection, not {}", named.kind());
            self.problems.error(if named.is_null() { key.at } else { named.at }, what);
            return None;
        };
        self.used.insert(name.to_owned());
        let Some(connection) = self.connections.iter().find(|connection| connection.name.text == name) else {
            if self.all_read {
                let problem = Problem::error(named.at, format!("there is no connection `{name}`"));
                let names = self.connections.iter().map(|connection| connection.name.text.as_str());
                self.problems.push(if self.connections.is_empty() {
                    problem.help(format!("add connections: {{ {name}: {{ {}: {{ … }} }} }}", kind.text))
                } else {
                    problem.suggest(name, names, "the connections are")
                });
            }
            return None;
        };
        if connection.kind.text != kind.text {
            let what = format!(
                "the connection `{name}` is one of `{}`, and this is `{}`",
                connection.kind.text, kind.text
            );
            let help = format!("it is written at {}", place(self.documents, connection.kind.at));
            self.problems.push(Problem::error(named.at, what).help(help));
            return None;
        }
        for (option, value) in &connection.options {
            if let Some((written, _)) = own.iter().find(|(written, _)| written.text == option.text) {
                let what = format!("`{}` is given twice: here and in the connection `{name}`", option.text);
                let help =
                    format!("the other one is at {}: remove one of them", place(self.documents, option.at));
                self.problems.push(Problem::error(written.at, what).help(help));
            } else {
                own.push((option.clone(), value.clone()));
            }
        }
        Some(())
    }

    /// Warns of connections of this file that nobody uses. One that is included may be of use to others.
    fn warn(&mut self) {
        for connection in &self.connections {
            let name = connection.name.text.as_str();
            if connection.name.at.document == 0 && !self.used.contains(name) {
                let help = format!(
                    "write `{}: {{ use: {name}, … }}` in a source or a sink, or remove it",
                    connection.kind.text
                );
                self.problems.push(
                    Problem::warning(connection.name.at, format!("nobody uses the connection `{name}`"))
                        .help(help),
                );
            }
        }
    }
}
