//! Text of numbers and times: how values look outside, the same wherever text is written or read (codecs, casts).
//!
//! Writers append to a byte buffer and never fail; readers are strict and tell in words what is wrong. Both are on the
//! path of every record: no value allocates, only an error does.

mod number;
mod time;

pub use number::{
    EIGHT_DIGITS, is_whole, padded_digits, parse_decimal, short_decimal, short_digits, write_decimal,
    write_double, write_float, write_integer,
};
pub use time::{
    ParsedTimestamp, TimestampStyle, TimestampText, TimestampWriter, parse_date, parse_time, parse_timestamp,
    write_date, write_time, write_timestamp,
};

/// The text as an error shows it: the first 40 characters, and an ellipsis where there are more.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
