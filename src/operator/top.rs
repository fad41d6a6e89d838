//! `top`: the first n rows of each partition in an order; over windows once and for all, else as a changelog.
//!
//! The step becomes a projection (what the key and the order need besides columns), the exchange by key, and a keyed
//! operator: [`super::top_window`] where rows belong to windows, [`super::top_running`] where they do not.

use std::sync::Arc;

use super::top_format::RowFormat;
use super::top_keys::{KeyNodes, Prepared, ResolvedKey, state_name};
use super::top_order::{self, Term};
use super::top_partition::Limit;
use super::top_running::{self, Running};
use super::top_window::{self, Assign, Windowed};
use super::{Build, Changelog, Flow, Part, Resolved, SideStream, Step, Verb, WindowColumns};
use crate::error::{Place, Problem, Problems, Severity};
use crate::record::{Column, Schema, SqlType};
use crate::window::Tumbling;
use crate::yaml::{Fields, Node, duration_ms};

/// The entry in the registry.
pub(super) const VERB: Verb = Verb {
    name: "top",
    summary: "the first n rows in an order, of each partition: `n`, `order`, `per`, `window`, `ties: keep`, `rank`; over windows once and for all, else as a changelog",
    example: "top: { name: dearest, n: 10, per: channel, order: \"price DESC, at\", rank: place }",
    parse,
};

/// The most rows a partition may keep.
const N_MAX: u64 = 1_000_000;

const WINDOW_START: &str = "window_start";
const WINDOW_END: &str = "window_end";

#[derive(Debug)]
struct Declared {
    at: Place,
    name: String,
    n: usize,
    per: KeyNodes,
    order: Node,
    window: Option<(Place, Tumbling, String)>,
    ties: bool,
    rank: Option<(String, Place)>,
    late: Option<(String, Place)>,
}

fn parse(node: &Node, at: Place, problems: &mut Problems) -> Option<Box<dyn Step>> {
    let before = problems.all().len();
    let mut fields = Fields::of(node, "top", problems);
    let name = state_name(&mut fields, "top", at, problems);
    fields.required("n", problems);
    let n = fields.whole("n", 1, N_MAX, problems);
    let per =
        fields.take("per").map_or_else(|| Some(KeyNodes::none()), |per| KeyNodes::read("per", per, problems));
    let order = fields.required("order", problems).cloned();
    let window = fields.entry("window").cloned();
    let window = window.map(|(key, node)| Some((key.at, parse_window(&node, problems)?)));
    let ties = fields.one_of("ties", &[("keep", true)], problems).unwrap_or(false);
    let rank = fields.take("rank").and_then(|node| {
        let wrong =
            || Problem::error(node.at, format!("`rank` takes the name of a column, not {}", node.kind()));
        node.read_as(problems, |text| Some((text.to_owned(), node.at)), wrong)
    });
    let late = fields.entry("late").and_then(|(key, node)| {
        let mut late = Fields::under(key, node, "late", problems);
        let to = late.required("to", problems);
        let read = |node: &Node, problems: &mut Problems| {
            let wrong =
                || Problem::error(node.at, format!("`to` takes the name of a stream, not {}", node.kind()));
            node.read_as(problems, |text| Some((text.to_owned(), node.at)), wrong)
        };
        let to = to.and_then(|node| read(node, problems));
        late.finish(problems);
        to
    });
    fields.finish(problems);
    let failed = problems.all()[before..].iter().any(|problem| problem.severity == Severity::Error);
    let (n, per, order) = (n?, per?, order?);
    let window = window.flatten().map(|(at, (window, text))| (at, window, text));
    let n = usize::try_from(n).expect("below the limit");
    (!failed)
        .then(|| Box::new(Declared { at, name, n, per, order, window, ties, rank, late }) as Box<dyn Step>)
}

fn parse_window(node: &Node, problems: &mut Problems) -> Option<(Tumbling, String)> {
    for later in ["sliding", "every", "cumulative", "session", "time", "rows"] {
        let found = node.map().and_then(|entries| entries.iter().find(|(key, _)| key.text == later));
        if let Some((key, _)) = found {
            problems.push(
                Problem::error(key.at, format!("`{later}` windows of `top` are not in this version"))
                    .help("use window: { tumbling: 10s }"),
            );
            return None;
        }
    }
    let mut fields = Fields::of(node, "window", problems);
    let at = fields.at();
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
    Some((Tumbling::new(size_ms, offset_ms), format!(" over tumbling {size_ms}ms{offset}")))
}

