//! The manifest of a snapshot: what belongs to it, and all that is not state of a step.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::Barrier;

/// What a committed snapshot is. It is written as text; see [`super`] for its place in the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the format.
    pub format: u32,
    /// The pipeline's name.
    pub pipeline: String,
    /// The run that this snapshot belongs to: drawn at a fresh start, kept by those that go on from it.
    pub run: String,
    /// Where the epoch ends.
    pub barrier: BarrierText,
    /// Whether the input is complete: nothing goes on from here, and no state is kept.
    pub finished: bool,
    /// When the barrier was asked for, RFC 3339 in UTC, for people.
    pub at: String,
    /// How many slots keys have, and by which hash they get there.
    pub slots: u32,
    /// See [`KEY_HASH`].
    pub key_hash: String,
    /// What the pipeline was, spelled out.
    pub fingerprint: Fingerprint,
    /// The shards' files, in the order of the shards; none where the input is complete.
    pub shards: Vec<PartSummary>,
    /// What the source says of its position ([`crate::source::Opened::position`]).
    pub source: serde_json::Value,
    /// The watermarks of each exchange, in the order of the data.
    pub watermarks: Vec<serde_json::Value>,
    /// What each output says of its position ([`crate::sink::Staged::position`]), by the name of its sink.
    pub outputs: BTreeMap<String, serde_json::Value>,
    /// The quarantine's file and its length; none where nothing has been quarantined.
    pub quarantine: Option<QuarantineExtent>,
    /// What has been counted since the fresh start, over all shards.
    pub counts: Counts,
}

/// The only key hash there is: XXH3-64 of the key's bytes with the project's seed, bits 45 to 56.
pub const KEY_HASH: &str = "xxh3-64/45..57";

/// The version of the format that is written.
pub const FORMAT: u32 = 1;

/// A [`Barrier`] as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BarrierText {
    /// The epoch that ends here.
    pub epoch: u64,
    /// The first block number behind it.
    pub number: u64,
    /// The first piece of input behind it.
    pub piece: u64,
}

impl From<Barrier> for BarrierText {
    fn from(barrier: Barrier) -> Self {
        let Barrier { epoch, number, piece } = barrier;
        Self { epoch, number, piece }
    }
}

impl From<BarrierText> for Barrier {
    fn from(text: BarrierText) -> Self {
        let BarrierText { epoch, number, piece } = text;
        Self { epoch, number, piece }
    }
}

/// A shard's file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartSummary {
    /// Its name in the snapshot's folder.
    pub file: String,
    /// How long it is, without the zeros behind its end, bytes.
    pub bytes: u64,
    /// Over the checksums of all its blocks, as 16 hexadecimal digits.
    pub checksum: String,
    /// How many rows each table has, by state and table (`spend_1m/groups`).
    pub rows: BTreeMap<String, u64>,
}

/// What a pipeline was, in words that can be compared and shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// What is read: the source, its format, columns and event time.
    pub source: String,
    /// The operators in the order of the data.
    pub operators: Vec<OperatorText>,
    /// What is written, by the name of the sink.
    pub sinks: BTreeMap<String, String>,
}

/// An operator of a [`Fingerprint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorText {
    /// The name of its state; none where it keeps none.
    pub state: Option<String>,
    /// What it does, completely: two operators with the same text do the same.
    pub text: String,
    /// Its tables, each with its columns and their types.
    pub tables: BTreeMap<String, Vec<String>>,
}

/// The quarantine at a barrier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuarantineExtent {
    /// Its file's name in the quarantine's folder.
    pub file: String,
    /// Its length, bytes.
    pub bytes: u64,
    /// How many records it holds.
    pub records: u64,
}

/// What has been counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Records read, bad ones included.
    pub rows_in: u64,
    /// Rows handed to the sink.
    pub rows_out: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Records that went to quarantine.
    pub rejected: u64,
    /// Rows that came too late.
    pub late: u64,
    /// Rows that a `throttle` has dropped.
    pub throttled: u64,
}

impl Counts {
    /// The sums.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        Self {
            rows_in: self.rows_in + other.rows_in,
            rows_out: self.rows_out + other.rows_out,
            bytes_in: self.bytes_in + other.bytes_in,
            rejected: self.rejected + other.rejected,
            late: self.late + other.late,
            throttled: self.throttled + other.throttled,
        }
    }
}
