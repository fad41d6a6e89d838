//! The columns of a table as the directory of a part spells them out, and their types in the language.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema as ArrowSchema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::record::{Column, SqlType};

/// A column: its name, its type, and whether NULL may occur.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnText {
    name: String,
    #[serde(rename = "type")]
    data_type: TypeText,
    nullable: bool,
}

/// An Arrow type under its name there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TypeText {
    Null,
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Float32,
    Float64,
    /// Precision and scale.
    Decimal128(u8, i8),
    /// Precision and scale.
    Decimal256(u8, i8),
    Utf8,
    Binary,
    /// The width, bytes.
    FixedSizeBinary(i32),
    Date32,
    Time32Ms,
    /// The unit, and the zone where there is one.
    Timestamp(UnitText, Option<String>),
    List(Box<ColumnText>),
    Struct(Vec<ColumnText>),
    /// The struct of the entries: key and value.
    Map(Box<ColumnText>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum UnitText {
    S,
    Ms,
    Us,
    Ns,
}

impl ColumnText {
    /// The text of a field; none where a snapshot cannot hold its type.
    pub fn of(field: &Field) -> Option<Self> {
        Some(Self {
            name: field.name().clone(),
            data_type: TypeText::of(field.data_type())?,
            nullable: field.is_nullable(),
        })
    }

    /// The field; none where the text describes none.
    fn field(&self) -> Option<FieldRef> {
        Some(Arc::new(Field::new(&self.name, self.data_type.arrow()?, self.nullable)))
    }
}

/// The texts of all columns; none where a snapshot cannot hold one of their types.
pub(super) fn texts_of(schema: &ArrowSchema) -> Option<Vec<ColumnText>> {
    schema.fields().iter().map(|field| ColumnText::of(field)).collect()
}

/// The schema that texts describe; none where they describe none.
pub(super) fn schema_of(columns: &[ColumnText]) -> Option<SchemaRef> {
    let fields: Option<Vec<FieldRef>> = columns.iter().map(ColumnText::field).collect();
    Some(Arc::new(ArrowSchema::new(fields?)))
}

impl TypeText {
    fn of(data_type: &DataType) -> Option<Self> {
        let column = |field: &FieldRef| ColumnText::of(field).map(Box::new);
        Some(match data_type {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean,
            DataType::Int8 => Self::Int8,
            DataType::Int16 => Self::Int16,
            DataType::Int32 => Self::Int32,
            DataType::Int64 => Self::Int64,
            DataType::UInt8 => Self::Uint8,
            DataType::UInt16 => Self::Uint16,
            DataType::UInt32 => Self::Uint32,
            DataType::UInt64 => Self::Uint64,
            DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::Decimal128(precision, scale) => Self::Decimal128(*precision, *scale),
            DataType::Decimal256(precision, scale) => Self::Decimal256(*precision, *scale),
            DataType::Utf8 => Self::Utf8,
            DataType::Binary => Self::Binary,
            DataType::FixedSizeBinary(width) => Self::FixedSizeBinary(*width),
            DataType::Date32 => Self::Date32,
            DataType::Time32(TimeUnit::Millisecond) => Self::Time32Ms,
            DataType::Timestamp(unit, zone) => {
                let unit = match unit {
                    TimeUnit::Second => UnitText::S,
                    TimeUnit::Millisecond => UnitText::Ms,
                    TimeUnit::Microsecond => UnitText::Us,
                    TimeUnit::Nanosecond => UnitText::Ns,
                };
                Self::Timestamp(unit, zone.as_deref().map(str::to_owned))
            }
            DataType::List(element) => Self::List(column(element)?),
            DataType::Struct(fields) => {
                let fields: Option<Vec<ColumnText>> =
                    fields.iter().map(|field| ColumnText::of(field)).collect();
                Self::Struct(fields?)
            }
            DataType::Map(entries, false) => Self::Map(column(entries)?),
            _ => return None,
        })
    }

    fn arrow(&self) -> Option<DataType> {
        Some(match self {
            Self::Null => DataType::Null,
            Self::Boolean => DataType::Boolean,
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Uint8 => DataType::UInt8,
            Self::Uint16 => DataType::UInt16,
            Self::Uint32 => DataType::UInt32,
            Self::Uint64 => DataType::UInt64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal128(precision, scale) => {
                is_decimal(*precision, *scale, 38).then_some(DataType::Decimal128(*precision, *scale))?
            }
            Self::Decimal256(precision, scale) => {
                is_decimal(*precision, *scale, 76).then_some(DataType::Decimal256(*precision, *scale))?
            }
            Self::Utf8 => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::FixedSizeBinary(width) => (*width > 0).then_some(DataType::FixedSizeBinary(*width))?,
            Self::Date32 => DataType::Date32,
            Self::Time32Ms => DataType::Time32(TimeUnit::Millisecond),
            Self::Timestamp(unit, zone) => {
                let unit = match unit {
                    UnitText::S => TimeUnit::Second,
                    UnitText::Ms => TimeUnit::Millisecond,
                    UnitText::Us => TimeUnit::Microsecond,
                    UnitText::Ns => TimeUnit::Nanosecond,
                };
                DataType::Timestamp(unit, zone.as_deref().map(Arc::from))
            }
            Self::List(element) => DataType::List(element.field()?),
            Self::Struct(fields) => {
                let fields: Option<Fields> = fields.iter().map(ColumnText::field).collect();
                DataType::Struct(fields?)
            }
            Self::Map(entries) => match &entries.data_type {
                Self::Struct(fields) if fields.len() == 2 && !entries.nullable => {
                    DataType::Map(entries.field()?, false)
                }
                _ => return None,
            },
        })
    }
}

fn is_decimal(precision: u8, scale: i8, precision_max: u8) -> bool {
    (1..=precision_max).contains(&precision) && (0..=precision.cast_signed()).contains(&scale)
}

/// The type of the language whose values an Arrow column carries, at the full precision of its unit; none where the
/// language has no such type.
#[must_use]
pub fn sql_type(data_type: &DataType) -> Option<SqlType> {
    let digits = |unit: &TimeUnit| match unit {
        TimeUnit::Second => None,
        TimeUnit::Millisecond => Some(3),
        TimeUnit::Microsecond => Some(6),
        TimeUnit::Nanosecond => Some(9),
    };
    let columns = |fields: &Fields| -> Option<Vec<Column>> {
        let column = |field: &FieldRef| {
            Some(Column::new(field.name(), sql_type(field.data_type())?, field.is_nullable()))
        };
        fields.iter().map(column).collect()
    };
    Some(match data_type {
        DataType::Boolean => SqlType::Boolean,
        DataType::Int8 => SqlType::TinyInt,
        DataType::Int16 => SqlType::SmallInt,
        DataType::Int32 => SqlType::Int,
        DataType::Int64 => SqlType::BigInt,
        DataType::Float32 => SqlType::Float,
        DataType::Float64 => SqlType::Double,
        DataType::Decimal128(precision, scale) => SqlType::Decimal(*precision, u8::try_from(*scale).ok()?),
        DataType::Utf8 => SqlType::String,
        DataType::Binary => SqlType::Bytes,
        DataType::Date32 => SqlType::Date,
        DataType::Time32(TimeUnit::Millisecond) => SqlType::Time(3),
        DataType::Timestamp(unit, None) => SqlType::Timestamp(digits(unit)?),
        DataType::Timestamp(unit, Some(_)) => SqlType::TimestampLtz(digits(unit)?),
        DataType::List(element) => {
            SqlType::Array(Box::new(sql_type(element.data_type())?), element.is_nullable())
        }
        DataType::Struct(fields) => SqlType::Row(columns(fields)?),
        DataType::Map(entries, _) => {
            let DataType::Struct(fields) = entries.data_type() else { return None };
            let [key, value] = &fields[..] else { return None };
            let (key, nullable) = (sql_type(key.data_type())?, value.is_nullable());
            SqlType::Map(Box::new(key), Box::new(sql_type(value.data_type())?), nullable)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::parse_type;

    #[test]
    fn types_of_the_language_come_back() {
        for text in [
            "BOOLEAN",
            "TINYINT",
            "SMALLINT",
            "INT",
            "BIGINT",
            "FLOAT",
            "DOUBLE",
            "DECIMAL(12, 2)",
            "STRING",
            "BYTES",
            "DATE",
            "TIME(3)",
            "TIMESTAMP(3)",
            "TIMESTAMP(6)",
            "TIMESTAMP(9)",
            "TIMESTAMP_LTZ(3)",
            "ARRAY<ROW<a BIGINT, b STRING>>",
            "MAP<STRING, ARRAY<INT>>",
        ] {
            let (sql, _) = parse_type(text).unwrap();
            let field = Field::new("a", sql.arrow(), true);
            let written = serde_json::to_string(&ColumnText::of(&field).unwrap()).unwrap();
            let read: ColumnText = serde_json::from_str(&written).unwrap();
            assert_eq!(*read.field().unwrap(), field, "{text}: {written}");
            assert_eq!(sql_type(field.data_type()).unwrap().to_string(), text);
        }
    }

    #[test]
    fn texts_that_describe_no_type_are_refused() {
        for text in [
            r#"{"decimal128":[0,0]}"#,
            r#"{"decimal128":[39,2]}"#,
            r#"{"decimal128":[5,-1]}"#,
            r#"{"decimal256":[77,0]}"#,
            r#"{"fixed_size_binary":0}"#,
            r#"{"map":{"name":"e","type":"utf8","nullable":false}}"#,
            r#"{"map":{"name":"e","type":{"struct":[]},"nullable":false}}"#,
            r#"{"list":{"name":"e","type":{"fixed_size_binary":-1},"nullable":false}}"#,
        ] {
            let read: TypeText = serde_json::from_str(text).unwrap();
            assert_eq!(read.arrow(), None, "{text}");
        }
    }
}
