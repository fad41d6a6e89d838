//! `source`: a component, the format it reads, and what is declared of its records.

use super::Component;
use crate::error::{Place, Problem, Problems};
use crate::record::{Column, SqlType, parse_type};
use crate::yaml::{Fields, Key, Node, Rate, Reading, Spanned, Value};

/// The quarantine's size, unless the file says otherwise.
const QUARANTINE_BYTES_DEFAULT: u64 = 1 << 30;

/// Where records come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// What it is, with its own options.
    pub component: Component,
    /// The place of the key `source`.
    pub at: Place,
    /// All that is written under it.
    pub written: Node,
    /// How bytes become records, where the file says it.
    pub format: Option<Component>,
    /// The columns, where the file declares them.
    pub schema: Option<DeclaredSchema>,
    /// When a record happened, where the file says it.
    pub event_time: Option<EventTime>,
    /// What becomes of records that cannot be read.
    pub bad_record: BadRecord,
    /// Whether an option is written wrongly, which has been reported: what seems to be missing may be meant by it.
    pub misread: bool,
}

/// The columns of a source.
#[derive(Clone, Debug)]
pub struct DeclaredSchema {
    /// The place of the key `schema`.
    pub at: Place,
    /// The columns in the order of the page.
    pub columns: Vec<DeclaredColumn>,
}

/// A column of a source.
#[derive(Clone, Debug)]
pub struct DeclaredColumn {
    /// The column. Its type is [`SqlType::Null`] if the declared one is wrong, which has been reported: so the name is
    /// known, and what uses it is not reported too.
    pub column: Column,
    /// The place of its name.
    pub name_at: Place,
    /// The place of its type.
    pub type_at: Place,
}

/// When a record happened, and how late others may be.
#[derive(Clone, Debug)]
pub struct EventTime {
    /// The place of the key `event_time`.
    pub at: Place,
    /// The column, or an expression.
    pub column: Node,
    /// How far behind the latest record another may be, in milliseconds; 0 if not said.
    pub out_of_order_ms: i64,
    /// After which time without input the source no longer holds the watermark back, in milliseconds; 30,000 if not
    /// said.
    pub idle_after_ms: i64,
    /// How far ahead of the clock a record may be, in milliseconds, where the file says it.
    pub max_future_ms: Option<i64>,
}

impl EventTime {
    /// The time-out of idle splits where the file does not say, milliseconds.
    pub const IDLE_AFTER_MS: i64 = 30_000;
}

/// What becomes of a record that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRecordAction {
    /// It is kept beside the output with the reason.
    Quarantine,
    /// The pipeline stops.
    Fail,
}

/// What becomes of records that cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub struct BadRecord {
    /// Kept or fatal.
    pub action: BadRecordAction,
    /// The pipeline stops above this rate.
    pub stop_above: Option<Rate>,
    /// How many bytes the quarantine may take; 1 GiB if not said.
    pub limit_bytes: u64,
    /// The stream that records go to which cannot be read, instead of the quarantine.
    pub to: Option<Spanned<String>>,
}

impl BadRecord {
    /// Whether the pipeline does the same with the bad records of both, but for the stream they go to.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        (self.action, self.stop_above, self.limit_bytes)
            == (other.action, other.stop_above, other.limit_bytes)
    }
}

impl Default for BadRecord {
    fn default() -> Self {
        let action = BadRecordAction::Quarantine;
        Self { action, stop_above: None, limit_bytes: QUARANTINE_BYTES_DEFAULT, to: None }
    }
}

/// Reads `sources`.
pub(super) fn read_named(node: &Node, problems: &mut Problems) -> Vec<(Key, Source)> {
    let example = "write for instance orders: { file: { path: … }, format: json, schema: { … } }";
    let Some(entries) = node.map() else {
        if !node.is_null() {
            let what = format!("`sources` takes a map of names to sources, not {}", node.kind());
            problems.push(Problem::error(node.at, what).help(example));
        }
        return Vec::new();
    };
    let read = |(name, node): &(Key, Node)| {
        let source = read(name, node, &format!("sources.{}", name.text), problems)?;
        Some((name.clone(), source))
    };
    entries.iter().filter_map(read).collect()
}

