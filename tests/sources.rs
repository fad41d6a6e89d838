//! What could not be read, and is given back: the quarantine as its users see it.

use std::fs;

use serde_json::{Value, json};

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Ended, Scene, end, file_to_file};

const SCHEMA: &str = "  schema: { id: BIGINT NOT NULL, price: BIGINT }";
const STEPS: &str = "steps:\n  - select: { id: id, each: 100 / price }";

/// Bad records with the error they come to; one is not UTF-8, one would steer a terminal.
const BAD: [(&[u8], &str); 4] = [
    (b"{\"id\":1,\"price\":0}", "evaluate"),
    (b"not \xff JSON", "decode"),
    (b"{\"id\":\"\x1b[31m\"}", "decode"),
    (b"{\"id\":null}", "decode"),
];

/// A scene in which a pipeline has met the bad records between good ones.
fn met() -> Scene {
    let scene = Scene::new();
    let mut input = Vec::new();
    for (raw, _) in BAD {
        input.extend_from_slice(b"{\"id\":7,\"price\":4}\n");
        input.extend_from_slice(raw);
        input.push(b'\n');
    }
    scene.write("in.ndjson", input);
    scene.output(&file_to_file(SCHEMA, STEPS), &["--cores", "1"]);
    scene
}

/// Runs `quarantine VERB` for the pipeline of the scene.
fn quarantine(scene: &Scene, verb: &str, arguments: &[&str]) -> Ended {
    let fixed = ["quarantine", verb, "pipeline.yaml", "--state-dir", "state"];
    end(&mut scene.program(&[&fixed, arguments].concat()))
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn bad_records_are_counted_by_error_and_source() {
    let scene = met();
    let ended = quarantine(&scene, "list", &["--format", "json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let run = &objects(&ended.stdout)[0];
    let counts = json!([
        { "error": "decode", "source": "in.ndjson", "records": 3 },
        { "error": "evaluate", "source": "in.ndjson", "records": 1 },
    ]);
    assert_eq!((&run["records"], &run["counts"]), (&json!(4), &counts));
    assert!(run["first"].as_str() <= run["last"].as_str() && run["first"].is_string());
    let text = quarantine(&scene, "list", &[]).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains(": 4 records, "), "{text}");
    assert_eq!(lines[1..], ["         3  decode      in.ndjson", "         1  evaluate    in.ndjson"]);
}

#[test]
fn bad_records_are_shown_the_newest_last() {
    let scene = met();
    let shown = |arguments: &[&str]| quarantine(&scene, "show", arguments).stdout;
    let all = objects(&shown(&["--format", "json"]));
    assert_eq!(all, scene.quarantine());
    let kept = |arguments: &[&str]| objects(&shown(&[&["--format", "json"], arguments].concat()));
    assert_eq!(kept(&["--limit", "2"]), all[2..]);
    for error in ["decode", "evaluate"] {
        let expect: Vec<Value> = all.iter().filter(|record| record["error"] == error).cloned().collect();
        assert_eq!(kept(&["--error", error]), expect);
    }
    assert_eq!(kept(&["--error", "decode", "--error", "evaluate", "--source", "in.ndjson"]), all);
    assert!(kept(&["--source", "stdin"]).is_empty());
    let text = shown(&[]);
    assert!(text.contains("in.ndjson byte ") && text.contains("\n  {\"id\":null}\n"), "{text}");
    assert!(text.contains("\\u{1b}[31m") && !text.contains('\u{1b}'), "{text}");
    assert_eq!(text.lines().count(), 3 * BAD.len());
}

#[test]
fn bad_records_are_given_back_as_they_were() {
    let scene = met();
    let raw = |error: &str| -> Vec<u8> {
        let meant = BAD.iter().filter(|(_, of)| error.is_empty() || *of == error);
        meant.flat_map(|(raw, _)| [raw, &b"\n"[..]].concat()).collect()
    };
    // One shard works records off by and by, so they were kept by batch: sorted, both are the same.
    let lines = |bytes: &[u8]| {
        let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort();
        lines
    };
    let ended = quarantine(&scene, "replay", &["--to", "all.ndjson"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    assert!(ended.stderr.contains("4 records written to all.ndjson"), "{}", ended.stderr);
    assert_eq!(lines(&fs::read(scene.path("all.ndjson")).expect("a file")), lines(&raw("")));
    let ended = quarantine(&scene, "replay", &["--error", "evaluate"]);
    assert_eq!(ended.stdout.into_bytes(), raw("evaluate"));
    assert!(ended.stderr.contains("1 record written to standard output"), "{}", ended.stderr);
    // With the cause mended, what is given back is read.
    let mended = file_to_file(SCHEMA, "steps:\n  - select: { id: id, each: \"100 / NULLIF(price, 0)\" }");
    scene.write("again.ndjson", raw("evaluate"));
    let again = scene.output(&mended, &["--set", "source.file.path=again.ndjson"]);
    assert_eq!(again, "{\"id\":1,\"each\":null}\n");
    // What is there is not overwritten.
    let ended = quarantine(&scene, "replay", &["--to", "again.ndjson"]);
    assert_eq!(ended.code, Some(74), "{}", ended.stderr);
    assert_eq!(scene.read("again.ndjson").into_bytes(), raw("evaluate"));
}

#[test]
fn what_cannot_be_given_back_is_told() {
    let scene = Scene::new();
    scene.write("pipeline.yaml", file_to_file(SCHEMA, STEPS));
    fs::create_dir_all(scene.path("state/quarantine")).expect("a folder");
    let line = |at: u32, error: &str, raw: &str| {
        let at = format!("2026-01-01T00:00:0{at}Z");
        json!({ "raw": raw, "source": "s", "position": 1, "error": error, "message": "m", "at": at })
            .to_string()
    };
    let first =
        [line(1, "decode", "a"), line(2, "too_long", "xxx"), "no line".to_owned(), line(3, "decode", "")];
    scene.write("state/quarantine/2026-01-01T00-00-01Z.ndjson", first.join("\n") + "\n");
    // The second run is at work, or was killed: its last line has no end yet.
    let second = format!("{}\n{}", line(4, "decode", "b"), line(5, "decode", "c"));
    scene.write("state/quarantine/2026-01-01T00-00-01.5Z.ndjson", second);
    let ended = quarantine(&scene, "replay", &[]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "a\nb\n"));
    for told in [
        "01Z.ndjson:3 is left out",
        "2 records written",
        "1 record left out: too long",
        "1 record left out: no bytes",
    ] {
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
    let shown = quarantine(&scene, "show", &[]).stdout;
    assert!(shown.contains("(its bytes are not known)") && shown.ends_with("\n  b\n"), "{shown}");
    let runs = objects(&quarantine(&scene, "list", &["--format", "json"]).stdout);
    assert_eq!((&runs[0]["records"], &runs[1]["records"]), (&json!(3), &json!(1)));
}

#[test]
fn an_empty_quarantine_and_a_wrong_file() {
    let scene = Scene::new();
    scene.write("pipeline.yaml", file_to_file(SCHEMA, STEPS));
    for verb in ["list", "show", "replay"] {
        let ended = quarantine(&scene, verb, &[]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
        assert!(ended.stderr.contains("nothing is in the quarantine state/quarantine"), "{}", ended.stderr);
    }
    scene.write("pipeline.yaml", "millstream: 1\nname: scene\nsauce: {}\n");
    let ended = quarantine(&scene, "list", &[]);
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.contains("sauce"), "{}", ended.stderr);
    assert!(!scene.exists("state"), "looking leaves nothing behind");
}
