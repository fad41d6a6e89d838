//! The committer: asks for barriers, waits for what the shards and the writer have made of an epoch, and commits it.
//!
//! It runs on a thread of its own, because it waits for the disk; the protocol's steps stand one behind the other in
//! [`Committer::commit`]. One epoch ends at a time: the next barrier is asked for once the epoch before has been committed,
//! its outputs included, or has been given up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use arrow::datatypes::TimeUnit;

use super::launch::{Event, Settings};
use super::quarantine::{QuarantineError, QuarantineStaged};
use super::writer::{Verdict, WriterError};
use crate::crash::point;
use crate::io::{Bell, Step, Task};
use crate::mutant::{self, Mutant};
use crate::record::Barrier;
use crate::record::text::{TimestampStyle, write_timestamp};
use crate::sink::{Output, Staged};
use crate::snapshot::{
    BarrierText, CommitError, Counts, FORMAT, Fingerprint, KEY_HASH, Manifest, PartSummary, Store,
};
use crate::source::{Cuts, Position};
use crate::time::Now;

/// How soon a barrier is asked for again that could not be, microseconds.
const ASK_AGAIN_US: u64 = 1000;

/// What the committer is told.
pub enum Told {
    /// A shard has written its part of an epoch, or has failed to.
    Part {
        /// Which.
        shard: usize,
        /// Where the epoch ends.
        barrier: Barrier,
        /// What it has written.
        outcome: Result<Part, String>,
    },
    /// A shard has ended: it writes nothing of epochs that it has not told of.
    Gone {
        /// Which.
        shard: usize,
        /// What it has counted.
        counts: Counts,
    },
    /// The writer has staged an epoch.
    Staged {
        /// Where it ends.
        barrier: Barrier,
        /// What was staged of each output, the main one under [`super::writer::MAIN`].
        outputs: Vec<(Arc<str>, Staged)>,
        /// What was staged of the quarantine.
        quarantine: QuarantineStaged,
    },
    /// The writer has ended.
    Ended {
        /// How.
        ending: Ending,
        /// The outputs.
        outputs: Vec<(Arc<str>, Box<dyn Output + Send>)>,
        /// What is left of the quarantine.
        quarantine: Result<QuarantineStaged, QuarantineError>,
    },
}

/// How the writer has ended.
#[derive(Debug)]
pub enum Ending {
    /// Everything is written and is to be made visible.
    Written,
    /// The run has failed or was stopped at once.
    Abandoned,
    /// The writer itself has failed.
    Failed(WriterError),
}

/// What a shard has written of an epoch.
pub struct Part {
    /// Its number.
    pub shard: usize,
    /// Its file; none where its stages keep nothing.
    pub summary: Option<PartSummary>,
    /// What it has counted since the start of this run.
    pub counts: Counts,
    /// The watermarks of its exchanges, in the order of the data.
    pub watermarks: Vec<serde_json::Value>,
}

/// What a snapshot tells the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotReport {
    /// Which epoch.
    pub epoch: u64,
    /// The bytes of all shards' files.
    pub bytes: u64,
    /// From the request to the commit, microseconds.
    pub duration_us: u64,
}

/// How often snapshots are taken, and how many failures in a row end the run.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// The time between the ends of epochs, microseconds; none for none but on request.
    pub every_us: Option<u64>,
    /// How many committed snapshots are kept.
    pub keep: usize,
    /// After how many failures in a row the run stops.
    pub failures_max: u32,
}

/// What is asked of a committer from outside.
#[derive(Debug, Default)]
pub struct Requests {
    snapshot: AtomicBool,
    drain: AtomicBool,
}

impl Requests {
    /// Asks for a snapshot now. The caller rings the committer's bell.
    pub fn snapshot(&self) {
        self.snapshot.store(true, Ordering::Release);
    }

    /// Asks for the last epoch: nothing is read behind it. The caller rings the committer's bell.
    pub fn drain(&self) {
        self.drain.store(true, Ordering::Release);
    }
}

