//! Functions that choose: COALESCE, NULLIF, IF, GREATEST and their kin. All but GREATEST and LEAST evaluate only what
//! they choose, unless it is there anyway.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, downcast_primitive, make_comparator,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{SortOptions, interleave};
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{Column, Literal};

use super::{Build, Call, Function, FunctionDoc};
use crate::expr::ExprError;
use crate::expr::coerce::{coerce, unify};
use crate::expr::compare::compare;
use crate::expr::kernel::{Argument, KernelExpr, Outcome};
use crate::expr::logic::{case, is_null};
use crate::expr::typed::{Typed, done};
use crate::record::SqlType;

pub(super) static FUNCTIONS: &[Function] = &[
    Function {
        doc: FunctionDoc {
            name: "COALESCE",
            signature: "COALESCE(value, …) → the common type",
            summary: "The first value that is not NULL.",
            example: "COALESCE(NULL, 'a', 'b')",
            result: "a",
        },
        aliases: &["IFNULL"],
        build: Build::Own(coalesce),
    },
    Function {
        doc: FunctionDoc {
            name: "NULLIF",
            signature: "NULLIF(value, other) → the type of value",
            summary: "NULL where both are equal, else the value.",
            example: "NULLIF(5, 0)",
            result: "5",
        },
        aliases: &[],
        build: Build::Own(null_if),
    },
    Function {
        doc: FunctionDoc {
            name: "IF",
            signature: "IF(condition BOOLEAN, then, else) → the common type",
            summary: "The first value where the condition is TRUE, else the second.",
            example: "IF(2 > 1, 'yes', 'no')",
            result: "yes",
        },
        aliases: &[],
        build: Build::Own(choose),
    },
    Function {
        doc: FunctionDoc {
            name: "GREATEST",
            signature: "GREATEST(value, …) → the common type",
            summary: "The greatest value; NULL where any is NULL.",
            example: "GREATEST(3, 7, 5)",
            result: "7",
        },
        aliases: &[],
        build: Build::Own(|call| extreme(call, Ordering::Greater)),
    },
    Function {
        doc: FunctionDoc {
            name: "LEAST",
            signature: "LEAST(value, …) → the common type",
            summary: "The least value; NULL where any is NULL.",
            example: "LEAST(3, 7, 5)",
            result: "3",
        },
        aliases: &[],
        build: Build::Own(|call| extreme(call, Ordering::Less)),
    },
];

fn coalesce(mut call: Call) -> Result<Typed, ExprError> {
    let values = call.counted(1, usize::MAX)?;
    let (data_type, mut values) = unify(values, "the arguments of COALESCE")?;
    if data_type == SqlType::Null {
        return Ok(Typed::null(SqlType::Null, call.span));
    }
    if data_type.arrow().is_primitive() && values.iter().all(is_at_hand) {
        let nullable = values.iter().all(|value| value.nullable);
        let kernel = |arguments: &[Argument], rows: usize| first_present(arguments, rows);
        return Typed::call("COALESCE", values, data_type, nullable, call.span, kernel);
    }
    let last = values.pop().expect("counted above");
    let surely = !last.nullable || values.iter().any(|value| !value.nullable);
    let branches = values
        .into_iter()
        .map(|value| Ok((is_null(value.clone(), true)?, value)))
        .collect::<Result<Vec<_>, ExprError>>()?;
    if branches.is_empty() {
        return Ok(last);
    }
    let made = case(branches, Some(last), call.span)?;
    Ok(Typed { nullable: !surely, ..made })
}

/// Whether a value is a column, a field of one or a constant: it costs nothing and cannot fail.
fn is_at_hand(value: &Typed) -> bool {
    fn is(node: &Arc<dyn PhysicalExpr>) -> bool {
        let is_field = |kernel: &KernelExpr| kernel.is_field() && kernel.children().into_iter().all(is);
        node.downcast_ref::<Column>().is_some()
            || node.downcast_ref::<Literal>().is_some()
            || node.downcast_ref::<KernelExpr>().is_some_and(is_field)
    }
    is(&value.physical)
}

