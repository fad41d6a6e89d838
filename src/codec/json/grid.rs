//! Columns whose rows are filled in any order, by whichever layer is sure of a record.
//!
//! All rows of a batch are there from the start, as NULLs. A row may be cleared and filled again, so no layer needs to
//! take back what another began.

use std::mem;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, PrimitiveArray, StringArray, StructArray, new_null_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::interleave;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};

use super::deferred::Read;
use super::minute::Minute;
use super::shape::{ROOT, Shape};
use crate::record::SqlType;

/// Marks a text that is not in the input but among those that were made.
pub(super) const MADE: u64 = 1 << 63;

/// The values of a batch, for each node.
pub(super) struct Grid {
    pub(super) leaves: Vec<Leaf>,
    /// Texts that differ from how they are written in the input.
    pub(super) made: Vec<u8>,
}

/// The values of a node, a row each.
pub(super) struct Leaf {
    /// 1 where there is a value, 0 where it is NULL.
    pub(super) valid: Vec<u8>,
    pub(super) values: Values,
}

pub(super) enum Values {
    /// 1 is true.
    Boolean(Vec<u8>),
    TinyInt(Vec<i8>),
    SmallInt(Vec<i16>),
    Int(Vec<i32>),
    BigInt(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: u8,
    },
    /// Where the texts are: the offset in the upper half, the length in the lower, see [`MADE`].
    String(Vec<u64>),
    Date(Vec<i32>),
    Time {
        values: Vec<i32>,
        precision: u8,
    },
    Timestamp {
        values: Vec<i64>,
        unit: TimeUnit,
        precision: u8,
        zoned: bool,
        minute: Minute,
    },
    Row,
    /// What only the exact layer reads: where the values are, as with strings; 0 where there is none.
    Other(Vec<u64>),
}

/// Rows that the exact layer decoded: the row of the batch and that of the layer's columns.
pub(super) struct Exact<'a> {
    pub(super) rows: &'a [(usize, usize)],
    pub(super) columns: &'a [ArrayRef],
}

impl Values {
    fn new(data_type: &SqlType) -> Self {
        match data_type {
            SqlType::Boolean => Self::Boolean(Vec::new()),
            SqlType::TinyInt => Self::TinyInt(Vec::new()),
            SqlType::SmallInt => Self::SmallInt(Vec::new()),
            SqlType::Int => Self::Int(Vec::new()),
            SqlType::BigInt => Self::BigInt(Vec::new()),
            SqlType::Float => Self::Float(Vec::new()),
            SqlType::Double => Self::Double(Vec::new()),
            SqlType::Decimal(precision, scale) => {
                Self::Decimal { values: Vec::new(), precision: *precision, scale: *scale }
            }
            SqlType::String => Self::String(Vec::new()),
            SqlType::Date => Self::Date(Vec::new()),
            SqlType::Time(precision) => Self::Time { values: Vec::new(), precision: *precision },
            SqlType::Timestamp(precision) | SqlType::TimestampLtz(precision) => {
                let DataType::Timestamp(unit, zone) = data_type.arrow() else {
                    unreachable!("timestamps are Arrow timestamps")
                };
                let (precision, zoned) = (*precision, zone.is_some());
                let minute = Minute::new(unit, precision, zoned);
                Self::Timestamp { values: Vec::new(), unit, precision, zoned, minute }
            }
            SqlType::Row(_) => Self::Row,
            SqlType::Null | SqlType::Bytes | SqlType::Array(..) | SqlType::Map(..) => Self::Other(Vec::new()),
        }
    }

    /// Makes room for this many values.
    fn start(&mut self, rows: usize) {
        match self {
            Self::Boolean(values) => restart(values, rows),
            Self::TinyInt(values) => restart(values, rows),
            Self::SmallInt(values) => restart(values, rows),
            Self::Int(values) | Self::Date(values) | Self::Time { values, .. } => restart(values, rows),
            Self::BigInt(values) | Self::Timestamp { values, .. } => restart(values, rows),
            Self::Float(values) => restart(values, rows),
            Self::Double(values) => restart(values, rows),
            Self::Decimal { values, .. } => restart(values, rows),
            Self::String(values) | Self::Other(values) => restart(values, rows),
            Self::Row => {}
        }
    }
}

