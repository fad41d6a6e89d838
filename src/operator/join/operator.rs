//! The running form: a row that comes by one port is kept on its side and meets the rows of its key that the other side keeps.
//!
//! A batch is worked off in portions of about as many pairs as a batch of output has rows, so that a key with many rows makes
//! no more output at a time than is taken. Rows of a batch are of one side and meet only the other, so all of them are kept
//! at once; what has gone is let go when the batch has been worked off.
//!
//! Which rows a row meets depends on the watermark at the end of the last block alone, not on when rows that have passed
//! their time are let go.

use arrow::array::{Array, AsArray, RecordBatch};

use super::output::{Sending, send};
use super::rows::NONE;
use super::saved;
use super::side::{Entry, Firsts, Keeping, Rings, Side, hash_of_row};
use super::view::View;
use super::{Kind, Tells};
use crate::expr::Expr;
use crate::operator::key_bytes::KeyBytes;
use crate::operator::queue::Queue;
use crate::operator::saved::{Clock, Early, StateKey};
use crate::operator::work::position_of;
use crate::operator::{Captured, Context, Operator, StateSize, StateTable};
use crate::record::{Batch, EventTimes, Schema, Segment};
use crate::state::{Groups, Pages};
use crate::time::{SegmentClock, WATERMARK_MAX, WATERMARK_MIN};

/// What every shard builds its operator from.
#[derive(Clone)]
pub(super) struct Spec {
    pub kind: Kind,
    /// Positions of the key columns of each input.
    pub keys: [Vec<usize>; 2],
    pub key: StateKey,
    pub keeping: [Keeping; 2],
    pub interval: Option<Interval>,
    pub rest: Option<Rest>,
    /// The columns of a row of the output.
    pub output: Schema,
    /// Whether rows of the output may be taken back.
    pub weighted: bool,
}

/// How far apart the times of two rows may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    /// Positions of the columns of time of each input.
    pub columns: [usize; 2],
    /// The least of second − first, milliseconds.
    pub least_ms: i64,
    /// The greatest of second − first, milliseconds.
    pub most_ms: i64,
}

/// What is asked of each pair besides the key.
#[derive(Clone)]
pub(super) struct Rest {
    pub condition: Expr,
    /// Of each side a ROW of what the condition reads.
    pub schema: Schema,
    /// The sides of the columns of the schema, and for each the positions of what it has of its input.
    pub columns: Vec<(usize, Vec<usize>)>,
}

impl Interval {
    /// How far the watermark behind the join is held back, milliseconds.
    pub fn width_ms(&self) -> i64 {
        self.most_ms.max(self.least_ms.saturating_neg()).max(0)
    }

    fn allows(&self, port: usize, at_ms: i64, other_ms: i64) -> bool {
        let (first_ms, second_ms) = if port == 0 { (at_ms, other_ms) } else { (other_ms, at_ms) };
        let distance_ms = second_ms.saturating_sub(first_ms);
        (self.least_ms..=self.most_ms).contains(&distance_ms)
    }
}

/// The table that rows have no key in.
const CLOCK: usize = 2;

const CLOCK_TABLE: Clock<2> = Clock::new(["watermark_ms", "held_back_ms"]);

/// The running form.
pub(super) struct Joining {
    spec: Spec,
    groups: Groups,
    firsts: Pages<Firsts>,
    sides: [Side; 2],
    /// Keys that may have been given a group and no row.
    unused: Vec<u32>,
    watermark_ms: i64,
    tables: [StateTable; 2],
    early: Early,
    queue: Queue,
    work: Option<Work>,
}

/// A batch, and how far it has been worked off.
struct Work {
    port: usize,
    batch: Batch,
    /// The group of each row; [`NONE`] where it meets nothing.
    groups: Vec<u32>,
    /// The number under which each row is kept, or was that it takes back; [`NONE`] where there is none.
    numbers: Vec<u32>,
    /// Rows that are passed over.
    ignored: Vec<bool>,
    /// The times of the rows, milliseconds; empty where nothing depends on them.
    times_ms: Vec<i64>,
    /// The watermark that each row meets, milliseconds; empty where nothing depends on it.
    watermarks_ms: Vec<i64>,
    segment: usize,
    /// The row that is next, and the first behind the segment's.
    row: usize,
    end: usize,
    /// The row of the other side that it meets next; none where it has met none yet.
    next: Option<u32>,
    /// The partners that it has found.
    partners: i32,
}

