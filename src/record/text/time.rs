//! Days, times of day, timestamps.
//!
//! The calendar is the proleptic Gregorian one without leap seconds. Days and dates convert by Howard Hinnant's
//! `days_from_civil` and `civil_from_days` (<https://howardhinnant.github.io/date_algorithms.html>).

use arrow::datatypes::TimeUnit;

use super::{number::write_integer, shortened};

const SECONDS_PER_DAY: i64 = 86_400;

/// How times look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampStyle {
    /// `2024-01-01T00:00:09.5`: the fraction without trailing zeros, the seconds always.
    Iso,
    /// `2024-01-01 00:00:09.500`: the fraction always with this many digits, 0 to 9.
    Sql {
        /// How many digits.
        digits: u8,
    },
}

/// Days since 1970-01-01 of a date; `month` and `day` must be of the calendar.
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = i64::from((153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date `days` after 1970-01-01: year, month, day.
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    // Nearly every date is one that 32 bits hold, which divide several times faster.
    let (era, day_of_era) = match u32::try_from(shifted) {
        Ok(shifted) => (i64::from(shifted / 146_097), shifted % 146_097),
        Err(_) => {
            (shifted.div_euclid(146_097), u32::try_from(shifted.rem_euclid(146_097)).expect("below 146,097"))
        }
    };
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (i64::from(year_of_era) + era * 400 + i64::from(month <= 2), month, day)
}

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// The numbers below 100 with two digits each.
const TWO_DIGITS: [[u8; 2]; 100] = {
    let mut table = [*b"00"; 100];
    let mut value = 0;
    while value < 100 {
        let (tens, ones) = (value / 10, value % 10);
        table[value] = [b"0123456789"[tens], b"0123456789"[ones]];
        value += 1;
    }
    table
};

fn two_digits(value: u32) -> [u8; 2] {
    TWO_DIGITS[value as usize]
}

/// Appends the day `days` after 1970-01-01: `2024-01-31`. Years beyond 9999 have a `+`, those before 0 a `-`.
pub fn write_date(days: i32, out: &mut Vec<u8>) {
    write_days(i64::from(days), out);
}

fn write_days(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    match u32::try_from(year) {
        Ok(year @ 0..=9999) => {
            let mut text = *b"0000-00-00";
            text[..2].copy_from_slice(&two_digits(year / 100));
            text[2..4].copy_from_slice(&two_digits(year % 100));
            text[5..7].copy_from_slice(&two_digits(month));
            text[8..].copy_from_slice(&two_digits(day));
            out.extend_from_slice(&text);
            return;
        }
        _ if year < 0 => {
            out.push(b'-');
            let magnitude = year.unsigned_abs();
            let digits = magnitude.checked_ilog10().unwrap_or(0) as usize + 1;
            out.extend(std::iter::repeat_n(b'0', 4_usize.saturating_sub(digits)));
            write_integer(year.abs(), out);
        }
        _ => {
            out.push(b'+');
            write_integer(year, out);
        }
    }
    for part in [month, day] {
        out.push(b'-');
        out.extend_from_slice(&two_digits(part));
    }
}

/// Appends `09:30:15` and the fraction as the style has it.
fn write_clock(second_of_day: u32, nanos: u32, style: TimestampStyle, out: &mut Vec<u8>) {
    write_seconds(second_of_day, out);
    write_fraction(nanos, style, out);
}

/// Appends `09:30:15`.
fn write_seconds(second_of_day: u32, out: &mut Vec<u8>) {
    let mut text = *b"00:00:00";
    text[..2].copy_from_slice(&two_digits(second_of_day / 3600));
    text[3..5].copy_from_slice(&two_digits(second_of_day / 60 % 60));
    text[6..].copy_from_slice(&two_digits(second_of_day % 60));
    out.extend_from_slice(&text);
}

/// Appends the point and the digits behind it, as the style has them.
fn write_fraction(nanos: u32, style: TimestampStyle, out: &mut Vec<u8>) {
    // A copy of a length that is known needs no call; what is too much is cut off.
    let (fraction, length) = fraction(nanos, style);
    let end = out.len() + length;
    out.extend_from_slice(&fraction);
    out.truncate(end);
}

/// The point and nine digits behind it, and how many bytes of that the style has.
#[inline]
fn fraction(nanos: u32, style: TimestampStyle) -> ([u8; 10], usize) {
    let mut fraction = *b".000000000";
    let (ms, below_ms) = (nanos / 1_000_000, nanos % 1_000_000);
    fraction[1] = two_digits(ms / 100)[1];
    fraction[2..4].copy_from_slice(&two_digits(ms % 100));
    if below_ms > 0 {
        for (index, below) in [10_000, 100, 1].into_iter().enumerate() {
            fraction[index * 2 + 4..index * 2 + 6].copy_from_slice(&two_digits(below_ms / below % 100));
        }
    }
    let length = match style {
        TimestampStyle::Iso if nanos == 0 => 0,
        TimestampStyle::Iso if below_ms == 0 => {
            4 - usize::from(ms.is_multiple_of(10)) - usize::from(ms.is_multiple_of(100))
        }
        TimestampStyle::Iso => fraction.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1),
        TimestampStyle::Sql { digits: 0 } => 0,
        TimestampStyle::Sql { digits } => usize::from(digits.min(9)) + 1,
    };
    (fraction, length)
}

