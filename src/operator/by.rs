//! The keys of a step: what `by` (or `per`) says, and the expressions it comes to.
//!
//! Where keys make columns (`aggregate`), every one has a name of one word: that of the column it is, or its own. Where
//! they make none (`over`, `top`, `dedupe`, `throttle`, `sample`), a key that has no name is called as it is written.

use crate::error::{Place, Problem, Problems};
use crate::expr::{Expr, compile_at};
use crate::record::{KeyCodec, Schema};
use crate::yaml::{Fields, Key, Node};

/// The keys of a step as they are written: names and expressions. Without any, all rows have one key.
#[derive(Clone, Debug, Default)]
pub(super) struct By {
    entries: Vec<(Key, Node)>,
}

/// The keys of a step over its input.
#[derive(Clone)]
pub(super) struct Keys {
    /// Their names and expressions, in the order of the file.
    pub columns: Vec<(String, Expr)>,
    /// How their bytes are written.
    pub codec: KeyCodec,
}

impl By {
    /// Keys that make columns: `by: a`, `by: [a, b.c]` or `by: { name: expression }`. A path is named after its last
    /// part; no keys where the option is not there. None is returned only after a problem.
    pub fn parse(fields: &mut Fields, option: &'static str, problems: &mut Problems) -> Option<Self> {
        Self::read(fields, option, problems, column_name)
    }

    /// Keys that make no columns: as [`By::parse`], and an expression needs no name.
    pub fn parse_unnamed(fields: &mut Fields, option: &'static str, problems: &mut Problems) -> Option<Self> {
        Self::read(fields, option, problems, |text| Some(text))
    }

    /// Reads the option. `name` tells what a key without a name is called, by its expression; none where it needs one.
    fn read(
        fields: &mut Fields,
        option: &'static str,
        problems: &mut Problems,
        name: fn(&str) -> Option<&str>,
    ) -> Option<Self> {
        let Some(node) = fields.take(option) else { return Some(Self::default()) };
        if let Some(entries) = node.map() {
            return Some(Self { entries: entries.to_vec() });
        }
        let items = node.list().unwrap_or(std::slice::from_ref(node));
        let mut entries = Vec::with_capacity(items.len());
        for item in items {
            let Some(text) = item.expression() else {
                let what = format!("`{option}` takes columns and expressions, not {}", item.kind());
                problems.error(item.at, what);
                continue;
            };
            match name(text) {
                Some(name) => entries.push((Key { text: name.to_owned(), at: item.at }, item.clone())),
                None => problems.push(
                    Problem::error(item.at, "a key that is an expression needs a name")
                        .help(format!("write {option}: {{ name: \"{text}\" }}")),
                ),
            }
        }
        (entries.len() == items.len()).then_some(Self { entries })
    }

    /// The names of the keys, with their places.
    pub fn names(&self) -> impl Iterator<Item = &Key> {
        self.entries.iter().map(|(key, _)| key)
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Where the first key stands; `step` where there is none.
    pub fn at(&self, step: Place) -> Place {
        self.entries.first().map_or(step, |(_, node)| node.at)
    }

    /// The names behind this word for people, as in ` by a, b`; nothing without a key.
    pub fn describe(&self, word: &str) -> String {
        let names: Vec<&str> = self.names().map(|name| name.text.as_str()).collect();
        if names.is_empty() { String::new() } else { format!(" {word} {}", names.join(", ")) }
    }

    /// The keys over these columns. None is returned only after a problem.
    pub fn resolve(&self, schema: &Schema, problems: &mut Problems) -> Option<Keys> {
        let compiled: Vec<Option<(String, Expr)>> = self
            .entries
            .iter()
            .map(|(key, node)| Some((key.text.clone(), compile_at(node, schema, problems)?)))
            .collect();
        let columns = compiled.into_iter().collect::<Option<Vec<_>>>()?;
        match KeyCodec::new(columns.iter().map(|(_, key)| key.data_type().clone()).collect()) {
            Ok(codec) => Some(Keys { columns, codec }),
            Err(nested) => {
                let wrong = columns.iter().position(|(_, key)| *key.data_type() == nested);
                let (_, node) = &self.entries[wrong.unwrap_or(0)];
                problems.push(
                    Problem::error(node.at, format!("{nested} cannot be a key"))
                        .help("name a part of it, for instance m['key']"),
                );
                None
            }
        }
    }
}

impl Keys {
    /// The expressions, in the order of the file.
    pub fn expressions(&self) -> impl Iterator<Item = &Expr> {
        self.columns.iter().map(|(_, expression)| expression)
    }

    /// The columns of the input that the keys are; none where one of them is no column.
    pub fn input_columns(&self) -> Option<Vec<String>> {
        self.expressions().map(|expression| expression.as_column().map(str::to_owned)).collect()
    }

    /// The names for people: `a, b`, or that there is one group of all rows.
    pub fn describe(&self) -> String {
        if self.columns.is_empty() {
            return "one global group".to_owned();
        }
        self.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// The last part of a path; none where the text is another expression.
fn column_name(text: &str) -> Option<&str> {
    let is_name = |part: &str| {
        part.chars().all(|c| c.is_alphanumeric() || c == '_')
            && !part.starts_with(|c: char| c.is_ascii_digit())
    };
    text.split('.').all(is_name).then(|| text.rsplit('.').next().unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks what the keys are called where they make columns, and where they make none; or the first problem.
    fn check(options: &str, named: &str, unnamed: &str) {
        type Parse = fn(&mut Fields, &'static str, &mut Problems) -> Option<By>;
        for (parse, expect) in [(By::parse as Parse, named), (By::parse_unnamed as Parse, unnamed)] {
            let mut problems = Problems::new();
            let node = crate::yaml::parse(0, options, &mut problems).unwrap();
            let mut fields = Fields::of(&node, "step", &mut problems);
            let by = parse(&mut fields, "per", &mut problems);
            fields.finish(&mut problems);
            assert_eq!(by.is_none(), problems.has_errors(), "{options}");
            let found = by.map_or_else(|| problems.all()[0].what.clone(), |by| by.describe("per"));
            assert_eq!(found, expect, "{options}");
        }
    }

    #[test]
    fn names() {
        check("{}", "", "");
        check("per: []", "", "");
        check("per: {}", "", "");
        check("per: user", " per user", " per user");
        check("per: [user, place.city]", " per user, city", " per user, place.city");
        check("per: { city: place.city, u: UPPER(user) }", " per city, u", " per city, u");
        let nameless = "a key that is an expression needs a name";
        check("per: UPPER(user)", nameless, " per UPPER(user)");
        check("per: [user, 'MOD(id, 10)']", nameless, " per user, MOD(id, 10)");
        check("per: 1", nameless, " per 1");
        let list = "`per` takes columns and expressions, not a list";
        check("per: [user, [id]]", list, list);
        let map = "`per` takes columns and expressions, not a map";
        check("per: [{ u: user }]", map, map);
    }
}
