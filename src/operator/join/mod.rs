//! `join`: rows of two streams with equal keys, side by side. It begins a stream that names its two inputs
//! (`from: { o: orders, p: payments }`); its rows have a ROW column of each, under these names.
//!
//! `match` is taken apart into a key for each input and what is left ([`crate::expr::pair_condition`]); each input is
//! exchanged by its key, and [`operator`] keeps the rows of both ([`side`], [`rows`]) and makes pairs of them ([`output`]).
//!
//! Without `within` every row is kept for ever, or for `ttl`, and what an outer, semi or anti join says of a row may change:
//! it is a changelog. A row that has passed its `ttl` goes silently: what was told of it stays, its partners still count it,
//! and what takes it back is passed over. With `within` (an interval join) a row is kept until the watermark says that no
//! partner can come, and a row without any comes out then, once.

mod keys;
mod operator;
mod options;
mod output;
mod resolve;
mod rows;
mod saved;
mod side;
mod spec;
#[cfg(test)]
mod tests;
mod view;
mod work;

use std::fmt;

pub use options::parse_join;

use super::{Build, Flow, Part, SideStream};
use crate::error::Problems;
use crate::record::Paths;

/// The verb.
pub const JOIN: &str = "join";

/// A `join` as it is declared.
pub trait Join: fmt::Debug {
    /// The join of these two inputs, each with its name. Problems are reported, all at once; none is returned only after a
    /// problem.
    fn resolve(&self, inputs: [(&str, &Flow); 2], problems: &mut Problems) -> Option<ResolvedJoin>;
}

/// Finds the columns of each input that are needed, given those of the output.
pub type Required = Box<dyn Fn(&Paths) -> [Paths; 2]>;

/// A join whose inputs are known.
pub struct ResolvedJoin {
    /// The rows behind it.
    pub output: Flow,
    /// What the rows of each input go through first; the last part is the exchange by the key.
    pub before: [Vec<Part>; 2],
    /// The operator, which takes the rows of the first input by port 0 and those of the second by port 1.
    pub build: Build,
    /// The streams that leave the pipeline at this step.
    pub side: Vec<SideStream>,
    /// The columns of each input that are needed so that these columns of its output can be made.
    pub required: Required,
}

/// Which rows a join makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Pairs.
    Inner,
    /// Pairs, and rows of the first input without partner.
    Left,
    /// Pairs, and rows of the second input without partner.
    Right,
    /// Pairs, and rows of both inputs without partner.
    Full,
    /// Rows of the first input that have a partner.
    Semi,
    /// Rows of the first input that have none.
    Anti,
}

/// What is told of the rows of one side by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tells {
    Nothing,
    /// Those without partner.
    Alone,
    /// Those with a partner.
    Matched,
}

impl Kind {
    /// All, under their names.
    const NAMES: [(&str, Self); 6] = [
        ("inner", Self::Inner),
        ("left", Self::Left),
        ("right", Self::Right),
        ("full", Self::Full),
        ("semi", Self::Semi),
        ("anti", Self::Anti),
    ];

    /// Its name.
    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// What is told of rows by themselves, `[side]`.
    fn tells(self) -> [Tells; 2] {
        match self {
            Self::Inner => [Tells::Nothing, Tells::Nothing],
            Self::Left | Self::Anti => [Tells::Alone, Tells::Nothing],
            Self::Right => [Tells::Nothing, Tells::Alone],
            Self::Full => [Tells::Alone, Tells::Alone],
            Self::Semi => [Tells::Matched, Tells::Nothing],
        }
    }

    /// Whether it makes pairs.
    fn makes_pairs(self) -> bool {
        !matches!(self, Self::Semi | Self::Anti)
    }
}
