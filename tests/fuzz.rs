//! Over ten thousand damaged inputs, none of which may end in a panic: pipeline files through the reading and planning of
//! them, and records through the decoder. What is wrong with a file has to be told with a place inside of it.
//!
//! Every input has a number, from which it is made. `FUZZ_SEED=number cargo test --test fuzz` makes that one alone;
//! `FUZZ_COUNT=number` makes so many of each kind.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fastrand::Rng;
use millstream::codec::framing::frame_lines;
use millstream::codec::json;
use millstream::config;
use millstream::operator::VERBS;
use millstream::plan::{explain, plan};
use millstream::record::{Column, Schema, parse_type};
use millstream::yaml::{render, render_github, render_json};

const FILES: u64 = 7500;
const RECORDS: u64 = 4000;

/// A pipeline with every step that sees one row at a time, and with what else a file can say.
const ALL_VERBS: &str = r#"millstream: 1
name: all-verbs
source:
  stdin:
  format: { json: {} }
  schema:
    id: BIGINT NOT NULL
    price: DECIMAL(12, 2)
    tags: ARRAY<ROW<k STRING, v DOUBLE>>
    m: MAP<STRING, INT>
    "at": TIMESTAMP_LTZ(3)
  event_time: { column: "at", out_of_order: 1m30s, idle_after: 30s, max_future: 5m }
  bad_record: { stop_above: 5% per 1m, limit: 1GiB }
steps:
  - filter: price > 0.5 AND tags IS NOT NULL OR id BETWEEN 3 AND 7
  - explode: { column: tags, as: tag }
  - set: { price: price * 1.19, length: "CHAR_LENGTH(UPPER(tag.k))" }
  - rename: { length: size }
  - drop: [m]
  - aggregate:
      name: sums
      by: { bucket: "MOD(id, 10)", k: tag.k }
      window: { tumbling: 10s, offset: 1s }
      select: { n: COUNT(*), total: SUM(price) FILTER (WHERE size > 1), share: SUM(tag.v) / COUNT(tag.v) }
  - select: { "*": , text: "CASE WHEN n > 3 THEN 'many' ELSE CAST(n AS STRING) END" }
sink:
  file: { path: "${OUT:-out.ndjson}", append: true }
  format: json
run: { cores: 4, state_dir: state, time_zone: UTC, memory: 512MiB }
"#;

/// The steps that keep rows or take them back, every kind of window, and every option of theirs.
const KEYED: &str = r#"millstream: 1
name: keyed
source:
  file: { path: in.ndjson }
  format: json
  schema: { id: BIGINT, user: STRING, price: "DECIMAL(10, 2)", share: DOUBLE, tags: ARRAY<STRING>, at: TIMESTAMP(3) NOT NULL }
  event_time: { column: at, out_of_order: 5s }
steps:
  - sample: { rate: 12.5%, by: user, seed: 7 }
  - throttle: { name: calm, by: [user, id], rate: 20 per 1s }
  - dedupe: { name: once, by: id, within: 1h, keep: last }
  - over: { name: before, by: user, rows: 10, late: { to: late_over }, select: { mean: AVG(price), n: COUNT(*), last: "ARRAY_AGG(price)[1]" } }
  - over: { name: hour, range: 1h, select: { low: MIN(share), spread: "STDDEV(price) / COUNT(*)" } }
  - top: { name: dearest, n: 10, per: user, order: "price DESC NULLS LAST, at", window: { cumulative: 1d, every: 1h }, ties: keep, rank: place, late: { to: late_top } }
  - drop: [window_start, window_end]
  - aggregate: { name: visits, by: user, window: { session: 30s }, late: { to: late_visits }, select: { price: SUM(price), first: FIRST_VALUE(place), names: "LISTAGG(DISTINCT user, '; ')" } }
  - aggregate: { name: slides, by: { u: UPPER(user) }, window: { sliding: 1m, every: 10s, offset: 3s, time: window_end }, late: { allow: 1h }, select: { price: SUM(price), p: "PERCENTILE(price, 0.9)" } }
  - top: { name: now, n: 3, per: [window_start, window_end], order: price DESC, rank: place }
