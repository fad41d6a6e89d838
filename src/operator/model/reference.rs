//! What `aggregate` means: every row is kept, and every result is computed from the rows it is about.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, Row};
use super::step::{Step, Window};

/// How far rows may be out of order in the harness, milliseconds.
const OUT_OF_ORDER_MS: i64 = 1000;

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Null,
    /// A number, or milliseconds of a timestamp.
    Integer(i64),
    Text(String),
    List(Vec<Value>),
}

/// A row of the output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Change {
    pub(super) values: Vec<Value>,
    /// −1 where it takes an equal row back, else 1.
    pub(super) weight: i8,
    /// Its event time, milliseconds.
    pub(super) at_ms: i64,
    /// The block that caused it.
    pub(super) block: u64,
}

/// What a step makes of a case.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The rows of the output, those of one key in order.
    pub(super) changes: Vec<Change>,
    /// The rows that came too late.
    pub(super) late: Vec<Row>,
}

/// An aggregate: its text, and its result over the rows of a group.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) text: &'static str,
    pub(super) of: fn(&[Row]) -> Value,
    /// Whether the result depends on the order of the rows.
    pub(super) by_arrival: bool,
}

/// The aggregates of random steps.
pub(super) static CALLS: [Call; 15] = [
    call("COUNT(*)", |rows| count(rows.len())),
    call("COUNT(price)", |rows| count(prices(rows).count())),
    call("SUM(price)", |rows| sum(prices(rows))),
    call("MIN(price)", |rows| integer(prices(rows).min())),
    call("MAX(price)", |rows| integer(prices(rows).max())),
    call("COUNT(*) FILTER (WHERE price > 3)", |rows| count(high(rows).count())),
    call("SUM(price) FILTER (WHERE price > 3)", |rows| sum(high(rows))),
    call("MAX(price) FILTER (WHERE price <= 3)", |rows| {
        integer(prices(rows).filter(|price| *price <= 3).max())
    }),
    // An integer division truncates.
    call("AVG(price)", |rows| integer(prices(rows).reduce(|a, b| a + b).map(|sum| sum / number(rows)))),
    call("SUM(price) + COUNT(*)", |rows| match sum(prices(rows)) {
        Value::Integer(sum) => Value::Integer(sum + i64::try_from(rows.len()).expect("a few")),
        null => null,
    }),
    call("COUNT(DISTINCT price)", |rows| count(prices(rows).collect::<BTreeSet<_>>().len())),
    call("SUM(DISTINCT price)", |rows| sum(prices(rows).collect::<BTreeSet<_>>().into_iter())),
    by_arrival("FIRST_VALUE(price)", |rows| integer(prices(rows).next())),
    by_arrival("LAST_VALUE(price)", |rows| integer(prices(rows).last())),
    by_arrival("ARRAY_AGG(price)", |rows| Value::List(rows.iter().map(|row| integer(row.price)).collect())),
];

const fn call(text: &'static str, of: fn(&[Row]) -> Value) -> Call {
    Call { text, of, by_arrival: false }
}

const fn by_arrival(text: &'static str, of: fn(&[Row]) -> Value) -> Call {
    Call { text, of, by_arrival: true }
}

fn prices(rows: &[Row]) -> impl Iterator<Item = i64> {
    rows.iter().filter_map(|row| row.price)
}

fn high(rows: &[Row]) -> impl Iterator<Item = i64> {
    prices(rows).filter(|price| *price > 3)
}

fn number(rows: &[Row]) -> i64 {
    i64::try_from(prices(rows).count()).expect("a few")
}

fn count(count: usize) -> Value {
    Value::Integer(i64::try_from(count).expect("a few"))
}

fn integer(value: Option<i64>) -> Value {
    value.map_or(Value::Null, Value::Integer)
}

fn sum(values: impl Iterator<Item = i64>) -> Value {
    integer(values.reduce(|a, b| a + b))
}

impl Row {
    /// Its values in these columns.
    pub(super) fn values(&self, columns: &[&str]) -> Vec<Value> {
        let value = |column: &&str| match *column {
            "id" => integer(self.id),
            "user" => self.user.map_or(Value::Null, |user| Value::Text(user.to_owned())),
            "price" => integer(self.price),
            "at" => Value::Integer(self.at_ms),
            other => panic!("rows have no column {other}"),
        };
        columns.iter().map(value).collect()
    }
}

