//! The layers of the JSON decoder against one another, and against `serde_json`: records of a few layouts, so that
//! templates are learnt, with all that can be wrong or unusual about them.
//!
//! At every level the rows and the reasons for refusing records must be, to the last bit, those of a decoder that parses
//! each record whole. A record is taken by a decoder of no columns if and only if `serde_json` reads it as an object, but
//! for numbers too large for a double, and the depth, where the limits differ.
//!
//! `MILLSTREAM_FUZZ` sets how many records are tried, `MILLSTREAM_FUZZ_SEED` where the draws begin; `scripts/fuzz-decoder`
//! runs a campaign. `tests/corpus/decoder.txt` keeps one drawn record of each kind: of a schema, read by a layer, and taken
//! or refused for a reason. `UPDATE=1` draws it anew.

use std::collections::BTreeMap;
use std::{env, fs, thread};

use arrow::array::RecordBatch;
use fastrand::Rng;
use millstream::codec::json::{JsonDecoder, Layers, Level};
use millstream::codec::{Decode, Rejected};
use millstream::record::{Column, Origin, Schema, parse_type};

/// How many records are tried where nobody says.
const RECORDS: u64 = 1_000_000;
/// Where the corpus is.
const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/decoder.txt");
/// From how many draws the corpus is made.
const CORPUS_DRAWS: u64 = 3000;
/// How many records a batch has.
const BATCH: usize = 96;
/// How many batches are decoded before the layouts change.
const BATCHES: usize = 6;

type Columns = &'static [(&'static str, &'static str)];

const SCHEMAS: [Columns; 5] = [
    &[
        ("event_type", "INT NOT NULL"),
        ("person", "ROW<id BIGINT, name STRING, dateTime TIMESTAMP(3)>"),
        ("auction", "ROW<id BIGINT, reserve BIGINT, dateTime TIMESTAMP(3), expires TIMESTAMP(3)>"),
        ("bid", "ROW<auction BIGINT, price BIGINT, url STRING, dateTime TIMESTAMP(3), extra STRING>"),
    ],
    &[
        ("a", "BOOLEAN"),
        ("b", "TINYINT"),
        ("c", "SMALLINT"),
        ("d", "INT"),
        ("e", "BIGINT"),
        ("f", "FLOAT"),
        ("g", "DOUBLE"),
        ("h", "DECIMAL(12, 2)"),
        ("i", "STRING"),
        ("j", "DATE"),
        ("k", "TIME(3)"),
        ("l", "TIMESTAMP(6)"),
        ("m", "TIMESTAMP_LTZ(3)"),
        ("n", "TIMESTAMP(1)"),
        ("o", "TIMESTAMP(9)"),
    ],
    &[
        ("a", "ARRAY<INT>"),
        ("b", "MAP<STRING, STRING>"),
        ("c", "ROW<a ARRAY<ROW<a STRING, b BIGINT NOT NULL>>, b BYTES, c ROW<>, d INT NOT NULL>"),
        ("d", "BYTES"),
        ("e", "STRING"),
        ("f", "ROW<a ROW<a ROW<a INT NOT NULL, b STRING NOT NULL> NOT NULL, b INT>>"),
    ],
    &[("a", "BIGINT NOT NULL"), ("b", "STRING NOT NULL"), ("", "DECIMAL(38, 10)"), ("é", "DOUBLE")],
    &[],
];

