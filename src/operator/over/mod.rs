//! `over`: gives every row the aggregates of the rows of its key before it, as SQL's `OVER` does.
//!
//! The step becomes up to four parts: a projection in the stage before (keys, arguments, filters: so that an expression
//! that fails still knows its record's raw bytes), the exchange by key, the keyed operator ([`operator`]),
//! and a projection of the selected expressions over the row and the aggregates' results.

mod frame;
#[cfg(test)]
mod model;
mod operator;
mod saved;

use crate::aggregate::{self, Argument, function};
use crate::error::{Place, Problem, Problems, Severity};
use crate::expr::{AggregateCall, Expr, result_schema};
use crate::operator::aggregate::tally::Aggregate;
use crate::operator::by::{By, Keys};
use crate::operator::late::{Lateness, Side};
use crate::operator::prepared::{Prepared, all_columns, state_name};
use crate::operator::project::{self, Output};
use crate::operator::saved::StateKey;
use crate::operator::select::named_expressions;
use crate::operator::selected::{self, Selected, argument_of, call_of};
use crate::operator::waiting::check_comparable;
use crate::operator::{Flow, Part, Resolved, SideStream, Step, Verb};
use crate::record::{Schema, SqlType};
use crate::time::duration_text;
use crate::yaml::{self, Fields, Node};
use frame::Extent;

/// The entry in the registry.
pub(super) const VERB: Verb = Verb {
    name: "over",
    summary: "adds aggregates to every row, over it and the rows of its key (`by`) before it in event time: the last `rows`, those within `range`, or all; `select`, `late: { to }`",
    example: "over: { name: running, by: user, range: 1h, select: { total: SUM(price), share: price / SUM(price) } }",
    parse,
};

#[derive(Debug)]
struct Declared {
    at: Place,
    name: String,
    by: By,
    extent: Extent,
    extent_text: String,
    select: Vec<(yaml::Key, Node)>,
    /// The stream of late rows, and where it is named.
    late: Option<(String, Place)>,
}

fn parse(node: &Node, at: Place, problems: &mut Problems) -> Option<Box<dyn Step>> {
    let before = problems.all().len();
    let mut fields = Fields::of(node, "over", problems);
    let name = state_name(&mut fields, "over", at, problems);
    let by = By::parse_unnamed(&mut fields, "by", problems);
    let extent = parse_extent(&mut fields, problems);
    let select =
        fields.required("select", problems).and_then(|node| named_expressions(node, "select", problems));
    let late = fields.entry("late").map(|(key, node)| {
        let mut fields = Fields::under(key, node, "late", problems);
        let to = fields.required("to", problems).map(|node| node.at);
        let stream = fields.text("to", problems).map(str::to_owned);
        fields.finish(problems);
        stream.zip(to)
    });
    fields.finish(problems);
    let (extent, extent_text) = extent?;
    let (by, select) = (by?, select?);
    let failed = problems.all()[before..].iter().any(|problem| problem.severity == Severity::Error);
    let late = late.flatten();
    (!failed).then(|| Box::new(Declared { at, name, by, extent, extent_text, select, late }) as Box<dyn Step>)
}

/// `rows: n`, `range: d`, or neither; with a description.
fn parse_extent(fields: &mut Fields, problems: &mut Problems) -> Option<(Extent, String)> {
    let rows = fields.take("rows").map(|_| fields.whole("rows", 1, 1_000_000_000, problems));
    let range = fields.entry("range").map(|(key, node)| (key.at, yaml::duration_ms(node, problems)));
    match (rows, range) {
        (Some(_), Some((at, _))) => {
            problems.push(
                Problem::error(at, "`over` takes `rows` or `range`, not both")
                    .help("rows: 10 counts rows, range: 1h measures event time"),
            );
            None
        }
        (Some(rows), None) => {
            let rows = usize::try_from(rows?).expect("within 64 bits");
            let text = if rows == 1 { "the row itself".to_owned() } else { format!("the last {rows} rows") };
            Some((Extent::Rows(rows), text))
        }
        (None, Some((_, range_ms))) => {
            let range_ms = range_ms?;
            Some((Extent::Range(range_ms), format!("the last {}", duration_text(range_ms))))
        }
        (None, None) => Some((Extent::All, "all rows so far".to_owned())),
    }
}

