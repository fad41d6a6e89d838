//! Outboxes, lanes and inboxes together.

use std::sync::Arc;
use std::task::{Context, Waker};

use arrow::array::{ArrayRef, AsArray, Int8Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;

use super::outbox::BATCHES_HELD_MAX;
use super::{Inbox, LaneReceiver, Outbox, Parcel, Partition, Taken, Watermarks, lane, mesh};
use crate::io::Bell;
use crate::record::{
    Barrier, Batch, BlockEnd, Column, EventTimes, Interleaved, KeyCodec, Schema, Segment, SqlType,
};

const CAPACITY: usize = 64;

fn schema() -> Schema {
    Schema::new(vec![Column::new("key", SqlType::BigInt, false), Column::new("name", SqlType::String, true)])
}

/// Rows of block `number` with these keys, each at its key's time; `through` ends the block behind them.
fn batch(number: u64, keys: &[i64], through: Option<u64>) -> Batch {
    let names = keys.iter().map(|key| (key % 5 != 0).then(|| format!("n{key}")));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(keys.to_vec())), Arc::new(names.collect::<StringArray>())];
    let mut batch = Batch::of_rows(RecordBatch::try_new(schema().arrow().clone(), columns).unwrap(), number);
    batch.times = Some(EventTimes { at_ms: keys.to_vec().into(), seen_ms: None });
    let max_time_ms = keys.iter().copied().max().unwrap_or(i64::MIN);
    batch.segments[0].end =
        through.map(|through| BlockEnd { through, max_time_ms, finished: false, idle: false });
    batch
}

fn partition() -> Partition {
    Partition::new(KeyCodec::new(vec![SqlType::BigInt]).unwrap(), vec![0])
}

/// As many producers as receivers.
fn shards(count: usize) -> (Vec<Outbox>, Vec<Inbox>) {
    let bells: Vec<Arc<Bell>> = (0..count).map(|_| Arc::default()).collect();
    let (senders, receivers) = mesh(CAPACITY, &bells, &bells);
    let outboxes = senders.into_iter().map(|lanes| Outbox::new(lanes, partition()));
    let first: Vec<u64> = (0..count as u64).collect();
    let inboxes = receivers
        .into_iter()
        .map(|lanes| Inbox::new(vec![lanes], vec![first.clone()], Watermarks::new(1, 0)));
    (outboxes.collect(), inboxes.collect())
}

fn keys_of(batch: &Batch) -> Vec<i64> {
    batch.rows.column(0).as_primitive::<Int64Type>().values().to_vec()
}

/// The batches that are there, and what came last.
fn drain(inbox: &mut Inbox) -> (Vec<Batch>, Taken) {
    let mut batches = Vec::new();
    loop {
        match inbox.take() {
            Taken::Batch(0, batch) => batches.push(batch),
            other => return (batches, other),
        }
    }
}

/// The parcels that are there.
fn parcels(lane: &mut LaneReceiver<Parcel>) -> Vec<Parcel> {
    std::iter::from_fn(|| lane.take()).collect()
}

#[test]
fn small_shares_of_many_lanes_make_one_batch_in_order() {
    let (mut outboxes, mut inboxes) = shards(3);
    let mut sent = Vec::new();
    for (number, shard) in (0..9).zip([0, 1, 2].into_iter().cycle()) {
        let keys: Vec<i64> = (0..40).map(|row| i64::try_from(number).unwrap() * 100 + row).collect();
        outboxes[shard].send(batch(number, &keys, Some(number + 2)));
        sent.extend(keys);
    }
    let mut received = Vec::new();
    for inbox in &mut inboxes {
        let (batches, end) = drain(inbox);
        assert!(matches!(end, Taken::Empty));
        assert_eq!(batches.iter().filter(|batch| !batch.is_empty()).count(), 1, "{}", batches.len());
        let batch = &batches[0];
        let keys = keys_of(batch);
        assert!(keys.is_sorted(), "in the order of the blocks: {keys:?}");
        assert_eq!(batch.times.as_ref().unwrap().at_ms.values(), keys.as_slice());
        assert_eq!(batch.segments.iter().map(|segment| segment.rows as usize).sum::<usize>(), keys.len());
        assert_eq!(batch.clocks.len(), batch.segments.len());
        let names = batch.rows.column(1).as_string::<i32>();
        for (row, key) in keys.iter().enumerate() {
            let codec = KeyCodec::new(vec![SqlType::BigInt]).unwrap();
            let (mut bytes, mut ends) = (Vec::new(), Vec::new());
            codec.encode(&[Arc::new(Int64Array::from(vec![*key])) as ArrayRef], 1, &mut bytes, &mut ends);
            assert_eq!(batch.hashes.as_ref().unwrap().value(row), KeyCodec::hash(&bytes), "{key}");
            let name = names.iter().nth(row).unwrap().map(str::to_owned);
            assert_eq!(name, (key % 5 != 0).then(|| format!("n{key}")));
        }
        received.extend(keys);
    }
    received.sort_unstable();
    assert_eq!(received, sent);
}

