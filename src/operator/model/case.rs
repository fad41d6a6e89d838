//! Random rows in blocks, and how a case that fails is made smaller.

use std::fmt;

use fastrand::Rng;

use super::step::{Kind, Step};
use crate::operator::verify::Cut;

/// A row of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) id: Option<i64>,
    pub(super) user: Option<&'static str>,
    pub(super) price: Option<i64>,
    pub(super) at_ms: i64,
    /// −1 where it takes an equal row back, else 1.
    pub(super) weight: i8,
}

/// An input and how it is run.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) blocks: Vec<Vec<Row>>,
    pub(super) shards: usize,
    /// Where it is cut, one after the other.
    pub(super) cuts: Vec<Cut>,
}

/// One case in so many is cut.
const CUT_ONE_IN: u8 = 8;

/// One case in so many has more rows than a batch.
const LARGE_ONE_IN: u64 = 2000;

impl Case {
    pub(super) fn random(step: &Step, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0xca5e << 32);
        let large = seed % LARGE_ONE_IN == LARGE_ONE_IN / 2;
        let rows = if large { 1100..1800 } else { 0..[7, 16, 41][rng.usize(..3)] };
        let rows = rng.usize(rows);
        let keys = if large { 400 } else { rng.i64(1..=5) };
        let times = times(step, rows, &mut rng);
        let mut rows: Vec<Row> = times.into_iter().map(|at_ms| Row::random(keys, at_ms, &mut rng)).collect();
        if step.kind == Kind::Retracting {
            take_some_back(&mut rows, &mut rng);
        }
        let most = match rng.u8(..4) {
            0 => rows.len().max(1),
            1 => 1,
            _ => rng.usize(2..8) * if large { 100 } else { 1 },
        };
        let mut blocks = vec![Vec::new()];
        for row in rows {
            let last = blocks.last_mut().expect("there is one");
            if last.len() < most && (most == 1 || last.is_empty() || large || rng.u8(..6) > 0) {
                last.push(row);
                continue;
            }
            if rng.u8(..20) == 0 {
                blocks.push(Vec::new());
            }
            blocks.push(vec![row]);
        }
        let shards = rng.usize(1..=3);
        let mut cuts = Vec::new();
        if blocks.len() > 1 && rng.u8(..CUT_ONE_IN) == 0 {
            let mut at: Vec<usize> = (0..rng.usize(1..=3)).map(|_| rng.usize(1..blocks.len())).collect();
            at.sort_unstable();
            cuts.extend(at.into_iter().map(|block| Cut { block, shards: rng.usize(1..=3) }));
        }
        Self { blocks, shards, cuts }
    }

    /// The smallest case found that is still wrong.
    pub(super) fn shrink(&self, wrong: impl Fn(&Self) -> bool) -> Self {
        let mut least = self.clone();
        while let Some(smaller) = least.smaller().into_iter().find(|case| case.is_valid() && wrong(case)) {
            least = smaller;
        }
        least
    }

    /// The cases that are this one with something less, the smallest first.
    fn smaller(&self) -> Vec<Self> {
        let mut cases: Vec<Self> = (1..self.shards).map(|shards| Self { shards, ..self.clone() }).collect();
        let rows: usize = self.blocks.iter().map(Vec::len).sum();
        let mut count = rows.next_power_of_two() / 2;
        while count > 0 {
            cases.extend((0..rows).step_by(count).map(|from| self.without(from..from + count)));
            count /= 2;
        }
        for cut in 0..self.cuts.len() {
            let mut cuts = self.cuts.clone();
            cuts.remove(cut);
            cases.push(Self { cuts, ..self.clone() });
        }
        for block in 1..self.blocks.len() {
            let mut blocks = self.blocks.clone();
            let rows = blocks.remove(block);
            blocks[block - 1].extend(rows);
            let mut cuts = self.cuts.clone();
            cuts.retain(|cut| cut.block != block);
            cuts.iter_mut().filter(|cut| cut.block > block).for_each(|cut| cut.block -= 1);
            cases.push(Self { blocks, cuts, ..*self });
        }
        cases
    }

    /// The case without the rows at these positions.
    fn without(&self, rows: std::ops::Range<usize>) -> Self {
        let mut position = 0;
        let blocks = self.blocks.iter().map(|block| {
            let kept = block.iter().filter(|_| {
                position += 1;
                !rows.contains(&(position - 1))
            });
            kept.copied().collect()
        });
        Self { blocks: blocks.collect(), ..self.clone() }
    }

    /// Whether only rows that are there are taken back.
    fn is_valid(&self) -> bool {
        let mut there: Vec<Row> = Vec::new();
        self.blocks.iter().flatten().all(|row| match row.weight {
            1 => {
                there.push(*row);
                true
            }
            _ => {
                let same = there.iter().position(|other| *other == Row { weight: 1, ..*row });
                same.map(|same| there.swap_remove(same)).is_some()
            }
        })
    }
}

