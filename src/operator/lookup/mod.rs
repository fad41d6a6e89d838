//! `lookup`: each row with the row of a table that belongs to it, as one more column, a ROW with the table's name. The table
//! is the same on every shard, so rows stay where they are.
//!
//! What is found is what the table has when the row comes: after a table has changed, the same input may yield other rows.
//! With `as_of` it depends on the row and on the file alone.

mod running;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use running::{AsOf, Lookup};

use super::{Build, Flow, Part, Resolved, Step, Verb};
use crate::error::{Place, Problem, Problems};
use crate::expr::{TableKey, compile_at, report, table_keys};
use crate::record::{Column, Paths, Schema, SqlType};
use crate::table::Table;
use crate::yaml::{Fields, Node, Spanned};

/// The entry in the registry.
pub(super) const VERB: Verb = Verb {
    name: "lookup",
    summary: "adds the row of one of the `tables` that `match` finds, as a ROW column with the table's name; where there is none, an `inner` lookup drops the row and a `left` one has NULL; `as_of` takes the version of a time",
    example: "lookup: { table: users, match: users.id = id, kind: left }",
    parse,
};

/// What becomes of a row for which nothing is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It is dropped.
    Inner,
    /// It gets a NULL.
    Left,
}

impl Kind {
    const CHOICES: [(&'static str, Self); 2] = [("inner", Self::Inner), ("left", Self::Left)];

    fn name(self) -> &'static str {
        Self::CHOICES[usize::from(self == Self::Left)].0
    }
}

fn parse(node: &Node, _: Place, problems: &mut Problems) -> Option<Box<dyn Step>> {
    let mut fields = Fields::of(node, "lookup", problems);
    let table = fields.required("table", problems);
    let matching = fields.required("match", problems);
    let kind = fields.one_of("kind", &Kind::CHOICES, problems);
    let as_of = fields.take("as_of").cloned();
    fields.finish(problems);
    let table = table?;
    // What a table is called can as little come from a variable as a key can.
    let Some(name) = table.expression().filter(|_| !table.is_null()) else {
        problems.push(
            Problem::error(table.at, format!("`table` takes the name of a table, not {}", table.kind()))
                .help("write for instance lookup: { table: customers, match: customers.id = customer_id }"),
        );
        return None;
    };
    let table = Spanned { value: name.to_owned(), at: table.at };
    let kind = kind.unwrap_or(Kind::Inner);
    Some(Box::new(Declared { table, matching: matching?.clone(), kind, as_of, used: Rc::default() }))
}

#[derive(Debug)]
struct Declared {
    table: Spanned<String>,
    matching: Node,
    kind: Kind,
    as_of: Option<Node>,
    /// Which columns of the table are used behind the step, once that is known: it has been resolved over all columns then,
    /// and is going to be resolved over those that are used.
    used: Rc<RefCell<Option<Paths>>>,
}

/// The word for the event time of a row.
const EVENT_TIME: &str = "event_time";

impl Step for Declared {
    fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved> {
        let stays = input.refuse_changelog("lookup", self.table.at, problems);
        let table = self.table(input, problems)?;
        let column = table.column(self.kind == Kind::Left);
        if input.schema.column(&column.name).is_some() {
            let what =
                format!("the rows here have a column `{}` already, which the table is called", column.name);
            problems.push(
                Problem::error(self.table.at, what)
                    .help("rename the table, or the column with a `rename` before"),
            );
            return None;
        }
        let keys = self.keys(&table, &column, &input.schema, problems);
        let as_of = self.as_of(&table, input, problems);
        let (keys, as_of) = (keys?, as_of.ok()?);
        stays?;
        Some(self.resolved(&table, column, keys, as_of, input))
    }
}

impl Declared {
    fn table(&self, input: &Flow, problems: &mut Problems) -> Option<Arc<Table>> {
        let name = self.table.value.as_str();
        if let Some(found) = input.tables.find(name) {
            return found.cloned();
        }
        let problem = Problem::error(self.table.at, format!("there is no table `{name}`"));
        problems.push(if input.tables.names().next().is_none() {
            problem.help("declare it under `tables`, beside `sources` and `steps`")
        } else {
            problem.suggest(name, input.tables.names(), "this file has")
        });
        None
    }

    /// The values that a row is looked up by, in the order of the table's key.
    fn keys(
        &self,
        table: &Table,
        column: &Column,
        rows: &Schema,
        problems: &mut Problems,
    ) -> Option<Vec<TableKey>> {
        let Some(text) = self.matching.expression() else {
            let what = format!("`match` takes an SQL condition, not {}", self.matching.kind());
            problems.error(self.matching.at, what);
            return None;
        };
        let names = table.key_names();
        let found = table_keys(text, column, &names, rows);
        let mut keys = found.map_err(|errors| report(&self.matching, errors, problems)).ok()?;
        keys.sort_by_key(|key| names.iter().position(|name| *name == key.column));
        Some(keys)
    }

