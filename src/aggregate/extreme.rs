//! MIN and MAX: the least and the greatest value that is not NULL. Doubles are ordered with NaN above all.
//!
//! Where rows are taken back, a group keeps each of its values with how often it is there; else only the best one.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;

use super::form::{Form, with_form};
use super::grouped::{Grouped, Rule};
use super::saved::{column, counted, counted_type, elements, list_type, lists, values_and_counts};
use super::{Accumulator, Argument, Call, Distinct, Function, one_argument};
use crate::record::SqlType;

/// The entry of MIN in the registry.
pub(super) const MIN: Function = Function {
    name: "MIN",
    aliases: &[],
    signature: "MIN(value)",
    summary: "the least value, in its own type; NULL over no values",
    retracts: true,
    distinct: Distinct::Same,
    by_order: false,
    resolve: |arguments| resolve(arguments, "MIN"),
    build: |call| build(call, Ordering::Less),
};

/// The entry of MAX in the registry.
pub(super) const MAX: Function = Function {
    name: "MAX",
    aliases: &[],
    signature: "MAX(value)",
    summary: "the greatest value, in its own type; NULL over no values",
    retracts: true,
    distinct: Distinct::Same,
    by_order: false,
    resolve: |arguments| resolve(arguments, "MAX"),
    build: |call| build(call, Ordering::Greater),
};

fn resolve(arguments: &[Argument], name: &str) -> Result<(SqlType, bool), String> {
    match one_argument(arguments, name)? {
        nested @ (SqlType::Array(..) | SqlType::Map(..) | SqlType::Row(_) | SqlType::Null) => {
            Err(format!("{name} takes a value that has an order, not {nested}"))
        }
        ordered => Ok((ordered.clone(), true)),
    }
}

fn build(call: &Call, better: Ordering) -> Box<dyn Accumulator> {
    let result = call.result.arrow();
    with_form!(result, form => if call.retracts {
        Grouped::boxed(Multiset { form, better }, true)
    } else {
        Grouped::boxed(Best { form, better }, false)
    })
}

/// The best value so far.
struct Best<F> {
    form: F,
    better: Ordering,
}

impl<F: Form> Rule for Best<F> {
    type State = F::Value;
    type Column = F::Column;
    const HEAP: bool = true;

    fn column(&self, arguments: &[ArrayRef]) -> F::Column {
        self.form.column(&arguments[0])
    }

    fn add(&self, best: &mut F::Value, seen: bool, column: &F::Column, row: usize) {
        let value = F::value(column, row);
        if !seen || F::compare(value, F::seen(best)) == self.better {
            F::replace(best, value);
        }
    }

    fn retract(&self, _: &mut F::Value, _: &F::Column, _: usize) {
        unreachable!("a call that may retract keeps all values");
    }

    fn merge(&self, best: &mut F::Value, seen: bool, later: &F::Value) {
        let value = F::seen(later);
        if !seen || F::compare(value, F::seen(best)) == self.better {
            F::replace(best, value);
        }
    }

    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a F::Value>>) -> ArrayRef {
        self.form.array(states)
    }

    fn saved(&self) -> Vec<Field> {
        vec![column("", self.form.data_type().clone())]
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a F::Value>> + Clone) -> Vec<ArrayRef> {
        vec![self.form.array(states)]
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<F::Value> {
        self.form.keep_all(&columns[0])
    }

    fn heap(&self, best: &F::Value) -> usize {
        F::heap(best)
    }
}

/// A value with its order.
struct Ordered<F: Form>(F::Value);

impl<F: Form> PartialEq for Ordered<F> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<F: Form> Eq for Ordered<F> {}

impl<F: Form> PartialOrd for Ordered<F> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<F: Form> Ord for Ordered<F> {
    fn cmp(&self, other: &Self) -> Ordering {
        F::compare(F::seen(&self.0), F::seen(&other.0))
    }
}

/// All values, each with how often it is there.
struct Multiset<F> {
    form: F,
    better: Ordering,
}

/// The values of a group, and the heap bytes of those that are kept.
struct Values<F: Form> {
    counts: BTreeMap<Ordered<F>, i64>,
    heap: usize,
}

