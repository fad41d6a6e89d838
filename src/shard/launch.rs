//! A machine of shards: started, watched and stopped.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use hdrhistogram::Histogram;

use super::assemble::{Capacity, assemble};
use super::committer::{Identity, Requests, Rhythm, SnapshotReport};
use super::measure::{Load, Stopwatch};
use super::quarantine::QuarantineError;
use super::stall::Busy;
use super::writer::{Verdict, WriterError};
use crate::io::{Bell, Clock, Mode, Placement, Storage, host};
use crate::metric::ShardMetrics;
use crate::plan::Plan;
use crate::record::BadRecord;
use crate::sink::SinkError;
use crate::snapshot::{Manifest, Snapshot, Store};
use crate::source::{Cuts, Extent, SourceError};
use crate::table::{Loaded, Stamp, Table, TableError, TableWatch};

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
    /// Where files are.
    pub storage: Arc<dyn Storage>,
    /// What tells unfinished output of this state directory apart ([`crate::sink::Author::owner`]).
    pub owner: String,
    /// The snapshots.
    pub store: Store,
    /// What all snapshots of the run say.
    pub identity: Identity,
    /// When snapshots are taken.
    pub rhythm: Rhythm,
    /// The number of the first epoch.
    pub first_epoch: u64,
    /// What the run goes on from; none where it starts afresh.
    pub recovery: Option<Recovery>,
    /// How a benchmark loads and measures the run; none for a run.
    pub load: Option<Load>,
}

