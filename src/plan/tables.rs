//! The tables of a file: where their rows come from, their columns and keys.

use std::sync::Arc;

use super::components;
use crate::codec::{Format, Way};
use crate::config::{self, Pipeline};
use crate::error::{Problem, Problems};
use crate::record::{Schema, SqlType};
use crate::table::{Declared, Table, Tables};
use crate::yaml::{Fields, Spanned};

/// What a table's rows come from.
const FILE: &str = "file";

/// The verb of the steps that use tables.
pub(super) const LOOKUP: &str = "lookup";

/// The file's tables, each without rows.
pub(super) fn resolve(pipeline: &Pipeline, problems: &mut Problems) -> Tables {
    let steps = || pipeline.streams.iter().flat_map(|stream| &stream.steps.list);
    let named = steps().filter(|step| step.verb.text == LOOKUP).map(|step| {
        let mut options = step.options.map().unwrap_or_default().iter();
        options.find(|(key, _)| key.text == "table").and_then(|(_, node)| node.expression())
    });
    let named: Vec<Option<&str>> = named.collect();
    // A step that is written wrongly, or names no table there is, may be meant to use any.
    let is_declared = |name: &str| pipeline.tables.iter().any(|table| table.name.text == name);
    let all_known = pipeline.streams.iter().all(|stream| stream.steps.complete)
        && named.iter().all(|name| name.is_some_and(is_declared));
    let tables = pipeline.tables.iter().map(|declared| {
        let table = table(declared, problems);
        let name = declared.name.text.as_str();
        // A table that is included may be of use to others.
        if all_known && declared.name.at.document == 0 && !named.contains(&Some(name)) {
            problems.push(
                Problem::warning(declared.name.at, format!("nothing is looked up in the table `{name}`"))
                    .help(format!("use it in a step `lookup: {{ table: {name}, match: … }}`, or remove it")),
            );
        }
        (name.to_owned(), table.map(Arc::new))
    });
    Tables::new(tables.collect())
}

fn table(declared: &config::Table, problems: &mut Problems) -> Option<Table> {
    if declared.name.text.is_empty() {
        problems.error(declared.name.at, "a table has a name");
    }
    let file = file(declared, problems);
    let format = format(declared, problems);
    let schema = schema(declared, problems);
    let schema = schema?;
    let key = key(declared, &schema, problems);
    let versions = versions(declared, &schema, problems);
    let ((path, watch), versions) = (file?, versions.ok()?);
    Some(Table::new(Declared {
        name: declared.name.text.as_str().into(),
        path: path.as_str().into(),
        watch,
        format: format?,
        schema,
        key: key?,
        versions,
    }))
}

/// The path of the file, and whether it is watched.
fn file(declared: &config::Table, problems: &mut Problems) -> Option<(String, bool)> {
    let component = declared.component.as_ref()?;
    if component.kind.text != FILE {
        let what = format!("there is no table of `{}`", component.kind.text);
        let problem = Problem::error(component.kind.at, what);
        problems.push(problem.suggest(&component.kind.text, [FILE].into_iter(), "this version has"));
        return None;
    }
    let what = format!("tables.{}.file", declared.name.text);
    let mut fields = Fields::under(&component.kind, &component.options, &what, problems);
    let path = fields.required_text("path", problems).map(str::to_owned);
    let watch = fields.boolean("watch", problems).unwrap_or(true);
    fields.finish(problems);
    Some((path?, watch))
}

fn format(declared: &config::Table, problems: &mut Problems) -> Option<Format> {
    match &declared.format {
        Some(format) => components::format(format, Way::In, problems),
        None if declared.misread || declared.component.is_none() => None,
        None => {
            let what = format!("the table `{}` needs a `format`", declared.name.text);
            problems.push(Problem::error(declared.name.at, what).help(components::NEEDS_FORMAT));
            None
        }
    }
}

fn schema(declared: &config::Table, problems: &mut Problems) -> Option<Schema> {
    match &declared.schema {
        Some(schema) => components::declared_schema(schema),
        None if declared.misread || declared.component.is_none() => None,
        None => {
            let what = format!("the table `{}` needs a `schema`", declared.name.text);
            problems.push(
                Problem::error(declared.name.at, what).help(
                    "add `schema:` with a line `name: TYPE` for its key and for each column that is used",
                ),
            );
            None
        }
    }
}

/// The positions of the key's columns.
fn key(declared: &config::Table, schema: &Schema, problems: &mut Problems) -> Option<Vec<usize>> {
    let names = declared.key.as_ref()?;
    if names.is_empty() {
        problems.push(
            Problem::error(
                declared.name.at,
                format!("the key of the table `{}` has no column", declared.name.text),
            )
            .help("name the columns that tell its rows apart, for instance key: id"),
        );
        return None;
    }
    let mut key = Vec::new();
    for name in names {
        let Some(index) = column(name, declared, schema, problems) else { continue };
        let data_type = &schema.columns()[index].data_type;
        if key.contains(&index) {
            problems.error(name.at, format!("`{}` is named twice", name.value));
        } else if !is_key(data_type) {
            let what = format!("`{}` is {data_type}, which cannot be the key of a table", name.value);
            problems.push(
                Problem::error(name.at, what)
                    .help("use a column of text, whole numbers, decimals, dates or times"),
            );
        } else {
            key.push(index);
        }
    }
    (key.len() == names.len()).then_some(key)
}

/// Whether values of a type are equal exactly where their key bytes are.
fn is_key(data_type: &SqlType) -> bool {
    use SqlType::{Array, Double, Float, Map, Null, Row};
    !matches!(data_type, Array(..) | Map(..) | Row(_) | Float | Double | Null)
}

/// The position of the column that says from when on a row holds; none where there are no versions. An error has been
/// reported.
fn versions(declared: &config::Table, schema: &Schema, problems: &mut Problems) -> Result<Option<usize>, ()> {
    let Some(name) = &declared.versions else { return if declared.misread { Err(()) } else { Ok(None) } };
    let index = column(name, declared, schema, problems).ok_or(())?;
    match &schema.columns()[index].data_type {
        SqlType::Timestamp(0..=3) | SqlType::TimestampLtz(0..=3) => Ok(Some(index)),
        other => {
            let what = format!("a version holds from a TIMESTAMP(3) on, and `{}` is {other}", name.value);
            problems.push(
                Problem::error(name.at, what).help(
                    "declare the column as TIMESTAMP(3) (without a zone) or TIMESTAMP_LTZ(3) (with one)",
                ),
            );
            Err(())
        }
    }
}

/// The position of a column of a table.
fn column(
    name: &Spanned<String>,
    declared: &config::Table,
    schema: &Schema,
    problems: &mut Problems,
) -> Option<usize> {
    let found = schema.index_of(&name.value);
    if found.is_none() {
        let names = schema.columns().iter().map(|column| column.name.as_str());
        let what = format!("the table `{}` has no column `{}`", declared.name.text, name.value);
        problems.push(Problem::error(name.at, what).suggest(&name.value, names, "it has"));
    }
    found
}
