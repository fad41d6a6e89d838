//! Files written, crashed, gone on with and tampered with.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::super::verify::{Mortal, Trial, declared, disk, opened};
use super::super::{Output, Sink, SinkError};

fn file(path: &Path, append: bool) -> Box<dyn Sink> {
    declared(&format!("file: {{ path: {}, append: {append} }}", path.display()))
}

fn open(path: &Path, append: bool, resume: Option<Value>) -> Result<Box<dyn Output + Send>, SinkError> {
    opened(file(path, append).as_ref(), Arc::new(disk()), resume, "run")
}

/// Stages, makes durable and commits what was written; yields the position.
fn commit(output: &mut dyn Output, last: bool) -> Value {
    let staged = output.stage(last).unwrap();
    (staged.sync)().unwrap();
    (staged.commit)().unwrap();
    staged.position
}

fn write(path: &Path, append: bool, text: &str, succeeds: bool) {
    let mut output = open(path, append, None).unwrap();
    output.write(text.as_bytes()).unwrap();
    output.flush().unwrap();
    if succeeds {
        commit(output.as_mut(), true);
    } else {
        output.abandon(false);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_appears_when_it_is_complete_and_a_failed_run_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/out.ndjson");
    let mut output = open(&path, false, None).unwrap();
    output.write(b"a\n").unwrap();
    let staged = output.stage(true).unwrap();
    (staged.sync)().unwrap();
    assert!(!path.exists());
    (staged.commit)().unwrap();
    drop(output);
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\n");
    write(&path, false, "b\n", false);
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\n");
    write(&path, false, "c\n", true);
    assert_eq!(fs::read_to_string(&path).unwrap(), "c\n");
    assert_eq!(names(path.parent().unwrap()), ["out.ndjson"], "no litter");
}

#[test]
fn appending_grows_in_place_and_a_failed_run_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ndjson");
    write(&path, true, "x\n", false);
    assert!(names(folder.path()).is_empty(), "it was not there before");
    write(&path, true, "a\n", true);
    write(&path, true, "b\n", true);
    write(&path, true, &"c\n".repeat(1 << 20), false);
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\n");
    assert_eq!(names(folder.path()), ["out.ndjson"], "no litter");
}

#[test]
fn a_run_that_was_killed_before_its_first_snapshot_leaves_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ndjson");
    for before in ["", "a\n"] {
        for append in [true, false] {
            let mut output = open(&path, append, None).unwrap();
            output.write(b"lost\n").unwrap();
            output.flush().unwrap();
            drop(output);
            write(&path, append, "a\n", true);
            let expect = if append { before.to_owned() + "a\n" } else { "a\n".to_owned() };
            assert_eq!(fs::read_to_string(&path).unwrap(), expect);
            assert_eq!(names(folder.path()), ["out.ndjson"], "no litter");
            fs::write(&path, if before.is_empty() { "a\n" } else { before }).unwrap();
        }
        fs::write(&path, "a\n").unwrap();
    }
}

#[test]
fn a_device_is_written_to_as_it_is() {
    write(Path::new("/dev/null"), false, "a\n", true);
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

#[test]
fn two_runs_do_not_write_one_file() {
    let folder = tempfile::tempdir().unwrap();
    for append in [false, true] {
        let path = folder.path().join(format!("{append}.ndjson"));
        let first = open(&path, append, None).unwrap();
        assert!(matches!(open(&path, append, None), Err(SinkError::Taken(_))));
        drop(first);
        open(&path, append, None).unwrap();
    }
}

#[test]
fn a_link_stays_and_its_target_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("out.ndjson"), folder.path().join("link"));
    fs::write(&path, "old\n").unwrap();
    std::os::unix::fs::symlink("out.ndjson", &link).unwrap();
    write(&link, false, "new\n", true);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
}

#[test]
fn what_was_done_to_the_file_meanwhile_is_told() {
    type Tamper = fn(&Path, &Path);
    let check = |append: bool, tamper: Tamper, expect: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.ndjson");
        let mut output = open(&path, append, None).unwrap();
        output.write(b"one\n").unwrap();
        let position = commit(output.as_mut(), false);
        output.write(b"two\n").unwrap();
        output.flush().unwrap();
        drop(output);
        let temporary = folder.path().join(".out.ndjson.tests.tmp");
        tamper(&path, &temporary);
        let opened = open(&path, append, Some(position));
        let told = opened.err().map_or(String::new(), |error| error.to_string());
        assert!(told.contains(expect) && told.is_empty() == expect.is_empty(), "{told:?}, not {expect:?}");
        if expect.is_empty() {
            let found = fs::read_to_string(if append { &path } else { &temporary }).unwrap();
            assert_eq!(found, "one\n", "what came behind the snapshot is gone");
        }
    };
    check(false, |_, _| {}, "");
    check(true, |_, _| {}, "");
    check(false, |_, temporary| fs::remove_file(temporary).unwrap(), "is gone; put it back");
    check(true, |path, _| fs::remove_file(path).unwrap(), "it is gone; put it back");
    check(
        false,
        |_, temporary| fs::write(temporary, "o").unwrap(),
        "it has 1 bytes, and at the last snapshot it had 4",
    );
    check(true, |path, _| fs::write(path, "o").unwrap(), "it has 1 bytes, and at the last snapshot it had 4");
    let rotate: Tamper = |path, _| {
        fs::rename(path, path.with_extension("1")).unwrap();
        fs::write(path, "one\ntwo\nthree\n").unwrap();
    };
    check(true, rotate, "it is another file than at the last snapshot");
}

