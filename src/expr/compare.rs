//! Comparisons: `= <> < <= > >=`, `IS [NOT] DISTINCT FROM`, `IN`.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::datatypes::{Schema as ArrowSchema, i256};
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, InListExpr};

use super::ExprError;
use super::coerce::{comparable, over};
use super::kernel::{Argument, Kernel, KernelExpr, Outcome};
use super::typed::{Typed, done};
use crate::record::SqlType;

/// `left operator right`, both brought to one type.
///
/// Doubles compare as in Java: NaN equals nothing and -0.0 equals 0.0; texts compare by their bytes. ARRAY, MAP and ROW
/// are not compared at all.
pub(super) fn compare(operator: Operator, left: Typed, right: Typed) -> Result<Typed, ExprError> {
    let span = over(left.span, right.span);
    let (left, right) = comparable(left, right)?;
    let distinct = matches!(operator, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom);
    let nullable = !distinct && (left.nullable || right.nullable);
    let Some(order) = own_order(&left.data_type, &right.data_type) else {
        let node = BinaryExpr::new(left.physical.clone(), operator, right.physical.clone());
        return Typed::node(Arc::new(node), SqlType::Boolean, nullable, span, &[&left, &right]);
    };
    Typed::call(
        &operator.to_string(),
        vec![left, right],
        SqlType::Boolean,
        nullable,
        span,
        move |arguments, rows| ordered(operator, order, arguments, rows),
    )
}

/// How values are compared that Arrow's kernels would compare otherwise or not at all.
#[derive(Clone, Copy)]
enum Order {
    Doubles,
    Decimals(u8, u8),
    /// Nanoseconds a tick has on each side.
    Ticks(i128, i128),
}

fn own_order(left: &SqlType, right: &SqlType) -> Option<Order> {
    let nanos = |precision: u8| match precision {
        0..=3 => 1_000_000,
        4..=6 => 1000,
        _ => 1,
    };
    match (left, right) {
        (SqlType::Double | SqlType::Float, _) => Some(Order::Doubles),
        (SqlType::Decimal(p1, s1), SqlType::Decimal(p2, s2)) if (p1, s1) != (p2, s2) => {
            Some(Order::Decimals(*s1, *s2))
        }
        (SqlType::Timestamp(p), SqlType::Timestamp(q))
        | (SqlType::TimestampLtz(p), SqlType::TimestampLtz(q))
            if nanos(*p) != nanos(*q) =>
        {
            Some(Order::Ticks(nanos(*p), nanos(*q)))
        }
        _ => None,
    }
}

fn ordered(operator: Operator, order: Order, arguments: &[Argument], rows: usize) -> Outcome {
    let (left, right) = (&arguments[0], &arguments[1]);
    let compare: Box<dyn Fn(usize) -> Option<Ordering>> = match order {
        Order::Doubles if left.array().data_type() == &arrow::datatypes::DataType::Float32 => {
            let left = left.primitive::<arrow::datatypes::Float32Type>();
            let right = right.primitive::<arrow::datatypes::Float32Type>();
            Box::new(move |row| left.get(row)?.partial_cmp(&right.get(row)?))
        }
        Order::Doubles => {
            let (left, right) = (left.double(), right.double());
            Box::new(move |row| left.get(row)?.partial_cmp(&right.get(row)?))
        }
        Order::Decimals(a, b) => {
            let (left, right) = (left.decimal(), right.decimal());
            let unit = |digits: u8| i256::from_i128(10_i128.pow(u32::from(digits)));
            let (up_left, up_right) = (unit(b.saturating_sub(a)), unit(a.saturating_sub(b)));
            Box::new(move |row| {
                let left = i256::from_i128(left.get(row)?).wrapping_mul(up_left);
                Some(left.cmp(&i256::from_i128(right.get(row)?).wrapping_mul(up_right)))
            })
        }
        Order::Ticks(a, b) => {
            let (left, right) = (left.ticks(), right.ticks());
            Box::new(move |row| {
                Some((i128::from(left.get(row)?) * a).cmp(&(i128::from(right.get(row)?) * b)))
            })
        }
    };
    let holds = |ordering: Option<Ordering>| match operator {
        Operator::Eq | Operator::IsNotDistinctFrom => ordering == Some(Ordering::Equal),
        Operator::Lt => ordering == Some(Ordering::Less),
        Operator::LtEq => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        Operator::Gt => ordering == Some(Ordering::Greater),
        Operator::GtEq => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
        _ => ordering != Some(Ordering::Equal),
    };
    let one = |row: usize| match (left.is_null(row), right.is_null(row), operator) {
        (false, false, _) => Some(holds(compare(row))),
        (a, b, Operator::IsDistinctFrom) => Some(a != b),
        (a, b, Operator::IsNotDistinctFrom) => Some(a == b),
        _ => None,
    };
    done((0..rows).map(one).collect::<BooleanArray>())
}

/// `value IN (…)`: NULL where the value is not in the list and the list, or the value, is NULL.
pub(super) fn in_list(value: Typed, list: Vec<Typed>, negated: bool) -> Result<Typed, ExprError> {
    let last = list.last().map_or(value.span, |item| item.span);
    let span = over(value.span, last);
    let mut items = Vec::with_capacity(list.len());
    let mut one_type = true;
    for item in &list {
        let (left, right) = comparable(value.clone(), item.clone())?;
        // A hash set serves only where the value itself need not be cast and all items are constant.
        one_type &= left.data_type == value.data_type
            && right.data_type == value.data_type
            && right.constant().is_some()
            && value.constant().is_none()
            && !matches!(value.data_type, SqlType::Float | SqlType::Double);
        items.push(right);
    }
    if one_type {
        let nullable = value.nullable || items.iter().any(|item| item.nullable);
        let physical = items.iter().map(|item| item.physical.clone()).collect();
        if let Some(node) = in_set(&value, physical, negated) {
            return Typed::node(node, SqlType::Boolean, nullable, span, &[&value]);
        }
    }
    let mut equal = Vec::with_capacity(list.len());
    for item in list {
        equal.push(compare(Operator::Eq, value.clone(), item)?);
    }
    let any = super::logic::balanced(Operator::Or, equal)?;
    if negated { super::logic::not(any.at(span)) } else { Ok(any.at(span)) }
}

/// The list as a set. DataFusion asks the value for its type under a schema it does not have here, so the value is
/// wrapped in a node that knows its type by itself.
fn in_set(value: &Typed, list: Vec<Arc<dyn PhysicalExpr>>, negated: bool) -> Option<Arc<dyn PhysicalExpr>> {
    let itself: Kernel = Arc::new(|arguments, _| Ok(arguments[0].array().clone()));
    let wrapped =
        KernelExpr::new(String::new(), vec![value.physical.clone()], value.data_type.arrow(), itself);
    let node = InListExpr::try_new(Arc::new(wrapped), list, negated, &ArrowSchema::empty()).ok()?;
    Some(Arc::new(node))
}
