//! Functions of dates and times. The zone of the session is UTC.

use arrow::array::{Int32Array, Int64Array};

use super::pattern::{Moment, Pattern};
use super::text::texts;
use super::{Build, Call, Function, FunctionDoc};
use crate::expr::ExprError;
use crate::expr::calendar::{Unit, extract as part_of, extract_of_day, floor_day, months_between, next_day};
use crate::expr::cast::{cast, ticks_per_second};
use crate::expr::interval::{shift_ticks, shifted_type};
use crate::expr::kernel::{Argument, Outcome, Values, from_ticks};
use crate::expr::typed::{Typed, done};
use crate::record::SqlType;

pub(super) static FUNCTIONS: &[Function] = &[
    Function {
        doc: FunctionDoc {
            name: "EXTRACT",
            signature: "EXTRACT(unit FROM time) → BIGINT",
            summary: "A part of a date or time: YEAR, QUARTER, MONTH, WEEK (ISO), DAY, DOY, DOW (Sunday is 1), HOUR, MINUTE, SECOND, MILLISECOND (with the seconds).",
            example: "EXTRACT(HOUR FROM TIMESTAMP '2024-02-29 13:50:15')",
            result: "13",
        },
        aliases: &[],
        build: Build::Own(extract_unit),
    },
    Function {
        doc: FunctionDoc {
            name: "YEAR",
            signature: "YEAR(time) → BIGINT",
            summary: "The year of a date or time.",
            example: "YEAR(TIMESTAMP '2024-02-29 13:50:15')",
            result: "2024",
        },
        aliases: &[],
        build: Build::Own(|mut call| {
            let time = call.one()?;
            extract(&call, Unit::Year, time)
        }),
    },
    Function {
        doc: FunctionDoc {
            name: "QUARTER",
            signature: "QUARTER(time) → BIGINT",
            summary: "The quarter of a date or time.",
            example: "QUARTER(TIMESTAMP '2024-02-29 13:50:15')",
            result: "1",
        },
        aliases: &[],
        build: Build::Own(|mut call| {
            let time = call.one()?;
            extract(&call, Unit::Quarter, time)
        }),
    },
    Function {
        doc: FunctionDoc {
            name: "MONTH",
            signature: "MONTH(time) → BIGINT",
            summary: "The month of a date or time.",
            example: "MONTH(TIMESTAMP '2024-02-29 13:50:15')",
            result: "2",
        },
        aliases: &[],
        build: Build::Own(|mut call| {
            let time = call.one()?;
            extract(&call, Unit::Month, time)
        }),
    },
    Function {
        doc: FunctionDoc {
            name: "WEEK",
            signature: "WEEK(time) → BIGINT",
            summary: "The ISO week of the year.",
            example: "WEEK(TIMESTAMP '2024-02-29 13:50:15')",
            result: "9",
        },
        aliases: &[],
        build: Build::Own(|mut call| {
            let time = call.one()?;
            extract(&call, Unit::Week, time)
        }),
    },
    Function {
        doc: FunctionDoc {
            name: "DAYOFYEAR",
            signature: "DAYOFYEAR(time) → BIGINT",
            summary: "The day of the year.",
            example: "DAYOFYEAR(TIMESTAMP '2024-02-29 13:50:15')",
            result: "60",
        },
        aliases: &[],
        build: Build::Own(|mut call| {
            let time = call.one()?;
            extract(&call, Unit::DayOfYear, time)
        }),
    },
    Function {
        doc: FunctionDoc {
            name: "DAYOFMONTH",
            signature: "DAYOFMONTH(time) → BIGINT",
            summary: "The day of the month.",
            example: "DAYOFMONTH(TIMESTAMP '2024-02-29 13:50:15')",
            result: "29",
        },
        aliases: &["DAY"],
        build: Build::Own(|mut call| {
            let time = call.one()?;
            extract(&call, Unit::Day, time)
        }),
    },
    Function {
        doc: FunctionDoc {
            name: "DAYOFWEEK",
            signature: "DAYOFWEEK(time) → BIGINT",
            summary: "The day of the week, Sunday is 1.",
            example: "DAYOFWEEK(TIMESTAMP '2024-02-29 13:50:15')",
            result: "5",
        },
        aliases: &[],
        build: Build::Own(|mut call| {
            let time = call.one()?;
            extract(&call, Unit::DayOfWeek, time)
        }),
    },
    Function {
        doc: FunctionDoc {
            name: "HOUR",
            signature: "HOUR(time) → BIGINT",
            summary: "The hour of a date or time.",
            example: "HOUR(TIMESTAMP '2024-02-29 13:50:15')",
            result: "13",
        },
        aliases: &[],
        build: Build::Own(|mut call| {
            let time = call.one()?;
            extract(&call, Unit::Hour, time)
        }),
    },
    Function {
        doc: FunctionDoc {
            name: "MINUTE",
            signature: "MINUTE(time) → BIGINT",
            summary: "The minute of a date or time.",
            example: "MINUTE(TIMESTAMP '2024-02-29 13:50:15')",
            result: "50",
        },
        aliases: &[],
        build: Build::Own(|mut call| {
            let time = call.one()?;
            extract(&call, Unit::Minute, time)
        }),
    },
    Function {
        doc: FunctionDoc {
            name: "SECOND",
            signature: "SECOND(time) → BIGINT",
            summary: "The second of a date or time.",
            example: "SECOND(TIMESTAMP '2024-02-29 13:50:15')",
            result: "15",
        },
        aliases: &[],
        build: Build::Own(|mut call| {
            let time = call.one()?;
            extract(&call, Unit::Second, time)
        }),
    },
    Function {
        doc: FunctionDoc {
            name: "DATE_FORMAT",
            signature: "DATE_FORMAT(time TIMESTAMP, TIMESTAMP_LTZ or DATE, pattern STRING) → STRING",
            summary: "The time in a pattern of Java's: yyyy MM dd HH mm ss SSS, MMM, EEE, h with a, 'literal'.",
            example: "DATE_FORMAT(TIMESTAMP '2024-02-29 13:50:15', 'yyyy-MM-dd HH:mm')",
            result: "2024-02-29 13:50",
        },
        aliases: &[],
        build: Build::Own(date_format),
    },
    Function {
        doc: FunctionDoc {
            name: "TO_TIMESTAMP",
            signature: "TO_TIMESTAMP(text STRING[, pattern STRING]) → TIMESTAMP(3)",
            summary: "The text as a timestamp; NULL where it is none.",
            example: "TO_TIMESTAMP('29.02.2024 13:50', 'dd.MM.yyyy HH:mm')",
            result: "2024-02-29 13:50:00.000",
        },
        aliases: &[],
        build: Build::Own(to_timestamp),
    },
    Function {
        doc: FunctionDoc {
            name: "TO_TIMESTAMP_LTZ",
            signature: "TO_TIMESTAMP_LTZ(count BIGINT[, precision INT]) or (text STRING[, pattern STRING]) → TIMESTAMP_LTZ(3)",
            summary: "The instant so many milliseconds (precision 3, the default) or seconds (precision 0) after 1970, or of a text in UTC.",
            example: "TO_TIMESTAMP_LTZ(1709214615, 0)",
            result: "2024-02-29 13:50:15.000",
        },
        aliases: &[],
        build: Build::Own(to_timestamp_ltz),
    },
    Function {
        doc: FunctionDoc {
            name: "TO_DATE",
            signature: "TO_DATE(text STRING[, pattern STRING]) → DATE",
            summary: "The text as a day; NULL where it is none.",
            example: "TO_DATE('29.02.2024', 'dd.MM.yyyy')",
            result: "2024-02-29",
        },
        aliases: &[],
        build: Build::Own(to_date),
    },
    Function {
        doc: FunctionDoc {
            name: "FROM_UNIXTIME",
            signature: "FROM_UNIXTIME(seconds BIGINT[, pattern STRING]) → STRING",
            summary: "The instant so many seconds after 1970 as text in UTC, as yyyy-MM-dd HH:mm:ss or in a pattern.",
            example: "FROM_UNIXTIME(0)",
            result: "1970-01-01 00:00:00",
        },
        aliases: &[],
        build: Build::Own(from_unixtime),
    },
    Function {
        doc: FunctionDoc {
            name: "UNIX_TIMESTAMP",
            signature: "UNIX_TIMESTAMP([text STRING[, pattern STRING]]) → BIGINT",
            summary: "The seconds from 1970 to now, or to a text in UTC (yyyy-MM-dd HH:mm:ss or a pattern); NULL where that is none.",
            example: "UNIX_TIMESTAMP('1970-01-01 00:01:00')",
            result: "60",
        },
        aliases: &[],
        build: Build::Own(unix_timestamp),
    },
    Function {
        doc: FunctionDoc {
            name: "TIMESTAMPADD",
            signature: "TIMESTAMPADD(unit, count BIGINT, time) → the type of time",
            summary: "The time so many units later.",
            example: "TIMESTAMPADD(MONTH, 1, TIMESTAMP '2024-02-29 13:50:15')",
            result: "2024-03-29 13:50:15",
        },
        aliases: &[],
        build: Build::Own(timestamp_add),
    },
    Function {
        doc: FunctionDoc {
            name: "TIMESTAMPDIFF",
            signature: "TIMESTAMPDIFF(unit, from, to) → INT",
            summary: "The whole units from one time to another, negative where the second is earlier; more than INT holds fails the row.",
            example: "TIMESTAMPDIFF(DAY, DATE '2024-01-01', TIMESTAMP '2024-02-29 13:50:15')",
            result: "59",
        },
        aliases: &[],
        build: Build::Own(timestamp_diff),
    },
    Function {
        doc: FunctionDoc {
            name: "NOW",
            signature: "NOW() → TIMESTAMP_LTZ(3)",
            summary: "The present time, the same for all rows of a batch.",
            example: "NOW() IS NOT NULL",
            result: "TRUE",
        },
        aliases: &["CURRENT_TIMESTAMP", "CURRENT_ROW_TIMESTAMP"],
        build: Build::Own(|mut call| {
            call.counted(0, 0)?;
            Ok(call.clock)
        }),
    },
    Function {
        doc: FunctionDoc {
            name: "LOCALTIMESTAMP",
            signature: "LOCALTIMESTAMP → TIMESTAMP(3)",
            summary: "The present time in UTC, without a zone.",
            example: "LOCALTIMESTAMP IS NOT NULL",
            result: "TRUE",
        },
        aliases: &[],
        build: Build::Own(|call| present(call, &SqlType::Timestamp(3))),
    },
    Function {
        doc: FunctionDoc {
            name: "CURRENT_DATE",
            signature: "CURRENT_DATE → DATE",
            summary: "The present day in UTC.",
            example: "CURRENT_DATE IS NOT NULL",
            result: "TRUE",
        },
        aliases: &[],
        build: Build::Own(|call| present(call, &SqlType::Date)),
    },
];

