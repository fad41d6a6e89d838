//! Parameters in expressions: `:name` stands for a literal.
//!
//! The literal is put into the expression's text whole, and what is said of
//! it later points at the name. Nothing is put into texts of SQL, quoted names and comments.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Node, Value};

/// Puts the literals of these parameters in the place of their names in every scalar of the tree.
pub fn bind(node: &mut Node, literals: &BTreeMap<String, String>) {
    match &mut node.value {
        Value::Scalar(scalar) => {
            if !scalar.raw.contains(':') {
                return;
            }
            let found: Vec<(Range<usize>, &str)> = names(&scalar.raw)
                .filter_map(|range| {
                    Some((range.clone(), literals.get(&scalar.raw[range.start + 1..range.end])?))
                })
                .map(|(range, literal)| (range, literal.as_str()))
                .collect();
            if found.is_empty() {
                return;
            }
            let offsets = scalar.offsets.replaced(scalar.raw.len(), &found);
            for (range, literal) in found.iter().rev() {
                scalar.raw.replace_range(range.clone(), literal);
            }
            scalar.offsets = offsets;
        }
        Value::List(items) => items.iter_mut().for_each(|item| bind(item, literals)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| bind(value, literals)),
    }
}

/// Where `:name` stands in an expression, outside of texts, quoted names and comments.
fn names(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut found = Vec::new();
    let bytes = text.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'\'' | b'`' | b'"') => {
                // A quote that is doubled ends one text and begins another.
                at += 1 + bytes[at + 1..].iter().take_while(|byte| **byte != quote).count();
            }
            b'-' if bytes[at..].starts_with(b"--") => {
                at += bytes[at..].iter().take_while(|byte| **byte != b'\n').count();
            }
            b'/' if bytes[at..].starts_with(b"/*") => {
                at += text[at..].find("*/").map_or(bytes.len(), |end| end + 1);
            }
            b':' => {
                let length = bytes[at + 1..].iter().take_while(|byte| is_word(**byte)).count();
                let before = at.checked_sub(1).map(|before| bytes[before]);
                let begins = before.is_none_or(|before| !is_word(before) && before != b':');
                if begins && length > 0 {
                    found.push(at..at + 1 + length);
                }
                at += length;
            }
            _ => {}
        }
        at += 1;
    }
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Place, Problems};
    use crate::yaml::parse;

    #[test]
    fn names_are_found_where_they_stand_for_something() {
        for (text, expect) in [
            ("a > :big", vec![":big"]),
            (":a+:b_1", vec![":a", ":b_1"]),
            ("'x :a' = :b", vec![":b"]),
            ("'it''s :a' = `q:a` -- :c\n + :d", vec![":d"]),
            ("/* :a */ :b /* :c", vec![":b"]),
            ("m[1:2] a::b x:y : :", vec![]),
            ("'open :a", vec![]),
            ("f(:ä)", vec![":ä"]),
        ] {
            assert_eq!(names(text).map(|range| &text[range]).collect::<Vec<_>>(), expect, "{text}");
        }
    }

    #[test]
    fn places_stay_those_of_the_file() {
        let text = "x: \"a > :big AND b\\t< :small OR c\"\n";
        let mut problems = Problems::new();
        let mut root = parse(0, text, &mut problems).expect("YAML");
        let literals = [("big", "CAST('500' AS INT)"), ("small", "1")];
        bind(&mut root, &literals.map(|(name, literal)| (name.to_owned(), literal.to_owned())).into());
        let node = &root.map().expect("a map")[0].1;
        let raw = node.expression().expect("an expression").to_owned();
        assert_eq!(raw, "a > CAST('500' AS INT) AND b\t< 1 OR c");
        let shown = |part: &str| {
            let from = raw.find(part).expect("a part");
            let Place { start, end, .. } = node.within(from, from + part.len());
            &text[start as usize..end as usize]
        };
        assert_eq!(shown("a >"), "a >");
        assert_eq!(shown("CAST('500' AS INT)"), ":big");
        assert_eq!((shown("AND b"), shown("OR c"), shown("1 ")), ("AND b", "OR c", ":small "));
    }
}
