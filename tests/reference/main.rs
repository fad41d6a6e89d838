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
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

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

#[test]
fn windows_and_ranks_have_known_results() {
    if python_is_missing() {
        return;
    }
    let folder = Folder::new();
    // A bid is written as auction, bidder, price and second: `1 7 500 9.999`; a row as the query's columns but the times'
    // day, without names.
    let check = |query: &str, bids: &[&str], expect: &[&str], late: usize| {
        let events: Vec<String> = bids
            .iter()
            .enumerate()
            .map(|(number, bid)| {
                let words: Vec<&str> = bid.split(' ').collect();
                let [auction, bidder, price, second] = words[..] else { panic!("{bid}") };
                let second: f64 = second.parse().expect("a second");
                format!(
                    r#"{{"event_type":2,"bid":{{"auction":{auction},"bidder":{bidder},"price":{price},"dateTime":"2024-01-01T00:00:{second:06.3}","extra":"e{number}"}}}}"#
                )
            })
            .collect();
        let answer = reference(&[query, &folder.text("events.ndjson", &events)]);
        let mut rows: Vec<String> = answer.rows.iter().map(|row| plain(row)).collect();
        rows.sort_unstable();
        assert_eq!(rows, expect, "{query} {bids:?}");
        let windowed = ["q5", "q7", "q11", "qt"].contains(&query);
        let notes = if windowed { format!("{late} rows were late\n") } else { String::new() };
        assert_eq!(answer.notes, notes, "{query} {bids:?}");
    };
    // Windows begin before the first bid, at -8 s. From 2 to 12 both auctions have two bids, from 4 to 14 both have one.
    let counts = ["1 1 1 1", "1 1 1 2", "2 1 1 3", "1 1 1 4", "2 1 1 5"];
    check("q5", &counts, &["1 1", "1 1", "1 2", "1 2", "1 3", "1 3", "1 3", "2 1", "2 2"], 0);
    // At 00:14 the window up to 00:10 fires: the bid at 00:01 is too late for it, and for no later one that holds 00:01;
    // the one at 00:09 still counts in the windows up to 00:12, 00:14, 00:16 and 00:18.
    check("q5", &["1 1 1 14", "1 1 1 1"], &["1 1"; 5], 1);
    let both = ["1 1", "1 1", "1 1", "1 1", "1 1", "2 1", "2 1", "2 1", "2 1"];
    check("q5", &["1 1 1 14", "2 1 1 9"], &both, 0);
    check(
        "q7",
        &["1 1 5 1", "2 2 7 2", "3 3 7 9.999", "4 4 6 10"],
        &["2 2 7 02 e1", "3 3 7 09.999 e2", "4 4 6 10 e3"],
        0,
    );
    check(
        "q7",
        &["1 1 null 1", "2 2 -3 2", "1 1 null 14", "3 3 9 3"],
        &["1 1 null 14 e2", "2 2 -3 02 e1"],
        1,
    );
    // Exactly 10 s apart is together; a bid between two sessions makes one of them.
    check("q11", &["1 7 1 0", "1 7 1 10", "1 7 1 20.001"], &["7 1 20.001 30.001", "7 2 00 20"], 0);
    check("q11", &["1 7 1 0", "1 7 1 11", "1 7 1 5"], &["7 3 00 21"], 0);
    // At 00:30 the watermark is 26: a session of its own that ended at 25 is late, and so is what would touch one that
    // has fired; what touches one that is open is not.
    check("q11", &["1 7 1 0", "1 8 1 30", "1 7 1 15"], &["7 1 00 10", "8 1 30 40"], 1);
    check("q11", &["1 7 1 18", "1 8 1 30", "1 7 1 9"], &["7 2 09 28", "8 1 30 40"], 0);
    check("q11", &["1 7 1 16", "1 8 1 30", "1 7 1 17"], &["7 1 16 26", "7 1 17 27", "8 1 30 40"], 0);
    check("q17", &["1 1 -7 0", "1 2 0 1", "1 1 9999 0"], &["1 day 3 3 0 0 -7 9999 3330 9992"], 0);
    check("q17", &["1 1 -7 0", "1 2 0 1", "1 1 null 1"], &["1 day 3 2 0 0 -7 0 -3 -7"], 0);
    check(
        "q17",
        &["1 1 10000 0", "1 1 999999 0", "1 1 1000000 0"],
        &["1 day 3 0 2 1 10000 1000000 669999 2009999"],
        0,
    );
    check(
        "q18",
        &["1 7 1 5", "1 7 2 5", "1 7 3 4", "1 8 4 1"],
        &["1 7 2 null null 05 e1", "1 8 4 null null 01 e3"],
        0,
    );
    let eleven: Vec<String> =
        (0..11).map(|bidder| format!("1 {bidder} {} 0", if bidder == 10 { 4 } else { 3 })).collect();
    let eleven: Vec<&str> = eleven.iter().map(String::as_str).collect();
    let answer: Vec<String> = (0..10)
        .map(|place| match place {
            0 => "1 10 4 null null 00 e10 1".to_owned(),
            _ => format!("1 {} 3 null null 00 e{} {}", place - 1, place - 1, place + 1),
        })
        .collect();
    let mut answer: Vec<&str> = answer.iter().map(String::as_str).collect();
    answer.sort_unstable();
    check("q19", &eleven, &answer, 0);
}

