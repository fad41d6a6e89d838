//! How sinks write rows that may be taken back.

use std::collections::BTreeMap;

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Scene, Watched, file_to_file, sorted};

const SOURCE: &str = "  schema: { key: STRING, n: BIGINT }";

/// A pipeline whose sink has these options.
fn pipeline(steps: &str, options: &str) -> String {
    file_to_file(SOURCE, steps).replace("{ path: out.ndjson }", &format!("{{ path: out.ndjson, {options} }}"))
}

/// Rows of several blocks, in which every key comes again and again.
fn rows() -> String {
    (0..30_000).map(|n| format!("{{\"key\":\"k{}\",\"n\":{n}}}\n", n * 7 % 100)).collect()
}

#[test]
fn rows_that_stay_are_inserted() {
    let scene = Scene::new();
    scene.write("in.ndjson", "{\"key\":\"a\",\"n\":1}\n{\"key\":null,\"n\":2}\n");
    assert_eq!(
        scene.output(&pipeline("", "changelog: debezium"), &[]),
        "{\"before\":null,\"after\":{\"key\":\"a\",\"n\":1},\"op\":\"c\"}\n\
         {\"before\":null,\"after\":{\"key\":null,\"n\":2},\"op\":\"c\"}\n"
    );
    assert_eq!(
        scene.output(&pipeline("", "changelog: final"), &[]),
        "{\"key\":\"a\",\"n\":1}\n{\"key\":null,\"n\":2}\n"
    );
    assert_eq!(
        scene.output(&pipeline("", "changelog: upsert, upsert_by: key"), &["--cores", "1"]),
        "{\"key\":{\"key\":\"a\"},\"value\":{\"key\":\"a\",\"n\":1}}\n\
         {\"key\":{\"key\":null},\"value\":{\"key\":null,\"n\":2}}\n"
    );
    let stdout =
        pipeline("", "x").replace("file: { path: out.ndjson, x }", "stdout: { changelog: debezium }");
    assert_eq!(
        scene.run(&stdout, &["--cores", "1"]).stdout.lines().next(),
        Some("{\"before\":null,\"after\":{\"key\":\"a\",\"n\":1},\"op\":\"c\"}")
    );
}

#[test]
fn the_newest_row_of_a_key_is_the_last_in_the_file_on_any_number_of_shards() {
    let scene = Scene::new();
    scene.write("in.ndjson", rows());
    let pipeline = pipeline("", "changelog: upsert, upsert_by: [key]");
    let mut expect = BTreeMap::new();
    for n in 0..30_000 {
        expect.insert(format!("k{}", n * 7 % 100), n);
    }
    let one = scene.output(&pipeline, &["--cores", "1"]);
    assert!(one.lines().count() < 5000, "a key is written once a block");
    for shards in ["1", "2", "3"] {
        let output = scene.output(&pipeline, &["--cores", shards]);
        assert_eq!(sorted(&output), sorted(&one), "{shards} shards");
        let mut found = BTreeMap::new();
        for line in output.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
            let key = line["key"]["key"].as_str().expect("a key").to_owned();
            found.insert(key, line["value"]["n"].as_i64().expect("a number"));
        }
        assert_eq!(found, expect, "{shards} shards");
    }
}

#[test]
fn final_rows_need_input_that_ends() {
    let scene = Scene::new();
    let endless = "millstream: 1\nname: scene\nsource:\n  generator: { columns: { n: n } }\nsink:\n  stdout: { changelog: final }\n  format: json\n";
    let ended = scene.run(endless, &[]);
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("`changelog: final` needs input that is sure to end, and that of generator is not"),
        "{}",
        ended.stderr
    );
    let bounded = endless.replace("{ columns", "{ rows: 3, columns");
    assert_eq!(scene.run(&bounded, &["--cores", "1"]).stdout.lines().count(), 3);
}

const COUNTS: &str =
    "steps:\n  - aggregate: { name: counts, by: key, select: { rows: COUNT(*), last: MAX(n) } }";

