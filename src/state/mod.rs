//! Keyed state: numbers for keys, and what is kept by number.

mod bits;
mod groups;
mod keys;
mod pages;
mod timers;

pub use bits::Bits;
pub use groups::{Groups, is_same_key};
pub use pages::Pages;
pub use timers::Timers;
