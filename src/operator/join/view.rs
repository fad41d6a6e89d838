//! The rows of one side as they were when a view of them began, of which some have been captured.
//!
//! As with groups, what is about to change or to go is captured first, and a scan over the numbers captures the rest; what
//! has come since is left out.

use super::side::Side;
use crate::state::Bits;

/// A view of one side.
pub(super) struct View {
    /// Those that have been captured, or have come since.
    done: Bits,
    /// The scan has come to here.
    next: u32,
    /// The view's numbers are below this.
    end: u32,
}

impl View {
    /// A view of the numbers below `end`.
    pub fn new(end: usize) -> Self {
        let end = u32::try_from(end).expect("a side keeps fewer than 4 G rows");
        Self { done: Bits::default(), next: 0, end }
    }

    /// Leaves out a row that has come since.
    pub fn exclude(&mut self, number: u32) {
        if (self.next..self.end).contains(&number) {
            self.done.set(number);
        }
    }

    /// Those of these rows that have not been captured, each once; the caller captures them now.
    pub fn take(&mut self, numbers: impl Iterator<Item = u32>) -> Vec<u32> {
        let Self { done, next, end } = self;
        numbers.filter(|number| (*next..*end).contains(number) && !done.set(*number)).collect()
    }

    /// The next rows that have not been captured, at most `count`; none once there are no more.
    pub fn scan(&mut self, count: usize, side: &Side) -> Vec<u32> {
        let mut found = Vec::new();
        while found.len() < count && self.next < self.end {
            if side.is_there(self.next) && !self.done.get(self.next) {
                found.push(self.next);
            }
            self.next += 1;
        }
        found
    }

    /// The heap bytes held.
    pub fn bytes(&self) -> usize {
        self.done.bytes()
    }
}
