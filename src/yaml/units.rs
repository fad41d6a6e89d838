//! Durations, sizes and rates: a number with its unit. A bare number is an error, because nobody remembers which unit
//! it was.

use super::Node;
use crate::error::{Problem, Problems};

/// So many things per so much time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// How many; a share of all (0.05 for `5%`) where `percent` is set.
    pub count: f64,
    /// Whether `count` is a share of all.
    pub percent: bool,
    /// In which time, milliseconds.
    pub per_ms: i64,
}

const NO_DURATION: &str = "a duration needs a number and a unit";

const DURATIONS: &[(&str, i64)] =
    &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// The duration in milliseconds: `500ms`, `10s`, `1m`, `2h`, `1d`, and sums such as `1h30m`.
pub fn duration_ms(node: &Node, problems: &mut Problems) -> Option<i64> {
    node.read_as(problems, parse_duration_ms, || {
        let is_negative = node.text().and_then(parse_offset_ms).is_some();
        let what = if is_negative { "this duration cannot be negative" } else { NO_DURATION };
        Problem::error(node.at, what).help("write for instance 500ms, 10s, 1m, 2h or 1d")
    })
}

/// The duration in milliseconds by which something is moved: `8h`, or `-8h` for the other way.
pub fn offset_ms(node: &Node, problems: &mut Problems) -> Option<i64> {
    node.read_as(problems, parse_offset_ms, || {
        Problem::error(node.at, NO_DURATION).help("write for instance 30m, 8h or -8h")
    })
}

/// The size in bytes: `64KiB`, `128MiB`, `1GB`.
pub fn size_bytes(node: &Node, problems: &mut Problems) -> Option<u64> {
    node.read_as(problems, parse_size_bytes, || {
        Problem::error(node.at, "a size needs a number and a unit")
            .help("write for instance 512B, 64KiB, 128MiB or 1GiB")
    })
}

/// The rate: `20 per 1s`, `5% per 1m`.
pub fn rate(node: &Node, problems: &mut Problems) -> Option<Rate> {
    node.read_as(problems, parse_rate, || {
        Problem::error(node.at, "a rate is a number and the time it is per")
            .help("write for instance 20 per 1s or 5% per 1m")
    })
}

/// The duration in milliseconds, as [`duration_ms`] reads it; none where it is not written so.
#[must_use]
pub fn parse_duration_ms(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let mut total: i64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = leading_number(rest)?;
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (_, factor) = DURATIONS.iter().find(|(unit, _)| *unit == &after[..unit_end])?;
        total = total.checked_add(i64::try_from(number).ok()?.checked_mul(*factor)?)?;
        rest = &after[unit_end..];
    }
    Some(total)
}

fn parse_offset_ms(text: &str) -> Option<i64> {
    match text.trim().strip_prefix('-') {
        Some(rest) => parse_duration_ms(rest).map(|ms| -ms),
        None => parse_duration_ms(text),
    }
}

fn parse_size_bytes(text: &str) -> Option<u64> {
    let (number, unit) = leading_number(text.trim())?;
    let (_, factor) = SIZES.iter().find(|(name, _)| *name == unit.trim())?;
    number.checked_mul(*factor)
}

fn parse_rate(text: &str) -> Option<Rate> {
    let (count, per) = text.split_once(" per ")?;
    let count = count.trim();
    let per_ms = parse_duration_ms(per).filter(|ms| *ms > 0)?;
    let (digits, percent) = count.strip_suffix('%').map_or((count, false), |share| (share, true));
    let number: f64 =
        digits.trim().replace('_', "").parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0)?;
    Some(Rate { count: if percent { number / 100.0 } else { number }, percent, per_ms })
}

/// The whole number at the start of `text` (underscores allowed inside) and the rest.
fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let number = text[..end].replace('_', "").parse().ok()?;
    Some((number, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expect) in [
            ("10s", Some(10_000)),
            ("500ms", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("2d", Some(172_800_000)),
            ("10", None),
            ("", None),
            ("s", None),
            ("10 parsecs", None),
            ("99999999999999999999s", None),
            ("9223372036854775807d", None),
        ] {
            assert_eq!(parse_duration_ms(text), expect, "{text}");
        }
    }

    #[test]
    fn offsets_may_be_negative() {
        for (text, expect) in
            [("8h", Some(28_800_000)), ("-1m30s", Some(-90_000)), ("--1s", None), ("-", None)]
        {
            assert_eq!(parse_offset_ms(text), expect, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expect) in
            [("64KiB", Some(65_536)), ("1 MiB", Some(1 << 20)), ("7B", Some(7)), ("7", None), ("1e3B", None)]
        {
            assert_eq!(parse_size_bytes(text), expect, "{text}");
        }
    }

    #[test]
    fn rates() {
        let rate = |count, percent, per_ms| Some(Rate { count, percent, per_ms });
        for (text, expect) in [
            ("20 per 1s", rate(20.0, false, 1000)),
            ("5% per 1m", rate(0.05, true, 60_000)),
            ("5%", None),
            ("x per 1s", None),
            ("5 per 0s", None),
            ("-1 per 1s", None),
        ] {
            assert_eq!(parse_rate(text), expect, "{text}");
        }
    }
}
