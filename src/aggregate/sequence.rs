//! The values of a group in the order of their arrival.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use super::form::Form;
use super::saved::{elements, list_type, lists};

/// Values in the order of their arrival, NULL among them where the aggregate keeps it.
pub(super) struct Sequence<F: Form> {
    values: VecDeque<Option<F::Value>>,
    /// The heap bytes of the values.
    heap: usize,
}

impl<F: Form> Default for Sequence<F> {
    fn default() -> Self {
        Self { values: VecDeque::new(), heap: 0 }
    }
}

impl<F: Form> Sequence<F> {
    /// Adds a value behind the last.
    pub fn push(&mut self, value: Option<F::Value>) {
        self.heap += value.as_ref().map_or(0, F::heap);
        self.values.push_back(value);
    }

    /// Removes the first value that is equal to this one, as Flink does. Looks through the values from the first.
    pub fn remove(&mut self, gone: Option<F::Seen<'_>>) {
        let is_it = |value: &Option<F::Value>| match (value, gone) {
            (Some(value), Some(gone)) => F::compare(F::seen(value), gone).is_eq(),
            (None, None) => true,
            _ => false,
        };
        if let Some(index) = self.values.iter().position(is_it) {
            let value = self.values.remove(index).flatten();
            self.heap -= value.as_ref().map_or(0, F::heap);
        }
    }

    /// Adds all values of another one behind the last.
    pub fn extend(&mut self, later: &Self) {
        later.values.iter().for_each(|value| self.push(value.clone()));
    }

    /// All values from the first to the last.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Option<&F::Value>> + ExactSizeIterator {
        self.values.iter().map(Option::as_ref)
    }

    /// The type of [`Self::lists`].
    pub fn lists_type(form: &F) -> DataType {
        list_type(form.data_type().clone())
    }

    /// The values as lists, NULL where there are none.
    pub fn lists<'a>(form: &F, sequences: impl Iterator<Item = Option<&'a Self>> + Clone) -> ArrayRef {
        let lengths = sequences.clone().map(|values| values.map(|values| values.values.len()));
        lists(lengths, form.array(sequences.flatten().flat_map(Self::iter)))
    }

    /// The values of lists; none where a list is NULL.
    pub fn load(form: &F, lists: &ArrayRef) -> Vec<Self> {
        let (elements, ranges) = elements(lists);
        let values = form.column(&elements);
        let sequences = ranges.map(|range| {
            let mut sequence = Self { values: VecDeque::with_capacity(range.len()), heap: 0 };
            for row in range {
                sequence.push(values.is_valid(row).then(|| F::keep(F::value(&values, row))));
            }
            sequence
        });
        sequences.collect()
    }

    /// The heap bytes held.
    pub fn heap(&self) -> usize {
        self.heap + self.values.capacity() * size_of::<Option<F::Value>>()
    }
}
