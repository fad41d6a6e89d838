//! What flows: rows in columns, their types, their place in the input, and the bytes that decide who owns a key.

mod barrier;
mod batch;
mod interleaved;
mod key;
mod paths;
mod projection;
mod rejected;
mod schema;
pub mod text;
mod types;

pub use barrier::Barrier;
pub use batch::{Batch, BlockEnd, EventTimes, Origin, Segment};
pub use interleaved::Interleaved;
pub use key::{KeyCodec, SLOTS, shard_of_slot, slot_of_hash};
pub use paths::Paths;
pub use projection::Projection;
pub use rejected::BadRecord;
pub use schema::{Column, Schema};
pub use types::{SqlType, TypeError, parse_type};
