//! What the README shows is what happens: its pipelines are run on its input, and come to what it says.

use millstream::operator::VERBS;

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Scene, Watched, end, sorted};

const README: &str = include_str!("../README.md");

/// The only block of code in the README that begins so, without its fences.
fn block(start: &str) -> &'static str {
    let fenced = README.split("```").skip(1).step_by(2);
    let texts = fenced.map(|block| block.split_once('\n').expect("a language and lines").1);
    let mut found = texts.filter(|text| text.starts_with(start));
    let text = found.next().unwrap_or_else(|| panic!("no block begins with {start}"));
    assert!(found.next().is_none(), "several blocks begin with {start}");
    text
}

fn spend() -> &'static str {
    block("millstream: 1\nname: spend")
}

fn scene() -> Scene {
    let scene = Scene::new();
    scene.write("orders.ndjson", block("{\"id\": 1,"));
    scene
}

/// Runs a pipeline that has to succeed; what it says.
fn run(scene: &Scene, text: &str) -> String {
    let ended = scene.run(text, &["--cores", "2"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stderr
}

#[test]
fn the_first_pipeline() {
    let scene = scene();
    let said = run(&scene, spend());
    let counts = |text: &str| text.split_once("; ").expect("counts and times").0.to_owned();
    assert_eq!(counts(&said), counts(block("8 rows in")));
    let rows = block("{\"country\":\"FR\",\"window_start\"");
    assert_eq!(sorted(&scene.read("spend.ndjson")), sorted(rows));
    let mut shown: serde_json::Value = serde_json::from_str(block("{\"raw\":")).expect("a record");
    let mut kept = scene.quarantine();
    assert_eq!(kept.len(), 1, "{kept:?}");
    for record in [&mut shown, &mut kept[0]] {
        let at = record.as_object_mut().and_then(|record| record.remove("at"));
        assert!(at.is_some(), "when it came: {record}");
    }
    assert_eq!(kept[0], shown);
}

#[test]
fn the_mistake() {
    let scene = scene();
    scene.write("typo.yaml", spend().replace("SUM(amount)", "SUM(amont)"));
    let ended = end(&mut scene.program(&["check", "typo.yaml"]));
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stderr + &ended.stdout, block("error: there is no column"));
}

#[test]
fn tables_beside_the_stream() {
    let scene = scene();
    scene.write("countries.csv", "code,name,vat\nFR,France,0.20\n");
    let (head, steps) = spend().split_once("steps:\n").expect("steps");
    let (_, sink) = steps.split_once("sink:\n").expect("a sink");
    let pipeline = format!("{head}{}steps:\n{}sink:\n{sink}", block("tables:"), block("  - lookup:"));
    run(&scene, &pipeline);
    let rows = scene.read("spend.ndjson");
    assert!(rows.lines().all(|row| row.contains("\"FR\"") == row.contains("\"name\":\"France\"")), "{rows}");
    assert!(rows.contains("France") && rows.contains("\"name\":null"), "{rows}");
}

#[test]
fn late_rows() {
    let scene = scene();
    let window = "      window: { tumbling: 10s }\n";
    let late = spend().replace(window, &format!("{window}      late: {{ to: too_late }}\n"));
    run(&scene, &(late + block("sinks:")));
    assert_eq!(scene.read("late.ndjson"), block("{\"id\":8,"));
}

#[test]
fn sequences_of_rows() {
    let scene = Scene::new();
    scene.write("logins.ndjson", block("{\"at\":\"2026-01-01T12:00:00\",\"user\":\"root\""));
    let source = "millstream: 1\nname: logins\nsource:\n  file: { path: logins.ndjson }\n  format: json\n  schema:\n    at: TIMESTAMP(3) NOT NULL\n    user: STRING NOT NULL\n    ip: STRING\n    outcome: STRING NOT NULL\n  event_time: { column: at, out_of_order: 2s }\nsteps:\n";
    let sink = "sink:\n  file: { path: found.ndjson }\n  format: json\n";
    run(&scene, &format!("{source}{}{sink}", block("  - pattern:")));
    assert_eq!(scene.read("found.ndjson"), block("{\"user\":\"root\",\"failures\""));
}

#[test]
fn windows_that_are_open() {
    let scene = scene();
    let live = spend()
        .replace("file: { path: orders.ndjson }", "stdin:")
        .replace("file: { path: spend.ndjson }", "stdout:");
    let mut running = Watched::start(&mut scene.pipeline(&live, &["--cores", "2"]));
    running.send(&scene.read("orders.ndjson"));
    // The rows of the first window are written once all orders have been seen.
    for _ in 0..2 {
        let line = running.line();
        assert!(line.contains("\"window_end\":\"2026-01-01T12:00:10\""), "{line}");
    }
    running.signal("INT");
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains(block("note: windows").trim_end()), "{}", ended.stderr);
}

#[test]
fn results_that_change() {
    let scene = scene();
    let (source, _) = spend().split_once("steps:").expect("a source");
    let pipeline = format!("{source}{}", block("steps:"));
    let output = |form: &str| {
        let said = run(&scene, &pipeline.replace("changelog: debezium", &format!("changelog: {form}")));
        (scene.read("so-far.ndjson"), said)
    };
    let (changes, _) = output("debezium");
    let of_france = changes.lines().filter(|line| line.contains("FR"));
    assert!(of_france.eq(block("{\"before\":").lines()), "{changes}");
    let (newest, _) = output("upsert");
    assert_eq!(sorted(&newest), sorted(block("{\"key\":")));
    let (last, said) = output("final");
    assert_eq!(sorted(&last), sorted(block("{\"country\":\"FR\",\"orders\"")));
    let kept = block("state so_far");
    let entries = kept.split_once(',').expect("entries and bytes").0;
    assert!(said.contains(entries), "{said}");
}

#[test]
fn every_step_is_named() {
    let (_, steps) = README.split_once("\n## The steps\n").expect("a chapter of the steps");
    let (table, _) = steps.split_once("\n## ").expect("another behind it");
    for verb in VERBS {
        assert!(table.contains(&format!("`{}`", verb.name)), "{} is not in the table", verb.name);
    }
}

#[test]
fn the_graph() {
    let scene = scene();
    std::fs::create_dir(scene.path("branches")).expect("a folder");
    scene.write(
        "branches/one.ndjson",
        "{\"id\":20,\"country\":\"DE\",\"amount\":100,\"at\":\"2026-01-01T12:00:00\"}\n\
         {\"id\":21,\"country\":\"AT\",\"amount\":0.5,\"at\":\"2026-01-01T12:00:01\"}\n",
    );
    run(&scene, block("millstream: 1\nname: shops"));
    assert_eq!(scene.read("dear.ndjson").lines().count(), 1, "{}", scene.read("dear.ndjson"));
    let rows = scene.read("countries.ndjson");
    assert!(rows.contains("{\"country\":\"AT\",\"orders\":1,\"total\":0.50}\n"), "{rows}");
    assert_eq!(rows.lines().count(), 3, "{rows}");
}
