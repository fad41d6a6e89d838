//! What a join is to make of its whole input, by looking at every pair of rows: no key, no state, no order of batches.
//!
//! Where rows go with the time and are taken back as well, what there is depends on what came before what, and the model takes
//! one row after the other ([`Model::net_in_turn`]). What it holds the join to:
//!
//! - A row is there from when it comes until the watermark at the end of a block has passed its time by `ttl`. One that comes
//!   later than that meets the rows that are there, and is not kept.
//! - It goes silently: what was told of it stays told, and the partners that it had still count it.
//! - A row is taken back as long as it is there: its pairs with the partners that are there, and what was told of it by itself.
//!   What takes back a row that is not there is passed over; so a row that comes behind what takes it back stays.
//! - A row with NULL in its key is never kept: what is told of it is told, and taken back, whenever it comes.

use super::machine::{Block, Made, Net, Row};
use crate::operator::join::Kind;

/// Whether two rows match.
pub type Matches = fn(&Row, &Row) -> bool;

/// A join as the model knows it.
#[derive(Clone, Debug)]
pub struct Model {
    pub kind: Kind,
    pub matches: Matches,
    /// The least and the most of second − first.
    pub within: Option<(i64, i64)>,
    pub ttl: Option<i64>,
    pub changelog: bool,
}

/// A row with when it came.
struct Arrived {
    row: Row,
    weight: i64,
    order: (usize, usize, usize),
    watermark_ms: i64,
}

impl Model {
    /// What there is once these blocks have ended.
    pub fn net(&self, blocks: &[Block]) -> Net {
        if self.changelog && self.ttl.is_some() {
            return self.net_in_turn(blocks);
        }
        let (mut sides, mut watermark_ms) = ([Vec::new(), Vec::new()], i64::MIN);
        for (number, block) in blocks.iter().enumerate() {
            for port in [0, 1] {
                for (place, (row, weight)) in block.rows[port].iter().enumerate() {
                    let (order, weight) = ((number, port, place), i64::from(*weight));
                    sides[port].push(Arrived { row: *row, weight, order, watermark_ms });
                }
            }
            watermark_ms = watermark_ms.max(block.after_ms.unwrap_or(i64::MIN));
        }
        let mut net = Net::new();
        let mut add = |made: Made, weight: i64| *net.entry(made).or_default() += weight;
        // Without time it is a function of what is there: so all weights may be summed.
        let mut partners = sides.each_ref().map(|side| vec![0_i64; side.len()]);
        for (i, first) in sides[0].iter().enumerate() {
            for (j, second) in sides[1].iter().enumerate() {
                if self.meet(first, second) {
                    partners[0][i] += second.weight;
                    partners[1][j] += first.weight;
                    if !matches!(self.kind, Kind::Semi | Kind::Anti) {
                        add([Some(first.row), Some(second.row)], first.weight * second.weight);
                    }
                }
            }
        }
        for (side, rows) in sides.iter().enumerate() {
            for (row, partners) in rows.iter().zip(&partners[side]) {
                let is_over = self.within.is_none()
                    || row.row.k.is_none()
                    || row.row.at.is_none_or(|at| self.until(side, at).unwrap() <= watermark_ms);
                let is_told = match (self.kind, side) {
                    (Kind::Left | Kind::Full | Kind::Anti, 0) | (Kind::Right | Kind::Full, 1) => {
                        *partners <= 0 && is_over
                    }
                    (Kind::Semi, 0) => *partners > 0,
                    _ => false,
                };
                if is_told {
                    let mut made = [None, None];
                    made[side] = Some(row.row);
                    add(made, row.weight);
                }
            }
        }
        net.retain(|_, weight| *weight != 0);
        net
    }

    /// Until when a row is kept.
    fn until(&self, side: usize, at: i64) -> Option<i64> {
        match (self.within, self.ttl) {
            (Some((least, most)), _) => Some(at + [most, -least][side]),
            (None, ttl) => Some(at + ttl?),
        }
    }

    fn meet(&self, first: &Arrived, second: &Arrived) -> bool {
        let (a, b) = (&first.row, &second.row);
        if a.k.is_none() || b.k.is_none() || !(self.matches)(a, b) {
            return false;
        }
        if let Some((least, most)) = self.within {
            let (Some(a), Some(b)) = (a.at, b.at) else { return false };
            if !(least..=most).contains(&(b - a)) {
                return false;
            }
        }
        let (side, earlier, later) =
            if first.order < second.order { (0, first, second) } else { (1, second, first) };
        self.until(side, earlier.row.at.unwrap_or(0)).is_none_or(|until| until > later.watermark_ms)
    }

    /// The same, one row after the other.
    fn net_in_turn(&self, blocks: &[Block]) -> Net {
        let ttl = self.ttl.expect("asked before");
        let (mut there, mut watermark_ms) = ([Vec::new(), Vec::new()], i64::MIN);
        let mut net = Net::new();
        for block in blocks {
            for port in [0, 1] {
                for (row, weight) in &block.rows[port] {
                    self.take(port, *row, i64::from(*weight), watermark_ms, &mut there, &mut net);
                }
            }
            watermark_ms = watermark_ms.max(block.after_ms.unwrap_or(i64::MIN));
            for rows in &mut there {
                rows.retain(|there| there.row.at.unwrap_or(0) + ttl > watermark_ms);
            }
        }
        net.retain(|_, weight| *weight != 0);
        net
    }

    /// Takes a row.
    fn take(
        &self,
        port: usize,
        row: Row,
        weight: i64,
        watermark_ms: i64,
        there: &mut [Vec<There>; 2],
        net: &mut Net,
    ) {
        let mut add = |side: usize, one: Row, other: Option<Row>, weight: i64| {
            let mut made = [None, None];
            (made[side], made[1 - side]) = (Some(one), other);
            *net.entry(made).or_default() += weight;
        };
        let mut before = None;
        if weight < 0 && row.k.is_some() {
            let Some(place) = there[port].iter().position(|there| there.row == row) else { return };
            before = Some(there[port].remove(place).partners);
        }
        let mut partners = 0;
        for other in &mut there[1 - port] {
            let pair = if port == 0 { (&row, &other.row) } else { (&other.row, &row) };
            if row.k.is_none() || !(self.matches)(pair.0, pair.1) {
                continue;
            }
            partners += 1;
            if !matches!(self.kind, Kind::Semi | Kind::Anti) {
                add(port, row, Some(other.row), weight);
            }
            let was_told = self.is_told(1 - port, other.partners);
            other.partners += weight;
            let is_told = self.is_told(1 - port, other.partners);
            add(1 - port, other.row, None, i64::from(is_told) - i64::from(was_told));
        }
        add(port, row, None, weight * i64::from(self.is_told(port, before.unwrap_or(partners))));
        let ttl = self.ttl.expect("asked before");
        if weight > 0 && row.k.is_some() && row.at.unwrap_or(0) + ttl > watermark_ms {
            there[port].push(There { row, partners });
        }
    }

    /// Whether a row with so many partners is told by itself.
    fn is_told(&self, side: usize, partners: i64) -> bool {
        match (self.kind, side) {
            (Kind::Left | Kind::Full | Kind::Anti, 0) | (Kind::Right | Kind::Full, 1) => partners <= 0,
            (Kind::Semi, 0) => partners > 0,
            _ => false,
        }
    }
}

/// A row that is there, with how many partners it has, or had until they went.
struct There {
    row: Row,
    partners: i64,
}
