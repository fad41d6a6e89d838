//! The keyed operator behind `aggregate` over sessions: runs of a key's rows with no gap between them.
//!
//! A row at `t` is a session `[t, t + gap)`; sessions of a key that overlap or touch are one. Lateness is judged on the
//! merged session, row by row, as if each session were sent the moment the watermark passes its end.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, RecordBatch, TimestampMillisecondArray};

use super::saved::{CLOCK, GROUPS, GroupTable, flag_column, flag_field, flags, of_groups};
use super::spans::Spans;
use super::tally::{Aggregate, Tally};
use super::work::{RowClock, Work};
use crate::operator::late::Lateness;
use crate::operator::queue::Queue;
use crate::operator::saved::{Clock, Early, time_column, time_field, times_ms};
use crate::operator::{Build, Captured, Context, Operator, StateSize, StateTable};
use crate::record::{Batch, BlockEnd, KeyCodec, Schema};
use crate::state::Timers;
use crate::time::SegmentClock;

/// What every shard builds its operator from.
#[derive(Clone)]
pub(super) struct Spec {
    /// Positions of the key columns in the input.
    pub keys: Vec<usize>,
    pub codec: KeyCodec,
    pub gap_ms: i64,
    pub aggregates: Vec<Aggregate>,
    /// What the results of the aggregates are called.
    pub names: Vec<String>,
    /// The keys, the session's start and end, one column per aggregate.
    pub output: Schema,
    pub lateness: Lateness,
    /// Whether rows count at the time at which they are seen, not at their event time.
    pub by_wall_clock: bool,
}

pub(super) fn build(spec: Spec, description: String, state: &str) -> Build {
    let by_wall_clock = spec.by_wall_clock;
    let build = Build::new(description, move || Box::new(Sessions::new(spec.clone())));
    Build { by_wall_clock, ..build.keeping(state) }
}

/// The watermark at the barrier, and the wall clock where rows go by it.
const CLOCK_TABLE: Clock<2> = Clock::new(["watermark_ms", "wall_ms"]);

struct Sessions {
    spec: Spec,
    table: GroupTable,
    tally: Tally,
    spans: Spans,
    timers: Timers,
    clock: RowClock,
    /// Rows and their sessions that are not yet added.
    pending: (Vec<u32>, Vec<u32>),
    /// Room for the sessions of one row's key.
    found: Vec<u32>,
    work: Option<Work>,
    firing: Option<Firing>,
    queue: Queue,
    /// What has been captured of a view and not been handed out.
    early: Early,
}

/// Sessions whose end the watermark has passed, on their way out.
struct Firing {
    number: u64,
    end: BlockEnd,
    watermark_ms: i64,
    /// Sessions to look at.
    rows: std::vec::IntoIter<Vec<u32>>,
    /// Those that are sent now, and how many of them have been.
    due: Vec<u32>,
    sent: usize,
}

impl Sessions {
    fn new(spec: Spec) -> Self {
        let tally = Tally::new(&spec.aggregates);
        let own = vec![time_field("session_start"), time_field("session_end"), flag_field("sent")];
        Self {
            table: GroupTable::new(&spec.codec, &spec.output, own, &spec.names, &tally),
            tally,
            spans: Spans::default(),
            timers: Timers::new(spec.gap_ms),
            clock: RowClock::new(spec.by_wall_clock),
            pending: (Vec::new(), Vec::new()),
            found: Vec::new(),
            work: None,
            firing: None,
            queue: Queue::new(&spec.output, true),
            early: Early::default(),
            spec,
        }
    }

    /// Works the batch off until sessions have to be sent. Returns whether there was anything to do.
    fn advance(&mut self, context: &mut Context) -> bool {
        let Some(mut work) = self.work.take() else { return false };
        while let Some((segment, clock)) = work.segment() {
            while let Some(row) = work.next_row() {
                if !self.assign(&work, row, segment.number, &clock) {
                    work.late.push(row);
                }
                work.row += 1;
            }
            work.leave_segment();
            let Some(end) = segment.end else { continue };
            let watermark_ms = self.clock.end_block(&clock, &mut self.queue);
            self.apply(&work);
            let rows = self.timers.due_rows(watermark_ms);
            if rows.is_empty() {
                self.queue.end(segment.number, &end);
                continue;
            }
            let (number, rows) = (segment.number, rows.into_iter());
            self.firing = Some(Firing { number, end, watermark_ms, rows, due: Vec::new(), sent: 0 });
            self.work = Some(work);
            return true;
        }
        self.apply(&work);
        self.spec.lateness.tell(&work.batch, std::mem::take(&mut work.late), context);
        true
    }

    /// Puts a row into its session; false if it is late.
    fn assign(&mut self, work: &Work, row: u32, number: u64, clock: &SegmentClock) -> bool {
        let (hash, key) = work.key(row);
        let mut found = std::mem::take(&mut self.found);
        found.extend(self.tally.groups.find_all(hash, key));
        let is_in_time = self.assign_among(&found, work, row, number, clock);
        found.clear();
        self.found = found;
        is_in_time
    }

