//! The model against its promises, and against the real disk.

use std::collections::BTreeSet;

use super::*;
use crate::io::{Disk, Mode};

/// How often each script is run, each time with another seed.
const SEEDS: u64 = 400;

fn create(disk: &dyn Storage, path: &str, bytes: &[u8]) -> Box<dyn StoredFile> {
    let mut file = disk.open(Path::new(path), Open::New).unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// A folder `d` and in it a file `old` of three bytes, all durable.
fn furnished(seed: u64) -> ModelDisk {
    let disk = ModelDisk::new(seed);
    disk.create_folder(Path::new("/d")).unwrap();
    create(&disk, "/d/old", b"old").sync().unwrap();
    disk.sync_folder(Path::new("/d")).unwrap();
    disk.sync_folder(Path::new("/")).unwrap();
    disk
}

/// What is on a disk: names and contents.
fn inventory(disk: &ModelDisk) -> String {
    let show = |(path, _): &(String, u64)| {
        let bytes = disk.read(Path::new(path)).unwrap();
        format!("{}={}", path.trim_start_matches("d/"), String::from_utf8_lossy(&bytes).replace('\0', "0"))
    };
    disk.files().iter().map(show).collect::<Vec<_>>().join(" ")
}

/// Checks that a crash leaves each of the given inventories at times, and never another.
fn check(script: impl Fn(&ModelDisk), expect: &[&str]) {
    let mut random = fastrand::Rng::with_seed(5);
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = furnished(seed);
        script(&disk);
        disk.crash(&mut random);
        seen.insert(inventory(&disk));
        // What has survived a crash is durable.
        let before = inventory(&disk);
        disk.crash(&mut random);
        assert_eq!(inventory(&disk), before);
    }
    assert_eq!(seen.iter().map(String::as_str).collect::<BTreeSet<_>>(), expect.iter().copied().collect());
}

#[test]
fn names_survive_with_their_folder() {
    let folder = Path::new("d");
    let (old, new, other) = (Path::new("d/old"), Path::new("d/new"), Path::new("d/other"));
    check(|_| {}, &["old=old"]);
    check(|disk| create(disk, "d/new", b"n").sync().unwrap(), &["old=old", "new=n old=old"]);
    check(
        |disk| {
            create(disk, "d/new", b"n").sync().unwrap();
            disk.sync_folder(folder).unwrap();
        },
        &["new=n old=old"],
    );
    check(|disk| disk.remove(old).unwrap(), &["", "old=old"]);
    check(|disk| disk.rename(old, new).unwrap(), &["old=old", "new=old"]);
    check(
        |disk| {
            disk.rename(old, new).unwrap();
            disk.sync_folder(folder).unwrap();
        },
        &["new=old"],
    );
    // A file in the place of another: one of the two is always there.
    check(
        |disk| {
            create(disk, "d/new", b"n").sync().unwrap();
            disk.sync_folder(folder).unwrap();
            disk.rename(new, old).unwrap();
        },
        &["new=n old=old", "old=n"],
    );
    // Steps that rest on each other survive in their order: no file has two names, and none vanishes.
    check(
        |disk| {
            disk.rename(old, new).unwrap();
            disk.rename(new, other).unwrap();
            create(disk, "d/old", b"n").sync().unwrap();
        },
        &["old=old", "new=old", "other=old", "new=old old=n", "old=n other=old"],
    );
    // Another folder's sync is not this one's; that of both places of a name is.
    check(
        |disk| {
            disk.create_folder(Path::new("e")).unwrap();
            create(disk, "d/new", b"n").sync().unwrap();
            disk.sync_folder(Path::new("/")).unwrap();
        },
        &["old=old", "new=n old=old"],
    );
    check(
        |disk| {
            disk.create_folder(Path::new("e")).unwrap();
            disk.sync_folder(Path::new("/")).unwrap();
            disk.rename(old, Path::new("e/old")).unwrap();
            disk.sync_folder(Path::new("e")).unwrap();
        },
        &["e/old=old"],
    );
    // A folder that is not durable takes what is in it along.
    check(
        |disk| {
            disk.create_folder(Path::new("d/in")).unwrap();
            create(disk, "d/in/new", b"n").sync().unwrap();
            disk.sync_folder(Path::new("d/in")).unwrap();
        },
        &["old=old", "in/new=n old=old"],
    );
    check(|disk| disk.remove_folder(folder).unwrap(), &["", "old=old"]);
}

