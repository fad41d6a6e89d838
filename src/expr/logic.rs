//! AND, OR, NOT, IS TRUE and its kin, IS NULL, CASE: SQL's three-valued logic.

use std::sync::Arc;

use arrow::array::BooleanArray;
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{BinaryExpr, CaseExpr, IsNotNullExpr, IsNullExpr, NotExpr};

use super::ExprError;
use super::coerce::{boolean, comparable, over, unify};
use super::typed::{Span, Typed, done};
use crate::record::SqlType;

/// The operands joined by AND or OR in a balanced tree: the chain may be long, the tree is not deep, and operands are
/// still evaluated from the left.
pub(super) fn balanced(operator: Operator, mut operands: Vec<Typed>) -> Result<Typed, ExprError> {
    if operands.len() > 1 {
        let right = operands.split_off(operands.len() / 2);
        let left = balanced(operator, operands)?;
        let right = balanced(operator, right)?;
        return joined(operator, left, right);
    }
    let what = if operator == Operator::And { "AND" } else { "OR" };
    let only = operands.pop().expect("a chain has operands");
    boolean(only, what)
}

fn joined(operator: Operator, left: Typed, right: Typed) -> Result<Typed, ExprError> {
    let span = over(left.span, right.span);
    let nullable = left.nullable || right.nullable;
    let node = BinaryExpr::new(left.physical.clone(), operator, right.physical.clone());
    Typed::node(Arc::new(node), SqlType::Boolean, nullable, span, &[&left, &right])
}

/// `NOT value`.
pub(super) fn not(value: Typed) -> Result<Typed, ExprError> {
    let value = boolean(value, "NOT")?;
    let node = NotExpr::new(value.physical.clone());
    Typed::node(Arc::new(node), SqlType::Boolean, value.nullable, value.span, &[&value])
}

/// `value IS [NOT] NULL`.
pub(super) fn is_null(value: Typed, negated: bool) -> Result<Typed, ExprError> {
    let physical: Arc<dyn datafusion_physical_expr::PhysicalExpr> = if negated {
        Arc::new(IsNotNullExpr::new(value.physical.clone()))
    } else {
        Arc::new(IsNullExpr::new(value.physical.clone()))
    };
    Typed::node(physical, SqlType::Boolean, false, value.span, &[&value])
}

/// `value IS [NOT] TRUE` or `FALSE`: never NULL.
pub(super) fn is_truth(value: Typed, truth: bool, negated: bool) -> Result<Typed, ExprError> {
    let value = boolean(value, if truth { "IS TRUE" } else { "IS FALSE" })?;
    let span = value.span;
    Typed::call("IS", vec![value], SqlType::Boolean, false, span, move |arguments, rows| {
        let values = arguments[0].boolean();
        done((0..rows).map(|row| Some((values.get(row) == Some(truth)) != negated)).collect::<BooleanArray>())
    })
}

/// `CASE WHEN condition THEN value … ELSE otherwise END`: a branch is evaluated only for the rows that take it.
pub(super) fn case(
    branches: Vec<(Typed, Typed)>,
    otherwise: Option<Typed>,
    span: Span,
) -> Result<Typed, ExprError> {
    let (conditions, mut values): (Vec<_>, Vec<_>) = branches.into_iter().unzip();
    values.push(otherwise.unwrap_or_else(|| Typed::null(SqlType::Null, span)));
    let (data_type, mut values) = unify(values, "the values of a CASE")?;
    let conditions =
        conditions.into_iter().map(|condition| boolean(condition, "WHEN")).collect::<Result<Vec<_>, _>>()?;
    let otherwise = values.pop().expect("pushed above");
    if data_type == SqlType::Null {
        return Ok(Typed::null(SqlType::Null, span));
    }
    let nullable = otherwise.nullable || values.iter().any(|value| value.nullable);
    let inputs: Vec<&Typed> = conditions.iter().chain(&values).chain([&otherwise]).collect();
    let when =
        conditions.iter().zip(&values).map(|(c, v)| (c.physical.clone(), v.physical.clone())).collect();
    let node = CaseExpr::try_new(None, when, Some(otherwise.physical.clone()))
        .map_err(|error| ExprError { span, what: error.strip_backtrace(), help: None })?;
    Typed::node(Arc::new(node), data_type, nullable, span, &inputs)
}

/// `CASE operand WHEN key THEN value …`, the first equal key winning.
pub(super) fn case_of(
    operand: &Typed,
    branches: Vec<(Typed, Typed)>,
    otherwise: Option<Typed>,
    span: Span,
) -> Result<Typed, ExprError> {
    let mut conditions = Vec::with_capacity(branches.len());
    for (key, value) in branches {
        comparable(operand.clone(), key.clone())?;
        conditions.push((super::compare::compare(Operator::Eq, operand.clone(), key)?, value));
    }
    case(conditions, otherwise, span)
}
