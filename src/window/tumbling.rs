//! Windows of one size, one after the other.

/// Windows `[start, start + size)` that cover time without overlap, one of which starts at `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tumbling {
    size_ms: i64,
    offset_ms: i64,
}

impl Tumbling {
    /// Windows of `size_ms` (at least 1), shifted by `offset_ms`.
    #[must_use]
    pub fn new(size_ms: i64, offset_ms: i64) -> Self {
        assert!(size_ms > 0, "a window has a size");
        Self { size_ms, offset_ms: offset_ms.rem_euclid(size_ms) }
    }

    /// The start of the window that holds `time_ms`, or none where it is before the beginning of representable time.
    #[must_use]
    pub fn start_ms(&self, time_ms: i64) -> Option<i64> {
        let into = time_ms.rem_euclid(self.size_ms) - self.offset_ms;
        let into = if into < 0 { into + self.size_ms } else { into };
        let start_ms = time_ms.checked_sub(into)?;
        start_ms.checked_add(self.size_ms).map(|_| start_ms)
    }

    /// The end of the window that starts at `start_ms`, exclusive.
    #[must_use]
    pub fn end_ms(&self, start_ms: i64) -> i64 {
        start_ms + self.size_ms
    }

    /// Whether the window that starts at `start_ms` has fired once the watermark is `watermark_ms`.
    #[must_use]
    pub fn has_fired(&self, start_ms: i64, watermark_ms: i64) -> bool {
        self.end_ms(start_ms) - 1 <= watermark_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_exactly_the_window_that_says_so() {
        for size in [1, 7, 10_000] {
            for offset in [-13, 0, 3, 9_999] {
                let windows = Tumbling::new(size, offset);
                for time in (-25_000..25_000).step_by(97) {
                    let start = windows.start_ms(time).unwrap();
                    assert!(start <= time && time < windows.end_ms(start), "{size} {offset} {time}");
                    assert_eq!((start - offset).rem_euclid(size), 0);
                }
            }
        }
    }

    #[test]
    fn a_window_fires_when_the_watermark_reaches_its_last_millisecond() {
        let windows = Tumbling::new(10, 0);
        assert!(!windows.has_fired(0, 8) && windows.has_fired(0, 9));
    }

    #[test]
    fn the_edges_of_time_are_outside() {
        let windows = Tumbling::new(10, 0);
        assert_eq!(windows.start_ms(i64::MIN), None);
        assert_eq!(windows.start_ms(i64::MAX), None);
    }
}
