//! A step cut at barriers: its state is captured while rows go on coming, and another machine, on another number of
//! shards, goes on from what was captured.

use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::util::display::array_value_to_string;

use super::machine::{Machine, Output, watermarks};
use crate::exchange::{Partition, Watermarks};
use crate::operator::{Captured, Network, Resolved, StateTable};
use crate::record::Batch;

/// A barrier, and who goes on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The first block behind the barrier.
    pub block: usize,
    /// On how many shards the state is restored.
    pub shards: usize,
}

/// Runs the step as [`super::run`] does, cut at these barriers one after the other: first on `shards` shards, behind the
/// first cut on as many as it says, and so on. Every machine goes on to the end behind its cut, too, while its state is
/// captured. Yields what each machine and those before it have made; nothing where the step keeps no state. Portions and their times are drawn from `seed`.
///
/// # Panics
///
/// As [`super::run`], and if what is captured is not as the operators' tables have it.
#[must_use]
pub fn run_cut(
    resolved: &Resolved,
    shards: usize,
    rows_per_batch: usize,
    blocks: &[Batch],
    cuts: &[Cut],
    seed: u64,
) -> Vec<Output> {
    let mut machine = Machine::new(resolved, shards, 0, watermarks());
    let tables: Vec<Vec<StateTable>> = machine.stages().next().map_or_else(Vec::new, |chain| chain.tables());
    if tables.is_empty() {
        return Vec::new();
    }
    assert!(tables.iter().all(|tables| !tables.is_empty()), "an operator that keeps state has tables");
    let mut random = Random(seed);
    let mut outputs = Vec::new();
    let mut from = 0;
    for cut in cuts {
        if random.below(3) == 0 && cut.block > from {
            // A view that is given up leaves nothing behind.
            machine.feed(&blocks[from..cut.block - 1], rows_per_batch, &mut |_, _| {});
            machine.stages().for_each(Network::begin_view);
            let mut capture = |_: usize, chain: &mut Network| drop(chain.capture(1));
            machine.feed(&blocks[cut.block - 1..cut.block], rows_per_batch, &mut capture);
            machine.stages().for_each(Network::end_view);
        } else {
            machine.feed(&blocks[from..cut.block], rows_per_batch, &mut |_, _| {});
        }
        let before = machine.output.clone();
        machine.stages().for_each(Network::begin_view);
        let mut view = View::new(machine.stages().count());
        let mut capture = |shard: usize, chain: &mut Network| {
            if random.below(2) == 0 {
                view.take(shard, chain, random.size());
            }
        };
        machine.feed(&blocks[cut.block..], rows_per_batch, &mut capture);
        for (shard, chain) in machine.stages().enumerate() {
            while view.take(shard, chain, random.size()) {}
        }
        outputs.push(machine.finish(&blocks[0], &mut |_, _| {}));
        view.check(&tables);
        machine = Machine::new(resolved, cut.shards, cut.block as u64, watermarks_at(&blocks[..cut.block]));
        view.restore(&tables, &mut machine, &mut random);
        machine.output = before;
        from = cut.block;
    }
    machine.feed(&blocks[from..], rows_per_batch, &mut |_, _| {});
    outputs.push(machine.finish(&blocks[0], &mut |_, _| {}));
    for output in &outputs {
        assert_eq!(ends(output), ends(&outputs[0]), "the watermarks at the ends of blocks");
    }
    outputs
}

/// The watermarks behind the step at the ends of blocks.
fn ends(output: &Output) -> BTreeSet<(u64, i64)> {
    let segments = output.batches.iter().flat_map(|batch| &batch.segments);
    segments.filter_map(|segment| Some((segment.number, segment.end?.max_time_ms))).collect()
}

/// The watermarks behind these blocks, saved and restored.
fn watermarks_at(blocks: &[Batch]) -> Watermarks {
    let mut there = watermarks();
    for block in blocks {
        there.stamp(&mut block.clone());
    }
    let mut restored = watermarks();
    let text = there.save().to_string();
    let saved = serde_json::from_str(&text).expect("watermarks are saved as JSON");
    restored.restore(&saved).expect("the source has the same splits");
    restored
}

