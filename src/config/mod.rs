//! What a pipeline file says, and where it says it: its outer structure, no meaning yet. A chain is read as the graph
//! that it is: one source, one stream, and a sink.
//!
//! The options of components and steps stay trees: each component reads its own through [`crate::yaml::Fields`]. All
//! mistakes of a file are told at once, and a mistake in one part does not keep the others from being read.
//!
//! To add a key of the file, read it in [`Pipeline`]'s reading below or in the part it belongs to, one file each.

mod component;
mod connections;
mod include;
mod params;
mod run;
mod sink;
mod source;
mod steps;
mod stream;
mod table;

pub use component::Component;
pub use run::{Run, Snapshot};
pub use sink::{NamedSink, Sink};
pub use source::{BadRecord, BadRecordAction, DeclaredColumn, DeclaredSchema, EventTime, Source};
pub use steps::{Step, Steps};
pub use stream::{Inputs, Stream};
pub use table::Table;

use crate::error::{Place, Problem, Problems};
use crate::yaml::{self, Documents, Environment, Fields, Key, Node, Reading, Spanned};

/// The version of the language that this program reads.
const VERSION: &str = "1";

/// A name longer than this is refused: it names directories.
const NAME_BYTES_MAX: usize = 100;

/// What a pipeline file says.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Its name: letters, digits, `-`, `_`, `.`, beginning with a letter or a digit. It names directories.
    pub name: Spanned<String>,
    /// How it is written.
    pub form: Form,
    /// Where records come from, by their names, in the order of the page.
    pub sources: Vec<(Key, Source)>,
    /// What rows are looked up in, in the order of the page.
    pub tables: Vec<Table>,
    /// What happens to them, in the order of the page.
    pub streams: Vec<Stream>,
    /// Where rows go, in the order of the page; in line form the main one first.
    pub sinks: Vec<NamedSink>,
    /// How the pipeline runs on this machine.
    pub run: Run,
}

/// How a pipeline is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A chain: `source`, `steps`, `sink`, and `sinks` for rows that leave it at a step.
    Line,
    /// A graph: `sources`, `streams`, `sinks`.
    Graph,
}

/// All that came of reading a file.
#[derive(Debug)]
pub struct Outcome {
    /// The texts that the problems' places point into.
    pub documents: Documents,
    /// What the file says, as far as it could be read: None if a required part is missing. It may be there although
    /// there are errors; it must not run then, but more of it can be checked.
    pub pipeline: Option<Pipeline>,
    /// What is wrong with it.
    pub problems: Problems,
}

/// Reads the bytes of a pipeline file. `name` is how errors call the file, `overrides` are the `path=value` arguments
/// of `--set` in their order, and variables come from `environment`.
#[must_use]
pub fn read(name: &str, bytes: &[u8], overrides: &[String], environment: &dyn Environment) -> Outcome {
    let mut documents = Documents::new();
    let mut problems = Problems::new();
    let root = documents
        .add_bytes(name, bytes, &mut problems)
        .and_then(|document| tree(document, &mut documents, overrides, environment, &mut problems));
    let pipeline = root.and_then(|root| pipeline(&root, &mut problems));
    Outcome { documents, pipeline, problems }
}

/// The tree of the file with what it includes, overrides and variables in place.
fn tree(
    document: u16,
    documents: &mut Documents,
    overrides: &[String],
    environment: &dyn Environment,
    problems: &mut Problems,
) -> Option<Node> {
    let mut root = root(document, documents, "a pipeline file", problems)?;
    let name = documents.name(document).to_owned();
    // What is included has to be known before a value in it can be overridden.
    let (of_includes, others) = overrides.iter().partition::<Vec<_>, _>(|argument| {
        argument.split(['.', '=']).next().is_some_and(|key| key == include::KEY)
    });
    let set = |root: &mut Node, arguments: &[&String], documents: &mut Documents, problems: &mut Problems| {
        for argument in arguments {
            let number = documents.add(format!("--set {argument}"), argument.as_str());
            yaml::set(root, number, argument, problems);
        }
    };
    set(&mut root, &of_includes, documents, problems);
    if !include::resolve(&mut root, &name, documents, environment, problems) {
        return None;
    }
    set(&mut root, &others, documents, problems);
    yaml::interpolate(&mut root, environment);
    connections::apply(&mut root, documents, problems);
    params::apply(&mut root, problems);
    Some(root)
}

