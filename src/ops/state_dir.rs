//! The state directory: where it is, and that no second instance uses it.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

/// The note of a run that has begun and not ended.
const BEGUN: &str = "begun";

/// The state directory of a running pipeline; locked for the process's life.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another instance runs.
    #[error("another instance of this pipeline is running: it holds {path}/LOCK")]
    Locked {
        /// The directory.
        path: String,
    },
    /// It cannot be made or locked.
    #[error("failed to use the state directory {path}: {source}")]
    Io {
        /// The directory.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl StateDir {
    /// Where state is kept: `given` by the user, else `$STATE_DIRECTORY` (which systemd sets), else `.millstream/NAME`.
    #[must_use]
    pub fn locate(given: Option<&str>, service: Option<&str>, name: &str) -> PathBuf {
        match (given, service) {
            (Some(given), _) => PathBuf::from(given),
            // systemd separates several directories by colons; the first is ours.
            (None, Some(service)) => PathBuf::from(service.split(':').next().unwrap_or(service)),
            (None, None) => PathBuf::from(".millstream").join(name),
        }
    }

    /// Makes the directory, readable by its owner only, and locks it.
    ///
    /// # Errors
    ///
    /// If another instance holds it, or it cannot be made.
    pub fn open(path: PathBuf) -> Result<Self, StateDirError> {
        let failed = |source| StateDirError::Io { path: path.display().to_string(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("LOCK"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateDirError::Locked { path: path.display().to_string() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Whether the last run here has not come to an orderly end: it was killed, or the machine went down.
    #[must_use]
    pub fn was_interrupted(&self) -> bool {
        self.path.join(BEGUN).exists()
    }

    /// Notes that a run begins that puts its bad records into this file. Where it begins afresh, the bad records of a run that
    /// was killed before it had committed anything, and so never was, are removed.
    ///
    /// # Errors
    ///
    /// If the note cannot be made, or the file not be removed.
    pub fn begin(&self, quarantine: &Path, afresh: bool) -> io::Result<()> {
        let note = self.path.join(BEGUN);
        // What a power cut has left of a note names nothing.
        let is_name = |name: &String| name.ends_with(".ndjson") && !name.contains(['/', '\0']);
        if let Some(name) = fs::read_to_string(&note).ok().filter(|name| afresh && is_name(name)) {
            match fs::remove_file(self.quarantine_file(&name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::write(&note, quarantine.file_name().unwrap_or_default().as_encoded_bytes())
    }

    /// Notes that a run has come to an orderly end, whichever.
    pub fn ended(&self) {
        // Where the note stays, the next run takes this one for interrupted, and may lose bad records of which nothing else
        // was committed.
        drop(fs::remove_file(self.path.join(BEGUN)));
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file of bad records by its name.
    #[must_use]
    pub fn quarantine_file(&self, name: &str) -> PathBuf {
        self.path.join("quarantine").join(name)
    }

    /// A name for all that is left by runs with this directory on this machine, and by no others: 16 letters and digits.
    #[must_use]
    pub fn owner(&self) -> String {
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let machine = rustix::system::uname();
        let named = [machine.nodename().to_bytes(), b"/", path.as_os_str().as_bytes()].concat();
        format!("{:016x}", xxh3_64(&named))
    }

    /// The file for the bad records of a run that began at `wall_us`.
    #[must_use]
    pub fn quarantine(&self, wall_us: i64) -> PathBuf {
        use crate::record::text::{TimestampStyle, write_timestamp};
        let mut name = Vec::new();
        let seconds = arrow::datatypes::TimeUnit::Microsecond;
        write_timestamp(wall_us, seconds, TimestampStyle::Iso, &mut name);
        let name = String::from_utf8_lossy(&name).replace(':', "-");
        self.path.join("quarantine").join(format!("{name}Z.ndjson"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_s_word_comes_first() {
        assert_eq!(StateDir::locate(Some("/a"), Some("/b"), "n"), PathBuf::from("/a"));
        assert_eq!(StateDir::locate(None, Some("/b:/c"), "n"), PathBuf::from("/b"));
        assert_eq!(StateDir::locate(None, None, "n"), PathBuf::from(".millstream/n"));
    }

    #[test]
    fn a_second_instance_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/state");
        let first = StateDir::open(path.clone()).unwrap();
        assert!(matches!(StateDir::open(path.clone()), Err(StateDirError::Locked { .. })));
        drop(first);
        StateDir::open(path).unwrap();
    }
}
