//! `stdin`: records from standard input, as they come.
//!
//! One thread reads and deals chunks of whole records to the shards in turn; a chunk is cut early when nothing more is
//! there to read, so a line typed into a pipeline is processed at once. As the only one who reads, it also makes the
//! cuts between epochs, and hands them to all shards.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::chunk::{BLOCKS_PER_CHUNK, RECORD_BYTES_MAX, block_bytes, mark_bytes, too_long};
use super::cuts::{Gate, Pass};
use super::ends::Ends;
use super::numbering::Numbering;
use super::{Content, HEARTBEAT_MS, Kind, Opened, Opening, Piece, Polled, Reader, Source, SourceError};
use crate::codec::csv::{Header, HeaderReader};
use crate::error::Problems;
use crate::io::{Bell, Clock};
use crate::record::{BadRecord, Barrier};
use crate::time::Now;
use crate::yaml::{Fields, Key, Node};

/// The entry in the registry.
pub(super) const KIND: Kind = Kind {
    name: "stdin",
    summary: "reads records from standard input as they come",
    example: "stdin: {}",
    parse: |key: &Key, node: &Node, problems: &mut Problems| {
        Fields::under(key, node, "source.stdin", problems).finish(problems);
        Some(Box::new(Stdin))
    },
};

/// How many chunks may wait for a shard.
const WAITING_MAX: usize = 4;
/// No wait at all.
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// How often the reading thread looks whether an epoch is to end, while there is nothing to read.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// The same in milliseconds.
const LOOK_EVERY_MS: u64 = 50;
/// How long the reading thread sleeps when a shard is behind.
const BACK_OFF: Duration = Duration::from_micros(500);

#[derive(Debug)]
struct Stdin;

impl Source for Stdin {
    fn is_live(&self) -> bool {
        true
    }

    fn replays(&self) -> bool {
        false
    }

    fn describe(&self) -> String {
        "stdin (cannot be read again: what was read since the last snapshot is lost in a crash)".to_owned()
    }

    fn open(&self, opening: &Opening) -> Result<Opened, SourceError> {
        let shards = opening.bells.len();
        let (mut rings, mut readers) = (Vec::new(), Vec::new());
        for _ in 0..shards {
            let (sender, receiver) = RingBuffer::new(WAITING_MAX);
            rings.push(sender);
            let reader = StdinReader { receiver };
            readers.push(Box::new(reader) as Box<dyn Reader + Send>);
        }
        let numbering = Numbering::of(opening, BLOCKS_PER_CHUNK);
        let dealer = Dealer {
            rings,
            bells: opening.bells.clone(),
            clock: Clock::start(),
            gate: opening.gate(0, numbering),
            silence: Silence::new(opening.idle_after_ms, opening.heartbeat),
            state: State::new(numbering, opening),
        };
        thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || dealer.run())
            .map_err(|source| SourceError::Open { path: "stdin".to_owned(), source })?;
        Ok(Opened {
            readers,
            splits: vec!["stdin".into()],
            extent: None,
            done: 0,
            numbering,
            position: Box::new(|_| Ok(serde_json::Value::Null)),
        })
    }
}

/// What the reading thread hands to a shard.
enum Dealt {
    Piece(Piece),
    Barrier(Barrier),
    Failed(SourceError),
}

struct StdinReader {
    receiver: Consumer<Dealt>,
}

impl Reader for StdinReader {
    fn poll(&mut self, _: Now) -> Result<Polled, SourceError> {
        // Asked before looking, so that nothing that was sent before the end is missed.
        let ended = self.receiver.is_abandoned();
        match self.receiver.pop() {
            Ok(Dealt::Piece(piece)) => Ok(Polled::Piece(piece)),
            Ok(Dealt::Barrier(barrier)) => Ok(Polled::Barrier(barrier)),
            Ok(Dealt::Failed(error)) => Err(error),
            Err(_) if ended => Ok(Polled::End),
            Err(_) => Ok(Polled::Wait(None)),
        }
    }
}

