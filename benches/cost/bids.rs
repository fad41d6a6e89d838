//! The bids of a file, taken apart as far as a query asks for: the layout is known, so nothing is searched for that can
//! be stepped over.

use std::io;
use std::path::Path;

use memchr::memchr;

use super::lines;
use super::time::{Minute, TIME_BYTES};

/// The digit that tells what an event is comes behind this.
const KIND: &[u8] = br#"{"event_type":"#;
const AUCTION: &[u8] = br#"{"event_type":2,"bid":{"auction":"#;
const BIDDER: &[u8] = br#","bidder":"#;
const PRICE: &[u8] = br#","price":"#;
const CHANNEL: &[u8] = br#","channel":""#;
const URL: &[u8] = br#"","url":""#;
const TIME: &[u8] = br#"","dateTime":""#;
const EXTRA: &[u8] = br#"","extra":""#;
const END: &[u8] = br#""}}"#;

/// A bid's numbers, and what of its line lies behind them.
pub struct Bid<'a> {
    /// The auction's id.
    pub auction: u64,
    /// The bidder's id.
    pub bidder: u64,
    /// The price.
    pub price: u64,
    /// From the channel's text on.
    rest: &'a [u8],
}

impl<'a> Bid<'a> {
    #[inline]
    fn of(line: &'a [u8]) -> Self {
        let (auction, rest) = number(&line[AUCTION.len()..]);
        let (bidder, rest) = number(&rest[BIDDER.len()..]);
        let (price, rest) = number(&rest[PRICE.len()..]);
        Self { auction, bidder, price, rest: &rest[CHANNEL.len()..] }
    }

    /// Its event time, milliseconds since 1970, and `extra`.
    #[inline]
    pub fn time_and_extra(&self, minute: &mut Minute) -> (i64, &'a [u8]) {
        let rest = &self.rest[text_length(self.rest) + URL.len()..];
        let rest = &rest[text_length(rest) + TIME.len()..];
        let extra = &rest[TIME_BYTES + EXTRA.len()..rest.len() - END.len()];
        (minute.parse(rest), extra)
    }

    /// Its event time, milliseconds since 1970.
    #[inline]
    pub fn time(&self, minute: &mut Minute) -> i64 {
        self.time_and_extra(minute).0
    }
}

/// Calls `each` with every bid of a file.
///
/// # Errors
///
/// The file cannot be read, or `each` says so.
pub fn each(path: &Path, mut each: impl FnMut(&Bid<'_>) -> io::Result<()>) -> io::Result<()> {
    lines::each(path, |line| if line[KIND.len()] == b'2' { each(&Bid::of(line)) } else { Ok(()) })
}

/// The number at the start of the text, and what is behind it.
#[inline]
fn number(text: &[u8]) -> (u64, &[u8]) {
    let (mut value, mut length) = (0, 0);
    while text[length].is_ascii_digit() {
        value = value * 10 + u64::from(text[length] - b'0');
        length += 1;
    }
    (value, &text[length..])
}

/// The length of the text at the start, up to its closing quote.
#[inline]
fn text_length(text: &[u8]) -> usize {
    memchr(b'"', text).expect("a closing quote")
}
