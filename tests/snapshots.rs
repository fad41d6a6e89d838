//! Snapshots as their users see them: the commands that show them, and snapshots of released formats, which every later
//! version reads.
//!
//! `snapshots/format-1` and `snapshots/format-1-run` are state directories that were written by the first version with
//! this format, the second by a run of the pipeline beside it that was killed in the middle of its input. They are never
//! made anew, so that what is on users' disks stays readable; only where one is missing `UPDATE=1 cargo test --test
//! snapshots` makes it.

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Int64Array, ListArray, RecordBatch, TimestampMillisecondArray,
    UInt64Array,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use millstream::io::{BlockFile, Disk, Mode};
use millstream::operator::StateTable;
use millstream::record::{KeyCodec, SLOTS, SqlType, shard_of_slot, slot_of_hash};
use millstream::snapshot::{
    Access, BarrierText, Counts, FORMAT, Fingerprint, KEY_HASH, Manifest, PartInfo, PartWriter, Store,
    part_name,
};
use scene::{Ended, Scene, end, repository};

/// Writes blocks at once.
struct Plain(File, bool);

impl BlockFile for Plain {
    fn room(&self) -> usize {
        1 << 20
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("a file in a scratch directory");
    }

    fn finish(&mut self) {
        self.1 = true;
    }

    fn poll(&mut self) -> io::Result<bool> {
        Ok(self.1)
    }
}

/// The machine's disk.
fn disk() -> Disk {
    Disk::new(Mode::Threads)
}

fn groups() -> StateTable {
    let element = Arc::new(Field::new("item", DataType::Utf8, true));
    let fields = vec![
        Field::new("user", DataType::Int64, true),
        Field::new("total", DataType::Decimal128(12, 2), true),
        Field::new("items", DataType::List(element), true),
        Field::new("first_at", DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into())), true),
        Field::new("arrival", DataType::UInt64, true),
    ];
    let key = KeyCodec::new(vec![SqlType::BigInt]).expect("a key");
    StateTable { name: "groups", schema: Arc::new(Schema::new(fields)), key: Some(key) }
}

fn mark() -> StateTable {
    let fields = vec![Field::new("watermark", DataType::Timestamp(TimeUnit::Millisecond, None), true)];
    StateTable { name: "mark", schema: Arc::new(Schema::new(fields)), key: None }
}

fn states() -> Vec<(String, Vec<StateTable>)> {
    vec![("spend".into(), vec![groups(), mark()])]
}

fn batch(schema: SchemaRef, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(schema, columns).expect("the columns of the schema")
}

/// The rows of users: their number and their total in cents.
fn users(users: &[(Option<i64>, i128)]) -> RecordBatch {
    let mut items = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    for (user, _) in users {
        (0..user.unwrap_or(0) % 3).for_each(|item| items.values().append_value(format!("a, \"{item}\"")));
        items.append(true);
    }
    let items: ListArray = items.finish();
    let totals = users.iter().map(|(_, total)| Some(*total)).collect::<Decimal128Array>();
    let times = users.iter().map(|(user, _)| user.map(|user| 1_706_659_209_000 + user));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(users.iter().map(|(user, _)| *user).collect::<Int64Array>()),
        Arc::new(totals.with_precision_and_scale(12, 2).expect("in range")),
        Arc::new(items),
        Arc::new(times.collect::<TimestampMillisecondArray>().with_timezone("+00:00")),
        Arc::new(users.iter().map(|_| Some(u64::MAX)).collect::<UInt64Array>()),
    ];
    batch(groups().schema, columns)
}

/// The rows whose keys a shard owns.
fn owned(rows: &RecordBatch, shard: usize, shards: usize) -> RecordBatch {
    let codec = groups().key.expect("it has one");
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    codec.encode(&rows.columns()[..1], rows.num_rows(), &mut bytes, &mut ends);
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let hash = |(start, end): (u32, &u32)| KeyCodec::hash(&bytes[start as usize..*end as usize]);
    let keep = starts.zip(&ends).map(|keys| Some(shard_of_slot(slot_of_hash(hash(keys)), shards) == shard));
    filter_record_batch(rows, &keep.collect::<BooleanArray>()).expect("a mark for each row")
}

