//! `params`: typed values from outside, which expressions use as `:name`.

use std::collections::BTreeMap;

use crate::error::{Problem, Problems};
use crate::expr::compile;
use crate::record::{Schema, SqlType, parse_type};
use crate::yaml::{Fields, Key, Node, Reading, Value, bind};

/// Reads `params` of a file and puts their values where its expressions name them.
pub(super) fn apply(root: &mut Node, problems: &mut Problems) {
    let Some(params) = root.map().and_then(|entries| entries.iter().find(|(key, _)| key.text == "params"))
    else {
        return;
    };
    let literals = read(&params.1.clone(), problems);
    let Value::Map(entries) = &mut root.value else { return };
    for (key, node) in entries {
        match key.text.as_str() {
            "steps" | "streams" => bind(node, &literals),
            "source" | "sources" => bind_below(node, "event_time", &literals),
            "sink" | "sinks" => bind_below(node, "partition_by", &literals),
            _ => {}
        }
    }
}

/// Binds what stands under `wanted`, at whatever depth.
fn bind_below(node: &mut Node, wanted: &str, literals: &BTreeMap<String, String>) {
    let Value::Map(entries) = &mut node.value else { return };
    for (key, node) in entries {
        if key.text == wanted {
            bind(node, literals);
        } else {
            bind_below(node, wanted, literals);
        }
    }
}

/// For each parameter the literal that stands for it.
fn read(params: &Node, problems: &mut Problems) -> BTreeMap<String, String> {
    let Some(entries) = params.map() else {
        if !params.is_null() {
            let what = format!("`params` takes a map of names to values, not {}", params.kind());
            problems.push(
                Problem::error(params.at, what).help("write for instance `limit: { type: INT, default: 3 }`"),
            );
        }
        return BTreeMap::new();
    };
    let read = |(name, node): &(Key, Node)| Some((name.text.clone(), literal(name, node, problems)?));
    entries.iter().filter_map(read).collect()
}

/// The literal of one parameter; of one that is wrong, which has been reported, NULL stands for its value.
fn literal(name: &Key, node: &Node, problems: &mut Problems) -> Option<String> {
    let is_name = name.text.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !is_name || name.text.starts_with(|c: char| c.is_ascii_digit()) || name.text.is_empty() {
        problems.push(
            Problem::error(name.at, format!("`{}` is no name for a parameter", name.text))
                .help("use letters, digits and `_`: expressions write `:name`"),
        );
        return None;
    }
    let what = format!("params.{}", name.text);
    let mut fields = Fields::under(name, node, &what, problems);
    let declared = fields.required("type", problems);
    let default = fields.take("default");
    fields.finish(problems);
    let declared = declared?;
    let data_type = match parse_type(declared.expression().unwrap_or_default()) {
        Ok((data_type, _)) => data_type,
        Err(error) => {
            let at = declared.within(error.span.0, error.span.1);
            let mut problem = Problem::error(at, error.what);
            problem.help = error.help;
            problems.push(problem);
            return None;
        }
    };
    if matches!(data_type, SqlType::Row(_) | SqlType::Array(..) | SqlType::Map(..) | SqlType::Bytes) {
        let what = format!("a parameter is one value, and this is {data_type}");
        problems.push(Problem::error(declared.at, what).help("use several parameters, or a text"));
        return None;
    }
    let null = format!("CAST(NULL AS {data_type})");
    let Some(value) = default else {
        problems
            .push(Problem::error(name.at, format!("the parameter `{}` has no value", name.text)).help(
                format!("add `default: …`, or give one with --set params.{}.default=VALUE", name.text),
            ));
        return Some(null);
    };
    if value.is_null() {
        return Some(null);
    }
    let text = match value.read(problems) {
        Reading::Text(text) => text,
        Reading::Withheld => return Some(null),
        Reading::NotText => {
            let what = format!("a parameter is one value, not {}", value.kind());
            problems.push(Problem::error(value.at, what).help("write a number, a text, TRUE or FALSE"));
            return Some(null);
        }
    };
    let literal = match data_type {
        SqlType::String => format!("'{}'", text.replace('\'', "''")),
        _ => format!("CAST('{}' AS {data_type})", text.replace('\'', "''")),
    };
    // What does not fit is found where constants are folded, or when they are evaluated.
    let nothing = Schema::new(Vec::new());
    let row = nothing.rows(Vec::new(), 1);
    let fits = compile(&literal, &nothing).is_ok_and(|value| value.evaluate_at(&row, 0).failed.is_empty());
    if !fits {
        problems.push(
            Problem::error(value.at, format!("`{text}` is no {data_type}"))
                .help(format!("the parameter `{}` is declared as {data_type}", name.text)),
        );
        return Some(null);
    }
    Some(literal)
}
