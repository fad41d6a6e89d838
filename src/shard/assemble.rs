//! A machine of shards put together from a plan, ready to be stepped: by threads of its own, or by a test in one.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use arrow::array::RecordBatch;

use super::committer::{Commission, Committer, Requests, Told};
use super::cut::Layout;
use super::encode::RecordEncoder;
use super::gather::Gathered;
use super::launch::{Event, LaunchError, Recovery, Settings};
use super::outlet::{Block, Encoder, Outlet};
use super::quarantine::Quarantine;
use super::rejects::Rejects;
use super::restore::restore;
use super::side::{self, SideOutlet, SidePart};
use super::stage::{Feed, KeyedStage, SourceStage};
use super::stall::Busy;
use super::step::{Shard, Snapshots};
use super::writer::{Encoded, RejectedItem, Verdict, Writer};
use crate::codec::{Decode, Format};
use crate::config::BadRecordAction;
use crate::crash::point;
use crate::exchange::{Inbox, LaneReceiver, LaneSender, Outbox, Parcel, Partition, Watermarks, lane, mesh};
use crate::io::{Bell, Storage};
use crate::metric::ShardMetrics;
use crate::mutant::{self, Mutant};
use crate::operator::{Network, Tail};
use crate::plan::{Exchange, Exit, Input, Plan, SinkOutput, Stage};
use crate::record::{Barrier, Projection, Schema};
use crate::sink::{self, Author, Form, Nothing, Output, PartitionBy, RowSink, SinkError};
use crate::snapshot::{Counts, Manifest, Store};
use crate::source::{
    CHUNK_BYTES, Cuts, Extent, Ingest, Inputs, Opening, Reader, Resume, SourceError, Supply, TimeOf, Turn,
    open_all,
};
use crate::time::Now;

/// How much the lanes hold.
pub struct Capacity {
    /// Batches, of a lane between two shards.
    pub batches: usize,
    /// Encoded blocks, of a lane to the writer.
    pub blocks: usize,
    /// Bad records, of a lane to the quarantine.
    pub rejected: usize,
    /// The bytes of a chunk of input.
    pub chunk_bytes: usize,
}

impl Default for Capacity {
    /// A few chunks' worth, so that a shard may run ahead of another's turn by about one chunk.
    fn default() -> Self {
        Self { batches: 16, blocks: 32, rejected: 256, chunk_bytes: CHUNK_BYTES }
    }
}

/// A machine that has not been started.
pub struct Machine {
    /// What each shard is built from, `[shard]`.
    pub parts: Vec<Parts>,
    /// What all are built from.
    pub recipe: Arc<Recipe>,
    /// Writes for all of them.
    pub writer: Writer,
    /// What wakes each shard, `[shard]`.
    pub bells: Vec<Arc<Bell>>,
    /// What wakes the writer.
    pub writer_bell: Arc<Bell>,
    /// What the shards have done, `[shard]`.
    pub metrics: Vec<Arc<ShardMetrics>>,
    /// How large the input is, where that is known.
    pub extent: Option<Extent>,
    /// The input's splits as the user knows them.
    pub splits: Vec<Arc<str>>,
    /// Asks the readers to end an epoch.
    pub cuts: Cuts,
    /// Commits epochs.
    pub committer: Committer,
    /// What wakes the committer.
    pub committer_bell: Arc<Bell>,
    /// What is asked of it.
    pub requests: Arc<Requests>,
    /// What becomes of the output.
    pub verdict: Arc<Verdict>,
    /// Which output the writer is busy with.
    pub busy: Arc<Busy>,
}