sink:
  stdout: { changelog: upsert, upsert_by: [u, window_end, place] }
  format: json
sinks:
  over: { from: late_over, file: { path: late-over.ndjson }, format: json }
  top: { from: late_top, blackhole: }
  visits: { from: late_visits, file: { path: late-visits.ndjson, append: true }, format: json }
run: { memory: 1GiB }
"#;

/// Results so far, by the clock and over rows, written as a changelog.
const RUNNING: &str = r#"millstream: 1
name: running
source:
  stdin:
  format: json
  schema: { k: STRING, v: BIGINT, at: TIMESTAMP_LTZ(3) }
  event_time: { column: at }
steps:
  - aggregate: { name: hundreds, by: k, window: { rows: 100 }, select: { v: MAX(v), m: MEDIAN(v) } }
  - aggregate: { name: clock, by: k, window: { tumbling: 1m, time: processing }, select: { v: SUM(v), d: "COUNT(DISTINCT v) FILTER (WHERE v > 0)" } }
  - dedupe: { name: newest, by: [k], keep: last }
  - aggregate: { name: so_far, by: k, ttl: 1d, select: { total: SUM(v), list: ARRAY_AGG(DISTINCT v) } }
sink:
  file: { path: out.ndjson, changelog: debezium }
  format: json
"#;

const GENERATOR: &str = r#"millstream: 1
name: made
source:
  generator: { rows: 100, rate: 10 per 1s, seed: 4, start: 2026-01-01T00:00:00Z, step: 5ms, columns: { u: u1 * 3, k: "CONCAT('u', CAST(n % 50 AS STRING))", t: at } }
  event_time: { column: t }
steps:
  - aggregate: { name: a, window: { tumbling: 1s }, select: { x: MAX(u), y: AVG(u) } }
sink: { blackhole: { latency_from: window_end } }
"#;

/// Sequences of rows, with every option and most of what expressions may say of variables.
const PATTERNS: &str = r#"millstream: 1
name: patterns
source:
  file: { path: in.ndjson }
  format: json
  schema: { id: BIGINT, user: STRING, price: "DECIMAL(10, 2)", place: "ROW<city STRING, zip INT>", at: TIMESTAMP(3) NOT NULL }
  event_time: { column: at, out_of_order: 5s }
steps:
  - pattern: { name: rising, by: [user, place.city], define: { UP: "price > LAST(UP.price, 1) OR COUNT(UP.*) = 1", END: END.price < UP.price }, sequence: "START UP{2,5} (END | X Y?)+? Z", within: 1h, skip: { to_last: UP }, late: { to: too_late }, select: { user_id: START.id, total: SUM(UP.price) FILTER (WHERE UP.id > 1), second: "FIRST(UP.place.zip, 1)", all: COUNT(*), zip: Z.place.zip } }
  - pattern: { name: pairs, define: { A: A.total > 10 }, sequence: A B, skip: to_next_row, select: { a: A.user, b: LAST(B.user) } }
sink:
  file: { path: out.ndjson }
  format: json
sinks:
  late: { from: too_late, blackhole: }
"#;

/// A graph: sources in CSV with every option of it, tables, lookups of each kind, joins of each kind, a route and a union.
const JOINED: &str = r#"millstream: 1
name: joined
params: { least: { type: "DECIMAL(10, 2)", default: 1.50 } }
tables:
  customers:
    file: { path: customers.csv, watch: false }
    format: { csv: { header: true, delimiter: ";", quote: "'", null: NA } }
    schema: { id: BIGINT NOT NULL, since: TIMESTAMP(3), segment: STRING }
    key: id
    versions: { from: since }
  rates:
    file: { path: rates.ndjson }
    format: json
    schema: { country: STRING, day: DATE, rate: DOUBLE }
    key: [country, day]
