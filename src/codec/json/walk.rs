//! The walker: reads one record of any layout with the help of its piece's marks, and tells where the values are.
//!
//! It judges the grammar of all that it passes. Where it is not sure it says nothing, and the exact layer decides:
//! escapes in keys, a key that occurs twice, values of a kind that its column does not expect, deep nesting, and whatever
//! is no JSON.

use super::piece::{Content, PAD, Piece};
use super::shape::{Between, ROOT, Shape};

/// How deep the walker goes; records may nest deeper than that.
const DEPTH_MAX: usize = 60;

/// Where a record is in its piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) start: usize,
    pub(super) end: usize,
    /// The first of its marks.
    pub(super) mark: usize,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The characters of a string that all mean themselves.
    Text,
    /// The characters of a string with escapes.
    Escaped,
    /// A number, a word, or an array or object without strings.
    Plain,
    /// An array or object that is somebody's as a whole.
    Whole,
    /// An object whose fields are told apart.
    Object,
}

/// A part of a record that another record of the same layout may have otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) written: Written,
    /// The node whose value it is, if somebody asked for it.
    pub(super) node: Option<usize>,
    pub(super) start: usize,
    pub(super) end: usize,
    /// How many of the record's marks are in front of it.
    pub(super) marks_before: usize,
}

/// Reads records; its memory is used again for each.
pub(super) struct Walker {
    slots: Vec<Slot>,
    /// For each node the last record that had it.
    seen: Vec<u64>,
    record: u64,
}

impl Walker {
    pub(super) fn new(shape: &Shape) -> Self {
        Self { slots: Vec::new(), seen: vec![0; shape.nodes.len()], record: 0 }
    }

    /// The slots of a record in order, if it is certain that it is a JSON object and that its columns are these.
    pub(super) fn walk(
        &mut self,
        piece: &Piece,
        shape: &mut Shape,
        extent: Extent,
        content: Content,
    ) -> Option<&[Slot]> {
        self.slots.clear();
        self.record += 1;
        let mut walk = Walk {
            text: Text {
                bytes: &piece.bytes[PAD..PAD + extent.end],
                at: extent.start,
                marks: piece.marks(),
                first_mark: extent.mark,
                mark: extent.mark,
                plain: content == Content::Plain,
            },
            shape,
            slots: &mut self.slots,
            seen: &mut self.seen,
            record: self.record,
        };
        walk.text.blanks();
        walk.text.eat(b'{')?;
        walk.row(ROOT, 1)?;
        walk.text.blanks();
        (walk.text.at == extent.end).then_some(&self.slots)
    }
}

/// Whether text is one JSON value without strings.
pub(super) fn is_plain_value(bytes: &[u8]) -> bool {
    let mut text = Text { bytes, at: 0, marks: &[], first_mark: 0, mark: 0, plain: true };
    let mut slots = Vec::new();
    text.skip(1, &mut slots).is_some() && text.at == bytes.len()
}

/// A place in a record.
struct Text<'a> {
    /// The piece up to the end of the record.
    bytes: &'a [u8],
    at: usize,
    marks: &'a [u16],
    first_mark: usize,
    /// The next mark.
    mark: usize,
    /// Whether no string can have an escape or a control character.
    plain: bool,
}

