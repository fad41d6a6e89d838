//! Timestamps of one minute, which mostly follow one another: only seconds and milliseconds are read anew.

use arrow::datatypes::TimeUnit;

use super::scalar;

/// The length of `2015-07-15T00:00`.
const PREFIX: usize = 16;
/// The length of `2015-07-15T00:00:00.000`.
const LENGTH: usize = 23;

/// The minute of the last timestamp.
pub(in crate::codec) struct Minute {
    /// Its text; zero at first, which no text is.
    prefix: [u8; PREFIX],
    /// Its start, in the unit.
    start: i64,
    /// How many units a millisecond has; 0 where this way is not to be taken.
    per_ms: i64,
    unit: TimeUnit,
    precision: u8,
    zoned: bool,
}

impl Minute {
    pub(in crate::codec) fn new(unit: TimeUnit, precision: u8, zoned: bool) -> Self {
        let per_ms = match unit {
            // Digits would have to be cut.
            _ if precision < 3 => 0,
            TimeUnit::Second => 0,
            TimeUnit::Millisecond => 1,
            TimeUnit::Microsecond => 1000,
            TimeUnit::Nanosecond => 1_000_000,
        };
        Self { prefix: [0; PREFIX], start: 0, per_ms, unit, precision, zoned }
    }

    /// The timestamp whose text begins with the 24 bytes and has this length, if it has three digits of a second's
    /// fraction, no zone or `Z` as the type asks for, and can be told at once.
    #[inline]
    pub(super) fn read(&mut self, text: &[u8; LENGTH + 1], length: usize) -> Option<i64> {
        let end = if self.zoned { text[LENGTH] == b'Z' } else { true };
        if length != LENGTH + usize::from(self.zoned) || !end {
            return None;
        }
        let (prefix, rest) = text.split_first_chunk::<PREFIX>()?;
        if *prefix != self.prefix && !self.turn(prefix) {
            return None;
        }
        Some(self.start + milliseconds(*rest.first_chunk()?)? * self.per_ms)
    }

    /// As [`Minute::read`], of a text with nothing behind it.
    pub(in crate::codec) fn read_text(&mut self, text: &[u8]) -> Option<i64> {
        let mut padded = [0; LENGTH + 1];
        padded.get_mut(..text.len())?.copy_from_slice(text);
        self.read(&padded, text.len())
    }

    /// Goes to another minute.
    #[cold]
    fn turn(&mut self, prefix: &[u8; PREFIX]) -> bool {
        let zone: &[u8] = if self.zoned { b"Z" } else { b"" };
        let at = |rest: &[u8]| {
            let text = [prefix, rest, zone].concat();
            let text = str::from_utf8(&text).ok()?;
            scalar::timestamp_of_text(text, self.unit, self.precision, self.zoned).ok()
        };
        // Where the minute's end is a timestamp, and no blank is at its ends, so is all that is in it.
        let (Some(start), Some(_)) = (at(b":00.000"), at(b":59.999")) else { return false };
        if self.per_ms == 0 || prefix[0].is_ascii_whitespace() {
            return false;
        }
        (self.prefix, self.start) = (*prefix, start);
        true
    }
}

/// The milliseconds of `:SS.mmm`, whatever the eighth byte is.
#[inline]
fn milliseconds(text: [u8; 8]) -> Option<i64> {
    const FORM: u64 = u64::from_le_bytes(*b":00.000\0");
    const USED: u64 = 0x00ff_ffff_ffff_ffff;
    // The most that each byte may be beyond the form, so that adding what is left to 127 does not touch the high bit: a
    // second's tens are at most 5.
    const ROOM: u64 = u64::from_le_bytes([127, 122, 118, 127, 118, 118, 118, 0]);
    const HIGH: u64 = 0x0080_8080_8080_8080;
    let digits = (u64::from_le_bytes(text) ^ FORM) & USED;
    if ((digits + ROOM) | digits) & HIGH != 0 {
        return None;
    }
    let [_, s10, s1, _, m100, m10, m1, _] = digits.to_le_bytes().map(i64::from);
    Some(s10 * 10_000 + s1 * 1000 + m100 * 100 + m10 * 10 + m1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_the_text_means() {
        let mut random = fastrand::Rng::with_seed(1);
        let units = [
            (TimeUnit::Millisecond, 0),
            (TimeUnit::Millisecond, 3),
            (TimeUnit::Microsecond, 4),
            (TimeUnit::Microsecond, 6),
            (TimeUnit::Nanosecond, 9),
        ];
        for (unit, precision) in units {
            for zoned in [false, true] {
                let mut minute = Minute::new(unit, precision, zoned);
                let mut read = 0;
                for round in 0..20_000 {
                    let mut text =
                        format!("2015-07-15T00:0{}:{:02}.{:03}", round / 5000, round % 70, round % 1000);
                    if random.u8(..50) == 0 {
                        text =
                            ["1677-09-21T00:12:43.145", "2262-04-11T23:47:16.854", "2262-04-11T23:46:16.854"]
                                [random.usize(..3)]
                            .to_owned();
                    }
                    let mut bytes = text.into_bytes();
                    if random.u8(..4) == 0 {
                        let at = random.usize(..bytes.len());
                        bytes[at] = b"0123456789:;./- TZ\0\x7f\xff\xb0"[random.usize(..22)];
                    }
                    bytes.extend(zoned.then_some(b'Z'));
                    let length = bytes.len();
                    bytes.resize(LENGTH + 1, b'"');
                    let found = minute.read(bytes.first_chunk().unwrap(), length);
                    let text = String::from_utf8_lossy(&bytes[..length]);
                    let expect = scalar::timestamp_of_text(&text, unit, precision, zoned).ok();
                    assert!(found.is_none() || found == expect, "{text}: {found:?} for {expect:?}");
                    read += usize::from(found.is_some());
                }
                assert_eq!(read > 10_000, precision >= 3, "{read} were read at once");
            }
        }
    }
}