/// Values of any kind, ordinary ones and all that may be mistaken.
#[rustfmt::skip]
const VALUES: &[&str] = &[
    "null", "true", "false", "0", "-0", "1", "-1", "7", "12", "123", "99999999", "100000000",
    "1234567890123456", "9999999999999999", "12345678901234567", "9223372036854775807",
    "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551615",
    "18446744073709551616", "123456789012345678901234567890", "127", "128", "-128", "-129", "32768",
    "2147483647", "2147483648", "0.5", "-0.0", "1.0", "1e3", "1E+3", "1e-3", "1.5e2", "0e0", "0e400",
    "1e400", "-1e400", "1e-400", "5e-324", "2.2250738585072011e-308", "1.7976931348623157e308",
    "1.7976931348623159e308", "3.4028236e38", "0.1", "123456.785", "9999999999.995", "16777217",
    "9007199254740993", "0.30000000000000004", "00", "01", "1.", ".5", "+1", "-", "1e", "1e+", "0x10",
    "--1", "1-", "NaN", "Infinity", "nul", "nulll", "truefalse", "True", "tru", "1 2", "1,2", "", " ", "{}",
    "[]", "[1,2]", "[1, 2 ]", "[[1],[2,[3]],{}]", "[1,]", "[,1]", "{\"a\":1}", "{\"a\":1,}", "{\"a\"}",
    "{1:2}", "{\"a\":[{\"b\":[null]}]}", "[\"x\",\"y\"]", "[1,\"x\",2,3]", "[}", "{]", "\"\"", "\"x\"",
    "\"12\"", "\" 12 \"", "\"-7\"", "\"1.5\"", "\"1e3\"", "\"TRUE\"", "\" false \"", "\"NaN\"", "\"inf\"",
    "\"Infinity\"", "\"null\"", "\"aGk=\"", "\"aGk\"",
    "\"a long text that fills more than one register, and then some\"", "\"\\\"\"", "\"\\\\\"",
    "\"\\\\\\\"\"", "\"x\\ny\"", "\"\\u0061\"", "\"\\u00e9\\u0000\"", "\"\\ud83d\\ude00\"", "\"\\ud83d\"",
    "\"\\ude00\"", "\"\\ud83d\\u0041\"", "\"\\ud83dx\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"",
    "\"\\/\\b\\f\\r\\t\"", "\"é\"", "\"😀 text\"", "\"\u{7f}\"", "\"\u{feff}\"", "\"\t\"", "\"\u{1}\"",
    "\"\u{0}\"", "\"\n\"", "\"\r\"", "\"open", "open\"", "\"a\"\"b\"", "\"{}[]:,\"", "'x'",
    "\"2015-07-15T00:00:00.000\"", "\"2015-07-15 00:00:00.123\"", "\"2015-07-15T00:00:00.999Z\"",
    "\"2015-07-15T00:00:59.999\"", "\"2015-07-15T00:00:60.000\"", "\"2015-07-15T00:60:00.000\"",
    "\"2015-07-15T24:00:00.000\"", "\"2015-02-29T00:00:00.000\"", "\"2015-07-15T00:00:00\"",
    "\"2015-07-15T00:00:00.1234567\"", "\"2015-07-15T00:00:00.000+02:00\"", "\"2015-07-15T00:00:00.00Z\"",
    "\"2015-07-15T00:00:00.0000\"", "\"2015-07-15T00:00:0a.000\"", "\"2015-07-15T00:00:00,000\"",
    "\"2015-07-15T00:00:6:.000\"", "\" 2015-07-15T00:00:00.000 \"", "\"2015-07-15T00:00\"",
    "\"1677-09-21T00:12:43.145\"", "\"2262-04-11T23:47:16.854\"", "\"2262-04-11T23:47:16.855\"",
    "\"2300-01-01T00:00:00.000\"", "\"2024-02-29\"", "\"2023-02-29\"", "\"23:59:59.9999\"", "\"09:30\"",
    "\"24:00:00\"",
];

const KEYS: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "x",
    "id",
    "bid",
    "price",
    "event_type",
    "extra",
    "",
    "é",
    "\\u0061",
    "b\\u0000",
    "a key that is longer than a register of thirty-two bytes",
    "A",
    "person",
    "a\\\"b",
    "\\",
];

const BYTES: &[u8] = b"{}[]:,\"\\ue0123.-+ \t\r\n\x00\x1f\x7f\xff\xc3\xed\xa9\xef";

/// JSON, or what is to be taken for it.
#[derive(Clone)]
enum Tree {
    Leaf(String),
    Object(Vec<(String, Tree)>),
    Array(Vec<Tree>),
}

