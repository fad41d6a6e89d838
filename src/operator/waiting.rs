//! Rows that wait until the watermark passes their time, taken in the order of (time, arrival).
//!
//! Rows stay in the batches they came in, and a heap of (time, number of arrival) says which is next. Where few rows of
//! many batches are left (a row far in the future holds a whole batch), the rest is gathered into batches anew, so that
//! memory is never more than a few times what waits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::compute::{interleave, take};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};

use super::late::Lateness;
use super::work::position_of;
use super::{Context, Flow};
use crate::error::{Place, Problem, Problems};
use crate::record::Batch;
use crate::time::{SegmentClock, WATERMARK_MIN};

/// Fewer rows than this are never worth gathering.
const GATHER_ROWS_MIN: usize = 16 * Batch::ROWS_MAX;

/// How many rows are taken at once, apart from rows of equal time, which are never parted.
const CHUNK_ROWS: usize = 8 * Batch::ROWS_MAX;

/// What is picked at once has to stay below the 2 GiB that the offsets of a column of text reach.
const PICKED_BYTES_MAX: usize = 1 << 30;

/// The rows that wait on one shard.
pub(super) struct Waiting {
    schema: SchemaRef,
    /// By the number of their first row.
    pieces: BTreeMap<u64, Piece>,
    /// (event time, number of arrival) of every row that waits.
    order: BinaryHeap<Reverse<(i64, u64)>>,
    /// The number that the next row gets.
    next: u64,
    /// Rows in the pieces, waiting or not.
    held_rows: usize,
    bytes: usize,
    view: Option<View>,
    /// The places in the order of arrival that saved rows had, of those taken in by [`Waiting::load`].
    loaded: Vec<i64>,
}

/// The rows that waited at a barrier. Pieces do not change: one that goes is put aside.
struct View {
    /// The rows that waited are later than this, milliseconds; none where all did.
    watermark_ms: Option<i64>,
    /// The numbers of the pieces that have not been captured.
    numbers: Range<u64>,
    /// Those of them that have gone.
    aside: BTreeMap<u64, Piece>,
    aside_bytes: usize,
}

/// Rows of pieces, with their numbers.
pub(super) struct Picks {
    pub columns: Vec<ArrayRef>,
    pub times: Int64Array,
    pub numbers: Vec<u64>,
}

/// Rows that are numbered one after the other.
struct Piece {
    columns: Vec<ArrayRef>,
    times: Int64Array,
    hashes: UInt64Array,
    /// How many of them still wait.
    waiting: usize,
    bytes: usize,
}

/// Rows that have come due, in their order.
pub(super) struct Due {
    pub rows: RecordBatch,
    /// Their event times, milliseconds, ascending.
    pub times: Vec<i64>,
    /// The hashes of their keys.
    pub hashes: UInt64Array,
}

impl Waiting {
    /// No rows; those to come have this schema.
    pub fn new(schema: SchemaRef) -> Self {
        let (pieces, order) = (BTreeMap::new(), BinaryHeap::new());
        Self { schema, pieces, order, next: 0, held_rows: 0, bytes: 0, view: None, loaded: Vec::new() }
    }

    /// Takes rows of a segment in, and sets those aside that are late: whether one is late is decided by the watermark
    /// that the rows before it in its split have made, or by `watermark_ms` where the operator's is higher.
    pub fn take_in(
        &mut self,
        batch: &Batch,
        rows: Range<usize>,
        clock: &SegmentClock,
        watermark_ms: i64,
        late: &Lateness,
        context: &mut Context,
    ) {
        if rows.is_empty() {
            return;
        }
        let times = batch.times.as_ref().expect("the step was resolved with event time");
        let seen_ms = times.seen_ms.as_ref().map(|seen| seen.values().as_ref());
        let base_ms = clock.watermark_ms(i64::MIN);
        let is_late = |row: &u32| {
            let row = *row as usize;
            let met_ms = seen_ms.map_or(base_ms, |seen: &[i64]| clock.watermark_ms(seen[row]));
            let watermark_ms = met_ms.max(watermark_ms);
            watermark_ms > WATERMARK_MIN && times.at_ms.value(row) <= watermark_ms
        };
        let (behind, timely): (Vec<u32>, Vec<u32>) = rows.map(position_of).partition(is_late);
        self.add(batch, &timely);
        late.tell(batch, behind, context);
    }

