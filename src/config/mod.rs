//! What a pipeline file says, and where it says it: its outer structure in *line form*, no meaning yet.
//!
//! The options of components and steps stay trees: each component reads its own through [`crate::yaml::Fields`]. All
//! mistakes of a file are told at once, and a mistake in one part does not keep the others from being read.
//!
//! To add a key of the file, read it in [`Pipeline`]'s reading below or in the part it belongs to, one file each.

mod component;
mod run;
mod sink;
mod source;
mod steps;

pub use component::Component;
pub use run::{Run, Snapshot};
pub use sink::{SideSink, Sink};
pub use source::{BadRecord, BadRecordAction, DeclaredColumn, DeclaredSchema, EventTime, Source};
pub use steps::{Step, Steps};

use crate::error::{Place, Problem, Problems};
use crate::yaml::{self, Documents, Environment, Fields, Node, Reading, Spanned};

/// The version of the language that this program reads.
const VERSION: &str = "1";

/// A name longer than this is refused: it names directories.
const NAME_BYTES_MAX: usize = 100;

/// What a pipeline file says.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Its name: letters, digits, `-`, `_`, `.`, beginning with a letter or a digit. It names directories.
    pub name: Spanned<String>,
    /// Where records come from.
    pub source: Source,
    /// What happens to them, in order.
    pub steps: Steps,
    /// Where they go.
    pub sink: Sink,
    /// Where rows go that leave it at a step, in the order of the page.
    pub sinks: Vec<SideSink>,
    /// How the pipeline runs on this machine.
    pub run: Run,
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

/// The tree of the file with overrides and variables in place.
fn tree(
    document: u16,
    documents: &mut Documents,
    overrides: &[String],
    environment: &dyn Environment,
    problems: &mut Problems,
) -> Option<Node> {
    let begin = "a pipeline begins with `millstream: 1` and `name: …`";
    let parsed = yaml::parse(document, documents.text(document), problems);
    let root = match parsed {
        None if problems.has_errors() => return None,
        None => Err(Problem::error(Place { document, ..Place::default() }, "the file is empty")),
        Some(root) if root.map().is_none() => {
            let what = format!("a pipeline file is a map of keys and values, not {}", root.kind());
            Err(Problem::error(root.at, what))
        }
        Some(root) => Ok(root),
    };
    let mut root = match root {
        Ok(root) => root,
        Err(problem) => {
            problems.push(problem.help(begin));
            return None;
        }
    };
    for argument in overrides {
        let number = documents.add(format!("--set {argument}"), argument.as_str());
        yaml::set(&mut root, number, argument, problems);
    }
    yaml::interpolate(&mut root, environment);
    Some(root)
}

fn pipeline(root: &Node, problems: &mut Problems) -> Option<Pipeline> {
    let mut fields = Fields::of(root, "the pipeline", problems);
    version(&mut fields, problems);
    let name = name(&mut fields, problems);
    let graph = other_form(&mut fields, problems);
    let source = match fields.entry("source") {
        Some((key, node)) => source::read(key, node, problems),
        None => missing(&fields, "source", "file: { path: … }", graph, problems),
    };
    let steps = fields.take("steps").map_or_else(Steps::none, |node| steps::read(node, problems));
    let sink = fields.entry("sink");
    let sides = fields.take("sinks").filter(|_| !graph);
    let sink = match sink {
        Some((key, node)) => sink::read(key, node, problems),
        None => missing(&fields, "sink", "file: { path: … }", graph, problems),
    };
    let sinks = sides.map_or_else(Vec::new, |node| sink::read_sides(node, problems));
    let run = fields.entry("run").map(|(key, node)| run::read(key, node, problems)).unwrap_or_default();
    if let Some((key, _)) = fields.entry("tests") {
        problems.push(
            Problem::warning(key.at, "this version does not run the tests of a file")
                .help("they are kept for later and change nothing"),
        );
    }
    fields.finish(problems);
    Some(Pipeline { name: name?, source: source?, steps, sink: sink?, sinks, run })
}

/// Reports a part that is missing, unless the file is in the other form, which has been reported.
fn missing<T>(
    fields: &Fields<'_>,
    key: &str,
    example: &str,
    graph: bool,
    problems: &mut Problems,
) -> Option<T> {
    if !graph && !fields.rest().any(|(other, _)| fields.meant(&other.text) == Some(key)) {
        problems.push(
            Problem::error(fields.at(), format!("the pipeline needs `{key}`"))
                .help(format!("add for instance `{key}: {{ {example} }}`")),
        );
    }
    None
}

fn version(fields: &mut Fields<'_>, problems: &mut Problems) {
    let at = fields.at();
    match fields.take("millstream") {
        None => problems.push(
            Problem::error(at, "the pipeline needs `millstream`, the version of the language")
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

/// Reports the keys of the language that this version does not have. True if the file is in graph form.
fn other_form(fields: &mut Fields<'_>, problems: &mut Problems) -> bool {
    let line_form =
        "this version reads a chain: one `source`, `steps`, one `sink`, and `sinks` for side streams";
    let mut graph = false;
    for key in ["sources", "streams"] {
        graph |= fields.not_yet(key, line_form, problems);
    }
    let values = "write the value where it is used, or use `${NAME}` outside of expressions";
    fields.not_yet("params", values, problems);
    fields.not_yet("connections", "write the options into the source and the sink", problems);
    fields.not_yet("tables", "this version has no lookup tables: remove it", problems);
    fields.not_yet("include", "write everything into this file", problems);
    graph
}

#[cfg(test)]
mod tests;
