//! Operators one behind the other, in one stage of one shard.

use arrow::array::RecordBatch;

use super::{Build, Captured, Context, Operator, StateSize, StateTable};
use crate::record::Batch;

/// A fused run of operators: output is pulled through it batch by batch.
pub struct Chain {
    operators: Vec<Box<dyn Operator>>,
    /// Which operators keep state.
    keeping: Vec<usize>,
    /// How many of these have handed out all of the view that has begun.
    captured: usize,
    /// What goes straight through, where there is no operator.
    passing: Option<Batch>,
    /// What the operators tell besides their rows.
    pub context: Context,
}

impl Chain {
    /// The running form of these operators.
    #[must_use]
    pub fn new<'a>(builds: impl IntoIterator<Item = &'a Build>) -> Self {
        let (mut operators, mut keeping) = (Vec::new(), Vec::new());
        for build in builds {
            if build.state.is_some() {
                keeping.push(operators.len());
            }
            operators.push((build.build)());
        }
        Self { captured: keeping.len(), operators, keeping, passing: None, context: Context::default() }
    }

    /// Hands a batch to the first operator; only after [`Chain::pull`] has returned none.
    pub fn push(&mut self, batch: Batch) {
        match self.operators.first_mut() {
            Some(first) => first.push(batch, &mut self.context),
            None => self.passing = Some(batch),
        }
    }

    /// The next batch behind the last operator; none once the batch pushed last is used up.
    pub fn pull(&mut self) -> Option<Batch> {
        let count = self.operators.len();
        let mut from = count;
        while from > 0 {
            match self.operators[from - 1].pull(&mut self.context) {
                Some(batch) if from == count => return Some(batch),
                Some(batch) => {
                    self.operators[from].push(batch, &mut self.context);
                    from = count;
                }
                None => from -= 1,
            }
        }
        self.passing.take()
    }

    /// What the operators that keep state keep now, in their order.
    pub fn states(&self) -> impl Iterator<Item = StateSize> {
        self.keeping.iter().map(|index| self.operators[*index].state())
    }

    /// The tables in which the operators that keep state save it, `[operator][table]`, in their order.
    #[must_use]
    pub fn tables(&self) -> Vec<Vec<StateTable>> {
        self.keeping.iter().map(|index| self.operators[*index].tables()).collect()
    }

    /// Begins a view of the state as it is now; only after [`Chain::pull`] has returned none.
    pub fn begin_view(&mut self) {
        debug_assert!(self.passing.is_none(), "all output has been pulled");
        for index in &self.keeping {
            self.operators[*index].begin_view();
        }
        self.captured = 0;
    }

    /// The next rows of the view, of about `rows` entries, and whose they are: the place of the operator in
    /// [`Chain::tables`]. None once all of it has been handed out, which ends the view. Asked at any time, between or
    /// amid batches.
    pub fn capture(&mut self, rows: usize) -> Option<(usize, Captured)> {
        while let Some(index) = self.keeping.get(self.captured) {
            if let Some(captured) = self.operators[*index].capture(rows) {
                return Some((self.captured, captured));
            }
            self.captured += 1;
        }
        None
    }

    /// Gives the view up.
    pub fn end_view(&mut self) {
        for index in &self.keeping {
            let operator = &mut self.operators[*index];
            operator.end_view();
            debug_assert!(operator.capture(1).is_none(), "nothing is handed out of a view that was given up");
        }
        self.captured = self.keeping.len();
    }

    /// Hands saved rows to the operator at this place in [`Chain::tables`]; before the first batch.
    pub fn restore(&mut self, operator: usize, table: usize, rows: &RecordBatch) {
        self.operators[self.keeping[operator]].restore(table, rows);
    }

    /// All saved rows have been handed over.
    pub fn restored(&mut self) {
        for index in &self.keeping {
            self.operators[*index].restored();
        }
    }
}
