//! INTERVAL: a stretch of months or of milliseconds, added to dates and times.

use sqlparser::ast::{DateTimeField, Expr as Ast, Interval as AstInterval, Value};

use super::ExprError;
use super::calendar::{Day, Unit};
use super::cast::ticks_per_second;
use super::coerce::over;
use super::kernel::from_ticks;
use super::typed::{Span, Typed};
use crate::record::SqlType;

const DAY_MS: i64 = 86_400_000;

/// A constant stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) months: i64,
    pub(super) ms: i64,
    span: Span,
}

impl Interval {
    /// The interval of a literal such as `INTERVAL '2' HOUR` or `INTERVAL '1 02:03' DAY TO MINUTE`.
    pub(super) fn of(ast: &AstInterval, span: Span) -> Result<Self, ExprError> {
        let fail = |what: String| ExprError {
            span,
            what,
            help: Some(
                "write for example INTERVAL '5' MINUTE or INTERVAL '1 12:00' DAY TO MINUTE".to_owned(),
            ),
        };
        let text = match ast.value.as_ref() {
            Ast::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => text,
                _ => return Err(fail("the number of an INTERVAL is in single quotes".to_owned())),
            },
            _ => return Err(fail("the number of an INTERVAL is a constant in single quotes".to_owned())),
        };
        let Some(first) = ast.leading_field.as_ref().and_then(unit_of) else {
            return Err(fail("an INTERVAL has a unit: YEAR, MONTH, DAY, HOUR, MINUTE or SECOND".to_owned()));
        };
        let last = match &ast.last_field {
            None => first,
            Some(field) => unit_of(field)
                .filter(|last| rank(*last) > rank(first))
                .ok_or_else(|| fail("an INTERVAL runs from a unit to a smaller one".to_owned()))?,
        };
        let (months, ms) = read(text, first, last)
            .ok_or_else(|| fail(format!("`{text}` is not an INTERVAL of this unit")))?;
        Ok(Self { months, ms, span })
    }

    /// The same backwards.
    pub(super) fn negated(self) -> Self {
        Self { months: -self.months, ms: -self.ms, ..self }
    }
}

fn unit_of(field: &DateTimeField) -> Option<Unit> {
    Unit::of(&field.to_string())
        .filter(|unit| !matches!(unit, Unit::DayOfWeek | Unit::DayOfYear | Unit::Millisecond))
}

fn rank(unit: Unit) -> u8 {
    match unit {
        Unit::Year => 0,
        Unit::Quarter | Unit::Month => 1,
        Unit::Week => 2,
        Unit::Day => 3,
        Unit::Hour => 4,
        Unit::Minute => 5,
        _ => 6,
    }
}

/// Months and milliseconds of an interval's text; none where it is malformed or too long.
fn read(text: &str, first: Unit, last: Unit) -> Option<(i64, i64)> {
    const CHAIN: [Unit; 4] = [Unit::Day, Unit::Hour, Unit::Minute, Unit::Second];
    let trimmed = text.trim();
    let (sign, unsigned) = match trimmed.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    if first == Unit::Year && last == Unit::Month {
        let (years, months) = unsigned.split_once('-')?;
        let months = digits(years)?.checked_mul(12)?.checked_add(digits(months).filter(|m| *m < 12)?)?;
        return Some((sign * months, 0));
    }
    if let Some(per_unit) = first.months().filter(|_| first == last) {
        return Some((sign * digits(unsigned)?.checked_mul(per_unit)?, 0));
    }
    if first == Unit::Week && last == Unit::Week {
        return Some((0, sign * digits(unsigned)?.checked_mul(7 * DAY_MS)?));
    }
    let units = CHAIN.iter().skip_while(|unit| **unit != first);
    let mut rest = unsigned;
    let mut total = 0_i64;
    for &unit in units {
        let ends = unit == last;
        let separator = if unit == Unit::Day { ' ' } else { ':' };
        let (part, behind) = if ends { (rest, "") } else { rest.split_once(separator)? };
        rest = behind;
        let ms = if unit == Unit::Second {
            seconds(part)?
        } else {
            digits(part)?.checked_mul(unit.milliseconds()?)?
        };
        total = total.checked_add(ms)?;
        if ends {
            return Some((0, sign * total));
        }
    }
    None
}

