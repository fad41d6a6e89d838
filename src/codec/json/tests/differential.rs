//! The decoder against `serde_json` on generated records and mutilated ones.
//!
//! A record is accepted if and only if `serde_json` reads it as an object, with three exceptions: numbers too large for
//! a double, which only matter to the column that asks for them; the depth, where the limits differ by one; and columns
//! whose type a value does not fit, which the reference below tells.

use fastrand::Rng;
use serde_json::Value;

use super::*;
use crate::record::SqlType;

const COLUMNS: [(&str, &str); 7] = [
    ("s", "STRING"),
    ("i", "BIGINT"),
    ("d", "DOUBLE"),
    ("b", "BOOLEAN"),
    ("l", "ARRAY<STRING>"),
    ("m", "MAP<STRING, BIGINT>"),
    ("r", "ROW<s STRING, i BIGINT NOT NULL, r ROW<l ARRAY<BOOLEAN>, d DOUBLE>>"),
];

/// What the reference says about a record or a value.
enum Verdict {
    Is(Value),
    Bad,
    /// The reference has lost what decides, such as the text of a number.
    Unsure,
}

fn reference(value: Option<&Value>, data_type: &SqlType, nullable: bool) -> Verdict {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return if nullable { Verdict::Is(Value::Null) } else { Verdict::Bad };
    };
    match (data_type, value) {
        (SqlType::String, Value::String(_)) | (SqlType::Boolean, Value::Bool(_)) => {
            Verdict::Is(value.clone())
        }
        (SqlType::String, Value::Bool(value)) => Verdict::Is(Value::String(value.to_string())),
        (SqlType::String, Value::Number(number)) if number.is_i64() || number.is_u64() => {
            Verdict::Is(Value::String(number.to_string()))
        }
        (SqlType::Boolean, Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
            "true" => Verdict::Is(Value::Bool(true)),
            "false" => Verdict::Is(Value::Bool(false)),
            _ => Verdict::Bad,
        },
        (SqlType::BigInt, Value::Number(number)) if number.is_i64() => Verdict::Is(value.clone()),
        (SqlType::BigInt, Value::Number(number)) if number.is_u64() => Verdict::Bad,
        (SqlType::BigInt, Value::String(text)) => match text.trim().parse::<i64>() {
            Ok(number) => Verdict::Is(number.into()),
            Err(_) => Verdict::Bad,
        },
        (SqlType::Double, Value::Number(number)) => Verdict::Is(number.as_f64().into()),
        (SqlType::Array(element, nullable), Value::Array(values)) => {
            all(values.iter().map(|value| reference(Some(value), element, *nullable)), Value::Array)
        }
        (SqlType::Map(_, value_type, nullable), Value::Object(fields)) => {
            all(fields.values().map(|value| reference(Some(value), value_type, *nullable)), |values| {
                Value::Object(fields.keys().cloned().zip(values).collect())
            })
        }
        (SqlType::Row(columns), Value::Object(fields)) => row(columns, fields),
        (SqlType::String | SqlType::BigInt, Value::Number(_))
        | (SqlType::String, Value::Array(_) | Value::Object(_))
        | (SqlType::Double, Value::String(_)) => Verdict::Unsure,
        _ => Verdict::Bad,
    }
}

fn row(columns: &[Column], fields: &serde_json::Map<String, Value>) -> Verdict {
    let value = |column: &Column| reference(fields.get(&column.name), &column.data_type, column.nullable);
    let names = || columns.iter().map(|column| column.name.clone());
    all(columns.iter().map(value), |values| Value::Object(names().zip(values).collect()))
}

fn all(verdicts: impl Iterator<Item = Verdict>, collect: impl Fn(Vec<Value>) -> Value) -> Verdict {
    let (mut values, mut unsure) = (Vec::new(), false);
    for verdict in verdicts {
        match verdict {
            Verdict::Is(value) => values.push(value),
            Verdict::Unsure => unsure = true,
            Verdict::Bad => return Verdict::Bad,
        }
    }
    if unsure { Verdict::Unsure } else { Verdict::Is(collect(values)) }
}

/// Equality but for the last digits of doubles: `serde_json` reads those in haste.
#[expect(clippy::float_cmp, reason = "infinities and zeros are compared as they are")]
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            a == b || (a - b).abs() <= a.abs() * 1e-14 || (a - b).abs() < 1e-320
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((n, a), (m, b))| n == m && same(a, b))
        }
        (a, b) => a == b,
    }
}

struct Reference {
    schema: Schema,
    decoder: JsonDecoder,
    /// A decoder of no columns: it accepts whatever is an object.
    counter: JsonDecoder,
    accepted: usize,
    compared: usize,
    refused: usize,
}

impl Reference {
    fn new() -> Self {
        let schema = schema(&COLUMNS);
        let decoder = JsonDecoder::new(&schema);
        let counter = JsonDecoder::new(&super::schema(&[]));
        Self { schema, decoder, counter, accepted: 0, compared: 0, refused: 0 }
    }

