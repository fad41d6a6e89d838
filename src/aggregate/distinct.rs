//! DISTINCT: passes each value of a group on once, to an accumulator of any function.
//!
//! One table holds the values of all groups, by group and key bytes ([`KeyCodec`]); the values of a group are chained,
//! so that emptying or folding a group walks only its own. Where rows are taken back, each value is counted, and leaves
//! with its last row. A value of at most 14 key bytes (BIGINT has 9, a text 5 and itself) takes 24 bytes and some 6 to
//! 10 in the table; a longer one its bytes and 32 more; counting adds 16.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array, new_empty_array};
use arrow::compute::take;
use arrow::datatypes::{Field, Float32Type, Float64Type};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::saved::{column, counted, counted_type, elements, list_type, lists, values_and_counts};
use super::{Accumulator, for_each_row, for_each_value};
use crate::record::{KeyCodec, SqlType};
use crate::state::Pages;

/// How many hash tables the values share: each grows alone, so that no growth touches more than a part.
const TABLES: usize = 32;

/// The end of a chain. Places are counted from 1, so that new groups, which are all zero, have an empty one.
const NONE: u32 = 0;

/// An accumulator that is given each value of a group once.
pub(super) struct OnlyDistinct {
    inner: Box<dyn Accumulator>,
    argument: SqlType,
    codec: KeyCodec,
    /// Whether NULL is a value too.
    nulls: bool,
    values: Values,
}

/// The values of all groups.
struct Values {
    /// Places of values, by group and key.
    tables: Vec<HashTable<u32>>,
    places: Pages<Value>,
    /// For each value what only a changelog needs; empty where nothing is taken back.
    counted: Option<Pages<Counted>>,
    /// The value of each group that came last.
    heads: Pages<u32>,
    /// A chain of places to use again.
    free: u32,
    /// The heap bytes of long keys.
    heap: usize,
}

#[derive(Default)]
struct Value {
    key: Key,
    group: u32,
    /// The value of the same group that came before.
    next: u32,
}

#[derive(Clone, Copy, Default)]
struct Counted {
    /// How many rows have the value.
    rows: i64,
    /// The value of the same group that came after: values can leave from within a chain.
    previous: u32,
}

/// The bytes of a key.
#[derive(Clone)]
enum Key {
    Short(u8, [u8; Key::SHORT]),
    /// Behind a thin pointer, so that short keys stay at 16 bytes.
    Long(Box<Box<[u8]>>),
}

impl Default for Key {
    fn default() -> Self {
        Self::Short(0, [0; Self::SHORT])
    }
}

impl Key {
    const SHORT: usize = 14;

