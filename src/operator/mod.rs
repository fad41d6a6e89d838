//! The verbs of a pipeline: what a file declares ([`Step`]), what it resolves to ([`Resolved`]), and what a shard runs
//! ([`Operator`]).
//!
//! A new verb is a file here, its `mod` line, and an entry in [`VERBS`]. Its file holds its options, its check, its
//! running form and its tests; [`verify`] is the harness every operator goes through.

mod aggregate;
mod block_order;
mod by;
mod context;
mod debezium;
mod dedupe;
mod drop;
mod explode;
mod expression;
#[cfg(test)]
mod feed;
mod filter;
mod finale;
mod key_bytes;
mod join;
mod late;
mod lookup;
#[cfg(test)]
mod model;
mod narrow;
mod network;
mod over;
mod pattern;
mod payload;
mod prepared;
mod project;
mod queue;
mod rename;
mod route;
mod row_bytes;
mod sample;
mod saved;
mod select;
mod selected;
mod set;
mod settle;
mod side_way;
mod throttle;
mod top;
mod upsert;
pub mod verify;
mod waiting;
mod waiting_table;
mod work;

use std::fmt;
use std::sync::Arc;

pub use context::{Context, SideRows};
pub use debezium::{debezium, debezium_schema};
pub use expression::column_expression;
pub use join::{JOIN, Join, ResolvedJoin, parse_join};
pub use narrow::narrow;
pub use network::{Network, SideWiring, Tail, Target, Wiring};
pub use route::{case, route};
pub use settle::settle;
pub use upsert::UpsertSpec;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::{Place, Problem, Problems};
use crate::record::{Batch, Interleaved, KeyCodec, Paths, Schema, SqlType};
use crate::table::Tables;
use crate::yaml::Node;

/// Batches in, batches out: synchronous, on one thread, a batch at a time.
///
/// The caller pulls until nothing comes, then pushes the next batch; so an operator holds at most one batch of input,
/// and output is made only as fast as it is taken.
pub trait Operator {
    /// Takes a batch. Called only after [`Operator::pull`] has returned none.
    fn push(&mut self, batch: Batch, context: &mut Context);

    /// Takes what has come by its ports, as [`Operator::push`] does; for an operator of several inputs. Of their blocks each
    /// ends once, by whichever port its last rows come.
    fn push_interleaved(&mut self, _input: Interleaved, _context: &mut Context) {
        unreachable!("it has one input");
    }

    /// The next batch of output, at most [`Batch::ROWS_MAX`] rows more than the input had; none once the input pushed
    /// last is used up. Every block end of the input comes out once, behind the rows it belongs to.
    fn pull(&mut self, context: &mut Context) -> Option<Batch>;

    /// What the operator keeps from one batch to the next. Asked once per turn of a shard: no walk over all keys.
    fn state(&self) -> StateSize {
        StateSize::default()
    }

    /// The tables in which its state is saved; none where it keeps none. The same for every operator of one build.
    fn tables(&self) -> Vec<StateTable> {
        Vec::new()
    }

    /// Begins a view of the state as it is now, between two batches and with all output pulled: what
    /// [`Operator::capture`] hands out from here on is that state, whatever rows come meanwhile. Takes no walk over all keys.
    fn begin_view(&mut self) {}

    /// The next rows of the view, of about `rows` entries; none once all of it has been handed out, which ends the view.
    fn capture(&mut self, _rows: usize) -> Option<Captured> {
        None
    }

    /// Gives the view up.
    fn end_view(&mut self) {}

    /// Takes saved rows of one of [`Operator::tables`], in any order, before the first batch: those whose keys are this
    /// shard's, and all rows of tables without keys, whichever shards saved them.
    fn restore(&mut self, _table: usize, _rows: &RecordBatch) {}

    /// All saved rows have been taken: makes what follows from them (timers, sizes).
    fn restored(&mut self) {}
}

/// A table of an operator's state, as it lies in a snapshot and is shown to people.
#[derive(Clone, Debug)]
pub struct StateTable {
    /// Its name among the tables of the operator.
    pub name: &'static str,
    /// Its columns: first those of the key, under the user's names where there are such.
    pub schema: SchemaRef,
    /// How the key is written in bytes; its slot is that of their hash. None where the table has no key: then each shard
    /// has rows of its own, and every shard takes those of all.
    pub key: Option<KeyCodec>,
}

/// Rows of a view.
#[derive(Clone, Debug)]
pub struct Captured {
    /// Which of [`Operator::tables`] they belong to.
    pub table: usize,
    /// The rows, in the table's schema.
    pub rows: RecordBatch,
}

/// How much an operator keeps on one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Entries: groups of open windows, sessions, keys, rows kept back.
    pub entries: usize,
    /// The bytes they hold on the heap, about.
    pub bytes: usize,
    /// The end of the window that closes next, or the first millisecond behind the row that is next to come out,
    /// milliseconds of event time; none where none is open and no row waits.
    pub next_close_ms: Option<i64>,
}

/// The rows between two steps.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Their columns.
    pub schema: Schema,
    /// The type of their event time (a timestamp, with or without a zone); none where none is declared.
    pub event_time: Option<SqlType>,
    /// The columns whose values are the event time, or it and a millisecond; none where that is not known, because an
    /// expression or a step makes it of several.
    pub time_columns: Option<Vec<String>>,
    /// Why rows have no event time, where they have none.
    pub untimed: Untimed,
    /// Whether rows of one key arrive in one defined order: true from a source to the first exchange and behind it.
    pub ordered: bool,
    /// Set when columns that nobody uses have been left out of the source: a step may then miss a column it only
    /// passes on, drops or renames.
    pub pruned: bool,
    /// Set where every row belongs to a window: behind a windowed step.
    pub window: Option<WindowColumns>,
    /// Set where rows may take earlier rows back.
    pub changelog: Option<Changelog>,
    /// What a running step sends.
    pub sends: Sends,
    /// What rows can be looked up in.
    pub tables: Arc<Tables>,
}

