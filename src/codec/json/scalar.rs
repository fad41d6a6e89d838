//! What a JSON value means to a column of a scalar type; see the list in [`super::decode`].

use std::str::FromStr;

use arrow::datatypes::TimeUnit;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use simd_json::StaticNode;
use simd_json::value::tape::Node;

use super::exact::{Record, Value};
use crate::record::text;

/// What to add to "expected this, found that"; may be empty.
pub(in crate::codec) type Note = &'static str;

const OUT_OF_RANGE: Note = ", which is out of range";

/// The text as an error shows it.
pub(in crate::codec) fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A value as an error shows it.
pub(super) fn describe(record: &Record<'_>, value: Value<'_>) -> String {
    match record.node(value) {
        Node::String(text) => format!("the string {:?}", shortened(text)),
        Node::Object { .. } => "an object".to_owned(),
        Node::Array { .. } => "an array".to_owned(),
        Node::Static(_) => shortened(record.text(value.place)),
    }
}

pub(super) fn boolean(record: &Record<'_>, value: Value<'_>) -> Result<bool, Note> {
    match record.node(value) {
        Node::Static(StaticNode::Bool(value)) => Ok(value),
        Node::String(text) => boolean_of_text(text),
        _ => Err(""),
    }
}

/// What a string means to BOOLEAN.
pub(in crate::codec) fn boolean_of_text(text: &str) -> Result<bool, Note> {
    match text.trim() {
        text if text.eq_ignore_ascii_case("true") => Ok(true),
        text if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(""),
    }
}

/// An integer of any width.
#[inline]
pub(super) fn integer<T: TryFrom<i64> + TryFrom<u64>>(
    record: &Record<'_>,
    value: Value<'_>,
) -> Result<T, Note> {
    let wide: i64 = match record.node(value) {
        Node::Static(StaticNode::U64(number)) => return T::try_from(number).map_err(|_| OUT_OF_RANGE),
        Node::Static(StaticNode::I64(number)) => number,
        // From the digits: a double would hide a small fraction, and change large integers.
        Node::Static(StaticNode::F64(_)) => whole(record.text(value.place))?,
        Node::String(text) => return integer_of_text(text),
        _ => return Err(""),
    };
    T::try_from(wide).map_err(|_| OUT_OF_RANGE)
}

/// What a string means to an integer of any width.
pub(in crate::codec) fn integer_of_text<T: TryFrom<i64>>(text: &str) -> Result<T, Note> {
    let wide: i64 = text.trim().parse().map_err(|_| "")?;
    T::try_from(wide).map_err(|_| OUT_OF_RANGE)
}

fn whole(literal: &str) -> Result<i64, Note> {
    match text::parse_decimal(literal.as_bytes(), 38, 0) {
        Err(_) => Err(OUT_OF_RANGE),
        Ok(_) if !text::is_whole(literal.as_bytes()) => Err(", which has a fraction"),
        Ok(number) => i64::try_from(number).map_err(|_| OUT_OF_RANGE),
    }
}

pub(super) fn double(record: &Record<'_>, value: Value<'_>) -> Result<f64, Note> {
    match record.node(value) {
        Node::Static(StaticNode::F64(number)) if record.fractions_trusted => Ok(number),
        Node::Static(StaticNode::F64(_)) => finite(record.text(value.place), f64::is_finite),
        #[expect(
            clippy::cast_precision_loss,
            reason = "the nearest double is what an integer means to DOUBLE"
        )]
        Node::Static(StaticNode::U64(number)) => Ok(number as f64),
        // The parser calls only a negative zero so.
        Node::Static(StaticNode::I64(0)) => Ok(-0.0),
        #[expect(
            clippy::cast_precision_loss,
            reason = "the nearest double is what an integer means to DOUBLE"
        )]
        Node::Static(StaticNode::I64(number)) => Ok(number as f64),
        Node::String(text) => double_of_text(text),
        _ => Err(""),
    }
}

/// What a string means to DOUBLE.
pub(in crate::codec) fn double_of_text(text: &str) -> Result<f64, Note> {
    match text.trim() {
        "NaN" => Ok(f64::NAN),
        "Infinity" | "+Infinity" => Ok(f64::INFINITY),
        "-Infinity" => Ok(f64::NEG_INFINITY),
        number => finite(number, f64::is_finite),
    }
}

/// A float, from the digits: rounding to a double first may round twice.
pub(super) fn float(record: &Record<'_>, value: Value<'_>) -> Result<f32, Note> {
    match record.node(value) {
        Node::Static(StaticNode::U64(_) | StaticNode::I64(_) | StaticNode::F64(_)) => {
            finite(record.text(value.place), f32::is_finite)
        }
        Node::String(text) => float_of_text(text),
        _ => Err(""),
    }
}

