//! `aggregate`: groups rows by key and window, and computes aggregates over each group.
//!
//! The step becomes four parts: a projection in the stage before (keys, arguments, filters: so that an expression that
//! fails still knows its record's raw bytes, and only what is needed is moved), the exchange by key, the keyed operator
//! ([`super::window_aggregate`]), and a projection of the selected expressions over the aggregates' results.

use super::project::{self, Output};
use super::select::named_expressions;
use super::window_aggregate::{self, Aggregate};
use super::{Flow, Part, Resolved, Step, Verb};
use crate::aggregate::{Argument, Call, function};
use crate::error::{Place, Problem, Problems, Severity};
use crate::expr::{AggregateCall, Expr, compile_aggregate, compile_at, report, result_schema};
use crate::record::{Column, KeyCodec, Paths, Schema, SqlType};
use crate::window::Tumbling;
use crate::yaml::{Fields, Key, Node, duration_ms};

/// The entry in the registry.
pub(super) const VERB: Verb = Verb {
    name: "aggregate",
    summary: "groups rows by key and window: `by`, `window`, `select`; yields the keys, window_start, window_end and the selected names",
    example: "aggregate: { name: sums, by: channel, window: { tumbling: 10s }, select: { total: SUM(price), rows: COUNT(*) } }",
    parse,
};

/// The columns that every window adds to its groups.
const WINDOW_START: &str = "window_start";
const WINDOW_END: &str = "window_end";

#[derive(Debug)]
struct Declared {
    at: Place,
    keys: Vec<(Key, Node)>,
    window: Tumbling,
    window_text: String,
    select: Vec<(Key, Node)>,
}

fn parse(node: &Node, at: Place, problems: &mut Problems) -> Option<Box<dyn Step>> {
    let mut fields = Fields::of(node, "aggregate", problems);
    let before = problems.all().len();
    let name = fields.text("name", problems);
    if name.is_none() {
        problems.push(
            Problem::warning(at, "this step keeps state and has no name")
                .help("add `name: …`: the name is the state's identity when the file is edited"),
        );
    }
    let keys = fields.take("by").map(|by| keys(by, problems)).unwrap_or_default();
    let window = match fields.take("window") {
        Some(window) => parse_window(window, problems),
        None => {
            problems.push(Problem::error(at, "`aggregate` needs a `window`").help(
                "write for instance window: { tumbling: 10s }; running aggregates are not in this version",
            ));
            None
        }
    };
    let select =
        fields.required("select", problems).and_then(|node| named_expressions(node, "select", problems));
    fields.finish(problems);
    let (window, window_text) = window?;
    let select = select?;
    let failed = problems.all()[before..].iter().any(|problem| problem.severity == Severity::Error);
    (!failed).then(|| Box::new(Declared { at, keys, window, window_text, select }) as Box<dyn Step>)
}

/// `by: a`, `by: [a, b.c]` or `by: { name: expression }`; a path is named after its last part.
fn keys(by: &Node, problems: &mut Problems) -> Vec<(Key, Node)> {
    if let Some(entries) = by.map() {
        return entries.to_vec();
    }
    let items: Vec<&Node> = by.list().map_or_else(|| vec![by], |items| items.iter().collect());
    let mut keys = Vec::new();
    for item in items {
        let is_path = |text: &str| {
            text.split('.').all(|part| {
                part.chars().all(|c| c.is_alphanumeric() || c == '_')
                    && !part.starts_with(|c: char| c.is_ascii_digit())
            })
        };
        match item.expression() {
            Some(text) if is_path(text) => {
                let name = text.rsplit('.').next().unwrap_or(text);
                keys.push((Key { text: name.to_owned(), at: item.at }, item.clone()));
            }
            Some(text) => problems.push(
                Problem::error(item.at, "a key that is an expression needs a name")
                    .help(format!("write by: {{ name: \"{text}\" }}")),
            ),
            None => problems.error(item.at, format!("`by` takes columns, not {}", item.kind())),
        }
    }
    keys
}

