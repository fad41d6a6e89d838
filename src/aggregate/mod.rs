//! Aggregate functions as column-wise accumulators: one state per group, updated a batch at a time.
//!
//! A new aggregate is a file here, its `mod` line, and an entry in [`FUNCTIONS`].

mod approx_count_distinct;
mod approx_percentile;
mod array_agg;
mod average;
mod count;
mod distinct;
mod exact_sum;
mod extreme;
mod first_last;
mod form;
mod grouped;
mod list_agg;
mod percentile;
mod saved;
mod sequence;
mod sum;
mod variance;
mod wide_sum;

use std::any::Any;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::datatypes::Field;

use crate::record::{KeyCodec, SqlType};
use distinct::OnlyDistinct;

/// The states of one aggregate call over many groups on one shard; groups are told by dense numbers.
pub trait Accumulator {
    /// Makes room for `groups` groups; new ones are empty.
    fn resize(&mut self, groups: usize);

    /// Adds rows: row `rows[i]` of the arguments to group `groups[i]`, in this order. Rows for which `filter` is not
    /// TRUE are skipped. Arguments behind the first that are constant may be left out: the call tells them.
    fn add(&mut self, rows: &[u32], groups: &[u32], arguments: &[ArrayRef], filter: Option<&BooleanArray>);

    /// Takes rows back that were added before. Called only where [`Call::retracts`] was set.
    fn retract(
        &mut self,
        rows: &[u32],
        groups: &[u32],
        arguments: &[ArrayRef],
        filter: Option<&BooleanArray>,
    );

    /// Adds group `from[i]` of `other`, an accumulator of the same call, to group `into[i]`; the rows of `other` count
    /// as later.
    fn merge(&mut self, into: &[u32], other: &dyn Accumulator, from: &[u32]);

    /// Adds group `from` to group `into`, whose rows count as earlier, and empties `from`.
    fn fold(&mut self, into: u32, from: u32);

    /// Empties groups, so that their numbers can be used again.
    fn clear(&mut self, groups: &[u32]);

    /// The results of these groups in this order, of the Arrow type of the call's result type.
    fn finish(&self, groups: &[u32]) -> ArrayRef;

    /// The columns in which states are saved, the same for all accumulators of one call. Their names tell the parts of
    /// the state, no two alike; that of a column that says all, or most, is empty.
    fn saved(&self) -> Vec<Field>;

    /// The states of these groups in this order, in the columns of [`Accumulator::saved`]. What [`Accumulator::load`] makes
    /// of them behaves as the states do from here on. As with results, one column holds at most 2 GiB of text or bytes.
    fn save(&self, groups: &[u32]) -> Vec<ArrayRef>;

    /// Sets the state of group `groups[i]`, which is empty, to row `i` of the columns that [`Accumulator::save`] has made.
    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]);

    /// The heap bytes held, about. Takes no walk over the groups: it is asked once a block.
    fn bytes(&self) -> usize;

    /// Itself, so that [`Self::merge`] finds the type of the other.
    fn as_any(&self) -> &dyn Any;
}

/// An argument of a call, as the check knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its type.
    pub data_type: SqlType,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Its value as text, if it is the same for all rows and not NULL.
    pub constant: Option<String>,
}

impl Argument {
    /// An argument of this type that differs from row to row and may be NULL.
    #[must_use]
    pub fn column(data_type: SqlType) -> Self {
        Self { data_type, nullable: true, constant: None }
    }
}

