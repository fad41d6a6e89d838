//! A piece of the input with an index of its quotes and newlines: what the fast layers read.
//!
//! The piece is copied while it is indexed, so that registers may be read beyond its ends. Its positions are of 16 bits,
//! which shows the compiler that no read can miss the copy. The index is the first stage of simdjson (Langdale and
//! Lemire, "Parsing Gigabytes of JSON per Second", section 3.1) cut down to what a projection needs: a quote is a mark
//! unless a backslash takes its meaning away, so that the marks within a record open and close strings in turn. Newlines
//! are marks too, since no string may hold one.

use super::level::Level;

/// How many bytes in front of a piece and behind it can be read.
pub(super) const PAD: usize = 64;
/// The most bytes that a piece has: few enough to stay in the first cache, with the columns, while they are worked on.
pub(super) const PIECE_MAX: usize = 16 << 10;
/// The bytes of the copy: any position of 16 bits, and what is around it, is in it.
pub(super) const ROOM: usize = PAD + (1 << 16) + PAD;
/// The bytes that are indexed at a time; behind the last there are blanks.
pub(in crate::codec) const BLOCK: usize = PAD;
/// How many marks can be looked at from any one on; behind the piece's own they mean nothing.
pub(super) const MARKS: usize = 1 << 10;

/// A piece of the input, and what is in it.
pub(super) struct Piece {
    /// The copy; position 0 is at [`PAD`].
    pub(super) bytes: Box<[u8; ROOM]>,
    /// Positions of the marks in order, and one position behind all of them.
    marks: Vec<u16>,
    /// How many marks there are.
    count: usize,
    /// For each block the bytes that are not plain: backslashes, characters beyond ASCII, and control characters other
    /// than newlines.
    special: Vec<u64>,
    has_special: bool,
}

/// What the bytes of a block are, the first in the lowest bit.
#[derive(Clone, Copy)]
pub(super) struct Masks {
    pub(super) quote: u64,
    pub(super) backslash: u64,
    pub(super) newline: u64,
    /// Control characters, newlines too, and what is beyond ASCII.
    pub(super) wild: u64,
}

/// What the text of a record is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Characters that mean themselves, in UTF-8.
    Plain,
    /// There are escapes too, each of which is right for itself.
    Escaped,
    /// There are tabs or carriage returns, and perhaps escapes: right between values, wrong in strings.
    Blank,
    /// Something that JSON does not allow, or may not allow.
    Doubtful,
}

/// Where the index goes, as the kernels see it.
pub(super) struct Index<'a> {
    pub(super) bytes: &'a mut [u8; ROOM],
    pub(super) marks: &'a mut [u16],
    pub(super) special: &'a mut [u64],
}

impl Piece {
    pub(super) fn new() -> Self {
        let bytes = vec![b' '; ROOM].into_boxed_slice().try_into().expect("it is this long");
        Self {
            bytes,
            // A block's marks are written 32 at a time, whether there are so many or not.
            marks: vec![0; PIECE_MAX + 2 * BLOCK + MARKS],
            count: 0,
            special: vec![0; PIECE_MAX / BLOCK],
            has_special: false,
        }
    }

    /// Takes another piece of the input, of at most [`PIECE_MAX`] bytes.
    pub(super) fn load(&mut self, level: Level, source: &[u8]) {
        let index = Index { bytes: &mut self.bytes, marks: &mut self.marks, special: &mut self.special };
        (self.count, self.has_special) = level.index(source, index);
        self.marks[self.count] = u16::MAX;
    }

    /// The marks, and behind them one position that is behind all records.
    #[inline]
    pub(super) fn marks(&self) -> &[u16] {
        &self.marks[..=self.count]
    }

    /// The marks from one on, more than there are.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of kernels that are compiled for each level")]
    pub(super) fn marks_from(&self, mark: usize) -> Option<&[u16; MARKS]> {
        self.marks.get(mark..)?.first_chunk()
    }

    /// Puts the end of a record in the place of a mark behind it, if that is not one of the next record, which starts at
    /// `next`; tells whether it could.
    #[inline]
    pub(super) fn end_record(&mut self, mark: usize, end: usize, next: usize) -> bool {
        let free = usize::from(self.marks[mark]) < next;
        if free {
            self.marks[mark] = u16::try_from(end).expect("a position of the piece");
        }
        free
    }

    /// The bytes from one position to another.
    #[inline]
    pub(super) fn slice(&self, start: usize, end: usize) -> &[u8] {
        &self.bytes[PAD + start..PAD + end]
    }

    /// The bytes from a position on, up to [`PAD`] of them.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of kernels that are compiled for each level")]
    pub(super) fn from<const N: usize>(&self, place: u16) -> &[u8; N] {
        const { assert!(N <= PAD) };
        self.bytes[PAD + usize::from(place)..].first_chunk().expect("there is room behind any position")
    }

    /// The bytes that end in front of a position, up to [`PAD`] of them.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of kernels that are compiled for each level")]
    pub(super) fn before<const N: usize>(&self, place: u16) -> &[u8; N] {
        const { assert!(N <= PAD) };
        self.bytes[PAD - N + usize::from(place)..].first_chunk().expect("there is room before any position")
    }

