//! Reads a part, and believes nothing of it that has not been checked.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;

use super::columns::{schema_of, sql_type};
use super::error::{Location, SnapshotError};
use super::layout::{
    self, BLOCK_HEADER_BYTES, Block, HEADER_BYTES, PartInfo, Refusal, TRAILER_BYTES, Trailer,
};
use super::manifest::{Manifest, PartSummary};
use super::part::{DirectoryText, rows_of};
use super::payload;
use crate::io::ALIGNMENT;
use crate::record::{KeyCodec, SLOTS, slot_of_hash};

/// A part whose header, directory and trailer are as they were written. Its blocks are checked as they are read.
#[derive(Debug)]
pub struct Part {
    path: PathBuf,
    bytes: Buffer,
    info: PartInfo,
    seed: u64,
    states: Vec<SavedState>,
    pub(super) blocks: Vec<Block>,
}

/// A state that a part holds.
#[derive(Clone, Debug)]
pub struct SavedState {
    /// Its name.
    pub name: String,
    /// Its tables.
    pub tables: Vec<SavedTable>,
}

/// A table that a part holds.
#[derive(Clone, Debug)]
pub struct SavedTable {
    /// Its name.
    pub name: String,
    /// Its columns, those of the key first.
    pub schema: SchemaRef,
    /// How many columns are the key; none where it has no key.
    pub key: Option<usize>,
    /// How many rows the part has of it.
    pub rows: u64,
    /// How many bytes of the part they take.
    pub bytes: u64,
}

impl SavedTable {
    /// How the keys are written in bytes, which tells their slots; none where the table has no key.
    #[must_use]
    pub fn codec(&self) -> Option<KeyCodec> {
        let fields = self.schema.fields().get(..self.key?)?;
        let types: Option<Vec<_>> = fields.iter().map(|field| sql_type(field.data_type())).collect();
        KeyCodec::new(types?).ok()
    }
}

/// Which keys are asked for.
pub(super) struct Slots<'a> {
    /// The first and the last slot.
    pub range: (u16, u16),
    /// How the keys are written.
    pub codec: &'a KeyCodec,
}

impl Part {
    /// Checks all but the blocks of the part of this number in a manifest.
    ///
    /// # Errors
    ///
    /// If it is damaged, another part than the manifest says, or of a form that is not known.
    pub fn open(
        path: &Path,
        bytes: Buffer,
        manifest: &Manifest,
        shard: usize,
    ) -> Result<Self, SnapshotError> {
        let whole = |what: String| SnapshotError::damaged(path, Location::Whole, what);
        let refuse = |offset| move |refusal| refused(path, Location::Offset(offset), refusal);
        let summary =
            manifest.shards.get(shard).ok_or_else(|| whole("the manifest has no such part".into()))?;
        let (info, seed) = layout::read_header(&bytes).map_err(refuse(0))?;
        belongs(path, &info, manifest, shard)?;
        if bytes.len() as u64 != summary.bytes {
            let what = format!("it has {} bytes, and the manifest says {}", bytes.len(), summary.bytes);
            return Err(whole(what));
        }
        if bytes.len() < HEADER_BYTES + TRAILER_BYTES {
            return Err(whole("it has no trailer".into()));
        }
        let trailer_at = (bytes.len() - TRAILER_BYTES) as u64;
        let (trailer, checksum) = layout::read_trailer(&bytes, seed).map_err(refuse(trailer_at))?;
        if format!("{checksum:016x}") != summary.checksum {
            return Err(whole("it is another file than the manifest says".into()));
        }
        let directory = directory_of(path, &bytes, &trailer)?;
        let refuse = refuse(trailer.directory);
        let (text, blocks) = layout::read_directory(directory, &trailer, seed).map_err(refuse)?;
        let place = Location::Offset(trailer.directory);
        let text = serde_json::from_slice::<DirectoryText>(text).map_err(|error| {
            SnapshotError::damaged(path, place, format!("the directory is none: {error}"))
        })?;
        let states = states_of(&text)
            .ok_or_else(|| SnapshotError::damaged(path, place, "the directory has a table that is none"))?;
        let mut part = Self { path: path.to_owned(), bytes, info, seed, states, blocks };
        part.check_blocks(&trailer).map_err(|what| SnapshotError::damaged(path, place, what))?;
        check_rows(&text, summary).map_err(|what| SnapshotError::damaged(path, place, what))?;
        Ok(part)
    }

