//! `bench`: what it reports is whole and in itself consistent. Nothing here depends on how fast the machine is.

use std::fmt::Write as _;

use serde_json::Value;

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Scene, Watched, end};

const GENERATED: &str = "\
millstream: 1
name: generated
source:
  generator:
    rows: 10
    columns:
      user: MOD(n, 100)
      even: MOD(n, 4) <> 0
      at: at
  event_time: { column: at, out_of_order: 1s }
steps:
  - filter: even
  - aggregate:
      name: per_user
      by: user
      window: { tumbling: 10s }
      select: { rows: COUNT(*) }
sink:
  file: { path: out.ndjson }
  format: json
";

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} in {value}"))
}

/// Percentiles ascend, and so does their curve.
fn check_percentiles(of: &Value) {
    let named = ["p50", "p90", "p99", "p99_9", "p99_99", "max"].map(|name| number(of, &format!("/{name}")));
    assert!(named.is_sorted() && number(of, "/count") > 0.0, "{of}");
    let curve = of["curve"].as_array().expect("a curve");
    let points: Vec<(f64, f64)> =
        curve.iter().map(|point| (number(point, "/0"), number(point, "/1"))).collect();
    assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{points:?}");
    assert!(points.iter().all(|(percentile, ms)| (49.9..=99.9999).contains(percentile) && *ms <= named[5]));
}

/// The figures of a report fit together.
fn check_report(report: &Value) {
    let capacity = number(report, "/capacity/rows_per_second");
    let sustained = number(report, "/sustained/rows_per_second");
    assert!(0.0 < sustained && sustained <= capacity, "{report}");
    assert!(number(report, "/capacity/rows") > 0.0, "{report}");
    let attempts = report["sustained"]["attempts"].as_array().expect("attempts");
    let held: Vec<bool> = attempts.iter().map(|attempt| attempt["held"] == true).collect();
    assert!(held.iter().filter(|held| **held).count() == 1 && held.last() == Some(&true), "{held:?}");
    let levels = report["latency"].as_array().expect("levels");
    assert_eq!(levels.len(), 2, "{report}");
    for (level, share) in levels.iter().zip([0.5, 0.8]) {
        let rate = number(level, "/rows_per_second");
        assert!((rate / sustained - share).abs() < 1e-9, "{level}");
        check_percentiles(&level["latency_ms"]);
        check_percentiles(&level["hiccup_ms"]);
        for steps in ["during_snapshot_ms", "between_snapshots_ms"] {
            let steps = &level["steps"][steps];
            if !steps.is_null() {
                check_percentiles(steps);
            }
        }
        // In an open loop every record that was due counts, however late it was written.
        let due = rate * number(report, "/measured_seconds");
        let counted = number(level, "/latency_ms/count");
        assert!(level["complete"] == false || (counted / due - 1.0).abs() < 0.1, "{counted} of {due}");
    }
}