/// What the step has to make of the case.
pub(super) fn expect(step: &Step, case: &Case) -> Outcome {
    match step.window {
        Window::None => running(step, case),
        Window::Rows { count } => counted(step, case, count),
        Window::Session { gap_ms } => sessions(step, case, gap_ms),
        Window::Sliding { .. } | Window::Cumulative { .. } => windows(step, case),
    }
}

/// The rows in order of arrival, each with its block and the watermark that the rows before it have made.
fn arrivals(case: &Case) -> Vec<(u64, i64, Row)> {
    let mut watermark_ms = i64::MIN;
    let mut arrivals = Vec::new();
    for (block, rows) in (0..).zip(&case.blocks) {
        for row in rows {
            arrivals.push((block, watermark_ms, *row));
            watermark_ms = watermark_ms.max(row.at_ms - OUT_OF_ORDER_MS);
        }
    }
    arrivals
}

/// The watermark at the end of each block; the end of the input ends time.
fn watermarks(case: &Case) -> Vec<i64> {
    let mut watermark_ms = i64::MIN;
    let ends = case.blocks.iter().map(|rows| {
        let highest = rows.iter().map(|row| row.at_ms - OUT_OF_ORDER_MS).max();
        watermark_ms = watermark_ms.max(highest.unwrap_or(i64::MIN));
        watermark_ms
    });
    let mut ends: Vec<i64> = ends.collect();
    *ends.last_mut().expect("there is a block") = i64::MAX;
    ends
}

/// The results of the step over these rows of a group.
fn results(step: &Step, rows: &[Row]) -> Vec<Value> {
    step.select.iter().map(|call| (call.of)(rows)).collect()
}

/// The windows that hold a time: start and end.
fn holding(window: Window, at_ms: i64) -> Vec<(i64, i64)> {
    match window {
        Window::Sliding { size_ms, every_ms, offset_ms } => {
            let last = (at_ms - offset_ms).div_euclid(every_ms) * every_ms + offset_ms;
            let starts = (0..).map(|back| last - back * every_ms);
            let starts = starts.take_while(|start| start + size_ms > at_ms);
            starts.map(|start| (start, start + size_ms)).collect()
        }
        Window::Cumulative { size_ms, every_ms, offset_ms } => {
            let start = (at_ms - offset_ms).div_euclid(size_ms) * size_ms + offset_ms;
            let ends = (1..=size_ms / every_ms).map(|steps| start + steps * every_ms);
            ends.filter(|end| *end > at_ms).map(|end| (start, end)).collect()
        }
        Window::None | Window::Session { .. } | Window::Rows { .. } => unreachable!("not cut by time"),
    }
}

/// Windows that are given by time alone.
fn windows(step: &Step, case: &Case) -> Outcome {
    let mut groups: BTreeMap<(Vec<Value>, i64, i64), Vec<Row>> = BTreeMap::new();
    let mut outcome = Outcome::default();
    for (_, watermark_ms, row) in arrivals(case) {
        let is_open = |end: i64| watermark_ms < end - 1 + step.allow_ms;
        let windows = holding(step.window, row.at_ms);
        if windows.iter().map(|(_, end)| *end).max().is_some_and(|last| !is_open(last)) {
            outcome.late.push(row);
        }
        for (start, end) in windows.into_iter().filter(|(_, end)| is_open(*end)) {
            groups.entry((row.values(step.by), start, end)).or_default().push(row);
        }
    }
    let fired =
        groups.into_iter().map(|((key, start, end), rows)| fired(step, case, key, (start, end), &rows));
    outcome.changes.extend(fired);
    outcome
}

/// The row of a window, at the end of the first block that takes the watermark to it.
fn fired(step: &Step, case: &Case, key: Vec<Value>, (start, end): (i64, i64), rows: &[Row]) -> Change {
    let at_ms = end - 1;
    let block = watermarks(case).iter().position(|watermark_ms| *watermark_ms >= at_ms);
    let mut values = key;
    values.extend([Value::Integer(start), Value::Integer(end)]);
    values.extend(results(step, rows));
    Change { values, weight: 1, at_ms, block: block.expect("the input ends") as u64 }
}

/// The rows of one session and its bounds.
struct Session {
    start: i64,
    end: i64,
    rows: Vec<Row>,
}

