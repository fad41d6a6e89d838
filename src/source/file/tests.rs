//! Files are read whole, whatever their records, the number of shards, and where a run begins.

use std::fs;
use std::io::Write;

use serde_json::Value;

use super::*;
use crate::codec::csv::{Dialect, HeaderReader};
use crate::record::{BadRecord, Barrier, Column, Schema, SqlType};
use crate::source::chunk::{RECORD_BYTES_MAX, TOO_LONG_KEPT};
use crate::source::{CHUNK_BYTES, Resume, Supply, testing};

/// Reads `content` with `shards` readers; the records in the order of their chunks.
fn read(content: &[u8], shards: usize) -> (Vec<Vec<u8>>, Vec<BadRecord>) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    let declared = Declared { path: file.path().display().to_string() };
    let opening = testing::opening(shards, None);
    let mut opened = declared.open(&opening).unwrap();
    let (mut pieces, mut rejected) = (Vec::new(), Vec::new());
    for reader in &mut opened.readers {
        while let Polled::Piece(piece) = reader.poll(Now::default()).unwrap() {
            let Content::Bytes { buffer, range, position, .. } = piece.content else { panic!("bytes") };
            let records = buffer[range].to_vec();
            assert!(content[usize::try_from(position).unwrap()..].starts_with(&records));
            pieces.push((piece.number, records));
            rejected.extend(piece.rejected);
            reader.recycle(Arc::try_unwrap(buffer).unwrap());
        }
    }
    pieces.sort();
    (pieces.into_iter().map(|(_, bytes)| bytes).collect(), rejected)
}

#[test]
fn every_record_is_read_once_in_order_whatever_the_number_of_shards() {
    let mut random = fastrand::Rng::with_seed(3);
    for longest in [5, 300, 70_000, 3 * CHUNK_BYTES] {
        let mut content = Vec::new();
        while content.len() < 3 * CHUNK_BYTES + 12_345 {
            content.resize(content.len() + random.usize(..longest), b'x');
            content.push(b'\n');
        }
        for cut in [content.len(), content.len() - 1, CHUNK_BYTES, CHUNK_BYTES + 1, CHUNK_BYTES - 1] {
            let content = &content[..cut];
            for shards in [1, 2, 3, 8] {
                let (pieces, rejected) = read(content, shards);
                assert!(rejected.is_empty());
                assert!(pieces.concat() == content, "longest {longest}, cut {cut}, {shards} shards");
            }
        }
    }
}

#[test]
fn an_empty_file_has_one_empty_piece() {
    assert_eq!(read(b"", 2).0, [b""]);
    assert_eq!(read(b"\xef\xbb\xbfa\n", 1).0, [b"a\n"]);
}

#[test]
fn a_record_beyond_all_bounds_is_rejected_and_the_rest_is_read() {
    let mut content = b"before\n".to_vec();
    content.resize(content.len() + RECORD_BYTES_MAX + 2 * CHUNK_BYTES, b'x');
    content.extend_from_slice(b"\nafter\n");
    let (pieces, rejected) = read(&content, 2);
    assert_eq!(pieces.concat(), b"before\nafter\n");
    assert_eq!((rejected.len(), rejected[0].position, rejected[0].raw.len()), (1, 7, TOO_LONG_KEPT));
}

/// What was read: block number, split, bytes.
type Stretch = (u64, u32, Vec<u8>);

