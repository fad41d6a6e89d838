//! Functions of numbers.

use arrow::array::{Decimal128Array, Float64Array};

use super::Kind::Double;
use super::{Build, Call, Function, FunctionDoc, strict};
use crate::expr::ExprError;
use crate::expr::arithmetic::{arithmetic, negate};
use crate::expr::cast::cast;
use crate::expr::coerce::coerce;
use crate::expr::compare::compare;
use crate::expr::decimal::{Operation, PRECISION_MAX, Shape, rescaled, to_double, truncated};
use crate::expr::kernel::{Argument, Outcome, map, map2};
use crate::expr::logic::case;
use crate::expr::typed::{Typed, done};
use crate::record::SqlType;
use crate::record::text::parse_decimal;

/// A function of one DOUBLE that is a method of Rust's.
macro_rules! of_double {
    ($name:literal, $signature:literal, $summary:literal, $example:literal, $result:literal, $apply:expr) => {
        Function {
            doc: FunctionDoc {
                name: $name,
                signature: $signature,
                summary: $summary,
                example: $example,
                result: $result,
            },
            aliases: &[],
            build: strict(&[Double], 1, Double, {
                fn kernel(arguments: &[Argument], rows: usize) -> Outcome {
                    let apply: fn(f64) -> f64 = $apply;
                    let values: Float64Array =
                        map(rows, arguments[0].double(), |value| Ok(Some(apply(value))))?;
                    done(values)
                }
                kernel
            }),
        }
    };
}

/// A function with a build or kernel of its own.
macro_rules! own {
    ($name:literal, $aliases:expr, $signature:literal, $summary:literal, $example:literal, $result:literal, $build:expr) => {
        Function {
            doc: FunctionDoc {
                name: $name,
                signature: $signature,
                summary: $summary,
                example: $example,
                result: $result,
            },
            aliases: $aliases,
            build: $build,
        }
    };
}

