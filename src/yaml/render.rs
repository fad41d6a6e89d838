//! Problems shown to people, to programs and to GitHub: sorted by place, each once.

use std::fmt::Write;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, normalize_untrusted_str};
use serde::Serialize;

use super::Documents;
use crate::error::{Place, Problem, Problems, Severity};

/// More problems than this are counted, not shown.
const SHOWN_MAX: usize = 100;

/// A longer line is shown from shortly before the marked range, without its rest.
const LINE_BYTES_MAX: usize = 4096;

/// The problems for a person: each with file, line and column, the line it is on with the range marked, and help;
/// separated by blank lines, with the counts in the end. Empty if there are none. `color` asks for ANSI escapes.
#[must_use]
pub fn render(documents: &Documents, problems: &Problems, color: bool) -> String {
    let sorted = sorted(problems);
    if sorted.is_empty() {
        return String::new();
    }
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for problem in sorted.iter().take(SHOWN_MAX) {
        out.push_str(&report(documents, problem, &renderer));
        out.push_str("\n\n");
    }
    if sorted.len() > SHOWN_MAX {
        let _ = write!(out, "{} more are not shown\n\n", sorted.len() - SHOWN_MAX);
    }
    let errors = sorted.iter().filter(|problem| problem.severity == Severity::Error).count();
    let counts = [(errors, "error"), (sorted.len() - errors, "warning")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, noun)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }))
        .collect::<Vec<_>>();
    let _ = writeln!(out, "{}", counts.join(", "));
    out
}

/// The problems for a program: one JSON object a line, lines and columns from 1, columns in characters, the end
/// exclusive, `help` null where there is none.
///
/// # Panics
///
/// Never: texts and numbers always make JSON.
#[must_use]
pub fn render_json(documents: &Documents, problems: &Problems) -> String {
    #[derive(Serialize)]
    struct Report<'a> {
        file: &'a str,
        line: usize,
        column: usize,
        end_line: usize,
        end_column: usize,
        severity: &'a str,
        message: &'a str,
        help: Option<&'a str>,
    }
    let mut out = String::new();
    for problem in sorted(problems) {
        let (line, column) = documents.line_column(problem.at);
        let (end_line, end_column) = documents.line_column_end(problem.at);
        let json = serde_json::to_string(&Report {
            file: documents.name(problem.at.document),
            line,
            column,
            end_line,
            end_column,
            severity: word(problem.severity),
            message: &problem.what,
            help: problem.help.as_deref(),
        });
        out.push_str(&json.expect("texts and numbers always make JSON"));
        out.push('\n');
    }
    out
}

/// The problems as workflow commands, which GitHub shows beside the lines of a change.
#[must_use]
pub fn render_github(documents: &Documents, problems: &Problems) -> String {
    let mut out = String::new();
    for problem in sorted(problems) {
        let (line, column) = documents.line_column(problem.at);
        let (end_line, end_column) = documents.line_column_end(problem.at);
        let help = problem.help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
        let _ = write!(
            out,
            "::{} file={},line={line},col={column}",
            word(problem.severity),
            escaped(documents.name(problem.at.document), true)
        );
        // GitHub takes an end column, inclusive, only where the end is on the line of the start.
        if end_line == line {
            let _ = write!(out, ",endLine={end_line},endColumn={}", end_column.max(column + 1) - 1);
        }
        let _ = writeln!(out, "::{}", escaped(&format!("{}{help}", problem.what), false));
    }
    out
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// The problems by place, those found first before others of the same place, without repetitions.
fn sorted(problems: &Problems) -> Vec<&Problem> {
    let mut sorted: Vec<&Problem> = problems.all().iter().collect();
    sorted.sort_by_key(|problem| (problem.at.document, problem.at.start, problem.at.end));
    sorted.dedup();
    sorted
}

/// Text for a workflow command; `property` for one of its properties.
fn escaped(text: &str, property: bool) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    if property { text.replace(':', "%3A").replace(',', "%2C") } else { text }
}

fn report(documents: &Documents, problem: &Problem, renderer: &Renderer) -> String {
    let text = documents.text(problem.at.document);
    let (line_at, marked) = first_line(text, problem.at);
    let (line, column) = documents.line_column(problem.at);
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let name = documents.name(problem.at.document);
    let whole = &text[line_at.0..line_at.1];
    // A line cut at its start has its true column in the name, where the renderer would count from the cut.
    let (source, marked, name) = if whole.len() > LINE_BYTES_MAX {
        let from = whole.floor_char_boundary(marked.0.saturating_sub(40));
        let to = whole.floor_char_boundary((from + 200).min(whole.len()));
        let marked = (marked.0 - from, marked.1.min(to) - from);
        (&whole[from..to], marked, format!("{name} (column {column} of a long line)"))
    } else {
        (whole, marked, name.to_owned())
    };
    let snippet = Snippet::source(source)
        .line_start(line)
        .path(name)
        .annotation(AnnotationKind::Primary.span(marked.0..marked.1.max(marked.0)));
    let mut group = level.primary_title(problem.what.as_str()).element(snippet);
    if let Some(help) = &problem.help {
        group = group.element(Level::HELP.message(normalize_untrusted_str(help)));
    }
    renderer.render(&[group])
}