sources:
  orders:
    file: { path: "orders-*.csv" }
    format: { csv: { header: false, delimiter: "\t", null: "\\N", multiline: true } }
    schema: { id: BIGINT, customer: BIGINT, country: STRING, amount: "DECIMAL(10, 2)", at: TIMESTAMP(3) NOT NULL }
    event_time: { column: at, out_of_order: 1s }
  payments:
    file: { path: payments.csv }
    format: csv
    schema: { order_id: INT, paid: "DECIMAL(10, 2)", at: TIMESTAMP(3) NOT NULL }
    event_time: { column: at }
streams:
  enriched:
    from: orders
    steps:
      - lookup: { table: customers, match: customers.id = customer, kind: left, as_of: event_time }
      - lookup: { table: rates, match: "UPPER(country) = rates.country AND rates.day = CAST(at AS DATE)" }
      - route: { cases: { large: "amount > :least", small: amount > 0 }, otherwise: rest }
  paid:
    from: { o: enriched.large, p: payments }
    steps:
      - join: { name: paid, kind: left, match: o.id = p.order_id AND o.amount >= p.paid, within: p.at BETWEEN o.at - INTERVAL '1' MINUTE AND o.at + INTERVAL '1' HOUR }
      - aggregate: { name: hours, by: { segment: o.customers.segment }, window: { tumbling: 1h }, select: { n: COUNT(*), open: COUNT(*) FILTER (WHERE p IS NULL) } }
  totals:
    from: payments
    steps:
      - aggregate: { name: totals, by: order_id, select: { total: SUM(paid) } }
  settled:
    from: { o: enriched.small, t: totals }
    steps:
      - join: { name: settled, kind: full, match: o.id = t.order_id }
      - select: { id: "COALESCE(o.id, t.order_id)", total: t.total }
  unpaid:
    from: { o: enriched.rest, p: payments }
    steps:
      - join: { name: unpaid, kind: anti, match: o.id = p.order_id, ttl: 1d }
      - select: { id: o.id, total: "CAST(o.amount AS DECIMAL(38, 2))" }
  all: { from: [settled, unpaid] }
sinks:
  paid: { from: paid, files: { path: paid, partition_by: { segment: segment, n: n / 10 } }, format: { csv: { delimiter: "|", header: false } } }
  all: { from: all, file: { path: all.ndjson, changelog: upsert, upsert_by: id }, format: json }
"#;

