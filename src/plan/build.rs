//! A file without mistakes made into what runs: over only the columns that are used, cut into stages.

use std::collections::BTreeMap;

use super::delivery::Delivery;
use super::graph::{Graph, Origin};
use super::resolve::{Checked, Pass, StreamFlow, delivery_state, flow_of, least_bounded, sends};
use super::stages::{Stages, Way};
use super::steps::ResolvedSteps;
use super::{
    Plan, SideOutput, SinkOutput, SourceInput, components, delivery, event_time, fingerprint, sides, union,
};
use crate::error::Problems;
use crate::operator::{Flow, Part, narrow};
use crate::record::{BadRecord, Paths, Schema};
use crate::sink::Sink;

/// Which columns are needed.
struct Needs {
    /// Of each input of each stream, `[stream][input]`.
    streams: Vec<Vec<Paths>>,
    /// Of each source, `[source]`.
    sources: Vec<Paths>,
}

/// What a sink gets, and what runs in front of it.
struct Delivered {
    /// The rows in front of that.
    rows: Flow,
    delivery: Delivery,
    /// Whether it takes final rows, which some state has kept until then.
    holds: bool,
}

/// The streams over only the columns that are used.
struct Pruned {
    /// The rows of the sources, `[source]`.
    sources: Vec<Flow>,
    /// `[stream]`
    streams: Vec<Option<StreamFlow>>,
    /// `[sink]`; none for a sink that takes a side stream.
    sinks: Vec<Option<Delivered>>,
}

/// The plan of a file.
pub(super) fn build(checked: Checked<'_>, problems: &mut Problems) -> Option<Plan> {
    let needs = needs(&checked);
    let schemas: Vec<(Schema, Schema)> = read_columns(&checked, &needs, problems)?;
    let settled = settled(&checked);
    let pruned = prune(&checked, &needs, schemas.iter().map(|(_, kept)| kept.clone()), &settled, problems)?;
    let parts = pruned.sinks.iter().map(|sink| sink.as_ref().map_or(&[][..], |sink| &sink.delivery.parts));
    let streams: Vec<&StreamFlow> = pruned.streams.iter().map(Option::as_ref).collect::<Option<_>>()?;
    let fingerprint = fingerprint::of(checked.pipeline, &streams, &settled, &parts.collect::<Vec<&[Part]>>());
    let side_streams: Vec<_> = streams.iter().flat_map(|stream| stream.side_streams()).cloned().collect();
    let (stages, held_in) = stages(&checked, &pruned);
    let Checked { pipeline, tables, graph, sources, flows, sinks, formats, .. } = checked;
    let (mut outputs, mut sides): (Vec<SinkOutput>, Vec<SideOutput>) = (Vec::new(), Vec::new());
    let delivered = pruned.sinks.into_iter().zip(held_in);
    let sinks = sinks.into_iter().zip(formats);
    for (number, ((sink, format), (delivered, held_in))) in sinks.zip(delivered).enumerate() {
        let name = pipeline.sinks[number].name.text.as_str().into();
        match delivered {
            Some(Delivered { delivery: Delivery { schema, .. }, .. }) => {
                outputs.push(SinkOutput { name, sink, format, schema, held_in });
            }
            None => {
                let stream = sides::taken_by(&graph.sinks[number])?;
                let schema = side_streams.iter().find(|side| side.name == stream)?.schema.clone();
                sides.push(SideOutput { name, stream: stream.into(), schema, sink, format });
            }
        }
    }
    let mut inputs = Vec::new();
    for (((name, declared), (source, flow)), (columns, kept)) in
        pipeline.sources.iter().zip(sources.into_iter().zip(flows)).zip(schemas)
    {
        let time = event_time::resolve(declared, Some(source.as_ref()), &columns, problems).ok()?;
        let rejects = declared.bad_record.to.as_ref();
        let rejects = rejects.and_then(|to| graph.rejects.iter().position(|name| name.value == to.value));
        inputs.push(SourceInput {
            rejects: rejects.map(|place| pipeline.sources.len() + place),
            name: name.text.as_str().into(),
            format: components::source_format(declared, source.as_ref()),
            declared: flow.schema,
            source,
            columns,
            kept,
            time,
        });
    }
    Some(Plan {
        name: pipeline.name.value.clone(),
        sources: inputs,
        tables: tables.iter().cloned().collect(),
        stages,
        sinks: outputs,
        sides,
        rejects: graph.rejects.iter().map(|name| name.value.as_str().into()).collect(),
        bad_record: pipeline.sources[0].1.bad_record.clone(),
        cores: pipeline.run.cores,
        state_dir: pipeline.run.state_dir.clone(),
        memory_bytes: pipeline.run.memory_bytes,
        snapshot: pipeline.run.snapshot,
        fingerprint,
    })
}

