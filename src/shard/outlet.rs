//! Where a stage's rows go: to the shards that own their keys, or to the sink.

use hdrhistogram::Histogram;

use super::encode::{RecordEncoder, Records};
use crate::exchange::{LaneSender, Outbox};
use crate::metric::ShardMetrics;
use crate::record::{Barrier, Batch, Segment};
use crate::sink::RowSink;
use crate::time::Now;

/// Encoded rows on their way to the writer.
#[derive(Debug, Default)]
pub struct Block {
    /// Whole records.
    pub records: Records,
    /// The number of the block of input that caused the first of them.
    pub number: u64,
    /// The lane sends nothing more up to and including this number; none where the block of input goes on.
    pub through: Option<u64>,
    /// Set where an epoch ends for the lane, behind `records`.
    pub barrier: Option<Barrier>,
}

/// The end of a stage.
#[expect(clippy::large_enum_variant, reason = "one a stage, in its place from start to end")]
pub enum Outlet {
    /// Rows move to the next stage.
    Exchange(Outbox),
    /// Rows are encoded for the writer.
    Bytes(Encoder),
    /// Rows are taken on the shard.
    Rows(Box<dyn RowSink>),
}

/// All ends of a stage.
pub struct Outlets {
    /// `[exit]`
    all: Vec<Outlet>,
    /// How many rows sinks have got.
    rows: u64,
}

/// Encodes the rows of one shard.
pub struct Encoder {
    /// None where the sink drops rows, and a benchmark has to know how far it is.
    encode: Option<RecordEncoder>,
    lane: LaneSender<Block>,
    /// The last number that has ended and of which the writer has not been told, and for how many batches.
    held: Option<u64>,
    batches_held: usize,
    /// How many blocks of how many bytes have been sent without waking the writer.
    unrung: (usize, usize),
}

/// For how many batches without a row the writer is not told that their numbers have ended: to be woken costs it more
/// than they do.
const BATCHES_HELD_MAX: usize = 16;

/// For how many blocks, and for how many bytes of them, a busy shard leaves a writer asleep that has nothing else to do.
const UNRUNG_MAX: (usize, usize) = (16, 512 << 10);

impl Encoder {
    /// An encoder that sends to the writer over `lane`, nothing but numbers where there is no `encode`.
    #[must_use]
    pub fn new(encode: Option<RecordEncoder>, lane: LaneSender<Block>) -> Self {
        Self { encode, lane, held: None, batches_held: 0, unrung: (0, 0) }
    }

    fn send(&mut self, batch: &Batch, now: Now) {
        let (Some(first), Some(last)) = (batch.segments.first(), batch.segments.last()) else { return };
        let through = last.end.map(|end| end.through).or_else(|| last.number.checked_sub(1));
        if batch.is_empty() && last.number != Segment::LAST && self.batches_held < BATCHES_HELD_MAX {
            self.held = through.or(self.held);
            self.batches_held += 1;
            return;
        }
        // What was held is said with this block: the numbers of a lane ascend.
        self.held = None;
        self.batches_held = 0;
        let mut records = self.buffer();
        if let Some(encode) = self.encode.as_mut().filter(|_| !batch.is_empty()) {
            encode.encode(&batch.rows, now.wall_ms(), &mut records);
        }
        self.unrung.0 += 1;
        self.unrung.1 += records.len();
        self.lane.send_quietly(Block { records, number: first.number, through, barrier: None });
        let is_due = self.unrung.0 >= UNRUNG_MAX.0 || self.unrung.1 >= UNRUNG_MAX.1;
        if is_due || last.number == Segment::LAST || !self.lane.is_clear() {
            self.ring();
        }
    }

    fn ring(&mut self) {
        self.unrung = (0, 0);
        self.lane.ring();
    }

    /// Tells the writer what was held, and wakes it. Returns whether anything was held.
    fn settle(&mut self) -> bool {
        if self.unrung.0 > 0 {
            self.ring();
        }
        let Some(through) = self.held.take() else { return false };
        self.batches_held = 0;
        let records = self.buffer();
        self.lane.send(Block { records, number: through, through: Some(through), barrier: None });
        true
    }

    /// Ends an epoch.
    fn send_barrier(&mut self, barrier: Barrier) {
        self.settle();
        let records = self.buffer();
        self.lane.send(Block { records, number: barrier.number, through: None, barrier: Some(barrier) });
    }

