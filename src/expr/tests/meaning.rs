//! What expressions come to.

use super::{check, check_constant};

#[test]
fn numbers_literals_and_arithmetic() {
    for (text, data_type, expect) in [
        ("12", "INT", "12"),
        ("2147483648", "BIGINT", "2147483648"),
        ("-2147483648", "INT", "-2147483648"),
        ("-9223372036854775808", "BIGINT", "-9223372036854775808"),
        ("9223372036854775808", "DECIMAL(19, 0)", "9223372036854775808"),
        ("0.908", "DECIMAL(4, 3)", "0.908"),
        (".5", "DECIMAL(1, 1)", "0.5"),
        ("1e3", "DOUBLE", "1000.0"),
        ("1 + 2 * 3", "INT", "7"),
        ("(1 + 2) * 3", "INT", "9"),
        ("7 / 2", "INT", "3"),
        ("-7 / 2", "INT", "-3"),
        ("-7 % 3", "INT", "-1"),
        ("7 % -3", "INT", "1"),
        ("2147483647 + 1", "INT", "-2147483648"),
        ("9223372036854775807 + 1", "BIGINT", "-9223372036854775808"),
        ("1.5 + 1", "DECIMAL(12, 1)", "2.5"),
        ("1.0 / 3", "DECIMAL(13, 12)", "0.333333333333"),
        ("2.00 / 3.0", "DECIMAL(8, 6)", "0.666667"),
        ("1e0 / 0", "DOUBLE", "Infinity"),
        ("1.5 * 1e0", "DOUBLE", "1.5"),
        ("99999999999999999999999999999999999999 + 1", "DECIMAL(38, 0)", "NULL"),
        ("1.1 = 1.10", "BOOLEAN", "TRUE"),
        ("'a' || 'b'", "STRING", "ab"),
        ("NULL", "NULL", "NULL"),
        ("1 + NULL", "INT", "NULL"),
        ("'it''s'", "STRING", "it's"),
        ("TRUE AND NULL", "BOOLEAN", "NULL"),
        ("FALSE AND NULL", "BOOLEAN", "FALSE"),
        ("TRUE OR NULL", "BOOLEAN", "TRUE"),
        ("NOT NULL", "BOOLEAN", "NULL"),
        ("NULL IS UNKNOWN", "BOOLEAN", "TRUE"),
        ("NULL IS NOT TRUE", "BOOLEAN", "TRUE"),
        ("1 BETWEEN 0 AND 2", "BOOLEAN", "TRUE"),
        ("1 NOT BETWEEN 0 AND 2", "BOOLEAN", "FALSE"),
        ("1 IN (2, NULL)", "BOOLEAN", "NULL"),
        ("1 IN (1, NULL)", "BOOLEAN", "TRUE"),
        ("1 NOT IN (2, 3)", "BOOLEAN", "TRUE"),
        ("'50%' LIKE '50!%' ESCAPE '!'", "BOOLEAN", "TRUE"),
        (r"'a\%' LIKE 'a\%'", "BOOLEAN", "TRUE"),
        ("CASE 2 WHEN 1 THEN 'a' WHEN 2 THEN 'b' END", "STRING", "b"),
        ("CASE WHEN FALSE THEN 1 END", "INT", "NULL"),
        ("CASE WHEN TRUE THEN 1 ELSE 2.5 END", "DECIMAL(11, 1)", "1.0"),
        ("1 IS DISTINCT FROM NULL", "BOOLEAN", "TRUE"),
        ("NULL IS NOT DISTINCT FROM NULL", "BOOLEAN", "TRUE"),
        ("-0e0 = 0e0", "BOOLEAN", "TRUE"),
        ("ARRAY[1, 2][2]", "INT", "2"),
        ("ARRAY[1, 2][3]", "INT", "NULL"),
    ] {
        check_constant(text, data_type, expect);
    }
}