/// Appends a time of day given in milliseconds since midnight: `09:30:15.5`.
pub fn write_time(ms: i32, style: TimestampStyle, out: &mut Vec<u8>) {
    let ms = u32::try_from(ms.rem_euclid(86_400_000)).expect("not negative");
    write_clock(ms / 1000, ms % 1000 * 1_000_000, style, out);
}

/// Appends date and time, `value` being counted in `unit` since 1970-01-01T00:00:00; any value is written. A zone is
/// the caller's to append.
pub fn write_timestamp(value: i64, unit: TimeUnit, style: TimestampStyle, out: &mut Vec<u8>) {
    let (day, second_of_day, nanos) = split(value, unit);
    write_day_of(day, style, out);
    write_clock(second_of_day, nanos, style, out);
}

/// A timestamp as day, second of the day, and nanoseconds.
fn split(value: i64, unit: TimeUnit) -> (i64, u32, u32) {
    // Written out for each unit, so that every divisor is a constant.
    let (seconds, nanos) = match unit {
        TimeUnit::Second => (value, 0),
        TimeUnit::Millisecond => (value.div_euclid(1000), value.rem_euclid(1000) * 1_000_000),
        TimeUnit::Microsecond => (value.div_euclid(1_000_000), value.rem_euclid(1_000_000) * 1000),
        TimeUnit::Nanosecond => (value.div_euclid(1_000_000_000), value.rem_euclid(1_000_000_000)),
    };
    let second_of_day = u32::try_from(seconds.rem_euclid(SECONDS_PER_DAY)).expect("below a day");
    let nanos = u32::try_from(nanos).expect("below a second");
    (seconds.div_euclid(SECONDS_PER_DAY), second_of_day, nanos)
}

/// Appends a date and what separates it from a time.
fn write_day_of(day: i64, style: TimestampStyle, out: &mut Vec<u8>) {
    write_days(day, out);
    out.push(if style == TimestampStyle::Iso { b'T' } else { b' ' });
}

/// [`write_timestamp`] for the values of a column, neighbours of which are often of one second: its text is kept, since the
/// calendar and the clock take most of the time.
#[derive(Clone, Debug)]
pub struct TimestampWriter {
    unit: TimeUnit,
    style: TimestampStyle,
    /// The day and its second that `text` is of; none before the first.
    second: Option<(i64, u32)>,
    text: [u8; TimestampWriter::SECOND],
    length: usize,
}

/// The text of a timestamp: the first part up to its second, and its fraction, each with how many bytes of it count.
pub type TimestampText<'a> = ((&'a [u8; TimestampWriter::SECOND], usize), ([u8; 10], usize));

impl TimestampWriter {
    /// The most bytes of a date and time up to its second, whatever the year.
    pub const SECOND: usize = 32;

    /// A writer of values counted in `unit`.
    #[must_use]
    pub fn new(unit: TimeUnit, style: TimestampStyle) -> Self {
        Self { unit, style, second: None, text: [0; Self::SECOND], length: 0 }
    }

