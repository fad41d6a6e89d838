//! From the syntax tree to typed expressions: names are found, types checked, Flink's casts put in.
//!
//! Independent mistakes are all told: a failing part is recorded and yields `None`, and what stands around it is
//! silent about it.

use std::sync::Arc;

use datafusion_common::ScalarValue;
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::Column as ColumnExpr;
use sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, CeilFloorKind, DataType as AstType, Expr as Ast, Ident, Subscript,
    TrimWhereField, UnaryOperator, Value,
};

use super::aggregate::Aggregation;
use super::arithmetic::{arithmetic, negate};
use super::coerce::over;
use super::decimal::{Operation, PRECISION_MAX};
use super::functions;
use super::interval::Interval;
use super::parse::Source;
use super::typed::{Span, Typed};
use super::{CLOCK, ExprError, access, cast, compare, interval, like, logic};
use crate::error::nearest;
use crate::record::{Schema, SqlType, parse_type};

/// Operators in one chain, other than AND and OR, which may be any number.
const CHAIN_MAX: usize = 200;

/// The translation of one text.
pub(super) struct Translator<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) scope: &'a Schema,
    pub(super) errors: Vec<ExprError>,
    pub(super) paths: Vec<Vec<String>>,
    pub(super) uses_clock: bool,
    /// Present in the output of an aggregate step.
    pub(super) aggregation: Option<Aggregation<'a>>,
}

impl<'a> Translator<'a> {
    pub(super) fn new(source: &'a Source<'a>, scope: &'a Schema) -> Self {
        Self { source, scope, errors: Vec::new(), paths: Vec::new(), uses_clock: false, aggregation: None }
    }

    /// Records a failure.
    pub(super) fn take<T>(&mut self, result: Result<T, ExprError>) -> Option<T> {
        result.map_err(|error| self.errors.push(error)).ok()
    }

    pub(super) fn refuse<T>(&mut self, span: Span, what: impl Into<String>, help: &str) -> Option<T> {
        self.errors.push(ExprError { span, what: what.into(), help: Some(help.to_owned()) });
        None
    }

    pub(super) fn span(&self, ast: &Ast) -> Span {
        self.source.span_of(ast)
    }