/// A record of a schema that has all of its columns, and more.
fn layout(random: &mut Rng, columns: &[Column], depth: usize) -> Tree {
    let mut members: Vec<(String, Tree)> = Vec::new();
    for column in columns {
        if random.u8(..if column.nullable { 6 } else { 60 }) == 0 {
            continue;
        }
        members.push((column.name.clone(), typical(random, &column.data_type.to_string(), column, depth)));
    }
    for _ in 0..random.usize(..4) {
        let value = if random.u8(..6) == 0 { any(random, 2) } else { Tree::Leaf(filler(random)) };
        members.push((format!("u{}", random.u8(..100)), value));
    }
    if random.u8(..3) == 0 {
        random.shuffle(&mut members);
    }
    Tree::Object(members)
}

fn typical(random: &mut Rng, name: &str, column: &Column, depth: usize) -> Tree {
    if let millstream::record::SqlType::Row(columns) = &column.data_type {
        return if depth > 0 && (random.u8(..8) > 0 || !column.nullable) {
            layout(random, columns, depth - 1)
        } else {
            Tree::Leaf("null".to_owned())
        };
    }
    Tree::Leaf(scalar(random, name))
}

/// A value that mostly fits a type.
fn scalar(random: &mut Rng, data_type: &str) -> String {
    let name = data_type.split(['(', '<', ' ']).next().unwrap_or_default();
    match name {
        "BOOLEAN" => random.bool().to_string(),
        "TINYINT" => random.i8(..).to_string(),
        "SMALLINT" => random.i16(..).to_string(),
        "INT" => (random.i32(..) >> random.u8(..32)).to_string(),
        "BIGINT" => {
            let least = if random.u8(..4) > 0 { 0 } else { i64::MIN };
            (random.i64(least..) >> random.u8(..64)).to_string()
        }
        "FLOAT" | "DOUBLE" => match random.u8(..4) {
            0 => random.i16(..).to_string(),
            1 => f64::from_bits(random.u64(..)).to_string(),
            2 => format!("{:e}", f64::from_bits(random.u64(..))),
            _ => (random.f64() * 1e6).to_string(),
        },
        "DECIMAL" => format!("{}.{}", random.i32(..) >> random.u8(..32), random.u8(..)),
        "DATE" => format!("\"20{:02}-{:02}-{:02}\"", random.u8(..100), random.u8(1..13), random.u8(1..30)),
        "TIME" => format!(
            "\"{:02}:{:02}:{:02}.{}\"",
            random.u8(..24),
            random.u8(..60),
            random.u8(..60),
            random.u16(..)
        ),
        "TIMESTAMP" | "TIMESTAMP_LTZ" => {
            let zone = if name == "TIMESTAMP" { "" } else { "Z" };
            let minute = random.u8(..3);
            let seconds = if random.u8(..50) == 0 { 75 } else { 60 };
            format!(
                "\"2015-07-15T00:{minute:02}:{:02}.{:03}{zone}\"",
                random.u8(..seconds),
                random.u16(..1000)
            )
        }
        "BYTES" => "\"aGk=\"".to_owned(),
        "ARRAY" => "[1,2]".to_owned(),
        "MAP" => "{\"k\":\"v\"}".to_owned(),
        _ => text(random),
    }
}

/// An ordinary value of a field nobody asked for.
fn filler(random: &mut Rng) -> String {
    let data_type =
        ["STRING", "STRING", "BIGINT", "BOOLEAN", "DOUBLE", "TIMESTAMP", "ARRAY"][random.usize(..7)];
    scalar(random, data_type)
}

fn text(random: &mut Rng) -> String {
    let length = if random.u8(..8) == 0 { random.usize(..150) } else { random.usize(..20) };
    let plain = (0..length).map(|_| char::from(random.u8(b'a'..=b'z'))).collect::<String>();
    match random.u8(..20) {
        0 => format!("\"{plain}é{plain}\""),
        1 if random.bool() => format!("\"{plain}\\n{plain}\\\\\""),
        _ => format!("\"{plain}\""),
    }
}

