//! Whole files: what is read from them, what is told of wrong ones, and that no mangled file breaks the reader.

use std::collections::BTreeMap;

use super::*;
use crate::record::SqlType;
use crate::yaml::{NoEnvironment, render, render_github, render_json};

const LINE_FORM: &str = r#"millstream: 1
name: user-spend
source:
  file: { path: "${INPUT:-payments.ndjson}" }
  format: { json: { strict: true } }
  schema:
    user_id: STRING NOT NULL
    amount: "DECIMAL(12, 2) NOT NULL"
    paid_at: TIMESTAMP_LTZ(3)
  event_time: { column: paid_at, out_of_order: 5s, max_future: 5m }
  bad_record: { stop_above: 5% per 1m, limit: 64MiB }
steps:
  - filter: status = 'paid' AND amount > 0
  - aggregate:
      name: spend_1m
      by: user_id
      window: { sliding: 1m, every: 10s }
      select:
        total: SUM(amount)
        payments: COUNT(*)
sink:
  file: { path: spend.ndjson }
  format: json
run: { cores: 4, state_dir: state, time_zone: UTC, snapshot: { every: 5s, keep: 7 } }
"#;

fn environment() -> BTreeMap<String, String> {
    BTreeMap::from([("INPUT".to_owned(), "in.ndjson".to_owned())])
}

#[test]
fn a_file_is_read_whole() {
    let Outcome { pipeline, problems, documents } =
        read("a.yaml", LINE_FORM.as_bytes(), &["run.cores=2".to_owned()], &environment());
    assert_eq!(render(&documents, &problems, false), "");
    let Pipeline { name, form, mut sources, tables, mut streams, mut sinks, run } =
        pipeline.expect("no errors");
    assert_eq!((name.value.as_str(), form), ("user-spend", Form::Line));
    let ((_, source), stream, main) = (sources.remove(0), streams.remove(0), sinks.remove(0));
    let (steps, sink) = (stream.steps, main.sink);
    assert!(sources.is_empty() && streams.is_empty() && tables.is_empty());
    let names = |from: &Inputs| from.names().map(|name| name.value.clone()).collect::<Vec<_>>();
    assert_eq!(
        (names(&stream.from), names(&main.from)),
        (vec!["source".to_owned()], vec!["steps".to_owned()])
    );
    assert_eq!(source.component.kind.text, "file");
    assert_eq!(source.component.options.map().expect("a map")[0].1.text(), Some("in.ndjson"));
    let format = source.format.expect("declared");
    assert_eq!((format.kind.text.as_str(), format.options.map().map(<[_]>::len)), ("json", Some(1)));
    let columns: Vec<String> = source
        .schema
        .expect("declared")
        .columns
        .iter()
        .map(|c| format!("{} {} {}", c.column.name, c.column.data_type, c.column.nullable))
        .collect();
    assert_eq!(
        columns,
        ["user_id STRING false", "amount DECIMAL(12, 2) false", "paid_at TIMESTAMP_LTZ(3) true"]
    );
    let event_time = source.event_time.expect("declared");
    assert_eq!(event_time.column.expression(), Some("paid_at"));
    assert_eq!((event_time.out_of_order_ms, event_time.idle_after_ms), (5000, 30_000));
    assert_eq!(event_time.max_future_ms, Some(300_000));
    assert_eq!(source.bad_record.limit_bytes, 64 << 20);
    assert_eq!(source.bad_record.stop_above.map(|rate| rate.per_ms), Some(60_000));
    let verbs: Vec<&str> = steps.list.iter().map(|step| step.verb.text.as_str()).collect();
    assert_eq!((verbs, steps.complete), (vec!["filter", "aggregate"], true));
    assert_eq!(steps.list[0].options.expression(), Some("status = 'paid' AND amount > 0"));
    assert_eq!(sink.format.map(|format| format.options.is_null()), Some(true));
    assert!(sinks.is_empty());
    let snapshot = Snapshot { every_ms: 5000, keep: 7, ..Snapshot::default() };
    assert_eq!(
        run,
        Run { cores: Some(2), state_dir: Some("state".to_owned()), memory_bytes: None, snapshot }
    );
}

