//! Many records along one template at once, a part of the template after the other, so that no step of one record waits
//! for a step of another.

use super::grid::{Grid, Values};
use super::minute::Minute;
use super::piece::{PAD, Piece, ROOM};
use super::shape::Shape;
use super::template::{RUN, Run, Step, Task, Template};
use super::walk::{self, Written};

/// A record that may follow a template.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// Its row in the batch.
    pub(super) row: usize,
    /// The first of its marks.
    pub(super) mark: usize,
    /// Whether it has escapes.
    pub(super) escaped: bool,
    /// Whether all was right so far.
    pub(super) good: bool,
}

/// Records, their template, and where their values go.
pub(super) struct Lockstep<'a> {
    pub(super) template: &'a Template,
    pub(super) piece: &'a Piece,
    /// Where the piece begins in the input.
    pub(super) offset: usize,
    pub(super) shape: &'a Shape,
    pub(super) grid: &'a mut Grid,
    pub(super) members: &'a mut [Member],
}

/// Follows the template; members that don't are no longer good, and their rows hold nothing of account.
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled once for each level, with what its processors have")]
pub(super) fn follow(records: Lockstep<'_>) {
    let Lockstep { template, piece, offset, shape, grid, members } = records;
    for run in &template.runs {
        compare(run, piece, members);
    }
    let mut members = members;
    if members.iter().any(|member| !member.good) {
        // The slots of the others may hold anything, and would be looked at for nothing.
        members.sort_unstable_by_key(|member| !member.good);
        let good = members.partition_point(|member| member.good);
        members = &mut members[..good];
    }
    let mut along = Along { piece, offset, shape, grid };
    for step in &template.steps {
        match step.task {
            Task::Pass => along.pass(step, members),
            Task::Integer => along.integers(step, members),
            Task::Timestamp => along.timestamps(step, members),
            Task::Text => along.texts(step, members),
            Task::Value(written) => along.values(step, written, members),
            Task::Object => along.objects(step, members),
        }
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "part of a kernel that is compiled for each level")]
fn compare(run: &Run, piece: &Piece, members: &mut [Member]) {
    let (marks, bytes) = (piece.marks(), &piece.bytes);
    let (want, mask) = (run.want, run.mask);
    for member in members {
        let found = run.at.place(marks, member.mark).and_then(|place| chunk::<RUN>(bytes, place));
        let Some(found) = found else {
            member.good = false;
            continue;
        };
        let (words, _) = found.as_chunks::<8>();
        let mut differs = 0;
        for word in 0..RUN / 8 {
            differs |= (u64::from_le_bytes(words[word]) ^ want[word]) & mask[word];
        }
        member.good &= differs == 0;
    }
}

/// Bytes at a position.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of kernels that are compiled for each level")]
fn chunk<const N: usize>(bytes: &[u8; ROOM], place: usize) -> Option<&[u8; N]> {
    bytes.get(place.wrapping_add(PAD)..)?.first_chunk()
}

struct Along<'a> {
    piece: &'a Piece,
    offset: usize,
    shape: &'a Shape,
    grid: &'a mut Grid,
}

