//! Commits, with every operation of the file system failing in turn.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::io::{Open, Storage, StoredFile};

/// The machine's disk, on which one operation fails.
#[derive(Debug)]
struct Failing {
    /// How many more operations work.
    left: Arc<AtomicUsize>,
}

impl Failing {
    fn pass(&self) -> io::Result<()> {
        pass(&self.left)
    }
}

fn pass(left: &AtomicUsize) -> io::Result<()> {
    match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.wrapping_sub(1))) {
        Ok(0) => Err(io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    }
}

struct FailingFile(Box<dyn StoredFile>, Arc<AtomicUsize>);

impl StoredFile for FailingFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        // What fails has written a part.
        pass(&self.1).or_else(|error| self.0.write_all(&bytes[..bytes.len() / 2]).and(Err(error)))?;
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        pass(&self.1)
    }

    fn truncate(&mut self, _length: u64) -> io::Result<()> {
        unreachable!("a snapshot is never cut")
    }

    fn duplicate(&self) -> io::Result<Box<dyn StoredFile>> {
        unreachable!("a manifest has one handle")
    }
}

impl Storage for Failing {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.pass().and_then(|()| disk().create_folder(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.pass().and_then(|()| disk().list(path))
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn StoredFile>> {
        self.pass()?;
        Ok(Box::new(FailingFile(disk().open(path, how)?, self.left.clone())))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.pass().and_then(|()| disk().read(path))
    }

    fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        self.pass().and_then(|()| disk().length(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass().and_then(|()| disk().rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.pass().and_then(|()| disk().remove(path))
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.pass().and_then(|()| disk().remove_folder(path))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.pass().and_then(|()| disk().sync_folder(path))
    }

    fn open_blocks(&self, _path: &Path) -> io::Result<Box<dyn BlockFile>> {
        unreachable!("the store opens no parts")
    }
}

fn epochs(store: &Store) -> Vec<u64> {
    store.list().unwrap().iter().map(|committed| committed.epoch).collect()
}

fn names(store: &Store) -> Vec<String> {
    disk().list(store.folder()).unwrap()
}

#[test]
fn the_newest_is_found_and_the_oldest_are_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(Arc::new(disk()), folder.path());
    assert!(store.newest().unwrap().is_none());
    for epoch in [1, 2, 3, 10, 12_345_678_901] {
        let (manifest, files) = written(epoch, 1, 5, 5);
        place(folder.path(), &manifest, &files);
    }
    assert_eq!(epochs(&store), [1, 2, 3, 10, 12_345_678_901]);
    assert_eq!(store.newest().unwrap().unwrap().manifest.unwrap().barrier.epoch, 12_345_678_901);
    assert_eq!(store.prune(3).unwrap(), [1, 2]);
    assert_eq!(store.prune(3).unwrap(), [0; 0]);
    assert_eq!(store.prune(0).unwrap(), [3, 10]);
    assert_eq!(names(&store), ["12345678901"]);
}

#[test]
fn what_a_crash_has_left_is_removed_and_what_is_not_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (manifest, files) = written(7, 1, 5, 5);
    let store = place(folder.path(), &manifest, &files);
    for name in ["0000000008.tmp", "0000000006.gone", "notes", "8.tmp", "00000000007"] {
        fs::create_dir(store.folder().join(name)).unwrap();
        fs::write(store.folder().join(name).join("shard-000"), "x").unwrap();
    }
    assert_eq!(epochs(&store), [7]);
    store.prepare().unwrap();
    assert_eq!(names(&store), ["00000000007", "0000000007", "8.tmp", "notes"]);
    store.open(7, Access::Mapped).unwrap().verify().unwrap();
}

#[test]
fn nothing_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let (manifest, files) = written(7, 1, 5, 5);
    let store = place(folder.path(), &manifest, &files);
    assert!(matches!(store.begin(7), Err(CommitError::Abandoned { .. })));
    store.begin(8).unwrap();
    assert!(matches!(store.begin(8), Err(CommitError::Abandoned { .. })));
    // A second writer that has come to the same epoch.
    fs::create_dir(store.folder().join("0000000007.tmp")).unwrap();
    assert!(matches!(store.commit(&manifest), Err(CommitError::Abandoned { .. })));
    store.open(7, Access::Read).unwrap().verify().unwrap();
}

#[test]
fn a_bad_manifest_under_a_committed_name_is_never_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    for epoch in [6, 7] {
        let (manifest, files) = written(epoch, 1, 5, 5);
        place(folder.path(), &manifest, &files);
    }
    let store = Store::new(Arc::new(disk()), folder.path());
    let path = |epoch| store.folder().join(snapshot_name(epoch)).join("MANIFEST");
    let newest = || store.newest().unwrap().unwrap().manifest.unwrap_err();
    fs::write(path(7), fs::read(path(6)).unwrap()).unwrap();
    assert!(newest().to_string().contains("it is of epoch 6, under the name of epoch 7"), "{}", newest());
    fs::write(path(7), "").unwrap();
    assert!(newest().help().contains("`run --from N`"));
    fs::remove_file(path(7)).unwrap();
    assert!(newest().to_string().contains("it is missing"));
    assert!(store.open(7, Access::Read).is_err());
    store.open(6, Access::Read).unwrap();
}