    /// All of them, or none where one failed; every one is looked at.
    pub(super) fn all<'b>(&mut self, list: impl IntoIterator<Item = &'b Ast>) -> Option<Vec<Typed>> {
        let translated: Vec<_> = list.into_iter().map(|item| self.translate(item)).collect();
        translated.into_iter().collect()
    }

    fn pair(&mut self, left: &Ast, right: &Ast) -> Option<(Typed, Typed)> {
        let (left, right) = (self.translate(left), self.translate(right));
        left.zip(right)
    }

    pub(super) fn translate(&mut self, ast: &Ast) -> Option<Typed> {
        match ast {
            Ast::Identifier(name) => self.column(std::slice::from_ref(name)),
            Ast::CompoundIdentifier(names) => self.column(names),
            Ast::CompoundFieldAccess { root, access_chain } => self.accessed(root, access_chain),
            Ast::Nested(inner) => self.translate(inner),
            Ast::Value(value) => self.value(&value.value, self.span(ast)),
            Ast::TypedString(typed) => {
                let text = match &typed.value.value {
                    Value::SingleQuotedString(text) => text.clone(),
                    _ => String::new(),
                };
                self.typed_string(&typed.data_type, &text, self.span(ast))
            }
            Ast::BinaryOp { .. } => self.chain(ast),
            Ast::UnaryOp { op, expr } => self.unary(*op, expr),
            Ast::Cast { kind, expr, data_type, .. } => self.cast(kind, expr, data_type),
            Ast::Case { operand, conditions, else_result, .. } => {
                let branches = conditions.iter().map(|when| (&when.condition, &when.result));
                self.case(operand.as_deref(), branches.collect(), else_result.as_deref(), self.span(ast))
            }
            Ast::Function(function) => self.function(function, ast),
            Ast::Array(array) => {
                let values = self.all(&array.elem)?;
                let made = access::array(values, self.span(ast));
                self.take(made)
            }
            _ => self.predicate(ast),
        }
    }

    /// `IS …`, `IN`, `BETWEEN`, `LIKE`.
    fn predicate(&mut self, ast: &Ast) -> Option<Typed> {
        match ast {
            Ast::IsNull(value) => self.with(value, |value| logic::is_null(value, false)),
            Ast::IsNotNull(value) => self.with(value, |value| logic::is_null(value, true)),
            Ast::IsTrue(value) => self.with(value, |value| logic::is_truth(value, true, false)),
            Ast::IsNotTrue(value) => self.with(value, |value| logic::is_truth(value, true, true)),
            Ast::IsFalse(value) => self.with(value, |value| logic::is_truth(value, false, false)),
            Ast::IsNotFalse(value) => self.with(value, |value| logic::is_truth(value, false, true)),
            Ast::IsUnknown(value) => {
                self.with(value, |value| logic::is_null(super::coerce::boolean(value, "IS UNKNOWN")?, false))
            }
            Ast::IsNotUnknown(value) => {
                self.with(value, |value| logic::is_null(super::coerce::boolean(value, "IS UNKNOWN")?, true))
            }
            Ast::IsDistinctFrom(left, right) => self.compared(Operator::IsDistinctFrom, left, right),
            Ast::IsNotDistinctFrom(left, right) => self.compared(Operator::IsNotDistinctFrom, left, right),
            Ast::InList { expr, list, negated } => {
                let value = self.translate(expr);
                let list = self.all(list);
                let (value, list) = value.zip(list)?;
                if list.is_empty() {
                    return self.refuse(value.span, "the list of IN is empty", "write at least one value");
                }
                let made = compare::in_list(value, list, *negated);
                self.take(made)
            }
            Ast::Between { expr, negated, low, high } => self.between(expr, low, high, *negated),
            Ast::Like { negated, any: false, expr, pattern, escape_char } => {
                let escape = match escape_char {
                    Some(escape) => Some(self.translate(escape)?),
                    None => None,
                };
                let (value, pattern) = self.pair(expr, pattern)?;
                let made = like::like(value, pattern, escape.as_ref(), *negated);
                self.take(made)
            }
            _ => self.special(ast),
        }
    }

    /// Calls that SQL writes in a way of their own; they are functions like any other.
    fn special(&mut self, ast: &Ast) -> Option<Typed> {
        let span = self.span(ast);
        let unit = |field: &dyn std::fmt::Display| Typed::text(&field.to_string(), span);
        match ast {
            Ast::Extract { field, expr, .. } => {
                let value = self.translate(expr)?;
                self.call("EXTRACT", vec![unit(field), value], span)
            }
            Ast::Ceil { expr, field } | Ast::Floor { expr, field } => {
                let name = if matches!(ast, Ast::Ceil { .. }) { "CEIL" } else { "FLOOR" };
                let value = self.translate(expr)?;
                let arguments = match field {
                    CeilFloorKind::DateTimeField(sqlparser::ast::DateTimeField::NoDateTime) => vec![value],
                    CeilFloorKind::DateTimeField(field) => vec![value, unit(field)],
                    CeilFloorKind::Scale(scale) => vec![value, self.value(&scale.value, span)?],
                };
                self.call(name, arguments, span)
            }
            Ast::Position { expr, r#in } => {
                let (part, text) = self.pair(expr, r#in)?;
                self.call("POSITION", vec![part, text], span)
            }
            Ast::Substring { expr, substring_from, substring_for, .. } => {
                let parts = [Some(expr), substring_from.as_ref(), substring_for.as_ref()];
                let arguments = self.all(parts.into_iter().flatten().map(AsRef::as_ref))?;
                self.call("SUBSTRING", arguments, span)
            }
            Ast::Trim { expr, trim_where, trim_what, trim_characters: None } => {
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "BTRIM",
                    Some(TrimWhereField::Leading) => "LTRIM",
                    Some(TrimWhereField::Trailing) => "RTRIM",
                };
                let arguments =
                    self.all([Some(expr), trim_what.as_ref()].into_iter().flatten().map(AsRef::as_ref))?;
                self.call(name, arguments, span)
            }
            _ => self.refused(ast, span),
        }
    }

    /// SQL that is understood and not supported.
    fn refused(&mut self, ast: &Ast, span: Span) -> Option<Typed> {
        let (what, help) = match ast {
            Ast::Exists { .. } | Ast::Subquery(_) | Ast::InSubquery { .. } => {
                ("a subquery is not an expression", "list the values, or join with another stream")
            }
            Ast::Interval(_) => (
                "an INTERVAL cannot stand alone",
                "add it to or subtract it from a date or time: at + INTERVAL '5' MINUTE",
            ),
            Ast::ILike { .. } => ("there is no ILIKE", "write LOWER(value) LIKE 'pattern'"),
            Ast::SimilarTo { .. } | Ast::RLike { .. } => {
                ("there is no such operator", "a regular expression is matched with REGEXP(value, 'regex')")
            }
            Ast::AtTimeZone { .. } => (
                "there is no AT TIME ZONE",
                "CAST between TIMESTAMP and TIMESTAMP_LTZ; the session's zone is UTC",
            ),
            Ast::Tuple(_) => ("a list of values is not a value", "only IN (…) takes a list"),
            Ast::Overlay { .. } => ("there is no OVERLAY", "put the parts together with SUBSTRING and `||`"),
            Ast::Wildcard(_) | Ast::QualifiedWildcard(..) => {
                ("`*` is not a value", "name a column; COUNT(*) counts rows")
            }
            _ => ("this is not supported", "see `millstream list functions` for what is"),
        };
        self.refuse(span, what, help)
    }

    fn with(&mut self, ast: &Ast, make: impl FnOnce(Typed) -> Result<Typed, ExprError>) -> Option<Typed> {
        let value = self.translate(ast)?;
        self.take(make(value))
    }

    fn compared(&mut self, operator: Operator, left: &Ast, right: &Ast) -> Option<Typed> {
        let (left, right) = self.pair(left, right)?;
        let made = compare::compare(operator, left, right);
        self.take(made)
    }

    fn between(&mut self, value: &Ast, low: &Ast, high: &Ast, negated: bool) -> Option<Typed> {
        let value = self.translate(value);
        let bounds = (self.translate(low), self.translate(high));
        let (value, (low, high)) = value.zip(bounds.0.zip(bounds.1))?;
        let made = compare::compare(Operator::GtEq, value.clone(), low).and_then(|low| {
            let both = vec![low, compare::compare(Operator::LtEq, value, high)?];
            let between = logic::balanced(Operator::And, both)?;
            if negated { logic::not(between) } else { Ok(between) }
        });
        self.take(made)
    }

    /// A chain of operators that lean to the left is walked in a loop: it may be long.
    fn chain(&mut self, ast: &Ast) -> Option<Typed> {
        let mut links = Vec::new();
        let mut first = ast;
        while let Ast::BinaryOp { left, op, right } = first {
            links.push((op, right.as_ref()));
            first = left;
        }
        let long = links.iter().filter(|(op, _)| logical(op).is_none()).count() > CHAIN_MAX;
        if long {
            let help = "compute parts of it in a step before";
            return self.refuse(self.span(first), "this chain of operators is too long", help);
        }
        links.reverse();
        let mut links = links.into_iter().peekable();
        let mut left = match (self.interval(first), links.peek().copied()) {
            (None, _) => self.translate(first),
            (Some(interval), Some((BinaryOperator::Plus, right))) => {
                links.next();
                let interval = self.take(interval);
                let value = self.translate(right);
                let (interval, value) = interval.zip(value)?;
                let made = interval::shift(value, interval);
                self.take(made)
            }
            (Some(_), _) => return self.refused(first, self.span(first)),
        };
        while let Some((op, right)) = links.next() {
            let Some(operator) = logical(op) else {
                left = self.operation(left, op, right);
                continue;
            };
            let mut operands = vec![left, self.translate(right)];
            while let Some((_, right)) = links.next_if(|(next, _)| logical(next) == Some(operator)) {
                operands.push(self.translate(right));
            }
            let operands: Option<Vec<_>> = operands.into_iter().collect();
            left = operands.and_then(|operands| {
                let made = logic::balanced(operator, operands);
                self.take(made)
            });
        }
        left
    }

    fn operation(&mut self, left: Option<Typed>, op: &BinaryOperator, right: &Ast) -> Option<Typed> {
        if let Some(interval) = self.interval(right) {
            let interval = self.take(interval);
            let (left, interval) = left.zip(interval)?;
            let made = match op {
                BinaryOperator::Plus => interval::shift(left, interval),
                BinaryOperator::Minus => interval::shift(left, interval.negated()),
                _ => return self.refused(right, self.span(right)),
            };
            return self.take(made);
        }
        let right_typed = self.translate(right);
        let (left, right) = left.zip(right_typed)?;
        let span = over(left.span, right.span);
        let made = match op {
            BinaryOperator::Plus => arithmetic(Operation::Add, left, right),
            BinaryOperator::Minus => arithmetic(Operation::Subtract, left, right),
            BinaryOperator::Multiply => arithmetic(Operation::Multiply, left, right),
            BinaryOperator::Divide => arithmetic(Operation::Divide, left, right),
            BinaryOperator::Modulo => arithmetic(Operation::Modulo, left, right),
            BinaryOperator::Eq => compare::compare(Operator::Eq, left, right),
            BinaryOperator::NotEq => compare::compare(Operator::NotEq, left, right),
            BinaryOperator::Lt => compare::compare(Operator::Lt, left, right),
            BinaryOperator::LtEq => compare::compare(Operator::LtEq, left, right),
            BinaryOperator::Gt => compare::compare(Operator::Gt, left, right),
            BinaryOperator::GtEq => compare::compare(Operator::GtEq, left, right),
            BinaryOperator::StringConcat => return self.call("||", vec![left, right], span),
            other => {
                return self.refuse(
                    span,
                    format!("there is no operator `{other}`"),
                    "the operators are + - * / % || = <> < <= > >= AND OR NOT",
                );
            }
        };
        self.take(made)
    }

    /// The interval an expression is, or none if it is something else.
    pub(super) fn interval(&self, ast: &Ast) -> Option<Result<Interval, ExprError>> {
        match ast {
            Ast::Nested(inner) => self.interval(inner),
            Ast::UnaryOp { op: UnaryOperator::Minus, expr } => {
                Some(self.interval(expr)?.map(Interval::negated))
            }
            Ast::Interval(interval) => Some(Interval::of(interval, self.span(ast))),
            _ => None,
        }
    }

    fn unary(&mut self, op: UnaryOperator, operand: &Ast) -> Option<Typed> {
        match (op, operand) {
            (UnaryOperator::Minus, Ast::Value(value)) => {
                if let Value::Number(number, _) = &value.value {
                    let span = self.span(operand);
                    let made = number_literal(&format!("-{number}"), span);
                    return self.take(made);
                }
                self.with(operand, negate)
            }
            (UnaryOperator::Minus, _) => self.with(operand, negate),
            (UnaryOperator::Plus, _) => self
                .with(operand, |value| if value.data_type.is_numeric() { Ok(value) } else { negate(value) }),
            (UnaryOperator::Not, _) => self.with(operand, logic::not),
            (other, _) => {
                let span = self.span(operand);
                self.refuse(span, format!("there is no operator `{other}`"), "the signs are + and -, and NOT")
            }
        }
    }

    fn cast(&mut self, kind: &CastKind, value: &Ast, data_type: &AstType) -> Option<Typed> {
        let lenient = match kind {
            CastKind::Cast => false,
            CastKind::TryCast => true,
            _ => {
                let span = self.span(value);
                return self.refuse(span, "there is no such cast", "write CAST(value AS TYPE)");
            }
        };
        let named = match parse_type(&data_type.to_string()) {
            Ok((named, _)) => Some(named),
            Err(error) => {
                let span = self.source.type_span(self.span(value).1);
                self.errors.push(ExprError { span, what: error.what, help: error.help });
                None
            }
        };
        let (value, to) = self.translate(value).zip(named)?;
        let made = cast::cast(value, &to, lenient);
        self.take(made)
    }

    fn case(
        &mut self,
        operand: Option<&Ast>,
        branches: Vec<(&Ast, &Ast)>,
        otherwise: Option<&Ast>,
        span: Span,
    ) -> Option<Typed> {
        let operand = match operand {
            Some(operand) => Some(self.translate(operand)?),
            None => None,
        };
        let branches: Vec<_> = branches.into_iter().map(|(when, then)| self.pair(when, then)).collect();
        let otherwise = match otherwise {
            Some(otherwise) => Some(self.translate(otherwise)?),
            None => None,
        };
        let branches = branches.into_iter().collect::<Option<Vec<_>>>()?;
        let made = match operand {
            Some(operand) => logic::case_of(&operand, branches, otherwise, span),
            None => logic::case(branches, otherwise, span),
        };
        self.take(made)
    }

    fn value(&mut self, value: &Value, span: Span) -> Option<Typed> {
        match value {
            Value::Number(number, _) => {
                let made = number_literal(number, span);
                self.take(made)
            }
            Value::SingleQuotedString(text) => Some(Typed::text(text, span)),
            Value::Boolean(value) => {
                Some(Typed::literal(ScalarValue::Boolean(Some(*value)), SqlType::Boolean, span))
            }
            Value::Null => Some(Typed::null(SqlType::Null, span)),
            Value::Placeholder(name) => match self.scope.index_of(name) {
                Some(_) => self.column(&[Ident::new(name.clone())]),
                None => self.refuse(
                    span,
                    format!("there is no parameter `{name}`"),
                    "declare it under `params:` of the pipeline",
                ),
            },
            _ => self.refuse(span, "this literal is not supported", "text is in single quotes: 'text'"),
        }
    }

    fn typed_string(&mut self, data_type: &AstType, text: &str, span: Span) -> Option<Typed> {
        // The precision of a TIMESTAMP literal is the number of its digits behind the second.
        let digits = text.rsplit_once('.').map_or(0, |(_, fraction)| fraction.len());
        let precision = u8::try_from(digits).unwrap_or(9);
        let to = match data_type {
            AstType::Date => SqlType::Date,
            AstType::Time(..) => SqlType::Time(precision.min(3)),
            AstType::Timestamp(..) => SqlType::Timestamp(precision.min(9)),
            other => {
                return self.refuse(
                    span,
                    format!("there are no {other} literals"),
                    "there are DATE '2024-01-31', TIME '09:30:00' and TIMESTAMP '2024-01-31 09:30:00'",
                );
            }
        };
        let made = cast::cast(Typed::text(text, span), &to, false);
        self.take(made)
    }

    /// A column, and fields inside it.
    pub(super) fn column(&mut self, names: &[Ident]) -> Option<Typed> {
        let (first, fields) = names.split_first()?;
        let span = self.source.span(first.span);
        let Some(index) = self.scope.index_of(&first.value) else {
            self.unknown_column(&first.value, span);
            return None;
        };
        let column = &self.scope.columns()[index];
        let mut value = Typed {
            physical: Arc::new(ColumnExpr::new(&column.name, index)),
            data_type: column.data_type.clone(),
            nullable: column.nullable,
            span,
        };
        let mut path = vec![first.value.clone()];
        for name in fields {
            let made = access::field(value, &name.value, self.source.span(name.span));
            value = self.take(made)?;
            path.push(name.value.clone());
        }
        if !self.paths.contains(&path) {
            self.paths.push(path);
        }
        Some(value)
    }

    fn unknown_column(&mut self, name: &str, span: Span) {
        if let Some(error) = self.aggregation.as_ref().and_then(|a| a.ungrouped(name, span)) {
            self.errors.push(error);
            return;
        }
        let names = || self.scope.columns().iter().map(|column| column.name.as_str());
        let help = match nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the columns are {}", access::listed(names())),
        };
        self.errors.push(ExprError { span, what: format!("there is no column `{name}`"), help: Some(help) });
    }

    fn accessed(&mut self, root: &Ast, accesses: &[AccessExpr]) -> Option<Typed> {
        // Leading fields belong to the path of the column.
        let mut names = match root {
            Ast::Identifier(name) => vec![name.clone()],
            Ast::CompoundIdentifier(names) => names.clone(),
            _ => Vec::new(),
        };
        let mut rest = accesses;
        while let (false, Some((AccessExpr::Dot(Ast::Identifier(name)), more))) =
            (names.is_empty(), rest.split_first())
        {
            names.push(name.clone());
            rest = more;
        }
        let mut value = if names.is_empty() { self.translate(root)? } else { self.column(&names)? };
        for access in rest {
            value = match access {
                AccessExpr::Dot(Ast::Identifier(name)) => {
                    let made = access::field(value, &name.value, self.source.span(name.span));
                    self.take(made)?
                }
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    let index = self.translate(index)?;
                    let made = access::element(value, index);
                    self.take(made)?
                }
                _ => {
                    let help = "an element is array[1], a field row.name";
                    return self.refuse(value.span, "this cannot be taken from a value", help);
                }
            };
        }
        Some(value)
    }

    /// A call of a function of the registry.
    pub(super) fn call(&mut self, name: &str, arguments: Vec<Typed>, span: Span) -> Option<Typed> {
        let clock = self.clock(span);
        let made = functions::call(name, arguments, span, clock);
        if made.as_ref().is_ok_and(|(_, uses_clock)| *uses_clock) {
            if self.aggregation.as_ref().is_some_and(|aggregation| !aggregation.inside) {
                let help = "take the time in a step behind the aggregate";
                return self.refuse(span, "the present time cannot be read here", help);
            }
            self.uses_clock = true;
        }
        self.take(made.map(|(typed, _)| typed))
    }

    /// The present time: a column behind those of the scope.
    fn clock(&self, span: Span) -> Typed {
        Typed {
            physical: Arc::new(ColumnExpr::new(CLOCK, self.scope.columns().len())),
            data_type: SqlType::TimestampLtz(3),
            nullable: false,
            span,
        }
    }
}

