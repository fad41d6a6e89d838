//! Where the fields of records are: delimiters and quotes are indexed over many records at a time, then each record goes
//! along its marks.

use super::Dialect;

/// The bytes that are indexed at a time.
const BLOCK: usize = 64;

/// No record is longer, bytes: two bits of a field's length say what it is.
const RECORD_BYTES_MAX: usize = (1 << 30) - 1;

/// A field: where its text is, which is in the record or, where doubled quotes were taken out, among texts that were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Field {
    start: u32,
    /// The length, and in the two highest bits whether it stood in quotes and whether its text was made.
    length: u32,
}

impl Field {
    const QUOTED: u32 = 1 << 31;
    const MADE: u32 = 1 << 30;

    fn new(start: usize, end: usize, kind: u32) -> Self {
        let part = |bytes: usize| u32::try_from(bytes).expect("chunks are far below 4 GiB");
        Self { start: part(start), length: part(end - start) | kind }
    }

    /// Whether it stood in quotes.
    #[inline]
    pub(super) fn is_quoted(self) -> bool {
        self.length & Self::QUOTED != 0
    }

    /// Its text, among that of the records and that which was made.
    #[inline]
    pub(super) fn text<'a>(self, records: &'a str, made: &'a str) -> &'a str {
        let start = self.start as usize;
        let end = start + (self.length & !(Self::QUOTED | Self::MADE)) as usize;
        let source = if self.length & Self::MADE == 0 { records } else { made };
        source.get(start..end).expect("fields begin and end at ASCII characters")
    }
}

/// What is wrong with a record. Fields are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// So many fields are not as many as there should be.
    Count(usize),
    /// The quotes of this field are not closed.
    Open(usize),
    /// A quote stands in this field, which does not begin with one.
    Inside(usize),
    /// Something follows the closing quote of this field.
    Behind(usize),
    /// The record is too long.
    TooLong,
}

/// A fault of the field with the number it is given.
type NumberedFault = fn(usize) -> Fault;

/// Finds fields.
pub(super) struct Splitter {
    delimiter: u8,
    quote: u8,
    /// Where the delimiters and the quotes of the text are, in order.
    marks: Vec<u32>,
    /// The mark that is looked at next.
    next: usize,
    /// Texts of fields from which quotes were taken out.
    pub(super) made: String,
}

impl Splitter {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let Dialect { delimiter, quote, .. } = *dialect;
        Self { delimiter, quote, marks: Vec::new(), next: 0, made: String::new() }
    }

    /// Takes a text, records of which are split next.
    pub(super) fn load(&mut self, text: &str) {
        self.marks.clear();
        self.made.clear();
        self.next = 0;
        let (blocks, rest) = text.as_bytes().as_chunks::<BLOCK>();
        let mut last = [0; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        let mut base = 0;
        for block in blocks.iter().chain([&last]) {
            let mut found = look(block, self.delimiter, self.quote);
            self.marks.reserve(BLOCK);
            while found != 0 {
                self.marks.push(base + found.trailing_zeros());
                found &= found - 1;
            }
            base += 64;
        }
    }

    /// Hands the fields of the record from `start` to `end` of the text to `take`, each with its number from 0, and yields
    /// how many there are. Records come in the order of the text.
    ///
    /// # Errors
    ///
    /// What is wrong with the record; fields before that may have been handed on.
    #[inline]
    pub(super) fn split(
        &mut self,
        text: &str,
        start: usize,
        end: usize,
        mut take: impl FnMut(usize, Field),
    ) -> Result<usize, Fault> {
        if end - start > RECORD_BYTES_MAX {
            return Err(Fault::TooLong);
        }
        let (mut number, mut start) = (0, start);
        while self.mark().is_some_and(|mark| mark < start) {
            self.next += 1;
        }
        loop {
            match self.mark().filter(|mark| *mark < end) {
                Some(mark) if text.as_bytes()[mark] == self.delimiter => {
                    take(number, Field::new(start, mark, 0));
                    self.next += 1;
                    start = mark + 1;
                }
                None => {
                    take(number, Field::new(start, end, 0));
                    return Ok(number + 1);
                }
                Some(mark) if mark == start => {
                    let (field, behind) = self.quoted(text, start, end).map_err(|fault| fault(number + 1))?;
                    take(number, field);
                    let Some(next) = behind else { return Ok(number + 1) };
                    start = next;
                }
                Some(_) => return Err(Fault::Inside(number + 1)),
            }
            number += 1;
        }
    }

    /// The field whose opening quote is at `start`, and where the next field starts, if there is one.
    fn quoted(
        &mut self,
        text: &str,
        start: usize,
        end: usize,
    ) -> Result<(Field, Option<usize>), NumberedFault> {
        self.next += 1;
        let (made, mut piece) = (self.made.len(), start + 1);
        loop {
            // Delimiters are marks too, and mean nothing here.
            let Some(mark) = self.mark().filter(|mark| *mark < end) else { return Err(Fault::Open) };
            self.next += 1;
            if text.as_bytes()[mark] == self.delimiter {
                continue;
            }
            if self.mark() == Some(mark + 1) && mark + 1 < end && text.as_bytes()[mark + 1] == self.quote {
                // The first of two quotes belongs to the text.
                self.made.push_str(text.get(piece..=mark).expect("quotes are ASCII"));
                self.next += 1;
                piece = mark + 2;
                continue;
            }
            let field = if piece == start + 1 {
                Field::new(piece, mark, Field::QUOTED)
            } else {
                self.made.push_str(text.get(piece..mark).expect("quotes are ASCII"));
                Field::new(made, self.made.len(), Field::QUOTED | Field::MADE)
            };
            if mark + 1 == end {
                return Ok((field, None));
            }
            if text.as_bytes()[mark + 1] != self.delimiter {
                return Err(Fault::Behind);
            }
            self.next += 1;
            return Ok((field, Some(mark + 2)));
        }
    }

    /// Where the next mark is.
    #[inline]
    fn mark(&self) -> Option<usize> {
        self.marks.get(self.next).map(|mark| *mark as usize)
    }
}

