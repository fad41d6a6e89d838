//! Folders of files written, crashed, gone on with and tampered with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::super::verify::{Mortal, Trial, declared, disk, opened};
use super::super::{Output, Sink, SinkError, Staged};
use crate::io::{Fault, Lasting, ModelDisk, Storage};
use crate::time::Now;

fn files(path: &Path, options: &str) -> Box<dyn Sink> {
    declared(&format!("files: {{ path: {}, {options} }}", path.display()))
}

fn open(path: &Path, options: &str, resume: Option<Value>) -> Result<Box<dyn Output + Send>, SinkError> {
    opened(files(path, options).as_ref(), Arc::new(disk()), resume, "run")
}

fn commit(staged: Staged) -> Value {
    (staged.sync)().unwrap();
    (staged.commit)().unwrap();
    staged.position
}

/// The files in a folder and those below, each with its content: visible ones, or hidden ones.
fn found(folder: &Path, hidden: bool) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(within) = folders.pop() {
        for entry in fs::read_dir(&within).unwrap() {
            let path = entry.unwrap().path();
            let is_hidden = path.file_name().unwrap().to_str().unwrap().starts_with('.');
            if path.is_dir() {
                folders.push(path);
            } else if is_hidden == hidden {
                let text = fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), text);
            }
        }
    }
    found
}

fn shown(folder: &Path) -> String {
    let found = found(folder, false);
    let texts = found.iter().map(|(path, text)| format!("{}: {}", path.display(), text.replace('\n', " ")));
    texts.collect::<Vec<_>>().join("; ")
}

#[test]
fn a_file_appears_with_the_epoch_that_completes_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep/archive");
    let mut output = open(&root, "roll: { size: 4B }, prefix: rows-", None).unwrap();
    output.write_to("a", b"1\n").unwrap();
    output.write_to("b", b"2\n3\n").unwrap();
    let first = output.stage(false).unwrap();
    assert_eq!(shown(&root), "");
    commit(first);
    assert_eq!(shown(&root), "b/rows-run-00000001.ndjson: 2 3 ");
    output.write_to("a", b"4\n").unwrap();
    output.write_to("b", b"5\n").unwrap();
    commit(output.stage(true).unwrap());
    assert_eq!(
        shown(&root),
        "a/rows-run-00000000.ndjson: 1 4 ; b/rows-run-00000001.ndjson: 2 3 ; b/rows-run-00000002.ndjson: 5 "
    );
    assert!(found(&root, true).is_empty(), "no litter");
}

#[test]
fn a_file_is_complete_when_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let at = |seconds: i64| Now { monotonic_us: 0, wall_us: seconds * 1_000_000 };
    let options = "roll: { every: 1m }";
    let mut output = open(folder.path(), options, None).unwrap();
    output.tell_time(at(1000));
    output.write_to("", b"1\n").unwrap();
    output.tell_time(at(1059));
    let position = commit(output.stage(false).unwrap());
    drop(output);
    assert_eq!(shown(folder.path()), "");
    // Its age goes on over restarts.
    let mut output = open(folder.path(), options, Some(position)).unwrap();
    output.tell_time(at(1060));
    output.write_to("", b"2\n").unwrap();
    commit(output.stage(false).unwrap());
    assert_eq!(shown(folder.path()), "part-run-00000000.ndjson: 1 2 ");
}

#[test]
fn a_drained_run_leaves_its_files_to_the_next_and_a_failed_one_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut output = open(folder.path(), "", None).unwrap();
    output.write(b"1\n").unwrap();
    output.flush().unwrap();
    output.abandon(false);
    assert!(found(folder.path(), true).is_empty() && shown(folder.path()).is_empty());
    let mut output = open(folder.path(), "", None).unwrap();
    output.write(b"1\n").unwrap();
    let position = commit(output.stage(false).unwrap());
    output.write(b"lost\n").unwrap();
    output.flush().unwrap();
    output.abandon(true);
    let mut output = open(folder.path(), "", Some(position)).unwrap();
    output.write(b"2\n").unwrap();
    commit(output.stage(true).unwrap());
    assert_eq!(shown(folder.path()), "part-run-00000000.ndjson: 1 2 ");
}

#[test]
fn more_partitions_than_files_may_be_open() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(Mortal::new(u64::MAX));
    let mut output = opened(files(folder.path(), "").as_ref(), storage, None, "run").unwrap();
    for round in 0..2 {
        for partition in 0..400 {
            output.write_to(&format!("p{partition}"), format!("{round}\n").as_bytes()).unwrap();
        }
    }
    // What was written to last is still open: one more row goes into the same file.
    output.write_to("p399", b"2\n").unwrap();
    commit(output.stage(false).unwrap());
    commit(output.stage(true).unwrap());
    let found = found(folder.path(), false);
    assert_eq!(found.len(), 800);
    assert_eq!(found.values().map(|text| text.lines().count()).sum::<usize>(), 801);
    assert_eq!(found.values().filter(|text| **text == "1\n2\n").count(), 1);
}

