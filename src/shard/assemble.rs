//! A machine of shards put together from a plan, ready to be stepped: by threads of its own, or by a test in one.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use arrow::array::RecordBatch;

use super::committer::{Commission, Committer, Requests, Told};
use super::cut::Layout;
use super::encode::RecordEncoder;
use super::gather::Gathered;
use super::launch::{Event, LaunchError, Recovery, Settings};
use super::measure::Meter;
use super::outlet::{Block, Encoder, Outlet};
use super::quarantine::Quarantine;
use super::restore::restore;
use super::side::{self, SideOutlet, SidePart};
use super::stage::{KeyedStage, SourceStage};
use super::step::{Shard, Snapshots};
use super::writer::{Encoded, MAIN, RejectedItem, Verdict, Writer};
use crate::codec::{Decode, Format};
use crate::config::BadRecordAction;
use crate::crash::point;
use crate::exchange::{Inbox, LaneReceiver, LaneSender, Outbox, Parcel, Partition, Watermarks, lane, mesh};
use crate::io::{Bell, Storage};
use crate::metric::ShardMetrics;
use crate::mutant::{self, Mutant};
use crate::operator::Chain;
use crate::plan::{Plan, Stage};
use crate::record::{Barrier, Projection, Schema};
use crate::sink::{self, Author, Form, Nothing, Output, PartitionBy, RowSink, SinkError};
use crate::snapshot::{Counts, Manifest, Store};
use crate::source::{CHUNK_BYTES, Cuts, Extent, Ingest, Opening, Reader, Resume, TimeOf};
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
    let (cuts, verdict) = (Cuts::new(settings.shards), Arc::<Verdict>::default());
    let from = settings.recovery.as_ref().map(|recovery| &recovery.manifest);
    let (supply, meter) = settings.load.as_ref().map(|load| load.begin(settings.shards)).unzip();
    let opening = Opening {
        columns: plan.columns.clone(),
        bells: bells.clone(),
        cuts: cuts.clone(),
        start,
        idle_after_ms: plan.time.as_ref().map(|time| time.idle_after_ms),
        heartbeat: plan.needs_heartbeat(),
        chunk_bytes: capacity.chunk_bytes,
        header: plan.format.as_ref().and_then(|format| format.header_reader(&plan.columns)),
        quote: plan.format.as_ref().and_then(Format::multiline_quote),
        resume: from.map(|from| Resume { barrier: begin(from), position: from.source.clone() }),
        supply,
    };
    let opened = plan.source.open(&opening)?;
    let watermarks = watermarks(plan, opened.splits.len(), from)?;
    let states = plan.states().count();
    let metrics: Vec<Arc<ShardMetrics>> = bells.iter().map(|_| Arc::new(ShardMetrics::new(states))).collect();
    let writing = |name: &str| opening_of(name, settings);
    let quarantine = quarantine(plan, settings, from)?;
    let (sides, written) = side::open(&plan.sides, writing, from.is_some(), capacity, &bells, &writer_bell)?;
    let lanes = SinkLanes { capacity: capacity.blocks, bells: &bells, writer: &writer_bell, meter };
    let sinks = match Sinks::open(plan, &writing(MAIN), lanes, &opened.first, from) {
        Ok(sinks) => sinks,
        Err(error) => {
            for side in written {
                side.abandon(from.is_some());
            }
            return Err(error.into());
        }
    };
    point("outputs-opened");
    let (rejected_to, rejected): (Vec<_>, Vec<_>) =
        bells.iter().map(|bell| lane(capacity.rejected, bell, &writer_bell)).unzip();
    let (told, inbox) = channel();
    let writer = Writer {
        encoded: sinks.encoded,
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
    let lanes = Lanes::of_shards(plan.stages.len() - 1, capacity, &bells);
    let ends = sinks.ends.into_iter().zip(sides).zip(rejected_to);
    let parts = opened.readers.into_iter().zip(lanes).zip(ends).enumerate().map(
        |(number, ((reader, lanes), ((sink, sides), quarantine)))| Parts {
            number,
            reader,
            lanes,
            sink,
            sides,
            quarantine,
            metrics: metrics[number].clone(),
            events: tell.clone(),
            committer: (told.clone(), committer_bell.clone()),
        },
    );
    let recipe = Arc::new(Recipe::of(plan, settings, &opened.first, watermarks));
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
    })
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

