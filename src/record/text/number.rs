//! Numbers: integers, doubles as Java lays them out, exact decimals.

use super::shortened;

/// Appends an integer.
#[inline]
pub fn write_integer(value: impl Into<i64>, out: &mut Vec<u8>) {
    let value: i64 = value.into();
    let magnitude = value.unsigned_abs();
    if value < 0 {
        out.push(b'-');
    }
    write_natural(magnitude, out);
}

#[inline]
fn write_natural(value: u64, out: &mut Vec<u8>) {
    if value < EIGHT_DIGITS {
        // All bytes are copied, because so many are one store, and those too many cut off.
        let (text, length) = short_digits(value);
        let end = out.len() + length;
        out.extend_from_slice(&text);
        return out.truncate(end);
    }
    write_long(value, out);
}

/// Appends a number of more than eight digits.
fn write_long(value: u64, out: &mut Vec<u8>) {
    if value >= EIGHT_DIGITS * EIGHT_DIGITS {
        return out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
    let (first, length) = short_digits(value / EIGHT_DIGITS);
    out.extend_from_slice(&first[..length]);
    out.extend_from_slice(&padded_digits(value % EIGHT_DIGITS));
}

/// Numbers below this have at most eight digits.
pub const EIGHT_DIGITS: u64 = 100_000_000;
/// Eight times the digit 0.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The digits of a number below [`EIGHT_DIGITS`] at the front of a text, and how many there are.
#[inline]
#[must_use]
pub fn short_digits(value: u64) -> ([u8; 8], usize) {
    let digits = eight_digits(value);
    // The last digit is there even where it is 0.
    let zeros = (digits | 1).leading_zeros() / 8;
    let text = (digits | ZEROS) << (zeros * 8);
    (text.to_be_bytes(), 8 - zeros as usize)
}

/// The digits of a number below [`EIGHT_DIGITS`], with zeros before them.
#[inline]
#[must_use]
pub fn padded_digits(value: u64) -> [u8; 8] {
    (eight_digits(value) | ZEROS).to_be_bytes()
}

/// The eight digits of a number below 100,000,000, one a byte, the first of them in the highest: halves are divided side
/// by side in one word, as in Paul Khuong's "How to print integers really fast".
#[inline]
fn eight_digits(value: u64) -> u64 {
    let fours = (value / 10_000) << 32 | (value % 10_000);
    // Of both halves at once: x / 100 is x · 10486 / 2^20 below 10,000, and x / 10 is x · 103 / 2^10 below 100.
    let hundreds = (fours * 10_486) >> 20 & 0x7f_0000_007f;
    let twos = hundreds << 16 | (fours - 100 * hundreds);
    let tens = (twos * 103) >> 10 & 0xf_000f_000f_000f;
    tens << 8 | (twos - 10 * tens)
}

/// Appends a double as Java's `Double.toString` does: the shortest digits that read back as the same double, plain from
/// 0.001 to below 10,000,000 and otherwise with an exponent: `100.0`, `1.0E10`, `1.0E-4`, `NaN`, `-Infinity`.
pub fn write_double(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        let magnitude = value.abs();
        let plain = value == 0.0 || (1e-3..1e7).contains(&magnitude);
        if magnitude < f64::MIN_POSITIVE && value != 0.0 {
            return write_subnormal(&format!("{value:.1e}"), zmij::Buffer::new().format_finite(value), out);
        }
        write_shortest(zmij::Buffer::new().format_finite(value), plain, out);
    } else {
        write_not_finite(value, out);
    }
}

/// Appends a float as Java's `Float.toString` does; see [`write_double`].
pub fn write_float(value: f32, out: &mut Vec<u8>) {
    if value.is_finite() {
        let magnitude = value.abs();
        let plain = value == 0.0 || (1e-3..1e7).contains(&magnitude);
        if magnitude < f32::MIN_POSITIVE && value != 0.0 {
            return write_subnormal(&format!("{value:.1e}"), zmij::Buffer::new().format_finite(value), out);
        }
        write_shortest(zmij::Buffer::new().format_finite(value), plain, out);
    } else {
        write_not_finite(f64::from(value), out);
    }
}

fn write_not_finite(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(if value.is_nan() {
        b"NaN"
    } else if value > 0.0 {
        b"Infinity"
    } else {
        b"-Infinity"
    });
}

/// Java shows at least two digits, the nearest two where one would do (`4.9E-324`, not `5.0E-324`); the difference can
/// only show among the numbers next to zero, whose own precision is that low.
fn write_subnormal(two_digits: &str, shortest: &str, out: &mut Vec<u8>) {
    let digits = shortest.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    write_shortest(if digits < 2 { two_digits } else { shortest }, false, out);
}

