//! `throttle`: lets so many rows of a key pass in each period of wall time and drops the others.
//!
//! A key's period begins with the first row that passes; when it is over, the next row begins another. So at a rate of
//! one row a period, rows that pass are never less than a period apart, and no more than twice the rate pass in any
//! stretch as long as a period. (A token bucket would spread the rows, but needs the bucket of a key for ever or until
//! it is full again, and lets rows pass one by one where a period's worth is what was asked for.) A period that is over
//! is all that is forgotten, so a key that has been quiet for a period costs nothing.

use std::collections::VecDeque;

use arrow::array::{BooleanArray, RecordBatch};

use super::by::By;
use super::key_bytes::KeyBytes;
use super::prepared::{Prepared, state_name};
use super::queue::Queue;
use super::saved::{
    Clock, Early, StateKey, number_column, number_field, numbers, rows_of, time_column, time_field, times_ms,
};
use super::{Build, Captured, Context, Flow, Operator, Part, Resolved, StateSize, StateTable, Step, Verb};
use crate::error::{Place, Problem, Problems, Severity};
use crate::record::{Batch, Schema};
use crate::state::{Groups, Pages};
use crate::yaml::{Fields, Node};

/// The entry in the registry.
pub(super) const VERB: Verb = Verb {
    name: "throttle",
    summary: "lets at most `rate` rows pass, for each key where there is `by`, and drops the others; by the wall clock",
    example: "throttle: { name: alerts, by: user, rate: 1 per 10m }",
    parse,
};

/// A greater rate is a mistake, or no throttle.
const RATE_MAX: f64 = 1e9;

#[derive(Debug)]
struct Declared {
    at: Place,
    name: String,
    by: By,
    rate: Rate,
    rate_text: String,
}

/// How many rows pass in a period.
#[derive(Clone, Copy, Debug)]
struct Rate {
    rows: u32,
    period_ms: i64,
}

fn parse(node: &Node, at: Place, problems: &mut Problems) -> Option<Box<dyn Step>> {
    let before = problems.all().len();
    let mut fields = Fields::of(node, "throttle", problems);
    let name = state_name(&mut fields, "throttle", at, problems);
    let by = By::parse_unnamed(&mut fields, "by", problems);
    let rate_node = fields.required("rate", problems);
    let rate = rate_node.and_then(|node| parse_rate(&mut fields, node.at, problems));
    fields.finish(problems);
    let (by, rate, rate_text) = (by?, rate?, rate_node?.text()?.to_owned());
    let failed = problems.all()[before..].iter().any(|problem| problem.severity == Severity::Error);
    (!failed).then(|| Box::new(Declared { at, name, by, rate, rate_text }) as Box<dyn Step>)
}

fn parse_rate(fields: &mut Fields, at: Place, problems: &mut Problems) -> Option<Rate> {
    let rate = fields.rate("rate", problems)?;
    let wrong = |what: &str, help: &str| Problem::error(at, what).help(help);
    let problem = if rate.percent {
        wrong("a throttle counts rows, and this is a share", "`sample` keeps a share of the rows")
    } else if rate.count.fract() != 0.0 {
        wrong("a throttle lets whole rows pass", "name a longer time: 1 per 2s instead of 0.5 per 1s")
    } else if rate.count < 1.0 {
        wrong("no row would pass", "let at least one pass, as in 1 per 1h")
    } else if rate.count > RATE_MAX {
        wrong("that many rows never come", "a rate is at most 1000000000 in its time")
    } else {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and within 1..=1e9"
        )]
        return Some(Rate { rows: rate.count as u32, period_ms: rate.per_ms });
    };
    problems.push(problem);
    None
}

impl Step for Declared {
    fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved> {
        let stays = input.refuse_changelog("throttle", self.at, problems);
        let key = self.by.resolve(&input.schema, problems)?;
        stays?;
        let mut prepared = Prepared::new(&input.schema);
        let keys: Vec<usize> = key.expressions().map(|part| prepared.column(part)).collect();
        let timed = input.event_time.is_some();
        let operator = {
            let (keys, key, rate) = (keys.clone(), StateKey::from(&key), self.rate);
            let (schema, columns) = (input.schema.clone(), input.schema.columns().len());
            Build::new(self.describe(), move || {
                Box::new(Throttle::new(rate, keys.clone(), key.clone(), columns, &schema, timed))
            })
        };
        let what = format!("the key{}", self.by.describe("by"));
        let mut parts: Vec<Part> = prepared.part("throttle", &what).into_iter().collect();
        parts.push(Part::Exchange { columns: keys, codec: key.codec.clone() });
        parts.push(Part::Operator(operator.keeping(&self.name)));
        Some(Resolved {
            output: Flow { ordered: false, ..input.clone() },
            parts,
            side: Vec::new(),
            required: prepared.required(false),
        })
    }
}

