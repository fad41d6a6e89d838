//! The `millstream` program.

use millstream::cli::{self, Exit};

fn main() -> Exit {
    cli::main()
}
