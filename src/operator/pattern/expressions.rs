//! The expressions of `define` and `select`: compiled over the rows of variables.
//!
//! To the compiler a variable is a column of rows: `F.price` is a field of it, and a call such as `SUM(F.price)` is an
//! aggregate over rows in which that column is the row itself. Everything is compiled twice: over all columns, which
//! tells the mistakes and what is read; and over what is read, which is what runs.

use super::sequence::Sequence;
use super::view::{Inner, RowCall, Source, View, What};
use crate::aggregate;
use crate::error::{Problem, Problems};
use crate::expr::{AggregateCall, Expr, ExprError, compile_aggregate, report, result_schema};
use crate::operator::selected::{argument_of, call_of};
use crate::record::{Column, Schema, SqlType};
use crate::yaml::Node;

/// The most rows that FIRST and LAST count from their end.
const OFFSET_MAX: usize = 10_000;

/// What expressions may name.
pub(super) struct Scope<'a> {
    pub input: &'a Schema,
    pub sequence: &'a Sequence,
}

/// A column that an expression may name, and where it comes from.
type Named = (Column, Source);

/// Expressions over the rows of a view.
pub(super) struct Compiled {
    pub expressions: Vec<Expr>,
    pub view: View,
    /// The columns of the input that are read, each with the fields inside it.
    pub paths: Vec<Vec<String>>,
}

