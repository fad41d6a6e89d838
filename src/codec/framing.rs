//! Where the records of a chunk are, for formats of one record a line.

use memchr::memchr_iter;

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
    let total = u32::try_from(bytes.len()).expect("chunks are far below 4 GiB");
    let mut start = 0;
    for newline in memchr_iter(b'\n', bytes) {
        let newline = u32::try_from(newline).expect("not beyond the end");
        push_line(bytes, start, newline, spans);
        start = newline + 1;
    }
    push_line(bytes, start, total, spans);
}

fn push_line(bytes: &[u8], start: u32, end: u32, spans: &mut Vec<u64>) {
    let line = &bytes[start as usize..end as usize];
    let cut = u32::from(line.last() == Some(&b'\r'));
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
    // Records start with a visible byte, so the search ends at once.
    if !line.iter().all(blank) {
        spans.push(Origin::span(start, end - start - cut));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found() {
        let check = |text: &str, expect: &[&str]| {
            let mut spans = Vec::new();
            frame_lines(text.as_bytes(), &mut spans);
            let lines: Vec<&str> = spans
                .iter()
                .map(|span| {
                    let (offset, length) = ((span >> 32) as usize, (span & 0xffff_ffff) as usize);
                    &text[offset..offset + length]
                })
                .collect();
            assert_eq!(lines, expect, "{text:?}");
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
    }
}
