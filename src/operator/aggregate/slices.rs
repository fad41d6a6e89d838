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

use super::tally::{Aggregate, Inputs, Tally};

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
}

enum Merged {
    /// What the slices of the run come to.
    Tally(Tally),
    /// The slices share too few keys.
    Apart,
}

impl Slices {
    /// No slices yet, of windows of `slices` slices at most; `corrects` tells whether windows that have fired are
    /// corrected.
    pub fn new(aggregates: Vec<Aggregate>, slices: i64, corrects: bool) -> Self {
        let by_order = aggregates.iter().any(|aggregate| aggregate.call.by_order());
        // Runs would have to be merged anew for every correction.
        let level_max = if by_order && corrects { 0 } else { slices.unsigned_abs().ilog2() };
        Self { aggregates, by_number: BTreeMap::new(), runs: BTreeMap::new(), level_max, by_order }
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
        let mut add = |tally: &mut Tally| {
            numbers.clear();
            numbers.extend(rows.iter().map(|row| {
                let (hash, key) = key(*row);
                tally.groups.number(hash, key)
            }));
            tally.resize();
            tally.add(rows, &numbers, inputs);
        };
        add(self.by_number.entry(slice).or_insert_with(|| Tally::new(&self.aggregates)));
        if self.by_order {
            self.drop_runs(slice);
        }
        for level in 1..=self.level_max {
            // A row behind a window that has fired belongs into what was merged for it, too.
            if let Some(Merged::Tally(tally)) = self.runs.get_mut(&(level, slice >> level)) {
                add(tally);
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

    /// Takes a slice out, and drops the runs that hold it.
    pub fn remove(&mut self, slice: i64) -> Option<Tally> {
        self.drop_runs(slice);
        self.by_number.remove(&slice)
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
        let entries = self.by_number.values().map(|tally| tally.groups.len()).sum();
        (entries, self.by_number.values().chain(merged).map(Tally::bytes).sum())
    }
}
