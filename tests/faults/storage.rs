//! Disks that fail, fill up, write short and are slow, without any crash: the run stays up where it can and says so, ends
//! with a clear error where it cannot, and loses nothing in either case.

use std::fs::{self, File};
use std::io::Read;
use std::process::Command;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::test_kill_process;

use super::history::{Ended, History, Subject, names, seed, times};
use super::mount::{Failure, Faults, Mounted};
use super::pipelines::{self, Pipeline};
use super::power::disk;
use super::scene::{LIMIT, Scene, skipped};

/// The exit code of a run whose disk has failed it.
const DISK: i32 = 74;

/// Checks what a run came to that met a fault: it is complete, or it has ended with an error and goes on once the fault is
/// gone.
fn complete(history: &mut History, subject: &Subject, ended: Ended, fault: &str) {
    let ended = if ended.code == Some(0) {
        ended
    } else {
        assert_eq!(ended.code, Some(DISK), "{fault}; {}", history.told());
        assert!(ended.stderr.lines().any(|line| line.starts_with("error: ")), "{fault}; {}", history.told());
        history.start(2, "auto", &[]).wait()
    };
    // What could not be removed is removed by the next run.
    history.check_written(subject, &ended);
}

/// Fails operations of a run, each number in a run of its own: once, or from there on.
fn fail_one_by_one(pipeline: Pipeline, count: u64) {
    let Some(probe) = disk() else { return };
    let subject = Subject::new(pipeline);
    let mut history = subject.history(Some(&probe.path("")), 0);
    let ended = history.start(2, "auto", &[]).wait();
    history.check(&subject, &ended);
    let operations = probe.count();
    assert!(operations > 20, "the run uses the disk");
    for seed in seed()..seed() + count {
        let mut random = Rng::with_seed(seed);
        let disk = disk().expect("there was one just now");
        let mut history = subject.history(Some(&disk.path("")), seed);
        // Half of them among those of the start, which are the same in each run.
        let number = if random.bool() { random.u64(1..=20) } else { random.u64(1..=operations) };
        let failure = if random.bool() { Failure::InputOutput } else { Failure::Full };
        let faults = Faults { fail: Some((number, failure)), for_good: random.bool(), ..Faults::default() };
        let fault = format!("{faults:?}");
        disk.set_faults(faults);
        let mut run = history.start_anyhow(&mut random);
        history.note(&fault);
        let ended = run.wait();
        disk.set_faults(Faults::default());
        complete(&mut history, &subject, ended, &fault);
    }
}

#[test]
fn an_operation_that_fails_loses_nothing_of_windows() {
    fail_one_by_one(pipelines::WINDOWS, times(20));
}

#[test]
fn an_operation_that_fails_loses_nothing_of_an_appended_file() {
    fail_one_by_one(pipelines::ONCE, times(20));
}

#[test]
fn writes_that_are_cut_short_are_written_on() {
    let Some(disk) = disk() else { return };
    let subject = Subject::new(pipelines::SESSIONS);
    for io in ["auto", "threads"] {
        let mut history = subject.history(Some(&disk.path(io)), 0);
        fs::create_dir(disk.path(io)).expect("a folder");
        disk.set_faults(Faults { short_one_in: Some(2), ..Faults::default() });
        // A run may be through before it has been seen with a snapshot; the next one replaces what it wrote.
        let is_seen = (0..20).any(|_| {
            let mut run = history.start(2, io, &[]);
            let has_snapshot = run.until(LIMIT, |_| !history.snapshots().is_empty()).is_none();
            run.kill();
            has_snapshot
        });
        assert!(is_seen, "{}", history.told());
        // Goes on from what was written in pieces.
        let ended = history.start(3, io, &[]).wait();
        let was_complete = ended.stderr.contains("had come to its end");
        assert!(ended.has_resumed() || was_complete, "{}", history.told());
        history.check(&subject, &ended);
    }
}

/// Where state can be squeezed.
enum Small {
    Forgetful(Mounted),
    Tmpfs(Tmpfs),
}

impl Small {
    fn path(&self, name: &str) -> std::path::PathBuf {
        match self {
            Self::Forgetful(disk) => disk.path(name),
            Self::Tmpfs(disk) => disk.0.path(name).into(),
        }
    }

    fn fill(&self) {
        match self {
            Self::Forgetful(disk) => disk.set_capacity(0),
            Self::Tmpfs(disk) => {
                // Until there is no room for another byte.
                let filled = fs::write(disk.0.path("ballast"), vec![0; 8 << 20]);
                assert!(filled.is_err(), "it is smaller than that");
            }
        }
    }

