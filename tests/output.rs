//! When output is there: complete or not at all, whatever ends the run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{LIMIT, Scene, Watched, end, file_to_file};

const SOURCE: &str = "  schema: { n: BIGINT NOT NULL }";

fn rows(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect()
}

/// Rows without end, 2000 a second, to a file.
fn paced(steps: &str) -> String {
    format!(
        "millstream: 1\nname: scene\nsource:\n  generator:\n    rate: 2000 per 1s\n    columns: {{ n: n, at: at }}\n  \
         event_time: {{ column: at }}\n{steps}\nsink:\n  file: {{ path: out.ndjson }}\n  format: json\n"
    )
}

/// Starts a run and waits until some of its output is on disk under the temporary name.
fn started(scene: &Scene, pipeline: &str) -> Watched {
    let mut running = Watched::start(&mut scene.pipeline(pipeline, &["--cores", "2"]));
    running.until("unfinished output", || {
        scene.unfinished().and_then(|path| fs::metadata(path).ok()).is_some_and(|file| file.len() > 4096)
    });
    assert!(!scene.exists("out.ndjson") || scene.read("out.ndjson") == "old\n", "it is not there yet");
    running
}

#[test]
fn it_is_renamed_when_it_is_complete() {
    let scene = Scene::new();
    scene.write("in.ndjson", rows(0..50_000));
    scene.write("out.ndjson", "old\n");
    assert!(scene.output(&file_to_file(SOURCE, ""), &[]) == rows(0..50_000));
    assert_eq!(scene.names("."), ["in.ndjson", "out.ndjson", "pipeline.yaml", "state"], "no litter");
    // Folders on the way are made.
    let deep = file_to_file(SOURCE, "").replace("out.ndjson", "new/deep/out.ndjson");
    assert_eq!(scene.run(&deep, &[]).code, Some(0));
    assert!(scene.read("new/deep/out.ndjson") == rows(0..50_000));
}

#[test]
fn an_empty_input_makes_an_empty_output() {
    let scene = Scene::new();
    scene.write("in.ndjson", "");
    scene.write("out.ndjson", "old\n");
    assert_eq!(scene.output(&file_to_file(SOURCE, ""), &["--cores", "3"]), "");
}

#[test]
fn a_failed_run_keeps_the_old_output() {
    let scene = Scene::new();
    scene.write("in.ndjson", rows(0..50_000) + "bad\n");
    scene.write("out.ndjson", "old\n");
    let source = format!("{SOURCE}\n  bad_record: fail");
    let ended = scene.run(&file_to_file(&source, ""), &["--cores", "2"]);
    assert_eq!(ended.code, Some(65), "{}", ended.stderr);
    assert_eq!(scene.read("out.ndjson"), "old\n");
    assert!(scene.unfinished().is_none(), "litter");
}

#[test]
fn appending_grows_the_file_and_a_failed_run_takes_its_rows_back() {
    let scene = Scene::new();
    let source = format!("{SOURCE}\n  bad_record: fail");
    let pipeline = file_to_file(&source, "").replace("path: out.ndjson", "path: out.ndjson, append: true");
    scene.write("in.ndjson", rows(0..3));
    assert_eq!(scene.output(&pipeline, &[]), rows(0..3));
    assert_eq!(scene.output(&pipeline, &[]), rows(0..3) + &rows(0..3));
    scene.write("in.ndjson", rows(0..90_000) + "bad\n");
    assert_eq!(scene.run(&pipeline, &["--cores", "2"]).code, Some(65));
    assert_eq!(scene.read("out.ndjson"), rows(0..3) + &rows(0..3));
}

#[test]
fn a_signal_drains_a_run() {
    for signal in ["INT", "TERM"] {
        let scene = Scene::new();
        scene.write("out.ndjson", "old\n");
        let running = started(&scene, &paced("steps: [{ select: { n: n } }]"));
        running.signal(signal);
        let ended = running.wait();
        assert_eq!(ended.code, Some(0), "{signal}: {}", ended.stderr);
        // All that was read is there: every number up to the last, and as many as the summary says.
        let found = scene.read("out.ndjson");
        let count = found.lines().count() as u64;
        let mut numbers: Vec<u64> =
            found.lines().map(|line| line[5..line.len() - 1].parse().expect("a number")).collect();
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(0..count), "{signal}: {count} rows have gaps");
        let digits: String = ended.stderr.split(" rows in, ").next().expect("a summary").replace(',', "");
        assert_eq!(digits.parse::<u64>().expect("a number"), count, "{}", ended.stderr);
        assert!(ended.stderr.contains("drained: what was read is written"), "{}", ended.stderr);
        assert!(scene.unfinished().is_none(), "litter");
    }
}

