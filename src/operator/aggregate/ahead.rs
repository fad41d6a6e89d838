//! Up to where windows of the wall clock have been fired, behind a restart.
//!
//! Every shard fires such windows by its own clock. Those that go on from the state of several shards go on where the
//! slowest of them was; the keys of the others are then left out of the windows that have been sent of them already.
//! Nothing joins such a window meanwhile: rows count at the present time, which is behind the ends of all of them.

use std::collections::BTreeMap;

use crate::operator::saved::SavedKeys;
use crate::record::KeyCodec;
use crate::state::Groups;
use crate::time::WATERMARK_MIN;

/// The keys whose windows have been fired further than this shard's.
#[derive(Default)]
pub(super) struct Ahead {
    /// Up to where each of the shards that were saved had fired, milliseconds.
    pub shards_fired_ms: Vec<i64>,
    /// Keys by up to where their windows have been fired, milliseconds.
    keys: BTreeMap<i64, Groups>,
}

impl Ahead {
    /// Takes note of keys and up to where the windows of each have been fired, milliseconds.
    pub fn note(&mut self, keys: &SavedKeys, fired_ms: &[i64]) {
        for (row, fired_ms) in fired_ms.iter().enumerate() {
            let (hash, key) = keys.key(row);
            self.keys.entry(*fired_ms).or_default().number(hash, key);
        }
    }

    /// Up to where all windows of all keys have been fired, milliseconds. Called once all keys have been noted.
    pub fn start(&mut self) -> i64 {
        let start_ms = self.shards_fired_ms.drain(..).min().unwrap_or(WATERMARK_MIN);
        self.forget(start_ms);
        start_ms
    }

    /// The numbers of the groups for which the window that ends at `end_ms` has yet to be fired. Windows are asked for
    /// in the order of their ends.
    pub fn without_fired(&mut self, end_ms: i64, groups: &Groups) -> Vec<u32> {
        let mut numbers = groups.numbers();
        if self.keys.is_empty() {
            return numbers;
        }
        self.forget(end_ms - 1);
        numbers.retain(|number| {
            let key = groups.key(*number);
            let hash = KeyCodec::hash(key);
            self.keys.values().all(|fired| fired.find(hash, key).is_none())
        });
        numbers
    }

    /// Forgets the keys whose windows have been fired up to here at most.
    fn forget(&mut self, fired_ms: i64) {
        self.keys = self.keys.split_off(&fired_ms.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{Int64Type, TimestampMillisecondType};

    use crate::exchange::{Partition, Watermarks};
    use crate::operator::verify::{flow_of, resolve_step};
    use crate::operator::{Build, Network, Part, Resolved};
    use crate::record::{Batch, BlockEnd, Column, Schema, SqlType};

    /// A shard that goes by a clock of its own.
    struct Shard {
        source: Network,
        keyed: Network,
        partition: Partition,
        watermarks: Watermarks,
        number: u64,
    }

    impl Shard {
        fn new(resolved: &Resolved) -> Self {
            let exchange = resolved.parts.iter().position(|part| matches!(part, Part::Exchange { .. }));
            let (before, behind) = resolved.parts.split_at(exchange.unwrap());
            let Part::Exchange { columns, codec } = &behind[0] else { unreachable!("asked above") };
            let build = |part: &Part| match part {
                Part::Operator(build) => build.clone(),
                Part::Exchange { .. } => unreachable!("there is one"),
            };
            let chain = |parts: &[Part]| Network::chain(&parts.iter().map(build).collect::<Vec<Build>>());
            Self {
                source: chain(before),
                keyed: chain(&behind[1..]),
                partition: Partition::new(codec.clone(), columns.clone()),
                watermarks: Watermarks::new(1, 0),
                number: 0,
            }
        }

        /// A block of rows of these ids at a time of the wall clock, seconds; the rows that come out, as (id, end of the
        /// window in seconds, count).
        fn feed(&mut self, at_s: i64, ids: &[i64], last: bool) -> Vec<(i64, i64, i64)> {
            let schema = schema();
            let column: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
            let rows = RecordBatch::try_new(schema.arrow().clone(), vec![column]).unwrap();
            let mut block = Batch::of_rows(rows, self.number);
            let (through, max_time_ms) = (self.number, i64::MIN);
            block.segments[0].end = Some(BlockEnd { through, max_time_ms, finished: last, idle: false });
            self.number += 1;
            self.source.push(0, block);
            let mut batch = self.partition.split(self.source.pull().unwrap().1, 1).remove(0);
            self.watermarks.stamp(&mut batch);
            self.keyed.context.wall_ms = at_s * 1000;
            self.keyed.push(0, batch);
            let mut found = Vec::new();
            while let Some((_, batch)) = self.keyed.pull() {
                let numbers = |name: &str| batch.rows.column_by_name(name).unwrap();
                let (ids, counts) = (numbers("id").as_primitive::<Int64Type>(), numbers("n"));
                let ends = numbers("window_end").as_primitive::<TimestampMillisecondType>();
                let counts = counts.as_primitive::<Int64Type>();
                let row = |row| (ids.value(row), ends.value(row) / 1000, counts.value(row));
                found.extend((0..batch.len()).map(row));
            }
            found
        }

        /// Hands all state to another shard.
        fn save_to(&mut self, other: &mut Self) {
            self.keyed.begin_view();
            while let Some((operator, captured)) = self.keyed.capture(1) {
                other.keyed.restore(operator, captured.table, &captured.rows);
            }
        }
    }

    fn schema() -> Schema {
        Schema::new(vec![Column::new("id", SqlType::BigInt, true)])
    }

    /// Runs a quick shard, which has id 1, and a slow one, which has id 2, and then one that has both.
    fn check(window: &str, expect: &[(i64, i64, i64)]) {
        let text = format!(
            "aggregate: {{ name: s, by: id, window: {{ {window}, time: processing }}, select: {{ n: COUNT(*) }} }}"
        );
        let resolved = resolve_step(&text, &flow_of(&schema()));
        let [mut quick, mut slow, mut both] = [(); 3].map(|()| Shard::new(&resolved));
        let mut output = quick.feed(1, &[1, 1], false);
        output.extend(slow.feed(1, &[2, 2, 2], false));
        output.extend(quick.feed(3, &[1], false));
        output.extend(slow.feed(3, &[2, 2], false));
        // The quick one has fired windows that the slow one has not.
        output.extend(quick.feed(4, &[], false));
        quick.save_to(&mut both);
        slow.save_to(&mut both);
        both.keyed.restored();
        output.extend(both.feed(5, &[1, 2], false));
        output.extend(both.feed(6, &[], true));
        output.sort_unstable();
        assert_eq!(output, expect, "{window}");
    }

    #[test]
    fn windows_of_the_wall_clock_are_fired_once_for_each_key() {
        check("tumbling: 2s", &[(1, 2, 2), (1, 4, 1), (1, 6, 1), (2, 2, 3), (2, 4, 2), (2, 6, 1)]);
        check(
            "sliding: 4s, every: 2s",
            &[(1, 2, 2), (1, 4, 3), (1, 6, 2), (1, 8, 1), (2, 2, 3), (2, 4, 5), (2, 6, 3), (2, 8, 1)],
        );
        check(
            "cumulative: 4s, every: 2s",
            &[(1, 2, 2), (1, 4, 3), (1, 6, 1), (1, 8, 1), (2, 2, 3), (2, 4, 5), (2, 6, 1), (2, 8, 1)],
        );
    }
}
