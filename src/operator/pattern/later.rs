//! The conditions that read earlier rows of a match, asked about the next row of every way of many searches at once.

use arrow::array::{Array, AsArray, BooleanArray};

use super::search::{Rules, Search};
use super::view::{Mapping, View, Viewer};
use crate::expr::Expr;
use crate::operator::payload::Payload;
use crate::record::Batch;

/// A condition that reads earlier rows of a match.
#[derive(Clone)]
pub(super) struct Later {
    pub variable: u8,
    pub condition: Expr,
    pub view: View,
}

/// What a condition is asked about: the number of a key, the row of a search, the place of a way in it, the variable.
pub(super) type Question = (u32, u64, usize, u8);

/// The row of a key over which a condition could not be evaluated, and why.
pub(super) type Failed = (u32, u64, String);

/// The conditions, ready to be evaluated.
pub(super) struct Conditions {
    conditions: Vec<(u8, Expr, Viewer)>,
}

impl Conditions {
    /// These conditions, over the columns that are kept.
    pub fn new(later: &[Later]) -> Self {
        let ready = |later: &Later| (later.variable, later.condition.clone(), Viewer::new(&later.view));
        Self { conditions: later.iter().map(ready).collect() }
    }

    /// Asks about the next row of every way of the searches of these keys: the questions that are answered with TRUE,
    /// ascending, and the rows over which a condition could not be evaluated.
    pub fn ask<'a>(
        &mut self,
        groups: &[u32],
        search_of: impl Fn(u32) -> &'a Search,
        rules: &Rules,
        payload: &Payload,
    ) -> (Vec<Question>, Vec<Failed>) {
        let (mut holding, mut failed) = (Vec::new(), Vec::new());
        for (variable, condition, viewer) in &mut self.conditions {
            let (mut asked, mut mappings): (Vec<Question>, Vec<Mapping>) = (Vec::new(), Vec::new());
            for group in groups {
                let search = search_of(*group);
                for (start, way, variables) in search.questions(*variable, rules) {
                    asked.push((*group, start, way, *variable));
                    mappings.push(Mapping { search, row: start, variables, also: Some(*variable) });
                }
            }
            for (asked, mappings) in asked.chunks(Batch::ROWS_MAX).zip(mappings.chunks(Batch::ROWS_MAX)) {
                let (rows, failed_rows) = viewer.rows(mappings, &[], payload);
                let evaluated = condition.evaluate_at(&rows, 0);
                let answers: &BooleanArray = evaluated.values.as_boolean();
                let mut holds: Vec<bool> =
                    (0..asked.len()).map(|row| answers.is_valid(row) && answers.value(row)).collect();
                for (row, why) in failed_rows.into_iter().chain(evaluated.failed) {
                    let row = row as usize;
                    holds[row] = false;
                    failed.push((asked[row].0, mappings[row].last_number(), why));
                }
                holding
                    .extend(asked.iter().zip(&holds).filter(|(_, holds)| **holds).map(|(asked, _)| *asked));
            }
        }
        holding.sort_unstable();
        (holding, failed)
    }
}
