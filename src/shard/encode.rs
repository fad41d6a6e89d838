//! Rows as bytes on their way to an output, divided by partition where the sink has some.

use arrow::array::RecordBatch;

use crate::codec::Encode;
use crate::sink::{Output, PartitionBy, SinkError};

/// Whole records.
#[derive(Debug, Default)]
pub struct Records {
    bytes: Vec<u8>,
    /// Where the records of each partition end, in the order of the bytes; none where there are no partitions.
    parts: Vec<(String, usize)>,
}

impl Records {
    /// Writes them.
    ///
    /// # Errors
    ///
    /// If the output cannot take them.
    pub fn write_to(&self, output: &mut dyn Output) -> Result<(), SinkError> {
        if self.parts.is_empty() {
            return if self.bytes.is_empty() { Ok(()) } else { output.write(&self.bytes) };
        }
        let mut start = 0;
        for (partition, end) in &self.parts {
            output.write_to(partition, &self.bytes[start..*end])?;
            start = *end;
        }
        Ok(())
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets them, and keeps their memory.
    #[must_use]
    pub fn cleared(mut self) -> Self {
        self.bytes.clear();
        self.parts.clear();
        self
    }
}

/// Makes rows into records.
pub struct RecordEncoder {
    encode: Box<dyn Encode>,
    partition: Option<PartitionBy>,
}

impl RecordEncoder {
    /// Makes them by `encode`, divided by `partition`.
    #[must_use]
    pub fn new(encode: Box<dyn Encode>, partition: Option<PartitionBy>) -> Self {
        Self { encode, partition }
    }

    /// Appends rows, at a time of `wall_ms` milliseconds after 1970-01-01T00:00:00Z.
    pub fn encode(&mut self, rows: &RecordBatch, wall_ms: i64, records: &mut Records) {
        let Some(partition) = &self.partition else { return self.encode.encode(rows, &mut records.bytes) };
        for part in partition.divide(rows, wall_ms) {
            self.encode.encode(&part.rows, &mut records.bytes);
            records.parts.push((part.name, records.bytes.len()));
        }
    }
}