/// Why rows have no event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untimed {
    /// Their source declares none.
    Undeclared,
    /// They come of a join that keeps rows for longer than any watermark waits.
    Joined,
    /// They are bad records.
    Bad,
}

impl Untimed {
    /// What to do about it.
    #[must_use]
    pub fn help(self) -> &'static str {
        match self {
            Self::Undeclared => "add event_time: { column: … } to the source",
            Self::Joined => {
                "behind a `join` without `within` there is none: a row may be joined however much later its partner comes. \
                 Give the join a `within`, or put this step before it"
            }
            Self::Bad => "bad records have none: nobody could read it",
        }
    }
}

/// What a running step sends of its changes, which depends on who takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sends {
    /// The change that each row makes.
    EachChange,
    /// What has changed between two block ends.
    BlockChanges,
    /// Only the rows that are there when the input is complete, which stay.
    FinalRows,
}

impl Sends {
    /// How a running step sends, for its description.
    fn describe(self) -> &'static str {
        match self {
            Self::EachChange => "as a changelog of each change",
            Self::BlockChanges => "as a changelog of what changes between the ends of blocks",
            Self::FinalRows => "sent when the input is complete",
        }
    }
}

/// The names of the columns that hold the window a row belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowColumns {
    /// Its start; none once the column has been dropped.
    pub start: Option<String>,
    /// Its end, exclusive; none once the column has been dropped.
    pub end: Option<String>,
}

/// Rows with weights: +1 inserts a row, −1 takes an equal one back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changelog {
    /// The columns of which at most one row is there at a time with equal values; none where that is not known.
    pub key: Option<Vec<String>>,
}

impl Flow {
    /// The rows of a source: inserted, in order, in no window.
    #[must_use]
    pub fn of_source(schema: Schema, event_time: Option<SqlType>) -> Self {
        Self {
            schema,
            event_time,
            time_columns: None,
            untimed: Untimed::Undeclared,
            ordered: true,
            pruned: false,
            window: None,
            changelog: None,
            sends: Sends::EachChange,
            tables: Arc::default(),
        }
    }

    /// Reports a step that takes rows in the order of their event time, where they have none.
    pub fn require_event_time(&self, step: &str, at: Place, problems: &mut Problems) -> Option<()> {
        if self.event_time.is_some() {
            return Some(());
        }
        problems.push(
            Problem::error(
                at,
                format!("`{step}` takes rows in the order of their event time, and there is none"),
            )
            .help(self.untimed.help()),
        );
        None
    }

    /// Reports a step that takes only rows that stay, where rows may be taken back.
    pub fn refuse_changelog(&self, step: &str, at: Place, problems: &mut Problems) -> Option<()> {
        if self.changelog.is_none() {
            return Some(());
        }
        problems.push(
            Problem::error(at, format!("`{step}` takes rows that stay, and the rows here may be taken back"))
                .help("a step before it corrects its earlier output (a running `aggregate`, `top` or `dedupe`, or `late: { allow }`): give that step a window, or put this one before it"),
        );
        None
    }
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
    /// The streams that leave the pipeline at this step.
    pub side: Vec<SideStream>,
    /// The columns of the step's input that are needed so that these columns of its output can be made.
    pub required: Box<dyn Fn(&Paths) -> Paths>,
}

/// A stream of rows that leaves the pipeline at a step, such as the rows that came too late.
#[derive(Clone, Debug)]
pub struct SideStream {
    /// Its name.
    pub name: String,
    /// Where the file names it.
    pub at: Place,
    /// Its columns.
    pub schema: Schema,
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
    /// The name of the state it keeps; none where it keeps none.
    pub state: Option<Arc<str>>,
    /// Whether its output is due at times of the wall clock, so that it has to be stepped where no rows come.
    pub by_wall_clock: bool,
    /// Whether an expression in it reads the present time, so that the same row may come to something else later.
    pub reads_clock: bool,
    /// Builds one for a shard.
    pub build: Arc<dyn Fn() -> Box<dyn Operator> + Send + Sync>,
}

impl Build {
    /// A builder with its description.
    pub fn new(
        description: impl Into<String>,
        build: impl Fn() -> Box<dyn Operator> + Send + Sync + 'static,
    ) -> Self {
        Self {
            description: description.into(),
            state: None,
            by_wall_clock: false,
            reads_clock: false,
            build: Arc::new(build),
        }
    }

    /// The builder of an operator that keeps state under this name.
    #[must_use]
    pub fn keeping(self, state: &str) -> Self {
        Self { state: Some(Arc::from(state)), ..self }
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
pub static VERBS: &[Verb] = &[
    filter::VERB,
    select::VERB,
    set::VERB,
    drop::VERB,
    rename::VERB,
    explode::VERB,
    lookup::VERB,
    sample::VERB,
    throttle::VERB,
    aggregate::VERB,
    over::VERB,
    pattern::VERB,
    top::VERB,
    dedupe::VERB,
];

/// The verb of this name.
#[must_use]
pub fn verb(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}
