//! SUM: the sum of the values that are not NULL, in the type of the argument as Flink has it: integers wrap, decimals
//! are DECIMAL(38, s) and NULL on overflow.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Decimal128Array, Float32Array, Float64Array,
    PrimitiveArray,
};
use arrow::datatypes::{Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};

use super::exact_sum::ExactSum;
use super::{Accumulator, Call, Function, for_each_value, one_argument};
use crate::record::SqlType;

/// The entry in the registry.
pub(super) const SUM: Function = Function {
    name: "SUM",
    signature: "SUM(number)",
    summary: "the sum; integers keep their type, DECIMAL(p, s) becomes DECIMAL(38, s); NULL over no values",
    resolve: |arguments| match one_argument(arguments, "SUM")? {
        SqlType::Decimal(_, scale) => Ok((SqlType::Decimal(38, *scale), true)),
        number if number.is_numeric() => Ok((number.clone(), true)),
        other => Err(format!("SUM takes a number, not {other}")),
    },
    build,
};

fn build(call: &Call) -> Box<dyn Accumulator> {
    match &call.arguments[0] {
        SqlType::TinyInt => Box::new(IntegerSum::<Int8Type>::new(i8::wrapping_add)),
        SqlType::SmallInt => Box::new(IntegerSum::<Int16Type>::new(i16::wrapping_add)),
        SqlType::Int => Box::new(IntegerSum::<Int32Type>::new(i32::wrapping_add)),
        SqlType::BigInt => Box::new(IntegerSum::<Int64Type>::new(i64::wrapping_add)),
        SqlType::Decimal(_, scale) => Box::new(DecimalSum::new(*scale)),
        SqlType::Float if call.ordered => Box::new(FloatSum::default()),
        SqlType::Float => Box::new(DoubleSum { float: true, ..DoubleSum::default() }),
        SqlType::Double if call.ordered => Box::new(OrderedSum::default()),
        _ => Box::<DoubleSum>::default(),
    }
}

struct IntegerSum<T: ArrowPrimitiveType> {
    add: fn(T::Native, T::Native) -> T::Native,
    sums: Vec<Option<T::Native>>,
}

impl<T: ArrowPrimitiveType> IntegerSum<T> {
    fn new(add: fn(T::Native, T::Native) -> T::Native) -> Self {
        Self { add, sums: Vec::new() }
    }
}

impl<T: ArrowPrimitiveType> Accumulator for IntegerSum<T> {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, None);
    }

    fn add(&mut self, rows: &[u32], groups: &[u32], arguments: &[ArrayRef], filter: Option<&BooleanArray>) {
        let values = arguments[0].as_primitive::<T>();
        for_each_value(rows, groups, values, filter, |row, group| {
            let value = values.value(row);
            let sum = &mut self.sums[group];
            *sum = Some(sum.map_or(value, |sum| (self.add)(sum, value)));
        });
    }

    fn finish(&self, groups: Range<usize>) -> ArrayRef {
        Arc::new(self.sums[groups].iter().copied().collect::<PrimitiveArray<T>>())
    }
}

/// The sum of decimals: exact, or lost to overflow for good.
pub(super) struct DecimalSum {
    scale: u8,
    /// None before the first value; `Some(None)` after an overflow.
    #[expect(clippy::option_option, reason = "empty and overflowed are two things")]
    sums: Vec<Option<Option<i128>>>,
}

impl DecimalSum {
    pub(super) fn new(scale: u8) -> Self {
        Self { scale, sums: Vec::new() }
    }

    /// The sum of a group; none where it is empty or has overflowed.
    pub(super) fn sum(&self, group: usize) -> Option<i128> {
        self.sums[group].flatten().filter(|sum| sum.unsigned_abs() < 10_u128.pow(38))
    }
}

impl Accumulator for DecimalSum {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, None);
    }

    fn add(&mut self, rows: &[u32], groups: &[u32], arguments: &[ArrayRef], filter: Option<&BooleanArray>) {
        let values = arguments[0].as_primitive::<Decimal128Type>();
        for_each_value(rows, groups, values, filter, |row, group| {
            let sum = self.sums[group].unwrap_or(Some(0));
            self.sums[group] = Some(sum.and_then(|sum| sum.checked_add(values.value(row))));
        });
    }

    fn finish(&self, groups: Range<usize>) -> ArrayRef {
        let sums = groups.map(|group| self.sum(group)).collect::<Decimal128Array>();
        Arc::new(sums.with_data_type(SqlType::Decimal(38, self.scale).arrow()))
    }
}

