//! Pipelines that are graphs: many sources, streams that fork and come together, cases, several sinks. The rows are held
//! against those worked out here from the input, on several numbers of shards, plain and drained in between.

use std::collections::BTreeMap;

use serde_json::Value;

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Scene, Watched, end, sorted};

const SHARDS: &[&str] = &["1", "2", "3", "8"];

/// Two kinds of records over the same half minute, each out of order within its own bound; `right` is the longer one.
const SOURCES: &str = r"
millstream: 1
name: graph
sources:
  left:
    file: { path: left.ndjson }
    format: json
    schema: { id: BIGINT NOT NULL, kind: STRING, at: TIMESTAMP(3) NOT NULL, n: INT }
    event_time: { column: at, out_of_order: 1s }
  right:
    file: { path: 'right-*.ndjson' }
    format: json
    schema: { id: BIGINT NOT NULL, kind: STRING, at: TIMESTAMP(3) NOT NULL, other: STRING }
    event_time: { column: at, out_of_order: 3s }
";

/// An event of the input.
struct Event {
    id: u64,
    kind: char,
    at_ms: u64,
}

fn time(at_ms: u64) -> String {
    format!("2024-01-01T00:{:02}:{:02}.{:03}", at_ms / 60_000, at_ms / 1000 % 60, at_ms % 1000)
}

/// Events that follow one another in `step_ms`, each up to `out_of_order_ms` early.
fn events(count: u64, step_ms: u64, out_of_order_ms: u64) -> Vec<Event> {
    let mut random = fastrand::Rng::with_seed(count);
    let event = |n: u64| Event {
        id: random.u64(..100),
        kind: ['a', 'b', 'c', 'd'][random.usize(..4)],
        at_ms: (n * step_ms).saturating_sub(random.u64(..out_of_order_ms)),
    };
    (0..count).map(event).collect()
}

fn write(scene: &Scene, name: &str, events: &[Event], more: &str) {
    let line = |event: &Event| {
        let Event { id, kind, at_ms } = event;
        format!("{{\"id\":{id},\"kind\":\"{kind}\",\"at\":\"{}\",{more}}}\n", time(*at_ms))
    };
    scene.write(name, events.iter().map(line).collect::<String>());
}

/// Writes the input; all events of the left source, and of the right.
fn input(scene: &Scene) -> (Vec<Event>, Vec<Event>) {
    let (left, right) = (events(40_000, 7, 900), events(30_000, 14, 2900));
    write(scene, "left.ndjson", &left, "\"n\":1");
    write(scene, "right-1.ndjson", &right[..20_000], "\"other\":\"x\"");
    write(scene, "right-2.ndjson", &right[20_000..], "\"other\":\"yy\"");
    (left, right)
}