impl Step for Declared {
    fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved> {
        let timed = input.require_event_time("over", self.at, problems);
        let stays = input.refuse_changelog("over", self.at, problems);
        let key = self.by.resolve(&input.schema, problems);
        let selected = self.resolve_select(&input.schema, problems);
        let comparable = check_comparable(input, self.at, problems);
        stays.and(comparable).and(timed)?;
        Some(self.assemble(input, &key?, selected?))
    }
}

impl Declared {
    fn resolve_select(&self, input: &Schema, problems: &mut Problems) -> Option<Selected> {
        let taken = self.select.iter().filter(|(key, _)| input.column(&key.text).is_some());
        let mut complete = true;
        for (key, _) in taken {
            problems.push(
                Problem::error(key.at, format!("the row already has a column `{}`", key.text))
                    .help("`over` keeps all columns of the row: take another name"),
            );
            complete = false;
        }
        let sliding = self.extent != Extent::All;
        let resolve = |name: &str, arguments: &[Expr], distinct: bool| {
            resolve_function(name, arguments, distinct, sliding)
        };
        Selected::compile(&self.select, input, input, &resolve, |_, _, _| {}, problems).filter(|_| complete)
    }

    fn assemble(&self, input: &Flow, key: &Keys, selected: Selected) -> Resolved {
        let names = selected.names_of_results();
        let Selected { calls, columns: selected } = selected;
        let results = result_schema(&input.schema, &calls);
        let mut prepared = Prepared::new(&input.schema);
        let keys: Vec<usize> = key.expressions().map(|part| prepared.column(part)).collect();
        let mut read = Vec::new();
        let aggregates = self.aggregates(calls, &mut prepared, &mut read);
        for (_, expression) in &selected {
            prepared.need(expression);
        }
        let mut outputs = all_columns(&input.schema);
        outputs.extend(selected.into_iter().map(|(name, expression)| (name, Output::Expression(expression))));
        let output_schema = project::schema_of(&outputs, &results);
        let side = self.late.as_ref().map(|(stream, _)| Side::of_whole_rows(stream, &input.schema));
        let operator = operator::build(
            operator::Spec {
                extent: self.extent,
                prepared: prepared.schema(),
                columns: input.schema.columns().len(),
                keys: keys.clone(),
                key: StateKey::from(key),
                read,
                aggregates,
                names,
                ordered: input.ordered,
                late: Lateness { allow_ms: 0, side },
                output: results.clone(),
            },
            self.describe(),
        );
        let what = format!("the key{} and the aggregates' arguments", self.by.describe("by"));
        let mut parts: Vec<Part> = prepared.part("over", &what).into_iter().collect();
        parts.push(Part::Exchange { columns: keys, codec: key.codec.clone() });
        parts.push(Part::Operator(operator.keeping(&self.name)));
        let what = format!("select *, {}", selected::describe(&self.select));
        parts.push(project::part("over", what, results, output_schema.clone(), outputs));
        let side = self.late.iter().map(|(name, at)| SideStream {
            name: name.clone(),
            at: *at,
            schema: input.schema.clone(),
        });
        Resolved {
            output: Flow { schema: output_schema, ordered: false, ..input.clone() },
            side: side.collect(),
            parts,
            // Where rows arrive in no defined order, all columns decide among rows of equal time.
            required: prepared.required(self.late.is_some() || !input.ordered),
        }
    }

    /// The calls as the operator runs them. What they read is added to the prepared columns where it is none of the
    /// row's, and its positions to `read`, each once.
    fn aggregates(
        &self,
        calls: Vec<AggregateCall>,
        prepared: &mut Prepared,
        read: &mut Vec<usize>,
    ) -> Vec<Aggregate> {
        let mut place = |expression: &Expr| {
            let position = prepared.column(expression);
            read.iter().position(|known| *known == position).unwrap_or_else(|| {
                read.push(position);
                read.len() - 1
            })
        };
        let aggregates = calls.into_iter().map(|call| {
            let places = call.arguments.iter().map(&mut place).collect();
            let filter = call.filter.as_ref().map(&mut place);
            // Rows are taken by time, and among equal times by arrival or by their columns.
            let call = call_of(&call, true, self.extent != Extent::All);
            Aggregate { call, arguments: places, filter }
        });
        aggregates.collect()
    }

