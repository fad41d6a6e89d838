//! What stands between the last step and the sink: the operators that make a changelog into what the sink writes.

use crate::error::{Place, Problem, Problems};
use crate::operator::{Flow, Part, Sends, UpsertSpec, debezium, debezium_schema, settle};
use crate::record::{KeyCodec, Schema, SqlType};
use crate::sink::{ChangeForm, Changes, Sink};
use crate::source::Source;

/// The name of the state that a sink's operators keep.
pub(super) const STATE: &str = "sink";

/// How rows get to a sink.
pub(super) struct Delivery {
    /// What runs behind the last step.
    pub parts: Vec<Part>,
    /// The rows that are written.
    pub schema: Schema,
}

/// What running steps send for a sink.
pub(super) fn sends(sink: Option<&dyn Sink>) -> Sends {
    let form = sink.and_then(Sink::changes).map(|changes| changes.form);
    // A sink that takes changes without a form lets nobody see them.
    let drops = form.is_none() && sink.is_some_and(Sink::takes_changes);
    match form {
        Some(ChangeForm::Upsert | ChangeForm::Final) => Sends::BlockChanges,
        _ if drops => Sends::BlockChanges,
        _ => Sends::EachChange,
    }
}

/// Whether a sink takes only the rows that are there when the input is complete.
pub(super) fn wants_only_final_rows(sink: &dyn Sink) -> bool {
    sink.changes().is_some_and(|changes| changes.form == ChangeForm::Final)
}

/// Resolves the sink, which stands at `at`, against the rows it gets; `state` is the name of what is kept before it.
pub(super) fn resolve(
    sink: &dyn Sink,
    at: Place,
    state: &str,
    source: Option<&dyn Source>,
    rows: &Flow,
    problems: &mut Problems,
) -> Option<Delivery> {
    let plain = || Delivery { parts: Vec::new(), schema: rows.schema.clone() };
    let Some(changes) = sink.changes() else {
        if rows.changelog.is_some() && !sink.takes_changes() {
            problems.push(
                Problem::error(at, "this sink takes rows that stay, and the rows here may be taken back")
                    .help("add to its options changelog: debezium (every change), upsert (the newest row of each key) or, where the input ends, final (what is there in the end)"),
            );
            return None;
        }
        return Some(plain());
    };
    match changes.form {
        ChangeForm::Debezium => {
            let parts = vec![Part::Operator(debezium(&rows.schema))];
            Some(Delivery { parts, schema: debezium_schema(&rows.schema) })
        }
        ChangeForm::Final => {
            if let Some(source) = source.filter(|source| !source.is_bounded()) {
                let source = source.describe();
                let name = source.split(" (").next().unwrap_or(&source);
                let what =
                    format!("`changelog: final` needs input that is sure to end, and that of {name} is not");
                problems.push(
                    Problem::error(changes.at, what).help("use `changelog: upsert` or `changelog: debezium`"),
                );
                return None;
            }
            // Rows that are never taken back are final as they come.
            let parts = match rows.changelog {
                Some(_) => {
                    refuse_no_columns(changes, &rows.schema, problems)?;
                    settled(&rows.schema, state)
                }
                None => Vec::new(),
            };
            Some(Delivery { parts, ..plain() })
        }
        ChangeForm::Upsert => upsert(changes, state, rows, problems),
    }
}

/// Keeps rows until they are final. Equal rows meet, as many shards as there are and will be: they are exchanged by all
/// columns that can be a key.
fn settled(schema: &Schema, state: &str) -> Vec<Part> {
    let types = schema.columns().iter().map(|column| column.data_type.clone());
    let (columns, types): (Vec<usize>, Vec<SqlType>) =
        types.enumerate().filter(|(_, data_type)| KeyCodec::new(vec![data_type.clone()]).is_ok()).unzip();
    let codec = KeyCodec::new(types).expect("each of them can be a key");
    let settle = settle(schema, &columns, &codec, state);
    vec![Part::Exchange { columns, codec }, Part::Operator(settle)]
}

fn refuse_no_columns(changes: &Changes, schema: &Schema, problems: &mut Problems) -> Option<()> {
    if schema.columns().is_empty() {
        problems.error(changes.at, "the rows have no columns to be told apart by");
        return None;
    }
    Some(())
}

