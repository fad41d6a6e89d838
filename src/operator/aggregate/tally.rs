//! Groups with the states of all aggregate calls of a step.

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::Field;

use crate::aggregate::{Accumulator, Call, accumulator};
use crate::record::{Batch, KeyCodec};
use crate::state::Groups;

/// One aggregate call and where its arguments are in the operator's input.
#[derive(Clone, Debug)]
pub(in crate::operator) struct Aggregate {
    pub call: Call,
    pub arguments: Vec<usize>,
    pub filter: Option<usize>,
}

/// The columns of a batch that the calls read.
pub(in crate::operator) struct Inputs {
    /// `[call][argument]`
    arguments: Vec<Vec<ArrayRef>>,
    /// `[call]`
    filters: Vec<Option<BooleanArray>>,
}

impl Inputs {
    pub fn of(batch: &Batch, aggregates: &[Aggregate]) -> Self {
        let column = |index: &usize| batch.rows.column(*index).clone();
        let arguments = aggregates.iter().map(|aggregate| aggregate.arguments.iter().map(column).collect());
        let filter = |aggregate: &Aggregate| {
            aggregate.filter.map(|index| batch.rows.column(index).as_boolean().clone())
        };
        Self { arguments: arguments.collect(), filters: aggregates.iter().map(filter).collect() }
    }
}

/// Groups by key, each with one state per call.
pub(in crate::operator) struct Tally {
    pub groups: Groups,
    accumulators: Vec<Box<dyn Accumulator>>,
}

impl Tally {
    pub fn new(aggregates: &[Aggregate]) -> Self {
        let accumulators = aggregates.iter().map(|aggregate| accumulator(&aggregate.call)).collect();
        Self { groups: Groups::default(), accumulators }
    }

    /// Makes room for all groups there are; before they are used.
    pub fn resize(&mut self) {
        let capacity = self.groups.capacity();
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.resize(capacity));
    }

    /// Adds row `rows[i]` to group `numbers[i]`.
    pub fn add(&mut self, rows: &[u32], numbers: &[u32], inputs: &Inputs) {
        let calls = inputs.arguments.iter().zip(&inputs.filters);
        for (accumulator, (arguments, filter)) in self.accumulators.iter_mut().zip(calls) {
            accumulator.add(rows, numbers, arguments, filter.as_ref());
        }
    }

    /// Takes row `rows[i]` of group `numbers[i]` back.
    pub fn retract(&mut self, rows: &[u32], numbers: &[u32], inputs: &Inputs) {
        let calls = inputs.arguments.iter().zip(&inputs.filters);
        for (accumulator, (arguments, filter)) in self.accumulators.iter_mut().zip(calls) {
            accumulator.retract(rows, numbers, arguments, filter.as_ref());
        }
    }

    /// Adds all groups of another tally of the same calls, whose rows count as later.
    pub fn merge(&mut self, other: &Self) {
        let from = other.groups.numbers();
        let number = |from: &u32| {
            let key = other.groups.key(*from);
            self.groups.number(KeyCodec::hash(key), key)
        };
        let into: Vec<u32> = from.iter().map(number).collect();
        self.merge_groups(&into, other, &from);
    }

    /// Adds the group of one key of another tally, if it has it.
    pub fn merge_key(&mut self, other: &Self, hash: u64, key: &[u8]) {
        if let Some(from) = other.groups.find(hash, key) {
            let into = self.groups.number(hash, key);
            self.merge_groups(&[into], other, &[from]);
        }
    }

    fn merge_groups(&mut self, into: &[u32], other: &Self, from: &[u32]) {
        self.resize();
        for (accumulator, other) in self.accumulators.iter_mut().zip(&other.accumulators) {
            accumulator.merge(into, other.as_ref(), from);
        }
    }

    /// Adds group `from` to group `into`, whose rows count as earlier, and forgets `from`.
    pub fn fold(&mut self, into: u32, from: u32) {
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.fold(into, from));
        self.groups.remove(from);
    }

    /// Forgets groups.
    pub fn remove(&mut self, numbers: &[u32]) {
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.clear(numbers));
        for number in numbers {
            self.groups.remove(*number);
        }
    }

    /// The key columns of these groups.
    pub fn keys(&self, codec: &KeyCodec, numbers: &[u32]) -> Vec<ArrayRef> {
        codec.decode(numbers.iter().map(|number| self.groups.key(*number)))
    }

    /// The results of these groups, `[call]`.
    pub fn results(&self, numbers: &[u32]) -> impl Iterator<Item = ArrayRef> {
        self.accumulators.iter().map(|accumulator| accumulator.finish(numbers))
    }

    /// All groups that these keys have, with their hashes.
    pub fn groups_of<'a>(&self, keys: impl Iterator<Item = (u64, &'a [u8])>) -> Vec<u32> {
        let mut numbers = Vec::new();
        for (hash, key) in keys {
            numbers.extend(self.groups.find_all(hash, key));
        }
        numbers
    }

    /// The columns in which the states are saved, `[call][part]`.
    pub fn saved(&self) -> impl Iterator<Item = Vec<Field>> {
        self.accumulators.iter().map(|accumulator| accumulator.saved())
    }

    /// The states of these groups, in the columns of [`Tally::saved`] one behind the other.
    pub fn save(&self, numbers: &[u32]) -> impl Iterator<Item = ArrayRef> {
        self.accumulators.iter().flat_map(|accumulator| accumulator.save(numbers))
    }

    /// Sets the state of group `numbers[i]`, which is empty, to row `i` of columns that [`Tally::save`] has made.
    pub fn load(&mut self, numbers: &[u32], columns: &[ArrayRef]) {
        let mut columns = columns;
        for accumulator in &mut self.accumulators {
            let (own, rest) = columns.split_at(accumulator.saved().len());
            accumulator.load(numbers, own);
            columns = rest;
        }
    }

    /// The heap bytes held, about.
    pub fn bytes(&self) -> usize {
        let accumulators = self.accumulators.iter().map(|accumulator| accumulator.bytes()).sum::<usize>();
        self.groups.bytes() + accumulators + size_of::<Self>()
    }
}
