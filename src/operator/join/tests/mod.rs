//! Joins against a model, in random cases; and what they are to do, case by case.

mod cases;
mod machine;
mod model;
mod refused;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::Range;

use machine::{Block, Change, Machine, Row, resolve};
use model::{Matches, Model};

use super::Kind;
use crate::operator::{Captured, Operator};

/// How many cases are tried: a number in `JOIN_CASES`, else enough for a quick test.
fn cases() -> Range<u64> {
    let count = std::env::var("JOIN_CASES").ok().and_then(|count| count.parse().ok());
    0..count.unwrap_or(2500)
}

/// The conditions that are tried, with what they mean.
const CONDITIONS: [(&str, Matches); 5] = [
    ("a.k = b.k", |a, b| a.k == b.k),
    ("b.k = a.k AND a.v <> b.v", |a, b| a.k == b.k && a.v != b.v),
    ("a.k + 1 = b.k * 2 + 1", |a, b| a.k == b.k.map(|k| k * 2)),
    ("a.k = b.k AND a.v = b.v", |a, b| a.k == b.k && a.v == b.v),
    ("(a.v + b.v > 3 OR a.text = b.text) AND a.k = b.k", |a, b| a.k == b.k && (a.v + b.v > 3 || a.v == b.v)),
];

/// A random join, and how it is written.
fn join(random: &mut fastrand::Rng) -> (String, Model) {
    let (name, kind) = Kind::NAMES[random.usize(0..Kind::NAMES.len())];
    let (condition, matches) = CONDITIONS[random.usize(0..CONDITIONS.len())];
    let mut text = format!("{{ name: j, kind: {name}, match: \"{condition}\"");
    let mut model = Model { kind, matches, within: None, ttl: None, changelog: false };
    match random.u8(0..4) {
        0 => {
            let ttl = random.i64(1..12);
            write!(text, ", ttl: {ttl}ms").unwrap();
            model.ttl = Some(ttl);
            model.changelog = random.bool();
        }
        1 => {
            let least = random.i64(-6..5);
            let most = least + random.i64(0..8);
            let shifted = |by: i64| {
                let sign = if by < 0 { '-' } else { '+' };
                format!("a.at {sign} INTERVAL '0.{:03}' SECOND", by.abs())
            };
            let bounds = [shifted(least), shifted(most)].join(" AND ");
            write!(text, ", within: \"b.at BETWEEN {bounds}\"").unwrap();
            model.within = Some((least, most));
        }
        _ => model.changelog = random.bool(),
    }
    (text + " }", model)
}

/// Random input of a join: rows of few keys whose times go on slowly, some of them far behind.
fn blocks(model: &Model, random: &mut fastrand::Rng) -> Vec<Block> {
    let (keys, values) = (random.i64(1..6), random.i64(1..5));
    let behind_max = [5, 5, 25][random.usize(0..3)];
    let (mut time, mut watermark) = (0, i64::MIN);
    let mut there: [Vec<Row>; 2] = [Vec::new(), Vec::new()];
    // Of rows that are alike but for partners that have gone nobody can say which one is taken back: there is one at a time.
    let is_single = model.changelog && model.ttl.is_some();
    let mut single: [BTreeSet<Row>; 2] = [BTreeSet::new(), BTreeSet::new()];
    let mut all = Vec::new();
    for _ in 0..random.usize(1..9) {
        let mut block = Block::default();
        for port in [0, 1] {
            for _ in 0..random.usize(0..7) {
                time += random.i64(0..3);
                let known = &mut there[port];
                if model.changelog && random.u8(0..3) == 0 {
                    // Of a row that is there, or of one that comes later or never.
                    let row = if known.is_empty() || random.u8(0..8) == 0 {
                        Row { k: Some(random.i64(0..keys)), v: random.i64(0..values), at: Some(time) }
                    } else {
                        known.swap_remove(random.usize(0..known.len()))
                    };
                    block.rows[port].push((row, -1));
                    continue;
                }
                let row = Row {
                    k: (random.u8(0..9) > 0).then(|| random.i64(0..keys)),
                    v: random.i64(0..values),
                    at: (model.within.is_none() || random.u8(0..12) > 0)
                        .then(|| time - random.i64(0..behind_max)),
                };
                if is_single && !single[port].insert(row) {
                    continue;
                }
                known.push(row);
                block.rows[port].push((row, 1));
            }
            if model.changelog && random.u8(0..4) == 0 {
                random.shuffle(&mut block.rows[port]);
            } else {
                for (row, weight) in &block.rows[port] {
                    let known = &mut single[port];
                    let _ = if *weight < 0 { known.remove(row) } else { known.insert(*row) };
                }
            }
        }
        if random.u8(0..3) > 0 {
            watermark = watermark.max(time - random.i64(0..6));
            block.after_ms = Some(watermark);
        }
        all.push(block);
    }
    if random.bool() {
        all.push(Block { after_ms: Some(i64::MAX), ..Block::default() });
    }
    all
}

