//! Both kinds of block files against real file systems.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::*;
use crate::io::storage::{BLOCK_BYTES, Storage};
use crate::io::{Disk, probe_io_uring, survive_file_size_limit};

/// The modes that can be tried here.
fn modes() -> Vec<Mode> {
    match probe_io_uring() {
        Ok(()) => vec![Mode::Uring, Mode::Threads],
        Err(why) => {
            println!("SKIPPED: block files through a ring: {why}");
            vec![Mode::Threads]
        }
    }
}

/// Writes bytes in pieces of drawn sizes and waits until the file is durable.
fn write(file: &mut dyn BlockFile, bytes: &[u8], random: &mut fastrand::Rng) -> io::Result<()> {
    let give_up = Instant::now() + Duration::from_mins(1);
    let mut rest = bytes;
    let mut asked = false;
    while !file.poll()? {
        assert!(Instant::now() < give_up, "the file is written within a minute");
        let piece = random.usize(..=BLOCK_BYTES * 3 / 2).min(rest.len()).min(file.room());
        file.write(&rest[..piece]);
        rest = &rest[piece..];
        if rest.is_empty() && !asked {
            asked = true;
            file.finish();
            assert_eq!(file.room(), 0);
        }
        if piece == 0 {
            thread::yield_now();
        }
    }
    assert!(asked, "no file is durable before it is finished");
    Ok(())
}

fn random_bytes(length: usize, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

fn check_lengths(folder: &Path) {
    let mut random = fastrand::Rng::with_seed(7);
    let few = [0, 1, 4095, 4096, 4097, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, BLOCKS * BLOCK_BYTES];
    for mode in modes() {
        let lengths: Vec<usize> =
            few.into_iter().chain((0..12).map(|_| random.usize(..5 * BLOCKS * BLOCK_BYTES / 2))).collect();
        for length in lengths {
            let path = folder.join("blocks");
            let bytes = random_bytes(length, &mut random);
            let mut file = Disk::new(mode).open_blocks(&path).unwrap();
            assert_eq!(file.room(), BLOCKS * BLOCK_BYTES);
            write(file.as_mut(), &bytes, &mut random).unwrap();
            assert!(file.poll().unwrap(), "a durable file stays durable");
            let stored = fs::read(&path).unwrap();
            assert_eq!(stored.len(), length.next_multiple_of(PAGE_BYTES), "{mode:?} {length}");
            assert!(stored[..length] == bytes, "{mode:?} {length}");
            assert!(stored[length..].iter().all(|byte| *byte == 0), "{mode:?} {length}");
            fs::remove_file(&path).unwrap();
        }
    }
}

#[test]
fn what_is_written_is_read_back() {
    check_lengths(tempfile::tempdir().unwrap().path());
}

#[test]
fn what_is_written_to_memory_is_read_back() {
    match tempfile::tempdir_in("/dev/shm") {
        Ok(folder) => check_lengths(folder.path()),
        Err(error) => println!("SKIPPED: no files in /dev/shm: {error}"),
    }
}

#[test]
fn files_are_given_up_without_harm_to_those_after_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(11);
    for mode in modes() {
        let disk = Disk::new(mode);
        for round in 0..30 {
            // Two at a time, so that rings are made, kept and thrown away.
            let given_up: Vec<_> = (0..2)
                .map(|number| {
                    let mut file =
                        disk.open_blocks(&folder.path().join(format!("{round}-{number}"))).unwrap();
                    let bytes = random_bytes(random.usize(..=file.room()), &mut random);
                    file.write(&bytes);
                    file
                })
                .collect();
            drop(given_up);
            let path = folder.path().join("kept");
            let bytes = random_bytes(3 * BLOCK_BYTES, &mut random);
            // A file may be opened as soon as the rings of those given up are free.
            let mut file = loop {
                match disk.open_blocks(&path) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => thread::yield_now(),
                    opened => break opened.unwrap(),
                }
            };
            write(file.as_mut(), &bytes, &mut random).unwrap();
            assert!(fs::read(&path).unwrap() == bytes, "{mode:?}");
            fs::remove_file(&path).unwrap();
        }
        for number in 0..2 {
            for round in 0..30 {
                fs::remove_file(folder.path().join(format!("{round}-{number}"))).unwrap();
            }
        }
    }
}

#[test]
fn a_file_may_move_to_another_thread() {
    let folder = tempfile::tempdir().unwrap();
    for mode in modes() {
        let path = folder.path().join("blocks");
        let mut file = Disk::new(mode).open_blocks(&path).unwrap();
        file.write(&vec![7; BLOCK_BYTES + 1]);
        let writing = thread::spawn(move || {
            while !file.poll().unwrap() {
                if file.room() > 0 {
                    file.finish();
                }
            }
        });
        writing.join().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), BLOCK_BYTES as u64 + ALIGNMENT);
        fs::remove_file(&path).unwrap();
    }
}

/// Writes until an error comes, which stays, and yields it.
fn write_until_refused(folder: &Path, mode: Mode) -> io::Error {
    let mut random = fastrand::Rng::with_seed(13);
    let path = folder.join(format!("{mode:?}"));
    let mut file = Disk::new(mode).open_blocks(&path).unwrap();
    let refused = write(file.as_mut(), &vec![1; 16 * BLOCK_BYTES], &mut random).expect_err("more than fits");
    assert_eq!(file.poll().expect_err("an error stays").kind(), refused.kind());
    assert_eq!(file.room(), 0);
    drop(file);
    fs::remove_file(&path).unwrap();
    refused
}

#[test]
fn a_full_disk_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&path).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: a small file system can be mounted by root only");
        return;
    }
    let refused: Vec<io::Error> = modes().into_iter().map(|mode| write_until_refused(&path, mode)).collect();
    assert!(Command::new("umount").arg("-l").arg(&path).status().unwrap().success());
    for error in refused {
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}

/// Set where a test may limit its whole process.
const LIMITED: &str = "MILLSTREAM_TEST_LIMITED";

/// Runs itself once more in a process of its own: the limit is the whole process's, and other tests write files, too.
#[test]
fn a_limit_on_the_size_of_files_is_an_error() {
    if std::env::var_os(LIMITED).is_some() {
        return refuse_beyond_a_limit();
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .env(LIMITED, "yes")
        .args(["--exact", "io::blocks::tests::a_limit_on_the_size_of_files_is_an_error"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && text.contains("1 passed"), "{text}");
}

fn refuse_beyond_a_limit() {
    survive_file_size_limit().unwrap();
    let mut folders = vec![tempfile::tempdir().unwrap()];
    folders.extend(tempfile::tempdir_in("/dev/shm"));
    // At a block's end, at a page's end, and where no write past the page cache can end.
    for limit in [BLOCK_BYTES, 3 * BLOCK_BYTES + PAGE_BYTES, 5 * BLOCK_BYTES + 100] {
        setrlimit(Resource::Fsize, Rlimit { current: Some(limit as u64), maximum: None }).unwrap();
        for mode in modes() {
            for folder in &folders {
                assert_eq!(write_until_refused(folder.path(), mode).kind(), io::ErrorKind::FileTooLarge);
            }
        }
    }
}
