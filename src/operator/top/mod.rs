//! `top`: the first n rows of each partition in an order; over windows once and for all, else as a changelog.
//!
//! The step becomes a projection (what the key and the order need besides columns), the exchange by key, and a keyed
//! operator: [`windowed`] where rows belong to windows, [`running`] where they do not. Both keep rows as bytes that
//! compare as the rows do ([`partition`]).

mod format;
#[cfg(test)]
mod model;
mod order;
mod partition;
mod running;
mod table;
#[cfg(test)]
mod tests;
mod view;
mod windowed;

use format::RowFormat;
use order::Term;
use partition::Limit;
use running::Running;
use windowed::{Assign, Windowed};

use super::aggregate::options::{self, Late, Over, TimeOfRow, Window};
use super::by::{By, Keys};
use super::late::{Lateness, Side};
use super::prepared::{Prepared, state_name};
use super::saved::StateKey;
use super::{Build, Changelog, Flow, Part, Resolved, Sends, SideStream, Step, Verb, WindowColumns};
use crate::error::{Place, Problem, Problems, Severity};
use crate::record::{Column, Schema, SqlType};
use crate::window::Windows;
use crate::yaml::{Fields, Key, Node};

/// The entry in the registry.
pub(super) const VERB: Verb = Verb {
    name: "top",
    summary: "keeps the first `n` rows of each partition (`per`) in an `order`: `ties: keep` (all that equal the last), `rank` (adds the place), `window`, `late`; over windows once and for all, else as a changelog",
    example: "top: { name: dearest, n: 10, per: channel, order: \"price DESC, at\", rank: place }",
    parse,
};

/// The most rows a partition may keep.
const N_MAX: u64 = 1_000_000;

const WINDOW_START: &str = "window_start";
const WINDOW_END: &str = "window_end";

/// A row may belong to this many windows at most: it may be kept in each.
const WINDOWS_MAX: i64 = 1000;

#[derive(Debug)]
struct Declared {
    at: Place,
    name: String,
    n: usize,
    per: By,
    order: Node,
    window: Option<OwnWindow>,
    ties: bool,
    rank: Option<(String, Place)>,
    late: Late,
}

/// Windows that the step makes itself.
#[derive(Debug)]
struct OwnWindow {
    at: Place,
    windows: Windows,
    text: String,
}

fn parse(node: &Node, at: Place, problems: &mut Problems) -> Option<Box<dyn Step>> {
    let before = problems.all().len();
    let mut fields = Fields::of(node, "top", problems);
    let name = state_name(&mut fields, "top", at, problems);
    fields.required("n", problems);
    let n = fields.whole("n", 1, N_MAX, problems);
    let per = By::parse_unnamed(&mut fields, "per", problems);
    let order = fields.required("order", problems).cloned();
    let window = fields.entry("window").map(|(key, node)| own_window(key, node, problems));
    let ties = fields.one_of("ties", &[("keep", true)], problems).unwrap_or(false);
    let rank = fields.take("rank").and_then(|node| {
        let wrong =
            || Problem::error(node.at, format!("`rank` takes the name of a column, not {}", node.kind()));
        node.read_as(problems, |text| Some((text.to_owned(), node.at)), wrong)
    });
    let late = fields.entry("late").and_then(|(key, node)| {
        let over = match &window {
            Some(Some(window)) => Over::Fixed(window.windows),
            Some(None) => return None,
            None => Over::Running(None),
        };
        let late = options::late(key, node, &over, problems)?;
        if late.allow_ms > 0 {
            let what = "`allow` in the `late` of a `top` is not in this version";
            problems.push(Problem::error(key.at, what).help("name a stream for late rows: late: { to: … }"));
        }
        Some(late)
    });
    fields.finish(problems);
    let failed = problems.all()[before..].iter().any(|problem| problem.severity == Severity::Error);
    if failed {
        return None;
    }
    let (n, per, order, late) = (usize::try_from(n?).ok()?, per?, order?, late.unwrap_or_default());
    Some(Box::new(Declared { at, name, n, per, order, window: window.flatten(), ties, rank, late }))
}

/// Reads `window`. None is returned only after a problem.
fn own_window(key: &Key, node: &Node, problems: &mut Problems) -> Option<OwnWindow> {
    let Window { over, time, text } = options::window(key, node, problems)?;
    let not_yet = |what: &str| {
        Problem::error(key.at, format!("`top` over {what} is not in this version"))
            .help("use one of { tumbling: 10s }, { sliding: 1m, every: 10s }, { cumulative: 1d, every: 1h }")
    };
    let Over::Fixed(windows) = over else {
        problems.push(not_yet(if matches!(over, Over::Session(_)) { "sessions" } else { "windows of rows" }));
        return None;
    };
    if !matches!(time, TimeOfRow::Event) {
        problems.push(not_yet("windows over another time than the event time"));
        return None;
    }
    let (first_ms, last_ms) = (windows.first_end_ms(0), windows.last_end_ms(0));
    let step_ms = windows.next_end_ms(0, first_ms).map_or(1, |next_ms| next_ms - first_ms);
    if (last_ms - first_ms) / step_ms >= WINDOWS_MAX {
        let what = format!("every row would belong to more than {WINDOWS_MAX} windows");
        problems.push(Problem::error(key.at, what).help("choose a longer `every`"));
        return None;
    }
    Some(OwnWindow { at: key.at, windows, text })
}

/// How a `top` runs.
enum Mode {
    /// Over the windows that its input's rows belong to.
    Given(usize),
    /// Over windows of its own.
    Own(Windows),
    Running,
}

