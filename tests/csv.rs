//! CSV as its users see it: files with headers of their own, any number of shards, bad records, and one header in every
//! output, whatever ends a run.

use std::fmt::Write;
use std::fs;
use std::path::Path;

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Ended, Scene, Watched, end, file_to_file, sorted};

const SCHEMA: &str = "  schema: { id: BIGINT NOT NULL, name: STRING, amount: \"DECIMAL(12, 2)\" }";

/// A pipeline from `in*.csv` to `out.ndjson`, or by `edits` to something else.
fn pipeline(edits: &[(&str, &str)]) -> String {
    let json = file_to_file(SCHEMA, "");
    let (source, sink) = json.split_once("sink:").expect("a sink");
    let source = source.replace("in.ndjson", "\"in*.csv\"").replace("format: json", "format: csv");
    edits.iter().fold(format!("{source}sink:{sink}"), |text, (from, to)| {
        assert!(text.contains(from), "{from} in {text}");
        text.replace(from, to)
    })
}

/// The edits that make the output `out.csv`.
const TO_CSV: (&str, &str) =
    ("file: { path: out.ndjson }\n  format: json", "file: { path: out.csv }\n  format: csv");

fn run(scene: &Scene, text: &str, arguments: &[&str]) -> Ended {
    let ended = scene.run(text, arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

#[test]
fn every_file_has_a_header_of_its_own() {
    let scene = Scene::new();
    scene.write("in1.csv", "id,name,amount\n1,a,1.5\n2,\"b,c\",\n");
    scene.write("in2.csv", "\u{feff}x,amount,id\r\n?,7,3\r\n?,,4");
    scene.write("in3.csv", "name,id,amount");
    scene.write("in4.csv", "");
    scene.write("in5.csv", "\n\"id\"\n5\n");
    for cores in ["1", "2", "3"] {
        let ended = run(&scene, &pipeline(&[]), &["--cores", cores]);
        let rows = scene.read("out.ndjson");
        assert_eq!(
            sorted(&rows),
            [
                r#"{"id":1,"name":"a","amount":1.50}"#,
                r#"{"id":2,"name":"b,c","amount":null}"#,
                r#"{"id":3,"name":null,"amount":7.00}"#,
                r#"{"id":4,"name":null,"amount":null}"#,
                r#"{"id":5,"name":null,"amount":null}"#,
            ]
        );
        assert!(ended.stderr.contains("in2.csv: its header lacks `name`, NULL in all"), "{}", ended.stderr);
        assert!(ended.stderr.contains("5 rows in, 5 out, 0 quarantined"), "{}", ended.stderr);
    }
}

#[test]
fn a_header_without_a_column_that_is_not_null_stops_the_start() {
    let scene = Scene::new();
    scene.write("in1.csv", "id,name\n1,a\n");
    scene.write("in2.csv", "ids,name\n1,a\n");
    let ended = scene.run(&pipeline(&[]), &[]);
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    let expect = "in2.csv: its header lacks the column `id`, which is NOT NULL (it has \"ids\", \"name\"; did you mean \"ids\"?)";
    assert!(ended.stderr.contains(expect), "{}", ended.stderr);
    assert!(!scene.exists("out.ndjson"));
    // One that nobody reads may be missing.
    let selected = pipeline(&[("sink:", "steps:\n  - select: { name: name }\nsink:")]);
    run(&scene, &selected, &[]);
    assert_eq!(scene.read("out.ndjson"), "{\"name\":\"a\"}\n{\"name\":\"a\"}\n");
}

/// Rows of several chunks, in two files with different headers.
fn long(scene: &Scene) -> Vec<String> {
    let (mut one, mut other, mut expect) =
        ("id,name,amount\n".to_owned(), "amount,comment,id,name\n".to_owned(), Vec::new());
    for id in 0..60_000 {
        let name = "x".repeat(id % 40);
        if id % 3 == 0 {
            writeln!(one, "{id},\"{name},\"\"\",{id}.5").expect("a string");
        } else {
            writeln!(other, "{id}.5,\"a, \"\"comment\"\"\",{id},\"{name},\"\"\"").expect("a string");
        }
        expect.push(format!("{{\"id\":{id},\"name\":\"{name},\\\"\",\"amount\":{id}.50}}"));
    }
    scene.write("in1.csv", one);
    scene.write("in2.csv", other);
    expect.sort();
    expect
}

#[test]
fn any_number_of_shards_reads_the_same() {
    let scene = Scene::new();
    let expect = long(&scene);
    for cores in ["1", "2", "3", "5"] {
        run(&scene, &pipeline(&[]), &["--cores", cores]);
        let rows = scene.read("out.ndjson");
        assert!(sorted(&rows) == expect, "{cores} cores");
    }
    // Written as CSV and read again they are the same.
    run(&scene, &pipeline(&[TO_CSV]), &["--cores", "2"]);
    run(&scene, &pipeline(&[("in*.csv", "out.csv")]), &["--cores", "3"]);
    let rows = scene.read("out.ndjson");
    assert!(sorted(&rows) == expect, "by way of CSV");
}

#[test]
fn fields_with_line_ends_are_read_by_any_number_of_shards() {
    let scene = Scene::new();
    let (mut text, mut expect) = ("id,\"na\nme\",name\n".to_owned(), String::new());
    for id in 0..40_000 {
        let lines = "\n".repeat(id % 70);
        writeln!(text, "{id},,\"x{lines}\"\"\n{id},,\"\"\"").expect("a string");
        let lines = lines.replace('\n', "\\n");
        writeln!(expect, "{{\"id\":{id},\"name\":\"x{lines}\\\"\\n{id},,\\\"\",\"amount\":null}}")
            .expect("a string");
    }
    scene.write("in1.csv", &text);
    let multiline = ("format: csv", "format: { csv: { multiline: true } }");
    for cores in ["1", "2", "3", "5"] {
        run(&scene, &pipeline(&[multiline]), &["--cores", cores]);
        assert!(scene.read("out.ndjson") == expect, "{cores} cores");
    }
    run(&scene, &pipeline(&[multiline, TO_CSV]), &["--cores", "2"]);
    run(&scene, &pipeline(&[("in*.csv", "out.csv"), multiline]), &["--cores", "2"]);
    assert!(scene.read("out.ndjson") == expect, "by way of CSV");
    let mut running = Watched::start(
        &mut scene
            .pipeline(&pipeline(&[("file: { path: \"in*.csv\" }", "stdin:"), multiline]), &["--cores", "2"]),
    );
    running.send(&text);
    running.close();
    assert_eq!(running.wait().code, Some(0));
    assert!(scene.read("out.ndjson") == expect, "by standard input");
}

#[test]
fn a_run_that_is_killed_goes_on_with_headers_in_and_out() {
    let scene = Scene::new();
    long(&scene);
    let edits = [
        TO_CSV,
        ("out.csv }\n  format: csv\n", "out.csv }\n  format: csv\nrun: { snapshot: { every: 10ms } }\n"),
    ];
    for append in [false, true] {
        let mut text = pipeline(&edits);
        if append {
            text = text.replace("path: out.csv", "append: true, path: out.csv");
        }
        let mut kills = 0;
        loop {
            let mut running =
                Watched::start(&mut scene.pipeline(&text, &["--cores", ["2", "3", "1"][kills % 3]]));
            let before = scene.names("state/snapshots");
            if kills < 4 {
                // Some are killed at their first snapshot, some a little later.
                let (mut seen, mut newest) = (0, before.last().cloned());
                running.until("a snapshot", || {
                    let now = scene.names("state/snapshots").last().cloned();
                    seen += usize::from(now.is_some() && now != newest);
                    newest = now;
                    seen > kills % 3
                });
                running.signal("KILL");
            }
            let ended = running.wait();
            if let Some(code) = ended.code {
                assert_eq!(code, 0, "{}", ended.stderr);
                break;
            }
            kills += 1;
        }
        assert!(kills > 0, "no run was killed");
        let rows = scene.read("out.csv");
        assert!(rows.starts_with("id,name,amount\n"), "{append}: {}", &rows[..50.min(rows.len())]);
        assert_eq!(rows.matches("id,name,amount").count(), 1, "append {append}");
        let mut ids: Vec<u32> =
            rows.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
        ids.sort_unstable();
        assert!(ids.into_iter().eq(0..60_000), "append {append}");
        fs::remove_file(scene.path("out.csv")).expect("it is there");
    }
}

#[test]
fn bad_records_are_kept_with_their_reasons() {
    let scene = Scene::new();
    scene.write(
        "in.csv",
        b"id,name,amount\n1,a,1\nx,b,2\n3,\"c\n4\",d,4\n5,e\n6,f,\xff\n7,g,7\n\"8,h,8\n9,\"i\",9",
    );
    run(&scene, &pipeline(&[]), &["--cores", "2"]);
    assert_eq!(
        scene.read("out.ndjson"),
        "{\"id\":1,\"name\":\"a\",\"amount\":1.00}\n{\"id\":7,\"name\":\"g\",\"amount\":7.00}\n{\"id\":9,\"name\":\"i\",\"amount\":9.00}\n"
    );
    let mut kept = scene.quarantine();
    kept.sort_by_key(|line| line["position"].as_u64());
    let expect = [
        (21, "x,b,2", "column `id`: expected BIGINT, found \"x\""),
        (27, "3,\"c", "the quotes of field 2 are not closed at the end of the line"),
        (32, "4\",d,4", "a quote inside of field 1"),
        (39, "5,e", "the record has 2 fields, and the header names 3"),
        (43, "NixmLP8=", "not UTF-8, at byte 4"),
        (55, "\"8,h,8", "the quotes of field 1"),
    ];
    assert_eq!(kept.len(), expect.len(), "{kept:?}");
    for (line, (position, raw, reason)) in kept.iter().zip(expect) {
        assert_eq!((line["position"].as_u64(), line["raw"].as_str()), (Some(position), Some(raw)), "{line}");
        assert_eq!(line["error"], "decode");
        assert!(line["message"].as_str().is_some_and(|message| message.contains(reason)), "{reason}: {line}");
    }
}

#[test]
fn standard_input_and_output() {
    let scene = Scene::new();
    let text = pipeline(&[
        (
            "file: { path: \"in*.csv\" }\n  format: csv",
            "stdin:\n  format: { csv: { delimiter: \"\\t\", null: NA } }",
        ),
        (
            "file: { path: out.ndjson }\n  format: json",
            "stdout:\n  format: { csv: { null: \"NULL\", delimiter: ; } }",
        ),
    ]);
    let mut running = Watched::start(&mut scene.pipeline(&text, &["--cores", "2"]));
    running.send("\u{feff}id\tna");
    running.send("me\n1\ta;b\n");
    assert_eq!(running.line(), "id;name;amount");
    assert_eq!(running.line(), "1;\"a;b\";NULL");
    running.send("2\tNA\n3\t");
    running.close();
    let ended = running.wait();
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), "id;name;amount\n1;\"a;b\";NULL\n2;NULL;NULL\n3;\"\";NULL\n"),
        "{}",
        ended.stderr
    );
    // No input makes no rows, and the header all the same.
    let ended = end(&mut scene.pipeline(&text, &[]));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "id;name;amount\n"), "{}", ended.stderr);
    let mut running = Watched::start(&mut scene.pipeline(&text, &[]));
    running.send("name\tamount\n");
    running.close();
    let ended = running.wait();
    assert_eq!(ended.code, Some(69), "{}", ended.stderr);
    assert!(ended.stderr.contains("stdin: its header lacks the column `id`"), "{}", ended.stderr);
}

