//! AVG: as Flink has it, the average of integers is an integer and truncates; of DECIMAL(p, s) it is
//! DECIMAL(38, max(6, s)), rounded half up.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int64Type, i256};

use super::exact_sum::ExactSum;
use super::grouped::{Grouped, Rule};
use super::saved::{column, counts, with_count, with_counts};
use super::wide_sum::WideSum;
use super::{Accumulator, Call, Distinct, Function, one_argument};
use crate::record::SqlType;

/// The entry in the registry.
pub(super) const AVG: Function = Function {
    name: "AVG",
    aliases: &[],
    signature: "AVG(number)",
    summary: "the average; of integers it is an integer and truncates, of DECIMAL(p, s) DECIMAL(38, max(6, s)); NULL over no values",
    retracts: true,
    distinct: Distinct::Values,
    by_order: false,
    resolve: |arguments| match one_argument(arguments, "AVG")? {
        SqlType::Decimal(_, scale) => Ok((SqlType::Decimal(38, (*scale).max(6)), true)),
        number if number.is_numeric() => Ok((number.clone(), true)),
        other => Err(format!("AVG takes a number, not {other}")),
    },
    build,
};

fn build(call: &Call) -> Box<dyn Accumulator> {
    let result = call.result.clone();
    match &call.arguments[0].data_type {
        SqlType::Decimal(precision, scale) => {
            Grouped::boxed(DecimalAverage { precision: *precision, scale: *scale }, call.retracts)
        }
        integer if integer.is_integer() => Grouped::boxed(IntegerAverage { result }, call.retracts),
        // What is taken back from a plain sum leaves its rounding errors behind.
        _ if call.ordered && !call.retracts => Grouped::boxed(PlainAverage { result }, call.retracts),
        _ => Grouped::boxed(ExactAverage { result }, call.retracts),
    }
}

/// An integer has no more digits than this.
const INTEGER_DIGITS: u8 = 19;

struct IntegerAverage {
    result: SqlType,
}

impl Rule for IntegerAverage {
    /// Sum and count.
    type State = (WideSum, i64);
    type Column = Int64Array;
    const COUNTED: bool = true;

    fn column(&self, arguments: &[ArrayRef]) -> Int64Array {
        let wide = cast(&arguments[0], &DataType::Int64).expect("integers widen");
        wide.as_primitive::<Int64Type>().clone()
    }

    fn add(&self, (sum, count): &mut Self::State, _: bool, column: &Int64Array, row: usize) {
        sum.add(i128::from(column.value(row)));
        *count += 1;
    }

    fn retract(&self, (sum, count): &mut Self::State, column: &Int64Array, row: usize) {
        sum.add(-i128::from(column.value(row)));
        *count -= 1;
    }

    fn merge(&self, (sum, count): &mut Self::State, _: bool, later: &Self::State) {
        sum.merge(&later.0);
        *count += later.1;
    }

    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a Self::State>>) -> ArrayRef {
        let averages = states.map(|state| {
            let (sum, count) = state?;
            let average = sum.total().checked_div(i256::from_i128(i128::from(*count)))?;
            i64::try_from(average.to_i128()?).ok()
        });
        let averages: ArrayRef = Arc::new(averages.collect::<Int64Array>());
        cast(&averages, &self.result.arrow()).expect("between the least and the greatest of this type")
    }

    fn saved(&self) -> Vec<Field> {
        with_count(WideSum::saved("sum", INTEGER_DIGITS, 0))
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a Self::State>> + Clone) -> Vec<ArrayRef> {
        let sums = states.clone().map(|state| state.map(|(sum, _)| sum));
        with_counts(WideSum::save(sums, INTEGER_DIGITS, 0), states.map(|state| state.map(|(_, count)| count)))
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<Self::State> {
        WideSum::load(columns, INTEGER_DIGITS)
            .into_iter()
            .zip(counts(columns).values().iter().copied())
            .collect()
    }
}

