//! From the events of the YAML parser to the positioned tree.
//!
//! The tree is built on a stack of open lists and maps, not by recursion, and both its depth and its number of nodes
//! are bounded: no file can exhaust the stack or the memory. Aliases are copies of what they name and count in full.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, Span, StructureStyle};

use super::documents::Lines;
use super::offsets::Offsets;
use super::{Key, Node, Scalar, Style, Value, comma, syntax};
use crate::error::{Place, Problem, Problems};

/// Lists and maps nested deeper than this are refused.
pub(super) const DEPTH_MAX: usize = 128;
/// A tree of more nodes than this is refused.
const NODES_MAX: usize = 200_000;

/// Reads a document into its tree. Every mistake is a problem; an error of syntax ends the reading, and then there is
/// no tree. Nor is there one for an empty document, which is no problem here.
#[must_use]
pub fn parse(document: u16, text: &str, problems: &mut Problems) -> Option<Node> {
    parse_part(document, text, (0, text.len()), problems)
}

/// Reads the bytes `from..to` of a document; places count from the document's start.
pub(super) fn parse_part(
    document: u16,
    text: &str,
    (from, to): (usize, usize),
    problems: &mut Problems,
) -> Option<Node> {
    let part = &text[from..to];
    if let Some((at, character)) = part.char_indices().find(|(_, c)| forbidden(*c)) {
        let place =
            Place { document, start: 0, end: u32::MAX }.within(from + at, from + at + character.len_utf8());
        let what = format!("the character U+{:04X} is not allowed in YAML", u32::from(character));
        problems.push(Problem::error(place, what).help("a pipeline is a text file in UTF-8"));
        return None;
    }
    let mut builder = Builder {
        document,
        text,
        from,
        lines: Lines::of(text),
        open: Vec::new(),
        root: None,
        anchors: HashMap::new(),
        nodes: 0,
    };
    let options = granit_parser::options! { flow_nesting_limit: DEPTH_MAX, block_nesting_limit: DEPTH_MAX };
    for next in Parser::new_from_str_with_options(part, options) {
        let fatal = match next {
            Ok((event, span)) => builder.event(event, &span, problems).err(),
            Err(error) => Some(syntax::problem(document, text, (from, to), &error)),
        };
        if let Some(problem) = fatal {
            problems.push(problem);
            return None;
        }
    }
    builder.root
}

/// Control characters other than line breaks and tabs.
fn forbidden(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')
}

struct Builder<'a> {
    document: u16,
    /// The whole document.
    text: &'a str,
    /// Where the part begins that is parsed.
    from: usize,
    lines: Lines,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

/// A list or a map whose end has not come yet.
struct Open {
    at: Place,
    anchor: usize,
    flow: bool,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, key: Pending },
}

/// Where a map stands between its key and its value.
enum Pending {
    /// The next node is a key.
    Expected,
    /// The next node is the value of this key.
    Key(Key),
    /// The key was wrong and has been reported: the next node is dropped.
    Dropped,
}

