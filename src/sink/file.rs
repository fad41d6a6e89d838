//! `file`: one file, written under a temporary name and renamed when it is complete, or with `append: true` in place.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use super::{Changes, Form, Kind, Output, Sink, SinkError, Staged, changes};
use crate::error::Problems;
use crate::record::Schema;
use crate::yaml::{Fields, Key, Node};

/// The entry in the registry.
pub(super) const KIND: Kind = Kind {
    name: "file",
    summary: "writes a file: under a temporary name until it is complete, or with append: true in place; `changelog: debezium`, `upsert` (with `upsert_by`) or `final` writes rows that may be taken back",
    example: "file: { path: out/spend.ndjson }",
    takes_format: true,
    parse,
};

/// How much is collected before it is written, bytes.
const BUFFER_BYTES: usize = 256 << 10;

#[derive(Debug)]
struct Declared {
    path: PathBuf,
    append: bool,
    changes: Option<Changes>,
}

fn parse(key: &Key, node: &Node, problems: &mut Problems) -> Option<Box<dyn Sink>> {
    let mut fields = Fields::under(key, node, "sink.file", problems);
    let path = fields.required_text("path", problems).map(PathBuf::from);
    let append = fields.boolean("append", problems).unwrap_or(false);
    let changes = changes::read(&mut fields, problems);
    fields.finish(problems);
    Some(Box::new(Declared { path: path?, append, changes }))
}

impl Sink for Declared {
    fn changes(&self) -> Option<&Changes> {
        self.changes.as_ref()
    }

    fn target(&self) -> Option<String> {
        // `./out` is `out`.
        let parts = self.path.components().filter(|part| *part != Component::CurDir);
        Some(parts.collect::<PathBuf>().display().to_string())
    }

    fn describe(&self) -> String {
        let how = if self.append {
            "appended in place; taken back to its length before the run if the run fails"
        } else {
            "under a temporary name, renamed when complete"
        };
        format!("file {} ({how})", self.path.display())
    }

    fn form(&self, _: &Schema) -> Form {
        let (path, append) = (self.path.clone(), self.append);
        Form::Bytes(Box::new(move |_| open(path, append)))
    }
}

fn open(path: PathBuf, append: bool) -> Result<Box<dyn Output + Send>, SinkError> {
    let create = |path: &Path| {
        let path = path.display().to_string();
        move |source| SinkError::Create { path, source }
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(create(folder))?;
    }
    // What is there and is no regular file (a pipe, a device) is written to as it is.
    let in_place = append || fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file());
    if in_place {
        let file = File::options().append(true).create(true).open(&path).map_err(create(&path))?;
        let metadata = file.metadata().map_err(create(&path))?;
        let before = metadata.is_file().then_some(metadata.len());
        return Ok(Box::new(FileOutput {
            path,
            file,
            buffer: Vec::new(),
            target: Target::InPlace { before },
        }));
    }
    // A link's target is replaced, not the link.
    let path = fs::canonicalize(&path).unwrap_or(path);
    let temporary = temporary_name(&path);
    let file = File::create(&temporary).map_err(create(&temporary))?;
    Ok(Box::new(FileOutput { path, file, buffer: Vec::new(), target: Target::Renamed { temporary } }))
}

/// The name beside `path` under which it is written: the same for every run, so that a run that was killed leaves
/// nothing behind for good.
fn temporary_name(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    path.with_file_name(name)
}

struct FileOutput {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    target: Target,
}

enum Target {
    /// Renamed to the path at the end.
    Renamed { temporary: PathBuf },
    /// Written where it is; `before` is its length before the run, of a regular file.
    InPlace { before: Option<u64> },
}

impl FileOutput {
    fn failed(&self, source: io::Error) -> SinkError {
        SinkError::Write { path: self.path.display().to_string(), source }
    }

    fn finish(&mut self) -> io::Result<()> {
        match &self.target {
            Target::InPlace { before: None } => Ok(()),
            Target::InPlace { .. } => self.file.sync_data(),
            Target::Renamed { temporary } => {
                self.file.sync_data()?;
                fs::rename(temporary, &self.path)?;
                // The rename itself is durable once the folder is.
                let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
                File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
            }
        }
    }
}

impl Output for FileOutput {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            return self.file.write_all(bytes).map_err(|source| self.failed(source));
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.file.write_all(&self.buffer).map_err(|source| self.failed(source))?;
        self.buffer.clear();
        Ok(())
    }

    fn stage(&mut self, last: bool) -> Result<Staged, SinkError> {
        self.flush()?;
        if last {
            self.finish().map_err(|source| self.failed(source))?;
        }
        Ok(Staged {
            position: serde_json::Value::Null,
            sync: Box::new(|| Ok(())),
            commit: Box::new(|| Ok(())),
        })
    }

    fn abandon(self: Box<Self>, _: bool) {
        let undone = match &self.target {
            Target::Renamed { temporary } => fs::remove_file(temporary),
            Target::InPlace { before: Some(before) } => self.file.set_len(*before),
            Target::InPlace { before: None } => Ok(()),
        };
        if let Err(error) = undone {
            tracing::warn!(path = %self.path.display(), %error, "the unfinished output could not be taken back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, append: bool, text: &str, commit: bool) {
        let mut output = open(path.to_owned(), append).unwrap();
        output.write(text.as_bytes()).unwrap();
        output.flush().unwrap();
        if commit {
            output.stage(true).unwrap();
        } else {
            output.abandon(false);
        }
    }

    #[test]
    fn a_file_appears_when_it_is_complete_and_a_failed_run_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/out.ndjson");
        let mut output = open(path.clone(), false).unwrap();
        output.write(b"a\n").unwrap();
        assert!(!path.exists());
        output.stage(true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\n");
        write(&path, false, "b\n", false);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\n");
        write(&path, false, "c\n", true);
        assert_eq!(fs::read_to_string(&path).unwrap(), "c\n");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no litter");
    }

    #[test]
    fn appending_grows_in_place_and_a_failed_run_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.ndjson");
        write(&path, true, "a\n", true);
        write(&path, true, "b\n", true);
        write(&path, true, &"c\n".repeat(1 << 20), false);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\n");
    }

    #[test]
    fn a_device_is_written_to_as_it_is() {
        write(Path::new("/dev/null"), false, "a\n", true);
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