/// Commits epochs.
#[expect(clippy::struct_excessive_bools, reason = "each says by itself how far the run's end has come")]
pub struct Committer {
    store: Store,
    identity: Identity,
    rhythm: Rhythm,
    shards: usize,
    /// What the shards have counted that have ended.
    gone: BTreeMap<usize, Counts>,
    inbox: Receiver<Told>,
    events: Sender<Event>,
    requests: Arc<Requests>,
    cuts: Cuts,
    bells: Vec<Arc<Bell>>,
    verdict: Arc<Verdict>,
    position: Position,
    /// What was counted before this run, since the fresh start.
    before: Counts,
    next_epoch: u64,
    /// When the epoch that is open began, microseconds.
    began_us: u64,
    /// The epoch that is ending.
    ending: Option<Epoch>,
    /// Whether an epoch has been committed, by this run or by that from which it goes on.
    committed: bool,
    /// The run ends with an epoch that has been asked for.
    draining: bool,
    /// No barrier can be asked for any more: all readers have ended, or the run has to stop.
    closed: bool,
    /// Why the run cannot end well: its last epoch could not be committed, or it is not known whether one is.
    lost: Option<String>,
    /// Failures since the last commit.
    failures: u32,
    ended: bool,
}

/// What a committer is made of, besides the settings of the run.
pub struct Commission<'a> {
    /// The settings of the run.
    pub settings: &'a Settings,
    /// When the run starts.
    pub start: Now,
    /// What it is told.
    pub inbox: Receiver<Told>,
    /// The way to the control plane.
    pub events: Sender<Event>,
    /// What is asked of it.
    pub requests: Arc<Requests>,
    /// The way to the readers.
    pub cuts: Cuts,
    /// What wakes the shards, `[shard]`.
    pub bells: Vec<Arc<Bell>>,
    /// Tells the writer which epoch is the last.
    pub verdict: Arc<Verdict>,
    /// What the source says of its position.
    pub position: Position,
}

/// What all manifests of a run say.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The pipeline's name.
    pub pipeline: String,
    /// The run's id.
    pub run: String,
    /// What the pipeline is.
    pub fingerprint: Fingerprint,
}

/// What the writer has staged of an epoch.
type StagedEpoch = (Barrier, Vec<(Arc<str>, Staged)>, QuarantineStaged);

/// An epoch that is ending.
pub struct Epoch {
    number: u64,
    asked_us: u64,
    at: String,
    parts: BTreeMap<usize, Part>,
    staged: Option<StagedEpoch>,
    failed: Option<String>,
    /// Which shards have written their parts or failed to, or have ended without a part.
    heard: BTreeSet<usize>,
}

impl Task for Committer {
    fn step(&mut self, now: Now) -> Step {
        if self.ended {
            return Step::Done;
        }
        while let Ok(told) = self.inbox.try_recv() {
            self.hear(told, now);
            if self.ended {
                return Step::Done;
            }
            let shards = self.shards;
            let complete = |epoch: &mut Epoch| epoch.heard.len() == shards && epoch.staged.is_some();
            if let Some(epoch) = self.ending.take_if(complete) {
                self.finish(epoch, now);
            }
        }
        if self.ending.is_none() && !self.draining && !self.closed && self.is_due(now) {
            let asked = self.ask(now);
            return if asked { Step::Again } else { Step::Wait(Some(now.monotonic_us + ASK_AGAIN_US)) };
        }
        Step::Wait(
            self.rhythm
                .every_us
                .filter(|_| self.ending.is_none() && !self.closed)
                .map(|every| self.began_us + every),
        )
    }
}

impl Committer {
    /// A committer of a run.
    #[must_use]
    pub fn new(commission: Commission<'_>) -> Self {
        let Commission { settings, start, inbox, events, requests, cuts, bells, verdict, position } =
            commission;
        let from = settings.recovery.as_ref().map(|recovery| &recovery.manifest);
        Self {
            store: settings.store.clone(),
            identity: settings.identity.clone(),
            rhythm: settings.rhythm,
            shards: settings.shards,
            gone: BTreeMap::new(),
            inbox,
            events,
            requests,
            cuts,
            bells,
            verdict,
            position,
            before: from
                .filter(|_| !mutant::is(Mutant::CountsNotRestored))
                .map(|from| from.counts)
                .unwrap_or_default(),
            next_epoch: settings.first_epoch,
            began_us: start.monotonic_us,
            ending: None,
            committed: from.is_some(),
            draining: false,
            closed: false,
            lost: None,
            failures: 0,
            ended: false,
        }
    }

