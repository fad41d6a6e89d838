//! MIN and MAX: the least and the greatest value that is not NULL. Doubles are ordered with NaN above all.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, PrimitiveArray, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};

use super::{Accumulator, Call, Function, for_each_value, one_argument};
use crate::record::SqlType;

/// The entry of MIN in the registry.
pub(super) const MIN: Function = Function {
    name: "MIN",
    signature: "MIN(value)",
    summary: "the least value, in its own type; NULL over no values",
    resolve: |arguments| resolve(arguments, "MIN"),
    build: |call| build(call, Ordering::Less),
};

/// The entry of MAX in the registry.
pub(super) const MAX: Function = Function {
    name: "MAX",
    signature: "MAX(value)",
    summary: "the greatest value, in its own type; NULL over no values",
    resolve: |arguments| resolve(arguments, "MAX"),
    build: |call| build(call, Ordering::Greater),
};

fn resolve(arguments: &[SqlType], name: &str) -> Result<(SqlType, bool), String> {
    match one_argument(arguments, name)? {
        nested @ (SqlType::Array(..) | SqlType::Map(..) | SqlType::Row(_) | SqlType::Null) => {
            Err(format!("{name} takes a value that has an order, not {nested}"))
        }
        ordered => Ok((ordered.clone(), true)),
    }
}

fn build(call: &Call, better: Ordering) -> Box<dyn Accumulator> {
    let result = call.result.arrow();
    match &result {
        DataType::Int8 => primitive::<Int8Type>(result, better, Ord::cmp),
        DataType::Int16 => primitive::<Int16Type>(result, better, Ord::cmp),
        DataType::Int32 => primitive::<Int32Type>(result, better, Ord::cmp),
        DataType::Int64 => primitive::<Int64Type>(result, better, Ord::cmp),
        DataType::Float32 => primitive::<Float32Type>(result, better, f32::total_cmp),
        DataType::Float64 => primitive::<Float64Type>(result, better, f64::total_cmp),
        DataType::Decimal128(..) => primitive::<Decimal128Type>(result, better, Ord::cmp),
        DataType::Date32 => primitive::<Date32Type>(result, better, Ord::cmp),
        DataType::Time32(_) => primitive::<Time32MillisecondType>(result, better, Ord::cmp),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            primitive::<TimestampMillisecondType>(result, better, Ord::cmp)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            primitive::<TimestampMicrosecondType>(result, better, Ord::cmp)
        }
        DataType::Timestamp(..) => primitive::<TimestampNanosecondType>(result, better, Ord::cmp),
        _ => Box::new(Bytes { result, better, best: Vec::new() }),
    }
}

fn primitive<T: ArrowPrimitiveType>(
    result: DataType,
    better: Ordering,
    compare: fn(&T::Native, &T::Native) -> Ordering,
) -> Box<dyn Accumulator> {
    Box::new(Primitive::<T> { result, better, compare, best: Vec::new() })
}

struct Primitive<T: ArrowPrimitiveType> {
    result: DataType,
    better: Ordering,
    compare: fn(&T::Native, &T::Native) -> Ordering,
    best: Vec<Option<T::Native>>,
}

impl<T: ArrowPrimitiveType> Accumulator for Primitive<T> {
    fn resize(&mut self, groups: usize) {
        self.best.resize(groups, None);
    }

    fn add(&mut self, rows: &[u32], groups: &[u32], arguments: &[ArrayRef], filter: Option<&BooleanArray>) {
        let values = arguments[0].as_primitive::<T>();
        for_each_value(rows, groups, values, filter, |row, group| {
            let value = values.value(row);
            let best = &mut self.best[group];
            if best.is_none_or(|best| (self.compare)(&value, &best) == self.better) {
                *best = Some(value);
            }
        });
    }

    fn finish(&self, groups: Range<usize>) -> ArrayRef {
        let best = self.best[groups].iter().copied().collect::<PrimitiveArray<T>>();
        Arc::new(best.with_data_type(self.result.clone()))
    }
}

/// Text, bytes and booleans, compared as bytes.
struct Bytes {
    result: DataType,
    better: Ordering,
    best: Vec<Option<Box<[u8]>>>,
}

impl Accumulator for Bytes {
    fn resize(&mut self, groups: usize) {
        self.best.resize(groups, None);
    }

    fn add(&mut self, rows: &[u32], groups: &[u32], arguments: &[ArrayRef], filter: Option<&BooleanArray>) {
        let argument = &arguments[0];
        let bytes = match self.result {
            DataType::Boolean => {
                let numbers = cast(argument, &DataType::Int32).expect("booleans are numbers");
                let text = cast(&numbers, &DataType::Utf8).expect("numbers have a text");
                cast(&text, &DataType::Binary).expect("text is bytes")
            }
            _ => cast(argument, &DataType::Binary).expect("text is bytes"),
        };
        let values = bytes.as_binary::<i32>();
        for_each_value(rows, groups, values, filter, |row, group| {
            let value = values.value(row);
            let best = &mut self.best[group];
            if best.as_deref().is_none_or(|best| value.cmp(best) == self.better) {
                *best = Some(value.into());
            }
        });
    }

    fn finish(&self, groups: Range<usize>) -> ArrayRef {
        let best = &self.best[groups];
        match self.result {
            DataType::Boolean => Arc::new(
                best.iter().map(|b| b.as_deref().map(|bytes| bytes == b"1")).collect::<BooleanArray>(),
            ),
            DataType::Utf8 => {
                let text =
                    |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("taken from a text column");
                Arc::new(best.iter().map(|b| b.as_deref().map(text)).collect::<StringArray>())
            }
            _ => Arc::new(best.iter().map(Option::as_deref).collect::<BinaryArray>()),
        }
    }
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
