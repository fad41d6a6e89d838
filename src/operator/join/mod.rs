//! `join`: rows of two streams with equal keys, side by side. It begins a stream that names its two inputs
//! (`from: { o: orders, p: payments }`); its rows have a ROW column of each, under these names.

use std::fmt;

use super::{Build, Flow, Part, SideStream};
use crate::error::{Place, Problems};
use crate::record::Paths;
use crate::yaml::Node;

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

/// Reads the options of a `join`. None is returned only after a problem.
pub fn parse_join(options: &Node, at: Place, problems: &mut Problems) -> Option<Box<dyn Join>> {
    let _ = options;
    problems.error(at, "`join` is not in this version");
    None
}
