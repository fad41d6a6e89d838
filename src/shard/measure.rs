//! What a benchmark measures of a machine: when all that a piece of the input has caused is written, and how long the steps
//! of a shard take. A machine that runs for its output has none of this.

use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};

use hdrhistogram::Histogram;

use super::step::Shard;
use crate::exchange::Order;
use crate::io::{Clock, Step, Task};
use crate::source::{Mark, Supply};
use crate::time::Now;

/// How a benchmark loads a machine, and where it gets what was measured.
#[derive(Clone)]
pub struct Load {
    /// How much a second, in the unit of the input's extent, rows where it has none; none for as fast as it is taken.
    pub rate: Option<f64>,
    /// When the first record is due where there is a rate, of [`Now::monotonic_us`].
    pub begin_us: u64,
    /// The bytes of a chunk of input, where the source reads bytes.
    pub chunk_bytes: usize,
    /// In which stretch of the run steps are measured, of [`Now::monotonic_us`].
    pub period_us: Range<u64>,
    /// Takes the pieces of the input whose output is written, in the order of the input; only where there is a rate.
    pub passed: Sender<Passed>,
    /// Takes how long the steps of a shard took, when it ends.
    pub steps: Sender<StepTimes>,
}

/// A piece of the input, all the output of which is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// How many records it has.
    pub records: u64,
    /// When its first record was due, of [`Now::monotonic_us`].
    pub first_us: u64,
    /// When its last record was due.
    pub last_us: u64,
    /// The first time at which the writer knew that it had written the last of its output.
    pub written_us: u64,
}

/// How long the steps of one shard took in which something moved, microseconds.
#[derive(Clone, Debug)]
pub struct StepTimes {
    /// Those during which a snapshot was captured or written by the shard.
    pub during_us: Histogram<u64>,
    /// All others.
    pub between_us: Histogram<u64>,
}

impl Default for StepTimes {
    fn default() -> Self {
        // Three digits of precision; they grow with the longest step.
        let empty = || Histogram::new(3).expect("three digits are possible");
        Self { during_us: empty(), between_us: empty() }
    }
}

impl Load {
    /// How the source is asked to supply its records to so many shards, and what the writer measures by.
    #[must_use]
    pub fn begin(&self, shards: usize) -> (Supply, Meter) {
        let (senders, marks): (Vec<_>, Vec<_>) = (0..shards).map(|_| channel()).unzip();
        let meter = Meter {
            heads: marks.iter().map(|_| None).collect(),
            marks,
            fresh: Vec::new(),
            passed: self.passed.clone(),
        };
        (Supply { rate: self.rate, begin_us: self.begin_us, marks: senders }, meter)
    }
}

/// Notes on the writer's thread which pieces of the input it has written all output of.
pub struct Meter {
    /// The pieces of each shard in the order of their numbers, `[shard]`.
    marks: Vec<Receiver<Mark>>,
    heads: Vec<Option<Mark>>,
    /// Pieces that have been written by now, and were not a step ago.
    fresh: Vec<Mark>,
    passed: Sender<Passed>,
}

impl Meter {
    /// Tells of the pieces found by the last [`Meter::look`]: they were written before `now`.
    pub fn tell(&mut self, now: Now) {
        for Mark { records, first_us, last_us, .. } in self.fresh.drain(..) {
            let passed = Passed { records, first_us, last_us, written_us: now.monotonic_us };
            // Where nobody measures any more, the run is being ended.
            let _ = self.passed.send(passed);
        }
    }

    /// Looks for pieces behind all of whose numbers every lane into the writer is, of all of these outputs.
    pub fn look<'a>(&mut self, outputs: impl Iterator<Item = &'a Order> + Clone) {
        let has_reached = |number| outputs.clone().all(|order| order.has_reached(number));
        for (marks, head) in self.marks.iter().zip(&mut self.heads) {
            loop {
                *head = head.take().or_else(|| marks.try_recv().ok());
                let Some(mark) = head.take_if(|mark| has_reached(mark.last.saturating_add(1))) else {
                    break;
                };
                self.fresh.push(mark);
            }
        }
    }
}

/// A shard that is measured: reads the clock behind every step.
pub struct Stopwatch {
    shard: Shard,
    clock: Clock,
    period_us: Range<u64>,
    times: StepTimes,
    tell: Sender<StepTimes>,
}

impl Stopwatch {
    /// The shard, measured for `load`.
    #[must_use]
    pub fn new(shard: Shard, clock: Clock, load: &Load) -> Self {
        let (period_us, tell) = (load.period_us.clone(), load.steps.clone());
        Self { shard, clock, period_us, times: StepTimes::default(), tell }
    }
}

impl Task for Stopwatch {
    fn step(&mut self, now: Now) -> Step {
        let captured = self.shard.cut.is_some();
        let step = self.shard.step(now);
        if step == Step::Done {
            // Where nobody measures any more, the run is being ended.
            drop(self.tell.send(std::mem::take(&mut self.times)));
        }
        if step == Step::Again && self.period_us.contains(&now.monotonic_us) {
            let during = captured || self.shard.cut.is_some();
            let times = if during { &mut self.times.during_us } else { &mut self.times.between_us };
            let taken_us = self.clock.now().monotonic_us.saturating_sub(now.monotonic_us);
            times.record(taken_us).expect("the histogram grows by itself");
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_has_passed_once_every_lane_is_behind_it() {
        let ((passed, heard), (steps, _)) = (channel(), channel());
        let load = Load { rate: Some(1.0), begin_us: 0, chunk_bytes: 1, period_us: 0..1, passed, steps };
        let (supply, mut meter) = load.begin(2);
        for (shard, last) in [(0, 15), (1, 31), (0, 47)] {
            supply.marks[shard].send(Mark { last, records: last, first_us: 1, last_us: 2 }).unwrap();
        }
        let mut order = Order::new(vec![0, 16]);
        let mut expect = |order: &Order, written_us: u64, expect: &[u64]| {
            meter.look(std::iter::once(order));
            assert_eq!(heard.try_iter().count(), 0, "told only once it is known to be written");
            meter.tell(Now { monotonic_us: written_us, wall_us: 0 });
            let told: Vec<Passed> = heard.try_iter().collect();
            assert!(told.iter().all(|told| told.written_us == written_us));
            assert_eq!(told.iter().map(|told| told.records).collect::<Vec<_>>(), expect);
        };
        expect(&order, 5, &[]);
        order.ended(0, 31);
        expect(&order, 6, &[15]);
        order.ended(1, 31);
        expect(&order, 7, &[31]);
        order.ended(1, 63);
        order.ended(0, 47);
        expect(&order, 8, &[47]);
    }
}
