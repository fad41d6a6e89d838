//! What is told of wrong pipeline files: each `diagnostics/*.yaml` is named for its mistake and has the expected text
//! beside it. `UPDATE=1 cargo test --test diagnostics` writes the texts anew; read the difference before it is kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use millstream::config;
use millstream::plan::plan;
use millstream::yaml::render;

/// What the program tells of a file. Variables come from an empty environment.
fn told(name: &str, bytes: &[u8]) -> String {
    let outcome = config::read(name, bytes, &[], &BTreeMap::new());
    let mut problems = outcome.problems;
    let planned = outcome.pipeline.and_then(|pipeline| plan(&pipeline, &mut problems));
    assert!(planned.is_none() || !problems.has_errors(), "{name}: a wrong file has no plan");
    render(&outcome.documents, &problems, false)
}

#[test]
fn wrong_files_are_told_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics");
    // What they include stands beside them.
    std::env::set_current_dir(&folder).expect("the folder is there");
    let update = std::env::var_os("UPDATE").is_some();
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 60, "only {} files in {}", files.len(), folder.display());
    let mut different = Vec::new();
    for file in files {
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
        let found = told(name, &fs::read(&file).expect("a readable file"));
        assert!(!found.is_empty(), "{name} has no mistake");
        let beside = file.with_extension("txt");
        if update {
            fs::write(&beside, &found).expect("a writable folder");
        } else if fs::read_to_string(&beside).unwrap_or_default() != found {
            different.push(format!("{name} is told as:\n\n{found}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
