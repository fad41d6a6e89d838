//! The honest rivals: Nexmark's queries as hand-written programs on one thread, one for each of q0, q1, q2, q5, q7, q11
//! and qt. What a general engine costs is told by a good program for the one query and the one layout of its file; the
//! idea is that of "Scalability! But at what COST?" (15th Workshop on Hot Topics in Operating Systems, 2015).
//!
//! ```sh
//! cargo bench --bench cost -- q2 events.ndjson rows.ndjson    # the rows that pipelines/nexmark/q2.yaml writes
//! cargo bench --bench cost -- tape events.ndjson              # a bare simd-json tape of each line, thrown away
//! cargo bench --bench cost -- newlines events.ndjson          # the floor: reads, and counts lines
//! cargo bench --bench cost                                    # checks itself on a few thousand events
//! ```
//!
//! They share no code with the engine; only the check borrows its generator. They take what `millstream gen nexmark`
//! writes when nothing else is asked of it: nested events in order of time, keys in their fixed order, texts without
//! escapes. Of any other input the result means nothing. What a query uses is parsed into its type and written from it,
//! as an engine has to; texts are copied as they lie.
//!
//! Timed as whole processes by `scripts/bench --vs cost,tape`.

mod bids;
mod check;
mod lines;
mod output;
mod queries;
mod tape;
mod time;

use std::io;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str =
    "usage: cost (q0|q1|q2|q5|q7|q11|qt) EVENTS ROWS | cost (tape|newlines) EVENTS | cost (checks itself)";

fn main() -> ExitCode {
    // Cargo adds `--bench` by itself.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !["--bench", "--test"].contains(&argument.as_str()))
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => {
            check::all();
            ExitCode::SUCCESS
        }
        ["tape", input] => finish(tape::parse(Path::new(input))),
        ["newlines", input] => finish(lines::count(Path::new(input))),
        [query, input, output] if queries::NAMES.contains(&query) => {
            finish(queries::run(query, Path::new(input), Path::new(output)).map(|()| None))
        }
        // A filter of `cargo bench FILTER`, which is meant for the micro-benchmarks.
        [filter] if !queries::NAMES.contains(&filter) => ExitCode::SUCCESS,
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn finish(result: io::Result<impl Into<Option<u64>>>) -> ExitCode {
    match result.map(Into::into) {
        Ok(lines) => {
            if let Some(lines) = lines {
                println!("{lines} lines");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
