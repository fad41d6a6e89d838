//! Patterns of dates and times as Java writes them: `yyyy-MM-dd HH:mm:ss.SSS`, `dd MMM yyyy`, `'at' HH`.

use std::fmt::Write;

use crate::expr::calendar::{Day, Unit, extract_of_day};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A pattern made ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// A letter that stands for a field, and how many of it.
    Field(char, usize),
    Literal(String),
}

/// A moment: days since 1970-01-01 and nanoseconds of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) days: i64,
    pub(super) nanos: i64,
}

impl Pattern {
    /// Reads a pattern.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut characters = text.chars().peekable();
        while let Some(c) = characters.next() {
            if c == '\'' {
                if characters.next_if_eq(&'\'').is_some() {
                    literal.push('\'');
                    continue;
                }
                loop {
                    match characters.next() {
                        Some('\'') if characters.next_if_eq(&'\'').is_some() => literal.push('\''),
                        Some('\'') => break,
                        Some(other) => literal.push(other),
                        None => return Err("a quote in the pattern is not closed".to_owned()),
                    }
                }
            } else if c.is_ascii_alphabetic() {
                if !"yuMdDEaHhmsS".contains(c) {
                    return Err(format!(
                        "there is no field `{c}` in a pattern; y M d H h m s S a E D are there"
                    ));
                }
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                let mut count = 1;
                while characters.next_if_eq(&c).is_some() {
                    count += 1;
                }
                if count > 9 {
                    return Err(format!("there are too many `{c}` in the pattern"));
                }
                parts.push(Part::Field(if c == 'u' { 'y' } else { c }, count));
            } else {
                literal.push(c);
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// Appends a moment.
    pub(super) fn write(&self, moment: Moment, out: &mut String) {
        let day = Day::of(moment.days);
        let seconds = moment.nanos / 1_000_000_000;
        for part in &self.parts {
            let (letter, width) = match part {
                Part::Literal(text) => {
                    out.push_str(text);
                    continue;
                }
                Part::Field(letter, width) => (*letter, *width),
            };
            let value = match letter {
                'y' if width == 2 => day.year.rem_euclid(100),
                'y' => day.year,
                'M' if width >= 3 => {
                    let name = MONTHS[usize::try_from(day.month - 1).expect("0 to 11")];
                    out.push_str(if width == 3 { &name[..3] } else { name });
                    continue;
                }
                'M' => day.month,
                'd' => day.day,
                'D' => extract_of_day(Unit::DayOfYear, moment.days),
                'E' => {
                    let weekday = extract_of_day(Unit::DayOfWeek, moment.days) - 1;
                    let name = WEEKDAYS[usize::try_from(weekday).expect("0 to 6")];
                    out.push_str(if width <= 3 { &name[..3] } else { name });
                    continue;
                }
                'a' => {
                    out.push_str(if seconds < 43_200 { "AM" } else { "PM" });
                    continue;
                }
                'H' => seconds / 3600,
                'h' => (seconds / 3600 + 11) % 12 + 1,
                'm' => seconds / 60 % 60,
                's' => seconds % 60,
                _ => moment.nanos % 1_000_000_000 / 10_i64.pow(9 - u32::try_from(width).expect("at most 9")),
            };
            write!(out, "{value:0width$}").expect("a String takes everything");
        }
    }

    /// Reads a text of this pattern; none where it is not one, or not a date or time there is. What the pattern has not
    /// is 1970-01-01T00:00:00.
    pub(super) fn read(&self, text: &str) -> Option<Moment> {
        let (mut day, mut hour, mut minute, mut second, mut nanos) = (Day::of(0), 0, 0, 0, 0);
        let (mut half, mut afternoon) = (false, false);
        let mut rest = text;
        for (index, part) in self.parts.iter().enumerate() {
            let (letter, width) = match part {
                Part::Literal(text) => {
                    rest = rest.strip_prefix(text.as_str())?;
                    continue;
                }
                Part::Field(letter, width) => (*letter, *width),
            };
            match letter {
                'M' if width >= 3 => {
                    let names = MONTHS.iter().map(|name| if width == 3 { &name[..3] } else { name });
                    let (month, name) = (1..).zip(names).find(|(_, name)| starts_with(rest, name))?;
                    day.month = month;
                    rest = &rest[name.len()..];
                    continue;
                }
                'E' => {
                    let name = WEEKDAYS.iter().find(|name| starts_with(rest, &name[..3]))?;
                    rest = &rest[if starts_with(rest, name) { name.len() } else { 3 }..];
                    continue;
                }
                'a' => {
                    afternoon = starts_with(rest, "PM");
                    rest = if afternoon || starts_with(rest, "AM") { &rest[2..] } else { return None };
                    half = true;
                    continue;
                }
                _ => {}
            }
            // Where digits follow at once the width is exact, else it is the least.
            let exact = matches!(self.parts.get(index + 1), Some(Part::Field(..)));
            let (value, digits) =
                number(rest, width, if exact || letter == 'S' { width } else { width.max(9) })?;
            rest = &rest[digits..];
            match letter {
                'y' if width == 2 => day.year = 2000 + value,
                'y' => day.year = value,
                'M' => day.month = value,
                'd' => day.day = value,
                'D' => return None,
                'H' | 'h' => hour = value,
                'm' => minute = value,
                's' => second = value,
                _ => nanos = value * 10_i64.pow(9 - u32::try_from(digits).ok()?),
            }
        }
        if half {
            hour = hour % 12 + if afternoon { 12 } else { 0 };
        }
        let valid = rest.is_empty() && day.exists() && hour < 24 && minute < 60 && second < 60;
        let of_day = (hour * 3600 + minute * 60 + second) * 1_000_000_000 + nanos;
        valid.then(|| Moment { days: day.days(), nanos: of_day })
    }
}

fn starts_with(text: &str, name: &str) -> bool {
    text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

/// The number of at least `least` and at most `most` digits at the start, and how many digits it has.
fn number(text: &str, least: usize, most: usize) -> Option<(i64, usize)> {
    let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if digits < least {
        return None;
    }
    Some((text[..digits].parse().ok()?, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_write_and_read() {
        let moment = Moment { days: 19_782, nanos: 49_815_123_000_000 };
        for (pattern, text) in [
            ("yyyy-MM-dd HH:mm:ss.SSS", "2024-02-29 13:50:15.123"),
            ("dd MMM yy, h:mm a", "29 Feb 24, 1:50 PM"),
            ("EEE D 'o''clock' HHmm", "Thu 60 o'clock 1350"),
            ("yyyyMMddHHmmss", "20240229135015"),
        ] {
            let mut out = String::new();
            Pattern::new(pattern).unwrap().write(moment, &mut out);
            assert_eq!(out, text, "{pattern}");
        }
        for (pattern, text, expect) in [
            ("yyyy-MM-dd HH:mm:ss.SSS", "2024-02-29 13:50:15.123", Some(moment)),
            ("yyyyMMdd", "20240229", Some(Moment { days: 19_782, nanos: 0 })),
            ("d/M/yyyy", "29/2/2024", Some(Moment { days: 19_782, nanos: 0 })),
            ("d/M/yyyy", "30/2/2024", None),
            ("MMM d yyyy h a", "feb 29 2024 12 AM", Some(Moment { days: 19_782, nanos: 0 })),
            ("HH", "24", None),
            ("yyyy", "日", None),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().read(text), expect, "{text} as {pattern}");
        }
        assert!(Pattern::new("YYYY").is_err() && Pattern::new("'").is_err());
    }
}