    /// The same, among the sessions of the row's key.
    fn assign_among(
        &mut self,
        sessions: &[u32],
        work: &Work,
        row: u32,
        number: u64,
        clock: &SegmentClock,
    ) -> bool {
        let (time_ms, watermark_ms) = self.clock.row_ms(work, clock);
        let (mut start_ms, mut end_ms) = (time_ms, time_ms.saturating_add(self.spec.gap_ms));
        let closed_ms = watermark_ms.saturating_sub(self.spec.lateness.allow_ms).saturating_add(1);
        let mut merged: Option<u32> = None;
        for session in sessions.iter().copied() {
            let (from_ms, until_ms) = self.spans.get(session);
            if until_ms <= watermark_ms.saturating_add(1) && !self.spans.is_sent(session) {
                // The row has come after the watermark has passed the session's end.
                self.apply(work);
                self.send(number, &[session], 1);
            }
            if until_ms <= closed_ms {
                self.forget(&[session]);
                continue;
            }
            if from_ms > time_ms.saturating_add(self.spec.gap_ms) || until_ms < time_ms {
                continue;
            }
            if self.spans.is_sent(session) {
                self.apply(work);
                self.send(number, &[session], -1);
            }
            (start_ms, end_ms) = (start_ms.min(from_ms), end_ms.max(until_ms));
            merged = Some(match merged {
                None => session,
                Some(other) => {
                    self.apply(work);
                    let other_ms = self.spans.get(other).0;
                    let (into, from) = if other_ms <= from_ms { (other, session) } else { (session, other) };
                    self.fold(into, from);
                    into
                }
            });
        }
        if merged.is_none() && end_ms <= closed_ms {
            return false;
        }
        let session = merged.unwrap_or_else(|| {
            let (hash, key) = work.key(row);
            let session = self.tally.groups.insert(hash, key);
            self.spans.resize(self.tally.groups.capacity());
            self.timers.set(end_ms - 1, session);
            session
        });
        self.spans.set(session, start_ms, end_ms);
        self.pending.0.push(row);
        self.pending.1.push(session);
        if end_ms <= watermark_ms.saturating_add(1) {
            // The watermark has passed the merged session already.
            self.apply(work);
            self.send(number, &[session], 1);
        }
        true
    }

    /// Adds the pending rows to their sessions.
    fn apply(&mut self, work: &Work) {
        let (rows, sessions) = &mut self.pending;
        self.tally.resize();
        if !rows.is_empty() {
            self.tally.add(rows, sessions, &work.inputs);
            rows.clear();
            sessions.clear();
        }
    }

    /// Makes one session of two, of which `into` is the earlier.
    fn fold(&mut self, into: u32, from: u32) {
        self.tally.fold(into, from);
        self.spans.clear(from);
    }

    fn forget(&mut self, sessions: &[u32]) {
        self.tally.remove(sessions);
        for session in sessions {
            self.spans.clear(*session);
        }
    }

    /// Sends sessions, or takes them back with a weight of −1.
    fn send(&mut self, number: u64, sessions: &[u32], weight: i8) {
        let rows = self.results(sessions);
        let weights = (weight < 0).then(|| Int8Array::from(vec![weight; sessions.len()]));
        let at_ms: Vec<i64> = sessions.iter().map(|session| self.spans.get(*session).1 - 1).collect();
        self.queue.rows(number, &rows, weights.as_ref(), Some(&at_ms));
        for session in sessions {
            self.spans.mark_sent(*session, weight > 0);
            let last_ms = self.spans.get(*session).1 - 1;
            match (weight > 0, self.spec.lateness.allow_ms) {
                (true, 0) => {}
                (true, allow_ms) => self.timers.set(last_ms.saturating_add(allow_ms), *session),
                (false, _) => self.timers.set(last_ms, *session),
            }
        }
    }

    /// Which of these sessions have to be sent at this watermark, the earliest first; those that have been sent and that
    /// no row can change any more are dropped.
    fn due(&mut self, mut sessions: Vec<u32>, watermark_ms: i64) -> Vec<u32> {
        if self.tally.groups.has_view() && self.spec.lateness.allow_ms > 0 {
            // Some of them may be dropped here.
            self.capture_first(&sessions);
        }
        sessions.retain(|session| {
            if !self.spans.is_there(*session) {
                return false;
            }
            let last_ms = self.spans.get(*session).1 - 1;
            let is_sent = self.spans.is_sent(*session);
            let look_ms = if is_sent { last_ms.saturating_add(self.spec.lateness.allow_ms) } else { last_ms };
            if look_ms > watermark_ms {
                self.timers.set(look_ms, *session);
            } else if is_sent {
                self.tally.remove(&[*session]);
                self.spans.clear(*session);
            }
            look_ms <= watermark_ms && !is_sent
        });
        sessions.sort_by_key(|session| self.spans.get(*session).1);
        sessions
    }

