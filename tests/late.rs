//! Rows that come too late: where they go, and that they come and go with the rest of the output.

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Scene, Watched, file_to_file, sorted};

const SOURCE: &str =
    "  schema: { key: STRING, n: BIGINT, note: STRING, at: TIMESTAMP(3) }\n  event_time: { column: at }";
const STEPS: &str = "steps:\n  - aggregate: { name: w, by: key, window: { tumbling: 1s }, late: { to: too_late }, select: { n: COUNT(*) } }";

/// The pipeline with these sinks for its late rows.
fn pipeline(sinks: &str) -> String {
    format!("{}sinks:\n{sinks}", file_to_file(SOURCE, STEPS))
}

/// Rows of which every tenth is five seconds behind, and those.
fn rows(count: u64) -> (String, Vec<String>) {
    let (mut all, mut late) = (String::new(), Vec::new());
    for n in 0..count {
        let is_late = n % 10 == 9 && n > 1000;
        let at_ms = if is_late { n * 10 - 5000 } else { n * 10 };
        let at = format!(
            "2026-01-01T{:02}:{:02}:{:02}.{:03}",
            at_ms / 3_600_000,
            at_ms / 60_000 % 60,
            at_ms / 1000 % 60,
            at_ms % 1000
        );
        let row = format!("{{\"key\":\"k{}\",\"n\":{n},\"note\":\"note {n}\",\"at\":\"{at}\"}}", n % 7);
        all.push_str(&row);
        all.push('\n');
        if is_late {
            let at = at.trim_end_matches('0').trim_end_matches('.');
            late.push(format!("{{\"key\":\"k{}\",\"n\":{n},\"note\":\"note {n}\",\"at\":\"{at}\"}}", n % 7));
        }
    }
    late.sort();
    (all, late)
}

#[test]
fn late_rows_go_to_their_sink_with_all_their_columns() {
    let scene = Scene::new();
    let (all, late) = rows(30_000);
    scene.write("in.ndjson", all);
    let to_file = pipeline("  late: { from: too_late, file: { path: late.ndjson }, format: json }\n");
    for shards in ["1", "2", "3"] {
        let ended = scene.run(&to_file, &["--cores", shards]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains(", 2,900 late; "), "{}", ended.stderr);
        assert_eq!(sorted(&scene.read("late.ndjson")), late, "{shards} shards");
        assert!(scene.read("out.ndjson").lines().count() > 1000);
    }
    let both = pipeline(
        "  late: { from: too_late, stdout: , format: json }\n  again: { from: too_late, file: { path: again.ndjson }, format: json }\n  gone: { from: too_late, blackhole: }\n",
    );
    let ended = scene.run(&both, &["--cores", "2"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(sorted(&ended.stdout), late);
    assert_eq!(sorted(&scene.read("again.ndjson")), late);
}

#[test]
fn a_failed_run_takes_late_rows_back_too() {
    let scene = Scene::new();
    let (all, _) = rows(30_000);
    scene.write("in.ndjson", all + "broken\n");
    scene.write("late.ndjson", "old\n");
    let text = pipeline("  late: { from: too_late, file: { path: late.ndjson }, format: json }\n")
        .replace("  event_time", "  bad_record: fail\n  event_time");
    assert_eq!(scene.run(&text, &["--cores", "2"]).code, Some(65));
    assert_eq!(scene.read("late.ndjson"), "old\n");
    assert_eq!(scene.names("."), ["in.ndjson", "late.ndjson", "pipeline.yaml", "state"], "no litter");
    // An output that cannot be made leaves none of the others behind.
    let text = text.replace("path: out.ndjson", "path: in.ndjson/out.ndjson");
    assert_eq!(scene.run(&text, &["--cores", "2"]).code, Some(74));
    assert_eq!(scene.names("."), ["in.ndjson", "late.ndjson", "pipeline.yaml", "state"], "no litter");
}

#[test]
fn a_drained_run_says_why_windows_are_open() {
    let scene = Scene::new();
    let text = file_to_file(&SOURCE.replace("column: at", "column: at, out_of_order: 5s"), STEPS)
        .replace("file: { path: in.ndjson }", "stdin:")
        .replace(", late: { to: too_late }", "")
        .replace("file: { path: out.ndjson }", "stdout:");
    let mut running = Watched::start(&mut scene.pipeline(&text, &["--cores", "2"]));
    running.send(
        "{\"key\":\"a\",\"at\":\"2026-01-01T00:00:00\"}\n{\"key\":\"a\",\"at\":\"2026-01-01T00:00:06\"}\n",
    );
    assert!(running.line().contains("00:00:01"), "the first window closes");
    running.signal("INT");
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains(
            "note: windows that had not closed were not written, of `w` (1): the watermark stands at \
             2026-01-01T00:00:01, behind stdin (newest record 2026-01-01T00:00:06, out_of_order 5s); the next window \
             closes at 2026-01-01T00:00:07; the end of the input, which closes all, was not reached"
        ),
        "{}",
        ended.stderr
    );
}
