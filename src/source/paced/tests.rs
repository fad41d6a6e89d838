//! Rows come when they are due, silences are filled, and a run goes on where another ended.

use super::*;
use crate::source::supply::Supply;
use crate::source::testing;

/// The numbers that the readers of two shards end, stepped through time, as (time in ms, shard, from, through, rows).
fn paced(heartbeat: bool, rate: f64, until_ms: u64) -> Vec<(u64, usize, u64, u64, usize)> {
    let opening = Opening { heartbeat, ..testing::opening(2, None) };
    let schema = opening.columns.clone();
    let make: Make = Arc::new(move |_, count, _| (schema.rows(vec![], count), Vec::new()));
    let mut opened = open("test", Rows { total: None, rate: Some(rate) }, None, &make, &opening).unwrap();
    let mut pieces = Vec::new();
    for ms in (0..until_ms).step_by(10) {
        let now = Now { monotonic_us: ms * 1000, wall_us: 0 };
        for (shard, reader) in opened.readers.iter_mut().enumerate() {
            while let Polled::Piece(piece) = reader.poll(now).unwrap() {
                let Content::Rows(rows) = piece.content else { panic!("rows") };
                pieces.push((ms, shard, piece.number, piece.next - 1, rows.num_rows()));
            }
        }
    }
    pieces
}

#[test]
fn a_silence_is_filled_where_it_is_asked_for() {
    assert_eq!(paced(false, 4.0, 600), [(0, 0, 0, 1, 1), (250, 1, 1, 2, 1), (500, 0, 2, 3, 1)]);
    let w = BLOCKS_PER_PIECE;
    let expect = [
        (0, 0, 0, 2 * w - 1, 1),
        (100, 1, w, w, 0),
        (200, 1, w + 1, w + 1, 0),
        (250, 1, w + 2, 3 * w - 1, 1),
        (350, 0, 2 * w, 2 * w, 0),
        (450, 0, 2 * w + 1, 2 * w + 1, 0),
        (500, 0, 2 * w + 2, 4 * w - 1, 1),
    ];
    assert_eq!(paced(true, 4.0, 600), expect);
    // Rows that are not silent for that long are as they were.
    assert!(paced(true, 100.0, 600).iter().all(|(_, _, _, _, rows)| *rows == 1));
}

/// The rows of a benchmark come when they are due, though the source has only three of its own, and no rate.
#[test]
fn a_supply_has_its_own_pace_and_no_end() {
    let (senders, marks): (Vec<_>, Vec<_>) = (0..2).map(|_| std::sync::mpsc::channel()).unzip();
    let supply = Supply { rate: Some(2500.0), begin_us: 10_000, marks: senders };
    let opening = Opening { supply: Some(supply), ..testing::opening(2, None) };
    let rows = Rows { total: Some(3), rate: None };
    let mut opened = open("test", rows, None, &numbers(), &opening).unwrap();
    let mut read = Vec::new();
    for us in (0..12_000).step_by(100) {
        for reader in &mut opened.readers {
            match reader.poll(Now { monotonic_us: us, wall_us: 0 }).unwrap() {
                Polled::Piece(piece) => read.push((us, piece.number, piece.finished)),
                Polled::Wait(Some(due_us)) => assert!(due_us > us && due_us <= 12_000 + 800),
                _ => panic!("a piece or a time to wait until"),
            }
        }
    }
    // Pieces of two rows, each when its second row is due.
    assert_eq!(read, [(10_400, 0, false), (11_200, 1, false)]);
    let told: Vec<Vec<Mark>> = marks.iter().map(|marks| marks.try_iter().collect()).collect();
    let mark = |last, first_us, last_us| vec![Mark { last, records: 2, first_us, last_us }];
    assert_eq!(told, [mark(0, 10_000, 10_400), mark(1, 10_800, 11_200)]);
}

fn numbers() -> Make {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use crate::record::{Column, Schema, SqlType};

    let schema = Schema::new(vec![Column::new("n", SqlType::BigInt, false)]);
    Arc::new(move |from, count, _| {
        let numbers: Int64Array = (from..from + count as u64).map(u64::cast_signed).collect();
        (schema.rows(vec![Arc::new(numbers)], count), Vec::new())
    })
}

