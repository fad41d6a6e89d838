//! Files as they are found: their shapes, what is not there, and the order of their records, which does not depend on
//! the number of shards.

use std::fmt::Write;

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Scene, file_to_file, sorted};

const SHARDS: [&str; 4] = ["1", "2", "3", "8"];

const NUMBERED: &str = "  schema: { n: BIGINT, text: STRING }";
const KEEP_N: &str = "steps: [{ select: { n: n } }]";

fn rows(numbers: impl IntoIterator<Item = u64>) -> String {
    numbers.into_iter().map(|n| format!("{{\"n\":{n}}}\n")).collect()
}

/// Runs a pipeline on every number of shards. Its output has to be the same each time, to the byte where it is in order.
fn on_all_shards(scene: &Scene, pipeline: &str, in_order: bool) -> String {
    let first = scene.output(pipeline, &["--cores", SHARDS[0]]);
    for shards in &SHARDS[1..] {
        let found = scene.output(pipeline, &["--cores", shards]);
        if in_order {
            assert!(found == first, "{shards} shards: {}", difference(&found, &first));
        }
        let (found, expect) = (sorted(&found).join("\n"), sorted(&first).join("\n"));
        assert!(found == expect, "{shards} shards: {}", difference(&found, &expect));
    }
    first
}

fn difference(found: &str, expect: &str) -> String {
    let pair = found.lines().zip(expect.lines()).find(|(found, expect)| found != expect);
    format!("{} lines, not {}; first {pair:?}", found.lines().count(), expect.lines().count())
}

#[test]
fn shapes_of_a_file() {
    let check = |what: &str, content: &[u8], expect: u64, bad: usize| {
        let scene = Scene::new();
        scene.write("in.ndjson", content);
        for shards in ["1", "3"] {
            let found = scene.output(&file_to_file(NUMBERED, KEEP_N), &["--cores", shards]);
            assert_eq!(found, rows(1..=expect), "{what} on {shards} shards");
        }
        assert_eq!(scene.quarantine().len(), 2 * bad, "{what}");
    };
    check("empty", b"", 0, 0);
    check("one newline", b"\n", 0, 0);
    check("only blanks", b"  \n\t\n   ", 0, 0);
    check("a mark alone", b"\xef\xbb\xbf", 0, 0);
    check("one record", b"{\"n\":1}\n", 1, 0);
    check("no final newline", b"{\"n\":1}\n{\"n\":2}", 2, 0);
    check("CRLF", b"{\"n\":1}\r\n{\"n\":2}\r\n", 2, 0);
    check("CRLF without the last", b"{\"n\":1}\r\n{\"n\":2}", 2, 0);
    check("a byte order mark", b"\xef\xbb\xbf{\"n\":1}\n{\"n\":2}\n", 2, 0);
    check("empty lines", b"\n\n{\"n\":1}\n\n\r\n{\"n\":2}\n\n", 2, 0);
    check("blank lines", b"  \n{\"n\":1}\n \t \n \r\n{\"n\":2}\n  ", 2, 0);
    check("blanks around records", b" \t{\"n\":1} \n  {\"n\":2}\t\r\n", 2, 0);
    check("a mark that is not at the start", b"{\"n\":1}\n\xef\xbb\xbf{\"n\":7}\n{\"n\":2}\n", 2, 1);
    check("a list and a number", b"{\"n\":1}\n[1]\n7\n{\"n\":2}\n", 2, 2);
}

#[test]
fn records_longer_than_a_chunk_between_short_ones() {
    let scene = Scene::new();
    let mut text = String::new();
    for n in 1..=12 {
        let long = match n {
            4 => 5 << 19,
            // Two in a row, so that a whole chunk holds no record's start.
            8 | 9 => 3 << 20,
            _ => 10,
        };
        writeln!(text, "{{\"n\":{n},\"text\":\"{}\"}}", "x".repeat(long)).expect("a string");
    }
    scene.write("in.ndjson", &text);
    let steps = "steps: [{ select: { n: n, length: CHAR_LENGTH(text) } }]";
    let found = on_all_shards(&scene, &file_to_file(NUMBERED, steps), true);
    assert_eq!(found.lines().count(), 12, "{found}");
    assert!(found.contains("{\"n\":4,\"length\":2621440}\n{\"n\":5,\"length\":10}\n"), "{found}");
    assert!(found.contains("{\"n\":8,\"length\":3145728}\n{\"n\":9,\"length\":3145728}\n"), "{found}");
    // The text itself goes through as well.
    assert!(scene.output(&file_to_file(NUMBERED, "steps: []"), &["--cores", "3"]) == text);
}

