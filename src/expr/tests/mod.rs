//! Expressions end to end: text and columns in, values as text out.

mod aggregates;
mod fuzz;
mod meaning;
mod mistakes;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int32Array, Int64Array, Int64Builder, ListArray, MapBuilder, MapFieldNames, RecordBatch,
    StringArray, StringBuilder, StructArray, Time32MillisecondArray, TimestampMicrosecondArray,
    TimestampMillisecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Int32Type};

use super::*;
use crate::record::{Column, parse_type};

/// The columns that expressions are tried on; three rows, the last one mostly NULL.
const COLUMNS: &[(&str, &str)] = &[
    ("t", "TINYINT"),
    ("i", "INT"),
    ("l", "BIGINT"),
    ("f", "FLOAT"),
    ("d", "DOUBLE"),
    ("p", "DECIMAL(12, 2)"),
    ("s", "STRING"),
    ("S", "STRING NOT NULL"),
    ("b", "BOOLEAN"),
    ("x", "BYTES"),
    ("day", "DATE"),
    ("clock", "TIME(3)"),
    ("at", "TIMESTAMP(3)"),
    ("fine", "TIMESTAMP(6)"),
    ("instant", "TIMESTAMP_LTZ(3)"),
    ("bid", "ROW<price BIGINT, channel STRING, deep ROW<n INT>>"),
    ("tags", "ARRAY<INT>"),
    ("m", "MAP<STRING, BIGINT>"),
    ("zero", "INT NOT NULL"),
    ("user", "STRING"),
];

pub(super) fn schema() -> Schema {
    let column = |(name, text): &(&str, &str)| {
        let (data_type, nullable) = parse_type(text).unwrap();
        Column::new(*name, data_type, nullable)
    };
    Schema::new(COLUMNS.iter().map(column).collect())
}

fn rows() -> RecordBatch {
    let schema = schema();
    let of = |name: &str| schema.column(name).unwrap().data_type.arrow();
    let fields = |name: &str| match of(name) {
        DataType::Struct(fields) => fields,
        other => unreachable!("{other}"),
    };
    let deep = match fields("bid")[2].data_type() {
        DataType::Struct(fields) => fields.clone(),
        other => unreachable!("{other}"),
    };
    let deep = StructArray::new(deep, vec![Arc::new(Int32Array::from(vec![1, 2, 3]))], None);
    let bid = StructArray::new(
        fields("bid"),
        // Under the NULL row there are values, which must not be seen.
        vec![
            Arc::new(Int64Array::from(vec![Some(100), None, Some(7)])),
            Arc::new(StringArray::from(vec![Some("web"), Some("app"), Some("hidden")])),
            Arc::new(deep),
        ],
        Some(NullBuffer::from(vec![true, true, false])),
    );
    let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut map = MapBuilder::new(Some(names), StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("a");
    map.values().append_value(1);
    map.keys().append_value("b");
    map.values().append_value(2);
    map.append(true).unwrap();
    map.append(true).unwrap();
    map.append(false).unwrap();
    let tags = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![Some(10), None, Some(30)]),
        Some(vec![]),
        None,
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int8Array::from(vec![Some(5), Some(-128), None])),
        Arc::new(Int32Array::from(vec![Some(7), Some(i32::MIN), None])),
        Arc::new(Int64Array::from(vec![Some(-7), Some(i64::MAX), None])),
        Arc::new(Float32Array::from(vec![Some(1.5), Some(f32::NAN), None])),
        Arc::new(Float64Array::from(vec![Some(2.5), Some(f64::INFINITY), None])),
        Arc::new(
            Decimal128Array::from(vec![Some(12_345), Some(-50), None])
                .with_precision_and_scale(12, 2)
                .unwrap(),
        ),
        Arc::new(StringArray::from(vec![Some("Hello World"), Some("12"), None])),
        Arc::new(StringArray::from(vec!["über", "", "日本語"])),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        Arc::new(BinaryArray::from(vec![Some(b"ab".as_slice()), Some(b"\xff".as_slice()), None])),
        Arc::new(Date32Array::from(vec![Some(19_782), Some(-1), None])),
        Arc::new(Time32MillisecondArray::from(vec![Some(34_215_500), Some(0), None])),
        Arc::new(TimestampMillisecondArray::from(vec![Some(1_709_214_615_123), Some(-1), None])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(1_709_214_615_123_456), Some(-1), None])),
        Arc::new(
            TimestampMillisecondArray::from(vec![Some(1_709_214_615_123), Some(-1), None])
                .with_timezone("+00:00"),
        ),
        Arc::new(bid),
        Arc::new(tags),
        Arc::new(map.finish()),
        Arc::new(Int32Array::from(vec![0, 1, 0])),
        Arc::new(StringArray::from(vec![Some("root"), Some("eve"), None])),
    ];
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(3));
    let columns = columns.into_iter().zip(schema.columns()).map(|(array, column)| {
        // Builders name nested fields their own way.
        if array.data_type() == &column.data_type.arrow() {
            array
        } else {
            arrow::compute::cast(&array, &column.data_type.arrow()).unwrap()
        }
    });
    RecordBatch::try_new_with_options(schema.arrow().clone(), columns.collect(), &options).unwrap()
}

