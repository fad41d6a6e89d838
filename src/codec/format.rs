//! The formats there are: what a file declares as `format`.

use super::csv::{self, CsvDecoder, CsvEncoder, Dialect, HeaderReader};
use super::{Decode, Encode, json};
use crate::error::Problems;
use crate::record::Schema;
use crate::yaml::{Fields, Key, Node};

/// How records are written as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// Comma-separated values.
    Csv(Dialect),
}

/// Whether a format is read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is a source's.
    In,
    /// It is a sink's.
    Out,
}

/// A kind of format.
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// What it is, in one sentence.
    pub summary: &'static str,
    /// A declaration that uses it, as YAML.
    pub example: &'static str,
    /// Reads its options. None is returned only after a problem.
    pub parse: fn(&Key, &Node, Way, &mut Problems) -> Option<Format>,
}

/// All kinds of formats.
pub static FORMATS: &[Kind] = &[JSON, csv::KIND];

/// The entry of JSON.
const JSON: Kind = Kind {
    name: "json",
    summary: "one JSON object a line, in and out",
    example: "format: json",
    parse: |key: &Key, node: &Node, _: Way, problems: &mut Problems| {
        Fields::under(key, node, "format.json", problems).finish(problems);
        Some(Format::Json)
    },
};

/// The kind of this name.
#[must_use]
pub fn kind(name: &str) -> Option<&'static Kind> {
    FORMATS.iter().find(|kind| kind.name == name)
}

impl Format {
    /// A decoder into `columns`, which are all it looks at, of records whose columns are declared as `declared`.
    #[must_use]
    pub fn decoder(&self, declared: &Schema, columns: &Schema) -> Box<dyn Decode + Send> {
        match self {
            Self::Json => json::decoder(columns),
            Self::Csv(dialect) => Box::new(CsvDecoder::new(dialect, declared, columns)),
        }
    }

    /// An encoder of rows.
    #[must_use]
    pub fn encoder(&self, rows: &Schema) -> Box<dyn Encode + Send> {
        match self {
            Self::Json => json::encoder(rows),
            Self::Csv(dialect) => Box::new(CsvEncoder::new(dialect, rows)),
        }
    }

    /// What reads the first line of each split into `columns`; none where records begin at once.
    #[must_use]
    pub fn header_reader(&self, columns: &Schema) -> Option<HeaderReader> {
        match self {
            Self::Csv(dialect) if dialect.header => Some(HeaderReader::new(dialect, columns)),
            _ => None,
        }
    }

    /// The quote between two of which a newline ends no record; none where every newline ends one.
    #[must_use]
    pub fn multiline_quote(&self) -> Option<u8> {
        match self {
            Self::Csv(dialect) if dialect.multiline => Some(dialect.quote),
            _ => None,
        }
    }

    /// What stands once at the beginning of every output of such rows, before them.
    #[must_use]
    pub fn head(&self, rows: &Schema) -> Vec<u8> {
        match self {
            Self::Json => Vec::new(),
            Self::Csv(dialect) => csv::header_line(dialect, rows),
        }
    }

    /// How the names of its files end, without the dot.
    #[must_use]
    pub fn extension(&self) -> &'static str {
        match self {
            Self::Json => "ndjson",
            Self::Csv(_) => "csv",
        }
    }

    /// Whether a record can hold objects as such, which a changelog's records do.
    #[must_use]
    pub fn holds_objects(&self) -> bool {
        matches!(self, Self::Json)
    }

    /// Its name with all options, for `explain`.
    #[must_use]
    pub fn describe(&self, way: Way) -> String {
        match self {
            Self::Json => "json".to_owned(),
            Self::Csv(dialect) => format!("csv {}", dialect.describe(way)),
        }
    }
}
