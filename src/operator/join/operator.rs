//! The running form: a row that comes by one port is kept on its side and meets the rows of its key that the other side keeps.
//!
//! What has come by both ports is taken together: its keys are looked up and its rows put into pages at once; but only with
//! their block do they enter the rings of their keys, in which those of the other side find them. What has left the rings is
//! let go when everything has been worked off ([`super::work`]).
//!
//! Which rows a row meets depends on the watermark at the end of the last block alone, not on when rows that have passed
//! their time are let go.

use std::ops::Range;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;

use super::Tells;
use super::output::{Origins, Sending, Shape};
use super::rows::{NONE, Place};
use super::saved;
use super::side::{Entry, Firsts, Rings, Side, hash_of_row};
use super::spec::{Interval, Rest, Spec};
use super::view::View;
use super::work::{Event, Input, Mark, Portion, Step, Work};
use crate::operator::key_bytes::KeyBytes;
use crate::operator::queue::Queue;
use crate::operator::saved::{Clock, Early};
use crate::operator::work::position_of;
use crate::operator::{Captured, Context, Operator, StateSize, StateTable};
use crate::record::{Batch, EventTimes, Interleaved, Segment};
use crate::state::{Groups, Pages};
use crate::time::{SegmentClock, WATERMARK_MAX, WATERMARK_MIN};

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
    sending: Sending,
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
            sending: Sending::default(),
            spec,
        }
    }

    fn is_timed(&self) -> bool {
        self.spec.keeping[0].for_ms.is_some()
    }

    /// Whether the end of a block may tell rows, which are told once they can have no partner any more.
    fn tells_at_ends(&self) -> bool {
        self.spec.interval.is_some() && self.spec.kind.tells().contains(&Tells::Alone)
    }

    /// Sets for each row the watermark that it meets: that at the end of the last block.
    fn meet_watermarks(&self, inputs: &mut [Input], turns: &[(usize, usize)]) {
        let mut now_ms = self.watermark_ms;
        let mut next = vec![0; inputs.len()];
        for (place, segments) in turns {
            let Input { batch, watermarks_ms, .. } = &mut inputs[*place];
            let of_turn = next[*place]..next[*place] + segments;
            next[*place] = of_turn.end;
            for (segment, clock) in batch.segments[of_turn.clone()].iter().zip(&batch.clocks[of_turn]) {
                watermarks_ms.resize(watermarks_ms.len() + segment.rows as usize, now_ms);
                if segment.end.is_some() {
                    now_ms = now_ms.max(clock.after_ms.unwrap_or(WATERMARK_MIN));
                }
            }
        }
    }

    /// The times of the rows of a batch; none for NULL, which meets nothing.
    fn times(&self, side: usize, batch: &Batch) -> Vec<Option<i64>> {
        if let Some(interval) = &self.spec.interval {
            let times = EventTimes::milliseconds(batch.rows.column(interval.columns[side]));
            return times.iter().collect();
        }
        let times = batch.times.as_ref().expect("the step was resolved with event time");
        times.at_ms.values().iter().map(|at_ms| Some(*at_ms)).collect()
    }

    /// Finds the groups of the rows that have come, and puts those into pages that are kept.
    fn begin(&mut self, input: Interleaved) {
        let Interleaved { batches, turns } = input;
        let mut inputs: Vec<Input> =
            batches.into_iter().map(|(side, batch)| Input::new(side, batch)).collect();
        if self.is_timed() {
            self.meet_watermarks(&mut inputs, &turns);
        }
        for input in &mut inputs {
            debug_assert_eq!(
                input.batch.clocks.len(),
                input.batch.segments.len(),
                "an inbox has set the clocks"
            );
            self.look_up(input);
            let keeping = &self.spec.keeping[input.side];
            // Of rows that may be taken back, each is kept when nothing before it has taken it back.
            if !keeping.changelog {
                let columns = input.batch.rows.columns();
                let numbers = self.sides[input.side].add(columns, &input.kept);
                for (row, number) in input.kept.iter().zip(numbers) {
                    input.numbers[*row as usize] = number;
                }
            }
        }
        if self.firsts.len() < self.groups.capacity() {
            self.firsts.resize(self.groups.capacity());
        }
        self.work = Some(Work::new(inputs, turns));
    }

    /// Finds the group of each row, and which are kept.
    fn look_up(&mut self, input: &mut Input) {
        let columns = &self.spec.keys[input.side];
        let keys = KeyBytes::of(&input.batch, columns, &self.spec.key.codec);
        let nulls = columns.iter().filter_map(|column| input.batch.rows.column(*column).logical_nulls());
        let nulls =
            nulls.fold(None, |all, nulls| arrow::buffer::NullBuffer::union(all.as_ref(), Some(&nulls)));
        let mut is_timeless: Vec<bool> = Vec::new();
        if self.is_timed() {
            let times = self.times(input.side, &input.batch);
            is_timeless = times.iter().map(Option::is_none).collect();
            let own = input.batch.times.as_ref().map(|times| times.at_ms.values());
            let known = |(row, at_ms): (usize, Option<i64>)| at_ms.or_else(|| Some(own?[row])).unwrap_or(0);
            input.times_ms = times.into_iter().enumerate().map(known).collect();
        }
        for (row, (hash, key)) in keys.of_rows(&input.batch).enumerate() {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) || is_timeless.get(row) == Some(&true) {
                input.groups.push(NONE);
                continue;
            }
            let group = self.groups.number(hash, key);
            input.groups.push(group);
            let is_kept = !self.is_timed()
                || self.sides[input.side].keeps(input.times_ms[row], input.watermarks_ms[row])
                || input.weight(row) < 0;
            if is_kept {
                input.kept.push(position_of(row));
            } else {
                self.unused.push(group);
            }
        }
    }

    /// Enters these of the rows to be kept into the rings of their keys.
    fn enter(&mut self, work: &mut Work, kept: Range<usize>) {
        let input = work.input_mut();
        if self.spec.keeping[input.side].changelog {
            self.enter_changes(input, kept);
        } else {
            let rows = input.kept[kept].to_vec();
            self.link(input, &rows, |_| 0);
        }
    }

    /// Enters these rows, which are in pages, into the rings of their keys.
    fn link(&mut self, input: &Input, rows: &[u32], hash: impl Fn(usize) -> u64) {
        let mut rings = Rings { firsts: &mut self.firsts, side: input.side };
        for (place, row) in rows.iter().enumerate() {
            let row = *row as usize;
            let entry = Entry {
                group: input.groups[row],
                at_ms: input.at_ms(row),
                partners: 0,
                owed: input.weight(row) < 0,
            };
            self.sides[input.side].enter(input.numbers[row], entry, hash(place), &mut rings);
        }
    }

    /// Keeps and enters these rows.
    fn keep(&mut self, input: &mut Input, rows: &[u32], hash: impl Fn(usize) -> u64) {
        let numbers = self.sides[input.side].add(input.batch.rows.columns(), rows);
        for (row, number) in rows.iter().zip(numbers) {
            input.numbers[*row as usize] = number;
        }
        self.link(input, rows, hash);
    }

    /// Keeps and enters these of the rows to be kept, of which some take others back.
    fn enter_changes(&mut self, input: &mut Input, kept: Range<usize>) {
        if kept.is_empty() {
            return;
        }
        let kept = input.kept[kept].to_vec();
        let codec = self.sides[input.side].codec().expect("rows may be taken back");
        let (first, last) = (kept[0] as usize, kept[kept.len() - 1] as usize);
        let columns = &input.batch.rows.columns()[..self.sides[input.side].rows().columns()];
        let columns: Vec<_> = columns.iter().map(|column| column.slice(first, last - first + 1)).collect();
        let bytes = codec.write(&columns);
        let bytes_of = |row: u32| bytes.row(row as usize - first);
        input.ignored.resize(input.batch.len(), false);
        let mut waiting: Vec<u32> = Vec::new();
        let mut hashes: Vec<u64> = Vec::new();
        let mut hashes_waiting = std::collections::HashSet::new();
        for row in kept {
            let (at, hash) = (row as usize, hash_of_row(bytes_of(row).data()));
            if hashes_waiting.contains(&hash) {
                let (now, of_now) = (std::mem::take(&mut waiting), std::mem::take(&mut hashes));
                self.keep(input, &now, |place| of_now[place]);
                hashes_waiting.clear();
            }
            let taken_back = input.weight(at) < 0;
            let watermark_ms = input.watermarks_ms.get(at).copied().unwrap_or(WATERMARK_MIN);
            let side = &mut self.sides[input.side];
            match side.find(input.groups[at], hash, bytes_of(row).data(), !taken_back, watermark_ms) {
                Some(number) => {
                    side.leave(number, &mut Rings { firsts: &mut self.firsts, side: input.side });
                    // Until everything has been worked off it says what was told of it.
                    if taken_back {
                        input.numbers[at] = number;
                    }
                }
                // Where rows go by themselves, what is taken back may have gone, which is silent.
                None if taken_back && self.spec.keeping[input.side].for_ms.is_some() => {
                    input.ignored[at] = true;
                    self.unused.push(input.groups[at]);
                }
                None => {
                    waiting.push(row);
                    hashes.push(hash);
                    hashes_waiting.insert(hash);
                }
            }
        }
        self.keep(input, &waiting, |place| hashes[place]);
    }

    /// Works off a portion; whether there may be more.
    fn advance(&mut self, context: &mut Context) -> bool {
        let Some(mut work) = self.work.take() else { return false };
        let mut portion = Portion::default();
        let is_done = loop {
            match work.step() {
                Step::Enter(kept) => self.enter(&mut work, kept),
                Step::Rows(end) => {
                    self.find_events(&mut work, end, &mut portion);
                    portion.mark(work.number());
                    if portion.is_full() {
                        break false;
                    }
                }
                Step::Close(segment, clock) => {
                    if self.tells_at_ends() {
                        self.meet(&mut work, &std::mem::take(&mut portion), context);
                    }
                    self.end_block(&work, segment, clock, &mut portion);
                }
                Step::Done => break true,
            }
        };
        self.meet(&mut work, &portion, context);
        self.flush(&work);
        if is_done {
            self.let_go();
        } else {
            self.work = Some(work);
        }
        !is_done
    }

    /// The next events of a segment, whose rows end before `end`.
    fn find_events(&self, work: &mut Work, end: usize, portion: &mut Portion) {
        let place = work.place();
        let (next, input) = (work.next.take(), &mut work.inputs[place]);
        let (own, other) = (input.side, &self.sides[1 - input.side]);
        let tells = self.spec.kind.tells()[own] != Tells::Nothing;
        let mut next = next;
        while input.row < end && !portion.is_full() {
            let row = input.row;
            if input.ignored.get(row) == Some(&true) {
                input.row += 1;
                continue;
            }
            let group = input.groups[row];
            let first = if group == NONE { NONE } else { self.firsts[group as usize].0[1 - own] };
            let mut meets = next.take().unwrap_or(first);
            while meets != NONE && !portion.is_full() {
                if self.may_meet(input, row, meets) {
                    portion.push(place, row, meets);
                }
                meets = other.next(meets, first);
            }
            if meets != NONE {
                work.next = Some(meets);
                return;
            }
            if tells {
                portion.push(place, row, NONE);
            }
            input.row += 1;
        }
    }

    /// Whether a row that has come and one of the other side are there at one time and near enough.
    fn may_meet(&self, input: &Input, row: usize, other: u32) -> bool {
        if input.times_ms.is_empty() {
            return true;
        }
        let side = &self.sides[1 - input.side];
        let other_ms = side.at_ms(other);
        let is_near = |interval: &Interval| interval.allows(input.side, input.times_ms[row], other_ms);
        side.keeps(other_ms, input.watermarks_ms[row]) && self.spec.interval.as_ref().is_none_or(is_near)
    }

    /// What a portion comes to.
    fn meet(&mut self, work: &mut Work, portion: &Portion, context: &mut Context) {
        self.keep_touched(work, portion);
        let passed = self.spec.rest.as_ref().map(|rest| self.ask(rest, work, &portion.events, context));
        let mut from = 0;
        for (until, mark) in &portion.marks {
            match mark {
                Mark::Rows(number) => {
                    for place in from..*until {
                        if passed.as_ref().is_none_or(|passed| passed[place]) {
                            self.meet_one(work, portion.events[place], *number);
                        }
                    }
                    from = *until;
                }
                Mark::End(segment) => {
                    self.sending.end(segment.number, segment.end.expect("it ends a block"));
                }
            }
        }
    }

    /// Captures for views the rows whose partners a portion counts anew.
    fn keep_touched(&mut self, work: &Work, portion: &Portion) {
        for side in [0, 1] {
            if self.spec.kind.tells()[side] == Tells::Nothing || self.sides[side].view.is_none() {
                continue;
            }
            let is_other =
                |event: &&Event| event.other != NONE && work.inputs[event.input as usize].side != side;
            let touched: Vec<u32> = portion.events.iter().filter(is_other).map(|event| event.other).collect();
            self.keep_view(side, &touched);
        }
    }

    /// What it comes to that a row meets another, or has met all.
    fn meet_one(&mut self, work: &mut Work, event: Event, number: u64) {
        let tells = self.spec.kind.tells();
        let input = &work.inputs[event.input as usize];
        let (own, other) = (input.side, 1 - input.side);
        let weight = input.weight(event.row as usize);
        if event.other == NONE {
            let partners = std::mem::take(&mut work.partners);
            self.tell(input, event, weight, partners, number);
            return self.flush_full(work);
        }
        let side = &mut self.sides[other];
        let owed = side.weight(event.other);
        if self.spec.kind.makes_pairs() {
            self.sending.push(places(own, event.own(), Place::Kept(event.other)), weight * owed, number);
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
                    let told = places(other, Place::Kept(event.other), Place::Nothing);
                    self.sending.push(told, if is_told { owed } else { -owed }, number);
                }
            }
        }
        self.flush_full(work);
    }

    /// Tells a row by itself that has met all it can meet now, where that is to be told.
    fn tell(&mut self, input: &Input, event: Event, weight: i8, partners: i32, block: u64) {
        let (number, side) = (input.numbers[event.row as usize], &mut self.sides[input.side]);
        let mut partners = partners;
        if number != NONE && weight < 0 && side.weight(number) > 0 {
            // It takes back what was told of a row, whose partners may have gone since.
            partners = side.partners(number);
        } else if number != NONE {
            side.set_partners(number, partners);
        }
        let is_told = match self.spec.kind.tells()[input.side] {
            Tells::Nothing => false,
            Tells::Matched => partners > 0,
            Tells::Alone => partners <= 0 && (self.spec.interval.is_none() || number == NONE),
        };
        if is_told {
            self.sending.push(places(input.side, event.own(), Place::Nothing), weight, block);
        }
    }

    /// For each of these events whether it is a row that has met all, or a pair of which the condition is true.
    fn ask(&self, rest: &Rest, work: &Work, events: &[Event], context: &mut Context) -> Vec<bool> {
        let mut sending = Sending::default();
        let mut passed = vec![true; events.len()];
        let pairs: Vec<usize> = (0..events.len()).filter(|place| events[*place].other != NONE).collect();
        for event in pairs.iter().map(|place| events[*place]) {
            let own = work.inputs[event.input as usize].side;
            sending.push(places(own, event.own(), Place::Kept(event.other)), 1, 0);
        }
        let mut pairs = pairs.into_iter();
        if sending.rows() > 0 {
            self.ask_pairs(rest, work, sending, context, &mut |is_passed| {
                passed[pairs.next().expect("each pair is asked once")] = is_passed;
            });
        }
        passed
    }

    /// Asks the condition of these pairs, and tells of each in turn whether it is true.
    fn ask_pairs(
        &self,
        rest: &Rest,
        work: &Work,
        sending: Sending,
        context: &mut Context,
        tell: &mut dyn FnMut(bool),
    ) {
        let origins = Origins { sides: &self.sides, inputs: &work.inputs };
        let columns = rest.columns.iter().enumerate().map(|(index, (side, columns))| {
            let DataType::Struct(fields) = rest.schema.arrow().field(index).data_type() else {
                unreachable!("a side is a ROW")
            };
            sending.column(*side, fields, columns, origins)
        });
        let Ok(columns) = columns.collect() else {
            for half in sending.halves() {
                self.ask_pairs(rest, work, half, context, tell);
            }
            return;
        };
        let rows = rest.schema.rows(columns, sending.rows());
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

    /// Hands over what is to be sent.
    fn flush(&mut self, work: &Work) {
        if self.sending.is_empty() {
            return;
        }
        let Self { spec, sides, queue, sending, .. } = self;
        let shape = Shape { schema: &spec.output, weighted: spec.weighted, timed: spec.interval.is_some() };
        sending.flush(shape, Origins { sides, inputs: &work.inputs }, queue);
    }

    /// Hands over what is to be sent where a batch has no room for two rows more.
    fn flush_full(&mut self, work: &Work) {
        if self.sending.rows() + 2 > Batch::ROWS_MAX {
            self.flush(work);
        }
    }

    /// Ends a block: rows that have passed their time leave, and are told where they have found no partner.
    fn end_block(&mut self, work: &Work, segment: Segment, clock: SegmentClock, portion: &mut Portion) {
        let end = segment.end.expect("a segment that is closed ends a block");
        self.watermark_ms = self.watermark_ms.max(clock.after_ms.unwrap_or(WATERMARK_MIN));
        if self.is_timed() {
            for side in [0, 1] {
                let due = self.sides[side].due(self.watermark_ms);
                if self.spec.interval.is_some() && self.spec.kind.tells()[side] == Tells::Alone {
                    self.tell_alone(work, side, &due, segment.number);
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
        let end = Some(self.queue.end_of(segment.number, &end));
        portion.marks.push((portion.events.len(), Mark::End(Segment { end, ..segment })));
    }

    /// Tells those of these rows that have found no partner, in the order of their times.
    fn tell_alone(&mut self, work: &Work, side: usize, due: &[u32], block: u64) {
        let of = &self.sides[side];
        let mut alone: Vec<u32> = due.iter().copied().filter(|number| of.partners(*number) <= 0).collect();
        alone.sort_by_key(|number| of.at_ms(*number));
        for number in alone {
            self.sending.push(places(side, Place::Kept(number), Place::Nothing), 1, block);
            self.flush_full(work);
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
        let numbers = self.sides[side].add(&saved.columns, &positions);
        let mut rings = Rings { firsts: &mut self.firsts, side };
        for (row, (number, entry)) in numbers.into_iter().zip(&saved.entries).enumerate() {
            self.sides[side].enter(number, *entry, hash(row), &mut rings);
        }
    }
}

/// The rows of both sides: that of `side` and the other's.
fn places(side: usize, own: Place, other: Place) -> [Place; 2] {
    if side == 0 { [own, other] } else { [other, own] }
}

impl Operator for Joining {
    fn push(&mut self, batch: Batch, context: &mut Context) {
        self.push_interleaved(Interleaved::one(0, batch), context);
    }

    fn push_interleaved(&mut self, input: Interleaved, _: &mut Context) {
        self.begin(input);
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
