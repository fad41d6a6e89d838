//! Blocks written through io_uring, past the page cache where the file system lets them.
//!
//! A [`RingFile`] borrows a [`Ring`] from its thread's pool: making one pins 2 MiB of memory. A file that is dropped with
//! writes in flight gives its ring back as it is; the buffers and the descriptor stay in the ring until the kernel has
//! let go of them, and only then another file gets it. Nobody waits, except the end of a thread.
//!
//! The kernel gives up what a thread has in flight when that thread ends; a file that was moved to another thread fails
//! then. A sync is not linked to the writes: a short write, which is no error, would cancel it.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;

use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, opcode, squeue};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::{BLOCKS, PAGE_BYTES};
use crate::io::storage::{BLOCK_BYTES, BlockFile, again};

/// Room for every block and the sync.
const ENTRIES: u32 = 16;

/// What a completion of the sync is known by; those of writes have their block's number.
const SYNC: u64 = u64::MAX;

/// How often in a row a write may come to nothing (a signal, no memory for now, not a byte written) before that is an
/// error.
const FRUITLESS_MAX: u32 = 100;

/// How many rings a thread keeps at most, those of files that were given up included.
const RINGS_MAX: usize = 4;

thread_local! {
    static POOL: RefCell<Vec<Ring>> = const { RefCell::new(Vec::new()) };
}

/// What memory must start at for a write past the page cache.
#[derive(Clone, Copy)]
#[repr(C, align(4096))]
struct Page([u8; PAGE_BYTES]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Filling,
    /// Queued or in flight: the kernel reads it.
    Away,
}

/// A buffer and what of it is where.
struct Block {
    pages: Box<[Page]>,
    state: State,
    /// Where its first byte goes in the file.
    offset: u64,
    /// How many bytes it holds.
    length: usize,
    /// How many of them are in the file.
    written: usize,
    /// Whether its last write went past the page cache.
    direct: bool,
    fruitless: u32,
}

/// What follows a completed write.
#[derive(Debug)]
enum Next {
    /// All of it is in the file.
    Written,
    /// The rest is written once more.
    Again,
    /// So it is, but through the page cache.
    Buffered,
    Failed(io::Error),
}

impl Block {
    fn new() -> Self {
        let pages = vec![Page([0; PAGE_BYTES]); BLOCK_BYTES / PAGE_BYTES].into_boxed_slice();
        Self { pages, state: State::Free, offset: 0, length: 0, written: 0, direct: false, fruitless: 0 }
    }

    /// Makes it a block of a file, to be filled.
    fn begin(&mut self, offset: u64) {
        (self.state, self.offset, self.length) = (State::Filling, offset, 0);
        (self.written, self.fruitless) = (0, 0);
    }

    /// Takes bytes behind those it has, as many as fit; yields the rest.
    fn fill<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        debug_assert_eq!(self.state, State::Filling);
        while !bytes.is_empty() && self.length < BLOCK_BYTES {
            let at = self.length % PAGE_BYTES;
            let page = &mut self.pages[self.length / PAGE_BYTES].0[at..];
            let (now, later) = bytes.split_at(bytes.len().min(page.len()));
            page[..now.len()].copy_from_slice(now);
            self.length += now.len();
            bytes = later;
        }
        bytes
    }

    /// Fills the last page up with zeros.
    fn pad(&mut self) {
        let at = self.length % PAGE_BYTES;
        if at > 0 {
            self.pages[self.length / PAGE_BYTES].0[at..].fill(0);
            self.length = self.length.next_multiple_of(PAGE_BYTES);
        }
    }

    /// Takes note of a write's result: a number of bytes, or the negative number of an error.
    fn completed(&mut self, result: i32) -> Next {
        let Ok(bytes) = usize::try_from(result) else {
            let error = io::Error::from_raw_os_error(result.saturating_neg());
            return match Errno::from_io_error(&error) {
                Some(Errno::INTR | Errno::AGAIN) => self.came_to_nothing(error),
                // An alignment that suits every disk we know does not suit this one.
                Some(Errno::INVAL) if self.direct => Next::Buffered,
                _ => Next::Failed(error),
            };
        };
        let end = self.written + bytes;
        if end >= self.length {
            return Next::Written;
        }
        // Past the page cache every write has to begin at a boundary, so what lies behind the last one is written twice.
        let kept = if self.direct { end - end % PAGE_BYTES } else { end };
        if kept == self.written {
            return if self.direct {
                Next::Buffered
            } else {
                self.came_to_nothing(io::ErrorKind::WriteZero.into())
            };
        }
        (self.written, self.fruitless) = (kept, 0);
        Next::Again
    }

    fn came_to_nothing(&mut self, error: io::Error) -> Next {
        self.fruitless += 1;
        if self.fruitless > FRUITLESS_MAX { Next::Failed(error) } else { Next::Again }
    }
}

