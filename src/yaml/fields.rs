//! A map read key by key: what is missing, unknown or of the wrong shape is reported once, with its place.

use super::{Key, Node, Rate, Value, duration_ms, rate, size_bytes};
use crate::error::{Place, Problem, Problems, nearest};

/// The options of one component, each taken by name; [`Fields::finish`] reports the keys nobody took.
pub struct Fields<'a> {
    what: &'a str,
    at: Place,
    entries: &'a [(Key, Node)],
    known: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    /// Reads `node` as the map of `what` (for instance "source.file"). An empty value is an empty map; anything but a
    /// map is reported, and read as an empty one.
    pub fn of(node: &'a Node, what: &'a str, problems: &mut Problems) -> Self {
        let entries: &[(Key, Node)] = match &node.value {
            Value::Map(entries) => entries,
            _ if node.is_null() => &[],
            _ => {
                problems.error(node.at, format!("{what} takes a map of options, not {}", node.kind()));
                &[]
            }
        };
        Self { what, at: node.at, entries, known: Vec::new() }
    }

    /// Where the map stands.
    #[must_use]
    pub fn at(&self) -> Place {
        self.at
    }

    /// The value of `key`, if it is there. The key counts as known from now on.
    pub fn take(&mut self, key: &'a str) -> Option<&'a Node> {
        self.known.push(key);
        self.entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node)
    }

    /// The value of `key`; its absence is a problem.
    pub fn required(&mut self, key: &'a str, problems: &mut Problems) -> Option<&'a Node> {
        let found = self.take(key);
        if found.is_none() {
            problems.push(
                Problem::error(self.at, format!("{} needs `{key}`", self.what))
                    .help(format!("add `{key}: …`")),
            );
        }
        found
    }

    /// The text of `key`, if it is there.
    pub fn text(&mut self, key: &'a str, problems: &mut Problems) -> Option<&'a str> {
        let node = self.take(key)?;
        let text = node.text();
        if text.is_none() {
            problems.error(node.at, format!("`{key}` takes text, not {}", node.kind()));
        }
        text
    }

    /// `true` or `false` of `key`, if it is there.
    pub fn boolean(&mut self, key: &'a str, problems: &mut Problems) -> Option<bool> {
        let node = self.take(key)?;
        match node.text() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => {
                problems.error(node.at, format!("`{key}` is either true or false"));
                None
            }
        }
    }

    /// The whole number of `key`, if it is there, within `least..=most`.
    pub fn whole(&mut self, key: &'a str, least: u64, most: u64, problems: &mut Problems) -> Option<u64> {
        let node = self.take(key)?;
        match node.text().and_then(|text| text.replace('_', "").parse().ok()) {
            Some(number) if (least..=most).contains(&number) => Some(number),
            _ => {
                problems.error(node.at, format!("`{key}` takes a whole number from {least} to {most}"));
                None
            }
        }
    }

    /// The duration of `key` in milliseconds, if it is there.
    pub fn duration_ms(&mut self, key: &'a str, problems: &mut Problems) -> Option<i64> {
        let node = self.take(key)?;
        duration_ms(node, problems)
    }

    /// The size of `key` in bytes, if it is there.
    pub fn size_bytes(&mut self, key: &'a str, problems: &mut Problems) -> Option<u64> {
        let node = self.take(key)?;
        size_bytes(node, problems)
    }

    /// The rate of `key`, if it is there.
    pub fn rate(&mut self, key: &'a str, problems: &mut Problems) -> Option<Rate> {
        let node = self.take(key)?;
        rate(node, problems)
    }

    /// Reports every key that nobody took, with the nearest that somebody would have.
    pub fn finish(self, problems: &mut Problems) {
        for (key, _) in self.entries {
            if self.known.contains(&key.text.as_str()) {
                continue;
            }
            let problem = Problem::error(key.at, format!("{} has no option `{}`", self.what, key.text));
            problems.push(match nearest(&key.text, self.known.iter().copied()) {
                Some(name) => problem.help(format!("did you mean `{name}`?")),
                None => problem.help(format!("it takes {}", enumerate(&self.known))),
            });
        }
    }
}

/// The names in backticks, separated by commas.
fn enumerate(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