/// Commits a snapshot of these users, as `shards` shards do.
fn commit(state: &Path, epoch: u64, shards: u32, rows: &RecordBatch) {
    let store = Store::new(Arc::new(disk()), state);
    store.prepare().expect("a scratch directory");
    let folder = store.begin(epoch).expect("a new epoch");
    let run = "2f6c1d0a9b3e4f58".to_owned();
    let part = |shard: u32| {
        let file = File::create_new(folder.join(part_name(shard as usize))).expect("a new file");
        let info = PartInfo { run: run.clone(), epoch, shard, shards };
        let mut writer = PartWriter::new(Box::new(Plain(file, false)), info, states());
        writer.add(0, 0, &owned(rows, shard as usize, shards as usize));
        let watermark = TimestampMillisecondArray::from(vec![1_706_659_209_000 + i64::from(shard)]);
        writer.add(0, 1, &batch(mark().schema, vec![Arc::new(watermark)]));
        writer.finish();
        while !writer.poll().expect("a file in a scratch directory") {}
        writer.summary()
    };
    let manifest = Manifest {
        format: FORMAT,
        pipeline: "spend".into(),
        run: run.clone(),
        barrier: BarrierText { epoch, number: 4096, piece: 12 },
        finished: false,
        at: "2024-01-31T00:00:09Z".into(),
        slots: SLOTS,
        key_hash: KEY_HASH.into(),
        fingerprint: Fingerprint::default(),
        shards: (0..shards).map(part).collect(),
        source: serde_json::json!({ "files": [{ "path": "in.ndjson", "bytes": 12 }] }),
        watermarks: vec![serde_json::json!({ "in.ndjson": 1_706_659_209_000_i64 })],
        outputs: [("file".to_owned(), serde_json::json!({ "bytes": 1234 }))].into(),
        quarantine: None,
        counts: Counts { rows_in: 100, rows_out: 10, bytes_in: 4096, late: 3, ..Counts::default() },
    };
    store.commit(&manifest).expect("it is committed");
}

const TEN: [(Option<i64>, i128); 10] = [
    (Some(0), 0),
    (Some(1), 150),
    (Some(2), -7),
    (Some(3), 99_999_999),
    (Some(4), 4),
    (Some(5), 5),
    (Some(6), 6),
    (Some(7), 7),
    (Some(8), 8),
    (None, 9),
];

/// A scene with a pipeline and two snapshots: user 1 has changed, user 2 has gone and user 20 has come.
fn two_snapshots() -> Scene {
    let scene = Scene::new();
    scene.write("pipeline.yaml", "millstream: 1\nname: spend\nsource:\n  stdin: {}\n  format: json\n  schema: { a: STRING }\nsink:\n  stdout: {}\n  format: json\n");
    let state = scene.path("state");
    fs::create_dir(&state).expect("a scratch directory");
    commit(Path::new(&state), 41, 2, &users(&TEN));
    let mut later = TEN.to_vec();
    later[1].1 = 160;
    later[2] = (Some(20), 1);
    commit(Path::new(&state), 42, 3, &users(&later));
    scene
}

fn run(scene: &Scene, arguments: &[&str]) -> Ended {
    end(&mut scene.program(arguments))
}

/// What a command says that has to succeed.
fn said(scene: &Scene, arguments: &[&str]) -> String {
    let ended = run(scene, arguments);
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    ended.stdout
}

/// Checks that a command fails with this code and says this.
fn refused(scene: &Scene, arguments: &[&str], code: i32, expect: &[&str]) {
    let ended = run(scene, arguments);
    assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
    for expect in expect {
        assert!(ended.stderr.contains(expect), "{arguments:?}: {expect:?} is not in {}", ended.stderr);
    }
}