pub(super) static FUNCTIONS: &[Function] = &[
    own!(
        "ABS",
        &[],
        "ABS(number) → its type",
        "The number without its sign; the least integer of a type wraps around.",
        "ABS(-2.5)",
        "2.5",
        Build::Own(abs)
    ),
    own!(
        "SIGN",
        &[],
        "SIGN(number) → its type",
        "1, 0 or -1 by the sign of the number.",
        "SIGN(-7)",
        "-1",
        Build::Own(sign)
    ),
    own!(
        "CEIL",
        &["CEILING"],
        "CEIL(number) → its type without digits behind the point, or CEIL(time TO unit) → its type",
        "The least whole number that is not less; of a time the next start of a unit.",
        "CEIL(1.2)",
        "2",
        Build::Own(|call| whole(call, true))
    ),
    own!(
        "FLOOR",
        &[],
        "FLOOR(number) → its type without digits behind the point, or FLOOR(time TO unit) → its type",
        "The greatest whole number that is not greater; of a time the start of its unit.",
        "FLOOR(TIMESTAMP '2024-02-29 13:50:15' TO HOUR)",
        "2024-02-29 13:00:00",
        Build::Own(|call| whole(call, false))
    ),
    own!(
        "ROUND",
        &[],
        "ROUND(number[, digits INT]) → DOUBLE, an integer's type, or DECIMAL",
        "Rounds half up (away from zero) to so many digits behind the point.",
        "ROUND(2.345, 2)",
        "2.35",
        Build::Own(|call| rounded(call, true))
    ),
    own!(
        "TRUNCATE",
        &[],
        "TRUNCATE(number[, digits INT]) → its type",
        "Cuts off behind so many digits behind the point.",
        "TRUNCATE(2.349, 2)",
        "2.340",
        Build::Own(|call| rounded(call, false))
    ),
    own!(
        "MOD",
        &[],
        "MOD(dividend, divisor) → as `%`",
        "The remainder of a division, with the sign of the dividend.",
        "MOD(-7, 3)",
        "-1",
        Build::Own(modulo)
    ),
    own!(
        "POWER",
        &[],
        "POWER(base DOUBLE, exponent DOUBLE) → DOUBLE",
        "The base to the power of the exponent.",
        "POWER(2, 10)",
        "1024.0",
        strict(&[Double, Double], 2, Double, power)
    ),
    own!(
        "LOG",
        &[],
        "LOG([base DOUBLE,] number DOUBLE) → DOUBLE",
        "The logarithm to a base, or the natural one.",
        "LOG(2, 8)",
        "3.0",
        strict(&[Double, Double], 1, Double, log)
    ),
    own!(
        "ATAN2",
        &[],
        "ATAN2(y DOUBLE, x DOUBLE) → DOUBLE",
        "The angle of a point, in radians.",
        "ATAN2(0, 1)",
        "0.0",
        strict(&[Double, Double], 2, Double, atan2)
    ),
    own!(
        "PI",
        &[],
        "PI() → DOUBLE",
        "The number π.",
        "PI()",
        "3.141592653589793",
        strict(&[], 0, Double, pi)
    ),
    own!(
        "E",
        &[],
        "E() → DOUBLE",
        "Euler's number.",
        "E()",
        "2.718281828459045",
        strict(&[], 0, Double, euler)
    ),
    of_double!("SQRT", "SQRT(number DOUBLE) → DOUBLE", "The square root.", "SQRT(9)", "3.0", f64::sqrt),
    of_double!(
        "EXP",
        "EXP(number DOUBLE) → DOUBLE",
        "e to the power of the number.",
        "EXP(0)",
        "1.0",
        f64::exp
    ),
    of_double!("LN", "LN(number DOUBLE) → DOUBLE", "The natural logarithm.", "LN(1)", "0.0", f64::ln),
    of_double!(
        "LOG10",
        "LOG10(number DOUBLE) → DOUBLE",
        "The logarithm to base 10.",
        "LOG10(1000)",
        "3.0",
        f64::log10
    ),
    of_double!(
        "LOG2",
        "LOG2(number DOUBLE) → DOUBLE",
        "The logarithm to base 2.",
        "LOG2(8)",
        "3.0",
        f64::log2
    ),
    of_double!("SIN", "SIN(radians DOUBLE) → DOUBLE", "The sine.", "SIN(0)", "0.0", f64::sin),
    of_double!("COS", "COS(radians DOUBLE) → DOUBLE", "The cosine.", "COS(0)", "1.0", f64::cos),
    of_double!("TAN", "TAN(radians DOUBLE) → DOUBLE", "The tangent.", "TAN(0)", "0.0", f64::tan),
    of_double!(
        "ASIN",
        "ASIN(number DOUBLE) → DOUBLE",
        "The arc sine, in radians.",
        "ASIN(0)",
        "0.0",
        f64::asin
    ),
    of_double!(
        "ACOS",
        "ACOS(number DOUBLE) → DOUBLE",
        "The arc cosine, in radians.",
        "ACOS(1)",
        "0.0",
        f64::acos
    ),
    of_double!(
        "ATAN",
        "ATAN(number DOUBLE) → DOUBLE",
        "The arc tangent, in radians.",
        "ATAN(0)",
        "0.0",
        f64::atan
    ),
    of_double!(
        "DEGREES",
        "DEGREES(radians DOUBLE) → DOUBLE",
        "Radians in degrees.",
        "DEGREES(PI())",
        "180.0",
        f64::to_degrees
    ),
    of_double!(
        "RADIANS",
        "RADIANS(degrees DOUBLE) → DOUBLE",
        "Degrees in radians.",
        "RADIANS(0)",
        "0.0",
        f64::to_radians
    ),
];

fn power(arguments: &[Argument], rows: usize) -> Outcome {
    let values: Float64Array = map2(rows, arguments[0].double(), arguments[1].double(), |base, exponent| {
        Ok(Some(base.powf(exponent)))
    })?;
    done(values)
}

fn atan2(arguments: &[Argument], rows: usize) -> Outcome {
    let values: Float64Array =
        map2(rows, arguments[0].double(), arguments[1].double(), |y, x| Ok(Some(y.atan2(x))))?;
    done(values)
}

fn log(arguments: &[Argument], rows: usize) -> Outcome {
    let values: Float64Array = match arguments {
        [number] => map(rows, number.double(), |number| Ok(Some(number.ln())))?,
        _ => map2(rows, arguments[0].double(), arguments[1].double(), |base, number| {
            Ok(Some(number.ln() / base.ln()))
        })?,
    };
    done(values)
}

