//! The table beside the stream, which q13 looks bids up in.

use std::fmt::Write as _;

/// How many rows it has: bids are looked up by their auction modulo this.
pub const SIDE_ROWS: u32 = 10_000;

/// The table as CSV with a header, `key,value`: keys from 0 on, each with itself as text.
#[must_use]
pub fn side_table() -> String {
    let mut text = "key,value\n".to_owned();
    for key in 0..SIDE_ROWS {
        writeln!(text, "{key},{key}").expect("a string takes everything");
    }
    text
}