    /// Adds these rows of a batch, which has times and hashes.
    pub fn add(&mut self, batch: &Batch, rows: &[u32]) {
        let Some((first, last)) = rows.first().zip(rows.last()) else { return };
        let times = batch.times.as_ref().expect("the step was resolved with event time");
        let hashes = batch.hashes.as_ref().expect("an exchange has hashed the keys");
        let stretch = (last - first) as usize + 1 == rows.len();
        let positions = UInt32Array::from(rows.to_vec());
        let pick = |array: &dyn Array| -> ArrayRef {
            if stretch {
                return array.slice(*first as usize, rows.len());
            }
            take(array, &positions, None).expect("the positions are inside the batch")
        };
        let columns = batch.rows.columns().iter().map(|column| pick(column.as_ref())).collect();
        let times: Int64Array = pick(&times.at_ms).to_data().into();
        self.hold(columns, times, pick(hashes).to_data().into());
    }

    fn hold(&mut self, columns: Vec<ArrayRef>, times: Int64Array, hashes: UInt64Array) {
        let rows = times.len();
        let numbers = self.next..;
        self.order.extend(times.values().iter().zip(numbers).map(|(time, number)| Reverse((*time, number))));
        let of_column = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or_default();
        let bytes =
            columns.iter().map(of_column).sum::<usize>() + rows * (size_of::<i64>() + size_of::<u64>());
        self.pieces.insert(self.next, Piece { columns, times, hashes, waiting: rows, bytes });
        self.next += rows as u64;
        self.held_rows += rows;
        self.bytes += bytes;
    }

    /// How many rows wait.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The time of the row that is next to come due, milliseconds.
    pub fn next_ms(&self) -> Option<i64> {
        self.order.peek().map(|Reverse((time, _))| *time)
    }

    /// The heap bytes held, about.
    pub fn bytes(&self) -> usize {
        let aside = self.view.as_ref().map_or(0, |view| view.aside_bytes);
        self.bytes + self.order.capacity() * size_of::<Reverse<(i64, u64)>>() + aside
    }

    /// Takes the next rows whose time is at or below the watermark, some thousand; rows of equal time come together
    /// (unless they are larger than any column may be). None once none is due.
    pub fn take_due(&mut self, watermark_ms: i64) -> Option<Due> {
        let Self { pieces, order, .. } = self;
        let mut picked = Picked::of(pieces);
        let (mut numbers, mut last_ms) = (Vec::new(), watermark_ms);
        while let Some(Reverse((time, number))) = order.peek().copied() {
            let full = numbers.len() >= CHUNK_ROWS && time > last_ms;
            if time > watermark_ms || full || !picked.add(number) {
                break;
            }
            order.pop();
            numbers.push(number);
            last_ms = time;
        }
        if numbers.is_empty() {
            return None;
        }
        let (columns, times, hashes) = picked.gather(self.schema.fields().len());
        self.release(&numbers);
        let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .expect("rows keep their types");
        Some(Due { rows, times: times.values().to_vec(), hashes })
    }

    /// Drops the pieces that none of whose rows waits any more.
    fn release(&mut self, numbers: &[u64]) {
        for number in numbers {
            let found = self.pieces.range_mut(..=*number).next_back();
            let (first, piece) = found.expect("the row was just gathered");
            piece.waiting -= 1;
            if piece.waiting == 0 {
                self.held_rows -= piece.times.len();
                self.bytes -= piece.bytes;
                let first = *first;
                let gone = self.pieces.remove(&first);
                if let Some(view) = &mut self.view {
                    view.put_aside(gone.map(|piece| (first, piece)));
                }
            }
        }
        if self.held_rows > GATHER_ROWS_MIN.max(4 * self.order.len()) {
            self.gather_anew();
        }
    }

    /// Moves the rows that wait into new pieces, in the order of their arrival, and numbers them from 0.
    fn gather_anew(&mut self) {
        let mut numbers: Vec<u64> = self.order.drain().map(|Reverse((_, number))| number).collect();
        numbers.sort_unstable();
        self.gather_in(&numbers);
    }

