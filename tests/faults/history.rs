//! A pipeline's history: it is started, stopped in some way, started again on other cores, until its input is complete;
//! then what it wrote is compared with what an undisturbed run writes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::pipelines::{self, Pipeline};
use super::scene::{LIMIT, Scene};

/// How many rows the input has.
const ROWS: u64 = 12_000;
/// What each of them has that nobody reads, bytes: barriers lie between mebibytes of the input, and there are to be many.
const PADDING: usize = 1500;
/// How often snapshots are taken.
const EVERY: &str = "20ms";
/// How often a running program is looked at.
const LOOK: Duration = Duration::from_micros(500);

/// How many times something is done: what `MILLSTREAM_FAULTS` says, else `count`.
pub fn times(count: u64) -> u64 {
    number_from("MILLSTREAM_FAULTS").unwrap_or(count)
}

/// The seed of a test's first draws: what `MILLSTREAM_SEED` says, else 1.
pub fn seed() -> u64 {
    number_from("MILLSTREAM_SEED").unwrap_or(1)
}

fn number_from(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: it takes a whole number")))
}

/// What a run has written, in an order of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    pub output: Vec<String>,
    late: Vec<String>,
    quarantine: Vec<String>,
    /// How many rows came too late, as the summary has it.
    late_rows: Option<u64>,
}

/// A pipeline and its input, and what it writes when nothing disturbs it.
pub struct Subject {
    pub pipeline: Pipeline,
    pub expect: Written,
    /// How long it takes when nothing disturbs it.
    pub undisturbed: Duration,
    rows: u64,
    input: String,
    _scene: Scene,
}

impl Subject {
    pub fn new(pipeline: Pipeline) -> Self {
        Self::of(pipeline, &pipelines::input(ROWS, PADDING, 7))
    }

    /// The same with an input that takes some seconds and has no bad records.
    pub fn long(pipeline: Pipeline) -> Self {
        let input = pipelines::input(5 * ROWS, PADDING, 7);
        let good = input.lines().filter(|line| line.ends_with('}')).flat_map(|line| [line, "\n"]);
        Self::of(pipeline, &good.collect::<String>())
    }

    /// The same with so many rows, which are short.
    pub fn large(pipeline: Pipeline, rows: u64) -> Self {
        Self::of(pipeline, &pipelines::input(rows, 0, 7))
    }

    fn of(pipeline: Pipeline, input_text: &str) -> Self {
        let scene = Scene::new();
        let input = scene.write("in.ndjson", input_text);
        scene.write(pipelines::TABLE, pipelines::table());
        let mut history = History::new(pipeline, &input, None, 0);
        let (mut run, started) = (history.start(1, "auto", &[]), Instant::now());
        let ended = run.wait();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let undisturbed = started.elapsed();
        let expect = history.written(&ended);
        assert!(expect.output.len() > 50, "{}: there is something to lose", pipeline.name);
        assert!(!pipeline.has_late || expect.late.len() > 100, "{}: there are late rows", pipeline.name);
        let broken = input_text.lines().filter(|line| !line.ends_with('}')).count();
        assert_eq!(expect.quarantine.len(), broken * pipeline.sources, "{}: bad records", pipeline.name);
        let rows = u64::try_from(input_text.lines().count()).expect("few");
        Self { pipeline, expect, undisturbed, rows, input, _scene: scene }
    }

    /// A history that was killed once it had a snapshot in the middle of its input.
    pub fn interrupted(&self, seed: u64) -> History {
        for attempt in 0.. {
            let mut history = self.history(None, seed);
            let mut run = history.start(2, "auto", &[]);
            run.until(LIMIT, |_| history.is_in_the_middle());
            let ended = run.kill();
            history.note("killed in the middle");
            if ended.code.is_none() && history.is_in_the_middle() {
                return history;
            }
            assert!(attempt < 50, "no run can be killed in the middle of its input; {}", history.told());
        }
        unreachable!("the loop returns or fails")
    }

    /// How many rows the input has.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The path of the input.
    pub fn input(&self) -> PathBuf {
        PathBuf::from(&self.input)
    }

    /// A history of its own; output and state lie in `place` where there is one, else in a scratch directory.
    pub fn history(&self, place: Option<&Path>, seed: u64) -> History {
        History::new(self.pipeline, &self.input, place, seed)
    }
}

/// The folder, the runs so far and how they were stopped.
pub struct History {
    pipeline: Pipeline,
    folder: Option<tempfile::TempDir>,
    /// The pipeline file.
    pub file: PathBuf,
    pub output: PathBuf,
    pub state: PathBuf,
    seed: u64,
    log: Vec<String>,
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    pub stderr: String,
}