/// The reading thread.
struct Dealer {
    rings: Vec<Producer<Dealt>>,
    bells: Vec<Arc<Bell>>,
    clock: Clock,
    gate: Gate,
    silence: Silence,
    state: State,
}

/// How long nothing has been there to read. Only looks that found nothing count: while a shard is behind, nobody looks.
struct Silence {
    idle_after_ms: u64,
    heartbeat: bool,
    silent_ms: u64,
    since_piece_ms: u64,
    told: bool,
}

impl Silence {
    fn new(idle_after_ms: Option<i64>, heartbeat: bool) -> Self {
        let idle_after_ms = idle_after_ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(u64::MAX);
        Self { idle_after_ms, heartbeat, silent_ms: 0, since_piece_ms: 0, told: false }
    }

    /// Records have come.
    fn broken(&mut self) {
        *self = Self { silent_ms: 0, since_piece_ms: 0, told: false, ..*self };
    }

    /// Another `look_ms` without anything. Whether an empty piece is due, and whether it says that the input is idle.
    fn lasts(&mut self, look_ms: u64) -> Option<bool> {
        self.silent_ms = self.silent_ms.saturating_add(look_ms);
        self.since_piece_ms = self.since_piece_ms.saturating_add(look_ms);
        let idle = self.silent_ms >= self.idle_after_ms;
        let tells = idle && !self.told;
        let beats = self.heartbeat && self.since_piece_ms >= HEARTBEAT_MS;
        (tells || beats).then(|| {
            self.told = idle;
            self.since_piece_ms = 0;
            idle
        })
    }
}

/// What has been read, and how far it has been dealt.
struct State {
    /// Bytes that are not dealt yet.
    carried: Vec<u8>,
    /// The position of `carried[0]` in the input.
    position: u64,
    numbering: Numbering,
    shards: u64,
    chunk_bytes: usize,
    /// The number of the next chunk.
    chunk: u64,
    /// Set while the rest of a record that is too long is being skipped.
    skipping: bool,
    /// What reads the first line, until it has.
    reader: Option<HeaderReader>,
    /// What the first line says, where it is no record.
    header: Option<Arc<Header>>,
    ends: Ends,
    rejected: Vec<BadRecord>,
}

impl Dealer {
    fn run(mut self) {
        let mut buffer = vec![0; self.state.chunk_bytes];
        loop {
            // Looked at however fast the input comes, and also where none comes.
            if !self.cut() {
                return self.hang_up();
            }
            if !is_ready(&LOOK_EVERY) {
                if !self.keep_going() {
                    return self.hang_up();
                }
                continue;
            }
            let count = match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
                Ok(count) => count,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => {
                    let (path, position) = ("stdin".to_owned(), self.state.position);
                    return self.fail(SourceError::Read { path, position, source: error.into() });
                }
            };
            let ended = count == 0;
            self.state.carried.extend_from_slice(&buffer[..count]);
            if !ended && self.state.carried.len() < self.state.chunk_bytes && is_ready(&AT_ONCE) {
                continue;
            }
            if let Err(error) = self.state.begin(ended) {
                return self.fail(error);
            }
            let arrived_ms = self.clock.now().wall_ms();
            let piece = self.state.cut(ended, arrived_ms);
            if piece.is_some() {
                self.silence.broken();
            }
            if piece.is_some_and(|piece| !self.deal(piece)) {
                return self.hang_up();
            }
            if ended {
                return self.finish();
            }
        }
    }

    /// Ends the epochs that are to end before the next piece; false where nothing more is to be read.
    fn cut(&mut self) -> bool {
        while let Some(pass) = self.gate.look(self.state.next_number()) {
            if !self.tell(pass) {
                return false;
            }
        }
        true
    }

    /// Tells all shards what the gate said, where it is not to read; false where nothing more is to be read.
    fn tell(&mut self, pass: Pass) -> bool {
        match pass {
            Pass::Read => true,
            Pass::Wait => {
                thread::sleep(BACK_OFF);
                true
            }
            Pass::Barrier(barrier) => {
                (0..self.rings.len()).all(|shard| self.send(shard, Dealt::Barrier(barrier)))
            }
            Pass::End => false,
        }
    }

    /// Ends the epoch that is to end with the input, if there is one, then the input.
    fn finish(mut self) {
        let pass = self.gate.finish();
        self.tell(pass);
        self.hang_up();
    }

    /// Notes that nothing was there to read for a while, and sends an empty piece where that is due; false once the shards
    /// are gone.
    fn keep_going(&mut self) -> bool {
        let Some(idle) = self.silence.lasts(LOOK_EVERY_MS) else { return true };
        let arrived_ms = self.clock.now().wall_ms();
        let piece = self.state.empty(idle, arrived_ms);
        self.deal(piece)
    }

    /// Hands a piece to the shard whose turn it is, behind the cuts that are to be made before it; false once the shards
    /// are gone, or where it is not to be read any more.
    fn deal(&mut self, piece: Piece) -> bool {
        let end = self.state.next_number();
        loop {
            match self.gate.pass(piece.number..end) {
                Pass::Read => break,
                pass if !self.tell(pass) => return false,
                _ => {}
            }
        }
        let turn = self.state.turn();
        self.send(turn, Dealt::Piece(piece))
    }

    fn send(&mut self, shard: usize, mut item: Dealt) -> bool {
        loop {
            match self.rings[shard].push(item) {
                Ok(()) => {
                    self.bells[shard].ring();
                    return true;
                }
                Err(rtrb::PushError::Full(back)) => item = back,
            }
            if self.rings[shard].is_abandoned() {
                return false;
            }
            thread::sleep(BACK_OFF);
        }
    }

    fn fail(mut self, error: SourceError) {
        self.send(0, Dealt::Failed(error));
        self.hang_up();
    }

    /// Ends every shard's input.
    fn hang_up(self) {
        drop(self.rings);
        self.bells.iter().for_each(|bell| bell.ring());
    }
}