fn restart<T: Clone + Default>(values: &mut Vec<T>, rows: usize) {
    values.clear();
    values.resize(rows, T::default());
}

impl Grid {
    pub(super) fn new(shape: &Shape) -> Self {
        let leaf = |data_type: &SqlType| Leaf { valid: Vec::new(), values: Values::new(data_type) };
        Self { leaves: shape.nodes.iter().map(|node| leaf(&node.data_type)).collect(), made: Vec::new() }
    }

    /// Begins a batch of this many rows.
    pub(super) fn start(&mut self, rows: usize) {
        self.made.clear();
        for leaf in &mut self.leaves {
            restart(&mut leaf.valid, rows);
            leaf.values.start(rows);
        }
    }

    /// Makes a row all NULL again.
    pub(super) fn clear(&mut self, row: usize) {
        for leaf in &mut self.leaves {
            leaf.valid[row] = 0;
            if let Values::Other(places) = &mut leaf.values {
                places[row] = 0;
            }
        }
    }

    /// The columns of the batch, whose texts are in `source`.
    pub(super) fn finish(
        &mut self,
        shape: &Shape,
        rows: usize,
        source: &[u8],
        exact: &Exact<'_>,
        deferred: &[Read],
    ) -> Vec<ArrayRef> {
        let children = &shape.nodes[ROOT].children;
        let mut finish = Finish { shape, rows, source, exact_rows: exact.rows, deferred, grid: self };
        children
            .iter()
            .enumerate()
            .map(|(column, child)| finish.array(*child, exact.columns.get(column)))
            .collect()
    }
}

/// What the columns are made of.
struct Finish<'a> {
    shape: &'a Shape,
    rows: usize,
    source: &'a [u8],
    exact_rows: &'a [(usize, usize)],
    deferred: &'a [Read],
    grid: &'a mut Grid,
}

impl Finish<'_> {
    /// A node's values, given those that the exact layer has.
    fn array(&mut self, node: usize, exact: Option<&ArrayRef>) -> ArrayRef {
        let leaf = &mut self.grid.leaves[node];
        let nulls = nulls(&leaf.valid);
        let exact_struct = exact.and_then(|array| array.as_any().downcast_ref::<StructArray>());
        match &mut leaf.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(pack(values), nulls)),
            Values::TinyInt(values) => primitive::<Int8Type>(values, nulls),
            Values::SmallInt(values) => primitive::<Int16Type>(values, nulls),
            Values::Int(values) => primitive::<Int32Type>(values, nulls),
            Values::BigInt(values) => primitive::<Int64Type>(values, nulls),
            Values::Float(values) => primitive::<Float32Type>(values, nulls),
            Values::Double(values) => primitive::<Float64Type>(values, nulls),
            Values::Date(values) => primitive::<Date32Type>(values, nulls),
            Values::Time { values, .. } => primitive::<Time32MillisecondType>(values, nulls),
            Values::Decimal { values, precision, scale } => {
                let array = Decimal128Array::new(ScalarBuffer::from(mem::take(values)), nulls);
                let array = array.with_precision_and_scale(*precision, scale.cast_signed());
                Arc::new(array.expect("the type's own precision and scale"))
            }
            Values::String(values) => texts(values, nulls, self.source, &self.grid.made),
            Values::Timestamp { values, unit, zoned, .. } => timestamps(values, nulls, *unit, *zoned),
            Values::Other(_) => self.others(node, exact),
            Values::Row => {
                let children = self.shape.nodes[node].children.iter().enumerate();
                let child = |(index, child): (usize, &usize)| {
                    self.array(*child, exact_struct.map(|array| array.column(index)))
                };
                let columns: Vec<ArrayRef> = children.map(child).collect();
                let DataType::Struct(fields) = self.shape.nodes[node].data_type.arrow() else {
                    unreachable!("rows are Arrow structs")
                };
                let row = StructArray::try_new_with_length(fields, columns, nulls, self.rows);
                Arc::new(row.expect("fields and NULLs were filled together"))
            }
        }
    }

    /// Values that the exact layer read, of whole records or alone; elsewhere they are NULL.
    fn others<'e>(&'e self, node: usize, exact: Option<&'e ArrayRef>) -> ArrayRef {
        let null = new_null_array(&self.shape.nodes[node].data_type.arrow(), 1);
        let mut arrays: Vec<&dyn Array> = vec![&null];
        let mut places = vec![(0, 0); self.rows];
        let mut add = |array: &'e ArrayRef, rows: &[(usize, usize)]| {
            for (row, place) in rows {
                places[*row] = (arrays.len(), *place);
            }
            arrays.push(array);
        };
        if let Some(exact) = exact {
            add(exact, self.exact_rows);
        }
        if let Some(read) = self.deferred.iter().find(|read| read.node == node) {
            add(&read.values, &read.rows);
        }
        interleave(&arrays, &places).expect("arrays of one type, and places within them")
    }
}

