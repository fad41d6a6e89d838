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
    /// Groups held in keyed state.
    pub groups: Counter,
    watermark_ms: AtomicI64,
}

impl Default for ShardMetrics {
    fn default() -> Self {
        Self {
            rows_in: Counter::default(),
            rows_out: Counter::default(),
            bytes_in: Counter::default(),
            rejected: Counter::default(),
            late: Counter::default(),
            groups: Counter::default(),
            watermark_ms: AtomicI64::new(WATERMARK_MIN),
        }
    }
}

impl ShardMetrics {
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
