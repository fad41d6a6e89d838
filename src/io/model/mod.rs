//! A disk for tests: in memory, it forgets what was not synced, tears writes, and fails where it is told to.
//!
//! Between syncs everything is *volatile*: the content of a file until the file is synced, a name until its folder is.
//! [`ModelDisk::crash`] keeps of that what a real disk might keep: any version of each sector, any length in between, any
//! changes of names that do not rest on lost ones. It is nastier than most file systems, on which the sync of a file
//! carries its name along. What was synced always survives. One thread steps all who use the disk; all draws come from
//! seeds, and [`ModelDisk::trace`] tells two runs apart.

mod content;
mod handles;
mod script;
mod tree;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, MutexGuard, PoisonError};

pub use script::{Fault, Ignored, Lasting};

use super::storage::{BlockFile, Open, Storage, StoredFile};
use handles::{Handle, ModelBlocks};
use script::Script;
use tree::{Id, Tree};

/// How often in a row an operation begins anew after a signal.
const INTERRUPTIONS_MAX: u32 = 100;

/// An in-memory file system; copies are the same disk.
#[derive(Clone)]
pub struct ModelDisk {
    #[expect(
        clippy::disallowed_types,
        reason = "a test's disk is shared by all that run on it, and no shard runs on it otherwise"
    )]
    state: Arc<std::sync::Mutex<State>>,
}

struct State {
    tree: Tree,
    script: Script,
    random: fastrand::Rng,
    /// How many crashes there were: handles from before the last one are dead.
    lives: u64,
    capacity_bytes: Option<usize>,
    /// How often blocks in flight are looked at, at most, before one of them is written; none writes them all at once.
    slow: Option<u32>,
}

impl fmt::Debug for ModelDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("ModelDisk").field("operations", &state.script.count).finish_non_exhaustive()
    }
}

impl ModelDisk {
    /// An empty disk, which draws from a seed what failed operations come to and when slow blocks are written.
    #[must_use]
    #[expect(clippy::disallowed_types, reason = "see the field")]
    pub fn new(seed: u64) -> Self {
        let state = State {
            tree: Tree::new(),
            script: Script::default(),
            random: fastrand::Rng::with_seed(seed),
            lives: 0,
            capacity_bytes: None,
            slow: None,
        };
        Self { state: Arc::new(std::sync::Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the power away and gives it back: what was not durable survives or not, as drawn; every open handle fails
    /// from now on; faults to come are forgotten. Slowness, capacity and ignored steps stay.
    pub fn crash(&self, random: &mut fastrand::Rng) {
        let state = &mut *self.state();
        state.lives += 1;
        state.tree.crash(random);
        state.script.crashed = false;
        state.script.heal();
        state.script.note("crash".to_owned());
    }

    /// Stops the machine between two operations: all that come now fail until [`ModelDisk::crash`] or [`ModelDisk::kill`]
    /// is called.
    pub fn stop(&self) {
        self.state().script.crashed = true;
    }

    /// Ends the process and leaves the power on: what it has written is there, synced or not, and blocks in flight are
    /// written or not. Every open handle fails from now on; faults to come are forgotten.
    pub fn kill(&self, random: &mut fastrand::Rng) {
        let state = &mut *self.state();
        state.lives += 1;
        state.tree.kill(random);
        state.script.crashed = false;
        state.script.heal();
        state.script.note("kill".to_owned());
    }

    /// The faults that have come, in their order.
    #[must_use]
    pub fn fired(&self) -> Vec<Fault> {
        self.state().script.fired.clone()
    }

    /// Whether a [`Fault::Crash`] has come and [`ModelDisk::crash`] has not been called since.
    #[must_use]
    pub fn is_crashed(&self) -> bool {
        self.state().script.crashed
    }

    /// Makes an operation fail: the next one is the first.
    pub fn fail_operation(&self, nth: u64, fault: Fault, lasting: Lasting) {
        self.state().script.fail(nth, fault, lasting);
    }

    /// Forgets the faults to come, and those that stay.
    pub fn heal(&self) {
        self.state().script.heal();
    }

    /// How many operations there were: every call of a [`Storage`] or [`StoredFile`], every folder made and every removal
    /// by themselves, every write of a block, once more for each part it was written in. A second handle is none.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().script.count
    }

    /// Makes blocks in flight advance one at a time, in a drawn order, each after a drawn number of polls up to this one;
    /// none makes all of them advance with every poll.
    pub fn slow(&self, polls_max: Option<u32>) {
        self.state().slow = polls_max;
    }

    /// Limits the bytes of all files together; writes beyond that are short, then refused.
    pub fn limit(&self, capacity_bytes: Option<usize>) {
        self.state().capacity_bytes = capacity_bytes;
    }

    /// The bytes of all files that have a name or are open.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.state().tree.used()
    }

    /// Leaves a step out from now on.
    ///
    /// # Panics
    ///
    /// If its pattern is not a glob.
    pub fn ignore(&self, ignored: Ignored) {
        self.state().script.ignore(ignored);
    }

    /// How many files are open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.state().tree.handles()
    }

