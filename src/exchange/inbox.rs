//! A receiver's end of an exchange: its lanes merged in the order of the input, with the watermark folded in.

use super::{LaneReceiver, Order, Parcel, Watermarks};
use crate::metric::WatermarkReport;
use crate::record::{Barrier, Batch, Segment};

/// The lanes into one shard from every producer, `[producer]`.
pub struct Inbox {
    lanes: Vec<LaneReceiver<Parcel>>,
    /// Per lane the batch taken last, of which something is left.
    heads: Vec<Option<Head>>,
    /// Segments that are due, in front of the rows that come next. Of those without rows many make one batch.
    ends: Vec<Segment>,
    /// No rows, once there has been a batch.
    empty: Option<Batch>,
    order: Order,
    watermarks: Watermarks,
    /// A barrier that some lane has come to, and others may not have.
    ahead: Option<Barrier>,
    /// The epoch that ended last for the stage.
    epoch: u64,
    /// What the stage is working on, to be sent back to their makers afterwards.
    lent: Vec<(usize, Batch)>,
}

/// Shares that come to fewer rows together make one batch: each batch costs a stage some time, however small it is.
const ROWS_MIN: usize = 512;

/// A batch, and how far it has been taken.
struct Head {
    batch: Batch,
    segment: usize,
    row: usize,
}

/// What [`Inbox::take`] yields.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "taken apart at once, never stored")]
pub enum Taken {
    /// Rows and block ends that are next in order, with their clocks.
    Batch(Batch),
    /// Everything before the barrier has been taken, and nothing behind it.
    Barrier(Barrier),
    /// The lane whose turn it is has nothing yet.
    Empty,
    /// Every lane has ended.
    Finished,
}

/// Why there are no rows now.
enum Pause {
    Barrier(Barrier),
    Empty,
    Finished,
}

impl Inbox {
    /// An inbox over these lanes; `first` is each lane's first number.
    #[must_use]
    pub fn new(lanes: Vec<LaneReceiver<Parcel>>, first: Vec<u64>, watermarks: Watermarks) -> Self {
        assert_eq!(lanes.len(), first.len(), "every lane has a first number");
        let heads = lanes.iter().map(|_| None).collect();
        Self {
            lanes,
            heads,
            ends: Vec::new(),
            empty: None,
            order: Order::new(first),
            watermarks,
            ahead: None,
            epoch: 0,
            lent: Vec::new(),
        }
    }

    /// The watermark, and what it rests on.
    #[must_use]
    pub fn report(&self) -> WatermarkReport {
        self.watermarks.report()
    }

    /// The watermarks of its splits.
    #[must_use]
    pub fn watermarks(&self) -> &Watermarks {
        &self.watermarks
    }

    /// What it waits for, in words.
    #[cfg(any(test, feature = "simulation"))]
    #[must_use]
    pub fn waits_for(&self) -> String {
        let heads: Vec<bool> = self.heads.iter().map(Option::is_some).collect();
        format!("{:?}, heads {heads:?}, ahead {:?}", self.order, self.ahead)
    }

    /// Whether every lane has ended `number` as far as batches have been taken.
    #[must_use]
    pub fn has_ended(&self, number: u64) -> bool {
        self.order.complete(number)
    }

    /// The next batch in order. The stage must be done with the batch before: it goes back to its maker.
    pub fn take(&mut self) -> Taken {
        for (lane, batch) in self.lent.drain(..) {
            self.lanes[lane].give_back(Parcel::Batch(batch));
        }
        let pause = match self.take_next() {
            Ok(batch) => return Taken::Batch(self.stamp(batch)),
            Err(pause) => pause,
        };
        if !self.ends.is_empty() {
            // What was due before has its turn first, and the pause comes again.
            let empty = self.empty.clone().expect("ends come in batches");
            let ends = std::mem::take(&mut self.ends);
            return Taken::Batch(self.stamp(Batch { segments: ends, ..empty }));
        }
        match pause {
            Pause::Barrier(barrier) => {
                (self.ahead, self.epoch) = (None, barrier.epoch);
                Taken::Barrier(barrier)
            }
            Pause::Empty => Taken::Empty,
            Pause::Finished => Taken::Finished,
        }
    }

