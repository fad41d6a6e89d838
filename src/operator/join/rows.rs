//! The rows that one side of a join keeps, in columns.
//!
//! They lie in pages of 1024 rows and have numbers by which they are found; a page all of whose rows have gone is let go, and
//! its numbers are used again. Rows come in batches, each a piece of a page. Sixteen pieces are put together as one, sixteen of
//! these again, and all when the page is full, so that a row is copied a few times at most however small the batches are.

use std::cell::Cell;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat, interleave, take};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use crate::operator::work::position_of;
use crate::record::Schema;

/// The number of no row.
pub(super) const NONE: u32 = u32::MAX;

/// Where a row of one side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// There is none.
    Nothing,
    /// It is kept under this number.
    Kept(u32),
    /// It has come: the place of its batch, and the row.
    Came(u32, u32),
}

/// Rows on a page.
pub(super) const PAGE: usize = 1024;

/// A page that holds about as many bytes takes no more rows: far below what a column can hold.
const PAGE_BYTES_MAX: usize = 256 << 20;

/// So many pieces of one level are put together.
const FAN_IN: usize = 16;

/// Rows in columns, by number.
pub(super) struct KeptRows {
    types: Vec<DataType>,
    pages: Vec<Page>,
    /// Pages without rows.
    free: Vec<u32>,
    /// The page that takes the next rows.
    open: Option<u32>,
    count: usize,
    heap_bytes: usize,
    /// Room for one number a page, all [`NONE`] between two uses.
    marks: Cell<Vec<u32>>,
}

#[derive(Default)]
struct Page {
    pieces: Vec<Piece>,
    /// What the pieces hold on the heap.
    bytes: usize,
    /// Rows that it has been given.
    len: usize,
    /// Rows that are still there.
    live: usize,
}

struct Piece {
    /// Where it begins on the page.
    start: usize,
    len: usize,
    columns: Vec<ArrayRef>,
    bytes: usize,
    /// How often its rows have been put together with others.
    level: u8,
}

impl Piece {
    /// These rows of a batch: a part of it as it is, which is copied when it is put together with others; else a copy.
    fn of(start: usize, columns: &[ArrayRef], positions: &[u32]) -> Self {
        let (first, len) = (positions[0] as usize, positions.len());
        if len < PAGE && positions[len - 1] as usize - first + 1 == len {
            let share = |column: &ArrayRef| column.get_array_memory_size() * len / column.len();
            let bytes = columns.iter().map(share).sum::<usize>() + size_of::<Self>();
            let columns = columns.iter().map(|column| column.slice(first, len)).collect();
            return Self { start, len, columns, bytes, level: 0 };
        }
        let rows = UInt32Array::from(positions.to_vec());
        let copy = |column: &ArrayRef| take(column, &rows, None).expect("the positions are in the columns");
        Self::new(start, len, columns.iter().map(copy).collect(), 0)
    }

    fn new(start: usize, len: usize, columns: Vec<ArrayRef>, level: u8) -> Self {
        let bytes = columns.iter().map(Array::get_array_memory_size).sum::<usize>();
        Self { start, len, columns, bytes: bytes + size_of::<Self>(), level }
    }
}

impl KeptRows {
    /// No rows of these columns.
    pub fn new(schema: &Schema) -> Self {
        let types = schema.arrow().fields().iter().map(|field| field.data_type().clone()).collect();
        Self {
            types,
            pages: Vec::new(),
            free: Vec::new(),
            open: None,
            count: 0,
            heap_bytes: 0,
            marks: Cell::default(),
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// All numbers are below this.
    pub fn capacity(&self) -> usize {
        self.pages.len() * PAGE
    }

    /// The heap bytes held, about. Takes no walk.
    pub fn bytes(&self) -> usize {
        self.heap_bytes + self.pages.capacity() * (size_of::<Page>() + size_of::<u32>())
    }

    /// Keeps the rows at these positions, which ascend, of columns that begin with those of the schema. Returns their numbers.
    /// The memory of the columns is held until the page is full, and no longer.
    pub fn add(&mut self, columns: &[ArrayRef], positions: &[u32]) -> Vec<u32> {
        let mut numbers = Vec::with_capacity(positions.len());
        let mut rest = positions;
        while !rest.is_empty() {
            let number = self.open.unwrap_or_else(|| self.open_page());
            self.open = Some(number);
            let page = &mut self.pages[number as usize];
            let (now, behind) = rest.split_at(rest.len().min(PAGE - page.len));
            let columns = &columns[..self.types.len()];
            let piece = Piece::of(page.len, columns, now);
            if page.len > 0 && page.bytes + piece.bytes > PAGE_BYTES_MAX {
                // Rows so large would not fit into one column together.
                self.open = None;
                continue;
            }
            let before = page.bytes;
            page.add(piece);
            let first = position_of(number as usize * PAGE + page.len);
            numbers.extend((first..).take(now.len()));
            page.len += now.len();
            page.live += now.len();
            page.put_together();
            self.heap_bytes = self.heap_bytes + page.bytes - before;
            if page.len == PAGE {
                self.open = None;
            }
            self.count += now.len();
            rest = behind;
        }
        numbers
    }

    fn open_page(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.pages.push(Page::default());
            position_of(self.pages.len() - 1)
        })
    }

