//! A machine of shards: built from a plan, started, watched and stopped.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use arrow::array::RecordBatch;
use hdrhistogram::Histogram;

use super::outlet::{Block, Encoder, Outlet};
use super::quarantine::Quarantine;
use super::stage::{KeyedStage, SourceStage};
use super::step::Shard;
use super::writer::{Encoded, Verdict, Writer, WriterError};
use crate::codec::{Decode, json};
use crate::config::BadRecordAction;
use crate::exchange::{Inbox, LaneReceiver, LaneSender, Outbox, Partition, Watermarks, lane, mesh};
use crate::io::{Bell, Clock, Mode, Placement, host};
use crate::metric::ShardMetrics;
use crate::operator::Chain;
use crate::plan::{Plan, Stage};
use crate::record::{BadRecord, Batch, Schema};
use crate::sink::{Form, RowSink, SinkError};
use crate::source::{Extent, Ingest, Opening, Reader, SourceError, Stop, TimeOf};

/// How many batches a lane between two shards holds: a few chunks' worth, so that a shard may run ahead of another's
/// turn by about one chunk.
const LANE_BATCHES: usize = 16;
/// How many encoded blocks a lane to the writer holds.
const LANE_BLOCKS: usize = 16;
/// How many bad records a lane to the quarantine holds.
const LANE_REJECTED: usize = 256;

/// How to run a plan.
pub struct Settings {
    /// How many shards.
    pub shards: usize,
    /// The CPUs they are pinned to, in turn; none leaves them unpinned.
    pub cpus: Vec<usize>,
    /// What hosts them.
    pub mode: Mode,
    /// The file of the quarantine.
    pub quarantine: PathBuf,
}

/// What the control plane is told.
#[derive(Debug)]
pub enum Event {
    /// A shard has sent all it had.
    ShardEnded {
        /// Which.
        shard: usize,
        /// What its sink has measured, microseconds.
        latencies_us: Option<Histogram<u64>>,
    },
    /// The input cannot be read.
    SourceFailed(SourceError),
    /// The first bad record of a pipeline that wants none.
    BadRecord(BadRecord),
    /// Everything is written; the writer waits for [`Running::commit`] or [`Running::abort`].
    Written,
    /// The writer has ended.
    WriterEnded {
        /// Whether the output is visible; none where it was taken back because the run failed.
        outcome: Option<Result<(), WriterError>>,
        /// The quarantine's file, if there is one.
        quarantine: Option<PathBuf>,
    },
    /// A signal has come.
    Signal(i32),
}

/// Why a plan cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The input cannot be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The output cannot be made.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A thread cannot be started.
    #[error("failed to start a shard: {0}")]
    Thread(#[from] std::io::Error),
}

/// Shards at work.
pub struct Running {
    /// What they tell.
    pub events: Receiver<Event>,
    /// A way to tell the control plane something.
    pub tell: Sender<Event>,
    /// What they have done, `[shard]`.
    pub metrics: Vec<Arc<ShardMetrics>>,
    /// How large the input is, where that is known.
    pub extent: Option<Extent>,
    threads: Vec<JoinHandle<()>>,
    bells: Vec<Arc<Bell>>,
    writer_bell: Arc<Bell>,
    stop: Stop,
    verdict: Arc<Verdict>,
}

impl Running {
    /// Stops reading; what has been read is worked off and written.
    pub fn drain(&self) {
        self.stop.raise();
        self.bells.iter().for_each(|bell| bell.ring());
    }

    /// Stops at once; unfinished output is taken back.
    pub fn abort(&self) {
        self.stop.raise();
        self.verdict.decide(Verdict::ABANDON);
        self.writer_bell.ring();
    }

    /// Makes the output visible, after [`Event::Written`].
    pub fn commit(&self) {
        self.verdict.decide(Verdict::COMMIT);
        self.writer_bell.ring();
    }

    /// Whether a thread has ended by a panic.
    #[must_use]
    pub fn has_panicked(&mut self) -> bool {
        let (ended, running): (Vec<_>, Vec<_>) = self.threads.drain(..).partition(JoinHandle::is_finished);
        self.threads = running;
        ended.into_iter().any(|thread| thread.join().is_err())
    }
}

