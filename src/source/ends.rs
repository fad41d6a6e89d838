//! Where the records end in bytes that come by and by.

use memchr::{memchr, memrchr};

use crate::codec::framing::Quoted;

/// Looks for the ends of records, at each byte once where quotes are minded.
#[derive(Debug)]
pub(super) struct Ends {
    /// How quotes are behind what has been looked at; none where every newline ends a record.
    quoted: Option<Quoted>,
    /// How many bytes have been looked at.
    looked_at: usize,
    /// Behind the last record that ends in them.
    last: Option<usize>,
}

impl Ends {
    /// Before the first byte of all; between two of `quote` a newline ends no record.
    pub(super) fn new(quote: Option<u8>) -> Self {
        Self { quoted: quote.map(Quoted::outside), looked_at: 0, last: None }
    }

    /// Behind the last record that ends in `bytes`, which are those of before and more.
    pub(super) fn last(&mut self, bytes: &[u8]) -> Option<usize> {
        let Some(quoted) = &mut self.quoted else { return memrchr(b'\n', bytes).map(|last| last + 1) };
        while let Some(end) = quoted.record_end(&bytes[self.looked_at..]) {
            self.looked_at += end + 1;
            self.last = Some(self.looked_at);
        }
        self.looked_at = bytes.len();
        self.last
    }

    /// The first so many of the bytes are gone.
    pub(super) fn taken(&mut self, bytes: usize) {
        self.looked_at = self.looked_at.saturating_sub(bytes);
        self.last = None;
    }

    /// Behind the record that has begun before `bytes`, of which none has been looked at; they are gone then, up to there or
    /// all.
    pub(super) fn skip(&mut self, bytes: &[u8]) -> Option<usize> {
        debug_assert_eq!(self.looked_at, 0, "what is skipped has not been looked at");
        let end = match &mut self.quoted {
            Some(quoted) => quoted.record_end(bytes),
            None => memchr(b'\n', bytes),
        };
        end.map(|end| end + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes whole records from bytes that come in pieces of any size; what was taken at once.
    #[test]
    fn records_end_in_the_same_places_however_they_come() {
        let check = |quote: Option<u8>, text: &str, expect: &[&str]| {
            for size in 1..=text.len() {
                let (mut ends, mut carried) = (Ends::new(quote), Vec::new());
                let mut taken = String::new();
                for piece in text.as_bytes().chunks(size) {
                    carried.extend_from_slice(piece);
                    if let Some(last) = ends.last(&carried) {
                        let rest = carried.split_off(last);
                        taken += str::from_utf8(&carried).unwrap();
                        taken.push('|');
                        carried = rest;
                        ends.taken(last);
                    }
                }
                let taken: Vec<&str> = taken.split_terminator('|').collect();
                assert_eq!(taken.concat(), expect.concat(), "{text:?} by {size}");
                let mut at = 0;
                for part in taken {
                    at += part.len();
                    let known = (1..=expect.len()).any(|count| expect[..count].concat().len() == at);
                    assert!(known, "{text:?} by {size}: a record ends at {at}");
                }
            }
        };
        check(None, "a\nb\n\"c\nd\"", &["a\n", "b\n", "\"c\n"]);
        check(Some(b'"'), "a\nb\n\"c\nd\"\ne", &["a\n", "b\n", "\"c\nd\"\n"]);
        check(Some(b'"'), "\"\n\"\"\n\"\n\"\n", &["\"\n\"\"\n\"\n"]);
    }

    #[test]
    fn the_rest_of_a_record_is_skipped() {
        let check = |quote: Option<u8>, begun: &str, rest: &[&str], expect: Option<usize>| {
            let mut ends = Ends::new(quote);
            assert_eq!(ends.last(begun.as_bytes()), None);
            ends.taken(begun.len());
            let found: Vec<Option<usize>> = rest.iter().map(|bytes| ends.skip(bytes.as_bytes())).collect();
            assert!(found[..found.len() - 1].iter().all(Option::is_none), "{found:?}");
            assert_eq!(found.last(), Some(&expect), "{begun:?} {rest:?}");
        };
        check(None, "abc", &["d", "e\nf"], Some(2));
        check(Some(b'"'), "\"abc\n", &["\n\n", "\"e\nf"], Some(3));
        check(Some(b'"'), "\"abc\n", &["\n\n"], None);
    }
}
