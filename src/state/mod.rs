//! Keyed state: numbers for keys, and what is kept by number.

mod groups;
mod keys;
mod timers;

pub use groups::Groups;
pub use timers::Timers;
