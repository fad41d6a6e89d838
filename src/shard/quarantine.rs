//! The quarantine: bad records kept with their bytes, their origin and the reason, one JSON object a line.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use serde::Serialize;

use crate::record::BadRecord;
use crate::snapshot::QuarantineExtent;
use crate::record::text::{TimestampStyle, write_timestamp};

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

/// The quarantine of one run; its file is made with the first record.
pub struct Quarantine {
    path: PathBuf,
    limit_bytes: u64,
    written_bytes: u64,
    file: Option<BufWriter<File>>,
}

/// What an epoch has put into the quarantine.
pub struct QuarantineStaged {
    /// Its file and its length; none where there is none.
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
}

impl Quarantine {
    /// A quarantine at `path` that holds at most `limit_bytes` bytes.
    #[must_use]
    pub fn new(path: PathBuf, limit_bytes: u64) -> Self {
        Self { path, limit_bytes, written_bytes: 0, file: None }
    }

    /// Stub.
    pub fn open_at(
        _storage: std::sync::Arc<dyn crate::io::Storage>,
        path: PathBuf,
        limit_bytes: u64,
        _resume: Option<&QuarantineExtent>,
    ) -> Result<Self, QuarantineError> {
        Ok(Self::new(path, limit_bytes))
    }

    /// Stub.
    pub fn stage(&mut self) -> Result<QuarantineStaged, QuarantineError> {
        self.flush()?;
        let path = self.path().map(Path::to_owned);
        Ok(QuarantineStaged { extent: None, path, sync: Box::new(|| Ok(())) })
    }

    /// Where the records are, if there are any.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|_| self.path.as_path())
    }

    /// Keeps a record; `wall_us` is the time.
    ///
    /// # Errors
    ///
    /// If it cannot be kept; the run ends.
    pub fn keep(&mut self, record: &BadRecord, wall_us: i64) -> Result<(), QuarantineError> {
        let line = line(record, wall_us);
        self.written_bytes += line.len() as u64;
        if self.written_bytes > self.limit_bytes {
            let (path, limit_bytes) = (self.path.display().to_string(), self.limit_bytes);
            return Err(QuarantineError::Full { path, limit_bytes });
        }
        let written = self.open().and_then(|file| file.write_all(&line));
        written.map_err(|source| self.failed(source))
    }

    /// Passes on what was kept back.
    ///
    /// # Errors
    ///
    /// If it cannot be written; the run ends.
    pub fn flush(&mut self) -> Result<(), QuarantineError> {
        let flushed = self.file.as_mut().map_or(Ok(()), Write::flush);
        flushed.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> QuarantineError {
        QuarantineError::Write { path: self.path.display().to_string(), source }
    }

    fn open(&mut self) -> io::Result<&mut BufWriter<File>> {
        if self.file.is_none() {
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder)?;
            }
            self.file = Some(BufWriter::new(File::options().append(true).create(true).open(&self.path)?));
        }
        Ok(self.file.as_mut().expect("just opened"))
    }
}

fn line(record: &BadRecord, wall_us: i64) -> Vec<u8> {
    let mut at = Vec::new();
    write_timestamp(wall_us, arrow::datatypes::TimeUnit::Microsecond, TimestampStyle::Iso, &mut at);
    at.push(b'Z');
    let (raw, raw_encoding) = match std::str::from_utf8(&record.raw) {
        Ok(text) => (text.into(), None),
        Err(_) => (base64::engine::general_purpose::STANDARD.encode(&record.raw).into(), Some("base64")),
    };
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
    use super::*;

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

    #[test]
    fn the_quarantine_is_bounded_and_made_when_it_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quarantine/run.ndjson");
        let mut quarantine = Quarantine::new(path.clone(), 300);
        assert!(quarantine.path().is_none() && !path.exists());
        quarantine.keep(&record(b"x"), 0).unwrap();
        quarantine.flush().unwrap();
        assert_eq!(fs::read_to_string(quarantine.path().unwrap()).unwrap().lines().count(), 1);
        assert!(matches!(quarantine.keep(&record(&[b'x'; 300]), 0), Err(QuarantineError::Full { .. })));
    }
}
