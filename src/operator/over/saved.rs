//! The state of `over` as tables: the rows that wait, the keys with the states of their aggregates, the rows of their
//! frames, and the watermark.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, Fields};

use super::frame::{Extent, Frame, Frames};
use super::operator::Spec;
use super::waiting::Picks;
use crate::aggregate::Accumulator;
use crate::operator::StateTable;
use crate::operator::saved::{
    Clock, SavedKeys, number_column, number_field, numbers, rows_of, time_column, time_field, times_ms,
};

/// The rows that wait.
pub(super) const WAITING: usize = 0;
/// The keys with the states of their aggregates.
pub(super) const KEYS: usize = 1;
/// What the shard has one of.
pub(super) const CLOCK: usize = 2;
/// The rows of the keys' frames; none where a frame holds all rows.
pub(super) const FRAMES: usize = 3;

/// What the shard has one of: its watermark.
pub(super) const CLOCK_TABLE: Clock<1> = Clock::new(["watermark_ms"]);

/// The tables, and what is where in them.
pub(super) struct Tables {
    spec: Spec,
    /// The fields of a row of the input; none where it has no columns.
    own: Option<Fields>,
    /// Positions of prepared columns that are neither the row's own nor a key's.
    computed: Vec<usize>,
    waiting: StateTable,
    keys: StateTable,
    frames: Option<StateTable>,
}

impl Tables {
    /// The tables of an operator with these accumulators.
    pub fn new(spec: &Spec, accumulators: &[Box<dyn Accumulator>]) -> Self {
        let fields = spec.prepared.arrow().fields();
        let own = (spec.columns > 0).then(|| fields.iter().take(spec.columns).cloned().collect::<Fields>());
        let computed: Vec<usize> =
            (spec.columns..fields.len()).filter(|index| !spec.keys.contains(index)).collect();
        let field = |index: &usize| fields[*index].as_ref().clone();
        let row = own.as_ref().map(|own| Field::new("row", DataType::Struct(own.clone()), false));
        let waiting = [time_field("at"), number_field("arrival")].into_iter().chain(row);
        let frames = [number_field("place"), time_field("at")].into_iter().chain(spec.read.iter().map(field));
        let states = spec.names.iter().zip(accumulators).flat_map(|(name, accumulator)| {
            accumulator.saved().into_iter().map(move |part| {
                let name =
                    if part.name().is_empty() { name.clone() } else { format!("{name}.{}", part.name()) };
                part.with_name(name)
            })
        });
        Self {
            waiting: spec.key.table("waiting", waiting.chain(computed.iter().map(field))),
            keys: spec.key.table("keys", states),
            frames: (spec.extent != Extent::All).then(|| spec.key.table("frames", frames)),
            spec: spec.clone(),
            own,
            computed,
        }
    }

    /// All of them, in the order of their numbers.
    pub fn all(&self) -> Vec<StateTable> {
        let tables = [self.waiting.clone(), self.keys.clone(), CLOCK_TABLE.table()];
        tables.into_iter().chain(self.frames.clone()).collect()
    }

    /// The keys of saved rows of any of the tables.
    pub fn keys_of(&self, rows: &RecordBatch) -> SavedKeys {
        self.spec.key.read(rows)
    }

    /// Rows that wait.
    pub fn waiting(&self, picks: &Picks) -> RecordBatch {
        let columns = &picks.columns;
        let mut saved: Vec<ArrayRef> = self.spec.keys.iter().map(|index| columns[*index].clone()).collect();
        saved.push(time_column(picks.times.values().iter().copied()));
        saved.push(number_column(picks.numbers.iter().map(|number| number.cast_signed())));
        saved.extend(self.own.as_ref().map(|own| {
            let row = StructArray::new(own.clone(), columns[..self.spec.columns].to_vec(), None);
            Arc::new(row) as ArrayRef
        }));
        saved.extend(self.computed.iter().map(|index| columns[*index].clone()));
        rows_of(&self.waiting, saved, picks.numbers.len())
    }

