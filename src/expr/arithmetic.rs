//! `+ - * / %` and the signs, with Java's meaning for integers and doubles and Flink's for decimals.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, Decimal128Array, PrimitiveArray};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow::error::ArrowError;

use super::ExprError;
use super::coerce::{coerce, over, wider};
use super::decimal::{Operation, Shape};
use super::kernel::{Argument, Outcome, map, map2, map2_total};
use super::typed::{Span, Typed, done};
use crate::record::SqlType;

/// The sign of an operation as the user writes it.
pub(super) fn sign_of(operation: Operation) -> &'static str {
    match operation {
        Operation::Add => "+",
        Operation::Subtract => "-",
        Operation::Multiply => "*",
        Operation::Divide => "/",
        Operation::Modulo => "%",
    }
}

/// `left operation right` over numbers.
///
/// Integers come to the wider of both types and wrap around as in Java; `/` cuts toward zero; `%` has the sign of the
/// dividend. An exact number with a decimal comes to a decimal, anything with DOUBLE to DOUBLE, FLOAT with an integer to
/// FLOAT. Division of exact numbers by zero fails the row.
pub(super) fn arithmetic(operation: Operation, left: Typed, right: Typed) -> Result<Typed, ExprError> {
    let span = over(left.span, right.span);
    let (left, right) = match (&left.data_type, &right.data_type) {
        (SqlType::Null, SqlType::Null) => (coerce(left, &SqlType::Int)?, coerce(right, &SqlType::Int)?),
        (SqlType::Null, other) => (coerce(left.clone(), &other.clone())?, right),
        (other, SqlType::Null) => (left.clone(), coerce(right, &other.clone())?),
        _ => (left, right),
    };
    for side in [&left, &right] {
        if !side.data_type.is_numeric() {
            return Err(not_a_number(operation, side));
        }
    }
    let sign = sign_of(operation);
    match (Shape::of(&left.data_type), Shape::of(&right.data_type)) {
        (Some(_), Some(_)) if left.data_type.is_integer() && right.data_type.is_integer() => {
            let data_type = wider(&left.data_type, &right.data_type).clone();
            let arguments = vec![coerce(left, &data_type)?, coerce(right, &data_type)?];
            let kernel = integer_kernel(operation, &data_type);
            Typed::strict(sign, arguments, data_type, span, kernel)
        }
        (Some(a), Some(b)) => decimals(operation, (left, a), (right, b), span),
        _ => {
            let single = |t: &SqlType| *t == SqlType::Float || t.is_integer();
            let data_type = if single(&left.data_type) && single(&right.data_type) {
                SqlType::Float
            } else {
                SqlType::Double
            };
            let arguments = vec![coerce(left, &data_type)?, coerce(right, &data_type)?];
            Typed::strict(sign, arguments, data_type.clone(), span, move |arguments, rows| {
                if data_type == SqlType::Float {
                    floats::<Float32Type>(operation, arguments, rows)
                } else {
                    floats::<Float64Type>(operation, arguments, rows)
                }
            })
        }
    }
}

fn not_a_number(operation: Operation, side: &Typed) -> ExprError {
    let sign = sign_of(operation);
    let help = match (&side.data_type, operation) {
        (SqlType::String, Operation::Add) => {
            "texts are joined with `||`; a number in text needs a CAST".to_owned()
        }
        (SqlType::String, _) => "CAST the text to a number".to_owned(),
        (SqlType::Timestamp(_) | SqlType::TimestampLtz(_) | SqlType::Date | SqlType::Time(_), _) => {
            "add an INTERVAL, or take the difference with TIMESTAMPDIFF(SECOND, earlier, later)".to_owned()
        }
        _ => format!("`{sign}` takes numbers"),
    };
    ExprError {
        span: side.span,
        what: format!("`{sign}` cannot be applied to {}", side.data_type),
        help: Some(help),
    }
}

fn decimals(
    operation: Operation,
    (left, a): (Typed, Shape),
    (right, b): (Typed, Shape),
    span: Span,
) -> Result<Typed, ExprError> {
    let (to, may_overflow) = operation.result(a, b);
    let nullable = may_overflow || left.nullable || right.nullable;
    let arguments = vec![coerce(left, &a.sql())?, coerce(right, &b.sql())?];
    let plain = operation == Operation::Multiply && !may_overflow;
    let arrow = to.sql().arrow();
    Typed::call(sign_of(operation), arguments, to.sql(), nullable, span, move |arguments, rows| {
        let (left, right) = (arguments[0].decimal(), arguments[1].decimal());
        let values: Decimal128Array = if plain {
            // The product of the precisions fits 38 digits, so it fits 128 bits.
            map2_total(rows, left, right, i128::wrapping_mul)?
        } else {
            map2(rows, left, right, |x, y| operation.apply((x, a), (y, b), to))?
        };
        done(values.with_data_type(arrow.clone()))
    })
}

