//! COUNT: how many rows, or how many values that are not NULL.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array};

use super::{Accumulator, Function, for_each_value, passes};
use crate::record::SqlType;

/// The entry in the registry.
pub(super) const COUNT: Function = Function {
    name: "COUNT",
    signature: "COUNT(*) | COUNT(value)",
    summary: "how many rows, or how many values that are not NULL; BIGINT",
    resolve: |arguments| match arguments {
        [] | [_] => Ok((SqlType::BigInt, false)),
        _ => Err("COUNT takes `*` or one argument".to_owned()),
    },
    build: |_| Box::<Count>::default(),
};

#[derive(Default)]
struct Count {
    counts: Vec<i64>,
}

impl Accumulator for Count {
    fn resize(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
    }

    fn add(&mut self, rows: &[u32], groups: &[u32], arguments: &[ArrayRef], filter: Option<&BooleanArray>) {
        match arguments.first() {
            Some(argument) => {
                for_each_value(rows, groups, argument.as_ref(), filter, |_, group| self.counts[group] += 1);
            }
            None => {
                for (row, group) in rows.iter().zip(groups) {
                    self.counts[*group as usize] +=
                        i64::from(filter.is_none_or(|filter| passes(filter, *row as usize)));
                }
            }
        }
    }

    fn finish(&self, groups: Range<usize>) -> ArrayRef {
        Arc::new(Int64Array::from(self.counts[groups].to_vec()))
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
        assert_eq!(count.counts, [1]);
    }
}