    /// What the record from one position to another is made of.
    #[inline]
    pub(super) fn content(&self, start: usize, end: usize) -> Content {
        if !self.has_special || !self.is_special(start, end) {
            return Content::Plain;
        }
        judge(self.slice(start, end))
    }

    fn is_special(&self, start: usize, end: usize) -> bool {
        let Some(last) = end.checked_sub(1) else { return false };
        let (first_block, last_block) = (start / BLOCK, last / BLOCK);
        (first_block..=last_block).any(|block| {
            let mut mask = self.special[block];
            if block == first_block {
                mask &= u64::MAX << (start % BLOCK);
            }
            if block == last_block {
                mask &= u64::MAX >> (BLOCK - 1 - last % BLOCK);
            }
            mask != 0
        })
    }
}

#[cold]
fn judge(record: &[u8]) -> Content {
    let (mut wide, mut backslash, mut blank, mut control) = (false, false, false, false);
    for byte in record {
        wide |= *byte >= 0x80;
        backslash |= *byte == b'\\';
        blank |= matches!(*byte, b'\t' | b'\r');
        control |= matches!(*byte, 0..=8 | 11..=12 | 14..=31);
    }
    if control || wide && str::from_utf8(record).is_err() || backslash && !escapes_hold(record) {
        return Content::Doubtful;
    }
    match (blank, backslash) {
        (true, _) => Content::Blank,
        (false, true) => Content::Escaped,
        (false, false) => Content::Plain,
    }
}

/// Whether each escape is one of JSON's; surrogates must come in pairs.
fn escapes_hold(record: &[u8]) -> bool {
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &record[at..]) {
        at += found;
        at += match &record[at + 1..] {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', rest @ ..] => match code_unit(rest) {
                Some(0xd800..=0xdbff) => match &rest[4..] {
                    [b'\\', b'u', rest @ ..] if matches!(code_unit(rest), Some(0xdc00..=0xdfff)) => 12,
                    _ => return false,
                },
                Some(0xdc00..=0xdfff) | None => return false,
                Some(_) => 6,
            },
            _ => return false,
        };
    }
    true
}

/// The value of four hexadecimal digits.
pub(super) fn code_unit(text: &[u8]) -> Option<u32> {
    text.get(..4)?.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

/// Copies and indexes a piece, given how a block is looked at and how its marks are written down: from `at` on, for each
/// bit its number plus `base`; returns how many. Returns how many marks there are, and whether a byte is special.
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled once for each level, with what its processors have")]
pub(super) fn index(
    source: &[u8],
    index: Index<'_>,
    look: impl Fn(&[u8; BLOCK]) -> Masks,
    write: impl Fn(u64, u16, usize, &mut [u16]) -> usize,
) -> (usize, bool) {
    assert!(source.len() <= PIECE_MAX, "a piece fits its copy");
    let Index { bytes, marks, special } = index;
    // What is beyond the end is blank, and no mark.
    bytes[PAD..][..source.len()].copy_from_slice(source);
    bytes[PAD + source.len()..][..PAD].fill(b' ');
    let (blocks, _) = bytes[PAD..].as_chunks::<BLOCK>();
    let blocks = &blocks[..source.len().div_ceil(BLOCK)];
    let (mut base, mut count, mut escaped, mut any) = (0_u16, 0, 0, 0);
    for (block, special) in blocks.iter().zip(special) {
        let masks = look(block);
        let mut quote = masks.quote;
        if masks.backslash | escaped != 0 {
            quote &= !escaped_by(masks.backslash, &mut escaped);
        }
        *special = (masks.wild & !masks.newline) | masks.backslash;
        any |= *special;
        count += write(quote | masks.newline, base, count, marks);
        base += 64;
    }
    (count, any != 0)
}

/// The bytes that a backslash stands before; `carry` tells whether the first of the next block is one.
///
/// In a run of backslashes every other one escapes the next. Runs that start at an odd place are told from those that
/// start at an even one by the carry of an addition (simdjson, section 3.1.1).
fn escaped_by(backslash: u64, carry: &mut u64) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let backslash = backslash & !*carry;
    let follows = backslash << 1 | *carry;
    let odd_starts = backslash & !EVEN & !follows;
    let (even_sequences, overflow) = odd_starts.overflowing_add(backslash);
    *carry = u64::from(overflow);
    let inverted = even_sequences << 1;
    (EVEN ^ inverted) & follows
}

/// How many marks of a block are written down whether there are so many or not: most blocks have no more, and a branch
/// that is taken now and then costs more than the marks for nothing.
pub(super) const AT_ONCE: usize = 12;