    /// What it is a part of.
    #[must_use]
    pub fn info(&self) -> &PartInfo {
        &self.info
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The states it holds, in the order in which they were handed to its writer.
    #[must_use]
    pub fn states(&self) -> &[SavedState] {
        &self.states
    }

    /// Checks that the directory's blocks fill the file from header to directory and are of tables that there are; adds up
    /// what the tables have.
    fn check_blocks(&mut self, trailer: &Trailer) -> Result<(), String> {
        let mut offset = Some(HEADER_BYTES as u64);
        let mut rows: Vec<Vec<u64>> = self.states.iter().map(|state| vec![0; state.tables.len()]).collect();
        for (number, block) in self.blocks.iter().enumerate() {
            let state = self.states.get_mut(block.state as usize);
            let table = state.and_then(|state| state.tables.get_mut(block.table as usize));
            let table = table.ok_or_else(|| format!("block {number} is of no table"))?;
            if u32::from(block.last_slot) >= SLOTS || block.first_slot > block.last_slot || block.rows == 0 {
                return Err(format!("what it says of block {number} is impossible"));
            }
            let bytes = layout::padded(block.payload)
                .and_then(|payload| payload.checked_add(BLOCK_HEADER_BYTES as u64))
                .filter(|_| Some(block.offset) == offset)
                .ok_or_else(|| format!("block {number} is not behind the one before it"))?;
            offset = block.offset.checked_add(bytes);
            table.bytes = table.bytes.saturating_add(bytes);
            rows[block.state as usize][block.table as usize] += u64::from(block.rows);
        }
        if offset != Some(trailer.directory) {
            return Err("there is a gap behind the last block".into());
        }
        for (state, rows) in self.states.iter().zip(rows) {
            for (table, rows) in state.tables.iter().zip(rows) {
                if table.rows != rows {
                    return Err(format!("`{}` has {rows} rows in blocks, not {}", table.name, table.rows));
                }
            }
        }
        Ok(())
    }

    /// Hands out the rows of one table, block by block: all of them, or those whose keys are in some slots; until it is
    /// told that they are enough.
    ///
    /// # Errors
    ///
    /// If a block is not as it was written.
    pub(super) fn rows(
        &self,
        state: usize,
        table: usize,
        slots: Option<&Slots>,
        mut take: impl FnMut(RecordBatch) -> ControlFlow<()>,
    ) -> Result<(), SnapshotError> {
        let of_table = |block: &Block| (block.state as usize, block.table as usize) == (state, table);
        for (number, block) in self.blocks.iter().enumerate().filter(|(_, block)| of_table(block)) {
            if slots
                .is_some_and(|Slots { range, .. }| block.last_slot < range.0 || range.1 < block.first_slot)
            {
                continue;
            }
            for rows in self.block(number)? {
                let rows = match slots {
                    Some(Slots { range, codec })
                        if block.first_slot < range.0 || range.1 < block.last_slot =>
                    {
                        self.owned(number, &rows, *range, codec)?
                    }
                    _ => rows,
                };
                if take(rows).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Checks everything: all blocks, and that all keys have slots that their blocks name.
    ///
    /// # Errors
    ///
    /// The first thing that is not as it was written.
    pub fn verify(&self) -> Result<(), SnapshotError> {
        for (number, block) in self.blocks.iter().enumerate() {
            let codec = self.states[block.state as usize].tables[block.table as usize].codec();
            for rows in self.block(number)? {
                if let Some(codec) = &codec {
                    self.slots(number, &rows, codec)?;
                }
            }
        }
        Ok(())
    }

    /// The rows of a block.
    fn block(&self, number: usize) -> Result<Vec<RecordBatch>, SnapshotError> {
        let block = &self.blocks[number];
        let place = Location::Block(number, block.offset);
        let damaged = |what| SnapshotError::damaged(&self.path, place, what);
        let start = usize::try_from(block.offset).expect("within the file");
        let payload = usize::try_from(block.payload).expect("within the file");
        let end = start + BLOCK_HEADER_BYTES + payload.next_multiple_of(layout::PAYLOAD_ALIGNMENT);
        let index = u32::try_from(number).map_err(|_| damaged("it has too many blocks".to_owned()))?;
        layout::unseal_block(&self.bytes[start..end], index, self.info.epoch, block, self.seed)
            .map_err(|refusal| refused(&self.path, place, refusal))?;
        let stream = self.bytes.slice_with_length(start + BLOCK_HEADER_BYTES, payload);
        let table = &self.states[block.state as usize].tables[block.table as usize];
        let batches = payload::read(&stream, &table.schema).map_err(damaged)?;
        if batches.iter().map(RecordBatch::num_rows).sum::<usize>() != block.rows as usize {
            return Err(damaged("it has another number of rows than the directory says".to_owned()));
        }
        Ok(batches)
    }

    /// The slots of a block's keys.
    fn slots(&self, number: usize, rows: &RecordBatch, codec: &KeyCodec) -> Result<Vec<u16>, SnapshotError> {
        let keys = codec.types().len();
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(rows.num_rows()));
        codec.encode(&rows.columns()[..keys], rows.num_rows(), &mut bytes, &mut ends);
        let mut start = 0;
        let slot = |end: u32| {
            let key = &bytes[start..end as usize];
            start = end as usize;
            u16::try_from(slot_of_hash(KeyCodec::hash(key))).expect("12 bits")
        };
        let slots: Vec<u16> = ends.into_iter().map(slot).collect();
        let block = &self.blocks[number];
        if slots.iter().any(|slot| !(block.first_slot..=block.last_slot).contains(slot)) {
            let place = Location::Block(number, block.offset);
            let what = "it has a key of a slot that it does not name";
            return Err(SnapshotError::damaged(&self.path, place, what));
        }
        Ok(slots)
    }

    /// Those rows of a block whose keys are in a range of slots.
    fn owned(
        &self,
        number: usize,
        rows: &RecordBatch,
        (first, last): (u16, u16),
        codec: &KeyCodec,
    ) -> Result<RecordBatch, SnapshotError> {
        let slots = self.slots(number, rows, codec)?;
        let keep: BooleanArray = slots.iter().map(|slot| Some((first..=last).contains(slot))).collect();
        Ok(filter_record_batch(rows, &keep).expect("there is a mark for each row"))
    }
}

fn refused(path: &Path, place: Location, refusal: Refusal) -> SnapshotError {
    match refusal {
        Refusal::Damaged(what) => SnapshotError::damaged(path, place, what),
        Refusal::Newer(what) => SnapshotError::newer(path, what),
    }
}

/// Checks that a header is that of the part that the manifest names.
fn belongs(path: &Path, info: &PartInfo, manifest: &Manifest, shard: usize) -> Result<(), SnapshotError> {
    let expected = [
        ("run", info.run.clone(), manifest.run.clone()),
        ("epoch", info.epoch.to_string(), manifest.barrier.epoch.to_string()),
        ("shard", info.shard.to_string(), shard.to_string()),
        ("number of shards", info.shards.to_string(), manifest.shards.len().to_string()),
    ];
    match expected.iter().find(|(_, found, expected)| found != expected) {
        Some((name, found, expected)) => {
            Err(SnapshotError::foreign(path, format!("its {name} is {found}, and the manifest's {expected}")))
        }
        None => Ok(()),
    }
}

/// The bytes of the directory, behind which there are only zeros up to the trailer.
fn directory_of<'a>(path: &Path, bytes: &'a Buffer, trailer: &Trailer) -> Result<&'a [u8], SnapshotError> {
    let trailer_at = bytes.len() - TRAILER_BYTES;
    let damaged = |what: &str| SnapshotError::damaged(path, Location::Offset(trailer_at as u64), what);
    let range = || {
        let start = usize::try_from(trailer.directory).ok()?;
        let end = start.checked_add(usize::try_from(trailer.directory_bytes).ok()?)?;
        (start >= HEADER_BYTES && end <= trailer_at).then_some(start..end)
    };
    let range = range().ok_or_else(|| damaged("the trailer names a directory outside of the file"))?;
    let behind = &bytes[range.end..trailer_at];
    if behind.len() as u64 >= ALIGNMENT || behind.iter().any(|byte| *byte != 0) {
        return Err(damaged("what is before the trailer is not zero"));
    }
    Ok(&bytes[range])
}

/// The states of a directory; none where it has a table that is none.
fn states_of(text: &DirectoryText) -> Option<Vec<SavedState>> {
    let table = |table: &super::part::TableText| {
        let schema = schema_of(&table.columns)?;
        let keyed = table.key.is_none_or(|key| key <= schema.fields().len());
        let (name, key, rows) = (table.name.clone(), table.key, table.rows);
        keyed.then_some(SavedTable { name, schema, key, rows, bytes: 0 })
    };
    let state = |state: &super::part::StateText| {
        let tables: Option<Vec<SavedTable>> = state.tables.iter().map(table).collect();
        Some(SavedState { name: state.name.clone(), tables: tables? })
    };
    text.states.iter().map(state).collect()
}

fn check_rows(text: &DirectoryText, summary: &PartSummary) -> Result<(), String> {
    if rows_of(text) == summary.rows {
        return Ok(());
    }
    Err("its tables have other numbers of rows than the manifest says".into())
}
