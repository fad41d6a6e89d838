//! Hashes and encodings.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use datafusion_common::config::ConfigOptions;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::Kind::Text;
use super::text::texts;
use super::{Build, Call, Function, FunctionDoc, strict};
use crate::expr::ExprError;
use crate::expr::kernel::{Argument, Outcome};
use crate::expr::typed::Typed;
use crate::record::SqlType;

pub(super) static FUNCTIONS: &[Function] = &[
    Function {
        doc: FunctionDoc {
            name: "MD5",
            signature: "MD5(text STRING) → STRING",
            summary: "The MD5 hash of the text in UTF-8, in hexadecimal digits.",
            example: "MD5('abc')",
            result: "900150983cd24fb0d6963f7d28e17f72",
        },
        aliases: &[],
        build: strict(&[Text], 1, Text, md5),
    },
    Function {
        doc: FunctionDoc {
            name: "SHA1",
            signature: "SHA1(text STRING) → STRING",
            summary: "The SHA-1 hash of the text in UTF-8, in hexadecimal digits.",
            example: "SHA1('abc')",
            result: "a9993e364706816aba3e25717850c26c9cd0d89d",
        },
        aliases: &[],
        build: strict(&[Text], 1, Text, sha1),
    },
    Function {
        doc: FunctionDoc {
            name: "SHA224",
            signature: "SHA224(text STRING) → STRING",
            summary: "The SHA-224 hash of the text in UTF-8, in hexadecimal digits.",
            example: "SHA224('abc')",
            result: "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
        },
        aliases: &[],
        build: strict(&[Text], 1, Text, sha224),
    },
    Function {
        doc: FunctionDoc {
            name: "SHA256",
            signature: "SHA256(text STRING) → STRING",
            summary: "The SHA-256 hash of the text in UTF-8, in hexadecimal digits.",
            example: "SHA256('abc')",
            result: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        },
        aliases: &[],
        build: strict(&[Text], 1, Text, sha256),
    },
    Function {
        doc: FunctionDoc {
            name: "SHA384",
            signature: "SHA384(text STRING) → STRING",
            summary: "The SHA-384 hash of the text in UTF-8, in hexadecimal digits.",
            example: "SHA384('abc')",
            result: "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        },
        aliases: &[],
        build: strict(&[Text], 1, Text, sha384),
    },
    Function {
        doc: FunctionDoc {
            name: "SHA512",
            signature: "SHA512(text STRING) → STRING",
            summary: "The SHA-512 hash of the text in UTF-8, in hexadecimal digits.",
            example: "SHA512('abc')",
            result: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        },
        aliases: &[],
        build: strict(&[Text], 1, Text, sha512),
    },
    Function {
        doc: FunctionDoc {
            name: "TO_BASE64",
            signature: "TO_BASE64(text STRING) → STRING",
            summary: "The UTF-8 of the text in Base64.",
            example: "TO_BASE64('hello')",
            result: "aGVsbG8=",
        },
        aliases: &[],
        build: strict(&[Text], 1, Text, to_base64),
    },
    Function {
        doc: FunctionDoc {
            name: "FROM_BASE64",
            signature: "FROM_BASE64(text STRING) → STRING",
            summary: "The text that was put into Base64; malformed Base64 or what is not UTF-8 fails the row.",
            example: "FROM_BASE64('aGVsbG8=')",
            result: "hello",
        },
        aliases: &[],
        build: strict(&[Text], 1, Text, from_base64),
    },
    Function {
        doc: FunctionDoc {
            name: "HEX",
            signature: "HEX(value BIGINT or STRING) → STRING",
            summary: "A number, or the UTF-8 of a text, in upper-case hexadecimal digits.",
            example: "HEX(255)",
            result: "FF",
        },
        aliases: &[],
        build: Build::Own(hex),
    },
];

fn md5(arguments: &[Argument], rows: usize) -> Outcome {
    hashed(&datafusion_functions::crypto::md5(), arguments, rows)
}

fn sha224(arguments: &[Argument], rows: usize) -> Outcome {
    hashed(&datafusion_functions::crypto::sha224(), arguments, rows)
}

fn sha256(arguments: &[Argument], rows: usize) -> Outcome {
    hashed(&datafusion_functions::crypto::sha256(), arguments, rows)
}

fn sha384(arguments: &[Argument], rows: usize) -> Outcome {
    hashed(&datafusion_functions::crypto::sha384(), arguments, rows)
}

fn sha512(arguments: &[Argument], rows: usize) -> Outcome {
    hashed(&datafusion_functions::crypto::sha512(), arguments, rows)
}

/// A hash of DataFusion's in hexadecimal digits.
fn hashed(function: &ScalarUDF, arguments: &[Argument], rows: usize) -> Outcome {
    let told = |error: datafusion_common::DataFusionError| error.strip_backtrace();
    let input = arguments[0].expanded(rows)?;
    let return_type = function.return_type(&[DataType::Utf8]).map_err(told)?;
    let call = ScalarFunctionArgs {
        args: vec![ColumnarValue::Array(input)],
        arg_fields: vec![Arc::new(Field::new("text", DataType::Utf8, true))],
        number_rows: rows,
        return_field: Arc::new(Field::new("hash", return_type, true)),
        config_options: Arc::new(ConfigOptions::default()),
    };
    let hashes = function.invoke_with_args(call).and_then(|hashes| hashes.into_array(rows)).map_err(told)?;
    match hashes.data_type() {
        DataType::Binary => {
            let hashes = hashes.as_binary::<i32>();
            texts(rows, |row, out| {
                if hashes.is_valid(row) {
                    push_hex(hashes.value(row), out);
                }
                Ok(hashes.is_valid(row))
            })
        }
        _ => arrow::compute::cast(&hashes, &DataType::Utf8).map_err(|error| error.to_string()),
    }
}

fn push_hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        write!(out, "{byte:02x}").expect("a String takes everything");
    }
}