    /// Moves these rows, which are all that wait, into new pieces in this order, and numbers them from 0.
    fn gather_in(&mut self, numbers: &[u64]) {
        let mut anew = Self::new(self.schema.clone());
        let mut rest = numbers;
        while !rest.is_empty() {
            let mut picked = Picked::of(&self.pieces);
            let most = rest.len().min(Batch::ROWS_MAX);
            let count = rest[..most].iter().take_while(|number| picked.add(**number)).count();
            let (columns, times, hashes) = picked.gather(self.schema.fields().len());
            anew.hold(columns, times, hashes);
            rest = &rest[count..];
        }
        anew.view = self.view.take();
        if let Some(view) = &mut anew.view {
            view.put_aside(std::mem::take(&mut self.pieces));
            view.numbers = 0..0;
        }
        *self = anew;
    }

    /// Begins a view of the rows that wait: those later than the watermark, which has been passed by all others.
    pub fn begin_view(&mut self, watermark_ms: i64) {
        let watermark_ms = Some(watermark_ms).filter(|watermark_ms| *watermark_ms != WATERMARK_MIN);
        let (aside, aside_bytes) = (BTreeMap::new(), 0);
        self.view = Some(View { watermark_ms, numbers: 0..self.next, aside, aside_bytes });
    }

    /// Gives the view up.
    pub fn end_view(&mut self) {
        self.view = None;
    }

    /// The next rows of the view, about so many; none once there are no more, which ends the view.
    pub fn capture(&mut self, rows: usize) -> Option<Picks> {
        loop {
            let view = self.view.as_ref()?;
            let from_aside = !view.aside.is_empty();
            let (pieces, range) =
                if from_aside { (&view.aside, 0..u64::MAX) } else { (&self.pieces, view.numbers.clone()) };
            let (mut picked, mut numbers, mut next) = (Picked::of(pieces), Vec::new(), range.end);
            for (first, piece) in pieces.range(range) {
                if numbers.len() >= rows || !view.pick(*first, piece, &mut picked, &mut numbers) {
                    next = *first;
                    break;
                }
            }
            let gathered = (!numbers.is_empty()).then(|| picked.gather(self.schema.fields().len()));
            let view = self.view.as_mut()?;
            if from_aside {
                view.drop_aside(next);
            } else {
                view.numbers.start = next;
            }
            if let Some((columns, times, _)) = gathered {
                return Some(Picks { columns, times, numbers });
            }
            if !from_aside {
                self.view = None;
            }
        }
    }

    /// Takes saved rows in, in any order: `arrivals` are the numbers that they had.
    pub fn load(&mut self, columns: Vec<ArrayRef>, times: &[i64], hashes: Vec<u64>, arrivals: &[i64]) {
        self.loaded.extend_from_slice(arrivals);
        self.hold(columns, times.to_vec().into(), hashes.into());
    }

    /// All saved rows have been taken in: puts them into the order in which they once arrived.
    pub fn loaded(&mut self) {
        let arrivals = std::mem::take(&mut self.loaded);
        let mut numbers: Vec<u64> = (0..arrivals.len() as u64).collect();
        numbers.sort_by_key(|number| arrivals[usize::try_from(*number).expect("there are as many")]);
        self.gather_in(&numbers);
    }
}

impl View {
    /// Keeps those of these pieces that have not been captured.
    fn put_aside(&mut self, pieces: impl IntoIterator<Item = (u64, Piece)>) {
        for (first, piece) in pieces {
            if self.numbers.contains(&first) {
                self.aside_bytes += piece.bytes;
                self.aside.insert(first, piece);
            }
        }
    }

    /// Forgets the pieces put aside before this number.
    fn drop_aside(&mut self, next: u64) {
        let behind = self.aside.split_off(&next);
        let captured = std::mem::replace(&mut self.aside, behind);
        self.aside_bytes -= captured.values().map(|piece| piece.bytes).sum::<usize>();
    }

