//! Nexmark's queries through the built program: the same rows on any number of shards and on either host, and equal to
//! the independent reference (tests/reference), which also says which rows are late. nexmark/golden.rs holds them
//! against rows that Flink has made, nexmark/kills.rs kills and restores them.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

#[path = "nexmark/golden.rs"]
mod golden;
#[path = "nexmark/kills.rs"]
mod kills;

use scene::{Ended, Scene, end, repository, skipped, sorted};

const EVENTS: &str = "100000";

/// The hosts and numbers of shards that have to agree.
const WAYS: &[&[&str]] = &[
    &["--cores", "1"],
    &["--cores", "2"],
    &["--cores", "3"],
    &["--cores", "8"],
    &["--cores", "3", "--io", "threads"],
];

/// The queries that drop bids that come too late. q8 drops persons and auctions.
const WINDOWED: &[&str] = &["q5", "q7", "q11", "qt"];

/// How the 50 s of events of a file follow one another: what to call it, how to shuffle them, and which queries find
/// rows late. 1600 events are the 4 s of the watermark. Within 12 s no bid can miss the last of its sliding windows, nor
/// its session: that takes more than 10 s behind the watermark.
const ORDERS: &[(&str, &str, &[&str])] = &[
    ("in-order.ndjson", "0", &[]),
    ("within-watermark.ndjson", "1600", &[]),
    ("late.ndjson", "4800", &["q7", "qt"]),
    ("very-late.ndjson", "8000", WINDOWED),
];

fn generate(scene: &Scene, name: &str, options: &[&str]) {
    let arguments = [&["gen", "nexmark", "--out", name], options].concat();
    let ended = end(&mut scene.program(&arguments));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

fn run(scene: &Scene, query: &str, input: &str, output: &str, way: &[&str]) -> Ended {
    let file = repository(&format!("pipelines/nexmark/{query}.yaml"));
    run_file(scene, file.to_str().expect("UTF-8"), query, input, output, way)
}

/// The table that q13 looks bids up in, made once.
fn table(scene: &Scene) -> &'static str {
    if !scene.exists("side.csv") {
        let ended = end(&mut scene.program(&["gen", "nexmark", "--events", "0", "--side", "side.csv"]));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    "side.csv"
}

/// Where a query writes: q10 below a folder, each time a new one.
fn output_of(scene: &Scene, query: &str) -> &'static str {
    if query != "q10" {
        return "out.ndjson";
    }
    match fs::remove_dir_all(scene.path("archive")) {
        Err(error) if error.kind() != ErrorKind::NotFound => panic!("the archive stays: {error}"),
        _ => "archive",
    }
}

/// The rows that a query has written, and behind them, where they are in folders, the folder of each.
fn rows_of(scene: &Scene, output: &str) -> String {
    let root = scene.path(output);
    if !Path::new(&root).is_dir() {
        return scene.read(output);
    }
    let (mut rows, mut folders) = (String::new(), vec![PathBuf::from(&root)]);
    while let Some(within) = folders.pop() {
        for entry in fs::read_dir(&within).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let folder = within.strip_prefix(&root).expect("below it").display();
            for row in fs::read_to_string(&path).expect("a file").lines() {
                let row = row.strip_suffix('}').expect("a row");
                writeln!(rows, "{row},\"folder\":\"{folder}\"}}").expect("a string takes everything");
            }
        }
    }
    rows
}

fn query_text(query: &str) -> String {
    fs::read_to_string(repository(&format!("pipelines/nexmark/{query}.yaml"))).expect("a query")
}

/// A query whose first named step, which is the one with the window, sends its late rows to `late-out.ndjson`.
fn late_pipeline(query: &str) -> String {
    let text = query_text(query);
    let (head, steps) = text.split_once("\n      name: ").expect("a step with a name");
    let (name, rest) = steps.split_once('\n').expect("the step goes on");
    format!(
        "{head}\n      name: {name}\n      late: {{ to: late_rows }}\n{rest}\
         sinks:\n  late:\n    from: late_rows\n    file: {{ path: late-out.ndjson }}\n    format: json\n"
    )
}

