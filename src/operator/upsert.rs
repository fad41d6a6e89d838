//! The last operator of a sink with `changelog: upsert`: for each key the newest row, or that there is none any more.
//!
//! What a key has come to is sent at the end of each block in which it changed. Where the key is not the changelog's own,
//! several rows of a key may be there at a time; the newest is the one of the latest block, and among those of one block
//! the one whose bytes are the greatest, so that it does not depend on which shard's rows came first. Of rows that stay,
//! such as those of windows, the one of the latest event time comes before that.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Fields;
use hashbrown::HashMap;

use super::key_bytes::KeyBytes;
use super::row_bytes::RowBytes;
use super::saved::{Early, StateKey, number_column, number_field, numbers, rows_of};
use super::{Build, Captured, Context, Operator, StateSize, StateTable};
use crate::record::{Batch, Column, KeyCodec, Schema, Segment, SqlType};
use crate::state::{Groups, Pages};

/// How rows are brought to the newest of each key.
#[derive(Clone, Debug)]
pub struct UpsertSpec {
    /// The rows.
    pub schema: Schema,
    /// Positions of the key's columns.
    pub key: Vec<usize>,
    /// How the key's bytes are written.
    pub codec: KeyCodec,
    /// Whether rows stay for good: then a later one takes the place of an earlier one of its key.
    pub rows_stay: bool,
    /// Whether rows of a key arrive in one defined order.
    pub ordered: bool,
}

impl UpsertSpec {
    /// The columns of the output: `key` and `value`, which is NULL where the key is gone.
    #[must_use]
    pub fn output(&self) -> Schema {
        let columns = self.schema.columns();
        let key = self.key.iter().map(|index| columns[*index].clone()).collect();
        Schema::new(vec![
            Column::new("key", SqlType::Row(key), false),
            Column::new("value", SqlType::Row(columns.to_vec()), true),
        ])
    }

    /// Makes rows into what their keys come to. The state has the name `state`.
    #[must_use]
    pub fn build(self, state: &str) -> Build {
        let names: Vec<&str> =
            self.key.iter().map(|index| self.schema.columns()[*index].name.as_str()).collect();
        let description = format!("keep the newest row of each {}: {{key, value}}", names.join(", "));
        Build::new(description, move || Box::new(Upsert::new(self.clone()))).keeping(state)
    }
}

/// The table of the state: the keys with their rows. (Rows that stay leave nothing behind at the end of a block.)
const KEYS: usize = 0;

struct Upsert {
    codec: RowBytes,
    spec: UpsertSpec,
    key: StateKey,
    output: Schema,
    keys: Groups,
    /// Per key the rows that are there.
    kept: Pages<Vec<Kept>>,
    /// The bytes of all rows that are there, with what a list takes for each.
    kept_bytes: usize,
    /// The keys with changes in the block that has not ended, in the order in which they came.
    touched: Vec<u32>,
    /// Per touched key the newest row before the block.
    before: HashMap<u32, Option<Box<[u8]>>>,
    /// Counts rows, where their order in a block counts.
    arrivals: u64,
    table: StateTable,
    early: Early,
    /// Block ends behind what is ready.
    ends: Vec<Segment>,
    ready: VecDeque<Batch>,
}

/// A row that is there.
#[derive(Debug)]
struct Kept {
    bytes: Box<[u8]>,
    weight: i64,
    /// The block that brought it, or the place of its arrival; then its event time, of rows that stay.
    since: (u64, i64),
}

/// What a key has come to: its newest row, or the row that is gone.
struct Change {
    number: u32,
    row: Box<[u8]>,
    there: bool,
}

