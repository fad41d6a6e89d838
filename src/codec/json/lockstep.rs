//! Many records along one template at once, a part of the template after the other, so that no step of one record waits
//! for a step of another.

use super::grid::{Grid, Values};
use super::minute::Minute;
use super::piece::Piece;
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
    for member in &mut *members {
        member.good = has_runs(&template.runs, piece, member.mark);
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

/// Whether a record has all bytes that records of its layout have.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of a kernel that is compiled for each level")]
fn has_runs(runs: &[Run], piece: &Piece, mark: usize) -> bool {
    let Some(marks) = piece.marks_from(mark) else { return false };
    // What differs is gathered, and looked at once.
    let mut differs = [0; RUN / 8];
    for run in runs {
        let Some(place) = run.at.place(marks) else { return false };
        let (words, _) = piece.from::<RUN>(place).as_chunks::<8>();
        for word in 0..RUN / 8 {
            differs[word] |= (u64::from_le_bytes(words[word]) ^ run.want[word]) & run.mask[word];
        }
    }
    differs == [0; RUN / 8]
}

/// The ends of a slot; none if nothing is in between.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of kernels that are compiled for each level")]
fn slot(piece: &Piece, step: &Step, member: Member) -> Option<(u16, u16)> {
    let marks = piece.marks_from(member.mark)?;
    let (start, end) = (step.start.place(marks)?, step.end.place(marks)?);
    (start <= end).then_some((start, end))
}

/// Fills in the integers of a slot; tells whether some are left, because they are not plain digits.
#[inline(always)]
#[expect(clippy::inline_always, reason = "part of kernels that are compiled for each level")]
fn fill_integers<T: TryFrom<i64>>(
    piece: &Piece,
    step: &Step,
    (valid, values): (&mut [u8], &mut [T]),
    members: &[Member],
) -> bool {
    let mut some_left = false;
    for member in members {
        let value = slot(piece, step, *member).and_then(|(start, end)| digits(piece, start, end));
        match value.and_then(|value| T::try_from(value).ok()) {
            Some(value) => {
                values[member.row] = value;
                valid[member.row] = 1;
            }
            None => {
                valid[member.row] = 0;
                some_left = true;
            }
        }
    }
    some_left
}

struct Along<'a> {
    piece: &'a Piece,
    offset: usize,
    shape: &'a Shape,
    grid: &'a mut Grid,
}

