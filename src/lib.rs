//! Millstream, in the order a record goes: from the YAML to the plan, through a shard, to the sink.
//!
//! The number behind each module is its floor: a module uses modules on lower floors only, and a test keeps it so.

pub mod aggregate; // 2: aggregate functions
pub mod cli; // 8: the command line
pub mod codec; // 1: bytes to records and back
pub mod config; // 4: what the pipeline file says, and where it says it
pub mod error;
pub mod exchange; // 2: batches to the shard that owns their keys
pub mod expr; // 2: SQL scalar expressions
pub mod io; // 1: the one door to glommio and io-uring
pub mod metric; // 0: counters of a shard
pub mod operator; // 3: the verbs: batches in, batches out
pub mod ops; // 7: signals, progress, logs, locks, systemd
pub mod plan; // 5: what runs
pub mod record; // 0: batches, types, keys
pub mod shard; // 6: one core, and a machine of them
pub mod sink; // 3: where rows go out
pub mod source; // 3: where records come in
pub mod state; // 1: keyed state
pub mod time; // 0: time as values
pub mod window; // 1: event-time arithmetic without state
pub mod yaml; // 0: the positioned tree of a document // 0: what is wrong with the user's file, with its place
