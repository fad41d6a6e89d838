//! Which shard owns each row, and the rows of a batch dealt out to their owners.

use arrow::array::{ArrayRef, UInt32Array, UInt64Array};

use crate::record::{Batch, KeyCodec, Segment, shard_of_slot, slot_of_hash};

/// Partitions rows by the hash of their key columns.
#[derive(Clone, Debug)]
pub struct Partition {
    codec: KeyCodec,
    /// Positions of the key columns.
    columns: Vec<usize>,
    bytes: Vec<u8>,
    ends: Vec<u32>,
    rows: Vec<Vec<u32>>,
}

impl Partition {
    /// By the columns at these positions, whose types are the codec's.
    #[must_use]
    pub fn new(codec: KeyCodec, columns: Vec<usize>) -> Self {
        Self { codec, columns, bytes: Vec::new(), ends: Vec::new(), rows: Vec::new() }
    }

    /// A share without rows and segments of such a batch.
    #[must_use]
    pub fn nothing_of(batch: &Batch) -> Batch {
        let nothing = batch.slice(0, 0, Vec::new());
        Batch { origin: None, hashes: Some(UInt64Array::from(Vec::<u64>::new())), ..nothing }
    }

    /// Each shard's share of the batch, `[shard]`: its rows with their hashes, in order, and all block ends.
    pub fn split(&mut self, mut batch: Batch, shards: usize) -> Vec<Batch> {
        batch.origin = None;
        batch.clocks.clear();
        let hashes = self.hashes(&batch);
        if shards == 1 {
            batch.hashes = Some(hashes);
            return vec![batch];
        }
        self.deal(hashes.values(), shards);
        batch.hashes = Some(hashes);
        // One copy in the order of owners, of which each gets its part.
        let dealt = if self.rows.iter().any(|rows| rows.len() == batch.len()) {
            batch.clone()
        } else {
            batch.take(&UInt32Array::from(self.rows.concat()), batch.segments.clone())
        };
        let mut from = 0;
        let shares = self.rows.iter().map(|rows| {
            let share = dealt.slice(from, rows.len(), share_of(&batch.segments, rows));
            from += rows.len();
            share
        });
        shares.collect()
    }

    fn hashes(&mut self, batch: &Batch) -> UInt64Array {
        self.bytes.clear();
        self.ends.clear();
        let columns: Vec<ArrayRef> =
            self.columns.iter().map(|index| batch.rows.column(*index).clone()).collect();
        self.codec.encode(&columns, batch.len(), &mut self.bytes, &mut self.ends);
        let mut start = 0;
        let hash = |end: &u32| {
            let key = &self.bytes[start..*end as usize];
            start = *end as usize;
            KeyCodec::hash(key)
        };
        UInt64Array::from_iter_values(self.ends.iter().map(hash))
    }

    /// Fills `rows[shard]` with the positions of the rows that `shard` owns.
    fn deal(&mut self, hashes: &[u64], shards: usize) {
        self.rows.resize_with(shards, Vec::new);
        self.rows.iter_mut().for_each(Vec::clear);
        for (row, hash) in hashes.iter().enumerate() {
            let owner = shard_of_slot(slot_of_hash(*hash), shards);
            self.rows[owner].push(u32::try_from(row).expect("a batch is far below 4 G rows"));
        }
    }
}

/// The segments of a share: the rows of each counted anew; those without a row and without an end are left out.
fn share_of(segments: &[Segment], rows: &[u32]) -> Vec<Segment> {
    let (mut position, mut end) = (0, 0);
    let counted = segments.iter().filter_map(|segment| {
        end += segment.rows;
        let first = position;
        while position < rows.len() && rows[position] < end {
            position += 1;
        }
        let count = u32::try_from(position - first).expect("not more than before");
        (count > 0 || segment.end.is_some()).then_some(Segment { rows: count, ..*segment })
    });
    counted.collect()
}