impl Along<'_> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of kernels that are compiled for each level")]
    fn slot(&self, step: &Step, member: Member) -> Option<(u16, u16)> {
        slot(self.piece, step, member)
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of a kernel that is compiled for each level")]
    fn pass(&self, step: &Step, members: &mut [Member]) {
        for member in members {
            let Some((start, end)) = self.slot(step, *member) else {
                member.good = false;
                continue;
            };
            let fast = digits(self.piece, start, end).is_some();
            member.good &= fast || walk::is_plain_value(self.piece.slice(start.into(), end.into()));
        }
    }

    #[inline(always)]
    fn integers(&mut self, step: &Step, members: &mut [Member]) {
        macro_rules! fill {
            ($($variant:ident)+) => {{
                let leaf = &mut self.grid.leaves[step.node];
                match &mut leaf.values {
                    $(Values::$variant(values) => {
                        fill_integers(self.piece, step, (&mut leaf.valid, values), members)
                    })+
                    _ => unreachable!("only integers have this task"),
                }
            }};
        }
        if fill!(TinyInt SmallInt Int BigInt) {
            self.unfilled(step, Written::Plain, members);
        }
    }

    /// Fills in what a step's own way has left NULL.
    #[cold]
    #[inline(never)]
    fn unfilled(&mut self, step: &Step, written: Written, members: &mut [Member]) {
        for member in members.iter_mut().filter(|member| member.good) {
            if self.grid.leaves[step.node].valid[member.row] == 0 {
                match self.slot(step, *member) {
                    Some((start, end)) => self.value(step, written, member, start, end),
                    None => member.good = false,
                }
            }
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of a kernel that is compiled for each level")]
    fn timestamps(&mut self, step: &Step, members: &mut [Member]) {
        let leaf = &mut self.grid.leaves[step.node];
        let Values::Timestamp { values, minute, .. } = &mut leaf.values else { return };
        let mut some_unread = false;
        for member in &*members {
            let slot = slot(self.piece, step, *member);
            let read = |(start, end)| Minute::read(minute, self.piece.from(start), usize::from(end - start));
            match slot.and_then(read) {
                Some(value) => {
                    values[member.row] = value;
                    leaf.valid[member.row] = 1;
                }
                None => {
                    leaf.valid[member.row] = 0;
                    some_unread = true;
                }
            }
        }
        if some_unread {
            self.unfilled(step, Written::Text, members);
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of a kernel that is compiled for each level")]
    fn texts(&mut self, step: &Step, members: &mut [Member]) {
        let leaf = &mut self.grid.leaves[step.node];
        let Values::String(places) = &mut leaf.values else { return };
        let mut some_escaped = false;
        for member in &*members {
            match slot(self.piece, step, *member).filter(|_| !member.escaped) {
                Some((start, end)) => {
                    places[member.row] = span(self.offset, start, end);
                    leaf.valid[member.row] = 1;
                }
                None => {
                    leaf.valid[member.row] = 0;
                    some_escaped = true;
                }
            }
        }
        if some_escaped {
            self.unfilled(step, Written::Text, members);
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
    fn value(&mut self, step: &Step, written: Written, member: &mut Member, start: u16, end: u16) {
        let text = self.piece.slice(start.into(), end.into());
        let (right, written) = match written {
            Written::Plain | Written::Whole => (walk::is_plain_value(text), written),
            Written::Text if member.escaped && text.contains(&b'\\') => (true, Written::Escaped),
            written => (true, written),
        };
        let place = span(self.offset, start, end);
        let nullable = self.shape.nodes[step.node].nullable;
        member.good &= right && self.grid.set(step.node, member.row, written, text, place, nullable);
    }
}

/// Where a slot of a piece that begins at `offset` is in the input.
#[inline]
fn span(offset: usize, start: u16, end: u16) -> u64 {
    ((offset + usize::from(start)) as u64) << 32 | u64::from(end - start)
}

/// The number that up to 16 digits make, unless there is a zero before others.
#[inline(always)]
fn digits(piece: &Piece, start: u16, end: u16) -> Option<i64> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const ABOVE_NINE: u64 = 0x7676_7676_7676_7676;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    /// For each number of digits which of the 8 bytes that end with them are digits.
    const MASKS: [u64; 9] = {
        let mut masks = [0; 9];
        let mut count = 1;
        while count <= 8 {
            masks[count] = u64::MAX << (64 - 8 * count);
            count += 1;
        }
        masks
    };
    // The digits as numbers, and the high bits of what is none.
    let word = |text: &[u8; 8], mask: u64| {
        let digits = (u64::from_le_bytes(*text) ^ ZEROS) & mask;
        (digits, (digits.wrapping_add(ABOVE_NINE) | digits) & HIGH)
    };
    let count = usize::from(end.wrapping_sub(start));
    let zero_first = *piece.from(start) == [b'0'] && count > 1;
    // Most numbers of a column are on the same side of this.
    let (value, wrong) = if count <= 8 {
        let (digits, wrong) = word(piece.before(end), MASKS[count]);
        (eight_digits(digits), wrong)
    } else {
        let mask = *MASKS.get(count - 8)?;
        let (words, _) = piece.before::<16>(end).as_chunks::<8>();
        let (upper, lower) = (word(&words[0], mask), word(&words[1], u64::MAX));
        (eight_digits(upper.0) * 100_000_000 + eight_digits(lower.0), upper.1 | lower.1)
    };
    (wrong == 0 && !zero_first && count > 0).then_some(value.cast_signed())
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
                let place = |at| u16::try_from(at).unwrap();
                let found = digits(&piece, place(before.len()), place(before.len() + text.len()));
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