const PIPELINE: [&str; 3] = ["pipeline.yaml", "--state-dir", "state"];

#[test]
fn snapshots_are_listed_and_shown() {
    let scene = two_snapshots();
    let list = said(&scene, &[&["snapshot", "list"], &PIPELINE[..]].concat());
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 3, "{list}");
    assert!(lines[1].starts_with("41        2024-01-31T00:00:09Z  2       12"), "{list}");
    assert!(lines[2].starts_with("42        2024-01-31T00:00:09Z  3       13"), "{list}");
    let json: serde_json::Value =
        serde_json::from_str(&said(&scene, &["snapshot", "list", "state", "--format", "json"]))
            .expect("JSON");
    assert_eq!((&json[1]["snapshot"], &json[1]["rows"]), (&42.into(), &13.into()));
    let shown = said(&scene, &["snapshot", "show", "state"]);
    for expect in [
        "snapshot 42 of the pipeline `spend`",
        "piece 12, block number 4096",
        r#"{"files":[{"bytes":12,"path":"in.ndjson"}]}"#,
        r#"file: {"bytes":1234}"#,
        "10 rows, 3 late",
        "spend/groups: 10 rows",
        "user BIGINT, total DECIMAL(12, 2), items ARRAY<STRING>, first_at TIMESTAMP_LTZ(3), arrival UInt64",
    ] {
        assert!(shown.contains(expect), "{expect:?} is not in\n{shown}");
    }
    let json = said(&scene, &["snapshot", "show", "state", "--snapshot", "41", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["manifest"]["barrier"]["epoch"], 41);
    assert_eq!(json["states"][0]["tables"][0]["columns"][1]["type"], "DECIMAL(12, 2)");
    refused(
        &scene,
        &["snapshot", "show", "state", "--snapshot", "7"],
        1,
        &["no snapshot 7", "there are: 41, 42"],
    );
    let empty = scene.path("empty");
    fs::create_dir(&empty).expect("a scratch directory");
    refused(&scene, &["snapshot", "show", "empty"], 1, &["there is no snapshot in"]);
    assert_eq!(said(&scene, &["snapshot", "list", "empty", "--format", "json"]), "[]\n");
    refused(&scene, &["snapshot", "list", "nowhere.yaml"], 78, &["failed to read the pipeline nowhere.yaml"]);
}

#[test]
fn snapshots_are_found_where_the_pipeline_keeps_them() {
    let scene = two_snapshots();
    let listed = |command: &mut std::process::Command| {
        let ended = end(command);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout.lines().count()
    };
    let list = ["snapshot", "list", "pipeline.yaml"];
    assert_eq!(listed(scene.program(&list).env("STATE_DIRECTORY", scene.path("state"))), 3);
    assert_eq!(listed(&mut scene.program(&[&list[..], &["--set", "run.state_dir=state"]].concat())), 3);
    assert_eq!(listed(&mut scene.program(&list)), 0);
    fs::create_dir(scene.path(".millstream")).expect("a scratch directory");
    fs::rename(scene.path("state"), scene.path(".millstream/spend")).expect("a scratch directory");
    assert_eq!(listed(&mut scene.program(&list)), 3);
}