    /// Picks the rows of a piece that waited; false where they would not fit into a column with the others any more.
    fn pick<'a>(
        &self,
        first: u64,
        piece: &'a Piece,
        picked: &mut Picked<'a>,
        numbers: &mut Vec<u64>,
    ) -> bool {
        let before = numbers.len();
        for (number, time_ms) in (first..).zip(piece.times.values()) {
            if self.watermark_ms.is_none_or(|watermark_ms| *time_ms > watermark_ms) {
                if !picked.add(number) {
                    debug_assert_eq!(numbers.len(), before, "a piece fits as a whole or not at all");
                    return false;
                }
                numbers.push(number);
            }
        }
        true
    }
}

/// Rows picked out of pieces, in the order of picking.
struct Picked<'a> {
    pieces: &'a BTreeMap<u64, Piece>,
    used: Vec<&'a Piece>,
    /// By the number of a piece's first row, its place in `used`.
    place_of: BTreeMap<u64, usize>,
    /// For each row its piece and its place in that.
    places: Vec<(usize, usize)>,
    /// The piece of the row picked last: the numbers of its rows, and its place.
    last: (Range<u64>, usize),
    /// The bytes of all pieces used: never less than what is picked of them.
    bytes: usize,
}

impl<'a> Picked<'a> {
    fn of(pieces: &'a BTreeMap<u64, Piece>) -> Self {
        let (used, place_of, places) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { pieces, used, place_of, places, last: (0..0, 0), bytes: 0 }
    }

    /// Picks a row; false where it would not fit into a column with the others any more.
    fn add(&mut self, number: u64) -> bool {
        if !self.last.0.contains(&number) {
            let found = self.pieces.range(..=number).next_back();
            let (first, piece) = found.expect("a row that waits is in a piece");
            if !self.place_of.contains_key(first) {
                if !self.used.is_empty() && self.bytes + piece.bytes > PICKED_BYTES_MAX {
                    return false;
                }
                self.bytes += piece.bytes;
                self.place_of.insert(*first, self.used.len());
                self.used.push(piece);
            }
            self.last = (*first..first + piece.times.len() as u64, self.place_of[first]);
        }
        let row = usize::try_from(number - self.last.0.start).expect("a piece is far below 4 G rows");
        self.places.push((self.last.1, row));
        true
    }