#[test]
fn contents_survive_with_their_sync() {
    let append = |disk: &ModelDisk, bytes: &[u8]| {
        let mut file = disk.open(Path::new("d/old"), Open::Append).unwrap();
        file.write_all(bytes).unwrap();
        file
    };
    check(|disk| append(disk, b"er").sync().unwrap(), &["old=older"]);
    check(|disk| drop(append(disk, b"X")), &["old=old", "old=oldX", "old=old0"]);
    check(
        |disk| {
            append(disk, b"er").sync().unwrap();
            drop(append(disk, b"X"));
        },
        &["old=older", "old=olderX", "old=older0"],
    );
    check(|disk| append(disk, b"").truncate(2).unwrap(), &["old=old", "old=ol", "old=ol0"]);
    check(
        |disk| {
            let mut file = append(disk, b"");
            file.truncate(2).unwrap();
            file.write_all(b"X").unwrap();
        },
        &["old=old", "old=ol", "old=ol0", "old=olX"],
    );
    check(
        |disk| {
            let mut file = append(disk, b"");
            file.truncate(2).unwrap();
            file.sync().unwrap();
        },
        &["old=ol"],
    );
}

#[test]
fn unsynced_writes_are_torn_at_sectors() {
    let sector = content::SECTOR_BYTES;
    let mut random = fastrand::Rng::with_seed(3);
    let (mut torn, mut lengths) = (0, BTreeSet::new());
    for seed in 0..SEEDS {
        let disk = furnished(seed);
        let mut file = disk.open(Path::new("d/old"), Open::Truncated).unwrap();
        file.write_all(&vec![b'1'; 4 * sector]).unwrap();
        file.sync().unwrap();
        // Longer than the file before, in two writes which meet within a sector.
        file.truncate(sector as u64 / 2).unwrap();
        file.write_all(&vec![b'2'; 3 * sector]).unwrap();
        file.write_all(&vec![b'3'; 3 * sector]).unwrap();
        disk.crash(&mut random);
        assert!(file.sync().is_err(), "handles from before a crash are dead");
        let bytes = disk.read(Path::new("d/old")).unwrap();
        assert!((sector / 2..=6 * sector + sector / 2).contains(&bytes.len()));
        lengths.insert(bytes.len());
        let kinds: Vec<BTreeSet<u8>> =
            bytes.chunks(sector).map(|sector| sector.iter().copied().collect()).collect();
        torn += u64::from(kinds.iter().skip(1).collect::<BTreeSet<_>>().len() > 2);
        assert!(
            bytes[..(sector / 2).min(bytes.len())].iter().all(|byte| *byte == b'1'),
            "durable bytes stay"
        );
        for (number, kinds) in kinds.iter().enumerate().filter(|(number, _)| ![0, 3].contains(number)) {
            // Zeros lie where the length has survived and the sector has not.
            assert!(kinds.len() == 1 || (number + 1) * sector > bytes.len(), "{number} {kinds:?}");
        }
    }
    assert!(torn > SEEDS / 10 && lengths.len() > 20, "{torn} {lengths:?}");
}