    /// The time whose version is wanted; none where that is the present one. An error has been reported.
    fn as_of(&self, table: &Table, input: &Flow, problems: &mut Problems) -> Result<Option<AsOf>, ()> {
        let Some(node) = &self.as_of else { return Ok(None) };
        let Some(versions) = table.versions.map(|index| &table.schema.columns()[index]) else {
            let what = format!("the table `{}` has no versions, so there is none of a time", table.name);
            problems.push(
                Problem::error(node.at, what)
                    .help("declare from when on its rows hold, for instance versions: { from: valid_from }"),
            );
            return Err(());
        };
        let (as_of, data_type) = if node.expression() == Some(EVENT_TIME) {
            if input.schema.column(EVENT_TIME).is_some() {
                let what = "`event_time` is the event time of the row here, and the rows have a column of that name too";
                problems.push(Problem::error(node.at, what).help("rename the column with a `rename` before"));
                return Err(());
            }
            let Some(data_type) = &input.event_time else {
                problems.push(
                    Problem::error(node.at, "the rows here have no event time")
                        .help(format!("{}, or name a column of type TIMESTAMP(3)", input.untimed.help())),
                );
                return Err(());
            };
            (AsOf::EventTime, data_type.clone())
        } else {
            let expression = compile_at(node, &input.schema, problems).ok_or(())?;
            let data_type = expression.data_type().clone();
            (AsOf::Expression(expression), data_type)
        };
        match (&versions.data_type, &data_type) {
            (SqlType::Timestamp(_), SqlType::Timestamp(_))
            | (SqlType::TimestampLtz(_), SqlType::TimestampLtz(_)) => Ok(Some(as_of)),
            (versions_type, other) => {
                let what = format!(
                    "the versions of `{}` hold from a {versions_type} on (`{}`), and this is {other}",
                    table.name, versions.name
                );
                problems
                    .push(Problem::error(node.at, what).help(format!("write CAST(… AS {versions_type})")));
                Err(())
            }
        }
    }

    fn resolved(
        &self,
        table: &Arc<Table>,
        column: Column,
        keys: Vec<TableKey>,
        as_of: Option<AsOf>,
        input: &Flow,
    ) -> Resolved {
        let mut needs = Paths::default();
        for key in &keys {
            needs.extend(key.value.paths());
        }
        if let Some(AsOf::Expression(expression)) = &as_of {
            needs.extend(expression.paths());
        }
        // Columns that nobody uses are not made.
        let used = self.used.borrow().clone().filter(|_| input.pruned);
        let kept = Schema::new(vec![column]);
        let kept = used.map_or_else(|| kept.clone(), |used| used.prune(&kept));
        let mut columns = input.schema.columns().to_vec();
        columns.extend(kept.columns().iter().cloned());
        let output = Flow { schema: Schema::new(columns), ..input.clone() };
        let lookup =
            Lookup::recipe(table, self.kind == Kind::Inner, &keys, as_of, &input.schema, &output.schema);
        let build = Build::new(self.describe(table), move || Box::new(lookup.build()));
        let (recorded, name) = (self.used.clone(), table.name.clone());
        Resolved {
            output,
            side: Vec::new(),
            parts: vec![Part::Operator(build)],
            required: Box::new(move |output| {
                let mut of_table = Paths::default();
                for path in output.iter().filter(|path| *path[0] == *name) {
                    // A column of the table is kept whole.
                    of_table.insert(path.iter().take(2).cloned().collect());
                }
                *recorded.borrow_mut() = Some(of_table);
                let mut needed = output.map_columns(|used| (*used != *name).then(|| used.to_owned()));
                needed.extend(needs.iter());
                needed
            }),
        }
    }

    /// What it does, for `explain`.
    fn describe(&self, table: &Table) -> String {
        let (kind, name) = (self.kind.name(), &table.name);
        let matching = self.matching.expression().unwrap_or_default();
        let how = match &self.as_of {
            Some(time) => format!("as of {}", time.expression().unwrap_or_default()),
            None if table.watch => {
                "as the table is when the row comes: in a replay rows differ where the file has changed meanwhile".to_owned()
            }
            None => "as the table was when the run started".to_owned(),
        };
        format!("lookup ({kind}) {name} where {matching}, {how}")
    }
}

#[cfg(test)]
mod tests;
