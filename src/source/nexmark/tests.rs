//! What holds for the stream as a whole: its proportions, its hot keys, its order, and that each way of taking an
//! event yields the same one.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMillisecondType};
use chrono::DateTime;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::record::{Column, Schema, SqlType};

const EVENTS: u64 = 100_000;

fn generator(config: Config) -> Generator {
    Generator::new(config).unwrap()
}

fn json(generator: &Generator, number: u64, form: Form) -> String {
    let mut out = Vec::new();
    generator.write_json(number, form, &mut out);
    String::from_utf8(out).unwrap()
}

fn text(write: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_first_events_never_change() {
    let generator = generator(Config::default());
    let check = |number: u64, form: Form, expect: &str| {
        assert_eq!(json(&generator, number, form), expect, "event {number}");
    };
    let golden = include_str!("golden.ndjson");
    for (number, line) in (0..).zip(golden.lines()) {
        check(number, Form::Nested, line);
    }
    assert_eq!(golden.lines().count(), 8);

    let digest = |config: Config, form: Form| {
        let generator = Generator::new(config).unwrap();
        let mut out = Vec::new();
        (0..10_000).for_each(|number| generator.write_json(number, form, &mut out));
        xxh3_64(&out)
    };
    assert_eq!(digest(Config::default(), Form::Nested), 0x9c22_c9ee_46c3_ebca);
    assert_eq!(digest(Config::default(), Form::Flat), 0x0aa1_a214_93dc_efc1);
    assert_eq!(
        digest(Config { seed: u64::MAX, id_lead: 10, ..Config::default() }, Form::Nested),
        0x5608_ae35_cb01_e5c2
    );
}

#[test]
fn kinds_come_in_groups_of_fifty_with_ids_in_order() {
    let generator = generator(Config::default());
    let (mut persons, mut auctions, mut bids) = (0, 0, 0);
    for number in 0..EVENTS {
        match generator.event(number) {
            Event::Person(person) => {
                assert_eq!((number % 50, person.id()), (0, 1000 + persons));
                persons += 1;
            }
            Event::Auction(auction) => {
                assert_eq!(auction.id(), 1000 + auctions);
                auctions += 1;
            }
            Event::Bid(_) => bids += 1,
        }
    }
    assert_eq!((persons, auctions, bids), (2000, 6000, 92_000));
}

#[test]
fn event_time_advances_at_the_rate() {
    let check = |events_per_second: u64, number: u64, expect: i64| {
        let generator = generator(Config { events_per_second, ..Config::default() });
        assert_eq!(generator.time_ms(number) - Config::START_MS, expect);
        assert_eq!(generator.event(number).time_ms() - Config::START_MS, expect);
    };
    check(10_000, 9, 0);
    check(10_000, 10, 1);
    check(10_000, 5_000_000, 500_000);
    check(3, 2, 666);
    check(1_000_000, 1999, 1);
    check(1, u64::MAX, Config::TIME_MAX_MS - Config::START_MS);
}

#[test]
fn what_is_named_exists_already() {
    let check = |config: Config, ahead: i64| {
        let generator = generator(config);
        let (mut person, mut auction, mut furthest) = (999, 999, 0);
        for number in 0..EVENTS {
            match generator.event(number) {
                Event::Person(made) => person = made.id(),
                Event::Auction(made) => {
                    auction = made.id();
                    furthest = furthest.max(made.seller() - person);
                    assert!(made.seller() >= 1000 && (10..15).contains(&made.category()));
                    assert!(made.reserve() > made.initial_bid() && made.initial_bid() >= 100);
                    let open_ms = made.expires_ms() - made.time_ms();
                    assert!((1..=332).contains(&open_ms), "open for {open_ms} ms");
                }
                Event::Bid(made) => {
                    furthest = furthest.max(made.auction() - auction).max(made.bidder() - person);
                    assert!(made.auction() >= 1000 && made.bidder() >= 1000);
                    assert!((100..=100_000_000).contains(&made.price()));
                }
            }
        }
        assert_eq!(furthest, ahead);
    };
    check(Config::default(), 0);
    check(Config { id_lead: 10, ..Config::default() }, 10);
}

/// That a share of so many is within four standard deviations of what is expected.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn check_share(what: &str, found: u64, of: u64, expect: f64) {
    let share = found as f64 / of as f64;
    let deviation = (expect * (1.0 - expect) / of as f64).sqrt();
    assert!((share - expect).abs() < 4.0 * deviation, "{what}: {share}, expected {expect} ± {deviation}");
}

