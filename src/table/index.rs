//! Rows by their keys. An index never changes: a table that does gets another.
//!
//! Keys are told apart by their bytes ([`KeyCodec`]), which lie one behind the other; a hash table has their numbers. Of a
//! key with versions the rows lie next to one another, ordered by the time from which they hold.

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use hashbrown::HashTable;

use crate::record::{KeyCodec, Schema};

/// The rows of a table by their keys.
#[derive(Debug)]
pub struct Index {
    rows: RecordBatch,
    /// Numbers of keys.
    keys: HashTable<u32>,
    bytes: Vec<u8>,
    /// Where the bytes of each key end, `[key]`.
    ends: Vec<u32>,
    /// The row of each key; with versions those of the first key, then those of the second.
    order: Vec<u32>,
    versions: Option<Times>,
    replaced: usize,
}

/// From when on rows hold.
#[derive(Debug)]
struct Times {
    /// Where the rows of each key end in [`Index::order`], `[key]`.
    ends: Vec<u32>,
    /// From when on each row of that order holds, milliseconds.
    from_ms: Vec<i64>,
}

/// From when on each row holds, milliseconds, in the order of the rows; none of them is NULL.
#[derive(Clone, Debug)]
pub struct Versions(pub Int64Array);

/// How many keys are written at a time.
const ROWS_AT_ONCE: usize = 1 << 16;

/// The numbers of rows and the places of bytes are of 32 bits.
const TOO_LARGE: &str = "its keys are more than 4 GiB";

impl Index {
    /// An index without rows.
    #[must_use]
    pub fn empty(schema: &Schema, key: &[usize]) -> Self {
        Self::new(RecordBatch::new_empty(schema.arrow().clone()), schema, key, None)
            .expect("no rows have no keys")
    }