fn sha1(arguments: &[Argument], rows: usize) -> Outcome {
    let values = arguments[0].text();
    texts(rows, |row, out| {
        let Some(text) = values.get(row) else { return Ok(false) };
        push_hex(&sha1_of(text.as_bytes()), out);
        Ok(true)
    })
}

/// SHA-1 as in FIPS 180-4, section 6.1; DataFusion has all of the family but this one.
#[expect(clippy::many_single_char_names, reason = "the standard's names")]
fn sha1_of(message: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if message.len() % 64 >= 56 {
        padded.resize(padded.len() + 64, 0);
    }
    let bits = (message.len() as u64).wrapping_mul(8).to_be_bytes();
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&bits);
    for block in padded.chunks_exact(64) {
        let mut words = [0_u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes(bytes.try_into().expect("chunks of 4"));
        }
        for index in 16..80 {
            words[index] =
                (words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (round, word) in words.iter().enumerate() {
            let (mixed, constant) = match round / 20 {
                0 => (b & c | !b & d, 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(mixed)
                .wrapping_add(e)
                .wrapping_add(constant)
                .wrapping_add(*word);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (kept, new) in state.iter_mut().zip([a, b, c, d, e]) {
            *kept = kept.wrapping_add(new);
        }
    }
    let mut hash = [0; 20];
    for (bytes, word) in hash.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    hash
}

fn to_base64(arguments: &[Argument], rows: usize) -> Outcome {
    let values = arguments[0].text();
    texts(rows, |row, out| {
        let Some(text) = values.get(row) else { return Ok(false) };
        STANDARD.encode_string(text, out);
        Ok(true)
    })
}

fn from_base64(arguments: &[Argument], rows: usize) -> Outcome {
    let values = arguments[0].text();
    texts(rows, |row, out| {
        let Some(text) = values.get(row) else { return Ok(false) };
        let bytes = STANDARD.decode(text).map_err(|_| "the text is not Base64".to_owned())?;
        out.push_str(std::str::from_utf8(&bytes).map_err(|_| "what was in Base64 is not UTF-8".to_owned())?);
        Ok(true)
    })
}

fn hex(mut call: Call) -> Result<Typed, ExprError> {
    let value = call.one()?;
    if value.data_type.is_integer() {
        let value = call.fitted(value, &SqlType::BigInt)?;
        return Typed::strict("HEX", vec![value], SqlType::String, call.span, |arguments, rows| {
            let values = arguments[0].bigint();
            texts(rows, |row, out| {
                let Some(value) = values.get(row) else { return Ok(false) };
                write!(out, "{value:X}").expect("a String takes everything");
                Ok(true)
            })
        });
    }
    let value = call.fitted(value, &SqlType::String)?;
    Typed::strict("HEX", vec![value], SqlType::String, call.span, |arguments, rows| {
        let values = arguments[0].text();
        texts(rows, |row, out| {
            let Some(text) = values.get(row) else { return Ok(false) };
            push_hex(text.as_bytes(), out);
            out.make_ascii_uppercase();
            Ok(true)
        })
    })
}
