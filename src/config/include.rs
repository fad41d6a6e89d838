//! `include`: what a file brings in from others, whose named things stand before its own.
//!
//! Files are put together as trees, before variables, overrides and parameters: what is included is read as if it stood
//! in the file itself, but keeps its places, so that mistakes in it are told there.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Place, Problem, Problems};
use crate::yaml::{self, Documents, Environment, Fields, Key, Node, Reading, Text, Value};

/// The key.
pub(super) const KEY: &str = "include";

/// What an included file brings; for an error what one of its things is called.
const SECTIONS: [(&str, &str); 6] = [
    ("connections", "connection"),
    ("params", "parameter"),
    ("tables", "table"),
    ("sources", "source"),
    ("streams", "stream"),
    ("sinks", "sink"),
];

/// More files than these are refused: nobody writes so many, and something else went wrong.
const FILES_MAX: usize = 1000;

/// Puts what the file of this name includes into its tree. False where some of it is not known: then names that are
/// missing may be there, and nothing can be said of the file. That has been reported.
pub(super) fn resolve(
    root: &mut Node,
    name: &str,
    documents: &mut Documents,
    environment: &dyn Environment,
    problems: &mut Problems,
) -> bool {
    // A file that is not on a disk includes others as if it were in the current folder.
    let identity = std::fs::canonicalize(name).unwrap_or_else(|_| PathBuf::from(name));
    let mut reader = Reader {
        documents,
        environment,
        problems,
        open: vec![(identity, name.to_owned())],
        done: BTreeSet::new(),
    };
    reader.merge(root)
}

/// What is read of the files that one includes.
struct Reader<'a> {
    documents: &'a mut Documents,
    environment: &'a dyn Environment,
    problems: &'a mut Problems,
    /// The files on the way to the one that is read, that one last: each as the system knows it, and as errors call it.
    open: Vec<(PathBuf, String)>,
    /// The files that have been included: one that is included by two others is there once.
    done: BTreeSet<PathBuf>,
}

