//! The options of `aggregate` that say over which rows: `window`, `late`, `ttl`.

use crate::error::{Place, Problem, Problems};
use crate::window::{Windows, WindowsError};
use crate::yaml::{Fields, Key, Node, duration_ms, offset_ms};

/// Over which rows of a key results are made.
#[derive(Clone, Debug)]
pub(in crate::operator) enum Over {
    /// Windows that lie fixed in time.
    Fixed(Windows),
    /// Rows with no gap of this length between them, milliseconds.
    Session(i64),
    /// This many rows.
    Count(u64),
    /// All rows so far; a key without a row for this long, milliseconds of event time, is forgotten.
    Running(Option<i64>),
}

/// Which time a row counts at.
#[derive(Clone, Debug)]
pub(in crate::operator) enum TimeOfRow {
    /// Its event time.
    Event,
    /// The time at which it is seen.
    WallClock,
    /// That of an expression.
    Expression(Node),
}

/// `window`, as far as it is right.
#[derive(Clone, Debug)]
pub(in crate::operator) struct Window {
    pub over: Over,
    pub time: TimeOfRow,
    /// For people.
    pub text: String,
}

/// `late`.
#[derive(Clone, Debug, Default)]
pub(in crate::operator) struct Late {
    /// The name of the side stream of late rows.
    pub to: Option<(String, Place)>,
    pub allow_ms: i64,
}

const KINDS: [&str; 5] = ["tumbling", "sliding", "cumulative", "session", "rows"];

/// A count window has at most this many rows.
const ROWS_MAX: u64 = 1_000_000_000;

/// Reads `window`. None is returned only after a problem.
pub(in crate::operator) fn window(key: &Key, node: &Node, problems: &mut Problems) -> Option<Window> {
    let mut fields = Fields::under(key, node, "window", problems);
    let at = fields.at();
    let named: Vec<&Key> = node.map().unwrap_or_default().iter().map(|(key, _)| key).collect();
    let kinds: Vec<&&Key> = named.iter().filter(|key| KINDS.contains(&key.text.as_str())).collect();
    if let [first, second, ..] = kinds.as_slice() {
        let what = format!("a window is one thing: `{}` stands beside `{}`", second.text, first.text);
        problems.push(Problem::error(second.at, what).help("aggregate twice for two kinds of windows"));
        KINDS.iter().chain(&["every", "offset", "time"]).for_each(|known| fields.know(known));
        fields.finish(problems);
        return None;
    }
    let kind = kinds.first().map(|key| key.text.clone());
    let over = match kind.as_deref() {
        Some("rows") => fields.whole("rows", 1, ROWS_MAX, problems).map(Over::Count),
        Some("session") => {
            fields.duration_ms("session", problems).and_then(|gap_ms| session(gap_ms, at, problems))
        }
        Some(_) => fixed(&mut fields, problems),
        None => {
            KINDS.iter().chain(&["every"]).for_each(|known| fields.know(known));
            if !fields.is_broken() && !fields.rest().any(|(key, _)| fields.meant(&key.text).is_some()) {
                problems.push(Problem::error(at, "`window` does not say which kind").help(
                    "write one of { tumbling: 10s }, { sliding: 1m, every: 10s }, { cumulative: 1d, every: 1h }, { session: 30s }, { rows: 100 }",
                ));
            }
            None
        }
    };
    let time = if matches!(over, Some(Over::Count(_))) { TimeOfRow::Event } else { time(&mut fields) };
    fields.finish(problems);
    let text = describe(node);
    Some(Window { over: over?, time, text })
}

fn time(fields: &mut Fields<'_>) -> TimeOfRow {
    match fields.take("time") {
        None => TimeOfRow::Event,
        Some(node) if node.expression() == Some("processing") => TimeOfRow::WallClock,
        Some(node) => TimeOfRow::Expression(node.clone()),
    }
}

