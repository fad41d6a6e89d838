//! The step resolved against its input: names, types, expressions, and the parts that run.

use std::sync::Arc;

use super::options::{Over, TimeOfRow};
use super::tally::Aggregate;
use super::{Declared, counted, retime, running, session, sliced};
use crate::aggregate::{self, Argument, function};
use crate::error::{Problem, Problems};
use crate::expr::{AggregateCall, Expr, compile_at, result_schema};
use crate::operator::block_order;
use crate::operator::by::Keys;
use crate::operator::late::{Lateness, Side};
use crate::operator::prepared::warn_of_order;
use crate::operator::project::{self, Output};
use crate::operator::selected::{self, Selected, argument_of, call_of};
use crate::operator::{Build, Changelog, Flow, Part, Resolved, Sends, SideStream, Step, WindowColumns};
use crate::record::{Column, Paths, Schema, SqlType};
use crate::time::duration_text;

/// The columns that every window in time adds to its groups.
const WINDOW_START: &str = "window_start";
const WINDOW_END: &str = "window_end";

/// The projection before the keyed operator: the columns it makes, and what it needs of the input.
#[derive(Default)]
struct Projection {
    columns: Vec<(String, Output)>,
    needs: Paths,
}

/// The expression that a window goes by, where it is not the event time.
struct RowTime(Option<Expr>);

impl Step for Declared {
    fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved> {
        let time = self.resolve_time(input, problems);
        let keys = self.by.resolve(&input.schema, problems);
        let columns = keys.as_ref().map_or_else(Vec::new, |keys| self.group_columns(keys, input));
        let groups = Schema::new(columns);
        let selected = self.resolve_select(input, &groups, problems)?;
        let (keys, RowTime(time)) = (keys?, time?);
        self.check_names(problems)?;
        Some(self.assemble(input, &keys, time, &groups, selected))
    }
}

impl Declared {
    fn is_in_time(&self) -> bool {
        matches!(self.window.over, Over::Fixed(_) | Over::Session(_))
    }

    fn by_wall_clock(&self) -> bool {
        matches!(self.window.time, TimeOfRow::WallClock)
    }

    /// Whether rows have event times behind the step.
    fn is_timed(&self, input: &Flow) -> bool {
        self.is_in_time() || input.event_time.is_some()
    }

    /// The expression that the window goes by, where it is not the event time.
    fn resolve_time(&self, input: &Flow, problems: &mut Problems) -> Option<RowTime> {
        if let Over::Fixed(_) | Over::Session(_) | Over::Count(_) = self.window.over {
            input.refuse_changelog("aggregate with a window", self.at, problems)?;
        }
        let needs_time = match self.window.over {
            Over::Fixed(_) | Over::Session(_) => !self.by_wall_clock(),
            Over::Running(ttl_ms) => ttl_ms.is_some(),
            Over::Count(_) => false,
        };
        if needs_time && input.event_time.is_none() {
            let what =
                if self.is_in_time() { "a window of event time" } else { "`ttl`, a span of event time," };
            problems.push(
                Problem::error(self.at, format!("{what} needs rows with event times, and these have none"))
                    .help(format!("{}, or use window: {{ …, time: processing }}", input.untimed.help())),
            );
            return None;
        }
        if matches!(self.window.over, Over::Count(_)) && !input.ordered {
            problems.push(
                Problem::warning(self.at, "the rows here arrive in no defined order: which of them share a window of so many rows depends on the number of cores")
                    .help("count rows before the step that regroups them, or use a window in time"),
            );
        }
        let TimeOfRow::Expression(node) = &self.window.time else {
            return Some(RowTime(None));
        };
        let time = compile_at(node, &input.schema, problems)?;
        match time.data_type() {
            SqlType::Timestamp(_) | SqlType::TimestampLtz(_) => Some(RowTime(Some(time))),
            other => {
                problems.push(
                    Problem::error(node.at, format!("a window goes by a timestamp, and this is {other}"))
                        .help("name a TIMESTAMP column, or write time: processing"),
                );
                None
            }
        }
    }

    /// Whether a window is merged from several slices, in steps that depend on the number of shards.
    fn merges_slices(&self) -> bool {
        matches!(self.window.over, Over::Fixed(windows) if windows.slices() > 1)
    }

    /// The keys, and for windows in time `window_start` and `window_end`.
    fn group_columns(&self, keys: &Keys, input: &Flow) -> Vec<Column> {
        let keys = keys.columns.iter();
        let mut columns: Vec<Column> = keys
            .map(|(name, key)| Column::new(name.clone(), key.data_type().clone(), key.nullable()))
            .collect();
        if self.is_in_time() {
            let time = match &input.event_time {
                Some(SqlType::Timestamp(_)) => SqlType::Timestamp(3),
                _ => SqlType::TimestampLtz(3),
            };
            columns.extend([WINDOW_START, WINDOW_END].map(|name| Column::new(name, time.clone(), false)));
        }
        columns
    }

