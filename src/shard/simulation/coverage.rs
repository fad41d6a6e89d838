//! What has happened how often: a thing that never happens is not tested.

use std::collections::BTreeMap;

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<&'static str, u64>);

/// What has to happen in a run of the suite that is long enough.
const REQUIRED: &[&str] = &[
    "commits",
    "crashes between steps",
    "crashes in operations",
    "drains",
    "ends seen by the next process",
    "failed for good",
    "failed processes",
    "failed starts",
    "faults: EINTR",
    "faults: EIO",
    "faults: ENOSPC",
    "faults: short write",
    "fresh starts",
    "full disks with room again",
    "power cuts",
    "restarts from a snapshot",
    "restarts on another number of shards",
    "snapshots abandoned",
    "snapshots asked for",
    "stops at once",
];

impl Coverage {
    /// Counts once.
    pub fn note(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// What has been counted, by name.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(what, count)| (*what, *count))
    }

    /// What has to happen and has not.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        REQUIRED.iter().copied().filter(|what| !self.0.contains_key(what)).collect()
    }
}
