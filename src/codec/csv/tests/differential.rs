//! Random mangled texts, split by one character at a time and read by way of JSON: the same rows, and the same bad records.

use fastrand::Rng;

use super::super::fields::{Fault, Splitter};
use super::*;

/// A field, and whether it stood in quotes.
type Naive = (String, bool);

/// The fields of a record, one character at a time.
fn split(record: &str, delimiter: char, quote: char) -> Result<Vec<Naive>, Fault> {
    let mut fields: Vec<Naive> = Vec::new();
    let mut characters = record.chars().peekable();
    loop {
        let number = fields.len() + 1;
        let mut text = String::new();
        let is_quoted = characters.next_if_eq(&quote).is_some();
        if is_quoted {
            loop {
                match characters.next() {
                    None => return Err(Fault::Open(number)),
                    Some(c) if c == quote && characters.next_if_eq(&quote).is_none() => break,
                    Some(c) => text.push(c),
                }
            }
        } else {
            while let Some(c) = characters.next_if(|c| *c != delimiter) {
                if c == quote {
                    return Err(Fault::Inside(number));
                }
                text.push(c);
            }
        }
        fields.push((text, is_quoted));
        match characters.next() {
            None => return Ok(fields),
            Some(c) if c == delimiter => {}
            Some(_) => return Err(Fault::Behind(number)),
        }
    }
}

const ALPHABET: [&str; 14] = [",", ",", "\"", "\"", "a", "1", ";", "\t", "é", "\r", " ", "NA", "😀", "2024"];

/// Random text of a line.
fn line(random: &mut Rng) -> String {
    let length = if random.u8(..20) == 0 { random.usize(..200) } else { random.usize(..12) };
    (0..length).map(|_| ALPHABET[random.usize(..ALPHABET.len())]).collect()
}

#[test]
fn fields_are_those_of_one_character_at_a_time() {
    let mut random = Rng::with_seed(21);
    let (mut cases, mut good) = (0, 0);
    while cases < 200_000 {
        let (delimiter, quote) = [(',', '"'), (';', '"'), ('\t', ' ')][random.usize(..3)];
        let byte = |c: char| u8::try_from(c).unwrap();
        let dialect = Dialect { delimiter: byte(delimiter), quote: byte(quote), ..Dialect::default() };
        let lines: Vec<String> = (0..random.usize(1..30)).map(|_| line(&mut random)).collect();
        let text = lines.join("\n");
        let mut splitter = Splitter::new(&dialect);
        splitter.load(&text);
        let mut start = 0;
        for line in &lines {
            let mut found = Vec::new();
            let count = splitter.split(&text, start, start + line.len(), |_, field| found.push(field));
            let found: Vec<Naive> = found
                .iter()
                .map(|field| (field.text(&text, &splitter.made).to_owned(), field.is_quoted()))
                .collect();
            match split(line, delimiter, quote) {
                Ok(expect) => assert_eq!((count, &found), (Ok(expect.len()), &expect), "{line:?}"),
                Err(fault) => assert_eq!(count, Err(fault), "{line:?}"),
            }
            good += usize::from(count.is_ok());
            cases += 1;
            start += line.len() + 1;
        }
    }
    assert!(good > 50_000, "{good} of {cases}");
}

#[test]
fn no_bytes_are_beyond_it() {
    let mut random = Rng::with_seed(23);
    let mut good = 0;
    for _ in 0..5000 {
        let columns = schema(&[("a", "INT"), ("b", "STRING"), ("c", TYPES[random.usize(..TYPES.len())])]);
        let dialect = Dialect { header: false, multiline: random.bool(), ..Dialect::default() };
        let bytes: Vec<u8> = (0..random.usize(..300))
            .map(|_| b",,,,\n\n\n\"\"12a\r\xc3\xa9\xff"[random.usize(..16)])
            .collect();
        // What is not UTF-8 is no good, and nothing beside it is.
        let (rows, rejected) = decode(&dialect, &columns, &bytes);
        good += rows.num_rows();
        if !dialect.multiline {
            let lines = bytes.split(|byte| *byte == b'\n');
            let lines =
                lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).filter(|line| !line.is_empty());
            for (record, line) in lines.enumerate() {
                let told = rejected.iter().find(|bad| bad.record as usize == record);
                let is_told = told.is_some_and(|bad| bad.reason.starts_with("the text is not UTF-8"));
                assert_eq!(is_told, str::from_utf8(line).is_err(), "{line:?}");
            }
        }
    }
    assert!(good > 500, "{good}");
}