/// Reads with `shards` readers in any order from `resume` on. With `cut_after` polls ends an epoch, reads on for a while
/// and crashes: what is before the barrier stays, and where to go on from. Otherwise, and where the input ends first,
/// reads to the end.
fn run(
    declared: &Declared,
    opening: Opening,
    cut_after: Option<u32>,
    random: &mut fastrand::Rng,
) -> (Vec<Stretch>, Option<Resume>) {
    let shards = opening.bells.len();
    let mut opened = declared.open(&opening).unwrap();
    let (mut read, mut barriers, mut ended) = (Vec::new(), vec![None; shards], 0);
    let mut live: Vec<usize> = (0..shards).collect();
    let mut polls = 0;
    while !live.is_empty() {
        if cut_after.is_some_and(|after| polls >= after) && ended == 0 {
            ended = u32::from(opening.cuts.request(polls.into(), false));
        }
        polls += 1;
        let shard = live[random.usize(..live.len())];
        match opened.readers[shard].poll(Now::default()).unwrap() {
            Polled::Piece(piece) => {
                assert!(barriers[shard].is_none_or(|barrier: Barrier| piece.number >= barrier.number));
                assert!(piece.number >= opened.numbering.first(shards)[shard] && piece.next > piece.number);
                let Content::Bytes { buffer, range, .. } = piece.content else { panic!("bytes") };
                read.push((piece.number, piece.split, buffer[range].to_vec()));
            }
            Polled::Barrier(barrier) => {
                barriers[shard] = Some(barrier);
            }
            Polled::Wait(_) => {}
            Polled::End => live.retain(|other| *other != shard),
        }
        let cut = barriers.iter().enumerate().all(|(shard, cut)| cut.is_some() || !live.contains(&shard));
        let barrier = barriers.iter().flatten().next().filter(|_| cut);
        if let Some(barrier) = barrier.filter(|_| random.u8(..3) == 0 || live.is_empty()) {
            read.retain(|(number, _, _)| *number < barrier.number);
            // As it comes back from a manifest.
            let position = (opened.position)(*barrier).unwrap().to_string();
            let position = serde_json::from_str(&position).unwrap();
            return (read, Some(Resume { barrier: *barrier, position }));
        }
    }
    (read, None)
}

#[test]
fn barriers_and_restarts_on_any_number_of_shards_lose_and_double_nothing() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut crashes = 0;
    for _ in 0..300 {
        let folder = tempfile::tempdir().unwrap();
        let contents: Vec<Vec<u8>> = (0..random.usize(1..5))
            .map(|_| {
                let bytes = random.usize(..900);
                (0..bytes).map(|_| if random.u8(..9) == 0 { b'\n' } else { b'x' }).collect()
            })
            .collect();
        for (index, content) in contents.iter().enumerate() {
            fs::write(folder.path().join(format!("{index}.txt")), content).unwrap();
        }
        let declared = Declared { path: folder.path().join("*.txt").display().to_string() };
        let (mut all, mut resume): (Vec<Stretch>, _) = (Vec::new(), None);
        loop {
            let cut_after = (random.u8(..6) > 0).then(|| random.u32(..12));
            let opening = Opening { chunk_bytes: 40, ..testing::opening(random.usize(1..5), resume) };
            let (read, next) = run(&declared, opening, cut_after, &mut random);
            all.extend(read);
            resume = next;
            if resume.is_none() {
                break;
            }
            crashes += 1;
            // Neither a new match nor what is appended is part of this run.
            fs::write(folder.path().join("new.txt"), "new\n").unwrap();
            fs::OpenOptions::new()
                .append(true)
                .open(folder.path().join("0.txt"))
                .unwrap()
                .write_all(b"z")
                .unwrap();
        }
        all.sort();
        for (split, content) in contents.iter().enumerate() {
            let of_split = all.iter().filter(|(_, of, _)| *of as usize == split);
            let bytes: Vec<u8> = of_split.flat_map(|(_, _, bytes)| bytes).copied().collect();
            assert_eq!(String::from_utf8(bytes).unwrap(), String::from_utf8(content.clone()).unwrap());
        }
    }
    assert!(crashes > 300, "{crashes}");
}

/// A text in which newlines are frequent, and quotes now and then.
fn quoted_text(random: &mut fastrand::Rng) -> String {
    let quotes = random.u8(2..60);
    let character = |random: &mut fastrand::Rng| match random.u8(..quotes) {
        0 => '"',
        _ if random.u8(..6) == 0 => '\n',
        _ => 'x',
    };
    (0..random.usize(..900)).map(|_| character(random)).collect()
}

