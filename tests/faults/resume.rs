//! What a run has to do that goes on from a snapshot: to read what is behind it, and no more.

use super::history::{History, Subject, seed};
use super::pipelines;
use super::scene::LIMIT;

/// What a snapshot looks at of a file to know it again, bytes: its beginning, and what is before the barrier.
const LOOKED_AT: u64 = 2 * (64 << 10);
/// What a program reads besides: its libraries, manifests, what the kernel tells it.
const BESIDES: u64 = 2 << 20;

/// A manifest's number.
fn number(manifest: &serde_json::Value, path: &str) -> u64 {
    manifest
        .pointer(path)
        .and_then(serde_json::Value::as_u64)
        .unwrap_or_else(|| panic!("{path} in {manifest}"))
}

/// A history that was killed when it had read nine tenths of its input, behind a snapshot in the second half of that.
fn killed_at_nine_tenths(subject: &Subject, input_bytes: u64) -> History {
    for seed in seed()..seed() + 50 {
        let mut history = subject.history(None, seed);
        let mut run = history.start(2, "threads", &[]);
        run.until(LIMIT, |run| run.read_bytes() >= input_bytes / 10 * 9);
        history.note("killed at nine tenths of its input");
        if run.kill().code.is_some() {
            continue;
        }
        let read = history.newest().map_or(0, |manifest| number(&manifest, "/source/files/0/read"));
        if (input_bytes / 2..input_bytes).contains(&read) {
            return history;
        }
    }
    panic!("no run has a snapshot in the second half of its input");
}

#[test]
fn a_run_killed_at_nine_tenths_reads_only_what_is_behind_its_last_snapshot() {
    let subject = Subject::long(pipelines::WINDOWS);
    let input_bytes = subject.input().metadata().expect("the input").len();
    let mut history = killed_at_nine_tenths(&subject, input_bytes);
    let snapshot = history.newest().expect("there is one");
    let (epoch, rows_before) = (number(&snapshot, "/barrier/epoch"), number(&snapshot, "/counts/rows_in"));
    let read_before = number(&snapshot, "/source/files/0/read");

    let mut run = history.start(3, "threads", &[]);
    run.wait_and_keep();
    let read = run.read_bytes();
    let ended = run.wait();
    history.check(&subject, &ended);
    let from = format!("going on from snapshot {epoch} of ");
    let line = ended.stderr.lines().find(|line| line.starts_with(&from)).unwrap_or_default();
    let before: String = line.chars().skip_while(|c| *c != ',').filter(char::is_ascii_digit).collect();
    assert_eq!(before, rows_before.to_string(), "it says from where; {}", history.told());
    assert_eq!(ended.rows_in(), Some(subject.rows() - rows_before), "{}", history.told());
    let line = format!("with what was before snapshot {epoch}: ");
    let total = ended.stderr.lines().find_map(|text| text.strip_prefix(&line)).unwrap_or_default();
    let rows: String = total.split(" rows in").next().unwrap_or_default().replace(',', "");
    assert_eq!(rows, subject.rows().to_string(), "{}", history.told());
    // As the kernel has it: what is left, and of what was read before no more than the source looks at for each of its
    // snapshots, from which the last manifest tells how many there were.
    let last = history.state.join("snapshots");
    let last: u64 = super::history::names(&last).pop().and_then(|name| name.parse().ok()).expect("a number");
    let left = input_bytes - read_before;
    let most = left + (last - epoch + 2) * LOOKED_AT + BESIDES;
    assert!((left..=most).contains(&read), "{read} bytes, {left} were left; {}", history.told());
    assert!(most < input_bytes, "the bound says something: {most} of {input_bytes}");
}
