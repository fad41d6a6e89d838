//! Event-time arithmetic of windows, without state.

mod windows;

pub use windows::{Windows, WindowsError};
