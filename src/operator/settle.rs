//! The last operator of a sink with `changelog: final`: nothing until the input is complete, then the rows that are there.
//!
//! A row that takes another back has to meet it: rows come by their key, which is made of all columns that can be one.

use arrow::array::{ArrayRef, RecordBatch};

use super::row_bytes::RowBytes;
use super::saved::{Early, StateKey, number_column, number_field, numbers, rows_of};
use super::{Build, Captured, Context, Operator, StateSize, StateTable};
use crate::record::{Batch, KeyCodec, Schema, Segment};
use crate::state::{Groups, Pages};

/// Keeps the rows of `schema`, which has at least one column, until they are final. They are behind an exchange by the
/// columns at the positions `key`, which `codec` writes. The state has the name `state`.
#[must_use]
pub fn settle(schema: &Schema, key: &[usize], codec: &KeyCodec, state: &str) -> Build {
    let (schema, key, codec) = (schema.clone(), key.to_vec(), codec.clone());
    let build = Build::new(
        "keep back all rows until the input is complete, then write those that are still there",
        move || Box::new(Settle::new(&schema, &key, &codec)),
    );
    build.keeping(state)
}

/// The table of the state: the rows that are there.
const ROWS: usize = 0;

struct Settle {
    codec: RowBytes,
    empty: RecordBatch,
    /// The positions of the columns in the order of the table: those of the key first.
    order: Vec<usize>,
    table: StateTable,
    early: Early,
    /// The rows that are there, by their bytes.
    rows: Groups,
    /// How often each is there.
    weights: Pages<i64>,
    /// Block ends that have been passed and not yet sent on.
    ends: Vec<Segment>,
    last: Option<Last>,
}

/// What is sent behind the last block.
struct Last {
    end: Segment,
    numbers: Vec<u32>,
    /// How many of them are out, and how many copies of the next.
    sent: usize,
    copies: i64,
}

impl Settle {
    fn new(schema: &Schema, key: &[usize], codec: &KeyCodec) -> Self {
        let columns = schema.columns();
        let others: Vec<usize> = (0..columns.len()).filter(|index| !key.contains(index)).collect();
        let names = key.iter().map(|index| columns[*index].name.clone());
        let fields = others.iter().map(|index| columns[*index].field().as_ref().clone());
        let table = StateKey::new(names, codec.clone()).table("rows", fields.chain([number_field("weight")]));
        Self {
            order: [key, &others].concat(),
            table,
            early: Early::default(),
            codec: RowBytes::new(schema),
            empty: RecordBatch::new_empty(schema.arrow().clone()),
            rows: Groups::default(),
            weights: Pages::default(),
            ends: Vec::new(),
            last: None,
        }
    }

    fn add(&mut self, row: &[u8], weight: i64) {
        let number = self.rows.number(KeyCodec::hash(row), row);
        if self.weights.len() < self.rows.capacity() {
            self.weights.resize(self.rows.capacity());
        }
        let held = &mut self.weights[number as usize];
        *held += weight;
        if *held == 0 {
            self.rows.remove(number);
        }
    }

    /// Saves those of these rows that a view still has to capture, before they change.
    fn keep_view(&mut self, rows: &[u32]) {
        if !self.rows.has_view() {
            return;
        }
        for rows in self.rows.take_uncaptured(rows).chunks(Batch::ROWS_MAX) {
            self.early.push(ROWS, self.save(rows));
        }
    }

    fn save(&self, numbers: &[u32]) -> RecordBatch {
        let own = self.codec.columns(numbers.iter().map(|number| self.rows.key(*number)));
        let mut columns: Vec<ArrayRef> = self.order.iter().map(|index| own[*index].clone()).collect();
        columns.push(number_column(numbers.iter().map(|number| self.weights[*number as usize])));
        rows_of(&self.table, columns, numbers.len())
    }

    /// The next rows of those that have become final; none once all are out, with the end behind them.
    fn send(&mut self) -> Option<Batch> {
        let mut last = self.last.take()?;
        let mut chunk = Vec::new();
        while chunk.len() < Batch::ROWS_MAX
            && let Some(number) = last.numbers.get(last.sent)
        {
            if last.copies < self.weights[*number as usize] {
                chunk.push(*number);
                last.copies += 1;
            } else {
                self.keep_view(&[*number]);
                self.weights[*number as usize] = 0;
                (last.sent, last.copies) = (last.sent + 1, 0);
            }
        }
        if chunk.is_empty() {
            self.ends.push(last.end);
            (self.rows, self.weights) = (Groups::default(), Pages::default());
            return None;
        }
        let number = last.end.number;
        self.last = Some(last);
        let rows = self.codec.read(chunk.iter().map(|number| self.rows.key(*number)));
        let mut batch = Batch::of_rows(rows, number);
        batch.segments.splice(0..0, std::mem::take(&mut self.ends));
        Some(batch)
    }
}

