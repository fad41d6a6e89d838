//! Events: what number `n` is, and each of its fields as a function of the event's key.

#![expect(clippy::cast_possible_truncation, reason = "draws are below small bounds")]

use super::config::{Config, ConfigError};
use super::random::{below, draw, letters};
use super::{Auction, Bid, Person};

/// The first person's id.
pub(super) const PERSON_ID_FIRST: u64 = 1000;
/// The first auction's id.
pub(super) const AUCTION_ID_FIRST: u64 = 1000;
/// One hot id in so many.
pub(super) const HOT_EVERY: u64 = 100;

/// The kinds of events, by the number that `event_type` has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Somebody registers.
    Person = 0,
    /// Somebody offers an item.
    Auction = 1,
    /// Somebody bids on an item.
    Bid = 2,
}

/// Makes events by their numbers.
#[derive(Clone, Debug)]
pub struct Generator {
    config: Config,
    key: u64,
    group: u64,
}

impl Generator {
    /// A generator for a stream.
    ///
    /// # Errors
    ///
    /// A setting is out of its range.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self { key: draw(config.seed, 0), group: config.group_events(), config })
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The event time of event `number`, milliseconds; it stops at [`Config::TIME_MAX_MS`].
    #[must_use]
    pub fn time_ms(&self, number: u64) -> i64 {
        let rate = self.config.events_per_second;
        let since = match number.checked_mul(1000) {
            Some(thousandths) => thousandths / rate,
            // Slower by far, and further than any stream goes.
            None => u64::try_from(u128::from(number) * 1000 / u128::from(rate)).unwrap_or(u64::MAX),
        };
        self.config.start_ms.saturating_add_unsigned(since).min(Config::TIME_MAX_MS)
    }

    /// Event `number`; its position in its group of 50 decides what it is.
    #[must_use]
    #[inline]
    pub fn event(&self, number: u64) -> Event<'_> {
        let (group, place) = (number / self.group, number % self.group);
        let persons = u64::from(self.config.person_proportion);
        let auctions = u64::from(self.config.auction_proportion);
        let mut core = Core {
            config: &self.config,
            key: draw(self.key, number),
            time_ms: self.time_ms(number),
            last_person: group * persons + place.min(persons - 1),
            last_auction: 0,
        };
        if place < persons {
            return Event::Person(Person(core));
        }
        let place = place - persons;
        core.last_auction = group * auctions + place.min(auctions - 1);
        if place < auctions { Event::Auction(Auction(core)) } else { Event::Bid(Bid(core)) }
    }
}

/// An event, not yet spelled out: each field is made when it is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Somebody registers.
    Person(Person<'a>),
    /// Somebody offers an item.
    Auction(Auction<'a>),
    /// Somebody bids.
    Bid(Bid<'a>),
}

impl Event<'_> {
    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Person(_) => Kind::Person,
            Self::Auction(_) => Kind::Auction,
            Self::Bid(_) => Kind::Bid,
        }
    }

    /// Its event time, milliseconds since 1970-01-01T00:00:00 without a zone.
    #[must_use]
    pub fn time_ms(&self) -> i64 {
        match self {
            Self::Person(Person(core)) | Self::Auction(Auction(core)) | Self::Bid(Bid(core)) => core.time_ms,
        }
    }
}

/// What the fields of an event are made from. `last_…` are counted from 0 and are the event itself where it is of
/// that kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Core<'a> {
    pub(super) config: &'a Config,
    pub(super) key: u64,
    pub(super) time_ms: i64,
    pub(super) last_person: u64,
    pub(super) last_auction: u64,
}

/// What a random draw of an event is for; each field has its own, so that none depends on another's being made. Their
/// order is part of the stream: a new one goes to the end.
#[derive(Clone, Copy)]
pub(super) enum Draw {
    Name,
    EmailName,
    EmailHost,
    EmailLengths,
    CreditCard,
    City,
    State,
    ExtraLength,
    Extra,
    ItemNameLength,
    ItemName,
    DescriptionLength,
    Description,
    InitialBid,
    Reserve,
    Length,
    SellerHot,
    Seller,
    Category,
    AuctionHot,
    Auction,
    BidderHot,
    Bidder,
    Price,
    Channel,
}

impl Core<'_> {
    pub(super) fn draw(&self, what: Draw) -> u64 {
        draw(self.key, what as u64)
    }

    pub(super) fn below(&self, what: Draw, bound: u64) -> u64 {
        below(self.draw(what), bound)
    }

    pub(super) fn pick<'t>(&self, what: Draw, among: &[&'t str]) -> &'t str {
        among[self.below(what, among.len() as u64) as usize]
    }

    /// Whether one of the events of which all but one in `ratio` are hot is.
    pub(super) fn is_hot(&self, what: Draw, ratio: u32) -> bool {
        self.below(what, ratio.into()) > 0
    }

    /// The hot person, `offset` behind the beginning of the latest hundred, or the latest if that one is yet to come.
    pub(super) fn hot_person(&self, offset: u64) -> u64 {
        let ahead = self.last_person.saturating_add(self.config.id_lead.into());
        (self.last_person / HOT_EVERY * HOT_EVERY).saturating_add(offset).min(ahead)
    }

    pub(super) fn active_person(&self, what: Draw) -> u64 {
        let persons = self.last_person + 1;
        let active = persons.min(self.config.active_persons.into());
        (persons - active).saturating_add(self.below(what, active + u64::from(self.config.id_lead)))
    }

    /// The padding's length that makes a record of `size` bytes so far `average` bytes long on average, give or take
    /// a fifth of the padding.
    fn padding(&self, size: usize, average: u32) -> usize {
        let wanted = (average as usize).saturating_sub(size);
        let spread = (wanted * 2 + 5) / 10;
        wanted - spread + self.below(Draw::ExtraLength, 2 * spread as u64) as usize
    }

    pub(super) fn write_extra(&self, size: usize, average: u32, out: &mut Vec<u8>) {
        letters(self.draw(Draw::Extra), self.padding(size, average), out);
    }

    /// A length from 3 up to, not including, `most`.
    pub(super) fn text_length(&self, what: Draw, most: u64) -> usize {
        3 + self.below(what, most - 3) as usize
    }
}

/// An id counted from 0 as it is written; numbers far beyond any stream wrap around.
pub(super) fn id(base: u64, index: u64) -> i64 {
    base.wrapping_add(index).cast_signed()
}
