//! Keyed state.

mod groups;

pub use groups::Groups;
