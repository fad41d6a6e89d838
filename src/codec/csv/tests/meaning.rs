//! What texts mean, and how values are written.

use super::*;

/// Decodes records of one column `c` of a type, without a header; the value as JSON, or a part of the reason.
fn check(data_type: &str, field: &str, expect: Result<&str, &str>) {
    let dialect = Dialect { header: false, ..Dialect::default() };
    check_in(&dialect, data_type, field, expect);
}

fn check_in(dialect: &Dialect, data_type: &str, field: &str, expect: Result<&str, &str>) {
    // Beside another column, so that nothing is an empty line.
    let columns = schema(&[("a", "STRING"), ("c", data_type)]);
    let delimiter = char::from(dialect.delimiter);
    let (rows, rejected) = decode(dialect, &columns, format!("x{delimiter}{field}\n").as_bytes());
    match expect {
        Ok(expect) => {
            assert_eq!(rejected, [], "{data_type} {field:?}");
            assert_eq!(
                json(&columns, &rows),
                format!("{{\"a\":\"x\",\"c\":{expect}}}\n"),
                "{data_type} {field:?}"
            );
        }
        Err(expect) => {
            assert_eq!(rows.num_rows(), 0, "{data_type} {field:?}");
            assert!(rejected[0].reason.contains(expect), "{data_type} {field:?}: {}", rejected[0].reason);
        }
    }
}