fn run_file(scene: &Scene, file: &str, query: &str, input: &str, output: &str, way: &[&str]) -> Ended {
    let arguments = [&["run", file, "--state-dir", "state"], way].concat();
    let mut command = scene.program(&arguments);
    command.env("NEXMARK_INPUT", input).env("NEXMARK_TABLE", table(scene)).env("NEXMARK_OUTPUT", output);
    let ended = end(&mut command);
    assert_eq!(ended.code, Some(0), "{query} {way:?}: {}", ended.stderr);
    ended
}

/// How many rows the summary of a run calls late.
fn late(ended: &Ended) -> u64 {
    let line = ended.stderr.lines().find(|line| line.contains(" late;")).expect("a summary");
    let word = line.split(" late;").next().and_then(|before| before.rsplit(' ').next()).expect("a number");
    word.replace(',', "").parse().expect("a number")
}

/// What the reference says of an output; none where there is no Python.
fn reference(scene: &Scene, query: &str, input: &str, output: &str, options: &[&str]) -> Option<String> {
    let script = repository("tests/reference/nexmark.py");
    let mut python = Command::new("python3");
    python.args(["-X", "utf8", "-B"]).arg(script);
    python.args([query, &scene.path(input), "--check", &scene.path(output)]).args(options);
    if Command::new("python3").arg("--version").output().is_err() {
        skipped("there is no python3 to run the reference with");
        return None;
    }
    let ended = end(&mut python);
    assert_eq!(ended.code, Some(0), "{query} {input}: {}", ended.stderr);
    Some(ended.stderr)
}

/// A million characters of difference help nobody: the first line that differs does.
fn assert_same(found: &str, expect: &str, what: &str) {
    for (found, expect) in sorted(found).iter().zip(sorted(expect)) {
        assert_eq!(*found, expect, "{what}");
    }
    assert_eq!(found.len(), expect.len(), "{what}");
}

/// Runs a query in all ways; returns how many rows it yields and how many were late.
fn check(scene: &Scene, query: &str, input: &str) -> (usize, u64) {
    let mut first: Option<(String, u64)> = None;
    for way in WAYS {
        let output = output_of(scene, query);
        let ended = run(scene, query, input, output, way);
        let (rows, late) = (rows_of(scene, output), late(&ended));
        let Some((expect, expect_late)) = &first else {
            if let Some(notes) = reference(scene, query, input, output, &[])
                && (query == "q8" || WINDOWED.contains(&query))
            {
                assert!(notes.contains(&format!("{late} rows were late\n")), "{late}, but {notes}");
            }
            first = Some((rows, late));
            continue;
        };
        assert_eq!(late, *expect_late, "{query} {input} {way:?}");
        assert_same(&rows, expect, &format!("{query} {input} {way:?}"));
    }
    let (rows, late) = first.expect("there are ways");
    (rows.lines().count(), late)
}

#[test]
fn events_in_order() {
    let scene = Scene::new();
    generate(&scene, "in.ndjson", &["--events", EVENTS]);
    for (query, rows) in
        [("q0", 92_000..92_001), ("q1", 92_000..92_001), ("q2", 100..2000), ("qt", 1000..20_000)]
    {
        let (found, late) = check(&scene, query, "in.ndjson");
        assert!(rows.contains(&found), "{query}: {found} rows");
        assert_eq!(late, 0, "{query}");
    }
}

#[test]
fn shuffled_events_of_which_many_are_late() {
    let scene = Scene::new();
    // 5000 events are 12.5 s of event time: more than a window, and more than the 4 s that rows may be late.
    let options = ["--events", EVENTS, "--shuffle", "5000", "--tps", "400", "--seed", "7"];
    generate(&scene, "in.ndjson", &options);
    for query in ["q1", "q2"] {
        let (rows, late) = check(&scene, query, "in.ndjson");
        assert!(rows > 100 && late == 0, "{query}: {rows} rows, {late} late");
    }
    let (rows, late) = check(&scene, "qt", "in.ndjson");
    assert!(rows > 1000 && late > 5000, "{rows} rows, {late} late");
}

