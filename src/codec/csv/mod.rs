//! CSV, as RFC 4180 has it: one record a line, fields in quotes where they need them, quotes in such fields doubled.
//!
//! What is wider than the RFC: lines may end in a newline alone, the delimiter and the quote are options, and an unquoted
//! field that is the `null` text is NULL (by default an empty one, so that `""` is the empty string and nothing is NULL). A
//! line without any byte is no record, unless records have a single field: there it is one whose field is empty.
//!
//! - [`fields`]: where the fields of a record are. The scan is written by hand: an index of delimiters and quotes made 64
//!   bytes at a time, which costs less than one call per field does, as fields are mostly shorter than a register.
//! - [`header`]: the first line, and which field goes to which column.
//! - [`decode`], [`mod@column`]: records to columns, a column at a time. What a text means to a type is what a JSON string
//!   means to it; ROW, ARRAY and MAP are JSON texts.
//! - [`encode`]: rows to records.

mod column;
mod decode;
mod encode;
mod fields;
mod header;
#[cfg(test)]
mod tests;

pub use decode::CsvDecoder;
pub use encode::{CsvEncoder, header_line};
pub use header::{HEADER_BYTES_MAX, Header, HeaderReader};

use super::format::{Format, Kind, Way};
use crate::error::{Problem, Problems};
use crate::yaml::{Fields, Key, Node, Reading};

/// The entry in the registry.
pub(super) const KIND: Kind = Kind {
    name: "csv",
    summary: "comma-separated values (RFC 4180), in and out; `header` says whether the first line of each file names the columns (true), `delimiter` and `quote` are one character each, `null` is the text of NULL outside of quotes (nothing); `multiline: true` reads fields that hold line ends",
    example: "format: { csv: { header: true, delimiter: \",\", quote: \"\\\"\", null: \"\" } }",
    parse,
};

/// How CSV is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Whether the first line names the columns.
    pub header: bool,
    /// What stands between fields: an ASCII character.
    pub delimiter: u8,
    /// What stands around a field in which a delimiter means nothing: an ASCII character.
    pub quote: u8,
    /// The text of a NULL, unquoted.
    pub null: String,
    /// Whether a field that is read may hold line ends.
    pub multiline: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { header: true, delimiter: b',', quote: b'"', null: String::new(), multiline: false }
    }
}

impl Dialect {
    /// The options as YAML.
    #[must_use]
    pub fn describe(&self, way: Way) -> String {
        let Self { header, delimiter, quote, null, multiline } = self;
        let lines = if way == Way::In { format!(", multiline: {multiline}") } else { String::new() };
        let (delimiter, quote) = (char::from(*delimiter).to_string(), char::from(*quote).to_string());
        format!("{{ header: {header}, delimiter: {delimiter:?}, quote: {quote:?}, null: {null:?}{lines} }}")
    }

    /// Whether a byte means something outside of quotes, wherever it stands.
    fn is_special(&self, byte: u8) -> bool {
        byte == self.delimiter || byte == self.quote || byte == b'\n' || byte == b'\r'
    }
}

fn parse(key: &Key, node: &Node, way: Way, problems: &mut Problems) -> Option<Format> {
    let mut fields = Fields::under(key, node, "format.csv", problems);
    let default = Dialect::default();
    let header = fields.boolean("header", problems).unwrap_or(default.header);
    let delimiter = character(&mut fields, "delimiter", problems);
    let quote = character(&mut fields, "quote", problems);
    let null = null_text(&mut fields, problems);
    let multiline = multiline(&mut fields, way, problems);
    let at = |fields: &mut Fields<'_>, key| fields.take(key).map_or(fields.at(), |node| node.at);
    let (delimiter_at, quote_at, null_at) =
        (at(&mut fields, "delimiter"), at(&mut fields, "quote"), at(&mut fields, "null"));
    fields.finish(problems);
    // What is wrong by itself has been reported, and is not compared with the rest.
    let (delimiter, quote) = (delimiter.ok()?, quote.ok()?);
    let dialect = Dialect {
        header,
        delimiter: delimiter.unwrap_or(default.delimiter),
        quote: quote.unwrap_or(default.quote),
        null: null.unwrap_or(default.null),
        multiline: multiline.unwrap_or(default.multiline),
    };
    if dialect.delimiter == dialect.quote {
        let at = if delimiter.is_some() { delimiter_at } else { quote_at };
        let what = format!("`delimiter` and `quote` are the same character, {:?}", char::from(dialect.quote));
        problems.push(Problem::error(at, what).help("give one of them another"));
        return None;
    }
    if dialect.null.bytes().any(|byte| dialect.is_special(byte)) {
        let what = "`null` is the text of a field without quotes, and cannot hold the delimiter, the quote or the end of a line";
        problems.push(Problem::error(null_at, what).help("write for instance null: NA"));
        return None;
    }
    Some(Format::Csv(dialect))
}

/// The character of an option: none where it is not said, an error where it is none, which is reported.
fn character<'a>(fields: &mut Fields<'a>, key: &'a str, problems: &mut Problems) -> Result<Option<u8>, ()> {
    let Some(node) = fields.take(key) else { return Ok(None) };
    let (text, found) = match node.read(problems) {
        Reading::Text(text) => (text, format!("{text:?}")),
        Reading::Withheld => return Ok(None),
        Reading::NotText => ("", node.kind().to_owned()),
    };
    if let [byte] = text.as_bytes()
        && byte.is_ascii()
        && !byte.is_ascii_alphanumeric()
        && !matches!(byte, 0 | b'\r' | b'\n')
    {
        return Ok(Some(*byte));
    }
    let what =
        format!("`{key}` takes one ASCII character that is no letter, digit or end of a line, not {found}");
    let help = match text {
        "\\t" | "tab" | "TAB" => format!("write {key}: \"\\t\", with double quotes, for a tab"),
        _ => format!("write for instance {key}: \"{}\"", if key == "quote" { "'" } else { ";" }),
    };
    problems.push(Problem::error(node.at, what).help(help));
    Err(())
}

/// The text of NULL; none where it is not said. A bare `NULL` is that text, and not nothing.
fn null_text(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<String> {
    let node = fields.take("null")?;
    if let Some(scalar) = node.scalar().filter(|scalar| scalar.is_null()) {
        return Some(scalar.raw.clone());
    }
    match node.read(problems) {
        Reading::Text(text) => Some(text.to_owned()),
        Reading::Withheld => None,
        Reading::NotText => {
            problems.error(node.at, format!("`null` takes text, not {}", node.kind()));
            None
        }
    }
}

/// Whether fields may hold line ends, where that is said; only where they are read there is a choice.
fn multiline(fields: &mut Fields<'_>, way: Way, problems: &mut Problems) -> Option<bool> {
    let at = fields.take("multiline").map(|node| node.at)?;
    if way == Way::In {
        return fields.boolean("multiline", problems);
    }
    let what = "`multiline` says how CSV is read, and this is written";
    problems.push(Problem::error(at, what).help("remove it: a field that holds a line end is put in quotes"));
    None
}