struct DecimalAverage {
    precision: u8,
    scale: u8,
}

impl Rule for DecimalAverage {
    /// Sum and count.
    type State = (WideSum, i64);
    type Column = Decimal128Array;
    const COUNTED: bool = true;

    fn column(&self, arguments: &[ArrayRef]) -> Decimal128Array {
        arguments[0].as_primitive::<Decimal128Type>().clone()
    }

    fn add(&self, (sum, count): &mut Self::State, _: bool, column: &Decimal128Array, row: usize) {
        sum.add(column.value(row));
        *count += 1;
    }

    fn retract(&self, (sum, count): &mut Self::State, column: &Decimal128Array, row: usize) {
        sum.add(-column.value(row));
        *count -= 1;
    }

    fn merge(&self, (sum, count): &mut Self::State, _: bool, later: &Self::State) {
        sum.merge(&later.0);
        *count += later.1;
    }

    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a Self::State>>) -> ArrayRef {
        let scale = self.scale.max(6);
        let factor = i256::from_i128(10_i128.pow(u32::from(scale - self.scale)));
        let averages = states.map(|state| {
            let (sum, count) = state?;
            // Flink's sum is a DECIMAL(38, s), and beyond that NULL; so is then the average.
            let sum = sum.total().to_i128().filter(|sum| sum.unsigned_abs() < 10_u128.pow(38))?;
            divide_half_up(i256::from_i128(sum).wrapping_mul(factor), i128::from(*count))
                .filter(|average| average.unsigned_abs() < 10_u128.pow(38))
        });
        Arc::new(averages.collect::<Decimal128Array>().with_data_type(SqlType::Decimal(38, scale).arrow()))
    }

    fn saved(&self) -> Vec<Field> {
        with_count(WideSum::saved("sum", self.precision, self.scale))
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a Self::State>> + Clone) -> Vec<ArrayRef> {
        let sums = states.clone().map(|state| state.map(|(sum, _)| sum));
        with_counts(
            WideSum::save(sums, self.precision, self.scale),
            states.map(|state| state.map(|(_, count)| count)),
        )
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<Self::State> {
        WideSum::load(columns, self.precision)
            .into_iter()
            .zip(counts(columns).values().iter().copied())
            .collect()
    }
}

/// `sum / count`, rounded half away from zero; none where it does not fit or there is no count.
fn divide_half_up(sum: i256, count: i128) -> Option<i128> {
    let divisor = i256::from_i128(count);
    let quotient = sum.checked_div(divisor)?;
    let rest = sum.checked_rem(divisor)?;
    let twice = rest.wrapping_abs().wrapping_mul(i256::from_i128(2));
    let away =
        if twice >= divisor { i256::from_i128(if sum < i256::ZERO { -1 } else { 1 }) } else { i256::ZERO };
    quotient.wrapping_add(away).to_i128()
}

/// The doubles of an argument.
fn doubles(arguments: &[ArrayRef]) -> Float64Array {
    let wide = cast(&arguments[0], &DataType::Float64).expect("floats widen");
    wide.as_primitive::<Float64Type>().clone()
}

/// `sum / count`, in the result's type.
fn divide(sums: impl Iterator<Item = Option<(f64, i64)>>, result: &SqlType) -> ArrayRef {
    #[expect(clippy::cast_precision_loss, reason = "a count above 2^53 is out of reach")]
    let averages = sums.map(|state| state.map(|(sum, count)| sum / count as f64));
    let averages: ArrayRef = Arc::new(averages.collect::<Float64Array>());
    cast(&averages, &result.arrow()).expect("a double narrows to a float")
}

/// The average of doubles in the order of their arrival.
struct PlainAverage {
    result: SqlType,
}

impl Rule for PlainAverage {
    /// Sum and count.
    type State = (f64, i64);
    type Column = Float64Array;
    const COUNTED: bool = true;

    fn column(&self, arguments: &[ArrayRef]) -> Float64Array {
        doubles(arguments)
    }