#[test]
fn fields_mean_what_json_strings_do() {
    for data_type in ["STRING", "INT", "DOUBLE", "BOOLEAN", "DATE", "BYTES", "ARRAY<INT>", "ROW<a INT>"] {
        check(data_type, "", Ok("null"));
        check(&format!("{data_type} NOT NULL"), "", Err("column `c` is NOT NULL and empty"));
    }
    check("STRING", "\"\"", Ok("\"\""));
    check("STRING", " a\tb ", Ok("\" a\\tb \""));
    check("STRING", "null", Ok("\"null\""));
    check("STRING", "\"a,\"\"b\"\"\"", Ok(r#""a,\"b\"""#));
    check("BOOLEAN", "TRUE", Ok("true"));
    check("BOOLEAN", "\"false\"", Ok("false"));
    check("BOOLEAN", "1", Err("column `c`: expected BOOLEAN, found \"1\""));
    check("TINYINT", "-128", Ok("-128"));
    check("TINYINT", "128", Err("expected TINYINT, found \"128\", which is out of range"));
    check("INT", " 7 ", Ok("7"));
    check("INT", "+7", Ok("7"));
    check("INT", "\"\"", Err("found \"\""));
    check("INT", "1.0", Err("found \"1.0\""));
    check("BIGINT", "9223372036854775807", Ok("9223372036854775807"));
    check("BIGINT", "9223372036854775808", Err("BIGINT"));
    check("BIGINT", "-", Err("BIGINT"));
    check("DOUBLE", "1e3", Ok("1000.0"));
    check("DOUBLE", "NaN", Ok("\"NaN\""));
    check("DOUBLE", "inf", Err("DOUBLE"));
    check("FLOAT", "0.1", Ok("0.1"));
    check("DECIMAL(6, 2)", "12.345", Ok("12.35"));
    check("DECIMAL(6, 2)", "-0.5", Ok("-0.50"));
    check("DECIMAL(6, 2)", "12345", Err("expected DECIMAL(6, 2), found \"12345\""));
    check(
        "DECIMAL(38, 0)",
        "99999999999999999999999999999999999999",
        Ok("99999999999999999999999999999999999999"),
    );
    check("BYTES", "aGk=", Ok("\"aGk=\""));
    check("BYTES", "a", Err("which is not base64"));
    check("DATE", "2024-02-29", Ok("\"2024-02-29\""));
    check("DATE", "2023-02-29", Err("a date looks like 2024-01-31"));
    check("TIME(3)", "09:30:15.25", Ok("\"09:30:15.25\""));
    check("TIMESTAMP(3)", "2024-01-31 09:30:15.123", Ok("\"2024-01-31T09:30:15.123\""));
    check("TIMESTAMP(3)", "2024-01-31T09:30:15Z", Err("which has a zone"));
    check("TIMESTAMP_LTZ(3)", "2024-01-31T09:30:15+01:00", Ok("\"2024-01-31T08:30:15Z\""));
    check("ARRAY<INT>", "\"[1,null,3]\"", Ok("[1,null,3]"));
    check("ARRAY<INT>", "[1]", Ok("[1]"));
    check("ARRAY<INT>", "null", Ok("null"));
    check("ARRAY<INT> NOT NULL", "null", Err("column `c` is NOT NULL and null"));
    check("ARRAY<INT>", "[x]", Err("column `c`: not JSON"));
    check("ARRAY<INT>", "{}", Err("column `c`: expected an array, found an object"));
    check("ROW<a INT, b STRING>", "\"{\"\"b\"\":\"\"x\"\"}\"", Ok("{\"a\":null,\"b\":\"x\"}"));
    check("ROW<a INT>", "\"{\"\"a\"\":\"\"x\"\"}\"", Err("column `c`, at `a`: expected INT"));
    check("MAP<STRING, INT>", "\"{\"\"a\"\":1}\"", Ok("{\"a\":1}"));
}

#[test]
fn the_text_of_null_is_an_option() {
    let dialect = Dialect { header: false, null: "NA".to_owned(), ..Dialect::default() };
    check_in(&dialect, "STRING", "NA", Ok("null"));
    check_in(&dialect, "STRING", "\"NA\"", Ok("\"NA\""));
    check_in(&dialect, "STRING", "", Ok("\"\""));
    check_in(&dialect, "INT", "NA", Ok("null"));
    check_in(&dialect, "INT", "", Err("expected INT, found \"\""));
    check_in(&dialect, "INT NOT NULL", "NA", Err("column `c` is NOT NULL and \"NA\""));
    let dialect = Dialect { header: false, delimiter: b'\t', quote: b'\'', ..Dialect::default() };
    check_in(&dialect, "STRING", "'a\t''b'", Ok(r#""a\t'b""#));
    check_in(&dialect, "STRING", "\"a\"", Ok(r#""\"a\"""#));
}

/// Decodes a file; its rows as JSON, and the numbers and reasons of its bad records.
fn check_file(dialect: &Dialect, columns: &Schema, text: &[u8], rows: &str, bad: &[(u32, &str)]) {
    let (found, rejected) = decode(dialect, columns, text);
    assert_eq!(json(columns, &found), rows);
    assert_eq!(rejected.len(), bad.len(), "{rejected:?}");
    for (rejected, (record, reason)) in rejected.iter().zip(bad) {
        assert_eq!(rejected.record, *record, "{rejected:?}");
        assert!(rejected.reason.contains(reason), "{reason}: {rejected:?}");
    }
}

#[test]
fn bad_records_take_no_other_with_them() {
    let columns = schema(&[("id", "INT NOT NULL"), ("name", "STRING")]);
    let text = b"name,x,id\na,,1\r\nb,,\nc,\n\"d,,3\nd,,\"4\"\n\ne\",,5\n\xff,,6\ng,\xc3,7\n\"h\"x,,8\ni,\xc3\xa9,9,\n\"j\"\"\",\",\",10";
    check_file(
        &Dialect::default(),
        &columns,
        text,
        "{\"id\":1,\"name\":\"a\"}\n{\"id\":4,\"name\":\"d\"}\n{\"id\":10,\"name\":\"j\\\"\"}\n",
        &[
            (1, "column `id` is NOT NULL and empty"),
            (2, "the record has 2 fields, and the header names 3"),
            (3, "the quotes of field 1 are not closed at the end of the line (with `multiline: true`"),
            (5, "a quote inside of field 1"),
            (6, "not UTF-8, at byte 0"),
            (7, "not UTF-8, at byte 2"),
            (8, "something follows the closing quote of field 1"),
            (9, "the record has 4 fields, and the header names 3"),
        ],
    );
}

#[test]
fn fields_may_hold_line_ends_where_that_is_said() {
    let columns = schema(&[("id", "INT"), ("b\nc", "STRING")]);
    let dialect = Dialect { multiline: true, ..Dialect::default() };
    check_file(
        &dialect,
        &columns,
        b"id,\"b\nc\"\n1,\"x\r\ny\"\r\n2\n\n3,\"\n\"\"\n\"\n4,a\"b\n5,c\"d\n6,\"e\n",
        "{\"id\":1,\"b\\nc\":\"x\\r\\ny\"}\n{\"id\":3,\"b\\nc\":\"\\n\\\"\\n\"}\n",
        &[
            (1, "the record has 1 field, and the header names 2"),
            // From a stray quote to the next one all is one record.
            (3, "a quote inside of field 2"),
            (4, "the quotes of field 2 are not closed"),
        ],
    );
}

#[test]
fn lines_and_columns() {
    let columns = schema(&[("a", "INT"), ("b", "STRING")]);
    let default = Dialect::default();
    check_file(&default, &columns, b"a,b", "", &[]);
    check_file(&default, &columns, b"a,b\n\n\r\n", "", &[]);
    check_file(&default, &columns, b"b\nx\n\n", "{\"a\":null,\"b\":\"x\"}\n{\"a\":null,\"b\":null}\n", &[]);
    check_file(&default, &columns, b"z\n1\n", "{\"a\":null,\"b\":null}\n", &[]);
    check_file(&default, &columns, b"a,b\n , \n", "", &[(0, "expected INT, found \" \"")]);
    let tabs = Dialect { delimiter: b'\t', ..Dialect::default() };
    check_file(&tabs, &columns, b"b\ta\n\t\n", "{\"a\":null,\"b\":null}\n", &[]);
    let bare = Dialect { header: false, ..Dialect::default() };
    check_file(
        &bare,
        &columns,
        b"1,x\n2\n",
        "{\"a\":1,\"b\":\"x\"}\n",
        &[(1, "has 1 field, and the schema has 2")],
    );
    let none = schema(&[]);
    let (rows, rejected) = decode(&default, &none, b"a,b\n1,2\n3\n4,5\n");
    assert_eq!((rows.num_rows(), rejected.len()), (2, 1));
}

#[test]
fn what_would_be_misread_is_put_in_quotes() {
    let check = |dialect: &Dialect, values: &str, expect: &str| {
        let columns =
            schema(&[("s", "STRING"), ("n", "INT"), ("d", "DATE"), ("l", "ARRAY<STRING>"), ("y", "BYTES")]);
        let written = encode(dialect, &columns, &of_json(&columns, values));
        assert_eq!(String::from_utf8(written).unwrap(), expect);
    };
    let bare = Dialect { header: false, ..Dialect::default() };
    check(&bare, "{}", ",,,,\n");
    check(&bare, r#"{"s":"","y":""}"#, "\"\",,,,\"\"\n");
    check(
        &bare,
        r#"{"s":" a ","n":-1,"d":"2024-01-31","l":["x"],"y":"aA=="}"#,
        " a ,-1,2024-01-31,\"[\"\"x\"\"]\",aA==\n",
    );
    check(&bare, r#"{"s":"a,b"}"#, "\"a,b\",,,,\n");
    check(&bare, r#"{"s":"a\"b"}"#, "\"a\"\"b\",,,,\n");
    check(&bare, r#"{"s":"a\nb"}"#, "\"a\nb\",,,,\n");
    check(&bare, r#"{"s":"a\r"}"#, "\"a\r\",,,,\n");
    check(&bare, "{\"s\":\"\u{feff}a\"}", "\"\u{feff}a\",,,,\n");
    check(&bare, "{\"s\":\"ﬀ\"}", "ﬀ,,,,\n");
    let dashes = Dialect { delimiter: b'-', ..bare.clone() };
    check(&dashes, r#"{"s":"a,b","n":-1,"d":"2024-01-31"}"#, "a,b-\"-1\"-\"2024-01-31\"--\n");
    let null = Dialect { null: "7".to_owned(), ..bare };
    check(&null, r#"{"s":"7","n":7}"#, "\"7\",\"7\",7,7,7\n");
    let columns = schema(&[("a", "INT"), ("b,c", "INT"), ("", "INT"), ("NA", "INT")]);
    let dialect = Dialect { null: "NA".to_owned(), ..Dialect::default() };
    assert_eq!(header_line(&dialect, &columns), b"a,\"b,c\",\"\",\"NA\"\n");
}
