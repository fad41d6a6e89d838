//! Columns left out on one of several ways that rows take from one place.

use super::{Build, Context, Operator};
use crate::record::{Batch, Projection, Schema};

/// Makes rows of `from` into rows of `to`, which has fewer columns, or fewer fields in its ROWs; none where they are the
/// same.
#[must_use]
pub fn narrow(from: &Schema, to: &Schema) -> Option<Build> {
    let projection = Projection::new(from, to)?;
    let names: Vec<&str> = to.columns().iter().map(|column| column.name.as_str()).collect();
    let description = match names.as_slice() {
        [] => "keep no column".to_owned(),
        names => format!("keep {}", names.join(", ")),
    };
    Some(Build::new(description, move || Box::new(Narrow { projection: projection.clone(), ready: None })))
}

struct Narrow {
    projection: Projection,
    ready: Option<Batch>,
}

impl Operator for Narrow {
    fn push(&mut self, batch: Batch, _: &mut Context) {
        let rows = self.projection.apply(&batch.rows);
        self.ready = Some(batch.with_rows(rows));
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        self.ready.take()
    }
}
