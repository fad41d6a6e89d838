//! Lookups in the tables of the harness.

use super::super::Changelog;
use super::super::verify::{check, flow_of, resolve_step};
use super::*;
use crate::record::parse_type;

#[test]
fn an_inner_lookup_drops_what_is_not_found() {
    check(
        "lookup: { table: users, match: users.id = price }",
        &[r#"{"price":1}"#, r#"{"price":3}"#, r#"{"price":null}"#, r#"{"price":2}"#, r#"{"price":9}"#],
        &[
            r#"{"price":1,"users":{"id":1,"name":"ada","rank":7}}"#,
            r#"{"price":2,"users":{"id":2,"name":"bob","rank":null}}"#,
            r#"{"price":9,"users":{"id":9,"name":"eva","rank":null}}"#,
        ],
    );
    check("lookup: { table: users, match: users.id = price }", &[r#"{"price":3}"#], &[]);
}

#[test]
fn a_left_lookup_has_null_for_what_is_not_found() {
    check(
        "lookup: { table: users, match: price + 1 = users.id, kind: left }",
        &[r#"{"price":0}"#, r#"{"price":2}"#, r#"{"price":null}"#],
        &[
            r#"{"price":0,"users":{"id":1,"name":"ada","rank":7}}"#,
            r#"{"price":2,"users":null}"#,
            r#"{"price":null,"users":null}"#,
        ],
    );
}

#[test]
fn the_columns_of_a_key_go_by_their_names() {
    check(
        "lookup: { table: seats, match: seats.row = price AND channel = seats.letter, kind: left }",
        &[
            r#"{"price":1,"channel":"b"}"#,
            r#"{"price":2,"channel":"b"}"#,
            r#"{"price":2,"channel":"a"}"#,
            r#"{"price":1,"channel":null}"#,
        ],
        &[
            r#"{"price":1,"channel":"b","seats":{"row":1,"letter":"b","taken":false}}"#,
            r#"{"price":2,"channel":"b","seats":null}"#,
            r#"{"price":2,"channel":"a","seats":{"row":2,"letter":"a","taken":null}}"#,
            r#"{"price":1,"channel":null,"seats":null}"#,
        ],
    );
}

#[test]
fn a_row_whose_key_fails_is_rejected_alone() {
    check(
        "lookup: { table: users, match: users.id = 2 / price }",
        &[r#"{"price":1}"#, r#"{"price":0}"#, r#"{"price":2}"#],
        &[
            r#"{"price":1,"users":{"id":2,"name":"bob","rank":null}}"#,
            r#"{"price":2,"users":{"id":1,"name":"ada","rank":7}}"#,
            "rejected: division by zero",
        ],
    );
}

#[test]
fn a_version_holds_from_its_time_on() {
    let rows = [
        r#"{"channel":"a","at":"1970-01-01T00:00:00.999"}"#,
        r#"{"channel":"a","at":"1970-01-01T00:00:01"}"#,
        r#"{"channel":"a","at":"1970-01-01T00:00:01.999"}"#,
        r#"{"channel":"a","at":"1970-01-01T00:00:02"}"#,
        r#"{"channel":"b","at":"1970-01-01T00:00:02"}"#,
    ];
    let one = r#"{"channel":"a","rate":1.00,"since":"1970-01-01T00:00:01"}"#;
    let two = r#"{"channel":"a","rate":2.00,"since":"1970-01-01T00:00:02"}"#;
    for as_of in ["event_time", "\"at\""] {
        let found = [
            r#"{"channel":"a","at":"1970-01-01T00:00:00.999","rates":null}"#.to_owned(),
            format!(r#"{{"channel":"a","at":"1970-01-01T00:00:01","rates":{one}}}"#),
            format!(r#"{{"channel":"a","at":"1970-01-01T00:00:01.999","rates":{one}}}"#),
            format!(r#"{{"channel":"a","at":"1970-01-01T00:00:02","rates":{two}}}"#),
            r#"{"channel":"b","at":"1970-01-01T00:00:02","rates":null}"#.to_owned(),
        ];
        let step =
            format!("lookup: {{ table: rates, match: rates.channel = channel, kind: left, as_of: {as_of} }}");
        check(&step, &rows, &found.each_ref().map(String::as_str));
    }
    check(
        "lookup: { table: rates, match: rates.channel = channel }",
        &[r#"{"channel":"a"}"#],
        &[&format!(r#"{{"channel":"a","rates":{two}}}"#)],
    );
}

#[test]
fn only_columns_that_are_used_are_made() {
    let columns = ["id", "price"].map(|name| Column::new(name, parse_type("BIGINT").unwrap().0, true));
    let input = flow_of(&Schema::new(columns.to_vec()));
    let check = |used: &[&str], needed: &[&str], made: &[&str]| {
        let mut problems = Problems::new();
        let text = "{ table: users, match: users.id = id }";
        let step =
            parse(&crate::yaml::parse(0, text, &mut problems).unwrap(), Place::default(), &mut problems);
        let step = step.unwrap();
        let all = step.resolve(&input, &mut problems).unwrap();
        assert_eq!(all.output.schema.columns().len(), 3);
        let mut paths = Paths::default();
        for path in used {
            paths.insert(path.split('.').map(str::to_owned).collect());
        }
        let required = (all.required)(&paths);
        assert_eq!(required.iter().map(|path| path.join(".")).collect::<Vec<_>>(), needed, "{used:?}");
        let pruned = Flow { schema: required.prune(&input.schema), pruned: true, ..input.clone() };
        let pruned = step.resolve(&pruned, &mut problems).unwrap();
        let columns = pruned.output.schema.columns().iter();
        let columns: Vec<String> =
            columns.map(|column| format!("{} {}", column.name, column.data_type)).collect();
        assert_eq!(columns, made, "{used:?}");
    };
    check(
        &["users.name", "price"],
        &["id", "price"],
        &["id BIGINT", "price BIGINT", "users ROW<name STRING>"],
    );
    check(&["users"], &["id"], &["id BIGINT", "users ROW<id BIGINT, name STRING, rank INT>"]);
    check(&["price"], &["id", "price"], &["id BIGINT", "price BIGINT"]);
}

#[test]
fn rows_that_may_be_taken_back_are_refused() {
    let input = flow_of(&Schema::new(vec![Column::new("id", SqlType::BigInt, true)]));
    let build = resolve_step("lookup: { table: users, match: users.id = id }", &input);
    assert_eq!(build.parts.len(), 1);
    let mut problems = Problems::new();
    let node = crate::yaml::parse(0, "{ table: users, match: users.id = id }", &mut problems).unwrap();
    let step = parse(&node, Place::default(), &mut problems).unwrap();
    let changing = Flow { changelog: Some(Changelog { key: None }), ..input };
    assert!(step.resolve(&changing, &mut problems).is_none() && problems.has_errors());
}
