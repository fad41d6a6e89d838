//! What is written is read, on any number of shards.

use super::*;

/// What the shards of a restored run take, table by table, sorted.
fn restored(snapshot: &Snapshot, shards: usize) -> Vec<(usize, usize, Vec<String>)> {
    let wanted = states();
    let mut all: Vec<(usize, usize, Vec<String>)> = Vec::new();
    for shard in 0..shards {
        let take = |state, table, rows: &RecordBatch| {
            let table_of = |entry: &&mut (usize, usize, Vec<String>)| (entry.0, entry.1) == (state, table);
            let codec: Option<&KeyCodec> = wanted[state].1[table].key.as_ref();
            if let Some(codec) = codec {
                assert_eq!(owned(rows, codec, shard, shards), *rows, "all rows are the shard's");
            }
            let mut lines = lines(rows);
            if codec.is_none() {
                for line in &mut lines {
                    line.insert_str(0, &format!("{shard}: "));
                }
            }
            match all.iter_mut().find(table_of) {
                Some(entry) => entry.2.extend(lines),
                None => all.push((state, table, lines)),
            }
        };
        snapshot.rows_for(shard, shards, &wanted, take).unwrap();
    }
    for (_, _, lines) in &mut all {
        lines.sort_unstable();
    }
    all.sort_unstable();
    all
}

#[test]
fn rows_come_back_on_any_number_of_shards() {
    for (shards, rows, portion) in [(1, 20, 3), (2, 300, 64), (3, 5000, 1000), (2, 40_000, 40_000), (7, 3, 1)]
    {
        let folder = tempfile::tempdir().unwrap();
        let (manifest, files) = written(42, shards, rows, portion);
        let store = place(folder.path(), &manifest, &files);
        for access in [Access::Mapped, Access::Read] {
            let snapshot = store.open(42, access).unwrap();
            snapshot.verify().unwrap();
            for restored_on in [1, 2, 3, 4, 7] {
                let restored = restored(&snapshot, restored_on);
                let states = states();
                let mut expect = vec![
                    (0, 0, lines(&groups(&states, 0..rows))),
                    (0, 1, Vec::new()),
                    (1, 0, lines(&nested(&states, 0..rows))),
                    (2, 0, lines(&groups(&states, 5..(rows / 2).max(5)))),
                ];
                // Every shard takes the rows without a key of all.
                for shard in 0..restored_on {
                    for saved_by in 0..i64::try_from(shards).unwrap() {
                        let mark = lines(&mark(&states, 1000 + saved_by));
                        expect[1].2.push(format!("{shard}: {}", mark[0]));
                    }
                }
                expect.retain(|(_, _, lines)| !lines.is_empty());
                for (_, _, lines) in &mut expect {
                    lines.sort_unstable();
                }
                assert!(restored == expect, "{shards} shards of {rows} rows on {restored_on}");
            }
        }
    }
}

#[test]
fn what_waits_to_be_written_is_bounded() {
    let states = states();
    let (file, bytes) = Written::file(0);
    let info = PartInfo { run: RUN.into(), epoch: 1, shard: 0, shards: 1 };
    let mut writer = PartWriter::new(file, info, states.clone());
    let rows = groups(&states, 0..500);
    let mut added = 0;
    while writer.is_clear() {
        writer.add(0, 0, &rows);
        assert!(!writer.poll().unwrap());
        added += 1;
    }
    assert!((10..200).contains(&added), "{added} portions, of which none has been written");
    assert_eq!(bytes.try_iter().count(), 0);
}

#[test]
fn large_rows_are_cut_into_blocks() {
    let (manifest, files) = written(1, 1, 40_000, 40_000);
    let part = open(&files[0], &manifest, 0).unwrap();
    let mut counts = Vec::new();
    let count = |rows: RecordBatch| {
        counts.push(rows.num_rows());
        ControlFlow::Continue(())
    };
    part.rows(0, 0, None, count).unwrap();
    assert_eq!(counts.iter().sum::<usize>(), 40_000);
    assert!(counts.len() > 5, "{counts:?}");
    assert_eq!(files[0].len() % 4096, 0);
    assert_eq!(manifest.shards[0].bytes, files[0].len() as u64);
}

#[test]
fn the_manifest_counts_the_rows() {
    let (manifest, _) = written(1, 2, 100, 10);
    let total = |name: &str| manifest.shards.iter().map(|part| part.rows[name]).sum::<u64>();
    // Two states of one name count together.
    assert_eq!((total("spend/groups"), total("spend/mark"), total("names/rows")), (100 + 45, 2, 100));
    assert_eq!(total("spend/nothing"), 0);
}

#[test]
fn states_that_have_changed_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (manifest, files) = written(42, 2, 20, 10);
    let snapshot = place(folder.path(), &manifest, &files).open(42, Access::Mapped).unwrap();
    let check = |change: &dyn Fn(&mut States), expect: &str| {
        let mut wanted = states();
        change(&mut wanted);
        let result = snapshot.rows_for(0, 1, &wanted, |_, _, _| {});
        let what = result.map_or_else(|error| format!("{error}; {}", error.help()), |()| "fine".to_owned());
        assert!(what.contains(expect), "{what}");
    };
    check(&|_| {}, "fine");
    check(&|wanted| wanted.truncate(1), "fine");
    check(&|wanted| wanted[1].0 = "other".into(), "fine");
    check(&|wanted| wanted[1].1.push(strange()), "saved without the table `a`");
    check(&|wanted| drop(wanted[0].1.pop()), "saved with a table `mark`, which it no longer has");
    check(&|wanted| wanted[1].1[0].key = None, "saved with a key of 1 columns, and now has no key");
    check(
        &|wanted| wanted[0].1[0].schema = wanted[1].1[0].schema.clone(),
        "saved with the columns user BIGINT, name STRING, total DECIMAL(12, 2), and now has name STRING, items",
    );
    // The two states called `spend` are told apart by their order.
    check(&|wanted| wanted.swap(0, 2), "`spend` cannot be restored");
    let mut wanted = states();
    assert!(snapshot.unclaimed(&wanted).is_empty());
    wanted.remove(2);
    assert_eq!(snapshot.unclaimed(&wanted), ["spend"]);
}

#[test]
fn parts_that_are_missing_or_of_other_tables_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (manifest, files) = written(42, 2, 20, 10);
    let store = place(folder.path(), &manifest, &files);
    let path = store.folder().join("0000000042/shard-001");
    std::fs::remove_file(&path).unwrap();
    for access in [Access::Mapped, Access::Read] {
        let error = store.open(42, access).unwrap_err();
        assert!(
            error.to_string().ends_with("0000000042/shard-001 is damaged: it is missing (the whole file)")
        );
    }
    std::fs::write(&path, b"").unwrap();
    let error = store.open(42, Access::Mapped).unwrap_err().to_string();
    assert!(error.contains("it ends within its header"), "{error}");
    let mut odd = manifest.clone();
    odd.shards[1].file = "../0000000041/shard-001".into();
    let error = Snapshot::open(&disk(), folder.path(), odd, Access::Read).unwrap_err().to_string();
    assert!(error.contains("shard 0") || error.contains("shard-000"), "{error}");
}

#[test]
fn shards_share_a_snapshot_and_take_their_writer_along() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Snapshot>();
    sent::<PartWriter>();
}