#[test]
fn damage_is_told_and_nothing_is_pruned_then() {
    let scene = two_snapshots();
    let verified = said(&scene, &["snapshot", "verify", "state"]);
    assert!(
        verified.starts_with("snapshot 41: whole; 12 rows, ") && verified.lines().count() == 2,
        "{verified}"
    );
    let path = scene.path("state/snapshots/0000000042/shard-001");
    let mut bytes = fs::read(&path).expect("a part");
    bytes[4096 + 100] ^= 1;
    fs::write(&path, &bytes).expect("a part");
    let place = "0000000042/shard-001 is damaged: the checksum of the block is wrong (block 0 at byte 4096)";
    refused(&scene, &["snapshot", "verify", "state"], 65, &[place, "`run --from N`", "`run --fresh`"]);
    said(&scene, &["snapshot", "verify", "state", "--snapshot", "41"]);
    refused(&scene, &["state", "show", "state", "spend"], 65, &[place]);
    // What can be told of it is told.
    said(&scene, &["snapshot", "show", "state"]);
    bytes[8] ^= 1;
    fs::write(&path, &bytes).expect("a part");
    let shown = run(&scene, &["snapshot", "show", "state"]);
    assert!(shown.code == Some(65) && shown.stdout.contains("piece 12"), "{shown:?}");
    bytes[8] ^= 1;
    fs::write(&path, &bytes).expect("a part");
    refused(&scene, &["snapshot", "prune", "state", "--keep", "1"], 65, &[place, "nothing is removed"]);
    assert_eq!(scene.names("state/snapshots"), ["0000000041", "0000000042"]);
    fs::write(scene.path("state/snapshots/0000000042/MANIFEST"), "millstream snapshot 1\n")
        .expect("a manifest");
    refused(&scene, &["snapshot", "list", "state"], 65, &["MANIFEST is damaged"]);
}

#[test]
fn pruning_waits_for_nobody_and_reading_does_not_lock() {
    let scene = two_snapshots();
    let lock = File::create(scene.path("state/LOCK")).expect("a scratch directory");
    lock.try_lock().expect("nobody else has it");
    refused(&scene, &["snapshot", "prune", "state", "--keep", "1"], 75, &["another instance"]);
    said(&scene, &["snapshot", "verify", "state"]);
    said(&scene, &["state", "show", "state", "spend"]);
    drop(lock);
    assert_eq!(said(&scene, &["snapshot", "prune", "state", "--keep", "1"]), "removed: 41\n");
    assert_eq!(said(&scene, &["snapshot", "prune", "state"]), "nothing to remove\n");
    assert_eq!(scene.names("state/snapshots"), ["0000000042"]);
    refused(&scene, &["snapshot", "prune", "pipeline.yaml"], 1, &["there are no snapshots in"]);
    refused(&scene, &["snapshot", "prune", "."], 1, &["there are no snapshots in"]);
    assert!(!scene.exists(".millstream") && !scene.exists("LOCK"), "nothing is made");
}