    fn add(&self, (sum, count): &mut Self::State, _: bool, column: &Float64Array, row: usize) {
        *sum += column.value(row);
        *count += 1;
    }

    fn retract(&self, (sum, count): &mut Self::State, column: &Float64Array, row: usize) {
        *sum -= column.value(row);
        *count -= 1;
    }

    fn merge(&self, (sum, count): &mut Self::State, _: bool, later: &Self::State) {
        *sum += later.0;
        *count += later.1;
    }

    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a Self::State>>) -> ArrayRef {
        divide(states.map(Option::<&Self::State>::copied), &self.result)
    }

    fn saved(&self) -> Vec<Field> {
        with_count(vec![column("sum", DataType::Float64)])
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a Self::State>> + Clone) -> Vec<ArrayRef> {
        let sums = states.clone().map(|state| state.map(|(sum, _)| *sum));
        let sums: ArrayRef = Arc::new(sums.collect::<Float64Array>());
        with_counts(vec![sums], states.map(|state| state.map(|(_, count)| count)))
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<Self::State> {
        let sums = columns[0].as_primitive::<Float64Type>().values().iter().copied();
        sums.zip(counts(columns).values().iter().copied()).collect()
    }
}

/// The average of doubles by their exact sum.
struct ExactAverage {
    result: SqlType,
}

impl Rule for ExactAverage {
    /// Sum and count.
    type State = (ExactSum, i64);
    type Column = Float64Array;
    const COUNTED: bool = true;
    const HEAP: bool = true;

    fn column(&self, arguments: &[ArrayRef]) -> Float64Array {
        doubles(arguments)
    }

    fn add(&self, (sum, count): &mut Self::State, _: bool, column: &Float64Array, row: usize) {
        sum.add(column.value(row));
        *count += 1;
    }

    fn retract(&self, (sum, count): &mut Self::State, column: &Float64Array, row: usize) {
        sum.retract(column.value(row));
        *count -= 1;
    }

    fn merge(&self, (sum, count): &mut Self::State, _: bool, later: &Self::State) {
        sum.merge(&later.0);
        *count += later.1;
    }

    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a Self::State>>) -> ArrayRef {
        divide(states.map(|state| state.map(|(sum, count)| (sum.total(), *count))), &self.result)
    }

    fn saved(&self) -> Vec<Field> {
        with_count(ExactSum::saved("sum"))
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a Self::State>> + Clone) -> Vec<ArrayRef> {
        let sums = states.clone().map(|state| state.map(|(sum, _)| sum));
        with_counts(ExactSum::save(sums), states.map(|state| state.map(|(_, count)| count)))
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<Self::State> {
        ExactSum::load(columns).into_iter().zip(counts(columns).values().iter().copied()).collect()
    }

    fn heap(&self, (sum, _): &Self::State) -> usize {
        sum.heap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::tests::run;

    #[test]
    fn integers_truncate_as_in_flink() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(-1), None, Some(-2)]));
        assert_eq!(run("AVG", &SqlType::BigInt, &column, None), "-1");
        let column: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, i64::MAX]));
        assert_eq!(run("AVG", &SqlType::BigInt, &column, None), i64::MAX.to_string());
    }

    #[test]
    fn decimals_round_half_up() {
        let decimals: ArrayRef =
            Arc::new(Decimal128Array::from(vec![1, 1, 0]).with_data_type(SqlType::Decimal(5, 2).arrow()));
        assert_eq!(run("AVG", &SqlType::Decimal(5, 2), &decimals, None), "0.006667");
        let decimals: ArrayRef =
            Arc::new(Decimal128Array::from(vec![-1, 0]).with_data_type(SqlType::Decimal(9, 6).arrow()));
        assert_eq!(run("AVG", &SqlType::Decimal(9, 6), &decimals, None), "-0.000001");
    }

    #[test]
    fn doubles() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(2.0)]));
        assert_eq!(run("AVG", &SqlType::Double, &column, None), "1.5");
    }
}
