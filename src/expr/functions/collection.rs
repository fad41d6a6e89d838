//! Functions of arrays and maps.

use arrow::array::{Array, AsArray, BooleanArray, Int32Array, UInt32Array, make_comparator};
use arrow::compute::{SortOptions, take};

use super::{Build, Call, Function, FunctionDoc};
use crate::expr::ExprError;
use crate::expr::coerce::coerce;
use crate::expr::coerce::common_type;
use crate::expr::typed::{Typed, done};
use crate::record::SqlType;

pub(super) static FUNCTIONS: &[Function] = &[
    Function {
        doc: FunctionDoc {
            name: "CARDINALITY",
            signature: "CARDINALITY(value ARRAY or MAP) → INT",
            summary: "The number of elements.",
            example: "CARDINALITY(ARRAY[1, 2, 3])",
            result: "3",
        },
        aliases: &[],
        build: Build::Own(cardinality),
    },
    Function {
        doc: FunctionDoc {
            name: "ELEMENT",
            signature: "ELEMENT(value ARRAY) → its element's type",
            summary: "The only element of an array; NULL where it is empty, more than one fails the row.",
            example: "ELEMENT(ARRAY[7])",
            result: "7",
        },
        aliases: &[],
        build: Build::Own(only),
    },
    Function {
        doc: FunctionDoc {
            name: "ARRAY_CONTAINS",
            signature: "ARRAY_CONTAINS(value ARRAY, element) → BOOLEAN",
            summary: "Whether the array has such an element; a NULL element is found where there is one.",
            example: "ARRAY_CONTAINS(ARRAY[1, 2], 2)",
            result: "TRUE",
        },
        aliases: &[],
        build: Build::Own(contains),
    },
];

fn cardinality(mut call: Call) -> Result<Typed, ExprError> {
    let value = call.one()?;
    let map = match value.data_type {
        SqlType::Array(..) => false,
        SqlType::Map(..) => true,
        ref other => {
            return Err(call.wrong(value.span, format!("CARDINALITY takes an ARRAY or MAP, this is {other}")));
        }
    };
    Typed::strict("CARDINALITY", vec![value], SqlType::Int, call.span, move |arguments, rows| {
        let value = &arguments[0];
        let offsets = if map {
            value.array().as_map().value_offsets()
        } else {
            value.array().as_list::<i32>().value_offsets()
        };
        let one = |row| {
            let at = value.index(row);
            (!value.is_null(row)).then(|| offsets[at + 1] - offsets[at])
        };
        done((0..rows).map(one).collect::<Int32Array>())
    })
}

fn only(mut call: Call) -> Result<Typed, ExprError> {
    let value = call.one()?;
    let SqlType::Array(element, _) = value.data_type.clone() else {
        return Err(call.wrong(value.span, format!("ELEMENT takes an ARRAY, this is {}", value.data_type)));
    };
    Typed::call("ELEMENT", vec![value], *element, true, call.span, |arguments, rows| {
        let lists = arguments[0].array().as_list::<i32>();
        let one = |row| {
            let at = arguments[0].index(row);
            let (start, end) = (lists.value_offsets()[at], lists.value_offsets()[at + 1]);
            match end - start {
                _ if lists.is_null(at) => Ok(None),
                0 => Ok(None),
                1 => Ok(u32::try_from(start).ok()),
                more => Err(format!("ELEMENT takes an array of one element, this has {more}")),
            }
        };
        let positions = (0..rows).map(one).collect::<Result<UInt32Array, String>>()?;
        take(lists.values(), &positions, None).map_err(|error| error.to_string())
    })
}

fn contains(mut call: Call) -> Result<Typed, ExprError> {
    let (value, wanted) = call.two()?;
    let SqlType::Array(element, _) = value.data_type.clone() else {
        return Err(
            call.wrong(value.span, format!("ARRAY_CONTAINS takes an ARRAY, this is {}", value.data_type))
        );
    };
    if common_type(&element, &wanted.data_type).as_ref() != Some(&*element) {
        let what = format!("the array has elements of {element}, this is {}", wanted.data_type);
        return Err(call.wrong(wanted.span, what));
    }
    let wanted = coerce(wanted, &element)?;
    let nullable = value.nullable;
    Typed::call(
        "ARRAY_CONTAINS",
        vec![value, wanted],
        SqlType::Boolean,
        nullable,
        call.span,
        |arguments, rows| {
            let lists = arguments[0].array().as_list::<i32>();
            let (elements, wanted) = (lists.values(), arguments[1].array());
            let order = make_comparator(elements.as_ref(), wanted.as_ref(), SortOptions::default())
                .map_err(|error| error.to_string())?;
            let one = |row| {
                let (at, key) = (arguments[0].index(row), arguments[1].index(row));
                let mut range = lists.value_offsets()[at]..lists.value_offsets()[at + 1];
                let equal = |index: i32| usize::try_from(index).is_ok_and(|index| order(index, key).is_eq());
                (!lists.is_null(at)).then(|| range.any(equal))
            };
            done((0..rows).map(one).collect::<BooleanArray>())
        },
    )
}
