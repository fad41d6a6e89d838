//! Every damage is seen, and none is a panic.

use super::*;
use crate::snapshot::layout;

/// Whether a file is refused, which it must be unless it is as it was written.
fn refused(bytes: &[u8], manifest: &Manifest) -> bool {
    read(bytes, manifest, 0).is_err()
}

#[test]
fn every_flipped_bit_of_a_part_is_seen() {
    let (manifest, files) = written(42, 1, 6, 4);
    let mut bytes = files[0].clone();
    assert!(!refused(&bytes, &manifest));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            assert!(refused(&bytes, &manifest), "bit {bit} of byte {at}");
            bytes[at] ^= 1 << bit;
        }
    }
    assert!(!refused(&bytes, &manifest));
}

#[test]
fn every_truncation_and_extension_of_a_part_is_seen() {
    let (manifest, files) = written(42, 1, 6, 4);
    let whole = &files[0];
    for length in 0..whole.len() {
        assert!(refused(&whole[..length], &manifest), "cut to {length}");
        // Also where the manifest is of the same mind.
        let mut manifest = manifest.clone();
        manifest.shards[0].bytes = length as u64;
        assert!(refused(&whole[..length], &manifest), "cut to {length}");
    }
    for more in [1, 64, 4096] {
        assert!(refused(&[whole.as_slice(), &vec![0; more]].concat(), &manifest), "{more} bytes more");
    }
}

#[test]
fn zeros_in_the_place_of_pages_are_seen() {
    let (manifest, files) = written(42, 1, 2000, 100);
    let whole = &files[0];
    for page in (0..whole.len()).step_by(4096) {
        let mut bytes = whole.clone();
        bytes[page..page + 4096].fill(0);
        assert!(refused(&bytes, &manifest), "page at {page}");
    }
}

#[test]
fn blocks_in_the_place_of_others_are_seen() {
    let (manifest, files) = written(42, 1, 12_000, 500);
    let part = open(&files[0], &manifest, 0).unwrap();
    let blocks: Vec<(usize, usize)> = part
        .blocks
        .iter()
        .map(|block| {
            let bytes =
                layout::BLOCK_HEADER_BYTES + usize::try_from(layout::padded(block.payload).unwrap()).unwrap();
            (usize::try_from(block.offset).unwrap(), bytes)
        })
        .collect();
    // Two blocks of the same length, in each other's place.
    let mut swapped = 0;
    for (a, (first, bytes)) in blocks.iter().enumerate() {
        let Some((second, _)) = blocks[a + 1..].iter().find(|(_, other)| other == bytes) else { continue };
        let mut spoiled = files[0].clone();
        spoiled[*first..first + bytes].copy_from_slice(&files[0][*second..second + bytes]);
        spoiled[*second..second + bytes].copy_from_slice(&files[0][*first..first + bytes]);
        let error = read(&spoiled, &manifest, 0).unwrap_err().to_string();
        assert!(error.contains("another block than the directory says (block"), "{error}");
        swapped += 1;
    }
    assert!(swapped > 0, "there are blocks of one length");
    // The same block of another epoch, of another run, of another shard: whole, and of the same rows.
    let (_, older) = written(41, 1, 12_000, 500);
    let (first, bytes) = blocks[0];
    let mut spoiled = files[0].clone();
    spoiled[first..first + bytes].copy_from_slice(&older[0][first..first + bytes]);
    let error = read(&spoiled, &manifest, 0).unwrap_err().to_string();
    assert!(error.contains("checksum of the block is wrong (block 0 at byte 4096)"), "{error}");
}

#[test]
fn whole_files_in_the_place_of_others_are_seen() {
    let (manifest, files) = written(42, 2, 50, 10);
    let check = |bytes: &[u8], manifest: &Manifest, expect: &str| {
        let error = read(bytes, manifest, 0).unwrap_err();
        assert!(error.to_string().contains(expect), "{error}");
        assert!(!error.help().is_empty());
    };
    check(&files[1], &manifest, "its shard is 1, and the manifest's 0");
    check(&written(41, 2, 50, 10).1[0], &manifest, "its epoch is 41, and the manifest's 42");
    check(&written(42, 1, 50, 10).1[0], &manifest, "its number of shards is 1, and the manifest's 2");
    check(&written(42, 2, 51, 10).1[0], &manifest, "another file than the manifest says");
    check(&written(42, 2, 5000, 10).1[0], &manifest, "bytes, and the manifest says");
    let foreign = Manifest { run: "another".into(), ..manifest.clone() };
    check(&files[0], &foreign, "its run is 2f6c1d0a9b3e4f58, and the manifest's another");
    check(b"#!/bin/sh\n", &manifest, "it ends within its header");
    check(&[b'x'; 9000], &manifest, "there is no header of a part of a snapshot here");
    let mut fewer = manifest.clone();
    fewer.shards[0].rows.insert("spend/groups".into(), 1);
    check(&files[0], &fewer, "other numbers of rows");
}

#[test]
fn other_versions_are_told_from_damage() {
    let (manifest, files) = written(42, 1, 6, 4);
    let check = |at: usize, value: u8, expect: &str| {
        let mut bytes = files[0].clone();
        bytes[at] = value;
        layout::seal(&mut bytes[..layout::HEADER_BYTES], *b"millpart", 0);
        let error = read(&bytes, &manifest, 0).unwrap_err();
        assert!(matches!(error, SnapshotError::Newer { .. }), "{error}");
        assert!(error.to_string().contains(expect), "{error}");
    };
    check(16, 2, "format 2, and this version reads format 1");
    check(24, 4, "features that are not known (bits 0x4)");
    check(49, 32, "in 8192 slots");
    check(57, b'y', "by yxh3-64/45..57");
}

#[test]
fn every_flipped_bit_of_a_manifest_is_seen() {
    let manifest = written(42, 2, 6, 4).0;
    let path = Path::new("MANIFEST");
    let mut bytes = manifest.text().into_bytes();
    assert_eq!(Manifest::parse(path, &bytes).unwrap(), manifest);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            assert!(Manifest::parse(path, &bytes).is_err(), "bit {bit} of byte {at}");
            bytes[at] ^= 1 << bit;
        }
        assert!(Manifest::parse(path, &bytes[..at]).is_err(), "cut to {at}");
    }
    for more in ["\n", " ", "\0"] {
        assert!(Manifest::parse(path, &[&bytes, more.as_bytes()].concat()).is_err(), "{more:?} behind it");
    }
}

#[test]
fn another_version_of_a_manifest_is_told_from_damage() {
    let text = manifest(42, Vec::new()).text();
    let check = |from: &str, to: &str, expect: &str| {
        let body = text[..text.rfind("checksum").unwrap()].replace(from, to);
        let changed = format!("{body}checksum {:016x}\n", xxhash_rust::xxh3::xxh3_64(body.as_bytes()));
        let error = Manifest::parse(Path::new("M"), changed.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    check("snapshot 1", "snapshot 2", "written by another version of this program: format 2");
    check("millstream", "milkstream", "its first line is wrong");
    check("\"slots\": 4096", "\"slots\": 8192", "its keys are placed in another way");
    check("\"finished\": false", "\"finished\": 7", "damaged");
    check("\"finished\": false", "\"finished\": false, \"more\": 1", "unknown field `more`");
}