impl State {
    fn new(numbering: Numbering, opening: &Opening) -> Self {
        Self {
            carried: Vec::new(),
            position: 0,
            numbering,
            shards: opening.bells.len() as u64,
            chunk_bytes: opening.chunk_bytes.max(1),
            chunk: numbering.start(),
            skipping: false,
            reader: opening.header.clone(),
            header: None,
            ends: Ends::new(opening.quote),
            rejected: Vec::new(),
        }
    }

    /// The number of the first block of the next chunk.
    fn next_number(&self) -> u64 {
        self.numbering.number(self.chunk)
    }

    /// The shard that the chunk made last goes to.
    fn turn(&self) -> usize {
        usize::try_from((self.chunk - 1) % self.shards).expect("a shard")
    }

    /// Takes the first line off what has been read, where it is no record and is there. Every process begins with one: what
    /// it reads is not what another has read before it.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or what it says does not fit.
    fn begin(&mut self, ended: bool) -> Result<(), SourceError> {
        let Some(reader) = &self.reader else { return Ok(()) };
        let mark = mark_bytes(&self.carried);
        let found = reader.read(&self.carried[mark..], ended);
        let found = found.map_err(|what| SourceError::Header { path: "stdin".to_owned(), what })?;
        let (header, taken) = match found {
            Some((header, body)) => (header, mark + body),
            // There were empty lines at most.
            None if ended => (Header::default(), self.carried.len()),
            None => return Ok(()),
        };
        if let Some(missing) = &header.missing {
            tracing::warn!("stdin: {missing}");
        }
        self.carried.drain(..taken);
        self.position += taken as u64;
        (self.reader, self.header) = (None, Some(Arc::new(header)));
        Ok(())
    }