fn any(random: &mut Rng, depth: usize) -> Tree {
    match random.u8(..if depth == 0 { 3 } else { 6 }) {
        0 => Tree::Leaf(VALUES[random.usize(..VALUES.len())].to_owned()),
        1 => Tree::Leaf(random.i32(..).to_string()),
        2 => Tree::Leaf(text(random)),
        3 => Tree::Array((0..random.usize(..4)).map(|_| any(random, depth - 1)).collect()),
        _ => Tree::Object(
            (0..random.usize(..4))
                .map(|_| (KEYS[random.usize(..KEYS.len())].to_owned(), any(random, depth - 1)))
                .collect(),
        ),
    }
}

impl Tree {
    /// Draws the ordinary values anew, each of its kind.
    fn redraw(&mut self, random: &mut Rng) {
        match self {
            Self::Leaf(value) => {
                let kind = match value.as_bytes() {
                    [b'"', b'2', b'0', ..] if value.len() == 25 => "TIMESTAMP",
                    [b'"', b'2', b'0', ..] if value.len() == 26 => "TIMESTAMP_LTZ",
                    [b'"', b'a'..=b'z', ..] => "STRING",
                    [b't' | b'f', ..] => "BOOLEAN",
                    [b'0'..=b'9', ..] if value.len() > 3 && !value.contains('.') => "BIGINT",
                    [b'0'..=b'9', ..] if value.contains('.') => "DECIMAL",
                    _ => return,
                };
                *value = scalar(random, kind);
            }
            Self::Object(members) => members.iter_mut().for_each(|(_, member)| member.redraw(random)),
            Self::Array(elements) => elements.iter_mut().for_each(|element| element.redraw(random)),
        }
    }

    /// Changes something about it, somewhere.
    fn change(&mut self, random: &mut Rng) {
        match self {
            Self::Object(members) if !members.is_empty() && random.u8(..4) > 0 => {
                let at = random.usize(..members.len());
                match random.u8(..10) {
                    0 => random.shuffle(members),
                    1 => drop(members.remove(at)),
                    2 => {
                        let again = (members[at].0.clone(), any(random, 1));
                        members.insert(random.usize(..=members.len()), again);
                    }
                    3 => KEYS[random.usize(..KEYS.len())].clone_into(&mut members[at].0),
                    4 => members.push((KEYS[random.usize(..KEYS.len())].to_owned(), any(random, 2))),
                    _ => members[at].1.change(random),
                }
            }
            Self::Array(elements) if !elements.is_empty() && random.bool() => {
                let at = random.usize(..elements.len());
                elements[at].change(random);
            }
            _ => *self = any(random, 1),
        }
    }

    /// Writes it down, in one in `blank` places with a blank.
    fn write(&self, random: &mut Rng, blank: u32, out: &mut String) {
        let pause = |random: &mut Rng, out: &mut String| {
            if blank > 0 && random.u32(..blank) == 0 {
                out.push_str([" ", "\t", "  ", "\r", "\n"][random.usize(..5)]);
            }
        };
        pause(random, out);
        match self {
            Self::Leaf(value) => out.push_str(value),
            Self::Object(members) => {
                out.push('{');
                for (index, (key, member)) in members.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    pause(random, out);
                    out.extend(["\"", key, "\""]);
                    pause(random, out);
                    out.push(':');
                    member.write(random, blank, out);
                }
                pause(random, out);
                out.push('}');
            }
            Self::Array(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    element.write(random, blank, out);
                }
                pause(random, out);
                out.push(']');
            }
        }
        pause(random, out);
    }
}

fn mutilate(random: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.usize(1..3) {
        if bytes.is_empty() {
            return;
        }
        let at = random.usize(..bytes.len());
        match random.u8(..8) {
            0 | 1 => bytes[at] ^= 1 << random.u8(..8),
            2 => bytes.truncate(at),
            3 => drop(bytes.remove(at)),
            4 => bytes.insert(at, BYTES[random.usize(..BYTES.len())]),
            5 => bytes[at] = BYTES[random.usize(..BYTES.len())],
            6 => {
                let tail: &[u8] =
                    [&b"}"[..], b" ", b"x", b"{}", b",", b"\xff", b"\\", b"\"", b"\0"][random.usize(..9)];
                bytes.extend_from_slice(tail);
            }
            _ => {
                let end = random.usize(at..=bytes.len()).min(at + 20);
                let part = bytes[at..end].to_vec();
                let to = random.usize(..=bytes.len());
                bytes.splice(to..to, part);
            }
        }
    }
}

