//! The options of a `join`.

use super::resolve::Declared;
use super::{Join, Kind, ResolvedJoin};
use crate::error::{Place, Problem, Problems, Severity};
use crate::operator::Flow;
use crate::operator::prepared::state_name;
use crate::yaml::{Fields, Node};

/// A `join` with a mistake that has been told: the stream is known to begin with one, and nothing more.
#[derive(Debug)]
struct Mistaken;

impl Join for Mistaken {
    fn resolve(&self, _: [(&str, &Flow); 2], problems: &mut Problems) -> Option<ResolvedJoin> {
        debug_assert!(problems.has_errors(), "it has been told");
        None
    }
}

/// Reads the options of a `join`. After a problem it resolves to none. None is returned only after a problem.
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
    match matches {
        Some(matches) if !failed => Some(Box::new(Declared { name, kind, matches, within, ttl })),
        _ => Some(Box::new(Mistaken)),
    }
}
