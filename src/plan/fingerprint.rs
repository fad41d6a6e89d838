//! What a pipeline is, in words: what [`super::Upgrade`] compares when a file has been edited.
//!
//! The words are those of the file, with variables replaced and without its layout: equal words mean the same. (Different
//! words may mean the same, too: nobody is asked to accept a change because of a comment, but `60s` for `1m` is one.)

use serde_json::{Map, Value, json};

use super::resolve::StreamFlow;
use super::tables::LOOKUP;
use crate::config::{Form, Inputs, Pipeline, Sink, Step, Stream};
use crate::operator::{Part, StateTable};
use crate::snapshot::{ComponentText, Fingerprint, StateText, StepText, columns};
use crate::yaml::{Key, Node, Scalar, Style, Value as Written};

/// The name of the main sink's output; others have the names that the file gives them.
pub(super) const MAIN: &str = "sink";

/// The options, and verbs, whose entries mean something by their order.
const ORDERED: [&str; 7] = ["select", "set", "rename", "by", "per", "schema", "columns"];

/// The verb of what stands for the beginning of a stream of a graph.
pub(super) const STREAM: &str = "stream";

/// The fingerprint of a pipeline whose streams have been resolved, `[stream]`: `settled` is the step of each that sends only
/// final rows, and `deliveries` what stands before each sink.
pub(super) fn of(
    pipeline: &Pipeline,
    streams: &[&StreamFlow],
    settled: &[Option<usize>],
    deliveries: &[&[Part]],
) -> Fingerprint {
    let mut steps = Vec::new();
    for ((stream, resolved), settled) in pipeline.streams.iter().zip(streams).zip(settled) {
        if pipeline.form == Form::Graph {
            steps.push(stream_text(stream));
        }
        let join = resolved.join.as_ref().map(|(join, _)| [Part::Operator(join.build.clone())]);
        let (joins, list) = stream.steps.list.split_at(usize::from(join.is_some()));
        steps.extend(joins.iter().zip(&join).map(|(step, parts)| step_text(step, parts, false, pipeline)));
        let parts = resolved.steps.parts().chain(std::iter::repeat([].as_slice()));
        let of_stream = list.iter().zip(parts).enumerate();
        steps.extend(
            of_stream.map(|(index, (step, parts))| step_text(step, parts, *settled == Some(index), pipeline)),
        );
    }
    for (sink, parts) in pipeline.sinks.iter().zip(deliveries) {
        let states = states(parts);
        if let Some(state) = states.first() {
            steps.push(StepText {
                verb: MAIN.to_owned(),
                name: Some(state.name.clone()),
                options: changes(&sink.sink),
                only_final: false,
                states,
            });
        }
    }
    let source = match (pipeline.form, pipeline.sources.as_slice()) {
        (Form::Line, [(_, source), ..]) => {
            ComponentText { kind: source.component.kind.text.clone(), options: tree(&source.written, false) }
        }
        (_, sources) => {
            let all = sources.iter().map(|(name, source)| (name.text.clone(), tree(&source.written, false)));
            let kinds: Vec<&str> =
                sources.iter().map(|(_, source)| source.component.kind.text.as_str()).collect();
            ComponentText { kind: kinds.join(", "), options: Value::Object(all.collect()) }
        }
    };
    let sinks = pipeline.sinks.iter().map(|sink| {
        let mut text = sink_text(&sink.sink);
        if let (Form::Graph, Value::Object(options)) = (pipeline.form, &mut text.options) {
            options.insert("from".to_owned(), from(&sink.from));
        }
        (sink.name.text.clone(), text)
    });
    Fingerprint { source, steps, sinks: sinks.collect() }
}

/// The beginning of a stream: where its rows come from.
fn stream_text(stream: &Stream) -> StepText {
    let options = json!({ "name": stream.name.text, "from": from(&stream.from) });
    StepText { verb: STREAM.to_owned(), name: None, options, only_final: false, states: Vec::new() }
}

fn from(from: &Inputs) -> Value {
    from.names().map(|name| Value::String(name.value.clone())).collect()
}

fn sink_text(sink: &Sink) -> ComponentText {
    ComponentText { kind: sink.component.kind.text.clone(), options: tree(&sink.written, false) }
}

