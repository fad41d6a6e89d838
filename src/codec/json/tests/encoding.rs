//! How rows are written, and that they are read back as they were.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array,
    StringArray, StructArray, Time32MillisecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray,
};

use super::equivalence::random_rows;
use super::*;

/// Encodes a column of one type, named `x`.
#[track_caller]
fn check(data_type: &str, column: impl arrow::array::Array + 'static, expect: &[&str]) {
    let schema = schema(&[("x", data_type)]);
    let column: ArrayRef = Arc::new(column);
    let rows = RecordBatch::try_new(schema.arrow().clone(), vec![column]).unwrap();
    let text =
        |values: &[&str]| -> String { values.iter().flat_map(|value| ["{\"x\":", value, "}\n"]).collect() };
    let lines = text(expect);
    assert_eq!(encode(&schema, &rows), lines, "{data_type}");
    // A slice is written as the rows it holds.
    let tail = text(&expect[1..]);
    assert_eq!(encode(&schema, &rows.slice(1, rows.num_rows() - 1)), tail, "{data_type}");
}

#[test]
fn numbers() {
    check(
        "BIGINT",
        Int64Array::from(vec![Some(i64::MIN), None, Some(0)]),
        &["-9223372036854775808", "null", "0"],
    );
    check(
        "DOUBLE",
        Float64Array::from(vec![1.0, 1e10, f64::NAN, -f64::INFINITY]),
        &["1.0", "1.0E10", "\"NaN\"", "\"-Infinity\""],
    );
    check("FLOAT", Float32Array::from(vec![0.1, f32::INFINITY]), &["0.1", "\"Infinity\""]);
    let decimals =
        Decimal128Array::from(vec![Some(100), Some(-5), None]).with_precision_and_scale(12, 2).unwrap();
    check("DECIMAL(12, 2)", decimals, &["1.00", "-0.05", "null"]);
}

