//! A part: the file in which one shard keeps its state at the end of an epoch. Its format, and its writer.
//!
//! # Format 1
//!
//! All numbers are little-endian. The file is, without gaps,
//!
//! ```text
//! header      4096 bytes
//! blocks      each 64 bytes of header and a payload, filled up with zeros to a multiple of 64 bytes
//! directory   what there is, and where
//! zeros       so many that the file's length becomes a multiple of 4096
//! trailer     64 bytes: where the directory is
//! ```
//!
//! Header, blocks, directory and trailer begin with a magic of 8 bytes and a checksum of 8 bytes: XXH3-64 over all that is
//! behind the checksum up to the end of the structure (of a block: up to the end of its filled up payload). The header's
//! seed is 0; the seed of all others is the header's checksum. As that covers the run, the epoch and the shard, a block of
//! another file, an older one or another shard's, is as wrong as one with a flipped bit.
//!
//! **Header**: `millpart`; checksum; at 16 the version (4 bytes); at 20 the header's length (4); at 24 feature bits (8), of
//! which each that is set and not known forbids reading; at 32 the epoch (8); at 40 the shard (4) and at 44 the number of
//! shards (4); at 48 the number of slots (4); at 56 the name of the key hash and at 120 the run, each a length of one byte
//! and the text; the rest is zero. Magic and checksum stay where they are in every version.
//!
//! **Block**: `millblok`; checksum; at 16 the block's number in the file, from 0 (4); at 20 the number of the state (4) and
//! at 24 that of its table (4), as the directory counts them; at 28 the number of rows (4); at 32 the first and at 34 the
//! last slot that its keys may have (2 each); at 40 the payload's length without the zeros (8); at 48 the epoch (8); the
//! rest is zero. The payload is one stream in Arrow's IPC format, uncompressed: a schema, record batches, the end.
//!
//! **Directory**: `milldirs`; checksum; at 16 the length of its text (8); at 24 the number of blocks (8); at 32 the text, filled
//! up with zeros to a multiple of 8; then for each block, in their order, 40 bytes: where its header begins (8), the
//! payload's length (8), rows (4), state (4), table (4), first and last slot (2 each), checksum (8). The text is JSON:
//! `{"states":[{"name","tables":[{"name","key","rows","columns":[{"name","type","nullable"}]}]}]}`, where `key` is how many
//! of the first columns are the key, null for a table without one. Several operators may keep state under one name.
//!
//! **Trailer**: `milltail`; checksum; at 16 where the directory begins (8) and at 24 its length (8); at 32 the directory's
//! checksum (8); at 40 the length of the file (8); zeros. Its checksum is in the manifest, and so stands for the file.
//!
//! A key's slot is that of the hash of its bytes ([`crate::record::KeyCodec`]). A shard's operators own a contiguous run
//! of slots, and their rows come in no order of slots; so a block names the shard's whole run, which costs no hashing.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use serde::{Deserialize, Serialize};

use super::columns::{ColumnText, texts_of};
pub use super::layout::PartInfo;
use super::layout::{self, Block, Trailer};
use super::manifest::PartSummary;
use super::payload;
use crate::io::{ALIGNMENT, BLOCK_BYTES, BlockFile};
use crate::operator::StateTable;
use crate::record::{SLOTS, shard_of_slot};

/// Rows of a table become a block when they have so many bytes: little enough to be encoded within a tenth of a
/// millisecond, and so much that what a block costs besides its rows does not matter.
const BLOCK_TARGET: usize = 96 << 10;

/// More encoded bytes than this do not wait for room in the file before the caller is asked to stop.
const WAITING_MAX: usize = 2 * BLOCK_BYTES;

/// The name of a shard's part.
#[must_use]
pub fn part_name(shard: usize) -> String {
    format!("shard-{shard:03}")
}

/// The directory's text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DirectoryText {
    pub states: Vec<StateText>,
}

/// A state in the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateText {
    pub name: String,
    pub tables: Vec<TableText>,
}

/// A table in the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableText {
    pub name: String,
    /// How many of the first columns are the key.
    pub key: Option<usize>,
    pub rows: u64,
    pub columns: Vec<ColumnText>,
}

/// Writes a part: takes the rows of views in small portions, and passes them on in blocks without ever waiting.
///
/// It runs beside the operators on a shard: each call encodes at most one block.
pub struct PartWriter {
    file: Box<dyn BlockFile>,
    info: PartInfo,
    /// The checksum of the header.
    seed: u64,
    /// The slots that the shard owns.
    slots: (u16, u16),
    tables: Vec<Pending>,
    /// Where the tables of each state begin in `tables`.
    first_table: Vec<usize>,
    text: DirectoryText,
    /// The directory's entries so far.
    entries: Vec<u8>,
    blocks: u32,
    /// Where the next block begins.
    offset: u64,
    /// Encoded bytes, of which those before `sent` are in the file's hands.
    waiting: Vec<u8>,
    sent: usize,
    stage: Stage,
}

