//! A file's graph resolved: twice, over all columns of the sources, which finds every mistake and what is used, and over
//! only those that are used, which is what runs.

use std::sync::Arc;

use super::graph::{Graph, Origin, Side};
use super::steps::{self, ResolvedSteps};
use super::{components, delivery, event_time, route, sides, tables, union};
use crate::codec::Format;
use crate::config::{Form, Inputs, Pipeline, Source as Declared};
use crate::error::{Place, Problem, Problems};
use crate::operator::{Flow, ResolvedJoin, Sends, SideStream, Untimed};
use crate::record::{BadRecord, Paths, SqlType};
use crate::sink::Sink;
use crate::source::{Source, TimeOf};
use crate::table::Tables;
use crate::yaml::Key;

/// The components and steps of a file, as far as they could be read.
pub(super) struct Read<'a> {
    pipeline: &'a Pipeline,
    tables: Arc<Tables>,
    /// `[source]`
    sources: Vec<Option<Box<dyn Source>>>,
    /// `[stream]`
    streams: Vec<steps::Declared>,
    /// `[sink]`
    sinks: Vec<Option<Box<dyn Sink>>>,
    /// How each sink writes rows, `[sink]`.
    formats: Vec<Option<Format>>,
    /// What takes what; none after a problem.
    graph: Option<Graph>,
}

/// A source whose columns are known.
struct SourceFlow {
    /// An error has been reported.
    time: Result<Option<TimeOf>, ()>,
    flow: Flow,
}

/// A stream over known rows.
pub(super) struct StreamFlow {
    /// What it takes: all of it together, or joined.
    pub input: Flow,
    /// How two inputs are joined, and what is taken of each for that.
    pub join: Option<(ResolvedJoin, [Flow; 2])>,
    /// Its steps, but for a `route`.
    pub steps: ResolvedSteps,
    /// Behind its last step.
    pub route: Option<route::Resolved>,
}

impl StreamFlow {
    /// The rows of the side stream of this name that leaves it at a step.
    fn side_flow(&self, name: &str) -> Option<Flow> {
        self.steps.side_flow(name)
    }

    /// The streams that leave it at a step.
    pub fn side_streams(&self) -> impl Iterator<Item = &SideStream> {
        self.join.iter().flat_map(|(join, _)| &join.side).chain(self.steps.side_streams())
    }
}

/// All of a file's streams over known rows, as far as they could be resolved.
pub(super) struct Resolved<'a> {
    read: Read<'a>,
    graph: Graph,
    sources: Vec<Option<SourceFlow>>,
    /// None where it could not be resolved.
    streams: Vec<Option<StreamFlow>>,
}

/// A file without mistakes.
pub(super) struct Checked<'a> {
    /// What it says.
    pub pipeline: &'a Pipeline,
    /// What rows are looked up in.
    pub tables: Arc<Tables>,
    /// What takes what.
    pub graph: Graph,
    /// `[source]`
    pub sources: Vec<Box<dyn Source>>,
    /// Their rows with all columns, `[source]`.
    pub flows: Vec<Flow>,
    /// `[stream]`
    pub declared: Vec<steps::Declared>,
    /// The streams over all columns, `[stream]`.
    pub streams: Vec<StreamFlow>,
    /// `[sink]`
    pub sinks: Vec<Box<dyn Sink>>,
    /// How each sink writes rows, `[sink]`.
    pub formats: Vec<Format>,
}

impl<'a> Read<'a> {
    /// Reads the options of every component and step.
    pub fn of(pipeline: &'a Pipeline, problems: &mut Problems) -> Self {
        let tables = Arc::new(tables::resolve(pipeline, problems));
        let sources =
            pipeline.sources.iter().map(|(_, source)| components::source(source, problems)).collect();
        let (sinks, formats) =
            pipeline.sinks.iter().map(|sink| components::sink(&sink.sink, problems).unzip()).unzip();
        steps::check_names(pipeline.streams.iter().flat_map(|stream| &stream.steps.list), problems);
        let streams: Vec<_> = pipeline
            .streams
            .iter()
            .map(|stream| steps::parse(&stream.steps, pipeline.form, problems))
            .collect();
        check_sources(pipeline, problems);
        let endings: Vec<_> = streams.iter().map(steps::Declared::ending).collect();
        let graph = Graph::of(pipeline, &endings, problems);
        let read = Self { pipeline, tables, sources, streams, sinks, formats, graph };
        let sources: Vec<&dyn Source> = read.sources.iter().flatten().map(AsRef::as_ref).collect();
        sides::check_targets(&sources, &read.sinks_with_places(), problems);
        read
    }