/// Runs with `shards` readers, polled in any order while time passes, from `resume` on. With `cut` ends an epoch somewhere
/// and crashes behind it: the rows before the barrier, and where to go on from; else runs to the end.
fn run(
    rows: Rows,
    heartbeat: bool,
    shards: usize,
    resume: Option<Resume>,
    cut: bool,
    random: &mut fastrand::Rng,
) -> (Vec<i64>, Option<Resume>) {
    let start = Now { monotonic_us: random.u64(..1_000_000_000), wall_us: 0 };
    let opening = Opening { start, heartbeat, ..testing::opening(shards, resume.clone()) };
    let mut opened = open("test", rows, None, &numbers(), &opening).unwrap();
    let (mut made, mut barriers) = (Vec::new(), vec![None; shards]);
    let mut live: Vec<usize> = (0..shards).collect();
    let mut next = opened.numbering.first(shards);
    let (mut now, mut asked) = (start, !cut);
    while !live.is_empty() {
        now.monotonic_us += random.u64(..40_000);
        asked = asked || random.u8(..30) == 0 && opening.cuts.request(1, false);
        let shard = live[random.usize(..live.len())];
        match opened.readers[shard].poll(now).unwrap() {
            Polled::Piece(piece) => {
                assert!(piece.number >= next[shard] && piece.next > piece.number);
                next[shard] = piece.next;
                assert!(barriers[shard].is_none_or(|barrier: Barrier| piece.number >= barrier.number));
                let Content::Rows(rows) = piece.content else { panic!("rows") };
                if rows.num_rows() > 0 {
                    let numbers = rows.column(0).as_any().downcast_ref::<arrow::array::Int64Array>().unwrap();
                    made.extend(numbers.values().iter().map(|number| (piece.number, *number)));
                } else if barriers[shard].is_none() {
                    made.push((piece.number, i64::MIN));
                }
            }
            Polled::Barrier(barrier) => barriers[shard] = Some(barrier),
            Polled::Wait(_) => {}
            Polled::End => live.retain(|other| *other != shard),
        }
        let cut = (0..shards).all(|shard| barriers[shard].is_some() || !live.contains(&shard));
        if let Some(barrier) = barriers.iter().flatten().next().filter(|_| cut) {
            assert!(resume.is_none_or(|resume| barrier.number >= resume.barrier.number));
            assert!(
                made.iter().all(|(number, row)| *row >= 0 || *number < barrier.number),
                "an empty piece too far"
            );
            made.retain(|(number, _)| *number < barrier.number);
            let position = (opened.position)(*barrier).unwrap();
            return (rows_of(made), Some(Resume { barrier: *barrier, position }));
        }
    }
    (rows_of(made), None)
}

/// The rows without the empty pieces.
fn rows_of(made: Vec<(u64, i64)>) -> Vec<i64> {
    made.into_iter().map(|(_, row)| row).filter(|row| *row >= 0).collect()
}

#[test]
fn barriers_and_restarts_on_any_number_of_shards_lose_and_double_no_row() {
    let mut random = fastrand::Rng::with_seed(2);
    for (total, rate) in [(60, Some(5.0)), (400, Some(12_345.0)), (20_000, None), (0, Some(1.0)), (0, None)] {
        for _ in 0..40 {
            let rows = Rows { total: Some(total), rate };
            let (mut all, mut resume) = (Vec::new(), None);
            for _ in 0..200 {
                let cut = random.u8(..4) > 0;
                // Whether silences are filled may change with an edit of the file.
                let (made, next) = run(rows, random.bool(), random.usize(1..5), resume, cut, &mut random);
                all.extend(made);
                resume = next;
                if resume.is_none() {
                    break;
                }
            }
            all.sort_unstable();
            assert!(
                resume.is_some() || all.iter().copied().eq(0..total.cast_signed()),
                "{rows:?}: {}",
                all.len()
            );
        }
    }
}

#[test]
fn a_resumed_run_begins_at_once_and_keeps_its_pace() {
    let rows = Rows { total: None, rate: Some(10.0) };
    let barrier = Barrier { epoch: 4, number: 50, piece: 50 };
    let position = serde_json::json!({ "rows": 50, "rows_per_piece": 1, "start_us": null });
    let opening = testing::opening(1, Some(Resume { barrier, position }));
    let mut opened = open("test", rows, None, &numbers(), &opening).unwrap();
    assert_eq!((opened.done, opened.numbering.first(1)), (50, vec![50]));
    let mut due_ms = Vec::new();
    for ms in 0..250 {
        let now = Now { monotonic_us: ms * 1000, wall_us: 0 };
        while let Polled::Piece(_) = opened.readers[0].poll(now).unwrap() {
            due_ms.push(ms);
        }
    }
    assert_eq!(due_ms, [0, 100, 200]);
}

#[test]
fn a_rate_that_would_move_the_position_is_refused() {
    let resume = |rate: f64, made: u64, total: Option<u64>| {
        let position = serde_json::json!({ "rows": made, "rows_per_piece": 4, "start_us": null });
        let barrier = Barrier { epoch: 1, number: made.div_ceil(4), piece: made.div_ceil(4) };
        let opening = testing::opening(1, Some(Resume { barrier, position }));
        open("test", Rows { total, rate: Some(rate) }, None, &numbers(), &opening).map(|opened| opened.done)
    };
    assert_eq!(resume(4500.0, 12, None).unwrap(), 12);
    assert_eq!(resume(6000.0, 12, None).unwrap(), 12);
    assert_eq!(resume(6000.0, 13, Some(13)).unwrap(), 13);
    let error = resume(5000.0, 12, None).unwrap_err().to_string();
    assert!(
        error.starts_with("12 rows have been made in pieces of 4, which") && error.contains("--fresh"),
        "{error}"
    );
    let opening = testing::opening(
        1,
        Some(Resume { barrier: Barrier { epoch: 1, number: 0, piece: 0 }, position: 7.into() }),
    );
    let opened = open("test", Rows { total: None, rate: None }, None, &numbers(), &opening);
    assert!(matches!(opened, Err(SourceError::Position(_))));
}