#[test]
fn text_and_times() {
    let text = StringArray::from(vec![
        "",
        "a\"b\\c/d",
        "\u{8}\u{c}\n\r\t",
        "\u{0}\u{1b}\u{1f}\u{7f}",
        "é😀\u{2028}",
    ]);
    let expect =
        [r#""""#, r#""a\"b\\c/d""#, r#""\b\f\n\r\t""#, "\"\\u0000\\u001B\\u001F\u{7f}\"", "\"é😀\u{2028}\""];
    check("STRING", text, &expect);
    check(
        "BYTES",
        BinaryArray::from(vec![&b""[..], b"h", b"hi!?\xff"]),
        &[r#""""#, r#""aA==""#, r#""aGkhP/8=""#],
    );
    check("DATE", Date32Array::from(vec![0, 19_782]), &[r#""1970-01-01""#, r#""2024-02-29""#]);
    check(
        "TIME(3)",
        Time32MillisecondArray::from(vec![0, 34_215_500]),
        &[r#""00:00:00""#, r#""09:30:15.5""#],
    );
    check(
        "TIMESTAMP(3)",
        TimestampMillisecondArray::from(vec![0, 1_704_067_209_500]),
        &[r#""1970-01-01T00:00:00""#, r#""2024-01-01T00:00:09.5""#],
    );
    check(
        "TIMESTAMP(6)",
        TimestampMicrosecondArray::from(vec![-1, 1]),
        &[r#""1969-12-31T23:59:59.999999""#, r#""1970-01-01T00:00:00.000001""#],
    );
    let instants = TimestampNanosecondArray::from(vec![0, 1]).with_timezone("+00:00");
    check(
        "TIMESTAMP_LTZ(9)",
        instants,
        &[r#""1970-01-01T00:00:00Z""#, r#""1970-01-01T00:00:00.000000001Z""#],
    );
}

#[test]
fn escapes_at_every_place() {
    for length in 0..40 {
        for at in 0..length {
            for (special, escaped) in [("\"", "\\\""), ("\\", "\\\\"), ("\n", "\\n"), ("\u{1}", "\\u0001")] {
                // Bytes whose bits are next to those looked for must stay as they are.
                for filler in ["!", "#", "[", "]", " ", "\u{7f}", "\u{a2}"] {
                    let (before, after) = (filler.repeat(at), filler.repeat(length - at));
                    let text = StringArray::from(vec![format!("{before}{special}{after}")]);
                    check("STRING", text, &[&format!("\"{before}{escaped}{after}\"")]);
                }
            }
        }
    }
}

#[test]
fn columns_in_order_under_escaped_names() {
    let schema = schema(&[("b\"\n", "INT"), ("a", "ROW<c INT, d ROW<>>")]);
    let arrow = schema.arrow().clone();
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let empty: ArrayRef = Arc::new(StructArray::new_empty_fields(2, None));
    // The children of a NULL row hold values that nobody may see.
    let arrow::datatypes::DataType::Struct(fields) = arrow.field(1).data_type() else { unreachable!() };
    let row = StructArray::new(fields.clone(), vec![numbers.clone(), empty], Some(vec![true, false].into()));
    let rows = RecordBatch::try_new(arrow, vec![numbers, Arc::new(row)]).unwrap();
    let expect = "{\"b\\\"\\n\":1,\"a\":{\"c\":1,\"d\":{}}}\n{\"b\\\"\\n\":2,\"a\":null}\n";
    assert_eq!(encode(&schema, &rows), expect);
}

#[test]
fn rows_are_read_back() {
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..400 {
        let (schema, lines) = random_rows(&mut random, 20);
        let mut decoder = JsonDecoder::new(&schema);
        let (rows, rejected) = decode_lines(&mut decoder, &lines);
        assert_eq!(rejected, [], "{lines}");
        assert_eq!(rows.num_rows(), 20);
        let text = encode(&schema, &rows);
        let (again, rejected) = decode_lines(&mut decoder, &text);
        assert_eq!(rejected, [], "{text}");
        assert_eq!(again, rows, "{text}");
        assert_eq!(encode(&schema, &again), text);
    }
}

/// Rows of plain columns are put together in another way than those below a ROW.
#[test]
fn plain_rows_are_written_as_nested_ones() {
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..60 {
        let count = random.usize(..400);
        let scale = random.i8(0..=10);
        let decimal = format!("DECIMAL(38, {scale})");
        let columns: [(&str, &str); 7] = [
            ("small", "SMALLINT"),
            ("a name so long that it is not padded", "BIGINT"),
            ("flag", "BOOLEAN"),
            ("amount", &decimal),
            ("text", "STRING"),
            ("at", "TIMESTAMP(9)"),
            ("utc", "TIMESTAMP_LTZ(3)"),
        ];
        let number = |random: &mut fastrand::Rng| random.i64(..) >> random.u32(..64);
        let text = |random: &mut fastrand::Rng| {
            let length = if random.u8(..100) == 0 { random.usize(..40_000) } else { random.usize(..90) };
            let special = random.u8(..4) == 0;
            let one = |random: &mut fastrand::Rng| {
                if special && random.u8(..9) == 0 { random.char('\u{0}'..'é') } else { 'x' }
            };
            (0..length).map(|_| one(random)).collect::<String>()
        };
        macro_rules! column {
            ($array:ty, $one:expr) => {
                (0..count).map(|_| (random.u8(..6) > 0).then(|| ($one)(&mut random))).collect::<$array>()
            };
        }
        let decimals: Decimal128Array =
            column!(Decimal128Array, |random: &mut fastrand::Rng| i128::from(number(random))
                << if random.bool() { 0 } else { random.u32(..50) });
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(column!(arrow::array::Int16Array, |random: &mut fastrand::Rng| random.i16(..))),
            Arc::new(column!(Int64Array, number)),
            Arc::new(column!(arrow::array::BooleanArray, fastrand::Rng::bool)),
            Arc::new(decimals.with_precision_and_scale(38, scale).unwrap()),
            Arc::new(column!(StringArray, text)),
            Arc::new(column!(TimestampNanosecondArray, number)),
            Arc::new(column!(TimestampMillisecondArray, number).with_timezone("+00:00")),
        ];
        let plain = schema(&columns);
        let rows = RecordBatch::try_new(plain.arrow().clone(), arrays.clone()).unwrap();
        let fields = columns.map(|(name, data_type)| format!("`{name}` {data_type}")).join(", ");
        let nested = schema(&[("r", &format!("ROW<{fields}>"))]);
        let arrow::datatypes::DataType::Struct(fields) = nested.arrow().field(0).data_type().clone() else {
            unreachable!()
        };
        let column: ArrayRef = Arc::new(StructArray::new(fields, arrays, None));
        let below = RecordBatch::try_new(nested.arrow().clone(), vec![column]).unwrap();
        let (lines, expect) = (encode(&plain, &rows), encode(&nested, &below));
        let mut expect = expect.lines().map(|line| &line["{\"r\":".len()..line.len() - 1]);
        for line in lines.lines() {
            assert_eq!(Some(line), expect.next());
        }
        assert_eq!(expect.next(), None);
    }
}