/// Whether a document is well-formed: every tag is closed where it should be, every value quoted, every `&` written out.
fn check_xml(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    let plain = |text: &str| {
        let told = text.split('&').skip(1);
        assert!(told.clone().all(|told| ["amp;", "lt;", "gt;"].iter().any(|name| told.starts_with(name))));
        assert!(!text.contains('>'), "{text}");
    };
    while let Some((before, behind)) = rest.split_once('<') {
        plain(before);
        let (tag, after) = behind.split_once('>').expect("a tag ends");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
            continue;
        }
        let (inner, is_closed) = tag.strip_suffix('/').map_or((tag, false), |inner| (inner, true));
        let (name, attributes) = inner.split_once(' ').unwrap_or((inner, ""));
        assert!(!is_closed || !name.is_empty(), "{tag}");
        let quotes: Vec<&str> = attributes.split('"').collect();
        assert!(quotes.len() % 2 == 1, "{tag}");
        assert!(quotes.iter().step_by(2).all(|name| name.is_empty() || name.ends_with('=')), "{tag}");
        if !is_closed {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
}

#[test]
fn a_generator_is_measured() {
    let scene = Scene::new();
    let file = scene.write("pipeline.yaml", GENERATED);
    let arguments = ["bench", &file, "--for", "1s", "--cores", "2", "--json", "r.json", "--plot", "p.svg"];
    let ended = end(&mut scene.program(&arguments));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let report: Value = serde_json::from_str(&scene.read("r.json")).expect("JSON");
    check_report(&report);
    assert_eq!((&report["pipeline"], &report["shards"]), (&"generated".into(), &2.into()));
    // Ten rows are declared; the load goes on for ever. Every user is in a window that is open.
    assert!(number(&report, "/capacity/rows") > 10.0, "{report}");
    assert_eq!(
        (&report["state"][0]["name"], report["state"].as_array().map(Vec::len)),
        (&"per_user".into(), Some(1))
    );
    assert!(number(&report, "/state/0/bytes_per_entry") > 0.0, "{report}");
    // Every 10 s is the declared rhythm: less is said.
    assert!((number(&report, "/snapshot_every_seconds") - 0.5).abs() < 1e-9, "{report}");
    assert!(report["notes"].to_string().contains("snapshots every 0.5 s rather than every 10 s"), "{report}");
    let plot = scene.read("p.svg");
    check_xml(&plot);
    assert_eq!(plot.matches("<path class=\"c0\"").count(), 2, "a curve and its key");
    for expected in [
        "capacity ",
        "sustained ",
        "  50% of sustained ",
        "  hiccups ",
        "  80% during snapshots ",
        "  per_user ",
    ] {
        assert!(ended.stdout.contains(expected), "{expected}: {}", ended.stdout);
    }
    // Nothing is left, and nothing was written.
    assert_eq!(scene.names("."), ["p.svg", "pipeline.yaml", "r.json"]);
}

#[test]
fn a_file_is_measured() {
    let scene = Scene::new();
    let mut input = String::new();
    for n in 0..200_000 {
        writeln!(input, "{{\"n\":{n},\"text\":\"{:250}\"}}", "").expect("a string takes everything");
    }
    scene.write("in.ndjson", input);
    let text = "millstream: 1\nname: filed\nsource:\n  file: { path: in.ndjson }\n  format: json\n  schema: { n: BIGINT }\n\
                steps:\n  - filter: MOD(n, 1000) = 7\nsink:\n  file: { path: out.ndjson }\n  format: json\n";
    let file = scene.write("pipeline.yaml", text);
    let arguments = [
        "bench",
        &file,
        "--for",
        "300ms",
        "--cores",
        "1",
        "--keep-sinks",
        "--json",
        "-",
        "--io",
        "threads",
        "--state-dir",
        "s",
    ];
    let ended = end(&mut scene.program(&arguments));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).expect("nothing but JSON");
    check_report(&report);
    assert!(number(&report, "/capacity/bytes_per_second") > number(&report, "/capacity/rows_per_second"));
    assert_eq!((&report["host"], &report["sinks_discarded"]), (&"threads".into(), &false.into()));
    assert!(scene.read("out.ndjson").starts_with("{\"n\":7}\n{\"n\":1007}\n"), "the last run's output");
    assert_eq!(scene.names("."), ["in.ndjson", "out.ndjson", "pipeline.yaml"]);
}

#[test]
fn what_cannot_be_measured_is_told() {
    let scene = Scene::new();
    scene.write("in.ndjson", "{\"n\":1}\n");
    scene.write("bad.ndjson", "no record\n");
    let of = |source: &str, rest: &str| {
        format!(
            "millstream: 1\nname: t\nsource:\n  {source}\n  format: json\n  schema: {{ n: BIGINT }}\n  {rest}\nsink:\n  stdout:\n  format: json\n"
        )
    };
    let file = of("file: { path: in.ndjson }", "");
    let check = |text: &str, arguments: &[&str], code: i32, expect: &str| {
        let path = scene.write("pipeline.yaml", text);
        let ended = end(&mut scene.program(&[&["bench", &path], arguments].concat()));
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(expect), "{expect}: {}", ended.stderr);
        assert_eq!(ended.stdout, "");
        assert_eq!(scene.names("."), ["bad.ndjson", "in.ndjson", "pipeline.yaml"]);
    };
    check(&file, &["--for", "200ms"], 1, "the input is too small to measure");
    check(&file, &["--for", "200ms"], 1, "help: take a larger one");
    check(&of("stdin:", ""), &[], 78, "save some input to a file");
    check(&file, &["--keep-sinks"], 78, "run without --keep-sinks");
    check(&file, &["--set", "source.file.path=none.ndjson"], 69, "failed to open none.ndjson");
    check(
        &of("file: { path: bad.ndjson }", "bad_record: fail"),
        &[],
        65,
        "bad record in bad.ndjson at byte 0",
    );
    check(&file.replace("BIGINT", "BIGNIT"), &[], 78, "BIGNIT");
    check(&file, &["--plot", "p.png"], 2, "ends in .svg");
    check(&file, &["--plot", "none/p.svg"], 74, "there is no folder for none/p.svg");
    check(&file, &["--for", "3"], 2, "write for instance 500ms");
}

#[test]
fn a_signal_ends_it_and_leaves_nothing() {
    let scene = Scene::new();
    let file = scene.write("pipeline.yaml", GENERATED);
    let mut running = Watched::start(&mut scene.program(&["bench", &file, "--for", "1h"]));
    let scratch = format!("generated.bench-{}", running.id());
    running.until("the first run", || {
        scene.exists(&format!(".millstream/{scratch}/run-1/quarantine"))
            || scene.exists(&format!(".millstream/{scratch}/run-1/begun"))
    });
    running.signal("INT");
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(ended.stderr.contains("stopped by a signal"), "{}", ended.stderr);
    assert_eq!(scene.names("."), ["pipeline.yaml"]);
}
