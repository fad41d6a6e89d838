//! Which column a key belongs to, mostly without a search: records of one source have their keys in the same order, so
//! the key that followed last time is tried first.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// How many keys are known at most, beyond those of columns: a record with ever new keys must not grow the memory.
const UNKNOWN_MAX: usize = 256;
/// Keys longer than this are not kept.
const KEY_BYTES_MAX: usize = 256;
/// The entry before the first key of an object.
const START: usize = 0;
/// No prediction.
const NONE: usize = usize::MAX;

/// The keys of one kind of object.
pub(super) struct Fields {
    entries: Vec<Entry>,
    /// Positions in `entries` by key; the start is not in it.
    index: HashTable<usize>,
    entries_max: usize,
}

struct Entry {
    key: Box<[u8]>,
    /// The column of the key; none for a key nobody asked for.
    column: Option<usize>,
    /// The entry of the key that followed this one last.
    next: usize,
}

/// A place in the order of an object's keys.
pub(super) struct Previous(usize);

impl Fields {
    /// Fields of these names; the position of a name is its column.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut fields = Self { entries: Vec::new(), index: HashTable::new(), entries_max: usize::MAX };
        fields.entries.push(Entry { key: Box::default(), column: None, next: NONE });
        for (column, name) in names.enumerate() {
            let entry = fields.insert(name.as_bytes(), Some(column));
            fields.entries[entry - 1].next = entry;
        }
        fields.entries_max = fields.entries.len() + UNKNOWN_MAX;
        fields
    }

    /// The place before the first key of an object.
    pub(super) fn start() -> Previous {
        Previous(START)
    }

    /// The column of a key, if one has it, given the key before it.
    #[inline]
    pub(super) fn column(&mut self, previous: &mut Previous, key: &[u8]) -> Option<usize> {
        let guess = self.entries[previous.0].next;
        if let Some(entry) = self.entries.get(guess)
            && *entry.key == *key
        {
            previous.0 = guess;
            return entry.column;
        }
        self.search(previous, key)
    }

    fn search(&mut self, previous: &mut Previous, key: &[u8]) -> Option<usize> {
        let entries = &self.entries;
        let known = self.index.find(xxh3_64(key), |entry| *entries[*entry].key == *key).copied();
        let entry = match known {
            Some(entry) => entry,
            None if self.entries.len() < self.entries_max && key.len() <= KEY_BYTES_MAX => {
                self.insert(key, None)
            }
            // Too many keys to remember: the next one is searched for as well.
            None => return None,
        };
        self.entries[previous.0].next = entry;
        previous.0 = entry;
        self.entries[entry].column
    }

    fn insert(&mut self, key: &[u8], column: Option<usize>) -> usize {
        let position = self.entries.len();
        self.entries.push(Entry { key: key.into(), column, next: NONE });
        let entries = &self.entries;
        self.index.insert_unique(xxh3_64(key), position, |entry| xxh3_64(&entries[*entry].key));
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(fields: &mut Fields, keys: &[&str]) -> Vec<Option<usize>> {
        let mut previous = Fields::start();
        keys.iter().map(|key| fields.column(&mut previous, key.as_bytes())).collect()
    }

    #[test]
    fn any_order_finds_the_same_columns() {
        let mut fields = Fields::new(["a", "b", "c"].into_iter());
        for _ in 0..3 {
            assert_eq!(columns(&mut fields, &["a", "b", "c"]), [Some(0), Some(1), Some(2)]);
            assert_eq!(columns(&mut fields, &["c", "x", "a"]), [Some(2), None, Some(0)]);
            assert_eq!(columns(&mut fields, &["", "b", "b", ""]), [None, Some(1), Some(1), None]);
        }
    }

    #[test]
    fn endless_new_keys_are_not_kept() {
        let mut fields = Fields::new(["a"].into_iter());
        for number in 0..10_000 {
            assert_eq!(columns(&mut fields, &[&format!("k{number}"), "a"]), [None, Some(0)]);
        }
        assert!(fields.entries.len() <= 2 + UNKNOWN_MAX);
    }
}
