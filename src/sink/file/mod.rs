//! `file`: one file, written under a temporary name and renamed when it is complete, or with `append: true` in place.
//!
//! - `position`: what a snapshot says of it, and how a run that ends is made up for.
//! - `output`: how it is written.

mod output;
mod position;
#[cfg(test)]
mod tests;

use std::path::{Component, PathBuf};

use super::{Changes, Form, Kind, Sink, changes};
use crate::error::Problems;
use crate::record::Schema;
use crate::yaml::{Fields, Key, Node};

/// The entry in the registry.
pub(super) const KIND: Kind = Kind {
    name: "file",
    summary: "writes a file: under a temporary name until it is complete, or with append: true in place; `changelog: debezium`, `upsert` (with `upsert_by`) or `final` writes rows that may be taken back",
    example: "file: { path: out/spend.ndjson }",
    takes_format: true,
    recover: position::recover,
    parse,
};

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

    fn guarantee(&self) -> &'static str {
        if self.append {
            "exactly once: a restart cuts the file to its length at the last snapshot, so rows behind that may be seen and taken back (a pipe or a device: at least once)"
        } else {
            "exactly once: the file appears when it is complete, and a restart goes on with it from the last snapshot (a pipe or a device: at least once)"
        }
    }

    fn form(&self, _: &Schema) -> Form {
        let (path, append) = (self.path.clone(), self.append);
        Form::Bytes(Box::new(move |opening| output::open(&path, append, opening)))
    }
}
