//! The pipelines of the simulation: each keeps its state in another way, or writes in another.

use crate::config;
use crate::plan::{Plan, plan};
use crate::yaml::NoEnvironment;

/// A pipeline.
pub(super) struct Pipeline {
    /// Its name in a case.
    pub name: &'static str,
    /// What stands behind the source in its file.
    pub text: &'static str,
}

/// What begins the graphs.
const GRAPH: &str = "
millstream: 1
name: simulated
sources:
  one:
    file: { path: 'FOLDER/*.ndjson' }
    format: json
    schema: { key: STRING, amount: DOUBLE, n: BIGINT, at: TIMESTAMP(3) NOT NULL }
    event_time: { column: at, out_of_order: 60ms }
";

/// A second source of graphs.
const OTHER: &str = "
  other:
    file: { path: 'FOLDER/*.ndjson' }
    format: json
    schema: { key: STRING, n: BIGINT, at: TIMESTAMP(3) NOT NULL }
    event_time: { column: at, out_of_order: 90ms }
";

/// The side of a join that has fewer rows, and a source of it.
const FEW: &str = "
  few: { from: other, steps: [ { filter: 10 / n >= 0 AND n > 17 } ] }
";

/// A table that has rows for some of the keys.
const TABLES: &str = "
tables:
  names:
    file: { path: 'FOLDER/table.csv' }
    format: csv
    schema: { key: STRING NOT NULL, since: TIMESTAMP(3) NOT NULL, name: STRING, n: INT }
    key: key
    versions: { from: since }
";

/// What the chains have in common. The filter rejects rows in which `n` is 0.
const SOURCE: &str = "
millstream: 1
name: simulated
source:
  file: { path: 'FOLDER/*.ndjson' }
  format: json
  schema: { key: STRING, amount: DOUBLE, n: BIGINT, at: TIMESTAMP(3) NOT NULL }
  event_time: { column: at, out_of_order: 60ms }
steps:
  - filter: 10 / n >= 0
";

/// The file that is written by all but those with `files`.
const FILE: &str = "
sink:
  file: { path: /out/main.ndjson }
  format: json
";

