//! Values to key bytes.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int64Array,
    ListArray, StringArray, StructArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};

use crate::record::SqlType;

/// A column in the form in which it is written.
pub(super) enum Values {
    Boolean(BooleanArray),
    Integer(Int64Array),
    Double(Float64Array),
    Decimal(Decimal128Array),
    Text(StringArray),
    Bytes(BinaryArray),
    Array(ListArray, Box<Values>),
    Row(StructArray, Vec<Values>),
}

impl Values {
    /// A column of this type.
    pub fn of(column: &ArrayRef, data_type: &SqlType) -> Self {
        let as_type = |target: &DataType| cast(column, target).expect("a key column has its declared type");
        match data_type {
            SqlType::Boolean => Self::Boolean(column.as_boolean().clone()),
            SqlType::Float | SqlType::Double => {
                Self::Double(as_type(&DataType::Float64).as_primitive::<Float64Type>().clone())
            }
            SqlType::Decimal(..) => Self::Decimal(column.as_primitive::<Decimal128Type>().clone()),
            SqlType::String => Self::Text(column.as_string::<i32>().clone()),
            SqlType::Bytes => Self::Bytes(column.as_binary::<i32>().clone()),
            SqlType::Date | SqlType::Time(_) => {
                let narrow = as_type(&DataType::Int32);
                let wide = cast(&narrow, &DataType::Int64).expect("integers widen");
                Self::Integer(wide.as_primitive::<Int64Type>().clone())
            }
            SqlType::Array(element, _) => {
                let lists = column.as_list::<i32>().clone();
                let elements = Self::of(lists.values(), element);
                Self::Array(lists, Box::new(elements))
            }
            SqlType::Row(fields) => {
                let rows = column.as_struct().clone();
                let columns = rows.columns().iter().zip(fields);
                let columns = columns.map(|(column, field)| Self::of(column, &field.data_type)).collect();
                Self::Row(rows, columns)
            }
            _ => Self::Integer(as_type(&DataType::Int64).as_primitive::<Int64Type>().clone()),
        }
    }

    /// Appends the bytes of so many values, each a key, and their ends, if all of them are integers: the most common key,
    /// for which nothing is asked row by row. Whether they are.
    pub fn write_integers(&self, rows: usize, bytes: &mut Vec<u8>, ends: &mut Vec<u32>) -> bool {
        const LENGTH: usize = 1 + size_of::<i64>();
        let Self::Integer(integers) = self else { return false };
        if integers.null_count() > 0 {
            return false;
        }
        let start = bytes.len();
        bytes.resize(start + rows * LENGTH, 1);
        let (keys, _) = bytes[start..].as_chunks_mut::<LENGTH>();
        for (key, value) in keys.iter_mut().zip(integers.values()) {
            key[1..].copy_from_slice(&value.to_le_bytes());
        }
        let ends_of_keys = (start..bytes.len()).step_by(LENGTH).map(|start| start + LENGTH);
        ends.extend(
            ends_of_keys.map(|end| u32::try_from(end).expect("the keys of one batch are below 4 GiB")),
        );
        true
    }

    /// Appends the bytes of one value.
    pub fn write(&self, row: usize, bytes: &mut Vec<u8>) {
        let array: &dyn Array = match self {
            Self::Boolean(a) => a,
            Self::Integer(a) => a,
            Self::Double(a) => a,
            Self::Decimal(a) => a,
            Self::Text(a) => a,
            Self::Bytes(a) => a,
            Self::Array(a, _) => a,
            Self::Row(a, _) => a,
        };
        if array.is_null(row) {
            bytes.push(0);
            return;
        }
        bytes.push(1);
        match self {
            Self::Boolean(a) => bytes.push(u8::from(a.value(row))),
            Self::Integer(a) => bytes.extend_from_slice(&a.value(row).to_le_bytes()),
            Self::Double(a) => bytes.extend_from_slice(&canonical(a.value(row)).to_le_bytes()),
            Self::Decimal(a) => bytes.extend_from_slice(&a.value(row).to_le_bytes()),
            Self::Text(a) => sized(a.value(row).as_bytes(), bytes),
            Self::Bytes(a) => sized(a.value(row), bytes),
            Self::Array(a, elements) => {
                let offsets = &a.value_offsets()[row..row + 2];
                let place = |offset: i32| usize::try_from(offset).expect("offsets are not negative");
                let range = place(offsets[0])..place(offsets[1]);
                length(range.len(), bytes);
                range.for_each(|element| elements.write(element, bytes));
            }
            Self::Row(_, fields) => fields.iter().for_each(|field| field.write(row, bytes)),
        }
    }
}

fn sized(value: &[u8], bytes: &mut Vec<u8>) {
    length(value.len(), bytes);
    bytes.extend_from_slice(value);
}

/// A length in LEB128: 7 bits a byte, the lowest first, the top bit of all but the last set.
fn length(mut rest: usize, bytes: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(rest & 0x7f).expect("7 bits");
        rest >>= 7;
        if rest == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// The bits of a double with one zero and one NaN, so that equal keys have equal bytes.
fn canonical(value: f64) -> u64 {
    if value == 0.0 {
        0
    } else if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_one_key_and_so_are_nans() {
        assert_eq!(canonical(0.0), canonical(-0.0));
        assert_eq!(canonical(f64::NAN), canonical(-f64::NAN));
    }

    #[test]
    fn integers_at_once_are_as_one_by_one() {
        let column: ArrayRef = std::sync::Arc::new(Int64Array::from(vec![0, -1, i64::MIN, i64::MAX, 256]));
        let values = Values::of(&column, &SqlType::BigInt);
        let (mut bytes, mut ends) = (vec![7], vec![1]);
        assert!(values.write_integers(5, &mut bytes, &mut ends));
        let (mut expect, mut expect_ends) = (vec![7], vec![1]);
        for row in 0..5 {
            values.write(row, &mut expect);
            expect_ends.push(u32::try_from(expect.len()).unwrap());
        }
        assert_eq!((bytes, ends), (expect, expect_ends));
        let column: ArrayRef = std::sync::Arc::new(Int64Array::from(vec![Some(1), None]));
        assert!(!Values::of(&column, &SqlType::BigInt).write_integers(2, &mut vec![], &mut vec![]));
    }
}