impl Reader<'_> {
    /// Puts what the last of the open files includes before its own.
    fn merge(&mut self, root: &mut Node) -> bool {
        let Value::Map(own) = &mut root.value else { return true };
        let Some(mut list) = own.iter().find(|(key, _)| key.text == KEY).map(|(_, node)| node.clone()) else {
            return true;
        };
        yaml::interpolate(&mut list, self.environment);
        let items = match &list.value {
            Value::List(items) => items.as_slice(),
            Value::Scalar(_) if !list.is_null() => std::slice::from_ref(&list),
            _ => {
                let what = format!("`include` takes a list of files, not {}", list.kind());
                self.problems.push(
                    Problem::error(list.at, what).help("write for instance `include: [common/tables.yaml]`"),
                );
                return false;
            }
        };
        let mut known = true;
        let mut sections: Vec<(Key, Vec<(Key, Node)>)> = Vec::new();
        for item in items {
            match self.file(item) {
                Ok(Some(included)) => self.gather(included, &mut sections),
                Ok(None) => {}
                Err(Unknown) => known = false,
            }
        }
        for (section, entries) in sections {
            let place = own.iter().position(|(key, _)| key.text == section.text);
            let Some(place) = place else {
                let node = Node { at: section.at, value: Value::Map(entries) };
                own.push((section, node));
                continue;
            };
            let node = &mut own[place].1;
            if node.is_null() {
                node.value = Value::Map(entries);
            } else if let Value::Map(written) = &mut node.value {
                let mut all = entries;
                self.add(&section.text, std::mem::take(written), &mut all);
                *written = all;
            }
            // What is neither is refused by the reader of the section.
        }
        known
    }

    /// The tree of an included file, with all that it includes itself; none where it has been included before.
    fn file(&mut self, item: &Node) -> Result<Option<Node>, Unknown> {
        let written = match item.read(self.problems) {
            Reading::Text(text) => text,
            Reading::Withheld => {
                if item.scalar().is_some_and(|scalar| scalar.text == Text::Unknown) {
                    let what = "which file is included depends on a variable that has no value here";
                    let help = "the pipeline is not checked further; give a default: `${NAME:-…}`";
                    self.problems.push(Problem::warning(item.at, what).help(help));
                }
                return Err(Unknown);
            }
            Reading::NotText => {
                let what = format!("an item of `include` is the path of a file, not {}", item.kind());
                self.problems.error(item.at, what);
                return Err(Unknown);
            }
        };
        let (_, by) = self.open.last().expect("the file that includes is open");
        let path = Path::new(by).parent().unwrap_or(Path::new("")).join(written);
        let name = path.display().to_string();
        let (identity, bytes) = read(&path).map_err(|error| {
            let what = format!("failed to read the included file {name}: {error}");
            let help = "the path is relative to the folder of the file that includes it";
            self.problems.push(Problem::error(item.at, what).help(help));
            Unknown
        })?;
        if let Some(place) = self.open.iter().position(|(open, _)| *open == identity) {
            let circle = self.open[place..].iter().map(|(_, name)| name).chain([&name]);
            let circle: Vec<String> = circle.map(|name| format!("`{name}`")).collect();
            self.problems.push(
                Problem::error(
                    item.at,
                    format!("files include each other in a circle: {}", circle.join(" includes ")),
                )
                .help("move what both need into a file of its own"),
            );
            return Err(Unknown);
        }
        if !self.done.insert(identity.clone()) {
            return Ok(None);
        }
        if self.done.len() > FILES_MAX {
            self.problems.error(item.at, format!("more than {FILES_MAX} files are included"));
            return Err(Unknown);
        }
        let document = self.documents.add_bytes(&name, &bytes, self.problems).ok_or(Unknown)?;
        let parsed = super::root(document, self.documents, "an included file", self.problems);
        let mut root = parsed.ok_or(Unknown)?;
        self.check(&root);
        self.open.push((identity, name));
        let known = self.merge(&mut root);
        self.open.pop();
        if known { Ok(Some(root)) } else { Err(Unknown) }
    }

    /// Checks the outer structure of an included file.
    fn check(&mut self, root: &Node) {
        let mut fields = Fields::of(root, "an included file", self.problems);
        super::version(&mut fields, "an included file", self.problems);
        fields.know(KEY);
        for (section, _) in SECTIONS {
            fields.know(section);
        }
        for key in ["name", "run", "source", "steps", "sink", "tests"] {
            let Some((found, _)) = fields.entry(key) else { continue };
            self.problems.push(
                Problem::error(
                    found.at,
                    format!("an included file brings no `{key}`: that is of the pipeline"),
                )
                .help("it brings connections, params, tables, sources, streams and sinks, each by its name"),
            );
        }
        fields.finish(self.problems);
    }

    /// Adds what an included file brings.
    fn gather(&mut self, included: Node, sections: &mut Vec<(Key, Vec<(Key, Node)>)>) {
        let Value::Map(entries) = included.value else { return };
        for (key, node) in entries {
            if !SECTIONS.iter().any(|(section, _)| *section == key.text) || node.is_null() {
                continue;
            }
            let (kind, at) = (node.kind(), node.at);
            let Value::Map(brought) = node.value else {
                let what = format!("`{}` takes a map of names, not {kind}", key.text);
                self.problems.error(at, what);
                continue;
            };
            let place =
                sections.iter().position(|(section, _)| section.text == key.text).unwrap_or_else(|| {
                    sections.push((key.clone(), Vec::new()));
                    sections.len() - 1
                });
            self.add(&key.text, brought, &mut sections[place].1);
        }
    }

    /// Adds what has a name that nothing else has.
    fn add(&mut self, section: &str, more: Vec<(Key, Node)>, all: &mut Vec<(Key, Node)>) {
        for (key, node) in more {
            let Some((before, _)) = all.iter().find(|(before, _)| before.text == key.text) else {
                all.push((key, node));
                continue;
            };
            let one = SECTIONS.iter().find(|(name, _)| *name == section).map_or(section, |(_, one)| *one);
            let what = format!("the {one} `{}` is there twice", key.text);
            let help = format!(
                "the other one is at {}: give one of them another name",
                place(self.documents, before.at)
            );
            self.problems.push(Problem::error(key.at, what).help(help));
        }
    }
}

/// Something of a file is not known, which has been reported.
struct Unknown;

/// The file as the system knows it, and its bytes.
fn read(path: &Path) -> io::Result<(PathBuf, Vec<u8>)> {
    // A pipe or a device has no end that could be waited for.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok((std::fs::canonicalize(path)?, std::fs::read(path)?))
}

/// A place in words: file, line and column.
pub(super) fn place(documents: &Documents, at: Place) -> String {
    let (line, column) = documents.line_column(at);
    format!("{}:{line}:{column}", documents.name(at.document))
}
