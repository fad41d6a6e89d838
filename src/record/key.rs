//! The bytes of a key and their hash: what decides, for ever, which slot and so which shard owns it.
//!
//! A key's values are written one after the other: a tag (0 for NULL, 1 for a value), then the value in a form that
//! does not depend on Arrow. Integers of every width, days, times and timestamps are 8 bytes little-endian (timestamps
//! in the unit of their type); doubles their bits with one zero and one NaN; decimals 16 bytes little-endian; text and
//! bytes a 4-byte length and the bytes. The hash is XXH3-64 with a fixed seed over these bytes.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder, Decimal128Array,
    Decimal128Builder, Float64Array, Float64Builder, Int64Array, Int64Builder, StringArray, StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::SqlType;

/// How many classes of key hashes there are: the unit of state placement, fixed for ever.
pub const SLOTS: u32 = 4096;

/// The seed of the key hash; part of the snapshot format.
const SEED: u64 = 0x6d69_6c6c_7374_726d;

/// The slot of a key hash: bits 45 to 56, which the hash table inside a slot does not use.
#[must_use]
pub fn slot_of_hash(hash: u64) -> u32 {
    u32::try_from(hash >> 45 & u64::from(SLOTS - 1)).expect("12 bits")
}

/// The shard, of `shards` in all, that owns a slot: each owns a contiguous run.
#[must_use]
pub fn shard_of_slot(slot: u32, shards: usize) -> usize {
    slot as usize * shards / SLOTS as usize
}

/// Writes the key bytes of rows, and makes columns of key bytes again.
#[derive(Clone, Debug)]
pub struct KeyCodec {
    types: Vec<SqlType>,
}

enum Values {
    Boolean(BooleanArray),
    Integer(Int64Array),
    Double(Float64Array),
    Decimal(Decimal128Array),
    Text(StringArray),
    Bytes(BinaryArray),
}

enum Builder {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Double(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
}

impl KeyCodec {
    /// A codec for keys of these types.
    ///
    /// # Errors
    ///
    /// The first type that cannot be a key (ARRAY, MAP, ROW).
    pub fn new(types: Vec<SqlType>) -> Result<Self, SqlType> {
        let nested = |t: &&SqlType| {
            matches!(t, SqlType::Array(..) | SqlType::Map(..) | SqlType::Row(_) | SqlType::Null)
        };
        match types.iter().find(nested) {
            Some(found) => Err(found.clone()),
            None => Ok(Self { types }),
        }
    }

    /// The key bytes of every row, appended to `bytes`; `ends` gets the end of each row's bytes.
    ///
    /// # Panics
    ///
    /// If the columns are not of the codec's types.
    pub fn encode(&self, columns: &[ArrayRef], rows: usize, bytes: &mut Vec<u8>, ends: &mut Vec<u32>) {
        assert_eq!(columns.len(), self.types.len(), "a key has as many columns as types");
        let values: Vec<Values> = columns.iter().zip(&self.types).map(|(c, t)| Values::of(c, t)).collect();
        for row in 0..rows {
            for column in &values {
                column.write(row, bytes);
            }
            ends.push(u32::try_from(bytes.len()).expect("the keys of one batch are below 4 GiB"));
        }
    }

    /// The hash of one key's bytes.
    #[must_use]
    pub fn hash(key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, SEED)
    }

    /// The columns of these keys, in the codec's order of types.
    ///
    /// # Panics
    ///
    /// If the bytes are not keys of the codec's types.
    pub fn decode<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Vec<ArrayRef> {
        let mut builders: Vec<Builder> = self.types.iter().map(Builder::of).collect();
        for mut key in keys {
            for builder in &mut builders {
                builder.read(&mut key);
            }
            debug_assert!(key.is_empty(), "a key's bytes are read to the end");
        }
        builders.into_iter().zip(&self.types).map(|(builder, data_type)| builder.finish(data_type)).collect()
    }
}

