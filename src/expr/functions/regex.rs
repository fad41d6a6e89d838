//! Functions of regular expressions, in the syntax of the `regex` crate: no look-around, no back-references, and time
//! linear in the text. A constant one is compiled once, and told at once when it is wrong.

use arrow::array::BooleanArray;
use regex::{Regex, RegexBuilder};

use super::text::texts;
use super::{Build, Call, Function, FunctionDoc};
use crate::expr::ExprError;
use crate::expr::coerce::coerce;
use crate::expr::kernel::{Argument, Values};
use crate::expr::typed::{Typed, done};
use crate::record::SqlType;

pub(super) static FUNCTIONS: &[Function] = &[
    Function {
        doc: FunctionDoc {
            name: "REGEXP",
            signature: "REGEXP(text STRING, regex STRING) → BOOLEAN",
            summary: "Whether a regular expression matches some part of the text.",
            example: "REGEXP('order-17', '[0-9]+')",
            result: "TRUE",
        },
        aliases: &[],
        build: Build::Own(matches),
    },
    Function {
        doc: FunctionDoc {
            name: "REGEXP_EXTRACT",
            signature: "REGEXP_EXTRACT(text STRING, regex STRING[, group INT]) → STRING",
            summary: "What the regular expression, or a group of it, matches first; NULL where it does not match.",
            example: "REGEXP_EXTRACT('order-17', '([a-z]+)-([0-9]+)', 2)",
            result: "17",
        },
        aliases: &[],
        build: Build::Own(extract),
    },
    Function {
        doc: FunctionDoc {
            name: "REGEXP_REPLACE",
            signature: "REGEXP_REPLACE(text STRING, regex STRING, replacement STRING) → STRING",
            summary: "The text with every match replaced; `$1` stands for what a group matched.",
            example: "REGEXP_REPLACE('a1b22', '[0-9]+', '#')",
            result: "a#b#",
        },
        aliases: &[],
        build: Build::Own(replace),
    },
];

/// What a compiled regular expression may take, bytes.
const SIZE_MAX: usize = 1 << 20;

fn compiled(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(SIZE_MAX).dfa_size_limit(SIZE_MAX).build().map_err(|error| {
        match error {
            regex::Error::CompiledTooBig(_) => "the regular expression is too large".to_owned(),
            other => {
                let text = other.to_string();
                let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                format!("this is not a regular expression: {reason}")
            }
        }
    })
}

/// The regular expression of each row: compiled beforehand, or the last one kept.
struct Patterns<'a> {
    constant: Option<&'a Regex>,
    texts: Values<&'a arrow::array::StringArray>,
    last: Option<(String, Regex)>,
}

impl<'a> Patterns<'a> {
    fn new(constant: Option<&'a Regex>, argument: &'a Argument) -> Self {
        Self { constant, texts: argument.text(), last: None }
    }

    fn get(&mut self, row: usize) -> Result<Option<&Regex>, String> {
        if self.constant.is_some() {
            return Ok(self.constant);
        }
        let Some(text) = self.texts.get(row) else { return Ok(None) };
        if self.last.as_ref().is_none_or(|(last, _)| last != text) {
            self.last = Some((text.to_owned(), compiled(text)?));
        }
        Ok(self.last.as_ref().map(|(_, regex)| regex))
    }
}

/// Text and regular expression as STRING, and the latter compiled if it is constant.
fn prepared(call: &Call, arguments: &mut [Typed]) -> Result<Option<Regex>, ExprError> {
    for argument in &mut arguments[..2] {
        *argument = call.fitted(argument.clone(), &SqlType::String)?;
    }
    match arguments[1].constant_text() {
        Some(Some(pattern)) => compiled(pattern).map(Some).map_err(|what| ExprError {
            span: arguments[1].span,
            what,
            help: Some(
                "the syntax is that of docs.rs/regex: look-around and back-references are not there"
                    .to_owned(),
            ),
        }),
        _ => Ok(None),
    }
}