    /// Lets a row go.
    pub fn remove(&mut self, number: u32) {
        let place = position_of(number as usize / PAGE);
        let page = &mut self.pages[place as usize];
        self.count -= 1;
        page.live -= 1;
        if page.live == 0 {
            self.heap_bytes -= page.bytes;
            *page = Page::default();
            if self.open != Some(place) {
                self.free.push(place);
            }
        }
    }

    /// These columns of the rows at these places, NULL where there is none; `came` are the batches by their places, as far
    /// as they are of this side.
    ///
    /// # Errors
    ///
    /// If they do not fit into one column.
    pub fn gather(
        &self,
        places: &[Place],
        came: &[Option<&RecordBatch>],
        columns: impl IntoIterator<Item = usize>,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        if let Some((batch, rows)) = rows_of_one(places) {
            let batch = came[batch].expect("rows of a side come in its batches");
            let pick = |column| take(batch.column(column), &rows, None);
            return columns.into_iter().map(pick).collect();
        }
        let mut arrays: Vec<&[ArrayRef]> = came.iter().flatten().map(|batch| batch.columns()).collect();
        let array_of = |batch: u32| came[..batch as usize].iter().flatten().count();
        let mut first_of_page = self.marks.take();
        first_of_page.resize(self.pages.len(), NONE);
        let mut has_none = false;
        let mut found = Vec::with_capacity(places.len());
        for place in places {
            found.push(match *place {
                Place::Nothing => {
                    has_none = true;
                    (usize::MAX, 0)
                }
                Place::Came(batch, row) => (array_of(batch), row as usize),
                Place::Kept(number) => {
                    let (page, row) = (number as usize / PAGE, number as usize % PAGE);
                    let pieces = &self.pages[page].pieces;
                    if first_of_page[page] == NONE {
                        first_of_page[page] = position_of(arrays.len());
                        arrays.extend(pieces.iter().map(|piece| piece.columns.as_slice()));
                    }
                    let piece = match pieces.as_slice() {
                        [_] => 0,
                        several => several.partition_point(|piece| piece.start <= row) - 1,
                    };
                    (first_of_page[page] as usize + piece, row - pieces[piece].start)
                }
            });
        }
        for place in places {
            if let Place::Kept(number) = place {
                first_of_page[*number as usize / PAGE] = NONE;
            }
        }
        self.marks.set(first_of_page);
        let nothing = arrays.len();
        if has_none {
            found.iter_mut().filter(|place| place.0 == usize::MAX).for_each(|place| place.0 = nothing);
        }
        let gathered = columns.into_iter().map(|column| {
            let nulls = has_none.then(|| new_null_array(&self.types[column], 1));
            let of_column = arrays.iter().map(|columns| columns[column].as_ref());
            let arrays: Vec<&dyn Array> = of_column.chain(nulls.as_deref()).collect();
            interleave(&arrays, &found)
        });
        gathered.collect()
    }

    /// All columns of one row.
    pub fn row(&self, number: u32) -> Vec<ArrayRef> {
        let row = number as usize % PAGE;
        let pieces = &self.pages[number as usize / PAGE].pieces;
        let piece = &pieces[pieces.partition_point(|piece| piece.start <= row) - 1];
        piece.columns.iter().map(|column| column.slice(row - piece.start, 1)).collect()
    }

    /// How many columns a row has.
    pub fn columns(&self) -> usize {
        self.types.len()
    }
}

impl Page {
    fn add(&mut self, piece: Piece) {
        self.bytes += piece.bytes;
        self.pieces.push(piece);
    }

