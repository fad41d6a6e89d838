//! A column made of the texts of its fields. What a text means to a type is what a JSON string means to it
//! ([`crate::codec::json::scalar`]); the shortest forms of numbers are read here, because they are most of them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanArray, BooleanBuilder, NullBufferBuilder,
    PrimitiveArray, StringBuilder,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};

use super::fields::Field;
use crate::codec::Rejected;
use crate::codec::json::JsonTexts;
use crate::codec::json::minute::Minute;
use crate::codec::json::scalar::{self, Note};
use crate::record::{self, SqlType, text};

/// So many digits are below what 64 bits hold, and every decimal of them below what a double of that holds.
const DIGITS_MAX: usize = 18;

/// The texts of a batch's fields.
pub(super) struct Source<'a> {
    /// What the records are in.
    pub records: &'a str,
    /// Texts that were made.
    pub made: &'a str,
    /// The text of NULL.
    pub null: &'a str,
}

impl<'a> Source<'a> {
    /// The text of a field; none where it is NULL.
    #[inline]
    fn text(&self, field: Field) -> Option<&'a str> {
        let text = field.text(self.records, self.made);
        (field.is_quoted() || text != self.null).then_some(text)
    }
}

/// Which records of a batch are no good, and why.
pub(super) struct Faults {
    good: Vec<bool>,
    reasons: Vec<(usize, String)>,
}

impl Faults {
    /// None of so many.
    pub(super) fn new(records: usize) -> Self {
        Self { good: vec![true; records], reasons: Vec::new() }
    }

    #[inline]
    pub(super) fn is_good(&self, record: usize) -> bool {
        self.good[record]
    }

    /// Adds one; of a record the first counts.
    #[cold]
    pub(super) fn add(&mut self, record: usize, reason: String) {
        if std::mem::replace(&mut self.good[record], false) {
            self.reasons.push((record, reason));
        }
    }

    /// Hands them on in the order of the records; which are good, where not all are.
    pub(super) fn take(mut self, rejected: &mut Vec<Rejected>) -> Option<BooleanArray> {
        if self.reasons.is_empty() {
            return None;
        }
        self.reasons.sort_unstable_by_key(|(record, _)| *record);
        rejected.extend(self.reasons.into_iter().map(|(record, reason)| Rejected {
            record: u32::try_from(record).expect("a batch has fewer records than bytes"),
            reason,
        }));
        Some(BooleanArray::from(self.good))
    }
}

/// A column, and what it keeps from batch to batch.
pub(super) struct Column {
    column: record::Column,
    kept: Kept,
}

enum Kept {
    Nothing,
    /// The minute of the last timestamp.
    Minute(Minute),
    /// What bytes were decoded to last.
    Decoded(Vec<u8>),
    Nested(Box<JsonTexts>),
}

impl Column {
    pub(super) fn new(column: &record::Column) -> Self {
        let kept = match &column.data_type {
            SqlType::Bytes => Kept::Decoded(Vec::new()),
            SqlType::Timestamp(precision) | SqlType::TimestampLtz(precision) => {
                let DataType::Timestamp(unit, zone) = column.data_type.arrow() else {
                    unreachable!("timestamps are Arrow timestamps")
                };
                Kept::Minute(Minute::new(unit, *precision, zone.is_some()))
            }
            SqlType::Array(..) | SqlType::Map(..) | SqlType::Row(_) => {
                Kept::Nested(Box::new(JsonTexts::new(&column.data_type)))
            }
            _ => Kept::Nothing,
        };
        Self { column: column.clone(), kept }
    }

    /// How Arrow carries it.
    pub(super) fn data_type(&self) -> DataType {
        self.column.data_type.arrow()
    }

