//! `pattern`: finds sequences of rows of one key, as SQL's `MATCH_RECOGNIZE` does with one row per match.
//!
//! The step becomes up to five parts: a projection of keys that are no columns, the conditions that need no earlier row
//! ([`conditions`]), the exchange by key, the keyed operator ([`operator`]), and a projection of what is selected over
//! the rows of variables and the results of calls ([`view`]). [`sequence`] reads what is searched for, [`program`] makes
//! an automaton of it, [`search`] runs it over the rows of a key.

mod conditions;
mod expressions;
mod later;
#[cfg(test)]
mod model;
mod operator;
mod program;
mod saved;
mod search;
mod sequence;
#[cfg(test)]
mod tests;
mod view;

use crate::error::{Place, Problem, Problems, Severity};
use crate::expr::Expr;
use crate::operator::by::{By, Keys};
use crate::operator::late::{Lateness, Side};
use crate::operator::prepared::{Prepared, state_name};
use crate::operator::project::{self, Output};
use crate::operator::saved::StateKey;
use crate::operator::select::named_expressions;
use crate::operator::waiting::check_comparable;
use crate::operator::{Flow, Part, Resolved, SideStream, Step, Verb, column_expression, selected};
use crate::record::Paths;
use crate::time::duration_text;
use crate::yaml::{self, Fields, Node};
use conditions::Known;
use expressions::{Compiled, Scope};
use later::Later;
use program::Program;
use search::{History, Rules, Skip};
use sequence::Sequence;
use view::{Inner, Source};

/// The entry in the registry.
pub(super) const VERB: Verb = Verb {
    name: "pattern",
    summary: "finds sequences of rows of one key (`by`) in event time: `define` says which rows a variable takes, `sequence` how they follow one another, `within` what time, `select` what to tell of a match, `skip` where to go on: past_last_row, to_next_row, { to_first: V } or { to_last: V }; `late: { to }`",
    example: "pattern: { name: rising, by: user, define: { UP: price > LAST(price, 1), END: NOT ok }, sequence: 'START UP{2,} END', within: 1h, select: { from_price: START.price, to_price: UP.price, rises: COUNT(UP.*) } }",
    parse,
};

#[derive(Debug)]
struct Declared {
    at: Place,
    name: String,
    by: By,
    sequence: Sequence,
    /// As it is written, and where.
    sequence_text: String,
    sequence_at: Place,
    program: Program,
    /// `[variable]`; none for one that takes any row.
    define: Vec<Option<Node>>,
    within_ms: Option<i64>,
    skip: Skip,
    select: Vec<(yaml::Key, Node)>,
    /// The stream of late rows, and where it is named.
    late: Option<(String, Place)>,
}

fn parse(node: &Node, at: Place, problems: &mut Problems) -> Option<Box<dyn Step>> {
    let before = problems.all().len();
    let mut fields = Fields::of(node, "pattern", problems);
    let name = state_name(&mut fields, "pattern", at, problems);
    let by = By::parse(&mut fields, "by", problems);
    let sequence = fields.required("sequence", problems);
    let sequence_at = sequence.map_or(at, |node| node.at);
    let sequence = sequence.and_then(|node| parse_sequence(node, problems));
    let define = fields.take("define");
    let within = fields.take("within").map(|node| (node.at, yaml::duration_ms(node, problems)));
    let skip = fields.take("skip");
    let select =
        fields.required("select", problems).and_then(|node| named_expressions(node, "select", problems));
    let late = fields.entry("late").map(|(key, node)| {
        let mut fields = Fields::under(key, node, "late", problems);
        let to = fields.required("to", problems).map(|node| node.at);
        let stream = fields.text("to", problems).map(str::to_owned);
        fields.finish(problems);
        stream.zip(to)
    });
    let is_broken = fields.is_broken();
    fields.finish(problems);
    if let Some((at, Some(..=0))) = within {
        problems.error(at, "`within` is at least 1ms");
    }
    let with_sequence = sequence.map(|(text, sequence, program)| {
        let define = define.map_or_else(
            || vec![None; sequence.variables.len()],
            |node| parse_define(node, &sequence, problems),
        );
        let skip =
            skip.map_or(Some(Skip::PastLastRow), |node| parse_skip(node, &sequence, &program, problems));
        (text, sequence, program, define, skip)
    });
    let failed = problems.all()[before..].iter().any(|problem| problem.severity == Severity::Error);
    if !failed && !is_broken && within.is_none() {
        problems.push(
            Problem::warning(
                at,
                "`pattern` without `within` keeps the rows of a match that has begun until it ends",
            )
            .help("add `within: …`, the time that a match takes at most"),
        );
    }
    let (text, sequence, program, define, skip) = with_sequence?;
    let declared = Declared {
        at,
        name,
        by: by?,
        sequence,
        sequence_text: text,
        sequence_at,
        program,
        define,
        within_ms: within.and_then(|(_, within_ms)| within_ms),
        skip: skip?,
        select: select?,
        late: late.flatten(),
    };
    (!failed).then(|| Box::new(declared) as Box<dyn Step>)
}