/// Words that mean something in a pipeline file, to be put where they do not belong.
const WORDS: &[&str] = &[
    "filter",
    "select",
    "aggregate",
    "explode",
    "dedupe",
    "top",
    "over",
    "pattern",
    "sequence",
    "define",
    "UP{2,}?",
    "(START | UP)*",
    "UP.*",
    "LAST(price, 1)",
    "throttle",
    "sample",
    "window",
    "tumbling",
    "sliding",
    "cumulative",
    "session",
    "rows",
    "range",
    "every",
    "processing",
    "late",
    "allow",
    "to",
    "ttl",
    "within",
    "keep",
    "rank",
    "order",
    "per",
    "window_end",
    "changelog",
    "debezium",
    "upsert",
    "final",
    "upsert_by",
    "sinks",
    "memory",
    "by",
    "source",
    "sink",
    "json",
    "schema",
    "file",
    "NULL",
    "BIGINT",
    "ROW<a INT>",
    "ARRAY<>",
    "COUNT(*)",
    "SUM(",
    "COUNT(DISTINCT ",
    "ARRAY_AGG(",
    "FILTER (WHERE ",
    " OVER (",
    " DESC NULLS FIRST,",
    "PERCENTILE(",
    "(((((((((",
    "'",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ": ",
    "- ",
    "#",
    "|",
    ">",
    "&a",
    "*a",
    "!!int",
    "<<",
    "${X",
    "${X:-1}",
    "${X:?no}",
    "$$",
    "0",
    "-1",
    "1e999",
    "99999999999999999999999999999999999999999",
    "0.1",
    "10s",
    "9999999999d",
    "1%",
    "é",
    "\u{1F600}",
    "\u{feff}",
    "\u{0}",
    "\t",
    "\r\n",
    "\n",
    "---",
    "...",
    "CASE WHEN",
    "CAST(1 AS",
    "INTERVAL '1' DAY",
    "DATE '2026-13-01'",
    "a.b.c",
    "a[0]",
    "`x`",
    "--",
    "/*",
    "join",
    "kind",
    "left",
    "full",
    "semi",
    "anti",
    "match",
    "a.id = b.id",
    "b.at BETWEEN a.at AND a.at + INTERVAL '5' SECOND",
    "lookup",
    "table",
    "tables",
    "as_of",
    "event_time",
    "versions",
    "key",
    "watch",
    "streams",
    "sources",
    "from",
    "{ a: orders, b: payments }",
    "route",
    "cases",
    "otherwise",
    "partition_by",
    "csv",
    "header",
    "delimiter",
    "quote",
    "multiline",
    "\"\\t\"",
    ":least",
    "UNNEST",
    "RAND()",
    "NOW()",
    "LIKE '%'",
    "TIMESTAMP(12)",
    "DECIMAL(99, 98)",
];

fn corpus() -> Vec<String> {
    let mut texts = [ALL_VERBS, KEYED, RUNNING, PATTERNS, JOINED, GENERATOR].map(str::to_owned).to_vec();
    for folder in ["pipelines", "pipelines/nexmark"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut paths: Vec<_> =
            fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        let files = paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        texts.extend(files.map(|path| fs::read_to_string(path).expect("a pipeline")));
    }
    for verb in VERBS {
        let written = format!("  - {}: ", verb.name);
        assert!(texts.iter().any(|text| text.contains(&written)), "no pipeline has `{}`", verb.name);
    }
    texts
}

/// Calls `check` with every number; a panic fails the test with the numbers that led to one.
fn every(count: u64, check: impl Fn(u64)) {
    let only = std::env::var("FUZZ_SEED").ok().map(|seed| seed.parse::<u64>().expect("a number"));
    let count = std::env::var("FUZZ_COUNT").map_or(count, |count| count.parse::<u64>().expect("a number"));
    let seeds = only.map_or(0..count, |seed| seed..seed + 1);
    let failed: Vec<u64> =
        seeds.filter(|seed| catch_unwind(AssertUnwindSafe(|| check(*seed))).is_err()).collect();
    assert!(failed.is_empty(), "run with FUZZ_SEED={} (of {failed:?})", failed[0]);
}

/// A stretch of a text that means something by itself: a word, a line, or any.
fn stretch(bytes: &[u8], random: &mut Rng) -> std::ops::Range<usize> {
    if bytes.is_empty() {
        return 0..0;
    }
    let at = random.usize(0..bytes.len());
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let grow = |inside: &dyn Fn(u8) -> bool| {
        let start = bytes[..at].iter().rposition(|byte| !inside(*byte)).map_or(0, |before| before + 1);
        let end =
            bytes[at..].iter().position(|byte| !inside(*byte)).map_or(bytes.len(), |length| at + length);
        start..end
    };
    match random.u8(0..3) {
        0 => grow(&is_word),
        1 => grow(&|byte| byte != b'\n'),
        _ => at..bytes.len().min(at + random.usize(0..20)),
    }
}