/// Runs a query in all ways with its late rows beside it; returns how many those are.
fn check_late(scene: &Scene, query: &str, input: &str) -> usize {
    let mut first: Option<(String, String)> = None;
    for way in WAYS {
        let file = scene.write("pipeline.yaml", late_pipeline(query));
        let ended = run_file(scene, &file, query, input, "out.ndjson", way);
        let (rows, late_rows) = (scene.read("out.ndjson"), scene.read("late-out.ndjson"));
        assert_eq!(late(&ended), late_rows.lines().count() as u64, "{query} {input} {way:?}");
        let Some((expect, expect_late)) = &first else {
            reference(scene, query, input, "out.ndjson", &[]);
            reference(scene, query, input, "late-out.ndjson", &["--late"]);
            first = Some((rows, late_rows));
            continue;
        };
        assert_same(&rows, expect, &format!("{query} {input} {way:?}"));
        assert_same(&late_rows, expect_late, &format!("late rows of {query} {input} {way:?}"));
    }
    first.map_or(0, |(_, late_rows)| late_rows.lines().count())
}

/// Calls `check` with each file of events and the queries that find rows of it late.
fn in_all_orders(check: impl Fn(&Scene, &str, &[&str])) {
    let scene = Scene::new();
    for (input, shuffle, late_in) in ORDERS {
        let options = ["--events", "20000", "--tps", "400", "--seed", "5", "--shuffle", shuffle];
        generate(&scene, input, &options);
        check(&scene, input, late_in);
    }
}

#[test]
fn windows_in_any_order() {
    in_all_orders(|scene, input, late_in| {
        for query in WINDOWED {
            let (rows, late) = check(scene, query, input);
            assert!(rows >= 5, "{query} {input}: {rows} rows");
            assert_eq!(late > 0, late_in.contains(query), "{query} {input}: {late} late");
        }
    });
}

#[test]
fn late_rows_in_any_order() {
    in_all_orders(|scene, input, late_in| {
        for query in late_in {
            assert!(check_late(scene, query, input) > 0, "{query} {input}: none late");
        }
    });
}

#[test]
fn bids_that_are_looked_at_one_at_a_time_in_any_order() {
    in_all_orders(|scene, input, _| {
        for (query, least) in
            [("q10", 18_000), ("q13", 18_000), ("q14", 1000), ("q21", 15_000), ("q22", 18_000)]
        {
            let (rows, late) = check(scene, query, input);
            assert!(rows >= least && late == 0, "{query} {input}: {rows} rows, {late} late");
        }
    });
}

#[test]
fn bids_of_two_days_in_folders() {
    let scene = Scene::new();
    // 100 s around midnight: the last minute of one day and the first of the next, and what lies within 9 s of them.
    let options = ["--events", "10000", "--tps", "100", "--start", "2015-07-14T23:59:10", "--shuffle", "900"];
    generate(&scene, "in.ndjson", &options);
    let (rows, late) = check(&scene, "q10", "in.ndjson");
    assert_eq!((rows, late), (9200, 0));
    let mut days: Vec<String> = scene.names("archive");
    days.sort();
    assert_eq!(days, ["dt=2015-07-14", "dt=2015-07-15"]);
    assert_eq!(scene.names("archive/dt=2015-07-14"), ["hm=23:59"]);
    assert_eq!(scene.names("archive/dt=2015-07-15"), ["hm=00:00"]);
}

#[test]
fn running_queries_in_any_order() {
    in_all_orders(|scene, input, _| {
        for (query, least) in [("q15", 1), ("q16", 1000), ("q17", 500), ("q18", 1000), ("q19", 1000)] {
            let (rows, late) = check(scene, query, input);
            assert!(rows >= least && late == 0, "{query} {input}: {rows} rows, {late} late");
        }
    });
}

