//! Steps of the protocol that can be left out, to see that the simulation notices. In the product nothing is left of
//! this: [`is`] is false at compile time there.

/// A step that is left out or done wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Side streams and the quarantine go on taking from lanes that have come to the barrier.
    AlignmentOfSides,
    /// A source goes on one piece before the barrier.
    PositionEarly,
    /// A source goes on one piece behind the barrier.
    PositionLate,
    /// Outputs become visible before the manifest is written.
    OutputsBeforeManifest,
    /// Outputs are not made durable before the manifest is written.
    OutputsNotSynced,
    /// A restart does not make visible what was committed.
    NothingRolledForward,
    /// Operators are not asked for what they change before it has been captured.
    ViewNotSaved,
    /// Watermarks begin anew at a restart.
    WatermarksNotRestored,
    /// Operators begin anew at a restart.
    StateNotRestored,
    /// Operators are not told that all has been restored.
    NotToldRestored,
    /// Rows of side streams from behind the barrier are part of the epoch before it.
    SideRowsNotDeferred,
    /// Bad records from behind the barrier are part of the epoch before it.
    BadRecordsNotDeferred,
    /// Old snapshots are removed before the new one is committed.
    PrunedEarly,
    /// A run that fails takes back what a committed epoch needs.
    CommittedGivenUp,
    /// Counts begin anew at a restart.
    CountsNotRestored,
    /// The folder of a snapshot that was not finished is left when the next run starts.
    LitterNotRemoved,
    /// A failure to write a part is not told.
    PartFailureUntold,
}

#[cfg(any(test, feature = "simulation"))]
mod chosen {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static CHOSEN: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Whether this step is left out on this thread.
    #[must_use]
    pub fn is(mutant: Mutant) -> bool {
        CHOSEN.get() == Some(mutant)
    }

    /// Leaves a step out on this thread, or none.
    pub fn choose(mutant: Option<Mutant>) {
        CHOSEN.set(mutant);
    }

    /// Does something with no step left out.
    pub fn without<T>(run: impl FnOnce() -> T) -> T {
        let before = CHOSEN.take();
        let result = run();
        CHOSEN.set(before);
        result
    }
}

#[cfg(any(test, feature = "simulation"))]
pub use chosen::{choose, is, without};

/// Whether this step is left out: never.
#[cfg(not(any(test, feature = "simulation")))]
#[must_use]
pub const fn is(_: Mutant) -> bool {
    false
}