#[test]
fn records_cut_at_the_borders_of_chunks() {
    const CHUNK: usize = 1 << 20;
    let record = |n: usize, bytes: usize| {
        let empty = format!("{{\"n\":{n},\"text\":\"\"}}\n").len();
        format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "y".repeat(bytes - empty))
    };
    // The first border is at each place of a record and of its newline in turn.
    for shift in [0, 1, 2, 3, 50, 98, 99] {
        let scene = Scene::new();
        let mut text = String::new();
        let filler = record(0, CHUNK - 200 + shift);
        text.push_str(&filler);
        for n in 1..=20_000 {
            text.push_str(&record(n, 100));
        }
        scene.write("in.ndjson", &text);
        for shards in ["1", "3"] {
            let found = scene.output(&file_to_file(NUMBERED, KEEP_N), &["--cores", shards]);
            assert!(found == rows(0..=20_000), "{shift}: {}", difference(&found, &rows(0..=20_000)));
        }
    }
}

#[test]
fn a_pattern_names_several_files() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("in")).expect("a folder");
    std::fs::create_dir(scene.path("in/e.ndjson")).expect("a folder that is no file");
    scene.write("in/a.ndjson", rows(0..40_000));
    scene.write("in/b.ndjson", "");
    scene.write("in/c.ndjson", "{\"n\":40000}");
    scene.write("in/d.ndjson", rows(40_001..80_000));
    scene.write("in/other.txt", "not read");
    let pipeline = file_to_file(NUMBERED, KEEP_N).replace("in.ndjson", "in/*.ndjson");
    let found = on_all_shards(&scene, &pipeline, true);
    let expect = rows(0..80_000);
    assert!(sorted(&found) == sorted(&expect), "{} lines", found.lines().count());
}

#[test]
fn files_that_are_behind_each_other_in_time_lose_nothing() {
    let scene = Scene::new();
    // Every file is in order; the second lies an hour behind the first.
    let text = |hour: u64| -> String {
        (0..30_000)
            .map(|n| format!("{{\"at\":\"2026-01-01T{hour:02}:{:02}:{:02}.000\"}}\n", n / 600, n / 10 % 60))
            .collect()
    };
    scene.write("a.ndjson", text(5));
    scene.write("b.ndjson", text(4));
    let pipeline = file_to_file(
        "  schema: { at: TIMESTAMP(3) NOT NULL }\n  event_time: { column: at }",
        "steps: [{ aggregate: { name: w, window: { tumbling: 1m }, select: { n: COUNT(*) } } }]",
    );
    let found = on_all_shards(&scene, &pipeline.replace("in.ndjson", "?.ndjson"), false);
    assert_eq!(found.lines().count(), 100);
    assert!(found.lines().all(|line| line.ends_with("\"n\":600}")), "{found}");
}

#[test]
fn what_cannot_be_read() {
    let check = |path: &str, code: i32, expect: &str| {
        let scene = Scene::new();
        std::fs::create_dir(scene.path("folder")).expect("a folder");
        let pipeline = file_to_file(NUMBERED, KEEP_N).replace("in.ndjson", path);
        let ended = scene.run(&pipeline, &[]);
        assert_eq!(ended.code, Some(code), "{path}: {}", ended.stderr);
        assert!(ended.stderr.contains(expect), "{path}: {}", ended.stderr);
        assert!(ended.stdout.is_empty() && !scene.exists("out.ndjson"), "{path}");
        assert!(scene.unfinished().is_none(), "{path} leaves litter");
    };
    check("missing.ndjson", 69, "missing.ndjson: No such file");
    check("folder/missing-*.ndjson", 69, "folder/missing-*.ndjson");
    check("folder", 69, "folder");
    check("\"folder/[\"", 69, "folder/[");
    let scene = Scene::new();
    let ended = scene::end(&mut scene.program(&["run", "missing.yaml"]));
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.contains("missing.yaml"), "{}", ended.stderr);
    assert!(scene.names(".").is_empty(), "nothing was made: {:?}", scene.names("."));
    let ended = scene.run("millstream: 1\nnam: scene\n", &[]);
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.contains("pipeline.yaml:2:1"), "{}", ended.stderr);
}

