//! `explain`: what would run.

use clap::Args;

use super::load::{load, show};
use super::{Exit, say};
use crate::plan::explain;
use crate::yaml::ProcessEnvironment;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The pipeline file.
    #[arg(value_name = "FILE")]
    file: String,
    /// Replace a value of the file, e.g. source.file.path=in.ndjson.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,
}

pub(super) fn main(arguments: &Arguments) -> Exit {
    let loaded = match load(&arguments.file, &arguments.overrides, &ProcessEnvironment) {
        Ok(loaded) => loaded,
        Err(error) => {
            say(format_args!("error: {error}"));
            return Exit::Config;
        }
    };
    show(&loaded.documents, &loaded.problems);
    match loaded.plan {
        Some(plan) => {
            print!("{}", explain(&plan));
            Exit::Done
        }
        None => Exit::Config,
    }
}