/// Opens the input and the output and wires the shards up.
///
/// # Errors
///
/// If the input or the output cannot be had.
pub fn assemble(
    plan: &Plan,
    settings: &Settings,
    capacity: &Capacity,
    start: Now,
    tell: &Sender<Event>,
) -> Result<Machine, LaunchError> {
    let bells: Vec<Arc<Bell>> = (0..settings.shards).map(|_| Arc::default()).collect();
    let (writer_bell, committer_bell) = (Arc::<Bell>::default(), Arc::<Bell>::default());
    let cuts = Cuts::new(settings.shards * plan.sources.len());
    let verdict = Arc::<Verdict>::default();
    let from = settings.recovery.as_ref().map(|recovery| &recovery.manifest);
    let (supply, meter) = settings.load.as_ref().map(|load| load.begin(settings.shards)).unzip();
    let inputs = InputOf { plan, capacity, bells: &bells, cuts: &cuts, start, from };
    let opened = inputs.open(supply)?;
    let first: Vec<u64> = opened.first.iter().filter_map(|first| first.iter().min().copied()).collect();
    let watermarks = watermarks(plan, &opened, from)?;
    let states = plan.states().count();
    let metrics: Vec<Arc<ShardMetrics>> = bells.iter().map(|_| Arc::new(ShardMetrics::new(states))).collect();
    let writing = |name: &str| opening_of(name, settings);
    let quarantine = quarantine(plan, settings, from)?;
    let (sides, written) = side::open(&plan.sides, writing, from.is_some(), capacity, &bells, &writer_bell)?;
    let mut ends = Ends::of_shards(&plan.stages, capacity, &bells);
    let lanes = SinkLanes {
        capacity: capacity.blocks,
        bells: &bells,
        writer: &writer_bell,
        metered: meter.is_some(),
        first: &first,
        from,
    };
    let encoded = match lanes.open(plan, writing, &mut ends) {
        Ok(encoded) => encoded,
        Err(error) => {
            for side in written {
                side.abandon(from.is_some());
            }
            return Err(error.into());
        }
    };
    point("outputs-opened");
    let names = encoded.iter().map(Encoded::name).chain(written.iter().map(|side| &side.name));
    let busy = Arc::new(Busy::new(names.cloned().collect()));
    let (rejected_to, rejected): (Vec<_>, Vec<_>) =
        bells.iter().map(|bell| lane(capacity.rejected, bell, &writer_bell)).unzip();
    let (told, inbox) = channel();
    let writer = Writer {
        encoded,
        meter,
        busy: busy.clone(),
        sides: written,
        rejected: Gathered::new(rejected),
        quarantine,
        verdict: verdict.clone(),
        events: tell.clone(),
        committer: (told.clone(), committer_bell.clone()),
        staging: None,
        closed: false,
        dirty: false,
        told: false,
        ended: false,
    };
    let requests: Arc<Requests> = Arc::default();
    let committer = Committer::new(Commission {
        settings,
        start,
        inbox,
        events: tell.clone(),
        requests: requests.clone(),
        cuts: cuts.clone(),
        bells: bells.clone(),
        verdict: verdict.clone(),
        position: opened.position,
    });
    let others = sides.into_iter().zip(rejected_to);
    let readers = opened.readers.into_iter().zip(opened.first);
    let parts = readers.zip(ends).zip(others).enumerate().map(
        |(number, (((readers, first), ends), (sides, quarantine)))| Parts {
            number,
            readers: readers.into_iter().zip(first).collect(),
            ends,
            sides,
            quarantine,
            metrics: metrics[number].clone(),
            events: tell.clone(),
            committer: (told.clone(), committer_bell.clone()),
        },
    );
    let recipe = Arc::new(Recipe::of(plan, settings, first, opened.first_splits, watermarks));
    Ok(Machine {
        parts: parts.collect(),
        recipe,
        writer,
        bells,
        writer_bell,
        metrics,
        extent: opened.extent,
        splits: opened.splits,
        cuts,
        committer,
        committer_bell,
        requests,
        verdict,
        busy,
    })
}

/// What the sources of a plan are opened with.
struct InputOf<'a> {
    plan: &'a Plan,
    capacity: &'a Capacity,
    bells: &'a [Arc<Bell>],
    cuts: &'a Cuts,
    start: Now,
    from: Option<&'a Manifest>,
}

