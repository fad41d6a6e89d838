//! The types of the language, under Flink's names, and the Arrow type that carries each.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

use super::Column;
use crate::error::nearest;

/// A type of the language. Whether NULL is allowed belongs to the column ([`Column::nullable`]), not to the type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SqlType {
    /// The type of a bare NULL; never a column's.
    Null,
    /// TRUE, FALSE.
    Boolean,
    /// 8 bits, signed.
    TinyInt,
    /// 16 bits, signed.
    SmallInt,
    /// 32 bits, signed.
    Int,
    /// 64 bits, signed.
    BigInt,
    /// 32 bits, IEEE 754.
    Float,
    /// 64 bits, IEEE 754.
    Double,
    /// `DECIMAL(precision, scale)`: exact, 1 ≤ precision ≤ 38, scale ≤ precision.
    Decimal(u8, u8),
    /// UTF-8 text.
    String,
    /// Bytes.
    Bytes,
    /// A day.
    Date,
    /// A time of day with 0 to 3 digits of a second's fraction, kept in milliseconds.
    Time(u8),
    /// Date and time without a zone, with 0 to 9 digits of a second's fraction.
    Timestamp(u8),
    /// An instant, with 0 to 9 digits of a second's fraction.
    TimestampLtz(u8),
    /// Elements of one type; the flag tells whether they may be NULL.
    Array(Box<SqlType>, bool),
    /// Keys of one type (never NULL), values of another; the flag tells whether values may be NULL.
    Map(Box<SqlType>, Box<SqlType>, bool),
    /// Named fields.
    Row(Vec<Column>),
}

impl SqlType {
    /// The Arrow type that carries values of this type.
    ///
    /// Timestamps of precision 0–3 are kept in milliseconds, 4–6 in microseconds, 7–9 in nanoseconds (which span the
    /// years 1677 to 2262); with a zone of `+00:00` where they are instants. Nested fields always allow NULL in Arrow:
    /// whether they may be NULL is ours to check.
    #[must_use]
    pub fn arrow(&self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Boolean => DataType::Boolean,
            Self::TinyInt => DataType::Int8,
            Self::SmallInt => DataType::Int16,
            Self::Int => DataType::Int32,
            Self::BigInt => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal(precision, scale) => DataType::Decimal128(*precision, scale.cast_signed()),
            Self::String => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time(_) => DataType::Time32(TimeUnit::Millisecond),
            Self::Timestamp(precision) => DataType::Timestamp(unit_of(*precision), None),
            Self::TimestampLtz(precision) => DataType::Timestamp(unit_of(*precision), Some("+00:00".into())),
            Self::Array(element, _) => DataType::List(Arc::new(Field::new("item", element.arrow(), true))),
            Self::Map(key, value, _) => {
                let entries = Fields::from(vec![
                    Field::new("key", key.arrow(), false),
                    Field::new("value", value.arrow(), true),
                ]);
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
            }
            Self::Row(columns) => DataType::Struct(columns.iter().map(Column::field).collect()),
        }
    }

    /// Whether values are integers.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        matches!(self, Self::TinyInt | Self::SmallInt | Self::Int | Self::BigInt)
    }

    /// Whether values are numbers.
    #[must_use]
    pub fn is_numeric(&self) -> bool {
        self.is_integer() || matches!(self, Self::Float | Self::Double | Self::Decimal(..))
    }
}

