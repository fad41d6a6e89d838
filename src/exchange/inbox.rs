//! A receiver's end of one exchange or more: their lanes merged in the order of the input, with the watermark folded in.
//!
//! Each exchange has a port of its own. A number ends for a port with the last of its lanes, which advances the watermark
//! of what comes by it; it ends for the stage with the last lane of all. Of one number the rows of a port come before those of
//! the ports behind it.
//!
//! What has come is handed over as few batches as can be, since each costs a stage some time, however small it is: rows of
//! ports with the same columns one behind the other; for an operator that tells its ports apart, a batch of each
//! ([`Interleaved`]).

use super::{LaneReceiver, Order, Parcel, Watermarks};
use crate::metric::WatermarkReport;
use crate::record::{Barrier, Batch, Interleaved, Segment};
use crate::time::SegmentClock;

/// The lanes into one shard from every producer of every port.
pub struct Inbox {
    /// Those of a port stand together, one for each shard.
    lanes: Vec<LaneReceiver<Parcel>>,
    /// How many lanes each port has: as many as there are shards.
    shards: usize,
    /// Whether the stage tells its ports apart.
    interleaves: bool,
    /// Per lane the batch taken last, of which something is left.
    heads: Vec<Option<Head>>,
    /// Segments that are due, in front of the rows that come next. Of those without rows many make one batch.
    ends: Vec<Due>,
    /// No rows, once there has been a batch. `[port]`
    empty: Vec<Option<Batch>>,
    order: Order,
    watermarks: Watermarks,
    /// The watermark, where it has moved since the last end for the stage.
    advanced_ms: Option<i64>,
    /// A barrier that some lane has come to, and others may not have.
    ahead: Option<Barrier>,
    /// The epoch that ended last for the stage.
    epoch: u64,
    /// What the stage is working on, to be sent back to their makers afterwards.
    lent: Vec<(usize, Batch)>,
}

/// A segment that is due.
struct Due {
    segment: Segment,
    port: usize,
    /// Whether the number ends for the stage, if it ends for the port.
    is_whole: bool,
}

/// Rows of one port, and the segments they are in with what is due before them.
struct Share {
    port: usize,
    /// Its own segments are of no account.
    rows: Batch,
    due: Vec<Due>,
}

/// Shares that come to fewer rows together are handed over together.
const ROWS_MIN: usize = 512;

