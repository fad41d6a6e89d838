//! The fixed structures of a part, byte by byte: header, block header, directory entry, trailer. [`super::part`] says in
//! prose what they are for.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::manifest::{FORMAT, KEY_HASH};
use crate::record::SLOTS;

/// The bytes of the header of a part.
pub(super) const HEADER_BYTES: usize = 4096;
/// The bytes of the header of a block.
pub(super) const BLOCK_HEADER_BYTES: usize = 64;
/// The bytes in front of the text of a directory.
pub(super) const DIRECTORY_HEADER_BYTES: usize = 32;
/// The bytes of a directory's entry for one block.
pub(super) const ENTRY_BYTES: usize = 40;
/// The bytes of the trailer, which are the last of the file.
pub(super) const TRAILER_BYTES: usize = 64;
/// What payloads are filled up to a multiple of, bytes.
pub(super) const PAYLOAD_ALIGNMENT: usize = 64;

const HEADER_MAGIC: [u8; 8] = *b"millpart";
const BLOCK_MAGIC: [u8; 8] = *b"millblok";
const DIRECTORY_MAGIC: [u8; 8] = *b"milldirs";
const TRAILER_MAGIC: [u8; 8] = *b"milltail";

/// Behind the magic and the checksum, which every structure begins with.
const CONTENT: usize = 16;
/// Where the texts of the header are, each a length of one byte and the text.
const KEY_HASH_AT: usize = 56;
const RUN_AT: usize = 120;
const RUN_END: usize = 248;

/// What a file is a part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// The run ([`super::Manifest::run`]), at most 127 bytes.
    pub run: String,
    /// The epoch whose end it keeps.
    pub epoch: u64,
    /// Which shard it is of.
    pub shard: u32,
    /// Of how many.
    pub shards: u32,
}

/// Why a structure cannot be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not as it was written.
    Damaged(String),
    /// It is whole, and of a form that is not known.
    Newer(String),
}

fn damaged<T>(what: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Damaged(what.into()))
}

/// A number of 4 bytes.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// A number of 8 bytes.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Puts the magic and the checksum of all behind it in front of a structure; yields the checksum.
pub(super) fn seal(bytes: &mut [u8], magic: [u8; 8], seed: u64) -> u64 {
    let checksum = xxh3_64_with_seed(&bytes[CONTENT..], seed);
    put(bytes, 0, &magic);
    put(bytes, 8, &checksum.to_le_bytes());
    checksum
}

/// Checks the magic and the checksum in front of a structure of at least [`CONTENT`] bytes; yields the checksum.
fn unseal(bytes: &[u8], magic: [u8; 8], seed: u64, name: &str) -> Result<u64, Refusal> {
    if bytes[..8] != magic {
        return damaged(format!("there is no {name} here"));
    }
    let checksum = u64_at(bytes, 8);
    if xxh3_64_with_seed(&bytes[CONTENT..], seed) != checksum {
        return damaged(format!("the checksum of the {name} is wrong"));
    }
    Ok(checksum)
}

/// The header's bytes, and its checksum: the seed of all other checksums of the file.
pub(super) fn write_header(info: &PartInfo) -> (Vec<u8>, u64) {
    let mut bytes = vec![0; HEADER_BYTES];
    put(&mut bytes, 16, &FORMAT.to_le_bytes());
    put(&mut bytes, 20, &u32::try_from(HEADER_BYTES).expect("4096").to_le_bytes());
    put(&mut bytes, 32, &info.epoch.to_le_bytes());
    put(&mut bytes, 40, &info.shard.to_le_bytes());
    put(&mut bytes, 44, &info.shards.to_le_bytes());
    put(&mut bytes, 48, &SLOTS.to_le_bytes());
    for (at, end, text) in [(KEY_HASH_AT, RUN_AT, KEY_HASH), (RUN_AT, RUN_END, info.run.as_str())] {
        assert!(text.len() < end - at, "the texts of a header are short");
        bytes[at] = u8::try_from(text.len()).expect("below 128");
        put(&mut bytes, at + 1, text.as_bytes());
    }
    let seed = seal(&mut bytes, HEADER_MAGIC, 0);
    (bytes, seed)
}

