//! The lines of a file, read in blocks into one buffer.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use memchr::{memchr, memchr_iter};

/// How much is read at once: within the core's own cache, and many lines. 64 KiB to 1 MiB measure the same.
const BLOCK_BYTES: usize = 256 << 10;
/// What is readable and writable behind every line, as parsers by vector want it.
pub const PADDING_BYTES: usize = 64;

/// Calls `each` with every line of the file, without its newline.
///
/// # Errors
///
/// The file cannot be read, or `each` says so.
pub fn each(path: &Path, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    each_padded(path, |bytes, length| each(&bytes[..length]))
}

/// Calls `each` with every line of the file and its length: behind it lie at least [`PADDING_BYTES`] more, of any value,
/// which have to be as they were afterwards; the line itself may be written over.
///
/// # Errors
///
/// The file cannot be read, or `each` says so.
pub fn each_padded(path: &Path, mut each: impl FnMut(&mut [u8], usize) -> io::Result<()>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; BLOCK_BYTES + PADDING_BYTES];
    // What lies at the buffer's start of a line that goes on in the next block.
    let mut begun = 0;
    loop {
        let readable = buffer.len() - PADDING_BYTES;
        if begun == readable {
            buffer.resize(2 * buffer.len(), 0);
            continue;
        }
        let read = file.read(&mut buffer[begun..readable])?;
        if read == 0 {
            return if begun == 0 { Ok(()) } else { each(&mut buffer, begun) };
        }
        let end = begun + read;
        // What has been looked through for a newline in vain is not looked through again.
        let (mut start, mut searched) = (0, begun);
        while let Some(length) = memchr(b'\n', &buffer[searched..end]) {
            let newline = searched + length;
            each(&mut buffer[start..], newline - start)?;
            start = newline + 1;
            searched = start;
        }
        buffer.copy_within(start..end, 0);
        begun = end - start;
    }
}

/// How many newlines the file has.
///
/// # Errors
///
/// The file cannot be read.
pub fn count(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut newlines = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(newlines);
        }
        newlines += u64::try_from(memchr_iter(b'\n', &buffer[..read]).count()).expect("at most a block");
    }
}
