//! The keyed operator behind `pattern`: rows wait for the watermark, then each key's are searched in the order of time.
//!
//! All rows that have come due at the end of a block are searched together: in every round each search looks at its next
//! row, and the conditions that read earlier rows are evaluated for all searches of all keys at once.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};

use super::later::{Conditions, Later};
use super::saved::{CLOCK, CLOCK_TABLE, Loaded, ROWS, Tables, WAITING};
use super::search::{Match, Row, Rules, Search, WAYS_MAX};
use super::view::{Mapping, View, Viewer};
use crate::operator::key_bytes::KeyBytes;
use crate::operator::late::Lateness;
use crate::operator::payload::Payload;
use crate::operator::queue::Queue;
use crate::operator::saved::{Early, StateKey};
use crate::operator::waiting::{Due, Waiting};
use crate::operator::{Build, Captured, Context, Operator, StateSize, StateTable};
use crate::record::{Batch, BlockEnd, Schema};
use crate::state::{Groups, Pages, Timers};
use crate::time::{WATERMARK_MAX, WATERMARK_MIN};

/// What every shard builds its operator from.
#[derive(Clone)]
pub(super) struct Spec {
    pub rules: Rules,
    /// The rows as they come: the input's columns, computed keys, known conditions.
    pub prepared: Schema,
    /// How many of the prepared columns are the input's.
    pub columns: usize,
    /// Positions of the key columns in the prepared rows.
    pub keys: Vec<usize>,
    pub key: StateKey,
    /// Positions of the columns that are read when a row is not the newest any more.
    pub kept: Vec<usize>,
    /// The variables whose conditions hold for every row, as bits.
    pub always: u64,
    /// Variables and the positions of their conditions in the prepared rows.
    pub known: Vec<(u8, usize)>,
    pub later: Vec<Later>,
    /// What comes out: the key's columns, and what is selected from.
    pub select: View,
    /// Whether the order of arrival is defined; else rows of equal time are put into the order of their columns.
    pub ordered: bool,
    pub late: Lateness,
}

pub(super) fn build(spec: Spec, description: String) -> Build {
    Build::new(description, move || Box::new(Patterns::new(spec.clone())))
}

struct Patterns {
    spec: Spec,
    waiting: Waiting,
    groups: Groups,
    /// `[group]`
    kept: Pages<Kept>,
    conditions: Conditions,
    select: Viewer,
    payload: Payload,
    /// The columns that the payload is made of.
    columns: Schema,
    /// When to look whether a search of a key is over; none where none ever is.
    timers: Option<Timers>,
    tables: Tables,
    /// What a view has captured of keys before it was asked for.
    early: Early,
    loaded: Loaded,
    work: Option<Work>,
    /// The end of a block that has made rows due, and the watermark before it.
    firing: Option<(u64, BlockEnd, i64)>,
    queue: Queue,
    rows: usize,
    bytes: usize,
}

/// What is kept of a key.
#[derive(Default)]
struct Kept {
    search: Search,
    /// The row of the search that a timer has been set for.
    timed: Option<u64>,
    rows: usize,
    bytes: usize,
}

/// A batch of input and how far it has been worked off.
struct Work {
    batch: Batch,
    segment: usize,
    row: usize,
}

impl Patterns {
    fn new(spec: Spec) -> Self {
        let columns = spec.kept.iter().map(|index| spec.prepared.columns()[*index].clone());
        let columns = Schema::new(columns.collect());
        let payload = Payload::new(&columns);
        Self {
            conditions: Conditions::new(&spec.later),
            select: Viewer::new(&spec.select),
            waiting: Waiting::new(spec.prepared.arrow().clone()),
            groups: Groups::default(),
            kept: Pages::default(),
            timers: spec.rules.within_ms.map(Timers::new),
            tables: Tables::new(&spec.key, &spec.keys, &spec.prepared, spec.columns, &payload),
            payload,
            columns,
            early: Early::default(),
            loaded: Loaded::default(),
            work: None,
            firing: None,
            queue: Queue::new(&spec.select.schema, true),
            rows: 0,
            bytes: 0,
            spec,
        }
    }

