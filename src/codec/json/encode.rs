//! Rows to objects, one a line, as Flink's JSON format writes them.
//!
//! Columns in declared order, NULL as `null`. TIMESTAMP `2024-01-01T00:00:09.5` (ISO 8601, the fraction without
//! trailing zeros, no zone), `TIMESTAMP_LTZ` the same with `Z`, DATE, TIME; DECIMAL a number with its full scale; FLOAT and
//! DOUBLE as Java writes them, what is not finite as a string (`"NaN"`); BYTES base64; ROW and MAP objects, ARRAY an
//! array.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray,
    Time32MillisecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::line;
use crate::codec::Encode;
use crate::record::text::{self, TimestampStyle, TimestampWriter};
use crate::record::{Column, Schema, SqlType};

/// Encodes rows as JSON objects, one a line.
pub struct JsonEncoder {
    columns: Vec<Named>,
}

impl JsonEncoder {
    /// An encoder of rows of `schema`.
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        Self { columns: named(schema.columns()) }
    }
}

impl Encode for JsonEncoder {
    fn encode(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) {
        debug_assert_eq!(rows.num_columns(), self.columns.len());
        let mut columns = bind_all(&self.columns, rows.columns());
        let write = |columns: &mut [(&Prefix, Bound<'_>)], row: usize, out: &mut Vec<u8>| {
            write_object(columns, row, out);
            out.push(b'\n');
        };
        if line::is_for(&columns) {
            return line::encode(&mut columns, rows.num_rows(), out, write);
        }
        for row in 0..rows.num_rows() {
            write(&mut columns, row, out);
        }
    }
}

/// A column with what is written before its value: a brace or a comma, the quoted name and a colon.
pub(in crate::codec) struct Named {
    prefix: Prefix,
    writer: Writer,
}

/// Text that is written before every value of a column.
pub(super) struct Prefix {
    pub(super) text: Vec<u8>,
    /// The same with what is missing to [`Prefix::SHORT`] bytes, where it is not longer.
    pub(super) padded: Option<[u8; Prefix::SHORT]>,
}

impl Prefix {
    const SHORT: usize = 32;

    fn new(text: Vec<u8>) -> Self {
        let mut padded = [0; Self::SHORT];
        let fits = padded.get_mut(..text.len()).map(|start| start.copy_from_slice(&text));
        Self { padded: fits.map(|()| padded), text }
    }

    /// Appends it.
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        match &self.padded {
            // A copy of a length that is known needs no call; what is too much is cut off.
            Some(padded) => {
                let end = out.len() + self.text.len();
                out.extend_from_slice(padded);
                out.truncate(end);
            }
            None => out.extend_from_slice(&self.text),
        }
    }
}

/// What a type needs besides the arrays of a batch.
pub(in crate::codec) enum Writer {
    Scalar,
    Decimal(u8),
    Array(Box<Writer>),
    Map(Box<Writer>, Box<Writer>),
    Row(Vec<Named>),
}

fn named(columns: &[Column]) -> Vec<Named> {
    let opening = std::iter::once(b'{').chain(std::iter::repeat(b','));
    columns
        .iter()
        .zip(opening)
        .map(|(column, opening)| {
            let mut prefix = vec![opening];
            write_string(column.name.as_bytes(), &mut prefix);
            prefix.push(b':');
            Named { prefix: Prefix::new(prefix), writer: Writer::new(&column.data_type) }
        })
        .collect()
}

impl Writer {
    pub(in crate::codec) fn new(data_type: &SqlType) -> Self {
        match data_type {
            SqlType::Decimal(_, scale) => Self::Decimal(*scale),
            SqlType::Array(element, _) => Self::Array(Box::new(Self::new(element))),
            SqlType::Map(key, value, _) => Self::Map(Box::new(Self::new(key)), Box::new(Self::new(value))),
            SqlType::Row(columns) => Self::Row(named(columns)),
            _ => Self::Scalar,
        }
    }
}

/// A column of a batch, its array told by type once a batch.
pub(in crate::codec) struct Bound<'a> {
    pub(super) nulls: Option<&'a NullBuffer>,
    pub(super) values: Values<'a>,
}