/// A record nested so deep.
fn deep(depth: usize, random: &mut Rng) -> Vec<u8> {
    let (open, close) = if random.bool() { ("[", "]") } else { ("{\"a\":", "}") };
    format!("{{\"a\":{}0{}}}", open.repeat(depth), close.repeat(depth)).into_bytes()
}

/// Records of one batch, and where they are.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
    spans: Vec<u64>,
}

impl Records {
    fn push(&mut self, record: &[u8], behind: &[u8]) {
        let small = |length| u32::try_from(length).expect("a batch is small");
        let offset = small(self.bytes.len());
        self.spans.push(Origin::span(offset, small(record.len())));
        self.bytes.extend_from_slice(record);
        self.bytes.extend_from_slice(behind);
    }

    fn record(&self, index: usize) -> &[u8] {
        let span = self.spans[index];
        &self.bytes[(span >> 32) as usize..][..(span & 0xffff_ffff) as usize]
    }

    fn draw(random: &mut Rng, layouts: &[Tree]) -> Self {
        let mut records = Self::default();
        records.bytes.extend(vec![b'\n'; random.usize(..3)]);
        // How often something is wrong.
        let wild = [2, 8, 30, 1000][random.usize(..4)];
        for _ in 0..BATCH {
            let mut tree = layouts[random.usize(..layouts.len())].clone();
            tree.redraw(random);
            let (mut text, mut blank) = (String::new(), 0);
            if random.u32(..wild) == 0 {
                match random.u8(..6) {
                    0 => blank = 8,
                    _ => (0..random.usize(1..3)).for_each(|_| tree.change(random)),
                }
            }
            tree.write(random, blank, &mut text);
            let mut record = text.into_bytes();
            if random.u32(..wild) == 0 && random.bool() {
                mutilate(random, &mut record);
            }
            if random.u32(..4000) == 0 {
                record = deep([20, 58, 59, 60, 126, 127, 128, 129, 10_000][random.usize(..9)], random);
            }
            let behind: &[u8] = match random.u8(..40) {
                0 => b"",
                1 => b"\r\n",
                2 => b"\n\n \t\n",
                3 => b"\\\n",
                4 => b"\"\n",
                _ => b"\n",
            };
            records.push(&record, behind);
        }
        records
    }
}

/// The decoders of one schema: the exact one, and one for each level.
struct Decoders {
    exact: JsonDecoder,
    levels: Vec<(Level, JsonDecoder)>,
}

impl Decoders {
    fn new(columns: Columns) -> Self {
        let schema = Schema::new(schema_of(columns));
        let levels = Level::available();
        Self {
            exact: JsonDecoder::exact(&schema),
            levels: levels.iter().map(|level| (*level, JsonDecoder::with_level(&schema, *level))).collect(),
        }
    }

    /// Decodes at all levels, and returns what all of them say.
    fn decode(&mut self, records: &Records, context: &str) -> (RecordBatch, Vec<Rejected>) {
        let run = |decoder: &mut JsonDecoder| {
            let mut rejected = Vec::new();
            let rows = decoder.decode(&records.bytes, &records.spans, &mut rejected);
            (rows, rejected)
        };
        let expect = run(&mut self.exact);
        for (level, decoder) in &mut self.levels {
            let found = run(decoder);
            for column in found.0.columns() {
                column.to_data().validate_full().expect("columns are what they say");
            }
            if found != expect {
                differ(*level, &found, &expect, records, context);
            }
        }
        expect
    }
}

/// Tells which record it is.
fn differ(
    level: Level,
    found: &(RecordBatch, Vec<Rejected>),
    expect: &(RecordBatch, Vec<Rejected>),
    records: &Records,
    context: &str,
) -> ! {
    let name = level.name();
    assert_eq!(found.1, expect.1, "{context}, {name}");
    let good =
        (0..records.spans.len()).filter(|record| expect.1.iter().all(|bad| bad.record as usize != *record));
    for (row, record) in good.enumerate() {
        let (one, other) = (found.0.slice(row, 1), expect.0.slice(row, 1));
        let text = String::from_utf8_lossy(records.record(record));
        assert_eq!(one, other, "{context}, {name}, record {record}: {text}");
    }
    panic!("{context}, {name}: each row is the same, and the whole is not");
}