#[test]
fn hot_keys_and_values_have_their_shares() {
    let generator = generator(Config::default());
    let (mut auctions, mut bids) = (0, 0);
    let mut counts: HashMap<String, u64> = HashMap::new();
    let mut count = |what: &str| *counts.entry(what.to_owned()).or_default() += 1;
    // From where enough persons and auctions exist that a hot one is rarely met by chance.
    for number in EVENTS..2 * EVENTS {
        let last_person = number / 50;
        let last_auction = number / 50 * 3 + 2;
        match generator.event(number) {
            Event::Person(person) => assert!(!person.state().is_empty()),
            Event::Auction(auction) => {
                auctions += 1;
                if auction.seller().unsigned_abs() == 1000 + last_person / 100 * 100 {
                    count("seller");
                }
                count(["10", "11", "12", "13", "14"][usize::try_from(auction.category() - 10).unwrap()]);
            }
            Event::Bid(bid) => {
                bids += 1;
                if bid.auction().unsigned_abs() == 1000 + last_auction / 100 * 100 {
                    count("auction");
                }
                if bid.bidder().unsigned_abs() == 1000 + (last_person / 100 * 100 + 1).min(last_person) {
                    count("bidder");
                }
                if bid.price() < 10_000 {
                    count("cheap");
                }
                let (channel, url) = (text(|out| bid.write_channel(out)), text(|out| bid.write_url(out)));
                match channel.strip_prefix("channel-") {
                    Some(digits) => {
                        assert!(digits.parse::<u32>().unwrap() < 10_000);
                        if url.contains("&channel_id=") {
                            count("channel_id");
                        }
                    }
                    None => {
                        count(&channel);
                        assert!(url.ends_with("/item.htm?query=1"), "{url}");
                    }
                }
            }
        }
    }
    // A hundred and one auctions and a thousand persons share the rest, the hot ones among them.
    for (what, of, expect) in [
        ("seller", auctions, 0.75 + 0.25 / 1000.0),
        ("10", auctions, 0.2),
        ("14", auctions, 0.2),
        ("auction", bids, 0.5 + 0.5 / 101.0),
        ("bidder", bids, 0.75 + 0.25 / 1000.0),
        ("cheap", bids, 1.0 / 3.0),
        ("Google", bids, 0.125),
        ("Facebook", bids, 0.125),
        ("Baidu", bids, 0.125),
        ("Apple", bids, 0.125),
    ] {
        check_share(what, counts[what], of, expect);
    }
    // Which channels have an id is drawn per channel, of which there are fewer than bids.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let share = counts["channel_id"] as f64 / bids as f64;
    assert!((share - 0.45).abs() < 0.01, "channel_id: {share}");
}

#[test]
fn sizes_are_on_average_as_asked_for() {
    let generator = generator(Config::default());
    let mut sizes: HashMap<Kind, (usize, usize)> = HashMap::new();
    let mut paddings = Vec::new();
    for number in 0..EVENTS {
        let event = generator.event(number);
        let size = match event {
            Event::Person(person) => {
                8 + text(|out| {
                    person.write_name(out);
                    person.write_email_address(out);
                    person.write_credit_card(out);
                    person.write_extra(out);
                    out.extend_from_slice(person.city().as_bytes());
                    out.extend_from_slice(person.state().as_bytes());
                })
                .len()
            }
            Event::Auction(auction) => {
                48 + text(|out| {
                    auction.write_item_name(out);
                    auction.write_description(out);
                    auction.write_extra(out);
                })
                .len()
            }
            Event::Bid(bid) => {
                paddings.push(text(|out| bid.write_extra(out)).len());
                32 + paddings[paddings.len() - 1]
            }
        };
        let (count, sum) = sizes.entry(event.kind()).or_default();
        *count += 1;
        *sum += size;
    }
    // 68 on average, give or take a fifth.
    assert_eq!((paddings.iter().min(), paddings.iter().max()), (Some(&54), Some(&81)));
    for (kind, average) in [(Kind::Person, 200.0), (Kind::Auction, 500.0), (Kind::Bid, 100.0)] {
        let (count, sum) = sizes[&kind];
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let found = sum as f64 / count as f64;
        assert!((found - average).abs() < 3.0, "{kind:?}: {found}");
    }
}

