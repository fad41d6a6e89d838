//! Syntax errors of YAML in words that help people who wrote a pipeline, not a parser.

use serde_saphyr::granit_parser::{ErrorKind, ScanError};

use super::parse::DEPTH_MAX;
use crate::error::{Place, Problem};

const QUOTE_IT: &str = "put the whole text in double quotes";

/// The problem of a syntax error. `text` is the document, of which `from..to` was parsed.
pub fn problem(document: u16, text: &str, (from, to): (usize, usize), error: &ScanError) -> Problem {
    let offset = from + error.marker().byte_offset().unwrap_or(to - from);
    let at = character(document, text, (from, to), offset);
    if let Some(tab) = indenting_tab(text, at.start as usize) {
        return Problem::error(
            character(document, text, (from, to), tab),
            "a tab cannot be used for indentation",
        )
        .help("indent with blanks");
    }
    let (what, help) = explain(error.kind(), &text[from..to], offset - from);
    let problem = Problem::error(at, what);
    match help {
        Some(help) => problem.help(help),
        None => problem,
    }
}

/// The place of the character at `offset`, or of the last character that is no blank where the text ends.
fn character(document: u16, text: &str, (from, to): (usize, usize), offset: usize) -> Place {
    let last = from + text[from..to].trim_end().char_indices().next_back().map_or(0, |(at, _)| at);
    let start = text.floor_char_boundary(offset.min(last));
    let end = text[start..to].chars().next().map_or(start, |c| start + c.len_utf8());
    Place { document, start: 0, end: u32::MAX }.within(start, end)
}

/// Where a tab stands in the indentation of the line of `offset`, or of the next line that is not empty: a text that
/// runs on into a wrongly indented line is reported where it starts.
fn indenting_tab(text: &str, offset: usize) -> Option<usize> {
    let line = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let next = text[offset..].find('\n').map(|at| offset + at + 1);
    [Some(line), next].into_iter().flatten().find_map(|start| {
        let blanks = text[start..].find(|c| !matches!(c, ' ' | '\t')).unwrap_or(0);
        text[start..start + blanks].find('\t').map(|at| start + at)
    })
}

fn explain(kind: &ErrorKind, text: &str, offset: usize) -> (String, Option<String>) {
    let says = |what: &str, help: &str| (what.to_owned(), Some(help.to_owned()));
    match kind {
        ErrorKind::MappingValueNotAllowed => says(
            "a colon cannot stand here",
            "put text that contains `: ` in quotes; if this is meant as a key, check its indentation",
        ),
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => says(
            "the text goes on after its closing quote",
            "text that begins with a quote ends with it: put the whole text in the other kind of quotes",
        ),
        ErrorKind::UnclosedQuotedScalar
        | ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::DocumentIndicatorInQuotedScalar => {
            says("a quote that opened before this is not closed", "close it on the line it opened on")
        }
        ErrorKind::UnclosedFlowCollection { open } => (format!("`{open}` is not closed"), None),
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            (format!("`{open}` is closed by `{close}`"), None)
        }
        ErrorKind::MisplacedFlowCollectionEnd => ("this closes nothing".to_owned(), None),
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator => {
            let close = if *kind == ErrorKind::ExpectedFlowMappingSeparator { '}' } else { ']' };
            let help = match text[offset..].chars().next() {
                Some('[' | ']' | '{' | '}') => {
                    "inside { … } and [ … ] text that contains a bracket or a brace needs quotes"
                }
                _ => "inside { … } and [ … ] text that contains a comma, a colon or a quote needs quotes",
            };
            (format!("expected `,` or `{close}` here"), Some(help.to_owned()))
        }
        ErrorKind::MissingAnchorOrAliasName => {
            says("YAML reads `*` and `&` at the start of a text as a reference", QUOTE_IT)
        }
        ErrorKind::UnknownAnchor => {
            says("YAML reads this as a reference, and nothing has that name", QUOTE_IT)
        }
        ErrorKind::UnexpectedCharacter { character } => {
            (format!("a text cannot begin with `{}`", character.escape_debug()), Some(QUOTE_IT.to_owned()))
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            says("expected `key: value` here", "a key is followed by a colon and a blank")
        }
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::ExpectedBlockSequenceEntry => says(
            "this does not go on with what stands above it",
            "entries of one list or one map begin in the same column; text that goes on is indented further",
        ),
        ErrorKind::RecursionLimitExceeded => {
            (format!("the file is nested more than {DEPTH_MAX} levels deep"), None)
        }
        other => (format!("this is not valid YAML: {other}"), None),
    }
}
