//! Which streams and sinks take what, and in which order streams can be resolved.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Form, Inputs, Pipeline};
use crate::error::{Place, Problem, Problems};
use crate::yaml::{Key, Node, Spanned};

/// What a name stands for in a `from`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// The source of this place.
    Source(usize),
    /// The stream of this place.
    Stream(usize),
    /// Of a stream that ends in a `route` the case of this place.
    Case(usize, usize),
    /// Rows that leave a stream at a step.
    Side(Side),
    /// The bad records of the sources that send them here: the place in [`Graph::rejects`].
    Rejects(usize),
}

/// Rows that leave a stream at a step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Side {
    /// The name of the side stream.
    pub name: String,
    /// The stream that has a step which names it so; none where there is none.
    pub stream: Option<usize>,
}

/// What each stream and each sink takes.
pub(super) struct Graph {
    /// `[stream][input]`
    pub streams: Vec<Vec<Origin>>,
    /// `[sink][input]`
    pub sinks: Vec<Vec<Origin>>,
    /// The streams in an order in which each comes behind those that it takes.
    pub order: Vec<usize>,
    /// The streams of bad records, each once, in the order of the page.
    pub rejects: Vec<Spanned<String>>,
}

/// How a stream ends.
pub(super) enum Ending {
    /// With its last step.
    Plain,
    /// In a `route` with these cases.
    Cases(Vec<String>),
    /// That could not be read.
    Unknown,
}

/// The names of a pipeline's sources and streams.
struct Names<'a> {
    sources: BTreeMap<&'a str, usize>,
    streams: BTreeMap<&'a str, usize>,
    rejects: &'a [Spanned<String>],
    /// Of each side stream the stream whose step makes it.
    makers: BTreeMap<&'a str, usize>,
    /// `[stream]`
    endings: &'a [Ending],
    form: Form,
}

impl Graph {
    /// The graph of a file whose streams end so. None where something is taken that cannot be, which has been reported.
    pub fn of(pipeline: &Pipeline, endings: &[Ending], problems: &mut Problems) -> Option<Self> {
        let streams = pipeline.streams.iter().map(|stream| &stream.name);
        let rejects = rejects(pipeline);
        let names = Names {
            rejects: &rejects,
            makers: makers(pipeline),
            sources: named(pipeline.sources.iter().map(|(name, _)| name)),
            streams: named(streams.clone()),
            endings,
            form: pipeline.form,
        };
        if pipeline.form == Form::Graph {
            let names = pipeline.sources.iter().map(|(name, _)| name).chain(streams);
            let names = names.map(|name| (name.text.as_str(), name.at));
            check_names(names.chain(rejects.iter().map(|name| (name.value.as_str(), name.at))), problems);
        }
        let mut read = |from: &Inputs| -> Option<Vec<Origin>> {
            let origins: Vec<Option<Origin>> = from.names().map(|name| names.find(name, problems)).collect();
            origins.into_iter().collect()
        };
        let streams: Vec<_> = pipeline.streams.iter().map(|stream| read(&stream.from)).collect();
        let sinks: Vec<_> = pipeline.sinks.iter().map(|sink| read(&sink.from)).collect();
        let streams: Vec<Vec<Origin>> = streams.into_iter().collect::<Option<_>>()?;
        let order = order(&streams, pipeline, problems)?;
        let sinks = sinks.into_iter().collect::<Option<_>>()?;
        let graph = Self { streams, sinks, order, rejects };
        if pipeline.form == Form::Graph {
            graph.warn(pipeline, endings, problems);
        }
        Some(graph)
    }