#[test]
fn joins_in_any_order() {
    in_all_orders(|scene, input, late_in| {
        for (query, least) in
            [("q3", 50), ("q4", 5), ("q6", 100), ("q8", 10), ("q9", 500), ("q20", 2000), ("q23", 20_000)]
        {
            // Only q8 has windows.
            let (rows, late) = check(scene, query, input);
            assert!(rows >= least, "{query} {input}: {rows} rows");
            assert_eq!(late > 0, query == "q8" && !late_in.is_empty(), "{query} {input}: {late} late");
        }
    });
}

#[test]
fn windows_of_the_clock_count_every_bid() {
    in_all_orders(|scene, input, _| {
        for way in WAYS {
            // The windows are the clock's, so that only the reference can say whether their counts add up.
            let ended = run(scene, "q12", input, "out.ndjson", way);
            assert_eq!(late(&ended), 0, "q12 {input} {way:?}");
            reference(scene, "q12", input, "out.ndjson", &[]);
        }
    });
}

#[test]
fn events_in_several_files_give_the_same_rows() {
    let scene = Scene::new();
    // Behind the watermark of its own file no event is late, however far behind the other files it lies.
    generate(&scene, "all.ndjson", &["--events", "30000", "--tps", "400", "--seed", "9", "--shuffle", "500"]);
    let text = scene.read("all.ndjson");
    let lines: Vec<&str> = text.lines().collect();
    let in_turn = |n: usize| n % 3;
    let one_after_the_other = |n: usize| 2 - n / 10_000;
    let uneven = |n: usize| usize::from(n.is_multiple_of(7)) + usize::from(n > 29_000);
    let divisions: [(&str, &dyn Fn(usize) -> usize); 3] =
        [("in turn", &in_turn), ("one after the other", &one_after_the_other), ("uneven", &uneven)];
    for (query, least) in [("q5", 30), ("q11", 500), ("q17", 500)] {
        run(&scene, query, "all.ndjson", "out.ndjson", &["--cores", "1"]);
        let expect = scene.read("out.ndjson");
        assert!(expect.lines().count() >= least, "{query}: {} rows", expect.lines().count());
        for (division, part_of) in &divisions {
            for part in 0..3 {
                let of_part = lines.iter().enumerate().filter(|(n, _)| part_of(*n) == part);
                let part_text: String = of_part.flat_map(|(_, line)| [*line, "\n"]).collect();
                scene.write(&format!("part-{part}.ndjson"), part_text);
            }
            for way in [WAYS[0], WAYS[1], WAYS[2]] {
                let ended = run(&scene, query, "part-*.ndjson", "out.ndjson", way);
                assert_eq!(late(&ended), 0, "{query} {division} {way:?}");
                assert_same(&scene.read("out.ndjson"), &expect, &format!("{query} {division} {way:?}"));
            }
        }
    }
}

#[test]
fn the_flat_form_holds_the_same_bids() {
    let scene = Scene::new();
    generate(&scene, "nested.ndjson", &["--events", EVENTS, "--seed", "3"]);
    generate(&scene, "in.ndjson", &["--events", EVENTS, "--seed", "3", "--form", "flat"]);
    run(&scene, "q0", "nested.ndjson", "nested-out.ndjson", &[]);
    let schema = "  schema: { event_type: INT NOT NULL, auction: BIGINT, bidder: BIGINT, price: BIGINT, dateTime: TIMESTAMP(3), extra: STRING }
  event_time: { column: dateTime, out_of_order: 4s }";
    let steps = "steps: [{ filter: event_type = 2 }, { drop: event_type }]";
    let rows = scene.output(&scene::file_to_file(schema, steps), &["--cores", "3"]);
    // A chain without an exchange keeps the order of the file, so even the bytes are the same.
    assert!(rows == scene.read("nested-out.ndjson"), "the rows differ");
    assert_eq!(rows.lines().count(), 92_000);
    reference(&scene, "q0", "in.ndjson", "out.ndjson", &[]);
}
