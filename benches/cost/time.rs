//! Times to milliseconds since 1970 and back. A stream moves slowly: the minute met last is remembered as a number and
//! as text.

/// `2015-07-15T00:00`
const MINUTE_BYTES: usize = 16;
/// `2015-07-15T00:00:00.000`, as the generator writes all times.
pub const TIME_BYTES: usize = 23;
const MINUTE_MS: i64 = 60_000;

/// The minute that was read or written last.
pub struct Minute {
    text: [u8; MINUTE_BYTES],
    start_ms: i64,
}

impl Minute {
    /// The first of 1970.
    pub fn new() -> Self {
        Self { text: *b"1970-01-01T00:00", start_ms: 0 }
    }

    /// Milliseconds of a time of [`TIME_BYTES`] at the start of the text.
    #[inline]
    pub fn parse(&mut self, text: &[u8]) -> i64 {
        let (minute, rest) = text.split_first_chunk::<MINUTE_BYTES>().expect("a whole time");
        if *minute != self.text {
            self.text = *minute;
            self.start_ms = minute_ms(minute);
        }
        let rest: &[u8; TIME_BYTES - MINUTE_BYTES] = rest.first_chunk().expect("a whole time");
        let digit = |at: usize| i64::from(rest[at] - b'0');
        self.start_ms + (digit(1) * 10 + digit(2)) * 1000 + digit(4) * 100 + digit(5) * 10 + digit(6)
    }

    /// Appends a time without the zeros at the end of its fraction.
    #[inline]
    pub fn write(&mut self, at_ms: i64, out: &mut Vec<u8>) {
        let in_minute_ms = at_ms - self.start_ms;
        if !(0..MINUTE_MS).contains(&in_minute_ms) {
            self.start_ms = at_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
            self.text = minute_text(self.start_ms);
        }
        let digit = |value: i64| b'0' + u8::try_from(value % 10).expect("a digit");
        let rest = at_ms - self.start_ms;
        let (second, ms) = (rest / 1000, rest % 1000);
        let fraction =
            [b':', digit(second / 10), digit(second), b'.', digit(ms / 100), digit(ms / 10), digit(ms)];
        let length = match fraction {
            [.., b'0', b'0', b'0'] => 3,
            [.., b'0', b'0'] => 5,
            [.., b'0'] => 6,
            _ => 7,
        };
        out.extend_from_slice(&self.text);
        out.extend_from_slice(&fraction[..length]);
    }
}

fn minute_ms(text: &[u8; MINUTE_BYTES]) -> i64 {
    let number = |from: usize, to: usize| {
        text[from..to].iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
    };
    let days = days_from_civil(number(0, 4), number(5, 7), number(8, 10));
    ((days * 24 + number(11, 13)) * 60 + number(14, 16)) * MINUTE_MS
}

fn minute_text(at_ms: i64) -> [u8; MINUTE_BYTES] {
    let minutes = at_ms.div_euclid(MINUTE_MS);
    let (year, month, day) = civil_from_days(minutes.div_euclid(24 * 60));
    let of_day = minutes.rem_euclid(24 * 60);
    let text = format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}", of_day / 60, of_day % 60);
    text.into_bytes().try_into().expect("a year of four digits")
}

/// Days since 1970-01-01 of a date. H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of so many days since 1970-01-01; the same source, `civil_from_days`.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}