fn parse_window(node: &Node, problems: &mut Problems) -> Option<(Tumbling, String)> {
    let mut fields = Fields::of(node, "window", problems);
    let at = fields.at();
    for later in ["sliding", "every", "cumulative", "session", "time", "rows"] {
        if let Some(found) = node.map().and_then(|entries| entries.iter().find(|(key, _)| key.text == later))
        {
            problems.push(
                Problem::error(found.0.at, format!("`{later}` windows are not in this version"))
                    .help("use window: { tumbling: 10s }"),
            );
            return None;
        }
    }
    let size = fields.required("tumbling", problems);
    let size_ms = size.and_then(|size| duration_ms(size, problems));
    let offset_ms = fields.duration_ms("offset", problems).unwrap_or(0);
    fields.finish(problems);
    let size_ms = size_ms?;
    if size_ms < 1 {
        problems.error(at, "a window is at least 1ms long");
        return None;
    }
    let offset = if offset_ms == 0 { String::new() } else { format!(", offset {offset_ms}ms") };
    Some((Tumbling::new(size_ms, offset_ms), format!("tumbling {size_ms}ms{offset}")))
}

impl Step for Declared {
    fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved> {
        let Some(event_time) = &input.event_time else {
            problems.push(
                Problem::error(self.at, "a window in event time needs the source to declare one")
                    .help("add event_time: { column: … } to the source"),
            );
            return None;
        };
        let keys = self.resolve_keys(&input.schema, problems);
        let groups = keys.as_ref().map_or_else(Vec::new, |keys| group_columns(keys, event_time));
        let groups = Schema::new(groups);
        let (calls, selected) = self.resolve_select(&input.schema, &groups, problems)?;
        let keys = keys?;
        self.check_names(&keys, problems)?;
        let codec = KeyCodec::new(keys.iter().map(|(_, key)| key.data_type().clone()).collect());
        let codec = match codec {
            Ok(codec) => codec,
            Err(data_type) => {
                let wrong = keys.iter().position(|(_, key)| *key.data_type() == data_type);
                let at = wrong.map_or(self.at, |key| self.keys[key].1.at);
                problems.push(
                    Problem::error(at, format!("{data_type} cannot be a key"))
                        .help("group by its fields or elements"),
                );
                return None;
            }
        };
        Some(self.assemble(input, &keys, codec, &groups, calls, selected))
    }
}

impl Declared {
    fn resolve_keys(&self, schema: &Schema, problems: &mut Problems) -> Option<Vec<(String, Expr)>> {
        let compiled: Vec<Option<(String, Expr)>> = self
            .keys
            .iter()
            .map(|(key, node)| Some((key.text.clone(), compile_at(node, schema, problems)?)))
            .collect();
        compiled.into_iter().collect()
    }

    #[expect(clippy::type_complexity, reason = "the calls, and the columns made of them")]
    fn resolve_select(
        &self,
        input: &Schema,
        groups: &Schema,
        problems: &mut Problems,
    ) -> Option<(Vec<AggregateCall>, Vec<(String, Expr)>)> {
        let (mut calls, mut selected, mut complete) = (Vec::new(), Vec::new(), true);
        for (key, node) in &self.select {
            let Some(text) = node.expression() else {
                problems.error(node.at, format!("an SQL expression belongs here, not {}", node.kind()));
                complete = false;
                continue;
            };
            match compile_aggregate(text, input, groups, &resolve_function, &mut calls) {
                Ok(expression) => selected.push((key.text.clone(), expression)),
                Err(errors) => {
                    report(node, errors, problems);
                    complete = false;
                }
            }
        }
        complete.then_some((calls, selected))
    }

