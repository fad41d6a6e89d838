//! Files that are written in blocks by callers that never wait: through io_uring ([`ring`]), or by a thread beside each
//! file ([`thread`]). Both keep [`BLOCKS`] buffers, write several at a time, look at the length of every write, and make
//! the file durable when all of them are in.

mod ring;
mod thread;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;

use super::Mode;
use super::storage::{ALIGNMENT, BlockFile};

/// How many blocks of one file are filled or in flight at most: enough for the disk never to wait for the caller, and
/// 2 MiB of memory.
const BLOCKS: usize = 8;

/// [`ALIGNMENT`] as a length of memory.
const PAGE_BYTES: usize = 4 << 10;
const _: () = assert!(PAGE_BYTES as u64 == ALIGNMENT);

/// Makes a file, which is empty, one that is written in blocks.
///
/// # Errors
///
/// If neither a ring nor a thread can be had, or too many files that were given up are still being written.
pub(super) fn open(file: File, mode: Mode) -> io::Result<Box<dyn BlockFile>> {
    match mode {
        Mode::Uring => Ok(Box::new(ring::RingFile::open(file)?)),
        Mode::Threads => Ok(Box::new(thread::ThreadFile::open(file)?)),
    }
}
