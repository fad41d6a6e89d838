//! Bugs that were, each named for its cause, shown by the program itself.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fmt::Write as _;
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

/// Rows of three hot keys and of many that come once, some of them seconds behind the newest.
fn rows_behind_windows() -> String {
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut text = String::new();
    for n in 0..12_000_u64 {
        let behind_ms = if random(5) == 0 { random(15_000) } else { 0 };
        let key = if random(3) == 0 { random(3) } else { random(3000) };
        let at_ms = 20_000 + n * 7 - behind_ms;
        let (minutes, seconds, fraction) = (at_ms / 60_000, at_ms / 1000 % 60, at_ms % 1000);
        let value = random(1_000_000_000);
        writeln!(
            text,
            r#"{{"n":{n},"key":{key},"value":0.{value:09},"at":"2026-01-01T00:{minutes:02}:{seconds:02}.{fraction:03}"}}"#
        )
        .unwrap();
    }
    text
}

/// The rows of a run in the order of their text.
fn sorted_rows(folder: &Path, shards: &str) -> Vec<String> {
    assert_eq!(wait(&mut run(folder, shards).spawn().unwrap(), "a run").code(), Some(0), "{shards} shards");
    let mut rows: Vec<String> =
        fs::read_to_string(folder.join("out")).unwrap().lines().map(str::to_owned).collect();
    rows.sort_unstable();
    rows
}

/// Which slices of a sliding window were merged beforehand depends on the keys of a shard: sums of doubles were rounded
/// differently, and a row behind a window that had fired stood elsewhere in a list.
#[test]
fn runs_of_slices_merged_by_one_shard_and_not_by_another() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in"), rows_behind_windows()).unwrap();
    for (late, changelog) in [("", ""), ("late: { allow: 5s }, ", ", changelog: final")] {
        let text = format!(
            "millstream: 1\nname: regression\nsource:\n  file: {{ path: in }}\n  format: json\n  schema: {{ n: BIGINT, key: BIGINT, value: DOUBLE, at: TIMESTAMP(3) }}\n  event_time: {{ column: at, out_of_order: 1s }}\nsteps:\n  - aggregate: {{ name: a, by: key, window: {{ sliding: 16s, every: 2s }}, {late}select: {{ sum: SUM(value), average: AVG(value), list: ARRAY_AGG(n), last: LAST_VALUE(n) }} }}\nsink:\n  file: {{ path: out{changelog} }}\n  format: json\n"
        );
        fs::write(folder.path().join("pipeline.yaml"), text).unwrap();
        let expect = sorted_rows(folder.path(), "1");
        assert!(expect.len() > 1000);
        for shards in ["2", "8"] {
            let rows = sorted_rows(folder.path(), shards);
            let differs = expect.iter().zip(&rows).find(|(one, other)| one != other);
            assert!(rows.len() == expect.len() && differs.is_none(), "{shards} shards: {differs:?}");
        }
    }
}

/// What a throttle had dropped was counted, and told nobody.
#[test]
fn the_count_of_throttled_rows_ends_at_the_operator() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in"), "{\"n\":1}\n".repeat(5)).unwrap();
    pipeline(folder.path(), "  file: { path: in }", "  file: { path: out }");
    let file = folder.path().join("pipeline.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let steps = "steps:\n  - throttle: { name: few, rate: 2 per 10h }\nsink:";
    fs::write(&file, text.replace("sink:", steps)).unwrap();
    let ended = run(folder.path(), "2").stderr(Stdio::piped()).output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(told.starts_with("5 rows in, 2 out, 0 quarantined, 0 late, 3 throttled; "), "{told}");
}

/// Rows of `over` that waited for the watermark were dropped by a drain that said all was written.
#[test]
fn rows_that_wait_for_the_watermark_are_no_window() {
    let folder = tempfile::tempdir().unwrap();
    let text = "millstream: 1\nname: regression\nsource:\n  stdin: {}\n  format: json\n  schema: { n: BIGINT, at: TIMESTAMP(3) }\n  event_time: { column: at, out_of_order: 5s }\nsteps:\n  - over: { name: seen, rows: 2, select: { rows: COUNT(*) } }\nsink:\n  stdout: {}\n  format: json\n";
    fs::write(folder.path().join("pipeline.yaml"), text).unwrap();
    let mut child = run(folder.path(), "2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for second in [10, 15] {
        writeln!(stdin, "{{\"n\":1,\"at\":\"2026-01-01T00:00:{second}\"}}").unwrap();
    }
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("00:00:10"), "{line}");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(wait(&mut child, "a drain").code(), Some(0));
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(
        told.contains("were not written, of `seen` (") && told.contains("at 2026-01-01T00:00:15.001"),
        "{told}"
    );
}

/// Behind another keyed step a block's rows arrive in no order, and which late row still joined a session depended on it.
#[test]
fn sessions_judged_late_rows_in_the_order_in_which_shards_sent_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(21);
    let mut text = String::new();
    for n in 0..60_000_i64 {
        let behind_ms = if random.u8(..) < 60 { random.i64(1000..4000) } else { random.i64(0..900) };
        let at_ms = (4000 + n / 10 - behind_ms).max(0);
        let (second, ms) = (at_ms / 1000 % 60, at_ms % 1000);
        let key = random.u8(0..20);
        let at = format!("2026-01-01T00:00:{second:02}.{ms:03}");
        text.extend([r#"{"n":"#, &n.to_string(), r#","key":"#, &key.to_string(), r#","at":""#, &at, "\"}\n"]);
    }
    fs::write(folder.path().join("in"), text).unwrap();
    let text = "millstream: 1\nname: regression\nsource:\n  file: { path: in }\n  format: json\n  schema: { n: BIGINT, key: BIGINT, at: TIMESTAMP(3) }\n  event_time: { column: at, out_of_order: 1s }\nsteps:\n  - dedupe: { name: d, by: n, within: 1ms }\n  - aggregate: { name: a, by: key, window: { session: 20ms }, select: { rows: COUNT(*), least: MIN(n) } }\nsink:\n  file: { path: out }\n  format: json\n";
    fs::write(folder.path().join("pipeline.yaml"), text).unwrap();
    let expect = sorted_rows(folder.path(), "1");
    assert!(expect.len() > 100, "{}", expect.len());
    for shards in ["2", "3", "8"] {
        assert!(sorted_rows(folder.path(), shards) == expect, "{shards} shards");
    }
}
