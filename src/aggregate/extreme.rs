//! MIN and MAX: the least and the greatest value that is not NULL. Doubles are ordered with NaN above all.
//!
//! Where rows are taken back, a group keeps each of its values with how often it is there; else only the best one.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, PrimitiveArray, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{ArrowNativeTypeOp, DataType};

use super::grouped::{Grouped, Rule};
use super::primitive::with_primitive;
use super::{Accumulator, Argument, Call, Function, one_argument};
use crate::record::SqlType;

/// The entry of MIN in the registry.
pub(super) const MIN: Function = Function {
    name: "MIN",
    aliases: &[],
    signature: "MIN(value)",
    summary: "the least value, in its own type; NULL over no values",
    retracts: true,
    distinct: true,
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
    distinct: true,
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
    with_primitive!(result, T => numbers::<T>(result, better, call.retracts), {
        let bytes = Bytes { result };
        if call.retracts {
            Grouped::boxed(Multiset { form: bytes, better }, true)
        } else {
            Grouped::boxed(Best { form: bytes, better }, false)
        }
    })
}

fn numbers<T: ArrowPrimitiveType>(
    result: DataType,
    better: Ordering,
    retracts: bool,
) -> Box<dyn Accumulator> {
    let numbers = Numbers::<T> { result, number: PhantomData };
    if retracts {
        Grouped::boxed(Multiset { form: numbers, better }, true)
    } else {
        Grouped::boxed(Best { form: numbers, better }, false)
    }
}

/// The form in which values are read, compared and kept.
trait Form: 'static {
    /// A column of values.
    type Column;
    /// A value as it is kept.
    type Value: Clone + Default + 'static;
    /// A value as it lies in a column.
    type Seen<'a>: Copy;

    fn column(&self, argument: &ArrayRef) -> Self::Column;
    fn value(column: &Self::Column, row: usize) -> Self::Seen<'_>;
    fn seen(value: &Self::Value) -> Self::Seen<'_>;
    fn compare(one: Self::Seen<'_>, other: Self::Seen<'_>) -> Ordering;
    fn keep(seen: Self::Seen<'_>, value: &mut Self::Value);
    fn array<'a>(&self, values: impl Iterator<Item = Option<&'a Self::Value>>) -> ArrayRef;
    fn heap(value: &Self::Value) -> usize;
}

struct Numbers<T> {
    result: DataType,
    number: PhantomData<T>,
}

impl<T: ArrowPrimitiveType> Form for Numbers<T> {
    type Column = PrimitiveArray<T>;
    type Value = T::Native;
    type Seen<'a> = T::Native;

    fn column(&self, argument: &ArrayRef) -> PrimitiveArray<T> {
        argument.as_primitive::<T>().clone()
    }

    fn value(column: &PrimitiveArray<T>, row: usize) -> T::Native {
        column.value(row)
    }

    fn seen(value: &T::Native) -> T::Native {
        *value
    }

    fn compare(one: T::Native, other: T::Native) -> Ordering {
        one.compare(other)
    }

    fn keep(seen: T::Native, value: &mut T::Native) {
        *value = seen;
    }

    fn array<'a>(&self, values: impl Iterator<Item = Option<&'a T::Native>>) -> ArrayRef {
        let values = values.map(Option::<&T::Native>::copied).collect::<PrimitiveArray<T>>();
        Arc::new(values.with_data_type(self.result.clone()))
    }

    fn heap(_: &T::Native) -> usize {
        0
    }
}

/// Text, bytes and booleans, compared as bytes.
struct Bytes {
    result: DataType,
}

impl Form for Bytes {
    type Column = BinaryArray;
    type Value = Box<[u8]>;
    type Seen<'a> = &'a [u8];

    fn column(&self, argument: &ArrayRef) -> BinaryArray {
        let bytes = match self.result {
            DataType::Boolean => {
                let numbers = cast(argument, &DataType::Int32).expect("booleans are numbers");
                let text = cast(&numbers, &DataType::Utf8).expect("numbers have a text");
                cast(&text, &DataType::Binary).expect("text is bytes")
            }
            _ => cast(argument, &DataType::Binary).expect("text is bytes"),
        };
        bytes.as_binary::<i32>().clone()
    }

    fn value(column: &BinaryArray, row: usize) -> &[u8] {
        column.value(row)
    }

    fn seen(value: &Box<[u8]>) -> &[u8] {
        value
    }

    fn compare(one: &[u8], other: &[u8]) -> Ordering {
        one.cmp(other)
    }

    fn keep(seen: &[u8], value: &mut Box<[u8]>) {
        if seen.len() == value.len() {
            value.copy_from_slice(seen);
        } else {
            *value = seen.into();
        }
    }

    fn array<'a>(&self, values: impl Iterator<Item = Option<&'a Box<[u8]>>>) -> ArrayRef {
        match self.result {
            DataType::Boolean => {
                Arc::new(values.map(|value| value.map(|bytes| **bytes == *b"1")).collect::<BooleanArray>())
            }
            DataType::Utf8 => {
                let text = |bytes: &'a Box<[u8]>| str::from_utf8(bytes).expect("taken from a text column");
                Arc::new(values.map(|value| value.map(text)).collect::<StringArray>())
            }
            _ => Arc::new(values.map(|value| value.map(|bytes| &**bytes)).collect::<BinaryArray>()),
        }
    }

    fn heap(value: &Box<[u8]>) -> usize {
        value.len()
    }
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
            F::keep(value, best);
        }
    }

    fn retract(&self, _: &mut F::Value, _: &F::Column, _: usize) {
        unreachable!("a call that may retract keeps all values");
    }

    fn merge(&self, best: &mut F::Value, seen: bool, later: &F::Value) {
        let value = F::seen(later);
        if !seen || F::compare(value, F::seen(best)) == self.better {
            F::keep(value, best);
        }
    }

    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a F::Value>>) -> ArrayRef {
        self.form.array(states)
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
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(by);
                self.heap += heap;
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
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
        values.change(kept(F::value(column, row)), 1);
    }

    fn retract(&self, values: &mut Values<F>, column: &F::Column, row: usize) {
        values.change(kept(F::value(column, row)), -1);
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

    fn heap(&self, values: &Values<F>) -> usize {
        values.heap
    }
}

fn kept<F: Form>(seen: F::Seen<'_>) -> Ordered<F> {
    let mut value = F::Value::default();
    F::keep(seen, &mut value);
    Ordered(value)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, TimestampMillisecondArray};

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