/// The watermarks of each exchange, as they begin or go on.
fn watermarks(plan: &Plan, splits: usize, from: Option<&Manifest>) -> Result<Vec<Watermarks>, LaunchError> {
    let mut watermarks = Vec::new();
    for exchange in 0..plan.stages.len() - 1 {
        // Behind a keyed stage every lane carries that stage's watermark.
        let out_of_order_ms = plan.time.as_ref().map_or(0, |time| time.out_of_order_ms);
        let mut begin =
            if exchange == 0 { Watermarks::new(splits, out_of_order_ms) } else { Watermarks::new(1, 0) };
        if let Some(saved) = from.and_then(|from| from.watermarks.get(exchange))
            && !mutant::is(Mutant::WatermarksNotRestored)
        {
            begin.restore(saved).map_err(LaunchError::Snapshot)?;
        }
        watermarks.push(begin);
    }
    Ok(watermarks)
}

/// The lanes of one shard, `[exchange][peer]`.
struct Lanes {
    senders: Vec<Vec<LaneSender<Parcel>>>,
    receivers: Vec<Vec<LaneReceiver<Parcel>>>,
}

impl Lanes {
    /// The lanes of all exchanges, `[shard]`.
    fn of_shards(exchanges: usize, capacity: &Capacity, bells: &[Arc<Bell>]) -> Vec<Self> {
        let mut shards: Vec<Self> =
            bells.iter().map(|_| Self { senders: Vec::new(), receivers: Vec::new() }).collect();
        for _ in 0..exchanges {
            let (senders, receivers) = mesh(capacity.batches, bells, bells);
            for (shard, (senders, receivers)) in shards.iter_mut().zip(senders.into_iter().zip(receivers)) {
                shard.senders.push(senders);
                shard.receivers.push(receivers);
            }
        }
        shards
    }
}

/// The ends of the stages that feed the sink, `[shard]`, and what the writer gets.
struct Sinks {
    ends: Vec<SinkEnd>,
    encoded: Option<Encoded>,
}

enum SinkEnd {
    Lane(LaneSender<Block>),
    /// The writer gets to know which numbers have ended, and no rows.
    Numbers(LaneSender<Block>),
    Rows(Box<dyn RowSink + Send>),
}

/// What the lanes into the writer are made of.
struct SinkLanes<'a> {
    /// How many blocks a lane holds.
    capacity: usize,
    bells: &'a [Arc<Bell>],
    writer: &'a Arc<Bell>,
    /// Where the run is measured.
    meter: Option<Meter>,
}

impl Sinks {
    fn open(
        plan: &Plan,
        opening: &sink::Opening,
        lanes: SinkLanes<'_>,
        first: &[u64],
        from: Option<&Manifest>,
    ) -> Result<Self, SinkError> {
        let SinkLanes { capacity, bells, writer, meter } = lanes;
        let (output, end): (_, fn(LaneSender<Block>) -> SinkEnd) = match plan.sink.form(&plan.output) {
            Form::Rows(build) if meter.is_none() => {
                let ends = bells.iter().map(|_| SinkEnd::Rows(build())).collect();
                return Ok(Self { ends, encoded: None });
            }
            // The only sink that takes rows on the shards drops them.
            Form::Rows(_) => (Box::new(Nothing) as Box<dyn Output + Send>, SinkEnd::Numbers),
            Form::Bytes(open) => (open(&opening.clone().of(&plan.sink_format, &plan.output))?, SinkEnd::Lane),
        };
        let (senders, receivers): (Vec<_>, Vec<_>) =
            bells.iter().map(|bell| lane(capacity, bell, writer)).unzip();
        // Behind an exchange every shard has something to say of every number.
        let first =
            if plan.stages.len() == 1 { first.to_vec() } else { vec![first_number(from); bells.len()] };
        let encoded = Encoded::new(receivers, first, output, meter);
        Ok(Self { ends: senders.into_iter().map(end).collect(), encoded: Some(encoded) })
    }
}