fn matches(mut call: Call) -> Result<Typed, ExprError> {
    let mut arguments = call.counted(2, 2)?;
    let regex = prepared(&call, &mut arguments)?;
    Typed::strict("REGEXP", arguments, SqlType::Boolean, call.span, move |arguments, rows| {
        let values = arguments[0].text();
        let mut patterns = Patterns::new(regex.as_ref(), &arguments[1]);
        let mut one =
            |row| Ok(patterns.get(row)?.zip(values.get(row)).map(|(regex, text)| regex.is_match(text)));
        done((0..rows).map(&mut one).collect::<Result<BooleanArray, String>>()?)
    })
}

fn extract(mut call: Call) -> Result<Typed, ExprError> {
    let mut arguments = call.counted(2, 3)?;
    let regex = prepared(&call, &mut arguments)?;
    if arguments.len() == 3 {
        let group = arguments.remove(2);
        if let (Some(wanted), Some(regex)) = (group.constant_integer(), &regex)
            && usize::try_from(wanted).map_or(true, |wanted| wanted >= regex.captures_len())
        {
            return Err(call.wrong(group.span, format!("the regular expression has no group {wanted}")));
        }
        arguments.push(call.fitted(group, &SqlType::BigInt)?);
    }
    Typed::call("REGEXP_EXTRACT", arguments, SqlType::String, true, call.span, move |arguments, rows| {
        let values = arguments[0].text();
        let groups = arguments.get(2).map(Argument::bigint);
        let mut patterns = Patterns::new(regex.as_ref(), &arguments[1]);
        texts(rows, |row, out| {
            let group = match &groups {
                None => Some(0),
                Some(groups) => groups.get(row),
            };
            let (Some(regex), Some(text), Some(group)) = (patterns.get(row)?, values.get(row), group) else {
                return Ok(false);
            };
            let Ok(group) = usize::try_from(group) else { return Ok(false) };
            // Searching alone is faster than searching with groups.
            let found = if group == 0 {
                regex.find(text)
            } else {
                regex.captures(text).and_then(|captures| captures.get(group))
            };
            found.inspect(|found| out.push_str(found.as_str()));
            Ok(found.is_some())
        })
    })
}

fn replace(mut call: Call) -> Result<Typed, ExprError> {
    let mut arguments = call.counted(3, 3)?;
    let regex = prepared(&call, &mut arguments)?;
    arguments[2] = coerce(call.fitted(arguments[2].clone(), &SqlType::String)?, &SqlType::String)?;
    Typed::strict("REGEXP_REPLACE", arguments, SqlType::String, call.span, move |arguments, rows| {
        let (values, replacements) = (arguments[0].text(), arguments[2].text());
        let mut patterns = Patterns::new(regex.as_ref(), &arguments[1]);
        texts(rows, |row, out| {
            let (Some(regex), Some(text), Some(replacement)) =
                (patterns.get(row)?, values.get(row), replacements.get(row))
            else {
                return Ok(false);
            };
            let mut rest = 0;
            for captures in regex.captures_iter(text) {
                let whole = captures.get(0).expect("group 0 is the match");
                out.push_str(&text[rest..whole.start()]);
                expand(replacement, &captures, out)?;
                super::text::bounded(out.len())?;
                rest = whole.end();
            }
            out.push_str(&text[rest..]);
            Ok(true)
        })
    })
}

/// Appends a replacement as Java reads it: `$1` is a group, a backslash takes the next character as it is.
fn expand(replacement: &str, captures: &regex::Captures<'_>, out: &mut String) -> Result<(), String> {
    let mut characters = replacement.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' => out.extend(characters.next()),
            '$' => {
                let digit = characters.next().and_then(|digit| digit.to_digit(10));
                let Some(digit) = digit else {
                    return Err("in a replacement `$` is followed by a group's number".to_owned());
                };
                let mut group = digit as usize;
                // A further digit counts only where there are so many groups.
                while let Some(next) = characters.peek().and_then(|next| next.to_digit(10)) {
                    if group * 10 + next as usize >= captures.len() {
                        break;
                    }
                    group = group * 10 + next as usize;
                    characters.next();
                }
                if group >= captures.len() {
                    return Err(format!("the regular expression has no group {group}"));
                }
                out.push_str(captures.get(group).map_or("", |found| found.as_str()));
            }
            other => out.push(other),
        }
    }
    Ok(())
}