/// Which accumulator a call gets.
#[derive(Clone, Debug)]
pub struct Call {
    /// The function's name, upper case.
    pub function: &'static str,
    /// The arguments; empty for `COUNT(*)`.
    pub arguments: Vec<Argument>,
    /// The type of the result.
    pub result: SqlType,
    /// Whether the rows of a key arrive in one defined order. Where they do not, sums of doubles are kept exactly, so
    /// that they do not depend on the order. What is asked for by order (`FIRST_VALUE`, `LAST_VALUE`, `ARRAY_AGG`,
    /// `LISTAGG`) is then in the order of arrival, which another run may not repeat.
    pub ordered: bool,
    /// Whether rows are taken back: the input is a changelog. Without it states are smaller. Only for functions whose
    /// [`Function::retracts`] is set.
    pub retracts: bool,
    /// Whether equal arguments count once. Only for functions whose [`Function::distinct`] allows it.
    pub distinct: bool,
}

impl Call {
    /// Whether the result depends on the order of the rows, whatever [`Call::ordered`] says.
    #[must_use]
    pub fn by_order(&self) -> bool {
        function(self.function).expect("the call was resolved by this registry").by_order
    }
}

/// What DISTINCT means to a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distinct {
    /// Nothing: a step refuses it.
    Refused,
    /// No difference.
    Same,
    /// Each value counts once; NULL never does.
    Values,
    /// Each value counts once, and so does NULL.
    ValuesAndNull,
}

/// An aggregate function.
pub struct Function {
    /// Its name, upper case.
    pub name: &'static str,
    /// Other names of it, upper case.
    pub aliases: &'static [&'static str],
    /// How it is called.
    pub signature: &'static str,
    /// What it yields, in one sentence.
    pub summary: &'static str,
    /// Whether it can take rows back, as a changelog does; a step over a changelog refuses it otherwise.
    pub retracts: bool,
    /// What DISTINCT means to it.
    pub distinct: Distinct,
    /// Whether the result depends on the order of the rows, whatever [`Call::ordered`] says.
    pub by_order: bool,
    /// The result's type and whether it may be NULL, or why these arguments do not fit.
    #[expect(clippy::type_complexity, reason = "said once, in full")]
    pub resolve: fn(&[Argument]) -> Result<(SqlType, bool), String>,
    /// The accumulator of a call that `resolve` accepted, apart from DISTINCT.
    pub build: fn(&Call) -> Box<dyn Accumulator>,
}

/// All aggregate functions.
pub static FUNCTIONS: &[Function] = &[
    count::COUNT,
    sum::SUM,
    extreme::MIN,
    extreme::MAX,
    average::AVG,
    variance::STDDEV_POP,
    variance::STDDEV_SAMP,
    variance::VAR_POP,
    variance::VAR_SAMP,
    percentile::PERCENTILE,
    percentile::MEDIAN,
    approx_percentile::APPROX_PERCENTILE,
    approx_count_distinct::APPROX_COUNT_DISTINCT,
    first_last::FIRST_VALUE,
    first_last::LAST_VALUE,
    array_agg::ARRAY_AGG,
    list_agg::LISTAGG,
];

/// The function of this name, whatever its case.
#[must_use]
pub fn function(name: &str) -> Option<&'static Function> {
    let is_it = |known: &str| known.eq_ignore_ascii_case(name);
    FUNCTIONS
        .iter()
        .find(|function| is_it(function.name) || function.aliases.iter().any(|alias| is_it(alias)))
}

/// The type of a call's result and whether it may be NULL, or why it does not fit; none where there is no function of
/// this name. `retracts` tells whether the input is a changelog.
#[must_use]
pub fn resolve(
    name: &str,
    arguments: &[Argument],
    distinct: bool,
    retracts: bool,
) -> Option<Result<(SqlType, bool), String>> {
    let function = function(name)?;
    let name = function.name;
    if retracts && !function.retracts {
        return Some(Err(format!("{name} cannot take rows back, as the changelog that it reads asks for")));
    }
    if distinct {
        let nested =
            arguments.first().and_then(|argument| KeyCodec::new(vec![argument.data_type.clone()]).err());
        match (function.distinct, nested) {
            (Distinct::Refused, _) => {
                return Some(Err(format!(
                    "{name} depends on the order of rows: DISTINCT has no meaning there"
                )));
            }
            (Distinct::Values | Distinct::ValuesAndNull, Some(nested)) => {
                return Some(Err(format!(
                    "{name}(DISTINCT …) takes values that can be compared, not {nested}"
                )));
            }
            _ => {}
        }
    }
    Some((function.resolve)(arguments))
}

