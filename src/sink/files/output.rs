//! How a folder of files is written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::folder::{self, NewNames};
use super::super::progress::Progress;
use super::super::{Author, Job, Opening, Output, SinkError, Staged};
use super::Roll;
use super::position::{CompleteFile, OpenFile, Place, Position, recover, sweep, wrong_length};
use crate::io::{FileKind, Open, Storage, StoredFile};
use crate::time::Now;

/// How much of a file is collected before it is written, bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// How many files are written on at a time: where there are more partitions, the one that was written to the longest time
/// ago is completed. Their handles, twice while an epoch is made durable, stay below the 1024 of a usual process.
const OPEN_MAX: usize = 128;

/// How many complete files may wait to be made durable with their epoch; those beyond are made so at once, as far as they
/// were begun in it.
const UNSYNCED_MAX: usize = 128;

/// How much of the run's name is in the names of its files: no two runs that write to one folder draw the same.
const RUN_BYTES: usize = 12;

/// A folder of files at work.
pub(super) struct FilesOutput {
    storage: Arc<dyn Storage>,
    root: PathBuf,
    roll: Roll,
    prefix: String,
    extension: &'static str,
    /// What every file begins with.
    head: Vec<u8>,
    author: Author,
    /// The files that are written on, by partition.
    open: BTreeMap<String, Part>,
    /// The files that are complete, until it is known that they are visible.
    complete: Vec<Complete>,
    /// The number of the next file.
    next: u64,
    /// How many writes there have been.
    writes: u64,
    now_ms: i64,
    /// How many epochs have been staged.
    stages: u64,
    progress: Arc<Progress>,
    names: NewNames,
}

/// A file that is being written.
struct Part {
    place: Place,
    file: Box<dyn StoredFile>,
    buffer: Vec<u8>,
    /// Its length with all that is in the buffer.
    bytes: u64,
    /// When it was begun; none until the time is known.
    since_ms: Option<i64>,
    /// The number of the last write to it.
    written: u64,
    /// The stage in which it was begun; 0 where a run before this one did.
    begun: u64,
    /// The stage that the last write to it belongs to.
    stage: u64,
}

/// A complete file.
struct Complete {
    partition: String,
    file: Arc<CompletePart>,
    bytes: u64,
    /// The handle by which it is made durable; none once it is.
    handle: Option<Box<dyn StoredFile>>,
    /// The stage in which it was begun; 0 where a run before this one did.
    begun: u64,
    /// The stage that it belongs to.
    stage: u64,
}

/// What a commit job knows of a complete file.
struct CompletePart {
    place: Place,
    is_visible: AtomicBool,
}

/// Opens the folder at `path` to be written as `opening` says.
pub(super) fn open(
    path: &Path,
    roll: Roll,
    prefix: String,
    opening: &Opening,
) -> Result<Box<dyn Output + Send>, SinkError> {
    let storage = opening.storage.as_ref();
    let create = |source| SinkError::Create { path: path.display().to_string(), source };
    let changed = folder::make(storage, path)?;
    let root = storage.resolve(path).map_err(create)?;
    let resume = opening.resume.as_ref().map(Position::read).transpose()?;
    // What is complete has its own name before what is left over is removed.
    opening.resume.iter().try_for_each(|position| recover(storage, position))?;
    let position = match resume {
        Some(position) if position.root != root => {
            return Err(SinkError::Changed {
                path: root.display().to_string(),
                what: format!("the last snapshot was taken while {} was written", position.root.display()),
                help: "write to the same folder as before, or start afresh with --fresh",
            });
        }
        Some(position) => position,
        None => {
            let Author { owner, run } = opening.author.clone();
            let run = run.get(..RUN_BYTES).map_or(run.clone(), str::to_owned);
            Position { root, owner, run, ..Position::default() }
        }
    };
    let places = position.open.iter().map(|file| position.place(&file.partition, &file.name).temporary());
    let kept: BTreeSet<PathBuf> = places.collect();
    sweep(storage, &position.root, &position.owner, &kept).map_err(create)?;
    let mut output = FilesOutput {
        storage: opening.storage.clone(),
        roll,
        prefix,
        extension: opening.extension,
        head: opening.head.clone(),
        open: BTreeMap::new(),
        complete: Vec::new(),
        next: position.next,
        writes: 0,
        now_ms: 0,
        stages: 0,
        progress: Arc::default(),
        names: NewNames::default(),
        author: Author { owner: position.owner.clone(), run: position.run.clone() },
        root: position.root.clone(),
    };
    output.names.add(1, changed);
    for file in &position.open {
        let part = resume_part(storage, position.place(&file.partition, &file.name), file)?;
        output.open.insert(file.partition.clone(), part);
    }
    Ok(Box::new(output))
}

