//! What stands in for a sink while a pipeline is measured: rows are encoded and divided as the sink wants them, then dropped.

use super::{Changes, Form, Output, PartitionBy, Sink, SinkError, Staged};
use crate::record::Schema;

/// A sink that gets what this one would get, and drops it.
#[must_use]
pub fn discarding(sink: Box<dyn Sink>) -> Box<dyn Sink> {
    Box::new(Discarding(sink))
}

#[derive(Debug)]
struct Discarding(Box<dyn Sink>);

impl Sink for Discarding {
    fn changes(&self) -> Option<&Changes> {
        self.0.changes()
    }

    fn takes_changes(&self) -> bool {
        self.0.takes_changes()
    }

    fn describe(&self) -> String {
        format!("nothing, in place of {}", self.0.describe())
    }

    fn guarantee(&self) -> &'static str {
        "nothing is written, so nothing is guaranteed"
    }

    fn partition(&self, rows: &Schema) -> Option<PartitionBy> {
        self.0.partition(rows)
    }

    fn form(&self, rows: &Schema) -> Form {
        match self.0.form(rows) {
            Form::Bytes(_) => Form::Bytes(Box::new(|_| Ok(Box::new(Nothing)))),
            dropped @ Form::Rows(_) => dropped,
        }
    }
}

/// Takes bytes and drops them.
#[derive(Debug)]
pub struct Nothing;

impl Output for Nothing {
    fn write(&mut self, _: &[u8]) -> Result<(), SinkError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn stage(&mut self, _: bool) -> Result<Staged, SinkError> {
        Ok(Staged {
            position: serde_json::Value::Null,
            sync: Box::new(|| Ok(())),
            commit: Box::new(|| Ok(())),
            is_one_step: true,
        })
    }

    fn abandon(self: Box<Self>, _: bool) {}
}