#[test]
fn columns_and_rows_that_fail() {
    for (text, data_type, expect) in [
        ("i + 1", "INT", ["8", "-2147483647", "NULL"]),
        ("l + 1", "BIGINT", ["-6", "-9223372036854775808", "NULL"]),
        ("t * t", "TINYINT", ["25", "0", "NULL"]),
        ("t / 2", "INT", ["2", "-64", "NULL"]),
        ("i / zero", "INT", ["!division by zero", "-2147483648", "NULL"]),
        ("i / -zero", "INT", ["!division by zero", "-2147483648", "NULL"]),
        ("zero <> 0 AND 10 / zero > 1", "BOOLEAN", ["FALSE", "TRUE", "FALSE"]),
        ("CASE WHEN zero = 0 THEN -1 ELSE 10 / zero END", "INT", ["-1", "10", "-1"]),
        ("0.908 * l", "DECIMAL(23, 3)", ["-6.356", "8374821809464136432.756", "NULL"]),
        ("p / 3", "DECIMAL(23, 13)", ["41.1500000000000", "-0.1666666666667", "NULL"]),
        ("p + i", "DECIMAL(13, 2)", ["130.45", "-2147483648.50", "NULL"]),
        ("p > 1", "BOOLEAN", ["TRUE", "FALSE", "NULL"]),
        ("p = 123.450", "BOOLEAN", ["TRUE", "FALSE", "NULL"]),
        ("l < 0.5", "BOOLEAN", ["TRUE", "FALSE", "NULL"]),
        ("d * 2", "DOUBLE", ["5.0", "Infinity", "NULL"]),
        ("f + i", "FLOAT", ["8.5", "NaN", "NULL"]),
        ("f + p", "DOUBLE", ["124.95", "NaN", "NULL"]),
        ("f = f", "BOOLEAN", ["TRUE", "FALSE", "NULL"]),
        ("f > 1", "BOOLEAN", ["TRUE", "FALSE", "NULL"]),
        ("s = 'Hello World'", "BOOLEAN", ["TRUE", "FALSE", "NULL"]),
        ("S", "STRING", ["über", "", "日本語"]),
        ("`s` || '!'", "STRING", ["Hello World!", "12!", "NULL"]),
        ("user", "STRING", ["root", "eve", "NULL"]),
        ("s IN ('12', 'x')", "BOOLEAN", ["FALSE", "TRUE", "NULL"]),
        ("s NOT IN ('12', 'x')", "BOOLEAN", ["TRUE", "FALSE", "NULL"]),
        ("i IN (7, l)", "BOOLEAN", ["TRUE", "FALSE", "NULL"]),
        ("bid.price", "BIGINT", ["100", "NULL", "NULL"]),
        ("bid.channel", "STRING", ["web", "app", "NULL"]),
        ("bid.deep.n", "INT", ["1", "2", "NULL"]),
        ("`bid`.`channel` IS NULL", "BOOLEAN", ["FALSE", "FALSE", "TRUE"]),
        ("tags[1]", "INT", ["10", "NULL", "NULL"]),
        ("tags[2]", "INT", ["NULL", "NULL", "NULL"]),
        ("tags[i]", "INT", ["NULL", "NULL", "NULL"]),
        ("m['b']", "BIGINT", ["2", "NULL", "NULL"]),
        ("m[s]", "BIGINT", ["NULL", "NULL", "NULL"]),
        ("b IS TRUE", "BOOLEAN", ["TRUE", "FALSE", "FALSE"]),
        ("b IS NOT FALSE", "BOOLEAN", ["TRUE", "FALSE", "TRUE"]),
        ("NOT b", "BOOLEAN", ["FALSE", "TRUE", "NULL"]),
        ("CASE s WHEN '12' THEN 1 ELSE 0 END", "INT", ["0", "1", "0"]),
        ("at = fine", "BOOLEAN", ["FALSE", "FALSE", "NULL"]),
        ("at <= fine", "BOOLEAN", ["TRUE", "TRUE", "NULL"]),
        ("at > '2024-01-01 00:00:00'", "BOOLEAN", ["TRUE", "FALSE", "NULL"]),
        ("day = DATE '2024-02-29'", "BOOLEAN", ["TRUE", "FALSE", "NULL"]),
        ("at >= day", "BOOLEAN", ["TRUE", "TRUE", "NULL"]),
        (
            "at + INTERVAL '1' MONTH",
            "TIMESTAMP(3)",
            ["2024-03-29 13:50:15.123", "1970-01-31 23:59:59.999", "NULL"],
        ),
        (
            "at - INTERVAL '1 12:00' DAY TO MINUTE",
            "TIMESTAMP(3)",
            ["2024-02-28 01:50:15.123", "1969-12-30 11:59:59.999", "NULL"],
        ),
        ("day + INTERVAL '1' DAY", "DATE", ["2024-03-01", "1970-01-01", "NULL"]),
        ("clock - INTERVAL '10' HOUR", "TIME(3)", ["23:30:15.500", "14:00:00.000", "NULL"]),
        (
            "INTERVAL '1' SECOND + instant",
            "TIMESTAMP_LTZ(3)",
            ["2024-02-29 13:50:16.123", "1970-01-01 00:00:00.999", "NULL"],
        ),
        ("COALESCE(i, 0)", "INT", ["7", "-2147483648", "0"]),
        ("GREATEST(i, zero)", "INT", ["7", "1", "NULL"]),
        ("IF(b, s, 'no')", "STRING", ["Hello World", "no", "no"]),
        ("NULLIF(zero, 0)", "INT", ["NULL", "1", "NULL"]),
        ("ARRAY[i, zero][2]", "INT", ["0", "1", "0"]),
    ] {
        check(text, data_type, expect);
    }
}