/// How far a writer has come.
enum Stage {
    /// Rows come.
    Open,
    /// No more rows come.
    Ending,
    /// All is encoded, to this trailer.
    Encoded(PartSummary),
    /// The file has all bytes.
    Sent(PartSummary),
}

/// Rows of a table that are no block yet.
struct Pending {
    table: StateTable,
    state: u32,
    /// Its number in the state.
    number: u32,
    batches: VecDeque<(RecordBatch, usize)>,
    bytes: usize,
    /// All rows there have been.
    rows: u64,
}

impl PartWriter {
    /// A writer of the states of a shard's operators, each with its name and tables, into a new file. Several may have
    /// one name; their order counts.
    ///
    /// # Panics
    ///
    /// If a table has a column of a type that a snapshot cannot hold, which operators do not make.
    #[must_use]
    pub fn new(file: Box<dyn BlockFile>, info: PartInfo, states: Vec<(String, Vec<StateTable>)>) -> Self {
        let (header, seed) = layout::write_header(&info);
        let (mut tables, mut first_table, mut text) = (Vec::new(), Vec::new(), DirectoryText::default());
        for (state, (name, of_state)) in (0..).zip(states) {
            first_table.push(tables.len());
            let table_text = |table: &StateTable| TableText {
                name: table.name.to_owned(),
                key: table.key.as_ref().map(|codec| codec.types().len()),
                rows: 0,
                columns: texts_of(&table.schema).expect("operators save types that a snapshot can hold"),
            };
            text.states.push(StateText { name, tables: of_state.iter().map(table_text).collect() });
            tables.extend((0..).zip(of_state).map(|(number, table)| Pending::new(table, state, number)));
        }
        Self {
            file,
            slots: owned_slots(info.shard as usize, info.shards as usize),
            info,
            seed,
            tables,
            first_table,
            text,
            entries: Vec::new(),
            blocks: 0,
            offset: header.len() as u64,
            waiting: header,
            sent: 0,
            stage: Stage::Open,
        }
    }

    /// Whether rows may be added: what waits to be written is bounded by the caller's asking.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.waiting.len() - self.sent < WAITING_MAX && !self.tables.iter().any(Pending::is_full)
    }

    /// Takes rows of a table; `state` counts the states handed to [`PartWriter::new`], `table` its tables.
    ///
    /// # Panics
    ///
    /// If there is no such table, the rows are not its, or the writer has been finished.
    pub fn add(&mut self, state: usize, table: usize, rows: &RecordBatch) {
        assert!(matches!(self.stage, Stage::Open), "no rows come behind the end of a part");
        let pending = &mut self.tables[self.first_table[state] + table];
        debug_assert_eq!(pending.number as usize, table, "the state has this table");
        if rows.num_rows() > 0 {
            pending.add(rows);
            if pending.is_full() {
                self.cut(self.first_table[state] + table);
            }
        }
    }

    /// No more rows come. Called once.
    pub fn finish(&mut self) {
        debug_assert!(matches!(self.stage, Stage::Open), "a part is finished once");
        self.stage = Stage::Ending;
    }

    /// Does a little of what is left to do; whether the part is finished and durable.
    ///
    /// # Errors
    ///
    /// The first error of the file; it is of no use then.
    pub fn poll(&mut self) -> io::Result<bool> {
        let durable = self.file.poll()?;
        if matches!(self.stage, Stage::Sent(_)) {
            return Ok(durable);
        }
        if self.waiting.len() - self.sent < WAITING_MAX {
            let ending = matches!(self.stage, Stage::Ending);
            let next = |pending: &Pending| pending.is_full() || ending && !pending.batches.is_empty();
            match self.tables.iter().position(next) {
                Some(table) => self.cut(table),
                None if ending => self.close(),
                None => {}
            }
        }
        let room = self.file.room().min(self.waiting.len() - self.sent);
        if room > 0 {
            self.file.write(&self.waiting[self.sent..self.sent + room]);
            self.sent += room;
        }
        if self.sent == self.waiting.len() {
            self.waiting.clear();
            self.sent = 0;
            if let Stage::Encoded(summary) = &self.stage {
                self.stage = Stage::Sent(summary.clone());
                self.file.finish();
            }
        } else if self.sent > 2 * WAITING_MAX {
            self.waiting.drain(..self.sent);
            self.sent = 0;
        }
        Ok(false)
    }

    /// What the manifest says of the part.
    ///
    /// # Panics
    ///
    /// Before [`PartWriter::poll`] has said that the part is finished.
    #[must_use]
    pub fn summary(&self) -> PartSummary {
        match &self.stage {
            Stage::Encoded(summary) | Stage::Sent(summary) => summary.clone(),
            Stage::Open | Stage::Ending => panic!("a part is summed up when it is finished"),
        }
    }

    /// Makes a block of a table's oldest rows.
    fn cut(&mut self, table: usize) {
        let pending = &mut self.tables[table];
        let rows = pending.take();
        let start = self.waiting.len();
        self.waiting.resize(start + layout::BLOCK_HEADER_BYTES, 0);
        payload::write(&rows, &mut self.waiting);
        let payload = self.waiting.len() - start - layout::BLOCK_HEADER_BYTES;
        let end = self.waiting.len().next_multiple_of(layout::PAYLOAD_ALIGNMENT);
        // The header has a multiple of the alignment, and so has all that waits before it.
        self.waiting.resize(end, 0);
        let all = (0, u16::try_from(SLOTS - 1).expect("12 bits"));
        let (first_slot, last_slot) = if pending.table.key.is_some() { self.slots } else { all };
        let mut block = Block {
            offset: self.offset,
            payload: payload as u64,
            rows: u32::try_from(rows.num_rows()).expect("a block has fewer than 4 G rows"),
            state: pending.state,
            table: pending.number,
            first_slot,
            last_slot,
            checksum: 0,
        };
        let bytes = &mut self.waiting[start..];
        block.checksum = layout::seal_block(bytes, self.blocks, self.info.epoch, &block, self.seed);
        layout::write_entry(&block, &mut self.entries);
        self.offset += bytes.len() as u64;
        self.blocks += 1;
    }

    /// Makes directory and trailer.
    fn close(&mut self) {
        for pending in &self.tables {
            let tables = &mut self.text.states[pending.state as usize].tables;
            tables[pending.number as usize].rows = pending.rows;
        }
        let text = serde_json::to_vec(&self.text).expect("the directory is plain data");
        let (directory, directory_checksum) = layout::write_directory(&text, &self.entries, self.seed);
        let directory_bytes = directory.len() as u64;
        let end = self.offset + directory_bytes + layout::TRAILER_BYTES as u64;
        let file_bytes = end.next_multiple_of(ALIGNMENT);
        let trailer = Trailer { directory: self.offset, directory_bytes, directory_checksum, file_bytes };
        let (trailer, checksum) = layout::write_trailer(&trailer, self.seed);
        self.waiting.extend_from_slice(&directory);
        let zeros = usize::try_from(file_bytes - end).expect("below the alignment");
        self.waiting.resize(self.waiting.len() + zeros, 0);
        self.waiting.extend_from_slice(&trailer);
        self.stage = Stage::Encoded(PartSummary {
            file: part_name(self.info.shard as usize),
            bytes: file_bytes,
            checksum: format!("{checksum:016x}"),
            rows: rows_of(&self.text),
        });
    }
}

