//! Aggregate functions as column-wise accumulators: one state per group, updated a batch at a time.
//!
//! A new aggregate is a file here, its `mod` line, and an entry in [`FUNCTIONS`].

mod average;
mod count;
mod exact_sum;
mod extreme;
mod sum;

use std::ops::Range;

use arrow::array::{Array, ArrayRef, BooleanArray};

use crate::record::SqlType;

/// The states of one aggregate call over all groups of a window on one shard.
pub trait Accumulator {
    /// Makes room for `groups` groups; new ones are empty.
    fn resize(&mut self, groups: usize);

    /// Adds rows to groups: row `rows[i]` of the arguments to group `groups[i]`. Rows for which `filter` is not TRUE
    /// are skipped.
    fn add(&mut self, rows: &[u32], groups: &[u32], arguments: &[ArrayRef], filter: Option<&BooleanArray>);

    /// The results of these groups, of the Arrow type of the call's result type.
    fn finish(&self, groups: Range<usize>) -> ArrayRef;
}

/// Which accumulator a call gets.
#[derive(Clone, Debug)]
pub struct Call {
    /// The function's name, upper case.
    pub function: &'static str,
    /// The types of the arguments; empty for `COUNT(*)`.
    pub arguments: Vec<SqlType>,
    /// The type of the result.
    pub result: SqlType,
    /// Whether the rows of a key arrive in one defined order. Where they do not, sums of doubles are kept exactly, so
    /// that they do not depend on the order.
    pub ordered: bool,
}

/// An aggregate function.
pub struct Function {
    /// Its name, upper case.
    pub name: &'static str,
    /// How it is called.
    pub signature: &'static str,
    /// What it yields, in one sentence.
    pub summary: &'static str,
    /// The result's type and whether it may be NULL, or why these arguments do not fit.
    #[expect(clippy::type_complexity, reason = "said once, in full")]
    pub resolve: fn(&[SqlType]) -> Result<(SqlType, bool), String>,
    /// The accumulator of a call that `resolve` accepted.
    pub build: fn(&Call) -> Box<dyn Accumulator>,
}

/// All aggregate functions.
pub static FUNCTIONS: &[Function] = &[count::COUNT, sum::SUM, extreme::MIN, extreme::MAX, average::AVG];

/// The function of this name, whatever its case.
#[must_use]
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name.eq_ignore_ascii_case(name))
}

/// The accumulator of a call.
#[must_use]
pub fn accumulator(call: &Call) -> Box<dyn Accumulator> {
    let function = function(call.function).expect("the call was resolved by this registry");
    (function.build)(call)
}

/// The one argument of a function that takes exactly one.
fn one_argument<'a>(arguments: &'a [SqlType], name: &str) -> Result<&'a SqlType, String> {
    match arguments {
        [argument] => Ok(argument),
        _ => Err(format!("{name} takes one argument")),
    }
}

/// Calls `each` with (row, group) of every row that passes the filter and whose argument is not NULL.
fn for_each_value(
    rows: &[u32],
    groups: &[u32],
    argument: &dyn Array,
    filter: Option<&BooleanArray>,
    mut each: impl FnMut(usize, usize),
) {
    let pairs = rows.iter().zip(groups).map(|(row, group)| (*row as usize, *group as usize));
    match (argument.nulls(), filter) {
        (None, None) => pairs.for_each(|(row, group)| each(row, group)),
        (nulls, filter) => {
            for (row, group) in pairs {
                if nulls.is_none_or(|nulls| nulls.is_valid(row))
                    && filter.is_none_or(|filter| passes(filter, row))
                {
                    each(row, group);
                }
            }
        }
    }
}

/// Whether the filter is TRUE for a row.
fn passes(filter: &BooleanArray, row: usize) -> bool {
    filter.is_valid(row) && filter.value(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds all rows of one column to one group, in two batches, and yields the result as text.
    pub(super) fn run(
        name: &str,
        argument: &SqlType,
        column: &ArrayRef,
        filter: Option<&BooleanArray>,
    ) -> String {
        let function = function(name).unwrap();
        let (result, _) = (function.resolve)(std::slice::from_ref(argument)).unwrap();
        let call = Call {
            function: function.name,
            arguments: vec![argument.clone()],
            result: result.clone(),
            ordered: false,
        };
        let mut accumulator = accumulator(&call);
        accumulator.resize(2);
        let count = u32::try_from(column.len()).unwrap();
        for range in [0..count / 2, count / 2..count] {
            let rows: Vec<u32> = range.collect();
            accumulator.add(&rows, &vec![1; rows.len()], std::slice::from_ref(column), filter);
        }
        let results = accumulator.finish(1..2);
        assert_eq!(results.data_type(), &result.arrow(), "{name} yields the type it resolved to");
        let empty = accumulator.finish(0..1);
        assert!(name == "COUNT" || empty.is_null(0), "an empty group is NULL");
        arrow::util::display::array_value_to_string(&results, 0).unwrap()
    }

    #[test]
    fn a_function_is_found_whatever_its_case() {
        assert!(function("count").is_some() && function("nope").is_none());
    }
}
