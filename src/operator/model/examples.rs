//! The model itself, on rows whose outcome is known: what Flink makes of them, worked out by hand.

use super::case::{Case, Row};
use super::reference::{CALLS, Value, expect};
use super::step::{Kind, Step, Window};

/// Rows of `id` and time, `COUNT(*)` by `id`: id, window and count of each row of the output, then the late rows.
fn check(window: Window, rows: &[(i64, i64)], expected: &[&str]) {
    let step = Step {
        kind: Kind::Sliding,
        by: &["id"],
        window,
        allow_ms: 0,
        late_to: false,
        ttl_ms: None,
        every_change: true,
        select: vec![&CALLS[0]],
    };
    check_step(&step, 1, rows, expected);
}

fn check_step(step: &Step, rows_per_block: usize, rows: &[(i64, i64)], expected: &[&str]) {
    let row = |&(id, at_ms): &(i64, i64)| Row { id: Some(id), user: None, price: None, at_ms, weight: 1 };
    let blocks = rows.chunks(rows_per_block).map(|rows| rows.iter().map(row).collect()).collect();
    let outcome = expect(step, &Case { blocks, shards: 1, cuts: Vec::new() });
    let changes = outcome.changes.iter().map(|change| {
        let values = change.values.iter().map(|value| match value {
            Value::Integer(number) => number.to_string(),
            other => format!("{other:?}"),
        });
        format!("{:+} {}", change.weight, values.collect::<Vec<_>>().join(" "))
    });
    let late = outcome.late.iter().map(|row| format!("late {}", row.at_ms));
    assert_eq!(changes.chain(late).collect::<Vec<_>>(), expected, "{step} {rows:?}");
}

#[test]
fn a_row_late_for_one_sliding_window_counts_in_the_next() {
    let window = Window::Sliding { size_ms: 4000, every_ms: 2000, offset_ms: 0 };
    // The watermark is 3999 behind the second row.
    check(
        window,
        &[(1, 1000), (1, 4999), (1, 3000)],
        &["+1 1 -2000 2000 1", "+1 1 0 4000 1", "+1 1 2000 6000 2", "+1 1 4000 8000 1"],
    );
    check(window, &[(1, 4998), (1, 3000)], &["+1 1 0 4000 1", "+1 1 2000 6000 2", "+1 1 4000 8000 1"]);
    check(window, &[(1, 6999), (1, 3000)], &["+1 1 4000 8000 1", "+1 1 6000 10000 1", "late 3000"]);
}

#[test]
fn windows_with_gaps_between_them_lose_rows_that_are_not_late() {
    let window = Window::Sliding { size_ms: 1000, every_ms: 3000, offset_ms: 500 };
    check(
        window,
        &[(1, -2500), (1, -1501), (1, 499), (1, 500), (1, 1499), (1, 1500)],
        &["+1 1 -2500 -1500 2", "+1 1 500 1500 2"],
    );
}

#[test]
fn cumulative_windows_fire_at_every_step_once_there_is_data() {
    let window = Window::Cumulative { size_ms: 6000, every_ms: 2000, offset_ms: 0 };
    check(
        window,
        &[(1, 2500), (2, 0)],
        &["+1 1 0 4000 1", "+1 1 0 6000 1", "+1 2 0 2000 1", "+1 2 0 4000 1", "+1 2 0 6000 1"],
    );
    check(window, &[(1, 4999), (2, 100)], &["+1 1 0 6000 1", "+1 2 0 6000 1"]);
    check(
        window,
        &[(1, 6999), (2, 100)],
        &["+1 1 6000 8000 1", "+1 1 6000 10000 1", "+1 1 6000 12000 1", "late 100"],
    );
}

#[test]
fn sessions_merge_at_exactly_one_gap_and_lateness_is_judged_on_the_merged_one() {
    let window = Window::Session { gap_ms: 1000 };
    check(window, &[(1, 0), (1, 1000), (1, 2001)], &["+1 1 0 2000 2", "+1 1 2001 3001 1"]);
    check(window, &[(1, 0), (1, 1500), (1, 800)], &["+1 1 0 2500 3"]);
    // The watermark is 2998, 2999 behind the second row: the first one's session [0, 3000) is open, then closed.
    check(
        Window::Session { gap_ms: 3000 },
        &[(1, 0), (2, 3998), (1, -2000)],
        &["+1 1 -2000 3000 2", "+1 2 3998 6998 1"],
    );
    check(
        Window::Session { gap_ms: 3000 },
        &[(1, 0), (2, 3999), (1, 2000)],
        &["+1 1 0 3000 1", "+1 1 2000 5000 1", "+1 2 3999 6999 1"],
    );
    check(
        Window::Session { gap_ms: 3000 },
        &[(1, 0), (2, 3999), (1, -1)],
        &["+1 1 0 3000 1", "+1 2 3999 6999 1", "late -1"],
    );
}

#[test]
fn windows_of_rows_need_all_of_them() {
    check(Window::Rows { count: 2 }, &[(1, 0), (2, 0), (1, 0), (1, 0)], &["+1 1 2"]);
}

#[test]
fn running_aggregates_send_changes_and_forget_keys_at_block_ends() {
    check(Window::None, &[(1, 0), (1, 0), (2, 0)], &["+1 1 1", "-1 1 1", "+1 1 2", "+1 2 1"]);
    let netted = Step {
        kind: Kind::Running,
        by: &["id"],
        window: Window::None,
        allow_ms: 0,
        late_to: false,
        ttl_ms: Some(500),
        every_change: false,
        select: vec![&CALLS[0]],
    };
    check_step(
        &netted,
        2,
        &[(1, 0), (1, 0), (1, 0), (2, 1499), (1, 0)],
        &["+1 1 2", "-1 1 2", "+1 1 3", "+1 2 1", "-1 1 3", "+1 1 4"],
    );
    check_step(
        &netted,
        2,
        &[(1, 0), (1, 0), (1, 0), (2, 1500), (1, 0)],
        &["+1 1 2", "-1 1 2", "+1 1 3", "+1 2 1", "+1 1 1"],
    );
}
