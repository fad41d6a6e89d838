//! Bugs that were, each named for its cause, shown by the program itself.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The longest that a run here may take; one that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

fn pipeline(folder: &Path, source: &str, sink: &str) {
    let text = format!(
        "millstream: 1\nname: regression\nsource:\n{source}\n  format: json\n  schema: {{ n: BIGINT }}\nsink:\n{sink}\n  format: json\n"
    );
    fs::write(folder.join("pipeline.yaml"), text).unwrap();
}

fn run(folder: &Path, shards: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.current_dir(folder).args(["run", "pipeline.yaml", "--state-dir", "state", "--cores", shards]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// How the run ended; a run that hangs is killed and fails the test.
fn wait(child: &mut Child, what: &str) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("{what} hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn quarantined(folder: &Path) -> usize {
    let Ok(files) = fs::read_dir(folder.join("state/quarantine")) else { return 0 };
    files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap().lines().count()).sum()
}

/// A shard's end was lost when the lane of its bad records was full just then.
#[test]
fn a_full_quarantine_lane_takes_the_end_of_its_shard() {
    for records in [255, 256, 257, 512, 3000] {
        for shards in ["1", "2"] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("in"), "bad\n".repeat(records)).unwrap();
            pipeline(folder.path(), "  file: { path: in }", "  file: { path: out }");
            let status = wait(&mut run(folder.path(), shards).spawn().unwrap(), "a run of bad records");
            assert_eq!(status.code(), Some(0));
            assert_eq!(quarantined(folder.path()), records, "{shards} shards");
        }
    }
}

/// A quarantine that is full is too many bad records, not a failing disk.
#[test]
fn a_full_quarantine_ends_as_too_many_bad_records() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in"), "bad\n".repeat(1000)).unwrap();
    let source = "  file: { path: in }\n  bad_record: { limit: 1KiB }";
    pipeline(folder.path(), source, "  file: { path: out }");
    let status = wait(&mut run(folder.path(), "1").spawn().unwrap(), "a run with a full quarantine");
    assert_eq!(status.code(), Some(65));
    assert!(!folder.path().join("out").exists());
}

/// The shards went on as long as the reading thread found something to read.
#[test]
fn a_drain_ends_while_stdin_goes_on_and_leaves_no_gap() {
    for shards in ["1", "3"] {
        let folder = tempfile::tempdir().unwrap();
        pipeline(folder.path(), "  stdin: {}", "  stdout: {}");
        let mut child =
            run(folder.path(), shards).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || {
            for block in 0_u64.. {
                let text: String =
                    (block * 1000..(block + 1) * 1000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
                if stdin.write_all(text.as_bytes()).is_err() {
                    return;
                }
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut output = String::new();
        stdout.read_line(&mut output).unwrap();
        let reader = std::thread::spawn(move || {
            stdout.read_to_string(&mut output).unwrap();
            output
        });
        std::thread::sleep(Duration::from_millis(100));
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(wait(&mut child, "a drain").code(), Some(0));
        feeder.join().unwrap();
        let output = reader.join().unwrap();
        assert!(output.ends_with('\n'));
        for (number, line) in output.lines().enumerate() {
            assert_eq!(line, format!("{{\"n\":{number}}}"), "{shards} shards");
        }
    }
}

/// What could not be written to stderr was a panic, and so the end of the run.
#[test]
fn a_full_stderr_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in"), "{\"n\":1}\n").unwrap();
    pipeline(folder.path(), "  file: { path: in }", "  file: { path: out }");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let status = wait(&mut run(folder.path(), "1").stderr(full).spawn().unwrap(), "a run");
    assert_eq!(status.code(), Some(0));
    assert_eq!(fs::read_to_string(folder.path().join("out")).unwrap(), "{\"n\":1}\n");
}

/// A second signal waited for a reader that had stopped reading.
#[test]
fn a_second_signal_ends_a_run_whose_output_nobody_takes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in"), "{\"n\":1}\n".repeat(100_000)).unwrap();
    pipeline(folder.path(), "  file: { path: in }", "  stdout: {}");
    let mut child = run(folder.path(), "2").stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let started = Instant::now();
    assert_eq!(wait(&mut child, "a run that was told twice to stop").code(), Some(143));
    assert!(started.elapsed() < Duration::from_secs(5));
}
