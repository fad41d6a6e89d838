//! What is known of a join before rows come.

use super::Kind;
use super::side::Keeping;
use crate::expr::Expr;
use crate::operator::saved::StateKey;
use crate::record::Schema;

/// What every shard builds its operator from.
#[derive(Clone)]
pub(super) struct Spec {
    pub kind: Kind,
    /// Positions of the key columns of each input.
    pub keys: [Vec<usize>; 2],
    pub key: StateKey,
    pub keeping: [Keeping; 2],
    pub interval: Option<Interval>,
    pub rest: Option<Rest>,
    /// The columns of a row of the output.
    pub output: Schema,
    /// Whether rows of the output may be taken back.
    pub weighted: bool,
}

/// How far apart the times of two rows may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    /// Positions of the columns of time of each input.
    pub columns: [usize; 2],
    /// The least of second − first, milliseconds.
    pub least_ms: i64,
    /// The greatest of second − first, milliseconds.
    pub most_ms: i64,
}

/// What is asked of each pair besides the key.
#[derive(Clone)]
pub(super) struct Rest {
    pub condition: Expr,
    /// Of each side a ROW of what the condition reads.
    pub schema: Schema,
    /// The sides of the columns of the schema, and for each the positions of what it has of its input.
    pub columns: Vec<(usize, Vec<usize>)>,
}

impl Interval {
    /// How far the watermark behind the join is held back, milliseconds.
    pub fn width_ms(&self) -> i64 {
        self.most_ms.max(self.least_ms.saturating_neg()).max(0)
    }

    /// Whether rows of these times are near enough, milliseconds: that of `side`, and the other's.
    pub fn allows(&self, port: usize, at_ms: i64, other_ms: i64) -> bool {
        let (first_ms, second_ms) = if port == 0 { (at_ms, other_ms) } else { (other_ms, at_ms) };
        let distance_ms = second_ms.saturating_sub(first_ms);
        (self.least_ms..=self.most_ms).contains(&distance_ms)
    }
}
