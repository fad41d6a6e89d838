//! What the stream of events is made from, with the defaults of the Nexmark benchmark.

use thiserror::Error;

/// The settings of a stream; two equal ones yield the same events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Chooses the stream.
    pub seed: u64,
    /// Events in a second of event time, at least 1.
    pub events_per_second: u64,
    /// The event time of event 0, milliseconds since 1970-01-01T00:00:00 without a zone; the years 1 to 9999.
    pub start_ms: i64,
    /// Persons in a group of events, at least 1. They come first in the group.
    pub person_proportion: u32,
    /// Auctions in a group, at least 1. They follow the persons.
    pub auction_proportion: u32,
    /// Bids in a group, at the end of it.
    pub bid_proportion: u32,
    /// All but one in so many bids go to the hot auction, the first of the latest hundred; at least 1 (none).
    pub hot_auction_ratio: u32,
    /// All but one in so many bids are made by the hot bidder, the second of the latest hundred persons; at least 1.
    pub hot_bidder_ratio: u32,
    /// All but one in so many auctions are opened by the hot seller, the first of the latest hundred persons; at
    /// least 1.
    pub hot_seller_ratio: u32,
    /// How many of the latest auctions other bids are spread over; an auction stays open for as long as it takes on
    /// average to open so many.
    pub auctions_in_flight: u32,
    /// How many of the latest persons other bids and auctions are spread over.
    pub active_persons: u32,
    /// How far ids may run ahead of the persons and auctions that exist. 0: all that is named exists already. The
    /// original has 10, which makes some bids overtake their auction.
    pub id_lead: u32,
    /// Average size of a person, bytes: eight for the id, its texts, and the padding in `extra` that fills it up.
    pub person_bytes: u32,
    /// Average size of an auction, bytes: eight for each number, its texts, and the padding.
    pub auction_bytes: u32,
    /// Average size of a bid, bytes: 32 for its numbers, and the padding; channel and URL are not counted.
    pub bid_bytes: u32,
}

impl Config {
    /// 2015-07-15T00:00:00.
    pub const START_MS: i64 = 1_436_918_400_000;
    /// 0001-01-01T00:00:00.
    pub const TIME_MIN_MS: i64 = -62_135_596_800_000;
    /// 9999-12-31T23:59:59.999; event times stop there.
    pub const TIME_MAX_MS: i64 = 253_402_300_799_999;
    /// The largest average size of a kind of event, bytes.
    pub const BYTES_MAX: u32 = 1 << 16;
    /// The largest count of a kind in a group, and of auctions in flight and active persons.
    pub const COUNT_MAX: u32 = 1 << 24;

    /// Events in a group of persons, auctions and bids.
    #[must_use]
    pub fn group_events(&self) -> u64 {
        let group = [self.person_proportion, self.auction_proportion, self.bid_proportion];
        group.into_iter().map(u64::from).sum()
    }

    /// Whether the stream can be made.
    ///
    /// # Errors
    ///
    /// The first setting that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let count = u64::from(Self::COUNT_MAX);
        let bytes = u64::from(Self::BYTES_MAX);
        for (setting, value, least, most) in [
            ("events_per_second", self.events_per_second, 1, u64::MAX),
            ("person_proportion", self.person_proportion.into(), 1, count),
            ("auction_proportion", self.auction_proportion.into(), 1, count),
            ("bid_proportion", self.bid_proportion.into(), 0, count),
            ("hot_auction_ratio", self.hot_auction_ratio.into(), 1, count),
            ("hot_bidder_ratio", self.hot_bidder_ratio.into(), 1, count),
            ("hot_seller_ratio", self.hot_seller_ratio.into(), 1, count),
            ("auctions_in_flight", self.auctions_in_flight.into(), 0, count),
            ("active_persons", self.active_persons.into(), 1, count),
            ("id_lead", self.id_lead.into(), 0, count),
            ("person_bytes", self.person_bytes.into(), 0, bytes),
            ("auction_bytes", self.auction_bytes.into(), 0, bytes),
            ("bid_bytes", self.bid_bytes.into(), 0, bytes),
        ] {
            if !(least..=most).contains(&value) {
                return Err(ConfigError::OutOfRange { setting, value, least, most });
            }
        }
        if !(Self::TIME_MIN_MS..=Self::TIME_MAX_MS).contains(&self.start_ms) {
            return Err(ConfigError::Start { start_ms: self.start_ms });
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            events_per_second: 10_000,
            start_ms: Self::START_MS,
            person_proportion: 1,
            auction_proportion: 3,
            bid_proportion: 46,
            hot_auction_ratio: 2,
            hot_bidder_ratio: 4,
            hot_seller_ratio: 4,
            auctions_in_flight: 100,
            active_persons: 1000,
            id_lead: 0,
            person_bytes: 200,
            auction_bytes: 500,
            bid_bytes: 100,
        }
    }
}

/// Why a stream cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// A setting outside its range.
    #[error("{setting} is {value}; it must be between {least} and {most}")]
    OutOfRange {
        /// Its name.
        setting: &'static str,
        /// What was asked for.
        value: u64,
        /// The least that is possible.
        least: u64,
        /// The most that is possible.
        most: u64,
    },
    /// A start outside the years 1 to 9999.
    #[error("the events start at {start_ms} ms, which is not in the years 1 to 9999")]
    Start {
        /// Milliseconds since 1970.
        start_ms: i64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        let check = |config: Config, expect: Option<&str>| {
            let found = config.check().err().map(|error| error.to_string());
            assert_eq!(found.is_some(), expect.is_some(), "{found:?}");
            assert!(found.unwrap_or_default().starts_with(expect.unwrap_or_default()));
        };
        check(Config::default(), None);
        check(Config { bid_proportion: 0, ..Config::default() }, None);
        check(Config { events_per_second: 0, ..Config::default() }, Some("events_per_second is 0"));
        check(Config { hot_seller_ratio: 0, ..Config::default() }, Some("hot_seller_ratio"));
        check(Config { bid_bytes: 1 << 17, ..Config::default() }, Some("bid_bytes is 131072"));
        check(Config { start_ms: i64::MAX, ..Config::default() }, Some("the events start at"));
    }
}