impl Declared {
    fn describe(&self) -> String {
        let (rate, key) = (&self.rate_text, self.by.describe("by"));
        let all = if self.by.is_empty() { ", counted on one shard" } else { "" };
        format!("throttle to {rate}{key}{all} (by the wall clock: another run may keep other rows)")
    }
}

/// The tables of the state: the keys whose period is not over, and what the shard has one of.
const KEYS: usize = 0;
const CLOCK: usize = 1;

const CLOCK_TABLE: Clock<2> = Clock::new(["watermark_ms", "wall_ms"]);

struct Throttle {
    rate: Rate,
    keys: Vec<usize>,
    key: StateKey,
    /// How many of the prepared columns are the row's own.
    columns: usize,
    /// The keys whose period is not over.
    groups: Groups,
    /// By group.
    periods: Pages<Period>,
    /// The groups in the order in which their periods end.
    ends: VecDeque<u32>,
    clock: SteadyClock,
    table: StateTable,
    /// By how much the clock had been set back when the view began, milliseconds.
    view_behind_ms: i64,
    early: Early,
    queue: Queue,
}

/// The period of a key.
#[derive(Clone, Copy, Debug, Default)]
struct Period {
    /// By the steady clock.
    end_ms: i64,
    /// How many rows have passed in it.
    passed: u32,
}

/// The wall clock without its jumps back: time that is told twice counts once.
#[derive(Debug, Default)]
struct SteadyClock {
    last_wall_ms: i64,
    /// By how much the clock has been set back so far, milliseconds.
    behind_ms: i64,
}

impl SteadyClock {
    fn at(&mut self, wall_ms: i64) -> i64 {
        self.behind_ms = self.behind_ms.saturating_add((self.last_wall_ms.saturating_sub(wall_ms)).max(0));
        self.last_wall_ms = wall_ms;
        wall_ms.saturating_add(self.behind_ms)
    }
}

impl Throttle {
    fn new(
        rate: Rate,
        keys: Vec<usize>,
        key: StateKey,
        columns: usize,
        schema: &Schema,
        timed: bool,
    ) -> Self {
        let table = key.table("keys", [number_field("passed"), time_field("until")]);
        Self {
            rate,
            keys,
            key,
            columns,
            groups: Groups::default(),
            periods: Pages::default(),
            ends: VecDeque::new(),
            clock: SteadyClock::default(),
            table,
            view_behind_ms: 0,
            early: Early::default(),
            queue: Queue::new(schema, timed),
        }
    }

    /// Forgets the periods that are over.
    fn expire(&mut self, now_ms: i64) {
        let periods = &self.periods;
        let over = self.ends.iter().take_while(|group| periods[**group as usize].end_ms <= now_ms);
        let count = over.count();
        let over: Vec<u32> = self.ends.drain(..count).collect();
        self.keep_view(&over);
        for group in over {
            self.groups.remove(group);
        }
    }

    /// Saves those of these groups that a view still has to capture, before they change.
    fn keep_view(&mut self, groups: &[u32]) {
        if !self.groups.has_view() {
            return;
        }
        for groups in self.groups.take_uncaptured(groups).chunks(Batch::ROWS_MAX) {
            self.early.push(KEYS, self.save(groups));
        }
    }

    /// The periods of these groups, which end by the wall clock if it is not set back any more.
    fn save(&self, groups: &[u32]) -> RecordBatch {
        let mut columns = self.key.columns(groups.iter().map(|group| self.groups.key(*group)));
        let periods = groups.iter().map(|group| self.periods[*group as usize]);
        columns.push(number_column(periods.clone().map(|period| i64::from(period.passed))));
        let until_ms = |period: Period| period.end_ms.saturating_sub(self.view_behind_ms);
        columns.push(time_column(periods.map(until_ms)));
        rows_of(&self.table, columns, groups.len())
    }

    fn load(&mut self, rows: &RecordBatch) {
        let (groups, first) = (self.key.read(rows).number(&mut self.groups), self.key.len());
        self.periods.resize(self.groups.capacity());
        let (passed, until_ms) = (numbers(rows.column(first)), times_ms(rows.column(first + 1)));
        for (row, group) in groups.into_iter().enumerate() {
            let passed = u32::try_from(passed[row]).unwrap_or(u32::MAX);
            self.periods[group as usize] = Period { end_ms: until_ms[row], passed };
        }
    }

