//! `aggregate`: groups rows by key and window, and computes aggregates over each group.
//!
//! The step becomes these parts: a projection in the stage before (keys, arguments, filters: so that an expression that
//! fails still knows its record's raw bytes, and only what is needed is moved), the exchange by key, a keyed operator,
//! and a projection of the selected expressions over the aggregates' results. Which operator it is depends on the
//! window: fixed in time ([`sliced`]), sessions ([`session`]), so many rows ([`counted`]), none ([`running`]).
//!
//! Each of them saves a table of its groups ([`saved`]) and one of what the shard has one of. While a view is captured,
//! the groups of a batch's keys are captured before the batch is worked off.

mod ahead;
mod changes;
mod counted;
pub(super) mod options;
mod resolve;
mod retime;
mod running;
mod saved;
mod session;
mod slice_view;
mod sliced;
mod slices;
mod spans;
pub(super) mod tally;
#[cfg(test)]
mod tests;
mod work;

use options::{Late, Over, TimeOfRow, Window};

use super::by::By;
use super::prepared::state_name;
use super::select::named_expressions;
use super::{Step, Verb};
use crate::error::{Place, Problem, Problems, Severity};
use crate::yaml::{Fields, Key, Node};

/// The entry in the registry.
pub(super) const VERB: Verb = Verb {
    name: "aggregate",
    summary: "groups rows by key (`by`) and `window`, and yields the keys, window_start, window_end and the names of `select`; windows are tumbling, sliding, cumulative, session or rows; `late: { to, allow }` says what becomes of late rows; without a window it yields the results so far, as a changelog, with `ttl`",
    example: "aggregate: { name: sums, by: channel, window: { sliding: 1m, every: 10s }, select: { total: SUM(price), rows: COUNT(*) } }",
    parse,
};

/// What the file says.
#[derive(Debug)]
struct Declared {
    at: Place,
    name: String,
    by: By,
    window: Window,
    late: Late,
    select: Vec<(Key, Node)>,
}

fn parse(node: &Node, at: Place, problems: &mut Problems) -> Option<Box<dyn Step>> {
    let mut fields = Fields::of(node, "aggregate", problems);
    let before = problems.all().len();
    let name = state_name(&mut fields, "aggregate", at, problems);
    let by = By::parse(&mut fields, "by", problems);
    let ttl = fields.entry("ttl");
    let ttl_ms = ttl.and_then(|(_, node)| crate::yaml::duration_ms(node, problems));
    let window = match fields.entry("window") {
        Some((key, node)) => {
            if let Some((key, _)) = ttl {
                let what = "`ttl` belongs to an aggregate without a window: windows end by themselves";
                problems.push(Problem::error(key.at, what).help("remove it"));
            }
            options::window(key, node, problems)
        }
        None => Some(Window { over: Over::Running(ttl_ms), time: TimeOfRow::Event, text: String::new() }),
    };
    let late = fields.entry("late");
    let select =
        fields.required("select", problems).and_then(|node| named_expressions(node, "select", problems));
    fields.finish(problems);
    let window = window?;
    let late = match late {
        Some((key, node)) => options::late(key, node, &window.over, problems)?,
        None => Late::default(),
    };
    let (by, select) = (by?, select?);
    let failed = problems.all()[before..].iter().any(|problem| problem.severity == Severity::Error);
    (!failed).then(|| Box::new(Declared { at, name, by, window, late, select }) as Box<dyn Step>)
}