/// Whether `serde_json` takes a record for an object; none where the two may differ.
fn is_object(record: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<serde_json::Value>(record) {
        Ok(value) => Some(value.is_object()),
        Err(error) => {
            let text = error.to_string();
            let excused = text.contains("number out of range") || text.contains("recursion limit");
            (!excused).then_some(false)
        }
    }
}

fn number_of(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// What some draws came to.
#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    records: u64,
    objects: u64,
    layers: Layers,
}

impl Tried {
    fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.objects += other.objects;
        self.layers.followed += other.layers.followed;
        self.layers.walked += other.layers.walked;
        self.layers.parsed += other.layers.parsed;
    }
}

fn schema_of(columns: Columns) -> Vec<Column> {
    let column = |(name, text): &(&str, &str)| {
        let (data_type, nullable) = parse_type(text).expect(text);
        Column::new(*name, data_type, nullable)
    };
    columns.iter().map(column).collect()
}

/// The batches of a seed, and the schema they are for.
fn draw(seed: u64) -> (usize, Rng, impl Iterator<Item = Records>) {
    let mut random = Rng::with_seed(seed);
    let schema = random.usize(..SCHEMAS.len());
    let columns = schema_of(SCHEMAS[schema]);
    let layouts: Vec<Tree> = (0..random.usize(1..5)).map(|_| layout(&mut random, &columns, 3)).collect();
    let other = random.fork();
    (schema, other, (0..BATCHES).map(move |_| Records::draw(&mut random, &layouts)))
}

/// Tries what a seed draws.
fn try_seed(seed: u64) -> Tried {
    let mut tried = Tried::default();
    let context = format!("seed {seed}");
    let (schema, mut random, batches) = draw(seed);
    let mut decoders = Decoders::new(SCHEMAS[schema]);
    let levels = Level::available();
    let level = levels[random.usize(..levels.len())];
    let mut counter = JsonDecoder::with_level(&Schema::new(Vec::new()), level);
    for records in batches {
        decoders.decode(&records, &context);
        let mut rejected = Vec::new();
        tried.objects += counter.decode(&records.bytes, &records.spans, &mut rejected).num_rows() as u64;
        for index in 0..records.spans.len() {
            let taken = rejected.iter().all(|bad| bad.record as usize != index);
            let text = || String::from_utf8_lossy(records.record(index));
            if let Some(is_object) = is_object(records.record(index)) {
                assert_eq!(taken, is_object, "{context}: {}", text());
            }
        }
        tried.records += records.spans.len() as u64;
    }
    for layers in decoders.levels.iter().filter_map(|(_, decoder)| decoder.layers()) {
        tried.add(&Tried { layers, ..Tried::default() });
    }
    tried
}

#[test]
fn all_layers_say_the_same() {
    let total = number_of("MILLSTREAM_FUZZ", RECORDS);
    let first = number_of("MILLSTREAM_FUZZ_SEED", 0);
    let seeds = total.div_ceil((BATCH * BATCHES) as u64);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut tried = Tried::default();
    thread::scope(|scope| {
        let run = |thread: usize| {
            let mut tried = Tried::default();
            for seed in (first..first + seeds).skip(thread).step_by(threads) {
                tried.add(&try_seed(seed));
            }
            tried
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        for thread in running {
            tried.add(&thread.join().expect("no draw tells layers apart"));
        }
    });
    let Layers { followed, walked, parsed } = tried.layers;
    let Tried { records, objects, layers } = tried;
    assert!(followed.min(walked).min(parsed) > (followed + walked + parsed) / 20, "{layers:?}");
    assert!(objects > records / 4 && objects < records, "{objects} of {records}");
    println!("{records} records, seeds {first} to {}, {objects} were objects; {layers:?}", first + seeds - 1);
}

/// What kind of record it is: its schema, the layer of the best level that reads it behind others, and what is said of it.
fn kind(schema: usize, decoder: &mut JsonDecoder, records: &Records, index: usize) -> String {
    let before = decoder.layers().expect("it has layers");
    let mut rejected = Vec::new();
    decoder.decode(&records.bytes, &records.spans[index..=index], &mut rejected);
    let after = decoder.layers().expect("it has layers");
    let layer = if after.followed > before.followed {
        "followed"
    } else if after.walked > before.walked {
        "walked"
    } else {
        "parsed"
    };
    // Reasons quote what they are about.
    let reason = rejected.first().map_or("taken", |rejected| &rejected.reason);
    let words = reason.split(' ').filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()));
    format!("{schema} {layer} {}", words.collect::<Vec<_>>().join(" "))
}

