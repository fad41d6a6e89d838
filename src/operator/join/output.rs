//! What a join sends: pairs, and rows of one side by themselves, made column by column.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, RecordBatch, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Fields};
use arrow::error::ArrowError;

use super::rows::Place;
use super::side::Side;
use super::work::Input;
use crate::operator::queue::Queue;
use crate::record::{Batch, BlockEnd, EventTimes, Schema, Segment};

/// Rows to be sent, in order, and the blocks that they are of.
#[derive(Default)]
pub(super) struct Sending {
    /// Of each side where its row is.
    places: [Vec<Place>; 2],
    weights: Vec<i8>,
    segments: Vec<Segment>,
}

/// Where the rows are that are sent.
#[derive(Clone, Copy)]
pub(super) struct Origins<'a> {
    pub sides: &'a [Side; 2],
    pub inputs: &'a [Input],
}

/// What rows of the output have.
#[derive(Clone, Copy)]
pub(super) struct Shape<'a> {
    pub schema: &'a Schema,
    /// Whether they may be taken back.
    pub weighted: bool,
    /// Whether they have event times.
    pub timed: bool,
}

impl Sending {
    /// Adds a row that block `number` has caused.
    pub fn push(&mut self, places: [Place; 2], weight: i8, number: u64) {
        let [first, second] = places;
        self.places[0].push(first);
        self.places[1].push(second);
        self.weights.push(weight);
        match self.segments.last_mut() {
            Some(last) if last.number == number && last.end.is_none() => last.rows += 1,
            _ => self.segments.push(Segment { rows: 1, number, split: 0, end: None }),
        }
    }

    /// Ends block `number`, behind the rows added so far.
    pub fn end(&mut self, number: u64, end: BlockEnd) {
        match self.segments.last_mut() {
            Some(last) if last.number == number && last.end.is_none() => last.end = Some(end),
            _ => self.segments.push(Segment { rows: 0, number, split: 0, end: Some(end) }),
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.weights.len()
    }

    /// Whether there are no rows and no ends.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// A ROW of each row, of these columns of one side.
    pub fn column(
        &self,
        side: usize,
        fields: &Fields,
        columns: &[usize],
        origins: Origins<'_>,
    ) -> Result<ArrayRef, ArrowError> {
        let places = &self.places[side];
        let is_there = |place: &Place| *place != Place::Nothing;
        if !places.iter().any(is_there) {
            return Ok(arrow::array::new_null_array(&DataType::Struct(fields.clone()), places.len()));
        }
        let of_side = |input: &'_ Input| input.side == side;
        let came: Vec<Option<&RecordBatch>> =
            origins.inputs.iter().map(|input| of_side(input).then_some(&input.batch.rows)).collect();
        let gathered = origins.sides[side].rows().gather(places, &came, columns.iter().copied())?;
        let nulls: Option<NullBuffer> =
            (!places.iter().all(is_there)).then(|| places.iter().map(is_there).collect());
        let rows = StructArray::try_new_with_length(fields.clone(), gathered, nulls, places.len());
        Ok(Arc::new(rows.expect("the columns of a side are as its input has them")))
    }

    /// Hands everything over, and is empty then.
    pub fn flush(&mut self, shape: Shape<'_>, origins: Origins<'_>, queue: &mut Queue) {
        let sending = std::mem::take(self);
        if sending.rows() == 0 {
            queue.ends(sending.segments);
            return;
        }
        let columns = shape.schema.arrow().fields().iter().enumerate().map(|(side, field)| {
            let DataType::Struct(fields) = field.data_type() else { unreachable!("a side is a ROW") };
            let columns: Vec<usize> = (0..fields.len()).collect();
            sending.column(side, fields, &columns, origins)
        });
        let Ok(columns) = columns.collect::<Result<Vec<ArrayRef>, ArrowError>>() else {
            // Rows so large do not fit into one column together, where one of them does.
            for mut half in sending.halves() {
                half.flush(shape, origins, queue);
            }
            return;
        };
        let mut batch = Batch::of_rows(shape.schema.rows(columns, sending.rows()), 0);
        let at_ms = |row: usize| {
            let of = |side: usize| origins.at_ms(side, sending.places[side][row]);
            of(0).max(of(1))
        };
        let times = || EventTimes {
            at_ms: (0..sending.rows()).map(at_ms).collect::<Vec<i64>>().into(),
            seen_ms: None,
        };
        batch.times = shape.timed.then(times);
        batch.weights = shape.weighted.then(|| Int8Array::from(sending.weights));
        batch.segments = sending.segments;
        queue.batch(batch);
    }

    /// The first half of the rows, and the rest.
    ///
    /// # Panics
    ///
    /// If there is but one: it fits into a column.
    pub fn halves(self) -> [Self; 2] {
        let half = self.rows() / 2;
        assert!(half > 0, "one row fits into a column");
        let Self { places: [mut first, mut second], mut weights, segments } = self;
        let behind = [first.split_off(half), second.split_off(half)];
        let weights_behind = weights.split_off(half);
        let mut parts = [Vec::new(), Vec::new()];
        let mut left = u32::try_from(half).expect("a batch is small");
        for segment in segments {
            let before = segment.rows.min(left);
            left -= before;
            if before == segment.rows {
                parts[usize::from(left == 0 && before == 0)].push(segment);
                continue;
            }
            if before > 0 {
                parts[0].push(Segment { rows: before, end: None, ..segment });
            }
            parts[1].push(Segment { rows: segment.rows - before, ..segment });
        }
        let [before_segments, behind_segments] = parts;
        [
            Self { places: [first, second], weights, segments: before_segments },
            Self { places: behind, weights: weights_behind, segments: behind_segments },
        ]
    }
}

impl Origins<'_> {
    /// The time of a row, milliseconds; the least that there is where there is no row.
    fn at_ms(&self, side: usize, place: Place) -> i64 {
        match place {
            Place::Nothing => i64::MIN,
            Place::Kept(number) => self.sides[side].at_ms(number),
            Place::Came(input, row) => self.inputs[input as usize].at_ms(row as usize),
        }
    }
}
