//! The reference of Nexmark's queries, itself put to the test: on small inputs whose results are known, and on generated
//! ones against a second computation here. It is Python; where there is no `python3`, the tests say so and pass.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use millstream::source::nexmark::write::{Clock, Options, write_file};
use millstream::source::nexmark::{Config, Event, Form, Generator, Shuffle};
use millstream::time::Now;

/// What the reference printed, and how it ended.
struct Answer {
    rows: Vec<String>,
    notes: String,
    code: i32,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name)
}

/// Says so past the test harness, which keeps what a passing test prints to itself.
fn skipped(why: &str) {
    writeln!(std::io::stderr(), "SKIPPED: {why}").expect("standard error is open");
}

fn python_is_missing() -> bool {
    let missing = Command::new("python3").arg("--version").output().is_err();
    if missing {
        skipped("there is no python3 to run the reference with");
    }
    missing
}

fn run(script_name: &str, arguments: &[&str]) -> Answer {
    let Output { status, stdout, stderr } = Command::new("python3")
        .args(["-X", "utf8", "-B"])
        .arg(script(script_name))
        .args(arguments)
        .output()
        .expect("python3 is there");
    Answer {
        rows: String::from_utf8(stdout).expect("UTF-8").lines().map(str::to_owned).collect(),
        notes: String::from_utf8(stderr).expect("UTF-8"),
        code: status.code().expect("it ended by itself"),
    }
}

fn reference(arguments: &[&str]) -> Answer {
    run("nexmark.py", arguments)
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a scratch directory"))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn text(&self, name: &str, lines: &[impl AsRef<str>]) -> String {
        let text: String = lines.iter().flat_map(|line| [line.as_ref(), "\n"]).collect();
        fs::write(self.path(name), text).expect("a file in the scratch directory");
        self.path(name)
    }

    fn events(&self, name: &str, options: &Options) -> String {
        let (mut now, mut sleep_us) = (Now::default, |_| ());
        let mut clock = Clock { now: &mut now, sleep_us: &mut sleep_us };
        write_file(options, &mut clock, Path::new(&self.path(name)))
            .expect("a file in the scratch directory");
        self.path(name)
    }
}

