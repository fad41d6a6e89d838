//! The plan: names, types and expressions resolved, columns nobody uses left out, stages cut at each exchange.
//!
//! A plan is what runs: nothing is reordered or optimised behind the user's back, and [`explain()`] prints it.

mod build;
mod components;
mod delivery;
mod diagram;
mod event_time;
mod explain;
mod fingerprint;
mod graph;
mod resolve;
mod route;
mod sides;
mod stages;
mod steps;
mod tables;
mod union;
mod upgrade;

use std::sync::Arc;

pub use diagram::{Language, diagram};
pub use explain::explain;
pub use sides::SideOutput;
pub use stages::{Exchange, Exit, Input, Stage};
pub use upgrade::{Change, Fate, Upgrade};

use resolve::Read;

use crate::codec::Format;
use crate::config::{BadRecord, Pipeline, Snapshot};
use crate::error::Problems;
use crate::operator::Build;
use crate::record::Schema;
use crate::sink::Sink;
use crate::snapshot::Fingerprint;
use crate::source::{Source, TimeOf};
use crate::table::Table;

/// Everything that a run is built from.
pub struct Plan {
    /// The pipeline's name.
    pub name: String,
    /// What is read.
    pub sources: Vec<SourceInput>,
    /// What rows are looked up in.
    pub tables: Vec<Arc<Table>>,
    /// The stages in the order of the data; the first one reads.
    pub stages: Vec<Stage>,
    /// What takes the rows.
    pub sinks: Vec<SinkOutput>,
    /// What takes the rows that leave at a step.
    pub sides: Vec<SideOutput>,
    /// The streams of bad records: they come into the first stage by the entries behind those of the sources.
    pub rejects: Vec<Arc<str>>,
    /// What happens to bad records.
    pub bad_record: BadRecord,
    /// How many shards the file asks for; none for one per available core.
    pub cores: Option<usize>,
    /// Where the file wants state to be kept.
    pub state_dir: Option<String>,
    /// How many bytes of state all shards may keep together; none for no limit.
    pub memory_bytes: Option<u64>,
    /// When snapshots are taken and how many are kept.
    pub snapshot: Snapshot,
    /// What it is, in words.
    pub fingerprint: Fingerprint,
}

impl Plan {
    /// Whether some output is due at times of the wall clock, so that a silent source has to keep the stages going.
    #[must_use]
    pub fn needs_heartbeat(&self) -> bool {
        self.operators().any(|operator| operator.by_wall_clock)
    }

    /// Whether it is one chain: one source, one sink, and nothing that forks.
    #[must_use]
    pub fn is_chain(&self) -> bool {
        let is_line = |stage: &Stage| {
            let ways = stage.wiring.entries.iter().chain(stage.wiring.operators.iter().map(|(_, to)| to));
            stage.wiring.entries.len() == 1
                && stage.wiring.sides.is_empty()
                && ways.into_iter().all(|targets| targets.len() == 1)
        };
        self.sources.len() == 1 && self.sinks.len() == 1 && self.stages.iter().all(is_line)
    }

    /// The stage and the entry by which the rows of this exit come in; none where they go to a sink.
    fn taker(&self, exit: Input) -> Option<(usize, usize)> {
        self.stages
            .iter()
            .enumerate()
            .find_map(|(number, stage)| Some((number, stage.inputs.iter().position(|input| *input == exit)?)))
    }

    /// The event time of the first source that has one.
    #[must_use]
    pub fn time(&self) -> Option<&TimeOf> {
        self.sources.iter().find_map(|source| source.time.as_ref())
    }

    /// The names of the steps that keep state, in the order of the data: one for each operator that keeps some.
    pub fn states(&self) -> impl Iterator<Item = &Arc<str>> {
        self.operators().filter_map(|operator| operator.state.as_ref())
    }

    fn operators(&self) -> impl Iterator<Item = &Build> {
        self.stages.iter().flat_map(|stage| stage.wiring.builds())
    }
}

/// Records on their way in.
pub struct SourceInput {
    /// The source's name.
    pub name: Arc<str>,
    /// What is read.
    pub source: Box<dyn Source>,
    /// How its bytes are read; none where it yields rows.
    pub format: Option<Format>,
    /// The columns that its records have.
    pub declared: Schema,
    /// The columns that are read: only those that are used.
    pub columns: Schema,
    /// Those of them that the streams are handed: not what only the event time is made from.
    pub kept: Schema,
    /// Where event time comes from.
    pub time: Option<TimeOf>,
    /// The entry of the first stage by which its bad records come in; none where they go to quarantine.
    pub rejects: Option<usize>,
}

/// Rows on their way out.
pub struct SinkOutput {
    /// The sink's name.
    pub name: Arc<str>,
    /// What takes them.
    pub sink: Box<dyn Sink>,
    /// How it writes them.
    pub format: Format,
    /// Their columns.
    pub schema: Schema,
    /// The name of the state that keeps rows until none can be taken back any more; none where there is no such state.
    pub held_in: Option<Arc<str>>,
}

/// How far ahead of its arrival a live record may be where the file does not say, milliseconds.
const MAX_FUTURE_MS_DEFAULT: i64 = 5 * 60 * 1000;

/// Resolves what a file says into what runs. Every mistake is reported; none is returned where there is one, or where
/// an option depends on a variable that is not known here.
pub fn plan(pipeline: &Pipeline, problems: &mut Problems) -> Option<Plan> {
    let checked = Read::of(pipeline, problems).resolve(problems)?.check(problems)?;
    build::build(checked, problems)
}