/// Whether a call of a function reads the present time.
pub(super) fn reads_clock(name: &str, arguments: usize) -> bool {
    matches!(name, "NOW" | "LOCALTIMESTAMP" | "CURRENT_DATE") || (name == "UNIX_TIMESTAMP" && arguments == 0)
}

fn present(mut call: Call, to: &SqlType) -> Result<Typed, ExprError> {
    call.counted(0, 0)?;
    cast(call.clock, to, false)
}

/// How a time type is counted: ticks to the second, or days.
#[derive(Clone, Copy)]
enum Count {
    Days,
    /// Ticks to the second, of a day or since 1970.
    Ticks(i64),
}

impl Count {
    fn moment(self, ticks: i64) -> Moment {
        match self {
            Self::Days => Moment { days: ticks, nanos: 0 },
            Self::Ticks(per_second) => Moment {
                days: ticks.div_euclid(86_400 * per_second),
                nanos: ticks.rem_euclid(86_400 * per_second) * (1_000_000_000 / per_second),
            },
        }
    }
}

/// A constant text is the name of a time's type in Flink: here it is read as one.
fn counted(call: &Call, time: &Typed) -> Result<Count, ExprError> {
    match time.data_type {
        SqlType::Date => Ok(Count::Days),
        SqlType::Time(_) => Ok(Count::Ticks(1000)),
        SqlType::Timestamp(precision) | SqlType::TimestampLtz(precision) => {
            Ok(Count::Ticks(ticks_per_second(precision)))
        }
        ref other => {
            let what = format!("{} takes a date or time here, this is {other}", call.name());
            let mut error = call.wrong(time.span, what);
            if *other == SqlType::String {
                error.help = error.help.map(|help| format!("{help}; CAST(… AS TIMESTAMP(3)) may do"));
            }
            Err(error)
        }
    }
}