    /// Warns of sources, streams and cases whose rows go nowhere.
    fn warn(&self, pipeline: &Pipeline, endings: &[Ending], problems: &mut Problems) {
        let mut warn = |origin: &Origin, what: &str, name: &str, at: Place| {
            if !self.taken().any(|taken| taken == origin) {
                let what = format!("nobody takes {what} `{name}`: its rows are dropped");
                problems.push(
                    Problem::warning(at, what)
                        .help(format!("take it somewhere (`from: {name}`), or remove it")),
                );
            }
        };
        for (place, (name, _)) in pipeline.sources.iter().enumerate() {
            warn(&Origin::Source(place), "the source", &name.text, name.at);
        }
        for (place, (stream, ending)) in pipeline.streams.iter().zip(endings).enumerate() {
            let name = &stream.name;
            let Ending::Cases(cases) = ending else {
                warn(&Origin::Stream(place), "the stream", &name.text, name.at);
                continue;
            };
            let at = stream.steps.list.last().map_or(name.at, |step| step.verb.at);
            for (case, of) in cases.iter().enumerate() {
                warn(&Origin::Case(place, case), "the case", &format!("{}.{of}", name.text), at);
            }
        }
    }

    /// Everything that is taken by a stream or a sink.
    pub fn taken(&self) -> impl Iterator<Item = &Origin> {
        self.streams.iter().chain(&self.sinks).flatten()
    }
}

fn named<'a>(names: impl Iterator<Item = &'a Key>) -> BTreeMap<&'a str, usize> {
    names.enumerate().map(|(place, name)| (name.text.as_str(), place)).collect()
}

/// Reports names that are no names, or that two have.
fn check_names<'a>(names: impl Iterator<Item = (&'a str, Place)>, problems: &mut Problems) {
    let mut taken = BTreeSet::new();
    for (name, at) in names {
        let is_allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || !name.chars().all(is_allowed) {
            problems.push(
                Problem::error(at, format!("`{name}` is no name for a source or a stream"))
                    .help("use letters, digits, `_` and `-`: `stream.case` names a case of a `route`"),
            );
        }
        if !taken.insert(name) {
            problems.push(
                Problem::error(at, format!("another source or stream is called `{name}`"))
                    .help("give each a name of its own"),
            );
        }
    }
}

impl Origin {
    /// The stream that rows come from, by whichever way they leave it.
    pub fn stream(&self) -> Option<usize> {
        match self {
            Self::Stream(stream) | Self::Case(stream, _) => Some(*stream),
            Self::Side(side) => side.stream,
            Self::Source(_) | Self::Rejects(_) => None,
        }
    }
}

impl Names<'_> {
    /// The side stream, or the bad records, of this name.
    fn side(&self, name: &str) -> Origin {
        if let Some(place) = self.rejects.iter().position(|rejects| rejects.value == name) {
            return Origin::Rejects(place);
        }
        Origin::Side(Side { name: name.to_owned(), stream: self.makers.get(name).copied() })
    }

    /// What a name stands for. A name that is none of a source or stream may be that of rows that leave at a step.
    fn find(&self, name: &Spanned<String>, problems: &mut Problems) -> Option<Origin> {
        let text = name.value.as_str();
        if self.form == Form::Line && text != "steps" && text != "source" {
            return Some(self.side(text));
        }
        if let Some(source) = self.sources.get(text) {
            return Some(Origin::Source(*source));
        }
        if let Some(stream) = self.streams.get(text) {
            let Ending::Cases(cases) = &self.endings[*stream] else { return Some(Origin::Stream(*stream)) };
            let first = cases.first().map_or("case", String::as_str);
            problems.push(
                Problem::error(
                    name.at,
                    format!("`{text}` ends in a `route`: its rows are those of its cases"),
                )
                .help(format!("name one of them, for instance `{text}.{first}`")),
            );
            return None;
        }
        let Some((stream, case)) = text.split_once('.') else { return Some(self.side(text)) };
        let Some(place) = self.streams.get(stream) else {
            let what = format!("there is no stream `{stream}`");
            let known = self.streams.keys().copied();
            problems.push(Problem::error(name.at, what).suggest(stream, known, "the streams are"));
            return None;
        };
        let cases = match &self.endings[*place] {
            Ending::Cases(cases) => cases,
            Ending::Unknown => return None,
            Ending::Plain => {
                let what = format!("`{stream}` does not end in a `route`, so it has no case `{case}`");
                problems
                    .push(Problem::error(name.at, what).help(format!("write `{stream}` for all its rows")));
                return None;
            }
        };
        let found = cases.iter().position(|known| known == case);
        if found.is_none() {
            let problem = Problem::error(name.at, format!("`{stream}` has no case `{case}`"));
            problems.push(problem.suggest(case, cases.iter().map(String::as_str), "its cases are"));
        }
        Some(Origin::Case(*place, found?))
    }
}