/// Values as text: NULL, and `!reason` for rows that failed.
pub(super) fn shown(expr: &Expr, rows: &RecordBatch) -> Vec<String> {
    let evaluated = expr.evaluate_at(rows, 1_700_000_000_000);
    assert_eq!(evaluated.values.len(), rows.num_rows());
    assert_eq!(evaluated.values.data_type(), &expr.data_type().arrow());
    let as_text = match expr.data_type() {
        SqlType::Array(..) | SqlType::Map(..) | SqlType::Row(_) | SqlType::Bytes | SqlType::Null => None,
        _ => Some(Schema::new(vec![Column::new("v", expr.data_type().clone(), true)])),
    };
    let texts: Vec<String> = match as_text {
        Some(schema) => {
            let cast = compile("CAST(v AS STRING)", &schema).unwrap();
            let batch = RecordBatch::try_new(schema.arrow().clone(), vec![evaluated.values.clone()]).unwrap();
            let texts = cast.evaluate_at(&batch, 0).values;
            let texts = arrow::array::AsArray::as_string::<i32>(&texts).clone();
            texts.iter().map(|text| text.unwrap_or("NULL").to_owned()).collect()
        }
        None => {
            let options = arrow::util::display::FormatOptions::default().with_null("NULL");
            let formatter =
                arrow::util::display::ArrayFormatter::try_new(&evaluated.values, &options).unwrap();
            (0..rows.num_rows()).map(|row| formatter.value(row).to_string()).collect()
        }
    };
    let mut texts = texts;
    for (row, reason) in &evaluated.failed {
        assert!(evaluated.values.is_null(*row as usize) || *expr.data_type() == SqlType::Null);
        texts[*row as usize] = format!("!{reason}");
    }
    texts
}

/// Compiles over [`COLUMNS`] and compares the values of the three rows.
pub(super) fn check(text: &str, data_type: &str, expect: [&str; 3]) {
    let expr = compile(text, &schema()).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    assert_eq!(expr.data_type().to_string(), data_type, "{text}");
    let values = shown(&expr, &rows());
    assert_eq!(values, expect, "{text}");
    for (row, value) in values.iter().enumerate() {
        assert!(expr.nullable() || value != "NULL", "{text}: row {row} is NULL and was said not to be");
    }
}

/// Compiles without columns and compares the value.
pub(super) fn check_constant(text: &str, data_type: &str, expect: &str) {
    let none = Schema::new(vec![]);
    let expr = compile(text, &none).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(2));
    let rows = RecordBatch::try_new_with_options(none.arrow().clone(), vec![], &options).unwrap();
    assert!(expr.is_constant(), "{text}");
    assert_eq!(expr.data_type().to_string(), data_type, "{text}");
    assert_eq!(shown(&expr, &rows), [expect, expect], "{text}");
}

#[test]
fn every_function_s_example_comes_to_its_result() {
    for function in functions() {
        let none = Schema::new(vec![]);
        let expr = compile(function.example, &none)
            .unwrap_or_else(|errors| panic!("{}: {} {errors:?}", function.name, function.example));
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
        let rows = RecordBatch::try_new_with_options(none.arrow().clone(), vec![], &options).unwrap();
        assert_eq!(shown(&expr, &rows), [function.result], "{}", function.example);
        assert!(function.signature.starts_with(function.name), "{}", function.signature);
    }
}