    /// The piece that can be dealt now: the whole records read so far, at the end also the last without its newline.
    fn cut(&mut self, ended: bool, arrived_ms: i64) -> Option<Piece> {
        if self.reader.is_some() {
            return None;
        }
        let source: Arc<str> = "stdin".into();
        self.skip(ended);
        let whole = match self.ends.last(&self.carried) {
            _ if ended => self.carried.len(),
            Some(last) => last,
            None if self.carried.len() > RECORD_BYTES_MAX => {
                self.rejected.push(too_long(&source, self.position, &self.carried));
                self.position += self.carried.len() as u64;
                self.ends.taken(self.carried.len());
                self.carried.clear();
                self.skipping = true;
                0
            }
            None => return None,
        };
        self.ends.taken(whole);
        let rest = self.carried.split_off(whole);
        let buffer = std::mem::replace(&mut self.carried, rest);
        let mark = if self.position == 0 { mark_bytes(&buffer) } else { 0 };
        let piece = Piece {
            number: self.next_number(),
            next: self.numbering.number(self.chunk + self.shards),
            split: 0,
            finished: ended,
            idle: false,
            source,
            bytes: buffer.len() as u64,
            content: Content::Bytes {
                range: mark..buffer.len(),
                position: self.position + mark as u64,
                start: self.position,
                block_bytes: block_bytes(self.chunk_bytes),
                header: self.header.clone(),
                buffer: Arc::new(buffer),
            },
            rejected: std::mem::take(&mut self.rejected),
            arrived_ms: Some(arrived_ms),
        };
        self.position += piece.bytes;
        self.chunk += 1;
        Some(piece)
    }

    /// A piece without records behind what has been dealt.
    fn empty(&mut self, idle: bool, arrived_ms: i64) -> Piece {
        let piece = Piece {
            number: self.next_number(),
            next: self.numbering.number(self.chunk + self.shards),
            split: 0,
            finished: false,
            idle,
            source: "stdin".into(),
            bytes: 0,
            content: Content::Bytes {
                range: 0..0,
                position: self.position,
                start: self.position,
                block_bytes: block_bytes(self.chunk_bytes),
                header: self.header.clone(),
                buffer: Arc::default(),
            },
            rejected: Vec::new(),
            arrived_ms: Some(arrived_ms),
        };
        self.chunk += 1;
        piece
    }

    /// Drops what still belongs to a record that is too long.
    fn skip(&mut self, ended: bool) {
        if !self.skipping {
            return;
        }
        let end = self.ends.skip(&self.carried);
        let dropped = end.unwrap_or(self.carried.len());
        self.skipping = end.is_none() && !ended;
        self.carried.drain(..dropped);
        self.position += dropped as u64;
    }
}

