//! What `pattern` finds in rows written down by hand.

use super::*;
use crate::operator::verify::{check, example_schema, flow_of, resolve_step};
use crate::operator::{Changelog, verb};

/// A row written as `user price second` as JSON.
fn json_of(row: &str) -> String {
    let parts: Vec<&str> = row.split(' ').collect();
    format!(r#"{{"user":"{}","price":{},"at":"2026-01-01T00:00:{}"}}"#, parts[0], parts[1], parts[2])
}

/// Checks rows written as `user price second`, the second with three digits of a fraction or without; what comes out is
/// written as JSON without its braces.
fn check_rows(step: &str, rows: &[&str], expect: &[&str]) {
    let rows: Vec<String> = rows.iter().map(|row| json_of(row)).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let braced = |text: &&str| if text.contains(": ") { (*text).to_owned() } else { format!("{{{text}}}") };
    let expect: Vec<String> = expect.iter().map(braced).collect();
    let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
    check(&format!("pattern: {{ name: p, by: user, {step} }}"), &rows, &expect);
}

/// The prices of one user, a second apart from second 10 on, and the matches as `select` makes them.
fn check_prices(step: &str, prices: &[i64], expect: &[&str]) {
    let rows: Vec<String> = (10..).zip(prices).map(|(second, price)| format!("a {price} {second}")).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let expect: Vec<String> = expect.iter().map(|text| format!(r#""user":"a",{text}"#)).collect();
    let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
    check_rows(step, &rows, &expect);
}

/// The ticker of Flink's documentation of `MATCH_RECOGNIZE`, "Greedy & Reluctant Quantifiers".
#[test]
fn quantifiers_are_greedy_unless_reluctant() {
    let define = "define: { A: A.price > 10, B: B.price < 15, C: C.price > 12 }, select: { last: C.price }";
    let prices = [10, 11, 12, 13, 14, 16];
    check_prices(&format!("sequence: A B* C, {define}"), &prices, &[r#""last":16"#]);
    check_prices(&format!("sequence: A B*? C, {define}"), &prices, &[r#""last":13"#, r#""last":16"#]);
    check_prices(&format!("sequence: A B? C, {define}"), &[11, 13, 14], &[r#""last":14"#]);
    check_prices(&format!("sequence: A B?? C, {define}"), &[11, 13, 14], &[r#""last":13"#]);
    check_prices(&format!("sequence: 'A B{{1,2}} C', {define}"), &[11, 12, 13, 14, 16], &[r#""last":14"#]);
    check_prices(&format!("sequence: 'A B{{1,2}}? C', {define}"), &[11, 12, 13, 14, 16], &[r#""last":13"#]);
}

/// What a quantifier takes it gives back where there is no match otherwise.
#[test]
fn a_greedy_quantifier_gives_rows_back() {
    check_prices(
        "sequence: A B* C, define: { B: price > 1, C: price > 5 }, select: { n: COUNT(B.*), c: C.price }",
        &[0, 2, 7, 9, 3, 1],
        &[r#""n":2,"c":9"#],
    );
}

#[test]
fn quantifiers_count() {
    let step = |quantifier: &str| {
        format!(
            "sequence: 'F{quantifier} S', define: {{ F: price < 5, S: price >= 5 }}, select: {{ n: COUNT(F.price), first: FIRST(F.price), s: S.price }}"
        )
    };
    check_prices(&step("{3}"), &[1, 2, 3, 4, 7, 1, 8], &[r#""n":3,"first":2,"s":7"#]);
    check_prices(&step("{3,}"), &[1, 2, 3, 4, 7, 1, 8], &[r#""n":4,"first":1,"s":7"#]);
    check_prices(
        &step("{1,2}"),
        &[1, 2, 3, 7, 1, 8],
        &[r#""n":2,"first":2,"s":7"#, r#""n":1,"first":1,"s":8"#],
    );
    check_prices(&step("{,2}"), &[7, 1, 8], &[r#""n":0,"first":null,"s":7"#, r#""n":1,"first":1,"s":8"#]);
    check_prices(&step("?"), &[7, 1, 8], &[r#""n":0,"first":null,"s":7"#, r#""n":1,"first":1,"s":8"#]);
    check_prices(&step("+"), &[7, 1, 2, 8], &[r#""n":2,"first":1,"s":8"#]);
}

/// The falling and rising prices of Flink's documentation, with LAST(…, 1) in place of PREV.
#[test]
fn a_condition_reads_earlier_rows() {
    let step = "sequence: START DOWN+ UP, define: { DOWN: (LAST(DOWN.price, 1) IS NULL AND DOWN.price < START.price) OR DOWN.price < LAST(DOWN.price, 1), UP: UP.price > LAST(DOWN.price) }, select: { start: START.at, bottom: LAST(DOWN.price), end: LAST(UP.price) }, skip: { to_last: UP }";
    check_prices(
        step,
        &[12, 17, 19, 21, 25, 18, 15, 14, 24, 25, 19],
        &[r#""start":"2026-01-01T00:00:14","bottom":14,"end":24"#],
    );
    // A bare column is the row itself, and LAST(price, 1) the row before it in the match.
    check_prices(
        "sequence: 'A UP{2,} D', define: { UP: price > LAST(price, 1), D: price < LAST(price, 1) }, select: { from: A.price, to: UP.price, n: COUNT(*) }",
        &[5, 1, 2, 3, 4, 2, 3, 1],
        &[r#""from":1,"to":4,"n":5"#],
    );
}

/// "Aggregations" of Flink's documentation: the longest time in which the average stays below a threshold.
#[test]
fn a_condition_reads_aggregates() {
    check_prices(
        "sequence: A+ B, define: { A: AVG(A.price) < 15 }, select: { first: FIRST(A.price), avg: AVG(A.price), b: B.price }",
        &[12, 17, 13, 16, 25, 2, 4, 10, 15, 25, 25, 30],
        &[r#""first":12,"avg":14,"b":25"#, r#""first":2,"avg":13,"b":30"#],
    );
    check_prices(
        "sequence: A+ B, define: { A: SUM(A.price) <= 10 AND COUNT(A.*) <= 3 }, select: { n: COUNT(A.*), sum: SUM(A.price), all: SUM(price) }",
        &[1, 1, 1, 1, 9, 9, 1],
        &[r#""n":3,"sum":3,"all":4"#, r#""n":1,"sum":9,"all":18"#],
    );
}

#[test]
fn first_and_last_count_rows() {
    check_prices(
        "sequence: A+ B, define: { A: price < 9, B: price > 8 }, select: { f0: FIRST(A.price), f1: 'FIRST(A.price, 1)', l1: 'LAST(A.price, 1)', l9: 'LAST(A.price, 9)', all: 'FIRST(price, 1) + LAST(price, 1)', twice: 2 * A.price + B.price }",
        &[1, 2, 3, 9],
        &[r#""f0":1,"f1":2,"l1":2,"l9":null,"all":5,"twice":15"#],
    );
}

/// "After Match Strategy" of Flink's documentation.
#[test]
fn where_matching_goes_on() {
    let step = |skip: &str| {
        format!(
            "sequence: A+ B, define: {{ A: A.price > 5, B: B.price < 5 }}, select: {{ n: COUNT(A.*), first: FIRST(A.price) }}, skip: {skip}"
        )
    };
    let prices = [6, 7, 8, 1, 9, 2];
    let (one, last) = (r#""n":3,"first":6"#, r#""n":1,"first":9"#);
    check_prices(&step("past_last_row"), &prices, &[one, last]);
    let each = [one, r#""n":2,"first":7"#, r#""n":1,"first":8"#, last];
    check_prices(&step("to_next_row"), &prices, &each);
    check_prices(&step("{ to_last: A }"), &prices, &[one, r#""n":1,"first":8"#, last]);
    let steps = "sequence: 'A B{2,} C', define: { A: price = 1, B: price <= 2, C: price = 3 }, select: { n: COUNT(*) }, skip:";
    check_prices(&format!("{steps} {{ to_first: B }}"), &[1, 1, 1, 2, 3], &[r#""n":5"#, r#""n":4"#]);
    check_prices(&format!("{steps} {{ to_first: C }}"), &[1, 1, 1, 2, 3], &[r#""n":5"#]);
}

#[test]
fn aggregates_may_be_filtered_and_distinct() {
    check_prices(
        "sequence: A+ B, define: { A: price < 9, B: price > 8 AND COUNT(A.*) FILTER (WHERE A.price > 1) > 1 }, select: { s: SUM(A.price) FILTER (WHERE A.price > 1), d: COUNT(DISTINCT A.price), l: 'ARRAY_AGG(price)', above: COUNT(*) FILTER (WHERE A.price > 2), m: 'MAX(A.price - 1)' }",
        &[1, 2, 2, 3, 9],
        &[r#""s":7,"d":3,"l":[1,2,2,3,9],"above":1,"m":2"#],
    );
}

#[test]
fn groups_and_alternatives() {
    let define = "define: { A: price = 1, B: price = 2, C: price = 3 }";
    check_prices(
        &format!("sequence: '(A B)+ C', {define}, select: {{ a: COUNT(A.*), n: COUNT(*) }}"),
        &[1, 2, 1, 2, 3, 1, 3, 1, 2, 3],
        &[r#""a":2,"n":5"#, r#""a":1,"n":3"#],
    );
    check_prices(
        &format!("sequence: A (B | C), {define}, select: {{ b: B.price, c: C.price }}"),
        &[1, 2, 1, 3, 1, 1],
        &[r#""b":2,"c":null"#, r#""b":null,"c":3"#],
    );
    // The first alternative that leads to a match is taken.
    check_prices(
        "sequence: (A | B C), define: { A: price > 1, B: TRUE, C: price = 3 }, select: { a: A.price, c: C.price }",
        &[2, 1, 3],
        &[r#""a":2,"c":null"#, r#""a":null,"c":3"#],
    );
}

/// A match that could still have become a longer one is told when it is known that it has not.
#[test]
fn an_optional_end_waits_for_the_next_row() {
    let step = "sequence: A B?, define: { A: price = 1, B: price = 2 }, select: { n: COUNT(*), b: B.price }";
    check_prices(step, &[1, 2, 1, 3, 1], &[r#""n":2,"b":2"#, r#""n":1,"b":null"#, r#""n":1,"b":null"#]);
    check_prices(
        &format!("{step}, within: 2s"),
        &[1, 1, 1, 2],
        &[r#""n":1,"b":null"#, r#""n":1,"b":null"#, r#""n":2,"b":2"#],
    );
}

/// The event times of matches, in seconds: that of the last row, or of what decided that there is no preferred match.
#[test]
fn a_match_has_the_time_at_which_it_is_decided() {
    let check = |options: &str, rows: &[&str], expect: &[f64]| {
        let step = "sequence: A B?, define: { A: price = 1, B: price = 2 }, select: { n: COUNT(*) }";
        let schema = example_schema();
        let resolved =
            resolve_step(&format!("pattern: {{ name: p, by: user, {step}{options} }}"), &flow_of(&schema));
        let blocks = (0..).zip(rows).map(|(number, row)| {
            let last = number + 1 == rows.len() as u64;
            crate::operator::verify::block(&schema, decoded(&schema, &[json_of(row)]), number, last)
        });
        let output = crate::operator::verify::run(&resolved, 1, 8, &blocks.collect::<Vec<_>>());
        let midnight_ms = 1_767_225_600_000_i64;
        let times =
            output.batches.iter().flat_map(|batch| batch.times.as_ref().unwrap().at_ms.values().to_vec());
        let times: Vec<i64> = times.map(|at_ms| at_ms - midnight_ms).collect();
        #[expect(clippy::cast_possible_truncation, reason = "a few seconds")]
        let expect: Vec<i64> = expect.iter().map(|seconds| (seconds * 1000.0).round() as i64).collect();
        assert_eq!(times, expect, "{options}: {rows:?}");
    };
    check("", &["a 1 10", "a 2 11"], &[11.0]);
    check("", &["a 1 10", "a 3 11.5"], &[11.5]);
    check(", within: 2s", &["a 1 10", "a 3 11.5"], &[11.5]);
    check(", within: 2s", &["a 1 10", "a 2 12"], &[11.999]);
    check(", within: 2s", &["a 1 10", "b 3 30"], &[11.999]);
    // Decided by the end of the input, and not earlier than what has been told of the time before.
    check("", &["a 1 10"], &[10.0]);
    check("", &["a 1 10", "b 3 30", "b 3 31"], &[29.001]);
}

/// As in Flink, a match takes less than `within`.
#[test]
fn a_match_takes_less_than_within() {
    let step =
        "sequence: F+ S, define: { F: price = 1, S: price = 2 }, within: 2s, select: { n: COUNT(F.*) }";
    check_rows(step, &["a 1 10", "a 2 11.999"], &[r#""user":"a","n":1"#]);
    check_rows(step, &["a 1 10", "a 2 12"], &[]);
    check_rows(step, &["a 1 10", "a 1 11", "a 1 12", "a 2 12.5"], &[r#""user":"a","n":2"#]);
}

#[test]
fn rows_come_in_the_order_of_time_and_late_ones_are_told() {
    let step = "sequence: F F S, define: { F: price < 5 }, select: { one: FIRST(F.price), two: F.price, s: S.price }";
    let rows = ["a 9 12", "b 1 12", "a 2 11.5", "a 1 11.2", "a 3 10", "b 2 12", "b 7 13"];
    let expect = [r#""user":"a","one":1,"two":2,"s":9"#, r#""user":"b","one":1,"two":2,"s":7"#];
    check_rows(step, &rows, &[expect[0], expect[1], "late: 1"]);
    let late = r#"tardy: {"user":"a","price":3,"at":"2026-01-01T00:00:10"}"#;
    check_rows(&format!("{step}, late: {{ to: tardy }}"), &rows, &[expect[0], expect[1], late, "late: 1"]);
}

#[test]
fn without_a_key_all_rows_are_one_sequence() {
    check(
        "pattern: { name: p, sequence: A B, define: { A: A.price = 1, B: B.price > A.price }, select: { one: A.user, other: B.user } }",
        &[
            r#"{"user":"a","price":1,"at":"2026-01-01T00:00:01"}"#,
            r#"{"user":"b","price":2,"at":"2026-01-01T00:00:02"}"#,
            r#"{"user":"c","price":1,"at":"2026-01-01T00:00:03"}"#,
            r#"{"user":"c","price":1,"at":"2026-01-01T00:00:04"}"#,
        ],
        &[r#"{"one":"a","other":"b"}"#],
    );
}

#[test]
fn keys_may_be_expressions() {
    check(
        "pattern: { name: p, by: { who: UPPER(user), id: id }, sequence: A A, select: { n: 'SUM(A.price)' } }",
        &[
            r#"{"user":"a","id":1,"price":1,"at":"2026-01-01T00:00:01"}"#,
            r#"{"user":"A","id":1,"price":2,"at":"2026-01-01T00:00:02"}"#,
            r#"{"user":"a","id":null,"price":4,"at":"2026-01-01T00:00:03"}"#,
            r#"{"user":"A","id":null,"price":8,"at":"2026-01-01T00:00:04"}"#,
        ],
        &[r#"{"who":"A","id":1,"n":3}"#, r#"{"who":"A","id":null,"n":12}"#],
    );
}

#[test]
fn an_expression_that_fails_sends_a_row_to_quarantine() {
    let row = |price: i64, id: i64, second: u8| {
        format!(r#"{{"price":{price},"id":{id},"at":"2026-01-01T00:00:{second:02}"}}"#)
    };
    let check = |step: &str, rows: &[String], expect: &[&str]| {
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        check(&format!("pattern: {{ name: p, {step} }}"), &rows, expect);
    };
    let rows = [row(1, 1, 1), row(1, 0, 2), row(3, 1, 3)];
    // A condition over the row alone: the row is left out.
    check(
        "sequence: A B, define: { A: 10 / id > 1 }, select: { n: 'SUM(price)' }",
        &rows,
        &[r#"{"n":4}"#, "rejected: division by zero"],
    );
    // A condition over earlier rows: it does not hold.
    check(
        "sequence: A B, define: { B: B.price / A.id > 1 }, select: { n: 'SUM(price)' }",
        &rows,
        &["rejected: division by zero"],
    );
    // What is selected: there is no row of the match.
    check("sequence: A B, select: { n: B.price / B.id }", &rows, &["rejected: division by zero"]);
    check("sequence: A B, select: { n: SUM(10 / B.id) }", &rows, &["rejected: division by zero"]);
}

/// Ways that a condition could tell apart are not merged; too many of them are given up, and told.
#[test]
fn too_many_ways_are_given_up() {
    let check = |step: &str, rows: i64, given_up: usize| {
        let schema = example_schema();
        let resolved = resolve_step(&format!("pattern: {{ name: p, by: user, {step} }}"), &flow_of(&schema));
        let lines: Vec<String> =
            (0..rows).map(|row| json_of(&format!("a {} {}", 1 << row, row + 10))).collect();
        let block = crate::operator::verify::block(&schema, decoded(&schema, &lines), 0, true);
        let output = crate::operator::verify::run(&resolved, 1, 100, &[block]);
        let told =
            "more than 1024 ways to go on matching from this row: none is searched for any more".to_owned();
        assert_eq!(output.rejected, vec![told; given_up], "{step}");
    };
    // Each row may be taken by A or by B, and the sum tells all ways apart.
    let sums = "sequence: (A | B)+ C, define: { C: SUM(A.price) = 1000000 }, select: { n: COUNT(*) }";
    check(sums, 12, 2);
    check(sums, 10, 0);
    // The same where no column is kept that could be told.
    let counts =
        ["A", "B", "C", "D", "E", "F", "G"].map(|name| format!("COUNT({name}.*) = 99")).join(" AND ");
    let counts = format!(
        "sequence: (A | B | C | D | E | F | G)+ H, define: {{ H: {counts} }}, select: {{ n: COUNT(*) }}"
    );
    check(&counts, 5, 1);
}

#[test]
fn rows_that_may_be_taken_back_or_have_no_time_are_refused() {
    let flow = flow_of(&example_schema());
    let changelog = Flow { changelog: Some(Changelog { key: None }), ..flow.clone() };
    let untimed = Flow { event_time: None, ..flow.clone() };
    let mut problems = Problems::new();
    let node =
        yaml::parse(0, "{ name: p, sequence: A B, within: 1s, select: { n: COUNT(*) } }", &mut problems);
    let node = node.unwrap();
    let step = (verb("pattern").unwrap().parse)(&node, node.at, &mut problems).unwrap();
    assert!(step.resolve(&flow, &mut problems).is_some() && problems.all().is_empty());
    for refused in [changelog, untimed] {
        let before = problems.all().len();
        assert!(step.resolve(&refused, &mut problems).is_none() && problems.all().len() > before);
    }
}

#[test]
fn only_what_is_used_is_read() {
    let flow = flow_of(&example_schema());
    let names = |paths: &Paths| paths.iter().map(|path| path.join(".")).collect::<Vec<_>>();
    let step = "pattern: { name: p, by: UPPER(user), sequence: A B+ C, define: { B: ok, C: C.price > FIRST(B.price) }, select: { total: SUM(B.ratio) FILTER (WHERE B.id > 1), n: COUNT(A.*) } }".replace("UPPER(user)", "{ u: UPPER(user) }");
    let resolved = resolve_step(&step, &flow);
    assert_eq!(names(&(resolved.required)(&Paths::default())), ["id", "ok", "price", "ratio", "user"]);
    let unordered = resolve_step(&step, &Flow { ordered: false, ..flow.clone() });
    let aside = resolve_step(&step.replace("sequence", "late: { to: tardy }, sequence"), &flow);
    for resolved in [unordered, aside] {
        let needed = (resolved.required)(&Paths::default());
        assert!(example_schema().columns().iter().all(|column| needed.touches(&column.name)));
    }
}

/// A key is dropped when no match can go on from its rows, though it gets no more rows.
#[test]
fn what_no_match_can_need_is_dropped() {
    use crate::exchange::{Partition, Watermarks};
    use crate::operator::{Context, Network};
    let step = "pattern: { name: p, by: user, sequence: A B, define: { A: price = 1 }, within: 5s, select: { n: COUNT(*) } }";
    let resolved = resolve_step(step, &flow_of(&example_schema()));
    let [Part::Operator(conditions), Part::Exchange { columns, codec }, Part::Operator(build), ..] =
        resolved.parts.as_slice()
    else {
        panic!("conditions, an exchange, the operator")
    };
    let (mut operator, mut context) = ((build.build)(), Context::default());
    let mut prepare = Network::chain([conditions]);
    let mut partition = Partition::new(codec.clone(), columns.clone());
    let mut watermarks = Watermarks::new(1, 1000);
    // Rows as user, price and second, and how many rows are kept behind them.
    let steps = [
        ("a 1 00,b 1 01", 2),
        ("c 2 03", 3),
        ("c 2 04", 3),
        ("c 2 05", 3),
        ("c 2 06", 2),
        ("c 2 09,c 2 08", 1),
    ];
    for (number, (rows, kept)) in steps.into_iter().enumerate() {
        let schema = example_schema();
        let lines: Vec<String> = rows.split(',').map(json_of).collect();
        let batch = crate::operator::verify::block(&schema, decoded(&schema, &lines), number as u64, false);
        prepare.push(0, batch);
        let (_, prepared) = prepare.pull().expect("conditions yield what they are given");
        let mut batch = partition.split(prepared, 1).remove(0);
        watermarks.stamp(&mut batch);
        operator.push(batch, &mut context);
        while operator.pull(&mut context).is_some() {}
        assert_eq!(operator.state().entries, kept, "behind {rows:?}");
        assert!(operator.state().bytes > 0);
    }
}

fn decoded(schema: &crate::record::Schema, lines: &[String]) -> arrow::array::RecordBatch {
    use crate::codec::Decode;
    let (text, mut spans) = (lines.join("\n"), Vec::new());
    crate::codec::framing::frame_lines(text.as_bytes(), &mut spans);
    crate::codec::json::JsonDecoder::new(schema).decode(text.as_bytes(), &spans, &mut Vec::new())
}
