//! Variance and standard deviation, of a population and of a sample.
//!
//! The sums of the values and of their squares are kept exactly, and n·Σx² − (Σx)² is computed exactly and rounded
//! once: so the result is as near as a double can be however the values lie, does not depend on their order, can be
//! merged, and values can be taken back without a trace.
//!
//! The result is DOUBLE for all numbers. Flink casts it to the argument's type, which makes the deviation of integers an
//! integer; nobody can want that.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type};

use super::exact_sum::ExactSum;
use super::grouped::{Grouped, Rule};
use super::saved::{counts, with_count, with_counts};
use super::{Argument, Call, Distinct, Function, one_argument};
use crate::record::SqlType;

/// The entry of `STDDEV_POP` in the registry.
pub(super) const STDDEV_POP: Function = Function {
    name: "STDDEV_POP",
    aliases: &[],
    signature: "STDDEV_POP(number)",
    summary: "the standard deviation of a population; DOUBLE, NULL over no values",
    retracts: true,
    distinct: Distinct::Values,
    by_order: false,
    resolve: |arguments| resolve(arguments, "STDDEV_POP"),
    build: |call| Grouped::boxed(Variance { sample: false, root: true }, retracts(call)),
};

/// The entry of `STDDEV_SAMP` in the registry.
pub(super) const STDDEV_SAMP: Function = Function {
    name: "STDDEV_SAMP",
    aliases: &["STDDEV"],
    signature: "STDDEV_SAMP(number) | STDDEV(number)",
    summary: "the standard deviation of a sample; DOUBLE, NULL over fewer than two values",
    retracts: true,
    distinct: Distinct::Values,
    by_order: false,
    resolve: |arguments| resolve(arguments, "STDDEV_SAMP"),
    build: |call| Grouped::boxed(Variance { sample: true, root: true }, retracts(call)),
};

/// The entry of `VAR_POP` in the registry.
pub(super) const VAR_POP: Function = Function {
    name: "VAR_POP",
    aliases: &[],
    signature: "VAR_POP(number)",
    summary: "the variance of a population; DOUBLE, NULL over no values",
    retracts: true,
    distinct: Distinct::Values,
    by_order: false,
    resolve: |arguments| resolve(arguments, "VAR_POP"),
    build: |call| Grouped::boxed(Variance { sample: false, root: false }, retracts(call)),
};

/// The entry of `VAR_SAMP` in the registry.
pub(super) const VAR_SAMP: Function = Function {
    name: "VAR_SAMP",
    aliases: &["VARIANCE"],
    signature: "VAR_SAMP(number) | VARIANCE(number)",
    summary: "the variance of a sample; DOUBLE, NULL over fewer than two values",
    retracts: true,
    distinct: Distinct::Values,
    by_order: false,
    resolve: |arguments| resolve(arguments, "VAR_SAMP"),
    build: |call| Grouped::boxed(Variance { sample: true, root: false }, retracts(call)),
};

fn resolve(arguments: &[Argument], name: &str) -> Result<(SqlType, bool), String> {
    match one_argument(arguments, name)? {
        number if number.is_numeric() => Ok((SqlType::Double, true)),
        other => Err(format!("{name} takes a number, not {other}")),
    }
}

fn retracts(call: &Call) -> bool {
    call.retracts
}

struct Variance {
    /// Whether one value is taken for the mean.
    sample: bool,
    /// Whether the deviation is asked for.
    root: bool,
}

/// What is known of the values of a group. With few digits in the values it is 56 bytes and none on the heap.
#[derive(Default)]
struct Moments {
    sum: ExactSum,
    squares: ExactSum,
    count: i64,
}

impl Variance {
    #[expect(clippy::cast_precision_loss, reason = "a count above 2^53 is out of reach")]
    fn of(&self, moments: &Moments) -> Option<f64> {
        let divisor = moments.count - i64::from(self.sample);
        if divisor < 1 {
            return None;
        }
        let variance = match moments.sum.terms() {
            None => f64::NAN,
            Some(terms) => {
                let (count, mut spread) = (moments.count as f64, ExactSum::default());
                moments.squares.add_times(count, &mut spread);
                for term in &terms {
                    for other in &terms {
                        spread.add_product(*term, -*other);
                    }
                }
                spread.total().max(0.0) / count / divisor as f64
            }
        };
        Some(if self.root { variance.sqrt() } else { variance })
    }
}

