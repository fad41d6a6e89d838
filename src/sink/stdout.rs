//! `stdout`: standard output.

use std::io::{self, BufWriter, Stdout, Write};

use super::{Form, Kind, Output, Sink, SinkError};
use crate::error::Problems;
use crate::record::Schema;
use crate::yaml::{Fields, Key, Node};

/// The entry in the registry.
pub(super) const KIND: Kind = Kind {
    name: "stdout",
    summary: "writes to standard output",
    example: "stdout: {}",
    takes_format: true,
    parse: |key: &Key, node: &Node, problems: &mut Problems| {
        Fields::under(key, node, "sink.stdout", problems).finish(problems);
        Some(Box::new(Declared))
    },
};

#[derive(Debug)]
struct Declared;

impl Sink for Declared {
    fn describe(&self) -> String {
        "stdout (at least once)".to_owned()
    }

    fn form(&self, _: &Schema) -> Form {
        Form::Bytes(Box::new(|| {
            Ok(Box::new(StdoutOutput { buffer: BufWriter::with_capacity(64 << 10, io::stdout()) }))
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

    fn commit(mut self: Box<Self>) -> Result<(), SinkError> {
        self.flush()
    }

    fn abandon(self: Box<Self>) {
        // What is still in the buffer is lost on purpose: writing it could fail again.
        drop(self.buffer.into_parts());
    }
}