    /// Whether a row of this key passes.
    fn passes(&mut self, hash: u64, key: &[u8], now_ms: i64) -> bool {
        if let Some(group) = self.groups.find(hash, key) {
            let period = &mut self.periods[group as usize];
            let passes = period.passed < self.rate.rows;
            period.passed += u32::from(passes);
            return passes;
        }
        let group = self.groups.number(hash, key);
        self.periods.resize(self.groups.capacity());
        let end_ms = now_ms.saturating_add(self.rate.period_ms);
        self.periods[group as usize] = Period { end_ms, passed: 1 };
        self.ends.push_back(group);
        true
    }

    /// Sends the rows that pass, and the ends of their blocks.
    fn send(&mut self, batch: &Batch) {
        let own: Vec<usize> = (0..self.columns).collect();
        let rows = batch.rows.project(&own).expect("the row's own columns come first");
        let times = batch.times.as_ref().map(|times| times.at_ms.values().as_ref());
        let mut from = 0;
        for (segment, clock) in batch.segments.iter().zip(&batch.clocks) {
            let to = from + segment.rows as usize;
            let at_ms = times.map(|times: &[i64]| &times[from..to]);
            self.queue.rows(segment.number, &rows.slice(from, to - from), None, at_ms);
            if let Some(end) = &segment.end {
                self.queue.advance(clock);
                self.queue.end(segment.number, end);
            }
            from = to;
        }
    }
}

impl Operator for Throttle {
    fn push(&mut self, batch: Batch, context: &mut Context) {
        debug_assert_eq!(batch.clocks.len(), batch.segments.len(), "an inbox has set the clocks");
        let now_ms = self.clock.at(context.wall_ms);
        self.expire(now_ms);
        let keys = KeyBytes::of(&batch, &self.keys, &self.key.codec);
        let hashes = batch.hashes.as_ref().expect("an exchange has hashed the keys");
        if self.groups.has_view() {
            let known = hashes.values().iter().enumerate();
            let known = known.filter_map(|(row, hash)| self.groups.find(*hash, keys.key(row)));
            let known: Vec<u32> = known.collect();
            self.keep_view(&known);
        }
        let pass = |(row, hash): (usize, &u64)| self.passes(*hash, keys.key(row), now_ms);
        let keep: Vec<bool> = hashes.values().iter().enumerate().map(pass).collect();
        let kept = batch.filter(&BooleanArray::from(keep));
        context.throttled += (batch.len() - kept.len()) as u64;
        self.send(&kept);
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        self.queue.pull()
    }

    fn state(&self) -> StateSize {
        let ends = self.ends.capacity() * size_of::<u32>();
        StateSize {
            entries: self.groups.len(),
            bytes: self.groups.bytes() + self.periods.bytes() + ends + self.early.bytes(),
            next_close_ms: None,
        }
    }

    fn tables(&self) -> Vec<StateTable> {
        vec![self.table.clone(), CLOCK_TABLE.table()]
    }

    fn begin_view(&mut self) {
        self.groups.begin_view();
        self.view_behind_ms = self.clock.behind_ms;
        self.early.push(CLOCK, CLOCK_TABLE.row([self.queue.watermark_ms(), self.clock.last_wall_ms]));
    }

    fn capture(&mut self, rows: usize) -> Option<Captured> {
        if let Some(captured) = self.early.next(rows) {
            return Some(captured);
        }
        let groups = self.groups.scan(rows);
        (!groups.is_empty()).then(|| Captured { table: KEYS, rows: self.save(&groups) })
    }

    fn end_view(&mut self) {
        self.groups.end_view();
        self.early.clear();
    }

    fn restore(&mut self, table: usize, rows: &RecordBatch) {
        if table == KEYS {
            return self.load(rows);
        }
        let [watermark_ms, wall_ms] = CLOCK_TABLE.read(rows);
        self.queue.advance_to(watermark_ms);
        self.clock.last_wall_ms = self.clock.last_wall_ms.max(wall_ms);
    }

    fn restored(&mut self) {
        let mut groups = self.groups.numbers();
        groups.sort_by_key(|group| self.periods[*group as usize].end_ms);
        self.ends = groups.into();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, RecordBatch, StringArray};

    use super::super::feed::restored;
    use super::super::verify::{block, check, flow_of, resolve_step};
    use super::*;
    use crate::exchange::{Partition, Watermarks};
    use crate::record::{Column, SqlType};

