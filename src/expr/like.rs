//! LIKE: `%` stands for any text, `_` for one character; without ESCAPE nothing escapes them.

use arrow::array::BooleanArray;

use super::ExprError;
use super::coerce::{coerce, over};
use super::kernel::map2;
use super::typed::{Typed, done};
use crate::record::SqlType;

/// `value [NOT] LIKE pattern [ESCAPE escape]`.
pub(super) fn like(
    value: Typed,
    pattern: Typed,
    escape: Option<&Typed>,
    negated: bool,
) -> Result<Typed, ExprError> {
    let span = over(value.span, pattern.span);
    for side in [&value, &pattern] {
        if !matches!(side.data_type, SqlType::String | SqlType::Null) {
            return Err(ExprError {
                span: side.span,
                what: format!("LIKE compares STRING, this is {}", side.data_type),
                help: Some("CAST(… AS STRING)".to_owned()),
            });
        }
    }
    let escape = escape.map(escape_character).transpose()?;
    let (value, pattern) = (coerce(value, &SqlType::String)?, coerce(pattern, &SqlType::String)?);
    if let Some(Some(text)) = pattern.constant_text() {
        let matcher = Pattern::new(text, escape).map_err(|reason| ExprError {
            span: pattern.span,
            what: reason,
            help: None,
        })?;
        return Typed::strict("LIKE", vec![value], SqlType::Boolean, span, move |arguments, rows| {
            let values: BooleanArray = super::kernel::map(rows, arguments[0].text(), |text| {
                Ok(Some(matcher.matches(text) != negated))
            })?;
            done(values)
        });
    }
    Typed::strict("LIKE", vec![value, pattern], SqlType::Boolean, span, move |arguments, rows| {
        let (texts, patterns) = (arguments[0].text(), arguments[1].text());
        let values: BooleanArray = map2(rows, texts, patterns, |text, pattern| {
            Ok(Some(Pattern::new(pattern, escape)?.matches(text) != negated))
        })?;
        done(values)
    })
}

fn escape_character(escape: &Typed) -> Result<char, ExprError> {
    let mut characters = escape.constant_text().flatten().unwrap_or_default().chars();
    match (characters.next(), characters.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(ExprError {
            span: escape.span,
            what: "ESCAPE takes one character".to_owned(),
            help: Some("for example LIKE '50!%' ESCAPE '!'".to_owned()),
        }),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Character(char),
    One,
    Many,
}

/// A pattern made ready.
#[derive(Debug)]
enum Pattern {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    General(Vec<Part>),
}

impl Pattern {
    fn new(pattern: &str, escape: Option<char>) -> Result<Self, String> {
        let mut parts = Vec::with_capacity(pattern.len());
        let mut characters = pattern.chars();
        while let Some(c) = characters.next() {
            parts.push(match c {
                c if Some(c) == escape => match characters.next() {
                    Some(next) if next == '%' || next == '_' || Some(next) == escape => Part::Character(next),
                    _ => return Err(format!("in a LIKE pattern `{c}` escapes `%`, `_` or itself only")),
                },
                '%' if parts.last() == Some(&Part::Many) => continue,
                '%' => Part::Many,
                '_' => Part::One,
                other => Part::Character(other),
            });
        }
        let starts = parts.first() == Some(&Part::Many);
        let ends = parts.len() > 1 && parts.last() == Some(&Part::Many);
        let middle = &parts[usize::from(starts)..parts.len() - usize::from(ends)];
        let text = middle.iter().map(|part| match part {
            Part::Character(c) => Some(*c),
            _ => None,
        });
        Ok(match (text.collect::<Option<String>>(), starts, ends) {
            (Some(text), false, false) => Self::Exact(text),
            (Some(text), false, true) => Self::Prefix(text),
            (Some(text), true, false) => Self::Suffix(text),
            (Some(text), true, true) => Self::Contains(text),
            (None, ..) => Self::General(parts),
        })
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => text == exact,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::Contains(part) => text.contains(part),
            Self::General(parts) => general(parts, text),
        }
    }
}

/// Matches from the left; where it fails, the last `%` takes one character more.
fn general(parts: &[Part], text: &str) -> bool {
    let (mut part, mut rest) = (0, text);
    let mut retry: Option<(usize, &str)> = None;
    loop {
        let mut characters = rest.chars();
        let matched = match (parts.get(part), characters.next()) {
            (None, None) => return true,
            (Some(Part::Many), _) => {
                part += 1;
                retry = Some((part, rest));
                continue;
            }
            (Some(Part::One), Some(_)) => true,
            (Some(Part::Character(expected)), Some(found)) => *expected == found,
            _ => false,
        };
        if matched {
            part += 1;
            rest = characters.as_str();
            continue;
        }
        let Some((after, from)) = retry else { return false };
        let mut characters = from.chars();
        if characters.next().is_none() {
            return false;
        }
        (part, rest) = (after, characters.as_str());
        retry = Some((after, rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_sql_has_it() {
        for (text, pattern, expect) in [
            ("abc", "abc", true),
            ("abc", "a%", true),
            ("abc", "%c", true),
            ("abc", "%b%", true),
            ("abc", "a_c", true),
            ("abc", "_", false),
            ("", "%", true),
            ("", "", true),
            ("a", "", false),
            ("aXbXc", "a%b%c", true),
            ("aaab", "%a_b", true),
            ("50%", "50!%", true),
            ("500", "50!%", false),
            ("日本語", "日_語", true),
            ("mississippi", "m%iss%ip%i", true),
            ("mississippi", "m%iss%ipX%i", false),
        ] {
            let found = Pattern::new(pattern, Some('!')).unwrap().matches(text);
            assert_eq!(found, expect, "{text} LIKE {pattern}");
        }
    }
}
