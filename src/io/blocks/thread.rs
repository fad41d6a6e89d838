//! Blocks written by a thread of the file's own, for machines without io_uring.
//!
//! The thread ends with the file. A file that is dropped before it is finished is still written as far as blocks were
//! handed over (2 MiB at most); the buffers and the descriptor belong to the thread, so nobody waits for it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use rustix::fs::fdatasync;

use super::{BLOCKS, PAGE_BYTES};
use crate::io::cpu;
use crate::io::storage::{BLOCK_BYTES, BlockFile, again};

/// What the thread is asked for, in order.
enum Request {
    Write(Vec<u8>),
    Sync,
}

/// What the thread has done.
enum Outcome {
    /// The buffer's bytes are in the file.
    Written(Vec<u8>),
    Durable,
    Failed(io::Error),
}

/// A file and the way to the thread that writes it.
pub(super) struct ThreadFile {
    requests: SyncSender<Request>,
    outcomes: Receiver<Outcome>,
    /// The buffer that is being filled; empty memory until the first byte.
    filling: Vec<u8>,
    /// Buffers that came back.
    spare: Vec<Vec<u8>>,
    /// How many buffers the thread has.
    away: usize,
    finishing: bool,
    durable: bool,
    failure: Option<io::Error>,
}

impl ThreadFile {
    pub(super) fn open(file: File) -> io::Result<Self> {
        // As many as there can ever be: all buffers, and the sync.
        let (requests, asked) = sync_channel(BLOCKS + 1);
        let (done, outcomes) = sync_channel(BLOCKS + 1);
        thread::Builder::new().name("blocks".to_owned()).spawn(move || serve(&file, &asked, &done))?;
        Ok(Self {
            requests,
            outcomes,
            filling: Vec::new(),
            spare: Vec::new(),
            away: 0,
            finishing: false,
            durable: false,
            failure: None,
        })
    }

    fn hand_over(&mut self) {
        let next = self.spare.pop().unwrap_or_default();
        let full = std::mem::replace(&mut self.filling, next);
        self.away += 1;
        self.ask(Request::Write(full));
    }

    fn ask(&mut self, request: Request) {
        // The thread is gone only after it has told why.
        let asked = self.requests.try_send(request);
        debug_assert!(
            !matches!(asked, Err(std::sync::mpsc::TrySendError::Full(_))),
            "the channel has room for every buffer and the sync"
        );
    }

    fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Written(mut buffer) => {
                buffer.clear();
                self.spare.push(buffer);
                self.away -= 1;
            }
            Outcome::Durable => self.durable = true,
            Outcome::Failed(error) => self.failure = Some(error),
        }
    }
}

impl BlockFile for ThreadFile {
    fn room(&self) -> usize {
        if self.finishing || self.failure.is_some() {
            return 0;
        }
        (BLOCKS - self.away) * BLOCK_BYTES - self.filling.len()
    }

    fn write(&mut self, mut bytes: &[u8]) {
        assert!(bytes.len() <= self.room(), "no more is written than there is room for");
        while !bytes.is_empty() {
            self.filling.reserve_exact(BLOCK_BYTES - self.filling.len());
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.filling.len()));
            self.filling.extend_from_slice(now);
            bytes = later;
            if self.filling.len() == BLOCK_BYTES {
                self.hand_over();
            }
        }
    }

    fn finish(&mut self) {
        assert!(!self.finishing, "a file is finished once");
        if !self.filling.is_empty() {
            let padded = self.filling.len().next_multiple_of(PAGE_BYTES);
            self.filling.resize(padded, 0);
            self.hand_over();
        }
        self.finishing = true;
        self.ask(Request::Sync);
    }

    fn poll(&mut self) -> io::Result<bool> {
        while self.failure.is_none() && !self.durable {
            match self.outcomes.try_recv() {
                Ok(outcome) => self.note(outcome),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.failure = Some(io::Error::other("the thread that writes the file has ended"));
                }
            }
        }
        match &self.failure {
            Some(error) => Err(again(error)),
            None => Ok(self.durable),
        }
    }
}

/// Writes one buffer behind the other until the file is durable, something fails, or nobody asks any more.
fn serve(file: &File, requests: &Receiver<Request>, outcomes: &SyncSender<Outcome>) {
    // Made by a pinned shard, which needs its CPU for itself.
    cpu::unpin();
    let mut offset = 0;
    for request in requests {
        let outcome = match request {
            Request::Write(buffer) => file.write_all_at(&buffer, offset).map(|()| {
                offset += buffer.len() as u64;
                Outcome::Written(buffer)
            }),
            Request::Sync => fdatasync(file).map(|()| Outcome::Durable).map_err(Into::into),
        };
        let outcome = outcome.unwrap_or_else(Outcome::Failed);
        let last = matches!(outcome, Outcome::Failed(_) | Outcome::Durable);
        if outcomes.send(outcome).is_err() || last {
            return;
        }
    }
}