/// How a `top` runs.
enum Mode {
    /// Over the windows that its input's rows belong to.
    Given(usize),
    /// Over windows of its own.
    Own(Tumbling),
    Running,
}

impl Step for Declared {
    fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved> {
        let key = self.per.resolve(&input.schema, problems);
        let order = top_order::resolve(&self.order, &input.schema, problems);
        let mode = key.as_ref().and_then(|key| self.mode(input, key, problems));
        let output = self.output_schema(input, problems);
        if let (Some((_, at)), Some(Mode::Running)) = (&self.late, &mode) {
            problems.push(
                Problem::error(*at, "no row is late for a `top` that runs without windows")
                    .help("leave `late` out, or give the step a `window`"),
            );
            return None;
        }
        Some(self.assemble(input, &key?, &order?, &mode?, output?))
    }
}

impl Declared {
    fn mode(&self, input: &Flow, key: &ResolvedKey, problems: &mut Problems) -> Option<Mode> {
        if let Some((at, window, _)) = &self.window {
            input.refuse_changelog("top over a window of its own", *at, problems)?;
            if input.event_time.is_none() {
                problems.push(
                    Problem::error(self.at, "a window in event time needs the source to declare one")
                        .help("add event_time: { column: … } to the source"),
                );
                return None;
            }
            return Some(Mode::Own(*window));
        }
        let end = input.window.as_ref().and_then(|window| window.end.as_deref());
        let end = end.filter(|end| key.expressions.iter().any(|part| part.as_column() == Some(end)));
        let index = end.and_then(|end| input.schema.index_of(end)).filter(|index| {
            let data_type = &input.schema.columns()[*index].data_type;
            matches!(data_type, SqlType::Timestamp(0..=3) | SqlType::TimestampLtz(0..=3))
        });
        Some(index.map_or(Mode::Running, Mode::Given))
    }

    /// The input's columns, those of the step's own window, and the rank.
    fn output_schema(&self, input: &Flow, problems: &mut Problems) -> Option<Schema> {
        let mut columns = input.schema.columns().to_vec();
        let mut complete = true;
        let mut add = |column: Column, at: Place| {
            if columns.iter().any(|other| other.name == column.name) {
                problems.push(
                    Problem::error(at, format!("the output already has a column `{}`", column.name))
                        .help("`top` passes the columns of its input on; rename or drop that one before"),
                );
                complete = false;
            }
            columns.push(column);
        };
        if let Some((at, _, _)) = &self.window {
            let time = match &input.event_time {
                Some(SqlType::TimestampLtz(_)) => SqlType::TimestampLtz(3),
                _ => SqlType::Timestamp(3),
            };
            for name in [WINDOW_START, WINDOW_END] {
                add(Column::new(name, time.clone(), false), *at);
            }
        }
        if let Some((name, at)) = &self.rank {
            add(Column::new(name.clone(), SqlType::BigInt, false), *at);
        }
        complete.then(|| Schema::new(columns))
    }

