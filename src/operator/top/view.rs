//! The rows of a `top` as they were at a barrier, captured while rows go on coming and going.
//!
//! A partition that is about to change for the first time is captured before, as a whole. One with many rows would make
//! a pause: it is captured in portions, in the order of its rows, and a row of it that goes, or is sent under another
//! rank, before its turn is saved then. Rows that came behind the barrier are told by their place in the order of
//! arrival.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use arrow::array::RecordBatch;

use super::partition::{Partition, Ranked};
use super::table::SavedRow;

/// A partition with more rows is captured in portions. Few in tests, so that they come by both ways.
const ROWS_AT_ONCE: usize = if cfg!(test) { 3 } else { 64 };

/// How many partitions are looked at in one go of a scan.
pub(super) const PARTITIONS_AT_ONCE: usize = 16;

/// Where a partition is: the end of its window (anything where there are none), and its group.
pub(super) type Place = (i64, u32);

/// A partition's first rows, and those behind them where they are kept.
pub(super) type Rows<'a> = (&'a Partition, Option<&'a BTreeSet<Ranked>>);

/// A view that is being captured.
pub(super) struct View {
    /// What the shard has one of, until it is handed out.
    clock: Option<RecordBatch>,
    /// The rows of the view arrived before this.
    arrivals: u64,
    /// Rows that have been captured and not handed out.
    saved: VecDeque<SavedRow>,
    bytes: usize,
    /// Partitions that are captured in portions.
    large: BTreeMap<Place, Large>,
}

/// How far a partition has been captured.
struct Large {
    key: Rc<[u8]>,
    /// The last of the rows that have had their turn.
    passed: Option<Ranked>,
    /// The places in the order of arrival of the rows behind that one that have been saved.
    saved: BTreeSet<u64>,
}

impl Large {
    /// Whether a row is still to be captured; it counts as saved from here on.
    fn take(&mut self, row: &Ranked, arrivals: u64) -> bool {
        let is_behind = self.passed.as_ref().is_none_or(|passed| row > passed);
        row.arrival() < arrivals && is_behind && self.saved.insert(row.arrival())
    }
}

impl View {
    /// A view that begins with the `arrivals`-th row to come.
    pub fn new(clock: RecordBatch, arrivals: u64) -> Self {
        Self { clock: Some(clock), arrivals, saved: VecDeque::new(), bytes: 0, large: BTreeMap::new() }
    }

    /// What the shard has one of, once.
    pub fn take_clock(&mut self) -> Option<RecordBatch> {
        self.clock.take()
    }

    /// Whether so many rows are ready to be handed out, or partitions that are captured in portions come first.
    pub fn has(&self, rows: usize) -> bool {
        self.saved.len() >= rows || !self.large.is_empty()
    }

    /// Captures a partition of the view that has not been, before it changes or because its turn has come.
    pub fn capture(&mut self, place: Place, key: &[u8], (partition, rest): Rows) {
        let key: Rc<[u8]> = key.into();
        if partition.len() + rest.map_or(0, BTreeSet::len) > ROWS_AT_ONCE {
            self.large.insert(place, Large { key, passed: None, saved: BTreeSet::new() });
            return;
        }
        for (row, sent) in rows_behind(partition, rest, None) {
            self.save(place, key.clone(), row, sent);
        }
    }

    /// Saves a row that is about to go, or to be sent under another rank than `sent`, if it is still to be captured.
    pub fn keep(&mut self, place: Place, row: &Ranked, sent: u32) {
        let Some(large) = self.large.get_mut(&place) else { return };
        if large.take(row, self.arrivals) {
            let key = large.key.clone();
            self.save(place, key, row, sent);
        }
    }

    /// Forgets a partition all of whose rows have gone.
    pub fn leave(&mut self, place: Place) {
        self.large.remove(&place);
    }