#[test]
fn every_error_of_a_commit_leaves_it_whole_or_undone_and_says_which() {
    let (manifest, files) = written(7, 2, 5, 5);
    let (mut abandoned, mut unknown) = (0, 0);
    for works in 0..100 {
        let folder = tempfile::tempdir().unwrap();
        let sound = Store::new(Arc::new(disk()), folder.path());
        sound.prepare().unwrap();
        let left = Arc::new(AtomicUsize::new(works));
        let store = Store::new(Arc::new(Failing { left: left.clone() }), folder.path());
        let commit = || -> Result<PathBuf, CommitError> {
            let writing = store.begin(7)?;
            for (shard, bytes) in files.iter().enumerate() {
                fs::write(writing.join(part_name(shard)), bytes).unwrap();
            }
            store.commit(&manifest)
        };
        let result = commit();
        // From here on the disk works again.
        left.store(usize::MAX, Ordering::SeqCst);
        match result {
            Ok(_) => {
                assert!(abandoned > 5 && unknown == 2, "{abandoned} {unknown}");
                assert_eq!(epochs(&sound), [7]);
                return;
            }
            Err(CommitError::Abandoned { .. }) => {
                abandoned += 1;
                assert_eq!(names(&sound), [""; 0], "after {works} operations");
                // The next epoch may come.
                let (manifest, files) = written(8, 1, 5, 5);
                place(folder.path(), &manifest, &files);
            }
            Err(CommitError::Unknown { .. }) => {
                unknown += 1;
                assert!(["0000000007", "0000000007.tmp"].contains(&names(&sound)[0].as_str()));
            }
        }
    }
    panic!("a commit takes fewer operations");
}

#[test]
fn every_error_of_pruning_leaves_only_whole_snapshots() {
    for works in 0..30 {
        let folder = tempfile::tempdir().unwrap();
        for epoch in 1..5 {
            let (manifest, files) = written(epoch, 1, 5, 5);
            place(folder.path(), &manifest, &files);
        }
        let left = Arc::new(AtomicUsize::new(works));
        let failed = Store::new(Arc::new(Failing { left }), folder.path()).prune(2).is_err();
        let store = Store::new(Arc::new(disk()), folder.path());
        for committed in store.list().unwrap() {
            store.open(committed.epoch, Access::Read).unwrap().verify().unwrap();
        }
        assert_eq!(epochs(&store)[epochs(&store).len() - 2..], [3, 4]);
        if !failed {
            assert_eq!(names(&store).len(), 2);
            return;
        }
        store.prepare().unwrap();
        store.prune(2).unwrap();
        assert_eq!(names(&store), ["0000000003", "0000000004"]);
    }
    panic!("pruning takes fewer operations");
}
