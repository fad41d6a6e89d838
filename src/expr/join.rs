//! Conditions over pairs of rows: what of them is a key of each side, what is left to be asked of each pair, and how far
//! apart in time the two rows may be.
//!
//! A pair is a row of two ROW columns, one for each side, so a condition is an expression like any other; it is taken apart
//! here at the ANDs of its syntax tree.

use datafusion_expr::Operator;
use sqlparser::ast::{BinaryOperator, Expr as Ast};

use super::coerce::{coerce, common_type, comparable, over};
use super::interval::Interval;
use super::parse::{self, Source};
use super::translate::Translator;
use super::typed::{Span, Typed};
use super::{Expr, ExprError, finished, logic};
use crate::record::{Column, Paths, Schema, SqlType};

/// A condition over pairs, taken apart.
#[derive(Clone, Debug)]
pub struct PairCondition {
    /// Values of the two sides that are equal in every pair; at least one.
    pub keys: Vec<PairKey>,
    /// What is left to be asked of each pair, over the columns of this schema: of each side a ROW of what it reads.
    pub rest: Option<(Expr, Schema)>,
    /// What it reads, the keys included.
    pub paths: Paths,
}

/// A value of each side, both of one type.
#[derive(Clone, Debug)]
pub struct PairKey {
    /// The expressions, each over a schema of only its side's ROW.
    pub sides: [Expr; 2],
    /// The field of the ROW that an expression is; none where it is more than that.
    pub columns: [Option<String>; 2],
}

/// How far the second side's time may be from the first side's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeBounds {
    /// The fields of the two ROWs that are the times: timestamps of at most milliseconds.
    pub columns: [String; 2],
    /// The least of second − first, milliseconds.
    pub least_ms: i64,
    /// The greatest of second − first, milliseconds; not below the least.
    pub most_ms: i64,
}

