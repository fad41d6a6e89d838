//! Functions of text. Characters are Unicode code points, as in Flink.

use arrow::array::{BooleanArray, Int32Array, StringBuilder};

use super::Kind::{Boolean, Int, Text, Whole};
use super::{Build, Call, Function, FunctionDoc, partial, strict};
use crate::expr::ExprError;
use crate::expr::kernel::{Argument, Outcome, map, map2};
use crate::expr::typed::{Typed, done};
use crate::record::SqlType;

pub(super) static FUNCTIONS: &[Function] = &[
    Function {
        doc: FunctionDoc {
            name: "UPPER",
            signature: "UPPER(text STRING) → STRING",
            summary: "The text in upper case.",
            example: "UPPER('abc')",
            result: "ABC",
        },
        aliases: &[],
        build: strict(&[Text], 1, Text, upper),
    },
    Function {
        doc: FunctionDoc {
            name: "LOWER",
            signature: "LOWER(text STRING) → STRING",
            summary: "The text in lower case.",
            example: "LOWER('ABC')",
            result: "abc",
        },
        aliases: &[],
        build: strict(&[Text], 1, Text, lower),
    },
    Function {
        doc: FunctionDoc {
            name: "INITCAP",
            signature: "INITCAP(text STRING) → STRING",
            summary: "Every word with its first letter in upper case and the rest in lower case.",
            example: "INITCAP('hello WORLD')",
            result: "Hello World",
        },
        aliases: &[],
        build: strict(&[Text], 1, Text, initcap),
    },
    Function {
        doc: FunctionDoc {
            name: "BTRIM",
            signature: "BTRIM(text STRING[, characters STRING]) → STRING",
            summary: "The text without these characters (spaces) at both ends; also TRIM([BOTH] characters FROM text).",
            example: "TRIM(BOTH 'x' FROM 'xaxbx')",
            result: "axb",
        },
        aliases: &["TRIM"],
        build: strict(&[Text, Text], 1, Text, |arguments, rows| trimmed(arguments, rows, true, true)),
    },
    Function {
        doc: FunctionDoc {
            name: "LTRIM",
            signature: "LTRIM(text STRING[, characters STRING]) → STRING",
            summary: "The text without these characters (spaces) at its start; also TRIM(LEADING characters FROM text).",
            example: "LTRIM('  a ')",
            result: "a ",
        },
        aliases: &[],
        build: strict(&[Text, Text], 1, Text, |arguments, rows| trimmed(arguments, rows, true, false)),
    },
    Function {
        doc: FunctionDoc {
            name: "RTRIM",
            signature: "RTRIM(text STRING[, characters STRING]) → STRING",
            summary: "The text without these characters (spaces) at its end; also TRIM(TRAILING characters FROM text).",
            example: "RTRIM(' a  ')",
            result: " a",
        },
        aliases: &[],
        build: strict(&[Text, Text], 1, Text, |arguments, rows| trimmed(arguments, rows, false, true)),
    },
    Function {
        doc: FunctionDoc {
            name: "SUBSTRING",
            signature: "SUBSTRING(text STRING, start INT[, length INT]) → STRING",
            summary: "The part from a character on, counted from 1, or from the end where it is negative.",
            example: "SUBSTRING('hello', 2, 3)",
            result: "ell",
        },
        aliases: &["SUBSTR"],
        build: strict(&[Text, Whole, Whole], 2, Text, substring),
    },
    Function {
        doc: FunctionDoc {
            name: "LEFT",
            signature: "LEFT(text STRING, length INT) → STRING",
            summary: "The first characters.",
            example: "LEFT('hello', 2)",
            result: "he",
        },
        aliases: &[],
        build: strict(&[Text, Whole], 2, Text, left),
    },
    Function {
        doc: FunctionDoc {
            name: "RIGHT",
            signature: "RIGHT(text STRING, length INT) → STRING",
            summary: "The last characters.",
            example: "RIGHT('hello', 2)",
            result: "lo",
        },
        aliases: &[],
        build: strict(&[Text, Whole], 2, Text, right),
    },
    Function {
        doc: FunctionDoc {
            name: "POSITION",
            signature: "POSITION(part IN text) → INT",
            summary: "Where a part first occurs, counted from 1; 0 where it does not.",
            example: "POSITION('l' IN 'hello')",
            result: "3",
        },
        aliases: &[],
        build: strict(&[Text, Text], 2, Int, |arguments, rows| position(&arguments[0], &arguments[1], rows)),
    },
    Function {
        doc: FunctionDoc {
            name: "INSTR",
            signature: "INSTR(text STRING, part STRING) → INT",
            summary: "Where a part first occurs, counted from 1; 0 where it does not.",
            example: "INSTR('hello', 'l')",
            result: "3",
        },
        aliases: &[],
        build: strict(&[Text, Text], 2, Int, |arguments, rows| position(&arguments[1], &arguments[0], rows)),
    },
    Function {
        doc: FunctionDoc {
            name: "LOCATE",
            signature: "LOCATE(part STRING, text STRING[, start INT]) → INT",
            summary: "Where a part first occurs from a character on, counted from 1; 0 where it does not.",
            example: "LOCATE('l', 'hello', 4)",
            result: "4",
        },
        aliases: &[],
        build: strict(&[Text, Text, Whole], 2, Int, locate),
    },
    Function {
        doc: FunctionDoc {
            name: "CHAR_LENGTH",
            signature: "CHAR_LENGTH(text STRING) → INT",
            summary: "The number of characters.",
            example: "CHAR_LENGTH('日本')",
            result: "2",
        },
        aliases: &["CHARACTER_LENGTH"],
        build: strict(&[Text], 1, Int, char_length),
    },
    Function {
        doc: FunctionDoc {
            name: "OCTET_LENGTH",
            signature: "OCTET_LENGTH(text STRING) → INT",
            summary: "The number of bytes in UTF-8.",
            example: "OCTET_LENGTH('日本')",
            result: "6",
        },
        aliases: &[],
        build: strict(&[Text], 1, Int, octet_length),
    },
    Function {
        doc: FunctionDoc {
            name: "REPLACE",
            signature: "REPLACE(text STRING, part STRING, other STRING) → STRING",
            summary: "The text with every occurrence of a part replaced.",
            example: "REPLACE('banana', 'an', 'o')",
            result: "booa",
        },
        aliases: &[],
        build: strict(&[Text, Text, Text], 3, Text, replace),
    },
    Function {
        doc: FunctionDoc {
            name: "REPEAT",
            signature: "REPEAT(text STRING, count INT) → STRING",
            summary: "The text so many times over; a result beyond 16 MiB fails the row.",
            example: "REPEAT('ab', 3)",
            result: "ababab",
        },
        aliases: &[],
        build: strict(&[Text, Whole], 2, Text, repeat),
    },
    Function {
        doc: FunctionDoc {
            name: "REVERSE",
            signature: "REVERSE(text STRING) → STRING",
            summary: "The characters from the last to the first.",
            example: "REVERSE('abc')",
            result: "cba",
        },
        aliases: &[],
        build: strict(&[Text], 1, Text, reverse),
    },
    Function {
        doc: FunctionDoc {
            name: "LPAD",
            signature: "LPAD(text STRING, length INT, pad STRING) → STRING",
            summary: "The text padded at its start, or cut, to so many characters; NULL for a negative length or an empty pad that would be needed.",
            example: "LPAD('7', 3, '0')",
            result: "007",
        },
        aliases: &[],
        build: partial(&[Text, Whole, Text], 3, Text, |arguments, rows| padded(arguments, rows, true)),
    },
    Function {
        doc: FunctionDoc {
            name: "RPAD",
            signature: "RPAD(text STRING, length INT, pad STRING) → STRING",
            summary: "The text padded at its end, or cut, to so many characters; NULL for a negative length or an empty pad that would be needed.",
            example: "RPAD('7', 3, '0')",
            result: "700",
        },
        aliases: &[],
        build: partial(&[Text, Whole, Text], 3, Text, |arguments, rows| padded(arguments, rows, false)),
    },
    Function {
        doc: FunctionDoc {
            name: "ASCII",
            signature: "ASCII(text STRING) → INT",
            summary: "The first byte as a number; 0 for an empty text.",
            example: "ASCII('A')",
            result: "65",
        },
        aliases: &[],
        build: strict(&[Text], 1, Int, ascii),
    },
    Function {
        doc: FunctionDoc {
            name: "CHR",
            signature: "CHR(code INT) → STRING",
            summary: "The character of a number, modulo 256; NULL for a negative number.",
            example: "CHR(65)",
            result: "A",
        },
        aliases: &[],
        build: partial(&[Whole], 1, Text, chr),
    },
    Function {
        doc: FunctionDoc {
            name: "STARTSWITH",
            signature: "STARTSWITH(text STRING, part STRING) → BOOLEAN",
            summary: "Whether the text starts with a part.",
            example: "STARTSWITH('hello', 'he')",
            result: "TRUE",
        },
        aliases: &[],
        build: strict(&[Text, Text], 2, Boolean, |arguments, rows| {
            tested(arguments, rows, |text, part| text.starts_with(part))
        }),
    },
    Function {
        doc: FunctionDoc {
            name: "ENDSWITH",
            signature: "ENDSWITH(text STRING, part STRING) → BOOLEAN",
            summary: "Whether the text ends with a part.",
            example: "ENDSWITH('hello', 'lo')",
            result: "TRUE",
        },
        aliases: &[],
        build: strict(&[Text, Text], 2, Boolean, |arguments, rows| {
            tested(arguments, rows, |text, part| text.ends_with(part))
        }),
    },
    Function {
        doc: FunctionDoc {
            name: "SPLIT_INDEX",
            signature: "SPLIT_INDEX(text STRING, separator STRING, index INT) → STRING",
            summary: "The part at an index, counted from 0, of the text split at a separator; NULL where there is none.",
            example: "SPLIT_INDEX('a/b/c', '/', 1)",
            result: "b",
        },
        aliases: &[],
        build: partial(&[Text, Text, Whole], 3, Text, split_index),
    },
    Function {
        doc: FunctionDoc {
            name: "CONCAT",
            signature: "CONCAT(text STRING, …) → STRING",
            summary: "The texts joined, as by `||`; NULL where any is NULL.",
            example: "CONCAT('a', 'b', 'c')",
            result: "abc",
        },
        aliases: &["||"],
        build: Build::Own(concat),
    },
    Function {
        doc: FunctionDoc {
            name: "CONCAT_WS",
            signature: "CONCAT_WS(separator STRING, text STRING, …) → STRING",
            summary: "The texts that are not NULL, joined with a separator.",
            example: "CONCAT_WS('-', 'a', NULL, 'b')",
            result: "a-b",
        },
        aliases: &[],
        build: Build::Own(concat_ws),
    },
];

