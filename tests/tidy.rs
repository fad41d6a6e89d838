//! The shape of the source: floors, doors, layout and sizes as the architecture has them. Each rule is a function over
//! texts, which is itself put to the test below.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Files of `src`: the path below `src` and the text.
type Files = BTreeMap<String, String>;

/// More lines than this in one file ask for a seam.
const LINES_MAX: usize = 700;

/// What may be at the top level, besides what is not under version control.
const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".config",
    ".git",
    ".gitattributes",
    ".github",
    ".gitignore",
    "BENCHMARKS.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "clippy.toml",
    "deny.toml",
    "pipelines",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "scripts",
    "src",
    "systemd",
    "tests",
];

/// Crates that are named in one folder only, so that they can be replaced there. A `*` stands for any ending.
const DOORS: &[(&str, &str)] = &[
    ("glommio", "io/"),
    ("io_uring", "io/"),
    ("datafusion*", "expr/"),
    ("sqlparser", "expr/"),
    ("simd_json", "codec/"),
    ("clap*", "cli/"),
    ("memmap2", "io/"),
    ("parquet", "cli/"),
];

/// Files that may be unsafe.
const UNSAFE: &[&str] = &["codec/json/level.rs", "io/blocks/ring.rs", "io/map.rs", "io/probe.rs"];

fn files() -> Files {
    fn collect(folder: &Path, root: &Path, files: &mut Files) {
        for entry in fs::read_dir(folder).expect("a folder of src") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(&path, root, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).expect("below src").to_str().expect("UTF-8").to_owned();
                files.insert(name, fs::read_to_string(&path).expect("UTF-8"));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Files::new();
    collect(&root, &root, &mut files);
    files
}

/// The text without comments and with the content of texts blanked, so that what is left is code; lines stay lines.
fn code(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => quoted(rest),
            'r' if !out.ends_with(|c: char| c.is_alphanumeric() || c == '_') => raw(rest).unwrap_or(0),
            // A character, which is not a lifetime: 'x', '\n', '\u{1F600}'.
            '\'' if rest.starts_with("'\\") => {
                rest[2..].find('\'').map_or(1, |end| end + 3).max(4).min(rest.len())
            }
            '\'' => rest[1..].chars().next().map_or(0, |inner| {
                let end = 1 + inner.len_utf8();
                if rest[end..].starts_with('\'') { end + 1 } else { 0 }
            }),
            _ => 0,
        };
        if length == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            out.push(' ');
            out.extend(rest[..length].chars().filter(|c| *c == '\n'));
            rest = &rest[length..];
        }
    }
    out
}

/// The length of the text in double quotes at the start.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// The length of the raw text (`r"…"`, `r#"…"#`) at the start, if there is one.
fn raw(text: &str) -> Option<usize> {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    let start = 1 + hashes;
    text[start..].starts_with('"').then(|| {
        let end = format!("\"{}", "#".repeat(hashes));
        text[start + 1..].find(&end).map_or(text.len(), |at| start + 1 + at + end.len())
    })
}

