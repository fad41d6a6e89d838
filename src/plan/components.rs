//! The source and the sink: their kinds found, their options read, their formats checked.

use crate::codec::{self, Format, Way};
use crate::config;
use crate::error::{Place, Problem, Problems};
use crate::record::{Schema, SqlType};
use crate::sink::{self, ChangeForm, Sink};
use crate::source::{self, Source};

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

/// A sink of the file, and how it writes rows; JSON where it takes none.
pub(super) fn sink(declared: &config::Sink, problems: &mut Problems) -> Option<(Box<dyn Sink>, Format)> {
    let component = &declared.component;
    let Some(kind) = sink::kind(&component.kind.text) else {
        let names = sink::SINKS.iter().map(|kind| kind.name);
        unknown("sink", &component.kind.text, component.kind.at, names, problems);
        return None;
    };
    let sink = (kind.parse)(&component.kind, &component.options, problems);
    let format = match &declared.format {
        Some(declared) => {
            let format = format(declared, Way::Out, problems)?;
            check_changes(sink.as_deref()?, &declared.kind.text, &format, problems)?;
            format
        }
        None if kind.takes_format => {
            let what = format!("the sink `{}` needs a `format`", kind.name);
            problems.push(Problem::error(declared.at, what).help(NEEDS_FORMAT));
            return None;
        }
        None => Format::Json,
    };
    Some((sink?, format))
}

/// What to do where there is no format.
pub(super) const NEEDS_FORMAT: &str = "add `format: json` or `format: csv`";

/// Reports a sink whose changes are objects, which its format does not hold.
fn check_changes(sink: &dyn Sink, name: &str, format: &Format, problems: &mut Problems) -> Option<()> {
    let Some(changes) = sink.changes().filter(|_| !format.holds_objects()) else { return Some(()) };
    let (form, objects) = match changes.form {
        ChangeForm::Debezium => ("debezium", "`before` and `after`"),
        ChangeForm::Upsert => ("upsert", "`key` and `value`"),
        ChangeForm::Final => return Some(()),
    };
    let what = format!("`changelog: {form}` writes {objects}, which are objects, and {name} has none");
    problems.push(Problem::error(changes.at, what).help("use `format: json`, or `changelog: final`"));
    None
}

/// How the source's bytes are read; none where it makes columns by itself, or where the format is missing or wrong, which
/// [`schema`] reports.
pub(super) fn source_format(declared: &config::Source, source: &dyn Source) -> Option<Format> {
    let declared = declared.format.as_ref().filter(|_| source.schema().is_none())?;
    format(declared, Way::In, &mut Problems::new())
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
        Some(declared) => format(declared, Way::In, problems).map(|_| ()),
        None if declared.misread => None,
        None => {
            let what = format!("the source `{kind}` needs a `format`");
            problems.push(Problem::error(declared.at, what).help(NEEDS_FORMAT));
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
pub(super) fn declared_schema(schema: &config::DeclaredSchema) -> Option<Schema> {
    let known = schema.columns.iter().all(|column| column.column.data_type != SqlType::Null);
    known.then(|| Schema::new(schema.columns.iter().map(|column| column.column.clone()).collect()))
}

/// The format that a file declares.
pub(super) fn format(declared: &config::Component, way: Way, problems: &mut Problems) -> Option<Format> {
    let name = declared.kind.text.as_str();
    let Some(kind) = codec::kind(name) else {
        let names = codec::FORMATS.iter().map(|kind| kind.name);
        unknown("format", name, declared.kind.at, names, problems);
        return None;
    };
    (kind.parse)(&declared.kind, &declared.options, way, problems)
}

/// Reports that there is none of this name.
pub(super) fn unknown(
    what: &str,
    name: &str,
    at: Place,
    names: impl Iterator<Item = &'static str> + Clone,
    problems: &mut Problems,
) {
    let problem = Problem::error(at, format!("there is no {what} `{name}`"));
    problems.push(problem.suggest(name, names, "this version has"));
}
