//! Event-time arithmetic of windows, without state.

mod tumbling;

pub use tumbling::Tumbling;
