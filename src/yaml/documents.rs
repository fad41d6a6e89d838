//! The texts that places point into: the pipeline's file and the values given on the command line.

use crate::error::{Place, Problem, Problems};

/// A document larger than this is refused: it is no pipeline file, and places are 32 bits wide.
const BYTES_MAX: usize = 4 << 20;

/// All documents of one reading. Number 0 is the pipeline's file.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    documents: Vec<Document>,
}

#[derive(Clone, Debug)]
struct Document {
    name: String,
    text: String,
    lines: Lines,
}

impl Documents {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text under the name that errors show, and yields its number. The name is a path, or the argument of
    /// the command line.
    ///
    /// # Panics
    ///
    /// After 65,535 documents.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> u16 {
        let number = u16::try_from(self.documents.len()).expect("a command line has few documents");
        let text = text.into();
        let lines = Lines::of(&text);
        self.documents.push(Document { name: name.into(), text, lines });
        number
    }

    /// Adds the bytes of a file. Bytes that are not UTF-8, or too many of them, are a problem; then there is no number
    /// to go on with, and the document is there for the report only.
    pub fn add_bytes(
        &mut self,
        name: impl Into<String>,
        bytes: &[u8],
        problems: &mut Problems,
    ) -> Option<u16> {
        if bytes.len() > BYTES_MAX {
            let document = self.add(name, "");
            let what = format!("the file has {} bytes: a pipeline file has at most 4 MiB", bytes.len());
            problems.error(Place { document, start: 0, end: 0 }, what);
            return None;
        }
        match std::str::from_utf8(bytes) {
            // A byte order mark is no part of the first line, whose columns would be off by one.
            Ok(text) => Some(self.add(name, text.strip_prefix('\u{feff}').unwrap_or(text))),
            Err(error) => {
                let (start, byte) = (error.valid_up_to(), bytes[error.valid_up_to()]);
                let document = self.add(name, String::from_utf8_lossy(bytes));
                let place = Place { document, start: 0, end: u32::MAX }.within(start, start + 3);
                problems.push(
                    Problem::error(
                        place,
                        format!("the file is not UTF-8: byte 0x{byte:02X} at offset {start}"),
                    )
                    .help("a pipeline is a text file in UTF-8"),
                );
                None
            }
        }
    }

    /// The text of a document; empty where there is no such document.
    #[must_use]
    pub fn text(&self, document: u16) -> &str {
        self.get(document).map_or("", |document| &document.text)
    }

    /// The name of a document.
    #[must_use]
    pub fn name(&self, document: u16) -> &str {
        self.get(document).map_or("", |document| &document.name)
    }

    /// The line and the column, both from 1, at which a place starts. Columns count characters.
    #[must_use]
    pub fn line_column(&self, place: Place) -> (usize, usize) {
        self.position(place.document, place.start)
    }

    /// The line and the column, both from 1, at which a place ends (exclusive).
    #[must_use]
    pub fn line_column_end(&self, place: Place) -> (usize, usize) {
        self.position(place.document, place.end.max(place.start))
    }

    fn position(&self, document: u16, offset: u32) -> (usize, usize) {
        self.get(document).map_or((1, 1), |document| document.lines.position(&document.text, offset as usize))
    }

    fn get(&self, document: u16) -> Option<&Document> {
        self.documents.get(usize::from(document))
    }
}

/// Where the lines of a text start.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let breaks = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        Self { starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// The line and the column, both from 1, of a byte of `text`.
    pub(super) fn position(&self, text: &str, offset: usize) -> (usize, usize) {
        let offset = text.floor_char_boundary(offset);
        let line = self.starts.partition_point(|start| *start <= offset);
        (line, text[self.starts[line - 1]..offset].chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters() {
        let mut documents = Documents::new();
        let document = documents.add("a.yaml", "é: ü\nb: 2\n");
        for (start, expect) in
            [(0, (1, 1)), (2, (1, 2)), (4, (1, 4)), (7, (2, 1)), (12, (3, 1)), (99, (3, 1))]
        {
            let place = Place { document, start, end: start };
            assert_eq!(documents.line_column(place), expect, "{start}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_a_problem() {
        let mut problems = Problems::new();
        let mut documents = Documents::new();
        assert_eq!(documents.add_bytes("a.yaml", b"a: \xff\xfe", &mut problems), None);
        assert_eq!(documents.line_column(problems.all()[0].at), (1, 4));
        assert_eq!(documents.add_bytes("b.yaml", &vec![b' '; BYTES_MAX + 1], &mut problems), None);
        assert_eq!(problems.all().len(), 2);
        assert_eq!(documents.add_bytes("c.yaml", "\u{feff}a: 1".as_bytes(), &mut problems), Some(2));
        assert_eq!(documents.text(2), "a: 1");
    }
}
