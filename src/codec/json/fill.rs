//! Values from how they are written into the grid, for the forms that are told from the text alone.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};

use super::grid::{Exact, Grid, Leaf, MADE, Values};
use super::piece::code_unit;
use super::scalar;
use super::shape::{ROOT, Shape};
use super::walk::Written;
use crate::record::{Origin, text};

impl Grid {
    /// Fills a row of a node with a value, whose text is at `place` in the input; tells whether it is certain.
    pub(super) fn set(
        &mut self,
        node: usize,
        row: usize,
        written: Written,
        text: &[u8],
        place: u64,
        nullable: bool,
    ) -> bool {
        let leaf = &mut self.leaves[node];
        if matches!(written, Written::Plain | Written::Whole) && text == b"null" {
            return nullable;
        }
        let set = match (&mut leaf.values, written) {
            (Values::String(places), Written::Text | Written::Plain | Written::Whole)
            | (Values::Other(places), Written::Whole) => {
                places[row] = place;
                Some(())
            }
            (Values::Other(places), Written::Text) => {
                // With its quotes, which are what makes it a value.
                places[row] = place - (1 << 32) + 2;
                Some(())
            }
            (Values::String(places), Written::Escaped) => {
                let start = self.made.len();
                let made = unescape(text, &mut self.made);
                let span = |at| u32::try_from(at).ok();
                made.and_then(|()| Some(Origin::span(span(start)?, span(self.made.len() - start)?)))
                    .map(|span| places[row] = span | MADE)
            }
            (_, Written::Escaped | Written::Whole | Written::Object) => None,
            (values, _) => str::from_utf8(text).ok().and_then(|text| values.set(row, written, text)),
        };
        leaf.valid[row] = u8::from(set.is_some());
        set.is_some()
    }

    /// Fills rows with what the exact layer decoded.
    pub(super) fn patch(&mut self, shape: &Shape, exact: &Exact<'_>) {
        for (child, array) in shape.nodes[ROOT].children.iter().zip(exact.columns) {
            self.patch_node(shape, *child, exact.rows, array);
        }
    }

    fn patch_node(&mut self, shape: &Shape, node: usize, rows: &[(usize, usize)], array: &ArrayRef) {
        let Leaf { valid, values } = &mut self.leaves[node];
        for (row, exact_row) in rows {
            valid[*row] = u8::from(array.is_valid(*exact_row));
        }
        match values {
            Values::Boolean(values) => {
                let array = array.as_boolean();
                for (row, exact_row) in rows {
                    values[*row] = u8::from(array.value(*exact_row));
                }
            }
            Values::TinyInt(values) => patch::<Int8Type>(values, rows, array),
            Values::SmallInt(values) => patch::<Int16Type>(values, rows, array),
            Values::Int(values) => patch::<Int32Type>(values, rows, array),
            Values::BigInt(values) => patch::<Int64Type>(values, rows, array),
            Values::Float(values) => patch::<Float32Type>(values, rows, array),
            Values::Double(values) => patch::<Float64Type>(values, rows, array),
            Values::Date(values) => patch::<Date32Type>(values, rows, array),
            Values::Time { values, .. } => patch::<Time32MillisecondType>(values, rows, array),
            Values::Decimal { values, .. } => patch::<Decimal128Type>(values, rows, array),
            Values::Timestamp { values, unit, .. } => match unit {
                arrow::datatypes::TimeUnit::Microsecond => {
                    patch::<TimestampMicrosecondType>(values, rows, array);
                }
                arrow::datatypes::TimeUnit::Nanosecond => {
                    patch::<TimestampNanosecondType>(values, rows, array);
                }
                _ => patch::<TimestampMillisecondType>(values, rows, array),
            },
            Values::String(places) => {
                let array = array.as_string::<i32>();
                for (row, exact_row) in rows {
                    let text = array.value(*exact_row).as_bytes();
                    let span = |at| u32::try_from(at).expect("a batch's texts are shorter than 2 GiB");
                    places[*row] = Origin::span(span(self.made.len()), span(text.len())) | MADE;
                    self.made.extend_from_slice(text);
                }
            }
            Values::Row => {
                let array = array.as_struct();
                for (child, array) in shape.nodes[node].children.iter().zip(array.columns()) {
                    self.patch_node(shape, *child, rows, array);
                }
            }
            // The exact layer has all of these values.
            Values::Other(places) => {
                for (row, _) in rows {
                    places[*row] = 0;
                }
            }
        }
    }
}

