//! A map read key by key: what is missing, unknown or of the wrong shape is reported once, with its place.
//!
//! A value that depends on a variable nobody can know here (see [`super::NoEnvironment`]) is read as absent, without a
//! problem; the key counts as present all the same.

use super::{Key, Node, Rate, Reading, Spanned, Value, duration_ms, rate, size_bytes};
use crate::error::{Place, Problem, Problems, nearest};

/// The options of one component, each taken by name; [`Fields::finish`] reports the keys nobody took.
pub struct Fields<'a> {
    what: &'a str,
    at: Place,
    /// None if this is no map, or not all of it is known, which has been reported.
    entries: Option<&'a [(Key, Node)]>,
    known: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    /// Reads `node` as the map of `what` (for instance "source.file"). An empty value is an empty map; anything but a
    /// map is reported, and read as one in which nothing is missing.
    pub fn of(node: &'a Node, what: &'a str, problems: &mut Problems) -> Self {
        let entries: Option<&[(Key, Node)]> = match &node.value {
            Value::Map(entries) => Some(entries),
            _ if node.is_null() => Some(&[]),
            _ if node.is_withheld() => None,
            _ => {
                problems.error(node.at, format!("{what} takes a map of options, not {}", node.kind()));
                None
            }
        };
        Self { what, at: node.at, entries, known: Vec::new() }
    }

    /// The same for the value of a key; what is missing is shown at the key.
    pub fn under(key: &Key, node: &'a Node, what: &'a str, problems: &mut Problems) -> Self {
        Self { at: key.at, ..Self::of(node, what, problems) }
    }

    /// Where the map stands, or the key it is the value of.
    #[must_use]
    pub fn at(&self) -> Place {
        self.at
    }

    /// The value of `key`, if it is there. The key counts as known from now on.
    pub fn take(&mut self, key: &'a str) -> Option<&'a Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// The key and its value, if they are there.
    pub fn entry(&mut self, key: &'a str) -> Option<&'a (Key, Node)> {
        self.know(key);
        self.entries?.iter().find(|(k, _)| k.text == key)
    }

    /// The value of `key`; its absence is a problem.
    pub fn required(&mut self, key: &'a str, problems: &mut Problems) -> Option<&'a Node> {
        let found = self.take(key);
        if found.is_none() && self.entries.is_some() {
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
        node.read_as(problems, Some, || takes(key, "text", node))
    }

    /// The text of `key`; its absence is a problem.
    pub fn required_text(&mut self, key: &'a str, problems: &mut Problems) -> Option<&'a str> {
        let node = self.required(key, problems)?;
        node.read_as(problems, Some, || takes(key, "text", node))
    }

    /// The value of `key` as an expression, if it is there: a node for which [`Node::expression`] yields something.
    pub fn expression(&mut self, key: &'a str, problems: &mut Problems) -> Option<&'a Node> {
        let node = self.take(key)?;
        if node.expression().is_none() {
            problems.push(takes(key, "an expression", node));
            return None;
        }
        Some(node)
    }

    /// The list of texts of `key`, if it is there.
    pub fn texts(&mut self, key: &'a str, problems: &mut Problems) -> Option<Vec<Spanned<&'a str>>> {
        let node = self.take(key)?;
        let Some(items) = node.list() else {
            problems.push(takes(key, "a list", node).help(format!("write `{key}: [one, two]`")));
            return None;
        };
        texts(key, items, problems)
    }

    /// The text or the list of texts of `key`, if it is there.
    pub fn text_or_list(&mut self, key: &'a str, problems: &mut Problems) -> Option<Vec<Spanned<&'a str>>> {
        let node = self.take(key)?;
        match &node.value {
            Value::List(items) => texts(key, items, problems),
            Value::Scalar(_) if !node.is_null() => texts(key, std::slice::from_ref(node), problems),
            _ => {
                problems.push(takes(key, "text or a list", node));
                None
            }
        }
    }

    /// What the choice written under `key` stands for, if it is there.
    pub fn one_of<T: Copy>(
        &mut self,
        key: &'a str,
        choices: &[(&str, T)],
        problems: &mut Problems,
    ) -> Option<T> {
        let node = self.take(key)?;
        let names = || choices.iter().map(|(name, _)| *name);
        node.read_as(
            problems,
            |text| choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice),
            || {
                let words: Vec<&str> = names().collect();
                let problem = takes(key, &format!("one of {}", enumerate(&words)), node);
                match node.text().and_then(|text| nearest(text, names())) {
                    Some(name) => problem.help(format!("did you mean `{name}`?")),
                    None => problem,
                }
            },
        )
    }

    /// `true` or `false` of `key`, if it is there.
    pub fn boolean(&mut self, key: &'a str, problems: &mut Problems) -> Option<bool> {
        let node = self.take(key)?;
        node.read_as(problems, |text| text.parse().ok(), || takes(key, "true or false", node))
    }

    /// The whole number of `key`, if it is there, within `least..=most`.
    pub fn whole(&mut self, key: &'a str, least: u64, most: u64, problems: &mut Problems) -> Option<u64> {
        let node = self.take(key)?;
        node.read_as(
            problems,
            |text| text.replace('_', "").parse().ok().filter(|number| (least..=most).contains(number)),
            || takes(key, &format!("a whole number from {least} to {most}"), node),
        )
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

    /// Reports `key`, if it is there, as an option of the language that this version does not have.
    pub fn not_yet(&mut self, key: &'a str, help: &str, problems: &mut Problems) -> bool {
        let entries = self.entries.unwrap_or_default();
        let Some((found, _)) = entries.iter().find(|(k, _)| k.text == key) else { return false };
        let what = format!("`{key}` in {} is not in this version", self.what);
        problems.push(Problem::error(found.at, what).help(help));
        self.know(key);
        true
    }

    /// Counts a key as taken.
    pub fn know(&mut self, key: &'a str) {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
    }

    /// The entries nobody took so far, which a component with names of the user's own goes through.
    pub fn rest(&self) -> impl Iterator<Item = &'a (Key, Node)> + '_ {
        let entries: &'a [(Key, Node)] = self.entries.unwrap_or_default();
        entries.iter().filter(|(key, _)| !self.known.contains(&key.text.as_str()))
    }

    /// Whether this is no map, which has been reported: nothing more can be said of it.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.entries.is_none()
    }

    /// The nearest key that somebody asked for, if one is near enough to be meant.
    #[must_use]
    pub fn meant(&self, key: &str) -> Option<&'a str> {
        nearest(key, self.known.iter().copied())
    }

    /// Reports every key that nobody took, with the nearest that somebody would have.
    pub fn finish(self, problems: &mut Problems) {
        for (key, _) in self.rest() {
            let problem = Problem::error(key.at, format!("{} has no option `{}`", self.what, key.text));
            problems.push(match self.meant(&key.text) {
                Some(name) => problem.help(format!("did you mean `{name}`?")),
                None if self.known.is_empty() => problem.help("it takes no options"),
                None => problem.help(format!("it takes {}", enumerate(&self.known))),
            });
        }
    }
}

/// The problem of a value of the wrong kind.
fn takes(key: &str, expected: &str, node: &Node) -> Problem {
    let found = match node.text() {
        Some(text) if text.len() <= 40 => format!("`{text}`"),
        _ => node.kind().to_owned(),
    };
    Problem::error(node.at, format!("`{key}` takes {expected}, not {found}"))
}

/// The items as texts; nothing if one of them is none, which is reported, or cannot be known.
fn texts<'a>(key: &str, items: &'a [Node], problems: &mut Problems) -> Option<Vec<Spanned<&'a str>>> {
    let mut found = Vec::with_capacity(items.len());
    for item in items {
        match item.read(problems) {
            Reading::Text(value) => found.push(Spanned { value, at: item.at }),
            Reading::Withheld => {}
            Reading::NotText => {
                let what = format!("an item of `{key}` is text, not {}", item.kind());
                problems.error(item.at, what);
            }
        }
    }
    (found.len() == items.len()).then_some(found)
}

/// The names in backticks, separated by commas.
fn enumerate(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::{Environment, NoEnvironment, interpolate, parse};
    use super::*;
    use std::collections::BTreeMap;

    /// Reads one option with `read` and checks its value and the problems, each as "what" or "what / help".
    fn check<T: PartialEq + std::fmt::Debug>(
        text: &str,
        environment: &dyn Environment,
        read: impl for<'a> FnOnce(&mut Fields<'a>, &mut Problems) -> Option<T>,
        expect: Option<T>,
        told: &[&str],
    ) {
        let mut problems = Problems::new();
        let mut node = parse(0, text, &mut problems).expect(text);
        interpolate(&mut node, environment);
        let mut fields = Fields::of(&node, "thing", &mut problems);
        let value = read(&mut fields, &mut problems);
        fields.finish(&mut problems);
        let all: Vec<String> = problems
            .all()
            .iter()
            .map(|p| p.help.as_ref().map_or_else(|| p.what.clone(), |help| format!("{} / {help}", p.what)))
            .collect();
        assert_eq!((value, all), (expect, told.iter().map(ToString::to_string).collect()), "{text}");
    }

    #[test]
    fn options_are_read_or_explained() {
        let env = BTreeMap::from([("N".to_owned(), "7".to_owned())]);
        check("n: 5", &env, |f, p| f.whole("n", 1, 10, p), Some(5), &[]);
        check("n: ${N}", &env, |f, p| f.whole("n", 1, 10, p), Some(7), &[]);
        let told = ["`n` takes a whole number from 1 to 10, not `11`"];
        check("n: 11", &env, |f, p| f.whole("n", 1, 10, p), None, &told);
        let told = ["`n` takes text, not a list"];
        check("n: [1]", &env, |f, p| f.text("n", p).map(str::len), None, &told);
        check("n: yes", &env, |f, p| f.boolean("n", p), None, &["`n` takes true or false, not `yes`"]);
        check(
            "m: 1",
            &env,
            |f, p| f.text("name", p).map(str::len),
            None,
            &["thing has no option `m` / it takes `name`"],
        );
        let told = ["thing has no option `nam` / did you mean `name`?"];
        check("nam: 1", &env, |f, p| f.text("name", p).map(str::len), None, &told);
        check(
            "{}",
            &env,
            |f, p| f.required_text("n", p).map(str::len),
            None,
            &["thing needs `n` / add `n: …`"],
        );
        check(
            "[a]",
            &env,
            |f, p| f.required_text("n", p).map(str::len),
            None,
            &["thing takes a map of options, not a list"],
        );
        check(
            "n: 10",
            &env,
            |f, p| f.duration_ms("n", p),
            None,
            &["a duration needs a number and a unit / write for instance 500ms, 10s, 1m, 2h or 1d"],
        );
    }

    #[test]
    fn choices_and_lists() {
        let env = BTreeMap::new();
        let choices = [("keep", 1), ("drop", 2)];
        check("n: drop", &env, |f, p| f.one_of("n", &choices, p), Some(2), &[]);
        let told = ["`n` takes one of `keep`, `drop`, not `kep` / did you mean `keep`?"];
        check("n: kep", &env, |f, p| f.one_of("n", &choices, p), None, &told);
        let owned = |list: Vec<Spanned<&str>>| list.iter().map(|s| s.value.to_owned()).collect::<Vec<_>>();
        let list = |items: &[&str]| Some(items.iter().map(ToString::to_string).collect::<Vec<_>>());
        check("n: a", &env, |f, p| f.text_or_list("n", p).map(owned), list(&["a"]), &[]);
        check("n: [a, b]", &env, |f, p| f.text_or_list("n", p).map(owned), list(&["a", "b"]), &[]);
        let told = ["an item of `n` is text, not a map"];
        check("n: [a, {}]", &env, |f, p| f.texts("n", p).map(owned), None, &told);
        let told = ["`n` takes a list, not `a` / write `n: [one, two]`"];
        check("n: a", &env, |f, p| f.texts("n", p).map(owned), None, &told);
    }

    #[test]
    fn unset_and_unknown_variables() {
        let env = BTreeMap::new();
        let told = ["the environment variable `N` is not set / set it, or give a default: `${N:-…}`"];
        check("n: ${N}", &env, |f, p| f.whole("n", 1, 10, p), None, &told);
        check("n: [a, '${N}']", &env, |f, p| f.texts("n", p).map(|l| l.len()), None, &told);
        check(
            "n: ${N}",
            &env,
            |f, p| f.expression("n", p).map(|n| n.expression().map(str::len)),
            Some(Some(4)),
            &[],
        );
        check("n: ${N}", &NoEnvironment, |f, p| f.whole("n", 1, 10, p), None, &[]);
        check("n: ${N}s", &NoEnvironment, |f, p| f.duration_ms("n", p), None, &[]);
        check("n: ${N}", &NoEnvironment, |f, p| f.required_text("n", p).map(str::len), None, &[]);
    }
}
