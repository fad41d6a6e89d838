//! What is inside a value: `row.field`, `array[1]`, `map['key']`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute::{nullif, take};

use super::ExprError;
use super::coerce::{coerce, comparable};
use super::kernel::{Argument, Outcome};
use super::typed::{Span, Typed};
use crate::error::nearest;
use crate::record::SqlType;

/// A field of a ROW; NULL where the row is.
pub(super) fn field(row: Typed, name: &str, span: Span) -> Result<Typed, ExprError> {
    let whole = (row.span.0, span.1);
    let SqlType::Row(columns) = &row.data_type else {
        return Err(ExprError {
            span,
            what: format!("`{name}` is asked of a {}, which has no fields", row.data_type),
            help: match row.data_type {
                SqlType::Map(..) => Some(format!("a map's value is map['{name}']")),
                _ => None,
            },
        });
    };
    let Some(index) = columns.iter().position(|column| column.name == name) else {
        let names = || columns.iter().map(|column| column.name.as_str());
        let help = match nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("its fields are {}", listed(names())),
        };
        return Err(ExprError {
            span,
            what: format!("there is no field `{name}` in this row"),
            help: Some(help),
        });
    };
    let column = &columns[index];
    let (data_type, nullable) = (column.data_type.clone(), row.nullable || column.nullable);
    Typed::call(&format!(".{name}"), vec![row], data_type, nullable, whole, move |arguments, _| {
        let row = arguments[0].array().as_struct();
        let values = row.column(index);
        // Most decoders leave a NULL row's fields NULL themselves.
        let Some(nulls) = row.nulls().filter(|nulls| nulls.null_count() > 0) else {
            return Ok(values.clone());
        };
        if values.nulls().is_some_and(|own| own.contains(nulls)) {
            return Ok(values.clone());
        }
        let absent = BooleanArray::new(!nulls.inner(), None);
        nullif(values.as_ref(), &absent).map_err(|error| error.to_string())
    })
}

/// Names for a message, as many as one reads.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    if names.len() > 12 {
        let more = names.len() - 12;
        names.truncate(12);
        names.push(format!("and {more} more"));
    }
    names.join(", ")
}

/// `array[index]`, counted from 1, or `map[key]`: NULL where there is no such element.
pub(super) fn element(container: Typed, index: Typed) -> Result<Typed, ExprError> {
    let span = (container.span.0, index.span.1.max(container.span.1));
    match container.data_type.clone() {
        SqlType::Array(element, _) => {
            if !(index.data_type.is_integer() || index.data_type == SqlType::Null) {
                return Err(ExprError {
                    span: index.span,
                    what: format!("an array is indexed with an integer, this is {}", index.data_type),
                    help: Some("the first element is array[1]".to_owned()),
                });
            }
            if index.constant_integer().is_some_and(|index| index < 1) {
                return Err(ExprError {
                    span: index.span,
                    what: "the elements of an array are counted from 1".to_owned(),
                    help: Some("the first element is array[1]".to_owned()),
                });
            }
            let index = coerce(index, &SqlType::BigInt)?;
            Typed::call("[]", vec![container, index], *element, true, span, array_element)
        }
        SqlType::Map(key, value, _) => {
            let (_, index) = comparable(Typed::null((*key).clone(), container.span), index)?;
            let index = coerce(index, &key)?;
            Typed::call("[]", vec![container, index], *value, true, span, map_value)
        }
        other => Err(ExprError {
            span: container.span,
            what: format!("{other} has no elements"),
            help: Some("`[…]` takes an element of an ARRAY or a value of a MAP".to_owned()),
        }),
    }
}

fn array_element(arguments: &[Argument], rows: usize) -> Outcome {
    let lists = arguments[0].array().as_list::<i32>();
    let indexes = arguments[1].bigint();
    let position = |row: usize| {
        let at = arguments[0].index(row);
        let index = usize::try_from(indexes.get(row)?).ok()?.checked_sub(1)?;
        let (start, end) = (lists.value_offsets()[at], lists.value_offsets()[at + 1]);
        let length = usize::try_from(end - start).ok()?;
        (!lists.is_null(at) && index < length)
            .then(|| u32::try_from(start).ok().zip(u32::try_from(index).ok()))?
    };
    let positions: UInt32Array =
        (0..rows).map(|row| position(row).map(|(start, index)| start + index)).collect();
    taken(lists.values(), &positions)
}

fn map_value(arguments: &[Argument], rows: usize) -> Outcome {
    let maps = arguments[0].array().as_map();
    let wanted = arguments[1].array();
    let keys = maps.keys();
    let same =
        arrow::array::make_comparator(keys.as_ref(), wanted.as_ref(), arrow::compute::SortOptions::default())
            .map_err(|error| error.to_string())?;
    let position = |row: usize| {
        let (at, key) = (arguments[0].index(row), arguments[1].index(row));
        if maps.is_null(at) || wanted.is_null(key) {
            return None;
        }
        let range = maps.value_offsets()[at]..maps.value_offsets()[at + 1];
        // Of equal keys the last one counts, as when a map is filled.
        range.rev().find_map(|index| {
            let index = usize::try_from(index).ok()?;
            (same(index, key) == std::cmp::Ordering::Equal).then(|| u32::try_from(index).ok())?
        })
    };
    let positions: UInt32Array = (0..rows).map(position).collect();
    taken(maps.values(), &positions)
}

fn taken(values: &ArrayRef, positions: &UInt32Array) -> Outcome {
    take(values.as_ref(), positions, None).map_err(|error| error.to_string())
}

/// `ARRAY[a, b, …]`.
pub(super) fn array(values: Vec<Typed>, span: Span) -> Result<Typed, ExprError> {
    if values.is_empty() {
        return Err(ExprError {
            span,
            what: "an empty ARRAY[] has no type".to_owned(),
            help: Some("write at least one element".to_owned()),
        });
    }
    let (element, values) = super::coerce::unify(values, "the elements of an ARRAY")?;
    let nullable = values.iter().any(|value| value.nullable);
    let data_type = SqlType::Array(Box::new(element), nullable);
    let field = match data_type.arrow() {
        arrow::datatypes::DataType::List(field) => field,
        other => unreachable!("{other} carries no ARRAY"),
    };
    let width = values.len();
    Typed::call("ARRAY", values, data_type, false, span, move |arguments, rows| {
        let columns =
            arguments.iter().map(|argument| argument.expanded(rows)).collect::<Result<Vec<_>, _>>()?;
        let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
        let order: Vec<(usize, usize)> =
            (0..rows).flat_map(|row| (0..width).map(move |column| (column, row))).collect();
        let flat = arrow::compute::interleave(&columns, &order).map_err(|error| error.to_string())?;
        let offsets = arrow::buffer::OffsetBuffer::from_lengths(std::iter::repeat_n(width, rows));
        let list = arrow::array::ListArray::try_new(field.clone(), offsets, flat, None);
        list.map(|list| Arc::new(list) as ArrayRef).map_err(|error| error.to_string())
    })
}
