//! The exact layer: each record parsed whole to a tape (simd-json), which validates all of it, and the values of the
//! columns asked for read from the tape into Arrow builders.
//!
//! It knows every type and every form a value may be written in, and it tells what is wrong with a record. What JSON
//! means to a column is told in [`super::decode`]; the layers above it decide nothing on their own: what they are not
//! sure of comes here.

use std::cell::Cell;
use std::mem;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter;
use simd_json::value::tape::Node;
use simd_json::{Buffers, ErrorType, INPUT_PADDING, Tape};

use super::literal;
use super::row::Row;
use crate::codec::{Decode, Rejected};
use crate::record::Schema;

/// How deep a record may nest.
const DEPTH_MAX: usize = 128;

/// What Arrow's offsets of 32 bits can address: no column has more bytes than the records it is made from.
pub(super) const BATCH_BYTES_MAX: usize = i32::MAX as usize;

/// Decodes JSON objects into columns, one at a time.
pub(super) struct ExactDecoder {
    schema: Schema,
    columns: Row,
    parser: Parser,
}

/// The parser's buffers, used again for each record.
pub(super) struct Parser {
    /// A copy of the record, since the parser unescapes strings in place and the source must stay as it is.
    copy: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
}

impl ExactDecoder {
    /// A decoder into the columns of `schema`.
    pub(super) fn new(schema: &Schema) -> Self {
        Self { schema: schema.clone(), columns: Row::new(schema.columns()), parser: Parser::new() }
    }
}

impl Decode for ExactDecoder {
    fn decode(&mut self, bytes: &[u8], spans: &[u64], rejected: &mut Vec<Rejected>) -> RecordBatch {
        let mut rows = 0;
        let mut bytes_read = 0;
        let mut bad_rows: Vec<usize> = Vec::new();
        for (index, span) in (0..).zip(spans) {
            let (offset, length) = ((span >> 32) as usize, (span & 0xffff_ffff) as usize);
            let raw = &bytes[offset..offset + length];
            bytes_read += length;
            if bytes_read > BATCH_BYTES_MAX {
                rejected.push(Rejected { record: index, reason: "the batch exceeds 2 GiB".to_owned() });
                continue;
            }
            match self.parser.record(raw, |record| self.columns.push_root(record)) {
                Ok(Ok(())) => rows += 1,
                // The row is completed, so that columns stay in step, and taken out at the end.
                Ok(Err(mismatch)) => {
                    self.columns.complete(rows + 1);
                    bad_rows.push(rows);
                    rows += 1;
                    rejected.push(Rejected { record: index, reason: mismatch.reason() });
                }
                Err(reason) => rejected.push(Rejected { record: index, reason }),
            }
        }
        self.finish(rows, &bad_rows)
    }
}

impl ExactDecoder {
    fn finish(&mut self, rows: usize, bad_rows: &[usize]) -> RecordBatch {
        let mut columns = self.columns.finish();
        if !bad_rows.is_empty() {
            let mut good = vec![true; rows];
            for row in bad_rows {
                good[*row] = false;
            }
            let good = BooleanArray::from(good);
            for column in &mut columns {
                *column = filter(column, &good).expect("the mask is as long as the column");
            }
        }
        self.schema.rows(columns, rows - bad_rows.len())
    }
}

impl Parser {
    pub(super) fn new() -> Self {
        let buffers = Buffers::with_max_depth(1024, DEPTH_MAX);
        Self { copy: Vec::new(), buffers, tape: Tape(Vec::new()) }
    }