#[test]
fn an_event_depends_on_its_number_and_the_seed_alone() {
    let (one, again) = (generator(Config::default()), generator(Config::default()));
    let other = generator(Config { seed: 2, ..Config::default() });
    let forward: Vec<String> = (0..500).map(|number| json(&one, number, Form::Nested)).collect();
    for number in (0..500).rev() {
        let expect = &forward[usize::try_from(number).unwrap()];
        assert_eq!(&json(&again, number, Form::Nested), expect);
        assert_ne!(&json(&other, number, Form::Nested), expect);
    }
    // Numbers that no stream reaches are no danger either.
    for number in [u64::MAX, u64::MAX - 1, 1 << 63, i64::MAX as u64] {
        assert!(serde_json::from_str::<Value>(&json(&one, number, Form::Flat)).is_ok());
    }
}

#[test]
fn extreme_settings_make_events() {
    let check = |config: Config| {
        let generator = generator(config);
        for number in (0..300).chain([1 << 40, u64::MAX]) {
            let line = json(&generator, number, Form::Nested);
            assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
        }
    };
    check(Config { person_bytes: 0, auction_bytes: 0, bid_bytes: 0, ..Config::default() });
    check(Config { hot_auction_ratio: 1, hot_bidder_ratio: 1, hot_seller_ratio: 1, ..Config::default() });
    check(Config { bid_proportion: 0, auctions_in_flight: 0, active_persons: 1, ..Config::default() });
    check(Config { events_per_second: 1, auctions_in_flight: Config::COUNT_MAX, ..Config::default() });
    check(Config { person_proportion: Config::COUNT_MAX, id_lead: Config::COUNT_MAX, ..Config::default() });
    check(Config { auction_proportion: Config::COUNT_MAX, id_lead: Config::COUNT_MAX, ..Config::default() });
    check(Config { events_per_second: u64::MAX, ..Config::default() });
    check(Config { start_ms: Config::TIME_MIN_MS, ..Config::default() });
    check(Config { start_ms: Config::TIME_MAX_MS, ..Config::default() });
}

/// A value of a column as it is in JSON; none where it is NULL.
fn value(array: &ArrayRef, row: usize) -> Option<Value> {
    if array.is_null(row) {
        // Whoever takes a field out of its ROW need not look at the ROW.
        let fields = array.as_struct_opt().map_or(&[][..], |row| row.columns());
        assert!(fields.iter().all(|field| field.is_null(row)), "a field of a NULL row has a value");
        return None;
    }
    Some(match array.data_type() {
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::Timestamp(..) => {
            let time_ms = array.as_primitive::<TimestampMillisecondType>().value(row);
            let time = DateTime::from_timestamp_millis(time_ms).unwrap().naive_utc();
            time.format("%Y-%m-%dT%H:%M:%S%.3f").to_string().into()
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let fields = fields.iter().zip(columns);
            let object =
                fields.filter_map(|(field, column)| Some((field.name().clone(), value(column, row)?)));
            Value::Object(object.collect())
        }
        other => panic!("no column is a {other}"),
    })
}

fn objects(rows: &RecordBatch) -> Vec<Value> {
    let object = |row: usize| {
        let schema = rows.schema_ref().fields().iter().zip(rows.columns());
        schema.filter_map(|(field, column)| Some((field.name().clone(), value(column, row)?))).collect()
    };
    (0..rows.num_rows()).map(|row| Value::Object(object(row))).collect()
}