#[test]
fn outputs_begin_with_a_header_each() {
    let scene = Scene::new();
    scene.write("in1.csv", "name,id\n");
    let text = pipeline(&[TO_CSV]);
    for _ in 0..2 {
        run(&scene, &text, &["--cores", "2"]);
        assert_eq!(scene.read("out.csv"), "id,name,amount\n", "without rows too");
    }
    // In place: what is there has one, and what is empty gets one.
    let append = text.replace("path: out.csv", "append: true, path: out.csv");
    scene.write("in1.csv", "name,id\n,1\n");
    run(&scene, &append, &[]);
    assert_eq!(scene.read("out.csv"), "id,name,amount\n1,,\n");
    scene.write("out.csv", "");
    run(&scene, &append, &[]);
    run(&scene, &append, &[]);
    assert_eq!(scene.read("out.csv"), "id,name,amount\n1,,\n1,,\n");
    let bare = text
        .replace("path: out.csv }\n  format: csv", "path: out.csv }\n  format: { csv: { header: false } }");
    run(&scene, &bare, &[]);
    assert_eq!(scene.read("out.csv"), "1,,\n");
    // Every file of a folder has one.
    long(&scene);
    let files = pipeline(&[(
        "file: { path: out.ndjson }\n  format: json",
        "files: { path: archive, partition_by: \"CAST(id % 2 AS STRING)\", roll: { size: 64KiB } }\n  format: csv",
    )]);
    run(&scene, &files, &["--cores", "2"]);
    let mut ids = Vec::new();
    for folder in ["archive/0", "archive/1"] {
        let names = scene.names(folder);
        assert!(
            names.len() > 1
                && names.iter().all(|name| Path::new(name).extension().is_some_and(|ending| ending == "csv")),
            "{names:?}"
        );
        for name in names {
            let text = scene.read(&format!("{folder}/{name}"));
            let (header, rows) = text.split_once('\n').expect("a header");
            assert_eq!(header, "id,name,amount", "{name}");
            assert!(!rows.is_empty(), "{name}");
            ids.extend(rows.lines().map(|line| line.split(',').next().unwrap().parse::<u32>().unwrap()));
        }
    }
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..60_000));
}