#[test]
fn casts() {
    for (text, data_type, expect) in [
        ("CAST(s AS INT)", "INT", ["!`Hello World` is not a INT", "12", "NULL"]),
        ("TRY_CAST(s AS INT)", "INT", ["NULL", "12", "NULL"]),
        ("CAST(l AS INT)", "INT", ["-7", "!9223372036854775807 does not fit INT", "NULL"]),
        ("TRY_CAST(l AS TINYINT)", "TINYINT", ["-7", "NULL", "NULL"]),
        ("CAST(p AS INT)", "INT", ["123", "0", "NULL"]),
        ("CAST(p AS DECIMAL(12, 1))", "DECIMAL(12, 1)", ["123.5", "-0.5", "NULL"]),
        ("CAST(p AS DECIMAL(3, 1))", "DECIMAL(3, 1)", ["NULL", "-0.5", "NULL"]),
        ("CAST(p AS DOUBLE)", "DOUBLE", ["123.45", "-0.5", "NULL"]),
        ("CAST(d AS BIGINT)", "BIGINT", ["2", "!inf does not fit BIGINT", "NULL"]),
        ("CAST(d AS DECIMAL(5, 1))", "DECIMAL(5, 1)", ["2.5", "!inf DOUBLE is not a decimal number", "NULL"]),
        ("CAST(i AS STRING)", "STRING", ["7", "-2147483648", "NULL"]),
        ("CAST(d AS STRING)", "STRING", ["2.5", "Infinity", "NULL"]),
        ("CAST(b AS STRING)", "STRING", ["TRUE", "FALSE", "NULL"]),
        ("CAST(b AS INT)", "INT", ["1", "0", "NULL"]),
        ("CAST(zero AS BOOLEAN)", "BOOLEAN", ["FALSE", "TRUE", "FALSE"]),
        ("CAST(at AS STRING)", "STRING", ["2024-02-29 13:50:15.123", "1969-12-31 23:59:59.999", "NULL"]),
        (
            "CAST(fine AS TIMESTAMP(3))",
            "TIMESTAMP(3)",
            ["2024-02-29 13:50:15.123", "1969-12-31 23:59:59.999", "NULL"],
        ),
        ("CAST(at AS TIMESTAMP(0))", "TIMESTAMP(0)", ["2024-02-29 13:50:15", "1969-12-31 23:59:59", "NULL"]),
        ("CAST(at AS DATE)", "DATE", ["2024-02-29", "1969-12-31", "NULL"]),
        ("CAST(at AS TIME)", "TIME", ["13:50:15", "23:59:59", "NULL"]),
        (
            "CAST(day AS TIMESTAMP(3))",
            "TIMESTAMP(3)",
            ["2024-02-29 00:00:00.000", "1969-12-31 00:00:00.000", "NULL"],
        ),
        ("CAST(instant AS TIMESTAMP(3)) = at", "BOOLEAN", ["TRUE", "TRUE", "NULL"]),
        ("CAST(x AS STRING)", "STRING", ["ab", "!the bytes are not UTF-8", "NULL"]),
        ("CAST(clock AS STRING)", "STRING", ["09:30:15.500", "00:00:00.000", "NULL"]),
    ] {
        check(text, data_type, expect);
    }
    for (text, data_type, expect) in [
        ("CAST(' 12.7 ' AS INT)", "INT", "12"),
        ("CAST(2.5e0 AS INT)", "INT", "2"),
        ("CAST(-2.9 AS INT)", "INT", "-2"),
        ("CAST('1.005' AS DECIMAL(5, 2))", "DECIMAL(5, 2)", "1.01"),
        ("CAST('1e10' AS DOUBLE)", "DOUBLE", "1.0E10"),
        ("CAST(1e-4 AS STRING)", "STRING", "1.0E-4"),
        ("CAST(100e0 AS STRING)", "STRING", "100.0"),
        ("CAST('true' AS BOOLEAN)", "BOOLEAN", "TRUE"),
        ("CAST('2024-02-29' AS DATE)", "DATE", "2024-02-29"),
        ("CAST('2024-02-29T01:02:03.5Z' AS TIMESTAMP_LTZ(3))", "TIMESTAMP_LTZ(3)", "2024-02-29 01:02:03.500"),
        (
            "CAST('2024-02-29T01:02:03+02:00' AS TIMESTAMP_LTZ(3))",
            "TIMESTAMP_LTZ(3)",
            "2024-02-28 23:02:03.000",
        ),
        ("CAST('2024-02-29 01:02:03' AS TIMESTAMP_LTZ(3))", "TIMESTAMP_LTZ(3)", "2024-02-29 01:02:03.000"),
        ("TIMESTAMP '2024-02-29 01:02:03.25'", "TIMESTAMP(2)", "2024-02-29 01:02:03.25"),
        ("TIME '09:30:00'", "TIME", "09:30:00"),
        ("TRY_CAST('x' AS DOUBLE)", "DOUBLE", "NULL"),
        ("CAST(NULL AS DATE)", "DATE", "NULL"),
        ("CAST(0.1e0 AS DECIMAL(10, 2))", "DECIMAL(10, 2)", "0.10"),
    ] {
        check_constant(text, data_type, expect);
    }
}