fn damage(bytes: &mut Vec<u8>, words: &[&str], random: &mut Rng) {
    let range = stretch(bytes, random);
    match random.u8(0..7) {
        0 if !bytes.is_empty() => {
            let at = random.usize(0..bytes.len());
            bytes[at] = random.u8(..);
        }
        1 => drop(bytes.drain(range)),
        2 | 3 => {
            let word = words[random.usize(0..words.len())];
            drop(bytes.splice(range, word.bytes()));
        }
        4 => {
            // One stretch in the place of another.
            let other = bytes[stretch(bytes, random)].to_vec();
            drop(bytes.splice(range, other));
        }
        5 => {
            let copy = bytes[range.clone()].to_vec();
            drop(bytes.splice(range.start..range.start, copy));
        }
        _ if random.u8(0..10) == 0 => bytes.truncate(range.start),
        _ => {
            let word = words[random.usize(0..words.len())];
            drop(bytes.splice(range.start..range.start, word.bytes()));
        }
    }
}

/// Reads and plans a file, and looks at every problem. Whether there was none.
fn read_and_plan(bytes: &[u8]) -> bool {
    let environment = BTreeMap::new();
    let outcome = config::read("fuzz.yaml", bytes, &[], &environment);
    let mut problems = outcome.problems;
    let planned = outcome.pipeline.and_then(|pipeline| plan(&pipeline, &mut problems));
    for problem in problems.all() {
        let (start, end) = (problem.at.start as usize, problem.at.end as usize);
        let text = outcome.documents.text(problem.at.document);
        assert!(start <= end && end <= text.len(), "{problem:?} is not inside of {} bytes", text.len());
        assert!(text.is_char_boundary(start) && text.is_char_boundary(end), "{problem:?} cuts a character");
        assert!(!problem.what.is_empty());
    }
    let shown = render(&outcome.documents, &problems, false);
    assert_eq!(shown.is_empty(), problems.all().is_empty());
    // The others show the same problems, each once.
    let lines = render_json(&outcome.documents, &problems).lines().count();
    assert_eq!(render_github(&outcome.documents, &problems).lines().count(), lines);
    assert!(lines <= problems.all().len());
    if let Some(plan) = &planned {
        assert!(explain(plan).starts_with("pipeline "));
    }
    assert!(planned.is_some() || !problems.all().is_empty(), "it is refused without a word");
    planned.is_some() && !problems.has_errors()
}

#[test]
fn pipeline_files() {
    let corpus = corpus();
    for text in &corpus {
        assert!(read_and_plan(text.as_bytes()), "an undamaged file plans:\n{text}");
    }
    every(FILES, |seed| {
        let mut random = Rng::with_seed(seed);
        let mut bytes = corpus[random.usize(0..corpus.len())].clone().into_bytes();
        for _ in 0..random.usize(1..5) {
            damage(&mut bytes, WORDS, &mut random);
        }
        read_and_plan(&bytes);
    });
}

/// Schemas that records are decoded with: Nexmark's, and one with every type.
fn schemas() -> Vec<Schema> {
    let schema = |columns: &[(&str, &str)]| {
        let column = |(name, text): &(&str, &str)| {
            let (data_type, nullable) = parse_type(text).unwrap_or_else(|_| panic!("{text} is a type"));
            Column::new(*name, data_type, nullable)
        };
        Schema::new(columns.iter().map(column).collect())
    };
    vec![
        schema(&[
            ("event_type", "INT NOT NULL"),
            ("person", "ROW<id BIGINT, name STRING, dateTime TIMESTAMP(3), extra STRING>"),
            ("auction", "ROW<id BIGINT, itemName STRING, initialBid BIGINT, dateTime TIMESTAMP(3)>"),
            ("bid", "ROW<auction BIGINT, bidder BIGINT, price BIGINT, url STRING, dateTime TIMESTAMP(3)>"),
        ]),
        schema(&[
            ("a", "BOOLEAN"),
            ("b", "TINYINT"),
            ("c", "FLOAT"),
            ("d", "DECIMAL(10, 2)"),
            ("e", "BYTES"),
            ("f", "DATE"),
            ("g", "TIME"),
            ("h", "TIMESTAMP_LTZ(6)"),
            ("i", "ARRAY<ROW<x INT, y ARRAY<STRING>>>"),
            ("j", "MAP<STRING, DOUBLE>"),
            ("k", "STRING NOT NULL"),
        ]),
    ]
}