/// The tree of a document, which is a map; `what` it is called otherwise.
fn root(document: u16, documents: &Documents, what: &str, problems: &mut Problems) -> Option<Node> {
    let told = problems.all().len();
    let parsed = yaml::parse(document, documents.text(document), problems);
    let problem = match parsed {
        None if problems.all().len() > told => return None,
        None => Problem::error(Place { document, ..Place::default() }, "the file is empty"),
        Some(root) if root.map().is_none() => {
            Problem::error(root.at, format!("{what} is a map of keys and values, not {}", root.kind()))
        }
        Some(root) => return Some(root),
    };
    let begin = match document {
        0 => "a pipeline begins with `millstream: 1` and `name: …`",
        _ => "it begins with `millstream: 1`",
    };
    problems.push(problem.help(begin));
    None
}

fn pipeline(root: &Node, problems: &mut Problems) -> Option<Pipeline> {
    let mut fields = Fields::of(root, "the pipeline", problems);
    version(&mut fields, "the pipeline", problems);
    let name = name(&mut fields, problems);
    // They have been put where they are named.
    for key in [include::KEY, "connections", "params"] {
        fields.know(key);
    }
    let tables = fields.take("tables").map(|node| table::read(node, problems)).unwrap_or_default();
    let is_graph = ["sources", "streams"].into_iter().fold(false, |is, key| fields.take(key).is_some() | is);
    let parts = if is_graph { graph(&mut fields, problems) } else { line(&mut fields, problems) };
    let run = fields.entry("run").map(|(key, node)| run::read(key, node, problems)).unwrap_or_default();
    if let Some((key, _)) = fields.entry("tests") {
        problems.push(
            Problem::warning(key.at, "this version does not run the tests of a file")
                .help("they are kept for later and change nothing"),
        );
    }
    fields.finish(problems);
    let Parts { form, sources, streams, sinks } = parts?;
    Some(Pipeline { name: name?, form, sources, tables, streams, sinks, run })
}

/// What rows come from, go through, and go to.
struct Parts {
    form: Form,
    sources: Vec<(Key, Source)>,
    streams: Vec<Stream>,
    sinks: Vec<NamedSink>,
}