#[test]
fn defaults_hold_where_nothing_is_said() {
    let text = "{ millstream: 1, name: n, source: { stdin: }, sink: { stdout: } }";
    let Outcome { pipeline, problems, .. } = read("a.yaml", text.as_bytes(), &[], &NoEnvironment);
    assert!(problems.all().is_empty(), "{:?}", problems.all());
    let pipeline = pipeline.expect("no errors");
    let source = &pipeline.sources[0].1;
    assert_eq!(source.bad_record, BadRecord::default());
    assert_eq!(pipeline.run, Run::default());
    assert!(source.schema.is_none() && source.event_time.is_none());
    let steps = &pipeline.streams[0].steps;
    assert!(steps.list.is_empty() && steps.complete);
}

/// Checks what is told of the sample with one part replaced: each problem's marked source and a part of its words.
fn check(part: &str, instead: &str, expect: &[(&str, &str)]) -> Option<Pipeline> {
    assert!(LINE_FORM.contains(part), "{part}");
    let text = LINE_FORM.replacen(part, instead, 1);
    let outcome = read("a.yaml", text.as_bytes(), &[], &environment());
    let all = outcome.problems.all();
    assert_eq!(all.len(), expect.len(), "{instead}: {all:?}");
    for (problem, (marked, what)) in all.iter().zip(expect) {
        assert_eq!(
            &text[problem.at.start as usize..problem.at.end as usize],
            *marked,
            "{instead}: {}",
            problem.what
        );
        let told = format!("{} / {}", problem.what, problem.help.as_deref().unwrap_or(""));
        assert!(told.contains(what), "{instead}: {told}");
    }
    outcome.pipeline
}

#[test]
fn mistakes_are_told_at_their_place() {
    check("millstream: 1", "millstream: 2", &[("2", "version 1")]);
    check("name: user-spend", "name: a/b", &[("a/b", "cannot contain `/`")]);
    check("name: user-spend", "name: ..", &[("..", "begins with a letter or a digit")]);
    check("  file: { path: \"", "  fil: { path: \"", &[]);
    check("  schema:", "  schem:", &[("schem", "did you mean `schema`?")]);
    check("STRING NOT NULL", "STRNG NOT NULL", &[("STRNG", "did you mean STRING?")]);
    check("DECIMAL(12, 2) NOT", "DECIMAL(50, 2) NOT", &[("DECIMAL(50, 2)", "1 ≤ p ≤ 38")]);
    check("TIMESTAMP_LTZ(3)", "{ a: INT }", &[("{ a: INT }", "ROW<name TYPE")]);
    check("out_of_order: 5s", "out_of_order: 5", &[("5", "number and a unit")]);
    check("column: paid_at, ", "", &[("event_time", "needs `column`")]);
    check("{ column: paid_at, out_of_order: 5s, max_future: 5m }", "at", &[("at", "{ column: at }")]);
    check("limit: 64MiB", "limit: 64MiB, to: [x]", &[("[x]", "takes text")]);
    check("{ stop_above: 5% per 1m, limit: 64MiB }", "drop", &[("drop", "`quarantine`, `fail`")]);
    check("- filter:", "- limit:\n    count: 5\n  - filter:", &[("count", "indent the options")]);
    check("- filter:", "- limit: 5\n    drop: a\n  - filter:", &[("drop", "one verb")]);
    check("- filter:", "- now\n  - filter:", &[("now", "write `- now: …`")]);
    check("- filter:", "-\n  - filter:", &[("", "not nothing")]);
    check("cores: 4", "cores: 0", &[("0", "from 1 to 1024")]);
    check("time_zone: UTC", "time_zone: CET", &[("CET", "only `UTC`")]);
    check("state_dir: state", "memory: 8GiB", &[]);
    check("state_dir: state", "memory: 8", &[("8", "number and a unit")]);
    check("state_dir: state", "memory: 0B", &[("0B", "0 is nothing")]);
    check("state_dir: state", "state_dir: \"${HOME_X}\"", &[("${HOME_X}", "not set")]);
    check("run: {", "rn: 1\nrun: {", &[("rn", "did you mean `run`?")]);
    check("run: {", "tests: []\nrun: {", &[("tests", "does not run the tests")]);
    check("run: {", "params: {}\nrun: {", &[]);
    check("run: {", "params: 3\nrun: {", &[("3", "a map of names")]);
    check("run: {", "params: { a: { type: INT } }\nrun: {", &[("a", "has no value")]);
    check("run: {", "params: { a: { type: INT, default: x } }\nrun: {", &[("x", "`x` is no INT")]);
    check("run: {", "params: { a: { type: INTT, default: 1 } }\nrun: {", &[("INTT", "did you mean INT")]);
    check(
        "run: {",
        "params: { a-b: { type: INT, default: 1 } }\nrun: {",
        &[("a-b", "no name for a parameter")],
    );
    check(
        "run: {",
        "params: { a: { type: ARRAY<INT>, default: 1 } }\nrun: {",
        &[("ARRAY<INT>", "one value")],
    );
    check("sink:\n", "sinks:\n  late: { from: late, stdout: }\nsink:\n", &[]);
    check("sink:\n", "sinks: late\nsink:\n", &[("late", "a map of names to sinks")]);
    check("sink:\n", "sinks: { late: { stdout: } }\nsink:\n", &[("late", "needs `from`")]);
    check(
        "sink:\n",
        "streams: {}\nsink:\n",
        &[
            ("source", "put it under `sources`"),
            ("steps", "put it under `streams`"),
            ("sink", "put it under `sinks`"),
        ],
    );
    check("sink:\n", "snk:\n", &[("snk", "did you mean `sink`?")]);
    check("  format: json", "  format: [json]", &[("[json]", "takes a name")]);
    check("  format: json", "  path: json", &[("path", "indent it under it")]);
}

