//! Which output the writer is busy with, and since when: one that takes nothing holds up all others, and nobody else could
//! say which one it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Noted by the writer around every call of an output, and looked at by the control plane.
#[derive(Debug)]
pub struct Busy {
    /// The names of the outputs.
    names: Vec<Arc<str>>,
    /// The place of the name of that which is called; behind all of them where none is.
    output: AtomicUsize,
    /// Since when, of [`crate::time::Now::monotonic_us`].
    since_us: AtomicU64,
}

impl Busy {
    /// No output is called yet.
    #[must_use]
    pub fn new(names: Vec<Arc<str>>) -> Self {
        Self { output: AtomicUsize::new(names.len()), names, since_us: AtomicU64::new(0) }
    }

    /// Notes that the output of this place is called in a step that began at `now_us`, until the guard is dropped.
    #[must_use]
    pub fn with(self: &Arc<Self>, output: usize, now_us: u64) -> Calling {
        self.since_us.store(now_us, Ordering::Relaxed);
        self.output.store(output, Ordering::Release);
        Calling(self.clone())
    }

    /// The output that has been called for longer than `longer_than_us`, and since when.
    #[must_use]
    pub fn stalled(&self, now_us: u64, longer_than_us: u64) -> Option<(&str, u64)> {
        let name = self.names.get(self.output.load(Ordering::Acquire))?;
        let since_us = self.since_us.load(Ordering::Relaxed);
        (now_us.saturating_sub(since_us) > longer_than_us).then_some((name, since_us))
    }
}

/// An output is being called.
#[derive(Debug)]
pub struct Calling(Arc<Busy>);

impl Drop for Calling {
    fn drop(&mut self) {
        self.0.output.store(self.0.names.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_long_is_told() {
        let busy = Arc::new(Busy::new(vec!["one".into(), "two".into()]));
        assert_eq!(busy.stalled(9_000, 10), None);
        let calling = busy.with(1, 5_000);
        assert_eq!((busy.stalled(5_010, 10), busy.stalled(5_011, 10)), (None, Some(("two", 5_000))));
        drop(calling);
        assert_eq!(busy.stalled(9_000, 10), None);
    }
}