#[test]
fn rows_are_shown_by_key_and_condition() {
    let scene = two_snapshots();
    let show = |more: &[&str]| {
        let all = said(&scene, &[&["state", "show", "state", "spend", "--format", "json"], more].concat());
        let mut lines: Vec<String> = all.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(show(&[]).len(), 10);
    let one = r#"{"user":1,"total":1.60,"items":["a, \"0\""],"first_at":"2024-01-31T00:00:09.001Z","arrival":18446744073709551615}"#;
    assert_eq!(show(&["--key", "1"]), [one]);
    assert_eq!(show(&["--where", "total = 1.60"]), [one]);
    assert_eq!(show(&["--key", "NULL"]).len(), 1);
    assert_eq!(show(&["--where", "`user` IS NULL OR `user` > 7"]).len(), 3);
    assert_eq!(show(&["--limit", "4"]).len(), 4);
    assert_eq!(show(&["--limit", "0"]).len(), 0);
    assert_eq!(show(&["--table", "mark"]).len(), 3);
    assert_eq!(show(&["--table", "mark", "--snapshot", "41"])[0], r#"{"watermark":"2024-01-31T00:00:09"}"#);
    let refuse = |more: &[&str], code: i32, expect: &[&str]| {
        refused(&scene, &[&["state", "show", "state"], more].concat(), code, expect);
    };
    refuse(&["spent"], 1, &["no state `spent`", "did you mean `spend`?"]);
    refuse(&["spend", "--table", "marks"], 1, &["no table `marks`", "did you mean `mark`?"]);
    refuse(&["spend", "--key", "1", "--key", "2"], 1, &["the key of the table `groups` has 1 columns"]);
    refuse(&["spend", "--table", "mark", "--key", "2"], 1, &["has no key: use --where"]);
    refuse(&["spend", "--where", "totl > 1"], 1, &["--where: ", "totl", "did you mean `total`?"]);
    refuse(&["spend", "--where", "total + 1"], 1, &["--where is a condition"]);
    refuse(&["spend", "--where", "1 / `user` > 0"], 1, &["could not be evaluated for 1 rows"]);
    refuse(&["spend", "--format", "parquet"], 1, &["give --out FILE"]);
}

#[test]
fn rows_are_written_in_every_format() {
    let scene = two_snapshots();
    let show = |more: &[&str]| said(&scene, &[&["state", "show", "state", "spend"], more].concat());
    let text = show(&["--key", "3"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["user", "total", "items", "first_at", "arrival"]
    );
    assert!(lines[1].starts_with("3     999999.99  []"), "{text}");
    assert!(show(&["--key", "NULL"]).contains("NULL  0.09"));
    let csv = show(&["--format", "csv", "--where", "`user` = 2 OR `user` = 1 OR `user` IS NULL"]);
    let mut lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.remove(0), "user,total,items,first_at,arrival");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            ",0.09,[],,18446744073709551615",
            r#"1,1.60,"[""a, \""0\""""]",2024-01-31T00:00:09.001Z,18446744073709551615"#,
        ]
    );
    show(&["--format", "csv", "--out", "rows.csv"]);
    assert_eq!(scene.read("rows.csv").lines().count(), 11);
    show(&["--format", "parquet", "--out", "rows.parquet"]);
    let file = File::open(scene.path("rows.parquet")).expect("it is written");
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 1000).expect("Parquet");
    let rows: Vec<RecordBatch> = reader.map(|rows| rows.expect("rows")).collect();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 10);
    assert_eq!(*rows[0].schema().field(1).data_type(), DataType::Decimal128(12, 2));
}

