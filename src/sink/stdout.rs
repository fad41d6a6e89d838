//! `stdout`: standard output.

use std::io::{self, BufWriter, Stdout, Write};

use super::{Changes, Form, Kind, Output, Sink, SinkError, Staged, changes};
use crate::error::Problems;
use crate::record::Schema;
use crate::yaml::{Fields, Key, Node};

/// The entry in the registry.
pub(super) const KIND: Kind = Kind {
    name: "stdout",
    summary: "writes to standard output; `changelog` as for file",
    example: "stdout: {}",
    takes_format: true,
    recover: |_, _| Ok(()),
    parse: |key: &Key, node: &Node, problems: &mut Problems| {
        let mut fields = Fields::under(key, node, "sink.stdout", problems);
        let changes = changes::read(&mut fields, problems);
        fields.finish(problems);
        Some(Box::new(Declared { changes }))
    },
};

#[derive(Debug)]
struct Declared {
    changes: Option<Changes>,
}

impl Sink for Declared {
    fn changes(&self) -> Option<&Changes> {
        self.changes.as_ref()
    }

    fn target(&self) -> Option<String> {
        Some("stdout".to_owned())
    }

    fn describe(&self) -> String {
        "stdout".to_owned()
    }

    fn form(&self, _: &Schema) -> Form {
        Form::Bytes(Box::new(|opening| {
            let mut output = StdoutOutput { buffer: BufWriter::with_capacity(64 << 10, io::stdout()) };
            // A run that goes on has another reader than the one before it, or one that cannot tell.
            output.write(&opening.head)?;
            Ok(Box::new(output))
        }))
    }
}

struct StdoutOutput {
    buffer: BufWriter<Stdout>,
}

fn failed(source: io::Error) -> SinkError {
    match source.kind() {
        io::ErrorKind::BrokenPipe => SinkError::Closed("stdout".to_owned()),
        _ => SinkError::Write { path: "stdout".to_owned(), source },
    }
}

impl Output for StdoutOutput {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.buffer.write_all(bytes).map_err(failed)
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.buffer.flush().map_err(failed)
    }

    fn stage(&mut self, _: bool) -> Result<Staged, SinkError> {
        self.flush()?;
        Ok(Staged {
            position: serde_json::Value::Null,
            sync: Box::new(|| Ok(())),
            commit: Box::new(|| Ok(())),
            is_one_step: true,
        })
    }

    fn abandon(self: Box<Self>, _: bool) {
        // What is still in the buffer is lost on purpose: writing it could fail again.
        drop(self.buffer.into_parts());
    }
}