impl Scope<'_> {
    /// The variables as columns of rows; those in `always`, as bits, are never NULL.
    fn variables(&self, always: u64) -> Vec<Named> {
        let columns = self.input.columns();
        let rows = SqlType::Row(columns.to_vec());
        let all: Vec<usize> = (0..columns.len()).collect();
        let variable = |(index, name): (u8, &String)| {
            let column = Column::new(name, rows.clone(), always >> index & 1 == 0);
            (column, Source::Last(index, all.clone()))
        };
        (0..).zip(&self.sequence.variables).map(variable).collect()
    }

    /// The input's columns.
    fn current(&self) -> Vec<Named> {
        let columns = self.input.columns().iter().enumerate();
        columns.map(|(index, column)| (column.clone(), Source::Current(index))).collect()
    }

    /// Compiles a condition: a bare column is the current row's, which the variable has taken already. None is returned
    /// only after a problem.
    pub fn condition(&self, node: &Node, problems: &mut Problems) -> Option<Compiled> {
        let mut group = self.current();
        group.extend(self.variables(0));
        let compiled = self.compile(&[node], &group, problems)?;
        match compiled.expressions[0].data_type() {
            SqlType::Boolean => Some(compiled),
            other => {
                problems.push(
                    Problem::error(node.at, format!("a condition is a BOOLEAN, and this is {other}"))
                        .help("compare it with something, for instance with = or IS NOT NULL"),
                );
                None
            }
        }
    }

    /// Compiles what is selected of a match, over the key's columns and the variables; those in `always`, as bits, have
    /// a row in every match. None is returned only after a problem.
    pub fn selected(
        &self,
        nodes: &[&Node],
        keys: Vec<Column>,
        always: u64,
        problems: &mut Problems,
    ) -> Option<Compiled> {
        let keys = keys.into_iter().enumerate();
        let mut group: Vec<Named> = keys.map(|(index, column)| (column, Source::Key(index))).collect();
        group.extend(self.variables(always));
        self.compile(nodes, &group, problems)
    }

    fn compile(&self, nodes: &[&Node], group: &[Named], problems: &mut Problems) -> Option<Compiled> {
        let mut inner = self.current();
        inner.extend(self.variables(u64::MAX));
        let (inner_all, group_all) = (schema_of(&inner), schema_of(group));
        let (mut calls, mut paths, mut complete) = (Vec::new(), Vec::new(), true);
        for node in nodes {
            let known = calls.len();
            let compiled = compile_one(node, &inner_all, &group_all, &mut calls, problems);
            let Some(expression) = compiled else {
                complete = false;
                continue;
            };
            complete &= self.check_whole_rows(node, &expression, problems);
            for call in &calls[known..] {
                complete &= self.check_call(node, call, problems);
            }
            paths.extend(expression.paths().iter().cloned());
        }
        if !complete {
            return None;
        }
        let in_calls: Vec<Vec<String>> = calls.iter().flat_map(|call| self.paths_of_call(call)).collect();
        let (inner, group) = (pruned(&inner, &in_calls, self.input), pruned(group, &paths, self.input));
        // Over fewer columns nothing is wrong that was right before, but to say so here costs nothing.
        let (inner_schema, group_schema, mut calls) = (schema_of(&inner), schema_of(&group), Vec::new());
        let mut again = |node: &&Node| {
            // COUNT(F.*) reads nothing, and still names its variable.
            compile_one(node, &with_names(&inner_schema, &inner_all), &group_schema, &mut calls, problems)
        };
        let expressions: Vec<Expr> = nodes.iter().map(&mut again).collect::<Option<_>>()?;
        let schema = result_schema(&group_schema, &calls);
        let view = View {
            schema,
            sources: group.into_iter().map(|(_, source)| source).collect(),
            calls: calls.iter().map(|call| self.row_call(call)).collect(),
            inner: Inner {
                schema: inner_schema,
                sources: inner.into_iter().map(|(_, source)| source).collect(),
            },
        };
        paths.extend(in_calls);
        let paths = paths.into_iter().filter_map(|path| self.path_in_input(path)).collect();
        Some(Compiled { expressions, view, paths })
    }

    /// The path in the input's row; none for a column of the key.
    fn path_in_input(&self, mut path: Vec<String>) -> Option<Vec<String>> {
        if self.sequence.index_of(&path[0]).is_some() {
            path.remove(0);
        }
        self.input.column(path.first()?).is_some().then_some(path)
    }

    /// Reports a variable that stands alone.
    fn check_whole_rows(&self, node: &Node, expression: &Expr, problems: &mut Problems) -> bool {
        let whole = expression.paths().iter().find(|path| self.is_whole_row(path));
        if let Some(path) = whole {
            problems.push(
                Problem::error(node.at, format!("`{}` is a variable, not a value", path[0]))
                    .help(format!("name one of its columns: {}.column", path[0])),
            );
        }
        whole.is_none()
    }

    fn is_whole_row(&self, path: &[String]) -> bool {
        path.len() == 1 && self.sequence.index_of(&path[0]).is_some()
    }

    /// Whether a call counts the rows of a variable.
    fn counts_rows(&self, call: &AggregateCall) -> bool {
        let [argument] = call.arguments.as_slice() else { return false };
        call.function == "COUNT"
            && !call.distinct
            && argument.as_column().is_some_and(|name| self.sequence.index_of(name).is_some())
    }

    /// What a call reads of its rows.
    fn paths_of_call(&self, call: &AggregateCall) -> Vec<Vec<String>> {
        let arguments = if self.counts_rows(call) { &[][..] } else { &call.arguments };
        let expressions = arguments.iter().chain(&call.filter);
        expressions.flat_map(|expression| expression.paths().iter().cloned()).collect()
    }

    /// The variable whose rows a call reads, none for all rows; or that it names several.
    fn variable_of_call(&self, call: &AggregateCall) -> Result<Option<u8>, ()> {
        let paths = call.arguments.iter().chain(&call.filter).flat_map(Expr::paths);
        let mut named: Vec<Option<u8>> = paths.map(|path| self.sequence.index_of(&path[0])).collect();
        named.dedup();
        if named.iter().any(|name| *name != named[0]) {
            return Err(());
        }
        Ok(named.first().copied().flatten())
    }

    fn check_call(&self, node: &Node, call: &AggregateCall, problems: &mut Problems) -> bool {
        let at = node.within(call.span.0, call.span.1);
        let mut wrong = |what: String, help: &str| {
            problems.push(Problem::error(at, what).help(help));
            false
        };
        let name = &call.function;
        if self.variable_of_call(call).is_err() {
            let help = "take the rows of one variable, as SUM(F.price), or of all, as SUM(price)";
            return wrong(format!("{name} reads the rows of several variables"), help);
        }
        let mut paths = self.paths_of_call(call).into_iter();
        if let Some(path) = paths.find(|path| self.is_whole_row(path)) {
            let help = format!("name one of its columns: {}.column", path[0]);
            return wrong(format!("`{}` is a variable, not a value", path[0]), &help);
        }
        if call.arguments.iter().chain(&call.filter).any(Expr::uses_clock) {
            return wrong(
                "the present time cannot be read here".to_owned(),
                "take the time in a step behind this one",
            );
        }
        if nth_of(call).is_some() && (call.filter.is_some() || call.distinct) {
            let help = "it is the value in one row, counted from an end: FIRST(F.price, 1)";
            return wrong(format!("{name} takes neither FILTER nor DISTINCT"), help);
        }
        true
    }

    fn row_call(&self, call: &AggregateCall) -> RowCall {
        let of = self.variable_of_call(call).unwrap_or_default();
        if let Some((from_last, offset)) = nth_of(call) {
            let arguments = call.arguments[..1].to_vec();
            return RowCall { of, what: What::Nth { from_last, offset }, arguments, filter: None };
        }
        let mut call = call.clone();
        if self.counts_rows(&call) {
            call.arguments.clear();
        }
        let what = What::Aggregate(call_of(&call, true, false));
        RowCall { of, what, arguments: call.arguments, filter: call.filter }
    }
}

/// Whether a call is FIRST or LAST: from which end it counts, and how far.
fn nth_of(call: &AggregateCall) -> Option<(bool, usize)> {
    let from_last = match call.function.as_str() {
        "FIRST" => false,
        "LAST" => true,
        _ => return None,
    };
    let offset = call.arguments.get(1).map_or(Some(0), offset_of);
    Some((from_last, offset.unwrap_or_default()))
}

/// How many rows an argument counts; none where it is no such number.
fn offset_of(argument: &Expr) -> Option<usize> {
    argument.constant_text()?.parse().ok().filter(|offset| *offset <= OFFSET_MAX)
}