    fn is_due(&self, now: Now) -> bool {
        self.requests.drain.load(Ordering::Acquire)
            || self.requests.snapshot.load(Ordering::Acquire)
            || self.rhythm.every_us.is_some_and(|every| now.monotonic_us >= self.began_us + every)
    }

    /// Asks for the barrier of the next epoch; whether it is on its way.
    fn ask(&mut self, now: Now) -> bool {
        self.draining = self.requests.drain.load(Ordering::Acquire);
        let number = self.next_epoch;
        self.next_epoch += 1;
        self.began_us = now.monotonic_us;
        let failed = self.store.begin(number).err();
        self.ending = Some(Epoch {
            number,
            asked_us: now.monotonic_us,
            at: time_text(now),
            parts: BTreeMap::new(),
            staged: None,
            failed: failed.map(|error| error.to_string()),
            heard: self.gone.keys().copied().collect(),
        });
        if self.draining {
            self.verdict.end_with(number);
        }
        let asked = self.cuts.request(number, self.draining);
        self.requests
            .snapshot
            .store(!asked && self.requests.snapshot.load(Ordering::Acquire), Ordering::Release);
        if !asked {
            // A reader has still to pass the barrier before, or nothing is read any more: then the run comes to its own end.
            self.closed = self.cuts.has_ended();
            self.ending = None;
            self.draining = false;
            self.store.abandon(number);
        }
        self.bells.iter().for_each(|bell| bell.ring());
        point("barrier-asked");
        asked
    }

    fn hear(&mut self, told: Told, now: Now) {
        match told {
            Told::Part { shard, barrier, outcome } => {
                let Some(epoch) = self.ending.as_mut().filter(|epoch| epoch.number == barrier.epoch) else {
                    return;
                };
                epoch.heard.insert(shard);
                match outcome {
                    Ok(part) => drop(epoch.parts.insert(shard, part)),
                    Err(_) if mutant::is(Mutant::PartFailureUntold) => {}
                    Err(what) => drop(epoch.failed.get_or_insert(what)),
                }
            }
            Told::Gone { shard, counts } => {
                self.gone.insert(shard, counts);
                if let Some(epoch) = &mut self.ending {
                    epoch.heard.insert(shard);
                }
            }
            Told::Staged { barrier, outputs, quarantine } => {
                if let Some(epoch) = self.ending.as_mut().filter(|epoch| epoch.number == barrier.epoch) {
                    epoch.staged = Some((barrier, outputs, quarantine));
                }
            }
            Told::Ended { ending, outputs, quarantine } => self.end(ending, outputs, quarantine, now),
        }
    }

    /// Commits an epoch of which everything is there, or gives it up.
    fn finish(&mut self, epoch: Epoch, now: Now) {
        let Epoch { number, asked_us, at, parts, staged, failed, .. } = epoch;
        let (barrier, outputs, quarantine) = staged.expect("the epoch is complete");
        let parts: Vec<Part> = parts.into_values().collect();
        let bytes = parts.iter().filter_map(|part| part.summary.as_ref()).map(|part| part.bytes).sum();
        let outcome = match failed {
            Some(what) => Err(Failure::Abandoned(what)),
            None => self.commit(Complete { barrier, at, parts, outputs, quarantine }, false),
        };
        match outcome {
            Ok(()) => {
                self.failures = 0;
                self.committed = true;
                let duration_us = now.monotonic_us - asked_us;
                self.say(Event::Snapshot(SnapshotReport { epoch: number, bytes, duration_us }));
            }
            Err(Failure::Abandoned(what)) => {
                self.store.abandon(number);
                self.failures += 1;
                if self.draining {
                    self.lost = Some(what.clone());
                }
                let fatal = self.failures >= self.rhythm.failures_max;
                self.say(Event::SnapshotFailed { epoch: number, what, fatal });
            }
            Err(Failure::Fatal(what)) => {
                // It may have been committed, so what it needs is kept; and nothing is committed behind it.
                self.committed = true;
                self.closed = true;
                self.lost = Some(what.clone());
                self.say(Event::SnapshotFailed { epoch: number, what, fatal: true });
            }
        }
    }

