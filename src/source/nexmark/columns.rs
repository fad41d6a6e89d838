//! Events straight into columns: only the columns and fields that a schema asks for are made.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, StructArray, TimestampMillisecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};

use super::Form;
use super::event::{Event, Generator, Kind};
use crate::record::{Column, Schema, SqlType};

const KINDS: [(&str, Kind); 3] = [("person", Kind::Person), ("auction", Kind::Auction), ("bid", Kind::Bid)];

#[rustfmt::skip]
const PERSON: [Field; 8] = [
    Field::Id, Field::Name, Field::EmailAddress, Field::CreditCard, Field::City, Field::State, Field::DateTime,
    Field::Extra,
];
#[rustfmt::skip]
const AUCTION: [Field; 10] = [
    Field::Id, Field::ItemName, Field::Description, Field::InitialBid, Field::Reserve, Field::DateTime,
    Field::Expires, Field::Seller, Field::Category, Field::Extra,
];
#[rustfmt::skip]
const BID: [Field; 7] = [
    Field::Auction, Field::Bidder, Field::Price, Field::Channel, Field::Url, Field::DateTime, Field::Extra,
];

/// The columns of the events: in the nested form `event_type`, which is never NULL, and one ROW a kind, in the flat
/// form `event_type` and the fields of all kinds, each name once.
#[must_use]
pub fn schema(form: Form) -> Schema {
    let mut columns = vec![Column::new("event_type", SqlType::Int, false)];
    for (name, kind) in KINDS {
        let mut fields = kind.fields().iter().map(|field| Column::new(field.name(), field.sql_type(), true));
        match form {
            Form::Nested => columns.push(Column::new(name, SqlType::Row(fields.collect()), true)),
            Form::Flat => {
                for field in fields.by_ref() {
                    if columns.iter().all(|column| column.name != field.name) {
                        columns.push(field);
                    }
                }
            }
        }
    }
    Schema::new(columns)
}

impl Kind {
    fn fields(self) -> &'static [Field] {
        match self {
            Self::Person => &PERSON,
            Self::Auction => &AUCTION,
            Self::Bid => &BID,
        }
    }
}

/// A field of any kind of event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    Name,
    EmailAddress,
    CreditCard,
    City,
    State,
    ItemName,
    Description,
    InitialBid,
    Reserve,
    Expires,
    Seller,
    Category,
    Auction,
    Bidder,
    Price,
    Channel,
    Url,
    DateTime,
    Extra,
}

impl Field {
    fn named(name: &str) -> Option<Self> {
        let mut fields = PERSON.iter().chain(&AUCTION).chain(&BID);
        fields.find(|field| field.name() == name).copied()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Name => "name",
            Self::EmailAddress => "emailAddress",
            Self::CreditCard => "creditCard",
            Self::City => "city",
            Self::State => "state",
            Self::ItemName => "itemName",
            Self::Description => "description",
            Self::InitialBid => "initialBid",
            Self::Reserve => "reserve",
            Self::Expires => "expires",
            Self::Seller => "seller",
            Self::Category => "category",
            Self::Auction => "auction",
            Self::Bidder => "bidder",
            Self::Price => "price",
            Self::Channel => "channel",
            Self::Url => "url",
            Self::DateTime => "dateTime",
            Self::Extra => "extra",
        }
    }

    fn sql_type(self) -> SqlType {
        match self {
            Self::DateTime | Self::Expires => SqlType::Timestamp(3),
            Self::Id
            | Self::InitialBid
            | Self::Reserve
            | Self::Seller
            | Self::Category
            | Self::Auction
            | Self::Bidder
            | Self::Price => SqlType::BigInt,
            _ => SqlType::String,
        }
    }

    /// The field's integer or time in an event; none where the event has no such field.
    fn integer(self, event: &Event) -> Option<i64> {
        Some(match (self, event) {
            (Self::DateTime, event) => event.time_ms(),
            (Self::Id, Event::Person(person)) => person.id(),
            (Self::Id, Event::Auction(auction)) => auction.id(),
            (Self::InitialBid, Event::Auction(auction)) => auction.initial_bid(),
            (Self::Reserve, Event::Auction(auction)) => auction.reserve(),
            (Self::Expires, Event::Auction(auction)) => auction.expires_ms(),
            (Self::Seller, Event::Auction(auction)) => auction.seller(),
            (Self::Category, Event::Auction(auction)) => auction.category(),
            (Self::Auction, Event::Bid(bid)) => bid.auction(),
            (Self::Bidder, Event::Bid(bid)) => bid.bidder(),
            (Self::Price, Event::Bid(bid)) => bid.price(),
            _ => return None,
        })
    }

    /// Appends the field's text in an event; false where the event has no such field.
    fn write_text(self, event: &Event, out: &mut Vec<u8>) -> bool {
        match (self, event) {
            (Self::Name, Event::Person(person)) => person.write_name(out),
            (Self::EmailAddress, Event::Person(person)) => person.write_email_address(out),
            (Self::CreditCard, Event::Person(person)) => person.write_credit_card(out),
            (Self::City, Event::Person(person)) => out.extend_from_slice(person.city().as_bytes()),
            (Self::State, Event::Person(person)) => out.extend_from_slice(person.state().as_bytes()),
            (Self::ItemName, Event::Auction(auction)) => auction.write_item_name(out),
            (Self::Description, Event::Auction(auction)) => auction.write_description(out),
            (Self::Channel, Event::Bid(bid)) => bid.write_channel(out),
            (Self::Url, Event::Bid(bid)) => bid.write_url(out),
            (Self::Extra, Event::Person(person)) => person.write_extra(out),
            (Self::Extra, Event::Auction(auction)) => auction.write_extra(out),
            (Self::Extra, Event::Bid(bid)) => bid.write_extra(out),
            _ => return false,
        }
        true
    }

    /// The field's column: NULL where `of` says so or the event has no such field.
    fn column(self, events: &[Event], of: Option<Kind>) -> ArrayRef {
        let belongs = |event: &Event| of.is_none_or(|kind| event.kind() == kind);
        let integer = |event: &Event| if belongs(event) { self.integer(event) } else { None };
        match self.sql_type() {
            SqlType::BigInt => Arc::new(events.iter().map(integer).collect::<Int64Array>()),
            SqlType::String => self.texts(events, belongs),
            _ => Arc::new(events.iter().map(integer).collect::<TimestampMillisecondArray>()),
        }
    }

    fn texts(self, events: &[Event], belongs: impl Fn(&Event) -> bool) -> ArrayRef {
        let mut bytes = Vec::new();
        let mut lengths = Vec::with_capacity(events.len());
        let mut valid = Vec::with_capacity(events.len());
        for event in events {
            let start = bytes.len();
            valid.push(belongs(event) && self.write_text(event, &mut bytes));
            lengths.push(bytes.len() - start);
        }
        let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
        let texts = StringArray::try_new(OffsetBuffer::from_lengths(lengths), Buffer::from(bytes), nulls);
        Arc::new(texts.expect("the texts are ASCII"))
    }
}

