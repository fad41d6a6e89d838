//! `ARRAY_AGG`: the values in the order of their arrival, NULL among them, as in Flink.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;

use super::form::{Form, with_form};
use super::grouped::{Grouped, Rule};
use super::sequence::Sequence;
use super::{Accumulator, Call, Distinct, Function, one_argument};
use crate::record::SqlType;

/// The entry in the registry.
pub(super) const ARRAY_AGG: Function = Function {
    name: "ARRAY_AGG",
    aliases: &[],
    signature: "ARRAY_AGG([DISTINCT] value)",
    summary: "the values in order of arrival, NULL among them, as an ARRAY; NULL over no rows",
    retracts: true,
    distinct: Distinct::ValuesAndNull,
    resolve: |arguments| match one_argument(arguments, "ARRAY_AGG")? {
        SqlType::Null => Err("ARRAY_AGG takes a value that has a type, not NULL".to_owned()),
        any => Ok((SqlType::Array(Box::new(any.clone()), arguments[0].nullable), true)),
    },
    build,
};

fn build(call: &Call) -> Box<dyn Accumulator> {
    let result = call.result.arrow();
    with_form!(call.arguments[0].data_type.arrow(), form => {
        Grouped::boxed(ArrayAgg { form, result }, call.retracts)
    })
}

struct ArrayAgg<F> {
    form: F,
    result: DataType,
}

impl<F: Form> Rule for ArrayAgg<F> {
    type State = Sequence<F>;
    type Column = F::Column;
    const NULLS: bool = true;
    const HEAP: bool = true;

    fn column(&self, arguments: &[ArrayRef]) -> F::Column {
        self.form.column(&arguments[0])
    }

    fn add(&self, values: &mut Sequence<F>, _: bool, column: &F::Column, row: usize) {
        values.push(column.is_valid(row).then(|| F::keep(F::value(column, row))));
    }

    fn retract(&self, values: &mut Sequence<F>, column: &F::Column, row: usize) {
        values.remove(column.is_valid(row).then(|| F::value(column, row)));
    }

    fn merge(&self, values: &mut Sequence<F>, _: bool, later: &Sequence<F>) {
        values.extend(later);
    }

    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a Sequence<F>>>) -> ArrayRef {
        let states: Vec<Option<&Sequence<F>>> = states.collect();
        let lengths = states.iter().map(|values| values.map_or(0, |values| values.iter().len()));
        let offsets = OffsetBuffer::from_lengths(lengths);
        let nulls: NullBuffer = states.iter().map(Option::is_some).collect();
        let elements = self.form.array(states.into_iter().flatten().flat_map(Sequence::iter));
        let DataType::List(field) = &self.result else { unreachable!("the result is an ARRAY") };
        Arc::new(ListArray::new(field.clone(), offsets, elements, Some(nulls)))
    }

    fn heap(&self, values: &Sequence<F>) -> usize {
        values.heap()
    }
}
