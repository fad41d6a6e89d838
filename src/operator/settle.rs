//! The last operator of a sink with `changelog: final`: nothing until the input is complete, then the rows that are there.
//!
//! A row that takes another back is made by the shard that made the other, so every shard nets its own.

use arrow::array::RecordBatch;

use super::row_bytes::RowBytes;
use super::{Build, Context, Operator, StateSize};
use crate::record::{Batch, KeyCodec, Schema, Segment};
use crate::state::{Groups, Pages};

/// Keeps the rows of `schema`, which has at least one column, until they are final. The state has the name `state`.
#[must_use]
pub fn settle(schema: &Schema, state: &str) -> Build {
    let schema = schema.clone();
    let build = Build::new(
        "keep back all rows until the input is complete, then write those that are still there",
        move || Box::new(Settle::new(&schema)),
    );
    build.keeping(state)
}

struct Settle {
    codec: RowBytes,
    empty: RecordBatch,
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
    fn new(schema: &Schema) -> Self {
        Self {
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

    /// The next rows of those that have become final; none once all are out, with the end behind them.
    fn send(&mut self) -> Option<Batch> {
        let last = self.last.as_mut()?;
        let mut chunk = Vec::new();
        while chunk.len() < Batch::ROWS_MAX
            && let Some(number) = last.numbers.get(last.sent)
        {
            if last.copies < self.weights[*number as usize] {
                chunk.push(*number);
                last.copies += 1;
            } else {
                self.weights[*number as usize] = 0;
                (last.sent, last.copies) = (last.sent + 1, 0);
            }
        }
        if chunk.is_empty() {
            self.ends.push(last.end);
            (self.rows, self.weights, self.last) = (Groups::default(), Pages::default(), None);
            return None;
        }
        let rows = self.codec.read(chunk.iter().map(|number| self.rows.key(*number)));
        let mut batch = Batch::of_rows(rows, last.end.number);
        batch.segments.splice(0..0, std::mem::take(&mut self.ends));
        Some(batch)
    }
}

impl Operator for Settle {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        let rows = self.codec.write(batch.rows.columns());
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
        let bytes = self.rows.bytes() + self.weights.bytes();
        StateSize { entries: self.rows.len(), bytes, next_close_ms: None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::feed::{Feed, check_build};
    use super::*;

    fn check(feed: &[Feed<'_>], expect: &[&str]) {
        check_build(|schema: &Schema| (settle(schema, "sink"), schema.clone()), feed, expect);
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
