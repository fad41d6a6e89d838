//! What is told of options that are wrong.

use super::machine::resolve;

/// Checks the problems of a join.
fn check(options: &str, changelog: [bool; 2], expect: &[&str]) {
    let found = resolve(options, changelog).map(|_| ()).unwrap_err();
    assert_eq!(found, expect, "{options}");
}

fn plain(options: &str, expect: &str) {
    check(options, [false; 2], &[expect]);
}

#[test]
fn options() {
    plain("{ name: j }", "join needs `match`");
    plain("{ name: j, match: [a.k] }", "`match` takes an expression, not a list");
    plain("{ name: j, match: a.k = b.k, ttl: 0s }", "`ttl` is at least 1ms");
    let window = "`window` in join is not in this version";
    plain("{ name: j, match: a.k = b.k, window: { tumbling: 1s } }", window);
    let both = "`ttl` has no place beside `within`";
    plain("{ name: j, match: a.k = b.k, within: a.at = b.at, ttl: 1s }", both);
}

#[test]
fn conditions() {
    let no_key = "no value of one side is equal to a value of the other here";
    plain("{ name: j, match: a.v < b.v }", no_key);
    plain("{ name: j, match: a.k = b.k OR a.v = b.v }", no_key);
    plain("{ name: j, match: a.k = 1 AND a.k = a.v }", no_key);
    plain("{ name: j, match: TRUE }", no_key);
    plain("{ name: j, match: a.k = b.text }", "BIGINT cannot be compared with STRING");
    plain("{ name: j, match: a.k = b.k AND a.v + b.v }", "a condition takes BOOLEAN, this is BIGINT");
    let row = "ROW<k BIGINT, v BIGINT NOT NULL, text STRING, at TIMESTAMP(3)>";
    plain("{ name: j, match: a = b }", &format!("{row} cannot be compared with {row}"));
}

#[test]
fn intervals() {
    let check = |within: &str, expect: &str| {
        plain(&format!("{{ name: j, match: a.k = b.k, within: \"{within}\" }}"), expect);
    };
    let one_side = "`within` bounds the distance from one side only, so a row would be kept for ever";
    check("b.at >= a.at", one_side);
    check("b.at BETWEEN a.at AND b.at", "`within` compares a time of one side with a time of the other");
    check("b.at = a.at AND a.at < b.at", "no two times are as far apart as this says");
    check(
        "a.at = b.at OR a.at < b.at",
        "`within` bounds how far apart the times of two rows are, and this does not",
    );
    check("a.k = b.k", "`within` takes columns of type TIMESTAMP(3) or TIMESTAMP_LTZ(3)");
    check(
        "b.at BETWEEN a.at AND a.at + INTERVAL '1' MONTH",
        "months differ in length: the distance is bounded in days or less",
    );
    check("COALESCE(b.at, b.at) = a.at", "`within` takes columns, shifted by INTERVALs");
}

#[test]
fn an_interval_join_takes_rows_that_stay() {
    let changed = "`within` takes rows that stay, and the rows here may be taken back";
    check("{ name: j, match: a.k = b.k, within: a.at = b.at }", [true, false], &[changed]);
}