#[test]
fn small_inputs_have_known_results() {
    if python_is_missing() {
        return;
    }
    let folder = Folder::new();
    let bid = |auction: i64, price: i64, time: &str| {
        format!(
            r#"{{"event_type":2,"bid":{{"auction":{auction},"bidder":7,"price":{price},"channel":"Apple","url":"u","dateTime":"2024-01-01T{time}","extra":"é\"\n"}}}}"#
        )
    };
    let person =
        |time: &str| format!(r#"{{"event_type":0,"person":{{"id":1,"dateTime":"2024-01-01T{time}"}}}}"#);
    let check = |query: &str, events: &[String], expect: &[&str], notes: &str| {
        let answer = reference(&[query, &folder.text("events.ndjson", events)]);
        assert_eq!((answer.rows.join("\n"), answer.code), (expect.join("\n"), 0), "{}", answer.notes);
        assert_eq!(answer.notes.trim_end(), notes);
    };
    let two = [bid(123, 500, "00:00:00.000"), bid(124, 1, "23:59:59.120"), person("00:00:00")];
    check(
        "q0",
        &two,
        &[
            r#"{"auction":123,"bidder":7,"price":500,"dateTime":"2024-01-01T00:00:00","extra":"é\"\n"}"#,
            r#"{"auction":124,"bidder":7,"price":1,"dateTime":"2024-01-01T23:59:59.12","extra":"é\"\n"}"#,
        ],
        "",
    );
    check(
        "q1",
        &two,
        &[
            r#"{"auction":123,"bidder":7,"price":454.000,"dateTime":"2024-01-01T00:00:00","extra":"é\"\n"}"#,
            r#"{"auction":124,"bidder":7,"price":0.908,"dateTime":"2024-01-01T23:59:59.12","extra":"é\"\n"}"#,
        ],
        "",
    );
    check("q2", &two, &[r#"{"auction":123,"price":500}"#], "");
    check(
        "q2",
        &["no event".to_owned(), two[0].clone()],
        &[r#"{"auction":123,"price":500}"#],
        "1 lines are no events",
    );

    let window = |auction: i64, count: i64, from: &str, to: &str| {
        format!(
            r#"{{"auction":{auction},"num":{count},"starttime":"2024-01-01T{from}","endtime":"2024-01-01T{to}"}}"#
        )
    };
    let first = |count: i64| window(1, count, "00:00:00", "00:00:10");
    // The window's last millisecond is 9.999: a watermark of 9.998 keeps it open, one of 9.999 closes it. Events of
    // other kinds move it too, and no event makes itself late.
    for (between, expect, notes) in [
        (person("00:00:13.998"), vec![first(2)], "0 rows were late"),
        (person("00:00:13.999"), vec![first(1)], "1 rows were late"),
        (bid(1, 1, "00:00:13.998"), vec![first(2), window(1, 1, "00:00:10", "00:00:20")], "0 rows were late"),
        (bid(1, 1, "00:00:13.999"), vec![first(1), window(1, 1, "00:00:10", "00:00:20")], "1 rows were late"),
        (bid(2, 1, "00:01:00"), vec![first(1), window(2, 1, "00:01:00", "00:01:10")], "1 rows were late"),
    ] {
        let events = [bid(1, 1, "00:00:00"), between, bid(1, 1, "00:00:09.999")];
        let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
        check("qt", &events, &expect, notes);
    }
}

/// Bids per auction and window (its end, milliseconds), and how many are late, from the generator's numbers.
fn windows(config: &Config, order: Shuffle, events: u64) -> (HashMap<(i64, i64), u64>, u64) {
    let generator = Generator::new(config.clone()).expect("a stream");
    let (mut counts, mut late, mut highest) = (HashMap::new(), 0, None);
    for position in 0..events {
        let event = generator.event(order.order(position));
        let time_ms = event.time_ms();
        if let Event::Bid(bid) = event {
            let end = (time_ms.div_euclid(10_000) + 1) * 10_000;
            if highest.is_some_and(|highest| end - 1 <= highest - 4000) {
                late += 1;
            } else {
                *counts.entry((bid.auction(), end)).or_insert(0) += 1;
            }
        }
        highest = highest.max(Some(time_ms));
    }
    (counts, late)
}

#[test]
fn windows_agree_with_a_second_count() {
    if python_is_missing() {
        return;
    }
    let folder = Folder::new();
    let check = |events_per_second: u64, shuffle: u64, form: Form, some_are_late: bool| {
        let config = Config { events_per_second, ..Config::default() };
        let events = 20_000;
        let options = Options { config: config.clone(), events, form, shuffle, ..Options::default() };
        let answer = reference(&["qt", &folder.events("events.ndjson", &options)]);
        let (counts, late) = windows(&config, Shuffle::new(config.seed, shuffle, events), events);
        assert_eq!(late > 0, some_are_late);
        assert_eq!(answer.notes, format!("{late} rows were late\n"));
        assert_eq!(answer.rows.len(), counts.len());
        for row in answer.rows {
            let row: serde_json::Value = serde_json::from_str(&row).expect("a row");
            let end =
                row["endtime"].as_str().expect("a time").parse::<chrono::NaiveDateTime>().expect("a time");
            let key = (row["auction"].as_i64().expect("a number"), end.and_utc().timestamp_millis());
            assert_eq!(row["num"].as_u64(), counts.get(&key).copied(), "{row}");
        }
    };
    check(10_000, 0, Form::Nested, false);
    check(400, 0, Form::Flat, false);
    check(400, 1000, Form::Nested, false);
    check(400, 8000, Form::Nested, true);
    check(400, 20_000, Form::Flat, true);
}

#[test]
fn a_check_finds_each_difference() {
    if python_is_missing() {
        return;
    }
    let folder = Folder::new();
    let options = Options { events: 3000, ..Options::default() };
    let events = folder.events("events.ndjson", &options);
    for query in ["q0", "q1", "q2", "qt"] {
        let rows = reference(&[query, &events]).rows;
        assert!(rows.len() > 5, "{query}: {} rows", rows.len());
        let check = |what: &str, rows: &[String], code: i32, note: &str| {
            let answer = reference(&[query, &events, "--check", &folder.text("output.ndjson", rows)]);
            assert_eq!(answer.code, code, "{query}, {what}: {}", answer.notes);
            assert!(answer.notes.contains(note), "{query}, {what}: {}", answer.notes);
        };
        let edited = |edit: &dyn Fn(&mut Vec<String>)| {
            let mut rows = rows.clone();
            edit(&mut rows);
            rows
        };
        check("the same", &rows, 0, "");
        check("backwards", &edited(&|rows| rows.reverse()), 0, "");
        check(
            "blanks",
            &edited(&|rows| rows[0] = rows[0].replace(':', " : ").replace("00 : 00 : ", "00:00:")),
            0,
            "",
        );
        check(
            "one missing",
            &edited(&|rows| drop(rows.remove(3))),
            1,
            "1 rows are missing, 0 are too many\n- {",
        );
        check(
            "one doubled",
            &edited(&|rows| rows.push(rows[2].clone())),
            1,
            "0 rows are missing, 1 are too many\n+ {",
        );
        check(
            "another number",
            &edited(&|rows| rows[1] = rows[1].replacen("\":1", "\":2", 1)),
            1,
            "1 rows are missing, 1",
        );
        check(
            "a text",
            &edited(&|rows| rows[1] = rows[1].replacen("\":1", "\":\"1", 1)),
            1,
            "no row of these columns",
        );
        check(
            "a key",
            &edited(&|rows| rows[1] = rows[1].replacen("auction", "Auction", 1)),
            1,
            "no row of these columns",
        );
        check("no line", &edited(&|rows| rows.insert(0, String::new())), 1, "no row of these columns");
        check("nothing", &[], 1, &format!("{} rows are missing", rows.len()));
    }
    assert_eq!(reference(&["q0", &folder.path("missing")]).code, 2);
    assert_eq!(reference(&["q99", &events]).code, 2);
}

#[test]
fn duckdb_agrees_where_it_is_installed() {
    if python_is_missing() {
        return;
    }
    let folder = Folder::new();
    let events = folder.events("events.ndjson", &Options { events: 20_000, ..Options::default() });
    for query in ["q0", "q1", "q2", "qt"] {
        let answer = run("duckdb_reference.py", &[query, &events]);
        if answer.code == 2 && answer.notes.contains("pip install duckdb") {
            skipped(answer.notes.trim_end());
            return;
        }
        let output = folder.text("output.ndjson", &answer.rows);
        let compared = reference(&[query, &events, "--check", &output]);
        assert_eq!((answer.code, compared.code), (0, 0), "{query}: {}{}", answer.notes, compared.notes);
    }
}
