//! Random patterns over random rows, against a search that backtracks over all rows of a key, one start after the other.
//!
//! The model knows nothing of automata, watermarks or ways: it has the rows that are not late in their order, and tries
//! what the pattern says, preferred things first.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::util::display::array_value_to_string;
use fastrand::Rng;

use super::search::Skip;
use super::sequence::{Pattern, Sequence};
use crate::operator::Resolved;
use crate::operator::verify::{Cut, Output, block, flow_of, resolve_step, run, run_cut};
use crate::record::{Batch, Column, Schema, SqlType};

/// The disorder that the harness's source allows, milliseconds.
const OUT_OF_ORDER_MS: i64 = 1000;

/// How many cases run on one step: to resolve a step costs more than to run it over a few rows.
const CASES_PER_STEP: usize = 50;

#[derive(Clone, Debug, PartialEq)]
struct Row {
    key: u8,
    at_ms: i64,
    price: Option<i64>,
    id: i64,
}

/// A row that a variable has taken.
type Taken<'a> = (&'a Row, u8);

/// What a variable's condition says, of variables by their numbers.
#[derive(Clone, Copy, Debug)]
enum Condition {
    Any,
    Above(i64),
    Equal(i64),
    AboveItsOwnBefore,
    AboveTheRowBefore,
    AtLeast(u8),
    SumBelow(i64),
    Fewer(u8, i64),
    AtLeastItsFirst,
    Rows(i64),
}

impl Condition {
    /// Of the row alone, or of earlier rows too.
    fn random(variables: u8, earlier: bool, rng: &mut Rng) -> Self {
        let other = rng.u8(..variables);
        match rng.u8(..if earlier { 14 } else { 6 }) {
            0 => Self::Any,
            1..=3 => Self::Above(rng.i64(0..7)),
            4..=5 => Self::Equal(rng.i64(0..3)),
            6 => Self::AboveItsOwnBefore,
            7 => Self::AboveTheRowBefore,
            8..=9 => Self::AtLeast(other),
            10 => Self::SumBelow(rng.i64(3..15)),
            11 => Self::Fewer(other, rng.i64(1..4)),
            12 => Self::AtLeastItsFirst,
            _ => Self::Rows(rng.i64(1..6)),
        }
    }

    /// As it is written for a variable; none where there is no condition.
    fn text(self, own: &str, names: &[String]) -> Option<String> {
        let name = |variable: u8| &names[usize::from(variable)];
        Some(match self {
            Self::Any => return None,
            Self::Above(least) => format!("{own}.price > {least}"),
            Self::Equal(price) => format!("MOD(price, 3) = {price}"),
            Self::AboveItsOwnBefore => {
                format!("LAST({own}.price, 1) IS NULL OR price > LAST({own}.price, 1)")
            }
            Self::AboveTheRowBefore => "price > LAST(price, 1)".to_owned(),
            Self::AtLeast(other) => format!("price >= {}.price", name(other)),
            Self::SumBelow(most) => format!("SUM({own}.price) < {most}"),
            Self::Fewer(other, most) => format!("COUNT({}.*) < {most}", name(other)),
            Self::AtLeastItsFirst => format!("price >= FIRST({own}.price)"),
            Self::Rows(most) => format!("COUNT(*) <= {most}"),
        })
    }

    /// Whether it is TRUE for the last of these rows.
    fn holds(self, taken: &[Taken]) -> bool {
        let (row, own) = *taken.last().expect("the row itself");
        let of = |variable: u8| taken.iter().filter(move |(_, by)| *by == variable).map(|(row, _)| *row);
        let number = |count: usize| i64::try_from(count).expect("a few");
        let above = |a: Option<i64>, b: Option<i64>| a.zip(b).is_some_and(|(a, b)| a > b);
        let at_least = |a: Option<i64>, b: Option<i64>| a.zip(b).is_some_and(|(a, b)| a >= b);
        match self {
            Self::Any => true,
            Self::Above(least) => above(row.price, Some(least)),
            Self::Equal(price) => row.price.is_some_and(|found| found % 3 == price),
            Self::AboveItsOwnBefore => {
                let before = of(own).rev().nth(1).and_then(|row| row.price);
                before.is_none() || above(row.price, before)
            }
            Self::AboveTheRowBefore => {
                above(row.price, taken.iter().rev().nth(1).and_then(|(row, _)| row.price))
            }
            Self::AtLeast(other) => at_least(row.price, of(other).next_back().and_then(|row| row.price)),
            Self::SumBelow(most) => {
                let prices: Vec<i64> = of(own).filter_map(|row| row.price).collect();
                !prices.is_empty() && prices.iter().sum::<i64>() < most
            }
            Self::Fewer(other, most) => number(of(other).count()) < most,
            Self::AtLeastItsFirst => at_least(row.price, of(own).next().and_then(|row| row.price)),
            Self::Rows(most) => number(taken.len()) <= most,
        }
    }
}