    /// Puts pieces together: all of them when the page is full, else the last where there are enough of one level.
    fn put_together(&mut self) {
        loop {
            let level = self.pieces.last().map_or(0, |piece| piece.level);
            let alike = self.pieces.iter().rev().take_while(|piece| piece.level == level).count();
            let count = if self.len == PAGE { self.pieces.len() } else { alike };
            if count < 2 || count < FAN_IN && self.len < PAGE {
                return;
            }
            let together = self.pieces.split_off(self.pieces.len() - count);
            self.bytes -= together.iter().map(|piece| piece.bytes).sum::<usize>();
            let columns = (0..together[0].columns.len()).map(|column| {
                let parts: Vec<&dyn Array> =
                    together.iter().map(|piece| piece.columns[column].as_ref()).collect();
                concat(&parts).expect("columns of one type")
            });
            let len = together.iter().map(|piece| piece.len).sum();
            self.add(Piece::new(together[0].start, len, columns.collect(), level + 1));
        }
    }
}

/// The batch that all of these rows have come in and their positions, where that is so.
fn rows_of_one(places: &[Place]) -> Option<(usize, UInt32Array)> {
    let Some(Place::Came(first, _)) = places.first() else { return None };
    let rows = places.iter().map(|place| match place {
        Place::Came(batch, row) if batch == first => Some(*row),
        _ => None,
    });
    Some((*first as usize, rows.collect::<Option<Vec<u32>>>()?.into()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, StringArray, new_empty_array};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::record::{Column, SqlType};

    #[test]
    fn rows_are_found_by_their_numbers_whatever_comes_and_goes() {
        let schema = Schema::new(vec![
            Column::new("n", SqlType::BigInt, true),
            Column::new("text", SqlType::String, true),
        ]);
        let mut random = fastrand::Rng::with_seed(3);
        let mut rows = KeptRows::new(&schema);
        let mut model: Vec<(u32, i64)> = Vec::new();
        let mut next = 0;
        for round in 0..3000 {
            let count = random.i64(0..if round % 50 == 0 { 3000 } else { 8 });
            let values: Vec<i64> = (next..next + count).collect();
            next += count;
            let texts: Vec<String> = values.iter().map(|value| format!("text {value}")).collect();
            let columns: Vec<ArrayRef> =
                vec![Arc::new(Int64Array::from(values.clone())), Arc::new(StringArray::from(texts))];
            let positions: Vec<u32> = (0..).take(values.len()).filter(|_| random.u8(..) > 50).collect();
            let numbers = rows.add(&columns, &positions);
            model
                .extend(numbers.iter().zip(&positions).map(|(number, row)| (*number, values[*row as usize])));
            let leave = random.usize(..=model.len());
            if random.u8(0..10) == 0 {
                random.shuffle(&mut model);
                model.drain(leave..).for_each(|(number, _)| rows.remove(number));
            }
            assert_eq!(rows.len(), model.len());
            let chosen: Vec<(u32, Option<i64>)> = (0..random.usize(0..20))
                .map(|_| match random.choice(&model) {
                    Some((number, value)) if random.bool() => (*number, Some(*value)),
                    _ => (NONE, None),
                })
                .collect();
            let place = |number: u32| if number == NONE { Place::Nothing } else { Place::Kept(number) };
            let places: Vec<Place> = chosen.iter().map(|(number, _)| place(*number)).collect();
            let found = if places.is_empty() {
                vec![new_empty_array(&rows.types[1]), new_empty_array(&rows.types[0])]
            } else {
                rows.gather(&places, &[], [1, 0]).unwrap()
            };
            for (row, (number, value)) in chosen.iter().enumerate() {
                let n = found[1].as_primitive::<Int64Type>();
                assert_eq!(n.is_valid(row).then(|| n.value(row)), *value);
                let text = found[0].as_string::<i32>();
                assert_eq!(
                    text.is_valid(row).then(|| text.value(row).to_owned()),
                    value.map(|n| format!("text {n}"))
                );
                if let Some(value) = value {
                    assert_eq!(rows.row(*number)[0].as_primitive::<Int64Type>().value(0), *value);
                }
            }
        }
        let pieces = rows.pages.iter().flat_map(|page| &page.pieces);
        let walked: usize = pieces.map(|piece| piece.bytes).sum();
        assert_eq!(rows.heap_bytes, walked);
        model.drain(..).for_each(|(number, _)| rows.remove(number));
        assert_eq!((rows.len(), rows.heap_bytes), (0, 0));
    }
}
