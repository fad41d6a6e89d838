//! What each kind of join makes of a few rows, in order; and which options are refused.

use super::block;
use super::machine::{Block, Change, Machine, Made, Row, resolve};
use super::model::Model;
use crate::operator::join::Kind;

/// Runs a join over these blocks on one shard, and checks what comes out: `number: a + b` for a pair.
fn check(options: &str, changelog: [bool; 2], blocks: &[Block], expect: &[&str]) {
    let resolved = resolve(options, changelog).unwrap();
    let mut machine = Machine::new(&resolved, 1);
    machine.feed(0, blocks, &mut fastrand::Rng::with_seed(1), &mut |_, _| {});
    let row = |made: &Made| {
        let side = |side: usize| made[side].map_or("none".to_owned(), |row| row.v.to_string());
        format!("{}+{}", side(0), side(1))
    };
    let weighted = resolved.output.changelog.is_some();
    let found: Vec<String> = machine.outputs[0]
        .rows
        .iter()
        .map(|(number, made, weight, _)| {
            let sign = if !weighted {
                ""
            } else if *weight < 0 {
                "-"
            } else {
                "+"
            };
            format!("{number}: {sign}{}", row(made))
        })
        .collect();
    assert_eq!(found, expect, "{options}");
}

fn plain(blocks: &[Block], options: &str, expect: &[&str]) {
    check(options, [false; 2], blocks, expect);
}

#[test]
fn pairs_come_with_their_later_row() {
    let blocks = [
        block([&["1 10 0", "2 20 0"], &["1 11 0"]], None),
        block([&["1 12 0", "null 13 0"], &["2 21 0", "3 31 0", "null 41 0"]], None),
        block([&["3 30 0"], &["1 14 0"]], None),
    ];
    let expect = ["0: 10+11", "1: 12+11", "1: 20+21", "2: 30+31", "2: 10+14", "2: 12+14"];
    plain(&blocks, "{ name: j, match: a.k = b.k }", &expect);
    let expect = ["1: 12+11", "1: 20+21", "2: 12+14"];
    plain(&blocks, "{ name: j, match: a.k = b.k AND (a.v > b.v OR a.k = 2 OR a.v = 12) }", &expect);
}

#[test]
fn an_outer_join_takes_back_what_is_no_longer_alone() {
    let blocks = [
        block([&["1 10 0", "null 13 0"], &["2 21 0"]], None),
        block([&["2 20 0"], &["1 11 0", "1 12 0"]], None),
    ];
    let left = ["0: +10+none", "0: +13+none", "1: +20+21", "1: +10+11", "1: -10+none", "1: +10+12"];
    plain(&blocks, "{ name: j, kind: left, match: a.k = b.k }", &left);
    let right = ["0: +none+21", "1: +20+21", "1: -none+21", "1: +10+11", "1: +10+12"];
    plain(&blocks, "{ name: j, kind: right, match: a.k = b.k }", &right);
    let full = [
        "0: +10+none",
        "0: +13+none",
        "0: +none+21",
        "1: +20+21",
        "1: -none+21",
        "1: +10+11",
        "1: -10+none",
        "1: +10+12",
    ];
    plain(&blocks, "{ name: j, kind: full, match: a.k = b.k }", &full);
}

#[test]
fn semi_and_anti_joins_tell_rows_of_the_first_input() {
    let blocks = [
        block([&["1 10 0", "null 13 0"], &["2 21 0"]], None),
        block([&["2 20 0"], &["1 11 0", "1 12 0"]], None),
        block([&[], &["-1 11 0", "-1 12 0"]], None),
    ];
    plain(&blocks[..2], "{ name: j, kind: semi, match: a.k = b.k }", &["1: 20+none", "1: 10+none"]);
    let anti = ["0: +10+none", "0: +13+none", "1: -10+none"];
    plain(&blocks[..2], "{ name: j, kind: anti, match: a.k = b.k }", &anti);
    let semi = ["1: +20+none", "1: +10+none", "2: -10+none"];
    check("{ name: j, kind: semi, match: a.k = b.k }", [false, true], &blocks, &semi);
    let anti = ["0: +10+none", "0: +13+none", "1: -10+none", "2: +10+none"];
    check("{ name: j, kind: anti, match: a.k = b.k }", [false, true], &blocks, &anti);
}