/// Where the records of a text begin: behind newlines with an even number of quotes before them.
fn beginnings(text: &str) -> Vec<usize> {
    let ends = text.match_indices('\n').map(|(end, _)| end);
    let ends = ends.filter(|end| text[..*end].matches('"').count().is_multiple_of(2));
    std::iter::once(0).chain(ends.map(|end| end + 1)).collect()
}

#[test]
fn first_lines_and_quotes_are_minded_wherever_a_run_begins() {
    let mut random = fastrand::Rng::with_seed(12);
    let columns = Schema::new(vec![Column::new("id", SqlType::String, false)]);
    let dialect = Dialect { multiline: true, ..Dialect::default() };
    let (mut crashes, mut inside) = (0, 0);
    for _ in 0..300 {
        let folder = tempfile::tempdir().unwrap();
        let has_header = random.bool();
        let mut bodies = Vec::new();
        for index in 0..random.usize(1..4) {
            let body = quoted_text(&mut random);
            let other = "y".repeat(random.usize(..100));
            let header = if has_header { format!("\u{feff}\n\"{other}\n\",id\n") } else { String::new() };
            fs::write(folder.path().join(format!("{index}.txt")), format!("{header}{body}")).unwrap();
            bodies.push(body);
        }
        let declared = Declared { path: folder.path().join("*.txt").display().to_string() };
        let (mut all, mut resume): (Vec<Stretch>, _) = (Vec::new(), None);
        loop {
            let header = has_header.then(|| HeaderReader::new(&dialect, &columns));
            let cut_after = (random.u8(..6) > 0).then(|| random.u32(..12));
            let opening = testing::opening(random.usize(1..5), resume);
            let opening = Opening { chunk_bytes: 40, header, quote: Some(b'"'), ..opening };
            let (read, next) = run(&declared, opening, cut_after, &mut random);
            all.extend(read);
            resume = next;
            let Some(resume) = &mut resume else { break };
            crashes += 1;
            for file in resume.position["files"].as_array_mut().unwrap() {
                inside += usize::from(file["in_quotes"] == true);
                // Where it is not known it is found out.
                if random.bool() {
                    file.as_object_mut().unwrap().remove("in_quotes");
                }
            }
        }
        all.sort();
        for (split, body) in bodies.iter().enumerate() {
            let of_split: Vec<_> = all.iter().filter(|(_, of, _)| *of as usize == split).collect();
            let (beginnings, mut at) = (beginnings(body), 0);
            for (_, _, bytes) in &of_split {
                assert!(bytes.is_empty() || beginnings.contains(&at), "{body:?} at {at}");
                at += bytes.len();
            }
            let bytes: Vec<u8> = of_split.iter().flat_map(|(_, _, bytes)| bytes).copied().collect();
            assert_eq!(String::from_utf8(bytes).unwrap(), *body);
        }
    }
    assert!(crashes > 300 && inside > 100, "{crashes} crashes, {inside} inside of quotes");
}

#[test]
fn a_record_beyond_all_bounds_is_rejected_with_its_quotes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.csv");
    let mut content = b"before\n\"a\n".to_vec();
    content.resize(content.len() + RECORD_BYTES_MAX + 2 * CHUNK_BYTES, b'\n');
    content.extend_from_slice(b"\"\n\"af\nter\"\n");
    fs::write(&path, content).unwrap();
    let declared = Declared { path: path.display().to_string() };
    let opening = Opening { quote: Some(b'"'), ..testing::opening(2, None) };
    let mut opened = declared.open(&opening).unwrap();
    let (mut read, mut rejected) = (Vec::new(), Vec::new());
    for reader in &mut opened.readers {
        while let Polled::Piece(piece) = reader.poll(Now::default()).unwrap() {
            let Content::Bytes { buffer, range, .. } = piece.content else { panic!("bytes") };
            read.push((piece.number, buffer[range].to_vec()));
            rejected.extend(piece.rejected);
        }
    }
    read.sort();
    let read: Vec<u8> = read.into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(String::from_utf8(read).unwrap(), "before\n\"af\nter\"\n");
    assert_eq!((rejected.len(), rejected[0].position), (1, 7));
}