/// NULL as a timestamp.
fn known(time: Typed) -> Typed {
    if time.data_type == SqlType::Null { Typed::null(SqlType::Timestamp(3), time.span) } else { time }
}

fn unit_of(call: &Call, unit: &Typed) -> Result<Unit, ExprError> {
    let text = unit.constant_text().flatten().unwrap_or_default();
    Unit::of(text).ok_or_else(|| {
        let mut error = call.wrong(unit.span, format!("there is no unit `{text}`"));
        error.help =
            Some("the units are YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE and SECOND".to_owned());
        error
    })
}

fn extract_unit(mut call: Call) -> Result<Typed, ExprError> {
    let (unit, time) = call.two()?;
    let unit = unit_of(&call, &unit)?;
    extract(&call, unit, time)
}

fn extract(call: &Call, unit: Unit, time: Typed) -> Result<Typed, ExprError> {
    let time = known(time);
    let count = counted(call, &time)?;
    let fits = match (&time.data_type, count) {
        (SqlType::Time(_), _) => unit.of_day(),
        (_, Count::Days) => !unit.of_day(),
        _ => true,
    };
    if !fits {
        return Err(call.wrong(time.span, format!("a {} has no such part", time.data_type)));
    }
    Typed::strict(call.name(), vec![time], SqlType::BigInt, call.span, move |arguments, rows| {
        let times = arguments[0].ticks();
        let one = |ticks| match count {
            Count::Days => extract_of_day(unit, ticks),
            Count::Ticks(per_second) => part_of(unit, ticks, per_second),
        };
        done((0..rows).map(|row| times.get(row).map(one)).collect::<Int64Array>())
    })
}

