//! What JSON means to each type, and what makes a record a bad one.

use super::*;

/// Decodes `{"x":<json>}` into a column of a type; the value is shown as the encoder writes it.
fn value(data_type: &str, json: &str) -> Result<String, String> {
    record(&[("x", data_type)], format!("{{\"x\":{json}}}").as_bytes())
        .map(|text| text.strip_prefix("{\"x\":").unwrap().strip_suffix('}').unwrap().to_owned())
}

fn record(columns: &[(&str, &str)], json: &[u8]) -> Result<String, String> {
    let schema = schema(columns);
    let rows = decode_one(&mut JsonDecoder::new(&schema), json)?;
    Ok(encode(&schema, &rows).trim_end().to_owned())
}

#[track_caller]
fn check(data_type: &str, json: &str, expect: &str) {
    assert_eq!(value(data_type, json).as_deref(), Ok(expect), "{json} as {data_type}");
}

/// The reason holds a text.
#[track_caller]
fn bad(data_type: &str, json: &str, reason: &str) {
    let found = value(data_type, json).expect_err(json);
    assert!(found.contains(reason), "{json} as {data_type}: {found}");
}

#[test]
fn booleans() {
    check("BOOLEAN", "true", "true");
    check("BOOLEAN", "false", "false");
    check("BOOLEAN", "null", "null");
    check("BOOLEAN", r#""TRUE""#, "true");
    check("BOOLEAN", r#"" False ""#, "false");
    bad("BOOLEAN", "1", "column `x`: expected BOOLEAN, found 1");
    bad("BOOLEAN", r#""yes""#, "found the string \"yes\"");
    bad("BOOLEAN", "tru", "not JSON");
}

#[test]
fn integers() {
    check("BIGINT", "0", "0");
    check("BIGINT", "-0", "0");
    check("BIGINT", "9223372036854775807", "9223372036854775807");
    check("BIGINT", "-9223372036854775808", "-9223372036854775808");
    check("BIGINT", "1.0", "1");
    check("BIGINT", "1e3", "1000");
    check("BIGINT", "12.5e1", "125");
    check("BIGINT", "9007199254740993.0", "9007199254740993");
    check("BIGINT", "9223372036854775807.0", "9223372036854775807");
    check("BIGINT", "0e400", "0");
    check("BIGINT", r#"" 42 ""#, "42");
    check("BIGINT", r#""-42""#, "-42");
    bad("BIGINT", "9223372036854775808", "found 9223372036854775808, which is out of range");
    bad("BIGINT", "18446744073709551616", "found 18446744073709551616, which is out of range");
    bad("BIGINT", "-9223372036854775809", "which is out of range");
    bad("BIGINT", "9223372036854775808.0", "which is out of range");
    bad("BIGINT", "1e400", "found 1e400, which is out of range");
    bad("BIGINT", "1.5", "found 1.5, which has a fraction");
    bad("BIGINT", "1.0000000000000000000001", "which has a fraction");
    bad("BIGINT", "1e-400", "which has a fraction");
    bad("BIGINT", r#""abc""#, "column `x`: expected BIGINT, found the string \"abc\"");
    bad("BIGINT", r#""1.0""#, "found the string \"1.0\"");
    bad("BIGINT", r#""""#, "found the string \"\"");
    bad("BIGINT", "true", "found true");
    bad("BIGINT", "{}", "found an object");
    bad("BIGINT", "[1]", "found an array");
    bad("BIGINT", &format!("\"{}\"", "é".repeat(100)), &format!("\"{}…\"", "é".repeat(40)));
    check("TINYINT", "-128", "-128");
    bad("TINYINT", "128", "expected TINYINT, found 128, which is out of range");
    bad("TINYINT", r#""128""#, "which is out of range");
    bad("TINYINT", "3e2", "which is out of range");
    check("SMALLINT", "32767", "32767");
    bad("SMALLINT", "-32769", "which is out of range");
    check("INT", "2147483647", "2147483647");
    bad("INT", "2147483648", "which is out of range");
    for malformed in
        ["01", "-", "+1", "1.", ".5", "1e", "0x10", "--1", "1-", "NaN", "Infinity", "1e400e", "1 2"]
    {
        bad("BIGINT", malformed, "not JSON");
    }
}

#[test]
fn doubles() {
    check("DOUBLE", "1", "1.0");
    check("DOUBLE", "-0", "-0.0");
    check("DOUBLE", "-0.0", "-0.0");
    check("DOUBLE", "1.5e10", "1.5E10");
    check("DOUBLE", "1e-400", "0.0");
    check("DOUBLE", "5e-324", "4.9E-324");
    check("DOUBLE", "1.7976931348623157e308", "1.7976931348623157E308");
    check("DOUBLE", "0.1", "0.1");
    check("DOUBLE", "9007199254740993", "9.007199254740992E15");
    check("DOUBLE", "100000000000000000000000000", "1.0E26");
    check("DOUBLE", r#""2.5""#, "2.5");
    check("DOUBLE", r#""NaN""#, "\"NaN\"");
    check("DOUBLE", r#""-Infinity""#, "\"-Infinity\"");
    bad("DOUBLE", "1e400", "expected DOUBLE, found 1e400, which is out of range");
    bad("DOUBLE", r#""1e400""#, "which is out of range");
    bad("DOUBLE", r#""nan""#, "found the string");
    bad("DOUBLE", r#""inf""#, "found the string");
    bad("DOUBLE", r#""x""#, "found the string");
    bad("DOUBLE", "false", "found false");
    check("FLOAT", "0.1", "0.1");
    check("FLOAT", "16777217", "1.6777216E7");
    check("FLOAT", r#""Infinity""#, "\"Infinity\"");
    bad("FLOAT", "1e39", "expected FLOAT, found 1e39, which is out of range");
}

#[test]
fn decimals() {
    check("DECIMAL(12, 2)", "1", "1.00");
    check("DECIMAL(12, 2)", "-0", "0.00");
    check("DECIMAL(12, 2)", "1.005", "1.01");
    check("DECIMAL(12, 2)", "-1.005", "-1.01");
    check("DECIMAL(12, 2)", "1e3", "1000.00");
    check("DECIMAL(12, 2)", r#"" 12.34 ""#, "12.34");
    check("DECIMAL(12, 2)", "9999999999.99", "9999999999.99");
    check(
        "DECIMAL(38, 0)",
        "99999999999999999999999999999999999999",
        "99999999999999999999999999999999999999",
    );
    check(
        "DECIMAL(38, 18)",
        "12345678901234567890.123456789012345678",
        "12345678901234567890.123456789012345678",
    );
    check("DECIMAL(38, 0)", "-18446744073709551616", "-18446744073709551616");
    check("DECIMAL(38, 2)", "18446744073709551615", "18446744073709551615.00");
    check("DECIMAL(10, 2)", "1e-400", "0.00");
    bad("DECIMAL(12, 2)", "10000000000", "expected DECIMAL(12, 2), found 10000000000, which is out of range");
    bad("DECIMAL(12, 2)", "9999999999.995", "which is out of range");
    bad("DECIMAL(38, 0)", "1e400", "which is out of range");
    bad("DECIMAL(38, 38)", "1", "which is out of range");
    bad("DECIMAL(12, 2)", r#""1,5""#, "found the string");
    bad("DECIMAL(12, 2)", "true", "found true");
}

#[test]
fn decimals_find_their_digits() {
    let columns =
        [("a", "ROW<p DECIMAL(30, 10)>"), ("l", "ARRAY<ARRAY<DECIMAL(30, 10)>>"), ("p", "DECIMAL(30, 10)")];
    let check = |json: &str, expect: &str| {
        assert_eq!(record(&columns, json.as_bytes()).as_deref(), Ok(expect), "{json}");
    };
    check(
        r#"{"x":{"p":9.9},"a":{"p":0.1234567891},"l":null,"p":12345678901234567890.1}"#,
        r#"{"a":{"p":0.1234567891},"l":null,"p":12345678901234567890.1000000000}"#,
    );
    // The last of equal keys, escapes in keys, blanks, and text that looks like a key.
    check(
        r#" { "p" : 1.5 , "\u0070" : "x\"p\":7.7" , "s" : "\"p\":3.5" , "p"	:	2.5 , "a":{"q":[{"p":4.5}],"p":1.1,"\u0070":6.5} }"#,
        r#"{"a":{"p":6.5000000000},"l":null,"p":2.5000000000}"#,
    );
    check(
        r#"{"l":[[1.1, "a" ,3.3e0 ],[ ],null,[4.4,5]],"s":"é\\"}"#.replace("\"a\"", "\"2.2\"").as_str(),
        r#"{"a":null,"l":[[1.1000000000,2.2000000000,3.3000000000],[],null,[4.4000000000,5.0000000000]],"p":null}"#,
    );
    // Numbers beyond the parser beside others.
    check(
        r#"{"big":123456789012345678901234567890,"p":1.25,"a":{"p":12345678901234567890},"l":[[1e-1],[98765432109876543210,0.5]]}"#,
        r#"{"a":{"p":12345678901234567890.0000000000},"l":[[0.1000000000],[98765432109876543210.0000000000,0.5000000000]],"p":1.2500000000}"#,
    );
}

#[test]
fn strings() {
    check("STRING", r#""""#, r#""""#);
    check("STRING", r#""a\"\\\/\b\f\n\r\té\u00e9\ud83d\ude00""#, r#""a\"\\/\b\f\n\r\téé😀""#);
    check("STRING", r#""\u0000\u001f""#, r#""\u0000\u001F""#);
    check("STRING", "1.50", "\"1.50\"");
    check("STRING", "-0", "\"-0\"");
    check("STRING", "12", "\"12\"");
    check("STRING", "-12", "\"-12\"");
    check("STRING", "1E400", "\"1E400\"");
    check("STRING", "123456789012345678901234567890", "\"123456789012345678901234567890\"");
    check("STRING", "true", "\"true\"");
    check("STRING", r#"{ "a" : [1, "}"] }"#, r#""{ \"a\" : [1, \"}\"] }""#);
    check("STRING", r#"["\u00e9", 2.50]"#, r#""[\"\\u00e9\", 2.50]""#);
    check("STRING", r#""'{}[]:,""#, r#""'{}[]:,""#);
    check(
        "ARRAY<STRING>",
        r#"["a", 1.0 ,[2, [3]], {"b":"]"},null]"#,
        r#"["a","1.0","[2, [3]]","{\"b\":\"]\"}",null]"#,
    );
    check("STRING", &format!("\"{}\"", "x".repeat(100_000)), &format!("\"{}\"", "x".repeat(100_000)));
}

#[test]
fn bytes_and_times() {
    check("BYTES", r#""aGk=""#, r#""aGk=""#);
    check("BYTES", r#""""#, r#""""#);
    bad("BYTES", r#""a""#, "expected BYTES, found the string \"a\", which is not base64");
    bad("BYTES", "1", "expected BYTES, found 1");
    check("DATE", r#""2024-02-29""#, r#""2024-02-29""#);
    bad("DATE", r#""2023-02-29""#, "expected DATE, found the string \"2023-02-29\"");
    bad("DATE", "19000", "expected DATE, found 19000");
    check("TIME(3)", r#""09:30:15.1239""#, r#""09:30:15.123""#);
    check("TIME", r#""09:30:15.1239""#, r#""09:30:15""#);
    bad("TIME", r#""25:00:00""#, "expected TIME, found the string");
    check("TIMESTAMP(3)", r#""2015-07-15T00:00:00.000""#, r#""2015-07-15T00:00:00""#);
    check("TIMESTAMP(3)", r#""2015-07-15 00:00:00.1239""#, r#""2015-07-15T00:00:00.123""#);
    check("TIMESTAMP(6)", r#""2015-07-15T00:00:00.123456789""#, r#""2015-07-15T00:00:00.123456""#);
    check("TIMESTAMP(9)", r#""2015-07-15T00:00:00.123456789""#, r#""2015-07-15T00:00:00.123456789""#);
    check("TIMESTAMP(1)", r#""2015-07-15T00:00:00.19""#, r#""2015-07-15T00:00:00.1""#);
    bad(
        "TIMESTAMP(3)",
        r#""2015-07-15T00:00:00Z""#,
        "expected TIMESTAMP(3), found the string \"2015-07-15T00:00:00Z\", which has a zone",
    );
    bad("TIMESTAMP(3)", r#""2015-02-30T00:00:00""#, "it looks like");
    bad("TIMESTAMP(3)", "1436918400000", "expected TIMESTAMP(3), found 1436918400000");
    bad("TIMESTAMP(9)", r#""2300-01-01T00:00:00""#, "which is out of range");
    check("TIMESTAMP_LTZ(3)", r#""2015-07-15T00:00:00Z""#, r#""2015-07-15T00:00:00Z""#);
    check("TIMESTAMP_LTZ(3)", r#""2015-07-15T02:00:00.5+02:00""#, r#""2015-07-15T00:00:00.5Z""#);
    bad(
        "TIMESTAMP_LTZ(3)",
        r#""2015-07-15T00:00:00""#,
        "expected TIMESTAMP_LTZ(3), found the string \"2015-07-15T00:00:00\", which has no zone",
    );
}

#[test]
fn nested_values() {
    check("ARRAY<INT>", "[]", "[]");
    check("ARRAY<INT>", "[1,null,3]", "[1,null,3]");
    bad("ARRAY<INT>", "[1,\"x\"]", "column `x[1]`: expected INT, found the string \"x\"");
    bad("ARRAY<INT NOT NULL>", "[1,null]", "column `x[1]` is NOT NULL and null");
    bad("ARRAY<INT>", "{}", "column `x`: expected an array, found an object");
    bad("ARRAY<ROW<a INT>>", r#"[{"a":1},{"a":true}]"#, "column `x[1].a`: expected INT, found true");
    check("ROW<a INT, b ROW<c STRING>>", "{}", r#"{"a":null,"b":null}"#);
    check("ROW<a INT, b ROW<c STRING>>", r#"{"b":{"c":"v","a":5},"z":[{}]}"#, r#"{"a":null,"b":{"c":"v"}}"#);
    check("ROW<a INT NOT NULL>", "null", "null");
    bad("ROW<a INT NOT NULL>", "{}", "column `x.a` is NOT NULL and missing");
    bad("ROW<a INT NOT NULL>", r#"{"a":null}"#, "column `x.a` is NOT NULL and null");
    bad("ROW<a INT>", "[]", "column `x`: expected an object, found an array");
    check("ROW<>", r#"{"a":1}"#, "{}");
    check("MAP<STRING, INT>", "{}", "{}");
    check("MAP<STRING, INT>", r#"{"b":1,"a":null,"":3}"#, r#"{"b":1,"a":null,"":3}"#);
    check("MAP<STRING, INT>", r#"{"a":1,"b":2,"\u0061":3}"#, r#"{"b":2,"a":3}"#);
    check("MAP<INT, DECIMAL(9, 1)>", r#"{"1":1.5,"-2":2}"#, r#"{"1":1.5,"-2":2.0}"#);
    bad("MAP<STRING, INT NOT NULL>", r#"{"a":null}"#, "column `x.a` is NOT NULL and null");
    bad("MAP<INT, INT>", r#"{"a":1}"#, "expected INT, found the string \"a\"");
    let many: Vec<String> = (0..100).map(|n| format!("\"k{}\":{n}", n % 60)).collect();
    let kept: Vec<String> = (40..100).map(|n| format!("\"k{}\":{n}", n % 60)).collect();
    check("MAP<STRING, INT>", &format!("{{{}}}", many.join(",")), &format!("{{{}}}", kept.join(",")));
}

#[test]
fn fields() {
    let columns = [("a", "BIGINT NOT NULL"), ("b", "STRING"), ("", "INT")];
    let check = |json: &str, expect: &str| {
        assert_eq!(record(&columns, json.as_bytes()).as_deref(), Ok(expect), "{json}");
    };
    check(r#"{"a":1,"b":"x","":5}"#, r#"{"a":1,"b":"x","":5}"#);
    check("\t {\"b\":null , \"a\"\t:1}\r ", r#"{"a":1,"b":null,"":null}"#);
    check(r#"{"\u0061":1,"b\u0000":"no"}"#, r#"{"a":1,"b":null,"":null}"#);
    check(r#"{"a":"bad","a":7}"#, r#"{"a":7,"b":null,"":null}"#);
    check(r#"{"c":{"a":9},"a":1,"A":3,"d":[{"a":4}]}"#, r#"{"a":1,"b":null,"":null}"#);
    check(r#"{"a":1,"unused":1e999,"huge":123456789012345678901234567890}"#, r#"{"a":1,"b":null,"":null}"#);
    let bad = |json: &[u8], reason: &str| {
        let found = record(&columns, json).unwrap_err();
        assert!(found.contains(reason), "{}: {found}", String::from_utf8_lossy(json));
    };
    bad(b"{}", "column `a` is NOT NULL and missing");
    bad(br#"{"a":null}"#, "column `a` is NOT NULL and null");
    bad(br#"{"a":1,"a":null}"#, "column `a` is NOT NULL and null");
    bad(b"[1]", "the record is not a JSON object but an array");
    bad(b"12", "the record is not a JSON object but 12");
    bad(b" -0.50 ", "not a JSON object but -0.50");
    bad(b"1e999", "not a JSON object but 1e999");
    bad(br#""a""#, "not a JSON object but the string \"a\"");
    bad(b"null", "not a JSON object but null");
    bad(b"", "the record is empty");
    bad(b"   ", "empty");
    bad(b"{\"a\":1} {\"a\":2}", "not JSON");
    bad(b"{\"a\":1}}", "not JSON");
    bad(b"{\"a\":1", "not JSON");
    bad(b"{\"a\":1,}", "not JSON");
    bad(b"{'a':1}", "not JSON");
    bad(b"{\"a\" 1}", "not JSON");
    bad(b"{\"a\":1 \"b\":2}", "not JSON");
    bad(b"{\"a\":1,\"c\":tru}", "not JSON");
    bad(b"{\"a\":1,\"c\":01}", "a malformed number");
    bad(b"{\"a\":1,\"c\":\"\\ud800\"}", "not JSON");
    bad(b"{\"a\":1,\"c\":\"\\udc00\"}", "not JSON");
    bad(b"{\"a\":1,\"c\":\"\\ud800\\u0041\"}", "not JSON");
    bad(b"{\"a\":1,\"c\":\"\\x\"}", "an escape that JSON does not know");
    bad(b"{\"a\":1,\"c\":\"\xff\"}", "not UTF-8");
    bad(b"{\"a\":1,\"c\":\"\xed\xa0\x80\"}", "not UTF-8");
    bad(b"{\"a\":1,\"c\":\"\x00\"}", "not JSON");
    bad(b"{\"a\":1\x00}", "not JSON");
    bad(b"{\"a\":1,\"c\":\"\n\"}", "not JSON");
    bad(b"\xef\xbb\xbf{\"a\":1}", "not JSON");
    bad(b"{\"a\":1,\"c\":\"open}", "not JSON");
}

#[test]
fn nesting_is_bounded() {
    let nested = |open: &str, close: &str, depth: usize| {
        format!("{{\"x\":1,\"y\":{}0{}}}", open.repeat(depth), close.repeat(depth))
    };
    let x = [("x", "INT")];
    assert!(record(&x, nested("[", "]", 127).as_bytes()).is_ok());
    for depth in [128, 10_000, 1_000_000] {
        let deep = "the JSON is nested deeper than 128 levels";
        assert_eq!(record(&x, nested("[", "]", depth).as_bytes()).unwrap_err(), deep);
        assert_eq!(record(&x, nested("{\"a\":", "}", depth).as_bytes()).unwrap_err(), deep);
        assert!(record(&x, "[".repeat(depth).as_bytes()).is_err());
    }
}

#[test]
fn a_bad_record_leaves_no_trace() {
    let schema = schema(&[
        ("a", "ARRAY<ROW<n INT, t ARRAY<STRING>>>"),
        ("m", "MAP<STRING, ROW<k STRING, v INT>>"),
        ("r", "ROW<s STRING, u ROW<w BIGINT>>"),
        ("z", "INT NOT NULL"),
    ]);
    let good = [
        r#"{"a":[{"n":1,"t":["x","y"]},null],"m":{"p":{"k":"q","v":1}},"r":{"s":"one","u":{"w":1}},"z":1}"#,
        r#"{"a":null,"m":null,"r":null,"z":2}"#,
        r#"{"a":[],"m":{},"r":{"s":null,"u":null},"z":3}"#,
        r#"{"a":[{"n":null,"t":[]}],"m":{"o":null},"r":{"s":"four","u":{"w":null}},"z":4}"#,
    ];
    let bad = [
        r#"{"a":[{"n":7,"t":["bad"]}],"m":{"bad":{"k":"bad","v":7}},"r":{"s":"bad","u":{"w":7}},"z":"bad"}"#,
        r#"{"a":[{"n":7,"t":["bad"]},{"n":7,"t":["bad",null]},{"t":7}],"z":7}"#,
        r#"{"m":{"bad":{"k":"bad","v":7},"worse":{"k":"bad","v":"bad"}},"z":7}"#,
        r#"{"m":{"bad":{"k":"bad","v":7},"worse":7},"z":7}"#,
        r#"{"r":{"s":"bad","u":{"w":"bad"}},"z":7}"#,
        r#"{"r":{"s":"bad","u":7},"z":7}"#,
        r#"{"a":[7],"z":7}"#,
        r#"{"z":7"#,
        "[]",
        "",
    ];
    let expect = good.map(|line| format!("{line}\n")).concat();
    let mut random = fastrand::Rng::with_seed(3);
    let mut decoder = JsonDecoder::new(&schema);
    for _ in 0..200 {
        // Good and bad records mixed, in batches of one decoder: the good ones must come out as they are.
        let (mut bytes, mut spans, mut bad_records) = (Vec::new(), Vec::new(), Vec::new());
        let mut lines = good.to_vec();
        while random.u8(..4) > 0 {
            lines.insert(random.usize(..=lines.len()), bad[random.usize(..bad.len())]);
        }
        for (index, line) in (0..).zip(&lines) {
            let offset = u32::try_from(bytes.len()).unwrap();
            spans.push(Origin::span(offset, u32::try_from(line.len()).unwrap()));
            bytes.extend_from_slice(line.as_bytes());
            if bad.contains(line) {
                bad_records.push(index);
            }
        }
        let mut rejected = Vec::new();
        let rows = decoder.decode(&bytes, &spans, &mut rejected);
        rows.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
        assert_eq!(encode(&schema, &rows), expect);
        assert_eq!(rejected.iter().map(|bad| bad.record).collect::<Vec<u32>>(), bad_records);
    }
}

#[test]
fn a_schema_without_columns_counts_records() {
    let schema = schema(&[]);
    let (rows, rejected) = decode_lines(&mut JsonDecoder::new(&schema), "{\"a\":1}\n[]\n{}\n{");
    assert_eq!((rows.num_rows(), rejected.len()), (2, 2));
}