    /// Parses a record and hands it to `read`.
    pub(super) fn record<T>(
        &mut self,
        raw: &[u8],
        mut read: impl FnMut(&Record<'_>) -> T,
    ) -> Result<T, String> {
        self.refill(raw);
        let result = self.parse(raw, true, &mut read);
        if result.as_ref().is_err_and(|error| matches!(error.error(), ErrorType::InvalidNumber)) {
            // Perhaps the number is only too large for the parser, and belongs to a field nobody asked for.
            self.refill(raw);
            if literal::blank_wild_numbers(raw, &mut self.copy[..raw.len()]) {
                return self.parse(raw, false, &mut read).map_err(|error| reason(&error));
            }
        }
        result.map_err(|error| reason(&error))
    }

    fn parse<T>(
        &mut self,
        raw: &[u8],
        fractions_trusted: bool,
        read: &mut impl FnMut(&Record<'_>) -> T,
    ) -> simd_json::Result<T> {
        let mut tape = mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let copy = self.copy.as_ptr().addr();
        let parsed = simd_json::fill_tape_padded(&mut self.copy, raw.len(), &mut self.buffers, &mut tape);
        let result = parsed.map(|()| read(&Record { raw, tape: &tape.0, copy, fractions_trusted }));
        self.tape = tape.reset();
        result
    }

    fn refill(&mut self, raw: &[u8]) {
        self.copy.clear();
        self.copy.extend_from_slice(raw);
        self.copy.extend_from_slice(&[b' '; INPUT_PADDING]);
    }
}

/// What is wrong with a record that is not JSON.
fn reason(error: &simd_json::Error) -> String {
    let what = match error.error() {
        ErrorType::DepthLimitExceeded => {
            return format!("the JSON is nested deeper than {DEPTH_MAX} levels");
        }
        ErrorType::InvalidUtf8 => "the text is not UTF-8, or a \\u escape is half a character",
        ErrorType::InvalidUnicodeCodepoint | ErrorType::InvalidUnicodeEscape => {
            "a \\u escape is not a character"
        }
        ErrorType::InvalidEscape => "an escape that JSON does not know",
        ErrorType::InvalidNumber => "a malformed number",
        ErrorType::TrailingData => "something follows the value",
        ErrorType::Eof => "the record is empty",
        _ => match error.character() {
            Some(character) => {
                return format!("not JSON: unexpected {character:?} at byte {}", error.index());
            }
            None => "a string is not closed, or holds a control character",
        },
    };
    match error.index() {
        0 => format!("not JSON: {what}"),
        index => format!("not JSON: {what}, at byte {index}"),
    }
}

/// A parsed record.
pub(super) struct Record<'a> {
    raw: &'a [u8],
    tape: &'a [Node<'a>],
    /// The address of the copy that the tape's strings point into: a string's distance from it is the string's place
    /// in `raw`, for the parser unescapes a string where it stands.
    copy: usize,
    /// Whether the tape's fractions are those of the source; see [`literal::blank_wild_numbers`].
    pub(super) fractions_trusted: bool,
}

/// A value of a record: its node on the tape, and how to find its text.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    /// Position on the tape.
    pub(super) position: usize,
    pub(super) place: Place<'a>,
}

/// How to find the text of a value.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// It is the record.
    Root,
    /// It follows this key.
    Behind(&'a str),
    /// It is this element of an array.
    Element(&'a Elements<'a>, usize),
}

/// The elements of an array; their places are looked for only when one is asked for, going on from the last.
pub(super) struct Elements<'a> {
    array: Place<'a>,
    /// The last element found and where it starts.
    found: Cell<Option<(usize, usize)>>,
}

impl<'a> Elements<'a> {
    pub(super) fn of(array: Place<'a>) -> Self {
        Self { array, found: Cell::new(None) }
    }
}

impl<'a> Record<'a> {
    /// The record's own value.
    pub(super) fn root() -> Value<'a> {
        Value { position: 0, place: Place::Root }
    }

    /// A value's node.
    #[inline]
    pub(super) fn node(&self, value: Value<'_>) -> Node<'a> {
        self.tape[value.position]
    }

    /// The key at a position of the tape.
    #[inline]
    pub(super) fn key(&self, position: usize) -> &'a str {
        match self.tape[position] {
            Node::String(key) => key,
            _ => unreachable!("an object's nodes are keys and values in turn"),
        }
    }

    /// The position behind the value at `position`.
    #[inline]
    pub(super) fn behind(&self, position: usize) -> usize {
        match self.tape[position] {
            Node::Object { count, .. } | Node::Array { count, .. } => position + count + 1,
            Node::String(_) | Node::Static(_) => position + 1,
        }
    }

    /// A value's text in the source.
    pub(super) fn text(&self, place: Place<'_>) -> &'a str {
        let start = self.start(place);
        let end = literal::value_end(self.raw, start);
        let text = self.raw.get(start..end).unwrap_or_default();
        str::from_utf8(text).expect("the record is UTF-8 and values start and end at ASCII characters")
    }

    fn start(&self, place: Place<'_>) -> usize {
        match place {
            Place::Root => literal::root_start(self.raw),
            Place::Behind(key) => literal::value_start(self.raw, key.as_ptr().addr().wrapping_sub(self.copy)),
            Place::Element(elements, wanted) => {
                let (mut index, mut at) = elements
                    .found
                    .get()
                    .unwrap_or_else(|| (0, literal::first_element(self.raw, self.start(elements.array))));
                while index < wanted {
                    at = literal::next_element(self.raw, at);
                    index += 1;
                }
                elements.found.set(Some((index, at)));
                at
            }
        }
    }
}
