//! CAST and TRY_CAST, with Flink's meaning.
//!
//! A value that the target cannot hold fails the row (TRY_CAST: NULL): text that is no number, an integer too large for
//! a narrower type, where Flink's Java cast would wrap around in silence. A decimal that needs more digits than the
//! target has is NULL in both, as in Flink. Numbers are rounded half up to decimals and cut toward zero to integers.

use std::sync::Arc;

use arrow::array::{
    ArrayAccessor, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Float64Array,
    Int64Array, StringArray, StringBuilder,
};
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{DataType, Float32Type, Int64Type, TimeUnit};

use super::ExprError;
use super::decimal::{Shape, rescaled, to_double, truncated};
use super::kernel::{Argument, Outcome, Values, from_ticks, map};
use super::typed::{Typed, done};
use crate::record::SqlType;
use crate::record::text::{
    TimestampStyle, parse_date, parse_decimal, parse_time, parse_timestamp, write_date, write_decimal,
    write_double, write_float, write_integer, write_time, write_timestamp,
};

/// `CAST(value AS to)`, or with `lenient` TRY_CAST, which makes a value that cannot be cast NULL.
pub(super) fn cast(value: Typed, to: &SqlType, lenient: bool) -> Result<Typed, ExprError> {
    let from = value.data_type.clone();
    let span = value.span;
    if from == *to {
        return Ok(value);
    }
    if from == SqlType::Null {
        return Ok(Typed::null(to.clone(), span));
    }
    if !possible(&from, to) {
        return Err(ExprError {
            span,
            what: format!("{from} cannot be cast to {to}"),
            help: advice(&from, to),
        });
    }
    let nullable = value.nullable || lenient || to_decimal_may_overflow(&from, to);
    let target = to.clone();
    let name = format!("CAST AS {to}");
    Typed::call(&name, vec![value], to.clone(), nullable, span, move |arguments, rows| {
        Caster { from: &from, to: &target, lenient, rows }.apply(&arguments[0])
    })
}

/// How many digits of a second's fraction the Arrow unit of a timestamp type keeps.
pub(super) fn unit_digits(precision: u8) -> u8 {
    match precision {
        0..=3 => 3,
        4..=6 => 6,
        _ => 9,
    }
}

/// How many ticks a second of a timestamp type has.
pub(super) fn ticks_per_second(precision: u8) -> i64 {
    10_i64.pow(u32::from(unit_digits(precision)))
}

