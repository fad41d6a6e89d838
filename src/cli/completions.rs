//! `completions`: a completion script for a shell.

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::{Cli, Exit};

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn main(arguments: &Arguments) -> Exit {
    generate(arguments.shell, &mut Cli::command(), "millstream", &mut io::stdout());
    Exit::Done
}
