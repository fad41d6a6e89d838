//! The comma trap: inside `{ … }` and `[ … ]` YAML cuts `paid: DECIMAL(12, 2)` at the comma, into the value
//! `DECIMAL(12` and a key `2)` without a value.
//!
//! What was cut shows in the bracket, or the SQL quote, that opens in one piece and closes in a later one. It is
//! told in these words, and the pieces are joined again, so that no other errors come of it.

use super::offsets::Offsets;
use super::{Key, Node, Scalar, Style, Value};
use crate::error::{Place, Problem, Problems};

/// A text cut into more pieces than this is not looked for: the search stays linear on any file.
const PIECES_MAX: usize = 256;

/// Joins the texts of a flow map that were cut at commas.
pub fn repair_map(entries: &mut Vec<(Key, Node)>, text: &str, problems: &mut Problems) {
    let mut index = 0;
    while index < entries.len() {
        let pieces = entries[index + 1..]
            .iter()
            .take_while(|(_, value)| value.is_null() && value.at.start == value.at.end)
            .map(|(key, _)| key.at);
        if let Some((joined, last)) = join(&entries[index].1, pieces, true, text, problems) {
            entries[index].1 = joined;
            entries.drain(index + 1..=index + last);
        }
        index += 1;
    }
}

/// Joins the texts of a flow list that were cut at commas.
pub fn repair_list(items: &mut Vec<Node>, text: &str, problems: &mut Problems) {
    let mut index = 0;
    while index < items.len() {
        let pieces = items[index + 1..].iter().take_while(|item| is_plain(item)).map(|item| item.at);
        // An apostrophe alone is no evidence here: `[it's, that's]` is a list of two texts.
        if let Some((joined, last)) = join(&items[index], pieces, false, text, problems) {
            items[index] = joined;
            items.drain(index + 1..=index + last);
        }
        index += 1;
    }
}

fn is_plain(node: &Node) -> bool {
    node.scalar().is_some_and(|scalar| scalar.style == Style::Plain)
}

/// The text of `first` up to the piece that closes what `first` opens, and the number of that piece, from 1.
fn join(
    first: &Node,
    pieces: impl Iterator<Item = Place>,
    quotes_count: bool,
    text: &str,
    problems: &mut Problems,
) -> Option<(Node, usize)> {
    if !is_plain(first) {
        return None;
    }
    let start = first.at.start as usize;
    let mut brackets = Brackets::default();
    let mut read_to = first.at.end as usize;
    brackets.read(&text[start..read_to], 0);
    let evidence = brackets.open(quotes_count)?;
    for (number, piece) in pieces.take(PIECES_MAX).enumerate() {
        let end = piece.end as usize;
        if end < read_to {
            return None; // An alias: its place is elsewhere.
        }
        brackets.read(&text[start..end], read_to - start);
        read_to = end;
        if brackets.open(true).is_none() {
            let at = Place { end: piece.end, ..first.at };
            let joined = joined(at, &text[start..end]);
            problems.push(problem(&joined, evidence));
            return Some((joined, number + 1));
        }
    }
    None
}

fn joined(at: Place, source: &str) -> Node {
    let lines: Vec<&str> = source.split('\n').map(str::trim).collect();
    let raw = if lines.len() > 1 { lines.join(" ") } else { source.to_owned() };
    let offsets = Offsets::align(&raw, source, Style::Plain);
    Node { at, value: Value::Scalar(Scalar { offsets, ..Scalar::new(raw, Style::Plain) }) }
}

fn problem(joined: &Node, evidence: &str) -> Problem {
    let raw = joined.expression().unwrap_or_default();
    let quoted = if raw.contains(['"', '\\']) { None } else { Some(format!("\"{raw}\"")) };
    let quoted = quoted.or_else(|| (!raw.contains('\'')).then(|| format!("'{raw}'")));
    let what = format!("YAML cuts this text at the comma: {evidence} opens before it and closes after it");
    Problem::error(joined.at, what).help(match quoted {
        Some(quoted) => format!("inside {{ … }} and [ … ] put it in quotes: {quoted}"),
        None => "inside { … } and [ … ] put it in quotes, or on a line of its own".to_owned(),
    })
}

/// What is open at some point of a text that is SQL or a type.
#[derive(Default)]
struct Brackets {
    parentheses: i64,
    angles: i64,
    quoted: bool,
}