fn upsert(changes: &Changes, state: &str, rows: &Flow, problems: &mut Problems) -> Option<Delivery> {
    refuse_no_columns(changes, &rows.schema, problems)?;
    let own = rows.changelog.as_ref().and_then(|changelog| changelog.key.as_deref());
    let names: Vec<(&str, Place)> = match (&changes.upsert_by, own) {
        (Some(names), _) => names.iter().map(|name| (name.value.as_str(), name.at)).collect(),
        (None, Some(own)) => own.iter().map(|name| (name.as_str(), changes.at)).collect(),
        (None, None) => {
            problems.push(
                Problem::error(changes.at, "nothing says which columns are the key of these rows")
                    .help("add upsert_by: [column, …] beside `changelog: upsert`"),
            );
            return None;
        }
    };
    let (key, types) = key_columns(&names, &rows.schema, problems)?;
    let codec = match KeyCodec::new(types) {
        Ok(codec) => codec,
        Err(data_type) => {
            let found = names.iter().find(|(name, _)| {
                rows.schema.column(name).is_some_and(|column| column.data_type == data_type)
            });
            let at = found.map_or(changes.at, |(_, at)| *at);
            problems.push(
                Problem::error(at, format!("{data_type} cannot be a key"))
                    .help("name columns of other types in `upsert_by`"),
            );
            return None;
        }
    };
    let spec = UpsertSpec {
        schema: rows.schema.clone(),
        key: key.clone(),
        codec: codec.clone(),
        rows_stay: rows.changelog.is_none(),
        ordered: rows.ordered,
    };
    let schema = spec.output();
    // The rows of the changelog's own key are on one shard already, but that may be another one than the key's: those of
    // a ranked `top` are where its partition is. The state is restored to where the key is.
    let parts = vec![Part::Exchange { columns: key, codec }, Part::Operator(spec.build(state))];
    Some(Delivery { parts, schema })
}

/// The positions and types of the key's columns.
fn key_columns(
    names: &[(&str, Place)],
    schema: &Schema,
    problems: &mut Problems,
) -> Option<(Vec<usize>, Vec<SqlType>)> {
    let mut complete = true;
    let (mut key, mut types) = (Vec::new(), Vec::new());
    for (name, at) in names {
        match schema.index_of(name) {
            Some(index) if key.contains(&index) => {
                problems.error(*at, format!("`{name}` is named twice"));
                complete = false;
            }
            Some(index) => {
                key.push(index);
                types.push(schema.columns()[index].data_type.clone());
            }
            None => {
                let known = schema.columns().iter().map(|column| column.name.as_str());
                let problem = Problem::error(*at, format!("there is no column `{name}`"));
                problems.push(problem.suggest(name, known, "the rows have"));
                complete = false;
            }
        }
    }
    complete.then_some((key, types))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Column, parse_type};

    /// The columns by which rows of these types are exchanged before they are netted.
    fn check(types: &[&str], expect: &[usize]) {
        let columns = types.iter().enumerate().map(|(index, text)| {
            let (data_type, nullable) = parse_type(text).unwrap();
            Column::new(format!("c{index}"), data_type, nullable)
        });
        let schema = Schema::new(columns.collect());
        let [Part::Exchange { columns, codec }, Part::Operator(build)] = &settled(&schema, STATE)[..] else {
            panic!("an exchange, and the operator")
        };
        assert_eq!((columns.as_slice(), codec.columns()), (expect, expect.len()), "{types:?}");
        let table = &(build.build)().tables()[0];
        assert_eq!(table.schema.fields().len(), types.len() + 1, "{types:?}");
        assert_eq!(table.key.as_ref().map(KeyCodec::columns), Some(expect.len()), "{types:?}");
    }

    #[test]
    fn rows_that_are_netted_meet_by_all_columns_that_can_be_a_key() {
        check(&["BIGINT", "STRING"], &[0, 1]);
        check(&["MAP<STRING, INT>", "DOUBLE", "ARRAY<MAP<STRING, INT>>", "ROW<a INT>"], &[1, 3]);
        check(&["MAP<STRING, INT>"], &[]);
    }
}