/// A text longer than this fails its row, bytes.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// A column larger than this fails the batch, which is then evaluated in parts, bytes.
const COLUMN_BYTES_MAX: usize = 1 << 30;

/// A column of texts: `write` appends a row's text to an empty buffer, or tells that it is NULL.
pub(super) fn texts(
    rows: usize,
    mut write: impl FnMut(usize, &mut String) -> Result<bool, String>,
) -> Outcome {
    let mut builder = StringBuilder::with_capacity(rows, rows * 16);
    let (mut buffer, mut total) = (String::new(), 0);
    for row in 0..rows {
        buffer.clear();
        if !write(row, &mut buffer)? {
            builder.append_null();
            continue;
        }
        bounded(buffer.len())?;
        total += buffer.len();
        if total > COLUMN_BYTES_MAX {
            return Err("the texts of the batch exceed 1 GiB".to_owned());
        }
        builder.append_value(&buffer);
    }
    done(builder.finish())
}

/// Refuses a text of so many bytes if it is too long, best before it is made.
pub(super) fn bounded(bytes: usize) -> Result<(), String> {
    if bytes > TEXT_BYTES_MAX { Err("the text would be longer than 16 MiB".to_owned()) } else { Ok(()) }
}

/// `texts` of one text.
fn changed(arguments: &[Argument], rows: usize, mut change: impl FnMut(&str, &mut String)) -> Outcome {
    let values = arguments[0].text();
    texts(rows, |row, out| {
        let Some(text) = values.get(row) else { return Ok(false) };
        change(text, out);
        Ok(true)
    })
}