    /// The next rows of the sessions that are due; false once none is.
    fn fire(&mut self) -> bool {
        let Some(mut firing) = self.firing.take() else { return false };
        if firing.sent == firing.due.len() {
            let Some(sessions) = firing.rows.next() else {
                self.queue.end(firing.number, &firing.end);
                return true;
            };
            firing.due = self.due(sessions, firing.watermark_ms);
            firing.sent = 0;
        }
        let until = firing.due.len().min(firing.sent + Batch::ROWS_MAX);
        let sessions = firing.due[firing.sent..until].to_vec();
        self.capture_first(&sessions);
        self.send(firing.number, &sessions, 1);
        if self.spec.lateness.allow_ms == 0 {
            self.forget(&sessions);
        }
        firing.sent = until;
        self.firing = Some(firing);
        true
    }

    /// Captures sessions of a view that are about to change.
    fn capture_first(&mut self, sessions: &[u32]) {
        let sessions = self.tally.groups.take_uncaptured(sessions);
        if !sessions.is_empty() {
            let rows = self.saved(&sessions);
            self.early.push(GROUPS, rows);
        }
    }

    fn saved(&self, sessions: &[u32]) -> RecordBatch {
        let spans = || sessions.iter().map(|session| self.spans.get(*session));
        let own = [
            time_column(spans().map(|(start_ms, _)| start_ms)),
            time_column(spans().map(|(_, end_ms)| end_ms)),
            flag_column(sessions.iter().map(|session| self.spans.is_sent(*session))),
        ];
        self.table.save(&self.tally, sessions, own)
    }

    /// Takes saved sessions.
    fn load(&mut self, rows: &RecordBatch) {
        let sessions = self.table.load(&mut self.tally, rows);
        self.spans.resize(self.tally.groups.capacity());
        let starts_ms = times_ms(self.table.own(rows, 0));
        let ends_ms = times_ms(self.table.own(rows, 1));
        let sent = flags(self.table.own(rows, 2));
        for (row, session) in sessions.into_iter().enumerate() {
            self.spans.set(session, starts_ms[row], ends_ms[row]);
            let allow_ms = if sent.value(row) { self.spec.lateness.allow_ms } else { 0 };
            if sent.value(row) {
                self.spans.mark_sent(session, true);
            }
            self.timers.set((ends_ms[row] - 1).saturating_add(allow_ms), session);
        }
    }

    fn results(&self, sessions: &[u32]) -> RecordBatch {
        let mut columns = self.tally.keys(&self.spec.codec, sessions);
        for is_end in [false, true] {
            let data_type = self.spec.output.arrow().field(columns.len()).data_type().clone();
            let times = sessions.iter().map(|session| {
                let (start_ms, end_ms) = self.spans.get(*session);
                if is_end { end_ms } else { start_ms }
            });
            let times = TimestampMillisecondArray::from_iter_values(times).with_data_type(data_type);
            columns.push(Arc::new(times) as ArrayRef);
        }
        columns.extend(self.tally.results(sessions));
        self.spec.output.rows(columns, sessions.len())
    }
}

impl Operator for Sessions {
    fn push(&mut self, batch: Batch, context: &mut Context) {
        debug_assert!(self.work.is_none(), "the batch before is worked off");
        self.clock.see(context.wall_ms);
        let Spec { keys, codec, aggregates, .. } = &self.spec;
        let work = Work::new(batch, keys, codec, aggregates);
        if self.tally.groups.has_view() {
            self.capture_first(&self.tally.groups_of(work.keys()));
        }
        self.work = Some(work);
    }

    fn pull(&mut self, context: &mut Context) -> Option<Batch> {
        while self.queue.is_empty() && (self.fire() || self.advance(context)) {}
        self.queue.pull()
    }

    fn state(&self) -> StateSize {
        let own = [self.spans.bytes(), self.timers.bytes(), self.early.bytes()];
        let bytes = self.tally.bytes() + own.iter().sum::<usize>();
        StateSize { entries: self.tally.groups.len(), bytes, next_close_ms: self.timers.next_ms() }
    }

    fn tables(&self) -> Vec<StateTable> {
        vec![self.table.declare(), CLOCK_TABLE.table()]
    }

    fn begin_view(&mut self) {
        debug_assert!(self.work.is_none() && self.firing.is_none(), "a view begins between batches");
        self.tally.groups.begin_view();
        self.early.clear();
        self.early.push(CLOCK, CLOCK_TABLE.row([self.queue.watermark_ms(), self.clock.wall_ms()]));
    }

    fn capture(&mut self, rows: usize) -> Option<Captured> {
        self.early.next(rows).or_else(|| {
            let sessions = self.tally.groups.scan(rows);
            (!sessions.is_empty()).then(|| of_groups(self.saved(&sessions)))
        })
    }

    fn end_view(&mut self) {
        self.tally.groups.end_view();
        self.early.clear();
    }

    fn restore(&mut self, table: usize, rows: &RecordBatch) {
        if table == CLOCK {
            let [watermark_ms, wall_ms] = CLOCK_TABLE.read(rows);
            self.queue.advance_to(watermark_ms);
            self.clock.see(wall_ms);
        } else {
            self.load(rows);
        }
    }
}