    /// Every name of the output once.
    fn check_names(&self, keys: &[(String, Expr)], problems: &mut Problems) -> Option<()> {
        let mut taken: Vec<&str> = vec![WINDOW_START, WINDOW_END];
        let mut complete = true;
        let named = self.keys.iter().zip(keys).map(|((key, _), (name, _))| (name.as_str(), key.at));
        for (name, at) in named.chain(self.select.iter().map(|(key, _)| (key.text.as_str(), key.at))) {
            if taken.contains(&name) {
                problems.push(
                    Problem::error(at, format!("the output already has a column `{name}`"))
                        .help("keys, window_start and window_end are there without being selected"),
                );
                complete = false;
            }
            taken.push(name);
        }
        complete.then_some(())
    }

    fn assemble(
        &self,
        input: &Flow,
        keys: &[(String, Expr)],
        codec: KeyCodec,
        groups: &Schema,
        calls: Vec<AggregateCall>,
        selected: Vec<(String, Expr)>,
    ) -> Resolved {
        let mut needs = Paths::default();
        let mut prepared: Vec<(String, Output)> = Vec::new();
        let mut prepare = |name: String, expression: Expr| {
            needs.extend(expression.paths());
            prepared.push((name, Output::Expression(expression)));
            prepared.len() - 1
        };
        for (name, key) in keys {
            prepare(name.clone(), key.clone());
        }
        let mut aggregates = Vec::new();
        let result_schema = result_schema(groups, &calls);
        for (index, call) in calls.into_iter().enumerate() {
            let known = call.arguments.iter().map(argument_of).collect();
            let arguments = call.arguments.into_iter().enumerate();
            let arguments =
                arguments.map(|(n, argument)| prepare(format!("${index}.{n}"), argument)).collect();
            let filter = call.filter.map(|filter| prepare(format!("${index}.filter"), filter));
            let function = function(&call.function).expect("resolved by the registry").name;
            let call = Call {
                function,
                arguments: known,
                result: call.data_type,
                ordered: input.ordered,
                retracts: false,
                distinct: call.distinct,
            };
            aggregates.push(Aggregate { call, arguments, filter });
        }
        let prepared_schema = project::schema_of(&prepared, &input.schema);
        let outputs = outputs(groups, selected);
        let output_schema = project::schema_of(&outputs, &result_schema);
        let operator = window_aggregate::build(
            window_aggregate::Spec {
                keys: (0..keys.len()).collect(),
                codec: codec.clone(),
                window: self.window,
                aggregates,
                output: result_schema.clone(),
            },
            format!("aggregate {} over {}", self.describe_select(), self.window_text),
        );
        let by = if keys.is_empty() { "one global group".to_owned() } else { names(keys) };
        Resolved {
            output: Flow { schema: output_schema.clone(), ordered: false, ..input.clone() },
            side: Vec::new(),
            parts: vec![
                project::part(
                    "aggregate",
                    format!("evaluate the keys ({by}) and the aggregates' arguments"),
                    input.schema.clone(),
                    prepared_schema,
                    prepared,
                ),
                Part::Exchange { columns: (0..keys.len()).collect(), codec },
                Part::Operator(operator),
                project::part(
                    "aggregate",
                    format!("select {}", self.describe_select()),
                    result_schema,
                    output_schema,
                    outputs,
                ),
            ],
            required: Box::new(move |_| needs.clone()),
        }
    }

    fn describe_select(&self) -> String {
        let texts = self.select.iter().map(|(_, node)| node.expression().unwrap_or_default().to_owned());
        texts.collect::<Vec<_>>().join(", ")
    }
}