/// `FLOOR(time TO unit)` and `CEIL(time TO unit)`.
pub(super) fn rounded(call: &Call, time: Typed, unit: &Typed, up: bool) -> Result<Typed, ExprError> {
    let time = known(time);
    let name = unit_of(call, unit)?;
    let count = counted(call, &time)?;
    let is_time = matches!(time.data_type, SqlType::Time(_));
    let part = matches!(name, Unit::DayOfWeek | Unit::DayOfYear);
    if part || (is_time && !name.of_day()) || (matches!(count, Count::Days) && name.of_day()) {
        return Err(call.wrong(unit.span, format!("a {} is not rounded to this unit", time.data_type)));
    }
    let data_type = time.data_type.clone();
    let arrow = data_type.arrow();
    Typed::strict(call.name(), vec![time], data_type, call.span, move |arguments, rows| {
        let times = arguments[0].ticks();
        let rounded = |row| times.get(row).map(|ticks| round_ticks(ticks, count, name, up)).transpose();
        from_ticks((0..rows).map(rounded).collect::<Result<_, _>>()?, &arrow)
    })
}

fn round_ticks(ticks: i64, count: Count, unit: Unit, up: bool) -> Result<i64, String> {
    let per_day = match count {
        Count::Days => 1,
        Count::Ticks(per_second) => 86_400 * per_second,
    };
    let rounded = match (unit.milliseconds(), count) {
        (Some(ms), Count::Ticks(per_second)) if unit.of_day() => {
            let per_unit = i128::from(ms) * i128::from(per_second) / 1000;
            let floor = i128::from(ticks).div_euclid(per_unit) * per_unit;
            if up && floor != i128::from(ticks) { floor + per_unit } else { floor }
        }
        _ => {
            let days = ticks.div_euclid(per_day);
            let floor = i128::from(floor_day(unit, days)) * i128::from(per_day);
            if up && floor != i128::from(ticks) {
                i128::from(next_day(unit, days)) * i128::from(per_day)
            } else {
                floor
            }
        }
    };
    i64::try_from(rounded).map_err(|_| "the time is out of range".to_owned())
}

/// The pattern of each row: made ready beforehand, or the last one kept.
struct Patterns<'a> {
    constant: Option<&'a Pattern>,
    texts: Option<Values<&'a arrow::array::StringArray>>,
    last: Option<(String, Pattern)>,
}

impl<'a> Patterns<'a> {
    fn new(constant: Option<&'a Pattern>, argument: Option<&'a Argument>) -> Self {
        Self { constant, texts: argument.map(Argument::text), last: None }
    }

    fn get(&mut self, row: usize) -> Result<Option<&Pattern>, String> {
        if self.constant.is_some() {
            return Ok(self.constant);
        }
        let Some(text) = self.texts.as_ref().and_then(|texts| texts.get(row)) else { return Ok(None) };
        if self.last.as_ref().is_none_or(|(last, _)| last != text) {
            self.last = Some((text.to_owned(), Pattern::new(text)?));
        }
        Ok(self.last.as_ref().map(|(_, pattern)| pattern))
    }
}

