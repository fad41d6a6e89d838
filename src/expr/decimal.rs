//! Exact decimal arithmetic: Flink's result types, rounding half up (away from zero), NULL where a result needs more
//! than its precision. Values are unscaled 128-bit integers; what may exceed them goes through 256 bits.

use arrow::datatypes::i256;

use crate::record::SqlType;

/// The most digits a decimal has.
pub(super) const PRECISION_MAX: u8 = 38;
/// The digits behind the point that a result keeps when its precision has to be cut.
const SCALE_KEPT: i32 = 6;

/// `DECIMAL(p, s)` as arithmetic sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) precision: u8,
    pub(super) scale: u8,
}

/// What can be done with two decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Shape {
    /// The decimal a type counts as in arithmetic; none for types that are not exact numbers.
    pub(super) fn of(data_type: &SqlType) -> Option<Self> {
        let (precision, scale) = match data_type {
            SqlType::TinyInt => (3, 0),
            SqlType::SmallInt => (5, 0),
            SqlType::Int => (10, 0),
            SqlType::BigInt => (19, 0),
            SqlType::Decimal(precision, scale) => (*precision, *scale),
            _ => return None,
        };
        Some(Self { precision, scale })
    }

    /// The type.
    pub(super) fn sql(self) -> SqlType {
        SqlType::Decimal(self.precision, self.scale)
    }

    /// Cuts digits behind the point until the precision fits.
    fn adjusted(precision: i32, scale: i32) -> Self {
        let (precision, scale) = if precision > i32::from(PRECISION_MAX) {
            let whole = precision - scale;
            let scale = (i32::from(PRECISION_MAX) - whole).max(scale.min(SCALE_KEPT));
            (i32::from(PRECISION_MAX), scale)
        } else {
            (precision, scale)
        };
        let narrow = |value: i32| u8::try_from(value).expect("between 0 and 38");
        Self { precision: narrow(precision), scale: narrow(scale) }
    }

    /// The decimal that holds the values of both.
    pub(super) fn common(self, other: Self) -> Self {
        let scale = i32::from(self.scale.max(other.scale));
        Self::adjusted(i32::from(self.whole().max(other.whole())) + scale, scale)
    }

    /// How many digits stand before the point.
    pub(super) fn whole(self) -> u8 {
        self.precision - self.scale
    }
}

impl Operation {
    /// The result's type, and whether a result may need more digits than it has.
    pub(super) fn result(self, left: Shape, right: Shape) -> (Shape, bool) {
        let (p1, s1) = (i32::from(left.precision), i32::from(left.scale));
        let (p2, s2) = (i32::from(right.precision), i32::from(right.scale));
        let (precision, scale) = match self {
            Self::Add | Self::Subtract => {
                let scale = s1.max(s2);
                ((p1 - s1).max(p2 - s2) + scale + 1, scale)
            }
            Self::Multiply => (p1 + p2, s1 + s2),
            Self::Divide => {
                let scale = (s1 + p2 + 1).max(6);
                (p1 - s1 + s2 + scale, scale)
            }
            Self::Modulo => {
                let scale = s1.max(s2);
                ((p1 - s1).min(p2 - s2) + scale, scale)
            }
        };
        (Shape::adjusted(precision.max(1), scale), precision > i32::from(PRECISION_MAX))
    }

    /// Computes on unscaled values; `Ok(None)` where the result needs more digits than `to` has.
    ///
    /// # Errors
    ///
    /// Division and modulo by zero.
    pub(super) fn apply(
        self,
        (a, from_a): (i128, Shape),
        (b, from_b): (i128, Shape),
        to: Shape,
    ) -> Result<Option<i128>, String> {
        let common = from_a.scale.max(from_b.scale);
        let exact = match self {
            Self::Add | Self::Subtract | Self::Modulo => {
                let a = widened(a, common - from_a.scale);
                let b = widened(b, common - from_b.scale);
                let (Some(a), Some(b)) = (a, b) else { return Ok(None) };
                match self {
                    Self::Add => a.checked_add(b),
                    Self::Subtract => a.checked_sub(b),
                    _ if b == i256::ZERO => return Err("modulo by zero".to_owned()),
                    _ => a.checked_rem(b),
                }
            }
            Self::Multiply => i256::from_i128(a).checked_mul(i256::from_i128(b)),
            Self::Divide if b == 0 => return Err("division by zero".to_owned()),
            Self::Divide => {
                let shift = i32::from(to.scale) - i32::from(from_a.scale) + i32::from(from_b.scale);
                return Ok(quotient(a, b, shift).and_then(|value| fitting(value, to.precision)));
            }
        };
        let scale = if self == Self::Multiply { from_a.scale + from_b.scale } else { common };
        Ok(exact.and_then(|value| rounded(value, scale, to)))
    }
}

fn widened(value: i128, digits: u8) -> Option<i256> {
    i256::from_i128(value).checked_mul(power(u32::from(digits))?)
}

/// 10^`digits`; none beyond 256 bits.
fn power(digits: u32) -> Option<i256> {
    i256::from_i128(10).checked_pow(digits)
}

/// `value` at `scale`, brought to `to` by rounding half up.
fn rounded(value: i256, scale: u8, to: Shape) -> Option<i128> {
    let value = if scale > to.scale {
        let unit = power(u32::from(scale - to.scale))?;
        half_up(value.checked_div(unit)?, value.checked_rem(unit)?, unit)?
    } else {
        value.checked_mul(power(u32::from(to.scale - scale))?)?
    };
    fitting(value, to.precision)
}

