//! Operators one behind the other, in one stage of one shard.

use super::{Build, Context, Operator, StateSize};
use crate::record::Batch;

/// A fused run of operators: output is pulled through it batch by batch.
pub struct Chain {
    operators: Vec<Box<dyn Operator>>,
    /// Which operators keep state.
    keeping: Vec<usize>,
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
        Self { operators, keeping, passing: None, context: Context::default() }
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
}