impl Rule for Variance {
    type State = Moments;
    type Column = Float64Array;
    const COUNTED: bool = true;
    const HEAP: bool = true;

    fn column(&self, arguments: &[ArrayRef]) -> Float64Array {
        let doubles = cast(&arguments[0], &DataType::Float64).expect("numbers are doubles, about");
        doubles.as_primitive::<Float64Type>().clone()
    }

    fn add(&self, moments: &mut Moments, _: bool, column: &Float64Array, row: usize) {
        let value = column.value(row);
        moments.sum.add(value);
        if value.is_finite() {
            moments.squares.add_product(value, value);
        }
        moments.count += 1;
    }

    fn retract(&self, moments: &mut Moments, column: &Float64Array, row: usize) {
        let value = column.value(row);
        moments.sum.retract(value);
        if value.is_finite() {
            moments.squares.add_product(value, -value);
        }
        moments.count -= 1;
    }

    fn merge(&self, moments: &mut Moments, _: bool, later: &Moments) {
        moments.sum.merge(&later.sum);
        moments.squares.merge(&later.squares);
        moments.count += later.count;
    }

    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a Moments>>) -> ArrayRef {
        Arc::new(states.map(|moments| self.of(moments?)).collect::<Float64Array>())
    }

    fn saved(&self) -> Vec<Field> {
        with_count([ExactSum::saved("sum"), ExactSum::saved("squares")].concat())
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a Moments>> + Clone) -> Vec<ArrayRef> {
        let sums = ExactSum::save(states.clone().map(|moments| moments.map(|moments| &moments.sum)));
        let squares = ExactSum::save(states.clone().map(|moments| moments.map(|moments| &moments.squares)));
        with_counts([sums, squares].concat(), states.map(|moments| moments.map(|moments| &moments.count)))
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<Moments> {
        let (sums, squares) = columns.split_at(ExactSum::saved("").len());
        let sums = ExactSum::load(sums).into_iter().zip(ExactSum::load(squares));
        let moments = sums.zip(counts(columns).values());
        moments.map(|((sum, squares), count)| Moments { sum, squares, count: *count }).collect()
    }

    fn heap(&self, moments: &Moments) -> usize {
        moments.sum.heap() + moments.squares.heap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::tests::run;

    fn check(values: &[f64], population: &str, sample: &str) {
        let column: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        let text = |name| run(name, &SqlType::Double, &column, None);
        assert_eq!(
            (text("VAR_POP"), text("VARIANCE")),
            (population.to_owned(), sample.to_owned()),
            "{values:?}"
        );
        let root =
            |text: &str| text.parse::<f64>().map_or(String::new(), |value| format!("{:?}", value.sqrt()));
        assert_eq!((text("STDDEV_POP"), text("STDDEV")), (root(population), root(sample)), "{values:?}");
    }

    #[test]
    fn variances() {
        check(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], "4.0", "4.571428571428571");
        check(&[7.5], "0.0", "");
        check(&[0.1, 0.1, 0.1], "0.0", "0.0");
        check(&[1e15 + 1.0, 1e15 + 2.0, 1e15 + 3.0], "0.6666666666666666", "1.0");
        check(&[1e200, 1e200], "0.0", "0.0");
        check(&[1e-200, 1e-200], "0.0", "0.0");
        check(&[1.0, f64::INFINITY], "NaN", "NaN");
        check(&[f64::NAN], "NaN", "");
    }

    #[test]
    fn all_numbers_give_doubles() {
        let column: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![Some(1), None, Some(2)]));
        assert_eq!(run("VAR_POP", &SqlType::Int, &column, None), "0.25");
        let column: ArrayRef = Arc::new(
            arrow::array::Decimal128Array::from(vec![150, 250])
                .with_data_type(SqlType::Decimal(5, 2).arrow()),
        );
        assert_eq!(run("VAR_POP", &SqlType::Decimal(5, 2), &column, None), "0.25");
    }
}