/// A count as a length: negative is 0.
fn length(count: i64) -> usize {
    usize::try_from(count.max(0)).unwrap_or(usize::MAX)
}

/// The first characters.
fn prefix(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or(text, |(end, _)| &text[..end])
}

/// All but the first characters.
fn behind(text: &str, count: usize) -> &str {
    &text[prefix(text, count).len()..]
}

fn count(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

fn int(value: usize) -> Result<Option<i32>, String> {
    i32::try_from(value).map(Some).map_err(|_| "the number does not fit INT".to_owned())
}

fn upper(arguments: &[Argument], rows: usize) -> Outcome {
    changed(arguments, rows, |text, out| out.extend(text.chars().flat_map(char::to_uppercase)))
}

fn lower(arguments: &[Argument], rows: usize) -> Outcome {
    changed(arguments, rows, |text, out| out.extend(text.chars().flat_map(char::to_lowercase)))
}

fn initcap(arguments: &[Argument], rows: usize) -> Outcome {
    changed(arguments, rows, |text, out| {
        let mut inside = false;
        for c in text.chars() {
            if inside {
                out.extend(c.to_lowercase());
            } else {
                out.extend(c.to_uppercase());
            }
            inside = c.is_alphanumeric();
        }
    })
}

fn reverse(arguments: &[Argument], rows: usize) -> Outcome {
    changed(arguments, rows, |text, out| out.extend(text.chars().rev()))
}

fn trimmed(arguments: &[Argument], rows: usize, start: bool, end: bool) -> Outcome {
    let values = arguments[0].text();
    let characters = arguments.get(1).map(Argument::text);
    texts(rows, |row, out| {
        let set = match &characters {
            None => Some(" "),
            Some(characters) => characters.get(row),
        };
        let (Some(text), Some(set)) = (values.get(row), set) else { return Ok(false) };
        let text = if start { text.trim_start_matches(|c| set.contains(c)) } else { text };
        out.push_str(if end { text.trim_end_matches(|c| set.contains(c)) } else { text });
        Ok(true)
    })
}

fn substring(arguments: &[Argument], rows: usize) -> Outcome {
    let (values, starts) = (arguments[0].text(), arguments[1].bigint());
    let lengths = arguments.get(2).map(Argument::bigint);
    texts(rows, |row, out| {
        let count_wanted = match &lengths {
            None => Some(i64::MAX),
            Some(lengths) => lengths.get(row),
        };
        let (Some(text), Some(start), Some(wanted)) = (values.get(row), starts.get(row), count_wanted) else {
            return Ok(false);
        };
        let skipped = if start >= 0 {
            length(start.max(1) - 1)
        } else {
            // Before the first character there is nothing.
            match count(text).checked_sub(usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX)) {
                Some(skipped) => skipped,
                None => return Ok(true),
            }
        };
        out.push_str(prefix(behind(text, skipped), length(wanted)));
        Ok(true)
    })
}

