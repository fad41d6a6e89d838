//! The frames of `over`: which rows each row's aggregates are made of, as what enters and what leaves, step by step.
//!
//! Due rows come in chunks, sorted by time. Within a chunk each key is gone through by itself; the n-th thing that
//! happens to any key goes into round n, so that one call of an accumulator serves all keys of a round. A frame keeps
//! only the columns that the aggregates read, in Arrow's row format: a row costs its bytes, not its share of a batch.

use std::mem::size_of;
use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::compute::concat;
use arrow::row::{RowConverter, Rows, SortField};

use crate::state::Pages;

/// Which rows a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All rows since the beginning, and the rows of equal time.
    All,
    /// The row and the rows before it, this many in all.
    Rows(usize),
    /// The rows not older than this, milliseconds, and the rows of equal time.
    Range(i64),
}

/// What happens to the frames of some keys at once: rows leave, rows enter, results are taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    /// The groups all of whose rows leave.
    pub emptied: Vec<u32>,
    /// Rows that leave others, and the group of each.
    pub leaving: Vec<u32>,
    pub leaving_groups: Vec<u32>,
    /// Rows that enter, and the group of each.
    pub entering: Vec<u32>,
    pub entering_groups: Vec<u32>,
    /// The groups whose results are taken, each once.
    pub groups: Vec<u32>,
}

/// What a chunk of due rows does.
pub(super) struct Plan {
    pub rounds: Vec<Round>,
    /// For each row the place of its result, over the groups of all rounds one behind the other.
    pub results: Vec<u32>,
    /// The columns that the aggregates read, of the chunk's rows and behind them of rows that leave.
    pub columns: Vec<ArrayRef>,
}

/// The frames of all keys of a shard, by group.
pub(super) struct Frames {
    extent: Extent,
    by_group: Pages<Frame>,
    /// None where the aggregates read no column.
    converter: Option<RowConverter>,
    /// The heap bytes of the frames' entries.
    bytes: usize,
    /// Saved rows that came before those that are before them in their frame.
    loading: Loading,
}

/// Rows that are to be put into frames.
#[derive(Default)]
struct Loading {
    /// The group, the place in its frame, the time, and where in the bytes the row is.
    rows: Vec<(u32, i64, i64, Range<usize>)>,
    bytes: Vec<u8>,
}

/// The rows of one key that are in its frame, oldest first: event time (8 bytes), length (4 bytes), the row.
#[derive(Default)]
pub(super) struct Frame {
    entries: Vec<u8>,
    /// Where the oldest entry begins.
    head: usize,
    /// How many entries.
    rows: usize,
    newest_ms: i64,
}

const TIME_BYTES: usize = size_of::<i64>();
const HEADER_BYTES: usize = TIME_BYTES + size_of::<u32>();

/// A key's way through one chunk.
struct Walk<'a> {
    extent: Extent,
    group: u32,
    /// The key's rows of the chunk.
    rows: &'a [u32],
    times: &'a [i64],
    /// How many rows of the chunk have entered, and how many of these have left.
    entered: usize,
    left: usize,
}

impl Frames {
    /// No frames, of rows of these columns.
    pub fn new(extent: Extent, columns: &[arrow::datatypes::DataType]) -> Self {
        let fields: Vec<SortField> = columns.iter().map(|column| SortField::new(column.clone())).collect();
        let converter = (!fields.is_empty() && extent != Extent::All)
            .then(|| RowConverter::new(fields).expect("the check has asked whether rows can be kept"));
        Self { extent, by_group: Pages::default(), converter, bytes: 0, loading: Loading::default() }
    }