    /// Every file by its path, with its length in bytes.
    #[must_use]
    pub fn files(&self) -> Vec<(String, u64)> {
        self.state().tree.files()
    }

    /// Every operation so far, in words.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.state().script.trace.clone()
    }

    /// A hash of the trace: the same where two runs did the same.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.state().script.hash
    }
}

impl State {
    /// Runs an operation that changes nothing; it begins anew after a signal.
    fn look<T>(&mut self, what: &str, run: impl FnOnce(&mut Tree) -> io::Result<T>) -> io::Result<T> {
        match self.begin_anew(what)? {
            Some(fault @ (Fault::Io | Fault::Interrupted | Fault::Crash)) => Err(fault.error()),
            _ => run(&mut self.tree),
        }
    }

    /// Begins an operation, as often as signals come in between.
    fn begin_anew(&mut self, what: &str) -> io::Result<Option<Fault>> {
        for _ in 0..INTERRUPTIONS_MAX {
            let fault = self.script.begin(what)?;
            if fault != Some(Fault::Interrupted) {
                return Ok(fault);
            }
        }
        Ok(Some(Fault::Interrupted))
    }

    /// Runs an operation on names: where it fails, nobody knows whether it was done.
    fn rearrange<T>(&mut self, what: &str, run: impl FnOnce(&mut Tree) -> io::Result<T>) -> io::Result<T> {
        match self.script.begin(what)? {
            None | Some(Fault::Short) => run(&mut self.tree),
            Some(fault @ (Fault::Full | Fault::Interrupted)) => Err(fault.error()),
            Some(fault @ (Fault::Io | Fault::Crash)) => {
                if self.random.bool() {
                    run(&mut self.tree)?;
                }
                Err(fault.error())
            }
        }
    }

    /// Makes a file, unless it is there already; cuts one that is there if asked for.
    fn open(&mut self, path: &Path, how: Open, what: &str) -> io::Result<Id> {
        let open = |tree: &mut Tree| match tree.file(path) {
            Ok(id) if how != Open::New => {
                if how == Open::Truncated {
                    tree.node(id).content.cut(0);
                }
                Ok(id)
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound && how != Open::New => Err(error),
            // Which is an error where something is there.
            _ => tree.create(path, false),
        };
        let shown = shown(path);
        let fault = self.begin_anew(&format!("{what} {shown} {how:?}"))?;
        let id = match fault {
            None | Some(Fault::Short) => open(&mut self.tree)?,
            Some(Fault::Full) if how != Open::New && self.tree.file(path).is_ok() => open(&mut self.tree)?,
            Some(fault @ (Fault::Full | Fault::Interrupted)) => return Err(fault.error()),
            Some(fault @ (Fault::Io | Fault::Crash)) => {
                if self.random.bool() {
                    open(&mut self.tree)?;
                }
                return Err(fault.error());
            }
        };
        self.tree.node(id).handles += 1;
        Ok(id)
    }

    /// How many more bytes there is space for.
    fn free(&self) -> usize {
        self.capacity_bytes.map_or(usize::MAX, |capacity| capacity.saturating_sub(self.tree.used()))
    }

    /// Writes bytes at a place of a file, as many as the disk takes; yields their number.
    fn write(&mut self, id: Id, shown: &str, offset: usize, bytes: &[u8]) -> io::Result<usize> {
        let hash = xxhash_rust::xxh3::xxh3_64(bytes);
        let what = format!("write {shown} {offset}+{} {hash:016x}", bytes.len());
        let fault = self.begin_anew(&what)?;
        let free =
            self.capacity_bytes.map_or(usize::MAX, |capacity| capacity.saturating_sub(self.tree.used()));
        let content = &mut self.tree.node(id).content;
        let fitting = content.bytes().len().saturating_sub(offset).saturating_add(free).min(bytes.len());
        let half = bytes.len().div_ceil(2).min(fitting);
        let done = match fault {
            Some(Fault::Interrupted) => 0,
            Some(Fault::Io | Fault::Full | Fault::Short) => half,
            // What a write that never returned has done is drawn with the crash.
            None | Some(Fault::Crash) => fitting,
        };
        if done > 0 {
            content.write(offset, &bytes[..done]);
        }
        match fault {
            Some(fault) if fault != Fault::Short => Err(fault.error()),
            _ if done == 0 && !bytes.is_empty() => Err(Fault::Full.error()),
            _ => Ok(done),
        }
    }

    /// Makes a file durable.
    fn sync(&mut self, id: Id, shown: &str) -> io::Result<()> {
        let fault = self.script.begin(&format!("sync {shown}"))?;
        let ignored = self.script.ignores(|ignored| matches!(ignored, Ignored::SyncOf(_)), shown);
        let content = &mut self.tree.node(id).content;
        match fault {
            None | Some(Fault::Short) => {
                if !ignored {
                    content.sync();
                }
                Ok(())
            }
            Some(fault) => {
                if matches!(fault, Fault::Io | Fault::Full) {
                    content.fail_sync();
                }
                Err(fault.error())
            }
        }
    }

    /// Removes a file or an empty folder.
    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let shown = shown(path);
        let ignored = self.script.ignores(|ignored| matches!(ignored, Ignored::RemoveOf(_)), &shown);
        // The space of what is removed is there even on a full disk.
        self.rearrange(&format!("remove {shown}"), |tree| if ignored { Ok(()) } else { tree.remove(path) })
    }