/// What has been captured, `[shard]`, with the operator that it belongs to.
struct View {
    parts: Vec<Vec<(usize, Captured)>>,
}

impl View {
    fn new(shards: usize) -> Self {
        Self { parts: vec![Vec::new(); shards] }
    }

    /// Captures a portion; whether there was one.
    fn take(&mut self, shard: usize, chain: &mut Network, rows: usize) -> bool {
        let captured = chain.capture(rows);
        let more = captured.is_some();
        self.parts[shard].extend(captured);
        more
    }

    /// Everything is in its table's columns, on the shard that owns it, once.
    fn check(&self, tables: &[Vec<StateTable>]) {
        let mut seen = BTreeSet::new();
        for (shard, parts) in self.parts.iter().enumerate() {
            for (operator, Captured { table, rows }) in parts {
                let StateTable { name, schema, key } = &tables[*operator][*table];
                assert_eq!(rows.schema(), *schema, "the columns of the table {name}");
                let Some(_) = key else { continue };
                let owned = place(&tables[*operator][*table], rows, self.parts.len())[shard].num_rows();
                assert_eq!(owned, rows.num_rows(), "rows of {name} are captured on the shard that owns them");
                for row in 0..rows.num_rows() {
                    let text = (*operator, *table, row_text(rows, row));
                    assert!(!seen.contains(&text), "a row of {name} is captured once: {text:?}");
                    seen.insert(text);
                }
            }
        }
    }

    /// Hands everything to a new machine: the rows of each key to the shard that owns it, all others to every shard; in
    /// another order, and in other portions.
    fn restore(&self, tables: &[Vec<StateTable>], machine: &mut Machine, random: &mut Random) {
        let shards = machine.stages().count();
        let chunks: Vec<(usize, usize, Vec<RecordBatch>)> = self.gather(tables).collect();
        for (operator, table, batches) in chunks {
            let StateTable { schema, key, .. } = &tables[operator][table];
            let all = concat_batches(schema, batches.iter().rev()).expect("they have one schema");
            let shares = match key {
                Some(_) => place(&tables[operator][table], &all, shards),
                None => vec![all; shards],
            };
            for (chain, share) in machine.stages().zip(shares) {
                let mut from = 0;
                while from < share.num_rows() {
                    let count = (share.num_rows() - from).min(1 + random.size() * 2);
                    chain.restore(operator, table, &share.slice(from, count));
                    from += count;
                }
            }
        }
        machine.stages().for_each(Network::restored);
    }

    /// The batches of each table of each operator.
    fn gather<'a>(
        &'a self,
        tables: &'a [Vec<StateTable>],
    ) -> impl Iterator<Item = (usize, usize, Vec<RecordBatch>)> + 'a {
        let names = tables
            .iter()
            .enumerate()
            .flat_map(|(operator, tables)| (0..tables.len()).map(move |table| (operator, table)));
        names.map(|(operator, table)| {
            let of_it =
                self.parts.iter().flatten().filter(|(of, part)| (*of, part.table) == (operator, table));
            (operator, table, of_it.map(|(_, part)| part.rows.clone()).collect())
        })
    }
}

/// The rows of a table that each shard owns, `[shard]`.
fn place(table: &StateTable, rows: &RecordBatch, shards: usize) -> Vec<RecordBatch> {
    let codec = table.key.clone().expect("only rows with a key have a place");
    let columns = (0..codec.columns()).collect();
    let shares = Partition::new(codec, columns).split(Batch::of_rows(rows.clone(), 0), shards);
    shares.into_iter().map(|share| share.rows).collect()
}

fn row_text(rows: &RecordBatch, row: usize) -> String {
    let value = |column: &ArrayRef| {
        let text = array_value_to_string(column, row).expect("every type of ours can be shown");
        if column.is_null(row) { "NULL".to_owned() } else { format!("{text:?}") }
    };
    rows.columns().iter().map(value).collect::<Vec<_>>().join(", ")
}

/// Numbers that look random (Steele et al., "Fast Splittable Pseudorandom Number Generators", 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % end
    }

    /// The size of a portion.
    fn size(&mut self) -> usize {
        usize::try_from(1 + self.below(3)).expect("a few")
    }
}
