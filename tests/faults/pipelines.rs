//! The pipelines that are run under faults, and their input.

use std::fmt::Write;

use fastrand::Rng;

/// A pipeline, but for where its files are.
#[derive(Clone, Copy, Debug)]
pub struct Pipeline {
    pub name: &'static str,
    /// Its steps, indented as the file needs them; of a graph all behind its sources, where `OUT`, `LATE` and
    /// `TABLE` stand for paths.
    steps: &'static str,
    /// Its sink; `OUT` stands for the path. None of a graph.
    sink: &'static str,
    /// Whether late rows have a sink of their own; of a graph whether it has a second sink.
    pub has_late: bool,
    /// How many sources read the input: two of a graph.
    pub sources: usize,
}

/// Late rows go to a side stream, bad records to quarantine.
pub const WINDOWS: Pipeline = Pipeline {
    name: "windows",
    steps: "steps:\n  - aggregate: { name: w, by: key, window: { sliding: 2s, every: 500ms }, late: { to: too_late }, select: { rows: COUNT(*), sum: SUM(n), least: MIN(note), names: COUNT(DISTINCT note) } }\n",
    sink: "file: { path: OUT }",
    has_late: true,
    sources: 1,
};

/// A running aggregate, written as it stands at the end.
pub const RUNNING: Pipeline = Pipeline {
    name: "running",
    steps: "steps:\n  - aggregate: { name: r, by: key, select: { rows: COUNT(*), sum: SUM(n), last: MAX(at), share: AVG(part) } }\n",
    sink: "file: { path: OUT, changelog: final }",
    has_late: false,
    sources: 1,
};

/// The same, with every change.
pub const CHANGES: Pipeline = Pipeline {
    name: "changes",
    steps: "steps:\n  - aggregate: { name: r, by: key, select: { rows: COUNT(*), sum: SUM(n) } }\n",
    sink: "file: { path: OUT, changelog: debezium }",
    has_late: false,
    sources: 1,
};

pub const SESSIONS: Pipeline = Pipeline {
    name: "sessions",
    steps: "steps:\n  - aggregate: { name: s, by: user, window: { session: 300ms }, late: { to: too_late }, select: { rows: COUNT(*), sum: SUM(n), first: MIN(at) } }\n",
    sink: "file: { path: OUT }",
    has_late: true,
    sources: 1,
};

/// Two keyed steps, one behind the other.
pub const LEADERS: Pipeline = Pipeline {
    name: "leaders",
    steps: "steps:\n  - aggregate: { name: w, by: key, window: { tumbling: 1s }, select: { rows: COUNT(*), sum: SUM(n) } }\n  - top: { name: t, n: 5, per: [window_start, window_end], order: 'sum DESC, key', rank: place }\n",
    sink: "file: { path: OUT }",
    has_late: false,
    sources: 1,
};

/// Rows that come once, appended in place.
pub const ONCE: Pipeline = Pipeline {
    name: "once",
    steps: "steps:\n  - dedupe: { name: d, by: [key, note], within: 2s }\n",
    sink: "file: { path: OUT, append: true }",
    has_late: false,
    sources: 1,
};

/// Rows with what came before them.
pub const LATELY: Pipeline = Pipeline {
    name: "lately",
    steps: "steps:\n  - over: { name: o, by: key, range: 5s, select: { sum: SUM(n), rows: COUNT(*) } }\n",
    sink: "file: { path: OUT }",
    has_late: false,
    sources: 1,
};

/// No state but the position: all rows go through, appended in place.
pub const COPY: Pipeline = Pipeline {
    name: "copy",
    steps: "steps:\n  - filter: n >= 0\n  - set: { note: UPPER(note) }\n",
    sink: "file: { path: OUT, append: true }",
    has_late: false,
    sources: 1,
};

/// The same into many small files.
pub const PARTS: Pipeline = Pipeline {
    name: "parts",
    steps: "steps:\n  - filter: n >= 0\n",
    sink: "files: { path: OUT, partition_by: 'MOD(user, 3)', roll: { size: 100KiB } }",
    has_late: false,
    sources: 1,
};

/// A graph of two sources: rows that come within two seconds of one another, with names of a table, and windows of them.
pub const PAIRS: Pipeline = Pipeline {
    name: "pairs",
    steps: "streams:
  few: { from: other, steps: [ { filter: 'MOD(n, 3) = 0' } ] }
  pairs:
    from: { a: one, b: few }
    steps:
      - join: { name: j, kind: left, match: a.user = b.user AND a.n <> b.n, within: b.at BETWEEN a.at - INTERVAL '1' SECOND AND a.at + INTERVAL '1' SECOND }
      - select: { key: a.key, n: a.n, other: b.n, note: b.note }
      - lookup: { table: names, match: names.key = key, kind: left }
      - set: { name: names.name }
      - drop: names
  windows:
    from: pairs
    steps:
      - aggregate: { name: w, by: key, window: { tumbling: 1s }, select: { rows: COUNT(*), others: COUNT(other), sum: SUM(other) } }
sinks:
  pairs: { from: pairs, file: { path: OUT }, format: json }
  windows: { from: windows, file: { path: LATE }, format: json }
tables:
  names:
    file: { path: TABLE }
    format: csv
    schema: { key: STRING, name: STRING }
    key: key
",
    sink: "",
    has_late: true,
    sources: 2,
};

