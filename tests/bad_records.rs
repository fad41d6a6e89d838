//! Records that are no good: kept with their bytes, their place and the reason, counted, and bounded; and what stops a
//! run because of them.

use base64::Engine as _;
use std::fmt::Write;

use serde_json::Value;

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Ended, Scene, file_to_file};

const SCHEMA: &str = "  schema:
    id: BIGINT NOT NULL
    price: BIGINT
    at: TIMESTAMP(3)
  event_time: { column: at }";
const STEPS: &str = "steps:\n  - select: { id: id, each: 100 / price }";

fn good(id: u64) -> String {
    format!("{{\"id\":{id},\"price\":4,\"at\":\"2026-01-01T00:00:00\"}}")
}

/// The numbers in the summary: rows in, out, in quarantine.
fn counts(ended: &Ended) -> [u64; 3] {
    let line = ended.stderr.lines().find(|line| line.contains(" late;")).expect("a summary");
    let number =
        |part: &str| part.trim().split(' ').next().and_then(|word| word.replace(',', "").parse().ok());
    // Thousands are grouped by commas without blanks.
    let mut numbers = line.split(", ").map(|part| number(part).expect("a number"));
    [(); 3].map(|()| numbers.next().expect("three numbers"))
}

#[test]
fn each_kind_of_bad_record_is_kept_with_its_place_and_reason() {
    let at = "\"at\":\"2026-01-01T00:00:00\"";
    // The bytes of a record, what failed, and a word of the reason.
    let bad: &[(&str, &str, &str)] = &[
        ("{\"id\":1,", "decode", ""),
        ("not json at all", "decode", ""),
        ("[1,2]", "decode", ""),
        (&format!("{{\"id\":\"x\",\"price\":1,{at}}}"), "decode", "id"),
        (&format!("{{\"id\":1.5,\"price\":1,{at}}}"), "decode", "id"),
        (&format!("{{\"id\":99999999999999999999,{at}}}"), "decode", "id"),
        (&format!("{{\"id\":{{}},{at}}}"), "decode", "id"),
        (&format!("{{\"id\":null,\"price\":1,{at}}}"), "decode", "id"),
        (&format!("{{\"price\":1,{at}}}"), "decode", "id"),
        ("{\"id\":1,\"price\":1,\"at\":\"yesterday\"}", "decode", "at"),
        ("{\"id\":1,\"price\":1,\"at\":\"2026-01-01T00:00:00Z\"}", "decode", "at"),
        ("{\"id\":1,\"price\":1,\"at\":null}", "event_time", "NULL"),
        ("{\"id\":1,\"price\":1}", "event_time", "NULL"),
        (&format!("{{\"id\":1,\"price\":0,{at}}}"), "evaluate", "division by zero"),
        (&format!("{{\"id\":1,\"price\":4,{at}}} {{}}"), "decode", ""),
        (&format!("  {{\"id\":1,\"price\":0,{at}}}  "), "evaluate", "division by zero"),
    ];
    for shards in ["1", "3"] {
        let scene = Scene::new();
        // Bad ones between good ones, over several chunks, so that places are counted across their borders.
        let mut text = String::new();
        let mut places = Vec::new();
        let mut id = 0;
        for round in 0..4 {
            for (raw, _, _) in bad {
                for _ in 0..(if round == 3 { 10 } else { 500 }) {
                    writeln!(text, "{}", good(id)).expect("a string");
                    id += 1;
                }
                places.push(text.len() as u64);
                writeln!(text, "{raw}").expect("a string");
            }
        }
        scene.write("in.ndjson", &text);
        let ended = scene.run(&file_to_file(SCHEMA, STEPS), &["--cores", shards]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let expect: String = (0..id).map(|id| format!("{{\"id\":{id},\"each\":25}}\n")).collect();
        assert!(scene.read("out.ndjson") == expect, "the good rows are all there, in order");
        assert_eq!(counts(&ended), [id + places.len() as u64, id, places.len() as u64]);
        let mut kept = scene.quarantine();
        kept.sort_by_key(|line| line["position"].as_u64());
        assert_eq!(kept.len(), places.len());
        for ((line, place), (raw, error, reason)) in kept.iter().zip(&places).zip(bad.iter().cycle()) {
            // Blanks around a record belong to its line, not to it; its place may be before or behind them.
            let blanks = (raw.len() - raw.trim_start().len()) as u64;
            let found = line["position"].as_u64().expect("a number");
            assert!((*place..=place + blanks).contains(&found), "{place}: {line}");
            assert_eq!(line["raw"].as_str().map(str::trim), Some(raw.trim()), "{line}");
            assert_eq!(
                (&line["source"], &line["error"]),
                (&"in.ndjson".into(), &Value::from(*error)),
                "{line}"
            );
            let message = line["message"].as_str().expect("text");
            assert!(message.len() > 5 && message.contains(reason), "{line}");
        }
        let path = format!("state/quarantine/{}", scene.names("state/quarantine")[0]);
        assert!(ended.stderr.contains(&path), "{}", ended.stderr);
    }
}

#[test]
fn bytes_that_are_no_text_are_kept_as_base64() {
    let scene = Scene::new();
    let raw = b"{\"id\":1,\"price\":4,\"at\":\"\xff\xfe\"}";
    scene.write("in.ndjson", [&good(0).into_bytes()[..], b"\n", raw, b"\n", good(1).as_bytes()].concat());
    let rows = scene.output(&file_to_file(SCHEMA, STEPS), &[]);
    assert_eq!(rows, "{\"id\":0,\"each\":25}\n{\"id\":1,\"each\":25}\n");
    let kept = scene.quarantine();
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (&kept[0]["raw_encoding"], kept[0]["position"].as_u64()),
        (&"base64".into(), Some(good(0).len() as u64 + 1))
    );
    let decoded = base64::engine::general_purpose::STANDARD.decode(kept[0]["raw"].as_str().expect("text"));
    assert_eq!(decoded.expect("base64"), raw);
}