    fn describe(&self) -> String {
        let key = self.by.describe("by");
        let kept = match self.extent {
            Extent::All => "keeps one set of accumulators for every key, for ever",
            Extent::Rows(_) => "keeps the frame of every key, for ever",
            Extent::Range(_) => "drops a key once its frame is empty",
        };
        let late = match &self.late {
            Some((stream, _)) => format!("late rows go to `{stream}`"),
            None => "late rows are counted and dropped".to_owned(),
        };
        format!("over {}{key}: {} ({kept}; {late})", self.extent_text, selected::describe(&self.select))
    }
}

fn resolve_function(
    name: &str,
    arguments: &[Expr],
    distinct: bool,
    sliding: bool,
) -> Option<Result<(SqlType, bool), String>> {
    if sliding && !function(name)?.retracts {
        let what = format!("{name} cannot follow a frame that rows leave: use it without `rows` and `range`");
        return Some(Err(what));
    }
    let arguments: Vec<Argument> = arguments.iter().map(argument_of).collect();
    aggregate::resolve(name, &arguments, distinct, sliding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::verify::{check, example_schema, flow_of, resolve_step};
    use crate::operator::{Changelog, verb};
    use crate::record::Paths;

    /// A price at a second of the first minute of 2026, for a channel, and what the step adds to it.
    fn row(channel: &str, price: i64, second: &str, added: &str) -> String {
        format!(r#"{{"channel":"{channel}","price":{price},"at":"2026-01-01T00:00:{second}"{added}}}"#)
    }

    /// Rows as (channel, price, second), and as (index of a row, what is added) the output in its order.
    fn check_rows(step: &str, rows: &[(&str, i64, &str)], expect: &[(usize, &str)], late: &[usize]) {
        let text = |index: usize, added: &str| row(rows[index].0, rows[index].1, rows[index].2, added);
        let input: Vec<String> = (0..rows.len()).map(|index| text(index, "")).collect();
        let mut output: Vec<String> =
            expect.iter().map(|(index, added)| text(*index, &format!(",{added}"))).collect();
        if !late.is_empty() {
            if step.contains("late:") {
                output.extend(late.iter().map(|index| format!("tardy: {}", text(*index, ""))));
            }
            output.push(format!("late: {}", late.len()));
        }
        let borrow =
            |lines: &[String]| lines.iter().map(|line| line.clone().leak() as &str).collect::<Vec<_>>();
        check(step, &borrow(&input), &borrow(&output));
    }

    const ROWS: [(&str, i64, &str); 6] =
        [("a", 1, "01"), ("a", 2, "02"), ("b", 10, "02"), ("a", 4, "02"), ("a", 8, "01.5"), ("a", 16, "05")];

    #[test]
    fn the_last_rows() {
        check_rows(
            "over: { name: o, by: channel, rows: 2, select: { s: SUM(price), n: COUNT(*) } }",
            &ROWS,
            &[
                (0, r#""s":1,"n":1"#),
                (4, r#""s":9,"n":2"#),
                (1, r#""s":10,"n":2"#),
                (2, r#""s":10,"n":1"#),
                (3, r#""s":6,"n":2"#),
                (5, r#""s":20,"n":2"#),
            ],
            &[],
        );
    }

    #[test]
    fn the_last_stretch_of_time_with_peers() {
        check_rows(
            "over: { name: o, by: channel, range: 500ms, select: { s: SUM(price), low: MIN(price) } }",
            &ROWS,
            &[
                (0, r#""s":1,"low":1"#),
                (4, r#""s":9,"low":1"#),
                (1, r#""s":14,"low":2"#),
                (2, r#""s":10,"low":10"#),
                (3, r#""s":14,"low":2"#),
                (5, r#""s":16,"low":16"#),
            ],
            &[],
        );
    }

    #[test]
    fn all_rows_so_far_with_peers() {
        for by in ["UPPER(channel)", "{ c: UPPER(channel) }"] {
            let step = format!(
                "over: {{ name: o, by: {by}, select: {{ share: 100 * price / SUM(price), n: COUNT(*) FILTER (WHERE price > 1) }} }}"
            );
            check_rows(
                &step,
                &ROWS,
                &[
                    (0, r#""share":100,"n":0"#),
                    (4, r#""share":88,"n":1"#),
                    (1, r#""share":13,"n":3"#),
                    (2, r#""share":100,"n":1"#),
                    (3, r#""share":26,"n":3"#),
                    (5, r#""share":51,"n":4"#),
                ],
                &[],
            );
        }
    }

    #[test]
    fn late_rows_are_counted_or_sent_aside() {
        // The harness allows one second of disorder.
        let rows = [("a", 1, "05"), ("a", 2, "04"), ("a", 3, "04.001"), ("a", 4, "03")];
        for (late, step) in [("", "over: { name: o"), (", late: { to: tardy }", "over: { name: o")] {
            check_rows(
                &format!("{step}, rows: 9, select: {{ s: SUM(price) }}{late} }}"),
                &rows,
                &[(2, r#""s":3"#), (0, r#""s":4"#)],
                &[1, 3],
            );
        }
    }

    #[test]
    fn an_expression_that_fails_sends_its_row_to_quarantine() {
        check(
            "over: { name: o, select: { part: SUM(price) / (price - 1), s: SUM(10 / id) } }",
            &[
                r#"{"price":0,"id":5,"at":"2026-01-01T00:00:01"}"#,
                r#"{"price":1,"id":5,"at":"2026-01-01T00:00:02"}"#,
                r#"{"price":7,"id":0,"at":"2026-01-01T00:00:03"}"#,
                r#"{"price":3,"id":1,"at":"2026-01-01T00:00:04"}"#,
            ],
            &[
                r#"{"price":0,"id":5,"at":"2026-01-01T00:00:01","part":0,"s":2}"#,
                r#"{"price":3,"id":1,"at":"2026-01-01T00:00:04","part":2,"s":14}"#,
                "rejected: division by zero",
                "rejected: division by zero",
            ],
        );
    }

    #[test]
    fn rows_that_may_be_taken_back_are_refused() {
        let flow = flow_of(&example_schema());
        let changelog = Flow { changelog: Some(Changelog { key: None }), ..flow.clone() };
        for (verb_name, options) in
            [("over", "{ name: o, select: { n: COUNT(*) } }"), ("throttle", "{ name: t, rate: 1 per 1s }")]
        {
            let mut problems = Problems::new();
            let node = yaml::parse(0, options, &mut problems).unwrap();
            let step = (verb(verb_name).unwrap().parse)(&node, node.at, &mut problems).unwrap();
            assert!(step.resolve(&flow, &mut problems).is_some() && problems.all().is_empty());
            assert!(step.resolve(&changelog, &mut problems).is_none() && problems.has_errors());
        }
    }

    #[test]
    fn only_what_is_used_is_read() {
        let flow = flow_of(&example_schema());
        let used: Paths = {
            let mut used = Paths::default();
            for name in ["id", "total"] {
                used.insert(vec![name.to_owned()]);
            }
            used
        };
        let names = |paths: &Paths| paths.iter().map(|path| path.join(".")).collect::<Vec<_>>();
        let step =
            "over: { name: o, by: user, rows: 2, select: { total: SUM(price) FILTER (WHERE ok) + ratio } }";
        let resolved = resolve_step(step, &flow);
        assert_eq!(names(&(resolved.required)(&used)), ["id", "ok", "price", "ratio", "user"]);
        // Where all columns decide among rows of equal time, or go to a side stream, all are read.
        let unordered = resolve_step(step, &Flow { ordered: false, ..flow.clone() });
        let aside = resolve_step(&step.replace("rows: 2", "late: { to: tardy }"), &flow);
        for resolved in [unordered, aside] {
            let needed = (resolved.required)(&used);
            assert!(example_schema().columns().iter().all(|column| needed.touches(&column.name)));
            assert!(!needed.touches("total"));
        }
    }
}