    #[test]
    fn so_many_rows_of_a_key_pass() {
        // The harness's wall clock stands still.
        let rows = [
            r#"{"id":1,"user":"a"}"#,
            r#"{"id":2,"user":"a"}"#,
            r#"{"id":3,"user":"b"}"#,
            r#"{"id":4,"user":"A"}"#,
            r#"{"id":5,"user":null}"#,
        ];
        check(
            "throttle: { name: t, by: user, rate: 1 per 1s }",
            &rows,
            &[rows[0], rows[2], rows[3], rows[4]],
        );
        check("throttle: { name: t, by: UPPER(user), rate: 1 per 1s }", &rows, &[rows[0], rows[2], rows[4]]);
        check(
            "throttle: { name: t, by: { u: UPPER(user) }, rate: 2 per 1s }",
            &rows,
            &[rows[0], rows[1], rows[2], rows[4]],
        );
        check("throttle: { name: t, rate: 3 per 1s }", &rows, &rows[..3]);
    }

    #[test]
    fn times_and_watermarks_pass() {
        check(
            "throttle: { name: t, by: user, rate: 1 per 1s }",
            &[
                r#"{"user":"a","at":"2026-01-01T00:00:05"}"#,
                r#"{"user":"a","at":"2026-01-01T00:00:01"}"#,
                r#"{"user":"b","at":"2026-01-01T00:00:09"}"#,
            ],
            &[r#"{"user":"a","at":"2026-01-01T00:00:05"}"#, r#"{"user":"b","at":"2026-01-01T00:00:09"}"#],
        );
    }

    /// Rows of keys (one letter each) at wall times, and those that pass; then how many periods are open. The same where
    /// the state goes to another operator behind each of them.
    fn check_times(rate: &str, input: &[(i64, &str)], expect: &[&str], open: usize) {
        for restores in [false, true] {
            check_times_once(rate, input, expect, open, restores);
        }
    }

    fn check_times_once(rate: &str, input: &[(i64, &str)], expect: &[&str], open: usize, restores: bool) {
        let schema = Schema::new(vec![Column::new("user", SqlType::String, true)]);
        let resolved =
            resolve_step(&format!("throttle: {{ name: t, by: user, rate: {rate} }}"), &flow_of(&schema));
        let [Part::Exchange { columns, codec }, Part::Operator(build)] = resolved.parts.as_slice() else {
            panic!("a column needs no projection")
        };
        let (mut operator, mut context) = ((build.build)(), Context::default());
        let mut partition = Partition::new(codec.clone(), columns.clone());
        let mut watermarks = Watermarks::new(1, 0);
        let (mut rows, mut passed) = (0, 0);
        for (number, ((wall_ms, keys), expect)) in input.iter().zip(expect).enumerate() {
            let users: StringArray = keys.chars().map(|key| Some(key.to_string())).collect();
            let batch = RecordBatch::try_new(schema.arrow().clone(), vec![Arc::new(users)]).unwrap();
            let mut batch = partition.split(block(&schema, batch, number as u64, false), 1).remove(0);
            watermarks.stamp(&mut batch);
            context.wall_ms = *wall_ms;
            operator.push(batch, &mut context);
            let mut found = String::new();
            while let Some(batch) = operator.pull(&mut context) {
                found.extend(batch.rows.column(0).as_string::<i32>().iter().flatten());
            }
            assert_eq!(found, *expect, "{rate}, at {wall_ms}");
            (rows, passed) = (rows + keys.len() as u64, passed + found.len() as u64);
            if restores {
                operator.begin_view();
                let view: Vec<Captured> = std::iter::from_fn(|| operator.capture(1)).collect();
                operator = restored(build, &view);
            }
        }
        assert_eq!(context.throttled, rows - passed, "{rate}");
        assert_eq!(operator.state().entries, open, "{rate}");
    }

    #[test]
    fn a_period_begins_with_the_first_row_that_passes() {
        check_times(
            "2 per 1s",
            &[(1000, "aaab"), (1999, "ab"), (2000, "aab"), (2500, "a"), (3000, "aaa"), (9000, "c")],
            &["aab", "b", "aab", "", "aa", "c"],
            1,
        );
        check_times(
            "1 per 1s",
            &[(0, "a"), (500, "b"), (1000, "ab"), (1500, "ab")],
            &["a", "b", "a", "b"],
            2,
        );
        // Rows that are dropped do not make a period longer.
        check_times("1 per 1s", &[(0, "a"), (900, "a"), (1000, "a"), (1001, "a")], &["a", "", "a", ""], 1);
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nothing() {
        check_times(
            "1 per 1s",
            &[(100_000, "a"), (50_000, "a"), (50_999, "a"), (51_000, "a"), (51_999, "a"), (52_000, "a")],
            &["a", "", "", "a", "", "a"],
            1,
        );
    }
}
