//! `dedupe`: one row of each key, the first or the last, within a time or for ever.
//!
//! The step becomes a projection (where the key is more than columns), the exchange by key, and a keyed operator:
//! [`first`], [`last`] or [`period`].

mod first;
mod last;
mod period;

use first::First;
use last::Last;
use period::LastWithin;

use super::by::{By, Keys};
use super::prepared::{Prepared, state_name, warn_of_order};
use super::saved::StateKey;
use super::{Build, Changelog, Flow, Part, Resolved, Sends, Step, Verb};
use crate::error::{Place, Problem, Problems, Severity};
use crate::time::duration_text;
use crate::yaml::{Fields, Node};

/// The entry in the registry.
pub(super) const VERB: Verb = Verb {
    name: "dedupe",
    summary: "keeps one row of each key (`by`) `within` a time of its first: `keep: first` (the default; it passes at once) or `keep: last` (at the end of `within`; without it as a changelog)",
    example: "dedupe: { name: once, by: id, within: 1h }",
    parse,
};

#[derive(Debug)]
struct Declared {
    at: Place,
    name: String,
    by: By,
    within: Option<(i64, Place)>,
    keep: Keep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    First,
    Last,
}

fn parse(node: &Node, at: Place, problems: &mut Problems) -> Option<Box<dyn Step>> {
    let before = problems.all().len();
    let mut fields = Fields::of(node, "dedupe", problems);
    let name = state_name(&mut fields, "dedupe", at, problems);
    let required = fields.required("by", problems);
    let by = By::parse_unnamed(&mut fields, "by", problems);
    if let Some(node) = required
        && by.as_ref().is_some_and(By::is_empty)
    {
        problems.error(node.at, "`by` names at least one column");
    }
    let within = fields.duration_ms("within", problems);
    let within = fields.entry("within").and_then(|(key, _)| Some((within?, key.at)));
    let keep = fields.one_of("keep", &[("first", Keep::First), ("last", Keep::Last)], problems);
    let keep = keep.unwrap_or(Keep::First);
    fields.finish(problems);
    if let Some((within_ms, at)) = within
        && within_ms < 1
    {
        problems.error(at, "`within` is at least 1ms");
    }
    let failed = problems.all()[before..].iter().any(|problem| problem.severity == Severity::Error);
    if !failed && keep == Keep::First && within.is_none() {
        problems.push(
            Problem::warning(at, "`dedupe` without `within` keeps every key for ever")
                .help("add `within: …`, the time after which a key may come again"),
        );
    }
    let by = by?;
    (!failed).then(|| Box::new(Declared { at, name, by, within, keep }) as Box<dyn Step>)
}

impl Step for Declared {
    fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved> {
        let key = self.by.resolve(&input.schema, problems);
        input.refuse_changelog("dedupe", self.at, problems)?;
        if let (Some((_, at)), None) = (self.within, &input.event_time) {
            problems.push(
                Problem::error(at, "`within` is a span of event time, and the rows have none")
                    .help(input.untimed.help()),
            );
            return None;
        }
        // The first row to come decides from when to when a period is.
        if self.keep == Keep::First || self.within.is_some() || input.event_time.is_none() {
            warn_of_order(input, "dedupe", self.at, problems);
        }
        Some(self.assemble(input, &key?))
    }
}

impl Declared {
    fn assemble(&self, input: &Flow, key: &Keys) -> Resolved {
        let mut prepared = Prepared::new(&input.schema);
        let keys: Vec<usize> = key.expressions().map(|part| prepared.column(part)).collect();
        let operator = self.operator(input, key, keys.clone());
        let mut parts: Vec<Part> = prepared.part("dedupe", "the key").into_iter().collect();
        parts.push(Part::Exchange { columns: keys, codec: key.codec.clone() });
        parts.push(Part::Operator(operator.keeping(&self.name)));
        let changelog = (self.keep == Keep::Last && self.within.is_none() && input.sends != Sends::FinalRows)
            .then(|| Changelog { key: key.input_columns() });
        Resolved {
            output: Flow { ordered: false, changelog, ..input.clone() },
            parts,
            side: Vec::new(),
            required: prepared.required(false),
        }
    }

