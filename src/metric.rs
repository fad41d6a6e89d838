//! Counters of a shard: written by the shard alone, read by the control plane.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::time::WATERMARK_MIN;

/// What one shard has done so far. Aligned so that no two shards write to one cache line.
#[derive(Debug)]
#[repr(align(128))]
pub struct ShardMetrics {
    /// Records read, bad ones included.
    pub rows_in: Counter,
    /// Rows handed to the sink.
    pub rows_out: Counter,
    /// Bytes read.
    pub bytes_in: Counter,
    /// Records that went to quarantine.
    pub rejected: Counter,
    /// Rows dropped because their window had fired.
    pub late: Counter,
    /// What the steps that keep state keep here, in the order of the data.
    pub states: Vec<StateGauge>,
    watermark_ms: AtomicI64,
}

impl Default for ShardMetrics {
    fn default() -> Self {
        Self::new(0)
    }
}

impl ShardMetrics {
    /// Nothing done yet, with so many steps that keep state.
    #[must_use]
    pub fn new(states: usize) -> Self {
        Self {
            rows_in: Counter::default(),
            rows_out: Counter::default(),
            bytes_in: Counter::default(),
            rejected: Counter::default(),
            late: Counter::default(),
            states: (0..states).map(|_| StateGauge::default()).collect(),
            watermark_ms: AtomicI64::new(WATERMARK_MIN),
        }
    }

    /// Notes the watermark of the shard's last keyed step, milliseconds.
    pub fn set_watermark_ms(&self, watermark_ms: i64) {
        self.watermark_ms.store(watermark_ms, Ordering::Relaxed);
    }

    /// The watermark noted last, milliseconds; [`WATERMARK_MIN`] where there is none.
    #[must_use]
    pub fn watermark_ms(&self) -> i64 {
        self.watermark_ms.load(Ordering::Relaxed)
    }
}

/// How much one step keeps on one shard.
#[derive(Debug)]
pub struct StateGauge {
    /// Entries now.
    pub entries: Counter,
    /// Bytes now.
    pub bytes: Counter,
    /// The most entries there have been.
    pub entries_max: Counter,
    /// The most bytes there have been.
    pub bytes_max: Counter,
    next_close_ms: AtomicI64,
}

/// Stands for no window that is open.
const NO_WINDOW: i64 = i64::MAX;

impl Default for StateGauge {
    fn default() -> Self {
        Self {
            entries: Counter::default(),
            bytes: Counter::default(),
            entries_max: Counter::default(),
            bytes_max: Counter::default(),
            next_close_ms: AtomicI64::new(NO_WINDOW),
        }
    }
}

impl StateGauge {
    /// Notes what is kept now; `next_close_ms` is the end of the window that closes next.
    pub fn set(&self, entries: u64, bytes: u64, next_close_ms: Option<i64>) {
        self.entries.set(entries);
        self.bytes.set(bytes);
        self.entries_max.set(self.entries_max.get().max(entries));
        self.bytes_max.set(self.bytes_max.get().max(bytes));
        self.next_close_ms.store(next_close_ms.unwrap_or(NO_WINDOW), Ordering::Relaxed);
    }

    /// The end of the window that closes next, milliseconds of event time; none where none is open.
    #[must_use]
    pub fn next_close_ms(&self) -> Option<i64> {
        let next_ms = self.next_close_ms.load(Ordering::Relaxed);
        (next_ms != NO_WINDOW).then_some(next_ms)
    }
}

/// A number that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; called by the owning thread only, so no read-modify-write instruction is needed.
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
