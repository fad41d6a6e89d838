//! A file to an index: read as a whole, decoded by its format, keys hashed.
//!
//! Unlike the records of a source, those of a table are not put aside one by one: a table with a bad record is not taken, so
//! that nobody looks rows up in half of one.

use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;

use super::{Index, Stamp, Table, Versions};
use crate::codec::Rejected;
use crate::record::EventTimes;

/// A file that is longer is refused: the numbers of its rows and the places of its texts are of 32 bits.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// How many records are decoded at a time.
const RECORDS_AT_ONCE: usize = 1 << 13;

/// The byte order mark that some programs put in front of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a table cannot be had; written to follow "failed to".
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Its file cannot be read.
    #[error("read the table `{table}` from {path}: {source}")]
    Read {
        /// The table's name.
        table: Arc<str>,
        /// The file.
        path: Arc<str>,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is in its file is not the table.
    #[error("load the table `{table}`: {path}{place}: {what}")]
    Content {
        /// The table's name.
        table: Arc<str>,
        /// The file.
        path: Arc<str>,
        /// `:` and the number of the line; nothing where it is none of one line.
        place: String,
        /// What is wrong.
        what: String,
    },
}

/// A table as its file has it.
#[derive(Debug)]
pub struct Loaded {
    /// Its rows.
    pub index: Arc<Index>,
    /// What tells this content apart from another.
    pub stamp: Stamp,
    /// What the user may want to know of it.
    pub notes: Vec<String>,
}

impl Table {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, and for the first record that is bad.
    pub fn load(&self) -> Result<Loaded, TableError> {
        let unread = |source| TableError::Read { table: self.name.clone(), path: self.path.clone(), source };
        let (bytes, stamp) = self.read().map_err(unread)?;
        let mut notes = Vec::new();
        let rows = self.decode(&bytes, &mut notes)?;
        drop(bytes);
        let versions = self.versions.map(|column| Versions(EventTimes::milliseconds(rows.column(column))));
        let index = Index::new(rows, &self.schema, &self.key, versions.as_ref())
            .map_err(|what| self.wrong(None, what.to_owned()))?;
        if index.replaced() > 0 {
            let time = if self.versions.is_some() { " and time" } else { "" };
            notes.push(format!(
                "{} rows have the key{time} of a later row, which counts instead of them",
                index.replaced()
            ));
        }
        Ok(Loaded { index: Arc::new(index), stamp, notes })
    }

    /// The content of the file, and what it was when it was opened: a change from then on is seen as one.
    fn read(&self) -> io::Result<(Vec<u8>, Stamp)> {
        let mut file = File::open(&*self.path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if metadata.len() > FILE_BYTES_MAX {
            let limit = FILE_BYTES_MAX >> 30;
            return Err(io::Error::other(format!("a table of more than {limit} GiB is not in this version")));
        }
        let mut bytes = Vec::new();
        let read = io::Read::by_ref(&mut file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if read as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other("it grows while it is read"));
        }
        Ok((bytes, Stamp::of(&metadata)))
    }

    /// What the file is now; none where it is not there.
    pub(super) fn look(&self) -> Option<Stamp> {
        fs::metadata(&*self.path).ok().map(|metadata| Stamp::of(&metadata))
    }

    fn decode(&self, bytes: &[u8], notes: &mut Vec<String>) -> Result<RecordBatch, TableError> {
        let mut decoder = self.format.decoder(&self.schema, &self.schema);
        let mut start = if bytes.starts_with(MARK) { MARK.len() } else { 0 };
        if let Some(reader) = self.format.header_reader(&self.schema) {
            let found = reader.read(&bytes[start..], true).map_err(|what| self.wrong(None, what))?;
            // A file that is being written anew is empty for a moment.
            let Some((header, body)) = found else {
                return Err(
                    self.wrong(None, "it is empty, and its first line is to name the columns".to_owned())
                );
            };
            notes.extend(header.missing.clone());
            decoder.begin(&Arc::new(header));
            start += body;
        }
        let records = &bytes[start..];
        let mut spans = Vec::new();
        decoder.frame(records, &mut spans);
        let mut batches = Vec::new();
        let mut rejected: Vec<Rejected> = Vec::new();
        for piece in spans.chunks(RECORDS_AT_ONCE) {
            let rows = decoder.decode(records, piece, &mut rejected);
            if let Some(Rejected { record, reason }) = rejected.first() {
                let offset = (piece[*record as usize] >> 32) as usize;
                return Err(self.wrong(Some(line_of(bytes, start + offset)), reason.clone()));
            }
            if let Some(row) = self.versions.and_then(|column| first_null(&rows, column)) {
                let column = &self.schema.columns()[self.versions.unwrap_or_default()].name;
                let offset = (piece[row] >> 32) as usize;
                let what = format!("`{column}` is NULL, and says from when on the row holds");
                return Err(self.wrong(Some(line_of(bytes, start + offset)), what));
            }
            batches.push(rows);
        }
        concat_batches(self.schema.arrow(), &batches).map_err(|error| self.wrong(None, error.to_string()))
    }

