//! The rows of a block: one Arrow IPC stream.
//!
//! The stream holds a schema, so that other programs can read it, and record batches. Here the schema is that of the
//! directory; what a message says of its buffers is checked against it before Arrow takes it, because Arrow's reader
//! relies on that.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Fields, SchemaRef};
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::writer::StreamWriter;
use arrow::ipc::{self, Message, MessageHeader, MetadataVersion, root_as_message};

use super::layout::u32_at;

/// What a buffer begins at a multiple of, bytes.
const ALIGNMENT: usize = 8;

/// In front of every message of a stream.
const CONTINUATION: u32 = u32::MAX;

/// Appends the stream of these rows.
pub(super) fn write(rows: &RecordBatch, out: &mut Vec<u8>) {
    let mut write = || {
        let mut writer = StreamWriter::try_new(&mut *out, rows.schema_ref())?;
        writer.write(rows)?;
        writer.finish()
    };
    write().expect("memory takes rows of the types that a table may have");
}

/// The batches of a stream, with all columns of `schema`.
pub(super) fn read(stream: &Buffer, schema: &SchemaRef) -> Result<Vec<RecordBatch>, String> {
    let mut batches = Vec::new();
    let mut at = 0;
    loop {
        let Some(prefix) = stream.get(at..at + 8) else { return Err("the stream of rows has no end".into()) };
        let length = u32_at(prefix, 4) as usize;
        if u32_at(prefix, 0) != CONTINUATION {
            return Err("a message of the stream of rows does not begin as it should".into());
        }
        at += 8;
        if length == 0 {
            return Ok(batches);
        }
        let metadata = stream.get(at..at + length).ok_or("a message of the stream of rows is cut off")?;
        let message = root_as_message(metadata).map_err(|error| format!("a message is none: {error}"))?;
        at += length;
        let body = usize::try_from(message.bodyLength()).ok().filter(|body| *body <= stream.len() - at);
        let body = body.ok_or("the body of a message is cut off")?;
        if message.header_type() == MessageHeader::RecordBatch {
            batches.push(batch(message, &stream.slice_with_length(at, body), schema)?);
        } else if message.header_type() != MessageHeader::Schema {
            return Err("the stream of rows has a message that is not known".into());
        }
        at += body;
    }
}

fn batch(message: Message, body: &Buffer, schema: &SchemaRef) -> Result<RecordBatch, String> {
    let batch = message.header_as_record_batch().ok_or("a message has no rows")?;
    if message.version() != MetadataVersion::V5 || batch.compression().is_some() {
        return Err("the stream of rows has a form that is not known".into());
    }
    if batch.variadicBufferCounts().is_some_and(|counts| !counts.is_empty()) || batch.length() < 0 {
        return Err("the stream of rows has a form that is not known".into());
    }
    Shape::of(batch, body.len()).and_then(|shape| shape.check(schema.fields()))?;
    let none = HashMap::new();
    read_record_batch(body, batch, schema.clone(), &none, None, &message.version())
        .map_err(|error| format!("the rows are none of this table: {error}"))
}

/// What a message says of its arrays: their lengths and where their buffers are.
struct Shape<'a> {
    nodes: Box<dyn Iterator<Item = &'a ipc::FieldNode> + 'a>,
    /// The lengths of the buffers, bytes.
    buffers: Box<dyn Iterator<Item = Option<usize>> + 'a>,
}

impl<'a> Shape<'a> {
    fn of(batch: ipc::RecordBatch<'a>, body_bytes: usize) -> Result<Self, String> {
        let missing = "a message has no description of its arrays";
        let length_of = move |buffer: &ipc::Buffer| {
            let offset = usize::try_from(buffer.offset()).ok()?;
            let length = usize::try_from(buffer.length()).ok()?;
            let is_aligned = offset.is_multiple_of(ALIGNMENT);
            (offset.checked_add(length)? <= body_bytes && is_aligned).then_some(length)
        };
        let buffers = batch.buffers().ok_or(missing)?.iter().map(length_of);
        Ok(Self { nodes: Box::new(batch.nodes().ok_or(missing)?.iter()), buffers: Box::new(buffers) })
    }

    fn check(mut self, fields: &Fields) -> Result<(), String> {
        for field in fields {
            self.array(field.data_type())?;
        }
        if self.nodes.next().is_some() || self.buffers.next().is_some() {
            return Err("the rows have more columns than the table".into());
        }
        Ok(())
    }

    fn array(&mut self, data_type: &DataType) -> Result<(), String> {
        let node = self.nodes.next().ok_or("the rows have fewer columns than the table")?;
        let length = usize::try_from(node.length()).ok().filter(|length| u32::try_from(*length).is_ok());
        let length = length.ok_or("an array has an impossible length")?;
        let nulls = usize::try_from(node.null_count()).ok().filter(|nulls| *nulls <= length);
        let nulls = nulls.ok_or("an array has an impossible number of NULLs")?;
        if *data_type == DataType::Null {
            return Ok(());
        }
        self.buffer(if nulls > 0 { length.div_ceil(8) } else { 0 }, 1)?;
        let offsets = if length == 0 { 0 } else { length + 1 };
        match data_type {
            DataType::Boolean => self.buffer(length.div_ceil(8), 1)?,
            DataType::Utf8 | DataType::Binary => {
                self.buffer(offsets, 4)?;
                self.buffer(0, 1)?;
            }
            DataType::List(element) | DataType::Map(element, _) => {
                self.buffer(offsets, 4)?;
                self.array(element.data_type())?;
            }
            DataType::Struct(fields) => {
                for field in fields {
                    self.array(field.data_type())?;
                }
            }
            DataType::FixedSizeBinary(width) => {
                self.buffer(length, usize::try_from(*width).map_err(|_| "a width is negative")?)?;
            }
            _ => self.buffer(length, data_type.primitive_width().ok_or("a type is not known")?)?,
        }
        Ok(())
    }

    /// Takes a buffer of elements of so many bytes, of which there must be at least so many.
    fn buffer(&mut self, elements: usize, width: usize) -> Result<(), String> {
        let length = self.buffers.next().ok_or("the rows have fewer columns than the table")?;
        match length {
            Some(length) if length >= elements * width && length.is_multiple_of(width) => Ok(()),
            _ => Err("an array is cut off".into()),
        }
    }
}
