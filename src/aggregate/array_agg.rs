//! `ARRAY_AGG`: the values in the order of their arrival, NULL among them, as in Flink.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::Field;

use super::form::{Form, with_form};
use super::grouped::{Grouped, Rule};
use super::saved::column;
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
    by_order: true,
    resolve: |arguments| match one_argument(arguments, "ARRAY_AGG")? {
        SqlType::Null => Err("ARRAY_AGG takes a value that has a type, not NULL".to_owned()),
        any => Ok((SqlType::Array(Box::new(any.clone()), arguments[0].nullable), true)),
    },
    build,
};

fn build(call: &Call) -> Box<dyn Accumulator> {
    with_form!(call.arguments[0].data_type.arrow(), form => Grouped::boxed(ArrayAgg { form }, call.retracts))
}

struct ArrayAgg<F> {
    form: F,
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
        Sequence::lists(&self.form, states.iter().copied())
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

    use arrow::array::{BooleanArray, Int64Array, StringArray, StructArray};
    use arrow::buffer::NullBuffer;
    use arrow::datatypes::{DataType, Fields};

    use super::*;
    use crate::aggregate::tests::run;
    use crate::record::Column;

    #[test]
    fn values_keep_their_order() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(2), None, Some(1), Some(2)]));
        assert_eq!(run("ARRAY_AGG", &SqlType::BigInt, &column, None), "[2, , 1, 2]");
        let filter = BooleanArray::from(vec![Some(false), None, Some(true), Some(true)]);
        assert_eq!(run("ARRAY_AGG", &SqlType::BigInt, &column, Some(&filter)), "[1, 2]");
        let column: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), Some(""), None]));
        assert_eq!(run("ARRAY_AGG", &SqlType::String, &column, None), "[b, , ]");
        assert_eq!(run("ARRAY_AGG", &SqlType::String, &column.slice(0, 0), None), "");
    }

    #[test]
    fn rows_can_be_collected() {
        let fields = Fields::from(vec![Field::new("n", DataType::Int64, true)]);
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, None]));
        let nulls = NullBuffer::from(vec![true, true, false]);
        let column: ArrayRef = Arc::new(StructArray::new(fields, vec![numbers], Some(nulls)));
        let row = SqlType::Row(vec![Column::new("n", SqlType::BigInt, true)]);
        assert_eq!(run("ARRAY_AGG", &row, &column, None), "[{n: 1}, {n: }, ]");
    }
}
