//! Nexmark's queries through the built program, held against rows that Flink has made of the same events
//! (tests/reference/golden, remade by scripts/flink-golden): in order, shuffled within the watermark, late, with ties,
//! NULLs and ends of windows wherever they can be, with texts, hours and prices of all kinds, and with ids that are few,
//! shared or NULL.

use std::fs;

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use crate::scene::{Scene, end, repository, sorted};
use crate::{generate, late_pipeline, output_of, query_text, reference, rows_of, table};

/// What the golden rows hold, and the query it is an output of; `late_` is what that drops.
const OUTPUTS: &[(&str, &str)] = &[
    ("q0", "q0"),
    ("q1", "q1"),
    ("q2", "q2"),
    ("q5", "q5"),
    ("q7", "q7"),
    ("q10", "q10"),
    ("q11", "q11"),
    ("q13", "q13"),
    ("q14", "q14"),
    ("q15", "q15"),
    ("q16", "q16"),
    ("q17", "q17"),
    ("q18", "q18"),
    ("q19", "q19"),
    ("q21", "q21"),
    ("q22", "q22"),
    ("qt", "qt"),
    ("late_q5", "q5"),
    ("late_q7", "q7"),
    ("late_q11", "q11"),
    ("late_qt", "qt"),
];

/// Those of the queries that need persons and auctions, too.
const JOIN_OUTPUTS: &[(&str, &str)] =
    &[("q3", "q3"), ("q4", "q4"), ("q8", "q8"), ("q9", "q9"), ("q20", "q20"), ("q23", "q23")];

/// Those of the set that is about single bids.
const TEXT_OUTPUTS: &[(&str, &str)] = &[("q10", "q10"), ("q14", "q14"), ("q21", "q21"), ("q22", "q22")];

const SHARDS: &[&str] = &["1", "3"];

fn golden(name: &str) -> String {
    let path = repository(&format!("tests/reference/golden/{name}"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The bid of a late row where the step has whole events as its input, and else the row itself.
fn bid(row: &str) -> &str {
    row.strip_prefix(r#"{"event_type":2,"person":null,"auction":null,"bid":"#)
        .and_then(|rest| rest.strip_suffix('}'))
        .unwrap_or(row)
}

/// The sorted rows of an output.
fn output(scene: &Scene, name: &str, query: &str, shards: &str) -> Result<String, String> {
    let late = name.starts_with("late_");
    let text = if late { late_pipeline(query) } else { query_text(query) };
    let output = output_of(scene, query);
    let mut command = scene.pipeline(&text, &["--cores", shards]);
    command
        .env("NEXMARK_INPUT", "in.ndjson")
        .env("NEXMARK_TABLE", table(scene))
        .env("NEXMARK_OUTPUT", output);
    let ended = end(&mut command);
    if ended.code != Some(0) {
        return Err(format!("it ends with {:?}: {}", ended.code, ended.stderr));
    }
    let text = rows_of(scene, if late { "late-out.ndjson" } else { output });
    let rows: String = text.lines().flat_map(|row| [if late { bid(row) } else { row }, "\n"]).collect();
    Ok(sorted(&rows).into_iter().flat_map(|row| [row, "\n"]).collect())
}

fn same(text: &str, digest: &Value) -> bool {
    let found = format!("{:032x}", xxh3_128(text.as_bytes()));
    digest["xxh3_128"] == found.as_str() && digest["rows"].as_u64() == Some(text.lines().count() as u64)
}

/// What is wrong with an output, if anything: the first row that differs where the golden rows are kept themselves.
fn difference(set: &str, name: &str, found: &str, expect: &Value) -> Option<String> {
    if same(found, expect) {
        return None;
    }
    let rows = found.lines().count();
    let kept = repository(&format!("tests/reference/golden/{set}/{name}.ndjson"));
    let Ok(kept) = fs::read_to_string(kept) else {
        return Some(format!("{rows} rows are not the {}; ask nexmark.py {name} --check", expect["rows"]));
    };
    let mut pairs = kept.lines().map(Some).chain([None]).zip(found.lines().map(Some).chain([None]));
    let (expect, found) = pairs.find(|(expect, found)| expect != found).unwrap_or_default();
    Some(format!("{rows} rows; the first that differs is {found:?}, Flink has {expect:?}"))
}

fn check(set: &str, outputs: &[(&str, &str)]) {
    let known: Value = serde_json::from_str(&golden(&format!("{set}.json"))).expect("a set");
    let scene = Scene::new();
    match known["generate"].as_array() {
        None => drop(scene.write("in.ndjson", golden(&format!("{set}.input.ndjson")))),
        Some(options) => {
            let options: Vec<&str> = options.iter().map(|option| option.as_str().expect("a text")).collect();
            generate(&scene, "in.ndjson", &options);
        }
    }
    assert!(same(&scene.read("in.ndjson"), &known["input"]), "{set}: the events are not those Flink had");
    let mut wrong = Vec::new();
    for (name, query) in outputs {
        let expect = &known["outputs"][name];
        assert!(expect.is_object(), "{set} has no {name}");
        for shards in SHARDS {
            let difference = match output(&scene, name, query, shards) {
                Ok(found) => difference(set, name, &found, expect),
                Err(failure) => Some(failure),
            };
            wrong.extend(difference.map(|what| format!("{name} on {shards} shards: {what}")));
        }
    }
    assert!(wrong.is_empty(), "{set}:\n{}", wrong.join("\n"));
}

#[test]
fn events_in_order() {
    check("in-order", OUTPUTS);
    check("in-order", JOIN_OUTPUTS);
}

#[test]
fn events_shuffled_within_the_watermark() {
    check("within-watermark", OUTPUTS);
    check("within-watermark", JOIN_OUTPUTS);
}

#[test]
fn events_of_which_many_are_late() {
    check("late", OUTPUTS);
    check("late", JOIN_OUTPUTS);
}

#[test]
fn ties_nulls_and_ends_of_windows() {
    check("ties", OUTPUTS);
}

#[test]
fn texts_hours_and_prices_of_all_kinds() {
    check("texts", TEXT_OUTPUTS);
}

#[test]
fn ids_that_are_few_shared_or_null() {
    check("joins", JOIN_OUTPUTS);
    // Flink has no rows of q6 to hold them against, so here it is the reference that has held for the others.
    let scene = Scene::new();
    scene.write("in.ndjson", golden("joins.input.ndjson"));
    for shards in SHARDS {
        let rows = output(&scene, "q6", "q6", shards).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(rows.lines().count() >= 10, "{rows}");
        reference(&scene, "q6", "in.ndjson", "out.ndjson", &[]);
    }
}