    fn free(&self) {
        match self {
            Self::Forgetful(disk) => disk.set_capacity(u64::MAX),
            Self::Tmpfs(disk) => fs::remove_file(disk.0.path("ballast")).expect("the ballast"),
        }
    }
}

/// A small file system in memory.
struct Tmpfs(Scene);

impl Tmpfs {
    /// One of so many KiB, unless this machine does not let us mount.
    fn new(size_kib: u64) -> Option<Self> {
        let scene = Scene::new();
        let options = format!("size={size_kib}k");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs", &scene.path("")]).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(scene));
        }
        skipped("no small file system was filled: mounting one needs root");
        None
    }

    fn resize(&self, size_kib: u64) {
        let options = format!("remount,size={size_kib}k");
        let resized = Command::new("mount").args(["-o", &options, &self.0.path("")]).status();
        assert!(resized.is_ok_and(|status| status.success()), "it can be made larger");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(Command::new("umount").args(["-l", &self.0.path("")]).status());
    }
}

/// Fills the disk that the state is on while the pipeline runs, and frees it once the program has said so. Whether that was
/// in the middle of its input: to a run that is at its end no later snapshot is a chance, and it ends with an error.
fn fill_and_free(small: &Small, subject: &Subject, seed: u64) -> bool {
    let mut history = subject.history(None, seed);
    drop(fs::remove_dir_all(small.path("state")));
    history.state = small.path("state");
    let mut run = history.start(2, "auto", &[]);
    let mut random = Rng::with_seed(seed);
    let wanted = random.usize(1..4);
    let mut committed = 0;
    let mut seen = Vec::new();
    let is_early = run.until(LIMIT, |_| {
        let names = history.snapshots();
        committed += names.iter().filter(|name| !seen.contains(*name)).count();
        seen = names;
        committed >= wanted
    });
    assert!(is_early.is_none(), "no snapshots are taken; {}", history.told());
    small.fill();
    history.note(&format!("filled after {wanted} snapshots"));
    let ended = run.until(LIMIT, |run| {
        let said = run.said();
        said.lines().any(|line| line.to_lowercase().contains("no space left"))
    });
    let has_ended = ended.is_some();
    small.free();
    let ended = run.wait();
    let is_at_its_end = ended.rows_in() == Some(subject.rows());
    assert!(is_at_its_end || !has_ended, "it does not stay up; {}", history.told());
    let is_in_the_middle = ended.code == Some(0);
    assert!(is_at_its_end || is_in_the_middle, "it does not recover; {}", history.told());
    complete(&mut history, subject, ended, "a full disk");
    let litter = history.litter();
    assert!(litter.is_empty(), "litter: {litter:?}; {}", history.told());
    is_in_the_middle
}

/// Fills and frees a disk in the middle of so many runs.
fn fill_and_free_often(small: &Small, count: u64) {
    let subject = Subject::long(pipelines::WINDOWS);
    for round in 0..count {
        // A machine with much else to do may take no more than some snapshots in a run.
        let mut seeds = (0..10).map(|attempt| seed() + round * 10 + attempt);
        assert!(
            seeds.any(|seed| fill_and_free(small, &subject, seed)),
            "no run was in the middle of its input"
        );
    }
}

#[test]
fn a_disk_that_is_full_for_a_while_stops_nothing() {
    let Some(disk) = disk() else { return };
    fill_and_free_often(&Small::Forgetful(disk), times(3));
}

#[test]
fn a_file_system_that_is_full_for_a_while_stops_nothing() {
    let Some(tmpfs) = Tmpfs::new(4 << 10) else { return };
    fill_and_free_often(&Small::Tmpfs(tmpfs), times(2));
}

#[test]
fn output_that_has_no_space_ends_the_run_and_is_gone_on_from() {
    let Some(tmpfs) = Tmpfs::new(1 << 10) else { return };
    for pipeline in [pipelines::COPY, pipelines::LATELY] {
        let subject = Subject::new(pipeline);
        let mut history = subject.history(None, 0);
        tmpfs.resize(1 << 10);
        let output = tmpfs.0.path(pipeline.name);
        fs::create_dir(&output).expect("a folder");
        history.put_output(&subject, output.into());
        let ended = history.start(2, "auto", &[]).wait();
        assert_eq!(ended.code, Some(DISK), "{}", history.told());
        assert!(ended.stderr.contains("No space left on device"), "{}", history.told());
        assert!(ended.stderr.contains("out.ndjson"), "it says where; {}", history.told());
        tmpfs.resize(64 << 10);
        let ended = history.start(3, "auto", &[]).wait();
        history.check(&subject, &ended);
        fs::remove_dir_all(&history.output).expect("the output");
    }
}