/// The line on which a place starts, and the part of that line that belongs to the place, both as byte ranges: a place
/// of many lines is shown by its first.
fn first_line(text: &str, at: Place) -> ((usize, usize), (usize, usize)) {
    let start = text.floor_char_boundary(at.start as usize);
    let end = text.floor_char_boundary(at.end as usize).max(start);
    let line_start = text[..start].rfind('\n').map_or(0, |found| found + 1);
    let line_end = text[start..].find(['\r', '\n']).map_or(text.len(), |found| start + found);
    let marked_end = start + text[start..end.min(line_end)].trim_end().len();
    let visible_end = if marked_end > start { marked_end } else { end.min(line_end) };
    ((line_start, line_end), (start - line_start, visible_end - line_start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Documents, Problems) {
        let mut documents = Documents::new();
        documents.add("dir/a,b:c.yaml", "name: é x\nsteps:\n  - filtr: a\n");
        documents.add("--set run.cores=x", "run.cores=x");
        let mut problems = Problems::new();
        let place = |document, start, end| Place { document, start, end };
        problems.error(place(1, 10, 11), "not a number");
        problems.push(Problem::error(place(0, 22, 27), "no step `filtr`").help("did you mean `filter`?"));
        problems.push(Problem::warning(place(0, 9, 10), "100% odd"));
        problems.error(place(1, 10, 11), "not a number");
        (documents, problems)
    }

    #[test]
    fn people_see_lines_and_marks() {
        let (documents, problems) = sample();
        let expect = "\
warning: 100% odd
 --> dir/a,b:c.yaml:1:9
  |
1 | name: é x
  |         ^

error: no step `filtr`
 --> dir/a,b:c.yaml:3:5
  |
3 |   - filtr: a
  |     ^^^^^
  |
  = help: did you mean `filter`?

error: not a number
 --> --set run.cores=x:1:11
  |
1 | run.cores=x
  |           ^

2 errors, 1 warning
";
        assert_eq!(render(&documents, &problems, false), expect);
        assert!(render(&documents, &problems, true).contains("\u{1b}["));
        assert_eq!(render(&documents, &Problems::new(), false), "");
    }

    #[test]
    fn programs_read_json() {
        let (documents, problems) = sample();
        let lines: Vec<serde_json::Value> = render_json(&documents, &problems)
            .lines()
            .map(|line| serde_json::from_str(line).expect("valid JSON"))
            .collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(
            lines[1],
            serde_json::json!({
                "file": "dir/a,b:c.yaml", "line": 3, "column": 5, "end_line": 3, "end_column": 10,
                "severity": "error", "message": "no step `filtr`", "help": "did you mean `filter`?",
            })
        );
        assert_eq!(lines[0]["help"], serde_json::Value::Null);
    }

    #[test]
    fn github_gets_escaped_commands() {
        let (documents, problems) = sample();
        let rendered = render_github(&documents, &problems);
        let lines: Vec<&str> = rendered.lines().collect();
        assert_eq!(
            lines[0],
            "::warning file=dir/a%2Cb%3Ac.yaml,line=1,col=9,endLine=1,endColumn=9::100%25 odd"
        );
        assert!(lines[1].ends_with("::no step `filtr`%0Ahelp: did you mean `filter`?"), "{}", lines[1]);
    }

    #[test]
    fn odd_places_are_shown_all_the_same() {
        let long = format!("{}é{}", "x".repeat(9000), "y".repeat(1 << 20));
        for text in ["", "\n", "é\r\n\té", "a\n\n", long.as_str()] {
            let mut documents = Documents::new();
            documents.add("a.yaml", text);
            for (start, end) in [(0, 0), (1, 1), (0, 99), (1, 3), (9000, 9001), (u32::MAX, u32::MAX), (5, 2)]
            {
                let mut problems = Problems::new();
                problems.error(Place { document: 0, start, end }, "odd");
                let rendered = render(&documents, &problems, false);
                assert!(rendered.contains("error: odd") && rendered.ends_with("1 error\n"), "{rendered}");
                assert!(rendered.len() < 2000, "{} bytes", rendered.len());
                assert!(!render_json(&documents, &problems).is_empty());
                assert!(!render_github(&documents, &problems).is_empty());
            }
        }
    }
}