/// What a call may be, and the type of its result.
fn resolve_call(name: &str, arguments: &[Expr], distinct: bool) -> Option<Result<(SqlType, bool), String>> {
    match name {
        "PREV" | "NEXT" => {
            let instead = "LAST(price, 1) is the row before it in the match, NULL in the match's first row";
            Some(Err(format!("{name} is not in this version; {instead}")))
        }
        "FIRST" | "LAST" => Some(match arguments {
            [value] if *value.data_type() != SqlType::Null => Ok((value.data_type().clone(), true)),
            [value, offset] if *value.data_type() != SqlType::Null => match offset_of(offset) {
                Some(_) => Ok((value.data_type().clone(), true)),
                None => Err(format!("{name} counts rows with a whole number from 0 to {OFFSET_MAX}")),
            },
            _ => Err(format!("{name} takes a value, and how many rows to count from that end")),
        }),
        _ => {
            let arguments: Vec<_> = arguments.iter().map(argument_of).collect();
            aggregate::resolve(name, &arguments, distinct, false)
        }
    }
}

/// Compiles one expression. None is returned only after a problem.
fn compile_one(
    node: &Node,
    inner: &Schema,
    group: &Schema,
    calls: &mut Vec<AggregateCall>,
    problems: &mut Problems,
) -> Option<Expr> {
    let Some(text) = node.expression() else {
        problems.error(node.at, format!("an SQL expression belongs here, not {}", node.kind()));
        return None;
    };
    let compiled = compile_aggregate(&without_stars(text), inner, group, &resolve_call, calls);
    compiled.map_err(|errors| report(node, errors.into_iter().map(reworded).collect(), problems)).ok()
}

/// An error in the words of this step.
fn reworded(mut error: ExprError) -> ExprError {
    if let Some(column) = error.what.strip_suffix(" has many values in a group") {
        let name = column.trim_matches('`').to_owned();
        error.what = format!("{column} has many values in a match");
        error.help = Some(format!("say of which row, for instance LAST({name}), or put it into `by`"));
    } else if error.what == "the present time cannot be read here" {
        error.help = Some("take the time in a step behind this one".to_owned());
    }
    error
}

/// The text with `F.*` written as `F`, and blanks in place of the rest, so that places stay as they are. Text in quotes
/// stays as it is.
fn without_stars(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    // The quote that is open, and the first character of the word that has come so far.
    let (mut quote, mut word) = (None, None);
    let is_name = |first: char| !first.is_numeric();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '`' => quote = Some(c),
            None if c == '.' && rest.as_str().starts_with('*') && word.is_some_and(is_name) => {
                made.push_str("  ");
                rest.next();
                word = None;
                continue;
            }
            None => {}
        }
        let in_word = quote.is_none() && (c.is_alphanumeric() || c == '_');
        word = in_word.then(|| word.unwrap_or(c));
        made.push(c);
    }
    made
}

fn schema_of(named: &[Named]) -> Schema {
    Schema::new(named.iter().map(|(column, _)| column.clone()).collect())
}

/// The columns of a schema, and behind them those of another that it has not: they may be named, and nothing is read.
fn with_names(schema: &Schema, all: &Schema) -> Schema {
    let missing = all.columns().iter().filter(|column| schema.column(&column.name).is_none());
    Schema::new(schema.columns().iter().chain(missing).cloned().collect())
}

/// Those of the columns that the paths begin with, and of the rows of variables only the fields that the paths name; all
/// columns of the key.
fn pruned(named: &[Named], paths: &[Vec<String>], input: &Schema) -> Vec<Named> {
    let kept = named.iter().filter_map(|(column, source)| {
        let mut of_column = paths.iter().filter(|path| path[0] == column.name).peekable();
        match source {
            Source::Key(_) => Some((column.clone(), source.clone())),
            _ if of_column.peek().is_none() => None,
            Source::Current(_) => Some((column.clone(), source.clone())),
            Source::Last(variable, _) => {
                let fields: Vec<&String> = of_column.filter_map(|path| path.get(1)).collect();
                let is_read = |index: &usize| fields.contains(&&input.columns()[*index].name);
                let positions: Vec<usize> = (0..input.columns().len()).filter(is_read).collect();
                let columns = positions.iter().map(|position| input.columns()[*position].clone());
                let column = Column { data_type: SqlType::Row(columns.collect()), ..column.clone() };
                Some((column, Source::Last(*variable, positions)))
            }
        }
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_become_blanks() {
        let check = |text: &str, expect: &str| {
            assert_eq!(without_stars(text), expect, "{text}");
            assert_eq!(text.len(), expect.len());
        };
        check("COUNT(F.*) > 1", "COUNT(F  ) > 1");
        check("COUNT(_é1.*)", "COUNT(_é1  )");
        check("COUNT(*) + 2.*F.x", "COUNT(*) + 2.*F.x");
        check("'F.*' || `F.*` || F.*", "'F.*' || `F.*` || F  ");
        check("'it''s F.*' = F.a*2", "'it''s F.*' = F.a*2");
        check("F .* F.", "F .* F.");
    }
}