impl InputOf<'_> {
    fn open(&self, supply: Option<Supply>) -> Result<Inputs, SourceError> {
        let sources = &self.plan.sources;
        let format_of = |turn: Turn| sources[turn.place].format.as_ref();
        let opening = |turn: Turn, resume| Opening {
            columns: sources[turn.place].columns.clone(),
            bells: self.bells.to_vec(),
            cuts: self.cuts.clone(),
            turn,
            start: self.start,
            idle_after_ms: sources[turn.place].time.as_ref().map(|time| time.idle_after_ms),
            heartbeat: self.plan.needs_heartbeat(),
            chunk_bytes: self.capacity.chunk_bytes,
            header: format_of(turn).and_then(|format| format.header_reader(&sources[turn.place].columns)),
            quote: format_of(turn).and_then(Format::multiline_quote),
            resume,
            supply: supply.clone(),
        };
        let sources: Vec<_> =
            sources.iter().map(|source| (source.name.clone(), source.source.as_ref())).collect();
        let resume = self.from.map(|from| Resume { barrier: begin(from), position: from.source.clone() });
        open_all(&sources, self.bells.len(), resume.as_ref(), opening)
    }
}

/// Where the input goes on.
fn begin(from: &Manifest) -> Barrier {
    let barrier = Barrier::from(from.barrier);
    let early = u64::from(mutant::is(Mutant::PositionEarly));
    let late = u64::from(mutant::is(Mutant::PositionLate));
    Barrier { piece: barrier.piece.saturating_sub(early) + late, ..barrier }
}

/// Where bad records go.
fn quarantine(plan: &Plan, settings: &Settings, from: Option<&Manifest>) -> Result<Quarantine, LaunchError> {
    Ok(Quarantine::open_at(
        settings.storage.clone(),
        settings.quarantine.clone(),
        plan.bad_record.limit_bytes,
        from.and_then(|from| from.quarantine.as_ref()),
    )?)
}

/// What the sink of this name is opened with.
fn opening_of(name: &str, settings: &Settings) -> sink::Opening {
    let recovery = settings.recovery.as_ref().filter(|recovery| recovery.outputs_kept.contains(name));
    sink::Opening {
        storage: settings.storage.clone(),
        author: Author { owner: settings.owner.clone(), run: settings.identity.run.clone() },
        resume: recovery.and_then(|recovery| recovery.manifest.outputs.get(name).cloned()),
        head: Vec::new(),
        extension: Format::Json.extension(),
    }
}

/// The watermarks of each stage behind an exchange, as they begin or go on.
fn watermarks(plan: &Plan, opened: &Inputs, from: Option<&Manifest>) -> Result<Vec<Watermarks>, LaunchError> {
    let source_of = |split| opened.first_splits.iter().rposition(|first| *first <= split).unwrap_or(0);
    let sources: Vec<usize> = (0..opened.splits.len()).map(source_of).collect();
    let out_of_order_ms =
        |source: &usize| plan.sources[*source].time.as_ref().map_or(0, |time| time.out_of_order_ms);
    let of_input = |input: &Input| match input.stage {
        0 => {
            // A split of a source whose rows do not come here says nothing about those that do.
            let begin = Watermarks::of_splits(sources.iter().map(out_of_order_ms).collect());
            let wiring = &plan.stages[0].wiring;
            let others = sources.iter().enumerate();
            let comes = |source: usize| {
                let mut entries = std::iter::once(source).chain(plan.sources[source].rejects);
                entries.any(|entry| wiring.leads(Tail::Entry(entry), input.exit))
            };
            let others = others.filter(|(_, source)| !comes(**source));
            others.fold(begin, |begin, (split, _)| begin.without(split))
        }
        // Behind a keyed stage every lane carries that stage's watermark.
        _ => Watermarks::new(1, 0),
    };
    let mut watermarks = Vec::new();
    for (exchange, stage) in plan.stages[1..].iter().enumerate() {
        let mut begin = Watermarks::joined(stage.inputs.iter().map(of_input).collect());
        if let Some(saved) = from.and_then(|from| from.watermarks.get(exchange))
            && !mutant::is(Mutant::WatermarksNotRestored)
        {
            begin.restore(saved).map_err(LaunchError::Snapshot)?;
        }
        watermarks.push(begin);
    }
    Ok(watermarks)
}

/// The ends of one shard's stages.
struct Ends {
    /// `[stage][exit]`; none where it has not been made yet.
    exits: Vec<Vec<Option<ExitEnd>>>,
    /// `[stage][entry][peer]`
    entries: Vec<Vec<Vec<LaneReceiver<Parcel>>>>,
}