    /// The next rows, about so many; none where no row is saved and no partition is being captured.
    pub fn take<'a>(&mut self, rows: usize, find: impl Fn(Place) -> Rows<'a>) -> Vec<SavedRow> {
        while self.saved.is_empty()
            && let Some((place, mut large)) = self.large.pop_first()
        {
            let (partition, rest) = find(place);
            let passed = large.passed.take();
            let mut behind = rows_behind(partition, rest, passed.as_ref());
            let mut last = None;
            for (row, sent) in behind.by_ref().take(rows) {
                if row.arrival() < self.arrivals && !large.saved.remove(&row.arrival()) {
                    self.save(place, large.key.clone(), row, sent);
                }
                last = Some(row);
            }
            if behind.next().is_some() {
                large.passed = last.cloned();
                self.large.insert(place, large);
            }
        }
        let count = rows.min(self.saved.len());
        let taken: Vec<SavedRow> = self.saved.drain(..count).collect();
        self.bytes -= taken.iter().map(|saved| saved.row.heap_bytes()).sum::<usize>();
        taken
    }

    fn save(&mut self, (window_ms, _): Place, key: Rc<[u8]>, row: &Ranked, sent: u32) {
        self.bytes += row.heap_bytes();
        self.saved.push_back(SavedRow { key, window_ms, row: row.clone(), sent });
    }

    /// The heap bytes held, about.
    pub fn bytes(&self) -> usize {
        let large: usize = self.large.values().map(|large| large.saved.len() * 16).sum();
        self.bytes + self.saved.len() * size_of::<SavedRow>() + large
    }
}

/// The rows of a partition in order, those behind `passed`, each with the rank under which it was sent.
fn rows_behind<'a>(
    partition: &'a Partition,
    rest: Option<&'a BTreeSet<Ranked>>,
    passed: Option<&Ranked>,
) -> impl Iterator<Item = (&'a Ranked, u32)> {
    let range =
        (passed.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded), std::ops::Bound::Unbounded);
    let rest = rest.map(|rest| rest.range::<Ranked, _>(range)).into_iter().flatten().map(|row| (row, 0));
    partition.behind(range).chain(rest)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::partition::{Limit, Observer, Position};
    use super::*;

    /// Tells a view what a partition tells.
    struct Telling(Option<View>);

    impl Observer for Telling {
        fn enter(&mut self, _: &Ranked) {}

        fn leave(&mut self, row: &Ranked, sent: u32) {
            if let Some(view) = &mut self.0 {
                view.keep((0, 0), row, sent);
            }
        }

        fn forget(&mut self, row: Ranked) {
            if let Some(view) = &mut self.0 {
                view.keep((0, 0), &row, 0);
            }
        }
    }

    fn rows_of(saved: impl Iterator<Item = (Ranked, u32)>) -> Vec<(u64, Vec<u8>, u32)> {
        let mut rows: Vec<_> =
            saved.map(|(row, sent)| (row.arrival(), row.payload().to_vec(), sent)).collect();
        rows.sort();
        rows
    }

    #[test]
    fn a_view_is_the_partition_as_it_was_whatever_comes_meanwhile() {
        let mut random = fastrand::Rng::with_seed(17);
        let clock = RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()));
        for _ in 0..3000 {
            let (n, ties) = (random.usize(1..9), random.bool());
            let limit = Limit { n, ties, by_arrival: false, keeps_all: true };
            let (mut partition, mut rest, mut telling) =
                (Partition::default(), BTreeSet::new(), Telling(None));
            let (mut arrivals, mut expect, mut found) = (0, Vec::new(), Vec::new());
            let (begins, ends) = (random.usize(0..60), random.usize(60..120));
            for round in 0..ends {
                if round == begins {
                    let rows = rows_behind(&partition, Some(&rest), None);
                    expect = rows_of(rows.map(|(row, sent)| (row.clone(), sent)));
                    let mut view = View::new(clock.clone(), arrivals);
                    view.capture((0, 0), b"key", (&partition, Some(&rest)));
                    telling.0 = Some(view);
                }
                let (order, payload) = ([random.u8(0..5)], [random.u8(0..3)]);
                match random.u8(0..8) {
                    0..4 => {
                        let row = Ranked::new(&order, &payload, arrivals, false);
                        arrivals += 1;
                        partition.insert(row, &limit, Some(&mut rest), &mut telling);
                    }
                    4..6 => {
                        let row = Ranked::new(&order, &payload, u64::MAX, false);
                        partition.remove(&row, &limit, &mut rest, &mut telling);
                    }
                    6 => partition.rank(&Position::FIRST, &limit, |row, sent, _| {
                        if let Some(view) = &mut telling.0 {
                            view.keep((0, 0), row, sent);
                        }
                    }),
                    _ => {
                        if let Some(view) = &mut telling.0 {
                            found.extend(view.take(random.usize(1..4), |_| (&partition, Some(&rest))));
                        }
                    }
                }
            }
            let mut view = telling.0.expect("the view has begun");
            while view.has(1) {
                found.extend(view.take(random.usize(1..4), |_| (&partition, Some(&rest))));
            }
            assert_eq!(view.bytes(), 0);
            assert!(found.iter().all(|saved| *saved.key == *b"key"));
            assert_eq!(rows_of(found.into_iter().map(|saved| (saved.row, saved.sent))), expect, "{limit:?}");
        }
    }
}