#[test]
fn what_a_failed_sync_covered_is_lost_to_later_ones() {
    let mut random = fastrand::Rng::with_seed(3);
    let disk = furnished(1);
    let mut file = disk.open(Path::new("d/old"), Open::Append).unwrap();
    file.write_all(&[b'1'; 600]).unwrap();
    disk.fail_operation(1, Fault::Io, Lasting::Once);
    file.sync().unwrap_err();
    file.write_all(&[b'2'; 1000]).unwrap();
    file.sync().unwrap();
    assert_eq!(disk.read(Path::new("d/old")).unwrap().len(), 1603);
    disk.crash(&mut random);
    let bytes = disk.read(Path::new("d/old")).unwrap();
    assert_eq!(bytes.len(), 1603);
    let expect = [&b"old"[..], &[0; 509], &[b'1'; 91], &[b'2'; 1000]].concat();
    assert!(bytes == expect, "the sector that was written to once more is whole");
}

/// Writes a block file as fast as it goes; yields how often it was looked at.
fn write_blocks(disk: &ModelDisk, path: &str, bytes: &[u8]) -> io::Result<u32> {
    let mut file = disk.open_blocks(Path::new(path))?;
    let mut rest = bytes;
    let (mut polls, mut asked) = (0, false);
    while !file.poll()? {
        polls += 1;
        let piece = rest.len().min(file.room());
        file.write(&rest[..piece]);
        rest = &rest[piece..];
        if rest.is_empty() && !asked {
            file.finish();
            asked = true;
        }
    }
    Ok(polls)
}

fn some_bytes(length: usize) -> Vec<u8> {
    (1..=251).cycle().take(length).collect()
}

