//! Rows of integers, booleans, decimals, texts and timestamps as objects, one a line: put at positions that stay in a
//! register, where appending each part to a vector would wait for the length that the part before left in memory.

use super::encode::{Bound, Prefix, Values, is_clean, write_string};
use crate::record::text::{self, EIGHT_DIGITS};

/// For how many bytes of lines room is made at a time: few enough to be still in the first cache when they are filled.
const ROOM: usize = 16 << 10;
/// How many bytes of a text are copied at a time.
const STEP: usize = 32;

/// Appends the rows; those that are too long for the room by `otherwise`.
pub(super) fn encode(
    columns: &mut [(&Prefix, Bound<'_>)],
    rows: usize,
    out: &mut Vec<u8>,
    mut otherwise: impl FnMut(&mut [(&Prefix, Bound<'_>)], usize, &mut Vec<u8>),
) {
    let mut row = 0;
    while row < rows {
        let start = out.len();
        out.resize(start + ROOM, 0);
        let (first, mut end) = (row, start);
        while row < rows
            && let Some(next) = line(columns, row, out, end)
        {
            (row, end) = (row + 1, next);
        }
        out.truncate(end);
        if row == first {
            otherwise(columns, row, out);
            row += 1;
        }
    }
}

/// Whether columns can be put in lines.
pub(super) fn is_for(columns: &[(&Prefix, Bound<'_>)]) -> bool {
    let fits = |values: &Values<'_>| {
        matches!(
            values,
            Values::TinyInt(_)
                | Values::SmallInt(_)
                | Values::Int(_)
                | Values::BigInt(_)
                | Values::Boolean(_)
                | Values::Decimal(..)
                | Values::String(_)
                | Values::Timestamp { .. }
        )
    };
    !columns.is_empty() && columns.iter().all(|(_, column)| fits(&column.values))
}

/// Puts a row at a position; yields the one behind it, or none if there is no room.
#[inline]
fn line(columns: &mut [(&Prefix, Bound<'_>)], row: usize, buffer: &mut [u8], mut at: usize) -> Option<usize> {
    for (prefix, Bound { nulls, values }) in columns {
        at = match &prefix.padded {
            Some(padded) => put(buffer, at, padded, prefix.text.len())?,
            None => put_slice(buffer, at, &prefix.text)?,
        };
        at = if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            put(buffer, at, b"null", 4)?
        } else {
            value(values, row, buffer, at)?
        };
    }
    put(buffer, at, b"}\n", 2)
}

#[inline]
fn value(values: &mut Values<'_>, row: usize, buffer: &mut [u8], at: usize) -> Option<usize> {
    match values {
        Values::TinyInt(values) => integer(values.value(row).into(), buffer, at),
        Values::SmallInt(values) => integer(values.value(row).into(), buffer, at),
        Values::Int(values) => integer(values.value(row).into(), buffer, at),
        Values::BigInt(values) => integer(values.value(row), buffer, at),
        Values::Boolean(values) if values.value(row) => put(buffer, at, b"true", 4),
        Values::Boolean(_) => put(buffer, at, b"false", 5),
        Values::Decimal(values, scale) => decimal(values.value(row), *scale, buffer, at),
        Values::String(values) => {
            let ends = values.value_offsets();
            let place = |index: usize| usize::try_from(ends[index]).expect("offsets are not negative");
            string(values.value_data(), place(row), place(row + 1), buffer, at)
        }
        Values::Timestamp { values, writer, zoned } => {
            let ((second, length), (fraction, fraction_length)) = writer.text(values[row]);
            let at = put(buffer, at, b"\"", 1)?;
            let at = put(buffer, at, second, length)?;
            let at = put(buffer, at, &fraction, fraction_length)?;
            if *zoned { put(buffer, at, b"Z\"", 2) } else { put(buffer, at, b"\"", 1) }
        }
        _ => None,
    }
}

/// Puts bytes of which so many count: all are copied, because a copy of a length that is known needs no call.
#[inline]
fn put<const N: usize>(buffer: &mut [u8], at: usize, bytes: &[u8; N], count: usize) -> Option<usize> {
    *buffer.get_mut(at..)?.first_chunk_mut()? = *bytes;
    Some(at + count)
}

#[inline(never)]
fn put_slice(buffer: &mut [u8], at: usize, bytes: &[u8]) -> Option<usize> {
    buffer.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    Some(at + bytes.len())
}

/// What has no fast way.
#[cold]
#[inline(never)]
fn put_written(buffer: &mut [u8], at: usize, write: impl FnOnce(&mut Vec<u8>)) -> Option<usize> {
    let mut text = Vec::new();
    write(&mut text);
    put_slice(buffer, at, &text)
}

#[inline]
fn integer(value: i64, buffer: &mut [u8], at: usize) -> Option<usize> {
    let at = if value < 0 { put(buffer, at, b"-", 1)? } else { at };
    natural(value.unsigned_abs(), buffer, at)
}

#[inline]
fn natural(value: u64, buffer: &mut [u8], at: usize) -> Option<usize> {
    if value < EIGHT_DIGITS {
        let (digits, count) = text::short_digits(value);
        return put(buffer, at, &digits, count);
    }
    let at = natural_above(value / EIGHT_DIGITS, buffer, at)?;
    put(buffer, at, &text::padded_digits(value % EIGHT_DIGITS), 8)
}

/// As [`natural`], of what is above the last eight digits.
#[inline(never)]
fn natural_above(value: u64, buffer: &mut [u8], at: usize) -> Option<usize> {
    natural(value, buffer, at)
}

#[inline]
fn decimal(value: i128, scale: u8, buffer: &mut [u8], at: usize) -> Option<usize> {
    let Some((whole, (fraction, length))) = text::short_decimal(value.unsigned_abs(), scale) else {
        return put_written(buffer, at, |out| text::write_decimal(value, scale, out));
    };
    let at = if value < 0 { put(buffer, at, b"-", 1)? } else { at };
    let at = natural(whole, buffer, at)?;
    put(buffer, at, &fraction, length)
}

/// Puts the text from one position of `source` to another.
#[inline]
fn string(source: &[u8], start: usize, end: usize, buffer: &mut [u8], at: usize) -> Option<usize> {
    let text = &source[start..end];
    if !is_clean(text) {
        return put_written(buffer, at, |out| write_string(text, out));
    }
    let at = put(buffer, at, b"\"", 1)?;
    let mut done = 0;
    while done < text.len() {
        // What follows the text may be copied too.
        match source[start + done..].first_chunk::<STEP>() {
            Some(step) => put(buffer, at + done, step, STEP)?,
            None => put_slice(buffer, at + done, &text[done..])?,
        };
        done += STEP;
    }
    put(buffer, at + text.len(), b"\"", 1)
}