    /// Reads the fields of a batch. The value of a record that is no good is of no account.
    pub(super) fn read(&mut self, source: &Source<'_>, fields: &[Field], faults: &mut Faults) -> ArrayRef {
        let Self { column, kept } = self;
        let fields = Fields { column, source, list: fields, faults };
        match &column.data_type {
            SqlType::Null => unreachable!("no column has the type of a bare NULL"),
            SqlType::Boolean => fields.booleans(),
            SqlType::TinyInt => fields.values::<Int8Type>(integer),
            SqlType::SmallInt => fields.values::<Int16Type>(integer),
            SqlType::Int => fields.values::<Int32Type>(integer),
            SqlType::BigInt => fields.values::<Int64Type>(integer),
            SqlType::Float => fields.values::<Float32Type>(scalar::float_of_text),
            SqlType::Double => fields.values::<Float64Type>(scalar::double_of_text),
            SqlType::Decimal(precision, scale) => {
                fields.values::<Decimal128Type>(|text| decimal(text, *precision, *scale))
            }
            SqlType::String => fields.strings(),
            SqlType::Bytes => {
                let Kept::Decoded(decoded) = kept else { unreachable!("made for the type") };
                fields.bytes(decoded)
            }
            SqlType::Date => fields.values::<Date32Type>(scalar::date_of_text),
            SqlType::Time(precision) => {
                fields.values::<Time32MillisecondType>(|text| scalar::time_of_text(text, *precision))
            }
            SqlType::Timestamp(precision) | SqlType::TimestampLtz(precision) => {
                let Kept::Minute(minute) = kept else { unreachable!("made for the type") };
                fields.timestamps(minute, *precision)
            }
            SqlType::Array(..) | SqlType::Map(..) | SqlType::Row(_) => {
                let Kept::Nested(values) = kept else { unreachable!("made for the type") };
                fields.nested(values)
            }
        }
    }
}

/// The fields of one column in a batch.
struct Fields<'a> {
    column: &'a record::Column,
    source: &'a Source<'a>,
    list: &'a [Field],
    faults: &'a mut Faults,
}

impl Fields<'_> {
    /// Hands every text to `push`, none where there is no value; it adds a row either way, and the note on a text that is
    /// no value of the type.
    #[inline]
    fn each(&mut self, mut push: impl FnMut(Option<&str>) -> Result<(), Note>) {
        for (row, field) in self.list.iter().enumerate() {
            let text = self.source.text(*field);
            let good = self.faults.is_good(row);
            match text.filter(|_| good) {
                Some(text) => {
                    if let Err(note) = push(Some(text)) {
                        self.mismatch(row, text, note);
                    }
                }
                None => {
                    if good && !self.column.nullable {
                        self.is_null(row);
                    }
                    // There is nothing in it that could be wrong.
                    let _ = push(None);
                }
            }
        }
    }

    #[cold]
    fn mismatch(&mut self, row: usize, text: &str, note: Note) {
        let record::Column { name, data_type, .. } = self.column;
        let found = scalar::shortened(text);
        self.faults.add(row, format!("column `{name}`: expected {data_type}, found {found:?}{note}"));
    }

    #[cold]
    fn is_null(&mut self, row: usize) {
        let (name, null) = (&self.column.name, self.source.null);
        let found = if null.is_empty() { "empty".to_owned() } else { format!("{null:?}") };
        self.faults.add(row, format!("column `{name}` is NOT NULL and {found}"));
    }

    /// A column of values of one size.
    fn values<T: ArrowPrimitiveType>(
        mut self,
        mut parse: impl FnMut(&str) -> Result<T::Native, Note>,
    ) -> ArrayRef {
        let mut values: Vec<T::Native> = Vec::with_capacity(self.list.len());
        let mut nulls = NullBufferBuilder::new(self.list.len());
        self.each(|text| {
            let parsed = text.map(&mut parse).transpose();
            nulls.append(matches!(parsed, Ok(Some(_))));
            match parsed {
                Ok(value) => values.push(value.unwrap_or_default()),
                Err(note) => {
                    values.push(T::Native::default());
                    return Err(note);
                }
            }
            Ok(())
        });
        let array = PrimitiveArray::<T>::new(values.into(), nulls.finish());
        Arc::new(array.with_data_type(self.column.data_type.arrow()))
    }

    fn booleans(mut self) -> ArrayRef {
        let mut values = BooleanBuilder::with_capacity(self.list.len());
        self.each(|text| {
            let parsed = text.map(scalar::boolean_of_text).transpose();
            values.append_option(parsed.unwrap_or(None));
            parsed.map(drop)
        });
        Arc::new(values.finish())
    }

    fn strings(mut self) -> ArrayRef {
        let bytes = self.list.iter().map(|field| field.text(self.source.records, self.source.made).len());
        let mut values = StringBuilder::with_capacity(self.list.len(), bytes.sum());
        self.each(|text| {
            values.append_option(text);
            Ok(())
        });
        Arc::new(values.finish())
    }

    fn bytes(mut self, decoded: &mut Vec<u8>) -> ArrayRef {
        let mut values = BinaryBuilder::new();
        self.each(|text| {
            let parsed = text.map(|text| scalar::bytes_of_text(text, decoded)).transpose();
            values.append_option(matches!(parsed, Ok(Some(()))).then_some(&*decoded));
            parsed.map(drop)
        });
        Arc::new(values.finish())
    }

    fn timestamps(self, minute: &mut Minute, precision: u8) -> ArrayRef {
        let DataType::Timestamp(unit, zone) = self.column.data_type.arrow() else {
            unreachable!("timestamps are Arrow timestamps")
        };
        let parse = |text: &str| match minute.read_text(text.as_bytes()) {
            Some(value) => Ok(value),
            None => scalar::timestamp_of_text(text, unit, precision, zone.is_some()),
        };
        match unit {
            TimeUnit::Microsecond => self.values::<TimestampMicrosecondType>(parse),
            TimeUnit::Nanosecond => self.values::<TimestampNanosecondType>(parse),
            TimeUnit::Second | TimeUnit::Millisecond => self.values::<TimestampMillisecondType>(parse),
        }
    }

    /// A column of values that are JSON texts.
    fn nested(self, values: &mut JsonTexts) -> ArrayRef {
        for (row, field) in self.list.iter().enumerate() {
            let text = self.source.text(*field).filter(|_| self.faults.is_good(row));
            match text.map(|text| values.push(text, self.column.nullable)) {
                Some(Ok(())) => {}
                Some(Err(reason)) => {
                    self.faults.add(row, format!("column `{}`{reason}", self.column.name));
                }
                None => {
                    values.push_null();
                    if self.faults.is_good(row) && !self.column.nullable {
                        let name = &self.column.name;
                        self.faults.add(row, format!("column `{name}` is NOT NULL and empty"));
                    }
                }
            }
        }
        values.finish()
    }
}