    /// The sinks that could be read, each with the place of its kind.
    fn sinks_with_places(&self) -> Vec<(&dyn Sink, Place)> {
        let places = self.pipeline.sinks.iter().map(|sink| sink.sink.component.kind.at);
        self.sinks.iter().zip(places).filter_map(|(sink, at)| Some((sink.as_deref()?, at))).collect()
    }

    /// Resolves every stream against what it takes. None where nothing more can be found out.
    pub fn resolve(mut self, problems: &mut Problems) -> Option<Resolved<'a>> {
        let declared = self.pipeline.sources.iter().map(|(_, source)| source);
        let sources = declared.zip(&self.sources).map(|(declared, source)| {
            let source = source.as_deref();
            // A source that could not be read hides no mistake in the steps, where the file declares the columns.
            let columns = components::schema(declared, source, problems)?;
            let time = event_time::resolve(declared, source, &columns, problems);
            let event_time = match &time {
                Ok(time) => time.as_ref().map(|time| time.expression.data_type().clone()),
                // Nor does an event time that is wrong: windows are checked as if it were right.
                Err(()) => Some(SqlType::Timestamp(3)),
            };
            let time_column = time.as_ref().ok().and_then(|time| time.as_ref()?.expression.as_column());
            let time_columns = time_column.map(|column| vec![column.to_owned()]);
            let tables = self.tables.clone();
            let flow = Flow { time_columns, tables, ..Flow::of_source(columns, event_time) };
            Some(SourceFlow { time, flow })
        });
        let sources: Vec<Option<SourceFlow>> = sources.collect();
        let graph = self.graph.take()?;
        let flows: Vec<Option<&Flow>> =
            sources.iter().map(|source| source.as_ref().map(|source| &source.flow)).collect();
        let sinks: Vec<Option<&dyn Sink>> = self.sinks.iter().map(Option::as_deref).collect();
        let sends = |stream| sends(stream, &graph, &sinks);
        let pass = Pass { pipeline: self.pipeline, graph: &graph, declared: &self.streams, needs: None };
        let streams = pass.streams(&flows, sends, &vec![None; self.streams.len()], problems);
        Some(Resolved { read: self, graph, sources, streams })
    }
}

/// Reports sources that cannot stand beside each other.
fn check_sources(pipeline: &Pipeline, problems: &mut Problems) {
    let is_stdin = |source: &&(Key, Declared)| source.1.component.kind.text == "stdin";
    for (_, source) in pipeline.sources.iter().filter(is_stdin).skip(1) {
        problems.push(
            Problem::error(source.component.kind.at, "another source reads the standard input, too")
                .help("there is but one: let several streams take that source"),
        );
    }
    let mut sources = pipeline.sources.iter();
    let Some((first, source)) = sources.next() else { return };
    for (name, _) in sources.filter(|(_, other)| !other.bad_record.agrees(&source.bad_record)) {
        let what = format!("`bad_record` of `{}` is not as that of `{}`", name.text, first.text);
        problems.push(
            Problem::error(name.at, what)
                .help("all sources of a pipeline have one quarantine: say the same of each"),
        );
    }
}

/// What the steps of a stream send of their changes: what all sinks want that get them.
pub(super) fn sends(stream: usize, graph: &Graph, sinks: &[Option<&dyn Sink>]) -> Sends {
    let mut of_sinks = sinks_behind(stream, graph).into_iter().map(|sink| delivery::sends(sinks[sink]));
    let Some(first) = of_sinks.next() else { return Sends::EachChange };
    if of_sinks.all(|other| other == first) { first } else { Sends::EachChange }
}