impl Values {
    fn of(column: &ArrayRef, data_type: &SqlType) -> Self {
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
            _ => Self::Integer(as_type(&DataType::Int64).as_primitive::<Int64Type>().clone()),
        }
    }

    fn write(&self, row: usize, bytes: &mut Vec<u8>) {
        let array: &dyn Array = match self {
            Self::Boolean(a) => a,
            Self::Integer(a) => a,
            Self::Double(a) => a,
            Self::Decimal(a) => a,
            Self::Text(a) => a,
            Self::Bytes(a) => a,
        };
        if array.is_null(row) {
            bytes.push(0);
            return;
        }
        bytes.push(1);
        let mut sized = |value: &[u8]| {
            bytes.extend_from_slice(
                &u32::try_from(value.len()).expect("a value is below 4 GiB").to_le_bytes(),
            );
            bytes.extend_from_slice(value);
        };
        match self {
            Self::Boolean(a) => bytes.push(u8::from(a.value(row))),
            Self::Integer(a) => bytes.extend_from_slice(&a.value(row).to_le_bytes()),
            Self::Double(a) => bytes.extend_from_slice(&canonical(a.value(row)).to_le_bytes()),
            Self::Decimal(a) => bytes.extend_from_slice(&a.value(row).to_le_bytes()),
            Self::Text(a) => sized(a.value(row).as_bytes()),
            Self::Bytes(a) => sized(a.value(row)),
        }
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

impl Builder {
    fn of(data_type: &SqlType) -> Self {
        match data_type {
            SqlType::Boolean => Self::Boolean(BooleanBuilder::new()),
            SqlType::Float | SqlType::Double => Self::Double(Float64Builder::new()),
            SqlType::Decimal(..) => Self::Decimal(Decimal128Builder::new()),
            SqlType::String => Self::Text(StringBuilder::new()),
            SqlType::Bytes => Self::Bytes(BinaryBuilder::new()),
            _ => Self::Integer(Int64Builder::new()),
        }
    }

    fn read(&mut self, key: &mut &[u8]) {
        let null = pop(key, 1)[0] == 0;
        let sized = |key: &mut &[u8]| {
            let length = u32::from_le_bytes(pop(key, 4).try_into().expect("4 bytes"));
            pop(key, length as usize).to_vec()
        };
        match self {
            Self::Boolean(b) => b.append_option((!null).then(|| pop(key, 1)[0] == 1)),
            Self::Integer(b) => {
                b.append_option(
                    (!null).then(|| i64::from_le_bytes(pop(key, 8).try_into().expect("8 bytes"))),
                );
            }
            Self::Double(b) => {
                b.append_option(
                    (!null).then(|| f64::from_le_bytes(pop(key, 8).try_into().expect("8 bytes"))),
                );
            }
            Self::Decimal(b) => {
                b.append_option(
                    (!null).then(|| i128::from_le_bytes(pop(key, 16).try_into().expect("16 bytes"))),
                );
            }
            Self::Text(b) => {
                b.append_option((!null).then(|| String::from_utf8(sized(key)).expect("a text key is UTF-8")));
            }
            Self::Bytes(b) => b.append_option((!null).then(|| sized(key))),
        }
    }

    fn finish(self, data_type: &SqlType) -> ArrayRef {
        let array: ArrayRef = match self {
            Self::Boolean(mut b) => Arc::new(b.finish()),
            Self::Integer(mut b) => Arc::new(b.finish()),
            Self::Double(mut b) => Arc::new(b.finish()),
            Self::Decimal(mut b) => {
                return Arc::new(b.finish().with_data_type(data_type.arrow()));
            }
            Self::Text(mut b) => Arc::new(b.finish()),
            Self::Bytes(mut b) => Arc::new(b.finish()),
        };
        let narrow = matches!(data_type, SqlType::Date | SqlType::Time(_));
        let array =
            if narrow { cast(&array, &DataType::Int32).expect("written from 32 bits") } else { array };
        cast(&array, &data_type.arrow()).expect("written from this type")
    }
}

fn pop<'a>(key: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (head, tail) = key.split_at(count);
    *key = tail;
    head
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Int32Array, TimestampMillisecondArray};

    use super::*;

    fn check(data_type: SqlType, column: ArrayRef) {
        let codec = KeyCodec::new(vec![data_type.clone()]).unwrap();
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        codec.encode(std::slice::from_ref(&column), column.len(), &mut bytes, &mut ends);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let keys: Vec<&[u8]> = starts.zip(&ends).map(|(s, e)| &bytes[s as usize..*e as usize]).collect();
        let back = codec.decode(keys.iter().copied());
        assert_eq!(&back[0], &column, "{data_type}");
    }

    #[test]
    fn keys_come_back() {
        check(SqlType::BigInt, Arc::new(Int64Array::from(vec![Some(1), None, Some(i64::MIN)])));
        check(SqlType::Int, Arc::new(Int32Array::from(vec![Some(-1), None])));
        check(SqlType::String, Arc::new(StringArray::from(vec![Some(""), None, Some("é")])));
        check(SqlType::Bytes, Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\0"), None])));
        check(SqlType::Boolean, Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])));
        check(SqlType::Float, Arc::new(Float32Array::from(vec![Some(1.5), None])));
        check(SqlType::Date, Arc::new(arrow::array::Date32Array::from(vec![Some(-5), None])));
        check(SqlType::Time(3), Arc::new(arrow::array::Time32MillisecondArray::from(vec![Some(5), None])));
        check(SqlType::Timestamp(3), Arc::new(TimestampMillisecondArray::from(vec![Some(-5), None])));
        check(
            SqlType::TimestampLtz(3),
            Arc::new(TimestampMillisecondArray::from(vec![Some(5), None]).with_timezone("+00:00")),
        );
        let decimals = Decimal128Array::from(vec![Some(-150), None]).with_precision_and_scale(5, 2).unwrap();
        check(SqlType::Decimal(5, 2), Arc::new(decimals));
    }

    #[test]
    fn the_hash_never_changes() {
        // State on disk is placed by these values.
        assert_eq!(SEED, 0x6d69_6c6c_7374_726d);
        assert_eq!(KeyCodec::hash(&[1, 42, 0, 0, 0, 0, 0, 0, 0]), 11_742_613_520_914_803_242);
    }

    #[test]
    fn shards_own_contiguous_runs_of_all_slots() {
        for shards in [1, 2, 3, 7, 8, 64] {
            let owners: Vec<usize> = (0..SLOTS).map(|slot| shard_of_slot(slot, shards)).collect();
            assert!(owners.is_sorted() && owners[0] == 0 && *owners.last().unwrap() == shards - 1);
        }
    }

    #[test]
    fn zeros_are_one_key_and_so_are_nans() {
        assert_eq!(canonical(0.0), canonical(-0.0));
        assert_eq!(canonical(f64::NAN), canonical(-f64::NAN));
    }
}