    fn resolve_select(&self, input: &Flow, groups: &Schema, problems: &mut Problems) -> Option<Selected> {
        let retracts = input.changelog.is_some();
        let resolve = |name: &str, arguments: &[Expr], distinct: bool| {
            let arguments: Vec<Argument> = arguments.iter().map(argument_of).collect();
            aggregate::resolve(name, &arguments, distinct, retracts)
        };
        let found = |call: &AggregateCall, at, problems: &mut Problems| {
            if function(&call.function).is_some_and(|function| function.by_order) {
                warn_of_order(input, &call.function, at, problems);
            }
        };
        Selected::compile(&self.select, &input.schema, groups, &resolve, found, problems)
    }

    /// Every name of the output once.
    fn check_names(&self, problems: &mut Problems) -> Option<()> {
        let mut taken: Vec<&str> =
            if self.is_in_time() { vec![WINDOW_START, WINDOW_END] } else { Vec::new() };
        let mut complete = true;
        for key in self.by.names().chain(self.select.iter().map(|(key, _)| key)) {
            if taken.contains(&key.text.as_str()) {
                problems.push(
                    Problem::error(key.at, format!("the output already has a column `{}`", key.text))
                        .help("keys, window_start and window_end are there without being selected"),
                );
                complete = false;
            }
            taken.push(&key.text);
        }
        complete.then_some(())
    }

    fn assemble(
        &self,
        input: &Flow,
        keys: &Keys,
        time: Option<Expr>,
        groups: &Schema,
        selected: Selected,
    ) -> Resolved {
        let mut projection = Projection::default();
        for (name, key) in &keys.columns {
            projection.expression(name.clone(), key.clone());
        }
        let results = result_schema(groups, &selected.calls);
        let names = selected.names_of_results();
        let calls = selected.calls.into_iter().enumerate();
        let ordered = input.ordered && !self.merges_slices();
        let aggregates = calls.map(|(index, call)| projection.call(index, call, input, ordered)).collect();
        let lateness = self.lateness(input, &mut projection);
        let side = match (&self.late.to, &lateness.side) {
            (Some((name, at)), Some(side)) => {
                vec![SideStream { name: name.clone(), at: *at, schema: side.schema.clone() }]
            }
            _ => Vec::new(),
        };
        let operator = self.operator(input, keys, aggregates, names, &results, lateness);
        let outputs = outputs(groups, selected.columns);
        let output = project::schema_of(&outputs, &results);
        let mut parts = Vec::new();
        if let Some(time) = time {
            projection.needs.extend(time.paths());
            let description = format!("the window's time is {}", self.window.text);
            parts.push(Part::Operator(retime::build(time, input.schema.clone(), description)));
        }
        let description = format!("evaluate the keys ({}) and the aggregates' arguments", keys.describe());
        let schema = project::schema_of(&projection.columns, &input.schema);
        parts.extend([
            project::part("aggregate", description, input.schema.clone(), schema, projection.columns),
            Part::Exchange { columns: (0..keys.columns.len()).collect(), codec: keys.codec.clone() },
        ]);
        if matches!(self.window.over, Over::Session(_)) && !self.by_wall_clock() && !input.ordered {
            parts.push(Part::Operator(block_order::build()));
        }
        parts.push(Part::Operator(operator));
        let description = format!("select {}", column_names(&output));
        parts.push(project::part("aggregate", description, results, output.clone(), outputs));
        let needs = projection.needs;
        Resolved {
            output: self.output(input, keys, output),
            side,
            parts,
            required: Box::new(move |_| needs.clone()),
        }
    }

    /// The rows behind the step.
    fn output(&self, input: &Flow, keys: &Keys, schema: Schema) -> Flow {
        let mut key: Vec<String> = keys.columns.iter().map(|(name, _)| name.clone()).collect();
        let window = self.is_in_time().then(|| WindowColumns {
            start: Some(WINDOW_START.to_owned()),
            end: Some(WINDOW_END.to_owned()),
        });
        if self.is_in_time() {
            key.extend([WINDOW_START, WINDOW_END].map(str::to_owned));
        }
        let running = matches!(self.window.over, Over::Running(_));
        let corrects = running && input.sends != Sends::FinalRows || self.late.allow_ms > 0;
        let event_time = match &input.event_time {
            None if self.is_in_time() => Some(SqlType::TimestampLtz(3)),
            known => known.clone(),
        };
        let changelog = corrects.then_some(Changelog { key: Some(key) });
        let time_columns = self.is_in_time().then(|| vec![WINDOW_END.to_owned()]);
        Flow { schema, event_time, time_columns, ordered: false, window, changelog, ..input.clone() }
    }

    fn lateness(&self, input: &Flow, projection: &mut Projection) -> Lateness {
        let side = self.late.to.as_ref().map(|(name, _)| Side {
            stream: Arc::from(name.as_str()),
            columns: projection.all_of(&input.schema),
            schema: input.schema.clone(),
        });
        Lateness { allow_ms: self.late.allow_ms, side }
    }

