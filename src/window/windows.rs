//! Windows that lie fixed in time: tumbling, sliding, cumulative. Each is a run of slices, so that a row is counted
//! once, in its slice, however many windows hold it (Carbone et al., "Cutty: Aggregate Sharing for User-Defined
//! Windows", 2016, and Flink's window TVFs).

/// Windows of one size that begin at regular times, cut into slices.
///
/// All times are milliseconds since 1970-01-01T00:00:00 and lie within ± [`Windows::TIME_MAX`]; what does not is in no
/// window. A window `[start, end)` is known by its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    size_ms: i64,
    every_ms: i64,
    offset_ms: i64,
    slice_ms: i64,
    is_cumulative: bool,
}

/// Why there are no such windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowsError {
    /// A size or step is 0 or longer than [`Windows::SIZE_MAX`].
    Size,
    /// A cumulative window's size is not a multiple of its step.
    Multiple,
    /// A window has more than [`Windows::SLICES_MAX`] slices.
    Slices,
}

impl Windows {
    /// The longest window: a thousand years.
    pub const SIZE_MAX: i64 = 1000 * 366 * 24 * 3_600_000;
    /// Times further from 1970 than this are in no window.
    pub const TIME_MAX: i64 = i64::MAX / 4;
    /// The most slices of a window.
    pub const SLICES_MAX: i64 = 1_000_000;

    /// Windows of `size_ms`, one after the other, one of which starts at `offset_ms`.
    ///
    /// # Errors
    ///
    /// If the size is not between 1 and [`Windows::SIZE_MAX`].
    pub fn tumbling(size_ms: i64, offset_ms: i64) -> Result<Self, WindowsError> {
        Self::sliding(size_ms, size_ms, offset_ms)
    }

    /// Windows of `size_ms`, one of which starts every `every_ms`, one of them at `offset_ms`.
    ///
    /// # Errors
    ///
    /// If the size or the step is not between 1 and [`Windows::SIZE_MAX`], or a window has too many slices.
    pub fn sliding(size_ms: i64, every_ms: i64, offset_ms: i64) -> Result<Self, WindowsError> {
        let range = 1..=Self::SIZE_MAX;
        if !range.contains(&size_ms) || !range.contains(&every_ms) {
            return Err(WindowsError::Size);
        }
        let slice_ms = greatest_common_divisor(size_ms, every_ms);
        if size_ms / slice_ms > Self::SLICES_MAX {
            return Err(WindowsError::Slices);
        }
        let offset_ms = offset_ms.rem_euclid(every_ms);
        Ok(Self { size_ms, every_ms, offset_ms, slice_ms, is_cumulative: false })
    }

    /// Windows that begin every `size_ms`, one of them at `offset_ms`, and end after `every_ms`, twice that, … up to
    /// `size_ms`.
    ///
    /// # Errors
    ///
    /// As for [`Windows::sliding`], and if the size is no multiple of the step.
    pub fn cumulative(size_ms: i64, every_ms: i64, offset_ms: i64) -> Result<Self, WindowsError> {
        let windows = Self::sliding(size_ms, every_ms, offset_ms)?;
        if size_ms % every_ms != 0 {
            return Err(WindowsError::Multiple);
        }
        Ok(Self { offset_ms: offset_ms.rem_euclid(size_ms), is_cumulative: true, ..windows })
    }

    /// How many slices the longest window has.
    #[must_use]
    pub fn slices(&self) -> i64 {
        self.size_ms / self.slice_ms
    }

    /// The number of the slice that holds a time; none where no window holds it.
    #[must_use]
    pub fn slice_of(&self, time_ms: i64) -> Option<i64> {
        if !(-Self::TIME_MAX..=Self::TIME_MAX).contains(&time_ms) {
            return None;
        }
        let slice = (time_ms - self.offset_ms).div_euclid(self.slice_ms);
        // Where the step is longer than the window there are times between them.
        (self.every_ms <= self.size_ms || self.first_end_ms(slice) <= self.last_end_ms(slice))
            .then_some(slice)
    }

    /// The times of a slice: from the first, to behind the last.
    #[must_use]
    pub fn slice_span_ms(&self, slice: i64) -> (i64, i64) {
        (self.start_of(slice), self.start_of(slice + 1))
    }

    /// The end of the first window that holds a slice.
    #[must_use]
    pub fn first_end_ms(&self, slice: i64) -> i64 {
        let start_ms = self.start_of(slice);
        if self.is_cumulative {
            return start_ms + self.every_ms;
        }
        // The first window that starts after this one's last start that ends too early.
        let earliest_ms = start_ms + self.slice_ms - self.size_ms - self.offset_ms;
        earliest_ms.div_euclid(self.every_ms) * self.every_ms
            + if earliest_ms.rem_euclid(self.every_ms) == 0 { 0 } else { self.every_ms }
            + self.offset_ms
            + self.size_ms
    }