/// The values of a row in its order, the day left out of times.
fn plain(row: &str) -> String {
    let values =
        row.trim_matches(['{', '}']).split(",\"").map(|field| field.split_once("\":").expect("a field").1);
    let values: Vec<String> = values
        .map(|value| value.trim_matches('"').replace("2024-01-01T00:00:", "").replace("2024-01-01", "day"))
        .collect();
    values.join(" ")
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
    for query in ["q0", "q1", "q2", "q10", "q14", "q16", "q19", "q21", "q22", "qt"] {
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
        check("blanks", &edited(&|rows| rows[0] = rows[0].replace("\":", "\" : ")), 0, "");
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
        // The first number of a row: `":` is before it, and none begins with 0.
        let digit = |row: &str| {
            let numbers = row.match_indices("\":").map(|(at, _)| at + 2);
            numbers.clone().find(|at| row.as_bytes()[*at].is_ascii_digit()).expect("a number")
        };
        check(
            "another number",
            &edited(&|rows| {
                let at = digit(&rows[1]);
                let other = if rows[1].as_bytes()[at] == b'3' { "4" } else { "3" };
                rows[1].replace_range(at..=at, other);
            }),
            1,
            "1 rows are missing, 1",
        );
        check(
            "a text",
            &edited(&|rows| {
                let at = digit(&rows[1]);
                let end = at + rows[1][at..].find(|c: char| !c.is_ascii_digit()).expect("the row goes on");
                rows[1] = format!("{}\"{}\"{}", &rows[1][..at], &rows[1][at..end], &rows[1][end..]);
            }),
            1,
            "1 rows are missing, 1",
        );
        check(
            "a key",
            &edited(&|rows| rows[1] = rows[1].replacen("{\"", "{\"_", 1)),
            1,
            "no row of these columns",
        );
        check("no line", &edited(&|rows| rows.insert(0, String::new())), 1, "no row of these columns");
        check("nothing", &[], 1, &format!("{} rows are missing", rows.len()));
    }
    assert_eq!(reference(&["q0", &folder.path("missing")]).code, 2);
    assert_eq!(reference(&["q99", &events]).code, 2);
}

