//! `explain`: what would run.

use clap::{Args, ValueEnum};

use super::load::{load, show};
use super::{Exit, say};
use crate::plan::{Language, diagram, explain};
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
    /// Draw the graph instead, in this language.
    #[arg(long, value_name = "LANGUAGE")]
    graph: Option<Picture>,
}

/// What a picture can be written in.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Picture {
    /// A flow chart of Mermaid.
    Mermaid,
    /// Graphviz.
    Dot,
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
            match arguments.graph {
                None => print!("{}", explain(&plan)),
                Some(Picture::Mermaid) => print!("{}", diagram(&plan, Language::Mermaid)),
                Some(Picture::Dot) => print!("{}", diagram(&plan, Language::Dot)),
            }
            Exit::Done
        }
        None => Exit::Config,
    }
}