#[test]
fn differences_are_told_by_key() {
    let scene = two_snapshots();
    let diff = |more: &[&str]| said(&scene, &[&["state", "diff", "state"], more].concat());
    let text = diff(&["41", "42"]);
    assert!(text.contains("spend/groups: 1 added, 1 removed, 1 changed\n"), "{text}");
    assert!(text.contains("spend/mark: 1 added, 0 removed, 0 changed\n"), "{text}");
    let was = text.find(r#"  - {"user":1,"total":1.50,"#).expect("the row before");
    let is = text.find(r#"  + {"user":1,"total":1.60,"#).expect("the row after");
    assert!(text[was..is].lines().count() == 1, "side by side: {text}");
    assert!(text.contains(r#"  - {"user":2,"#) && text.contains(r#"  + {"user":20,"#), "{text}");
    assert_eq!(text.lines().count(), 4 + 2 + 1, "{text}");
    let json = diff(&["42", "41", "--step", "spend", "--format", "json"]);
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let gone = lines.iter().find(|line| line["row"]["user"] == 20).expect("it has gone");
    assert_eq!((&gone["change"], &gone["table"]), (&"removed".into(), &"spend/groups".into()));
    assert_eq!(diff(&["42", "42"]), "no difference\n");
    assert_eq!(
        diff(&["41", "42", "--limit", "1"]).lines().filter(|line| line.starts_with("  ")).count(),
        2 + 1
    );
    refused(&scene, &["state", "diff", "state", "40", "42"], 1, &["no snapshot 40"]);
    refused(&scene, &["state", "diff", "state", "41", "42", "--step", "x"], 1, &["no state `x`"]);
}

/// All rows of a table as the shards of a restored run take them, sorted.
fn restored(store: &Store, shards: usize, table: usize) -> Vec<String> {
    let snapshot = store.open(42, Access::Mapped).expect("it is whole");
    snapshot.verify().expect("it is whole");
    let mut lines = Vec::new();
    for shard in 0..shards {
        let take = |_, found, rows: &RecordBatch| {
            if found != table {
                return;
            }
            let options = FormatOptions::default().with_null("NULL");
            let formatter = |column: &'_ ArrayRef| -> Vec<String> {
                let values = ArrayFormatter::try_new(column.as_ref(), &options).expect("it can be shown");
                (0..column.len()).map(|row| values.value(row).to_string()).collect()
            };
            let columns: Vec<Vec<String>> = rows.columns().iter().map(formatter).collect();
            let line =
                |row: usize| columns.iter().map(|column| column[row].clone()).collect::<Vec<_>>().join(" ");
            lines.extend((0..rows.num_rows()).map(line));
        };
        snapshot.rows_for(shard, shards, &states(), take).expect("its tables are the same");
    }
    lines.sort_unstable();
    lines
}

#[test]
fn snapshots_of_format_1_are_read_for_ever() {
    let state = repository("tests/snapshots/format-1");
    if !state.exists() && std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(&state).expect("a writable repository");
        commit(&state, 42, 2, &users(&TEN));
    }
    let store = Store::new(Arc::new(disk()), &state);
    let newest = store.newest().expect("a readable folder").expect("there is one");
    let manifest = newest.manifest.expect("its manifest is whole");
    assert_eq!((manifest.pipeline.as_str(), manifest.barrier.piece, manifest.counts.late), ("spend", 12, 3));
    let expect = [
        "0 0.00 [] 2024-01-31T00:00:09Z 18446744073709551615",
        "1 1.50 [a, \"0\"] 2024-01-31T00:00:09.001Z 18446744073709551615",
        "2 -0.07 [a, \"0\", a, \"1\"] 2024-01-31T00:00:09.002Z 18446744073709551615",
        "3 999999.99 [] 2024-01-31T00:00:09.003Z 18446744073709551615",
        "4 0.04 [a, \"0\"] 2024-01-31T00:00:09.004Z 18446744073709551615",
        "5 0.05 [a, \"0\", a, \"1\"] 2024-01-31T00:00:09.005Z 18446744073709551615",
        "6 0.06 [] 2024-01-31T00:00:09.006Z 18446744073709551615",
        "7 0.07 [a, \"0\"] 2024-01-31T00:00:09.007Z 18446744073709551615",
        "8 0.08 [a, \"0\", a, \"1\"] 2024-01-31T00:00:09.008Z 18446744073709551615",
        "NULL 0.09 [] NULL 18446744073709551615",
    ];
    for shards in [1, 2, 3, 8] {
        assert_eq!(restored(&store, shards, 0), expect, "on {shards} shards");
    }
    assert_eq!(restored(&store, 1, 1), ["2024-01-31T00:00:09", "2024-01-31T00:00:09.001"]);
}

/// What the pipeline of `format-1-run` reads: rows of 40 users, 10 ms after one another, shuffled a little; some are far
/// behind, some are no records. It is longer than a mebibyte, so that barriers lie within.
fn input_of_the_run() -> String {
    let padding = "x".repeat(1500);
    let row = |n: u32| {
        if n % 701 == 700 {
            return format!("{{\"broken {n}\n");
        }
        let drawn = n.wrapping_mul(2_654_435_761);
        let behind_ms = if n % 97 == 96 { 5000 } else { (drawn >> 8) % 40 };
        let at_ms = (n * 10).saturating_sub(behind_ms);
        let (user, item) = ((drawn >> 12) % 40, (drawn >> 16) % 25);
        let (whole, cents) = ((drawn >> 20) % 100, drawn % 100);
        let (minutes, seconds, millis) = (at_ms / 60_000, at_ms / 1000 % 60, at_ms % 1000);
        format!(
            "{{\"user\":\"user {user}\",\"item\":{item},\"amount\":{whole}.{cents:02},\
             \"at\":\"2026-01-01T00:{minutes:02}:{seconds:02}.{millis:03}\",\"padding\":\"{padding}\"}}\n"
        )
    };
    (0..8000).map(row).collect()
}

/// A scene with the pipeline of `format-1-run` and its input.
fn scene_of_the_run() -> Scene {
    let scene = Scene::new();
    scene.write("in.ndjson", input_of_the_run());
    let pipeline = repository("tests/snapshots/format-1-run/pipeline.yaml");
    scene.write("pipeline.yaml", fs::read(pipeline).expect("the pipeline of the run"));
    scene
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a scratch directory");
    for entry in fs::read_dir(from).expect("a folder") {
        let (from, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).expect("an entry");
        if from.is_dir() { copy(&from, &to) } else { fs::copy(from, to).map(drop).expect("a copy") }
    }
}

/// The manifest of the snapshot of a scene's state.
fn manifest_of(scene: &Scene) -> Manifest {
    let store = Store::new(Arc::new(disk()), Path::new(&scene.path("state")));
    store.newest().expect("a readable folder").expect("there is one").manifest.expect("it is whole")
}

/// Kills a run of the pipeline in the middle of its input, and keeps its state.
fn make_state_of_the_run(state: &Path) {
    for attempt in 1..20 {
        let scene = scene_of_the_run();
        let mut run = scene.program(&["run", "pipeline.yaml", "--state-dir", "state", "--cores", "2"]);
        end(run.env("MILLSTREAM_CRASH_AT", format!("snapshots-pruned:{attempt}")));
        let manifest = manifest_of(&scene);
        if !manifest.finished && (1000..6000).contains(&manifest.counts.rows_in) {
            copy(Path::new(&scene.path("state")), state);
            return;
        }
    }
    panic!("no run was killed in the middle of its input");
}

#[test]
fn runs_go_on_from_snapshots_of_format_1() {
    let state = repository("tests/snapshots/format-1-run/state");
    if !state.exists() && std::env::var_os("UPDATE").is_some() {
        make_state_of_the_run(&state);
    }
    let undisturbed = scene_of_the_run();
    let expect = said(&undisturbed, &["run", "pipeline.yaml", "--state-dir", "state"]);
    let expect = scene::sorted(&expect);
    assert!(expect.len() > 20, "there is something to lose: {expect:?}");
    for cores in ["1", "2", "5"] {
        let scene = scene_of_the_run();
        copy(&state, Path::new(&scene.path("state")));
        let snapshot = manifest_of(&scene);
        let rows_before = snapshot.counts.rows_in;
        assert!(snapshot.shards.len() == 2 && rows_before > 1000, "{snapshot:?}");
        said(&scene, &["snapshot", "verify", "state"]);
        let shown = said(&scene, &["snapshot", "show", "state"]);
        for step in ["once", "visits", "users", "best"] {
            assert!(shown.contains(step), "{step} in {shown}");
            assert!(!said(&scene, &["state", "show", "state", step]).is_empty(), "{step}");
        }
        let planned = said(&scene, &["plan", "pipeline.yaml", "--state-dir", "state"]);
        assert_eq!(planned.lines().filter(|line| line.starts_with("kept ")).count(), 4 + 1, "{planned}");
        let ended = run(&scene, &["run", "pipeline.yaml", "--state-dir", "state", "--cores", cores]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(scene::sorted(&ended.stdout), expect, "on {cores} cores: {}", ended.stderr);
        let from = format!("going on from snapshot {} of ", snapshot.barrier.epoch);
        assert!(ended.stderr.contains(&from), "{}", ended.stderr);
        let total = format!("with what was before snapshot {}: 8,000 rows in", snapshot.barrier.epoch);
        assert!(ended.stderr.contains(&total), "{}", ended.stderr);
        assert_eq!(scene.quarantine().len(), 11, "{}", ended.stderr);
    }
}