impl Along<'_> {
    /// The ends of a slot; none if nothing is in between.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of kernels that are compiled for each level")]
    fn slot(&self, step: &Step, member: Member) -> Option<(usize, usize)> {
        let marks = self.piece.marks();
        let start = step.start.place(marks, member.mark)?;
        let end = step.end.place(marks, member.mark)?;
        (start <= end && end < 1 << 16).then_some((start, end))
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of a kernel that is compiled for each level")]
    fn pass(&self, step: &Step, members: &mut [Member]) {
        for member in members {
            let Some((start, end)) = self.slot(step, *member) else {
                member.good = false;
                continue;
            };
            let fast = digits(&self.piece.bytes, start, end).is_some();
            member.good &= fast || walk::is_plain_value(self.piece.slice(start, end));
        }
    }

    #[inline(always)]
    fn integers(&mut self, step: &Step, members: &mut [Member]) {
        macro_rules! fill {
            ($member:ident, $($variant:ident)+) => {
                match &mut self.grid.leaves[step.node].values {
                    $(Values::$variant(_) => {
                        for $member in members {
                            let Some((start, end)) = self.slot(step, *$member) else {
                                $member.good = false;
                                continue;
                            };
                            let value = digits(&self.piece.bytes, start, end);
                            let leaf = &mut self.grid.leaves[step.node];
                            let Values::$variant(values) = &mut leaf.values else { continue };
                            match value.and_then(|value| value.try_into().ok()) {
                                Some(value) => {
                                    values[$member.row] = value;
                                    leaf.valid[$member.row] = 1;
                                }
                                None => self.value(step, Written::Plain, $member, start, end),
                            }
                        }
                    })+
                    _ => unreachable!("only integers have this task"),
                }
            };
        }
        fill!(member, TinyInt SmallInt Int BigInt);
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of a kernel that is compiled for each level")]
    fn timestamps(&mut self, step: &Step, members: &mut [Member]) {
        for member in members {
            let Some((start, end)) = self.slot(step, *member) else {
                member.good = false;
                continue;
            };
            let leaf = &mut self.grid.leaves[step.node];
            let Values::Timestamp { values, minute, .. } = &mut leaf.values else { continue };
            let read = |text| Minute::read(minute, text, end - start);
            match chunk(&self.piece.bytes, start).and_then(read) {
                Some(value) => {
                    values[member.row] = value;
                    leaf.valid[member.row] = 1;
                }
                None => self.value(step, Written::Text, member, start, end),
            }
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of a kernel that is compiled for each level")]
    fn texts(&mut self, step: &Step, members: &mut [Member]) {
        for member in members {
            let Some((start, end)) = self.slot(step, *member) else {
                member.good = false;
                continue;
            };
            if member.escaped {
                self.value(step, Written::Text, member, start, end);
                continue;
            }
            let place = self.span(start, end);
            let leaf = &mut self.grid.leaves[step.node];
            let Values::String(places) = &mut leaf.values else { continue };
            places[member.row] = place;
            leaf.valid[member.row] = 1;
        }
    }

    fn values(&mut self, step: &Step, written: Written, members: &mut [Member]) {
        for member in members {
            match self.slot(step, *member) {
                Some((start, end)) => self.value(step, written, member, start, end),
                None => member.good = false,
            }
        }
    }

    fn objects(&mut self, step: &Step, members: &[Member]) {
        let valid = &mut self.grid.leaves[step.node].valid;
        for member in members {
            valid[member.row] = 1;
        }
    }

    /// Fills in a value that has no way of its own.
    #[inline(never)]
    fn value(&mut self, step: &Step, written: Written, member: &mut Member, start: usize, end: usize) {
        let text = self.piece.slice(start, end);
        let (right, written) = match written {
            Written::Plain | Written::Whole => (walk::is_plain_value(text), written),
            Written::Text if member.escaped && text.contains(&b'\\') => (true, Written::Escaped),
            written => (true, written),
        };
        let place = self.span(start, end);
        let nullable = self.shape.nodes[step.node].nullable;
        member.good &= right && self.grid.set(step.node, member.row, written, text, place, nullable);
    }

    /// Where a slot is in the input.
    #[inline]
    fn span(&self, start: usize, end: usize) -> u64 {
        ((self.offset + start) as u64) << 32 | (end - start) as u64
    }
}

/// The number that up to 16 digits make, unless there is a zero before others.
#[inline(always)]
fn digits(bytes: &[u8; ROOM], start: usize, end: usize) -> Option<i64> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const ABOVE_NINE: u64 = 0x7676_7676_7676_7676;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    /// For each number of digits which of the 16 bytes that end with them are digits.
    const MASKS: [[u64; 2]; 17] = {
        let mut masks = [[0; 2]; 17];
        let mut count = 1;
        while count <= 16 {
            masks[count] = match count {
                1..8 => [0, u64::MAX << (64 - 8 * count)],
                8 => [0, u64::MAX],
                _ => [u64::MAX << (128 - 8 * count), u64::MAX],
            };
            count += 1;
        }
        masks
    };
    let masks = *MASKS.get(end - start)?;
    let text: &[u8; 16] = chunk(bytes, end.wrapping_sub(16))?;
    let (words, _) = text.as_chunks::<8>();
    let above_nine = |digits: u64| digits.wrapping_add(ABOVE_NINE) | digits;
    let word = |at: usize| (u64::from_le_bytes(words[at]) ^ ZEROS) & masks[at];
    let (upper, lower) = (word(0), word(1));
    let wrong = (above_nine(upper) | above_nine(lower)) & HIGH;
    let zero_first = bytes.get(PAD + start).is_some_and(|first| *first == b'0') && end - start > 1;
    if wrong != 0 || zero_first || end == start {
        return None;
    }
    let value = eight_digits(upper) * 100_000_000 + eight_digits(lower);
    Some(value.cast_signed())
}

/// The number that eight digits make, the first in the lowest byte (Johnny Lee's way, by pairs, then fours, then all).
#[inline(always)]
fn eight_digits(digits: u64) -> u64 {
    const MASK: u64 = 0x0000_00ff_0000_00ff;
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let upper = (pairs & MASK).wrapping_mul(0x000f_4240_0000_0064);
    let lower = ((pairs >> 16) & MASK).wrapping_mul(0x0000_2710_0000_0001);
    upper.wrapping_add(lower) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json::Level;

    #[test]
    fn digits_are_numbers() {
        let mut piece = Piece::new();
        let mut check = |text: &str, expect: Option<i64>| {
            for before in ["", "1", "-", "{\"a\":", "99999999999999999999"] {
                let source = [before, text, "9,\"x"].concat();
                piece.load(Level::best(), source.as_bytes());
                let found = digits(&piece.bytes, before.len(), before.len() + text.len());
                assert_eq!(found, expect, "{text} behind {before}");
            }
        };
        let digits = "9876543210123456";
        for length in 1..=digits.len() {
            check(&digits[..length], digits[..length].parse().ok());
            check(&format!("{}1", &digits[..length - 1]), format!("{}1", &digits[..length - 1]).parse().ok());
            check(&"9".repeat(length), "9".repeat(length).parse().ok());
            for wrong in ["/", ":", "-", ".", "e", " ", "\0", "\u{7f}", "é"] {
                for at in 0..length - 1 {
                    check(&format!("{}{wrong}{}", &digits[..at], &digits[at + wrong.len()..length]), None);
                }
            }
            if length > 1 {
                check(&format!("0{}", &digits[1..length]), None);
            }
        }
        check("0", Some(0));
        check("", None);
        check("00", None);
        check("12345678901234567", None);
    }
}