/// The columns that the streams and the sinks need.
fn needs(checked: &Checked<'_>) -> Needs {
    let graph = &checked.graph;
    let mut outputs = vec![Paths::default(); checked.streams.len()];
    let mut sources = vec![Paths::default(); checked.sources.len()];
    let mut streams = vec![Vec::new(); checked.streams.len()];
    for origin in graph.sinks.iter().flatten() {
        match origin {
            Origin::Source(source) => {
                sources[*source].extend(Paths::all(&checked.flows[*source].schema).iter());
            }
            Origin::Stream(stream) | Origin::Case(stream, _) => {
                outputs[*stream].extend(Paths::all(&checked.streams[*stream].steps.output.schema).iter());
            }
            Origin::Side(_) | Origin::Rejects(_) => {}
        }
    }
    let is_taken = |stream: &str| {
        graph.taken().any(|origin| matches!(origin, Origin::Side(side) if side.name == stream))
    };
    for stream in graph.order.iter().rev() {
        let of = &checked.streams[*stream];
        let mut output = std::mem::take(&mut outputs[*stream]);
        if let Some(route) = &of.route {
            route.require(&mut output);
        }
        let input = of.steps.required(output, is_taken);
        let inputs = match &of.join {
            Some((join, _)) => (join.required)(&input).into(),
            None => vec![input; graph.streams[*stream].len()],
        };
        for (origin, input) in graph.streams[*stream].iter().zip(&inputs) {
            match origin {
                Origin::Source(source) => sources[*source].extend(input.iter()),
                Origin::Stream(before) | Origin::Case(before, _) => outputs[*before].extend(input.iter()),
                // All columns of such a stream are carried.
                Origin::Side(_) | Origin::Rejects(_) => {}
            }
        }
        streams[*stream] = inputs;
    }
    Needs { streams, sources }
}

/// Of each source the columns that are read, and those that the streams are handed: not what only the event time is made
/// from.
fn read_columns(
    checked: &Checked<'_>,
    needs: &Needs,
    problems: &mut Problems,
) -> Option<Vec<(Schema, Schema)>> {
    let mut all = Vec::new();
    for (number, (_, declared)) in checked.pipeline.sources.iter().enumerate() {
        let (schema, mut used) = (&checked.flows[number].schema, needs.sources[number].clone());
        let kept = used.prune(schema);
        let source = Some(checked.sources[number].as_ref());
        if let Some(time) = event_time::resolve(declared, source, schema, problems).ok()? {
            used.extend(time.expression.paths());
        }
        all.push((used.prune(schema), kept));
    }
    Some(all)
}