#[test]
fn files_that_may_not_grow_end_the_run_and_are_gone_on_from() {
    for pipeline in [pipelines::COPY, pipelines::LATELY] {
        let subject = Subject::new(pipeline);
        let mut random = Rng::with_seed(seed());
        for io in ["auto", "threads"] {
            let mut history = subject.history(None, 0);
            let blocks = random.u32(100..1000);
            // Also where nothing has set the signal aside that comes with the error.
            for trap in ["trap '' XFSZ; ", ""] {
                let mut limited = Command::new("sh");
                let script = format!("{trap}ulimit -f {blocks}; exec \"$0\" \"$@\"");
                let command = history.command("run", &["--cores", "2", "--io", io]);
                limited.arg("-c").arg(script).arg(command.get_program()).args(command.get_args());
                let ended = history.start_as(limited, &format!("{trap}ulimit -f {blocks}"), &[]).wait();
                assert_eq!(ended.code, Some(DISK), "{:?}; {}", ended.signal, history.told());
                assert!(ended.stderr.contains("File too large"), "{}", history.told());
            }
            let ended = history.start(3, io, &[]).wait();
            history.check(&subject, &ended);
        }
    }
}

/// The most memory that a disturbed run may have above an undisturbed one: buffers, not the input.
const SLACK_BYTES: u64 = 16 << 20;
/// So many rows are read, which would not fit into that.
const MANY_ROWS: u64 = 300_000;

/// A subject with much input, and the most memory it takes undisturbed.
fn large(pipeline: Pipeline) -> (Subject, u64) {
    let subject = Subject::large(pipeline, MANY_ROWS);
    let mut history = subject.history(None, 0);
    let mut run = history.start(2, "auto", &[]);
    let mut peak_bytes = 0;
    run.until(LIMIT, |run| {
        peak_bytes = peak_bytes.max(run.peak_bytes());
        false
    });
    let ended = run.wait();
    history.check(&subject, &ended);
    (subject, peak_bytes)
}

#[test]
fn a_slow_disk_takes_no_memory() {
    let Some(disk) = disk() else { return };
    let (subject, undisturbed_bytes) = large(pipelines::COPY);
    let mut history = subject.history(Some(&disk.path("")), 0);
    disk.set_faults(Faults { delay: Duration::from_millis(20), ..Faults::default() });
    let mut run = history.start(2, "auto", &[]);
    let mut peak_bytes = 0;
    run.until(LIMIT, |run| {
        peak_bytes = peak_bytes.max(run.peak_bytes());
        false
    });
    let ended = run.wait();
    disk.set_faults(Faults::default());
    history.check(&subject, &ended);
    assert!(
        peak_bytes < undisturbed_bytes + SLACK_BYTES,
        "{peak_bytes} bytes, {undisturbed_bytes} undisturbed; {}",
        history.told()
    );
}

#[test]
fn an_output_that_nobody_reads_takes_no_memory() {
    let (subject, undisturbed_bytes) = large(pipelines::COPY);
    let mut history = subject.history(None, 0);
    fs::create_dir_all(&history.output).expect("a folder");
    let fifo = history.output.join("out.ndjson");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.is_ok_and(|status| status.success()), "a fifo can be made");
    let mut run = history.start(2, "auto", &[]);
    // Opened, and not read from.
    let mut reader = File::open(&fifo).expect("the program writes to it");
    let cpu = |id: u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.split(' ').skip(13).take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let id = u32::try_from(run.pid().as_raw_nonzero().get()).expect("a process");
    // It has come to a stop once it uses no more of any CPU for a while.
    let (mut before, mut still) = (Vec::new(), 0);
    run.until(LIMIT, |_| {
        let now = cpu(id);
        still = if now == before { still + 1 } else { 0 };
        before = now;
        still > 400
    });
    let peak_bytes = run.peak_bytes();
    assert!(
        peak_bytes > 0 && peak_bytes < undisturbed_bytes + SLACK_BYTES,
        "{peak_bytes} bytes, {undisturbed_bytes} undisturbed; {}",
        history.told()
    );
    // It is alive, and all comes once somebody reads.
    test_kill_process(run.pid()).expect("the process is there");
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("UTF-8");
    let ended = run.wait();
    assert_eq!(ended.code, Some(0), "{}", history.told());
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    assert!(lines == subject.expect.output, "{} lines; {}", lines.len(), history.told());
    assert_eq!(names(&history.output), ["out.ndjson"]);
}