impl Step for Declared {
    fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved> {
        let key = self.per.resolve(&input.schema, problems);
        let order = order::resolve(&self.order, &input.schema, problems);
        let mode = key.as_ref().and_then(|key| self.mode(input, key, problems));
        let output = self.output_schema(input, problems);
        Some(self.assemble(input, &key?, &order?, &mode?, output?))
    }
}

impl Declared {
    fn mode(&self, input: &Flow, key: &Keys, problems: &mut Problems) -> Option<Mode> {
        if let Some(window) = &self.window {
            input.refuse_changelog("top over a window of its own", window.at, problems)?;
            if input.event_time.is_none() {
                problems.push(
                    Problem::error(
                        self.at,
                        "a window of event time needs rows with event times, and these have none",
                    )
                    .help(input.untimed.help()),
                );
                return None;
            }
            return Some(Mode::Own(window.windows));
        }
        if input.changelog.is_some() {
            // A correction may come after its window has ended: nothing is final.
            return Some(Mode::Running);
        }
        let end = input.window.as_ref().and_then(|window| window.end.as_deref());
        let end = end.filter(|end| key.expressions().any(|part| part.as_column() == Some(end)));
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
        if let Some(window) = &self.window {
            let time = match &input.event_time {
                Some(SqlType::TimestampLtz(_)) => SqlType::TimestampLtz(3),
                _ => SqlType::Timestamp(3),
            };
            for name in [WINDOW_START, WINDOW_END] {
                add(Column::new(name, time.clone(), false), window.at);
            }
        }
        if let Some((name, at)) = &self.rank {
            add(Column::new(name.clone(), SqlType::BigInt, false), *at);
        }
        complete.then(|| Schema::new(columns))
    }

    fn assemble(&self, input: &Flow, key: &Keys, order: &[Term], mode: &Mode, schema: Schema) -> Resolved {
        let mut prepared = Prepared::new(&input.schema);
        let keys: Vec<usize> = key.expressions().map(|part| prepared.column(part)).collect();
        let terms: Vec<_> =
            order.iter().map(|term| (prepared.column(&term.expression), term.options)).collect();
        let format = RowFormat::new(&prepared.schema(), input.schema.columns().len(), &terms);
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
        let side = self.late.to.iter().map(|(name, at)| SideStream {
            name: name.clone(),
            at: *at,
            schema: input.schema.clone(),
        });
        Resolved {
            output: self.output(input, key, mode, schema),
            parts,
            side: side.collect(),
            required: prepared.required(self.late.to.is_some()),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what the operator is made of, put together in one place")]
    fn operator(
        &self,
        input: &Flow,
        key: &Keys,
        keys: Vec<usize>,
        format: RowFormat,
        limit: Limit,
        mode: &Mode,
        schema: &Schema,
    ) -> Build {
        let (key, ranked, output) = (StateKey::from(key), self.rank.is_some(), schema.clone());
        let description = self.describe(mode, input.sends);
        let assign = match mode {
            Mode::Given(column) => Assign::Column(*column),
            Mode::Own(window) => Assign::Time(*window),
            Mode::Running => {
                let (sends, timed) = (input.sends, input.event_time.is_some());
                let input = input.schema.clone();
                let spec = running::Spec { format, keys, key, limit, ranked, sends, timed, input, output };
                return Build::new(description, move || Box::new(Running::new(spec.clone())))
                    .keeping(&self.name);
            }
        };
        let input = input.schema.clone();
        let side = self.late.to.as_ref().map(|(name, _)| Side::of_whole_rows(name, &input));
        let late = Lateness { allow_ms: 0, side };
        let spec = windowed::Spec { format, keys, key, limit, ranked, assign, late, input, output };
        Build::new(description, move || Box::new(Windowed::new(spec.clone()))).keeping(&self.name)
    }

    fn output(&self, input: &Flow, key: &Keys, mode: &Mode, schema: Schema) -> Flow {
        let output = Flow { schema, ordered: false, ..input.clone() };
        match mode {
            Mode::Given(_) => output,
            Mode::Own(_) => {
                let [start, end] = [WINDOW_START, WINDOW_END].map(|name| Some(name.to_owned()));
                let time_columns = Some(vec![WINDOW_END.to_owned()]);
                Flow { window: Some(WindowColumns { start, end }), time_columns, ..output }
            }
            Mode::Running if input.sends == Sends::FinalRows => {
                Flow { changelog: None, time_columns: None, ..output }
            }
            Mode::Running => {
                // Where ties are kept, several rows have one rank.
                let rank = self.rank.as_ref().filter(|_| !self.ties).map(|(name, _)| name.clone());
                let key = rank.and_then(|rank| {
                    let mut columns = key.input_columns()?;
                    columns.push(rank);
                    Some(columns)
                });
                Flow { changelog: Some(Changelog { key }), ..output }
            }
        }
    }

    fn describe(&self, mode: &Mode, sends: Sends) -> String {
        let terms = self.order.list().unwrap_or(std::slice::from_ref(&self.order));
        let terms: Vec<&str> = terms.iter().filter_map(Node::expression).collect();
        let window = match (mode, &self.window) {
            (Mode::Given(_), _) => ", once the window closes".to_owned(),
            (_, Some(window)) => format!(" over windows: {}", window.text),
            _ => format!(", {}", sends.describe()),
        };
        let per = self.per.describe("per");
        let ties = if self.ties { " and all equal to the last" } else { "" };
        let late = match (mode, &self.late.to) {
            (Mode::Running, _) => String::new(),
            (_, Some((stream, _))) => format!("; late rows go to `{stream}`"),
            (_, None) => "; late rows are counted and dropped".to_owned(),
        };
        format!("top {}{ties} by {}{per}{window}{late}", self.n, terms.join(", "))
    }
}
