//! The slices of fixed windows, and what several of them come to.
//!
//! A window is merged from the fewest runs of slices that cover it: runs of 2, 4, 8 … slices are merged once and kept
//! while windows need them (a segment tree over slices: Tangwongsan et al., "General Incremental Sliding-Window
//! Aggregation", 2015, section 4). So a window of a thousand slices costs some ten merges of a key. A run is kept only
//! if its slices share keys; where they do not, merging them saves nothing and memory would pay for it.
//!
//! Which runs are kept depends on the keys, and so on the number of shards. Results must not: sums of doubles over
//! several slices are kept exactly, and where a result depends on the order of rows, a row that comes behind a window
//! which has fired is never added to a kept run, at whose end it would stand, but to its slice alone.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;

use super::slice_view::{SliceTable, SliceView};
use super::tally::{Aggregate, Inputs, Tally};
use crate::operator::Captured;

/// A run of 2^level slices: which level, and the number of the run on it.
pub(super) type Run = (u32, i64);

/// The slices that have rows, and merged runs of them.
pub(super) struct Slices {
    aggregates: Vec<Aggregate>,
    by_number: BTreeMap<i64, Tally>,
    runs: BTreeMap<Run, Merged>,
    level_max: u32,
    /// Whether a result depends on the order of rows.
    by_order: bool,
    table: SliceTable,
    view: SliceView,
}

enum Merged {
    /// What the slices of the run come to.
    Tally(Tally),
    /// The slices share too few keys.
    Apart,
}

impl Slices {
    /// No slices yet, of windows of `slices` slices at most; `corrects` tells whether windows that have fired are
    /// corrected; `table` is how they are saved.
    pub fn new(aggregates: Vec<Aggregate>, slices: i64, corrects: bool, table: SliceTable) -> Self {
        let by_order = aggregates.iter().any(|aggregate| aggregate.call.by_order());
        // Runs would have to be merged anew for every correction.
        let level_max = if by_order && corrects { 0 } else { slices.unsigned_abs().ilog2() };
        let (by_number, runs, view) = (BTreeMap::new(), BTreeMap::new(), SliceView::default());
        Self { aggregates, by_number, runs, level_max, by_order, table, view }
    }

