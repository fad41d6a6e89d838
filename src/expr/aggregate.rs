//! Aggregate calls inside an expression: `100 * SUM(a) FILTER (WHERE b) / COUNT(*)` is one expression over a row of
//! group columns and the results of two calls.

use sqlparser::ast::{
    DuplicateTreatment, Expr as Ast, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, NullTreatment,
};

use super::coerce::boolean;
use super::functions;
use super::translate::Translator;
use super::typed::{Span, Typed};
use super::{Expr, ExprError};
use crate::error::nearest;
use crate::record::{Column, Schema, SqlType};

/// Names that are aggregates somewhere in the language; outside an aggregate step they are refused as such.
pub const AGGREGATES: &[&str] = &[
    "COUNT",
    "SUM",
    "MIN",
    "MAX",
    "AVG",
    "STDDEV",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "VARIANCE",
    "VAR_POP",
    "VAR_SAMP",
    "PERCENTILE",
    "QUANTILE",
    "MEDIAN",
    "APPROX_PERCENTILE",
    "APPROX_COUNT_DISTINCT",
    "FIRST",
    "FIRST_VALUE",
    "LAST",
    "LAST_VALUE",
    "ARRAY_AGG",
    "LISTAGG",
    "COLLECT",
];

/// The type of an aggregate's result and whether it may be NULL, or why the arguments are wrong; none for a name that is
/// no aggregate. It is given the function's name in upper case, its arguments, and whether it is DISTINCT.
pub type Resolve<'a> = dyn Fn(&str, &[Expr], bool) -> Option<Result<(SqlType, bool), String>> + 'a;

/// One call of an aggregate function.
#[derive(Clone, Debug)]
pub struct AggregateCall {
    /// The function's name, in upper case.
    pub function: String,
    /// Whether equal arguments count once.
    pub distinct: bool,
    /// The arguments, over the input's columns; none for `COUNT(*)`.
    pub arguments: Vec<Expr>,
    /// The BOOLEAN of `FILTER (WHERE …)`, over the input's columns.
    pub filter: Option<Expr>,
    /// The result's type.
    pub data_type: SqlType,
    /// Whether the result may be NULL.
    pub nullable: bool,
    /// Where it stands: a byte range of the text.
    pub span: Span,
    /// The call in a canonical spelling: equal ones are computed once.
    spelling: String,
}

/// The state of a translation in an aggregate step.
pub(super) struct Aggregation<'a> {
    pub(super) input: &'a Schema,
    pub(super) group: &'a Schema,
    pub(super) resolve: &'a Resolve<'a>,
    pub(super) calls: &'a mut Vec<AggregateCall>,
    /// Whether the arguments of a call are being translated.
    pub(super) inside: bool,
}

impl Aggregation<'_> {
    /// What is wrong with a column of the input that is not of the group; none where it is not of the input either.
    pub(super) fn ungrouped(&self, name: &str, span: Span) -> Option<ExprError> {
        if self.inside {
            return None;
        }
        if self.input.column(name).is_some() {
            return Some(ExprError {
                span,
                what: format!("`{name}` has many values in a group"),
                help: Some(format!("aggregate it, for example MAX({name}), or put it into `by`")),
            });
        }
        let near = nearest(name, self.input.columns().iter().map(|column| column.name.as_str()))?;
        Some(ExprError {
            span,
            what: format!("there is no column `{name}`"),
            help: Some(format!("did you mean `{near}`?")),
        })
    }
}