const RECORD_WORDS: &[&str] = &[
    "null",
    "true",
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "\\",
    "\\u",
    "\\ud83d",
    "\\udc00\\ud83d",
    "\\u0000",
    "1e400",
    "-0",
    "00",
    "0.1e-999",
    "18446744073709551616",
    "-9223372036854775809",
    "\n",
    "\r",
    "\t",
    "\u{0}",
    "\u{feff}",
    "\"bid\":",
    "\"event_type\":2,",
    "\"price\":",
    "é",
    "\u{1F600}",
    "[[[[[[[[[[[[[[[[[[[[",
    "{\"a\":",
    "\"k\":\"\"",
    "2026-02-30T25:00:00",
    "NaN",
    "Infinity",
    "//",
    "/*",
];

const RECORDS_OF_ALL: &str = r#"{"event_type":2,"bid":{"auction":1010,"bidder":2001,"price":513916,"channel":"channel-4929","url":"https://example.com/?a=1&b=%20","dateTime":"2015-07-15T00:00:00.000","extra":"a\"b\\c\u00e9"}}
{"event_type":0,"person":{"id":1000,"name":"vicky","dateTime":"2015-07-15T00:00:00.005","extra":"é 😀"},"bid":null}
{"event_type":1,"auction":{"id":1,"itemName":"pc","initialBid":-5,"dateTime":"2015-07-15T00:00:00"}}
{"a":true,"b":-128,"c":1.5e-3,"d":"12345678.90","e":"AAEC","f":"2026-02-28","g":"23:59:59","h":"2026-01-01T00:00:00.000001Z","i":[{"x":1,"y":["a",null]},null],"j":{"p":1,"q":2.5},"k":"x"}
{ "k" : "y" , "j" : {} , "i" : [] , "d" : 0.10 }
"#;

#[test]
fn records() {
    let schemas = schemas();
    let decode = |bytes: &[u8], schema: &Schema| {
        let mut spans = Vec::new();
        frame_lines(bytes, &mut spans);
        let mut rejected = Vec::new();
        let mut decoder = json::decoder(schema);
        // Twice, because the decoder remembers what the last records looked like.
        for _ in 0..2 {
            rejected.clear();
            let rows = decoder.decode(bytes, &spans, &mut rejected);
            assert_eq!(rows.num_rows() + rejected.len(), spans.len(), "each record is a row or is rejected");
            assert!(rejected.iter().all(|rejected| !rejected.reason.is_empty()));
            assert!(rejected.windows(2).all(|pair| pair[0].record < pair[1].record), "in order, each once");
            // What has been decoded can be written, as lines that can be read again.
            let mut out = Vec::new();
            json::encoder(schema).encode(&rows, &mut out);
            let text = std::str::from_utf8(&out).expect("rows are written as UTF-8");
            assert_eq!(text.lines().count(), rows.num_rows());
        }
        rejected.len()
    };
    assert_eq!(decode(RECORDS_OF_ALL.as_bytes(), &schemas[0]), 2, "the others are no events");
    assert_eq!(decode(RECORDS_OF_ALL.as_bytes(), &schemas[1]), 3, "the events have no `k`");
    every(RECORDS, |seed| {
        let mut random = Rng::with_seed(seed);
        let mut bytes = RECORDS_OF_ALL.as_bytes().to_vec();
        for _ in 0..random.usize(1..12) {
            damage(&mut bytes, RECORD_WORDS, &mut random);
        }
        for schema in &schemas {
            decode(&bytes, schema);
        }
    });
}
