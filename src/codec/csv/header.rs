//! The first line of a split, and which field of its records goes to which column.

use memchr::memchr;

use super::Dialect;
use super::fields::{Fault, Splitter};
use crate::codec::framing::Quoted;
use crate::error::nearest;
use crate::record::{Column, Schema};

/// No header is longer, bytes.
pub const HEADER_BYTES_MAX: usize = 1 << 20;

/// How many names a message lists.
const NAMES_SHOWN: usize = 20;

/// Which fields of a record are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// For each field the column it goes to, if somebody asks for it.
    pub(super) columns: Vec<Option<usize>>,
    /// Whether the fields were named by a header.
    pub(super) named: bool,
}

impl Layout {
    /// The fields in the order in which columns are declared.
    pub(super) fn in_order(declared: &Schema, columns: &Schema) -> Self {
        let fields = declared.columns().iter().map(|column| columns.index_of(&column.name));
        Self { columns: fields.collect(), named: false }
    }

    /// What is wrong with a record, in words.
    pub(super) fn reason(&self, fault: Fault, multiline: bool) -> String {
        match fault {
            Fault::Count(found) => {
                let expected = self.columns.len();
                let who = if self.named { "the header names" } else { "the schema has" };
                let fields = if found == 1 { "field" } else { "fields" };
                format!("the record has {found} {fields}, and {who} {expected}")
            }
            Fault::Open(field) if multiline => format!("not CSV: the quotes of field {field} are not closed"),
            Fault::Open(field) => format!(
                "not CSV: the quotes of field {field} are not closed at the end of the line (with `multiline: true` a field may hold line ends)"
            ),
            Fault::Inside(field) => {
                format!("not CSV: a quote inside of field {field}, which does not begin with one")
            }
            Fault::Behind(field) => format!("not CSV: something follows the closing quote of field {field}"),
            Fault::TooLong => "the record is longer than 1 GiB".to_owned(),
        }
    }
}

/// What the first line of a split says of its records.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub(super) layout: Layout,
    /// What to tell the user: columns that are not there, which are NULL; none where all are.
    pub missing: Option<String>,
}

/// Reads the first lines of splits.
#[derive(Clone, Debug)]
pub struct HeaderReader {
    dialect: Dialect,
    columns: Schema,
}

impl HeaderReader {
    /// A reader for `columns`.
    #[must_use]
    pub fn new(dialect: &Dialect, columns: &Schema) -> Self {
        Self { dialect: dialect.clone(), columns: columns.clone() }
    }

    /// The header at the start of a split, of which `input` are the first bytes, without a byte order mark, and where its
    /// records begin; lines before it that are empty are passed over. None where there is no whole line yet and `ended` is
    /// not set, or no line at all.
    ///
    /// # Errors
    ///
    /// What is wrong with it, to follow the name of the split: it cannot be read, or lacks a column that is NOT NULL.
    pub fn read(&self, input: &[u8], ended: bool) -> Result<Option<(Header, usize)>, String> {
        let mut start = 0;
        loop {
            let rest = &input[start..];
            let line_end = if self.dialect.multiline {
                Quoted::outside(self.dialect.quote).record_end(rest)
            } else {
                memchr(b'\n', rest)
            };
            let end = match line_end {
                Some(end) => end,
                None if rest.len() >= HEADER_BYTES_MAX => {
                    let limit = HEADER_BYTES_MAX >> 20;
                    return Err(format!(
                        "its first line, which names the columns, is longer than {limit} MiB"
                    ));
                }
                None if ended && !rest.is_empty() => rest.len(),
                None => return Ok(None),
            };
            let line = &rest[..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let behind = (start + end + 1).min(input.len());
            if !line.is_empty() {
                return self.header(line).map(|header| Some((header, behind)));
            }
            start = behind;
        }
    }

    fn header(&self, line: &[u8]) -> Result<Header, String> {
        let names = self.names(line).map_err(|what| format!("its header cannot be read: {what}"))?;
        let mut layout = Layout { columns: vec![None; names.len()], named: true };
        let mut missing = Vec::new();
        for (index, column) in self.columns.columns().iter().enumerate() {
            let mut found = names.iter().enumerate().filter(|(_, name)| **name == column.name);
            match (found.next(), found.next()) {
                (Some((field, _)), None) => layout.columns[field] = Some(index),
                (None, _) => missing.push(column),
                (Some(_), Some(_)) => {
                    return Err(format!("its header names the column `{}` twice", column.name));
                }
            }
        }
        if let Some(column) = missing.iter().find(|column| !column.nullable) {
            let found = found_instead(column, &names);
            return Err(format!("its header lacks the column `{}`, which is NOT NULL{found}", column.name));
        }
        let told = missing.first().map(|first| {
            let missing: Vec<String> = missing.iter().map(|column| format!("`{}`", column.name)).collect();
            let found = found_instead(first, &names);
            format!("its header lacks {}, NULL in all of its records{found}", missing.join(", "))
        });
        Ok(Header { layout, missing: told })
    }

    fn names(&self, line: &[u8]) -> Result<Vec<String>, String> {
        let text = str::from_utf8(line).map_err(|error| not_utf8(&error))?;
        let mut splitter = Splitter::new(&self.dialect);
        splitter.load(text);
        let mut fields = Vec::new();
        let split = splitter.split(text, 0, text.len(), |_, field| fields.push(field));
        let layout = Layout { columns: Vec::new(), named: true };
        split.map_err(|fault| layout.reason(fault, self.dialect.multiline))?;
        Ok(fields.into_iter().map(|field| field.text(text, &splitter.made).to_owned()).collect())
    }
}

/// What the header has in place of a column.
fn found_instead(column: &Column, names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_SHOWN).map(|name| format!("{name:?}")).collect();
    let more = if names.len() > NAMES_SHOWN { ", …" } else { "" };
    // A name with blanks around it is meant, however many there are.
    let is_meant = |name: &&str| name.trim() == column.name.trim();
    let names = || names.iter().map(String::as_str);
    let near = names().find(is_meant).or_else(|| nearest(&column.name, names()));
    let near = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
    format!(" (it has {}{more}{near})", shown.join(", "))
}