    /// The rows: these many columns, their times, their hashes.
    fn gather(self, columns: usize) -> (Vec<ArrayRef>, Int64Array, UInt64Array) {
        let pick = |array: &dyn Fn(&'a Piece) -> &'a dyn Array| {
            let arrays: Vec<&dyn Array> = self.used.iter().map(|piece| array(piece)).collect();
            interleave(&arrays, &self.places).expect("what is picked is below the size of a column")
        };
        let column = |index: usize| pick(&move |piece| piece.columns[index].as_ref());
        let columns = (0..columns).map(column).collect();
        let (times, hashes) = (pick(&|piece| &piece.times), pick(&|piece| &piece.hashes));
        (columns, times.to_data().into(), hashes.to_data().into())
    }
}

impl Due {
    /// Puts rows of equal time into the order of these columns, for input without an order of arrival.
    pub fn break_ties(self, columns: usize) -> Self {
        if columns == 0 || self.times.windows(2).all(|pair| pair[0] != pair[1]) {
            return self;
        }
        let columns = &self.rows.columns()[..columns];
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
        let keys = RowConverter::new(fields).and_then(|converter| converter.convert_columns(columns));
        let keys = keys.expect("the check has asked whether the columns can be compared");
        let mut order: Vec<u32> = (0..).take(self.times.len()).collect();
        order.sort_by(|a, b| {
            let (a, b) = (*a as usize, *b as usize);
            self.times[a].cmp(&self.times[b]).then_with(|| keys.row(a).cmp(&keys.row(b)))
        });
        let positions = UInt32Array::from(order);
        let pick = |array: &dyn Array| take(array, &positions, None).expect("a permutation of the rows");
        let columns: Vec<ArrayRef> = self.rows.columns().iter().map(|column| pick(column.as_ref())).collect();
        let rows = RecordBatch::try_new(self.rows.schema(), columns).expect("rows keep their types");
        Self { rows, times: self.times, hashes: pick(&self.hashes).to_data().into() }
    }
}

/// Reports a column that rows cannot be compared by where they arrive in no defined order: there their columns decide
/// among rows of equal time.
pub(super) fn check_comparable(input: &Flow, at: Place, problems: &mut Problems) -> Option<()> {
    let found = incomparable(input.schema.arrow()).filter(|_| !input.ordered);
    let Some(column) = found else { return Some(()) };
    problems.push(
        Problem::error(
            at,
            format!("rows of equal time have no order here, and `{}` cannot be compared", column.name()),
        )
        .help("leave the column out before this step"),
    );
    None
}

/// The first of these columns that rows cannot be compared by.
fn incomparable(schema: &SchemaRef) -> Option<&Arc<arrow::datatypes::Field>> {
    let can = |field: &&Arc<arrow::datatypes::Field>| {
        !RowConverter::supports_fields(&[SortField::new(field.data_type().clone())])
    };
    schema.fields().iter().find(can)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use arrow::array::AsArray;
    use arrow::compute::take_record_batch;
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::codec::Decode;
    use crate::codec::framing::frame_lines;
    use crate::codec::json::JsonDecoder;
    use crate::record::{Column, EventTimes, Schema, SqlType, parse_type};

    fn schema() -> Schema {
        Schema::new(vec![Column::new("id", SqlType::BigInt, true)])
    }

    fn batch(from: i64, times: &[i64]) -> Batch {
        let ids: Int64Array = (from..).take(times.len()).collect::<Vec<_>>().into();
        let rows = RecordBatch::try_new(schema().arrow().clone(), vec![Arc::new(ids)]).unwrap();
        let mut batch = Batch::of_rows(rows, 0);
        batch.times = Some(EventTimes { at_ms: times.to_vec().into(), seen_ms: None });
        batch.hashes =
            Some((0..).map(|n| n + from.unsigned_abs()).take(times.len()).collect::<Vec<_>>().into());
        batch
    }

    /// Takes what is due and compares it, with the set of (time, id) of the rows that wait.
    fn check_due(waiting: &mut Waiting, model: &mut BTreeSet<(i64, i64)>, watermark_ms: i64) {
        let mut last_ms = i64::MIN;
        while let Some(due) = waiting.take_due(watermark_ms) {
            let ids = due.rows.column(0).as_primitive::<Int64Type>().values();
            assert!(due.times[0] > last_ms, "rows of equal time come together");
            last_ms = *due.times.last().unwrap();
            for ((time, id), hash) in due.times.iter().zip(ids).zip(due.hashes.values()) {
                assert_eq!(model.pop_first(), Some((*time, *id)));
                assert_eq!(*hash, id.unsigned_abs());
            }
        }
        assert!(model.first().is_none_or(|(time, _)| *time > watermark_ms));
        assert_eq!(waiting.len(), model.len());
        assert!(waiting.held_rows <= GATHER_ROWS_MIN.max(4 * model.len()) + Batch::ROWS_MAX);
    }

    #[test]
    fn rows_come_in_the_order_of_time_and_arrival() {
        let mut random = fastrand::Rng::with_seed(3);
        for far_of_256 in [0, 3, 200] {
            let (mut waiting, mut model) = (Waiting::new(schema().arrow().clone()), BTreeSet::new());
            let mut next = 0;
            for round in 0..150 {
                let count = random.usize(1..=Batch::ROWS_MAX);
                let far = |random: &mut fastrand::Rng| random.u8(..) < far_of_256;
                let times: Vec<i64> = (0..count)
                    .map(|_| round * 10 + if far(&mut random) { 900 } else { random.i64(0..30) })
                    .collect();
                let taken: Vec<u32> = match round % 3 {
                    0 => (0..).take(count).collect(),
                    _ => (0..).take(count).filter(|_| random.u8(..) < 250).collect(),
                };
                waiting.add(&batch(next, &times), &taken);
                model.extend(taken.iter().map(|row| (times[*row as usize], next + i64::from(*row))));
                next += count.cast_signed() as i64;
                if random.u8(..) < 128 {
                    check_due(&mut waiting, &mut model, round * 10 - 5);
                }
            }
            check_due(&mut waiting, &mut model, i64::MAX);
            assert_eq!((waiting.held_rows, waiting.bytes, waiting.pieces.len()), (0, 0, 0));
        }
    }

    #[test]
    fn a_view_is_the_rows_that_waited_whatever_comes_meanwhile() {
        let mut random = fastrand::Rng::with_seed(5);
        let (mut waiting, mut model) = (Waiting::new(schema().arrow().clone()), BTreeSet::new());
        let (mut next, mut views, mut gathered, mut aside) = (0, 0, 0, 0);
        // The rows of the view, and those that have been captured.
        let mut view: Option<[BTreeSet<(i64, i64)>; 2]> = None;
        for round in 0..600 {
            let count = random.usize(1..=Batch::ROWS_MAX);
            let near = if round % 100 < 50 { 250 } else { 5 };
            let time = |random: &mut fastrand::Rng| if random.u8(..) < near { 0 } else { random.i64(0..400) };
            let times: Vec<i64> = (0..count).map(|_| round * 10 + time(&mut random)).collect();
            waiting.add(&batch(next, &times), &(0..).take(count).collect::<Vec<_>>());
            model.extend(times.iter().zip(next..).map(|(time, id)| (*time, id)));
            next += count.cast_signed() as i64;
            let held = waiting.held_rows;
            check_due(&mut waiting, &mut model, round * 10 + 5);
            gathered += usize::from(waiting.held_rows + 8 * Batch::ROWS_MAX < held);
            let [expect, found] = view.get_or_insert_with(|| {
                waiting.begin_view(round * 10 + 5);
                [model.clone(), BTreeSet::new()]
            });
            aside += waiting.view.as_ref().map_or(0, |view| view.aside.len());
            if random.bool() {
                continue;
            }
            let Some(picks) = waiting.capture(random.usize(1..2000)) else {
                assert_eq!(found, expect);
                views += 1;
                view = None;
                continue;
            };
            let ids = picks.columns[0].as_primitive::<Int64Type>().values();
            assert!(picks.numbers.is_sorted() && picks.numbers.len() == ids.len());
            for row in picks.times.values().iter().copied().zip(ids.iter().copied()) {
                assert!(found.insert(row), "a row is captured once");
            }
        }
        assert!(views > 10 && gathered > 2 && aside > 20, "{views} views, {gathered}, {aside}");
    }

    #[test]
    fn columns_of_every_type_wait_and_break_ties() {
        let types =
            "ROW<m MAP<STRING, ARRAY<DECIMAL(5, 2)>>, d DATE, b BOOLEAN, f DOUBLE, z TIMESTAMP_LTZ(6)>";
        let (data_type, nullable) = parse_type(types).unwrap();
        let schema = Schema::new(vec![
            Column::new("nested", data_type, nullable),
            Column::new("bytes", SqlType::Bytes, true),
            Column::new("tags", SqlType::Array(Box::new(SqlType::String), true), true),
        ]);
        assert_eq!(incomparable(schema.arrow()), None);
        let lines = [
            r#"{"nested":{"m":{"b":[2.5,null]},"d":"2026-01-02","b":true,"f":0.5,"z":"2026-01-01T00:00:00Z"},"tags":["x"]}"#,
            r#"{"nested":{"m":{"a":[1]},"d":"2026-01-02"},"tags":["y",null]}"#,
            r#"{"nested":{"m":{"a":[1]},"d":"2026-01-02"},"tags":["x"]}"#,
            r#"{"nested":null,"tags":null}"#,
        ];
        let (text, mut spans) = (lines.join("\n"), Vec::new());
        frame_lines(text.as_bytes(), &mut spans);
        let rows = JsonDecoder::new(&schema).decode(text.as_bytes(), &spans, &mut Vec::new());
        assert_eq!(rows.num_rows(), 4);
        let sorted = |order: &[u32]| {
            let mut waiting = Waiting::new(schema.arrow().clone());
            for row in order {
                let mut batch = Batch::of_rows(rows.clone(), 0);
                batch.times = Some(EventTimes { at_ms: vec![7; 4].into(), seen_ms: None });
                batch.hashes = Some(vec![0; 4].into());
                waiting.add(&batch, &[*row]);
            }
            waiting.take_due(7).unwrap().break_ties(3).rows
        };
        assert_eq!(sorted(&[0, 1, 2, 3]), sorted(&[3, 1, 0, 2]));
        let expect = take_record_batch(&rows, &UInt32Array::from(vec![3, 2, 1, 0])).unwrap();
        assert_eq!(sorted(&[0, 1, 2, 3]), expect);
    }
}
