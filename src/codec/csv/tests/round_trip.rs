//! Random rows of all types, written and read again.

use fastrand::Rng;

use super::*;
use crate::record::SqlType;

const TYPES: [&str; 20] = [
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "BIGINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL(5, 2)",
    "DECIMAL(38, 10)",
    "STRING",
    "BYTES",
    "DATE",
    "TIME(3)",
    "TIMESTAMP(0)",
    "TIMESTAMP(6)",
    "TIMESTAMP_LTZ(9)",
    "ARRAY<STRING>",
    "MAP<STRING, DOUBLE>",
    "ROW<a INT, b ROW<c STRING>>",
    "ARRAY<ROW<t TIMESTAMP(3), b BYTES>>",
];

const ALPHABET: [&str; 14] =
    ["a", "Z", "7", ",", ";", "\t", "\"", "'", " ", "\n", "\r\n", "é", "\u{feff}", "NA"];

fn text(random: &mut Rng) -> String {
    let length = if random.u8(..10) == 0 { random.usize(..100) } else { random.usize(..6) };
    (0..length).map(|_| ALPHABET[random.usize(..ALPHABET.len())]).collect()
}

/// A value of a type as JSON.
fn value(random: &mut Rng, data_type: &SqlType) -> String {
    if random.u8(..5) == 0 {
        return "null".to_owned();
    }
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let clock = |random: &mut Rng| {
        let (hour, minute, second) = (random.u8(..24), random.u8(..60), random.u8(..60));
        format!("{hour:02}:{minute:02}:{second:02}.{:03}", random.u16(..1000))
    };
    let day = |random: &mut Rng| format!("{}-{:02}-28", random.u16(1700..2200), random.u8(1..13));
    match data_type {
        SqlType::Boolean => random.bool().to_string(),
        SqlType::TinyInt => random.i8(..).to_string(),
        SqlType::SmallInt => random.i16(..).to_string(),
        SqlType::Int => random.i32(..).to_string(),
        SqlType::BigInt => random.i64(..).to_string(),
        SqlType::Float | SqlType::Double => match random.u8(..5) {
            0 => quoted(["NaN", "Infinity", "-Infinity"][random.usize(..3)]),
            _ => format!("{:e}", f64::from(random.i32(..)) * 1e-5),
        },
        SqlType::Decimal(_, scale) => {
            format!("{}.{}", random.i16(-999..999), &"12345678901"[..usize::from(*scale)])
        }
        SqlType::Bytes => quoted(["", "aA==", "aGk=", "+/+/"][random.usize(..4)]),
        SqlType::Date => quoted(&day(random)),
        SqlType::Time(_) => quoted(&clock(random)),
        SqlType::Timestamp(_) => quoted(&format!("{}T{}", day(random), clock(random))),
        SqlType::TimestampLtz(_) => quoted(&format!("{}T{}Z", day(random), clock(random))),
        SqlType::Array(element, _) => {
            let elements: Vec<String> = (0..random.usize(..4)).map(|_| value(random, element)).collect();
            format!("[{}]", elements.join(","))
        }
        SqlType::Map(_, of, _) => {
            let entries: Vec<String> = (0..random.usize(..4))
                .map(|number| {
                    format!("{}:{}", quoted(&format!("{number}{}", text(random))), value(random, of))
                })
                .collect();
            format!("{{{}}}", entries.join(","))
        }
        SqlType::Row(columns) => object(random, columns),
        SqlType::String | SqlType::Null => quoted(&text(random)),
    }
}

fn object(random: &mut Rng, columns: &[Column]) -> String {
    let fields: Vec<String> = columns
        .iter()
        .map(|column| {
            let name = serde_json::to_string(&column.name).unwrap();
            format!("{name}:{}", value(random, &column.data_type))
        })
        .collect();
    format!("{{{}}}", fields.join(","))
}

fn dialect(random: &mut Rng) -> Dialect {
    let (delimiter, quote) =
        [(b',', b'"'), (b';', b'\''), (b'\t', b'"'), (b'-', b'"'), (b',', b':')][random.usize(..5)];
    let null = ["", "NA", "7", "true", " "][random.usize(..5)].to_owned();
    Dialect { header: random.bool(), delimiter, quote, null, multiline: true }
}

#[test]
fn what_is_written_is_read_as_it_was() {
    let mut random = Rng::with_seed(31);
    for _ in 0..3000 {
        let dialect = dialect(&mut random);
        let columns = (0..random.usize(1..8)).map(|number| {
            let (data_type, _) = parse_type(TYPES[random.usize(..TYPES.len())]).unwrap();
            Column::new(format!("{number}{}", text(&mut random)), data_type, true)
        });
        let columns = Schema::new(columns.collect());
        let objects: Vec<String> =
            (0..random.usize(..20)).map(|_| object(&mut random, columns.columns())).collect();
        let rows = of_json(&columns, &objects.join("\n"));
        let written = encode(&dialect, &columns, &rows);
        let (read, rejected) = decode(&dialect, &columns, &written);
        let shown = String::from_utf8_lossy(&written);
        assert_eq!(rejected, [], "{dialect:?} {shown}");
        assert_eq!(json(&columns, &read), json(&columns, &rows), "{dialect:?} {shown}");
        assert_eq!(read, rows, "{dialect:?} {shown}");
        // Only some of the columns, in another order.
        if dialect.header {
            let mut some: Vec<Column> = columns.columns().to_vec();
            random.shuffle(&mut some);
            some.truncate(random.usize(..=some.len()));
            let some = Schema::new(some);
            let (read, _) = decode(&dialect, &some, &written);
            let of = |column: &Column| rows.column(columns.index_of(&column.name).unwrap()).clone();
            let expect = some.rows(some.columns().iter().map(of).collect(), rows.num_rows());
            assert_eq!(read, expect, "{dialect:?} {shown}");
        }
    }
}
