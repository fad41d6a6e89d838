//! A column being built from values of records. Adding a type: a variant of [`Values`], and what it reads in
//! [`super::scalar`].

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Decimal128Builder, Float32Builder, Float64Builder,
    Int8Builder, Int16Builder, Int32Builder, Int64Builder, ListArray, MapArray, NullBufferBuilder,
    PrimitiveArray, PrimitiveBuilder, StringBuilder, StructArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Field, Fields as ArrowFields, Int32Type, Int64Type,
    Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use simd_json::StaticNode;
use simd_json::value::tape::Node;

use super::exact::{Elements, Place, Record, Value};
use super::row::{Mismatch, Pushed, Row};
use super::scalar::{self, Note};
use crate::record::SqlType;

/// A column, an element of an array, a key or a value of a map.
pub(super) struct Column {
    pub(super) name: String,
    data_type: SqlType,
    nullable: bool,
    values: Values,
}

enum Values {
    Boolean(BooleanBuilder),
    TinyInt(Int8Builder),
    SmallInt(Int16Builder),
    Int(Int32Builder),
    BigInt(Int64Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    Decimal { values: Decimal128Builder, precision: u8, scale: u8 },
    String(StringBuilder),
    Bytes { values: BinaryBuilder, decoded: Vec<u8> },
    Date(Int32Builder),
    Time { values: Int32Builder, precision: u8 },
    Timestamp { values: Int64Builder, unit: TimeUnit, precision: u8, zoned: bool },
    Array { offsets: Vec<i32>, nulls: NullBufferBuilder, element: Box<Column> },
    Map { offsets: Vec<i32>, nulls: NullBufferBuilder, key: Box<Column>, value: Box<Column> },
    Row { nulls: NullBufferBuilder, row: Row },
}

impl Values {
    fn new(data_type: &SqlType) -> Self {
        let nulls = || NullBufferBuilder::new(0);
        let column =
            |name: &str, data_type: &SqlType, nullable| Box::new(Column::new(name, data_type, nullable));
        match data_type {
            SqlType::Null => unreachable!("no column has the type of a bare NULL"),
            SqlType::Boolean => Self::Boolean(BooleanBuilder::new()),
            SqlType::TinyInt => Self::TinyInt(Int8Builder::new()),
            SqlType::SmallInt => Self::SmallInt(Int16Builder::new()),
            SqlType::Int => Self::Int(Int32Builder::new()),
            SqlType::BigInt => Self::BigInt(Int64Builder::new()),
            SqlType::Float => Self::Float(Float32Builder::new()),
            SqlType::Double => Self::Double(Float64Builder::new()),
            SqlType::Decimal(precision, scale) => Self::Decimal {
                values: Decimal128Builder::new().with_data_type(data_type.arrow()),
                precision: *precision,
                scale: *scale,
            },
            SqlType::String => Self::String(StringBuilder::new()),
            SqlType::Bytes => Self::Bytes { values: BinaryBuilder::new(), decoded: Vec::new() },
            SqlType::Date => Self::Date(Int32Builder::new()),
            SqlType::Time(precision) => Self::Time { values: Int32Builder::new(), precision: *precision },
            SqlType::Timestamp(precision) | SqlType::TimestampLtz(precision) => {
                let DataType::Timestamp(unit, zone) = data_type.arrow() else {
                    unreachable!("timestamps are Arrow timestamps")
                };
                Self::Timestamp {
                    values: Int64Builder::new(),
                    unit,
                    precision: *precision,
                    zoned: zone.is_some(),
                }
            }
            SqlType::Array(element, nullable) => {
                Self::Array { offsets: vec![0], nulls: nulls(), element: column("", element, *nullable) }
            }
            SqlType::Map(key, value, nullable) => Self::Map {
                offsets: vec![0],
                nulls: nulls(),
                key: column("", key, false),
                value: column("", value, *nullable),
            },
            SqlType::Row(columns) => Self::Row { nulls: nulls(), row: Row::new(columns) },
        }
    }
}

/// Runs a block for the builder of a scalar column, whatever its type, or another for the nested ones.
macro_rules! each_builder {
    ($values:expr, $builder:ident => $scalar:expr, $($nested:tt)*) => {
        match $values {
            Values::Boolean($builder) => $scalar,
            Values::TinyInt($builder) => $scalar,
            Values::SmallInt($builder) => $scalar,
            Values::Int($builder) | Values::Date($builder) | Values::Time { values: $builder, .. } => $scalar,
            Values::BigInt($builder) | Values::Timestamp { values: $builder, .. } => $scalar,
            Values::Float($builder) => $scalar,
            Values::Double($builder) => $scalar,
            Values::Decimal { values: $builder, .. } => $scalar,
            Values::String($builder) => $scalar,
            Values::Bytes { values: $builder, .. } => $scalar,
            $($nested)*
        }
    };
}

impl Column {
    pub(super) fn new(name: &str, data_type: &SqlType, nullable: bool) -> Self {
        Self { name: name.to_owned(), data_type: data_type.clone(), nullable, values: Values::new(data_type) }
    }