fn patch<T: ArrowPrimitiveType>(values: &mut [T::Native], rows: &[(usize, usize)], array: &ArrayRef) {
    let array = array.as_primitive::<T>();
    for (row, exact_row) in rows {
        values[*row] = array.value(*exact_row);
    }
}

/// An integer as it is written, or what a string means to one.
fn integer<T: TryFrom<i64>>(written: Written, text: &str) -> Option<T> {
    match written {
        // A fraction or an exponent needs an eye on each digit.
        Written::Plain => T::try_from(text.parse::<i64>().ok()?).ok(),
        _ => scalar::integer_of_text(text).ok(),
    }
}

impl Values {
    /// Sets a value that is no NULL, no object and has no escapes.
    fn set(&mut self, row: usize, written: Written, text: &str) -> Option<()> {
        let plain = written == Written::Plain;
        match self {
            Self::Boolean(values) => {
                values[row] = u8::from(match text {
                    "true" => true,
                    "false" => false,
                    _ if plain => return None,
                    text => scalar::boolean_of_text(text).ok()?,
                });
            }
            Self::TinyInt(values) => values[row] = integer(written, text)?,
            Self::SmallInt(values) => values[row] = integer(written, text)?,
            Self::Int(values) => values[row] = integer(written, text)?,
            Self::BigInt(values) => values[row] = integer(written, text)?,
            Self::Float(values) if plain => values[row] = scalar::finite(text, f32::is_finite).ok()?,
            Self::Float(values) => values[row] = scalar::float_of_text(text).ok()?,
            Self::Double(values) if plain => values[row] = scalar::finite(text, f64::is_finite).ok()?,
            Self::Double(values) => values[row] = scalar::double_of_text(text).ok()?,
            Self::Decimal { values, precision, scale } => {
                let text = if plain { text } else { text.trim() };
                values[row] = text::parse_decimal(text.as_bytes(), *precision, *scale).ok()?;
            }
            Self::Date(values) if !plain => values[row] = text::parse_date(text.trim()).ok()?,
            Self::Time { values, precision } if !plain => {
                values[row] = text::parse_time(text.trim(), *precision).ok()?;
            }
            Self::Timestamp { values, unit, precision, zoned, minute } if !plain => {
                values[row] = match minute.read_text(text.as_bytes()) {
                    Some(value) => value,
                    None => scalar::timestamp_of_text(text, *unit, *precision, *zoned).ok()?,
                };
            }
            _ => return None,
        }
        Some(())
    }
}

/// Appends a string's characters, whose escapes have been found to be right, each for itself.
fn unescape(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = text;
    while let Some(found) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..found]);
        rest = &rest[found + 1..];
        let (kind, behind) = rest.split_first()?;
        rest = behind;
        out.push(match kind {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut unit = code_unit(rest)?;
                rest = &rest[4..];
                if let 0xd800..=0xdbff = unit {
                    let low = code_unit(rest.strip_prefix(b"\\u")?)?;
                    unit = 0x10000 + ((unit - 0xd800) << 10) + low.checked_sub(0xdc00)?;
                    rest = &rest[6..];
                }
                let character = char::from_u32(unit)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            byte @ (b'"' | b'\\' | b'/') => *byte,
            _ => return None,
        });
    }
    out.extend_from_slice(rest);
    Some(())
}