    fn of(bytes: &[u8]) -> Self {
        match u8::try_from(bytes.len()) {
            Ok(length) if bytes.len() <= Self::SHORT => {
                let mut short = [0; Self::SHORT];
                short[..bytes.len()].copy_from_slice(bytes);
                Self::Short(length, short)
            }
            _ => Self::Long(Box::new(bytes.into())),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(length, bytes) => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }

    fn heap(&self) -> usize {
        match self {
            Self::Short(..) => 0,
            Self::Long(bytes) => bytes.len() + size_of::<Box<[u8]>>() + 16,
        }
    }
}

/// The hash of a group's value: the upper half decides the table.
fn hash_of(group: u32, key: &[u8]) -> u64 {
    let mixed = (KeyCodec::hash(key) ^ u64::from(group)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

fn table_of(hash: u64) -> usize {
    usize::try_from(hash >> 40).expect("24 bits") % TABLES
}

impl Values {
    fn new(retracts: bool) -> Self {
        let mut values = Self {
            tables: (0..TABLES).map(|_| HashTable::new()).collect(),
            places: Pages::default(),
            counted: retracts.then(Pages::default),
            heads: Pages::default(),
            free: NONE,
            heap: 0,
        };
        // Place 0 is taken by nobody.
        values.places.push(Value::default());
        if let Some(counted) = &mut values.counted {
            counted.push(Counted::default());
        }
        values
    }

    /// Adds rows of a group that have this value. Whether it is new.
    fn add(&mut self, group: u32, key: &[u8], rows: i64) -> bool {
        let Self { tables, places, .. } = self;
        let hash = hash_of(group, key);
        let same = |place: &u32| {
            let value = &places[*place as usize];
            value.group == group && value.key.bytes() == key
        };
        let rehash = |place: &u32| {
            let value = &places[*place as usize];
            hash_of(value.group, value.key.bytes())
        };
        let (place, new) = match tables[table_of(hash)].entry(hash, same, rehash) {
            Entry::Occupied(entry) => (*entry.get(), false),
            Entry::Vacant(entry) => {
                let fresh = u32::try_from(places.len()).expect("one shard holds fewer than 4 G values");
                let place = if self.free == NONE { fresh } else { self.free };
                entry.insert(place);
                (place, true)
            }
        };
        if new {
            self.settle(place, group, Key::of(key));
        }
        if let Some(counted) = &mut self.counted {
            counted[place as usize].rows += rows;
        }
        new
    }

    /// Puts a value into its place and in front of its group's chain.
    fn settle(&mut self, place: u32, group: u32, key: Key) {
        self.heap += key.heap();
        let next = std::mem::replace(&mut self.heads[group as usize], place);
        let value = Value { key, group, next };
        if place as usize == self.places.len() {
            self.places.push(value);
            if let Some(counted) = &mut self.counted {
                counted.push(Counted::default());
            }
        } else {
            self.free = self.places[place as usize].next;
            self.places[place as usize] = value;
        }
        if let Some(counted) = &mut self.counted {
            counted[place as usize] = Counted::default();
            if next != NONE {
                counted[next as usize].previous = place;
            }
        }
    }

    /// Takes a row of a group back. Whether it was the last one of its value, which then has left.
    fn remove(&mut self, group: u32, key: &[u8]) -> bool {
        let hash = hash_of(group, key);
        let same = |place: &u32| {
            let value = &self.places[*place as usize];
            value.group == group && value.key.bytes() == key
        };
        let Some(place) = self.tables[table_of(hash)].find(hash, same).copied() else { return false };
        let counted = self.counted.as_mut().expect("only calls that may retract do");
        let count = &mut counted[place as usize];
        count.rows -= 1;
        if count.rows > 0 {
            return false;
        }
        let (previous, next) = (count.previous, self.places[place as usize].next);
        if next != NONE {
            counted[next as usize].previous = previous;
        }
        match previous {
            NONE => self.heads[group as usize] = next,
            _ => self.places[previous as usize].next = next,
        }
        self.leave(place);
        true
    }

    /// Takes a value that is no longer chained out of the table, and frees its place. Yields its key.
    fn leave(&mut self, place: u32) -> Key {
        let Self { tables, places, .. } = self;
        let value = &places[place as usize];
        let hash = hash_of(value.group, value.key.bytes());
        if let Ok(entry) = tables[table_of(hash)].find_entry(hash, |other| *other == place) {
            entry.remove();
        }
        let value = &mut self.places[place as usize];
        value.next = std::mem::replace(&mut self.free, place);
        let key = std::mem::take(&mut value.key);
        self.heap -= key.heap();
        key
    }

    /// The places of a group's values in the order of their arrival.
    fn of_group(&self, group: u32) -> Vec<u32> {
        let first = self.heads[group as usize];
        let mut places: Vec<u32> = std::iter::successors((first != NONE).then_some(first), |place| {
            Some(self.places[*place as usize].next).filter(|next| *next != NONE)
        })
        .collect();
        places.reverse();
        places
    }

    /// How many rows have the value at a place, where that is counted.
    fn rows(&self, place: u32) -> i64 {
        self.counted.as_ref().map_or(1, |counted| counted[place as usize].rows)
    }

    /// Empties a group. Yields its values and how many rows have each, in the order of their arrival.
    fn take(&mut self, group: u32) -> Vec<(Key, i64)> {
        let places = self.of_group(group);
        self.heads[group as usize] = NONE;
        places
            .into_iter()
            .map(|place| (self.rows(place), self.leave(place)))
            .map(|(n, key)| (key, n))
            .collect()
    }

    fn bytes(&self) -> usize {
        let slots: usize = self.tables.iter().map(HashTable::allocation_size).sum();
        let counted = self.counted.as_ref().map_or(0, Pages::bytes);
        self.places.bytes() + counted + self.heads.bytes() + slots + self.heap
    }
}

/// The argument with one zero and one NaN, as keys have them: the row that takes a value back may spell it otherwise
/// than the row that brought it.
fn canonical(argument: &ArrayRef) -> ArrayRef {
    if let Some(doubles) = argument.as_primitive_opt::<Float64Type>() {
        return Arc::new(doubles.unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v + 0.0 }));
    }
    if let Some(floats) = argument.as_primitive_opt::<Float32Type>() {
        return Arc::new(floats.unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v + 0.0 }));
    }
    argument.clone()
}

/// Values that are passed on, one after the other.
#[derive(Default)]
struct Passed {
    keys: Vec<Key>,
    groups: Vec<u32>,
}

