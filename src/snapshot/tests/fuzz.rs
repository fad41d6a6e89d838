//! Random changes whose checksums are right, so that what is behind the checksums is put to the test: whatever a file
//! says, reading it is no panic.

use std::time::{Duration, Instant};

use super::*;
use crate::snapshot::layout::{
    self, BLOCK_HEADER_BYTES, DIRECTORY_HEADER_BYTES, ENTRY_BYTES, HEADER_BYTES, TRAILER_BYTES, u64_at,
};

/// How long each of the tests goes on.
const TIME: Duration = Duration::from_secs(3);

/// Where the structures of a part are.
struct Anatomy {
    blocks: Vec<std::ops::Range<usize>>,
    directory: std::ops::Range<usize>,
    text: std::ops::Range<usize>,
    entries: usize,
}

impl Anatomy {
    fn of(bytes: &[u8], manifest: &Manifest) -> Self {
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
    fn seal(&self, bytes: &mut [u8], manifest: &mut Manifest) {
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
    }
}

/// Changes some bytes of a range: single bits, whole bytes, numbers at the edges of their types.
fn mutate(bytes: &mut [u8], random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..bytes.len());
        match random.u32(..4) {
            0 => bytes[at] ^= 1 << random.u32(..8),
            1 => bytes[at] = random.u8(..),
            2 => {
                let numbers =
                    [0, 1, 7, 0x7fff_ffff, 0xffff_ffff, 0x8000_0000, u64::MAX, 1 << 63, u64::MAX >> 1];
                let number = numbers[random.usize(..numbers.len())].to_le_bytes();
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

#[test]
fn parts_with_right_checksums_are_read_or_refused() {
    let (manifest, files) = written(42, 1, 30, 20);
    let anatomy = Anatomy::of(&files[0], &manifest);
    let mut sealed = (files[0].clone(), manifest.clone());
    anatomy.seal(&mut sealed.0, &mut sealed.1);
    assert_eq!(sealed, (files[0].clone(), manifest.clone()), "the test seals as the writer does");
    let (started, mut random) = (Instant::now(), fastrand::Rng::with_seed(7));
    let (mut taken, mut refused) = (0, 0);
    while started.elapsed() < TIME {
        let (mut bytes, mut manifest) = (files[0].clone(), manifest.clone());
        let range = match random.u32(..8) {
            0 => 16..HEADER_BYTES,
            1 => anatomy.text.clone(),
            2 => anatomy.entries..anatomy.directory.end,
            3 => anatomy.directory.start..anatomy.directory.start + DIRECTORY_HEADER_BYTES,
            4 => bytes.len() - TRAILER_BYTES..bytes.len(),
            _ => {
                let block = anatomy.blocks[random.usize(..anatomy.blocks.len())].clone();
                // The messages are at the start, the rows behind them.
                if random.bool() { block.start..block.end.min(block.start + 1000) } else { block }
            }
        };
        mutate(&mut bytes[range], &mut random);
        anatomy.seal(&mut bytes, &mut manifest);
        match read(&bytes, &manifest, 0) {
            Ok(_) => taken += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(taken > 10 && refused > 100, "{taken} taken, {refused} refused");
}

#[test]
fn manifests_with_right_checksums_are_read_or_refused() {
    let text = written(42, 2, 30, 20).0.text();
    let body = &text[..text.rfind("checksum").unwrap()];
    let (started, mut random) = (Instant::now(), fastrand::Rng::with_seed(7));
    let (mut taken, mut refused) = (0, 0);
    while started.elapsed() < TIME / 3 {
        let mut bytes = body.as_bytes().to_vec();
        mutate(&mut bytes, &mut random);
        let last = format!("checksum {:016x}\n", xxhash_rust::xxh3::xxh3_64(&bytes));
        match Manifest::parse(Path::new("M"), &[bytes.as_slice(), last.as_bytes()].concat()) {
            Ok(_) => taken += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(taken > 10 && refused > 100, "{taken} taken, {refused} refused");
    // Nested too deeply for a recursive reader.
    let deep = format!("millstream snapshot 1\n{}\n", "[".repeat(100_000));
    let last = format!("checksum {:016x}\n", xxhash_rust::xxh3::xxh3_64(deep.as_bytes()));
    assert!(Manifest::parse(Path::new("M"), (deep + &last).as_bytes()).is_err());
}

#[test]
fn messages_with_any_byte_changed_are_read_or_refused() {
    let (manifest, files) = written(42, 1, 30, 20);
    let anatomy = Anatomy::of(&files[0], &manifest);
    let mut refused = 0;
    for block in &anatomy.blocks {
        // The headers of the block and of its messages, with the lengths of all buffers.
        for at in block.start + 16..block.end.min(block.start + 1000) {
            for change in [1, 0x80, 0xff] {
                let (mut bytes, mut manifest) = (files[0].clone(), manifest.clone());
                bytes[at] = bytes[at].wrapping_add(change);
                anatomy.seal(&mut bytes, &mut manifest);
                refused += u32::from(read(&bytes, &manifest, 0).is_err());
            }
        }
    }
    assert!(refused > 1000, "{refused} refused");
}
