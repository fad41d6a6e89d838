//! Keyed state: numbers for keys, and what is kept by number.

mod groups;
mod keys;
mod pages;
mod timers;

pub use groups::Groups;
pub use pages::Pages;
pub use timers::Timers;
