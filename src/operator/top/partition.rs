//! The rows of one partition of a `top`, in order, and which of them are among the first n.
//!
//! A row is the bytes of its order (Arrow's row format, which compares as bytes), then what breaks ties. The first 16
//! bytes lie beside the pointer, so that most comparisons follow none.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// The bytes of a row's place in the order of arrival.
const ARRIVAL: usize = size_of::<u64>();

/// Which rows are kept, and how equal ones are ordered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// How many rows, at least 1.
    pub n: usize,
    /// Whether all rows equal to the n-th are among them.
    pub ties: bool,
    /// Whether the earlier of two equal rows is first; else that with the lesser columns.
    pub by_arrival: bool,
    /// Whether rows behind the n-th are kept, because one before them may be taken back.
    pub keeps_all: bool,
}

/// A row with its place in the order.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Ranked {
    /// The first bytes, as numbers.
    head: Head,
    /// The order, then arrival and payload, or payload and arrival.
    bytes: Box<[u8]>,
    order_end: u32,
    by_arrival: bool,
}

type Head = [u64; 2];

fn head_of(bytes: &[u8]) -> Head {
    let mut head = [0; 16];
    let length = bytes.len().min(16);
    head[..length].copy_from_slice(&bytes[..length]);
    let word = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().expect("8 bytes"));
    [word(0), word(8)]
}

impl Ranked {
    /// A row of this order and payload, the `arrival`-th of all.
    pub fn new(order: &[u8], payload: &[u8], arrival: u64, by_arrival: bool) -> Self {
        let mut bytes = Vec::with_capacity(order.len() + ARRIVAL + payload.len());
        bytes.extend_from_slice(order);
        if by_arrival {
            bytes.extend_from_slice(&arrival.to_be_bytes());
        }
        bytes.extend_from_slice(payload);
        if !by_arrival {
            bytes.extend_from_slice(&arrival.to_be_bytes());
        }
        let order_end = u32::try_from(order.len()).expect("an order is below 4 GiB");
        Self { head: head_of(&bytes), bytes: bytes.into(), order_end, by_arrival }
    }

    /// What rows of one rank have in common.
    pub fn order(&self) -> &[u8] {
        &self.bytes[..self.order_end as usize]
    }

    /// The columns.
    pub fn payload(&self) -> &[u8] {
        if self.by_arrival {
            &self.bytes[self.order_end as usize + ARRIVAL..]
        } else {
            &self.bytes[self.order_end as usize..self.bytes.len() - ARRIVAL]
        }
    }

    /// Its place in the order of arrival.
    pub fn arrival(&self) -> u64 {
        let start = if self.by_arrival { self.order_end as usize } else { self.bytes.len() - ARRIVAL };
        u64::from_be_bytes(self.bytes[start..start + ARRIVAL].try_into().expect("as long as an arrival"))
    }

    /// The heap bytes it holds.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The least head of the rows of the same order.
    fn first_head(&self) -> Head {
        head_of(&self.order()[..self.order().len().min(16)])
    }

