//! How far the epochs of an output have got, as its jobs tell the output from other threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::SinkError;

/// Counts stages: what was written before the first belongs to stage 1. Shared with the jobs of each.
#[derive(Debug, Default)]
pub(super) struct Progress {
    synced: AtomicU64,
    committed: AtomicU64,
    failed: AtomicBool,
}

impl Progress {
    /// The last stage up to which everything is durable.
    pub(super) fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// The last stage that is known to be visible, with those before it.
    pub(super) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Takes notice of how the sync job of a stage has ended. A sync that has failed once may succeed the next time
    /// without having written anything, so nothing is trusted from then on.
    pub(super) fn sync_ended(&self, stage: u64, outcome: Result<(), SinkError>) -> Result<(), SinkError> {
        match &outcome {
            Ok(()) => self.synced.store(stage, Ordering::Release),
            Err(_) => self.failed.store(true, Ordering::Release),
        }
        outcome
    }

    /// Takes notice that a stage is visible.
    pub(super) fn is_committed(&self, stage: u64) {
        self.committed.store(stage, Ordering::Release);
    }

    /// Refuses to go on with an output at `path` behind a sync that has failed.
    ///
    /// # Errors
    ///
    /// If one has.
    pub(super) fn check(&self, path: &std::path::Path) -> Result<(), SinkError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(SinkError::Unsynced(path.display().to_string()));
        }
        Ok(())
    }
}