/// The writer made a file durable by itself that the job of the stage before was to make durable as well. Its sync failed, that
/// of the job then had nothing left to write, and the stage was committed without the file's rows.
#[test]
fn a_sync_that_fails_behind_a_stage_loses_nothing_of_it() {
    let mut failures = 0;
    for operation in 1..6 {
        let storage = Arc::new(ModelDisk::new(operation));
        let declared = files(Path::new("/out"), "roll: { size: 1B }");
        let mut output = opened(declared.as_ref(), storage.clone(), None, "run").unwrap();
        // As many as may wait.
        (0..128).for_each(|_| output.write(b"row\n").unwrap());
        let staged = output.stage(false).unwrap();
        storage.fail_operation(operation, Fault::Io, Lasting::Once);
        let failed = output.write(b"more\n").is_err();
        let synced = (staged.sync)().is_ok();
        failures += usize::from(failed && synced);
        storage.crash(&mut fastrand::Rng::with_seed(operation));
        let of_stage = |(path, _): &(String, u64)| path.starts_with("out/") && !path.contains("00000128");
        let paths: Vec<_> = storage.files().into_iter().filter(of_stage).collect();
        assert!(!synced || paths.len() == 128, "{operation}: {paths:?}");
        for (path, _) in paths.iter().filter(|_| synced) {
            assert_eq!(storage.read(Path::new(path)).unwrap(), b"row\n", "{operation}: {path}");
        }
    }
    assert!(failures > 1, "to make the file, to write it, to make it durable: {failures}");
}

#[test]
fn what_others_have_put_there_stays() {
    let folder = tempfile::tempdir().unwrap();
    for within in ["p/b=2", "a=1/p", "a=1/b=2/c=3"] {
        fs::create_dir_all(folder.path().join(within)).unwrap();
    }
    for (name, stays) in [
        (".part-old-00000003.ndjson.tests.tmp", false),
        ("p/.part-old-00000004.ndjson.tests.tmp", false),
        (".part-old-00000003.ndjson.others.tmp", true),
        ("a=1/.part-old-00000004.ndjson.tests.tmp", false),
        ("a=1/b=2/c=3/.part-old-00000004.ndjson.tests.tmp", false),
        ("a=1/b=2/c=3/.part-old-00000004.ndjson.others.tmp", true),
        ("a=1/b=2/c=3/part-old-00000001.ndjson", true),
        // No folders of ours.
        ("p/b=2/.part-old-00000004.ndjson.tests.tmp", true),
        ("a=1/p/.part-old-00000004.ndjson.tests.tmp", true),
        ("p/part-old-00000001.ndjson", true),
        ("README", true),
    ] {
        fs::write(folder.path().join(name), "x").unwrap();
        drop(open(folder.path(), "", None).unwrap());
        assert_eq!(folder.path().join(name).exists(), stays, "{name}");
    }
}

#[test]
fn what_was_done_to_the_files_meanwhile_is_told() {
    let check = |tamper: fn(&Path), expect: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut output = open(folder.path(), "", None).unwrap();
        output.write(b"one\n").unwrap();
        let position = commit(output.stage(false).unwrap());
        drop(output);
        tamper(&folder.path().join(".part-run-00000000.ndjson.tests.tmp"));
        let told = open(folder.path(), "", Some(position)).err().unwrap().to_string();
        assert!(told.contains(expect), "{told}");
    };
    check(|path| fs::remove_file(path).unwrap(), "it is gone, with rows that no snapshot has; put it back");
    check(|path| fs::write(path, "o").unwrap(), "it has 1 bytes, and at the last snapshot it had 4");
    let folder = tempfile::tempdir().unwrap();
    let position = commit(open(folder.path(), "", None).unwrap().stage(false).unwrap());
    let told = open(&folder.path().join("other"), "", Some(position)).err().unwrap().to_string();
    assert!(told.contains("write to the same folder as before"), "{told}");
}