/// Lays out digits given as `-12.5` or `-1.25e-7` as Java does.
fn write_shortest(text: &str, plain: bool, out: &mut Vec<u8>) {
    if plain && !text.contains('e') {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let mut exponent: i32 = exponent.parse().expect("the exponent of a finite number is small");
    let magnitude = mantissa.strip_prefix('-').unwrap_or(mantissa);
    if magnitude.len() < mantissa.len() {
        out.push(b'-');
    }
    // The digits without the point and without zeros at either end; `exponent` becomes that of the first digit.
    let mut digits = [0; 40];
    let mut length = 0;
    let point = magnitude.find('.').unwrap_or(magnitude.len());
    exponent += i32::try_from(point).expect("a few digits") - 1;
    for digit in magnitude.bytes().filter(u8::is_ascii_digit) {
        if length == 0 && digit == b'0' {
            exponent -= 1;
        } else if length < digits.len() {
            digits[length] = digit;
            length += 1;
        }
    }
    while length > 1 && digits[length - 1] == b'0' {
        length -= 1;
    }
    let digits = &digits[..length];
    if plain {
        write_plain(digits, exponent, out);
    } else {
        out.push(digits[0]);
        out.push(b'.');
        out.extend_from_slice(if length > 1 { &digits[1..] } else { b"0" });
        out.push(b'E');
        write_integer(exponent, out);
    }
}

/// Digits as a plain number whose first digit stands for 10 to the power of `exponent`.
fn write_plain(digits: &[u8], exponent: i32, out: &mut Vec<u8>) {
    let whole = usize::try_from(exponent + 1).unwrap_or(0);
    if whole == 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', usize::try_from(-exponent - 1).unwrap_or(0)));
        out.extend_from_slice(digits);
    } else if digits.len() <= whole {
        out.extend_from_slice(digits);
        out.extend(std::iter::repeat_n(b'0', whole - digits.len()));
        out.extend_from_slice(b".0");
    } else {
        out.extend_from_slice(&digits[..whole]);
        out.push(b'.');
        out.extend_from_slice(&digits[whole..]);
    }
}

/// Appends the decimal `value` / 10^`scale`, plain, with all `scale` digits behind the point.
pub fn write_decimal(value: i128, scale: u8, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let magnitude = value.unsigned_abs();
    if let Some((whole, (fraction, length))) = short_decimal(magnitude, scale) {
        write_natural(whole, out);
        let end = out.len() + length;
        out.extend_from_slice(&fraction);
        return out.truncate(end);
    }
    write_any_decimal(magnitude, usize::from(scale), out);
}

/// What stands before the point of the decimal `value` / 10^`scale`, and the point with what is behind it, of which so many
/// bytes count; none where that is not told at once.
#[inline]
#[must_use]
pub fn short_decimal(value: u128, scale: u8) -> Option<(u64, ([u8; 9], usize))> {
    let value = u64::try_from(value).ok()?;
    // A division by what the compiler knows is a multiplication.
    let (whole, below) = match scale {
        1 => (value / 10, value % 10 * 10_000_000),
        2 => (value / 100, value % 100 * 1_000_000),
        3 => (value / 1000, value % 1000 * 100_000),
        4 => (value / 10_000, value % 10_000 * 10_000),
        5 => (value / 100_000, value % 100_000 * 1000),
        6 => (value / 1_000_000, value % 1_000_000 * 100),
        7 => (value / 10_000_000, value % 10_000_000 * 10),
        8 => (value / EIGHT_DIGITS, value % EIGHT_DIGITS),
        _ => return None,
    };
    let mut text = [b'.'; 9];
    text[1..].copy_from_slice(&padded_digits(below));
    Some((whole, (text, usize::from(scale) + 1)))
}

fn write_any_decimal(value: u128, scale: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value);
    if scale == 0 {
        out.extend_from_slice(digits.as_bytes());
    } else if digits.len() > scale {
        let (whole, fraction) = digits.as_bytes().split_at(digits.len() - scale);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', scale - digits.len()));
        out.extend_from_slice(digits.as_bytes());
    }
}

/// A number's text taken apart: sign, digits before and behind the point, exponent.
struct Literal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Literal<'a> {
    fn of(text: &'a [u8]) -> Option<Self> {
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let (whole, rest) = text.split_at(digits_of(text));
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => rest.split_at(digits_of(rest)),
            _ => (&rest[..0], rest),
        };
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => exponent_of(rest)?,
            _ => return None,
        };
        (whole.len() + fraction.len() > 0).then_some(Self { negative, whole, fraction, exponent })
    }

    /// The digits in order, leading zeros included.
    fn digits(&self) -> impl Iterator<Item = u8> + '_ {
        self.whole.iter().chain(self.fraction).map(|digit| digit - b'0')
    }
}

