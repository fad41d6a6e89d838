//! What a snapshot keeps of files, by which they are known again: how long they were and what is in them before the
//! barrier, at its beginning and right before the place where reading goes on.

use std::cell::RefCell;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::schedule::{Input, Inputs};
use crate::record::Barrier;
use crate::source::{Position, Resume, SourceError};

/// How much of a file a sample covers, bytes.
const SAMPLE_BYTES: u64 = 64 << 10;
/// No chunk is larger, bytes: a limit for what a damaged position may ask for.
const CHUNK_BYTES_MAX: u64 = 1 << 30;

/// The position of an input of files.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    chunk_bytes: u64,
    files: Vec<RecordedFile>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordedFile {
    path: String,
    /// Its length when the run started: so much of it is read.
    bytes: u64,
    /// How much of it is before the barrier, bytes.
    read: u64,
    identity: Option<Identity>,
    /// Whether that ends inside of quotes, where quotes are minded and it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_quotes: Option<bool>,
    /// None where it was gone or replaced after it had been read to its end.
    samples: Option<Samples>,
}

/// By what a file is told from another of its name while a run lasts, and a change from a replacement afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    /// When it was written to last, seconds and nanoseconds since 1970.
    modified: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { device: metadata.dev(), inode: metadata.ino(), modified }
    }

    /// Whether both are one file, whatever was written to it in between.
    fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// The XXH3-64 of what is in a file before the barrier, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Samples {
    /// Of its first 64 KiB.
    head: String,
    /// Of the last 64 KiB.
    tail: String,
}

impl Samples {
    /// The samples of what is before `read` in a file.
    fn of(file: &File, read: u64) -> io::Result<Self> {
        let sample = |from: u64| {
            let bytes = SAMPLE_BYTES.min(read - from);
            let mut buffer = vec![0; usize::try_from(bytes).expect("a sample is small")];
            file.read_exact_at(&mut buffer, from)?;
            Ok::<_, io::Error>(format!("{:016x}", xxh3_64(&buffer)))
        };
        Ok(Self { head: sample(0)?, tail: sample(read.saturating_sub(SAMPLE_BYTES))? })
    }
}

/// A file as it is now; opened once here, so that one that may not be read is told before anything starts.
///
/// # Errors
///
/// If it cannot be read, or is no regular file.
pub(super) fn input(path: &str) -> Result<Input, SourceError> {
    let (_, metadata) = open(path)?;
    let identity = Some(Identity::of(&metadata));
    Ok(Input { bytes: metadata.len(), identity, path: path.into(), heading: None, begun: None })
}

pub(super) fn open(path: &str) -> Result<(File, Metadata), SourceError> {
    let failed = |source| SourceError::Open { path: path.to_owned(), source };
    // Looked at before it is opened: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(SourceError::NotAFile(path.to_owned()));
    }
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    Ok((file, metadata))
}

/// Tells the position at a barrier.
pub(super) fn teller(inputs: Arc<Inputs>) -> Position {
    let known: RefCell<Vec<Option<(u64, Samples)>>> = RefCell::new(vec![None; inputs.files.len()]);
    Box::new(move |barrier: Barrier| {
        let mut known = known.borrow_mut();
        let reads = inputs.read_before(barrier.piece);
        let files = inputs.files.iter().zip(reads).zip(known.iter_mut()).enumerate();
        let files = files.map(|(file, ((input, read), known))| {
            let part = read / inputs.chunk_bytes;
            let in_quotes = inputs.quotes.as_ref().and_then(|quotes| quotes.known(file, part));
            // What has been read to its end stays as it is, also where the file is gone.
            if known.as_ref().is_none_or(|(at, _)| *at != read) {
                *known = match samples(input, read) {
                    Err(_) if read == input.bytes => None,
                    samples => Some((read, samples?)),
                };
            }
            let samples = known.as_ref().map(|(_, samples)| samples.clone());
            let path = input.path.to_string();
            Ok(RecordedFile { path, bytes: input.bytes, read, identity: input.identity, in_quotes, samples })
        });
        let files = files.collect::<Result<_, SourceError>>()?;
        let recorded = Recorded { chunk_bytes: inputs.chunk_bytes, files };
        Ok(serde_json::to_value(recorded).expect("text and numbers are JSON"))
    })
}

