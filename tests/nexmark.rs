//! Nexmark's queries through the built program: the same rows on any number of shards and on either host, and equal to
//! the independent reference (tests/reference), which also says how many rows are late.

use std::process::Command;

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

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

fn generate(scene: &Scene, name: &str, options: &[&str]) {
    let arguments = [&["gen", "nexmark", "--events", EVENTS, "--out", name], options].concat();
    let ended = end(&mut scene.program(&arguments));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

fn run(scene: &Scene, query: &str, input: &str, output: &str, way: &[&str]) -> Ended {
    let file = repository(&format!("pipelines/nexmark/{query}.yaml"));
    let file = file.to_str().expect("UTF-8");
    let arguments = [&["run", file, "--state-dir", "state"], way].concat();
    let mut command = scene.program(&arguments);
    let ended = end(command.env("NEXMARK_INPUT", input).env("NEXMARK_OUTPUT", output));
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
fn reference(scene: &Scene, query: &str, input: &str, output: &str) -> Option<String> {
    let script = repository("tests/reference/nexmark.py");
    let mut python = Command::new("python3");
    python.args(["-X", "utf8", "-B"]).arg(script);
    python.args([query, &scene.path(input), "--check", &scene.path(output)]);
    if Command::new("python3").arg("--version").output().is_err() {
        skipped("there is no python3 to run the reference with");
        return None;
    }
    let ended = end(&mut python);
    assert_eq!(ended.code, Some(0), "{query} {input}: {}", ended.stderr);
    Some(ended.stderr)
}

/// Runs a query in all ways; returns how many rows it yields and how many were late.
fn check(scene: &Scene, query: &str, input: &str) -> (usize, u64) {
    let mut first: Option<(String, u64)> = None;
    for way in WAYS {
        let ended = run(scene, query, input, "out.ndjson", way);
        let (rows, late) = (scene.read("out.ndjson"), late(&ended));
        let Some((expect, expect_late)) = &first else {
            if let Some(notes) = reference(scene, query, input, "out.ndjson")
                && query == "qt"
            {
                assert!(notes.contains(&format!("{late} rows were late\n")), "{late}, but {notes}");
            }
            first = Some((rows, late));
            continue;
        };
        assert_eq!(late, *expect_late, "{query} {input} {way:?}");
        // A million characters of difference help nobody: the first line that differs does.
        for (found, expect) in sorted(&rows).iter().zip(sorted(expect)) {
            assert_eq!(*found, expect, "{query} {input} {way:?}");
        }
        assert_eq!(rows.len(), expect.len(), "{query} {input} {way:?}");
    }
    let (rows, late) = first.expect("there are ways");
    (rows.lines().count(), late)
}

#[test]
fn events_in_order() {
    let scene = Scene::new();
    generate(&scene, "in.ndjson", &[]);
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
    generate(&scene, "in.ndjson", &["--shuffle", "5000", "--tps", "400", "--seed", "7"]);
    for query in ["q1", "q2"] {
        let (rows, late) = check(&scene, query, "in.ndjson");
        assert!(rows > 100 && late == 0, "{query}: {rows} rows, {late} late");
    }
    let (rows, late) = check(&scene, "qt", "in.ndjson");
    assert!(rows > 1000 && late > 5000, "{rows} rows, {late} late");
}

#[test]
fn the_flat_form_holds_the_same_bids() {
    let scene = Scene::new();
    generate(&scene, "nested.ndjson", &["--seed", "3"]);
    generate(&scene, "in.ndjson", &["--seed", "3", "--form", "flat"]);
    run(&scene, "q0", "nested.ndjson", "nested-out.ndjson", &[]);
    let schema = "  schema: { event_type: INT NOT NULL, auction: BIGINT, bidder: BIGINT, price: BIGINT, dateTime: TIMESTAMP(3), extra: STRING }
  event_time: { column: dateTime, out_of_order: 4s }";
    let steps = "steps: [{ filter: event_type = 2 }, { drop: event_type }]";
    let rows = scene.output(&scene::file_to_file(schema, steps), &["--cores", "3"]);
    // A chain without an exchange keeps the order of the file, so even the bytes are the same.
    assert!(rows == scene.read("nested-out.ndjson"), "the rows differ");
    assert_eq!(rows.lines().count(), 92_000);
    reference(&scene, "q0", "in.ndjson", "out.ndjson");
}