fn digits_of(text: &[u8]) -> usize {
    text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len())
}

/// Exponents beyond any number's text are all the same: they stop growing at a billion.
fn exponent_of(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits_of(digits) < digits.len() {
        return None;
    }
    let value =
        digits.iter().fold(0, |value: i64, digit| (value * 10 + i64::from(digit - b'0')).min(1_000_000_000));
    Some(if negative { -value } else { value })
}

/// The decimal a number's text stands for, times 10^`scale`: exact from the digits, never by way of a double. Digits
/// behind the scale are rounded half up (away from zero), as Flink does.
///
/// # Errors
///
/// Text that is not a number, or a number that needs more than `precision` digits.
pub fn parse_decimal(text: &[u8], precision: u8, scale: u8) -> Result<i128, String> {
    let shown = || shortened(&String::from_utf8_lossy(text));
    let literal = Literal::of(text).ok_or_else(|| format!("`{}` is not a number", shown()))?;
    let too_large = || format!("{} does not fit DECIMAL({precision}, {scale})", shown());
    let limit = 10_i128.pow(u32::from(precision.min(38)));

    let count = i64::try_from(literal.whole.len() + literal.fraction.len()).expect("text in memory");
    // How many of the digits stand before the last place that the scale keeps.
    let kept =
        i64::try_from(literal.whole.len()).expect("text in memory") + literal.exponent + i64::from(scale);
    let mut value: i128 = 0;
    for (index, digit) in (0..).zip(literal.digits()) {
        if index == kept {
            value += i128::from(digit >= 5);
        }
        if index >= kept {
            break;
        }
        if value >= limit / 10 {
            return Err(too_large());
        }
        value = value * 10 + i128::from(digit);
    }
    if value != 0 {
        for _ in count..kept {
            if value >= limit / 10 {
                return Err(too_large());
            }
            value *= 10;
        }
    }
    if value >= limit {
        return Err(too_large());
    }
    Ok(if literal.negative { -value } else { value })
}