impl Ended {
    /// Whether it went on from a snapshot.
    pub fn has_resumed(&self) -> bool {
        self.stderr.lines().any(|line| line.contains("going on from snapshot"))
    }

    /// How many rows it has read itself, as the summary has it; none where it has told nothing.
    pub fn rows_in(&self) -> Option<u64> {
        let line = self.stderr.lines().find_map(|line| line.split_once(" rows in, "));
        line?.0.rsplit(' ').next()?.replace(',', "").parse().ok()
    }

    /// How many rows came too late in all, as the summary has it.
    fn late_rows(&self) -> Option<u64> {
        let is_total = |line: &&str| line.starts_with("with what was before snapshot ");
        let is_own = |line: &&str| line.contains(" rows in, ");
        let lines = || self.stderr.lines();
        let line = lines().find(is_total).or_else(|| lines().find(is_own))?;
        let (before, _) = line.split_once(" late")?;
        before.rsplit(' ').next()?.replace(',', "").parse().ok()
    }
}

impl History {
    fn new(pipeline: Pipeline, input: &str, place: Option<&Path>, seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a scratch directory");
        let place = place.unwrap_or(folder.path());
        let (output, state) = (place.join("out"), place.join("state"));
        let text = pipeline.text(input, output.to_str().expect("UTF-8"), EVERY);
        let file = folder.path().join("pipeline.yaml");
        fs::write(&file, text).expect("a file in the scratch directory");
        Self { pipeline, folder: Some(folder), file, output, state, seed, log: Vec::new() }
    }

    /// Has the output written into another folder; before the first run.
    pub fn put_output(&mut self, subject: &Subject, output: PathBuf) {
        let text = self.pipeline.text(&subject.input, output.to_str().expect("UTF-8"), EVERY);
        fs::write(&self.file, text).expect("a file in the scratch directory");
        self.output = output;
    }

