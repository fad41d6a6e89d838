//! `FIRST_VALUE` and `LAST_VALUE`: the value that arrived first, or last; NULL is skipped, as in Flink.
//!
//! Where rows are taken back, a group keeps all of its values in order.

use arrow::array::ArrayRef;

use super::form::{Form, with_form};
use super::grouped::{Grouped, Rule};
use super::sequence::Sequence;
use super::{Accumulator, Argument, Call, Distinct, Function, one_argument};
use crate::record::SqlType;

/// The entry of `FIRST_VALUE` in the registry.
pub(super) const FIRST_VALUE: Function = Function {
    name: "FIRST_VALUE",
    aliases: &["FIRST"],
    signature: "FIRST_VALUE(value) | FIRST(value)",
    summary: "the value that arrived first, of any type; NULL over no values",
    retracts: true,
    distinct: Distinct::Refused,
    resolve: |arguments| resolve(arguments, "FIRST_VALUE"),
    build: |call| build(call, false),
};

/// The entry of `LAST_VALUE` in the registry.
pub(super) const LAST_VALUE: Function = Function {
    name: "LAST_VALUE",
    aliases: &["LAST"],
    signature: "LAST_VALUE(value) | LAST(value)",
    summary: "the value that arrived last, of any type; NULL over no values",
    retracts: true,
    distinct: Distinct::Refused,
    resolve: |arguments| resolve(arguments, "LAST_VALUE"),
    build: |call| build(call, true),
};

fn resolve(arguments: &[Argument], name: &str) -> Result<(SqlType, bool), String> {
    match one_argument(arguments, name)? {
        SqlType::Null => Err(format!("{name} takes a value that has a type, not NULL")),
        any => Ok((any.clone(), true)),
    }
}

fn build(call: &Call, last: bool) -> Box<dyn Accumulator> {
    with_form!(call.result.arrow(), form => if call.retracts {
        Grouped::boxed(EndOf { form, last }, true)
    } else {
        Grouped::boxed(End { form, last }, false)
    })
}

/// The value at one end.
struct End<F> {
    form: F,
    last: bool,
}

impl<F: Form> Rule for End<F> {
    type State = F::Value;
    type Column = F::Column;
    const HEAP: bool = true;

    fn column(&self, arguments: &[ArrayRef]) -> F::Column {
        self.form.column(&arguments[0])
    }

    fn add(&self, kept: &mut F::Value, seen: bool, column: &F::Column, row: usize) {
        if self.last || !seen {
            F::replace(kept, F::value(column, row));
        }
    }

    fn retract(&self, _: &mut F::Value, _: &F::Column, _: usize) {
        unreachable!("a call that may retract keeps all values");
    }

    fn merge(&self, kept: &mut F::Value, seen: bool, later: &F::Value) {
        if self.last || !seen {
            F::replace(kept, F::seen(later));
        }
    }

    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a F::Value>>) -> ArrayRef {
        self.form.array(states)
    }

    fn heap(&self, kept: &F::Value) -> usize {
        F::heap(kept)
    }
}

/// The value at one end of all values.
struct EndOf<F> {
    form: F,
    last: bool,
}

impl<F: Form> Rule for EndOf<F> {
    type State = Sequence<F>;
    type Column = F::Column;
    const HEAP: bool = true;

    fn column(&self, arguments: &[ArrayRef]) -> F::Column {
        self.form.column(&arguments[0])
    }

    fn add(&self, values: &mut Sequence<F>, _: bool, column: &F::Column, row: usize) {
        values.push(Some(F::keep(F::value(column, row))));
    }

    fn retract(&self, values: &mut Sequence<F>, column: &F::Column, row: usize) {
        values.remove(Some(F::value(column, row)));
    }

    fn merge(&self, values: &mut Sequence<F>, _: bool, later: &Sequence<F>) {
        values.extend(later);
    }

    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a Sequence<F>>>) -> ArrayRef {
        self.form.array(states.map(|values| {
            let mut values = values?.iter();
            if self.last { values.next_back() } else { values.next() }.flatten()
        }))
    }

    fn heap(&self, values: &Sequence<F>) -> usize {
        values.heap()
    }
}
