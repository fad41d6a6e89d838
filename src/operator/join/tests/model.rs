//! What a join is to make of its whole input, by looking at every pair of rows: no key, no state, no order of batches.

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
}
