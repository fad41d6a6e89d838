//! Nexmark's queries killed and restored: a run that takes snapshots all the time is killed with `kill -9` at a random
//! instant and started again on another number of shards, several times over, until it has come to its end. Its rows are
//! those of a run that nothing has disturbed.
//!
//! `MILLSTREAM_FAULTS=N` makes N kills of each query, `MILLSTREAM_EVENTS=N` takes as many events, `MILLSTREAM_SEED=N` begins
//! with another seed, and `MILLSTREAM_PROGRAM` names another program than the one under test, such as a release build:
//!
//! ```sh
//! MILLSTREAM_FAULTS=40 MILLSTREAM_EVENTS=500000 cargo test --test nexmark kills -- --nocapture
//! ```

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use xxhash_rust::xxh3::xxh3_128;

use crate::scene::{LIMIT, Scene, repository};
use crate::{generate, output_of, reference, rows_of, table};

/// How many kills of a query fit into a test run, and how many events.
const KILLS: u64 = 2;
const EVENTS: usize = 10_000;

/// How many bytes the input has at least: barriers lie between mebibytes of it, and there are to be many. What is lacking is
/// in a field that no query reads.
const INPUT_BYTES: usize = 32 << 20;

/// The numbers of shards that a history goes through.
const SHARDS: [usize; 5] = [1, 2, 3, 4, 8];

/// How often a running program is looked at.
const LOOK: Duration = Duration::from_micros(500);

fn number_from(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: it takes a whole number")))
}

/// Makes the events, shuffled by the 4 s of the watermark.
fn input(scene: &Scene) {
    let events =
        number_from("MILLSTREAM_EVENTS").map_or(EVENTS, |events| usize::try_from(events).expect("few"));
    let options = ["--events", &events.to_string(), "--tps", "400", "--seed", "5", "--shuffle", "1600"];
    generate(scene, "in.ndjson", &options);
    let text = scene.read("in.ndjson");
    let padding = "x".repeat(INPUT_BYTES.saturating_sub(text.len()) / events);
    if !padding.is_empty() {
        let end = format!(",\"padding\":\"{padding}\"}}\n");
        let lines = text.lines().map(|line| line.strip_suffix('}').expect("an event"));
        scene.write("in.ndjson", lines.flat_map(|line| [line, &end]).collect::<String>());
    }
}

/// A query, its input, and what it writes when nothing disturbs it.
struct Subject {
    query: &'static str,
    scene: Scene,
    expect: Digest,
    undisturbed: Duration,
}

/// What has become of a query, told when something is wrong.
struct History<'a> {
    subject: &'a Subject,
    random: Rng,
    log: Vec<String>,
    shards: usize,
}

/// How a run ended.
struct Ended {
    /// The exit code; none after a signal.
    code: Option<i32>,
    stderr: String,
}

impl Ended {
    fn has_resumed(&self) -> bool {
        self.stderr.lines().any(|line| line.contains("going on from snapshot"))
    }
}

/// The number of rows and a sum over them that no order changes: millions of rows need not fit into memory.
type Digest = (u64, u128);

fn digest(scene: &Scene, output: &str) -> Digest {
    let add = |(rows, sum): Digest, row: &str| (rows + 1, sum.wrapping_add(xxh3_128(row.as_bytes())));
    if Path::new(&scene.path(output)).is_dir() {
        return rows_of(scene, output).lines().fold((0, 0), add);
    }
    let lines = BufReader::new(File::open(scene.path(output)).expect("an output")).lines();
    lines.fold((0, 0), |digest, line| add(digest, &line.expect("UTF-8")))
}

impl Subject {
    fn new(query: &'static str) -> Self {
        let scene = Scene::new();
        input(&scene);
        let mut subject = Self { query, scene, expect: (0, 0), undisturbed: Duration::ZERO };
        let started = Instant::now();
        let ended = History::new(&subject, 0).run(1, &["--fresh"], |_| false);
        assert_eq!(ended.code, Some(0), "{query}: {}", ended.stderr);
        subject.undisturbed = started.elapsed();
        subject.expect = digest(&subject.scene, subject.output());
        assert!(subject.expect.0 > 0, "{query}: there is something to lose");
        subject
    }

    fn output(&self) -> &'static str {
        if self.query == "q10" { "archive" } else { "out.ndjson" }
    }

    /// Whether all rows have been written, and are what they have to be.
    fn is_written(&self) -> bool {
        if !Path::new(&self.scene.path(self.output())).exists() {
            return false;
        }
        if self.query == "q12" {
            // Its windows are the clock's.
            reference(&self.scene, "q12", "in.ndjson", "out.ndjson", &[]);
            return true;
        }
        digest(&self.scene, self.output()) == self.expect
    }

    /// The committed snapshots from which a run can go on.
    fn snapshots(&self) -> Vec<String> {
        let mut names = self.scene.names("state/snapshots");
        names.retain(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        names.retain(|name| {
            let path = self.scene.path(&format!("state/snapshots/{name}/MANIFEST"));
            let manifest = fs::read_to_string(path).unwrap_or_default();
            !manifest.contains("\n  \"finished\": true")
        });
        names
    }
}

impl<'a> History<'a> {
    fn new(subject: &'a Subject, seed: u64) -> Self {
        let log = vec![format!("{}, seed {seed} (MILLSTREAM_SEED={seed} repeats the draws)", subject.query)];
        Self { subject, random: Rng::with_seed(seed), log, shards: 0 }
    }

    /// Another number of shards than that of the run before.
    fn other_shards(&mut self) -> usize {
        let others: Vec<usize> = SHARDS.into_iter().filter(|shards| *shards != self.shards).collect();
        self.shards = others[self.random.usize(..others.len())];
        self.shards
    }