    /// The numbers of the slices, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = i64> {
        self.by_number.keys().copied()
    }

    /// The number of the first slice.
    pub fn first(&self) -> Option<i64> {
        self.by_number.keys().next().copied()
    }

    /// Adds rows to a slice, each under its key.
    pub fn add<'a>(
        &mut self,
        slice: i64,
        rows: &[u32],
        key: impl Fn(u32) -> (u64, &'a [u8]),
        inputs: &Inputs,
    ) {
        let mut numbers: Vec<u32> = Vec::with_capacity(rows.len());
        let mut add = |tally: &mut Tally, view: Option<&mut SliceView>| {
            numbers.clear();
            numbers.extend(rows.iter().map(|row| {
                let (hash, key) = key(*row);
                tally.groups.number(hash, key)
            }));
            if let Some(view) = view.filter(|_| tally.groups.has_view()) {
                view.capture_first(&self.table, slice, tally, &numbers);
            }
            tally.resize();
            tally.add(rows, &numbers, inputs);
        };
        let tally = self.by_number.entry(slice).or_insert_with(|| Tally::new(&self.aggregates));
        add(tally, Some(&mut self.view));
        if self.by_order {
            for level in 1..=self.level_max {
                self.runs.remove(&(level, slice >> level));
            }
        }
        for level in 1..=self.level_max {
            // A row behind a window that has fired belongs into what was merged for it, too.
            if let Some(Merged::Tally(tally)) = self.runs.get_mut(&(level, slice >> level)) {
                add(tally, None);
            }
        }
    }

    /// The fewest runs that together hold all rows of the slices from `first` to before `behind`, in order.
    pub fn cover(&mut self, first: i64, behind: i64) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut from = first;
        while from < behind {
            let fits = (behind - from).unsigned_abs().ilog2();
            let level = from.trailing_zeros().min(fits).min(self.level_max);
            self.cover_run((level, from >> level), &mut runs);
            from += 1 << level;
        }
        runs
    }

    fn cover_run(&mut self, run: Run, runs: &mut Vec<Run>) {
        let (level, number) = run;
        if self.by_number.range(number << level..(number + 1) << level).next().is_none() {
            return;
        }
        if level == 0 || matches!(self.runs.get(&run), Some(Merged::Tally(_))) {
            runs.push(run);
            return;
        }
        let from = runs.len();
        let halves = [(level - 1, number * 2), (level - 1, number * 2 + 1)];
        for half in &halves {
            self.cover_run(*half, runs);
        }
        if runs.len() - from < 2 || self.runs.contains_key(&run) {
            return;
        }
        let is_apart = |half: &Run| matches!(self.runs.get(half), Some(Merged::Apart));
        let merged = if halves.iter().any(is_apart) { None } else { self.merge_shared(&runs[from..]) };
        match merged {
            Some(tally) => {
                runs.truncate(from);
                runs.push(run);
                self.runs.insert(run, Merged::Tally(tally));
            }
            None => {
                self.runs.insert(run, Merged::Apart);
            }
        }
    }

    /// What these runs come to, if that is a good deal less than what they are.
    fn merge_shared(&self, runs: &[Run]) -> Option<Tally> {
        let apart: usize = runs.iter().map(|run| self.tally(*run).groups.len()).sum();
        let merged = self.merge(runs);
        (merged.groups.len() * 4 <= apart * 3).then_some(merged)
    }

    /// What these runs come to.
    pub fn merge(&self, runs: &[Run]) -> Tally {
        let mut merged = Tally::new(&self.aggregates);
        for run in runs {
            merged.merge(self.tally(*run));
        }
        merged
    }

    /// The rows of a run that [`Slices::cover`] has named.
    pub fn tally(&self, run: Run) -> &Tally {
        match (self.runs.get(&run), run) {
            (Some(Merged::Tally(tally)), _) => tally,
            (_, (0, slice)) => &self.by_number[&slice],
            _ => unreachable!("a run is named once it is merged"),
        }
    }

    /// Takes a slice out, and drops the runs that hold it; none if a view still needs it where it is.
    pub fn take(&mut self, slice: i64) -> Option<Tally> {
        if self.by_number.get(&slice)?.groups.has_view() {
            return None;
        }
        self.drop_runs(slice);
        self.by_number.remove(&slice)
    }

    /// Drops a slice that no window needs any more.
    pub fn drop_slice(&mut self, slice: i64) {
        self.drop_runs(slice);
        if let Some(tally) = self.by_number.remove(&slice) {
            self.view.keep(slice, tally);
        }
    }

    /// The table in which they are saved.
    pub fn table(&self) -> &SliceTable {
        &self.table
    }

    /// Begins a view of the slices as they are now; all windows that end at `fired_ms` or before have been fired. `clock`
    /// is the row of what the shard has one of.
    pub fn begin_view(&mut self, fired_ms: i64, clock: RecordBatch) {
        self.table.begin_view(fired_ms);
        self.view = SliceView::begin(clock);
        self.by_number.values_mut().for_each(|tally| tally.groups.begin_view());
    }

    /// The next rows of the view, about `count`; none once there are no more.
    pub fn capture(&mut self, count: usize) -> Option<Captured> {
        self.view.capture(&self.table, &mut self.by_number, count)
    }

    /// Gives the view up.
    pub fn end_view(&mut self) {
        self.view = SliceView::default();
        self.by_number.values_mut().for_each(|tally| tally.groups.end_view());
    }

    /// Takes saved rows.
    pub fn restore(&mut self, rows: &RecordBatch) {
        for (slice, rows) in self.table.by_slice(rows) {
            let tally = self.by_number.entry(slice).or_insert_with(|| Tally::new(&self.aggregates));
            self.table.groups().load(tally, &rows);
        }
    }

    fn drop_runs(&mut self, slice: i64) {
        for level in 1..=self.level_max {
            self.runs.remove(&(level, slice >> level));
        }
    }

    /// How many groups there are, and the heap bytes they hold.
    pub fn size(&self) -> (usize, usize) {
        let merged = self.runs.values().filter_map(|merged| match merged {
            Merged::Tally(tally) => Some(tally),
            Merged::Apart => None,
        });
        let entries: usize = self.by_number.values().map(|tally| tally.groups.len()).sum();
        let bytes: usize = self.by_number.values().chain(merged).map(Tally::bytes).sum();
        let (aside_entries, aside_bytes) = self.view.size();
        (entries + aside_entries, bytes + aside_bytes)
    }
}
