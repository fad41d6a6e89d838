//! The slices of fixed windows as rows of a snapshot, and a view of them while it is captured.
//!
//! Merged runs of slices follow from the slices and are not saved. A slice that no window needs any more, but of which
//! the view has not been captured, is kept aside until it has: it may hold a million keys, and nothing changes it any
//! more.

use std::collections::BTreeMap;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use super::saved::{CLOCK, GROUPS, GroupTable, of_groups};
use super::tally::{Aggregate, Tally};
use crate::operator::Captured;
use crate::operator::saved::{Early, time_column, time_field, times_ms};
use crate::record::{KeyCodec, Schema};
use crate::window::Windows;

/// The table of slices.
pub(super) struct SliceTable {
    groups: GroupTable,
    windows: Windows,
    /// Where shards fire windows by their own clocks: the end of the last window that this one had fired when the view
    /// began, milliseconds.
    fired_ms: Option<i64>,
}

/// What is captured of the slices that there were when the view began.
#[derive(Default)]
pub(super) struct SliceView {
    /// Rows that were captured because their groups were about to change.
    early: Early,
    /// Slices that have been dropped and not been captured.
    aside: Vec<(i64, Tally)>,
    /// No slice before this one has anything left.
    next: i64,
}

impl SliceTable {
    /// The table of slices of these windows; `by_shard` tells whether it says of each row up to where its windows have
    /// been fired.
    pub fn new(
        windows: Windows,
        codec: &KeyCodec,
        output: &Schema,
        names: &[String],
        aggregates: &[Aggregate],
        by_shard: bool,
    ) -> Self {
        let mut own = vec![time_field("slice_start")];
        own.extend(by_shard.then(|| time_field("fired")));
        let groups = GroupTable::new(codec, output, own, names, &Tally::new(aggregates));
        Self { groups, windows, fired_ms: by_shard.then_some(i64::MIN) }
    }

    /// The table of groups.
    pub fn groups(&self) -> &GroupTable {
        &self.groups
    }

    /// Notes up to where windows have been fired where a view begins.
    pub fn begin_view(&mut self, fired_ms: i64) {
        self.fired_ms = self.fired_ms.map(|_| fired_ms);
    }

    fn save(&self, slice: i64, tally: &Tally, numbers: &[u32]) -> RecordBatch {
        let (start_ms, _) = self.windows.slice_span_ms(slice);
        let own = [Some(start_ms), self.fired_ms];
        let own = own.into_iter().flatten();
        self.groups.save(tally, numbers, own.map(|at_ms| time_column(vec![at_ms; numbers.len()])))
    }

    /// The rows of each slice among these.
    pub fn by_slice(&self, rows: &RecordBatch) -> Vec<(i64, RecordBatch)> {
        let starts_ms = times_ms(self.groups.own(rows, 0));
        let mut positions: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (position, start_ms) in (0..).zip(starts_ms) {
            positions.entry(*start_ms).or_default().push(position);
        }
        let slices = positions.into_iter().filter_map(|(start_ms, positions)| {
            // The first slice of all begins before the first time that windows hold.
            let slice = self.windows.slice_of(start_ms.max(-Windows::TIME_MAX))?;
            let rows = take_record_batch(rows, &UInt32Array::from(positions));
            Some((slice, rows.expect("the positions are inside the batch")))
        });
        slices.collect()
    }

    /// Up to where the windows of each of these rows have been fired, milliseconds; none where all shards go by one
    /// watermark.
    pub fn fired_ms<'a>(&self, rows: &'a RecordBatch) -> Option<&'a [i64]> {
        self.fired_ms.map(|_| times_ms(self.groups.own(rows, 1)))
    }
}

impl SliceView {
    /// A view that begins with all slices there are; `clock` is the row of what the shard has one of.
    pub fn begin(clock: RecordBatch) -> Self {
        let mut view = Self { next: i64::MIN, ..Self::default() };
        view.early.push(CLOCK, clock);
        view
    }

    /// Captures groups of a slice that are about to change.
    pub fn capture_first(&mut self, table: &SliceTable, slice: i64, tally: &mut Tally, numbers: &[u32]) {
        let numbers = tally.groups.take_uncaptured(numbers);
        if !numbers.is_empty() {
            self.early.push(GROUPS, table.save(slice, tally, &numbers));
        }
    }

    /// Keeps a slice that has been dropped, if there is something left to capture of it.
    pub fn keep(&mut self, slice: i64, tally: Tally) {
        if tally.groups.has_view() {
            self.aside.push((slice, tally));
        }
    }

    /// The next rows of the view, about `count`; none once there are no more.
    pub fn capture(
        &mut self,
        table: &SliceTable,
        slices: &mut BTreeMap<i64, Tally>,
        count: usize,
    ) -> Option<Captured> {
        if let Some(captured) = self.early.next(count) {
            return Some(captured);
        }
        while let Some((slice, tally)) = self.aside.last_mut() {
            let numbers = tally.groups.scan(count);
            if !numbers.is_empty() {
                return Some(of_groups(table.save(*slice, tally, &numbers)));
            }
            self.aside.pop();
        }
        for (slice, tally) in slices.range_mut(self.next..) {
            let numbers = tally.groups.scan(count);
            if !numbers.is_empty() {
                return Some(of_groups(table.save(*slice, tally, &numbers)));
            }
            self.next = slice + 1;
        }
        None
    }

    /// How many groups are kept only for the view, and the heap bytes they hold, about.
    pub fn size(&self) -> (usize, usize) {
        let aside = || self.aside.iter().map(|(_, tally)| tally);
        let entries = aside().map(|tally| tally.groups.len()).sum();
        (entries, aside().map(Tally::bytes).sum::<usize>() + self.early.bytes())
    }
}