/// What a shard is built from besides the plan.
pub struct Parts {
    /// The shard's number.
    pub number: usize,
    reader: Box<dyn Reader + Send>,
    lanes: Lanes,
    sink: SinkEnd,
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
    columns: Schema,
    kept: Schema,
    output: Schema,
    partition: Option<PartitionBy>,
    format: Option<Format>,
    declared: Schema,
    sink_format: Format,
    time: Option<TimeOf>,
    first: Vec<u64>,
    watermarks: Vec<Watermarks>,
    bad_record: BadRecordAction,
    storage: Arc<dyn Storage>,
    store: Store,
    run: String,
    recovery: Option<Recovery>,
}

impl Recipe {
    fn of(plan: &Plan, settings: &Settings, first: &[u64], watermarks: Vec<Watermarks>) -> Self {
        Self {
            stages: plan.stages.clone(),
            columns: plan.columns.clone(),
            kept: plan.kept.clone(),
            output: plan.output.clone(),
            partition: plan.sink.partition(&plan.output),
            format: plan.format.clone(),
            declared: plan.declared.clone(),
            sink_format: plan.sink_format.clone(),
            time: plan.time.clone(),
            first: first.to_vec(),
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
        let Lanes { senders, receivers } = parts.lanes;
        let sink = match parts.sink {
            SinkEnd::Lane(lane) => {
                let encode =
                    RecordEncoder::new(self.sink_format.encoder(&self.output), self.partition.clone());
                Outlet::Bytes(Encoder::new(Some(encode), lane))
            }
            SinkEnd::Numbers(lane) => Outlet::Bytes(Encoder::new(None, lane)),
            SinkEnd::Rows(sink) => Outlet::Rows(sink),
        };
        let exchanges = self.stages.iter().filter_map(|stage| stage.exchange.clone());
        let outlets = exchanges.zip(senders).map(|(exchange, lanes)| {
            Outlet::Exchange(Outbox::new(lanes, Partition::new(exchange.codec, exchange.columns)))
        });
        let mut outlets = outlets.chain(std::iter::once(sink));
        let mut next = || outlets.next().expect("one outlet per stage");
        let source = self.source_stage(parts.reader, next());
        let keyed =
            receivers.into_iter().zip(&self.stages[1..]).enumerate().map(|(exchange, (lanes, stage))| {
                KeyedStage::new(self.inbox(exchange, lanes), Chain::new(&stage.operators), next())
            });
        let mut shard = Shard {
            number: parts.number,
            source,
            stages: keyed.collect(),
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
        for (stage, chain) in self.stages.iter().zip(shard.chains()) {
            first.push(states.len());
            let names = stage.operators.iter().filter_map(|operator| operator.state.as_deref());
            states.extend(names.map(str::to_owned).zip(chain.tables()));
        }
        Layout { states, first }
    }

    fn source_stage(&self, reader: Box<dyn Reader>, outlet: Outlet) -> SourceStage {
        let decoder = self.format.as_ref().map(|format| format.decoder(&self.declared, &self.columns));
        let decoder = decoder.map(|decoder| decoder as Box<dyn Decode>);
        let kept = Projection::new(&self.columns, &self.kept);
        let ingest = Ingest::new(decoder, self.time.clone(), kept);
        let chain = Chain::new(&self.stages[0].operators);
        let empty = RecordBatch::new_empty(self.kept.arrow().clone());
        SourceStage::new(reader, ingest, chain, outlet, empty, self.time.is_some())
    }

    fn inbox(&self, exchange: usize, lanes: Vec<LaneReceiver<Parcel>>) -> Inbox {
        let first = if exchange == 0 {
            self.first.clone()
        } else {
            vec![first_number(self.recovery.as_ref().map(|recovery| &recovery.manifest)); lanes.len()]
        };
        Inbox::new(lanes, first, self.watermarks[exchange].clone())
    }
}