    /// The program with a verb for this pipeline.
    pub fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command.arg(verb).arg(&self.file).arg("--state-dir").arg(&self.state).args(arguments);
        for name in ["STATE_DIRECTORY", "NOTIFY_SOCKET", "JOURNAL_STREAM", "MILLSTREAM_LOG"] {
            command.env_remove(name);
        }
        command
    }

    /// Starts it on so many cores.
    pub fn start(&mut self, cores: usize, io: &str, arguments: &[&str]) -> Run {
        let command = self.command("run", &["--cores", &cores.to_string(), "--io", io]);
        self.start_as(command, &format!("--cores {cores} --io {io} {}", arguments.join(" ")), arguments)
    }

    /// Starts it on cores and with a host for them that are drawn.
    pub fn start_anyhow(&mut self, random: &mut Rng) -> Run {
        let io = if random.bool() { "auto" } else { "threads" };
        self.start(random.usize(1..=4), io, &[])
    }

    /// Starts it by a command.
    pub fn start_as(&mut self, mut command: Command, what: &str, arguments: &[&str]) -> Run {
        let folder = self.folder.as_ref().expect("it goes last").path();
        let stderr = folder.join(format!("stderr-{:03}", self.log.len()));
        self.log.push(format!("run {what}"));
        let file = File::create(&stderr).expect("a file in the scratch directory");
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Run { child: command.spawn().expect("the program starts"), stderr }
    }

    /// Notes what was done to the run that was started last.
    pub fn note(&mut self, what: &str) {
        write!(self.log.last_mut().expect("a run"), ": {what}").expect("texts grow");
    }

    /// All that is to be known when something is wrong.
    pub fn told(&self) -> String {
        let folder = self.folder.as_ref().expect("it goes last").path();
        let mut text = format!(
            "pipeline `{}`, seed {} (MILLSTREAM_SEED={} repeats the draws); files in {}\n",
            self.pipeline.name,
            self.seed,
            self.seed,
            folder.display()
        );
        for (number, run) in self.log.iter().enumerate() {
            let stderr = fs::read_to_string(folder.join(format!("stderr-{number:03}"))).unwrap_or_default();
            writeln!(text, "-- {run}").expect("texts grow");
            for line in stderr.lines() {
                writeln!(text, "   | {line}").expect("texts grow");
            }
        }
        text
    }

    /// What the newest snapshot from which a run can go on is, as its manifest has it; none where there is none.
    pub fn newest(&self) -> Option<serde_json::Value> {
        let path = self.state.join("snapshots").join(self.snapshots().pop()?).join("MANIFEST");
        let text = fs::read_to_string(path).ok()?;
        let json = text.split_once('\n')?.1.rsplit_once("checksum ")?.0;
        Some(serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}; {}", self.told())))
    }

    /// Whether a run has come to the end of its input: then it leaves nothing to go on from.
    pub fn is_complete(&self, ended: &Ended) -> bool {
        let is_complete = ended.code == Some(0) && self.snapshots().is_empty();
        let says_otherwise = ended.stderr.contains("from which the next run goes on");
        assert!(!is_complete || !says_otherwise, "there is nothing to go on from; {}", self.told());
        is_complete
    }

    /// Whether a run that was killed had come to its end: all of the output is there, and nothing to go on from.
    pub fn has_all(&self, subject: &Subject) -> bool {
        self.snapshots().is_empty()
            && lines_of(&self.output.join("out.ndjson")).ok().as_ref() == Some(&subject.expect.output)
    }

    /// Fails unless a run that has ended wrote what was expected and left no litter.
    pub fn check(&self, subject: &Subject, ended: &Ended) {
        self.check_written(subject, ended);
        let litter = self.litter();
        assert!(litter.is_empty(), "litter: {litter:?}; {}", self.told());
    }

    /// Fails unless a run that has ended wrote what was expected.
    pub fn check_written(&self, subject: &Subject, ended: &Ended) {
        assert_eq!(ended.code, Some(0), "the last run fails; {}", self.told());
        let (found, expect) = (self.written(ended), &subject.expect);
        self.compare("output", &found.output, &expect.output);
        self.compare("late rows", &found.late, &expect.late);
        self.compare("quarantine", &found.quarantine, &expect.quarantine);
        // A run that finds the one before at its end, but for the last steps, has counted nothing itself; one that was
        // killed at its own last step has told nothing.
        if found.late_rows.is_some() {
            assert_eq!(found.late_rows, expect.late_rows, "the count of late rows; {}", self.told());
        }
    }

    fn compare(&self, what: &str, found: &[String], expect: &[String]) {
        if found == expect {
            return;
        }
        let lacks = |some: &[String], all: &[String]| {
            let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
            for line in all {
                *counts.entry(line).or_default() += 1;
            }
            for line in some {
                *counts.entry(line).or_default() -= 1;
            }
            let lacking = counts.into_iter().filter(|(_, count)| *count > 0);
            lacking.map(|(line, _)| line.to_owned()).collect::<Vec<String>>()
        };
        let (lost, more) = (lacks(found, expect), lacks(expect, found));
        let some =
            |lines: &[String]| lines.iter().take(5).map(|line| format!("   {line}\n")).collect::<String>();
        panic!(
            "{what}: {} lines, {} expected\nlost: {}\n{}too many: {}\n{}{}",
            found.len(),
            expect.len(),
            lost.len(),
            some(&lost),
            more.len(),
            some(&more),
            self.told()
        );
    }

    /// What has been written, once the program has ended.
    fn written(&self, ended: &Ended) -> Written {
        let lines = |path: &Path| {
            lines_of(path).unwrap_or_else(|error| panic!("{}: {error}; {}", path.display(), self.told()))
        };
        // A run that was killed before it had a snapshot leaves a file of its own, of which the next knows nothing; what
        // counts is what the last one has kept.
        let mut quarantine: Vec<String> = Vec::new();
        let kept = ended.stderr.lines().find_map(|line| line.strip_prefix("bad records are in "));
        let kept =
            kept.map(PathBuf::from).into_iter().chain(files_below(&self.state.join("quarantine")).pop());
        for path in kept.take(1) {
            for line in lines(&path) {
                let mut line: serde_json::Value = serde_json::from_str(&line)
                    .unwrap_or_else(|error| panic!("quarantine: {error}: {line}; {}", self.told()));
                line.as_object_mut().expect("an object").remove("at");
                quarantine.push(line.to_string());
            }
        }
        quarantine.sort_unstable();
        Written {
            output: lines(&self.output.join("out.ndjson")),
            late: if self.pipeline.has_late { lines(&self.output.join("late.ndjson")) } else { Vec::new() },
            quarantine,
            late_rows: ended.late_rows(),
        }
    }

    /// What should not be there once a run is complete.
    pub fn litter(&self) -> Vec<String> {
        let is_output =
            |name: &String| name == "out.ndjson" || (self.pipeline.has_late && name == "late.ndjson");
        let mut litter: Vec<String> =
            names(&self.output).into_iter().filter(|name| !is_output(name)).collect();
        // Of a folder of files, what is hidden is not complete.
        let hidden =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let parts = files_below(&self.output.join("out.ndjson"));
        litter.extend(parts.iter().filter(|path| hidden(path)).map(|path| path.display().to_string()));
        let is_number = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
        let snapshots = names(&self.state.join("snapshots"));
        litter.extend(snapshots.into_iter().filter(|name| !is_number(name)));
        litter
    }

    /// Whether the newest snapshot lies in the middle of the input.
    fn is_in_the_middle(&self) -> bool {
        let Some(newest) = self.snapshots().pop() else { return false };
        let path = self.state.join("snapshots").join(newest).join("MANIFEST");
        let manifest = fs::read_to_string(path).unwrap_or_default();
        let piece = manifest.lines().find_map(|line| line.trim().strip_prefix("\"piece\": "));
        let piece = piece.and_then(|piece| piece.trim_end_matches(',').parse::<u64>().ok());
        piece.is_some_and(|piece| piece > 0 && piece < ROWS * PADDING as u64 / (1 << 20))
    }

    /// The committed snapshots from which a run can go on, oldest first: not that which says that the input is complete.
    pub fn snapshots(&self) -> Vec<String> {
        let folder = self.state.join("snapshots");
        let mut names = names(&folder);
        names.retain(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        names.retain(|name| {
            let manifest = fs::read_to_string(folder.join(name).join("MANIFEST")).unwrap_or_default();
            // Of the whole; an output of a run that was drained is finished as well.
            !manifest.contains("\n  \"finished\": true")
        });
        names
    }
}

