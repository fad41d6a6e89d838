//! What one side of a join keeps: its rows, which of them have one key, when each may go, how many partners each has.
//!
//! The rows of a key are a ring in the order in which they came, whose first the join knows; so a row can leave from
//! anywhere at once.

use arrow::array::ArrayRef;
use hashbrown::HashTable;

use super::rows::{KeptRows, NONE};
use super::view::View;
use crate::operator::row_bytes::RowBytes;
use crate::record::{KeyCodec, Schema};
use crate::state::{Bits, Pages, Timers};

/// The first rows of the keys, `[group][side]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Firsts(pub [u32; 2]);

impl Default for Firsts {
    fn default() -> Self {
        Self([NONE; 2])
    }
}

/// The rings of one side.
pub(super) struct Rings<'a> {
    /// Those of both.
    pub firsts: &'a mut Pages<Firsts>,
    /// The side.
    pub side: usize,
}

impl Rings<'_> {
    fn first(&mut self, group: u32) -> &mut u32 {
        &mut self.firsts[group as usize].0[self.side]
    }
}

/// How a side keeps its rows.
#[derive(Clone, Debug)]
pub(super) struct Keeping {
    /// The columns of its rows.
    pub schema: Schema,
    /// How long behind its time a row is kept, milliseconds of event time; none for ever.
    pub for_ms: Option<i64>,
    /// Whether the partners of each row are counted.
    pub counts: bool,
    /// Whether rows may be taken back.
    pub changelog: bool,
}

/// A place in the ring of a key.
#[derive(Clone, Copy)]
struct Link {
    next: u32,
    /// [`NONE`] where there is no row.
    previous: u32,
    group: u32,
}

impl Default for Link {
    fn default() -> Self {
        Self { next: NONE, previous: NONE, group: NONE }
    }
}

/// A row as it is kept beside its columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub group: u32,
    /// The time from which it is kept, milliseconds; 0 where rows are kept for ever.
    pub at_ms: i64,
    /// How many partners it has; 0 where they are not counted.
    pub partners: i32,
    /// Whether it takes back a row that has not come yet.
    pub owed: bool,
}

/// The rows of one side.
pub(super) struct Side {
    keeping: Keeping,
    rows: KeptRows,
    links: Pages<Link>,
    times_ms: Pages<i64>,
    partners: Pages<i32>,
    timers: Timers,
    index: Option<Index>,
    /// Rows that have left their rings and are still in the pages.
    left: Vec<u32>,
    /// What is being captured.
    pub view: Option<View>,
}

/// Finds rows by their bytes.
struct Index {
    codec: RowBytes,
    hashes: Pages<u64>,
    table: HashTable<u32>,
    owed: Bits,
}

impl Side {
    /// A side without rows.
    pub fn new(keeping: &Keeping) -> Self {
        let index = keeping.changelog.then(|| Index {
            codec: RowBytes::new(&keeping.schema),
            hashes: Pages::default(),
            table: HashTable::new(),
            owed: Bits::default(),
        });
        Self {
            rows: KeptRows::new(&keeping.schema),
            links: Pages::default(),
            times_ms: Pages::default(),
            partners: Pages::default(),
            timers: Timers::new(keeping.for_ms.unwrap_or(0).max(1)),
            index,
            left: Vec::new(),
            view: None,
            keeping: keeping.clone(),
        }
    }

    /// The rows.
    pub fn rows(&self) -> &KeptRows {
        &self.rows
    }

    /// How its rows are kept.
    pub fn keeping(&self) -> &Keeping {
        &self.keeping
    }

    /// How the bytes of rows are written, where rows may be taken back.
    pub fn codec(&self) -> Option<&RowBytes> {
        self.index.as_ref().map(|index| &index.codec)
    }

    /// Whether a row of this time is still kept when the watermark is here.
    pub fn keeps(&self, at_ms: i64, watermark_ms: i64) -> bool {
        self.keeping.for_ms.is_none_or(|for_ms| at_ms.saturating_add(for_ms) > watermark_ms)
    }

    /// Puts the rows at these positions of columns into pages. Returns their numbers. They are in no ring yet.
    pub fn add(&mut self, columns: &[ArrayRef], positions: &[u32]) -> Vec<u32> {
        let numbers = self.rows.add(columns, positions);
        self.make_room();
        numbers
    }

    /// Enters a row that is in a page into the ring of its key, behind the others. `hash` is that of its bytes, where rows may
    /// be taken back.
    pub fn enter(&mut self, number: u32, entry: Entry, hash: u64, rings: &mut Rings<'_>) {
        self.link(number, entry.group, rings.first(entry.group));
        let at = number as usize;
        if let Some(for_ms) = self.keeping.for_ms {
            self.times_ms[at] = entry.at_ms;
            self.timers.set(entry.at_ms.saturating_add(for_ms), number);
        }
        if self.keeping.counts {
            self.partners[at] = entry.partners;
        }
        if let Some(index) = &mut self.index {
            index.hashes[at] = hash;
            if entry.owed {
                index.owed.set(number);
            } else {
                index.owed.clear(number);
            }
            let Index { table, hashes, .. } = index;
            table.insert_unique(hash, number, |other| hashes[*other as usize]);
        }
        if let Some(view) = &mut self.view {
            view.exclude(number);
        }
    }

    fn make_room(&mut self) {
        let capacity = self.rows.capacity();
        if self.links.len() < capacity {
            self.links.resize(capacity);
            if self.keeping.for_ms.is_some() {
                self.times_ms.resize(capacity);
            }
            if self.keeping.counts {
                self.partners.resize(capacity);
            }
            if let Some(index) = &mut self.index {
                index.hashes.resize(capacity);
            }
        }
    }