#[test]
fn large_shares_are_not_copied_together() {
    let (mut outboxes, mut inboxes) = shards(1);
    for number in 0..3 {
        outboxes[0].send(batch(number, &vec![7; 1500], Some(number)));
    }
    let rows: Vec<usize> = drain(&mut inboxes[0]).0.iter().map(Batch::len).collect();
    assert_eq!(rows, [1500, 1500, 1500]);
}

#[test]
fn batches_of_one_size_and_another_keep_weights_and_times() {
    let mut with = batch(1, &[3, 4], Some(1));
    with.weights = Some(Int8Array::from(vec![1, -1]));
    with.times.as_mut().unwrap().seen_ms = Some(vec![i64::MIN, 3].into());
    let without = batch(2, &[9], None);
    let joined = Batch::concat(vec![without.clone(), with, without]);
    assert_eq!(keys_of(&joined), [9, 3, 4, 9]);
    assert_eq!(joined.weights.unwrap().values(), &[1, 1, -1, 1]);
    let times = joined.times.unwrap();
    assert_eq!(times.at_ms.values(), &[9, 3, 4, 9]);
    assert_eq!(times.seen_ms.unwrap().values(), &[i64::MIN, i64::MIN, 3, i64::MIN]);
    assert_eq!(joined.segments.iter().map(|segment| segment.number).collect::<Vec<_>>(), [2, 1, 2]);
    let plain = Batch::concat(vec![batch(1, &[], Some(1)), batch(2, &[5], None)]);
    assert!(plain.weights.is_none() && plain.times.unwrap().seen_ms.is_none());
}

/// Rows of two ports as they are handed over: the port, the key, the number of its block, and the watermark that was known.
#[derive(Debug, PartialEq, Eq)]
enum Handed {
    Row(usize, i64, u64),
    End(u64, Option<i64>),
}

fn handed(port_of: impl Fn(usize) -> usize, input: &Interleaved) -> Vec<Handed> {
    let mut next = vec![(0, 0); input.batches.len()];
    let mut handed = Vec::new();
    for (place, count) in &input.turns {
        let (port, batch) = &input.batches[*place];
        let (segment, row) = &mut next[*place];
        for index in *segment..*segment + count {
            let of = batch.segments[index];
            for key in &keys_of(batch)[*row..*row + of.rows as usize] {
                handed.push(Handed::Row(port_of(*port), *key, of.number));
            }
            *row += of.rows as usize;
            handed.extend(of.end.map(|_| Handed::End(of.number, batch.clocks[index].after_ms)));
        }
        *segment += count;
    }
    for ((segments, rows), (_, batch)) in next.iter().zip(&input.batches) {
        assert_eq!((*segments, *rows), (batch.segments.len(), batch.len()), "all have had their turn");
        assert_eq!(batch.clocks.len(), batch.segments.len());
    }
    handed
}

#[test]
fn rows_of_several_ports_come_in_order_and_together() {
    let mut random = fastrand::Rng::with_seed(11);
    let (mut interleaved_batches, mut turns) = (0, 0);
    for round in 0..400 {
        let is_interleaved = round % 2 == 0;
        let bell: Arc<Bell> = Arc::default();
        let (mut outboxes, mut lanes): (Vec<Outbox>, Vec<Vec<_>>) = Default::default();
        for _ in 0..2 {
            let (sender, receiver) = lane(1024, &bell, &bell);
            outboxes.push(Outbox::new(vec![sender], partition()));
            lanes.push(vec![receiver]);
        }
        let watermarks = Watermarks::joined(vec![Watermarks::new(1, 0), Watermarks::new(1, 0)]);
        let inbox = Inbox::new(lanes, vec![vec![0], vec![0]], watermarks);
        let mut inbox = if is_interleaved { inbox.interleaved() } else { inbox };
        let (mut expected, mut least, mut told_ms) = (Vec::new(), [i64::MIN; 2], i64::MIN);
        let mut received = Vec::new();
        let blocks = random.u64(1..30);
        for number in 0..blocks {
            for port in 0..2 {
                let count = if random.u8(0..8) == 0 { 700 } else { random.i64(0..4) };
                let keys: Vec<i64> = (0..count).map(|_| random.i64(0..1000)).collect();
                outboxes[port].send(batch(number, &keys, Some(number)));
                least[port] = keys.iter().copied().max().unwrap_or(i64::MIN).max(least[port]);
                let port = if is_interleaved { port } else { 0 };
                expected.extend(keys.into_iter().map(|key| Handed::Row(port, key, number)));
            }
            let now_ms = if least.contains(&i64::MIN) { i64::MIN } else { least[0].min(least[1]) };
            expected.push(Handed::End(number, (now_ms > told_ms).then_some(now_ms)));
            told_ms = told_ms.max(now_ms);
            let is_last = number + 1 == blocks;
            if is_last {
                for outbox in &mut outboxes {
                    outbox.settle();
                }
            }
            while is_last || random.u8(0..4) == 0 {
                match inbox.take() {
                    Taken::Batch(port, batch) => {
                        assert!(!is_interleaved);
                        received.extend(handed(|_| 0, &Interleaved::one(port, batch)));
                    }
                    Taken::Interleaved(input) => {
                        assert!(is_interleaved);
                        interleaved_batches += 1;
                        turns += input.turns.len();
                        received.extend(handed(|port| port, &input));
                    }
                    Taken::Empty | Taken::Finished => break,
                    Taken::Barrier(_) => unreachable!("none was sent"),
                }
            }
        }
        assert_eq!(received.len(), expected.len(), "round {round}");
        for pair in received.iter().zip(&expected) {
            assert_eq!(pair.0, pair.1, "round {round}");
        }
    }
    assert!(turns > 4 * interleaved_batches, "{turns} turns in {interleaved_batches}");
}