/// What happens next: a row meets another, or, where that is [`NONE`], has met all.
#[derive(Clone, Copy)]
struct Event {
    row: u32,
    other: u32,
}

impl Work {
    /// Goes on to the next segment; whether there is one.
    fn next_segment(&mut self) -> bool {
        let Some(segment) = self.batch.segments.get(self.segment) else { return false };
        self.segment += 1;
        self.end = self.row + segment.rows as usize;
        true
    }
}

impl Joining {
    /// A shard's operator.
    pub fn new(spec: Spec) -> Self {
        Self {
            groups: Groups::default(),
            firsts: Pages::default(),
            sides: [0, 1].map(|side| Side::new(&spec.keeping[side])),
            unused: Vec::new(),
            watermark_ms: WATERMARK_MIN,
            tables: saved::tables(&spec.key, &spec.keeping),
            early: Early::default(),
            queue: Queue::new(&spec.output, spec.interval.is_some()),
            work: None,
            spec,
        }
    }

    fn is_timed(&self) -> bool {
        self.spec.keeping[0].for_ms.is_some()
    }

    /// The watermark that each row of a batch meets: that at the end of the last block.
    fn watermarks(&self, batch: &Batch) -> Vec<i64> {
        let mut watermarks = Vec::with_capacity(batch.len());
        let mut now_ms = self.watermark_ms;
        for (segment, clock) in batch.segments.iter().zip(&batch.clocks) {
            watermarks.resize(watermarks.len() + segment.rows as usize, now_ms);
            if segment.end.is_some() {
                now_ms = now_ms.max(clock.after_ms.unwrap_or(WATERMARK_MIN));
            }
        }
        watermarks
    }

    /// The times of the rows of a batch; none for NULL, which meets nothing.
    fn times(&self, port: usize, batch: &Batch) -> Vec<Option<i64>> {
        if let Some(interval) = &self.spec.interval {
            let times = EventTimes::milliseconds(batch.rows.column(interval.columns[port]));
            return times.iter().collect();
        }
        let times = batch.times.as_ref().expect("the step was resolved with event time");
        times.at_ms.values().iter().map(|at_ms| Some(*at_ms)).collect()
    }

