//! The first lines of files that name their columns: read when the input is opened, since whoever reads a later chunk needs
//! them too.
//!
//! They are not part of a snapshot. What has been read of a file is compared with what is in it now, its first 64 KiB among
//! that, and of a file of which nothing has been read the first line may be another.

use std::io::{self, Read};
use std::sync::Arc;

use super::position;
use super::schedule::{Heading, Input};
use crate::codec::csv::{HEADER_BYTES_MAX, HeaderReader};
use crate::source::SourceError;
use crate::source::chunk::mark_bytes;

/// How much of a file is read at first in the hope that its first line ends there, bytes.
const FIRST_BYTES: u64 = 4 << 10;

/// Reads the first line of a file and keeps what it says. One that has been read to its end and is gone needs none.
///
/// # Errors
///
/// If it cannot be read, or if what it says does not fit.
pub(super) fn read(input: &mut Input, reader: &HeaderReader) -> Result<(), SourceError> {
    if input.identity.is_none() {
        return Ok(());
    }
    let (mut file, _) = position::open(&input.path)?;
    let most = input.bytes.min(HEADER_BYTES_MAX as u64 + FIRST_BYTES);
    let mut begun = Vec::new();
    loop {
        let wanted = most.min(FIRST_BYTES.max(2 * begun.len() as u64)) - begun.len() as u64;
        let filled = io::Read::by_ref(&mut file).take(wanted).read_to_end(&mut begun);
        let found = filled.map_err(|source| SourceError::Read {
            path: input.path.to_string(),
            position: begun.len() as u64,
            source,
        })?;
        let is_all = found == 0 || begun.len() as u64 >= input.bytes;
        let mark = mark_bytes(&begun);
        let header = reader
            .read(&begun[mark..], is_all)
            .map_err(|what| SourceError::Header { path: input.path.to_string(), what })?;
        if let Some((header, body)) = header {
            if let Some(missing) = &header.missing {
                tracing::warn!("{}: {missing}", input.path);
            }
            let body = (mark + body) as u64;
            input.heading = Some(Heading { header: Arc::new(header), body });
            return Ok(());
        }
        if is_all {
            // There are empty lines at most, and no records.
            input.heading = Some(Heading { header: Arc::default(), body: input.bytes });
            return Ok(());
        }
        if begun.len() as u64 >= most {
            let what = format!("it does not begin with a header: its first {most} bytes are empty lines");
            return Err(SourceError::Header { path: input.path.to_string(), what });
        }
    }
}