/// The end of a stage's exit.
enum ExitEnd {
    /// `[peer]`
    Exchange(Vec<LaneSender<Parcel>>),
    Lane(LaneSender<Block>),
    /// The writer gets to know which numbers have ended, and no rows.
    Numbers(LaneSender<Block>),
    Rows(Box<dyn RowSink + Send>),
}

impl Ends {
    /// The ends of all exchanges, `[shard]`; those to the sinks are still to be made.
    fn of_shards(stages: &[Stage], capacity: &Capacity, bells: &[Arc<Bell>]) -> Vec<Self> {
        let exits = || stages.iter().map(|stage| stage.exits.iter().map(|_| None).collect()).collect();
        let ends = || Self { exits: exits(), entries: stages.iter().map(|_| Vec::new()).collect() };
        let mut shards: Vec<Self> = bells.iter().map(|_| ends()).collect();
        for (number, stage) in stages.iter().enumerate() {
            for input in &stage.inputs {
                let (senders, receivers) = mesh(capacity.batches, bells, bells);
                for (shard, (senders, receivers)) in shards.iter_mut().zip(senders.into_iter().zip(receivers))
                {
                    shard.exits[input.stage][input.exit] = Some(ExitEnd::Exchange(senders));
                    shard.entries[number].push(receivers);
                }
            }
        }
        shards
    }
}

/// What the lanes into the writer are made of.
struct SinkLanes<'a> {
    /// How many blocks a lane holds.
    capacity: usize,
    bells: &'a [Arc<Bell>],
    writer: &'a Arc<Bell>,
    /// Whether the run is measured.
    metered: bool,
    /// The first number of each shard, `[shard]`.
    first: &'a [u64],
    from: Option<&'a Manifest>,
}

impl SinkLanes<'_> {
    /// Opens the sinks and gives the shards their ends of the lanes. What the writer gets; where an output cannot be had,
    /// those before it are given up.
    fn open(
        &self,
        plan: &Plan,
        opening: impl Fn(&str) -> sink::Opening,
        ends: &mut [Ends],
    ) -> Result<Vec<Encoded>, SinkError> {
        let mut opened = Vec::new();
        for (number, output) in plan.sinks.iter().enumerate() {
            match self.open_one(plan, number, &opening(&output.name), ends) {
                Ok(encoded) => opened.extend(encoded),
                Err(error) => {
                    for encoded in opened {
                        Encoded::abandon(encoded, self.from.is_some());
                    }
                    return Err(error);
                }
            }
        }
        Ok(opened)
    }

    fn open_one(
        &self,
        plan: &Plan,
        number: usize,
        opening: &sink::Opening,
        ends: &mut [Ends],
    ) -> Result<Option<Encoded>, SinkError> {
        let SinkOutput { name, sink, format, schema, .. } = &plan.sinks[number];
        let (output, end): (_, fn(LaneSender<Block>) -> ExitEnd) = match sink.form(schema) {
            Form::Rows(build) if !self.metered => {
                for input in inputs_of(plan, number) {
                    for shard in &mut *ends {
                        shard.exits[input.stage][input.exit] = Some(ExitEnd::Rows(build()));
                    }
                }
                return Ok(None);
            }
            // The only sink that takes rows on the shards drops them.
            Form::Rows(_) => (Box::new(Nothing) as Box<dyn Output + Send>, ExitEnd::Numbers),
            Form::Bytes(open) => (open(&opening.clone().of(format, schema))?, ExitEnd::Lane),
        };
        let (mut lanes, mut first) = (Vec::new(), Vec::new());
        for input in inputs_of(plan, number) {
            for (shard, (bell, ends)) in self.bells.iter().zip(&mut *ends).enumerate() {
                let (sender, receiver) = lane(self.capacity, bell, self.writer);
                ends.exits[input.stage][input.exit] = Some(end(sender));
                lanes.push(receiver);
                // Behind an exchange every shard has something to say of every number.
                first.push(if input.stage == 0 { self.first[shard] } else { first_number(self.from) });
            }
        }
        Ok(Some(Encoded::new(name.clone(), lanes, first, output)))
    }
}

