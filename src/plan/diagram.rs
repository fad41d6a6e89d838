//! A plan as a picture: what rows go through, for Mermaid and for Graphviz.

use std::fmt::Write as _;

use super::{Exit, Input, Plan};
use crate::operator::{Target, Wiring};

/// A language of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Mermaid's flow charts, which many wikis and forges draw.
    Mermaid,
    /// Graphviz's.
    Dot,
}

/// Something that rows go through.
struct Node {
    name: String,
    label: String,
    shape: Shape,
    /// The stage it belongs to; none of a source or a sink.
    stage: Option<usize>,
}

#[derive(Clone, Copy)]
enum Shape {
    /// Where rows come in or go out.
    End,
    Step,
    /// A step that keeps state.
    State,
}

/// Rows on their way from one node to another.
struct Edge {
    from: String,
    to: String,
    label: &'static str,
}

/// The picture of a plan.
#[must_use]
pub fn diagram(plan: &Plan, language: Language) -> String {
    let (nodes, edges) = (nodes(plan), edges(plan));
    let mut text = String::new();
    let written = match language {
        Language::Mermaid => mermaid(plan, &nodes, &edges, &mut text),
        Language::Dot => dot(plan, &nodes, &edges, &mut text),
    };
    written.expect("a string takes everything");
    text
}

fn operator_name(stage: usize, place: usize) -> String {
    format!("stage{stage}_step{place}")
}

fn nodes(plan: &Plan) -> Vec<Node> {
    let end = |name: String, label: String| Node { name, label, shape: Shape::End, stage: None };
    let sources = plan.sources.iter().enumerate();
    let sources = sources.map(|(place, input)| {
        end(format!("source{place}"), format!("{}\n{}", input.name, first_words(&input.source.describe())))
    });
    let rejects = plan.rejects.iter().enumerate();
    let rejects = rejects.map(|(place, name)| {
        end(format!("source{}", plan.sources.len() + place), format!("{name}\nbad records"))
    });
    let stages = plan.stages.iter().enumerate().flat_map(|(number, stage)| {
        stage.wiring.builds().enumerate().map(move |(place, build)| Node {
            name: operator_name(number, place),
            label: match &build.state {
                Some(state) => format!("{}\nkeeps `{state}`", build.description),
                None => build.description.clone(),
            },
            shape: if build.state.is_some() { Shape::State } else { Shape::Step },
            stage: Some(number),
        })
    });
    let sinks = plan.sinks.iter().enumerate();
    let sinks = sinks.map(|(place, output)| {
        end(format!("sink{place}"), format!("{}\n{}", output.name, first_words(&output.sink.describe())))
    });
    let sides = plan.sides.iter().enumerate();
    let sides = sides.map(|(place, side)| {
        let what = format!("{}: {}\n{}", side.name, side.stream, first_words(&side.sink.describe()));
        end(format!("side{place}"), what)
    });
    sources.chain(rejects).chain(stages).chain(sinks).chain(sides).collect()
}

/// A component without what stands in parentheses behind it.
fn first_words(text: &str) -> &str {
    text.split(" (").next().unwrap_or(text)
}

fn edges(plan: &Plan) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (entry, targets) in plan.stages[0].wiring.entries.iter().enumerate() {
        connect(plan, 0, format!("source{entry}"), targets, &mut edges);
    }
    for (number, stage) in plan.stages.iter().enumerate() {
        for (place, (_, targets)) in stage.wiring.operators.iter().enumerate() {
            connect(plan, number, operator_name(number, place), targets, &mut edges);
        }
        for side in &stage.wiring.sides {
            connect(plan, number, operator_name(number, side.operator), &side.targets, &mut edges);
        }
    }
    edges
}

/// The ways from a node to what comes next, in other stages too.
fn connect(plan: &Plan, stage: usize, from: String, targets: &[Target], edges: &mut Vec<Edge>) {
    for target in targets {
        let from = from.clone();
        match target {
            Target::Operator(place, _) => {
                edges.push(Edge { from, to: operator_name(stage, *place), label: "" });
            }
            Target::Exit(exit) => match &plan.stages[stage].exits[*exit] {
                Exit::Sink(sink) => edges.push(Edge { from, to: format!("sink{sink}"), label: "" }),
                Exit::Exchange(exchange) => {
                    let label = if exchange.columns.is_empty() { "to one shard" } else { "by key" };
                    let Some((behind, entry)) = plan.taker(Input { stage, exit: *exit }) else { continue };
                    for to in first_of(&plan.stages[behind].wiring, entry, behind) {
                        edges.push(Edge { from: from.clone(), to, label });
                    }
                }
            },
        }
    }
}

/// What the rows of an entry go through first.
fn first_of(wiring: &Wiring, entry: usize, stage: usize) -> Vec<String> {
    debug_assert!(entry < wiring.entries.len());
    let places = wiring.entries[entry].iter().filter_map(|target| match target {
        Target::Operator(place, _) => Some(operator_name(stage, *place)),
        Target::Exit(_) => None,
    });
    places.collect()
}

fn mermaid(plan: &Plan, nodes: &[Node], edges: &[Edge], out: &mut String) -> std::fmt::Result {
    writeln!(out, "flowchart LR")?;
    let write = |node: &Node, indent: &str, out: &mut String| {
        let label = node.label.replace('"', "#quot;").replace('`', "'").replace('\n', "<br/>");
        let (open, close) = match node.shape {
            Shape::End => ("([", "])"),
            Shape::Step => ("[", "]"),
            Shape::State => ("[(", ")]"),
        };
        writeln!(out, "{indent}{}{open}\"{label}\"{close}", node.name)
    };
    for node in nodes.iter().filter(|node| node.stage.is_none()) {
        write(node, "  ", out)?;
    }
    for number in 0..plan.stages.len() {
        writeln!(out, "  subgraph stage{number}[\"stage {number}\"]")?;
        for node in nodes.iter().filter(|node| node.stage == Some(number)) {
            write(node, "    ", out)?;
        }
        writeln!(out, "  end")?;
    }
    for Edge { from, to, label } in edges {
        match *label {
            "" => writeln!(out, "  {from} --> {to}")?,
            label => writeln!(out, "  {from} ==>|{label}| {to}")?,
        }
    }
    Ok(())
}

fn dot(plan: &Plan, nodes: &[Node], edges: &[Edge], out: &mut String) -> std::fmt::Result {
    writeln!(out, "digraph {} {{\n  rankdir=LR;\n  node [shape=box];", quoted(&plan.name))?;
    let write = |node: &Node, indent: &str, out: &mut String| {
        let shape = match node.shape {
            Shape::End => ", shape=ellipse",
            Shape::Step => "",
            Shape::State => ", shape=cylinder",
        };
        writeln!(out, "{indent}{} [label={}{shape}];", node.name, quoted(&node.label))
    };
    for node in nodes.iter().filter(|node| node.stage.is_none()) {
        write(node, "  ", out)?;
    }
    for number in 0..plan.stages.len() {
        writeln!(out, "  subgraph cluster_{number} {{\n    label=\"stage {number}\";")?;
        for node in nodes.iter().filter(|node| node.stage == Some(number)) {
            write(node, "    ", out)?;
        }
        writeln!(out, "  }}")?;
    }
    for Edge { from, to, label } in edges {
        match *label {
            "" => writeln!(out, "  {from} -> {to};")?,
            label => writeln!(out, "  {from} -> {to} [label={}, penwidth=2];", quoted(label))?,
        }
    }
    writeln!(out, "}}")
}

/// A text of Graphviz.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
