//! Cases that random ones have found and that were wrong, cut into blocks in all ways or in the one that matters.

use super::case::{Case, Row};
use super::compare::{Machine, compare};
use super::reference::CALLS;
use super::step::{Kind, Step, Window};

/// `COUNT(*)` by `id` over rows of these times.
fn check(step: Step, blocks: &[Vec<(i64, i64)>]) {
    let row = |&(id, at_ms): &(i64, i64)| Row { id: Some(id), user: None, price: None, at_ms, weight: 1 };
    let blocks = blocks.iter().map(|rows| rows.iter().map(row).collect()).collect();
    let machine = Machine::new(step);
    let case = Case { blocks, shards: 1, cuts: Vec::new() };
    if let Err(difference) = compare(&machine, &case) {
        panic!("{}\n{case}{difference}", machine.step);
    }
}

fn step(kind: Kind, window: Window) -> Step {
    Step {
        kind,
        by: &["id"],
        window,
        allow_ms: 0,
        late_to: false,
        ttl_ms: None,
        every_change: true,
        select: vec![&CALLS[0]],
    }
}

/// A row that comes too late to correct a window is not in it either if the window has yet to be sent, because all of
/// it lies in one block: nothing depends on where blocks end.
#[test]
fn a_row_too_late_for_one_window_does_not_correct_it_in_the_same_block() {
    let cumulative = Window::Cumulative { size_ms: 5000, every_ms: 1000, offset_ms: 14 };
    let cumulative = Step { allow_ms: 500, every_change: false, ..step(Kind::Cumulative, cumulative) };
    check_all_cuts(&cumulative, [(1, -10518), (1, -14449), (1, -10353), (1, -14875)]);
    let sliding = Window::Sliding { size_ms: 3000, every_ms: 500, offset_ms: 1563 };
    let sliding = Step { allow_ms: 3000, every_change: false, ..step(Kind::Sliding, sliding) };
    check_all_cuts(&sliding, [(1, -3438), (1, -7437), (1, -1437), (1, -7437)]);
}

/// The rows in every number of blocks.
fn check_all_cuts(step: &Step, rows: [(i64, i64); 4]) {
    for cuts in 0..1 << (rows.len() - 1) {
        let mut blocks: Vec<Vec<(i64, i64)>> = vec![vec![rows[0]]];
        for (position, row) in rows.iter().skip(1).enumerate() {
            if cuts >> position & 1 == 1 {
                blocks.push(Vec::new());
            }
            blocks.last_mut().expect("there is one").push(*row);
        }
        check(step.clone(), &blocks);
    }
}

/// A row whose time to live is over when it arrives is forgotten at the end of its block, also if that block does not
/// move the watermark.
#[test]
fn a_key_that_arrives_after_its_time_is_forgotten_at_the_end_of_its_block() {
    let expiring = Step { ttl_ms: Some(250), ..step(Kind::Expiring, Window::None) };
    check(expiring, &[vec![(1, 1415)], vec![(2, 144)], vec![(2, 772)]]);
}