#[test]
fn records_without_a_header_go_by_the_schema() {
    let scene = Scene::new();
    scene.write("in.csv", "1,a,1.5,\n2,\"b\",x\n3,,\n");
    let text = pipeline(&[
        ("format: csv", "format: { csv: { header: false } }"),
        ("sink:", "steps:\n  - select: { amount: amount, id: id }\nsink:"),
    ]);
    run(&scene, &text, &[]);
    assert_eq!(scene.read("out.ndjson"), "{\"amount\":null,\"id\":3}\n");
    assert_eq!(scene.quarantine().len(), 2);
}

#[test]
fn rows_that_are_final_and_side_streams_are_written_as_csv() {
    let scene = Scene::new();
    scene.write("in.csv", "id,name,amount\n1,a,1\n2,b,2\n3,a,4\n");
    let text = pipeline(&[
        (
            "file: { path: out.ndjson }\n  format: json",
            "file: { path: out.csv, changelog: final }\n  format: csv",
        ),
        (
            "sink:",
            "steps:\n  - aggregate: { name: a, by: name, select: { total: SUM(amount), n: COUNT(*), ids: ARRAY_AGG(id) } }\nsink:",
        ),
    ]);
    run(&scene, &text, &["--cores", "1"]);
    assert_eq!(sorted(&scene.read("out.csv")), ["a,5.00,2,\"[1,3]\"", "b,2.00,1,[2]", "name,total,n,ids"]);
    scene.write("in.csv", "id,at\n1,2026-01-01T00:01:00\n2,2026-01-01T00:00:00\n");
    let text = pipeline(&[
        TO_CSV,
        (SCHEMA, "  schema: { id: BIGINT, at: TIMESTAMP(3) }\n  event_time: { column: at }"),
        (
            "sink:",
            "steps:\n  - aggregate: { name: a, window: { tumbling: 1s }, late: { to: late }, select: { n: COUNT(*) } }\n\
             sinks:\n  late: { from: late, file: { path: late.csv }, format: { csv: { delimiter: ; } } }\nsink:",
        ),
    ]);
    run(&scene, &text, &["--cores", "1"]);
    assert_eq!(scene.read("late.csv"), "id;at\n2;2026-01-01T00:00:00\n");
    assert_eq!(
        scene.read("out.csv"),
        "window_start,window_end,n\n2026-01-01T00:01:00,2026-01-01T00:01:01,1\n"
    );
}

#[test]
fn what_is_read_and_written_is_explained() {
    let scene = Scene::new();
    scene.write("pipeline.yaml", pipeline(&[TO_CSV]));
    let ended = end(&mut scene.program(&["explain", "pipeline.yaml"]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for line in [
        "  format: csv { header: true, delimiter: \",\", quote: \"\\\"\", null: \"\", multiline: false }\n",
        "  format: csv { header: true, delimiter: \",\", quote: \"\\\"\", null: \"\" }\n",
    ] {
        assert!(ended.stdout.contains(line), "{}", ended.stdout);
    }
    let listed = end(&mut scene.program(&["list", "formats"])).stdout;
    assert!(listed.contains("  csv\n") && listed.contains("  json\n"), "{listed}");
}