/// What the sink says of rows that may be taken back: what its own state depends on.
fn changes(sink: &Sink) -> Value {
    let options = sink.component.options.map().unwrap_or_default().iter();
    let options = options.filter(|(key, _)| ["changelog", "upsert_by"].contains(&key.text.as_str()));
    Value::Object(options.map(|(key, node)| (key.text.clone(), tree(node, false))).collect())
}

fn step_text(step: &Step, parts: &[Part], only_final: bool, pipeline: &Pipeline) -> StepText {
    let states = states(parts);
    let mut options = entry(&step.verb, &step.options, true);
    if step.verb.text == LOOKUP {
        declare_table(&mut options, pipeline);
    }
    let name = match &mut options {
        // The columns of a `select` may be called anything; that step keeps no state.
        Value::Object(options) if !states.is_empty() => options.remove("name"),
        _ => None,
    };
    let name = name.and_then(|name| name.as_str().map(str::to_owned));
    StepText { verb: step.verb.text.clone(), name, options, only_final, states }
}

/// Puts what is declared of a table in the place of its name.
fn declare_table(options: &mut Value, pipeline: &Pipeline) {
    let Some(table) = options.get_mut("table") else { return };
    let name = table.as_str().unwrap_or_default();
    if let Some(declared) = pipeline.tables.iter().find(|declared| declared.name.text == name) {
        *table = json!({ name: tree(&declared.written, false) });
    }
}

/// The states that a step's operators keep.
fn states(parts: &[Part]) -> Vec<StateText> {
    let state = |part: &Part| {
        let Part::Operator(build) = part else { return None };
        let name = build.state.as_ref()?.to_string();
        // Only an operator knows its tables.
        let tables = (build.build)().tables();
        let tables = tables.iter().map(|table| (table.name.to_owned(), columns_of(table)));
        Some(StateText { name, tables: tables.collect() })
    };
    parts.iter().filter_map(state).collect()
}

/// The names and types of a table's columns.
fn columns_of(table: &StateTable) -> Vec<String> {
    let fields = table.schema.fields().iter();
    fields.map(|field| columns(&arrow::datatypes::Schema::new(vec![field.clone()]))).collect()
}

/// What is written at a node. In a step white space between the words of an expression is no difference.
fn tree(node: &Node, in_step: bool) -> Value {
    match &node.value {
        Written::Scalar(scalar) if scalar.is_null() => Value::Null,
        Written::Scalar(scalar) => Value::String(text(node, scalar, in_step)),
        Written::List(items) => items.iter().map(|item| tree(item, in_step)).collect(),
        Written::Map(entries) => {
            let entries = entries.iter();
            let entries = entries.map(|(key, node)| (key.text.clone(), entry(key, node, in_step)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
    }
}

/// What is written under a key.
fn entry(key: &Key, node: &Node, in_step: bool) -> Value {
    match node.map().filter(|_| ORDERED.contains(&key.text.as_str())) {
        Some(entries) => {
            entries.iter().map(|(key, node)| json!({ key.text.clone(): tree(node, in_step) })).collect()
        }
        None => tree(node, in_step),
    }
}

/// A scalar with its variables replaced. One that cannot be replaced stands in an expression, where it is none.
fn text(node: &Node, scalar: &Scalar, in_step: bool) -> String {
    let text = node.text().unwrap_or(&scalar.raw);
    match scalar.style {
        _ if in_step => on_one_line(text),
        Style::Block => text.trim_end().to_owned(),
        Style::Plain | Style::Quoted => text.to_owned(),
    }
}

/// The text with one space for any white space outside of quotes.
fn on_one_line(text: &str) -> String {
    // The end of a line ends a comment of SQL.
    if text.contains("--") {
        return text.trim().to_owned();
    }
    let (mut line, mut quote, mut space) = (String::with_capacity(text.len()), None, false);
    for character in text.trim().chars() {
        if quote.is_none() && character.is_whitespace() {
            space = true;
            continue;
        }
        if std::mem::take(&mut space) {
            line.push(' ');
        }
        quote = match quote {
            None => Some(character).filter(|character| ['\'', '"', '`'].contains(character)),
            Some(open) => Some(open).filter(|open| *open != character),
        };
        line.push(character);
    }
    line
}
