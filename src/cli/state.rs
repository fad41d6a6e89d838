//! `state`: the rows that a snapshot keeps for a step, and what has changed between two snapshots.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::ops::ControlFlow;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::value::Value;
use xxhash_rust::xxh3::xxh3_128;

use super::locate::{StateDirectory, fail, open, refuse};
use super::rows::{Format, RowWriter, Shown, json_lines, texts};
use super::{Exit, say};
use crate::error::nearest;
use crate::expr::{self, Expr};
use crate::io::Clock;
use crate::record::{Schema, SqlType};
use crate::snapshot::{Snapshot, columns};

/// Arguments of `state`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the rows that a snapshot keeps for a step.
    Show(Show),
    /// Show what has changed between two snapshots, by key.
    Diff(Diff),
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    directory: StateDirectory,
    /// The name of the step.
    #[arg(value_name = "STEP")]
    step: String,
    /// Which of its tables; without it the first that has a key.
    #[arg(long)]
    table: Option<String>,
    /// Only the rows of this key; given once for each column of the key, from the first on.
    #[arg(long = "key", value_name = "VALUE")]
    keys: Vec<String>,
    /// Only the rows for which this holds: SQL over the table's columns.
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// At most so many rows.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Which snapshot, by its epoch; without it the newest.
    #[arg(long, value_name = "N")]
    snapshot: Option<u64>,
    /// How the rows are written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where to; without it to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<String>,
}

#[derive(Debug, Args)]
struct Diff {
    #[command(flatten)]
    directory: StateDirectory,
    /// The snapshot before, by its epoch.
    #[arg(value_name = "A")]
    before: u64,
    /// The snapshot after.
    #[arg(value_name = "B")]
    after: u64,
    /// Only the state of one step.
    #[arg(long)]
    step: Option<String>,
    /// At most so many keys of each table; all are counted.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// How the rows are written.
    #[arg(long, value_enum, default_value = "text")]
    format: DiffFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DiffFormat {
    /// `-` for rows that have gone, `+` for those that have come.
    Text,
    /// One JSON object a row.
    Json,
}

pub(super) fn main(arguments: &Arguments) -> Exit {
    let done = match &arguments.verb {
        Verb::Show(arguments) => show(arguments),
        Verb::Diff(arguments) => diff(arguments),
    };
    done.err().unwrap_or(Exit::Done)
}

/// A table of a state in a snapshot.
struct Table {
    state: usize,
    number: usize,
    /// The name of its step.
    step: String,
    /// Its name, with a number where operators of one step have tables of one name: `groups:2`.
    name: String,
    schema: SchemaRef,
    key: Option<usize>,
}

fn tables(snapshot: &Snapshot) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for (state, saved) in snapshot.states().into_iter().enumerate() {
        for (number, table) in saved.tables.into_iter().enumerate() {
            let base = |name: &str| name.split(':').next() == Some(&table.name);
            let before = tables.iter().filter(|other| other.step == saved.name && base(&other.name)).count();
            let name = if before == 0 { table.name } else { format!("{}:{}", table.name, before + 1) };
            let (schema, key) = (table.schema, table.key);
            tables.push(Table { state, number, step: saved.name.clone(), name, schema, key });
        }
    }
    tables
}

/// Tells that there is no such name among others.
fn unknown<'a>(kind: &str, name: &str, names: impl Iterator<Item = &'a str>) -> Exit {
    let mut names: Vec<&str> = names.collect();
    names.dedup();
    let help = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "the snapshot keeps no state".to_owned(),
        None => format!("there are: {}", names.join(", ")),
    };
    fail(Exit::Failed, format!("there is no {kind} `{name}` in the snapshot\n  help: {help}"))
}

fn show(arguments: &Show) -> Result<(), Exit> {
    if arguments.format == Format::Parquet && arguments.out.is_none() {
        return Err(fail(Exit::Failed, "--format parquet writes a file: give --out FILE"));
    }
    let snapshot = open(&arguments.directory.store()?, arguments.snapshot)?;
    let tables = tables(&snapshot);
    let of_step: Vec<&Table> = tables.iter().filter(|table| table.step == arguments.step).collect();
    if of_step.is_empty() {
        let steps = tables.iter().map(|table| table.step.as_str());
        return Err(unknown("state", &arguments.step, steps));
    }
    let table = match &arguments.table {
        Some(name) => of_step
            .iter()
            .find(|table| table.name == *name)
            .ok_or_else(|| unknown("table", name, of_step.iter().map(|table| table.name.as_str())))?,
        None => of_step.iter().find(|table| table.key.is_some()).unwrap_or(&of_step[0]),
    };
    let shown = Shown::new(&table.schema);
    let filter = Filter::new(arguments, table, &shown)?;
    let failed = |error: &io::Error| fail(Exit::Disk, format!("failed to write the rows: {error}"));
    let writer = RowWriter::new(arguments.format, shown.schema(), arguments.out.as_deref());
    let mut writer = writer.map_err(|error| failed(&error))?;
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    let (mut unevaluated, mut written) = (Unevaluated::default(), Ok(()));
    let take = |rows: &RecordBatch| {
        let rows = filter.rows(&shown.rows(rows), &mut unevaluated);
        let rows = rows.slice(0, rows.num_rows().min(left));
        left -= rows.num_rows();
        written = writer.write(shown.schema(), &rows);
        if left == 0 || written.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    snapshot.rows(table.state, table.number, take).map_err(|error| refuse(&error))?;
    match written.and_then(|()| writer.end()) {
        // A reader that has seen enough (`| head`) is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        ended => ended.map_err(|error| failed(&error))?,
    }
    if let Some(first) = unevaluated.first {
        let count = unevaluated.count;
        return Err(fail(Exit::Failed, format!("--where could not be evaluated for {count} rows: {first}")));
    }
    if arguments.table.is_none() && of_step.len() > 1 {
        let others = of_step.iter().filter(|other| other.name != table.name).map(|other| other.name.as_str());
        let others: Vec<&str> = others.collect();
        say(format_args!(
            "note: table `{}`; the step also keeps {} (--table)",
            table.name,
            others.join(", ")
        ));
    }
    Ok(())
}

/// Which rows are shown.
struct Filter<'a> {
    keys: &'a [String],
    condition: Option<Expr>,
    wall_ms: i64,
    schema: &'a Schema,
}

