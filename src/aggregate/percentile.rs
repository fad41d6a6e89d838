//! PERCENTILE and MEDIAN: exact, and between two values in proportion to their distance, as in Flink.
//!
//! All values of a group are kept: 8 bytes each, and where rows are taken back some 30 for each different one.
//! [`super::approx_percentile`] needs a bounded room instead.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray, Float64Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type};

use super::grouped::{Grouped, Rule};
use super::saved::{column, counted, counted_type, elements, list_type, lists, values_and_counts};
use super::{Accumulator, Argument, Call, Distinct, Function, one_argument};
use crate::record::SqlType;
use crate::state::Pages;

/// The entry of PERCENTILE in the registry.
pub(super) const PERCENTILE: Function = Function {
    name: "PERCENTILE",
    aliases: &["QUANTILE"],
    signature: "PERCENTILE(number, p) | QUANTILE(number, p)",
    summary: "the value below which the share p (a constant from 0 to 1) of all values lies, exact and interpolated; DOUBLE, NULL over no values",
    retracts: true,
    distinct: Distinct::Values,
    by_order: false,
    resolve: |arguments| resolve_share(arguments, "PERCENTILE"),
    build: |call| build(call, share(&call.arguments)),
};

/// The entry of MEDIAN in the registry.
pub(super) const MEDIAN: Function = Function {
    name: "MEDIAN",
    aliases: &[],
    signature: "MEDIAN(number)",
    summary: "PERCENTILE(number, 0.5); DOUBLE, NULL over no values",
    retracts: true,
    distinct: Distinct::Values,
    by_order: false,
    resolve: |arguments| match one_argument(arguments, "MEDIAN")? {
        number if number.is_numeric() => Ok((SqlType::Double, true)),
        other => Err(format!("MEDIAN takes a number, not {other}")),
    },
    build: |call| build(call, 0.5),
};

/// The type of a percentile, or why a number and a constant share are not what the arguments are.
pub(super) fn resolve_share(arguments: &[Argument], name: &str) -> Result<(SqlType, bool), String> {
    let [number, share] = arguments else {
        return Err(format!("{name} takes a number and a share, as in {name}(price, 0.9)"));
    };
    if !number.data_type.is_numeric() {
        return Err(format!("{name} takes a number, not {}", number.data_type));
    }
    let constant = share.constant.as_deref().filter(|_| share.data_type.is_numeric());
    match constant.and_then(|text| text.parse::<f64>().ok()) {
        Some(share) if (0.0..=1.0).contains(&share) => Ok((SqlType::Double, true)),
        _ => Err(format!("the share of {name} is a constant from 0 to 1, as in {name}(price, 0.9)")),
    }
}

/// The share of a call that [`resolve_share`] accepted.
pub(super) fn share(arguments: &[Argument]) -> f64 {
    let text = arguments.get(1).and_then(|argument| argument.constant.as_deref());
    text.and_then(|text| text.parse().ok()).expect("resolved to a constant number")
}

fn build(call: &Call, share: f64) -> Box<dyn Accumulator> {
    if call.retracts {
        return Grouped::boxed(Counted { share }, true);
    }
    Grouped::boxed(Listed { share }, false)
}

/// The doubles of an argument; there is one zero and one NaN.
pub(super) fn doubles(arguments: &[ArrayRef]) -> Float64Array {
    let doubles = cast(&arguments[0], &DataType::Float64).expect("numbers are doubles, about");
    doubles.as_primitive::<Float64Type>().unary(|value| if value.is_nan() { f64::NAN } else { value + 0.0 })
}

/// The ranks on both sides of a share of `count` values, and how far it lies from the lower one.
#[expect(clippy::cast_precision_loss, reason = "a count above 2^53 is out of reach")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the count")]
fn ranks(share: f64, count: usize) -> (usize, usize, f64) {
    let last = count - 1;
    let position = share * last as f64;
    let lower = (position.floor() as usize).min(last);
    let upper = (position.ceil() as usize).min(last);
    (lower, upper, position - position.floor())
}

/// The value between two.
fn between(lower: f64, upper: f64, distance: f64) -> f64 {
    if lower.total_cmp(&upper).is_eq() { lower } else { lower * (1.0 - distance) + upper * distance }
}

/// All values as they came.
struct Listed {
    share: f64,
}

impl Rule for Listed {
    type State = Pages<f64>;
    type Column = Float64Array;
    const HEAP: bool = true;

    fn column(&self, arguments: &[ArrayRef]) -> Float64Array {
        doubles(arguments)
    }

    fn add(&self, values: &mut Pages<f64>, _: bool, column: &Float64Array, row: usize) {
        values.push(column.value(row));
    }

    fn retract(&self, _: &mut Pages<f64>, _: &Float64Array, _: usize) {
        unreachable!("a call that may retract counts its values");
    }