#[test]
fn what_is_taken_back_takes_its_pairs_back() {
    let blocks = [
        block([&["1 10 0", "1 10 0"], &["1 11 0"]], None),
        block([&["-1 10 0"], &["-1 11 0"]], None),
        block([&["-1 12 0"], &["1 11 0"]], None),
        block([&["1 12 0"], &[]], None),
    ];
    let expect = ["0: +10+11", "0: +10+11", "1: -10+11", "1: -10+11", "2: +10+11", "2: -12+11", "3: +12+11"];
    check("{ name: j, match: a.k = b.k }", [true; 2], &blocks, &expect);
}

#[test]
fn rows_are_kept_for_a_time() {
    let blocks = [
        block([&["1 10 0", "1 11 5"], &[]], Some(9)),
        block([&[], &["1 21 9"]], Some(10)),
        block([&["1 12 0"], &["1 22 12"]], Some(15)),
        block([&["1 13 1"], &["1 23 30"]], None),
    ];
    let expect = ["1: 10+21", "1: 11+21", "2: 12+21", "2: 11+22", "3: 13+21", "3: 13+22"];
    plain(&blocks, "{ name: j, match: a.k = b.k, ttl: 10ms }", &expect);
    // What has gone is not taken back, and takes nothing back when it comes again.
    let blocks = [block([&["1 10 0"], &["1 20 8"]], Some(10)), block([&["-1 10 0", "1 11 9"], &[]], None)];
    check("{ name: j, match: a.k = b.k, ttl: 10ms }", [true, false], &blocks, &["0: +10+20", "1: +11+20"]);
}

#[test]
fn what_was_told_is_taken_back_whatever_has_gone_since() {
    // The partner goes, and its row is taken back after that.
    let blocks = [block([&["1 10 5"], &["1 20 0"]], Some(10)), block([&["-1 10 5"], &[]], None)];
    let with = |kind: &str, expect: &[&str]| {
        check(
            &format!("{{ name: j, kind: {kind}, match: a.k = b.k, ttl: 10ms }}"),
            [true, false],
            &blocks,
            expect,
        );
    };
    with("semi", &["0: +10+none", "1: -10+none"]);
    with("anti", &["0: +10+none", "0: -10+none"]);
    with("left", &["0: +10+none", "0: +10+20", "0: -10+none"]);
}

/// A row was found as long as its batch had not been worked off, also behind the end of the block that it had passed its time
/// at.
#[test]
fn what_has_gone_is_not_taken_back_however_batches_are_cut() {
    let blocks = [
        block([&["1 10 0"], &["1 20 9"]], Some(9)),
        block([&[], &[]], Some(10)),
        block([&["-1 10 0"], &[]], None),
    ];
    let resolved = resolve("{ name: j, match: a.k = b.k, ttl: 10ms }", [true, false]).unwrap();
    for seed in 0..50 {
        let mut machine = Machine::new(&resolved, 1);
        machine.feed(0, &blocks, &mut fastrand::Rng::with_seed(seed), &mut |_, _| {});
        assert_eq!(machine.net(1), machine.net(2), "seed {seed}");
    }
}

