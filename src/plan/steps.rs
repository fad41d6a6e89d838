//! The steps: verbs found, options read, each resolved against the rows behind the one before.

use std::collections::BTreeSet;

use super::graph::Ending;
use super::route;
use crate::config::{self, Form};
use crate::error::{Place, Problem, Problems};
use crate::operator::{Flow, JOIN, Join, Part, Resolved, Sends, SideStream, Step, VERBS, parse_join, verb};
use crate::record::Paths;

/// The steps of a file, as far as they could be read.
pub(super) struct Declared {
    /// Each with the place of its verb; None for a step that could not be read, which has been reported.
    steps: Vec<(Place, Option<Box<dyn Step>>)>,
    complete: bool,
    /// The `join` before the first of them, if there is one.
    pub join: Option<Box<dyn Join>>,
    /// The `route` behind the last of them, if there is one.
    pub route: Option<route::Declared>,
}

impl Declared {
    /// Whether all steps could be read.
    pub(super) fn is_complete(&self) -> bool {
        self.complete && self.steps.iter().all(|(_, step)| step.is_some())
    }

    /// How the stream ends.
    pub(super) fn ending(&self) -> Ending {
        match &self.route {
            Some(route) if self.complete => Ending::Cases(route.names()),
            _ if self.complete => Ending::Plain,
            _ => Ending::Unknown,
        }
    }
}

/// Reads the options of every step.
pub(super) fn parse(steps: &config::Steps, form: Form, problems: &mut Problems) -> Declared {
    let (mut list, mut complete, mut route) = (steps.list.as_slice(), steps.complete, None);
    if let Some(place) = list.iter().position(|step| step.verb.text == route::VERB) {
        let at = list[place].verb.at;
        if form == Form::Line {
            let what = "a `route` makes several streams of one, and this pipeline is a chain";
            let help =
                "write it as a graph: `sources`, `streams` and `sinks`, each stream and sink with `from`";
            problems.push(Problem::error(at, what).help(help));
        } else if place + 1 < list.len() {
            let help = "put it into streams that take the cases: `from: stream.case`";
            problems
                .push(Problem::error(list[place + 1].verb.at, "nothing stands behind a `route`").help(help));
        }
        route = route::parse(&list[place], problems);
        complete &= route.is_some() && form == Form::Graph && place + 1 == list.len();
        list = &list[..place];
    }
    let mut join = None;
    if let Some(place) = list.iter().position(|step| step.verb.text == JOIN) {
        let step = &list[place];
        if place > 0 {
            let help = "name two streams in `from`, for instance `from: { o: orders, p: payments }`, and join them first";
            problems.push(Problem::error(step.verb.at, "a `join` begins a stream").help(help));
        }
        join = parse_join(&step.options, step.verb.at, problems);
        complete &= join.is_some() && place == 0;
        list = if place == 0 { &list[1..] } else { &list[..place] };
    }
    let parsed = list.iter().map(|step| {
        let name = step.verb.text.as_str();
        let Some(verb) = verb(name) else {
            let names = VERBS.iter().map(|verb| verb.name);
            let problem = Problem::error(step.verb.at, format!("there is no step `{name}`"));
            problems.push(problem.suggest(name, names, "this version has"));
            return (step.verb.at, None);
        };
        (step.verb.at, (verb.parse)(&step.options, step.verb.at, problems))
    });
    Declared { steps: parsed.collect(), complete, join, route }
}

/// Reports names that two steps have: the name is the identity of a step's state.
pub(super) fn check_names<'a>(steps: impl Iterator<Item = &'a config::Step>, problems: &mut Problems) {
    let mut taken = BTreeSet::new();
    for step in steps {
        let options = step.options.map().unwrap_or_default();
        let Some((_, name)) = options.iter().find(|(key, _)| key.text == "name") else { continue };
        // The columns of a `select` or a `set` may be called anything.
        let keeps_columns = ["select", "set", "rename"].contains(&step.verb.text.as_str());
        let Some(text) = name.text().filter(|_| !keeps_columns) else { continue };
        if text == super::delivery::STATE {
            problems.push(
                Problem::error(name.at, format!("`{text}` is the name of what stands before the sink"))
                    .help("call the step something else: its name is the identity of its state"),
            );
        } else if !taken.insert(text) {
            problems.push(
                Problem::error(name.at, format!("another step is called `{text}`"))
                    .help("give each a name of its own: it is the identity of the step's state"),
            );
        }
    }
}