    /// Takes in a chunk of rows in the order of their times: the columns that aggregates read, and for each row its
    /// time and the group of its key. All groups are below `capacity`.
    pub fn pass(&mut self, columns: &[ArrayRef], times: &[i64], groups: &[u32], capacity: usize) -> Plan {
        if self.extent != Extent::All && self.by_group.len() < capacity {
            self.by_group.resize(capacity);
        }
        let mut by_key: Vec<u32> = (0..).take(groups.len()).collect();
        by_key.sort_by_key(|row| groups[*row as usize]);
        let mut rounds: Vec<Round> = Vec::new();
        // The round and the place in it of each row's result.
        let mut taken = vec![(0, 0); times.len()];
        let mut old = Old { first: times.len(), bytes: Vec::new(), ends: Vec::new() };
        let mut stay: Vec<(u32, &[u32])> = Vec::new();
        for rows in by_key.chunk_by(|a, b| groups[*a as usize] == groups[*b as usize]) {
            let group = groups[rows[0] as usize];
            let mut walk = Walk { extent: self.extent, group, rows, times, entered: 0, left: 0 };
            let frame = (self.extent != Extent::All).then(|| &mut self.by_group[group as usize]);
            walk.go(frame, &mut old, &mut rounds, &mut taken);
            stay.push((group, &rows[walk.left..]));
        }
        self.keep(columns, times, &stay);
        let columns = self.with_old(columns, &old);
        Plan { results: places(&rounds, &taken), rounds, columns }
    }

    /// Writes the rows that are in their frames at the end of a chunk.
    fn keep(&mut self, columns: &[ArrayRef], times: &[i64], stay: &[(u32, &[u32])]) {
        if self.extent == Extent::All {
            return;
        }
        let written: Option<Rows> = self.converter.as_ref().map(|converter| {
            converter.convert_columns(columns).expect("the columns have the types they were resolved to")
        });
        for (group, rows) in stay {
            let frame = &mut self.by_group[*group as usize];
            let before = frame.entries.capacity();
            frame.shrink();
            for row in *rows {
                let row = *row as usize;
                let bytes = written.as_ref().map(|written| written.row(row));
                frame.push(times[row], bytes.as_ref().map_or(&[], AsRef::as_ref));
            }
            self.bytes = self.bytes + frame.entries.capacity() - before;
        }
    }

    /// The columns of a chunk with the old rows that leave behind them.
    fn with_old(&self, columns: &[ArrayRef], old: &Old) -> Vec<ArrayRef> {
        if self.converter.is_none() || old.ends.is_empty() {
            return columns.to_vec();
        }
        let starts = std::iter::once(0).chain(old.ends.iter().copied());
        let back = self.columns(starts.zip(&old.ends).map(|(start, end)| &old.bytes[start..*end]));
        let pairs = columns.iter().zip(&back);
        let joined = pairs.map(|(column, back)| {
            concat(&[column.as_ref(), back.as_ref()]).expect("both have the type of the column")
        });
        joined.collect()
    }

    /// The columns of rows that frames keep; none where they keep none.
    pub fn columns<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Vec<ArrayRef> {
        let Some(converter) = &self.converter else { return Vec::new() };
        let (parser, rows) = (converter.parser(), rows.collect::<Vec<_>>());
        let rows = rows.iter().map(|row| parser.parse(row));
        converter.convert_rows(rows).expect("the rows were written by this converter")
    }

    /// How many rows of before are in the frame of a group; 0 where frames hold all rows.
    pub fn rows(&self, group: u32) -> usize {
        self.by_group.get(group as usize).map_or(0, |frame| frame.rows)
    }

    /// The frame of a group, copied; none where frames hold all rows.
    pub fn copy(&self, group: u32) -> Option<Frame> {
        let frame = self.by_group.get(group as usize)?;
        Some(Frame { entries: frame.entries[frame.head..].to_vec(), head: 0, ..*frame })
    }