    /// An empty buffer: one that the writer has emptied, if there is one.
    fn buffer(&mut self) -> Records {
        self.lane.take_used().map(|block| block.records.cleared()).unwrap_or_default()
    }
}

impl Outlets {
    /// The ends of a stage, `[exit]`.
    #[must_use]
    pub fn new(all: Vec<Outlet>) -> Self {
        Self { all, rows: 0 }
    }

    /// Whether all that was sent has gone, so that the stage may take more input.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.all.iter().all(Outlet::is_clear)
    }

    /// Whether more of what the stage makes of the input it has taken may be sent. Where there are several exits it always
    /// may: what goes by one can be waited for by those who are to make room at another (see [`crate::exchange`]).
    #[must_use]
    pub fn takes_output(&self) -> bool {
        self.all.len() > 1 || self.is_clear()
    }

    /// What waits for room, in words.
    #[cfg(any(test, feature = "simulation"))]
    pub fn waits_for(&self) -> String {
        self.all.iter().map(Outlet::waits_for).collect()
    }

    /// Offers what waits for room. Returns whether anything went.
    pub fn offer(&mut self) -> bool {
        self.all.iter_mut().fold(false, |sent, outlet| outlet.offer() | sent)
    }

    /// Sends what was held back while there was more to come; called when the shard has nothing else to do. Returns
    /// whether there was anything.
    pub fn settle(&mut self) -> bool {
        self.all.iter_mut().fold(false, |settled, outlet| outlet.settle() | settled)
    }

    /// Ends an epoch, behind all that was sent.
    pub fn send_barrier(&mut self, barrier: Barrier) {
        self.all.iter_mut().for_each(|outlet| outlet.send_barrier(barrier));
    }

    /// Sends a batch by an exit; what a sink gets is counted.
    pub fn send(&mut self, exit: usize, batch: Batch, now: Now, metrics: &ShardMetrics) {
        let (outlet, rows) = (&mut self.all[exit], batch.len() as u64);
        if !matches!(outlet, Outlet::Exchange(_)) {
            self.rows += rows;
            metrics.rows_out.add(rows);
        }
        outlet.send(batch, now);
    }

    /// How many rows sinks have got.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What a sink has measured that takes rows on the shard, microseconds.
    pub fn latencies_us(&mut self) -> Option<Histogram<u64>> {
        self.all.iter_mut().find_map(|outlet| match outlet {
            Outlet::Rows(sink) => sink.latencies_us(),
            _ => None,
        })
    }
}

impl Outlet {
    fn is_clear(&self) -> bool {
        match self {
            Self::Exchange(outbox) => outbox.is_clear(),
            Self::Bytes(encoder) => encoder.lane.is_clear(),
            Self::Rows(_) => true,
        }
    }

    #[cfg(any(test, feature = "simulation"))]
    fn waits_for(&self) -> String {
        match self {
            Self::Bytes(Encoder { lane, .. }) if !lane.is_clear() => {
                let blocks: Vec<_> =
                    lane.waiting().map(|block| (block.number, block.through, block.barrier)).collect();
                format!("room for {blocks:?}, ")
            }
            _ if self.is_clear() => String::new(),
            _ => "room, ".to_owned(),
        }
    }

    fn offer(&mut self) -> bool {
        match self {
            Self::Exchange(outbox) => outbox.offer(),
            Self::Bytes(encoder) => encoder.lane.offer(),
            Self::Rows(_) => false,
        }
    }

    fn settle(&mut self) -> bool {
        match self {
            Self::Exchange(outbox) => outbox.settle(),
            Self::Bytes(encoder) => encoder.settle(),
            Self::Rows(_) => false,
        }
    }

    fn send_barrier(&mut self, barrier: Barrier) {
        match self {
            Self::Exchange(outbox) => outbox.send_barrier(barrier),
            Self::Bytes(encoder) => encoder.send_barrier(barrier),
            Self::Rows(_) => {}
        }
    }

    fn send(&mut self, batch: Batch, now: Now) {
        match self {
            Self::Exchange(outbox) => outbox.send(batch),
            Self::Bytes(encoder) => encoder.send(&batch, now),
            Self::Rows(sink) => {
                if !batch.is_empty() {
                    sink.write(&batch.rows, now);
                }
            }
        }
    }
}