/// A ring and the buffers that are written through it, for one file at a time.
struct Ring {
    uring: IoUring,
    blocks: Vec<Block>,
    /// Whether the kernel keeps the buffers mapped, which saves it the work on each write.
    registered: bool,
    /// Operations queued or in flight. While there are any, no memory of a block that is away is freed or changed, and
    /// `file` stays open.
    pending: usize,
    file: Option<File>,
    /// Whether writes go past the page cache.
    direct: bool,
}

impl Ring {
    fn new() -> io::Result<Self> {
        let uring = IoUring::new(ENTRIES)?;
        let mut blocks: Vec<Block> = (0..BLOCKS).map(|_| Block::new()).collect();
        let parts: Vec<libc::iovec> = blocks
            .iter_mut()
            .map(|block| libc::iovec { iov_base: block.pages.as_mut_ptr().cast(), iov_len: BLOCK_BYTES })
            .collect();
        // SAFETY: the parts are whole boxes that `blocks` owns. They are freed after the ring is closed (fields are
        // dropped in the order of their declaration) or, if operations cannot be waited for, never.
        #[expect(unsafe_code, reason = "the kernel maps memory for as long as the ring lives")]
        let registered = unsafe { uring.submitter().register_buffers(&parts) };
        if let Err(error) = &registered {
            // What may be locked is limited (RLIMIT_MEMLOCK). Plain writes do the same with a little more work.
            tracing::debug!(%error, "the kernel does not keep the buffers of snapshots mapped");
        }
        Ok(Self { uring, blocks, registered: registered.is_ok(), pending: 0, file: None, direct: false })
    }

    /// A ring without operations: of this thread's pool, or a new one.
    fn take() -> io::Result<Self> {
        POOL.with_borrow_mut(|pool| {
            // One that the kernel takes nothing from any more stays busy.
            for ring in &mut *pool {
                drop(ring.drain());
            }
            if let Some(idle) = pool.iter().position(|ring| ring.pending == 0) {
                return Ok(pool.swap_remove(idle));
            }
            if pool.len() >= RINGS_MAX {
                let text = "files that were given up are still being written";
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
            }
            Ring::new()
        })
    }

    /// Gives a ring back, whatever is still in flight.
    fn give(mut self) {
        drop(self.drain());
        // A thread that ends has no pool any more: dropping the ring waits for its operations.
        let _: Result<(), _> = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            // One idle ring is enough for a shard, which writes one file after the other.
            if self.pending > 0 || pool.iter().all(|ring| ring.pending > 0) {
                pool.push(self);
            }
        });
    }

    /// Takes what has completed for a file that was given up, without waiting.
    fn drain(&mut self) -> io::Result<()> {
        self.submit()?;
        while self.next_completion().is_some() {}
        if self.pending == 0 {
            self.file = None;
            self.blocks.iter_mut().for_each(|block| block.state = State::Free);
        }
        Ok(())
    }

    /// Begins a file.
    fn begin(&mut self, file: File) {
        debug_assert_eq!(self.pending, 0, "a ring is given to one file at a time");
        // Set on the open file: a refusal of open(2) would come after it has made the file.
        let direct = fcntl_getfl(&file).and_then(|flags| fcntl_setfl(&file, flags | OFlags::DIRECT));
        self.direct = direct.is_ok();
        self.file = Some(file);
    }

    /// Makes all further writes go through the page cache.
    fn buffer(&mut self) -> io::Result<()> {
        if let Some(file) = self.file.as_ref().filter(|_| self.direct) {
            fcntl_setfl(file, fcntl_getfl(file)? - OFlags::DIRECT)?;
            self.direct = false;
        }
        Ok(())
    }

    fn fd(&self) -> Fd {
        Fd(self.file.as_ref().map_or(-1, AsRawFd::as_raw_fd))
    }

    /// Queues what is left of a block to be written.
    fn write(&mut self, number: usize) {
        let fd = self.fd();
        let block = &mut self.blocks[number];
        debug_assert!(block.written < block.length && block.length <= BLOCK_BYTES);
        (block.state, block.direct) = (State::Away, self.direct);
        let start = block.pages.as_ptr().cast::<u8>().wrapping_add(block.written);
        let length = u32::try_from(block.length - block.written).expect("a block is shorter than 4 GiB");
        let offset = block.offset + block.written as u64;
        let entry = if self.registered {
            let index = u16::try_from(number).expect("there are few blocks");
            opcode::WriteFixed::new(fd, start, length, index).offset(offset).build()
        } else {
            opcode::Write::new(fd, start, length).offset(offset).build()
        };
        self.push(&entry.user_data(number as u64));
    }

    /// Queues the file to be made durable.
    fn sync(&mut self) {
        let entry = opcode::Fsync::new(self.fd()).flags(FsyncFlags::DATASYNC).build();
        self.push(&entry.user_data(SYNC));
    }

    fn push(&mut self, entry: &squeue::Entry) {
        self.pending += 1;
        debug_assert!(self.pending <= ENTRIES as usize);
        // SAFETY: an entry names the descriptor of `file` and memory of a block that is away. Both are kept as they are
        // until its completion has been taken: see `pending`.
        #[expect(unsafe_code, reason = "the kernel reads memory that Rust does not see it borrow")]
        let pushed = unsafe { self.uring.submission().push(entry) };
        pushed.expect("the queue has room for every block and the sync");
    }

    /// Hands what is queued to the kernel; what it does not take now, it is offered next time.
    fn submit(&mut self) -> io::Result<()> {
        if self.uring.submission().is_empty() {
            return Ok(());
        }
        match self.uring.submit() {
            Err(error) if !passes(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// The next completion, if there is one: what it is known by, and its result.
    fn next_completion(&mut self) -> Option<(u64, i32)> {
        let completion = self.uring.completion().next()?;
        self.pending -= 1;
        Some((completion.user_data(), completion.result()))
    }
}

/// Whether the kernel only asks to be asked again.
fn passes(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INTR | Errno::AGAIN | Errno::BUSY))
}

