//! What is the same for most aggregates: a state for each group, in pages, and whether it has seen a value.
//!
//! An aggregate says how one state takes a row, gives it back and takes in another state ([`Rule`]); [`Grouped`] makes
//! an accumulator of that.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array};
use arrow::datatypes::Field;

use super::saved::{count_column, counts};
use super::{Accumulator, for_each_row, for_each_value};
use crate::state::{Bits, Pages};

/// How an aggregate works on the state of one group.
pub(super) trait Rule: 'static {
    /// The state of one group; the default one is that of an empty group.
    type State: Default + 'static;
    /// The arguments in the form in which single rows are read.
    type Column;
    /// Whether rows whose first argument is NULL are values too.
    const NULLS: bool = false;
    /// Whether states hold memory on the heap, which [`Self::heap`] tells.
    const HEAP: bool = false;

    /// Whether a state knows how many values it has, and saves that as its last column.
    const COUNTED: bool = false;

    /// The arguments of a batch.
    fn column(&self, arguments: &[ArrayRef]) -> Self::Column;

    /// Adds a row; `seen` tells whether the state has had a value before.
    fn add(&self, state: &mut Self::State, seen: bool, column: &Self::Column, row: usize);

    /// Takes a row back. Called only if it was added before, others than it are left, and the call may retract.
    fn retract(&self, state: &mut Self::State, column: &Self::Column, row: usize);

    /// Takes in a state of later rows; `seen` as above. `later` has had a value.
    fn merge(&self, state: &mut Self::State, seen: bool, later: &Self::State);

    /// The results of states, none for groups that have no value.
    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a Self::State>>) -> ArrayRef;

    /// The columns of a state. Only the last one may be that of [`count_column`]; see [`Self::COUNTED`].
    fn saved(&self) -> Vec<Field>;

    /// States in these columns; the first one is NULL where there is none, and only there.
    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a Self::State>> + Clone) -> Vec<ArrayRef>;

    /// The states that were saved in these columns, one for each row; what it is where there was none does not matter.
    fn load(&self, columns: &[ArrayRef]) -> Vec<Self::State>;

    /// The heap bytes of a state, about. Called for every row: it must not walk.
    fn heap(&self, _state: &Self::State) -> usize {
        0
    }
}

/// An accumulator that has one state for each group.
pub(super) struct Grouped<R: Rule> {
    rule: R,
    states: Pages<R::State>,
    presence: Presence,
    /// The heap bytes of all states.
    heap: usize,
}

impl<R: Rule> Grouped<R> {
    /// No groups yet; `retracts` as in the call.
    pub(super) fn new(rule: R, retracts: bool) -> Self {
        let presence =
            if retracts { Presence::Counts(Pages::default()) } else { Presence::Bits(Bits::default()) };
        Self { rule, states: Pages::default(), presence, heap: 0 }
    }

    /// The same in a box.
    pub(super) fn boxed(rule: R, retracts: bool) -> Box<dyn Accumulator> {
        Box::new(Self::new(rule, retracts))
    }

    fn each(
        rows: &[u32],
        groups: &[u32],
        arguments: &[ArrayRef],
        filter: Option<&BooleanArray>,
        each: impl FnMut(usize, usize),
    ) {
        if R::NULLS {
            for_each_row(rows, groups, filter, each);
        } else {
            for_each_value(rows, groups, arguments[0].as_ref(), filter, each);
        }
    }

    /// The state of a group that has a value.
    fn state(&self, group: u32) -> Option<&R::State> {
        let group = group as usize;
        (self.presence.count(group) > 0).then(|| &self.states[group])
    }

    /// The counts of values, where they are saved beside the states.
    fn counts_beside(&self) -> Option<&Pages<i64>> {
        match &self.presence {
            Presence::Counts(counts) if !R::COUNTED => Some(counts),
            _ => None,
        }
    }

    fn take_in(&mut self, into: usize, later: &R::State, count: i64) {
        let state = &mut self.states[into];
        let before = if R::HEAP { self.rule.heap(state) } else { 0 };
        let seen = self.presence.add(into, count);
        self.rule.merge(state, seen, later);
        if R::HEAP {
            self.heap = self.heap + self.rule.heap(state) - before;
        }
    }
}

impl<R: Rule> Accumulator for Grouped<R> {
    fn resize(&mut self, groups: usize) {
        self.states.resize(groups);
        self.presence.resize(groups);
    }

    fn add(&mut self, rows: &[u32], groups: &[u32], arguments: &[ArrayRef], filter: Option<&BooleanArray>) {
        let Self { rule, states, presence, heap } = self;
        let column = rule.column(arguments);
        Self::each(rows, groups, arguments, filter, |row, group| {
            let state = &mut states[group];
            let before = if R::HEAP { rule.heap(state) } else { 0 };
            rule.add(state, presence.add(group, 1), &column, row);
            if R::HEAP {
                *heap = *heap + rule.heap(state) - before;
            }
        });
    }