/// One record of each kind that the first seeds draw, the shortest.
fn draw_corpus() -> String {
    let mut kept: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for seed in 0..CORPUS_DRAWS {
        let (schema, _, batches) = draw(seed);
        let mut decoder = JsonDecoder::new(&Schema::new(schema_of(SCHEMAS[schema])));
        for records in batches {
            for index in 0..records.spans.len() {
                let record = records.record(index);
                let kind = kind(schema, &mut decoder, &records, index);
                let shortest = kept.entry(kind).or_insert_with(|| record.to_vec());
                if record.len() < shortest.len() {
                    *shortest = record.to_vec();
                }
            }
        }
    }
    let line = |(kind, record): (&String, &Vec<u8>)| format!("{}\t{}\n", &kind[..1], record.escape_ascii());
    kept.iter().map(line).collect()
}

/// Undoes `escape_ascii`.
fn unescape(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'x') => {
                    let digits =
                        [rest.next(), rest.next()].map(|digit| char::from(digit.expect("two digits")));
                    digits.iter().fold(0, |value, digit| {
                        value * 16 + u8::try_from(digit.to_digit(16).expect("a digit")).expect("below 16")
                    })
                }
                Some(other) => other,
                None => unreachable!("a backslash escapes something"),
            },
            byte => byte,
        });
    }
    bytes
}

/// Each record of the corpus by itself, and behind and between records that teach a template.
#[test]
fn the_corpus() {
    if env::var_os("UPDATE").is_some() {
        fs::write(CORPUS, draw_corpus()).expect("it can be written");
    }
    let corpus = fs::read_to_string(CORPUS).expect("it can be read");
    assert!(corpus.lines().count() > 150, "there is a corpus");
    for (number, line) in (1..).zip(corpus.lines()) {
        let (schema, text) = line.split_once('\t').expect("a schema and a record");
        let schema: usize = schema.parse().expect("a number");
        let (record, mut random) = (unescape(text), Rng::with_seed(number));
        let tree = layout(&mut random, &schema_of(SCHEMAS[schema]), 3);
        for others in [0, 3, 40] {
            let mut records = Records::default();
            for index in 0..=2 * others {
                let mut other = String::new();
                tree.write(&mut random, 0, &mut other);
                records.push(if index == others { &record } else { other.as_bytes() }, b"\n");
            }
            Decoders::new(SCHEMAS[schema]).decode(&records, &format!("line {number}"));
        }
    }
}

/// Records around the size of what is indexed at once, and far beyond it, between ordinary ones.
#[test]
fn long_records() {
    let mut decoders = Decoders::new(SCHEMAS[3]);
    let around = (16 << 10) - 100..(16 << 10) + 40;
    for length in around.step_by(7).chain([32 << 10, (64 << 10) - 30, 64 << 10, 1 << 20, 64 << 20]) {
        let mut records = Records::default();
        for (number, length) in [3, length, 5, 7, length, 9].into_iter().enumerate() {
            let record = format!("{{\"b\":\"{}\",\"a\":{number}}}", "x".repeat(length));
            records.push(record.as_bytes(), b"\n");
        }
        let (rows, rejected) = decoders.decode(&records, &format!("{length} bytes"));
        assert_eq!((rows.num_rows(), rejected.len()), (6, 0));
    }
}
