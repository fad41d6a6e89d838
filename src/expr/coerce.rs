//! Which types go together, as Flink has it: what two operands are compared in, and what several values have in common.

use super::ExprError;
use super::cast::cast;
use super::decimal::{PRECISION_MAX, Shape, rescaled};
use super::typed::{Span, Typed};
use crate::record::SqlType;
use datafusion_common::ScalarValue;

/// The value in a type it is meant to have, with Flink's implicit casts only.
pub(super) fn coerce(typed: Typed, to: &SqlType) -> Result<Typed, ExprError> {
    if typed.data_type == *to {
        return Ok(typed);
    }
    if typed.data_type == SqlType::Null {
        return Ok(Typed::null(to.clone(), typed.span));
    }
    cast(typed, to, false)
}

/// The type that holds values of both; none where there is none.
pub(super) fn common_type(left: &SqlType, right: &SqlType) -> Option<SqlType> {
    use SqlType::{Array, Date, Double, Float, Null, Time, Timestamp, TimestampLtz};
    Some(match (left, right) {
        (left, right) if left == right => left.clone(),
        (Null, other) | (other, Null) => other.clone(),
        (left, right) if left.is_numeric() && right.is_numeric() => match (left, right) {
            (left, right) if left.is_integer() && right.is_integer() => wider(left, right).clone(),
            (Double, _) | (_, Double) => Double,
            (Float, other) | (other, Float) if other.is_integer() => Float,
            (Float, _) | (_, Float) => Double,
            (left, right) => Shape::of(left)?.common(Shape::of(right)?).sql(),
        },
        (Timestamp(p), Timestamp(q)) => Timestamp(*p.max(q)),
        (TimestampLtz(p), TimestampLtz(q)) => TimestampLtz(*p.max(q)),
        (Time(p), Time(q)) => Time(*p.max(q)),
        (Date, Timestamp(p)) | (Timestamp(p), Date) => Timestamp(*p),
        (Array(a, n), Array(b, m)) if a == b => Array(a.clone(), *n || *m),
        _ => return None,
    })
}

/// The type that holds all values, and the values in it.
pub(super) fn unify(values: Vec<Typed>, what: &str) -> Result<(SqlType, Vec<Typed>), ExprError> {
    let mut common = SqlType::Null;
    for value in &values {
        common = common_type(&common, &value.data_type).ok_or_else(|| ExprError {
            span: value.span,
            what: format!("{what} are of one type: this is {}, one before it is {common}", value.data_type),
            help: Some(format!("CAST one of them, for example CAST(… AS {common})")),
        })?;
    }
    let values = values.into_iter().map(|value| coerce(value, &common)).collect::<Result<_, _>>()?;
    Ok((common, values))
}

/// The wider of two integer types.
pub(super) fn wider<'a>(left: &'a SqlType, right: &'a SqlType) -> &'a SqlType {
    let width = |data_type: &SqlType| match data_type {
        SqlType::TinyInt => 0,
        SqlType::SmallInt => 1,
        SqlType::Int => 2,
        _ => 3,
    };
    if width(left) >= width(right) { left } else { right }
}

/// Both sides of a comparison in types that can be compared.
pub(super) fn comparable(left: Typed, right: Typed) -> Result<(Typed, Typed), ExprError> {
    use SqlType::{Date, Null, String, Time, Timestamp, TimestampLtz};
    let (left, right) = adapted(left, right);
    match (&left.data_type, &right.data_type) {
        (Null, Null) => Ok((coerce(left, &SqlType::Boolean)?, coerce(right, &SqlType::Boolean)?)),
        (Null, other) => Ok((coerce(left, &other.clone())?, right)),
        (other, Null) => Ok((left.clone(), coerce(right, &other.clone())?)),
        (SqlType::Array(..) | SqlType::Map(..) | SqlType::Row(_), _)
        | (_, SqlType::Array(..) | SqlType::Map(..) | SqlType::Row(_)) => Err(incomparable(&left, &right)),
        (a, b) if a == b => Ok((left, right)),
        (a, b) if a.is_numeric() && b.is_numeric() => comparable_numbers(left, right),
        (Timestamp(_), Timestamp(_)) | (TimestampLtz(_), TimestampLtz(_)) | (Time(_), Time(_)) => {
            Ok((left, right))
        }
        (Date, Timestamp(p)) => Ok((coerce(left, &Timestamp(*p))?, right)),
        (Timestamp(p), Date) => Ok((left.clone(), coerce(right, &Timestamp(*p))?)),
        (Date | Time(_) | Timestamp(_) | TimestampLtz(_), String) if right.constant().is_some() => {
            let to = literal_type(&left.data_type);
            Ok((left, coerce(right, &to)?))
        }
        (String, Date | Time(_) | Timestamp(_) | TimestampLtz(_)) if left.constant().is_some() => {
            let to = literal_type(&right.data_type);
            Ok((coerce(left, &to)?, right))
        }
        _ => Err(incomparable(&left, &right)),
    }
}

