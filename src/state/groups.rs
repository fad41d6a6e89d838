//! The groups of a keyed step: key bytes to a group number.
//!
//! Numbers lie in many small hash tables by the slot of their keys (extendible hashing: Fagin et al., "Extendible
//! Hashing — A Fast Access Method for Dynamic Files", 1979). A table that is full is split by one more bit of the slot,
//! so that no growth touches more than a few thousand entries, and few keys need only one table.

use hashbrown::HashTable;

use super::Bits;
use super::keys::Keys;
use crate::mutant::{self, Mutant};
use crate::record::{KeyCodec, SLOTS, slot_of_hash};

/// A table with more entries is split: most of what 4096 buckets hold, so that both halves fit into as few.
const ENTRIES_MAX: usize = 3450;

/// The most bits of the slot that tables are split by.
const DEPTH_MAX: u32 = SLOTS.ilog2();

/// Numbers groups; the number of a group that has gone is used again.
pub struct Groups {
    tables: Vec<Table>,
    /// The table of a slot, by the lowest `depth` bits of the slot.
    directory: Vec<u16>,
    depth: u32,
    keys: Keys,
    free: Free,
    table_bytes: usize,
    /// The view that is being captured.
    view: Option<Box<View>>,
}

/// The groups as they were at one moment, of which some have been captured.
///
/// An undo log at the level of entries: what is about to change is captured first, and a scan captures the rest.
struct View {
    /// Those that have been captured, or that are not of the view.
    done: Bits,
    /// The scan has come to here.
    next: usize,
    /// The view's numbers are below this.
    end: usize,
}

/// Numbers of groups that have gone, bit by bit: when all windows close at once, a list of them would be as large as
/// what they leave.
#[derive(Default)]
struct Free {
    bits: Bits,
    count: usize,
    /// No number below the 64-fold of this is among them.
    first: usize,
}

/// A group as its table holds it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// As many bits of its key's hash as its place takes: where tables grow, no key is looked at.
    bits: u32,
    number: u32,
}

#[derive(Default)]
struct Table {
    entries: HashTable<Entry>,
    /// How many bits of the slot all its entries have in common.
    depth: u32,
}

/// Whether two keys are equal: those of no column and of one integer at once, any other by a call.
#[must_use]
pub fn is_same_key(one: &[u8], other: &[u8]) -> bool {
    const INTEGER: usize = 1 + size_of::<i64>();
    if let (Some(one), Some(other)) = (one.as_array::<INTEGER>(), other.as_array::<INTEGER>()) {
        return one == other;
    }
    // A comparison of no bytes is slow where it reads, under a mask, from an address that is none.
    one.len() == other.len() && (one.is_empty() || one == other)
}

impl Entry {
    /// The bits that the place of a key of this hash depends on: those of the slot, and more.
    #[expect(clippy::cast_possible_truncation, reason = "the bits above are not among them")]
    fn bits(hash: u64) -> u32 {
        (hash >> 25) as u32
    }

    /// The slot of the key; [`slot_of_hash`] of the whole hash.
    fn slot(self) -> u32 {
        slot_of_hash(u64::from(self.bits) << 25)
    }

    /// What the table goes by: its lowest bits choose a place, its highest tell neighbours apart.
    fn spread(bits: u32) -> u64 {
        u64::from(bits).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            tables: vec![Table::default()],
            directory: vec![0],
            depth: 0,
            keys: Keys::default(),
            free: Free::default(),
            table_bytes: 0,
            view: None,
        }
    }
}

impl Free {
    fn give(&mut self, number: u32) {
        self.bits.set(number);
        self.count += 1;
        self.first = self.first.min(number as usize / 64);
    }

    /// The lowest of them.
    fn take(&mut self) -> Option<u32> {
        if self.count == 0 {
            return None;
        }
        let number = self.bits.first_from(self.first)?;
        self.first = number as usize / 64;
        self.bits.clear(number);
        self.count -= 1;
        Some(number)
    }
}

