//! Snapshots that tests write, read and spoil.

mod corruption;
mod fuzz;
mod mutation;
mod parts;
mod store;

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
    TimestampMillisecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};

use super::*;
use crate::io::{BlockFile, Disk, Mode};
use crate::operator::StateTable;
use crate::record::{Column, KeyCodec, SLOTS, SqlType, shard_of_slot, slot_of_hash};

/// The machine's disk.
fn disk() -> Disk {
    Disk::new(Mode::Threads)
}

/// The states of a shard's operators, as writer and reader are given them.
type States = Vec<(String, Vec<StateTable>)>;

const RUN: &str = "2f6c1d0a9b3e4f58";

/// A file that hands what is written to a test, a little at a time.
pub(super) struct Written {
    sender: Sender<Vec<u8>>,
    room: usize,
    finished: bool,
}

impl Written {
    pub fn file(room: usize) -> (Box<dyn BlockFile>, Receiver<Vec<u8>>) {
        let (sender, receiver) = channel();
        (Box::new(Self { sender, room, finished: false }), receiver)
    }
}

impl BlockFile for Written {
    fn room(&self) -> usize {
        self.room
    }

    fn write(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.room && !self.finished);
        self.sender.send(bytes.to_vec()).unwrap();
    }

    fn finish(&mut self) {
        assert!(!std::mem::replace(&mut self.finished, true), "a file is finished once");
    }

    fn poll(&mut self) -> io::Result<bool> {
        Ok(self.finished)
    }
}

/// The states of an operator with a keyed table and one without a key, and of another with nested columns; then one more
/// under the first's name.
fn states() -> States {
    let table = |name, columns: Vec<Column>, key: Option<usize>| {
        let types = columns.iter().take(key.unwrap_or(0)).map(|column| column.data_type.clone()).collect();
        let fields: Vec<_> = columns.iter().map(Column::field).collect();
        let key = key.map(|_| KeyCodec::new(types).unwrap());
        StateTable { name, schema: Arc::new(ArrowSchema::new(fields)), key }
    };
    let column = |name: &str, data_type| Column::new(name, data_type, true);
    let item = SqlType::Row(vec![column("a", SqlType::BigInt), column("b", SqlType::String)]);
    let groups = vec![
        column("user", SqlType::BigInt),
        column("name", SqlType::String),
        column("total", SqlType::Decimal(12, 2)),
    ];
    let nested = vec![
        column("name", SqlType::String),
        column("items", SqlType::Array(Box::new(item), true)),
        column("open", SqlType::Boolean),
    ];
    vec![
        (
            "spend".into(),
            vec![
                table("groups", groups.clone(), Some(2)),
                table("mark", vec![column("watermark", SqlType::Timestamp(3))], None),
            ],
        ),
        ("names".into(), vec![table("rows", nested, Some(1))]),
        ("spend".into(), vec![table("groups", groups, Some(2)), table("nothing", vec![], None)]),
    ]
}

fn groups(states: &[(String, Vec<StateTable>)], numbers: std::ops::Range<i64>) -> RecordBatch {
    let users = numbers.clone().map(|n| (n % 7 != 3).then_some(n));
    let names = numbers.clone().map(|n| format!("user {}", "x".repeat(usize::try_from(n % 13).unwrap())));
    let totals = numbers.map(|n| (n % 5 != 0).then_some(i128::from(n) * 100));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(users.collect::<Int64Array>()),
        Arc::new(names.map(Some).collect::<StringArray>()),
        Arc::new(totals.collect::<Decimal128Array>().with_precision_and_scale(12, 2).unwrap()),
    ];
    RecordBatch::try_new(states[0].1[0].schema.clone(), columns).unwrap()
}

fn mark(states: &[(String, Vec<StateTable>)], watermark: i64) -> RecordBatch {
    let column: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![watermark]));
    RecordBatch::try_new(states[0].1[1].schema.clone(), vec![column]).unwrap()
}

