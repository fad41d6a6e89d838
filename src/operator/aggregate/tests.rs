//! The step through the harness.

use crate::operator::verify::check;

const AT: [&str; 4] = [
    r#"{"channel":"a","price":1,"at":"2026-01-01T00:00:01"}"#,
    r#"{"channel":"b","price":2,"at":"2026-01-01T00:00:02"}"#,
    r#"{"channel":"a","price":3,"at":"2026-01-01T00:00:09.999"}"#,
    r#"{"channel":"a","price":4,"at":"2026-01-01T00:00:10"}"#,
];

#[test]
fn groups_by_key_and_window() {
    check(
        "aggregate: { name: s, by: channel, window: { tumbling: 10s }, select: { n: COUNT(*), total: SUM(price) } }",
        &AT,
        &[
            r#"{"channel":"a","window_start":"2026-01-01T00:00:00","window_end":"2026-01-01T00:00:10","n":2,"total":4}"#,
            r#"{"channel":"b","window_start":"2026-01-01T00:00:00","window_end":"2026-01-01T00:00:10","n":1,"total":2}"#,
            r#"{"channel":"a","window_start":"2026-01-01T00:00:10","window_end":"2026-01-01T00:00:20","n":1,"total":4}"#,
        ],
    );
}

#[test]
fn a_late_row_is_dropped_and_counted() {
    // The harness allows one second of disorder.
    check(
        "aggregate: { name: s, window: { tumbling: 10s }, select: { n: COUNT(*) } }",
        &[
            r#"{"at":"2026-01-01T00:00:05"}"#,
            r#"{"at":"2026-01-01T00:00:10.998"}"#,
            r#"{"at":"2026-01-01T00:00:06"}"#,
            r#"{"at":"2026-01-01T00:00:10.999"}"#,
            r#"{"at":"2026-01-01T00:00:07"}"#,
        ],
        &[
            r#"{"window_start":"2026-01-01T00:00:00","window_end":"2026-01-01T00:00:10","n":2}"#,
            r#"{"window_start":"2026-01-01T00:00:10","window_end":"2026-01-01T00:00:20","n":2}"#,
            "late: 1",
        ],
    );
}

#[test]
fn expressions_over_aggregates_filters_and_null_keys() {
    check(
        "aggregate: { name: s, by: { c: UPPER(channel) }, window: { tumbling: 1d }, \
         select: { share: 100 * COUNT(*) FILTER (WHERE price > 1) / COUNT(*), avg: AVG(price) } }",
        &[
            r#"{"channel":"a","price":1,"at":"2026-01-01T00:00:01"}"#,
            r#"{"channel":null,"price":5,"at":"2026-01-01T00:00:01"}"#,
            r#"{"channel":"A","price":4,"at":"2026-01-01T00:00:01"}"#,
        ],
        &[
            r#"{"c":"A","window_start":"2026-01-01T00:00:00","window_end":"2026-01-02T00:00:00","share":50,"avg":2}"#,
            r#"{"c":null,"window_start":"2026-01-01T00:00:00","window_end":"2026-01-02T00:00:00","share":100,"avg":5}"#,
        ],
    );
}