impl Translator<'_> {
    /// A function call: an aggregate where one may stand, else a function of the registry.
    pub(super) fn function(&mut self, function: &Function, ast: &Ast) -> Option<Typed> {
        let name = function.name.to_string().to_uppercase();
        let span = self.span(ast);
        let name_span = self.source.span(sqlparser::ast::Spanned::span(&function.name));
        if function.over.is_some() {
            return self.refuse(span, "OVER is not an expression", functions::instead_of_over(&name));
        }
        let is_aggregate = match &self.aggregation {
            Some(aggregation) => (aggregation.resolve)(&name, &[], false).is_some(),
            None => AGGREGATES.contains(&name.as_str()),
        };
        if is_aggregate {
            return self.aggregate(&name, function, span);
        }
        if function.filter.is_some() || !function.within_group.is_empty() || function.null_treatment.is_some()
        {
            let help = "FILTER belongs to aggregates such as COUNT and SUM";
            return self.refuse(span, format!("{name} takes no such clause"), help);
        }
        // Asked before the arguments are looked at: in a mistyped aggregate they mean something else.
        if !functions::exists(&name) {
            let mut unknown = functions::unknown(&name, name_span);
            if let Some(aggregation) = &self.aggregation {
                let known = |aggregate: &&str| (aggregation.resolve)(aggregate, &[], false).is_some();
                let near = nearest(&name, AGGREGATES.iter().copied().filter(known));
                unknown.help = near.map(|near| format!("did you mean {near}?")).or(unknown.help);
            }
            self.errors.push(unknown);
            return None;
        }
        let arguments = self.plain_arguments(&name, function, span)?;
        self.call(&name, arguments, span)
    }

    fn plain_arguments(&mut self, name: &str, function: &Function, span: Span) -> Option<Vec<Typed>> {
        let list = match &function.args {
            FunctionArguments::None => return Some(Vec::new()),
            FunctionArguments::Subquery(_) => {
                return self.refuse(
                    span,
                    "a subquery is not an expression",
                    "list the values, or join with another stream",
                );
            }
            FunctionArguments::List(list) => list,
        };
        if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) || !list.clauses.is_empty() {
            let help = "DISTINCT belongs to aggregates such as COUNT and SUM";
            return self.refuse(span, format!("{name} takes no such clause"), help);
        }
        let mut arguments = Vec::with_capacity(list.args.len());
        for (index, argument) in list.args.iter().enumerate() {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument else {
                return self.refuse(span, format!("{name} takes values"), "only COUNT takes `*`");
            };
            arguments.push(match argument {
                // A unit of time is a word, not a column.
                Ast::Identifier(unit) if index == 0 && functions::takes_unit(name) => {
                    Some(Typed::text(&unit.value, self.source.span(unit.span)))
                }
                other => self.translate(other),
            });
        }
        arguments.into_iter().collect()
    }

    fn aggregate(&mut self, name: &str, function: &Function, span: Span) -> Option<Typed> {
        let Some(aggregation) = &mut self.aggregation else {
            let help = "aggregates belong into the `select` of an `aggregate` or `over` step";
            return self.refuse(span, format!("{name} is an aggregate and cannot stand here"), help);
        };
        if aggregation.inside {
            let help = "aggregate in two steps, one behind the other";
            return self.refuse(span, format!("the aggregate {name} stands inside another aggregate"), help);
        }
        // The name in one case; the rest is spelled as the parser does.
        let (written, called) = (function.to_string(), function.name.to_string());
        let spelling = format!("{name}{}", &written[called.len()..]);
        if let Some(index) = aggregation.calls.iter().position(|call| call.spelling == spelling) {
            return Some(self.result_of(index, span));
        }
        aggregation.inside = true;
        let (outer_scope, outer_paths) = (self.scope, std::mem::take(&mut self.paths));
        self.scope = aggregation.input;
        let call = self.aggregate_call(name, function, span, spelling);
        self.scope = outer_scope;
        self.paths = outer_paths;
        let call = {
            let aggregation = self.aggregation.as_mut().expect("present above");
            aggregation.inside = false;
            aggregation.calls.push(call?);
            aggregation.calls.len() - 1
        };
        Some(self.result_of(call, span))
    }

    /// A call's result: the column `$n` behind the group's columns.
    fn result_of(&mut self, index: usize, span: Span) -> Typed {
        let aggregation = self.aggregation.as_ref().expect("only calls of an aggregate step have results");
        let (call, name) = (&aggregation.calls[index], format!("${index}"));
        let position = aggregation.group.columns().len() + index;
        let result = Typed {
            physical: std::sync::Arc::new(datafusion_physical_expr::expressions::Column::new(
                &name, position,
            )),
            data_type: call.data_type.clone(),
            nullable: call.nullable,
            span,
        };
        if !self.paths.iter().any(|path| path[0] == name) {
            self.paths.push(vec![name]);
        }
        result
    }

    fn aggregate_call(
        &mut self,
        name: &str,
        function: &Function,
        span: Span,
        spelling: String,
    ) -> Option<AggregateCall> {
        let FunctionArguments::List(list) = &function.args else {
            return self.refuse(
                span,
                format!("{name} takes arguments in parentheses"),
                "for example COUNT(*)",
            );
        };
        self.clauses(name, function, list, span)?;
        let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
        let mut arguments = Vec::with_capacity(list.args.len());
        for argument in &list.args {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard)
                    if name == "COUNT" && list.args.len() == 1 =>
                {
                    if distinct {
                        return self.refuse(
                            span,
                            "COUNT(DISTINCT *) counts nothing",
                            "name a column to count",
                        );
                    }
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => {
                    arguments.push(self.own_expr(argument, None));
                }
                _ => return self.refuse(span, format!("{name} takes values"), "only COUNT takes `*`"),
            }
        }
        let filter = function.filter.as_deref().map(|filter| self.own_expr(filter, Some("FILTER")));
        let arguments = arguments.into_iter().collect::<Option<Vec<_>>>()?;
        let filter = match filter {
            Some(filter) => Some(filter?),
            None => None,
        };
        let resolve =
            self.aggregation.as_ref().expect("aggregates are resolved in an aggregate step").resolve;
        let (data_type, nullable) = match resolve(name, &arguments, distinct)? {
            Ok(resolved) => resolved,
            Err(what) => {
                self.errors.push(ExprError { span, what, help: None });
                return None;
            }
        };
        let function = name.to_owned();
        Some(AggregateCall { function, distinct, arguments, filter, data_type, nullable, span, spelling })
    }

    /// What stands behind the arguments: only what each function does anyway.
    fn clauses(
        &mut self,
        name: &str,
        function: &Function,
        list: &FunctionArgumentList,
        span: Span,
    ) -> Option<()> {
        let other = !list.clauses.is_empty() || !function.within_group.is_empty() || function.over.is_some();
        if other {
            let help = "FILTER (WHERE …) and DISTINCT are there; values are taken in order of arrival";
            return self.refuse(span, format!("{name} takes no such clause"), help);
        }
        match function.null_treatment {
            Some(NullTreatment::RespectNulls) if name != "ARRAY_AGG" => {
                self.refuse(span, format!("{name} skips NULL"), "only ARRAY_AGG keeps it")
            }
            Some(NullTreatment::IgnoreNulls) if name == "ARRAY_AGG" => {
                let help = "skip it with ARRAY_AGG(x) FILTER (WHERE x IS NOT NULL)";
                self.refuse(span, "ARRAY_AGG keeps NULL", help)
            }
            _ => Some(()),
        }
    }

    /// An expression by itself, with its own paths.
    fn own_expr(&mut self, ast: &Ast, truth: Option<&str>) -> Option<Expr> {
        let (clock, paths) = (std::mem::take(&mut self.uses_clock), std::mem::take(&mut self.paths));
        let typed = self.translate(ast);
        let uses_clock = std::mem::replace(&mut self.uses_clock, clock);
        let paths = std::mem::replace(&mut self.paths, paths);
        let mut typed = typed?;
        if let Some(what) = truth {
            let checked = boolean(typed, what);
            typed = self.take(checked)?;
        }
        Some(Expr::new(typed, paths, uses_clock))
    }
}

/// The schema that the outer expressions of an aggregate step read: the group's columns, then `$0`, `$1`, … .
#[must_use]
pub fn result_schema(group: &Schema, calls: &[AggregateCall]) -> Schema {
    let results = calls
        .iter()
        .enumerate()
        .map(|(index, call)| Column::new(format!("${index}"), call.data_type.clone(), call.nullable));
    Schema::new(group.columns().iter().cloned().chain(results).collect())
}