    /// The protocol, from everything staged to everything visible.
    fn commit(&mut self, complete: Complete, finished: bool) -> Result<(), Failure> {
        let Complete { barrier, at, parts, outputs, quarantine } = complete;
        let mut positions = BTreeMap::new();
        let mut commits = Vec::new();
        if mutant::is(Mutant::PrunedEarly) {
            let epochs = self.store.list().unwrap_or_default();
            drop(self.store.remove(&epochs.iter().map(|snapshot| snapshot.epoch).collect::<Vec<_>>()));
        }
        // Staged output is durable before the manifest names it.
        for (name, Staged { position, sync, commit, .. }) in outputs {
            let sync = if mutant::is(Mutant::OutputsNotSynced) { Box::new(|| Ok(())) } else { sync };
            sync().map_err(|error| Failure::Abandoned(error.to_string()))?;
            positions.insert(name.to_string(), position);
            if mutant::is(Mutant::OutputsBeforeManifest) {
                commit().map_err(|error| Failure::Abandoned(error.to_string()))?;
            } else {
                commits.push(commit);
            }
        }
        (quarantine.sync)().map_err(|error| Failure::Abandoned(error.to_string()))?;
        point("outputs-synced");
        let source = if finished { Ok(serde_json::Value::Null) } else { (self.position)(barrier) };
        let source = source.map_err(|error| Failure::Abandoned(error.to_string()))?;
        let gone = self.gone.iter().filter(|(shard, _)| !parts.iter().any(|part| part.shard == **shard));
        let counted = parts.iter().map(|part| &part.counts).chain(gone.map(|(_, counts)| counts));
        let counts = counted.fold(self.before, Counts::plus);
        let manifest = Manifest {
            format: FORMAT,
            pipeline: self.identity.pipeline.clone(),
            run: self.identity.run.clone(),
            barrier: BarrierText::from(barrier),
            finished,
            at,
            slots: crate::record::SLOTS,
            key_hash: KEY_HASH.to_owned(),
            fingerprint: self.identity.fingerprint.clone(),
            source,
            watermarks: parts.first().map(|part| part.watermarks.clone()).unwrap_or_default(),
            shards: parts.into_iter().filter_map(|part| part.summary).collect(),
            outputs: positions,
            quarantine: quarantine.extent,
            counts,
        };
        self.store.commit(&manifest).map_err(|error| match error {
            CommitError::Abandoned { .. } => Failure::Abandoned(error.to_string()),
            CommitError::Unknown { .. } => {
                Failure::Fatal(format!("{error}; the next run finds out and goes on from there"))
            }
        })?;
        // From here on the epoch is committed. What is not made visible now will be when the next run starts.
        for commit in commits {
            commit().map_err(|error| {
                Failure::Fatal(format!(
                    "its output cannot be made visible: {error}; the next run tries again"
                ))
            })?;
            point("output-committed");
        }
        if let Err(error) = self.store.prune(self.rhythm.keep) {
            tracing::warn!(%error, "old snapshots could not be removed");
        }
        point("snapshots-pruned");
        Ok(())
    }

    /// Ends the run: makes the output visible, or gives it up.
    fn end(
        &mut self,
        ending: Ending,
        outputs: Vec<(Arc<str>, Box<dyn Output + Send>)>,
        quarantine: Result<QuarantineStaged, QuarantineError>,
        now: Now,
    ) {
        self.ended = true;
        if let Some(epoch) = self.ending.take() {
            // Its barrier was asked for when there was no more input to carry it: the input is complete.
            self.store.abandon(epoch.number);
            self.draining = false;
        }
        let path = quarantine.as_ref().ok().and_then(|quarantine| quarantine.path.clone());
        let lost = self.lost.take().filter(|_| matches!(ending, Ending::Written));
        let outcome = match (ending, quarantine) {
            (Ending::Written, quarantine) if lost.is_some() => {
                self.abandon(outputs);
                keep(quarantine);
                lost.map(|what| Err(WriterError::Snapshot(what)))
            }
            (Ending::Written, Ok(_)) if self.draining => Some(Ok(())),
            (Ending::Written, Ok(quarantine)) => Some(self.complete(outputs, quarantine, now)),
            (Ending::Written, Err(error)) => {
                self.abandon(outputs);
                Some(Err(error.into()))
            }
            (Ending::Abandoned, quarantine) => {
                self.abandon(outputs);
                keep(quarantine);
                None
            }
            (Ending::Failed(error), quarantine) => {
                self.abandon(outputs);
                keep(quarantine);
                Some(Err(error))
            }
        };
        self.say(Event::Ended { outcome, quarantine: path, drained: self.draining });
    }