/// A step.
#[derive(Debug)]
struct Step {
    text: String,
    sequence: Sequence,
    conditions: Vec<Condition>,
    within_ms: Option<i64>,
    skip: Skip,
    by: bool,
}

impl Step {
    fn random(earlier: bool, rng: &mut Rng) -> Self {
        let sequence = loop {
            let text = random_sequence(2, rng);
            if let Ok(sequence) = Sequence::parse(&text) {
                break (text, sequence);
            }
        };
        let (written, sequence) = sequence;
        let names = &sequence.variables;
        let count = u8::try_from(names.len()).expect("a few");
        let conditions: Vec<Condition> =
            names.iter().map(|_| Condition::random(count, earlier, rng)).collect();
        let within_ms = rng.bool().then(|| rng.i64(1..12) * 250);
        let variable = rng.u8(..count);
        let name = &names[usize::from(variable)];
        let (mut skip, mut skip_text) = match rng.u8(..6) {
            0..=2 => (Skip::PastLastRow, "past_last_row".to_owned()),
            3 => (Skip::ToNextRow, "to_next_row".to_owned()),
            4 => (Skip::ToFirst(variable), format!("{{ to_first: {name} }}")),
            _ => (Skip::ToLast(variable), format!("{{ to_last: {name} }}")),
        };
        if super::Program::of(&sequence).expect("small").starters() == 1 << variable {
            (skip, skip_text) = match skip {
                Skip::ToFirst(_) => (Skip::ToNextRow, "to_next_row".to_owned()),
                other => (other, skip_text),
            };
        }
        let define = names.iter().zip(&conditions).filter_map(|(name, condition)| {
            condition.text(name, names).map(|text| format!("{name}: '{text}'"))
        });
        let define: Vec<String> = define.collect();
        let select = names.iter().map(|name| {
            format!(
                ", {0}_id: {0}.id, {0}_n: COUNT({0}.*), {0}_sum: SUM({0}.price), {0}_second: 'FIRST({0}.id, 1)', {0}_before: 'LAST({0}.id, 1)'",
                name.to_lowercase()
            ).replace(&format!("{}.", name.to_lowercase()), &format!("{name}."))
        });
        let select: String = select.collect();
        let within = within_ms.map_or(String::new(), |within_ms| format!(", within: {within_ms}ms"));
        let by = rng.u8(..4) > 0;
        let by_text = if by { ", by: user" } else { "" };
        let text = format!(
            "pattern: {{ name: p{by_text}, sequence: '{written}', define: {{ {} }}{within}, skip: {skip_text}, select: {{ n: COUNT(*), first: FIRST(id), last: LAST(id){select} }} }}",
            define.join(", ")
        );
        Self { text, sequence, conditions, within_ms, skip, by }
    }
}

fn random_sequence(depth: usize, rng: &mut Rng) -> String {
    let parts = (0..rng.usize(1..4)).map(|_| {
        let part = if depth > 0 && rng.u8(..4) == 0 {
            format!("({})", random_sequence(depth - 1, rng))
        } else {
            ["A", "B", "C", "D"][rng.usize(..4)].to_owned()
        };
        let quantifiers = ["", "", "", "", "?", "*", "+", "{2}", "{1,2}", "{2,}", "{,2}"];
        let quantifier = quantifiers[rng.usize(..quantifiers.len())];
        let reluctant = if quantifier.is_empty() || rng.u8(..3) > 0 { "" } else { "?" };
        format!("{part}{quantifier}{reluctant}")
    });
    let text = parts.collect::<Vec<_>>().join(" ");
    if rng.u8(..5) == 0 { format!("{text} | {}", random_sequence(0, rng)) } else { text }
}

