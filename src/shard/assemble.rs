//! A machine of shards put together from a plan, ready to be stepped: by threads of its own, or by a test in one.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use arrow::array::RecordBatch;

use super::launch::{Event, LaunchError, Settings};
use super::outlet::{Block, Encoder, Outlet};
use super::quarantine::Quarantine;
use super::side::{self, SideEncoded, SideOutlet, SidePart};
use super::stage::{KeyedStage, SourceStage};
use super::step::Shard;
use super::writer::{Encoded, Verdict, Writer};
use crate::codec::{Decode, json};
use crate::config::BadRecordAction;
use crate::exchange::{Inbox, LaneReceiver, LaneSender, Outbox, Partition, Watermarks, lane, mesh};
use crate::io::Bell;
use crate::metric::ShardMetrics;
use crate::operator::Chain;
use crate::plan::{Plan, Stage};
use crate::record::{BadRecord, Batch, Schema};
use crate::sink::{self, Form, RowSink, SinkError};
use crate::source::{CHUNK_BYTES, Extent, Ingest, Opening, Reader, Stop, TimeOf};
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
        Self { batches: 16, blocks: 16, rejected: 256, chunk_bytes: CHUNK_BYTES }
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
    /// Asks the readers to stop.
    pub stop: Stop,
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
    let writer_bell: Arc<Bell> = Arc::default();
    let (stop, verdict) = (Stop::new(settings.shards), Arc::<Verdict>::default());
    let opening = Opening {
        columns: plan.columns.clone(),
        bells: bells.clone(),
        stop: stop.clone(),
        start,
        idle_after_ms: plan.time.as_ref().map(|time| time.idle_after_ms),
        heartbeat: plan.needs_heartbeat(),
        chunk_bytes: capacity.chunk_bytes,
        resume: None,
    };
    let opened = plan.source.open(&opening)?;
    let states = plan.states().count();
    let metrics: Vec<Arc<ShardMetrics>> = bells.iter().map(|_| Arc::new(ShardMetrics::new(states))).collect();
    let writing =
        sink::Opening { storage: settings.storage.clone(), resume: None, writer: settings.writer.clone() };
    let (sides, written) = side::open(&plan.sides, &writing, capacity, &bells, &writer_bell)?;
    let sinks = match Sinks::open(plan, &writing, capacity, &bells, &writer_bell, &opened.first) {
        Ok(sinks) => sinks,
        Err(error) => {
            written.into_iter().for_each(SideEncoded::abandon);
            return Err(error.into());
        }
    };
    let (quarantine, rejected): (Vec<_>, Vec<_>) =
        bells.iter().map(|bell| lane(capacity.rejected, bell, &writer_bell)).unzip();
    let writer = Writer {
        encoded: sinks.encoded,
        sides: written,
        rejected,
        quarantine: Quarantine::new(settings.quarantine.clone(), plan.bad_record.limit_bytes),
        verdict: verdict.clone(),
        events: tell.clone(),
        dirty: false,
        told: false,
        ended: false,
    };
    let lanes = Lanes::of_shards(plan.stages.len() - 1, capacity, &bells);
    let ends = sinks.ends.into_iter().zip(sides).zip(quarantine);
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
        },
    );
    let parts = parts.collect();
    let recipe = Arc::new(Recipe::of(plan, &opened.first, opened.splits.len()));
    Ok(Machine {
        parts,
        recipe,
        writer,
        bells,
        writer_bell,
        metrics,
        extent: opened.extent,
        splits: opened.splits,
        stop,
        verdict,
    })
}

/// The lanes of one shard, `[exchange][peer]`.
struct Lanes {
    senders: Vec<Vec<LaneSender<Batch>>>,
    receivers: Vec<Vec<LaneReceiver<Batch>>>,
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
    Rows(Box<dyn RowSink + Send>),
}

impl Sinks {
    fn open(
        plan: &Plan,
        opening: &sink::Opening,
        capacity: &Capacity,
        bells: &[Arc<Bell>],
        writer: &Arc<Bell>,
        first: &[u64],
    ) -> Result<Self, SinkError> {
        let open = match plan.sink.form(&plan.output) {
            Form::Rows(build) => {
                let ends = bells.iter().map(|_| SinkEnd::Rows(build())).collect();
                return Ok(Self { ends, encoded: None });
            }
            Form::Bytes(open) => open,
        };
        let (senders, receivers): (Vec<_>, Vec<_>) =
            bells.iter().map(|bell| lane(capacity.blocks, bell, writer)).unzip();
        // Behind an exchange every shard has something to say of every number.
        let first = if plan.stages.len() == 1 { first.to_vec() } else { vec![0; bells.len()] };
        let encoded = Encoded::new(receivers, first, open(opening)?);
        Ok(Self { ends: senders.into_iter().map(SinkEnd::Lane).collect(), encoded: Some(encoded) })
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
    quarantine: LaneSender<Option<BadRecord>>,
    metrics: Arc<ShardMetrics>,
    events: Sender<Event>,
}

/// What every shard is built from.
pub struct Recipe {
    stages: Vec<Stage>,
    columns: Schema,
    output: Schema,
    decodes: bool,
    time: Option<TimeOf>,
    first: Vec<u64>,
    splits: usize,
    bad_record: BadRecordAction,
}

impl Recipe {
    fn of(plan: &Plan, first: &[u64], splits: usize) -> Self {
        Self {
            stages: plan.stages.clone(),
            columns: plan.columns.clone(),
            output: plan.output.clone(),
            decodes: plan.decodes,
            time: plan.time.clone(),
            first: first.to_vec(),
            splits,
            bad_record: plan.bad_record.action,
        }
    }

    /// Builds a shard; called on the thread it runs on.
    #[must_use]
    pub fn build(&self, parts: Parts) -> Shard {
        let Lanes { senders, receivers } = parts.lanes;
        let sink = match parts.sink {
            SinkEnd::Lane(lane) => Outlet::Bytes(Encoder::new(json::encoder(&self.output), lane)),
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
        Shard {
            number: parts.number,
            source,
            stages: keyed.collect(),
            sides: parts.sides.into_iter().map(SideOutlet::new).collect(),
            quarantine: parts.quarantine,
            bad_record: self.bad_record,
            metrics: parts.metrics,
            steps_ungauged: 1,
            events: parts.events,
            ended: false,
            last_words: None,
        }
    }

    fn source_stage(&self, reader: Box<dyn Reader>, outlet: Outlet) -> SourceStage {
        let decoder = self.decodes.then(|| json::decoder(&self.columns) as Box<dyn Decode>);
        let ingest = Ingest::new(decoder, self.time.clone());
        let chain = Chain::new(&self.stages[0].operators);
        let empty = RecordBatch::new_empty(self.columns.arrow().clone());
        SourceStage::new(reader, ingest, chain, outlet, empty, self.time.is_some())
    }

    fn inbox(&self, exchange: usize, lanes: Vec<LaneReceiver<Batch>>) -> Inbox {
        if exchange == 0 {
            let out_of_order_ms = self.time.as_ref().map_or(0, |time| time.out_of_order_ms);
            return Inbox::new(lanes, self.first.clone(), Watermarks::new(self.splits, out_of_order_ms));
        }
        // Behind a keyed stage every lane carries that stage's watermark.
        let first = vec![0; lanes.len()];
        Inbox::new(lanes, first, Watermarks::new(1, 0))
    }
}