/// The accumulator of a call that [`resolve`] accepted.
#[must_use]
pub fn accumulator(call: &Call) -> Box<dyn Accumulator> {
    let function = function(call.function).expect("the call was resolved by this registry");
    let inner = (function.build)(call);
    let nulls = function.distinct == Distinct::ValuesAndNull;
    match (call.arguments.first(), function.distinct) {
        (Some(argument), Distinct::Values | Distinct::ValuesAndNull) if call.distinct => {
            Box::new(OnlyDistinct::new(inner, argument.data_type.clone(), nulls, call.retracts))
        }
        _ => inner,
    }
}

/// The one argument of a function that takes exactly one.
fn one_argument<'a>(arguments: &'a [Argument], name: &str) -> Result<&'a SqlType, String> {
    match arguments {
        [argument] => Ok(&argument.data_type),
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

/// Calls `each` with (row, group) of every row that passes the filter.
fn for_each_row(
    rows: &[u32],
    groups: &[u32],
    filter: Option<&BooleanArray>,
    mut each: impl FnMut(usize, usize),
) {
    for (row, group) in rows.iter().zip(groups) {
        if filter.is_none_or(|filter| passes(filter, *row as usize)) {
            each(*row as usize, *group as usize);
        }
    }
}

/// Whether the filter is TRUE for a row.
fn passes(filter: &BooleanArray, row: usize) -> bool {
    filter.is_valid(row) && filter.value(row)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod restored;

#[cfg(test)]
mod tests {
    use super::*;

    /// The result over all rows of one column, as text; NULL is empty.
    pub(super) fn run(
        name: &str,
        argument: &SqlType,
        column: &ArrayRef,
        filter: Option<&BooleanArray>,
    ) -> String {
        run_with(name, &[Argument::column(argument.clone())], column, filter)
    }

    /// Adds all rows of one column to one group, in two batches, and yields the result as text; NULL is empty.
    pub(super) fn run_with(
        name: &str,
        arguments: &[Argument],
        column: &ArrayRef,
        filter: Option<&BooleanArray>,
    ) -> String {
        let function = function(name).unwrap();
        let (result, nullable) = resolve(name, arguments, false, false).unwrap().unwrap();
        let call = Call {
            function: function.name,
            arguments: arguments.to_vec(),
            result: result.clone(),
            ordered: false,
            retracts: false,
            distinct: false,
        };
        let mut accumulator = accumulator(&call);
        accumulator.resize(2);
        let count = u32::try_from(column.len()).unwrap();
        for range in [0..count / 2, count / 2..count] {
            let rows: Vec<u32> = range.collect();
            accumulator.add(&rows, &vec![1; rows.len()], std::slice::from_ref(column), filter);
        }
        let results = accumulator.finish(&[1]);
        assert_eq!(results.data_type(), &result.arrow(), "{name} yields the type it resolved to");
        let empty = accumulator.finish(&[0]);
        assert_eq!(empty.is_null(0), nullable, "an empty group is NULL where it may be");
        arrow::util::display::array_value_to_string(&results, 0).unwrap()
    }

    /// A constant argument.
    pub(super) fn constant(data_type: SqlType, text: &str) -> Argument {
        Argument { data_type, nullable: false, constant: Some(text.to_owned()) }
    }

    #[test]
    fn names_are_told_apart() {
        let mut names: Vec<&str> = FUNCTIONS
            .iter()
            .flat_map(|function| function.aliases.iter().chain([&function.name]))
            .copied()
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_function_is_found_whatever_its_case() {
        assert!(function("count").is_some() && function("nope").is_none());
    }
}
