//! Aggregate calls inside expressions.

use super::super::*;
use crate::record::Column;

fn input() -> Schema {
    Schema::new(vec![
        Column::new("user", SqlType::String, true),
        Column::new("amount", SqlType::BigInt, true),
        Column::new("ok", SqlType::Boolean, true),
        Column::new("bid", SqlType::Row(vec![Column::new("price", SqlType::BigInt, true)]), true),
    ])
}

fn group() -> Schema {
    Schema::new(vec![
        Column::new("user", SqlType::String, true),
        Column::new("window_start", SqlType::Timestamp(3), false),
    ])
}

fn resolve(name: &str, arguments: &[Expr], _distinct: bool) -> Option<Result<(SqlType, bool), String>> {
    let types: Vec<SqlType> = arguments.iter().map(|argument| argument.data_type().clone()).collect();
    match (name, types.as_slice()) {
        ("COUNT" | "ARRAY_AGG" | "FIRST_VALUE", _) => Some(Ok((SqlType::BigInt, false))),
        ("SUM", [t]) if t.is_numeric() => Some(Ok((t.clone(), true))),
        ("SUM", _) => Some(Err("SUM takes a number".to_owned())),
        _ => None,
    }
}

fn compiled(text: &str, calls: &mut Vec<AggregateCall>) -> Result<Expr, Vec<ExprError>> {
    compile_aggregate(text, &input(), &group(), &resolve, calls)
}

#[test]
fn calls_are_found_shared_and_numbered() {
    let mut calls = Vec::new();
    let share = compiled("100 * SUM(amount) FILTER (WHERE ok) / COUNT(*)", &mut calls).unwrap();
    let count = compiled("COUNT(*)", &mut calls).unwrap();
    let prices = compiled("COUNT(DISTINCT bid.price)", &mut calls).unwrap();
    let key = compiled("UPPER(user)", &mut calls).unwrap();
    assert_eq!(calls.len(), 3);
    assert_eq!((calls[0].function.as_str(), calls[0].arguments.len()), ("SUM", 1));
    assert_eq!(calls[0].filter.as_ref().unwrap().paths(), [["ok"]]);
    assert!(calls[1].arguments.is_empty() && calls[2].distinct);
    assert_eq!(calls[2].arguments[0].paths(), [["bid", "price"]]);
    assert_eq!(
        (share.paths(), count.as_column()),
        (&[vec!["$0".to_owned()], vec!["$1".to_owned()]][..], Some("$1"))
    );
    assert_eq!((prices.as_column(), key.paths()), (Some("$2"), &[vec!["user".to_owned()]][..]));

    let schema = result_schema(&group(), &calls);
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(arrow::array::StringArray::from(vec!["eve"])),
        Arc::new(arrow::array::TimestampMillisecondArray::from(vec![0])),
        Arc::new(arrow::array::Int64Array::from(vec![3])),
        Arc::new(arrow::array::Int64Array::from(vec![4])),
        Arc::new(arrow::array::Int64Array::from(vec![5])),
    ];
    let rows = RecordBatch::try_new(schema.arrow().clone(), columns).unwrap();
    assert_eq!(super::shown(&share, &rows), ["75"]);
    assert_eq!(super::shown(&key, &rows), ["EVE"]);
}

#[test]
fn equal_calls_are_computed_once() {
    let mut calls = Vec::new();
    for (text, count) in [
        ("SUM(amount) + sum( amount )", 1),
        ("Sum(amount) FILTER (where ok)", 2),
        ("SUM(DISTINCT amount)", 3),
        ("FIRST_VALUE(amount) IGNORE NULLS", 4),
        ("ARRAY_AGG(amount) RESPECT NULLS", 5),
    ] {
        compiled(text, &mut calls).expect(text);
        assert_eq!(calls.len(), count, "{text}");
    }
}

#[test]
fn constants_have_a_text() {
    for (text, expect) in [
        ("0.95", Some("0.95")),
        ("1 - 0.05", Some("0.95")),
        ("'; '", Some("; ")),
        ("5e-1", Some("0.5")),
        ("1", Some("1")),
        ("NULL", None),
        ("amount", None),
    ] {
        let expression = compile(text, &input()).expect(text);
        assert_eq!(expression.constant_text().as_deref(), expect, "{text}");
    }
}

#[test]
fn misplaced_columns_and_aggregates_are_told() {
    for (text, what, help) in [
        ("amount + 1", "many values", "put it into `by`"),
        ("SUM(SUM(amount))", "inside another", "two steps"),
        ("SUM(user)", "SUM takes a number", ""),
        ("SUM(amont)", "no column `amont`", "`amount`"),
        ("amont", "no column `amont`", "`amount`"),
        ("COUNT(DISTINCT *)", "counts nothing", ""),
        ("SUM(amount) FILTER (WHERE amount)", "FILTER takes BOOLEAN", ""),
        ("NOW()", "present time", "behind"),
        ("UPPER(user) FILTER (WHERE ok)", "no such clause", "aggregates"),
        ("SUM(*)", "takes values", "COUNT"),
        ("ARRAY_AGG(amount ORDER BY user)", "no such clause", "order of arrival"),
        ("FIRST_VALUE(amount) RESPECT NULLS", "skips NULL", "only ARRAY_AGG"),
        ("ARRAY_AGG(amount) IGNORE NULLS", "keeps NULL", "FILTER (WHERE x IS NOT NULL)"),
    ] {
        let errors = compiled(text, &mut Vec::new()).expect_err(text);
        assert!(errors[0].what.contains(what), "{text}: {errors:?}");
        assert!(errors[0].help.as_deref().unwrap_or_default().contains(help), "{text}: {errors:?}");
    }
}