fn parse_sequence(node: &Node, problems: &mut Problems) -> Option<(String, Sequence, Program)> {
    let Some(text) = node.expression() else {
        problems.push(
            Problem::error(node.at, format!("`sequence` takes text, not {}", node.kind()))
                .help("write for instance sequence: A B+ C"),
        );
        return None;
    };
    let sequence = match Sequence::parse(text) {
        Ok(sequence) => sequence,
        Err(error) => {
            crate::expr::report(node, vec![error], problems);
            return None;
        }
    };
    let Some(program) = Program::of(&sequence) else {
        problems.push(
            Problem::error(node.at, "this sequence comes to too many states")
                .help("count less, or leave upper bounds out: A{100,}"),
        );
        return None;
    };
    Some((text.to_owned(), sequence, program))
}

/// The conditions of the variables, in their order.
fn parse_define(node: &Node, sequence: &Sequence, problems: &mut Problems) -> Vec<Option<Node>> {
    let mut define = vec![None; sequence.variables.len()];
    let Some(entries) = node.map() else {
        if !node.is_null() {
            problems.push(
                Problem::error(
                    node.at,
                    format!("`define` takes a map of variables to conditions, not {}", node.kind()),
                )
                .help("write for instance define: { A: price > 10 }"),
            );
        }
        return define;
    };
    for (key, condition) in entries {
        match sequence.index_of(&key.text) {
            Some(variable) => define[usize::from(variable)] = Some(condition.clone()),
            None => problems.push(
                Problem::error(
                    key.at,
                    format!("`{}` is defined, and the sequence does not have it", key.text),
                )
                .help(sequence.suggest(&key.text)),
            ),
        }
    }
    define
}

/// Where matching goes on. None is returned only after a problem.
fn parse_skip(node: &Node, sequence: &Sequence, program: &Program, problems: &mut Problems) -> Option<Skip> {
    const CHOICES: &str = "past_last_row, to_next_row, { to_first: VARIABLE } or { to_last: VARIABLE }";
    let target = match node.map() {
        Some([(key, value)]) => value.text().map(|variable| (key.text.as_str(), variable, value.at)),
        _ => None,
    };
    let (make, variable, at) = match (node.text(), target) {
        (Some("past_last_row"), _) => return Some(Skip::PastLastRow),
        (Some("to_next_row"), _) => return Some(Skip::ToNextRow),
        (None, Some(("to_first", variable, at))) => (Skip::ToFirst as fn(u8) -> Skip, variable, at),
        (None, Some(("to_last", variable, at))) => (Skip::ToLast as fn(u8) -> Skip, variable, at),
        _ => {
            problems.push(
                Problem::error(node.at, "`skip` says where to go on behind a match")
                    .help(format!("write {CHOICES}")),
            );
            return None;
        }
    };
    let Some(index) = sequence.index_of(variable) else {
        problems.push(
            Problem::error(at, format!("the sequence has no variable `{variable}`"))
                .help(sequence.suggest(variable)),
        );
        return None;
    };
    if make(index) == Skip::ToFirst(index) && program.starters() == 1 << index {
        problems.push(
            Problem::error(
                at,
                format!("every match begins with `{variable}`: going on there would find it again"),
            )
            .help("write to_next_row"),
        );
        return None;
    }
    Some(make(index))
}