fn at(second: &str, price: i64) -> String {
    format!(r#"{{"channel":"a","price":{price},"at":"2026-01-01T00:00:{second}"}}"#)
}

fn result(start: &str, end: &str, rows: i64, total: i64) -> String {
    format!(
        r#"{{"channel":"a","window_start":"2026-01-01T00:00:{start}","window_end":"2026-01-01T00:00:{end}","n":{rows},"total":{total}}}"#
    )
}

fn check_rows(options: &str, input: &[String], expect: &[String]) {
    let step = format!(
        "aggregate: {{ name: s, by: channel, {options}, select: {{ n: COUNT(*), total: SUM(price) }} }}"
    );
    let input: Vec<&str> = input.iter().map(String::as_str).collect();
    let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
    check(&step, &input, &expect);
}

#[test]
fn sliding_windows_overlap_and_begin_before_the_first_row() {
    check_rows(
        "window: { sliding: 4s, every: 2s }",
        &[at("10", 1), at("12", 2), at("13.999", 4), at("20", 8)],
        &[
            result("08", "12", 1, 1),
            result("10", "14", 3, 7),
            result("12", "16", 2, 6),
            result("18", "22", 1, 8),
            result("20", "24", 1, 8),
        ],
    );
}

#[test]
fn a_row_behind_one_sliding_window_counts_in_the_next() {
    // The watermark is at 13 s once the row at 14 s has been seen: [8, 12) has fired, [10, 14) has not.
    check_rows(
        "window: { sliding: 4s, every: 2s }",
        &[at("11", 1), at("14", 2), at("11.5", 4), at("09", 8)],
        &[
            result("08", "12", 1, 1),
            result("10", "14", 2, 5),
            result("12", "16", 1, 2),
            result("14", "18", 1, 2),
            "late: 1".to_owned(),
        ],
    );
}

#[test]
fn cumulative_windows_fire_at_every_step_once_there_is_a_row() {
    check_rows(
        "window: { cumulative: 10s, every: 5s }",
        &[at("01", 1), at("07", 2), at("16", 4)],
        &[result("00", "05", 1, 1), result("00", "10", 2, 3), result("10", "20", 1, 4)],
    );
}

#[test]
fn sessions_merge_where_they_touch() {
    check_rows(
        "window: { session: 5s }",
        &[at("01", 1), at("06", 2), at("11.001", 4), at("16.5", 8), at("16.001", 16)],
        &[result("01", "11", 2, 3), result("11.001", "21.5", 3, 28)],
    );
}

#[test]
fn a_late_row_corrects_a_window_or_goes_to_its_stream() {
    check_rows(
        "window: { tumbling: 10s }, late: { allow: 5s, to: late_rows }",
        &[at("05", 1), at("11.001", 2), at("06", 4), at("20", 8), at("07", 16)],
        &[
            format!("+{}", result("00", "10", 1, 1)),
            format!("-{}", result("00", "10", 1, 1)),
            format!("+{}", result("00", "10", 2, 5)),
            format!("+{}", result("10", "20", 1, 2)),
            format!("+{}", result("20", "30", 1, 8)),
            format!("late_rows: {}", at("07", 16)),
            "late: 1".to_owned(),
        ],
    );
}

#[test]
fn a_late_row_corrects_a_session() {
    check_rows(
        "window: { session: 2s }, late: { allow: 5s }",
        &[at("05", 1), at("09", 2), at("06", 4), at("20", 8), at("07", 16)],
        &[
            format!("+{}", result("05", "07", 1, 1)),
            format!("-{}", result("05", "07", 1, 1)),
            format!("+{}", result("05", "08", 2, 5)),
            format!("+{}", result("09", "11", 1, 2)),
            format!("+{}", result("20", "22", 1, 8)),
            "late: 1".to_owned(),
        ],
    );
}

#[test]
fn running_results_correct_themselves() {
    check(
        "aggregate: { name: s, by: channel, select: { n: COUNT(*), most: MAX(price) } }",
        &[
            r#"{"channel":"a","price":1,"at":"2026-01-01T00:00:01"}"#,
            r#"{"channel":null,"price":5,"at":"2026-01-01T00:00:01"}"#,
            r#"{"channel":"a","price":4,"at":"2026-01-01T00:00:01"}"#,
        ],
        &[
            r#"+{"channel":"a","n":1,"most":1}"#,
            r#"+{"channel":null,"n":1,"most":5}"#,
            r#"-{"channel":"a","n":1,"most":1}"#,
            r#"+{"channel":"a","n":2,"most":4}"#,
        ],
    );
}

#[test]
fn what_is_taken_back_lowers_the_result_and_deletes_the_group() {
    check(
        "aggregate: { name: s, by: channel, select: { n: COUNT(*), most: MAX(price) } }",
        &[
            r#"+{"channel":"a","price":1}"#,
            r#"+{"channel":"a","price":4}"#,
            r#"-{"channel":"a","price":4}"#,
            r#"-{"channel":"a","price":1}"#,
            r#"-{"channel":"a","price":1}"#,
            r#"+{"channel":"a","price":7}"#,
        ],
        &[
            r#"+{"channel":"a","n":1,"most":1}"#,
            r#"-{"channel":"a","n":1,"most":1}"#,
            r#"+{"channel":"a","n":2,"most":4}"#,
            r#"-{"channel":"a","n":2,"most":4}"#,
            r#"+{"channel":"a","n":1,"most":1}"#,
            r#"-{"channel":"a","n":1,"most":1}"#,
            r#"+{"channel":"a","n":1,"most":7}"#,
        ],
    );
}

#[test]
fn every_so_many_rows_are_a_window() {
    check(
        "aggregate: { name: s, by: channel, window: { rows: 2 }, select: { total: SUM(price) } }",
        &[
            r#"{"channel":"a","price":1}"#,
            r#"{"channel":"b","price":2}"#,
            r#"{"channel":"a","price":4}"#,
            r#"{"channel":"a","price":8}"#,
            r#"{"channel":"a","price":16}"#,
            r#"{"channel":"b","price":32}"#,
            r#"{"channel":"a","price":64}"#,
        ],
        &[r#"{"channel":"a","total":5}"#, r#"{"channel":"a","total":24}"#, r#"{"channel":"b","total":34}"#],
    );
}

#[test]
fn a_window_may_go_by_another_time() {
    check(
        "aggregate: { name: s, window: { tumbling: 10s, time: TIMESTAMPADD(SECOND, price, at) }, select: { n: COUNT(*) } }",
        &[
            r#"{"price":1,"at":"2026-01-01T00:00:01"}"#,
            r#"{"price":10,"at":"2026-01-01T00:00:02"}"#,
            r#"{"price":null,"at":"2026-01-01T00:00:02"}"#,
        ],
        &[
            r#"{"window_start":"2026-01-01T00:00:00","window_end":"2026-01-01T00:00:10","n":1}"#,
            r#"{"window_start":"2026-01-01T00:00:10","window_end":"2026-01-01T00:00:20","n":1}"#,
            "rejected: the time that the window goes by is NULL",
        ],
    );
}

#[test]
fn distinct_values_and_constant_arguments() {
    check(
        "aggregate: { name: s, window: { tumbling: 10s }, select: { \
         channels: COUNT(DISTINCT channel), total: SUM(DISTINCT price) FILTER (WHERE price > 0), \
         all: \"LISTAGG(channel, '; ')\", each: LISTAGG(DISTINCT channel), list: ARRAY_AGG(price), \
         first: FIRST(channel), last: LAST_VALUE(channel), low: \"PERCENTILE(price, 0.25)\", spread: VAR_POP(price), \
         about: APPROX_COUNT_DISTINCT(price) } }",
        &[
            r#"{"channel":"b","price":1,"at":"2026-01-01T00:00:01"}"#,
            r#"{"channel":"a","price":null,"at":"2026-01-01T00:00:02"}"#,
            r#"{"channel":null,"price":3,"at":"2026-01-01T00:00:02"}"#,
            r#"{"channel":"b","price":1,"at":"2026-01-01T00:00:03"}"#,
        ],
        &[
            r#"{"window_start":"2026-01-01T00:00:00","window_end":"2026-01-01T00:00:10","channels":2,"total":4,"all":"b; a; b","each":"b,a","list":[1,null,3,1],"first":"b","last":"b","low":1.0,"spread":0.8888888888888888,"about":2}"#,
        ],
    );
}

#[test]
fn every_function_is_known_as_an_aggregate() {
    for function in crate::aggregate::FUNCTIONS {
        for name in function.aliases.iter().chain([&function.name]) {
            assert!(crate::expr::AGGREGATES.contains(name), "{name}");
        }
    }
}