/// The words of code, with their lines: names, and `::`, `{`, `}`, `,`, `;` as words of their own.
fn words(code: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    for (line, text) in code.lines().enumerate() {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            let length = if is_name(c) {
                rest.find(|c| !is_name(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                c.len_utf8()
            };
            if !c.is_whitespace() {
                words.push((line + 1, &rest[..length]));
            }
            rest = &rest[length..];
        }
    }
    words
}

/// The modules that `crate::` paths name, with their lines: also each of `crate::{a, b::c}`.
fn used(code: &str) -> Vec<(usize, &str)> {
    let words = words(code);
    let mut used = Vec::new();
    for at in 0..words.len() {
        if words[at].1 != "crate" || words.get(at + 1).is_none_or(|(_, word)| *word != "::") {
            continue;
        }
        let Some((line, first)) = words.get(at + 2).copied() else { continue };
        if first != "{" {
            used.push((line, first));
            continue;
        }
        let (mut depth, mut begins) = (0, false);
        for (line, word) in &words[at + 2..] {
            match *word {
                "{" => (depth, begins) = (depth + 1, depth == 0),
                "}" => depth -= 1,
                "," if depth == 1 => begins = true,
                name if begins => {
                    used.push((*line, name));
                    begins = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    used
}

/// The floor of every module that lib.rs declares: `pub mod name; // floor: …`.
fn declared(lib: &str) -> BTreeMap<&str, u32> {
    lib.lines()
        .filter_map(|line| {
            let (name, comment) = line.strip_prefix("pub mod ")?.split_once("; // ")?;
            Some((name, comment.split_once(':')?.0.parse().ok()?))
        })
        .collect()
}

/// The module a file belongs to.
fn module(file: &str) -> &str {
    file.split_once('/').map_or_else(|| file.trim_end_matches(".rs"), |(folder, _)| folder)
}

/// Modules that use others which are not on a lower floor. On the ground floor, which has nothing below it, the order of
/// lib.rs counts: a module may use those declared behind it. Tests are no exception: what a module's tests need from above
/// belongs into the tests of what is above, or into `tests`.
fn floors(files: &Files) -> Vec<String> {
    let lib = &files["lib.rs"];
    let floors = declared(lib);
    let behind = |module: &str, other: &str| {
        let place = |name: &str| lib.find(&format!("pub mod {name};"));
        floors[module] == 0 && floors[other] == 0 && place(module) < place(other)
    };
    let mut wrong = Vec::new();
    for (file, text) in files.iter().filter(|(file, _)| !["lib.rs", "main.rs"].contains(&file.as_str())) {
        let Some(floor) = floors.get(module(file)) else {
            wrong.push(format!("src/{file}: lib.rs does not declare `{}` with its floor", module(file)));
            continue;
        };
        for (line, used) in used(&code(text)) {
            match floors.get(used) {
                _ if used == module(file) => {}
                Some(below) if below < floor || behind(module(file), used) => {}
                Some(below) => wrong.push(format!(
                    "src/{file}:{line}: {} (floor {floor}) uses {used} (floor {below})",
                    module(file)
                )),
                None => wrong.push(format!("src/{file}:{line}: crate::{used} is no module of lib.rs")),
            }
        }
    }
    wrong
}

/// Crates that are named outside of their folder.
fn doors(files: &Files, doors: &[(&str, &str)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, text) in files {
        let code = code(text);
        let words = words(&code);
        for pair in words.windows(2) {
            let (line, name) = pair[0];
            let is_path = pair[1].1 == "::" || (pair[1].1 == ";" && code.contains(&format!("use {name};")));
            for (pattern, folder) in doors {
                let named = match pattern.strip_suffix('*') {
                    Some(start) => name.starts_with(start),
                    None => name == *pattern,
                };
                if named && is_path && !file.starts_with(folder) {
                    wrong.push(format!("src/{file}:{line}: `{name}` is named in src/{folder} only"));
                }
            }
        }
    }
    wrong
}

/// What must not be in any file.
fn habits(files: &Files) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, text) in files {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("src/{file}: {lines} lines, more than {LINES_MAX}: look for the seam"));
        }
        if !text.starts_with("//!") {
            wrong.push(format!("src/{file}: it does not begin with what it is (//!)"));
        }
        let code = code(text);
        for (number, line) in code.lines().enumerate() {
            let squeezed: String = line.split_whitespace().collect();
            for word in ["todo!", "unimplemented!", "dbg!", "#[ignore", "#[allow(", "#![allow("] {
                if squeezed.contains(word) {
                    wrong.push(format!("src/{file}:{}: {word}", number + 1));
                }
            }
        }
        for (line, word) in words(&code) {
            if word == "unsafe" && !UNSAFE.contains(&file.as_str()) {
                wrong.push(format!("src/{file}:{line}: unsafe, which only {UNSAFE:?} may be"));
            }
        }
    }
    wrong
}

fn expect_nothing(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn modules_use_lower_floors_only() {
    let files = files();
    assert!(files.len() > 100 && declared(&files["lib.rs"]).len() >= 15, "the rule sees the source");
    expect_nothing(&floors(&files));
}

#[test]
fn crates_stay_behind_their_doors() {
    let files = files();
    expect_nothing(&doors(&files, DOORS));
    // A door that nobody goes through has lost its crate, or its name is written wrongly here.
    for (name, folder) in DOORS {
        let elsewhere = doors(&files, &[(name, "nowhere/")]);
        assert!(!elsewhere.is_empty(), "{name} is not used in {folder}");
    }
}

#[test]
fn no_file_has_bad_habits() {
    expect_nothing(&habits(&files()));
}

#[test]
fn the_top_level_is_what_the_architecture_allows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ignored = fs::read_to_string(root.join(".gitignore")).expect("there is one");
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let entries =
        fs::read_dir(root).expect("the repository").map(|entry| entry.expect("an entry").file_name());
    let names: Vec<String> = entries.map(|name| name.to_str().expect("UTF-8").to_owned()).collect();
    let wrong: Vec<String> = names
        .iter()
        .filter(|name| !TOP_LEVEL.contains(&name.as_str()) && !ignored.contains(&name.as_str()))
        .map(|name| format!("{name} does not belong at the top level"))
        .collect();
    expect_nothing(&wrong);
}

#[test]
fn the_rules_find_what_they_are_for() {
    let lib = "pub mod top; // 2: a\npub mod same; // 1: b\npub mod mid; // 1: c\npub mod low; // 0: d\npub mod base; // 0: e\n";
    let wrong_with = |file: &str, text: &str, rule: &dyn Fn(&Files) -> Vec<String>| -> Vec<String> {
        let lib = ("lib.rs".to_owned(), format!("//! Map.\n{lib}"));
        rule(&Files::from([lib, (file.to_owned(), format!("//! A file.\n{text}"))]))
    };
    let floor = |file: &str, text: &str, expect: &[&str]| {
        assert_eq!(wrong_with(file, text, &floors), expect, "{file}: {text}");
    };
    floor("mid/a.rs", "use crate::low::B;\nuse crate::mid::C;\nuse super::d;", &[]);
    floor("low/a.rs", "use crate::base::B;", &[]);
    floor("base.rs", "use crate::low::B;", &["src/base.rs:2: base (floor 0) uses low (floor 0)"]);
    floor("mid/a.rs", "\nuse crate::top::B;", &["src/mid/a.rs:3: mid (floor 1) uses top (floor 2)"]);
    floor("mid.rs", "use crate::same;", &["src/mid.rs:2: mid (floor 1) uses same (floor 1)"]);
    floor(
        "mid/a.rs",
        "fn f() -> crate::same::T { \"{\" }",
        &["src/mid/a.rs:2: mid (floor 1) uses same (floor 1)"],
    );
    floor(
        "low/a.rs",
        "use crate::{\n    low::x,\n    mid::{self, low},\n    top,\n};",
        &[
            "src/low/a.rs:4: low (floor 0) uses mid (floor 1)",
            "src/low/a.rs:5: low (floor 0) uses top (floor 2)",
        ],
    );
    floor(
        "low/a.rs",
        "#[cfg(test)]\nmod tests {\n    use crate::top;\n}",
        &["src/low/a.rs:4: low (floor 0) uses top (floor 2)"],
    );
    floor(
        "mid/a.rs",
        "// crate::top\n/* crate::top */ \"crate::top \\\" crate::top\" r#\"\" crate::top\"# '\"' crate::low '\\''",
        &[],
    );
    floor(
        "mid/a.rs",
        "pub(crate) fn f() {}\nuse crate::nothing;",
        &["src/mid/a.rs:3: crate::nothing is no module of lib.rs"],
    );
    floor("new/a.rs", "", &["src/new/a.rs: lib.rs does not declare `new` with its floor"]);

    let door = |file: &str, text: &str, count: usize| {
        let wrong = wrong_with(file, text, &|files| doors(files, DOORS));
        assert_eq!(wrong.len(), count, "{file}: {text}: {wrong:?}");
    };
    door("io/a.rs", "use glommio::Timer;\nuse io_uring::IoUring;", 0);
    door("mid/a.rs", "use glommio::Timer;\nuse io_uring::IoUring;", 2);
    door("mid/a.rs", "fn f(x: datafusion_expr::Expr) { sqlparser::parse(); }", 2);
    door("mid/a.rs", "use simd_json;\nlet clap = 1;\n// glommio::Timer", 1);

    let habit = |file: &str, text: &str, expect: &str| {
        let wrong = wrong_with(file, text, &habits).join("\n");
        assert!(if expect.is_empty() { wrong.is_empty() } else { wrong.contains(expect) }, "{text}: {wrong}");
    };
    habit("a.rs", "fn f<'a>(x: &'a str) { assert!(x != \"todo!()\"); } // unsafe", "");
    habit("a.rs", "#[expect(unsafe_code, reason = \"\")]", "");
    habit("a.rs", "fn f() { todo!() }", "src/a.rs:2: todo!");
    habit("a.rs", "# [ ignore ]", "#[ignore");
    habit("a.rs", "#![allow(dead_code)]", "#![allow(");
    habit("a.rs", "fn f() {\n    unsafe { g() }\n}", "src/a.rs:3: unsafe");
    habit("io/probe.rs", "unsafe { g() }", "");
    habit("a.rs", &"\n".repeat(LINES_MAX), "701 lines");
}