#[test]
fn a_drain_fires_no_window_that_has_not_ended() {
    let scene = Scene::new();
    let steps = "steps: [{ aggregate: { name: w, window: { tumbling: 1d }, select: { n: COUNT(*) } } }]";
    let mut running = Watched::start(&mut scene.pipeline(&paced(steps), &["--cores", "2"]));
    running.until("a start", || scene.unfinished().is_some());
    // The handlers are set once all threads run.
    let task = format!("/proc/{}/task", running.id());
    running.until("the signals' thread", || threads(&task).iter().any(|name| name == "signals"));
    running.signal("INT");
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(scene.read("out.ndjson"), "");
}

fn threads(task: &str) -> Vec<String> {
    let entries = fs::read_dir(task).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).collect()
}

#[test]
fn a_second_signal_ends_a_run_that_cannot_be_drained() {
    let scene = Scene::new();
    // Nobody reads the pipe behind the standard output, so what was read cannot be written.
    let pipeline = "millstream: 1\nname: scene\nsource:\n  generator: { columns: { n: n } }\nsteps: [{ select: { n: n } }]\nsink:\n  stdout:\n  format: json\n";
    let mut command = scene.pipeline(pipeline, &["--cores", "2"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let task = format!("/proc/{}/task", child.id());
    let wait_for = |what: &str, done: &mut dyn FnMut() -> bool| {
        let started = std::time::Instant::now();
        while !done() {
            assert!(started.elapsed() < LIMIT, "{what} did not happen");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    wait_for("a start", &mut || threads(&task).iter().any(|name| name == "signals"));
    let send = |name: &str| {
        let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
        assert!(sent.expect("there is a kill").success());
    };
    send("INT");
    // Two signals of one kind may arrive as one; of two kinds they cannot.
    send("TERM");
    let mut status = None;
    wait_for("the end", &mut || {
        status = child.try_wait().expect("a child");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(128 + 15));
}

#[test]
fn a_second_instance_is_refused() {
    let scene = Scene::new();
    let running = started(&scene, &paced(""));
    let second = scene.run(&paced(""), &[]);
    assert_eq!(second.code, Some(75), "{}", second.stderr);
    assert!(
        second.stderr.contains("another instance") && second.stderr.contains("LOCK"),
        "{}",
        second.stderr
    );
    // The first one is not disturbed.
    running.signal("TERM");
    assert_eq!(running.wait().code, Some(0));
    assert!(scene.read("out.ndjson").lines().count() > 100);
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_run() {
    let scene = Scene::new();
    let pipeline = "millstream: 1\nname: scene\nsource:\n  generator: { columns: { n: n } }\nsteps: [{ select: { n: n } }]\nsink:\n  stdout:\n  format: json\n";
    let file = scene.write("pipeline.yaml", pipeline);
    let program = env!("CARGO_BIN_EXE_millstream");
    for io in ["auto", "threads"] {
        let line = format!(
            "'{program}' run '{file}' --cores 2 --state-dir '{}' --io {io} | head -n 1; echo ${{PIPESTATUS[0]}}",
            scene.path("state")
        );
        let ended = end(Command::new("bash").args(["-c", &line]));
        assert_eq!(ended.stdout, "{\"n\":0}\n0\n", "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

#[test]
fn what_cannot_be_written() {
    let check = |path: &str, expect: &str| {
        let scene = Scene::new();
        scene.write("in.ndjson", rows(0..100_000));
        scene.write("file", "x");
        fs::create_dir(scene.path("folder")).expect("a folder");
        let pipeline = file_to_file(SOURCE, "").replace("out.ndjson", path);
        let ended = scene.run(&pipeline, &["--cores", "2"]);
        assert_eq!(ended.code, Some(74), "{path}: {}", ended.stderr);
        assert!(ended.stderr.contains(expect), "{path}: {}", ended.stderr);
    };
    check("file/out.ndjson", "file");
    check("/proc/nothing/out.ndjson", "/proc/nothing");
    check("/dev/full", "/dev/full");
    check("folder", "folder");
}

#[test]
fn a_folder_that_may_not_be_written_to() {
    let scene = Scene::new();
    scene.write("in.ndjson", rows(0..10));
    fs::create_dir(scene.path("locked")).expect("a folder");
    fs::set_permissions(scene.path("locked"), fs::Permissions::from_mode(0o500)).expect("it is ours");
    let pipeline = file_to_file(SOURCE, "").replace("out.ndjson", "locked/out.ndjson");
    if fs::write(scene.path("locked/probe"), "").is_ok() {
        scene::skipped("the superuser may write everywhere");
        return;
    }
    let ended = scene.run(&pipeline, &[]);
    assert_eq!(ended.code, Some(74), "{}", ended.stderr);
    assert!(ended.stderr.contains("locked"), "{}", ended.stderr);
}