    /// An index over these rows. Rows with a NULL in their key are never found; of several rows with one key, and with
    /// versions of one time too, the last counts.
    ///
    /// # Errors
    ///
    /// If there are too many.
    pub fn new(
        rows: RecordBatch,
        schema: &Schema,
        key: &[usize],
        versions: Option<&Versions>,
    ) -> Result<Self, &'static str> {
        let types = key.iter().map(|index| schema.columns()[*index].data_type.clone()).collect();
        let codec = KeyCodec::new(types).map_err(|_| "its key has a type that cannot be one")?;
        let mut index = Self {
            keys: HashTable::new(),
            bytes: Vec::new(),
            ends: Vec::new(),
            order: Vec::new(),
            versions: None,
            replaced: 0,
            rows,
        };
        let columns: Vec<ArrayRef> = key.iter().map(|column| index.rows.column(*column).clone()).collect();
        let mut numbered = Vec::new();
        for from in (0..index.rows.num_rows()).step_by(ROWS_AT_ONCE) {
            let count = ROWS_AT_ONCE.min(index.rows.num_rows() - from);
            let slices: Vec<ArrayRef> = columns.iter().map(|column| column.slice(from, count)).collect();
            index.add(&codec, &slices, from, count, versions.is_some().then_some(&mut numbered))?;
        }
        if let Some(versions) = versions {
            index.order_versions(numbered, versions);
        }
        index.bytes.shrink_to_fit();
        index.ends.shrink_to_fit();
        Ok(index)
    }

    /// Adds rows; with versions only their keys, and which row has which.
    fn add(
        &mut self,
        codec: &KeyCodec,
        columns: &[ArrayRef],
        from: usize,
        count: usize,
        mut numbered: Option<&mut Vec<(u32, u32)>>,
    ) -> Result<(), &'static str> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        codec.encode(columns, count, &mut bytes, &mut ends);
        let mut start = 0;
        for (place, end) in ends.iter().enumerate() {
            let key = &bytes[start..*end as usize];
            start = *end as usize;
            if columns.iter().any(|column| column.is_null(place)) {
                continue;
            }
            let row = u32::try_from(from + place).map_err(|_| TOO_LARGE)?;
            let hash = KeyCodec::hash(key);
            let known = self.number(hash, key);
            let number = match known {
                Some(number) => number,
                None => self.insert(hash, key)?,
            };
            match &mut numbered {
                Some(numbered) => numbered.push((number, row)),
                None if known.is_some() => {
                    self.order[number as usize] = row;
                    self.replaced += 1;
                }
                None => self.order.push(row),
            }
        }
        Ok(())
    }

    fn insert(&mut self, hash: u64, key: &[u8]) -> Result<u32, &'static str> {
        let number = u32::try_from(self.ends.len()).map_err(|_| TOO_LARGE)?;
        self.bytes.extend_from_slice(key);
        self.ends.push(u32::try_from(self.bytes.len()).map_err(|_| TOO_LARGE)?);
        let (bytes, ends) = (&self.bytes, &self.ends);
        self.keys.insert_unique(hash, number, |number| KeyCodec::hash(key_at(bytes, ends, *number)));
        Ok(number)
    }

    fn order_versions(&mut self, mut numbered: Vec<(u32, u32)>, versions: &Versions) {
        let from_ms = |row: u32| versions.0.value(row as usize);
        numbered.sort_unstable_by_key(|(number, row)| (*number, from_ms(*row), *row));
        let before = numbered.len();
        // Of equal ones the last is kept: they are taken from behind.
        numbered.reverse();
        numbered.dedup_by_key(|(number, row)| (*number, from_ms(*row)));
        numbered.reverse();
        self.replaced = before - numbered.len();
        let mut times = Times { ends: Vec::with_capacity(self.ends.len()), from_ms: Vec::new() };
        for same in numbered.chunk_by(|one, other| one.0 == other.0) {
            self.order.extend(same.iter().map(|(_, row)| *row));
            times.from_ms.extend(same.iter().map(|(_, row)| from_ms(*row)));
            times.ends.push(position(self.order.len()));
        }
        self.versions = Some(times);
    }

    /// The row of a key, whose values are not NULL; with versions the one that holds at `at_ms`, the latest where no time
    /// is given.
    #[must_use]
    pub fn find(&self, key: &[u8], at_ms: Option<i64>) -> Option<u32> {
        let number = self.number(KeyCodec::hash(key), key)? as usize;
        let Some(times) = &self.versions else { return Some(self.order[number]) };
        let start = if number == 0 { 0 } else { times.ends[number - 1] as usize };
        let of_key = start..times.ends[number] as usize;
        let before = match at_ms {
            Some(at_ms) => times.from_ms[of_key.clone()].partition_point(|from_ms| *from_ms <= at_ms),
            None => of_key.len(),
        };
        Some(self.order[start + before.checked_sub(1)?])
    }

    fn number(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.keys.find(hash, |number| key_at(&self.bytes, &self.ends, *number) == key).copied()
    }

    /// All rows, in the order of the file.
    #[must_use]
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// How many keys there are.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.ends.len()
    }

    /// How many rows are never found because a later one has their key (and their time).
    #[must_use]
    pub fn replaced(&self) -> usize {
        self.replaced
    }

    /// The heap bytes held, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let times = self.versions.as_ref().map_or(0, |times| times.ends.len() * 4 + times.from_ms.len() * 8);
        let words = self.ends.capacity() + self.order.capacity();
        self.rows.get_array_memory_size()
            + self.bytes.capacity()
            + self.keys.allocation_size()
            + words * 4
            + times
    }
}

fn key_at<'a>(bytes: &'a [u8], ends: &[u32], number: u32) -> &'a [u8] {
    let number = number as usize;
    let start = if number == 0 { 0 } else { ends[number - 1] as usize };
    &bytes[start..ends[number] as usize]
}