/// Goes on with a file where a snapshot has left it.
fn resume_part(storage: &dyn Storage, place: Place, file: &OpenFile) -> Result<Part, SinkError> {
    let path = place.temporary();
    let failed = |source| SinkError::Create { path: path.display().to_string(), source };
    let found = storage.look(&path).map_err(failed)?.filter(|found| found.kind == FileKind::Regular);
    let Some(found) = found else {
        return Err(SinkError::Changed {
            path: path.display().to_string(),
            what: "it is gone, with rows that no snapshot has".to_owned(),
            help: "put it back, or start afresh with --fresh",
        });
    };
    if found.length < file.bytes {
        return Err(wrong_length(&path, found.length, file.bytes));
    }
    let mut handle = storage.open_output(&path, Open::Append).map_err(failed)?;
    handle.truncate(file.bytes).map_err(failed)?;
    Ok(Part {
        place,
        file: handle,
        buffer: Vec::new(),
        bytes: file.bytes,
        since_ms: Some(file.since_ms),
        written: 0,
        begun: 0,
        stage: 0,
    })
}

impl Part {
    fn failed(&self, source: io::Error) -> SinkError {
        SinkError::Write { path: self.place.temporary().display().to_string(), source }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        self.bytes += bytes.len() as u64;
        if bytes.len() >= BUFFER_BYTES {
            return self.file.write_all(bytes).map_err(|source| self.failed(source));
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.buffer).map_err(|source| self.failed(source))?;
        self.buffer.clear();
        Ok(())
    }

    fn duplicate(&self) -> Result<Box<dyn StoredFile>, SinkError> {
        self.file.duplicate().map_err(|source| self.failed(source))
    }
}

impl FilesOutput {
    /// The stage that what is written now belongs to.
    fn stage_now(&self) -> u64 {
        self.stages + 1
    }

