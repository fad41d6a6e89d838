//! One record in many forms: key order, blanks, escapes, unknown fields and look-alike text must not change its row.

use std::fmt::Write;

use fastrand::Rng;

use super::*;
use crate::record::SqlType;

/// A value of a type, from which any number of renderings are made.
enum Sample {
    /// Left out of its object, or null.
    Null,
    /// A number or a word.
    Plain(String),
    Text(String),
    List(Vec<Sample>),
    /// Keys and values.
    Object(Vec<(String, Sample)>),
}

const ALPHABET: [&str; 16] =
    ["a", "Z", "0", " ", "\"", "\\", "/", "\n", "\t", "\u{1}", "é", "😀", "{", "}", ":", ","];
const LOOK_ALIKE: [&str; 4] = ["\"price\":1", "{\"f0\":1.5}", "\\\",\"f1\":2.5,\"", "]}],"];

fn random_text(random: &mut Rng) -> String {
    if random.u8(..8) == 0 {
        return LOOK_ALIKE[random.usize(..LOOK_ALIKE.len())].to_owned();
    }
    let length = if random.u8(..10) == 0 { random.usize(..200) } else { random.usize(..12) };
    (0..length).map(|_| ALPHABET[random.usize(..ALPHABET.len())]).collect()
}

fn random_type(random: &mut Rng, depth: usize) -> SqlType {
    let nested = |random: &mut Rng| Box::new(random_type(random, depth - 1));
    match random.u8(..if depth == 0 { 14 } else { 18 }) {
        0 => SqlType::Boolean,
        1 => SqlType::TinyInt,
        2 => SqlType::SmallInt,
        3 => SqlType::Int,
        4 => SqlType::BigInt,
        5 => SqlType::Float,
        6 => SqlType::Double,
        7 => SqlType::Bytes,
        8 => SqlType::Date,
        9 => SqlType::Time(random.u8(..=3)),
        10 => SqlType::Timestamp(random.u8(..=9)),
        11 => SqlType::TimestampLtz(random.u8(..=9)),
        12 => {
            let precision = random.u8(1..=38);
            SqlType::Decimal(precision, random.u8(..=precision))
        }
        14 => SqlType::Array(nested(random), true),
        15 => SqlType::Map(Box::new(SqlType::String), nested(random), true),
        16 | 17 => SqlType::Row(random_columns(random, depth - 1)),
        _ => SqlType::String,
    }
}

fn random_columns(random: &mut Rng, depth: usize) -> Vec<Column> {
    (0..random.usize(1..6)).map(|n| Column::new(format!("f{n}"), random_type(random, depth), true)).collect()
}

fn sample(random: &mut Rng, data_type: &SqlType) -> Sample {
    if random.u8(..6) == 0 {
        return Sample::Null;
    }
    let text = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    };
    let quoted = |text: &str| Sample::Text(text.trim_matches('"').to_owned());
    match data_type {
        SqlType::Boolean => Sample::Plain(random.bool().to_string()),
        SqlType::TinyInt => Sample::Plain(random.i8(..).to_string()),
        SqlType::SmallInt => Sample::Plain(random.i16(..).to_string()),
        SqlType::Int => Sample::Plain(random.i32(..).to_string()),
        SqlType::BigInt => Sample::Plain(random.i64(..).to_string()),
        SqlType::Float => match f32::from_bits(random.u32(..)) {
            value if value.is_finite() => {
                Sample::Plain(text(&|out| crate::record::text::write_float(value, out)))
            }
            _ => Sample::Text("Infinity".to_owned()),
        },
        SqlType::Double => match f64::from_bits(random.u64(..)) {
            value if value.is_finite() => Sample::Plain(value.to_string()),
            _ => Sample::Text("-Infinity".to_owned()),
        },
        SqlType::Decimal(precision, scale) => {
            let digits = random.u8(1..=*precision);
            let magnitude = random.u128(..10_u128.pow(u32::from(digits)));
            let value = i128::try_from(magnitude).unwrap() * if random.bool() { 1 } else { -1 };
            Sample::Plain(text(&|out| crate::record::text::write_decimal(value, *scale, out)))
        }
        SqlType::String => Sample::Text(random_text(random)),
        SqlType::Bytes => quoted(["", "aA==", "aGk=", "aGkh"][random.usize(..4)]),
        SqlType::Date => Sample::Text(format!(
            "{:04}-{:02}-{:02}",
            random.u16(1..9999),
            random.u8(1..13),
            random.u8(1..29)
        )),
        SqlType::Time(_) => {
            Sample::Text(format!("{:02}:59:{:02}.{}", random.u8(..24), random.u8(..60), random.u16(..)))
        }
        SqlType::Timestamp(_) | SqlType::TimestampLtz(_) => {
            let zone = if matches!(data_type, SqlType::Timestamp(_)) { "" } else { "+02:00" };
            let middle = if random.bool() { 'T' } else { ' ' };
            Sample::Text(format!(
                "{}-02-28{middle}12:30:{:02}.{}{zone}",
                random.u16(1700..2200),
                random.u8(..60),
                random.u32(..999_999_999)
            ))
        }
        SqlType::Array(element, _) => {
            Sample::List((0..random.usize(..5)).map(|_| sample(random, element)).collect())
        }
        SqlType::Map(_, value, _) => {
            let count = random.usize(..5);
            Sample::Object(
                (0..count).map(|n| (format!("{}{n}", random_text(random)), sample(random, value))).collect(),
            )
        }
        SqlType::Row(columns) => {
            let field = |column: &Column| (column.name.clone(), sample(random, &column.data_type));
            Sample::Object(columns.iter().map(field).collect())
        }
        SqlType::Null => unreachable!("not made"),
    }
}

