//! JSON, one object a line: a decoder that makes only the columns asked for, and an encoder that writes as Flink does.
//!
//! What a JSON value means to each type is told in [`decode`], how each type is written in [`encode`]. The decoder's layers
//! from the fastest to the one that decides: [`template`] and [`lockstep`], [`walk`], [`exact`]; a type is added to the
//! exact one, in [`column`] and [`scalar`], and to the others in [`grid`] and [`fill`].

mod column;
mod deferred;
pub mod decode;
pub mod encode;
mod exact;
mod fields;
mod fill;
mod grid;
mod level;
mod line;
mod literal;
mod lockstep;
pub(super) mod minute;
mod piece;
mod row;
pub(super) mod scalar;
mod shape;
mod template;
mod texts;
mod walk;
#[cfg(test)]
mod tests;

pub use decode::{JsonDecoder, Layers};
pub use encode::JsonEncoder;
pub use level::Level;
pub(super) use piece::{BLOCK, write_each};
pub(super) use texts::JsonTexts;

use super::{Decode, Encode};
use crate::record::Schema;

/// A decoder of JSON objects into the columns of `schema`, which are all it looks at.
#[must_use]
pub fn decoder(schema: &Schema) -> Box<dyn Decode + Send> {
    Box::new(JsonDecoder::new(schema))
}

/// An encoder of rows of `schema` into JSON objects, one a line.
#[must_use]
pub fn encoder(schema: &Schema) -> Box<dyn Encode + Send> {
    Box::new(JsonEncoder::new(schema))
}
