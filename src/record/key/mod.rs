//! The bytes of a key and their hash: what decides, for ever, which slot and so which shard owns it.
//!
//! A key's values are written one after the other: a tag (0 for NULL, 1 for a value), then the value in a form that
//! does not depend on Arrow. Integers of every width, days, times and timestamps are 8 bytes little-endian (timestamps
//! in the unit of their type); doubles their bits with one zero and one NaN; decimals 16 bytes little-endian; text and
//! bytes their length and the bytes; arrays their length and the elements, rows their fields, each written like a value.
//! Lengths are LEB128. The hash is XXH3-64 with a fixed seed over these bytes.

mod read;
mod write;

use arrow::array::ArrayRef;
use read::Builder;
use write::Values;
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

impl KeyCodec {
    /// A codec for keys of these types.
    ///
    /// # Errors
    ///
    /// The first type that cannot be a key, or has such a part: MAP.
    pub fn new(types: Vec<SqlType>) -> Result<Self, SqlType> {
        match types.iter().find(|data_type| !is_key(data_type)) {
            Some(found) => Err(found.clone()),
            None => Ok(Self { types }),
        }
    }

    /// How many columns a key has.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.types.len()
    }

    /// The types of a key's values, in order.
    #[must_use]
    pub fn types(&self) -> &[SqlType] {
        &self.types
    }

    /// The key bytes of every row, appended to `bytes`; `ends` gets the end of each row's bytes.
    ///
    /// # Panics
    ///
    /// If the columns are not of the codec's types.
    pub fn encode(&self, columns: &[ArrayRef], rows: usize, bytes: &mut Vec<u8>, ends: &mut Vec<u32>) {
        assert_eq!(columns.len(), self.types.len(), "a key has as many columns as types");
        let values: Vec<Values> = columns.iter().zip(&self.types).map(|(c, t)| Values::of(c, t)).collect();
        ends.reserve(rows);
        if let [only] = values.as_slice()
            && only.write_integers(rows, bytes, ends)
        {
            return;
        }
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

/// Whether values of this type can be told apart by their bytes.
fn is_key(data_type: &SqlType) -> bool {
    match data_type {
        SqlType::Map(..) | SqlType::Null => false,
        SqlType::Array(element, _) => is_key(element),
        SqlType::Row(fields) => fields.iter().all(|field| is_key(&field.data_type)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Array, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Int32Array, Int64Array, ListArray,
        StringArray, StructArray, TimestampMillisecondArray,
    };
    use arrow::datatypes::{DataType, Int32Type};

    use super::*;
    use crate::record::Column;

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
    fn nested_keys_come_back() {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
            Some(vec![None, Some(-7), Some(1)]),
        ]);
        let array = SqlType::Array(Box::new(SqlType::Int), true);
        check(array.clone(), Arc::new(lists.clone()));
        let row = SqlType::Row(vec![Column::new("a", SqlType::String, true), Column::new("b", array, true)]);
        let DataType::Struct(fields) = row.arrow() else { unreachable!("a row is a struct") };
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some(""), None]));
        let nulls = Some(vec![true, false, true, true].into());
        check(row, Arc::new(StructArray::new(fields, vec![text, Arc::new(lists)], nulls)));
        let long = "é".repeat(100_000);
        check(SqlType::String, Arc::new(StringArray::from(vec![long.as_str(), "", &long[..200]])));
        assert!(
            KeyCodec::new(vec![SqlType::Array(
                Box::new(SqlType::Map(Box::new(SqlType::String), Box::new(SqlType::Int), true)),
                true
            )])
            .is_err()
        );
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
}