    /// The prepared columns of saved rows that wait, their times and their places in the order of arrival.
    pub fn read_waiting<'a>(&self, rows: &'a RecordBatch) -> (Vec<ArrayRef>, &'a [i64], &'a [i64]) {
        let first = self.spec.key.len();
        let behind = first + 2 + usize::from(self.own.is_some());
        let own = self.own.as_ref().map(|_| rows.column(first + 2).as_struct());
        let prepared = (0..self.spec.prepared.columns().len()).map(|index| {
            let own = own.filter(|_| index < self.spec.columns).map(|own| own.column(index));
            let key = || self.spec.keys.iter().position(|key| *key == index).map(|key| rows.column(key));
            let computed = || self.computed.iter().position(|computed| *computed == index);
            let column = own.or_else(key).or_else(|| computed().map(|place| rows.column(behind + place)));
            column.expect("every column has been saved").clone()
        });
        (prepared.collect(), times_ms(rows.column(first)), numbers(rows.column(first + 1)))
    }

    /// Keys with the states of their aggregates.
    pub fn keys<'a>(
        &self,
        keys: impl Iterator<Item = &'a [u8]>,
        groups: &[u32],
        accumulators: &[Box<dyn Accumulator>],
    ) -> RecordBatch {
        let mut columns = self.spec.key.columns(keys);
        columns.extend(accumulators.iter().flat_map(|accumulator| accumulator.save(groups)));
        rows_of(&self.keys, columns, groups.len())
    }

    /// Gives these groups the states of saved keys.
    pub fn read_keys(&self, rows: &RecordBatch, groups: &[u32], accumulators: &mut [Box<dyn Accumulator>]) {
        let mut columns = &rows.columns()[self.spec.key.len()..];
        for accumulator in accumulators {
            let (own, others) = columns.split_at(accumulator.saved().len());
            accumulator.load(groups, own);
            columns = others;
        }
    }

    /// The next rows of frames that have been saved, about so many; none where none are left.
    pub fn frames(&self, saved: &mut SavedFrames, frames: &Frames, rows: usize) -> Option<RecordBatch> {
        let table = self.frames.as_ref()?;
        let picked = saved.pick(rows);
        if picked.is_empty() {
            return None;
        }
        let mut columns = self.spec.key.columns(picked.iter().map(|entry| entry.key));
        columns.push(number_column(picked.iter().map(|entry| entry.place)));
        columns.push(time_column(picked.iter().map(|entry| entry.at_ms)));
        columns.extend(frames.columns(picked.iter().map(|entry| entry.row)));
        let (count, batch) = (picked.len(), rows_of(table, columns, picked.len()));
        saved.pass(count);
        Some(batch)
    }

    /// Adds saved rows of frames to those of these groups, all of which are below `capacity`.
    pub fn read_frames(&self, rows: &RecordBatch, groups: &[u32], frames: &mut Frames, capacity: usize) {
        let first = self.spec.key.len();
        let (places, times) = (numbers(rows.column(first)), times_ms(rows.column(first + 1)));
        // Where the aggregates read no column, the frame keeps none.
        frames.load(groups, places, times, &rows.columns()[first + 2..], capacity);
    }
}

/// Frames that have been captured and not handed out: a copy of the bytes of each, which is read in portions.
#[derive(Default)]
pub(super) struct SavedFrames {
    frames: VecDeque<SavedFrame>,
    bytes: usize,
}

struct SavedFrame {
    key: Box<[u8]>,
    frame: Frame,
    /// The place of its oldest row that has not been handed out.
    place: i64,
}

/// A row of a saved frame.
pub(super) struct Entry<'a> {
    key: &'a [u8],
    place: i64,
    at_ms: i64,
    row: &'a [u8],
}

impl SavedFrames {
    /// Saves a frame.
    pub fn push(&mut self, key: &[u8], frame: Frame) {
        if frame.is_empty() {
            return;
        }
        self.bytes += frame.bytes();
        self.frames.push_back(SavedFrame { key: key.into(), frame, place: 0 });
    }

    /// The next rows.
    fn pick(&self, rows: usize) -> Vec<Entry<'_>> {
        let entries = self.frames.iter().flat_map(|SavedFrame { key, frame, place }| {
            (*place..).zip(frame.entries()).map(|(place, (at_ms, row))| Entry { key, place, at_ms, row })
        });
        entries.take(rows).collect()
    }

    /// Forgets the next rows.
    fn pass(&mut self, rows: usize) {
        for _ in 0..rows {
            let Some(first) = self.frames.front_mut() else { return };
            first.frame.pop();
            first.place += 1;
            if first.frame.is_empty() {
                self.bytes -= first.frame.bytes();
                self.frames.pop_front();
            }
        }
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The heap bytes held, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
