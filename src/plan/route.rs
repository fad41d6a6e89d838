//! `route`: the end of a stream whose rows go on by cases.

use crate::config::Step;
use crate::error::{Place, Problem, Problems};
use crate::expr::{Expr, compile_at};
use crate::operator::{Build, Flow, case, route};
use crate::record::{Paths, SqlType};
use crate::yaml::{Fields, Key, Node};

/// The verb.
pub(super) const VERB: &str = "route";

/// A `route` as it is declared.
pub(super) struct Declared {
    /// The place of the verb.
    pub at: Place,
    cases: Vec<(Key, Node)>,
    otherwise: Option<String>,
}

/// A `route` over known rows.
pub(super) struct Resolved {
    conditions: Vec<Expr>,
    names: Vec<String>,
}

/// Reads the options of a `route`; none is returned only after a problem.
pub(super) fn parse(step: &Step, problems: &mut Problems) -> Option<Declared> {
    let example = "write for instance `cases: { paid: status = 'paid' }`";
    let mut fields = Fields::under(&step.verb, &step.options, VERB, problems);
    let cases = fields.required("cases", problems);
    let otherwise = fields.text("otherwise", problems).map(str::to_owned);
    fields.finish(problems);
    let cases = cases?;
    let Some(entries) = cases.map().filter(|entries| !entries.is_empty()) else {
        let what = format!("`cases` takes a map of names to conditions, not {}", cases.kind());
        problems.push(Problem::error(cases.at, what).help(example));
        return None;
    };
    for (index, (name, _)) in entries.iter().enumerate() {
        let is_taken = entries[..index].iter().any(|(before, _)| before.text == name.text);
        if is_taken || otherwise.as_ref() == Some(&name.text) {
            let what = format!("another case is called `{}`", name.text);
            problems.push(Problem::error(name.at, what).help("give each case a name of its own"));
            return None;
        }
    }
    Some(Declared { at: step.verb.at, cases: entries.to_vec(), otherwise })
}

impl Declared {
    /// The names of the cases, that of the rows of no case last.
    pub fn names(&self) -> Vec<String> {
        self.cases.iter().map(|(name, _)| name.text.clone()).chain(self.otherwise.clone()).collect()
    }

    /// The route over these rows; none after a problem.
    pub fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved> {
        let conditions = self.cases.iter().map(|(_, node)| {
            let condition = compile_at(node, &input.schema, problems)?;
            match condition.data_type() {
                SqlType::Boolean => Some(condition),
                other => {
                    let what = format!("a case needs a BOOLEAN, and this is {other}");
                    let help = "compare it with something, for instance with = or IS NOT NULL";
                    problems.push(Problem::error(node.at, what).help(help));
                    None
                }
            }
        });
        let conditions: Vec<Option<Expr>> = conditions.collect();
        Some(Resolved { conditions: conditions.into_iter().collect::<Option<_>>()?, names: self.names() })
    }
}

impl Resolved {
    /// The columns that the conditions need.
    pub fn require(&self, paths: &mut Paths) {
        self.conditions.iter().for_each(|condition| paths.extend(condition.paths()));
    }

    /// Whether a condition reads the present time.
    pub fn reads_clock(&self) -> bool {
        self.conditions.iter().any(Expr::uses_clock)
    }

    /// What finds the case of each row.
    pub fn build(&self, input: &Flow) -> Build {
        route(&input.schema, self.conditions.clone())
    }

    /// What chooses the rows of the case of this place.
    pub fn case(&self, input: &Flow, place: usize) -> Build {
        let number = Some(place).filter(|place| *place < self.conditions.len());
        case(&input.schema, &self.names[place], number)
    }
}