impl OnlyDistinct {
    /// An accumulator in front of `inner`, which takes one argument of this type.
    pub(super) fn new(inner: Box<dyn Accumulator>, argument: SqlType, nulls: bool, retracts: bool) -> Self {
        let codec = KeyCodec::new(vec![argument.clone()]).expect("resolved to a type that can be a key");
        Self { inner, argument, codec, nulls, values: Values::new(retracts) }
    }

    /// The rows among these that `is_passed` says are passed on, with their groups.
    fn passed(
        &mut self,
        rows: &[u32],
        groups: &[u32],
        arguments: &[ArrayRef],
        filter: Option<&BooleanArray>,
        is_passed: fn(&mut Values, u32, &[u8]) -> bool,
    ) -> (Vec<u32>, Vec<u32>) {
        let (mut chosen, mut theirs) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        let choose = |row: usize, group: usize| {
            chosen.push(u32::try_from(row).expect("given in 32 bits"));
            theirs.push(u32::try_from(group).expect("given in 32 bits"));
        };
        if self.nulls {
            for_each_row(rows, groups, filter, choose);
        } else {
            for_each_value(rows, groups, arguments[0].as_ref(), filter, choose);
        }
        let column = take(arguments[0].as_ref(), &UInt32Array::from(chosen.clone()), None)
            .expect("rows are of this batch");
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(chosen.len()));
        self.codec.encode(&[column], chosen.len(), &mut bytes, &mut ends);
        let (mut start, mut kept) = (0, 0);
        for (index, end) in ends.iter().map(|end| *end as usize).enumerate() {
            if is_passed(&mut self.values, theirs[index], &bytes[start..end]) {
                (chosen[kept], theirs[kept]) = (chosen[index], theirs[index]);
                kept += 1;
            }
            start = end;
        }
        chosen.truncate(kept);
        theirs.truncate(kept);
        (chosen, theirs)
    }

    /// Adds values that have come from other groups to the inner accumulator.
    fn pass(&mut self, passed: &Passed) {
        if passed.keys.is_empty() {
            return;
        }
        let arguments = self.codec.decode(passed.keys.iter().map(Key::bytes));
        let count = u32::try_from(passed.keys.len()).expect("one shard holds fewer than 4 G values");
        let rows: Vec<u32> = (0..count).collect();
        self.inner.add(&rows, &passed.groups, &arguments, None);
    }
}

impl Accumulator for OnlyDistinct {
    fn resize(&mut self, groups: usize) {
        self.inner.resize(groups);
        self.values.heads.resize(groups);
    }

    fn add(&mut self, rows: &[u32], groups: &[u32], arguments: &[ArrayRef], filter: Option<&BooleanArray>) {
        let is_new = |values: &mut Values, group: u32, key: &[u8]| values.add(group, key, 1);
        let (rows, groups) = self.passed(rows, groups, arguments, filter, is_new);
        self.inner.add(&rows, &groups, &[canonical(&arguments[0])], None);
    }

    fn retract(
        &mut self,
        rows: &[u32],
        groups: &[u32],
        arguments: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) {
        let (rows, groups) = self.passed(rows, groups, arguments, filter, Values::remove);
        self.inner.retract(&rows, &groups, &[canonical(&arguments[0])], None);
    }

    fn merge(&mut self, into: &[u32], other: &dyn Accumulator, from: &[u32]) {
        let other = other.as_any().downcast_ref::<Self>().expect("accumulators of one call are of one type");
        let mut passed = Passed::default();
        for (into, from) in into.iter().zip(from) {
            for place in other.values.of_group(*from) {
                let key = &other.values.places[place as usize].key;
                if self.values.add(*into, key.bytes(), other.values.rows(place)) {
                    passed.keys.push(key.clone());
                    passed.groups.push(*into);
                }
            }
        }
        self.pass(&passed);
    }

    fn fold(&mut self, into: u32, from: u32) {
        if into == from {
            return;
        }
        let mut passed = Passed::default();
        for (key, rows) in self.values.take(from) {
            if self.values.add(into, key.bytes(), rows) {
                passed.keys.push(key);
                passed.groups.push(into);
            }
        }
        self.inner.clear(&[from]);
        self.pass(&passed);
    }

    fn clear(&mut self, groups: &[u32]) {
        for group in groups {
            self.values.take(*group);
        }
        self.inner.clear(groups);
    }

    fn finish(&self, groups: &[u32]) -> ArrayRef {
        self.inner.finish(groups)
    }

    fn saved(&self) -> Vec<Field> {
        let value = self.argument.arrow();
        let element = if self.values.counted.is_some() { counted_type(value) } else { value };
        let mut fields = self.inner.saved();
        fields.push(column("values", list_type(element)));
        fields
    }