    /// Works the batch off up to the end of the first block that makes rows due; false where there is none.
    fn advance(&mut self, context: &mut Context) -> bool {
        let Some(mut work) = self.work.take() else { return false };
        while let Some(segment) = work.batch.segments.get(work.segment).copied() {
            let clock = work.batch.clocks[work.segment];
            let rows = work.row..work.row + segment.rows as usize;
            let watermark_ms = self.queue.watermark_ms();
            self.waiting.take_in(&work.batch, rows.clone(), &clock, watermark_ms, &self.spec.late, context);
            work.segment += 1;
            work.row = rows.end;
            let Some(end) = segment.end else { continue };
            if self.queue.advance(&clock) {
                self.firing = Some((segment.number, end, watermark_ms));
                self.work = Some(work);
                return true;
            }
            self.queue.end(segment.number, &end);
        }
        false
    }

    /// Searches the next rows that have come due, or ends the block; false where no block is ending.
    fn fire(&mut self, context: &mut Context) -> bool {
        let Some((number, end, before_ms)) = self.firing else { return false };
        let watermark_ms = self.queue.watermark_ms();
        if let Some(due) = self.waiting.take_due(watermark_ms) {
            let due = if self.spec.ordered { due } else { due.break_ties(self.spec.columns) };
            let groups = self.take(&due);
            let matches = self.search(&groups, context);
            self.send(matches, number, before_ms, context);
            self.settle(&groups);
        } else {
            self.expire(watermark_ms, number, before_ms, context);
            self.queue.end(number, &end);
            self.firing = None;
        }
        true
    }