/// For each stream the step that sends only final rows, because one sink takes all of them and wants no others.
fn settled(checked: &Checked<'_>) -> Vec<Option<usize>> {
    let of = |stream: usize| {
        let is_it =
            |origin: &Origin| matches!(origin, Origin::Stream(of) | Origin::Case(of, _) if *of == stream);
        let mut takers = checked.graph.sinks.iter().enumerate().filter(|(_, from)| from.iter().any(is_it));
        let (sink, from) = takers.next()?;
        let is_alone = takers.next().is_none()
            && !checked.graph.streams.iter().flatten().any(is_it)
            && *from == [Origin::Stream(stream)];
        let wants = is_alone && delivery::wants_only_final_rows(checked.sinks[sink].as_ref());
        checked.streams[stream].steps.last_changing().filter(|_| wants)
    };
    (0..checked.streams.len()).map(of).collect()
}

/// Resolves everything again, over these columns of the sources.
fn prune(
    checked: &Checked<'_>,
    needs: &Needs,
    kept: impl Iterator<Item = Schema>,
    settled: &[Option<usize>],
    problems: &mut Problems,
) -> Option<Pruned> {
    let sources = checked.flows.iter().zip(kept);
    let sources: Vec<Flow> =
        sources.map(|(flow, schema)| Flow { schema, pruned: true, ..flow.clone() }).collect();
    let flows: Vec<Option<&Flow>> = sources.iter().map(Some).collect();
    let wanting: Vec<Option<&dyn Sink>> = checked.sinks.iter().map(|sink| Some(sink.as_ref())).collect();
    let (pipeline, graph) = (checked.pipeline, &checked.graph);
    let pass = Pass { pipeline, graph, declared: &checked.declared, needs: Some(&needs.streams) };
    let streams = pass.streams(&flows, |stream| sends(stream, graph, &wanting), settled, problems);
    debug_assert!(
        streams.iter().all(Option::is_some),
        "leaving out unused columns breaks no step: {:?}",
        problems.all()
    );
    let source = least_bounded(checked.sources.iter().map(AsRef::as_ref));
    let mut sinks = Vec::new();
    for (number, sink) in checked.sinks.iter().enumerate() {
        let from = &graph.sinks[number];
        if sides::taken_by(from).is_some() {
            sinks.push(None);
            continue;
        }
        let rows = from.iter().map(|origin| flow_of(origin, &flows, &streams)).collect::<Option<_>>()?;
        let declared = &pipeline.sinks[number];
        let rows = union::of(&declared.from, rows, problems)?;
        let (at, state) = (declared.sink.component.kind.at, delivery_state(pipeline, number));
        let delivery = delivery::resolve(sink.as_ref(), at, &state, source, &rows, problems)?;
        let is_settled = matches!(from.as_slice(), [Origin::Stream(stream)] if settled[*stream].is_some());
        let holds =
            is_settled || delivery::wants_only_final_rows(sink.as_ref()) && !delivery.parts.is_empty();
        sinks.push(Some(Delivered { rows, delivery, holds }));
    }
    Some(Pruned { sources, streams, sinks })
}

/// The stages, and for each sink the state that holds its rows back, if one does.
fn stages(checked: &Checked<'_>, pruned: &Pruned) -> (Vec<super::Stage>, Vec<Option<std::sync::Arc<str>>>) {
    let sources = pruned.sources.len();
    let mut stages = Stages::new(sources + checked.graph.rejects.len());
    let mut ways = Ways { streams: pruned.streams.iter().map(|_| None).collect(), sides: BTreeMap::new() };
    for stream in &checked.graph.order {
        let of = pruned.streams[*stream].as_ref().expect("every stream is resolved");
        let from = checked.graph.streams[*stream].as_slice();
        let way = match &of.join {
            Some((join, inputs)) => {
                let mut way = |place: usize| {
                    way_of(&from[place..=place], &inputs[place].schema, &ways, pruned, &mut stages)
                };
                let both = [way(0), way(1)];
                stages.join(both, join.before.clone(), join.build.clone())
            }
            None => way_of(from, &of.input.schema, &ways, pruned, &mut stages),
        };
        let way = lead_through(&of.steps, way, &checked.graph, &mut ways.sides, &mut stages);
        let route = of.route.as_ref().map(|route| Part::Operator(route.build(&of.steps.output)));
        ways.streams[*stream] = Some(stages.lead(way, route));
    }
    let mut held_in = Vec::new();
    let mut number = 0;
    for (from, sink) in checked.graph.sinks.iter().zip(&pruned.sinks) {
        let Some(Delivered { rows, delivery, holds }) = sink else {
            held_in.push(None);
            continue;
        };
        let way = way_of(from, &rows.schema, &ways, pruned, &mut stages);
        let way = stages.lead(way, delivery.parts.iter().cloned());
        stages.sink(&way, number);
        number += 1;
        let steps = from.iter().filter_map(|origin| match origin {
            Origin::Stream(stream) => pruned.streams[*stream].as_ref(),
            _ => None,
        });
        let parts = steps.flat_map(|stream| stream.steps.parts().flatten()).chain(&delivery.parts);
        let states = parts.filter_map(|part| match part {
            Part::Operator(build) => build.state.clone(),
            Part::Exchange { .. } => None,
        });
        held_in.push(states.last().filter(|_| *holds));
    }
    (stages.finish(), held_in)
}