    /// Makes the output of a complete input visible.
    fn complete(
        &mut self,
        mut outputs: Vec<(Arc<str>, Box<dyn Output + Send>)>,
        quarantine: QuarantineStaged,
        now: Now,
    ) -> Result<(), WriterError> {
        let completed = self.try_complete(&mut outputs, quarantine, now);
        if !matches!(completed, Ok(()) | Err(Incomplete { fatal: true, .. })) {
            self.abandon(outputs);
        }
        completed.map_err(|incomplete| incomplete.error)
    }

    fn try_complete(
        &mut self,
        outputs: &mut [(Arc<str>, Box<dyn Output + Send>)],
        quarantine: QuarantineStaged,
        now: Now,
    ) -> Result<(), Incomplete> {
        let mut staged = Vec::new();
        for (name, output) in outputs {
            staged.push((name.clone(), output.stage(true)?));
        }
        // One output becomes visible at once; several, or one that goes on from a snapshot, by a manifest that names them.
        let is_one_step = staged.len() <= 1 && staged.iter().all(|(_, staged)| staged.is_one_step);
        if is_one_step && !self.committed {
            (quarantine.sync)()?;
            for (_, Staged { sync, commit, .. }) in staged {
                sync().and_then(|()| commit())?;
            }
            return Ok(());
        }
        point("input-complete");
        let number = self.next_epoch;
        self.store.begin(number).map_err(|error| WriterError::Snapshot(error.to_string()))?;
        let barrier = Barrier { epoch: number, number: u64::MAX, piece: u64::MAX };
        let complete =
            Complete { barrier, at: time_text(now), parts: Vec::new(), outputs: staged, quarantine };
        self.commit(complete, true).map_err(|failure| match failure {
            Failure::Abandoned(what) => Incomplete { error: WriterError::Snapshot(what), fatal: false },
            Failure::Fatal(what) => Incomplete { error: WriterError::Snapshot(what), fatal: true },
        })?;
        point("all-committed");
        // Nothing is left to go on from. The manifest stays, so that a run that is killed before it can tell that it was
        // complete is not taken for one that has still to be done.
        if let Err(error) = self.store.prune(1) {
            tracing::warn!(%error, "old snapshots could not be removed");
        }
        Ok(())
    }

    fn abandon(&self, outputs: Vec<(Arc<str>, Box<dyn Output + Send>)>) {
        for (_, output) in outputs {
            output.abandon(self.committed && !mutant::is(Mutant::CommittedGivenUp));
        }
    }

    fn say(&self, event: Event) {
        // The control plane is gone only when the process ends.
        drop(self.events.send(event));
    }
}

/// Makes bad records durable whatever becomes of the output: they may be why the run has failed.
fn keep(quarantine: Result<QuarantineStaged, QuarantineError>) {
    if let Err(error) = quarantine.and_then(|quarantine| (quarantine.sync)()) {
        tracing::warn!(%error, "the quarantine could not be made durable");
    }
}

/// An epoch of which everything is there.
struct Complete {
    barrier: Barrier,
    at: String,
    parts: Vec<Part>,
    outputs: Vec<(Arc<str>, Staged)>,
    quarantine: QuarantineStaged,
}

/// Why the output of a complete input is not visible.
struct Incomplete {
    error: WriterError,
    /// Whether the next run makes it visible, so that it has to be left alone.
    fatal: bool,
}

impl<E: Into<WriterError>> From<E> for Incomplete {
    fn from(error: E) -> Self {
        Self { error: error.into(), fatal: false }
    }
}

/// The time for people, RFC 3339 in UTC.
fn time_text(now: Now) -> String {
    let mut at = Vec::new();
    write_timestamp(now.wall_us, TimeUnit::Microsecond, TimestampStyle::Iso, &mut at);
    at.push(b'Z');
    String::from_utf8(at).expect("a timestamp is text")
}

/// Why an epoch is not committed.
enum Failure {
    /// Nothing of it can become visible; the next one may succeed.
    Abandoned(String),
    /// It may have been committed, or has been, and cannot be gone on from here.
    Fatal(String),
}