fn digits(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let fraction_digits = u32::try_from(fraction.len()).ok()?;
    if fraction_digits > 9 {
        return None;
    }
    let ms = digits(fraction)?.checked_mul(1000)? / 10_i64.pow(fraction_digits);
    digits(whole)?.checked_mul(1000)?.checked_add(ms)
}

/// `value + interval`.
pub(super) fn shift(value: Typed, interval: Interval) -> Result<Typed, ExprError> {
    let span = over(value.span, interval.span);
    let data_type =
        shifted_type(&value, interval.months != 0, interval.ms % DAY_MS != 0, interval.ms % 1000 != 0)?;
    let target = data_type.clone();
    Typed::strict("+", vec![value], data_type, span, move |arguments, rows| {
        let values = arguments[0].ticks();
        let shifted = (0..rows).map(|row| {
            values.get(row).map(|ticks| shift_ticks(&target, ticks, interval.months, interval.ms)).transpose()
        });
        from_ticks(shifted.collect::<Result<_, _>>()?, &target.arrow())
    })
}

/// The type of a date or time shifted by months, by parts of a day, by parts of a second.
pub(super) fn shifted_type(
    value: &Typed,
    months: bool,
    of_day: bool,
    of_second: bool,
) -> Result<SqlType, ExprError> {
    let finer = |precision: u8| if of_second { precision.max(3) } else { precision };
    let fail =
        |what: String, help: &str| Err(ExprError { span: value.span, what, help: Some(help.to_owned()) });
    match value.data_type {
        SqlType::Timestamp(precision) => Ok(SqlType::Timestamp(finer(precision))),
        SqlType::TimestampLtz(precision) => Ok(SqlType::TimestampLtz(finer(precision))),
        SqlType::Date if of_day => fail(
            "a DATE is shifted by whole days".to_owned(),
            "CAST it to a TIMESTAMP first: CAST(… AS TIMESTAMP(3))",
        ),
        SqlType::Date => Ok(SqlType::Date),
        SqlType::Time(_) if months => {
            fail("a TIME is not shifted by months".to_owned(), "shift it by HOUR, MINUTE or SECOND")
        }
        SqlType::Time(precision) => Ok(SqlType::Time(finer(precision))),
        ref other => fail(
            format!("an INTERVAL cannot be added to {other}"),
            "it is added to a TIMESTAMP, TIMESTAMP_LTZ, DATE or TIME",
        ),
    }
}

/// Ticks of a type, so many months and milliseconds later.
pub(super) fn shift_ticks(data_type: &SqlType, ticks: i64, months: i64, ms: i64) -> Result<i64, String> {
    let per_day = match data_type {
        SqlType::Date => 1,
        SqlType::Time(_) => {
            return Ok(i128::from(ticks)
                .wrapping_add(i128::from(ms))
                .rem_euclid(i128::from(DAY_MS))
                .try_into()
                .expect("below a day"));
        }
        SqlType::Timestamp(precision) | SqlType::TimestampLtz(precision) => {
            86_400 * ticks_per_second(*precision)
        }
        other => unreachable!("{other} is not a time"),
    };
    let mut shifted = i128::from(ticks);
    if months != 0 {
        if months.abs() > 10_000_000 {
            return Err("the time is out of range".to_owned());
        }
        let days = Day::of(ticks.div_euclid(per_day)).plus_months(months).days();
        shifted = i128::from(days) * i128::from(per_day) + i128::from(ticks.rem_euclid(per_day));
    }
    shifted += i128::from(ms) * i128::from(per_day) / i128::from(DAY_MS);
    i64::try_from(shifted).map_err(|_| "the time is out of range".to_owned())
}
