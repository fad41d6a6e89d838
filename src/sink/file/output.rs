//! How a file is written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::folder::{self, NewNames};
use super::super::progress::Progress;
use super::super::{Author, Job, Opening, Output, SinkError, Staged};
use super::position::{self, Position, Undo, beside, sweep, temporary};
use crate::io::{FileKind, Open, Storage, StoredFile, folder_of};

/// How much is collected before it is written, bytes.
const BUFFER_BYTES: usize = 256 << 10;
/// So much at once is not collected, bytes: to copy it would take longer than to write it by itself.
const DIRECT_BYTES: usize = 32 << 10;

/// What to do about an output that is not as it was left.
const PUT_BACK: &str = "put it back, or start afresh with --fresh";

/// A file at work.
pub(super) struct FileOutput {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    file: Box<dyn StoredFile>,
    buffer: Vec<u8>,
    /// The length of the file with all that is in the buffer.
    bytes: u64,
    /// The least length that a committed epoch may count on; none before the first epoch.
    staged_bytes: Option<u64>,
    target: Target,
    author: Author,
    /// How many epochs have been staged.
    stages: u64,
    progress: Arc<Progress>,
    names: NewNames,
}

enum Target {
    /// Renamed to the path at the end.
    Renamed { temporary: PathBuf, drained: u64 },
    /// Written where it is; `before` is its length before the run, none where it was not there.
    InPlace { before: Option<u64>, undo: PathBuf, inode: Option<u64> },
    /// A pipe or a device.
    AsItIs,
}

/// Opens the file at `path` to be written as `opening` says.
pub(super) fn open(
    path: &Path,
    append: bool,
    opening: &Opening,
) -> Result<Box<dyn Output + Send>, SinkError> {
    let storage = opening.storage.as_ref();
    let create = |source| SinkError::Create { path: path.display().to_string(), source };
    let changed = folder::make(storage, &folder_of(path))?;
    let found = storage.look(path).map_err(create)?;
    // What is there and is no regular file is written to as it is; that a folder is none says the system itself.
    if found.is_some_and(|found| found.kind != FileKind::Regular) {
        let file = storage.open_output(path, Open::Append).map_err(create)?;
        return FileOutput::new(path.to_owned(), file, Target::AsItIs, opening).headed(&opening.head);
    }
    // A link's target is replaced, not the link.
    let path = storage.resolve(path).map_err(create)?;
    let resume = opening.resume.as_ref().map(position::read).transpose()?;
    let mut output = match (resume, append) {
        (None, false) => fresh(path, opening)?,
        (None, true) => fresh_in_place(path, opening)?,
        (Some(Position::Renamed { path: before, temporary, bytes, drained, finished }), false) => {
            same_place(&before, &path)?;
            if finished {
                resume_drained(path, bytes, drained + 1, opening)?
            } else {
                resume_renamed(path, temporary, bytes, drained, opening)?
            }
        }
        (Some(Position::InPlace { path: before, bytes, inode, undo, .. }), true) => {
            same_place(&before, &path)?;
            resume_in_place(path, bytes, inode, undo, opening)?
        }
        (Some(_), _) => return Err(changed_error(&path, "it was written in another way", PUT_BACK)),
    };
    output.names.add(1, changed);
    output.headed(&opening.head)
}

fn changed_error(path: &Path, what: impl Into<String>, help: &'static str) -> SinkError {
    SinkError::Changed { path: path.display().to_string(), what: what.into(), help }
}

fn same_place(before: &Path, now: &Path) -> Result<(), SinkError> {
    if before == now {
        return Ok(());
    }
    let what = format!("the last snapshot was taken while {} was written", before.display());
    Err(changed_error(now, what, "write to the same file as before, or start afresh with --fresh"))
}

/// Opens a file at its end and locks it; somebody else may have renamed it meanwhile.
fn open_locked(storage: &dyn Storage, file: &Path, path: &Path) -> Result<Box<dyn StoredFile>, SinkError> {
    let failed = |source| SinkError::Create { path: file.display().to_string(), source };
    let mut opened = storage.open_output(file, Open::Append).map_err(failed)?;
    let is_ours = opened.try_lock().map_err(failed)?;
    let found = storage.look(file).map_err(failed)?;
    if !is_ours || found.is_none_or(|found| opened.inode().is_ok_and(|inode| inode != found.inode)) {
        return Err(SinkError::Taken(path.display().to_string()));
    }
    Ok(opened)
}

fn fresh(path: PathBuf, opening: &Opening) -> Result<FileOutput, SinkError> {
    let (storage, owner) = (opening.storage.as_ref(), &opening.author.owner);
    let temporary = temporary(&path, owner, 0);
    let failed = |source| SinkError::Create { path: temporary.display().to_string(), source };
    let mut file = open_locked(storage, &temporary, &path)?;
    sweep(storage, &path, owner, &temporary).map_err(failed)?;
    file.truncate(0).map_err(failed)?;
    let folder = folder_of(&path);
    let mut output = FileOutput::new(path, file, Target::Renamed { temporary, drained: 0 }, opening);
    output.names.add(1, [folder]);
    Ok(output)
}