/// The value and the pattern behind it, if there is one; the pattern made ready where it is constant or left out.
fn with_pattern(
    call: &mut Call,
    least: usize,
    default: Option<&str>,
) -> Result<(Vec<Typed>, Option<Pattern>), ExprError> {
    let mut arguments = call.counted(least, 2)?;
    let Some(pattern) = arguments.get(1).cloned() else {
        let default = default.and_then(|default| Pattern::new(default).ok());
        return Ok((arguments, default));
    };
    arguments[1] = call.fitted(pattern, &SqlType::String)?;
    let ready = match arguments[1].constant_text() {
        Some(Some(text)) => {
            let made = Pattern::new(text).map_err(|what| call.wrong(arguments[1].span, what))?;
            Some(made)
        }
        _ => None,
    };
    Ok((arguments, ready))
}

fn formatted(arguments: &[Argument], rows: usize, count: Count, ready: Option<&Pattern>) -> Outcome {
    let times = arguments[0].ticks();
    let mut patterns = Patterns::new(ready, arguments.get(1));
    texts(rows, |row, out| {
        let (Some(pattern), Some(ticks)) = (patterns.get(row)?, times.get(row)) else { return Ok(false) };
        pattern.write(count.moment(ticks), out);
        Ok(true)
    })
}

fn date_format(mut call: Call) -> Result<Typed, ExprError> {
    let (mut arguments, ready) = with_pattern(&mut call, 2, None)?;
    arguments[0] = known(arguments[0].clone());
    let count = counted(&call, &arguments[0])?;
    Typed::strict("DATE_FORMAT", arguments, SqlType::String, call.span, move |arguments, rows| {
        formatted(arguments, rows, count, ready.as_ref())
    })
}

fn from_unixtime(mut call: Call) -> Result<Typed, ExprError> {
    let (mut arguments, ready) = with_pattern(&mut call, 1, Some("yyyy-MM-dd HH:mm:ss"))?;
    arguments[0] = call.fitted(arguments[0].clone(), &SqlType::BigInt)?;
    arguments[0] = instant(&call, arguments[0].clone(), 1000)?;
    Typed::strict("FROM_UNIXTIME", arguments, SqlType::String, call.span, move |arguments, rows| {
        formatted(arguments, rows, Count::Ticks(1000), ready.as_ref())
    })
}

/// A count since 1970 as an instant, `factor` milliseconds each.
fn instant(call: &Call, count: Typed, factor: i64) -> Result<Typed, ExprError> {
    Typed::strict(call.name(), vec![count], SqlType::TimestampLtz(3), call.span, move |arguments, rows| {
        let counts = arguments[0].bigint();
        let one = |count: i64| count.checked_mul(factor).ok_or_else(|| "the time is out of range".to_owned());
        let ticks = (0..rows).map(|row| counts.get(row).map(one).transpose()).collect::<Result<_, _>>()?;
        from_ticks(ticks, &SqlType::TimestampLtz(3).arrow())
    })
}

/// Texts as times of a type, NULL where they are none; without a pattern as CAST reads them.
fn read(mut call: Call, to: SqlType) -> Result<Typed, ExprError> {
    let (mut arguments, ready) = with_pattern(&mut call, 1, None)?;
    arguments[0] = call.fitted(arguments[0].clone(), &SqlType::String)?;
    if arguments.len() == 1 {
        return Ok(cast(arguments.remove(0), &to, true)?.at(call.span));
    }
    let target = to.clone();
    Typed::call(call.name(), arguments, to, true, call.span, move |arguments, rows| {
        let values = arguments[0].text();
        let mut patterns = Patterns::new(ready.as_ref(), arguments.get(1));
        let mut one = |row| {
            let (Some(pattern), Some(text)) = (patterns.get(row)?, values.get(row)) else { return Ok(None) };
            Ok(pattern.read(text).and_then(|moment| match target {
                SqlType::Date => Some(moment.days),
                _ => moment.days.checked_mul(86_400_000)?.checked_add(moment.nanos / 1_000_000),
            }))
        };
        let ticks = (0..rows).map(&mut one).collect::<Result<Int64Array, String>>()?;
        from_ticks(ticks, &target.arrow())
    })
}

fn to_timestamp(call: Call) -> Result<Typed, ExprError> {
    read(call, SqlType::Timestamp(3))
}

fn to_date(call: Call) -> Result<Typed, ExprError> {
    read(call, SqlType::Date)
}

fn to_timestamp_ltz(mut call: Call) -> Result<Typed, ExprError> {
    if call.arguments.first().is_some_and(|first| first.data_type == SqlType::String) {
        return read(call, SqlType::TimestampLtz(3));
    }
    let mut arguments = call.counted(1, 2)?;
    let factor = match arguments.get(1).map(Typed::constant_integer) {
        None | Some(Some(3)) => 1,
        Some(Some(0)) => 1000,
        Some(_) => return Err(call.wrong(arguments[1].span, "the precision is 0 or 3".to_owned())),
    };
    let count = call.fitted(arguments.remove(0), &SqlType::BigInt)?;
    instant(&call, count, factor)
}