#[test]
fn ends_without_rows_are_held_while_busy() {
    let bell: Arc<Bell> = Arc::default();
    let (sender, mut receiver) = lane(CAPACITY, &bell, &bell);
    let mut outbox = Outbox::new(vec![sender], partition());
    let segments = |parcel: &Parcel| match parcel {
        Parcel::Batch(batch) => (batch.len(), batch.segments.len()),
        Parcel::Barrier(_) => (0, 0),
    };
    // With the next row.
    outbox.send(batch(0, &[], Some(0)));
    outbox.send(batch(1, &[], Some(1)));
    assert!(parcels(&mut receiver).is_empty());
    outbox.send(batch(2, &[8], Some(2)));
    assert_eq!(parcels(&mut receiver).iter().map(segments).collect::<Vec<_>>(), [(1, 3)]);
    // When there is nothing else to do.
    outbox.send(batch(3, &[], Some(3)));
    assert!(outbox.settle() && !outbox.settle());
    assert_eq!(parcels(&mut receiver).iter().map(segments).collect::<Vec<_>>(), [(0, 1)]);
    // Before a barrier.
    outbox.send(batch(4, &[], Some(4)));
    outbox.send_barrier(Barrier { epoch: 1, number: 5, piece: 5 });
    assert_eq!(parcels(&mut receiver).iter().map(segments).collect::<Vec<_>>(), [(0, 1), (0, 0)]);
    // After so many batches.
    for number in 5..5 + BATCHES_HELD_MAX as u64 {
        assert!(parcels(&mut receiver).is_empty());
        outbox.send(batch(number, &[], Some(number)));
    }
    assert_eq!(parcels(&mut receiver).iter().map(segments).collect::<Vec<_>>(), [(0, BATCHES_HELD_MAX)]);
    // At the end of the lane.
    let last = Batch { segments: vec![Segment::last()], ..batch(0, &[], None) };
    outbox.send(last);
    assert_eq!(parcels(&mut receiver).iter().map(segments).collect::<Vec<_>>(), [(0, 1)]);
}

/// Whether the bell has been rung since it was armed.
fn is_rung(bell: &Bell) -> bool {
    bell.poll_rung(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn a_shard_is_woken_only_for_what_it_waits_for() {
    let (from, to): (Arc<Bell>, Arc<Bell>) = Default::default();
    let (mut sender, mut receiver) = lane(2, &from, &to);
    to.arm();
    sender.send(1);
    assert!(!is_rung(&to), "the receiver has not asked for anything");
    assert_eq!(receiver.take(), Some(1));
    assert_eq!(receiver.take(), None);
    sender.send(2);
    assert!(is_rung(&to), "it has found nothing");
    to.arm();
    sender.send(3);
    assert!(!is_rung(&to), "it has been told");

    from.arm();
    assert_eq!(receiver.take(), Some(2));
    assert!(!is_rung(&from), "the sender has had room");
    for item in 4..7 {
        sender.send(item);
    }
    assert!(!sender.is_clear());
    assert_eq!(receiver.take(), Some(3));
    assert!(is_rung(&from), "it has found none");
    assert!(sender.offer());
    assert_eq!(std::iter::from_fn(|| receiver.take()).collect::<Vec<_>>(), [4, 5]);
    assert!(sender.offer() && sender.is_clear());
    assert_eq!(receiver.take(), Some(6));
}