/// Takes a condition over pairs apart. `sides` are the two ROW columns.
///
/// # Errors
///
/// Everything that is wrong with it, and if no part of it makes a value of one side equal to a value of the other.
pub fn pair_condition(text: &str, sides: &[Column; 2]) -> Result<PairCondition, Vec<ExprError>> {
    let source = Source::new(text);
    let ast = parse::parse(&source).map_err(|error| vec![error])?;
    let scope = Schema::new(sides.to_vec());
    let mut errors = Vec::new();
    let (mut keys, mut rest, mut paths) = (Vec::new(), Vec::new(), Paths::default());
    for term in conjuncts(&ast) {
        // As a whole it has to be a condition, whatever becomes of it.
        let mut whole = Translator::new(&source, &scope);
        let typed = whole.translate(term);
        match typed.map(|typed| super::coerce::boolean(typed, "a condition")) {
            Some(Err(error)) => errors.push(error),
            Some(Ok(_)) if whole.uses_clock => {
                errors.push(ExprError {
                    span: source.span_of(term),
                    what: "a pair of rows is asked when its later row comes, so this may not read the present time".to_owned(),
                    help: Some("put the present time into a column of an input before".to_owned()),
                });
            }
            _ => {}
        }
        errors.append(&mut whole.errors);
        paths.extend(&whole.paths);
        match key_of(&source, term, sides, &scope) {
            Some(Ok(key)) => {
                // NaN has the bytes of a key and equals nothing.
                if matches!(key.sides[0].data_type(), SqlType::Float | SqlType::Double) {
                    rest.push(term);
                }
                keys.push(key);
            }
            Some(Err(found)) if errors.is_empty() => errors.extend(found),
            Some(Err(_)) => {}
            None => rest.push(term),
        }
    }
    if errors.is_empty() && keys.is_empty() {
        let [first, second] = sides.each_ref().map(|side| &side.name);
        errors.push(ExprError {
            span: (0, text.len()),
            what: "no value of one side is equal to a value of the other here".to_owned(),
            help: Some(format!("join by a key: `{first}.… = {second}.…`, and further conditions by AND")),
        });
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let rest = if rest.is_empty() { None } else { Some(all_of(&source, &rest, &scope)?) };
    Ok(PairCondition { keys, rest, paths })
}

/// The bounds that a condition such as `b.at BETWEEN a.at AND a.at + INTERVAL '1' HOUR` sets. `sides` are the two ROW
/// columns.
///
/// # Errors
///
/// If it is anything but comparisons of one timestamp of each side, shifted by constants, that bound the distance from both
/// sides.
pub fn time_bounds(text: &str, sides: &[Column; 2]) -> Result<TimeBounds, Vec<ExprError>> {
    let source = Source::new(text);
    let ast = parse::parse(&source).map_err(|error| vec![error])?;
    let scope = Schema::new(sides.to_vec());
    // Unknown names and types that do not go together are told as they are anywhere.
    let mut whole = Translator::new(&source, &scope);
    whole.translate(&ast);
    if !whole.errors.is_empty() {
        return Err(whole.errors);
    }
    let mut found = Found { source: &source, sides, columns: [None, None], least_ms: None, most_ms: None };
    for term in conjuncts(&ast) {
        found.term(term).map_err(|error| vec![error])?;
    }
    found.bounds(text).map_err(|error| vec![error])
}

/// The operands of the ANDs at the top, in order.
fn conjuncts(ast: &Ast) -> Vec<&Ast> {
    let (mut found, mut todo) = (Vec::new(), vec![ast]);
    while let Some(next) = todo.pop() {
        match next {
            Ast::Nested(inner) => todo.push(inner),
            Ast::BinaryOp { left, op: BinaryOperator::And, right } => {
                todo.extend([right.as_ref(), left.as_ref()]);
            }
            _ => found.push(next),
        }
    }
    found
}

/// What a term makes equal; none where it is no equality of one side and the other.
fn key_of(
    source: &Source<'_>,
    term: &Ast,
    sides: &[Column; 2],
    scope: &Schema,
) -> Option<Result<PairKey, Vec<ExprError>>> {
    let Ast::BinaryOp { left, op: BinaryOperator::Eq, right } = term else { return None };
    let (left, right) = match (side_of(source, left, scope)?, side_of(source, right, scope)?) {
        (0, 1) => (left, right),
        (1, 0) => (right, left),
        _ => return None,
    };
    let mut translated = Vec::new();
    for (ast, side) in [left, right].into_iter().zip(sides) {
        let scope = Schema::new(vec![side.clone()]);
        let mut translator = Translator::new(source, &scope);
        match translator.translate(ast) {
            Some(typed) => translated.push((typed, translator.paths)),
            None => return Some(Err(translator.errors)),
        }
    }
    let (second, second_paths) = translated.pop()?;
    let (first, first_paths) = translated.pop()?;
    let given = [first.data_type.clone(), second.data_type.clone()];
    let columns = [(left, &first_paths), (right, &second_paths)].map(|(ast, paths)| field_of(ast, paths));
    let typed = match of_one_type(first, second) {
        Ok(typed) => typed,
        Err(error) => return Some(Err(vec![error])),
    };
    let kept = |side: usize| columns[side].clone().filter(|_| typed[side].data_type == given[side]);
    let columns = [kept(0), kept(1)];
    let [first, second] = typed;
    let sides = [Expr::new(first, first_paths, false), Expr::new(second, second_paths, false)];
    Some(Ok(PairKey { sides, columns }))
}

/// The only side that an expression reads; none where it reads both or none, or where it is wrong.
fn side_of(source: &Source<'_>, ast: &Ast, scope: &Schema) -> Option<usize> {
    let mut translator = Translator::new(source, scope);
    translator.translate(ast)?;
    let mut sides = translator.paths.iter().map(|path| scope.index_of(&path[0]));
    let first = sides.next()??;
    sides.all(|side| side == Some(first)).then_some(first)
}

/// The field of a side that a name is.
fn field_of(ast: &Ast, paths: &[Vec<String>]) -> Option<String> {
    match (ast, paths) {
        (Ast::Nested(inner), _) => field_of(inner, paths),
        (Ast::CompoundIdentifier(names), [path]) if names.len() == 2 && path.len() == 2 => {
            Some(path[1].clone())
        }
        _ => None,
    }
}

/// Both in one type, so that equal values have equal bytes.
fn of_one_type(first: Typed, second: Typed) -> Result<[Typed; 2], ExprError> {
    let (a, b) = comparable(first.clone(), second.clone())?;
    if a.data_type == b.data_type {
        return Ok([a, b]);
    }
    let span = over(first.span, second.span);
    let types = (first.data_type.clone(), second.data_type.clone());
    let common = common_type(&types.0, &types.1).ok_or_else(|| ExprError {
        span,
        what: format!("no type holds {} and {}, so they make no key", types.0, types.1),
        help: Some("CAST one of them".to_owned()),
    })?;
    Ok([coerce(first, &common)?, coerce(second, &common)?])
}

/// All of these terms as one condition, over a schema of only what they read.
fn all_of(source: &Source<'_>, terms: &[&Ast], scope: &Schema) -> Result<(Expr, Schema), Vec<ExprError>> {
    let translate = |scope: &Schema| -> Result<Expr, Vec<ExprError>> {
        let mut translator = Translator::new(source, scope);
        let operands = translator.all(terms.iter().copied());
        let typed = operands.and_then(|operands| {
            let made = logic::balanced(Operator::And, operands);
            translator.take(made)
        });
        finished(typed, translator)
    };
    let mut paths = Paths::default();
    for path in translate(scope)?.paths() {
        // Columns of an input are read whole: what is kept of it has them so.
        paths.insert(path.iter().take(2).cloned().collect());
    }
    let read = paths.prune(scope);
    Ok((translate(&read)?, read))
}

/// A time of one side, shifted.
struct Shifted {
    side: usize,
    by_ms: i64,
}

/// The bounds found so far.
struct Found<'a> {
    source: &'a Source<'a>,
    sides: &'a [Column; 2],
    columns: [Option<String>; 2],
    least_ms: Option<i64>,
    most_ms: Option<i64>,
}

