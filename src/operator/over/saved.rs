//! The state of `over` as tables: the rows that wait, the keys with the states of their aggregates, the rows of their
//! frames, and the watermark.

use std::collections::VecDeque;

use arrow::array::RecordBatch;

use super::frame::{Extent, Frame, Frames};
use super::operator::Spec;
use crate::aggregate::Accumulator;
use crate::operator::StateTable;
use crate::operator::saved::{
    Clock, SavedKeys, number_column, number_field, numbers, rows_of, time_column, time_field, times_ms,
};
use crate::operator::waiting_table::WaitingTable;

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
    /// The rows that wait.
    pub waiting: WaitingTable,
    keys: StateTable,
    frames: Option<StateTable>,
}

impl Tables {
    /// The tables of an operator with these accumulators.
    pub fn new(spec: &Spec, accumulators: &[Box<dyn Accumulator>]) -> Self {
        let fields = spec.prepared.arrow().fields();
        let field = |index: &usize| fields[*index].as_ref().clone();
        let frames = [number_field("place"), time_field("at")].into_iter().chain(spec.read.iter().map(field));
        let states = spec.names.iter().zip(accumulators).flat_map(|(name, accumulator)| {
            accumulator.saved().into_iter().map(move |part| {
                let name =
                    if part.name().is_empty() { name.clone() } else { format!("{name}.{}", part.name()) };
                part.with_name(name)
            })
        });
        Self {
            waiting: WaitingTable::new(&spec.key, &spec.keys, &spec.prepared, spec.columns),
            keys: spec.key.table("keys", states),
            frames: (spec.extent != Extent::All).then(|| spec.key.table("frames", frames)),
            spec: spec.clone(),
        }
    }

    /// All of them, in the order of their numbers.
    pub fn all(&self) -> Vec<StateTable> {
        let tables = [self.waiting.table().clone(), self.keys.clone(), CLOCK_TABLE.table()];
        tables.into_iter().chain(self.frames.clone()).collect()
    }

    /// The keys of saved rows of any of the tables.
    pub fn keys_of(&self, rows: &RecordBatch) -> SavedKeys {
        self.spec.key.read(rows)
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