/// Whether a read would return at once, now or within `wait`.
fn is_ready(wait: &Timespec) -> bool {
    let stdin = rustix::stdio::stdin();
    let mut descriptors = [PollFd::new(&stdin, PollFlags::IN)];
    match poll(&mut descriptors, Some(wait)) {
        Ok(ready) => ready > 0,
        // What cannot be waited for is read, and that tells why; an interrupted wait is begun again.
        Err(error) => error != rustix::io::Errno::INTR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing;

    fn state(shards: usize) -> State {
        let opening = testing::opening(shards, None);
        State::new(Numbering::of(&opening, BLOCKS_PER_CHUNK), &opening)
    }

    fn text(piece: &Piece) -> (u64, String) {
        let Content::Bytes { buffer, range, position, .. } = &piece.content else { panic!("bytes") };
        (*position, String::from_utf8(buffer[range.clone()].to_vec()).unwrap())
    }

    #[test]
    fn whole_records_are_dealt_and_the_rest_is_carried() {
        let mut state = state(2);
        state.carried.extend_from_slice(b"\xef\xbb\xbfa\nbc");
        assert_eq!(text(&state.cut(false, 0).unwrap()), (3, "a\n".to_owned()));
        assert!(state.cut(false, 0).is_none());
        state.carried.extend_from_slice(b"d");
        let last = state.cut(true, 0).unwrap();
        assert_eq!(text(&last), (5, "bcd".to_owned()));
        assert!(last.finished && last.number == BLOCKS_PER_CHUNK);
    }

    #[test]
    fn a_silence_is_told_once_and_heartbeats_go_on() {
        let mut silence = Silence::new(Some(150), false);
        let told: Vec<_> = (0..5).map(|_| silence.lasts(50)).collect();
        assert_eq!(told, [None, None, Some(true), None, None]);
        silence.broken();
        let told: Vec<_> = (0..4).map(|_| silence.lasts(50)).collect();
        assert_eq!(told, [None, None, Some(true), None]);
        let mut silence = Silence::new(Some(250), true);
        let told: Vec<_> = (0..8).map(|_| silence.lasts(50)).collect();
        let beats = [None, Some(false), None, Some(false), Some(true), None, Some(true), None];
        assert_eq!(told, beats);
    }

    #[test]
    fn empty_pieces_are_numbered_like_others() {
        let mut state = state(2);
        state.carried.extend_from_slice(b"a\n");
        state.cut(false, 0).unwrap();
        let empty = state.empty(true, 0);
        assert_eq!((empty.number, empty.next), (BLOCKS_PER_CHUNK, 3 * BLOCKS_PER_CHUNK));
        assert!(empty.idle && !empty.finished);
        state.carried.extend_from_slice(b"b\n");
        assert_eq!(text(&state.cut(false, 0).unwrap()), (2, "b\n".to_owned()));
    }

    #[test]
    fn a_record_beyond_all_bounds_is_skipped() {
        let mut state = state(2);
        state.carried.resize(RECORD_BYTES_MAX + 1, b'x');
        let piece = state.cut(false, 0).unwrap();
        assert_eq!(piece.rejected.len(), 1);
        state.carried.extend_from_slice(b"xxx\nok\n");
        let piece = state.cut(false, 0).unwrap();
        assert_eq!(text(&piece), (RECORD_BYTES_MAX as u64 + 5, "ok\n".to_owned()));
    }

    /// What has been dealt to a shard, in words.
    fn dealt(reader: &mut StdinReader) -> Vec<String> {
        let mut dealt = Vec::new();
        loop {
            dealt.push(match reader.poll(Now::default()).unwrap() {
                Polled::Piece(piece) => format!("{} {}", piece.number, text(&piece).1.trim_end()),
                Polled::Barrier(barrier) => format!("{} epoch {}", barrier.number, barrier.epoch),
                Polled::Wait(_) => return dealt,
                Polled::End => "end".to_owned(),
            });
            if dealt.last().is_some_and(|last| last == "end") {
                return dealt;
            }
        }
    }

    #[test]
    fn every_shard_is_told_where_epochs_end() {
        let barrier = Barrier { epoch: 8, number: 100, piece: 5 };
        let resume = crate::source::Resume { barrier, position: serde_json::Value::Null };
        let opening = testing::opening(2, Some(resume));
        let numbering = Numbering::of(&opening, BLOCKS_PER_CHUNK);
        let (rings, mut readers): (Vec<_>, Vec<_>) = (0..2)
            .map(|_| RingBuffer::new(WAITING_MAX))
            .map(|(ring, receiver)| (ring, StdinReader { receiver }))
            .unzip();
        let mut dealer = Dealer {
            rings,
            bells: opening.bells.clone(),
            clock: Clock::start(),
            gate: opening.gate(0, numbering),
            silence: Silence::new(None, false),
            state: State::new(numbering, &opening),
        };
        let deal = |dealer: &mut Dealer, record: &str| {
            dealer.state.carried.extend_from_slice(record.as_bytes());
            let piece = dealer.state.cut(false, 0).unwrap();
            dealer.deal(piece)
        };
        assert!(deal(&mut dealer, "a\n") && dealer.cut());
        assert!(opening.cuts.request(9, false));
        assert!(dealer.cut() && !opening.cuts.is_pending());
        assert!(deal(&mut dealer, "b\n"));
        // Asked for while a piece is about to be dealt: that is behind the cut.
        assert!(opening.cuts.request(10, false));
        assert!(deal(&mut dealer, "c\n"));
        assert_eq!(dealt(&mut readers[0]), ["116 epoch 9", "116 b", "132 epoch 10"]);
        assert_eq!(dealt(&mut readers[1]), ["100 a", "116 epoch 9", "132 epoch 10", "132 c"]);
        assert!(opening.cuts.request(11, true));
        dealer.finish();
        for reader in &mut readers {
            assert_eq!(dealt(reader), ["148 epoch 11", "end"]);
        }
        assert!(opening.cuts.has_ended());
    }
}