#[test]
fn a_mistake_does_not_hide_the_rest() {
    let pipeline = check("STRING NOT NULL", "STRNG", &[("STRNG", "STRING")]).expect("the rest is there");
    let schema = pipeline.sources[0].1.schema.as_ref().expect("declared");
    assert_eq!(schema.columns[0].column.data_type, SqlType::Null);
    let pipeline = check("- aggregate:", "- 'a'\n  - aggregate:", &[("'a'", "a step")]).expect("the rest");
    let steps = &pipeline.streams[0].steps;
    assert_eq!((steps.list.len(), steps.complete), (1, false));
}

#[test]
fn without_an_environment_nothing_is_missing() {
    let text = "{ millstream: 1, name: \"${N}\", source: { stdin: }, sink: { stdout: , format: \"${F}\" },\n\
                run: { cores: \"${C}\", state_dir: \"${D:?where}\" } }";
    let Outcome { pipeline, problems, .. } = read("a.yaml", text.as_bytes(), &[], &NoEnvironment);
    assert!(problems.all().is_empty(), "{:?}", problems.all());
    let pipeline = pipeline.expect("no errors");
    assert_eq!((pipeline.name.value.as_str(), pipeline.run), ("${N}", Run::default()));
    let with = read("a.yaml", text.as_bytes(), &[], &environment());
    assert_eq!(with.problems.all().len(), 3, "{:?}", with.problems.all());
}

#[test]
fn things_that_are_no_pipeline() {
    for (bytes, expect) in [
        (&b""[..], "the file is empty"),
        (b"# nothing\n", "the file is empty"),
        (b"- a\n- b\n", "not a list"),
        (b"hello world\n", "not text"),
        (b"~\n", "not nothing"),
        (b"\x7fELF\x02\x01\x01\x00\xff\xfe", "not UTF-8"),
        (b"PK\x03\x04", "U+0003"),
    ] {
        let outcome = read("a.yaml", bytes, &["run.cores=1".to_owned()], &NoEnvironment);
        assert!(outcome.pipeline.is_none());
        let [problem] = outcome.problems.all() else { panic!("{expect}: {:?}", outcome.problems.all()) };
        assert!(problem.what.contains(expect), "{}", problem.what);
    }
}

