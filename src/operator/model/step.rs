//! Random `aggregate` steps and how they are written in a pipeline.

use std::fmt;

use fastrand::Rng;

use super::reference::{CALLS, Call};

/// What a test is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tumbling,
    Sliding,
    Cumulative,
    Session,
    /// Windows of a number of rows.
    Rows,
    /// No window.
    Running,
    /// No window, over rows that may be taken back.
    Retracting,
    /// No window, with a time to live.
    Expiring,
}

/// How rows are put together.
#[derive(Clone, Copy, Debug)]
pub(super) enum Window {
    /// One group per key, for ever.
    None,
    /// A window of `size_ms` every `every_ms`; a tumbling one where both are equal.
    Sliding {
        size_ms: i64,
        every_ms: i64,
        offset_ms: i64,
    },
    /// Windows of one start that grow by `every_ms` up to `size_ms`.
    Cumulative {
        size_ms: i64,
        every_ms: i64,
        offset_ms: i64,
    },
    Session {
        gap_ms: i64,
    },
    Rows {
        count: usize,
    },
}

/// An `aggregate` step.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) kind: Kind,
    /// The names of the key columns.
    pub(super) by: &'static [&'static str],
    pub(super) window: Window,
    /// How long a fired window is kept, milliseconds; 0 for not at all.
    pub(super) allow_ms: i64,
    /// Whether late rows go to a stream.
    pub(super) late_to: bool,
    /// How long a key without rows is kept, milliseconds.
    pub(super) ttl_ms: Option<i64>,
    /// Whether whoever reads the output sees every change.
    pub(super) every_change: bool,
    pub(super) select: Vec<&'static Call>,
}

impl Step {
    pub(super) fn random(kind: Kind, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x57e9 << 32);
        let keys: [&[&str]; 6] = [&[], &["id"], &["id"], &["user"], &["user", "id"], &["id", "user"]];
        let by = keys[rng.usize(..keys.len())];
        let window = Window::random(kind, &mut rng);
        let timed = kind.is_timed();
        let allow_ms = if timed && rng.u8(..3) == 0 { rng.i64(1..=12) * 250 } else { 0 };
        let ttl_ms = (kind == Kind::Expiring).then(|| rng.i64(1..=16) * 250);
        let possible: Vec<&Call> =
            CALLS.iter().filter(|call| !call.by_arrival || kind.keeps_arrival()).collect();
        let count = rng.usize(1..=4);
        let mut select = vec![&CALLS[0]];
        select.extend((1..count).map(|_| possible[rng.usize(..possible.len())]));
        let late_to = timed && rng.bool();
        Self { kind, by, window, allow_ms, late_to, ttl_ms, every_change: rng.bool(), select }
    }

    /// How far the times of rows have to reach so that something happens, milliseconds.
    pub(super) fn span_ms(&self) -> i64 {
        match self.window {
            Window::None => self.ttl_ms.unwrap_or(1000),
            Window::Sliding { size_ms, every_ms, .. } => size_ms.max(every_ms),
            Window::Cumulative { size_ms, .. } => size_ms,
            Window::Session { gap_ms } => gap_ms * 2,
            Window::Rows { .. } => 1000,
        }
    }

    /// What the bounds of its windows are counted from, milliseconds.
    pub(super) fn offset_ms(&self) -> i64 {
        match self.window {
            Window::Sliding { offset_ms, .. } | Window::Cumulative { offset_ms, .. } => offset_ms,
            Window::None | Window::Session { .. } | Window::Rows { .. } => 0,
        }
    }

    /// Whether the output takes rows back.
    pub(super) fn corrects(&self) -> bool {
        matches!(self.window, Window::None) || self.allow_ms > 0
    }
}

impl Kind {
    /// Whether its windows end in event time, so that rows can be late.
    pub(super) fn is_timed(self) -> bool {
        matches!(self, Self::Tumbling | Self::Sliding | Self::Cumulative | Self::Session)
    }

    /// Whether the rows of a group are aggregated in the order in which they arrive.
    fn keeps_arrival(self) -> bool {
        matches!(self, Self::Tumbling | Self::Rows | Self::Running | Self::Expiring)
    }
}

impl Window {
    fn random(kind: Kind, rng: &mut Rng) -> Self {
        let unit_ms = [500, 500, 1000, 700, 3][rng.usize(..5)];
        let offset_ms = if rng.bool() { 0 } else { rng.i64(0..12 * unit_ms) };
        let every_ms = rng.i64(1..=4) * unit_ms;
        match kind {
            Kind::Tumbling => Self::Sliding { size_ms: every_ms, every_ms, offset_ms },
            Kind::Sliding => Self::Sliding { size_ms: rng.i64(1..=8) * unit_ms, every_ms, offset_ms },
            Kind::Cumulative => Self::Cumulative { size_ms: every_ms * rng.i64(1..=5), every_ms, offset_ms },
            Kind::Session => Self::Session { gap_ms: every_ms },
            Kind::Rows => Self::Rows { count: rng.usize(1..=5) },
            Kind::Running | Kind::Retracting | Kind::Expiring => Self::None,
        }
    }
}

/// The step as YAML.
impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "aggregate: {{ name: model")?;
        if !self.by.is_empty() {
            write!(out, ", by: [{}]", self.by.join(", "))?;
        }
        write!(out, "{}", self.window)?;
        match (self.allow_ms, self.late_to) {
            (0, false) => {}
            (0, true) => write!(out, ", late: {{ to: late_rows }}")?,
            (allow_ms, false) => write!(out, ", late: {{ allow: {allow_ms}ms }}")?,
            (allow_ms, true) => write!(out, ", late: {{ allow: {allow_ms}ms, to: late_rows }}")?,
        }
        if let Some(ttl_ms) = self.ttl_ms {
            write!(out, ", ttl: {ttl_ms}ms")?;
        }
        let select = self.select.iter().enumerate();
        let select: Vec<String> =
            select.map(|(index, call)| format!("c{index}: \"{}\"", call.text)).collect();
        write!(out, ", select: {{ {} }} }}", select.join(", "))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let offset_ms = match self {
            Self::None => return Ok(()),
            Self::Session { gap_ms } => return write!(out, ", window: {{ session: {gap_ms}ms }}"),
            Self::Rows { count } => return write!(out, ", window: {{ rows: {count} }}"),
            Self::Sliding { size_ms, every_ms, offset_ms } if size_ms == every_ms => {
                write!(out, ", window: {{ tumbling: {size_ms}ms")?;
                offset_ms
            }
            Self::Sliding { size_ms, every_ms, offset_ms } => {
                write!(out, ", window: {{ sliding: {size_ms}ms, every: {every_ms}ms")?;
                offset_ms
            }
            Self::Cumulative { size_ms, every_ms, offset_ms } => {
                write!(out, ", window: {{ cumulative: {size_ms}ms, every: {every_ms}ms")?;
                offset_ms
            }
        };
        match offset_ms {
            0 => write!(out, " }}"),
            offset_ms => write!(out, ", offset: {offset_ms}ms }}"),
        }
    }
}