/// All of them.
pub(super) const PIPELINES: &[Pipeline] = &[
    Pipeline { name: "stateless", text: "\n  - set: { twice: n * 2 }\nFILE" },
    Pipeline {
        name: "tumbling",
        text: "
  - aggregate: { name: windows, by: key, window: { tumbling: 300ms }, late: { to: too_late }, select: { total: SUM(amount), rows: COUNT(*) } }
FILE
sinks:
  late: { from: too_late, file: { path: /out/side.ndjson }, format: json }
",
    },
    Pipeline {
        name: "sliding",
        text: "
  - aggregate: { name: windows, by: key, window: { sliding: 600ms, every: 200ms }, select: { total: SUM(amount), least: MIN(n), kinds: COUNT(DISTINCT n) } }
FILE",
    },
    Pipeline {
        name: "session",
        text: "
  - aggregate: { name: sessions, by: key, window: { session: 150ms }, late: { allow: 300ms, to: too_late }, select: { rows: COUNT(*), most: MAX(n) } }
sink:
  file: { path: /out/main.ndjson, changelog: final }
  format: json
sinks:
  late: { from: too_late, file: { path: /out/side.ndjson }, format: json }
",
    },
    Pipeline {
        name: "final",
        text: "
  - aggregate: { name: running, by: key, select: { rows: COUNT(*), total: SUM(n), first: FIRST_VALUE(n) } }
sink:
  file: { path: /out/main.ndjson, changelog: final }
  format: json
",
    },
    Pipeline {
        name: "upsert",
        text: "
  - aggregate: { name: running, by: key, select: { rows: COUNT(*), most: MAX(n) } }
sink:
  file: { path: /out/main.ndjson, changelog: upsert, upsert_by: most }
  format: json
",
    },
    Pipeline {
        name: "debezium",
        text: "
  - aggregate: { name: running, by: key, select: { rows: COUNT(*), mean: AVG(n) } }
sink:
  files: { path: /out/parts, changelog: debezium, roll: { size: 1KiB } }
  format: json
",
    },
    Pipeline {
        name: "top",
        text: "
  - top: { name: best, per: { group: SUBSTRING(key FROM 2 FOR 1) }, n: 3, order: n DESC, rank: place }
sink:
  file: { path: /out/main.ndjson, changelog: final }
  format: json
",
    },
    Pipeline {
        name: "top of windows",
        text: "
  - aggregate: { name: windows, by: key, window: { tumbling: 400ms }, select: { rows: COUNT(*) } }
  - drop: [window_start, window_end]
  - top: { name: best, per: { group: SUBSTRING(key FROM 2 FOR 1) }, n: 2, order: rows DESC, ties: keep, window: { tumbling: 800ms } }
FILE",
    },
    Pipeline { name: "dedupe", text: "\n  - dedupe: { name: once, by: [key, n], within: 500ms }\nFILE" },
    Pipeline {
        name: "dedupe last",
        text: "\n  - dedupe: { name: newest, by: key, within: 400ms, keep: last }\nFILE",
    },
    Pipeline {
        name: "dedupe running",
        text: "
  - dedupe: { name: newest, by: key, keep: last }
sink:
  file: { path: /out/main.ndjson, changelog: debezium }
  format: json
",
    },
    Pipeline {
        name: "over",
        text: "
  - over: { name: sums, by: key, range: 300ms, select: { total: SUM(n), rows: COUNT(*) }, late: { to: too_late } }
FILE
sinks:
  late: { from: too_late, file: { path: /out/side.ndjson }, format: json }
",
    },
    Pipeline {
        name: "two exchanges",
        text: "
  - aggregate: { name: windows, by: key, window: { tumbling: 200ms }, late: { to: too_late }, select: { total: SUM(amount), rows: COUNT(*) } }
  - filter: 100 / (total - rows) <> 7
  - aggregate: { name: groups, by: { group: SUBSTRING(key FROM 2 FOR 1) }, window: { tumbling: 400ms }, select: { total: SUM(total), keys: COUNT(*) } }
FILE
sinks:
  late: { from: too_late, file: { path: /out/side.ndjson }, format: json }
",
    },
    Pipeline {
        name: "append",
        text: "
  - aggregate: { name: windows, by: key, window: { tumbling: 200ms }, select: { rows: COUNT(*), total: SUM(n) } }
sink:
  file: { path: /out/main.ndjson, append: true }
  format: json
",
    },
    Pipeline {
        name: "files",
        text: "
  - set: { group: SUBSTRING(key FROM 2 FOR 1) }
sink:
  files: { path: /out/parts, partition_by: group, roll: { size: 1KiB } }
  format: json
",
    },
    Pipeline {
        name: "files of windows",
        text: "
  - aggregate: { name: windows, by: key, window: { tumbling: 200ms }, late: { to: too_late }, select: { rows: COUNT(*), total: SUM(n) } }
sink:
  files: { path: /out/parts, roll: { size: 2KiB } }
  format: json
sinks:
  late: { from: too_late, files: { path: /out/side, roll: { size: 1KiB } }, format: json }
",
    },
    Pipeline {
        name: "pattern",
        text: "
  - pattern: { name: falls, by: key, define: { A: n > 5, B: n <= LAST(A.n) - 3 }, sequence: 'A{1,3} B', within: 500ms, late: { to: too_late }, select: { from: FIRST(A.n), to: B.n, rows: COUNT(*) } }
FILE
sinks:
  late: { from: too_late, file: { path: /out/side.ndjson }, format: json }
",
    },
    Pipeline {
        name: "graph of two sources",
        text: "
GRAPH
OTHER
streams:
  few: { from: other, steps: [ { filter: n > 5 }, { select: { key: key, n: n } } ] }
  many: { from: one, steps: [ { filter: 10 / n >= 0 }, { select: { key: key, n: n } } ] }
  counted:
    from: [few, many]
    steps:
      - aggregate: { name: windows, by: key, window: { tumbling: 300ms }, late: { to: too_late }, select: { rows: COUNT(*), total: SUM(n) } }
  all:
    from: counted
    steps:
      - aggregate: { name: groups, by: { group: SUBSTRING(key FROM 2 FOR 1) }, window: { tumbling: 600ms }, select: { keys: COUNT(*) } }
sinks:
  first: { from: counted, file: { path: /out/main.ndjson }, format: json }
  second: { from: all, file: { path: /out/second.ndjson }, format: json }
  late: { from: too_late, file: { path: /out/side.ndjson }, format: json }
",
    },
    Pipeline {
        name: "routes",
        text: "
GRAPH
streams:
  routed:
    from: one
    steps:
      - set: { group: SUBSTRING(key FROM 2 FOR 1) }
      - route: { cases: { low: n < 3, high: 10 / n >= 0 AND n > 7 }, otherwise: middle }
  newest: { from: routed.low, steps: [ { dedupe: { name: newest, by: key, keep: last } } ] }
  mixed: { from: [routed.high, routed.low, one_more], steps: [ { aggregate: { name: sums, by: key, select: { rows: COUNT(*), total: SUM(n) } } } ] }
  one_more: { from: one, steps: [ { filter: n = 6 }, { set: { group: \"'x'\" } } ] }
sinks:
  changes: { from: newest, file: { path: /out/changes.ndjson, changelog: debezium }, format: json }
  finals: { from: mixed, file: { path: /out/finals.ndjson, changelog: final }, format: json }
  rest: { from: [routed.middle, routed.high], files: { path: /out/parts, partition_by: group, roll: { size: 1KiB } }, format: json }
",
    },
    Pipeline {
        name: "folders",
        text: "
  - set: { group: SUBSTRING(key FROM 2 FOR 1) }
sink:
  files: { path: /out/parts, partition_by: { group: group, share: 5 / (n - 7) }, roll: { size: 1KiB } }
  format: json
",
    },
    Pipeline {
        name: "csv",
        text: "
CSV
  - set: { twice: n * 2, text: \"CONCAT(key, ',')\" }
sink:
  file: { path: /out/main.csv }
  format: csv
",
    },
    Pipeline {
        name: "appended csv",
        text: "
CSV
  - aggregate: { name: windows, by: key, window: { tumbling: 200ms }, late: { to: too_late }, select: { rows: COUNT(*), total: SUM(amount) } }
sink:
  file: { path: /out/main.csv, append: true }
  format: csv
sinks:
  late: { from: too_late, file: { path: /out/side.csv }, format: csv }
",
    },
    Pipeline {
        name: "lookup",
        text: "
  - lookup: { table: names, match: names.key = key, kind: left }
  - set: { latest: names.name }
  - drop: names
  - lookup: { table: names, match: names.key = key, as_of: '`at`' }
  - select: { key: key, n: n, latest: latest, then: names.name, share: 100 / (names.n - 3) }
FILE
TABLES
",
    },
    Pipeline {
        name: "interval join",
        text: "
GRAPH
OTHER
streams:
FEW
  joined:
    from: { a: one, b: few }
    steps:
      - join: { name: pairs, match: a.key = b.key AND a.n <> b.n, within: b.at BETWEEN a.at - INTERVAL '0.05' SECOND AND a.at + INTERVAL '0.1' SECOND }
      - select: { key: a.key, n: a.n, other: b.n, at: b.at }
sinks:
  main: { from: joined, file: { path: /out/main.ndjson }, format: json }
",
    },
    Pipeline {
        name: "interval left join",
        text: "
GRAPH
OTHER
streams:
FEW
  joined:
    from: { a: one, b: few }
    steps:
      - join: { name: pairs, kind: left, match: a.key = b.key, within: b.at BETWEEN a.at - INTERVAL '0.1' SECOND AND a.at + INTERVAL '0.1' SECOND }
      - aggregate: { name: windows, by: { key: a.key }, window: { tumbling: 300ms }, late: { to: too_late }, select: { rows: COUNT(*), alone: COUNT(*) FILTER (WHERE b IS NULL), total: SUM(b.n) } }
sinks:
  main: { from: joined, file: { path: /out/main.ndjson }, format: json }
  late: { from: too_late, file: { path: /out/side.ndjson }, format: json }
",
    },
    Pipeline {
        name: "left join",
        text: "
GRAPH
OTHER
streams:
FEW
  joined:
    from: { a: one, b: few }
    steps:
      - join: { name: pairs, kind: left, match: a.key = b.key AND a.n = b.n }
      - select: { key: a.key, n: a.n, at: a.at, other: b.at }
sinks:
  main: { from: joined, file: { path: /out/main.ndjson, changelog: final }, format: json }
",
    },
    Pipeline {
        name: "join of a changelog",
        text: "
GRAPH
OTHER
streams:
  low: { from: one, steps: [ { filter: 10 / n >= 0 AND n < 4 } ] }
  totals: { from: other, steps: [ { aggregate: { name: totals, by: key, select: { total: SUM(n), rows: COUNT(*) } } } ] }
  joined:
    from: { a: low, t: totals }
    steps:
      - join: { name: pairs, kind: left, match: a.key = t.key }
      - select: { key: a.key, n: a.n, at: a.at, total: t.total }
sinks:
  main: { from: joined, file: { path: /out/main.ndjson, changelog: upsert, upsert_by: [key, n, at] }, format: json }
",
    },
    Pipeline {
        name: "join with ttl",
        text: "
GRAPH
OTHER
streams:
FEW
  joined:
    from: { a: one, b: few }
    steps:
      - join: { name: pairs, kind: full, match: a.key = b.key AND a.n > b.n, ttl: 150ms }
      - select: { key: a.key, other_key: b.key, n: a.n, other: b.n }
sinks:
  main: { from: joined, files: { path: /out/parts, changelog: debezium, roll: { size: 2KiB } }, format: json }
",
    },
    Pipeline {
        name: "behind joins",
        text: "
GRAPH
OTHER
streams:
FEW
  pairs:
    from: { a: one, b: few }
    steps:
      - join: { name: pairs, match: a.key = b.key, within: b.at BETWEEN a.at AND a.at + INTERVAL '0.2' SECOND }
      - select: { key: a.key, n: b.n }
  high: { from: one, steps: [ { filter: n > 12 }, { select: { key: key, n: n } } ] }
  mixed:
    from: [pairs, high]
    steps:
      - aggregate: { name: sums, by: key, window: { tumbling: 400ms }, late: { to: too_late }, select: { rows: COUNT(*), total: SUM(n) } }
  alone:
    from: { a: one, b: few }
    steps:
      - join: { name: alone, kind: anti, match: a.key = b.key AND a.n = b.n }
      - select: { key: a.key, n: a.n }
  counts:
    from: [alone, high]
    steps:
      - aggregate: { name: counts, by: key, select: { rows: COUNT(*), total: SUM(n) } }
sinks:
  main: { from: mixed, file: { path: /out/main.ndjson }, format: json }
  counts: { from: counts, file: { path: /out/counts.ndjson, changelog: final }, format: json }
  late: { from: too_late, file: { path: /out/side.ndjson }, format: json }
",
    },
    Pipeline {
        name: "late rows in streams",
        text: "
GRAPH
streams:
  windows:
    from: one
    steps:
      - aggregate: { name: windows, by: key, window: { tumbling: 200ms }, late: { to: too_late }, select: { rows: COUNT(*), total: SUM(n) } }
  again:
    from: too_late
    steps:
      - filter: 10 / n >= 0
      - aggregate: { name: again, by: key, window: { tumbling: 800ms }, late: { to: later }, select: { rows: COUNT(*), total: SUM(n) } }
  sums:
    from: [too_late, later]
    steps:
      - aggregate: { name: sums, by: key, select: { rows: COUNT(*), total: SUM(n) } }
sinks:
  main: { from: windows, file: { path: /out/main.ndjson }, format: json }
  again: { from: again, file: { path: /out/again.ndjson }, format: json }
  side: { from: sums, file: { path: /out/side.ndjson, changelog: final }, format: json }
",
    },
    Pipeline {
        name: "bad records in streams",
        text: "
GRAPH
    bad_record: { to: rejects }
OTHER
streams:
  counted:
    from: [few, many]
    steps:
      - aggregate: { name: windows, by: key, window: { tumbling: 300ms }, late: { to: too_late }, select: { rows: COUNT(*), total: SUM(n) } }
  few: { from: other, steps: [ { filter: n > 5 }, { select: { key: key, n: n } } ] }
  many: { from: one, steps: [ { filter: 10 / n >= 0 }, { select: { key: key, n: n } } ] }
  told: { from: rejects, steps: [ { select: { raw: raw, error: error, position: position } } ] }
  sizes: { from: rejects, steps: [ { aggregate: { name: sizes, by: { size: CHAR_LENGTH(raw) }, select: { rows: COUNT(*) } } } ] }
sinks:
  main: { from: counted, file: { path: /out/main.ndjson }, format: json }
  told: { from: told, file: { path: /out/told.ndjson }, format: json }
  sizes: { from: sizes, file: { path: /out/sizes.ndjson, changelog: final }, format: json }
  late: { from: too_late, file: { path: /out/side.ndjson }, format: json }
",
    },
];

/// What stands behind the source in the file of a pipeline; empty where there is no such pipeline.
pub(super) fn text_of(name: &str) -> &'static str {
    PIPELINES.iter().find(|pipeline| pipeline.name == name).map_or("", |pipeline| pipeline.text)
}

/// The plan of a pipeline that reads the files of an input in `folder`; its tables are read.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn planned(name: &str, folder: &str) -> Result<Plan, String> {
    let pipeline = PIPELINES.iter().find(|pipeline| pipeline.name == name);
    let pipeline = pipeline.ok_or_else(|| format!("there is no pipeline `{name}`"))?;
    let text = pipeline.text.trim_start();
    let text = if let Some(rest) = text.strip_prefix("GRAPH") {
        GRAPH.trim_end().to_owned() + rest
    } else if let Some(rest) = text.strip_prefix("CSV") {
        SOURCE.trim_end().replace("*.ndjson", "part-*.csv").replace("json", "csv") + rest
    } else {
        SOURCE.trim_end().to_owned() + pipeline.text
    };
    let parts = [("OTHER", OTHER), ("FEW", FEW), ("FILE", FILE), ("TABLES", TABLES)];
    let text =
        parts.into_iter().fold(text, |text, (part, written)| text.replace(part, written.trim_matches('\n')));
    let text = text.replace("FOLDER", folder);
    let read = config::read("simulated.yaml", text.as_bytes(), &[], &NoEnvironment);
    let mut problems = read.problems;
    let planned = read.pipeline.and_then(|pipeline| plan(&pipeline, &mut problems));
    let planned = planned.ok_or_else(|| format!("the pipeline `{name}` is wrong: {:?}", problems.all()))?;
    for table in &planned.tables {
        table.publish(table.load().map_err(|error| error.to_string())?.index);
    }
    Ok(planned)
}