/// Mangles a text in a few places: removes, repeats, swaps or inserts pieces.
fn mangle(text: &str, random: &mut fastrand::Rng) -> Vec<u8> {
    const PIECES: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        "<",
        ">",
        "\"",
        "'",
        ":",
        ": ",
        ",",
        "- ",
        "\n",
        "\n  ",
        "\t",
        "#",
        " #",
        "&a ",
        "*a",
        "!t ",
        "|\n",
        ">-\n",
        "${",
        "${X}",
        "${X:?}",
        "$$",
        "---\n",
        "...\n",
        "%",
        "é",
        "\u{1F600}",
        "\r\n",
        "\\",
        "~",
        "null",
        "? ",
        "<<: ",
        "\u{feff}",
        "\u{2028}",
        "\0",
        "DECIMAL(12, 2)",
        "ROW<a INT, b INT>",
    ];
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..random.usize(1..6) {
        let from = random.usize(0..=bytes.len());
        let to = (from + random.usize(0..12)).min(bytes.len());
        match random.u8(0..5) {
            0 => drop(bytes.drain(from..to)),
            1 => {
                let piece = bytes[from..to].to_vec();
                let at = random.usize(0..=bytes.len());
                bytes.splice(at..at, piece);
            }
            2 => bytes.truncate(bytes.len() - random.usize(0..=bytes.len().min(20))),
            3 if !bytes.is_empty() => {
                let at = random.usize(0..bytes.len());
                bytes[at] = random.u8(..);
            }
            _ => {
                let piece = PIECES[random.usize(0..PIECES.len())];
                bytes.splice(from..from, piece.bytes());
            }
        }
    }
    bytes
}

const GRAPH_FORM: &str = r#"millstream: 1
name: http-events
params:
  big_order: { type: "DECIMAL(12, 2)", default: 500 }
sources:
  api:
    http_server: { listen: 127.0.0.1:8080, auth: { bearer: "${secret:token}" } }
    schema: { event_id: STRING NOT NULL, ämount: DECIMAL(12, 2), at: TIMESTAMP_LTZ(3) }
streams:
  events:
    from: api
    steps:
      - route: { cases: { orders: type IN ('a', 'b'), other: x = 'ü' } }
sinks:
  alerts: { from: events.orders, http_client: { url: "${ALERT_URL:?set ALERT_URL}", rate_limit: 20 per 1s } }
run: { cores: all, snapshot: { every: 10s, keep: 3 }, memory: 8GiB }
"#;

const TEXTS: &str = r#"millstream: 1
name: "texts"
source:
  files: &shared
    paths: [/var/log/*.log, 'it''s', "tab\there \u00e9 \
      folded"]
  format: { regex: '^(?<at>\S+) (?<user>\S+)$' }
  schema: { a: "ROW<x INT, `y z` ARRAY<STRNG>>", b: MAP<STRING, DECIMAL(3, 1)> }
  bad_record: quarantine
steps:
  - filter: |
      a = 'x'
        AND b > ${N}
  - select:
      c: >-
        COALESCE(a,
        b)
  - drop: [a, f(b, c)]
sink:
  files: *shared
"#;

const SMALL: &str =
    "{ millstream: 1, name: é, source: { stdin: }, steps: [ { filter: f(a, b) } ], sink: { stdout: } }";

#[test]
fn no_mangled_file_breaks_the_reader() {
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..6000 {
        let text = [LINE_FORM, GRAPH_FORM, TEXTS, SMALL][round / 2 % 4];
        let bytes = mangle(text, &mut random);
        let overrides: &[String] =
            if round % 3 == 0 { &["steps.0={ filter: f(a, b) }".to_owned()] } else { &[] };
        let environments: [&dyn Environment; 2] = [&environment(), &NoEnvironment];
        let Outcome { documents, pipeline, problems } =
            read("a.yaml", &bytes, overrides, environments[round % 2]);
        for problem in problems.all() {
            let Place { document, start, end } = problem.at;
            let text = documents.text(document);
            let inside = start <= end && text.get(start as usize..end as usize).is_some();
            assert!(inside, "round {round}: {problem:?} in {text:?}");
        }
        assert!(pipeline.is_some() || problems.has_errors(), "round {round}: {:?}", documents.text(0));
        if !problems.all().is_empty() {
            let shown = render(&documents, &problems, false);
            assert!(shown.contains("error") || shown.contains("warning"));
            assert!(!render_json(&documents, &problems).is_empty());
            assert!(!render_github(&documents, &problems).is_empty());
        }
    }
}
