//! A pipeline file read and planned, with everything that is wrong with it.

use std::io::IsTerminal;

use super::say;
use crate::config;
use crate::error::Problems;
use crate::plan::{Plan, plan};
use crate::yaml::{Documents, Environment, render};

/// A file as far as it could be understood.
pub(super) struct Loaded {
    /// The plan, if there is no error.
    pub plan: Option<Plan>,
    /// The file and what was set on the command line.
    pub documents: Documents,
    /// What is wrong.
    pub problems: Problems,
}

/// Reads and plans a file.
///
/// # Errors
///
/// If it cannot be read; the text is for a person.
pub(super) fn load(
    path: &str,
    overrides: &[String],
    environment: &dyn Environment,
) -> Result<Loaded, String> {
    let bytes =
        std::fs::read(path).map_err(|error| format!("failed to read the pipeline {path}: {error}"))?;
    let read = config::read(path, &bytes, overrides, environment);
    let mut problems = read.problems;
    let planned = read.pipeline.and_then(|pipeline| plan(&pipeline, &mut problems));
    let plan = planned.filter(|_| !problems.has_errors());
    Ok(Loaded { plan, documents: read.documents, problems })
}

/// Shows what is wrong on stderr, in colour on a terminal.
pub(super) fn show(documents: &Documents, problems: &Problems) {
    if !problems.all().is_empty() {
        let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        say(render(documents, problems, color).trim_end());
    }
}