/// Starts a plan.
///
/// # Errors
///
/// If the input, the output or a thread cannot be had; then nothing runs and nothing has been written.
pub fn launch(plan: &Plan, settings: &Settings) -> Result<Running, LaunchError> {
    let clock = Clock::start();
    let bells: Vec<Arc<Bell>> = (0..settings.shards).map(|_| Arc::default()).collect();
    let writer_bell: Arc<Bell> = Arc::default();
    let (stop, verdict) = (Stop::default(), Arc::<Verdict>::default());
    let (tell, events) = channel();
    let opening = Opening {
        columns: plan.columns.clone(),
        bells: bells.clone(),
        stop: stop.clone(),
        start: clock.now(),
    };
    let opened = plan.source.open(&opening)?;
    let metrics: Vec<Arc<ShardMetrics>> = bells.iter().map(|_| Arc::default()).collect();

    let mut sinks = Sinks::open(plan, &bells, &writer_bell, &opened.first)?;
    let (mut quarantine_senders, rejected): (Vec<_>, Vec<_>) =
        bells.iter().map(|bell| lane(LANE_REJECTED, bell, &writer_bell)).unzip();
    let writer = Writer {
        encoded: sinks.encoded.take(),
        rejected,
        quarantine: Quarantine::new(settings.quarantine.clone(), plan.bad_record.limit_bytes),
        verdict: verdict.clone(),
        events: tell.clone(),
        dirty: false,
        told: false,
        ended: false,
    };
    let mut wiring = Wiring::new(plan.stages.len() - 1, &bells);
    let mut readers = opened.readers;
    let mut threads = Vec::new();
    let placement = Placement { name: "writer".to_owned(), cpu: None, bell: writer_bell.clone() };
    threads.push(host(Mode::Threads, placement, clock, move || writer)?);
    for number in (0..settings.shards).rev() {
        let parts = Parts {
            number,
            reader: readers.pop().expect("one reader per shard"),
            lanes: wiring.pop(),
            sink: sinks.ends.pop().expect("one end per shard"),
            quarantine: quarantine_senders.pop().expect("one lane per shard"),
            metrics: metrics[number].clone(),
            events: tell.clone(),
        };
        let recipe = Recipe::of(plan, &opened.first, opened.splits);
        let cpu = settings.cpus.get(number % settings.cpus.len().max(1)).copied();
        let placement = Placement { name: format!("shard-{number}"), cpu, bell: bells[number].clone() };
        threads.push(host(settings.mode, placement, clock, move || recipe.build(parts))?);
    }
    Ok(Running { events, tell, metrics, extent: opened.extent, threads, bells, writer_bell, stop, verdict })
}

/// The lanes of every exchange.
struct Wiring {
    /// `[exchange][shard][receiver]`
    senders: Vec<Vec<Vec<LaneSender<Batch>>>>,
    /// `[exchange][shard][producer]`
    receivers: Vec<Vec<Vec<LaneReceiver<Batch>>>>,
}

/// The lanes of one shard, `[exchange][peer]`.
struct Lanes {
    senders: Vec<Vec<LaneSender<Batch>>>,
    receivers: Vec<Vec<LaneReceiver<Batch>>>,
}

impl Wiring {
    fn new(exchanges: usize, bells: &[Arc<Bell>]) -> Self {
        let (senders, receivers) = (0..exchanges).map(|_| mesh(LANE_BATCHES, bells, bells)).unzip();
        Self { senders, receivers }
    }

    /// The lanes of the last shard that is left.
    fn pop(&mut self) -> Lanes {
        let last = "as many lanes as shards";
        Lanes {
            senders: self.senders.iter_mut().map(|shards| shards.pop().expect(last)).collect(),
            receivers: self.receivers.iter_mut().map(|shards| shards.pop().expect(last)).collect(),
        }
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
    fn open(plan: &Plan, bells: &[Arc<Bell>], writer: &Arc<Bell>, first: &[u64]) -> Result<Self, SinkError> {
        let open = match plan.sink.form(&plan.output) {
            Form::Rows(build) => {
                let ends = bells.iter().map(|_| SinkEnd::Rows(build())).collect();
                return Ok(Self { ends, encoded: None });
            }
            Form::Bytes(open) => open,
        };
        let (senders, receivers): (Vec<_>, Vec<_>) =
            bells.iter().map(|bell| lane(LANE_BLOCKS, bell, writer)).unzip();
        // Behind an exchange every shard has something to say of every number.
        let first = if plan.stages.len() == 1 { first.to_vec() } else { vec![0; bells.len()] };
        let encoded = Encoded::new(receivers, first, open()?);
        Ok(Self { ends: senders.into_iter().map(SinkEnd::Lane).collect(), encoded: Some(encoded) })
    }
}

/// What a shard is built from besides the plan.
struct Parts {
    number: usize,
    reader: Box<dyn Reader + Send>,
    lanes: Lanes,
    sink: SinkEnd,
    quarantine: LaneSender<Option<BadRecord>>,
    metrics: Arc<ShardMetrics>,
    events: Sender<Event>,
}

/// What every shard is built from.
struct Recipe {
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

    fn build(&self, parts: Parts) -> Shard {
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
            quarantine: parts.quarantine,
            bad_record: self.bad_record,
            metrics: parts.metrics,
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