    fn save(&self, groups: &[u32]) -> Vec<ArrayRef> {
        let (mut places, mut lengths) = (Vec::new(), Vec::with_capacity(groups.len()));
        for group in groups {
            let before = places.len();
            places.extend(self.values.of_group(*group));
            lengths.push(places.len() - before);
        }
        let keys = places.iter().map(|place| self.values.places[*place as usize].key.bytes());
        // A NULL without a type has no values and no columns either.
        let values = if places.is_empty() {
            new_empty_array(&self.argument.arrow())
        } else {
            self.codec.decode(keys).remove(0)
        };
        let elements = if self.values.counted.is_some() {
            counted(values, places.iter().map(|place| self.values.rows(*place)).collect())
        } else {
            values
        };
        let mut columns = self.inner.save(groups);
        columns.push(lists(lengths.into_iter().map(Some), elements));
        columns
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) {
        let (own, inner) = columns.split_last().expect("the values have a column");
        self.inner.load(groups, inner);
        let (elements, ranges) = elements(own);
        if elements.is_empty() {
            return;
        }
        let (values, counts) = if self.values.counted.is_some() {
            let (values, counts) = values_and_counts(&elements);
            (values, Some(counts))
        } else {
            (&elements, None)
        };
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(values.len()));
        self.codec.encode(std::slice::from_ref(values), values.len(), &mut bytes, &mut ends);
        let mut start = 0;
        for (group, range) in groups.iter().zip(ranges) {
            for row in range {
                let end = ends[row] as usize;
                self.values.add(*group, &bytes[start..end], counts.map_or(1, |counts| counts.value(row)));
                start = end;
            }
        }
    }

    fn bytes(&self) -> usize {
        self.inner.bytes() + self.values.bytes()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;
    use crate::aggregate::{Argument, Call, accumulator};

    fn count_distinct(retracts: bool) -> Box<dyn Accumulator> {
        accumulator(&Call {
            function: "COUNT",
            arguments: vec![Argument::column(SqlType::BigInt)],
            result: SqlType::BigInt,
            ordered: true,
            retracts,
            distinct: true,
        })
    }

    #[test]
    fn a_value_takes_few_bytes() {
        assert_eq!((size_of::<Key>(), size_of::<Value>()), (16, 24));
        for (groups, each) in [(1, 200_000_i64), (50_000, 4)] {
            let mut counts = count_distinct(false);
            counts.resize(groups as usize);
            for group in 0..groups {
                let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..each));
                let rows: Vec<u32> = (0..u32::try_from(each).unwrap()).collect();
                counts.add(&rows, &vec![group; rows.len()], &[column], None);
            }
            let values = usize::try_from(i64::from(groups) * each).unwrap();
            let bytes = counts.bytes() / values;
            assert!(bytes <= 42, "{bytes} bytes a value, {each} in each of {groups} groups");
            let all: Vec<u32> = (0..groups).collect();
            let used = counts.bytes();
            counts.clear(&all);
            assert_eq!(counts.finish(&[0]).as_ref(), &Int64Array::from(vec![0]));
            let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..each));
            let rows: Vec<u32> = (0..u32::try_from(each).unwrap()).collect();
            counts.add(&rows, &vec![0; rows.len()], &[column], None);
            assert_eq!(counts.finish(&[0]).as_ref(), &Int64Array::from(vec![each]));
            assert!(counts.bytes() <= used, "places are used again");
        }
    }

    #[test]
    fn a_value_stays_until_its_last_row_is_taken_back() {
        let mut counts = count_distinct(true);
        counts.resize(1);
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), Some(5), None, Some(7)]));
        let mut check = |change: fn(&mut dyn Accumulator, &[u32], &ArrayRef), rows: &[u32], expect| {
            change(counts.as_mut(), rows, &column);
            assert_eq!(counts.finish(&[0]).as_ref(), &Int64Array::from(vec![expect]));
        };
        let add: fn(&mut dyn Accumulator, &[u32], &ArrayRef) = |counts, rows, column| {
            counts.add(rows, &vec![0; rows.len()], std::slice::from_ref(column), None);
        };
        let retract: fn(&mut dyn Accumulator, &[u32], &ArrayRef) = |counts, rows, column| {
            counts.retract(rows, &vec![0; rows.len()], std::slice::from_ref(column), None);
        };
        check(add, &[0, 1, 2, 3], 2);
        check(retract, &[0, 2], 2);
        check(retract, &[1], 1);
        check(add, &[0], 2);
        check(retract, &[3, 0], 0);
    }
}