fn pi(_: &[Argument], rows: usize) -> Outcome {
    done(Float64Array::from(vec![std::f64::consts::PI; rows]))
}

fn euler(_: &[Argument], rows: usize) -> Outcome {
    done(Float64Array::from(vec![std::f64::consts::E; rows]))
}

/// The only argument, which has to be a number.
fn number(call: &Call, value: Typed) -> Result<Typed, ExprError> {
    if value.data_type == SqlType::Null {
        return coerce(value, &SqlType::Int);
    }
    if value.data_type.is_numeric() {
        return Ok(value);
    }
    Err(call.wrong(value.span, format!("{} takes a number, this is {}", call.name(), value.data_type)))
}

fn zero(span: (usize, usize)) -> Typed {
    Typed::literal(datafusion_common::ScalarValue::Int32(Some(0)), SqlType::Int, span)
}

fn abs(mut call: Call) -> Result<Typed, ExprError> {
    let value = call.one()?;
    let value = number(&call, value)?;
    let data_type = value.data_type.clone();
    if matches!(data_type, SqlType::Float | SqlType::Double) {
        let double = coerce(value, &SqlType::Double)?;
        let made = Typed::strict("ABS", vec![double], SqlType::Double, call.span, |arguments, rows| {
            let values: Float64Array = map(rows, arguments[0].double(), |value| Ok(Some(value.abs())))?;
            done(values)
        })?;
        return cast(made, &data_type, false);
    }
    let negative = compare(datafusion_expr::Operator::Lt, value.clone(), zero(call.span))?;
    case(vec![(negative, negate(value.clone())?)], Some(value), call.span)
}

fn sign(mut call: Call) -> Result<Typed, ExprError> {
    let value = call.one()?;
    let value = number(&call, value)?;
    let data_type = value.data_type.clone();
    let span = call.span;
    if matches!(data_type, SqlType::Float | SqlType::Double) {
        let double = coerce(value, &SqlType::Double)?;
        let made = Typed::strict("SIGN", vec![double], SqlType::Double, span, |arguments, rows| {
            let signum = |value: f64| if value == 0.0 || value.is_nan() { value } else { value.signum() };
            let values: Float64Array = map(rows, arguments[0].double(), |value| Ok(Some(signum(value))))?;
            done(values)
        })?;
        return cast(made, &data_type, false);
    }
    let one = |value: i32| {
        let literal = datafusion_common::ScalarValue::Int32(Some(value));
        cast(Typed::literal(literal, SqlType::Int, span), &data_type, false)
    };
    let less = compare(datafusion_expr::Operator::Lt, value.clone(), zero(span))?;
    let more = compare(datafusion_expr::Operator::Gt, value.clone(), zero(span))?;
    // NULL is neither less nor more, and comes out as itself.
    let same = compare(datafusion_expr::Operator::Eq, value, zero(span))?;
    let branches = vec![(less, one(-1)?), (more, one(1)?), (same, one(0)?)];
    case(branches, None, span)
}

fn modulo(mut call: Call) -> Result<Typed, ExprError> {
    let (dividend, divisor) = call.two()?;
    Ok(arithmetic(Operation::Modulo, dividend, divisor)?.at(call.span))
}

/// CEIL and FLOOR, of numbers and of times.
fn whole(mut call: Call, up: bool) -> Result<Typed, ExprError> {
    let mut arguments = call.counted(1, 2)?;
    if let Some(unit) = arguments.get(1).filter(|unit| unit.data_type == SqlType::String).cloned() {
        return super::temporal::rounded(&call, arguments.remove(0), &unit, up);
    }
    if arguments.len() == 2 {
        return Err(call.wrong(call.span, format!("{} takes 1 number", call.name())));
    }
    let value = number(&call, arguments.remove(0))?;
    let data_type = value.data_type.clone();
    match data_type {
        SqlType::Decimal(precision, scale) => {
            let to = Shape { precision, scale: 0 };
            let unit = 10_i128.pow(u32::from(scale));
            let round = move |value: i128| {
                let floor = value.div_euclid(unit);
                if up && value.rem_euclid(unit) != 0 { floor + 1 } else { floor }
            };
            Typed::strict(call.name(), vec![value], to.sql(), call.span, move |arguments, rows| {
                let values: Decimal128Array =
                    map(rows, arguments[0].decimal(), |value| Ok(Some(round(value))))?;
                done(values.with_data_type(to.sql().arrow()))
            })
        }
        SqlType::Float | SqlType::Double => {
            let double = coerce(value, &SqlType::Double)?;
            let made = Typed::strict(
                call.name(),
                vec![double],
                SqlType::Double,
                call.span,
                move |arguments, rows| {
                    let round = |value: f64| if up { value.ceil() } else { value.floor() };
                    let values: Float64Array =
                        map(rows, arguments[0].double(), |value| Ok(Some(round(value))))?;
                    done(values)
                },
            )?;
            cast(made, &data_type, false)
        }
        _ => Ok(value.at(call.span)),
    }
}