/// The ends of stages whose rows go to a sink.
fn inputs_of(plan: &Plan, sink: usize) -> impl Iterator<Item = Input> {
    plan.stages.iter().enumerate().flat_map(move |(stage, of)| {
        let exits = of.exits.iter().enumerate();
        let exits = exits.filter(move |(_, exit)| matches!(exit, Exit::Sink(to) if *to == sink));
        exits.map(move |(exit, _)| Input { stage, exit })
    })
}

/// What a shard is built from besides the plan.
pub struct Parts {
    /// The shard's number.
    pub number: usize,
    /// Each with its first number, `[source]`.
    readers: Vec<(Box<dyn Reader + Send>, u64)>,
    ends: Ends,
    sides: Vec<SidePart>,
    quarantine: LaneSender<RejectedItem>,
    metrics: Arc<ShardMetrics>,
    events: Sender<Event>,
    committer: (Sender<Told>, Arc<Bell>),
}

/// The first number behind an exchange.
fn first_number(from: Option<&Manifest>) -> u64 {
    from.map_or(0, |from| from.barrier.number)
}

/// What every shard is built from.
pub struct Recipe {
    stages: Vec<Stage>,
    sources: Vec<SourceRecipe>,
    /// The columns of each sink's rows, how it divides them, and how it writes them, `[sink]`.
    outputs: Vec<(Schema, Option<PartitionBy>, Format)>,
    first: Vec<u64>,
    watermarks: Vec<Watermarks>,
    bad_record: BadRecordAction,
    storage: Arc<dyn Storage>,
    store: Store,
    run: String,
    recovery: Option<Recovery>,
}

/// What every shard reads a source by.
struct SourceRecipe {
    columns: Schema,
    kept: Schema,
    format: Option<Format>,
    declared: Schema,
    time: Option<TimeOf>,
    first_split: usize,
    /// The entry by which its bad records come in.
    rejects: Option<usize>,
}
impl Recipe {
    fn of(
        plan: &Plan,
        settings: &Settings,
        first: Vec<u64>,
        first_splits: Vec<usize>,
        watermarks: Vec<Watermarks>,
    ) -> Self {
        let sources = plan.sources.iter().zip(first_splits).map(|(source, first_split)| SourceRecipe {
            columns: source.columns.clone(),
            kept: source.kept.clone(),
            format: source.format.clone(),
            declared: source.declared.clone(),
            time: source.time.clone(),
            first_split,
            rejects: source.rejects,
        });
        Self {
            stages: plan.stages.clone(),
            sources: sources.collect(),
            outputs: plan
                .sinks
                .iter()
                .map(|output| {
                    let partition = output.sink.partition(&output.schema);
                    (output.schema.clone(), partition, output.format.clone())
                })
                .collect(),
            first,
            watermarks,
            bad_record: plan.bad_record.action,
            storage: settings.storage.clone(),
            store: settings.store.clone(),
            run: settings.identity.run.clone(),
            recovery: settings.recovery.clone(),
        }
    }

    /// Builds a shard; called on the thread it runs on.
    #[must_use]
    pub fn build(&self, parts: Parts) -> Shard {
        let shards = self.first.len();
        let Ends { exits, entries } = parts.ends;
        let outlets = exits.into_iter().zip(&self.stages).map(|(ends, stage)| {
            let ends = ends.into_iter().map(|end| end.expect("every exit goes somewhere"));
            stage.exits.iter().zip(ends).map(|(exit, end)| self.outlet(exit, end)).collect()
        });
        let mut outlets = outlets.collect::<Vec<Vec<Outlet>>>().into_iter();
        let source = self.source_stage(parts.readers, outlets.next().expect("the stage that reads"));
        let keyed = entries.into_iter().enumerate().skip(1).zip(outlets);
        let keyed =
            keyed.map(|((number, entries), outlets)| self.keyed_stage(number, entries, outlets)).collect();
        let mut shard = Shard {
            number: parts.number,
            source,
            stages: keyed,
            sides: parts.sides.into_iter().map(SideOutlet::new).collect(),
            quarantine: parts.quarantine,
            bad_record: self.bad_record,
            metrics: parts.metrics,
            counts: vec![Counts::default(); self.stages.len()],
            steps_ungauged: 1,
            snapshots: Snapshots {
                storage: self.storage.clone(),
                store: self.store.clone(),
                run: self.run.clone(),
                shards,
                layout: Layout { states: Vec::new(), first: Vec::new() },
                committer: parts.committer,
            },
            cut: None,
            first_words: self.recovery.is_some().then_some(Event::Restored),
            events: parts.events,
            ended_unordered: false,
            ended: false,
            last_words: None,
        };
        shard.snapshots.layout = self.layout(&shard);
        if let Some(recovery) = &self.recovery
            && let Err(error) = restore(&mut shard, recovery)
        {
            shard.fail(format!("{error}\n  help: {}", error.help()));
        }
        shard
    }

