//! Time as values: nothing in the core reads a clock; the edge reads it and hands it in.

/// An instant of the machine's clocks, read once by the edge and handed to the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Microseconds since an arbitrary start; never goes back.
    pub monotonic_us: u64,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub wall_us: i64,
}

impl Now {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn wall_ms(self) -> i64 {
        self.wall_us.div_euclid(1000)
    }
}

/// A duration for a person: `1h30m`, `500ms`, `0s`.
#[must_use]
pub fn duration_text(duration_ms: i64) -> String {
    let mut text = String::new();
    let mut left_ms = duration_ms.unsigned_abs();
    for (unit, unit_ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        let count = left_ms / unit_ms;
        left_ms %= unit_ms;
        if count > 0 {
            text.extend([count.to_string().as_str(), unit]);
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A watermark that holds everything back.
pub const WATERMARK_MIN: i64 = i64::MIN;
/// The watermark after the end of the input: nothing more is expected.
pub const WATERMARK_MAX: i64 = i64::MAX;

/// What a keyed step needs to know about time for the rows of one segment of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentClock {
    /// The least watermark over the other splits, milliseconds; [`WATERMARK_MAX`] where there are none.
    pub others_ms: i64,
    /// The highest event time in the segment's split before this block, milliseconds; `i64::MIN` for none.
    pub split_max_ms: i64,
    /// How far rows may be out of order, milliseconds.
    pub out_of_order_ms: i64,
    /// The watermark once the block has ended, where it ends behind this segment and moves the watermark.
    pub after_ms: Option<i64>,
}

impl SegmentClock {
    /// The watermark that a row meets when the rows before it in its block reach `seen_ms`.
    #[must_use]
    pub fn watermark_ms(&self, seen_ms: i64) -> i64 {
        watermark_of(self.split_max_ms.max(seen_ms), self.out_of_order_ms).min(self.others_ms)
    }
}

/// The watermark of a split whose highest event time is `max_ms`.
#[must_use]
pub fn watermark_of(max_ms: i64, out_of_order_ms: i64) -> i64 {
    if max_ms == i64::MIN { WATERMARK_MIN } else { max_ms.saturating_sub(out_of_order_ms) }
}