fn unit_of(precision: u8) -> TimeUnit {
    match precision {
        0..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not_null = |nullable: &bool| if *nullable { "" } else { " NOT NULL" };
        match self {
            Self::Null => write!(f, "NULL"),
            Self::Boolean => write!(f, "BOOLEAN"),
            Self::TinyInt => write!(f, "TINYINT"),
            Self::SmallInt => write!(f, "SMALLINT"),
            Self::Int => write!(f, "INT"),
            Self::BigInt => write!(f, "BIGINT"),
            Self::Float => write!(f, "FLOAT"),
            Self::Double => write!(f, "DOUBLE"),
            Self::Decimal(precision, scale) => write!(f, "DECIMAL({precision}, {scale})"),
            Self::String => write!(f, "STRING"),
            Self::Bytes => write!(f, "BYTES"),
            Self::Date => write!(f, "DATE"),
            Self::Time(0) => write!(f, "TIME"),
            Self::Time(precision) => write!(f, "TIME({precision})"),
            Self::Timestamp(precision) => write!(f, "TIMESTAMP({precision})"),
            Self::TimestampLtz(precision) => write!(f, "TIMESTAMP_LTZ({precision})"),
            Self::Array(element, nullable) => write!(f, "ARRAY<{element}{}>", not_null(nullable)),
            Self::Map(key, value, nullable) => write!(f, "MAP<{key}, {value}{}>", not_null(nullable)),
            Self::Row(columns) => {
                write!(f, "ROW<")?;
                for (index, column) in columns.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{} {}{}", column.name, column.data_type, not_null(&column.nullable))?;
                }
                write!(f, ">")
            }
        }
    }
}

/// Why a type's text is not a type: where in the text, what, and advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeError {
    /// Byte range of the offending part.
    pub span: (usize, usize),
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: Option<String>,
}

/// Reads a type as a schema declares it: `DECIMAL(12, 2) NOT NULL`, `ROW<id BIGINT, tags ARRAY<STRING>>`. The flag
/// tells whether NULL is allowed.
///
/// # Errors
///
/// An unknown type name (with the nearest one), a parameter out of range, or text that is not a type.
pub fn parse_type(text: &str) -> Result<(SqlType, bool), TypeError> {
    let mut parser = Parser { text, position: 0, depth: 0 };
    let parsed = parser.nullable_type()?;
    parser.blanks();
    if parser.position < text.len() {
        return Err(parser.error_here("this does not belong to the type", None));
    }
    Ok(parsed)
}

const NAMES: &[&str] = &[
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "INTEGER",
    "BIGINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
    "STRING",
    "BYTES",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "ARRAY",
    "MAP",
    "ROW",
];

/// Types nested deeper than this are refused: nobody means them, and the parser recurses.
const DEPTH_MAX: usize = 64;