fn unix_timestamp(mut call: Call) -> Result<Typed, ExprError> {
    let time = if call.arguments.is_empty() {
        call.clock.clone()
    } else {
        let span = call.span;
        let arguments = std::mem::take(&mut call.arguments);
        let clock = call.clock.clone();
        read(Call { function: call.function, arguments, span, clock }, SqlType::Timestamp(3))?
    };
    Typed::strict("UNIX_TIMESTAMP", vec![time], SqlType::BigInt, call.span, |arguments, rows| {
        let times = arguments[0].ticks();
        done((0..rows).map(|row| times.get(row).map(|ms| ms.div_euclid(1000))).collect::<Int64Array>())
    })
}

fn timestamp_add(mut call: Call) -> Result<Typed, ExprError> {
    let mut arguments = call.counted(3, 3)?;
    let time = known(arguments.remove(2));
    let count = call.fitted(arguments.remove(1), &SqlType::BigInt)?;
    let unit = unit_of(&call, &arguments[0])?;
    counted(&call, &time)?;
    if unit.months().is_none() && unit.milliseconds().is_none() {
        return Err(call.wrong(arguments[0].span, "this unit cannot be added".to_owned()));
    }
    let data_type = shifted_type(&time, unit.months().is_some(), unit.of_day(), unit == Unit::Millisecond)?;
    let target = data_type.clone();
    Typed::strict("TIMESTAMPADD", vec![time, count], data_type, call.span, move |arguments, rows| {
        let (times, counts) = (arguments[0].ticks(), arguments[1].bigint());
        let out_of_range = || "the time is out of range".to_owned();
        let one = |row| {
            let (Some(ticks), Some(count)) = (times.get(row), counts.get(row)) else { return Ok(None) };
            let months = count.checked_mul(unit.months().unwrap_or(0)).ok_or_else(out_of_range)?;
            let ms = count.checked_mul(unit.milliseconds().unwrap_or(0)).ok_or_else(out_of_range)?;
            shift_ticks(&target, ticks, months, ms).map(Some)
        };
        from_ticks((0..rows).map(one).collect::<Result<_, String>>()?, &target.arrow())
    })
}

fn timestamp_diff(mut call: Call) -> Result<Typed, ExprError> {
    let mut arguments = call.counted(3, 3)?;
    let (to, from) = (known(arguments.remove(2)), known(arguments.remove(1)));
    let unit = unit_of(&call, &arguments[0])?;
    let counts = (counted(&call, &from)?, counted(&call, &to)?);
    let is_time = |time: &Typed| matches!(time.data_type, SqlType::Time(_));
    if is_time(&from) || is_time(&to) || (unit.months().is_none() && unit.milliseconds().is_none()) {
        return Err(call
            .wrong(call.span, "TIMESTAMPDIFF counts YEAR to SECOND between timestamps or dates".to_owned()));
    }
    let zoned = |time: &Typed| matches!(time.data_type, SqlType::TimestampLtz(_));
    if zoned(&from) != zoned(&to) {
        return Err(
            call.wrong(call.span, format!("{} and {} do not go together", from.data_type, to.data_type))
        );
    }
    Typed::strict("TIMESTAMPDIFF", vec![from, to], SqlType::Int, call.span, move |arguments, rows| {
        let (froms, tos) = (arguments[0].ticks(), arguments[1].ticks());
        let one = |row| {
            let (Some(from), Some(to)) = (froms.get(row), tos.get(row)) else { return Ok(None) };
            let difference = between(unit, counts.0.moment(from), counts.1.moment(to));
            i32::try_from(difference).map(Some).map_err(|_| format!("{difference} does not fit INT"))
        };
        done((0..rows).map(one).collect::<Result<Int32Array, String>>()?)
    })
}

fn between(unit: Unit, from: Moment, to: Moment) -> i128 {
    if let Some(months) = unit.months() {
        return i128::from(months_between((from.days, from.nanos), (to.days, to.nanos)) / months);
    }
    let nanos = |moment: Moment| i128::from(moment.days) * 86_400_000_000_000 + i128::from(moment.nanos);
    (nanos(to) - nanos(from)) / (i128::from(unit.milliseconds().unwrap_or(1)) * 1_000_000)
}