/// Writes down the marks of a block one by one, `AT_ONCE` of them in any case.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of kernels that are compiled for each level")]
pub(in crate::codec) fn write_each<const AT_ONCE: usize>(
    mut mask: u64,
    base: u16,
    at: usize,
    marks: &mut [u16],
) -> usize {
    let count = mask.count_ones() as usize;
    // What is written beyond the count is overwritten by the next block.
    let (first, rest) = marks[at..].split_at_mut(AT_ONCE);
    for mark in first {
        *mark = base.wrapping_add((mask.trailing_zeros() & 127) as u16);
        mask &= mask.wrapping_sub(1);
    }
    if count > AT_ONCE {
        for mark in &mut rest[..count - AT_ONCE] {
            *mark = base.wrapping_add((mask.trailing_zeros() & 127) as u16);
            mask &= mask.wrapping_sub(1);
        }
    }
    count
}

/// Looks at a block eight bytes at a time, with what every processor has.
pub(super) fn look_portable(block: &[u8; BLOCK]) -> Masks {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    /// The high bit of each byte that is zero.
    fn zero(bytes: u64) -> u64 {
        !(((bytes & !HIGH) + !HIGH) | bytes | !HIGH)
    }
    /// The high bits of the bytes, gathered.
    fn gather(high: u64) -> u64 {
        (high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
    }
    let mut masks = Masks { quote: 0, backslash: 0, newline: 0, wild: 0 };
    let (eights, _) = block.as_chunks::<8>();
    for (number, eight) in eights.iter().enumerate() {
        let bytes = u64::from_le_bytes(*eight);
        let equal = |byte: u8| gather(zero(bytes ^ (ONES * u64::from(byte)))) << (8 * number);
        masks.quote |= equal(b'"');
        masks.backslash |= equal(b'\\');
        masks.newline |= equal(b'\n');
        // Below 0x20 the three upper bits are not set.
        let control = zero(bytes & (ONES * 0xe0));
        masks.wild |= gather(control | (bytes & HIGH)) << (8 * number);
    }
    masks
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    /// The marks and the special bytes, found one byte after the other.
    fn naive(source: &[u8]) -> (Vec<u16>, Vec<usize>) {
        let (mut marks, mut special, mut escaped) = (Vec::new(), Vec::new(), false);
        for (at, byte) in source.iter().enumerate() {
            if *byte == b'\n' || *byte == b'"' && !escaped {
                marks.push(u16::try_from(at).unwrap());
            }
            if matches!(*byte, b'\\' | 0..=9 | 11..=31 | 128..) {
                special.push(at);
            }
            escaped = *byte == b'\\' && !escaped;
        }
        (marks, special)
    }

    #[test]
    fn every_level_finds_the_same_marks() {
        let mut random = Rng::with_seed(1);
        let mut pieces: Vec<(Level, Piece)> =
            Level::available().into_iter().map(|level| (level, Piece::new())).collect();
        for _ in 0..300 {
            let length = [random.usize(..300), random.usize(..PIECE_MAX), PIECE_MAX][random.usize(..3)];
            // Bytes of which some are much more frequent than others, so that there are long runs and full blocks.
            let common = [b'"', b'\\', b'x', b'\n', 0x80][random.usize(..5)];
            let source: Vec<u8> = (0..length)
                .map(|_| match random.u8(..8) {
                    0..=5 => common,
                    6 => b"\\\"\n\r\t\x1f x\x7f\x80\xff"[random.usize(..11)],
                    _ => random.u8(..),
                })
                .collect();
            let (marks, special) = naive(&source);
            for (level, piece) in &mut pieces {
                piece.load(*level, &source);
                assert_eq!(piece.slice(0, length), source);
                assert_eq!(piece.marks(), [&marks[..], &[u16::MAX]].concat(), "{}", level.name());
                for _ in 0..20 {
                    let start = random.usize(..=length);
                    let end = random.usize(start..=length).min(start + random.usize(..200));
                    let expect = special.iter().any(|at| (start..end).contains(at));
                    let found = piece.has_special && piece.is_special(start, end);
                    assert_eq!(found, expect, "{}: {start} to {end}", level.name());
                }
            }
        }
    }

    #[test]
    fn contents_are_told() {
        let mut piece = Piece::new();
        let mut check = |text: &[u8], expect| {
            piece.load(Level::best(), text);
            assert_eq!(piece.content(0, text.len()), expect, "{}", String::from_utf8_lossy(text));
        };
        check(b"", Content::Plain);
        check(b"{\"a\":\"\x7f\"}", Content::Plain);
        check("é\n😀".as_bytes(), Content::Plain);
        check(br#"\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00\u0000"#, Content::Escaped);
        check(b"a\tb\r", Content::Blank);
        check(b"a\tb\\n", Content::Blank);
        for doubtful in [
            &b"\xff"[..],
            b"\xed\xa0\x80",
            b"\xc3",
            b"\x00",
            b"\x1f",
            b"\\",
            b"\\x",
            b"\\u12",
            b"\\u12g4",
            b"\\u+123",
            b"\\ud83d",
            b"\\ud83d\\",
            b"\\ud83d\\u",
            b"\\ud83d\\u0041",
            b"\\ud83dx\\ude00",
            b"\\ude00",
            b"\\\\\\",
        ] {
            check(doubtful, Content::Doubtful);
        }
    }
}