impl Builder<'_> {
    /// Takes the next event. An error ends the reading.
    fn event(&mut self, event: Event<'_>, span: &Span, problems: &mut Problems) -> Result<(), Problem> {
        if let Some(tag) = span.tag_span() {
            problems.push(
                Problem::error(self.place(&tag), "a pipeline file has no tags")
                    .help("put text that begins with `!` in quotes"),
            );
        }
        match event {
            Event::DocumentStart(..) if self.root.is_some() => Err(Problem::error(
                self.place(span),
                "a file holds one pipeline: a second document starts here",
            )
            .help("put each pipeline into its own file")),
            Event::Scalar(text, style, anchor, _) => {
                let node = self.scalar(&text, style, span);
                self.remember(anchor, &node, span)?;
                self.count(1, span)?;
                self.add(node, problems);
                Ok(())
            }
            Event::SequenceStart(style, anchor, _) => {
                self.open(Content::List(Vec::new()), style, anchor, span)
            }
            Event::MappingStart(style, anchor, _) => {
                let content = Content::Map { entries: Vec::new(), key: Pending::Expected };
                self.open(content, style, anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span, problems),
            Event::Alias(anchor) => self.alias(anchor, span, problems),
            _ => Ok(()),
        }
    }

    fn place(&self, span: &Span) -> Place {
        let offset = |marker: &granit_parser::Marker| self.from + marker.byte_offset().unwrap_or(0);
        let (start, end) = (offset(&span.start), offset(&span.end));
        Place { document: self.document, start: 0, end: u32::MAX }.within(start, end.max(start))
    }

    fn scalar(&self, text: &str, style: ScalarStyle, span: &Span) -> Node {
        let mut at = self.place(span);
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
            ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        };
        let mut source = &self.text[at.start as usize..at.end as usize];
        if style == Style::Block {
            // The place of a block ends where its text does, not after the indentation of what follows.
            source = source.trim_end();
            at = at.within(0, source.len());
        }
        // The parser gives `~` for a value that is not there.
        let raw = if style == Style::Plain && source.is_empty() { "" } else { text };
        let offsets = Offsets::align(raw, source, style);
        Node { at, value: Value::Scalar(Scalar { offsets, ..Scalar::new(raw, style) }) }
    }

    fn open(
        &mut self,
        content: Content,
        style: StructureStyle,
        anchor: usize,
        span: &Span,
    ) -> Result<(), Problem> {
        self.count(1, span)?;
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep(self.place(span)));
        }
        self.open.push(Open { at: self.place(span), anchor, flow: style == StructureStyle::Flow, content });
        Ok(())
    }

    fn close(&mut self, span: &Span, problems: &mut Problems) -> Result<(), Problem> {
        let Some(Open { at, anchor, flow, content }) = self.open.pop() else { return Ok(()) };
        let mut end = if flow { self.place(span).end } else { at.end };
        let value = match content {
            Content::List(mut items) => {
                if flow {
                    comma::repair_list(&mut items, self.text, problems);
                }
                end = items.last().map_or(end, |item| end.max(item.at.end));
                Value::List(items)
            }
            Content::Map { mut entries, .. } => {
                if flow {
                    comma::repair_map(&mut entries, self.text, problems);
                }
                end = entries.last().map_or(end, |(_, value)| end.max(value.at.end));
                for (key, value) in &mut entries {
                    if value.is_null() && value.at.start == value.at.end {
                        value.at = key.at;
                    }
                }
                Value::Map(self.without_duplicates(entries, problems))
            }
        };
        let node = Node { at: Place { end, ..at }, value };
        self.remember(anchor, &node, span)?;
        self.add(node, problems);
        Ok(())
    }

    /// The entries whose key is there for the first time; the others are problems.
    fn without_duplicates(&self, entries: Vec<(Key, Node)>, problems: &mut Problems) -> Vec<(Key, Node)> {
        let mut first: HashMap<String, Place> = HashMap::with_capacity(entries.len());
        let mut kept = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            if let Some(place) = first.get(&key.text) {
                let (line, column) = self.lines.position(self.text, place.start as usize);
                problems.push(
                    Problem::error(key.at, format!("the key `{}` is there twice", key.text))
                        .help(format!("it is first on line {line}, column {column}: keep one of the two")),
                );
                continue;
            }
            if key.text == "<<" {
                problems.push(
                    Problem::error(key.at, "YAML 1.2 has no merge key `<<`").help("write the keys out"),
                );
                continue;
            }
            first.insert(key.text.clone(), key.at);
            kept.push((key, value));
        }
        kept
    }

    fn alias(&mut self, anchor: usize, span: &Span, problems: &mut Problems) -> Result<(), Problem> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(Problem::error(self.place(span), "this refers to a value that contains it"));
        };
        let (nodes, depth) = extent(node);
        if self.open.len() + depth > DEPTH_MAX {
            return Err(too_deep(self.place(span)));
        }
        let node = node.clone();
        self.count(nodes, span)?;
        self.add(node, problems);
        Ok(())
    }

    /// Keeps a copy of a node that has a name; it counts like any other.
    fn remember(&mut self, anchor: usize, node: &Node, span: &Span) -> Result<(), Problem> {
        if anchor != 0 {
            self.count(extent(node).0, span)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, span: &Span) -> Result<(), Problem> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= NODES_MAX {
            return Ok(());
        }
        Err(Problem::error(self.place(span), format!("the file has more than {NODES_MAX} values"))
            .help("references (`*name`) count as often as they are used"))
    }

    /// Adds a node to the list or map that is open, as the value of the key that waits for one, or as a key.
    fn add(&mut self, node: Node, problems: &mut Problems) {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key }) => {
                *key = match std::mem::replace(key, Pending::Expected) {
                    Pending::Expected => pending(node, problems),
                    Pending::Key(key) => {
                        entries.push((key, node));
                        Pending::Expected
                    }
                    Pending::Dropped => Pending::Expected,
                }
            }
        }
    }
}

