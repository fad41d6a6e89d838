//! Events written out as lines of JSON, flat out or paced in real time: what `millstream gen nexmark` does.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Config, ConfigError, Form, Generator, Shuffle};
use crate::time::Now;

/// Lines are collected up to about so many bytes before they are written: they stay in the core's own cache.
const BLOCK_BYTES: usize = 256 << 10;

/// What to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The stream.
    pub config: Config,
    /// How many events; `u64::MAX` never ends.
    pub events: u64,
    /// How they are laid out.
    pub form: Form,
    /// Events are shuffled inside consecutive blocks of so many; 0 and 1 leave them in order.
    pub shuffle: u64,
    /// Whether each line is written at its intended time, `events_per_second` of them a second, rather than at once.
    pub pace: bool,
    /// Whether event time starts at the present (UTC) rather than at the stream's start.
    pub start_now: bool,
}

/// The edge's clock, handed in.
pub struct Clock<'a> {
    /// Reads it.
    pub now: &'a mut dyn FnMut() -> Now,
    /// Waits for so many microseconds.
    pub sleep_us: &'a mut dyn FnMut(u64),
}

/// What has been written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Events, one a line.
    pub events: u64,
    /// Bytes, the newlines with them.
    pub bytes: u64,
}

/// Why events could not be written; each follows "failed to".
#[derive(Debug, Error)]
pub enum WriteError {
    /// The settings make no stream.
    #[error("make the events")]
    Config(#[from] ConfigError),
    /// The sink takes no more. A reader of a pipe that has seen enough is [`io::ErrorKind::BrokenPipe`].
    #[error("write the events")]
    Sink(#[source] io::Error),
    /// The file cannot be made.
    #[error("create {}", path.display())]
    Create {
        /// The file, or the temporary one beside it.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file is complete and cannot be given its name.
    #[error("rename {} to {}", from.display(), to.display())]
    Rename {
        /// The temporary file.
        from: PathBuf,
        /// The name asked for.
        to: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Writes the events to a sink and flushes it.
///
/// # Errors
///
/// A setting out of range; the sink's error.
pub fn write_events(
    options: &Options,
    clock: &mut Clock,
    sink: &mut dyn Write,
) -> Result<Written, WriteError> {
    let mut config = options.config.clone();
    if options.start_now {
        config.start_ms = (clock.now)().wall_ms();
    }
    let seed = config.seed;
    let lines = Lines {
        generator: Generator::new(config)?,
        shuffle: Shuffle::new(seed, options.shuffle, options.events),
        form: options.form,
    };
    if options.pace { lines.paced(options.events, clock, sink) } else { lines.at_once(options.events, sink) }
        .map_err(WriteError::Sink)
}

/// Writes the events to a file, which appears under its name when it is complete. What is there and is no regular
/// file (a pipe, a device) is written to directly.
///
/// # Errors
///
/// As [`write_events`]; the file cannot be made or renamed. The temporary file is removed.
pub fn write_file(options: &Options, clock: &mut Clock, path: &Path) -> Result<Written, WriteError> {
    let create_error = |path: &Path| {
        let path = path.to_owned();
        move |source| WriteError::Create { path, source }
    };
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        let mut file = File::options().write(true).open(path).map_err(create_error(path))?;
        return write_events(options, clock, &mut file);
    }
    // A link's target is replaced, not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = target.clone().into_os_string();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    let mut file = File::create(&temporary).map_err(create_error(&temporary))?;
    // Not synced: the file can be made again, and a sync of gigabytes takes longer than making them.
    let written = write_events(options, clock, &mut file).and_then(|written| {
        let renamed = fs::rename(&temporary, &target);
        renamed.map_err(|source| WriteError::Rename { from: temporary.clone(), to: target, source })?;
        Ok(written)
    });
    if written.is_err() {
        // The error that counts is already known.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// The lines of a stream, by their position.
struct Lines {
    generator: Generator,
    shuffle: Shuffle,
    form: Form,
}

impl Lines {
    fn append(&self, position: u64, block: &mut Vec<u8>) {
        self.generator.write_json(self.shuffle.order(position), self.form, block);
        block.push(b'\n');
    }

    fn at_once(&self, events: u64, sink: &mut dyn Write) -> io::Result<Written> {
        let mut written = Written::default();
        let mut block = Vec::with_capacity(BLOCK_BYTES * 2);
        while written.events < events {
            while written.events < events && block.len() < BLOCK_BYTES {
                self.append(written.events, &mut block);
                written.events += 1;
            }
            sink.write_all(&block)?;
            written.bytes += block.len() as u64;
            block.clear();
        }
        sink.flush()?;
        Ok(written)
    }

    /// Open loop: a line's time is its position's, whatever the sink takes; one that is behind is caught up with.
    fn paced(&self, events: u64, clock: &mut Clock, sink: &mut dyn Write) -> io::Result<Written> {
        let rate = u128::from(self.generator.config().events_per_second);
        let start_us = (clock.now)().monotonic_us;
        let mut written = Written::default();
        let mut block = Vec::new();
        while written.events < events {
            let elapsed_us = (clock.now)().monotonic_us.saturating_sub(start_us);
            let due_us = u128::from(written.events) * 1_000_000 / rate;
            let early_us = due_us.saturating_sub(elapsed_us.into());
            if early_us > 0 {
                (clock.sleep_us)(u64::try_from(early_us).unwrap_or(u64::MAX));
                continue;
            }
            // Position p is due at ⌊p · 10^6 / rate⌋ µs.
            let due = ((u128::from(elapsed_us) + 1) * rate).div_ceil(1_000_000);
            let due = u64::try_from(due).unwrap_or(u64::MAX).min(events);
            while written.events < due && block.len() < BLOCK_BYTES {
                self.append(written.events, &mut block);
                written.events += 1;
            }
            sink.write_all(&block)?;
            sink.flush()?;
            written.bytes += block.len() as u64;
            block.clear();
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frozen<'a>(now: &'a mut dyn FnMut() -> Now, sleep_us: &'a mut dyn FnMut(u64)) -> Clock<'a> {
        Clock { now, sleep_us }
    }

    fn text(options: &Options) -> String {
        let mut out = Vec::new();
        let (mut now, mut sleep) = (Now::default, |_| panic!("nothing to wait for"));
        let written = write_events(options, &mut frozen(&mut now, &mut sleep), &mut out).unwrap();
        assert_eq!((written.events, written.bytes), (options.events, out.len() as u64));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn shuffled_lines_are_the_same_lines() {
        let check = |shuffle: u64, form: Form| {
            let options = Options { events: 5000, shuffle, form, ..Options::default() };
            let (ordered, shuffled) = (text(&Options { shuffle: 0, ..options.clone() }), text(&options));
            assert_eq!(ordered != shuffled, shuffle > 1);
            let sorted = |text: &str| {
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                lines.sort_unstable();
                lines
            };
            assert_eq!(sorted(&ordered), sorted(&shuffled));
        };
        check(0, Form::Nested);
        check(1, Form::Flat);
        check(100, Form::Flat);
        check(1 << 40, Form::Nested);
    }

    /// A sink that notes when each line came, by a clock that only sleeping moves.
    struct Noted<'a>(&'a std::cell::Cell<u64>, Vec<u64>);

    impl Write for Noted<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
            self.1.extend(std::iter::repeat_n(self.0.get(), lines));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn paced_lines_come_at_their_time() {
        // Oversleeping by `late_us` delays lines and loses none.
        let check = |events_per_second: u64, late_us: u64, expect: &[u64]| {
            let clock = std::cell::Cell::new(500);
            let config = Config { events_per_second, ..Config::default() };
            let events = expect.len() as u64;
            let options = Options { config, events, pace: true, ..Options::default() };
            let mut sink = Noted(&clock, Vec::new());
            let mut now = || Now { monotonic_us: clock.get(), wall_us: 0 };
            let mut sleep = |us| clock.set(clock.get() + us + late_us);
            write_events(&options, &mut frozen(&mut now, &mut sleep), &mut sink).unwrap();
            assert_eq!(sink.1, expect);
        };
        check(1000, 0, &[500, 1500, 2500, 3500]);
        check(1000, 1500, &[500, 3000, 3000, 5000, 5000]);
        check(3, 0, &[500, 333_833, 667_166, 1_000_500]);
        check(2_000_000, 0, &[500, 500, 501, 501, 502]);
    }

    #[test]
    fn event_time_can_start_now() {
        let mut out = Vec::new();
        let mut now = || Now { monotonic_us: 1, wall_us: 1_750_000_000_123_456 };
        let mut sleep = |_| ();
        let options = Options { events: 1, start_now: true, ..Options::default() };
        write_events(&options, &mut frozen(&mut now, &mut sleep), &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains(r#""dateTime":"2025-06-15T15:06:40.123""#));
    }

    #[test]
    fn a_file_appears_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson");
        let (mut now, mut sleep) = (Now::default, |_| ());
        let mut clock = frozen(&mut now, &mut sleep);
        let options = Options { events: 3000, ..Options::default() };
        write_file(&options, &mut clock, &path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text(&options));

        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write_file(&Options { events: 2, ..options.clone() }, &mut clock, &link).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");

        assert!(write_file(&options, &mut clock, Path::new("/dev/null")).is_ok());
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let missing = write_file(&options, &mut clock, &folder.path().join("no/such")).unwrap_err();
        assert!(missing.to_string().starts_with("create "));
        let config = Config { events_per_second: 0, ..Config::default() };
        assert!(write_file(&Options { config, ..options }, &mut clock, &path).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn a_sink_that_fails_ends_it() {
        let mut sink = [0_u8; 1000];
        let (mut now, mut sleep) = (Now::default, |_| ());
        let options = Options { events: 10_000, ..Options::default() };
        let result = write_events(&options, &mut frozen(&mut now, &mut sleep), &mut sink.as_mut_slice());
        assert!(matches!(result, Err(WriteError::Sink(_))));
    }
}
