//! The text of a value in the source of a record.
//!
//! The parser turns numbers into doubles and forgets where values were. Exact decimals, and text made of numbers or
//! objects, need the source itself. Everything here walks a record that the parser has already accepted, except
//! [`blank_wild_numbers`], which prepares one that it refused.

use memchr::memchr2;

/// One past the closing quote of the string whose first byte behind the opening quote is at `start`.
fn string_end(raw: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(found) = raw.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if raw[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    raw.len()
}

fn skip_blanks(raw: &[u8], start: usize) -> usize {
    let rest = raw.get(start..).unwrap_or_default();
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    start + blanks
}

/// Where the record's value starts.
pub(super) fn root_start(raw: &[u8]) -> usize {
    skip_blanks(raw, 0)
}

/// Where the value of a key starts; `key` is the first byte of the key behind its opening quote.
pub(super) fn value_start(raw: &[u8], key: usize) -> usize {
    let colon = skip_blanks(raw, string_end(raw, key));
    skip_blanks(raw, colon + 1)
}

/// Where the first element of the array at `array` starts, if it has one.
pub(super) fn first_element(raw: &[u8], array: usize) -> usize {
    skip_blanks(raw, array + 1)
}

/// Where the element behind the one at `element` starts, if there is one.
pub(super) fn next_element(raw: &[u8], element: usize) -> usize {
    let comma = skip_blanks(raw, value_end(raw, element));
    skip_blanks(raw, comma + 1)
}

/// One past the last byte of the value at `start`.
pub(super) fn value_end(raw: &[u8], start: usize) -> usize {
    match raw.get(start) {
        Some(b'"') => string_end(raw, start + 1),
        Some(b'{' | b'[') => container_end(raw, start),
        _ => {
            let rest = raw.get(start..).unwrap_or_default();
            let delimiter = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
            start + rest.iter().position(delimiter).unwrap_or(rest.len())
        }
    }
}

fn container_end(raw: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while let Some(byte) = raw.get(at) {
        at += 1;
        match byte {
            b'"' => at = string_end(raw, at),
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return at,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    raw.len()
}

/// Whether text is a number as JSON writes it.
fn is_number(text: &[u8]) -> bool {
    fn digits(text: &[u8]) -> Option<&[u8]> {
        let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then(|| &text[count..])
    }
    let whole = text.strip_prefix(b"-").unwrap_or(text);
    let rest = match whole {
        [b'0', rest @ ..] => Some(rest),
        _ => digits(whole),
    };
    let rest = match rest {
        Some([b'.', fraction @ ..]) => digits(fraction),
        rest => rest,
    };
    let rest = match rest {
        Some([b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..]) => digits(exponent),
        rest => rest,
    };
    rest.is_some_and(<[u8]>::is_empty)
}

/// Whether a number is one that the parser refuses for its size: an integer beyond 64 bits, or more than a double holds.
fn is_wild(number: &[u8]) -> bool {
    let text = str::from_utf8(number).unwrap_or_default();
    if number.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-') {
        return text.parse::<i64>().is_err() && text.parse::<u64>().is_err();
    }
    text.parse::<f64>().is_ok_and(f64::is_infinite)
}

/// Replaces each number in `copy` that is too large for the parser by a fraction of the same length, so that the rest
/// of the record can be parsed. Tells whether there was one: then no fraction of the tape can be trusted, and each is
/// read from `raw`, of which `copy` is a copy.
pub(super) fn blank_wild_numbers(raw: &[u8], copy: &mut [u8]) -> bool {
    const STAND_IN: &[u8] = b"1.5";
    let mut found = false;
    let mut at = 0;
    while let Some(byte) = raw.get(at) {
        match byte {
            b'"' => at = string_end(raw, at + 1),
            b'-' | b'0'..=b'9' => {
                let part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let end = at + raw[at..].iter().take_while(|byte| part(byte)).count();
                let number = &raw[at..end];
                // The shortest such number is 1e309.
                if number.len() > STAND_IN.len() && is_number(number) && is_wild(number) {
                    copy[at..end].fill(b' ');
                    copy[at..at + STAND_IN.len()].copy_from_slice(STAND_IN);
                    found = true;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_end() {
        let check = |text: &str, expect: &str| {
            let raw = text.as_bytes();
            let start = root_start(raw);
            assert_eq!(&text[start..value_end(raw, start)], expect, "{text}");
        };
        check("12 ,", "12");
        check(" -1.5e3}", "-1.5e3");
        check(r#""a\"b",1"#, r#""a\"b""#);
        check(r#""a\\",1"#, r#""a\\""#);
        check(r#"{"a":"}","b":[1,{"c":"]"}]},{}"#, r#"{"a":"}","b":[1,{"c":"]"}]}"#);
        check("[[],[]] ]", "[[],[]]");
        check("null", "null");
        check("", "");
        check("\"open", "\"open");
        check("\"open\\", "\"open\\");
        check("{[", "{[");
    }

    #[test]
    fn elements_follow_one_another() {
        let raw = br#" [ 1 , "a,]" ,[2,3], {"x":[]} ,4]"#;
        let mut found = Vec::new();
        let mut at = first_element(raw, 1);
        for _ in 0..5 {
            found.push(str::from_utf8(&raw[at..value_end(raw, at)]).unwrap());
            at = next_element(raw, at);
        }
        assert_eq!(found, ["1", r#""a,]""#, "[2,3]", r#"{"x":[]}"#, "4"]);
    }

    #[test]
    fn only_wild_numbers_are_replaced() {
        let check = |text: &str, expect: &str| {
            let mut copy = text.as_bytes().to_vec();
            assert_eq!(blank_wild_numbers(text.as_bytes(), &mut copy), text != expect, "{text}");
            assert_eq!(str::from_utf8(&copy).unwrap(), expect);
        };
        check("[1,2.5,-3]", "[1,2.5,-3]");
        check("18446744073709551615", "18446744073709551615");
        check("18446744073709551616", "1.5                 ");
        check("-9223372036854775809", "1.5                 ");
        check("[1e400]", "[1.5  ]");
        check("[-1e400,\"1e400\",\"\\\"1e400\"]", "[1.5   ,\"1e400\",\"\\\"1e400\"]");
        check("1e-400", "1e-400");
        check("01e400", "01e400");
        check("1e400.5", "1e400.5");
        check("-", "-");
        check("-99e", "-99e");
    }
}
