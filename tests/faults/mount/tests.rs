//! The mounted disk is a file system like others, until its power is cut.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

use rustix::fs::OFlags;

use super::*;
use crate::power::disk;

#[test]
fn files_are_files() {
    let Some(disk) = disk() else { return };
    let folder = disk.path("a/b");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("one"), "one").unwrap();
    let mut file = File::options().read(true).append(true).open(folder.join("one")).unwrap();
    file.write_all(b" and more").unwrap();
    file.set_len(7).unwrap();
    file.sync_all().unwrap();
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text)).unwrap();
    assert_eq!(text, "one and");
    fs::rename(folder.join("one"), folder.join("two")).unwrap();
    File::open(&folder).unwrap().sync_all().unwrap();
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["two"]);
    assert!(File::create_new(folder.join("two")).is_err());
    file.try_lock().unwrap();
    let other = File::open(folder.join("two")).unwrap();
    assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
    fs::remove_dir_all(disk.path("a")).unwrap();
    assert_eq!(fs::read_dir(disk.path("")).unwrap().count(), 0);
}

#[test]
fn direct_writes_reach_it_whole_and_short() {
    let Some(disk) = disk() else { return };
    let direct = i32::try_from(OFlags::DIRECT.bits()).unwrap();
    let file =
        File::options().write(true).create_new(true).custom_flags(direct).open(disk.path("f")).unwrap();
    // An address that is a multiple of 4096.
    let buffer = vec![7_u8; 5 * 4096];
    let start = buffer.as_ptr().align_offset(4096);
    let aligned = &buffer[start..start + 4 * 4096];
    assert_eq!(file.write_at(aligned, 0).unwrap(), aligned.len());
    disk.set_faults(Faults { short_one_in: Some(1), ..Faults::default() });
    // The kernel tries once more, past its cache, and then tells how far it came.
    let written = file.write_at(aligned, 4 * 4096).unwrap();
    assert!(written > 0 && written < aligned.len(), "{written}");
    file.sync_data().unwrap();
    assert_eq!(fs::metadata(disk.path("f")).unwrap().len(), (4 * 4096 + written) as u64);
}

#[test]
fn a_power_cut_leaves_what_was_synced() {
    let Some(disk) = disk() else { return };
    let mut synced = File::create(disk.path("synced")).unwrap();
    synced.write_all(b"synced").unwrap();
    synced.sync_data().unwrap();
    File::open(disk.path("")).unwrap().sync_all().unwrap();
    fs::write(disk.path("lost"), "lost").unwrap();
    disk.cut_power(false);
    assert!(fs::read(disk.path("synced")).is_err());
    // This seed leaves nothing but that.
    let names = (0..100).find_map(|seed| {
        disk.power_up(&mut Rng::with_seed(seed));
        assert_eq!(fs::read(disk.path("synced")).unwrap(), b"synced");
        let is_lost = !disk.path("lost").exists();
        disk.cut_power(false);
        is_lost.then_some(())
    });
    assert!(names.is_some(), "what was not synced can be lost");
    drop(synced);
}

#[test]
fn what_was_written_and_not_synced_is_not_seen_again() {
    let Some(disk) = disk() else { return };
    let is_back = (0..100).any(|seed| {
        fs::write(disk.path("f"), "old").unwrap();
        File::open(disk.path("f")).unwrap().sync_all().unwrap();
        File::open(disk.path("")).unwrap().sync_all().unwrap();
        fs::write(disk.path("f"), "new").unwrap();
        assert_eq!(fs::read(disk.path("f")).unwrap(), b"new");
        let inode = || fs::metadata(disk.path("f")).unwrap().ino();
        let before = inode();
        disk.cut_power(false);
        disk.power_up(&mut Rng::with_seed(seed));
        assert_eq!(inode(), before);
        fs::read(disk.path("f")).unwrap() == b"old"
    });
    assert!(is_back, "the kernel does not keep what the disk has lost");
}

#[test]
fn operations_fail_as_they_are_told() {
    let Some(disk) = disk() else { return };
    let mut file = File::create(disk.path("f")).unwrap();
    disk.set_faults(Faults { fail: Some((2, Failure::InputOutput)), ..Faults::default() });
    let codes: Vec<_> =
        (0..3).map(|_| file.write(b"x").err().and_then(|error| error.raw_os_error())).collect();
    assert_eq!(codes, [None, Some(5), None]);
    disk.set_faults(Faults { fail: Some((2, Failure::Full)), for_good: true, ..Faults::default() });
    let codes: Vec<_> =
        (0..3).map(|_| file.write(b"x").err().and_then(|error| error.raw_os_error())).collect();
    assert_eq!(codes, [None, Some(28), Some(28)]);
    disk.set_faults(Faults::default());
    disk.set_capacity(8);
    assert_eq!(file.write(b"123456789").unwrap(), 5);
    assert_eq!(disk.free(), 0);
}