#[test]
fn a_chain_without_exchange_keeps_the_order_of_the_input() {
    let scene = Scene::new();
    // Some 3 MiB: several chunks for every shard.
    let text: String =
        (0..60_000_u64).map(|n| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "z".repeat(30))).collect();
    scene.write("in.ndjson", text);
    let steps = "steps:
  - filter: MOD(n, 3) <> 1
  - set: { text: \"UPPER(SUBSTRING(text, 1, 2))\" }
  - rename: { text: t }
  - select: { twice: n * 2, \"*\": , n: n }";
    let found = on_all_shards(&scene, &file_to_file(NUMBERED, steps), true);
    let expect: String = (0..60_000_u64)
        .filter(|n| n % 3 != 1)
        .map(|n| format!("{{\"twice\":{},\"t\":\"ZZ\",\"n\":{n}}}\n", n * 2))
        .collect();
    assert!(found == expect, "{}", difference(&found, &expect));
}

/// Measurements of 50 sensors, in order of time; doubles of very different sizes, so that a sum tells its order.
fn measurements() -> String {
    let mut random = fastrand::Rng::with_seed(5);
    (0..60_000_u64).fold(String::new(), |mut text, n| {
        let value = (random.f64() - 0.5) * 10_f64.powi(random.i32(-12..16));
        let (minute, second, ms) = (n / 6000, n / 100 % 60, n % 100 * 10);
        let sensor = random.u32(0..50);
        writeln!(
            text,
            "{{\"sensor\":{sensor},\"value\":{value:e},\"at\":\"2026-01-01T00:{minute:02}:{second:02}.{ms:03}\"}}"
        )
        .expect("a string");
        text
    })
}

const MEASURED: &str = "  schema: { sensor: INT, value: DOUBLE, at: TIMESTAMP(3) NOT NULL }
  event_time: { column: at, out_of_order: 1s }";

#[test]
fn sums_of_doubles_do_not_depend_on_the_shards() {
    let scene = Scene::new();
    let text = measurements();
    scene.write("in.ndjson", &text);
    let steps = "steps: [{ aggregate: { name: s, by: sensor, window: { tumbling: 1m }, select: { total: SUM(value), average: AVG(value) } } }]";
    let found = on_all_shards(&scene, &file_to_file(MEASURED, steps), false);
    assert_eq!(found.lines().count(), 500);
    // The order of the file decides: added up here in that order, the sum is the same to the last bit. Numbers are read
    // from the text by the standard library: serde_json may be off by one bit.
    let number = |line: &str, name: &str| -> f64 {
        let (_, rest) = line.split_once(&format!("\"{name}\":")).expect("a column");
        rest.split([',', '}']).next().expect("a value").parse().expect("a number")
    };
    let mut expect = std::collections::HashMap::new();
    let sensor = |line: &str| line[..line.find(',').expect("columns")].to_owned();
    let minute = |line: &str| line[line.find("2026-").expect("a time")..][..16].to_owned();
    for line in text.lines() {
        *expect.entry((sensor(line), minute(line))).or_insert(0.0) += number(line, "value");
    }
    for line in found.lines() {
        let total: f64 = expect[&(sensor(line), minute(line))];
        assert_eq!(number(line, "total").to_bits(), total.to_bits(), "{line}, not {total}");
    }
}

#[test]
fn two_aggregates_in_a_row() {
    let scene = Scene::new();
    scene.write("in.ndjson", measurements());
    let steps = "steps:
  - aggregate: { name: first, by: sensor, window: { tumbling: 10s }, select: { total: SUM(value), n: COUNT(*) } }
  - aggregate: { name: second, by: { half: \"MOD(sensor, 2)\" }, window: { tumbling: 2m }, select: { grand: SUM(total), rows: SUM(n), largest: MAX(total) } }
  - select: { half: half, grand: grand, rows: rows, largest: largest, until: window_end }";
    let found = on_all_shards(&scene, &file_to_file(MEASURED, steps), false);
    assert_eq!(found.lines().count(), 10, "{found}");
    let count = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("a row")["rows"].as_u64();
    assert_eq!(found.lines().map(count).sum::<Option<u64>>(), Some(60_000), "nothing is lost or doubled");
}

#[test]
fn an_aggregate_without_keys_is_one_group() {
    let scene = Scene::new();
    scene.write("in.ndjson", measurements());
    let steps = "steps: [{ aggregate: { name: all, window: { tumbling: 5m }, select: { n: COUNT(*), total: SUM(value), last: MAX(at) } } }]";
    let found = on_all_shards(&scene, &file_to_file(MEASURED, steps), false);
    assert_eq!(found.lines().count(), 2, "{found}");
    assert!(found.lines().all(|line| line.contains("\"n\":30000,")), "{found}");
}

#[test]
fn keys_of_every_type_and_null() {
    // Each type with two values; JSON's null is the third.
    let types = [
        ("BOOLEAN", "true", "false"),
        ("TINYINT", "-128", "127"),
        ("SMALLINT", "-32768", "1"),
        ("INT", "-2147483648", "5"),
        ("BIGINT", "9223372036854775807", "0"),
        ("FLOAT", "1.5", "-0.25"),
        ("DOUBLE", "1e300", "0.1"),
        ("DECIMAL(10, 3)", "1.500", "-7.001"),
        ("STRING", "\"\"", "\"null\""),
        ("BYTES", "\"AAE=\"", "\"/w==\""),
        ("DATE", "\"2026-02-28\"", "\"1969-12-31\""),
        ("TIME", "\"23:59:59\"", "\"00:00:00\""),
        ("TIMESTAMP(3)", "\"2026-01-01T00:00:00.001\"", "\"1969-01-01T00:00:00\""),
        ("TIMESTAMP(6)", "\"2026-01-01T00:00:00.000001\"", "\"1969-01-01T00:00:00\""),
        ("TIMESTAMP_LTZ(3)", "\"2026-01-01T00:00:00.001Z\"", "\"1969-01-01T00:00:00Z\""),
    ];
    for (data_type, one, two) in types {
        let scene = Scene::new();
        let mut text = String::new();
        for n in 0..30_000 {
            let key = [one, two, "null"][n % 3];
            writeln!(text, "{{\"k\":{key},\"at\":\"2026-01-01T00:00:00\"}}").expect("a string");
        }
        scene.write("in.ndjson", text);
        let source = format!(
            "  schema:\n    k: {data_type}\n    at: TIMESTAMP(3) NOT NULL\n  event_time: {{ column: at }}"
        );
        let steps = "steps: [{ aggregate: { name: k, by: k, window: { tumbling: 1m }, select: { n: COUNT(*) } } }, { drop: [window_start, window_end] }]";
        let found = on_all_shards(&scene, &file_to_file(&source, steps), false);
        let found: Vec<serde_json::Value> =
            sorted(&found).iter().map(|line| serde_json::from_str(line).expect("a row")).collect();
        let mut expect: Vec<serde_json::Value> = [one, two, "null"]
            .iter()
            .map(|key| serde_json::from_str(&format!("{{\"k\":{key},\"n\":10000}}")).expect("a row"))
            .collect();
        for row in &found {
            let at = expect.iter().position(|expect| expect == row);
            assert!(at.is_some(), "{data_type}: {row} is not in {expect:?}");
            expect.remove(at.expect("just asked"));
        }
        assert!(expect.is_empty(), "{data_type}: {expect:?} is missing");
    }
}

#[test]
fn keys_of_several_columns_are_kept_apart() {
    let scene = Scene::new();
    // Pairs that would be equal if the columns were merely written one after the other.
    let pairs = [
        ("\"a\"", "\"bc\""),
        ("\"ab\"", "\"c\""),
        ("\"abc\"", "\"\""),
        ("null", "\"abc\""),
        ("\"abc\"", "null"),
        ("null", "null"),
        ("\"\"", "\"\""),
    ];
    let mut text = String::new();
    for n in 0..21_000 {
        let (a, b) = pairs[n % pairs.len()];
        writeln!(text, "{{\"a\":{a},\"b\":{b},\"at\":\"2026-01-01T00:00:00\"}}").expect("a string");
    }
    scene.write("in.ndjson", text);
    let source =
        "  schema: { a: STRING, b: STRING, at: TIMESTAMP(3) NOT NULL }\n  event_time: { column: at }";
    let steps = "steps: [{ aggregate: { name: k, by: [a, b], window: { tumbling: 1m }, select: { n: COUNT(*) } } }, { drop: [window_start, window_end] }]";
    let found = on_all_shards(&scene, &file_to_file(source, steps), false);
    let expect: String = pairs.iter().map(|(a, b)| format!("{{\"a\":{a},\"b\":{b},\"n\":3000}}\n")).collect();
    assert_eq!(sorted(&found), sorted(&expect));
}