const FORM: &str = "write for instance `b.at BETWEEN a.at AND a.at + INTERVAL '1' HOUR`, where both times are the event times of their inputs";

impl Found<'_> {
    fn error(&self, span: Span, what: impl Into<String>) -> ExprError {
        let _ = self.source;
        ExprError { span, what: what.into(), help: Some(FORM.to_owned()) }
    }

    fn term(&mut self, term: &Ast) -> Result<(), ExprError> {
        match term {
            Ast::Between { expr, negated: false, low, high } => {
                self.ascending(low, expr, 0, term)?;
                self.ascending(expr, high, 0, term)
            }
            Ast::BinaryOp { left, op, right } => match op {
                BinaryOperator::LtEq => self.ascending(left, right, 0, term),
                BinaryOperator::Lt => self.ascending(left, right, 1, term),
                BinaryOperator::GtEq => self.ascending(right, left, 0, term),
                BinaryOperator::Gt => self.ascending(right, left, 1, term),
                BinaryOperator::Eq => {
                    self.ascending(left, right, 0, term)?;
                    self.ascending(right, left, 0, term)
                }
                _ => Err(self.unbounding(term)),
            },
            _ => Err(self.unbounding(term)),
        }
    }

    fn unbounding(&self, term: &Ast) -> ExprError {
        self.error(
            self.source.span_of(term),
            "`within` bounds how far apart the times of two rows are, and this does not",
        )
    }

    /// `low` is at most `high`, less `by` milliseconds.
    fn ascending(&mut self, low: &Ast, high: &Ast, by_ms: i64, term: &Ast) -> Result<(), ExprError> {
        let (low, high) = (self.shifted(low, 0)?, self.shifted(high, 0)?);
        if low.side == high.side {
            return Err(self.error(
                self.source.span_of(term),
                "`within` compares a time of one side with a time of the other",
            ));
        }
        if low.side == 0 {
            // first + x + by ≤ second + y
            let least_ms = low.by_ms.saturating_add(by_ms).saturating_sub(high.by_ms);
            self.least_ms = Some(self.least_ms.map_or(least_ms, |known_ms| known_ms.max(least_ms)));
        } else {
            // second + x + by ≤ first + y
            let most_ms = high.by_ms.saturating_sub(low.by_ms).saturating_sub(by_ms);
            self.most_ms = Some(self.most_ms.map_or(most_ms, |known_ms| known_ms.min(most_ms)));
        }
        Ok(())
    }

    /// A time of a side, shifted by constants.
    fn shifted(&mut self, ast: &Ast, depth: usize) -> Result<Shifted, ExprError> {
        let span = self.source.span_of(ast);
        match ast {
            Ast::Nested(inner) => self.shifted(inner, depth),
            Ast::CompoundIdentifier(names) => {
                self.column(names.iter().map(|name| name.value.as_str()).collect(), span)
            }
            Ast::BinaryOp { left, op, right } if depth < 50 => {
                let (time, interval, sign) = match (op, self.interval(left), self.interval(right)) {
                    (BinaryOperator::Plus, None, Some(interval)) => (left, interval?, 1),
                    (BinaryOperator::Minus, None, Some(interval)) => (left, interval?, -1),
                    (BinaryOperator::Plus, Some(interval), None) => (right, interval?, 1),
                    _ => {
                        return Err(
                            self.error(span, "a time is shifted by INTERVALs here and by nothing else")
                        );
                    }
                };
                if interval.months != 0 {
                    return Err(
                        self.error(span, "months differ in length: the distance is bounded in days or less")
                    );
                }
                let shifted = self.shifted(time, depth + 1)?;
                Ok(Shifted { by_ms: shifted.by_ms.saturating_add(sign * interval.ms), ..shifted })
            }
            _ => Err(self.error(span, "`within` takes columns, shifted by INTERVALs")),
        }
    }

    fn interval(&self, ast: &Ast) -> Option<Result<Interval, ExprError>> {
        Translator::new(self.source, &Schema::new(Vec::new())).interval(ast)
    }

    fn column(&mut self, names: Vec<&str>, span: Span) -> Result<Shifted, ExprError> {
        let side = self.sides.iter().position(|side| side.name == names[0]);
        let (Some(side), [_, name]) = (side, names.as_slice()) else {
            return Err(self.error(span, "`within` takes a column of each input, not a field inside one"));
        };
        let SqlType::Row(fields) = &self.sides[side].data_type else {
            return Err(self.error(span, "`within` takes a column of each input"));
        };
        let field = fields.iter().find(|field| field.name == *name);
        if !field.is_some_and(|field| {
            matches!(field.data_type, SqlType::Timestamp(0..=3) | SqlType::TimestampLtz(0..=3))
        }) {
            return Err(self.error(span, "`within` takes columns of type TIMESTAMP(3) or TIMESTAMP_LTZ(3)"));
        }
        match &self.columns[side] {
            Some(known) if known != name => {
                return Err(self.error(
                    span,
                    format!("`within` takes one time of each side, and it has `{known}` already"),
                ));
            }
            _ => self.columns[side] = Some((*name).to_owned()),
        }
        Ok(Shifted { side, by_ms: 0 })
    }

    fn bounds(self, text: &str) -> Result<TimeBounds, ExprError> {
        let whole = (0, text.len());
        let (Some(least_ms), Some(most_ms)) = (self.least_ms, self.most_ms) else {
            return Err(self.error(
                whole,
                "`within` bounds the distance from one side only, so a row would be kept for ever",
            ));
        };
        if least_ms > most_ms {
            return Err(self.error(whole, "no two times are as far apart as this says"));
        }
        let columns = self.columns.map(|column| column.expect("each bound names a time of each side"));
        Ok(TimeBounds { columns, least_ms, most_ms })
    }
}