fn nested(states: &[(String, Vec<StateTable>)], numbers: std::ops::Range<i64>) -> RecordBatch {
    let lengths: Vec<usize> = numbers.clone().map(|n| usize::try_from(n % 4).unwrap()).collect();
    let items = i64::try_from(lengths.iter().sum::<usize>()).unwrap();
    let schema = &states[1].1[0].schema;
    let DataType::List(element) = schema.field(1).data_type() else { unreachable!("an array") };
    let DataType::Struct(fields) = element.data_type() else { unreachable!("of rows") };
    let columns: Vec<ArrayRef> = vec![
        Arc::new((0..items).map(Some).collect::<Int64Array>()),
        Arc::new((0..items).map(|n| (n % 3 != 0).then(|| format!("{n}"))).collect::<StringArray>()),
    ];
    let nulls = NullBuffer::from((0..items).map(|n| n % 5 != 1).collect::<Vec<bool>>());
    let items = StructArray::new(fields.clone(), columns, Some(nulls));
    let lists = ListArray::new(element.clone(), OffsetBuffer::from_lengths(lengths), Arc::new(items), None);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(numbers.clone().map(|n| Some(format!("n{n}"))).collect::<StringArray>()),
        Arc::new(lists),
        Arc::new(numbers.map(|n| (n % 3 != 0).then_some(n % 2 == 0)).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

/// The rows whose keys a shard owns.
fn owned(rows: &RecordBatch, codec: &KeyCodec, shard: usize, shards: usize) -> RecordBatch {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    codec.encode(&rows.columns()[..codec.types().len()], rows.num_rows(), &mut bytes, &mut ends);
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let hash = |(start, end): (u32, &u32)| KeyCodec::hash(&bytes[start as usize..*end as usize]);
    let owns = |keys| shard_of_slot(slot_of_hash(hash(keys)), shards) == shard;
    let keep: BooleanArray = starts.zip(&ends).map(|keys| Some(owns(keys))).collect();
    filter_record_batch(rows, &keep).unwrap()
}

/// A snapshot of `rows` keys, as `shards` shards write it in portions of `portion` rows: its manifest and its parts.
fn written(epoch: u64, shards: usize, rows: i64, portion: usize) -> (Manifest, Vec<Vec<u8>>) {
    let states = states();
    let (mut summaries, mut files) = (Vec::new(), Vec::new());
    for shard in 0..shards {
        let (file, bytes) = Written::file(10_000 + 777 * portion);
        let number = |number: usize| u32::try_from(number).unwrap();
        let info = PartInfo { run: RUN.into(), epoch, shard: number(shard), shards: number(shards) };
        let mut writer = PartWriter::new(file, info, states.clone());
        let tables = [
            (0, 0, owned(&groups(&states, 0..rows), states[0].1[0].key.as_ref().unwrap(), shard, shards)),
            (0, 1, mark(&states, 1000 + i64::try_from(shard).unwrap())),
            (1, 0, owned(&nested(&states, 0..rows), states[1].1[0].key.as_ref().unwrap(), shard, shards)),
            (2, 0, owned(&groups(&states, 5..rows / 2), states[2].1[0].key.as_ref().unwrap(), shard, shards)),
        ];
        for (state, table, rows) in tables {
            for start in (0..rows.num_rows()).step_by(portion) {
                while !writer.is_clear() {
                    assert!(!writer.poll().unwrap());
                }
                writer.add(state, table, &rows.slice(start, portion.min(rows.num_rows() - start)));
                writer.poll().unwrap();
            }
        }
        writer.finish();
        while !writer.poll().unwrap() {}
        summaries.push(writer.summary());
        files.push(bytes.try_iter().flatten().collect());
    }
    (manifest(epoch, summaries), files)
}

fn manifest(epoch: u64, shards: Vec<PartSummary>) -> Manifest {
    Manifest {
        format: FORMAT,
        pipeline: "spend".into(),
        run: RUN.into(),
        barrier: BarrierText { epoch, number: 1 << 40, piece: 12 },
        finished: false,
        at: "2024-01-31T00:00:09Z".into(),
        slots: SLOTS,
        key_hash: KEY_HASH.into(),
        fingerprint: Fingerprint::default(),
        shards,
        source: serde_json::json!({ "files": [{ "path": "in.ndjson", "bytes": 12 }] }),
        watermarks: vec![serde_json::json!({ "file": 1_706_659_209_000_i64 })],
        outputs: [("sink".to_owned(), serde_json::json!({ "bytes": 1234 }))].into(),
        quarantine: None,
        counts: Counts { rows_in: 100, rows_out: 10, ..Counts::default() },
    }
}

/// Opens a part on its own.
fn open(bytes: &[u8], manifest: &Manifest, shard: usize) -> Result<Part, SnapshotError> {
    Part::open(Path::new("shard"), Buffer::from_vec(bytes.to_vec()), manifest, shard)
}

/// All that a part yields, or what is wrong with it.
fn read(bytes: &[u8], manifest: &Manifest, shard: usize) -> Result<String, SnapshotError> {
    let part = open(bytes, manifest, shard)?;
    part.verify()?;
    let mut text = String::new();
    for (state, saved) in part.states().iter().enumerate() {
        for table in 0..saved.tables.len() {
            part.rows(state, table, None, |rows| {
                text += &lines(&rows).concat();
                ControlFlow::Continue(())
            })?;
        }
    }
    Ok(text)
}

/// Puts the parts and the manifest of a snapshot into a folder of committed snapshots.
fn place(state: &Path, manifest: &Manifest, files: &[Vec<u8>]) -> Store {
    let store = Store::new(Arc::new(disk()), state);
    store.prepare().unwrap();
    let folder = store.begin(manifest.barrier.epoch).unwrap();
    for (shard, bytes) in files.iter().enumerate() {
        std::fs::write(folder.join(part_name(shard)), bytes).unwrap();
    }
    store.commit(manifest).unwrap();
    store
}

/// Rows as texts, one each.
fn lines(rows: &RecordBatch) -> Vec<String> {
    let options = arrow::util::display::FormatOptions::default().with_null("NULL");
    let columns: Vec<_> = rows
        .columns()
        .iter()
        .map(|column| arrow::util::display::ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
        .collect();
    let line =
        |row| columns.iter().map(|column| format!("{}|", column.value(row))).collect::<String>() + "\n";
    (0..rows.num_rows()).map(line).collect()
}

/// A table with one column that cannot be in a snapshot.
fn strange() -> StateTable {
    let field = Field::new("a", DataType::LargeUtf8, true);
    StateTable { name: "a", schema: Arc::new(ArrowSchema::new(vec![field])), key: None }
}
