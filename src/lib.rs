//! Millstream, in the order a record goes: from the YAML to the plan, through a shard, to the sink.

pub mod codec; // floor 1: bytes to records and back
pub mod error; // floor 0: what is wrong with the user's file, with its place
pub mod record; // floor 0: batches, types, keys
pub mod time; // floor 0: time as values
pub mod yaml; // floor 0: the positioned tree of a document
