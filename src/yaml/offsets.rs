//! From a scalar's text back to its source: quotes, escapes, indentation and folded lines make the two differ, and an
//! error inside an expression or a type has to point at the right characters all the same.

use std::ops::Range;

use super::Style;
use crate::error::Place;

/// Where stretches of a scalar's text stand in its source. Empty where the text is the source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offsets {
    /// From this offset of the text on, the source stands at this offset of the place; both ascend.
    stretches: Vec<(u32, u32)>,
}

impl Offsets {
    /// Aligns a scalar's text with its source, which includes the quotes of a quoted scalar and begins after the
    /// header of a block.
    pub fn align(text: &str, source: &str, style: Style) -> Self {
        if text == source {
            return Self::default();
        }
        let (quote, content) = match (style, source.as_bytes().first()) {
            (Style::Quoted, Some(quote)) => (Some(*quote), &source[1..]),
            _ => (None, source),
        };
        let mut aligner = Aligner { text, source, at_text: 0, at_source: source.len() - content.len() };
        let mut stretches: Vec<(u32, u32)> = Vec::new();
        let mut shift = None;
        while aligner.at_text < text.len() && aligner.at_source < source.len() {
            let (from_text, from_source) = (aligner.at_text, aligner.at_source);
            if !aligner.advance(quote, style) {
                break;
            }
            let distance = Some(from_source.wrapping_sub(from_text));
            if aligner.at_text > from_text && shift != distance {
                shift = distance;
                stretches.push((offset(from_text), offset(from_source)));
            }
        }
        Self { stretches }
    }

    /// The place of the bytes `from..to` of the text.
    pub fn within(&self, place: Place, from: usize, to: usize) -> Place {
        if self.stretches.is_empty() {
            return place.within(from, to);
        }
        let start = self.source_of(from);
        // The end is found from the last byte inside, so that it does not slip behind a line break that follows; and
        // an escape may be shorter than what it stands for.
        let end = if to > from { (self.source_of(to - 1) + 1).min(self.source_of(to)) } else { start };
        place.within(start, end)
    }

    /// Where a text stands after these stretches of it, which ascend, have been replaced: what is put in stands where it was.
    /// The text had `length` bytes.
    pub fn replaced(&self, length: usize, replaced: &[(Range<usize>, &str)]) -> Self {
        let mut stretches = Vec::new();
        // From one stretch that is kept to the next: where it begins in the old text and in the new one.
        let (mut from, mut now) = (0, 0);
        for (range, instead) in replaced
            .iter()
            .map(|(range, instead)| (range.clone(), instead.len()))
            .chain([(length..length, 0)])
        {
            stretches.push((offset(now), offset(self.source_of(from))));
            let inside =
                self.stretches.iter().filter(|(text, _)| (from + 1..range.start).contains(&(*text as usize)));
            stretches.extend(inside.map(|(text, source)| (offset(now + *text as usize - from), *source)));
            now += range.start - from;
            if range.start < length {
                stretches.push((offset(now), offset(self.source_of(range.start))));
            }
            now += instead;
            from = range.end;
        }
        Self { stretches }
    }

    fn source_of(&self, text: usize) -> usize {
        let next = self.stretches.partition_point(|(from, _)| *from as usize <= text);
        let (from_text, from_source) = next.checked_sub(1).map_or((0, 0), |last| self.stretches[last]);
        from_source as usize + (text - from_text as usize)
    }
}

/// An offset as it is stored; documents are far smaller than 4 GiB.
fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

struct Aligner<'a> {
    text: &'a str,
    source: &'a str,
    at_text: usize,
    at_source: usize,
}

