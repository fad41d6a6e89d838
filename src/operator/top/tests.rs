//! The step through the harness.

use crate::operator::verify::check;

/// A row of these values, at so many seconds (`0` to `59`, with a fraction).
fn row(channel: &str, price: &str, id: u32, seconds: &str) -> String {
    let channel = if channel == "null" { "null".to_owned() } else { format!("\"{channel}\"") };
    format!(r#"{{"channel":{channel},"price":{price},"id":{id},"at":"2026-01-01T00:00:{seconds}"}}"#)
}

/// Checks rows written as `channel price id seconds`, a sign before them for changelogs and what is added to the
/// row behind a bar.
fn check_rows(step: &str, input: &[&str], expect: &[&str]) {
    let line = |text: &&str| {
        if text.starts_with("late: ") {
            return (*text).to_owned();
        }
        let (stream, text) = text.split_once(": ").map_or(("", *text), |(stream, rest)| (stream, rest));
        let (fields, added) = text.split_once(" | ").unwrap_or((text, ""));
        let sign = &fields[..fields.len() - fields.trim_start_matches(['+', '-']).len()];
        let parts: Vec<&str> = fields[sign.len()..].split(' ').collect();
        let mut row = row(parts[0], parts[1], parts[2].parse().unwrap(), parts[3]);
        if !added.is_empty() {
            row = format!("{},{added}}}", row.trim_end_matches('}'));
        }
        let stream = if stream.is_empty() { String::new() } else { format!("{stream}: ") };
        format!("{stream}{sign}{row}")
    };
    let (input, expect): (Vec<String>, Vec<String>) =
        (input.iter().map(line).collect(), expect.iter().map(line).collect());
    let input: Vec<&str> = input.iter().map(String::as_str).collect();
    let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
    check(step, &input, &expect);
}

#[test]
fn a_running_top_lets_go_of_the_last() {
    check_rows(
        "top: { name: t, n: 2, per: channel, order: price DESC }",
        &["a 1 1 01", "a 3 2 02", "b 9 3 03", "a 2 4 04", "a 1 5 05", "a 3 6 06"],
        &["+a 1 1 01", "+a 3 2 02", "+b 9 3 03", "-a 1 1 01", "+a 2 4 04", "-a 2 4 04", "+a 3 6 06"],
    );
}

#[test]
fn ranks_move_down() {
    check_rows(
        "top: { name: t, n: 2, per: channel, order: price DESC, rank: r }",
        &["a 1 1 01", "a 3 2 02", "a 3 3 03", "a 4 4 04"],
        &[
            "+a 1 1 01 | \"r\":1",
            "-a 1 1 01 | \"r\":1",
            "+a 3 2 02 | \"r\":1",
            "+a 1 1 01 | \"r\":2",
            "-a 1 1 01 | \"r\":2",
            "+a 3 3 03 | \"r\":2",
            "-a 3 2 02 | \"r\":1",
            "+a 4 4 04 | \"r\":1",
            "-a 3 3 03 | \"r\":2",
            "+a 3 2 02 | \"r\":2",
        ],
    );
}

#[test]
fn ties_are_kept_and_share_their_rank() {
    check_rows(
        "top: { name: t, n: 2, order: price, rank: r, ties: keep }",
        &["a 5 1 01", "a 5 2 02", "a 5 3 03", "a 6 4 04", "a 1 5 05", "a 1 6 06"],
        &[
            "+a 5 1 01 | \"r\":1",
            "+a 5 2 02 | \"r\":1",
            "+a 5 3 03 | \"r\":1",
            "-a 5 1 01 | \"r\":1",
            "-a 5 2 02 | \"r\":1",
            "-a 5 3 03 | \"r\":1",
            "+a 1 5 05 | \"r\":1",
            "+a 5 1 01 | \"r\":2",
            "+a 5 2 02 | \"r\":2",
            "+a 5 3 03 | \"r\":2",
            "+a 1 6 06 | \"r\":1",
            "-a 5 1 01 | \"r\":2",
            "-a 5 2 02 | \"r\":2",
            "-a 5 3 03 | \"r\":2",
        ],
    );
}

#[test]
fn null_is_the_least_value_and_a_key() {
    check_rows(
        "top: { name: t, n: 1, per: channel, order: price DESC }",
        &["null null 1 01", "null 1 2 02", "null null 3 03", "a null 4 04"],
        &["+null null 1 01", "-null null 1 01", "+null 1 2 02", "+a null 4 04"],
    );
    check_rows(
        "top: { name: t, n: 1, order: price }",
        &["a 1 1 01", "a null 2 02"],
        &["+a 1 1 01", "-a 1 1 01", "+a null 2 02"],
    );
}

#[test]
fn zeros_are_equal_and_nan_is_above_all() {
    check(
        "top: { name: t, n: 2, order: ratio DESC }",
        &[r#"{"ratio":0.0,"id":1}"#, r#"{"ratio":-0.0,"id":2}"#, r#"{"ratio":0.0,"id":3}"#],
        &[r#"+{"ratio":0.0,"id":1}"#, r#"+{"ratio":-0.0,"id":2}"#],
    );
}

#[test]
fn keys_and_orders_may_be_expressions() {
    for per in ["{ c: UPPER(channel) }", "UPPER(channel)"] {
        check_rows(
            &format!("top: {{ name: t, n: 1, per: {per}, order: \"MOD(price, 10) DESC, id DESC\" }}"),
            &["a 12 1 01", "A 21 2 02", "A 32 3 03"],
            &["+a 12 1 01", "-a 12 1 01", "+A 32 3 03"],
        );
    }
}

#[test]
fn the_next_row_moves_up_when_one_is_taken_back() {
    check_rows(
        "top: { name: t, n: 1, per: channel, order: price DESC }",
        &[
            "+a 1 1 01",
            "+a 3 2 02",
            "+a 2 3 03",
            "-a 3 2 02",
            "-a 1 1 01",
            "-a 2 3 03",
            "+a 1 4 04",
            "-a 9 9 09",
        ],
        &["+a 1 1 01", "-a 1 1 01", "+a 3 2 02", "-a 3 2 02", "+a 2 3 03", "-a 2 3 03", "+a 1 4 04"],
    );
}

#[test]
fn ranks_move_up_when_a_row_is_taken_back() {
    check_rows(
        "top: { name: t, n: 2, per: channel, order: price DESC, rank: r }",
        &["+a 1 1 01", "+a 1 1 01", "+a 3 2 02", "-a 1 1 01", "-a 3 2 02"],
        &[
            "+a 1 1 01 | \"r\":1",
            "+a 1 1 01 | \"r\":2",
            "-a 1 1 01 | \"r\":1",
            "+a 3 2 02 | \"r\":1",
            "-a 3 2 02 | \"r\":1",
            "+a 1 1 01 | \"r\":1",
            "-a 1 1 01 | \"r\":2",
        ],
    );
}

#[test]
fn windows_of_its_own() {
    let window = |start: &str, end: &str| {
        format!(r#""window_start":"2026-01-01T00:00:{start}","window_end":"2026-01-01T00:00:{end}""#)
    };
    let (first, second) = (window("00", "10"), window("10", "20"));
    let lines =
        [format!("b 5 3 03 | {first}"), format!("a 4 4 04 | {first}"), format!("a 7 6 11.5 | {second}")];
    let mut expect: Vec<&str> = lines.iter().map(String::as_str).collect();
    expect.extend(["behind: a 8 7 02", "late: 1"]);
    check_rows(
        "top: { name: t, n: 2, order: price DESC, window: { tumbling: 10s }, late: { to: behind } }",
        &["a 1 1 01", "a 4 4 04", "b 5 3 03", "a 4 5 05", "a 7 6 11.5", "a 8 7 02"],
        &expect,
    );
}

#[test]
fn windows_of_the_step_before() {
    let row = |price: u32, end: &str| format!(r#"{{"price":{price},"window_end":"2026-01-01T00:00:{end}"}}"#);
    let input = [row(1, "10"), row(4, "10"), row(4, "10"), row(2, "12"), row(9, "14")];
    let input: Vec<&str> = input.iter().map(String::as_str).collect();
    let ranked = |price: u32, end: &str, rank: u32| {
        format!("{},\"r\":{rank}}}", row(price, end).trim_end_matches('}'))
    };
    let expect = [ranked(4, "10", 1), ranked(4, "10", 1), ranked(2, "12", 1), ranked(9, "14", 1)];
    let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
    check("top: { name: t, n: 1, per: window_end, order: price DESC, ties: keep, rank: r }", &input, &expect);
    let expect = [row(1, "10"), row(4, "10"), row(4, "10"), row(9, "14")];
    let signed = ["+", "-", "+", "-", "+"].iter().zip([0, 0, 1, 1, 3]);
    let expect: Vec<String> = signed.map(|(sign, row)| format!("{sign}{}", expect[row])).collect();
    let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
    check("top: { name: t, n: 1, order: price DESC }", &input, &expect);
    // A changelog may correct a window that has ended.
    let input = input.iter().map(|row| format!("+{row}")).chain([format!("-{}", row(4, "10"))]);
    let input: Vec<String> = input.collect();
    let input: Vec<&str> = input.iter().map(String::as_str).collect();
    let expect = [
        format!("+{}", row(1, "10")),
        format!("-{}", row(1, "10")),
        format!("+{}", row(4, "10")),
        format!("+{}", row(2, "12")),
        format!("+{}", row(9, "14")),
    ];
    let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
    check("top: { name: t, n: 1, per: window_end, order: price DESC }", &input, &expect);
}