    /// Adds rows to the frames of these groups, which are below `capacity`: the place of each in its frame, its time, the
    /// columns that aggregates read.
    pub fn load(
        &mut self,
        groups: &[u32],
        places: &[i64],
        times: &[i64],
        columns: &[ArrayRef],
        capacity: usize,
    ) {
        if self.by_group.len() < capacity {
            self.by_group.resize(capacity);
        }
        let written = self.converter.as_ref().map(|converter| {
            converter.convert_columns(columns).expect("the columns have the types they were resolved to")
        });
        for (row, group) in groups.iter().enumerate() {
            let bytes = written.as_ref().map(|written| written.row(row));
            let bytes = bytes.as_ref().map_or(&[][..], AsRef::as_ref);
            if i64::try_from(self.rows(*group)) == Ok(places[row]) {
                self.push(*group, times[row], bytes);
                continue;
            }
            let start = self.loading.bytes.len();
            self.loading.bytes.extend_from_slice(bytes);
            let bytes = start..self.loading.bytes.len();
            self.loading.rows.push((*group, places[row], times[row], bytes));
        }
    }

    /// All rows have been loaded.
    pub fn loaded(&mut self) {
        let Loading { mut rows, bytes } = std::mem::take(&mut self.loading);
        rows.sort_unstable_by_key(|(group, place, ..)| (*group, *place));
        for (group, _, time_ms, range) in rows {
            self.push(group, time_ms, &bytes[range]);
        }
    }

    fn push(&mut self, group: u32, time_ms: i64, row: &[u8]) {
        let frame = &mut self.by_group[group as usize];
        let before = frame.entries.capacity();
        frame.push(time_ms, row);
        self.bytes = self.bytes + frame.entries.capacity() - before;
    }

    /// The time of the newest row of a group; that of the epoch where it has none.
    pub fn newest_ms(&self, group: u32) -> i64 {
        self.by_group.get(group as usize).map_or(0, |frame| frame.newest_ms)
    }

    /// Forgets the rows of a group.
    pub fn clear(&mut self, group: u32) {
        let frame = std::mem::take(&mut self.by_group[group as usize]);
        self.bytes -= frame.entries.capacity();
    }

    /// The heap bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes + self.by_group.bytes()
    }
}

/// Rows from before a chunk that leave during it.
struct Old {
    /// Their first place, behind the chunk's rows.
    first: usize,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Walk<'_> {
    fn go(
        &mut self,
        mut frame: Option<&mut Frame>,
        old: &mut Old,
        rounds: &mut Vec<Round>,
        taken: &mut [(usize, usize)],
    ) {
        let mut number = 0;
        while self.entered < self.rows.len() {
            let peers = self.peers();
            if rounds.len() == number {
                rounds.push(Round::default());
            }
            let round = &mut rounds[number];
            if frame.as_mut().is_some_and(|frame| self.empty(frame)) {
                round.emptied.push(self.group);
            }
            while let Some(row) = frame.as_mut().and_then(|frame| self.leave(frame, old)) {
                round.leaving.push(row);
                round.leaving_groups.push(self.group);
            }
            for row in &self.rows[self.entered..self.entered + peers] {
                round.entering.push(*row);
                round.entering_groups.push(self.group);
                taken[*row as usize] = (number, round.groups.len());
            }
            round.groups.push(self.group);
            self.entered += peers;
            number += 1;
        }
    }

    /// How many rows enter together.
    fn peers(&self) -> usize {
        let rest = &self.rows[self.entered..];
        match self.extent {
            Extent::Rows(_) => 1,
            Extent::All | Extent::Range(_) => {
                let time = |row: &u32| self.times[*row as usize];
                rest.iter().take_while(|row| time(row) == time(&rest[0])).count()
            }
        }
    }

    /// Empties the frame if all its rows leave before the next one enters.
    fn empty(&mut self, frame: &mut Frame) -> bool {
        let newest_ms = match self.entered.checked_sub(1) {
            Some(last) => self.times[self.rows[last] as usize],
            None if frame.rows == 0 => return false,
            None => frame.newest_ms,
        };
        let next_ms = self.times[self.rows[self.entered] as usize];
        let all_leave = match self.extent {
            Extent::All => false,
            Extent::Rows(most) => most == 1,
            Extent::Range(range_ms) => newest_ms < next_ms.saturating_sub(range_ms),
        };
        if all_leave {
            frame.entries.clear();
            (frame.head, frame.rows, self.left) = (0, 0, self.entered);
        }
        all_leave
    }