/// What a string means to FLOAT.
pub(in crate::codec) fn float_of_text(text: &str) -> Result<f32, Note> {
    match text.trim() {
        "NaN" => Ok(f32::NAN),
        "Infinity" | "+Infinity" => Ok(f32::INFINITY),
        "-Infinity" => Ok(f32::NEG_INFINITY),
        number => finite(number, f32::is_finite),
    }
}

/// A number's text as a finite number; the words for other doubles (`inf`, `nan`) are not numbers.
pub(super) fn finite<T: FromStr + Copy>(number: &str, is_finite: impl Fn(T) -> bool) -> Result<T, Note> {
    let digit = number.trim_start_matches(['+', '-', '.']).starts_with(|first: char| first.is_ascii_digit());
    match number.parse::<T>() {
        Ok(value) if digit && is_finite(value) => Ok(value),
        Ok(_) if digit => Err(OUT_OF_RANGE),
        _ => Err(""),
    }
}

pub(super) fn decimal(record: &Record<'_>, value: Value<'_>, precision: u8, scale: u8) -> Result<i128, Note> {
    let number = match record.node(value) {
        Node::Static(StaticNode::U64(number)) => i128::from(number),
        Node::Static(StaticNode::I64(number)) => i128::from(number),
        Node::Static(StaticNode::F64(_)) => {
            return text::parse_decimal(record.text(value.place).as_bytes(), precision, scale)
                .map_err(|_| OUT_OF_RANGE);
        }
        Node::String(text) => {
            return text::parse_decimal(text.trim().as_bytes(), precision, scale).map_err(|_| "");
        }
        _ => return Err(""),
    };
    10_i128
        .checked_pow(u32::from(scale))
        .and_then(|power| number.checked_mul(power))
        .filter(|scaled| scaled.unsigned_abs() < 10_u128.pow(u32::from(precision)))
        .ok_or(OUT_OF_RANGE)
}

/// Decodes base64 into `decoded`, which is emptied first.
pub(super) fn bytes(record: &Record<'_>, value: Value<'_>, decoded: &mut Vec<u8>) -> Result<(), Note> {
    match record.node(value) {
        Node::String(text) => bytes_of_text(text, decoded),
        _ => Err(""),
    }
}

/// What a string means to BYTES, into `decoded`, which is emptied first.
pub(in crate::codec) fn bytes_of_text(text: &str, decoded: &mut Vec<u8>) -> Result<(), Note> {
    decoded.clear();
    STANDARD.decode_vec(text, decoded).map_err(|_| ", which is not base64")
}

pub(super) fn date(record: &Record<'_>, value: Value<'_>) -> Result<i32, Note> {
    match record.node(value) {
        Node::String(text) => date_of_text(text),
        _ => Err(""),
    }
}

/// What a string means to DATE.
pub(in crate::codec) fn date_of_text(text: &str) -> Result<i32, Note> {
    text::parse_date(text.trim()).map_err(|_| " (a date looks like 2024-01-31)")
}

pub(super) fn time(record: &Record<'_>, value: Value<'_>, precision: u8) -> Result<i32, Note> {
    match record.node(value) {
        Node::String(text) => time_of_text(text, precision),
        _ => Err(""),
    }
}

/// What a string means to TIME.
pub(in crate::codec) fn time_of_text(text: &str, precision: u8) -> Result<i32, Note> {
    text::parse_time(text.trim(), precision).map_err(|_| " (a time looks like 09:30:15.5)")
}

/// A timestamp; one without a zone must not have one, and the other way round.
#[inline]
pub(super) fn timestamp(
    record: &Record<'_>,
    value: Value<'_>,
    unit: TimeUnit,
    precision: u8,
    zoned: bool,
) -> Result<i64, Note> {
    match record.node(value) {
        Node::String(text) => timestamp_of_text(text, unit, precision, zoned),
        _ => Err(""),
    }
}

/// What a string means to a timestamp.
pub(in crate::codec) fn timestamp_of_text(
    text: &str,
    unit: TimeUnit,
    precision: u8,
    zoned: bool,
) -> Result<i64, Note> {
    let parsed = text::parse_timestamp(text.trim()).map_err(|_| {
        if zoned {
            " (an instant looks like 2024-01-31T09:30:15.5Z)"
        } else {
            " (it looks like 2024-01-31T09:30:15.5)"
        }
    })?;
    match (zoned, parsed.zone) {
        (true, None) => Err(", which has no zone"),
        (false, Some(_)) => Err(", which has a zone"),
        _ => parsed.to_unit(unit, precision).ok_or(OUT_OF_RANGE),
    }
}