/// The number of a row or a place among rows, of which there are not more than [`Index::new`] has counted.
fn position(place: usize) -> u32 {
    u32::try_from(place).expect("rows have been counted in 32 bits")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::StringArray;

    use super::*;
    use crate::record::{Column, SqlType};

    /// Numbers that look random and are the same in every run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % limit
        }
    }

    fn schema() -> Schema {
        Schema::new(vec![
            Column::new("id", SqlType::BigInt, true),
            Column::new("name", SqlType::String, true),
            Column::new("at", SqlType::Timestamp(3), true),
        ])
    }

    fn text(length: u64) -> String {
        (0..length).map(|_| 'x').collect()
    }

    type Row = (Option<i64>, Option<String>, i64);

    fn index(rows: &[Row], key: &[usize], versioned: bool) -> Index {
        let times: Int64Array = rows.iter().map(|row| Some(row.2)).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.1.clone()).collect::<StringArray>()),
            Arc::new(times.reinterpret_cast::<arrow::datatypes::TimestampMillisecondType>()),
        ];
        let versions = versioned.then_some(Versions(times));
        Index::new(schema().rows(columns, rows.len()), &schema(), key, versions.as_ref()).unwrap()
    }

    fn key_bytes(id: Option<i64>, name: Option<&str>) -> Vec<u8> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![id]));
        let names: ArrayRef = Arc::new(StringArray::from(vec![name]));
        let codec = KeyCodec::new(vec![SqlType::BigInt, SqlType::String]).unwrap();
        codec.encode(&[ids, names], 1, &mut bytes, &mut ends);
        bytes
    }

    #[test]
    fn rows_are_found_as_in_a_map() {
        for (seed, keys, rows) in [(1, 1, 10), (2, 7, 100), (3, 1000, 5000), (4, 100_000, 70_000)] {
            let mut numbers = Numbers(seed);
            let rows: Vec<Row> = (0..rows)
                .map(|_| {
                    let id = Some(numbers.below(keys)).filter(|id| *id != 3).map(u64::cast_signed);
                    let name = Some(numbers.below(3)).filter(|name| *name != 2).map(text);
                    (id, name, numbers.below(20).cast_signed())
                })
                .collect();
            let mut naive: BTreeMap<(i64, String), BTreeMap<i64, u32>> = BTreeMap::new();
            let mut last = BTreeMap::new();
            for (number, (id, name, at)) in rows.iter().enumerate() {
                if let (Some(id), Some(name)) = (id, name) {
                    let number = u32::try_from(number).unwrap();
                    naive.entry((*id, name.clone())).or_default().insert(*at, number);
                    last.insert((*id, name.clone()), number);
                }
            }
            let (plain, versioned) = (index(&rows, &[0, 1], false), index(&rows, &[0, 1], true));
            assert_eq!((plain.keys(), versioned.keys()), (last.len(), last.len()));
            let found: usize = rows.iter().filter(|row| row.0.is_some() && row.1.is_some()).count();
            assert_eq!(plain.replaced(), found - last.len(), "seed {seed}");
            assert_eq!(versioned.replaced(), found - naive.values().map(BTreeMap::len).sum::<usize>());
            for _ in 0..2000 {
                let id = numbers.below(keys + 2).cast_signed();
                let name = text(numbers.below(3));
                let key = key_bytes(Some(id), Some(&name));
                let expect = last.get(&(id, name.clone())).copied();
                assert_eq!(plain.find(&key, None), expect, "seed {seed}: {id} {name:?}");
                let at = numbers.below(22).cast_signed() - 1;
                let expect = naive.get(&(id, name.clone()));
                let expect_at = expect.and_then(|times| times.range(..=at).next_back()).map(|(_, row)| *row);
                assert_eq!(versioned.find(&key, Some(at)), expect_at, "seed {seed}: {id} {name:?} at {at}");
                let latest = expect.and_then(|times| times.values().next_back()).copied();
                assert_eq!(versioned.find(&key, None), latest, "seed {seed}: {id} {name:?}");
            }
        }
    }

    #[test]
    fn a_null_is_no_key() {
        let index = index(&[(None, Some("a".to_owned()), 1), (Some(1), None, 1)], &[0, 1], false);
        assert_eq!(index.keys(), 0);
        assert_eq!(index.find(&key_bytes(None, Some("a")), None), None);
    }
}
