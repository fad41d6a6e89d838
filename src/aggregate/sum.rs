//! SUM: the sum of the values that are not NULL, in the type of the argument as Flink has it: integers wrap, decimals
//! are DECIMAL(38, s) and NULL on overflow.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, Float32Array, Float64Array, PrimitiveArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowNativeTypeOp, DataType, Decimal128Type, Field, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type,
};

use super::exact_sum::ExactSum;
use super::grouped::{Grouped, Rule};
use super::saved::column;
use super::wide_sum::WideSum;
use super::{Accumulator, Call, Distinct, Function, one_argument};
use crate::record::SqlType;

/// The entry in the registry.
pub(super) const SUM: Function = Function {
    name: "SUM",
    aliases: &[],
    signature: "SUM(number)",
    summary: "the sum; integers keep their type, DECIMAL(p, s) becomes DECIMAL(38, s); NULL over no values",
    retracts: true,
    distinct: Distinct::Values,
    by_order: false,
    resolve: |arguments| match one_argument(arguments, "SUM")? {
        SqlType::Decimal(_, scale) => Ok((SqlType::Decimal(38, *scale), true)),
        number if number.is_numeric() => Ok((number.clone(), true)),
        other => Err(format!("SUM takes a number, not {other}")),
    },
    build,
};

fn build(call: &Call) -> Box<dyn Accumulator> {
    // What is taken back from a plain sum leaves its rounding errors behind.
    let plain = call.ordered && !call.retracts;
    match &call.arguments[0].data_type {
        SqlType::TinyInt => Grouped::boxed(PlainSum::<Int8Type>(PhantomData), call.retracts),
        SqlType::SmallInt => Grouped::boxed(PlainSum::<Int16Type>(PhantomData), call.retracts),
        SqlType::Int => Grouped::boxed(PlainSum::<Int32Type>(PhantomData), call.retracts),
        SqlType::BigInt => Grouped::boxed(PlainSum::<Int64Type>(PhantomData), call.retracts),
        SqlType::Decimal(precision, scale) => {
            Grouped::boxed(DecimalSum { precision: *precision, scale: *scale }, call.retracts)
        }
        SqlType::Float if plain => Grouped::boxed(PlainSum::<Float32Type>(PhantomData), call.retracts),
        SqlType::Double if plain => Grouped::boxed(PlainSum::<Float64Type>(PhantomData), call.retracts),
        number => Grouped::boxed(DoubleSum { float: *number == SqlType::Float }, call.retracts),
    }
}

/// A sum in the argument's own type: of integers, which wrap, and of doubles in the order of their arrival.
struct PlainSum<T>(PhantomData<T>);

impl<T: ArrowPrimitiveType> Rule for PlainSum<T> {
    type State = T::Native;
    type Column = PrimitiveArray<T>;

    fn column(&self, arguments: &[ArrayRef]) -> PrimitiveArray<T> {
        arguments[0].as_primitive::<T>().clone()
    }

    fn add(&self, sum: &mut T::Native, _: bool, column: &PrimitiveArray<T>, row: usize) {
        *sum = sum.add_wrapping(column.value(row));
    }

    fn retract(&self, sum: &mut T::Native, column: &PrimitiveArray<T>, row: usize) {
        *sum = sum.sub_wrapping(column.value(row));
    }

    fn merge(&self, sum: &mut T::Native, _: bool, later: &T::Native) {
        *sum = sum.add_wrapping(*later);
    }

    fn finish<'a>(&self, sums: impl Iterator<Item = Option<&'a T::Native>>) -> ArrayRef {
        Arc::new(sums.map(Option::<&T::Native>::copied).collect::<PrimitiveArray<T>>())
    }

    fn saved(&self) -> Vec<Field> {
        vec![column("", T::DATA_TYPE)]
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a T::Native>> + Clone) -> Vec<ArrayRef> {
        vec![self.finish(states)]
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<T::Native> {
        columns[0].as_primitive::<T>().values().to_vec()
    }
}

/// The exact sum of decimals.
struct DecimalSum {
    precision: u8,
    scale: u8,
}

impl Rule for DecimalSum {
    type State = WideSum;
    type Column = Decimal128Array;

    fn column(&self, arguments: &[ArrayRef]) -> Decimal128Array {
        arguments[0].as_primitive::<Decimal128Type>().clone()
    }

    fn add(&self, sum: &mut WideSum, _: bool, column: &Decimal128Array, row: usize) {
        sum.add(column.value(row));
    }

    fn retract(&self, sum: &mut WideSum, column: &Decimal128Array, row: usize) {
        sum.add(-column.value(row));
    }

    fn merge(&self, sum: &mut WideSum, _: bool, later: &WideSum) {
        sum.merge(later);
    }

    fn finish<'a>(&self, sums: impl Iterator<Item = Option<&'a WideSum>>) -> ArrayRef {
        let sums =
            sums.map(|sum| sum?.total().to_i128().filter(|total| total.unsigned_abs() < 10_u128.pow(38)));
        let data_type = SqlType::Decimal(38, self.scale).arrow();
        Arc::new(sums.collect::<Decimal128Array>().with_data_type(data_type))
    }

    fn saved(&self) -> Vec<Field> {
        WideSum::saved("", self.precision, self.scale)
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a WideSum>> + Clone) -> Vec<ArrayRef> {
        WideSum::save(states, self.precision, self.scale)
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<WideSum> {
        WideSum::load(columns, self.precision)
    }
}

/// The exact sum of doubles or floats, rounded once at the end.
struct DoubleSum {
    float: bool,
}

impl Rule for DoubleSum {
    type State = ExactSum;
    type Column = Float64Array;
    const HEAP: bool = true;

    fn column(&self, arguments: &[ArrayRef]) -> Float64Array {
        let wide = cast(&arguments[0], &DataType::Float64).expect("floats widen");
        wide.as_primitive::<Float64Type>().clone()
    }

    fn add(&self, sum: &mut ExactSum, _: bool, column: &Float64Array, row: usize) {
        sum.add(column.value(row));
    }

    fn retract(&self, sum: &mut ExactSum, column: &Float64Array, row: usize) {
        sum.retract(column.value(row));
    }

    fn merge(&self, sum: &mut ExactSum, _: bool, later: &ExactSum) {
        sum.merge(later);
    }

    fn finish<'a>(&self, sums: impl Iterator<Item = Option<&'a ExactSum>>) -> ArrayRef {
        let totals = sums.map(|sum| sum.map(ExactSum::total));
        if self.float {
            #[expect(clippy::cast_possible_truncation, reason = "the result type is FLOAT")]
            return Arc::new(totals.map(|total| total.map(|t| t as f32)).collect::<Float32Array>());
        }
        Arc::new(totals.collect::<Float64Array>())
    }

    fn saved(&self) -> Vec<Field> {
        ExactSum::saved("")
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a ExactSum>> + Clone) -> Vec<ArrayRef> {
        ExactSum::save(states)
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<ExactSum> {
        ExactSum::load(columns)
    }

    fn heap(&self, sum: &ExactSum) -> usize {
        sum.heap()
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