fn lines(scene: &Scene, name: &str) -> Vec<Value> {
    scene.read(name).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The rows of an output as text, sorted.
fn rows(scene: &Scene, name: &str) -> Vec<String> {
    sorted(&scene.read(name)).into_iter().map(str::to_owned).collect()
}

fn sorted_rows(rows: impl Iterator<Item = String>) -> Vec<String> {
    let mut rows: Vec<String> = rows.collect();
    rows.sort_unstable();
    rows
}

const TOGETHER: &str = "
streams:
  l: { from: left, steps: [ { select: { id: id, kind: kind } } ] }
  r: { from: right, steps: [ { filter: id > 10 }, { select: { id: id, kind: kind } } ] }
  both: { from: [l, r] }
  counted:
    from: both
    steps:
      - aggregate: { name: counts, by: kind, window: { tumbling: 10s }, select: { n: COUNT(*), total: SUM(id) } }
  again:
    from: counted
    steps:
      - aggregate: { name: all, window: { tumbling: 20s }, select: { kinds: COUNT(*), n: SUM(n) } }
  routed:
    from: both
    steps:
      - route: { cases: { a: kind = 'a', low: id < 50, never: id < 0 }, otherwise: rest }
sinks:
  counts: { from: counted, file: { path: counts.ndjson }, format: json }
  totals: { from: again, file: { path: totals.ndjson }, format: json }
  a: { from: routed.a, file: { path: a.ndjson }, format: json }
  others: { from: [routed.low, routed.rest], file: { path: others.ndjson }, format: json }
  never: { from: routed.never, file: { path: never.ndjson }, format: json }
  raw: { from: right, file: { path: raw.ndjson }, format: json }
";

/// Holds all outputs of [`TOGETHER`] against the input.
fn check_together(scene: &Scene, left: &[Event], right: &[Event], how: &str) {
    let both = || left.iter().chain(right.iter().filter(|event| event.id > 10));
    let mut counts: BTreeMap<(u64, char), (u64, u64)> = BTreeMap::new();
    for event in both() {
        let count = counts.entry((event.at_ms / 10_000, event.kind)).or_default();
        *count = (count.0 + 1, count.1 + event.id);
    }
    let window = |row: &Value, seconds: u64| {
        let text = row["window_start"].as_str().expect("a time");
        let number = |from: usize| text[from..from + 2].parse::<u64>().expect("digits");
        (number(14) * 60 + number(17)) / seconds
    };
    let number = |row: &Value, name: &str| row[name].as_u64().expect("a number");
    let found: BTreeMap<_, _> = lines(scene, "counts.ndjson")
        .iter()
        .map(|row| {
            let kind = row["kind"].as_str().and_then(|kind| kind.chars().next()).expect("a kind");
            ((window(row, 10), kind), (number(row, "n"), number(row, "total")))
        })
        .collect();
    assert_eq!(found, counts, "{how}");
    let mut totals: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for ((window, _), (count, _)) in &counts {
        let total = totals.entry(window / 2).or_default();
        *total = (total.0 + 1, total.1 + count);
    }
    let found: BTreeMap<_, _> = lines(scene, "totals.ndjson")
        .iter()
        .map(|row| (window(row, 20), (number(row, "kinds"), number(row, "n"))))
        .collect();
    assert_eq!(found, totals, "{how}");
    let text = |event: &Event| format!("{{\"id\":{},\"kind\":\"{}\"}}", event.id, event.kind);
    let of_a = sorted_rows(both().filter(|event| event.kind == 'a').map(text));
    let others = sorted_rows(both().filter(|event| event.kind != 'a').map(text));
    assert_eq!((rows(scene, "a.ndjson"), rows(scene, "others.ndjson")), (of_a, others), "{how}");
    assert_eq!(
        (scene.read("never.ndjson").as_str(), lines(scene, "raw.ndjson").len()),
        ("", right.len()),
        "{how}"
    );
}

#[test]
fn streams_fork_and_come_together() {
    let scene = Scene::new();
    let (left, right) = input(&scene);
    let pipeline = SOURCES.to_owned() + TOGETHER;
    for shards in SHARDS {
        let ended = scene.run(&pipeline, &["--cores", shards, "--fresh"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains(" 0 late;"), "{}", ended.stderr);
        check_together(&scene, &left, &right, &format!("{shards} shards"));
    }
}

#[test]
fn a_graph_that_was_drained_goes_on_where_it_was() {
    let scene = Scene::new();
    let (left, right) = input(&scene);
    let pipeline = SOURCES.to_owned() + TOGETHER + "run: { snapshot: { every: 20ms } }\n";
    // However many runs are drained in time, the rows are those of one.
    for shards in ["2", "3", "1"] {
        let mut run = Watched::start(&mut scene.pipeline(&pipeline, &["--cores", shards]));
        run.until("it has taken a snapshot, or has ended", || {
            scene.exists("raw.ndjson") || !scene.names("state/snapshots").is_empty()
        });
        if scene.exists("raw.ndjson") {
            assert_eq!(run.wait().code, Some(0));
            break;
        }
        run.signal("TERM");
        let ended = run.wait();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    if !scene.exists("raw.ndjson") {
        let ended = scene.run(&pipeline, &["--cores", "2"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("going on from snapshot"), "{}", ended.stderr);
    }
    check_together(&scene, &left, &right, "drained");
}

#[test]
fn a_source_of_rows_stands_beside_a_file() {
    let scene = Scene::new();
    scene.write("in.ndjson", (0..5000).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>());
    let pipeline = "
millstream: 1
name: mixed
sources:
  made: { nexmark: { events: 3000 } }
  read: { file: { path: in.ndjson }, format: json, schema: { n: BIGINT } }
streams:
  bids: { from: made, steps: [ { filter: event_type = 2 }, { select: { n: bid.price } } ] }
  all:
    from: [bids, read]
    steps:
      - aggregate: { name: all, select: { rows: COUNT(*), least: MIN(n) } }
sinks:
  all: { from: all, file: { path: all.ndjson, changelog: final }, format: json }
  rows: { from: read, stdout: , format: json }
";
    for shards in SHARDS {
        let ended = scene.run(pipeline, &["--cores", shards, "--fresh"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(scene.read("all.ndjson"), "{\"rows\":7760,\"least\":0}\n", "{shards} shards");
        assert_eq!(ended.stdout.lines().count(), 5000, "{shards} shards");
    }
}

#[test]
fn a_sink_that_takes_nothing_is_named_and_the_others_are_whole() {
    let scene = Scene::new();
    scene.write("in.ndjson", (0..200_000).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>());
    let pipeline = "
millstream: 1
name: stalled
sources:
  read: { file: { path: in.ndjson }, format: json, schema: { n: BIGINT } }
sinks:
  whole: { from: read, file: { path: whole.ndjson }, format: json }
  piped: { from: read, stdout: , format: json }
";
    let mut command = scene.pipeline(pipeline, &["--cores", "2"]);
    let mut child = command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut said = std::io::BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("takes nothing") && !line.contains("has taken nothing") {
        line.clear();
        assert!(
            std::io::BufRead::read_line(&mut said, &mut line).expect("readable") > 0,
            "it ends without a word"
        );
    }
    assert!(line.contains("the sink `piped` has taken nothing"), "{line}");
    let mut rows = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().expect("piped"), &mut rows).expect("text");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(rows.lines().count(), 200_000);
    assert_eq!(sorted(&rows), sorted(&scene.read("whole.ndjson")));
}

#[test]
fn what_a_graph_does_is_explained() {
    let scene = Scene::new();
    input(&scene);
    scene.write("pipeline.yaml", SOURCES.to_owned() + TOGETHER);
    let ended = end(&mut scene.program(&["explain", "pipeline.yaml"]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mermaid = end(&mut scene.program(&["explain", "pipeline.yaml", "--graph", "mermaid"])).stdout;
    assert!(mermaid.starts_with("flowchart LR\n"), "{mermaid}");
    assert_eq!(mermaid.matches("|by key|").count(), 2, "{mermaid}");
    assert_eq!(mermaid.matches("|to one shard|").count(), 1, "{mermaid}");
    let dot = end(&mut scene.program(&["explain", "pipeline.yaml", "--graph", "dot"])).stdout;
    assert!(dot.starts_with("digraph \"graph\" {\n") && dot.ends_with("}\n"), "{dot}");
    assert_eq!(dot.matches(" -> ").count(), mermaid.matches("-->").count() + mermaid.matches("==>").count());
    for part in ["source   left: ", "source   right: ", "case low", "keeps state `all`"] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
}

#[test]
fn parameters_are_values() {
    let scene = Scene::new();
    scene.write(
        "in.ndjson",
        "{\"id\":1,\"name\":\"it's :least\"}\n{\"id\":2,\"name\":\"b\"}\n{\"id\":3,\"name\":null}\n",
    );
    let pipeline = "
millstream: 1
name: bound
params:
  least: { type: BIGINT, default: 2 }
  who: { type: STRING, default: \"it's :least\" }
  price: { type: 'DECIMAL(12, 2)', default: 1.5 }
  nothing: { type: INT, default: null }
source: { file: { path: in.ndjson }, format: json, schema: { id: BIGINT, name: STRING } }
steps:
  - filter: id >= :least OR name = :who
  - select:
      id: id
      text: \"':least'\"
      price: ':price'
      nothing: COALESCE(:nothing, -1)
sink: { file: { path: out.ndjson }, format: json }
";
    let row = |id: u64, price: &str| {
        format!("{{\"id\":{id},\"text\":\":least\",\"price\":{price},\"nothing\":-1}}\n")
    };
    assert_eq!(scene.output(pipeline, &["--cores", "1"]), row(1, "1.50") + &row(2, "1.50") + &row(3, "1.50"));
    let set = [
        "--cores",
        "1",
        "--set",
        "params.least.default=3",
        "--set",
        "params.who.default=b",
        "--set",
        "params.price.default=2",
    ];
    assert_eq!(scene.output(pipeline, &set), row(2, "2.00") + &row(3, "2.00"));
    let wrong = scene.run(&pipeline.replace("id >= :least", "id >= :lest AND name > :least"), &[]);
    assert_eq!(wrong.code, Some(78), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("there is no parameter `:lest`"), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("^^^^^^"), "{}", wrong.stderr);
}

#[test]
fn what_files_share_is_included() {
    let scene = Scene::new();
    scene.write("in.ndjson", "{\"id\":1,\"of\":\"a\"}\n{\"id\":2,\"of\":\"b\"}\n{\"id\":3,\"of\":\"a\"}\n");
    scene.write("more.ndjson", "{\"id\":4,\"of\":\"b\"}\n");
    scene.write("names.csv", "key,name\na,one\nb,two\n");
    let table = "names:
    file: { path: names.csv }
    format: csv
    schema: { key: STRING NOT NULL, name: STRING }
    key: key
";
    std::fs::create_dir_all(scene.path("shared/deeper")).expect("a folder");
    scene.write(
        "shared/all.yaml",
        "millstream: 1\ninclude: [deeper/tables.yaml, deeper/params.yaml]\nconnections: { idle: { stdout: } }\n",
    );
    scene.write(
        "shared/deeper/tables.yaml",
        format!("millstream: 1\ninclude: [params.yaml]\ntables:\n  {table}"),
    );
    scene.write(
        "shared/deeper/params.yaml",
        "millstream: 1\nparams: { least: { type: INT, default: 2 } }\nconnections: { input: { file: { path: '${INPUT:-in.ndjson}' } } }\n",
    );
    let chain = "source: { file: { use: input }, format: json, schema: { id: BIGINT, of: STRING } }
steps:
  - filter: id >= :least
  - lookup: { table: names, match: names.key = of }
  - aggregate: { name: counts, by: names.name, select: { n: COUNT(*) } }
sink: { file: { path: out.ndjson, changelog: final }, format: json }
";
    let pipeline =
        format!("millstream: 1\nname: sharing\ninclude: ['${{FOLDER:-shared}}/all.yaml']\n{chain}");
    let one = "{\"name\":\"one\",\"n\":1}\n";
    let rows = |text: &str| sorted(text).into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        rows(&scene.output(&pipeline, &["--cores", "2"])),
        rows(&(one.to_owned() + "{\"name\":\"two\",\"n\":1}\n"))
    );
    let of_all = "{\"name\":\"one\",\"n\":2}\n{\"name\":\"two\",\"n\":1}\n";
    assert_eq!(rows(&scene.output(&pipeline, &["--set", "params.least.default=0"])), rows(of_all));
    let whole = format!(
        "millstream: 1\nname: sharing\nparams: {{ least: {{ type: INT, default: 2 }} }}\ntables:\n  {table}{}",
        chain.replace("use: input", "path: in.ndjson")
    );
    // What is included means the same as if it stood in the file: an edit that moves it is none.
    scene.write("pipeline.yaml", &pipeline);
    scene.write("whole.yaml", &whole);
    let told = |file: &str| end(&mut scene.program(&["explain", file])).stdout;
    assert_eq!(told("pipeline.yaml"), told("whole.yaml"));
    scene.write("shared/deeper/params.yaml", "millstream: 1\nparams: { least: { type: INT } }\n");
    let ended = end(&mut scene.program(&["check", "pipeline.yaml"]));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for told in [
        " --> shared/deeper/params.yaml:2:11",
        "the parameter `least` has no value",
        "there is no connection `input`",
    ] {
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
    let unknown = pipeline.replace("${FOLDER:-shared}", "${FOLDER}");
    scene.write("pipeline.yaml", unknown);
    let ended = end(&mut scene.program(&["check", "pipeline.yaml"]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("which file is included depends on a variable"), "{}", ended.stderr);
}
