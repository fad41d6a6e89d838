//! The groups of an aggregation: key bytes to a dense group number.

use hashbrown::HashTable;

use crate::record::{SLOTS, slot_of_hash};

/// How many hash tables the slots share: each grows alone, so that no growth touches more than a small part.
const TABLES: usize = 64;

/// Numbers groups in the order in which their keys are first seen.
pub struct Groups {
    /// By the upper bits of the slot; the bits inside a table are others.
    tables: Vec<HashTable<u32>>,
    hashes: Vec<u64>,
    keys: Vec<u8>,
    /// The end of each group's key in `keys`.
    ends: Vec<usize>,
}

impl Default for Groups {
    fn default() -> Self {
        let tables = (0..TABLES).map(|_| HashTable::new()).collect();
        Self { tables, hashes: Vec::new(), keys: Vec::new(), ends: Vec::new() }
    }
}

impl Groups {
    /// The number of the group of `key`, whose hash is `hash`; a new key gets the next number.
    pub fn number(&mut self, hash: u64, key: &[u8]) -> u32 {
        let Self { tables, hashes, keys, ends } = self;
        let table = &mut tables[slot_of_hash(hash) as usize * TABLES / SLOTS as usize];
        let same =
            |group: &u32| hashes[*group as usize] == hash && key_of(keys, ends, *group as usize) == key;
        if let Some(group) = table.find(hash, same) {
            return *group;
        }
        let group = u32::try_from(hashes.len()).expect("one shard holds fewer than 4 G groups");
        hashes.push(hash);
        keys.extend_from_slice(key);
        ends.push(keys.len());
        table.insert_unique(hash, group, |group| hashes[*group as usize]);
        group
    }

    /// The key of a group.
    #[must_use]
    pub fn key(&self, group: usize) -> &[u8] {
        key_of(&self.keys, &self.ends, group)
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

fn key_of<'a>(keys: &'a [u8], ends: &[usize], group: usize) -> &'a [u8] {
    let start = if group == 0 { 0 } else { ends[group - 1] };
    &keys[start..ends[group]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::KeyCodec;

    #[test]
    fn keys_keep_their_number() {
        let mut groups = Groups::default();
        for round in 0..2 {
            for number in 0_u32..5000 {
                let key = number.to_le_bytes();
                assert_eq!(groups.number(KeyCodec::hash(&key), &key), number, "round {round}");
            }
        }
        assert_eq!(groups.len(), 5000);
        assert_eq!(groups.key(4711), 4711_u32.to_le_bytes());
    }

    #[test]
    fn equal_hashes_are_not_equal_keys() {
        let mut groups = Groups::default();
        assert_eq!(groups.number(7, b"a"), 0);
        assert_eq!(groups.number(7, b"b"), 1);
        assert_eq!(groups.number(7, b""), 2);
        assert_eq!(groups.number(7, b"a"), 0);
    }
}
