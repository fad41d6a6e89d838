//! The `millstream` program.

use millstream::cli::{self, Exit};
use millstream::io::keep_freed_memory;

fn main() -> Exit {
    keep_freed_memory();
    cli::main()
}