impl Generator {
    /// The most rows that are made at once; their texts stay far below the 2 GiB a column of text can hold.
    pub const ROWS_MAX: usize = 1 << 14;

    /// The events `from..from + count` in columns.
    ///
    /// The schema is one of [`schema`]'s, or a part of it: any of its columns and of its ROWs' fields, in any order.
    /// Only what it has is made.
    ///
    /// # Panics
    ///
    /// If the schema is not such a part, or `count` is above [`Self::ROWS_MAX`].
    #[must_use]
    pub fn rows(&self, from: u64, count: usize, schema: &Schema) -> RecordBatch {
        self.rows_of((from..=u64::MAX).take(count), schema)
    }

    /// The events of these numbers, in this order, in columns; otherwise as [`Self::rows`].
    ///
    /// # Panics
    ///
    /// As [`Self::rows`].
    #[must_use]
    pub fn rows_of(&self, numbers: impl IntoIterator<Item = u64>, schema: &Schema) -> RecordBatch {
        let events: Vec<Event> = numbers.into_iter().map(|number| self.event(number)).collect();
        assert!(events.len() <= Self::ROWS_MAX, "{} rows at once are too many", events.len());
        let columns = schema.columns().iter().map(|column| top_column(column, &events)).collect();
        schema.rows(columns, events.len())
    }
}

fn top_column(column: &Column, events: &[Event]) -> ArrayRef {
    if column.name == "event_type" && column.data_type == SqlType::Int {
        return Arc::new(events.iter().map(|event| event.kind() as i32).collect::<Int32Array>());
    }
    if let SqlType::Row(fields) = &column.data_type
        && let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == column.name)
    {
        return branch(fields, *kind, events);
    }
    field_of(column, None).column(events, None)
}

/// The ROW of one kind: NULL for events of another.
fn branch(fields: &[Column], kind: Kind, events: &[Event]) -> ArrayRef {
    let nulls = events.iter().map(|event| event.kind() == kind).collect::<NullBuffer>();
    if fields.is_empty() {
        return Arc::new(StructArray::new_empty_fields(events.len(), Some(nulls)));
    }
    let columns = fields.iter().map(|field| field_of(field, Some(kind)).column(events, Some(kind))).collect();
    let fields = fields.iter().map(Column::field).collect();
    Arc::new(StructArray::new(fields, columns, Some(nulls)))
}

/// The field a column or a ROW's field asks for.
fn field_of(column: &Column, kind: Option<Kind>) -> Field {
    let field = Field::named(&column.name).filter(|field| {
        field.sql_type() == column.data_type && kind.is_none_or(|kind| kind.fields().contains(field))
    });
    field.unwrap_or_else(|| {
        panic!("the events have no column {} of type {}", column.name, column.data_type);
    })
}