    /// Begins a file of a partition.
    fn begin(&mut self, partition: &str) -> Result<(), SinkError> {
        if self.open.len() >= OPEN_MAX {
            let oldest = self.open.iter().min_by_key(|(_, part)| part.written);
            let oldest = oldest.map(|(partition, _)| partition.clone());
            if let Some(oldest) = oldest {
                self.end(&oldest)?;
            }
        }
        let stage = self.stage_now();
        let folder = self.root.join(partition);
        if !partition.is_empty() {
            let changed = folder::make(self.storage.as_ref(), &folder)?;
            self.names.add(stage, changed);
            // All folders up to the root: a run that was killed may have made them and not have come to their sync.
            let above = folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.root));
            self.names.add(stage, above.map(Path::to_owned));
        }
        let name = format!("{}{}-{:08}.{}", self.prefix, self.author.run, self.next, self.extension);
        let place = Place { folder: folder.clone(), name, owner: self.author.owner.clone() };
        let path = place.temporary();
        let file = self
            .storage
            .open_output(&path, Open::New)
            .map_err(|source| SinkError::Create { path: path.display().to_string(), source })?;
        self.next += 1;
        self.names.add(stage, [folder]);
        let since_ms = (self.now_ms != 0).then_some(self.now_ms);
        let mut part =
            Part { place, file, buffer: Vec::new(), bytes: 0, since_ms, written: 0, begun: stage, stage };
        part.write(&self.head)?;
        self.open.insert(partition.to_owned(), part);
        Ok(())
    }

    /// Completes the file of a partition.
    fn end(&mut self, partition: &str) -> Result<(), SinkError> {
        let Some((partition, mut part)) = self.open.remove_entry(partition) else { return Ok(()) };
        part.flush()?;
        // One that nothing was written to since it was made durable is so still; to be sure costs nothing.
        let file = Arc::new(CompletePart { place: part.place, is_visible: AtomicBool::new(false) });
        let (bytes, begun, stage) = (part.bytes, part.begun, self.stage_now());
        self.complete.push(Complete { partition, file, bytes, handle: Some(part.file), begun, stage });
        let waiting = self.complete.iter().filter(|complete| complete.handle.is_some()).count();
        if waiting > UNSYNCED_MAX {
            self.sync_oldest()?;
        }
        Ok(())
    }

    /// Makes the complete file that waits longest durable at once, of those that the job of an earlier stage knows nothing of:
    /// if a sync of another failed here, the job's own would succeed without having anything left to write, and its stage
    /// would be committed.
    fn sync_oldest(&mut self) -> Result<(), SinkError> {
        let (stage, synced) = (self.stages, self.progress.synced());
        for complete in self.complete.iter_mut().filter(|complete| complete.stage <= synced) {
            complete.handle = None;
        }
        let mut unknown = self.complete.iter_mut().filter(|complete| complete.begun > stage);
        let Some(complete) = unknown.find(|complete| complete.handle.is_some()) else { return Ok(()) };
        let Some(mut handle) = complete.handle.take() else { return Ok(()) };
        let path = complete.file.place.temporary();
        handle.sync().or_else(|source| {
            let error = SinkError::Write { path: path.display().to_string(), source };
            self.progress.sync_ended(stage, Err(error))
        })
    }

    /// Completes the files that are old enough, or all.
    fn roll(&mut self, last: bool) -> Result<(), SinkError> {
        let (now_ms, every_ms) = (self.now_ms, self.roll.every_ms);
        let mut due = Vec::new();
        for (partition, part) in &mut self.open {
            let since_ms = *part.since_ms.get_or_insert(now_ms);
            if last || now_ms.saturating_sub(since_ms) >= every_ms {
                due.push(partition.clone());
            }
        }
        due.sort();
        due.iter().try_for_each(|partition| self.end(partition))
    }

    fn position(&self) -> Position {
        let now_ms = self.now_ms;
        let open = self.open.iter().map(|(partition, part)| OpenFile {
            partition: partition.clone(),
            name: part.place.name.clone(),
            bytes: part.bytes,
            since_ms: part.since_ms.unwrap_or(now_ms),
        });
        let mut open: Vec<OpenFile> = open.collect();
        open.sort_by(|one, other| one.name.cmp(&other.name));
        let complete = self.complete.iter().map(|complete| CompleteFile {
            partition: complete.partition.clone(),
            name: complete.file.place.name.clone(),
            bytes: complete.bytes,
        });
        Position {
            root: self.root.clone(),
            owner: self.author.owner.clone(),
            run: self.author.run.clone(),
            next: self.next,
            open,
            complete: complete.collect(),
        }
    }

    fn sync_job(&mut self) -> Result<Job, SinkError> {
        let synced = self.progress.synced();
        let mut handles = Vec::new();
        for part in self.open.values().filter(|part| part.stage > synced) {
            handles.push((part.place.temporary(), part.duplicate()?));
        }
        for complete in &mut self.complete {
            if complete.stage <= synced {
                complete.handle = None;
            } else if let Some(handle) = &complete.handle {
                let path = complete.file.place.temporary();
                let duplicate = handle.duplicate();
                let failed = |source| SinkError::Write { path: path.display().to_string(), source };
                handles.push((path.clone(), duplicate.map_err(failed)?));
            }
        }
        let folders = self.names.unsynced(synced);
        let (storage, progress, stage) = (self.storage.clone(), self.progress.clone(), self.stages);
        Ok(Box::new(move || {
            let outcome = handles.into_iter().try_for_each(|(path, mut handle)| {
                handle.sync().map_err(|source| SinkError::Write { path: path.display().to_string(), source })
            });
            progress.sync_ended(stage, outcome.and_then(|()| folder::sync(storage.as_ref(), &folders)))
        }))
    }

    fn commit_job(&self) -> Job {
        let (storage, progress, stage) = (self.storage.clone(), self.progress.clone(), self.stages);
        let complete: Vec<(Arc<CompletePart>, u64)> =
            self.complete.iter().map(|complete| (complete.file.clone(), complete.bytes)).collect();
        Box::new(move || {
            let mut folders = BTreeSet::new();
            for (file, bytes) in complete {
                if !file.is_visible.load(Ordering::Acquire) {
                    show(storage.as_ref(), &file.place, bytes)?;
                    file.is_visible.store(true, Ordering::Release);
                    folders.insert(file.place.folder.clone());
                }
            }
            folder::sync(storage.as_ref(), &folders.into_iter().collect::<Vec<_>>())?;
            progress.is_committed(stage);
            Ok(())
        })
    }
}