/// What a header says, and its checksum. `bytes` may be of any length.
pub(super) fn read_header(bytes: &[u8]) -> Result<(PartInfo, u64), Refusal> {
    let Some(bytes) = bytes.get(..HEADER_BYTES) else {
        return damaged("it ends within its header");
    };
    let seed = unseal(bytes, HEADER_MAGIC, 0, "header of a part of a snapshot")?;
    let version = u32_at(bytes, 16);
    if version != FORMAT {
        return Err(Refusal::Newer(format!("format {version}, and this version reads format {FORMAT}")));
    }
    let features = u64_at(bytes, 24);
    if features != 0 {
        return Err(Refusal::Newer(format!("it has features that are not known (bits {features:#x})")));
    }
    let slots = u32_at(bytes, 48);
    let key_hash = text_at(bytes, KEY_HASH_AT, RUN_AT)?;
    if slots != SLOTS || key_hash != KEY_HASH {
        let what = format!("keys are in {slots} slots by {key_hash}, not in {SLOTS} by {KEY_HASH}");
        return Err(Refusal::Newer(what));
    }
    let run = text_at(bytes, RUN_AT, RUN_END)?;
    let (epoch, shard, shards) = (u64_at(bytes, 32), u32_at(bytes, 40), u32_at(bytes, 44));
    Ok((PartInfo { run, epoch, shard, shards }, seed))
}

fn text_at(bytes: &[u8], at: usize, end: usize) -> Result<String, Refusal> {
    let text = bytes[at + 1..end].get(..usize::from(bytes[at])).map(|text| String::from_utf8(text.to_vec()));
    match text {
        Some(Ok(text)) => Ok(text),
        _ => damaged("a text of the header is none"),
    }
}

/// A block, as its own header and the directory have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Where its header begins, bytes from the start of the file.
    pub offset: u64,
    /// How long its payload is, bytes, without the zeros behind it.
    pub payload: u64,
    /// How many rows it has.
    pub rows: u32,
    /// Which state they are of, counted in the directory.
    pub state: u32,
    /// Which of its tables.
    pub table: u32,
    /// The lowest slot its keys may have.
    pub first_slot: u16,
    /// The highest.
    pub last_slot: u16,
    /// The checksum of its header and payload.
    pub checksum: u64,
}

/// A payload's length with the zeros behind it; none where there is no such length.
pub(super) fn padded(payload: u64) -> Option<u64> {
    payload.checked_next_multiple_of(PAYLOAD_ALIGNMENT as u64)
}

/// Fills in the header in front of a payload that is filled up with zeros; yields the checksum.
pub(super) fn seal_block(bytes: &mut [u8], number: u32, epoch: u64, block: &Block, seed: u64) -> u64 {
    bytes[..BLOCK_HEADER_BYTES].copy_from_slice(&block_header(number, epoch, block));
    seal(bytes, BLOCK_MAGIC, seed)
}

/// A block's header without magic and checksum.
fn block_header(number: u32, epoch: u64, block: &Block) -> [u8; BLOCK_HEADER_BYTES] {
    let mut header = [0; BLOCK_HEADER_BYTES];
    put(&mut header, 16, &number.to_le_bytes());
    put(&mut header, 20, &block.state.to_le_bytes());
    put(&mut header, 24, &block.table.to_le_bytes());
    put(&mut header, 28, &block.rows.to_le_bytes());
    put(&mut header, 32, &block.first_slot.to_le_bytes());
    put(&mut header, 34, &block.last_slot.to_le_bytes());
    put(&mut header, 40, &block.payload.to_le_bytes());
    put(&mut header, 48, &epoch.to_le_bytes());
    header
}

/// Checks that the bytes are those of the block that the directory names, header and filled up payload.
pub(super) fn unseal_block(
    bytes: &[u8],
    number: u32,
    epoch: u64,
    block: &Block,
    seed: u64,
) -> Result<(), Refusal> {
    let checksum = unseal(bytes, BLOCK_MAGIC, seed, "block")?;
    let header = block_header(number, epoch, block);
    if bytes[CONTENT..BLOCK_HEADER_BYTES] != header[CONTENT..] || checksum != block.checksum {
        return damaged("this is another block than the directory says");
    }
    Ok(())
}

/// Appends the directory's entry of a block.
pub(super) fn write_entry(block: &Block, out: &mut Vec<u8>) {
    out.extend_from_slice(&block.offset.to_le_bytes());
    out.extend_from_slice(&block.payload.to_le_bytes());
    out.extend_from_slice(&block.rows.to_le_bytes());
    out.extend_from_slice(&block.state.to_le_bytes());
    out.extend_from_slice(&block.table.to_le_bytes());
    out.extend_from_slice(&block.first_slot.to_le_bytes());
    out.extend_from_slice(&block.last_slot.to_le_bytes());
    out.extend_from_slice(&block.checksum.to_le_bytes());
}

