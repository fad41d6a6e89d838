//! The plan: names, types and expressions resolved, columns nobody uses left out, stages cut at each exchange.
//!
//! A plan is what runs: nothing is reordered or optimised behind the user's back, and [`explain()`] prints it.

mod components;
mod delivery;
mod event_time;
mod explain;
mod fingerprint;
mod sides;
mod steps;
mod upgrade;

use std::sync::Arc;

pub use explain::explain;
pub use sides::SideOutput;
pub use upgrade::{Change, Fate, Upgrade};

use crate::codec::Format;
use crate::config::{BadRecord, Pipeline, Snapshot};
use crate::error::Problems;
use crate::operator::{Build, Flow, SideStream};
use crate::record::{KeyCodec, Paths, Schema, SqlType};
use crate::sink::Sink;
use crate::snapshot::Fingerprint;
use crate::source::{Source, TimeOf};

/// Everything that a run is built from.
pub struct Plan {
    /// The pipeline's name.
    pub name: String,
    /// What is read.
    pub source: Box<dyn Source>,
    /// How its bytes are read; none where it yields rows.
    pub format: Option<Format>,
    /// The columns that its records have.
    pub declared: Schema,
    /// The columns that are read: only those that are used.
    pub columns: Schema,
    /// Those of them that the steps are handed: not what only the event time is made from.
    pub kept: Schema,
    /// Where event time comes from.
    pub time: Option<TimeOf>,
    /// The stages in the order of the data; every one but the last ends in an exchange.
    pub stages: Vec<Stage>,
    /// What takes the rows.
    pub sink: Box<dyn Sink>,
    /// How it writes them.
    pub sink_format: Format,
    /// The rows it writes.
    pub output: Schema,
    /// The name of the state that keeps rows until none can be taken back any more; none where there is no such state.
    pub held_in: Option<Arc<str>>,
    /// What takes the rows that leave at a step.
    pub sides: Vec<SideOutput>,
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
        self.stages.iter().flat_map(|stage| &stage.operators).any(|operator| operator.by_wall_clock)
    }

    /// The names of the steps that keep state, in the order of the data: one for each operator that keeps some.
    pub fn states(&self) -> impl Iterator<Item = &Arc<str>> {
        self.stages.iter().flat_map(|stage| &stage.operators).filter_map(|operator| operator.state.as_ref())
    }
}

/// The operators between two exchanges.
#[derive(Clone, Default)]
pub struct Stage {
    /// In the order of the data.
    pub operators: Vec<Build>,
    /// How rows get to the next stage.
    pub exchange: Option<Exchange>,
}

/// Rows move to the shard that owns their key.
#[derive(Clone)]
pub struct Exchange {
    /// Positions of the key columns.
    pub columns: Vec<usize>,
    /// How their bytes are written.
    pub codec: KeyCodec,
}

/// How far ahead of its arrival a live record may be where the file does not say, milliseconds.
const MAX_FUTURE_MS_DEFAULT: i64 = 5 * 60 * 1000;

/// Resolves what a file says into what runs. Every mistake is reported; none is returned where there is one, or where
/// an option depends on a variable that is not known here.
pub fn plan(pipeline: &Pipeline, problems: &mut Problems) -> Option<Plan> {
    let source = components::source(&pipeline.source, problems);
    let (sink, sink_format) = components::sink(&pipeline.sink, problems).unzip();
    let declared = steps::parse(&pipeline.steps, problems);
    let (side_sinks, complete) = sides::parse(&pipeline.sinks, problems);
    let main = sink.as_deref().map(|sink| (sink, pipeline.sink.component.kind.at));
    sides::check_targets(source.as_deref(), main, &side_sinks, problems);
    // A source that could not be read hides no mistake in the steps, where the file declares the columns.
    let columns = components::schema(&pipeline.source, source.as_deref(), problems)?;
    let time = event_time::resolve(&pipeline.source, source.as_deref(), &columns, problems);
    let event_time = match &time {
        Ok(time) => time.as_ref().map(|time| time.expression.data_type().clone()),
        // Nor does an event time that is wrong: windows are checked as if it were right.
        Err(()) => Some(SqlType::Timestamp(3)),
    };
    let sends = delivery::sends(sink.as_deref());
    let flow = Flow { sends, ..Flow::of_source(columns.clone(), event_time) };
    let resolved = steps::resolve(&declared, flow.clone(), None, problems)?;
    let declared = declared.complete()?;
    let streams: Vec<&SideStream> = resolved.side_streams().collect();
    sides::check_names(&pipeline.sinks, problems);
    let consumed = sides::check(&pipeline.sinks, &streams, problems);
    let (sink, sink_format) = sink.zip(sink_format).filter(|_| complete && consumed.is_some())?;
    sides::check_rows(&side_sinks, &streams, problems);
    let sink_at = pipeline.sink.component.kind.at;
    delivery::resolve(sink.as_ref(), sink_at, source.as_deref(), &resolved.output, problems);
    sink.check(&resolved.output.schema, problems);
    let source = source.filter(|_| !problems.has_errors())?;
    // Once more, over only the columns that are used.
    let mut used = resolved.required(Paths::all(&resolved.output.schema), |stream| {
        pipeline.sinks.iter().any(|side| side.from.value == stream)
    });
    let kept = used.prune(&columns);
    if let Some(time) = time.ok()? {
        used.extend(time.expression.paths());
    }
    let declared_columns = columns;
    let columns = used.prune(&declared_columns);
    let time = event_time::resolve(&pipeline.source, Some(source.as_ref()), &columns, problems).ok()?;
    let flow = Flow { schema: kept.clone(), pruned: true, ..flow };
    let settled = resolved.last_changing().filter(|_| delivery::wants_only_final_rows(sink.as_ref()));
    let resolved = steps::resolve_all(declared, flow, settled, problems)?;
    let rows = &resolved.output;
    let delivery = delivery::resolve(sink.as_ref(), sink_at, Some(source.as_ref()), rows, problems)?;
    let streams: Vec<&SideStream> = resolved.side_streams().collect();
    let sides = sides::outputs(side_sinks, &streams);
    let holds =
        settled.is_some() || delivery::wants_only_final_rows(sink.as_ref()) && !delivery.parts.is_empty();
    let fingerprint = fingerprint::of(pipeline, &resolved, settled, &delivery.parts);
    let stages = resolved.stages(delivery.parts);
    let mut states =
        stages.iter().flat_map(|stage| &stage.operators).filter_map(|operator| operator.state.clone());
    let held_in = states.next_back().filter(|_| holds);
    Some(Plan {
        name: pipeline.name.value.clone(),
        format: components::source_format(&pipeline.source, source.as_ref()),
        declared: declared_columns,
        source,
        columns,
        kept,
        time,
        output: delivery.schema,
        held_in,
        stages,
        sides,
        sink,
        sink_format,
        bad_record: pipeline.source.bad_record.clone(),
        cores: pipeline.run.cores,
        state_dir: pipeline.run.state_dir.clone(),
        memory_bytes: pipeline.run.memory_bytes,
        snapshot: pipeline.run.snapshot,
        fingerprint,
    })
}