fn time_unit(precision: u8) -> TimeUnit {
    match unit_digits(precision) {
        3 => TimeUnit::Millisecond,
        6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

fn possible(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::{Array, Boolean, Bytes, Date, Map, Null, Row, String, Time, Timestamp, TimestampLtz};
    match (from, to) {
        (_, Null) | (Null, _) => false,
        (Array(a, _), Array(b, _)) => a == b,
        (Map(k, v, _), Map(l, w, _)) => k == l && v == w,
        (Array(..) | Map(..) | Row(_), _) | (_, Array(..) | Map(..) | Row(_)) => false,
        (Bytes, String) | (String, Bytes) => true,
        (Bytes, _) | (_, Bytes) => false,
        (String, _) | (_, String) => true,
        (a, b) if a.is_numeric() && b.is_numeric() => true,
        (Boolean, other) | (other, Boolean) => other.is_integer(),
        (Date | Timestamp(_) | TimestampLtz(_), Date | Timestamp(_) | TimestampLtz(_))
        | (Timestamp(_) | TimestampLtz(_) | Time(_), Time(_)) => true,
        _ => false,
    }
}

fn advice(from: &SqlType, to: &SqlType) -> Option<String> {
    use SqlType::{Timestamp, TimestampLtz};
    match (from, to) {
        (from, Timestamp(_) | TimestampLtz(_)) if from.is_numeric() => Some(
            "TO_TIMESTAMP_LTZ(value, 0) reads seconds since 1970, TO_TIMESTAMP_LTZ(value, 3) milliseconds"
                .to_owned(),
        ),
        (Timestamp(_) | TimestampLtz(_), to) if to.is_numeric() => {
            Some("TIMESTAMPDIFF(SECOND, earlier, later) counts the time between two".to_owned())
        }
        (SqlType::Row(_), _) => Some("take one of its fields: row.field".to_owned()),
        (SqlType::Array(..), _) => Some("take one of its elements: array[1]".to_owned()),
        (SqlType::Map(..), _) => Some("take one of its values: map['key']".to_owned()),
        _ => None,
    }
}

/// Whether a cast to a decimal may find a value with too many digits.
fn to_decimal_may_overflow(from: &SqlType, to: &SqlType) -> bool {
    let SqlType::Decimal(precision, scale) = to else { return false };
    match Shape::of(from) {
        // Rounding may carry into one more digit.
        Some(from) => from.whole() + u8::from(from.scale > *scale) > precision - scale,
        None => *from != SqlType::Boolean,
    }
}

/// One cast of a batch.
struct Caster<'a> {
    from: &'a SqlType,
    to: &'a SqlType,
    lenient: bool,
    rows: usize,
}

impl Caster<'_> {
    fn apply(&self, value: &Argument) -> Outcome {
        match self.to {
            SqlType::Array(..) | SqlType::Map(..) => value.expanded(self.rows),
            SqlType::Boolean => self.to_boolean(value),
            SqlType::TinyInt | SqlType::SmallInt | SqlType::Int | SqlType::BigInt => self.to_integer(value),
            SqlType::Float | SqlType::Double => self.to_floating(value),
            SqlType::Decimal(precision, scale) => {
                self.to_decimal(value, Shape { precision: *precision, scale: *scale })
            }
            SqlType::String => self.to_text(value),
            SqlType::Bytes => done(
                map(self.rows, value.text(), |text| Ok(Some(text.as_bytes())))
                    .map(|bytes: BinaryArray| bytes)?,
            ),
            _ => self.to_time(value),
        }
    }

    /// `map`, where a value that cannot be cast fails, or with TRY_CAST is NULL.
    fn each<A: ArrayAccessor, R, C: FromIterator<Option<R>>>(
        &self,
        values: Values<A>,
        mut f: impl FnMut(A::Item) -> Result<Option<R>, String>,
    ) -> Result<C, String> {
        map(self.rows, values, |value| match f(value) {
            Err(_) if self.lenient => Ok(None),
            other => other,
        })
    }

    fn to_boolean(&self, value: &Argument) -> Outcome {
        let values: BooleanArray = if self.from.is_integer() {
            self.each(widened(value)?.bigint(), |value| Ok(Some(value != 0)))?
        } else {
            self.each(value.text(), |text| match text.trim().to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "y" | "1" => Ok(Some(true)),
                "false" | "f" | "no" | "n" | "0" => Ok(Some(false)),
                _ => Err(not_a(text, "BOOLEAN")),
            })?
        };
        done(values)
    }

    fn to_integer(&self, value: &Argument) -> Outcome {
        let arrow = self.to.arrow();
        let (low, high) = range_of(self.to);
        let checked = |wide: i128| match i64::try_from(wide) {
            Ok(value) if (low..=high).contains(&value) => Ok(Some(value)),
            _ => Err(format!("{wide} does not fit {}", self.to)),
        };
        let values: Int64Array = match self.from {
            from if from.is_integer() => {
                let widens = range_of(from).0 >= low;
                if widens {
                    return converted(value.array(), &arrow);
                }
                self.each(widened(value)?.bigint(), |value| checked(i128::from(value)))?
            }
            SqlType::Decimal(_, scale) => {
                self.each(value.decimal(), |value| checked(truncated(value, u32::from(*scale))))?
            }
            SqlType::Boolean => self.each(value.boolean(), |value| Ok(Some(i64::from(value))))?,
            SqlType::String => self.each(value.text(), |text| checked(integer_of(text, self.to)?))?,
            _ => {
                let doubles = value.with_array(converted(value.array(), &DataType::Float64)?);
                self.each(doubles.double(), |value| {
                    // Beyond 2^100 no integer type holds it, so the cast to i128 may saturate.
                    #[expect(clippy::cast_possible_truncation, reason = "cut toward zero on purpose")]
                    if value.is_finite() {
                        checked(value.trunc() as i128)
                    } else {
                        Err(format!("{value} does not fit {}", self.to))
                    }
                })?
            }
        };
        converted(&(Arc::new(values) as ArrayRef), &arrow)
    }

    fn to_floating(&self, value: &Argument) -> Outcome {
        let arrow = self.to.arrow();
        let values: Float64Array = match self.from {
            SqlType::Decimal(_, scale) => {
                self.each(value.decimal(), |value| Ok(Some(to_double(value, *scale))))?
            }
            SqlType::String if *self.to == SqlType::Float => {
                let values: Float32Array =
                    self.each(value.text(), |text| double_of(text, "FLOAT").map(|text| text.parse().ok()))?;
                return done(values);
            }
            SqlType::String => {
                self.each(value.text(), |text| double_of(text, "DOUBLE").map(|text| text.parse().ok()))?
            }
            _ => return converted(value.array(), &arrow),
        };
        converted(&(Arc::new(values) as ArrayRef), &arrow)
    }

    fn to_decimal(&self, value: &Argument, to: Shape) -> Outcome {
        let from_text = |text: &str| match parse_decimal(text.trim().as_bytes(), to.precision, to.scale) {
            Ok(value) => Ok(Some(value)),
            // A number with too many digits is NULL, text that is none fails.
            Err(_) if parse_is_number(text) => Ok(None),
            Err(reason) => Err(reason),
        };
        let values: Decimal128Array = match self.from {
            from if from.is_integer() && !to_decimal_may_overflow(from, self.to) => {
                let unit = 10_i128.pow(u32::from(to.scale));
                let integers = widened(value)?;
                integers.array().as_primitive::<Int64Type>().unary(|value| i128::from(value) * unit)
            }
            from if from.is_integer() => {
                self.each(widened(value)?.bigint(), |value| Ok(rescaled(i128::from(value), 0, to)))?
            }
            SqlType::Decimal(_, scale) => {
                self.each(value.decimal(), |value| Ok(rescaled(value, *scale, to)))?
            }
            SqlType::String => self.each(value.text(), from_text)?,
            from => {
                let doubles = value.with_array(converted(value.array(), &DataType::Float64)?);
                self.each(doubles.double(), |value| {
                    if !value.is_finite() {
                        return Err(format!("{value} {from} is not a decimal number"));
                    }
                    from_text(&format!("{value:e}"))
                })?
            }
        };
        done(values.with_data_type(self.to.arrow()))
    }

    fn to_text(&self, value: &Argument) -> Outcome {
        if *self.from == SqlType::Bytes {
            let values: StringArray = self.each(value.bytes(), |bytes| {
                std::str::from_utf8(bytes).map(Some).map_err(|_| "the bytes are not UTF-8".to_owned())
            })?;
            return done(values);
        }
        let value = if self.from.is_integer() { &widened(value)? } else { value };
        let counted = !(self.from.is_numeric() || matches!(self.from, SqlType::Boolean | SqlType::String));
        let ticks = counted.then(|| value.ticks());
        let mut builder = StringBuilder::with_capacity(self.rows, self.rows * 8);
        let mut buffer = Vec::new();
        for row in 0..self.rows {
            buffer.clear();
            if value.is_null(row) {
                builder.append_null();
            } else {
                match &ticks {
                    Some(ticks) => self.write_time(ticks.get(row).unwrap_or_default(), &mut buffer),
                    None => self.write_plain(value, row, &mut buffer),
                }
                builder.append_value(std::str::from_utf8(&buffer).expect("numbers and times are ASCII"));
            }
        }
        done(builder.finish())
    }

    fn write_plain(&self, value: &Argument, row: usize, out: &mut Vec<u8>) {
        let present = "the caller has looked for NULL";
        match self.from {
            SqlType::Boolean => {
                let value = value.boolean().get(row).expect(present);
                out.extend_from_slice(if value { b"TRUE" } else { b"FALSE" });
            }
            SqlType::Float => write_float(value.primitive::<Float32Type>().get(row).expect(present), out),
            SqlType::Double => write_double(value.double().get(row).expect(present), out),
            SqlType::Decimal(_, scale) => {
                write_decimal(value.decimal().get(row).expect(present), *scale, out);
            }
            _ => write_integer(value.bigint().get(row).expect(present), out),
        }
    }

    fn write_time(&self, ticks: i64, out: &mut Vec<u8>) {
        match self.from {
            SqlType::Date => write_date(i32::try_from(ticks).expect("kept in 32 bits"), out),
            SqlType::Time(precision) => {
                let style = TimestampStyle::Sql { digits: *precision };
                write_time(i32::try_from(ticks).expect("kept in 32 bits"), style, out);
            }
            SqlType::Timestamp(precision) | SqlType::TimestampLtz(precision) => {
                write_timestamp(
                    ticks,
                    time_unit(*precision),
                    TimestampStyle::Sql { digits: *precision },
                    out,
                );
            }
            other => unreachable!("{other} is not a time"),
        }
    }

    fn to_time(&self, value: &Argument) -> Outcome {
        let arrow = self.to.arrow();
        let ticks: Int64Array = if *self.from == SqlType::String {
            self.each(value.text(), |text| ticks_of_text(text.trim(), self.to).map(Some))?
        } else {
            let ticks = value.ticks();
            (0..self.rows)
                .map(|row| ticks.get(row).map(|value| moved(value, self.from, self.to)).transpose())
                .map(|moved| if self.lenient { Ok(moved.unwrap_or(None)) } else { moved })
                .collect::<Result<_, _>>()?
        };
        from_ticks(ticks, &arrow)
    }
}