/// The quotient with one more away from zero where the remainder is half the divisor or more.
fn half_up(quotient: i256, remainder: i256, divisor: i256) -> Option<i256> {
    let twice = remainder.checked_abs()?.checked_mul(i256::from_i128(2))?;
    if twice < divisor.checked_abs()? {
        return Some(quotient);
    }
    let away = if remainder.is_negative() == divisor.is_negative() { i256::ONE } else { i256::MINUS_ONE };
    quotient.checked_add(away)
}

/// `a` × 10^`shift` / `b`, rounded half up; none where it exceeds 256 bits by far.
fn quotient(a: i128, b: i128, shift: i32) -> Option<i256> {
    let (a, b) = (i256::from_i128(a), i256::from_i128(b));
    if shift < 0 {
        let divisor = b.checked_mul(power(shift.unsigned_abs())?)?;
        return half_up(a.checked_div(divisor)?, a.checked_rem(divisor)?, divisor);
    }
    if let Some(scaled) = power(shift.unsigned_abs()).and_then(|unit| a.checked_mul(unit)) {
        return half_up(scaled.checked_div(b)?, scaled.checked_rem(b)?, b);
    }
    // Long division, a digit at a time: the remainder stays below the divisor.
    let ten = i256::from_i128(10);
    let mut quotient = a.checked_div(b)?;
    let mut remainder = a.checked_rem(b)?;
    for _ in 0..shift {
        let next = remainder.checked_mul(ten)?;
        quotient = quotient.checked_mul(ten)?.checked_add(next.checked_div(b)?)?;
        remainder = next.checked_rem(b)?;
    }
    half_up(quotient, remainder, b)
}

/// The value, if `precision` digits hold it.
fn fitting(value: i256, precision: u8) -> Option<i128> {
    value.to_i128().filter(|value| value.unsigned_abs() < 10_u128.pow(u32::from(precision)))
}

/// An unscaled value of `from` digits behind the point brought to `to` by rounding half up; none where `to` does not
/// hold it.
pub(super) fn rescaled(value: i128, from: u8, to: Shape) -> Option<i128> {
    rounded(i256::from_i128(value), from, to)
}

/// An unscaled value with the digits behind `scale - digits` cut off: toward zero.
pub(super) fn truncated(value: i128, digits: u32) -> i128 {
    10_i128.checked_pow(digits).map_or(0, |unit| value / unit)
}

/// A decimal as the nearest double.
pub(super) fn to_double(value: i128, scale: u8) -> f64 {
    let exact = value.unsigned_abs() < 1 << 53 && scale <= 22;
    if exact {
        // Both sides are exact doubles, so the quotient is the nearest one.
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        let value = value as f64;
        return value / 10_f64.powi(i32::from(scale));
    }
    let mut text = Vec::new();
    crate::record::text::write_decimal(value, scale, &mut text);
    String::from_utf8(text).ok().and_then(|text| text.parse().ok()).expect("decimal text is a double's text")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(precision: u8, scale: u8) -> Shape {
        Shape { precision, scale }
    }

    #[test]
    fn result_types_are_flinks() {
        use Operation::*;
        for (operation, left, right, expect, may_overflow) in [
            (Multiply, (4, 3), (19, 0), (23, 3), false),
            (Add, (12, 2), (10, 0), (13, 2), false),
            (Subtract, (38, 2), (38, 2), (38, 2), true),
            (Divide, (10, 2), (5, 1), (17, 8), false),
            (Divide, (38, 10), (38, 10), (38, 6), true),
            (Divide, (3, 0), (2, 0), (9, 6), false),
            (Multiply, (38, 10), (38, 10), (38, 6), true),
            (Modulo, (10, 2), (5, 1), (6, 2), false),
        ] {
            let result = operation.result(shape(left.0, left.1), shape(right.0, right.1));
            assert_eq!(result, (shape(expect.0, expect.1), may_overflow), "{operation:?} {left:?} {right:?}");
        }
    }

    #[test]
    fn arithmetic_is_exact_and_rounds_half_up() {
        use Operation::*;
        let max = 10_i128.pow(38) - 1;
        for (operation, a, b, to, expect) in [
            (Add, (1, (3, 2)), (1, (3, 0)), (6, 2), Some(101)),
            (Divide, (1, (1, 0)), (3, (1, 0)), (7, 6), Some(333_333)),
            (Divide, (2, (1, 0)), (3, (1, 0)), (7, 6), Some(666_667)),
            (Divide, (-2, (1, 0)), (3, (1, 0)), (7, 6), Some(-666_667)),
            (Divide, (1, (1, 0)), (2, (1, 0)), (7, 0), Some(1)),
            (Divide, (-1, (1, 0)), (2, (1, 0)), (7, 0), Some(-1)),
            (Add, (max, (38, 0)), (1, (38, 0)), (38, 0), None),
            (Multiply, (max, (38, 10)), (max, (38, 10)), (38, 6), None),
            (Divide, (max, (38, 38)), (max, (38, 38)), (38, 6), Some(1_000_000)),
            (Divide, (max, (38, 0)), (1, (38, 38)), (38, 6), None),
            (Modulo, (-7, (1, 0)), (3, (1, 0)), (1, 0), Some(-1)),
        ] {
            let result =
                operation.apply((a.0, shape(a.1.0, a.1.1)), (b.0, shape(b.1.0, b.1.1)), shape(to.0, to.1));
            assert_eq!(result, Ok(expect), "{operation:?} {a:?} {b:?}");
        }
        assert!(Divide.apply((1, shape(1, 0)), (0, shape(1, 0)), shape(7, 6)).is_err());
    }

    #[test]
    fn decimals_come_to_the_nearest_double() {
        assert!((to_double(1, 1) - 0.1).abs() < f64::EPSILON / 100.0);
        assert!((to_double(123_456_789_012_345_678_901_234, 10) - 12_345_678_901_234.568).abs() < 1e-2);
    }
}