impl Aligner<'_> {
    /// Goes past the next character of the text and what stands for it in the source. False where the two do not
    /// fit, which ends the alignment.
    fn advance(&mut self, quote: Option<u8>, style: Style) -> bool {
        let source = &self.source[self.at_source..];
        let text = &self.text[self.at_text..];
        if quote == Some(b'"') && source.starts_with('\\') {
            return self.escape(source, text);
        }
        if quote == Some(b'\'') && source.starts_with("''") {
            self.at_source += 2;
            self.at_text += 1;
            return text.starts_with('\'');
        }
        let blanks = source.len() - source.trim_start_matches([' ', '\t', '\r', '\n']).len();
        if source[..blanks].contains('\n') {
            let first_break = source.find(['\r', '\n']).unwrap_or(0);
            if style == Style::Block && first_break > 0 {
                self.at_source += first_break;
                self.at_text += first_break;
                return self.text.is_char_boundary(self.at_text);
            }
            self.at_text += match style {
                Style::Block => text.len() - text.trim_start_matches([' ', '\t', '\n']).len(),
                _ => folded(&source[..blanks]),
            };
            self.at_source += blanks;
            return self.text.is_char_boundary(self.at_text);
        }
        match (source.chars().next(), text.chars().next()) {
            (Some(written), Some(read)) if written == read => {
                self.at_source += written.len_utf8();
                self.at_text += read.len_utf8();
                true
            }
            _ => false,
        }
    }

    /// Goes past an escape of a double-quoted scalar.
    fn escape(&mut self, source: &str, text: &str) -> bool {
        let Some(kind) = source.chars().nth(1) else { return false };
        if matches!(kind, '\n' | '\r') {
            let after = source[1..].trim_start_matches([' ', '\t', '\r', '\n']);
            self.at_source += source.len() - after.len();
            return true;
        }
        let digits = match kind {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        let Some(read) = text.chars().next() else { return false };
        let surrogates = kind == 'u' && read as u32 > 0xFFFF;
        self.at_source += if surrogates { 12 } else { 1 + kind.len_utf8() + digits };
        self.at_text += read.len_utf8();
        self.source.is_char_boundary(self.at_source)
    }
}

/// How many characters a line break with blanks around it becomes in a plain or quoted scalar: one blank, or as many
/// line breaks as there are empty lines.
fn folded(blanks: &str) -> usize {
    (blanks.matches('\n').count() - 1).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::{Value, parse};
    use crate::error::Problems;

    /// Checks that `part` of the scalar under `key` leads back to `expect` in the document.
    fn check(document: &str, part: &str, expect: &str) {
        let mut problems = Problems::new();
        let node = parse(0, document, &mut problems).expect(document);
        let Value::Map(entries) = &node.value else { panic!("no map: {document}") };
        let value = &entries[0].1;
        let raw = &value.scalar().expect("a scalar").raw;
        let from = raw.find(part).unwrap_or_else(|| panic!("`{part}` is not in `{raw}`"));
        let place = value.within(from, from + part.len());
        assert_eq!(&document[place.start as usize..place.end as usize], expect, "{document}");
        assert_eq!(document[..place.start as usize].rfind(expect), None, "an earlier place: {document}");
    }

    #[test]
    fn parts_of_the_text_lead_back_to_the_source() {
        check("a: one two\n", "two", "two");
        check("é: ü two\n", "two", "two");
        check("a: \"one two\"\n", "two", "two");
        check("a: 'it''s two'\n", "two", "two");
        check("a: 'it''s two'\n", "s two", "s two");
        check(r#"a: "\u00e9\n\x41\U0001F600 two""#, "two", "two");
        check(r#"a: "\ud83d\ude00 two""#, "two", "two");
        check(r#"a: "\Lé two""#, "\u{2028}", "\\L");
        check(r#"a: "\Lé two""#, "é", "é");
        check("a: one\n  and\n  two\n", "two", "two");
        check("a: one  \n\n\n  two\n", "two", "two");
        check("a: \"one\n   \\\n  two\"\n", "two", "two");
        check("a: |\n  one\n    two\n\n  three\n", "two", "two");
        check("a: |\n  one  \n    two\n\n  three\n", "three", "three");
        check("a: >-\n  one\n  two\n\n  three\n", "two", "two");
        check("a: >-\n  one\n  two\n\n  three\n", "three", "three");
        check("a: one\r\n  two\r\n", "two", "two");
        check("a: |\r\n  one\r\n  two\r\n", "two", "two");
    }
}
