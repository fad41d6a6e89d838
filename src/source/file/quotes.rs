//! Which chunks of files begin inside of quotes: for that, all quotes before them have to be counted.
//!
//! Whoever reads a chunk counts its quotes, and with them knows how the next one begins. Shards are never far apart, so
//! that a shard mostly finds what it wants to know; where another has not come to it yet, it reads the chunks in between
//! for itself, and both find the same.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU8, Ordering};

use super::schedule::{Input, Inputs};
use crate::codec::framing::Quoted;
use crate::source::SourceError;

/// How much is read at a time, bytes.
const BUFFER_BYTES: usize = 256 << 10;

const UNKNOWN: u8 = 0;
const OUTSIDE: u8 = 1;
const INSIDE: u8 = 2;

/// How the chunks of all files begin.
#[derive(Debug)]
pub(super) struct Quotes {
    quote: u8,
    chunk_bytes: u64,
    /// `[file][chunk]`, and one more that stands for the end.
    begins: Vec<Vec<AtomicU8>>,
}

impl Quotes {
    /// What is known of files before anything has been read.
    pub(super) fn new(quote: u8, inputs: &Inputs) -> Self {
        let of_file = |file: usize| (0..=inputs.chunks(file)).map(|_| AtomicU8::new(UNKNOWN)).collect();
        let begins = (0..inputs.files.len()).map(of_file).collect();
        let quotes = Self { quote, chunk_bytes: inputs.chunk_bytes, begins };
        for (file, input) in inputs.files.iter().enumerate() {
            quotes.tell(file, 0, false);
            if let Some((read, inside)) = input.begun.filter(|(read, _)| *read > 0) {
                quotes.tell(file, read / inputs.chunk_bytes, inside);
            }
        }
        quotes
    }

    /// Whether a chunk begins inside of quotes, where that has been found out.
    pub(super) fn known(&self, file: usize, part: u64) -> Option<bool> {
        let begins = self.begins[file].get(usize::try_from(part).ok()?)?;
        match begins.load(Ordering::Relaxed) {
            UNKNOWN => None,
            found => Some(found == INSIDE),
        }
    }

    /// Keeps whether a chunk begins inside of quotes. All who tell it tell the same.
    pub(super) fn tell(&self, file: usize, part: u64, inside: bool) {
        let begins = usize::try_from(part).ok().and_then(|part| self.begins[file].get(part));
        if let Some(begins) = begins {
            begins.store(if inside { INSIDE } else { OUTSIDE }, Ordering::Relaxed);
        }
    }

    /// How a chunk begins.
    ///
    /// # Errors
    ///
    /// If the chunks before it cannot be read.
    pub(super) fn find(
        &self,
        handle: &File,
        input: &Input,
        file: usize,
        part: u64,
    ) -> Result<Quoted, SourceError> {
        // How the first begins is known.
        let mut from = part;
        let mut quoted = Quoted::outside(self.quote);
        loop {
            match self.known(file, from) {
                Some(inside) => quoted.inside = inside,
                None if from == 0 => {}
                None => {
                    from -= 1;
                    continue;
                }
            }
            break;
        }
        for between in from..part {
            self.pass(handle, input, between, &mut quoted)?;
            self.tell(file, between + 1, quoted.inside);
        }
        Ok(quoted)
    }

    /// Goes over a chunk.
    fn pass(&self, handle: &File, input: &Input, part: u64, quoted: &mut Quoted) -> Result<(), SourceError> {
        // The first line has been read as a whole.
        let body = input.heading.as_ref().map_or(0, |heading| heading.body);
        let mut position = body.max(part * self.chunk_bytes);
        let end = input.bytes.min((part + 1) * self.chunk_bytes);
        let mut buffer = vec![0; BUFFER_BYTES];
        while position < end {
            let bytes = usize::try_from(end - position).map_or(BUFFER_BYTES, |left| left.min(BUFFER_BYTES));
            handle.read_exact_at(&mut buffer[..bytes], position).map_err(|source| SourceError::Read {
                path: input.path.to_string(),
                position,
                source,
            })?;
            quoted.pass(&buffer[..bytes]);
            position += bytes as u64;
        }
        Ok(())
    }
}