/// Reads the source `what`; None without a component, which is reported.
pub(super) fn read(key: &Key, node: &Node, what: &str, problems: &mut Problems) -> Option<Source> {
    if Component::is_bare(node, what, problems) {
        return None;
    }
    let mut fields = Fields::under(key, node, what, problems);
    let format = fields.take("format").and_then(|node| Component::of_value(node, "format", problems));
    let schema = fields.entry("schema").and_then(|(key, node)| schema(key, node, problems));
    let event_time = fields.entry("event_time").and_then(|(key, node)| event_time(key, node, problems));
    let bad_record = fields.entry("bad_record").map(|(key, node)| bad_record(key, node, problems));
    fields.not_yet("compression", "the input is not compressed in this version", problems);
    let component = Component::of_rest(&mut fields, what, "`file: { path: … }` or `stdin:`", problems);
    let unreadable = (format.is_none() && fields.entry("format").is_some())
        || (schema.is_none() && fields.entry("schema").is_some());
    let misread = unreadable || fields.rest().next().is_some();
    fields.finish(problems);
    let bad_record = bad_record.unwrap_or_default();
    Some(Source {
        component: component?,
        at: key.at,
        written: node.clone(),
        format,
        schema,
        event_time,
        bad_record,
        misread,
    })
}

/// Reads `schema`.
pub(super) fn schema(key: &Key, node: &Node, problems: &mut Problems) -> Option<DeclaredSchema> {
    let example = "write `name: TYPE` for each column, for instance `amount: DECIMAL(12, 2) NOT NULL`";
    let Value::Map(entries) = &node.value else {
        let what = format!("`schema` takes a map of columns, not {}", node.kind());
        problems.push(Problem::error(node.at, what).help(example));
        return None;
    };
    if entries.is_empty() {
        problems.push(Problem::error(node.at, "`schema` declares no column").help(example));
        return None;
    }
    let columns = entries
        .iter()
        .map(|(name, declared)| {
            if name.text.is_empty() {
                problems.error(name.at, "a column has a name");
            }
            let (data_type, nullable) =
                column_type(&name.text, declared, problems).unwrap_or((SqlType::Null, true));
            let column = Column::new(name.text.clone(), data_type, nullable);
            DeclaredColumn { column, name_at: name.at, type_at: declared.at }
        })
        .collect();
    Some(DeclaredSchema { at: key.at, columns })
}

/// The type written for a column; variables are not replaced in types.
fn column_type(name: &str, declared: &Node, problems: &mut Problems) -> Option<(SqlType, bool)> {
    let text = match &declared.value {
        Value::Scalar(scalar) if !scalar.is_null() => scalar.raw.as_str(),
        _ => {
            let what = format!("the column `{name}` takes a type, not {}", declared.kind());
            let help = match declared.kind() {
                "a map" => "a nested object is ROW<name TYPE, …>",
                "a list" => "an array is ARRAY<TYPE>",
                _ => "write for instance STRING, BIGINT or TIMESTAMP(3)",
            };
            problems.push(Problem::error(declared.at, what).help(help));
            return None;
        }
    };
    match parse_type(text) {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            let at = declared.within(error.span.0, error.span.1);
            let mut problem = Problem::error(at, error.what);
            problem.help = error.help;
            problems.push(problem);
            None
        }
    }
}

fn event_time(key: &Key, node: &Node, problems: &mut Problems) -> Option<EventTime> {
    if let (Some(text), None) = (node.expression(), node.map()) {
        problems.push(
            Problem::error(node.at, "`event_time` takes a map of options, not text")
                .help(format!("write `event_time: {{ column: {text} }}`")),
        );
        return None;
    }
    let mut fields = Fields::under(key, node, "event_time", problems);
    fields.required("column", problems);
    let column = fields.expression("column", problems);
    let out_of_order = fields.duration_ms("out_of_order", problems);
    let idle_after = fields.duration_ms("idle_after", problems);
    let max_future_ms = fields.duration_ms("max_future", problems);
    fields.finish(problems);
    Some(EventTime {
        at: key.at,
        column: column?.clone(),
        out_of_order_ms: out_of_order.unwrap_or(0),
        idle_after_ms: idle_after.unwrap_or(EventTime::IDLE_AFTER_MS),
        max_future_ms,
    })
}

fn bad_record(key: &Key, node: &Node, problems: &mut Problems) -> BadRecord {
    let mut bad_record = BadRecord::default();
    if node.map().is_none() {
        match node.read(problems) {
            Reading::Text("quarantine") | Reading::Withheld => {}
            Reading::Text("fail") => bad_record.action = BadRecordAction::Fail,
            Reading::Text(_) | Reading::NotText => problems.push(
                Problem::error(node.at, "`bad_record` takes `quarantine`, `fail` or a map of options")
                    .help("the map is for instance `{ stop_above: 5% per 1m, limit: 1GiB }`"),
            ),
        }
        return bad_record;
    }
    let mut fields = Fields::under(key, node, "bad_record", problems);
    bad_record.stop_above = fields.rate("stop_above", problems);
    if let Some(limit) = fields.size_bytes("limit", problems) {
        bad_record.limit_bytes = limit;
    }
    let to = fields.text("to", problems).map(str::to_owned);
    let at = fields.take("to").map_or(key.at, |node| node.at);
    bad_record.to = to.map(|value| Spanned { value, at });
    fields.finish(problems);
    bad_record
}