impl Step for Declared {
    fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved> {
        let timed = input.require_event_time("pattern", self.at, problems);
        let stays = input.refuse_changelog("pattern", self.at, problems);
        let key = self.by.resolve(&input.schema, problems);
        let comparable = check_comparable(input, self.at, problems);
        let named = self.check_selected(problems);
        // Where a name means two things, what is said of expressions would be about the wrong one.
        self.check_variables(input, problems)?;
        let scope = Scope { input: &input.schema, sequence: &self.sequence };
        let conditions: Vec<Option<Option<Compiled>>> = self
            .define
            .iter()
            .map(|node| match node {
                None => Some(None),
                Some(node) => scope.condition(node, problems).map(Some),
            })
            .collect();
        let key = key?;
        let keys = key.columns.iter().map(|(name, part)| column_expression(name, part)).collect();
        let nodes: Vec<&Node> = self.select.iter().map(|(_, node)| node).collect();
        let select = scope.selected(&nodes, keys, self.sequence.pattern.mandatory(), problems);
        let conditions = conditions.into_iter().collect::<Option<Vec<_>>>()?;
        stays.and(named).and(comparable).and(timed)?;
        Some(self.assemble(input, &key, conditions, select?))
    }
}

impl Declared {
    /// Reports variables that are called as columns are.
    fn check_variables(&self, input: &Flow, problems: &mut Problems) -> Option<()> {
        let mut complete = Some(());
        let keys: Vec<&str> = self.by.names().map(|key| key.text.as_str()).collect();
        for name in &self.sequence.variables {
            if input.schema.column(name).is_some() || keys.contains(&name.as_str()) {
                problems.push(
                    Problem::error(self.sequence_at, format!("`{name}` is a variable and a column"))
                        .help("call the variable something else: names differ in upper and lower case, too"),
                );
                complete = None;
            }
        }
        complete
    }

    /// Reports columns of the output that are called as those of the key are.
    fn check_selected(&self, problems: &mut Problems) -> Option<()> {
        let mut complete = Some(());
        let keys: Vec<&str> = self.by.names().map(|key| key.text.as_str()).collect();
        for (key, _) in self.select.iter().filter(|(key, _)| keys.contains(&key.text.as_str())) {
            problems.push(
                Problem::error(key.at, format!("`{}` is a column of `by` already", key.text))
                    .help("the columns of `by` come out first, by themselves: take another name"),
            );
            complete = None;
        }
        complete
    }

    fn assemble(
        &self,
        input: &Flow,
        key: &Keys,
        conditions: Vec<Option<Compiled>>,
        select: Compiled,
    ) -> Resolved {
        let mut prepared = Prepared::new(&input.schema);
        let keys: Vec<usize> = key.expressions().map(|part| prepared.column(part)).collect();
        let mut needs = Paths::default();
        key.expressions().for_each(|part| needs.extend(part.paths()));
        let compiled = conditions.iter().flatten().chain([&select]);
        compiled.for_each(|compiled| needs.extend(&compiled.paths));
        let computed = prepared.schema();
        let mut sorted = Sorted::of(&self.sequence, conditions);
        let names = self.select.iter().map(|(key, _)| key.text.clone());
        let mut outputs: Vec<(String, Output)> =
            (0..).zip(&key.columns).map(|(index, (name, _))| (name.clone(), Output::Column(index))).collect();
        outputs.extend(names.zip(select.expressions.iter().cloned().map(Output::Expression)));
        let output = project::schema_of(&outputs, &select.view.schema);
        let spec = operator::Spec {
            prepared: conditions::schema_of(&computed, &sorted.known),
            known: (computed.columns().len()..).zip(&sorted.variables).map(|(at, of)| (*of, at)).collect(),
            columns: input.schema.columns().len(),
            keys: keys.clone(),
            key: StateKey::from(key),
            always: sorted.always,
            rules: self.rules(&sorted.later),
            kept: sorted.keep(&select),
            select: select.view.among(&sorted.kept),
            later: sorted.later,
            ordered: input.ordered,
            late: Lateness {
                allow_ms: 0,
                side: self.late.as_ref().map(|(stream, _)| Side::of_whole_rows(stream, &input.schema)),
            },
        };
        let build = operator::build(spec, self.describe());
        let what = format!("the key{}", self.by.describe("by"));
        let mut parts: Vec<Part> = prepared.part("pattern", &what).into_iter().collect();
        parts.extend(conditions::part(&computed, sorted.known));
        parts.push(Part::Exchange { columns: keys, codec: key.codec.clone() });
        parts.push(Part::Operator(build.keeping(&self.name)));
        let what = format!("select {}", selected::describe(&self.select));
        parts.push(project::part("pattern", what, select.view.schema, output.clone(), outputs));
        let side = self.late.iter().map(|(name, at)| SideStream {
            name: name.clone(),
            at: *at,
            schema: input.schema.clone(),
        });
        // Where rows arrive in no defined order, all columns decide among rows of equal time.
        let (needs_all, columns) = (self.late.is_some() || !input.ordered, input.schema.clone());
        Resolved {
            output: Flow {
                schema: output,
                ordered: false,
                window: None,
                time_columns: None,
                ..input.clone()
            },
            side: side.collect(),
            parts,
            required: Box::new(move |_| if needs_all { Paths::all(&columns) } else { needs.clone() }),
        }
    }