    /// The next row that leaves before the next one enters.
    fn leave(&mut self, frame: &mut Frame, old: &mut Old) -> Option<u32> {
        let own = self.rows[self.left..self.entered].first();
        let oldest_ms = frame.oldest_ms().or(own.map(|row| self.times[*row as usize]))?;
        let leaves = match self.extent {
            Extent::All => false,
            Extent::Rows(most) => frame.rows + self.entered - self.left >= most,
            Extent::Range(range_ms) => {
                let next_ms = self.times[self.rows[self.entered] as usize];
                oldest_ms < next_ms.saturating_sub(range_ms)
            }
        };
        if !leaves {
            return None;
        }
        if let Some(bytes) = frame.pop() {
            old.bytes.extend_from_slice(bytes);
            old.ends.push(old.bytes.len());
            let place = old.first + old.ends.len() - 1;
            return Some(u32::try_from(place).expect("a chunk and what leaves are far below 4 G rows"));
        }
        self.left += 1;
        own.copied()
    }
}

/// For each row the place of its result, where rounds lie one behind the other.
fn places(rounds: &[Round], taken: &[(usize, usize)]) -> Vec<u32> {
    let firsts = rounds.iter().scan(0, |next, round| {
        let first = *next;
        *next += round.groups.len();
        Some(first)
    });
    let firsts: Vec<usize> = firsts.collect();
    let place = |(round, place): &(usize, usize)| firsts[*round] + place;
    taken.iter().map(|taken| u32::try_from(place(taken)).expect("not more than rows")).collect()
}

impl Frame {
    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The heap bytes of its entries.
    pub fn bytes(&self) -> usize {
        self.entries.capacity()
    }

    /// Its rows and their times, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = (i64, &[u8])> {
        let mut at = self.head;
        std::iter::from_fn(move || {
            let row = self.row_at(at)?;
            let time = &self.entries[at..at + TIME_BYTES];
            at = row.end;
            Some((i64::from_le_bytes(time.try_into().expect("as long as a time")), &self.entries[row]))
        })
    }

    /// Where the row is whose entry begins here.
    fn row_at(&self, at: usize) -> Option<Range<usize>> {
        let length = self.entries.get(at + TIME_BYTES..at + HEADER_BYTES)?;
        let length = u32::from_le_bytes(length.try_into().expect("4 bytes"));
        let start = at + HEADER_BYTES;
        Some(start..start + length as usize)
    }

    fn oldest_ms(&self) -> Option<i64> {
        let bytes = self.entries.get(self.head..self.head + TIME_BYTES)?;
        Some(i64::from_le_bytes(bytes.try_into().expect("as long as a time")))
    }

    fn push(&mut self, time_ms: i64, row: &[u8]) {
        let length = u32::try_from(row.len()).expect("a row is below 4 GiB");
        self.entries.extend_from_slice(&time_ms.to_le_bytes());
        self.entries.extend_from_slice(&length.to_le_bytes());
        self.entries.extend_from_slice(row);
        self.rows += 1;
        self.newest_ms = time_ms;
    }

    /// Takes the bytes of the oldest row.
    pub fn pop(&mut self) -> Option<&[u8]> {
        let row = self.row_at(self.head)?;
        self.head = row.end;
        self.rows -= 1;
        Some(&self.entries[row])
    }

    /// Gives back the room of rows that have left, once they are most of it.
    fn shrink(&mut self) {
        if self.head * 2 >= self.entries.len() {
            self.entries.drain(..self.head);
            self.head = 0;
            if self.entries.len() * 4 < self.entries.capacity() {
                self.entries.shrink_to(self.entries.len() * 2);
            }
        }
    }
}
