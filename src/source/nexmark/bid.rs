//! Bids: most of the stream.

#![expect(clippy::cast_possible_truncation, reason = "draws are below small bounds")]

use super::event::{AUCTION_ID_FIRST, Core, Draw, HOT_EVERY, PERSON_ID_FIRST, id};
use super::random::{below, draw, eight_letters, price};

/// Channels besides the hot ones.
const CHANNELS: u64 = 10_000;

const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// A bid is made.
#[derive(Clone, Copy, Debug)]
pub struct Bid<'a>(pub(super) Core<'a>);

impl Bid<'_> {
    /// The auction it is made on.
    #[must_use]
    pub fn auction(&self) -> i64 {
        let last = self.0.last_auction;
        if self.0.is_hot(Draw::AuctionHot, self.0.config.hot_auction_ratio) {
            return id(AUCTION_ID_FIRST, last / HOT_EVERY * HOT_EVERY);
        }
        let first = last.saturating_sub(self.0.config.auctions_in_flight.into());
        let among = last - first + 1 + u64::from(self.0.config.id_lead);
        id(AUCTION_ID_FIRST, first.saturating_add(self.0.below(Draw::Auction, among)))
    }

    /// The person who makes it.
    #[must_use]
    pub fn bidder(&self) -> i64 {
        let hot = self.0.is_hot(Draw::BidderHot, self.0.config.hot_bidder_ratio);
        // The second of the hundred: the first is the hot seller.
        id(PERSON_ID_FIRST, if hot { self.0.hot_person(1) } else { self.0.active_person(Draw::Bidder) })
    }

    /// The price: 10^(6u) · 100, so as many bids in each power of ten from 100 to 100,000,000.
    #[must_use]
    pub fn price(&self) -> i64 {
        price(self.0.draw(Draw::Price))
    }

    /// The number of its channel; [`CHANNELS`] and above are the hot ones, half of all.
    fn channel(&self) -> u64 {
        let choice = self.0.below(Draw::Channel, 2 * CHANNELS);
        if choice < CHANNELS { choice } else { CHANNELS + choice % HOT_CHANNELS.len() as u64 }
    }

    /// Appends the channel: one of four hot names, or `channel-0` to `channel-9999`.
    pub fn write_channel(&self, out: &mut Vec<u8>) {
        match self.channel() {
            number @ 0..CHANNELS => {
                out.extend_from_slice(b"channel-");
                out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            }
            hot => out.extend_from_slice(HOT_CHANNELS[(hot - CHANNELS) as usize].as_bytes()),
        }
    }

    /// Appends the URL, one a channel: three directories of 3 or 4 characters, and for nine tenths of the channels
    /// that are not hot their id.
    pub fn write_url(&self, out: &mut Vec<u8>) {
        let number = self.channel();
        // Not the seed itself: the events' keys come from there.
        let key = draw(!self.0.config.seed, number);
        let choice = draw(key, 3);
        out.extend_from_slice(b"https://www.nexmark.com/");
        for directory in 0..3 {
            let mut name = eight_letters(draw(key, directory));
            // One bit for the length; of four bits one value in 16 makes an underscore of the second letter.
            let bits = choice >> (8 * directory);
            if bits & 0xf0 == 0 {
                name[1] = b'_';
            }
            out.extend_from_slice(&name[..3 + (bits & 1) as usize]);
            out.push(b'/');
        }
        out.extend_from_slice(b"item.htm?query=1");
        if number < CHANNELS && below(choice, 10) > 0 {
            // The original's id of a channel: its number's bits reversed, without the sign.
            let reversed = (number as u32).reverse_bits().cast_signed().unsigned_abs();
            out.extend_from_slice(b"&channel_id=");
            out.extend_from_slice(itoa::Buffer::new().format(reversed).as_bytes());
        }
    }

    /// When, milliseconds.
    #[must_use]
    pub fn time_ms(&self) -> i64 {
        self.0.time_ms
    }

    /// Appends the padding.
    pub fn write_extra(&self, out: &mut Vec<u8>) {
        self.0.write_extra(4 * 8, self.0.config.bid_bytes, out);
    }
}