/// ROUND and TRUNCATE.
fn rounded(mut call: Call, half_up: bool) -> Result<Typed, ExprError> {
    let mut arguments = call.counted(1, 2)?;
    let digits = if arguments.len() == 2 { arguments.remove(1) } else { zero(call.span) };
    let digits = call.fitted(digits, &SqlType::BigInt)?;
    let value = number(&call, arguments.remove(0))?;
    let data_type = value.data_type.clone();
    let Some(from) = Shape::of(&data_type) else {
        let double = coerce(value, &SqlType::Double)?;
        let arguments = vec![double, digits];
        let made =
            Typed::strict(call.name(), arguments, SqlType::Double, call.span, move |arguments, rows| {
                let values: Float64Array =
                    map2(rows, arguments[0].double(), arguments[1].bigint(), |value, digits| {
                        Ok(Some(round_double(value, digits, half_up)))
                    })?;
                done(values)
            })?;
        return cast(made, &data_type, false);
    };
    let to = match (&data_type, half_up) {
        (SqlType::Decimal(..), true) => {
            let Some(digits) = digits.constant_integer() else {
                return Err(call
                    .wrong(digits.span, "the digits of a DECIMAL are rounded to are a constant".to_owned()));
            };
            let kept = u8::try_from(digits.clamp(0, i64::from(from.scale))).expect("clamped to a scale");
            let carried = u8::from(digits < i64::from(from.scale));
            Shape { precision: (from.whole() + kept + carried).min(PRECISION_MAX), scale: kept }
        }
        _ => from,
    };
    let result = if data_type.is_integer() { data_type.clone() } else { to.sql() };
    let arguments = vec![coerce(value, &from.sql())?, digits];
    let made = Typed::call(call.name(), arguments, to.sql(), true, call.span, move |arguments, rows| {
        let values: Decimal128Array =
            map2(rows, arguments[0].decimal(), arguments[1].bigint(), |value, digits| {
                Ok(round_decimal(value, digits, from, half_up)
                    .and_then(|value| rescaled(value, from.scale, to)))
            })?;
        done(values.with_data_type(to.sql().arrow()))
    })?;
    cast(made, &result, false)
}

/// An unscaled value with zeros behind `digits` digits behind the point; none beyond 128 bits.
fn round_decimal(value: i128, digits: i64, from: Shape, half_up: bool) -> Option<i128> {
    let cut = i64::from(from.scale).saturating_sub(digits);
    if cut <= 0 {
        return Some(value);
    }
    let Some(unit) = u32::try_from(cut).ok().and_then(|cut| 10_i128.checked_pow(cut)) else { return Some(0) };
    let down = truncated(value, u32::try_from(cut).ok()?).checked_mul(unit)?;
    let rest = value - down;
    if half_up && rest.unsigned_abs() * 2 >= unit.unsigned_abs() {
        return down.checked_add(unit * rest.signum());
    }
    Some(down)
}

/// Rounds the shortest text of a double, as Java's BigDecimal does; what no decimal holds stays as it is.
fn round_double(value: f64, digits: i64, half_up: bool) -> f64 {
    if !value.is_finite() || digits > 30 {
        return value;
    }
    let shape = Shape { precision: PRECISION_MAX, scale: 18 };
    let Ok(unscaled) = parse_decimal(format!("{value:e}").as_bytes(), shape.precision, shape.scale) else {
        return value;
    };
    if digits >= 18 {
        return value;
    }
    round_decimal(unscaled, digits, shape, half_up).map_or(value, |rounded| to_double(rounded, shape.scale))
}
