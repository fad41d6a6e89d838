//! The verbs of a pipeline: what a file declares ([`Step`]), what it resolves to ([`Resolved`]), and what a shard runs
//! ([`Operator`]).
//!
//! A new verb is a file here, its `mod` line, and an entry in [`VERBS`]. Its file holds its options, its check, its
//! running form and its tests; [`verify`] is the harness every operator goes through.

mod aggregate;
mod chain;
mod context;
mod drop;
mod explode;
mod expression;
mod filter;
mod project;
mod rename;
mod select;
mod set;
pub mod verify;
mod window_aggregate;

use std::fmt;
use std::sync::Arc;

pub use chain::Chain;
pub use context::Context;
pub use expression::column_expression;

use crate::error::{Place, Problems};
use crate::record::{Batch, KeyCodec, Paths, Schema, SqlType};
use crate::yaml::Node;

/// Batches in, batches out: synchronous, on one thread, a batch at a time.
///
/// The caller pulls until nothing comes, then pushes the next batch; so an operator holds at most one batch of input,
/// and output is made only as fast as it is taken.
pub trait Operator {
    /// Takes a batch. Called only after [`Operator::pull`] has returned none.
    fn push(&mut self, batch: Batch, context: &mut Context);

    /// The next batch of output, at most [`Batch::ROWS_MAX`] rows more than the input had; none once the input pushed
    /// last is used up. Every block end of the input comes out once, behind the rows it belongs to.
    fn pull(&mut self, context: &mut Context) -> Option<Batch>;
}

/// The rows between two steps.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Their columns.
    pub schema: Schema,
    /// The type of their event time (a timestamp, with or without a zone); none where none is declared.
    pub event_time: Option<SqlType>,
    /// Whether rows of one key arrive in one defined order: true from a source to the first exchange and behind it.
    pub ordered: bool,
    /// Set when columns that nobody uses have been left out of the source: a step may then miss a column it only
    /// passes on, drops or renames.
    pub pruned: bool,
}

/// What a file declares for one step, before its input is known.
pub trait Step: fmt::Debug {
    /// Resolves the step against its input: names, types, expressions. Problems are reported, all at once; none is
    /// returned only after a problem.
    fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved>;
}

/// A step whose names and types are known.
pub struct Resolved {
    /// The rows behind the step.
    pub output: Flow,
    /// What runs, in order.
    pub parts: Vec<Part>,
    /// The columns of the step's input that are needed so that these columns of its output can be made.
    pub required: Box<dyn Fn(&Paths) -> Paths>,
}

/// One piece of a resolved step.
#[derive(Clone)]
pub enum Part {
    /// An operator in the stage the rows are in.
    Operator(Build),
    /// Rows move to the shard that owns the key made of these columns.
    Exchange {
        /// Positions of the key columns.
        columns: Vec<usize>,
        /// How their bytes are written.
        codec: KeyCodec,
    },
}

/// Makes the running form of an operator on every shard.
#[derive(Clone)]
pub struct Build {
    /// What the operator does, for `explain`.
    pub description: String,
    /// Builds one for a shard.
    pub build: Arc<dyn Fn() -> Box<dyn Operator> + Send + Sync>,
}

impl Build {
    /// A builder with its description.
    pub fn new(
        description: impl Into<String>,
        build: impl Fn() -> Box<dyn Operator> + Send + Sync + 'static,
    ) -> Self {
        Self { description: description.into(), build: Arc::new(build) }
    }
}

/// A verb of the language.
pub struct Verb {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// A step that uses it, as YAML; it resolves against the columns of [`verify::example_schema`].
    pub example: &'static str,
    /// Reads the step's options. None is returned only after a problem.
    pub parse: fn(&Node, Place, &mut Problems) -> Option<Box<dyn Step>>,
}

/// All verbs.
pub static VERBS: &[Verb] =
    &[filter::VERB, select::VERB, set::VERB, drop::VERB, rename::VERB, explode::VERB, aggregate::VERB];

/// The verb of this name.
#[must_use]
pub fn verb(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}
