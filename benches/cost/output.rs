//! Rows on their way to a file, collected in one buffer.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::time::Minute;

/// Rows are written when there are so many bytes of them.
const BLOCK_BYTES: usize = 256 << 10;

/// A file of rows.
pub struct Output {
    file: File,
    buffer: Vec<u8>,
    minute: Minute,
    number: itoa::Buffer,
}

impl Output {
    /// A new file, or one that is written over.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        let buffer = Vec::with_capacity(2 * BLOCK_BYTES);
        Ok(Self { file: File::create(path)?, buffer, minute: Minute::new(), number: itoa::Buffer::new() })
    }

    /// Appends text as it is.
    #[inline]
    pub fn text(&mut self, text: &[u8]) -> &mut Self {
        self.buffer.extend_from_slice(text);
        self
    }

    /// Appends an integer.
    #[inline]
    pub fn number(&mut self, value: u64) -> &mut Self {
        self.buffer.extend_from_slice(self.number.format(value).as_bytes());
        self
    }

    /// Appends thousandths as a decimal with three places.
    #[inline]
    pub fn thousandths(&mut self, value: u64) -> &mut Self {
        self.number(value / 1000);
        let digit = |value: u64| b'0' + u8::try_from(value % 10).expect("a digit");
        self.text(&[b'.', digit(value / 100), digit(value / 10), digit(value)])
    }

    /// Appends a time, without quotes.
    #[inline]
    pub fn time(&mut self, at_ms: i64) -> &mut Self {
        self.minute.write(at_ms, &mut self.buffer);
        self
    }

    /// Ends a row: its last brace and the newline.
    ///
    /// # Errors
    ///
    /// The file does not take what has been collected.
    #[inline]
    pub fn end_row(&mut self) -> io::Result<()> {
        self.text(b"}\n");
        if self.buffer.len() >= BLOCK_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes what has been collected.
    ///
    /// # Errors
    ///
    /// The file does not take it.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
