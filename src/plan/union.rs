//! Rows of several streams together.

use crate::config::Inputs;
use crate::error::{Problem, Problems};
use crate::operator::{Changelog, Flow};
use crate::record::{Column, Schema};

/// The rows of all of these, which are in the order of `from`; none after a problem.
pub(super) fn of(from: &Inputs, flows: Vec<Flow>, problems: &mut Problems) -> Option<Flow> {
    let mut flows = flows.into_iter();
    let mut all = flows.next()?;
    if let Inputs::Named(named) = from {
        problems.push(
            Problem::error(
                named[0].0.at,
                "streams are named here, and no step of this version tells them apart",
            )
            .help("for all their rows together write a list: `from: [a, b]`"),
        );
        return None;
    }
    let first = from.names().next().map_or("", |name| name.value.as_str());
    for (name, flow) in from.names().skip(1).zip(flows) {
        if let Some(difference) = difference(&all.schema, &flow.schema) {
            problems.push(
                Problem::error(
                    name.at,
                    format!("rows can only be put together where they have the same columns: {difference}"),
                )
                .help(format!(
                    "give `{first}` and `{}` the same columns, in one order, with a `select`",
                    name.value
                )),
            );
            return None;
        }
        if let (Some(one), Some(other)) = (&all.event_time, &flow.event_time)
            && one != other
        {
            let what = format!("the event time of `{first}` is {one}, that of `{}` {other}", name.value);
            problems.push(Problem::error(name.at, what).help("declare both with the same type"));
            return None;
        }
        all = together(all, flow);
    }
    Some(all)
}

/// What the rows of two streams have in common.
fn together(one: Flow, other: Flow) -> Flow {
    let columns = one.schema.columns().iter().zip(other.schema.columns());
    let columns = columns.map(|(one, other)| {
        Column::new(one.name.clone(), one.data_type.clone(), one.nullable || other.nullable)
    });
    let is_changing = one.changelog.is_some() || other.changelog.is_some();
    Flow {
        schema: Schema::new(columns.collect()),
        untimed: if one.event_time.is_none() { one.untimed } else { other.untimed },
        event_time: one.event_time.filter(|_| other.event_time.is_some()),
        time_columns: match (one.time_columns, other.time_columns) {
            (Some(mut one), Some(other)) => {
                one.retain(|column| other.contains(column));
                Some(one)
            }
            _ => None,
        },
        ordered: one.ordered && other.ordered,
        pruned: one.pruned || other.pruned,
        window: one.window.filter(|window| other.window.as_ref() == Some(window)),
        // Rows of two streams may be equal in a key.
        changelog: is_changing.then_some(Changelog { key: None }),
        sends: one.sends,
        tables: one.tables,
    }
}

/// How the columns of two streams differ, in words.
fn difference(one: &Schema, other: &Schema) -> Option<String> {
    let (one, other) = (one.columns(), other.columns());
    for (index, column) in one.iter().enumerate() {
        let Some(there) = other.get(index) else {
            return Some(format!("the second has no `{}`", column.name));
        };
        if there.name != column.name {
            return Some(format!(
                "column {} is `{}` in the one and `{}` in the other",
                index + 1,
                column.name,
                there.name
            ));
        }
        if there.data_type != column.data_type {
            let name = &column.name;
            return Some(format!(
                "`{name}` is {} in the one and {} in the other",
                column.data_type, there.data_type
            ));
        }
    }
    other.get(one.len()).map(|column| format!("the first has no `{}`", column.name))
}