fn logical(op: &BinaryOperator) -> Option<Operator> {
    match op {
        BinaryOperator::And => Some(Operator::And),
        BinaryOperator::Or => Some(Operator::Or),
        _ => None,
    }
}

/// `12` is INT, or BIGINT where it does not fit, else DECIMAL; `0.908` is DECIMAL(4, 3); `1e3` is DOUBLE.
fn number_literal(text: &str, span: Span) -> Result<Typed, ExprError> {
    let fail = |what: String| ExprError { span, what, help: None };
    if text.contains(['e', 'E']) {
        let value: f64 = text.parse().map_err(|_| fail(format!("`{text}` is not a number")))?;
        if !value.is_finite() {
            return Err(fail(format!("{text} is beyond DOUBLE")));
        }
        return Ok(Typed::literal(ScalarValue::Float64(Some(value)), SqlType::Double, span));
    }
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if fraction.is_empty() {
        let signed = text.trim_end_matches('.');
        if let Ok(value) = signed.parse::<i32>() {
            return Ok(Typed::literal(ScalarValue::Int32(Some(value)), SqlType::Int, span));
        }
        if let Ok(value) = signed.parse::<i64>() {
            return Ok(Typed::literal(ScalarValue::Int64(Some(value)), SqlType::BigInt, span));
        }
    }
    let (precision, scale) = (whole.len() + fraction.len(), fraction.len());
    let digits = format!("{whole}{fraction}");
    let value = digits.parse::<i128>().ok().filter(|_| precision <= usize::from(PRECISION_MAX));
    let Some(value) = value else {
        return Err(fail("the number has more than 38 digits".to_owned()));
    };
    let value = if text.starts_with('-') { -value } else { value };
    let (precision, scale) =
        (u8::try_from(precision).expect("at most 38"), u8::try_from(scale).expect("at most 38"));
    let data_type = SqlType::Decimal(precision, scale);
    Ok(Typed::literal(ScalarValue::Decimal128(Some(value), precision, scale.cast_signed()), data_type, span))
}