/// The type a text constant is read as to be compared exactly with a value of `data_type`.
fn literal_type(data_type: &SqlType) -> SqlType {
    match data_type {
        SqlType::Time(_) => SqlType::Time(3),
        other => other.clone(),
    }
}

fn comparable_numbers(left: Typed, right: Typed) -> Result<(Typed, Typed), ExprError> {
    let common = match (Shape::of(&left.data_type), Shape::of(&right.data_type)) {
        (Some(a), Some(b)) => {
            let scale = a.scale.max(b.scale);
            if a.whole().max(b.whole()) + scale > PRECISION_MAX {
                // No decimal holds both exactly: they are compared in 256 bits.
                return Ok((coerce(left, &a.sql())?, coerce(right, &b.sql())?));
            }
            common_type(&left.data_type, &right.data_type).unwrap_or(SqlType::Double)
        }
        _ => SqlType::Double,
    };
    Ok((coerce(left, &common)?, coerce(right, &common)?))
}

/// A constant number takes the type of the other side where it has the very same value there, so that the column need
/// not be cast.
fn adapted(left: Typed, right: Typed) -> (Typed, Typed) {
    if let Some(adapted) = adapted_to(&right, &left.data_type) {
        return (left, adapted);
    }
    if let Some(adapted) = adapted_to(&left, &right.data_type) {
        return (adapted, right);
    }
    (left, right)
}

fn adapted_to(typed: &Typed, to: &SqlType) -> Option<Typed> {
    let value = typed.constant()?;
    let from = Shape::of(&typed.data_type)?;
    let target = Shape::of(to)?;
    if typed.data_type == *to || value.is_null() {
        return None;
    }
    let unscaled = match value {
        ScalarValue::Decimal128(value, _, _) => (*value)?,
        _ => i128::from(typed.constant_integer()?),
    };
    let moved = rescaled(unscaled, from.scale, target)?;
    let back = rescaled(moved, target.scale, Shape { precision: PRECISION_MAX, scale: from.scale });
    if back != Some(unscaled) {
        return None;
    }
    let narrow = i64::try_from(moved).ok();
    let value = match to {
        SqlType::TinyInt => ScalarValue::Int8(Some(narrow?.try_into().ok()?)),
        SqlType::SmallInt => ScalarValue::Int16(Some(narrow?.try_into().ok()?)),
        SqlType::Int => ScalarValue::Int32(Some(narrow?.try_into().ok()?)),
        SqlType::BigInt => ScalarValue::Int64(Some(narrow?)),
        _ => ScalarValue::Decimal128(Some(moved), target.precision, target.scale.cast_signed()),
    };
    Some(Typed::literal(value, to.clone(), typed.span))
}

fn incomparable(left: &Typed, right: &Typed) -> ExprError {
    use SqlType::{String, Timestamp, TimestampLtz};
    let span = (left.span.0.min(right.span.0), left.span.1.max(right.span.1));
    let (a, b) = (&left.data_type, &right.data_type);
    let nested = |t: &SqlType| matches!(t, SqlType::Array(..) | SqlType::Map(..) | SqlType::Row(_));
    let help = match (a, b) {
        (a, b) if nested(a) || nested(b) => "compare their fields or elements".to_owned(),
        (Timestamp(_), TimestampLtz(p)) => {
            format!("CAST the one without a zone: CAST(… AS TIMESTAMP_LTZ({p}))")
        }
        (TimestampLtz(p), Timestamp(_)) => {
            format!("CAST the one without a zone: CAST(… AS TIMESTAMP_LTZ({p}))")
        }
        (String, other) | (other, String) => format!("CAST the STRING: CAST(… AS {other})"),
        _ => "CAST one of them".to_owned(),
    };
    ExprError { span, what: format!("{a} cannot be compared with {b}"), help: Some(help) }
}

/// The value as BOOLEAN, or why it is none.
pub(super) fn boolean(typed: Typed, what: &str) -> Result<Typed, ExprError> {
    match typed.data_type {
        SqlType::Boolean | SqlType::Null => coerce(typed, &SqlType::Boolean),
        ref other => Err(ExprError {
            span: typed.span,
            what: format!("{what} takes BOOLEAN, this is {other}"),
            help: Some("compare it with something, for example `… = 1` or `… IS NOT NULL`".to_owned()),
        }),
    }
}

/// The span over both.
pub(super) fn over(left: Span, right: Span) -> Span {
    (left.0.min(right.0), left.1.max(right.1))
}
