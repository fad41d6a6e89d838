//! SQL scalar expressions: parsed, type-checked with Flink's meaning before anything starts, evaluated a batch at a
//! time over Arrow columns. This is the one door to DataFusion and to sqlparser.
//!
//! The way of an expression: [`parse`] makes sqlparser's syntax tree; [`translate`] finds names, checks types and puts
//! Flink's casts in, building DataFusion's physical expressions directly (its planner, coercion and optimiser are not
//! used: they have other types); nodes whose meaning is not DataFusion's are kernels of ours ([`kernel`]); constants are
//! folded as they are built ([`typed`]). [`evaluate`] runs the tree and finds the rows to blame when a batch fails.
//!
//! To add a function, see [`mod@functions`].

mod access;
mod aggregate;
mod arithmetic;
mod calendar;
mod cast;
mod coerce;
mod compare;
mod decimal;
mod evaluate;
mod functions;
mod interval;
mod join;
mod kernel;
mod like;
mod logic;
mod lookup;
mod parse;
mod place;
#[cfg(test)]
mod tests;
mod translate;
mod typed;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion_physical_expr::PhysicalExpr;

pub use aggregate::{AGGREGATES, AggregateCall, Resolve, result_schema};
pub use evaluate::Evaluated;
pub use functions::{FunctionDoc, functions};
pub use join::{PairCondition, PairKey, TimeBounds, pair_condition, time_bounds};
pub use lookup::{TableKey, table_keys};
pub use place::{compile_at, report};

use crate::record::{Schema, SqlType};
use aggregate::Aggregation;
use parse::Source;
use translate::Translator;
use typed::Typed;

/// The hidden column of the present time.
const CLOCK: &str = "$now";

/// One mistake in an expression: where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExprError {
    /// A byte range of the expression's text.
    pub span: (usize, usize),
    /// What is wrong, in one sentence without a final stop.
    pub what: String,
    /// What to do about it, or the nearest right name.
    pub help: Option<String>,
}

/// A compiled expression over the columns of one schema.
#[derive(Clone, Debug)]
pub struct Expr {
    physical: Arc<dyn PhysicalExpr>,
    data_type: SqlType,
    arrow: DataType,
    nullable: bool,
    paths: Arc<[Vec<String>]>,
    uses_clock: bool,
}

/// Compiles an expression over the columns of `scope`.
///
/// # Errors
///
/// Everything that is wrong with it, as far as one mistake does not hide another.
pub fn compile(text: &str, scope: &Schema) -> Result<Expr, Vec<ExprError>> {
    let source = Source::new(text);
    let ast = parse::parse(&source).map_err(|error| vec![error])?;
    let mut translator = Translator::new(&source, scope);
    let typed = translator.translate(&ast);
    finished(typed, translator)
}

/// Compiles an expression of an aggregate step. It reads a schema of the columns of `group` followed by one column for
/// each of `calls`, named `$0`, `$1`, … ([`result_schema`]); the calls it needs are added to `calls`, equal ones once.
///
/// # Errors
///
/// As for [`compile`], and columns of `input` outside of aggregates that are not of `group`, aggregates inside
/// aggregates, and what `resolve` says of arguments.
pub fn compile_aggregate(
    text: &str,
    input: &Schema,
    group: &Schema,
    resolve: &Resolve<'_>,
    calls: &mut Vec<AggregateCall>,
) -> Result<Expr, Vec<ExprError>> {
    let source = Source::new(text);
    let ast = parse::parse(&source).map_err(|error| vec![error])?;
    let mut translator = Translator::new(&source, group);
    translator.aggregation = Some(Aggregation { input, group, resolve, calls, inside: false });
    let typed = translator.translate(&ast);
    finished(typed, translator)
}

fn finished(typed: Option<Typed>, translator: Translator<'_>) -> Result<Expr, Vec<ExprError>> {
    match typed {
        Some(typed) if translator.errors.is_empty() => {
            Ok(Expr::new(typed, translator.paths, translator.uses_clock))
        }
        _ => Err(translator.errors),
    }
}

impl Expr {
    fn new(typed: Typed, paths: Vec<Vec<String>>, uses_clock: bool) -> Self {
        Self {
            physical: typed.physical,
            arrow: typed.data_type.arrow(),
            data_type: typed.data_type,
            nullable: typed.nullable,
            paths: paths.into(),
            uses_clock,
        }
    }

    /// The type of the values.
    #[must_use]
    pub fn data_type(&self) -> &SqlType {
        &self.data_type
    }

    /// Whether a value may be NULL, apart from rows that fail.
    #[must_use]
    pub fn nullable(&self) -> bool {
        self.nullable
    }

    /// The columns that are read, each with the fields inside it: `["bid", "price"]`.
    #[must_use]
    pub fn paths(&self) -> &[Vec<String>] {
        &self.paths
    }

    /// Whether it comes to the same value for all rows.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.physical.downcast_ref::<datafusion_physical_expr::expressions::Literal>().is_some()
    }

    /// The text of the value that it comes to for all rows; none where rows differ, and for NULL.
    #[must_use]
    pub fn constant_text(&self) -> Option<String> {
        let literal = self.physical.downcast_ref::<datafusion_physical_expr::expressions::Literal>()?;
        let value = literal.value();
        let array = value.to_array().ok().filter(|_| !value.is_null())?;
        arrow::util::display::array_value_to_string(&array, 0).ok()
    }

    /// Whether it reads the present time, so that evaluating it again may come to something else.
    #[must_use]
    pub fn uses_clock(&self) -> bool {
        self.uses_clock
    }

    /// The name of the column it is, if it is nothing but a column.
    #[must_use]
    pub fn as_column(&self) -> Option<&str> {
        self.physical
            .downcast_ref::<datafusion_physical_expr::expressions::Column>()
            .map(datafusion_physical_expr::expressions::Column::name)
    }

    /// The values over a batch of the schema it was compiled for, at a present time of `wall_ms` milliseconds after
    /// 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn evaluate_at(&self, rows: &RecordBatch, wall_ms: i64) -> Evaluated {
        if self.uses_clock {
            let rows = evaluate::with_clock(rows, wall_ms);
            return evaluate::evaluate(self.physical.as_ref(), &self.arrow, &rows);
        }
        evaluate::evaluate(self.physical.as_ref(), &self.arrow, rows)
    }
}