    pub(super) fn push_missing(&mut self) -> Pushed {
        if !self.nullable {
            return Err(Mismatch::new(" is NOT NULL and missing"));
        }
        self.push_null();
        Ok(())
    }

    pub(super) fn push_null(&mut self) {
        each_builder!(&mut self.values, builder => builder.append_null(),
            Values::Array { offsets, nulls, .. } | Values::Map { offsets, nulls, .. } => {
                nulls.append_null();
                offsets.push(offsets.last().copied().unwrap_or(0));
            }
            Values::Row { nulls, row } => {
                nulls.append_null();
                row.push_null();
            }
        );
    }

    #[inline]
    pub(super) fn push(&mut self, record: &Record<'_>, value: Value<'_>) -> Pushed {
        let node = record.node(value);
        if matches!(node, Node::Static(StaticNode::Null)) {
            if !self.nullable {
                return Err(Mismatch::new(" is NOT NULL and null"));
            }
            self.push_null();
            return Ok(());
        }
        match (&mut self.values, node) {
            (Values::Array { offsets, nulls, element }, Node::Array { len, .. }) => {
                push_elements(element, record, value, len)?;
                close(offsets, nulls, element.len());
                Ok(())
            }
            (Values::Map { offsets, nulls, key, value: values }, Node::Object { len, .. }) => {
                push_entries(key, values, record, value.position, len)?;
                close(offsets, nulls, key.len());
                Ok(())
            }
            (Values::Row { nulls, row }, Node::Object { len, .. }) => {
                row.push(record, value.position, len)?;
                nulls.append_non_null();
                Ok(())
            }
            (values, _) => {
                values.push_scalar(record, value).map_err(|note| self.mismatch(record, value, note))
            }
        }
    }

    #[cold]
    fn mismatch(&self, record: &Record<'_>, value: Value<'_>, note: Note) -> Mismatch {
        let found = scalar::describe(record, value);
        Mismatch::new(match self.data_type {
            SqlType::Row(_) | SqlType::Map(..) => format!(": expected an object, found {found}"),
            SqlType::Array(..) => format!(": expected an array, found {found}"),
            ref scalar => format!(": expected {scalar}, found {found}{note}"),
        })
    }

    fn len(&self) -> usize {
        each_builder!(&self.values, builder => builder.len(),
            Values::Array { nulls, .. } | Values::Map { nulls, .. } | Values::Row { nulls, .. } => nulls.len()
        )
    }

    /// The length with what an unfinished row has left in nested columns.
    pub(super) fn longest(&self) -> usize {
        match &self.values {
            Values::Row { nulls, row } => nulls.len().max(row.longest()),
            _ => self.len(),
        }
    }