/// How a sample is written down.
struct Rendering<'a> {
    random: &'a mut Rng,
    varied: bool,
    out: String,
}

impl Rendering<'_> {
    fn chance(&mut self, one_in: u8) -> bool {
        self.varied && self.random.u8(..one_in) == 0
    }

    fn blank(&mut self) {
        while self.chance(6) {
            self.out.push([' ', '\t'][self.random.usize(..2)]);
        }
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        let escape_all = self.chance(8);
        for character in text.chars() {
            if escape_all || self.chance(20) {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(self.out, "\\u{unit:04x}").unwrap();
                }
            } else if matches!(character, '"' | '\\') {
                write!(self.out, "\\{character}").unwrap();
            } else if character < ' ' {
                write!(self.out, "\\u{:04X}", u32::from(character)).unwrap();
            } else {
                self.out.push(character);
            }
        }
        self.out.push('"');
    }

    fn value(&mut self, value: &Sample, data_type: &SqlType) {
        match value {
            Sample::Null => self.out.push_str("null"),
            Sample::Plain(text) => self.out.push_str(text),
            Sample::Text(text) => self.text(text),
            Sample::List(elements) => {
                let SqlType::Array(element, _) = data_type else { unreachable!() };
                self.out.push('[');
                for (index, value) in elements.iter().enumerate() {
                    self.out.push_str(if index > 0 { "," } else { "" });
                    self.blank();
                    self.value(value, element);
                    self.blank();
                }
                self.out.push(']');
            }
            Sample::Object(fields) => match data_type {
                SqlType::Row(columns) => self.object(fields, &|index| &columns[index].data_type, true),
                SqlType::Map(_, value, _) => self.object(fields, &|_| value, false),
                _ => unreachable!(),
            },
        }
    }

    /// An object; one that is a ROW may leave out NULLs, change the order and have fields nobody asked for.
    fn object<'t>(&mut self, fields: &[(String, Sample)], type_of: &dyn Fn(usize) -> &'t SqlType, row: bool) {
        let mut order: Vec<usize> = (0..fields.len()).collect();
        if row && self.chance(2) {
            self.random.shuffle(&mut order);
        }
        self.out.push('{');
        let mut first = true;
        for index in order {
            let (name, value) = &fields[index];
            if row && matches!(value, Sample::Null) && self.chance(2) {
                continue;
            }
            if row && self.chance(5) {
                self.unknown(&mut first);
            }
            if self.chance(12) {
                // An earlier value of the same key does not count.
                self.member(&mut first, name);
                self.out.push_str(["null", "1e999", "\"x\"", "{\"f0\":[1.5]}"][self.random.usize(..4)]);
            }
            self.member(&mut first, name);
            self.value(value, type_of(index));
            self.blank();
        }
        if row && self.chance(5) {
            self.unknown(&mut first);
        }
        self.out.push('}');
    }

    fn member(&mut self, first: &mut bool, name: &str) {
        if !*first {
            self.out.push(',');
        }
        *first = false;
        self.blank();
        self.text(name);
        self.blank();
        self.out.push(':');
        self.blank();
    }

    fn unknown(&mut self, first: &mut bool) {
        let data_type = random_type(self.random, 2);
        let value = sample(self.random, &data_type);
        let name = format!("unknown{}", self.random.u16(..));
        self.member(first, &name);
        if self.chance(6) {
            self.out.push_str(["-1e400", "123456789012345678901234567890"][self.random.usize(..2)]);
        } else {
            self.value(&value, &data_type);
        }
    }
}

fn render(random: &mut Rng, varied: bool, columns: &[Column], values: &[(String, Sample)]) -> String {
    let mut rendering = Rendering { random, varied, out: String::new() };
    rendering.object(values, &|index| &columns[index].data_type, true);
    rendering.out
}

/// A random schema and plain lines of records that fit it.
pub(super) fn random_rows(random: &mut Rng, count: usize) -> (Schema, String) {
    let columns = random_columns(random, 3);
    let mut lines = String::new();
    for _ in 0..count {
        let values: Vec<(String, Sample)> =
            columns.iter().map(|column| (column.name.clone(), sample(random, &column.data_type))).collect();
        lines.push_str(&render(random, false, &columns, &values));
        lines.push('\n');
    }
    (Schema::new(columns), lines)
}

#[test]
fn varied_forms_give_the_same_rows() {
    let mut random = Rng::with_seed(5);
    for _ in 0..400 {
        let columns = random_columns(&mut random, 3);
        let schema = Schema::new(columns.clone());
        let mut decoder = JsonDecoder::new(&schema);
        let (mut plain, mut varied) = (String::new(), String::new());
        for _ in 0..10 {
            let values: Vec<(String, Sample)> = columns
                .iter()
                .map(|column| (column.name.clone(), sample(&mut random, &column.data_type)))
                .collect();
            for _ in 0..4 {
                plain += &(render(&mut random, false, &columns, &values) + "\n");
                varied += &(render(&mut random, true, &columns, &values) + "\n");
            }
        }
        let (expect, rejected) = decode_lines(&mut decoder, &plain);
        assert_eq!(rejected, [], "{plain}");
        let (rows, rejected) = decode_lines(&mut decoder, &varied);
        assert_eq!(rejected, [], "{varied}");
        assert_eq!(rows.num_rows(), 40);
        assert_eq!(encode(&schema, &rows), encode(&schema, &expect), "{varied}");
        assert_eq!(rows, expect);
    }
}