pub(super) enum Values<'a> {
    Null,
    Boolean(&'a BooleanArray),
    TinyInt(&'a Int8Array),
    SmallInt(&'a Int16Array),
    Int(&'a Int32Array),
    BigInt(&'a Int64Array),
    Float(&'a Float32Array),
    Double(&'a Float64Array),
    Decimal(&'a Decimal128Array, u8),
    String(&'a StringArray),
    Bytes(&'a BinaryArray),
    Date(&'a Date32Array),
    Time(&'a Time32MillisecondArray),
    Timestamp { values: &'a [i64], writer: TimestampWriter, zoned: bool },
    Array { offsets: &'a [i32], element: Box<Bound<'a>> },
    Map { offsets: &'a [i32], key: Box<Bound<'a>>, value: Box<Bound<'a>> },
    Row(Vec<(&'a Prefix, Bound<'a>)>),
}

fn bind_all<'a>(columns: &'a [Named], arrays: &'a [ArrayRef]) -> Vec<(&'a Prefix, Bound<'a>)> {
    columns
        .iter()
        .zip(arrays)
        .map(|(column, array)| (&column.prefix, Bound::new(&column.writer, array.as_ref())))
        .collect()
}

impl<'a> Bound<'a> {
    pub(in crate::codec) fn new(writer: &'a Writer, array: &'a dyn Array) -> Self {
        let values = match (writer, array.data_type()) {
            (Writer::Decimal(scale), _) => Values::Decimal(array.as_primitive::<Decimal128Type>(), *scale),
            (Writer::Array(element), _) => {
                let list = array.as_list::<i32>();
                let element = Box::new(Self::new(element, list.values().as_ref()));
                Values::Array { offsets: list.value_offsets(), element }
            }
            (Writer::Map(key, value), _) => {
                let map = array.as_map();
                let key = Box::new(Self::new(key, map.keys().as_ref()));
                let value = Box::new(Self::new(value, map.values().as_ref()));
                Values::Map { offsets: map.value_offsets(), key, value }
            }
            (Writer::Row(columns), _) => Values::Row(bind_all(columns, array.as_struct().columns())),
            (Writer::Scalar, data_type) => Values::scalar(data_type, array),
        };
        Self { nulls: array.nulls(), values }
    }

    /// Appends the value of a row.
    #[inline]
    pub(in crate::codec) fn write(&mut self, row: usize, out: &mut Vec<u8>) {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(b"null");
        } else {
            self.values.write(row, out);
        }
    }
}

impl<'a> Values<'a> {
    fn scalar(data_type: &DataType, array: &'a dyn Array) -> Self {
        match data_type {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean(array.as_boolean()),
            DataType::Int8 => Self::TinyInt(array.as_primitive::<Int8Type>()),
            DataType::Int16 => Self::SmallInt(array.as_primitive::<Int16Type>()),
            DataType::Int32 => Self::Int(array.as_primitive::<Int32Type>()),
            DataType::Int64 => Self::BigInt(array.as_primitive::<Int64Type>()),
            DataType::Float32 => Self::Float(array.as_primitive::<Float32Type>()),
            DataType::Float64 => Self::Double(array.as_primitive::<Float64Type>()),
            DataType::Utf8 => Self::String(array.as_string::<i32>()),
            DataType::Binary => Self::Bytes(array.as_binary::<i32>()),
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>()),
            DataType::Time32(_) => Self::Time(array.as_primitive::<Time32MillisecondType>()),
            DataType::Timestamp(unit, zone) => {
                let values = match unit {
                    TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values(),
                    TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values(),
                    _ => array.as_primitive::<TimestampMillisecondType>().values(),
                };
                let writer = TimestampWriter::new(*unit, TimestampStyle::Iso);
                Self::Timestamp { values, writer, zoned: zone.is_some() }
            }
            other => unreachable!("no type of the language is carried by {other}"),
        }
    }

    /// Appends the value of a row that is not NULL.
    fn write(&mut self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Boolean(values) => {
                out.extend_from_slice(if values.value(row) { b"true" } else { b"false" });
            }
            Self::TinyInt(values) => text::write_integer(values.value(row), out),
            Self::SmallInt(values) => text::write_integer(values.value(row), out),
            Self::Int(values) => text::write_integer(values.value(row), out),
            Self::BigInt(values) => text::write_integer(values.value(row), out),
            Self::Float(values) => {
                let value = values.value(row);
                quoted_if(!value.is_finite(), out, |out| text::write_float(value, out));
            }
            Self::Double(values) => {
                let value = values.value(row);
                quoted_if(!value.is_finite(), out, |out| text::write_double(value, out));
            }
            Self::Decimal(values, scale) => text::write_decimal(values.value(row), *scale, out),
            Self::String(values) => write_string(values.value(row).as_bytes(), out),
            Self::Bytes(values) => quoted_if(true, out, |out| write_base64(values.value(row), out)),
            Self::Date(values) => quoted_if(true, out, |out| text::write_date(values.value(row), out)),
            Self::Time(values) => {
                quoted_if(true, out, |out| text::write_time(values.value(row), TimestampStyle::Iso, out));
            }
            Self::Timestamp { values, writer, zoned } => {
                out.push(b'"');
                writer.write(values[row], out);
                out.extend_from_slice(if *zoned { b"Z\"" } else { b"\"" });
            }
            Self::Array { offsets, element } => write_array(range(offsets, row), element, out),
            Self::Map { offsets, key, value } => write_map(range(offsets, row), key, value, out),
            Self::Row(columns) => write_object(columns, row, out),
        }
    }
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    let at = |index: usize| usize::try_from(offsets[index]).expect("offsets are not negative");
    at(row)..at(row + 1)
}

fn quoted_if(quoted: bool, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    if quoted {
        out.push(b'"');
    }
    write(out);
    if quoted {
        out.push(b'"');
    }
}

fn write_object(columns: &mut [(&Prefix, Bound<'_>)], row: usize, out: &mut Vec<u8>) {
    if columns.is_empty() {
        out.push(b'{');
    }
    for (prefix, column) in columns {
        prefix.write(out);
        column.write(row, out);
    }
    out.push(b'}');
}

fn write_array(elements: std::ops::Range<usize>, element: &mut Bound<'_>, out: &mut Vec<u8>) {
    out.push(b'[');
    let first = elements.start;
    for index in elements {
        if index > first {
            out.push(b',');
        }
        element.write(index, out);
    }
    out.push(b']');
}

fn write_map(entries: std::ops::Range<usize>, key: &mut Bound<'_>, value: &mut Bound<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    let first = entries.start;
    let mut name = Vec::new();
    for index in entries {
        if index > first {
            out.push(b',');
        }
        // A key of JSON is a string: other types are put in quotes as their values are written.
        name.clear();
        key.write(index, &mut name);
        match name.first() {
            Some(b'"') => out.extend_from_slice(&name),
            _ => quoted_if(true, out, |out| write_escaped(&name, out)),
        }
        out.push(b':');
        value.write(index, out);
    }
    out.push(b'}');
}

pub(in crate::codec) fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let length = base64::encoded_len(bytes.len(), true).expect("bytes in memory are far from the limit");
    out.resize(start + length, 0);
    STANDARD.encode_slice(bytes, &mut out[start..]).expect("the room was made for it");
}

pub(super) fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    write_escaped(text, out);
    out.push(b'"');
}

/// Appends text with what JSON wants escaped, and nothing else, as Jackson does by default.
fn write_escaped(mut text: &[u8], out: &mut Vec<u8>) {
    loop {
        let clean = clean_prefix(text);
        out.extend_from_slice(&text[..clean]);
        let Some(byte) = text.get(clean) else { return };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value)];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(control >> 4), digit(control & 15)]);
            }
        }
        text = &text[clean + 1..];
    }
}

/// How many bytes at the front need no escape.
#[inline]
fn clean_prefix(text: &[u8]) -> usize {
    if is_clean(text) { text.len() } else { clean_words(text) }
}

/// Whether no byte needs an escape: in strides that the compiler turns into vector instructions, the last of which may
/// cover bytes of the one before again.
#[inline]
pub(super) fn is_clean(text: &[u8]) -> bool {
    const STRIDE: usize = 32;
    const WORD: usize = 8;
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    let any_special = |stride: &[u8; STRIDE]| stride.iter().fold(false, |any, byte| any | special(byte));
    if let Some(last) = text.last_chunk::<STRIDE>() {
        let (strides, _) = text.as_chunks::<STRIDE>();
        return !strides.iter().fold(any_special(last), |any, stride| any | any_special(stride));
    }
    if let Some(last) = text.last_chunk::<WORD>() {
        let (words, _) = text.as_chunks::<WORD>();
        return words.iter().fold(flagged(*last), |all, word| all | flagged(*word)) == 0;
    }
    !text.iter().any(special)
}

/// How many bytes at the front need no escape, eight at a time.
#[cold]
fn clean_words(text: &[u8]) -> usize {
    let (words, _) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let flagged = flagged(*word);
        if flagged != 0 {
            return index * 8 + flagged.trailing_zeros() as usize / 8;
        }
    }
    let start = words.len() * 8;
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    start + text[start..].iter().position(special).unwrap_or(text.len() - start)
}

/// The high bits of the bytes that need an escape.
///
/// The tests for a byte that is zero, or below a bound, are those of Sean Anderson's "Bit Twiddling Hacks". They may flag a
/// byte above a flagged one wrongly, never the lowest.
#[inline]
fn flagged(word: [u8; 8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let word = u64::from_le_bytes(word);
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (control | zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c))) & HIGH
}
