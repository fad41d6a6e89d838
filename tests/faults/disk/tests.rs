//! What a disk can look like after a power cut.

use super::*;

/// What a disk can look like after a power cut: each file's path and content.
fn outcomes(disk: &Disk) -> BTreeSet<Vec<(String, String)>> {
    fn walk(disk: &Disk, folder: Inode, path: &str, found: &mut Vec<(String, String)>) {
        for (name, attributes) in disk.list(folder).unwrap() {
            let path = format!("{path}/{name}");
            if attributes.is_folder {
                found.push((format!("{path}/"), String::new()));
                walk(disk, attributes.inode, &path, found);
            } else {
                let bytes = disk.read(attributes.inode, 0, usize::MAX).unwrap();
                let text: String =
                    bytes.chunk_by(|a, b| a == b).map(|run| char::from(run[0].max(b'0'))).collect();
                found.push((path, text));
            }
        }
    }
    (0..500)
        .map(|seed| {
            let (mut cut, mut found) = (disk.clone(), Vec::new());
            cut.cut_power(&mut Rng::with_seed(seed));
            walk(&cut, ROOT, "", &mut found);
            found
        })
        .collect()
}

fn file(disk: &mut Disk, folder: Inode, name: &str, letter: u8) -> Inode {
    let inode = disk.make(folder, name, false, 0o644).unwrap();
    assert_eq!(disk.write(inode, 0, &[letter; 2 * SECTOR]), Ok(2 * SECTOR));
    inode
}

fn contents(outcomes: &BTreeSet<Vec<(String, String)>>) -> BTreeSet<Vec<&str>> {
    outcomes.iter().map(|files| files.iter().map(|(_, text)| text.as_str()).collect()).collect()
}

#[test]
fn a_name_is_durable_once_its_folder_is_synced_and_content_once_the_file_is() {
    let mut disk = Disk::new();
    let a = file(&mut disk, ROOT, "a", b'a');
    assert!(outcomes(&disk).contains(&vec![]), "nothing was synced");
    disk.sync(a).unwrap();
    let all = outcomes(&disk);
    assert_eq!(all, BTreeSet::from([vec![], vec![("/a".to_owned(), "a".to_owned())]]));
    disk.sync_folder(ROOT).unwrap();
    assert_eq!(outcomes(&disk), BTreeSet::from([vec![("/a".to_owned(), "a".to_owned())]]));
}

#[test]
fn unsynced_sectors_are_there_or_not_each_for_itself() {
    let mut disk = Disk::new();
    let a = file(&mut disk, ROOT, "a", b'a');
    disk.sync(a).unwrap();
    disk.sync_folder(ROOT).unwrap();
    disk.write(a, 0, &[b'b'; 2 * SECTOR]).unwrap();
    let all = outcomes(&disk);
    assert_eq!(contents(&all), BTreeSet::from([vec!["a"], vec!["ab"], vec!["b"], vec!["ba"]]));
    // Behind the old end there may be zeros, and any length between.
    disk.sync(a).unwrap();
    disk.write(a, 2 * SECTOR as u64, &[b'c'; SECTOR]).unwrap();
    assert_eq!(contents(&outcomes(&disk)), BTreeSet::from([vec!["b"], vec!["b0"], vec!["bc"]]));
}

#[test]
fn what_was_cut_off_may_be_there_or_zero_again() {
    let mut disk = Disk::new();
    let a = file(&mut disk, ROOT, "a", b'a');
    disk.sync(a).unwrap();
    disk.sync_folder(ROOT).unwrap();
    disk.set_length(a, SECTOR as u64).unwrap();
    disk.write(a, SECTOR as u64, &[b'b'; SECTOR]).unwrap();
    assert_eq!(contents(&outcomes(&disk)), BTreeSet::from([vec!["a"], vec!["ab"], vec!["a0"]]));
}

#[test]
fn a_rename_is_atomic_and_never_comes_without_what_it_builds_on() {
    let mut disk = Disk::new();
    let a = file(&mut disk, ROOT, "a", b'a');
    let b = file(&mut disk, ROOT, "b", b'b');
    disk.sync(a).unwrap();
    disk.sync(b).unwrap();
    disk.sync_folder(ROOT).unwrap();
    disk.rename((ROOT, "a"), (ROOT, "b"), false).unwrap();
    disk.rename((ROOT, "b"), (ROOT, "c"), false).unwrap();
    let names: BTreeSet<String> = outcomes(&disk)
        .iter()
        .map(|files| files.iter().map(|(path, text)| format!("{path}={text} ")).collect())
        .collect();
    let expect = ["/a=a /b=b ", "/b=a ", "/c=a "];
    assert_eq!(names, expect.map(str::to_owned).into());
    disk.sync_folder(ROOT).unwrap();
    assert_eq!(outcomes(&disk).len(), 1);
    assert_eq!(disk.rename((ROOT, "c"), (ROOT, "c"), true), Err(Refused::Exists));
}

#[test]
fn a_folder_s_content_needs_the_folder_s_own_name() {
    let mut disk = Disk::new();
    let folder = disk.make(ROOT, "f", true, 0o700).unwrap();
    let a = file(&mut disk, folder, "a", b'a');
    disk.sync(a).unwrap();
    disk.sync_folder(folder).unwrap();
    assert!(outcomes(&disk).contains(&vec![]));
    disk.sync_folder(ROOT).unwrap();
    assert_eq!(outcomes(&disk).len(), 1);
    assert_eq!(disk.remove(ROOT, "f", true), Err(Refused::NotEmpty));
    disk.remove(folder, "a", false).unwrap();
    disk.remove(ROOT, "f", true).unwrap();
    assert_eq!(outcomes(&disk).len(), 3, "all, the empty folder, nothing");
    disk.sync_folder(ROOT).unwrap();
    assert_eq!(outcomes(&disk), BTreeSet::from([vec![]]));
}

#[test]
fn a_sync_that_failed_is_not_made_good_by_the_next() {
    let mut disk = Disk::new();
    let a = file(&mut disk, ROOT, "a", b'a');
    disk.sync(a).unwrap();
    disk.sync_folder(ROOT).unwrap();
    disk.write(a, 0, &[b'b'; SECTOR]).unwrap();
    disk.fail_sync(a);
    disk.sync(a).unwrap();
    assert_eq!(disk.read(a, 0, 1), Ok(&b"b"[..]), "it can still be read");
    assert_eq!(contents(&outcomes(&disk)), BTreeSet::from([vec!["a"]]));
    disk.write(a, 0, &[b'c'; SECTOR]).unwrap();
    disk.sync(a).unwrap();
    assert_eq!(contents(&outcomes(&disk)), BTreeSet::from([vec!["ca"]]));
}

#[test]
fn a_full_disk_takes_what_it_can() {
    let mut disk = Disk { capacity: 1500, ..Disk::new() };
    let a = file(&mut disk, ROOT, "a", b'a');
    assert_eq!(disk.write(a, 1024, &[b'b'; 1000]), Ok(476));
    assert_eq!(disk.write(a, 1500, b"c"), Err(Refused::Full));
    assert_eq!(disk.write(a, 0, b"c"), Ok(1));
    assert_eq!(disk.make(ROOT, "b", false, 0o644), Err(Refused::Full));
    disk.remove(ROOT, "a", false).unwrap();
    assert_eq!(disk.free(), 1500);
}