fn session(gap_ms: i64, at: Place, problems: &mut Problems) -> Option<Over> {
    if !(1..=Windows::SIZE_MAX).contains(&gap_ms) {
        problems.error(at, "the gap of a session is between 1ms and a thousand years");
        return None;
    }
    Some(Over::Session(gap_ms))
}

fn fixed(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Over> {
    let at = fields.at();
    let tumbling_ms = fields.take("tumbling").map(|node| duration_ms(node, problems));
    let sliding_ms = fields.take("sliding").map(|node| duration_ms(node, problems));
    let cumulative_ms = fields.take("cumulative").map(|node| duration_ms(node, problems));
    let offset_ms = fields.take("offset").and_then(|node| offset_ms(node, problems)).unwrap_or(0);
    let windows = if let Some(size_ms) = tumbling_ms {
        Windows::tumbling(size_ms?, offset_ms)
    } else {
        let kind = if sliding_ms.is_some() { "sliding" } else { "cumulative" };
        let Some(every) = fields.take("every") else {
            problems.push(
                Problem::error(at, format!("a {kind} window needs `every`: how often one begins or ends"))
                    .help(format!("write for instance window: {{ {kind}: 1m, every: 10s }}")),
            );
            return None;
        };
        let every_ms = duration_ms(every, problems);
        match (sliding_ms, cumulative_ms) {
            (Some(size_ms), _) => Windows::sliding(size_ms?, every_ms?, offset_ms),
            (None, size_ms) => Windows::cumulative(size_ms??, every_ms?, offset_ms),
        }
    };
    let (what, help) = match windows {
        Ok(windows) => return Some(Over::Fixed(windows)),
        Err(WindowsError::Size) => ("a window and its step are between 1ms and a thousand years long", None),
        Err(WindowsError::Multiple) => (
            "a cumulative window's size is a multiple of `every`",
            Some("for instance { cumulative: 1d, every: 1h }"),
        ),
        Err(WindowsError::Slices) => (
            "a window of more than a million slices is too fine",
            Some("a slice is the greatest common divisor of the size and `every`: choose a longer `every`"),
        ),
    };
    let problem = Problem::error(at, what);
    problems.push(match help {
        Some(help) => problem.help(help),
        None => problem,
    });
    None
}

/// The window as it is written, on one line.
fn describe(node: &Node) -> String {
    let entries = node.map().unwrap_or_default().iter();
    let entries = entries.map(|(key, value)| format!("{}: {}", key.text, value.text().unwrap_or_default()));
    entries.collect::<Vec<_>>().join(", ")
}

/// Reads `late`. None is returned only after a problem.
pub(in crate::operator) fn late(
    key: &Key,
    node: &Node,
    over: &Over,
    problems: &mut Problems,
) -> Option<Late> {
    let mut fields = Fields::under(key, node, "late", problems);
    let to = fields.entry("to").and_then(|(_, node)| match node.text() {
        Some(name) if is_name(name) => Some((name.to_owned(), node.at)),
        _ => {
            problems.push(
                Problem::error(node.at, "`to` takes the name of a stream: letters, digits, `_`, `-`")
                    .help("write for instance late: { to: late_rows }, and read it in `sinks:` with from: late_rows"),
            );
            None
        }
    });
    let allow_ms = fields.duration_ms("allow", problems).unwrap_or(0);
    fields.finish(problems);
    if matches!(over, Over::Count(_) | Over::Running(_)) {
        let what = "`late` belongs to windows in time: here no row comes too late";
        problems
            .push(Problem::error(key.at, what).help("remove it, or add a window such as { tumbling: 10s }"));
        return None;
    }
    if !(0..=Windows::SIZE_MAX).contains(&allow_ms) {
        problems.error(key.at, "`allow` is between 0s and a thousand years");
        return None;
    }
    Some(Late { to, allow_ms })
}

fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    !text.is_empty() && text.chars().all(allowed)
}
