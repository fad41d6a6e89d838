//! Files as the snapshot protocol and the sinks see them: so that a test can put a disk in their place which fails,
//! forgets what was not synced, and stops the world between any two operations.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A file system. All operations block, so they are called off the shards, except [`Storage::open_blocks`].
#[expect(clippy::missing_errors_doc, reason = "said once, of all operations")]
pub trait Storage: fmt::Debug + Send + Sync {
    /// Makes a folder and those above it, readable by their owner only; one that is there is left alone.
    ///
    /// # Errors
    ///
    /// Of the file system; so for all operations.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// The names in a folder, sorted; none of a folder that is not there.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Opens a file to be written, as `how` says.
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn StoredFile>>;

    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// How long a file is, bytes; none where there is no such file.
    fn length(&self, path: &Path) -> io::Result<Option<u64>>;

    /// What a path leads to, links followed; none where there is nothing.
    fn look(&self, path: &Path) -> io::Result<Option<Found>> {
        let found = |length| Found { kind: FileKind::Regular, length, inode: None };
        Ok(self.length(path)?.map(found))
    }

    /// The path from the root, without links; what is not there keeps its name.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    /// Opens a file for output, which others may read as far as the process lets them.
    fn open_output(&self, path: &Path, how: Open) -> io::Result<Box<dyn StoredFile>> {
        self.open(path, how)
    }

    /// Makes a file at `to`, or empties the one that is there, and copies the first bytes of another into it; an error
    /// where there are fewer.
    fn copy_output(&self, from: &Path, to: &Path, bytes: u64) -> io::Result<()> {
        let content = self.read(from)?;
        let length = usize::try_from(bytes).ok().filter(|length| *length <= content.len());
        let length = length.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.open_output(to, Open::Truncated)?.write_all(&content[..length])
    }

    /// Makes a folder for output and those above it, which others may read as far as the process lets them; one that is
    /// there is left alone.
    fn create_output_folder(&self, path: &Path) -> io::Result<()> {
        self.create_folder(path)
    }

    /// Gives a file or a folder another name, in the place of a file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder and all that is in it; one that is not there is no error.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes a new file that is written in blocks without blocking the caller.
    fn open_blocks(&self, path: &Path) -> io::Result<Box<dyn BlockFile>>;
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: FileKind,
    /// How long it is, bytes; of a regular file.
    pub length: u64,
    /// What tells it apart from a file that had its name before; none where nothing does.
    pub inode: Option<u64>,
}

/// What there is in a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A file that can be cut and renamed.
    Regular,
    /// A folder.
    Folder,
    /// A pipe or a device: what was written to it is gone.
    Other,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Empty; what was there is gone.
    Truncated,
    /// At its end; it is made where it is not there.
    Append,
    /// It must not be there.
    New,
}

/// An open file, written from one end to the other.
#[expect(clippy::missing_errors_doc, reason = "said once, of all operations")]
pub trait StoredFile: Send {
    /// Writes all bytes behind what is there.
    ///
    /// # Errors
    ///
    /// Of the file system; then any part of them may have been written. So for all operations.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was written durable. A sync that has failed is never repeated: what it covered is lost.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to a length, bytes; what is written next goes behind that.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Another handle of the same file, by which another thread can sync it.
    fn duplicate(&self) -> io::Result<Box<dyn StoredFile>>;

    /// What tells the file apart, as in [`Found`].
    fn inode(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }

    /// Whether it is locked now for this handle and its duplicates: false where somebody else has locked it. Where the
    /// file system knows no locks it always is. The last handle that goes unlocks it.
    fn try_lock(&mut self) -> io::Result<bool> {
        Ok(true)
    }
}

/// The bytes that a [`BlockFile`] writes at once.
pub const BLOCK_BYTES: usize = 256 << 10;

/// What the length of a [`BlockFile`] is a multiple of, bytes.
pub const ALIGNMENT: u64 = 4096;

/// A new file that is written in blocks of [`BLOCK_BYTES`], several of them in flight, by a caller that never waits. What
/// was written short is written on by the file itself.
pub trait BlockFile: Send {
    /// How many bytes can be taken now.
    fn room(&self) -> usize;

    /// Takes bytes to be written behind those before them: at most as many as there is room for.
    fn write(&mut self, bytes: &[u8]);

    /// Asks for what is left to be written, filled up with zeros to a multiple of [`ALIGNMENT`], and for the file to be
    /// made durable once every block is written. Called once, behind the last write.
    fn finish(&mut self);

    /// Takes notice of what has been written; whether the file is finished and durable.
    ///
    /// # Errors
    ///
    /// The first error of any operation; the file is of no use then.
    fn poll(&mut self) -> io::Result<bool>;
}

/// The path of a file beside which others are: its folder, or the working folder.
#[must_use]
pub fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The same error once more: the first error of a file is what every later look at it yields.
pub(super) fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