impl<F: Form> Default for Values<F> {
    fn default() -> Self {
        Self { counts: BTreeMap::new(), heap: 0 }
    }
}

impl<F: Form> Values<F> {
    fn change(&mut self, value: Ordered<F>, by: i64) {
        // Beside the entry the tree holds a third of its room free, about.
        let heap = F::heap(&value.0) + size_of::<(F::Value, i64)>() * 3 / 2;
        match self.counts.entry(value) {
            Entry::Vacant(entry) => {
                entry.insert(by);
                self.heap += heap;
            }
            Entry::Occupied(mut entry) => {
                *entry.get_mut() += by;
                if *entry.get() == 0 {
                    entry.remove();
                    self.heap -= heap;
                }
            }
        }
    }
}

impl<F: Form> Rule for Multiset<F> {
    type State = Values<F>;
    type Column = F::Column;
    const HEAP: bool = true;

    fn column(&self, arguments: &[ArrayRef]) -> F::Column {
        self.form.column(&arguments[0])
    }

    fn add(&self, values: &mut Values<F>, _: bool, column: &F::Column, row: usize) {
        values.change(Ordered(F::keep(F::value(column, row))), 1);
    }

    fn retract(&self, values: &mut Values<F>, column: &F::Column, row: usize) {
        values.change(Ordered(F::keep(F::value(column, row))), -1);
    }

    fn merge(&self, values: &mut Values<F>, _: bool, later: &Values<F>) {
        for (value, count) in &later.counts {
            values.change(Ordered(value.0.clone()), *count);
        }
    }

    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a Values<F>>>) -> ArrayRef {
        self.form.array(states.map(|values| {
            let counts = &values?.counts;
            let best = if self.better.is_lt() { counts.keys().next() } else { counts.keys().next_back() };
            best.map(|value| &value.0)
        }))
    }

    fn saved(&self) -> Vec<Field> {
        vec![column("", list_type(counted_type(self.form.data_type().clone())))]
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a Values<F>>> + Clone) -> Vec<ArrayRef> {
        let lengths = states.clone().map(|values| values.map(|values| values.counts.len()));
        let entries = states.flatten().flat_map(|values| &values.counts);
        let values = self.form.array(entries.clone().map(|(value, _)| Some(&value.0)));
        vec![lists(lengths, counted(values, entries.map(|(_, count)| *count).collect()))]
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<Values<F>> {
        let (elements, ranges) = elements(&columns[0]);
        let (values, counts) = values_and_counts(&elements);
        let values = self.form.column(values);
        let states = ranges.map(|range| {
            let mut state = Values::default();
            for row in range {
                state.change(Ordered(F::keep(F::value(&values, row))), counts.value(row));
            }
            state
        });
        states.collect()
    }

    fn heap(&self, values: &Values<F>) -> usize {
        values.heap
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Float64Array, Int64Array, StringArray, TimestampMillisecondArray};

    use super::*;
    use crate::aggregate::tests::run;

    fn check(data_type: &SqlType, column: ArrayRef, least: &str, greatest: &str) {
        assert_eq!(run("MIN", data_type, &column, None), least, "MIN of {data_type}");
        assert_eq!(run("MAX", data_type, &column, None), greatest, "MAX of {data_type}");
    }

    #[test]
    fn extremes_keep_their_type() {
        check(&SqlType::BigInt, Arc::new(Int64Array::from(vec![Some(3), None, Some(-1)])), "-1", "3");
        check(&SqlType::String, Arc::new(StringArray::from(vec![Some("b"), None, Some("a")])), "a", "b");
        check(&SqlType::Boolean, Arc::new(BooleanArray::from(vec![true, false])), "false", "true");
        check(&SqlType::Double, Arc::new(Float64Array::from(vec![1.0, f64::NAN, -1.0])), "-1.0", "NaN");
        let times = TimestampMillisecondArray::from(vec![5, 4]).with_timezone("+00:00");
        check(
            &SqlType::TimestampLtz(3),
            Arc::new(times),
            "1970-01-01T00:00:00.004Z",
            "1970-01-01T00:00:00.005Z",
        );
    }
}