/// Reads a day, time or timestamp into its ticks.
fn ticks_of_text(text: &str, to: &SqlType) -> Result<i64, String> {
    let (precision, with_zone) = match to {
        SqlType::Date => {
            // A timestamp's text is a day's too, as in Flink.
            let day = parse_date(text).or_else(|reason| {
                parse_timestamp(text).map_err(|_| reason).and_then(|parsed| {
                    i32::try_from(parsed.seconds.div_euclid(86_400))
                        .map_err(|_| "the date is out of range".to_owned())
                })
            });
            return day.map(i64::from);
        }
        SqlType::Time(precision) => return parse_time(text, *precision).map(i64::from),
        SqlType::Timestamp(precision) => (*precision, false),
        SqlType::TimestampLtz(precision) => (*precision, true),
        other => unreachable!("{other} is not a time"),
    };
    let parsed = match parse_timestamp(text) {
        Ok(parsed) => parsed,
        Err(reason) => {
            let seconds = i64::from(parse_date(text).map_err(|_| reason)?) * 86_400;
            crate::record::text::ParsedTimestamp { seconds, nanos: 0, zone: None }
        }
    };
    if parsed.zone.is_some() && !with_zone {
        return Err(format!("`{text}` has a zone, which {to} has not"));
    }
    parsed
        .to_unit(time_unit(precision), precision)
        .ok_or_else(|| format!("`{text}` is out of the range of {to}"))
}