#[test]
fn functions_at_their_edges() {
    for (text, data_type, expect) in [
        ("ABS(-2147483648)", "INT", "-2147483648"),
        ("SIGN(-2.50)", "DECIMAL(3, 2)", "-1.00"),
        ("SIGN(NULL)", "INT", "NULL"),
        ("CEIL(-1.2)", "DECIMAL(2, 0)", "-1"),
        ("FLOOR(-1.2)", "DECIMAL(2, 0)", "-2"),
        ("ROUND(-2.5)", "DECIMAL(2, 0)", "-3"),
        ("ROUND(125, -1)", "INT", "130"),
        ("ROUND(2.675e0, 2)", "DOUBLE", "2.68"),
        ("TRUNCATE(-2.59, 1)", "DECIMAL(3, 2)", "-2.50"),
        ("SUBSTRING('hello', -3)", "STRING", "llo"),
        ("SUBSTRING('hello', -9)", "STRING", ""),
        ("SUBSTRING('hello', 0, 2)", "STRING", "he"),
        ("SUBSTRING('hello' FROM 2 FOR 3)", "STRING", "ell"),
        ("SUBSTRING('日本語', 2)", "STRING", "本語"),
        ("LEFT('日本', -1)", "STRING", ""),
        ("RIGHT('日本', 9)", "STRING", "日本"),
        ("TRIM('  a ')", "STRING", "a"),
        ("TRIM(LEADING 'xy' FROM 'yxaxy')", "STRING", "axy"),
        ("LOCATE('', 'abc', 4)", "INT", "4"),
        ("LOCATE('a', 'abc', 9)", "INT", "0"),
        ("LPAD('hello', 2, 'x')", "STRING", "he"),
        ("LPAD('a', -1, 'x')", "STRING", "NULL"),
        ("CHR(-1)", "STRING", "NULL"),
        ("SPLIT_INDEX('a//b', '/', 1)", "STRING", ""),
        ("SPLIT_INDEX('a/b', '/', 2)", "STRING", "NULL"),
        ("SPLIT_INDEX('a/b', '/', -1)", "STRING", "NULL"),
        ("CONCAT('a', NULL)", "STRING", "NULL"),
        ("CONCAT_WS(NULL, 'a')", "STRING", "NULL"),
        ("REGEXP_EXTRACT('x=1&channel_id=77&y', '(&|^)channel_id=([^&]*)', 2)", "STRING", "77"),
        ("REGEXP_EXTRACT('abc', 'z')", "STRING", "NULL"),
        (r"REGEXP_REPLACE('a-b', '(.)-(.)', '$2\$$1')", "STRING", "b$a"),
        ("INITCAP('o''neil mc-donald')", "STRING", "O'Neil Mc-Donald"),
        ("DAYOFWEEK(DATE '2024-03-03')", "BIGINT", "1"),
        ("WEEK(DATE '2021-01-03')", "BIGINT", "53"),
        ("EXTRACT(QUARTER FROM DATE '2024-12-31')", "BIGINT", "4"),
        ("FLOOR(TIMESTAMP '1969-12-31 23:59:59.5' TO MINUTE)", "TIMESTAMP(1)", "1969-12-31 23:59:00.0"),
        ("CEIL(TIMESTAMP '2024-02-29 00:00:01' TO MONTH)", "TIMESTAMP(0)", "2024-03-01 00:00:00"),
        ("FLOOR(DATE '2024-02-29' TO WEEK)", "DATE", "2024-02-25"),
        ("DATE '2024-01-31' + INTERVAL '1' MONTH", "DATE", "2024-02-29"),
        ("TIMESTAMPDIFF(MONTH, DATE '2024-01-31', DATE '2024-02-29')", "INT", "1"),
        ("TIMESTAMPDIFF(MONTH, DATE '2024-01-15', DATE '2024-03-14')", "INT", "1"),
        (
            "TIMESTAMPDIFF(HOUR, TIMESTAMP '2024-01-01 01:59:00', TIMESTAMP '2024-01-01 00:00:00')",
            "INT",
            "-1",
        ),
        ("TO_TIMESTAMP('nonsense')", "TIMESTAMP(3)", "NULL"),
        ("TO_TIMESTAMP('2024-02-30 00:00:00')", "TIMESTAMP(3)", "NULL"),
        ("DATE_FORMAT(DATE '2024-02-29', 'MMM d')", "STRING", "Feb 29"),
        ("FROM_UNIXTIME(1709214615, 'HH:mm')", "STRING", "13:50"),
        ("CARDINALITY(ARRAY[1, NULL])", "INT", "2"),
        ("ARRAY_CONTAINS(ARRAY['a'], 'b')", "BOOLEAN", "FALSE"),
        ("LEAST(1, 2.5, NULL)", "DECIMAL(11, 1)", "NULL"),
    ] {
        check_constant(text, data_type, expect);
    }
    for (text, data_type, expect) in [
        ("HOUR(at)", "BIGINT", ["13", "23", "NULL"]),
        (
            "DATE_FORMAT(fine, 'yyyy-MM-dd ss.SSSSSS')",
            "STRING",
            ["2024-02-29 15.123456", "1969-12-31 59.999999", "NULL"],
        ),
        ("CHAR_LENGTH(S) - CHAR_LENGTH(REPLACE(S, 'e', ''))", "INT", ["1", "0", "0"]),
        ("UPPER(S)", "STRING", ["ÜBER", "", "日本語"]),
        ("REPEAT(S, l)", "STRING", ["", "", "NULL"]),
        ("REPEAT('ab', l)", "STRING", ["", "!the text would be longer than 16 MiB", "NULL"]),
        ("LOWER(s) IN ('12', 'hello world')", "BOOLEAN", ["TRUE", "TRUE", "NULL"]),
        ("CURRENT_TIMESTAMP > at", "BOOLEAN", ["!", "!", "!"]),
        (
            "NOW()",
            "TIMESTAMP_LTZ(3)",
            ["2023-11-14 22:13:20.000", "2023-11-14 22:13:20.000", "2023-11-14 22:13:20.000"],
        ),
        ("LOCALTIMESTAMP > at", "BOOLEAN", ["FALSE", "TRUE", "NULL"]),
        ("CASE WHEN b THEN NOW() ELSE instant END > instant", "BOOLEAN", ["FALSE", "FALSE", "NULL"]),
        ("CARDINALITY(tags)", "INT", ["3", "0", "NULL"]),
        ("ARRAY_CONTAINS(tags, 30)", "BOOLEAN", ["TRUE", "FALSE", "NULL"]),
        ("ELEMENT(tags)", "INT", ["!ELEMENT takes an array of one element, this has 3", "NULL", "NULL"]),
        ("CARDINALITY(m)", "INT", ["2", "0", "NULL"]),
        ("REGEXP(S, s)", "BOOLEAN", ["FALSE", "FALSE", "NULL"]),
    ] {
        if expect[0] == "!" {
            assert!(super::super::compile(text, &super::schema()).is_err(), "{text}");
        } else {
            check(text, data_type, expect);
        }
    }
}

#[test]
fn words_of_sql_are_names_of_columns_too() {
    let words = [
        "user",
        "at",
        "type",
        "value",
        "key",
        "day",
        "year",
        "date",
        "time",
        "timestamp",
        "name",
        "end",
        "start",
        "position",
        "row",
        "rows",
        "window",
        "order",
        "group",
        "left",
        "first",
        "final",
        "channel",
        "window_start",
        "count",
        "hour",
        "minute",
        "index",
        "language",
        "match",
        "percent",
        "desc",
        "from",
        "offset",
    ];
    for word in words {
        let column = crate::record::Column::new(word, crate::record::SqlType::Int, false);
        let schema = crate::record::Schema::new(vec![column]);
        for text in
            [word.to_owned(), format!("{word} + 1 > 2 AND {word} IS NOT NULL"), format!("ABS({word})")]
        {
            let quoted = text.replace(word, &format!("`{word}`"));
            assert!(super::super::compile(&quoted, &schema).is_ok(), "{quoted}");
            let plain = super::super::compile(&text, &schema);
            assert!(plain.is_ok(), "{text}: {plain:?}");
        }
    }
}