#[test]
fn a_running_aggregate_is_written_in_every_form() {
    let scene = Scene::new();
    scene.write("in.ndjson", "{\"key\":\"a\",\"n\":1}\n{\"key\":\"b\",\"n\":2}\n{\"key\":\"a\",\"n\":3}\n");
    let debezium = scene.output(&pipeline(COUNTS, "changelog: debezium"), &["--cores", "2"]);
    assert_eq!(
        sorted(&debezium),
        [
            r#"{"before":null,"after":{"key":"a","rows":1,"last":1},"op":"c"}"#,
            r#"{"before":null,"after":{"key":"a","rows":2,"last":3},"op":"c"}"#,
            r#"{"before":null,"after":{"key":"b","rows":1,"last":2},"op":"c"}"#,
            r#"{"before":{"key":"a","rows":1,"last":1},"after":null,"op":"d"}"#,
        ]
    );
    let upsert = scene.output(&pipeline(COUNTS, "changelog: upsert"), &["--cores", "2"]);
    assert_eq!(
        sorted(&upsert),
        [
            r#"{"key":{"key":"a"},"value":{"key":"a","rows":2,"last":3}}"#,
            r#"{"key":{"key":"b"},"value":{"key":"b","rows":1,"last":2}}"#,
        ]
    );
    let settled = scene.output(&pipeline(COUNTS, "changelog: final"), &["--cores", "2"]);
    assert_eq!(sorted(&settled), [r#"{"key":"a","rows":2,"last":3}"#, r#"{"key":"b","rows":1,"last":2}"#]);
}

#[test]
fn every_form_comes_to_the_same_rows_on_any_number_of_shards() {
    let scene = Scene::new();
    scene.write("in.ndjson", rows());
    let counts = (0..100).map(|key| {
        let last = (0..30_000).rev().find(|n| n * 7 % 100 == key).expect("every key comes");
        (format!("k{key}"), format!("{{\"key\":\"k{key}\",\"rows\":300,\"last\":{last}}}"))
    });
    let expect: BTreeMap<String, String> = counts.collect();
    for shards in ["1", "2", "3"] {
        let settled = scene.output(&pipeline(COUNTS, "changelog: final"), &["--cores", shards]);
        assert_eq!(
            sorted(&settled),
            sorted(&expect.values().map(|row| row.clone() + "\n").collect::<String>())
        );
        let upsert = scene.output(&pipeline(COUNTS, "changelog: upsert"), &["--cores", shards]);
        let newest: BTreeMap<String, String> = upsert
            .lines()
            .map(|line| {
                let (key, value) = line.split_once(",\"value\":").expect("an upsert");
                let key = key.trim_start_matches("{\"key\":{\"key\":\"").trim_end_matches("\"}");
                (key.to_owned(), value[..value.len() - 1].to_owned())
            })
            .collect();
        assert_eq!(newest, expect, "{shards} shards");
        let debezium = scene.output(&pipeline(COUNTS, "changelog: debezium"), &["--cores", shards]);
        assert_eq!(debezium.lines().count(), 2 * 30_000 - 100);
        // The key is no longer the changelog's own: rows are exchanged by the other and netted.
        let by_last = pipeline(COUNTS, "changelog: upsert, upsert_by: last");
        let mut there = BTreeMap::new();
        for line in scene.output(&by_last, &["--cores", shards]).lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
            let last = line["key"]["last"].as_i64().expect("a key");
            match line["value"].as_object() {
                Some(_) => there.insert(last, line["value"]["key"].as_str().expect("a key").to_owned()),
                None => there.remove(&last),
            };
        }
        let mut keys: Vec<&String> = there.values().collect();
        keys.sort();
        assert!(keys.into_iter().eq(expect.keys()), "{shards} shards: {there:?}");
    }
}

#[test]
fn a_drain_before_the_end_writes_no_final_rows() {
    let scene = Scene::new();
    let text = "millstream: 1\nname: scene\nsource:\n  generator: { rows: 1000000000, columns: { key: n % 10, at: at } }\n\
                steps:\n  - aggregate: { name: counts, by: key, select: { rows: COUNT(*) } }\n\
                sink:\n  file: { path: out.ndjson, changelog: final }\n  format: json\n";
    let mut running = Watched::start(&mut scene.pipeline(text, &["--cores", "2"]));
    let stat = format!("/proc/{}/stat", running.id());
    running.until("some work", || {
        let stat = std::fs::read_to_string(&stat).expect("the process is there");
        let mut fields = stat.rsplit_once(')').expect("a name in parentheses").1.split_whitespace();
        // The 14th field of the line: time on CPUs in hundredths of a second.
        fields.nth(11).and_then(|ticks| ticks.parse::<u64>().ok()).expect("a number") > 50
    });
    running.signal("TERM");
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(scene.read("out.ndjson"), "");
    assert!(ended.stderr.contains("the input was not read to its end: 10 rows"), "{}", ended.stderr);
    assert!(ended.stderr.contains("state counts: 10 entries, "), "{}", ended.stderr);
}

#[test]
fn state_that_outgrows_its_limit_stops_the_run() {
    let scene = Scene::new();
    scene.write("out.ndjson", "old\n");
    let text = "millstream: 1\nname: scene\nsource:\n  generator: { columns: { key: n, at: at } }\n\
                steps:\n  - aggregate: { name: endless, by: key, select: { rows: COUNT(*) } }\n\
                sink:\n  file: { path: out.ndjson, changelog: debezium }\n  format: json\nrun: { memory: 2MiB }\n";
    let ended = scene.run(text, &["--cores", "2"]);
    assert_eq!(ended.code, Some(71), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("error: state has outgrown run.memory: `endless` keeps "),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("the limit is 2.0 MiB"), "{}", ended.stderr);
    assert!(scene.unfinished().is_none(), "litter");
    // It is drained: with more memory a run goes on behind what is written.
    let rows = scene.read("out.ndjson").lines().count();
    assert!(rows > 0 && ended.stderr.contains(&format!(" {} out, ", grouped(rows))), "{}", ended.stderr);
    let again = scene.run(&text.replace("2MiB", "3MiB"), &["--cores", "3"]);
    assert_eq!(again.code, Some(71), "{}", again.stderr);
    assert!(again.stderr.contains("going on from snapshot"), "{}", again.stderr);
    let written = scene.read("out.ndjson");
    let mut keys: Vec<u64> = written
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["after"]["key"].as_u64())
        .map(|key| key.expect("a number"))
        .collect();
    keys.sort_unstable();
    assert!(keys.len() > rows && keys.iter().copied().eq(0..keys.len() as u64), "each key once");
}

/// As the summary writes numbers.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).expect("digits")).collect();
    groups.join(",")
}

#[test]
fn of_windows_that_close_together_the_latest_is_the_newest() {
    let scene = Scene::new();
    let at = |second: u32, n: u32| {
        format!("{{\"key\":\"a\",\"n\":{n},\"at\":\"2026-01-01T00:00:{second:02}\"}}\n")
    };
    scene.write("in.ndjson", at(1, 90) + &at(11, 10) + &at(5, 3) + &at(21, 50) + &at(29, 1));
    let text = pipeline(
        "steps:\n  - aggregate: { name: w, by: key, window: { tumbling: 10s }, select: { total: SUM(n) } }\n  - select: { total: total, key: key }",
        "changelog: upsert, upsert_by: key",
    );
    let text = text.replace(
        "n: BIGINT }",
        "n: BIGINT, at: TIMESTAMP(3) }\n  event_time: { column: at, out_of_order: 1h }",
    );
    for shards in ["1", "3"] {
        assert_eq!(
            scene.output(&text, &["--cores", shards]),
            "{\"key\":{\"key\":\"a\"},\"value\":{\"total\":51,\"key\":\"a\"}}\n"
        );
    }
}
