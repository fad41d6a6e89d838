//! What is to go wrong on the modelled disk, and what has happened on it.

use std::io;

use glob::Pattern;
use rustix::io::Errno;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The medium is broken (EIO). Half of a write is done; a change of names is done or not; what a sync should have
    /// written is lost to all later syncs.
    Io,
    /// The disk is full (ENOSPC). Half of a write is done; syncs fail as with [`Fault::Io`]; what needs no space succeeds.
    Full,
    /// A signal comes in between (EINTR). Opening, reading and writing begin anew by themselves, as on a real disk.
    Interrupted,
    /// Half of a write is done, which is no error. All but writes are spared.
    Short,
    /// The machine stops: this operation, which may have come to something, and all later ones fail until
    /// [`super::ModelDisk::crash`] is called.
    Crash,
}

impl Fault {
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::Io => Errno::IO.into(),
            Self::Full => Errno::NOSPC.into(),
            Self::Interrupted => Errno::INTR.into(),
            Self::Short => io::ErrorKind::WriteZero.into(),
            Self::Crash => crashed(),
        }
    }
}

/// What every operation yields between a crash and its end, and what handles from before it yield for ever.
pub(super) fn crashed() -> io::Error {
    io::Error::other("crashed")
}

/// For how long operations fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// One operation.
    Once,
    /// That operation and all later ones, until [`super::ModelDisk::heal`].
    ForGood,
}

/// A step of a protocol that the disk claims to take and does not. Patterns are globs over paths without a leading `/`,
/// in which `*` stands for any text, `/` included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Making files durable, those written in blocks included.
    SyncOf(String),
    /// Making the names in folders durable.
    SyncFolderOf(String),
    /// Cutting files.
    TruncateOf(String),
    /// Removing files.
    RemoveOf(String),
    /// Writing on where a block was written short.
    RestOfShortBlocks,
    /// Waiting for all blocks before a file is made durable.
    BlocksInFlight,
}

/// The faults to come, the steps that are left out, and the trace.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// The number of the operation, the fault, and whether it stays.
    faults: Vec<(u64, Fault, Lasting)>,
    ignored: Vec<(Ignored, Option<Pattern>)>,
    pub(super) crashed: bool,
    pub(super) count: u64,
    /// The faults that have come.
    pub(super) fired: Vec<Fault>,
    pub(super) trace: Vec<String>,
    pub(super) hash: u64,
}

impl Script {
    /// An error while the machine is down.
    pub(super) fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(crashed()) } else { Ok(()) }
    }

    /// Notes that an operation begins; yields what is to go wrong with it.
    pub(super) fn begin(&mut self, what: &str) -> io::Result<Option<Fault>> {
        self.alive()?;
        self.count += 1;
        let now = self.count;
        let due = |(at, _, lasting): &&(u64, Fault, Lasting)| {
            *at == now || (*at < now && *lasting == Lasting::ForGood)
        };
        let fault = self.faults.iter().find(due).map(|(_, fault, _)| *fault);
        self.note(match fault {
            Some(fault) => format!("{now} {what}: {fault:?}"),
            None => format!("{now} {what}"),
        });
        self.crashed = fault == Some(Fault::Crash);
        self.fired.extend(fault);
        Ok(fault)
    }

    /// Adds a line to the trace.
    pub(super) fn note(&mut self, line: String) {
        self.hash = xxh3_64_with_seed(line.as_bytes(), self.hash);
        self.trace.push(line);
    }

    pub(super) fn fail(&mut self, nth: u64, fault: Fault, lasting: Lasting) {
        self.faults.push((self.count + nth, fault, lasting));
    }

    pub(super) fn heal(&mut self) {
        self.faults.clear();
    }

    pub(super) fn ignore(&mut self, ignored: Ignored) {
        let pattern = match &ignored {
            Ignored::SyncOf(pattern)
            | Ignored::SyncFolderOf(pattern)
            | Ignored::TruncateOf(pattern)
            | Ignored::RemoveOf(pattern) => {
                Some(Pattern::new(pattern.trim_start_matches('/')).expect("a test's pattern is right"))
            }
            Ignored::RestOfShortBlocks | Ignored::BlocksInFlight => None,
        };
        self.ignored.push((ignored, pattern));
    }

    /// Whether a step of this kind is left out for this path.
    pub(super) fn ignores(&self, kind: impl Fn(&Ignored) -> bool, path: &str) -> bool {
        let matches =
            |pattern: &Option<Pattern>| pattern.as_ref().is_none_or(|pattern| pattern.matches(path));
        self.ignored.iter().any(|(ignored, pattern)| kind(ignored) && matches(pattern))
    }
}
