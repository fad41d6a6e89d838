//! The quarantine: bad records kept with their bytes, their origin and the reason, one JSON object a line.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::io::{Open, Storage, StoredFile, folder_of};
use crate::record::BadRecord;
use crate::record::text::{TimestampStyle, write_timestamp};
use crate::snapshot::QuarantineExtent;

/// A line of the quarantine.
#[derive(Serialize)]
struct Line<'a> {
    /// The record as it was read; as base64 where it is not UTF-8.
    raw: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_encoding: Option<&'static str>,
    source: &'a str,
    position: u64,
    error: &'a str,
    message: &'a str,
    at: String,
}

/// How much is collected before it is written, bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// The quarantine of one run; its file is made with the first record. It is a log whose length is part of a snapshot: a
/// restart cuts it to that, and the records behind it come once more.
pub struct Quarantine {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    limit_bytes: u64,
    /// The length of the file with all that is in the buffer.
    bytes: u64,
    /// How many records it holds.
    records: u64,
    buffer: Vec<u8>,
    file: Option<Box<dyn StoredFile>>,
    /// Whether the file and its folder have durable names.
    is_named: Arc<AtomicBool>,
    /// Whether a sync has failed: nobody knows what of the file is durable.
    is_lost: Arc<AtomicBool>,
}

/// What an epoch has put into the quarantine.
pub struct QuarantineStaged {
    /// Its file and its length, also where nothing has been put there yet.
    pub extent: Option<QuarantineExtent>,
    /// The file.
    pub path: Option<PathBuf>,
    /// Makes it durable.
    pub sync: Box<dyn FnOnce() -> Result<(), QuarantineError> + Send>,
}

/// Why a record cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// The file cannot be made or written.
    #[error("failed to write the quarantine {path}: {source}")]
    Write {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file is as large as it may become.
    #[error("the quarantine {path} is full: it holds {limit_bytes} bytes (bad_record.limit)")]
    Full {
        /// Which file.
        path: String,
        /// How much it may hold, bytes.
        limit_bytes: u64,
    },
    /// The file is not as the last snapshot has left it.
    #[error("cannot go on with the quarantine {path}: {what}; put it back, or start afresh with --fresh")]
    Changed {
        /// Which file.
        path: String,
        /// What is not as it was.
        what: String,
    },
}

impl Quarantine {
    /// The quarantine at `path`, which holds at most `limit_bytes` bytes with all that was in it before; it goes on from
    /// `resume`, and what lies behind that is cut off. A run that starts afresh, or has put nothing there up to its last
    /// snapshot, appends to a file that is there.
    ///
    /// # Errors
    ///
    /// If it is not as it was, or cannot be opened.
    pub fn open_at(
        storage: Arc<dyn Storage>,
        path: PathBuf,
        limit_bytes: u64,
        resume: Option<&QuarantineExtent>,
    ) -> Result<Self, QuarantineError> {
        let mut quarantine = Self {
            storage,
            path,
            limit_bytes,
            bytes: 0,
            records: 0,
            buffer: Vec::new(),
            file: None,
            is_named: Arc::default(),
            is_lost: Arc::default(),
        };
        if let Some(extent) = resume {
            quarantine.go_on(extent)?;
        }
        Ok(quarantine)
    }

    /// Goes on where a snapshot has left it.
    fn go_on(&mut self, extent: &QuarantineExtent) -> Result<(), QuarantineError> {
        let changed = |what| QuarantineError::Changed { path: self.path.display().to_string(), what };
        match self.storage.length(&self.path).map_err(|source| self.failed(source))? {
            None if extent.bytes == 0 => return Ok(()),
            None => return Err(changed("it is gone".to_owned())),
            Some(length) if length < extent.bytes => {
                let bytes = extent.bytes;
                return Err(changed(format!(
                    "it has {length} bytes, and at the last snapshot it had {bytes}"
                )));
            }
            Some(_) => {}
        }
        let mut file = self.storage.open(&self.path, Open::Append).map_err(|source| self.failed(source))?;
        file.truncate(extent.bytes).map_err(|source| self.failed(source))?;
        (self.bytes, self.records, self.file) = (extent.bytes, extent.records, Some(file));
        // A file of which the snapshot has nothing was made behind it, by a run that may not have come to its sync.
        self.is_named.store(extent.bytes > 0, Ordering::Release);
        Ok(())
    }