    fn retract(
        &mut self,
        rows: &[u32],
        groups: &[u32],
        arguments: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) {
        let Self { rule, states, presence, heap } = self;
        let column = rule.column(arguments);
        Self::each(rows, groups, arguments, filter, |row, group| {
            let state = &mut states[group];
            let before = if R::HEAP { rule.heap(state) } else { 0 };
            if presence.remove(group) {
                rule.retract(state, &column, row);
            } else {
                *state = R::State::default();
            }
            if R::HEAP {
                *heap = *heap + rule.heap(state) - before;
            }
        });
    }

    fn merge(&mut self, into: &[u32], other: &dyn Accumulator, from: &[u32]) {
        let other = other.as_any().downcast_ref::<Self>().expect("accumulators of one call are of one type");
        for (into, from) in into.iter().zip(from) {
            let count = other.presence.count(*from as usize);
            if count > 0 {
                self.take_in(*into as usize, &other.states[*from as usize], count);
            }
        }
    }

    fn fold(&mut self, into: u32, from: u32) {
        let count = self.presence.count(from as usize);
        if count > 0 && into != from {
            let later = std::mem::take(&mut self.states[from as usize]);
            self.presence.clear(from as usize);
            if R::HEAP {
                self.heap -= self.rule.heap(&later);
            }
            self.take_in(into as usize, &later, count);
        }
    }

    fn clear(&mut self, groups: &[u32]) {
        for group in groups {
            let state = std::mem::take(&mut self.states[*group as usize]);
            if R::HEAP {
                self.heap -= self.rule.heap(&state);
            }
            self.presence.clear(*group as usize);
        }
    }

    fn finish(&self, groups: &[u32]) -> ArrayRef {
        self.rule.finish(groups.iter().map(|group| self.state(*group)))
    }

    fn saved(&self) -> Vec<Field> {
        let mut fields = self.rule.saved();
        fields.extend(self.counts_beside().map(|_| count_column()));
        fields
    }

    fn save(&self, groups: &[u32]) -> Vec<ArrayRef> {
        let mut columns = self.rule.save(groups.iter().map(|group| self.state(*group)));
        if let Some(counts) = self.counts_beside() {
            let counts = groups.iter().map(|group| counts[*group as usize]);
            columns.push(Arc::new(Int64Array::from_iter_values(counts)));
        }
        columns
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) {
        let counted = matches!(self.presence, Presence::Counts(_)).then(|| counts(columns));
        let states = self.rule.load(columns);
        debug_assert_eq!(states.len(), groups.len(), "a state for each row");
        for (row, (group, state)) in groups.iter().zip(states).enumerate() {
            if columns[0].is_valid(row) {
                debug_assert!(self.state(*group).is_none(), "a state is loaded into an empty group");
                if R::HEAP {
                    self.heap += self.rule.heap(&state);
                }
                self.presence.add(*group as usize, counted.map_or(1, |counts| counts.value(row)));
                self.states[*group as usize] = state;
            }
        }
    }

    fn bytes(&self) -> usize {
        self.states.bytes() + self.presence.bytes() + self.heap
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Which groups have a value: a bit where nothing is ever taken back, else how many values there are.
enum Presence {
    Bits(Bits),
    Counts(Pages<i64>),
}

fn number_of(group: usize) -> u32 {
    u32::try_from(group).expect("the numbers of groups are 32 bits")
}

impl Presence {
    fn resize(&mut self, groups: usize) {
        match self {
            // They grow as they are set.
            Self::Bits(_) => {}
            Self::Counts(counts) => counts.resize(groups),
        }
    }

    /// Notes `count` values more; whether there was one before.
    fn add(&mut self, group: usize, count: i64) -> bool {
        match self {
            Self::Bits(bits) => bits.set(number_of(group)),
            Self::Counts(counts) => {
                let seen = counts[group] > 0;
                counts[group] += count;
                seen
            }
        }
    }

    /// Notes that a value was taken back; whether others are left.
    fn remove(&mut self, group: usize) -> bool {
        match self {
            Self::Bits(_) => unreachable!("only calls that may retract do"),
            Self::Counts(counts) => {
                // A changelog takes back only what it has added; with less than nothing, nothing is left.
                counts[group] = (counts[group] - 1).max(0);
                counts[group] > 0
            }
        }
    }

    /// How many values there are; no more than 1 is counted where bits are kept.
    fn count(&self, group: usize) -> i64 {
        match self {
            Self::Bits(bits) => i64::from(bits.get(number_of(group))),
            Self::Counts(counts) => counts[group],
        }
    }

    fn clear(&mut self, group: usize) {
        match self {
            Self::Bits(bits) => bits.clear(number_of(group)),
            Self::Counts(counts) => counts[group] = 0,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Bits(bits) => bits.bytes(),
            Self::Counts(counts) => counts.bytes(),
        }
    }
}