/// The ways of the streams that others take.
struct Ways {
    /// `[stream]`
    streams: Vec<Option<Way>>,
    /// Those of side streams that streams take, or sinks beside others, with their columns.
    sides: BTreeMap<String, (Way, Schema)>,
}

/// Leads rows through the steps of a stream. Where a side stream goes on among the stages, its way is noted.
fn lead_through(
    steps: &ResolvedSteps,
    way: Way,
    graph: &Graph,
    sides: &mut BTreeMap<String, (Way, Schema)>,
    stages: &mut Stages,
) -> Way {
    let goes_on = |name: &str| {
        let is_it = |origin: &Origin| matches!(origin, Origin::Side(side) if side.name == name);
        let of_sinks = graph.sinks.iter().filter(|from| sides::taken_by(from).is_none());
        graph.streams.iter().chain(of_sinks).flatten().any(is_it)
    };
    steps.list().iter().fold(way, |way, step| {
        // What tells of rows that are too late is what keeps state, behind the exchange.
        let makes = |part: &Part| matches!(part, Part::Operator(build) if build.state.is_some());
        let behind = step.parts.iter().rposition(makes).map_or(0, |place| place + 1);
        let (before, rest) = step.parts.split_at(behind);
        let way = stages.lead(way, before.iter().cloned());
        for side in step.side.iter().filter(|side| goes_on(&side.name)) {
            let from = stages.side(&way, &side.name, &side.schema);
            sides.insert(side.name.clone(), (from, side.schema.clone()));
        }
        stages.lead(way, rest.iter().cloned())
    })
}

/// The way of all rows that come from these, as rows of `schema`.
fn way_of(from: &[Origin], schema: &Schema, ways: &Ways, pruned: &Pruned, stages: &mut Stages) -> Way {
    let one = |origin: &Origin| {
        let (way, has) = match origin {
            Origin::Source(source) => (Stages::source(*source), pruned.sources[*source].schema.clone()),
            Origin::Rejects(place) => (Stages::source(pruned.sources.len() + place), BadRecord::schema()),
            Origin::Stream(stream) | Origin::Case(stream, _) => {
                let of = pruned.streams[*stream].as_ref().expect("every stream is resolved");
                let way = ways.streams[*stream].clone().expect("streams come behind those they take");
                let way = match (origin, &of.route) {
                    (Origin::Case(_, case), Some(route)) => {
                        stages.lead(way, [Part::Operator(route.case(&of.steps.output, *case))])
                    }
                    _ => way,
                };
                (way, of.steps.output.schema.clone())
            }
            Origin::Side(side) => {
                ways.sides.get(&side.name).cloned().expect("streams come behind those they take")
            }
        };
        stages.lead(way, narrow(&has, schema).map(Part::Operator))
    };
    Stages::union(from.iter().map(one).collect::<Vec<_>>())
}