fn left(arguments: &[Argument], rows: usize) -> Outcome {
    let lengths = arguments[1].bigint();
    part_of(arguments, rows, |row, text| lengths.get(row).map(|wanted| prefix(text, length(wanted))))
}

fn right(arguments: &[Argument], rows: usize) -> Outcome {
    let lengths = arguments[1].bigint();
    part_of(arguments, rows, |row, text| {
        lengths.get(row).map(|wanted| behind(text, count(text).saturating_sub(length(wanted))))
    })
}

/// `texts` that are parts of the first argument.
fn part_of(
    arguments: &[Argument],
    rows: usize,
    part: impl for<'a> Fn(usize, &'a str) -> Option<&'a str>,
) -> Outcome {
    let values = arguments[0].text();
    texts(rows, |row, out| match values.get(row).and_then(|text| part(row, text)) {
        Some(part) => {
            out.push_str(part);
            Ok(true)
        }
        None => Ok(false),
    })
}

/// Where `part` first occurs behind `skipped` characters, counted from 1; 0 for nowhere.
fn found(part: &str, text: &str, skipped: usize) -> Result<Option<i32>, String> {
    let rest = behind(text, skipped);
    match rest.find(part) {
        Some(at) => int(skipped + count(&rest[..at]) + 1),
        None => Ok(Some(0)),
    }
}

