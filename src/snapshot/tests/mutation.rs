//! Changes of parts that know what a part is made of, with the checksums left wrong or made right again.

use std::ops::Range;

use super::*;
use crate::snapshot::layout::{
    self, BLOCK_HEADER_BYTES, DIRECTORY_HEADER_BYTES, ENTRY_BYTES, HEADER_BYTES, TRAILER_BYTES, u64_at,
};

/// The checksum of a structure is behind its magic, and covers what is behind it.
const COVERED: usize = 16;
/// The messages of a block, and the lengths of all its buffers, are among its first bytes; the rows are behind them.
const MESSAGES: usize = 1000;

/// Where the structures of a part are.
#[derive(Clone)]
pub(super) struct Anatomy {
    pub blocks: Vec<Range<usize>>,
    directory: Range<usize>,
    text: Range<usize>,
    entries: usize,
}

impl Anatomy {
    pub fn of(bytes: &[u8], manifest: &Manifest) -> Self {
        let place = |number: u64| usize::try_from(number).unwrap();
        let part = open(bytes, manifest, 0).unwrap();
        let range = |block: &layout::Block| {
            let start = place(block.offset);
            start..start + BLOCK_HEADER_BYTES + place(layout::padded(block.payload).unwrap())
        };
        let trailer = &bytes[bytes.len() - TRAILER_BYTES..];
        let start = place(u64_at(trailer, 16));
        let directory = start..start + place(u64_at(trailer, 24));
        let text_start = start + DIRECTORY_HEADER_BYTES;
        let text = text_start..text_start + place(u64_at(bytes, start + 16));
        let entries = directory.end - part.blocks.len() * ENTRY_BYTES;
        Self { blocks: part.blocks.iter().map(range).collect(), directory, text, entries }
    }

    /// Makes all checksums right again, and tells the manifest.
    pub fn seal(&self, bytes: &mut [u8], manifest: &mut Manifest) {
        let seed = layout::seal(&mut bytes[..HEADER_BYTES], *b"millpart", 0);
        for (number, range) in self.blocks.iter().enumerate() {
            let checksum = layout::seal(&mut bytes[range.clone()], *b"millblok", seed);
            let entry = self.entries + number * ENTRY_BYTES;
            bytes[entry + 32..entry + 40].copy_from_slice(&checksum.to_le_bytes());
        }
        let directory = layout::seal(&mut bytes[self.directory.clone()], *b"milldirs", seed);
        let trailer = bytes.len() - TRAILER_BYTES;
        bytes[trailer + 32..trailer + 40].copy_from_slice(&directory.to_le_bytes());
        let checksum = layout::seal(&mut bytes[trailer..], *b"milltail", seed);
        manifest.shards[0].checksum = format!("{checksum:016x}");
        manifest.shards[0].bytes = bytes.len() as u64;
    }

    /// Changes a part in one of many ways; where its structures are then. `foreign` is another part, of the same shape.
    pub fn mutate(&self, bytes: &mut Vec<u8>, foreign: &[u8], random: &mut fastrand::Rng) -> Self {
        let trailer = bytes.len() - TRAILER_BYTES;
        match random.u32(..10) {
            0 => scribble(&mut bytes[COVERED..HEADER_BYTES], random),
            1 => scribble(&mut bytes[self.text.clone()], random),
            2 => redraw_digits(&mut bytes[self.text.clone()], random),
            3 => set_number(&mut bytes[self.entries..self.directory.end], 4, random),
            4 => set_number(&mut bytes[self.directory.start + COVERED..][..COVERED], 8, random),
            5 => set_number(&mut bytes[trailer + COVERED..], 8, random),
            6 => return self.drop_blocks(bytes, random),
            7 => self.splice(bytes, foreign, random),
            _ => {
                let block = self.blocks[random.usize(..self.blocks.len())].clone();
                let messages = block.start + COVERED..block.end.min(block.start + MESSAGES);
                match random.u32(..3) {
                    0 => set_number(&mut bytes[messages], 4, random),
                    1 => scribble(&mut bytes[messages], random),
                    _ => scribble(&mut bytes[block.start + COVERED..block.end], random),
                }
            }
        }
        self.clone()
    }

