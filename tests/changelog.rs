//! How sinks write rows that may be taken back.

use std::collections::BTreeMap;

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Scene, file_to_file, sorted};

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
        ended.stderr.contains("`changelog: final` needs input that ends: generator (without end"),
        "{}",
        ended.stderr
    );
    let bounded = endless.replace("{ columns", "{ rows: 3, columns");
    assert_eq!(scene.run(&bounded, &["--cores", "1"]).stdout.lines().count(), 3);
}