    fn rules(&self, later: &[Later]) -> Rules {
        let mut histories = vec![History::default(); self.sequence.variables.len()];
        for condition in later {
            condition.view.read_histories(&mut histories);
        }
        Rules {
            program: self.program.clone(),
            within_ms: self.within_ms,
            skip: self.skip,
            later: later.iter().fold(0, |bits, later| bits | 1 << later.variable),
            histories,
        }
    }

    fn describe(&self) -> String {
        let within = self
            .within_ms
            .map_or(String::new(), |within_ms| format!(" within less than {}", duration_text(within_ms)));
        let name = |variable: u8| &self.sequence.variables[usize::from(variable)];
        let skip = match self.skip {
            Skip::PastLastRow => "behind its last row".to_owned(),
            Skip::ToNextRow => "at its second row".to_owned(),
            Skip::ToFirst(variable) => format!("at its first row of {}", name(variable)),
            Skip::ToLast(variable) => format!("at its last row of {}", name(variable)),
        };
        let kept = match self.within_ms {
            Some(_) => "keeps the rows of matches that have begun until their time is over",
            None => "keeps the rows of matches that have begun until they end, maybe for ever",
        };
        let late = match &self.late {
            Some((stream, _)) => format!("late rows go to `{stream}`"),
            None => "late rows are counted and dropped".to_owned(),
        };
        format!(
            "find {}{}{within}, and behind a match go on {skip} ({kept}; {late})",
            self.sequence_text,
            self.by.describe("by")
        )
    }
}

/// The conditions by when they can be evaluated.
struct Sorted {
    /// The variables without a condition, as bits.
    always: u64,
    known: Vec<Known>,
    /// The variables of `known`.
    variables: Vec<u8>,
    /// Over the columns of the input until [`Sorted::keep`].
    later: Vec<Later>,
    /// Positions of the columns that are kept.
    kept: Vec<usize>,
}

impl Sorted {
    fn of(sequence: &Sequence, conditions: Vec<Option<Compiled>>) -> Self {
        let mut sorted =
            Self { always: 0, known: Vec::new(), variables: Vec::new(), later: Vec::new(), kept: Vec::new() };
        for ((variable, name), compiled) in (0..).zip(&sequence.variables).zip(conditions) {
            let Some(Compiled { mut expressions, view, .. }) = compiled else {
                sorted.always |= 1 << variable;
                continue;
            };
            let condition: Expr = expressions.remove(0);
            let is_own = |source: &Source| match source {
                Source::Key(_) | Source::Current(_) => true,
                Source::Last(of, _) => *of == variable,
            };
            if view.calls.is_empty() && view.sources.iter().all(is_own) {
                let inner = Inner { schema: view.schema, sources: view.sources };
                sorted.known.push(Known { name: name.clone(), condition, inner });
                sorted.variables.push(variable);
            } else {
                sorted.later.push(Later { variable, condition, view });
            }
        }
        sorted
    }

    /// Decides which columns are kept, and makes the conditions read those; their positions, ascending.
    fn keep(&mut self, select: &Compiled) -> Vec<usize> {
        let views = self.later.iter().map(|later| &later.view).chain([&select.view]);
        self.kept = views.flat_map(view::View::positions).collect();
        self.kept.sort_unstable();
        self.kept.dedup();
        for later in &mut self.later {
            later.view = later.view.among(&self.kept);
        }
        self.kept.clone()
    }
}
