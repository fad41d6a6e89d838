//! Side streams: what leaves the pipeline at a step, and the sinks that take it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::components;
use crate::codec::Format;
use crate::config;
use crate::error::{Place, Problem, Problems};
use crate::operator::SideStream;
use crate::record::Schema;
use crate::sink::Sink;
use crate::source::Source;

/// A side stream's way out.
pub struct SideOutput {
    /// The sink's name.
    pub name: Arc<str>,
    /// The stream.
    pub stream: Arc<str>,
    /// Its columns.
    pub schema: Schema,
    /// What takes them.
    pub sink: Box<dyn Sink>,
    /// How it writes them.
    pub format: Format,
}

/// A sink of `sinks` that could be read, and the stream it takes.
pub(super) struct SideSink<'a> {
    declared: &'a config::SideSink,
    sink: Box<dyn Sink>,
    format: Format,
}

/// Reads the options of every sink under `sinks`: those that could be read, and whether all could; one that could not
/// has been reported.
pub(super) fn parse<'a>(
    declared: &'a [config::SideSink],
    problems: &mut Problems,
) -> (Vec<SideSink<'a>>, bool) {
    let mut complete = true;
    let mut sinks = Vec::new();
    for declared in declared {
        match components::sink(&declared.sink, problems) {
            Some((sink, format)) => {
                if let Some(changes) = sink.changes() {
                    problems.push(
                        Problem::error(changes.at, "the rows of a side stream are never taken back")
                            .help("remove `changelog`"),
                    );
                }
                sinks.push(SideSink { declared, sink, format });
            }
            None => complete = false,
        }
    }
    (sinks, complete)
}

/// Reports sinks that write to one place, or to what the source reads.
pub(super) fn check_targets(
    source: Option<&dyn Source>,
    main: Option<(&dyn Sink, Place)>,
    sides: &[SideSink<'_>],
    problems: &mut Problems,
) {
    let mut taken = BTreeSet::new();
    let sides = sides.iter().map(|side| (side.sink.as_ref(), side.declared.sink.component.kind.at));
    for (sink, at) in main.into_iter().chain(sides) {
        let Some(target) = sink.target() else { continue };
        if source.is_some_and(|source| source.reads(&target)) {
            problems.push(
                Problem::error(at, format!("the sink would write over {target}, which the source reads"))
                    .help("write to another file"),
            );
        }
        if !taken.insert(target.clone()) {
            problems.push(
                Problem::error(at, format!("two sinks write to {target}"))
                    .help("give each a place of its own"),
            );
        }
    }
}

/// Checks that the sinks' streams are there, each once, and that no stream is without a sink.
pub(super) fn check(
    declared: &[config::SideSink],
    streams: &[&SideStream],
    problems: &mut Problems,
) -> Option<()> {
    let mut complete = true;
    let names = || streams.iter().map(|stream| stream.name.as_str());
    for side in declared {
        let from = &side.from;
        if !names().any(|name| name == from.value) {
            complete = false;
            let problem = Problem::error(from.at, format!("there is no side stream `{}`", from.value));
            problems.push(if streams.is_empty() {
                problem.help("no step makes one: a step with `late: { to: NAME }` does")
            } else {
                problem.suggest(&from.value, names(), "the side streams are")
            });
        }
    }
    for (index, stream) in streams.iter().enumerate() {
        if streams[..index].iter().any(|before| before.name == stream.name) {
            complete = false;
            problems.push(
                Problem::error(stream.at, format!("another step makes the side stream `{}`", stream.name))
                    .help("give each a name of its own"),
            );
        } else if !declared.iter().any(|side| side.from.value == stream.name) {
            let name = &stream.name;
            problems.push(
                Problem::warning(stream.at, format!("nobody takes the side stream `{name}`: its rows are dropped"))
                    .help(format!(
                        "add beside `sink`: sinks: {{ {name}: {{ from: {name}, file: {{ path: {name}.ndjson }}, format: json }} }}"
                    )),
            );
        }
    }
    complete.then_some(())
}

/// Reports a sink that is called as the main output is.
pub(super) fn check_names(declared: &[config::SideSink], problems: &mut Problems) {
    for side in declared.iter().filter(|side| side.name.text == super::fingerprint::MAIN) {
        problems.push(
            Problem::error(side.name.at, format!("`{}` is the name of the main output", side.name.text))
                .help("call this sink something else"),
        );
    }
}

/// Checks the sinks against the columns of their streams.
pub(super) fn check_rows(sinks: &[SideSink<'_>], streams: &[&SideStream], problems: &mut Problems) {
    for side in sinks {
        if let Some(stream) = streams.iter().find(|stream| stream.name == side.declared.from.value) {
            side.sink.check(&stream.schema, problems);
        }
    }
}

/// The sinks with the columns of their streams.
pub(super) fn outputs(sinks: Vec<SideSink<'_>>, streams: &[&SideStream]) -> Vec<SideOutput> {
    let output = |side: SideSink<'_>| {
        let from = &side.declared.from.value;
        let stream = streams.iter().find(|stream| stream.name == *from)?;
        let name = side.declared.name.text.as_str().into();
        Some(SideOutput {
            name,
            stream: from.as_str().into(),
            schema: stream.schema.clone(),
            sink: side.sink,
            format: side.format,
        })
    };
    sinks.into_iter().filter_map(output).collect()
}
