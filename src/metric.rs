//! Counters of a shard: written by the shard alone, read by the control plane; and how sizes are told.

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
    /// Records that could not be read and went into a stream.
    pub routed: Counter,
    /// Rows dropped because their window had fired.
    pub late: Counter,
    /// Rows that a `throttle` has dropped.
    pub throttled: Counter,
    /// What the steps that keep state keep here, in the order of the data.
    pub states: Vec<StateGauge>,
    /// The watermark behind the first exchange.
    pub watermark: WatermarkGauge,
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
            routed: Counter::default(),
            late: Counter::default(),
            throttled: Counter::default(),
            states: (0..states).map(|_| StateGauge::default()).collect(),
            watermark: WatermarkGauge::default(),
        }
    }
}

/// A watermark, and what it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkReport {
    /// The watermark, milliseconds; [`WATERMARK_MIN`] before it has begun.
    pub watermark_ms: i64,
    /// The split that holds it back: the active one whose newest record is the oldest. None where no split is active.
    pub held_by: Option<usize>,
    /// The event time of that split's newest record, milliseconds; `i64::MIN` where it has none.
    pub newest_ms: i64,
    /// How many splits have had no record and have not ended.
    pub empty: u64,
    /// How many splits are silent and left out.
    pub idle: u64,
    /// How many splits have ended.
    pub finished: u64,
}

/// A [`WatermarkReport`] that one thread writes and any thread reads, number by number: for people, not for decisions.
#[derive(Debug)]
pub struct WatermarkGauge {
    watermark_ms: AtomicI64,
    held_by: AtomicU64,
    newest_ms: AtomicI64,
    empty: Counter,
    idle: Counter,
    finished: Counter,
}

/// Stands for no split.
const NO_SPLIT: u64 = u64::MAX;

impl Default for WatermarkGauge {
    fn default() -> Self {
        Self {
            watermark_ms: AtomicI64::new(WATERMARK_MIN),
            held_by: AtomicU64::new(NO_SPLIT),
            newest_ms: AtomicI64::new(i64::MIN),
            empty: Counter::default(),
            idle: Counter::default(),
            finished: Counter::default(),
        }
    }
}

impl WatermarkGauge {
    /// Notes how it stands.
    pub fn set(&self, report: &WatermarkReport) {
        self.watermark_ms.store(report.watermark_ms, Ordering::Relaxed);
        self.held_by.store(report.held_by.map_or(NO_SPLIT, |split| split as u64), Ordering::Relaxed);
        self.newest_ms.store(report.newest_ms, Ordering::Relaxed);
        self.empty.set(report.empty);
        self.idle.set(report.idle);
        self.finished.set(report.finished);
    }

    /// What was noted last.
    #[must_use]
    pub fn get(&self) -> WatermarkReport {
        WatermarkReport {
            watermark_ms: self.watermark_ms.load(Ordering::Relaxed),
            held_by: usize::try_from(self.held_by.load(Ordering::Relaxed))
                .ok()
                .filter(|split| *split as u64 != NO_SPLIT),
            newest_ms: self.newest_ms.load(Ordering::Relaxed),
            empty: self.empty.get(),
            idle: self.idle.get(),
            finished: self.finished.get(),
        }
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

/// `1234567` bytes as `1.2 MiB`.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut tenths, mut unit) = (u128::from(bytes) * 10, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths = tenths.div_ceil(1024);
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_digit_behind_the_point() {
        for (bytes, expect) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (8 << 30, "8.0 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(size_text(bytes), expect);
        }
    }
}