/// A file of 100 records of 3 bytes of which 5 chunks of 40 bytes have been read, and one that has been read whole.
fn begun(folder: &Path) -> (Declared, Resume) {
    fs::write(folder.join("a.txt"), "ab\n".repeat(100)).unwrap();
    fs::write(folder.join("b.txt"), "cd\n".repeat(10)).unwrap();
    let declared = Declared { path: folder.join("*.txt").display().to_string() };
    let opening = Opening { chunk_bytes: 40, ..testing::opening(1, None) };
    let opened = declared.open(&opening).unwrap();
    let barrier = Barrier { epoch: 3, number: 6 * BLOCKS_PER_CHUNK, piece: 6 };
    let position = (opened.position)(barrier).unwrap();
    assert_eq!((&position["files"][0]["read"], &position["files"][1]["read"]), (&200.into(), &30.into()));
    (declared, Resume { barrier, position })
}

/// Tampers with the files or the position of a run that has begun; what resuming says.
fn resumed(tamper: impl FnOnce(&Path, &mut Value)) -> Result<u64, String> {
    let folder = tempfile::tempdir().unwrap();
    let (declared, mut resume) = begun(folder.path());
    tamper(folder.path(), &mut resume.position);
    let opened = declared.open(&testing::opening(3, Some(resume)));
    let text = |error: SourceError| error.to_string().replace(&format!("{}/", folder.path().display()), "");
    opened.map(|opened| opened.done).map_err(text)
}

#[test]
fn a_file_is_known_again() {
    let write = |folder: &Path, name: &str, content: &str| fs::write(folder.join(name), content).unwrap();
    assert_eq!(resumed(|_, _| ()), Ok(230));
    // Restored from a copy: another file with the same content.
    let copied = resumed(|folder, _| {
        fs::copy(folder.join("a.txt"), folder.join("copy")).unwrap();
        fs::rename(folder.join("copy"), folder.join("a.txt")).unwrap();
    });
    assert_eq!(copied, Ok(230));
    // Appended to, and changed where nothing has been read.
    assert_eq!(
        resumed(|folder, _| write(folder, "a.txt", &("ab\n".repeat(70) + &"xy\n".repeat(40)))),
        Ok(230)
    );
    // Read to its end and cleared away.
    assert_eq!(resumed(|folder, _| fs::remove_file(folder.join("b.txt")).unwrap()), Ok(230));
}

#[test]
fn another_file_is_refused() {
    let check = |tamper: &dyn Fn(&Path, &mut Value), expect: &str| {
        let error = resumed(|folder, position| tamper(folder, position)).unwrap_err();
        assert!(error.starts_with(expect), "{error}\nexpected {expect}");
        assert!(error.contains("--fresh"), "{error}");
    };
    let write = |folder: &Path, name: &str, content: String| fs::write(folder.join(name), content).unwrap();
    let replace = |folder: &Path, content: String| {
        write(folder, "new", content);
        fs::rename(folder.join("new"), folder.join("a.txt")).unwrap();
    };
    check(&|folder, _| fs::remove_file(folder.join("a.txt")).unwrap(), "a.txt is gone");
    check(
        &|folder, _| write(folder, "a.txt", "ab\n".repeat(99)),
        "a.txt was truncated: it has 297 bytes, and had 300",
    );
    check(&|folder, _| replace(folder, "ab\n".repeat(9)), "a.txt was replaced: it has 27 bytes, and had 300");
    check(
        &|folder, _| replace(folder, "xy\n".repeat(100)),
        "a.txt was replaced by another file since the snapshot: its first 200 bytes",
    );
    check(
        &|folder, _| write(folder, "a.txt", "xy\n".repeat(100)),
        "a.txt was written over since the snapshot: its first 200 bytes",
    );
    check(
        &|folder, _| write(folder, "b.txt", "xy\n".repeat(10)),
        "b.txt was written over since the snapshot",
    );
    check(
        &|_, position| *position = Value::Null,
        "the snapshot's position of the input cannot be gone on from",
    );
    check(&|_, position| position["chunk_bytes"] = 0.into(), "the snapshot's position");
    check(&|_, position| position["chunk_bytes"] = 41.into(), "the snapshot's position");
    check(&|_, position| position["files"][0]["bytes"] = 100.into(), "the snapshot's position");
}