#[test]
fn rows_may_be_divided_in_another_way_from_a_snapshot_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut output = open(folder.path(), "", None).unwrap();
    output.write_to("a", b"1\n").unwrap();
    let position = commit(output.stage(false).unwrap());
    assert_eq!(position["open"][0]["partition"], "a");
    drop(output);
    let mut output = open(folder.path(), "", Some(position)).unwrap();
    output.write_to("k=a/n=2", b"2\n").unwrap();
    let position = commit(output.stage(false).unwrap());
    assert_eq!(position["open"][1]["partition"], "k=a/n=2");
    drop(output);
    let mut output = open(folder.path(), "", Some(position)).unwrap();
    output.write_to("k=a/n=2", b"3\n").unwrap();
    commit(output.stage(true).unwrap());
    assert_eq!(
        shown(folder.path()),
        "a/part-run-00000000.ndjson: 1 ; k=a/n=2/part-run-00000001.ndjson: 2 3 "
    );
}

#[test]
fn folders_that_a_killed_run_has_made_outlast_a_power_cut() {
    for seed in 0..40 {
        let disk = ModelDisk::new(seed);
        disk.create_folder(Path::new("/out")).unwrap();
        disk.sync_folder(Path::new("/")).unwrap();
        let sink = files(Path::new("/out"), "");
        let open = || opened(sink.as_ref(), Arc::new(disk.clone()), None, "run").unwrap();
        // Its folders are there, and in no sync.
        let mut killed = open();
        killed.write_to("a=1/b=2/c=3", b"lost\n").unwrap();
        drop(killed);
        let mut output = open();
        output.write_to("a=1/b=2/c=3", b"1\n").unwrap();
        commit(output.stage(true).unwrap());
        disk.crash(&mut fastrand::Rng::with_seed(seed));
        let found = disk.files();
        let expect = ("out/a=1/b=2/c=3/part-run-00000000.ndjson".to_owned(), 2);
        assert_eq!(found, [expect], "seed {seed}");
    }
}

#[test]
fn a_commit_can_be_made_up_for_and_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let mut output = open(folder.path(), "", None).unwrap();
    output.write_to("a", b"1\n").unwrap();
    output.write_to("b", b"2\n").unwrap();
    let staged = output.stage(true).unwrap();
    (staged.sync)().unwrap();
    drop((output, staged.commit));
    for _ in 0..2 {
        (super::KIND.recover)(&disk(), &staged.position).unwrap();
        let expect = "a/part-run-00000000.ndjson: 1 ; b/part-run-00000001.ndjson: 2 ";
        assert_eq!(shown(folder.path()), expect);
    }
    // A reader may have taken one away.
    fs::remove_file(folder.path().join("a/part-run-00000000.ndjson")).unwrap();
    (super::KIND.recover)(&disk(), &staged.position).unwrap();
}

/// The rows that are visible, sorted; each is where it belongs.
fn rows(folder: &Path, partition: fn(u64) -> String) -> Vec<u64> {
    let mut rows = Vec::new();
    for (path, text) in found(folder, false) {
        for line in text.lines() {
            let row: u64 = line.parse().unwrap();
            assert_eq!(path.parent().unwrap(), Path::new(&partition(row)), "{row}");
            rows.push(row);
        }
    }
    rows.sort_unstable();
    rows
}

#[test]
fn whatever_ends_a_run_every_row_is_in_one_visible_file() {
    const ROWS: u64 = 200;
    let partitions: [fn(u64) -> String; 4] = [
        |_| String::new(),
        |row| format!("p{}", row % 3),
        |row| format!("p{}", row / 8),
        |row| format!("a={}/b={}", row / 50, row % 3),
    ];
    let (mut lives, mut seen) = (0, 0);
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let partition = partitions[random.usize(0..4)];
        let folder = tempfile::tempdir().unwrap();
        let options = ["roll: { size: 16B }", "roll: { size: 1KiB }", "roll: { every: 100s }"];
        let sink = files(folder.path(), options[random.usize(0..3)]);
        let visible = std::cell::Cell::new(0);
        let look = |committed: u64| {
            let rows = rows(folder.path(), partition);
            visible.set(visible.get().max(rows.len()));
            assert!(rows.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: twice: {rows:?}");
            let last = rows.last().copied();
            assert!(last.is_none_or(|last| last < committed), "seed {seed}: {last:?} of {committed}");
        };
        let trial = Trial { sink: sink.as_ref(), kind: &super::KIND, rows: ROWS, partition, look: &look };
        lives += trial.play("run", &mut random);
        assert!(rows(folder.path(), partition).into_iter().eq(0..ROWS), "seed {seed}");
        assert!(found(folder.path(), true).is_empty(), "seed {seed}: no litter");
        seen += usize::from(visible.get() > 0);
    }
    assert!(lives > 150 && seen > 15, "{lives} lives, rows visible before the end in {seen} runs");
}