#[test]
fn an_interval_join_tells_a_row_that_stays_alone_once() {
    let within = "within: b.at BETWEEN a.at - INTERVAL '0.002' SECOND AND a.at + INTERVAL '0.005' SECOND";
    let blocks = [
        block([&["1 10 10", "2 11 10"], &["1 20 7", "1 21 8", "1 22 15", "1 23 16"]], Some(14)),
        block([&["1 12 9"], &["2 24 15"]], Some(15)),
        block([&["null 13 20", "3 14 20", "1 15 null"], &[]], Some(17)),
        block([&[], &[]], Some(i64::MAX)),
    ];
    let inner = ["0: 10+21", "0: 10+22", "1: 12+21", "1: 11+24"];
    let inner: Vec<&str> = inner.into_iter().filter(|row| *row != "1: 12+21").collect();
    plain(&blocks, &format!("{{ name: j, match: a.k = b.k, {within} }}"), &inner);
    let left = ["0: 10+21", "0: 10+22", "1: 12+none", "1: 11+24", "2: 13+none", "2: 15+none", "3: 14+none"];
    plain(&blocks, &format!("{{ name: j, kind: left, match: a.k = b.k, {within} }}"), &left);
    let semi = ["0: 10+none", "1: 11+none"];
    plain(&blocks, &format!("{{ name: j, kind: semi, match: a.k = b.k, {within} }}"), &semi);
    let anti = ["1: 12+none", "2: 13+none", "2: 15+none", "3: 14+none"];
    plain(&blocks, &format!("{{ name: j, kind: anti, match: a.k = b.k, {within} }}"), &anti);
}

#[test]
fn a_key_of_many_rows_is_joined_in_portions() {
    let row = |v: i64, weight: i8| (Row { k: Some(1), v, at: Some(0) }, weight);
    let many: Vec<Change> = (0..5000).map(|v| row(v, 1)).collect();
    let few = |weight: i8| [7, 4999, 4999].map(|v| row(v, weight)).to_vec();
    let blocks = [
        Block { rows: [many.clone(), Vec::new()], after_ms: None },
        Block { rows: [Vec::new(), few(1)], after_ms: None },
        Block { rows: [many[..3000].to_vec(), few(-1)], after_ms: None },
    ];
    for (name, kind) in Kind::NAMES {
        let options = format!("{{ name: j, kind: {name}, match: a.k = b.k AND a.v <> b.v }}");
        let resolved = resolve(&options, [false, true]).unwrap();
        let mut machine = Machine::new(&resolved, 1);
        machine.feed(0, &blocks, &mut fastrand::Rng::with_seed(5), &mut |_, _| {});
        let model = Model { kind, matches: |a, b| a.v != b.v, within: None, ttl: None, changelog: true };
        for through in 0..blocks.len() {
            assert_eq!(machine.net(through as u64), model.net(&blocks[..=through]), "{name}, {through}");
        }
    }
}

#[test]
fn nothing_is_kept_of_what_has_gone() {
    let within =
        "{ name: j, kind: full, match: a.k = b.k, within: b.at BETWEEN a.at AND a.at + INTERVAL '1' SECOND }";
    for (options, changelog) in [
        (within, false),
        ("{ name: j, kind: full, match: a.k = b.k, ttl: 1s }", false),
        ("{ name: j, kind: full, match: a.k = b.k, ttl: 1s }", true),
        ("{ name: j, kind: anti, match: a.k + 1 = b.k }", true),
    ] {
        let resolved = resolve(options, [changelog; 2]).unwrap();
        let mut machine = Machine::new(&resolved, 1);
        let rows = |weight: i8| -> Vec<Change> {
            (0..3000).map(|v| (Row { k: Some(v % 700), v, at: Some(v) }, weight)).collect()
        };
        let mut blocks = vec![Block { rows: [rows(1), rows(1)], after_ms: Some(-10_000) }];
        let mut random = fastrand::Rng::with_seed(9);
        machine.feed(0, &blocks, &mut random, &mut |_, _| {});
        let full = machine.operators[0].state();
        assert_eq!(full.entries, 6000);
        if changelog {
            blocks[0].rows = [rows(-1), rows(-1)];
        } else {
            blocks[0] = Block { after_ms: Some(10_000), ..Block::default() };
        }
        machine.feed(1, &blocks, &mut random, &mut |_, _| {});
        let empty = machine.operators[0].state();
        assert_eq!(empty.entries, 0, "{options}");
        // Places for as many rows are left, and the timers of those that were taken back.
        assert!(empty.bytes * 4 < full.bytes * 3, "{options}: {empty:?} after {full:?}");
    }
}