/// Reads a chain.
fn line(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Parts> {
    let at = fields.at();
    let key =
        |text: &str, found: Option<&Key>| found.cloned().unwrap_or_else(|| Key { text: text.to_owned(), at });
    let source = match fields.entry("source") {
        Some((key, node)) => source::read(key, node, "source", problems).map(|source| (key.clone(), source)),
        None => missing(fields, "source", "file: { path: … }", problems),
    };
    let steps = fields.entry("steps");
    let name = key("steps", steps.map(|(key, _)| key));
    let steps = steps.map_or_else(Steps::none, |(_, node)| steps::read(node, problems));
    let sink = fields.entry("sink");
    let sides = fields.take("sinks");
    let main = match sink {
        Some((key, node)) => sink::read(key, node, problems).map(|sink| {
            let from = Inputs::one(&name.text, key.at);
            NamedSink { name: key.clone(), from, sink }
        }),
        None => missing(fields, "sink", "file: { path: … }", problems),
    };
    let sides = sides.map_or_else(Vec::new, |node| sink::read_named(node, problems));
    let source = source?;
    let stream = Stream { from: Inputs::one(&source.0.text, name.at), name, steps };
    let sinks = std::iter::once(main?).chain(sides).collect();
    Some(Parts { form: Form::Line, sources: vec![source], streams: vec![stream], sinks })
}

/// Reads a graph.
fn graph(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Parts> {
    for (chain, instead) in [("source", "sources"), ("steps", "streams"), ("sink", "sinks")] {
        if let Some((key, _)) = fields.entry(chain) {
            let what = format!("`{chain}` is of a chain, and this pipeline is a graph");
            let help =
                format!("put it under `{instead}`, with a name, or write the whole pipeline as a chain");
            problems.push(Problem::error(key.at, what).help(help));
        }
    }
    let sources = match fields.take("sources") {
        Some(node) => Some(node).zip(Some(source::read_named(node, problems))),
        None if fields.take("source").is_some() => None,
        None => missing(fields, "sources", "orders: { file: { path: … }, … }", problems),
    };
    let streams = fields.take("streams").map(|node| (node, stream::read(node, problems)));
    let sinks = match fields.take("sinks") {
        Some(node) => Some(node).zip(Some(sink::read_named(node, problems))),
        None if fields.take("sink").is_some() => None,
        None => missing(fields, "sinks", "out: { from: …, file: { path: … }, … }", problems),
    };
    let (sources, sinks) = (all_of(sources?, "source", problems)?, all_of(sinks?, "sink", problems)?);
    // Names lead nowhere where what they name could not be read.
    let streams = match streams {
        Some((node, streams)) if node.map().map_or(0, <[_]>::len) > streams.len() => return None,
        Some((_, streams)) => streams,
        None => Vec::new(),
    };
    Some(Parts { form: Form::Graph, sources, streams, sinks })
}

/// What was read of a map of `what`, if all of it could be, and there is at least one.
fn all_of<T>((node, read): (&Node, Vec<T>), what: &str, problems: &mut Problems) -> Option<Vec<T>> {
    let declared = node.map().unwrap_or_default().len();
    if declared == 0 && (node.is_null() || node.map().is_some()) {
        problems.push(
            Problem::error(node.at, format!("`{what}s` names no {what}"))
                .help("a pipeline needs at least one"),
        );
    }
    (!read.is_empty() && read.len() == declared).then_some(read)
}

/// Reports a part that is missing.
fn missing<T>(fields: &Fields<'_>, key: &str, example: &str, problems: &mut Problems) -> Option<T> {
    if !fields.rest().any(|(other, _)| fields.meant(&other.text) == Some(key)) {
        problems.push(
            Problem::error(fields.at(), format!("the pipeline needs `{key}`"))
                .help(format!("add for instance `{key}: {{ {example} }}`")),
        );
    }
    None
}

fn version(fields: &mut Fields<'_>, what: &str, problems: &mut Problems) {
    let at = fields.at();
    match fields.take("millstream") {
        None => problems.push(
            Problem::error(at, format!("{what} needs `millstream`, the version of the language"))
                .help(format!("add `millstream: {VERSION}`")),
        ),
        Some(node) if node.expression() == Some(VERSION) => {}
        Some(node) => problems.push(
            Problem::error(
                node.at,
                match node.text() {
                    Some(text) => {
                        format!("this program reads version {VERSION} of the language, not `{text}`")
                    }
                    None => "`millstream` takes the version of the language".to_owned(),
                },
            )
            .help(format!("write `millstream: {VERSION}`")),
        ),
    }
}

fn name(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Spanned<String>> {
    let node = fields.required("name", problems)?;
    let at = node.at;
    let text = match node.read(problems) {
        Reading::Text(text) => text,
        // The rest of the file can be checked under any name.
        Reading::Withheld => return node.expression().map(|raw| Spanned { value: raw.to_owned(), at }),
        Reading::NotText => {
            problems.error(at, format!("`name` takes text, not {}", node.kind()));
            return None;
        }
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let what = if let Some(wrong) = text.chars().find(|c| !allowed(*c)) {
        format!("the name of a pipeline cannot contain `{}`", wrong.escape_debug())
    } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        "the name of a pipeline begins with a letter or a digit".to_owned()
    } else if text.len() > NAME_BYTES_MAX {
        format!("the name of a pipeline has at most {NAME_BYTES_MAX} characters")
    } else {
        return Some(Spanned { value: text.to_owned(), at });
    };
    problems
        .push(Problem::error(at, what).help("it names directories: use letters, digits, `-`, `_` and `.`"));
    Some(Spanned { value: text.to_owned(), at })
}

#[cfg(test)]
mod tests;