    fn wrong(&self, line: Option<usize>, what: String) -> TableError {
        let place = line.map_or_else(String::new, |line| format!(":{line}"));
        TableError::Content { table: self.name.clone(), path: self.path.clone(), place, what }
    }
}

fn first_null(rows: &RecordBatch, column: usize) -> Option<usize> {
    let column = rows.column(column);
    (column.null_count() > 0).then(|| (0..column.len()).find(|row| column.is_null(*row)))?
}

/// The number of the line at this offset, from 1.
fn line_of(bytes: &[u8], offset: usize) -> usize {
    1 + memchr::memchr_iter(b'\n', &bytes[..offset]).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Format;
    use crate::codec::csv::Dialect;
    use crate::record::{Column, Schema, parse_type};
    use crate::table::Declared;

    fn table(path: &str, format: Format, versions: Option<usize>) -> Table {
        let columns = [("id", "BIGINT NOT NULL"), ("name", "STRING"), ("at", "TIMESTAMP(3)")];
        let columns = columns.map(|(name, text)| {
            let (data_type, nullable) = parse_type(text).unwrap();
            Column::new(name, data_type, nullable)
        });
        Table::new(Declared {
            name: "t".into(),
            path: path.into(),
            watch: true,
            format,
            schema: Schema::new(columns.to_vec()),
            key: vec![0],
            versions,
        })
    }

    /// Rows, keys, and notes; or what is wrong behind the path.
    fn check(
        format: &Format,
        versions: Option<usize>,
        content: &str,
        expect: Result<(usize, usize, &[&str]), &str>,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        std::fs::write(&path, content).unwrap();
        let table = table(path.to_str().unwrap(), format.clone(), versions);
        match (table.load(), expect) {
            (Ok(loaded), Ok((rows, keys, notes))) => {
                assert_eq!((loaded.index.rows().num_rows(), loaded.index.keys()), (rows, keys), "{content}");
                assert_eq!(loaded.notes.len(), notes.len(), "{content}: {:?}", loaded.notes);
                for (found, expect) in loaded.notes.iter().zip(notes) {
                    assert!(found.contains(expect), "{content}: {found}");
                }
                assert!(loaded.index.bytes() > 0);
            }
            (Err(error), Err(expect)) => {
                let error = error.to_string().replace(path.to_str().unwrap(), "FILE");
                assert!(error.contains(expect), "{content}: {error}");
            }
            (found, expect) => panic!("{content}: {found:?}, not {expect:?}"),
        }
    }

    #[test]
    fn files_become_tables() {
        let (csv, json) = (Format::Csv(Dialect::default()), Format::Json);
        check(&csv, None, "id,name,at\n1,a,\n2,b,\n", Ok((2, 2, &[])));
        check(
            &csv,
            None,
            "\u{feff}name,id\na,1\nb,1",
            Ok((2, 1, &["its header lacks `at`", "1 rows have the key of a later"])),
        );
        check(&csv, None, "id,name,at\n", Ok((0, 0, &[])));
        check(&csv, None, "", Err("load the table `t`: FILE: it is empty"));
        check(&csv, None, "name\na\n", Err("FILE: its header lacks the column `id`"));
        check(&csv, None, "id,name,at\n1,a,\n\nx,b,\n", Err("FILE:4: "));
        check(&csv, None, "id,name,at\n1,a,\n,b,\n", Err("FILE:3: "));
        check(&json, None, "{\"id\":1}\n{\"id\":2,\"name\":\"b\"}\n", Ok((2, 2, &[])));
        check(&json, None, "", Ok((0, 0, &[])));
        check(&json, None, "{\"id\":1}\n{\"id\":", Err("FILE:2: "));
        check(&json, None, "{\"id\":1}\n{\"id\":null}\n", Err("FILE:2: "));
        let many: String = (0..20_000).map(|id| format!("{{\"id\":{id}}}\n")).collect();
        check(&json, None, &many, Ok((20_000, 20_000, &[])));
        check(&json, None, &format!("{many}x\n"), Err("FILE:20001: "));
        check(
            &json,
            Some(2),
            "{\"id\":1,\"at\":\"2026-01-01T00:00:00\"}\n{\"id\":1}\n",
            Err("FILE:2: `at` is NULL"),
        );
        let twice = "{\"id\":1,\"at\":\"2026-01-01T00:00:00\"}\n".repeat(2);
        check(&json, Some(2), &twice, Ok((2, 1, &["1 rows have the key and time of a later row"])));
    }

    #[test]
    fn a_file_that_is_not_there_is_told() {
        let error = table("/nowhere/t.csv", Format::Json, None).load().unwrap_err().to_string();
        assert!(error.starts_with("read the table `t` from /nowhere/t.csv: "), "{error}");
    }
}
