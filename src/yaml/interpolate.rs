//! Variables from outside: `${NAME}`, `${NAME:-default}`, `${NAME:?message}`, and `$$` for a dollar.
//!
//! They are replaced after parsing, inside scalars only: a value can never change the shape of the file. Keys and
//! expressions are never touched, and since only a value's reader knows whether it is an expression, both texts are
//! kept: [`Node::text`] is replaced, [`Node::expression`] is not. What is wrong with a variable is told to the first
//! reader of the replaced text.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Node, Scalar, Text, Value};
use crate::error::{Place, Problem};

/// What is known of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// Its value.
    Set(String),
    /// It has none.
    Unset,
    /// Whether it has one cannot be known here.
    Unknown,
}

/// Where variables come from: the process at the edge, a map in tests.
pub trait Environment {
    /// The value of the variable, if it has one.
    fn variable(&self, name: &str) -> Variable;
}

/// The environment of this process. A value that is not UTF-8 counts as unset.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Variable {
        std::env::var(name).map_or(Variable::Unset, Variable::Set)
    }
}

/// No environment, for a check that must not depend on one: variables without a default are unknown, and a value that
/// needs one is read as absent without a problem.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEnvironment;

impl Environment for NoEnvironment {
    fn variable(&self, _name: &str) -> Variable {
        Variable::Unknown
    }
}

impl Environment for BTreeMap<String, String> {
    fn variable(&self, name: &str) -> Variable {
        self.get(name).map_or(Variable::Unset, |value| Variable::Set(value.clone()))
    }
}

/// Replaces the variables in every scalar of the tree.
pub fn interpolate(node: &mut Node, environment: &dyn Environment) {
    let at = node.at;
    match &mut node.value {
        Value::Scalar(scalar) => {
            if scalar.raw.contains('$') {
                scalar.text = replaced(scalar, at, environment);
            }
        }
        Value::List(items) => items.iter_mut().for_each(|item| interpolate(item, environment)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| interpolate(value, environment)),
    }
}

/// Why a piece of a scalar has no value.
enum Obstacle {
    Unknown,
    Wrong { what: String, help: Option<String> },
}

impl Obstacle {
    fn wrong(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Wrong { what: what.into(), help: Some(help.into()) }
    }
}

fn replaced(scalar: &Scalar, at: Place, environment: &dyn Environment) -> Text {
    let raw = scalar.raw.as_str();
    let mut text = String::with_capacity(raw.len());
    let mut unknown = false;
    let mut position = 0;
    while let Some(dollar) = raw[position..].find('$').map(|found| position + found) {
        text.push_str(&raw[position..dollar]);
        let rest = &raw[dollar..];
        if rest.starts_with("$$") {
            text.push('$');
            position = dollar + 2;
            continue;
        }
        if !rest.starts_with("${") {
            text.push('$');
            position = dollar + 1;
            continue;
        }
        let length = rest.find('}').map_or(rest.len(), |brace| brace + 1);
        match reference(&rest[..length], environment) {
            Ok(value) => text.push_str(&value),
            Err(Obstacle::Unknown) => unknown = true,
            Err(Obstacle::Wrong { what, help }) => {
                let mut problem = Problem::error(scalar.offsets.within(at, dollar, dollar + length), what);
                problem.help = help;
                return Text::Wrong(Box::new(problem));
            }
        }
        position = dollar + length;
    }
    text.push_str(&raw[position..]);
    if unknown { Text::Unknown } else { Text::Replaced(text) }
}

