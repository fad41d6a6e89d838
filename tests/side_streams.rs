//! Side streams that streams take: late rows and bad records, held against what a sink of the same stream gets and against
//! the input, on several numbers of shards, plain and drained in between.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Scene, Watched, end, sorted};

const SHARDS: &[&str] = &["1", "2", "3", "8"];

/// How many records the input has; every seventh is broken.
const RECORDS: u64 = 60_000;

fn time(at_ms: u64) -> String {
    format!("2024-01-01T00:{:02}:{:02}.{:03}", at_ms / 60_000, at_ms / 1000 % 60, at_ms % 1000)
}

/// A record each millisecond, each up to three seconds early, in two files.
fn input(scene: &Scene) {
    let mut random = fastrand::Rng::with_seed(7);
    let mut line = |n: u64| {
        let at = time(n.saturating_sub(random.u64(..3000)));
        match n % 7 {
            0 => format!("{{\"id\":{n},\"at\":\"{at}\",\n"),
            _ => format!("{{\"id\":{n},\"kind\":\"{}\",\"at\":\"{at}\"}}\n", n % 5),
        }
    };
    scene.write("in-1.ndjson", (0..RECORDS / 2).map(&mut line).collect::<String>());
    scene.write("in-2.ndjson", (RECORDS / 2..RECORDS).map(line).collect::<String>());
}

const PIPELINE: &str = "
millstream: 1
name: sides
sources:
  events:
    file: { path: 'in-*.ndjson' }
    format: json
    schema: { id: BIGINT NOT NULL, kind: STRING, at: TIMESTAMP(3) NOT NULL }
    event_time: { column: at, out_of_order: 2s }
    bad_record: { to: rejects }
streams:
  counts:
    from: events
    steps:
      - aggregate: { name: counts, by: kind, window: { tumbling: 100ms }, late: { to: behind }, select: { n: COUNT(*) } }
  late:
    from: behind
    steps: [ { set: { late: TRUE } }, { drop: at } ]
  late_by_kind:
    from: behind
    steps:
      - aggregate: { name: late, by: kind, window: { tumbling: 1h }, select: { n: COUNT(*), least: MIN(id) } }
  fine:
    from: events
    steps: [ { filter: kind = '1' } ]
  both:
    from: [behind, fine]
    steps:
      - aggregate: { name: both, by: kind, select: { n: COUNT(*) } }
  reasons:
    from: rejects
    steps:
      - aggregate: { name: reasons, by: [error, source], select: { n: COUNT(*), first: MIN(position), odd: COUNT(raw_encoding) } }
sinks:
  counts: { from: counts, file: { path: counts.ndjson }, format: json }
  behind: { from: behind, file: { path: behind.ndjson }, format: json }
  late: { from: late, file: { path: late.ndjson }, format: json }
  late_by_kind: { from: late_by_kind, file: { path: late_by_kind.ndjson }, format: json }
  both: { from: both, file: { path: both.ndjson, changelog: final }, format: json }
  reasons: { from: reasons, file: { path: reasons.ndjson, changelog: final }, format: json }
  rejects: { from: rejects, file: { path: rejects.ndjson }, format: json }
";

