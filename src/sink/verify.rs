//! The harness of outputs: whole lives of a sink, each of which may end between any two operations on its files, played
//! through snapshots to the end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Author, Form, Opening, Output, Sink, SinkError};
use crate::error::Problems;
use crate::io::{BlockFile, Disk, Found, Mode, Open, Storage, StoredFile};
use crate::record::Schema;
use crate::time::Now;
use crate::yaml::parse;

/// The real file system, up to a number of operations: the last one that changes something does half of it, and from then
/// on all fail, as for a process that was killed. Nothing is made durable: the machine lives on.
#[derive(Clone, Debug)]
pub(super) struct Mortal(Arc<AtomicU64>);

impl Mortal {
    /// Lives for a number of operations.
    pub(super) fn new(operations: u64) -> Self {
        Self(Arc::new(AtomicU64::new(operations)))
    }

    /// Whether it has ended.
    pub(super) fn is_dead(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Ends it now.
    pub(super) fn kill(&self) {
        self.revive(0);
    }

    /// Gives it a number of operations more.
    pub(super) fn revive(&self, operations: u64) {
        self.0.store(operations, Ordering::Relaxed);
    }

    fn live(&self) -> io::Result<()> {
        let left = self.0.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::Error::other("killed"));
        }
        self.0.store(left - 1, Ordering::Relaxed);
        Ok(())
    }
}

/// The real file system.
pub(super) fn disk() -> Disk {
    Disk::new(Mode::Threads)
}

impl Storage for Mortal {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.live()?;
        disk().create_folder(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.live()?;
        disk().list(path)
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn StoredFile>> {
        self.live()?;
        Ok(Box::new(MortalFile { file: disk().open(path, how)?, life: self.clone() }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.live()?;
        disk().read(path)
    }

    fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        self.live()?;
        disk().length(path)
    }

    fn look(&self, path: &Path) -> io::Result<Option<Found>> {
        self.live()?;
        disk().look(path)
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.live()?;
        disk().resolve(path)
    }

    fn copy_output(&self, from: &Path, to: &Path, bytes: u64) -> io::Result<()> {
        self.live()?;
        disk().copy_output(from, to, if self.is_dead() { bytes / 2 } else { bytes })?;
        if self.is_dead() { Err(io::Error::other("killed")) } else { Ok(()) }
    }

    fn create_output_folder(&self, path: &Path) -> io::Result<()> {
        self.live()?;
        disk().create_output_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.live()?;
        disk().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.live()?;
        disk().remove(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.live()?;
        disk().remove_folder(path)
    }

    fn sync_folder(&self, _path: &Path) -> io::Result<()> {
        self.live()
    }

    fn open_blocks(&self, path: &Path) -> io::Result<Box<dyn BlockFile>> {
        disk().open_blocks(path)
    }
}

struct MortalFile {
    file: Box<dyn StoredFile>,
    life: Mortal,
}

impl StoredFile for MortalFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let lives = self.life.live();
        if lives.is_err() || self.life.is_dead() {
            let half = if lives.is_err() { 0 } else { bytes.len() / 2 };
            self.file.write_all(&bytes[..half])?;
            return Err(io::Error::other("killed"));
        }
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.life.live()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.life.live()?;
        self.file.truncate(length)
    }

    fn duplicate(&self) -> io::Result<Box<dyn StoredFile>> {
        self.life.live()?;
        Ok(Box::new(Self { file: self.file.duplicate()?, life: self.life.clone() }))
    }

    fn inode(&self) -> io::Result<Option<u64>> {
        self.file.inode()
    }

    fn try_lock(&mut self) -> io::Result<bool> {
        self.file.try_lock()
    }
}

/// The sink that a component declares.
pub(super) fn declared(component: &str) -> Box<dyn Sink> {
    let mut problems = Problems::new();
    let node = parse(0, component, &mut problems).expect(component);
    let (key, options) = &node.map().expect("one component")[0];
    let sink = (super::kind(&key.text).expect("a kind").parse)(key, options, &mut problems);
    assert!(!problems.has_errors(), "{:?}", problems.all());
    sink.expect("a sink")
}

/// A way to open a sink for the owner `tests`.
pub(super) fn opened(
    sink: &dyn Sink,
    storage: Arc<dyn Storage>,
    resume: Option<serde_json::Value>,
    run: &str,
) -> Result<Box<dyn Output + Send>, SinkError> {
    let Form::Bytes(open) = sink.form(&Schema::new(Vec::new())) else { panic!("a sink of bytes") };
    let author = Author { owner: "tests".to_owned(), run: run.to_owned() };
    open(&Opening { storage, resume, author, head: Vec::new(), extension: "ndjson" })
}

/// Rows that go through a sink, whose lives a seed draws.
pub(super) struct Trial<'a> {
    /// The sink.
    pub sink: &'a dyn Sink,
    /// Its kind.
    pub kind: &'static super::Kind,
    /// How many rows there are; the n-th is the line `n`.
    pub rows: u64,
    /// The partition of a row.
    pub partition: fn(u64) -> String,
    /// Looks at what is visible whenever a life has ended, with the number of rows that are committed.
    pub look: &'a dyn Fn(u64),
}

