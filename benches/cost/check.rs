//! The programs put to the test: on a few lines whose rows are known, and on generated events against the reference of
//! Nexmark's queries (`tests/reference/nexmark.py`), where there is a `python3`.

use std::fs;
use std::path::Path;
use std::process::Command;

use millstream::source::nexmark::write::{Clock, Options, write_file};
use millstream::source::nexmark::{Config, Form};
use millstream::time::Now;

use super::{lines, queries, tape};

const EVENTS: u64 = 6_000;

/// Runs all checks; panics at the first that fails.
pub fn all() {
    let folder = tempfile::tempdir().expect("a scratch directory");
    known_rows(folder.path());
    refusals(folder.path());
    reference(folder.path());
    println!("the COST programs are right");
}

fn bid(auction: u64, bidder: u64, price: u64, time: &str) -> String {
    format!(
        r#"{{"event_type":2,"bid":{{"auction":{auction},"bidder":{bidder},"price":{price},"channel":"Apple","url":"https://a/","dateTime":"2015-12-31T{time}","extra":"xyz"}}}}"#
    )
}

/// The rows of a query over such bids, sorted; without a newline at the end of the file.
fn rows(folder: &Path, query: &str, bids: &[String]) -> Result<Vec<String>, String> {
    let (input, output) = (folder.join("known.ndjson"), folder.join("rows.ndjson"));
    fs::write(&input, bids.join("\n")).expect("a scratch file");
    queries::run(query, &input, &output).map_err(|error| error.to_string())?;
    let text = fs::read_to_string(&output).expect("rows");
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
    rows.sort_unstable();
    Ok(rows)
}

fn known_rows(folder: &Path) {
    let check = |query: &str, bids: &[String], expect: &[&str]| {
        assert_eq!(rows(folder, query, bids).expect("in order"), expect, "{query} {bids:?}");
    };
    let one = [bid(1230, 7, 5, "23:59:59.120")];
    check(
        "q0",
        &one,
        &[r#"{"auction":1230,"bidder":7,"price":5,"dateTime":"2015-12-31T23:59:59.12","extra":"xyz"}"#],
    );
    check(
        "q1",
        &one,
        &[r#"{"auction":1230,"bidder":7,"price":4.540,"dateTime":"2015-12-31T23:59:59.12","extra":"xyz"}"#],
    );
    check("q2", &one, &[r#"{"auction":1230,"price":5}"#]);
    check("q2", &[bid(1231, 7, 5, "00:00:00.000")], &[]);
    check(
        "qt",
        &one,
        &[r#"{"auction":1230,"num":1,"starttime":"2015-12-31T23:59:50","endtime":"2016-01-01T00:00:00"}"#],
    );
    // In five windows, and again in five after a gap in which all are empty.
    let apart = [bid(1, 7, 5, "00:00:00.000"), bid(2, 7, 5, "00:01:00.000")];
    let counts = [[r#"{"auction":1,"num":1}"#; 5], [r#"{"auction":2,"num":1}"#; 5]].concat();
    check("q5", &apart, &counts);
    // From 2 to 10 the second is behind; the window up to 12 has lost one bid of the first.
    let close = [bid(1, 7, 5, "00:00:01.999"), bid(1, 7, 5, "00:00:02.000"), bid(2, 7, 5, "00:00:02.000")];
    let mut counts = vec![r#"{"auction":1,"num":1}"#; 2];
    counts.extend([r#"{"auction":1,"num":2}"#; 4]);
    counts.push(r#"{"auction":2,"num":1}"#);
    check("q5", &close, &counts);
    let prices = [bid(1, 7, 5, "00:00:00.000"), bid(2, 8, 9, "00:00:09.999"), bid(3, 7, 9, "00:00:09.999")];
    check(
        "q7",
        &[&prices[..], &[bid(4, 7, 1, "00:00:10.000")]].concat(),
        &[
            r#"{"auction":2,"bidder":8,"price":9,"dateTime":"2015-12-31T00:00:09.999","extra":"xyz"}"#,
            r#"{"auction":3,"bidder":7,"price":9,"dateTime":"2015-12-31T00:00:09.999","extra":"xyz"}"#,
            r#"{"auction":4,"bidder":7,"price":1,"dateTime":"2015-12-31T00:00:10","extra":"xyz"}"#,
        ],
    );
    check(
        "q11",
        &[bid(1, 7, 5, "00:00:00.000"), bid(1, 7, 5, "00:00:10.000"), bid(1, 7, 5, "00:00:20.001")],
        &[
            r#"{"bidder":7,"bid_count":1,"starttime":"2015-12-31T00:00:20.001","endtime":"2015-12-31T00:00:30.001"}"#,
            r#"{"bidder":7,"bid_count":2,"starttime":"2015-12-31T00:00:00","endtime":"2015-12-31T00:00:20"}"#,
        ],
    );
}

fn refusals(folder: &Path) {
    let backwards = [bid(1, 7, 5, "00:00:20.000"), bid(1, 7, 5, "00:00:01.000")];
    for query in ["qt", "q5", "q7", "q11"] {
        let refused = rows(folder, query, &backwards);
        assert_eq!(refused, Err("the events are not in order of time".to_owned()), "{query}");
    }
}

fn reference(folder: &Path) {
    let (input, output) = (folder.join("events.ndjson"), folder.join("rows.ndjson"));
    // A minute of events, so that windows and sessions end; more bytes than are read at once.
    let config = Config { events_per_second: EVENTS / 60, ..Config::default() };
    let options = Options { config, events: EVENTS, form: Form::Nested, ..Options::default() };
    let (mut now, mut sleep_us) = (Now::default, |_| ());
    let mut clock = Clock { now: &mut now, sleep_us: &mut sleep_us };
    write_file(&options, &mut clock, &input).expect("a scratch file");
    assert_eq!(lines::count(&input).expect("readable"), EVENTS);
    assert_eq!(tape::parse(&input).expect("JSON"), EVENTS);
    let python_is_missing = Command::new("python3").arg("--version").output().is_err();
    if python_is_missing {
        eprintln!("SKIPPED: there is no python3 to run the reference with");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/nexmark.py");
    for query in queries::NAMES {
        queries::run(query, &input, &output).expect("events in order");
        if python_is_missing {
            continue;
        }
        let mut command = Command::new("python3");
        command.args(["-X", "utf8", "-B"]).arg(&script).arg(query).arg(&input).arg("--check").arg(&output);
        let checked = command.output().expect("python3 is there");
        let notes = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{query}: {notes}");
        assert!(!notes.contains("expected 0 rows"), "{query} has rows to compare: {notes}");
    }
}