/// The sum of doubles in the order of their arrival.
#[derive(Default)]
struct OrderedSum {
    sums: Vec<Option<f64>>,
}

impl Accumulator for OrderedSum {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, None);
    }

    fn add(&mut self, rows: &[u32], groups: &[u32], arguments: &[ArrayRef], filter: Option<&BooleanArray>) {
        let values = arguments[0].as_primitive::<Float64Type>();
        for_each_value(rows, groups, values, filter, |row, group| {
            let sum = &mut self.sums[group];
            *sum = Some(sum.unwrap_or(0.0) + values.value(row));
        });
    }

    fn finish(&self, groups: Range<usize>) -> ArrayRef {
        Arc::new(self.sums[groups].iter().copied().collect::<Float64Array>())
    }
}

/// The sum of floats in the order of their arrival.
#[derive(Default)]
struct FloatSum {
    sums: Vec<Option<f32>>,
}

impl Accumulator for FloatSum {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, None);
    }

    fn add(&mut self, rows: &[u32], groups: &[u32], arguments: &[ArrayRef], filter: Option<&BooleanArray>) {
        let values = arguments[0].as_primitive::<Float32Type>();
        for_each_value(rows, groups, values, filter, |row, group| {
            let sum = &mut self.sums[group];
            *sum = Some(sum.unwrap_or(0.0) + values.value(row));
        });
    }

    fn finish(&self, groups: Range<usize>) -> ArrayRef {
        Arc::new(self.sums[groups].iter().copied().collect::<Float32Array>())
    }
}

/// The sum of doubles or floats that arrive in no defined order.
#[derive(Default)]
struct DoubleSum {
    float: bool,
    sums: Vec<Option<ExactSum>>,
}

impl Accumulator for DoubleSum {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, None);
    }

    fn add(&mut self, rows: &[u32], groups: &[u32], arguments: &[ArrayRef], filter: Option<&BooleanArray>) {
        if self.float {
            let values = arguments[0].as_primitive::<Float32Type>();
            for_each_value(rows, groups, values, filter, |row, group| {
                self.sums[group].get_or_insert_default().add(f64::from(values.value(row)));
            });
        } else {
            let values = arguments[0].as_primitive::<Float64Type>();
            for_each_value(rows, groups, values, filter, |row, group| {
                self.sums[group].get_or_insert_default().add(values.value(row));
            });
        }
    }

    fn finish(&self, groups: Range<usize>) -> ArrayRef {
        let totals = self.sums[groups].iter().map(|sum| sum.as_ref().map(ExactSum::total));
        if self.float {
            #[expect(clippy::cast_possible_truncation, reason = "the result type is FLOAT")]
            return Arc::new(totals.map(|total| total.map(|t| t as f32)).collect::<Float32Array>());
        }
        Arc::new(totals.collect::<Float64Array>())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;
    use crate::aggregate::tests::run;

    #[test]
    fn integers_wrap_as_in_flink() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(i64::MAX), None, Some(1)]));
        assert_eq!(run("SUM", &SqlType::BigInt, &column, None), i64::MIN.to_string());
        let column: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![1, 2, 3]));
        assert_eq!(run("SUM", &SqlType::Int, &column, None), "6");
    }

    #[test]
    fn decimals_are_exact_and_null_on_overflow() {
        let decimals = |values: Vec<i128>| -> ArrayRef {
            Arc::new(Decimal128Array::from(values).with_data_type(SqlType::Decimal(38, 2).arrow()))
        };
        assert_eq!(run("SUM", &SqlType::Decimal(38, 2), &decimals(vec![10, 20, 5]), None), "0.35");
        let most = 10_i128.pow(38) - 1;
        assert_eq!(run("SUM", &SqlType::Decimal(38, 2), &decimals(vec![most, most]), None), "");
    }

    #[test]
    fn doubles() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.5), None, Some(0.25)]));
        assert_eq!(run("SUM", &SqlType::Double, &column, None), "0.75");
        let column: ArrayRef = Arc::new(Float32Array::from(vec![0.5, 0.25]));
        assert_eq!(run("SUM", &SqlType::Float, &column, None), "0.75");
    }
}
