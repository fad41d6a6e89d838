//! The options of a `join`.

use super::{Join, Kind, resolve::Declared};
use crate::error::{Place, Problem, Problems, Severity};
use crate::operator::prepared::state_name;
use crate::yaml::{Fields, Node};

/// Reads the options of a `join`. None is returned only after a problem.
pub fn parse_join(options: &Node, at: Place, problems: &mut Problems) -> Option<Box<dyn Join>> {
    let before = problems.all().len();
    let mut fields = Fields::of(options, "join", problems);
    let name = state_name(&mut fields, "join", at, problems);
    let kind = fields.one_of("kind", &Kind::NAMES, problems).unwrap_or(Kind::Inner);
    fields.required("match", problems);
    let matches = fields.expression("match", problems).cloned();
    let within = fields.expression("within", problems).cloned();
    let ttl_ms = fields.duration_ms("ttl", problems);
    let ttl = fields.entry("ttl").and_then(|(key, _)| Some((ttl_ms?, key.at)));
    fields.not_yet(
        "window",
        "bound how far apart two rows may be: within: b.at BETWEEN a.at AND a.at + INTERVAL '10' SECOND",
        problems,
    );
    fields.finish(problems);
    if let Some((ttl_ms, at)) = ttl {
        if ttl_ms < 1 {
            problems.error(at, "`ttl` is at least 1ms");
        }
        if within.is_some() {
            problems.push(
                Problem::error(at, "`ttl` has no place beside `within`")
                    .help("`within` says how long rows are kept: until no partner can come"),
            );
        }
    }
    let failed = problems.all()[before..].iter().any(|problem| problem.severity == Severity::Error);
    if failed {
        return None;
    }
    Some(Box::new(Declared { at, name, kind, matches: matches?, within, ttl }))
}