impl View {
    /// Whether the scan has still to come by this number.
    fn holds(&self, number: u32) -> bool {
        (self.next..self.end).contains(&(number as usize))
    }

    /// Notes that a group is captured; whether it had to be.
    fn take(&mut self, number: u32) -> bool {
        self.holds(number) && !self.done.set(number)
    }
}

impl Groups {
    /// The number of the group of `key`, whose hash is `hash` ([`KeyCodec::hash`]); a new key gets a free number.
    pub fn number(&mut self, hash: u64, key: &[u8]) -> u32 {
        self.find(hash, key).unwrap_or_else(|| self.insert(hash, key))
    }

    /// The number of the group of `key`, if there is one.
    #[must_use]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let table = &self.tables[self.table_of(hash)].entries;
        let bits = Entry::bits(hash);
        let is_it = |entry: &Entry| entry.bits == bits && is_same_key(self.keys.get(entry.number), key);
        table.find(Entry::spread(bits), is_it).map(|entry| entry.number)
    }

    /// The numbers of all groups of `key`: several where [`Groups::insert`] has made them.
    pub fn find_all<'a>(&'a self, hash: u64, key: &'a [u8]) -> impl Iterator<Item = u32> + 'a {
        let table = &self.tables[self.table_of(hash)].entries;
        let numbers = table.iter_hash(Entry::spread(Entry::bits(hash))).map(|entry| entry.number);
        numbers.filter(move |number| is_same_key(self.keys.get(*number), key))
    }

    /// A new group of `key`, whether or not there is one.
    pub fn insert(&mut self, hash: u64, key: &[u8]) -> u32 {
        debug_assert_eq!(hash, KeyCodec::hash(key), "groups are found by the hash of their keys");
        let number = match self.free.take() {
            Some(number) => {
                self.keys.set(number, key);
                if let Some(view) = &mut self.view {
                    // It was free when the view began, or has been captured before it was removed.
                    view.done.set(number);
                }
                number
            }
            None => self.keys.push(key),
        };
        let mut index = self.table_of(hash);
        while self.tables[index].entries.len() >= ENTRIES_MAX && self.tables[index].depth < DEPTH_MAX {
            self.split(index);
            index = self.table_of(hash);
        }
        let table = &mut self.tables[index].entries;
        let before = table.allocation_size();
        let bits = Entry::bits(hash);
        table.insert_unique(Entry::spread(bits), Entry { bits, number }, |entry| Entry::spread(entry.bits));
        self.table_bytes = self.table_bytes + table.allocation_size() - before;
        number
    }

    /// Forgets a group; its number will be used again.
    ///
    /// A group of a view has to be captured before ([`Groups::take_uncaptured`]).
    ///
    /// # Panics
    ///
    /// If there is no such group.
    pub fn remove(&mut self, number: u32) {
        debug_assert!(!self.is_uncaptured(number), "a group of a view is captured before it goes");
        let hash = KeyCodec::hash(self.keys.get(number));
        let index = self.table_of(hash);
        let spread = Entry::spread(Entry::bits(hash));
        let entry = self.tables[index].entries.find_entry(spread, |other| other.number == number);
        entry.expect("a group is removed once").remove();
        self.free.give(number);
    }

    /// Begins a view of the groups as they are now: from here on [`Groups::scan`] and [`Groups::take_uncaptured`] together
    /// name each of them once.
    pub fn begin_view(&mut self) {
        self.view = Some(Box::new(View { done: Bits::default(), next: 0, end: self.keys.len() }));
    }

    /// Gives the view up.
    pub fn end_view(&mut self) {
        self.view = None;
    }

    /// Whether a view has begun and groups of it may still have to be captured.
    #[must_use]
    pub fn has_view(&self) -> bool {
        self.view.is_some()
    }

    /// Those of these groups that belong to the view and have not been captured, each once; the caller captures them now,
    /// before it changes or removes them. Numbers that are no group's are passed over.
    pub fn take_uncaptured(&mut self, numbers: &[u32]) -> Vec<u32> {
        let mut taken = Vec::new();
        if let Some(view) = self.view.as_mut().filter(|_| !mutant::is(Mutant::ViewNotSaved)) {
            let free = &self.free.bits;
            taken.extend(numbers.iter().copied().filter(|number| !free.get(*number) && view.take(*number)));
        }
        taken
    }

    /// The next groups of the view that have not been captured, at most `count`, which the caller captures now; none once
    /// there are no more, which ends the view.
    pub fn scan(&mut self, count: usize) -> Vec<u32> {
        let mut taken = Vec::new();
        let Some(view) = &mut self.view else { return taken };
        while taken.len() < count && view.next < view.end {
            let number = u32::try_from(view.next).expect("one shard holds fewer than 4 G keys");
            if number.is_multiple_of(64) && view.done.word(number) | self.free.bits.word(number) == u64::MAX {
                // What has been captured before or is free is passed over without a look at each.
                view.next += 64;
                continue;
            }
            view.next += 1;
            if !view.done.get(number) && !self.free.bits.get(number) {
                taken.push(number);
            }
        }
        if taken.is_empty() {
            self.view = None;
        }
        taken
    }

    fn is_uncaptured(&self, number: u32) -> bool {
        self.view.as_ref().is_some_and(|view| view.holds(number) && !view.done.get(number))
    }

    /// The key of a group.
    #[must_use]
    pub fn key(&self, number: u32) -> &[u8] {
        self.keys.get(number)
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len() - self.free.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All numbers are below this.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.keys.len()
    }

    /// The numbers of all groups, ascending. Walks over all numbers.
    #[must_use]
    pub fn numbers(&self) -> Vec<u32> {
        let all = 0..u32::try_from(self.keys.len()).expect("one shard holds fewer than 4 G keys");
        if self.free.count == 0 {
            return all.collect();
        }
        all.filter(|number| !self.free.bits.get(*number)).collect()
    }

    /// The heap bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.table_bytes
            + self.keys.bytes()
            + self.free.bits.bytes()
            + self.directory.capacity() * size_of::<u16>()
            + self.tables.capacity() * size_of::<Table>()
    }

    fn table_of(&self, hash: u64) -> usize {
        let bits = slot_of_hash(hash) as usize & (self.directory.len() - 1);
        usize::from(self.directory[bits])
    }

    /// Splits a table by one more bit of the slot.
    fn split(&mut self, index: usize) {
        let bit = self.tables[index].depth;
        if bit == self.depth {
            self.directory.extend_from_within(..);
            self.depth += 1;
        }
        let old = std::mem::take(&mut self.tables[index]).entries;
        self.table_bytes -= old.allocation_size();
        let mut halves = [HashTable::with_capacity(old.len() / 2), HashTable::with_capacity(old.len() / 2)];
        for entry in old {
            let half = entry.slot() >> bit & 1;
            let spread = |entry: &Entry| Entry::spread(entry.bits);
            halves[half as usize].insert_unique(spread(&entry), entry, spread);
        }
        let new = u16::try_from(self.tables.len()).expect("as many tables as slots at most");
        let [low, high] = halves;
        self.table_bytes += low.allocation_size() + high.allocation_size();
        self.tables[index] = Table { entries: low, depth: bit + 1 };
        self.tables.push(Table { entries: high, depth: bit + 1 });
        let replaced = self
            .directory
            .iter_mut()
            .enumerate()
            .filter(|(slot, table)| usize::from(**table) == index && slot >> bit & 1 == 1);
        replaced.for_each(|(_, table)| *table = new);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn number(groups: &mut Groups, key: u32) -> u32 {
        let key = key.to_le_bytes();
        groups.number(KeyCodec::hash(&key), &key)
    }

    #[test]
    fn keys_keep_their_number_through_all_splits() {
        let mut groups = Groups::default();
        for round in 0..2 {
            for key in 0..100_000 {
                assert_eq!(number(&mut groups, key), key, "round {round}");
            }
        }
        assert_eq!(groups.len(), 100_000);
        assert_eq!(groups.key(4711), 4711_u32.to_le_bytes());
        assert!(groups.tables.len() > 30 && groups.tables.iter().all(|t| t.entries.len() <= ENTRIES_MAX));
        let walked: usize = groups.tables.iter().map(|table| table.entries.allocation_size()).sum();
        assert_eq!(groups.table_bytes, walked);
        // 4 bytes of key; what the table costs a key is the rest.
        assert!(groups.bytes() < 100_000 * 17, "{}", groups.bytes());
    }

    #[test]
    fn groups_come_and_go() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut groups = Groups::default();
        let mut model: BTreeMap<u32, u32> = BTreeMap::new();
        for _ in 0..200_000 {
            let key = random.u32(0..10_000);
            if random.u8(..) < 100 {
                if let Some(known) = model.remove(&key) {
                    groups.remove(known);
                }
            } else {
                let found = number(&mut groups, key);
                assert_eq!(*model.entry(key).or_insert(found), found);
            }
        }
        assert_eq!(groups.len(), model.len());
        assert!(groups.capacity() <= 10_000);
        let mut numbers: Vec<u32> = model.values().copied().collect();
        numbers.sort_unstable();
        assert_eq!(groups.numbers(), numbers);
        for key in 0..10_000_u32 {
            let bytes = key.to_le_bytes();
            assert_eq!(groups.find(KeyCodec::hash(&bytes), &bytes), model.get(&key).copied());
        }
    }

    #[test]
    fn a_view_names_each_of_its_groups_once_before_it_changes() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..200 {
            let mut groups = Groups::default();
            let keys = random.u32(1..500);
            for _ in 0..keys {
                number(&mut groups, random.u32(0..keys));
            }
            for number in groups.numbers() {
                if random.u8(..) < 60 {
                    groups.remove(number);
                }
            }
            let mut expect: Vec<Vec<u8>> =
                groups.numbers().into_iter().map(|number| groups.key(number).to_vec()).collect();
            groups.begin_view();
            let mut seen: Vec<Vec<u8>> = Vec::new();
            while groups.has_view() {
                let key = random.u32(0..keys).to_le_bytes();
                let found = groups.find(KeyCodec::hash(&key), &key);
                let any = random.u32(0..u32::try_from(groups.capacity()).unwrap());
                if !groups.numbers().contains(&any) {
                    assert!(groups.take_uncaptured(&[any]).is_empty(), "it is no group's number");
                }
                match (random.u8(0..3), found) {
                    (0, Some(found)) => {
                        let taken = groups.take_uncaptured(&[found, found]);
                        seen.extend(taken.iter().map(|number| groups.key(*number).to_vec()));
                        groups.remove(found);
                    }
                    (1, None) => {
                        let new = groups.insert(KeyCodec::hash(&key), &key);
                        assert!(groups.take_uncaptured(&[new]).is_empty(), "it came behind the view");
                    }
                    _ => {
                        let taken = groups.scan(random.usize(1..20));
                        seen.extend(taken.iter().map(|number| groups.key(*number).to_vec()));
                    }
                }
            }
            expect.sort();
            seen.sort();
            assert_eq!(seen, expect);
        }
    }

    #[test]
    fn a_key_may_have_several_groups() {
        let mut groups = Groups::default();
        let hash = KeyCodec::hash(b"a");
        let (first, second) = (groups.insert(hash, b"a"), groups.insert(hash, b"a"));
        groups.insert(KeyCodec::hash(b"b"), b"b");
        let mut found: Vec<u32> = groups.find_all(hash, b"a").collect();
        found.sort_unstable();
        assert_eq!(found, [first, second]);
        groups.remove(first);
        assert_eq!(groups.find_all(hash, b"a").collect::<Vec<_>>(), [second]);
    }
}
