//! Which numbers are due when: rows of time, each a list of numbers.
//!
//! A timer may go off late by one row of time and may be set again by whoever finds that it was early: what is due is
//! decided by the state of the number itself, so timers cost four bytes and are made anew from the state they belong to.

use std::collections::BTreeMap;

/// Numbers by the time at which to look at them, in rows of `row_ms`.
pub struct Timers {
    row_ms: i64,
    rows: BTreeMap<i64, Vec<u32>>,
    /// How many numbers the rows have room for.
    room: usize,
}

impl Timers {
    /// Timers for spans of about `span_ms`: a row is a 256th of it, at least 1 ms.
    #[must_use]
    pub fn new(span_ms: i64) -> Self {
        Self { row_ms: (span_ms / 256).max(1), rows: BTreeMap::new(), room: 0 }
    }

    /// Asks to look at `number` once the watermark is at `at_ms` or shortly before.
    pub fn set(&mut self, at_ms: i64, number: u32) {
        let row = self.rows.entry(at_ms.div_euclid(self.row_ms)).or_default();
        let before = row.capacity();
        row.push(number);
        self.room += row.capacity() - before;
    }

    /// Takes all numbers that may be due at `watermark_ms`, ascending, each once.
    pub fn due(&mut self, watermark_ms: i64) -> Vec<u32> {
        let mut due = self.due_rows(watermark_ms).concat();
        // A number that went and came back has several timers; set again, they meet and become one.
        due.sort_unstable();
        due.dedup();
        due
    }

    /// The same in rows of time, without a copy: a number may be in several rows.
    pub fn due_rows(&mut self, watermark_ms: i64) -> Vec<Vec<u32>> {
        let last = watermark_ms.div_euclid(self.row_ms);
        let mut due = Vec::new();
        while let Some(entry) = self.rows.first_entry().filter(|entry| *entry.key() <= last) {
            let mut row = entry.remove();
            self.room -= row.capacity();
            row.sort_unstable();
            row.dedup();
            due.push(row);
        }
        due
    }

    /// When the first timer goes off, at the earliest; none if none is set.
    #[must_use]
    pub fn next_ms(&self) -> Option<i64> {
        self.rows.keys().next().map(|row| row.saturating_mul(self.row_ms))
    }

    /// The heap bytes held, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.room * size_of::<u32>() + self.rows.len() * 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_due_in_its_row_of_time() {
        let mut timers = Timers::new(2560);
        for (at_ms, number) in [(25, 1), (31, 2), (-5, 3), (25, 1)] {
            timers.set(at_ms, number);
        }
        assert_eq!(timers.due(-11), [] as [u32; 0]);
        assert_eq!(timers.due_rows(24), [vec![3], vec![1]]);
        assert_eq!(timers.due(29), [] as [u32; 0]);
        timers.set(100, 1);
        timers.set(200, 1);
        assert_eq!(timers.due(i64::MAX), [1, 2]);
        assert_eq!(timers.bytes(), 0);
    }
}
