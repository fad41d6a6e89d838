//! Auctions: what is sold, by whom, and for how long.

use super::config::Config;
use super::event::{AUCTION_ID_FIRST, Core, Draw, PERSON_ID_FIRST, id};
use super::random::{price, words};

/// The first category's id.
const CATEGORY_FIRST: u64 = 10;
/// Categories are few, so that queries find something in a small stream.
const CATEGORIES: u64 = 5;

/// An auction is opened.
#[derive(Clone, Copy, Debug)]
pub struct Auction<'a>(pub(super) Core<'a>);

impl Auction<'_> {
    /// Its number, from 1000 up.
    #[must_use]
    pub fn id(&self) -> i64 {
        id(AUCTION_ID_FIRST, self.0.last_auction)
    }

    fn item_name_length(&self) -> usize {
        self.0.text_length(Draw::ItemNameLength, 20)
    }

    fn description_length(&self) -> usize {
        self.0.text_length(Draw::DescriptionLength, 100)
    }

    /// Appends the item's name: words of 3 to 19 characters in all.
    pub fn write_item_name(&self, out: &mut Vec<u8>) {
        words(self.0.draw(Draw::ItemName), self.item_name_length(), b' ', out);
    }

    /// Appends the item's description: words of 3 to 99 characters in all.
    pub fn write_description(&self, out: &mut Vec<u8>) {
        words(self.0.draw(Draw::Description), self.description_length(), b' ', out);
    }

    /// The least first bid.
    #[must_use]
    pub fn initial_bid(&self) -> i64 {
        price(self.0.draw(Draw::InitialBid))
    }

    /// The price below which the seller keeps the item.
    #[must_use]
    pub fn reserve(&self) -> i64 {
        self.initial_bid() + price(self.0.draw(Draw::Reserve))
    }

    /// When, milliseconds.
    #[must_use]
    pub fn time_ms(&self) -> i64 {
        self.0.time_ms
    }

    /// When it closes, milliseconds: on average after as long as it takes to open as many auctions as are in flight.
    #[must_use]
    pub fn expires_ms(&self) -> i64 {
        let config = self.0.config;
        let events = u64::from(config.auctions_in_flight) * config.group_events()
            / u64::from(config.auction_proportion);
        let horizon_ms = u128::from(events) * 1000 / u128::from(config.events_per_second);
        let twice = u64::try_from(horizon_ms * 2).unwrap_or(u64::MAX).max(1);
        let length_ms = 1 + self.0.below(Draw::Length, twice);
        self.0.time_ms.saturating_add_unsigned(length_ms).min(Config::TIME_MAX_MS)
    }

    /// The person who sells.
    #[must_use]
    pub fn seller(&self) -> i64 {
        let hot = self.0.is_hot(Draw::SellerHot, self.0.config.hot_seller_ratio);
        id(PERSON_ID_FIRST, if hot { self.0.hot_person(0) } else { self.0.active_person(Draw::Seller) })
    }

    /// The category: 10 to 14.
    #[must_use]
    pub fn category(&self) -> i64 {
        id(CATEGORY_FIRST, self.0.below(Draw::Category, CATEGORIES))
    }

    /// Appends the padding.
    pub fn write_extra(&self, out: &mut Vec<u8>) {
        let size = 6 * 8 + self.item_name_length() + self.description_length();
        self.0.write_extra(size, self.0.config.auction_bytes, out);
    }
}