    fn assemble(
        &self,
        input: &Flow,
        key: &ResolvedKey,
        order: &[Term],
        mode: &Mode,
        schema: Schema,
    ) -> Resolved {
        let mut prepared = Prepared::new(&input.schema);
        let keys: Vec<usize> = key.expressions.iter().map(|part| prepared.column(part)).collect();
        let terms: Vec<_> =
            order.iter().map(|term| (prepared.column(&term.expression), term.options)).collect();
        let format = RowFormat::new(&prepared.schema(), &terms);
        let limit = Limit {
            n: self.n,
            ties: self.ties,
            by_arrival: input.ordered && input.changelog.is_none(),
            keeps_all: input.changelog.is_some(),
        };
        let operator = self.operator(input, key, keys.clone(), format, limit, mode, &schema);
        let mut parts: Vec<Part> = prepared.part("top", "the key and the order").into_iter().collect();
        parts.push(Part::Exchange { columns: keys, codec: key.codec.clone() });
        parts.push(Part::Operator(operator));
        let side = self.late.iter().map(|(name, at)| SideStream {
            name: name.clone(),
            at: *at,
            schema: input.schema.clone(),
        });
        Resolved {
            output: self.output(input, key, mode, schema),
            parts,
            side: side.collect(),
            required: prepared.required(self.late.is_some()),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what the operator is made of, put together in one place")]
    fn operator(
        &self,
        input: &Flow,
        key: &ResolvedKey,
        keys: Vec<usize>,
        format: RowFormat,
        limit: Limit,
        mode: &Mode,
        schema: &Schema,
    ) -> Build {
        let (codec, ranked, output) = (key.codec.clone(), self.rank.is_some(), schema.clone());
        let description = self.describe(mode);
        let assign = match mode {
            Mode::Given(column) => Assign::Column(*column),
            Mode::Own(window) => Assign::Time(*window),
            Mode::Running => {
                let (every_change, timed) = (input.every_change, input.event_time.is_some());
                let input = input.schema.clone();
                let spec = top_running::Spec {
                    format,
                    keys,
                    codec,
                    limit,
                    ranked,
                    every_change,
                    timed,
                    input,
                    output,
                };
                return Build::new(description, move || Box::new(Running::new(spec.clone())))
                    .keeping(&self.name);
            }
        };
        let late = self.late.as_ref().map(|(name, _)| Arc::from(name.as_str()));
        let input = input.schema.clone();
        let spec = top_window::Spec { format, keys, codec, limit, ranked, assign, late, input, output };
        Build::new(description, move || Box::new(Windowed::new(spec.clone()))).keeping(&self.name)
    }

    fn output(&self, input: &Flow, key: &ResolvedKey, mode: &Mode, schema: Schema) -> Flow {
        let output = Flow { schema, ordered: false, ..input.clone() };
        match mode {
            Mode::Given(_) => Flow { changelog: None, ..output },
            Mode::Own(_) => {
                let [start, end] = [WINDOW_START, WINDOW_END].map(|name| Some(name.to_owned()));
                Flow { window: Some(WindowColumns { start, end }), ..output }
            }
            Mode::Running => {
                // Where ties are kept, several rows have one rank.
                let rank = self.rank.as_ref().filter(|_| !self.ties).map(|(name, _)| name.clone());
                let key = rank.and_then(|rank| {
                    let mut columns = key.columns()?;
                    columns.push(rank);
                    Some(columns)
                });
                Flow { changelog: Some(Changelog { key }), ..output }
            }
        }
    }

    fn describe(&self, mode: &Mode) -> String {
        let terms = self.order.list().unwrap_or(std::slice::from_ref(&self.order));
        let terms: Vec<&str> = terms.iter().filter_map(Node::expression).collect();
        let window = match (mode, &self.window) {
            (Mode::Given(_), _) => ", of each window",
            (_, Some((_, _, text))) => text,
            _ => ", as a changelog",
        };
        let ties = if self.ties { " with ties" } else { "" };
        format!("top {}{ties} by {}{}{window}", self.n, terms.join(", "), self.per.describe("per"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::verify::check;

    /// A row of these values, at so many seconds (`0` to `59`, with a fraction).
    fn row(channel: &str, price: &str, id: u32, seconds: &str) -> String {
        let channel = if channel == "null" { "null".to_owned() } else { format!("\"{channel}\"") };
        format!(r#"{{"channel":{channel},"price":{price},"id":{id},"at":"2026-01-01T00:00:{seconds}"}}"#)
    }

    /// Checks rows written as `channel price id seconds`, a sign before them for changelogs and what is added to the
    /// row behind a bar.
    fn check_rows(step: &str, input: &[&str], expect: &[&str]) {
        let line = |text: &&str| {
            if text.starts_with("late: ") {
                return (*text).to_owned();
            }
            let (stream, text) = text.split_once(": ").map_or(("", *text), |(stream, rest)| (stream, rest));
            let (fields, added) = text.split_once(" | ").unwrap_or((text, ""));
            let sign = &fields[..fields.len() - fields.trim_start_matches(['+', '-']).len()];
            let parts: Vec<&str> = fields[sign.len()..].split(' ').collect();
            let mut row = row(parts[0], parts[1], parts[2].parse().unwrap(), parts[3]);
            if !added.is_empty() {
                row = format!("{},{added}}}", row.trim_end_matches('}'));
            }
            let stream = if stream.is_empty() { String::new() } else { format!("{stream}: ") };
            format!("{stream}{sign}{row}")
        };
        let (input, expect): (Vec<String>, Vec<String>) =
            (input.iter().map(line).collect(), expect.iter().map(line).collect());
        let borrowed = |lines: &[String]| lines.iter().map(|line| (*line).to_string()).collect::<Vec<_>>();
        let (input, expect) = (borrowed(&input), borrowed(&expect));
        let input: Vec<&str> = input.iter().map(String::as_str).collect();
        let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
        check(step, &input, &expect);
    }

    #[test]
    fn a_running_top_lets_go_of_the_last() {
        check_rows(
            "top: { name: t, n: 2, per: channel, order: price DESC }",
            &["a 1 1 01", "a 3 2 02", "b 9 3 03", "a 2 4 04", "a 1 5 05", "a 3 6 06"],
            &["+a 1 1 01", "+a 3 2 02", "+b 9 3 03", "-a 1 1 01", "+a 2 4 04", "-a 2 4 04", "+a 3 6 06"],
        );
    }

    #[test]
    fn ranks_move_down() {
        check_rows(
            "top: { name: t, n: 2, per: channel, order: price DESC, rank: r }",
            &["a 1 1 01", "a 3 2 02", "a 3 3 03", "a 4 4 04"],
            &[
                "+a 1 1 01 | \"r\":1",
                "-a 1 1 01 | \"r\":1",
                "+a 3 2 02 | \"r\":1",
                "+a 1 1 01 | \"r\":2",
                "-a 1 1 01 | \"r\":2",
                "+a 3 3 03 | \"r\":2",
                "-a 3 2 02 | \"r\":1",
                "+a 4 4 04 | \"r\":1",
                "-a 3 3 03 | \"r\":2",
                "+a 3 2 02 | \"r\":2",
            ],
        );
    }

    #[test]
    fn ties_are_kept_and_share_their_rank() {
        check_rows(
            "top: { name: t, n: 2, order: price, rank: r, ties: keep }",
            &["a 5 1 01", "a 5 2 02", "a 5 3 03", "a 6 4 04", "a 1 5 05", "a 1 6 06"],
            &[
                "+a 5 1 01 | \"r\":1",
                "+a 5 2 02 | \"r\":1",
                "+a 5 3 03 | \"r\":1",
                "-a 5 1 01 | \"r\":1",
                "-a 5 2 02 | \"r\":1",
                "-a 5 3 03 | \"r\":1",
                "+a 1 5 05 | \"r\":1",
                "+a 5 1 01 | \"r\":2",
                "+a 5 2 02 | \"r\":2",
                "+a 5 3 03 | \"r\":2",
                "+a 1 6 06 | \"r\":1",
                "-a 5 1 01 | \"r\":2",
                "-a 5 2 02 | \"r\":2",
                "-a 5 3 03 | \"r\":2",
            ],
        );
    }

    #[test]
    fn null_is_the_least_value_and_a_key() {
        check_rows(
            "top: { name: t, n: 1, per: channel, order: price DESC }",
            &["null null 1 01", "null 1 2 02", "null null 3 03", "a null 4 04"],
            &["+null null 1 01", "-null null 1 01", "+null 1 2 02", "+a null 4 04"],
        );
        check_rows(
            "top: { name: t, n: 1, order: price }",
            &["a 1 1 01", "a null 2 02"],
            &["+a 1 1 01", "-a 1 1 01", "+a null 2 02"],
        );
    }

    #[test]
    fn zeros_are_equal_and_nan_is_above_all() {
        check(
            "top: { name: t, n: 2, order: ratio DESC }",
            &[r#"{"ratio":0.0,"id":1}"#, r#"{"ratio":-0.0,"id":2}"#, r#"{"ratio":0.0,"id":3}"#],
            &[r#"+{"ratio":0.0,"id":1}"#, r#"+{"ratio":-0.0,"id":2}"#],
        );
    }

    #[test]
    fn keys_and_orders_may_be_expressions() {
        check_rows(
            "top: { name: t, n: 1, per: { c: UPPER(channel) }, order: \"MOD(price, 10) DESC, id DESC\" }",
            &["a 12 1 01", "A 21 2 02", "A 32 3 03"],
            &["+a 12 1 01", "-a 12 1 01", "+A 32 3 03"],
        );
    }

    #[test]
    fn the_next_row_moves_up_when_one_is_taken_back() {
        check_rows(
            "top: { name: t, n: 1, per: channel, order: price DESC }",
            &[
                "+a 1 1 01",
                "+a 3 2 02",
                "+a 2 3 03",
                "-a 3 2 02",
                "-a 1 1 01",
                "-a 2 3 03",
                "+a 1 4 04",
                "-a 9 9 09",
            ],
            &["+a 1 1 01", "-a 1 1 01", "+a 3 2 02", "-a 3 2 02", "+a 2 3 03", "-a 2 3 03", "+a 1 4 04"],
        );
    }

    #[test]
    fn ranks_move_up_when_a_row_is_taken_back() {
        check_rows(
            "top: { name: t, n: 2, per: channel, order: price DESC, rank: r }",
            &["+a 1 1 01", "+a 1 1 01", "+a 3 2 02", "-a 1 1 01", "-a 3 2 02"],
            &[
                "+a 1 1 01 | \"r\":1",
                "+a 1 1 01 | \"r\":2",
                "-a 1 1 01 | \"r\":1",
                "+a 3 2 02 | \"r\":1",
                "-a 3 2 02 | \"r\":1",
                "+a 1 1 01 | \"r\":1",
                "-a 1 1 01 | \"r\":2",
            ],
        );
    }

    #[test]
    fn windows_of_its_own() {
        let window = |start: &str, end: &str| {
            format!(r#""window_start":"2026-01-01T00:00:{start}","window_end":"2026-01-01T00:00:{end}""#)
        };
        let (first, second) = (window("00", "10"), window("10", "20"));
        let lines =
            [format!("b 5 3 03 | {first}"), format!("a 4 4 04 | {first}"), format!("a 7 6 11.5 | {second}")];
        let mut expect: Vec<&str> = lines.iter().map(String::as_str).collect();
        expect.extend(["behind: a 8 7 02", "late: 1"]);
        check_rows(
            "top: { name: t, n: 2, order: price DESC, window: { tumbling: 10s }, late: { to: behind } }",
            &["a 1 1 01", "a 4 4 04", "b 5 3 03", "a 4 5 05", "a 7 6 11.5", "a 8 7 02"],
            &expect,
        );
    }

    #[test]
    fn windows_of_the_step_before() {
        let row =
            |price: u32, end: &str| format!(r#"{{"price":{price},"window_end":"2026-01-01T00:00:{end}"}}"#);
        let input = [row(1, "10"), row(4, "10"), row(4, "10"), row(2, "12"), row(9, "14")];
        let input: Vec<&str> = input.iter().map(String::as_str).collect();
        let ranked = |price: u32, end: &str, rank: u32| {
            format!("{},\"r\":{rank}}}", row(price, end).trim_end_matches('}'))
        };
        let expect = [ranked(4, "10", 1), ranked(4, "10", 1), ranked(2, "12", 1), ranked(9, "14", 1)];
        let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
        check(
            "top: { name: t, n: 1, per: window_end, order: price DESC, ties: keep, rank: r }",
            &input,
            &expect,
        );
        let expect = [row(1, "10"), row(4, "10"), row(4, "10"), row(9, "14")];
        let signed = ["+", "-", "+", "-", "+"].iter().zip([0, 0, 1, 1, 3]);
        let expect: Vec<String> = signed.map(|(sign, row)| format!("{sign}{}", expect[row])).collect();
        let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
        check("top: { name: t, n: 1, order: price DESC }", &input, &expect);
    }
}
