//! Rows of a table of a snapshot, shown as text, JSON, CSV or Parquet.

use std::fs::File;
use std::io::{self, Write};

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::compute::{can_cast_types, cast};
use arrow::datatypes::{DataType, Schema as ArrowSchema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use clap::ValueEnum;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::table::Table;
use crate::codec::Encode;
use crate::codec::json::JsonEncoder;
use crate::record::{Column, Schema, SqlType};
use crate::snapshot::sql_type;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns for a person.
    Text,
    /// One JSON object a line.
    Json,
    /// Comma-separated, with a line of names.
    Csv,
    /// Apache Parquet, into a file.
    Parquet,
}

/// The columns of a table in the types of the language.
pub(super) struct Shown {
    schema: Schema,
}

impl Shown {
    /// The columns of this Arrow schema. What the language has no type for is shown in a wider type, or as text.
    pub fn new(schema: &ArrowSchema) -> Self {
        let column = |field: &arrow::datatypes::FieldRef| {
            let wanted = shown_type(field.data_type());
            let castable =
                wanted.arrow() == *field.data_type() || can_cast_types(field.data_type(), &wanted.arrow());
            Column::new(field.name(), if castable { wanted } else { SqlType::String }, true)
        };
        Self { schema: Schema::new(schema.fields().iter().map(column).collect()) }
    }

    /// The columns.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Rows of the table with these columns.
    pub fn rows(&self, rows: &RecordBatch) -> RecordBatch {
        let pairs = rows.columns().iter().zip(self.schema.arrow().fields());
        let columns = pairs.map(|(column, field)| in_type(column, field.data_type())).collect();
        self.schema.rows(columns, rows.num_rows())
    }
}

/// The type in which a column is shown.
fn shown_type(data_type: &DataType) -> SqlType {
    match data_type {
        DataType::UInt8 => SqlType::SmallInt,
        DataType::UInt16 => SqlType::Int,
        DataType::UInt32 => SqlType::BigInt,
        DataType::UInt64 => SqlType::Decimal(20, 0),
        DataType::FixedSizeBinary(_) => SqlType::Bytes,
        other => sql_type(other).unwrap_or(SqlType::String),
    }
}

fn in_type(column: &ArrayRef, data_type: &DataType) -> ArrayRef {
    if column.data_type() == data_type {
        return column.clone();
    }
    if *data_type != DataType::Utf8
        && let Ok(column) = cast(column, data_type)
    {
        return column;
    }
    let options = FormatOptions::default();
    let texts: StringArray = match ArrayFormatter::try_new(column.as_ref(), &options) {
        Ok(values) => {
            (0..column.len()).map(|row| column.is_valid(row).then(|| values.value(row).to_string())).collect()
        }
        Err(_) => StringArray::new_null(column.len()),
    };
    std::sync::Arc::new(texts)
}

/// The values of one column as text, as JSON has them but text without quotes; none for NULL.
pub(super) fn texts(column: &Column, values: &ArrayRef) -> Vec<Option<String>> {
    let named = Schema::new(vec![Column::new("", column.data_type.clone(), true)]);
    let rows = named.rows(vec![values.clone()], values.len());
    let mut lines = Vec::new();
    JsonEncoder::new(&named).encode(&rows, &mut lines);
    let lines = String::from_utf8_lossy(&lines);
    let text = |line: &str| {
        let value = line.strip_prefix(r#"{"":"#).and_then(|rest| rest.strip_suffix('}'))?;
        match value {
            "null" => None,
            _ if value.starts_with('"') => serde_json::from_str(value).ok(),
            _ => Some(value.to_owned()),
        }
    };
    lines.lines().map(text).collect()
}

/// Rows as JSON objects.
pub(super) fn json_lines(schema: &Schema, rows: &RecordBatch) -> Vec<String> {
    let mut lines = Vec::new();
    JsonEncoder::new(schema).encode(rows, &mut lines);
    String::from_utf8_lossy(&lines).lines().map(str::to_owned).collect()
}

/// Writes rows in one of the formats.
pub(super) enum RowWriter {
    Text(Table<Box<dyn Write>>),
    Json(Box<dyn Write>),
    Csv(Box<dyn Write>),
    Parquet(Box<ArrowWriter<File>>),
}

impl RowWriter {
    /// A writer to a file, or to standard output.
    pub fn new(format: Format, schema: &Schema, out: Option<&str>) -> io::Result<Self> {
        let names = || schema.columns().iter().map(|column| column.name.clone());
        if format == Format::Parquet {
            let path =
                out.ok_or_else(|| io::Error::other("--format parquet writes a file: give --out FILE"))?;
            let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
            let writer = ArrowWriter::try_new(File::create(path)?, schema.arrow().clone(), Some(properties));
            return Ok(Self::Parquet(Box::new(writer.map_err(io::Error::other)?)));
        }
        let mut out: Box<dyn Write> = match out {
            Some(path) => Box::new(io::BufWriter::new(File::create(path)?)),
            None => Box::new(io::BufWriter::new(io::stdout())),
        };
        Ok(match format {
            Format::Text => Self::Text(Table::new(out, names().collect())),
            Format::Json => Self::Json(out),
            Format::Csv | Format::Parquet => {
                writeln!(out, "{}", names().map(|name| quoted(&name)).collect::<Vec<_>>().join(","))?;
                Self::Csv(out)
            }
        })
    }

    /// Writes rows of the schema.
    pub fn write(&mut self, schema: &Schema, rows: &RecordBatch) -> io::Result<()> {
        let columns = || -> Vec<Vec<Option<String>>> {
            schema
                .columns()
                .iter()
                .zip(rows.columns())
                .map(|(column, values)| texts(column, values))
                .collect()
        };
        match self {
            Self::Text(table) => {
                let columns = columns();
                for row in 0..rows.num_rows() {
                    let cell =
                        |column: &Vec<Option<String>>| column[row].clone().unwrap_or_else(|| "NULL".into());
                    table.line(columns.iter().map(cell).collect())?;
                }
                Ok(())
            }
            Self::Json(out) => {
                let mut lines = Vec::new();
                JsonEncoder::new(schema).encode(rows, &mut lines);
                out.write_all(&lines)
            }
            Self::Csv(out) => {
                let columns = columns();
                for row in 0..rows.num_rows() {
                    let cell = |column: &Vec<Option<String>>| match &column[row] {
                        None => String::new(),
                        // NULL is nothing at all.
                        Some(text) if text.is_empty() => "\"\"".to_owned(),
                        Some(text) => quoted(text),
                    };
                    writeln!(out, "{}", columns.iter().map(cell).collect::<Vec<_>>().join(","))?;
                }
                Ok(())
            }
            Self::Parquet(writer) => writer.write(rows).map_err(io::Error::other),
        }
    }

    /// Writes what is left.
    pub fn end(self) -> io::Result<()> {
        match self {
            Self::Text(table) => table.end(),
            Self::Json(mut out) | Self::Csv(mut out) => out.flush(),
            Self::Parquet(writer) => writer.close().map(drop).map_err(io::Error::other),
        }
    }
}

/// A cell of CSV (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) || text.starts_with(' ') || text.ends_with(' ') {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}