/// The value of one `${…}`, which may lack its closing brace.
fn reference<'a>(written: &'a str, environment: &dyn Environment) -> Result<Cow<'a, str>, Obstacle> {
    let Some(inner) = written.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
        return Err(Obstacle::wrong(
            "`${` is not closed",
            "write `${NAME}`, or `$${` for the characters `${`",
        ));
    };
    let name_end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(name_end);
    if name == "secret" && rest.starts_with(':') && !rest.starts_with(":-") && !rest.starts_with(":?") {
        return Err(Obstacle::wrong(
            "this version has no secrets",
            "take the value from the environment: `${NAME}`",
        ));
    }
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Obstacle::wrong(
            "`${` is followed by the name of a variable: letters, digits and `_`, no digit first",
            "write `${NAME}`, or `$${` for the characters `${`",
        ));
    }
    let value = environment.variable(name);
    if let Some(default) = rest.strip_prefix(":-") {
        if default.contains("${") {
            return Err(Obstacle::wrong(
                format!("the default of `{name}` contains another variable"),
                "a default is plain text",
            ));
        }
        return Ok(match value {
            Variable::Set(value) if !value.is_empty() => Cow::Owned(value),
            _ => Cow::Borrowed(default),
        });
    }
    let message = rest.strip_prefix(":?");
    if message.is_none() && !rest.is_empty() {
        return Err(Obstacle::wrong(
            format!("`{rest}` is no way to go on after the name of a variable"),
            format!("write `${{{name}}}`, `${{{name}:-default}}` or `${{{name}:?message}}`"),
        ));
    }
    match value {
        Variable::Set(value) if message.is_none() || !value.is_empty() => Ok(Cow::Owned(value)),
        Variable::Unknown => Err(Obstacle::Unknown),
        _ => Err(match message.map(str::trim).filter(|message| !message.is_empty()) {
            Some(message) => Obstacle::Wrong {
                what: format!("the environment variable `{name}` is not set: {message}"),
                help: None,
            },
            None => Obstacle::wrong(
                format!("the environment variable `{name}` is not set"),
                format!("set it, or give a default: `${{{name}:-…}}`"),
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Reading, parse};
    use super::*;
    use crate::error::Problems;

    fn read(text: &str, environment: &dyn Environment) -> (Option<String>, Vec<Problem>) {
        let mut problems = Problems::new();
        let mut node = parse(0, text, &mut problems).expect(text);
        interpolate(&mut node, environment);
        let read = match node.read(&mut problems) {
            Reading::Text(text) => Some(text.to_owned()),
            Reading::Withheld | Reading::NotText => None,
        };
        (read, problems.all().to_vec())
    }

    fn environment() -> BTreeMap<String, String> {
        [("A", "one"), ("EMPTY", ""), ("YAML", "{ a: [1] }")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn variables_are_replaced() {
        for (text, expect) in [
            ("${A}", "one"),
            ("x${A}y${A}", "xoneyone"),
            ("'${A}'", "one"),
            ("${A:-two}", "one"),
            ("${B:-two}", "two"),
            ("${B:-}", ""),
            ("${EMPTY:-two}", "two"),
            ("'${EMPTY}'", ""),
            ("${A:?set A}", "one"),
            ("$$", "$"),
            ("$${A}", "${A}"),
            ("$$${A}", "$one"),
            ("^(a|b)$", "^(a|b)$"),
            ("$A", "$A"),
            ("${YAML}", "{ a: [1] }"),
        ] {
            assert_eq!(read(text, &environment()), (Some(expect.to_owned()), vec![]), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_to_the_reader() {
        for (text, span, expect) in [
            ("x ${B}", (2, 6), "`B` is not set"),
            ("${B:?set B to the broker}", (0, 25), "not set: set B to the broker"),
            ("${EMPTY:?no}", (0, 12), "not set: no"),
            ("'''${B}'", (3, 7), "`B` is not set"),
            ("${A", (0, 3), "not closed"),
            ("${}", (0, 3), "name of a variable"),
            ("${1A}", (0, 5), "name of a variable"),
            ("${A+x}", (0, 6), "`+x` is no way"),
            ("${A:-${B}}", (0, 9), "contains another variable"),
            ("${secret:kafka}", (0, 15), "no secrets"),
        ] {
            let (value, problems) = read(text, &environment());
            assert_eq!((value, problems.len()), (None, 1), "{text}");
            assert!(problems[0].what.contains(expect), "{text}: {}", problems[0].what);
            assert_eq!((problems[0].at.start, problems[0].at.end), span, "{text}");
        }
    }

    #[test]
    fn without_an_environment_only_defaults_are_known() {
        for (text, expect) in
            [("${A}", None), ("a ${A:?set A} b", None), ("${A:-two}", Some("two")), ("$$", Some("$"))]
        {
            assert_eq!(read(text, &NoEnvironment), (expect.map(str::to_owned), vec![]), "{text}");
        }
    }

    #[test]
    fn expressions_and_keys_are_left_alone() {
        let mut problems = Problems::new();
        let mut node = parse(0, "${A}: x = '${B}'", &mut problems).expect("valid");
        interpolate(&mut node, &environment());
        let (key, value) = &node.map().expect("a map")[0];
        assert_eq!((key.text.as_str(), value.expression()), ("${A}", Some("x = '${B}'")));
        assert!(problems.all().is_empty());
    }
}