/// What is wrong with a text that is not UTF-8.
pub(super) fn not_utf8(error: &std::str::Utf8Error) -> String {
    format!("the text is not UTF-8, at byte {}", error.valid_up_to())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SqlType;

    fn reader(dialect: Dialect) -> HeaderReader {
        let columns =
            vec![Column::new("id", SqlType::BigInt, false), Column::new("amount", SqlType::Double, true)];
        HeaderReader::new(&dialect, &Schema::new(columns))
    }

    /// The columns of the fields, and where records begin.
    type Expected<'a> = (&'a [Option<usize>], usize);

    #[test]
    fn headers_are_found_and_told_when_wrong() {
        let check = |input: &[u8], ended: bool, expect: Result<Option<Expected<'_>>, &str>| {
            let text = String::from_utf8_lossy(input).into_owned();
            match (reader(Dialect::default()).read(input, ended), expect) {
                (Ok(Some((header, body))), Ok(Some(expect))) => {
                    assert_eq!((header.layout.columns.as_slice(), body), expect, "{text:?}");
                }
                (Ok(None), Ok(None)) => {}
                (Err(found), Err(expect)) => assert!(found.contains(expect), "{text:?}: {found}"),
                (found, expect) => panic!("{text:?}: {found:?}, not {expect:?}"),
            }
        };
        check(b"id,amount\n1,2\n", false, Ok(Some((&[Some(0), Some(1)], 10))));
        check(b"amount,x,id\r\n1", false, Ok(Some((&[Some(1), None, Some(0)], 13))));
        check(b"id\n", false, Ok(Some((&[Some(0)], 3))));
        check(b"\r\n\n\"id\",\"a\"\"b\"\n", false, Ok(Some((&[Some(0), None], 15))));
        check(b"id,amount", false, Ok(None));
        check(b"id,amount", true, Ok(Some((&[Some(0), Some(1)], 9))));
        check(b"id,x,x\n", false, Ok(Some((&[Some(0), None, None], 7))));
        check(b"", true, Ok(None));
        check(b"\n\n", true, Ok(None));
        check(b"", false, Ok(None));
        check(b"id,id\n", false, Err("names the column `id` twice"));
        check(
            b"ids,amount\n",
            false,
            Err(
                "lacks the column `id`, which is NOT NULL (it has \"ids\", \"amount\"; did you mean \"ids\"?)",
            ),
        );
        check(b"amount, id \n", false, Err("did you mean \" id \"?"));
        check(b"amount\n", false, Err("(it has \"amount\")"));
        check(b"id,\"a\n", false, Err("cannot be read: not CSV: the quotes of field 2"));
        check(b"id,\xff\n", false, Err("not UTF-8, at byte 3"));
        check(&vec![b'x'; HEADER_BYTES_MAX], false, Err("longer than 1 MiB"));
    }

    #[test]
    fn columns_that_are_not_there_are_told() {
        let read = |input: &[u8]| reader(Dialect::default()).read(input, true).unwrap().unwrap().0.missing;
        assert_eq!(read(b"id,amount"), None);
        let told = read(b"id,Amount").unwrap();
        assert_eq!(
            told,
            "its header lacks `amount`, NULL in all of its records (it has \"id\", \"Amount\"; did you mean \"Amount\"?)"
        );
    }

    #[test]
    fn other_dialects_have_headers_too() {
        let dialect = Dialect { delimiter: b'\t', quote: b'\'', ..Dialect::default() };
        let (header, _) = reader(dialect).read(b"'id'\tx,y\tamount\n", false).unwrap().unwrap();
        assert_eq!(header.layout.columns, [Some(0), None, Some(1)]);
    }
}
