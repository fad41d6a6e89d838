//! Nexmark: an online auction of persons, auctions and bids as a seeded stream.
//!
//! Event `n` is a pure function of the seed, the number and the settings ([`Config`]): nothing is kept between events,
//! so any partitioning of the numbers holds the same events, and a field that nobody asks for is never made. An event
//! is handed out as numbers and a key ([`Generator::event`]), written as JSON ([`Generator::write_json`]) or straight
//! into columns ([`Generator::rows`]). Only [`mod@write`] knows files, and time is handed to it.
//!
//! The model is that of the Nexmark generator of Apache Beam and its port to Flink: the same proportions, ids, hot
//! keys, prices, padding and auction lengths. The values are others, because theirs come from one random sequence.

mod auction;
mod bid;
mod columns;
mod config;
mod event;
mod json;
mod person;
mod random;
mod shuffle;
mod side;
#[cfg(test)]
mod tests;
pub mod write;

pub use auction::Auction;
pub use bid::Bid;
pub use columns::schema;
pub use config::{Config, ConfigError};
pub use event::{Event, Generator, Kind};
pub use person::Person;
pub use shuffle::Shuffle;
pub use side::{SIDE_ROWS, side_table};

/// How an event is laid out, in JSON and in columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// One branch a kind: `{"event_type":2,"bid":{"auction":…}}`. The branches that are absent are left out.
    #[default]
    Nested,
    /// One object: `{"event_type":2,"auction":…}`. Columns of two kinds that share a name share a column: `id` (person,
    /// auction), `dateTime` and `extra` (all three).
    Flat,
}