#[test]
fn block_files_are_written_in_any_order_and_whole() {
    let mut random = fastrand::Rng::with_seed(9);
    for (slow, short) in [(None, false), (None, true), (Some(0), false), (Some(3), false), (Some(5), true)] {
        let bytes = some_bytes(9 * crate::io::BLOCK_BYTES + 5000);
        let disk = furnished(1);
        disk.slow(slow);
        if short {
            disk.fail_operation(3, Fault::Short, Lasting::Once);
            disk.fail_operation(5, Fault::Interrupted, Lasting::Once);
        }
        let polls = write_blocks(&disk, "d/new", &bytes).unwrap();
        assert!(slow.map_or(polls == 2, |_| polls >= 10), "{polls}");
        disk.sync_folder(Path::new("d")).unwrap();
        disk.crash(&mut random);
        let stored = disk.read(Path::new("d/new")).unwrap();
        assert_eq!(stored.len(), bytes.len().next_multiple_of(4096));
        assert!(stored[..bytes.len()] == bytes);
        assert!(stored[bytes.len()..].iter().all(|byte| *byte == 0));
        assert_eq!(disk.open_files(), 0);
    }
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = furnished(1);
    disk.limit(Some(10));
    let mut file = create(&disk, "d/new", b"1234");
    assert_eq!(file.write_all(b"5678").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!((disk.used_bytes(), inventory(&disk).as_str()), (10, "new=1234567 old=old"));
    disk.remove(Path::new("d/old")).unwrap();
    file.write_all(b"890").unwrap();
    assert_eq!(write_blocks(&disk, "d/blocks", b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
    disk.limit(None);
    write_blocks(&disk, "d/more", b"x").unwrap();
    assert_eq!(disk.used_bytes(), 10 + 4096);
    drop(file);
    disk.remove_folder(Path::new("d")).unwrap();
    assert_eq!((disk.used_bytes(), disk.open_files()), (0, 0));
}

#[test]
fn faults_come_when_they_are_told_to() {
    // The first operation after the folder was furnished is the fault's.
    let check = |fault: Fault, run: &dyn Fn(&ModelDisk) -> io::Result<()>, expect: Option<io::ErrorKind>| {
        let disk = furnished(1);
        disk.fail_operation(1, fault, Lasting::Once);
        let result = run(&disk);
        assert_eq!(result.as_ref().err().map(io::Error::kind), expect, "{fault:?} {:?}", disk.trace());
        assert_eq!(disk.is_crashed(), fault == Fault::Crash);
        assert_eq!(run(&disk).is_err(), fault == Fault::Crash);
    };
    let old = Path::new("d/old");
    let io = Some(Fault::Io.error().kind());
    let other = Some(io::ErrorKind::Other);
    let full = Some(io::ErrorKind::StorageFull);
    let read = |disk: &ModelDisk| disk.read(old).map(drop);
    let create = |disk: &ModelDisk| disk.open(Path::new("d/more"), Open::Append).map(drop);
    let list = |disk: &ModelDisk| disk.list(Path::new("d")).map(drop);
    let sync = |disk: &ModelDisk| disk.sync_folder(Path::new("d"));
    let length = |disk: &ModelDisk| disk.length(old).map(drop);
    for (fault, expect) in [
        (Fault::Io, io),
        (Fault::Full, None),
        (Fault::Interrupted, None),
        (Fault::Short, None),
        (Fault::Crash, other),
    ] {
        check(fault, &read, expect);
        check(fault, &list, expect);
        check(fault, &length, expect);
    }
    check(Fault::Io, &create, io);
    check(Fault::Full, &create, full);
    check(Fault::Interrupted, &create, None);
    check(Fault::Crash, &create, other);
    check(Fault::Io, &sync, io);
    check(Fault::Full, &sync, full);
    check(Fault::Interrupted, &sync, Some(io::ErrorKind::Interrupted));
    check(Fault::Short, &sync, None);

    // Half of a write is done, which the writer notices or not.
    let write = |fault: Fault, expect: &str| {
        let disk = furnished(1);
        let mut file = disk.open(old, Open::Append).unwrap();
        disk.fail_operation(1, fault, Lasting::Once);
        drop(file.write_all(b"1234"));
        assert_eq!(inventory(&disk), expect, "{fault:?}");
    };
    write(Fault::Io, "old=old12");
    write(Fault::Full, "old=old12");
    write(Fault::Short, "old=old1234");
    write(Fault::Interrupted, "old=old1234");

    // For good, until it is healed.
    let disk = furnished(1);
    disk.fail_operation(2, Fault::Io, Lasting::ForGood);
    read(&disk).unwrap();
    read(&disk).unwrap_err();
    read(&disk).unwrap_err();
    assert_eq!(disk.operations(), 9);
    disk.heal();
    read(&disk).unwrap();
    disk.fail_operation(1, Fault::Interrupted, Lasting::ForGood);
    assert_eq!(read(&disk).unwrap_err().kind(), io::ErrorKind::Interrupted);
}

#[test]
fn a_step_that_is_left_out_shows() {
    // Whether the file is there and whole after each of many crashes.
    let check = |ignored: Option<Ignored>, fault: Option<Fault>, expect: bool| {
        let mut random = fastrand::Rng::with_seed(2);
        let bytes = some_bytes(3 * crate::io::BLOCK_BYTES);
        let mut whole = true;
        for seed in 0..30 {
            let disk = furnished(seed);
            disk.slow(Some(2));
            if let Some(ignored) = ignored.clone() {
                disk.ignore(ignored);
            }
            if let Some(fault) = fault {
                disk.fail_operation(2, fault, Lasting::Once);
            }
            write_blocks(&disk, "d/new", &bytes).unwrap();
            disk.sync_folder(Path::new("d")).unwrap();
            disk.crash(&mut random);
            whole &= disk.read(Path::new("d/new")).is_ok_and(|stored| stored == bytes);
        }
        assert_eq!(whole, expect, "{ignored:?}");
    };
    check(None, None, true);
    check(None, Some(Fault::Short), true);
    check(Some(Ignored::SyncOf("*/new".to_owned())), None, false);
    check(Some(Ignored::SyncOf("/d/old".to_owned())), None, true);
    check(Some(Ignored::SyncFolderOf("d".to_owned())), None, false);
    check(Some(Ignored::SyncFolderOf("e".to_owned())), None, true);
    check(Some(Ignored::RestOfShortBlocks), None, true);
    check(Some(Ignored::RestOfShortBlocks), Some(Fault::Short), false);
    check(Some(Ignored::BlocksInFlight), None, false);

    let disk = furnished(1);
    disk.ignore(Ignored::TruncateOf("d/*".to_owned()));
    disk.ignore(Ignored::RemoveOf("d/*".to_owned()));
    disk.open(Path::new("d/old"), Open::Append).unwrap().truncate(1).unwrap();
    disk.remove(Path::new("d/old")).unwrap();
    assert_eq!(inventory(&disk), "old=old");
}

/// Does one drawn operation; yields what came of it, in words.
fn draw_operation(
    disk: &dyn Storage,
    root: &Path,
    open: &mut Vec<Box<dyn StoredFile>>,
    random: &mut fastrand::Rng,
) -> String {
    let names = ["a", "b", "c", "a/a", "a/b", "b/a", "b/b/a"];
    let mut path = || root.join(names[random.usize(..names.len())]);
    let (path, other) = (path(), path());
    let kind = |error: io::Error| error.kind();
    match random.u8(..12) {
        0 => format!("{:?}", disk.create_folder(&path).map_err(kind)),
        1 => format!("{:?}", disk.list(&path).map_err(kind)),
        how @ 2..5 => {
            let how = [Open::Truncated, Open::Append, Open::New][usize::from(how - 2)];
            // One program writes a file.
            open.clear();
            format!("{:?}", disk.open(&path, how).map(|file| open.push(file)).map_err(kind))
        }
        5 => format!("{:?}", disk.read(&path).map_err(kind)),
        6 => format!("{:?}", disk.rename(&path, &other).map_err(kind)),
        7 => format!("{:?}", disk.remove(&path).map_err(kind)),
        8 => format!("{:?}", disk.remove_folder(&path).map_err(kind)),
        9 => {
            let synced = disk.sync_folder(&path);
            // A file can be synced like a folder.
            if disk.read(&path).is_ok() { String::new() } else { format!("{:?}", synced.map_err(kind)) }
        }
        _ => {
            let (length, bytes) = (random.u64(..6), vec![random.u8(..); random.usize(..6)]);
            let results = open.iter_mut().map(|file| {
                let cut = if length % 2 == 0 { file.truncate(length) } else { Ok(()) };
                (cut.map_err(kind), file.write_all(&bytes).map_err(kind), file.sync().map_err(kind))
            });
            format!("{:?}", results.collect::<Vec<_>>())
        }
    }
}

#[test]
fn without_faults_the_model_is_a_disk() {
    for seed in 0..40 {
        let folder = tempfile::tempdir().unwrap();
        let (real, model) = (Disk::new(Mode::Threads), ModelDisk::new(seed));
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut of_real, mut of_model) = (Vec::new(), Vec::new());
        for step in 0..150 {
            let mut same = random.clone();
            let expect = draw_operation(&real, folder.path(), &mut of_real, &mut random);
            let got = draw_operation(&model, Path::new("/"), &mut of_model, &mut same);
            assert_eq!(got, expect, "seed {seed}, step {step}: {:?}", model.trace().last());
        }
    }
}

#[test]
fn the_same_seed_does_the_same() {
    let run = |seed: u64, drawn: u64| {
        let disk = furnished(seed);
        disk.slow(Some(4));
        let mut random = fastrand::Rng::with_seed(drawn);
        for round in 0..3 {
            write_blocks(&disk, &format!("d/{round}"), &some_bytes(5 * crate::io::BLOCK_BYTES)).unwrap();
            let mut open = Vec::new();
            (0..20).for_each(|_| drop(draw_operation(&disk, Path::new("/d"), &mut open, &mut random)));
            disk.fail_operation(random.u64(1..20), Fault::Crash, Lasting::Once);
            (0..20).for_each(|_| drop(draw_operation(&disk, Path::new("/d"), &mut open, &mut random)));
            disk.crash(&mut random);
            disk.create_folder(Path::new("d")).unwrap();
        }
        (disk.trace_hash(), inventory(&disk))
    };
    assert_eq!(run(1, 1), run(1, 1));
    assert_ne!(run(1, 1).0, run(2, 1).0);
    assert_ne!(run(1, 1).0, run(1, 2).0);
}