/// Gives a complete file its own name.
fn show(storage: &dyn Storage, place: &Place, bytes: u64) -> Result<(), SinkError> {
    let (temporary, visible) = (place.temporary(), place.visible());
    let failed = |source| SinkError::Write { path: visible.display().to_string(), source };
    match storage.rename(&temporary, &visible) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let found = storage.look(&visible).map_err(failed)?;
            if found.is_some_and(|found| found.length == bytes) {
                return Ok(());
            }
            Err(SinkError::Changed {
                path: visible.display().to_string(),
                what: format!("its temporary file {} has been removed", temporary.display()),
                help: "run the pipeline afresh with --fresh",
            })
        }
        renamed => renamed.map_err(failed),
    }
}

impl Output for FilesOutput {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.write_to("", bytes)
    }

    fn write_to(&mut self, partition: &str, bytes: &[u8]) -> Result<(), SinkError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.progress.check(&self.root)?;
        if !self.open.contains_key(partition) {
            self.begin(partition)?;
        }
        let stage = self.stage_now();
        self.writes += 1;
        let Some(part) = self.open.get_mut(partition) else { return Ok(()) };
        (part.written, part.stage) = (self.writes, stage);
        part.write(bytes)?;
        if part.bytes >= self.roll.size_bytes {
            self.end(partition)?;
        }
        Ok(())
    }

    fn tell_time(&mut self, now: Now) {
        self.now_ms = now.wall_ms();
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.progress.check(&self.root)?;
        self.open.values_mut().try_for_each(Part::flush)
    }

    fn stage(&mut self, last: bool) -> Result<Staged, SinkError> {
        self.flush()?;
        self.roll(last)?;
        self.stages += 1;
        let committed = self.progress.committed();
        self.complete.retain(|complete| complete.stage > committed);
        let position = serde_json::to_value(self.position()).map_err(|error| SinkError::Write {
            path: self.root.display().to_string(),
            source: io::Error::new(io::ErrorKind::InvalidFilename, error),
        })?;
        let (sync, commit) = (self.sync_job()?, self.commit_job());
        Ok(Staged { position, sync, commit, is_one_step: self.complete.len() <= 1 })
    }

    fn abandon(self: Box<Self>, committed: bool) {
        // The next run goes on with what the last snapshot knows, and removes the rest.
        if committed {
            return;
        }
        let hidden =
            self.complete.iter().filter(|complete| !complete.file.is_visible.load(Ordering::Acquire));
        let hidden = hidden.map(|complete| &complete.file.place);
        for place in self.open.values().map(|part| &part.place).chain(hidden) {
            let path = place.temporary();
            if let Err(error) = folder::remove(self.storage.as_ref(), &path) {
                tracing::warn!(path = %path.display(), %error, "the unfinished output could not be taken back");
            }
        }
    }
}
