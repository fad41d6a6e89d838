//! A pipeline's file is edited between two runs: what `plan` says of it, and what `run` makes of it.

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Ended, Scene, Watched, end};
use serde_json::Value;

/// So many rows are made, in about three seconds.
const ROWS: u64 = 6000;

fn pipeline() -> String {
    format!(
        "millstream: 1
name: scene
source:
  generator: {{ rows: {ROWS}, rate: 2000 per 1s, start: 2026-01-01T00:00:00Z, step: 10ms, columns: {{ n: n, user: n % 7 }} }}
steps:
  - aggregate:
      name: sums
      by: user
      window: {{ tumbling: 10s }}
      select: {{ rows: COUNT(*), total: SUM(n) }}
sink:
  file: {{ path: out.ndjson }}
  format: json
run: {{ cores: 2, snapshot: {{ every: 50ms }} }}
"
    )
}

fn plan(scene: &Scene, text: &str, arguments: &[&str]) -> Ended {
    let file = scene.write("pipeline.yaml", text);
    end(&mut scene.program(&[&["plan", &file, "--state-dir", "state"], arguments].concat()))
}

/// A scene in which a run has been drained before the end of its input.
fn drained() -> Scene {
    let scene = Scene::new();
    let mut running = Watched::start(&mut scene.pipeline(&pipeline(), &[]));
    let committed = || scene.names("state/snapshots").iter().any(|name| !name.contains('.'));
    running.until("a snapshot", committed);
    running.signal("TERM");
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    scene
}

/// How many rows there are in all windows together, and the sum of their numbers.
fn counted(scene: &Scene) -> (u64, u64) {
    let text = scene.read("out.ndjson");
    let windows = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let number = |window: &Value, name: &str| window[name].as_u64().unwrap_or(0);
    windows.fold((0, 0), |(rows, total), window| {
        (rows + number(&window, "rows"), total + number(&window, "total"))
    })
}

#[test]
fn without_a_snapshot_there_is_nothing_to_keep() {
    let scene = Scene::new();
    let ended = plan(&scene, &pipeline(), &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stdout.starts_with("there is no snapshot in state: a run starts afresh"),
        "{}",
        ended.stdout
    );
    assert!(!scene.exists("state"), "nothing is made");
    let ended = plan(&scene, &pipeline().replace("COUNT(*)", "COUNT(nothing)"), &[]);
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
}

#[test]
fn an_edit_that_keeps_the_state_loses_nothing() {
    let scene = drained();
    let edited = pipeline().replace("steps:\n", "steps:\n  - filter: n >= 0\n");
    let ended = plan(&scene, &edited, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for line in [
        "kept  aggregate `sums`\n",
        "note: `filter: n >= 0` is new, before aggregate `sums`",
        "a run goes on from snapshot",
    ] {
        assert!(ended.stdout.contains(line), "{line} in {}", ended.stdout);
    }
    let ended = scene.run(&edited, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("`filter: n >= 0` is new"), "{}", ended.stderr);
    assert_eq!(counted(&scene), (ROWS, ROWS * (ROWS - 1) / 2));
}

#[test]
fn an_edit_that_does_not_fit_is_refused_until_it_is_accepted() {
    let scene = drained();
    let edited = pipeline().replace("tumbling: 10s", "tumbling: 20s");
    let ended = plan(&scene, &edited, &["--format", "json"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let told: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(told["states"][0]["fate"], "changed");
    assert_eq!(told["states"][0]["what"], "window.tumbling `10s` → `20s`");
    assert_eq!(told["outputs"][0]["fate"], "kept");
    let refused = told["refused"].as_str().expect("a reason");
    let ended = scene.run(&edited, &[]);
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert!(ended.stderr.contains(refused), "{}", ended.stderr);
    let ended = scene.run(&edited, &["--accept-changes"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("changed: aggregate `sums`: window.tumbling"), "{}", ended.stderr);
    let (rows, total) = counted(&scene);
    assert!(rows < ROWS && total > 0, "what the step had kept is lost: {rows} rows");
}

#[test]
fn a_change_that_is_taken_back_goes_on() {
    let scene = drained();
    assert_eq!(scene.run(&pipeline().replace("SUM(n)", "MAX(n)"), &[]).code, Some(78));
    let ended = scene.run(&pipeline(), &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(counted(&scene), (ROWS, ROWS * (ROWS - 1) / 2));
}
