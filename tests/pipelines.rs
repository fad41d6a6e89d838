//! The pipelines that a newcomer tries first: they need no input, and what they write has the properties that they are
//! about. Their rows are made up by the clock, a tenth of a second's worth here.

use std::collections::BTreeMap;

use serde_json::Value;

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Scene, end, repository};

/// The rows that a pipeline writes to standard output.
fn rows(name: &str) -> Vec<Value> {
    let scene = Scene::new();
    let file = repository(&format!("pipelines/{name}.yaml"));
    let file = file.to_str().expect("UTF-8");
    let fast = ["--set", "source.generator.rows=20000", "--set", "source.generator.rate=200000 per 1s"];
    let arguments = [&["run", file, "--state-dir", "state"], fast.as_slice()].concat();
    let ended = end(&mut scene.program(&arguments));
    assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
    assert!(ended.stderr.contains("20,000 rows in, "), "{name}: {}", ended.stderr);
    let checked = end(&mut scene.program(&["check", file]));
    assert_eq!(checked.code, Some(0), "{name}: {}", checked.stderr);
    assert!(!(checked.stderr + &checked.stdout).contains("warning"), "{name} is an example");
    ended.stdout.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

fn text(row: &Value, column: &str) -> String {
    row[column].as_str().unwrap_or_else(|| panic!("{column} of {row}")).to_owned()
}

fn number(row: &Value, column: &str) -> f64 {
    row[column].as_f64().unwrap_or_else(|| panic!("{column} of {row}"))
}

#[test]
fn quickstart() {
    let rows = rows("quickstart");
    let orders: f64 = rows.iter().map(|row| number(row, "orders")).sum();
    assert!((17_000.0..19_000.0).contains(&orders), "nine in ten are paid: {orders}");
    assert!(rows.iter().all(|row| ["DE", "FR", "PL"].contains(&text(row, "country").as_str())));
}

#[test]
fn leaders() {
    let mut windows: BTreeMap<String, BTreeMap<u64, f64>> = BTreeMap::new();
    for row in rows("leaders") {
        let place = row["place"].as_u64().expect("a place");
        let before =
            windows.entry(text(&row, "window_start")).or_default().insert(place, number(&row, "total"));
        assert_eq!(before, None, "{row}");
    }
    assert!(!windows.is_empty());
    for (window, places) in windows {
        assert!(places.keys().copied().eq(1..=3), "{window}: {places:?}");
        assert!(places.values().is_sorted_by(|higher, lower| higher >= lower), "{window}: {places:?}");
    }
}

#[test]
fn alerts() {
    let rows = rows("alerts");
    // Some 20 of 20,000 are far off, and every sensor may alert once in three seconds.
    assert!((1..=20).contains(&rows.len()), "{} alerts", rows.len());
    for row in rows {
        assert!(number(&row, "celsius") > 2.0 * number(&row, "mean"), "{row}");
        assert!(number(&row, "measured") >= 50.0, "{row}");
    }
}