impl Text<'_> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    #[inline]
    fn blanks(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek() {
            self.mark += usize::from(byte == b'\n');
            self.at += 1;
        }
    }

    /// The string whose opening quote is here: the content's place.
    #[inline]
    fn string(&mut self) -> Option<(Written, usize, usize)> {
        let [open, close, ..] = *self.marks.get(self.mark..)? else { return None };
        let (start, end) = (usize::from(open) + 1, usize::from(close));
        // A mark that is no quote is a newline, and may not be here; one behind the record belongs to others.
        if usize::from(open) != self.at || *self.bytes.get(end)? != b'"' {
            return None;
        }
        self.mark += 2;
        self.at = end + 1;
        let mut written = Written::Text;
        if !self.plain {
            let content = &self.bytes[start..end];
            if content.iter().any(|byte| *byte < b' ') {
                return None;
            }
            if content.contains(&b'\\') {
                written = Written::Escaped;
            }
        }
        Some((written, start, end))
    }

    /// A key without escapes and the colon behind it.
    #[inline]
    fn key(&mut self) -> Option<(usize, usize)> {
        self.blanks();
        let (written, start, end) = self.string()?;
        self.blanks();
        self.eat(b':')?;
        self.blanks();
        (written == Written::Text).then_some((start, end))
    }

    fn slot(&self, written: Written, start: usize, end: usize) -> Slot {
        Slot { written, node: None, start, end, marks_before: self.mark - self.first_mark }
    }

    /// A number, `true`, `false` or `null`.
    #[inline]
    fn scalar(&mut self) -> Option<Slot> {
        let start = self.at;
        let length = match self.peek()? {
            b'-' | b'0'..=b'9' => number_length(&self.bytes[start..])?,
            b't' if self.bytes[start..].starts_with(b"true") => 4,
            b'f' if self.bytes[start..].starts_with(b"false") => 5,
            b'n' if self.bytes[start..].starts_with(b"null") => 4,
            _ => return None,
        };
        self.at += length;
        Some(self.slot(Written::Plain, start, self.at))
    }

    /// Passes a value that nobody asked for.
    fn skip(&mut self, depth: usize, slots: &mut Vec<Slot>) -> Option<()> {
        match self.peek()? {
            b'"' => {
                let (written, start, end) = self.string()?;
                let before = self.mark - self.first_mark - 1;
                slots.push(Slot { marks_before: before, ..self.slot(written, start, end) });
            }
            bracket @ (b'{' | b'[') => {
                let (start, mark, slot) = (self.at, self.mark, slots.len());
                if depth >= DEPTH_MAX {
                    return None;
                }
                self.at += 1;
                self.skip_elements(bracket == b'{', depth, slots)?;
                if self.mark == mark {
                    // Without strings the whole of it is as good as a number.
                    slots.truncate(slot);
                    slots.push(self.slot(Written::Plain, start, self.at));
                }
            }
            _ => {
                let slot = self.scalar()?;
                slots.push(slot);
            }
        }
        Some(())
    }

    /// Passes what an array or object holds, and its end.
    fn skip_elements(&mut self, object: bool, depth: usize, slots: &mut Vec<Slot>) -> Option<()> {
        let close = if object { b'}' } else { b']' };
        self.blanks();
        if self.eat(close).is_some() {
            return Some(());
        }
        loop {
            if object {
                self.key()?;
            } else {
                self.blanks();
            }
            self.skip(depth + 1, slots)?;
            self.blanks();
            match self.peek()? {
                b',' => self.at += 1,
                byte if byte == close => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }
}

/// The length of the number at the start.
#[inline]
fn number_length(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(text.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || whole > 1 && text[at] == b'0' {
        return None;
    }
    at += whole;
    if text.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at);
        if exponent == 0 {
            return None;
        }
        at += exponent;
    }
    Some(at)
}

/// A walk along a record.
struct Walk<'a> {
    text: Text<'a>,
    shape: &'a mut Shape,
    slots: &'a mut Vec<Slot>,
    seen: &'a mut [u64],
    record: u64,
}

impl Walk<'_> {
    /// The fields of an object whose brace has been passed.
    fn row(&mut self, node: usize, depth: usize) -> Option<()> {
        if depth >= DEPTH_MAX {
            return None;
        }
        let mut between = Between::start();
        self.text.blanks();
        if self.text.eat(b'}').is_none() {
            loop {
                let (start, end) = self.text.key()?;
                let key = &self.text.bytes[start..end];
                match self.shape.nodes[node].field(&mut between, key) {
                    None => self.text.skip(depth, self.slots)?,
                    Some(child) => self.value(child, depth)?,
                }
                self.text.blanks();
                match self.text.peek()? {
                    b',' => self.text.at += 1,
                    b'}' => {
                        self.text.at += 1;
                        break;
                    }
                    _ => return None,
                }
            }
        }
        let required = &self.shape.nodes[node].required;
        required.iter().all(|child| self.seen[*child] == self.record).then_some(())
    }

    /// A value somebody asked for.
    fn value(&mut self, node: usize, depth: usize) -> Option<()> {
        if std::mem::replace(&mut self.seen[node], self.record) == self.record {
            return None;
        }
        let is_row = self.shape.nodes[node].is_row();
        match self.text.peek()? {
            b'{' if is_row => {
                let slot = self.text.slot(Written::Object, self.text.at, self.text.at);
                self.slots.push(Slot { node: Some(node), ..slot });
                self.text.at += 1;
                self.row(node, depth + 1)
            }
            b'n' if is_row => {
                let slot = self.text.scalar()?;
                // A word is a part of the layout: what follows `null` differs from what follows a brace anyway.
                debug_assert_eq!(slot.end - slot.start, 4, "only `null` begins so");
                self.shape.nodes[node].nullable.then_some(())
            }
            b'"' if !is_row => {
                let (written, start, end) = self.text.string()?;
                let slot = self.text.slot(written, start, end);
                let marks_before = slot.marks_before - 1;
                self.slots.push(Slot { node: Some(node), marks_before, ..slot });
                Some(())
            }
            _ if is_row => None,
            b'{' | b'[' => {
                let (slots, start) = (self.slots.len(), self.text.at);
                let slot = Slot { node: Some(node), ..self.text.slot(Written::Whole, start, start) };
                self.text.skip(depth, self.slots)?;
                self.slots.truncate(slots);
                self.slots.push(Slot { end: self.text.at, ..slot });
                Some(())
            }
            _ => {
                let slot = self.text.scalar()?;
                self.slots.push(Slot { node: Some(node), ..slot });
                Some(())
            }
        }
    }
}