impl Drop for Ring {
    fn drop(&mut self) {
        while self.pending > 0 {
            match self.uring.submit_and_wait(1) {
                Err(error) if !passes(&error) => {
                    // The kernel may read the buffers for as long as it likes.
                    mem::forget(mem::take(&mut self.blocks));
                    mem::forget(self.file.take());
                    return;
                }
                _ => {}
            }
            while self.next_completion().is_some() {}
        }
    }
}

/// Where the sync behind the last write stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sync {
    NotWanted,
    Wanted,
    InFlight,
    Done,
}

/// A file that is written through a ring.
pub(super) struct RingFile {
    /// None only while it is dropped.
    ring: Option<Ring>,
    filling: Option<usize>,
    /// Where the next block begins in the file.
    end: u64,
    sync: Sync,
    failure: Option<io::Error>,
}

impl RingFile {
    pub(super) fn open(file: File) -> io::Result<Self> {
        let mut ring = Ring::take()?;
        ring.begin(file);
        Ok(Self { ring: Some(ring), filling: None, end: 0, sync: Sync::NotWanted, failure: None })
    }

    fn ring(&mut self) -> &mut Ring {
        self.ring.as_mut().expect("a file has its ring until it is dropped")
    }

    /// The block to be filled next.
    fn block_to_fill(&mut self) -> usize {
        if let Some(number) = self.filling {
            return number;
        }
        let end = self.end;
        let blocks = &mut self.ring().blocks;
        let free = blocks.iter().position(|block| block.state == State::Free);
        let number = free.expect("no more is written than there is room for");
        blocks[number].begin(end);
        self.filling = Some(number);
        number
    }

    fn hand_over(&mut self, number: usize) {
        self.filling = None;
        self.end += self.ring().blocks[number].length as u64;
        self.ring().write(number);
        self.submit();
    }

    fn submit(&mut self) {
        let submitted = self.ring().submit();
        self.note(submitted);
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.failure.get_or_insert(error);
        }
    }

    fn completed(&mut self, known_by: u64, result: i32) {
        if known_by == SYNC {
            self.sync = Sync::Done;
            if result < 0 {
                self.note(Err(io::Error::from_raw_os_error(result.saturating_neg())));
            }
            return;
        }
        let ring = self.ring();
        let number = usize::try_from(known_by).expect("a block's number");
        match ring.blocks[number].completed(result) {
            Next::Written => ring.blocks[number].state = State::Free,
            Next::Again => ring.write(number),
            Next::Buffered => {
                let buffered = ring.buffer();
                ring.write(number);
                self.note(buffered);
            }
            Next::Failed(error) => self.note(Err(error)),
        }
    }
}

impl BlockFile for RingFile {
    fn room(&self) -> usize {
        let Some(ring) =
            self.ring.as_ref().filter(|_| self.failure.is_none() && self.sync == Sync::NotWanted)
        else {
            return 0;
        };
        let of_block = |block: &Block| match block.state {
            State::Free => BLOCK_BYTES,
            State::Filling => BLOCK_BYTES - block.length,
            State::Away => 0,
        };
        ring.blocks.iter().map(of_block).sum()
    }

