//! What a join sends: pairs, and rows of one side by themselves, made column by column.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, StructArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::rows::NONE;
use super::side::Side;
use crate::operator::queue::Queue;
use crate::record::{Batch, Schema};

/// Rows to be sent, in order: each of a row of the batch at hand and one that the other side keeps, either of which may be
/// missing.
#[derive(Default)]
pub(super) struct Sending {
    own: Vec<u32>,
    other: Vec<u32>,
    weights: Vec<i8>,
}

impl Sending {
    /// Adds a row: the position of one in the batch, the number of one that is kept, [`NONE`] for neither.
    pub fn push(&mut self, own: u32, other: u32, weight: i8) {
        self.own.push(own);
        self.other.push(other);
        self.weights.push(weight);
    }

    /// The ROWs of one side, of these of its columns: of a batch, or else those that the side keeps.
    pub fn column(
        &self,
        data_type: &DataType,
        batch: Option<&Batch>,
        side: &Side,
        columns: &[usize],
    ) -> Result<ArrayRef, ArrowError> {
        let numbers = if batch.is_some() { &self.own } else { &self.other };
        let has_none = numbers.contains(&NONE);
        let fields = match batch {
            Some(batch) => {
                let positions: UInt32Array = if has_none {
                    numbers.iter().map(|row| (*row != NONE).then_some(*row)).collect()
                } else {
                    numbers.clone().into()
                };
                let pick = |column: &usize| take(batch.rows.column(*column), &positions, None);
                columns.iter().map(pick).collect::<Result<Vec<_>, _>>()?
            }
            None => side.rows().gather(numbers, columns.iter().copied())?,
        };
        Ok(self.rows(data_type, fields, numbers, has_none))
    }

    /// The first half of them, and the rest.
    ///
    /// # Panics
    ///
    /// If there is but one: it fits into a column.
    pub fn halves(&self) -> [Self; 2] {
        let (count, half) = (self.own.len(), self.own.len() / 2);
        assert!(half > 0, "one row fits into a column");
        [0..half, half..count].map(|part| Self {
            own: self.own[part.clone()].to_vec(),
            other: self.other[part.clone()].to_vec(),
            weights: self.weights[part].to_vec(),
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.own.len()
    }

    /// ROWs that nobody has.
    fn nothing(&self, data_type: &DataType) -> ArrayRef {
        arrow::array::new_null_array(data_type, self.own.len())
    }

    fn rows(&self, data_type: &DataType, fields: Vec<ArrayRef>, numbers: &[u32], has_none: bool) -> ArrayRef {
        let DataType::Struct(of) = data_type else { unreachable!("a side is a ROW") };
        let nulls = has_none.then(|| numbers.iter().map(|number| *number != NONE).collect::<NullBuffer>());
        let rows = StructArray::try_new_with_length(of.clone(), fields, nulls, self.own.len());
        Arc::new(rows.expect("the columns of a side are as its input has them"))
    }
}

/// Hands rows over as caused by block `number`: `own` is the side, the batch and the times of the rows that have come, `other`
/// the side that has kept rows; `weighted` and `timed` say what rows of the output have besides their columns.
pub(super) fn send(
    sending: &Sending,
    own: Option<(usize, &Batch, &[i64])>,
    (other, side): (usize, &Side),
    output: &Schema,
    (weighted, timed): (bool, bool),
    number: u64,
    queue: &mut Queue,
) {
    if sending.own.is_empty() {
        return;
    }
    let columns = output.arrow().fields().iter().enumerate().map(|(index, field)| {
        let columns = |data_type: &DataType| match data_type {
            DataType::Struct(fields) => (0..fields.len()).collect::<Vec<usize>>(),
            _ => Vec::new(),
        };
        let columns = columns(field.data_type());
        match own {
            Some((own, batch, _)) if own == index => {
                sending.column(field.data_type(), Some(batch), side, &columns)
            }
            _ if other == index => sending.column(field.data_type(), None, side, &columns),
            _ => Ok(sending.nothing(field.data_type())),
        }
    });
    let Ok(columns) = columns.collect::<Result<Vec<ArrayRef>, ArrowError>>() else {
        // Rows so large do not fit into one column together, where one of them does.
        for half in sending.halves() {
            send(&half, own, (other, side), output, (weighted, timed), number, queue);
        }
        return;
    };
    let rows = output.rows(columns, sending.own.len());
    let weights = weighted.then(|| Int8Array::from(sending.weights.clone()));
    let times_ms = own.map_or(&[] as &[i64], |(_, _, times_ms)| times_ms);
    let at_ms = |(own, other): (&u32, &u32)| {
        let own_ms = times_ms.get(*own as usize).copied().unwrap_or(i64::MIN);
        own_ms.max(if *other == NONE { i64::MIN } else { side.at_ms(*other) })
    };
    let at_ms: Option<Vec<i64>> = timed.then(|| sending.own.iter().zip(&sending.other).map(at_ms).collect());
    queue.rows(number, &rows, weights.as_ref(), at_ms.as_deref());
}