fn sessions(step: &Step, case: &Case, gap_ms: i64) -> Outcome {
    let mut outcome = Outcome::default();
    let mut open: BTreeMap<Vec<Value>, Vec<Session>> = BTreeMap::new();
    let mut closed: Vec<(Vec<Value>, Session)> = Vec::new();
    for (_, watermark_ms, row) in arrivals(case) {
        let key = row.values(step.by);
        let is_open = |session: &Session| watermark_ms < session.end - 1 + step.allow_ms;
        let sessions = open.entry(key.clone()).or_default();
        closed.extend(
            sessions.extract_if(.., |session| !is_open(session)).map(|session| (key.clone(), session)),
        );
        let mut merged = Session { start: row.at_ms, end: row.at_ms + gap_ms, rows: Vec::new() };
        // A row may touch two sessions, which it then makes one; they do not touch each other.
        let (start, end) = (merged.start, merged.end);
        for session in sessions.extract_if(.., |session| session.start <= end && start <= session.end) {
            merged.start = merged.start.min(session.start);
            merged.end = merged.end.max(session.end);
            merged.rows.extend(session.rows);
        }
        if is_open(&merged) {
            merged.rows.push(row);
            sessions.push(merged);
        } else {
            assert!(merged.rows.is_empty(), "an open session only ends later");
            outcome.late.push(row);
        }
    }
    closed.extend(
        open.into_iter()
            .flat_map(|(key, sessions)| sessions.into_iter().map(move |session| (key.clone(), session))),
    );
    let fired = closed
        .into_iter()
        .map(|(key, Session { start, end, rows })| fired(step, case, key, (start, end), &rows));
    outcome.changes.extend(fired);
    outcome
}

/// Windows of `count` rows.
fn counted(step: &Step, case: &Case, count: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let mut groups: BTreeMap<Vec<Value>, Vec<Row>> = BTreeMap::new();
    for (block, _, row) in arrivals(case) {
        let key = row.values(step.by);
        let rows = groups.entry(key.clone()).or_default();
        rows.push(row);
        if rows.len() == count {
            let mut values = key;
            values.extend(results(step, rows));
            outcome.changes.push(Change { values, weight: 1, at_ms: row.at_ms, block });
            rows.clear();
        }
    }
    outcome
}

/// A key of a running aggregate.
#[derive(Default)]
struct Group {
    rows: Vec<Row>,
    sent: Option<Vec<Value>>,
    latest_ms: i64,
}

fn running(step: &Step, case: &Case) -> Outcome {
    let mut changes = Vec::new();
    let mut groups: BTreeMap<Vec<Value>, Group> = BTreeMap::new();
    for ((block, rows), watermark_ms) in (0..).zip(&case.blocks).zip(watermarks(case)) {
        for row in rows {
            let key = row.values(step.by);
            let new = || Group { latest_ms: i64::MIN, ..Group::default() };
            let group = groups.entry(key.clone()).or_insert_with(new);
            group.latest_ms = group.latest_ms.max(row.at_ms);
            if row.weight > 0 {
                group.rows.push(*row);
            } else {
                let same = group.rows.iter().position(|other| *other == Row { weight: 1, ..*row });
                group.rows.remove(same.expect("only rows that are there are taken back"));
            }
            if step.every_change {
                changes.extend(group.changes(step, key, row.at_ms, block));
            }
        }
        if !step.every_change {
            changes.extend(
                groups
                    .iter_mut()
                    .flat_map(|(key, group)| group.changes(step, key.clone(), group.latest_ms, block)),
            );
        }
        if let Some(ttl_ms) = step.ttl_ms {
            groups.retain(|_, group| watermark_ms < group.latest_ms + ttl_ms);
        }
    }
    Outcome { changes, late: Vec::new() }
}

impl Group {
    /// What leads from the row sent last to the one that holds now.
    fn changes(&mut self, step: &Step, key: Vec<Value>, at_ms: i64, block: u64) -> Vec<Change> {
        let mut values = key;
        values.extend(results(step, &self.rows));
        let now = (!self.rows.is_empty()).then_some(values);
        if now == self.sent {
            return Vec::new();
        }
        let change = |weight: i8| move |values: Vec<Value>| Change { values, weight, at_ms, block };
        let before = std::mem::replace(&mut self.sent, now.clone());
        before.map(change(-1)).into_iter().chain(now.map(change(1))).collect()
    }
}
