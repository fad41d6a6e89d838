//! Records to columns: first where the fields of a whole batch are, then each column by itself, so that a type is told
//! once per column and not once per field.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::filter;
use memchr::memchr_iter;

use super::Dialect;
use super::column::{Column, Faults, Source};
use super::fields::{Fault, Field, Splitter};
use super::header::{Header, Layout, not_utf8};
use crate::codec::framing::Quoted;
use crate::codec::{Decode, Rejected, ends};
use crate::record::{Origin, Schema};

/// What Arrow's offsets of 32 bits can address: no column has more bytes than the records it is made from.
const BATCH_BYTES_MAX: usize = i32::MAX as usize;

/// Decodes CSV into columns.
pub struct CsvDecoder {
    schema: Schema,
    dialect: Dialect,
    layout: Layout,
    /// The header that the layout is of.
    header: Option<Arc<Header>>,
    splitter: Splitter,
    columns: Vec<Column>,
    /// The fields of each column, `[column][record]`.
    fields: Vec<Vec<Field>>,
}

impl CsvDecoder {
    /// A decoder into `columns` of records whose fields are in the order of `declared`, until a header says otherwise.
    #[must_use]
    pub fn new(dialect: &Dialect, declared: &Schema, columns: &Schema) -> Self {
        Self {
            schema: columns.clone(),
            dialect: dialect.clone(),
            layout: Layout::in_order(declared, columns),
            header: None,
            splitter: Splitter::new(dialect),
            columns: columns.columns().iter().map(Column::new).collect(),
            fields: vec![Vec::new(); columns.columns().len()],
        }
    }

    /// Finds the fields of all records.
    fn split(&mut self, text: &str, from: usize, spans: &[u64], faults: &mut Faults) {
        let Self { dialect, layout, splitter, fields, .. } = self;
        let reason = |layout: &Layout, fault| layout.reason(fault, dialect.multiline);
        for fields in fields.iter_mut() {
            fields.clear();
            fields.resize(spans.len(), Field::default());
        }
        splitter.load(text);
        for (row, span) in spans.iter().enumerate() {
            if !faults.is_good(row) {
                continue;
            }
            let (start, end) = ends(*span);
            let count = splitter.split(text, start - from, end - from, |number, field| {
                if let Some(Some(column)) = layout.columns.get(number) {
                    fields[*column][row] = field;
                }
            });
            match count {
                Ok(count) if count == layout.columns.len() => {}
                Ok(count) => faults.add(row, reason(layout, Fault::Count(count))),
                Err(fault) => faults.add(row, reason(layout, fault)),
            }
        }
    }

    /// Makes the columns of the fields that were found.
    fn read(&mut self, text: &str, faults: &mut Faults) -> Vec<ArrayRef> {
        let Self { dialect, layout, splitter, columns, fields, .. } = self;
        let source = Source { records: text, made: &splitter.made, null: &dialect.null };
        let read = |(index, (column, fields)): (usize, (&mut Column, &Vec<Field>))| {
            if layout.columns.contains(&Some(index)) {
                column.read(&source, fields, faults)
            } else {
                new_null_array(&column.data_type(), fields.len())
            }
        };
        columns.iter_mut().zip(&*fields).enumerate().map(read).collect()
    }
}

impl Decode for CsvDecoder {
    fn begin(&mut self, header: &Arc<Header>) {
        if self.header.as_ref().is_none_or(|known| !Arc::ptr_eq(known, header)) {
            self.layout = header.layout.clone();
            self.header = Some(header.clone());
        }
    }

    fn frame(&self, bytes: &[u8], spans: &mut Vec<u64>) {
        frame(bytes, &self.dialect, self.layout.columns.len() == 1, spans);
    }

    fn decode(&mut self, bytes: &[u8], spans: &[u64], rejected: &mut Vec<Rejected>) -> RecordBatch {
        let mut faults = Faults::new(spans.len());
        let mut bytes_read = 0;
        for (row, span) in spans.iter().enumerate() {
            let (start, end) = ends(*span);
            bytes_read += end - start;
            if bytes_read > BATCH_BYTES_MAX {
                faults.add(row, "the batch exceeds 2 GiB".to_owned());
            }
        }
        let from = spans.first().map_or(0, |span| ends(*span).0);
        let to = spans.last().map_or(0, |span| ends(*span).1);
        let valid;
        let text = match str::from_utf8(&bytes[from..to]) {
            Ok(text) => text,
            Err(_) => {
                valid = without_invalid(bytes, from..to, spans, &mut faults);
                str::from_utf8(&valid).expect("it is made of records that are UTF-8")
            }
        };
        self.split(text, from, spans, &mut faults);
        let mut columns = self.read(text, &mut faults);
        let good = faults.take(rejected);
        if let Some(good) = &good {
            for column in &mut columns {
                *column = filter(column, good).expect("the mask is as long as the column");
            }
        }
        self.schema.rows(columns, good.as_ref().map_or(spans.len(), BooleanArray::true_count))
    }
}

/// Pushes to `spans` where the records of `bytes` are. A line without a byte is one only where records are of a single
/// field.
fn frame(bytes: &[u8], dialect: &Dialect, empty_too: bool, spans: &mut Vec<u64>) {
    assert!(u32::try_from(bytes.len()).is_ok(), "chunks are far below 4 GiB");
    let part = |bytes: usize| u32::try_from(bytes).expect("chunks are far below 4 GiB");
    let span = |start: usize, end: usize| {
        let end = if bytes[start..end].last() == Some(&b'\r') { end - 1 } else { end };
        (empty_too || end > start).then(|| Origin::span(part(start), part(end - start)))
    };
    let mut start = 0;
    if dialect.multiline {
        let mut quoted = Quoted::outside(dialect.quote);
        while let Some(end) = quoted.record_end(&bytes[start..]) {
            spans.extend(span(start, start + end));
            start += end + 1;
        }
    } else {
        for end in memchr_iter(b'\n', bytes) {
            spans.extend(span(start, end));
            start = end + 1;
        }
    }
    if start < bytes.len() {
        spans.extend(span(start, bytes.len()));
    }
}

/// A stretch of the input with only those records in it that are UTF-8; the others go to `faults`.
#[cold]
fn without_invalid(
    bytes: &[u8],
    range: std::ops::Range<usize>,
    spans: &[u64],
    faults: &mut Faults,
) -> Vec<u8> {
    let mut valid = vec![b'\n'; range.len()];
    for (row, span) in spans.iter().enumerate() {
        let (start, end) = ends(*span);
        match str::from_utf8(&bytes[start..end]) {
            Ok(record) => {
                valid[start - range.start..end - range.start].copy_from_slice(record.as_bytes());
            }
            Err(error) => faults.add(row, not_utf8(&error)),
        }
    }
    valid
}