/// The lines of an answer as golden rows have them.
fn digest(rows: &[String]) -> String {
    let mut rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    rows.sort_unstable();
    let text: String = rows.into_iter().flat_map(|row| [row, "\n"]).collect();
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

#[test]
fn flink_yields_the_same_rows() {
    if python_is_missing() {
        return;
    }
    let folder = Folder::new();
    let check = |set: &str, least: usize, input: &str, late: bool| {
        let golden = script(&format!("golden/{set}.json"));
        let golden: Value = serde_json::from_str(&fs::read_to_string(golden).expect("a set")).expect("JSON");
        let outputs = golden["outputs"].as_object().expect("outputs");
        assert!(outputs.len() >= least, "{set}: {} outputs", outputs.len());
        for (output, expect) in outputs {
            let answer = match output.strip_prefix("late_") {
                None => reference(&[output, input]),
                Some(query) => reference(&[query, input, "--late"]),
            };
            assert_eq!(
                answer.rows.len() as u64,
                expect["rows"].as_u64().expect("a number"),
                "{set} {output}"
            );
            assert_eq!(digest(&answer.rows), expect["xxh3_128"].as_str().expect("a text"), "{set} {output}");
            // No price among the ties is high enough for q14, no auction's id a multiple of 123.
            let is_found = (late || !output.starts_with("late_"))
                && !(set == "ties" && ["q2", "q14"].contains(&output.as_str()));
            assert_eq!(!answer.rows.is_empty(), is_found, "{set} {output}");
        }
    };
    for (set, shuffle) in [("in-order", 0), ("within-watermark", 400), ("late", 1500)] {
        let config = Config { seed: 11, events_per_second: 100, ..Config::default() };
        let options = Options { config, events: 6000, shuffle, ..Options::default() };
        check(set, 28, &folder.events("events.ndjson", &options), set == "late");
    }
    for (set, least) in [("ties", 22), ("texts", 4), ("joins", 6)] {
        check(set, least, script(&format!("golden/{set}.input.ndjson")).to_str().expect("UTF-8"), true);
    }
}

#[test]
fn late_rows_are_compared_nested_or_flat() {
    if python_is_missing() {
        return;
    }
    let folder = Folder::new();
    let config = Config { events_per_second: 100, ..Config::default() };
    let options = Options { config, events: 6000, shuffle: 2500, ..Options::default() };
    let events = folder.events("events.ndjson", &options);
    for query in ["q5", "q7", "q11", "qt"] {
        let rows = reference(&[query, &events, "--late"]).rows;
        assert!(rows.len() > 5, "{query}: {} rows", rows.len());
        let check = |rows: &[String], code: i32, note: &str| {
            let output = folder.text("output.ndjson", rows);
            let answer = reference(&[query, &events, "--late", "--check", &output]);
            assert_eq!(answer.code, code, "{query}: {}", answer.notes);
            assert!(answer.notes.contains(note), "{query}: {}", answer.notes);
        };
        let late = format!("{} rows were late", rows.len());
        let nested = |kind: u8, row: &String| {
            format!(r#"{{"event_type":{kind},"person":null,"auction":null,"bid":{row}}}"#)
        };
        check(&rows, 0, &late);
        check(&rows.iter().map(|row| nested(2, row)).collect::<Vec<_>>(), 0, &late);
        check(&rows.iter().map(|row| nested(1, row)).collect::<Vec<_>>(), 1, "no row of these columns");
        check(&rows[1..], 1, "1 rows are missing, 0 are too many");
    }
    assert_eq!(reference(&["q18", &events, "--late"]).code, 2);
}

#[test]
fn a_row_has_to_lie_in_its_folder() {
    if python_is_missing() {
        return;
    }
    let bid =
        |time: &str| format!(r#"{{"event_type":2,"bid":{{"auction":1,"dateTime":"2024-02-29T{time}"}}}}"#);
    let row = |time: &str| {
        format!(r#"{{"auction":1,"bidder":null,"price":null,"dateTime":"2024-02-29T{time}","extra":null}}"#)
    };
    let (early, later) = ("dt=2024-02-29/hm=09:59", "dt=2024-02-29/hm=10:00");
    let [first, second, third] = ["09:59:59.999", "10:00:00", "10:00:59"];
    let check = |what: &str, files: &[(&str, &str, &[&str])], code: i32| {
        let folder = Folder::new();
        let events = folder.text("events.ndjson", &[first, second, third].map(bid));
        for (within, name, times) in files {
            let within = folder.path(&format!("archive/{within}"));
            fs::create_dir_all(&within).expect("a folder");
            let rows: String = times.iter().map(|time| row(time) + "\n").collect();
            fs::write(Path::new(&within).join(name), rows).expect("a file");
        }
        let answer = reference(&["q10", &events, "--check", &folder.path("archive")]);
        assert_eq!(answer.code, code, "{what}: {}", answer.notes);
    };
    check("all", &[(early, "a", &[first]), (later, "a", &[third, second])], 0);
    check("in several files", &[(early, "a", &[first]), (later, "a", &[second]), (later, "b", &[third])], 0);
    check("one missing", &[(early, "a", &[first]), (later, "a", &[second])], 1);
    check("in another folder", &[(early, "a", &[first, second]), (later, "a", &[third])], 1);
    check("in no folder", &[(early, "a", &[first]), ("", "a", &[second, third])], 1);
    check("too deep", &[(early, "a", &[first]), ("more/dt=2024-02-29/hm=10:00", "a", &[second, third])], 1);
    check("unfinished", &[(early, "a", &[first]), (later, ".a", &[second, third])], 1);
    check("no row", &[(early, "a", &[])], 1);
    check("no folder", &[], 2);
}

#[test]
fn counts_by_the_clock_have_to_add_up() {
    if python_is_missing() {
        return;
    }
    let folder = Folder::new();
    let bid = |bidder: u8| {
        format!(r#"{{"event_type":2,"bid":{{"bidder":{bidder},"dateTime":"2024-01-01T00:00:00"}}}}"#)
    };
    let events = folder.text("events.ndjson", &[bid(1), bid(2), bid(1), bid(1)]);
    let row = |bidder: u8, count: i8, from: &str, to: &str| {
        format!(
            r#"{{"bidder":{bidder},"bid_count":{count},"starttime":"2030-05-05T{from}","endtime":"2030-05-05T{to}"}}"#
        )
    };
    let (early, later) = (("00:00:10", "00:00:20"), ("00:00:30", "00:00:40"));
    let good = [row(1, 2, early.0, early.1), row(2, 1, later.0, later.1)];
    for (what, third, code) in [
        ("all", row(1, 1, later.0, later.1), 0),
        ("too many", row(1, 2, later.0, later.1), 1),
        ("a bidder of no bid", row(3, 1, later.0, later.1), 1),
        ("no bid", row(1, 0, later.0, later.1), 1),
        ("a window twice", row(1, 1, early.0, early.1), 1),
        ("a window too long", row(1, 1, "00:00:30", "00:00:50"), 1),
        ("a window that begins in between", row(1, 1, "00:00:31", "00:00:41"), 1),
        ("no time", row(1, 1, "", later.1), 1),
    ] {
        let output = folder.text("output.ndjson", &[&good[..], &[third]].concat());
        let answer = reference(&["q12", &events, "--check", &output]);
        assert_eq!(answer.code, code, "{what}: {}", answer.notes);
    }
}

const DUCKDB_QUERIES: [&str; 16] = [
    "q0", "q1", "q2", "q5", "q7", "q10", "q11", "q14", "q15", "q16", "q17", "q18", "q19", "q21", "q22", "qt",
];

#[test]
fn duckdb_agrees_where_it_is_installed() {
    if python_is_missing() {
        return;
    }
    let folder = Folder::new();
    // 50 s of events, so that windows overlap and follow one another.
    let config = Config { events_per_second: 400, ..Config::default() };
    let events = folder.events("events.ndjson", &Options { config, events: 20_000, ..Options::default() });
    for query in DUCKDB_QUERIES {
        let answer = run("duckdb_reference.py", &[query, &events]);
        if answer.code == 2 && answer.notes.contains("pip install duckdb") {
            skipped(answer.notes.trim_end());
            return;
        }
        assert!(!answer.rows.is_empty(), "{query}: {}", answer.notes);
        let output = folder.text("output.ndjson", &answer.rows);
        let compared = reference(&[query, &events, "--check", &output]);
        assert_eq!((answer.code, compared.code), (0, 0), "{query}: {}{}", answer.notes, compared.notes);
    }
}