    /// Appends the date and time of a value.
    pub fn write(&mut self, value: i64, out: &mut Vec<u8>) {
        let ((second, length), (fraction, fraction_length)) = self.text(value);
        out.extend_from_slice(&second[..length]);
        out.extend_from_slice(&fraction[..fraction_length]);
    }

    /// The date and time of a value.
    #[inline]
    pub fn text(&mut self, value: i64) -> TimestampText<'_> {
        let (day, second_of_day, nanos) = split(value, self.unit);
        if self.second != Some((day, second_of_day)) {
            self.turn(day, second_of_day);
        }
        ((&self.text, self.length), fraction(nanos, self.style))
    }

    /// Goes to another second.
    #[inline(never)]
    fn turn(&mut self, day: i64, second_of_day: u32) {
        let mut text = Vec::with_capacity(Self::SECOND);
        write_day_of(day, self.style, &mut text);
        write_seconds(second_of_day, &mut text);
        self.second = Some((day, second_of_day));
        self.length = text.len();
        self.text[..text.len()].copy_from_slice(&text);
    }
}

/// Date and time as they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsedTimestamp {
    /// Seconds since 1970-01-01T00:00:00 of the date and time as written, whatever the zone.
    pub seconds: i64,
    /// Nanoseconds of the second.
    pub nanos: u32,
    /// The offset from UTC written behind it, seconds; 0 for `Z`, none where no zone was written.
    pub zone: Option<i32>,
}

impl ParsedTimestamp {
    /// The count of `unit` since 1970-01-01T00:00:00 (in UTC where a zone was written), digits of the second's fraction
    /// beyond `precision` cut off; none where an `i64` does not hold it.
    #[must_use]
    pub fn to_unit(self, unit: TimeUnit, precision: u8) -> Option<i64> {
        let (per_second, fraction, digits) = match unit {
            TimeUnit::Second => (1, 0, 0),
            TimeUnit::Millisecond => (1000, self.nanos / 1_000_000, 3),
            TimeUnit::Microsecond => (1_000_000, self.nanos / 1000, 6),
            TimeUnit::Nanosecond => (1_000_000_000, self.nanos, 9),
        };
        let fraction = match precision {
            cut if cut < digits => fraction - fraction % 10_u32.pow(u32::from(digits - cut)),
            _ => fraction,
        };
        let fraction = i64::from(fraction);
        let seconds = self.seconds.checked_sub(i64::from(self.zone.unwrap_or(0)))?;
        match seconds.checked_mul(per_second) {
            Some(whole) => whole.checked_add(fraction),
            // The first second of the range is not whole: its start is out of range, its end is not.
            None => (seconds + 1).checked_mul(per_second)?.checked_sub(per_second - fraction),
        }
    }
}

