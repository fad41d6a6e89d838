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

/// A watermark that holds everything back.
pub const WATERMARK_MIN: i64 = i64::MIN;
/// The watermark after the end of the input: nothing more is expected.
pub const WATERMARK_MAX: i64 = i64::MAX;