    fn merge(&self, values: &mut Pages<f64>, _: bool, later: &Pages<f64>) {
        later.iter().for_each(|value| values.push(*value));
    }

    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a Pages<f64>>>) -> ArrayRef {
        let mut values = Vec::new();
        let results = states.map(|state| {
            values.clear();
            values.extend(state?.iter().copied());
            let (lower, upper, distance) = ranks(self.share, values.len());
            let (_, low, above) = values.select_nth_unstable_by(lower, f64::total_cmp);
            let least_above = above.iter().copied().min_by(f64::total_cmp);
            let high = if upper > lower { least_above.unwrap_or(*low) } else { *low };
            Some(between(*low, high, distance))
        });
        Arc::new(results.collect::<Float64Array>())
    }

    fn saved(&self) -> Vec<Field> {
        vec![column("", list_type(DataType::Float64))]
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a Pages<f64>>> + Clone) -> Vec<ArrayRef> {
        let lengths = states.clone().map(|values| values.map(Pages::len));
        let values = states.flatten().flat_map(Pages::iter).copied();
        vec![lists(lengths, Arc::new(Float64Array::from_iter_values(values)))]
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<Pages<f64>> {
        let (elements, ranges) = elements(&columns[0]);
        let all = elements.as_primitive::<Float64Type>().values();
        let states = ranges.map(|range| {
            let mut values = Pages::default();
            all[range].iter().for_each(|value| values.push(*value));
            values
        });
        states.collect()
    }

    fn heap(&self, values: &Pages<f64>) -> usize {
        values.bytes()
    }
}

/// How often each value is there, by the bits of the doubles in an order of integers.
struct Counted {
    share: f64,
}