    fn stamp(&mut self, mut batch: Batch) -> Batch {
        self.watermarks.stamp(&mut batch);
        batch
    }

    /// What comes next, behind [`Inbox::ends`]; a batch that has rows has these in front of them.
    fn take_next(&mut self) -> Result<Batch, Pause> {
        let first = self.take_share(usize::MAX)?;
        if first.len() >= ROWS_MIN {
            return Ok(first);
        }
        let mut rows = first.len();
        let mut shares = vec![first];
        while rows < ROWS_MIN
            && let Ok(share) = self.take_share(Batch::ROWS_MAX - rows)
        {
            rows += share.len();
            shares.push(share);
        }
        Ok(if shares.len() == 1 { shares.remove(0) } else { Batch::concat(&shares) })
    }

    /// The rows that are next in order and have come in one batch, if there are not more than `rows_max` of them; else
    /// why there are none now.
    fn take_share(&mut self, rows_max: usize) -> Result<Batch, Pause> {
        loop {
            if let Some(barrier) = self.ahead.filter(|barrier| self.order.has_reached(barrier.number)) {
                return Err(Pause::Barrier(barrier));
            }
            let Some(lane) = self.order.turn() else { return Err(Pause::Finished) };
            let head = match self.heads[lane].take() {
                Some(head) => head,
                None => match self.lanes[lane].take() {
                    Some(Parcel::Batch(batch)) => {
                        self.empty.get_or_insert_with(|| batch.slice(0, 0, Vec::new()));
                        Head { batch, segment: 0, row: 0 }
                    }
                    Some(Parcel::Barrier(barrier)) => {
                        // A lane may come to it after all lanes, itself included, have ended all numbers before it.
                        if barrier.epoch > self.epoch {
                            self.order.passed(lane, barrier.number);
                            self.ahead = Some(barrier);
                        }
                        continue;
                    }
                    None => return Err(Pause::Empty),
                },
            };
            if head.batch.len() - head.row > rows_max {
                self.heads[lane] = Some(head);
                return Err(Pause::Empty);
            }
            if let Some(share) = self.take_due(lane, head) {
                return Ok(share);
            }
        }
    }

    /// The rows of `head` that are due now, behind all ends that are due; what is behind them stays as the lane's head.
    /// None if nothing is due but ends, or the lane must wait its turn.
    fn take_due(&mut self, lane: usize, mut head: Head) -> Option<Batch> {
        let segments = &head.batch.segments;
        self.order.reached(lane, segments.get(head.segment).map_or(0, |segment| segment.number));
        let (allowed, open) = (self.order.allows_below(lane), self.order.others_open(lane));
        let (from, mut rows) = (head.row, 0);
        while let Some(segment) = segments.get(head.segment).filter(|segment| segment.number < allowed) {
            if let Some(end) = segment.end {
                self.order.ended(lane, end.through);
            }
            // A number ends for the stage when its last lane has ended it.
            let end = segment.end.filter(|_| segment.number < open);
            if segment.rows > 0 || end.is_some() {
                self.ends.push(Segment { end, ..*segment });
            }
            head.segment += 1;
            rows += segment.rows as usize;
        }
        head.row += rows;
        let is_rest = head.segment < segments.len();
        let due = (rows > 0).then(|| {
            let segments = std::mem::take(&mut self.ends);
            if rows == head.batch.len() {
                return Batch { segments, ..head.batch.clone() };
            }
            head.batch.slice(from, rows, segments)
        });
        if is_rest {
            self.heads[lane] = Some(head);
        } else if due.is_some() {
            self.lent.push((lane, head.batch));
        } else {
            self.lanes[lane].give_back(Parcel::Batch(head.batch));
        }
        due
    }
}