#[test]
fn a_change_right_before_the_barrier_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.txt");
    let mut content = b"x\n".repeat(CHUNK_BYTES);
    fs::write(&path, &content).unwrap();
    let declared = Declared { path: path.display().to_string() };
    let opened = declared.open(&testing::opening(1, None)).unwrap();
    let barrier = Barrier { epoch: 1, number: BLOCKS_PER_CHUNK, piece: 1 };
    let position = (opened.position)(barrier).unwrap();
    content[CHUNK_BYTES - 10] = b'y';
    fs::write(&path, &content).unwrap();
    let error = declared.open(&testing::opening(1, Some(Resume { barrier, position }))).err().unwrap();
    let expect = format!("the 65536 bytes before byte {CHUNK_BYTES} are not");
    assert!(error.to_string().contains(&expect), "{error}");
}

#[test]
fn a_file_that_is_replaced_while_it_is_read_has_no_position() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.txt");
    fs::write(&path, "x\n".repeat(100)).unwrap();
    let declared = Declared { path: path.display().to_string() };
    let opened = declared.open(&Opening { chunk_bytes: 40, ..testing::opening(1, None) }).unwrap();
    fs::write(folder.path().join("new"), "y\n".repeat(100)).unwrap();
    fs::rename(folder.path().join("new"), &path).unwrap();
    let at = |piece| (opened.position)(Barrier { epoch: 1, number: piece * BLOCKS_PER_CHUNK, piece });
    assert!(matches!(at(2), Err(SourceError::Replaced { .. })));
    // Once it has been read to its end, nothing of it is needed any more.
    assert_eq!(at(5).unwrap()["files"][0]["samples"], Value::Null);
}

/// Files of a benchmark are read by the clock: as many bytes a second, whichever file they are in.
#[test]
fn chunks_come_when_their_last_byte_is_due() {
    let folder = tempfile::tempdir().unwrap();
    // 40 and 1 bytes, 40 bytes: the chunks take turns.
    for (name, lines) in [("a", 5), ("b", 4)] {
        fs::write(folder.path().join(name), "1234567890\n".repeat(lines)).unwrap();
    }
    let declared = Declared { path: folder.path().join("?").display().to_string() };
    let (sender, marks) = std::sync::mpsc::channel();
    let supply = Supply { rate: Some(1000.0), begin_us: 7000, marks: vec![sender] };
    let opening = Opening { chunk_bytes: 40, supply: Some(supply), ..testing::opening(1, None) };
    let mut opened = declared.open(&opening).unwrap();
    let mut read = Vec::new();
    for ms in 0.. {
        match opened.readers[0].poll(Now { monotonic_us: ms * 1000, wall_us: 0 }).unwrap() {
            Polled::Piece(piece) => read.push((ms, piece.number, piece.split, piece.bytes)),
            Polled::Wait(Some(_)) => {}
            Polled::End => break,
            _ => panic!("a piece, a time to wait until, or the end"),
        }
    }
    let blocks = BLOCKS_PER_CHUNK;
    assert_eq!(
        read,
        [(47, 0, 0, 40), (87, blocks, 1, 40), (102, 2 * blocks, 0, 15), (106, 3 * blocks, 1, 4)]
    );
    let told: Vec<(u64, u64, u64, u64)> =
        marks.try_iter().map(|mark| (mark.last, mark.records, mark.first_us, mark.last_us)).collect();
    let expect = [
        (blocks - 1, 4, 7_000, 47_000),
        (2 * blocks - 1, 4, 47_000, 87_000),
        (3 * blocks - 1, 1, 87_000, 102_000),
        (4 * blocks - 1, 0, 102_000, 106_000),
    ];
    assert_eq!(told, expect);
}