/// Texts that mean something to some type, and others.
const TEXTS: [&str; 22] = [
    "1",
    "-17",
    "300",
    "1.50",
    "1e3",
    "true",
    "NaN",
    "2024-02-29",
    "09:30:00.5",
    "2024-01-31T09:30:15.123",
    "2024-01-31T09:30:16.5",
    "2024-01-31 09:30:15Z",
    "aGk=",
    "[1,2]",
    "{\"\"a\"\":1}",
    "null",
    "a b",
    "é",
    " 7",
    "99999999999999999999",
    "0.005",
    "a\"\"b",
];

const TYPES: [&str; 17] = [
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT NOT NULL",
    "BIGINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL(5, 2)",
    "DECIMAL(30, 10)",
    "STRING",
    "STRING NOT NULL",
    "BYTES",
    "DATE",
    "TIME(3)",
    "TIMESTAMP(3)",
    "TIMESTAMP_LTZ(6)",
    "ARRAY<INT>",
];

#[test]
fn rows_are_those_of_json_strings() {
    let mut random = Rng::with_seed(22);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..1500 {
        let types: Vec<&str> = (0..random.usize(1..6)).map(|_| TYPES[random.usize(..TYPES.len())]).collect();
        let names: Vec<String> = (0..types.len()).map(|number| format!("c{number}")).collect();
        let declared: Vec<(&str, &str)> =
            names.iter().map(String::as_str).zip(types.iter().copied()).collect();
        let columns = schema(&declared);
        let mut text = names.join(",") + "\n";
        let (mut objects, mut kept) = (String::new(), 0);
        for _ in 0..random.usize(1..30) {
            let fields: Vec<String> = types.iter().map(|_| field(&mut random)).collect();
            let record = if random.u8(..12) == 0 { line(&mut random) } else { fields.join(",") };
            let record = record.trim_end_matches('\r');
            if record.is_empty() && types.len() > 1 {
                continue;
            }
            text += record;
            text += if random.bool() { "\n" } else { "\r\n" };
            kept += 1;
            match split(record, ',', '"') {
                Ok(fields) if fields.len() == types.len() => {
                    objects += &object(&types, &fields);
                }
                // No object, and so a bad record too.
                _ => objects += "-\n",
            }
        }
        let (rows, rejected) = decode(&Dialect::default(), &columns, text.as_bytes());
        let (expect, expect_rejected) = parse_json(&columns, &objects);
        let records = |rejected: &[Rejected]| rejected.iter().map(|bad| bad.record).collect::<Vec<_>>();
        assert_eq!(records(&rejected), records(&expect_rejected), "{text}\n{objects}{rejected:?}");
        assert_eq!(json(&columns, &rows), json(&columns, &expect), "{text}");
        assert_eq!(rows.num_rows() + rejected.len(), kept);
        (good, bad) = (good + rows.num_rows(), bad + rejected.len());
    }
    assert!(good > 2000 && bad > 2000, "{good} good, {bad} bad");
}

/// A field as it is written.
fn field(random: &mut Rng) -> String {
    let text = TEXTS[random.usize(..TEXTS.len())];
    match random.u8(..6) {
        0 => String::new(),
        1 => "\"\"".to_owned(),
        2 => format!("\"{text}\""),
        _ if text.contains(['"', ',']) => format!("\"{text}\""),
        _ => text.to_owned(),
    }
}

/// The same record as a JSON object.
fn object(types: &[&str], fields: &[Naive]) -> String {
    let entries = types.iter().zip(fields).enumerate().map(|(number, (data_type, (text, is_quoted)))| {
        let value = match (text.as_str(), is_quoted) {
            ("", false) => "null".to_owned(),
            _ if data_type.starts_with("ARRAY") => text.clone(),
            _ => serde_json::to_string(text).unwrap(),
        };
        format!("\"c{number}\":{value}")
    });
    format!("{{{}}}\n", entries.collect::<Vec<_>>().join(","))
}
