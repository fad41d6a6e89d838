//! What has come and is being worked off: the rows of each port, in the order in which they take turns.
//!
//! It is worked off in portions of about as many pairs as a batch of output has rows, so that a key with many rows makes no
//! more output at a time than is taken.

use super::rows::{NONE, Place};
use crate::operator::work::position_of;
use crate::record::{Batch, Segment};
use crate::time::SegmentClock;

/// A batch of one port, and how far it has been worked off.
pub(super) struct Input {
    /// The side of the join.
    pub side: usize,
    pub batch: Batch,
    /// The group of each row; [`NONE`] where it meets nothing.
    pub groups: Vec<u32>,
    /// The rows that are to be kept.
    pub kept: Vec<u32>,
    /// The number under which each row is kept, or was that it takes back; [`NONE`] where there is none, or not yet.
    pub numbers: Vec<u32>,
    /// Rows that are passed over; empty where there are none.
    pub ignored: Vec<bool>,
    /// The times of the rows, milliseconds; empty where nothing depends on them.
    pub times_ms: Vec<i64>,
    /// The watermark that each row meets, milliseconds; empty where nothing depends on it.
    pub watermarks_ms: Vec<i64>,
    /// The row that is next.
    pub row: usize,
    /// The segment that is next.
    segment: usize,
    /// How many of [`Input::kept`] have had their turn.
    entered: usize,
}

impl Input {
    /// A batch of which nothing is known yet.
    pub fn new(side: usize, batch: Batch) -> Self {
        let count = batch.len();
        Self {
            side,
            batch,
            groups: Vec::with_capacity(count),
            kept: Vec::with_capacity(count),
            numbers: vec![NONE; count],
            ignored: Vec::new(),
            times_ms: Vec::new(),
            watermarks_ms: Vec::new(),
            row: 0,
            segment: 0,
            entered: 0,
        }
    }

    /// What a row weighs.
    pub fn weight(&self, row: usize) -> i8 {
        self.batch.weights.as_ref().map_or(1, |weights| weights.value(row))
    }

    /// The time of a row, milliseconds; 0 where nothing depends on it.
    pub fn at_ms(&self, row: usize) -> i64 {
        self.times_ms.get(row).copied().unwrap_or(0)
    }

    /// The rows to be kept of the segment that ends before row `end`.
    fn enter_until(&mut self, end: usize) -> std::ops::Range<usize> {
        let from = self.entered;
        self.entered += self.kept[from..].partition_point(|row| (*row as usize) < end);
        from..self.entered
    }
}

/// All that has come, and how far it has been worked off.
pub(super) struct Work {
    pub inputs: Vec<Input>,
    /// Runs of segments, each of one input: its place, and how many.
    turns: Vec<(usize, usize)>,
    /// How many turns have begun; the last is the one at hand.
    turns_begun: usize,
    /// How many segments of the turn at hand are left.
    segments_left: usize,
    /// The first row behind the segment at hand.
    end: usize,
    /// How the segment at hand ends, until that has been done.
    closing: Option<(Segment, SegmentClock)>,
    /// The row of the other side that the row at hand meets next; none where it has met none yet.
    pub next: Option<u32>,
    /// The partners that the row at hand has found.
    pub partners: i32,
}

/// What happens next.
pub(super) enum Step {
    /// A segment begins: these of its input's rows to be kept are entered.
    Enter(std::ops::Range<usize>),
    /// The rows of a segment up to this one have their turn.
    Rows(usize),
    /// A segment has been worked off.
    Close(Segment, SegmentClock),
    /// Everything has been worked off.
    Done,
}

impl Work {
    /// Batches whose segments take turns.
    pub fn new(inputs: Vec<Input>, turns: Vec<(usize, usize)>) -> Self {
        let (turns_begun, segments_left, end) = (0, 0, 0);
        Self { inputs, turns, turns_begun, segments_left, end, closing: None, next: None, partners: 0 }
    }

    /// The place of the input whose turn it is.
    pub fn place(&self) -> usize {
        self.turns[self.turns_begun - 1].0
    }

    /// The input whose turn it is.
    pub fn input(&self) -> &Input {
        &self.inputs[self.place()]
    }

    /// The input whose turn it is.
    pub fn input_mut(&mut self) -> &mut Input {
        let place = self.place();
        &mut self.inputs[place]
    }

    /// The number of the block at hand.
    pub fn number(&self) -> u64 {
        let input = self.input();
        input.batch.segments[input.segment - 1].number
    }

    /// What is next.
    pub fn step(&mut self) -> Step {
        if !self.is_through() {
            return Step::Rows(self.end);
        }
        if let Some((segment, clock)) = self.closing.take() {
            return Step::Close(segment, clock);
        }
        while self.segments_left == 0 {
            let Some((_, segments)) = self.turns.get(self.turns_begun) else { return Step::Done };
            self.segments_left = *segments;
            self.turns_begun += 1;
        }
        self.segments_left -= 1;
        let input = self.input_mut();
        let (segment, clock) = (input.batch.segments[input.segment], input.batch.clocks[input.segment]);
        input.segment += 1;
        let end = input.row + segment.rows as usize;
        let kept = input.enter_until(end);
        self.end = end;
        self.closing = segment.end.map(|_| (segment, clock));
        Step::Enter(kept)
    }

    /// Whether the segment at hand has no rows left.
    fn is_through(&self) -> bool {
        self.turns_begun == 0 || self.input().row == self.end && self.next.is_none()
    }
}

/// A row meets another, or, where there is none, has met all.
#[derive(Clone, Copy)]
pub(super) struct Event {
    /// The place of the row's input, and the row.
    pub input: u32,
    pub row: u32,
    /// The row that it meets, of the other side; [`NONE`] for none.
    pub other: u32,
}

impl Event {
    /// The row that meets.
    pub fn own(&self) -> Place {
        Place::Came(self.input, self.row)
    }
}

/// What happens in a portion, in order.
#[derive(Default)]
pub(super) struct Portion {
    pub events: Vec<Event>,
    /// Behind how many of the events comes what.
    pub marks: Vec<(usize, Mark)>,
}

/// What lies between events.
pub(super) enum Mark {
    /// Those before it, behind the mark before it, are of the block of this number.
    Rows(u64),
    /// The end of a block.
    End(Segment),
}

impl Portion {
    /// Whether there is as much in it as there is to be.
    pub fn is_full(&self) -> bool {
        self.events.len() >= Batch::ROWS_MAX
    }

    /// The events since the last mark are of the block of this number.
    pub fn mark(&mut self, number: u64) {
        let from = self.marks.last().map_or(0, |(events, _)| *events);
        if self.events.len() > from {
            self.marks.push((self.events.len(), Mark::Rows(number)));
        }
    }

    /// Adds an event.
    pub fn push(&mut self, place: usize, row: usize, other: u32) {
        self.events.push(Event { input: position_of(place), row: position_of(row), other });
    }
}