    fn link(&mut self, number: u32, group: u32, first: &mut u32) {
        if *first == NONE {
            *first = number;
            self.links[number as usize] = Link { next: number, previous: number, group };
            return;
        }
        let last = self.links[*first as usize].previous;
        self.links[number as usize] = Link { next: *first, previous: last, group };
        self.links[last as usize].next = number;
        self.links[*first as usize].previous = number;
    }

    /// Takes a row out of its ring. It stays in the pages until [`Side::let_go`].
    pub fn leave(&mut self, number: u32, rings: &mut Rings<'_>) {
        let link = self.links[number as usize];
        let first = rings.first(link.group);
        if link.next == number {
            *first = NONE;
        } else {
            self.links[link.previous as usize].next = link.next;
            self.links[link.next as usize].previous = link.previous;
            if *first == number {
                *first = link.next;
            }
        }
        self.links[number as usize].previous = NONE;
        if let Some(Index { table, hashes, .. }) = &mut self.index
            && let Ok(entry) = table.find_entry(hashes[number as usize], |other| *other == number)
        {
            entry.remove();
        }
        self.left.push(number);
    }

    /// The row behind this one in the ring that begins with `first`; none behind the last.
    pub fn next(&self, number: u32, first: u32) -> u32 {
        let next = self.links[number as usize].next;
        if next == first { NONE } else { next }
    }

    /// The row that this one takes back, or that takes this one back, of those that are kept when the watermark is here; the
    /// earliest where there are several.
    pub fn find(&self, group: u32, hash: u64, bytes: &[u8], owed: bool, watermark_ms: i64) -> Option<u32> {
        let index = self.index.as_ref()?;
        let is_it = |number: u32| {
            index.hashes[number as usize] == hash
                && self.links[number as usize].group == group
                && index.owed.get(number) == owed
                && self.keeps(self.at_ms(number), watermark_ms)
                && index.bytes_are(&self.rows, number, bytes)
        };
        let found = index.table.iter_hash(hash).copied().filter(|number| is_it(*number));
        found.min_by_key(|number| self.at_ms(*number))
    }

    /// Lets the rows go that have left their rings. Returns the group of each.
    pub fn let_go(&mut self) -> Vec<u32> {
        let left = std::mem::take(&mut self.left);
        let mut groups: Vec<u32> = Vec::with_capacity(left.len());
        for number in left {
            self.rows.remove(number);
            groups.push(std::mem::take(&mut self.links[number as usize]).group);
        }
        groups
    }

    /// The rows that have left their rings since [`Side::let_go`].
    pub fn left(&self) -> &[u32] {
        &self.left
    }

    /// The rows, still in their rings, that the watermark has passed.
    pub fn due(&mut self, watermark_ms: i64) -> Vec<u32> {
        let Some(for_ms) = self.keeping.for_ms else { return Vec::new() };
        let mut due = Vec::new();
        for number in self.timers.due(watermark_ms) {
            if !self.is_there(number) {
                continue;
            }
            let until_ms = self.times_ms[number as usize].saturating_add(for_ms);
            if until_ms <= watermark_ms {
                due.push(number);
            } else {
                self.timers.set(until_ms, number);
            }
        }
        due
    }

    /// Whether there is such a row in a ring.
    pub fn is_there(&self, number: u32) -> bool {
        self.links.get(number as usize).is_some_and(|link| link.previous != NONE)
    }

    /// A row's group.
    pub fn group(&self, number: u32) -> u32 {
        self.links[number as usize].group
    }

    /// The time from which a row is kept, milliseconds; 0 where rows are kept for ever.
    pub fn at_ms(&self, number: u32) -> i64 {
        self.times_ms.get(number as usize).copied().unwrap_or(0)
    }

    /// What a row weighs: −1 where it takes back a row that has not come yet.
    pub fn weight(&self, number: u32) -> i8 {
        if self.index.as_ref().is_some_and(|index| index.owed.get(number)) { -1 } else { 1 }
    }

    /// How many partners a row has; 0 where they are not counted.
    pub fn partners(&self, number: u32) -> i32 {
        self.partners.get(number as usize).copied().unwrap_or(0)
    }

    /// Sets how many partners a row has.
    pub fn set_partners(&mut self, number: u32, partners: i32) {
        self.partners[number as usize] = partners;
    }

    /// All that is kept beside the columns of a row.
    pub fn entry(&self, number: u32) -> Entry {
        Entry {
            group: self.group(number),
            at_ms: self.at_ms(number),
            partners: self.partners(number),
            owed: self.weight(number) < 0,
        }
    }

    /// When a row may have to go, at the earliest, milliseconds; none where none has to.
    pub fn next_ms(&self) -> Option<i64> {
        self.keeping.for_ms.and_then(|_| self.timers.next_ms())
    }

    /// The heap bytes held, about.
    pub fn bytes(&self) -> usize {
        let index = self
            .index
            .as_ref()
            .map_or(0, |index| index.hashes.bytes() + index.table.allocation_size() + index.owed.bytes());
        self.rows.bytes()
            + self.links.bytes()
            + self.times_ms.bytes()
            + self.partners.bytes()
            + self.timers.bytes()
            + index
            + self.view.as_ref().map_or(0, View::bytes)
    }
}

impl Index {
    fn bytes_are(&self, rows: &KeptRows, number: u32, bytes: &[u8]) -> bool {
        self.codec.write(&rows.row(number)).row(0).data() == bytes
    }
}

/// The hash by which rows are found.
pub(super) fn hash_of_row(bytes: &[u8]) -> u64 {
    KeyCodec::hash(bytes)
}
