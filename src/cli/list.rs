//! `list`: what there is to build pipelines of, from the registries.

use std::io::{self, Write};

use clap::{Args, ValueEnum};

use super::Exit;
use crate::aggregate::Distinct;
use crate::{aggregate, codec, expr, operator, sink, source};

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only one kind of thing.
    #[arg(value_enum)]
    kind: Option<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Sources,
    Formats,
    Steps,
    Aggregates,
    Functions,
    Sinks,
}

pub(super) fn main(arguments: &Arguments) -> Exit {
    // A reader that has seen enough (`| head`) is no failure.
    drop(write(arguments.kind, &mut io::stdout().lock()));
    Exit::Done
}

fn write(only: Option<Kind>, out: &mut dyn Write) -> io::Result<()> {
    let mut first = true;
    for (kind, title, entries) in entries() {
        if only.is_some_and(|only| only != kind) {
            continue;
        }
        if !std::mem::take(&mut first) {
            writeln!(out)?;
        }
        writeln!(out, "{title}")?;
        for (name, summary, example) in entries {
            writeln!(out, "  {name}\n      {summary}")?;
            if !example.is_empty() {
                writeln!(out, "      {example}")?;
            }
        }
    }
    Ok(())
}

/// What may stand in and behind a call of an aggregate.
fn clauses(function: &aggregate::Function) -> String {
    let distinct = match function.distinct {
        Distinct::Refused => "",
        Distinct::Same => "DISTINCT changes nothing; ",
        Distinct::Values => "DISTINCT counts equal values once; ",
        Distinct::ValuesAndNull => "DISTINCT counts equal values once, NULL among them; ",
    };
    let retracts = if function.retracts {
        ""
    } else {
        "; not over rows that may be taken back, nor in `over` with `rows` or `range`"
    };
    format!("{distinct}FILTER (WHERE condition){retracts}")
}

type Entry = (String, String, String);

fn entries() -> Vec<(Kind, &'static str, Vec<Entry>)> {
    let own = str::to_owned;
    let sources = source::SOURCES.iter().map(|kind| (own(kind.name), own(kind.summary), own(kind.example)));
    let steps = operator::VERBS.iter().map(|verb| (own(verb.name), own(verb.summary), own(verb.example)));
    let sinks = sink::SINKS.iter().map(|kind| (own(kind.name), own(kind.summary), own(kind.example)));
    let aggregates = aggregate::FUNCTIONS
        .iter()
        .map(|function| (own(function.signature), own(function.summary), clauses(function)));
    let functions = expr::functions().iter().map(|function| {
        let example = format!("{} = {}", function.example, function.result);
        (own(function.signature), own(function.summary), example)
    });
    let formats = codec::FORMATS.iter().map(|kind| (own(kind.name), own(kind.summary), own(kind.example)));
    vec![
        (Kind::Sources, "SOURCES", sources.collect()),
        (Kind::Formats, "FORMATS", formats.collect()),
        (Kind::Steps, "STEPS", steps.collect()),
        (Kind::Aggregates, "AGGREGATES, in the `select` of `aggregate` and `over`", aggregates.collect()),
        (Kind::Functions, "FUNCTIONS", functions.collect()),
        (Kind::Sinks, "SINKS", sinks.collect()),
    ]
}