impl Brackets {
    /// Goes on reading `source` from the byte `from`.
    fn read(&mut self, source: &str, from: usize) {
        for (at, byte) in source.bytes().enumerate().skip(from) {
            match byte {
                b'\'' => self.quoted = !self.quoted,
                _ if self.quoted => {}
                b'(' => self.parentheses += 1,
                b')' => self.parentheses -= 1,
                b'<' if follows_type(&source[..at]) => self.angles += 1,
                b'>' if self.angles > 0 => self.angles -= 1,
                _ => {}
            }
        }
    }

    /// What is open, in words.
    fn open(&self, quotes_count: bool) -> Option<&'static str> {
        if self.parentheses > 0 {
            Some("a parenthesis")
        } else if self.angles > 0 {
            Some("an angle bracket")
        } else if self.quoted && quotes_count {
            Some("a quote")
        } else {
            None
        }
    }
}

/// Whether a `<` after this text opens the parameters of a type, and is not a comparison.
fn follows_type(before: &str) -> bool {
    let before = before.trim_end();
    let word = before
        .rfind(|c: char| !(c.is_alphanumeric() || c == '_'))
        .map_or(before, |at| before[at..].trim_start_matches(|c: char| !(c.is_alphanumeric() || c == '_')));
    ["ARRAY", "MAP", "ROW"].iter().any(|name| word.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use crate::error::Problems;

    /// Checks the raw texts of the flow collection, and how often the trap is reported.
    fn check(document: &str, expect: &[&str], reported: usize) {
        let mut problems = Problems::new();
        let node = parse(0, document, &mut problems).expect(document);
        let texts: Vec<String> = match (node.map(), node.list()) {
            (Some(entries), _) => entries
                .iter()
                .map(|(key, value)| format!("{}: {}", key.text, value.expression().unwrap_or("nothing")))
                .collect(),
            (_, Some(items)) => {
                items.iter().map(|item| item.expression().unwrap_or("nothing").to_owned()).collect()
            }
            _ => panic!("no collection: {document}"),
        };
        assert_eq!(texts, expect, "{document}");
        assert_eq!(problems.all().len(), reported, "{document}: {:?}", problems.all());
        assert!(problems.all().iter().all(|problem| problem.what.contains("cuts this text at the comma")));
    }

    #[test]
    fn texts_cut_at_commas_are_joined() {
        check("{ paid: DECIMAL(12, 2) }", &["paid: DECIMAL(12, 2)"], 1);
        check("{ a: DECIMAL(12, 2) NOT NULL, b: INT }", &["a: DECIMAL(12, 2) NOT NULL", "b: INT"], 1);
        check("{ a: DECIMAL(12, 2), b: DECIMAL(12, 2) }", &["a: DECIMAL(12, 2)", "b: DECIMAL(12, 2)"], 2);
        check("{ a: COALESCE(x, y, f(z, 1), 0), b: 1 }", &["a: COALESCE(x, y, f(z, 1), 0)", "b: 1"], 1);
        check("{ r: ROW<a INT, b INT> }", &["r: ROW<a INT, b INT>"], 1);
        check("{ r: MAP<STRING, ARRAY<DECIMAL(3, 1)>> }", &["r: MAP<STRING, ARRAY<DECIMAL(3, 1)>>"], 1);
        check("{ a: x = 'one, two', b: 1 }", &["a: x = 'one, two'", "b: 1"], 1);
        check("{ a: F(x,\n     y), b: 1 }", &["a: F(x, y)", "b: 1"], 1);
        check("[DECIMAL(12, 2), INT]", &["DECIMAL(12, 2)", "INT"], 1);
        check("[a, f(x, y, z), g(1, 2)]", &["a", "f(x, y, z)", "g(1, 2)"], 2);
    }

    #[test]
    fn what_was_not_cut_is_left_alone() {
        check("{ a: \"DECIMAL(12, 2)\" }", &["a: DECIMAL(12, 2)"], 0);
        check("{ a: f(x), b: , c: 1 }", &["a: f(x)", "b: nothing", "c: 1"], 0);
        check("{ a: x < y, b: }", &["a: x < y", "b: nothing"], 0);
        check("{ a: f(x, b: 2) }", &["a: f(x", "b: 2)"], 0);
        check("{ a: '(', b: ')' }", &["a: (", "b: )"], 0);
        check("{ a: CONCAT('(' || x), b }", &["a: CONCAT('(' || x)", "b: nothing"], 0);
        check("[it's, that's]", &["it's", "that's"], 0);
        check("[(, x]", &["(", "x"], 0);
        check("paid: DECIMAL(12, 2)", &["paid: DECIMAL(12, 2)"], 0);
    }
}
