//! What a pipeline is, in words: what [`super::Upgrade`] compares when a file has been edited.
//!
//! The words are those of the file, with variables replaced and without its layout: equal words mean the same. (Different
//! words may mean the same, too: nobody is asked to accept a change because of a comment, but `60s` for `1m` is one.)

use serde_json::{Map, Value, json};

use super::delivery;
use super::steps::ResolvedSteps;
use crate::config::{Pipeline, Sink, Step};
use crate::operator::{Part, StateTable};
use crate::snapshot::{ComponentText, Fingerprint, StateText, StepText, columns};
use crate::yaml::{Key, Node, Scalar, Style, Value as Written};

/// The name of the main sink's output; others have the names that the file gives them.
pub(super) const MAIN: &str = "sink";

/// The options, and verbs, whose entries mean something by their order.
const ORDERED: [&str; 7] = ["select", "set", "rename", "by", "per", "schema", "columns"];

/// The fingerprint of a pipeline whose steps have been resolved: `settled` is the step that sends only final rows, and
/// `delivery` what stands behind the last step.
pub(super) fn of(
    pipeline: &Pipeline,
    resolved: &ResolvedSteps,
    settled: Option<usize>,
    delivery: &[Part],
) -> Fingerprint {
    let steps = pipeline.steps.list.iter().zip(resolved.parts()).enumerate();
    let steps = steps.map(|(index, (step, parts))| step_text(step, parts, settled == Some(index)));
    let states = states(delivery);
    let before_sink = (!states.is_empty()).then(|| StepText {
        verb: MAIN.to_owned(),
        name: Some(delivery::STATE.to_owned()),
        options: changes(&pipeline.sink),
        only_final: false,
        states,
    });
    let source = &pipeline.source;
    let kind = source.component.kind.text.clone();
    let sides = pipeline.sinks.iter().map(|side| (side.name.text.as_str(), &side.sink));
    let sinks = std::iter::once((MAIN, &pipeline.sink)).chain(sides);
    Fingerprint {
        source: ComponentText { kind, options: tree(&source.written, false) },
        steps: steps.chain(before_sink).collect(),
        sinks: sinks.map(|(name, sink)| (name.to_owned(), sink_text(sink))).collect(),
    }
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

fn step_text(step: &Step, parts: &[Part], only_final: bool) -> StepText {
    let states = states(parts);
    let mut options = entry(&step.verb, &step.options, true);
    let name = match &mut options {
        // The columns of a `select` may be called anything; that step keeps no state.
        Value::Object(options) if !states.is_empty() => options.remove("name"),
        _ => None,
    };
    let name = name.and_then(|name| name.as_str().map(str::to_owned));
    StepText { verb: step.verb.text.clone(), name, options, only_final, states }
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