    /// Keeps a record; `wall_us` is the time.
    ///
    /// # Errors
    ///
    /// If it cannot be kept; the run ends.
    pub fn keep(&mut self, record: &BadRecord, wall_us: i64) -> Result<(), QuarantineError> {
        let line = line(record, wall_us);
        if self.file.is_none() {
            self.make().map_err(|source| self.failed(source))?;
        }
        if self.bytes + line.len() as u64 > self.limit_bytes {
            let (path, limit_bytes) = (self.path.display().to_string(), self.limit_bytes);
            return Err(QuarantineError::Full { path, limit_bytes });
        }
        if self.buffer.len() + line.len() > BUFFER_BYTES {
            self.flush()?;
        }
        self.bytes += line.len() as u64;
        self.records += 1;
        self.buffer.extend_from_slice(&line);
        Ok(())
    }

    /// Passes on what was kept back.
    ///
    /// # Errors
    ///
    /// If it cannot be written; the run ends.
    pub fn flush(&mut self) -> Result<(), QuarantineError> {
        if self.is_lost.load(Ordering::Acquire) {
            return Err(self.failed(lost()));
        }
        let Some(file) = self.file.as_mut().filter(|_| !self.buffer.is_empty()) else { return Ok(()) };
        let written = file.write_all(&self.buffer);
        // What could not be written is not tried again: part of it may be there.
        self.buffer.clear();
        written.map_err(|source| self.failed(source))
    }

    /// Ends an epoch behind what has been kept so far, and passes that on.
    ///
    /// # Errors
    ///
    /// As [`Quarantine::flush`].
    pub fn stage(&mut self) -> Result<QuarantineStaged, QuarantineError> {
        self.flush()?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let extent = QuarantineExtent { file: name, bytes: self.bytes, records: self.records };
        let Some(file) = &self.file else {
            // Its name is told all the same: what is put there later and not committed is found by it.
            return Ok(QuarantineStaged { extent: Some(extent), path: None, sync: Box::new(|| Ok(())) });
        };
        let mut file = file.duplicate().map_err(|source| self.failed(source))?;
        let (storage, path) = (self.storage.clone(), self.path.clone());
        let (is_named, is_lost) = (self.is_named.clone(), self.is_lost.clone());
        let sync = move || {
            let names = || {
                let folder = folder_of(&path);
                storage.sync_folder(&folder)?;
                storage.sync_folder(&folder_of(&folder))
            };
            let named = || if is_named.load(Ordering::Acquire) { Ok(()) } else { names() };
            // It may have been staged before the sync of an earlier epoch failed. A sync behind that one may succeed without
            // having written what that one lost.
            let trusted = if is_lost.load(Ordering::Acquire) { Err(lost()) } else { Ok(()) };
            let synced = trusted.and_then(|()| file.sync()).and_then(|()| named());
            is_named.fetch_or(synced.is_ok(), Ordering::Release);
            is_lost.fetch_or(synced.is_err(), Ordering::Release);
            synced.map_err(|source| QuarantineError::Write { path: path.display().to_string(), source })
        };
        Ok(QuarantineStaged { extent: Some(extent), path: Some(self.path.clone()), sync: Box::new(sync) })
    }

    fn failed(&self, source: io::Error) -> QuarantineError {
        QuarantineError::Write { path: self.path.display().to_string(), source }
    }

