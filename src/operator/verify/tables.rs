//! The tables that examples and tests of `lookup` use.

use std::sync::Arc;

use crate::codec::framing::frame_lines;
use crate::codec::json::JsonDecoder;
use crate::codec::{Decode, Format};
use crate::record::{Column, EventTimes, Schema, parse_type};
use crate::table::{Declared, Index, Table, Tables, Versions};

/// Users by `id`, with one that nobody finds, rates by `channel` with versions, and seats by two columns.
pub(super) fn tables() -> Arc<Tables> {
    let users = table(
        "users",
        &[("id", "BIGINT"), ("name", "STRING"), ("rank", "INT")],
        &[0],
        None,
        "{\"id\":1,\"name\":\"ada\",\"rank\":7}\n{\"id\":null,\"name\":\"nobody\"}\n{\"id\":2,\"name\":\"bob\"}\n{\"id\":9,\"name\":\"eve\"}\n{\"id\":9,\"name\":\"eva\"}\n",
    );
    let rates = table(
        "rates",
        &[("channel", "STRING NOT NULL"), ("rate", "DECIMAL(4, 2)"), ("since", "TIMESTAMP(3)")],
        &[0],
        Some(2),
        "{\"channel\":\"a\",\"rate\":2,\"since\":\"1970-01-01T00:00:02\"}\n{\"channel\":\"a\",\"rate\":1,\"since\":\"1970-01-01T00:00:01\"}\n",
    );
    let seats = table(
        "seats",
        &[("row", "BIGINT"), ("letter", "STRING"), ("taken", "BOOLEAN")],
        &[1, 0],
        None,
        "{\"row\":1,\"letter\":\"a\",\"taken\":true}\n{\"row\":1,\"letter\":\"b\",\"taken\":false}\n{\"row\":2,\"letter\":\"a\"}\n",
    );
    let named = [users, rates, seats].map(|table| (table.name.to_string(), Some(Arc::new(table))));
    Arc::new(Tables::new(named.to_vec()))
}

fn table(
    name: &str,
    columns: &[(&str, &str)],
    key: &[usize],
    versions: Option<usize>,
    records: &str,
) -> Table {
    let columns = columns.iter().map(|(name, text)| {
        let (data_type, nullable) = parse_type(text).expect("a type");
        Column::new(*name, data_type, nullable)
    });
    let schema = Schema::new(columns.collect());
    let (mut spans, mut rejected) = (Vec::new(), Vec::new());
    frame_lines(records.as_bytes(), &mut spans);
    let rows = JsonDecoder::new(&schema).decode(records.as_bytes(), &spans, &mut rejected);
    assert!(rejected.is_empty(), "{rejected:?}");
    let times = versions.map(|column| Versions(EventTimes::milliseconds(rows.column(column))));
    let index = Index::new(rows, &schema, key, times.as_ref()).expect("few rows");
    let table = Table::new(Declared {
        name: name.into(),
        path: name.into(),
        watch: true,
        format: Format::Json,
        schema,
        key: key.to_vec(),
        versions,
    });
    table.publish(Arc::new(index));
    table
}
