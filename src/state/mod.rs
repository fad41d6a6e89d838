//! Keyed state.

mod groups;
mod pages;

pub use groups::Groups;
pub use pages::Pages;
