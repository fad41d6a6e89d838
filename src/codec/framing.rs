//! Where the records of a chunk are, for formats of one record a line, and for those whose quotes may hold line ends.

use memchr::{memchr, memchr_iter, memchr2};

use super::json::{BLOCK, Level, write_each};
use crate::record::Origin;

/// Pushes to `spans` where the records of `bytes` are, one a line, in order, as [`Origin::span`] has it.
///
/// A line ends at a newline (a carriage return before it is cut) or at the end of `bytes`. Lines that are empty or hold
/// only blanks and tabs are left out. `bytes` stays below 4 GiB; a byte order mark is the source's to cut.
///
/// # Panics
///
/// If `bytes` is 4 GiB or larger.
pub fn frame_lines(bytes: &[u8], spans: &mut Vec<u64>) {
    Level::best().frame(bytes, spans);
}

/// How many newlines of a block are written down whether there are so many or not: a branch that is taken now and then
/// costs more than they do.
const AT_ONCE: usize = 2;

/// The bytes whose newlines are gathered before lines are made of them.
const GROUP: usize = 4 << 10;

/// [`frame_lines`] by a kernel that tells which bytes of a block are newlines, the first in the lowest bit.
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled once for each level, with what its processors have")]
pub(super) fn frame(bytes: &[u8], spans: &mut Vec<u64>, newlines: impl Fn(&[u8; BLOCK]) -> u64) {
    assert!(u32::try_from(bytes.len()).is_ok(), "chunks are far below 4 GiB");
    let (groups, rest) = bytes.as_chunks::<GROUP>();
    let mut last = [b' '; GROUP];
    last[..rest.len()].copy_from_slice(rest);
    let mut ends = [0_u16; GROUP + AT_ONCE];
    let (mut start, mut from) = (0, 0);
    // One loop with one call of the kernel: what is called twice is compiled apart, with what every processor has.
    for number in 0..=groups.len() {
        let group = groups.get(number).unwrap_or(&last);
        let (mut base, mut count) = (0, 0);
        for block in group.as_chunks::<BLOCK>().0 {
            count += write_each::<AT_ONCE>(newlines(block), base, count, &mut ends);
            base += 64;
        }
        for end in &ends[..count] {
            let end = from + usize::from(*end);
            spans.extend(span_of(bytes, start, end));
            start = end + 1;
        }
        from += GROUP;
    }
    if start < bytes.len() {
        spans.extend(span_of(bytes, start, bytes.len()));
    }
}

/// The record of a line; none if the line is blank.
#[inline]
fn span_of(bytes: &[u8], start: usize, end: usize) -> Option<u64> {
    let line = &bytes[start..end];
    let cut = usize::from(line.last() == Some(&b'\r'));
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
    let part = |bytes: usize| u32::try_from(bytes).expect("chunks are far below 4 GiB");
    // Records start with a visible byte, so the search ends at once.
    (!line.iter().all(blank)).then(|| Origin::span(part(start), part(end - start - cut)))
}

/// A place in a text in which a newline between quotes ends no record: inside of quotes, or outside of them. An odd
/// number of quotes lies before any place inside, also where quotes are doubled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// The quote.
    pub quote: u8,
    /// Whether the place is inside.
    pub inside: bool,
}

impl Quoted {
    /// A place outside of quotes, as the beginning of every record is.
    #[must_use]
    pub fn outside(quote: u8) -> Self {
        Self { quote, inside: false }
    }

    /// Goes on behind the first newline of `bytes` that ends a record, and yields where it is; or to their end.
    pub fn record_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let found = if self.inside { memchr(self.quote, rest) } else { memchr2(self.quote, b'\n', rest) };
            at += found?;
            if bytes[at] != self.quote {
                return Some(at);
            }
            self.inside = !self.inside;
            at += 1;
        }
    }

    /// Goes on to the end of `bytes`.
    pub fn pass(&mut self, bytes: &[u8]) {
        self.inside ^= memchr_iter(self.quote, bytes).count() % 2 == 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newlines_in_quotes_end_no_record() {
        let check = |text: &str, expect: &[usize], inside: bool| {
            let mut quoted = Quoted::outside(b'"');
            let (mut ends, mut start) = (Vec::new(), 0);
            while let Some(end) = quoted.record_end(&text.as_bytes()[start..]) {
                ends.push(start + end);
                start += end + 1;
            }
            assert_eq!((ends.as_slice(), quoted.inside), (expect, inside), "{text:?}");
            let mut passed = Quoted::outside(b'"');
            passed.pass(text.as_bytes());
            assert_eq!(passed.inside, inside, "{text:?}");
        };
        check("", &[], false);
        check("a\nb\n", &[1, 3], false);
        check("\"a\n\",b\nc", &[6], false);
        check("\"a\"\"\n\"\"\"\n\"\n", &[8], true);
        check("\n\"\n", &[0], true);
    }

    #[test]
    fn lines_are_found() {
        let check = |text: &str, expect: &[&str]| {
            for level in Level::available() {
                let mut spans = Vec::new();
                level.frame(text.as_bytes(), &mut spans);
                let lines: Vec<&str> = spans
                    .iter()
                    .map(|span| {
                        let (offset, length) = ((span >> 32) as usize, (span & 0xffff_ffff) as usize);
                        &text[offset..offset + length]
                    })
                    .collect();
                assert_eq!(lines, expect, "{text:?}, {}", level.name());
            }
        };
        check("", &[]);
        check("\n", &[]);
        check("a", &["a"]);
        check("a\n", &["a"]);
        check("a\nb", &["a", "b"]);
        check("a\r\nb\r\n", &["a", "b"]);
        check("a\rb\n", &["a\rb"]);
        check("a\r", &["a"]);
        check("a\r\r\n", &["a\r"]);
        check("\n\n a \n\t \n \r\n\r\nb\n\n", &[" a ", "b"]);
        check("é\nü", &["é", "ü"]);
        check(&"a\nb\n\n".repeat(40), &["a", "b"].repeat(40));
        // Around the ends of blocks.
        for length in 60..70 {
            let line = "x".repeat(length);
            check(&format!("{line}\n{line}\n\n{line}"), &[line.as_str(); 3]);
            check(&format!("{line}\r\n"), &[line.as_str()]);
        }
    }
}
