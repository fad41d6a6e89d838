//! The manifest of a snapshot: what belongs to it, and all that is not state of a step.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::error::{Location, SnapshotError};
use crate::record::{Barrier, SLOTS};

/// What a committed snapshot is. It is written as text: a line `millstream snapshot 1`, the fields as JSON, and a line
/// `checksum …` with XXH3-64 (seed 0) over all before it in 16 hexadecimal digits.
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

/// What the first line of a manifest begins with; the version follows.
const FIRST_LINE: &str = "millstream snapshot ";
/// What the last line begins with; the checksum follows.
const LAST_LINE: &str = "checksum ";

impl Manifest {
    /// The manifest as it is written.
    #[must_use]
    pub fn text(&self) -> String {
        let json = serde_json::to_string_pretty(self).expect("a manifest is plain data");
        let text = format!("{FIRST_LINE}{FORMAT}\n{json}\n");
        let last = last_line(&text);
        text + &last
    }

    /// Reads the bytes of a manifest; `path` is where they are from.
    ///
    /// # Errors
    ///
    /// If they are not as they were written, or of another version.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let damaged = |what: &str| SnapshotError::damaged(path, Location::Whole, what);
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is no text"))?;
        let last = text.trim_end_matches('\n').rfind('\n').map_or(0, |newline| newline + 1);
        let (body, last) = text.split_at(last);
        if last != last_line(body) {
            return Err(damaged("its last line is not the checksum of what is before it"));
        }
        let (first, json) = body.split_once('\n').unwrap_or_default();
        let version = first.strip_prefix(FIRST_LINE).ok_or_else(|| damaged("its first line is wrong"))?;
        if version != FORMAT.to_string() {
            let what = format!("format {version}, and this version reads format {FORMAT}");
            return Err(SnapshotError::newer(path, what));
        }
        let manifest: Self = serde_json::from_str(json).map_err(|error| damaged(&error.to_string()))?;
        if (manifest.format, manifest.slots, manifest.key_hash.as_str()) != (FORMAT, SLOTS, KEY_HASH) {
            return Err(SnapshotError::newer(path, "its keys are placed in another way"));
        }
        Ok(manifest)
    }
}

fn last_line(body: &str) -> String {
    format!("{LAST_LINE}{:016x}\n", xxh3_64(body.as_bytes()))
}

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
    /// How long it is, bytes.
    pub bytes: u64,
    /// Over the checksums of all its blocks (that of its trailer), as 16 hexadecimal digits.
    pub checksum: String,
    /// How many rows each table has, by state and table (`spend_1m/groups`).
    pub rows: BTreeMap<String, u64>,
}

/// What a pipeline was, in words that can be compared and shown: what its file says, with variables replaced, where it
/// bears on what is kept. How it is laid out and how it runs (`run:`) are no part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// What is read: the source, its format, columns and event time.
    pub source: ComponentText,
    /// The steps in the order of the page; behind them what stands before the sink, where that keeps state.
    pub steps: Vec<StepText>,
    /// What is written, by the name of the output.
    pub sinks: BTreeMap<String, ComponentText>,
}

/// A source or a sink of a [`Fingerprint`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentText {
    /// What it is.
    pub kind: String,
    /// All that the file says of it. Scalars are text; a map whose order means something is a list of maps with one
    /// entry.
    pub options: serde_json::Value,
}

/// A step of a [`Fingerprint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepText {
    /// Its verb.
    pub verb: String,
    /// Its name, where it keeps state and the file names it.
    pub name: Option<String>,
    /// All else that the file says of it, as in [`ComponentText::options`].
    pub options: serde_json::Value,
    /// Whether it sends only the rows that are there when the input is complete, because that is what the sink writes.
    pub only_final: bool,
    /// The states it keeps, in the order of the data; usually one.
    pub states: Vec<StateText>,
}

/// A state of a [`StepText`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateText {
    /// Its name in the snapshot.
    pub name: String,
    /// Its tables, each with its columns and their types (`total DECIMAL(38, 2)`).
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
