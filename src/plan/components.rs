//! The source and the sink: their kinds found, their options read, their formats checked.

use crate::config;
use crate::error::{Place, Problem, Problems};
use crate::record::{Schema, SqlType};
use crate::sink::{self, Sink};
use crate::source::{self, Source};
use crate::yaml::Fields;

/// The formats there are.
const FORMATS: &[&str] = &["json"];

/// The file's source.
pub(super) fn source(declared: &config::Source, problems: &mut Problems) -> Option<Box<dyn Source>> {
    let component = &declared.component;
    match source::kind(&component.kind.text) {
        Some(kind) => (kind.parse)(&component.kind, &component.options, problems),
        None => {
            let names = source::SOURCES.iter().map(|kind| kind.name);
            unknown("source", &component.kind.text, component.kind.at, names, problems);
            None
        }
    }
}

/// The file's sink.
pub(super) fn sink(declared: &config::Sink, problems: &mut Problems) -> Option<Box<dyn Sink>> {
    let component = &declared.component;
    let Some(kind) = sink::kind(&component.kind.text) else {
        let names = sink::SINKS.iter().map(|kind| kind.name);
        unknown("sink", &component.kind.text, component.kind.at, names, problems);
        return None;
    };
    let sink = (kind.parse)(&component.kind, &component.options, problems);
    match &declared.format {
        Some(format) => check_format(format, problems)?,
        None if kind.takes_format => {
            let what = format!("the sink `{}` needs a `format`", kind.name);
            problems.push(Problem::error(declared.at, what).help("add `format: json`"));
            return None;
        }
        None => {}
    }
    sink
}

/// The columns the source yields: its own, or those the file declares for its format. Of a source that could not be
/// read only what the file declares is known, and nothing is said.
pub(super) fn schema(
    declared: &config::Source,
    source: Option<&dyn Source>,
    problems: &mut Problems,
) -> Option<Schema> {
    let Some(source) = source else { return declared_schema(declared.schema.as_ref()?) };
    let kind = &declared.component.kind.text;
    if let Some(own) = source.schema() {
        let format_at = declared.format.as_ref().map(|format| format.kind.at);
        let schema_at = declared.schema.as_ref().map(|schema| schema.at);
        for (at, what) in [(format_at, "format"), (schema_at, "schema")] {
            if let Some(at) = at {
                let text = format!("the source `{kind}` makes its own columns and takes no `{what}`");
                problems.push(Problem::error(at, text).help(format!("remove `{what}`")));
            }
        }
        return Some(own);
    }
    let format = match &declared.format {
        Some(format) => check_format(format, problems),
        None if declared.misread => None,
        None => {
            let what = format!("the source `{kind}` needs a `format`");
            problems.push(Problem::error(declared.at, what).help("add `format: json`"));
            None
        }
    };
    let Some(schema) = &declared.schema else {
        if declared.misread {
            return None;
        }
        problems.push(
            Problem::error(declared.at, format!("the source `{kind}` needs a `schema`"))
                .help("add `schema:` with a line `name: TYPE` for each column that is used"),
        );
        return None;
    };
    format?;
    declared_schema(schema)
}

/// The declared columns; a type that could not be read has been reported.
fn declared_schema(schema: &config::DeclaredSchema) -> Option<Schema> {
    let known = schema.columns.iter().all(|column| column.column.data_type != SqlType::Null);
    known.then(|| Schema::new(schema.columns.iter().map(|column| column.column.clone()).collect()))
}

fn check_format(format: &config::Component, problems: &mut Problems) -> Option<()> {
    let name = format.kind.text.as_str();
    if !FORMATS.contains(&name) {
        unknown("format", name, format.kind.at, FORMATS.iter().copied(), problems);
        return None;
    }
    Fields::under(&format.kind, &format.options, "format.json", problems).finish(problems);
    Some(())
}

fn unknown(
    what: &str,
    name: &str,
    at: Place,
    names: impl Iterator<Item = &'static str> + Clone,
    problems: &mut Problems,
) {
    let problem = Problem::error(at, format!("there is no {what} `{name}`"));
    problems.push(problem.suggest(name, names, "this version has"));
}