fn position(part: &Argument, text: &Argument, rows: usize) -> Outcome {
    let values: Int32Array = map2(rows, part.text(), text.text(), |part, text| found(part, text, 0))?;
    done(values)
}

fn locate(arguments: &[Argument], rows: usize) -> Outcome {
    let [part, text, start] = arguments else { return position(&arguments[0], &arguments[1], rows) };
    let (parts, values, starts) = (part.text(), text.text(), start.bigint());
    let one = |row| match (parts.get(row), values.get(row), starts.get(row)) {
        (Some(_), Some(_), Some(start)) if start < 1 => Ok(Some(0)),
        (Some(part), Some(text), Some(start)) if length(start) - 1 <= count(text) => {
            found(part, text, length(start) - 1)
        }
        (Some(_), Some(_), Some(_)) => Ok(Some(0)),
        _ => Ok(None),
    };
    done((0..rows).map(one).collect::<Result<Int32Array, String>>()?)
}

fn char_length(arguments: &[Argument], rows: usize) -> Outcome {
    let values: Int32Array = map(rows, arguments[0].text(), |text| int(count(text)))?;
    done(values)
}

fn octet_length(arguments: &[Argument], rows: usize) -> Outcome {
    let values: Int32Array = map(rows, arguments[0].text(), |text| int(text.len()))?;
    done(values)
}

fn replace(arguments: &[Argument], rows: usize) -> Outcome {
    let (values, parts, others) = (arguments[0].text(), arguments[1].text(), arguments[2].text());
    texts(rows, |row, out| {
        let (Some(text), Some(part), Some(other)) = (values.get(row), parts.get(row), others.get(row)) else {
            return Ok(false);
        };
        let mut rest = 0;
        for (at, matched) in text.match_indices(part) {
            out.push_str(&text[rest..at]);
            out.push_str(other);
            bounded(out.len())?;
            rest = at + matched.len();
        }
        out.push_str(&text[rest..]);
        Ok(true)
    })
}

fn repeat(arguments: &[Argument], rows: usize) -> Outcome {
    let (values, counts) = (arguments[0].text(), arguments[1].bigint());
    texts(rows, |row, out| {
        let (Some(text), Some(count)) = (values.get(row), counts.get(row)) else { return Ok(false) };
        bounded(text.len().saturating_mul(length(count)))?;
        if !text.is_empty() {
            (0..length(count)).for_each(|_| out.push_str(text));
        }
        Ok(true)
    })
}