    /// Runs the query on so many shards until it ends, or until `kill` holds.
    fn run(&mut self, shards: usize, options: &[&str], mut kill: impl FnMut(&Subject) -> bool) -> Ended {
        let scene = &self.subject.scene;
        let file = repository(&format!("pipelines/nexmark/{}.yaml", self.subject.query));
        let stderr = scene.path("stderr");
        let program = env::var("MILLSTREAM_PROGRAM");
        let mut command = Command::new(program.as_deref().unwrap_or(env!("CARGO_BIN_EXE_millstream")));
        command.current_dir(scene.path(".")).arg("run").arg(file);
        command.args([
            "--state-dir",
            "state",
            "--set",
            "run.snapshot.every=20ms",
            "--cores",
            &shards.to_string(),
        ]);
        command.args(options).env("NEXMARK_INPUT", "in.ndjson").env("NEXMARK_TABLE", table(scene));
        command.env("NEXMARK_OUTPUT", self.subject.output()).stdin(Stdio::null()).stdout(Stdio::null());
        for name in ["STATE_DIRECTORY", "NOTIFY_SOCKET", "JOURNAL_STREAM", "MILLSTREAM_LOG"] {
            command.env_remove(name);
        }
        command.stderr(File::create(&stderr).expect("a file in the scratch directory"));
        let (mut child, started) = (command.spawn().expect("the program starts"), Instant::now());
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break status;
            }
            if kill(self.subject) || started.elapsed() > LIMIT {
                drop(child.kill());
                break child.wait().expect("a child");
            }
            thread::sleep(LOOK);
        };
        let ended = Ended { code: status.code(), stderr: scene.read("stderr") };
        self.log.push(format!(
            "-- {shards} shards, {status} after {:?}\n{}",
            started.elapsed(),
            ended.stderr
        ));
        assert!(started.elapsed() < LIMIT, "it hangs: {}", self.told());
        ended
    }

    /// Runs it on another number of shards and kills it at a random instant: any, or one near the commit of a snapshot.
    fn run_and_kill(&mut self) -> Ended {
        let at = self.subject.undisturbed.mul_f64(self.random.f64());
        let soon = Duration::from_millis(8).mul_f64(self.random.f64());
        // Which of its snapshots; a run that goes on from another has fewer before it.
        let commits = if self.random.u8(..3) == 0 { usize::MAX } else { self.random.usize(1..6) };
        let (started, mut newest, mut seen) = (Instant::now(), self.subject.snapshots().pop(), 0);
        let mut seen_at = None;
        let shards = self.other_shards();
        self.run(shards, &[], |subject| {
            if seen < commits {
                let now = subject.snapshots().pop();
                seen += usize::from(now.is_some() && now != newest);
                newest = now.or(newest.take());
            } else {
                seen_at.get_or_insert_with(Instant::now);
            }
            let limit = if commits == usize::MAX { at } else { at.max(subject.undisturbed / 2) };
            started.elapsed() > limit || seen_at.is_some_and(|seen_at: Instant| seen_at.elapsed() > soon)
        })
    }

    fn told(&self) -> String {
        self.log.join("\n")
    }
}

/// One history with at most so many kills; how many there were, and how many runs went on from a snapshot.
fn history(subject: &Subject, seed: u64, most: u64) -> (u64, u64) {
    output_of(&subject.scene, subject.query);
    for name in ["out.ndjson", "state"] {
        let path = subject.scene.path(name);
        drop(if Path::new(&path).is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) });
    }
    let mut history = History::new(subject, seed);
    let (mut kills, mut resumed) = (0, 0);
    loop {
        let ended = if kills < most {
            history.run_and_kill()
        } else {
            let shards = history.other_shards();
            history.run(shards, &[], |_| false)
        };
        assert!(ended.code.is_none_or(|code| code == 0), "{}", history.told());
        resumed += u64::from(ended.has_resumed());
        kills += u64::from(ended.code.is_none());
        // One that is killed when it has done all but tidy up leaves nothing to go on from.
        let is_at_its_end = subject.snapshots().is_empty() && subject.is_written();
        if ended.code == Some(0) || is_at_its_end {
            assert!(
                subject.is_written(),
                "other rows than those of the run that was not disturbed: {}",
                history.told()
            );
            return (kills, resumed);
        }
    }
}

fn check(queries: &[&'static str]) {
    let (seed, wanted) =
        (number_from("MILLSTREAM_SEED").unwrap_or(1), number_from("MILLSTREAM_FAULTS").unwrap_or(KILLS));
    for query in queries {
        let subject = Subject::new(query);
        let (mut kills, mut resumed, mut histories) = (0, 0, 0);
        while kills < wanted || resumed == 0 {
            let (more, resumes) =
                history(&subject, seed + histories, wanted.saturating_sub(kills).clamp(1, 4));
            kills += more;
            resumed += resumes;
            histories += 1;
            assert!(
                histories < 20 + 4 * wanted,
                "{query}: {histories} runs, {kills} killed, {resumed} gone on from"
            );
        }
        println!(
            "{query}: {kills} kills in {histories} histories from seed {seed} on, {resumed} of them gone on from"
        );
    }
}

#[test]
fn winning_bids_survive_kills() {
    check(&["q4", "q6", "q9"]);
}

#[test]
fn joins_survive_kills() {
    check(&["q3", "q8", "q20", "q23"]);
}

#[test]
fn windows_survive_kills() {
    check(&["qt", "q5", "q7", "q11", "q12"]);
}

#[test]
fn running_queries_survive_kills() {
    check(&["q15", "q16", "q17", "q18", "q19"]);
}

#[test]
fn bids_one_at_a_time_survive_kills() {
    check(&["q0", "q1", "q2", "q10", "q13", "q14", "q21", "q22"]);
}
