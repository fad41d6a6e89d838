//! Files that are changed behind the program's back, between a crash and the next start: it refuses, says which and what
//! to do, changes nothing, and goes on once they are as they were.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;

use super::history::{Ended, History, Subject, files_below, names, seed, times};
use super::pipelines;

/// Changes a file, and yields how to undo that.
struct Change {
    path: PathBuf,
    before: Vec<u8>,
}

impl Change {
    fn of(path: impl AsRef<Path>, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let path = path.as_ref().to_owned();
        let before = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut after = before.clone();
        change(&mut after);
        assert_ne!(before, after, "{}: it is a change", path.display());
        fs::write(&path, after).expect("it can be written");
        Self { path, before }
    }

    fn undo(self) {
        fs::write(self.path, self.before).expect("it can be written");
    }
}

/// The next run refuses with one of these exit codes and says all of these words.
fn refuses(history: &mut History, what: &str, codes: &[i32], says: &[&str]) -> Ended {
    let before = content_of(history);
    let ended = history.start(2, "auto", &[]).wait();
    history.note(what);
    assert!(ended.code.is_some_and(|code| codes.contains(&code)), "{:?}; {}", ended.code, history.told());
    for word in says {
        assert!(ended.stderr.contains(word), "{what}: it does not say {word:?}; {}", history.told());
    }
    let after = content_of(history);
    assert!(before == after, "{what}: it has changed the snapshots; {}", history.told());
    ended
}

/// All files of the committed snapshots, with their content.
fn content_of(history: &History) -> Vec<(PathBuf, Vec<u8>)> {
    let folders = history.snapshots().into_iter().map(|name| history.state.join("snapshots").join(name));
    let files = folders.flat_map(|folder| files_below(&folder));
    files.map(|path| (path.clone(), fs::read(&path).expect("a file"))).collect()
}

fn goes_on(mut history: History, subject: &Subject) {
    let ended = history.start(3, "auto", &[]).wait();
    assert!(ended.has_resumed(), "{}", history.told());
    history.check(subject, &ended);
}

#[test]
fn an_input_that_was_changed_is_refused() {
    let subject = Subject::new(pipelines::WINDOWS);
    let mut history = subject.interrupted(seed());
    let input = subject.input();
    let codes = [65, 69];
    let half = Change::of(&input, |bytes| bytes.truncate(100));
    refuses(&mut history, "truncated input", &codes, &["in.ndjson", "--fresh"]);
    half.undo();
    let other = Change::of(&input, |bytes| bytes[20] ^= 1);
    refuses(&mut history, "replaced input", &codes, &["in.ndjson", "--fresh"]);
    other.undo();
    let moved = input.with_extension("moved");
    fs::rename(&input, &moved).expect("it can be moved");
    refuses(&mut history, "missing input", &codes, &["in.ndjson"]);
    fs::rename(&moved, &input).expect("it can be moved");
    // A copy is as good, and what was appended is not read.
    let content = fs::read(&input).expect("the input");
    fs::remove_file(&input).expect("the input");
    fs::write(&input, [&content[..], b"{\"key\":\"more\"}\n"].concat()).expect("a copy");
    goes_on(history, &subject);
}

#[test]
fn an_output_that_was_changed_is_refused() {
    let subject = Subject::new(pipelines::COPY);
    let mut history = subject.interrupted(seed());
    let output = history.output.join("out.ndjson");
    let codes = [65, 74];
    let cut = Change::of(&output, |bytes| bytes.truncate(10));
    refuses(&mut history, "truncated output", &codes, &["out.ndjson", "--fresh"]);
    cut.undo();
    let moved = history.state.join("moved");
    fs::rename(&output, &moved).expect("it can be moved");
    refuses(&mut history, "missing output", &codes, &["out.ndjson"]);
    fs::rename(&moved, &output).expect("it can be moved");
    goes_on(history, &subject);

    // Under its temporary name.
    let subject = Subject::new(pipelines::WINDOWS);
    let mut history = subject.interrupted(seed());
    let temporary = names(&history.output).into_iter().find(|name| name.contains("out.ndjson"));
    let temporary = history.output.join(temporary.expect("an unfinished output"));
    let moved = history.state.join("moved");
    fs::rename(&temporary, &moved).expect("it can be moved");
    refuses(&mut history, "missing unfinished output", &codes, &["out.ndjson"]);
    fs::rename(&moved, &temporary).expect("it can be moved");
    goes_on(history, &subject);
}

/// A quarantine that the disk does not let the next run open was told as one that had been changed.
#[test]
fn a_quarantine_that_cannot_be_opened_is_the_disks_failure() {
    let subject = Subject::new(pipelines::WINDOWS);
    let has_records = |history: &History| {
        let newest = history.state.join("snapshots").join(history.snapshots().pop().expect("a snapshot"));
        fs::read_to_string(newest.join("MANIFEST")).is_ok_and(|text| text.contains("\"records\": "))
    };
    let mut histories = (seed()..seed() + 50).map(|seed| subject.interrupted(seed));
    let mut history = histories.find(has_records).expect("bad records before a snapshot");
    let quarantine = files_below(&history.state.join("quarantine")).pop().expect("it has bad records");
    let moved = history.state.join("moved");
    fs::rename(&quarantine, &moved).expect("it can be moved");
    refuses(&mut history, "missing quarantine", &[65], &["quarantine", "it is gone", "--fresh"]);
    symlink(&quarantine, &quarantine).expect("a link to itself");
    refuses(&mut history, "quarantine that cannot be opened", &[74], &["failed to write the quarantine"]);
    fs::rename(&moved, &quarantine).expect("it can be moved");
    goes_on(history, &subject);
}