    /// Finds the groups of a batch's rows, and keeps them.
    fn begin(&mut self, port: usize, batch: Batch) {
        debug_assert_eq!(batch.clocks.len(), batch.segments.len(), "an inbox has set the clocks");
        let columns = &self.spec.keys[port];
        let keys = KeyBytes::of(&batch, columns, &self.spec.key.codec);
        let nulls = columns.iter().filter_map(|column| batch.rows.column(*column).logical_nulls());
        let nulls =
            nulls.fold(None, |all, nulls| arrow::buffer::NullBuffer::union(all.as_ref(), Some(&nulls)));
        let (mut times_ms, mut watermarks_ms, mut is_timeless) = (Vec::new(), Vec::new(), Vec::new());
        if self.is_timed() {
            let times = self.times(port, &batch);
            watermarks_ms = self.watermarks(&batch);
            is_timeless = times.iter().map(Option::is_none).collect();
            let own = batch.times.as_ref().map(|times| times.at_ms.values());
            let known = |(row, at_ms): (usize, Option<i64>)| at_ms.or_else(|| Some(own?[row])).unwrap_or(0);
            times_ms = times.into_iter().enumerate().map(known).collect();
        }
        let mut groups = Vec::with_capacity(batch.len());
        let mut kept = Vec::with_capacity(batch.len());
        for (row, (hash, key)) in keys.of_rows(&batch).enumerate() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) || is_timeless.get(row) == Some(&true) {
                groups.push(NONE);
            } else if !self.is_timed()
                || self.sides[port].keeps(times_ms[row], watermarks_ms[row])
                || weight_of(&batch, row) < 0
            {
                groups.push(self.groups.number(hash, key));
                kept.push(position_of(row));
            } else {
                groups.push(self.groups.find(hash, key).unwrap_or(NONE));
            }
        }
        if self.firsts.len() < self.groups.capacity() {
            self.firsts.resize(self.groups.capacity());
        }
        let count = batch.len();
        let mut work = Work {
            port,
            batch,
            groups,
            numbers: vec![NONE; count],
            ignored: Vec::new(),
            times_ms,
            watermarks_ms,
            segment: 0,
            row: 0,
            end: 0,
            next: None,
            partners: 0,
        };
        if self.spec.keeping[port].changelog {
            self.keep_changes(&mut work, &kept);
        } else {
            self.keep(&mut work, &kept, |_| 0);
        }
        self.work = Some(work);
    }

    /// Keeps these rows of a batch.
    fn keep(&mut self, work: &mut Work, kept: &[u32], hash: impl Fn(usize) -> u64) {
        let entry = |row: &u32| Entry {
            group: work.groups[*row as usize],
            at_ms: work.times_ms.get(*row as usize).copied().unwrap_or(0),
            partners: 0,
            owed: weight_of(&work.batch, *row as usize) < 0,
        };
        let mut rings = Rings { firsts: &mut self.firsts, side: work.port };
        let entries = kept.iter().map(entry);
        let numbers = self.sides[work.port].enter(work.batch.rows.columns(), kept, entries, hash, &mut rings);
        for (row, number) in kept.iter().zip(numbers) {
            work.numbers[*row as usize] = number;
        }
    }

    /// Keeps these rows of a batch, of which some take others back.
    fn keep_changes(&mut self, work: &mut Work, kept: &[u32]) {
        let codec = self.sides[work.port].codec().expect("rows may be taken back");
        let columns = &work.batch.rows.columns()[..self.sides[work.port].rows().columns()];
        let bytes = codec.write(columns);
        let hashes: Vec<u64> = (0..work.batch.len()).map(|row| hash_of_row(bytes.row(row).data())).collect();
        work.ignored = vec![false; work.batch.len()];
        let mut waiting: Vec<u32> = Vec::new();
        let mut hashes_waiting = std::collections::HashSet::new();
        for row in kept {
            let at = *row as usize;
            if hashes_waiting.contains(&hashes[at]) {
                let now = std::mem::take(&mut waiting);
                self.keep(work, &now, |place| hashes[now[place] as usize]);
                hashes_waiting.clear();
            }
            let taken_back = weight_of(&work.batch, at) < 0;
            let watermark_ms = work.watermarks_ms.get(at).copied().unwrap_or(WATERMARK_MIN);
            let side = &mut self.sides[work.port];
            match side.find(work.groups[at], hashes[at], bytes.row(at).data(), !taken_back, watermark_ms) {
                Some(number) => {
                    side.leave(number, &mut Rings { firsts: &mut self.firsts, side: work.port });
                    // Until the batch has been worked off it says what was told of it.
                    if taken_back {
                        work.numbers[at] = number;
                    }
                }
                // Where rows go by themselves, what is taken back may have gone, which is silent.
                None if taken_back && self.spec.keeping[work.port].for_ms.is_some() => {
                    work.ignored[at] = true;
                    self.unused.push(work.groups[at]);
                }
                None => {
                    waiting.push(*row);
                    hashes_waiting.insert(hashes[at]);
                }
            }
        }
        self.keep(work, &waiting, |place| hashes[waiting[place] as usize]);
    }

    /// Works off a portion; whether there was anything to do.
    fn advance(&mut self, context: &mut Context) -> bool {
        let Some(mut work) = self.work.take() else { return false };
        if work.row == work.end && work.next.is_none() && !work.next_segment() {
            self.let_go();
            return false;
        }
        let events = self.events(&mut work);
        if !events.is_empty() {
            self.meet(&mut work, &events, context);
        }
        if work.row == work.end && work.next.is_none() {
            let segment = work.batch.segments[work.segment - 1];
            if segment.end.is_some() {
                self.end_block(segment, work.batch.clocks[work.segment - 1]);
            }
        }
        self.work = Some(work);
        true
    }

    /// The next events of a segment.
    fn events(&self, work: &mut Work) -> Vec<Event> {
        let (own, other) = (work.port, &self.sides[1 - work.port]);
        let tells = self.spec.kind.tells()[own] != Tells::Nothing;
        let mut events = Vec::new();
        while work.row < work.end && events.len() < Batch::ROWS_MAX {
            let (row, at) = (position_of(work.row), work.row);
            let group = work.groups[at];
            let first = if group == NONE { NONE } else { self.firsts[group as usize].0[1 - own] };
            if work.ignored.get(at) == Some(&true) {
                work.row += 1;
                continue;
            }
            let mut next = work.next.take().unwrap_or(first);
            while next != NONE && events.len() < Batch::ROWS_MAX {
                if self.may_meet(work, at, next) {
                    events.push(Event { row, other: next });
                }
                next = other.next(next, first);
            }
            if next != NONE {
                work.next = Some(next);
                break;
            }
            if tells {
                events.push(Event { row, other: NONE });
            }
            work.row += 1;
        }
        events
    }

    /// Whether a row of the batch and one of the other side are there at one time and near enough.
    fn may_meet(&self, work: &Work, row: usize, other: u32) -> bool {
        if work.times_ms.is_empty() {
            return true;
        }
        let side = &self.sides[1 - work.port];
        let other_ms = side.at_ms(other);
        let is_near = |interval: &Interval| interval.allows(work.port, work.times_ms[row], other_ms);
        side.keeps(other_ms, work.watermarks_ms[row]) && self.spec.interval.as_ref().is_none_or(is_near)
    }

    /// What these events come to.
    fn meet(&mut self, work: &mut Work, events: &[Event], context: &mut Context) {
        let passed = self.spec.rest.as_ref().map(|rest| self.ask(rest, work, events, context));
        let (own, other) = (work.port, 1 - work.port);
        let tells = self.spec.kind.tells();
        if tells[other] != Tells::Nothing && self.sides[other].view.is_some() {
            let touched = events.iter().map(|event| event.other).filter(|number| *number != NONE);
            self.keep_view(other, &touched.collect::<Vec<u32>>());
        }
        let mut sending = Sending::default();
        for (place, event) in events.iter().enumerate() {
            let row = event.row as usize;
            let weight = weight_of(&work.batch, row);
            if event.other == NONE {
                let partners = std::mem::take(&mut work.partners);
                self.tell(work, row, weight, partners, tells[own], &mut sending);
                continue;
            }
            if passed.as_ref().is_some_and(|passed| !passed[place]) {
                continue;
            }
            let side = &mut self.sides[other];
            let owed = side.weight(event.other);
            if self.spec.kind.makes_pairs() {
                sending.push(event.row, event.other, weight * owed);
            }
            if tells[own] != Tells::Nothing {
                work.partners += i32::from(owed);
            }
            if tells[other] != Tells::Nothing {
                let before = side.partners(event.other);
                let after = before + i32::from(weight);
                side.set_partners(event.other, after);
                if (before > 0) != (after > 0) {
                    let is_told = (after > 0) == (tells[other] == Tells::Matched);
                    // In an interval nothing is taken back: a row without partner is told when it can have none any more.
                    if self.spec.interval.is_none() || is_told && after > 0 {
                        sending.push(NONE, event.other, if is_told { owed } else { -owed });
                    }
                }
            }
        }
        let number = work.batch.segments[work.segment - 1].number;
        self.send(&sending, Some((own, &work.batch, &work.times_ms)), other, number);
    }

    /// Tells a row by itself that has met all it can meet now, where that is to be told.
    fn tell(
        &mut self,
        work: &Work,
        row: usize,
        weight: i8,
        partners: i32,
        tells: Tells,
        sending: &mut Sending,
    ) {
        let (number, side) = (work.numbers[row], &mut self.sides[work.port]);
        let mut partners = partners;
        if number != NONE && weight < 0 && side.weight(number) > 0 {
            // It takes back what was told of a row, whose partners may have gone since.
            partners = side.partners(number);
        } else if number != NONE {
            side.set_partners(number, partners);
        }
        let is_told = match tells {
            Tells::Nothing => false,
            Tells::Matched => partners > 0,
            Tells::Alone => partners <= 0 && (self.spec.interval.is_none() || number == NONE),
        };
        if is_told {
            sending.push(position_of(row), NONE, weight);
        }
    }

    /// For each of these events whether it is a pair of which the condition is true.
    fn ask(&self, rest: &Rest, work: &Work, events: &[Event], context: &mut Context) -> Vec<bool> {
        let places: Vec<usize> = (0..events.len()).filter(|place| events[*place].other != NONE).collect();
        let mut passed = vec![false; events.len()];
        let mut sending = Sending::default();
        for event in places.iter().map(|place| events[*place]) {
            sending.push(event.row, event.other, 1);
        }
        let mut places = places.into_iter();
        self.ask_pairs(rest, work, &sending, context, &mut |is_passed| {
            let place = places.next().expect("each pair is asked once");
            passed[place] = is_passed;
        });
        passed
    }

    /// Asks the condition of these pairs, and tells of each in turn whether it is true.
    fn ask_pairs(
        &self,
        rest: &Rest,
        work: &Work,
        sending: &Sending,
        context: &mut Context,
        tell: &mut dyn FnMut(bool),
    ) {
        let columns = rest.columns.iter().enumerate().map(|(index, (side, columns))| {
            let source = if *side == work.port { Some(&work.batch) } else { None };
            let field = &rest.schema.arrow().fields()[index];
            sending.column(field.data_type(), source, &self.sides[*side], columns)
        });
        let Ok(columns) = columns.collect() else {
            for half in sending.halves() {
                self.ask_pairs(rest, work, &half, context, tell);
            }
            return;
        };
        let rows = rest.schema.rows(columns, sending.len());
        let evaluated = rest.condition.evaluate_at(&rows, context.wall_ms);
        let values = evaluated.values.as_boolean();
        for row in 0..values.len() {
            tell(values.is_valid(row) && values.value(row));
        }
        if !evaluated.failed.is_empty() {
            let pairs = Batch::of_rows(rows, 0);
            for (row, message) in evaluated.failed {
                context.reject("join", &rest.schema, &pairs, row as usize, message);
            }
        }
    }

    /// Hands rows over. `own` is the side and the batch of the rows that have come, with their times.
    fn send(&mut self, sending: &Sending, own: Option<(usize, &Batch, &[i64])>, other: usize, number: u64) {
        let timed = self.spec.interval.is_some();
        let Self { spec, sides, queue, .. } = self;
        send(sending, own, (other, &sides[other]), &spec.output, (spec.weighted, timed), number, queue);
    }

    /// Ends a block: rows that have passed their time leave, and are told where they have found no partner.
    fn end_block(&mut self, segment: Segment, clock: SegmentClock) {
        let end = segment.end.expect("asked before");
        self.watermark_ms = self.watermark_ms.max(clock.after_ms.unwrap_or(WATERMARK_MIN));
        if self.is_timed() {
            for side in [0, 1] {
                let due = self.sides[side].due(self.watermark_ms);
                if self.spec.interval.is_some() && self.spec.kind.tells()[side] == Tells::Alone {
                    self.tell_alone(side, &due, segment.number);
                }
                let mut rings = Rings { firsts: &mut self.firsts, side };
                for number in due {
                    self.sides[side].leave(number, &mut rings);
                }
            }
        }
        let width_ms = self.spec.interval.map_or(0, |interval| interval.width_ms());
        let held_back = |after_ms: i64| {
            if after_ms == WATERMARK_MAX { after_ms } else { after_ms.saturating_sub(width_ms) }
        };
        self.queue.advance(&SegmentClock { after_ms: clock.after_ms.map(held_back), ..clock });
        self.queue.end(segment.number, &end);
    }

    /// Tells those of these rows that have found no partner, in the order of their times.
    fn tell_alone(&mut self, side: usize, due: &[u32], number: u64) {
        let of = &self.sides[side];
        let mut alone: Vec<u32> = due.iter().copied().filter(|number| of.partners(*number) <= 0).collect();
        alone.sort_by_key(|number| of.at_ms(*number));
        for alone in alone.chunks(Batch::ROWS_MAX) {
            let mut sending = Sending::default();
            for row in alone {
                sending.push(NONE, *row, 1);
            }
            self.send(&sending, None, side, number);
        }
    }

    /// Lets the rows go that have left, and the keys that have no rows any more.
    fn let_go(&mut self) {
        let mut groups = std::mem::take(&mut self.unused);
        self.keep_left();
        self.sides.iter_mut().for_each(|side| groups.append(&mut side.let_go()));
        groups.sort_unstable();
        groups.dedup();
        groups.retain(|group| self.firsts[*group as usize].0 == [NONE; 2]);
        for group in groups {
            self.groups.remove(group);
        }
    }

    /// Captures the rows that have left and are in no ring any more, where a scan would find them.
    fn keep_left(&mut self) {
        for side in [0, 1] {
            if self.sides[side].view.is_some() && !self.sides[side].left().is_empty() {
                let left = self.sides[side].left().to_vec();
                self.keep_view(side, &left);
            }
        }
    }

    /// Captures those of these rows that a view of their side has still to capture, before they change.
    fn keep_view(&mut self, side: usize, numbers: &[u32]) {
        let Some(view) = &mut self.sides[side].view else { return };
        let taken = view.take(numbers.iter().copied());
        for taken in taken.chunks(Batch::ROWS_MAX) {
            self.early.push(side, self.save(side, taken));
        }
    }

    fn save(&self, side: usize, numbers: &[u32]) -> RecordBatch {
        saved::rows(&self.tables[side], &self.spec.key, &self.groups, &self.sides[side], numbers)
    }

    fn load(&mut self, side: usize, rows: &RecordBatch) {
        let saved = saved::read(rows, &self.spec.key, &self.spec.keeping[side], &mut self.groups);
        if self.firsts.len() < self.groups.capacity() {
            self.firsts.resize(self.groups.capacity());
        }
        let codec = self.sides[side].codec();
        let bytes = codec.map(|codec| codec.write(&saved.columns));
        let hash = |row: usize| bytes.as_ref().map_or(0, |bytes| hash_of_row(bytes.row(row).data()));
        let positions: Vec<u32> = (0..).take(rows.num_rows()).collect();
        let mut rings = Rings { firsts: &mut self.firsts, side };
        self.sides[side].enter(&saved.columns, &positions, saved.entries.iter().copied(), hash, &mut rings);
    }
}