/// Rows for which a condition could not be evaluated.
#[derive(Default)]
struct Unevaluated {
    count: usize,
    first: Option<String>,
}

impl<'a> Filter<'a> {
    fn new(arguments: &'a Show, table: &Table, shown: &'a Shown) -> Result<Self, Exit> {
        let key = table.key.unwrap_or(0);
        if arguments.keys.len() > key {
            let what = match key {
                0 => format!("the table `{}` has no key: use --where", table.name),
                _ => format!(
                    "the key of the table `{}` has {key} columns: {}",
                    table.name,
                    columns(&table.schema)
                ),
            };
            return Err(fail(Exit::Failed, what));
        }
        let condition =
            arguments.condition.as_deref().map(|text| condition(text, shown.schema())).transpose()?;
        let wall_ms = Clock::start().now().wall_us / 1000;
        Ok(Self { keys: &arguments.keys, condition, wall_ms, schema: shown.schema() })
    }

    fn rows(&self, rows: &RecordBatch, unevaluated: &mut Unevaluated) -> RecordBatch {
        let mut rows = rows.clone();
        for (index, key) in self.keys.iter().enumerate() {
            let texts = texts(&self.schema.columns()[index], rows.column(index));
            let is_key = |text: &Option<String>| Some(text.as_deref().unwrap_or("NULL") == key);
            let keep: BooleanArray = texts.iter().map(is_key).collect();
            rows = filter_record_batch(&rows, &keep).expect("there is a mark for each row");
        }
        let Some(condition) = &self.condition else { return rows };
        let evaluated = condition.evaluate_at(&rows, self.wall_ms);
        unevaluated.count += evaluated.failed.len();
        if unevaluated.first.is_none() {
            unevaluated.first = evaluated.failed.into_iter().next().map(|(_, what)| what);
        }
        let keep = evaluated.values.as_boolean();
        filter_record_batch(&rows, keep).expect("there is a mark for each row")
    }
}

/// A condition over the columns of a table.
fn condition(text: &str, schema: &Schema) -> Result<Expr, Exit> {
    let condition = expr::compile(text, schema).map_err(|errors| {
        for error in errors {
            let (start, end) = error.span;
            let place = text.get(start..end).filter(|place| !place.is_empty());
            let place = place.map(|place| format!(" (at `{place}`)")).unwrap_or_default();
            let help = error.help.map(|help| format!("\n  help: {help}")).unwrap_or_default();
            say(format_args!("error: --where: {}{place}{help}", error.what));
        }
        Exit::Failed
    })?;
    if *condition.data_type() == SqlType::Boolean {
        return Ok(condition);
    }
    let what = format!("--where is a condition, and `{text}` is {}", condition.data_type());
    Err(fail(Exit::Failed, what))
}

fn diff(arguments: &Diff) -> Result<(), Exit> {
    let store = arguments.directory.store()?;
    let before = open(&store, Some(arguments.before))?;
    let after = open(&store, Some(arguments.after))?;
    let (old, new) = (tables(&before), tables(&after));
    let is_wanted = |table: &&Table| arguments.step.as_ref().is_none_or(|step| table.step == *step);
    let same = |a: &Table, b: &Table| (&a.step, &a.name) == (&b.step, &b.name);
    if let Some(step) = &arguments.step
        && !old.iter().chain(&new).any(|table| table.step == *step)
    {
        return Err(unknown("state", step, old.iter().chain(&new).map(|table| table.step.as_str())));
    }
    let mut out = Differences { out: io::BufWriter::new(io::stdout()), arguments, any: false };
    for table in new.iter().filter(is_wanted) {
        let old = old.iter().find(|old| same(old, table));
        if let Some(old) = old.filter(|old| (&old.schema, old.key) != (&table.schema, table.key)) {
            say(format_args!(
                "note: {}/{} has other columns: {}, then {}",
                table.step,
                table.name,
                columns(&old.schema),
                columns(&table.schema)
            ));
            continue;
        }
        let compared = compare(old.map(|old| (&before, old)), Some((&after, table)))?;
        out.table(table, &compared).map_or_else(ended, Ok)?;
    }
    for table in old.iter().filter(is_wanted).filter(|old| !new.iter().any(|table| same(old, table))) {
        let compared = compare(Some((&before, table)), None)?;
        out.table(table, &compared).map_or_else(ended, Ok)?;
    }
    out.end().map_or_else(ended, Ok)
}