    /// Which states the shard's stages keep, by name.
    fn layout(&self, shard: &Shard) -> Layout {
        let (mut states, mut first) = (Vec::new(), Vec::new());
        for (stage, network) in self.stages.iter().zip(shard.networks()) {
            first.push(states.len());
            let names = stage.wiring.builds().filter_map(|operator| operator.state.as_deref());
            states.extend(names.map(str::to_owned).zip(network.tables()));
        }
        Layout { states, first }
    }

    fn source_stage(&self, readers: Vec<(Box<dyn Reader + Send>, u64)>, outlets: Vec<Outlet>) -> SourceStage {
        let feeds = readers.into_iter().zip(&self.sources).map(|((reader, first), source)| {
            let decoder =
                source.format.as_ref().map(|format| format.decoder(&source.declared, &source.columns));
            let decoder = decoder.map(|decoder| decoder as Box<dyn Decode>);
            let kept = Projection::new(&source.columns, &source.kept);
            let ingest = Ingest::new(decoder, source.time.clone(), kept);
            let empty = RecordBatch::new_empty(source.kept.arrow().clone());
            let rejects = source.rejects.map(|entry| entry - self.sources.len());
            Feed::new(reader, ingest, source.first_split, first, empty, source.time.is_some())
                .rejecting_to(rejects)
        });
        let entries = self.stages[0].wiring.entries.len();
        let rejects = (self.sources.len()..entries).map(Rejects::new).collect();
        SourceStage::new(feeds.collect(), rejects, Network::new(&self.stages[0].wiring), outlets)
    }

    /// The end of an exit on a shard.
    fn outlet(&self, exit: &Exit, end: ExitEnd) -> Outlet {
        match (exit, end) {
            (Exit::Exchange(Exchange { columns, codec }), ExitEnd::Exchange(lanes)) => {
                Outlet::Exchange(Outbox::new(lanes, Partition::new(codec.clone(), columns.clone())))
            }
            (Exit::Sink(sink), ExitEnd::Lane(lane)) => {
                let (schema, partition, format) = &self.outputs[*sink];
                let encode = RecordEncoder::new(format.encoder(schema), partition.clone());
                Outlet::Bytes(Encoder::new(Some(encode), lane))
            }
            (_, ExitEnd::Numbers(lane)) => Outlet::Bytes(Encoder::new(None, lane)),
            (_, ExitEnd::Rows(sink)) => Outlet::Rows(sink),
            _ => unreachable!("lanes are made for what the exit is"),
        }
    }

    /// A stage behind an exchange, of this number.
    fn keyed_stage(
        &self,
        number: usize,
        entries: Vec<Vec<LaneReceiver<Parcel>>>,
        outlets: Vec<Outlet>,
    ) -> KeyedStage {
        let stage = &self.stages[number];
        let from = self.recovery.as_ref().map(|recovery| &recovery.manifest);
        let first = stage.inputs.iter().map(|input| match input.stage {
            0 => self.first.clone(),
            _ => vec![first_number(from); self.first.len()],
        });
        let inbox = Inbox::new(entries, first.collect(), self.watermarks[number - 1].clone());
        let inbox = if stage.wiring.tells_entries_apart() { inbox.interleaved() } else { inbox };
        KeyedStage::new(inbox, Network::new(&stage.wiring), outlets)
    }
}
