//! What differs between two trees of options, place by place.

use std::collections::BTreeMap;

use serde_json::Value;

/// A longer text is cut where it is shown, characters.
const SHOWN_MAX: usize = 120;

/// A place of the options whose value is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// The keys that lead there, with dots between them; empty where the options are one text.
    pub path: String,
    /// What was there.
    pub was: Option<String>,
    /// What is there.
    pub is: Option<String>,
}

impl Difference {
    /// The option that it is in.
    pub fn option(&self) -> &str {
        self.path.split('.').next().unwrap_or_default()
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = if self.path.is_empty() { String::new() } else { format!("{} ", self.path) };
        match (&self.was, &self.is) {
            (Some(was), Some(is)) => write!(formatter, "{path}`{}` → `{}`", shown(was), shown(is)),
            (Some(was), None) => write!(formatter, "{path}`{}` is gone", shown(was)),
            (None, Some(is)) => write!(formatter, "{path}`{}` is new", shown(is)),
            (None, None) => write!(formatter, "{path}is in another order"),
        }
    }
}

/// What differs, in the order of the places' names; nothing only where both are equal.
pub(super) fn differences(was: &Value, is: &Value) -> Vec<Difference> {
    let (before, now) = (leaves(was), leaves(is));
    let paths: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let found = paths.into_iter().filter(|path| before.get(*path) != now.get(*path));
    let mut found: Vec<Difference> = found
        .map(|path| Difference {
            path: path.clone(),
            was: before.get(path).cloned(),
            is: now.get(path).cloned(),
        })
        .collect();
    if found.is_empty() && was != is {
        found.push(Difference { path: reordered(was, is), was: None, is: None });
    }
    found
}

/// The differences as one text.
pub(super) fn text(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The texts of a tree by their places.
fn leaves(value: &Value) -> BTreeMap<String, String> {
    fn collect(value: &Value, path: &str, leaves: &mut BTreeMap<String, String>) {
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match (value, entries(value)) {
            (Value::Object(map), _) if !map.is_empty() => {
                for (key, value) in map {
                    collect(value, &below(key), leaves);
                }
            }
            (_, Some(entries)) if !entries.is_empty() => {
                for (key, value) in entries {
                    collect(value, &below(key), leaves);
                }
            }
            _ => drop(leaves.insert(path.to_owned(), leaf(value))),
        }
    }
    let mut all = BTreeMap::new();
    collect(value, "", &mut all);
    all
}

/// The entries of a map whose order means something; none where this is none.
pub(super) fn entries(value: &Value) -> Option<Vec<(&str, &Value)>> {
    let single = |item: &'_ Value| item.as_object().is_some_and(|map| map.len() == 1);
    let items = value.as_array().filter(|items| items.iter().all(single))?;
    let entries = items.iter().filter_map(Value::as_object).flatten();
    Some(entries.map(|(key, value)| (key.as_str(), value)).collect())
}

fn leaf(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(leaf).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// The place of what differs only by its order.
fn reordered(was: &Value, is: &Value) -> String {
    let inner = match (was, is) {
        (Value::Object(was), Value::Object(is)) => was.iter().find_map(|(key, was)| {
            let is = is.get(key).filter(|is| *is != was)?;
            Some((key, reordered(was, is)))
        }),
        _ => None,
    };
    inner.map_or_else(
        String::new,
        |(key, inner)| {
            if inner.is_empty() { key.clone() } else { format!("{key}.{inner}") }
        },
    )
}

/// The text, cut where it is long.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The options as a person would write them on one line.
pub(super) fn on_one_line(options: &Value) -> String {
    match (options, entries(options)) {
        (Value::Object(map), _) => braced(map.iter().map(|(key, value)| (key.as_str(), value))),
        (_, Some(entries)) if !entries.is_empty() => braced(entries.into_iter()),
        _ => leaf(options),
    }
}

fn braced<'a>(entries: impl Iterator<Item = (&'a str, &'a Value)>) -> String {
    let entries = entries.map(|(key, value)| format!("{key}: {}", on_one_line(value)));
    format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
}