fn ended(error: io::Error) -> Result<(), Exit> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Err(Exit::Done),
        _ => Err(fail(Exit::Disk, format!("failed to write: {error}"))),
    }
}

/// What a key has in two snapshots: digests, so that few bytes a key are kept.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Digest {
    rows: u64,
    /// The sum of the hashes of the rows.
    sum: u128,
}

/// The rows of a key, before and after.
type Change = [Vec<String>; 2];

/// One side of a comparison.
type Side<'a> = Option<(&'a Snapshot, &'a Table)>;

/// The keys whose rows differ, with those rows that are on one side only.
fn compare(before: Side, after: Side) -> Result<Vec<Change>, Exit> {
    let mut digests: HashMap<u128, [Digest; 2]> = HashMap::new();
    for (side, place) in [before, after].into_iter().enumerate() {
        each_row(place, |key, row| {
            let digest = &mut digests.entry(key).or_default()[side];
            digest.rows += 1;
            digest.sum = digest.sum.wrapping_add(xxh3_128(row.as_bytes()));
        })?;
    }
    digests.retain(|_, [before, after]| before != after);
    let mut changes: HashMap<u128, Change> = HashMap::new();
    for (side, place) in [before, after].into_iter().enumerate() {
        each_row(place, |key, row| {
            if digests.contains_key(&key) {
                changes.entry(key).or_default()[side].push(row);
            }
        })?;
    }
    let mut changes: Vec<Change> = changes.into_values().map(without_common).collect();
    changes.sort_unstable_by(|a, b| a.iter().flatten().next().cmp(&b.iter().flatten().next()));
    Ok(changes)
}

/// Calls for each row with the hash of its key and its text.
fn each_row(place: Side, mut take: impl FnMut(u128, String)) -> Result<(), Exit> {
    let Some((snapshot, table)) = place else { return Ok(()) };
    let shown = Shown::new(&table.schema);
    let key = table.key.map(|count| Schema::new(shown.schema().columns()[..count].to_vec()));
    let rows = |rows: &RecordBatch| {
        let rows = shown.rows(rows);
        let lines = json_lines(shown.schema(), &rows);
        let keys = key.as_ref().map(|key| {
            let columns = rows.columns()[..key.columns().len()].to_vec();
            json_lines(key, &key.rows(columns, rows.num_rows()))
        });
        for (index, line) in lines.into_iter().enumerate() {
            // A row without a key is its own.
            let key = keys.as_ref().map_or(&line, |keys| &keys[index]);
            take(xxh3_128(key.as_bytes()), line);
        }
        ControlFlow::Continue(())
    };
    snapshot.rows(table.state, table.number, rows).map_err(|error| refuse(&error))
}

/// The rows of a key without those that are on both sides.
fn without_common([before, after]: Change) -> Change {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for (rows, one) in [(before, -1), (after, 1)] {
        for row in rows {
            *counts.entry(row).or_default() += one;
        }
    }
    let mut change = Change::default();
    for (row, count) in counts {
        let side = usize::from(count > 0);
        for _ in 0..count.unsigned_abs() {
            change[side].push(row.clone());
        }
    }
    change
}

/// Writes what has changed.
struct Differences<'a, W: Write> {
    out: W,
    arguments: &'a Diff,
    any: bool,
}

impl<W: Write> Differences<'_, W> {
    fn table(&mut self, table: &Table, changes: &[Change]) -> io::Result<()> {
        let place = format!("{}/{}", table.step, table.name);
        let text = self.arguments.format == DiffFormat::Text;
        if text && !changes.is_empty() {
            let count = |side: [bool; 2]| {
                changes.iter().filter(|[before, after]| [before.is_empty(), after.is_empty()] == side).count()
            };
            let (added, removed, changed) =
                (count([true, false]), count([false, true]), count([false, false]));
            writeln!(self.out, "{place}: {added} added, {removed} removed, {changed} changed")?;
        }
        self.any |= !changes.is_empty();
        for [before, after] in changes.iter().take(self.arguments.limit.unwrap_or(usize::MAX)) {
            for (sign, change, rows) in [("-", "removed", before), ("+", "added", after)] {
                for row in rows {
                    if text {
                        writeln!(self.out, "  {sign} {row}")?;
                    } else {
                        let place = Value::from(place.as_str());
                        writeln!(self.out, r#"{{"table":{place},"change":"{change}","row":{row}}}"#)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn end(mut self) -> io::Result<()> {
        if !self.any && self.arguments.format == DiffFormat::Text {
            writeln!(self.out, "no difference")?;
        }
        self.out.flush()
    }
}