    fn operator(&self, input: &Flow, key: &Keys, keys: Vec<usize>) -> Build {
        let (key, timed, by_arrival) = (StateKey::from(key), input.event_time.is_some(), input.ordered);
        let (sends, input) = (input.sends, input.schema.clone());
        let within_ms = self.within.map(|(within_ms, _)| within_ms);
        let described = |what: &str| {
            let within =
                within_ms.map_or(String::new(), |within_ms| format!(" within {}", duration_text(within_ms)));
            format!("keep the {what} row{}{within}", self.by.describe("per"))
        };
        match (self.keep, within_ms) {
            (Keep::First, _) => {
                let spec = first::Spec { keys, key, within_ms, timed, input };
                Build::new(described("first"), move || Box::new(First::new(spec.clone())))
            }
            (Keep::Last, Some(within_ms)) => {
                let spec = period::Spec { keys, key, within_ms, by_arrival, input };
                Build::new(described("last"), move || Box::new(LastWithin::new(spec.clone())))
            }
            (Keep::Last, None) => {
                let spec = last::Spec { keys, key, timed, by_arrival, sends, input };
                let how = sends.describe();
                let description = format!("{}, {how}", described("last"));
                Build::new(description, move || Box::new(Last::new(spec.clone())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::operator::verify::check;

    /// Checks rows written as `key price time`, the time in seconds with three digits of a fraction, or without.
    fn check_rows(step: &str, input: &[&str], expect: &[&str]) {
        let line = |text: &&str| {
            let sign = &text[..text.len() - text.trim_start_matches(['+', '-']).len()];
            let parts: Vec<&str> = text[sign.len()..].split(' ').collect();
            let key = if parts[0] == "null" { "null".to_owned() } else { format!("\"{}\"", parts[0]) };
            let at = parts.get(2).map_or(String::new(), |at| format!(r#","at":"2026-01-01T00:00:{at}""#));
            format!(r#"{sign}{{"channel":{key},"price":{}{at}}}"#, parts[1])
        };
        let (input, expect): (Vec<String>, Vec<String>) =
            (input.iter().map(line).collect(), expect.iter().map(line).collect());
        let input: Vec<&str> = input.iter().map(String::as_str).collect();
        let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
        check(step, &input, &expect);
    }

    #[test]
    fn the_first_row_of_a_key_passes() {
        let rows = ["a 1", "b 2", "a 3", "null 4", "null 5", "b 6"];
        check_rows("dedupe: { name: d, by: channel }", &rows, &["a 1", "b 2", "null 4"]);
        check_rows("dedupe: { name: d, by: [channel, price] }", &["a 1", "a 2", "a 1"], &["a 1", "a 2"]);
        for by in ["{ c: UPPER(channel) }", "UPPER(channel)", "['UPPER(channel)', 1 + 1]"] {
            let step = format!("dedupe: {{ name: d, by: {by} }}");
            check_rows(&step, &["a 1", "A 2", "b 3"], &["a 1", "b 3"]);
        }
    }

    #[test]
    fn within_counts_from_the_row_that_passed() {
        check_rows(
            "dedupe: { name: d, by: channel, within: 2s }",
            &["a 1 10", "a 2 11.999", "b 3 11.999", "a 4 12", "a 5 11.5", "a 6 13.999", "a 7 14"],
            &["a 1 10", "b 3 11.999", "a 4 12", "a 7 14"],
        );
    }

    #[test]
    fn rows_before_the_first_are_dropped() {
        check_rows("dedupe: { name: d, by: channel, within: 2s }", &["a 1 10", "a 2 09"], &["a 1 10"]);
    }

    #[test]
    fn the_last_row_so_far_is_a_changelog() {
        check_rows(
            "dedupe: { name: d, by: channel, keep: last }",
            &["a 1 10", "b 2 11", "a 3 10", "a 4 09", "b 5 12", "b 5 12", "null 6 12"],
            &["+a 1 10", "+b 2 11", "-a 1 10", "+a 3 10", "-b 2 11", "+b 5 12", "+null 6 12"],
        );
        check_rows(
            "dedupe: { name: d, by: channel, keep: last }",
            &["a 1", "a 2", "a 1"],
            &["+a 1", "-a 1", "+a 2", "-a 2", "+a 1"],
        );
    }

    #[test]
    fn the_last_row_of_each_period() {
        check_rows(
            "dedupe: { name: d, by: channel, keep: last, within: 2s }",
            &["a 1 10", "a 2 11.999", "b 3 11", "a 4 11.5", "a 5 12", "b 6 11", "a 7 16"],
            &["a 2 11.999", "b 6 11", "a 5 12", "a 7 16"],
        );
    }

    #[test]
    fn a_late_row_comes_out_by_itself() {
        check_rows(
            "dedupe: { name: d, by: channel, keep: last, within: 2s }",
            &["a 1 10", "b 2 30", "a 3 10.5"],
            &["a 1 10", "a 3 10.5", "b 2 30"],
        );
    }
}