/// Ticks of one time type in another.
fn moved(value: i64, from: &SqlType, to: &SqlType) -> Result<i64, String> {
    use SqlType::{Date, Time, Timestamp, TimestampLtz};
    let out_of_range = || format!("the time is out of the range of {to}");
    let cut = |value: i64, per: i64| value - value.rem_euclid(per);
    match (from, to) {
        (Date, Timestamp(p) | TimestampLtz(p)) => {
            value.checked_mul(86_400 * ticks_per_second(*p)).ok_or_else(out_of_range)
        }
        (Timestamp(p) | TimestampLtz(p), Date) => Ok(value.div_euclid(86_400 * ticks_per_second(*p))),
        (Timestamp(p) | TimestampLtz(p), Time(q)) => {
            let per_second = ticks_per_second(*p);
            let ms = value.rem_euclid(86_400 * per_second) / (per_second / 1000);
            Ok(cut(ms, 10_i64.pow(u32::from(3 - (*q).min(3)))))
        }
        (Time(_), Time(q)) => Ok(cut(value, 10_i64.pow(u32::from(3 - (*q).min(3))))),
        (Timestamp(p) | TimestampLtz(p), Timestamp(q) | TimestampLtz(q)) => {
            let (a, b) = (unit_digits(*p), unit_digits(*q));
            let value = if b >= a {
                value.checked_mul(10_i64.pow(u32::from(b - a))).ok_or_else(out_of_range)?
            } else {
                value.div_euclid(10_i64.pow(u32::from(a - b)))
            };
            let per = 10_i64.pow(u32::from(b - (*q).min(b)));
            // The floor of the very first ticks would lie before the range.
            value.checked_sub(value.rem_euclid(per)).ok_or_else(out_of_range)
        }
        _ => Ok(value),
    }
}

fn converted(array: &ArrayRef, to: &DataType) -> Outcome {
    arrow_cast(array, to).map_err(|error| error.to_string())
}

/// Integers of any width as BIGINT.
fn widened(value: &Argument) -> Result<Argument, String> {
    Ok(value.with_array(converted(value.array(), &DataType::Int64)?))
}

fn range_of(data_type: &SqlType) -> (i64, i64) {
    match data_type {
        SqlType::TinyInt => (i8::MIN.into(), i8::MAX.into()),
        SqlType::SmallInt => (i16::MIN.into(), i16::MAX.into()),
        SqlType::Int => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    }
}

fn not_a(text: &str, what: &str) -> String {
    let shown: String = text.chars().take(40).collect();
    let more = if shown.len() < text.len() { "…" } else { "" };
    format!("`{shown}{more}` is not a {what}")
}

/// A whole number in text; digits behind a point are checked and cut off, as in Flink.
fn integer_of(text: &str, to: &SqlType) -> Result<i128, String> {
    let trimmed = text.trim();
    let unsigned = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return Err(not_a(text, &to.to_string()));
    }
    let value: i128 = whole.parse().map_err(|_| format!("{} does not fit {to}", not_shown(trimmed)))?;
    Ok(if trimmed.starts_with('-') { -value } else { value })
}

fn not_shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The trimmed text, if it is a double's as Java reads it.
fn double_of<'a>(text: &'a str, what: &str) -> Result<&'a str, String> {
    let trimmed = text.trim();
    let plain = trimmed.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let named = matches!(trimmed, "NaN" | "Infinity" | "-Infinity" | "+Infinity");
    if (plain || named) && trimmed.parse::<f64>().is_ok() { Ok(trimmed) } else { Err(not_a(text, what)) }
}

fn parse_is_number(text: &str) -> bool {
    double_of(text, "number").is_ok_and(|text| !text.ends_with(|c: char| c.is_alphabetic()))
}