/// A committed snapshot: what it says of the output, and the next row.
type Manifest = (serde_json::Value, u64);

impl Trial<'_> {
    /// Plays lives until all rows are committed. Returns how many lives it took.
    pub(super) fn play(&self, name: &str, random: &mut fastrand::Rng) -> usize {
        let mut manifests: Vec<Manifest> = Vec::new();
        for life in 1.. {
            // Every other life is long enough to get on.
            let operations = if life % 2 == 0 { random.u64(0..400) } else { random.u64(0..40) };
            let storage = Mortal::new(if life > 60 { u64::MAX } else { operations });
            let run = format!("{name}x{life}");
            let outcome = self.live(&storage, &mut manifests, &run, random);
            match outcome {
                Ok(true) => return life,
                Ok(false) => {}
                Err(error) => assert!(storage.is_dead(), "{error}"),
            }
            (self.look)(manifests.last().map_or(0, |(_, next)| *next));
        }
        unreachable!("the last life is long enough")
    }

    /// One life; whether all rows are committed and visible.
    fn live(
        &self,
        storage: &Mortal,
        manifests: &mut Vec<Manifest>,
        run: &str,
        random: &mut fastrand::Rng,
    ) -> Result<bool, SinkError> {
        let kept = manifests.len().saturating_sub(3);
        for (position, _) in &manifests[kept..] {
            (self.kind.recover)(storage, position)?;
        }
        if manifests.last().is_some_and(|(_, next)| *next == self.rows) {
            return Ok(true);
        }
        let resume = manifests.last().map(|(position, _)| position.clone());
        let mut next = manifests.last().map_or(0, |(_, next)| *next);
        let mut output = opened(self.sink, Arc::new(storage.clone()), resume, run)?;
        loop {
            for _ in 0..random.u64(0..30) {
                if next < self.rows {
                    output.write_to(&(self.partition)(next), format!("{next}\n").as_bytes())?;
                    next += 1;
                }
            }
            if random.u8(0..3) == 0 {
                output.flush()?;
            }
            if random.u8(0..40) == 0 {
                output.abandon(!manifests.is_empty());
                return Ok(false);
            }
            let is_last = next == self.rows;
            if !is_last && random.u8(0..3) > 0 {
                continue;
            }
            output.tell_time(Now {
                monotonic_us: 0,
                wall_us: i64::try_from(next).expect("few rows") * 1_000_000,
            });
            let staged = output.stage(is_last)?;
            // Some epochs are given up, before or behind their sync.
            let given_up = !is_last && random.u8(0..4) == 0;
            if given_up && random.bool() {
                continue;
            }
            (staged.sync)()?;
            if given_up {
                continue;
            }
            manifests.push((staged.position, next));
            (staged.commit)()?;
            if is_last {
                return Ok(true);
            }
        }
    }
}
