//! Folders of files: every row is in one of them, in its partition, whatever ends the run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Scene, Watched};

/// The visible files of the scene's `archive`, each with its lines.
fn archive(scene: &Scene) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let root = scene.path("archive");
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8");
            if path.is_dir() {
                folders.push(path.to_str().expect("UTF-8").to_owned());
            } else if !name.starts_with('.') {
                let text = fs::read_to_string(&path).expect("a file");
                let name = path.strip_prefix(&root).expect("below it").display().to_string();
                found.insert(name, text.lines().map(str::to_owned).collect());
            }
        }
    }
    found
}

/// The lines of all visible files, by partition and sorted.
fn partitions(scene: &Scene) -> BTreeMap<String, Vec<String>> {
    let mut partitions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, lines) in archive(scene) {
        let folder = Path::new(&name).parent().expect("a folder").display().to_string();
        partitions.entry(folder).or_default().extend(lines);
    }
    for lines in partitions.values_mut() {
        lines.sort();
    }
    partitions
}

/// How many hidden files there are.
fn hidden(scene: &Scene) -> usize {
    let folders =
        fs::read_dir(scene.path("archive")).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut names: Vec<String> = scene.names("archive");
    for folder in folders.filter(|path| path.is_dir()) {
        names.extend(scene.names(folder.to_str().expect("UTF-8")));
    }
    names.iter().filter(|name| name.starts_with('.')).count()
}

fn pipeline(sink: &str) -> String {
    format!(
        "millstream: 1\nname: scene\nsource:\n  file: {{ path: in.ndjson }}\n  format: json\n  schema: {{ n: BIGINT NOT NULL, k: STRING }}\n\
         sink:\n  files: {{ path: archive, {sink} }}\n  format: json\n"
    )
}

fn input(rows: u64) -> String {
    let row = |n: u64| match n % 5 {
        4 => format!("{{\"n\":{n}}}\n"),
        k => format!("{{\"n\":{n},\"k\":\"../{k}\"}}\n"),
    };
    (0..rows).map(row).collect()
}

#[test]
fn every_row_is_in_its_partition() {
    let scene = Scene::new();
    scene.write("in.ndjson", input(20_000));
    let ended = scene.run(&pipeline("partition_by: k, roll: { size: 20KiB }"), &["--cores", "2"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let found = partitions(&scene);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["%2E.%2F0", "%2E.%2F1", "%2E.%2F2", "%2E.%2F3", "__NULL__"]);
    assert!(
        found.values().all(|lines| lines.len() == 4000),
        "{:?}",
        found.values().map(Vec::len).collect::<Vec<_>>()
    );
    assert!(archive(&scene).len() > 10, "files are complete at a size");
    assert_eq!(hidden(&scene), 0);
    // A run more adds its own files.
    let ended = scene.run(&pipeline("partition_by: k"), &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(partitions(&scene).values().all(|lines| lines.len() == 8000));
}

#[test]
fn rows_whose_partition_cannot_be_told_are_kept() {
    let scene = Scene::new();
    scene.write("in.ndjson", input(10));
    let ended = scene.run(&pipeline("partition_by: 10 / n, prefix: rows-"), &["--cores", "1"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(partitions(&scene)["__FAILED__"], ["{\"n\":0,\"k\":\"../0\"}"]);
    assert_eq!(partitions(&scene).values().map(Vec::len).sum::<usize>(), 10);
    assert!(archive(&scene).keys().all(|name| name.contains("/rows-") && name.ends_with(".ndjson")));
}

#[test]
fn a_failed_run_leaves_nothing() {
    let scene = Scene::new();
    scene.write("in.ndjson", input(20_000) + "bad\n");
    let failing = pipeline("roll: { size: 1KiB }").replace("  schema:", "  bad_record: fail\n  schema:");
    let ended = scene.run(&failing, &["--cores", "2"]);
    assert_eq!(ended.code, Some(65), "{}", ended.stderr);
    assert!(archive(&scene).is_empty());
    assert_eq!(hidden(&scene), 0);
}

#[test]
fn a_run_that_is_killed_leaves_nothing_for_good() {
    let scene = Scene::new();
    let endless = "millstream: 1\nname: scene\nsource:\n  generator: { rate: 2000 per 1s, columns: { n: n } }\nsink:\n  files: { path: archive, partition_by: n % 3 }\n  format: json\n";
    let mut running = Watched::start(&mut scene.pipeline(endless, &["--cores", "2"]));
    running.until("unfinished files", || hidden(&scene) == 3);
    running.signal("KILL");
    assert_eq!(running.wait().code, None);
    scene.write("in.ndjson", input(10));
    let ended = scene.run(&pipeline(""), &["--fresh"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(hidden(&scene), 0, "what the killed run has left");
    assert_eq!(partitions(&scene).values().map(Vec::len).sum::<usize>(), 10);
}
