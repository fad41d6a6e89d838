//! Puts one operator to the test that is no step of a file: a sink's.

use std::sync::Arc;

use arrow::array::Int8Array;
use arrow::compute::concat_batches;

use super::{Build, Captured, Context, Operator};
use crate::codec::framing::frame_lines;
use crate::codec::json::{JsonDecoder, JsonEncoder};
use crate::codec::{Decode, Encode};
use crate::record::{Batch, BlockEnd, Column, Schema, Segment, SqlType};

/// Something an operator gets.
pub(super) enum Feed<'a> {
    /// JSON rows of a block, of a STRING `channel` and a BIGINT `price`; `+` or `-` before them makes changelog rows.
    Rows(u64, &'a [&'a str]),
    /// The end of a block.
    End(u64),
    /// The end of all, and whether the input is complete.
    Last(bool),
}

/// Feeds an operator, thing by thing and all in one batch, and compares what comes out: `1 {…}` for a row of block 1,
/// `end 1` for its end, and `last` instead of a number at the end of all. One that keeps state is captured behind every
/// block while it goes on, and another goes on from there.
pub(super) fn check_build(build: impl Fn(&Schema) -> (Build, Schema), feed: &[Feed<'_>], expect: &[&str]) {
    let text = |feed: &Feed<'_>| match feed {
        Feed::Rows(_, rows) => rows.concat(),
        _ => String::new(),
    };
    let all: String = feed.iter().map(text).collect();
    let columns = [("channel", SqlType::String), ("price", SqlType::BigInt)];
    let columns = columns.into_iter().filter(|(name, _)| all.contains(name));
    let schema = Schema::new(columns.map(|(name, data_type)| Column::new(name, data_type, true)).collect());
    let batches: Vec<Batch> = feed.iter().map(|feed| batch(&schema, feed)).collect();
    let (build, output) = build(&schema);
    let run = |batches: Vec<Batch>| {
        let mut operator = (build.build)();
        let lines = batches.into_iter().flat_map(|batch| lines(operator.as_mut(), batch, &output));
        lines.collect::<Vec<String>>()
    };
    assert_eq!(run(batches.clone()), expect, "thing by thing");
    assert_eq!(run(vec![joined(&schema, &batches)]), expect, "in one batch");
    for (number, feed) in feed.iter().enumerate() {
        if build.state.is_some() && matches!(feed, Feed::End(_)) {
            let (before, behind) = batches.split_at(number + 1);
            check_cut(&build, &output, before, behind, expect);
        }
    }
}

/// Captures the operator's state behind the first of these batches while it gets the others, which another gets that the
/// state is restored to.
fn check_cut(build: &Build, output: &Schema, before: &[Batch], behind: &[Batch], expect: &[&str]) {
    let mut operator = (build.build)();
    let feed = |operator: &mut dyn Operator, batches: &[Batch]| -> Vec<String> {
        batches.iter().flat_map(|batch| lines(operator, batch.clone(), output)).collect()
    };
    let first = feed(operator.as_mut(), before);
    let (mut view, mut rest) = (Vec::new(), Vec::new());
    operator.begin_view();
    for batch in behind {
        rest.extend(feed(operator.as_mut(), std::slice::from_ref(batch)));
        view.extend(operator.capture(1));
    }
    view.extend(std::iter::from_fn(|| operator.capture(1)));
    assert_eq!([first.clone(), rest].concat(), expect, "captured behind {} things", before.len());
    let mut restored = restored(build, &view);
    let rest = feed(restored.as_mut(), behind);
    assert_eq!([first, rest].concat(), expect, "restored behind {} things", before.len());
}

/// An operator with this state.
pub(super) fn restored(build: &Build, view: &[Captured]) -> Box<dyn Operator> {
    let mut operator = (build.build)();
    for Captured { table, rows } in view {
        assert_eq!(rows.schema(), operator.tables()[*table].schema, "rows have the columns of their table");
        operator.restore(*table, rows);
    }
    operator.restored();
    operator
}

fn batch(schema: &Schema, feed: &Feed<'_>) -> Batch {
    let (number, rows) = match feed {
        Feed::Rows(number, rows) => (*number, *rows),
        Feed::End(number) => (*number, &[][..]),
        Feed::Last(_) => (Segment::LAST, &[][..]),
    };
    let text: Vec<&str> = rows.iter().map(|row| row.trim_start_matches(['+', '-'])).collect();
    let text = text.join("\n");
    let (mut spans, mut rejected) = (Vec::new(), Vec::new());
    frame_lines(text.as_bytes(), &mut spans);
    let decoded = JsonDecoder::new(schema).decode(text.as_bytes(), &spans, &mut rejected);
    assert!(rejected.is_empty(), "{rejected:?}");
    let mut batch = Batch::of_rows(decoded, number);
    let weights: Int8Array = rows.iter().map(|row| Some(if row.starts_with('-') { -1 } else { 1 })).collect();
    batch.weights = rows.iter().any(|row| row.starts_with(['+', '-'])).then_some(weights);
    let finished = match feed {
        Feed::Rows(..) => return batch,
        Feed::End(_) => false,
        Feed::Last(finished) => *finished,
    };
    batch.segments[0].end = Some(BlockEnd { through: number, max_time_ms: i64::MIN, finished, idle: false });
    batch
}

fn joined(schema: &Schema, batches: &[Batch]) -> Batch {
    let rows = concat_batches(schema.arrow(), batches.iter().map(|batch| &batch.rows)).expect("one schema");
    let weights = batches.iter().flat_map(|batch| match &batch.weights {
        Some(weights) => weights.values().to_vec(),
        None => vec![1; batch.len()],
    });
    let mut joined = Batch::of_rows(rows, 0);
    joined.weights = Some(weights.collect::<Vec<i8>>().into());
    joined.segments = batches.iter().flat_map(|batch| batch.segments.clone()).collect();
    joined
}

fn lines(operator: &mut dyn Operator, batch: Batch, output: &Schema) -> Vec<String> {
    let mut context = Context::default();
    let mut encoder = JsonEncoder::new(output);
    let mut lines = Vec::new();
    operator.push(batch, &mut context);
    while let Some(batch) = operator.pull(&mut context) {
        assert!(batch.weights.is_none(), "a sink gets rows as they are to be written");
        let mut text = Vec::new();
        encoder.encode(&batch.rows, &mut text);
        let text: Arc<str> = String::from_utf8(text).expect("JSON is UTF-8").into();
        let mut rows = text.lines();
        for segment in &batch.segments {
            let number = match segment.number {
                Segment::LAST => "last".to_owned(),
                number => number.to_string(),
            };
            lines.extend(rows.by_ref().take(segment.rows as usize).map(|row| format!("{number} {row}")));
            lines.extend(segment.end.map(|_| format!("end {number}")));
        }
    }
    lines
}
