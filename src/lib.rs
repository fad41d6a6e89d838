//! Millstream, in the order a record goes: from the YAML to the plan, through a shard, to the sink.
//!
//! The number behind each module is its floor: a module uses modules on lower floors only, and a test keeps it so.

pub mod cli; // 8: the command line, one file a verb
pub mod config; // 4: what the pipeline file says, and where it says it
pub mod plan; // 5: names, types and expressions resolved; stages cut at each exchange
pub mod shard; // 6: one core, and a machine of them
pub mod source; // 3: where records come in
pub mod codec; // 1: bytes to records and back
pub mod operator; // 3: the verbs: batches in, batches out
pub mod expr; // 2: SQL scalar expressions, the one door to DataFusion
pub mod aggregate; // 2: aggregate functions
pub mod table; // 2: tables of a file that rows are looked up in
pub mod window; // 1: event-time arithmetic without state
pub mod exchange; // 2: batches to the shard that owns their keys
pub mod state; // 1: keyed state
pub mod sink; // 3: where rows go out
pub mod snapshot; // 4: what is kept at the end of an epoch, and how a run goes on from it
pub mod ops; // 7: signals, progress, logs, locks, systemd
pub mod io; // 1: the one door to glommio and io-uring
pub mod record; // 0: batches, types, keys
pub mod yaml; // 0: the positioned tree of a document
pub mod metric; // 0: counters of a shard
pub mod crash; // 0: points at which a test build can be killed
pub mod time; // 0: time as values
pub mod mutant; // 0: steps of the protocol that the simulation leaves out
pub mod error; // 0: what is wrong with the user's file, with its place
