//! `files`: a folder of files, in a folder for each partition where there are some, each closed when it is large or old
//! enough. A file that is being written has a hidden temporary name; it gets its own once the epoch that has closed it
//! is committed, so that a reader never sees rows that could be taken back, and every row is in one visible file.
//!
//! - `levels`: how `partition_by` is written.
//! - `partition`: which row belongs where, and what the folders are called.
//! - `position`: what a snapshot says of the files, and how a run that ends is made up for.
//! - `output`: how they are written.

mod levels;
mod output;
mod partition;
mod position;
#[cfg(test)]
mod tests;

use std::path::{Component, PathBuf};

pub use partition::{PartitionBy, Partitioned};

use self::levels::Levels;
use super::{ChangeForm, Changes, Form, Kind, Sink, changes};
use crate::error::{Place, Problem, Problems};
use crate::record::Schema;
use crate::time::duration_text;
use crate::yaml::{Fields, Key, Node};

/// The entry in the registry.
pub(super) const KIND: Kind = Kind {
    name: "files",
    summary: "writes files into a folder, in a folder for each value of `partition_by`, or in folders `name=value` in one another where that is a map of names to expressions; `roll: { size, every }` says when one is complete (128MiB, 1h), `prefix` how its name begins (part-); `changelog` as for file",
    example: "files: { path: archive, partition_by: \"DATE_FORMAT(at, 'yyyy-MM-dd')\", roll: { size: 128MiB, every: 1h } }",
    takes_format: true,
    recover: position::recover,
    parse,
};

/// How large a file becomes where the pipeline does not say, bytes.
const SIZE_BYTES_DEFAULT: u64 = 128 << 20;

/// How old a file becomes where the pipeline does not say, milliseconds.
const EVERY_MS_DEFAULT: i64 = 60 * 60 * 1000;

/// How names begin where the pipeline does not say.
const PREFIX_DEFAULT: &str = "part-";

/// How long a prefix may be, bytes: with all that follows it the name stays below what file systems take.
const PREFIX_BYTES_MAX: usize = 100;

#[derive(Debug)]
struct Declared {
    path: PathBuf,
    partition_by: Option<Levels>,
    roll: Roll,
    prefix: String,
    changes: Option<Changes>,
}

/// When a file is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Roll {
    /// From this size on, bytes.
    size_bytes: u64,
    /// From this age on, milliseconds; judged at the end of an epoch.
    every_ms: i64,
}

fn parse(key: &Key, node: &Node, problems: &mut Problems) -> Option<Box<dyn Sink>> {
    let mut fields = Fields::under(key, node, "sink.files", problems);
    let path = fields.required_text("path", problems).map(PathBuf::from);
    let partition_by = Levels::read(&mut fields, problems);
    let roll = fields.entry("roll").map(|(key, node)| read_roll(key, node, problems));
    let prefix_at = fields.take("prefix").map(|node| node.at);
    let prefix = fields.text("prefix", problems).map_or(PREFIX_DEFAULT, |prefix| prefix);
    if let Some(at) = prefix_at {
        check_prefix(prefix, at, problems);
    }
    let changes = changes::read(&mut fields, problems);
    fields.finish(problems);
    let roll = roll.unwrap_or(Roll { size_bytes: SIZE_BYTES_DEFAULT, every_ms: EVERY_MS_DEFAULT });
    Some(Box::new(Declared { path: path?, partition_by, roll, prefix: prefix.to_owned(), changes }))
}

fn read_roll(key: &Key, node: &Node, problems: &mut Problems) -> Roll {
    let mut fields = Fields::under(key, node, "roll", problems);
    let at = |fields: &mut Fields<'_>, key| fields.take(key).map(|node| node.at);
    let (size_at, every_at) = (at(&mut fields, "size"), at(&mut fields, "every"));
    let size_bytes = fields.size_bytes("size", problems);
    let every_ms = fields.duration_ms("every", problems);
    fields.finish(problems);
    for (is_nothing, at, name) in
        [(size_bytes == Some(0), size_at, "size"), (every_ms == Some(0), every_at, "every")]
    {
        if let Some(at) = at.filter(|_| is_nothing) {
            problems.push(
                Problem::error(
                    at,
                    format!("`{name}` is when a file is complete, and 0 is before its first row"),
                )
                .help("write for instance roll: { size: 128MiB, every: 1h }"),
            );
        }
    }
    Roll {
        size_bytes: size_bytes.unwrap_or(SIZE_BYTES_DEFAULT),
        every_ms: every_ms.unwrap_or(EVERY_MS_DEFAULT),
    }
}

fn check_prefix(prefix: &str, at: Place, problems: &mut Problems) {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '=' | '+');
    if prefix.len() > PREFIX_BYTES_MAX {
        problems.error(at, format!("`prefix` takes at most {PREFIX_BYTES_MAX} bytes"));
    } else if prefix.starts_with('.') || !prefix.chars().all(is_plain) {
        problems.push(
            Problem::error(
                at,
                "`prefix` begins the names of files, and these characters do not belong there",
            )
            .help("use letters, digits, `-`, `_`, `.`, `=` and `+`, and no dot at the start"),
        );
    }
}

impl Sink for Declared {
    fn check(&self, rows: &Schema, problems: &mut Problems) {
        let Some(levels) = &self.partition_by else { return };
        match self.changes.as_ref().map(|changes| changes.form) {
            Some(ChangeForm::Debezium | ChangeForm::Upsert) => problems.push(
                Problem::error(levels.at, "`partition_by` beside this `changelog` is not in this version")
                    .help("remove `partition_by`, or use `changelog: final`"),
            ),
            Some(ChangeForm::Final) | None => levels.check(rows, problems),
        }
    }

    fn changes(&self) -> Option<&Changes> {
        self.changes.as_ref()
    }

    fn target(&self) -> Option<String> {
        // `./out` is `out`.
        let parts = self.path.components().filter(|part| *part != Component::CurDir);
        Some(parts.collect::<PathBuf>().display().to_string())
    }

    fn describe(&self) -> String {
        let partition = match &self.partition_by {
            Some(levels) => format!(", a folder for each {}", levels.describe()),
            None => String::new(),
        };
        format!(
            "files {}/{}* (each up to about {} or {} old{partition})",
            self.path.display(),
            self.prefix,
            crate::metric::size_text(self.roll.size_bytes),
            duration_text(self.roll.every_ms),
        )
    }

    fn guarantee(&self) -> &'static str {
        "exactly once: a file appears when the snapshot is committed before whose barrier it was complete; after a crash unfinished files go on from the last snapshot"
    }

    fn partition(&self, rows: &Schema) -> Option<PartitionBy> {
        self.partition_by.as_ref().and_then(|levels| PartitionBy::new(levels, rows))
    }

    fn form(&self, _: &Schema) -> Form {
        let (path, roll, prefix) = (self.path.clone(), self.roll, self.prefix.clone());
        Form::Bytes(Box::new(move |opening| output::open(&path, roll, prefix, opening)))
    }
}