/// Checks what a machine has made at the end of each of these blocks.
fn check_net(machine: &Machine, model: &Model, blocks: &[Block], what: &dyn std::fmt::Debug) {
    for through in 0..blocks.len() {
        let expect = model.net(&blocks[..=through]);
        assert_eq!(machine.net(through as u64), expect, "block {through} of {what:?}: {blocks:#?}");
    }
    for output in &machine.outputs {
        assert_eq!(output.rejected, [] as [String; 0]);
        assert!(output.rows.iter().map(|row| row.0).is_sorted(), "numbers ascend");
        let numbers: Vec<u64> = output.ends.iter().map(|end| end.0).collect();
        assert!(numbers.iter().copied().eq(0..blocks.len() as u64), "every block ends once: {numbers:?}");
        if let Some((least, most)) = model.within {
            check_times(output, (least, most), blocks);
        }
    }
}

/// Checks the times and the watermarks behind an interval join.
fn check_times(output: &machine::Output, (least, most): (i64, i64), blocks: &[Block]) {
    let width = most.max(-least).max(0);
    let mut after = i64::MIN;
    for ((_, end), block) in output.ends.iter().zip(blocks) {
        after = after.max(block.after_ms.unwrap_or(i64::MIN));
        let held_back = if after == i64::MAX { after } else { after.saturating_sub(width) };
        assert_eq!(*end, held_back);
    }
    for (_, made, weight, at) in &output.rows {
        let latest = made.iter().flatten().filter_map(|row| row.at).max();
        assert_eq!((*weight, *at), (1, Some(latest.unwrap_or(0))));
    }
}

/// Runs the case of this seed whole, and cut at a barrier.
fn run(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (text, model) = join(&mut random);
    let changes = [model.changelog, model.changelog && random.bool()];
    let model = Model { changelog: changes[0], ..model };
    let mut blocks = blocks(&model, &mut random);
    if !changes[1] {
        // What is taken back is of the first input only.
        for block in &mut blocks {
            block.rows[1].retain(|(_, weight)| *weight > 0);
        }
    }
    let resolved = resolve(&text, changes).unwrap();
    assert_eq!(resolved.output.event_time.is_some(), model.within.is_some());
    let what = (seed, &text);
    let mut machine = Machine::new(&resolved, random.usize(1..4));
    let barrier = random.usize(0..=blocks.len());
    machine.feed(0, &blocks[..barrier], &mut random, &mut |_, _| {});
    let before = machine.outputs.clone();
    let captured = feed_captured(&mut machine, barrier, &blocks, &mut random);
    check_net(&machine, &model, &blocks, &what);
    if resolved.output.changelog.is_none() {
        assert!(machine.outputs.iter().flat_map(|output| &output.rows).all(|row| row.2 == 1));
    }
    let mut restored = Machine::new(&resolved, random.usize(1..4));
    restored.restore(&captured, &mut random);
    restored.feed(barrier, &blocks[barrier..], &mut random, &mut |_, _| {});
    // The ends before the barrier are those of one shard.
    let ends = before[0].ends.clone();
    for output in &mut restored.outputs {
        output.ends.splice(0..0, ends.iter().copied());
    }
    let rows = before.into_iter().flat_map(|output| output.rows).collect::<Vec<_>>();
    let mut all: Vec<_> = rows;
    all.extend(restored.outputs[0].rows.clone());
    restored.outputs[0].rows = all;
    restored.outputs[0].rows.sort_by_key(|row| row.0);
    check_net(&restored, &model, &blocks, &("restored", what));
}

/// Feeds the blocks behind a barrier while the state at it is captured, a portion now and then.
fn feed_captured(
    machine: &mut Machine,
    barrier: usize,
    blocks: &[Block],
    random: &mut fastrand::Rng,
) -> Vec<Captured> {
    let mut captured = Vec::new();
    if random.u8(0..4) == 0 {
        // A view that is given up leaves nothing behind.
        for operator in &mut machine.operators {
            operator.begin_view();
            drop(operator.capture(1));
            operator.end_view();
        }
    }
    machine.operators.iter_mut().for_each(|operator| operator.begin_view());
    let mut portions = fastrand::Rng::with_seed(random.u64(..));
    let mut done = vec![false; machine.operators.len()];
    let mut capture = |shard: usize, operator: &mut dyn Operator| {
        if portions.bool() && !done[shard] {
            match operator.capture(portions.usize(1..5)) {
                Some(rows) => captured.push(rows),
                None => done[shard] = true,
            }
        }
    };
    machine.feed(barrier, &blocks[barrier..], random, &mut capture);
    for (operator, done) in machine.operators.iter_mut().zip(done) {
        while !done && let Some(rows) = operator.capture(3) {
            captured.push(rows);
        }
    }
    captured
}

#[test]
fn joins_are_as_the_model_has_them() {
    for seed in cases() {
        run(seed);
    }
}

/// A block of rows written as `k v at`, a `-` before one that is taken back.
fn block(rows: [&[&str]; 2], after_ms: Option<i64>) -> Block {
    let row = |text: &&str| -> Change {
        let weight = if text.starts_with('-') { -1 } else { 1 };
        let mut parts = text.trim_start_matches('-').split(' ').map(|part| part.parse().ok());
        let mut next = || parts.next().flatten();
        (Row { k: next(), v: next().unwrap_or(0), at: next() }, weight)
    };
    Block { rows: rows.map(|rows| rows.iter().map(row).collect()), after_ms }
}
