//! What the `select` of a step with aggregates comes to: the calls, and the columns made of their results.

use crate::aggregate::{Argument, Call, function};
use crate::error::{Place, Problems};
use crate::expr::{AggregateCall, Expr, Resolve, compile_aggregate, report};
use crate::record::Schema;
use crate::yaml::{Key, Node};

/// The calls of a step, and the columns made of their results.
pub(super) struct Selected {
    pub calls: Vec<AggregateCall>,
    pub columns: Vec<(String, Expr)>,
}

impl Selected {
    /// What the states of the calls are called where they are saved: as the column that is the result, else by their number.
    pub fn names_of_results(&self) -> Vec<String> {
        let name = |index: usize| {
            let result = format!("${index}");
            let columns = &mut self.columns.iter();
            let same = columns.find(|(_, expression)| expression.as_column() == Some(result.as_str()));
            same.map_or(result.clone(), |(name, _)| name.clone())
        };
        (0..self.calls.len()).map(name).collect()
    }

    /// Compiles the columns over the input, the columns of `group` and the calls' results; `found` is told of each call
    /// and of the place of the column that has it first. None is returned only after a problem.
    pub fn compile(
        entries: &[(Key, Node)],
        input: &Schema,
        group: &Schema,
        resolve: &Resolve<'_>,
        found: impl Fn(&AggregateCall, Place, &mut Problems),
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut selected = Self { calls: Vec::new(), columns: Vec::new() };
        let mut complete = true;
        for (key, node) in entries {
            let Some(text) = node.expression() else {
                problems.error(node.at, format!("an SQL expression belongs here, not {}", node.kind()));
                complete = false;
                continue;
            };
            let known = selected.calls.len();
            match compile_aggregate(text, input, group, resolve, &mut selected.calls) {
                Ok(expression) => {
                    selected.columns.push((key.text.clone(), expression));
                    for call in &selected.calls[known..] {
                        found(call, node.at, problems);
                    }
                }
                Err(errors) => {
                    report(node, errors, problems);
                    complete = false;
                }
            }
        }
        complete.then_some(selected)
    }
}

/// The call as the registry of aggregates knows it.
pub(super) fn call_of(call: &AggregateCall, ordered: bool, retracts: bool) -> Call {
    Call {
        function: function(&call.function).expect("resolved by the registry").name,
        arguments: call.arguments.iter().map(argument_of).collect(),
        result: call.data_type.clone(),
        ordered,
        retracts,
        distinct: call.distinct,
    }
}

/// An argument as the registry of aggregates knows it.
pub(super) fn argument_of(argument: &Expr) -> Argument {
    Argument {
        data_type: argument.data_type().clone(),
        nullable: argument.nullable(),
        constant: argument.constant_text(),
    }
}

/// The columns for `explain`.
pub(super) fn describe(entries: &[(Key, Node)]) -> String {
    let text =
        |(key, node): &(Key, Node)| format!("{} AS {}", node.expression().unwrap_or_default(), key.text);
    entries.iter().map(text).collect::<Vec<_>>().join(", ")
}
