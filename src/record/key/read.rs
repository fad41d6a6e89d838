//! Key bytes to values.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Decimal128Builder, Float64Builder, Int64Builder, ListArray,
    StringBuilder, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use crate::record::SqlType;

/// Makes a column of the bytes of its values.
pub(super) enum Builder {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Double(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Array { lengths: Vec<usize>, valid: Vec<bool>, elements: Box<Builder> },
    Row { valid: Vec<bool>, fields: Vec<Builder> },
}

impl Builder {
    /// A builder of a column of this type.
    pub fn of(data_type: &SqlType) -> Self {
        match data_type {
            SqlType::Boolean => Self::Boolean(BooleanBuilder::new()),
            SqlType::Float | SqlType::Double => Self::Double(Float64Builder::new()),
            SqlType::Decimal(..) => Self::Decimal(Decimal128Builder::new()),
            SqlType::String => Self::Text(StringBuilder::new()),
            SqlType::Bytes => Self::Bytes(BinaryBuilder::new()),
            SqlType::Array(element, _) => {
                Self::Array { lengths: Vec::new(), valid: Vec::new(), elements: Box::new(Self::of(element)) }
            }
            SqlType::Row(fields) => {
                let fields = fields.iter().map(|field| Self::of(&field.data_type)).collect();
                Self::Row { valid: Vec::new(), fields }
            }
            _ => Self::Integer(Int64Builder::new()),
        }
    }

    /// Takes one value off the front of `key`.
    pub fn read(&mut self, key: &mut &[u8]) {
        if pop(key, 1)[0] == 0 {
            self.null();
            return;
        }
        match self {
            Self::Boolean(b) => b.append_value(pop(key, 1)[0] == 1),
            Self::Integer(b) => b.append_value(i64::from_le_bytes(fixed(key))),
            Self::Double(b) => b.append_value(f64::from_le_bytes(fixed(key))),
            Self::Decimal(b) => b.append_value(i128::from_le_bytes(fixed(key))),
            Self::Text(b) => b.append_value(std::str::from_utf8(sized(key)).expect("a text key is UTF-8")),
            Self::Bytes(b) => b.append_value(sized(key)),
            Self::Array { lengths, valid, elements } => {
                let count = length(key);
                lengths.push(count);
                valid.push(true);
                (0..count).for_each(|_| elements.read(key));
            }
            Self::Row { valid, fields } => {
                valid.push(true);
                for field in fields {
                    field.read(key);
                }
            }
        }
    }

    fn null(&mut self) {
        match self {
            Self::Boolean(b) => b.append_null(),
            Self::Integer(b) => b.append_null(),
            Self::Double(b) => b.append_null(),
            Self::Decimal(b) => b.append_null(),
            Self::Text(b) => b.append_null(),
            Self::Bytes(b) => b.append_null(),
            Self::Array { lengths, valid, .. } => {
                lengths.push(0);
                valid.push(false);
            }
            Self::Row { valid, fields } => {
                valid.push(false);
                fields.iter_mut().for_each(Self::null);
            }
        }
    }

    /// The column, of the type that the builder was made for.
    pub fn finish(self, data_type: &SqlType) -> ArrayRef {
        let array: ArrayRef = match self {
            Self::Boolean(mut b) => Arc::new(b.finish()),
            Self::Integer(mut b) => Arc::new(b.finish()),
            Self::Double(mut b) => Arc::new(b.finish()),
            Self::Decimal(mut b) => return Arc::new(b.finish().with_data_type(data_type.arrow())),
            Self::Text(mut b) => Arc::new(b.finish()),
            Self::Bytes(mut b) => Arc::new(b.finish()),
            Self::Array { lengths, valid, elements } => return array(data_type, lengths, valid, *elements),
            Self::Row { valid, fields } => return row(data_type, valid, fields),
        };
        let narrow = matches!(data_type, SqlType::Date | SqlType::Time(_));
        let array =
            if narrow { cast(&array, &DataType::Int32).expect("written from 32 bits") } else { array };
        cast(&array, &data_type.arrow()).expect("written from this type")
    }
}

fn array(data_type: &SqlType, lengths: Vec<usize>, valid: Vec<bool>, elements: Builder) -> ArrayRef {
    let (SqlType::Array(element, _), DataType::List(field)) = (data_type, data_type.arrow()) else {
        unreachable!("the builder was made for this type");
    };
    let offsets = OffsetBuffer::from_lengths(lengths);
    Arc::new(ListArray::new(field, offsets, elements.finish(element), Some(NullBuffer::from(valid))))
}

fn row(data_type: &SqlType, valid: Vec<bool>, fields: Vec<Builder>) -> ArrayRef {
    let (SqlType::Row(columns), DataType::Struct(arrow)) = (data_type, data_type.arrow()) else {
        unreachable!("the builder was made for this type");
    };
    let rows = valid.len();
    let arrays = fields.into_iter().zip(columns).map(|(field, column)| field.finish(&column.data_type));
    let (arrays, nulls) = (arrays.collect(), Some(NullBuffer::from(valid)));
    let built = StructArray::try_new_with_length(arrow, arrays, nulls, rows);
    Arc::new(built.expect("the fields have the types they were made for"))
}

fn pop<'a>(key: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (head, tail) = key.split_at(count);
    *key = tail;
    head
}

fn fixed<const N: usize>(key: &mut &[u8]) -> [u8; N] {
    pop(key, N).try_into().expect("as many as were asked for")
}

fn sized<'a>(key: &mut &'a [u8]) -> &'a [u8] {
    let count = length(key);
    pop(key, count)
}

fn length(key: &mut &[u8]) -> usize {
    let (mut total, mut shift) = (0, 0);
    loop {
        let byte = pop(key, 1)[0];
        total |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return total;
        }
        shift += 7;
    }
}