fn read_entry(bytes: &[u8]) -> Block {
    Block {
        offset: u64_at(bytes, 0),
        payload: u64_at(bytes, 8),
        rows: u32_at(bytes, 16),
        state: u32_at(bytes, 20),
        table: u32_at(bytes, 24),
        first_slot: u16_at(bytes, 28),
        last_slot: u16_at(bytes, 30),
        checksum: u64_at(bytes, 32),
    }
}

/// The directory's bytes, and its checksum.
pub(super) fn write_directory(text: &[u8], entries: &[u8], seed: u64) -> (Vec<u8>, u64) {
    let mut bytes = vec![0; DIRECTORY_HEADER_BYTES];
    put(&mut bytes, 16, &(text.len() as u64).to_le_bytes());
    put(&mut bytes, 24, &((entries.len() / ENTRY_BYTES) as u64).to_le_bytes());
    bytes.extend_from_slice(text);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend_from_slice(entries);
    let checksum = seal(&mut bytes, DIRECTORY_MAGIC, seed);
    (bytes, checksum)
}

/// The text and the blocks of a directory.
pub(super) fn read_directory<'a>(
    bytes: &'a [u8],
    trailer: &Trailer,
    seed: u64,
) -> Result<(&'a [u8], Vec<Block>), Refusal> {
    if bytes.len() < DIRECTORY_HEADER_BYTES {
        return damaged("the directory is cut off");
    }
    if unseal(bytes, DIRECTORY_MAGIC, seed, "directory")? != trailer.directory_checksum {
        return damaged("this is another directory than the trailer says");
    }
    let split = || {
        let text_bytes = usize::try_from(u64_at(bytes, 16)).ok()?;
        let blocks = usize::try_from(u64_at(bytes, 24)).ok()?;
        let text_end = DIRECTORY_HEADER_BYTES.checked_add(text_bytes)?;
        let entries_at = text_end.checked_next_multiple_of(8)?;
        let text = bytes.get(DIRECTORY_HEADER_BYTES..text_end)?;
        let entries = bytes.get(entries_at..)?;
        (blocks.checked_mul(ENTRY_BYTES)? == entries.len()).then_some((text, entries))
    };
    match split() {
        Some((text, entries)) => Ok((text, entries.chunks_exact(ENTRY_BYTES).map(read_entry).collect())),
        None => damaged("the lengths in the directory are wrong"),
    }
}

/// The end of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Where the directory begins.
    pub directory: u64,
    /// How long it is, bytes.
    pub directory_bytes: u64,
    /// Its checksum.
    pub directory_checksum: u64,
    /// How long the file is, bytes, the trailer included.
    pub file_bytes: u64,
}

/// The trailer's bytes, and its checksum: through the directory it covers all that the file holds.
pub(super) fn write_trailer(trailer: &Trailer, seed: u64) -> ([u8; TRAILER_BYTES], u64) {
    let mut bytes = [0; TRAILER_BYTES];
    put(&mut bytes, 16, &trailer.directory.to_le_bytes());
    put(&mut bytes, 24, &trailer.directory_bytes.to_le_bytes());
    put(&mut bytes, 32, &trailer.directory_checksum.to_le_bytes());
    put(&mut bytes, 40, &trailer.file_bytes.to_le_bytes());
    let checksum = seal(&mut bytes, TRAILER_MAGIC, seed);
    (bytes, checksum)
}

/// The trailer at the end of a file of at least a header and a trailer, and its checksum.
pub(super) fn read_trailer(file: &[u8], seed: u64) -> Result<(Trailer, u64), Refusal> {
    let bytes = &file[file.len() - TRAILER_BYTES..];
    let checksum = unseal(bytes, TRAILER_MAGIC, seed, "trailer")?;
    let trailer = Trailer {
        directory: u64_at(bytes, 16),
        directory_bytes: u64_at(bytes, 24),
        directory_checksum: u64_at(bytes, 32),
        file_bytes: u64_at(bytes, 40),
    };
    if trailer.file_bytes != file.len() as u64 {
        return damaged(format!("it has {} bytes, and {} were written", file.len(), trailer.file_bytes));
    }
    Ok((trailer, checksum))
}