    fn check(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let found = decode_one(&mut self.decoder, bytes);
        let is_object = decode_one(&mut self.counter, bytes);
        let fields = match serde_json::from_slice::<Value>(bytes) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => return assert!(is_object.is_err(), "{text}"),
            Err(error) => {
                let excused = ["number out of range", "recursion limit"];
                let excused = excused.iter().any(|excuse| error.to_string().contains(excuse));
                self.refused += 1;
                return assert!(is_object.is_err() && found.is_err() || excused, "{error}: {text}");
            }
        };
        assert!(is_object.is_ok(), "{is_object:?}: {text}");
        match (row(self.schema.columns(), &fields), found) {
            (Verdict::Is(expect), Ok(rows)) => {
                let line = encode(&self.schema, &rows);
                let found: Value = serde_json::from_str(&line).expect(&line);
                assert!(same(&found, &expect), "{text}: {found} for {expect}");
                self.compared += 1;
            }
            (Verdict::Bad, Err(_)) | (Verdict::Unsure, _) => {}
            (Verdict::Bad, Ok(rows)) => panic!("{text}: accepted as {}", encode(&self.schema, &rows)),
            (Verdict::Is(_), Err(reason)) => panic!("{text}: {reason}"),
        }
        self.accepted += 1;
    }
}

const NAMES: [&str; 12] = ["s", "i", "d", "b", "l", "m", "r", "\\u0073", "\\u0072", "", "other", "s\\\"i"];
const SCALARS: [&str; 34] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "12",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551616",
    "0.5",
    "-1.25e2",
    "1e3",
    "1E-7",
    "1.7976931348623157e308",
    "123456789.123456789123456789",
    "4.9e-324",
    "\"\"",
    "\"text\"",
    "\"12\"",
    "\" -7 \"",
    "\"TRUE\"",
    "\"1.5\"",
    r#""\"s\":1""#,
    r#""\\""#,
    r#""\u00e9\n""#,
    r#""\ud83d\ude00""#,
    "\"é😀\"",
    r#""{}[],:""#,
    r#""\/\b\f\r\t""#,
    "\"a long text that fills more than one register of the parser, and then some\"",
    "1e-400",
];

fn random_value(random: &mut Rng, depth: usize, out: &mut String) {
    let blank = |random: &mut Rng| ["", "", "", " ", "\t", " \n\r"][random.usize(..6)];
    match random.u8(..if depth == 0 { 4 } else { 7 }) {
        0..=3 => out.push_str(SCALARS[random.usize(..SCALARS.len())]),
        4 => {
            out.push('[');
            for index in 0..random.usize(..4) {
                out.push_str(if index > 0 { "," } else { "" });
                out.push_str(blank(random));
                random_value(random, depth - 1, out);
                out.push_str(blank(random));
            }
            out.push(']');
        }
        _ => random_object(random, depth - 1, out),
    }
}

fn random_object(random: &mut Rng, depth: usize, out: &mut String) {
    out.push('{');
    for index in 0..random.usize(..5) {
        out.push_str(if index > 0 { "," } else { "" });
        out.push_str(["", "", " "][random.usize(..3)]);
        let name = NAMES[random.usize(..NAMES.len())];
        out.extend(["\"", name, "\":"]);
        // Mostly a value that fits, so that good rows occur.
        match (name, random.u8(..3)) {
            (_, 0) => random_value(random, depth, out),
            ("i", _) => out.push_str(&random.i64(..).to_string()),
            ("d", _) => out.push_str(&(random.f64() * 1e6).to_string()),
            ("b", _) => out.push_str("true"),
            ("l", _) => out.push_str("[ \"a\" , null,true]"),
            ("m", _) => out.push_str(r#"{"k":1,"l":"2","k":3}"#),
            ("r" | "\\u0072", _) => out.push_str(r#"{"i":5,"s":7,"r":{"l":[false],"d":0.25}}"#),
            _ => out.push_str(r#""plain""#),
        }
    }
    out.push('}');
}

fn mutilate(random: &mut Rng, bytes: &mut Vec<u8>) {
    const BYTES: &[u8] = b"{}[]:,\"\\ue0123.-+ \t\x00\x1f\xff\xc3\xed";
    for _ in 0..random.usize(1..3) {
        if bytes.is_empty() {
            return;
        }
        let at = random.usize(..bytes.len());
        match random.u8(..6) {
            0 => bytes[at] ^= 1 << random.u8(..8),
            1 => bytes.truncate(at),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, BYTES[random.usize(..BYTES.len())]),
            4 => bytes[at] = BYTES[random.usize(..BYTES.len())],
            _ => {
                let end = random.usize(at..=bytes.len()).min(at + 20);
                let part = bytes[at..end].to_vec();
                bytes.extend_from_slice(&part);
            }
        }
    }
}

#[test]
fn the_reference_agrees() {
    let mut reference = Reference::new();
    let mut random = Rng::with_seed(13);
    for _ in 0..15_000 {
        let mut text = String::new();
        random_object(&mut random, 3, &mut text);
        reference.check(text.as_bytes());
        for _ in 0..3 {
            let mut bytes = text.clone().into_bytes();
            mutilate(&mut random, &mut bytes);
            reference.check(&bytes);
        }
    }
    let Reference { accepted, compared, refused, .. } = reference;
    assert!(accepted > 15_000 && compared > 5_000 && refused > 15_000, "{accepted} {compared} {refused}");
}

#[test]
fn records_end_anywhere_in_a_register() {
    let mut reference = Reference::new();
    for length in 0..200 {
        let filler = "x".repeat(length);
        for value in ["\"v\"", "12", "-0.5", "null", "{}", "[1,2]", "\"\\\\\"", "\"\\\"\"", "\"é\""] {
            let record = format!("{{\"{filler}\":\"{filler}\",\"s\":{value}}}");
            reference.check(record.as_bytes());
            for cut in 1..6 {
                reference.check(&record.as_bytes()[..record.len() - cut]);
            }
        }
    }
}
