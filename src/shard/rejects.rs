//! Bad records that go into a stream: rows of a stage's own making, in the blocks they were read in.
//!
//! They take part in the epochs as all rows do: what is read before a barrier goes before it.

use crate::record::{BadRecord, Batch, Segment};
use crate::source::last_batch;

use arrow::array::RecordBatch;

/// A stream of bad records on one shard.
pub struct Rejects {
    /// The entry of the first stage by which it comes in.
    pub entry: usize,
    /// The records of the blocks that are worked off.
    records: Vec<BadRecord>,
    empty: RecordBatch,
}

impl Rejects {
    /// A stream that comes in by this entry.
    #[must_use]
    pub fn new(entry: usize) -> Self {
        let empty = RecordBatch::new_empty(BadRecord::schema().arrow().clone());
        Self { entry, records: Vec::new(), empty }
    }

    /// Where records go.
    pub fn take(&mut self) -> &mut Vec<BadRecord> {
        &mut self.records
    }

    /// What has come of the blocks of these segments, of whichever source, and which of them have ended. None where there
    /// is nothing to say.
    pub fn of_blocks(&mut self, segments: &[Segment], wall_ms: i64) -> Option<Batch> {
        let mut told: Vec<Segment> = segments.iter().map(|segment| Segment { rows: 0, ..*segment }).collect();
        // Where nothing is said of any block the records wait for the end of theirs, which is still to come.
        let first = told.first_mut()?;
        let rows = match self.records.len() {
            0 => self.empty.clone(),
            count => {
                first.rows = u32::try_from(count).expect("a piece has far fewer records");
                BadRecord::rows(&std::mem::take(&mut self.records), wall_ms)
            }
        };
        told.retain(|segment| segment.rows > 0 || segment.end.is_some());
        let batch = Batch::of_rows(rows, 0);
        (!told.is_empty()).then_some(Batch { segments: told, ..batch })
    }

    /// The end of the stream.
    #[must_use]
    pub fn last(&self) -> Batch {
        last_batch(self.empty.clone(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Encode;
    use crate::codec::json::JsonEncoder;
    use crate::record::BlockEnd;

    fn record(raw: &[u8]) -> BadRecord {
        let (error, message) = ("decode", "no \"good\"".to_owned());
        BadRecord { source: "in.ndjson".into(), position: 7, error, message, raw: raw.to_vec() }
    }

    #[test]
    fn records_are_rows_of_the_fixed_columns() {
        let mut text = Vec::new();
        let rows = BadRecord::rows(&[record(b"{\"a\""), record(b"\xff")], 1500);
        JsonEncoder::new(&BadRecord::schema()).encode(&rows, &mut text);
        let rest = r#""source":"in.ndjson","position":7,"error":"decode","message":"no \"good\"","at":"1970-01-01T00:00:01.5Z"}"#;
        let expect = [r#""{\"a\"","raw_encoding":null"#, r#""/w==","raw_encoding":"base64""#];
        let expect: String = expect.iter().map(|raw| format!("{{\"raw\":{raw},{rest}\n")).collect();
        assert_eq!(String::from_utf8(text).expect("text"), expect);
    }

    #[test]
    fn records_come_in_their_blocks() {
        let mut rejects = Rejects::new(1);
        let end = BlockEnd { through: 4, max_time_ms: 9, finished: false, idle: false };
        let open = Segment { rows: 5, number: 4, split: 0, end: None };
        assert!(rejects.of_blocks(&[open], 0).is_none());
        rejects.take().extend([record(b"a"), record(b"b")]);
        assert!(rejects.of_blocks(&[], 0).is_none());
        let batch = rejects.of_blocks(&[open, Segment { end: Some(end), ..open }], 0).expect("rows");
        let rows: Vec<u32> = batch.segments.iter().map(|segment| segment.rows).collect();
        assert_eq!((rows, batch.len()), (vec![2, 0], 2));
        let batch = rejects.of_blocks(&[Segment { end: Some(end), ..open }], 0).expect("an end");
        assert_eq!((batch.len(), batch.segments[0].end), (0, Some(end)));
    }
}