    /// Makes the file, or goes on behind what another run has put there.
    fn make(&mut self) -> io::Result<()> {
        self.storage.create_folder(&folder_of(&self.path))?;
        if self.storage.length(&self.path)?.is_some() {
            let text = self.storage.read(&self.path)?;
            self.bytes = text.len() as u64;
            self.records = text.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        self.file = Some(self.storage.open(&self.path, Open::Append)?);
        Ok(())
    }
}

/// Why nothing is trusted behind a sync that has failed.
fn lost() -> io::Error {
    io::Error::other("it could not be made durable")
}

fn line(record: &BadRecord, wall_us: i64) -> Vec<u8> {
    let mut at = Vec::new();
    write_timestamp(wall_us, arrow::datatypes::TimeUnit::Microsecond, TimestampStyle::Iso, &mut at);
    at.push(b'Z');
    let (raw, raw_encoding) = record.raw_text();
    let line = Line {
        raw,
        raw_encoding,
        source: &record.source,
        position: record.position,
        error: record.error,
        message: &record.message,
        at: String::from_utf8(at).expect("a timestamp is text"),
    };
    let mut line = serde_json::to_vec(&line).expect("text and numbers are JSON");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use std::fs;

    use super::*;
    use crate::io::{Disk, Fault, Lasting, Mode, ModelDisk};

    fn record(raw: &[u8]) -> BadRecord {
        let message = "no \"good\"".to_owned();
        BadRecord { source: "in.ndjson".into(), position: 7, error: "decode", message, raw: raw.to_vec() }
    }

    #[test]
    fn a_record_is_kept_whole() {
        let text = |raw: &[u8]| String::from_utf8(line(&record(raw), 1_500_000)).unwrap();
        let rest = r#""source":"in.ndjson","position":7,"error":"decode","message":"no \"good\"","at":"1970-01-01T00:00:01.5Z"}"#;
        assert_eq!(text(b"{\"a\""), format!("{{\"raw\":\"{{\\\"a\\\"\",{rest}\n"));
        assert_eq!(text(b"\xff"), format!("{{\"raw\":\"/w==\",\"raw_encoding\":\"base64\",{rest}\n"));
    }

    fn opened(
        path: &Path,
        limit_bytes: u64,
        resume: Option<&QuarantineExtent>,
    ) -> Result<Quarantine, QuarantineError> {
        Quarantine::open_at(Arc::new(Disk::new(Mode::Threads)), path.to_owned(), limit_bytes, resume)
    }

    #[test]
    fn the_quarantine_is_bounded_and_made_when_it_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quarantine/run.ndjson");
        let mut quarantine = opened(&path, 300, None).unwrap();
        let extent = quarantine.stage().unwrap().extent.unwrap();
        assert_eq!((extent.file.as_str(), extent.bytes, extent.records), ("run.ndjson", 0, 0));
        assert!(!path.exists());
        quarantine.keep(&record(b"x"), 0).unwrap();
        quarantine.flush().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        assert!(matches!(quarantine.keep(&record(&[b'x'; 300]), 0), Err(QuarantineError::Full { .. })));
        // What was there before counts as well.
        let mut quarantine = opened(&path, 150, None).unwrap();
        assert!(matches!(quarantine.keep(&record(b"x"), 0), Err(QuarantineError::Full { .. })));
    }

    #[test]
    fn a_restart_goes_on_from_the_last_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quarantine/run.ndjson");
        let mut quarantine = opened(&path, 100_000, None).unwrap();
        quarantine.keep(&record(b"1"), 0).unwrap();
        let staged = quarantine.stage().unwrap();
        (staged.sync)().unwrap();
        let extent = staged.extent.unwrap();
        assert_eq!((extent.file.as_str(), extent.records), ("run.ndjson", 1));
        quarantine.keep(&record(b"lost"), 0).unwrap();
        quarantine.flush().unwrap();
        drop(quarantine);
        assert!(fs::read_to_string(&path).unwrap().contains("lost"));
        // The limit is on the whole.
        let mut quarantine = opened(&path, extent.bytes + 10, Some(&extent)).unwrap();
        assert!(matches!(quarantine.keep(&record(b"2"), 0), Err(QuarantineError::Full { .. })));
        let mut quarantine = opened(&path, 100_000, Some(&extent)).unwrap();
        quarantine.keep(&record(b"2"), 0).unwrap();
        let staged = quarantine.stage().unwrap();
        assert_eq!(staged.extent.unwrap().records, 2);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() == 2 && !text.contains("lost"), "{text}");
        let told = |extent: &QuarantineExtent| opened(&path, 1000, Some(extent)).err().unwrap().to_string();
        let longer = QuarantineExtent { bytes: 1 << 20, ..extent.clone() };
        assert!(told(&longer).contains("at the last snapshot it had 1048576; put it back"));
        fs::remove_file(&path).unwrap();
        assert!(told(&extent).contains("it is gone"));
    }

    /// The end of the run was staged while the epoch before it was still being made durable; that failed, and the end was
    /// told as done although what the failed sync had covered was gone.
    #[test]
    fn what_was_staged_before_a_sync_failed_is_not_durable_either() {
        let storage = Arc::new(ModelDisk::new(1));
        let path = PathBuf::from("/state/quarantine/run.ndjson");
        let mut quarantine = Quarantine::open_at(storage.clone(), path, 100_000, None).unwrap();
        quarantine.keep(&record(b"1"), 0).unwrap();
        let epoch = quarantine.stage().unwrap();
        quarantine.keep(&record(b"2"), 0).unwrap();
        let end = quarantine.stage().unwrap();
        storage.fail_operation(1, Fault::Full, Lasting::Once);
        let told = |error: QuarantineError| error.to_string();
        assert!((epoch.sync)().is_err());
        let expect =
            "failed to write the quarantine /state/quarantine/run.ndjson: it could not be made durable";
        assert_eq!((end.sync)().map_err(told), Err(expect.to_owned()));
        assert_eq!(quarantine.stage().err().map(told).as_deref(), Some(expect));
    }
}
