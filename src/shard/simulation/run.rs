//! Runs a case and judges it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Once;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::case::{Case, Life};
use super::coverage::Coverage;
use super::input::Input;
use super::life::{End, LifeReport, Machines, Process, STATE};
use super::outcome::Outcome;
use super::pipelines::{planned, text_of};
use crate::io::{Ignored, ModelDisk, Storage};
use crate::plan::Plan;
use crate::shard::recovery::{Wish, recover};
use crate::snapshot::{Access, Counts};
use crate::time::Now;

/// When the first process of every case starts, microseconds after 1970.
const START_WALL_US: i64 = 1_800_000_000_000_000;

/// What all cases share that one thread runs: inputs, plans, and the outcomes of undisturbed runs.
pub struct World {
    folder: PathBuf,
    plans: BTreeMap<(String, Input), Rc<Plan>>,
    expected: BTreeMap<(String, Input), Rc<Outcome>>,
    /// What has happened so far.
    pub coverage: Coverage,
}

/// How a case has ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The processes that there were.
    pub processes: Vec<Process>,
    /// A hash of all that was done: the same whenever the case is repeated.
    pub hash: u64,
}

impl World {
    /// An empty one; inputs are written below `folder`, which is removed in the end.
    ///
    /// # Errors
    ///
    /// Of the file system.
    pub fn new(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, plans: BTreeMap::new(), expected: BTreeMap::new(), coverage: Coverage::default() })
    }

    fn plan(&mut self, pipeline: &str, input: Input) -> Result<Rc<Plan>, String> {
        let key = (pipeline.to_owned(), input);
        if let Some(plan) = self.plans.get(&key) {
            return Ok(plan.clone());
        }
        let folder = self.folder.join(input.folder());
        if !folder.exists() {
            input.write(&folder).map_err(|error| format!("the input cannot be written: {error}"))?;
        }
        let plan = Rc::new(planned(pipeline, &folder.display().to_string())?);
        self.plans.insert(key, plan.clone());
        Ok(plan)
    }

    /// What an undisturbed run on one shard comes to.
    fn expected(&mut self, pipeline: &str, input: Input) -> Result<Rc<Outcome>, String> {
        let key = (pipeline.to_owned(), input);
        if let Some(expected) = self.expected.get(&key) {
            return Ok(expected.clone());
        }
        let life = Life {
            shards: 1,
            lanes: 64,
            weights: vec![1],
            snapshot_every_us: None,
            step_us: 1,
            wakes_for_nothing: false,
            slow_polls: None,
            requests: Vec::new(),
            drain: None,
            abort: None,
            faults: Vec::new(),
            full: None,
            crash: None,
            power_cut: false,
        };
        let lives = vec![life];
        let case =
            Case { seed: 0, pipeline: pipeline.to_owned(), input, keep: 1, power_cut_at_end: false, lives };
        let plan = self.plan(pipeline, input)?;
        let mut coverage = Coverage::default();
        let mut machines = machines(&plan, &case, &mut coverage);
        let report = machines.live(&case, 0)?;
        if report.end != End::Done {
            return Err(format!("the undisturbed run has not come to its end: {:?}", report.end));
        }
        let outcome = Rc::new(Outcome::seen(&machines.disk, &report.quarantine, report.counts)?);
        self.expected.insert(key, outcome.clone());
        Ok(outcome)
    }

    /// Runs a case on a disk that leaves some steps out.
    ///
    /// # Errors
    ///
    /// What must never happen, in words.
    pub fn run(&mut self, case: &Case, ignored: &[Ignored]) -> Result<Passed, String> {
        watch_panics();
        let expected = crate::mutant::without(|| self.expected(&case.pipeline, case.input))?;
        let plan = self.plan(&case.pipeline, case.input)?;
        let mut coverage = Coverage::default();
        let mut machines = machines(&plan, case, &mut coverage);
        for step in ignored {
            machines.disk.ignore(step.clone());
        }
        WATCHED.set(true);
        let outcome = catch_unwind(AssertUnwindSafe(|| judge(&mut machines, case, &expected)));
        WATCHED.set(false);
        self.coverage.add(&coverage);
        outcome.unwrap_or_else(|_| Err(format!("a panic: {}", PANIC.take())))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What is left behind is a few small files in the folder for such.
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn machines<'a>(plan: &'a Plan, case: &Case, coverage: &'a mut Coverage) -> Machines<'a> {
    let mut random = fastrand::Rng::with_seed(case.seed);
    let disk = ModelDisk::new(random.u64(..));
    // The user has made it, some time ago.
    disk.create_folder(Path::new("/out")).expect("an empty disk takes it");
    disk.sync_folder(Path::new("/")).expect("an empty disk takes it");
    let now = Now { monotonic_us: 0, wall_us: START_WALL_US };
    Machines { plan, disk, random, now, coverage }
}

/// Runs all processes of a case.
fn judge(machines: &mut Machines<'_>, case: &Case, expected: &Outcome) -> Result<Passed, String> {
    let (mut hash, mut processes) = (0, Vec::new());
    for (number, life) in case.lives.iter().enumerate() {
        let told = |what: String| format!("process {number}: {what}");
        let report = machines.live(case, number).map_err(told)?;
        hash = xxh3_64_with_seed(&report.hash.to_le_bytes(), hash);
        processes.push(report.process);
        let last = number + 1 == case.lives.len();
        if has_ended(machines, &report).map_err(told)? {
            at_the_end(machines, case, number, &report, expected).map_err(told)?;
            hash = xxh3_64_with_seed(&machines.disk.trace_hash().to_le_bytes(), hash);
            return Ok(Passed { processes, hash });
        }
        match &report.end {
            End::Failed(what) if !life.may_fail() => {
                return Err(told(format!("it has failed although nothing went wrong: {what}")));
            }
            End::Failed(_) => machines.coverage.note("failed processes"),
            End::Done if last => return Err(told("it was drained although nobody asked".to_owned())),
            _ => {}
        }
        in_between(machines, case, number, expected).map_err(told)?;
        let said_nothing = report.end == End::Crashed || matches!(report.end, End::Failed(_));
        if said_nothing && has_ended_unseen(machines, case, expected).map_err(told)? {
            machines.coverage.note("ends that nobody has seen");
            return Ok(Passed { processes, hash });
        }
    }
    Err("the last process has not come to its end".to_owned())
}

/// Whether the input is complete and all of it is visible: then nothing is left to go on from.
fn has_ended(machines: &Machines<'_>, report: &LifeReport) -> Result<bool, String> {
    Ok(match report.end {
        End::Completed => true,
        End::Done => match machines.store().newest().map_err(|error| error.to_string())? {
            Some(newest) => newest.manifest.is_ok_and(|manifest| manifest.finished),
            None => true,
        },
        _ => false,
    })
}

/// Whether a process has done all there was to do and was killed, or the disk failed, before it could say so. The next one
/// starts afresh, and what it writes comes beside what is there where nothing is replaced.
fn has_ended_unseen(machines: &Machines<'_>, case: &Case, expected: &Outcome) -> Result<bool, String> {
    let adds = is_in_place(&case.pipeline) || text_of(&case.pipeline).contains("files:");
    let newest = machines.store().newest().map_err(|error| error.to_string())?;
    let files = machines.disk.files();
    let mut outputs = files.iter().filter(|(path, _)| path.starts_with("out/"));
    if !adds || newest.is_some() || outputs.any(|(path, _)| path.contains("/.")) {
        return Ok(false);
    }
    let visible = Outcome::seen(&machines.disk, Path::new("/none"), expected.counts)?;
    Ok((&visible.main, &visible.side) == (&expected.main, &expected.side))
}

/// Whether the pipeline writes to a file that readers see while it grows.
fn is_in_place(pipeline: &str) -> bool {
    text_of(pipeline).contains("append: true")
}

/// What has to be true between two processes.
fn in_between(machines: &Machines<'_>, case: &Case, number: usize, expected: &Outcome) -> Result<(), String> {
    let visible = Outcome::seen(&machines.disk, Path::new("/none"), Counts::default())?;
    // Rows in place may be taken back; what is renamed is there for good.
    if !is_in_place(&case.pipeline)
        && let Some(excess) = visible.excess(expected)
    {
        return Err(excess);
    }
    let committed = Outcome::committed(&machines.disk, &machines.store())?;
    if let Some(excess) = committed.and_then(|committed| committed.excess(expected)) {
        return Err(format!("committed: {excess}"));
    }
    let snapshots = machines.store().list().map_err(|error| error.to_string())?.len();
    let may_fail = case.lives.iter().any(Life::may_fail);
    // A process that ends between a commit and what is removed then leaves one more.
    if snapshots > case.keep + number + 1 && !may_fail {
        return Err(format!("{snapshots} snapshots are kept instead of {}", case.keep));
    }
    Ok(())
}

/// What has to be true once the input is complete.
fn at_the_end(
    machines: &mut Machines<'_>,
    case: &Case,
    number: usize,
    report: &LifeReport,
    expected: &Outcome,
) -> Result<(), String> {
    // A process that finds everything done has counted nothing and knows of no bad records.
    let counts = if report.end == End::Done { report.counts } else { expected.counts };
    let quarantine = if report.end == End::Done { Some(report.quarantine.clone()) } else { None };
    compare(machines, quarantine.as_deref(), counts, expected)?;
    // What was removed last may be back when the power goes; the next start removes it.
    let life = &case.lives[number];
    if !life.power_cut && !life.may_fail() {
        litter(machines)?;
    }
    if case.power_cut_at_end {
        machines.disk.crash(&mut machines.random);
        compare(machines, quarantine.as_deref(), counts, expected)
            .map_err(|what| format!("after a power cut at the end: {what}"))?;
        let store = machines.store();
        let found = recover(
            machines.plan,
            &machines.disk,
            &store,
            Access::Read,
            Wish { interrupted: true, ..Wish::default() },
        )
        .map_err(|error| format!("after a power cut at the end: {error}"))?;
        if found.recovery.is_some() {
            return Err("after a power cut at the end the next run goes on from a snapshot".to_owned());
        }
        compare(machines, quarantine.as_deref(), counts, expected)
            .map_err(|what| format!("after the start behind the end: {what}"))?;
    }
    Ok(())
}

fn compare(
    machines: &Machines<'_>,
    quarantine: Option<&Path>,
    counts: Counts,
    expected: &Outcome,
) -> Result<(), String> {
    let mut seen = Outcome::seen(&machines.disk, quarantine.unwrap_or(Path::new("/none")), counts)?;
    if quarantine.is_none() {
        seen.quarantine.clone_from(&expected.quarantine);
    }
    seen.difference(expected).map_or(Ok(()), Err)
}

/// Nothing is left of snapshots and unfinished outputs.
fn litter(machines: &Machines<'_>) -> Result<(), String> {
    let snapshots = format!("{STATE}/snapshots");
    let left = machines.disk.list(Path::new(&snapshots)).map_err(|error| error.to_string())?;
    let files = machines.disk.files().into_iter().map(|(path, _)| path);
    let hidden = files.filter(|path| path.split('/').any(|name| name.starts_with('.')));
    // The last snapshot says that the input is complete.
    match left.into_iter().skip(1).chain(hidden).next() {
        Some(path) => Err(format!("{path} is left behind")),
        None => Ok(()),
    }
}

thread_local! {
    /// Whether a panic of this thread is caught.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    /// What the last panic has said.
    static PANIC: Cell<String> = const { Cell::new(String::new()) };
}

/// Has panics of cases be kept instead of shown.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if WATCHED.get() { PANIC.set(info.to_string()) } else { before(info) }
        }));
    });
}