/// For each row the value of the first argument that has one.
fn first_present(arguments: &[Argument], rows: usize) -> Outcome {
    macro_rules! of_type {
        ($t:ty, $columns:ident) => {{
            let typed: Vec<&PrimitiveArray<$t>> =
                $columns.iter().map(|column: &ArrayRef| column.as_primitive()).collect();
            done(first_of(&typed))
        }};
    }
    let columns: Vec<ArrayRef> =
        arguments.iter().map(|argument| argument.expanded(rows)).collect::<Result<_, _>>()?;
    downcast_primitive! {
        columns[0].data_type() => (of_type, columns),
        other => unreachable!("{other} is not primitive")
    }
}

fn first_of<T: ArrowPrimitiveType>(columns: &[&PrimitiveArray<T>]) -> PrimitiveArray<T> {
    let complete = columns.iter().position(|column| column.null_count() == 0);
    let columns = &columns[..complete.map_or(columns.len(), |index| index + 1)];
    let (last, before) = columns.split_last().expect("COALESCE has an argument");
    let (mut values, mut present) = (last.values().to_vec(), last.nulls().cloned());
    for column in before.iter().rev() {
        let nulls = column.nulls().expect("one without NULL is the last");
        for (start, end) in nulls.valid_slices() {
            values[start..end].copy_from_slice(&column.values()[start..end]);
        }
        present = present.map(|present| NullBuffer::new(present.inner() | nulls.inner()));
    }
    PrimitiveArray::new(values.into(), present).with_data_type(last.data_type().clone())
}

fn null_if(mut call: Call) -> Result<Typed, ExprError> {
    let (value, other) = call.two()?;
    let equal = compare(Operator::Eq, value.clone(), other)?;
    let null = Typed::null(value.data_type.clone(), call.span);
    case(vec![(equal, null)], Some(value), call.span)
}

fn choose(mut call: Call) -> Result<Typed, ExprError> {
    let mut arguments = call.counted(3, 3)?;
    let otherwise = arguments.pop();
    let then = arguments.pop().expect("counted above");
    let condition = arguments.pop().expect("counted above");
    let condition = call.fitted(condition, &SqlType::Boolean)?;
    case(vec![(condition, then)], otherwise, call.span)
}

fn extreme(mut call: Call, wanted: Ordering) -> Result<Typed, ExprError> {
    let values = call.counted(1, usize::MAX)?;
    let (data_type, values) = unify(values, "the arguments")?;
    if matches!(data_type, SqlType::Array(..) | SqlType::Map(..) | SqlType::Row(_)) {
        return Err(call.wrong(call.span, format!("{data_type} has no order")));
    }
    if data_type == SqlType::Null {
        return coerce(Typed::null(SqlType::Null, call.span), &SqlType::Null);
    }
    let name = call.name();
    Typed::strict(name, values, data_type, call.span, move |arguments, rows| pick(arguments, rows, wanted))
}

fn pick(arguments: &[Argument], rows: usize, wanted: Ordering) -> Outcome {
    let columns = arguments.iter().map(|argument| argument.expanded(rows)).collect::<Result<Vec<_>, _>>()?;
    let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    let mut chosen = vec![0; rows];
    for candidate in 1..columns.len() {
        let orders = (0..candidate)
            .map(|earlier| make_comparator(columns[candidate], columns[earlier], SortOptions::default()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.to_string())?;
        for (row, choice) in chosen.iter_mut().enumerate() {
            let decided = columns[*choice].is_null(row);
            if !decided && (columns[candidate].is_null(row) || orders[*choice](row, row) == wanted) {
                *choice = candidate;
            }
        }
    }
    let order: Vec<(usize, usize)> =
        chosen.into_iter().enumerate().map(|(row, choice)| (choice, row)).collect();
    interleave(&columns, &order).map_err(|error| error.to_string())
}