    /// Everything but the arrival, of rows that are not ordered by it.
    fn content(&self) -> &[u8] {
        &self.bytes[..self.bytes.len() - ARRIVAL]
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.head.cmp(&other.head).then_with(|| self.bytes.cmp(&other.bytes))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The first rows of a partition. Those behind them lie beside it, where they are kept.
#[derive(Default)]
pub(super) struct Partition {
    /// Each with the rank under which it has been sent; 0 for none.
    first: BTreeMap<Ranked, u32>,
    /// How many of them are equal to the last, where ties are kept.
    tied: usize,
    /// For the operator: its place among the partitions that have changed, plus one.
    pub changed: u32,
}

/// What happens to the first rows, told while it does.
pub(super) trait Observer {
    /// A row has become one of the first.
    fn enter(&mut self, row: &Ranked);
    /// A row that was sent under this rank (0 for none) is no longer one of the first.
    fn leave(&mut self, row: &Ranked, sent: u32);
    /// A row is kept no longer.
    fn forget(&mut self, row: Ranked);
}

/// How much is kept.
#[derive(Default)]
pub(super) struct Kept {
    pub rows: usize,
    pub bytes: usize,
}

impl Kept {
    /// Counts a row.
    pub fn add(&mut self, row: &Ranked) {
        self.rows += 1;
        self.bytes += row.heap_bytes();
    }
}

/// Of an operator that tells nothing while rows come.
impl Observer for Kept {
    fn enter(&mut self, _: &Ranked) {}

    fn leave(&mut self, _: &Ranked, _: u32) {}

    fn forget(&mut self, row: Ranked) {
        self.rows -= 1;
        self.bytes -= row.heap_bytes();
    }
}

impl Partition {
    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// How many first rows there are.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// The first rows in this range, in order, each with the rank under which it was sent.
    pub fn behind(&self, range: (Bound<&Ranked>, Bound<&Ranked>)) -> impl Iterator<Item = (&Ranked, u32)> {
        self.first.range::<Ranked, _>(range).map(|(row, sent)| (row, *sent))
    }

    /// Takes the first row out, without another taking its place.
    pub fn pop_first(&mut self) -> Option<Ranked> {
        self.first.pop_first().map(|(row, _)| row)
    }

    /// The order behind which no row is one of the first; none while there are fewer than may be.
    pub fn last(&self, limit: &Limit) -> Option<&[u8]> {
        let (last, _) = self.first.last_key_value().filter(|_| self.first.len() >= limit.n)?;
        Some(last.order())
    }

    /// Whether a row of this order that arrives now may become one of the first.
    pub fn admits(&self, order: &[u8], limit: &Limit) -> bool {
        let Some(last) = self.last(limit) else { return true };
        match order.cmp(last) {
            Ordering::Less => true,
            Ordering::Equal => limit.ties || !limit.by_arrival,
            Ordering::Greater => false,
        }
    }

    /// Adds a row; whether it became one of the first.
    pub fn insert(
        &mut self,
        row: Ranked,
        limit: &Limit,
        rest: Option<&mut BTreeSet<Ranked>>,
        observer: &mut impl Observer,
    ) -> bool {
        self.insert_sent(row, 0, limit, rest, observer)
    }

    /// Adds a row that has been sent under this rank (0 for none); whether it became one of the first. Of the rows of a
    /// partition, added in any order, those are the first in the end that were.
    pub fn insert_sent(
        &mut self,
        row: Ranked,
        sent: u32,
        limit: &Limit,
        rest: Option<&mut BTreeSet<Ranked>>,
        observer: &mut impl Observer,
    ) -> bool {
        let last = self.first.last_key_value().map(|(last, _)| last);
        let against_last = last.map_or(Ordering::Greater, |last| row.order().cmp(last.order()));
        let enters = self.first.len() < limit.n
            || limit.ties && against_last == Ordering::Equal
            || last.is_some_and(|last| row < *last);
        if !enters {
            match rest {
                Some(rest) => drop(rest.insert(row)),
                None => observer.forget(row),
            }
            return false;
        }
        match against_last {
            Ordering::Less => {}
            Ordering::Equal => self.tied += 1,
            Ordering::Greater => self.tied = 1,
        }
        observer.enter(&row);
        self.first.insert(row, sent);
        self.shrink(limit, rest, observer);
        true
    }

    /// Lets go of the rows that are no longer among the first n.
    fn shrink(
        &mut self,
        limit: &Limit,
        mut rest: Option<&mut BTreeSet<Ranked>>,
        observer: &mut impl Observer,
    ) {
        loop {
            let count = if limit.ties { self.tied } else { 1 };
            if self.first.len() < count + limit.n {
                return;
            }
            for _ in 0..count {
                let Some((row, sent)) = self.first.pop_last() else { return };
                observer.leave(&row, sent);
                match &mut rest {
                    Some(rest) => drop(rest.insert(row)),
                    None => observer.forget(row),
                }
            }
            self.count_tied(limit);
        }
    }

    fn count_tied(&mut self, limit: &Limit) {
        if limit.ties {
            let mut rows = self.first.keys().rev();
            let last = rows.next();
            self.tied = last.map_or(0, |last| 1 + rows.take_while(|row| row.order() == last.order()).count());
        }
    }

    /// Takes back a row equal to this one, which is made with arrival `u64::MAX`; whether the first rows changed. Rows
    /// are ordered by their columns.
    pub fn remove(
        &mut self,
        row: &Ranked,
        limit: &Limit,
        rest: &mut BTreeSet<Ranked>,
        observer: &mut impl Observer,
    ) -> bool {
        // Of equal rows the last goes: then no other one moves.
        let equal = |found: &&Ranked| found.content() == row.content();
        if let Some(found) = rest.range(..=row).next_back().filter(equal).cloned() {
            rest.remove(&found);
            observer.forget(found);
            return false;
        }
        let found = self.first.range(..=row).next_back().map(|(found, _)| found);
        let Some(found) = found.filter(equal).cloned() else { return false };
        let Some((found, sent)) = self.first.remove_entry(&found) else { return false };
        observer.leave(&found, sent);
        self.count_tied(limit);
        self.refill(limit, rest, observer);
        observer.forget(found);
        true
    }

    /// Moves the next rows up while there are fewer than n.
    fn refill(&mut self, limit: &Limit, rest: &mut BTreeSet<Ranked>, observer: &mut impl Observer) {
        while self.first.len() < limit.n {
            let Some(row) = rest.pop_first() else { return };
            let order = row.order().to_vec();
            self.tied = 1;
            observer.enter(&row);
            self.first.insert(row, 0);
            while limit.ties && rest.first().is_some_and(|row| row.order() == order) {
                let Some(row) = rest.pop_first() else { return };
                self.tied += 1;
                observer.enter(&row);
                self.first.insert(row, 0);
            }
        }
    }

    /// Gives the rows from `from` on their ranks; `tell` gets every row whose rank is another than that it was sent
    /// under, with that rank (0 for none) and the present one.
    pub fn rank(&mut self, from: &Position, limit: &Limit, mut tell: impl FnMut(&Ranked, u32, u32)) {
        let from = Ranked { head: from.0, bytes: Box::default(), order_end: 0, by_arrival: limit.by_arrival };
        let behind = self.first.range(&from..).count();
        let mut number = self.first.len() - behind;
        let mut before: Option<(&Ranked, u32)> = None;
        for (row, sent) in self.first.range_mut((Bound::Included(&from), Bound::Unbounded)) {
            number += 1;
            let rank = match before {
                Some((other, rank)) if limit.ties && other.order() == row.order() => rank,
                _ => u32::try_from(number).unwrap_or(u32::MAX),
            };
            before = Some((row, rank));
            if *sent != rank {
                tell(row, *sent, rank);
                *sent = rank;
            }
        }
    }
}

/// The heap bytes of the trees of so many partitions with so many rows, about, without the rows' own bytes.
pub(super) fn tree_bytes(partitions: usize, rows: usize) -> usize {
    // The standard library's B-tree keeps up to 11 entries in a leaf, the only node of a small tree; larger trees are
    // filled to about two thirds.
    let leaves = partitions + rows.saturating_sub(partitions * 11) / 8;
    leaves * (11 * (size_of::<Ranked>() + size_of::<u32>()) + 16)
}

/// A place in the order of a partition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position(Head);

impl Position {
    /// Before all rows.
    pub const FIRST: Self = Self([0, 0]);

    /// Before all rows that rank with this one.
    pub fn of(row: &Ranked) -> Self {
        Self(row.first_head())
    }
}