/// A search that backtracks.
struct Backtracking<'a> {
    step: &'a Step,
    rows: &'a [&'a Row],
    start: usize,
    /// How many conditions it has looked at.
    looked: usize,
}

/// A search that looks at more conditions than this is not worth waiting for.
const LOOKED_MAX: usize = 200_000;

impl<'a> Backtracking<'a> {
    /// Matches a part behind what has been taken, and then what follows; whether all of it is found.
    fn matches(
        &mut self,
        pattern: &Pattern,
        taken: &mut Vec<Taken<'a>>,
        then: &mut dyn FnMut(&mut Self, &mut Vec<Taken<'a>>) -> bool,
    ) -> bool {
        match pattern {
            Pattern::Variable(variable) => {
                let Some(row) = self.rows.get(self.start + taken.len()) else { return false };
                let first_ms = self.rows[self.start].at_ms;
                self.looked += 1;
                if self.looked > LOOKED_MAX
                    || self.step.within_ms.is_some_and(|within_ms| row.at_ms - first_ms >= within_ms)
                {
                    return false;
                }
                taken.push((row, *variable));
                let condition = self.step.conditions[usize::from(*variable)];
                if condition.holds(taken) && then(self, taken) {
                    return true;
                }
                taken.pop();
                false
            }
            Pattern::Concatenation(parts) => self.in_order(parts, taken, then),
            Pattern::Alternation(parts) => parts.iter().any(|part| self.matches(part, taken, then)),
            Pattern::Repetition { .. } => self.again(pattern, 0, taken, then),
        }
    }

    fn in_order(
        &mut self,
        parts: &[Pattern],
        taken: &mut Vec<Taken<'a>>,
        then: &mut dyn FnMut(&mut Self, &mut Vec<Taken<'a>>) -> bool,
    ) -> bool {
        match parts.split_first() {
            None => then(self, taken),
            Some((first, rest)) => {
                self.matches(first, taken, &mut |search, taken| search.in_order(rest, taken, then))
            }
        }
    }

    fn again(
        &mut self,
        repetition: &Pattern,
        turns: u32,
        taken: &mut Vec<Taken<'a>>,
        then: &mut dyn FnMut(&mut Self, &mut Vec<Taken<'a>>) -> bool,
    ) -> bool {
        let Pattern::Repetition { of, least, most, greedy } = repetition else { unreachable!("it is one") };
        let may_end = turns >= *least;
        if may_end && !greedy && then(self, taken) {
            return true;
        }
        if most.is_none_or(|most| turns < most) {
            let before = taken.len();
            let found = self.matches(of, taken, &mut |search, taken| {
                // A turn that takes no row is one of those that have to be, or none.
                let counts = taken.len() > before || !may_end;
                counts && search.again(repetition, turns + 1, taken, then)
            });
            if found {
                return true;
            }
        }
        may_end && *greedy && then(self, taken)
    }
}

/// The rows of the output, as text.
fn expected(step: &Step, rows: &[Row]) -> Option<(Vec<String>, u64)> {
    let (mut timely, mut seen_ms, mut late) = (Vec::new(), i64::MIN, 0);
    for row in rows {
        if seen_ms > i64::MIN && row.at_ms <= seen_ms - OUT_OF_ORDER_MS {
            late += 1;
        } else {
            timely.push(row);
        }
        seen_ms = seen_ms.max(row.at_ms);
    }
    timely.sort_by_key(|row| row.at_ms);
    let mut keys: BTreeMap<u8, Vec<&Row>> = BTreeMap::new();
    for row in timely {
        keys.entry(if step.by { row.key } else { 0 }).or_default().push(row);
    }
    let mut lines = Vec::new();
    for (key, rows) in keys {
        let mut start = 0;
        while start < rows.len() {
            let mut search = Backtracking { step, rows: &rows, start, looked: 0 };
            let (mut taken, mut found) = (Vec::new(), Vec::new());
            search.matches(&step.sequence.pattern, &mut taken, &mut |_, taken| {
                found.clone_from(taken);
                true
            });
            if search.looked > LOOKED_MAX {
                return None;
            }
            let place = |variable: u8, last: bool| {
                let is_it = |(_, by): &Taken| *by == variable;
                if last { found.iter().rposition(is_it) } else { found.iter().position(is_it) }
            };
            let behind = match step.skip {
                _ if found.is_empty() => None,
                Skip::PastLastRow => Some(found.len()),
                Skip::ToNextRow => None,
                Skip::ToFirst(variable) => place(variable, false),
                Skip::ToLast(variable) => place(variable, true),
            };
            start += behind.unwrap_or(1).max(1);
            if !found.is_empty() {
                lines.push(line(step, key, &found));
            }
        }
    }
    lines.sort();
    Some((lines, late))
}

/// A row of the output as text.
fn line(step: &Step, key: u8, found: &[Taken]) -> String {
    let mut values: Vec<String> = if step.by { vec![format!("user {key}")] } else { Vec::new() };
    values.extend([
        found.len().to_string(),
        found[0].0.id.to_string(),
        found[found.len() - 1].0.id.to_string(),
    ]);
    for variable in 0..u8::try_from(step.sequence.variables.len()).expect("a few") {
        let rows: Vec<&Row> = found.iter().filter(|(_, by)| *by == variable).map(|(row, _)| *row).collect();
        let id = |row: Option<&&Row>| row.map_or(String::new(), |row| row.id.to_string());
        let prices: Vec<i64> = rows.iter().filter_map(|row| row.price).collect();
        let sum = if prices.is_empty() { String::new() } else { prices.iter().sum::<i64>().to_string() };
        values.extend([
            id(rows.last()),
            rows.len().to_string(),
            sum,
            id(rows.get(1)),
            id(rows.iter().rev().nth(1)),
        ]);
    }
    values.join(",")
}

fn schema() -> Schema {
    Schema::new(vec![
        Column::new("user", SqlType::String, true),
        Column::new("at", SqlType::Timestamp(3), true),
        Column::new("price", SqlType::BigInt, true),
        Column::new("id", SqlType::BigInt, true),
    ])
}

fn columns_of(rows: &[Row]) -> RecordBatch {
    let users: StringArray = rows.iter().map(|row| Some(format!("user {}", row.key))).collect();
    let times: TimestampMillisecondArray = rows.iter().map(|row| Some(row.at_ms)).collect();
    let prices: Int64Array = rows.iter().map(|row| row.price).collect();
    let ids: Int64Array = rows.iter().map(|row| Some(row.id)).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(users), Arc::new(times), Arc::new(prices), Arc::new(ids)];
    RecordBatch::try_new(schema().arrow().clone(), columns).expect("the columns of the schema")
}

/// The rows of the output as text, checked to be later than the watermarks before them where one shard made them.
fn found(output: &Output, shards: usize) -> Vec<String> {
    let (mut lines, mut watermark_ms) = (Vec::new(), i64::MIN);
    for batch in &output.batches {
        let values = |row: usize| {
            let value = |column: &ArrayRef| array_value_to_string(column, row).expect("a value has a text");
            batch.rows.columns().iter().map(value).collect::<Vec<_>>().join(",")
        };
        lines.extend((0..batch.len()).map(values));
        let times = batch.times.as_ref().expect("matches have times").at_ms.values();
        let mut from = 0;
        for segment in &batch.segments {
            let rows = from..from + segment.rows as usize;
            from = rows.end;
            if shards == 1 {
                assert!(times[rows].iter().all(|at_ms| *at_ms > watermark_ms), "behind {watermark_ms}");
                watermark_ms = segment.end.map_or(watermark_ms, |end| end.max_time_ms.max(watermark_ms));
            }
        }
    }
    lines.sort();
    lines
}

fn random_rows(rng: &mut Rng) -> Vec<Row> {
    let (keys, disorder_ms, step_ms) = (rng.u8(1..4), rng.i64(1..2500), rng.i64(1..500));
    let (mut at_ms, count) = (1_000_000, rng.usize(1..28));
    let row = |id: usize| {
        at_ms += if rng.u8(..) < 10 { rng.i64(0..6000) } else { rng.i64(0..step_ms) };
        // Few distinct times, so that there are equal ones.
        let at_ms = (at_ms - rng.i64(0..disorder_ms)) / 50 * 50;
        let price = (rng.u8(..) > 20).then(|| rng.i64(0..9));
        Row { key: rng.u8(0..keys), at_ms, price, id: i64::try_from(id).expect("a few") }
    };
    (0..count).map(row).collect()
}

fn blocks_of(rows: &[Row], rng: &mut Rng) -> Vec<Batch> {
    let (mut blocks, mut from) = (Vec::new(), 0);
    while from < rows.len() {
        let count = rng.usize(1..=9).min(rows.len() - from);
        let last = from + count == rows.len();
        blocks.push(block(&schema(), columns_of(&rows[from..from + count]), blocks.len() as u64, last));
        from += count;
    }
    blocks
}

/// What is told of a case in which a search has been given up.
const GIVEN_UP: &str = "given up";

/// What is wrong about what the step makes of these rows; whether there were matches and late rows otherwise.
fn compare(step: &Step, resolved: &Resolved, rows: &[Row], seed: u64) -> Result<(usize, u64), String> {
    let Some((expect, late)) = expected(step, rows) else { return Ok((0, 0)) };
    let mut rng = Rng::with_seed(seed);
    let (shards, per_batch, blocks) = (rng.usize(1..4), rng.usize(1..6), blocks_of(rows, &mut rng));
    let mut outputs = vec![(shards, run(resolved, shards, per_batch, &blocks))];
    if rng.u8(..8) == 0 {
        let mut cuts = Vec::new();
        for block in 1..blocks.len() {
            if rng.bool() && cuts.len() < 3 {
                cuts.push(Cut { block, shards: rng.usize(1..4) });
            }
        }
        let cut = run_cut(resolved, shards, per_batch, &blocks, &cuts, rng.u64(..));
        outputs.extend(cut.into_iter().map(|output| (0, output)));
    }
    for (shards, output) in outputs {
        // Some patterns are too ambiguous to be searched for: that is told, and what is found is then less.
        if output.rejected.iter().any(|why| why.starts_with("more than")) {
            return Err(GIVEN_UP.to_owned());
        }
        let found = found(&output, shards);
        if found != expect || output.late != late || !output.rejected.is_empty() {
            return Err(format!(
                "expected {expect:?}, late {late}\nfound {found:?}, late {}, rejected {:?}",
                output.late, output.rejected
            ));
        }
    }
    Ok((expect.len(), late))
}

/// Takes rows out as long as something is still wrong.
fn shrink(step: &Step, resolved: &Resolved, mut rows: Vec<Row>, seed: u64) -> Vec<Row> {
    let mut at = 0;
    while at < rows.len() {
        let mut fewer = rows.clone();
        fewer.remove(at);
        if !fewer.is_empty() && compare(step, resolved, &fewer, seed).is_err_and(|wrong| wrong != GIVEN_UP) {
            rows = fewer;
            at = 0;
        } else {
            at += 1;
        }
    }
    rows
}

/// Runs the cases of these seeds.
fn check(seeds: std::ops::Range<u64>, earlier: bool) {
    let (mut cases, mut matches, mut late, mut given_up) = (0, 0, 0, 0);
    for seed in seeds {
        let mut rng = Rng::with_seed(seed);
        let step = Step::random(earlier, &mut rng);
        let resolved = resolve_step(&step.text, &flow_of(&schema()));
        for _ in 0..CASES_PER_STEP {
            let (rows, case) = (random_rows(&mut rng), rng.u64(..));
            match compare(&step, &resolved, &rows, case) {
                Ok((found, behind)) => (matches, late) = (matches + found, late + behind),
                Err(wrong) if wrong == GIVEN_UP => given_up += 1,
                Err(_) => {
                    let rows = shrink(&step, &resolved, rows, case);
                    let wrong = compare(&step, &resolved, &rows, case).expect_err("it still fails");
                    panic!("seed {seed}\n{}\n{rows:#?}\n{wrong}", step.text);
                }
            }
            cases += 1;
        }
    }
    // Cases in which nothing happens would show nothing.
    assert!(matches > 2 * cases && late > cases as u64 / 2, "{cases} cases, {matches} matches, {late} late");
    assert!(given_up < cases / 500, "{given_up} of {cases} cases were given up");
}

#[test]
fn conditions_of_single_rows() {
    check(0..200, false);
}

#[test]
fn conditions_of_earlier_rows() {
    check(1000..1210, true);
}
