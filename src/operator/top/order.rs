//! The option `order`: `price DESC, at`.

use arrow::compute::SortOptions;

use crate::error::{Problem, Problems};
use crate::expr::{Expr, ExprError, compile, report};
use crate::record::{Schema, SqlType};
use crate::yaml::Node;

/// One expression that rows are ordered by.
#[derive(Clone, Debug)]
pub(super) struct Term {
    /// Its values.
    pub expression: Expr,
    /// Ascending or descending, and where NULL stands.
    pub options: SortOptions,
}

/// The terms written at `node`: text, or a list of texts. None after a problem.
pub(super) fn resolve(node: &Node, schema: &Schema, problems: &mut Problems) -> Option<Vec<Term>> {
    let items = node.list().unwrap_or(std::slice::from_ref(node));
    let mut terms = Vec::new();
    let mut complete = !items.is_empty();
    if items.is_empty() {
        problems.error(node.at, "`order` names at least one column");
    }
    for item in items {
        let Some(text) = item.expression() else {
            problems.push(
                Problem::error(item.at, format!("an order belongs here, not {}", item.kind()))
                    .help("write for instance order: price DESC, at"),
            );
            complete = false;
            continue;
        };
        for (start, part) in split(text) {
            if part.trim().is_empty() {
                problems.error(item.at, "an order has an expression between its commas");
                complete = false;
                continue;
            }
            match term(part, schema) {
                Ok(term) => terms.push(term),
                Err(errors) => {
                    report(item, errors.into_iter().map(|error| shifted(error, start)).collect(), problems);
                    complete = false;
                }
            }
        }
    }
    complete.then_some(terms)
}

fn shifted(error: ExprError, by: usize) -> ExprError {
    ExprError { span: (error.span.0 + by, error.span.1 + by), ..error }
}

/// The text cut at the commas outside of brackets and quotes, with the start of each piece.
fn split(text: &str) -> Vec<(usize, &str)> {
    let (mut pieces, mut start, mut depth, mut quote) = (Vec::new(), 0, 0_i32, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '`') => quote = Some(c),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth -= 1,
            (None, ',') if depth == 0 => {
                pieces.push((start, &text[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push((start, &text[start..]));
    pieces
}

fn term(text: &str, schema: &Schema) -> Result<Term, Vec<ExprError>> {
    let error = |what: String, help: Option<&str>| {
        let lead = text.len() - text.trim_start().len();
        let span = (lead, lead + text.trim().len());
        vec![ExprError { span, what, help: help.map(str::to_owned) }]
    };
    let (rest, nulls_first) = without_nulls(text);
    let (rest, descending) = match last_word(rest) {
        Some((before, word)) if word.eq_ignore_ascii_case("desc") => (before, true),
        Some((before, word)) if word.eq_ignore_ascii_case("asc") => (before, false),
        _ => (rest, false),
    };
    let expression = compile(rest, schema)?;
    if expression.is_constant() {
        let help = "name the column to order by";
        return Err(error("this is the same for all rows and orders nothing".to_owned(), Some(help)));
    }
    if matches!(
        expression.data_type(),
        SqlType::Array(..) | SqlType::Map(..) | SqlType::Row(_) | SqlType::Null
    ) {
        let help = "order by its fields or elements";
        return Err(error(format!("{} has no order", expression.data_type()), Some(help)));
    }
    // As Flink: NULL is the least value.
    let options = SortOptions { descending, nulls_first: nulls_first.unwrap_or(!descending) };
    Ok(Term { expression, options })
}

/// The text without `NULLS FIRST` or `NULLS LAST` at its end, and which of them it was.
fn without_nulls(text: &str) -> (&str, Option<bool>) {
    let found = last_word(text).and_then(|(before, word)| {
        let first = word.eq_ignore_ascii_case("first");
        let known = first || word.eq_ignore_ascii_case("last");
        let (before, nulls) = last_word(before).filter(|_| known)?;
        nulls.eq_ignore_ascii_case("nulls").then_some((before, Some(first)))
    });
    found.unwrap_or((text, None))
}

/// The last word and what is before it, where that is not another part of the same name.
fn last_word(text: &str) -> Option<(&str, &str)> {
    let trimmed = text.trim_end();
    let start = trimmed.rfind(|c: char| !c.is_alphanumeric() && c != '_')?;
    let end = start + trimmed[start..].chars().next().map_or(0, char::len_utf8);
    let before = &trimmed[..end];
    before.ends_with(|c: char| c.is_whitespace() || ")]`'".contains(c)).then_some((before, &trimmed[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::verify::example_schema;
    use crate::yaml::parse;

    /// The terms as text, or what is wrong.
    fn check(yaml: &str, expect: &str) {
        let mut problems = Problems::new();
        let node = parse(0, yaml, &mut problems).expect(yaml);
        let terms = resolve(&node, &example_schema(), &mut problems);
        let show = |term: &Term| {
            let SortOptions { descending, nulls_first } = term.options;
            let name = term.expression.as_column().unwrap_or("…").to_owned();
            let direction = if descending { " desc" } else { "" };
            format!("{name}{direction}{}", if nulls_first { " nulls first" } else { "" })
        };
        let shown = terms.map(|terms| terms.iter().map(show).collect::<Vec<_>>().join(", "));
        let told = problems
            .all()
            .iter()
            .map(|p| format!("{}: {}", &yaml[p.at.start as usize..p.at.end as usize], p.what));
        assert_eq!(shown.unwrap_or_else(|| told.collect::<Vec<_>>().join(" / ")), expect, "{yaml}");
    }

    #[test]
    fn terms_directions_and_nulls() {
        check("price", "price nulls first");
        check("price DESC, at", "price desc, at nulls first");
        check("price desc nulls first,at ASC NULLS LAST", "price desc nulls first, at");
        check("[price DESC, \"at, id\"]", "price desc, at nulls first, id nulls first");
        check("\"COALESCE(price, 0) DESC, `at`DESC\"", "… desc, at desc");
        check("\"IF(channel = 'a, b)', 1, price)\"", "… nulls first");
    }

    #[test]
    fn mistakes_are_told_where_they_are() {
        check("price DESC, prise", "prise: there is no column `prise`");
        check("price,", "price,: an order has an expression between its commas");
        check("price, tags", "tags: ARRAY<STRING> has no order");
        check("price, 1", "1: this is the same for all rows and orders nothing");
        check("[]", "[]: `order` names at least one column");
    }
}