/// The resolved steps of a file.
pub(super) struct ResolvedSteps {
    steps: Vec<Resolved>,
    /// The rows before each step.
    inputs: Vec<Flow>,
    /// The rows behind the last step.
    pub output: Flow,
}

/// Resolves the steps in order, up to the first that cannot be: what follows it would only repeat its problem. Only the
/// rows that are there in the end are wanted of the step at `settled`.
pub(super) fn resolve(
    declared: &Declared,
    input: Flow,
    settled: Option<usize>,
    problems: &mut Problems,
) -> Option<ResolvedSteps> {
    let sends = input.sends;
    let mut resolved = ResolvedSteps { steps: Vec::new(), inputs: Vec::new(), output: input };
    for (index, (at, step)) in declared.steps.iter().enumerate() {
        resolved.output.sends = if settled == Some(index) { Sends::FinalRows } else { sends };
        let step = step.as_ref()?.resolve(&resolved.output, problems)?;
        let reads_clock = |part: &Part| matches!(part, Part::Operator(build) if build.reads_clock);
        if step.parts.iter().any(reads_clock) {
            refuse_clock(&resolved.output, *at, problems);
        }
        let output = std::mem::replace(&mut resolved.output, step.output.clone());
        resolved.inputs.push(output);
        resolved.steps.push(step);
    }
    Some(resolved)
}

/// Reports a step that reads the present time, if its rows may be taken back.
pub(super) fn refuse_clock(rows: &Flow, at: Place, problems: &mut Problems) {
    if rows.changelog.is_some() {
        problems.push(
            Problem::error(at, "the present time cannot be read here: a row that is taken back later would be another one than was sent")
                .help("read it before the step whose rows may be taken back, or give that step a window"),
        );
    }
}

impl ResolvedSteps {
    /// The columns of the source that are needed for these columns of the output, and for the side streams that are
    /// `consumed`: such a stream carries columns of its step's input.
    pub(super) fn required(&self, output: Paths, consumed: impl Fn(&str) -> bool) -> Paths {
        let behind = |needed: Paths, (step, input): (&Resolved, &Flow)| {
            let mut before = (step.required)(&needed);
            for stream in step.side.iter().filter(|stream| consumed(&stream.name)) {
                let carried = stream.schema.columns().iter().map(|column| &column.name);
                let carried = carried.filter(|name| input.schema.column(name).is_some());
                carried.for_each(|name| before.insert(vec![name.clone()]));
            }
            before
        };
        self.steps.iter().zip(&self.inputs).rev().fold(output, behind)
    }

    /// The last step that keeps state by key, if it sends a changelog: behind it rows are only passed on one by one, so
    /// that it may as well send them when they are final.
    pub(super) fn last_changing(&self) -> Option<usize> {
        let is_keyed = |step: &Resolved| step.parts.iter().any(|part| matches!(part, Part::Exchange { .. }));
        let last = self.steps.iter().rposition(is_keyed)?;
        self.steps[last].output.changelog.is_some().then_some(last)
    }

    /// The rows of the side stream of this name: rows of a step's input, whatever window they came too late for.
    pub(super) fn side_flow(&self, name: &str) -> Option<Flow> {
        self.steps.iter().zip(&self.inputs).find_map(|(step, input)| {
            let side = step.side.iter().find(|side| side.name == name)?;
            let schema = side.schema.clone();
            Some(Flow { schema, ordered: false, window: None, changelog: None, ..input.clone() })
        })
    }

    /// The steps.
    pub(super) fn list(&self) -> &[Resolved] {
        &self.steps
    }

    /// What runs for each step.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[Part]> {
        self.steps.iter().map(|step| step.parts.as_slice())
    }

    /// The streams that leave at a step, in the order of the data.
    pub(super) fn side_streams(&self) -> impl Iterator<Item = &SideStream> {
        self.steps.iter().flat_map(|step| &step.side)
    }
}