/// The samples of what has been read of a file, if it is still the one that has been read.
fn samples(input: &Input, read: u64) -> Result<Samples, SourceError> {
    let (file, metadata) = open(&input.path)?;
    if input.identity.is_none_or(|identity| !identity.is_same_file(&Identity::of(&metadata))) {
        return Err(SourceError::Replaced { path: input.path.to_string() });
    }
    Samples::of(&file, read).map_err(|source| SourceError::Read {
        path: input.path.to_string(),
        position: 0,
        source,
    })
}

/// The files that a snapshot has recorded, once they have been found to be the same.
///
/// # Errors
///
/// If one is missing, shorter or another, or if the position is none of files.
pub(super) fn resume(resume: &Resume) -> Result<Inputs, SourceError> {
    let recorded: Recorded = serde_json::from_value(resume.position.clone())
        .map_err(|error| SourceError::Position(error.to_string()))?;
    if !(1..=CHUNK_BYTES_MAX).contains(&recorded.chunk_bytes) {
        return Err(SourceError::Position(format!("chunks of {} bytes", recorded.chunk_bytes)));
    }
    let files = recorded.files.iter().map(known_again).collect::<Result<_, _>>()?;
    let inputs = Inputs { files, chunk_bytes: recorded.chunk_bytes, quotes: None };
    let reads = inputs.read_before(resume.barrier.piece);
    match recorded.files.iter().zip(reads).find(|(file, read)| file.read != *read) {
        None => Ok(inputs),
        Some((file, read)) => Err(SourceError::Position(format!(
            "{} bytes of {} are before the barrier by the list of files, {read} by the barrier",
            file.read, file.path
        ))),
    }
}

/// The file of a record, if it is there and what has been read of it is as it was.
fn known_again(recorded: &RecordedFile) -> Result<Input, SourceError> {
    let RecordedFile { path, bytes, read, .. } = recorded;
    let begun = recorded.in_quotes.map(|inside| (*read, inside));
    let input =
        |identity| Input { path: path.as_str().into(), bytes: *bytes, identity, heading: None, begun };
    // A file that has been read to its end is not needed: it may have been cleared away.
    let is_read = read == bytes;
    let gone = matches!(std::fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound);
    if is_read && (gone || recorded.samples.is_none()) && *bytes > 0 {
        return Ok(input(None));
    }
    if gone {
        return Err(SourceError::Missing { path: path.clone() });
    }
    let (file, metadata) = open(path)?;
    let identity = Identity::of(&metadata);
    let same_file = recorded.identity.is_some_and(|recorded| recorded.is_same_file(&identity));
    if metadata.len() < *bytes {
        let how = if same_file { "truncated" } else { "replaced" };
        return Err(SourceError::Shorter {
            path: path.clone(),
            expected: *bytes,
            found: metadata.len(),
            how,
        });
    }
    let failed = |source| SourceError::Read { path: path.clone(), position: 0, source };
    let samples = Samples::of(&file, *read).map_err(failed)?;
    if let Some(before) = recorded.samples.as_ref().filter(|before| **before != samples) {
        let what = if before.head == samples.head {
            format!("the {} bytes before byte {read}", SAMPLE_BYTES.min(*read))
        } else {
            format!("its first {} bytes", SAMPLE_BYTES.min(*read))
        };
        let how = if same_file { "written over" } else { "replaced by another file" };
        return Err(SourceError::Changed { path: path.clone(), what, how });
    }
    let written = recorded.identity.is_some_and(|recorded| recorded.modified != identity.modified);
    if same_file && written && metadata.len() == *bytes {
        tracing::warn!(
            "{path} has been written to since the snapshot; as far as that was looked at, what was read of it is the same"
        );
    }
    Ok(input(Some(identity)))
}

/// Warns of files that match the pattern now and are not among those of the snapshot.
pub(super) fn tell_new(matches: &[String], inputs: &Inputs) {
    let is_known = |path: &String| inputs.files.iter().any(|input| *input.path == **path);
    let new: Vec<&str> = matches.iter().filter(|path| !is_known(path)).map(String::as_str).collect();
    if let Some(first) = new.first() {
        tracing::warn!(
            "{} new files match, the first of them {first}; this run goes on with the files of the snapshot, and reads none of them",
            new.len()
        );
    }
}