#[test]
fn a_snapshot_with_a_wrong_bit_is_refused() {
    let subject = Subject::new(pipelines::SESSIONS);
    let mut history = subject.interrupted(seed());
    let newest = history.snapshots().pop().expect("a snapshot");
    let folder = history.state.join("snapshots").join(&newest);
    let mut random = Rng::with_seed(seed());
    let files = names(&folder);
    assert!(files.iter().any(|name| name == "MANIFEST") && files.len() > 1, "{files:?}");
    for round in 0..times(12) {
        // Any bit of any file, all of which are covered by checksums.
        let file = folder.join(&files[usize::try_from(round).expect("few") % files.len()]);
        let flipped = Change::of(&file, |bytes| {
            let at = random.usize(..bytes.len());
            bytes[at] ^= 1 << random.u8(..8);
        });
        refuses(&mut history, "a flipped bit", &[65], &[&newest, "--fresh"]);
        flipped.undo();
    }
    for name in &files {
        let cut = Change::of(folder.join(name), |bytes| bytes.truncate(bytes.len() / 2));
        refuses(&mut history, "half a file", &[65], &[&newest, "--fresh"]);
        cut.undo();
        let (path, moved) = (folder.join(name), history.state.join("moved"));
        fs::rename(&path, &moved).expect("it can be moved");
        refuses(&mut history, "no file", &[65], &[&newest, "--fresh"]);
        fs::rename(&moved, &path).expect("it can be moved");
    }
    goes_on(history, &subject);
}

#[test]
fn a_fresh_start_leaves_a_bad_snapshot_behind() {
    let subject = Subject::new(pipelines::SESSIONS);
    let mut history = subject.interrupted(seed());
    let newest = history.snapshots().pop().expect("a snapshot");
    let manifest = history.state.join("snapshots").join(newest).join("MANIFEST");
    drop(Change::of(manifest, |bytes| bytes.truncate(7)));
    refuses(&mut history, "a broken manifest", &[65], &["--fresh"]);
    let command = history.command("run", &["--fresh"]);
    let ended = history.start_as(command, "--fresh", &[]).wait();
    assert!(!ended.has_resumed(), "{}", history.told());
    history.check(&subject, &ended);
}

#[test]
fn another_pipeline_is_refused() {
    let subject = Subject::new(pipelines::WINDOWS);
    let mut history = subject.interrupted(seed());
    let other = Change::of(&history.file, |bytes| {
        *bytes = String::from_utf8(bytes.clone()).expect("UTF-8").replace("500ms", "250ms").into_bytes();
    });
    // It names the step.
    refuses(&mut history, "another step", &[65, 78], &["w", "--fresh"]);
    other.undo();
    goes_on(history, &subject);
}

#[test]
fn a_second_instance_is_refused() {
    let subject = Subject::new(pipelines::WINDOWS);
    let mut history = subject.history(None, 0);
    let mut first = history.start(2, "auto", &[]);
    let is_running = first.until(subject.undisturbed, |_| history.state.join("LOCK").exists()).is_none();
    assert!(is_running, "{}", history.told());
    first.signal(Signal::STOP);
    let second = history.start(2, "auto", &[]).wait();
    if second.code != Some(75) {
        // The first may have been stopped before it had the lock.
        assert_eq!(second.code, Some(0), "{}", history.told());
    }
    first.signal(Signal::CONT);
    let ended = first.wait();
    if second.code == Some(75) {
        history.check(&subject, &ended);
    }
}

#[test]
fn a_snapshot_is_taken_when_it_is_asked_for() {
    let subject = Subject::long(pipelines::RUNNING);
    // A disk that is slow to sync may keep a request until the input has ended.
    let history = (0..10).find_map(|attempt| asked_for_a_snapshot(&subject, attempt));
    goes_on(history.expect("one of ten runs is still there when its snapshot is"), &subject);
}

/// A run without any snapshot but the one it is asked for, killed once it has that; none if its input ended before.
fn asked_for_a_snapshot(subject: &Subject, attempt: u64) -> Option<History> {
    let mut history = subject.history(None, attempt);
    let rare = Change::of(&history.file, |bytes| {
        *bytes =
            String::from_utf8(bytes.clone()).expect("UTF-8").replace("every: 20ms", "every: 1h").into_bytes();
    });
    drop(rare);
    let mut run = history.start(2, "auto", &[]);
    // Asked again and again: before the handler is set nobody hears it, so not before there is a state directory.
    while history.snapshots().is_empty() {
        if let Some(ended) = run.until(Duration::from_millis(10), |_| !history.snapshots().is_empty()) {
            assert_eq!(ended.code(), Some(0), "{}", history.told());
            return None;
        }
        if history.state.join("snapshots").exists() {
            run.signal(Signal::USR1);
        }
    }
    let ended = run.kill();
    ended.code.is_none().then_some(history)
}