/// What is left of an object when only a schema's columns are kept.
fn pruned(object: &Value, columns: &[Column]) -> Value {
    let kept: Map<String, Value> = columns
        .iter()
        .filter_map(|column| {
            let value = object.get(&column.name)?;
            let value = match &column.data_type {
                SqlType::Row(fields) => pruned(value, fields),
                _ => value.clone(),
            };
            Some((column.name.clone(), value))
        })
        .collect();
    Value::Object(kept)
}

/// A part of a schema: the columns and fields for which `keep` is true of their running number, backwards if asked.
fn part(columns: &[Column], backwards: bool, keep: &mut dyn FnMut() -> bool) -> Vec<Column> {
    let mut kept = Vec::new();
    for column in columns {
        if keep() {
            let mut column = column.clone();
            if let SqlType::Row(fields) = &column.data_type {
                column.data_type = SqlType::Row(part(fields, backwards, keep));
            }
            kept.push(column);
        }
    }
    if backwards {
        kept.reverse();
    }
    kept
}

#[test]
fn columns_hold_what_json_says() {
    let generator = generator(Config { seed: 11, ..Config::default() });
    let check = |from: u64, count: usize, form: Form, columns: Vec<Column>| {
        let schema = Schema::new(columns);
        let rows = generator.rows(from, count, &schema);
        let found = objects(&rows);
        assert_eq!(found.len(), count);
        for (number, found) in (from..).zip(found) {
            let parsed: Value = serde_json::from_str(&json(&generator, number, form)).unwrap();
            assert_eq!(found, pruned(&parsed, schema.columns()), "event {number}");
        }
    };
    for form in [Form::Nested, Form::Flat] {
        let full = schema(form).columns().to_vec();
        check(0, 300, form, full.clone());
        check(12_345_678_901, 101, form, full.clone());
        check(0, 0, form, full.clone());
        check(0, 4, form, full.clone());
        check(7, 60, form, vec![]);
        let mut random = fastrand::Rng::with_seed(3);
        for round in 0..60 {
            check(round, 110, form, part(&full, random.bool(), &mut || random.bool()));
        }
    }
}

#[test]
fn the_schema_is_the_one_of_the_benchmark() {
    let check = |form: Form, expect: &str| {
        let row = SqlType::Row(schema(form).columns().to_vec());
        assert_eq!(row.to_string(), expect);
    };
    check(
        Form::Nested,
        "ROW<event_type INT NOT NULL, \
         person ROW<id BIGINT, name STRING, emailAddress STRING, creditCard STRING, city STRING, state STRING, \
         dateTime TIMESTAMP(3), extra STRING>, \
         auction ROW<id BIGINT, itemName STRING, description STRING, initialBid BIGINT, reserve BIGINT, \
         dateTime TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING>, \
         bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, dateTime TIMESTAMP(3), \
         extra STRING>>",
    );
    check(
        Form::Flat,
        "ROW<event_type INT NOT NULL, id BIGINT, name STRING, emailAddress STRING, creditCard STRING, city STRING, \
         state STRING, dateTime TIMESTAMP(3), extra STRING, itemName STRING, description STRING, initialBid BIGINT, \
         reserve BIGINT, expires TIMESTAMP(3), seller BIGINT, category BIGINT, auction BIGINT, bidder BIGINT, \
         price BIGINT, channel STRING, url STRING>",
    );
}

#[test]
fn rows_can_be_taken_in_any_order() {
    let generator = generator(Config::default());
    let (schema, shuffle) = (schema(Form::Nested), Shuffle::new(1, 40, 200));
    let shuffled = objects(&generator.rows_of((0..200).map(|position| shuffle.order(position)), &schema));
    let ordered = objects(&generator.rows(0, 200, &schema));
    for (position, row) in (0..).zip(shuffled) {
        assert_eq!(row, ordered[usize::try_from(shuffle.order(position)).unwrap()]);
    }
}