    fn operator(
        &self,
        input: &Flow,
        keys: &Keys,
        aggregates: Vec<Aggregate>,
        names: Vec<String>,
        results: &Schema,
        lateness: Lateness,
    ) -> Build {
        let positions: Vec<usize> = (0..keys.columns.len()).collect();
        let (codec, output) = (keys.codec.clone(), results.clone());
        let state = &self.name;
        let by_wall_clock = self.by_wall_clock();
        let every_change = input.sends == Sends::EachChange;
        let timed = self.is_timed(input);
        let description = self.describe(input.sends);
        match self.window.over {
            Over::Fixed(windows) => sliced::build(
                sliced::Spec {
                    keys: positions,
                    codec,
                    windows,
                    aggregates,
                    names,
                    output,
                    lateness,
                    by_wall_clock,
                    every_change,
                },
                description,
                state,
            ),
            Over::Session(gap_ms) => session::build(
                session::Spec {
                    keys: positions,
                    codec,
                    gap_ms,
                    aggregates,
                    names,
                    output,
                    lateness,
                    by_wall_clock,
                },
                description,
                state,
            ),
            Over::Count(rows) => counted::build(
                counted::Spec { keys: positions, codec, rows, aggregates, names, output, timed },
                description,
                state,
            ),
            Over::Running(ttl_ms) => running::build(
                running::Spec {
                    keys: positions,
                    codec,
                    aggregates,
                    names,
                    output,
                    ttl_ms,
                    retracts: input.changelog.is_some(),
                    timed,
                    sends: input.sends,
                },
                description,
                state,
            ),
        }
    }

    /// What the keyed operator does, for `explain`.
    fn describe(&self, sends: Sends) -> String {
        let mut parts =
            vec![format!("aggregate {}{}", selected::describe(&self.select), self.describe_window(sends))];
        if self.by_wall_clock() {
            parts.push("by the wall clock: the rows depend on when the pipeline runs".to_owned());
        }
        if self.late.allow_ms > 0 {
            parts.push(format!(
                "for {} behind its end late rows correct a window",
                duration_text(self.late.allow_ms)
            ));
        }
        match &self.late.to {
            Some((name, _)) => parts.push(format!("late rows go to `{name}`")),
            None if self.is_in_time() && !self.by_wall_clock() => {
                parts.push("late rows are counted and dropped".to_owned());
            }
            None => {}
        }
        parts.join("; ")
    }

    fn describe_window(&self, sends: Sends) -> String {
        match self.window.over {
            Over::Running(None) => format!(" over all rows so far, kept for ever, {}", sends.describe()),
            Over::Running(Some(ttl_ms)) => format!(
                " over all rows so far, {}; a key without a row for {} is forgotten",
                sends.describe(),
                duration_text(ttl_ms)
            ),
            _ => format!(" over windows: {}", self.window.text),
        }
    }
}

impl Projection {
    /// Adds a column; its position.
    fn expression(&mut self, name: String, expression: Expr) -> usize {
        self.needs.extend(expression.paths());
        self.columns.push((name, Output::Expression(expression)));
        self.columns.len() - 1
    }

    /// Adds the arguments and the filter of a call; `ordered` as in [`aggregate::Call::ordered`].
    fn call(&mut self, index: usize, call: AggregateCall, input: &Flow, ordered: bool) -> Aggregate {
        let known = call_of(&call, ordered, input.changelog.is_some());
        // The accumulator knows constants such as a separator from the call.
        let columns = call.arguments.into_iter().enumerate();
        let columns = columns.filter(|(n, argument)| *n == 0 || argument.constant_text().is_none());
        let arguments =
            columns.map(|(n, argument)| self.expression(format!("${index}.{n}"), argument)).collect();
        let filter = call.filter.map(|filter| self.expression(format!("${index}.filter"), filter));
        Aggregate { call: known, arguments, filter }
    }

    /// Adds all columns of the input as they are; their positions.
    fn all_of(&mut self, input: &Schema) -> Vec<usize> {
        let from = self.columns.len();
        self.needs
            .extend(&input.columns().iter().map(|column| vec![column.name.clone()]).collect::<Vec<_>>());
        let columns = input.columns().iter().enumerate();
        self.columns
            .extend(columns.map(|(index, column)| (format!("late.{}", column.name), Output::Column(index))));
        (from..self.columns.len()).collect()
    }
}

/// The names of columns, for `explain`.
fn column_names(schema: &Schema) -> String {
    schema.columns().iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The group's columns as they are, then the selected expressions.
fn outputs(groups: &Schema, selected: Vec<(String, Expr)>) -> Vec<(String, Output)> {
    let groups = groups.columns().iter().enumerate();
    let groups = groups.map(|(index, column)| (column.name.clone(), Output::Column(index)));
    groups
        .chain(selected.into_iter().map(|(name, expression)| (name, Output::Expression(expression))))
        .collect()
}