/// The sinks that rows of a stream come to, through other streams too.
fn sinks_behind(stream: usize, graph: &Graph) -> Vec<usize> {
    let is_it = |origin: &Origin| matches!(origin, Origin::Stream(of) | Origin::Case(of, _) if *of == stream);
    let sinks = graph.sinks.iter().enumerate().filter(|(_, from)| from.iter().any(is_it));
    let mut found: Vec<usize> = sinks.map(|(sink, _)| sink).collect();
    for (behind, _) in graph.streams.iter().enumerate().filter(|(_, from)| from.iter().any(is_it)) {
        found.extend(sinks_behind(behind, graph));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Resolves all streams once.
pub(super) struct Pass<'a> {
    /// What the file says.
    pub pipeline: &'a Pipeline,
    /// What takes what.
    pub graph: &'a Graph,
    /// `[stream]`
    pub declared: &'a [steps::Declared],
    /// The columns that each stream needs of each input, where that is known, `[stream][input]`.
    pub needs: Option<&'a [Vec<Paths>]>,
}

impl Pass<'_> {
    /// The streams; none for one that takes what could not be resolved, or cannot be resolved itself up to its end. Of
    /// a stream at `settled` that step sends only final rows.
    pub fn streams(
        &self,
        sources: &[Option<&Flow>],
        sends: impl Fn(usize) -> Sends,
        settled: &[Option<usize>],
        problems: &mut Problems,
    ) -> Vec<Option<StreamFlow>> {
        let mut streams: Vec<Option<StreamFlow>> = self.declared.iter().map(|_| None).collect();
        for stream in &self.graph.order {
            let declared = &self.declared[*stream];
            let Some(inputs) = self.inputs(*stream, sources, &streams) else { continue };
            let inputs: Vec<Flow> = inputs
                .into_iter()
                .enumerate()
                .map(|(place, flow)| self.narrowed(*stream, place, flow))
                .collect();
            let from = &self.pipeline.streams[*stream].from;
            let (mut input, join) = match (&declared.join, from, inputs.as_slice()) {
                (Some(join), Inputs::Named(named), [first, second]) => {
                    let both = [(named[0].0.text.as_str(), first), (named[1].0.text.as_str(), second)];
                    let Some(join) = join.resolve(both, problems) else { continue };
                    (join.output.clone(), Some((join, [first.clone(), second.clone()])))
                }
                (Some(_), _, _) => {
                    let at = from.names().next().map_or(Place::default(), |name| name.at);
                    problems.push(Problem::error(at, "a `join` takes two streams, each under a name of its own here").help(
                        "write for instance `from: { o: orders, p: payments }`; the names stand for the rows in `match`",
                    ));
                    continue;
                }
                (None, _, _) => match union::of(from, inputs, problems) {
                    Some(all) => (all, None),
                    None => continue,
                },
            };
            input.sends = sends(*stream);
            let resolved = steps::resolve(declared, input.clone(), settled[*stream], problems);
            let (Some(steps), true) = (resolved, declared.is_complete()) else { continue };
            let route = match &declared.route {
                Some(route) => match route.resolve(&steps.output, problems) {
                    Some(resolved) => {
                        if resolved.reads_clock() {
                            steps::refuse_clock(&steps.output, route.at, problems);
                        }
                        Some(resolved)
                    }
                    None => continue,
                },
                None => None,
            };
            streams[*stream] = Some(StreamFlow { input, join, steps, route });
        }
        streams
    }

    /// The rows that a stream takes, `[input]`.
    fn inputs(
        &self,
        stream: usize,
        sources: &[Option<&Flow>],
        streams: &[Option<StreamFlow>],
    ) -> Option<Vec<Flow>> {
        self.graph.streams[stream].iter().map(|origin| flow_of(origin, sources, streams)).collect()
    }

    /// Only the columns that a stream needs of an input, where that is known.
    fn narrowed(&self, stream: usize, input: usize, flow: Flow) -> Flow {
        match self.needs {
            Some(needs) => Flow { schema: needs[stream][input].prune(&flow.schema), pruned: true, ..flow },
            None => flow,
        }
    }
}

/// The rows that come from here; none of a side stream, or of what could not be resolved.
pub(super) fn flow_of(
    origin: &Origin,
    sources: &[Option<&Flow>],
    streams: &[Option<StreamFlow>],
) -> Option<Flow> {
    match origin {
        Origin::Source(source) => sources[*source].cloned(),
        Origin::Stream(stream) | Origin::Case(stream, _) => {
            streams[*stream].as_ref().map(|stream| stream.steps.output.clone())
        }
        Origin::Side(Side { name, stream }) => streams[(*stream)?].as_ref()?.side_flow(name),
        // Bad records go through before it is known what there is to look up in, so that is of no source.
        Origin::Rejects(_) => sources.iter().flatten().next().map(|source| rejects_flow(source)),
    }
}

/// The bad records of sources.
pub(super) fn rejects_flow(source: &Flow) -> Flow {
    let flow = Flow::of_source(BadRecord::schema(), None);
    Flow { ordered: false, untimed: Untimed::Bad, tables: source.tables.clone(), ..flow }
}

