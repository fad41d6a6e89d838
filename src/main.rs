//! The `millstream` program.

use millstream::cli::{self, Exit};
use tikv_jemallocator::Jemalloc;

/// State comes and goes in pieces of all sizes, on every shard at once, and what one shard makes another frees: with it joins
/// take two thirds to four fifths of the time that they take with the C library's.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> Exit {
    cli::main()
}
