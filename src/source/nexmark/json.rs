//! Events as JSON, one object each, without going through columns: this is how test data and benchmarks' input are
//! made, millions of events a second.

use super::{Auction, Bid, Event, Form, Generator, Person};

impl Generator {
    /// Appends event `number` as a JSON object, without a newline.
    pub fn write_json(&self, number: u64, form: Form, out: &mut Vec<u8>) {
        let flat = form == Form::Flat;
        match self.event(number) {
            Event::Person(person) => {
                let nested: &[u8] = br#"{"event_type":0,"person":{"id":"#;
                out.extend_from_slice(if flat { br#"{"event_type":0,"id":"# } else { nested });
                write_person(&person, out);
            }
            Event::Auction(auction) => {
                let nested: &[u8] = br#"{"event_type":1,"auction":{"id":"#;
                out.extend_from_slice(if flat { br#"{"event_type":1,"id":"# } else { nested });
                write_auction(&auction, out);
            }
            Event::Bid(bid) => {
                let nested: &[u8] = br#"{"event_type":2,"bid":{"auction":"#;
                out.extend_from_slice(if flat { br#"{"event_type":2,"auction":"# } else { nested });
                write_bid(&bid, out);
            }
        }
        out.extend_from_slice(if flat { br#""}"# } else { br#""}}"# });
    }
}

/// The fields from the value of `id` up to the last one's closing quote. No text of an event needs escaping.
fn write_person(person: &Person, out: &mut Vec<u8>) {
    integer(person.id(), out);
    out.extend_from_slice(br#","name":""#);
    person.write_name(out);
    out.extend_from_slice(br#"","emailAddress":""#);
    person.write_email_address(out);
    out.extend_from_slice(br#"","creditCard":""#);
    person.write_credit_card(out);
    out.extend_from_slice(br#"","city":""#);
    out.extend_from_slice(person.city().as_bytes());
    out.extend_from_slice(br#"","state":""#);
    out.extend_from_slice(person.state().as_bytes());
    out.extend_from_slice(br#"","dateTime":""#);
    timestamp(person.time_ms(), out);
    out.extend_from_slice(br#"","extra":""#);
    person.write_extra(out);
}

/// As [`write_person`].
fn write_auction(auction: &Auction, out: &mut Vec<u8>) {
    integer(auction.id(), out);
    out.extend_from_slice(br#","itemName":""#);
    auction.write_item_name(out);
    out.extend_from_slice(br#"","description":""#);
    auction.write_description(out);
    out.extend_from_slice(br#"","initialBid":"#);
    integer(auction.initial_bid(), out);
    out.extend_from_slice(br#","reserve":"#);
    integer(auction.reserve(), out);
    out.extend_from_slice(br#","dateTime":""#);
    timestamp(auction.time_ms(), out);
    out.extend_from_slice(br#"","expires":""#);
    timestamp(auction.expires_ms(), out);
    out.extend_from_slice(br#"","seller":"#);
    integer(auction.seller(), out);
    out.extend_from_slice(br#","category":"#);
    integer(auction.category(), out);
    out.extend_from_slice(br#","extra":""#);
    auction.write_extra(out);
}

/// As [`write_person`], from the value of `auction`.
fn write_bid(bid: &Bid, out: &mut Vec<u8>) {
    integer(bid.auction(), out);
    out.extend_from_slice(br#","bidder":"#);
    integer(bid.bidder(), out);
    out.extend_from_slice(br#","price":"#);
    integer(bid.price(), out);
    out.extend_from_slice(br#","channel":""#);
    bid.write_channel(out);
    out.extend_from_slice(br#"","url":""#);
    bid.write_url(out);
    out.extend_from_slice(br#"","dateTime":""#);
    timestamp(bid.time_ms(), out);
    out.extend_from_slice(br#"","extra":""#);
    bid.write_extra(out);
}

fn integer(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends `2015-07-15T00:00:00.000`; the years 1 to 9999.
fn timestamp(time_ms: i64, out: &mut Vec<u8>) {
    let days = time_ms.div_euclid(86_400_000);
    let of_day = u32::try_from(time_ms - days * 86_400_000).expect("a day has fewer milliseconds");
    let (year, month, day) = civil(days);
    let mut text = *b"0000-00-00T00:00:00.000";
    let mut put = |at: usize, digits: usize, mut value: u32| {
        for byte in text[at..at + digits].iter_mut().rev() {
            *byte = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(0, 4, year);
    put(5, 2, month);
    put(8, 2, day);
    put(11, 2, of_day / 3_600_000);
    put(14, 2, of_day / 60_000 % 60);
    put(17, 2, of_day / 1000 % 60);
    put(20, 3, of_day % 1000);
    out.extend_from_slice(&text);
}

/// Year, month and day of a day since 1970-01-01: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `civil_from_days`. Years begin in March there, so that the leap day is the last of a year.
fn civil(days: i64) -> (u32, u32, u32) {
    // From 0000-03-01; the years before 1 are not reached.
    let days = u32::try_from(days + 719_468).unwrap_or(0);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u32::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::super::Config;
    use super::*;

    #[test]
    fn timestamps_are_those_of_the_calendar() {
        let check = |time_ms: i64| {
            let mut out = Vec::new();
            timestamp(time_ms, &mut out);
            let expect = DateTime::from_timestamp_millis(time_ms).unwrap().naive_utc();
            assert_eq!(String::from_utf8(out).unwrap(), expect.format("%Y-%m-%dT%H:%M:%S%.3f").to_string());
        };
        for time_ms in [Config::TIME_MIN_MS, Config::START_MS, -1, 0, 951_782_399_999, Config::TIME_MAX_MS] {
            check(time_ms);
        }
        for step in 0..4000 {
            check(Config::TIME_MIN_MS + step * 78_901_234_567);
        }
    }
}
