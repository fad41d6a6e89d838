//! How the process ends.

use std::process::{ExitCode, Termination};

/// An exit code, after sysexits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or drained cleanly.
    Done,
    /// A check failed.
    Failed,
    /// Too many bad records.
    BadData,
    /// A source or a sink is not to be had.
    Unavailable,
    /// A bug.
    Bug,
    /// State has outgrown `run.memory`.
    Memory,
    /// Disk I/O.
    Disk,
    /// Another instance holds the state directory.
    Busy,
    /// The pipeline file is wrong.
    Config,
    /// Ended at once by this signal.
    Signal(i32),
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::BadData => 65,
            Self::Unavailable => 69,
            Self::Bug => 70,
            Self::Memory => 71,
            Self::Disk => 74,
            Self::Busy => 75,
            Self::Config => 78,
            // What a shell shows for a process that a signal has ended.
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}
