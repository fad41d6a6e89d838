//! What an edited file keeps (stub).
use std::collections::BTreeSet;

use crate::snapshot::Fingerprint;

/// Stub.
pub struct Upgrade(BTreeSet<String>, BTreeSet<String>);

impl Upgrade {
    /// Stub.
    pub fn of(old: &Fingerprint, new: &Fingerprint) -> Self {
        let _ = old;
        let states = new.operators.iter().filter_map(|operator| operator.state.clone()).collect();
        Self(states, new.sinks.keys().cloned().collect())
    }
    /// Stub.
    pub fn refused(&self) -> Option<String> {
        None
    }
    /// Stub.
    pub fn notes(&self) -> Vec<String> {
        Vec::new()
    }
    /// Stub.
    pub fn kept(&self) -> BTreeSet<String> {
        self.0.clone()
    }
    /// Stub.
    pub fn outputs_kept(&self) -> BTreeSet<String> {
        self.1.clone()
    }
}