/// A reader of fixed-width digits; every method leaves the place where it is when it finds something else.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn eat(&mut self, expected: u8) -> Option<()> {
        let (first, rest) = self.rest.split_first()?;
        (*first == expected).then(|| self.rest = rest)
    }

    fn two(&mut self) -> Option<u32> {
        let [tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..] = self.rest else { return None };
        self.rest = rest;
        Some(u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
    }

    /// The digits at the front, at most twelve of them: their count and value.
    fn digits(&mut self) -> (usize, i64) {
        let count = self.rest.iter().take(12).take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        (count, digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
    }

    /// Four digits, or a sign and more of them, as they are written.
    fn year(&mut self) -> Option<i64> {
        if let Some(b'+' | b'-') = self.rest.first() {
            let negative = self.rest[0] == b'-';
            self.rest = &self.rest[1..];
            let (count, year) = self.digits();
            return (count >= 4 && (count > 4 || negative)).then_some(if negative { -year } else { year });
        }
        let (century, year) = (self.two()?, self.two()?);
        Some(i64::from(century * 100 + year))
    }

    /// Days since 1970-01-01.
    fn date(&mut self) -> Option<i64> {
        let year = self.year()?;
        self.eat(b'-')?;
        let month = self.two()?;
        self.eat(b'-')?;
        let day = self.two()?;
        ((1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month))
            .then(|| days_from_civil(year, month, day))
    }

    /// Second of the day and nanoseconds.
    fn clock(&mut self, seconds_optional: bool) -> Option<(u32, u32)> {
        let hour = self.two()?;
        self.eat(b':')?;
        let minute = self.two()?;
        let (mut second, mut nanos) = (0, 0);
        if self.rest.first() == Some(&b':') || !seconds_optional {
            self.eat(b':')?;
            second = self.two()?;
            if self.eat(b'.').is_some() {
                nanos = self.fraction()?;
            }
        }
        (hour < 24 && minute < 60 && second < 60).then_some((hour * 3600 + minute * 60 + second, nanos))
    }

    fn fraction(&mut self) -> Option<u32> {
        let (count, value) = self.digits();
        if !(1..=9).contains(&count) {
            return None;
        }
        let scale = 10_i64.pow(9 - u32::try_from(count).expect("at most nine"));
        u32::try_from(value * scale).ok()
    }

    /// `Z`, `+01:00`, `+0100` or `+01` as seconds east of UTC.
    fn zone(&mut self) -> Option<i32> {
        let negative = match self.rest {
            [b'Z' | b'z', rest @ ..] => {
                self.rest = rest;
                return Some(0);
            }
            [sign @ (b'+' | b'-'), rest @ ..] => {
                self.rest = rest;
                *sign == b'-'
            }
            _ => return None,
        };
        let hours = self.two()?;
        let minutes = if self.rest.is_empty() {
            0
        } else {
            let _ = self.eat(b':');
            self.two()?
        };
        let offset = i32::try_from(hours * 3600 + minutes * 60).ok()?;
        (offset <= 18 * 3600 && minutes < 60).then_some(if negative { -offset } else { offset })
    }
}

/// Reads `2024-01-01T09:30:15.5`, with a `T` or a blank in the middle, up to nine digits of a fraction, and behind it
/// nothing or a zone (`Z`, `+01:00`, `+0100`). Behind a `T` the seconds may be left out, as ISO 8601 and Flink have it.
///
/// # Errors
///
/// Text of another form, or a date or time that the calendar does not have (30 February, hour 24).
pub fn parse_timestamp(text: &str) -> Result<ParsedTimestamp, String> {
    let mut cursor = Cursor { rest: text.as_bytes() };
    let parsed = (|| {
        let days = cursor.date()?;
        let iso = cursor.eat(b'T').is_some();
        if !iso {
            cursor.eat(b' ')?;
        }
        let (second, nanos) = cursor.clock(iso)?;
        let zone = if cursor.rest.is_empty() { None } else { Some(cursor.zone()?) };
        let seconds = days.checked_mul(SECONDS_PER_DAY)?.checked_add(i64::from(second))?;
        cursor.rest.is_empty().then_some(ParsedTimestamp { seconds, nanos, zone })
    })();
    parsed.ok_or_else(|| format!("`{}` is not a date and time like 2024-01-31T09:30:15.5", shortened(text)))
}

/// Reads `2024-01-31` into days since 1970-01-01.
///
/// # Errors
///
/// Text of another form, a day the calendar does not have, or one beyond what 32 bits count.
pub fn parse_date(text: &str) -> Result<i32, String> {
    let mut cursor = Cursor { rest: text.as_bytes() };
    let days = cursor.date().filter(|_| cursor.rest.is_empty());
    days.and_then(|days| i32::try_from(days).ok())
        .ok_or_else(|| format!("`{}` is not a date like 2024-01-31", shortened(text)))
}

/// Reads `09:30:15.5` (or `09:30`) into milliseconds since midnight, digits of the fraction beyond `precision` (at most
/// 3) cut off.
///
/// # Errors
///
/// Text of another form, or a time that a day does not have.
pub fn parse_time(text: &str, precision: u8) -> Result<i32, String> {
    let mut cursor = Cursor { rest: text.as_bytes() };
    let clock = cursor.clock(true).filter(|_| cursor.rest.is_empty());
    clock
        .and_then(|(second, nanos)| {
            let ms = nanos / 1_000_000;
            let ms = ms - ms % 10_u32.pow(u32::from(3 - precision.min(3)));
            i32::try_from(second * 1000 + ms).ok()
        })
        .ok_or_else(|| format!("`{}` is not a time like 09:30:15.5", shortened(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn timestamps_are_written() {
        let check = |value, unit, style, expect: &str| {
            assert_eq!(written(|out| write_timestamp(value, unit, style, out)), expect);
        };
        let (ms, us, ns) = (TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond);
        let (iso, sql) = (TimestampStyle::Iso, |digits| TimestampStyle::Sql { digits });
        check(1_704_067_209_500, ms, iso, "2024-01-01T00:00:09.5");
        check(1_704_067_209_500, ms, sql(3), "2024-01-01 00:00:09.500");
        check(1_704_067_209_500, ms, sql(0), "2024-01-01 00:00:09");
        check(1_704_067_209_500, ms, sql(9), "2024-01-01 00:00:09.500000000");
        check(0, ms, iso, "1970-01-01T00:00:00");
        check(-1, ns, iso, "1969-12-31T23:59:59.999999999");
        check(1, us, iso, "1970-01-01T00:00:00.000001");
        check(951_782_400, TimeUnit::Second, iso, "2000-02-29T00:00:00");
        check(253_402_300_800, TimeUnit::Second, iso, "+10000-01-01T00:00:00");
        check(-62_167_219_201, TimeUnit::Second, iso, "-0001-12-31T23:59:59");
        check(i64::MAX, TimeUnit::Second, iso, "+292277026596-12-04T15:30:07");
        check(i64::MIN, TimeUnit::Second, iso, "-292277022657-01-27T08:29:52");
        check(i64::MIN, ns, iso, "1677-09-21T00:12:43.145224192");
        check(i64::MAX, ms, sql(3), "+292278994-08-17 07:12:55.807");
    }

    #[test]
    fn dates_and_times_are_written() {
        let date = |days, expect: &str| assert_eq!(written(|out| write_date(days, out)), expect);
        date(0, "1970-01-01");
        date(19_723, "2024-01-01");
        date(19_782, "2024-02-29");
        date(i32::MAX, "+5881580-07-11");
        date(i32::MIN, "-5877641-06-23");
        let time = |ms, style, expect: &str| assert_eq!(written(|out| write_time(ms, style, out)), expect);
        time(34_215_500, TimestampStyle::Iso, "09:30:15.5");
        time(34_215_000, TimestampStyle::Iso, "09:30:15");
        time(34_215_500, TimestampStyle::Sql { digits: 3 }, "09:30:15.500");
        time(-1, TimestampStyle::Iso, "23:59:59.999");
    }

    #[test]
    fn timestamps_are_read() {
        let check = |text: &str, expect: Option<(i64, u32, Option<i32>)>| {
            let parsed = parse_timestamp(text).ok().map(|parsed| (parsed.seconds, parsed.nanos, parsed.zone));
            assert_eq!(parsed, expect, "{text}");
        };
        check("1970-01-01T00:00:00", Some((0, 0, None)));
        check("1970-01-01 00:00:00", Some((0, 0, None)));
        check("1970-01-01T00:01", Some((60, 0, None)));
        check("2015-07-15T00:00:00.123", Some((1_436_918_400, 123_000_000, None)));
        check("1970-01-01T00:00:00.000000001Z", Some((0, 1, Some(0))));
        check("1970-01-01T00:00:00+01:00", Some((0, 0, Some(3600))));
        check("1970-01-01T00:00:00-0130", Some((0, 0, Some(-5400))));
        check("1970-01-01T00:00:00+01", Some((0, 0, Some(3600))));
        check("2024-02-29T23:59:59", Some((1_709_251_199, 0, None)));
        check("+10000-01-01T00:00:00", Some((253_402_300_800, 0, None)));
        check("-0001-12-31T23:59:59", Some((-62_167_219_201, 0, None)));
        for wrong in [
            "",
            "2024-02-30T00:00:00",
            "2023-02-29T00:00:00",
            "1900-02-29T00:00:00",
            "2024-13-01T00:00:00",
            "2024-00-01T00:00:00",
            "2024-01-00T00:00:00",
            "2024-01-01T24:00:00",
            "2024-01-01T00:60:00",
            "2024-01-01T00:00:60",
            "2024-01-01T00:00:00.",
            "2024-01-01T00:00:00.1234567890",
            "2024-01-01 00:00",
            "2024-01-01",
            "2024-01-01T",
            "2024-1-1T00:00:00",
            "24-01-01T00:00:00",
            "+2024-01-01T00:00:00",
            "12024-01-01T00:00:00",
            "2024-01-01T00:00:00 Z",
            "2024-01-01T00:00:00+19:00",
            "2024-01-01T00:00:00+1",
            "2024-01-01T00:00:00+01:",
            "2024-01-01T00:00:00+01:60",
            " 2024-01-01T00:00:00",
            "2024-01-01T00:00:00x",
            "-999999999999-01-01T00:00:00",
            "٢٠٢٤-01-01T00:00:00",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn timestamps_are_cut_to_their_precision() {
        let check = |text: &str, unit, precision, expect| {
            assert_eq!(parse_timestamp(text).unwrap().to_unit(unit, precision), expect, "{text}");
        };
        let (ms, us, ns) = (TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond);
        check("1970-01-01T00:00:01.987654321", ms, 3, Some(1987));
        check("1970-01-01T00:00:01.987654321", ms, 1, Some(1900));
        check("1970-01-01T00:00:01.987654321", ms, 0, Some(1000));
        check("1970-01-01T00:00:01.987654321", us, 6, Some(1_987_654));
        check("1970-01-01T00:00:01.987654321", us, 4, Some(1_987_600));
        check("1970-01-01T00:00:01.987654321", us, 9, Some(1_987_654));
        check("1970-01-01T00:00:01.987654321", TimeUnit::Second, 3, Some(1));
        check("1970-01-01T00:00:01.987654321", ns, 9, Some(1_987_654_321));
        check("1969-12-31T23:59:59.9999", ms, 3, Some(-1));
        check("1970-01-01T01:00:00+01:00", ms, 3, Some(0));
        check("2262-04-11T23:47:16.854775807", ns, 9, Some(i64::MAX));
        check("2262-04-11T23:47:16.854775808", ns, 9, None);
        check("1677-09-21T00:12:43.145224192", ns, 9, Some(i64::MIN));
        check("1677-09-21T00:12:43.145224191", ns, 9, None);
        check("-292000000-01-01T00:00:00", us, 6, None);
    }

    #[test]
    fn timestamps_read_back() {
        let mut random = fastrand::Rng::with_seed(1);
        for round in 0..20_000 {
            let value = if round % 2 == 0 { random.i64(..) } else { random.i64(-1 << 50..1 << 50) };
            for (unit, precision) in
                [(TimeUnit::Millisecond, 3), (TimeUnit::Microsecond, 6), (TimeUnit::Nanosecond, 9)]
            {
                for style in [TimestampStyle::Iso, TimestampStyle::Sql { digits: precision }] {
                    let mut writer = TimestampWriter::new(unit, style);
                    for near in [value, value.saturating_add(1), value.saturating_sub(86_400_000), value] {
                        let alone = written(|out| write_timestamp(near, unit, style, out));
                        let mut out = Vec::new();
                        writer.write(near, &mut out);
                        assert_eq!(out, alone.as_bytes());
                    }
                    let text = written(|out| write_timestamp(value, unit, style, out));
                    let parsed = parse_timestamp(&text).unwrap();
                    assert_eq!(parsed.to_unit(unit, precision), Some(value), "{text}");
                }
            }
            let days = random.i32(..);
            assert_eq!(parse_date(&written(|out| write_date(days, out))), Ok(days));
        }
    }

    #[test]
    fn dates_and_times_are_read() {
        assert_eq!(parse_date("2024-02-29"), Ok(19_782));
        for wrong in ["2023-02-29", "2024-02-29T00:00:00", "", "+9999999999-01-01"] {
            assert!(parse_date(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_time("09:30:15.5", 3), Ok(34_215_500));
        assert_eq!(parse_time("09:30:15.5", 0), Ok(34_215_000));
        assert_eq!(parse_time("09:30:15.123456789", 2), Ok(34_215_120));
        assert_eq!(parse_time("09:30", 3), Ok(34_200_000));
        for wrong in ["24:00:00", "9:30:15", "09:30:15Z", "", "09:30:61"] {
            assert!(parse_time(wrong, 3).is_err(), "{wrong}");
        }
    }
}