impl Drop for History {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            // What there is to look at stays.
            drop(folder.keep());
        }
    }
}

/// The names in a folder, sorted; none where there is no such folder.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let entries = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = entries.collect();
    names.sort_unstable();
    names
}

/// The lines of a file, or of all files below a folder, sorted.
fn lines_of(path: &Path) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    for path in if path.is_dir() { files_below(path) } else { vec![path.to_owned()] } {
        lines.extend(fs::read_to_string(path)?.lines().map(str::to_owned));
    }
    lines.sort_unstable();
    Ok(lines)
}

/// The files in a folder and in those below it; none where there is no such folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let below = |name: String| {
        let path = folder.join(name);
        if path.is_dir() { files_below(&path) } else { vec![path] }
    };
    names(folder).into_iter().flat_map(below).collect()
}

/// A program that runs; it is killed when it is dropped.
pub struct Run {
    child: Child,
    stderr: PathBuf,
}

impl Run {
    /// Waits so long for `done`, or for the end of the program, or of the time.
    pub fn until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> Option<ExitStatus> {
        let started = Instant::now();
        loop {
            let status = self.child.try_wait().expect("a child");
            let left = limit.saturating_sub(started.elapsed());
            if status.is_some() || left.is_zero() || done(self) {
                return status;
            }
            thread::sleep(LOOK.min(left));
        }
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> Ended {
        match self.until(LIMIT, |_| false) {
            Some(status) => self.ended(status),
            None => panic!("it hangs; standard error: {}", self.said()),
        }
    }

    /// Kills it, as a machine that goes away would, unless it has ended already.
    pub fn kill(&mut self) -> Ended {
        drop(self.child.kill());
        let status = self.child.wait().expect("a child");
        self.ended(status)
    }

    /// Kills it, but does not wait for its end.
    pub fn begin_kill(&mut self) {
        drop(self.child.kill());
    }

    /// Sends a signal, unless it has ended already.
    pub fn signal(&mut self, signal: Signal) {
        if self.child.try_wait().expect("a child").is_none() {
            // One that has ended since but was not waited for is still there.
            kill_process(self.pid(), signal).expect("the process is there");
        }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// How many bytes it has read so far, as the kernel counts them: of all files, also from memory.
    pub fn read_bytes(&self) -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap_or_default();
        let line = io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap_or_default();
        line.parse().unwrap_or(0)
    }

    /// Waits for its end and leaves the kernel's account of it in place.
    pub fn wait_and_keep(&mut self) {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.pid()), ended).expect("a child");
    }

    /// What is on standard error so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// The most memory it has had, bytes.
    pub fn peak_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
        kilobytes << 10
    }

    fn ended(&self, status: ExitStatus) -> Ended {
        Ended { code: status.code(), signal: status.signal(), stderr: self.said() }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
