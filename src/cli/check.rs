//! `check`: everything that can be known without running.

use clap::{Args, ValueEnum};

use super::load::{load, show};
use super::{Exit, say};
use crate::yaml::{NoEnvironment, render_github, render_json};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Pipeline files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// How mistakes are told: text on stderr, json or github on stdout.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Replace a value of the file, e.g. source.file.path=in.ndjson.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
    Github,
}

pub(super) fn main(arguments: &Arguments) -> Exit {
    let mut failed = false;
    for path in &arguments.files {
        let loaded = match load(path, &arguments.overrides, &NoEnvironment) {
            Ok(loaded) => loaded,
            Err(error) => {
                say(format_args!("error: {error}"));
                failed = true;
                continue;
            }
        };
        failed |= loaded.problems.has_errors();
        match arguments.format {
            Format::Text => {
                show(&loaded.documents, &loaded.problems);
                if !loaded.problems.has_errors() {
                    say(format_args!("{path}: ok"));
                }
            }
            Format::Json => print!("{}", render_json(&loaded.documents, &loaded.problems)),
            Format::Github => print!("{}", render_github(&loaded.documents, &loaded.problems)),
        }
    }
    if failed { Exit::Failed } else { Exit::Done }
}