    /// Removes a folder with all that is in it, one name after the other.
    fn remove_all(&mut self, path: &Path) -> io::Result<()> {
        let found = self.look(&format!("look into {}", shown(path)), |tree| {
            let found = tree.find(path)?;
            let names = tree.folder(found)?;
            Ok(names.iter().map(|(name, id)| (path.join(name), tree.is_folder(*id))).collect::<Vec<_>>())
        })?;
        for (path, is_folder) in found {
            if is_folder { self.remove_all(&path)? } else { self.remove(&path)? }
        }
        self.remove(path)
    }
}

/// A path as patterns and traces have it.
fn shown(path: &Path) -> String {
    tree::names(path).map_or_else(|_| path.display().to_string(), |names| names.join("/"))
}

/// Takes "there is none" for an answer.
fn unless_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

impl Storage for ModelDisk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        state.script.alive()?;
        let mut below = std::path::PathBuf::new();
        for name in tree::names(path)? {
            below.push(name);
            if state.tree.find(&below).is_err() {
                let what = format!("create folder {}", shown(&below));
                state.rearrange(&what, |tree| tree.create(&below, true))?;
            }
        }
        let found = state.tree.find(&below)?;
        state.tree.folder(found).map_err(|_| io::ErrorKind::AlreadyExists)?;
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let names = self.state().look(&format!("list {}", shown(path)), |tree| {
            let found = tree.find(path)?;
            Ok(tree.folder(found)?.keys().cloned().collect())
        });
        Ok(unless_missing(names)?.unwrap_or_default())
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn StoredFile>> {
        let state = &mut *self.state();
        let id = state.open(path, how, "open")?;
        Ok(Box::new(Handle::new(self.clone(), id, shown(path), state.lives)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.state().look(&format!("read {}", shown(path)), |tree| {
            let file = tree.file(path)?;
            Ok(tree.node(file).content.bytes().to_vec())
        })
    }

    fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        unless_missing(self.state().look(&format!("length {}", shown(path)), |tree| {
            let found = tree.find(path)?;
            Ok(tree.node(found).content.bytes().len() as u64)
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let what = format!("rename {} to {}", shown(from), shown(to));
        self.state().rearrange(&what, |tree| tree.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        state.script.alive()?;
        state.tree.file(path)?;
        state.remove(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        unless_missing(self.state().remove_all(path)).map(drop)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let state = &mut *self.state();
        let shown = shown(path);
        let ignored = state.script.ignores(|ignored| matches!(ignored, Ignored::SyncFolderOf(_)), &shown);
        match state.script.begin(&format!("sync folder {shown}"))? {
            None | Some(Fault::Short) => {
                let id = state.tree.find(path)?;
                state.tree.folder(id)?;
                if !ignored {
                    state.tree.sync(id);
                }
                Ok(())
            }
            // The names stay in doubt.
            Some(fault) => Err(fault.error()),
        }
    }

    fn open_blocks(&self, path: &Path) -> io::Result<Box<dyn BlockFile>> {
        let state = &mut *self.state();
        let id = state.open(path, Open::New, "open blocks")?;
        Ok(Box::new(ModelBlocks::new(Handle::new(self.clone(), id, shown(path), state.lives))))
    }
}