/// Eight bytes of 0 or 1 become eight bits by a multiplication with this, whose partial products do not meet.
const GATHER: u64 = 0x0102_0408_1020_4080;

/// Which bytes of a block are one of two, the first in the lowest bit.
#[inline]
fn look(block: &[u8; BLOCK], one: u8, other: u8) -> u64 {
    // A loop that compilers turn into vector instructions.
    let mut found = [0_u8; BLOCK];
    for (found, byte) in found.iter_mut().zip(block) {
        *found = u8::from(*byte == one) | u8::from(*byte == other);
    }
    let (words, _) = found.as_chunks::<8>();
    let bits = |word: &[u8; 8]| u64::from_le_bytes(*word).wrapping_mul(GATHER) >> 56;
    words.iter().rev().fold(0, |mask, word| mask << 8 | bits(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_byte_of_a_block_is_found() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..10_000 {
            let block: [u8; BLOCK] = std::array::from_fn(|_| b",\"xy\xac"[random.usize(..5)]);
            let expect = (0..BLOCK).filter(|at| matches!(block[*at], b',' | b'"'));
            assert_eq!(look(&block, b',', b'"'), expect.fold(0, |mask, at| mask | 1 << at));
        }
    }

    #[test]
    fn fields_are_found_or_what_is_wrong() {
        let check = |record: &str, expect: Result<&[&str], Fault>| {
            // Behind a record, whose marks must not count, and before one.
            for before in ["", "\",\n", ",,\n"] {
                let text = format!("{before}{record}\n,\"");
                let mut splitter = Splitter::new(&Dialect::default());
                splitter.load(&text);
                let mut fields = Vec::new();
                let (start, end) = (before.len(), before.len() + record.len());
                let split = splitter.split(&text, start, end, |number, field| {
                    assert_eq!(number, fields.len());
                    fields.push(field);
                });
                let texts: Vec<String> = fields
                    .iter()
                    .map(|field| {
                        let quote = if field.is_quoted() { "'" } else { "" };
                        format!("{quote}{}{quote}", field.text(&text, &splitter.made))
                    })
                    .collect();
                match expect {
                    Ok(expect) => {
                        assert_eq!((split, texts), (Ok(expect.len()), owned(expect)));
                    }
                    Err(fault) => assert_eq!(split, Err(fault), "{record:?}"),
                }
            }
        };
        check("", Ok(&[""]));
        check("a", Ok(&["a"]));
        check("a,b", Ok(&["a", "b"]));
        check(",", Ok(&["", ""]));
        check("a,,", Ok(&["a", "", ""]));
        check("\"\"", Ok(&["''"]));
        check("\"a,b\",c", Ok(&["'a,b'", "c"]));
        check("a,\"b\"", Ok(&["a", "'b'"]));
        check("\"a\"\"b\"", Ok(&["'a\"b'"]));
        check("\"\"\"\",\"\"\"\"\"\"", Ok(&["'\"'", "'\"\"'"]));
        check("\"\"\",\"\"\",x", Ok(&["'\",\"'", "x"]));
        check("\"é\",ü", Ok(&["'é'", "ü"]));
        check(" \"a\"", Err(Fault::Inside(1)));
        check("x,a\"b", Err(Fault::Inside(2)));
        check("a\"", Err(Fault::Inside(1)));
        check("\"a\"b", Err(Fault::Behind(1)));
        check("\"a\" ,b", Err(Fault::Behind(1)));
        check("x,\"a\"b\"", Err(Fault::Behind(2)));
        check("\"", Err(Fault::Open(1)));
        check("a,\"b,c", Err(Fault::Open(2)));
        check("\"a\"\"", Err(Fault::Open(1)));
        let long = "x".repeat(200);
        check(&format!("{long},\"{long}\"\"{long}\""), Ok(&[&long, &format!("'{long}\"{long}'")]));
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }
}