/// The key that a node is.
fn pending(node: Node, problems: &mut Problems) -> Pending {
    match node.value {
        Value::Scalar(scalar) if !scalar.raw.is_empty() || scalar.style == Style::Quoted => {
            Pending::Key(Key { text: scalar.raw, at: node.at })
        }
        Value::Scalar(_) => {
            problems.error(node.at, "a key is missing here");
            Pending::Dropped
        }
        Value::List(_) | Value::Map(_) => {
            problems.push(
                Problem::error(node.at, "a key is text, not a list or a map")
                    .help("put text that begins with a bracket or a brace in quotes"),
            );
            Pending::Dropped
        }
    }
}

fn too_deep(at: Place) -> Problem {
    Problem::error(at, format!("the file is nested more than {DEPTH_MAX} levels deep"))
}

/// The number of nodes of a tree, and its depth.
fn extent(node: &Node) -> (usize, usize) {
    let together = |(nodes, depth): (usize, usize), child: &Node| {
        let (more, deep) = extent(child);
        (nodes + more, depth.max(deep + 1))
    };
    match &node.value {
        Value::Scalar(_) => (1, 0),
        Value::List(items) => items.iter().fold((1, 1), together),
        Value::Map(entries) => entries.iter().map(|(_, value)| value).fold((1, 1), together),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree in one line, each scalar with the source text of its place.
    fn dump(node: &Node, text: &str) -> String {
        match &node.value {
            Value::Scalar(scalar) => {
                let source = &text[node.at.start as usize..node.at.end as usize];
                if source == scalar.raw {
                    scalar.raw.clone()
                } else {
                    format!("{}⟨{source}⟩", scalar.raw)
                }
            }
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| dump(item, text)).collect();
                format!("[{}]", items.join(" | "))
            }
            Value::Map(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{}: {}", key.text, dump(value, text)))
                    .collect();
                format!("{{{}}}", entries.join(" | "))
            }
        }
    }

    #[test]
    fn trees_keep_source_text_and_places() {
        for (text, expect) in [
            ("a: 0.10\nb: on\nc: ~\n", "{a: 0.10 | b: on | c: ~}"),
            ("é: ü # c\nñ: [x, \"é\"]\n", "{é: ü | ñ: [x | é⟨\"é\"⟩]}"),
            ("a:\nb:\n", "{a: ⟨a⟩ | b: ⟨b⟩}"),
            ("- - 1\n- {}\n- []\n", "[[1] | {} | []]"),
            ("a: |\n  x\n   y\nb: 1\n", "{a: x\n y\n⟨x\n   y⟩ | b: 1}"),
            ("a: one\n  two\n", "{a: one two⟨one\n  two⟩}"),
            ("a: &x { b: 1 }\nc: *x\nd: [*x]\n", "{a: {b: 1} | c: {b: 1} | d: [{b: 1}]}"),
            ("---\na: 1\n...\n", "{a: 1}"),
            ("\u{feff}a: 1\n", "{a: 1}"),
            ("\"\": x\n", "{: x}"),
        ] {
            let mut problems = Problems::new();
            let node = parse(0, text, &mut problems).expect(text);
            assert_eq!(dump(&node, text), expect);
            assert!(problems.all().is_empty(), "{text}: {:?}", problems.all());
        }
    }

    #[test]
    fn empty_documents_have_no_tree() {
        for text in ["", "\n", "# nothing\n"] {
            let mut problems = Problems::new();
            assert_eq!(parse(0, text, &mut problems), None);
            assert!(problems.all().is_empty());
        }
    }

    /// Checks the only problem of a text: the marked source, what it says, and how it helps.
    fn check_problem(text: &str, marked: &str, what: &str, help: &str) {
        let mut problems = Problems::new();
        let _ = parse(0, text, &mut problems);
        let [problem] = problems.all() else { panic!("{text}: {:?}", problems.all()) };
        assert_eq!(
            &text[problem.at.start as usize..problem.at.end as usize],
            marked,
            "{text}: {}",
            problem.what
        );
        assert!(problem.what.contains(what), "{text}: {}", problem.what);
        assert!(problem.help.as_deref().unwrap_or("").contains(help), "{text}: {:?}", problem.help);
    }

    #[test]
    fn mistakes_have_a_place_and_advice() {
        check_problem("é: 1\nb: 2\né: 3\n", "é", "there twice", "line 1, column 1");
        check_problem("a: 1\n\tb: 2\n", "\t", "tab", "blanks");
        check_problem("a:\n\tb: 2\n", "\t", "tab", "blanks");
        check_problem("a: x: y\n", ":", "colon", "quotes");
        check_problem("a: 'x' = y\n", "=", "after its closing quote", "other kind");
        check_problem("a: { b: x[1], c: 2 }\n", "[", "expected `,` or `}`", "bracket");
        check_problem("a: [1, 2\n", "[", "not closed", "");
        check_problem("a: \"x\nb: 2\n", "b", "not closed", "");
        check_problem("a: *\n", "*", "reference", "quotes");
        check_problem("a: *x\n", "*", "nothing has that name", "quotes");
        check_problem("a: &x [*x]\n", "*x", "contains it", "");
        check_problem("a: @x\n", "@", "cannot begin with `@`", "quotes");
        check_problem("a: !x y\n", "!x", "no tags", "quotes");
        check_problem("a: 1\n---\nb: 2\n", "---", "second document", "own file");
        check_problem("? [a]\n: 1\n", "[a]", "a key is text", "");
        check_problem(": 1\n", "", "key is missing", "");
        check_problem("<<: { a: 1 }\n", "<<", "no merge key", "");
        check_problem("a: \u{0}\n", "\u{0}", "U+0000", "UTF-8");
        check_problem("a: 1\nb\n", "b", "`key: value`", "colon");
        check_problem("- a\nb: 1\n", "b", "does not go on", "column");
    }

    #[test]
    fn hostile_documents_are_refused() {
        let lines =
            |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<Vec<_>>().concat();
        let doubling = lines(40, &|n| format!("k{}: &k{} [*k{n}, *k{n}]\n", n + 1, n + 1));
        let chained = lines(100, &|n| format!("k{}: &k{} [[[*k{n}]]]\n", n + 1, n + 1));
        let named = format!("{}{}", "&a [".repeat(100), "x,".repeat(90_000)) + &"]".repeat(100);
        for text in [
            "[".repeat(100_000),
            "{a: ".repeat(100_000),
            "- ".repeat(100_000),
            format!("{}x{}", "[".repeat(129), "]".repeat(129)),
            lines(1000, &|depth| format!("{}a:\n", " ".repeat(depth))),
            format!("k0: &k0 x\n{doubling}"),
            format!("k0: &k0 x\n{chained}"),
            named,
            format!("[{}]", "x,".repeat(NODES_MAX)),
        ] {
            let mut problems = Problems::new();
            assert_eq!(parse(0, &text, &mut problems), None);
            let [problem] = problems.all() else { panic!("{:?}", problems.all().len()) };
            assert!(problem.what.contains("more than"), "{}", problem.what);
        }
    }
}
