//! AVG: as Flink has it, the average of integers is an integer and truncates; of DECIMAL(p, s) it is
//! DECIMAL(38, max(6, s)), rounded half up.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, i256};

use super::exact_sum::ExactSum;
use super::sum::DecimalSum;
use super::{Accumulator, Call, Function, for_each_value, one_argument};
use crate::record::SqlType;

/// The entry in the registry.
pub(super) const AVG: Function = Function {
    name: "AVG",
    signature: "AVG(number)",
    summary: "the average; of integers it is an integer and truncates, of DECIMAL(p, s) DECIMAL(38, max(6, s)); NULL over no values",
    resolve: |arguments| match one_argument(arguments, "AVG")? {
        SqlType::Decimal(_, scale) => Ok((SqlType::Decimal(38, (*scale).max(6)), true)),
        number if number.is_numeric() => Ok((number.clone(), true)),
        other => Err(format!("AVG takes a number, not {other}")),
    },
    build,
};

fn build(call: &Call) -> Box<dyn Accumulator> {
    match &call.arguments[0] {
        SqlType::Decimal(_, scale) => {
            Box::new(DecimalAverage { sums: DecimalSum::new(*scale), counts: Vec::new(), scale: *scale })
        }
        integer if integer.is_integer() => {
            Box::new(IntegerAverage { result: integer.clone(), states: Vec::new() })
        }
        number => {
            Box::new(DoubleAverage { result: number.clone(), ordered: call.ordered, states: Vec::new() })
        }
    }
}

struct IntegerAverage {
    result: SqlType,
    /// Sum and count.
    states: Vec<(i128, i64)>,
}

impl Accumulator for IntegerAverage {
    fn resize(&mut self, groups: usize) {
        self.states.resize(groups, (0, 0));
    }

    fn add(&mut self, rows: &[u32], groups: &[u32], arguments: &[ArrayRef], filter: Option<&BooleanArray>) {
        let wide = cast(&arguments[0], &DataType::Int64).expect("integers widen");
        let values = wide.as_primitive::<Int64Type>();
        for_each_value(rows, groups, values, filter, |row, group| {
            let (sum, count) = &mut self.states[group];
            *sum += i128::from(values.value(row));
            *count += 1;
        });
    }

    fn finish(&self, groups: Range<usize>) -> ArrayRef {
        let averages = self.states[groups].iter().map(|(sum, count)| {
            (*count > 0)
                .then(|| i64::try_from(sum / i128::from(*count)).expect("between the least and the greatest"))
        });
        let averages: ArrayRef = Arc::new(averages.collect::<Int64Array>());
        cast(&averages, &self.result.arrow()).expect("between the least and the greatest of this type")
    }
}

struct DecimalAverage {
    sums: DecimalSum,
    counts: Vec<i64>,
    scale: u8,
}

impl Accumulator for DecimalAverage {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups);
        self.counts.resize(groups, 0);
    }

    fn add(&mut self, rows: &[u32], groups: &[u32], arguments: &[ArrayRef], filter: Option<&BooleanArray>) {
        self.sums.add(rows, groups, arguments, filter);
        for_each_value(rows, groups, arguments[0].as_ref(), filter, |_, group| self.counts[group] += 1);
    }

    fn finish(&self, groups: Range<usize>) -> ArrayRef {
        let scale = self.scale.max(6);
        let factor = i256::from_i128(10_i128.pow(u32::from(scale - self.scale)));
        let averages = groups.map(|group| {
            let sum = i256::from_i128(self.sums.sum(group)?).wrapping_mul(factor);
            divide_half_up(sum, i128::from(self.counts[group]))
                .filter(|average| average.unsigned_abs() < 10_u128.pow(38))
        });
        Arc::new(averages.collect::<Decimal128Array>().with_data_type(SqlType::Decimal(38, scale).arrow()))
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

struct DoubleAverage {
    result: SqlType,
    ordered: bool,
    states: Vec<(ExactSum, f64, i64)>,
}

impl Accumulator for DoubleAverage {
    fn resize(&mut self, groups: usize) {
        self.states.resize(groups, (ExactSum::default(), 0.0, 0));
    }

    fn add(&mut self, rows: &[u32], groups: &[u32], arguments: &[ArrayRef], filter: Option<&BooleanArray>) {
        let wide = cast(&arguments[0], &DataType::Float64).expect("floats widen");
        let values = wide.as_primitive::<Float64Type>();
        for_each_value(rows, groups, values, filter, |row, group| {
            let (exact, plain, count) = &mut self.states[group];
            if self.ordered {
                *plain += values.value(row);
            } else {
                exact.add(values.value(row));
            }
            *count += 1;
        });
    }

    fn finish(&self, groups: Range<usize>) -> ArrayRef {
        let averages = self.states[groups].iter().map(|(exact, plain, count)| {
            let sum = if self.ordered { *plain } else { exact.total() };
            #[expect(clippy::cast_precision_loss, reason = "a count above 2^53 is out of reach")]
            (*count > 0).then(|| sum / *count as f64)
        });
        let averages: ArrayRef = Arc::new(averages.collect::<Float64Array>());
        cast(&averages, &self.result.arrow()).expect("a double narrows to a float")
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