/// How many rows each table has, by state and table; those of states with one name count together.
pub(super) fn rows_of(text: &DirectoryText) -> BTreeMap<String, u64> {
    let mut rows = BTreeMap::new();
    for state in &text.states {
        for table in &state.tables {
            let count: &mut u64 = rows.entry(format!("{}/{}", state.name, table.name)).or_default();
            *count = count.saturating_add(table.rows);
        }
    }
    rows
}

/// The first and the last slot that a shard owns.
pub(super) fn owned_slots(shard: usize, shards: usize) -> (u16, u16) {
    let slots = SLOTS as usize;
    let first = (shard * slots).div_ceil(shards);
    let last = ((shard + 1) * slots).div_ceil(shards).saturating_sub(1);
    debug_assert!(shard_of_slot(u32::try_from(first).expect("12 bits"), shards) == shard || first > last);
    let slot = |slot| u16::try_from(slot).expect("12 bits");
    (slot(first), slot(last))
}

impl Pending {
    fn new(table: StateTable, state: u32, number: u32) -> Self {
        Self { table, state, number, batches: VecDeque::new(), bytes: 0, rows: 0 }
    }

    fn is_full(&self) -> bool {
        self.bytes >= BLOCK_TARGET
    }

    /// Takes rows, in pieces of which none is much more than a block.
    fn add(&mut self, rows: &RecordBatch) {
        debug_assert_eq!(rows.schema_ref(), &self.table.schema, "the rows are the table's");
        let (count, bytes) = (rows.num_rows(), bytes_of(rows));
        self.rows += count as u64;
        let pieces = (bytes / BLOCK_TARGET).clamp(1, count);
        let piece = count.div_ceil(pieces);
        for start in (0..count).step_by(piece) {
            let part = rows.slice(start, piece.min(count - start));
            let bytes = if pieces == 1 { bytes } else { bytes_of(&part) };
            self.batches.push_back((part, bytes));
            self.bytes += bytes;
        }
    }

    /// The oldest rows, about a block of them.
    fn take(&mut self) -> RecordBatch {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while bytes < BLOCK_TARGET
            && let Some((rows, of_rows)) = self.batches.pop_front()
        {
            bytes += of_rows;
            taken.push(rows);
        }
        self.bytes -= bytes;
        if taken.len() == 1 {
            return taken.remove(0);
        }
        concat_batches(&self.table.schema, &taken).expect("all rows are the table's")
    }
}

/// The bytes of rows, without what else their buffers hold.
fn bytes_of(rows: &RecordBatch) -> usize {
    let of_column = |column: &dyn Array| {
        let data = column.to_data();
        data.get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    };
    // A row has some bytes also where it has no columns.
    rows.num_rows() + rows.columns().iter().map(|column| of_column(column.as_ref())).sum::<usize>()
}