    /// Makes the column `rows` long, closing what an unfinished row has left behind; its value is of no account.
    pub(super) fn complete(&mut self, rows: usize) {
        match &mut self.values {
            Values::Array { offsets, nulls, element } => {
                let elements = element.longest();
                element.complete(elements);
                if nulls.len() < rows {
                    close(offsets, nulls, elements);
                }
            }
            Values::Map { offsets, nulls, key, value } => {
                // Of an unfinished entry the key is there.
                let entries = key.len();
                value.complete(entries);
                if nulls.len() < rows {
                    close(offsets, nulls, entries);
                }
            }
            Values::Row { nulls, row } => {
                row.complete(rows);
                if nulls.len() < rows {
                    nulls.append_non_null();
                }
            }
            _ => {}
        }
        while self.len() < rows {
            self.push_null();
        }
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        let arrow = self.data_type.arrow();
        match &mut self.values {
            Values::Array { offsets, nulls, element } => {
                let DataType::List(field) = arrow else { unreachable!("arrays are Arrow lists") };
                let elements = element.finish();
                let list = ListArray::try_new(field, restart(offsets), elements, nulls.finish());
                Arc::new(list.expect("offsets, elements and NULLs were built together"))
            }
            Values::Map { offsets, nulls, key, value } => {
                let DataType::Map(field, ordered) = arrow else { unreachable!("maps are Arrow maps") };
                let entries =
                    StructArray::new(entry_fields(&field), vec![key.finish(), value.finish()], None);
                let map = MapArray::try_new(field, restart(offsets), entries, nulls.finish(), ordered);
                Arc::new(map.expect("offsets, entries and NULLs were built together"))
            }
            Values::Row { nulls, row } => {
                let DataType::Struct(fields) = arrow else { unreachable!("rows are Arrow structs") };
                let (length, columns) = (nulls.len(), row.finish());
                let row = StructArray::try_new_with_length(fields, columns, nulls.finish(), length);
                Arc::new(row.expect("fields and NULLs were built together"))
            }
            values => values.finish_scalar(),
        }
    }
}

/// The fields of a map's entries.
fn entry_fields(entries: &Field) -> ArrowFields {
    match entries.data_type() {
        DataType::Struct(fields) => fields.clone(),
        _ => unreachable!("a map's entries are structs"),
    }
}

/// Ends an array's or a map's row whose elements end at `end`.
fn close(offsets: &mut Vec<i32>, nulls: &mut NullBufferBuilder, end: usize) {
    offsets.push(
        i32::try_from(end).expect("a batch has fewer elements than bytes, and less than 2 GiB of them"),
    );
    nulls.append_non_null();
}

fn restart(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let next = Vec::with_capacity(offsets.len());
    let finished = std::mem::replace(offsets, next);
    offsets.push(0);
    OffsetBuffer::new(ScalarBuffer::from(finished))
}

fn push_elements(element: &mut Column, record: &Record<'_>, array: Value<'_>, len: usize) -> Pushed {
    let elements = Elements::of(array.place);
    let mut position = array.position + 1;
    for index in 0..len {
        let value = Value { position, place: Place::Element(&elements, index) };
        element.push(record, value).map_err(|mismatch| mismatch.below(&format!("[{index}]")))?;
        position = record.behind(position);
    }
    Ok(())
}

/// How many entries a map may have to be searched for duplicates pair by pair.
const FEW_ENTRIES: usize = 16;

fn push_entries(
    key: &mut Column,
    value: &mut Column,
    record: &Record<'_>,
    object: usize,
    len: usize,
) -> Pushed {
    // Positions of the keys, of which the last of equal ones counts.
    let mut positions = Vec::with_capacity(len);
    let mut position = object + 1;
    for _ in 0..len {
        positions.push(position);
        position = record.behind(position + 1);
    }
    let text = |position: &usize| record.key(*position);
    let mut last = vec![true; len];
    if len <= FEW_ENTRIES {
        for index in 0..len {
            last[index] = positions[index + 1..].iter().all(|later| text(later) != text(&positions[index]));
        }
    } else {
        let mut seen = HashSet::with_capacity(len);
        for index in (0..len).rev() {
            last[index] = seen.insert(text(&positions[index]));
        }
    }
    for position in positions.iter().zip(last).filter_map(|(position, last)| last.then_some(*position)) {
        let name = record.key(position);
        key.push(record, Value { position, place: Place::Behind(name) })
            .map_err(|mismatch| mismatch.below(&scalar::shortened(name)))?;
        value
            .push(record, Value { position: position + 1, place: Place::Behind(name) })
            .map_err(|mismatch| mismatch.below(&scalar::shortened(name)))?;
    }
    Ok(())
}

impl Values {
    /// Adds a value that is not NULL; nested columns refuse all that comes here.
    #[inline]
    fn push_scalar(&mut self, record: &Record<'_>, value: Value<'_>) -> Result<(), Note> {
        match self {
            Self::Boolean(values) => values.append_value(scalar::boolean(record, value)?),
            Self::TinyInt(values) => values.append_value(scalar::integer(record, value)?),
            Self::SmallInt(values) => values.append_value(scalar::integer(record, value)?),
            Self::Int(values) => values.append_value(scalar::integer(record, value)?),
            Self::BigInt(values) => values.append_value(scalar::integer(record, value)?),
            Self::Float(values) => values.append_value(scalar::float(record, value)?),
            Self::Double(values) => values.append_value(scalar::double(record, value)?),
            Self::Decimal { values, precision, scale } => {
                values.append_value(scalar::decimal(record, value, *precision, *scale)?);
            }
            Self::String(values) => push_text(values, record, value),
            Self::Bytes { values, decoded } => {
                scalar::bytes(record, value, decoded)?;
                values.append_value(&*decoded);
            }
            Self::Date(values) => values.append_value(scalar::date(record, value)?),
            Self::Time { values, precision } => values.append_value(scalar::time(record, value, *precision)?),
            Self::Timestamp { values, unit, precision, zoned } => {
                values.append_value(scalar::timestamp(record, value, *unit, *precision, *zoned)?);
            }
            Self::Array { .. } | Self::Map { .. } | Self::Row { .. } => return Err(""),
        }
        Ok(())
    }