type IntegerKernel = fn(Operation, &[Argument], usize) -> Outcome;

fn integer_kernel(
    operation: Operation,
    data_type: &SqlType,
) -> impl Fn(&[Argument], usize) -> Outcome + Send + Sync + 'static {
    let kernel: IntegerKernel = match data_type {
        SqlType::TinyInt => integers::<Int8Type>,
        SqlType::SmallInt => integers::<Int16Type>,
        SqlType::Int => integers::<Int32Type>,
        _ => integers::<Int64Type>,
    };
    move |arguments, rows| kernel(operation, arguments, rows)
}

fn integers<T: ArrowPrimitiveType>(operation: Operation, arguments: &[Argument], rows: usize) -> Outcome {
    let (left, right) = (&arguments[0], &arguments[1]);
    match operation {
        Operation::Add => text_of(numeric::add_wrapping(left, right)),
        Operation::Subtract => text_of(numeric::sub_wrapping(left, right)),
        Operation::Multiply => text_of(numeric::mul_wrapping(left, right)),
        Operation::Divide => {
            by_divisor::<T>(rows, left, right, "division by zero", ArrowNativeTypeOp::div_wrapping)
        }
        Operation::Modulo => {
            by_divisor::<T>(rows, left, right, "modulo by zero", ArrowNativeTypeOp::mod_wrapping)
        }
    }
}

/// Applies what is an error where the divisor is 0.
fn by_divisor<T: ArrowPrimitiveType>(
    rows: usize,
    left: &Argument,
    right: &Argument,
    by_zero: &str,
    apply: impl Fn(T::Native, T::Native) -> T::Native,
) -> Outcome {
    let (left, right) = (left.primitive::<T>(), right.primitive::<T>());
    let values: PrimitiveArray<T> = if right.constant().is_some_and(|divisor| !divisor.is_zero()) {
        map2_total(rows, left, right, apply)?
    } else {
        let checked = |a, b: T::Native| {
            if b.is_zero() { Err(by_zero.to_owned()) } else { Ok(Some(apply(a, b))) }
        };
        map2(rows, left, right, checked)?
    };
    done(values)
}

fn floats<T: ArrowPrimitiveType>(operation: Operation, arguments: &[Argument], rows: usize) -> Outcome {
    let apply = |a: T::Native, b: T::Native| match operation {
        Operation::Add => a.add_wrapping(b),
        Operation::Subtract => a.sub_wrapping(b),
        Operation::Multiply => a.mul_wrapping(b),
        Operation::Divide => a.div_wrapping(b),
        Operation::Modulo => a.mod_wrapping(b),
    };
    let (left, right) = (arguments[0].primitive::<T>(), arguments[1].primitive::<T>());
    let values: PrimitiveArray<T> = map2(rows, left, right, |a, b| Ok(Some(apply(a, b))))?;
    done(values)
}

fn text_of(result: Result<ArrayRef, ArrowError>) -> Outcome {
    result.map_err(|error| error.to_string())
}

/// `-value`: wraps around as in Java.
pub(super) fn negate(value: Typed) -> Result<Typed, ExprError> {
    let value = if value.data_type == SqlType::Null { coerce(value, &SqlType::Int)? } else { value };
    let data_type = value.data_type.clone();
    if !data_type.is_numeric() {
        return Err(not_a_number(Operation::Subtract, &value));
    }
    let span = value.span;
    let arrow = data_type.arrow();
    let kernel: fn(&Argument, usize) -> Result<ArrayRef, String> = match data_type {
        SqlType::TinyInt => negated::<Int8Type>,
        SqlType::SmallInt => negated::<Int16Type>,
        SqlType::Int => negated::<Int32Type>,
        SqlType::BigInt => negated::<Int64Type>,
        SqlType::Float => negated::<Float32Type>,
        SqlType::Double => negated::<Float64Type>,
        _ => negated::<arrow::datatypes::Decimal128Type>,
    };
    Typed::strict("-", vec![value], data_type, span, move |arguments, rows| {
        let values = kernel(&arguments[0], rows)?;
        if values.data_type() == &arrow {
            return Ok(values);
        }
        let decimal = arrow::array::AsArray::as_primitive::<arrow::datatypes::Decimal128Type>(&values);
        done(decimal.clone().with_data_type(arrow.clone()))
    })
}

fn negated<T: ArrowPrimitiveType>(argument: &Argument, rows: usize) -> Outcome {
    let values: PrimitiveArray<T> =
        map(rows, argument.primitive::<T>(), |value| Ok(Some(value.neg_wrapping())))?;
    Ok(Arc::new(values))
}
