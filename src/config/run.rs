//! `run`: how the pipeline runs on this machine.

use crate::error::{Problem, Problems};
use crate::yaml::{Fields, Key, Node, size_bytes};

/// More cores than this are refused: it is a slip of the finger.
const CORES_MAX: usize = 1024;

/// Stands for the word `all` while it is read; no number of cores is 0.
const ALL_CORES: usize = 0;

/// How the pipeline runs on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// How many cores it uses; all where the file does not say, or says `all`.
    pub cores: Option<usize>,
    /// The directory of its state, where the file says it.
    pub state_dir: Option<String>,
    /// How many bytes of state the steps may keep, where the file says it.
    pub memory_bytes: Option<u64>,
    /// When snapshots are taken and how many are kept.
    pub snapshot: Snapshot,
}

/// When snapshots are taken and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The time between two of them, milliseconds, at least 1.
    pub every_ms: i64,
    /// How many are kept, at least 1.
    pub keep: usize,
    /// After how many in a row that could not be taken the run stops, at least 1.
    pub max_failures: u32,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { every_ms: 10_000, keep: 3, max_failures: 10 }
    }
}

/// Reads `run`.
pub(super) fn read(key: &Key, node: &Node, problems: &mut Problems) -> Run {
    let mut fields = Fields::under(key, node, "run", problems);
    let cores = fields.take("cores").and_then(|node| cores(node, problems));
    let state_dir = fields.text("state_dir", problems).map(str::to_owned);
    if let Some(zone) = fields.take("time_zone") {
        zone.read_as(
            problems,
            |text| (text == "UTC").then_some(()),
            || {
                Problem::error(zone.at, "`time_zone` takes only `UTC` in this version")
                    .help("remove it, or write `time_zone: UTC`")
            },
        );
    }
    let memory_bytes = fields.entry("memory").and_then(|(_, node)| memory_bytes(node, problems));
    let snapshot = fields.entry("snapshot").map(|(key, node)| snapshot(key, node, problems));
    fields.finish(problems);
    Run { cores, state_dir, memory_bytes, snapshot: snapshot.unwrap_or_default() }
}

/// When snapshots are taken.
fn snapshot(key: &Key, node: &Node, problems: &mut Problems) -> Snapshot {
    let default = Snapshot::default();
    let mut fields = Fields::under(key, node, "run.snapshot", problems);
    let every_at = fields.meant("every").and_then(|_| fields.take("every")).map(|node| node.at);
    let every_ms = fields.duration_ms("every", problems);
    if let (Some(0), Some(at)) = (every_ms, every_at) {
        problems.push(
            Problem::error(at, "`every` is the time between two snapshots, and 0 is none")
                .help("write for instance every: 10s"),
        );
    }
    let keep =
        fields.whole("keep", 1, 1000, problems).map(|keep| usize::try_from(keep).expect("at most 1000"));
    let failures = fields.whole("max_failures", 1, 1000, problems);
    let max_failures = failures.map(|failures| u32::try_from(failures).expect("at most 1000"));
    fields.finish(problems);
    Snapshot {
        every_ms: every_ms.filter(|every_ms| *every_ms > 0).unwrap_or(default.every_ms),
        keep: keep.unwrap_or(default.keep),
        max_failures: max_failures.unwrap_or(default.max_failures),
    }
}

/// The limit of the memory that state takes.
fn memory_bytes(node: &Node, problems: &mut Problems) -> Option<u64> {
    let bytes = size_bytes(node, problems)?;
    if bytes == 0 {
        problems.push(
            Problem::error(node.at, "`memory` is the most that state may take, and 0 is nothing")
                .help("write for instance memory: 8GiB, or remove it for no limit"),
        );
        return None;
    }
    Some(bytes)
}

/// The number of cores.
fn cores(node: &Node, problems: &mut Problems) -> Option<usize> {
    let parse = |text: &str| match text {
        "all" => Some(ALL_CORES),
        _ => text.parse().ok().filter(|cores| (1..=CORES_MAX).contains(cores)),
    };
    let wrong = || {
        let what = format!("`cores` takes `all` or a whole number from 1 to {CORES_MAX}");
        Problem::error(node.at, what).help("write `cores: all` for all cores of the machine")
    };
    node.read_as(problems, parse, wrong).filter(|cores| *cores != ALL_CORES)
}