fn names(keys: &[(String, Expr)]) -> String {
    keys.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The keys, `window_start` and `window_end`.
fn group_columns(keys: &[(String, Expr)], event_time: &SqlType) -> Vec<Column> {
    let time = match event_time {
        SqlType::TimestampLtz(_) => SqlType::TimestampLtz(3),
        _ => SqlType::Timestamp(3),
    };
    let keys =
        keys.iter().map(|(name, key)| Column::new(name.clone(), key.data_type().clone(), key.nullable()));
    let windows = [WINDOW_START, WINDOW_END].map(|name| Column::new(name, time.clone(), false));
    keys.chain(windows).collect()
}

fn resolve_function(
    name: &str,
    arguments: &[Expr],
    distinct: bool,
) -> Option<Result<(SqlType, bool), String>> {
    let function = function(name)?;
    if distinct {
        return Some(Err(format!("{name}(DISTINCT …) is not in this version")));
    }
    let arguments: Vec<Argument> = arguments.iter().map(argument_of).collect();
    Some((function.resolve)(&arguments))
}

/// An argument as the registry of aggregates knows it.
fn argument_of(argument: &Expr) -> Argument {
    Argument {
        data_type: argument.data_type().clone(),
        nullable: argument.nullable(),
        constant: argument.constant_text(),
    }
}

/// The group's columns as they are, then the selected expressions.
fn outputs(groups: &Schema, selected: Vec<(String, Expr)>) -> Vec<(String, Output)> {
    let groups = groups.columns().iter().enumerate();
    let groups = groups.map(|(index, column)| (column.name.clone(), Output::Column(index)));
    groups
        .chain(selected.into_iter().map(|(name, expression)| (name, Output::Expression(expression))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::verify::check;

    const AT: [&str; 4] = [
        r#"{"channel":"a","price":1,"at":"2026-01-01T00:00:01"}"#,
        r#"{"channel":"b","price":2,"at":"2026-01-01T00:00:02"}"#,
        r#"{"channel":"a","price":3,"at":"2026-01-01T00:00:09.999"}"#,
        r#"{"channel":"a","price":4,"at":"2026-01-01T00:00:10"}"#,
    ];

    #[test]
    fn groups_by_key_and_window() {
        check(
            "aggregate: { name: s, by: channel, window: { tumbling: 10s }, select: { n: COUNT(*), total: SUM(price) } }",
            &AT,
            &[
                r#"{"channel":"a","window_start":"2026-01-01T00:00:00","window_end":"2026-01-01T00:00:10","n":2,"total":4}"#,
                r#"{"channel":"b","window_start":"2026-01-01T00:00:00","window_end":"2026-01-01T00:00:10","n":1,"total":2}"#,
                r#"{"channel":"a","window_start":"2026-01-01T00:00:10","window_end":"2026-01-01T00:00:20","n":1,"total":4}"#,
            ],
        );
    }

    #[test]
    fn a_late_row_is_dropped_and_counted() {
        // The harness allows one second of disorder.
        check(
            "aggregate: { name: s, window: { tumbling: 10s }, select: { n: COUNT(*) } }",
            &[
                r#"{"at":"2026-01-01T00:00:05"}"#,
                r#"{"at":"2026-01-01T00:00:10.998"}"#,
                r#"{"at":"2026-01-01T00:00:06"}"#,
                r#"{"at":"2026-01-01T00:00:10.999"}"#,
                r#"{"at":"2026-01-01T00:00:07"}"#,
            ],
            &[
                r#"{"window_start":"2026-01-01T00:00:00","window_end":"2026-01-01T00:00:10","n":2}"#,
                r#"{"window_start":"2026-01-01T00:00:10","window_end":"2026-01-01T00:00:20","n":2}"#,
                "late: 1",
            ],
        );
    }

    #[test]
    fn expressions_over_aggregates_filters_and_null_keys() {
        check(
            "aggregate: { name: s, by: { c: UPPER(channel) }, window: { tumbling: 1d }, \
             select: { share: 100 * COUNT(*) FILTER (WHERE price > 1) / COUNT(*), avg: AVG(price) } }",
            &[
                r#"{"channel":"a","price":1,"at":"2026-01-01T00:00:01"}"#,
                r#"{"channel":null,"price":5,"at":"2026-01-01T00:00:01"}"#,
                r#"{"channel":"A","price":4,"at":"2026-01-01T00:00:01"}"#,
            ],
            &[
                r#"{"c":"A","window_start":"2026-01-01T00:00:00","window_end":"2026-01-02T00:00:00","share":50,"avg":2}"#,
                r#"{"c":null,"window_start":"2026-01-01T00:00:00","window_end":"2026-01-02T00:00:00","share":100,"avg":5}"#,
            ],
        );
    }
}