    /// Adds rows to the searches of their keys; the numbers of these, ascending. A row of a key without a search with
    /// which no match can begin is left out.
    fn take(&mut self, due: &Due) -> Vec<u32> {
        let keys = KeyBytes::of(&Batch::of_rows(due.rows.clone(), 0), &self.spec.keys, &self.spec.key.codec);
        let holds = self.conditions_of(due);
        let (mut rows, mut groups) = (Vec::new(), Vec::new());
        for (row, holds) in (0..).zip(&holds) {
            let (hash, key) = (due.hashes.value(row as usize), keys.key(row as usize));
            let group = self
                .groups
                .find(hash, key)
                .or_else(|| self.spec.rules.can_begin(*holds).then(|| self.groups.insert(hash, key)));
            if let Some(group) = group {
                rows.push(row);
                groups.push(group);
            }
        }
        self.kept.resize(self.groups.capacity());
        self.keep_view(&groups);
        let columns = self.spec.kept.iter().map(|index| due.rows.column(*index).clone()).collect();
        let encoded = Batch::of_rows(self.columns.rows(columns, due.times.len()), 0);
        let encoded = self.payload.encode(&encoded, &rows);
        for (index, (row, group)) in rows.into_iter().zip(&groups).enumerate() {
            let row = row as usize;
            let bytes = encoded.row(index).into();
            let row = Row { at_ms: due.times[row], holds: holds[row], rejected: false, bytes, states: 0 };
            self.kept[*group as usize].search.push(row);
        }
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// For each row the variables whose conditions hold, as far as they are known.
    fn conditions_of(&self, due: &Due) -> Vec<u64> {
        let mut holds = vec![self.spec.always; due.times.len()];
        for (variable, column) in &self.spec.known {
            let values: &BooleanArray = due.rows.column(*column).as_boolean();
            for (row, holds) in holds.iter_mut().enumerate() {
                *holds |= u64::from(values.is_valid(row) && values.value(row)) << variable;
            }
        }
        holds
    }

    /// Searches these keys until each search waits for a row, is decided, or given up.
    fn search(&mut self, groups: &[u32], context: &mut Context) -> Vec<(u32, Match)> {
        let rules = &self.spec.rules;
        let (mut open, mut found, mut matches) = (groups.to_vec(), Vec::new(), Vec::new());
        loop {
            open.retain(|group| {
                let waits = self.kept[*group as usize].search.prepare(rules, &mut matches);
                found.extend(matches.drain(..).map(|found| (*group, found)));
                waits
            });
            if open.is_empty() {
                return found;
            }
            let kept = &self.kept;
            let (holding, failed) =
                self.conditions.ask(&open, |group| &kept[group as usize].search, rules, &self.payload);
            for (group, row, why) in failed {
                let row = self.kept[group as usize].search.row_mut(row);
                if !std::mem::replace(&mut row.rejected, true) {
                    reject(&row.bytes, &self.payload, &self.columns, why, context);
                }
            }
            for group in &open {
                let search = &mut self.kept[*group as usize].search;
                for place in (0..search.starts.len()).rev() {
                    if !search.has_row(place) {
                        continue;
                    }
                    let start = search.starts[place].row;
                    let holds = |way: usize, variable: u8| {
                        holding.binary_search(&(*group, start, way, variable)).is_ok()
                    };
                    if search.step(place, rules, &mut matches, holds) {
                        let why = format!(
                            "more than {WAYS_MAX} ways to go on matching from this row: none is searched for any more"
                        );
                        reject(&search.row(start).bytes, &self.payload, &self.columns, why, context);
                    }
                    found.extend(matches.drain(..).map(|found| (*group, found)));
                }
            }
        }
    }

    /// Sends matches, in the order of their times, as rows that block `number` has caused; the watermark was at
    /// `before_ms`.
    fn send(&mut self, mut matches: Vec<(u32, Match)>, number: u64, before_ms: i64, context: &mut Context) {
        matches.sort_by(|(one, a), (other, b)| {
            let key = |group: &u32| self.groups.key(*group);
            a.at_ms.cmp(&b.at_ms).then_with(|| key(one).cmp(key(other))).then(a.row.cmp(&b.row))
        });
        for matches in matches.chunks(Batch::ROWS_MAX) {
            let keys = self.spec.key.columns(matches.iter().map(|(group, _)| self.groups.key(*group)));
            let mappings: Vec<Mapping> = matches
                .iter()
                .map(|(group, found)| Mapping {
                    search: &self.kept[*group as usize].search,
                    row: found.row,
                    variables: &found.variables,
                    also: None,
                })
                .collect();
            let (mut rows, failed) = self.select.rows(&mappings, &keys, &self.payload);
            // Only the end of the input decides on matches whose time is over by then.
            let least_ms = if before_ms == WATERMARK_MIN { WATERMARK_MIN } else { before_ms + 1 };
            let mut times: Vec<i64> = matches.iter().map(|(_, found)| found.at_ms.max(least_ms)).collect();
            if !failed.is_empty() {
                let mut keep = vec![true; times.len()];
                for (mapping, why) in failed {
                    keep[mapping as usize] = false;
                    let last = mappings[mapping as usize].last_bytes();
                    reject(last, &self.payload, &self.columns, why, context);
                }
                let mut kept = keep.iter();
                times.retain(|_| kept.next().copied().unwrap_or_default());
                rows = arrow::compute::filter_record_batch(&rows, &BooleanArray::from(keep))
                    .expect("there is one row for each match");
            }
            self.queue.rows(number, &rows, None, Some(&times));
        }
    }

    /// Forgets what the searches of these keys need no more, and sets timers for those that go on.
    fn settle(&mut self, groups: &[u32]) {
        for group in groups {
            let kept = &mut self.kept[*group as usize];
            self.rows -= kept.rows;
            self.bytes -= kept.bytes;
            if kept.search.trim() {
                *kept = Kept::default();
                self.groups.remove(*group);
                continue;
            }
            (kept.rows, kept.bytes) = (kept.search.len(), kept.search.bytes());
            self.rows += kept.rows;
            self.bytes += kept.bytes;
            let first = kept.search.starts.first().map(|start| start.row);
            if let (Some(timers), Some(over_ms)) =
                (&mut self.timers, kept.search.next_over_ms(&self.spec.rules))
                && kept.timed != first
            {
                timers.set(over_ms, *group);
                kept.timed = first;
            }
        }
    }

    /// Ends the searches whose time is over.
    fn expire(&mut self, watermark_ms: i64, number: u64, before_ms: i64, context: &mut Context) {
        let complete = watermark_ms == WATERMARK_MAX;
        let mut groups = match &mut self.timers {
            Some(timers) => timers.due(watermark_ms),
            None if complete => self.groups.numbers(),
            None => return,
        };
        groups.retain(|group| self.kept[*group as usize].search.len() > 0);
        self.keep_view(&groups);
        for groups in groups.chunks(Batch::ROWS_MAX) {
            let (mut found, mut ended) = (Vec::new(), Vec::new());
            loop {
                let mut some = false;
                for group in groups {
                    let kept = &mut self.kept[*group as usize];
                    kept.timed = None;
                    some |= kept.search.expire_due(watermark_ms, complete, &self.spec.rules, &mut ended);
                    found.extend(ended.drain(..).map(|ended| (*group, ended)));
                }
                if !some {
                    break;
                }
                found.extend(self.search(groups, context));
            }
            self.send(found, number, before_ms, context);
            self.settle(groups);
        }
    }

    /// Saves those of these groups that a view still has to capture, before they change.
    fn keep_view(&mut self, groups: &[u32]) {
        if self.groups.has_view() {
            let groups = self.groups.take_uncaptured(groups);
            self.save(&groups);
        }
    }

    /// Saves the rows of groups.
    fn save(&mut self, groups: &[u32]) {
        let rows = groups.iter().flat_map(|group| {
            let (key, search) = (self.groups.key(*group), &self.kept[*group as usize].search);
            search.rows().map(move |(number, _)| (key, number, search))
        });
        let rows: Vec<(&[u8], u64, &Search)> = rows.collect();
        for rows in rows.chunks(Batch::ROWS_MAX) {
            self.early.push(ROWS, self.tables.rows(rows, &self.payload));
        }
    }

    /// The next groups of a view, with about so many rows.
    fn scan(&mut self, rows: usize) -> Vec<u32> {
        let (mut groups, mut entries) = (Vec::new(), 0);
        while entries < rows
            && let Some(group) = self.groups.scan(1).pop()
        {
            groups.push(group);
            entries += self.kept[group as usize].search.len().max(1);
        }
        groups
    }
}

/// Sends a row of which only these columns are kept to quarantine.
fn reject(bytes: &[u8], payload: &Payload, columns: &Schema, why: String, context: &mut Context) {
    let rows = columns.rows(payload.decode(std::iter::once(bytes)), 1);
    context.reject("pattern", columns, &Batch::of_rows(rows, 0), 0, why);
}

impl Operator for Patterns {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        debug_assert!(self.work.is_none(), "the batch before is worked off");
        debug_assert_eq!(batch.clocks.len(), batch.segments.len(), "an inbox has set the clocks");
        self.work = Some(Work { batch, segment: 0, row: 0 });
    }