/// A graph of two sources: rows beside a changelog, as they stand at the end, and that changelog as it comes.
pub const SETTLED: Pipeline = Pipeline {
    name: "settled",
    steps: "streams:
  sums:
    from: other
    steps:
      - filter: MOD(n, 5) = 0
      - aggregate: { name: r, by: key, select: { rows: COUNT(*), sum: SUM(n) } }
  settled:
    from: { a: one, s: sums }
    steps:
      - join: { name: j, kind: left, match: a.key = s.key AND a.part < 500 }
      - select: { key: a.key, n: a.n, sum: s.sum }
sinks:
  settled: { from: settled, file: { path: OUT, changelog: final }, format: json }
  sums: { from: sums, file: { path: LATE, changelog: upsert, upsert_by: key }, format: json }
",
    sink: "",
    has_late: true,
    sources: 2,
};

pub const ALL: [Pipeline; 11] =
    [WINDOWS, RUNNING, CHANGES, SESSIONS, LEADERS, ONCE, LATELY, COPY, PARTS, PAIRS, SETTLED];

impl Pipeline {
    /// The pipeline file. It reads `input` and the table beside it, writes `out.ndjson` and `late.ndjson` in the folder
    /// `output`, and takes a snapshot so often.
    pub fn text(&self, input: &str, output: &str, every: &str) -> String {
        let Self { name, steps, sink, has_late, sources } = self;
        let (out, late) = (format!("{output}/out.ndjson"), format!("{output}/late.ndjson"));
        let head =
            format!("millstream: 1\nname: {name}\nrun: {{ snapshot: {{ every: {every}, keep: 3 }} }}\n");
        let file = format!("file: {{ path: {input} }}");
        let options = [
            file.as_str(),
            "format: json",
            "schema: { key: STRING, user: BIGINT, n: BIGINT, part: 'DECIMAL(10, 2)', note: STRING, at: TIMESTAMP(3) }",
            "event_time: { column: at, out_of_order: 200ms }",
        ];
        let source = |indent: &str| options.map(|option| format!("{indent}{option}\n")).concat();
        if *sources == 2 {
            let sources = ["one", "other"].map(|name| format!("  {name}:\n{}", source("    "))).concat();
            let steps = steps.replace("OUT", &out).replace("LATE", &late);
            let table = input.replace("in.ndjson", TABLE);
            return format!("{head}sources:\n{sources}{}", steps.replace("TABLE", &table));
        }
        let sink = sink.replace("OUT", &out);
        let late = if *has_late {
            format!("sinks:\n  late: {{ from: too_late, file: {{ path: {late} }}, format: json }}\n")
        } else {
            String::new()
        };
        format!("{head}source:\n{}{steps}sink:\n  {sink}\n  format: json\n{late}", source("  "))
    }
}

/// The file of the table that graphs look rows up in, beside the input.
pub const TABLE: &str = "table.csv";

/// The names of two thirds of the keys.
pub fn table() -> String {
    let names = (0..200).map(|key| format!("key {key},\"name, {key}\"\n"));
    "key,name\n".to_owned() + &names.collect::<String>()
}

/// Rows that come 1 ms after one another, shuffled a little; one in fifty is far behind, one in a thousand is no record.
/// Each has so many bytes of `padding` that no pipeline reads.
pub fn input(rows: u64, padding: usize, seed: u64) -> String {
    let mut random = Rng::with_seed(seed);
    let padding = "x".repeat(padding);
    let mut text = String::new();
    for n in 0..rows {
        if random.u32(..1000) == 0 {
            writeln!(text, "{{\"key\":\"broken {n}\",").expect("texts grow");
            continue;
        }
        let behind_ms = if random.u32(..50) == 0 { random.u64(..20_000) } else { random.u64(..200) };
        let at_ms = (100_000 + n).saturating_sub(behind_ms);
        let (hours, minutes, seconds) = (at_ms / 3_600_000, at_ms / 60_000 % 60, at_ms / 1000 % 60);
        let key = random.u32(..300);
        let user = random.u32(..2000);
        let (note, part) = (random.u32(..40), random.u32(..100_000));
        writeln!(
            text,
            "{{\"key\":\"key {key}\",\"user\":{user},\"n\":{n},\"part\":{}.{:02},\"note\":\"note {note}\",\
             \"at\":\"2026-01-01T{hours:02}:{minutes:02}:{seconds:02}.{:03}\",\"padding\":\"{padding}\"}}",
            part / 100,
            part % 100,
            at_ms % 1000
        )
        .expect("texts grow");
    }
    text
}
