//! What is said of wrong expressions, and where.

use super::super::compile;
use super::schema;

/// Compiles a wrong text: the first error's text range, a part of the message and of the help.
fn check(text: &str, marked: &str, what: &str, help: &str) {
    let errors = compile(text, &schema()).expect_err(text);
    let error = &errors[0];
    assert_eq!(&text[error.span.0..error.span.1], marked, "{text}: {error:?}");
    assert!(error.what.contains(what), "{text}: {error:?}");
    assert!(error.help.as_deref().unwrap_or_default().contains(help), "{text}: {error:?}");
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (text, marked, what, help) in [
        ("", "", "empty", ""),
        ("i +", "", "expected", ""),
        ("i + 1)", ")", "does not belong", ""),
        ("i, l", ",", "does not belong", "one expression"),
        ("i AS x", "AS", "does not belong", "its key in the file"),
        ("pricee + 1", "pricee", "no column `pricee`", "the columns are"),
        ("insant", "insant", "no column", "`instant`"),
        ("I + 1", "I", "no column `I`", "`i`"),
        ("bid.prise", "prise", "no field `prise`", "`price`"),
        ("bid.xyz", "xyz", "no field", "its fields are `price`, `channel`, `deep`"),
        ("i.x", "x", "no fields", ""),
        ("s + 1", "s", "`+` cannot be applied to STRING", "||"),
        ("1 / 0", "1 / 0", "division by zero", ""),
        ("s > 5", "s > 5", "STRING cannot be compared with INT", "CAST(… AS INT)"),
        ("at = instant", "at = instant", "cannot be compared", "TIMESTAMP_LTZ(3)"),
        ("at > 'yesterday'", "'yesterday'", "yesterday", ""),
        ("bid = bid", "bid = bid", "cannot be compared", "fields"),
        ("i AND b", "i", "AND takes BOOLEAN", "compare"),
        ("NOT s", "s", "NOT takes BOOLEAN", ""),
        ("COLESCE(i, 1)", "COLESCE", "no function COLESCE", "COALESCE"),
        ("SUM(i)", "SUM(i", "is an aggregate", "aggregate"),
        ("NULLIF(i)", "NULLIF(i", "takes 2 arguments, not 1", "NULLIF(value, other)"),
        ("RAND()", "RAND", "no function RAND", "hash"),
        ("COUNT(*) OVER ()", "COUNT", "OVER", "the step `over`"),
        ("ROW_NUMBER() OVER (ORDER BY i)", "ROW_NUMBER", "OVER", "the step `top`"),
        ("LAG(i) OVER (ORDER BY at)", "LAG(i", "OVER", "`rows: 2`"),
        ("RANK()", "RANK", "no function RANK", "ties: keep"),
        ("HOP(at, 1)", "HOP", "no function HOP", "sliding"),
        ("TUMBLE_END(at, 1)", "TUMBLE_END", "no function TUMBLE_END", "window_end"),
        ("(SELECT 1)", "SELECT 1", "subquery", "join"),
        ("CAST(s AS STRNG)", "STRNG", "no type `STRNG`", "STRING"),
        ("CAST(bid AS STRING)", "bid", "cannot be cast", "field"),
        ("CAST(l AS TIMESTAMP(3))", "l", "cannot be cast", "TO_TIMESTAMP_LTZ"),
        ("\"s\"", "\"s\"", "double quotes", "backticks"),
        ("i == 1", "==", "no `==`", "single"),
        ("CASE WHEN b THEN 1 ELSE 'a' END", "'a'", "of one type", "CAST"),
        ("INTERVAL '1' DAY", "'1'", "cannot stand alone", ""),
        ("at + INTERVAL 'x' DAY", "'x'", "not an INTERVAL", ""),
        ("day + INTERVAL '1' HOUR", "day", "whole days", "TIMESTAMP"),
        ("tags[0]", "0", "counted from 1", ""),
        ("i[1]", "i", "no elements", ""),
        (":limit > 1", ":limit", "no parameter", "params"),
        ("i ~ 1", "i ~ 1", "no operator", ""),
        (
            "99999999999999999999999999999999999999999",
            "99999999999999999999999999999999999999999",
            "38 digits",
            "",
        ),
        ("s ILIKE 'a'", "s ILIKE 'a'", "ILIKE", "LOWER"),
        ("i LIKE 'a'", "i", "LIKE compares STRING", ""),
    ] {
        check(text, marked, what, help);
    }
}

#[test]
fn independent_mistakes_are_told_together() {
    let errors = compile("nosuch + 1 > s AND COLESCE(i) AND bid.prise = 2", &schema()).unwrap_err();
    assert_eq!(errors.len(), 3, "{errors:?}");
}

#[test]
fn size_and_depth_are_limited() {
    for text in [
        "(".repeat(10_000) + "1" + &")".repeat(10_000),
        "-".repeat(3000) + "1",
        "NOT ".repeat(3000) + "b",
        "1".to_owned() + &" + 1".repeat(1500),
        "IF(b, ".repeat(400) + "1" + &", 2)".repeat(400),
        "CASE WHEN b THEN ".repeat(400),
        "x".repeat(70_000),
    ] {
        assert!(compile(&text, &schema()).is_err());
    }
    let many = vec!["i = 7"; 1000].join(" OR ");
    assert!(compile(&many, &schema()).is_ok());
}