    fn pull(&mut self, context: &mut Context) -> Option<Batch> {
        while self.queue.is_empty() && (self.fire(context) || self.advance(context)) {}
        self.queue.pull()
    }

    fn state(&self) -> StateSize {
        StateSize {
            entries: self.waiting.len() + self.rows,
            bytes: self.waiting.bytes()
                + self.groups.bytes()
                + self.kept.bytes()
                + self.bytes
                + self.timers.as_ref().map_or(0, Timers::bytes)
                + self.early.bytes(),
            next_close_ms: self.waiting.next_ms().map(|next_ms| next_ms.saturating_add(1)),
        }
    }

    fn tables(&self) -> Vec<StateTable> {
        self.tables.all()
    }

    fn begin_view(&mut self) {
        self.groups.begin_view();
        self.waiting.begin_view(self.queue.watermark_ms());
        self.early.push(CLOCK, CLOCK_TABLE.row([self.queue.watermark_ms()]));
    }

    fn capture(&mut self, rows: usize) -> Option<Captured> {
        loop {
            if let Some(captured) = self.early.next(rows) {
                return Some(captured);
            }
            let groups = self.scan(rows);
            if groups.is_empty() {
                break;
            }
            self.save(&groups);
        }
        let picks = self.waiting.capture(rows)?;
        Some(Captured { table: WAITING, rows: self.tables.waiting.rows(&picks) })
    }

    fn end_view(&mut self) {
        self.groups.end_view();
        self.waiting.end_view();
        self.early.clear();
    }

    fn restore(&mut self, table: usize, rows: &RecordBatch) {
        match table {
            WAITING => {
                let hashes = self.tables.hashes(rows);
                let (columns, times, arrivals) = self.tables.waiting.read(rows);
                self.waiting.load(columns, times, hashes, arrivals);
            }
            ROWS => self.tables.read(rows, &self.payload, &mut self.groups, &mut self.loaded),
            _ => self.queue.advance_to(CLOCK_TABLE.read(rows)[0]),
        }
    }

    fn restored(&mut self) {
        self.waiting.loaded();
        self.kept.resize(self.groups.capacity());
        let mut groups = Vec::with_capacity(self.loaded.len());
        for (group, mut rows) in std::mem::take(&mut self.loaded) {
            rows.sort_by_key(|(place, _, _)| *place);
            let rows = rows.into_iter().map(|(_, row, open)| (row, open)).collect();
            self.kept[group as usize].search.load(rows);
            groups.push(group);
        }
        // What the rows have come to before was told then.
        for groups in groups.chunks(Batch::ROWS_MAX) {
            let decided = self.search(groups, &mut Context::default());
            debug_assert!(decided.is_empty(), "a search that is saved is not decided");
            self.settle(groups);
        }
    }
}