/// Event times of a source, in order of arrival.
fn times(step: &Step, rows: usize, rng: &mut Rng) -> Vec<i64> {
    let span_ms = step.span_ms();
    let base_ms = step.offset_ms() + [0, -span_ms, -3 * span_ms, 1_700_000_000_000][rng.usize(..4)];
    let grid_ms = [1, 250, 500, span_ms, (span_ms / 2).max(1)][rng.usize(..5)];
    let reach_ms = span_ms * [1, 3, 8][rng.usize(..3)];
    let mut times: Vec<i64> = (0..rows)
        .map(|_| {
            let at_ms = base_ms + rng.i64(0..=reach_ms / grid_ms) * grid_ms;
            // The last millisecond of a window, and the times at which the watermark is just behind it and at it.
            at_ms + [0, 0, 0, 0, -1, 998, 999, 1000][rng.usize(..8)]
        })
        .collect();
    match rng.u8(..6) {
        0 => times.sort_unstable(),
        1 => times.fill(base_ms),
        2 => {}
        disorder => {
            let most_ms = if disorder == 3 { 900 } else { 2500 };
            times.sort_by_cached_key(|at_ms| at_ms + rng.i64(0..most_ms));
        }
    }
    if !times.is_empty() && rng.u8(..4) == 0 {
        // One row far behind the others, or far ahead of those behind it.
        let position = rng.usize(..times.len());
        times[position] += [-10 * span_ms, 5 * span_ms + 2000, 86_400_000][rng.usize(..3)];
    }
    times
}

/// Puts rows behind others that take these back.
fn take_some_back(rows: &mut Vec<Row>, rng: &mut Rng) {
    let mut there: Vec<Row> = Vec::new();
    let most = rng.u8(1..6);
    let mut mixed = Vec::new();
    for row in rows.drain(..) {
        mixed.push(row);
        there.push(row);
        while !there.is_empty() && rng.u8(..8) < most {
            let back = there.swap_remove(rng.usize(..there.len()));
            mixed.push(Row { weight: -1, ..back });
        }
    }
    *rows = mixed;
}

impl Row {
    fn random(keys: i64, at_ms: i64, rng: &mut Rng) -> Self {
        let users = ["a", "b", "", "a longer name of a user"];
        Self {
            id: (rng.u8(..7) > 0).then(|| rng.i64(0..keys) - 1),
            user: (rng.u8(..7) > 0).then(|| users[rng.usize(..users.len())]),
            price: (rng.u8(..5) > 0).then(|| rng.i64(-3..=9)),
            at_ms,
            weight: 1,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let Self { id, user, price, at_ms, weight } = self;
        write!(out, "{weight:+} id {id:?}, user {user:?}, price {price:?}, at {at_ms} ms")
    }
}

impl fmt::Display for Case {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        writeln!(out, "{} shards", self.shards)?;
        for cut in &self.cuts {
            writeln!(out, "cut before block {}, then {} shards", cut.block, cut.shards)?;
        }
        for (number, block) in self.blocks.iter().enumerate() {
            writeln!(out, "block {number}:")?;
            for row in block {
                writeln!(out, "  {row}")?;
            }
        }
        Ok(())
    }
}