fn padded(arguments: &[Argument], rows: usize, start: bool) -> Outcome {
    let (values, lengths, pads) = (arguments[0].text(), arguments[1].bigint(), arguments[2].text());
    texts(rows, |row, out| {
        let (Some(text), Some(wanted), Some(pad)) = (values.get(row), lengths.get(row), pads.get(row)) else {
            return Ok(false);
        };
        let has = count(text);
        let Some(missing) = length(wanted).checked_sub(has) else {
            out.push_str(prefix(text, length(wanted)));
            return Ok(wanted >= 0);
        };
        bounded(length(wanted))?;
        if wanted < 0 || (missing > 0 && pad.is_empty()) {
            return Ok(false);
        }
        if !start {
            out.push_str(text);
        }
        out.extend(pad.chars().cycle().take(missing));
        if start {
            out.push_str(text);
        }
        Ok(true)
    })
}

fn ascii(arguments: &[Argument], rows: usize) -> Outcome {
    let values: Int32Array =
        map(rows, arguments[0].text(), |text| Ok(Some(text.bytes().next().map_or(0, i32::from))))?;
    done(values)
}

fn chr(arguments: &[Argument], rows: usize) -> Outcome {
    let codes = arguments[0].bigint();
    texts(rows, |row, out| match codes.get(row).filter(|code| *code >= 0) {
        Some(code) => {
            out.push(char::from(u8::try_from(code & 255).expect("8 bits")));
            Ok(true)
        }
        None => Ok(false),
    })
}

fn tested(arguments: &[Argument], rows: usize, test: fn(&str, &str) -> bool) -> Outcome {
    let values: BooleanArray =
        map2(rows, arguments[0].text(), arguments[1].text(), |text, part| Ok(Some(test(text, part))))?;
    done(values)
}

fn split_index(arguments: &[Argument], rows: usize) -> Outcome {
    let (separators, indexes) = (arguments[1].text(), arguments[2].bigint());
    part_of(arguments, rows, |row, text| {
        let (separator, index) = (separators.get(row)?, usize::try_from(indexes.get(row)?).ok()?);
        // As in Flink: an empty text has no parts, an empty separator splits at blanks.
        if text.is_empty() {
            None
        } else if separator.is_empty() {
            text.split_whitespace().nth(index)
        } else {
            text.split(separator).nth(index)
        }
    })
}

fn all_text(call: &Call, arguments: Vec<Typed>) -> Result<Vec<Typed>, ExprError> {
    arguments.into_iter().map(|argument| call.fitted(argument, &SqlType::String)).collect()
}

fn concat(mut call: Call) -> Result<Typed, ExprError> {
    let arguments = call.counted(1, usize::MAX)?;
    let arguments = all_text(&call, arguments)?;
    Typed::strict("CONCAT", arguments, SqlType::String, call.span, |arguments, rows| {
        let parts: Vec<_> = arguments.iter().map(Argument::text).collect();
        texts(rows, |row, out| {
            for part in &parts {
                let Some(part) = part.get(row) else { return Ok(false) };
                out.push_str(part);
                bounded(out.len())?;
            }
            Ok(true)
        })
    })
}

fn concat_ws(mut call: Call) -> Result<Typed, ExprError> {
    let arguments = call.counted(2, usize::MAX)?;
    let arguments = all_text(&call, arguments)?;
    let nullable = arguments[0].nullable;
    Typed::call("CONCAT_WS", arguments, SqlType::String, nullable, call.span, |arguments, rows| {
        let parts: Vec<_> = arguments.iter().map(Argument::text).collect();
        texts(rows, |row, out| {
            let Some(separator) = parts[0].get(row) else { return Ok(false) };
            let mut first = true;
            for part in parts[1..].iter().filter_map(|part| part.get(row)) {
                if !first {
                    out.push_str(separator);
                }
                first = false;
                out.push_str(part);
                bounded(out.len())?;
            }
            Ok(true)
        })
    })
}
