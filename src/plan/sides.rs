//! Side streams: what leaves a stream at a step, or cannot be read, and who takes it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::graph::{Graph, Origin};
use crate::codec::Format;
use crate::config::{Form, Inputs, Pipeline};
use crate::error::{Place, Problem, Problems};
use crate::operator::SideStream;
use crate::record::{BadRecord, Schema};
use crate::sink::Sink;
use crate::source::Source;
use crate::yaml::Spanned;

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

/// Reports sinks that write to one place, or to what a source reads.
pub(super) fn check_targets(sources: &[&dyn Source], sinks: &[(&dyn Sink, Place)], problems: &mut Problems) {
    let mut taken = BTreeSet::new();
    for (sink, at) in sinks {
        let Some(target) = sink.target() else { continue };
        if sources.iter().any(|source| source.reads(&target)) {
            problems.push(
                Problem::error(*at, format!("the sink would write over {target}, which the source reads"))
                    .help("write to another file"),
            );
        }
        if !taken.insert(target.clone()) {
            problems.push(
                Problem::error(*at, format!("two sinks write to {target}"))
                    .help("give each a place of its own"),
            );
        }
    }
}

/// The side stream that a sink takes; none where it takes other rows.
pub(super) fn taken_by(from: &[Origin]) -> Option<&str> {
    match from {
        [Origin::Side(side)] => Some(&side.name),
        _ => None,
    }
}

/// The streams of bad records.
pub(super) fn of_bad_records(graph: &Graph) -> Vec<SideStream> {
    let stream = |name: &Spanned<String>| SideStream {
        name: name.value.clone(),
        at: name.at,
        schema: BadRecord::schema(),
    };
    graph.rejects.iter().map(stream).collect()
}

/// Checks that what is taken is there, and that somebody takes each side stream. `made` are those that there are.
pub(super) fn check(
    pipeline: &Pipeline,
    graph: &Graph,
    made: &[&SideStream],
    problems: &mut Problems,
) -> Option<()> {
    let of_streams = pipeline.streams.iter().map(|stream| &stream.from).zip(&graph.streams);
    let of_sinks = pipeline.sinks.iter().map(|sink| &sink.from).zip(&graph.sinks);
    let mut complete = true;
    for (from, origins) in of_streams.chain(of_sinks) {
        complete &= check_taken(pipeline, from, origins, made, problems);
    }
    let is_taken = |name: &str| {
        graph.taken().any(|origin| match origin {
            Origin::Side(side) => side.name == name,
            Origin::Rejects(place) => graph.rejects[*place].value == name,
            _ => false,
        })
    };
    // Bad records have been held against other names before.
    let is_name_of_another = |stream: &SideStream| {
        let names = pipeline.sources.iter().map(|(name, _)| name);
        let mut names = names.chain(pipeline.streams.iter().map(|other| &other.name));
        pipeline.form == Form::Graph
            && names.any(|name| name.text == stream.name)
            && !graph.rejects.iter().any(|name| name.at == stream.at)
    };
    for (index, stream) in made.iter().enumerate() {
        if made[..index].iter().any(|before| before.name == stream.name) {
            complete = false;
            problems.push(
                Problem::error(stream.at, format!("another side stream is called `{}`", stream.name))
                    .help("give each a name of its own"),
            );
        } else if is_name_of_another(stream) {
            complete = false;
            problems.push(
                Problem::error(stream.at, format!("another source or stream is called `{}`", stream.name))
                    .help("give the side stream a name of its own"),
            );
        } else if !is_taken(&stream.name) {
            // Late rows are dropped where the file says nothing of them, too; bad records never are.
            let is_bad = graph.rejects.iter().any(|name| name.at == stream.at);
            complete &= !is_bad;
            problems.push(nobody_takes(stream, is_bad, pipeline.form));
        }
    }
    complete.then_some(())
}

/// The problem of a side stream without a taker, whether of bad records or of others.
fn nobody_takes(stream: &SideStream, is_bad: bool, form: Form) -> Problem {
    let name = &stream.name;
    let problem = if is_bad {
        Problem::error(stream.at, format!("nobody takes the bad records `{name}`: they would be lost"))
    } else {
        Problem::warning(stream.at, format!("nobody takes the side stream `{name}`: its rows are dropped"))
    };
    let beside = match form {
        Form::Line => "beside `sink`: sinks: ",
        Form::Graph => "to `sinks`: ",
    };
    problem.help(format!(
        "add {beside}{{ {name}: {{ from: {name}, file: {{ path: {name}.ndjson }}, format: json }} }}"
    ))
}

/// Checks the names in one `from`; whether all of them lead somewhere.
fn check_taken(
    pipeline: &Pipeline,
    from: &Inputs,
    origins: &[Origin],
    made: &[&SideStream],
    problems: &mut Problems,
) -> bool {
    let mut complete = true;
    for (name, origin) in from.names().zip(origins) {
        let Origin::Side(side) = origin else { continue };
        if !made.iter().any(|stream| stream.name == side.name) {
            complete = false;
            problems.push(unknown(pipeline, &side.name, name.at, made));
        }
    }
    complete
}

/// The problem of a name that is taken and that nothing has.
fn unknown(pipeline: &Pipeline, name: &str, at: Place, made: &[&SideStream]) -> Problem {
    let sides = made.iter().map(|stream| stream.name.as_str());
    match pipeline.form {
        Form::Line => {
            let problem = Problem::error(at, format!("there is no side stream `{name}`"));
            if made.is_empty() {
                return problem.help("nothing makes one: a step with `late: { to: NAME }` does, and a source with `bad_record: { to: NAME }`");
            }
            problem.suggest(name, sides, "the side streams are")
        }
        Form::Graph => {
            let sources = pipeline.sources.iter().map(|(name, _)| name.text.as_str());
            let streams = pipeline.streams.iter().map(|stream| stream.name.text.as_str());
            let problem = Problem::error(at, format!("there is no source and no stream `{name}`"));
            let known: Vec<&str> = sources.chain(streams).chain(sides).collect();
            problem.suggest(name, known.into_iter(), "there are")
        }
    }
}

/// Reports a sink of a side stream that is called as the main output is.
pub(super) fn check_names(pipeline: &Pipeline, problems: &mut Problems) {
    if pipeline.form == Form::Graph {
        return;
    }
    for side in pipeline.sinks[1..].iter().filter(|side| side.name.text == super::fingerprint::MAIN) {
        problems.push(
            Problem::error(side.name.at, format!("`{}` is the name of the main output", side.name.text))
                .help("call this sink something else"),
        );
    }
}

/// Checks the sink of a side stream against its rows.
pub(super) fn check_rows(sink: &dyn Sink, stream: &SideStream, problems: &mut Problems) {
    if let Some(changes) = sink.changes() {
        problems.push(
            Problem::error(changes.at, "the rows of a side stream are never taken back")
                .help("remove `changelog`"),
        );
    }
    sink.check(&stream.schema, problems);
}