impl Operator for Settle {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        let rows = self.codec.write(batch.rows.columns());
        if self.rows.has_view() {
            let known = rows.iter();
            let known = known.filter_map(|row| self.rows.find(KeyCodec::hash(row.as_ref()), row.as_ref()));
            let known: Vec<u32> = known.collect();
            self.keep_view(&known);
        }
        for (row, bytes) in rows.iter().enumerate() {
            let weight = batch.weights.as_ref().map_or(1, |weights| i64::from(weights.value(row)));
            self.add(bytes.as_ref(), weight);
        }
        for segment in &batch.segments {
            let Some(end) = segment.end else { continue };
            let passed = Segment { rows: 0, ..*segment };
            if segment.number == Segment::LAST && end.finished {
                let numbers = self.rows.numbers();
                self.last = Some(Last { end: passed, numbers, sent: 0, copies: 0 });
            } else {
                self.ends.push(passed);
            }
        }
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        if let Some(batch) = self.send() {
            return Some(batch);
        }
        if self.ends.is_empty() {
            return None;
        }
        let mut batch = Batch::of_rows(self.empty.clone(), 0);
        batch.segments = std::mem::take(&mut self.ends);
        Some(batch)
    }

    fn state(&self) -> StateSize {
        let bytes = self.rows.bytes() + self.weights.bytes() + self.early.bytes();
        StateSize { entries: self.rows.len(), bytes, next_close_ms: None }
    }

    fn tables(&self) -> Vec<StateTable> {
        vec![self.table.clone()]
    }

    fn begin_view(&mut self) {
        self.rows.begin_view();
    }

    fn capture(&mut self, rows: usize) -> Option<Captured> {
        if let Some(captured) = self.early.next(rows) {
            return Some(captured);
        }
        let numbers = self.rows.scan(rows);
        (!numbers.is_empty()).then(|| Captured { table: ROWS, rows: self.save(&numbers) })
    }

    fn end_view(&mut self) {
        self.rows.end_view();
        self.early.clear();
    }

    fn restore(&mut self, _: usize, rows: &RecordBatch) {
        let mut places: Vec<usize> = (0..self.order.len()).collect();
        places.sort_by_key(|place| self.order[*place]);
        let own: Vec<ArrayRef> = places.iter().map(|place| rows.column(*place).clone()).collect();
        let weights = numbers(rows.column(self.order.len()));
        for (row, weight) in self.codec.write(&own).iter().zip(weights) {
            self.add(row.as_ref(), *weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::feed::{Feed, check_build};
    use super::*;
    use crate::record::SqlType;

    fn check(feed: &[Feed<'_>], expect: &[&str]) {
        // By the last column, so that those of the table are in another order.
        let build = |schema: &Schema| {
            let codec = KeyCodec::new(vec![SqlType::BigInt]).unwrap();
            (settle(schema, &[schema.columns().len() - 1], &codec, "sink"), schema.clone())
        };
        check_build(build, feed, expect);
    }

    #[test]
    fn rows_come_once_they_are_final_as_often_as_they_are_there() {
        check(
            &[
                Feed::Rows(1, &[r#"+{"channel":"a","price":1}"#, r#"+{"channel":"b","price":1}"#]),
                Feed::End(1),
                Feed::Rows(2, &[r#"-{"channel":"a","price":1}"#, r#"+{"channel":"a","price":2}"#]),
                Feed::Rows(2, &[r#"+{"channel":"b","price":1}"#, r#"+{"channel":null,"price":3}"#]),
                Feed::End(2),
                Feed::Last(true),
            ],
            &[
                "end 1",
                "end 2",
                r#"last {"channel":"a","price":2}"#,
                r#"last {"channel":"b","price":1}"#,
                r#"last {"channel":"b","price":1}"#,
                r#"last {"channel":null,"price":3}"#,
                "end last",
            ],
        );
    }

    #[test]
    fn a_drain_before_the_end_writes_none() {
        check(
            &[Feed::Rows(1, &[r#"+{"price":1}"#]), Feed::End(1), Feed::Last(false)],
            &["end 1", "end last"],
        );
    }
}