    fn finish_scalar(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(values) => Arc::new(values.finish()),
            Self::TinyInt(values) => Arc::new(finish(values)),
            Self::SmallInt(values) => Arc::new(finish(values)),
            Self::Int(values) => Arc::new(finish(values)),
            Self::BigInt(values) => Arc::new(finish(values)),
            Self::Float(values) => Arc::new(finish(values)),
            Self::Double(values) => Arc::new(finish(values)),
            Self::Decimal { values, .. } => Arc::new(finish(values)),
            Self::String(values) => {
                let array = values.finish();
                *values = StringBuilder::with_capacity(array.offsets().len(), array.values().len());
                Arc::new(array)
            }
            Self::Bytes { values, .. } => Arc::new(values.finish()),
            Self::Date(values) => Arc::new(finish(values).reinterpret_cast::<Date32Type>()),
            Self::Time { values, .. } => {
                Arc::new(finish::<Int32Type>(values).reinterpret_cast::<Time32MillisecondType>())
            }
            Self::Timestamp { values, unit, zoned, .. } => {
                finish_timestamps(&finish::<Int64Type>(values), *unit, *zoned)
            }
            Self::Array { .. } | Self::Map { .. } | Self::Row { .. } => {
                unreachable!("nested columns are finished apart")
            }
        }
    }
}

/// The values built so far; the next batch is expected to be of the same size.
fn finish<T: ArrowPrimitiveType>(builder: &mut PrimitiveBuilder<T>) -> PrimitiveArray<T> {
    let array = builder.finish();
    let next = PrimitiveBuilder::with_capacity(array.values().len());
    *builder = next.with_data_type(arrow::array::Array::data_type(&array).clone());
    array
}

fn finish_timestamps(values: &PrimitiveArray<Int64Type>, unit: TimeUnit, zoned: bool) -> ArrayRef {
    let zone = zoned.then(|| Arc::<str>::from("+00:00"));
    match unit {
        TimeUnit::Second | TimeUnit::Millisecond => {
            Arc::new(values.reinterpret_cast::<TimestampMillisecondType>().with_timezone_opt(zone))
        }
        TimeUnit::Microsecond => {
            Arc::new(values.reinterpret_cast::<TimestampMicrosecondType>().with_timezone_opt(zone))
        }
        TimeUnit::Nanosecond => {
            Arc::new(values.reinterpret_cast::<TimestampNanosecondType>().with_timezone_opt(zone))
        }
    }
}

/// Adds a string, or the text of anything else as it was written.
#[inline]
fn push_text(values: &mut StringBuilder, record: &Record<'_>, value: Value<'_>) {
    match record.node(value) {
        Node::String(text) => values.append_value(text),
        Node::Static(StaticNode::U64(number)) => {
            values.append_value(itoa::Buffer::new().format(number));
        }
        _ => values.append_value(record.text(value.place)),
    }
}