    /// The end of the last window that holds a slice: once it has fired, a row for the slice is late.
    #[must_use]
    pub fn last_end_ms(&self, slice: i64) -> i64 {
        let every_ms = if self.is_cumulative { self.size_ms } else { self.every_ms };
        let into_ms = (self.start_of(slice) - self.offset_ms).rem_euclid(every_ms);
        self.start_of(slice) - into_ms + self.size_ms
    }

    /// The end of the first window that holds a slice and ends after `after_ms`; none where there is none.
    #[must_use]
    pub fn next_end_ms(&self, slice: i64, after_ms: i64) -> Option<i64> {
        let (first_ms, last_ms) = (self.first_end_ms(slice), self.last_end_ms(slice));
        if after_ms < first_ms {
            return Some(first_ms);
        }
        if after_ms >= last_ms {
            return None;
        }
        let steps = (after_ms - first_ms) / self.every_ms + 1;
        Some(first_ms + steps * self.every_ms)
    }

    /// The start of the window that ends at `end_ms`.
    #[must_use]
    pub fn start_ms(&self, end_ms: i64) -> i64 {
        if self.is_cumulative {
            return end_ms - 1 - (end_ms - 1 - self.offset_ms).rem_euclid(self.size_ms);
        }
        end_ms - self.size_ms
    }

    /// The slices of the window that ends at `end_ms`: from the first, to behind the last.
    #[must_use]
    pub fn slices_of(&self, end_ms: i64) -> (i64, i64) {
        let slice_at = |time_ms: i64| (time_ms - self.offset_ms) / self.slice_ms;
        debug_assert_eq!((end_ms - self.offset_ms) % self.slice_ms, 0, "a window ends where a slice does");
        (slice_at(self.start_ms(end_ms)), slice_at(end_ms))
    }

    fn start_of(&self, slice: i64) -> i64 {
        slice * self.slice_ms + self.offset_ms
    }
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The windows that hold a time, found by trying all starts near it.
    fn brute_force(windows: &Windows, time_ms: i64) -> Vec<(i64, i64)> {
        let (size, every) = (windows.size_ms, windows.every_ms);
        let mut found = Vec::new();
        for start in time_ms - size..=time_ms {
            let step = if windows.is_cumulative { size } else { every };
            if (start - windows.offset_ms).rem_euclid(step) != 0 {
                continue;
            }
            let sizes = if windows.is_cumulative {
                (1..=size / every).map(|n| n * every).collect()
            } else {
                vec![size]
            };
            found.extend(sizes.iter().map(|size| (start, start + size)).filter(|(_, end)| time_ms < *end));
        }
        found.sort_by_key(|(_, end)| *end);
        found
    }

    #[test]
    fn every_time_is_in_exactly_the_windows_that_hold_it() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..3000 {
            let (size, every, offset) = (random.i64(1..40), random.i64(1..20), random.i64(-50..50));
            let windows = if random.bool() {
                Windows::cumulative(size * every, every, offset).unwrap()
            } else {
                Windows::sliding(size, every, offset).unwrap()
            };
            for _ in 0..20 {
                let time = random.i64(-300..300);
                let expect = brute_force(&windows, time);
                let Some(slice) = windows.slice_of(time) else {
                    assert_eq!(expect, [], "{windows:?} {time}");
                    continue;
                };
                let mut found = Vec::new();
                let mut after = i64::MIN;
                while let Some(end) = windows.next_end_ms(slice, after) {
                    let (first, behind) = windows.slices_of(end);
                    assert!(first <= slice && slice < behind, "{windows:?} {time}");
                    found.push((windows.start_ms(end), end));
                    after = end;
                }
                assert_eq!(found, expect, "{windows:?} {time}");
                assert_eq!(windows.last_end_ms(slice), expect.last().unwrap().1);
            }
        }
    }

    #[test]
    fn ends_are_found_from_anywhere() {
        let windows = Windows::sliding(10, 2, 0).unwrap();
        assert_eq!(windows.next_end_ms(0, 1), Some(2));
        assert_eq!(windows.next_end_ms(0, 2), Some(4));
        assert_eq!(windows.next_end_ms(0, 3), Some(4));
        assert_eq!(windows.next_end_ms(0, 10), None);
        assert_eq!(windows.slices_of(4), (-3, 2));
    }

    #[test]
    fn impossible_windows_are_refused() {
        assert_eq!(Windows::tumbling(0, 0), Err(WindowsError::Size));
        assert_eq!(Windows::cumulative(10, 3, 0), Err(WindowsError::Multiple));
        assert_eq!(Windows::sliding(Windows::SIZE_MAX, 1, 0), Err(WindowsError::Slices));
        assert_eq!(Windows::tumbling(10, 0).unwrap().slice_of(i64::MAX), None);
        assert_eq!(Windows::tumbling(10, 0).unwrap().slice_of(i64::MIN), None);
    }
}
