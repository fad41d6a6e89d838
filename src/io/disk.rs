//! The real file system.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::fs::{fdatasync, fsync};

use super::Mode;
use super::blocks;
use super::storage::{BlockFile, FileKind, Found, Open, Storage, StoredFile, folder_of};

/// The file system of the machine. Files are made readable by their owner only, except output.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    mode: Mode,
}

impl Disk {
    /// The file system, whose [`BlockFile`]s are written through io_uring or by threads.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self { mode }
    }
}

/// Makes a write beyond the process's limit on the size of files an error of that write. Without this the kernel's
/// SIGXFSZ ends the process.
///
/// # Errors
///
/// If the handler cannot be set.
pub fn survive_file_size_limit() -> io::Result<()> {
    let noted = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, noted).map(drop)
}

impl Storage for Disk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(folder(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names: Vec<String> = names.collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn StoredFile>> {
        open(path, how, 0o600)
    }

    fn open_output(&self, path: &Path, how: Open) -> io::Result<Box<dyn StoredFile>> {
        open(path, how, 0o666)
    }

    fn create_output_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(folder(path))
    }

    fn copy_output(&self, from: &Path, to: &Path, bytes: u64) -> io::Result<()> {
        let mut source = File::open(from)?.take(bytes);
        let mut target = File::options().write(true).create(true).truncate(true).open(to)?;
        // On file systems that can, the two share their blocks.
        let copied = io::copy(&mut source, &mut target)?;
        if copied < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn look(&self, path: &Path) -> io::Result<Option<Found>> {
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata?,
        };
        let kind = match metadata.file_type() {
            kind if kind.is_file() => FileKind::Regular,
            kind if kind.is_dir() => FileKind::Folder,
            _ => FileKind::Other,
        };
        Ok(Some(Found { kind, length: metadata.len(), inode: Some(metadata.ino()) }))
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        match (fs::canonicalize(path), path.file_name()) {
            (Err(error), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
                Ok(fs::canonicalize(folder_of(path))?.join(name))
            }
            (resolved, _) => resolved,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        Ok(fsync(File::open(folder(path))?)?)
    }

    fn open_blocks(&self, path: &Path) -> io::Result<Box<dyn BlockFile>> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        blocks::open(file, self.mode).inspect_err(|_| drop(fs::remove_file(path)))
    }
}

/// A folder as the kernel takes it: the parent of a bare file name is the empty path, which means the working folder.
fn folder(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Opens a file; a new one has the rights `mode`, as far as the process gives any.
fn open(path: &Path, how: Open, mode: u32) -> io::Result<Box<dyn StoredFile>> {
    let mut options = File::options();
    match how {
        Open::Truncated => options.write(true).create(true).truncate(true),
        Open::Append => options.append(true).create(true),
        Open::New => options.write(true).create_new(true),
    };
    Ok(Box::new(DiskFile { file: options.mode(mode).open(path)? }))
}

struct DiskFile {
    file: File,
}

impl DiskFile {
    /// Whether this is a file on a disk, as opposed to a pipe or a device, which holds nothing.
    fn is_regular(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.is_file())
    }
}

impl StoredFile for DiskFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        // Not `File::sync_data`, which begins anew where a signal comes in between: no sync is ever repeated.
        match fdatasync(&self.file) {
            Err(rustix::io::Errno::INVAL) if !self.is_regular()? => Ok(()),
            synced => Ok(synced?),
        }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        if self.is_regular()? {
            let present = self.file.metadata()?.len();
            if length > present {
                // The kernel would fill it up with zeros, which nobody ever wrote.
                let text = format!("the file has {present} bytes and cannot be cut to {length}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        }
        self.file.set_len(length)?;
        // A file that is not appended to is written where its last write ended, which may lie beyond the cut.
        self.file.seek(SeekFrom::Start(length)).map(drop)
    }

    fn duplicate(&self) -> io::Result<Box<dyn StoredFile>> {
        Ok(Box::new(Self { file: self.file.try_clone()? }))
    }

    fn inode(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.file.metadata()?.ino()))
    }

    fn try_lock(&mut self) -> io::Result<bool> {
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            // Some network file systems know no locks.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const DISK: Disk = Disk { mode: Mode::Threads };

    #[test]
    fn what_is_written_after_a_cut_goes_behind_it() {
        let check = |how: Open, present: &str, expect: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            if how != Open::New {
                fs::write(&path, present).unwrap();
            }
            let mut file = DISK.open(&path, how).unwrap();
            file.write_all(b"abcdef").unwrap();
            file.truncate(3).unwrap();
            file.duplicate().unwrap().write_all(b"X").unwrap();
            file.write_all(b"YZ").unwrap();
            file.truncate(5).unwrap();
            file.write_all(b"!").unwrap();
            file.sync().unwrap();
            assert_eq!(String::from_utf8(DISK.read(&path).unwrap()).unwrap(), expect, "{how:?}");
            assert_eq!(file.truncate(7).unwrap_err().kind(), io::ErrorKind::InvalidInput);
            assert_eq!(DISK.length(&path).unwrap(), Some(6));
        };
        check(Open::New, "", "abcXY!");
        check(Open::Truncated, "before", "abcXY!");
        check(Open::Append, "", "abcXY!");
        check(Open::Append, "01", "01aXY!");
    }

    #[test]
    fn files_and_folders_belong_to_their_owner() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        DISK.create_folder(&folder).unwrap();
        DISK.create_folder(&folder).unwrap();
        let file = folder.join("file");
        drop(DISK.open(&file, Open::New).unwrap());
        drop(DISK.open_blocks(&folder.join("blocks")).unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&root.path().join("a")), 0o700);
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(&folder.join("blocks")), 0o600);
        assert!(DISK.open(&file, Open::New).is_err());
        assert!(DISK.open_blocks(&file).is_err());
        assert_eq!(DISK.list(&folder).unwrap(), ["blocks", "file"]);
        DISK.sync_folder(&folder).unwrap();
        DISK.rename(&file, &folder.join("blocks")).unwrap();
        assert_eq!(DISK.list(&folder).unwrap(), ["blocks"]);
        assert_eq!(DISK.length(&file).unwrap(), None);
        DISK.remove_folder(&root.path().join("a")).unwrap();
        DISK.remove_folder(&root.path().join("a")).unwrap();
        assert_eq!(DISK.list(&folder).unwrap(), [""; 0]);
    }

    #[test]
    fn the_empty_path_is_the_working_folder() {
        DISK.create_folder(Path::new("")).unwrap();
        DISK.sync_folder(Path::new("")).unwrap();
        assert_eq!(DISK.list(Path::new("")).unwrap(), DISK.list(Path::new(".")).unwrap());
        assert!(!DISK.list(Path::new("")).unwrap().is_empty());
    }

    #[test]
    fn what_holds_nothing_is_synced_at_once() {
        let mut file = DISK.open(Path::new("/dev/null"), Open::Append).unwrap();
        file.write_all(b"gone").unwrap();
        file.sync().unwrap();
    }
}