/// What a text means to an integer.
#[inline]
fn integer<T: TryFrom<i64>>(text: &str) -> Result<T, Note> {
    match short_integer(text.as_bytes()).and_then(|value| T::try_from(value).ok()) {
        Some(value) => Ok(value),
        None => scalar::integer_of_text(text),
    }
}

/// The integer of up to [`DIGITS_MAX`] digits, with a minus or nothing before them.
#[inline]
fn short_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = signed(text);
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    let value = natural(0, digits)?;
    Some(if negative { -value } else { value })
}

/// What a text means to DECIMAL.
#[inline]
fn decimal(text: &str, precision: u8, scale: u8) -> Result<i128, Note> {
    match short_decimal(text.as_bytes(), precision, scale) {
        Some(value) => Ok(value),
        None => text::parse_decimal(text.trim().as_bytes(), precision, scale).map_err(|_| ""),
    }
}

/// The decimal, times 10^`scale`, where with all digits of the scale there are at most [`DIGITS_MAX`], none is to be
/// rounded away, and nothing but a minus and a point stands beside them.
#[inline]
fn short_decimal(text: &[u8], precision: u8, scale: u8) -> Option<i128> {
    let (negative, digits) = signed(text);
    let point = digits.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&digits[..at], &digits[at + 1..]),
        None => (digits, &[][..]),
    };
    let left = usize::from(scale).checked_sub(fraction.len())?;
    let is_bare = whole.is_empty() || point.is_some() && fraction.is_empty();
    if is_bare || whole.len() + usize::from(scale) > DIGITS_MAX {
        return None;
    }
    let value = natural(natural(0, whole)?, fraction)? * 10_i64.pow(u32::try_from(left).ok()?);
    let value = i128::from(value);
    (value < 10_i128.pow(u32::from(precision))).then_some(if negative { -value } else { value })
}

/// The text behind a minus, and whether there is one.
#[inline]
fn signed(text: &[u8]) -> (bool, &[u8]) {
    text.strip_prefix(b"-").map_or((false, text), |digits| (true, digits))
}

/// The number whose digits are those of `value` and then these; they are few enough.
#[inline]
fn natural(value: i64, digits: &[u8]) -> Option<i64> {
    let (mut value, mut all_digits) = (value, true);
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        all_digits &= digit < 10;
        // What is no digit may leave the range, and is of no account then.
        value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
    }
    all_digits.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_mean_what_long_ones_do() {
        let mut random = fastrand::Rng::with_seed(9);
        let mut short = 0;
        for _ in 0..200_000 {
            let length = random.usize(..22);
            let text: String =
                (0..length).map(|_| char::from(b"00123456789.-+ e"[random.usize(..16)])).collect();
            if let Some(value) = short_integer(text.as_bytes()) {
                assert_eq!(scalar::integer_of_text(&text), Ok(value), "{text}");
            }
            let precision = random.u8(1..=38);
            let scale = random.u8(..=precision);
            let long = text::parse_decimal(text.as_bytes(), precision, scale);
            if let Some(value) = short_decimal(text.as_bytes(), precision, scale) {
                assert_eq!(long, Ok(value), "{text} as DECIMAL({precision}, {scale})");
                short += 1;
            }
        }
        assert!(short > 5000, "{short}");
    }
}