/// Goes on with a file that has its own name, because the run before was drained: with a copy of it, so that what is there
/// stays until more is.
fn resume_drained(
    path: PathBuf,
    bytes: u64,
    drained: u64,
    opening: &Opening,
) -> Result<FileOutput, SinkError> {
    let storage = opening.storage.as_ref();
    let failed = |source| SinkError::Create { path: path.display().to_string(), source };
    match storage.look(&path).map_err(failed)? {
        None => return Err(changed_error(&path, "it is gone", PUT_BACK)),
        Some(found) if found.length != bytes => return Err(too_short(&path, found.length, bytes)),
        Some(_) => {}
    }
    let temporary = temporary(&path, &opening.author.owner, drained);
    storage.copy_output(&path, &temporary, bytes).map_err(failed)?;
    let file = open_locked(storage, &temporary, &path)?;
    let folder = folder_of(&path);
    let mut output = FileOutput::new(path, file, Target::Renamed { temporary, drained }, opening);
    (output.bytes, output.staged_bytes) = (bytes, Some(bytes));
    output.names.add(1, [folder]);
    Ok(output)
}

fn resume_renamed(
    path: PathBuf,
    temporary: PathBuf,
    bytes: u64,
    drained: u64,
    opening: &Opening,
) -> Result<FileOutput, SinkError> {
    let failed = |source| SinkError::Create { path: temporary.display().to_string(), source };
    match opening.storage.look(&temporary).map_err(failed)? {
        None => {
            let what = format!("its temporary file {} is gone", temporary.display());
            return Err(changed_error(&path, what, PUT_BACK));
        }
        Some(found) if found.length < bytes => {
            return Err(too_short(&temporary, found.length, bytes));
        }
        Some(_) => {}
    }
    let mut file = open_locked(opening.storage.as_ref(), &temporary, &path)?;
    file.truncate(bytes).map_err(failed)?;
    let mut output = FileOutput::new(path, file, Target::Renamed { temporary, drained }, opening);
    (output.bytes, output.staged_bytes) = (bytes, Some(bytes));
    Ok(output)
}

fn too_short(path: &Path, length: u64, bytes: u64) -> SinkError {
    let what = format!("it has {length} bytes, and at the last snapshot it had {bytes}");
    changed_error(path, what, PUT_BACK)
}

fn fresh_in_place(path: PathBuf, opening: &Opening) -> Result<FileOutput, SinkError> {
    let storage = opening.storage.as_ref();
    let failed = |source| SinkError::Create { path: path.display().to_string(), source };
    let undo = beside(&path, &opening.author.owner, "undo");
    let mut before = storage.look(&path).map_err(failed)?.map(|found| found.length);
    let left = Undo::read(storage, &undo)?;
    let mut file = open_locked(storage, &path, &path)?;
    let inode = file.inode().map_err(failed)?;
    // A run that was killed before its first snapshot is taken back.
    if let (Some(left), Some(length)) = (left, before)
        && (left.inode.is_none() || left.inode == inode)
        && left.bytes.unwrap_or(0) <= length
    {
        file.truncate(left.bytes.unwrap_or(0)).map_err(failed)?;
        before = left.bytes;
    }
    let run = opening.author.run.clone();
    Undo { run, bytes: before, inode }.keep(storage, &undo).map_err(failed)?;
    let folder = folder_of(&path);
    let mut output = FileOutput::new(path, file, Target::InPlace { before, undo, inode }, opening);
    output.bytes = before.unwrap_or(0);
    output.names.add(1, [folder]);
    Ok(output)
}

fn resume_in_place(
    path: PathBuf,
    bytes: u64,
    inode: Option<u64>,
    undo: PathBuf,
    opening: &Opening,
) -> Result<FileOutput, SinkError> {
    let storage = opening.storage.as_ref();
    let failed = |source| SinkError::Create { path: path.display().to_string(), source };
    let Some(found) = storage.look(&path).map_err(failed)? else {
        return Err(changed_error(&path, "it is gone", PUT_BACK));
    };
    if inode.is_some() && found.inode.is_some() && inode != found.inode {
        let what = "it is another file than at the last snapshot, which has been renamed or replaced";
        return Err(changed_error(&path, what, PUT_BACK));
    }
    if found.length < bytes {
        return Err(too_short(&path, found.length, bytes));
    }
    let mut file = open_locked(storage, &path, &path)?;
    file.truncate(bytes).map_err(failed)?;
    let target = Target::InPlace { before: Some(bytes), undo, inode };
    let mut output = FileOutput::new(path, file, target, opening);
    (output.bytes, output.staged_bytes) = (bytes, Some(bytes));
    Ok(output)
}

