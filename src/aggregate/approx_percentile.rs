//! `APPROX_PERCENTILE`: a percentile that is at most 0.4 % off, in bounded room.
//!
//! Values are counted in bins that are 1/128 of a power of two wide: the sign, the exponent and the first 7 bits of the
//! mantissa, as in Gil Tene's `HdrHistogram`, for doubles. A bin's middle is at most 1/256 off any of its values. Other
//! sketches (KLL, t-digest, REQ) give other results for other orders of rows and merges, and cannot take rows back;
//! counts can, and a bin is found without a logarithm. Values that span 6 orders of magnitude need up to 2,600 bins of
//! some 18 bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::{DataType, Field, Int32Type};

use super::grouped::{Grouped, Rule};
use super::percentile::{
    at_rank, counts_heap, doubles, load_counts, merge_counts, resolve_share, save_counts, share, take_back,
};
use super::saved::{column, counted_type, list_type};
use super::{Distinct, Function};

/// The entry in the registry.
pub(super) const APPROX_PERCENTILE: Function = Function {
    name: "APPROX_PERCENTILE",
    aliases: &[],
    signature: "APPROX_PERCENTILE(number, p)",
    summary: "PERCENTILE to within 0.4 % of the value, whatever the order of rows, in bounded room; DOUBLE, NULL over no values",
    retracts: true,
    distinct: Distinct::Values,
    by_order: false,
    resolve: |arguments| resolve_share(arguments, "APPROX_PERCENTILE"),
    build: |call| Grouped::boxed(Bins { share: share(&call.arguments) }, call.retracts),
};

/// The bits of the mantissa that do not tell a bin.
const DROPPED: u32 = 52 - 7;

struct Bins {
    share: f64,
}

/// The bin of a value; bins are ordered as their values are.
fn bin_of(value: f64) -> i32 {
    let size = (value.abs().to_bits() >> DROPPED) as i32;
    if value < 0.0 { -size - 1 } else { size }
}

/// The middle of a bin.
fn middle_of(bin: i32) -> f64 {
    let size = if bin < 0 { -(bin + 1) } else { bin };
    let least = u64::from(size.unsigned_abs()) << DROPPED;
    let middle = match f64::from_bits(least) {
        // Zero, infinity and NaN are no stretches: they stand for themselves.
        0.0 => 0.0,
        special if !special.is_finite() => special,
        _ => f64::from_bits(least | 1 << (DROPPED - 1)),
    };
    if bin < 0 { -middle } else { middle }
}

impl Rule for Bins {
    type State = BTreeMap<i32, i64>;
    type Column = Float64Array;
    const HEAP: bool = true;

    fn column(&self, arguments: &[ArrayRef]) -> Float64Array {
        doubles(arguments)
    }

    fn add(&self, counts: &mut Self::State, _: bool, column: &Float64Array, row: usize) {
        *counts.entry(bin_of(column.value(row))).or_default() += 1;
    }

    fn retract(&self, counts: &mut Self::State, column: &Float64Array, row: usize) {
        take_back(counts, bin_of(column.value(row)));
    }

    fn merge(&self, counts: &mut Self::State, _: bool, later: &Self::State) {
        merge_counts(counts, later);
    }

    #[expect(clippy::cast_precision_loss, reason = "a count above 2^53 is out of reach")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the count")]
    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a Self::State>>) -> ArrayRef {
        let results = states.map(|counts| {
            let counts = counts?;
            let total: i64 = counts.values().sum();
            // The nearest rank: to go between two bins would be more than is known.
            let rank = (self.share * (total - 1) as f64).round() as usize;
            at_rank(counts, rank).map(middle_of)
        });
        Arc::new(results.collect::<Float64Array>())
    }

    fn saved(&self) -> Vec<Field> {
        vec![column("", list_type(counted_type(DataType::Int32)))]
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a Self::State>> + Clone) -> Vec<ArrayRef> {
        vec![save_counts::<_, Int32Type>(states, |bin| bin)]
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<Self::State> {
        load_counts::<_, Int32Type>(&columns[0], |bin| bin)
    }

    fn heap(&self, counts: &Self::State) -> usize {
        counts_heap(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Argument;
    use crate::aggregate::tests::{constant, run_with};
    use crate::record::SqlType;

    fn check(values: &[f64], share: &str, expect: &str) {
        let column: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        let arguments = [Argument::column(SqlType::Double), constant(SqlType::Decimal(3, 2), share)];
        let about = run_with("APPROX_PERCENTILE", &arguments, &column, None);
        let (Ok(about_number), Ok(expect_number)) = (about.parse::<f64>(), expect.parse::<f64>()) else {
            assert_eq!(about, expect, "{share} of {values:?}");
            return;
        };
        let near = (about_number - expect_number).abs() <= expect_number.abs() * 0.004;
        assert!(near || about == expect, "{share} of {values:?} is {about}");
    }

    #[test]
    fn percentiles_are_near() {
        check(&[], "0.5", "");
        check(&[3.25], "0.99", "3.25");
        check(&[-1000.0, 0.0, 1000.0], "0", "-1000.0");
        check(&[-1000.0, 0.0, 1000.0], "0.5", "0.0");
        check(&[-1000.0, 0.0, 1000.0], "1", "1000.0");
        check(&[1.0, f64::INFINITY], "1", "inf");
        check(&[1.0, f64::NEG_INFINITY], "0", "-inf");
        check(&[1.0, f64::NAN], "1", "NaN");
        let hundred: Vec<f64> = (1..=101).rev().map(f64::from).collect();
        check(&hundred, "0.9", "91.0");
    }

    #[test]
    fn a_bin_is_near_its_values_and_in_order() {
        let mut random = fastrand::Rng::with_seed(11);
        let mut before: Option<(f64, i32)> = None;
        let mut values: Vec<f64> = (0..20_000)
            .map(|_| (random.f64() - 0.5) * 10_f64.powi(random.i32(-300..300)))
            .chain([0.0, f64::MAX, f64::MIN, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1.0, -1.0])
            .collect();
        values.sort_by(f64::total_cmp);
        for value in values {
            let (bin, middle) = (bin_of(value), middle_of(bin_of(value)));
            let near = (middle - value).abs() <= value.abs() * 0.004;
            assert!(near || middle.total_cmp(&value).is_eq(), "{value} became {middle}");
            assert!(before.is_none_or(|(_, below)| below <= bin), "{before:?} is below {value}");
            before = Some((value, bin));
        }
    }
}