fn lines(scene: &Scene, name: &str) -> Vec<Value> {
    scene.read(name).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn number(row: &Value, name: &str) -> u64 {
    row[name].as_u64().expect("a number")
}

/// Holds what the streams got against what the sinks of the side streams did, and that against the input.
fn check(scene: &Scene, how: &str) {
    let behind = lines(scene, "behind.ndjson");
    let id = |row: &Value| number(row, "id");
    let late: BTreeSet<u64> = behind.iter().map(id).collect();
    let taken = lines(scene, "late.ndjson");
    assert!(behind.len() > 100 && late.len() == behind.len(), "{how}: {} rows", behind.len());
    assert_eq!((taken.iter().map(id).collect::<BTreeSet<_>>(), taken.len()), (late, behind.len()), "{how}");
    assert!(taken.iter().all(|row| row["late"] == true && row["at"].is_null()), "{how}");
    let counted: u64 = lines(scene, "counts.ndjson").iter().map(|row| number(row, "n")).sum();
    let good = RECORDS - RECORDS.div_ceil(7);
    assert_eq!(counted + behind.len() as u64, good, "{how}");

    let mut by_kind: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for row in &behind {
        let (count, least) = by_kind.entry(row["kind"].as_str().expect("a kind")).or_insert((0, u64::MAX));
        (*count, *least) = (*count + 1, (*least).min(id(row)));
    }
    let found = lines(scene, "late_by_kind.ndjson");
    let found: BTreeMap<&str, (u64, u64)> = found
        .iter()
        .map(|row| (row["kind"].as_str().expect("a kind"), (number(row, "n"), number(row, "least"))))
        .collect();
    assert_eq!(found, by_kind, "{how}");
    let fine = (0..RECORDS).filter(|n| n % 7 != 0 && n % 5 == 1).count() as u64;
    let both = lines(scene, "both.ndjson");
    let both: BTreeMap<&str, u64> =
        both.iter().map(|row| (row["kind"].as_str().expect("a kind"), number(row, "n"))).collect();
    let expect =
        by_kind.iter().map(|(kind, (count, _))| (*kind, count + if *kind == "1" { fine } else { 0 }));
    assert_eq!(both, expect.collect(), "{how}");

    let rejects = lines(scene, "rejects.ndjson");
    let raw = |row: &Value| row["raw"].as_str().expect("text").to_owned();
    let broken: BTreeSet<String> = rejects.iter().map(raw).collect();
    let expect = usize::try_from(RECORDS.div_ceil(7)).expect("few");
    assert_eq!((rejects.len(), broken.len()), (expect, expect), "{how}");
    assert!(broken.iter().all(|raw| raw.starts_with("{\"id\":") && raw.ends_with(',')), "{how}");
    let of = |file: &str| rejects.iter().filter(|row| row["source"].as_str() == Some(file)).count();
    let mut reasons: Vec<String> = ["in-1.ndjson", "in-2.ndjson"]
        .map(|file| {
            let first = rejects.iter().filter(|row| row["source"].as_str() == Some(file));
            let first = first.map(|row| number(row, "position")).min().expect("a record");
            format!(
                "{{\"error\":\"decode\",\"source\":\"{file}\",\"n\":{},\"first\":{first},\"odd\":0}}",
                of(file)
            )
        })
        .into();
    reasons.sort_unstable();
    assert_eq!(sorted(&scene.read("reasons.ndjson")), reasons, "{how}");
    assert!(scene.names("state/quarantine").is_empty(), "{how}");
}

#[test]
fn side_streams_go_on_as_streams() {
    let scene = Scene::new();
    input(&scene);
    for shards in SHARDS {
        let ended = scene.run(PIPELINE, &["--cores", shards, "--fresh"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        check(&scene, &format!("{shards} shards"));
        for told in [" 0 quarantined, ", ", 8,572 bad records in streams; "] {
            assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
        }
    }
    let strict = PIPELINE.replace("{ to: rejects }", "{ to: rejects, stop_above: 10% per 1m }");
    let ended = scene.run(&strict, &["--fresh"]);
    assert_eq!(ended.code, Some(65), "{}", ended.stderr);
    assert!(ended.stderr.contains("too many bad records: "), "{}", ended.stderr);
    let explained = end(&mut scene.program(&["explain", "pipeline.yaml"])).stdout;
    for told in ["bad records: into the stream rejects", "from bad records rejects", "- side stream behind"] {
        assert!(explained.contains(told), "{told}: {explained}");
    }
    let dot = end(&mut scene.program(&["explain", "pipeline.yaml", "--graph", "dot"])).stdout;
    assert!(dot.contains("rejects\\nbad records") && dot.matches("source1 -> ").count() == 2, "{dot}");
}

#[test]
fn bad_records_of_a_chain_go_to_a_sink() {
    let scene = Scene::new();
    scene.write("in.ndjson", "{\"n\":1}\n{\"n\":x}\n{\"n\":2}\n");
    let pipeline = "
millstream: 1
name: chain
source: { file: { path: in.ndjson }, format: json, schema: { n: INT }, bad_record: { to: rejects } }
steps: [ { filter: 4 / (n - 1) > 0 } ]
sink: { file: { path: out.ndjson }, format: json }
sinks:
  rejected: { from: rejects, file: { path: rejects.csv }, format: csv }
";
    assert_eq!(scene.output(pipeline, &["--cores", "2"]), "{\"n\":2}\n");
    let rejected = scene.read("rejects.csv");
    let lines: Vec<&str> = rejected.lines().collect();
    assert_eq!(
        (lines.len(), lines[0]),
        (2, "raw,raw_encoding,source,position,error,message,at"),
        "{rejected}"
    );
    assert!(lines[1].starts_with("\"{\"\"n\"\":x}\",,in.ndjson,8,decode,"), "{rejected}");
    // What a step cannot work out is of no source any more.
    let kept = scene.quarantine();
    assert_eq!((kept.len(), &kept[0]["raw"]), (1, &Value::from("{\"n\":1}")), "{kept:?}");
}

#[test]
fn side_streams_of_a_run_that_was_drained_are_those_of_one() {
    let scene = Scene::new();
    input(&scene);
    let pipeline = format!("{PIPELINE}run: {{ snapshot: {{ every: 20ms }} }}\n");
    for shards in ["2", "3", "1"] {
        let mut run = Watched::start(&mut scene.pipeline(&pipeline, &["--cores", shards]));
        run.until("it has taken a snapshot, or has ended", || {
            scene.exists("counts.ndjson") || !scene.names("state/snapshots").is_empty()
        });
        if scene.exists("counts.ndjson") {
            assert_eq!(run.wait().code, Some(0));
            break;
        }
        run.signal("TERM");
        let ended = run.wait();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    if !scene.exists("counts.ndjson") {
        let ended = scene.run(&pipeline, &["--cores", "2"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("going on from snapshot"), "{}", ended.stderr);
    }
    check(&scene, "drained");
}