/// Whether a number's text stands for a whole number, as `1.0` and `15e1` do; text that is not a number does not.
#[must_use]
pub fn is_whole(text: &[u8]) -> bool {
    Literal::of(text).is_some_and(|literal| {
        let whole = i64::try_from(literal.whole.len()).expect("text in memory") + literal.exponent;
        literal.digits().skip(usize::try_from(whole).unwrap_or(0)).all(|digit| digit == 0)
    })
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
    fn integers_are_written_as_the_standard_library_writes_them() {
        let mut random = fastrand::Rng::with_seed(7);
        let edges = (0..19).flat_map(|power| {
            let ten = 10_i64.pow(power);
            [ten - 1, ten, ten + 1, -ten, 1 - ten]
        });
        let drawn = (0..200_000).map(|_| random.i64(..) >> random.u32(0..64));
        let mut text = Vec::new();
        for value in edges.chain([i64::MIN, i64::MAX]).chain(drawn).chain(0..20_000) {
            text.clear();
            text.push(b'x');
            write_integer(value, &mut text);
            assert_eq!(String::from_utf8_lossy(&text), format!("x{value}"));
        }
    }

    #[test]
    fn doubles_look_as_in_java() {
        let check = |value: f64, expect: &str| assert_eq!(written(|out| write_double(value, out)), expect);
        check(0.0, "0.0");
        check(-0.0, "-0.0");
        check(1.0, "1.0");
        check(100.0, "100.0");
        check(0.1 + 0.2, "0.30000000000000004");
        check(0.001, "0.001");
        check(0.000_999, "9.99E-4");
        check(0.0001, "1.0E-4");
        check(-1234.5, "-1234.5");
        check(9_999_999.0, "9999999.0");
        check(9_999_999.999_999_998, "9999999.999999998");
        check(1e7, "1.0E7");
        check(12_345_678.0, "1.2345678E7");
        check(1e10, "1.0E10");
        check(1.5e300, "1.5E300");
        check(2e23, "2.0E23");
        check(1e21, "1.0E21");
        check(123_456_789_012_345_680.0, "1.2345678901234568E17");
        check(f64::MAX, "1.7976931348623157E308");
        check(f64::MIN_POSITIVE, "2.2250738585072014E-308");
        check(5e-324, "4.9E-324");
        check(-1e-323, "-9.9E-324");
        check(f64::NAN, "NaN");
        check(f64::INFINITY, "Infinity");
        check(f64::NEG_INFINITY, "-Infinity");
    }

    #[test]
    fn floats_look_as_in_java() {
        let check = |value: f32, expect: &str| assert_eq!(written(|out| write_float(value, out)), expect);
        check(0.1, "0.1");
        check(3.0e10, "3.0E10");
        check(16_777_216.0, "1.6777216E7");
        check(f32::MAX, "3.4028235E38");
        check(1e-45, "1.4E-45");
        check(f32::NAN, "NaN");
    }

    #[test]
    fn doubles_read_back() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let value = f64::from_bits(random.u64(..));
            if value.is_finite() {
                let text = written(|out| write_double(value, out));
                assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{text}");
            }
            let value = (random.f64() - 0.5) * 10_f64.powi(random.i32(-5..10));
            let text = written(|out| write_double(value, out));
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{text}");
            assert_eq!(text.contains('E'), !(1e-3..1e7).contains(&value.abs()), "{text}");
        }
    }

    #[test]
    fn decimals_are_written_plain_with_full_scale() {
        let check =
            |value, scale, expect: &str| assert_eq!(written(|out| write_decimal(value, scale, out)), expect);
        check(0, 0, "0");
        check(0, 3, "0.000");
        check(5, 2, "0.05");
        check(-5, 2, "-0.05");
        check(12345, 2, "123.45");
        check(100, 2, "1.00");
        check(-12345, 0, "-12345");
        check(10_i128.pow(38) - 1, 38, &format!("0.{}", "9".repeat(38)));
        check(i128::MIN, 1, "-17014118346046923173168730371588410572.8");
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..100_000 {
            let (value, scale) = (random.u64(..) >> random.u32(0..64), random.usize(1..=8));
            let long = written(|out| write_any_decimal(u128::from(value), scale, out));
            check(i128::from(value), u8::try_from(scale).unwrap(), &long);
        }
    }

    #[test]
    fn decimals_are_read_exactly() {
        let check = |text: &str, precision, scale, expect: Option<i128>| {
            assert_eq!(parse_decimal(text.as_bytes(), precision, scale).ok(), expect, "{text}");
        };
        check("0", 1, 0, Some(0));
        check("-0", 1, 0, Some(0));
        check("0.1", 10, 2, Some(10));
        check("12.345", 10, 2, Some(1235));
        check("12.344999", 10, 2, Some(1234));
        check("-12.345", 10, 2, Some(-1235));
        check("0.005", 3, 2, Some(1));
        check("0.0049", 3, 2, Some(0));
        check("0.5", 1, 0, Some(1));
        check("0.05", 1, 0, Some(0));
        check("1e3", 10, 2, Some(100_000));
        check("1.5E-3", 10, 4, Some(15));
        check("15e-1", 10, 0, Some(2));
        check("1e-400", 10, 2, Some(0));
        check("0e999999999999", 10, 2, Some(0));
        check("0.000e5", 10, 2, Some(0));
        check("999.99", 5, 2, Some(99_999));
        check("999.995", 5, 2, None);
        check("999.994", 5, 2, Some(99_999));
        check("1000", 5, 2, None);
        check("1e400", 38, 0, None);
        check("99999999999999999999999999999999999999", 38, 0, Some(10_i128.pow(38) - 1));
        check("100000000000000000000000000000000000000", 38, 0, None);
        check(&"9".repeat(39), 38, 0, None);
        check(&"9".repeat(38), 38, 1, None);
        check("9007199254740993", 38, 0, Some(9_007_199_254_740_993));
        check(".5", 3, 1, Some(5));
        check("5.", 3, 1, Some(50));
        check("+5", 3, 1, Some(50));
        check(&format!("{}1", "0".repeat(100)), 1, 0, Some(1));
        for wrong in ["", "-", ".", "1e", "1e+", "abc", "1.2.3", "0x10", "1 ", "NaN", "--1", "1e1.5"] {
            check(wrong, 10, 2, None);
        }
    }
    #[test]
    fn whole_numbers_are_told_apart() {
        for whole in ["0", "12", "-1.0", "1e3", "1.50e1", "150e-1", "0.0e-9", "1e999999999999"] {
            assert!(is_whole(whole.as_bytes()), "{whole}");
        }
        for other in ["0.1", "1.0000000000000000000000001", "15e-1", "1e-400", "", "x"] {
            assert!(!is_whole(other.as_bytes()), "{other}");
        }
    }
}
