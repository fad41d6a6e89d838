//! Columns left out of a batch once nothing needs them any more, inside rows too.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::datatypes::DataType;

use super::{Column, Schema, SqlType};

/// Makes rows of one schema into rows of another that has fewer columns, or fewer fields in its ROWs. Nothing is copied.
#[derive(Clone, Debug)]
pub struct Projection {
    schema: Schema,
    picks: Vec<Pick>,
}

/// Where a column comes from.
#[derive(Clone, Debug)]
enum Pick {
    /// It is the one at this position.
    Whole(usize),
    /// It has some of the fields of the one at this position.
    Fields(usize, DataType, Vec<Pick>),
}

impl Projection {
    /// From rows of `from` to rows of `to`; none where they are the same.
    ///
    /// # Panics
    ///
    /// If `to` has a column that `from` has not.
    #[must_use]
    pub fn new(from: &Schema, to: &Schema) -> Option<Self> {
        (from.columns() != to.columns())
            .then(|| Self { schema: to.clone(), picks: picks(from.columns(), to.columns()) })
    }

    /// The rows with the columns that are left.
    #[must_use]
    pub fn apply(&self, rows: &RecordBatch) -> RecordBatch {
        self.schema.rows(pick(&self.picks, rows.columns()), rows.num_rows())
    }
}

fn picks(from: &[Column], to: &[Column]) -> Vec<Pick> {
    let pick = |wanted: &Column| {
        let index = from.iter().position(|column| column.name == wanted.name);
        let index = index.expect("columns are only left out");
        match (&from[index].data_type, &wanted.data_type) {
            (SqlType::Row(fields), SqlType::Row(left)) if fields != left => {
                Pick::Fields(index, wanted.data_type.arrow(), picks(fields, left))
            }
            _ => Pick::Whole(index),
        }
    };
    to.iter().map(pick).collect()
}

fn pick(picks: &[Pick], columns: &[ArrayRef]) -> Vec<ArrayRef> {
    let one = |pick_one: &Pick| match pick_one {
        Pick::Whole(index) => columns[*index].clone(),
        Pick::Fields(index, data_type, picks) => {
            let DataType::Struct(fields) = data_type else { unreachable!("a ROW is a struct") };
            let row = columns[*index].as_struct();
            Arc::new(StructArray::new(fields.clone(), pick(picks, row.columns()), row.nulls().cloned()))
                as ArrayRef
        }
    };
    picks.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::buffer::NullBuffer;

    use super::*;
    use crate::record::Paths;

    #[test]
    fn only_what_is_left_stays() {
        let big = |name: &str| Column::new(name, SqlType::BigInt, true);
        let inner = SqlType::Row(vec![big("a"), big("b")]);
        let outer = SqlType::Row(vec![Column::new("in", inner, true), big("c")]);
        let from = Schema::new(vec![big("n"), Column::new("row", outer, true), big("m")]);
        assert!(Projection::new(&from, &from).is_none());
        let numbers = |first: i64| Arc::new(Int64Array::from(vec![first, first + 1])) as ArrayRef;
        let row = |data_type: DataType, columns: Vec<ArrayRef>, nulls: [bool; 2]| {
            let DataType::Struct(fields) = data_type else { panic!("a struct") };
            Arc::new(StructArray::new(fields, columns, Some(NullBuffer::from(nulls.to_vec())))) as ArrayRef
        };
        let types: Vec<DataType> = from.columns().iter().map(|column| column.data_type.arrow()).collect();
        let DataType::Struct(fields) = &types[1] else { panic!("a struct") };
        let inner = row(fields[0].data_type().clone(), vec![numbers(1), numbers(3)], [true, false]);
        let outer = row(types[1].clone(), vec![inner, numbers(5)], [false, true]);
        let rows = from.rows(vec![numbers(7), outer, numbers(9)], 2);
        let mut left = Paths::default();
        for path in [["row", "in", "b"].as_slice(), &["m"]] {
            left.insert(path.iter().map(|name| (*name).to_owned()).collect());
        }
        let to = left.prune(&from);
        let found = Projection::new(&from, &to).unwrap().apply(&rows);
        let inner = row(
            DataType::Struct([Arc::clone(&from.arrow().field(0).clone().with_name("b").into())].into()),
            vec![numbers(3)],
            [true, false],
        );
        let outer = row(to.columns()[0].data_type.arrow(), vec![inner], [false, true]);
        assert_eq!(found, to.rows(vec![outer, numbers(9)], 2));
        assert_eq!(Projection::new(&from, &Schema::new(vec![])).unwrap().apply(&rows).num_rows(), 2);
    }
}
