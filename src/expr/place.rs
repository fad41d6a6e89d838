//! Expressions written in the user's file: compiled where they stand, with errors at their place inside them.

use super::{Expr, ExprError, compile};
use crate::error::{Problem, Problems};
use crate::record::Schema;
use crate::yaml::Node;

/// Compiles the expression written at `node`; its errors become problems at their place inside it.
pub fn compile_at(node: &Node, schema: &Schema, problems: &mut Problems) -> Option<Expr> {
    let Some(text) = node.expression() else {
        problems.error(node.at, format!("an SQL expression belongs here, not {}", node.kind()));
        return None;
    };
    compile(text, schema).map_err(|errors| report(node, errors, problems)).ok()
}

/// Turns errors inside the expression at `node` into problems.
pub fn report(node: &Node, errors: Vec<ExprError>, problems: &mut Problems) {
    for error in errors {
        let problem = Problem::error(node.within(error.span.0, error.span.1), error.what);
        problems.push(match error.help {
            Some(help) => problem.help(help),
            None => problem,
        });
    }
}
