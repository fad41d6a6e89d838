//! COUNT: how many rows, or how many values that are not NULL.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type};

use super::{Accumulator, Argument, Distinct, Function, for_each_row, for_each_value};
use crate::record::SqlType;
use crate::state::Pages;

/// The entry in the registry.
pub(super) const COUNT: Function = Function {
    name: "COUNT",
    aliases: &[],
    signature: "COUNT(*) | COUNT(value)",
    summary: "how many rows, or how many values that are not NULL; BIGINT",
    retracts: true,
    distinct: Distinct::Values,
    by_order: false,
    resolve: |arguments: &[Argument]| match arguments {
        [] | [_] => Ok((SqlType::BigInt, false)),
        _ => Err("COUNT takes `*` or one argument".to_owned()),
    },
    build: |_| Box::<Count>::default(),
};

#[derive(Default)]
struct Count {
    counts: Pages<i64>,
}

impl Count {
    fn change(
        &mut self,
        rows: &[u32],
        groups: &[u32],
        arguments: &[ArrayRef],
        filter: Option<&BooleanArray>,
        by: i64,
    ) {
        let counts = &mut self.counts;
        match arguments.first() {
            Some(argument) => {
                for_each_value(rows, groups, argument.as_ref(), filter, |_, group| counts[group] += by);
            }
            None => for_each_row(rows, groups, filter, |_, group| counts[group] += by),
        }
    }
}

impl Accumulator for Count {
    fn resize(&mut self, groups: usize) {
        self.counts.resize(groups);
    }

    fn add(&mut self, rows: &[u32], groups: &[u32], arguments: &[ArrayRef], filter: Option<&BooleanArray>) {
        self.change(rows, groups, arguments, filter, 1);
    }

    fn retract(
        &mut self,
        rows: &[u32],
        groups: &[u32],
        arguments: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) {
        self.change(rows, groups, arguments, filter, -1);
    }

    fn merge(&mut self, into: &[u32], other: &dyn Accumulator, from: &[u32]) {
        let other = other.as_any().downcast_ref::<Self>().expect("accumulators of one call are of one type");
        for (into, from) in into.iter().zip(from) {
            self.counts[*into as usize] += other.counts[*from as usize];
        }
    }

    fn fold(&mut self, into: u32, from: u32) {
        if into != from {
            self.counts[into as usize] += std::mem::take(&mut self.counts[from as usize]);
        }
    }

    fn clear(&mut self, groups: &[u32]) {
        for group in groups {
            self.counts[*group as usize] = 0;
        }
    }

    fn finish(&self, groups: &[u32]) -> ArrayRef {
        let counts = groups.iter().map(|group| self.counts[*group as usize]);
        Arc::new(Int64Array::from_iter_values(counts))
    }

    fn saved(&self) -> Vec<Field> {
        vec![Field::new("", DataType::Int64, false)]
    }

    fn save(&self, groups: &[u32]) -> Vec<ArrayRef> {
        vec![self.finish(groups)]
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) {
        for (group, count) in groups.iter().zip(columns[0].as_primitive::<Int64Type>().values()) {
            self.counts[*group as usize] = *count;
        }
    }

    fn bytes(&self) -> usize {
        self.counts.bytes()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::tests::run;

    #[test]
    fn null_is_not_counted() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(1), None, Some(3)]));
        assert_eq!(run("COUNT", &SqlType::BigInt, &column, None), "3");
        let filter = BooleanArray::from(vec![Some(true), Some(true), None, Some(true), Some(true)]);
        assert_eq!(run("COUNT", &SqlType::BigInt, &column, Some(&filter)), "2");
    }

    #[test]
    fn rows_are_counted_where_the_filter_is_true() {
        let mut count = Count::default();
        count.resize(1);
        let filter = BooleanArray::from(vec![Some(true), None, Some(false)]);
        count.add(&[0, 1, 2], &[0, 0, 0], &[], Some(&filter));
        assert_eq!(count.counts[0], 1);
    }
}