/// Eight bytes of 0 or 1 as bits.
#[inline]
fn bits(bytes: [u8; 8]) -> u8 {
    u64::from_le_bytes(bytes).wrapping_mul(0x0102_0408_1020_4080).to_le_bytes()[7]
}

/// Bytes of 0 or 1 as a bitmap.
fn pack(values: &[u8]) -> BooleanBuffer {
    let (eights, rest) = values.as_chunks::<8>();
    let mut packed = Vec::with_capacity(eights.len() + 1);
    packed.extend(eights.iter().map(|eight| bits(*eight)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    packed.push(bits(last));
    BooleanBuffer::new(Buffer::from_vec(packed), 0, values.len())
}

/// The NULLs, if there are any.
fn nulls(valid: &[u8]) -> Option<NullBuffer> {
    let all = valid.iter().fold(1, |all, valid| all & valid) == 1;
    (!all).then(|| NullBuffer::new(pack(valid)))
}

fn primitive<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(mem::take(values)), nulls))
}

fn timestamps(values: &mut Vec<i64>, nulls: Option<NullBuffer>, unit: TimeUnit, zoned: bool) -> ArrayRef {
    fn of<T: ArrowPrimitiveType<Native = i64> + arrow::datatypes::ArrowTimestampType>(
        values: ScalarBuffer<i64>,
        nulls: Option<NullBuffer>,
        zoned: bool,
    ) -> ArrayRef {
        let array = PrimitiveArray::<T>::new(values, nulls);
        if zoned { Arc::new(array.with_timezone("+00:00")) } else { Arc::new(array) }
    }
    let values = ScalarBuffer::from(mem::take(values));
    match unit {
        TimeUnit::Second | TimeUnit::Millisecond => of::<TimestampMillisecondType>(values, nulls, zoned),
        TimeUnit::Microsecond => of::<TimestampMicrosecondType>(values, nulls, zoned),
        TimeUnit::Nanosecond => of::<TimestampNanosecondType>(values, nulls, zoned),
    }
}

/// How many bytes of a text are copied at a time.
const STEP: usize = 32;

/// The texts, one behind the other; rows that are NULL have the empty one, whatever they were filled with.
fn texts(places: &[u64], nulls: Option<NullBuffer>, source: &[u8], made: &[u8]) -> ArrayRef {
    let length_of = |place: u64| (place & 0xffff_ffff) as usize;
    let total: usize = places.iter().map(|place| length_of(*place)).sum();
    let mut bytes = Vec::with_capacity(total + STEP);
    let mut offsets = Vec::with_capacity(places.len() + 1);
    offsets.push(0);
    for (row, place) in places.iter().enumerate() {
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            let from = if place & MADE == 0 { source } else { made };
            let start = ((place & !MADE) >> 32) as usize;
            push(from, start, length_of(*place), &mut bytes);
        }
        offsets.push(i32::try_from(bytes.len()).expect("a batch is not longer than offsets reach"));
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let array = StringArray::try_new(offsets, Buffer::from_vec(bytes), nulls);
    Arc::new(array.expect("each text was checked, or is a part of a checked one between ASCII characters"))
}

/// Appends a text, by steps of one size where what follows it may be copied too.
#[inline]
fn push(from: &[u8], start: usize, length: usize, to: &mut Vec<u8>) {
    let end = to.len() + length;
    let mut done = 0;
    while done < length {
        let rest = &from[start + done..];
        match rest.first_chunk::<STEP>() {
            Some(step) => to.extend_from_slice(step),
            None => to.extend_from_slice(&rest[..length - done]),
        }
        done += STEP;
    }
    to.truncate(end);
}
