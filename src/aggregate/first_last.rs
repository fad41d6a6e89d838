//! `FIRST_VALUE` and `LAST_VALUE`: the value that arrived first, or last; NULL is skipped, as in Flink.
//!
//! Where rows are taken back, a group keeps all of its values in order.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;

use super::form::{Form, with_form};
use super::grouped::{Grouped, Rule};
use super::saved::column;
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
    by_order: true,
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
    by_order: true,
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

    fn saved(&self) -> Vec<Field> {
        vec![column("", self.form.data_type().clone())]
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a F::Value>> + Clone) -> Vec<ArrayRef> {
        vec![self.form.array(states)]
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<F::Value> {
        self.form.keep_all(&columns[0])
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

    fn saved(&self) -> Vec<Field> {
        vec![column("", Sequence::lists_type(&self.form))]
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a Sequence<F>>> + Clone) -> Vec<ArrayRef> {
        vec![Sequence::lists(&self.form, states)]
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<Sequence<F>> {
        Sequence::load(&self.form, &columns[0])
    }

    fn heap(&self, values: &Sequence<F>) -> usize {
        values.heap()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Int64Array, ListArray, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::aggregate::tests::run;

    fn check(data_type: &SqlType, column: ArrayRef, filter: Option<Vec<bool>>, first: &str, last: &str) {
        let filter = filter.map(BooleanArray::from);
        assert_eq!(run("FIRST", data_type, &column, filter.as_ref()), first, "FIRST of {data_type}");
        assert_eq!(run("LAST_VALUE", data_type, &column, filter.as_ref()), last, "LAST of {data_type}");
    }

    #[test]
    fn ends() {
        let numbers = || Arc::new(Int64Array::from(vec![None, Some(3), Some(1), Some(2), None]));
        check(&SqlType::BigInt, numbers(), None, "3", "2");
        check(&SqlType::BigInt, numbers(), Some(vec![true, false, true, false, true]), "1", "1");
        check(&SqlType::BigInt, numbers(), Some(vec![true, false, false, false, true]), "", "");
        check(&SqlType::BigInt, Arc::new(Int64Array::from(vec![None, None])), None, "", "");
        check(
            &SqlType::String,
            Arc::new(StringArray::from(vec![Some(""), Some("long"), Some("z")])),
            None,
            "",
            "z",
        );
        check(&SqlType::Boolean, Arc::new(BooleanArray::from(vec![false, true])), None, "false", "true");
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
            None,
            Some(vec![Some(1), None]),
            Some(vec![]),
            None,
        ]);
        let lists_of = SqlType::Array(Box::new(SqlType::BigInt), true);
        check(&lists_of, Arc::new(lists), None, "[1, ]", "[]");
    }
}
