//! Where the records of a chunk are, for formats of one record a line.

use super::json::{BLOCK, Level};
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

/// [`frame_lines`] by a kernel that tells which bytes of a block are newlines, the first in the lowest bit.
#[inline]
pub(super) fn frame(bytes: &[u8], spans: &mut Vec<u64>, newlines: impl Fn(&[u8; BLOCK]) -> u64) {
    assert!(u32::try_from(bytes.len()).is_ok(), "chunks are far below 4 GiB");
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let mut last = [b' '; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    let (mut start, mut base) = (0, 0);
    for block in blocks.iter().chain([&last]) {
        let mut left = newlines(block);
        while left != 0 {
            let newline = base + left.trailing_zeros() as usize;
            push_line(bytes, start, newline, spans);
            start = newline + 1;
            left &= left - 1;
        }
        base += block.len();
    }
    push_line(bytes, start, bytes.len(), spans);
}

#[inline]
fn push_line(bytes: &[u8], start: usize, end: usize, spans: &mut Vec<u64>) {
    let line = &bytes[start..end];
    let cut = usize::from(line.last() == Some(&b'\r'));
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
    // Records start with a visible byte, so the search ends at once.
    if !line.iter().all(blank) {
        let part = |bytes: usize| u32::try_from(bytes).expect("chunks are far below 4 GiB");
        spans.push(Origin::span(part(start), part(end - start - cut)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // Around the ends of blocks.
        for length in 60..70 {
            let line = "x".repeat(length);
            check(&format!("{line}\n{line}\n\n{line}"), &[line.as_str(); 3]);
            check(&format!("{line}\r\n"), &[line.as_str()]);
        }
    }
}
