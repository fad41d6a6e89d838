//! Joins through the built program: Nexmark's against sets of rows worked out here, and what stands before and behind a join.

use std::collections::HashMap;

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Scene, end, repository, sorted};
use serde_json::{Value, json};

/// A file of JSON lines.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// These rows as sorted lines.
fn text(rows: &[Value]) -> Vec<String> {
    let mut lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    lines.sort();
    lines
}

/// The events of one kind.
fn of_kind<'a>(events: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter_map(move |event| event.get(kind))
}

/// Sellers in three states of auctions in category 10.
fn q3(events: &[Value]) -> Vec<Value> {
    let states = ["OR", "ID", "CA"];
    let persons = of_kind(events, "person").filter(|p| states.iter().any(|state| p["state"] == *state));
    let persons: HashMap<i64, &Value> = persons.filter_map(|p| Some((p["id"].as_i64()?, p))).collect();
    let auctions = of_kind(events, "auction").filter(|auction| auction["category"] == 10);
    let row = |auction: &Value| {
        let person = persons.get(&auction["seller"].as_i64()?)?;
        Some(
            json!({ "name": person["name"], "city": person["city"], "state": person["state"], "id": auction["id"] }),
        )
    };
    auctions.filter_map(row).collect()
}

/// Bids with their auctions of category 10.
fn q20(events: &[Value]) -> Vec<Value> {
    let auctions = of_kind(events, "auction").filter(|auction| auction["category"] == 10);
    let auctions: HashMap<i64, &Value> = auctions.filter_map(|a| Some((a["id"].as_i64()?, a))).collect();
    let time = |of: &Value| {
        let text = of["dateTime"].as_str().expect("a time is a text");
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    let row = |bid: &Value| {
        let auction = auctions.get(&bid["auction"].as_i64()?)?;
        let mut row = bid.as_object()?.clone();
        row.insert("bid_dateTime".to_owned(), time(bid).into());
        row.insert("bid_extra".to_owned(), row["extra"].clone());
        row.remove("dateTime");
        row.remove("extra");
        for column in ["itemName", "description", "initialBid", "reserve", "seller", "category"] {
            row.insert(column.to_owned(), auction[column].clone());
        }
        row.insert("auction_dateTime".to_owned(), time(auction).into());
        row.insert("expires".to_owned(), time(&json!({ "dateTime": auction["expires"] })).into());
        row.insert("auction_extra".to_owned(), auction["extra"].clone());
        Some(Value::Object(row))
    };
    of_kind(events, "bid").filter_map(row).collect()
}

#[test]
fn nexmark_on_any_number_of_shards() {
    let scene = Scene::new();
    for (name, options) in [("in-order", &["--shuffle", "0"]), ("shuffled", &["--shuffle", "4000"])] {
        let generate = [&["gen", "nexmark", "--out", name, "--events", "20000"], &options[..]].concat();
        assert_eq!(end(&mut scene.program(&generate)).code, Some(0));
        let events = lines(&scene.read(name));
        for (query, expect) in [("q3", q3(&events)), ("q20", q20(&events))] {
            assert!(expect.len() > 50, "{query}: {} rows", expect.len());
            let file = repository(&format!("pipelines/nexmark/{query}.yaml"));
            for cores in ["1", "2", "3"] {
                let arguments =
                    ["run", file.to_str().expect("UTF-8"), "--state-dir", "state", "--cores", cores];
                let mut command = scene.program(&arguments);
                let ended = end(command.env("NEXMARK_INPUT", name).env("NEXMARK_OUTPUT", "out.ndjson"));
                assert_eq!(ended.code, Some(0), "{}", ended.stderr);
                assert_eq!(text(&lines(&scene.read("out.ndjson"))), text(&expect), "{query} {name} {cores}");
            }
        }
    }
}

const SOURCES: &str = "\
millstream: 1
name: settled
sources:
  orders:
    file: { path: orders.ndjson }
    format: json
    schema: { order_id: BIGINT, amount: BIGINT, created_at: TIMESTAMP(3) }
    event_time: { column: created_at, out_of_order: 1s }
  payments:
    file: { path: payments.ndjson }
    format: json
    schema: { order_id: INT, paid: BIGINT, paid_at: TIMESTAMP(3) }
    event_time: { column: paid_at, out_of_order: 1s }
";

fn files(scene: &Scene) {
    let order = |(id, amount, at): (Value, i64, &str)| {
        json!({ "order_id": id, "amount": amount, "created_at": format!("2026-01-01T12:{at}") }).to_string()
            + "\n"
    };
    let payment = |(id, paid, at): (Value, i64, &str)| {
        json!({ "order_id": id, "paid": paid, "paid_at": format!("2026-01-01T12:{at}") }).to_string() + "\n"
    };
    let orders = [
        (json!(1), 10, "00:00"),
        (json!(2), 20, "00:10"),
        (Value::Null, 30, "00:20"),
        (json!(3), 40, "01:00"),
        (json!(4), 50, "02:00"),
    ];
    let payments = [
        (json!(1), 4, "00:05"),
        (json!(1), 6, "00:30"),
        (json!(3), 40, "01:31"),
        (json!(5), 7, "01:40"),
        (Value::Null, 8, "01:50"),
    ];
    scene.write("orders.ndjson", orders.map(order).concat());
    scene.write("payments.ndjson", payments.map(payment).concat());
}

/// Checks what a stream of the two sources yields, on one to three shards.
fn check(streams: &str, sink: &str, expect: &[&str]) {
    let scene = Scene::new();
    files(&scene);
    let text = format!(
        "{SOURCES}streams:\n{streams}\
         sinks:\n  out: {{ from: joined, file: {{ path: out.ndjson{sink} }}, format: json }}\n"
    );
    for cores in ["1", "2", "3"] {
        scene.output(&text, &["--cores", cores]);
        assert_eq!(sorted(&scene.read("out.ndjson")), expect, "{streams}, {cores} shards");
    }
}

const WITHIN: &str = "within: p.paid_at BETWEEN o.created_at AND o.created_at + INTERVAL '30' SECOND";

#[test]
fn an_interval_join_and_a_window_behind_it() {
    let joined = |kind: &str| {
        format!(
            "  joined:
    from: {{ o: orders, p: payments }}
    steps:
      - join:
          name: order_payment
          kind: {kind}
          match: o.order_id = p.order_id
          {WITHIN}
"
        )
    };
    let select = "      - select: { id: o.order_id, amount: o.amount, paid: p.paid, open: p IS NULL }\n";
    check(
        &(joined("left") + select),
        "",
        &[
            r#"{"id":1,"amount":10,"paid":4,"open":false}"#,
            r#"{"id":1,"amount":10,"paid":6,"open":false}"#,
            r#"{"id":2,"amount":20,"paid":null,"open":true}"#,
            r#"{"id":3,"amount":40,"paid":null,"open":true}"#,
            r#"{"id":4,"amount":50,"paid":null,"open":true}"#,
            r#"{"id":null,"amount":30,"paid":null,"open":true}"#,
        ],
    );
    let window = "      - aggregate:
          name: per_minute
          window: { tumbling: 1m }
          select: { orders: COUNT(*), paid: SUM(p.paid) }
";
    check(
        &(joined("full") + window),
        "",
        &[
            r#"{"window_start":"2026-01-01T12:00:00","window_end":"2026-01-01T12:01:00","orders":4,"paid":10}"#,
            r#"{"window_start":"2026-01-01T12:01:00","window_end":"2026-01-01T12:02:00","orders":4,"paid":55}"#,
            r#"{"window_start":"2026-01-01T12:02:00","window_end":"2026-01-01T12:03:00","orders":1,"paid":null}"#,
        ],
    );
}

#[test]
fn joins_that_correct_themselves_settle() {
    let joined = |kind: &str, select: &str| {
        format!(
            "  joined:
    from: {{ o: orders, p: payments }}
    steps:
      - join: {{ name: order_payment, kind: {kind}, match: \"o.order_id = p.order_id AND o.amount > p.paid\" }}
      - select: {{ {select} }}
"
        )
    };
    let settled = ", changelog: final";
    check(
        &joined("full", "amount: o.amount, paid: p.paid"),
        settled,
        &[
            r#"{"amount":10,"paid":4}"#,
            r#"{"amount":10,"paid":6}"#,
            r#"{"amount":20,"paid":null}"#,
            r#"{"amount":30,"paid":null}"#,
            r#"{"amount":40,"paid":null}"#,
            r#"{"amount":50,"paid":null}"#,
            r#"{"amount":null,"paid":40}"#,
            r#"{"amount":null,"paid":7}"#,
            r#"{"amount":null,"paid":8}"#,
        ],
    );
    check(&joined("semi", "amount: o.amount"), "", &[r#"{"amount":10}"#]);
    let alone = [r#"{"amount":20}"#, r#"{"amount":30}"#, r#"{"amount":40}"#, r#"{"amount":50}"#];
    check(&joined("anti", "amount: o.amount"), settled, &alone);
}

#[test]
fn a_join_takes_what_another_and_an_aggregate_make() {
    let streams = "  totals:
    from: payments
    steps:
      - aggregate: { name: totals, by: order_id, select: { total: SUM(paid), payments: COUNT(*) } }
  pairs:
    from: { o: orders, t: totals }
    steps:
      - join: { name: with_totals, kind: left, match: o.order_id = t.order_id }
      - select: { id: o.order_id, amount: o.amount, total: t.total }
  joined:
    from: { a: pairs, b: orders }
    steps:
      - join: { name: with_next, match: \"a.id + 1 = b.order_id AND (a.total IS NULL OR a.total = a.amount)\" }
      - select: { id: a.id, total: a.total, next: b.amount }
";
    let expect = [
        r#"{"id":1,"total":10,"next":20}"#,
        r#"{"id":2,"total":null,"next":40}"#,
        r#"{"id":3,"total":40,"next":50}"#,
    ];
    check(streams, ", changelog: final", &expect);
}
