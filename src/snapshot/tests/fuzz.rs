//! Random damage, most of it with checksums made right again, so that what is behind them is put to the test: whatever a
//! file says, reading it is no panic and takes no more memory than the file is worth, and an error says which file and
//! where. Damage whose checksums are left wrong is never taken.
//!
//! Each test is run by a process of its own, which may allocate no more than the files are worth: what asks for more ends
//! it. `MILLSTREAM_FUZZ=N` tries N cases in the place of a number that takes some seconds; a case that fails is told by its
//! number, and `MILLSTREAM_FUZZ_FROM=NUMBER MILLSTREAM_FUZZ=1` repeats it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::mutation::{Anatomy, redraw_digits, scribble};
use super::*;
use crate::io::{ModelDisk, Open, Storage};
use crate::snapshot::read::Slots;

/// How many cases there are of each kind: together they take about a minute without optimisation, all tests of this file together.
const PARTS: u64 = 250_000;
const LARGE_PARTS: u64 = 300;
const UNSEALED: u64 = 250_000;
const MANIFESTS: u64 = 100_000;

/// Where a process that tries cases writes the number of the one it is at.
const PROGRESS: &str = "MILLSTREAM_FUZZ_PROGRESS";

fn number_from(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Tries so many cases, each with its number, in a process of its own in which this test is all that runs, and which may
/// take so many more bytes than it has before the first.
fn try_cases(test: &str, count: u64, bytes_max: u64, mut case: impl FnMut(u64)) {
    let Ok(progress) = std::env::var(PROGRESS) else { return try_in_another_process(test) };
    let from = number_from("MILLSTREAM_FUZZ_FROM").unwrap_or(0);
    let progress = File::create(progress).unwrap();
    // What is allocated once comes before the limit.
    case(from);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    let data: u64 = data.trim().trim_end_matches(" kB").parse().unwrap();
    let limit = Rlimit { current: Some((data << 10) + bytes_max), ..getrlimit(Resource::Data) };
    setrlimit(Resource::Data, limit).unwrap();
    for number in from..from + number_from("MILLSTREAM_FUZZ").unwrap_or(count) {
        progress.write_all_at(&number.to_le_bytes(), 0).unwrap();
        case(number);
    }
}

fn try_in_another_process(test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let progress = folder.path().join("progress");
    let name = format!("snapshot::tests::fuzz::{test}");
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture", "--test-threads", "1"])
        .env(PROGRESS, &progress)
        .output()
        .unwrap();
    let reached = std::fs::read(&progress).unwrap();
    let said = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
    let number = reached.try_into().map(u64::from_le_bytes);
    assert!(ended.status.success(), "case {number:?}: {}\n{said}", ended.status);
    assert!(said.contains("1 passed"), "there is a test {name}: {said}");
}

/// Checks that an error says which file and where.
fn check_error(error: &SnapshotError, file: &str, length: usize) {
    let text = error.to_string();
    assert!(text.contains(file) && !error.help().is_empty(), "{text}");
    if let SnapshotError::Damaged { place, .. } = error {
        assert!(text.ends_with(&format!("({place})")), "{text}");
        let (Location::Offset(at) | Location::Block(_, at)) = place else { return };
        assert!(*at < length as u64, "{text}: the file has {length} bytes");
    }
}

/// Reads all rows of a part, then those of half the slots, as a restart on two shards does.
fn read_all(bytes: &[u8], manifest: &Manifest) -> Result<(), SnapshotError> {
    let part = open(bytes, manifest, 0)?;
    part.verify()?;
    for (state, saved) in part.states().iter().enumerate() {
        for (table, saved) in saved.tables.iter().enumerate() {
            let codec = saved.codec();
            let slots = codec.as_ref().map(|codec| Slots { range: (0, 2047), codec });
            for slots in [None, slots] {
                part.rows(state, table, slots.as_ref(), |rows| {
                    std::hint::black_box(lines(&rows.slice(0, rows.num_rows().min(20))));
                    ControlFlow::Continue(())
                })?;
            }
        }
    }
    Ok(())
}

/// Counts what was taken and what refused: a test in which one of them does not happen tests little.
#[derive(Default)]
struct Tally {
    taken: u64,
    refused: u64,
}

impl Tally {
    fn count(&mut self, outcome: Result<(), SnapshotError>, file: &str, length: usize) {
        match outcome {
            Ok(()) => self.taken += 1,
            Err(error) => {
                check_error(&error, file, length);
                self.refused += 1;
            }
        }
    }

    fn check(&self) {
        let Self { taken, refused } = self;
        // Of one case that is repeated nothing can be expected.
        let is_run = std::env::var_os(PROGRESS).is_some() && number_from("MILLSTREAM_FUZZ") != Some(1);
        assert!(!is_run || (*taken > 10 && *refused > 100), "{taken} taken, {refused} refused");
    }
}

#[test]
fn damaged_parts_with_right_checksums_are_read_or_refused() {
    let (manifest, files) = written(42, 1, 30, 20);
    let foreign = written(41, 1, 31, 20).1.remove(0);
    let anatomy = Anatomy::of(&files[0], &manifest);
    let mut sealed = (files[0].clone(), manifest.clone());
    anatomy.seal(&mut sealed.0, &mut sealed.1);
    assert_eq!(sealed, (files[0].clone(), manifest.clone()), "the test seals as the writer does");
    let bytes_max = (1 << 20) + 8 * files[0].len() as u64;
    let mut tally = Tally::default();
    let test = "damaged_parts_with_right_checksums_are_read_or_refused";
    try_cases(test, PARTS, bytes_max, |number| {
        let (mut bytes, mut manifest) = (files[0].clone(), manifest.clone());
        let mut random = fastrand::Rng::with_seed(number);
        let anatomy = anatomy.mutate(&mut bytes, &foreign, &mut random);
        anatomy.seal(&mut bytes, &mut manifest);
        tally.count(read_all(&bytes, &manifest), "shard", bytes.len());
    });
    tally.check();
}

#[test]
fn large_damaged_parts_take_no_more_memory_than_they_are_worth() {
    let (manifest, files) = written(42, 1, 12_000, 500);
    let anatomy = Anatomy::of(&files[0], &manifest);
    assert!(files[0].len() > 1 << 20, "{} bytes", files[0].len());
    let bytes_max = 4 * files[0].len() as u64;
    let mut tally = Tally::default();
    let test = "large_damaged_parts_take_no_more_memory_than_they_are_worth";
    try_cases(test, LARGE_PARTS, bytes_max, |number| {
        let (mut bytes, mut manifest) = (files[0].clone(), manifest.clone());
        let mut random = fastrand::Rng::with_seed(number);
        let anatomy = anatomy.mutate(&mut bytes, &[0; 4096], &mut random);
        anatomy.seal(&mut bytes, &mut manifest);
        tally.count(read_all(&bytes, &manifest), "shard", bytes.len());
    });
    tally.check();
}

#[test]
fn damage_that_nobody_has_sealed_is_refused() {
    let (manifest, files) = written(42, 1, 30, 20);
    let (foreign_manifest, foreign) = written(41, 1, 31, 20);
    let anatomy = Anatomy::of(&files[0], &manifest);
    let test = "damage_that_nobody_has_sealed_is_refused";
    try_cases(test, UNSEALED, (1 << 20) + 8 * files[0].len() as u64, |number| {
        let mut random = fastrand::Rng::with_seed(number);
        let mut bytes = files[0].clone();
        match random.u32(..3) {
            0 => bytes.truncate(random.usize(..files[0].len())),
            1 => scribble(&mut bytes, &mut random),
            _ => drop(anatomy.mutate(&mut bytes, &foreign[0], &mut random)),
        }
        // Also where it is just as long as the manifest says.
        let mut manifest = if random.u8(..8) == 0 { foreign_manifest.clone() } else { manifest.clone() };
        manifest.shards[0].bytes = bytes.len() as u64;
        match read_all(&bytes, &manifest) {
            Ok(()) => assert!(bytes == files[0] && manifest.barrier.epoch == 42, "wrong rows are taken"),
            Err(error) => check_error(&error, "shard", bytes.len().max(1)),
        }
    });
}

/// Changes the text of a manifest: its bytes, its numbers, its lines.
fn mutate_manifest(text: &mut Vec<u8>, random: &mut fastrand::Rng) {
    match random.u32(..4) {
        0 => scribble(text, random),
        1 => redraw_digits(text, random),
        _ => {
            let mut lines: Vec<Vec<u8>> =
                text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            let (one, other) = (random.usize(..lines.len()), random.usize(..lines.len()));
            match random.u32(..4) {
                0 => drop(lines.remove(one)),
                1 => lines.swap(one, other),
                2 => lines[one] = lines[other].clone(),
                _ => lines.insert(one, lines[other].clone()),
            }
            *text = lines.concat();
        }
    }
}

#[test]
fn damaged_manifests_with_right_checksums_are_read_or_refused() {
    let (manifest, files) = written(42, 2, 30, 20);
    let text = manifest.text();
    let body = &text[..text.rfind("checksum").unwrap()];
    let disk = || {
        let disk = ModelDisk::new(0);
        for (shard, bytes) in files.iter().enumerate() {
            disk.open(Path::new(&part_name(shard)), Open::New).unwrap().write_all(bytes).unwrap();
        }
        disk
    };
    let bytes_max = (4 << 20) + 8 * (text.len() + 2 * files[0].len()) as u64;
    let mut tally = Tally::default();
    let test = "damaged_manifests_with_right_checksums_are_read_or_refused";
    try_cases(test, MANIFESTS, bytes_max, |number| {
        let mut random = fastrand::Rng::with_seed(number);
        let mut bytes = body.as_bytes().to_vec();
        mutate_manifest(&mut bytes, &mut random);
        let last = format!("checksum {:016x}\n", xxhash_rust::xxh3::xxh3_64(&bytes));
        bytes.extend(last.as_bytes());
        let parsed = match Manifest::parse(Path::new("MANIFEST"), &bytes) {
            Ok(parsed) => parsed,
            Err(error) => return tally.count(Err(error), "MANIFEST", bytes.len()),
        };
        // What it says of the parts is believed no more than they are.
        let opened = Snapshot::open(&disk(), Path::new("/"), parsed, Access::Read);
        let outcome = opened.and_then(|snapshot| snapshot.verify());
        tally.count(outcome, "/", files[0].len().max(files[1].len()));
    });
    tally.check();
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