impl Upsert {
    fn new(spec: UpsertSpec) -> Self {
        let codec = RowBytes::new(&spec.schema);
        let names = spec.key.iter().map(|index| spec.schema.columns()[*index].name.clone());
        let key = StateKey::new(names, spec.codec.clone());
        Self {
            table: key.table("keys", [codec.saved(), number_field("weight"), number_field("since_block")]),
            early: Early::default(),
            codec,
            key,
            output: spec.output(),
            spec,
            keys: Groups::default(),
            kept: Pages::default(),
            kept_bytes: 0,
            touched: Vec::new(),
            before: HashMap::new(),
            arrivals: 0,
            ends: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    /// Saves those of these keys that a view still has to capture, before they change.
    fn keep_view(&mut self, numbers: &[u32]) {
        for numbers in self.keys.take_uncaptured(numbers).chunks(Batch::ROWS_MAX) {
            self.early.push(KEYS, self.save(numbers));
        }
    }

    /// The rows of these keys.
    fn save(&self, keys: &[u32]) -> RecordBatch {
        let rows = |number: &u32| {
            let key = self.keys.key(*number);
            self.kept[*number as usize].iter().map(move |kept| (key, kept))
        };
        let rows: Vec<(&[u8], &Kept)> = keys.iter().flat_map(rows).collect();
        let mut columns = self.key.columns(rows.iter().map(|(key, _)| *key));
        columns.push(self.codec.save(rows.iter().map(|(_, kept)| &*kept.bytes)));
        columns.push(number_column(rows.iter().map(|(_, kept)| kept.weight)));
        columns.push(number_column(rows.iter().map(|(_, kept)| kept.since.0.cast_signed())));
        rows_of(&self.table, columns, rows.len())
    }

    /// Notes one row of block `block`, of event time `at_ms`.
    fn add(&mut self, key: &[u8], row: &[u8], weight: i64, (block, at_ms): (u64, i64)) {
        let number = self.keys.number(KeyCodec::hash(key), key);
        if self.kept.len() < self.keys.capacity() {
            self.kept.resize(self.keys.capacity());
        }
        let kept = &mut self.kept[number as usize];
        if !self.before.contains_key(&number) {
            self.before.insert(number, newest(kept).map(|kept| kept.bytes.clone()));
            self.touched.push(number);
        }
        self.arrivals += 1;
        let since = match self.spec.rows_stay {
            true if self.spec.ordered => (self.arrivals, 0),
            true => (block, at_ms),
            false => (block, 0),
        };
        match kept.iter_mut().find(|kept| *kept.bytes == *row) {
            Some(kept) => {
                kept.weight += weight;
                if self.spec.rows_stay {
                    kept.since = kept.since.max(since);
                }
            }
            None => {
                self.kept_bytes += row.len() + size_of::<Kept>();
                kept.push(Kept { bytes: row.into(), weight, since });
            }
        }
    }

    /// Ends block `block`: what its keys have come to is ready.
    fn end(&mut self, block: u64) {
        let mut changes = Vec::new();
        let mut gone = Vec::new();
        for number in std::mem::take(&mut self.touched) {
            let before = self.before.remove(&number).expect("noted with the key's first change");
            let kept = &mut self.kept[number as usize];
            let kept_bytes = &mut self.kept_bytes;
            kept.retain(|kept| {
                let stays = kept.weight > 0;
                if !stays {
                    *kept_bytes -= kept.bytes.len() + size_of::<Kept>();
                }
                stays
            });
            let after = newest(kept).map(|kept| kept.bytes.clone());
            match (before, after) {
                (Some(before), Some(after)) if before == after => {}
                (_, Some(row)) => changes.push(Change { number, row, there: true }),
                (Some(row), None) => changes.push(Change { number, row, there: false }),
                (None, None) => {}
            }
            if self.spec.rows_stay {
                // The next row of the key takes the place of this one whatever it is.
                let rows = std::mem::take(kept);
                self.kept_bytes -=
                    rows.iter().map(|kept| kept.bytes.len() + size_of::<Kept>()).sum::<usize>();
            }
            if self.kept[number as usize].is_empty() {
                self.kept[number as usize] = Vec::new();
                gone.push(number);
            }
        }
        for chunk in changes.chunks(Batch::ROWS_MAX) {
            let mut batch = Batch::of_rows(self.rows(chunk), block);
            batch.segments.splice(0..0, std::mem::take(&mut self.ends));
            self.ready.push_back(batch);
        }
        for number in gone {
            self.keys.remove(number);
        }
    }

    fn rows(&self, changes: &[Change]) -> RecordBatch {
        let keys = self.spec.codec.decode(changes.iter().map(|change| self.keys.key(change.number)));
        let values = self.codec.columns(changes.iter().map(|change| &*change.row));
        let there: NullBuffer = changes.iter().map(|change| change.there).collect::<Vec<bool>>().into();
        let row = |fields: Fields, columns: Vec<ArrayRef>, nulls: Option<NullBuffer>| -> ArrayRef {
            let array = StructArray::try_new_with_length(fields, columns, nulls, changes.len());
            Arc::new(array.expect("the columns of the schema"))
        };
        let value = self.spec.schema.arrow().fields().clone();
        let key = self.spec.key.iter().map(|index| value[*index].clone()).collect();
        let columns = vec![row(key, keys, None), row(value, values, Some(there))];
        RecordBatch::try_new(self.output.arrow().clone(), columns).expect("columns of one length")
    }
}

/// The newest of the rows of a key.
fn newest(kept: &[Kept]) -> Option<&Kept> {
    kept.iter().max_by(|one, other| (one.since, &one.bytes).cmp(&(other.since, &other.bytes)))
}

impl Operator for Upsert {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        let rows = self.codec.write(batch.rows.columns());
        let keys = KeyBytes::of(&batch, &self.spec.key, &self.spec.codec);
        if self.keys.has_view() {
            let known = (0..batch.len()).map(|row| keys.key(row));
            let known = known.filter_map(|key| self.keys.find(KeyCodec::hash(key), key));
            let known: Vec<u32> = known.collect();
            self.keep_view(&known);
        }
        let mut row = 0;
        for segment in &batch.segments {
            for _ in 0..segment.rows {
                let weight = batch.weights.as_ref().map_or(1, |weights| i64::from(weights.value(row)));
                let at_ms = batch.times.as_ref().map_or(i64::MIN, |times| times.at_ms.value(row));
                self.add(keys.key(row), rows.row(row).as_ref(), weight, (segment.number, at_ms));
                row += 1;
            }
            if segment.end.is_some() {
                self.end(segment.number);
                self.ends.push(Segment { rows: 0, ..*segment });
            }
        }
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        if let Some(batch) = self.ready.pop_front() {
            return Some(batch);
        }
        if self.ends.is_empty() {
            return None;
        }
        let mut batch = Batch::of_rows(RecordBatch::new_empty(self.output.arrow().clone()), 0);
        batch.segments = std::mem::take(&mut self.ends);
        Some(batch)
    }

    fn state(&self) -> StateSize {
        let bytes = self.keys.bytes() + self.kept.bytes() + self.kept_bytes + self.early.bytes();
        StateSize { entries: self.keys.len(), bytes, next_close_ms: None }
    }

    fn tables(&self) -> Vec<StateTable> {
        vec![self.table.clone()]
    }

    fn begin_view(&mut self) {
        debug_assert!(self.touched.is_empty() && self.before.is_empty(), "a barrier is where blocks end");
        self.keys.begin_view();
    }

    fn capture(&mut self, rows: usize) -> Option<Captured> {
        if let Some(captured) = self.early.next(rows) {
            return Some(captured);
        }
        let keys = self.keys.scan(rows);
        (!keys.is_empty()).then(|| Captured { table: KEYS, rows: self.save(&keys) })
    }

    fn end_view(&mut self) {
        self.keys.end_view();
        self.early.clear();
    }

    fn restore(&mut self, _: usize, rows: &RecordBatch) {
        let (keys, first) = (self.key.read(rows).number(&mut self.keys), self.key.len());
        self.kept.resize(self.keys.capacity());
        let payloads = self.codec.load(rows.column(first));
        let (weights, since) = (numbers(rows.column(first + 1)), numbers(rows.column(first + 2)));
        for (row, number) in keys.into_iter().enumerate() {
            let bytes: Box<[u8]> = payloads.row(row).as_ref().into();
            self.kept_bytes += bytes.len() + size_of::<Kept>();
            let since = (since[row].cast_unsigned(), 0);
            self.kept[number as usize].push(Kept { bytes, weight: weights[row], since });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::feed::{Feed, check_build};
    use super::*;

    fn check(rows_stay: bool, ordered: bool, feed: &[Feed<'_>], expect: &[&str]) {
        let build = |schema: &Schema| {
            let key = vec![schema.index_of("channel").unwrap()];
            let codec = KeyCodec::new(vec![SqlType::String]).unwrap();
            let spec = UpsertSpec { schema: schema.clone(), key, codec, rows_stay, ordered };
            let output = spec.output();
            (spec.build("sink"), output)
        };
        check_build(build, feed, expect);
    }

    #[test]
    fn a_key_is_written_once_a_block_with_its_newest_row() {
        check(
            false,
            false,
            &[
                Feed::Rows(1, &[r#"+{"channel":"a","price":1}"#, r#"+{"channel":"b","price":7}"#]),
                Feed::Rows(1, &[r#"-{"channel":"a","price":1}"#, r#"+{"channel":"a","price":2}"#]),
                Feed::End(1),
                Feed::Rows(2, &[r#"-{"channel":"a","price":2}"#, r#"-{"channel":"b","price":7}"#]),
                Feed::Rows(2, &[r#"+{"channel":"a","price":2}"#]),
                Feed::End(2),
                Feed::Rows(3, &[r#"+{"channel":"c","price":3}"#, r#"-{"channel":"c","price":3}"#]),
                Feed::Rows(3, &[r#"+{"channel":"b","price":8}"#]),
                Feed::End(3),
            ],
            &[
                r#"1 {"key":{"channel":"a"},"value":{"channel":"a","price":2}}"#,
                r#"1 {"key":{"channel":"b"},"value":{"channel":"b","price":7}}"#,
                "end 1",
                r#"2 {"key":{"channel":"b"},"value":null}"#,
                "end 2",
                r#"3 {"key":{"channel":"b"},"value":{"channel":"b","price":8}}"#,
                "end 3",
            ],
        );
    }

    #[test]
    fn of_several_rows_of_a_key_the_newest_counts_until_it_goes() {
        check(
            false,
            false,
            &[
                Feed::Rows(1, &[r#"+{"channel":"a","price":9}"#]),
                Feed::End(1),
                Feed::Rows(2, &[r#"+{"channel":"a","price":5}"#, r#"+{"channel":"a","price":4}"#]),
                Feed::End(2),
                Feed::Rows(3, &[r#"-{"channel":"a","price":5}"#]),
                Feed::End(3),
                Feed::Rows(4, &[r#"-{"channel":"a","price":4}"#]),
                Feed::End(4),
                Feed::Rows(5, &[r#"-{"channel":"a","price":9}"#]),
                Feed::End(5),
            ],
            &[
                r#"1 {"key":{"channel":"a"},"value":{"channel":"a","price":9}}"#,
                "end 1",
                r#"2 {"key":{"channel":"a"},"value":{"channel":"a","price":5}}"#,
                "end 2",
                r#"3 {"key":{"channel":"a"},"value":{"channel":"a","price":4}}"#,
                "end 3",
                r#"4 {"key":{"channel":"a"},"value":{"channel":"a","price":9}}"#,
                "end 4",
                r#"5 {"key":{"channel":"a"},"value":null}"#,
                "end 5",
            ],
        );
    }

    #[test]
    fn rows_that_stay_take_each_others_place() {
        let feed = [
            Feed::Rows(1, &[r#"{"channel":"a","price":2}"#, r#"{"channel":"a","price":1}"#]),
            Feed::End(1),
            Feed::Rows(2, &[r#"{"channel":"a","price":1}"#]),
            Feed::End(2),
        ];
        let ordered = [
            r#"1 {"key":{"channel":"a"},"value":{"channel":"a","price":1}}"#,
            "end 1",
            r#"2 {"key":{"channel":"a"},"value":{"channel":"a","price":1}}"#,
            "end 2",
        ];
        check(true, true, &feed, &ordered);
        let first = r#"1 {"key":{"channel":"a"},"value":{"channel":"a","price":2}}"#;
        check(true, false, &feed, &[&[first], &ordered[1..]].concat());
    }
}
