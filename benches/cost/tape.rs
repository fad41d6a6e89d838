//! A bare simd-json tape of every line: what a good library takes to parse, before anything is done with it.

use std::io;
use std::path::Path;

use simd_json::{Buffers, INPUT_PADDING, Tape, fill_tape_padded};

use super::lines::{self, PADDING_BYTES};

const _: () = assert!(PADDING_BYTES >= INPUT_PADDING, "the parser reads behind the line");

/// How many lines the file has, each parsed in place, in buffers that are used again, and thrown away.
///
/// # Errors
///
/// The file cannot be read, or a line is not JSON.
pub fn parse(path: &Path) -> io::Result<u64> {
    let mut buffers = Buffers::new(4096);
    let mut spare = Tape(Vec::new());
    let mut count = 0;
    lines::each_padded(path, |bytes, length| {
        let mut tape = std::mem::replace(&mut spare, Tape(Vec::new())).reset();
        let parsed = fill_tape_padded(bytes, length, &mut buffers, &mut tape);
        parsed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        std::hint::black_box(&tape.0);
        spare = tape.reset();
        count += 1;
        Ok(())
    })?;
    Ok(count)
}