/// What a row of a batch weighs.
fn weight_of(batch: &Batch, row: usize) -> i8 {
    batch.weights.as_ref().map_or(1, |weights| weights.value(row))
}

impl Operator for Joining {
    fn push(&mut self, batch: Batch, context: &mut Context) {
        self.push_by(0, batch, context);
    }

    fn push_by(&mut self, port: usize, batch: Batch, _: &mut Context) {
        self.begin(port, batch);
    }

    fn pull(&mut self, context: &mut Context) -> Option<Batch> {
        while self.queue.is_empty() && self.advance(context) {}
        self.queue.pull()
    }

    fn state(&self) -> StateSize {
        let [first, second] = &self.sides;
        StateSize {
            entries: first.rows().len() + second.rows().len(),
            bytes: self.groups.bytes()
                + self.firsts.bytes()
                + first.bytes()
                + second.bytes()
                + self.early.bytes(),
            next_close_ms: first.next_ms().into_iter().chain(second.next_ms()).min(),
        }
    }

    fn tables(&self) -> Vec<StateTable> {
        let [first, second] = self.tables.clone();
        vec![first, second, CLOCK_TABLE.table()]
    }

    fn begin_view(&mut self) {
        for side in &mut self.sides {
            side.view = Some(View::new(side.rows().capacity()));
        }
        self.early.push(CLOCK, CLOCK_TABLE.row([self.watermark_ms, self.queue.watermark_ms()]));
    }

    fn capture(&mut self, rows: usize) -> Option<Captured> {
        // Portions are captured in the middle of a batch, too.
        self.keep_left();
        if let Some(captured) = self.early.next(rows) {
            return Some(captured);
        }
        for side in [0, 1] {
            let Some(mut view) = self.sides[side].view.take() else { continue };
            let numbers = view.scan(rows.max(1), &self.sides[side]);
            if !numbers.is_empty() {
                self.sides[side].view = Some(view);
                return Some(Captured { table: side, rows: self.save(side, &numbers) });
            }
        }
        None
    }

    fn end_view(&mut self) {
        self.sides.iter_mut().for_each(|side| side.view = None);
        self.early.clear();
    }

    fn restore(&mut self, table: usize, rows: &RecordBatch) {
        if table != CLOCK {
            return self.load(table, rows);
        }
        let [watermark_ms, held_back_ms] = CLOCK_TABLE.read(rows);
        self.watermark_ms = self.watermark_ms.max(watermark_ms);
        self.queue.advance_to(held_back_ms);
    }
}