impl FileOutput {
    fn new(path: PathBuf, file: Box<dyn StoredFile>, target: Target, opening: &Opening) -> Self {
        Self {
            storage: opening.storage.clone(),
            path,
            file,
            buffer: Vec::new(),
            bytes: 0,
            staged_bytes: None,
            target,
            author: opening.author.clone(),
            stages: 0,
            progress: Arc::default(),
            names: NewNames::default(),
        }
    }

    /// The same, with `head` written where it begins with nothing in it: a new file, a pipe, or a file that is there and
    /// empty. It goes the way of the rows, so that a crash neither loses nor doubles it.
    fn headed(mut self, head: &[u8]) -> Result<Box<dyn Output + Send>, SinkError> {
        if self.bytes == 0 && !head.is_empty() {
            self.write(head)?;
        }
        Ok(Box::new(self))
    }

    fn failed(&self, source: io::Error) -> SinkError {
        SinkError::Write { path: self.path.display().to_string(), source }
    }

    fn position(&self, last: bool) -> Position {
        let (path, bytes) = (self.path.clone(), self.bytes);
        match &self.target {
            Target::Renamed { temporary, drained } => Position::Renamed {
                path,
                temporary: temporary.clone(),
                drained: *drained,
                bytes,
                finished: last,
            },
            Target::InPlace { undo, inode, .. } => Position::InPlace {
                path,
                bytes,
                inode: *inode,
                undo: undo.clone(),
                run: self.author.run.clone(),
            },
            Target::AsItIs => Position::AsItIs { path },
        }
    }

    fn sync_job(&mut self) -> Result<Job, SinkError> {
        if matches!(self.target, Target::AsItIs) {
            return Ok(Box::new(|| Ok(())));
        }
        let mut file = self.file.duplicate().map_err(|source| self.failed(source))?;
        let folders = self.names.unsynced(self.progress.synced());
        let (storage, path, stage) = (self.storage.clone(), self.path.clone(), self.stages);
        let progress = self.progress.clone();
        Ok(Box::new(move || {
            let synced =
                file.sync().map_err(|source| SinkError::Write { path: path.display().to_string(), source });
            progress.sync_ended(stage, synced.and_then(|()| folder::sync(storage.as_ref(), &folders)))
        }))
    }

    fn commit_job(&self, last: bool) -> Job {
        let (storage, path, bytes) = (self.storage.clone(), self.path.clone(), self.bytes);
        let (progress, stage) = (self.progress.clone(), self.stages);
        match &self.target {
            Target::Renamed { temporary, .. } if last => {
                let temporary = temporary.clone();
                Box::new(move || position::rename(storage.as_ref(), &temporary, &path, bytes))
            }
            Target::InPlace { undo, .. } if self.progress.committed() == 0 => {
                let undo = undo.clone();
                Box::new(move || {
                    position::forget(storage.as_ref(), &undo, &path)?;
                    progress.is_committed(stage);
                    Ok(())
                })
            }
            _ => Box::new(|| Ok(())),
        }
    }

    fn take_back(&mut self, committed: bool) -> io::Result<()> {
        let storage = self.storage.as_ref();
        match (&self.target, committed) {
            (Target::AsItIs, _) | (Target::Renamed { .. }, true) => Ok(()),
            (Target::Renamed { temporary, .. }, false) => folder::remove(storage, temporary),
            // Whether what was staged last has been committed is not known here; where it has not, the next run cuts it.
            (Target::InPlace { .. }, true) => {
                self.staged_bytes.map_or(Ok(()), |bytes| self.file.truncate(bytes))
            }
            (Target::InPlace { before, undo, .. }, false) => {
                match before {
                    Some(before) => {
                        self.file.truncate(*before)?;
                        self.file.sync()?;
                    }
                    // Else a power cut could take the note away and leave the file.
                    None => folder::remove_durably(storage, &self.path)?,
                }
                folder::remove(storage, undo)
            }
        }
    }
}

impl Output for FileOutput {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        if bytes.len() >= DIRECT_BYTES || self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        self.bytes += bytes.len() as u64;
        if bytes.len() >= DIRECT_BYTES {
            return self.file.write_all(bytes).map_err(|source| self.failed(source));
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.progress.check(&self.path)?;
        if !self.buffer.is_empty() {
            self.file.write_all(&self.buffer).map_err(|source| self.failed(source))?;
            self.buffer.clear();
        }
        Ok(())
    }

    fn stage(&mut self, last: bool) -> Result<Staged, SinkError> {
        self.flush()?;
        self.stages += 1;
        self.staged_bytes = Some(self.bytes);
        let position = serde_json::to_value(self.position(last))
            .map_err(|error| self.failed(io::Error::new(io::ErrorKind::InvalidFilename, error)))?;
        Ok(Staged { position, sync: self.sync_job()?, commit: self.commit_job(last), is_one_step: true })
    }

    fn abandon(mut self: Box<Self>, committed: bool) {
        if let Err(error) = self.take_back(committed) {
            tracing::warn!(path = %self.path.display(), %error, "the unfinished output could not be taken back");
        }
    }
}