/// The integer that orders among its kind as a double does among doubles; it is its own inverse on the bits.
fn ordered(bits: i64) -> i64 {
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

impl Rule for Counted {
    type State = BTreeMap<i64, i64>;
    type Column = Float64Array;
    const HEAP: bool = true;

    fn column(&self, arguments: &[ArrayRef]) -> Float64Array {
        doubles(arguments)
    }

    fn add(&self, counts: &mut Self::State, _: bool, column: &Float64Array, row: usize) {
        *counts.entry(ordered(column.value(row).to_bits().cast_signed())).or_default() += 1;
    }

    fn retract(&self, counts: &mut Self::State, column: &Float64Array, row: usize) {
        take_back(counts, ordered(column.value(row).to_bits().cast_signed()));
    }

    fn merge(&self, counts: &mut Self::State, _: bool, later: &Self::State) {
        merge_counts(counts, later);
    }

    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a Self::State>>) -> ArrayRef {
        let results = states.map(|counts| {
            let counts = counts?;
            let total: i64 = counts.values().sum();
            let (lower, upper, distance) = ranks(self.share, usize::try_from(total).ok()?);
            let at = |rank| at_rank(counts, rank).map(|key| f64::from_bits(ordered(key).cast_unsigned()));
            Some(between(at(lower)?, at(upper)?, distance))
        });
        Arc::new(results.collect::<Float64Array>())
    }

    fn saved(&self) -> Vec<Field> {
        vec![column("", list_type(counted_type(DataType::Float64)))]
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a Self::State>> + Clone) -> Vec<ArrayRef> {
        vec![save_counts::<_, Float64Type>(states, |key| f64::from_bits(ordered(key).cast_unsigned()))]
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<Self::State> {
        load_counts::<_, Float64Type>(&columns[0], |value| ordered(value.to_bits().cast_signed()))
    }

    fn heap(&self, counts: &Self::State) -> usize {
        counts_heap(counts)
    }
}

/// Takes one of these back.
pub(super) fn take_back<K: Ord>(counts: &mut BTreeMap<K, i64>, key: K) {
    if let Entry::Occupied(mut entry) = counts.entry(key) {
        *entry.get_mut() -= 1;
        if *entry.get() < 1 {
            entry.remove();
        }
    }
}

/// Adds counts to counts.
pub(super) fn merge_counts<K: Ord + Copy>(counts: &mut BTreeMap<K, i64>, later: &BTreeMap<K, i64>) {
    for (key, count) in later {
        *counts.entry(*key).or_default() += count;
    }
}

/// The key at a rank, counted from 0 at the least key.
pub(super) fn at_rank<K: Copy>(counts: &BTreeMap<K, i64>, rank: usize) -> Option<K> {
    let mut left = i64::try_from(rank).ok()?;
    for (key, count) in counts {
        if left < *count {
            return Some(*key);
        }
        left -= count;
    }
    None
}

/// Counts as lists of values, NULL where there are none; `value` tells what a key stands for.
pub(super) fn save_counts<'a, K: Copy + 'a, T: ArrowPrimitiveType>(
    states: impl Iterator<Item = Option<&'a BTreeMap<K, i64>>> + Clone,
    value: impl Fn(K) -> T::Native,
) -> ArrayRef {
    let lengths = states.clone().map(|counts| counts.map(BTreeMap::len));
    let values = states.clone().flatten().flat_map(BTreeMap::keys).map(|key| value(*key));
    let values = Arc::new(PrimitiveArray::<T>::from_iter_values(values));
    lists(lengths, counted(values, states.flatten().flat_map(BTreeMap::values).copied().collect()))
}

/// The counts that were saved; `key` tells what stands for a value.
pub(super) fn load_counts<K: Ord, T: ArrowPrimitiveType>(
    column: &ArrayRef,
    key: impl Fn(T::Native) -> K,
) -> Vec<BTreeMap<K, i64>> {
    let (elements, ranges) = elements(column);
    let (values, counts) = values_and_counts(&elements);
    let values = values.as_primitive::<T>();
    let state = |range: Range<usize>| range.map(|row| (key(values.value(row)), counts.value(row))).collect();
    ranges.map(state).collect()
}

/// The heap bytes of counts, about: the tree holds a third of its room free.
pub(super) fn counts_heap<K>(counts: &BTreeMap<K, i64>) -> usize {
    counts.len() * size_of::<(K, i64)>() * 3 / 2
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Decimal128Array, Int64Array};

    use super::*;
    use crate::aggregate::tests::{constant, run, run_with};

    fn check(values: &[f64], share: &str, expect: &str) {
        let column: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        let arguments = [Argument::column(SqlType::Double), constant(SqlType::Decimal(3, 2), share)];
        assert_eq!(run_with("PERCENTILE", &arguments, &column, None), expect, "{share} of {values:?}");
        assert_eq!(run_with("QUANTILE", &arguments, &column, None), expect, "{share} of {values:?}");
    }

    #[test]
    fn percentiles_lie_between_values() {
        check(&[], "0.5", "");
        check(&[7.0], "0.9", "7.0");
        check(&[10.0, 0.0], "0.9", "9.0");
        check(&[4.0, 1.0, 3.0, 2.0, 5.0], "0", "1.0");
        check(&[4.0, 1.0, 3.0, 2.0, 5.0], "1", "5.0");
        check(&[4.0, 1.0, 3.0, 2.0, 5.0], "0.25", "2.0");
        check(&[4.0, 1.0, 3.0, 2.0, 5.0], "0.3", "2.2");
        check(&[f64::INFINITY, f64::INFINITY, 1.0], "0.75", "inf");
        check(&[f64::NAN, 1.0, 2.0], "0.5", "2.0");
        check(&[-0.0, 0.0], "0.5", "0.0");
    }

    #[test]
    fn medians_of_all_numbers() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(4), Some(100)]));
        assert_eq!(run("MEDIAN", &SqlType::BigInt, &column, None), "4.0");
        let filter = BooleanArray::from(vec![Some(true), Some(true), Some(true), None]);
        assert_eq!(run("MEDIAN", &SqlType::BigInt, &column, Some(&filter)), "2.5");
        let data_type = SqlType::Decimal(5, 2);
        let column: ArrayRef =
            Arc::new(Decimal128Array::from(vec![150, 250]).with_data_type(data_type.arrow()));
        assert_eq!(run("MEDIAN", &data_type, &column, None), "2.0");
    }

    #[test]
    fn the_share_is_a_constant() {
        let number = Argument::column(SqlType::Double);
        for (arguments, what) in [
            (vec![number.clone()], "a number and a share"),
            (vec![number.clone(), number.clone()], "a constant from 0 to 1"),
            (vec![number.clone(), constant(SqlType::Decimal(2, 1), "1.5")], "a constant from 0 to 1"),
            (vec![number.clone(), constant(SqlType::Int, "-1")], "a constant from 0 to 1"),
            (vec![number, constant(SqlType::String, "0.5")], "a constant from 0 to 1"),
            (
                vec![Argument::column(SqlType::String), constant(SqlType::Int, "1")],
                "takes a number, not STRING",
            ),
        ] {
            for name in ["PERCENTILE", "APPROX_PERCENTILE"] {
                let error = resolve_share(&arguments, name).unwrap_err();
                assert!(error.contains(what) && error.contains(name), "{error}");
            }
        }
    }

    #[test]
    fn integers_are_ordered_as_doubles_are() {
        let values = [f64::NEG_INFINITY, -1.5, -5e-324, 0.0, 5e-324, 1.0, f64::MAX, f64::INFINITY, f64::NAN];
        let keys: Vec<i64> = values.iter().map(|value| ordered(value.to_bits().cast_signed())).collect();
        assert!(keys.is_sorted());
        for (value, key) in values.iter().zip(keys) {
            assert_eq!(ordered(key).cast_unsigned(), value.to_bits());
        }
    }
}