#[test]
fn a_snapshot_of_another_output_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ndjson");
    let position = commit(open(&path, false, None).unwrap().as_mut(), false);
    let told = |path: &Path, append, position| open(path, append, Some(position)).err().unwrap().to_string();
    assert!(told(&path, true, position.clone()).contains("it was written in another way"));
    let other = folder.path().join("other.ndjson");
    assert!(told(&other, false, position).contains("out.ndjson was written; write to the same file"));
    assert!(told(&path, false, Value::from("x")).contains("cannot be read"));
}

#[test]
fn a_commit_can_be_made_up_for_and_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ndjson");
    let mut output = open(&path, false, None).unwrap();
    output.write(b"a\n").unwrap();
    let staged = output.stage(true).unwrap();
    (staged.sync)().unwrap();
    drop((output, staged.commit));
    assert!(!path.exists());
    for _ in 0..2 {
        (super::KIND.recover)(&disk(), &staged.position).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\n");
    }
    // What the user does with it afterwards is the user's affair.
    fs::remove_file(&path).unwrap();
    (super::KIND.recover)(&disk(), &staged.position).unwrap();
}

#[test]
fn a_drained_file_stays_until_there_is_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ndjson");
    let mut positions = Vec::new();
    let mut expect = String::new();
    for round in ["a\n", "b\n", "c\n"] {
        for position in &positions {
            (super::KIND.recover)(&disk(), position).unwrap();
        }
        let mut output = open(&path, false, positions.last().cloned()).unwrap();
        output.write(round.as_bytes()).unwrap();
        positions.push(commit(output.as_mut(), false));
        // The run ends hard, and what was committed before it is made up for.
        drop(output);
        for position in &positions {
            (super::KIND.recover)(&disk(), position).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap_or_default(), expect, "as it was drained before");
        let mut output = open(&path, false, positions.last().cloned()).unwrap();
        output.write(round.as_bytes()).unwrap();
        positions.push(commit(output.as_mut(), true));
        expect += &round.repeat(2);
        assert_eq!(fs::read_to_string(&path).unwrap(), expect);
        assert_eq!(names(folder.path()), ["out.ndjson"], "no litter");
    }
    fs::write(&path, "").unwrap();
    let told = open(&path, false, positions.pop()).err().unwrap().to_string();
    assert!(told.contains("it has 0 bytes, and at the last snapshot it had 12"), "{told}");
}

#[test]
fn a_failed_sync_is_never_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let sink = file(&folder.path().join("out.ndjson"), false);
    let storage = Mortal::new(1000);
    let mut output = opened(sink.as_ref(), Arc::new(storage.clone()), None, "run").unwrap();
    output.write(b"a\n").unwrap();
    let staged = output.stage(false).unwrap();
    storage.kill();
    assert!((staged.sync)().is_err());
    storage.revive(1000);
    output.write(b"b\n").unwrap();
    assert!(matches!(output.stage(false), Err(SinkError::Unsynced(_))));
}

#[test]
fn whatever_ends_a_run_the_output_is_that_of_an_undisturbed_one() {
    let mut lives = 0;
    for seed in 0..100 {
        for append in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("out.ndjson");
            let mut random = fastrand::Rng::with_seed(seed);
            let sink = file(&path, append);
            let rows: String = (0..500).map(|n| format!("{n}\n")).collect();
            let mut expect = String::new();
            for round in 0..2 {
                let look = |committed: u64| {
                    let found = fs::read_to_string(&path).unwrap_or_default();
                    let seen =
                        if append { found.starts_with(&expect) } else { found == expect || found == rows };
                    assert!(seen, "seed {seed}: {committed} rows committed, and not what was there before");
                };
                let trial = Trial {
                    sink: sink.as_ref(),
                    kind: &super::KIND,
                    rows: 500,
                    partition: |_| String::new(),
                    look: &look,
                };
                lives += trial.play(&round.to_string(), &mut random);
                expect = if append { expect.clone() + &rows } else { rows.clone() };
                assert!(fs::read_to_string(&path).unwrap() == expect, "seed {seed}, append {append}");
                assert_eq!(names(folder.path()), ["out.ndjson"], "seed {seed}, append {append}: no litter");
            }
        }
    }
    assert!(lives > 800, "{lives} lives");
}