impl<'a> Resolved<'a> {
    /// Checks sinks and side streams. None where there is a mistake, or something that is not known here.
    pub fn check(self, problems: &mut Problems) -> Option<Checked<'a>> {
        let complete = self.check_sides(problems);
        self.check_sinks(problems);
        let Self { read, graph, sources, streams } = self;
        let streams: Vec<StreamFlow> = streams.into_iter().collect::<Option<_>>()?;
        let sinks: Vec<Box<dyn Sink>> = read.sinks.into_iter().collect::<Option<_>>()?;
        let formats: Vec<Format> = read.formats.into_iter().collect::<Option<_>>()?;
        let (mut flows, mut all_timed) = (Vec::new(), true);
        for source in sources {
            let SourceFlow { time, flow } = source?;
            all_timed &= time.is_ok();
            flows.push(flow);
        }
        let sources: Vec<Box<dyn Source>> = read.sources.into_iter().collect::<Option<_>>()?;
        let is_sound = complete && all_timed && !problems.has_errors();
        let (pipeline, tables, declared) = (read.pipeline, read.tables, read.streams);
        is_sound.then_some(Checked {
            pipeline,
            tables,
            graph,
            sources,
            flows,
            declared,
            streams,
            sinks,
            formats,
        })
    }

    /// Checks that what takes a side stream finds one, and that none is without a taker.
    fn check_sides(&self, problems: &mut Problems) -> bool {
        let pipeline = self.read.pipeline;
        // Of a stream that could not be resolved nobody knows which rows leave it; one that takes such rows is not resolved.
        let mut waits = vec![false; self.streams.len()];
        for stream in &self.graph.order {
            waits[*stream] = self.graph.streams[*stream].iter().any(|origin| match origin {
                Origin::Stream(before) | Origin::Case(before, _) => waits[*before],
                Origin::Side(side) => side.stream.is_none_or(|stream| {
                    waits[stream]
                        || self.streams[stream].as_ref().is_some_and(|of| of.side_flow(&side.name).is_none())
                }),
                Origin::Source(_) | Origin::Rejects(_) => false,
            });
        }
        if self.streams.iter().zip(waits).any(|(stream, waits)| stream.is_none() && !waits) {
            return false;
        }
        let rejects = sides::of_bad_records(&self.graph);
        let of_steps = self.streams.iter().flatten().flat_map(StreamFlow::side_streams);
        let made: Vec<&SideStream> = rejects.iter().chain(of_steps).collect();
        sides::check_names(pipeline, problems);
        let complete = sides::check(pipeline, &self.graph, &made, problems).is_some();
        for (sink, from) in self.read.sinks.iter().zip(&self.graph.sinks) {
            let name = sides::taken_by(from);
            let stream = made.iter().find(|stream| Some(stream.name.as_str()) == name);
            if let (Some(sink), Some(stream)) = (sink, stream) {
                sides::check_rows(sink.as_ref(), stream, problems);
            }
        }
        complete
    }

    /// Checks the sinks of streams against their rows.
    fn check_sinks(&self, problems: &mut Problems) {
        let flows: Vec<Option<&Flow>> =
            self.sources.iter().map(|source| source.as_ref().map(|source| &source.flow)).collect();
        let source = least_bounded(self.read.sources.iter().flatten().map(AsRef::as_ref));
        for (number, sink) in self.read.sinks.iter().enumerate() {
            let Some(sink) = sink else { continue };
            let from = self.graph.sinks[number].iter().map(|origin| flow_of(origin, &flows, &self.streams));
            let Some(from) = from.collect::<Option<Vec<Flow>>>() else { continue };
            let declared = &self.read.pipeline.sinks[number];
            let Some(rows) = union::of(&declared.from, from, problems) else { continue };
            let state = delivery_state(self.read.pipeline, number);
            delivery::resolve(
                sink.as_ref(),
                declared.sink.component.kind.at,
                &state,
                source,
                &rows,
                problems,
            );
            sink.check(&rows.schema, problems);
        }
    }
}

/// A source that is not sure to end, if there is one; else any.
pub(super) fn least_bounded<'a>(sources: impl Iterator<Item = &'a dyn Source>) -> Option<&'a dyn Source> {
    sources.min_by_key(|source| source.is_bounded())
}

/// The name of the state that is kept before a sink.
pub(super) fn delivery_state(pipeline: &Pipeline, sink: usize) -> String {
    match pipeline.form {
        Form::Line => delivery::STATE.to_owned(),
        Form::Graph => format!("{}.{}", delivery::STATE, pipeline.sinks[sink].name.text),
    }
}