/// As [`ROWS_MIN`], where shares of several ports make a batch each.
const ROWS_MIN_INTERLEAVED: usize = 1024;

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
    /// Rows and block ends that are next in order, with their clocks, and the port by which they come, or one like it.
    Batch(usize, Batch),
    /// The same of several ports, for a stage that tells them apart.
    Interleaved(Interleaved),
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
    /// An inbox over the lanes of each port, `[port][producer]`; `first` is each lane's first number, `watermarks` are
    /// those of all ports ([`Watermarks::joined`]).
    ///
    /// # Panics
    ///
    /// If the ports do not have equally many lanes, or not each of them has watermarks.
    #[must_use]
    pub fn new(ports: Vec<Vec<LaneReceiver<Parcel>>>, first: Vec<Vec<u64>>, watermarks: Watermarks) -> Self {
        let shards = ports[0].len();
        assert!(ports.iter().all(|lanes| lanes.len() == shards), "every port has a lane from every shard");
        assert_eq!((first.len(), watermarks.ports()), (ports.len(), ports.len()), "every port has both");
        let empty = ports.iter().map(|_| None).collect();
        let lanes: Vec<_> = ports.into_iter().flatten().collect();
        Self {
            heads: lanes.iter().map(|_| None).collect(),
            lanes,
            shards,
            interleaves: false,
            ends: Vec::new(),
            empty,
            order: Order::new(first.into_iter().flatten().collect()),
            watermarks,
            advanced_ms: None,
            ahead: None,
            epoch: 0,
            lent: Vec::new(),
        }
    }

    /// For a stage that tells its ports apart: yields [`Taken::Interleaved`] in place of [`Taken::Batch`].
    #[must_use]
    pub fn interleaved(self) -> Self {
        Self { interleaves: true, ..self }
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
        let pause = match self.take_shares() {
            Ok(shares) => return self.hand_over(shares),
            Err(pause) => pause,
        };
        if let Some(Due { port, .. }) = self.ends.first() {
            // What was due before has its turn first, and the pause comes again.
            let (port, due) = (*port, std::mem::take(&mut self.ends));
            let rows = self.empty[port].clone().expect("ends come in batches");
            return self.hand_over(vec![Share { port, rows, due }]);
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

    /// Puts shares together, in as few batches as the stage can take.
    fn hand_over(&mut self, shares: Vec<Share>) -> Taken {
        let mut places: Vec<(usize, Vec<Batch>)> = Vec::new();
        let mut turns: Vec<(usize, usize)> = Vec::new();
        for Share { port, mut rows, due } in shares {
            (rows.segments, rows.clocks) = self.stamp(&due);
            // Where ports are not told apart, what has been taken goes by the first.
            let known = places.iter().position(|(other, _)| *other == port || !self.interleaves);
            let place = known.unwrap_or_else(|| {
                places.push((port, Vec::new()));
                places.len() - 1
            });
            match turns.last_mut() {
                Some((last, segments)) if *last == place => *segments += rows.segments.len(),
                _ => turns.push((place, rows.segments.len())),
            }
            places[place].1.push(rows);
        }
        let mut batches = places.into_iter().map(|(port, rows)| (port, Batch::concat(rows)));
        if self.interleaves {
            return Taken::Interleaved(Interleaved { batches: batches.collect(), turns });
        }
        let (port, batch) = batches.next().expect("there is a share");
        Taken::Batch(port, batch)
    }

    /// Gives what is due its clocks. What ends for a port only advances the watermark and is no end for the stage, which
    /// learns of it with the next end.
    fn stamp(&mut self, due: &[Due]) -> (Vec<Segment>, Vec<SegmentClock>) {
        let stamped = due.iter().filter_map(|due| {
            let (segment, clock) = (due.segment, self.watermarks.pass(&due.segment));
            let end = segment.end.filter(|_| due.is_whole);
            if segment.end.is_some() {
                self.advanced_ms = clock.after_ms.or(self.advanced_ms);
            }
            let after_ms = end.and_then(|_| self.advanced_ms.take());
            let counts = segment.rows > 0 || end.is_some();
            counts.then_some((Segment { end, ..segment }, SegmentClock { after_ms, ..clock }))
        });
        stamped.unzip()
    }

    /// What comes next; the first share has [`Inbox::ends`] in front of it.
    fn take_shares(&mut self) -> Result<Vec<Share>, Pause> {
        let first = self.take_share(usize::MAX, None)?;
        let (port, mut count) = (first.port, first.rows.len());
        let mut shares = vec![first];
        let rows_min = if self.interleaves { ROWS_MIN_INTERLEAVED } else { ROWS_MIN };
        while count < rows_min
            && let Ok(share) = self.take_share(Batch::ROWS_MAX - count, Some(port))
        {
            count += share.rows.len();
            shares.push(share);
        }
        Ok(shares)
    }

    /// Whether rows of these ports can be handed over together.
    fn go_together(&self, one: usize, other: usize) -> bool {
        self.interleaves
            || one == other
            || match (&self.empty[one], &self.empty[other]) {
                (Some(one), Some(other)) => {
                    one.rows.schema() == other.rows.schema() && one.times.is_some() == other.times.is_some()
                }
                _ => false,
            }
    }

    /// The rows that are next in order and have come in one batch, if there are not more than `rows_max` of them, and
    /// they can go with those of a port; else why there are none now.
    fn take_share(&mut self, rows_max: usize, with: Option<usize>) -> Result<Share, Pause> {
        loop {
            if let Some(barrier) = self.ahead.filter(|barrier| self.order.has_reached(barrier.number)) {
                return Err(Pause::Barrier(barrier));
            }
            let Some(lane) = self.order.turn() else { return Err(Pause::Finished) };
            let head = match self.heads[lane].take() {
                Some(head) => head,
                None => match self.lanes[lane].take() {
                    Some(Parcel::Batch(batch)) => {
                        self.empty[lane / self.shards].get_or_insert_with(|| batch.slice(0, 0, Vec::new()));
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
            let rows = head.batch.len() - head.row;
            let is_alone = with.is_some_and(|port| !self.go_together(port, lane / self.shards));
            if rows > rows_max || rows > 0 && is_alone {
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
    fn take_due(&mut self, lane: usize, mut head: Head) -> Option<Share> {
        let segments = &head.batch.segments;
        self.order.reached(lane, segments.get(head.segment).map_or(0, |segment| segment.number));
        let port = lane / self.shards;
        let (allowed, open) =
            (self.order.allows_below(lane), self.order.others_open(lane, 0..self.lanes.len()));
        let open_of_port = self.order.others_open(lane, port * self.shards..(port + 1) * self.shards);
        let (from, mut rows) = (head.row, 0);
        while let Some(segment) = segments.get(head.segment).filter(|segment| segment.number < allowed) {
            if let Some(end) = segment.end {
                self.order.ended(lane, end.through);
            }
            // A number ends for a port, and for the stage, when the last lane has ended it.
            let end = segment.end.filter(|_| segment.number < open_of_port);
            if segment.rows > 0 || end.is_some() {
                let segment =
                    Segment { end, split: self.watermarks.first_split(port) + segment.split, ..*segment };
                let is_whole = end.is_none() || segment.number < open;
                self.ends.push(Due { segment, port, is_whole });
            }
            head.segment += 1;
            rows += segment.rows as usize;
        }
        head.row += rows;
        let is_rest = head.segment < segments.len();
        let share = (rows > 0).then(|| {
            let all = rows == head.batch.len();
            let batch = if all { head.batch.clone() } else { head.batch.slice(from, rows, Vec::new()) };
            Share { port, rows: batch, due: std::mem::take(&mut self.ends) }
        });
        if is_rest {
            self.heads[lane] = Some(head);
        } else if share.is_some() {
            self.lent.push((lane, head.batch));
        } else {
            self.lanes[lane].give_back(Parcel::Batch(head.batch));
        }
        share
    }
}