#[test]
fn an_expression_behind_an_exchange_can_fail_too() {
    let scene = Scene::new();
    let text: String = (0..1000).map(|id| good(id) + "\n").collect();
    scene.write("in.ndjson", text);
    let steps = "steps:
  - aggregate: { name: a, by: { k: id % 10 }, window: { tumbling: 1m }, select: { n: COUNT(*) } }
  - select: { k: k, share: n / (k - 3) }";
    let ended = scene.run(&file_to_file(SCHEMA, steps), &["--cores", "3"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(scene.read("out.ndjson").lines().count(), 9);
    let kept = scene.quarantine();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["error"], "evaluate", "{}", kept[0]);
    // The row has no bytes in the input: it is kept as JSON.
    let row: Value = serde_json::from_str(kept[0]["raw"].as_str().expect("text")).expect("a row");
    assert_eq!((&row["k"], &row["n"]), (&Value::from(3), &Value::from(100)));
}

fn with(bad_record: &str) -> String {
    file_to_file(&format!("{SCHEMA}\n  bad_record: {bad_record}"), STEPS)
}

/// An input of which so many percent are bad.
fn with_bad(scene: &Scene, percent: usize, records: usize) {
    let text: String = (0..records)
        .map(|n| if n % 100 < percent { "{\"id\":\n".to_owned() } else { good(n as u64) + "\n" })
        .collect();
    scene.write("in.ndjson", text);
}

fn fails(scene: &Scene, pipeline: &str, code: i32, expect: &[&str]) {
    for shards in ["1", "3"] {
        scene.write("out.ndjson", "of an earlier run\n");
        let ended = scene.run(pipeline, &["--cores", shards]);
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        for text in expect {
            assert!(ended.stderr.contains(text), "{text:?}: {}", ended.stderr);
        }
        assert_eq!(scene.read("out.ndjson"), "of an earlier run\n", "a failed run changes nothing");
        assert!(scene.unfinished().is_none(), "litter");
    }
}

#[test]
fn the_first_one_stops_a_run_that_wants_none() {
    let scene = Scene::new();
    let text: String = (0..5000).map(|id| good(id) + "\n").collect();
    let place = text.len();
    scene.write("in.ndjson", format!("{text}{{\"id\":7,\n{}\n", good(1)));
    let place = format!("bad record in in.ndjson at byte {place}: ");
    fails(&scene, &with("fail"), 65, &[&place, "{\"id\":7,", "bad_record: fail"]);
    assert!(scene.quarantine().is_empty());
    // Without a bad record it is as any other.
    scene.write("in.ndjson", text);
    assert_eq!(scene.output(&with("fail"), &[]).lines().count(), 5000);
}

#[test]
fn too_many_trip_the_breaker_and_a_few_do_not() {
    let pipeline = with("{ stop_above: 5% per 1m }");
    for records in [1000, 60_000] {
        let scene = Scene::new();
        with_bad(&scene, 10, records);
        fails(&scene, &pipeline, 65, &["too many bad records", "stop_above"]);
        with_bad(&scene, 2, records);
        assert_eq!(scene.output(&pipeline, &["--cores", "2"]).lines().count(), records * 98 / 100);
    }
    let scene = Scene::new();
    with_bad(&scene, 10, 1000);
    let pipeline = with("{ stop_above: 99 per 1m }");
    fails(&scene, &pipeline, 65, &["100 of 1000"]);
    with_bad(&scene, 9, 1000);
    assert_eq!(scene.output(&pipeline, &[]).lines().count(), 910);
}

#[test]
fn a_full_quarantine_stops_the_run() {
    let scene = Scene::new();
    with_bad(&scene, 50, 20_000);
    let pipeline = with("{ limit: 64KiB }");
    fails(&scene, &pipeline, 65, &["is full", "65536", "bad_record.limit"]);
    let kept: u64 = scene
        .names("state/quarantine")
        .iter()
        .map(|name| scene.read(&format!("state/quarantine/{name}")).len() as u64)
        .sum();
    assert!((1..=2 * 65536).contains(&kept), "{kept} bytes of two runs");
}