    fn write(&mut self, mut bytes: &[u8]) {
        assert!(bytes.len() <= self.room(), "no more is written than there is room for");
        while !bytes.is_empty() {
            let number = self.block_to_fill();
            let block = &mut self.ring().blocks[number];
            bytes = block.fill(bytes);
            if block.length == BLOCK_BYTES {
                self.hand_over(number);
            }
        }
    }

    fn finish(&mut self) {
        assert_eq!(self.sync, Sync::NotWanted, "a file is finished once");
        if let Some(number) = self.filling {
            self.ring().blocks[number].pad();
            self.hand_over(number);
        }
        self.sync = Sync::Wanted;
    }

    fn poll(&mut self) -> io::Result<bool> {
        while self.failure.is_none() {
            let Some((known_by, result)) = self.ring().next_completion() else { break };
            self.completed(known_by, result);
        }
        if self.failure.is_none() {
            if self.sync == Sync::Wanted && self.ring().pending == 0 {
                self.sync = Sync::InFlight;
                self.ring().sync();
            }
            self.submit();
        }
        match &self.failure {
            Some(error) => Err(again(error)),
            None => Ok(self.sync == Sync::Done),
        }
    }
}

impl Drop for RingFile {
    fn drop(&mut self) {
        if let Some(ring) = self.ring.take() {
            ring.give();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_goes_on_until_all_of_it_is_written() {
        const PAGE: i32 = 4096;
        let eintr = -Errno::INTR.raw_os_error();
        let einval = -Errno::INVAL.raw_os_error();
        // Of a block of three pages: what completed, then what follows and from where.
        let check = |direct: bool, results: &[i32], expect: &str, written: usize| {
            let mut block = Block { length: 3 * 4096, direct, ..Block::new() };
            let next = results.iter().map(|result| block.completed(*result)).last().unwrap();
            let next = match next {
                Next::Failed(error) => format!("{:?}", error.kind()),
                next => format!("{next:?}"),
            };
            assert_eq!((next.as_str(), block.written), (expect, written), "{direct} {results:?}");
        };
        check(true, &[3 * PAGE], "Written", 0);
        check(true, &[PAGE], "Again", 4096);
        check(true, &[PAGE + 512], "Again", 4096);
        check(true, &[PAGE, 2 * PAGE - 1], "Again", 2 * 4096);
        check(true, &[PAGE, 2 * PAGE], "Written", 4096);
        check(true, &[512], "Buffered", 0);
        check(true, &[0], "Buffered", 0);
        check(true, &[einval], "Buffered", 0);
        check(false, &[einval], "InvalidInput", 0);
        check(false, &[1], "Again", 1);
        check(false, &[1, 3 * PAGE - 1], "Written", 1);
        check(false, &[eintr], "Again", 0);
        check(true, &[-Errno::AGAIN.raw_os_error()], "Again", 0);
        check(false, &[0], "Again", 0);
        check(false, &[0; 101], "WriteZero", 0);
        check(false, &[eintr; 101], "Interrupted", 0);
        check(true, &[-Errno::NOSPC.raw_os_error()], "StorageFull", 0);
        check(true, &[PAGE, -Errno::IO.raw_os_error()], "Uncategorized", 4096);
        let mut patient = vec![eintr; 100];
        patient.push(PAGE);
        patient.extend_from_slice(&[eintr; 100]);
        check(false, &patient, "Again", 4096);
    }

    #[test]
    fn buffers_that_are_not_mapped_and_files_in_the_cache_do_as_well() {
        if let Err(why) = crate::io::probe_io_uring() {
            println!("SKIPPED: {why}");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blocks");
        let bytes: Vec<u8> = (1..=251).cycle().take(BLOCKS * BLOCK_BYTES - 1).collect();
        for (registered, direct) in [(false, true), (true, false), (false, false)] {
            let mut ring = Ring::new().unwrap();
            ring.registered &= registered;
            ring.begin(File::create(&path).unwrap());
            if !direct {
                ring.buffer().unwrap();
            }
            let mut file =
                RingFile { ring: Some(ring), filling: None, end: 0, sync: Sync::NotWanted, failure: None };
            file.write(&bytes);
            file.finish();
            while !file.poll().unwrap() {}
            let stored = std::fs::read(&path).unwrap();
            assert!(stored.strip_suffix(&[0]).unwrap() == bytes, "{registered} {direct}");
        }
    }
}
