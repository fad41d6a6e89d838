//! Rows to records. Numbers and times are written as in JSON, without its quotes; ROW, ARRAY and MAP as JSON texts.
//!
//! A field is put in quotes where it would be misread without: where it holds a delimiter, a quote or the end of a line,
//! where it is the empty string, or where it is the text of NULL and is none.

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray, Time32MillisecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};

use super::Dialect;
use crate::codec::Encode;
use crate::codec::json::encode::{self as json, write_base64};
use crate::record::text::{self, TimestampStyle, TimestampWriter};
use crate::record::{Schema, SqlType};

/// What numbers, times and base64 are written with, besides letters and digits, which no delimiter is.
const BARE: &[u8] = b"+-.:/=";
/// What readers take for a mark of UTF-8 where it is the first of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The line that names the columns, where the dialect has one; else nothing.
#[must_use]
pub fn header_line(dialect: &Dialect, rows: &Schema) -> Vec<u8> {
    let mut line = Vec::new();
    if !dialect.header {
        return line;
    }
    for (index, column) in rows.columns().iter().enumerate() {
        if index > 0 {
            line.push(dialect.delimiter);
        }
        write_text(dialect, column.name.as_bytes(), &mut line);
    }
    line.push(b'\n');
    line
}

/// Encodes rows as CSV.
pub struct CsvEncoder {
    dialect: Dialect,
    columns: Vec<Writer>,
    /// Whether a number or a time can be misread too.
    bare_is_doubtful: bool,
    scratch: Vec<u8>,
}

/// What a type needs besides the arrays of a batch.
enum Writer {
    Scalar,
    Decimal(u8),
    Json(json::Writer),
}

impl CsvEncoder {
    /// An encoder of rows of `schema`.
    #[must_use]
    pub fn new(dialect: &Dialect, schema: &Schema) -> Self {
        let writer = |data_type: &SqlType| match data_type {
            SqlType::Decimal(_, scale) => Writer::Decimal(*scale),
            SqlType::Array(..) | SqlType::Map(..) | SqlType::Row(_) => {
                Writer::Json(json::Writer::new(data_type))
            }
            _ => Writer::Scalar,
        };
        let is_bare = |byte: u8| BARE.contains(&byte);
        Self {
            columns: schema.columns().iter().map(|column| writer(&column.data_type)).collect(),
            bare_is_doubtful: !dialect.null.is_empty()
                || is_bare(dialect.delimiter)
                || is_bare(dialect.quote),
            dialect: dialect.clone(),
            scratch: Vec::new(),
        }
    }
}

impl Encode for CsvEncoder {
    fn encode(&mut self, rows: &RecordBatch, out: &mut Vec<u8>) {
        let Self { dialect, columns, bare_is_doubtful, scratch } = self;
        debug_assert_eq!(rows.num_columns(), columns.len());
        let bound = columns.iter().zip(rows.columns());
        let mut bound: Vec<Bound<'_>> = bound.map(|(writer, array)| Bound::new(writer, array)).collect();
        for row in 0..rows.num_rows() {
            for (index, column) in bound.iter_mut().enumerate() {
                if index > 0 {
                    out.push(dialect.delimiter);
                }
                if column.nulls.is_some_and(|nulls| nulls.is_null(row)) {
                    out.extend_from_slice(dialect.null.as_bytes());
                    continue;
                }
                match &mut column.values {
                    Values::Nothing => out.extend_from_slice(dialect.null.as_bytes()),
                    Values::String(values) => write_text(dialect, values.value(row).as_bytes(), out),
                    // Bytes may be none, and JSON is full of quotes.
                    values if *bare_is_doubtful || matches!(values, Values::Bytes(_) | Values::Json(_)) => {
                        scratch.clear();
                        values.write(row, scratch);
                        write_text(dialect, scratch, out);
                    }
                    values => values.write(row, out),
                }
            }
            out.push(b'\n');
        }
    }
}

/// A column of a batch, its array told by type once a batch.
struct Bound<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

enum Values<'a> {
    /// Of a column that is NULL in every row.
    Nothing,
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
    Timestamp {
        values: &'a [i64],
        writer: TimestampWriter,
        zoned: bool,
    },
    Json(json::Bound<'a>),
}

impl<'a> Bound<'a> {
    fn new(writer: &'a Writer, array: &'a dyn Array) -> Self {
        let values = match writer {
            Writer::Scalar => Values::scalar(array),
            Writer::Decimal(scale) => Values::Decimal(array.as_primitive::<Decimal128Type>(), *scale),
            Writer::Json(writer) => Values::Json(json::Bound::new(writer, array)),
        };
        Self { nulls: array.nulls(), values }
    }
}

impl<'a> Values<'a> {
    fn scalar(array: &'a dyn Array) -> Self {
        match array.data_type() {
            DataType::Null => Self::Nothing,
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

    /// Appends the value of a row that is not NULL, without quotes.
    #[inline]
    fn write(&mut self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Nothing => {}
            Self::Boolean(values) => {
                out.extend_from_slice(if values.value(row) { b"true" } else { b"false" });
            }
            Self::TinyInt(values) => text::write_integer(values.value(row), out),
            Self::SmallInt(values) => text::write_integer(values.value(row), out),
            Self::Int(values) => text::write_integer(values.value(row), out),
            Self::BigInt(values) => text::write_integer(values.value(row), out),
            Self::Float(values) => text::write_float(values.value(row), out),
            Self::Double(values) => text::write_double(values.value(row), out),
            Self::Decimal(values, scale) => text::write_decimal(values.value(row), *scale, out),
            Self::String(values) => out.extend_from_slice(values.value(row).as_bytes()),
            Self::Bytes(values) => write_base64(values.value(row), out),
            Self::Date(values) => text::write_date(values.value(row), out),
            Self::Time(values) => text::write_time(values.value(row), TimestampStyle::Iso, out),
            Self::Timestamp { values, writer, zoned } => {
                writer.write(values[row], out);
                if *zoned {
                    out.push(b'Z');
                }
            }
            Self::Json(values) => values.write(row, out),
        }
    }
}

/// Appends a text, in quotes where it needs them.
#[inline]
fn write_text(dialect: &Dialect, text: &[u8], out: &mut Vec<u8>) {
    let is_other = text.is_empty() || text == dialect.null.as_bytes() || text.starts_with(BYTE_ORDER_MARK);
    if is_other || has_special(dialect, text) {
        write_quoted(dialect, text, out);
    } else {
        out.extend_from_slice(text);
    }
}

/// Whether some byte means something outside of quotes: in strides that compilers turn into vector instructions.
#[inline]
fn has_special(dialect: &Dialect, text: &[u8]) -> bool {
    const STRIDE: usize = 16;
    let (strides, rest) = text.as_chunks::<STRIDE>();
    let any = |stride: &[u8; STRIDE]| stride.iter().fold(false, |any, byte| any | dialect.is_special(*byte));
    strides.iter().any(any) || rest.iter().any(|byte| dialect.is_special(*byte))
}

fn write_quoted(dialect: &Dialect, text: &[u8], out: &mut Vec<u8>) {
    out.push(dialect.quote);
    let mut rest = text;
    while let Some(quote) = memchr::memchr(dialect.quote, rest) {
        out.extend_from_slice(&rest[..=quote]);
        out.push(dialect.quote);
        rest = &rest[quote + 1..];
    }
    out.extend_from_slice(rest);
    out.push(dialect.quote);
}