struct Parser<'a> {
    text: &'a str,
    position: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn blanks(&mut self) {
        let rest = &self.text[self.position..];
        self.position += rest.len() - rest.trim_start().len();
    }

    fn error_here(&self, what: &str, help: Option<&str>) -> TypeError {
        let end =
            self.text[self.position..].chars().next().map_or(self.position, |c| self.position + c.len_utf8());
        TypeError { span: (self.position, end), what: what.to_owned(), help: help.map(str::to_owned) }
    }

    fn eat(&mut self, expected: char) -> bool {
        self.blanks();
        let found = self.text[self.position..].starts_with(expected);
        if found {
            self.position += expected.len_utf8();
        }
        found
    }

    fn expect(&mut self, expected: char) -> Result<(), TypeError> {
        if self.eat(expected) {
            Ok(())
        } else {
            Err(self.error_here(&format!("expected `{expected}` here"), None))
        }
    }

    /// The next word, letters, digits and underscores, or a name in backticks; empty if there is none.
    fn word(&mut self) -> (usize, &'a str) {
        self.blanks();
        let start = self.position;
        let rest = &self.text[start..];
        if let Some(quoted) = rest.strip_prefix('`')
            && let Some(end) = quoted.find('`')
        {
            self.position = start + end + 2;
            return (start, &quoted[..end]);
        }
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.position = start + end;
        (start, &rest[..end])
    }

    fn nullable_type(&mut self) -> Result<(SqlType, bool), TypeError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error_here("the type is nested too deeply", None));
        }
        let data_type = self.plain_type()?;
        self.depth -= 1;
        let before = self.position;
        let (start, word) = self.word();
        if word.eq_ignore_ascii_case("NOT") {
            let (start, word) = self.word();
            if !word.eq_ignore_ascii_case("NULL") {
                self.position = start;
                return Err(self.error_here("NOT is followed by NULL", None));
            }
            return Ok((data_type, false));
        }
        if word.eq_ignore_ascii_case("NULL") {
            return Ok((data_type, true));
        }
        if !word.is_empty() {
            return Err(TypeError {
                span: (start, self.position),
                what: format!("`{word}` does not belong to the type"),
                help: Some("after the type only NOT NULL may follow".to_owned()),
            });
        }
        self.position = before;
        Ok((data_type, true))
    }

    fn plain_type(&mut self) -> Result<SqlType, TypeError> {
        let (start, word) = self.word();
        Ok(match word.to_uppercase().as_str() {
            "BOOLEAN" => SqlType::Boolean,
            "TINYINT" => SqlType::TinyInt,
            "SMALLINT" => SqlType::SmallInt,
            "INT" | "INTEGER" => SqlType::Int,
            "BIGINT" => SqlType::BigInt,
            "FLOAT" => SqlType::Float,
            "DOUBLE" => SqlType::Double,
            "STRING" => SqlType::String,
            "BYTES" => SqlType::Bytes,
            "DATE" => SqlType::Date,
            "DECIMAL" => self.decimal(start)?,
            "TIME" => SqlType::Time(self.precision(0, 3)?),
            "TIMESTAMP" => SqlType::Timestamp(self.precision(6, 9)?),
            "TIMESTAMP_LTZ" => SqlType::TimestampLtz(self.precision(6, 9)?),
            "ARRAY" => {
                self.expect('<')?;
                let (element, nullable) = self.nullable_type()?;
                self.expect('>')?;
                SqlType::Array(Box::new(element), nullable)
            }
            "MAP" => {
                self.expect('<')?;
                let (key, _) = self.nullable_type()?;
                self.expect(',')?;
                let (value, nullable) = self.nullable_type()?;
                self.expect('>')?;
                SqlType::Map(Box::new(key), Box::new(value), nullable)
            }
            "ROW" => SqlType::Row(self.row_columns()?),
            _ => return Err(self.unknown_type(start, word)),
        })
    }

    fn unknown_type(&self, start: usize, word: &str) -> TypeError {
        let help = match word.to_uppercase().as_str() {
            "TEXT" | "VARCHAR" | "CHAR" | "STR" | "UTF8" => Some("text is STRING".to_owned()),
            "LONG" | "INT64" | "INT8" => Some("a 64-bit integer is BIGINT".to_owned()),
            "BOOL" => Some("did you mean BOOLEAN?".to_owned()),
            "NUMERIC" | "NUMBER" => Some("an exact number is DECIMAL(precision, scale)".to_owned()),
            "DATETIME" => {
                Some("date and time without a zone is TIMESTAMP(3), an instant TIMESTAMP_LTZ(3)".to_owned())
            }
            "STRUCT" | "OBJECT" => Some("an object is ROW<name TYPE, …>".to_owned()),
            _ => nearest(word, NAMES.iter().copied()).map(|name| format!("did you mean {name}?")),
        };
        TypeError {
            span: (start, self.position.max(start + 1).min(self.text.len())),
            what: if word.is_empty() {
                "a type is missing".to_owned()
            } else {
                format!("there is no type `{word}`")
            },
            help: help.or_else(|| Some(format!("the types are {}", NAMES.join(", ")))),
        }
    }

    fn number(&mut self) -> Result<u8, TypeError> {
        let (start, word) = self.word();
        word.parse().map_err(|_| TypeError {
            span: (start, self.position),
            what: "expected a whole number".to_owned(),
            help: None,
        })
    }

    fn precision(&mut self, default: u8, most: u8) -> Result<u8, TypeError> {
        if !self.eat('(') {
            return Ok(default);
        }
        self.blanks();
        let start = self.position;
        let precision = self.number()?;
        if precision > most {
            return Err(TypeError {
                span: (start, self.position),
                what: format!("the precision is at most {most}"),
                help: None,
            });
        }
        self.expect(')')?;
        Ok(precision)
    }

    fn decimal(&mut self, start: usize) -> Result<SqlType, TypeError> {
        let (mut precision, mut scale) = (10, 0);
        if self.eat('(') {
            precision = self.number()?;
            if self.eat(',') {
                scale = self.number()?;
            }
            if !self.eat(')') {
                let help = (self.position >= self.text.len()).then_some(
                    "in flow style ({ … }) YAML cuts the text at the comma: put the type in quotes, \"DECIMAL(12, 2)\"",
                );
                return Err(self.error_here("the parenthesis is not closed", help));
            }
        }
        if !(1..=38).contains(&precision) || scale > precision {
            return Err(TypeError {
                span: (start, self.position),
                what: "DECIMAL(p, s) takes 1 ≤ p ≤ 38 and 0 ≤ s ≤ p".to_owned(),
                help: None,
            });
        }
        Ok(SqlType::Decimal(precision, scale))
    }

    fn row_columns(&mut self) -> Result<Vec<Column>, TypeError> {
        self.expect('<')?;
        let mut columns: Vec<Column> = Vec::new();
        if self.eat('>') {
            return Ok(columns);
        }
        loop {
            let (start, name) = self.word();
            if name.is_empty() {
                return Err(self.error_here("expected the name of a field", Some("write ROW<name TYPE, …>")));
            }
            if columns.iter().any(|column| column.name == name) {
                return Err(TypeError {
                    span: (start, self.position),
                    what: format!("the field `{name}` is there twice"),
                    help: None,
                });
            }
            let (data_type, nullable) = self.nullable_type()?;
            columns.push(Column { name: name.to_owned(), data_type, nullable });
            if self.eat('>') {
                return Ok(columns);
            }
            self.expect(',')?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_read_and_print() {
        for (text, printed, nullable) in [
            ("STRING NOT NULL", "STRING", false),
            ("decimal(12,2)", "DECIMAL(12, 2)", true),
            ("TIMESTAMP", "TIMESTAMP(6)", true),
            ("TIMESTAMP_LTZ(3) NOT NULL", "TIMESTAMP_LTZ(3)", false),
            ("ARRAY<INT NOT NULL>", "ARRAY<INT NOT NULL>", true),
            ("MAP<STRING, DOUBLE>", "MAP<STRING, DOUBLE>", true),
            (
                "ROW<a BIGINT, `b c` ROW<c STRING NOT NULL>>",
                "ROW<a BIGINT, b c ROW<c STRING NOT NULL>>",
                true,
            ),
            ("ROW<>", "ROW<>", true),
        ] {
            let (data_type, allows_null) = parse_type(text).expect(text);
            assert_eq!((data_type.to_string().as_str(), allows_null), (printed, nullable), "{text}");
        }
    }

    #[test]
    fn wrong_types_say_where() {
        for (text, span, help) in [
            ("STRNG", (0, 5), "STRING"),
            ("VARCHAR(10)", (0, 7), "STRING"),
            ("DECIMAL(12", (10, 10), "quotes"),
            ("DECIMAL(40, 2)", (0, 14), ""),
            ("TIMESTAMP(12)", (10, 12), ""),
            ("INT NOT", (7, 7), ""),
            ("INT PRIMARY KEY", (4, 11), "NOT NULL"),
            ("ROW<a INT, a INT>", (11, 12), ""),
            ("", (0, 0), ""),
        ] {
            let error = parse_type(text).expect_err(text);
            assert_eq!(error.span, span, "{text}: {}", error.what);
            assert!(error.help.unwrap_or_default().contains(help), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_not_an_overflow() {
        assert!(parse_type(&"ARRAY<".repeat(100_000)).is_err());
    }
}