/// The names that bad records go by, each once.
fn rejects(pipeline: &Pipeline) -> Vec<Spanned<String>> {
    let mut names: Vec<Spanned<String>> = Vec::new();
    for to in pipeline.sources.iter().filter_map(|(_, source)| source.bad_record.to.as_ref()) {
        if !names.iter().any(|name| name.value == to.value) {
            names.push(to.clone());
        }
    }
    names
}

/// Of each side stream the stream whose step makes it: what has to be resolved before those that take it. Whether the step
/// does make it is found out then.
fn makers(pipeline: &Pipeline) -> BTreeMap<&str, usize> {
    let mut makers = BTreeMap::new();
    for (place, stream) in pipeline.streams.iter().enumerate() {
        for step in &stream.steps.list {
            let name = entry(&step.options, "late").and_then(|late| entry(late, "to")).and_then(Node::text);
            if let Some(name) = name {
                makers.entry(name).or_insert(place);
            }
        }
    }
    makers
}

fn entry<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    node.map()?.iter().find(|(found, _)| found.text == key).map(|(_, node)| node)
}

/// How far a stream has been put in order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    Not,
    Begun,
    Done,
}

/// The streams so that each comes behind those that it takes.
fn order(streams: &[Vec<Origin>], pipeline: &Pipeline, problems: &mut Problems) -> Option<Vec<usize>> {
    let mut visits = vec![Visit::Not; streams.len()];
    let mut order = Vec::new();
    let mut sound = true;
    for stream in 0..streams.len() {
        let mut path = Vec::new();
        if let Err(circle) = visit(stream, streams, &mut visits, &mut path, &mut order) {
            sound = false;
            let name = |stream: &usize| format!("`{}`", pipeline.streams[*stream].name.text);
            let circle: Vec<String> = circle.iter().map(name).collect();
            let at: Place = pipeline.streams[stream].name.at;
            problems.push(
                Problem::error(
                    at,
                    format!("streams take each other's rows in a circle: {}", circle.join(" from ")),
                )
                .help("rows only go forward: take one of these `from` away"),
            );
        }
    }
    sound.then_some(order)
}

/// Puts a stream behind those that it takes; the streams of a circle, if it takes itself that way.
fn visit(
    stream: usize,
    streams: &[Vec<Origin>],
    visits: &mut [Visit],
    path: &mut Vec<usize>,
    order: &mut Vec<usize>,
) -> Result<(), Vec<usize>> {
    match visits[stream] {
        Visit::Done => return Ok(()),
        Visit::Begun => {
            let from = path.iter().position(|before| *before == stream).unwrap_or(0);
            let circle = path[from..].iter().copied().chain([stream]).collect();
            visits.iter_mut().filter(|visit| **visit == Visit::Begun).for_each(|visit| *visit = Visit::Done);
            return Err(circle);
        }
        Visit::Not => {}
    }
    visits[stream] = Visit::Begun;
    path.push(stream);
    for origin in &streams[stream] {
        if let Some(before) = origin.stream() {
            visit(before, streams, visits, path, order)?;
        }
    }
    path.pop();
    visits[stream] = Visit::Done;
    order.push(stream);
    Ok(())
}