/// What a run goes on from.
#[derive(Clone)]
pub struct Recovery {
    /// The manifest of the snapshot.
    pub manifest: Manifest,
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// The names of the states that are taken from it.
    pub kept: BTreeSet<String>,
    /// The names of the outputs that go on from it.
    pub outputs_kept: BTreeSet<String>,
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
    /// A shard has taken what a snapshot holds of its keys.
    Restored,
    /// What a snapshot holds of a shard cannot be taken.
    NotRestored(String),
    /// The input cannot be read.
    SourceFailed(SourceError),
    /// The first bad record of a pipeline that wants none.
    BadRecord(BadRecord),
    /// Everything is written; the writer waits for [`Running::commit`] or [`Running::abort`].
    Written,
    /// A snapshot has been committed.
    Snapshot(SnapshotReport),
    /// A snapshot could not be committed.
    SnapshotFailed {
        /// Which epoch.
        epoch: u64,
        /// Why.
        what: String,
        /// Whether the run has to stop.
        fatal: bool,
    },
    /// The output is committed or given up, and nothing more will be.
    Ended {
        /// Whether the output is visible; none where it was taken back because the run failed.
        outcome: Option<Result<(), WriterError>>,
        /// The quarantine's file, if there is one.
        quarantine: Option<PathBuf>,
        /// Whether the run has ended before its input has.
        drained: bool,
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
    /// A table cannot be had.
    #[error("failed to {0}")]
    Table(#[from] TableError),
    /// The output cannot be made.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The quarantine cannot be gone on with.
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    /// What a snapshot holds does not fit.
    #[error("{0}")]
    Snapshot(String),
    /// A thread cannot be started.
    #[error("failed to start a shard: {0}")]
    Thread(#[from] std::io::Error),
}

/// Shards at work.
pub struct Running {
    /// The clock they work by, which was started with them.
    pub clock: Clock,
    /// What they tell.
    pub events: Receiver<Event>,
    /// A way to tell the control plane something.
    pub tell: Sender<Event>,
    /// What they have done, `[shard]`.
    pub metrics: Vec<Arc<ShardMetrics>>,
    /// How large the input is, where that is known.
    pub extent: Option<Extent>,
    /// The input's splits as the user knows them.
    pub splits: Vec<Arc<str>>,
    threads: Vec<JoinHandle<()>>,
    bells: Vec<Arc<Bell>>,
    writer_bell: Arc<Bell>,
    committer_bell: Arc<Bell>,
    requests: Arc<Requests>,
    cuts: Cuts,
    verdict: Arc<Verdict>,
    busy: Arc<Busy>,
    /// Keeps the tables up to date as long as the run is.
    _tables: Option<TableWatch>,
}

impl Running {
    /// Stops reading; what has been read is worked off, written and committed.
    pub fn drain(&self) {
        self.requests.drain();
        self.committer_bell.ring();
    }

    /// Takes a snapshot now.
    pub fn snapshot(&self) {
        self.requests.snapshot();
        self.committer_bell.ring();
    }

    /// Stops at once; what no snapshot has committed is taken back.
    pub fn abort(&self) {
        self.cuts.abandon();
        self.bells.iter().for_each(|bell| bell.ring());
        self.verdict.decide(Verdict::ABANDON);
        self.writer_bell.ring();
    }

    /// The output that has taken nothing of what it was handed for longer than so many microseconds, and since when, by the
    /// clock of the run.
    #[must_use]
    pub fn stalled(&self, longer_than_us: u64) -> Option<(&str, u64)> {
        self.busy.stalled(self.clock.now().monotonic_us, longer_than_us)
    }

    /// Makes the output visible, after [`Event::Written`].
    pub fn commit(&self) {
        self.verdict.decide(Verdict::COMMIT);
        self.writer_bell.ring();
    }

    /// Waits until all threads have ended, which they do behind [`Event::Ended`]. Returns whether none has panicked.
    #[must_use]
    pub fn join(self) -> bool {
        self.threads.into_iter().all(|thread| thread.join().is_ok())
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
/// If the input, a table, the output or a thread cannot be had; then nothing runs and nothing has been written.
pub fn launch(plan: &Plan, settings: &Settings) -> Result<Running, LaunchError> {
    let clock = Clock::start();
    let (tell, events) = channel();
    let mut capacity = Capacity::default();
    if let Some(load) = &settings.load {
        capacity.chunk_bytes = load.chunk_bytes;
    }
    let tables = load_tables(plan)?;
    let machine = assemble(plan, settings, &capacity, clock.now(), &tell)?;
    let mut threads = Vec::new();
    let placement = Placement { name: "writer".to_owned(), cpu: None, bell: machine.writer_bell.clone() };
    let writer = machine.writer;
    threads.push(host(Mode::Threads, placement, clock, move || writer)?);
    let placement =
        Placement { name: "committer".to_owned(), cpu: None, bell: machine.committer_bell.clone() };
    let committer = machine.committer;
    threads.push(host(Mode::Threads, placement, clock, move || committer)?);
    for parts in machine.parts {
        let number = parts.number;
        let recipe = machine.recipe.clone();
        let cpu = settings.cpus.get(number % settings.cpus.len().max(1)).copied();
        let placement =
            Placement { name: format!("shard-{number}"), cpu, bell: machine.bells[number].clone() };
        threads.push(match settings.load.clone() {
            None => host(settings.mode, placement, clock, move || recipe.build(parts))?,
            Some(load) => {
                let build = move || Stopwatch::new(recipe.build(parts), clock, &load);
                host(settings.mode, placement, clock, build)?
            }
        });
    }
    let tables = TableWatch::start(tables, clock)?;
    Ok(Running {
        clock,
        events,
        tell,
        metrics: machine.metrics,
        extent: machine.extent,
        splits: machine.splits,
        threads,
        bells: machine.bells,
        writer_bell: machine.writer_bell,
        committer_bell: machine.committer_bell,
        requests: machine.requests,
        cuts: machine.cuts,
        verdict: machine.verdict,
        busy: machine.busy,
        _tables: tables,
    })
}

/// Reads all tables, and says of each what its content was.
fn load_tables(plan: &Plan) -> Result<Vec<(Arc<Table>, Stamp)>, TableError> {
    let load = |table: &Arc<Table>| {
        let Loaded { index, stamp, notes } = table.load()?;
        for note in &notes {
            tracing::warn!("the table `{}`: {note}", table.name);
        }
        let (rows, bytes) = (index.rows().num_rows(), index.bytes());
        tracing::info!(rows, bytes, "the table `{}` is read", table.name);
        table.publish(index);
        table.release();
        Ok((table.clone(), stamp))
    };
    plan.tables.iter().map(load).collect()
}
