//! Whole machines on a modelled disk, stepped in one thread in an order that a seed draws, crashed and started again on
//! other numbers of shards: what comes out in the end is what an undisturbed run gives, and in between nothing is
//! visible twice.
//!
//! A seed draws a [`Case`]: a pipeline, an input and some processes ([`Life`]), each with what goes wrong in it. A case
//! that fails is made smaller ([`shrink()`]) and told as JSON, by which it can be repeated.
//!
//! Besides what is drawn there are two things that are gone through: every operation of the disk at which a small case can
//! fail (`walk`), and one number of shards after the other (`rescale`).

mod case;
mod coverage;
mod input;
mod life;
mod mutants;
mod outcome;
mod pipelines;
mod run;
mod shrink;
#[cfg(test)]
mod rescale;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;

pub use case::{Case, Life};
pub use coverage::Coverage;
pub use life::Process;
pub use mutants::{MUTANTS, Mutation};
pub use run::{Passed, World};
pub use shrink::shrink;