    /// Removes some of the last blocks with or without their entries in the directory, as a file might look of which the
    /// middle is missing.
    fn drop_blocks(&self, bytes: &mut Vec<u8>, random: &mut fastrand::Rng) -> Self {
        let kept = random.usize(..self.blocks.len());
        let missing = self.blocks[kept].start..self.directory.start;
        let shorter = |range: &Range<usize>| range.start - missing.len()..range.end - missing.len();
        let mut anatomy = Self {
            blocks: self.blocks[..kept].to_vec(),
            directory: shorter(&self.directory),
            text: shorter(&self.text),
            entries: self.entries - missing.len(),
        };
        bytes.drain(missing);
        if random.bool() {
            bytes.drain(anatomy.entries + kept * ENTRY_BYTES..anatomy.directory.end);
            anatomy.directory.end = anatomy.entries + kept * ENTRY_BYTES;
            put(bytes, anatomy.directory.start + 24, kept);
        }
        // The trailer goes to the end of a page, and says where all is now.
        let trailer = bytes.split_off(bytes.len() - TRAILER_BYTES);
        bytes.truncate(anatomy.directory.end);
        bytes.resize((bytes.len() + TRAILER_BYTES).next_multiple_of(4096) - TRAILER_BYTES, 0);
        let at = bytes.len();
        bytes.extend(trailer);
        put(bytes, at + 16, anatomy.directory.start);
        put(bytes, at + 24, anatomy.directory.len());
        put(bytes, at + 40, at + TRAILER_BYTES);
        anatomy
    }

    /// Puts a piece of this part or of another in the place of a piece of a block.
    fn splice(&self, bytes: &mut [u8], foreign: &[u8], random: &mut fastrand::Rng) {
        let block = self.blocks[random.usize(..self.blocks.len())].clone();
        let from = if random.bool() { foreign.to_vec() } else { bytes.to_vec() };
        let source = match random.u32(..3) {
            0 => self.blocks[random.usize(..self.blocks.len())].start + BLOCK_HEADER_BYTES,
            1 => block.start + BLOCK_HEADER_BYTES,
            _ => random.usize(..from.len()),
        };
        let target = match random.u32(..3) {
            0 => random.usize(block.start + COVERED..block.end),
            _ => block.start + BLOCK_HEADER_BYTES,
        };
        let source = source.min(from.len());
        let length = (block.end - target).min(from.len() - source);
        let length = if random.bool() { length } else { random.usize(..=length) };
        bytes[target..target + length].copy_from_slice(&from[source..source + length]);
    }
}

fn put(bytes: &mut [u8], at: usize, number: usize) {
    bytes[at..at + 8].copy_from_slice(&(number as u64).to_le_bytes());
}

/// Changes some bytes: single bits, whole bytes, numbers at the edges of their types, pieces in other places.
pub(super) fn scribble(bytes: &mut [u8], random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..bytes.len());
        match random.u32(..4) {
            0 => bytes[at] ^= 1 << random.u32(..8),
            1 => bytes[at] = random.u8(..),
            2 => {
                let number = edge(random).to_le_bytes();
                let end = bytes.len().min(at + 1 + random.usize(..8));
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
            _ => {
                let from = random.usize(..bytes.len());
                let count = random.usize(..bytes.len() - at.max(from)).min(32);
                bytes.copy_within(from..from + count, at);
            }
        }
    }
}

/// Changes a number that begins at a multiple of `step` bytes: to one at the edge of a type, or a little.
fn set_number(bytes: &mut [u8], step: usize, random: &mut fastrand::Rng) {
    let at = random.usize(..bytes.len() / step) * step;
    let width = if step == 8 || random.bool() { 8 } else { 4 };
    let field = &mut bytes[at..];
    let width = width.min(field.len());
    let mut now = [0; 8];
    now[..width].copy_from_slice(&field[..width]);
    let now = u64::from_le_bytes(now);
    let number = match random.u32(..4) {
        0 => edge(random),
        1 => now.wrapping_add(1 << random.u32(..16)),
        2 => now.wrapping_sub(1 << random.u32(..16)),
        _ => now.wrapping_mul(random.u64(2..1 << 20)),
    };
    field[..width].copy_from_slice(&number.to_le_bytes()[..width]);
}

/// Draws the digits of a number in a text anew.
pub(super) fn redraw_digits(text: &mut [u8], random: &mut fastrand::Rng) {
    let digits: Vec<usize> = (0..text.len()).filter(|at| text[*at].is_ascii_digit()).collect();
    let Some(first) = random.choice(&digits) else { return };
    let first = *first;
    let end = (first..text.len()).find(|at| !text[*at].is_ascii_digit()).unwrap_or(text.len());
    let nines = random.bool();
    text[first..end].iter_mut().for_each(|digit| *digit = if nines { b'9' } else { random.u8(b'0'..=b'9') });
}

/// A number at the edge of a type.
fn edge(random: &mut fastrand::Rng) -> u64 {
    let numbers = [0, 1, 7, 0x7fff_ffff, 0xffff_ffff, 0x8000_0000, u64::MAX, 1 << 63, u64::MAX >> 1];
    numbers[random.usize(..numbers.len())]
}
